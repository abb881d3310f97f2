//! What the scenarios for snapshots share.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{
    OperationType, ResourceType, SnapshotAttributeName, Tag, TagSpecification, VolumeType,
};
use serde_json::{Value, json};

use super::Error;
use crate::{
    Cloud,
    cloud::{ACCOUNT, REGION},
};

/// The snapshot of the samples.
pub(super) const SAMPLE: &str = "snap-0a1b2c3d4e5f60718";

/// An account that nobody knows.
pub(super) const STRANGER: &str = "111122223333";

/// A snapshot that is shared with the own account by name, which must stay.
pub(super) async fn create(cloud: &Cloud, name: &str) -> Result<String, Error> {
    let volume = cloud.ec2.create_volume().size(1).volume_type(VolumeType::Gp3);
    let volume = volume.availability_zone(format!("{REGION}a")).send().await?;
    let volume = volume.volume_id.ok_or("the volume has no id")?;
    let tags = TagSpecification::builder()
        .resource_type(ResourceType::Snapshot)
        .tags(Tag::builder().key("Name").value(name).build());
    let made = cloud.ec2.create_snapshot().volume_id(&volume);
    let made = made.tag_specifications(tags.build()).send().await?;
    let snapshot = made.snapshot_id.ok_or("the snapshot has no id")?;
    share(cloud, &snapshot, ACCOUNT).await?;
    Ok(snapshot)
}

/// Shares it with an account, or with `all`.
pub(super) async fn share(cloud: &Cloud, snapshot: &str, with: &str) -> Result<(), Error> {
    let modify = cloud.ec2.modify_snapshot_attribute().snapshot_id(snapshot);
    let modify = modify
        .attribute(SnapshotAttributeName::CreateVolumePermission)
        .operation_type(OperationType::Add);
    let modify = if with == "all" { modify.group_names(with) } else { modify.user_ids(with) };
    modify.send().await?;
    Ok(())
}

/// With whom it is shared: accounts, and `all`.
pub(super) async fn shared_with(cloud: &Cloud, snapshot: &str) -> Result<BTreeSet<String>, Error> {
    let read = cloud.ec2.describe_snapshot_attribute().snapshot_id(snapshot);
    let read = read.attribute(SnapshotAttributeName::CreateVolumePermission).send().await?;
    let entries = read.create_volume_permissions.unwrap_or_default().into_iter();
    let named = entries.filter_map(|entry| {
        entry.user_id.or_else(|| entry.group.map(|group| group.as_str().to_owned()))
    });
    Ok(named.collect())
}

pub(super) async fn snapshot(cloud: &Cloud, snapshot: &str) -> Result<Value, Error> {
    let found = cloud.ec2.describe_snapshots().snapshot_ids(snapshot).send().await?;
    let found = found.snapshots().first().ok_or("no such snapshot")?;
    let tags: Vec<Value> = found.tags().iter().map(|tag| json!([tag.key(), tag.value()])).collect();
    Ok(json!({
        "sharedWith": shared_with(cloud, snapshot).await?,
        "description": found.description(),
        "encrypted": found.encrypted(),
        "tags": tags,
    }))
}
