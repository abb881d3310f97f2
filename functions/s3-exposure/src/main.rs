//! Public buckets, and buckets that lose what protects their data.

use quell_controls::s3::{
    account_public_access::AccountPublicAccess, block_public_access::BlockPublicAccess,
    cross_account_policy::CrossAccountPolicy, destructive_lifecycle::DestructiveLifecycle,
    encryption::Encryption, foreign_replication::ForeignReplication, public_acl::PublicAcl,
    public_object::PublicObject, public_policy::PublicPolicy, versioning::Versioning,
};
use quell_engine::serve;

#[rustfmt::skip]
type Controls = (PublicAcl, PublicPolicy, BlockPublicAccess, Versioning, Encryption, DestructiveLifecycle,
    CrossAccountPolicy, PublicObject, ForeignReplication, AccountPublicAccess);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    serve::<Controls>().await
}
