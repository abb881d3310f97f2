//! Keeps AWS Config recording.
//!
//! ## What it fixes
//! A configuration recorder that was stopped is started again. A recorder or a delivery channel that was deleted is made
//! again as a sweep last saw it (role, what is recorded and how often; bucket, prefix, key, topic, how often snapshots are
//! delivered), and the recorder is started.
//!
//! Without a sweep that saw them, nothing is made: Quell does not know what they were. A recorder that is there keeps its
//! settings. Tags do not come back. What changed while nothing was recorded is lost to the history; the state that each
//! resource is found in is recorded.
//!
//! ## Why it matters
//! Config is the memory of what a resource looked like before an attack, and what Config's rules and most of Security
//! Hub's checks are decided by. Without the recorder, they stay silent.
//!
//! ## What can break
//! Nothing but the bill for a recorder that was stopped to save money: exempt it. A recorder whose name begins with
//! `aws-controltower-` is Control Tower's, whose policies forbid others to change it: it is reported. Recorders that a
//! service keeps for itself are none of this control's business.
//!
//! ## Undo
//! There is none: Quell holds no right to stop or delete a recorder, so that nobody who gets hold of its credentials can.
//! Do it yourself.

use std::collections::BTreeMap;

use aws_sdk_config::{
    Client,
    error::BuildError,
    types::{
        ConfigSnapshotDeliveryProperties, ConfigurationRecorder, DeliveryChannel,
        ExclusionByResourceTypes, MaximumExecutionFrequency, RecordingFrequency, RecordingGroup,
        RecordingMode, RecordingModeOverride, RecordingStrategy, RecordingStrategyType,
        ResourceType,
    },
};
use quell_engine::{
    Background, CallError, CallErrorKind, Clients, Control, Description, Discovered, During,
    Effect, Listen, Meta, Plan, Progress, Safety, Severity, Signal, control::TargetError,
};
use serde::{Deserialize, Serialize};

use crate::{account::Account, partition};

pub struct Recorder {
    config: Client,
    account: Account,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct State {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorder: Option<Settings>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<Channel>,
    pub is_recording: bool,
    /// What a sweep saw, and is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_recorder: Option<Settings>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_channel: Option<Channel>,
}

/// <https://docs.aws.amazon.com/config/latest/APIReference/API_ConfigurationRecorder.html>
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Settings {
    pub name: String,
    /// ARN.
    pub role: String,
    pub records: Recorded,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
}

/// Types of resources, such as `AWS::EC2::Instance`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Recorded {
    pub all: bool,
    /// With all: IAM's too.
    pub global: bool,
    pub only: Vec<String>,
    pub except: Vec<String>,
    /// `ALL_SUPPORTED_RESOURCE_TYPES` and the like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,
}

/// How often, as `CONTINUOUS` or `DAILY`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Mode {
    pub frequency: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Other>,
}

/// Types that are recorded more or less often.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Other {
    pub types: Vec<String>,
    pub frequency: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// <https://docs.aws.amazon.com/config/latest/APIReference/API_DeliveryChannel.html>
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Channel {
    pub name: String,
    pub bucket: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// ARN of a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// ARN of a topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Of snapshots, such as `TwentyFour_Hours`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frequency: Option<String>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    Recorder(Box<Settings>),
    Channel(Box<Channel>),
    /// By name.
    Start(String),
}

const READ: &str = "config:DescribeConfigurationRecorders";
const READ_STATUS: &str = "config:DescribeConfigurationRecorderStatus";
const READ_CHANNEL: &str = "config:DescribeDeliveryChannels";
const PUT: &str = "config:PutConfigurationRecorder";
const PUT_CHANNEL: &str = "config:PutDeliveryChannel";
const START: &str = "config:StartConfigurationRecorder";

/// <https://docs.aws.amazon.com/controltower/latest/controlreference/mandatory-controls.html>
const CONTROL_TOWER: &str = "aws-controltower-";

impl Control for Recorder {
    const META: Meta = Meta {
        id: "config-recorder",
        title: "AWS Config keeps recording",
        risk: "AWS Config was stopped: what resources look like is recorded no more, and its rules and most checks of Security Hub see nothing new.",
        severity: Severity::High,
        safety: Safety::Safe,
        reversible: false,
        satisfies: &[
            "securityhub/Config.1",
            "cis-aws-3.0.0/3.3",
            "cis-aws-5.0.0/3.3",
            "nist-800-53-r5/CM-3",
            "nist-800-53-r5/CM-8",
        ],
        function: "audit-trail",
        listens: &[Listen::ApiCall {
            source: "aws.config",
            service: "config.amazonaws.com",
            calls: &[
                "DeleteConfigurationRecorder",
                "DeleteDeliveryChannel",
                "StopConfigurationRecorder",
            ],
        }],
        discovers: &[READ],
        reads: &[READ, READ_STATUS, READ_CHANNEL],
        writes: &[PUT, PUT_CHANNEL, START, "iam:PassRole"],
        baseline: true,
        visible_within: 0,
        source: file!(),
    };

    /// There is one recorder, and one channel, in each region of an account.
    type Target = Account;
    type State = State;
    type Change = Change;

    fn connect(aws: &Clients) -> Self {
        let config = aws_sdk_config::config::Builder::from(aws.sdk()).interceptor(aws.calls());
        Self { config: Client::from_conf(config.build()), account: Account::own(aws) }
    }

    fn targets(signal: &Signal) -> Result<Vec<Account>, TargetError> {
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        Account::of(signal, Self::META.id)
    }

    /// What the recorder is has to be known once it is deleted.
    async fn discover(&self, _: Option<&str>) -> Result<Discovered<Account>, CallError> {
        Ok(Discovered { targets: vec![self.account.clone()], next: None })
    }

    async fn assess(&self, _: &Account) -> Result<Option<State>, CallError> {
        let (recorders, statuses, channels) = tokio::join!(
            self.config.describe_configuration_recorders().send(),
            self.config.describe_configuration_recorder_status().send(),
            self.config.describe_delivery_channels().send(),
        );
        // Asked for without a name, those that services keep for themselves are not among them; and if they were:
        let recorders = recorders.during(READ)?.configuration_recorders.unwrap_or_default();
        let recorder = recorders.into_iter().find(|one| one.service_principal.is_none());
        let recorder = recorder.map(Settings::from_sdk);
        let statuses = statuses.during(READ_STATUS)?.configuration_recorders_status;
        let is_recording = statuses.unwrap_or_default().into_iter().any(|status| {
            let name = recorder.as_ref().map(|recorder| recorder.name.as_str());
            status.recording && status.name.as_deref() == name
        });
        let channels = channels.during(READ_CHANNEL)?.delivery_channels.unwrap_or_default();
        let channel = channels.into_iter().next().map(Channel::from_sdk);
        Ok(Some(State { recorder, channel, is_recording, lost_recorder: None, lost_channel: None }))
    }

    fn inform(state: &mut State, background: &Background<'_, State>) {
        let Some(then) = background.baseline else { return };
        state.lost_recorder = then.recorder.clone().filter(|_| state.recorder.is_none());
        state.lost_channel = then.channel.clone().filter(|_| state.channel.is_none());
    }

    /// Tags of accounts are the organisation's.
    async fn tags(&self, _: &Account) -> Result<BTreeMap<String, String>, CallError> {
        Ok(BTreeMap::new())
    }

    fn plan(state: &State) -> Plan<Change> {
        let State { recorder, lost_recorder, lost_channel, is_recording, .. } = state;
        let start = recorder.as_ref().or(lost_recorder.as_ref()).filter(|_| !is_recording);
        let recorder = lost_recorder.clone().map(|lost| Change::Recorder(Box::new(lost)));
        let channel = lost_channel.clone().map(|lost| Change::Channel(Box::new(lost)));
        // AWS wants them in this order.
        recorder
            .into_iter()
            .chain(channel)
            .chain(start.map(|recorder| Change::Start(recorder.name.clone())))
            .collect()
    }

    async fn apply(
        &self,
        _: &Account,
        change: &Change,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        let refused = |action| {
            move |error: BuildError| {
                CallError::new(action, CallErrorKind::Refused, error.to_string())
            }
        };
        match change {
            Change::Recorder(settings) => {
                let recorder = settings.to_sdk().map_err(refused(PUT))?;
                let put = self.config.put_configuration_recorder();
                put.configuration_recorder(recorder).send().await.during(PUT)?;
            }
            Change::Channel(channel) => {
                let put = self.config.put_delivery_channel().delivery_channel(channel.to_sdk());
                put.send().await.during(PUT_CHANNEL)?;
            }
            Change::Start(name) => {
                let start = self.config.start_configuration_recorder();
                start.configuration_recorder_name(name).send().await.during(START)?;
            }
        }
        Ok(None)
    }

    fn revert(_: &State, _: &State) -> Plan<Change> {
        Plan::nothing()
    }

    fn describe(_: &State, change: &Change) -> Description {
        let (action, minus, plus) = match change {
            Change::Recorder(settings) => (PUT, Vec::new(), settings.lines()),
            Change::Channel(channel) => (PUT_CHANNEL, Vec::new(), channel.lines()),
            Change::Start(_) => {
                (START, vec!["recording: off".to_owned()], vec!["recording: on".to_owned()])
            }
        };
        Description { action: action.into(), effect: Effect::Set, minus, plus }
    }

    fn console(_: &Account, region: &str) -> String {
        format!("{}#/settings", partition::console("config", region))
    }

    fn arn(account: &Account, _: &str, region: &str) -> String {
        account.arn(region)
    }

    fn withheld(state: &State) -> Option<String> {
        let recorder = state.recorder.as_ref().or(state.lost_recorder.as_ref())?;
        recorder.name.starts_with(CONTROL_TOWER).then(|| {
            "the recorder is Control Tower's, whose policies let nobody else change it".to_owned()
        })
    }

    fn same(one: &State, other: &State) -> bool {
        let seen =
            |state: &State| (state.recorder.clone(), state.channel.clone(), state.is_recording);
        seen(one) == seen(other)
    }
}

impl Settings {
    fn from_sdk(found: ConfigurationRecorder) -> Self {
        let words = |types: Vec<ResourceType>| {
            types.iter().map(|kind| kind.as_str().to_owned()).collect::<Vec<_>>()
        };
        let group = found.recording_group.unwrap_or_else(|| RecordingGroup::builder().build());
        let except = group.exclusion_by_resource_types.and_then(|except| except.resource_types);
        let strategy = group.recording_strategy.and_then(|strategy| strategy.use_only);
        let mode = found.recording_mode.map(|mode| {
            let others = mode.recording_mode_overrides.unwrap_or_default().into_iter();
            let others = others.map(|other| Other {
                types: words(other.resource_types),
                frequency: other.recording_frequency.as_str().to_owned(),
                description: other.description,
            });
            Mode {
                frequency: mode.recording_frequency.as_str().to_owned(),
                others: others.collect(),
            }
        });
        Self {
            name: found.name.unwrap_or_default(),
            role: found.role_arn.unwrap_or_default(),
            records: Recorded {
                all: group.all_supported,
                global: group.include_global_resource_types,
                only: words(group.resource_types.unwrap_or_default()),
                except: words(except.unwrap_or_default()),
                strategy: strategy.map(|strategy| strategy.as_str().to_owned()),
            },
            mode,
        }
    }

    fn to_sdk(&self) -> Result<ConfigurationRecorder, BuildError> {
        let some = |types: &[String]| {
            let types = types.iter().map(|kind| ResourceType::from(kind.as_str()));
            (types.len() > 0).then(|| types.collect::<Vec<_>>())
        };
        let Recorded { all, global, only, except, strategy } = &self.records;
        let except = some(except)
            .map(|except| ExclusionByResourceTypes::builder().set_resource_types(Some(except)));
        let strategy = strategy.as_deref().map(RecordingStrategyType::from);
        let strategy = strategy.map(|only| RecordingStrategy::builder().use_only(only).build());
        let group = RecordingGroup::builder()
            .all_supported(*all)
            .include_global_resource_types(*global)
            .set_resource_types(some(only))
            .set_exclusion_by_resource_types(except.map(|except| except.build()))
            .set_recording_strategy(strategy)
            .build();
        let recorder = ConfigurationRecorder::builder()
            .name(&self.name)
            .role_arn(&self.role)
            .recording_group(group)
            .set_recording_mode(self.mode.as_ref().map(Mode::to_sdk).transpose()?);
        Ok(recorder.build())
    }

    fn lines(&self) -> Vec<String> {
        let Recorded { all, global, only, except, .. } = &self.records;
        let mut lines = vec![format!("recorder: {}", self.name), format!("role: {}", self.role)];
        if *all {
            let iam = if *global { ", IAM's too" } else { "" };
            lines.push(format!("records: everything{iam}"));
        }
        if !only.is_empty() {
            lines.push(format!("records: {}", only.join(", ")));
        }
        if !except.is_empty() {
            lines.push(format!("records: everything but {}", except.join(", ")));
        }
        lines.extend(self.mode.as_ref().map(|mode| format!("how often: {}", mode.frequency)));
        lines
    }
}

impl Mode {
    fn to_sdk(&self) -> Result<RecordingMode, BuildError> {
        let others = self.others.iter().map(|other| {
            let types = other.types.iter().map(|kind| ResourceType::from(kind.as_str()));
            RecordingModeOverride::builder()
                .set_resource_types(Some(types.collect()))
                .recording_frequency(RecordingFrequency::from(other.frequency.as_str()))
                .set_description(other.description.clone())
                .build()
        });
        let others = others.collect::<Result<Vec<_>, _>>()?;
        RecordingMode::builder()
            .recording_frequency(RecordingFrequency::from(self.frequency.as_str()))
            .set_recording_mode_overrides((!others.is_empty()).then_some(others))
            .build()
    }
}

impl Channel {
    fn from_sdk(found: DeliveryChannel) -> Self {
        let snapshots = found.config_snapshot_delivery_properties;
        let frequency = snapshots.and_then(|snapshots| snapshots.delivery_frequency);
        Self {
            name: found.name.unwrap_or_default(),
            bucket: found.s3_bucket_name.unwrap_or_default(),
            prefix: found.s3_key_prefix,
            key: found.s3_kms_key_arn,
            topic: found.sns_topic_arn,
            frequency: frequency.map(|frequency| frequency.as_str().to_owned()),
        }
    }

    fn to_sdk(&self) -> DeliveryChannel {
        let frequency = self.frequency.as_deref().map(MaximumExecutionFrequency::from);
        let snapshots = frequency.map(|frequency| {
            ConfigSnapshotDeliveryProperties::builder().delivery_frequency(frequency).build()
        });
        DeliveryChannel::builder()
            .name(&self.name)
            .s3_bucket_name(&self.bucket)
            .set_s3_key_prefix(self.prefix.clone())
            .set_s3_kms_key_arn(self.key.clone())
            .set_sns_topic_arn(self.topic.clone())
            .set_config_snapshot_delivery_properties(snapshots)
            .build()
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("channel: {}", self.name), format!("bucket: {}", self.bucket)];
        for (name, text) in [
            ("prefix", &self.prefix),
            ("key", &self.key),
            ("topic", &self.topic),
            ("snapshots", &self.frequency),
        ] {
            lines.extend(text.as_ref().map(|text| format!("{name}: {text}")));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use quell_engine::policy::Trusted;

    use super::*;

    fn settings() -> Settings {
        Settings {
            name: "default".to_owned(),
            role: "arn:aws:iam::123456789012:role/recorder".to_owned(),
            records: Recorded { all: true, global: true, ..Recorded::default() },
            mode: None,
        }
    }

    fn channel() -> Channel {
        Channel {
            name: "default".to_owned(),
            bucket: "records".to_owned(),
            prefix: None,
            key: None,
            topic: None,
            frequency: Some("TwentyFour_Hours".to_owned()),
        }
    }

    fn state(recorder: Option<Settings>, channel: Option<Channel>, is_recording: bool) -> State {
        State { recorder, channel, is_recording, lost_recorder: None, lost_channel: None }
    }

    fn informed(mut state: State) -> State {
        let then = self::state(Some(settings()), Some(channel()), true);
        let background = Background { trusted: &Trusted::NOBODY, baseline: Some(&then) };
        Recorder::inform(&mut state, &background);
        state
    }

    fn start() -> Change {
        Change::Start("default".to_owned())
    }

    #[test]
    fn a_recorder_that_is_there_is_started_and_not_changed() {
        let other =
            Settings { role: "arn:aws:iam::123456789012:role/other".to_owned(), ..settings() };
        for stopped in [settings(), other] {
            let stopped = state(Some(stopped), Some(channel()), false);
            assert_eq!(Recorder::plan(&stopped).changes, [start()]);
            assert_eq!(Recorder::plan(&informed(stopped)).changes, [start()]);
        }
        let recording = state(Some(settings()), Some(channel()), true);
        assert!(Recorder::plan(&informed(recording)).is_empty());
    }

    #[test]
    fn what_a_sweep_saw_is_made_again_and_nothing_else() {
        let recorder = Change::Recorder(Box::new(settings()));
        let channel = Change::Channel(Box::new(self::channel()));
        for (recorder_now, channel_now, plan) in [
            (None, None, vec![recorder.clone(), channel.clone(), start()]),
            (Some(settings()), None, vec![channel, start()]),
            (None, Some(self::channel()), vec![recorder, start()]),
        ] {
            let found = informed(state(recorder_now, channel_now, false));
            assert_eq!(Recorder::plan(&found).changes, plan);
        }
        assert!(Recorder::plan(&state(None, None, false)).is_empty(), "no sweep saw it");
    }

    #[test]
    fn control_towers_recorder_is_told() {
        let mut theirs = settings();
        assert_eq!(Recorder::withheld(&state(Some(theirs.clone()), None, false)), None);
        theirs.name = "aws-controltower-BaselineConfigRecorder".to_owned();
        assert!(Recorder::withheld(&state(Some(theirs.clone()), None, false)).is_some());
        let mut gone = state(None, None, false);
        gone.lost_recorder = Some(theirs);
        assert!(Recorder::withheld(&gone).is_some());
    }

    #[test]
    fn settings_come_back_as_they_were_seen() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let only = Recorded {
            only: words(&["AWS::S3::Bucket", "AWS::New::Type"]),
            strategy: Some("INCLUSION_BY_RESOURCE_TYPES".to_owned()),
            ..Recorded::default()
        };
        let except = Recorded {
            except: words(&["AWS::EC2::NetworkInterface"]),
            strategy: Some("EXCLUSION_BY_RESOURCE_TYPES".to_owned()),
            ..Recorded::default()
        };
        let daily = Mode {
            frequency: "DAILY".to_owned(),
            others: vec![Other {
                types: words(&["AWS::IAM::Role"]),
                frequency: "CONTINUOUS".to_owned(),
                description: Some("who may do what".to_owned()),
            }],
        };
        for seen in [
            settings(),
            Settings { records: only, ..settings() },
            Settings { records: except, mode: Some(daily), ..settings() },
        ] {
            assert_eq!(Settings::from_sdk(seen.to_sdk().unwrap()), seen);
        }
        let whole = Channel {
            prefix: Some("all".to_owned()),
            key: Some("arn:aws:kms:eu-west-1:123456789012:key/1".to_owned()),
            topic: Some("arn:aws:sns:eu-west-1:123456789012:records".to_owned()),
            ..channel()
        };
        for seen in [channel(), whole] {
            assert_eq!(Channel::from_sdk(seen.to_sdk()), seen);
        }
    }

    #[test]
    fn what_is_made_is_told_line_by_line() {
        let found = state(None, None, false);
        let told = Recorder::describe(&found, &Change::Recorder(Box::new(settings()))).plus;
        let role = "role: arn:aws:iam::123456789012:role/recorder";
        assert_eq!(told, ["recorder: default", role, "records: everything, IAM's too"]);
        let told = Recorder::describe(&found, &Change::Channel(Box::new(channel()))).plus;
        assert_eq!(told, ["channel: default", "bucket: records", "snapshots: TwentyFour_Hours"]);
    }
}
