//! Deactivates access keys that others got hold of.
//!
//! ## What it fixes
//! An active long-term key (`AKIA…`) of a user that AWS Health reports as exposed (`AWS_RISK_CREDENTIALS_EXPOSED`), or that
//! GuardDuty saw used from where its owner is not (`UnauthorizedAccess:IAMUser/*`,
//! `CredentialAccess:IAMUser/CompromisedCredentials`). It is set to inactive, and never deleted. Where AWS put
//! `AWSCompromisedKeyQuarantine…` on a user, nobody says which key it was: each active key of that user is deactivated as
//! long as the policy is attached. The policy itself stays: it is for people to detach, once the keys are replaced.
//!
//! Temporary keys (`ASIA…`), roles and the root user are not its business.
//!
//! ## Why it matters
//! Exposed keys are found and used within minutes, and AWS's quarantine denies only some of what they may do.
//!
//! ## What can break
//! Whatever uses the key is refused from then on, often a build or an application outside AWS. Make a second key first if
//! you can, and replace the exposed one. Temporary credentials that were made with the key before stay valid until they end.
//!
//! ## Undo
//! The keys that were active are active again. That they are known to others stays true.

use std::{collections::BTreeMap, fmt};

use aws_sdk_iam::Client;
use quell_engine::{
    Background, CallError, Clients, Control, Description, During, Listen, Meta, Plan, Progress,
    Safety, Severity, Signal, Trigger, aws::OrMissing, control::TargetError,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    access_key::{self, KeyId, Keys, Switch},
    principal::{self, Principal},
};
use crate::partition;

pub struct ExposedKey(Client);

/// A key, or a user on whom AWS put the quarantine policy. As text: `AKIA…`, or `user/alice`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Exposed {
    Key(KeyId),
    User(Principal),
}

const ATTACHED: &str = "iam:ListAttachedUserPolicies";

/// `AWSCompromisedKeyQuarantine`, `…V2`, `…V3`.
/// <https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSCompromisedKeyQuarantineV3.html>
const QUARANTINE: &str = "AWSCompromisedKeyQuarantine";

impl Control for ExposedKey {
    const META: Meta = Meta {
        id: "iam-exposed-key",
        title: "Exposed access keys are inactive",
        risk: "Others hold an access key of the account and can do whatever its user may.",
        severity: Severity::Critical,
        safety: Safety::Safe,
        reversible: true,
        satisfies: &["nist-800-53-r5/AC-2(13)", "nist-800-53-r5/IA-5(7)", "nist-800-53-r5/IR-4(1)"],
        function: "iam-credentials",
        listens: &[
            Listen::Health { codes: &["AWS_RISK_CREDENTIALS_EXPOSED"] },
            // https://docs.aws.amazon.com/guardduty/latest/ug/guardduty_finding-types-iam.html
            Listen::GuardDuty {
                types: &[
                    "CredentialAccess:IAMUser/CompromisedCredentials",
                    "UnauthorizedAccess:IAMUser/*",
                ],
                min_severity: 0.0,
            },
            Listen::ApiCall {
                source: "aws.iam",
                service: "iam.amazonaws.com",
                calls: &["AttachUserPolicy"],
            },
        ],
        discovers: &[],
        reads: &[access_key::LAST_USED, access_key::LIST, ATTACHED, access_key::TAGS],
        writes: &[access_key::UPDATE],
        baseline: false,
        visible_within: 0,
        source: file!(),
    };

    const IS_GLOBAL: bool = true;

    type Target = Exposed;
    type State = Keys;
    type Change = Switch;

    fn connect(aws: &Clients) -> Self {
        Self(principal::client(aws))
    }

    fn targets(signal: &Signal) -> Result<Vec<Exposed>, TargetError> {
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        let refuse = |field, reason: &str| TargetError {
            control: Self::META.id,
            field,
            reason: reason.to_owned(),
        };
        match &signal.trigger {
            Trigger::Health { entities, .. } => {
                let mut keys: Vec<_> = entities.iter().filter_map(|entity| key(entity)).collect();
                keys.dedup();
                if keys.is_empty()
                    && !entities.iter().any(|entity| access_key::is_temporary(entity))
                {
                    return Err(refuse("detail.affectedEntities", "none of them is an access key"));
                }
                Ok(keys)
            }
            Trigger::GuardDuty { resource, .. } => {
                let id = resource.pointer("/accessKeyDetails/accessKeyId").and_then(Value::as_str);
                let kind = resource.pointer("/accessKeyDetails/userType").and_then(Value::as_str);
                let of_user = id.filter(|_| kind == Some("IAMUser"));
                Ok(of_user.and_then(key).into_iter().collect())
            }
            Trigger::ApiCall { parameters, .. } => {
                let text = |name: &str| parameters.get(name).and_then(Value::as_str);
                let is_other = text("policyArn").is_some_and(|arn| {
                    arn.rsplit('/').next().is_some_and(|name| !name.starts_with(QUARANTINE))
                });
                if is_other {
                    return Ok(Vec::new());
                }
                let user = text("userName").and_then(Principal::user);
                let user = user.ok_or_else(|| {
                    refuse("requestParameters.userName", "it is not the name of a user")
                })?;
                Ok(vec![Exposed::User(user)])
            }
            Trigger::Manual { resource, .. } => {
                let text = resource.trim();
                let user = Principal::parse(text, &signal.account)
                    .filter(|principal| principal.kind() == principal::Kind::User);
                let named = key(text).or(user.map(Exposed::User));
                let named = named.ok_or_else(|| {
                    refuse("detail.resource", "it is neither a long-term key nor a user")
                })?;
                Ok(vec![named])
            }
            _ => Ok(Vec::new()),
        }
    }

    async fn assess(&self, exposed: &Exposed) -> Result<Option<Keys>, CallError> {
        let (user, is_all) = match exposed {
            Exposed::User(user) => {
                let Some(is_quarantined) = self.is_quarantined(user).await? else {
                    return Ok(None);
                };
                (user.clone(), is_quarantined)
            }
            Exposed::Key(key) => {
                let Some(user) = access_key::user_of(&self.0, key).await? else { return Ok(None) };
                (user, false)
            }
        };
        let found = Keys::read(&self.0, &user, |_, _| false).await?;
        Ok(found.and_then(|mut found| {
            let is_named = |id: &KeyId| matches!(exposed, Exposed::Key(key) if key == id);
            found.keys.retain(|id, _| is_all || is_named(id));
            (matches!(exposed, Exposed::User(_)) || !found.keys.is_empty()).then_some(found)
        }))
    }

    fn inform(state: &mut Keys, background: &Background<'_, Keys>) {
        state.inform(background);
    }

    fn same(one: &Keys, other: &Keys) -> bool {
        one.same(other)
    }

    fn withheld(state: &Keys) -> Option<String> {
        state.withheld()
    }

    fn plan(found: &Keys) -> Plan<Switch> {
        found.deactivate(found.active().map(|(id, _)| id))
    }

    async fn apply(
        &self,
        _: &Exposed,
        change: &Switch,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        change.apply(&self.0).await
    }

    fn revert(before: &Keys, after: &Keys) -> Plan<Switch> {
        before.revert(after)
    }

    fn describe(_: &Keys, change: &Switch) -> Description {
        change.describe("")
    }

    fn notes(state: &Keys) -> Vec<String> {
        vec![format!("the key is of {}", state.user)]
    }

    fn console(exposed: &Exposed, region: &str) -> String {
        match exposed {
            Exposed::User(user) => user.console(region),
            Exposed::Key(_) => {
                let console = partition::console("iam", partition::first_region(region));
                format!("{console}#/users")
            }
        }
    }

    /// Keys have no ARN of their own; this one is made in the way of the others.
    fn arn(exposed: &Exposed, account: &str, region: &str) -> String {
        let partition = partition::of(region);
        match exposed {
            Exposed::User(user) => user.arn(partition, account),
            Exposed::Key(key) => format!("arn:{partition}:iam::{account}:access-key/{key}"),
        }
    }

    async fn tags(&self, exposed: &Exposed) -> Result<BTreeMap<String, String>, CallError> {
        let Some(found) = self.assess(exposed).await? else { return Ok(BTreeMap::new()) };
        access_key::tags(&self.0, &found.user).await
    }
}

impl ExposedKey {
    /// Whether AWS's policy is attached. `None`: there is no such user.
    async fn is_quarantined(&self, user: &Principal) -> Result<Option<bool>, CallError> {
        let mut next = None;
        loop {
            let page = self.0.list_attached_user_policies().user_name(user.name()).set_marker(next);
            let page = page.send().await.during(ATTACHED).or_missing(&["NoSuchEntity"])?;
            let Some(page) = page else { return Ok(None) };
            // A customer's own policy of that name says nothing.
            let is_it = |arn: &str| arn.contains(&format!(":iam::aws:policy/{QUARANTINE}"));
            let attached = page.attached_policies.unwrap_or_default();
            if attached.iter().filter_map(|policy| policy.policy_arn()).any(is_it) {
                return Ok(Some(true));
            }
            next = page.marker.filter(|_| page.is_truncated);
            if next.is_none() {
                return Ok(Some(false));
            }
        }
    }
}

fn key(text: &str) -> Option<Exposed> {
    KeyId::parse(text).map(Exposed::Key)
}

impl fmt::Display for Exposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => key.fmt(f),
            Self::User(user) => user.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{iam::access_key::Key, s3::tests::signal};

    const KEY: &str = "AKIAQUELLSAMPLE00001";

    fn id(text: &str) -> KeyId {
        KeyId::parse(text).unwrap()
    }

    fn named(trigger: Trigger) -> Result<Vec<String>, TargetError> {
        Ok(ExposedKey::targets(&signal(trigger))?.iter().map(ToString::to_string).collect())
    }

    fn finding(id: &str, user_type: &str) -> Trigger {
        Trigger::GuardDuty {
            kind: "UnauthorizedAccess:IAMUser/TorIPCaller".into(),
            severity: 5.0,
            resource: json!({"accessKeyDetails": {"accessKeyId": id, "userType": user_type}}),
            affected: json!(null),
        }
    }

    fn attached(parameters: Value) -> Trigger {
        Trigger::ApiCall {
            service: "iam.amazonaws.com".into(),
            name: "AttachUserPolicy".into(),
            parameters,
            response: json!(null),
            resources: Vec::new(),
        }
    }

    #[test]
    fn long_term_keys_of_users_are_its_targets_and_nothing_else() {
        let health = |entity: &str| Trigger::Health {
            code: "AWS_RISK_CREDENTIALS_EXPOSED".into(),
            entities: vec![entity.into()],
        };
        assert_eq!(named(health(KEY)).unwrap(), [KEY]);
        assert_eq!(named(finding(KEY, "IAMUser")).unwrap(), [KEY]);
        for other in [
            health("ASIAQUELLSAMPLE00001"),
            finding("ASIAQUELLSAMPLE00001", "IAMUser"),
            finding("ASIAQUELLSAMPLE00001", "Role"),
            finding(KEY, "Root"),
        ] {
            assert_eq!(named(other.clone()).unwrap(), [""; 0], "{other:?}");
        }
        assert!(named(health("i-0abc")).is_err());
    }

    #[test]
    fn only_the_quarantine_of_aws_points_at_a_user() {
        let arn = "arn:aws:iam::aws:policy/AWSCompromisedKeyQuarantineV3";
        let found = named(attached(json!({"userName": "alice", "policyArn": arn})));
        assert_eq!(found.unwrap(), ["user/alice"]);
        let other =
            json!({"userName": "alice", "policyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess"});
        assert_eq!(named(attached(other)).unwrap(), [""; 0]);
        assert!(named(attached(json!({"policyArn": arn, "userName": "a/b"}))).is_err());
    }

    #[test]
    fn active_keys_are_deactivated_and_undo_knows_which() {
        let user = Principal::user("alice").unwrap();
        let key = |active| Key { active, age: 1, used: None };
        let keys = |first| Keys {
            user: user.clone(),
            keys: [(id(KEY), key(first)), (id("AKIAQUELLSAMPLE00002"), key(false))].into(),
            is_break_glass: false,
        };
        let switch = |active| Switch { user: user.clone(), key: id(KEY), active };
        let (before, after) = (keys(true), keys(false));
        assert_eq!(ExposedKey::plan(&before).changes, [switch(false)]);
        assert!(ExposedKey::plan(&after).is_empty());
        assert_eq!(ExposedKey::revert(&before, &after).changes, [switch(true)]);
        assert!(ExposedKey::withheld(&Keys { is_break_glass: true, ..before }).is_some());
    }
}
