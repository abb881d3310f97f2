//! AWS Config of which the recorder and the channel were deleted after a sweep saw them.

use aws_sdk_config::types::{ConfigurationRecorder, DeliveryChannel};
use serde_json::{Value, json};

use super::{Error, Staged, sample};
use crate::{Cloud, cloud::ACCOUNT};

const SAMPLE: &str = include_str!("../../../../events/config-recorder/violating.json");

const NAME: &str = "default";
const ROLE: &str = "arn:aws:iam::123456789012:role/config-recorder";
const BUCKET: &str = "config-records";

pub(super) async fn stage(cloud: &Cloud, _: &str) -> Result<Staged, Error> {
    let recorder = ConfigurationRecorder::builder().name(NAME).role_arn(ROLE).build();
    let put = cloud.config.put_configuration_recorder();
    put.configuration_recorder(recorder).send().await?;
    let channel = DeliveryChannel::builder().name(NAME).s3_bucket_name(BUCKET).build();
    cloud.config.put_delivery_channel().delivery_channel(channel).send().await?;
    let stop = cloud.config.stop_configuration_recorder();
    stop.configuration_recorder_name(NAME).send().await?;
    cloud.config.delete_delivery_channel().delivery_channel_name(NAME).send().await?;
    let delete = cloud.config.delete_configuration_recorder();
    delete.configuration_recorder_name(NAME).send().await?;
    Ok(Staged {
        control: "config-recorder",
        event: sample::happening(SAMPLE, &[])?,
        resource: ACCOUNT.to_owned(),
    })
}

/// What a sweep saw.
pub(super) fn baseline() -> Value {
    json!({
        "recorder": {
            "name": NAME,
            "role": ROLE,
            "records": {"all": false, "global": false, "only": ["AWS::S3::Bucket"], "except": [],
                "strategy": "INCLUSION_BY_RESOURCE_TYPES"},
        },
        "channel": {"name": NAME, "bucket": BUCKET, "prefix": "all", "frequency": "One_Hour"},
        "is_recording": true,
    })
}

pub(super) async fn is_violating(cloud: &Cloud, account: &str) -> Result<bool, Error> {
    let found = snapshot(cloud, account).await?;
    let is_whole = found["recording"] == true
        && found["role"] == ROLE
        && found["records"] == json!(["AWS::S3::Bucket"])
        && found["channel"] == json!([NAME, BUCKET, "all", "One_Hour"]);
    Ok(!is_whole)
}

pub(super) async fn snapshot(cloud: &Cloud, _: &str) -> Result<Value, Error> {
    let recorders = cloud.config.describe_configuration_recorders().send().await?;
    let statuses = cloud.config.describe_configuration_recorder_status().send().await?;
    let channels = cloud.config.describe_delivery_channels().send().await?;
    let recorder = recorders.configuration_recorders().first();
    let group = recorder.and_then(|recorder| recorder.recording_group());
    let records = group
        .map(|group| group.resource_types().iter().map(|kind| kind.as_str()).collect::<Vec<_>>());
    let channel = channels.delivery_channels().first().map(|channel| {
        let snapshots = channel.config_snapshot_delivery_properties();
        let often = snapshots.and_then(|snapshots| snapshots.delivery_frequency());
        json!([
            channel.name(),
            channel.s3_bucket_name(),
            channel.s3_key_prefix(),
            often.map(|often| often.as_str()),
        ])
    });
    Ok(json!({
        "recorder": recorder.and_then(|recorder| recorder.name()),
        "role": recorder.and_then(|recorder| recorder.role_arn()),
        "records": records,
        "recording": statuses.configuration_recorders_status().iter().any(|one| one.recording()),
        "channel": channel,
    }))
}
