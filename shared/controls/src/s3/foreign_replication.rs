//! Tells of a bucket that is copied to an unknown account.
//!
//! ## What it fixes
//! Nothing by itself: it tells. A bucket with a replication rule that is enabled and copies to a bucket that is neither of
//! the same account nor of a trusted one. Its own is a bucket that is found among the account's, whatever the rule says.
//! Trusted are the accounts that the policy file names under `[trusted]`, where the rule names one of them as the owner of
//! the replicas: have rules name them (`Destination.Account`). Any other bucket counts as unknown.
//!
//! To write a replication configuration, even one with a rule less, AWS demands the right to pass any role of replication
//! (`iam:PassRole`). With it, whoever takes Quell over could copy every bucket of the account anywhere, so Quell does not
//! have it.
//!
//! ## Why it matters
//! Whatever is written to the bucket is copied from then on, by AWS itself, and no read of a single object is recorded: it
//! is the quietest way to take data out, and goes on when the intruder's keys are gone.
//!
//! ## What can break
//! Nothing. A backup in another account is told of once, until that account is trusted.
//!
//! ## Undo
//! Irreversible: there is nothing to undo. To end the replication, disable or delete the rule; if it is the only one,
//! `aws s3api delete-bucket-replication` does it.

use std::collections::{BTreeMap, HashSet};

use aws_sdk_s3::types::{ReplicationRule, ReplicationRuleStatus};
use quell_engine::{
    Background, CallError, CallErrorKind, Clients, Control, Description, Discovered, During,
    Effect, Listen, Meta, Plan, Progress, Safety, Severity, Signal, aws::OrMissing,
    control::TargetError,
};
use serde::{Deserialize, Serialize};

use super::{
    Bucket,
    client::{LIST, S3, TAGS},
};

pub struct ForeignReplication(S3);

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct State {
    /// Where the bucket is copied to.
    pub copies: Vec<Copied>,
    /// The account whose bucket it is.
    pub account: String,
    /// Of the trusted accounts, those that a rule names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted: Vec<String>,
}

/// What one rule does.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Copied {
    pub rule: String,
    /// The ARN of the destination.
    pub to: String,
    /// Whose the replicas are, if the rule says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The destination is one of the account's own buckets.
    pub is_own: bool,
}

impl Control for ForeignReplication {
    const META: Meta = Meta {
        id: "s3-foreign-replication",
        title: "S3 buckets are not copied to unknown accounts",
        risk: "Everything that is written to the bucket is copied to an account that nobody vouched for.",
        severity: Severity::High,
        safety: Safety::ReportOnly,
        reversible: false,
        satisfies: &["nist-800-53-r5/AC-4", "nist-800-53-r5/SI-4"],
        function: "s3-exposure",
        listens: &[Listen::ApiCall {
            source: "aws.s3",
            service: "s3.amazonaws.com",
            calls: &["PutBucketReplication"],
        }],
        discovers: &[LIST],
        reads: &[READ, TAGS, LIST],
        writes: &[],
        baseline: false,
        visible_within: 30,
        source: file!(),
    };

    type Target = Bucket;
    type State = State;
    type Change = Copied;

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
        let reply = self
            .0
            .api
            .get_bucket_replication()
            .bucket(bucket.as_str())
            .expected_bucket_owner(&self.0.account)
            .send()
            .await
            .during(READ);
        let reply = match reply {
            Err(error) if error.is("NoSuchBucket") => return Ok(None),
            reply => reply.or_missing(&["ReplicationConfigurationNotFoundError"])?,
        };
        let rules = reply.and_then(|reply| reply.replication_configuration);
        let rules = rules.map(|configuration| configuration.rules).unwrap_or_default();
        let mut copies: Vec<Copied> = rules.into_iter().filter_map(Copied::from_sdk).collect();
        let destinations: Vec<Option<Bucket>> =
            copies.iter().map(|copy| copy.to.parse().ok()).collect();
        let names: HashSet<&str> = destinations.iter().flatten().map(Bucket::as_str).collect();
        let owned = self.0.owned(&names).await?;
        for (copy, destination) in copies.iter_mut().zip(&destinations) {
            copy.is_own = destination.as_ref().is_some_and(|to| owned.contains(to.as_str()));
        }
        Ok(Some(State { copies, account: self.0.account.clone(), trusted: Vec::new() }))
    }

    fn inform(state: &mut State, background: &Background<'_, State>) {
        let named = |account: &&String| {
            state.copies.iter().any(|copy| copy.account.as_ref() == Some(*account))
        };
        state.trusted = background.trusted.accounts.iter().filter(named).cloned().collect();
    }

    async fn tags(&self, bucket: &Bucket) -> Result<BTreeMap<String, String>, CallError> {
        self.0.tags(bucket).await
    }

    async fn unique_id(&self, bucket: &Bucket) -> Result<String, CallError> {
        self.0.made_at(bucket).await
    }

    fn plan(state: &State) -> Plan<Copied> {
        state.copies.iter().filter(|copy| !state.is_known(copy)).cloned().collect()
    }

    async fn apply(
        &self,
        _: &Bucket,
        _: &Copied,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        let message = "this control only tells; disable or delete the replication rule";
        Err(CallError::new("s3:PutReplicationConfiguration", CallErrorKind::Refused, message))
    }

    fn revert(_: &State, _: &State) -> Plan<Copied> {
        Plan::nothing()
    }

    fn describe(state: &State, copy: &Copied) -> Description {
        let owner = match &copy.account {
            None => "of an account that the rule does not name".to_owned(),
            Some(account) if *account == state.account && !copy.is_own => {
                format!("as if of {account}, which has no such bucket")
            }
            Some(account) => format!("of {account}"),
        };
        Description {
            action: "s3:PutReplicationConfiguration".into(),
            effect: Effect::Set,
            minus: vec![format!("rule {}: copies to {} {owner}", copy.rule, copy.to)],
            plus: Vec::new(),
        }
    }

    fn console(bucket: &Bucket, region: &str) -> String {
        bucket.console(region).replace("tab=permissions", "tab=management")
    }

    fn arn(bucket: &Bucket, _: &str, region: &str) -> String {
        bucket.arn(region)
    }

    fn same(one: &State, other: &State) -> bool {
        one.copies == other.copies
    }
}

const READ: &str = "s3:GetReplicationConfiguration";

impl State {
    fn is_known(&self, copy: &Copied) -> bool {
        match &copy.account {
            Some(account) if *account != self.account => self.trusted.contains(account),
            // Who names this account does not make the bucket its own.
            _ => copy.is_own,
        }
    }
}

impl Copied {
    /// What an enabled rule does.
    fn from_sdk(rule: ReplicationRule) -> Option<Self> {
        let destination =
            rule.destination.filter(|_| rule.status == ReplicationRuleStatus::Enabled)?;
        Some(Self {
            rule: rule.id.unwrap_or_else(|| "(unnamed)".to_owned()),
            to: destination.bucket,
            account: destination.account,
            is_own: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use quell_engine::{Trigger, policy::Trusted};
    use serde_json::json;

    use super::*;
    use crate::s3::tests::signal;

    const OWN: &str = "123456789012";
    const PARTNER: &str = "444455556666";

    fn copied(account: Option<&str>, is_own: bool) -> Copied {
        Copied {
            rule: "copy".into(),
            to: "arn:aws:s3:::elsewhere".into(),
            account: account.map(str::to_owned),
            is_own,
        }
    }

    fn state(copies: &[Copied], trusted: &[&str]) -> State {
        let mut state = State { copies: copies.into(), account: OWN.into(), trusted: Vec::new() };
        let accounts = trusted.iter().map(|&account| account.to_owned()).collect();
        let trusted = Trusted { accounts, ..Trusted::NOBODY };
        ForeignReplication::inform(&mut state, &Background { trusted: &trusted, baseline: None });
        state
    }

    #[test]
    fn only_what_goes_to_who_is_not_known_is_told() {
        for copy in [copied(Some(PARTNER), false), copied(None, false), copied(Some(OWN), false)] {
            let plan = ForeignReplication::plan(&state(std::slice::from_ref(&copy), &[]));
            assert_eq!(plan.changes, [copy]);
        }
        for copy in [copied(Some(OWN), true), copied(None, true)] {
            assert!(ForeignReplication::plan(&state(&[copy], &[])).is_empty());
        }
        // Who trusts the own account by name has not made a stranger's bucket its own.
        let claimed = state(&[copied(Some(OWN), false)], &[OWN]);
        assert_eq!(ForeignReplication::plan(&claimed).changes.len(), 1);
        let known = state(&[copied(Some(PARTNER), false)], &[PARTNER, "999999999999"]);
        assert!(ForeignReplication::plan(&known).is_empty());
        assert_eq!(known.trusted, [PARTNER], "only whom a rule names is noted");
        assert!(ForeignReplication::plan(&state(&[], &[])).is_empty());
    }

    #[test]
    fn rules_that_are_disabled_copy_nothing() {
        let rule = |status: ReplicationRuleStatus| {
            let to = aws_sdk_s3::types::Destination::builder().bucket("arn:aws:s3:::elsewhere");
            let rule = ReplicationRule::builder().id("copy").status(status);
            rule.destination(to.build().unwrap()).build().unwrap()
        };
        let found = Copied::from_sdk(rule(ReplicationRuleStatus::Enabled));
        assert_eq!(found, Some(copied(None, false)));
        assert_eq!(Copied::from_sdk(rule(ReplicationRuleStatus::Disabled)), None);
    }

    #[test]
    fn a_rule_is_shown_with_where_it_copies_to() {
        let found = state(&[copied(Some(PARTNER), false)], &[]);
        let shown = ForeignReplication::describe(&found, &found.copies[0]);
        assert_eq!(shown.minus, ["rule copy: copies to arn:aws:s3:::elsewhere of 444455556666"]);
        let claimed = state(&[copied(Some(OWN), false)], &[]);
        let shown = ForeignReplication::describe(&claimed, &claimed.copies[0]);
        let told = "rule copy: copies to arn:aws:s3:::elsewhere as if of 123456789012, which has no such bucket";
        assert_eq!(shown.minus, [told]);
    }

    #[test]
    fn the_call_names_the_bucket() {
        let call = Trigger::ApiCall {
            service: "s3.amazonaws.com".into(),
            name: "PutBucketReplication".into(),
            parameters: json!({"bucketName": "photos", "replication": ""}),
            response: json!(null),
            resources: Vec::new(),
        };
        let found = ForeignReplication::targets(&signal(call));
        assert_eq!(found, Ok(vec!["photos".parse().unwrap()]));
    }
}
