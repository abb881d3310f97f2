//! What the scenarios for images share.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{
    ImageAttributeName, LaunchPermission, LaunchPermissionModifications, PermissionGroup, Tag,
};
use serde_json::{Value, json};

use super::Error;
use crate::{Cloud, cloud::ACCOUNT};

/// The image of the samples.
pub(super) const SAMPLE: &str = "ami-0a1b2c3d4e5f60718";

/// An image that is shared with the own account by name, which must stay.
pub(super) async fn create(cloud: &Cloud, name: &str) -> Result<String, Error> {
    let made = cloud.ec2.register_image().name(name).description("a golden image").send().await?;
    let image = made.image_id.ok_or("the image has no id")?;
    let tag = Tag::builder().key("Name").value(name).build();
    cloud.ec2.create_tags().resources(&image).tags(tag).send().await?;
    share(cloud, &image, vec![LaunchPermission::builder().user_id(ACCOUNT).build()]).await?;
    Ok(image)
}

pub(super) fn everyone() -> LaunchPermission {
    LaunchPermission::builder().group(PermissionGroup::All).build()
}

pub(super) async fn share(
    cloud: &Cloud,
    image: &str,
    with: Vec<LaunchPermission>,
) -> Result<(), Error> {
    let added = LaunchPermissionModifications::builder().set_add(Some(with)).build();
    cloud.ec2.modify_image_attribute().image_id(image).launch_permission(added).send().await?;
    Ok(())
}

/// With whom it is shared: accounts, ARNs, and `all`.
pub(super) async fn shared_with(cloud: &Cloud, image: &str) -> Result<BTreeSet<String>, Error> {
    let read = cloud.ec2.describe_image_attribute().image_id(image);
    let read = read.attribute(ImageAttributeName::LaunchPermission).send().await?;
    let entries = read.launch_permissions.unwrap_or_default().into_iter();
    let named = entries.filter_map(|entry| {
        let group = entry.group.map(|group| group.as_str().to_owned());
        entry.user_id.or(entry.organization_arn).or(entry.organizational_unit_arn).or(group)
    });
    Ok(named.collect())
}

pub(super) async fn snapshot(cloud: &Cloud, image: &str) -> Result<Value, Error> {
    let found = cloud.ec2.describe_images().image_ids(image).send().await?;
    let found = found.images().first().ok_or("no such image")?;
    let tags: Vec<Value> = found.tags().iter().map(|tag| json!([tag.key(), tag.value()])).collect();
    Ok(json!({
        "sharedWith": shared_with(cloud, image).await?,
        "name": found.name(),
        "description": found.description(),
        "tags": tags,
    }))
}
