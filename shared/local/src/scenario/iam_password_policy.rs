//! A password policy of the account that is content with eight characters.

use serde_json::{Value, json};

use super::{Error, Staged, sample};
use crate::Cloud;

const SAMPLE: &str = include_str!("../../../../events/iam-password-policy/violating.json");

pub(super) async fn stage(cloud: &Cloud, _: &str) -> Result<Staged, Error> {
    let update = cloud.iam.update_account_password_policy().minimum_password_length(8);
    let update = update.require_symbols(true).allow_users_to_change_password(true);
    update.max_password_age(90).send().await?;
    Ok(Staged {
        control: "iam-password-policy",
        event: sample::happening(SAMPLE, &[])?,
        resource: "password-policy".to_owned(),
    })
}

/// Takes the policy away: AWS's default counts then.
pub(super) async fn delete(cloud: &Cloud) -> Result<(), Error> {
    cloud.iam.delete_account_password_policy().send().await?;
    Ok(())
}

pub(super) async fn is_violating(cloud: &Cloud, resource: &str) -> Result<bool, Error> {
    Ok(snapshot(cloud, resource).await?["length"].as_i64().is_none_or(|length| length < 14))
}

pub(super) async fn snapshot(cloud: &Cloud, _: &str) -> Result<Value, Error> {
    let found = match cloud.iam.get_account_password_policy().send().await {
        Ok(found) => found.password_policy.ok_or("an answer without a policy")?,
        Err(error) if error.as_service_error().is_some_and(|e| e.is_no_such_entity_exception()) => {
            return Ok(json!(null));
        }
        Err(error) => return Err(error.into()),
    };
    Ok(json!({
        "length": found.minimum_password_length,
        "symbols": found.require_symbols,
        "numbers": found.require_numbers,
        "upper": found.require_uppercase_characters,
        "lower": found.require_lowercase_characters,
        "own": found.allow_users_to_change_password,
        "age": found.max_password_age,
        "remembered": found.password_reuse_prevention,
        "hard expiry": found.hard_expiry,
    }))
}
