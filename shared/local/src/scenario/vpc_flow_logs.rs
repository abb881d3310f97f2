//! A VPC whose flow log was deleted after a sweep saw it, and another VPC that keeps its own.

use std::time::Duration;

use aws_sdk_ec2::types::{
    Filter, FlowLog, FlowLogsResourceType, LogDestinationType, ResourceType, Tag, TagSpecification,
    TrafficType,
};
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use jiff::Timestamp;
use quell_engine::ledger::{Baseline, Baselined, Ledger};
use serde_json::{Value, json};

use super::{Error, Staged, sample};
use crate::{
    Cloud,
    cloud::{ACCOUNT, REGION},
};

pub(super) const SAMPLE: &str = include_str!("../../../../events/vpc-flow-logs/violating.json");

/// The flow log of the sample.
const SAMPLE_LOG: &str = "fl-0a2b3c4d5e6f70819";

const FORMAT: &str = "${version} ${vpc-id} ${srcaddr} ${dstaddr} ${dstport} ${action}";
const ROLE: &str = "arn:aws:iam::123456789012:role/flow-logs";

/// The tags of the VPC that say which flow log it had, and where that delivered.
const HAD: &str = "flow-log";
const GROUP: &str = "log-group";
const BUCKET: &str = "bucket";

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let keeps = vpc(cloud).await?;
    create(cloud, &keeps, GROUP, &format!("flow-{name}-neighbour")).await?;
    deleted(cloud, GROUP, &format!("flow-{name}")).await
}

/// The same with a flow log that delivered to a bucket.
pub(super) async fn stage_to_bucket(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let bucket = format!("flow-{name}");
    let here = BucketLocationConstraint::from(REGION);
    let here = CreateBucketConfiguration::builder().location_constraint(here).build();
    cloud.s3.create_bucket().bucket(&bucket).create_bucket_configuration(here).send().await?;
    deleted(cloud, BUCKET, &format!("arn:aws:s3:::{bucket}")).await
}

/// What a sweep saw an hour ago.
pub(super) async fn remember(cloud: &Cloud, ledger: &Ledger, log: &str) -> Result<(), Error> {
    let (vpc, tags) = of(cloud, log).await?;
    let place = |name: &str| tags.iter().find(|tag| tag.key() == Some(name)).and_then(Tag::value);
    let (group, bucket) = (place(GROUP), place(BUCKET));
    let state = json!({
        "flow_logs": [{
            "id": log,
            "vpc": vpc,
            "traffic": "ALL",
            "destination_type": if group.is_some() { "cloud-watch-logs" } else { "s3" },
            "destination": bucket,
            "log_group": group,
            "role": group.map(|_| ROLE),
            "cross_account_role": null,
            "format": FORMAT,
            "interval": 60,
            "file_format": null,
            "hive_compatible_partitions": null,
            "per_hour_partition": null,
            "tags": {"team": "network"},
        }],
        "vpcs": [vpc],
    });
    let of =
        Baselined { control: "vpc-flow-logs", account: ACCOUNT, region: REGION, resource: log };
    let now = Timestamp::now();
    let seen = now.checked_sub(Duration::from_secs(60 * 60))?;
    let baseline = Baseline::default().with(state, seen).ok_or("nothing to remember")?;
    ledger.keep_baseline(&of, &baseline, now).await?;
    Ok(())
}

pub(super) async fn is_violating(cloud: &Cloud, resource: &str) -> Result<bool, Error> {
    let (vpc, _) = of(cloud, resource).await?;
    Ok(flow_logs(cloud, &vpc).await?.is_empty())
}

pub(super) async fn snapshot(cloud: &Cloud, resource: &str) -> Result<Value, Error> {
    let (vpc, tags) = of(cloud, resource).await?;
    let logs: Vec<Value> = flow_logs(cloud, &vpc).await?.iter().map(told).collect();
    let tags: Vec<Value> = tags.iter().map(|tag| json!([tag.key(), tag.value()])).collect();
    Ok(json!({"vpc": vpc, "tags": tags, "flowLogs": logs}))
}

async fn deleted(cloud: &Cloud, kind: &str, place: &str) -> Result<Staged, Error> {
    let vpc = vpc(cloud).await?;
    let log = create(cloud, &vpc, kind, place).await?;
    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
    let tags = cloud.ec2.create_tags().resources(&vpc);
    tags.tags(tag(HAD, &log)).tags(tag(kind, place)).send().await?;
    cloud.ec2.delete_flow_logs().flow_log_ids(&log).send().await?;
    let event = sample::happening(SAMPLE, &[(SAMPLE_LOG, &log)])?;
    Ok(Staged { control: "vpc-flow-logs", resource: log, event })
}

async fn vpc(cloud: &Cloud) -> Result<String, Error> {
    let vpc = cloud.ec2.create_vpc().cidr_block("10.40.0.0/16").send().await?;
    let vpc = vpc.vpc().and_then(|vpc| vpc.vpc_id()).ok_or("the VPC has no id")?;
    Ok(vpc.to_owned())
}

async fn create(cloud: &Cloud, vpc: &str, kind: &str, place: &str) -> Result<String, Error> {
    let tags = TagSpecification::builder()
        .resource_type(ResourceType::VpcFlowLog)
        .tags(Tag::builder().key("team").value("network").build());
    let create = cloud
        .ec2
        .create_flow_logs()
        .resource_type(FlowLogsResourceType::Vpc)
        .resource_ids(vpc)
        .traffic_type(TrafficType::All)
        .max_aggregation_interval(60)
        .log_format(FORMAT)
        .tag_specifications(tags.build());
    let create = match kind {
        GROUP => {
            let create = create.log_destination_type(LogDestinationType::CloudWatchLogs);
            create.log_group_name(place).deliver_logs_permission_arn(ROLE)
        }
        _ => create.log_destination_type(LogDestinationType::S3).log_destination(place),
    };
    let made = create.send().await?;
    Ok(made.flow_log_ids().first().ok_or("the flow log has no id")?.clone())
}

/// The VPC that had the flow log, and its tags.
async fn of(cloud: &Cloud, log: &str) -> Result<(String, Vec<Tag>), Error> {
    let had = Filter::builder().name(format!("tag:{HAD}")).values(log).build();
    let found = cloud.ec2.describe_vpcs().filters(had).send().await?;
    let vpc = found.vpcs().first().ok_or("no VPC had the flow log")?;
    let mut tags = vpc.tags().to_vec();
    tags.sort_by(|one, other| one.key().cmp(&other.key()));
    Ok((vpc.vpc_id().ok_or("the VPC has no id")?.to_owned(), tags))
}

async fn flow_logs(cloud: &Cloud, vpc: &str) -> Result<Vec<FlowLog>, Error> {
    let of_it = Filter::builder().name("resource-id").values(vpc).build();
    Ok(cloud.ec2.describe_flow_logs().filter(of_it).send().await?.flow_logs().to_vec())
}

/// Everything but the id.
fn told(log: &FlowLog) -> Value {
    let tags: Vec<Value> = log.tags().iter().map(|tag| json!([tag.key(), tag.value()])).collect();
    json!({
        "traffic": log.traffic_type().map(|traffic| traffic.as_str()),
        "to": log.log_destination_type().map(|kind| kind.as_str()),
        "destination": log.log_destination(),
        "group": log.log_group_name(),
        "role": log.deliver_logs_permission_arn(),
        "format": log.log_format(),
        "interval": log.max_aggregation_interval(),
        "tags": tags,
    })
}
