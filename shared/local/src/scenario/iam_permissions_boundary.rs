//! A role that lost its permissions boundary.

use serde_json::{Value, json};

use super::{Error, Staged, sample};
use crate::{Cloud, cloud::ACCOUNT};

const SAMPLE: &str = include_str!("../../../../events/iam-permissions-boundary/violating.json");

/// The role of the sample.
const SAMPLE_ROLE: &str = "team-deploy";

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}}"#;
const READER: &str =
    r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:Get*","Resource":"*"}}"#;

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let (role, iam) = (format!("{SAMPLE_ROLE}-{name}"), &cloud.iam);
    iam.create_policy().policy_name(&role).policy_document(READER).send().await?;
    iam.create_role().role_name(&role).assume_role_policy_document(TRUST).send().await?;
    Ok(Staged {
        control: "iam-permissions-boundary",
        event: sample::happening(SAMPLE, &[(SAMPLE_ROLE, &role)])?,
        resource: format!("role/{role}"),
    })
}

/// The same of a user.
pub(super) async fn stage_user(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let (user, iam) = (format!("{SAMPLE_ROLE}-{name}"), &cloud.iam);
    iam.create_policy().policy_name(&user).policy_document(READER).send().await?;
    iam.create_user().user_name(&user).send().await?;
    let user_sample = include_str!("../../../../events/iam-permissions-boundary/user.json");
    Ok(Staged {
        control: "iam-permissions-boundary",
        event: sample::happening(user_sample, &[(SAMPLE_ROLE, &user)])?,
        resource: format!("user/{user}"),
    })
}

/// As a sweep saw it.
pub(super) fn baseline(resource: &str) -> Value {
    let name = resource.rsplit('/').next().unwrap_or_default();
    let boundary = format!("arn:aws:iam::{ACCOUNT}:policy/{name}");
    json!({"principal": resource, "boundary": boundary, "is_open": false})
}

pub(super) async fn is_violating(cloud: &Cloud, resource: &str) -> Result<bool, Error> {
    Ok(snapshot(cloud, resource).await?["boundary"].is_null())
}

pub(super) async fn snapshot(cloud: &Cloud, resource: &str) -> Result<Value, Error> {
    let (kind, name) = resource.split_once('/').ok_or("the resource has no kind")?;
    let boundary = if kind == "user" {
        let found = cloud.iam.get_user().user_name(name).send().await?;
        found.user.and_then(|user| user.permissions_boundary)
    } else {
        let found = cloud.iam.get_role().role_name(name).send().await?;
        found.role.and_then(|role| role.permissions_boundary)
    };
    Ok(json!({"boundary": boundary.and_then(|boundary| boundary.permissions_boundary_arn)}))
}
