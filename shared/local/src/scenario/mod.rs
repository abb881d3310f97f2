//! The bad states that Quell puts right: how to make them, and how to look at them with eyes of one's own.
//!
//! One file per control, each with
//! - `stage`: makes the bad state (with neighbours that must stay as they are) and the event that tells of it,
//! - `is_violating`: whether it is still so, read from AWS without Quell's code,
//! - `snapshot`: everything about the resource that a remediation could touch, for "equal to before" and
//!   "nothing else changed". Ids that AWS gives anew (security group rule ids) are left out.

use serde_json::Value;

use crate::Cloud;

mod ec2_imdsv2;
mod ec2_quarantine;
mod s3_block_public_access;
mod s3_bucket;
mod s3_public_acl;
mod s3_public_policy;
mod sample;
mod sg_open_ingress;

/// Emulator trouble, in words.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// A bad state, and the event that tells of it.
#[derive(Clone, Debug)]
pub struct Staged {
    pub control: &'static str,
    /// As the control names it: a bucket, an instance id, a group id.
    pub resource: String,
    /// The sample `events/<control>/violating.json`, about this resource.
    pub event: Value,
}

/// Makes the bad state of a control. `name` is unique among the stagings of one emulator.
pub async fn stage(cloud: &Cloud, control: &str, name: &str) -> Result<Staged, Error> {
    match control {
        "ec2-imdsv2" => ec2_imdsv2::stage(cloud, name).await,
        "ec2-quarantine" => ec2_quarantine::stage(cloud, name).await,
        "s3-block-public-access" => s3_block_public_access::stage(cloud, name).await,
        "s3-public-acl" => s3_public_acl::stage(cloud, name).await,
        "s3-public-policy" => s3_public_policy::stage(cloud, name).await,
        "sg-open-ingress" => sg_open_ingress::stage(cloud, name).await,
        other => Err(format!("no scenario for control {other}").into()),
    }
}

/// Whether the resource of [`stage`] is still in its bad state.
pub async fn is_violating(cloud: &Cloud, staged: &Staged) -> Result<bool, Error> {
    let resource = &staged.resource;
    match staged.control {
        "ec2-imdsv2" => ec2_imdsv2::is_violating(cloud, resource).await,
        "ec2-quarantine" => ec2_quarantine::is_violating(cloud, resource).await,
        "s3-block-public-access" => s3_block_public_access::is_violating(cloud, resource).await,
        "s3-public-acl" => s3_public_acl::is_violating(cloud, resource).await,
        "s3-public-policy" => s3_public_policy::is_violating(cloud, resource).await,
        "sg-open-ingress" => sg_open_ingress::is_violating(cloud, resource).await,
        other => Err(format!("no scenario for control {other}").into()),
    }
}

/// Everything about the resource that a remediation could touch.
pub async fn snapshot(cloud: &Cloud, staged: &Staged) -> Result<Value, Error> {
    let resource = &staged.resource;
    match staged.control {
        "ec2-imdsv2" => ec2_imdsv2::snapshot(cloud, resource).await,
        "ec2-quarantine" => ec2_quarantine::snapshot(cloud, resource).await,
        "s3-block-public-access" => s3_block_public_access::snapshot(cloud, resource).await,
        "s3-public-acl" => s3_public_acl::snapshot(cloud, resource).await,
        "s3-public-policy" => s3_public_policy::snapshot(cloud, resource).await,
        "sg-open-ingress" => sg_open_ingress::snapshot(cloud, resource).await,
        other => Err(format!("no scenario for control {other}").into()),
    }
}
