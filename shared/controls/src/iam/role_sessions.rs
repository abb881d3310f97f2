//! Ends the sessions of a role that are in the wrong hands.
//!
//! ## What it fixes
//! A role whose temporary credentials GuardDuty saw used from where they do not belong: an inline policy `AWSRevokeOlderSessions`,
//! as the console writes it, denies everything to sessions of the role that began before. Who takes the role anew is not held
//! back. Of a role that was revoked before, only the time is moved on, unless that is less than an hour ago: GuardDuty repeats
//! its findings, and what has new credentials since is to go on.
//!
//! Sessions of a role have no key that could be deactivated. IAM needs seconds until a policy counts everywhere, and whoever
//! has the session may take it off meanwhile: Quell looks for ten seconds whether it stays, puts it back up to three times, and
//! says so.
//!
//! Nothing is done, and people are told why, where it is a role of Quell, of a service of AWS or of Identity Center, or where
//! `break_glass` of the policy file names it.
//!
//! ## Why it matters
//! Temporary credentials work for up to twelve hours from anywhere, whatever becomes of the instance or function that they were
//! taken from.
//!
//! ## What can break
//! Everything that runs with the role loses access until it has credentials from after that moment. Instances and functions
//! keep theirs for hours: restart them, or undo.
//!
//! ## Undo
//! Deletes the policy, or writes it as it was before.

use std::{collections::BTreeMap, fmt, time::Duration};

use jiff::{SignedDuration, Timestamp};
use quell_engine::{
    Background, CallError, Clients, Control, Description, Effect, Listen, Meta, Plan, Progress,
    Safety, Severity, Signal, Trigger, control::TargetError,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    holder::{Holder, Policies},
    principal::{Kind, Principal},
};
use crate::{partition, policy::document};

/// The name that AWS's console gives it.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_revoke-sessions.html>
const POLICY: &str = "AWSRevokeOlderSessions";

/// A finding that comes so soon after is the same theft.
const REPEATED: SignedDuration = SignedDuration::from_hours(1);

pub struct RoleSessions(Policies);

/// A role, and since when its sessions are anybody's. As text: `role/deploy`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Stolen {
    role: Principal,
    by: Timestamp,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Sessions {
    pub role: Principal,
    /// Sessions that began before this are to end.
    pub by: Timestamp,
    /// The policy that ends sessions, if there is one.
    pub policy: Option<String>,
    /// Whether people get in by it when all else fails.
    #[serde(default)]
    pub is_break_glass: bool,
}

/// The policy that is to be. `None`: none.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Put {
    pub policy: Option<String>,
}

impl Control for RoleSessions {
    const META: Meta = Meta {
        id: "iam-role-sessions",
        title: "Stolen sessions of a role have ended",
        risk: "Somebody holds a session of this role and can do whatever it may.",
        severity: Severity::Critical,
        safety: Safety::NeedsApproval,
        reversible: true,
        satisfies: &["nist-800-53-r5/AC-2(13)", "nist-800-53-r5/AC-12", "nist-800-53-r5/IR-4(1)"],
        // The one function that may write inline policies.
        function: "iam-privilege",
        listens: &[Listen::GuardDuty {
            // https://docs.aws.amazon.com/guardduty/latest/ug/guardduty_finding-types-iam.html
            types: &["UnauthorizedAccess:IAMUser/InstanceCredentialExfiltration.*"],
            min_severity: 0.0,
        }],
        discovers: &[],
        reads: &["iam:GetRolePolicy", "iam:ListRolePolicies", "iam:ListRoleTags"],
        writes: &["iam:DeleteRolePolicy", "iam:PutRolePolicy"],
        baseline: false,
        visible_within: 0,
        source: file!(),
    };

    const IS_GLOBAL: bool = true;

    const WATCHED_FOR: Duration = Duration::from_secs(10);

    type Target = Stolen;
    type State = Sessions;
    type Change = Put;

    fn connect(aws: &Clients) -> Self {
        Self(Policies::new(aws))
    }

    fn targets(signal: &Signal) -> Result<Vec<Stolen>, TargetError> {
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        let (field, role) = match &signal.trigger {
            Trigger::GuardDuty { resource, .. } => {
                let text = |field: &str| {
                    resource.pointer(&format!("/accessKeyDetails/{field}")).and_then(Value::as_str)
                };
                if !matches!(text("userType"), Some("AssumedRole" | "Role")) {
                    return Ok(Vec::new());
                }
                let name = text("userName").and_then(Principal::role);
                ("detail.resource.accessKeyDetails.userName", name)
            }
            Trigger::Manual { resource, .. } => {
                let role = Principal::parse(resource.trim(), &signal.account);
                ("detail.resource", role.filter(|role| role.kind() == Kind::Role))
            }
            _ => return Ok(Vec::new()),
        };
        let reason = "it names no role of this account".to_owned();
        let role = role.ok_or(TargetError { control: Self::META.id, field, reason })?;
        let by = signal.time.unwrap_or_else(Timestamp::now);
        Ok(vec![Stolen { role, by: whole_seconds(by) }])
    }

    async fn assess(&self, stolen: &Stolen) -> Result<Option<Sessions>, CallError> {
        let inline = self.0.inline_of_role(stolen.role.name(), POLICY).await?;
        Ok(inline.map(|policy| Sessions {
            role: stolen.role.clone(),
            by: stolen.by,
            policy,
            is_break_glass: false,
        }))
    }

    fn inform(state: &mut Sessions, background: &Background<'_, Sessions>) {
        state.is_break_glass = state.role.is_break_glass(background.trusted);
    }

    fn same(one: &Sessions, other: &Sessions) -> bool {
        let is_same = match (&one.policy, &other.policy) {
            (Some(one), Some(other)) => document::same(one, other),
            (one, other) => one == other,
        };
        one.role == other.role && is_same
    }

    fn withheld(state: &Sessions) -> Option<String> {
        state.role.withheld(state.is_break_glass)
    }

    fn plan(state: &Sessions) -> Plan<Put> {
        let ended = state.policy.as_deref().and_then(ended_before);
        if ended.is_some_and(|ended| state.by.duration_since(ended) < REPEATED) {
            return Plan::nothing();
        }
        Plan::one(Put { policy: Some(ending(state.by)) })
    }

    async fn apply(
        &self,
        stolen: &Stolen,
        put: &Put,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        let role = Holder::Principal(stolen.role.clone());
        match &put.policy {
            Some(text) => self.0.put(&role, POLICY, text).await?,
            None => self.0.delete(&role, POLICY).await?,
        }
        Ok(None)
    }

    fn revert(before: &Sessions, after: &Sessions) -> Plan<Put> {
        if Self::same(before, after) {
            return Plan::nothing();
        }
        Plan::one(Put { policy: before.policy.clone() })
    }

    fn describe(state: &Sessions, put: &Put) -> Description {
        let line = |policy: &str| match ended_before(policy) {
            Some(time) => format!("{}: sessions that began before {time} are denied", state.role),
            None => format!("{}, inline {POLICY}: {}", state.role, document::compact(policy)),
        };
        let action =
            if put.policy.is_some() { "iam:PutRolePolicy" } else { "iam:DeleteRolePolicy" };
        Description {
            action: action.to_owned(),
            effect: Effect::Set,
            minus: state.policy.iter().map(|policy| line(policy)).collect(),
            plus: put.policy.iter().map(|policy| line(policy)).collect(),
        }
    }

    fn console(stolen: &Stolen, region: &str) -> String {
        stolen.role.console(region)
    }

    fn arn(stolen: &Stolen, account: &str, region: &str) -> String {
        stolen.role.arn(partition::of(region), account)
    }

    async fn tags(&self, stolen: &Stolen) -> Result<BTreeMap<String, String>, CallError> {
        self.0.tags(&Holder::Principal(stolen.role.clone())).await
    }
}

impl fmt::Display for Stolen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.role.fmt(f)
    }
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// As the console writes it.
fn ending(before: Timestamp) -> String {
    json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Deny",
        "Action": ["*"],
        "Resource": ["*"],
        "Condition": {"DateLessThan": {"aws:TokenIssueTime": before.to_string()}},
    }]})
    .to_string()
}

/// Before when sessions are denied everything. `None`: the policy does something else.
fn ended_before(policy: &str) -> Option<Timestamp> {
    let policy: Value = serde_json::from_str(policy).ok()?;
    let statement = match &policy["Statement"] {
        Value::Array(statements) => match statements.as_slice() {
            [statement] => statement,
            _ => return None,
        },
        statement => statement,
    };
    let is_all = |name: &str| match &statement[name] {
        Value::Array(all) => all.iter().any(|one| one == "*"),
        one => one == "*",
    };
    let conditions = statement["Condition"].as_object()?;
    let only = conditions.len() == 1 && conditions.get("DateLessThan")?.as_object()?.len() == 1;
    if statement["Effect"] != "Deny" || !is_all("Action") || !is_all("Resource") || !only {
        return None;
    }
    match &conditions["DateLessThan"]["aws:TokenIssueTime"] {
        Value::Array(times) if times.len() == 1 => times[0].as_str()?.parse().ok(),
        time => time.as_str()?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::tests::signal;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn sessions(by: &str, policy: Option<String>) -> Sessions {
        let role = Principal::role("deploy").unwrap();
        Sessions { role, by: time(by), policy, is_break_glass: false }
    }

    #[test]
    fn older_sessions_end_and_undo_lets_them_go_on() {
        let before = sessions("2026-04-02T08:04:02Z", None);
        let plan = RoleSessions::plan(&before);
        let after = Sessions { policy: plan.changes[0].policy.clone(), ..before.clone() };
        assert!(RoleSessions::plan(&after).is_empty());
        assert_eq!(RoleSessions::revert(&before, &after).changes, [Put { policy: None }]);
        let described = RoleSessions::describe(&before, &plan.changes[0]);
        assert_eq!(
            described.plus,
            ["role/deploy: sessions that began before 2026-04-02T08:04:02Z are denied"]
        );
        assert!(RoleSessions::withheld(&Sessions { is_break_glass: true, ..before }).is_some());
    }

    #[test]
    fn what_was_revoked_before_is_moved_on_and_comes_back() {
        let old = ending(time("2026-04-01T00:00:00Z"));
        let before = sessions("2026-04-02T08:04:02Z", Some(old.clone()));
        let after = sessions("2026-04-02T08:04:02Z", Some(ending(before.by)));
        assert_eq!(RoleSessions::plan(&before).changes, [Put { policy: after.policy.clone() }]);
        assert_eq!(RoleSessions::revert(&before, &after).changes, [Put { policy: Some(old) }]);
        let repeated = sessions("2026-04-02T08:50:00Z", Some(ending(before.by)));
        assert!(RoleSessions::plan(&repeated).is_empty());
        let later = sessions("2026-04-02T08:04:02Z", Some(ending(time("2026-04-03T00:00:00Z"))));
        assert!(RoleSessions::plan(&later).is_empty());
    }

    #[test]
    fn a_policy_of_that_name_that_does_less_is_none() {
        for less in [
            r#"{"Statement": []}"#.to_owned(),
            ending(time("2026-04-03T00:00:00Z")).replace("Deny", "Allow"),
            ending(time("2026-04-03T00:00:00Z")).replace("[\"*\"]", "[\"s3:*\"]"),
            ending(time("2026-04-03T00:00:00Z")).replace("}}}", "},\"Bool\":{\"a\":\"b\"}}}"),
        ] {
            assert_eq!(ended_before(&less), None, "{less}");
        }
    }

    #[test]
    fn the_finding_names_a_role() {
        let found = |kind: &str| {
            RoleSessions::targets(&signal(Trigger::GuardDuty {
                kind: "UnauthorizedAccess:IAMUser/InstanceCredentialExfiltration.OutsideAWS".into(),
                severity: 8.0,
                resource: json!({"accessKeyDetails": {"userType": kind, "userName": "deploy"}}),
                affected: json!(null),
            }))
            .unwrap()
        };
        assert_eq!(found("AssumedRole")[0].to_string(), "role/deploy");
        assert_eq!(found("IAMUser"), []);
    }
}
