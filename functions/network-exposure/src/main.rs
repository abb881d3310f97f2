//! Open security groups.

use quell_controls::sg::open_ingress::OpenIngress;
use quell_engine::serve;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    serve::<(OpenIngress,)>().await
}
