//! A role whose sessions are in the wrong hands, with an inline policy of its own.

use serde_json::{Map, Value, json};

use super::{Error, Staged, sample};
use crate::Cloud;

const SAMPLE: &str = include_str!("../../../../events/iam-role-sessions/violating.json");

/// The role of the sample.
const SAMPLE_ROLE: &str = "web-server";

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}}"#;
const READER: &str =
    r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:Get*","Resource":"*"}}"#;

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let (role, iam) = (format!("{SAMPLE_ROLE}-{name}"), &cloud.iam);
    iam.create_role().role_name(&role).assume_role_policy_document(TRUST).send().await?;
    let put = iam.put_role_policy().role_name(&role).policy_name("reader");
    put.policy_document(READER).send().await?;
    Ok(Staged {
        control: "iam-role-sessions",
        event: sample::happening(SAMPLE, &[(SAMPLE_ROLE, &role)])?,
        resource: format!("role/{role}"),
    })
}

pub(super) async fn is_violating(cloud: &Cloud, resource: &str) -> Result<bool, Error> {
    Ok(snapshot(cloud, resource).await?["AWSRevokeOlderSessions"].is_null())
}

pub(super) async fn snapshot(cloud: &Cloud, resource: &str) -> Result<Value, Error> {
    let (role, iam) =
        (resource.strip_prefix("role/").ok_or("the resource is no role")?, &cloud.iam);
    let mut policies = Map::new();
    for policy in iam.list_role_policies().role_name(role).send().await?.policy_names {
        let found = iam.get_role_policy().role_name(role).policy_name(&policy).send().await?;
        policies.insert(policy, json!(found.policy_document));
    }
    Ok(Value::Object(policies))
}
