//! Controls for VPCs and what belongs to them.

mod acl;
pub mod flow_logs;
mod id;
pub mod nacl_open_ingress;
pub mod subnet_public_ip;
