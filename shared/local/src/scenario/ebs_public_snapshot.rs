//! A snapshot that is public, and shared with the own account by name.

use serde_json::Value;

use super::{Error, Staged, ebs_snapshot, sample};
use crate::Cloud;

const SAMPLE: &str = include_str!("../../../../events/ebs-public-snapshot/violating.json");

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    // Else AWS refuses it.
    cloud.ec2.disable_snapshot_block_public_access().send().await?;
    let snapshot = ebs_snapshot::create(cloud, name).await?;
    ebs_snapshot::share(cloud, &snapshot, "all").await?;
    Ok(Staged {
        control: "ebs-public-snapshot",
        event: sample::happening(SAMPLE, &[(ebs_snapshot::SAMPLE, &snapshot)])?,
        resource: snapshot,
    })
}

pub(super) async fn is_violating(cloud: &Cloud, resource: &str) -> Result<bool, Error> {
    Ok(ebs_snapshot::shared_with(cloud, resource).await?.contains("all"))
}

pub(super) async fn snapshot(cloud: &Cloud, resource: &str) -> Result<Value, Error> {
    ebs_snapshot::snapshot(cloud, resource).await
}
