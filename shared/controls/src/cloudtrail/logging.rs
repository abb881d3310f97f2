//! Keeps trails logging.
//!
//! ## What it fixes
//! A trail that was stopped. It is started again; its settings, its selectors and its bucket stay as they are. What was
//! called in between is lost to the trail; CloudTrail's event history has the management events of the last 90 days.
//!
//! ## Why it matters
//! Stopping the trail is how attackers begin. It also makes Quell deaf: EventBridge delivers API calls only while a trail
//! that records management events is logging.
//!
//! ## What can break
//! Nothing but the bill for a trail that was stopped to save money: delete it, or exempt it. Where the stopped trail was
//! the only one, the call that stopped it may be the last that is heard, or not be heard at all: GuardDuty says so
//! minutes later, and the alarm on Quell's heartbeat sounds after a quarter of an hour. The trail of an organisation
//! can be started in its management account only: elsewhere the fix fails, and says so.
//!
//! ## Undo
//! There is none: Quell holds no right to stop a trail, so that nobody who gets hold of its credentials can. Stop it yourself.

use std::collections::BTreeMap;

use aws_sdk_cloudtrail::Client;
use quell_engine::{
    CallError, Clients, Control, Description, Discovered, During, Effect, Listen, Meta, Plan,
    Progress, Safety, Severity, Signal, Trigger, aws::OrMissing, control::TargetError,
};
use serde::{Deserialize, Serialize};

use super::trail::{self, LIST, TAGS, Trail};

pub struct Logging {
    cloudtrail: Client,
    account: String,
    region: String,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Recording {
    pub is_logging: bool,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    Start,
}

pub(super) const STATUS: &str = "cloudtrail:GetTrailStatus";
pub(super) const START: &str = "cloudtrail:StartLogging";

/// The type under which GuardDuty names a trail.
const TRAIL_TYPE: &str = "AWS::CloudTrail::Trail";

impl Control for Logging {
    const META: Meta = Meta {
        id: "cloudtrail-logging",
        title: "CloudTrail trails keep logging",
        risk: "A trail was stopped: what is done in the account from now on is not recorded, and Quell may not hear of it.",
        severity: Severity::Critical,
        safety: Safety::Safe,
        reversible: false,
        satisfies: &[
            "securityhub/CloudTrail.1",
            "cis-aws-3.0.0/3.1",
            "cis-aws-5.0.0/3.1",
            "nist-800-53-r5/AU-2",
            "nist-800-53-r5/AU-12",
        ],
        function: "audit-trail",
        listens: &[
            Listen::ApiCall {
                source: "aws.cloudtrail",
                service: "cloudtrail.amazonaws.com",
                calls: &["StopLogging"],
            },
            Listen::GuardDuty {
                types: &["Stealth:IAMUser/CloudTrailLoggingDisabled"],
                min_severity: 0.0,
            },
        ],
        discovers: &[LIST],
        reads: &[STATUS, TAGS],
        writes: &[START],
        baseline: false,
        visible_within: 0,
        source: file!(),
    };

    type Target = Trail;
    type State = Recording;
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
        let Trigger::GuardDuty { affected, .. } = &signal.trigger else {
            return Trail::of(signal, Self::META.id);
        };
        // It also tells of the bucket of a trail, which is somebody else's business.
        let is_of_others = affected
            .as_object()
            .is_some_and(|affected| !affected.is_empty() && !affected.contains_key(TRAIL_TYPE));
        if is_of_others {
            return Ok(Vec::new());
        }
        let field = "service.action.awsApiCallAction.affectedResources";
        let name = affected.get(TRAIL_TYPE).and_then(|name| name.as_str());
        Ok(vec![Trail::in_field(field, name, signal, Self::META.id)?])
    }

    /// The trails whose home is here. A shadow of one elsewhere, or of the organisation's, is looked at where it is at home.
    async fn discover(&self, page: Option<&str>) -> Result<Discovered<Trail>, CallError> {
        Trail::discover(&self.cloudtrail, page, &self.account, &self.region).await
    }

    async fn assess(&self, trail: &Trail) -> Result<Option<Recording>, CallError> {
        let status =
            self.cloudtrail.get_trail_status().name(trail.as_str()).send().await.during(STATUS);
        let status = status.or_missing(&["TrailNotFoundException"])?;
        Ok(status.map(|status| Recording { is_logging: status.is_logging() == Some(true) }))
    }

    async fn tags(&self, trail: &Trail) -> Result<BTreeMap<String, String>, CallError> {
        trail.tags(&self.cloudtrail, &self.account, &self.region).await
    }

    fn plan(found: &Recording) -> Plan<Change> {
        if found.is_logging { Plan::nothing() } else { Plan::one(Change::Start) }
    }

    async fn apply(
        &self,
        trail: &Trail,
        Change::Start: &Change,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        self.cloudtrail.start_logging().name(trail.as_str()).send().await.during(START)?;
        Ok(None)
    }

    fn revert(_: &Recording, _: &Recording) -> Plan<Change> {
        Plan::nothing()
    }

    fn describe(_: &Recording, Change::Start: &Change) -> Description {
        Description {
            action: START.into(),
            effect: Effect::Set,
            minus: vec!["logging: off".to_owned()],
            plus: vec!["logging: on".to_owned()],
        }
    }

    fn console(trail: &Trail, region: &str) -> String {
        trail.console(region)
    }

    fn arn(trail: &Trail, account: &str, region: &str) -> String {
        trail.arn(account, region)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::s3::tests::signal;

    fn stopped(parameters: Value) -> Signal {
        signal(Trigger::ApiCall {
            service: "cloudtrail.amazonaws.com".into(),
            name: "StopLogging".into(),
            parameters,
            response: json!(null),
            resources: Vec::new(),
        })
    }

    fn named(signal: &Signal) -> Result<Vec<String>, TargetError> {
        Ok(Logging::targets(signal)?.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_trail_of_here_is_known_by_its_name_and_another_by_its_arn() {
        let here = "arn:aws:cloudtrail:eu-west-1:123456789012:trail/all-calls";
        let organisation = "arn:aws:cloudtrail:us-east-1:210987654321:trail/all-calls";
        for (name, trail) in
            [("all-calls", "all-calls"), (here, "all-calls"), (organisation, organisation)]
        {
            assert_eq!(named(&stopped(json!({"name": name}))).unwrap(), [trail]);
            let finding = signal(Trigger::GuardDuty {
                kind: "Stealth:IAMUser/CloudTrailLoggingDisabled".into(),
                severity: 2.0,
                resource: json!({}),
                affected: json!({"AWS::CloudTrail::Trail": name}),
            });
            assert_eq!(named(&finding).unwrap(), [trail]);
        }
        let trail = Trail::named("all-calls", "123456789012", "eu-west-1").unwrap();
        assert_eq!(Logging::arn(&trail, "123456789012", "eu-west-1"), here);
        let trail = Trail::named(organisation, "123456789012", "eu-west-1").unwrap();
        assert_eq!(Logging::arn(&trail, "123456789012", "eu-west-1"), organisation);
    }

    #[test]
    fn what_names_no_trail_is_an_error() {
        for name in [
            json!(null),
            json!(7),
            json!("-all"),
            json!("all calls"),
            json!("all/../calls"),
            json!("arn:aws:cloudtrail:eu-west-1:123456789012:trail/*"),
            json!("arn:aws:cloudtrail:eu-west-1:12345:trail/all-calls"),
            json!("arn:aws-cn:cloudtrail:eu-west-1:123456789012:trail/all-calls"),
            json!("arn:aws:s3:eu-west-1:123456789012:trail/all-calls"),
        ] {
            let error = named(&stopped(json!({"name": name}))).unwrap_err();
            assert_eq!(error.field, "requestParameters.name", "{name}");
        }
        assert!(named(&stopped(json!(null))).is_err());
    }

    #[test]
    fn a_finding_about_a_bucket_is_for_others_and_one_about_nothing_an_error() {
        let finding = |affected| {
            signal(Trigger::GuardDuty {
                kind: "Stealth:IAMUser/CloudTrailLoggingDisabled".into(),
                severity: 2.0,
                resource: json!({}),
                affected,
            })
        };
        assert_eq!(named(&finding(json!({"AWS::S3::Bucket": "calls"}))).unwrap(), [""; 0]);
        for nothing in [json!(null), json!({}), json!({"AWS::CloudTrail::Trail": 7})] {
            assert!(named(&finding(nothing)).is_err());
        }
    }

    #[test]
    fn only_a_stopped_trail_is_started_and_nothing_stops_one() {
        let (off, on) = (Recording { is_logging: false }, Recording { is_logging: true });
        assert_eq!(Logging::plan(&off).changes, [Change::Start]);
        assert!(Logging::plan(&on).is_empty());
        assert!(Logging::revert(&off, &on).is_empty());
    }
}
