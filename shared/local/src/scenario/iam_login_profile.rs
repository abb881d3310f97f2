//! A user to whom somebody gave a password.

use serde_json::{Value, json};

use super::{Error, Staged, iam_denial, iam_user, sample};
use crate::Cloud;

const SAMPLE: &str = include_str!("../../../../events/iam-login-profile/violating.json");

/// The user of the sample.
const SAMPLE_USER: &str = "backup-bot";

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let user = format!("{SAMPLE_USER}-{name}");
    // That the user has no second factor is for `iam-console-mfa` to put right.
    iam_denial::policy(cloud, "deny-unless-mfa").await?;
    iam_user::with_password(cloud, &user).await?;
    Ok(Staged {
        control: "iam-login-profile",
        event: sample::happening(SAMPLE, &[(SAMPLE_USER, &user)])?,
        resource: format!("user/{user}"),
    })
}

/// Whether the password is there.
pub(super) async fn is_violating(cloud: &Cloud, resource: &str) -> Result<bool, Error> {
    let user = iam_user::name(resource);
    let found = cloud.iam.get_login_profile().user_name(user).send().await?;
    Ok(found.login_profile.is_some())
}

pub(super) async fn snapshot(cloud: &Cloud, resource: &str) -> Result<Value, Error> {
    Ok(json!({"password": is_violating(cloud, resource).await?}))
}
