//! What the scenarios of S3 share: a bucket, its event, and everything there is to see about it.

use std::hash::{DefaultHasher, Hash, Hasher};

use aws_sdk_s3::{
    error::{ProvideErrorMetadata, SdkError},
    types::{BucketLocationConstraint, CreateBucketConfiguration, Grant},
};
use serde_json::{Value, json};

use super::{Error, Staged};
use crate::{
    Cloud,
    cloud::{ACCOUNT, REGION},
};

/// The samples in `events/` speak of a bucket that is staged under this name.
const SAMPLE: &str = "example";

/// A bucket with none of the account's switches on, whatever was staged before.
pub(super) async fn create(cloud: &Cloud, kind: &str, name: &str) -> Result<String, Error> {
    cloud.s3control.delete_public_access_block().account_id(ACCOUNT).send().await?;
    let bucket = format!("quell-demo-{kind}-{name}");
    let here = CreateBucketConfiguration::builder()
        .location_constraint(BucketLocationConstraint::from(REGION))
        .build();
    cloud.s3.create_bucket().bucket(&bucket).create_bucket_configuration(here).send().await?;
    Ok(bucket)
}

/// The sample, about this bucket. Its ids become the bucket's own, because two events are two happenings.
pub(super) fn staged(control: &'static str, bucket: String, sample: &str) -> Result<Staged, Error> {
    let kind = bucket.rsplit_once('-').map_or(bucket.as_str(), |(kind, _)| kind);
    let sample = sample.replace(&format!("{kind}-{SAMPLE}"), &bucket);
    happening(control, bucket.clone(), &sample, &bucket)
}

/// The event with ids that are those of this name.
pub(super) fn happening(
    control: &'static str,
    resource: String,
    event: &str,
    name: &str,
) -> Result<Staged, Error> {
    let mut event: Value = serde_json::from_str(event)?;
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    let own = format!("{:016x}", hasher.finish());
    for (field, length) in [("/id", 12), ("/detail/eventID", 12), ("/detail/requestID", 16)] {
        if let Some(Value::String(id)) = event.pointer_mut(field) {
            id.truncate(id.len().saturating_sub(length));
            id.push_str(&own[..length]);
        }
    }
    if let Some(Value::String(id)) = event.pointer_mut("/detail/requestID") {
        id.make_ascii_uppercase();
    }
    Ok(Staged { control, resource, event })
}

/// ACL, ownership, policy, switches, tags, versioning, encryption, lifecycle and replication. What was never configured
/// is null.
pub(super) async fn snapshot(cloud: &Cloud, bucket: &str) -> Result<Value, Error> {
    let s3 = &cloud.s3;
    let acl = s3.get_bucket_acl().bucket(bucket).send().await?;
    let owner = acl.owner().and_then(|owner| owner.id());
    let mut grants: Vec<String> = acl.grants().iter().map(line).collect();
    grants.sort();

    let ownership = s3.get_bucket_ownership_controls().bucket(bucket).send().await;
    let ownership = present(ownership)?.and_then(|reply| reply.ownership_controls);
    let ownership = ownership.and_then(|controls| {
        controls.rules.first().map(|rule| rule.object_ownership.as_str().to_owned())
    });

    let policy = present(s3.get_bucket_policy().bucket(bucket).send().await)?;
    let block = present(s3.get_public_access_block().bucket(bucket).send().await)?;
    let block = block.and_then(|reply| reply.public_access_block_configuration).map(|switches| {
        json!({
            "BlockPublicAcls": switches.block_public_acls,
            "IgnorePublicAcls": switches.ignore_public_acls,
            "BlockPublicPolicy": switches.block_public_policy,
            "RestrictPublicBuckets": switches.restrict_public_buckets,
        })
    });

    let tags = present(s3.get_bucket_tagging().bucket(bucket).send().await)?;
    let tags = tags.map(|reply| {
        let mut tags: Vec<String> =
            reply.tag_set.iter().map(|tag| format!("{}={}", tag.key, tag.value)).collect();
        tags.sort();
        tags
    });

    let versioning = s3.get_bucket_versioning().bucket(bucket).send().await?.status;
    let encryption = present(s3.get_bucket_encryption().bucket(bucket).send().await)?;
    let lifecycle = s3.get_bucket_lifecycle_configuration().bucket(bucket).send().await;
    let lifecycle = present(lifecycle)?;
    let replication = present(s3.get_bucket_replication().bucket(bucket).send().await)?;

    Ok(json!({
        "owner": owner,
        "grants": grants,
        "ownership": ownership,
        "policy": policy.and_then(|reply| reply.policy),
        "block": block,
        "tags": tags,
        "versioning": versioning.as_ref().map(|status| status.as_str()),
        "encryption": encryption.map(|reply| shown(&reply.server_side_encryption_configuration)),
        "lifecycle": lifecycle.map(|reply| shown(&reply.rules)),
        "replication": replication.map(|reply| shown(&reply.replication_configuration)),
    }))
}

/// As the SDK shows it: every field that AWS answered with.
fn shown(configuration: &impl std::fmt::Debug) -> String {
    format!("{configuration:?}")
}

pub(super) fn line(grant: &Grant) -> String {
    let grantee = grant.grantee();
    let who = grantee.and_then(|grantee| {
        grantee.uri().or_else(|| grantee.id()).or_else(|| grantee.email_address())
    });
    let name = grantee.and_then(|grantee| grantee.display_name()).unwrap_or_default();
    let permission = grant.permission().map_or("", |permission| permission.as_str());
    format!("{permission} {} {name}", who.unwrap_or_default())
}

/// "There is none" as a value.
fn present<T, E, R>(reply: Result<T, SdkError<E, R>>) -> Result<Option<T>, Error>
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    const NONE: [&str; 7] = [
        "NoSuchBucketPolicy",
        "NoSuchLifecycleConfiguration",
        "NoSuchPublicAccessBlockConfiguration",
        "NoSuchTagSet",
        "OwnershipControlsNotFoundError",
        "ReplicationConfigurationNotFoundError",
        "ServerSideEncryptionConfigurationNotFoundError",
    ];
    match reply {
        Ok(reply) => Ok(Some(reply)),
        Err(error) if error.code().is_some_and(|code| NONE.contains(&code)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
