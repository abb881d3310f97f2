//! A rule of Quell's own that somebody disabled.

use serde_json::Value;

use super::{Error, Staged, quell_rule, sample};
use crate::Cloud;

const SAMPLE: &str = include_str!("../../../../events/quell-rule-disabled/violating.json");

/// The rule of the sample.
const SAMPLE_RULE: &str = "quell-S3ExposureS3Calls-1A2B3C4D5E6F7";

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let rule = format!("quell-disabled-{name}");
    quell_rule::make(cloud, &rule).await?;
    quell_rule::disable(cloud, &rule).await?;
    Ok(Staged {
        control: "quell-rule-disabled",
        event: sample::happening(SAMPLE, &[(SAMPLE_RULE, &rule)])?,
        resource: rule,
    })
}

pub(super) async fn is_violating(cloud: &Cloud, resource: &str) -> Result<bool, Error> {
    Ok(!quell_rule::is_enabled(cloud, resource).await?)
}

pub(super) async fn snapshot(cloud: &Cloud, resource: &str) -> Result<Value, Error> {
    quell_rule::snapshot(cloud, resource).await
}
