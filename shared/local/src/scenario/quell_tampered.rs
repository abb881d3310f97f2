//! A rule of Quell's own that lost its target: its events reach no function.

use serde_json::Value;

use super::{Error, Staged, quell_rule, sample};
use crate::Cloud;

const SAMPLE: &str = include_str!("../../../../events/quell-tampered/violating.json");

/// The rule of the sample.
const SAMPLE_RULE: &str = "quell-S3ExposureS3Calls-1A2B3C4D5E6F7";

/// What stands before the rule in the name of a part.
const RULE: &str = "events:rule/";

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let rule = format!("quell-deaf-{name}");
    quell_rule::make(cloud, &rule).await?;
    quell_rule::remove_targets(cloud, &rule).await?;
    Ok(Staged {
        control: "quell-tampered",
        event: sample::happening(SAMPLE, &[(SAMPLE_RULE, &rule)])?,
        resource: format!("{RULE}{rule}"),
    })
}

pub(super) async fn is_violating(cloud: &Cloud, resource: &str) -> Result<bool, Error> {
    Ok(!quell_rule::has_targets(cloud, resource.strip_prefix(RULE).unwrap_or(resource)).await?)
}

pub(super) async fn snapshot(cloud: &Cloud, resource: &str) -> Result<Value, Error> {
    quell_rule::snapshot(cloud, resource.strip_prefix(RULE).unwrap_or(resource)).await
}
