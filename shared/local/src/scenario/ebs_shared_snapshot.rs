//! A snapshot that is shared with an account that nobody knows, and with the own one.

use serde_json::Value;

use super::{
    Error, Staged,
    ebs_snapshot::{self, STRANGER},
    sample,
};
use crate::Cloud;

const SAMPLE: &str = include_str!("../../../../events/ebs-shared-snapshot/violating.json");

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let snapshot = ebs_snapshot::create(cloud, name).await?;
    ebs_snapshot::share(cloud, &snapshot, STRANGER).await?;
    Ok(Staged {
        control: "ebs-shared-snapshot",
        event: sample::happening(SAMPLE, &[(ebs_snapshot::SAMPLE, &snapshot)])?,
        resource: snapshot,
    })
}

pub(super) async fn is_violating(cloud: &Cloud, resource: &str) -> Result<bool, Error> {
    Ok(ebs_snapshot::shared_with(cloud, resource).await?.contains(STRANGER))
}

pub(super) async fn snapshot(cloud: &Cloud, resource: &str) -> Result<Value, Error> {
    ebs_snapshot::snapshot(cloud, resource).await
}
