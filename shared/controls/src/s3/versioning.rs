//! Enables versioning again for a bucket of which it was suspended.
//!
//! ## What it fixes
//! A bucket whose versioning is *suspended*: it was enabled before, and somebody switched it off. Versioning is enabled
//! again; MFA delete stays as it is. A bucket that never had versioning is left alone: AWS cannot go back from there,
//! so that enabling it could not be undone.
//!
//! Where MFA delete is enabled, AWS lets only the root user with its device change the versioning. Quell's call is then
//! denied, and the message says so.
//!
//! ## Why it matters
//! While versioning is suspended, what is overwritten or deleted is gone. Suspending it is the first step of whoever
//! wants to destroy data, or to encrypt it for ransom.
//!
//! ## What can break
//! Every overwrite keeps the old version, which costs storage until a lifecycle rule removes it. What was overwritten
//! while versioning was suspended does not come back.
//!
//! ## Undo
//! Suspends versioning again.

use std::collections::BTreeMap;

use aws_sdk_s3::types::{BucketVersioningStatus, MfaDeleteStatus, VersioningConfiguration};
use quell_engine::{
    CallError, CallErrorKind, Clients, Control, Description, Discovered, During, Effect, Listen,
    Meta, Plan, Progress, Safety, Severity, Signal, aws::OrMissing, control::TargetError,
};
use serde::{Deserialize, Serialize};

use super::{
    Bucket,
    client::{LIST, S3, TAGS},
};

pub struct Versioning(S3);

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct State {
    pub status: Status,
    /// Only the root user with its device may change the status.
    pub mfa_delete: bool,
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/Versioning.html>: once enabled, it is never unversioned again.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Unversioned,
    Enabled,
    Suspended,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    Enable,
    Suspend,
}

impl Control for Versioning {
    const META: Meta = Meta {
        id: "s3-versioning",
        title: "S3 buckets keep their versioning",
        risk: "Versioning of the bucket was suspended, so that what is overwritten or deleted is gone.",
        severity: Severity::Medium,
        safety: Safety::Safe,
        reversible: true,
        // Not `securityhub/S3.14`: that also wants what never had versioning.
        satisfies: &["nist-800-53-r5/CP-9", "nist-800-53-r5/SI-12"],
        function: "s3-exposure",
        listens: &[
            Listen::ApiCall {
                source: "aws.s3",
                service: "s3.amazonaws.com",
                calls: &["PutBucketVersioning"],
            },
            Listen::SecurityHub { generators: &["/S3.14"], resource_type: "AwsS3Bucket" },
            Listen::Config {
                rules: &["s3-bucket-versioning-enabled"],
                resource_type: "AWS::S3::Bucket",
            },
        ],
        discovers: &[LIST],
        reads: &["s3:GetBucketVersioning", TAGS, LIST],
        writes: &["s3:PutBucketVersioning"],
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
        let reply = self
            .0
            .api
            .get_bucket_versioning()
            .bucket(bucket.as_str())
            .expected_bucket_owner(&self.0.account)
            .send()
            .await
            .during("s3:GetBucketVersioning")
            .or_missing(&["NoSuchBucket"])?;
        let Some(reply) = reply else { return Ok(None) };
        let status = match reply.status {
            None => Status::Unversioned,
            Some(BucketVersioningStatus::Enabled) => Status::Enabled,
            Some(BucketVersioningStatus::Suspended) => Status::Suspended,
            Some(_) => {
                let message = "AWS answered with a versioning status that is not known";
                let refused = CallErrorKind::Refused;
                return Err(CallError::new("s3:GetBucketVersioning", refused, message));
            }
        };
        let mfa_delete = reply.mfa_delete == Some(MfaDeleteStatus::Enabled);
        Ok(Some(State { status, mfa_delete }))
    }

    async fn tags(&self, bucket: &Bucket) -> Result<BTreeMap<String, String>, CallError> {
        self.0.tags(bucket).await
    }

    async fn unique_id(&self, bucket: &Bucket) -> Result<String, CallError> {
        self.0.made_at(bucket).await
    }

    fn plan(state: &State) -> Plan<Change> {
        match state.status {
            Status::Suspended => Plan::one(Change::Enable),
            Status::Unversioned | Status::Enabled => Plan::nothing(),
        }
    }

    async fn apply(
        &self,
        bucket: &Bucket,
        change: &Change,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        let status = match change {
            Change::Enable => BucketVersioningStatus::Enabled,
            Change::Suspend => BucketVersioningStatus::Suspended,
        };
        // Without a word on MFA delete, which so stays as it is.
        let versioning = VersioningConfiguration::builder().status(status).build();
        let put = self.0.api.put_bucket_versioning().bucket(bucket.as_str());
        put.expected_bucket_owner(&self.0.account)
            .versioning_configuration(versioning)
            .send()
            .await
            .during("s3:PutBucketVersioning")?;
        Ok(None)
    }

    fn revert(before: &State, after: &State) -> Plan<Change> {
        match (before.status, after.status) {
            (Status::Suspended, Status::Enabled) => Plan::one(Change::Suspend),
            _ => Plan::nothing(),
        }
    }

    fn describe(state: &State, change: &Change) -> Description {
        let then = match change {
            Change::Enable => Status::Enabled,
            Change::Suspend => Status::Suspended,
        };
        let differs = state.status != then;
        let line = |status: Status| format!("Versioning: {status}");
        Description {
            action: "s3:PutBucketVersioning".into(),
            effect: Effect::Set,
            minus: differs.then(|| line(state.status)).into_iter().collect(),
            plus: differs.then(|| line(then)).into_iter().collect(),
        }
    }

    fn console(bucket: &Bucket, region: &str) -> String {
        bucket.console(region)
    }

    fn arn(bucket: &Bucket, _: &str, region: &str) -> String {
        bucket.arn(region)
    }

    fn notes(state: &State) -> Vec<String> {
        if Self::plan(state).is_empty() || !state.mfa_delete {
            return Vec::new();
        }
        let note = "MFA delete is enabled: AWS lets only the root user with its device enable versioning again";
        vec![note.to_owned()]
    }

    /// Only the status is changed and given back.
    fn same(one: &State, other: &State) -> bool {
        one.status == other.status
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unversioned => "never enabled",
            Self::Enabled => "Enabled",
            Self::Suspended => "Suspended",
        })
    }
}

#[cfg(test)]
mod tests {
    use quell_engine::Trigger;
    use serde_json::json;

    use super::*;
    use crate::s3::tests::signal;

    fn of(status: Status) -> State {
        State { status, mfa_delete: false }
    }

    #[test]
    fn only_suspended_versioning_is_enabled_and_undo_suspends_it() {
        let suspended = of(Status::Suspended);
        assert_eq!(Versioning::plan(&suspended).changes, [Change::Enable]);
        let enabled = of(Status::Enabled);
        assert!(Versioning::plan(&enabled).is_empty());
        assert_eq!(Versioning::revert(&suspended, &enabled).changes, [Change::Suspend]);
        assert!(Versioning::revert(&suspended, &suspended).is_empty());
    }

    #[test]
    fn a_bucket_that_never_had_it_is_left_alone() {
        assert!(Versioning::plan(&of(Status::Unversioned)).is_empty());
    }

    #[test]
    fn it_is_shown_as_aws_writes_it() {
        let shown = Versioning::describe(&of(Status::Suspended), &Change::Enable);
        assert_eq!(shown.minus, ["Versioning: Suspended"]);
        assert_eq!(shown.plus, ["Versioning: Enabled"]);
        let nothing = Versioning::describe(&of(Status::Enabled), &Change::Enable);
        assert!(nothing.minus.is_empty() && nothing.plus.is_empty());
    }

    #[test]
    fn mfa_delete_is_told_where_it_stands_in_the_way() {
        let guarded = State { mfa_delete: true, ..of(Status::Suspended) };
        assert!(Versioning::notes(&guarded)[0].contains("root user"));
        assert!(Versioning::notes(&State { status: Status::Enabled, ..guarded }).is_empty());
        assert!(Versioning::notes(&of(Status::Suspended)).is_empty());
        assert!(Versioning::same(&guarded, &of(Status::Suspended)));
    }

    #[test]
    fn calls_and_findings_name_the_bucket() {
        let call = Trigger::ApiCall {
            service: "s3.amazonaws.com".into(),
            name: "PutBucketVersioning".into(),
            parameters: json!({"bucketName": "photos", "versioning": "",
                "VersioningConfiguration": {"Status": "Suspended"}}),
            response: json!(null),
            resources: Vec::new(),
        };
        let hub = Trigger::SecurityHub {
            generator: "security-control/S3.14".into(),
            resource_type: "AwsS3Bucket".into(),
            resource: "arn:aws:s3:::photos".into(),
            action: None,
        };
        for trigger in [call, hub] {
            let found = Versioning::targets(&signal(trigger.clone()));
            assert_eq!(found, Ok(vec!["photos".parse().unwrap()]), "{trigger:?}");
        }
    }
}
