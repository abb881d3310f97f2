//! Users with access keys or passwords.

use serde_json::{Map, Value, json};

use super::Error;
use crate::Cloud;

/// A user with a key for each of these ages, in days. The ids of the keys.
pub(super) async fn with_keys(
    cloud: &Cloud,
    user: &str,
    ages: &[u32],
) -> Result<Vec<String>, Error> {
    cloud.iam.create_user().user_name(user).send().await?;
    let mut keys = Vec::new();
    for age in ages {
        // So the emulator makes an old one: `patches/iam_key_ages.py`.
        let path = format!("/made-{age}-days-ago/");
        cloud.iam.update_user().user_name(user).new_path(path).send().await?;
        let made = cloud.iam.create_access_key().user_name(user).send().await?;
        keys.push(made.access_key.ok_or("the emulator made no key")?.access_key_id);
    }
    cloud.iam.update_user().user_name(user).new_path("/").send().await?;
    Ok(keys)
}

/// A user who can sign in to the console.
pub(super) async fn with_password(cloud: &Cloud, user: &str) -> Result<(), Error> {
    cloud.iam.create_user().user_name(user).send().await?;
    let password = cloud.iam.create_login_profile().user_name(user);
    password.password("correct horse battery staple").send().await?;
    Ok(())
}

/// Every key of the user, and whether it is active.
pub(super) async fn snapshot(cloud: &Cloud, user: &str) -> Result<Value, Error> {
    let found = cloud.iam.list_access_keys().user_name(user).send().await?;
    let keys = found
        .access_key_metadata()
        .iter()
        .filter_map(|key| Some((key.access_key_id()?.to_owned(), json!(key.status()?.as_str()))));
    Ok(json!({"user": user, "keys": keys.collect::<Map<_, _>>()}))
}

/// Whether more than one key of `user/<name>` is active.
pub(super) async fn has_second_key(cloud: &Cloud, resource: &str) -> Result<bool, Error> {
    let found = snapshot(cloud, name(resource)).await?;
    let keys = found["keys"].as_object().into_iter().flatten();
    Ok(keys.filter(|(_, status)| *status == "Active").count() > 1)
}

/// The name in `user/<name>`.
pub(super) fn name(resource: &str) -> &str {
    resource.strip_prefix("user/").unwrap_or(resource)
}
