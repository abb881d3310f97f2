//! Rights that nobody meant to give.

use quell_controls::iam::{
    admin_group::AdminGroup, admin_policy::AdminPolicy, identity_provider::IdentityProvider,
    open_trust::OpenTrust, password_policy::PasswordPolicy,
    permissions_boundary::PermissionsBoundary, policy_version::PolicyVersion,
    role_sessions::RoleSessions,
};
use quell_engine::serve;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    serve::<(
        AdminPolicy,
        AdminGroup,
        PolicyVersion,
        OpenTrust,
        PermissionsBoundary,
        RoleSessions,
        PasswordPolicy,
        IdentityProvider,
    )>()
    .await
}
