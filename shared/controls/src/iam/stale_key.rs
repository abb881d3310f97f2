//! Deactivates access keys that nobody uses any more, and tells of old ones that are in use.
//!
//! ## What it fixes
//! An active key that was not used for 45 days, nor made within them, is set to inactive, and never deleted. The evidence is
//! IAM's own: when the key was last used, by which service's call and in which region. A key that is older than 90 days but in
//! use is told of and left active: who uses it has to be given another one first.
//!
//! The sweep looks for them, and Security Hub may tell of them: nothing happens when a key grows old.
//!
//! ## Why it matters
//! Keys do not end by themselves. Those that nobody misses lie in old laptops, images and repositories, and work for whoever
//! finds them.
//!
//! ## What can break
//! Something that runs less often than every 45 days, such as a yearly job or a restore that nobody tried, is refused when it comes.
//! IAM's evidence may be a few hours old. The control is only fixed by itself where the policy enforces it by name.
//!
//! ## Undo
//! The key is active again.

use std::collections::BTreeMap;

use super::{
    access_key::{self, Key, KeyId, Keys, Switch},
    principal::{self, Principal},
};
use aws_sdk_iam::Client;
use quell_engine::{
    Background, CallError, Clients, Control, Description, Discovered, Listen, Meta, Plan, Progress,
    Safety, Severity, Signal, control::TargetError,
};

/// Days without use. CIS AWS Foundations Benchmark 3.0, 1.12.
const UNUSED: i64 = 45;
/// Days since it was made. CIS AWS Foundations Benchmark 3.0, 1.14.
const OLD: i64 = 90;

pub struct StaleKey(Client);

impl Control for StaleKey {
    const META: Meta = Meta {
        id: "iam-stale-key",
        title: "Access keys that nobody uses are inactive",
        risk: "An access key that nobody uses or replaces works for whoever finds it.",
        severity: Severity::Medium,
        safety: Safety::NeedsApproval,
        reversible: true,
        satisfies: &[
            "cis-aws-3.0/1.12",
            "cis-aws-3.0/1.14",
            "nist-800-53-r5/AC-2(3)",
            "nist-800-53-r5/IA-5(1)",
        ],
        function: "iam-credentials",
        // https://docs.aws.amazon.com/securityhub/latest/userguide/iam-controls.html
        listens: &[Listen::SecurityHub {
            generators: &["/IAM.3", "/IAM.8", "/IAM.22"],
            resource_type: "AwsIamUser",
        }],
        discovers: &[access_key::LIST_USERS],
        reads: &[access_key::LIST, access_key::LAST_USED, access_key::TAGS],
        writes: &[access_key::UPDATE],
        baseline: false,
        visible_within: 0,
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
        // What is younger is neither unused nor old, whenever it was used.
        Keys::read(&self.0, user, |_, key| key.active && key.age >= UNUSED).await
    }

    fn inform(state: &mut Keys, background: &Background<'_, Keys>) {
        state.inform(background);
    }

    /// Those that nobody uses. Only where there are none, those that are old: people are told of these.
    fn plan(found: &Keys) -> Plan<Switch> {
        let unused = found.deactivate(those(found, is_unused));
        if unused.is_empty() { found.deactivate(those(found, is_old)) } else { unused }
    }

    fn withheld(found: &Keys) -> Option<String> {
        let in_use = || {
            those(found, is_unused).next().is_none().then(|| {
                format!(
                    "{}: its key is in use; make another, move what uses it, then deactivate it",
                    found.user
                )
            })
        };
        found.withheld().or_else(in_use)
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
        let key = found.keys.get(&switch.key);
        switch.describe(match key {
            Some(key) if is_unused(key) => ", not used for 45 days",
            Some(key) if is_old(key) => ", older than 90 days and in use",
            _ => "",
        })
    }

    fn notes(found: &Keys) -> Vec<String> {
        let wrong = found.keys.iter().filter(|(_, key)| is_unused(key) || is_old(key));
        wrong.map(|(id, key)| key.evidence(id)).collect()
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

fn those(found: &Keys, are: fn(&Key) -> bool) -> impl Iterator<Item = &KeyId> {
    found.keys.iter().filter(move |(_, key)| are(key)).map(|(id, _)| id)
}

fn is_unused(key: &Key) -> bool {
    key.active && key.idle() >= UNUSED
}

fn is_old(key: &Key) -> bool {
    key.active && key.age >= OLD
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iam::access_key::Use;

    const KEY: &str = "AKIAQUELLSAMPLE00001";

    fn keys(age: i64, used: Option<i64>) -> Keys {
        let used = used.map(|age| Use { age, service: "s3".into(), region: "eu-west-1".into() });
        let key = Key { active: true, age, used };
        let keys = BTreeMap::from([(KeyId::parse(KEY).unwrap(), key)]);
        Keys { user: Principal::user("alice").unwrap(), keys, is_break_glass: false }
    }

    #[test]
    fn a_key_that_nobody_used_for_45_days_goes_and_one_in_use_stays() {
        for (age, used, is_wrong, is_told_only) in [
            (44, None, false, false),
            (45, None, true, false),
            (200, Some(45), true, false),
            (200, Some(44), true, true),
            (89, Some(0), false, false),
            (90, Some(0), true, true),
        ] {
            let found = keys(age, used);
            assert_eq!(!StaleKey::plan(&found).is_empty(), is_wrong, "{age} {used:?}");
            let withheld = StaleKey::withheld(&found).is_some() && is_wrong;
            assert_eq!(withheld, is_told_only, "{age} {used:?}");
        }
        let mut inactive = keys(400, None);
        inactive.keys.values_mut().for_each(|key| key.active = false);
        assert!(StaleKey::plan(&inactive).is_empty());
    }

    #[test]
    fn what_uses_it_is_evidence_and_no_part_of_what_is_wrong() {
        let (one, later) = (keys(200, Some(60)), keys(201, Some(61)));
        assert!(StaleKey::same(&one, &later));
        let switch = &StaleKey::plan(&one).changes[0];
        assert_eq!(StaleKey::describe(&one, switch), StaleKey::describe(&later, switch));
        assert_ne!(
            StaleKey::describe(&one, switch).minus,
            StaleKey::describe(&keys(200, Some(1)), switch).minus,
            "a key that is in use is another violation than the same when nobody uses it"
        );
        let told =
            "key AKIA...00001 was made 200 days ago and last used 60 days ago, for s3 in eu-west-1";
        assert_eq!(StaleKey::notes(&one), [told]);
    }

    #[test]
    fn undo_activates_what_was_active() {
        let before = keys(100, None);
        let mut after = before.clone();
        after.keys.values_mut().for_each(|key| key.active = false);
        let plan = StaleKey::revert(&before, &after);
        assert!(plan.changes.len() == 1 && plan.changes[0].active);
        assert!(StaleKey::revert(&after, &before).is_empty());
    }

    #[test]
    fn who_breaks_glass_keeps_the_key() {
        let found = Keys { is_break_glass: true, ..keys(400, None) };
        assert!(StaleKey::withheld(&found).unwrap().contains("break_glass"));
    }
}
