//! Blinded defenders: CloudTrail stopped, Quell itself disabled or changed.

use quell_controls::{
    cloudtrail::logging::Logging,
    quell::{rule_disabled::RuleDisabled, tampered::Tampered},
};
use quell_engine::serve;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    serve::<(Logging, RuleDisabled, Tampered)>().await
}
