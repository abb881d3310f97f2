//! Controls for machine images (AMIs).

pub mod block_public_access;
pub mod public_image;
pub mod shared_image;

mod image;

pub use image::ImageId;
