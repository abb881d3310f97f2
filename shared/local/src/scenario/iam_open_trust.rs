//! A role that the account, a service, a stranger and everyone may take.

use serde_json::{Value, json};

use super::{Error, Staged, sample};
use crate::Cloud;

const SAMPLE: &str = include_str!("../../../../events/iam-open-trust/violating.json");

/// The role of the sample.
const SAMPLE_ROLE: &str = "vendor-access";

const TRUST: &str = r#"{ "Version": "2012-10-17", "Statement": [
  {"Sid": "Own", "Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam::123456789012:root", "arn:aws:iam::999999999999:root"]}, "Action": "sts:AssumeRole"},
  {"Sid": "Service", "Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"},
  {"Sid": "Everyone", "Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"} ] }"#;

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let role = format!("{SAMPLE_ROLE}-{name}");
    let create = cloud.iam.create_role().role_name(&role).assume_role_policy_document(TRUST);
    create.send().await?;
    Ok(Staged {
        control: "iam-open-trust",
        event: sample::happening(SAMPLE, &[(SAMPLE_ROLE, &role)])?,
        resource: format!("role/{role}"),
    })
}

pub(super) async fn is_violating(cloud: &Cloud, resource: &str) -> Result<bool, Error> {
    let found = snapshot(cloud, resource).await?;
    let text = found["trust"].as_str().ok_or("no trust policy")?;
    Ok(text.contains("999999999999") || text.contains("Everyone"))
}

pub(super) async fn snapshot(cloud: &Cloud, resource: &str) -> Result<Value, Error> {
    let name = resource.strip_prefix("role/").ok_or("the resource is no role")?;
    let found = cloud.iam.get_role().role_name(name).send().await?;
    let trust = found.role.and_then(|role| role.assume_role_policy_document);
    Ok(json!({"trust": trust}))
}
