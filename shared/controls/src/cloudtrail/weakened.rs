//! Keeps the settings of trails.
//!
//! ## What it fixes
//! A trail of one region only, one that leaves out global services such as IAM, and one whose log files are not validated:
//! each is switched on. A trail that no longer encrypts with a key, or no longer delivers to a log group, gets back the one
//! that a sweep last saw. It is one call, and the rest of the trail stays as it is.
//!
//! Another key and another log group are left alone, and so is another bucket: these are moves, and people are told of the
//! call by `quell-tampered`. Whether a trail is logging is for `cloudtrail-logging`; its event selectors are not looked at.
//!
//! ## Why it matters
//! Who narrows a trail leaves it running, and so unsuspected: what is done in another region, or with IAM, is no longer
//! recorded. Without validation nobody can show that log files were not changed since.
//!
//! ## What can break
//! The bill: a second trail that records management events everywhere is not free. A trail of one region by intention is to
//! be exempted. Where the key's policy no longer admits CloudTrail, or the log group is gone, AWS refuses, nothing is
//! changed, and people are told. The trail of an organisation can be changed in its management account only: elsewhere it is
//! reported.
//!
//! ## Undo
//! Sets what was changed to how it was.

use std::collections::BTreeMap;

use aws_sdk_cloudtrail::{Client, types::Trail as Described};
use quell_engine::{
    Background, CallError, CallErrorKind, Clients, Control, Description, Discovered, During,
    Effect, Listen, Meta, Plan, Progress, Safety, Severity, Signal, aws::OrMissing,
    control::TargetError,
};
use serde::{Deserialize, Serialize};

use super::trail::{self, LIST, TAGS, Trail};

pub struct Weakened {
    cloudtrail: Client,
    account: String,
    region: String,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct State {
    pub settings: Settings,
    /// Why it is changed elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elsewhere: Option<String>,
    /// The key that a sweep saw, and that is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_key: Option<String>,
    /// The log group that a sweep saw, and that is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_logs: Option<Logs>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Settings {
    pub multi_region: bool,
    pub global_services: bool,
    pub validated: bool,
    /// ARN of a KMS key.
    pub key: Option<String>,
    pub logs: Option<Logs>,
}

/// Where events are delivered beside the bucket.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Logs {
    /// ARN of a log group.
    pub group: String,
    /// ARN of the role that delivers.
    pub role: String,
}

/// One call of UpdateTrail, with what changes alone. An empty text: none.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Update {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multi_region: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub global_services: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validated: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<Logs>,
}

pub(super) const READ: &str = "cloudtrail:GetTrail";
const WRITE: &str = "cloudtrail:UpdateTrail";

/// <https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_UpdateTrail.html>
impl Control for Weakened {
    const META: Meta = Meta {
        id: "cloudtrail-weakened",
        title: "CloudTrail trails record every region and global services, and keep validation, key and log group",
        risk: "A trail was weakened: part of what is done in the account is no longer recorded, or its log files can be changed unseen.",
        severity: Severity::High,
        safety: Safety::Safe,
        reversible: true,
        satisfies: &[
            "securityhub/CloudTrail.1",
            "securityhub/CloudTrail.2",
            "securityhub/CloudTrail.4",
            "securityhub/CloudTrail.5",
            "cis-aws-3.0.0/3.1",
            "cis-aws-3.0.0/3.2",
            "nist-800-53-r5/AU-9",
            "nist-800-53-r5/AU-12",
        ],
        function: "audit-trail",
        listens: &[Listen::ApiCall {
            source: "aws.cloudtrail",
            service: "cloudtrail.amazonaws.com",
            calls: &["UpdateTrail"],
        }],
        discovers: &[LIST],
        reads: &[READ, TAGS],
        writes: &[WRITE, "iam:PassRole"],
        baseline: true,
        visible_within: 0,
        source: file!(),
    };

    type Target = Trail;
    type State = State;
    type Change = Update;

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

    async fn discover(&self, page: Option<&str>) -> Result<Discovered<Trail>, CallError> {
        Trail::discover(&self.cloudtrail, page, &self.account, &self.region).await
    }

    async fn assess(&self, trail: &Trail) -> Result<Option<State>, CallError> {
        let found = self.cloudtrail.get_trail().name(trail.as_str()).send().await.during(READ);
        let Some(found) = found.or_missing(&["TrailNotFoundException"])? else { return Ok(None) };
        let found = found.trail.ok_or_else(|| {
            CallError::new(READ, CallErrorKind::Refused, "the answer has no trail")
        })?;
        Ok(Some(State {
            settings: Settings::from_sdk(&found),
            elsewhere: trail.elsewhere(&self.account),
            lost_key: None,
            lost_logs: None,
        }))
    }

    fn inform(state: &mut State, background: &Background<'_, State>) {
        let Some(then) = background.baseline.map(|then| &then.settings) else { return };
        if state.settings.key.is_none() {
            state.lost_key.clone_from(&then.key);
        }
        if state.settings.logs.is_none() {
            state.lost_logs.clone_from(&then.logs);
        }
    }

    async fn tags(&self, trail: &Trail) -> Result<BTreeMap<String, String>, CallError> {
        trail.tags(&self.cloudtrail, &self.account, &self.region).await
    }

    fn plan(state: &State) -> Plan<Update> {
        let now = &state.settings;
        let wanted = Settings {
            multi_region: true,
            global_services: true,
            validated: true,
            key: now.key.clone().or_else(|| state.lost_key.clone()),
            logs: now.logs.clone().or_else(|| state.lost_logs.clone()),
        };
        now.towards(&wanted)
    }

    async fn apply(
        &self,
        trail: &Trail,
        update: &Update,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        let logs = update.logs.as_ref();
        self.cloudtrail
            .update_trail()
            .name(trail.as_str())
            .set_is_multi_region_trail(update.multi_region)
            .set_include_global_service_events(update.global_services)
            .set_enable_log_file_validation(update.validated)
            .set_kms_key_id(update.key.clone())
            .set_cloud_watch_logs_log_group_arn(logs.map(|logs| logs.group.clone()))
            .set_cloud_watch_logs_role_arn(logs.map(|logs| logs.role.clone()))
            .send()
            .await
            .during(WRITE)?;
        Ok(None)
    }

    fn revert(before: &State, after: &State) -> Plan<Update> {
        after.settings.towards(&before.settings)
    }

    fn describe(state: &State, update: &Update) -> Description {
        let now = &state.settings;
        let (mut minus, mut plus) = (Vec::new(), Vec::new());
        for (name, was, becomes) in [
            ("every region", now.multi_region, update.multi_region),
            ("global services", now.global_services, update.global_services),
            ("log file validation", now.validated, update.validated),
        ] {
            let told = |is_on: bool| format!("{name}: {}", if is_on { "on" } else { "off" });
            if let Some(becomes) = becomes {
                minus.push(told(was));
                plus.push(told(becomes));
            }
        }
        let group = |logs: &Logs| logs.group.clone();
        for (name, was, becomes) in [
            ("key", now.key.clone(), update.key.clone()),
            ("log group", now.logs.as_ref().map(group), update.logs.as_ref().map(group)),
        ] {
            let told = |text: Option<String>| {
                let text = text.filter(|text| !text.is_empty());
                format!("{name}: {}", text.as_deref().unwrap_or("none"))
            };
            if becomes.is_some() {
                minus.push(told(was));
                plus.push(told(becomes));
            }
        }
        Description { action: WRITE.into(), effect: Effect::Set, minus, plus }
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
        one.settings == other.settings
    }
}

impl Settings {
    pub(super) fn from_sdk(found: &Described) -> Self {
        // An empty text is how UpdateTrail is told to leave something out.
        let some = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        let logs = some(found.cloud_watch_logs_log_group_arn()).map(|group| Logs {
            group,
            role: found.cloud_watch_logs_role_arn().unwrap_or_default().to_owned(),
        });
        Self {
            multi_region: found.is_multi_region_trail() == Some(true),
            global_services: found.include_global_service_events() == Some(true),
            validated: found.log_file_validation_enabled() == Some(true),
            key: some(found.kms_key_id()),
            logs,
        }
    }

    /// What makes these settings those.
    fn towards(&self, wanted: &Self) -> Plan<Update> {
        fn changed<T: Clone + PartialEq>(now: &T, then: &T) -> Option<T> {
            (now != then).then(|| then.clone())
        }
        if self == wanted {
            return Plan::nothing();
        }
        Plan::one(Update {
            multi_region: changed(&self.multi_region, &wanted.multi_region),
            global_services: changed(&self.global_services, &wanted.global_services),
            validated: changed(&self.validated, &wanted.validated),
            key: changed(&self.key, &wanted.key).map(Option::unwrap_or_default),
            logs: changed(&self.logs, &wanted.logs).map(Option::unwrap_or_default),
        })
    }
}

#[cfg(test)]
mod tests {
    use quell_engine::{Trigger, policy::Trusted};
    use serde_json::json;

    use super::*;
    use crate::s3::tests::signal;

    const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/0a1b2c3d";

    fn logs() -> Logs {
        Logs {
            group: "arn:aws:logs:eu-west-1:123456789012:log-group:calls:*".to_owned(),
            role: "arn:aws:iam::123456789012:role/calls".to_owned(),
        }
    }

    fn whole() -> Settings {
        Settings {
            multi_region: true,
            global_services: true,
            validated: true,
            key: Some(KEY.to_owned()),
            logs: Some(logs()),
        }
    }

    fn state(settings: Settings) -> State {
        State { settings, elsewhere: None, lost_key: None, lost_logs: None }
    }

    fn informed(settings: Settings, baseline: &Settings) -> State {
        let (mut state, baseline) = (state(settings), state(baseline.clone()));
        let background = Background { trusted: &Trusted::NOBODY, baseline: Some(&baseline) };
        Weakened::inform(&mut state, &background);
        state
    }

    #[test]
    fn what_is_unsafe_by_itself_is_switched_on_without_a_baseline() {
        let plan = Weakened::plan(&state(Settings::default()));
        let on = Some(true);
        let update =
            Update { multi_region: on, global_services: on, validated: on, ..Update::default() };
        assert_eq!(plan.changes, [update]);
        assert!(Weakened::plan(&state(whole())).is_empty());
        let one = Settings { validated: false, ..whole() };
        let update = Update { validated: on, ..Update::default() };
        assert_eq!(Weakened::plan(&state(one)).changes, [update], "and nothing else");
    }

    #[test]
    fn a_key_and_a_log_group_come_back_as_they_were_and_others_are_left_alone() {
        let bare = Settings { key: None, logs: None, ..whole() };
        let update = Update { key: Some(KEY.into()), logs: Some(logs()), ..Update::default() };
        let lost = informed(bare.clone(), &whole());
        assert_eq!(Weakened::plan(&lost).changes, [update]);
        assert!(Weakened::plan(&informed(bare.clone(), &bare)).is_empty(), "there was none");
        let another = Settings { key: Some(format!("{KEY}4")), ..whole() };
        assert!(Weakened::plan(&informed(another, &whole())).is_empty());
    }

    #[test]
    fn undo_brings_back_what_was_and_an_empty_text_takes_out() {
        let before = state(Settings { multi_region: false, key: None, logs: None, ..whole() });
        let plan = Weakened::revert(&before, &state(whole()));
        let update = Update {
            multi_region: Some(false),
            key: Some(String::new()),
            logs: Some(Logs::default()),
            ..Update::default()
        };
        assert_eq!(plan.changes, [update]);
        assert!(Weakened::revert(&before, &before).is_empty());
        let shown = Weakened::describe(&state(whole()), &plan.changes[0]);
        assert_eq!(shown.plus, ["every region: off", "key: none", "log group: none"]);
    }

    #[test]
    fn what_others_own_is_told_with_the_reason() {
        let here = Trail::named("all-calls", "123456789012", "eu-west-1").unwrap();
        assert_eq!(here.elsewhere("123456789012"), None);
        for (arn, why) in [
            ("arn:aws:cloudtrail:us-east-1:210987654321:trail/org", "account 210987654321"),
            ("arn:aws:cloudtrail:us-east-1:123456789012:trail/all", "us-east-1"),
        ] {
            let trail = Trail::named(arn, "123456789012", "eu-west-1").unwrap();
            let elsewhere = trail.elsewhere("123456789012");
            let found = State { elsewhere, ..state(Settings::default()) };
            assert!(Weakened::withheld(&found).unwrap().contains(why));
        }
    }

    #[test]
    fn the_call_names_the_trail() {
        let call = |name: &str, parameters| {
            signal(Trigger::ApiCall {
                service: "cloudtrail.amazonaws.com".into(),
                name: name.into(),
                parameters,
                response: json!(null),
                resources: Vec::new(),
            })
        };
        let found = Weakened::targets(&call("UpdateTrail", json!({"name": "all-calls"}))).unwrap();
        assert_eq!(found[0].as_str(), "all-calls");
        assert!(Weakened::targets(&call("UpdateTrail", json!({"omitted": "true"}))).is_err());
        assert_eq!(Weakened::targets(&call("StopLogging", json!({"name": "a"}))), Ok(vec![]));
    }
}
