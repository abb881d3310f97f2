//! Compromised instances.

use quell_controls::ec2::quarantine::Quarantine;
use quell_engine::serve;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    serve::<(Quarantine,)>().await
}
