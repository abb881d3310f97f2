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
    iam_user::has_second_key(cloud, resource).await
}

pub(super) async fn snapshot(cloud: &Cloud, resource: &str) -> Result<Value, Error> {
    iam_user::snapshot(cloud, iam_user::name(resource)).await
}
