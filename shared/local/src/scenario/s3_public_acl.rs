//! Everyone may list the bucket, any AWS account may read its ACL. A partner's grant and log delivery are wanted.

use aws_sdk_s3::types::{
    AccessControlPolicy, BucketCannedAcl, Grant, Grantee, ObjectOwnership, OwnershipControls,
    OwnershipControlsRule, Permission, Type,
};
use serde_json::Value;

use super::{Error, Staged, s3_bucket};
use crate::Cloud;

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let bucket = s3_bucket::create(cloud, "acl", name).await?;
    let rule = OwnershipControlsRule::builder()
        .object_ownership(ObjectOwnership::BucketOwnerPreferred)
        .build()?;
    let controls = OwnershipControls::builder().rules(rule).build()?;
    let put = cloud.s3.put_bucket_ownership_controls().bucket(&bucket);
    put.ownership_controls(controls).send().await?;
    cloud.s3.put_bucket_acl().bucket(&bucket).acl(BucketCannedAcl::Private).send().await?;

    let found = cloud.s3.get_bucket_acl().bucket(&bucket).send().await?;
    let mut grants = found.grants.unwrap_or_default();
    grants.extend([
        grant(user(PARTNER)?, Permission::Read),
        grant(group(EVERYONE)?, Permission::Read),
        grant(group(LOG_DELIVERY)?, Permission::Write),
        grant(group(ANY_ACCOUNT)?, Permission::ReadAcp),
        grant(group(LOG_DELIVERY)?, Permission::ReadAcp),
    ]);
    let policy =
        AccessControlPolicy::builder().set_owner(found.owner).set_grants(Some(grants)).build();
    cloud.s3.put_bucket_acl().bucket(&bucket).access_control_policy(policy).send().await?;

    let sample = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../events/s3-public-acl/violating.json"
    ));
    s3_bucket::staged("s3-public-acl", bucket, sample)
}

pub(super) async fn is_violating(cloud: &Cloud, bucket: &str) -> Result<bool, Error> {
    let acl = cloud.s3.get_bucket_acl().bucket(bucket).send().await?;
    let groups = acl.grants().iter().filter_map(|grant| grant.grantee()?.uri());
    Ok(groups.into_iter().any(|group| [EVERYONE, ANY_ACCOUNT].contains(&group)))
}

pub(super) async fn snapshot(cloud: &Cloud, bucket: &str) -> Result<Value, Error> {
    s3_bucket::snapshot(cloud, bucket).await
}

const EVERYONE: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
const ANY_ACCOUNT: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";
const LOG_DELIVERY: &str = "http://acs.amazonaws.com/groups/s3/LogDelivery";
const PARTNER: &str = "c4a1e7d2b95f40836ae2d719f0b3c85ed6174a9028bb53f1e6a0d4c7932f8b15";

fn grant(grantee: Grantee, permission: Permission) -> Grant {
    Grant::builder().grantee(grantee).permission(permission).build()
}

fn user(id: &str) -> Result<Grantee, Error> {
    Ok(Grantee::builder().r#type(Type::CanonicalUser).id(id).build()?)
}

fn group(uri: &str) -> Result<Grantee, Error> {
    Ok(Grantee::builder().r#type(Type::Group).uri(uri).build()?)
}
