//! How far a function's sweep is, and what the ledger knows of a resource that it finds in a bad state.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_dynamodb::{error::SdkError, operation::put_item::PutItemError, types::AttributeValue};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Baseline, Baselined, Item, Ledger, LedgerError, LockKey, PolicyItem,
    baseline::{self, baseline_key},
    commit::budget_key,
    document,
    halt::halt_key,
    look::{integer, lock_from_item, lock_key},
    policy::policy_key,
    record_id, string,
};
use crate::{CallError, protocol::Count};

/// The sweeps of one function: the one that is under way, or the last.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Course {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Timestamp>,
    /// Controls whose resources were all looked at.
    #[serde(default)]
    pub done: Vec<String>,
    /// Where the control that is not done is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// What was found, by control.
    #[serde(default)]
    pub found: BTreeMap<String, Found>,
    /// What the policy said about a control when a sweep last went through with it.
    #[serde(default)]
    pub modes: BTreeMap<String, String>,
    /// The same for the sweep that is under way: it does not change its mind halfway.
    #[serde(default)]
    pub modes_now: BTreeMap<String, String>,
    /// What could not be looked at. What is wrong with it may be old.
    #[serde(default)]
    pub missed: Named,
    /// The same of the sweep before.
    #[serde(default)]
    pub missed_before: Named,
    /// What was left in a bad state.
    #[serde(default)]
    pub left: Named,
    /// The same of the sweep before: what is not among them was put right in between.
    #[serde(default)]
    pub left_before: Named,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    holder: Option<Holder>,
}

/// Stands for every name.
pub const ALL: &str = "*";

/// How many names are kept for each control.
const MOST_NAMED: usize = 500;

/// Resources by control, as short hashes of their names; [`ALL`] where they are not known, or are too many.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Named(BTreeMap<String, BTreeSet<String>>);

/// Where a sweep goes on.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Place {
    pub control: String,
    /// As AWS named it. `None`: the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
    /// The last resource of the page that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// How often what comes next could not be done, or the run died of it.
    #[serde(default)]
    pub tries: u32,
    /// Whether a page could not be listed, and all began anew.
    #[serde(default)]
    pub restarted: bool,
}

/// What a sweep found of one control's resources.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Found {
    pub resources: u64,
    pub compliant: u64,
    /// In a bad state, by permission.
    pub exempt: u64,
    /// In a bad state, and dealt with by an earlier sweep or event.
    pub known: u64,
    /// In a bad state from before the policy named the control: counted, not fixed.
    pub backlog: u64,
    /// In a bad state, and dealt with now.
    pub violating: u64,
    /// Gone before they were looked at.
    pub gone: u64,
    /// In a bad state, and left alone: the control is off for it, or somebody works on it.
    pub ignored: u64,
    /// Could not be looked at, or not be put right.
    pub failed: u64,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Holder {
    delivery: String,
    until: Timestamp,
}

/// What one batch read tells a sweep.
#[derive(Debug)]
pub struct Standing {
    pub course: Course,
    /// Grows with every write.
    pub version: u64,
    pub halted: bool,
    pub policy: Option<PolicyItem>,
}

impl Course {
    /// Whether a sweep is to begin, or to go on.
    pub fn is_due(&self, every: SignedDuration, now: Timestamp) -> bool {
        match (self.begun, self.finished) {
            (Some(begun), Some(_)) => now.duration_since(begun) >= every,
            _ => true,
        }
    }

    /// The next one, which knows what the policy said when this one went through, and what it did not see.
    pub fn next(self, begun: Timestamp) -> Self {
        Self {
            begun: Some(begun),
            modes: self.modes,
            missed_before: self.missed,
            left_before: self.left,
            ..Self::default()
        }
    }

    /// Whether the run before ended without giving the course back.
    pub fn is_orphaned(&self) -> bool {
        self.holder.is_some()
    }

    /// Whether somebody else is at it.
    pub fn is_held(&self, delivery: &str, now: Timestamp) -> bool {
        let holder = self.holder.as_ref();
        holder.is_some_and(|holder| holder.delivery != delivery && now < holder.until)
    }

    pub fn hold(&mut self, delivery: &str, until: Timestamp) {
        self.holder = Some(Holder { delivery: delivery.to_owned(), until });
    }

    pub fn release(&mut self) {
        self.holder = None;
    }
}

impl Named {
    pub fn insert(&mut self, control: &str, name: &str) {
        let names = self.0.entry(control.to_owned()).or_default();
        let is_one = name != ALL && names.len() < MOST_NAMED;
        names.insert(if is_one { short(name) } else { ALL.to_owned() });
    }

    pub fn contains(&self, control: &str, name: &str) -> bool {
        let names = self.0.get(control);
        names.is_some_and(|names| names.contains(&short(name)) || names.contains(ALL))
    }
}

/// Names can be long, and an item of the ledger has to hold all of them.
fn short(name: &str) -> String {
    record_id(&[name]).chars().take(12).collect()
}

impl Ledger {
    pub async fn course(&self, function: &str) -> Result<Standing, LedgerError> {
        let keys = vec![course_key(function), halt_key(), policy_key()];
        let mut standing =
            Standing { course: Course::default(), version: 0, halted: false, policy: None };
        for item in self.batch(keys).await? {
            match family(&item) {
                "SWP" => {
                    standing.course = document::from_item(&item)?;
                    let version = integer(&item, "version");
                    standing.version =
                        version.and_then(|version| version.try_into().ok()).unwrap_or_default();
                }
                "HLT" => standing.halted = true,
                "POL" => standing.policy = Some(PolicyItem::new(item)),
                _ => {}
            }
        }
        Ok(standing)
    }

    /// Writes how far it is, if nobody wrote since `version`. `None`: somebody did.
    pub async fn keep_course(
        &self,
        function: &str,
        course: &Course,
        version: u64,
    ) -> Result<Option<u64>, LedgerError> {
        let number = |number: u64| AttributeValue::N(number.to_string());
        let mut item = document::to_item(course_key(function), course, None)?;
        item.insert("version".to_owned(), number(version + 1));
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression(
                "attribute_not_exists(pk) AND :version = :none OR #version = :version",
            )
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":version", number(version))
            .expression_attribute_values(":none", number(0))
            .send()
            .await;
        match put {
            Ok(_) => Ok(Some(version + 1)),
            Err(SdkError::ServiceError(refused))
                if matches!(refused.err(), PutItemError::ConditionalCheckFailedException(_)) =>
            {
                Ok(None)
            }
            Err(error) => Err(CallError::from_sdk("dynamodb:PutItem", error).into()),
        }
    }

    /// When the control last fixed the resource, as far as its lock remembers.
    pub async fn last_fix(
        &self,
        control: &str,
        lock: &LockKey<'_>,
    ) -> Result<Option<Timestamp>, LedgerError> {
        let items = self.batch(vec![lock_key(lock)]).await?;
        let Some(item) = items.first() else { return Ok(None) };
        let lock = lock_from_item(item)?;
        let fixes = lock.fixes.iter().filter(|fix| fix.control == control);
        Ok(fixes.map(|fix| fix.at).max())
    }

    /// Whether one more change would be within the budgets.
    pub async fn has_room(&self, counts: &[Count]) -> Result<bool, LedgerError> {
        let items = self.batch(counts.iter().map(|count| budget_key(&count.key)).collect()).await?;
        Ok(counts.iter().all(|count| {
            let key = budget_key(&count.key);
            let item = items.iter().find(|item| string(item, "pk") == string(&key, "pk"));
            let used = item.and_then(|item| integer(item, "n")).unwrap_or_default();
            used < i64::from(count.max)
        }))
    }

    /// The baselines of up to a hundred resources, by the resource. `None`: there is one, and it cannot be read.
    pub async fn baselines(
        &self,
        of: &[Baselined<'_>],
    ) -> Result<HashMap<String, Option<Baseline>>, LedgerError> {
        if of.is_empty() {
            return Ok(HashMap::new());
        }
        let names: HashMap<String, &str> = of
            .iter()
            .filter_map(|of| Some((string(&baseline_key(of), "pk")?.to_owned(), of.resource)))
            .collect();
        let found = self.batch(of.iter().map(baseline_key).collect()).await?;
        Ok(found
            .iter()
            .filter_map(|item| {
                let name = names.get(string(item, "pk")?)?;
                Some(((*name).to_owned(), baseline::from_item(item).ok()))
            })
            .collect())
    }
}

fn family(item: &Item) -> &str {
    let pk = string(item, "pk").unwrap_or_default();
    pk.split('#').next().unwrap_or_default()
}

fn course_key(function: &str) -> Item {
    document::key(&format!("SWP#{function}"), "SWEEP")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn a_sweep_begins_once_the_time_has_come_and_goes_on_until_it_is_through() {
        let hour = SignedDuration::from_hours(1);
        let mut course = Course::default();
        assert!(course.is_due(hour, at(0)), "there was none");
        course.begun = Some(at(0));
        assert!(course.is_due(hour, at(1)), "it is not through");
        course.finished = Some(at(60));
        assert!(!course.is_due(hour, at(3_599)));
        assert!(course.is_due(hour, at(3_600)));
    }

    #[test]
    fn one_delivery_at_a_time_sweeps_until_it_must_be_dead() {
        let mut course = Course::default();
        assert!(!course.is_held("one", at(0)));
        course.hold("one", at(90));
        assert!(!course.is_held("one", at(1)), "a retry of the same goes on");
        assert!(course.is_held("two", at(89)));
        assert!(!course.is_held("two", at(90)));
        course.release();
        assert!(!course.is_held("two", at(1)));
    }

    #[test]
    fn what_a_sweep_missed_or_left_the_next_one_knows_and_the_one_after_it_does_not() {
        let mut course = Course::default();
        course.missed.insert("acl", "photos");
        course.left.insert("acl", "videos");
        let next = course.next(at(0));
        assert!(next.missed_before.contains("acl", "photos"));
        assert!(!next.missed_before.contains("acl", "videos"));
        assert!(!next.missed_before.contains("other", "photos"));
        assert!(next.left_before.contains("acl", "videos"));
        let after = next.next(at(1));
        assert_eq!((after.missed_before, after.left_before), (Named::default(), Named::default()));
    }

    #[test]
    fn of_more_names_than_can_be_kept_every_one_counts() {
        let mut named = Named::default();
        for bucket in 0..=MOST_NAMED {
            named.insert("acl", &format!("bucket-{bucket}"));
        }
        assert!(named.contains("acl", "any"));
        assert!(!named.contains("other", "any"));
    }
}
