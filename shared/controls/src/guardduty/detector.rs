//! Keeps GuardDuty on.
//!
//! ## What it fixes
//! A detector that was suspended is enabled again; its settings stay as they are. A detector that was deleted is made
//! again as a sweep last saw it: how often findings are published, its protection plans, its tags.
//!
//! Without a sweep that saw it, none is made: Quell does not know what it was. With a deleted detector its findings,
//! suppression rules, trusted and threat lists and members are gone; those do not come back, and the new one has another
//! id. Protection plans that are switched off in a detector that stays on are left alone.
//!
//! ## Why it matters
//! GuardDuty is what sees a stolen key or a mining instance. Attackers who may do so switch it off first, and the controls
//! that hear its findings are deaf from then on.
//!
//! ## What can break
//! Nothing but the bill where GuardDuty was switched off to save money: exempt the account. In a member account the
//! administrator's account decides, and AWS refuses others: it is reported. AWS wants GuardDuty's service-linked role,
//! which stays when a detector is deleted; where somebody deleted it too, no detector is made and people are told.
//!
//! ## Undo
//! There is none, and Quell holds no right to delete a detector. AWS has one right for enabling and suspending
//! (`guardduty:UpdateDetector`): Quell never suspends one, but whoever gets hold of its credentials could. Suspend or delete
//! it yourself.

use std::collections::BTreeMap;

use aws_sdk_guardduty::{
    Client,
    types::{
        DetectorAdditionalConfiguration, DetectorFeature, DetectorFeatureConfiguration,
        DetectorFeatureConfigurationResult, DetectorStatus, FeatureAdditionalConfiguration,
        FeatureStatus, FindingPublishingFrequency,
    },
};
use quell_engine::{
    Background, CallError, Clients, Control, Description, Discovered, During, Effect, Listen, Meta,
    Plan, Progress, Safety, Severity, Signal, control::TargetError,
};
use serde::{Deserialize, Serialize};

use crate::{account::Account, partition};

pub struct Detector {
    guardduty: Client,
    account: Account,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct State {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detector: Option<Found>,
    /// The account that decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub administrator: Option<String>,
    /// What a sweep saw, and is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Settings>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Found {
    pub id: String,
    pub is_enabled: bool,
    pub settings: Settings,
}

/// <https://docs.aws.amazon.com/guardduty/latest/APIReference/API_GetDetector.html>
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Settings {
    /// Such as `SIX_HOURS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency: Option<String>,
    /// The protection plans, by name.
    pub plans: BTreeMap<String, Protection>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Protection {
    pub is_on: bool,
    /// What it manages by itself, such as agents on instances.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub with: BTreeMap<String, bool>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// By id.
    Enable(String),
    Create(Box<Settings>),
}

const LIST: &str = "guardduty:ListDetectors";
const READ: &str = "guardduty:GetDetector";
const ADMINISTRATOR: &str = "guardduty:GetAdministratorAccount";
const ENABLE: &str = "guardduty:UpdateDetector";
const CREATE: &str = "guardduty:CreateDetector";

/// What every detector watches. AWS lists it with the protection plans, and takes it with none.
const ALWAYS_ON: [&str; 3] = ["CLOUD_TRAIL", "DNS_LOGS", "FLOW_LOGS"];

impl Control for Detector {
    const META: Meta = Meta {
        id: "guardduty-detector",
        title: "GuardDuty stays on",
        risk: "GuardDuty was switched off: nobody sees stolen credentials or mining instances, and Quell hears of no findings.",
        severity: Severity::Critical,
        safety: Safety::Safe,
        reversible: false,
        satisfies: &["securityhub/GuardDuty.1", "nist-800-53-r5/SI-4", "nist-800-53-r5/SI-4(4)"],
        function: "audit-trail",
        listens: &[Listen::ApiCall {
            source: "aws.guardduty",
            service: "guardduty.amazonaws.com",
            calls: &["DeleteDetector", "UpdateDetector"],
        }],
        discovers: &[LIST],
        reads: &[LIST, READ, ADMINISTRATOR],
        writes: &[ENABLE, CREATE, "guardduty:TagResource"],
        baseline: true,
        visible_within: 0,
        source: file!(),
    };

    /// There is one detector in each region of an account.
    type Target = Account;
    type State = State;
    type Change = Change;

    fn connect(aws: &Clients) -> Self {
        let config = aws_sdk_guardduty::config::Builder::from(aws.sdk()).interceptor(aws.calls());
        Self { guardduty: Client::from_conf(config.build()), account: Account::own(aws) }
    }

    fn targets(signal: &Signal) -> Result<Vec<Account>, TargetError> {
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        Account::of(signal, Self::META.id)
    }

    /// What the detector is has to be known once it is deleted.
    async fn discover(&self, _: Option<&str>) -> Result<Discovered<Account>, CallError> {
        Ok(Discovered { targets: vec![self.account.clone()], next: None })
    }

    async fn assess(&self, _: &Account) -> Result<Option<State>, CallError> {
        let listed = self.guardduty.list_detectors().send().await.during(LIST)?;
        let Some(id) = listed.detector_ids.unwrap_or_default().into_iter().next() else {
            return Ok(Some(State { detector: None, administrator: None, lost: None }));
        };
        let (found, administrator) = tokio::join!(
            self.guardduty.get_detector().detector_id(&id).send(),
            self.guardduty.get_administrator_account().detector_id(&id).send(),
        );
        let found = found.during(READ)?;
        let administrator = administrator.during(ADMINISTRATOR)?.administrator;
        // Who was invited, and has not answered, decides by itself.
        let administrator = administrator
            .filter(|administrator| administrator.relationship_status() == Some("Enabled"));
        let plans = found.features.unwrap_or_default();
        let settings = Settings {
            frequency: found.finding_publishing_frequency.map(|one| one.as_str().to_owned()),
            plans: plans.into_iter().filter_map(Protection::from_sdk).collect(),
            // Tags that AWS itself sets cannot be set by anyone else.
            tags: found
                .tags
                .unwrap_or_default()
                .into_iter()
                .filter(|(key, _)| !key.starts_with("aws:"))
                .collect(),
        };
        let is_enabled = found.status == Some(DetectorStatus::Enabled);
        Ok(Some(State {
            detector: Some(Found { id, is_enabled, settings }),
            administrator: administrator.and_then(|administrator| administrator.account_id),
            lost: None,
        }))
    }

    fn inform(state: &mut State, background: &Background<'_, State>) {
        let Some(then) = background.baseline.filter(|_| state.detector.is_none()) else { return };
        state.lost = then.detector.as_ref().map(|then| then.settings.clone());
        // A detector is needed to ask.
        state.administrator.clone_from(&then.administrator);
    }

    /// Tags of accounts are the organisation's.
    async fn tags(&self, _: &Account) -> Result<BTreeMap<String, String>, CallError> {
        Ok(BTreeMap::new())
    }

    fn plan(state: &State) -> Plan<Change> {
        match (&state.detector, &state.lost) {
            (Some(found), _) if found.is_enabled => Plan::nothing(),
            (Some(found), _) => Plan::one(Change::Enable(found.id.clone())),
            (None, Some(lost)) => Plan::one(Change::Create(Box::new(lost.clone()))),
            (None, None) => Plan::nothing(),
        }
    }

    async fn apply(
        &self,
        account: &Account,
        change: &Change,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        match change {
            Change::Enable(id) => {
                let update = self.guardduty.update_detector().detector_id(id).enable(true);
                update.send().await.during(ENABLE)?;
                Ok(None)
            }
            Change::Create(settings) => self.create(account, settings).await.map(Some),
        }
    }

    fn revert(_: &State, _: &State) -> Plan<Change> {
        Plan::nothing()
    }

    fn describe(_: &State, change: &Change) -> Description {
        match change {
            Change::Enable(_) => Description {
                action: ENABLE.into(),
                effect: Effect::Set,
                minus: vec!["detector: suspended".to_owned()],
                plus: vec!["detector: enabled".to_owned()],
            },
            Change::Create(settings) => Description {
                action: CREATE.into(),
                effect: Effect::Unique,
                minus: Vec::new(),
                plus: settings.lines(),
            },
        }
    }

    fn console(_: &Account, region: &str) -> String {
        format!("{}#/settings", partition::console("guardduty", region))
    }

    fn arn(account: &Account, _: &str, region: &str) -> String {
        account.arn(region)
    }

    fn notes(state: &State) -> Vec<String> {
        let note = "the findings, suppression rules, trusted and threat lists and members of the deleted detector are \
                    gone, and do not come back";
        state.lost.iter().map(|_| note.to_owned()).collect()
    }

    fn withheld(state: &State) -> Option<String> {
        let account = state.administrator.as_ref()?;
        Some(format!("account {account} administers GuardDuty here, and switches it on and off"))
    }

    /// A new detector has another id.
    fn same(one: &State, other: &State) -> bool {
        let seen =
            |state: &State| state.detector.clone().map(|found| (found.is_enabled, found.settings));
        seen(one) == seen(other)
    }
}

impl Detector {
    /// Its id.
    async fn create(&self, account: &Account, settings: &Settings) -> Result<String, CallError> {
        let tags = (!settings.tags.is_empty()).then(|| settings.tags.clone().into_iter().collect());
        let frequency = settings.frequency.as_deref().map(FindingPublishingFrequency::from);
        let create = self.guardduty.create_detector().enable(true).set_tags(tags);
        let create = create.set_finding_publishing_frequency(frequency);
        let created = create.set_features(Some(settings.plans())).send().await.during(CREATE);
        match created {
            Ok(created) => Ok(created.detector_id.unwrap_or_default()),
            // There is one detector: if it is like this, an earlier attempt made it.
            Err(error) if error.is("BadRequestException") => {
                let now = self.assess(account).await?.and_then(|state| state.detector);
                match now.filter(|now| now.is_enabled && now.settings == *settings) {
                    Some(now) => Ok(now.id),
                    None => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }
}

impl Settings {
    /// Those that are off too: a new detector has most of them on.
    fn plans(&self) -> Vec<DetectorFeatureConfiguration> {
        // AWS takes one of the two, and the second is what the first became.
        let has_both = self.plans.contains_key("RUNTIME_MONITORING");
        let plans = self.plans.iter();
        let plans = plans.filter(|(name, _)| !(has_both && *name == "EKS_RUNTIME_MONITORING"));
        plans.map(|(name, plan)| plan.to_sdk(name)).collect()
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec!["detector: enabled".to_owned()];
        lines.extend(self.frequency.as_ref().map(|often| format!("publishes findings: {often}")));
        lines.extend(
            self.plans
                .iter()
                .map(|(name, plan)| format!("{name}: {}", if plan.is_on { "on" } else { "off" })),
        );
        lines
    }
}

impl Protection {
    fn from_sdk(found: DetectorFeatureConfigurationResult) -> Option<(String, Self)> {
        let name = found.name?.as_str().to_owned();
        let is_on = |status: Option<FeatureStatus>| status == Some(FeatureStatus::Enabled);
        let with = found.additional_configuration.unwrap_or_default().into_iter();
        let with = with.filter_map(|one| Some((one.name?.as_str().to_owned(), is_on(one.status))));
        let plan = Self { is_on: is_on(found.status), with: with.collect() };
        (!ALWAYS_ON.contains(&name.as_str())).then_some((name, plan))
    }

    fn to_sdk(&self, name: &str) -> DetectorFeatureConfiguration {
        let status = |is_on: bool| match is_on {
            true => FeatureStatus::Enabled,
            false => FeatureStatus::Disabled,
        };
        let with = self.with.iter().map(|(name, is_on)| {
            DetectorAdditionalConfiguration::builder()
                .name(FeatureAdditionalConfiguration::from(name.as_str()))
                .status(status(*is_on))
                .build()
        });
        let with: Vec<_> = with.collect();
        DetectorFeatureConfiguration::builder()
            .name(DetectorFeature::from(name))
            .status(status(self.is_on))
            .set_additional_configuration((!with.is_empty()).then_some(with))
            .build()
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_guardduty::types::{DetectorAdditionalConfigurationResult, DetectorFeatureResult};
    use quell_engine::policy::Trusted;

    use super::*;

    fn settings() -> Settings {
        let on = |is_on| Protection { is_on, with: BTreeMap::new() };
        let agents = [("EC2_AGENT_MANAGEMENT".to_owned(), true)];
        let runtime = Protection { is_on: true, with: agents.into() };
        let plans = [
            ("EKS_RUNTIME_MONITORING".to_owned(), on(true)),
            ("RUNTIME_MONITORING".to_owned(), runtime),
            ("S3_DATA_EVENTS".to_owned(), on(false)),
        ];
        Settings {
            frequency: Some("ONE_HOUR".to_owned()),
            plans: plans.into(),
            tags: BTreeMap::new(),
        }
    }

    fn state(detector: Option<bool>) -> State {
        let found = |is_enabled| Found { id: "d1".to_owned(), is_enabled, settings: settings() };
        State { detector: detector.map(found), administrator: None, lost: None }
    }

    fn informed(mut state: State, then: &State) -> State {
        let background = Background { trusted: &Trusted::NOBODY, baseline: Some(then) };
        Detector::inform(&mut state, &background);
        state
    }

    #[test]
    fn a_suspended_detector_is_enabled_and_a_deleted_one_made_as_a_sweep_saw_it() {
        let then = state(Some(true));
        for suspended in [state(Some(false)), informed(state(Some(false)), &then)] {
            assert_eq!(Detector::plan(&suspended).changes, [Change::Enable("d1".to_owned())]);
        }
        let gone = informed(state(None), &then);
        assert_eq!(Detector::plan(&gone).changes, [Change::Create(Box::new(settings()))]);
        assert!(!Detector::notes(&gone).is_empty());
        for right in [state(None), state(Some(true)), informed(state(Some(true)), &then)] {
            assert!(Detector::plan(&right).is_empty(), "{right:?}");
            assert!(Detector::notes(&right).is_empty());
        }
    }

    #[test]
    fn what_an_administrators_account_decides_is_told_even_once_the_detector_is_gone() {
        let mut then = state(Some(true));
        assert_eq!(Detector::withheld(&state(Some(false))), None);
        then.administrator = Some("210987654321".to_owned());
        assert!(Detector::withheld(&then).unwrap().contains("210987654321"));
        assert!(Detector::withheld(&informed(state(None), &then)).is_some());
    }

    #[test]
    fn plans_come_back_as_they_were_seen_with_one_kind_of_runtime_monitoring() {
        let plans = settings().plans();
        let names: Vec<_> = plans.iter().filter_map(|plan| plan.name()).collect();
        assert_eq!(names, [&DetectorFeature::RuntimeMonitoring, &DetectorFeature::S3DataEvents]);
        let [runtime, s3] = &plans[..] else { panic!("{plans:?}") };
        assert_eq!(s3.status(), Some(&FeatureStatus::Disabled));

        let with = runtime.additional_configuration()[0].clone();
        let with = DetectorAdditionalConfigurationResult::builder()
            .set_name(with.name)
            .set_status(with.status)
            .build();
        let found = DetectorFeatureConfigurationResult::builder()
            .name(DetectorFeatureResult::RuntimeMonitoring)
            .set_status(runtime.status.clone())
            .additional_configuration(with)
            .build();
        let (name, plan) = Protection::from_sdk(found).unwrap();
        assert_eq!(settings().plans[&name], plan);
    }

    #[test]
    fn what_every_detector_watches_is_no_plan() {
        for name in [
            DetectorFeatureResult::CloudTrail,
            DetectorFeatureResult::DnsLogs,
            DetectorFeatureResult::FlowLogs,
        ] {
            let found = DetectorFeatureConfigurationResult::builder().name(name);
            let found = found.status(FeatureStatus::Enabled).build();
            assert_eq!(Protection::from_sdk(found), None);
        }
    }

    #[test]
    fn another_id_is_no_other_detector() {
        let mut other = state(Some(true));
        other.detector.as_mut().unwrap().id = "d2".to_owned();
        assert!(Detector::same(&state(Some(true)), &other));
        assert!(!Detector::same(&state(Some(false)), &other));
        assert!(!Detector::same(&state(None), &other));
    }
}
