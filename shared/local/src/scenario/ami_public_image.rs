//! An image that is public, and shared with the own account by name.

use serde_json::Value;

use super::{Error, Staged, ami_image, sample};
use crate::Cloud;

const SAMPLE: &str = include_str!("../../../../events/ami-public-image/violating.json");

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    // Else AWS refuses it.
    cloud.ec2.disable_image_block_public_access().send().await?;
    let image = ami_image::create(cloud, name).await?;
    ami_image::share(cloud, &image, vec![ami_image::everyone()]).await?;
    Ok(Staged {
        control: "ami-public-image",
        event: sample::happening(SAMPLE, &[(ami_image::SAMPLE, &image)])?,
        resource: image,
    })
}

pub(super) async fn is_violating(cloud: &Cloud, resource: &str) -> Result<bool, Error> {
    Ok(ami_image::shared_with(cloud, resource).await?.contains("all"))
}

pub(super) async fn snapshot(cloud: &Cloud, resource: &str) -> Result<Value, Error> {
    ami_image::snapshot(cloud, resource).await
}
