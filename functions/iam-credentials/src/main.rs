//! Credentials: stolen, left lying about, or one too many.

use quell_controls::iam::{
    exposed_key::ExposedKey, root_use::RootUse, second_key::SecondKey, stale_key::StaleKey,
};
use quell_engine::serve;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    serve::<(ExposedKey, RootUse, SecondKey, StaleKey)>().await
}
