//! A user whom GuardDuty suspects.

use serde_json::Value;

use super::{Error, Staged, iam_denial, sample};
use crate::Cloud;

const SAMPLE: &str = include_str!("../../../../events/iam-quarantine/violating.json");

/// The user of the sample.
const SAMPLE_USER: &str = "contractor";

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let user = format!("{SAMPLE_USER}-{name}");
    iam_denial::policy(cloud, "quarantine").await?;
    cloud.iam.create_user().user_name(&user).send().await?;
    iam_denial::other_policy(cloud, &user).await?;
    Ok(Staged {
        control: "iam-quarantine",
        event: sample::happening(SAMPLE, &[(SAMPLE_USER, &user)])?,
        resource: format!("user/{user}"),
    })
}

/// The same of a role.
pub(super) async fn stage_role(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let role = format!("{SAMPLE_USER}-{name}");
    iam_denial::policy(cloud, "quarantine").await?;
    let trust = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}}"#;
    cloud.iam.create_role().role_name(&role).assume_role_policy_document(trust).send().await?;
    let replaced = [(SAMPLE_USER, role.as_str()), ("IAMUser\",", "AssumedRole\",")];
    Ok(Staged {
        control: "iam-quarantine",
        event: sample::happening(SAMPLE, &replaced)?,
        resource: format!("role/{role}"),
    })
}

pub(super) async fn is_violating(cloud: &Cloud, resource: &str) -> Result<bool, Error> {
    Ok(!iam_denial::is_attached(cloud, resource, "quarantine").await?)
}

pub(super) async fn snapshot(cloud: &Cloud, resource: &str) -> Result<Value, Error> {
    iam_denial::snapshot(cloud, resource).await
}
