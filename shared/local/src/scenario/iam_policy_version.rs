//! A policy of which a new version makes administrators; beside it somebody who administers by another.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Error, Staged, iam_admin_policy, sample};
use crate::{Cloud, cloud::ACCOUNT};

const SAMPLE: &str = include_str!("../../../../events/iam-policy-version/violating.json");

/// The policy of the sample.
const SAMPLE_POLICY: &str = "release-bot";

const READER: &str =
    r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:Get*","Resource":"*"}}"#;

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let policy = format!("{SAMPLE_POLICY}-{name}");
    let iam = &cloud.iam;
    iam_admin_policy::another(cloud, name).await?;
    let made = iam.create_policy().policy_name(&policy).policy_document(READER).send().await?;
    let arn = made.policy.and_then(|policy| policy.arn).ok_or("the emulator made no policy")?;
    let version = iam.create_policy_version().policy_arn(&arn).set_as_default(true);
    version.policy_document(iam_admin_policy::WHOLE).send().await?;
    iam.create_user().user_name(&policy).send().await?;
    iam.attach_user_policy().user_name(&policy).policy_arn(&arn).send().await?;
    Ok(Staged {
        control: "iam-policy-version",
        event: sample::happening(SAMPLE, &[(SAMPLE_POLICY, &policy)])?,
        resource: format!("policy/{policy}"),
    })
}

pub(super) async fn is_violating(cloud: &Cloud, resource: &str) -> Result<bool, Error> {
    Ok(snapshot(cloud, resource).await?["default"] != "v1")
}

pub(super) async fn snapshot(cloud: &Cloud, resource: &str) -> Result<Value, Error> {
    let arn = format!("arn:aws:iam::{ACCOUNT}:{resource}");
    let listed = cloud.iam.list_policy_versions().policy_arn(&arn).send().await?;
    let (mut versions, mut default) = (BTreeMap::new(), None);
    for version in listed.versions.unwrap_or_default() {
        let id = version.version_id.ok_or("a version without an id")?;
        let read = cloud.iam.get_policy_version().policy_arn(&arn).version_id(&id).send().await?;
        if version.is_default_version {
            default = Some(id.clone());
        }
        versions.insert(id, read.policy_version.and_then(|version| version.document));
    }
    Ok(json!({"default": default, "versions": versions}))
}
