//! A trail that was deleted after a sweep saw it, and another that stays.

use aws_sdk_cloudtrail::types::{EventSelector, ReadWriteType};
use serde_json::{Value, json};

use super::{Error, Staged, s3_bucket, sample};
use crate::Cloud;

const SAMPLE: &str = include_str!("../../../../events/cloudtrail-deleted/violating.json");

/// The trail of the sample.
const SAMPLE_TRAIL: &str = "lost-record";

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let bucket = s3_bucket::create(cloud, "lost", name).await?;
    let trail = format!("{SAMPLE_TRAIL}-{name}");
    for trail in [neighbour(&trail), trail.clone()] {
        let created = cloud.cloudtrail.create_trail().name(&trail).s3_bucket_name(&bucket);
        created.is_multi_region_trail(true).send().await?;
        cloud.cloudtrail.start_logging().name(&trail).send().await?;
    }
    cloud.cloudtrail.delete_trail().name(&trail).send().await?;
    Ok(Staged {
        control: "cloudtrail-deleted",
        event: sample::happening(SAMPLE, &[(SAMPLE_TRAIL, &trail)])?,
        resource: trail,
    })
}

fn neighbour(trail: &str) -> String {
    trail.replace(SAMPLE_TRAIL, "neighbour-lost")
}

/// What a sweep saw. The bucket is that of the neighbour.
pub(super) async fn baseline(cloud: &Cloud, trail: &str) -> Result<Value, Error> {
    let neighbour = cloud.cloudtrail.get_trail().name(neighbour(trail)).send().await?;
    let bucket = neighbour.trail().and_then(|trail| trail.s3_bucket_name());
    let made = json!({
        "bucket": bucket,
        "prefix": "all",
        "settings": {
            "multi_region": true,
            "global_services": true,
            "validated": true,
            "key": null,
            "logs": {
                "group": "arn:aws:logs:eu-west-1:123456789012:log-group:calls:*",
                "role": "arn:aws:iam::123456789012:role/calls-to-logs",
            },
        },
        "tags": {"team": "audit"},
    });
    let selectors = json!({"basic": [{"calls": "WriteOnly", "management": true}]});
    Ok(json!({"trail": {"made": made, "selectors": selectors, "is_logging": true}}))
}

pub(super) async fn is_violating(cloud: &Cloud, trail: &str) -> Result<bool, Error> {
    let found = &snapshot(cloud, trail).await?["trail"];
    let is_whole =
        found["logging"] == true && found["prefix"] == "all" && found["validated"] == true;
    Ok(!is_whole || found["calls"] != json!(["WriteOnly"]) || found["tags"] != json!(["audit"]))
}

pub(super) async fn snapshot(cloud: &Cloud, trail: &str) -> Result<Value, Error> {
    let neighbour = neighbour(trail);
    Ok(json!({
        "trail": told(cloud, trail).await?,
        "neighbour": neighbour,
        "unchanged": told(cloud, &neighbour).await?,
    }))
}

async fn told(cloud: &Cloud, name: &str) -> Result<Value, Error> {
    let listed = cloud.cloudtrail.list_trails().send().await?;
    if !listed.trails().iter().any(|trail| trail.name() == Some(name)) {
        return Ok(Value::Null);
    }
    let found = cloud.cloudtrail.get_trail().name(name).send().await?;
    let trail = found.trail().ok_or("no such trail")?;
    let status = cloud.cloudtrail.get_trail_status().name(name).send().await?;
    let selectors = cloud.cloudtrail.get_event_selectors().trail_name(name).send().await?;
    let calls = selectors.event_selectors().iter().map(EventSelector::read_write_type);
    let calls: Vec<_> = calls.map(|calls| calls.map(ReadWriteType::as_str)).collect();
    let arn = trail.trail_arn().unwrap_or_default();
    let tags = cloud.cloudtrail.list_tags().resource_id_list(arn).send().await?;
    let tags = tags.resource_tag_list().iter().flat_map(|found| found.tags_list());
    let tags: Vec<_> = tags.map(|tag| tag.value()).collect();
    Ok(json!({
        "bucket": trail.s3_bucket_name(),
        "prefix": trail.s3_key_prefix(),
        "everywhere": trail.is_multi_region_trail(),
        "global": trail.include_global_service_events(),
        "validated": trail.log_file_validation_enabled(),
        "group": trail.cloud_watch_logs_log_group_arn(),
        "role": trail.cloud_watch_logs_role_arn(),
        "logging": status.is_logging(),
        "calls": calls,
        "tags": tags,
    }))
}
