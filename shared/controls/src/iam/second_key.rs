//! Tells when a user gets a second access key, and deactivates the one that nobody uses once a rotation would be over.
//!
//! ## What it fixes
//! A user with two active access keys. For seven days after the newer one was made that may be a rotation, and people are only
//! told, with who made it. After that the key that was not used for seven days is set to inactive, and never deleted: one that was
//! never used before one that was. Where both are in use, both stay, and people are told.
//!
//! ## Why it matters
//! A second key is how an intruder stays: it belongs to a user who is known, does what the user may, and goes on working when
//! the stolen one is replaced.
//!
//! ## What can break
//! Whatever uses the key less often than every seven days. The control is only fixed by itself where the policy enforces it by
//! name.
//!
//! ## Undo
//! The key is active again.

use std::collections::BTreeMap;

use super::{
    access_key::{self, Keys, Switch},
    principal::{self, Principal},
};
use aws_sdk_iam::Client;
use quell_engine::{
    Background, CallError, Clients, Control, Description, Discovered, Listen, Meta, Plan, Progress,
    Safety, Severity, Signal, control::TargetError,
};

/// Days that a rotation takes, and without use after which a key is missed by nobody.
const GRACE: i64 = 7;

pub struct SecondKey(Client);

impl Control for SecondKey {
    const META: Meta = Meta {
        id: "iam-second-key",
        title: "A user has one active access key",
        risk: "A second access key lets whoever made it come back when the first is replaced.",
        severity: Severity::Medium,
        safety: Safety::NeedsApproval,
        reversible: true,
        satisfies: &["cis-aws-3.0/1.13", "nist-800-53-r5/AC-2", "nist-800-53-r5/IA-5(1)"],
        function: "iam-credentials",
        listens: &[Listen::ApiCall {
            source: "aws.iam",
            service: "iam.amazonaws.com",
            calls: &["CreateAccessKey"],
        }],
        discovers: &[access_key::LIST_USERS],
        reads: &[access_key::LIST, access_key::LAST_USED, access_key::TAGS],
        writes: &[access_key::UPDATE],
        baseline: false,
        visible_within: 10,
        source: file!(),
    };

    const IS_GLOBAL: bool = true;

    type Target = Principal;
    type State = Keys;
    type Change = Switch;

    fn connect(aws: &Clients) -> Self {
        Self(principal::client(aws))
    }

    fn targets(signal: &Signal) -> Result<Vec<Principal>, TargetError> {
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        access_key::user_named(signal, Self::META.id)
    }

    async fn discover(&self, page: Option<&str>) -> Result<Discovered<Principal>, CallError> {
        access_key::users(&self.0, page).await
    }

    async fn assess(&self, user: &Principal) -> Result<Option<Keys>, CallError> {
        Keys::read(&self.0, user, |found, key| key.active && found.active().count() > 1).await
    }

    fn inform(state: &mut Keys, background: &Background<'_, Keys>) {
        state.inform(background);
    }

    fn plan(found: &Keys) -> Plan<Switch> {
        let missed_least = found.active().max_by_key(|(id, key)| {
            (key.used.is_none(), key.idle(), std::cmp::Reverse(key.age), (*id).clone())
        });
        let wrong = missed_least.filter(|_| found.active().count() > 1);
        found.deactivate(wrong.into_iter().map(|(id, _)| id))
    }

    fn withheld(found: &Keys) -> Option<String> {
        found.withheld().or_else(|| {
            Some(match Phase::of(found) {
                Phase::Rotating => format!(
                    "{}: this may be a rotation; a key is deactivated {GRACE} days after the newer one was made, if it is not used by then",
                    found.user
                ),
                Phase::BothUsed => format!(
                    "{}: both keys were used within {GRACE} days; move what uses one of them, then deactivate it",
                    found.user
                ),
                Phase::Over => return None,
            })
        })
    }

    fn same(one: &Keys, other: &Keys) -> bool {
        one.same(other)
    }

    async fn apply(
        &self,
        _: &Principal,
        switch: &Switch,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        switch.apply(&self.0).await
    }

    fn revert(before: &Keys, after: &Keys) -> Plan<Switch> {
        before.revert(after)
    }

    fn describe(found: &Keys, switch: &Switch) -> Description {
        switch.describe(match Phase::of(found) {
            _ if switch.active => "",
            Phase::Rotating => ", one of two, the newer made within seven days",
            Phase::BothUsed => ", one of two that are in use",
            Phase::Over => ", one of two, not used for seven days",
        })
    }

    fn notes(found: &Keys) -> Vec<String> {
        found.active().map(|(id, key)| key.evidence(id)).collect()
    }

    fn console(user: &Principal, region: &str) -> String {
        user.console(region)
    }

    fn arn(user: &Principal, account: &str, region: &str) -> String {
        user.arn(crate::partition::of(region), account)
    }

    async fn tags(&self, user: &Principal) -> Result<BTreeMap<String, String>, CallError> {
        access_key::tags(&self.0, user).await
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Rotating,
    BothUsed,
    Over,
}

impl Phase {
    fn of(found: &Keys) -> Self {
        if found.active().any(|(_, key)| key.age < GRACE) {
            Self::Rotating
        } else if found.active().all(|(_, key)| key.idle() < GRACE) {
            Self::BothUsed
        } else {
            Self::Over
        }
    }
}

#[cfg(test)]
mod tests {
    use quell_engine::Trigger;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        iam::access_key::{Key, KeyId, Use},
        s3::tests::signal,
    };

    const FIRST: &str = "AKIAQUELLSAMPLE00001";
    const SECOND: &str = "AKIAQUELLSAMPLE00002";

    fn key(age: i64, used: Option<i64>) -> Key {
        let used = used.map(|age| Use { age, service: "s3".into(), region: "eu-west-1".into() });
        Key { active: true, age, used }
    }

    fn keys(first: Key, second: Key) -> Keys {
        let keys = [(FIRST, first), (SECOND, second)];
        let keys = keys.map(|(id, key)| (KeyId::parse(id).unwrap(), key));
        Keys { user: Principal::user("alice").unwrap(), keys: keys.into(), is_break_glass: false }
    }

    fn goes(found: &Keys) -> Vec<String> {
        SecondKey::plan(found).changes.iter().map(|change| change.key.to_string()).collect()
    }

    #[test]
    fn after_a_week_the_key_that_nobody_misses_goes() {
        for (first, second, gone, phase) in [
            (key(300, Some(0)), key(6, None), SECOND, Phase::Rotating),
            (key(300, Some(0)), key(7, None), SECOND, Phase::Over),
            (key(300, Some(8)), key(7, Some(0)), FIRST, Phase::Over),
            (key(300, Some(1)), key(7, Some(0)), FIRST, Phase::BothUsed),
            (key(300, Some(60)), key(20, None), SECOND, Phase::Over),
        ] {
            let found = keys(first, second);
            assert_eq!(
                (goes(&found), Phase::of(&found)),
                (vec![gone.to_owned()], phase),
                "{found:?}"
            );
            assert_eq!(SecondKey::withheld(&found).is_some(), phase != Phase::Over);
        }
        let mut rotated = keys(key(300, None), key(1, None));
        rotated.keys.values_mut().next().unwrap().active = false;
        assert!(goes(&rotated).is_empty());
    }

    #[test]
    fn what_may_be_a_rotation_is_another_violation_when_its_time_is_over() {
        let told = |second: i64| {
            let found = keys(key(300, Some(0)), key(second, None));
            SecondKey::describe(&found, &SecondKey::plan(&found).changes[0]).minus
        };
        assert_eq!(told(0), told(6));
        assert_ne!(told(6), told(7));
        assert_eq!(told(7), told(40));
    }

    #[test]
    fn the_user_is_named_in_the_call_or_in_its_response() {
        let made = |parameters: Value, response: Value| {
            let trigger = Trigger::ApiCall {
                service: "iam.amazonaws.com".into(),
                name: "CreateAccessKey".into(),
                parameters,
                response,
                resources: Vec::new(),
            };
            SecondKey::targets(&signal(trigger))
        };
        let alice = vec![Principal::user("alice").unwrap()];
        assert_eq!(made(json!({"userName": "alice"}), json!(null)), Ok(alice.clone()));
        assert_eq!(made(json!(null), json!({"accessKey": {"userName": "alice"}})), Ok(alice));
        assert!(made(json!({"omitted": "true"}), json!(null)).is_err());
    }
}
