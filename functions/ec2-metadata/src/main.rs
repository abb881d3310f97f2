//! Credential theft through IMDSv1.

use quell_controls::ec2::imdsv2::Imdsv2;
use quell_engine::serve;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    serve::<(Imdsv2,)>().await
}
