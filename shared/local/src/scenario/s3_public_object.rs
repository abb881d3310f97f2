//! Everyone may read a version of an object, in a bucket that is private.

use aws_sdk_s3::{
    primitives::ByteStream,
    types::{
        AccessControlPolicy, BucketVersioningStatus, Grant, Grantee, ObjectOwnership,
        OwnershipControls, OwnershipControlsRule, Permission, Type, VersioningConfiguration,
    },
};
use serde_json::{Value, json};

use super::{Error, Staged, s3_bucket};
use crate::Cloud;

const EVERYONE: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
const PARTNER: &str = "c4a1e7d2b95f40836ae2d719f0b3c85ed6174a9028bb53f1e6a0d4c7932f8b15";
const KEY: &str = "reports/2026 q1.csv";

/// What `events/` says in place of the version that AWS makes.
const SAMPLE_VERSION: &str = "3HL4kqtJvjVBH40Nrjfkd";

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let bucket = s3_bucket::create(cloud, "object", name).await?;
    let rule = OwnershipControlsRule::builder()
        .object_ownership(ObjectOwnership::BucketOwnerPreferred)
        .build()?;
    let controls = OwnershipControls::builder().rules(rule).build()?;
    let put = cloud.s3.put_bucket_ownership_controls().bucket(&bucket);
    put.ownership_controls(controls).send().await?;
    let status = BucketVersioningStatus::Enabled;
    let versioning = VersioningConfiguration::builder().status(status).build();
    let put = cloud.s3.put_bucket_versioning().bucket(&bucket);
    put.versioning_configuration(versioning).send().await?;

    let body = ByteStream::from_static(b"a,b\n");
    let made = cloud.s3.put_object().bucket(&bucket).key(KEY).body(body).send().await?;
    let version = made.version_id.ok_or("the object has no version")?;
    let get = cloud.s3.get_object_acl().bucket(&bucket).key(KEY);
    let found = get.version_id(&version).send().await?;
    let mut grants = found.grants.unwrap_or_default();
    for grantee in [
        Grantee::builder().r#type(Type::CanonicalUser).id(PARTNER).build()?,
        Grantee::builder().r#type(Type::Group).uri(EVERYONE).build()?,
    ] {
        grants.push(Grant::builder().grantee(grantee).permission(Permission::Read).build());
    }
    let acl = AccessControlPolicy::builder().set_owner(found.owner).set_grants(Some(grants));
    let put = cloud.s3.put_object_acl().bucket(&bucket).key(KEY).version_id(&version);
    put.access_control_policy(acl.build()).send().await?;

    let sample = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../events/s3-public-object/violating.json"
    ));
    let sample = sample.replace(SAMPLE_VERSION, &version);
    let staged = s3_bucket::staged("s3-public-object", bucket.clone(), &sample)?;
    Ok(Staged { resource: format!("{bucket}/{KEY}?versionId={version}"), ..staged })
}

pub(super) async fn is_violating(cloud: &Cloud, object: &str) -> Result<bool, Error> {
    let acl = acl(cloud, object).await?;
    Ok(acl["grants"].to_string().contains(EVERYONE))
}

/// The bucket too: a remediation could mistake the one for the other.
pub(super) async fn snapshot(cloud: &Cloud, object: &str) -> Result<Value, Error> {
    let bucket = object.split('/').next().unwrap_or_default();
    let bucket = s3_bucket::snapshot(cloud, bucket).await?;
    Ok(json!({"object": acl(cloud, object).await?, "bucket": bucket}))
}

async fn acl(cloud: &Cloud, object: &str) -> Result<Value, Error> {
    let (bucket, path) = object.split_once('/').ok_or("it names no object")?;
    let (key, version) = path.split_once("?versionId=").ok_or("it names no version")?;
    let get = cloud.s3.get_object_acl().bucket(bucket).key(key).version_id(version);
    let found = get.send().await?;
    let mut grants: Vec<String> = found.grants().iter().map(s3_bucket::line).collect();
    grants.sort();
    Ok(json!({"owner": found.owner().and_then(|owner| owner.id()), "grants": grants}))
}
