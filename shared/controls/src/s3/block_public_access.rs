//! Keeps Block Public Access on for a bucket.
//!
//! ## What it fixes
//! A bucket whose four Block Public Access switches are not all on: `BlockPublicAcls`, `IgnorePublicAcls`,
//! `BlockPublicPolicy`, `RestrictPublicBuckets`. New buckets have all four on; someone has to switch them off. The
//! switches of the account are another matter and stay as they are.
//!
//! ## Why it matters
//! With the switches off, one forgotten access control list or policy statement publishes the data. Switching them off
//! is the first step of most S3 leaks, by mistake and on purpose.
//!
//! ## What can break
//! Websites and anonymous downloads that are served straight from the bucket answer 403, objects with public access
//! control lists too. If the bucket has a public policy, other accounts that the policy names are shut out as well,
//! until the public statement is gone. A template that switches them off does it again at its next run: change it there.
//!
//! ## Undo
//! Sets the switches exactly as they were, including "never configured".

use std::collections::BTreeMap;

use aws_sdk_s3::types::PublicAccessBlockConfiguration;
use quell_engine::{
    CallError, Clients, Control, Description, Discovered, During, Effect, Listen, Meta, Plan,
    Progress, Safety, Severity, Signal, aws::OrMissing, control::TargetError,
};
use serde::{Deserialize, Serialize};

use super::{
    Bucket, Switches,
    client::{LIST, S3, TAGS},
};

pub struct BlockPublicAccess(S3);

/// The bucket's own switches, as they are and as they are to be.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Block {
    /// `None`: never configured.
    pub switches: Option<Switches>,
}

impl Control for BlockPublicAccess {
    const META: Meta = Meta {
        id: "s3-block-public-access",
        title: "S3 buckets block public access",
        risk: "Nothing stops the bucket from being made public by one forgotten grant or policy statement.",
        severity: Severity::High,
        safety: Safety::NeedsApproval,
        reversible: true,
        satisfies: &[
            "securityhub/S3.8",
            "cis-aws-3.0.0/2.1.4",
            "cis-aws-5.0.0/2.1.4",
            "nist-800-53-r5/AC-3",
            "nist-800-53-r5/AC-6",
        ],
        function: "s3-exposure",
        listens: &[
            Listen::ApiCall {
                source: "aws.s3",
                service: "s3.amazonaws.com",
                calls: &[
                    "CreateBucket",
                    "DeleteBucketPublicAccessBlock",
                    "PutBucketPublicAccessBlock",
                ],
            },
            Listen::GuardDuty {
                types: &["Policy:S3/BucketBlockPublicAccessDisabled"],
                min_severity: 0.0,
            },
            Listen::SecurityHub { generators: &["/S3.8"], resource_type: "AwsS3Bucket" },
            Listen::Config {
                rules: &["s3-bucket-level-public-access-prohibited"],
                resource_type: "AWS::S3::Bucket",
            },
        ],
        discovers: &[LIST],
        reads: &["s3:GetBucketPublicAccessBlock", TAGS, LIST],
        // DeletePublicAccessBlock is authorised by the same action.
        writes: &["s3:PutBucketPublicAccessBlock"],
        baseline: false,
        visible_within: 30,
        source: file!(),
    };

    type Target = Bucket;
    type State = Block;
    type Change = Block;

    fn connect(aws: &Clients) -> Self {
        Self(S3::new(aws))
    }

    fn targets(signal: &Signal) -> Result<Vec<Bucket>, TargetError> {
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        Bucket::of(signal, Self::META.id)
    }

    async fn discover(&self, page: Option<&str>) -> Result<Discovered<Bucket>, CallError> {
        self.0.buckets(page).await
    }

    async fn assess(&self, bucket: &Bucket) -> Result<Option<Block>, CallError> {
        let found = self.0.switches(bucket).await.or_missing(&["NoSuchBucket"])?;
        Ok(found.map(|switches| Block { switches }))
    }

    async fn tags(&self, bucket: &Bucket) -> Result<BTreeMap<String, String>, CallError> {
        self.0.tags(bucket).await
    }

    async fn unique_id(&self, bucket: &Bucket) -> Result<String, CallError> {
        self.0.made_at(bucket).await
    }

    fn plan(found: &Block) -> Plan<Block> {
        if *found == ALL_ON { Plan::nothing() } else { Plan::one(ALL_ON) }
    }

    async fn apply(
        &self,
        bucket: &Bucket,
        wanted: &Block,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        match wanted.switches {
            Some(switches) => {
                let block = PublicAccessBlockConfiguration::builder()
                    .block_public_acls(switches.block_public_acls)
                    .ignore_public_acls(switches.ignore_public_acls)
                    .block_public_policy(switches.block_public_policy)
                    .restrict_public_buckets(switches.restrict_public_buckets);
                let put = self.0.api.put_public_access_block().bucket(bucket.as_str());
                put.expected_bucket_owner(&self.0.account)
                    .public_access_block_configuration(block.build())
                    .send()
                    .await
                    .during("s3:PutBucketPublicAccessBlock")?;
            }
            None => {
                let delete = self.0.api.delete_public_access_block().bucket(bucket.as_str());
                delete
                    .expected_bucket_owner(&self.0.account)
                    .send()
                    .await
                    .during("s3:PutBucketPublicAccessBlock")?;
            }
        }
        Ok(None)
    }

    fn revert(before: &Block, after: &Block) -> Plan<Block> {
        if before == after { Plan::nothing() } else { Plan::one(*before) }
    }

    fn describe(found: &Block, wanted: &Block) -> Description {
        Description {
            action: "s3:PutBucketPublicAccessBlock".into(),
            effect: Effect::Set,
            minus: found.beyond(wanted),
            plus: wanted.beyond(found),
        }
    }

    fn console(bucket: &Bucket, region: &str) -> String {
        bucket.console(region)
    }

    fn arn(bucket: &Bucket, _: &str, region: &str) -> String {
        bucket.arn(region)
    }
}

pub(super) const ALL_ON: Block = Block { switches: Some(Switches::ON) };

impl Block {
    /// The switches that differ from the other's, one line each.
    pub(super) fn beyond(&self, other: &Self) -> Vec<String> {
        let Some(switches) = self.switches else {
            let differs = other.switches.is_some();
            return differs.then(|| "never configured".to_owned()).into_iter().collect();
        };
        let others = other.switches.map(Switches::named);
        let differs =
            |&(i, (_, on)): &(usize, (&str, bool))| others.is_none_or(|others| others[i].1 != on);
        let word = |on| if on { "on" } else { "off" };
        let switches = switches.named().into_iter().enumerate().filter(differs);
        switches.map(|(_, (name, on))| format!("{name}: {}", word(on))).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quell_engine::Trigger;
    use serde_json::json;

    use super::*;
    use crate::s3::tests::signal;

    fn block() -> impl Strategy<Value = Block> {
        proptest::option::of(any::<[bool; 4]>()).prop_map(|switches| Block {
            switches: switches.map(|[acls, ignore, policy, restrict]| Switches {
                block_public_acls: acls,
                ignore_public_acls: ignore,
                block_public_policy: policy,
                restrict_public_buckets: restrict,
            }),
        })
    }

    #[test]
    fn never_configured_counts_as_off() {
        assert_eq!(BlockPublicAccess::plan(&Block { switches: None }).changes, [ALL_ON]);
        assert_eq!(
            BlockPublicAccess::plan(&Block { switches: Some(Switches::OFF) }).changes,
            [ALL_ON]
        );
    }

    #[test]
    fn only_what_differs_is_shown() {
        let half = Switches { block_public_acls: true, ignore_public_acls: true, ..Switches::OFF };
        let described = BlockPublicAccess::describe(&Block { switches: Some(half) }, &ALL_ON);
        assert_eq!(described.minus, ["BlockPublicPolicy: off", "RestrictPublicBuckets: off"]);
        assert_eq!(described.plus, ["BlockPublicPolicy: on", "RestrictPublicBuckets: on"]);

        let described = BlockPublicAccess::describe(&ALL_ON, &Block { switches: None });
        assert_eq!(described.minus.len(), 4);
        assert_eq!(described.plus, ["never configured"]);
    }

    #[test]
    fn calls_and_findings_name_the_bucket() {
        let call = |name: &str| Trigger::ApiCall {
            service: "s3.amazonaws.com".into(),
            name: name.into(),
            parameters: json!({"bucketName": "photos", "publicAccessBlock": [""]}),
            response: json!(null),
            resources: Vec::new(),
        };
        let finding = Trigger::GuardDuty {
            kind: "Policy:S3/BucketBlockPublicAccessDisabled".into(),
            severity: 2.0,
            resource: json!({"s3BucketDetails": [{"name": "photos"}]}),
            affected: json!(null),
        };
        for trigger in [
            call("CreateBucket"),
            call("PutBucketPublicAccessBlock"),
            call("DeleteBucketPublicAccessBlock"),
            finding,
        ] {
            let found = BlockPublicAccess::targets(&signal(trigger.clone()));
            assert_eq!(found, Ok(vec!["photos".parse().unwrap()]), "{trigger:?}");
        }
        let account = call("PutAccountPublicAccessBlock");
        assert_eq!(BlockPublicAccess::targets(&signal(account)), Ok(Vec::new()));
    }

    proptest! {
        #[test]
        fn the_plan_is_empty_only_when_all_are_on_and_undo_is_exact(before in block()) {
            let plan = BlockPublicAccess::plan(&before);
            prop_assert_eq!(plan.is_empty(), before == ALL_ON);
            let after = plan.changes.last().copied().unwrap_or(before);
            prop_assert!(BlockPublicAccess::plan(&after).is_empty());
            let undo = BlockPublicAccess::revert(&before, &after);
            prop_assert_eq!(undo.changes.last().copied().unwrap_or(after), before);
        }

        #[test]
        fn what_is_shown_differs(one in block(), other in block()) {
            let shown = BlockPublicAccess::describe(&one, &other);
            prop_assert_eq!(shown.minus.is_empty() && shown.plus.is_empty(), one == other);
        }
    }
}
