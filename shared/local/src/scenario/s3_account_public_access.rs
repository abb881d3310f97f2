//! The account's switches refuse what is new and public, and no longer hold off what is there.

use aws_sdk_s3control::{error::ProvideErrorMetadata as _, types::PublicAccessBlockConfiguration};
use serde_json::{Value, json};

use super::{Error, Staged, s3_bucket};
use crate::{Cloud, cloud::ACCOUNT};

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let half = PublicAccessBlockConfiguration::builder()
        .block_public_acls(true)
        .ignore_public_acls(false)
        .block_public_policy(true)
        .restrict_public_buckets(false)
        .build();
    let put = cloud.s3control.put_public_access_block().account_id(ACCOUNT);
    put.public_access_block_configuration(half).send().await?;
    let sample = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../events/s3-account-public-access/violating.json"
    ));
    s3_bucket::happening("s3-account-public-access", ACCOUNT.to_owned(), sample, name)
}

pub(super) async fn is_violating(cloud: &Cloud, account: &str) -> Result<bool, Error> {
    let snapshot = snapshot(cloud, account).await?;
    let switches = snapshot["block"].as_object();
    Ok(!switches.is_some_and(|switches| switches.values().all(|switch| switch == true)))
}

pub(super) async fn snapshot(cloud: &Cloud, account: &str) -> Result<Value, Error> {
    let found = cloud.s3control.get_public_access_block().account_id(account).send().await;
    let found = match found {
        Err(error) if error.code() == Some("NoSuchPublicAccessBlockConfiguration") => None,
        found => found?.public_access_block_configuration,
    };
    let block = found.map(|switches| {
        json!({
            "BlockPublicAcls": switches.block_public_acls,
            "IgnorePublicAcls": switches.ignore_public_acls,
            "BlockPublicPolicy": switches.block_public_policy,
            "RestrictPublicBuckets": switches.restrict_public_buckets,
        })
    });
    Ok(json!({"block": block}))
}
