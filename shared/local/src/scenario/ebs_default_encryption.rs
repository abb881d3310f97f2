//! A region in which new volumes are not encrypted.

use serde_json::{Value, json};

use super::{Error, Staged, sample};
use crate::{Cloud, cloud::REGION};

const SAMPLE: &str = include_str!("../../../../events/ebs-default-encryption/violating.json");

pub(super) async fn stage(cloud: &Cloud, _: &str) -> Result<Staged, Error> {
    cloud.ec2.disable_ebs_encryption_by_default().send().await?;
    Ok(Staged {
        control: "ebs-default-encryption",
        event: sample::happening(SAMPLE, &[])?,
        resource: REGION.to_owned(),
    })
}

pub(super) async fn is_violating(cloud: &Cloud, _: &str) -> Result<bool, Error> {
    let found = cloud.ec2.get_ebs_encryption_by_default().send().await?;
    Ok(found.ebs_encryption_by_default() != Some(true))
}

pub(super) async fn snapshot(cloud: &Cloud, resource: &str) -> Result<Value, Error> {
    Ok(json!({"encryptionByDefault": !is_violating(cloud, resource).await?}))
}
