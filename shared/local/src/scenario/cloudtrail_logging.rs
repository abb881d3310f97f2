//! A trail that was stopped.

use serde_json::{Value, json};

use super::{Error, Staged, s3_bucket, sample};
use crate::Cloud;

const SAMPLE: &str = include_str!("../../../../events/cloudtrail-logging/violating.json");

/// The trail of the sample.
const SAMPLE_TRAIL: &str = "all-calls";

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let bucket = s3_bucket::create(cloud, "calls", name).await?;
    let trail = format!("{SAMPLE_TRAIL}-{name}");
    let created = cloud.cloudtrail.create_trail().name(&trail).s3_bucket_name(&bucket);
    created.is_multi_region_trail(true).send().await?;
    cloud.cloudtrail.start_logging().name(&trail).send().await?;
    cloud.cloudtrail.stop_logging().name(&trail).send().await?;
    Ok(Staged {
        control: "cloudtrail-logging",
        event: sample::happening(SAMPLE, &[(SAMPLE_TRAIL, &trail)])?,
        resource: trail,
    })
}

pub(super) async fn is_violating(cloud: &Cloud, resource: &str) -> Result<bool, Error> {
    let status = cloud.cloudtrail.get_trail_status().name(resource).send().await?;
    Ok(status.is_logging() != Some(true))
}

pub(super) async fn snapshot(cloud: &Cloud, resource: &str) -> Result<Value, Error> {
    let is_stopped = is_violating(cloud, resource).await?;
    let found = cloud.cloudtrail.get_trail().name(resource).send().await?;
    let trail = found.trail().ok_or("no such trail")?;
    Ok(json!({
        "logging": !is_stopped,
        "bucket": trail.s3_bucket_name(),
        "everywhere": trail.is_multi_region_trail(),
        "global": trail.include_global_service_events(),
        "validated": trail.log_file_validation_enabled(),
    }))
}
