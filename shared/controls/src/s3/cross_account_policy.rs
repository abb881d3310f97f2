//! Takes back what lets strangers' accounts administer a bucket.
//!
//! ## What it fixes
//! A bucket whose policy allows a principal of an account that is neither one's own nor trusted any of the actions that
//! Security Hub's control S3.6 names, by name or by a wildcard: `s3:DeleteBucketPolicy`, `s3:PutBucketAcl`,
//! `s3:PutBucketPolicy`, `s3:PutEncryptionConfiguration`, `s3:PutObjectAcl`. What a stranger may read or write beside
//! that is no matter of this control.
//!
//! Trusted are the accounts and organisations that the policy file names under `[trusted]`. A statement stays if one of
//! its conditions (`aws:PrincipalOrgID`, `aws:PrincipalOrgPaths`, `aws:PrincipalAccount`, `aws:PrincipalArn`, without a
//! negation and without `…IfExists`) admits only those. Services of AWS stay. A canonical user id says nothing about its
//! account, and counts as unknown. A statement for everyone is for `s3-public-policy`, unless its conditions name an
//! organisation or account that is not known.
//!
//! Exactly those principals go from the list that they stand in, or the statement, if it has no others. All other
//! statements keep their order and their bytes, and `Deny` statements are never touched. A policy of which nothing is left
//! is deleted.
//!
//! A policy that cannot be read (not JSON, a key twice, elements that AWS does not know) is reported as failed and left
//! as it is.
//!
//! ## Why it matters
//! Who may change the policy or the ACLs takes the bucket over: it can let itself, or everyone, read and delete the data,
//! and can lock the owner's people out. It is also how an intruder stays in after their keys are gone.
//!
//! ## What can break
//! The statement's other actions go with it: a partner who uploads with `s3:PutObject` and `s3:PutObjectAcl` in one
//! statement can no longer upload. Name partners under `[trusted]` first. If another statement names a principal that was
//! deleted since (it shows as `AIDA…` or `AROA…`), AWS refuses to store the policy, and Quell reports that it failed.
//!
//! ## Undo
//! Stores the old text again. AWS refuses this if the text is public and Block Public Access (`BlockPublicPolicy`) was
//! switched on since; this is reported in words, and nothing changes.

use std::collections::BTreeMap;

use quell_engine::{
    Background, CallError, Clients, Control, Description, Discovered, Listen, Meta, Plan, Progress,
    Safety, Severity, Signal, aws::OrMissing, control::TargetError,
};
use serde::{Deserialize, Serialize};

use super::{
    Bucket,
    client::{LIST, S3, TAGS},
    public_policy::{Change, is_same, policy_of, unreadable},
};
use crate::policy::{
    document::{Left, Unreadable},
    who::{Known, Policy},
};

pub struct CrossAccountPolicy(S3);

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct State {
    /// The text as S3 gives it. `None`: the bucket has no policy.
    pub policy: Option<String>,
    /// The account whose bucket it is.
    pub account: String,
    /// Of the trusted accounts, those that the policy names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<String>,
    /// Of the trusted organisations, those that the policy names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub organisations: Vec<String>,
}

impl Control for CrossAccountPolicy {
    const META: Meta = Meta {
        id: "s3-cross-account-policy",
        title: "S3 bucket policies let no unknown account administer the bucket",
        risk: "The policy of the bucket lets an account that nobody vouched for change who may use it.",
        severity: Severity::High,
        safety: Safety::NeedsApproval,
        reversible: true,
        satisfies: &["securityhub/S3.6", "nist-800-53-r5/AC-3", "nist-800-53-r5/AC-6"],
        function: "s3-exposure",
        listens: &[
            Listen::ApiCall {
                source: "aws.s3",
                service: "s3.amazonaws.com",
                calls: &["PutBucketPolicy"],
            },
            Listen::SecurityHub { generators: &["/S3.6"], resource_type: "AwsS3Bucket" },
            Listen::Config {
                rules: &["s3-bucket-blacklisted-actions-prohibited"],
                resource_type: "AWS::S3::Bucket",
            },
        ],
        discovers: &[LIST],
        reads: &["s3:GetBucketPolicy", TAGS, LIST],
        writes: &["s3:DeleteBucketPolicy", "s3:PutBucketPolicy"],
        baseline: false,
        visible_within: 30,
        source: file!(),
    };

    type Target = Bucket;
    type State = State;
    type Change = Change;

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

    async fn assess(&self, bucket: &Bucket) -> Result<Option<State>, CallError> {
        let policy = policy_of(&self.0, bucket).await.or_missing(&["NoSuchBucket"])?;
        let Some(policy) = policy else { return Ok(None) };
        let account = self.0.account.clone();
        let state = State { policy, account, accounts: Vec::new(), organisations: Vec::new() };
        state.left().transpose().map_err(unreadable)?;
        Ok(Some(state))
    }

    fn inform(state: &mut State, background: &Background<'_, State>) {
        let text = state.policy.as_deref().unwrap_or_default();
        let named = |all: &[String]| {
            all.iter()
                .filter(|one| !one.is_empty() && text.contains(one.as_str()))
                .cloned()
                .collect()
        };
        state.accounts = named(&background.trusted.accounts);
        state.organisations = named(&background.trusted.organisations);
    }

    async fn tags(&self, bucket: &Bucket) -> Result<BTreeMap<String, String>, CallError> {
        self.0.tags(bucket).await
    }

    async fn unique_id(&self, bucket: &Bucket) -> Result<String, CallError> {
        self.0.made_at(bucket).await
    }

    /// `assess` lets no other policy through than one that can be read.
    fn plan(state: &State) -> Plan<Change> {
        state.left().and_then(Result::ok).map_or_else(Plan::nothing, Change::from)
    }

    async fn apply(
        &self,
        bucket: &Bucket,
        change: &Change,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        change.make(&self.0, bucket).await
    }

    fn revert(before: &State, after: &State) -> Plan<Change> {
        if Self::same(before, after) {
            return Plan::nothing();
        }
        Plan::one(Change::to(before.policy.as_deref()))
    }

    fn describe(state: &State, change: &Change) -> Description {
        change.described(state.policy.as_deref())
    }

    fn console(bucket: &Bucket, region: &str) -> String {
        bucket.console(region)
    }

    fn arn(bucket: &Bucket, _: &str, region: &str) -> String {
        bucket.arn(region)
    }

    /// The policy alone is changed and given back.
    fn same(one: &State, other: &State) -> bool {
        is_same(one.policy.as_deref(), other.policy.as_deref())
    }
}

impl State {
    /// What is left of the policy, if there is one.
    fn left(&self) -> Option<Result<Left, Unreadable>> {
        let text = self.policy.as_deref()?;
        let own = std::iter::once(&self.account);
        let accounts: Vec<&str> = own.chain(&self.accounts).map(String::as_str).collect();
        let organisations: Vec<&str> = self.organisations.iter().map(String::as_str).collect();
        let known = Known { accounts: &accounts, organisations: &organisations };
        Some(Policy::parse(text).and_then(|policy| policy.without_strangers(&known)))
    }
}

#[cfg(test)]
mod tests {
    use quell_engine::{Trigger, policy::Trusted};
    use serde_json::json;

    use super::*;
    use crate::s3::tests::signal;

    const READ: &str = r#"{"Effect":"Allow","Principal":{"AWS":"999999999999"},"Action":"s3:GetObject","Resource":"*"}"#;
    const STRANGER: &str =
        r#"{"Effect":"Allow","Principal":{"AWS":"999999999999"},"Action":"s3:*","Resource":"*"}"#;
    const ORGANISATION: &str = r#"{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-a1b2c3d4e5"}}}"#;

    fn of(statements: &[&str], trusted: &Trusted) -> State {
        let policy = format!("{{ \"Statement\": [{}] }}", statements.join(" , "));
        let mut state = State {
            policy: Some(policy),
            account: "123456789012".into(),
            accounts: Vec::new(),
            organisations: Vec::new(),
        };
        CrossAccountPolicy::inform(&mut state, &Background { trusted, baseline: None });
        state
    }

    fn trusting(accounts: &[&str], organisations: &[&str]) -> Trusted {
        let owned = |all: &[&str]| all.iter().map(|&one| one.to_owned()).collect();
        Trusted {
            accounts: owned(accounts),
            organisations: owned(organisations),
            ..Trusted::NOBODY
        }
    }

    #[test]
    fn strangers_lose_administration_and_undo_gives_it_back() {
        let before = of(&[READ, STRANGER, ORGANISATION], &Trusted::NOBODY);
        let after = of(&[READ], &Trusted::NOBODY);
        let plan = CrossAccountPolicy::plan(&before);
        assert_eq!(plan.changes, [Change::Put { policy: after.policy.clone().unwrap() }]);
        assert!(CrossAccountPolicy::plan(&after).is_empty());
        let undo = CrossAccountPolicy::revert(&before, &after);
        assert_eq!(undo.changes, [Change::Put { policy: before.policy.unwrap() }]);
    }

    #[test]
    fn a_policy_left_empty_is_deleted() {
        let plan = CrossAccountPolicy::plan(&of(&[STRANGER], &Trusted::NOBODY));
        assert_eq!(plan.changes, [Change::Delete]);
    }

    #[test]
    fn whom_the_policy_file_trusts_stays() {
        let trusted = trusting(&["999999999999", "888888888888"], &["o-a1b2c3d4e5"]);
        let found = of(&[STRANGER, ORGANISATION], &trusted);
        assert!(CrossAccountPolicy::plan(&found).is_empty());
        assert_eq!(found.accounts, ["999999999999"], "only what the policy names is noted");
        assert!(CrossAccountPolicy::same(&found, &of(&[STRANGER, ORGANISATION], &Trusted::NOBODY)));
    }

    #[test]
    fn a_bucket_without_policy_is_compliant() {
        let none = State { policy: None, ..of(&[READ], &Trusted::NOBODY) };
        assert!(CrossAccountPolicy::plan(&none).is_empty());
    }

    #[test]
    fn calls_and_findings_name_the_bucket() {
        let call = Trigger::ApiCall {
            service: "s3.amazonaws.com".into(),
            name: "PutBucketPolicy".into(),
            parameters: json!({"bucketName": "photos", "policy": ""}),
            response: json!(null),
            resources: Vec::new(),
        };
        let config = Trigger::ConfigCompliance {
            rule: "securityhub-s3-bucket-blacklisted-actions-prohibited-1a2b".into(),
            resource_type: "AWS::S3::Bucket".into(),
            resource: "photos".into(),
        };
        for trigger in [call, config] {
            let found = CrossAccountPolicy::targets(&signal(trigger.clone()));
            assert_eq!(found, Ok(vec!["photos".parse().unwrap()]), "{trigger:?}");
        }
    }
}
