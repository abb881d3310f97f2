//! An image that is shared with an account, an organisation and a unit that nobody knows, and with the own account.

use aws_sdk_ec2::types::LaunchPermission;
use serde_json::Value;

use super::{Error, Staged, ami_image, ebs_snapshot::STRANGER, sample};
use crate::{Cloud, cloud::ACCOUNT};

const SAMPLE: &str = include_str!("../../../../events/ami-shared-image/violating.json");

const ORGANISATION: &str = "arn:aws:organizations::111122223333:organization/o-a1b2c3d4e5";
const UNIT: &str = "arn:aws:organizations::111122223333:ou/o-a1b2c3d4e5/ou-ab12-cdefghij";

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let image = ami_image::create(cloud, name).await?;
    let strangers = vec![
        LaunchPermission::builder().user_id(STRANGER).build(),
        LaunchPermission::builder().organization_arn(ORGANISATION).build(),
        LaunchPermission::builder().organizational_unit_arn(UNIT).build(),
    ];
    ami_image::share(cloud, &image, strangers).await?;
    Ok(Staged {
        control: "ami-shared-image",
        event: sample::happening(SAMPLE, &[(ami_image::SAMPLE, &image)])?,
        resource: image,
    })
}

pub(super) async fn is_violating(cloud: &Cloud, resource: &str) -> Result<bool, Error> {
    Ok(ami_image::shared_with(cloud, resource).await?.iter().any(|one| one != ACCOUNT))
}

pub(super) async fn snapshot(cloud: &Cloud, resource: &str) -> Result<Value, Error> {
    ami_image::snapshot(cloud, resource).await
}
