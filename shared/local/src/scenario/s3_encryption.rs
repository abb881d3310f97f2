//! Objects were encrypted with a key of KMS by default, and are with S3's own keys.

use aws_sdk_s3::types::{
    ServerSideEncryption, ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration,
    ServerSideEncryptionRule,
};
use serde_json::{Value, json};

use super::{Error, Staged, s3_bucket};
use crate::{
    Cloud,
    cloud::{ACCOUNT, REGION},
};

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let bucket = s3_bucket::create(cloud, "encryption", name).await?;
    put(cloud, &bucket, ServerSideEncryption::AwsKms, Some(key())).await?;
    put(cloud, &bucket, ServerSideEncryption::Aes256, None).await?;
    let sample = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../events/s3-encryption/violating.json"
    ));
    s3_bucket::staged("s3-encryption", bucket, sample)
}

/// How it was before.
pub(super) fn baseline() -> Value {
    json!({
        "found": {"algorithm": "aws:kms", "key": key(), "bucket_key": true},
        "account": ACCOUNT,
    })
}

pub(super) async fn is_violating(cloud: &Cloud, bucket: &str) -> Result<bool, Error> {
    let found = cloud.s3.get_bucket_encryption().bucket(bucket).send().await?;
    let rules = found.server_side_encryption_configuration.map(|found| found.rules);
    Ok(rules.unwrap_or_default().iter().any(|rule| {
        let default = rule.apply_server_side_encryption_by_default();
        default.is_none_or(|default| default.kms_master_key_id() != Some(key().as_str()))
    }))
}

pub(super) async fn snapshot(cloud: &Cloud, bucket: &str) -> Result<Value, Error> {
    s3_bucket::snapshot(cloud, bucket).await
}

fn key() -> String {
    format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab")
}

async fn put(
    cloud: &Cloud,
    bucket: &str,
    algorithm: ServerSideEncryption,
    key: Option<String>,
) -> Result<(), Error> {
    let default = ServerSideEncryptionByDefault::builder()
        .sse_algorithm(algorithm)
        .set_kms_master_key_id(key.clone())
        .build()?;
    let rule = ServerSideEncryptionRule::builder()
        .apply_server_side_encryption_by_default(default)
        .bucket_key_enabled(key.is_some());
    let rules = ServerSideEncryptionConfiguration::builder().rules(rule.build()).build()?;
    let put = cloud.s3.put_bucket_encryption().bucket(bucket);
    put.server_side_encryption_configuration(rules).send().await?;
    Ok(())
}
