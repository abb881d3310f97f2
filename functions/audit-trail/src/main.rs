//! Blinded defenders: CloudTrail, Config or GuardDuty stopped or weakened, Quell itself disabled or changed.

use quell_controls::{
    cloudtrail::{
        deleted::Deleted, event_selectors::EventSelectors, logging::Logging, weakened::Weakened,
    },
    config::recorder::Recorder,
    guardduty::detector::Detector,
    quell::{rule_disabled::RuleDisabled, tampered::Tampered},
};
use quell_engine::serve;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    serve::<(Logging, Weakened, EventSelectors, Deleted, Recorder, Detector, RuleDisabled, Tampered)>().await
}
