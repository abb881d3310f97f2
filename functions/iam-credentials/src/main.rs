//! Credentials: stolen, left lying about, or one too many.

use quell_controls::iam::{
    console_mfa::ConsoleMfa, exposed_key::ExposedKey, login_profile::LoginProfile,
    quarantine::Quarantine, root_use::RootUse, second_key::SecondKey, stale_key::StaleKey,
};
use quell_engine::serve;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    serve::<(ExposedKey, RootUse, SecondKey, StaleKey, ConsoleMfa, LoginProfile, Quarantine)>()
        .await
}
