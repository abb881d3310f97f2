//! Rights that nobody meant to give.

use quell_controls::iam::admin_policy::AdminPolicy;
use quell_engine::serve;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    serve::<(AdminPolicy,)>().await
}
