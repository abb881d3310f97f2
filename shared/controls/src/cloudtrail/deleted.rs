//! Keeps trails from being deleted.
//!
//! ## What it fixes
//! A trail that was deleted. It is made again as a sweep last saw it: its bucket and prefix, regions, global services,
//! validation, key, log group, topic, tags and event selectors; and it is started if it was logging. What was called in
//! between is lost to it; CloudTrail's event history has the management events of the last 90 days.
//!
//! Without a sweep that saw it, nothing is made: Quell does not know what the trail was. Where there is a trail of that name,
//! it was made again by somebody else, and its settings are for other controls. Insight selectors do not come back. What
//! fails after the trail was made is put right by `cloudtrail-logging` and `cloudtrail-event-selectors` at their next sweep.
//!
//! ## Why it matters
//! Deleting the trail is the end of the record, and EventBridge delivers no more API calls if there is no other.
//!
//! ## What can break
//! A tool that replaces a trail, or a trail that is to go for good: it comes back. Exempt it before. The call that deletes
//! the last trail may not be heard, and what is gone is no longer found by a sweep: the alarm on Quell's heartbeat sounds
//! after a quarter of an hour. Where the bucket, its policy, the key or the role went with the trail, AWS refuses, nothing
//! is made, and people are told. The trail of an organisation takes rights in the organisation that Quell does not
//! have: it is reported.
//!
//! ## Undo
//! There is none: Quell holds no right to delete a trail, so that nobody who gets hold of its credentials can. Delete it
//! yourself.

use std::collections::BTreeMap;

use aws_sdk_cloudtrail::{Client, types::Tag};
use quell_engine::{
    Background, CallError, CallErrorKind, Clients, Control, Description, Discovered, During,
    Effect, Listen, Meta, Plan, Progress, Safety, Severity, Signal, aws::OrMissing,
    control::TargetError,
};
use serde::{Deserialize, Serialize};

use super::{
    logging::{START, STATUS},
    selectors::{self, Selectors},
    trail::{self, LIST, TAGS, Trail},
    weakened::{READ, Settings},
};

pub struct Deleted {
    cloudtrail: Client,
    account: String,
    region: String,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct State {
    /// `None`: there is no such trail.
    pub trail: Option<Whole>,
    /// Why it is made elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elsewhere: Option<String>,
    /// The trail that a sweep saw, and that is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Whole>,
}

/// A trail with everything that is needed to make it again.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Whole {
    pub made: Made,
    #[serde(default)]
    pub selectors: Selectors,
    pub is_logging: bool,
    /// Of a trail that was made and not finished.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub was_never_started: bool,
}

/// What CreateTrail makes.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Made {
    pub bucket: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// ARN of a topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    pub settings: Settings,
    #[serde(default)]
    pub is_of_organisation: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    Create(Box<Made>),
    Select(Selectors),
    Start,
}

const CREATE: &str = "cloudtrail:CreateTrail";

/// <https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_CreateTrail.html>
impl Control for Deleted {
    const META: Meta = Meta {
        id: "cloudtrail-deleted",
        title: "CloudTrail trails are not deleted",
        risk: "A trail was deleted: what is done in the account from now on is not recorded by it, and Quell may not hear of it.",
        severity: Severity::Critical,
        safety: Safety::Safe,
        reversible: false,
        satisfies: &[
            "securityhub/CloudTrail.1",
            "cis-aws-3.0.0/3.1",
            "nist-800-53-r5/AU-2",
            "nist-800-53-r5/AU-9",
            "nist-800-53-r5/AU-12",
        ],
        function: "audit-trail",
        listens: &[Listen::ApiCall {
            source: "aws.cloudtrail",
            service: "cloudtrail.amazonaws.com",
            calls: &["DeleteTrail"],
        }],
        discovers: &[LIST],
        reads: &[READ, STATUS, selectors::READ, TAGS],
        writes: &[CREATE, "cloudtrail:AddTags", selectors::WRITE, START, "iam:PassRole"],
        baseline: true,
        visible_within: 0,
        source: file!(),
    };

    type Target = Trail;
    type State = State;
    type Change = Change;

    fn connect(aws: &Clients) -> Self {
        Self {
            cloudtrail: trail::client(aws),
            account: aws.account().to_owned(),
            region: aws.region().to_owned(),
        }
    }

    fn targets(signal: &Signal) -> Result<Vec<Trail>, TargetError> {
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        Trail::of(signal, Self::META.id)
    }

    /// What each trail is has to be known once it is deleted.
    async fn discover(&self, page: Option<&str>) -> Result<Discovered<Trail>, CallError> {
        Trail::discover(&self.cloudtrail, page, &self.account, &self.region).await
    }

    async fn assess(&self, trail: &Trail) -> Result<Option<State>, CallError> {
        let elsewhere = trail.elsewhere(&self.account);
        let found = self.whole(trail).await.or_missing(&["TrailNotFoundException"])?;
        Ok(Some(State { trail: found, elsewhere, lost: None }))
    }

    fn inform(state: &mut State, background: &Background<'_, State>) {
        let lost = background.baseline.and_then(|then| then.trail.as_ref());
        let is_lost = |lost: &&Whole| match &state.trail {
            None => true,
            // An earlier attempt made it and died: starting it comes last.
            Some(now) => now.was_never_started && lost.is_logging && now.made == lost.made,
        };
        state.lost = lost.filter(is_lost).cloned();
    }

    async fn tags(&self, trail: &Trail) -> Result<BTreeMap<String, String>, CallError> {
        let found = trail.tags(&self.cloudtrail, &self.account, &self.region).await;
        // What is deleted has none.
        let found = found.or_missing(&["ResourceNotFoundException", "TrailNotFoundException"])?;
        Ok(found.unwrap_or_default())
    }

    fn plan(state: &State) -> Plan<Change> {
        let Some(lost) = &state.lost else { return Plan::nothing() };
        let now = state.trail.as_ref().map(|trail| &trail.selectors);
        let selectors = Some(&lost.selectors).filter(|then| !then.is_empty() && now != Some(*then));
        let create = state.trail.is_none().then(|| Change::Create(Box::new(lost.made.clone())));
        create
            .into_iter()
            .chain(selectors.cloned().map(Change::Select))
            .chain(lost.is_logging.then_some(Change::Start))
            .collect()
    }

    async fn apply(
        &self,
        trail: &Trail,
        change: &Change,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        let name = trail.as_str();
        match change {
            Change::Create(made) => self.create(trail, made).await?,
            Change::Select(selectors) => selectors.write(&self.cloudtrail, name).await?,
            Change::Start => {
                self.cloudtrail.start_logging().name(name).send().await.during(START)?;
            }
        }
        Ok(None)
    }

    fn revert(_: &State, _: &State) -> Plan<Change> {
        Plan::nothing()
    }

    fn describe(_: &State, change: &Change) -> Description {
        let (action, effect, plus) = match change {
            Change::Create(made) => (CREATE, Effect::Unique, made.lines()),
            Change::Select(selectors) => {
                (selectors::WRITE, Effect::Set, vec![format!("records: {selectors}")])
            }
            Change::Start => (START, Effect::Set, vec!["logging: on".to_owned()]),
        };
        Description { action: action.into(), effect, minus: Vec::new(), plus }
    }

    fn console(trail: &Trail, region: &str) -> String {
        trail.console(region)
    }

    fn arn(trail: &Trail, account: &str, region: &str) -> String {
        trail.arn(account, region)
    }

    fn withheld(state: &State) -> Option<String> {
        let is_of_organisation =
            state.lost.as_ref().is_some_and(|lost| lost.made.is_of_organisation);
        state.elsewhere.clone().or_else(|| {
            is_of_organisation.then(|| {
                "the trail was that of the organisation, which takes rights in the organisation to make"
                    .to_owned()
            })
        })
    }

    fn same(one: &State, other: &State) -> bool {
        one.trail == other.trail
    }
}

impl Deleted {
    async fn whole(&self, trail: &Trail) -> Result<Whole, CallError> {
        let name = trail.as_str();
        // What is gone takes one call.
        let mut made = self.made(trail).await?;
        let (status, selectors, tags) = tokio::join!(
            self.cloudtrail.get_trail_status().name(name).send(),
            Selectors::read(&self.cloudtrail, name),
            trail.tags(&self.cloudtrail, &self.account, &self.region),
        );
        made.tags = tags?;
        // Tags that AWS itself sets cannot be set by anyone else.
        made.tags.retain(|key, _| !key.starts_with("aws:"));
        let status = status.during(STATUS)?;
        let is_logging = status.is_logging() == Some(true);
        let was_never_started = !is_logging && status.start_logging_time().is_none();
        Ok(Whole { made, selectors: selectors?, is_logging, was_never_started })
    }

    /// Without its tags.
    async fn made(&self, trail: &Trail) -> Result<Made, CallError> {
        let found = self.cloudtrail.get_trail().name(trail.as_str()).send().await.during(READ)?;
        let found = found.trail.ok_or_else(|| {
            CallError::new(READ, CallErrorKind::Refused, "the answer has no trail")
        })?;
        let some = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        Ok(Made {
            bucket: found.s3_bucket_name().unwrap_or_default().to_owned(),
            prefix: some(found.s3_key_prefix()),
            topic: some(found.sns_topic_arn()),
            settings: Settings::from_sdk(&found),
            is_of_organisation: found.is_organization_trail() == Some(true),
            tags: BTreeMap::new(),
        })
    }

    async fn create(&self, trail: &Trail, made: &Made) -> Result<(), CallError> {
        let Settings { multi_region, global_services, validated, key, logs } = &made.settings;
        let logs = logs.as_ref();
        let tags =
            made.tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build());
        let tags = tags.collect::<Result<Vec<_>, _>>();
        let tags = tags
            .map_err(|error| CallError::new(CREATE, CallErrorKind::Refused, error.to_string()))?;
        let created = self
            .cloudtrail
            .create_trail()
            .name(trail.as_str())
            .s3_bucket_name(&made.bucket)
            .set_s3_key_prefix(made.prefix.clone())
            .set_sns_topic_name(made.topic.clone())
            .is_multi_region_trail(*multi_region)
            .include_global_service_events(*global_services)
            .enable_log_file_validation(*validated)
            .set_kms_key_id(key.clone())
            .set_cloud_watch_logs_log_group_arn(logs.map(|logs| logs.group.clone()))
            .set_cloud_watch_logs_role_arn(logs.map(|logs| logs.role.clone()))
            .set_tags_list((!tags.is_empty()).then_some(tags))
            .send()
            .await
            .during(CREATE);
        match created {
            Ok(_) => Ok(()),
            // It is the one that an earlier attempt made.
            Err(error) if error.is("TrailAlreadyExistsException") => {
                let there = Made { tags: made.tags.clone(), ..self.made(trail).await? };
                if there == *made { Ok(()) } else { Err(error) }
            }
            Err(error) => Err(error),
        }
    }
}

impl Made {
    fn lines(&self) -> Vec<String> {
        let settings = &self.settings;
        let mut lines = vec![format!("bucket: {}", self.bucket)];
        for (name, text) in [
            ("prefix", self.prefix.as_ref()),
            ("topic", self.topic.as_ref()),
            ("key", settings.key.as_ref()),
            ("log group", settings.logs.as_ref().map(|logs| &logs.group)),
        ] {
            lines.extend(text.map(|text| format!("{name}: {text}")));
        }
        for (name, is_on) in [
            ("every region", settings.multi_region),
            ("global services", settings.global_services),
            ("log file validation", settings.validated),
        ] {
            lines.push(format!("{name}: {}", if is_on { "on" } else { "off" }));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use quell_engine::policy::Trusted;
    use serde_json::json;

    use super::*;

    fn whole() -> Whole {
        Whole {
            made: Made {
                bucket: "calls".to_owned(),
                prefix: None,
                topic: None,
                settings: Settings { multi_region: true, ..Settings::default() },
                is_of_organisation: false,
                tags: BTreeMap::new(),
            },
            selectors: serde_json::from_value(
                json!({"basic": [{"calls": "All", "management": true}]}),
            )
            .unwrap(),
            is_logging: true,
            was_never_started: false,
        }
    }

    fn state(trail: Option<Whole>) -> State {
        State { trail, elsewhere: None, lost: None }
    }

    fn informed(mut state: State, then: Option<Whole>) -> State {
        let then = self::state(then);
        let background = Background { trusted: &Trusted::NOBODY, baseline: Some(&then) };
        Deleted::inform(&mut state, &background);
        state
    }

    #[test]
    fn what_a_sweep_saw_is_made_again_and_nothing_else() {
        let plan = Deleted::plan(&informed(state(None), Some(whole())));
        let Whole { made, selectors, .. } = whole();
        let create = Change::Create(Box::new(made));
        assert_eq!(plan.changes, [create.clone(), Change::Select(selectors), Change::Start]);
        assert!(Deleted::plan(&state(None)).is_empty(), "no sweep saw it");
        assert!(Deleted::plan(&informed(state(Some(whole())), Some(whole()))).is_empty());
        let idle = Whole { selectors: Selectors::default(), is_logging: false, ..whole() };
        assert_eq!(Deleted::plan(&informed(state(None), Some(idle))).changes, [create]);
    }

    #[test]
    fn one_that_somebody_made_since_is_left_alone() {
        let other = Whole { is_logging: false, ..whole() };
        assert!(Deleted::plan(&informed(state(Some(other)), Some(whole()))).is_empty());
    }

    #[test]
    fn what_an_attempt_made_and_did_not_finish_is_finished() {
        let made = Whole {
            is_logging: false,
            was_never_started: true,
            selectors: Selectors::default(),
            ..whole()
        };
        let found = informed(state(Some(made.clone())), Some(whole()));
        assert_eq!(
            Deleted::plan(&found).changes,
            [Change::Select(whole().selectors), Change::Start]
        );
        let selected = Whole { selectors: whole().selectors, ..made.clone() };
        let found = informed(state(Some(selected)), Some(whole()));
        assert_eq!(Deleted::plan(&found).changes, [Change::Start]);
        let mut other = made;
        other.made.bucket = "theirs".to_owned();
        assert!(Deleted::plan(&informed(state(Some(other)), Some(whole()))).is_empty());
    }

    #[test]
    fn the_organisations_is_told() {
        let mut then = whole();
        assert_eq!(Deleted::withheld(&informed(state(None), Some(then.clone()))), None);
        then.made.is_of_organisation = true;
        assert!(Deleted::withheld(&informed(state(None), Some(then))).is_some());
    }

    #[test]
    fn what_is_made_is_told_line_by_line() {
        let made = Change::Create(Box::new(whole().made));
        assert_eq!(
            Deleted::describe(&state(None), &made).plus,
            [
                "bucket: calls",
                "every region: on",
                "global services: off",
                "log file validation: off"
            ]
        );
    }
}
