//! Versioning was enabled, and is suspended.

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use serde_json::Value;

use super::{Error, Staged, s3_bucket};
use crate::Cloud;

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let bucket = s3_bucket::create(cloud, "versioning", name).await?;
    for status in [BucketVersioningStatus::Enabled, BucketVersioningStatus::Suspended] {
        let versioning = VersioningConfiguration::builder().status(status).build();
        let put = cloud.s3.put_bucket_versioning().bucket(&bucket);
        put.versioning_configuration(versioning).send().await?;
    }
    let sample = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../events/s3-versioning/violating.json"
    ));
    s3_bucket::staged("s3-versioning", bucket, sample)
}

pub(super) async fn is_violating(cloud: &Cloud, bucket: &str) -> Result<bool, Error> {
    Ok(snapshot(cloud, bucket).await?["versioning"] == "Suspended")
}

pub(super) async fn snapshot(cloud: &Cloud, bucket: &str) -> Result<Value, Error> {
    s3_bucket::snapshot(cloud, bucket).await
}
