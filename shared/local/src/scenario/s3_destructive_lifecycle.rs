//! A rule that empties the bucket within a day stands between rules that are wanted.

use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, ExpirationStatus,
    LifecycleExpiration, LifecycleRule, LifecycleRuleAndOperator, LifecycleRuleFilter,
    NoncurrentVersionExpiration, Tag, Transition, TransitionDefaultMinimumObjectSize,
    TransitionStorageClass,
};
use serde_json::{Value, json};

use super::{Error, Staged, s3_bucket};
use crate::Cloud;

const DESTRUCTIVE: &str = "cleanup";

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let bucket = s3_bucket::create(cloud, "lifecycle", name).await?;
    let rules = [archive()?, destructive()?, versions()?];
    let all = BucketLifecycleConfiguration::builder().set_rules(Some(rules.into())).build()?;
    let put = cloud.s3.put_bucket_lifecycle_configuration().bucket(&bucket);
    put.lifecycle_configuration(all)
        .transition_default_minimum_object_size(
            TransitionDefaultMinimumObjectSize::VariesByStorageClass,
        )
        .send()
        .await?;
    let sample = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../events/s3-destructive-lifecycle/violating.json"
    ));
    s3_bucket::staged("s3-destructive-lifecycle", bucket, sample)
}

/// How it was before.
pub(super) fn baseline() -> Value {
    json!({"lifecycle": {
        "rules": [{
            "ID": "archive", "Status": "Enabled",
            "Filter": {"And": {"Prefix": "data/", "Tags": [{"Key": "keep", "Value": "long"}]}},
            "Transitions": [{"Days": 30, "StorageClass": "GLACIER"}],
            "AbortIncompleteMultipartUpload": 3,
        }],
        "minimum": "varies_by_storage_class",
    }})
}

pub(super) async fn is_violating(cloud: &Cloud, bucket: &str) -> Result<bool, Error> {
    let found = cloud.s3.get_bucket_lifecycle_configuration().bucket(bucket).send().await?;
    let is_it = |rule: &LifecycleRule| {
        rule.id() == Some(DESTRUCTIVE) && rule.status == ExpirationStatus::Enabled
    };
    Ok(found.rules().iter().any(is_it))
}

pub(super) async fn snapshot(cloud: &Cloud, bucket: &str) -> Result<Value, Error> {
    s3_bucket::snapshot(cloud, bucket).await
}

fn archive() -> Result<LifecycleRule, Error> {
    let tag = Tag::builder().key("keep").value("long").build()?;
    let and = LifecycleRuleAndOperator::builder().prefix("data/").tags(tag).build();
    let glacier =
        Transition::builder().days(30).storage_class(TransitionStorageClass::Glacier).build();
    let abort = AbortIncompleteMultipartUpload::builder().days_after_initiation(3).build();
    Ok(LifecycleRule::builder()
        .id("archive")
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().and(and).build())
        .transitions(glacier)
        .abort_incomplete_multipart_upload(abort)
        .build()?)
}

fn destructive() -> Result<LifecycleRule, Error> {
    Ok(LifecycleRule::builder()
        .id(DESTRUCTIVE)
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix("").build())
        .expiration(LifecycleExpiration::builder().days(1).build())
        .build()?)
}

fn versions() -> Result<LifecycleRule, Error> {
    let old = NoncurrentVersionExpiration::builder();
    Ok(LifecycleRule::builder()
        .id("versions")
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().object_size_greater_than(1_000_000).build())
        .noncurrent_version_expiration(old.noncurrent_days(90).newer_noncurrent_versions(2).build())
        .build()?)
}
