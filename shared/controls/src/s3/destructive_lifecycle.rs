//! Takes lifecycle rules out of force that empty a bucket within days.
//!
//! ## What it fixes
//! A bucket with a lifecycle rule that is enabled and
//! - covers the whole bucket, or the logs that AWS services write: its prefix is empty, `*` (which attack tools write for
//!   "everything"), or begins with `AWSLogs/`, and it asks for no tag. A limit of size makes it no narrower;
//! - and deletes soon: current objects after at most 7 days, or on a date that is past or at most 7 days ahead, however
//!   young they are; or noncurrent versions after at most 7 days, without keeping any. A date further ahead counts once it
//!   is that near: a sweep finds it.
//!
//! Only destructive rules change. If a sweep saw the bucket before, and it had a rule of the same ID then that was not
//! destructive, that one is set back, unless it deletes on a date. Otherwise the destructive rule is disabled, and stays
//! to be seen. Every other rule stays as it is, and one that was deleted stays deleted.
//!
//! Unless none of the IDs of then is left, which is how the whole configuration is replaced by one call: then the rules of
//! then that delete nothing, such as those that archive, are put back beside, as far as S3's 1,000 rules allow, with the
//! least size of what they move. Those that delete anything are only named.
//!
//! A rule with a narrower prefix, such as `tmp/`, is what lifecycle rules are for, and is left alone.
//!
//! ## Why it matters
//! One call has AWS itself delete everything, without a single delete call that anyone would see: ransom notes are sent
//! and trails are blinded this way. Attack tools set one day. Rules are applied once a day, around midnight UTC, so that
//! there are hours to prevent it.
//!
//! ## What can break
//! Buckets that are meant to be emptied every few days, such as scratch space, fill up and cost. Name them in an exemption,
//! or have the rule ask for a prefix or a tag. What AWS has deleted already does not come back, unless versions of it are
//! left.
//!
//! ## Undo
//! Sets the rules exactly as they were.

use std::{collections::BTreeMap, time::SystemTime};

use aws_sdk_s3::{
    error::BuildError,
    primitives::{DateTime, DateTimeFormat},
    types::{
        self, AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, ExpirationStatus,
        LifecycleExpiration, LifecycleRule, LifecycleRuleAndOperator, LifecycleRuleFilter,
        TransitionDefaultMinimumObjectSize, TransitionStorageClass,
    },
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

pub struct DestructiveLifecycle(S3);

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct State {
    pub lifecycle: Lifecycle,
    /// The dates of broad rules that were past, or at most 7 days ahead, when AWS was asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub due_dates: Vec<String>,
    /// What a sweep saw before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<Lifecycle>,
}

/// The lifecycle configuration of a bucket. No rule: none is configured.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLifecycleConfiguration.html>
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Lifecycle {
    pub rules: Vec<Rule>,
    /// `TransitionDefaultMinimumObjectSize`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<String>,
}

/// A rule, in the form of AWS's own JSON.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Rule {
    #[serde(default, rename = "ID", skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `Enabled` or `Disabled`.
    pub status: String,
    /// The form of the first version, in place of a filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration: Option<Expiration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noncurrent_version_expiration: Option<NoncurrentVersionExpiration>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transitions: Vec<Transition>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub noncurrent_version_transitions: Vec<NoncurrentVersionTransition>,
    /// Days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort_incomplete_multipart_upload: Option<i32>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Filter {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_size_greater_than: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_size_less_than: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub and: Option<And>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct And {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_size_greater_than: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_size_less_than: Option<i64>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tag {
    pub key: String,
    pub value: String,
}

/// Days, a date (RFC 3339), or delete markers of which nothing is left.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Expiration {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired_object_delete_marker: Option<bool>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NoncurrentVersionExpiration {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noncurrent_days: Option<i32>,
    /// How many are kept whatever their age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newer_noncurrent_versions: Option<i32>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Transition {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NoncurrentVersionTransition {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noncurrent_days: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newer_noncurrent_versions: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
}

/// Sets the whole configuration: S3 has no call for a single rule. None is left: deletes it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct SetLifecycle {
    pub lifecycle: Lifecycle,
}

impl Control for DestructiveLifecycle {
    const META: Meta = Meta {
        id: "s3-destructive-lifecycle",
        title: "No lifecycle rule empties an S3 bucket within days",
        risk: "A lifecycle rule has AWS delete everything in the bucket within days.",
        severity: Severity::High,
        safety: Safety::NeedsApproval,
        reversible: true,
        satisfies: &["nist-800-53-r5/CP-9", "nist-800-53-r5/SI-12"],
        function: "s3-exposure",
        // CloudTrail's name for PutBucketLifecycleConfiguration.
        // https://docs.aws.amazon.com/AmazonS3/latest/userguide/cloudtrail-logging-s3-info.html
        listens: &[Listen::ApiCall {
            source: "aws.s3",
            service: "s3.amazonaws.com",
            calls: &["PutBucketLifecycle"],
        }],
        discovers: &[LIST],
        reads: &["s3:GetLifecycleConfiguration", TAGS, LIST],
        // DeleteBucketLifecycle is authorised by the same action.
        writes: &["s3:PutLifecycleConfiguration"],
        baseline: true,
        visible_within: 30,
        source: file!(),
    };

    type Target = Bucket;
    type State = State;
    type Change = SetLifecycle;

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
        let lifecycle = self.lifecycle(bucket).await.or_missing(&["NoSuchBucket"])?;
        let now = DateTime::from(SystemTime::now());
        Ok(lifecycle.map(|lifecycle| {
            let due_dates = lifecycle.due_dates(now);
            State { lifecycle, due_dates, restore: None }
        }))
    }

    fn inform(state: &mut State, background: &Background<'_, State>) {
        let violates = state.violates();
        let baseline = background.baseline.filter(|_| violates);
        state.restore = baseline.map(|baseline| baseline.lifecycle.clone());
    }

    async fn tags(&self, bucket: &Bucket) -> Result<BTreeMap<String, String>, CallError> {
        self.0.tags(bucket).await
    }

    async fn unique_id(&self, bucket: &Bucket) -> Result<String, CallError> {
        self.0.made_at(bucket).await
    }

    fn plan(state: &State) -> Plan<SetLifecycle> {
        if !state.violates() {
            return Plan::nothing();
        }
        Plan::one(SetLifecycle { lifecycle: state.harmless() })
    }

    async fn apply(
        &self,
        bucket: &Bucket,
        SetLifecycle { lifecycle }: &SetLifecycle,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        if lifecycle.rules.is_empty() {
            let delete = self.0.api.delete_bucket_lifecycle().bucket(bucket.as_str());
            delete.expected_bucket_owner(&self.0.account).send().await.during(WRITE)?;
            return Ok(None);
        }
        let rules = lifecycle.rules.iter().map(Rule::to_sdk).collect::<Result<Vec<_>, _>>();
        let configuration = rules.and_then(|rules| {
            let all = BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build();
            all.map_err(|error| unfit(&error))
        })?;
        let minimum = lifecycle.minimum.as_deref().map(TransitionDefaultMinimumObjectSize::from);
        self.0
            .api
            .put_bucket_lifecycle_configuration()
            .bucket(bucket.as_str())
            .expected_bucket_owner(&self.0.account)
            .lifecycle_configuration(configuration)
            .set_transition_default_minimum_object_size(minimum)
            .send()
            .await
            .during(WRITE)?;
        Ok(None)
    }

    fn revert(before: &State, after: &State) -> Plan<SetLifecycle> {
        if Self::same(before, after) {
            return Plan::nothing();
        }
        Plan::one(SetLifecycle { lifecycle: before.lifecycle.clone() })
    }

    fn describe(state: &State, change: &SetLifecycle) -> Description {
        let (now, then) = (state.lifecycle.lines(), change.lifecycle.lines());
        Description {
            action: WRITE.into(),
            effect: Effect::Set,
            minus: now.iter().filter(|line| !then.contains(line)).cloned().collect(),
            plus: then.iter().filter(|line| !now.contains(line)).cloned().collect(),
        }
    }

    fn console(bucket: &Bucket, region: &str) -> String {
        bucket.console(region)
    }

    fn arn(bucket: &Bucket, _: &str, region: &str) -> String {
        bucket.arn(region)
    }

    fn notes(state: &State) -> Vec<String> {
        if !state.violates() {
            return Vec::new();
        }
        let Some(before) = &state.restore else {
            let note = "no sweep has seen the bucket before: the rules of before are not known, and what is \
                        destructive is disabled";
            return vec![note.to_owned()];
        };
        let fixed = state.harmless();
        let gone: Vec<&str> = before
            .rules
            .iter()
            .filter(|old| !fixed.has(old))
            .map(|old| old.id.as_deref().unwrap_or("(unnamed)"))
            .collect();
        let named = gone.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        match gone.len() {
            0 => Vec::new(),
            1..=NAMED => vec![format!("rules of before that stay deleted: {named}")],
            all => vec![format!("{all} rules of before stay deleted: {named}, …")],
        }
    }

    /// The rules of the bucket, in whatever order, without what the baseline adds and what the day makes of dates.
    fn same(one: &State, other: &State) -> bool {
        let sorted = |state: &State| {
            let mut lines = state.lifecycle.lines();
            lines.sort();
            lines
        };
        sorted(one) == sorted(other)
    }
}

impl DestructiveLifecycle {
    async fn lifecycle(&self, bucket: &Bucket) -> Result<Lifecycle, CallError> {
        let elements = Elements::known(&KNOWN);
        let reply = self
            .0
            .api
            .get_bucket_lifecycle_configuration()
            .bucket(bucket.as_str())
            .expected_bucket_owner(&self.0.account)
            .customize()
            .interceptor(elements.clone())
            .send()
            .await
            .during(READ)
            .or_missing(&["NoSuchLifecycleConfiguration"])?;
        let Some(reply) = reply else { return Ok(Lifecycle::default()) };
        elements.are_all_known(READ)?;
        let minimum = reply.transition_default_minimum_object_size;
        Ok(Lifecycle {
            rules: reply
                .rules
                .unwrap_or_default()
                .into_iter()
                .map(Rule::from_sdk)
                .collect::<Result<_, _>>()?,
            minimum: minimum.map(|minimum| minimum.as_str().to_owned()),
        })
    }
}

const READ: &str = "s3:GetLifecycleConfiguration";
const WRITE: &str = "s3:PutLifecycleConfiguration";

/// As long as detections commonly take for short: the attack technique sets one day.
/// <https://stratus-red-team.cloud/attack-techniques/AWS/aws.defense-evasion.cloudtrail-lifecycle-rule/>
const SOON: i32 = 7;
const DAY: i64 = 24 * 60 * 60;

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html>
const MOST_RULES: usize = 1000;

/// So many rules are named in a note.
const NAMED: usize = 5;

const ENABLED: &str = "Enabled";
const DISABLED: &str = "Disabled";

/// What this version can give back.
const KNOWN: [&str; 24] = [
    "AbortIncompleteMultipartUpload",
    "And",
    "Date",
    "Days",
    "DaysAfterInitiation",
    "Expiration",
    "ExpiredObjectDeleteMarker",
    "Filter",
    "ID",
    "Key",
    "LifecycleConfiguration",
    "NewerNoncurrentVersions",
    "NoncurrentDays",
    "NoncurrentVersionExpiration",
    "NoncurrentVersionTransition",
    "ObjectSizeGreaterThan",
    "ObjectSizeLessThan",
    "Prefix",
    "Rule",
    "Status",
    "StorageClass",
    "Tag",
    "Transition",
    "Value",
];

impl State {
    fn violates(&self) -> bool {
        self.lifecycle.rules.iter().any(|rule| self.is_destructive(rule))
    }

    fn is_destructive(&self, rule: &Rule) -> bool {
        rule.is_destructive(|date| self.due_dates.iter().any(|due| due == date))
    }

    /// Without what is destructive. Everything else stays, unless the whole configuration was replaced.
    fn harmless(&self) -> Lifecycle {
        let mut fixed = self.lifecycle.clone();
        for rule in fixed.rules.iter_mut().filter(|rule| self.is_destructive(rule)) {
            *rule = self.harmless_of_before(rule).unwrap_or_else(|| rule.disabled());
        }
        let Some(before) = self.restore.as_ref().filter(|before| self.replaces(before)) else {
            return fixed;
        };
        let room = MOST_RULES.saturating_sub(fixed.rules.len());
        let harmless = before.rules.iter().filter(|old| !old.deletes());
        fixed.rules.extend(harmless.take(room).cloned());
        fixed.minimum = before.minimum.clone().or(fixed.minimum);
        fixed
    }

    /// What the rule was. Whether a date of then has come, nobody has looked: one with a date is not put back.
    fn harmless_of_before(&self, rule: &Rule) -> Option<Rule> {
        let mut before = self.restore.iter().flat_map(|before| &before.rules);
        let old = before.find(|old| old.is_named_as(rule))?;
        (!old.is_destructive(|_| true)).then(|| old.clone())
    }

    /// Whether of rules that were there before, none is left by its ID: S3 sets the whole configuration by one call.
    fn replaces(&self, before: &Lifecycle) -> bool {
        !before.rules.is_empty() && !before.rules.iter().any(|old| self.lifecycle.has(old))
    }
}

impl Lifecycle {
    /// The dates of broad rules that are past, or near.
    fn due_dates(&self, now: DateTime) -> Vec<String> {
        let until = now.secs().saturating_add(i64::from(SOON) * DAY);
        let broad = self.rules.iter().filter(|rule| rule.status == ENABLED && rule.is_broad());
        let dates = broad.filter_map(|rule| rule.expiration.as_ref()?.date.clone());
        // A date that cannot be read is none to wait for.
        let is_due = |date: &String| date_to_sdk(date).ok().is_none_or(|at| at.secs() <= until);
        dates.filter(is_due).collect()
    }

    /// Whether it has a rule of this ID.
    fn has(&self, rule: &Rule) -> bool {
        self.rules.iter().any(|one| one.is_named_as(rule))
    }

    /// A line for each rule, as AWS writes it in JSON.
    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.rules.iter().map(Rule::line).collect();
        // Without a rule it says nothing.
        if let (Some(minimum), false) = (&self.minimum, self.rules.is_empty()) {
            lines.push(format!("TransitionDefaultMinimumObjectSize: {minimum}"));
        }
        lines
    }
}

impl Rule {
    fn is_destructive(&self, is_due: impl Fn(&str) -> bool) -> bool {
        self.status == ENABLED && self.is_broad() && self.deletes_soon(is_due)
    }

    fn disabled(&self) -> Self {
        Self { status: DISABLED.to_owned(), ..self.clone() }
    }

    /// Whether it would ever delete anything, in force or not.
    fn deletes(&self) -> bool {
        self.expiration.is_some() || self.noncurrent_version_expiration.is_some()
    }

    /// S3 gives an ID to a rule that comes without. No two of a bucket have the same.
    fn is_named_as(&self, other: &Self) -> bool {
        self.id.is_some() && self.id == other.id
    }

    fn is_broad(&self) -> bool {
        let and = self.filter.as_ref().and_then(|filter| filter.and.as_ref());
        let is_tagged = self.filter.as_ref().is_some_and(|filter| filter.tag.is_some())
            || and.is_some_and(|and| !and.tags.is_empty());
        let prefixes = [
            self.prefix.as_deref(),
            self.filter.as_ref().and_then(|filter| filter.prefix.as_deref()),
            and.and_then(|and| and.prefix.as_deref()),
        ];
        let mut prefixes = prefixes.into_iter().flatten();
        !is_tagged
            && prefixes.all(|prefix| {
                matches!(prefix, "" | "*" | "AWSLogs") || prefix.starts_with("AWSLogs/")
            })
    }

    fn deletes_soon(&self, is_due: impl Fn(&str) -> bool) -> bool {
        let is_soon = |days: Option<i32>| days.is_some_and(|days| days <= SOON);
        let current = self.expiration.as_ref().is_some_and(|expiration| {
            is_soon(expiration.days) || expiration.date.as_deref().is_some_and(is_due)
        });
        let noncurrent = self.noncurrent_version_expiration.is_some_and(|expiration| {
            is_soon(expiration.noncurrent_days)
                && expiration.newer_noncurrent_versions.unwrap_or_default() == 0
        });
        current || noncurrent
    }

    fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| format!("{self:?}"))
    }

    fn from_sdk(rule: LifecycleRule) -> Result<Self, CallError> {
        let tag = |tag: types::Tag| Tag { key: tag.key, value: tag.value };
        Ok(Self {
            id: rule.id,
            status: rule.status.as_str().to_owned(),
            #[expect(deprecated, reason = "old configurations have it, and keep it")]
            prefix: rule.prefix,
            filter: rule.filter.map(|filter| Filter {
                prefix: filter.prefix,
                tag: filter.tag.map(tag),
                object_size_greater_than: filter.object_size_greater_than,
                object_size_less_than: filter.object_size_less_than,
                and: filter.and.map(|and| And {
                    prefix: and.prefix,
                    tags: and.tags.unwrap_or_default().into_iter().map(tag).collect(),
                    object_size_greater_than: and.object_size_greater_than,
                    object_size_less_than: and.object_size_less_than,
                }),
            }),
            expiration: rule
                .expiration
                .map(|expiration| {
                    Ok::<_, CallError>(Expiration {
                        days: expiration.days,
                        date: expiration.date.as_ref().map(date_from_sdk).transpose()?,
                        expired_object_delete_marker: expiration.expired_object_delete_marker,
                    })
                })
                .transpose()?,
            noncurrent_version_expiration: rule.noncurrent_version_expiration.map(|expiration| {
                NoncurrentVersionExpiration {
                    noncurrent_days: expiration.noncurrent_days,
                    newer_noncurrent_versions: expiration.newer_noncurrent_versions,
                }
            }),
            transitions: rule
                .transitions
                .unwrap_or_default()
                .into_iter()
                .map(|transition| {
                    Ok::<_, CallError>(Transition {
                        days: transition.days,
                        date: transition.date.as_ref().map(date_from_sdk).transpose()?,
                        storage_class: transition.storage_class.map(|it| it.as_str().to_owned()),
                    })
                })
                .collect::<Result<_, _>>()?,
            noncurrent_version_transitions: rule
                .noncurrent_version_transitions
                .unwrap_or_default()
                .into_iter()
                .map(|transition| NoncurrentVersionTransition {
                    noncurrent_days: transition.noncurrent_days,
                    newer_noncurrent_versions: transition.newer_noncurrent_versions,
                    storage_class: transition.storage_class.map(|it| it.as_str().to_owned()),
                })
                .collect(),
            abort_incomplete_multipart_upload: rule
                .abort_incomplete_multipart_upload
                .and_then(|abort| abort.days_after_initiation),
        })
    }

    fn to_sdk(&self) -> Result<LifecycleRule, CallError> {
        let storage_class =
            |name: &Option<String>| name.as_deref().map(TransitionStorageClass::from);
        let transitions = self
            .transitions
            .iter()
            .map(|transition| {
                Ok(types::Transition::builder()
                    .set_days(transition.days)
                    .set_date(transition.date.as_deref().map(date_to_sdk).transpose()?)
                    .set_storage_class(storage_class(&transition.storage_class))
                    .build())
            })
            .collect::<Result<Vec<_>, CallError>>()?;
        let noncurrent_version_transitions = self.noncurrent_version_transitions.iter();
        let noncurrent_version_transitions = noncurrent_version_transitions.map(|transition| {
            types::NoncurrentVersionTransition::builder()
                .set_noncurrent_days(transition.noncurrent_days)
                .set_newer_noncurrent_versions(transition.newer_noncurrent_versions)
                .set_storage_class(storage_class(&transition.storage_class))
                .build()
        });
        let noncurrent_version_transitions: Vec<_> = noncurrent_version_transitions.collect();
        let some = |all: bool| (!all).then_some(());
        let rule = LifecycleRule::builder()
            .set_id(self.id.clone())
            .status(ExpirationStatus::from(self.status.as_str()))
            .set_filter(self.filter.as_ref().map(Filter::to_sdk).transpose()?)
            .set_expiration(self.expiration.as_ref().map(Expiration::to_sdk).transpose()?)
            .set_noncurrent_version_expiration(self.noncurrent_version_expiration.map(
                |expiration| {
                    types::NoncurrentVersionExpiration::builder()
                        .set_noncurrent_days(expiration.noncurrent_days)
                        .set_newer_noncurrent_versions(expiration.newer_noncurrent_versions)
                        .build()
                },
            ))
            .set_transitions(some(transitions.is_empty()).map(|()| transitions))
            .set_noncurrent_version_transitions(
                some(noncurrent_version_transitions.is_empty())
                    .map(|()| noncurrent_version_transitions),
            )
            .set_abort_incomplete_multipart_upload(self.abort_incomplete_multipart_upload.map(
                |days| {
                    AbortIncompleteMultipartUpload::builder().days_after_initiation(days).build()
                },
            ));
        #[expect(deprecated, reason = "old configurations have it, and keep it")]
        let rule = rule.set_prefix(self.prefix.clone());
        rule.build().map_err(|error| unfit(&error))
    }
}

impl Filter {
    fn to_sdk(&self) -> Result<LifecycleRuleFilter, CallError> {
        let and = self.and.as_ref().map(|and| {
            let tags = and.tags.iter().map(Tag::to_sdk).collect::<Result<Vec<_>, _>>()?;
            Ok::<_, CallError>(
                LifecycleRuleAndOperator::builder()
                    .set_prefix(and.prefix.clone())
                    .set_tags((!tags.is_empty()).then_some(tags))
                    .set_object_size_greater_than(and.object_size_greater_than)
                    .set_object_size_less_than(and.object_size_less_than)
                    .build(),
            )
        });
        Ok(LifecycleRuleFilter::builder()
            .set_prefix(self.prefix.clone())
            .set_tag(self.tag.as_ref().map(Tag::to_sdk).transpose()?)
            .set_object_size_greater_than(self.object_size_greater_than)
            .set_object_size_less_than(self.object_size_less_than)
            .set_and(and.transpose()?)
            .build())
    }
}

impl Expiration {
    fn to_sdk(&self) -> Result<LifecycleExpiration, CallError> {
        Ok(LifecycleExpiration::builder()
            .set_days(self.days)
            .set_date(self.date.as_deref().map(date_to_sdk).transpose()?)
            .set_expired_object_delete_marker(self.expired_object_delete_marker)
            .build())
    }
}

impl Tag {
    fn to_sdk(&self) -> Result<types::Tag, CallError> {
        let tag = types::Tag::builder().key(&self.key).value(&self.value).build();
        tag.map_err(|error| unfit(&error))
    }
}

fn date_from_sdk(date: &DateTime) -> Result<String, CallError> {
    let text = date.fmt(DateTimeFormat::DateTime);
    text.map_err(|error| CallError::new(READ, CallErrorKind::Refused, error.to_string()))
}

fn date_to_sdk(text: &str) -> Result<DateTime, CallError> {
    let date = DateTime::from_str(text, DateTimeFormat::DateTime);
    date.map_err(|error| CallError::new(WRITE, CallErrorKind::Refused, error.to_string()))
}

fn unfit(error: &BuildError) -> CallError {
    CallError::new(WRITE, CallErrorKind::Refused, error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quell_engine::{Trigger, policy::Trusted};
    use serde_json::{Value, json};

    use super::*;
    use crate::s3::tests::signal;

    fn rule(value: Value) -> Rule {
        let mut value = value;
        let object = value.as_object_mut().unwrap();
        object.entry("Status").or_insert_with(|| json!("Enabled"));
        serde_json::from_value(value).unwrap()
    }

    fn one_day() -> Rule {
        rule(json!({"ID": "nuke", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}))
    }

    fn archive() -> Rule {
        rule(json!({"ID": "archive", "Filter": {"Prefix": "data/"},
            "Transitions": [{"Days": 30, "StorageClass": "GLACIER"}]}))
    }

    fn state(rules: &[Rule], before: Option<&[Rule]>) -> State {
        let of = |rules: &[Rule]| Lifecycle { rules: rules.to_vec(), minimum: None };
        let due_dates = of(rules).due_dates(at("2026-03-01T00:00:00Z"));
        State { lifecycle: of(rules), due_dates, restore: before.map(of) }
    }

    fn at(text: &str) -> DateTime {
        DateTime::from_str(text, DateTimeFormat::DateTime).unwrap()
    }

    fn violates(value: &Value) -> bool {
        state(&[rule(value.clone())], None).violates()
    }

    fn fixed(rules: &[Rule], before: Option<&[Rule]>) -> Vec<Rule> {
        let plan = DestructiveLifecycle::plan(&state(rules, before));
        plan.changes.into_iter().next().unwrap().lifecycle.rules
    }

    #[test]
    fn what_is_destructive() {
        let soon = json!({"Days": 1});
        for value in [
            json!({"Filter": {}, "Expiration": soon}),
            json!({"Prefix": "", "Expiration": soon}),
            json!({"Filter": {"Prefix": "*"}, "Expiration": soon}),
            json!({"Filter": {"Prefix": "AWSLogs/"}, "Expiration": soon}),
            json!({"Filter": {"Prefix": "AWSLogs/123456789012/CloudTrail/"}, "Expiration": {"Days": 7}}),
            json!({"Filter": {"ObjectSizeGreaterThan": 1}, "Expiration": soon}),
            json!({"Filter": {"And": {"Prefix": "", "ObjectSizeLessThan": 9}}, "Expiration": soon}),
            json!({"Filter": {}, "Expiration": {"Date": "2026-03-03T00:00:00Z"}}),
            json!({"Filter": {}, "NoncurrentVersionExpiration": {"NoncurrentDays": 1}}),
            json!({"Filter": {}, "NoncurrentVersionExpiration": {"NoncurrentDays": 7},
                "Expiration": {"Days": 365}}),
        ] {
            assert!(violates(&value), "{value}");
        }
    }

    #[test]
    fn what_lifecycle_rules_are_for_is_left() {
        let soon = json!({"Days": 1});
        for value in [
            json!({"Filter": {"Prefix": "tmp/"}, "Expiration": soon}),
            json!({"Prefix": "tmp/", "Expiration": soon}),
            json!({"Filter": {"Prefix": "AWSLogsOfOurs/"}, "Expiration": soon}),
            json!({"Filter": {"Tag": {"Key": "a", "Value": "b"}}, "Expiration": soon}),
            json!({"Filter": {"And": {"Prefix": "", "Tags": [{"Key": "a", "Value": "b"}]}}, "Expiration": soon}),
            json!({"Filter": {}, "Expiration": {"Days": 8}}),
            json!({"Filter": {}, "Expiration": {"Date": "2030-01-01T00:00:00Z"}}),
            json!({"Filter": {"Prefix": "tmp/"}, "Expiration": {"Date": "2026-03-03T00:00:00Z"}}),
            json!({"Filter": {}, "Expiration": {"ExpiredObjectDeleteMarker": true}}),
            json!({"Filter": {}, "NoncurrentVersionExpiration": {"NoncurrentDays": 8}}),
            json!({"Filter": {}, "NoncurrentVersionExpiration":
                {"NoncurrentDays": 1, "NewerNoncurrentVersions": 1}}),
            json!({"Filter": {}, "AbortIncompleteMultipartUpload": 1}),
            json!({"Filter": {}, "Transitions": [{"Days": 0, "StorageClass": "GLACIER"}]}),
            json!({"Filter": {}, "Expiration": soon, "Status": "Disabled"}),
        ] {
            assert!(!violates(&value), "{value}");
        }
    }

    #[test]
    fn without_a_baseline_only_the_destructive_rule_is_disabled() {
        let found = state(&[archive(), one_day()], None);
        let plan = DestructiveLifecycle::plan(&found);
        let disabled = Rule { status: DISABLED.into(), ..one_day() };
        assert_eq!(plan.changes[0].lifecycle.rules, [archive(), disabled.clone()]);
        assert!(DestructiveLifecycle::notes(&found)[0].contains("no sweep"));

        let shown = DestructiveLifecycle::describe(&found, &plan.changes[0]);
        assert_eq!((shown.minus, shown.plus), (vec![one_day().line()], vec![disabled.line()]));
    }

    #[test]
    fn a_date_counts_when_it_is_past_or_at_most_a_week_ahead() {
        let on = rule(json!({"Filter": {}, "Expiration": {"Date": "2026-03-08T00:00:00Z"}}));
        let lifecycle = Lifecycle { rules: vec![on], minimum: None };
        for (now, is_due) in [
            ("2025-03-08T00:00:00Z", false),
            ("2026-02-28T23:59:59Z", false),
            ("2026-03-01T00:00:00Z", true),
            ("2027-03-08T00:00:00Z", true),
        ] {
            let due_dates = lifecycle.due_dates(at(now));
            let found = State { lifecycle: lifecycle.clone(), due_dates, restore: None };
            assert_eq!(found.violates(), is_due, "{now}");
            let another_day = State { due_dates: Vec::new(), ..found.clone() };
            assert!(DestructiveLifecycle::same(&found, &another_day), "{now}");
        }
    }

    #[test]
    fn what_is_harmless_has_no_due_dates_so_that_no_day_makes_another_baseline_of_it() {
        let narrow =
            json!({"Filter": {"Prefix": "tmp/"}, "Expiration": {"Date": "2026-03-03T00:00:00Z"}});
        let off = json!({"Filter": {}, "Expiration": {"Date": "2026-03-03T00:00:00Z"}, "Status": "Disabled"});
        assert!(state(&[rule(narrow), rule(off)], None).due_dates.is_empty());
    }

    #[test]
    fn a_rule_that_became_destructive_is_as_it_was_before() {
        let changed = Rule { id: archive().id, ..one_day() };
        assert_eq!(fixed(&[changed], Some(&[archive()])), [archive()]);
    }

    #[test]
    fn a_rule_of_before_that_deletes_on_a_date_is_not_put_back() {
        let dated =
            |date: &str| rule(json!({"ID": "purge", "Filter": {}, "Expiration": {"Date": date}}));
        let found = dated("2026-03-03T00:00:00Z");
        let before = dated("2030-01-01T00:00:00Z");
        assert_eq!(fixed(std::slice::from_ref(&found), Some(&[before])), [found.disabled()]);
    }

    #[test]
    fn a_destructive_rule_that_is_new_is_disabled_and_the_rest_stays_as_the_owner_has_it_now() {
        let since = Rule { abort_incomplete_multipart_upload: Some(9), ..archive() };
        let new = Rule { id: Some("new".into()), ..archive() };
        let deleted = Rule { id: Some("deleted".into()), ..archive() };
        let rules = [one_day(), since.clone(), new.clone()];
        let before = [archive(), deleted];
        assert_eq!(fixed(&rules, Some(&before)), [one_day().disabled(), since, new]);
        let notes = DestructiveLifecycle::notes(&state(&rules, Some(&before)));
        assert_eq!(notes, ["rules of before that stay deleted: deleted"]);

        assert_eq!(fixed(&[one_day()], Some(&[])), [one_day().disabled()]);
        assert!(DestructiveLifecycle::notes(&state(&[one_day()], Some(&[]))).is_empty());
    }

    #[test]
    fn where_the_whole_configuration_was_replaced_what_deletes_nothing_is_put_back() {
        let year = rule(json!({"ID": "year", "Filter": {}, "Expiration": {"Days": 365}}));
        let versions = rule(json!({"ID": "versions", "Filter": {},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 90}}));
        let before = [year, archive(), versions];
        let mut found = state(&[one_day()], Some(&before));
        found.lifecycle.minimum = Some("all_storage_classes_128K".to_owned());
        let minimum = Some("varies_by_storage_class".to_owned());
        found.restore.as_mut().unwrap().minimum = minimum.clone();
        let plan = DestructiveLifecycle::plan(&found);
        let rules = vec![one_day().disabled(), archive()];
        assert_eq!(plan.changes, [SetLifecycle { lifecycle: Lifecycle { rules, minimum } }]);
        let notes = DestructiveLifecycle::notes(&found);
        assert_eq!(notes, ["rules of before that stay deleted: year, versions"]);
    }

    #[test]
    fn no_more_rules_are_put_back_than_s3_takes() {
        let named = |number: usize, rule: Rule| Rule { id: Some(number.to_string()), ..rule };
        let rules: Vec<Rule> = (0..998).map(|number| named(number, one_day())).collect();
        let before: Vec<Rule> = (1000..1010).map(|number| named(number, archive())).collect();
        assert_eq!(fixed(&rules, Some(&before)).len(), 1000);
        let notes = DestructiveLifecycle::notes(&state(&rules, Some(&before)));
        assert_eq!(notes, ["8 rules of before stay deleted: 1002, 1003, 1004, 1005, 1006, …"]);
    }

    #[test]
    fn harmless_rules_are_left_whatever_the_baseline_had() {
        for before in [None, Some([].as_slice()), Some([archive()].as_slice())] {
            assert!(DestructiveLifecycle::plan(&state(&[], before)).is_empty());
        }
    }

    #[test]
    fn the_minimum_size_of_transitions_is_kept() {
        let minimum = Some("varies_by_storage_class".to_owned());
        let mut found = state(&[one_day()], None);
        found.lifecycle.minimum = minimum.clone();
        assert_eq!(DestructiveLifecycle::plan(&found).changes[0].lifecycle.minimum, minimum);
        let before = Some("all_storage_classes_128K".to_owned());
        let restore = Some(Lifecycle { rules: vec![one_day().disabled()], minimum: before });
        let edited = State { restore, ..found.clone() };
        assert_eq!(DestructiveLifecycle::plan(&edited).changes[0].lifecycle.minimum, minimum);
        assert!(!DestructiveLifecycle::same(&found, &state(&[one_day()], None)));
    }

    #[test]
    fn the_order_of_rules_makes_no_difference_nor_does_the_baseline() {
        let one = state(&[archive(), one_day()], None);
        assert!(DestructiveLifecycle::same(&one, &state(&[one_day(), archive()], Some(&[]))));
        assert!(!DestructiveLifecycle::same(&one, &state(&[archive()], None)));
    }

    #[test]
    fn a_baseline_is_what_a_sweep_saw() {
        let baseline = state(&[archive()], None);
        let mut found = state(&[one_day()], None);
        let background = Background { trusted: &Trusted::NOBODY, baseline: Some(&baseline) };
        DestructiveLifecycle::inform(&mut found, &background);
        assert_eq!(found.restore, Some(baseline.lifecycle));
    }

    #[test]
    fn the_call_names_the_bucket() {
        let call = Trigger::ApiCall {
            service: "s3.amazonaws.com".into(),
            name: "PutBucketLifecycle".into(),
            parameters: json!({"bucketName": "photos", "lifecycle": "",
                "LifecycleConfiguration": {"Rule": {"Expiration": {"Days": 1}}}}),
            response: json!(null),
            resources: Vec::new(),
        };
        let found = DestructiveLifecycle::targets(&signal(call));
        assert_eq!(found, Ok(vec!["photos".parse().unwrap()]));
    }

    fn any_rule() -> impl Strategy<Value = Rule> {
        let tag = || ("[a-z]{1,4}", "[a-z]{0,4}").prop_map(|(key, value)| Tag { key, value });
        let filter = prop_oneof![
            Just(Filter::default()),
            prop_oneof![Just(""), Just("*"), Just("tmp/"), Just("AWSLogs/")]
                .prop_map(|prefix| Filter { prefix: Some(prefix.into()), ..Filter::default() }),
            tag().prop_map(|tag| Filter { tag: Some(tag), ..Filter::default() }),
            (any::<Option<i64>>(), proptest::collection::vec(tag(), 0..3)).prop_map(
                |(object_size_less_than, tags)| {
                    let and = And {
                        prefix: Some(String::new()),
                        tags,
                        object_size_less_than,
                        ..And::default()
                    };
                    Filter { and: Some(and), ..Filter::default() }
                }
            ),
        ];
        let expiration = proptest::option::of(prop_oneof![
            (1..400i32).prop_map(|days| Expiration { days: Some(days), ..Expiration::default() }),
            Just(Expiration { date: Some("2026-03-03T00:00:00Z".into()), ..Expiration::default() }),
        ]);
        let noncurrent = proptest::option::of((1..40i32, proptest::option::of(1..5i32)));
        let transition = (0..9i32, "GLACIER|NEW_CLASS");
        (
            "[a-z]{1,3}",
            "Enabled|Disabled",
            filter,
            expiration,
            noncurrent,
            proptest::option::of(transition),
        )
            .prop_map(|(id, status, filter, expiration, noncurrent, transition)| Rule {
                id: Some(id),
                status,
                prefix: None,
                filter: Some(filter),
                expiration,
                noncurrent_version_expiration: noncurrent.map(|(days, newer)| {
                    NoncurrentVersionExpiration {
                        noncurrent_days: Some(days),
                        newer_noncurrent_versions: newer,
                    }
                }),
                transitions: transition
                    .clone()
                    .map(|(days, class)| Transition {
                        days: Some(days),
                        date: None,
                        storage_class: Some(class),
                    })
                    .into_iter()
                    .collect(),
                noncurrent_version_transitions: transition
                    .map(|(days, class)| NoncurrentVersionTransition {
                        noncurrent_days: Some(days),
                        newer_noncurrent_versions: None,
                        storage_class: Some(class),
                    })
                    .into_iter()
                    .collect(),
                abort_incomplete_multipart_upload: Some(3),
            })
    }

    proptest! {
        #[test]
        fn rules_reach_the_api_as_they_came(rule in any_rule()) {
            prop_assert_eq!(Rule::from_sdk(rule.to_sdk().unwrap()).unwrap(), rule);
        }

        #[test]
        fn nothing_destructive_is_left_and_undo_is_exact(
            rules in proptest::collection::vec(any_rule(), 0..5),
            before in proptest::option::of(proptest::collection::vec(any_rule(), 0..3)),
        ) {
            // Whatever a sweep has seen: what was harmless then need not be harmless now.
            let found = state(&rules, before.as_deref());
            let mut after = found.clone();
            for change in DestructiveLifecycle::plan(&found).changes {
                after.lifecycle = change.lifecycle;
            }
            prop_assert!(DestructiveLifecycle::plan(&after).is_empty());
            let stays = |rule: &&Rule| !found.is_destructive(rule);
            for rule in found.lifecycle.rules.iter().filter(stays) {
                prop_assert!(after.lifecycle.rules.contains(rule));
            }
            let mut undone = after.clone();
            for change in DestructiveLifecycle::revert(&found, &after).changes {
                undone.lifecycle = change.lifecycle;
            }
            prop_assert!(DestructiveLifecycle::same(&undone, &found));
        }
    }
}
