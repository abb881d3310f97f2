//! A trail that was narrowed after a sweep saw it, and another that stays whole.

use std::time::Duration;

use jiff::Timestamp;
use quell_engine::ledger::{Baseline, Baselined, Ledger};
use serde_json::{Value, json};

use super::{Error, Staged, s3_bucket, sample};
use crate::{
    Cloud,
    cloud::{ACCOUNT, REGION},
};

pub(super) const SAMPLE: &str =
    include_str!("../../../../events/cloudtrail-weakened/violating.json");

/// The trail of the sample.
const SAMPLE_TRAIL: &str = "every-call";

const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/4b1f7c2e-9d06-4a53-8e7b-5f2c61d0a9e8";
const GROUP: &str = "arn:aws:logs:eu-west-1:123456789012:log-group:calls:*";
const ROLE: &str = "arn:aws:iam::123456789012:role/calls-to-logs";

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let bucket = s3_bucket::create(cloud, "narrowed", name).await?;
    let trail = format!("{SAMPLE_TRAIL}-{name}");
    for trail in [format!("neighbour-narrowed-{name}"), trail.clone()] {
        let created = cloud.cloudtrail.create_trail().name(&trail).s3_bucket_name(&bucket);
        let created = created.is_multi_region_trail(true).include_global_service_events(true);
        let created = created.enable_log_file_validation(true).kms_key_id(KEY);
        let created = created.cloud_watch_logs_log_group_arn(GROUP);
        created.cloud_watch_logs_role_arn(ROLE).s3_key_prefix("all").send().await?;
        cloud.cloudtrail.start_logging().name(&trail).send().await?;
    }
    let narrowed = cloud.cloudtrail.update_trail().name(&trail).is_multi_region_trail(false);
    let narrowed = narrowed.include_global_service_events(false).enable_log_file_validation(false);
    let narrowed = narrowed.kms_key_id("").cloud_watch_logs_log_group_arn("");
    narrowed.cloud_watch_logs_role_arn("").send().await?;
    Ok(Staged {
        control: "cloudtrail-weakened",
        event: sample::happening(SAMPLE, &[(SAMPLE_TRAIL, &trail)])?,
        resource: trail,
    })
}

/// What a sweep saw an hour ago.
pub(super) async fn remember(ledger: &Ledger, trail: &str) -> Result<(), Error> {
    let state = json!({
        "settings": {
            "multi_region": true,
            "global_services": true,
            "validated": true,
            "key": KEY,
            "logs": {"group": GROUP, "role": ROLE},
        },
    });
    let control = "cloudtrail-weakened";
    let of = Baselined { control, account: ACCOUNT, region: REGION, resource: trail };
    let now = Timestamp::now();
    let seen = now.checked_sub(Duration::from_secs(60 * 60))?;
    let baseline = Baseline::default().with(state, seen).ok_or("nothing to remember")?;
    ledger.keep_baseline(&of, &baseline, now).await?;
    Ok(())
}

pub(super) async fn is_violating(cloud: &Cloud, resource: &str) -> Result<bool, Error> {
    let found = snapshot(cloud, resource).await?;
    let is_whole = ["everywhere", "global", "validated"].iter().all(|name| found[name] == true);
    Ok(!is_whole || found["key"] != KEY || found["group"] != GROUP || found["role"] != ROLE)
}

pub(super) async fn snapshot(cloud: &Cloud, resource: &str) -> Result<Value, Error> {
    let status = cloud.cloudtrail.get_trail_status().name(resource).send().await?;
    let found = cloud.cloudtrail.get_trail().name(resource).send().await?;
    let trail = found.trail().ok_or("no such trail")?;
    Ok(json!({
        "logging": status.is_logging(),
        "bucket": trail.s3_bucket_name(),
        "prefix": trail.s3_key_prefix(),
        "everywhere": trail.is_multi_region_trail(),
        "global": trail.include_global_service_events(),
        "validated": trail.log_file_validation_enabled(),
        "key": trail.kms_key_id(),
        "group": trail.cloud_watch_logs_log_group_arn(),
        "role": trail.cloud_watch_logs_role_arn(),
    }))
}
