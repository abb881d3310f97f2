//! GuardDuty of which the detector was deleted after a sweep saw it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Error, Staged, sample};
use crate::{Cloud, cloud::ACCOUNT};

const SAMPLE: &str = include_str!("../../../../events/guardduty-detector/violating.json");
const SUSPENDED: &str = include_str!("../../../../events/guardduty-detector/suspended.json");

pub(super) async fn stage(cloud: &Cloud, _: &str) -> Result<Staged, Error> {
    delete(cloud).await?;
    staged(SAMPLE)
}

/// A detector that was suspended instead.
pub(super) async fn stage_suspended(cloud: &Cloud) -> Result<Staged, Error> {
    delete(cloud).await?;
    let create = cloud.guardduty.create_detector().enable(false).tags("team", "soc");
    let often = "ONE_HOUR".into();
    create.finding_publishing_frequency(often).send().await?;
    staged(SUSPENDED)
}

fn staged(sample: &str) -> Result<Staged, Error> {
    Ok(Staged {
        control: "guardduty-detector",
        event: sample::happening(sample, &[])?,
        resource: ACCOUNT.to_owned(),
    })
}

async fn delete(cloud: &Cloud) -> Result<(), Error> {
    for id in cloud.guardduty.list_detectors().send().await?.detector_ids() {
        cloud.guardduty.delete_detector().detector_id(id).send().await?;
    }
    Ok(())
}

/// What a sweep saw.
pub(super) fn baseline() -> Value {
    json!({
        "detector": {
            "id": "12abc34d567e8fa901bc2d34e56789f0",
            "is_enabled": true,
            "settings": {"frequency": "ONE_HOUR", "plans": {}, "tags": {"team": "soc"}},
        },
    })
}

pub(super) async fn is_violating(cloud: &Cloud, account: &str) -> Result<bool, Error> {
    let found = snapshot(cloud, account).await?;
    let right = json!([{"status": "ENABLED", "often": "ONE_HOUR", "tags": {"team": "soc"}}]);
    Ok(found["detectors"] != right)
}

pub(super) async fn snapshot(cloud: &Cloud, _: &str) -> Result<Value, Error> {
    let mut detectors = Vec::new();
    for id in cloud.guardduty.list_detectors().send().await?.detector_ids() {
        let found = cloud.guardduty.get_detector().detector_id(id).send().await?;
        detectors.push(json!({
            "status": found.status().map(|status| status.as_str()),
            "often": found.finding_publishing_frequency().map(|often| often.as_str()),
            "tags": found.tags().map(|tags| tags.iter().collect::<BTreeMap<_, _>>()),
        }));
    }
    Ok(json!({"detectors": detectors}))
}
