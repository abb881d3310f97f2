//! A trail that recorded everything until its event selectors were narrowed, and another that keeps its own.

use aws_sdk_cloudtrail::types::{DataResource, EventSelector, ReadWriteType};
use serde_json::{Value, json};

use super::{Error, Staged, s3_bucket, sample};
use crate::Cloud;

const SAMPLE: &str = include_str!("../../../../events/cloudtrail-event-selectors/violating.json");

/// The trail of the sample.
const SAMPLE_TRAIL: &str = "whole-record";

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let bucket = s3_bucket::create(cloud, "selected", name).await?;
    let trail = format!("{SAMPLE_TRAIL}-{name}");
    for (trail, selector) in [
        (format!("neighbour-selected-{name}"), selector(ReadWriteType::All, true)),
        (trail.clone(), selector(ReadWriteType::WriteOnly, false)),
    ] {
        let created = cloud.cloudtrail.create_trail().name(&trail).s3_bucket_name(&bucket);
        created.is_multi_region_trail(true).send().await?;
        cloud.cloudtrail.start_logging().name(&trail).send().await?;
        let put = cloud.cloudtrail.put_event_selectors().trail_name(&trail);
        put.event_selectors(selector).send().await?;
    }
    Ok(Staged {
        control: "cloudtrail-event-selectors",
        event: sample::happening(SAMPLE, &[(SAMPLE_TRAIL, &trail)])?,
        resource: trail,
    })
}

fn selector(calls: ReadWriteType, management: bool) -> EventSelector {
    let objects = DataResource::builder().r#type("AWS::S3::Object").values("arn:aws:s3");
    EventSelector::builder()
        .read_write_type(calls)
        .include_management_events(management)
        .data_resources(objects.build())
        .build()
}

/// What a sweep saw.
pub(super) fn baseline() -> Value {
    let objects = json!([["AWS::S3::Object", ["arn:aws:s3"]]]);
    json!({"selectors": {"basic": [{"calls": "All", "management": true, "data": objects}]}})
}

pub(super) async fn is_violating(cloud: &Cloud, trail: &str) -> Result<bool, Error> {
    let selectors = &snapshot(cloud, trail).await?["selectors"];
    Ok(selectors[0]["calls"] != "All" || selectors[0]["management"] != true)
}

pub(super) async fn snapshot(cloud: &Cloud, trail: &str) -> Result<Value, Error> {
    let status = cloud.cloudtrail.get_trail_status().name(trail).send().await?;
    let found = cloud.cloudtrail.get_event_selectors().trail_name(trail).send().await?;
    let selectors: Vec<Value> = found
        .event_selectors()
        .iter()
        .map(|selector| {
            json!({
                "calls": selector.read_write_type().map(ReadWriteType::as_str),
                "management": selector.include_management_events(),
                "data": selector.data_resources().iter().map(|data| data.values()).collect::<Vec<_>>(),
            })
        })
        .collect();
    Ok(json!({
        "logging": status.is_logging(),
        "advanced": found.advanced_event_selectors().len(),
        "selectors": selectors,
    }))
}
