//! The bad states that Quell puts right: how to make them, and how to look at them with eyes of one's own.
//!
//! One file per control, each with
//! - `stage`: makes the bad state (with neighbours that must stay as they are) and the event that tells of it,
//! - `is_violating`: whether it is still so, read from AWS without Quell's code,
//! - `snapshot`: everything about the resource that a remediation could touch, for "equal to before" and
//!   "nothing else changed". Ids that AWS gives anew (security group rule ids) are left out.

use jiff::Timestamp;
use quell_engine::{
    ledger::{Baseline, Baselined, Ledger},
    partition::first_region,
};
use serde_json::Value;

use crate::{
    Cloud,
    cloud::{ACCOUNT, REGION},
};

mod ami_block_public_access;
mod ami_image;
mod ami_public_image;
mod ami_shared_image;
mod cloudtrail_deleted;
mod cloudtrail_event_selectors;
mod cloudtrail_logging;
mod cloudtrail_weakened;
mod config_recorder;
mod ebs_default_encryption;
mod ebs_public_snapshot;
mod ebs_shared_snapshot;
mod ebs_snapshot;
mod ebs_snapshot_block_public_access;
mod ec2_imdsv2;
mod ec2_quarantine;
mod guardduty_detector;
mod iam_admin_group;
mod iam_admin_policy;
mod iam_console_mfa;
mod iam_denial;
mod iam_exposed_key;
mod iam_identity_provider;
mod iam_login_profile;
mod iam_open_trust;
mod iam_password_policy;
mod iam_permissions_boundary;
mod iam_policy_version;
mod iam_quarantine;
mod iam_role_sessions;
mod iam_root_use;
mod iam_second_key;
mod iam_stale_key;
mod iam_user;
mod quell_rule;
mod quell_rule_disabled;
mod quell_tampered;
mod s3_account_public_access;
mod s3_block_public_access;
mod s3_bucket;
mod s3_cross_account_policy;
mod s3_destructive_lifecycle;
mod s3_encryption;
mod s3_foreign_replication;
mod s3_public_acl;
mod s3_public_object;
mod s3_public_policy;
mod s3_versioning;
mod sample;
mod sg_default_rules;
mod sg_open_ingress;
mod vpc_flow_logs;
mod vpc_nacl_open_ingress;
mod vpc_subnet_public_ip;

/// What there is for each control, by its id: its module here, and its sample `events/<control>/violating.json`.
macro_rules! scenarios {
    ($($control:literal => $scenario:ident,)*) => {
        fn sample_of(control: &str) -> Result<&'static str, Error> {
            match control {
                $($control => Ok(include_str!(
                    concat!("../../../../events/", $control, "/violating.json")
                )),)*
                other => Err(format!("no scenario for control {other}").into()),
            }
        }

        /// Makes the bad state of a control. `name` is unique among the stagings of one emulator.
        pub async fn stage(cloud: &Cloud, control: &str, name: &str) -> Result<Staged, Error> {
            match control {
                $($control => $scenario::stage(cloud, name).await,)*
                other => Err(format!("no scenario for control {other}").into()),
            }
        }

        /// Whether the resource of [`stage`] is still in its bad state.
        pub async fn is_violating(cloud: &Cloud, staged: &Staged) -> Result<bool, Error> {
            match staged.control {
                $($control => $scenario::is_violating(cloud, &staged.resource).await,)*
                other => Err(format!("no scenario for control {other}").into()),
            }
        }

        /// Everything about the resource of [`stage`] that a remediation could touch.
        pub async fn snapshot(cloud: &Cloud, staged: &Staged) -> Result<Value, Error> {
            match staged.control {
                $($control => $scenario::snapshot(cloud, &staged.resource).await,)*
                other => Err(format!("no scenario for control {other}").into()),
            }
        }
    };
}

scenarios! {
    "ami-block-public-access" => ami_block_public_access,
    "ami-public-image" => ami_public_image,
    "ami-shared-image" => ami_shared_image,
    "cloudtrail-deleted" => cloudtrail_deleted,
    "cloudtrail-event-selectors" => cloudtrail_event_selectors,
    "cloudtrail-logging" => cloudtrail_logging,
    "cloudtrail-weakened" => cloudtrail_weakened,
    "config-recorder" => config_recorder,
    "ebs-default-encryption" => ebs_default_encryption,
    "ebs-public-snapshot" => ebs_public_snapshot,
    "ebs-shared-snapshot" => ebs_shared_snapshot,
    "ebs-snapshot-block-public-access" => ebs_snapshot_block_public_access,
    "ec2-imdsv2" => ec2_imdsv2,
    "ec2-quarantine" => ec2_quarantine,
    "guardduty-detector" => guardduty_detector,
    "iam-admin-group" => iam_admin_group,
    "iam-admin-policy" => iam_admin_policy,
    "iam-console-mfa" => iam_console_mfa,
    "iam-exposed-key" => iam_exposed_key,
    "iam-identity-provider" => iam_identity_provider,
    "iam-login-profile" => iam_login_profile,
    "iam-open-trust" => iam_open_trust,
    "iam-password-policy" => iam_password_policy,
    "iam-permissions-boundary" => iam_permissions_boundary,
    "iam-policy-version" => iam_policy_version,
    "iam-quarantine" => iam_quarantine,
    "iam-role-sessions" => iam_role_sessions,
    "iam-root-use" => iam_root_use,
    "iam-second-key" => iam_second_key,
    "iam-stale-key" => iam_stale_key,
    "quell-rule-disabled" => quell_rule_disabled,
    "quell-tampered" => quell_tampered,
    "s3-account-public-access" => s3_account_public_access,
    "s3-block-public-access" => s3_block_public_access,
    "s3-cross-account-policy" => s3_cross_account_policy,
    "s3-destructive-lifecycle" => s3_destructive_lifecycle,
    "s3-encryption" => s3_encryption,
    "s3-foreign-replication" => s3_foreign_replication,
    "s3-public-acl" => s3_public_acl,
    "s3-public-object" => s3_public_object,
    "s3-public-policy" => s3_public_policy,
    "s3-versioning" => s3_versioning,
    "sg-default-rules" => sg_default_rules,
    "sg-open-ingress" => sg_open_ingress,
    "vpc-flow-logs" => vpc_flow_logs,
    "vpc-nacl-open-ingress" => vpc_nacl_open_ingress,
    "vpc-subnet-public-ip" => vpc_subnet_public_ip,
}

/// What of a control's world only our own patches of the emulator show (`emulator/patches`), by control: no emulator made
/// by others has proven it.
pub const OWN_EMULATION: &[(&str, &str)] = &[
    ("ami-block-public-access", "block public access for images, all of it"),
    ("cloudtrail-deleted", "that CreateTrail refuses what is there"),
    (
        "guardduty-detector",
        "that there is one detector, and that CreateDetector heeds its client token",
    ),
    ("ebs-snapshot-block-public-access", "block public access for snapshots, all of it"),
    ("iam-root-use", "the root user, its key and its second factor"),
    ("iam-second-key", "that a key is old"),
    ("iam-stale-key", "that a key is old"),
    ("iam-admin-group", "that AWS's `AdministratorAccess` is there"),
    ("iam-admin-policy", "that AWS's `AdministratorAccess` is there"),
    ("iam-permissions-boundary", "permissions boundaries of users"),
    ("iam-policy-version", "that AWS's `AdministratorAccess` is there"),
    ("s3-destructive-lifecycle", "the answer to GetBucketLifecycleConfiguration"),
    ("s3-encryption", "the answer to GetBucketEncryption"),
    ("s3-foreign-replication", "the answer to GetBucketReplication"),
    ("s3-public-object", "PutObjectAcl with an ACL in its body, or for a version"),
    ("s3-versioning", "the form of the answer to GetBucketVersioning"),
    ("vpc-flow-logs", "that CreateFlowLogs heeds its client token"),
];

/// Controls whose resource is a setting of the account, of which there is one, or one in each region.
pub const SETTINGS: &[&str] = &[
    "ami-block-public-access",
    "config-recorder",
    "ebs-default-encryption",
    "ebs-snapshot-block-public-access",
    "guardduty-detector",
    "iam-password-policy",
    "iam-root-use",
    "s3-account-public-access",
];

/// Emulator trouble, in words.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// A bad state, and the event that tells of it.
#[derive(Clone, Debug)]
pub struct Staged {
    pub control: &'static str,
    /// As the control names it: a bucket, an instance id, a group id.
    pub resource: String,
    /// The sample `events/<control>/violating.json`, about this resource.
    pub event: Value,
}

impl Staged {
    /// Another sample event of the control, about this resource: every text that the staging replaced in
    /// `violating.json` is replaced in it too.
    pub fn about_it(&self, sample: &str) -> Result<String, Error> {
        let violating = sample_of(self.control)?;
        let mut pairs = Vec::new();
        differing(&serde_json::from_str(violating)?, &self.event, &mut pairs);
        // The longest first: an ARN before the name in it.
        pairs.sort_by_key(|(old, _)| std::cmp::Reverse(old.len()));
        Ok(replaced(sample, &pairs))
    }
}

/// The text with the first of the pairs that fits at each place. What was put in is not looked at again: a name may begin
/// with the one that it replaces.
fn replaced(text: &str, pairs: &[(String, String)]) -> String {
    let (mut replaced, mut rest) = (String::with_capacity(text.len()), text);
    while !rest.is_empty() {
        let fits = |(old, _): &&(String, String)| !old.is_empty() && rest.starts_with(old);
        if let Some((old, new)) = pairs.iter().find(fits) {
            replaced.push_str(new);
            rest = &rest[old.len()..];
        } else {
            let mut chars = rest.chars();
            replaced.extend(chars.next());
            rest = chars.as_str();
        }
    }
    replaced
}

/// The texts that are at the same place in both, but not the same.
fn differing(one: &Value, other: &Value, pairs: &mut Vec<(String, String)>) {
    match (one, other) {
        (Value::String(old), Value::String(new)) if old != new => {
            pairs.push((old.clone(), new.clone()));
        }
        (Value::Array(old), Value::Array(new)) => {
            old.iter().zip(new).for_each(|(old, new)| differing(old, new, pairs));
        }
        (Value::Object(old), Value::Object(new)) => {
            for (key, old) in old {
                if let Some(new) = new.get(key) {
                    differing(old, new, pairs);
                }
            }
        }
        _ => {}
    }
}

/// Makes the bad state of `sg-open-ingress` in a group with as many rules as AWS grants at most, each with words of its
/// own: more than the ledger keeps.
/// <https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html#vpc-limits-security-groups>
pub async fn stage_too_large(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let staged = sg_open_ingress::stage(cloud, name).await?;
    sg_open_ingress::fill(cloud, &staged.resource).await?;
    Ok(staged)
}

/// Makes a detector of GuardDuty, and suspends it.
pub async fn stage_suspended_detector(cloud: &Cloud) -> Result<Staged, Error> {
    guardduty_detector::stage_suspended(cloud).await
}

/// Has the ledger know what a sweep would have seen before the bad state was made, where a fix needs it.
pub async fn remember(cloud: &Cloud, ledger: &Ledger, staged: &Staged) -> Result<(), Error> {
    let state = match staged.control {
        "s3-destructive-lifecycle" => s3_destructive_lifecycle::baseline(),
        "s3-encryption" => s3_encryption::baseline(),
        "cloudtrail-event-selectors" => cloudtrail_event_selectors::baseline(),
        "cloudtrail-deleted" => cloudtrail_deleted::baseline(cloud, &staged.resource).await?,
        "config-recorder" => config_recorder::baseline(),
        "guardduty-detector" => guardduty_detector::baseline(),
        "iam-permissions-boundary" => iam_permissions_boundary::baseline(&staged.resource),
        "cloudtrail-weakened" => {
            return cloudtrail_weakened::remember(ledger, &staged.resource).await;
        }
        "vpc-flow-logs" => {
            return vpc_flow_logs::remember(cloud, ledger, &staged.resource).await;
        }
        _ => return Ok(()),
    };
    // The samples are younger.
    let seen = "2026-01-01T00:00:00Z".parse()?;
    let baseline = Baseline::default().with(state, seen).unwrap_or_default();
    let Staged { control, resource, .. } = staged;
    // What is in no region is kept in the first.
    let is_global = control.starts_with("iam-");
    let region = if is_global { first_region(REGION) } else { REGION };
    let of = Baselined { control, account: ACCOUNT, region, resource };
    ledger.keep_baseline(&of, &baseline, Timestamp::now()).await?;
    Ok(())
}

/// Makes the bad state of `iam-admin-policy` for a role: other calls than for a user.
pub async fn stage_administrative_role(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    iam_admin_policy::stage_role(cloud, name).await
}

/// Makes the bad state of `iam-admin-policy` for a group.
pub async fn stage_administrative_group(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    iam_admin_policy::stage_group(cloud, name).await
}

/// Makes the bad state of `iam-quarantine` for a role: other calls than for a user.
pub async fn stage_suspected_role(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    iam_quarantine::stage_role(cloud, name).await
}

/// Makes the bad state of `iam-permissions-boundary` for a user: other calls than for a role.
pub async fn stage_unbounded_user(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    iam_permissions_boundary::stage_user(cloud, name).await
}

/// Makes what `iam-identity-provider` tells of with OpenID Connect: other calls than with SAML.
pub async fn stage_oidc_provider(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    iam_identity_provider::stage_oidc(cloud, name).await
}

/// Has the account no password policy of its own, so that undo has one to delete.
pub async fn delete_password_policy(cloud: &Cloud) -> Result<(), Error> {
    iam_password_policy::delete(cloud).await
}

/// Makes the bad state of `vpc-flow-logs` with a flow log that delivered to a bucket: that takes other rights.
pub async fn stage_flow_log_to_bucket(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    vpc_flow_logs::stage_to_bucket(cloud, name).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_begins_with_the_one_it_replaces_is_put_in_once() {
        let pair = |old: &str, new: &str| (old.to_owned(), new.to_owned());
        let pairs = [pair("arn:trail/calls", "arn:trail/calls-x"), pair("calls", "calls-x")];
        assert_eq!(
            replaced("\"arn:trail/calls\", \"calls\", ä", &pairs),
            "\"arn:trail/calls-x\", \"calls-x\", ä"
        );
    }
}
