//! A user with a password and without a second factor.

use serde_json::Value;

use super::{Error, Staged, iam_denial, iam_user, sample};
use crate::Cloud;

const SAMPLE: &str = include_str!("../../../../events/iam-console-mfa/violating.json");

/// The user of the sample.
const SAMPLE_USER: &str = "front-desk";

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let user = format!("{SAMPLE_USER}-{name}");
    iam_denial::policy(cloud, "deny-unless-mfa").await?;
    iam_user::with_password(cloud, &user).await?;
    iam_denial::other_policy(cloud, &user).await?;
    Ok(Staged {
        control: "iam-console-mfa",
        event: sample::happening(SAMPLE, &[(SAMPLE_USER, &user)])?,
        resource: format!("user/{user}"),
    })
}

pub(super) async fn is_violating(cloud: &Cloud, resource: &str) -> Result<bool, Error> {
    Ok(!iam_denial::is_attached(cloud, resource, "deny-unless-mfa").await?)
}

pub(super) async fn snapshot(cloud: &Cloud, resource: &str) -> Result<Value, Error> {
    iam_denial::snapshot(cloud, resource).await
}
