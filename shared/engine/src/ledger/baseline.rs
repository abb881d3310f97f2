//! Baselines: how resources were when a sweep saw them compliant, for fixes that have to restore it.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Item, LARGEST, Ledger, LedgerError, document};
use crate::During as _;

/// The resource under the control that may have to restore it.
#[derive(Clone, Copy, Debug)]
pub struct Baselined<'a> {
    pub control: &'a str,
    pub account: &'a str,
    pub region: &'a str,
    pub resource: &'a str,
}

/// How a resource was, oldest first: what somebody weakens little by little is still there as it was before.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Baseline {
    versions: Vec<Version>,
}

/// One state of the resource, as its control serialises it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Version {
    /// When it was seen first, and last.
    first: Timestamp,
    last: Timestamp,
    state: Value,
}

/// How many states of a resource are kept.
const VERSIONS: usize = 4;

/// How long a baseline is kept after it was last seen.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 90);

/// How often it is noted that a resource still looks the same.
const NOTED: SignedDuration = SignedDuration::from_hours(24);

impl Baseline {
    /// The newest state that was there before a moment; without one, the newest.
    pub fn before(&self, moment: Option<Timestamp>) -> Option<&Value> {
        let mut versions = self.versions.iter().rev();
        let is_before = |version: &&Version| moment.is_none_or(|moment| version.first < moment);
        versions.find(is_before).map(|version| &version.state)
    }

    /// With what is seen now. `None`: there is nothing new to note.
    pub fn with(&self, state: Value, now: Timestamp) -> Option<Self> {
        let mut versions = self.versions.clone();
        match versions.last_mut() {
            Some(newest) if newest.state == state => {
                if now.duration_since(newest.last) < NOTED {
                    return None;
                }
                newest.last = now;
            }
            _ => versions.push(Version { first: now, last: now, state }),
        }
        let beyond = versions.len().saturating_sub(VERSIONS);
        versions.drain(..beyond);
        // The oldest go first where all of them do not fit into an item.
        let size =
            |versions: &[Version]| serde_json::to_string(versions).map_or(0, |all| all.len());
        while versions.len() > 1 && size(&versions) > LARGEST {
            versions.remove(0);
        }
        Some(Self { versions })
    }
}

impl Ledger {
    pub async fn baseline(&self, of: &Baselined<'_>) -> Result<Option<Baseline>, LedgerError> {
        let found = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(baseline_key(of)))
            .send()
            .await
            .during("dynamodb:GetItem")?;
        found.item.as_ref().map(from_item).transpose()
    }

    /// Keeps how a resource looks now. One that is too large to be kept is `false`, and the one before stays.
    pub async fn keep_baseline(
        &self,
        of: &Baselined<'_>,
        baseline: &Baseline,
        now: Timestamp,
    ) -> Result<bool, LedgerError> {
        let until = now.checked_add(KEPT).unwrap_or(Timestamp::MAX);
        let item = document::to_item(baseline_key(of), baseline, Some(until))?;
        let size = item.get("document").and_then(|text| text.as_s().ok()).map_or(0, String::len);
        if size > LARGEST {
            return Ok(false);
        }
        self.client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .send()
            .await
            .during("dynamodb:PutItem")?;
        Ok(true)
    }
}

pub(super) fn baseline_key(of: &Baselined<'_>) -> Item {
    let Baselined { control, account, region, resource } = of;
    document::key(&format!("BSL#{control}#{account}#{region}#{resource}"), "BASELINE")
}

pub(super) fn from_item(item: &Item) -> Result<Baseline, LedgerError> {
    document::from_item(item)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn seen(states: &[(i64, Value)]) -> Baseline {
        states.iter().fold(Baseline::default(), |baseline, (second, state)| {
            baseline.with(state.clone(), at(*second)).unwrap_or(baseline)
        })
    }

    #[test]
    fn what_was_there_before_the_violation_counts() {
        let baseline = seen(&[(0, json!("good")), (100, json!("weakened"))]);
        assert_eq!(baseline.before(Some(at(50))), Some(&json!("good")));
        assert_eq!(baseline.before(Some(at(100))), Some(&json!("good")));
        assert_eq!(baseline.before(Some(at(101))), Some(&json!("weakened")));
        assert_eq!(baseline.before(Some(at(0))), None);
        assert_eq!(baseline.before(None), Some(&json!("weakened")));
    }

    #[test]
    fn what_looks_the_same_is_noted_once_a_day() {
        let baseline = seen(&[(0, json!(1))]);
        assert_eq!(baseline.with(json!(1), at(60)), None);
        let later = baseline.with(json!(1), at(24 * 60 * 60)).unwrap();
        assert_eq!(later.before(Some(at(1))), Some(&json!(1)), "it was seen first when it was");
    }

    #[test]
    fn a_few_states_are_kept_and_no_more_than_fit() {
        let many: Vec<_> = (0..10).map(|second| (second, json!(second))).collect();
        assert_eq!(seen(&many).versions.len(), VERSIONS);
        let large = |second: i64| (second, json!(format!("{second}{}", "x".repeat(200_000))));
        let baseline = seen(&[large(0), large(1)]);
        assert_eq!(baseline.versions.len(), 1);
        assert_eq!(baseline.before(None), Some(&large(1).1));
    }
}
