//! Two of the four switches are off: the ACLs are guarded, the policy is not.

use aws_sdk_s3::types::PublicAccessBlockConfiguration;
use serde_json::Value;

use super::{Error, Staged, s3_bucket};
use crate::Cloud;

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let bucket = s3_bucket::create(cloud, "block", name).await?;
    let half = PublicAccessBlockConfiguration::builder()
        .block_public_acls(true)
        .ignore_public_acls(true)
        .block_public_policy(false)
        .restrict_public_buckets(false)
        .build();
    let put = cloud.s3.put_public_access_block().bucket(&bucket);
    put.public_access_block_configuration(half).send().await?;
    let sample = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../events/s3-block-public-access/violating.json"
    ));
    s3_bucket::staged("s3-block-public-access", bucket, sample)
}

pub(super) async fn is_violating(cloud: &Cloud, bucket: &str) -> Result<bool, Error> {
    let snapshot = snapshot(cloud, bucket).await?;
    let switches = snapshot["block"].as_object();
    Ok(!switches.is_some_and(|switches| switches.values().all(|switch| switch == true)))
}

pub(super) async fn snapshot(cloud: &Cloud, bucket: &str) -> Result<Value, Error> {
    s3_bucket::snapshot(cloud, bucket).await
}
