//! A user who has kept two keys for longer than a rotation takes.

use serde_json::Value;

use super::{Error, Staged, iam_user, sample};
use crate::Cloud;

const SAMPLE: &str = include_str!("../../../../events/iam-second-key/violating.json");

/// The user of the sample.
const SAMPLE_USER: &str = "invoices";

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let user = format!("{SAMPLE_USER}-{name}");
    iam_user::with_keys(cloud, &user, &[300, 20]).await?;
    Ok(Staged {
        control: "iam-second-key",
        event: sample::happening(SAMPLE, &[(SAMPLE_USER, &user)])?,
        resource: format!("user/{user}"),
    })
}

pub(super) async fn is_violating(cloud: &Cloud, resource: &str) -> Result<bool, Error> {
    Ok(iam_user::active(cloud, user(resource)).await? > 1)
}

pub(super) async fn snapshot(cloud: &Cloud, resource: &str) -> Result<Value, Error> {
    iam_user::snapshot(cloud, user(resource)).await
}

fn user(resource: &str) -> &str {
    resource.strip_prefix("user/").unwrap_or(resource)
}
