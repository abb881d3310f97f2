//! Open networks, and networks of which nothing is recorded any more.

use quell_controls::{
    sg::{default_rules::DefaultRules, open_ingress::OpenIngress},
    vpc::{
        flow_logs::FlowLogs, nacl_open_ingress::NaclOpenIngress, subnet_public_ip::SubnetPublicIp,
    },
};
use quell_engine::serve;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    serve::<(OpenIngress, SubnetPublicIp, NaclOpenIngress, DefaultRules, FlowLogs)>().await
}
