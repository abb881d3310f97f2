//! The library of remediations, one control per file: `<service>/<control>.rs` holds `<service>-<control>`.

pub mod ec2;
pub mod s3;
pub mod sg;

mod partition;
mod shape;
