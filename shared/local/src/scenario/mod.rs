//! The bad states that Quell puts right: how to make them, and how to look at them with eyes of one's own.
//!
//! One file per control, each with
//! - `stage`: makes the bad state (with neighbours that must stay as they are) and the event that tells of it,
//! - `is_violating`: whether it is still so, read from AWS without Quell's code,
//! - `snapshot`: everything about the resource that a remediation could touch, for "equal to before" and
//!   "nothing else changed". Ids that AWS gives anew (security group rule ids) are left out.

use jiff::Timestamp;
use quell_engine::ledger::{Baseline, Baselined, Ledger};
use serde_json::Value;

use crate::{
    Cloud,
    cloud::{ACCOUNT, REGION},
};

mod ami_block_public_access;
mod ami_image;
mod ami_public_image;
mod ami_shared_image;
mod cloudtrail_logging;
mod cloudtrail_weakened;
mod ebs_default_encryption;
mod ebs_public_snapshot;
mod ebs_shared_snapshot;
mod ebs_snapshot;
mod ebs_snapshot_block_public_access;
mod ec2_imdsv2;
mod ec2_quarantine;
mod iam_exposed_key;
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

/// What of a control's world only our own patches of the emulator show (`emulator/patches`), by control: no emulator made
/// by others has proven it.
pub const OWN_EMULATION: &[(&str, &str)] = &[
    ("ami-block-public-access", "block public access for images, all of it"),
    ("ebs-snapshot-block-public-access", "block public access for snapshots, all of it"),
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
    "ebs-default-encryption",
    "ebs-snapshot-block-public-access",
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
        let violating = match self.control {
            "cloudtrail-logging" => {
                include_str!("../../../../events/cloudtrail-logging/violating.json")
            }
            "cloudtrail-weakened" => cloudtrail_weakened::SAMPLE,
            "ec2-imdsv2" => include_str!("../../../../events/ec2-imdsv2/violating.json"),
            "ec2-quarantine" => include_str!("../../../../events/ec2-quarantine/violating.json"),
            "iam-exposed-key" => iam_exposed_key::SAMPLE,
            "quell-rule-disabled" => {
                include_str!("../../../../events/quell-rule-disabled/violating.json")
            }
            "quell-tampered" => include_str!("../../../../events/quell-tampered/violating.json"),
            "s3-block-public-access" => {
                include_str!("../../../../events/s3-block-public-access/violating.json")
            }
            "s3-public-acl" => include_str!("../../../../events/s3-public-acl/violating.json"),
            "s3-public-policy" => {
                include_str!("../../../../events/s3-public-policy/violating.json")
            }
            "sg-open-ingress" => include_str!("../../../../events/sg-open-ingress/violating.json"),
            "ebs-public-snapshot" => {
                include_str!("../../../../events/ebs-public-snapshot/violating.json")
            }
            "ebs-shared-snapshot" => {
                include_str!("../../../../events/ebs-shared-snapshot/violating.json")
            }
            "ami-public-image" => {
                include_str!("../../../../events/ami-public-image/violating.json")
            }
            "ami-shared-image" => {
                include_str!("../../../../events/ami-shared-image/violating.json")
            }
            "ebs-default-encryption" => {
                include_str!("../../../../events/ebs-default-encryption/violating.json")
            }
            "ebs-snapshot-block-public-access" => {
                include_str!("../../../../events/ebs-snapshot-block-public-access/violating.json")
            }
            "ami-block-public-access" => {
                include_str!("../../../../events/ami-block-public-access/violating.json")
            }
            "vpc-subnet-public-ip" => vpc_subnet_public_ip::SAMPLE,
            "vpc-nacl-open-ingress" => vpc_nacl_open_ingress::SAMPLE,
            "sg-default-rules" => sg_default_rules::SAMPLE,
            "vpc-flow-logs" => vpc_flow_logs::SAMPLE,
            "s3-versioning" => include_str!("../../../../events/s3-versioning/violating.json"),
            "s3-encryption" => include_str!("../../../../events/s3-encryption/violating.json"),
            "s3-destructive-lifecycle" => {
                include_str!("../../../../events/s3-destructive-lifecycle/violating.json")
            }
            "s3-account-public-access" => {
                include_str!("../../../../events/s3-account-public-access/violating.json")
            }
            "s3-cross-account-policy" => {
                include_str!("../../../../events/s3-cross-account-policy/violating.json")
            }
            "s3-public-object" => {
                include_str!("../../../../events/s3-public-object/violating.json")
            }
            "s3-foreign-replication" => {
                include_str!("../../../../events/s3-foreign-replication/violating.json")
            }
            other => return Err(format!("no scenario for control {other}").into()),
        };
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

/// Makes the bad state of a control. `name` is unique among the stagings of one emulator.
pub async fn stage(cloud: &Cloud, control: &str, name: &str) -> Result<Staged, Error> {
    match control {
        "cloudtrail-logging" => cloudtrail_logging::stage(cloud, name).await,
        "cloudtrail-weakened" => cloudtrail_weakened::stage(cloud, name).await,
        "ec2-imdsv2" => ec2_imdsv2::stage(cloud, name).await,
        "ec2-quarantine" => ec2_quarantine::stage(cloud, name).await,
        "iam-exposed-key" => iam_exposed_key::stage(cloud, name).await,
        "quell-rule-disabled" => quell_rule_disabled::stage(cloud, name).await,
        "quell-tampered" => quell_tampered::stage(cloud, name).await,
        "s3-block-public-access" => s3_block_public_access::stage(cloud, name).await,
        "s3-public-acl" => s3_public_acl::stage(cloud, name).await,
        "s3-public-policy" => s3_public_policy::stage(cloud, name).await,
        "sg-open-ingress" => sg_open_ingress::stage(cloud, name).await,
        "ebs-public-snapshot" => ebs_public_snapshot::stage(cloud, name).await,
        "ebs-shared-snapshot" => ebs_shared_snapshot::stage(cloud, name).await,
        "ami-public-image" => ami_public_image::stage(cloud, name).await,
        "ami-shared-image" => ami_shared_image::stage(cloud, name).await,
        "ebs-default-encryption" => ebs_default_encryption::stage(cloud).await,
        "ebs-snapshot-block-public-access" => ebs_snapshot_block_public_access::stage(cloud).await,
        "ami-block-public-access" => ami_block_public_access::stage(cloud).await,
        "vpc-subnet-public-ip" => vpc_subnet_public_ip::stage(cloud, name).await,
        "vpc-nacl-open-ingress" => vpc_nacl_open_ingress::stage(cloud, name).await,
        "sg-default-rules" => sg_default_rules::stage(cloud, name).await,
        "vpc-flow-logs" => vpc_flow_logs::stage(cloud, name).await,
        "s3-versioning" => s3_versioning::stage(cloud, name).await,
        "s3-encryption" => s3_encryption::stage(cloud, name).await,
        "s3-destructive-lifecycle" => s3_destructive_lifecycle::stage(cloud, name).await,
        "s3-account-public-access" => s3_account_public_access::stage(cloud, name).await,
        "s3-cross-account-policy" => s3_cross_account_policy::stage(cloud, name).await,
        "s3-public-object" => s3_public_object::stage(cloud, name).await,
        "s3-foreign-replication" => s3_foreign_replication::stage(cloud, name).await,
        other => Err(format!("no scenario for control {other}").into()),
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

/// Has the ledger know what a sweep would have seen before the bad state was made, where a fix needs it.
pub async fn remember(cloud: &Cloud, ledger: &Ledger, staged: &Staged) -> Result<(), Error> {
    let state = match staged.control {
        "s3-destructive-lifecycle" => s3_destructive_lifecycle::baseline(),
        "s3-encryption" => s3_encryption::baseline(),
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
    let of = Baselined { control, account: ACCOUNT, region: REGION, resource };
    ledger.keep_baseline(&of, &baseline, Timestamp::now()).await?;
    Ok(())
}

/// Makes the bad state of `vpc-flow-logs` with a flow log that delivered to a bucket: that takes other rights.
pub async fn stage_flow_log_to_bucket(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    vpc_flow_logs::stage_to_bucket(cloud, name).await
}

/// Whether the resource of [`stage`] is still in its bad state.
pub async fn is_violating(cloud: &Cloud, staged: &Staged) -> Result<bool, Error> {
    let resource = &staged.resource;
    match staged.control {
        "cloudtrail-logging" => cloudtrail_logging::is_violating(cloud, resource).await,
        "cloudtrail-weakened" => cloudtrail_weakened::is_violating(cloud, resource).await,
        "ec2-imdsv2" => ec2_imdsv2::is_violating(cloud, resource).await,
        "ec2-quarantine" => ec2_quarantine::is_violating(cloud, resource).await,
        "iam-exposed-key" => iam_exposed_key::is_violating(cloud, resource).await,
        "quell-rule-disabled" => quell_rule_disabled::is_violating(cloud, resource).await,
        "quell-tampered" => quell_tampered::is_violating(cloud, resource).await,
        "s3-block-public-access" => s3_block_public_access::is_violating(cloud, resource).await,
        "s3-public-acl" => s3_public_acl::is_violating(cloud, resource).await,
        "s3-public-policy" => s3_public_policy::is_violating(cloud, resource).await,
        "sg-open-ingress" => sg_open_ingress::is_violating(cloud, resource).await,
        "ebs-public-snapshot" => ebs_public_snapshot::is_violating(cloud, resource).await,
        "ebs-shared-snapshot" => ebs_shared_snapshot::is_violating(cloud, resource).await,
        "ami-public-image" => ami_public_image::is_violating(cloud, resource).await,
        "ami-shared-image" => ami_shared_image::is_violating(cloud, resource).await,
        "ebs-default-encryption" => ebs_default_encryption::is_violating(cloud).await,
        "ebs-snapshot-block-public-access" => {
            ebs_snapshot_block_public_access::is_violating(cloud).await
        }
        "ami-block-public-access" => ami_block_public_access::is_violating(cloud).await,
        "vpc-subnet-public-ip" => vpc_subnet_public_ip::is_violating(cloud, resource).await,
        "vpc-nacl-open-ingress" => vpc_nacl_open_ingress::is_violating(cloud, resource).await,
        "sg-default-rules" => sg_default_rules::is_violating(cloud, resource).await,
        "vpc-flow-logs" => vpc_flow_logs::is_violating(cloud, resource).await,
        "s3-versioning" => s3_versioning::is_violating(cloud, resource).await,
        "s3-encryption" => s3_encryption::is_violating(cloud, resource).await,
        "s3-destructive-lifecycle" => s3_destructive_lifecycle::is_violating(cloud, resource).await,
        "s3-account-public-access" => s3_account_public_access::is_violating(cloud, resource).await,
        "s3-cross-account-policy" => s3_cross_account_policy::is_violating(cloud, resource).await,
        "s3-public-object" => s3_public_object::is_violating(cloud, resource).await,
        "s3-foreign-replication" => s3_foreign_replication::is_violating(cloud, resource).await,
        other => Err(format!("no scenario for control {other}").into()),
    }
}

/// Everything about the resource that a remediation could touch.
pub async fn snapshot(cloud: &Cloud, staged: &Staged) -> Result<Value, Error> {
    let resource = &staged.resource;
    match staged.control {
        "cloudtrail-logging" => cloudtrail_logging::snapshot(cloud, resource).await,
        "cloudtrail-weakened" => cloudtrail_weakened::snapshot(cloud, resource).await,
        "ec2-imdsv2" => ec2_imdsv2::snapshot(cloud, resource).await,
        "ec2-quarantine" => ec2_quarantine::snapshot(cloud, resource).await,
        "iam-exposed-key" => iam_exposed_key::snapshot(cloud, resource).await,
        "quell-rule-disabled" => quell_rule_disabled::snapshot(cloud, resource).await,
        "quell-tampered" => quell_tampered::snapshot(cloud, resource).await,
        "s3-block-public-access" => s3_block_public_access::snapshot(cloud, resource).await,
        "s3-public-acl" => s3_public_acl::snapshot(cloud, resource).await,
        "s3-public-policy" => s3_public_policy::snapshot(cloud, resource).await,
        "sg-open-ingress" => sg_open_ingress::snapshot(cloud, resource).await,
        "ebs-public-snapshot" => ebs_public_snapshot::snapshot(cloud, resource).await,
        "ebs-shared-snapshot" => ebs_shared_snapshot::snapshot(cloud, resource).await,
        "ami-public-image" => ami_public_image::snapshot(cloud, resource).await,
        "ami-shared-image" => ami_shared_image::snapshot(cloud, resource).await,
        "ebs-default-encryption" => ebs_default_encryption::snapshot(cloud).await,
        "ebs-snapshot-block-public-access" => {
            ebs_snapshot_block_public_access::snapshot(cloud).await
        }
        "ami-block-public-access" => ami_block_public_access::snapshot(cloud).await,
        "vpc-subnet-public-ip" => vpc_subnet_public_ip::snapshot(cloud, resource).await,
        "vpc-nacl-open-ingress" => vpc_nacl_open_ingress::snapshot(cloud, resource).await,
        "sg-default-rules" => sg_default_rules::snapshot(cloud, resource).await,
        "vpc-flow-logs" => vpc_flow_logs::snapshot(cloud, resource).await,
        "s3-versioning" => s3_versioning::snapshot(cloud, resource).await,
        "s3-encryption" => s3_encryption::snapshot(cloud, resource).await,
        "s3-destructive-lifecycle" => s3_destructive_lifecycle::snapshot(cloud, resource).await,
        "s3-account-public-access" => s3_account_public_access::snapshot(cloud, resource).await,
        "s3-cross-account-policy" => s3_cross_account_policy::snapshot(cloud, resource).await,
        "s3-public-object" => s3_public_object::snapshot(cloud, resource).await,
        "s3-foreign-replication" => s3_foreign_replication::snapshot(cloud, resource).await,
        other => Err(format!("no scenario for control {other}").into()),
    }
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
