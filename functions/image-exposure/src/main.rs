//! Disks that others can copy: snapshots and machine images.

use quell_controls::{ami, ebs};
use quell_engine::serve;

#[rustfmt::skip]
type Controls = (ebs::public_snapshot::PublicSnapshot, ebs::shared_snapshot::SharedSnapshot,
    ami::public_image::PublicImage, ami::shared_image::SharedImage, ebs::default_encryption::DefaultEncryption,
    ebs::snapshot_block_public_access::SnapshotBlockPublicAccess, ami::block_public_access::BlockPublicAccess);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    serve::<Controls>().await
}
