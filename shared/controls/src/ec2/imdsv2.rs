//! Requires IMDSv2 on an instance.
//!
//! ## What it fixes
//! An instance whose metadata service answers requests without a session token (`HttpTokens` is `optional`). Only
//! `HttpTokens` changes, to `required`; the hop limit, the IPv6 endpoint and the tags in the metadata stay as they
//! are. An instance whose metadata service is turned off is compliant.
//!
//! The control looks at an instance when it is launched, when its metadata options are changed, and when it reaches
//! the state `running`: launches by Spot, Fleet and Auto Scaling may leave no `RunInstances` event that names the
//! instance. For the same reason a `RunInstances` event without a usable response is no error.
//!
//! ## Why it matters
//! With IMDSv1, one request that an attacker can make the instance send (server-side request forgery, an open proxy)
//! is enough to read the credentials of its role. IMDSv2 asks for a session token first, which such a request cannot
//! get.
//!
//! ## What can break
//! Software that still uses IMDSv1 no longer gets credentials or metadata: old SDKs, agents and bootstrap scripts. The
//! message says how many such calls the instance made in the last 14 days (CloudWatch metric `MetadataNoToken`); "0"
//! means that the change is safe for what has run so far, "unknown" that there is no data or that it could not be
//! read. Containers behind a bridge need a hop limit of 2: if it was 1, they were already without IMDSv2 and now have
//! nothing.
//!
//! A launch template or an image that asks for `optional` makes the next instance violate again: correct it too. Where
//! a declarative policy of AWS Organizations sets the metadata options, AWS refuses the change.
//!
//! ## Undo
//! Sets `HttpTokens` back to `optional`. Nothing else was changed.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use aws_sdk_cloudwatch::{
    primitives::DateTime,
    types::{Dimension, Statistic},
};
use aws_sdk_ec2::types::{
    Filter, HttpTokensState, Instance, InstanceMetadataEndpointState as Endpoint, InstanceStateName,
};
use quell_engine::{
    CallError, CallErrorKind, Clients, Control, Description, Discovered, During, Effect, Listen,
    Meta, Plan, Progress, Safety, Severity, Signal, Trigger,
    aws::{OrMissing, WholeAnswers},
    control::TargetError,
};
use serde::{Deserialize, Serialize};

use super::instance::{self, InstanceId};
use crate::{partition, shape};

pub struct Imdsv2 {
    ec2: aws_sdk_ec2::Client,
    cloudwatch: aws_sdk_cloudwatch::Client,
}

/// The metadata options of an instance. Whether they are applied yet is left out: that changes by itself.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct MetadataOptions {
    pub http_tokens: Tokens,
    /// `enabled` or `disabled`: whether there is a metadata service at all.
    pub http_endpoint: Option<String>,
    pub hop_limit: Option<i32>,
    pub http_protocol_ipv6: Option<String>,
    pub instance_metadata_tags: Option<String>,
}

/// Whether the metadata service asks for a session token.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tokens {
    Optional,
    Required,
}

/// One call of ModifyInstanceMetadataOptions.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct SetTokens {
    pub http_tokens: Tokens,
    /// As it is: AWS wants it repeated where tokens are set.
    pub http_endpoint: Option<String>,
}

impl Control for Imdsv2 {
    const META: Meta = Meta {
        id: "ec2-imdsv2",
        title: "EC2 instances require IMDSv2",
        risk: "The instance answers metadata requests without a session token (IMDSv1), so one forged request can steal \
               the credentials of its role.",
        severity: Severity::High,
        safety: Safety::NeedsApproval,
        reversible: true,
        satisfies: &["securityhub/EC2.8", "cis-aws-3.0.0/5.6", "nist-800-53-r5/AC-6"],
        function: "ec2-metadata",
        listens: &[
            Listen::ApiCall {
                source: "aws.ec2",
                service: "ec2.amazonaws.com",
                calls: &["RunInstances", "ModifyInstanceMetadataOptions"],
            },
            Listen::InstanceState { states: &["running"] },
            Listen::Config { rules: &["ec2-imdsv2-check"], resource_type: "AWS::EC2::Instance" },
            Listen::SecurityHub { generators: &["/EC2.8"], resource_type: "AwsEc2Instance" },
        ],
        discovers: &[DESCRIBE],
        reads: &[DESCRIBE, METRIC],
        writes: &[MODIFY],
        baseline: false,
        visible_within: 120,
        source: file!(),
    };
    type Target = InstanceId;
    type State = MetadataOptions;
    type Change = SetTokens;

    fn connect(aws: &Clients) -> Self {
        let cloudwatch = aws_sdk_cloudwatch::config::Builder::from(aws.sdk())
            .interceptor(aws.calls())
            .interceptor(WholeAnswers)
            .retry_config(aws.retries())
            .retry_partition(aws.pace());
        Self {
            ec2: instance::client(aws),
            cloudwatch: aws_sdk_cloudwatch::Client::from_conf(cloudwatch.build()),
        }
    }

    fn targets(signal: &Signal) -> Result<Vec<InstanceId>, TargetError> {
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        match &signal.trigger {
            Trigger::ApiCall { response, .. }
                if signal.trigger.is_call("ec2.amazonaws.com", "RunInstances") =>
            {
                // Without a usable response nothing is named; the change to `running` will name it.
                shape::items(&response["instancesSet"]).iter().map(launched).collect()
            }
            Trigger::ApiCall { parameters, resources, .. } => {
                modified(parameters, resources).map(|id| vec![id])
            }
            Trigger::InstanceState { instance, .. } => one("detail.instance-id", instance),
            Trigger::ConfigCompliance { resource, .. } => one("detail.resourceId", resource),
            Trigger::SecurityHub { resource, .. } => one("Resources[].Id", resource),
            Trigger::Manual { resource, .. } => one("detail.resource", resource),
            _ => Ok(Vec::new()),
        }
    }

    /// Those that AWS changes at all; a terminated one is still listed for an hour.
    async fn discover(&self, page: Option<&str>) -> Result<Discovered<InstanceId>, CallError> {
        let live = Filter::builder()
            .name("instance-state-name")
            .set_values(Some(
                ["pending", "running", "stopping", "stopped"].map(str::to_owned).into(),
            ))
            .build();
        let found = self
            .ec2
            .describe_instances()
            .filters(live)
            .max_results(100)
            .set_next_token(page.map(str::to_owned))
            .send()
            .await
            .during(DESCRIBE)?;
        let instances = found.reservations.unwrap_or_default().into_iter();
        let instances = instances.flat_map(|reservation| reservation.instances.unwrap_or_default());
        let ids =
            instances.filter_map(|instance| parse("InstanceId", instance.instance_id()?).ok());
        Ok(Discovered { targets: ids.collect(), next: found.next_token })
    }

    async fn assess(&self, target: &InstanceId) -> Result<Option<MetadataOptions>, CallError> {
        let Some(instance) = self.find(target).await? else { return Ok(None) };
        let state = instance.state.and_then(|state| state.name);
        if matches!(state, Some(InstanceStateName::ShuttingDown | InstanceStateName::Terminated)) {
            return Ok(None);
        }
        let unreadable = |what| CallError::new(DESCRIBE, CallErrorKind::Refused, what);
        let options = instance
            .metadata_options
            .ok_or_else(|| unreadable("the answer has no metadata options"))?;
        let http_tokens = match options.http_tokens {
            Some(HttpTokensState::Optional) => Tokens::Optional,
            Some(HttpTokensState::Required) => Tokens::Required,
            _ => return Err(unreadable("the answer has no HttpTokens that is known")),
        };
        let options = MetadataOptions {
            http_tokens,
            http_endpoint: options.http_endpoint.map(|value| value.as_str().to_owned()),
            hop_limit: options.http_put_response_hop_limit,
            http_protocol_ipv6: options.http_protocol_ipv6.map(|value| value.as_str().to_owned()),
            instance_metadata_tags: options
                .instance_metadata_tags
                .map(|value| value.as_str().to_owned()),
        };
        // AWS changes the options of running and stopped instances only.
        if state == Some(InstanceStateName::Pending) && options.is_violating() {
            let message = "the instance is still pending";
            return Err(CallError::new(DESCRIBE, CallErrorKind::NotReady, message));
        }
        Ok(Some(options))
    }

    async fn tags(&self, target: &InstanceId) -> Result<BTreeMap<String, String>, CallError> {
        instance::tags(&self.ec2, target).await
    }

    fn plan(state: &MetadataOptions) -> Plan<SetTokens> {
        if state.is_violating() {
            Plan::one(state.with_tokens(Tokens::Required))
        } else {
            Plan::nothing()
        }
    }

    async fn apply(
        &self,
        target: &InstanceId,
        change: &SetTokens,
        _progress: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        // Only what is named here changes. AWS has refused tokens without `HttpEndpoint=enabled` in the same
        // request, and the guide asks for it, so what it already is is said again.
        self.ec2
            .modify_instance_metadata_options()
            .instance_id(target.as_str())
            .http_tokens(change.http_tokens.into())
            .set_http_endpoint(change.http_endpoint.as_deref().map(Endpoint::from))
            .send()
            .await
            .during(MODIFY)?;
        Ok(None)
    }

    fn revert(before: &MetadataOptions, after: &MetadataOptions) -> Plan<SetTokens> {
        if before.http_tokens == after.http_tokens {
            Plan::nothing()
        } else {
            Plan::one(after.with_tokens(before.http_tokens))
        }
    }

    fn describe(state: &MetadataOptions, change: &SetTokens) -> Description {
        Description {
            action: MODIFY.to_owned(),
            effect: Effect::Set,
            minus: vec![state.http_tokens.line()],
            plus: vec![change.http_tokens.line()],
        }
    }

    fn console(target: &InstanceId, region: &str) -> String {
        format!("{}#InstanceDetails:instanceId={target}", partition::console("ec2", region))
    }

    fn arn(target: &InstanceId, account: &str, region: &str) -> String {
        format!("arn:{}:ec2:{region}:{account}:instance/{target}", partition::of(region))
    }

    async fn facts(&self, target: &InstanceId) -> Vec<String> {
        vec![calls_note(self.calls_without_token(target).await)]
    }
}

const DESCRIBE: &str = "ec2:DescribeInstances";
const METRIC: &str = "cloudwatch:GetMetricStatistics";
const MODIFY: &str = "ec2:ModifyInstanceMetadataOptions";

/// How far back IMDSv1 calls are counted.
const DAYS: u64 = 14;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The metric is good to know and never worth waiting for.
const METRIC_TIMEOUT: Duration = Duration::from_millis(1500);

impl Imdsv2 {
    async fn find(&self, target: &InstanceId) -> Result<Option<Instance>, CallError> {
        let reply = self.ec2.describe_instances().instance_ids(target.as_str()).send().await;
        let found = reply
            .during(DESCRIBE)
            .or_missing(&["InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed"])?;
        let instances = found
            .and_then(|reply| reply.reservations)
            .unwrap_or_default()
            .into_iter()
            .flat_map(|reservation| reservation.instances.unwrap_or_default());
        let id = Some(target.as_str());
        Ok(instances.into_iter().find(|instance| instance.instance_id() == id))
    }

    /// An answer that is missing, late or empty is "unknown".
    async fn calls_without_token(&self, target: &InstanceId) -> Option<u64> {
        let now = SystemTime::now();
        let start = now.checked_sub(DAY * DAYS as u32)?;
        let instance = Dimension::builder().name("InstanceId").value(target.as_str()).build();
        let request = self
            .cloudwatch
            .get_metric_statistics()
            .namespace("AWS/EC2")
            .metric_name("MetadataNoToken")
            .dimensions(instance)
            .start_time(DateTime::from(start))
            .end_time(DateTime::from(now))
            .period(DAY.as_secs() as i32)
            .statistics(Statistic::Sum)
            .send();
        let reply = tokio::time::timeout(METRIC_TIMEOUT, request).await.ok()?.ok()?;
        let sums: Vec<f64> = reply.datapoints().iter().filter_map(|point| point.sum()).collect();
        // A cast of a float saturates: no sum can become a wrong small number.
        (!sums.is_empty()).then(|| sums.iter().sum::<f64>() as u64)
    }
}

fn calls_note(calls: Option<u64>) -> String {
    let calls = calls.map_or_else(|| "unknown".to_owned(), |calls| calls.to_string());
    format!("IMDSv1 calls in the last {DAYS} days: {calls}")
}

impl MetadataOptions {
    fn is_violating(&self) -> bool {
        self.http_tokens == Tokens::Optional && self.http_endpoint.as_deref() != Some("disabled")
    }

    fn with_tokens(&self, http_tokens: Tokens) -> SetTokens {
        SetTokens { http_tokens, http_endpoint: self.http_endpoint.clone() }
    }
}

impl Tokens {
    fn line(self) -> String {
        format!("HttpTokens: {}", HttpTokensState::from(self).as_str())
    }
}

impl From<Tokens> for HttpTokensState {
    fn from(tokens: Tokens) -> Self {
        match tokens {
            Tokens::Optional => Self::Optional,
            Tokens::Required => Self::Required,
        }
    }
}

fn parse(field: &'static str, text: &str) -> Result<InstanceId, TargetError> {
    InstanceId::parse(Imdsv2::META.id, field, text)
}

fn one(field: &'static str, text: &str) -> Result<Vec<InstanceId>, TargetError> {
    parse(field, text).map(|id| vec![id])
}

fn launched(instance: &serde_json::Value) -> Result<InstanceId, TargetError> {
    let id = instance["instanceId"].as_str().unwrap_or_default();
    parse("responseElements.instancesSet.items[].instanceId", id)
}

fn modified(
    parameters: &serde_json::Value,
    resources: &[String],
) -> Result<InstanceId, TargetError> {
    let request = shape::request(parameters, "ModifyInstanceMetadataOptionsRequest");
    if let Some(id) = shape::text(request, ["instanceId", "InstanceId"]) {
        return parse("requestParameters.ModifyInstanceMetadataOptionsRequest.InstanceId", id);
    }
    let arn = resources.iter().find(|arn| arn.contains(":instance/"));
    parse("resources[].ARN", arn.map(String::as_str).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const ID: &str = "i-0a1b2c3d4e5f60718";

    fn signal(trigger: Trigger) -> Signal {
        Signal {
            trigger,
            account: "123456789012".to_owned(),
            region: "eu-west-1".to_owned(),
            event_id: "event".to_owned(),
            deduplication: "event".to_owned(),
            time: None,
            actor: None,
            request_id: None,
            finding: None,
        }
    }

    fn call(name: &str, parameters: Value, response: Value) -> Signal {
        signal(Trigger::ApiCall {
            service: "ec2.amazonaws.com".to_owned(),
            name: name.to_owned(),
            parameters,
            response,
            resources: Vec::new(),
        })
    }

    fn targets(signal: &Signal) -> Vec<String> {
        Imdsv2::targets(signal).unwrap().iter().map(ToString::to_string).collect()
    }

    fn options(http_tokens: Tokens, http_endpoint: &str) -> MetadataOptions {
        MetadataOptions {
            http_tokens,
            http_endpoint: Some(http_endpoint.to_owned()),
            hop_limit: Some(2),
            http_protocol_ipv6: Some("disabled".to_owned()),
            instance_metadata_tags: Some("disabled".to_owned()),
        }
    }

    #[test]
    fn names_every_launched_instance_in_every_shape_of_a_list() {
        let item =
            |id: &str| json!({"instanceId": id, "instanceState": {"code": 0, "name": "pending"}});
        let (a, b) = ("i-0a1b2c3d4e5f60718", "i-0a1b2c3d");
        for (set, expected) in [
            (json!({"items": [item(a), item(b)]}), vec![a, b]),
            (json!([item(a), item(b)]), vec![a, b]),
            (json!({"items": item(a)}), vec![a]),
            (json!({}), vec![]),
            (json!(null), vec![]),
        ] {
            let signal = call("RunInstances", json!({}), json!({"instancesSet": set}));
            assert_eq!(targets(&signal), expected, "{set}");
        }
    }

    #[test]
    fn a_launch_without_a_response_names_nothing_and_is_no_error() {
        for response in [json!(null), json!({}), json!({"omitted": "true"})] {
            assert!(targets(&call("RunInstances", json!({}), response)).is_empty());
        }
    }

    #[test]
    fn names_the_instance_whose_options_were_changed() {
        let name = "ModifyInstanceMetadataOptions";
        let new = json!({"ModifyInstanceMetadataOptionsRequest": {"HttpTokens": "optional", "InstanceId": ID}});
        assert_eq!(targets(&call(name, new, json!(null))), [ID]);
        assert_eq!(targets(&call(name, json!({"instanceId": ID}), json!(null))), [ID]);

        let mut omitted = call(name, json!({"omitted": "true"}), json!(null));
        assert!(Imdsv2::targets(&omitted).is_err());
        if let Trigger::ApiCall { resources, .. } = &mut omitted.trigger {
            resources.push(format!("arn:aws:ec2:eu-west-1:123456789012:instance/{ID}"));
        }
        assert_eq!(targets(&omitted), [ID]);
    }

    #[test]
    fn names_the_instance_of_other_signals() {
        let state = |instance: &str, state: &str| {
            signal(Trigger::InstanceState { instance: instance.into(), state: state.into() })
        };
        assert_eq!(targets(&state(ID, "running")), [ID]);
        assert_eq!(targets(&state(" i-0a1b2c3d4e5f60718", "running")), [ID]);
        assert!(targets(&state(ID, "terminated")).is_empty());
        assert!(Imdsv2::targets(&state("i-0a1b 2c3d", "running")).is_err());

        let config = |rule: &str| {
            signal(Trigger::ConfigCompliance {
                rule: rule.to_owned(),
                resource_type: "AWS::EC2::Instance".to_owned(),
                resource: ID.to_owned(),
            })
        };
        assert_eq!(targets(&config("securityhub-ec2-imdsv2-check-0a1b2c3d")), [ID]);
        assert!(targets(&config("ec2-stopped-instance")).is_empty());

        let hub = |generator: &str| {
            signal(Trigger::SecurityHub {
                generator: generator.to_owned(),
                resource_type: "AwsEc2Instance".to_owned(),
                resource: format!("arn:aws:ec2:eu-west-1:123456789012:instance/{ID}"),
                action: None,
            })
        };
        assert_eq!(targets(&hub("security-control/EC2.8")), [ID]);
        assert!(targets(&hub("security-control/EC2.18")).is_empty());

        let manual = |control: &str| {
            signal(Trigger::Manual { control: control.into(), resource: ID.into() })
        };
        assert_eq!(targets(&manual("ec2-imdsv2")), [ID]);
        assert!(targets(&manual("ec2-quarantine")).is_empty());
    }

    #[test]
    fn plans_only_where_the_service_is_on_and_asks_for_no_token() {
        use Tokens::{Optional, Required};
        for (state, is_compliant) in [
            (options(Required, "enabled"), true),
            (options(Required, "disabled"), true),
            (options(Optional, "disabled"), true),
            (options(Optional, "enabled"), false),
            (MetadataOptions { http_endpoint: None, ..options(Optional, "") }, false),
        ] {
            assert_eq!(Imdsv2::plan(&state).is_empty(), is_compliant, "{state:?}");
        }
    }

    #[test]
    fn says_what_changes_and_what_is_known_of_imdsv1() {
        let state = options(Tokens::Optional, "enabled");
        let plan = Imdsv2::plan(&state);
        let description = Imdsv2::describe(&state, &plan.changes[0]);
        assert_eq!(description.minus, ["HttpTokens: optional"]);
        assert_eq!(description.plus, ["HttpTokens: required"]);
        assert_eq!(calls_note(None), "IMDSv1 calls in the last 14 days: unknown");
        assert_eq!(calls_note(Some(12)), "IMDSv1 calls in the last 14 days: 12");
    }

    #[test]
    fn points_at_the_instance() {
        let id = parse("test", ID).unwrap();
        assert_eq!(
            Imdsv2::arn(&id, "123456789012", "eu-west-1"),
            "arn:aws:ec2:eu-west-1:123456789012:instance/i-0a1b2c3d4e5f60718"
        );
        assert_eq!(
            Imdsv2::console(&id, "eu-west-1"),
            "https://eu-west-1.console.aws.amazon.com/ec2/home?region=eu-west-1\
             #InstanceDetails:instanceId=i-0a1b2c3d4e5f60718"
        );
    }

    fn any_options() -> impl Strategy<Value = MetadataOptions> {
        let switch = || prop::option::of(prop_oneof!["enabled", "disabled"]);
        (
            prop_oneof![Just(Tokens::Optional), Just(Tokens::Required)],
            switch(),
            prop::option::of(1..=64),
            switch(),
            switch(),
        )
            .prop_map(|(http_tokens, endpoint, hop_limit, ipv6, tags)| MetadataOptions {
                http_tokens,
                http_endpoint: endpoint,
                hop_limit,
                http_protocol_ipv6: ipv6,
                instance_metadata_tags: tags,
            })
    }

    /// What the call does to an instance.
    fn modify(state: &MetadataOptions, plan: &Plan<SetTokens>) -> MetadataOptions {
        plan.changes.iter().fold(state.clone(), |state, change| MetadataOptions {
            http_tokens: change.http_tokens,
            http_endpoint: change.http_endpoint.clone().or(state.http_endpoint.clone()),
            ..state
        })
    }

    proptest! {
        #[test]
        fn the_plan_fixes_and_touches_nothing_else(before in any_options()) {
            let after = modify(&before, &Imdsv2::plan(&before));
            prop_assert!(Imdsv2::plan(&after).is_empty());
            let untouched = MetadataOptions { http_tokens: before.http_tokens, ..after };
            prop_assert_eq!(untouched, before);
        }

        #[test]
        fn undo_brings_back_what_was_there(before in any_options()) {
            let after = modify(&before, &Imdsv2::plan(&before));
            let undone = modify(&after, &Imdsv2::revert(&before, &after));
            prop_assert!(Imdsv2::same(&undone, &before));
        }

        #[test]
        fn a_state_survives_the_ledger(state in any_options()) {
            let text = serde_json::to_string(&state).unwrap();
            prop_assert_eq!(serde_json::from_str::<MetadataOptions>(&text).unwrap(), state);
        }
    }
}
