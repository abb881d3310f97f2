//! A user with an active key that AWS Health reports as exposed, and another key that nobody got hold of.

use serde_json::Value;

use super::{Error, Staged, iam_user, sample};
use crate::Cloud;

const SAMPLE: &str = include_str!("../../../../events/iam-exposed-key/violating.json");

/// The key and the user of the sample.
const SAMPLE_KEY: &str = "AKIAQUELLSAMPLE00001";
const SAMPLE_USER: &str = "deploy-bot";

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let user = format!("{SAMPLE_USER}-{name}");
    let mut keys = iam_user::with_keys(cloud, &user, &[0, 0]).await?;
    let exposed = keys.swap_remove(0);
    Ok(Staged {
        control: "iam-exposed-key",
        event: sample::happening(SAMPLE, &[(SAMPLE_KEY, &exposed), (SAMPLE_USER, &user)])?,
        resource: exposed,
    })
}

pub(super) async fn is_violating(cloud: &Cloud, resource: &str) -> Result<bool, Error> {
    let keys = snapshot(cloud, resource).await?;
    Ok(keys["keys"][resource] == "Active")
}

pub(super) async fn snapshot(cloud: &Cloud, resource: &str) -> Result<Value, Error> {
    let used = cloud.iam.get_access_key_last_used().access_key_id(resource).send().await?;
    let user = used.user_name().ok_or("nobody has this key")?;
    iam_user::snapshot(cloud, user).await
}
