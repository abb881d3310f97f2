//! The bucket is copied to one of the account's own, which is wanted, and to a stranger's.

use aws_sdk_s3::types::{
    BucketVersioningStatus, DeleteMarkerReplication, DeleteMarkerReplicationStatus, Destination,
    ReplicationConfiguration, ReplicationRule, ReplicationRuleFilter, ReplicationRuleStatus,
    VersioningConfiguration,
};
use serde_json::Value;

use super::{Error, Staged, s3_bucket};
use crate::{Cloud, cloud::ACCOUNT};

const STRANGER: &str = "999999999999";

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let bucket = s3_bucket::create(cloud, "replication", name).await?;
    let backup = s3_bucket::create(cloud, "backup", name).await?;
    let status = BucketVersioningStatus::Enabled;
    let versioning = VersioningConfiguration::builder().status(status).build();
    let put = cloud.s3.put_bucket_versioning().bucket(&bucket);
    put.versioning_configuration(versioning).send().await?;
    let rules = ReplicationConfiguration::builder()
        .role(format!("arn:aws:iam::{ACCOUNT}:role/replication"))
        .rules(rule("backup", 1, &backup, None)?)
        .rules(rule("mirror", 2, "quell-demo-stranger", Some(STRANGER))?)
        .build()?;
    let put = cloud.s3.put_bucket_replication().bucket(&bucket);
    put.replication_configuration(rules).send().await?;
    let sample = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../events/s3-foreign-replication/violating.json"
    ));
    s3_bucket::staged("s3-foreign-replication", bucket, sample)
}

pub(super) async fn is_violating(cloud: &Cloud, bucket: &str) -> Result<bool, Error> {
    let snapshot = snapshot(cloud, bucket).await?;
    Ok(snapshot["replication"].as_str().is_some_and(|rules| rules.contains(STRANGER)))
}

pub(super) async fn snapshot(cloud: &Cloud, bucket: &str) -> Result<Value, Error> {
    s3_bucket::snapshot(cloud, bucket).await
}

fn rule(
    id: &str,
    priority: i32,
    to: &str,
    account: Option<&str>,
) -> Result<ReplicationRule, Error> {
    let status = DeleteMarkerReplicationStatus::Disabled;
    let markers = DeleteMarkerReplication::builder().status(status).build();
    let destination = Destination::builder()
        .bucket(format!("arn:aws:s3:::{to}"))
        .set_account(account.map(str::to_owned));
    Ok(ReplicationRule::builder()
        .id(id)
        .priority(priority)
        .status(ReplicationRuleStatus::Enabled)
        .filter(ReplicationRuleFilter::builder().prefix("").build())
        .delete_marker_replication(markers)
        .destination(destination.build()?)
        .build()?)
}
