//! Brings a bucket's default encryption back from where it was weakened.
//!
//! ## What it fixes
//! A bucket whose default encryption was with a key of AWS KMS when a sweep last saw it, and is weaker now: with S3's own
//! keys (SSE-S3), with one layer instead of two, with the key that AWS manages instead of one's own, with a key of an
//! account that is neither one's own nor trusted, or with the same key but a bucket key where there was none (fewer uses of
//! the KMS key are asked for and recorded then). The algorithm, the key and the bucket key setting of then are set again;
//! which kinds of encryption are blocked for uploads stays as it is.
//!
//! Without such a baseline nothing is violating: since January 2023 AWS encrypts everything at least with SSE-S3, and
//! `DeleteBucketEncryption` goes back to that. A change from one key of one's own to another counts as meant, and so does
//! one that protects more: to two layers, or to no bucket key.
//!
//! ## Why it matters
//! Who may read the bucket may then read its new objects without being allowed to use the key, and no use of the key is
//! recorded. With a key of a stranger's account, the stranger decides who can read the data: that is ransom.
//!
//! ## What can break
//! Readers and writers that are not allowed to use the key, those in other accounts above all, are refused what is
//! uploaded from then on. Objects keep the encryption that they were uploaded with. If the key was deleted, or disabled,
//! uploads fail until the encryption is changed or this is undone.
//!
//! ## Undo
//! Sets the default encryption exactly as it was.

use std::collections::BTreeMap;

use aws_sdk_s3::types::{
    BlockedEncryptionTypes, EncryptionType, ServerSideEncryption, ServerSideEncryptionByDefault,
    ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
};
use quell_engine::{
    Background, CallError, CallErrorKind, Clients, Control, Description, Discovered, During,
    Effect, Listen, Meta, Plan, Progress, Safety, Severity, Signal, aws::OrMissing,
    control::TargetError,
};
use serde::{Deserialize, Serialize};

use super::{
    Bucket,
    client::{Elements, LIST, S3, TAGS},
};

pub struct Encryption(S3);

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct State {
    pub found: ByDefault,
    /// Kinds of encryption that uploads may not use, such as `SSE-C`. `None`: AWS does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<Vec<String>>,
    /// What the baseline had, where what was found is weaker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<ByDefault>,
    /// The account whose bucket it is.
    pub account: String,
}

/// How objects are encrypted that are uploaded without a word on it.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ServerSideEncryptionByDefault.html>
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ByDefault {
    /// `AES256`, `aws:kms` or `aws:kms:dsse`.
    pub algorithm: String,
    /// Id, alias or ARN, as it was set. `None`: the key that AWS manages, where the algorithm is one of KMS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Whether one key of the bucket's stands for many uses of the KMS key.
    pub bucket_key: bool,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct SetDefault {
    pub default: ByDefault,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<Vec<String>>,
}

impl Control for Encryption {
    const META: Meta = Meta {
        id: "s3-encryption",
        title: "S3 buckets keep their encryption with KMS",
        risk: "New objects of the bucket are encrypted more weakly than before, or with a stranger's key.",
        severity: Severity::Medium,
        safety: Safety::NeedsApproval,
        reversible: true,
        // Not `securityhub/S3.17`: that wants KMS for every bucket.
        satisfies: &["nist-800-53-r5/SC-12", "nist-800-53-r5/SC-28"],
        function: "s3-exposure",
        listens: &[
            Listen::ApiCall {
                source: "aws.s3",
                service: "s3.amazonaws.com",
                calls: &["DeleteBucketEncryption", "PutBucketEncryption"],
            },
            Listen::SecurityHub { generators: &["/S3.17"], resource_type: "AwsS3Bucket" },
            Listen::Config {
                rules: &["s3-default-encryption-kms"],
                resource_type: "AWS::S3::Bucket",
            },
        ],
        discovers: &[LIST],
        reads: &["s3:GetEncryptionConfiguration", TAGS, LIST],
        writes: &["s3:PutEncryptionConfiguration"],
        baseline: true,
        visible_within: 30,
        source: file!(),
    };

    type Target = Bucket;
    type State = State;
    type Change = SetDefault;

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
        let elements = Elements::known(&KNOWN);
        let reply = self
            .0
            .api
            .get_bucket_encryption()
            .bucket(bucket.as_str())
            .expected_bucket_owner(&self.0.account)
            .customize()
            .interceptor(elements.clone())
            .send()
            .await
            .during(READ)
            .or_missing(&["NoSuchBucket"])?;
        let Some(reply) = reply else { return Ok(None) };
        elements.are_all_known(READ)?;
        let rules = reply.server_side_encryption_configuration.map(|found| found.rules);
        // AWS takes and gives one rule alone.
        let rule = rules.and_then(|rules| <[_; 1]>::try_from(rules).ok());
        let Some([rule]) = rule else {
            let message = "AWS did not answer with one rule of default encryption";
            return Err(CallError::new(READ, CallErrorKind::Refused, message));
        };
        let default = rule.apply_server_side_encryption_by_default;
        let found = ByDefault {
            algorithm: default
                .as_ref()
                .map_or(S3_KEYS, |default| default.sse_algorithm.as_str())
                .to_owned(),
            key: default.and_then(|default| default.kms_master_key_id),
            bucket_key: rule.bucket_key_enabled == Some(true),
        };
        let blocked = rule.blocked_encryption_types.map(|blocked| {
            let kinds = blocked.encryption_type.unwrap_or_default();
            kinds.iter().map(|kind| kind.as_str().to_owned()).collect()
        });
        Ok(Some(State { found, blocked, restore: None, account: self.0.account.clone() }))
    }

    fn inform(state: &mut State, background: &Background<'_, State>) {
        let baseline = background.baseline.map(|baseline| &baseline.found);
        let trusted = &background.trusted.accounts;
        let is_weaker =
            |before: &&ByDefault| state.found.is_weaker_than(before, &state.account, trusted);
        state.restore = baseline.filter(is_weaker).cloned();
    }

    async fn tags(&self, bucket: &Bucket) -> Result<BTreeMap<String, String>, CallError> {
        self.0.tags(bucket).await
    }

    async fn unique_id(&self, bucket: &Bucket) -> Result<String, CallError> {
        self.0.made_at(bucket).await
    }

    fn plan(state: &State) -> Plan<SetDefault> {
        match &state.restore {
            Some(default) => {
                Plan::one(SetDefault { default: default.clone(), blocked: state.blocked.clone() })
            }
            None => Plan::nothing(),
        }
    }

    async fn apply(
        &self,
        bucket: &Bucket,
        SetDefault { default, blocked }: &SetDefault,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        let unfit = |error: &dyn std::error::Error| {
            CallError::new(WRITE, CallErrorKind::Refused, error.to_string())
        };
        let by_default = ServerSideEncryptionByDefault::builder()
            .sse_algorithm(ServerSideEncryption::from(default.algorithm.as_str()))
            .set_kms_master_key_id(default.key.clone())
            .build()
            .map_err(|error| unfit(&error))?;
        let blocked = blocked.as_ref().map(|kinds| {
            let kinds = kinds.iter().map(|kind| EncryptionType::from(kind.as_str())).collect();
            BlockedEncryptionTypes::builder().set_encryption_type(Some(kinds)).build()
        });
        let rule = ServerSideEncryptionRule::builder()
            .apply_server_side_encryption_by_default(by_default)
            .bucket_key_enabled(default.bucket_key)
            .set_blocked_encryption_types(blocked)
            .build();
        let configuration = ServerSideEncryptionConfiguration::builder().rules(rule).build();
        self.0
            .api
            .put_bucket_encryption()
            .bucket(bucket.as_str())
            .expected_bucket_owner(&self.0.account)
            .server_side_encryption_configuration(configuration.map_err(|error| unfit(&error))?)
            .send()
            .await
            .during(WRITE)?;
        Ok(None)
    }

    fn revert(before: &State, after: &State) -> Plan<SetDefault> {
        if Self::same(before, after) {
            return Plan::nothing();
        }
        Plan::one(SetDefault { default: before.found.clone(), blocked: before.blocked.clone() })
    }

    fn describe(state: &State, change: &SetDefault) -> Description {
        let (now, then) = (state.found.lines(), change.default.lines());
        let beyond = |one: &[String], other: &[String]| {
            one.iter().filter(|line| !other.contains(line)).cloned().collect()
        };
        Description {
            action: WRITE.into(),
            effect: Effect::Set,
            minus: beyond(&now, &then),
            plus: beyond(&then, &now),
        }
    }

    fn console(bucket: &Bucket, region: &str) -> String {
        bucket.console(region)
    }

    fn arn(bucket: &Bucket, _: &str, region: &str) -> String {
        bucket.arn(region)
    }

    /// What is found in the bucket, without what the baseline adds to it.
    fn same(one: &State, other: &State) -> bool {
        one.found == other.found && one.blocked == other.blocked
    }
}

const READ: &str = "s3:GetEncryptionConfiguration";
const WRITE: &str = "s3:PutEncryptionConfiguration";

/// SSE-S3.
const S3_KEYS: &str = "AES256";

/// What this version can give back.
const KNOWN: [&str; 8] = [
    "ApplyServerSideEncryptionByDefault",
    "BlockedEncryptionTypes",
    "BucketKeyEnabled",
    "EncryptionType",
    "KMSMasterKeyID",
    "Rule",
    "SSEAlgorithm",
    "ServerSideEncryptionConfiguration",
];

impl ByDefault {
    /// Whether it protects less than what was there before.
    fn is_weaker_than(&self, before: &Self, account: &str, trusted: &[String]) -> bool {
        let is_known = |owner: &str| owner == account || trusted.iter().any(|one| one == owner);
        match (strength(&before.algorithm), strength(&self.algorithm)) {
            // What is not known is not judged, and nothing is weaker than S3's own keys.
            (None | Some(0), _) | (_, None) => false,
            (Some(then), Some(now)) if now < then => true,
            // Two layers allow no bucket key: it goes off where the second comes.
            (then, now) if self.key == before.key => {
                then == now && !before.bucket_key && self.bucket_key
            }
            _ => {
                let is_strange = |key: &Self| key.owner().is_some_and(|owner| !is_known(owner));
                before.is_own() && !self.is_own() || is_strange(self) && !is_strange(before)
            }
        }
    }

    /// Whether the key is one that customers manage.
    fn is_own(&self) -> bool {
        self.key
            .as_ref()
            .is_some_and(|key| key != "alias/aws/s3" && !key.ends_with(":alias/aws/s3"))
    }

    /// The account of the key, where its name says so: an id or alias alone is one of the bucket's account.
    fn owner(&self) -> Option<&str> {
        let key = self.key.as_deref().filter(|key| key.starts_with("arn:"))?;
        key.split(':').nth(4)
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("SSEAlgorithm: {}", self.algorithm)];
        lines.extend(self.key.as_ref().map(|key| format!("KMSMasterKeyID: {key}")));
        lines.push(format!("BucketKeyEnabled: {}", self.bucket_key));
        lines
    }
}

/// How many layers of KMS.
fn strength(algorithm: &str) -> Option<u8> {
    match algorithm {
        S3_KEYS => Some(0),
        "aws:kms" => Some(1),
        "aws:kms:dsse" => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quell_engine::{Trigger, policy::Trusted};
    use serde_json::json;

    use super::*;
    use crate::s3::tests::signal;

    const OWN: &str = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd";
    const OTHER: &str = "arn:aws:kms:eu-west-1:123456789012:key/5678efab";
    const STRANGE: &str = "arn:aws:kms:eu-west-1:444455556666:key/1234abcd";

    fn with(algorithm: &str, key: Option<&str>, bucket_key: bool) -> ByDefault {
        ByDefault { algorithm: algorithm.into(), key: key.map(str::to_owned), bucket_key }
    }

    fn state(found: ByDefault) -> State {
        State { found, blocked: None, restore: None, account: "123456789012".into() }
    }

    fn informed(found: &ByDefault, baseline: Option<&ByDefault>, trusted: &[&str]) -> State {
        let accounts = trusted.iter().map(|&account| account.to_owned()).collect();
        let trusted = Trusted { accounts, ..Trusted::NOBODY };
        let baseline = baseline.cloned().map(state);
        let mut state = state(found.clone());
        Encryption::inform(
            &mut state,
            &Background { trusted: &trusted, baseline: baseline.as_ref() },
        );
        state
    }

    #[test]
    fn without_a_baseline_nothing_is_violating() {
        for found in [with(S3_KEYS, None, false), with("aws:kms", Some(STRANGE), true)] {
            assert!(Encryption::plan(&informed(&found, None, &[])).is_empty(), "{found:?}");
        }
    }

    #[test]
    fn what_is_weaker_than_the_baseline_is_set_back() {
        let kms = with("aws:kms", Some(OWN), true);
        for (before, now) in [
            (kms.clone(), with(S3_KEYS, None, false)),
            (kms.clone(), with("aws:kms", None, true)),
            (kms.clone(), with("aws:kms", Some("alias/aws/s3"), true)),
            (kms.clone(), with("aws:kms", Some(STRANGE), true)),
            (kms.clone(), with("aws:kms:dsse", Some(STRANGE), true)),
            (with("aws:kms", Some(OWN), false), kms.clone()),
            (with("aws:kms:dsse", Some(OWN), false), with("aws:kms", Some(OWN), false)),
            (with("aws:kms", None, false), with(S3_KEYS, None, false)),
        ] {
            let plan = Encryption::plan(&informed(&now, Some(&before), &[]));
            let wanted = SetDefault { default: before.clone(), blocked: None };
            assert_eq!(plan.changes, [wanted], "{before:?} {now:?}");
        }
    }

    #[test]
    fn what_is_as_strong_is_left() {
        let kms = with("aws:kms", Some(OWN), true);
        for (before, now) in [
            (kms.clone(), kms.clone()),
            (kms.clone(), with("aws:kms", Some(OTHER), true)),
            (kms.clone(), with("aws:kms", Some("alias/data"), false)),
            (kms.clone(), with("aws:kms", Some(OWN), false)),
            (kms.clone(), with("aws:kms:dsse", Some(OWN), false)),
            (kms.clone(), with("aws:kms:dsse", Some(OTHER), false)),
            (with(S3_KEYS, None, false), with("aws:kms", Some(OWN), true)),
            (with(S3_KEYS, None, false), with(S3_KEYS, None, true)),
            (with("aws:kms", Some(STRANGE), true), with("aws:kms", Some(STRANGE), true)),
            (with("aws:new", None, true), with(S3_KEYS, None, true)),
        ] {
            let state = informed(&now, Some(&before), &[]);
            assert!(Encryption::plan(&state).is_empty(), "{before:?} {now:?}");
        }
        let moved = with("aws:kms", Some(STRANGE), true);
        assert!(Encryption::plan(&informed(&moved, Some(&kms), &["444455556666"])).is_empty());
    }

    #[test]
    fn what_is_blocked_for_uploads_stays_blocked() {
        let kms = with("aws:kms", Some(OWN), true);
        let mut found = informed(&with(S3_KEYS, None, false), Some(&kms), &[]);
        found.blocked = Some(vec!["SSE-C".into()]);
        let plan = Encryption::plan(&found);
        assert_eq!(plan.changes[0].blocked, found.blocked);
        let after = State { found: kms, restore: None, ..found.clone() };
        let undo = Encryption::revert(&found, &after);
        assert_eq!(undo.changes[0].default, found.found);
        assert_eq!(undo.changes[0].blocked, found.blocked);
    }

    #[test]
    fn only_what_differs_is_shown() {
        let kms = with("aws:kms", Some(OWN), false);
        let found = informed(&with(S3_KEYS, None, false), Some(&kms), &[]);
        let shown = Encryption::describe(&found, &Encryption::plan(&found).changes[0]);
        assert_eq!(shown.minus, ["SSEAlgorithm: AES256"]);
        assert_eq!(shown.plus, ["SSEAlgorithm: aws:kms".into(), format!("KMSMasterKeyID: {OWN}")]);
    }

    #[test]
    fn calls_name_the_bucket() {
        for name in ["DeleteBucketEncryption", "PutBucketEncryption"] {
            let call = Trigger::ApiCall {
                service: "s3.amazonaws.com".into(),
                name: name.into(),
                parameters: json!({"bucketName": "photos", "encryption": ""}),
                response: json!(null),
                resources: Vec::new(),
            };
            let found = Encryption::targets(&signal(call));
            assert_eq!(found, Ok(vec!["photos".parse().unwrap()]), "{name}");
        }
    }

    fn default() -> impl Strategy<Value = ByDefault> {
        let algorithm = "AES256|aws:kms|aws:kms:dsse|new";
        let key = prop_oneof![
            Just(None),
            "alias/aws/s3|alias/data|1234abcd".prop_map(Some),
            prop_oneof![Just(OWN), Just(OTHER), Just(STRANGE)].prop_map(|key| Some(key.to_owned())),
        ];
        (algorithm, key, any::<bool>()).prop_map(|(algorithm, key, bucket_key)| ByDefault {
            algorithm,
            key,
            bucket_key,
        })
    }

    proptest! {
        #[test]
        fn the_baseline_is_never_weaker_than_itself_and_undo_is_exact(
            before in default(), baseline in default(),
        ) {
            let before = informed(&before, Some(&baseline), &[]);
            let mut after = before.clone();
            for change in Encryption::plan(&before).changes {
                after.found = change.default;
            }
            let fixed = informed(&after.found, Some(&baseline), &[]);
            prop_assert!(Encryption::plan(&fixed).is_empty());
            let undo = Encryption::revert(&before, &after);
            let undone = undo.changes.last().map_or(&after.found, |change| &change.default);
            prop_assert_eq!(undone, &before.found);
        }
    }
}
