//! A rule of Quell's own, with a target.

use aws_sdk_eventbridge::types::Target;
use serde_json::{Value, json};

use super::Error;
use crate::Cloud;

const PATTERN: &str = r#"{"source":["aws.s3"]}"#;

/// What the target is called.
const TARGET: &str = "s3-exposure";

pub(super) async fn make(cloud: &Cloud, rule: &str) -> Result<(), Error> {
    let events = &cloud.events;
    events.put_rule().name(rule).event_pattern(PATTERN).send().await?;
    let function = "arn:aws:lambda:eu-west-1:123456789012:function:quell-s3-exposure";
    let target = Target::builder().id(TARGET).arn(function).build()?;
    events.put_targets().rule(rule).targets(target).send().await?;
    Ok(())
}

pub(super) async fn disable(cloud: &Cloud, rule: &str) -> Result<(), Error> {
    cloud.events.disable_rule().name(rule).send().await?;
    Ok(())
}

pub(super) async fn remove_targets(cloud: &Cloud, rule: &str) -> Result<(), Error> {
    cloud.events.remove_targets().rule(rule).ids(TARGET).send().await?;
    Ok(())
}

pub(super) async fn is_enabled(cloud: &Cloud, rule: &str) -> Result<bool, Error> {
    let found = cloud.events.describe_rule().name(rule).send().await?;
    Ok(found.state().is_some_and(|state| state.as_str() == "ENABLED"))
}

pub(super) async fn has_targets(cloud: &Cloud, rule: &str) -> Result<bool, Error> {
    let found = cloud.events.list_targets_by_rule().rule(rule).send().await?;
    Ok(!found.targets().is_empty())
}

pub(super) async fn snapshot(cloud: &Cloud, rule: &str) -> Result<Value, Error> {
    let found = cloud.events.describe_rule().name(rule).send().await?;
    let targets = cloud.events.list_targets_by_rule().rule(rule).send().await?;
    let targets: Vec<Value> =
        targets.targets().iter().map(|target| json!([target.id(), target.arn()])).collect();
    Ok(json!({
        "state": found.state().map(|state| state.as_str()),
        "pattern": found.event_pattern(),
        "description": found.description(),
        "targets": targets,
    }))
}
