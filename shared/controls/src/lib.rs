//! The library of remediations, one control per file: `<service>/<control>.rs` holds `<service>-<control>`.

#[cfg(feature = "all")]
use quell_engine::{Control, Meta};

#[cfg(feature = "ami")]
pub mod ami;
#[cfg(feature = "cloudtrail")]
pub mod cloudtrail;
#[cfg(feature = "config")]
pub mod config;
#[cfg(feature = "ebs")]
pub mod ebs;
#[cfg(feature = "ec2")]
pub mod ec2;
#[cfg(feature = "guardduty")]
pub mod guardduty;
#[cfg(feature = "iam")]
pub mod iam;
#[cfg(any(feature = "iam", feature = "s3"))]
pub mod policy;
#[cfg(feature = "quell")]
pub mod quell;
#[cfg(feature = "s3")]
pub mod s3;
#[cfg(feature = "sg")]
pub mod sg;
#[cfg(feature = "vpc")]
pub mod vpc;

#[cfg(any(feature = "config", feature = "guardduty", feature = "s3"))]
mod account;
#[cfg(feature = "sg")]
mod cidr;
mod partition;
#[cfg(any(feature = "ami", feature = "ebs"))]
mod region;
#[cfg(feature = "ec2")]
mod shape;
#[cfg(any(feature = "ami", feature = "ebs"))]
mod sharing;

/// Every control there is, by what protects the most common mistakes first. Runbooks, tables, rules, permissions and
/// tests are made of this list.
#[cfg(feature = "all")]
pub static REGISTRY: &[&Meta] = &[
    &s3::public_acl::PublicAcl::META,
    &s3::public_policy::PublicPolicy::META,
    &s3::block_public_access::BlockPublicAccess::META,
    &ec2::imdsv2::Imdsv2::META,
    &sg::open_ingress::OpenIngress::META,
    &ec2::quarantine::Quarantine::META,
    &cloudtrail::logging::Logging::META,
    &cloudtrail::weakened::Weakened::META,
    &cloudtrail::event_selectors::EventSelectors::META,
    &cloudtrail::deleted::Deleted::META,
    &config::recorder::Recorder::META,
    &guardduty::detector::Detector::META,
    &quell::rule_disabled::RuleDisabled::META,
    &quell::tampered::Tampered::META,
    &vpc::subnet_public_ip::SubnetPublicIp::META,
    &vpc::nacl_open_ingress::NaclOpenIngress::META,
    &sg::default_rules::DefaultRules::META,
    &vpc::flow_logs::FlowLogs::META,
    &s3::versioning::Versioning::META,
    &s3::encryption::Encryption::META,
    &s3::destructive_lifecycle::DestructiveLifecycle::META,
    &s3::cross_account_policy::CrossAccountPolicy::META,
    &s3::public_object::PublicObject::META,
    &s3::foreign_replication::ForeignReplication::META,
    &s3::account_public_access::AccountPublicAccess::META,
    &ebs::public_snapshot::PublicSnapshot::META,
    &ebs::shared_snapshot::SharedSnapshot::META,
    &ami::public_image::PublicImage::META,
    &ami::shared_image::SharedImage::META,
    &ebs::default_encryption::DefaultEncryption::META,
    &ebs::snapshot_block_public_access::SnapshotBlockPublicAccess::META,
    &ami::block_public_access::BlockPublicAccess::META,
    &iam::exposed_key::ExposedKey::META,
    &iam::root_use::RootUse::META,
    &iam::second_key::SecondKey::META,
    &iam::stale_key::StaleKey::META,
    &iam::admin_policy::AdminPolicy::META,
    &iam::admin_group::AdminGroup::META,
    &iam::policy_version::PolicyVersion::META,
    &iam::open_trust::OpenTrust::META,
    &iam::permissions_boundary::PermissionsBoundary::META,
    &iam::role_sessions::RoleSessions::META,
    &iam::password_policy::PasswordPolicy::META,
    &iam::identity_provider::IdentityProvider::META,
    &iam::login_profile::LoginProfile::META,
    &iam::console_mfa::ConsoleMfa::META,
    &iam::quarantine::Quarantine::META,
];

/// Every control, for programs that serve them all.
#[cfg(feature = "all")]
pub type All = (
    s3::public_acl::PublicAcl,
    s3::public_policy::PublicPolicy,
    s3::block_public_access::BlockPublicAccess,
    ec2::imdsv2::Imdsv2,
    sg::open_ingress::OpenIngress,
    ec2::quarantine::Quarantine,
    cloudtrail::logging::Logging,
    cloudtrail::weakened::Weakened,
    cloudtrail::event_selectors::EventSelectors,
    cloudtrail::deleted::Deleted,
    config::recorder::Recorder,
    guardduty::detector::Detector,
    quell::rule_disabled::RuleDisabled,
    quell::tampered::Tampered,
    vpc::subnet_public_ip::SubnetPublicIp,
    vpc::nacl_open_ingress::NaclOpenIngress,
    sg::default_rules::DefaultRules,
    vpc::flow_logs::FlowLogs,
    s3::versioning::Versioning,
    s3::encryption::Encryption,
    s3::destructive_lifecycle::DestructiveLifecycle,
    s3::cross_account_policy::CrossAccountPolicy,
    s3::public_object::PublicObject,
    s3::foreign_replication::ForeignReplication,
    s3::account_public_access::AccountPublicAccess,
    ebs::public_snapshot::PublicSnapshot,
    ebs::shared_snapshot::SharedSnapshot,
    ami::public_image::PublicImage,
    ami::shared_image::SharedImage,
    ebs::default_encryption::DefaultEncryption,
    ebs::snapshot_block_public_access::SnapshotBlockPublicAccess,
    ami::block_public_access::BlockPublicAccess,
    iam::exposed_key::ExposedKey,
    iam::root_use::RootUse,
    iam::second_key::SecondKey,
    iam::stale_key::StaleKey,
    iam::admin_policy::AdminPolicy,
    iam::admin_group::AdminGroup,
    iam::policy_version::PolicyVersion,
    iam::open_trust::OpenTrust,
    iam::permissions_boundary::PermissionsBoundary,
    iam::role_sessions::RoleSessions,
    iam::password_policy::PasswordPolicy,
    iam::identity_provider::IdentityProvider,
    iam::login_profile::LoginProfile,
    iam::console_mfa::ConsoleMfa,
    iam::quarantine::Quarantine,
);

/// Runs an expression with the type of the control that has this id; `None` if there is none.
///
/// ```
/// use quell_engine::Control as _;
/// assert_eq!(quell_controls::with_control!("ec2-imdsv2", C => C::META.id), Some("ec2-imdsv2"));
/// assert_eq!(quell_controls::with_control!("nothing", C => C::META.id), None);
/// ```
#[macro_export]
macro_rules! with_control {
    ($id:expr, $control:ident => $body:expr) => {
        $crate::with_control!(
            @ $id, $control => $body,
            $crate::s3::public_acl::PublicAcl,
            $crate::s3::public_policy::PublicPolicy,
            $crate::s3::block_public_access::BlockPublicAccess,
            $crate::ec2::imdsv2::Imdsv2,
            $crate::sg::open_ingress::OpenIngress,
            $crate::ec2::quarantine::Quarantine,
            $crate::cloudtrail::logging::Logging,
            $crate::cloudtrail::weakened::Weakened,
            $crate::cloudtrail::event_selectors::EventSelectors,
            $crate::cloudtrail::deleted::Deleted,
            $crate::config::recorder::Recorder,
            $crate::guardduty::detector::Detector,
            $crate::quell::rule_disabled::RuleDisabled,
            $crate::quell::tampered::Tampered,
            $crate::vpc::subnet_public_ip::SubnetPublicIp,
            $crate::vpc::nacl_open_ingress::NaclOpenIngress,
            $crate::sg::default_rules::DefaultRules,
            $crate::vpc::flow_logs::FlowLogs,
            $crate::s3::versioning::Versioning,
            $crate::s3::encryption::Encryption,
            $crate::s3::destructive_lifecycle::DestructiveLifecycle,
            $crate::s3::cross_account_policy::CrossAccountPolicy,
            $crate::s3::public_object::PublicObject,
            $crate::s3::foreign_replication::ForeignReplication,
            $crate::s3::account_public_access::AccountPublicAccess,
            $crate::ebs::public_snapshot::PublicSnapshot,
            $crate::ebs::shared_snapshot::SharedSnapshot,
            $crate::ami::public_image::PublicImage,
            $crate::ami::shared_image::SharedImage,
            $crate::ebs::default_encryption::DefaultEncryption,
            $crate::ebs::snapshot_block_public_access::SnapshotBlockPublicAccess,
            $crate::ami::block_public_access::BlockPublicAccess,
            $crate::iam::exposed_key::ExposedKey,
            $crate::iam::root_use::RootUse,
            $crate::iam::second_key::SecondKey,
            $crate::iam::stale_key::StaleKey,
            $crate::iam::admin_policy::AdminPolicy,
            $crate::iam::admin_group::AdminGroup,
            $crate::iam::policy_version::PolicyVersion,
            $crate::iam::open_trust::OpenTrust,
            $crate::iam::permissions_boundary::PermissionsBoundary,
            $crate::iam::role_sessions::RoleSessions,
            $crate::iam::password_policy::PasswordPolicy,
            $crate::iam::identity_provider::IdentityProvider,
            $crate::iam::login_profile::LoginProfile,
            $crate::iam::console_mfa::ConsoleMfa,
            $crate::iam::quarantine::Quarantine
        )
    };
    (@ $id:expr, $control:ident => $body:expr, $($type:ty),+) => {{
        let id: &str = $id;
        let mut found = None;
        $(
            if found.is_none() && id == <$type as quell_engine::Control>::META.id {
                type $control = $type;
                found = Some($body);
            }
        )+
        found
    }};
}
