//! Keeps the flow logs of VPCs.
//!
//! ## What it fixes
//! A VPC whose flow logs were deleted. Each is made again as a sweep last saw it: what it records, how often and in which
//! format, where it delivers and with which role, and its tags. What happened in between is lost to it.
//!
//! The call that deletes flow logs names their ids and not the VPC. What they were is known of each id from the sweep
//! before, so the call is answered within seconds. The VPCs are looked at, too, by every sweep and wherever AWS Config or
//! Security Hub name one: so a call that was never heard, or the deletion of a flow log that was made since the last
//! sweep, is put right later.
//!
//! A VPC that still has a flow log of the same traffic, or of all traffic, is compliant: it was replaced. Someone who
//! makes another one before, which delivers to nowhere, is not caught by this. Without a sweep that saw one, nothing is
//! made: Quell does not know where a VPC's flow logs belong. Flow logs of subnets and of interfaces are left alone.
//!
//! ## Why it matters
//! Flow logs are the record of who talked to whom. Deleting them is how an intruder leaves none.
//!
//! ## What can break
//! Nothing but the bill for what was recorded before, too. A tool that replaces a flow log deletes the old one first: the
//! one that Quell makes may stand in the way of the new one, which the tool then fails to make. Delete it and run the tool
//! again, or have it make the new one first. One that delivers to Firehose takes rights that Quell does not have: the fix
//! fails and says so.
//!
//! ## Undo
//! There is none: Quell holds no right to delete flow logs, so that nobody who gets hold of its credentials can. Delete it
//! yourself.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use aws_sdk_ec2::{
    Client,
    types::{
        DestinationFileFormat, DestinationOptionsRequest, Filter, FlowLog as Described,
        FlowLogsResourceType, LogDestinationType, ResourceType, Tag, TagSpecification, TrafficType,
    },
};
use quell_engine::{
    Background, CallError, CallErrorKind, Clients, Control, Description, Discovered, During,
    Effect, Listen, Meta, Plan, Progress, Safety, Severity, Signal, Trigger, aws::OrMissing,
    control::TargetError,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::id::Kind;
use crate::{ec2::instance, partition, shape};

pub struct FlowLogs {
    ec2: Client,
    account: String,
}

/// What is looked at.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// `fl-` and 8 or 17 hexadecimal digits.
    FlowLog(String),
    /// `vpc-` and 8 or 17 hexadecimal digits.
    Vpc(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::FlowLog(id) | Self::Vpc(id)) = self;
        f.write_str(id)
    }
}

/// The flow logs of VPCs: all of the VPC's, or the one that was asked for. Where that is gone, all there are, until what
/// it was says which VPC matters.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Recorded {
    /// In a fixed order.
    pub flow_logs: Vec<FlowLog>,
    /// The account's VPCs that are there, as far as they matter.
    pub vpcs: BTreeSet<String>,
    /// The flow log that was asked for is not there.
    #[serde(default)]
    pub is_gone: bool,
    /// What was there at the last sweep, and is to be made again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restore: Vec<FlowLog>,
}

/// A flow log of a VPC, with everything that is needed to make it again.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct FlowLog {
    /// Given anew by AWS whenever it is made.
    pub id: String,
    pub vpc: String,
    /// `ALL`, `ACCEPT` or `REJECT`.
    pub traffic: String,
    /// `cloud-watch-logs`, `s3` or `kinesis-data-firehose`.
    pub destination_type: String,
    /// An ARN.
    pub destination: Option<String>,
    pub log_group: Option<String>,
    /// The ARN of the role that delivers to a log group.
    pub role: Option<String>,
    pub cross_account_role: Option<String>,
    pub format: Option<String>,
    /// 60 or 600 seconds.
    pub interval: Option<i32>,
    pub file_format: Option<String>,
    pub hive_compatible_partitions: Option<bool>,
    pub per_hour_partition: Option<bool>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// One call of CreateFlowLogs.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Create(FlowLog);

const DESCRIBE: &str = "ec2:DescribeFlowLogs";
const VPCS: &str = "ec2:DescribeVpcs";
const CREATE: &str = "ec2:CreateFlowLogs";

const FLOW_LOG: Kind = Kind { prefix: "fl-", arn: ":vpc-flow-log/" };
const VPC: Kind = Kind { prefix: "vpc-", arn: ":vpc/" };

/// Before the token of a page of VPCs: those of flow logs come first.
const VPC_PAGE: &str = "vpcs ";

/// <https://docs.aws.amazon.com/securityhub/latest/userguide/ec2-controls.html#ec2-6>,
/// <https://docs.aws.amazon.com/config/latest/developerguide/vpc-flow-logs-enabled.html>,
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateFlowLogs.html>.
/// The rights that AWS asks for: <https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-iam-role.html>,
/// <https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-s3-permissions.html>
impl Control for FlowLogs {
    const META: Meta = Meta {
        id: "vpc-flow-logs",
        title: "VPCs keep their flow logs",
        risk: "The flow logs of a VPC were deleted: who talks to whom in it is no longer recorded.",
        severity: Severity::High,
        safety: Safety::Safe,
        reversible: false,
        satisfies: &[
            "securityhub/EC2.6",
            "cis-aws-3.0.0/3.7",
            "cis-aws-5.0.0/3.7",
            "nist-800-53-r5/AU-12",
        ],
        function: "network-exposure",
        listens: &[
            Listen::ApiCall {
                source: "aws.ec2",
                service: "ec2.amazonaws.com",
                calls: &["DeleteFlowLogs"],
            },
            Listen::Config { rules: &["vpc-flow-logs-enabled"], resource_type: "AWS::EC2::VPC" },
            Listen::SecurityHub {
                generators: &[
                    "/EC2.6",
                    "/PCI.EC2.6",
                    "cis-aws-foundations-benchmark/v/1.2.0/rule/2.9",
                ],
                resource_type: "AwsEc2Vpc",
            },
        ],
        discovers: &[DESCRIBE, VPCS],
        reads: &[DESCRIBE, VPCS],
        writes: &[CREATE, "ec2:CreateTags", "iam:PassRole", "logs:CreateLogDelivery"],
        baseline: true,
        visible_within: 0,
        source: file!(),
    };
    type Target = Target;
    type State = Recorded;
    type Change = Create;

    fn connect(aws: &Clients) -> Self {
        Self { ec2: instance::client(aws), account: aws.account().to_owned() }
    }

    fn targets(signal: &Signal) -> Result<Vec<Target>, TargetError> {
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        match &signal.trigger {
            Trigger::ApiCall { parameters, resources, .. } => deleted(parameters, resources),
            Trigger::ConfigCompliance { resource, .. } => one("detail.resourceId", resource),
            Trigger::SecurityHub { resource, .. } => one("Resources[].Id", resource),
            Trigger::Manual { resource, .. } => one("detail.resource", resource),
            _ => Ok(Vec::new()),
        }
    }

    /// What each flow log is has to be known once it is deleted; and a VPC that has lost one says so.
    async fn discover(&self, page: Option<&str>) -> Result<Discovered<Target>, CallError> {
        if let Some(token) = page.and_then(|page| page.strip_prefix(VPC_PAGE)) {
            let request = self.ec2.describe_vpcs().max_results(200);
            let token = Some(token.to_owned()).filter(|token| !token.is_empty());
            let found = request.set_next_token(token).send().await.during(VPCS)?;
            let targets = self.own(&found.vpcs.unwrap_or_default()).map(Target::Vpc).collect();
            let next = found.next_token.map(|token| format!("{VPC_PAGE}{token}"));
            return Ok(Discovered { targets, next });
        }
        let request = self.ec2.describe_flow_logs().max_results(200);
        let found =
            request.set_next_token(page.map(str::to_owned)).send().await.during(DESCRIBE)?;
        let logs = found.flow_logs.unwrap_or_default().into_iter();
        let targets = logs.filter_map(read).map(|log| Target::FlowLog(log.id)).collect();
        let next = found.next_token.filter(|token| !token.is_empty());
        Ok(Discovered { targets, next: Some(next.unwrap_or_else(|| VPC_PAGE.to_owned())) })
    }

    async fn assess(&self, target: &Target) -> Result<Option<Recorded>, CallError> {
        match target {
            Target::FlowLog(id) => {
                let found = self.flow_logs("flow-log-id", std::slice::from_ref(id)).await?;
                if !found.is_empty() {
                    let vpcs = found.iter().map(|log| log.vpc.clone()).collect();
                    return Ok(Some(Recorded::of(found, vpcs)));
                }
                let (flow_logs, vpcs) = tokio::join!(self.flow_logs("", &[]), self.vpcs(None));
                let (flow_logs, vpcs) = (flow_logs?, vpcs?.unwrap_or_default());
                Ok(Some(Recorded { is_gone: true, ..Recorded::of(flow_logs, vpcs) }))
            }
            Target::Vpc(id) => {
                let of_it = std::slice::from_ref(id);
                let (flow_logs, vpcs) =
                    tokio::join!(self.flow_logs("resource-id", of_it), self.vpcs(Some(id)));
                let flow_logs = flow_logs?;
                Ok(vpcs?.filter(|vpcs| !vpcs.is_empty()).map(|vpcs| Recorded::of(flow_logs, vpcs)))
            }
        }
    }

    async fn assess_again(
        &self,
        target: &Target,
        known: &Recorded,
    ) -> Result<Option<Recorded>, CallError> {
        if known.restore.is_empty() {
            return self.assess(target).await;
        }
        let vpcs = known.restore.iter().map(|log| log.vpc.clone()).collect::<BTreeSet<_>>();
        let vpcs: Vec<String> = vpcs.into_iter().collect();
        let flow_logs = self.flow_logs("resource-id", &vpcs).await?;
        let mut now = Recorded { flow_logs, ..known.clone() };
        now.restore = now.missing(&known.restore);
        Ok(Some(now))
    }

    fn inform(state: &mut Recorded, background: &Background<'_, Recorded>) {
        let known = background.baseline.map(|then| then.flow_logs.as_slice()).unwrap_or_default();
        if state.is_gone {
            // What is left of the region is what is about the same VPC.
            state.vpcs.retain(|vpc| known.iter().any(|log| log.vpc == *vpc));
            state.flow_logs.retain(|log| known.iter().any(|then| log.vpc == then.vpc));
        }
        state.restore = state.missing(known);
    }

    /// What is deleted has none.
    async fn tags(&self, target: &Target) -> Result<BTreeMap<String, String>, CallError> {
        match target {
            Target::FlowLog(id) => {
                let found = self.flow_logs("flow-log-id", std::slice::from_ref(id)).await?;
                Ok(found.into_iter().next().map(|log| log.tags).unwrap_or_default())
            }
            Target::Vpc(id) => {
                let found = self.ec2.describe_vpcs().vpc_ids(id).send().await.during(VPCS)?;
                let vpc = found.vpcs.unwrap_or_default().into_iter().next();
                let tags = vpc.and_then(|vpc| vpc.tags).unwrap_or_default().into_iter();
                Ok(tags.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default()))).collect())
            }
        }
    }

    fn plan(state: &Recorded) -> Plan<Create> {
        state.restore.iter().cloned().map(Create).collect()
    }

    async fn apply(
        &self,
        _target: &Target,
        Create(log): &Create,
        progress: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        let options = DestinationOptionsRequest::builder()
            .set_file_format(log.file_format.as_deref().map(DestinationFileFormat::from))
            .set_hive_compatible_partitions(log.hive_compatible_partitions)
            .set_per_hour_partition(log.per_hour_partition);
        let tags = log.tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build());
        let tags = TagSpecification::builder()
            .resource_type(ResourceType::VpcFlowLog)
            .set_tags(Some(tags.collect()));
        let made = self
            .ec2
            .create_flow_logs()
            // The same in every attempt of this record, and another for each flow log: 64 characters at most.
            .client_token(format!("{}-{}", progress.record, log.id))
            .resource_type(FlowLogsResourceType::Vpc)
            .resource_ids(&log.vpc)
            .traffic_type(TrafficType::from(log.traffic.as_str()))
            .log_destination_type(LogDestinationType::from(log.destination_type.as_str()))
            .set_log_group_name(log.log_group.clone())
            // AWS tells both of a log group, and takes only one.
            .set_log_destination(log.destination.clone().filter(|_| log.log_group.is_none()))
            .set_deliver_logs_permission_arn(log.role.clone())
            .set_deliver_cross_account_role(log.cross_account_role.clone())
            .set_log_format(log.format.clone())
            .set_max_aggregation_interval(log.interval)
            .set_destination_options(log.has_options().then(|| options.build()))
            .set_tag_specifications((!log.tags.is_empty()).then(|| vec![tags.build()]))
            .send()
            .await
            .during(CREATE);
        let refused = match made {
            Ok(made) => match made.unsuccessful().first().and_then(|item| item.error()) {
                None => return Ok(made.flow_log_ids().first().cloned()),
                Some(error) => CallError {
                    code: error.code().map(str::to_owned),
                    ..CallError::new(
                        CREATE,
                        CallErrorKind::Refused,
                        error.message().or(error.code()).unwrap_or("no reason was given"),
                    )
                },
            },
            Err(error) => error,
        };
        // It may be there because somebody else was faster.
        if refused.is("FlowLogAlreadyExists") {
            let there = self.flow_logs("resource-id", std::slice::from_ref(&log.vpc)).await?;
            if let Some(there) = there.into_iter().find(|there| there.serves_as(log)) {
                return Ok(Some(there.id));
            }
        }
        Err(refused)
    }

    fn revert(_: &Recorded, _: &Recorded) -> Plan<Create> {
        Plan::nothing()
    }

    fn describe(_state: &Recorded, Create(log): &Create) -> Description {
        Description {
            action: CREATE.to_owned(),
            effect: Effect::Token,
            minus: Vec::new(),
            plus: vec![log.to_string()],
        }
    }

    fn console(target: &Target, region: &str) -> String {
        let console = partition::console("vpcconsole", region);
        match target {
            Target::Vpc(id) => format!("{console}#VpcDetails:VpcId={id}"),
            // What is deleted has no page.
            Target::FlowLog(_) => format!("{console}#vpcs:"),
        }
    }

    fn arn(target: &Target, account: &str, region: &str) -> String {
        let kind = match target {
            Target::FlowLog(_) => "vpc-flow-log",
            Target::Vpc(_) => "vpc",
        };
        format!("arn:{}:ec2:{region}:{account}:{kind}/{target}", partition::of(region))
    }

    fn notes(state: &Recorded) -> Vec<String> {
        state.restore.iter().map(|log| format!("{} was of {}", log.id, log.vpc)).collect()
    }

    fn same(one: &Recorded, other: &Recorded) -> bool {
        one.flow_logs.len() == other.flow_logs.len()
            && one.flow_logs.iter().zip(&other.flow_logs).all(|(one, other)| one.is_like(other))
    }
}

impl Recorded {
    fn of(flow_logs: Vec<FlowLog>, vpcs: BTreeSet<String>) -> Self {
        Self { flow_logs, vpcs, is_gone: false, restore: Vec::new() }
    }

    /// Those that were there, and that nothing serves as now, in VPCs that still are.
    fn missing(&self, known: &[FlowLog]) -> Vec<FlowLog> {
        let is_missing = |then: &&FlowLog| {
            self.vpcs.contains(&then.vpc) && !self.flow_logs.iter().any(|log| log.serves_as(then))
        };
        known.iter().filter(is_missing).cloned().collect()
    }
}

impl FlowLog {
    /// Whether this one records what the other did, wherever it delivers.
    fn serves_as(&self, other: &Self) -> bool {
        self.vpc == other.vpc && (self.traffic == "ALL" || self.traffic == other.traffic)
    }

    /// The id does not count.
    fn is_like(&self, other: &Self) -> bool {
        Self { id: String::new(), ..self.clone() } == Self { id: String::new(), ..other.clone() }
    }

    fn has_options(&self) -> bool {
        self.file_format.is_some()
            || self.hive_compatible_partitions.is_some()
            || self.per_hour_partition.is_some()
    }

    /// A fixed order, whatever order AWS answers in. The id would be another after a fix.
    fn order(&self) -> (&str, &str, Option<&str>, Option<&str>) {
        (&self.vpc, &self.traffic, self.destination.as_deref(), self.log_group.as_deref())
    }
}

impl fmt::Display for FlowLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let to = self.log_group.as_deref().or(self.destination.as_deref()).unwrap_or("?");
        write!(f, "flow log of {}: {} to {} {to}", self.vpc, self.traffic, self.destination_type)
    }
}

impl FlowLogs {
    /// The active flow logs of VPCs that a filter lets through; without a name, all. All pages or an error.
    async fn flow_logs(&self, filter: &str, values: &[String]) -> Result<Vec<FlowLog>, CallError> {
        let filter = (!filter.is_empty()).then(|| {
            vec![Filter::builder().name(filter).set_values(Some(values.to_vec())).build()]
        });
        let request = self.ec2.describe_flow_logs().set_filter(filter).max_results(1000);
        let mut pages = request.into_paginator().send();
        let mut logs = Vec::new();
        while let Some(page) = pages.next().await {
            let found = page.during(DESCRIBE)?.flow_logs.unwrap_or_default();
            logs.extend(found.into_iter().filter_map(read));
        }
        logs.sort_by(|one, other| one.order().cmp(&other.order()));
        Ok(logs)
    }

    /// The account's own VPCs, or the one. `None`: it is not there.
    async fn vpcs(&self, id: Option<&str>) -> Result<Option<BTreeSet<String>>, CallError> {
        let Some(id) = id else {
            let mut pages = self.ec2.describe_vpcs().max_results(1000).into_paginator().send();
            let mut all = BTreeSet::new();
            while let Some(page) = pages.next().await {
                all.extend(self.own(&page.during(VPCS)?.vpcs.unwrap_or_default()));
            }
            return Ok(Some(all));
        };
        let found = self.ec2.describe_vpcs().vpc_ids(id).send().await.during(VPCS);
        let found = found.or_missing(&["InvalidVpcID.NotFound", "InvalidVpcId.Malformed"])?;
        Ok(found.map(|found| self.own(&found.vpcs.unwrap_or_default()).collect()))
    }

    /// Those of VPCs that others share are theirs.
    fn own(&self, vpcs: &[aws_sdk_ec2::types::Vpc]) -> impl Iterator<Item = String> {
        let own = vpcs.iter().filter(|vpc| vpc.owner_id() == Some(self.account.as_str()));
        own.filter_map(|vpc| vpc.vpc_id.clone())
    }
}

/// `None`: it is of a subnet, of an interface or of a gateway, or being deleted.
fn read(log: Described) -> Option<FlowLog> {
    let vpc = log.resource_id.filter(|id| id.starts_with(VPC.prefix))?;
    if log.flow_log_status.as_deref().is_some_and(|status| status != "ACTIVE") {
        return None;
    }
    let options = log.destination_options;
    // Tags that AWS itself sets cannot be set by anyone else.
    let tags = log.tags.unwrap_or_default().into_iter();
    let tags = tags.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default())));
    Some(FlowLog {
        id: log.flow_log_id?,
        vpc,
        traffic: log.traffic_type?.as_str().to_owned(),
        destination_type: log.log_destination_type?.as_str().to_owned(),
        destination: log.log_destination,
        log_group: log.log_group_name,
        role: log.deliver_logs_permission_arn,
        cross_account_role: log.deliver_cross_account_role,
        format: log.log_format,
        interval: log.max_aggregation_interval,
        file_format: options
            .as_ref()
            .and_then(|options| Some(options.file_format.as_ref()?.as_str().to_owned())),
        hive_compatible_partitions: options
            .as_ref()
            .and_then(|options| options.hive_compatible_partitions),
        per_hour_partition: options.as_ref().and_then(|options| options.per_hour_partition),
        tags: tags.filter(|(key, _)| !key.starts_with("aws:")).collect(),
    })
}

fn one(field: &'static str, text: &str) -> Result<Vec<Target>, TargetError> {
    let control = FlowLogs::META.id;
    let is_flow_log = text.trim().starts_with(FLOW_LOG.prefix) || text.contains(FLOW_LOG.arn);
    let target = match is_flow_log {
        true => FLOW_LOG.id(control, field, text).map(Target::FlowLog),
        false => VPC.id(control, field, text).map(Target::Vpc),
    };
    Ok(vec![target?])
}

/// The flow logs that a call deleted: `{"FlowLogId": {"tag": 1, "content": "fl-…"}}`, or a list of such. What is left out
/// of the event is taken from its resources.
fn deleted(parameters: &Value, resources: &[String]) -> Result<Vec<Target>, TargetError> {
    let request = shape::request(parameters, "DeleteFlowLogsRequest");
    let ids = request.get("FlowLogId").or_else(|| request.get("flowLogId"));
    let ids = ids.map(shape::items).unwrap_or_default();
    let named = ids.iter().map(|item| item.get("content").unwrap_or(item).as_str());
    let named: Vec<&str> = named.map(Option::unwrap_or_default).collect();
    let listed = resources.iter().filter(|arn| arn.contains(FLOW_LOG.arn)).map(String::as_str);
    let (field, texts) = match named.is_empty() {
        true => ("resources[].ARN", listed.collect()),
        false => ("requestParameters.DeleteFlowLogsRequest.FlowLogId", named),
    };
    let control = FlowLogs::META.id;
    if texts.is_empty() {
        let reason = "it names no flow log".to_owned();
        return Err(TargetError { control, field, reason });
    }
    let id = |text: &str| FLOW_LOG.id(control, field, text).map(Target::FlowLog);
    texts.into_iter().map(id).collect()
}

#[cfg(test)]
mod tests {
    use quell_engine::policy::Trusted;
    use serde_json::json;

    use super::*;
    use crate::s3::tests::signal;

    const LOG: &str = "fl-0a1b2c3d4e5f60718";
    const OF: &str = "vpc-0a1b2c3d4e5f60718";

    fn log(id: &str, vpc: &str, traffic: &str) -> FlowLog {
        FlowLog {
            id: id.to_owned(),
            vpc: vpc.to_owned(),
            traffic: traffic.to_owned(),
            destination_type: "cloud-watch-logs".to_owned(),
            destination: None,
            log_group: Some("flow".to_owned()),
            role: Some("arn:aws:iam::123456789012:role/flow".to_owned()),
            cross_account_role: None,
            format: None,
            interval: Some(60),
            file_format: None,
            hive_compatible_partitions: None,
            per_hour_partition: None,
            tags: BTreeMap::new(),
        }
    }

    fn recorded(flow_logs: &[FlowLog], vpcs: &[&str], is_gone: bool) -> Recorded {
        let vpcs = vpcs.iter().map(ToString::to_string).collect();
        Recorded { is_gone, ..Recorded::of(flow_logs.to_vec(), vpcs) }
    }

    /// What is made again, given what a sweep saw.
    fn planned(mut state: Recorded, then: Option<&Recorded>) -> Vec<String> {
        let background = Background { trusted: &Trusted::NOBODY, baseline: then };
        FlowLogs::inform(&mut state, &background);
        FlowLogs::plan(&state).changes.into_iter().map(|Create(log)| log.id).collect()
    }

    fn deleting(parameters: Value) -> Result<Vec<String>, TargetError> {
        let signal = signal(Trigger::ApiCall {
            service: "ec2.amazonaws.com".to_owned(),
            name: "DeleteFlowLogs".to_owned(),
            parameters,
            response: json!({"DeleteFlowLogsResponse": {"unsuccessful": ""}}),
            resources: Vec::new(),
        });
        Ok(FlowLogs::targets(&signal)?.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn names_every_flow_log_of_a_call() {
        let one = json!({"tag": 1, "content": LOG});
        let other = json!({"tag": 2, "content": "fl-0a1b2c3d"});
        for (list, named) in [
            (one.clone(), vec![LOG]),
            (json!([one, other]), vec![LOG, "fl-0a1b2c3d"]),
            (json!({"items": [LOG]}), vec![LOG]),
        ] {
            let request = json!({"DeleteFlowLogsRequest": {"FlowLogId": list}});
            assert_eq!(deleting(request).unwrap(), named);
        }
        for wrong in [
            json!(null),
            json!({"DeleteFlowLogsRequest": {}}),
            json!({"DeleteFlowLogsRequest": {"FlowLogId": {"tag": 1, "content": "vpc-0a1b2c3d"}}}),
            json!({"DeleteFlowLogsRequest": {"FlowLogId": [7]}}),
        ] {
            assert!(deleting(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_the_vpc_of_a_finding() {
        for signal in [
            signal(Trigger::ConfigCompliance {
                rule: "securityhub-vpc-flow-logs-enabled-0a1b2c3d".to_owned(),
                resource_type: "AWS::EC2::VPC".to_owned(),
                resource: OF.to_owned(),
            }),
            signal(Trigger::SecurityHub {
                generator: "security-control/EC2.6".to_owned(),
                resource_type: "AwsEc2Vpc".to_owned(),
                resource: format!("arn:aws:ec2:eu-west-1:123456789012:vpc/{OF}"),
                action: None,
            }),
        ] {
            assert_eq!(FlowLogs::targets(&signal), Ok(vec![Target::Vpc(OF.to_owned())]));
        }
    }

    #[test]
    fn a_flow_log_that_is_gone_is_made_again_as_it_was() {
        let then = recorded(&[log(LOG, OF, "ALL")], &[OF], false);
        assert_eq!(planned(recorded(&[], &[OF, "vpc-0b"], true), Some(&then)), [LOG]);
        assert_eq!(planned(then.clone(), Some(&then)), [""; 0], "it is there");
    }

    #[test]
    fn without_a_sweep_that_saw_it_nothing_is_made() {
        let now = recorded(&[log("fl-0b", "vpc-0b", "ALL")], &[OF, "vpc-0b"], true);
        assert_eq!(planned(now, None), [""; 0]);
    }

    #[test]
    fn what_goes_with_its_vpc_is_not_made_again() {
        let then = recorded(&[log(LOG, OF, "ALL")], &[OF], false);
        assert_eq!(planned(recorded(&[], &["vpc-0b"], true), Some(&then)), [""; 0]);
    }

    #[test]
    fn one_that_was_replaced_is_not_made_again() {
        let then = recorded(&[log(LOG, OF, "REJECT")], &[OF], false);
        for (traffic, made) in [("ALL", &[][..]), ("REJECT", &[]), ("ACCEPT", &[LOG])] {
            let now = recorded(&[log("fl-0b", OF, traffic)], &[OF], true);
            assert_eq!(planned(now, Some(&then)), made, "{traffic}");
        }
    }

    #[test]
    fn of_the_region_only_what_is_of_the_same_vpc_is_kept() {
        let then = recorded(&[log(LOG, OF, "ALL")], &[OF], false);
        let others = [log("fl-0b", "vpc-0b", "ALL"), log("fl-0c", OF, "REJECT")];
        let mut now = recorded(&others, &[OF, "vpc-0b"], true);
        let background = Background { trusted: &Trusted::NOBODY, baseline: Some(&then) };
        FlowLogs::inform(&mut now, &background);
        assert_eq!(now.flow_logs, others[1..]);
        assert_eq!(now.vpcs, BTreeSet::from([OF.to_owned()]));
        // The same once more: what is read again is informed again.
        let once = now.clone();
        FlowLogs::inform(&mut now, &background);
        assert_eq!(now, once);
    }

    #[test]
    fn a_vpc_that_lost_both_of_two_gets_both() {
        let two = [log(LOG, OF, "ACCEPT"), log("fl-0b", OF, "REJECT")];
        let then = recorded(&two, &[OF], false);
        assert_eq!(planned(recorded(&[], &[OF], false), Some(&then)), [LOG, "fl-0b"]);
        assert_eq!(planned(recorded(&two[..1], &[OF], false), Some(&then)), ["fl-0b"]);
    }

    #[test]
    fn two_states_are_the_same_whatever_the_ids() {
        let one = recorded(&[log(LOG, OF, "ALL")], &[OF], true);
        let anew = recorded(&[log("fl-0b", OF, "ALL")], &[OF], true);
        assert!(FlowLogs::same(&one, &anew));
        assert!(!FlowLogs::same(&one, &recorded(&[log(LOG, OF, "REJECT")], &[OF], true)));
        assert!(!FlowLogs::same(&one, &recorded(&[], &[OF], true)));
    }
}
