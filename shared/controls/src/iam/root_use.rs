//! Tells when somebody is the root user.
//!
//! ## What it fixes
//! Nothing: it tells. A sign-in to the console as root, an access key that root makes, root's credentials seen by GuardDuty, and an
//! account whose root user has access keys or no second factor, are a message at once, with the address it came from.
//!
//! ## Why it matters
//! No policy holds the root user back, and nobody needs it from day to day. Who has it can close the account.
//!
//! ## What can break
//! Nothing is changed: only root can deactivate root's keys. In a member account of an organisation, central root access takes root's
//! credentials away altogether.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_root-user.html>
//!
//! ## Undo
//! There is nothing to undo: nothing was changed.

use std::{collections::BTreeMap, fmt};

use aws_sdk_iam::{Client, types::SummaryKeyType};
use quell_engine::{
    CallError, CallErrorKind, Clients, Control, Description, During, Effect, Listen, Meta, Plan,
    Progress, Safety, Severity, Signal, Trigger, control::TargetError,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::principal;
use crate::partition;

const READ: &str = "iam:GetAccountSummary";

pub struct RootUse(Client);

/// The root user, and what it did. As text: `root`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Root {
    /// `None`: nothing that is known.
    did: Option<String>,
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("root")
    }
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct State {
    did: Option<String>,
    has_keys: bool,
    has_second_factor: bool,
    /// Without one nobody signs in, and there is nothing to be guarded by a second factor.
    has_password: bool,
}

impl Control for RootUse {
    const META: Meta = Meta {
        id: "iam-root-use",
        title: "Nobody uses the root user",
        risk: "Somebody uses the root user, whom no policy holds back.",
        severity: Severity::High,
        safety: Safety::ReportOnly,
        reversible: false,
        satisfies: &[
            "cis-aws-3.0/1.4",
            "cis-aws-3.0/1.5",
            "cis-aws-3.0/1.7",
            "nist-800-53-r5/AC-6(9)",
            "nist-800-53-r5/AU-6",
        ],
        function: "iam-credentials",
        listens: &[
            Listen::SignIn { by: &["Root"] },
            Listen::ApiCall {
                source: "aws.iam",
                service: "iam.amazonaws.com",
                calls: &["CreateAccessKey"],
            },
            // https://docs.aws.amazon.com/guardduty/latest/ug/guardduty_finding-types-iam.html
            Listen::GuardDuty { types: &["Policy:IAMUser/RootCredentialUsage"], min_severity: 0.0 },
            // https://docs.aws.amazon.com/securityhub/latest/userguide/iam-controls.html
            Listen::SecurityHub { generators: &["/IAM.4", "/IAM.9"], resource_type: "AwsAccount" },
        ],
        discovers: &[],
        reads: &[READ],
        writes: &[],
        baseline: false,
        visible_within: 0,
        source: file!(),
    };

    const IS_GLOBAL: bool = true;

    type Target = Root;
    type State = State;
    type Change = State;

    fn connect(aws: &Clients) -> Self {
        Self(principal::client(aws))
    }

    fn targets(signal: &Signal) -> Result<Vec<Root>, TargetError> {
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        let is_root = signal.actor.as_ref().is_some_and(|actor| actor.principal == "root");
        let did = match &signal.trigger {
            Trigger::SignIn { mfa } if is_root => Some(match mfa {
                Some(true) => "signed in with a second factor".to_owned(),
                Some(false) => "signed in without a second factor".to_owned(),
                None => "signed in".to_owned(),
            }),
            Trigger::ApiCall { parameters, .. } if is_root => {
                let user = parameters.get("userName").and_then(Value::as_str);
                let of = user.map_or("its own".to_owned(), |user| format!("user/{user}'s"));
                Some(format!("made an access key, {of}"))
            }
            Trigger::GuardDuty { resource, .. } => {
                let kind = resource.pointer("/accessKeyDetails/userType").and_then(Value::as_str);
                if kind != Some("Root") {
                    return Ok(Vec::new());
                }
                Some("called AWS, says GuardDuty".to_owned())
            }
            Trigger::SecurityHub { .. } => None,
            Trigger::Manual { resource, .. } if resource.trim() == "root" => None,
            Trigger::Manual { .. } => {
                return Err(TargetError {
                    control: Self::META.id,
                    field: "detail.resource",
                    reason: "there is one root user, and it is called root".to_owned(),
                });
            }
            _ => return Ok(Vec::new()),
        };
        Ok(vec![Root { did }])
    }

    async fn assess(&self, root: &Root) -> Result<Option<State>, CallError> {
        let found = self.0.get_account_summary().send().await.during(READ)?;
        let number = |key: SummaryKeyType| found.summary_map()?.get(&key).copied();
        let password = SummaryKeyType::from("AccountPasswordPresent");
        Ok(Some(State {
            did: root.did.clone(),
            has_keys: number(SummaryKeyType::AccountAccessKeysPresent).unwrap_or_default() > 0,
            has_second_factor: number(SummaryKeyType::AccountMfaEnabled).unwrap_or_default() > 0,
            has_password: number(password) != Some(0),
        }))
    }

    fn plan(found: &State) -> Plan<State> {
        let is_guarded = found.has_second_factor || !found.has_password;
        if found.did.is_none() && !found.has_keys && is_guarded {
            return Plan::nothing();
        }
        Plan::one(found.clone())
    }

    async fn apply(
        &self,
        _: &Root,
        _: &State,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        Err(CallError::new(
            "quell:apply",
            CallErrorKind::Refused,
            "this control only tells; root's credentials are changed by root",
        ))
    }

    fn revert(_: &State, _: &State) -> Plan<State> {
        Plan::nothing()
    }

    fn describe(_: &State, found: &State) -> Description {
        let mut minus: Vec<String> = found.did.iter().map(|did| format!("root {did}")).collect();
        if found.has_keys {
            minus.push("root has access keys".to_owned());
        }
        if !found.has_second_factor && found.has_password {
            minus.push("root has no second factor".to_owned());
        }
        Description { action: READ.into(), effect: Effect::Set, minus, plus: Vec::new() }
    }

    fn console(_: &Root, region: &str) -> String {
        let console = partition::console("iam", partition::first_region(region));
        format!("{console}#/security_credentials")
    }

    fn arn(_: &Root, account: &str, region: &str) -> String {
        format!("arn:{}:iam::{account}:root", partition::of(region))
    }

    async fn tags(&self, _: &Root) -> Result<BTreeMap<String, String>, CallError> {
        Ok(BTreeMap::new())
    }
}

#[cfg(test)]
mod tests {
    use quell_engine::Actor;
    use serde_json::json;

    use super::*;
    use crate::s3::tests::signal;

    fn by(principal: &str, trigger: Trigger) -> Vec<Root> {
        let actor = Actor { principal: principal.to_owned(), ..Actor::default() };
        RootUse::targets(&Signal { actor: Some(actor), ..signal(trigger) }).unwrap()
    }

    fn made(parameters: Value) -> Trigger {
        Trigger::ApiCall {
            service: "iam.amazonaws.com".into(),
            name: "CreateAccessKey".into(),
            parameters,
            response: json!(null),
            resources: Vec::new(),
        }
    }

    fn state(did: Option<&str>, has_keys: bool, second_factor: bool, has_password: bool) -> State {
        State {
            did: did.map(str::to_owned),
            has_keys,
            has_second_factor: second_factor,
            has_password,
        }
    }

    #[test]
    fn what_root_does_is_told_and_what_others_do_is_not() {
        for (trigger, told) in [
            (Trigger::SignIn { mfa: Some(false) }, "signed in without a second factor"),
            (Trigger::SignIn { mfa: Some(true) }, "signed in with a second factor"),
            (made(json!(null)), "made an access key, its own"),
            (made(json!({"userName": "alice"})), "made an access key, user/alice's"),
        ] {
            assert_eq!(by("root", trigger.clone()), [Root { did: Some(told.to_owned()) }]);
            assert!(by("user alice", trigger).is_empty());
        }
        let finding = |user_type: &str| Trigger::GuardDuty {
            kind: "Policy:IAMUser/RootCredentialUsage".into(),
            severity: 2.0,
            resource: json!({"accessKeyDetails": {"userType": user_type}}),
            affected: json!(null),
        };
        assert_eq!(by("nobody", finding("Root")).len(), 1);
        assert!(by("nobody", finding("IAMUser")).is_empty());
    }

    #[test]
    fn a_root_user_that_is_locked_away_is_compliant() {
        for (found, lines) in [
            (state(None, false, true, true), 0),
            (state(None, false, false, false), 0),
            (state(None, false, false, true), 1),
            (state(None, true, true, true), 1),
            (state(Some("signed in"), true, false, true), 3),
        ] {
            let plan = RootUse::plan(&found);
            let told = plan.changes.first().map(|told| RootUse::describe(&found, told).minus);
            assert_eq!(told.unwrap_or_default().len(), lines, "{found:?}");
            assert!(RootUse::revert(&found, &found).is_empty());
        }
    }
}
