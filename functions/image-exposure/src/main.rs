//! Disks that others can copy: snapshots and machine images.

use quell_controls::{ami, ebs};
use quell_engine::serve;

/// A sweep goes in this order: what keeps a whole region safe is one call each, and public comes before shared.
#[rustfmt::skip]
type Controls = (ebs::default_encryption::DefaultEncryption,
    ebs::snapshot_block_public_access::SnapshotBlockPublicAccess, ami::block_public_access::BlockPublicAccess,
    ebs::public_snapshot::PublicSnapshot, ami::public_image::PublicImage,
    ebs::shared_snapshot::SharedSnapshot, ami::shared_image::SharedImage);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    serve::<Controls>().await
}
