//! A region in which images can be made public.

use serde_json::{Value, json};

use super::{Error, Staged, sample};
use crate::{Cloud, cloud::REGION};

const SAMPLE: &str = include_str!("../../../../events/ami-block-public-access/violating.json");

pub(super) async fn stage(cloud: &Cloud, _: &str) -> Result<Staged, Error> {
    cloud.ec2.disable_image_block_public_access().send().await?;
    Ok(Staged {
        control: "ami-block-public-access",
        event: sample::happening(SAMPLE, &[])?,
        resource: REGION.to_owned(),
    })
}

pub(super) async fn is_violating(cloud: &Cloud, _: &str) -> Result<bool, Error> {
    let found = cloud.ec2.get_image_block_public_access_state().send().await?;
    Ok(found.image_block_public_access_state() == Some("unblocked"))
}

pub(super) async fn snapshot(cloud: &Cloud, _: &str) -> Result<Value, Error> {
    let found = cloud.ec2.get_image_block_public_access_state().send().await?;
    Ok(json!({"state": found.image_block_public_access_state()}))
}
