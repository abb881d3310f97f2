//! Stolen credentials.

use quell_controls::iam::exposed_key::ExposedKey;
use quell_engine::serve;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    serve::<(ExposedKey,)>().await
}
