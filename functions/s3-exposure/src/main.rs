//! Public buckets.

use quell_controls::s3::{
    block_public_access::BlockPublicAccess, public_acl::PublicAcl, public_policy::PublicPolicy,
};
use quell_engine::serve;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    serve::<(PublicAcl, PublicPolicy, BlockPublicAccess)>().await
}
