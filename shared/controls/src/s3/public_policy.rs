//! Takes public statements out of a bucket's policy.
//!
//! ## What it fixes
//! A bucket whose policy allows something to everyone, by
//! [AWS's meaning of "public"](https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html#access-control-block-public-access-policy-status):
//! an `Allow` to `*`, to a `NotPrincipal` or to a federated identity that no condition narrows to fixed values. These
//! conditions narrow, with values that hold no wildcard and no policy variable: `aws:SourceIp` (no wider than /8 for
//! IPv4 and /32 for IPv6), `aws:SourceArn`, `aws:SourceVpc`, `aws:SourceVpce`, `aws:SourceOwner`, `aws:SourceAccount`,
//! `s3:x-amz-server-side-encryption-aws-kms-key-id`, `aws:userid` (not a role's session, `AROLEID:*`),
//! `s3:DataAccessPointArn` (the access point's name may be a wildcard), `s3:DataAccessPointAccount`, and those that
//! name a principal: `aws:PrincipalOrgID`, `aws:PrincipalOrgPaths`, `aws:PrincipalAccount`, `aws:PrincipalArn`,
//! `aws:PrincipalServiceName`. Negated operators, `…IfExists`, `ForAllValues:`, `Null` and all other keys do not
//! narrow. Each value is judged by itself, as AWS does: a list of many narrow address ranges counts as narrow.
//!
//! Exactly those statements go. Where `*` stands in a list beside fixed principals, only `*` goes. All other statements
//! keep their order and their bytes, and `Deny` statements are never touched. A policy of which nothing is left is
//! deleted.
//!
//! A policy that cannot be read (not JSON, a key twice, elements that AWS does not know) is reported as failed and left
//! as it is.
//!
//! The statements go even where `RestrictPublicBuckets` keeps strangers out for now. That switch is one call away from
//! being off, and while it is on, a single public statement makes S3 refuse every other account that the policy names;
//! without the statement they get in again. The message says when the switch is on, because it makes the matter less
//! urgent.
//!
//! ## Why it matters
//! Anyone on the internet can do what the statement allows: read the data, overwrite it, or delete it.
//!
//! ## What can break
//! Websites and downloads that are served straight from the bucket answer 403. Clients in your own account that had
//! their access from the public statement alone lose it. If another statement names a principal that was deleted since
//! (it shows as `AIDA…` or `AROA…`), AWS refuses to store the policy, and Quell reports that it failed.
//!
//! ## Undo
//! Stores the old text again. AWS refuses this if Block Public Access (`BlockPublicPolicy`) was switched on since; this
//! is reported in words, and nothing changes.

use std::collections::BTreeMap;

use quell_engine::{
    CallError, CallErrorKind, Clients, Control, Description, Discovered, During, Effect, Listen,
    Meta, Plan, Progress, Safety, Severity, Signal, aws::OrMissing, control::TargetError,
};
use serde::{Deserialize, Serialize};

use super::{
    Bucket, Level,
    client::{LIST, S3, TAGS, blocked},
};
use crate::policy::{
    document::{self, Left, Unreadable},
    who::Policy,
};

pub struct PublicPolicy(S3);

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct State {
    /// The text as S3 gives it. `None`: the bucket has no policy.
    pub policy: Option<String>,
    /// Where `RestrictPublicBuckets` is on.
    pub restricted: Option<Level>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    Put { policy: String },
    Delete,
}

impl Control for PublicPolicy {
    const META: Meta = Meta {
        id: "s3-public-policy",
        title: "S3 bucket policies allow nothing to the public",
        risk: "The policy of the bucket lets anyone on the internet in, without a condition that narrows who.",
        severity: Severity::Critical,
        safety: Safety::NeedsApproval,
        reversible: true,
        satisfies: &[
            "securityhub/S3.2",
            "securityhub/S3.3",
            "pci-dss-3.2.1/1.2.1",
            "pci-dss-3.2.1/1.3.1",
            "nist-800-53-r5/AC-3",
            "nist-800-53-r5/AC-6",
        ],
        function: "s3-exposure",
        listens: &[
            Listen::ApiCall {
                source: "aws.s3",
                service: "s3.amazonaws.com",
                calls: &["PutBucketPolicy"],
            },
            Listen::GuardDuty {
                types: &[
                    "Policy:S3/BucketAnonymousAccessGranted",
                    "Policy:S3/BucketPublicAccessGranted",
                ],
                min_severity: 0.0,
            },
            Listen::SecurityHub {
                generators: &["/S3.2", "/S3.3", "/PCI.S3.1", "/PCI.S3.2"],
                resource_type: "AwsS3Bucket",
            },
            Listen::Config {
                rules: &[
                    "s3-bucket-policy-grantee-check",
                    "s3-bucket-public-read-prohibited",
                    "s3-bucket-public-write-prohibited",
                ],
                resource_type: "AWS::S3::Bucket",
            },
            Listen::AccessAnalyzer { resource_type: "AWS::S3::Bucket" },
        ],
        discovers: &[LIST],
        reads: &[
            "s3:GetAccountPublicAccessBlock",
            "s3:GetBucketPolicy",
            "s3:GetBucketPublicAccessBlock",
            TAGS,
            LIST,
        ],
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
        let read = tokio::try_join!(
            policy_of(&self.0, bucket),
            self.0.switches(bucket),
            self.0.account_switches(),
        );
        let Some((policy, own, account)) = read.or_missing(&["NoSuchBucket"])? else {
            return Ok(None);
        };
        let restricted = Level::of(|switches| switches.restrict_public_buckets, own, account);
        Ok(Some(State { policy, restricted }))
    }

    async fn assess_again(
        &self,
        bucket: &Bucket,
        known: &State,
    ) -> Result<Option<State>, CallError> {
        let policy = policy_of(&self.0, bucket).await.or_missing(&["NoSuchBucket"])?;
        Ok(policy.map(|policy| State { policy, restricted: known.restricted }))
    }

    async fn tags(&self, bucket: &Bucket) -> Result<BTreeMap<String, String>, CallError> {
        self.0.tags(bucket).await
    }

    async fn unique_id(&self, bucket: &Bucket) -> Result<String, CallError> {
        self.0.made_at(bucket).await
    }

    fn plan(state: &State) -> Plan<Change> {
        state.read().map_or_else(Plan::nothing, |policy| Change::from(policy.without_public()))
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

    fn notes(state: &State) -> Vec<String> {
        match state.restricted {
            Some(level) if state.read().is_some_and(|policy| policy.is_public()) => vec![format!(
                "RestrictPublicBuckets is on for {level}: for now only the account itself and AWS services get in, \
                 and no other account that the policy names"
            )],
            _ => Vec::new(),
        }
    }

    /// The policy alone is changed and given back.
    fn same(one: &State, other: &State) -> bool {
        is_same(one.policy.as_deref(), other.policy.as_deref())
    }
}

/// One that can be read, or none.
pub(super) async fn policy_of(s3: &S3, bucket: &Bucket) -> Result<Option<String>, CallError> {
    let reply = s3
        .api
        .get_bucket_policy()
        .bucket(bucket.as_str())
        .expected_bucket_owner(&s3.account)
        .send()
        .await
        .during("s3:GetBucketPolicy")
        .or_missing(&["NoSuchBucketPolicy"])?;
    let policy = reply.and_then(|reply| reply.policy);
    if let Some(text) = &policy {
        Policy::parse(text).map_err(unreadable)?;
    }
    Ok(policy)
}

pub(super) fn unreadable(why: Unreadable) -> CallError {
    let message = format!("{why}; look at it and remove by hand what is open");
    CallError::new("s3:GetBucketPolicy", CallErrorKind::Refused, message)
}

pub(super) fn is_same(one: Option<&str>, other: Option<&str>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => document::same(one, other),
        (one, other) => one == other,
    }
}

impl Change {
    /// What brings a policy.
    pub(super) fn to(policy: Option<&str>) -> Self {
        match policy {
            Some(policy) => Self::Put { policy: policy.to_owned() },
            None => Self::Delete,
        }
    }

    pub(super) fn from(left: Left) -> Plan<Self> {
        match left {
            Left::Same => Plan::nothing(),
            Left::Rest(policy) => Plan::one(Self::Put { policy }),
            Left::Nothing => Plan::one(Self::Delete),
        }
    }

    pub(super) async fn make(&self, s3: &S3, bucket: &Bucket) -> Result<Option<String>, CallError> {
        match self {
            Self::Put { policy } => {
                let put = s3.api.put_bucket_policy().bucket(bucket.as_str()).policy(policy);
                put.expected_bucket_owner(&s3.account)
                    .send()
                    .await
                    .during("s3:PutBucketPolicy")
                    .map_err(|error| refusal(error, policy))?;
            }
            Self::Delete => {
                let delete = s3.api.delete_bucket_policy().bucket(bucket.as_str());
                delete
                    .expected_bucket_owner(&s3.account)
                    .send()
                    .await
                    .during("s3:DeleteBucketPolicy")?;
            }
        }
        Ok(None)
    }

    /// With the statements that it takes away and brings.
    pub(super) fn described(&self, now: Option<&str>) -> Description {
        let (action, text) = match self {
            Self::Put { policy } => ("s3:PutBucketPolicy", Some(policy.as_str())),
            Self::Delete => ("s3:DeleteBucketPolicy", None),
        };
        let (now, then) = (lines(now), lines(text));
        Description {
            action: action.into(),
            effect: Effect::Set,
            minus: beyond(&now, &then),
            plus: beyond(&then, &now),
        }
    }
}

impl State {
    /// `assess` lets no other policy through than one that can be read.
    fn read(&self) -> Option<Policy<'_>> {
        self.policy.as_deref().and_then(|text| Policy::parse(text).ok())
    }
}

fn lines(policy: Option<&str>) -> Vec<String> {
    match policy {
        None => Vec::new(),
        Some(text) => {
            Policy::parse(text).map_or_else(|_| vec![text.to_owned()], |policy| policy.lines())
        }
    }
}

/// The lines of `one` that `other` does not have.
fn beyond(one: &[String], other: &[String]) -> Vec<String> {
    let mut others: Vec<&String> = other.iter().collect();
    let mut lines = Vec::new();
    for line in one {
        match others.iter().position(|other| *other == line) {
            Some(found) => {
                others.swap_remove(found);
            }
            None => lines.push(line.clone()),
        }
    }
    lines
}

fn refusal(error: CallError, text: &str) -> CallError {
    if Policy::parse(text).is_ok_and(|policy| policy.is_public()) {
        blocked(error, "policy", "BlockPublicPolicy")
    } else {
        error
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quell_engine::Trigger;
    use serde_json::json;

    use super::*;
    use crate::s3::tests::signal;

    const OWN: &str = r#"{"Sid":"own","Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"s3:*","Resource":"*"}"#;
    const OPEN: &str =
        r#"{"Sid":"open","Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"*"}"#;
    const MIXED: &str =
        r#"{"Effect":"Allow","Principal":{"AWS":["*","1"]},"Action":"s3:*","Resource":"*"}"#;

    fn of(statements: &[&str]) -> State {
        let policy = format!("{{ \"Statement\": [{}] }}", statements.join(" , "));
        State { policy: Some(policy), restricted: None }
    }

    fn after(state: &State, plan: Plan<Change>) -> State {
        let mut state = state.clone();
        for change in plan.changes {
            state.policy = match change {
                Change::Put { policy } => Some(policy),
                Change::Delete => None,
            };
        }
        state
    }

    #[test]
    fn public_statements_go_and_others_stay() {
        let found = of(&[OWN, OPEN]);
        let plan = PublicPolicy::plan(&found);
        assert_eq!(plan.changes, [Change::Put { policy: of(&[OWN]).policy.unwrap() }]);

        let described = PublicPolicy::describe(&found, &plan.changes[0]);
        assert_eq!(described.action, "s3:PutBucketPolicy");
        assert_eq!((described.minus, described.plus), (vec![OPEN.to_owned()], Vec::new()));
    }

    #[test]
    fn a_policy_left_empty_is_deleted() {
        let found = of(&[OPEN]);
        let plan = PublicPolicy::plan(&found);
        assert_eq!(plan.changes, [Change::Delete]);
        let described = PublicPolicy::describe(&found, &Change::Delete);
        assert_eq!(described.action, "s3:DeleteBucketPolicy");
        assert_eq!(described.minus, [OPEN]);
    }

    #[test]
    fn a_narrowed_statement_is_shown_before_and_after() {
        let found = of(&[MIXED]);
        let plan = PublicPolicy::plan(&found);
        let described = PublicPolicy::describe(&found, &plan.changes[0]);
        assert_eq!(described.minus, [MIXED]);
        assert_eq!(described.plus, [MIXED.replace("\"*\",\"1\"", "\"1\"")]);
    }

    #[test]
    fn nothing_is_planned_without_a_public_statement() {
        assert!(PublicPolicy::plan(&of(&[OWN])).is_empty());
        assert!(PublicPolicy::plan(&State { policy: None, restricted: None }).is_empty());
        let unreadable = State { policy: Some("{".into()), restricted: None };
        assert!(PublicPolicy::plan(&unreadable).is_empty());
    }

    #[test]
    fn a_switch_that_keeps_strangers_out_is_noted_but_no_reason_to_leave_it() {
        let found = State { restricted: Some(Level::Account), ..of(&[OPEN]) };
        assert!(!PublicPolicy::plan(&found).is_empty());
        assert!(PublicPolicy::notes(&found)[0].contains("on for the account"));
        assert!(PublicPolicy::notes(&of(&[OPEN])).is_empty());
        let private = State { restricted: Some(Level::Bucket), ..of(&[OWN]) };
        assert!(PublicPolicy::notes(&private).is_empty());
    }

    #[test]
    fn an_undo_that_block_public_access_refuses_says_so() {
        let denied = CallError {
            code: Some("AccessDenied".into()),
            ..CallError::new("s3:PutBucketPolicy", CallErrorKind::Denied, "Access Denied")
        };
        let public = of(&[OPEN]).policy.unwrap();
        assert!(refusal(denied.clone(), &public).message.contains("BlockPublicPolicy"));
        assert_eq!(refusal(denied.clone(), &of(&[OWN]).policy.unwrap()), denied);
    }

    #[test]
    fn calls_and_findings_name_the_bucket() {
        let bucket: Bucket = "photos".parse().unwrap();
        let call = Trigger::ApiCall {
            service: "s3.amazonaws.com".into(),
            name: "PutBucketPolicy".into(),
            parameters: json!({"bucketName": "photos", "policy": [""], "bucketPolicy": {"Statement": []}}),
            response: json!(null),
            resources: Vec::new(),
        };
        let config = Trigger::ConfigCompliance {
            rule: "securityhub-s3-bucket-public-read-prohibited-1a2b".into(),
            resource_type: "AWS::S3::Bucket".into(),
            resource: "photos".into(),
        };
        let hub = Trigger::SecurityHub {
            generator: "security-control/S3.2".into(),
            resource_type: "AwsS3Bucket".into(),
            resource: "arn:aws:s3:::photos".into(),
            action: None,
        };
        let analyzer = Trigger::AccessAnalyzer {
            resource_type: "AWS::S3::Bucket".into(),
            resource: "arn:aws:s3:::photos".into(),
            public: true,
        };
        let person =
            Trigger::Manual { control: "s3-public-policy".into(), resource: "photos".into() };
        for trigger in [call, config, hub, analyzer, person] {
            let found = PublicPolicy::targets(&signal(trigger.clone()));
            assert_eq!(found, Ok(vec![bucket.clone()]), "{trigger:?}");
        }
    }

    proptest! {
        #[test]
        fn the_plan_leaves_nothing_public_and_undo_brings_all_back(
            statements in proptest::collection::vec(
                prop_oneof![Just(OWN), Just(OPEN), Just(MIXED)], 1..6),
        ) {
            let before = of(&statements);
            let fixed = after(&before, PublicPolicy::plan(&before));
            prop_assert!(PublicPolicy::plan(&fixed).is_empty());
            let undone = after(&fixed, PublicPolicy::revert(&before, &fixed));
            prop_assert_eq!(undone, before);
        }
    }
}
