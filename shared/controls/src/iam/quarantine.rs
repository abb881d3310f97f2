//! Holds a user or a role back from everything.
//!
//! ## What it fixes
//! A user or a role that GuardDuty says behaves as a stolen one, with high severity: the policy `<stack>-quarantine-<region>` is attached to it. It
//! denies everything, so that whoever holds its keys, its password or a session of it can do nothing more, from the next call
//! on. Nothing is deleted. Any user or role can be held back by hand, too.
//!
//! IAM needs seconds until the policy counts everywhere, and whoever is there may detach it meanwhile: Quell looks for ten
//! seconds whether it stays, attaches it again up to three times, and says so.
//!
//! Nothing is done, and people are told why, where it is a role of Quell, of a service of AWS or of Identity Center, or where
//! `break_glass` of the policy file names it.
//!
//! ## Why it matters
//! An intruder with valid credentials is stopped by nothing else as fast: keys have copies, and sessions go on until they end.
//!
//! ## What can break
//! All that the user or role does, at once: also what it is there for. A role may be taken by several programs. Who is held
//! back cannot detach the policy, but anybody else who may change users and roles can.
//!
//! ## Undo
//! Detaches the policy.

use std::{collections::BTreeMap, time::Duration};

use quell_engine::{
    Background, CallError, Clients, Control, Description, Listen, Meta, Plan, Progress, Safety,
    Severity, Signal, Trigger, control::TargetError,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    denial::{Attach, Denial},
    holder::Holder,
    principal::Principal,
};
use crate::partition;

/// <https://docs.aws.amazon.com/guardduty/latest/ug/guardduty_findings-severity.html>
const HIGH: f64 = 7.0;

/// Of the credentials of an instance.
const EXFILTRATION: &str = "UnauthorizedAccess:IAMUser/InstanceCredentialExfiltration.";

pub struct Quarantine(Denial);

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Suspect {
    pub principal: Principal,
    /// The policy that denies everything.
    pub policy: String,
    pub is_held_back: bool,
    /// Whether people get in by it when all else fails.
    #[serde(default)]
    pub is_break_glass: bool,
}

impl Control for Quarantine {
    const META: Meta = Meta {
        id: "iam-quarantine",
        title: "A user or role that behaves as a stolen one can do nothing",
        risk: "Somebody uses this user or role who should not.",
        severity: Severity::Critical,
        safety: Safety::NeedsApproval,
        reversible: true,
        satisfies: &["nist-800-53-r5/AC-2(13)", "nist-800-53-r5/IR-4(1)", "nist-800-53-r5/SI-4(7)"],
        function: "iam-credentials",
        listens: &[Listen::GuardDuty {
            // https://docs.aws.amazon.com/guardduty/latest/ug/guardduty_finding-types-iam.html
            types: &[
                "CredentialAccess:IAMUser/*",
                "DefenseEvasion:IAMUser/*",
                "Exfiltration:IAMUser/*",
                "Impact:IAMUser/*",
                "InitialAccess:IAMUser/*",
                "Persistence:IAMUser/*",
                "PrivilegeEscalation:IAMUser/*",
                "UnauthorizedAccess:IAMUser/*",
            ],
            // What is less than [`HIGH`] is heard for others.
            min_severity: 0.0,
        }],
        discovers: &[],
        reads: &[
            "iam:ListAttachedRolePolicies",
            "iam:ListAttachedUserPolicies",
            "iam:ListRoleTags",
            "iam:ListUserTags",
        ],
        writes: &[
            "iam:AttachRolePolicy",
            "iam:AttachUserPolicy",
            "iam:DetachRolePolicy",
            "iam:DetachUserPolicy",
        ],
        baseline: false,
        visible_within: 0,
        source: file!(),
    };

    const IS_GLOBAL: bool = true;

    const WATCHED_FOR: Duration = Duration::from_secs(10);

    type Target = Principal;
    type State = Suspect;
    type Change = Attach;

    fn connect(aws: &Clients) -> Self {
        Self(Denial::new(aws, "quarantine"))
    }

    fn targets(signal: &Signal) -> Result<Vec<Principal>, TargetError> {
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        let (field, found) = match &signal.trigger {
            // What is less is often somebody's first day.
            Trigger::GuardDuty { severity, .. } if *severity < HIGH => return Ok(Vec::new()),
            // Its sessions end, and the role goes on: `iam-role-sessions`.
            Trigger::GuardDuty { kind, .. } if kind.starts_with(EXFILTRATION) => {
                return Ok(Vec::new());
            }
            Trigger::GuardDuty { resource, .. } => {
                let text = |field: &str| {
                    resource.pointer(&format!("/accessKeyDetails/{field}")).and_then(Value::as_str)
                };
                let name = text("userName").unwrap_or_default();
                let found = match text("userType") {
                    Some("IAMUser") => Principal::user(name),
                    Some("AssumedRole" | "Role") => Principal::role(name),
                    // Root, federated users, services and other accounts cannot be held back by a policy here.
                    _ => return Ok(Vec::new()),
                };
                ("detail.resource.accessKeyDetails.userName", found)
            }
            Trigger::Manual { resource, .. } => {
                ("detail.resource", Principal::parse(resource.trim(), &signal.account))
            }
            _ => return Ok(Vec::new()),
        };
        let reason = "it names neither a user nor a role".to_owned();
        let found = found.ok_or(TargetError { control: Self::META.id, field, reason })?;
        Ok(vec![found])
    }

    async fn assess(&self, principal: &Principal) -> Result<Option<Suspect>, CallError> {
        let attached = self.0.is_attached(principal).await?;
        Ok(attached.map(|is_held_back| Suspect {
            principal: principal.clone(),
            policy: self.0.policy.clone(),
            is_held_back,
            is_break_glass: false,
        }))
    }

    fn inform(state: &mut Suspect, background: &Background<'_, Suspect>) {
        state.is_break_glass = state.principal.is_break_glass(background.trusted);
    }

    fn same(one: &Suspect, other: &Suspect) -> bool {
        one.principal == other.principal && one.is_held_back == other.is_held_back
    }

    fn withheld(state: &Suspect) -> Option<String> {
        state.principal.withheld(state.is_break_glass)
    }

    /// Who is named is to be held back: only the event, or who asks, knows why.
    fn plan(state: &Suspect) -> Plan<Attach> {
        if state.is_held_back { Plan::nothing() } else { Attach::plan(&state.policy) }
    }

    async fn apply(
        &self,
        principal: &Principal,
        change: &Attach,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        self.0.apply(principal, change).await
    }

    fn revert(before: &Suspect, after: &Suspect) -> Plan<Attach> {
        Attach::revert(&before.policy, before.is_held_back, after.is_held_back)
    }

    fn describe(state: &Suspect, change: &Attach) -> Description {
        change.describe(&state.principal, ": everything is denied")
    }

    fn console(principal: &Principal, region: &str) -> String {
        principal.console(region)
    }

    fn arn(principal: &Principal, account: &str, region: &str) -> String {
        principal.arn(partition::of(region), account)
    }

    async fn tags(&self, principal: &Principal) -> Result<BTreeMap<String, String>, CallError> {
        self.0.iam.tags(&Holder::Principal(principal.clone())).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::s3::tests::signal;

    fn found(kind: &str, name: &str) -> Result<Vec<Principal>, TargetError> {
        Quarantine::targets(&signal(Trigger::GuardDuty {
            kind: "PrivilegeEscalation:IAMUser/AnomalousBehavior".into(),
            severity: 8.0,
            resource: json!({"accessKeyDetails": {"userType": kind, "userName": name}}),
            affected: json!(null),
        }))
    }

    #[test]
    fn the_finding_names_a_user_or_a_role() {
        for (kind, name, named) in [
            ("IAMUser", "alice", "user/alice"),
            ("AssumedRole", "deploy", "role/deploy"),
            ("Role", "deploy", "role/deploy"),
        ] {
            assert_eq!(found(kind, name).unwrap()[0].to_string(), named);
        }
        for nobody in ["Root", "FederatedUser", "AWSService", "AWSAccount"] {
            assert_eq!(found(nobody, "x"), Ok(Vec::new()), "{nobody}");
        }
        assert!(found("IAMUser", "a/b").is_err());
    }

    #[test]
    fn who_is_suspected_is_held_back_and_undo_lets_go() {
        let before = Suspect {
            principal: Principal::role("deploy").unwrap(),
            policy: "arn:aws:iam::123456789012:policy/quell-quarantine-eu-west-1".into(),
            is_held_back: false,
            is_break_glass: false,
        };
        let after = Suspect { is_held_back: true, ..before.clone() };
        let change = Quarantine::plan(&before).changes.remove(0);
        assert!(Quarantine::plan(&after).is_empty());
        let described = Quarantine::describe(&before, &change);
        assert_eq!(described.action, "iam:AttachRolePolicy");
        assert_eq!(
            described.plus,
            ["role/deploy: quell-quarantine-eu-west-1 attached: everything is denied"]
        );
        let undo = Quarantine::revert(&before, &after).changes.remove(0);
        assert_eq!(Quarantine::describe(&after, &undo).action, "iam:DetachRolePolicy");
        let own = Principal::role("quell-OperatorRole-1").unwrap();
        assert!(Quarantine::withheld(&Suspect { principal: own, ..before }).is_some());
    }
}
