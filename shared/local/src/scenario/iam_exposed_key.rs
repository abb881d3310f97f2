//! A user with an active key that AWS Health reports as exposed, and another key that nobody got hold of.

use serde_json::{Value, json};

use super::{Error, Staged, sample};
use crate::Cloud;

pub(super) const SAMPLE: &str = include_str!("../../../../events/iam-exposed-key/violating.json");

/// The key and the user of the sample.
const SAMPLE_KEY: &str = "AKIAQUELLSAMPLE00001";
const SAMPLE_USER: &str = "deploy-bot";

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let user = format!("{SAMPLE_USER}-{name}");
    cloud.iam.create_user().user_name(&user).send().await?;
    let mut keys = Vec::new();
    for _ in 0..2 {
        let made = cloud.iam.create_access_key().user_name(&user).send().await?;
        keys.push(made.access_key.ok_or("the emulator made no key")?.access_key_id);
    }
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
    let found = cloud.iam.list_access_keys().user_name(user).send().await?;
    let keys = found
        .access_key_metadata()
        .iter()
        .filter_map(|key| Some((key.access_key_id()?.to_owned(), json!(key.status()?.as_str()))));
    Ok(json!({"user": user, "keys": keys.collect::<serde_json::Map<_, _>>()}))
}
