//! What keeps Quell from doing too much: budgets, and backing off from whoever breaks a resource again and again.

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};

use crate::{
    Actor, Severity,
    ledger::{Fix, record_id},
    policy::Policy,
    protocol::{Count, Park},
};

/// What a change counts as.
#[derive(Clone, Copy, Debug)]
pub struct Counted<'a> {
    pub control: &'a str,
    pub severity: Severity,
    pub account: &'a str,
    pub actor: Option<&'a Actor>,
    /// Whether a person asked for what was wrong before the policy named the control.
    pub is_backlog: bool,
}

/// The budgets that a change counts against, in the window that is under way. Critical and routine changes and the
/// backlog have budgets of their own, so that a storm of one cannot starve the others.
pub fn budgets(policy: &Policy, counted: &Counted<'_>, now: Timestamp) -> Vec<Count> {
    let limits = policy.budgets(counted.severity);
    let class = match counted.severity {
        _ if counted.is_backlog => "backlog",
        Severity::Critical => "critical",
        _ => "routine",
    };
    let length = i64::from(limits.window_minutes.max(1)) * 60;
    let window = now.as_second().div_euclid(length) * length;
    let mut scopes = vec![
        (format!("control#{}", counted.control), limits.control),
        (format!("account#{}", counted.account), limits.account),
        ("overall".to_owned(), limits.overall),
    ];
    let actor = counted.actor.map(identity);
    scopes.extend(actor.map(|actor| (format!("actor#{}", key_of(actor)), limits.actor)));
    scopes
        .into_iter()
        .map(|(scope, max)| Count { key: format!("{class}#{scope}#{window}"), max })
        .collect()
}

/// Who it was, without the session's name: that is anyone's choice, and whoever may assume a role could else be as many
/// as there are names.
pub fn identity(actor: &Actor) -> &str {
    without_session(actor.arn.as_deref().unwrap_or(&actor.principal))
}

/// DynamoDB's keys have at most 2,048 bytes, and what an event says of somebody may have more.
fn key_of(actor: &str) -> Cow<'_, str> {
    if actor.len() <= 1_024 { Cow::Borrowed(actor) } else { Cow::Owned(record_id(&[actor])) }
}

/// An assumed role's ARN ends in `/<session>`.
fn without_session(actor: &str) -> &str {
    match actor.split_once(":assumed-role/").and_then(|(_, role)| role.split_once('/')) {
        Some((_, session)) => &actor[..actor.len() - session.len() - 1],
        None => actor,
    }
}

/// From so many fixes within an hour on, somebody fights Quell.
const FIGHT: usize = 3;
const HOUR: SignedDuration = SignedDuration::from_hours(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Whether the resource has been broken again and again under this control.
#[derive(Clone, Debug, PartialEq)]
pub struct Flapping {
    /// Fixes within the last day.
    pub fixes: usize,
    pub last: Timestamp,
    /// Who broke it before the last fix, and with what.
    pub actor: Option<String>,
}

impl Flapping {
    pub fn of(fixes: &[Fix], control: &str, now: Timestamp) -> Option<Self> {
        let lately: Vec<&Fix> = fixes
            .iter()
            .filter(|fix| fix.control == control && now.duration_since(fix.at) < DAY)
            .collect();
        let last = lately.last()?;
        let first = lately.get(lately.len().checked_sub(FIGHT)?)?;
        (last.at.duration_since(first.at) < HOUR).then(|| Self {
            fixes: lately.len(),
            last: last.at,
            actor: last.actor.clone(),
        })
    }

    /// Until when a routine control leaves the resource alone: an hour, and twice as long after each further fix, up
    /// to a day. A critical one never stops: backing off would be the attacker's off switch.
    pub fn park(&self, severity: Severity, arn: &str, now: Timestamp) -> Option<Park> {
        if severity == Severity::Critical {
            return None;
        }
        let doubled = u32::try_from(self.fixes - FIGHT).unwrap_or(u32::MAX).min(5);
        let pause = HOUR.checked_mul(1 << doubled).unwrap_or(DAY).min(DAY);
        let until = self.last.checked_add(pause).unwrap_or(Timestamp::MAX);
        (now < until).then(|| Park::Flapping(format!("flapping#{arn}#{}", until.as_second())))
    }

    /// What people should know.
    pub fn note(&self, stack: Option<&str>) -> String {
        let by = match (&self.actor, stack) {
            (_, Some(stack)) => format!(
                "; CloudFormation stack {stack} made the resource and may put its own state back: change the stack"
            ),
            (Some(actor), None) => {
                format!("; the last time by {actor}: change it where it comes from")
            }
            (None, None) => String::new(),
        };
        format!("Quell fixed this {} times within a day, and it is broken again{by}", self.fixes)
    }
}

/// Who did it and with what, in a few words.
pub fn tool_of(actor: &Actor) -> String {
    match infrastructure_code(actor) {
        Some(tool) => format!("{} with {tool}", actor.principal),
        None => actor.principal.clone(),
    }
}

/// The tool, with its version where it is known, if it was infrastructure code.
pub fn infrastructure_code(actor: &Actor) -> Option<String> {
    match (&actor.invoked_by, &actor.user_agent) {
        (Some(service), _) if service.starts_with("cloudformation.") => {
            Some("CloudFormation".to_owned())
        }
        (_, Some(agent)) => ["Terraform/", "OpenTofu/", "Pulumi/", "aws-cdk"]
            .iter()
            .find_map(|tool| agent.find(tool).map(|at| &agent[at..]))
            .map(|found| found.split([' ', ';', ')']).next().unwrap_or(found).to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;

    use super::*;

    fn at(minutes: i64) -> Timestamp {
        "2031-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + minutes.minutes()
    }

    fn fixes(minutes: &[i64]) -> Vec<Fix> {
        minutes
            .iter()
            .map(|&minute| Fix { control: "c".into(), at: at(minute), actor: None })
            .collect()
    }

    fn actor(arn: &str, agent: &str) -> Actor {
        Actor {
            principal: "role deploy".into(),
            arn: Some(arn.into()),
            user_agent: Some(agent.into()),
            ..Actor::default()
        }
    }

    #[test]
    fn three_fixes_within_an_hour_are_a_fight_and_two_are_not() {
        assert_eq!(Flapping::of(&fixes(&[0, 10]), "c", at(20)), None);
        assert_eq!(Flapping::of(&fixes(&[0, 40, 70]), "c", at(71)), None, "not within an hour");
        assert_eq!(Flapping::of(&fixes(&[0, 10, 20]), "other", at(21)), None);
        assert_eq!(Flapping::of(&fixes(&[0, 10, 20]), "c", at(21)).unwrap().fixes, 3);
    }

    #[test]
    fn routine_controls_back_off_longer_each_time_and_critical_ones_never() {
        let pause = |minutes: &[i64]| {
            let last = *minutes.last().unwrap();
            let flapping = Flapping::of(&fixes(minutes), "c", at(last)).unwrap();
            (0..)
                .find(|&hours| {
                    flapping.park(Severity::High, "arn", at(last + hours * 60)).is_none()
                })
                .unwrap()
        };
        assert_eq!(pause(&[0, 10, 20]), 1);
        assert_eq!(pause(&[0, 10, 20, 30]), 2);
        assert_eq!(pause(&[0, 10, 20, 30, 40]), 4);
        assert_eq!(pause(&[0, 1, 2, 3, 4, 5, 6, 7]), 24);
        let flapping = Flapping::of(&fixes(&[0, 10, 20]), "c", at(21)).unwrap();
        assert_eq!(flapping.park(Severity::Critical, "arn", at(21)), None);
    }

    #[test]
    fn a_role_has_one_budget_whatever_its_sessions_are_called() {
        let keys = |arn: &str| {
            let actor = actor(arn, "");
            let counted = Counted {
                control: "c",
                severity: Severity::High,
                account: "123456789012",
                actor: Some(&actor),
                is_backlog: false,
            };
            budgets(&Policy::observe(), &counted, at(0))
        };
        let one = keys("arn:aws:sts::123456789012:assumed-role/deploy/one");
        assert_eq!(one, keys("arn:aws:sts::123456789012:assumed-role/deploy/two"));
        assert_ne!(one, keys("arn:aws:sts::123456789012:assumed-role/other/one"));
        assert_eq!(one.len(), 4);
        assert!(one.iter().all(|count| count.key.starts_with("routine#")), "{one:?}");
    }

    #[test]
    fn a_budget_has_a_key_that_the_ledger_takes_whatever_the_actor_is_called() {
        for name in ["x".repeat(100_000), "💥".repeat(2_048)] {
            let actor = actor(&name, "");
            let counted = Counted {
                control: "c",
                severity: Severity::High,
                account: "123456789012",
                actor: Some(&actor),
                is_backlog: false,
            };
            let counts = budgets(&Policy::observe(), &counted, at(0));
            assert_eq!(counts.len(), 4);
            assert!(counts.iter().all(|count| count.key.len() < 1_500), "{counts:?}");
        }
    }

    #[test]
    fn infrastructure_code_is_named_by_its_tool() {
        let agent = "APN/1.0 HashiCorp/1.0 Terraform/1.9.2 (+https://www.terraform.io) aws-sdk-go";
        assert_eq!(tool_of(&actor("arn", agent)), "role deploy with Terraform/1.9.2");
        assert_eq!(tool_of(&actor("arn", "aws-cli/2")), "role deploy");
        let stack = Actor {
            invoked_by: Some("cloudformation.amazonaws.com".into()),
            ..actor("arn", "cloudformation.amazonaws.com")
        };
        assert_eq!(tool_of(&stack), "role deploy with CloudFormation");
    }
}
