//! The root user made an access key of its own.

use aws_sdk_iam::types::SummaryKeyType;
use serde_json::{Value, json};

use super::{Error, Staged, sample};
use crate::Cloud;

const SAMPLE: &str = include_str!("../../../../events/iam-root-use/violating.json");

pub(super) async fn stage(cloud: &Cloud, _: &str) -> Result<Staged, Error> {
    // Whoever calls is root: see `patches/iam_root.py`.
    cloud.iam.create_access_key().send().await?;
    Ok(Staged {
        control: "iam-root-use",
        event: sample::happening(SAMPLE, &[])?,
        resource: "root".to_owned(),
    })
}

pub(super) async fn is_violating(cloud: &Cloud, resource: &str) -> Result<bool, Error> {
    Ok(snapshot(cloud, resource).await?["keys"] != 0)
}

pub(super) async fn snapshot(cloud: &Cloud, _: &str) -> Result<Value, Error> {
    let found = cloud.iam.get_account_summary().send().await?;
    let summary = found.summary_map().ok_or("no summary")?;
    Ok(json!({
        "keys": summary.get(&SummaryKeyType::AccountAccessKeysPresent),
        "second factor": summary.get(&SummaryKeyType::AccountMfaEnabled),
    }))
}
