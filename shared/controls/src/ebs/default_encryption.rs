//! Keeps encryption by default on for new volumes.
//!
//! ## What it fixes
//! A region in which encryption by default is off. It is switched on, for new volumes and copies of snapshots; the key that
//! they are encrypted with stays the one that is set (`alias/aws/ebs`, unless somebody chose another).
//!
//! ## Why it matters
//! Whatever is made without saying so is then not encrypted, and cannot be encrypted later without making it anew. Who
//! switches this off plans to copy a disk, or opens the way for those who do: a snapshot that is not encrypted can be made
//! public, an encrypted one cannot.
//!
//! ## What can break
//! If the default key is one of your own, whoever makes volumes needs to be allowed to use it: the service-linked role of
//! Auto Scaling, and other services and accounts that launch instances here. Without that their launches fail. Very old
//! instance types cannot use encrypted volumes. Volumes and snapshots that exist stay as they are.
//!
//! ## Undo
//! Switches encryption by default off again. What was made meanwhile stays encrypted.

use std::collections::BTreeMap;

use aws_sdk_ec2::Client;
use quell_engine::{
    CallError, CallErrorKind, Clients, Control, Description, Discovered, During, Effect, Listen,
    Meta, Plan, Progress, Safety, Severity, Signal, control::TargetError,
};
use serde::{Deserialize, Serialize};

use crate::{ec2::instance, partition, region::Region};

pub struct DefaultEncryption {
    ec2: Client,
    region: Region,
}

/// Whether what is new is encrypted: as it is, and as it is to be.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Encryption {
    pub by_default: bool,
}

const READ: &str = "ec2:GetEbsEncryptionByDefault";
const ENABLE: &str = "ec2:EnableEbsEncryptionByDefault";
const DISABLE: &str = "ec2:DisableEbsEncryptionByDefault";

impl Control for DefaultEncryption {
    const META: Meta = Meta {
        id: "ebs-default-encryption",
        title: "New EBS volumes are encrypted by default",
        risk: "Volumes that are made in this region from now on are not encrypted, unless whoever makes them says so.",
        severity: Severity::Medium,
        safety: Safety::Safe,
        reversible: true,
        // https://docs.aws.amazon.com/securityhub/latest/userguide/ec2-controls.html#ec2-7
        satisfies: &["securityhub/EC2.7", "cis-aws-3.0.0/2.2.1", "nist-800-53-r5/SC-28"],
        function: "image-exposure",
        listens: &[
            Listen::ApiCall {
                source: "aws.ec2",
                service: "ec2.amazonaws.com",
                calls: &["DisableEbsEncryptionByDefault"],
            },
            Listen::SecurityHub { generators: &["/EC2.7"], resource_type: "AwsAccount" },
            Listen::Config {
                rules: &["ec2-ebs-encryption-by-default"],
                resource_type: "AWS::::Account",
            },
        ],
        discovers: &[READ],
        reads: &[READ],
        writes: &[ENABLE, DISABLE],
        baseline: false,
        visible_within: 0,
        source: file!(),
    };

    type Target = Region;
    type State = Encryption;
    type Change = Encryption;

    fn connect(aws: &Clients) -> Self {
        Self { ec2: instance::client(aws), region: Region::new(aws.region()) }
    }

    fn targets(signal: &Signal) -> Result<Vec<Region>, TargetError> {
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        Region::of(signal, Self::META.id)
    }

    async fn discover(&self, _: Option<&str>) -> Result<Discovered<Region>, CallError> {
        Ok(Discovered { targets: vec![self.region.clone()], next: None })
    }

    async fn assess(&self, _: &Region) -> Result<Option<Encryption>, CallError> {
        let found = self.ec2.get_ebs_encryption_by_default().send().await.during(READ)?;
        let by_default = found.ebs_encryption_by_default.ok_or_else(|| {
            CallError::new(READ, CallErrorKind::Refused, "the answer does not say whether it is on")
        })?;
        Ok(Some(Encryption { by_default }))
    }

    /// A setting has no tags.
    async fn tags(&self, _: &Region) -> Result<BTreeMap<String, String>, CallError> {
        Ok(BTreeMap::new())
    }

    fn plan(found: &Encryption) -> Plan<Encryption> {
        if found.by_default { Plan::nothing() } else { Plan::one(Encryption { by_default: true }) }
    }

    async fn apply(
        &self,
        _: &Region,
        wanted: &Encryption,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        if wanted.by_default {
            self.ec2.enable_ebs_encryption_by_default().send().await.during(ENABLE)?;
        } else {
            self.ec2.disable_ebs_encryption_by_default().send().await.during(DISABLE)?;
        }
        Ok(None)
    }

    fn revert(before: &Encryption, after: &Encryption) -> Plan<Encryption> {
        if before == after { Plan::nothing() } else { Plan::one(*before) }
    }

    fn describe(found: &Encryption, wanted: &Encryption) -> Description {
        let line = |encryption: &Encryption| {
            let word = if encryption.by_default { "on" } else { "off" };
            vec![format!("encryption by default: {word}")]
        };
        Description {
            action: if wanted.by_default { ENABLE } else { DISABLE }.to_owned(),
            effect: Effect::Set,
            minus: line(found),
            plus: line(wanted),
        }
    }

    fn console(_: &Region, region: &str) -> String {
        format!("{}#Settings:tab=dataProtectionAndSecurity", partition::console("ec2", region))
    }

    fn arn(region: &Region, account: &str, _: &str) -> String {
        region.arn(account, "ebs-encryption-by-default")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::region::tests::call;

    const ON: Encryption = Encryption { by_default: true };
    const OFF: Encryption = Encryption { by_default: false };

    #[test]
    fn it_is_switched_on_and_undo_switches_it_off() {
        assert_eq!(DefaultEncryption::plan(&OFF).changes, [ON]);
        assert!(DefaultEncryption::plan(&ON).is_empty());
        assert_eq!(DefaultEncryption::revert(&OFF, &ON).changes, [OFF]);
        assert!(DefaultEncryption::revert(&OFF, &OFF).is_empty());
    }

    #[test]
    fn says_by_which_call_and_what_changes() {
        let told = DefaultEncryption::describe(&OFF, &ON);
        assert_eq!(told.action, "ec2:EnableEbsEncryptionByDefault");
        assert_eq!(told.minus, ["encryption by default: off"]);
        assert_eq!(told.plus, ["encryption by default: on"]);
        assert_eq!(DefaultEncryption::describe(&ON, &OFF).action, DISABLE);
    }

    #[test]
    fn listens_for_the_call_that_switches_it_off_alone() {
        let named = |name| DefaultEncryption::targets(&call(name, json!(null))).unwrap().len();
        assert_eq!(named("DisableEbsEncryptionByDefault"), 1);
        assert_eq!(named("EnableEbsEncryptionByDefault"), 0);
    }
}
