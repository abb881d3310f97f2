//! Keeps Block Public Access on for the whole account.
//!
//! ## What it fixes
//! An account whose four Block Public Access switches are not all on: `BlockPublicAcls`, `IgnorePublicAcls`,
//! `BlockPublicPolicy`, `RestrictPublicBuckets`. An account has none of them on until somebody switches them on, and that
//! counts as off. The switches of buckets are another matter and stay as they are.
//!
//! Where a policy of the organisation sets the switches, AWS answers with what is in force: all on is compliant, and
//! anything else is for the organisation to change, because AWS refuses the account's own call.
//!
//! ## Why it matters
//! The account's switches hold for every bucket that there is and will be, whatever its own say. Once they are off, each
//! bucket is one forgotten grant or statement away from being public.
//!
//! ## What can break
//! Every website and anonymous download that is served straight from a bucket of the account answers 403, in all regions.
//! Buckets whose policy is public shut out the other accounts that it names. An account that serves public buckets on
//! purpose needs an exemption, or the control off, before it is enforced.
//!
//! ## Undo
//! Sets the switches exactly as they were, including "never configured".

use std::collections::BTreeMap;

use aws_sdk_s3control::types::PublicAccessBlockConfiguration;
use quell_engine::{
    CallError, Clients, Control, Description, Discovered, During, Effect, Listen, Meta, Plan,
    Progress, Safety, Severity, Signal, control::TargetError,
};

use super::{
    block_public_access::{ALL_ON, Block},
    client::S3,
};
use crate::account::Account;

pub struct AccountPublicAccess {
    s3: S3,
    account: Account,
}

impl Control for AccountPublicAccess {
    const META: Meta = Meta {
        id: "s3-account-public-access",
        title: "The account blocks public access to S3",
        risk: "Nothing stops the buckets of the account from being made public, one by one.",
        severity: Severity::High,
        safety: Safety::NeedsApproval,
        reversible: true,
        satisfies: &[
            "securityhub/S3.1",
            "cis-aws-3.0.0/2.1.4",
            "cis-aws-5.0.0/2.1.4",
            "nist-800-53-r5/AC-3",
            "nist-800-53-r5/AC-6",
        ],
        function: "s3-exposure",
        listens: &[
            // CloudTrail's names for the account's PutPublicAccessBlock and DeletePublicAccessBlock.
            // https://docs.aws.amazon.com/AmazonS3/latest/userguide/cloudtrail-logging-s3-info.html
            Listen::ApiCall {
                source: "aws.s3",
                service: "s3.amazonaws.com",
                calls: &["DeleteAccountPublicAccessBlock", "PutAccountPublicAccessBlock"],
            },
            Listen::GuardDuty {
                types: &["Policy:S3/AccountBlockPublicAccessDisabled"],
                min_severity: 0.0,
            },
            Listen::SecurityHub { generators: &["/S3.1"], resource_type: "AwsAccount" },
            // Also the one that is checked periodically, whose name goes on.
            Listen::Config {
                rules: &["s3-account-level-public-access-blocks"],
                resource_type: "AWS::::Account",
            },
        ],
        discovers: &[READ],
        reads: &[READ],
        // DeletePublicAccessBlock is authorised by the same action.
        writes: &[WRITE],
        baseline: false,
        visible_within: 0,
        source: file!(),
    };

    type Target = Account;
    type State = Block;
    type Change = Block;

    fn connect(aws: &Clients) -> Self {
        Self { s3: S3::new(aws), account: Account::own(aws) }
    }

    fn targets(signal: &Signal) -> Result<Vec<Account>, TargetError> {
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        Account::of(signal, Self::META.id)
    }

    async fn discover(&self, _: Option<&str>) -> Result<Discovered<Account>, CallError> {
        Ok(Discovered { targets: vec![self.account.clone()], next: None })
    }

    async fn assess(&self, _: &Account) -> Result<Option<Block>, CallError> {
        Ok(Some(Block { switches: self.s3.account_block().await? }))
    }

    /// Tags of accounts are the organisation's.
    async fn tags(&self, _: &Account) -> Result<BTreeMap<String, String>, CallError> {
        Ok(BTreeMap::new())
    }

    fn plan(found: &Block) -> Plan<Block> {
        if *found == ALL_ON { Plan::nothing() } else { Plan::one(ALL_ON) }
    }

    async fn apply(
        &self,
        account: &Account,
        wanted: &Block,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        let control = &self.s3.control;
        let made = match wanted.switches {
            Some(switches) => {
                let block = PublicAccessBlockConfiguration::builder()
                    .block_public_acls(switches.block_public_acls)
                    .ignore_public_acls(switches.ignore_public_acls)
                    .block_public_policy(switches.block_public_policy)
                    .restrict_public_buckets(switches.restrict_public_buckets);
                let put = control.put_public_access_block().account_id(account.as_str());
                let put = put.public_access_block_configuration(block.build());
                put.send().await.map(drop).during(WRITE)
            }
            None => {
                let delete = control.delete_public_access_block().account_id(account.as_str());
                delete.send().await.map(drop).during(WRITE)
            }
        };
        made.map_err(refusal)?;
        Ok(None)
    }

    fn revert(before: &Block, after: &Block) -> Plan<Block> {
        if before == after { Plan::nothing() } else { Plan::one(*before) }
    }

    fn describe(found: &Block, wanted: &Block) -> Description {
        Description {
            action: WRITE.into(),
            effect: Effect::Set,
            minus: found.beyond(wanted),
            plus: wanted.beyond(found),
        }
    }

    fn console(_: &Account, region: &str) -> String {
        let host = match region {
            _ if region.starts_with("cn-") => "console.amazonaws.cn",
            _ if region.starts_with("us-gov-") => "console.amazonaws-us-gov.com",
            _ => "s3.console.aws.amazon.com",
        };
        format!("https://{host}/s3/settings?region={region}")
    }

    fn arn(account: &Account, _: &str, region: &str) -> String {
        account.arn(region)
    }
}

const READ: &str = "s3:GetAccountPublicAccessBlock";
const WRITE: &str = "s3:PutAccountPublicAccessBlock";

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_control_PutPublicAccessBlock.html>: AWS answers a call that a
/// policy of the organisation forbids as it does one without permission.
fn refusal(mut error: CallError) -> CallError {
    if error.is("AccessDenied") {
        let words = std::mem::take(&mut error.message);
        error.message = format!(
            "a policy of the organisation may set Block Public Access for the account, which cannot be changed here \
             then; otherwise the permission is missing ({words})"
        );
    }
    error
}

#[cfg(test)]
mod tests {
    use quell_engine::{CallErrorKind, Trigger};
    use serde_json::json;

    use super::*;
    use crate::s3::{Switches, tests::signal};

    const ID: &str = "123456789012";

    fn call(name: &str) -> Trigger {
        Trigger::ApiCall {
            service: "s3.amazonaws.com".into(),
            name: name.into(),
            parameters: json!({"publicAccessBlock": [""], "bucketName": "...",
                "host": ["444455556666.s3-control.us-east-1.amazonaws.com"]}),
            response: json!(null),
            resources: Vec::new(),
        }
    }

    #[test]
    fn anything_but_all_on_is_switched_on_and_undo_is_exact() {
        let half = Switches { block_public_acls: true, ..Switches::OFF };
        for switches in [None, Some(Switches::OFF), Some(half)] {
            let before = Block { switches };
            assert_eq!(AccountPublicAccess::plan(&before).changes, [ALL_ON]);
            assert_eq!(AccountPublicAccess::revert(&before, &ALL_ON).changes, [before]);
        }
        assert!(AccountPublicAccess::plan(&ALL_ON).is_empty());
        assert!(AccountPublicAccess::revert(&ALL_ON, &ALL_ON).is_empty());
    }

    #[test]
    fn every_signal_is_about_the_account_that_it_came_from() {
        let finding = Trigger::GuardDuty {
            kind: "Policy:S3/AccountBlockPublicAccessDisabled".into(),
            severity: 2.0,
            resource: json!({"accessKeyDetails": {}}),
            affected: json!(null),
        };
        let hub = |resource: &str| Trigger::SecurityHub {
            generator: "security-control/S3.1".into(),
            resource_type: "AwsAccount".into(),
            resource: resource.into(),
            action: None,
        };
        let config = Trigger::ConfigCompliance {
            rule: "securityhub-s3-account-level-public-access-blocks-periodic-1a2b".into(),
            resource_type: "AWS::::Account".into(),
            resource: ID.into(),
        };
        let person = |resource: &str| Trigger::Manual {
            control: "s3-account-public-access".into(),
            resource: resource.into(),
        };
        for trigger in [
            call("PutAccountPublicAccessBlock"),
            call("DeleteAccountPublicAccessBlock"),
            finding,
            hub("AWS::::Account:123456789012"),
            config,
            person(ID),
        ] {
            let found = AccountPublicAccess::targets(&signal(trigger.clone()));
            assert_eq!(found, Ok(vec![ID.parse().unwrap()]), "{trigger:?}");
        }
        for trigger in
            [hub("AWS::::Account:444455556666"), person("444455556666"), person("photos")]
        {
            assert!(AccountPublicAccess::targets(&signal(trigger.clone())).is_err(), "{trigger:?}");
        }
        let bucket = call("PutBucketPublicAccessBlock");
        assert_eq!(AccountPublicAccess::targets(&signal(bucket)), Ok(Vec::new()));
    }

    #[test]
    fn a_refusal_tells_of_the_organisation() {
        let mut denied = CallError::new(WRITE, CallErrorKind::Denied, "Access Denied");
        denied.code = Some("AccessDenied".into());
        let told = refusal(denied);
        assert_eq!(told.kind, CallErrorKind::Denied);
        assert!(told.message.contains("organisation") && told.message.contains("Access Denied"));
        let slow = CallError::new(WRITE, CallErrorKind::Unavailable, "SlowDown");
        assert_eq!(refusal(slow.clone()), slow);
    }
}
