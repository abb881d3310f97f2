//! The policies of Quell's own stack that deny, and who has them.

use aws_sdk_iam::error::ProvideErrorMetadata;
use serde_json::{Value, json};

use super::Error;
use crate::{
    Cloud,
    cloud::{ACCOUNT, REGION},
};

const DENIES: &str =
    r#"{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}"#;

/// Makes it, as the stack does.
pub(super) async fn policy(cloud: &Cloud, does: &str) -> Result<(), Error> {
    let name = format!("quell-{does}-{REGION}");
    match cloud.iam.create_policy().policy_name(name).policy_document(DENIES).send().await {
        Err(error) if error.code() != Some("EntityAlreadyExists") => Err(error.into()),
        _ => Ok(()),
    }
}

/// Another policy that the user has, and keeps.
pub(super) async fn other_policy(cloud: &Cloud, user: &str) -> Result<(), Error> {
    let made = cloud.iam.create_policy().policy_name(user).policy_document(DENIES).send().await?;
    let arn = made.policy.and_then(|policy| policy.arn).ok_or("the emulator made no policy")?;
    cloud.iam.attach_user_policy().user_name(user).policy_arn(arn).send().await?;
    Ok(())
}

pub(super) async fn is_attached(cloud: &Cloud, resource: &str, does: &str) -> Result<bool, Error> {
    let arn = format!("arn:aws:iam::{ACCOUNT}:policy/quell-{does}-{REGION}");
    let found = snapshot(cloud, resource).await?;
    Ok(found["attached"].as_array().is_some_and(|all| all.contains(&json!(arn))))
}

pub(super) async fn snapshot(cloud: &Cloud, resource: &str) -> Result<Value, Error> {
    let (kind, name) = resource.split_once('/').ok_or("the resource has no kind")?;
    let attached = if kind == "user" {
        let listed = cloud.iam.list_attached_user_policies().user_name(name).send().await?;
        listed.attached_policies
    } else {
        let listed = cloud.iam.list_attached_role_policies().role_name(name).send().await?;
        listed.attached_policies
    };
    let attached = attached.unwrap_or_default().into_iter().filter_map(|policy| policy.policy_arn);
    let mut attached: Vec<String> = attached.collect();
    attached.sort();
    Ok(json!({"attached": attached}))
}
