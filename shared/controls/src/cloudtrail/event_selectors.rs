//! Keeps what trails record.
//!
//! ## What it fixes
//! A trail whose event selectors, basic or advanced, let through less than those that a sweep last saw: no management events,
//! only reading or only writing calls, a service left out, data events of fewer resources. The selectors come back as the
//! sweep saw them.
//!
//! Selectors that let through the same or more are left alone, of whichever kind they are. Each is compared by itself: where
//! several together record what one did before in a way that is not seen, the earlier ones come back, and nothing is lost to
//! the trail. Without a sweep that saw them, nothing is changed: Quell does not know what a trail is for. Insight
//! selectors are not looked at.
//!
//! ## Why it matters
//! A trail that records no management events, or none that write, still counts as logging. It is also how Quell is made
//! deaf: EventBridge delivers API calls only of what a trail records.
//!
//! ## What can break
//! The bill: data events are paid for by their number. Who drops them to save money is to exempt the trail first. What was
//! added to the selectors since the sweep, beside what was taken away, is taken away with it; undo brings it back. The
//! trail of an organisation can be changed in its management account only: elsewhere it is reported.
//!
//! ## Undo
//! Sets the selectors to what they were.

use std::collections::BTreeMap;

use aws_sdk_cloudtrail::Client;
use quell_engine::{
    Background, CallError, Clients, Control, Description, Discovered, Effect, Listen, Meta, Plan,
    Progress, Safety, Severity, Signal, Trigger, aws::OrMissing, control::TargetError,
};
use serde::{Deserialize, Serialize};

use super::{
    selectors::{READ, Selectors, WRITE},
    trail::{self, LIST, TAGS, Trail},
};

pub struct EventSelectors {
    cloudtrail: Client,
    account: String,
    region: String,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct State {
    pub selectors: Selectors,
    /// Why they are changed elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elsewhere: Option<String>,
    /// Those that a sweep saw, and that recorded more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Selectors>,
}

/// One call of PutEventSelectors.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Put(Selectors);

/// <https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_PutEventSelectors.html>
impl Control for EventSelectors {
    const META: Meta = Meta {
        id: "cloudtrail-event-selectors",
        title: "CloudTrail trails record the events that they did",
        risk: "The event selectors of a trail were narrowed: part of what is done in the account is no longer recorded, though the trail is logging.",
        severity: Severity::High,
        safety: Safety::Safe,
        reversible: true,
        satisfies: &[
            "securityhub/CloudTrail.1",
            "cis-aws-3.0.0/3.1",
            "nist-800-53-r5/AU-2",
            "nist-800-53-r5/AU-12",
        ],
        function: "audit-trail",
        listens: &[Listen::ApiCall {
            source: "aws.cloudtrail",
            service: "cloudtrail.amazonaws.com",
            calls: &["PutEventSelectors"],
        }],
        discovers: &[LIST],
        reads: &[READ, TAGS],
        writes: &[WRITE],
        baseline: true,
        visible_within: 0,
        source: file!(),
    };

    type Target = Trail;
    type State = State;
    type Change = Put;

    fn connect(aws: &Clients) -> Self {
        Self {
            cloudtrail: trail::client(aws),
            account: aws.account().to_owned(),
            region: aws.region().to_owned(),
        }
    }

    fn targets(signal: &Signal) -> Result<Vec<Trail>, TargetError> {
        let control = Self::META.id;
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        let Trigger::ApiCall { parameters, .. } = &signal.trigger else {
            return Trail::of(signal, control);
        };
        let name = parameters.get("trailName").and_then(|name| name.as_str());
        Ok(vec![Trail::in_field("requestParameters.trailName", name, signal, control)?])
    }

    async fn discover(&self, page: Option<&str>) -> Result<Discovered<Trail>, CallError> {
        Trail::discover(&self.cloudtrail, page, &self.account, &self.region).await
    }

    async fn assess(&self, trail: &Trail) -> Result<Option<State>, CallError> {
        let found = Selectors::read(&self.cloudtrail, trail.as_str()).await;
        let found = found.or_missing(&["TrailNotFoundException"])?;
        let elsewhere = trail.elsewhere(&self.account);
        Ok(found.map(|selectors| State { selectors, elsewhere, lost: None }))
    }

    fn inform(state: &mut State, background: &Background<'_, State>) {
        let then = background.baseline.map(|then| &then.selectors);
        state.lost = then.filter(|then| !state.selectors.record_all_of(then)).cloned();
    }

    async fn tags(&self, trail: &Trail) -> Result<BTreeMap<String, String>, CallError> {
        trail.tags(&self.cloudtrail, &self.account, &self.region).await
    }

    fn plan(state: &State) -> Plan<Put> {
        state.lost.iter().cloned().map(Put).collect()
    }

    async fn apply(
        &self,
        trail: &Trail,
        Put(selectors): &Put,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        selectors.write(&self.cloudtrail, trail.as_str()).await?;
        Ok(None)
    }

    fn revert(before: &State, after: &State) -> Plan<Put> {
        // A trail always has some; none cannot be put.
        if Self::same(before, after) || before.selectors.is_empty() {
            return Plan::nothing();
        }
        Plan::one(Put(before.selectors.clone()))
    }

    fn describe(state: &State, Put(selectors): &Put) -> Description {
        Description {
            action: WRITE.into(),
            effect: Effect::Set,
            minus: vec![format!("records: {}", state.selectors)],
            plus: vec![format!("records: {selectors}")],
        }
    }

    fn console(trail: &Trail, region: &str) -> String {
        trail.console(region)
    }

    fn arn(trail: &Trail, account: &str, region: &str) -> String {
        trail.arn(account, region)
    }

    fn withheld(state: &State) -> Option<String> {
        state.elsewhere.clone()
    }

    fn same(one: &State, other: &State) -> bool {
        one.selectors == other.selectors
    }
}

#[cfg(test)]
mod tests {
    use quell_engine::policy::Trusted;
    use serde_json::{Value, json};

    use super::*;
    use crate::s3::tests::signal;

    fn state(calls: &str) -> State {
        let selectors = json!({"basic": [{"calls": calls, "management": true}]});
        State { selectors: serde_json::from_value(selectors).unwrap(), elsewhere: None, lost: None }
    }

    fn informed(mut state: State, baseline: Option<&State>) -> State {
        EventSelectors::inform(&mut state, &Background { trusted: &Trusted::NOBODY, baseline });
        state
    }

    fn named(parameters: Value) -> Result<Vec<String>, TargetError> {
        let signal = signal(Trigger::ApiCall {
            service: "cloudtrail.amazonaws.com".into(),
            name: "PutEventSelectors".into(),
            parameters,
            response: json!(null),
            resources: Vec::new(),
        });
        Ok(EventSelectors::targets(&signal)?.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_trail_is_that_of_its_own_parameter() {
        assert_eq!(named(json!({"trailName": "all-calls"})).unwrap(), ["all-calls"]);
        for wrong in [json!(null), json!({"name": "all-calls"}), json!({"trailName": 7})] {
            assert_eq!(named(wrong).unwrap_err().field, "requestParameters.trailName");
        }
    }

    #[test]
    fn only_what_records_less_than_it_did_gets_back_what_it_had() {
        let (all, writes) = (state("All"), state("WriteOnly"));
        let lost = informed(writes.clone(), Some(&all));
        assert_eq!(EventSelectors::plan(&lost).changes, [Put(all.selectors.clone())]);
        assert!(EventSelectors::plan(&informed(all.clone(), Some(&writes))).is_empty(), "more");
        assert!(EventSelectors::plan(&informed(all.clone(), Some(&all))).is_empty());
        assert!(EventSelectors::plan(&informed(writes, None)).is_empty(), "no sweep saw it");
    }

    #[test]
    fn undo_puts_what_was_there() {
        let (all, writes) = (state("All"), state("WriteOnly"));
        assert_eq!(EventSelectors::revert(&writes, &all).changes, [Put(writes.selectors.clone())]);
        assert!(EventSelectors::revert(&all, &all).is_empty());
    }
}
