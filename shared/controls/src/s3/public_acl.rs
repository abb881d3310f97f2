//! Takes public grants out of a bucket's access control list.
//!
//! ## What it fixes
//! A bucket whose access control list (ACL) grants anything to the group *AllUsers* (everyone on the internet) or
//! *AuthenticatedUsers* (everyone with any AWS account). Exactly those grants go. Every other grant (canonical users,
//! other accounts, the log delivery group) and the owner stay as they are.
//!
//! Where the ACL has no effect, because ACLs are disabled for the bucket (Object Ownership is *bucket owner
//! enforced*) or because `IgnorePublicAcls` is on for the bucket or the account, nothing is changed and the grant is
//! reported as ineffective. AWS then mostly hides the grant from everyone who reads the ACL.
//!
//! ## Why it matters
//! A public `READ` lets strangers list the bucket, `WRITE` lets them put and delete objects, `WRITE_ACP` lets them take
//! it over. The classic S3 leak is one canned ACL, `public-read`, in a script or template.
//!
//! ## What can break
//! Anonymous listing of, or uploads to, the bucket stop. Objects have ACLs of their own, which this control leaves
//! alone: an object that was uploaded as `public-read` stays readable by its name. Block Public Access
//! (`s3-block-public-access`) closes those too. A template or script that sets the public ACL sets it again at its next
//! run: change it there.
//!
//! ## Undo
//! Sets the list of grants back as it was. AWS refuses this if Block Public Access (`BlockPublicAcls`) was switched on
//! since, and says `AccessControlListNotSupported` if ACLs were disabled since. Both are reported in words, and
//! nothing changes.

use std::collections::BTreeMap;

use aws_sdk_s3::types::{self, AccessControlPolicy, ObjectOwnership};
use quell_engine::{
    CallError, CallErrorKind, Clients, Control, Description, Discovered, During, Effect, Listen,
    Meta, Plan, Progress, Safety, Severity, Signal, aws::OrMissing, control::TargetError,
};
use serde::{Deserialize, Serialize};

use super::{
    Bucket, Level,
    client::{LIST, S3, TAGS, blocked},
};

pub struct PublicAcl(S3);

/// What S3 answers about the ACL, and whether it counts.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct State {
    pub acl: Acl,
    /// ACLs are disabled: Object Ownership is `BucketOwnerEnforced`.
    pub disabled: bool,
    /// Where `IgnorePublicAcls` is on.
    pub ignored: Option<Level>,
}

/// An access control list, in the order in which AWS gives it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Acl {
    pub owner: Owner,
    pub grants: Vec<Grant>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Owner {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
}

/// One grant with every field that AWS gives, so that it can be given back.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Grant {
    pub permission: String,
    /// `CanonicalUser`, `Group` or `AmazonCustomerByEmail`.
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
}

/// Sets the whole list: S3 has no call for a single grant.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct SetAcl {
    pub acl: Acl,
}

impl Control for PublicAcl {
    const META: Meta = Meta {
        id: "s3-public-acl",
        title: "S3 bucket ACLs grant nothing to the public",
        risk: "The access control list of the bucket lets anyone on the internet, or anyone with an AWS account, in.",
        severity: Severity::High,
        safety: Safety::Safe,
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
            // The last four can make a grant effective that was there without effect.
            Listen::ApiCall {
                source: "aws.s3",
                service: "s3.amazonaws.com",
                calls: &[
                    "CreateBucket",
                    "PutBucketAcl",
                    "DeleteBucketOwnershipControls",
                    "DeleteBucketPublicAccessBlock",
                    "PutBucketOwnershipControls",
                    "PutBucketPublicAccessBlock",
                ],
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
                rules: &["s3-bucket-public-read-prohibited", "s3-bucket-public-write-prohibited"],
                resource_type: "AWS::S3::Bucket",
            },
            Listen::AccessAnalyzer { resource_type: "AWS::S3::Bucket" },
        ],
        discovers: &[LIST],
        reads: &[
            "s3:GetAccountPublicAccessBlock",
            "s3:GetBucketAcl",
            "s3:GetBucketOwnershipControls",
            "s3:GetBucketPublicAccessBlock",
            TAGS,
            LIST,
        ],
        writes: &["s3:PutBucketAcl"],
        baseline: false,
        visible_within: 30,
        source: file!(),
    };

    type Target = Bucket;
    type State = State;
    type Change = SetAcl;

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
            self.acl(bucket),
            are_disabled(&self.0, bucket),
            self.0.switches(bucket),
            self.0.account_switches(),
        );
        Ok(read.or_missing(&["NoSuchBucket"])?.map(|(acl, disabled, own, account)| State {
            acl,
            disabled,
            ignored: Level::of(|switches| switches.ignore_public_acls, own, account),
        }))
    }

    async fn assess_again(
        &self,
        bucket: &Bucket,
        known: &State,
    ) -> Result<Option<State>, CallError> {
        let acl = self.acl(bucket).await.or_missing(&["NoSuchBucket"])?;
        Ok(acl.map(|acl| State { acl, ..known.clone() }))
    }

    async fn tags(&self, bucket: &Bucket) -> Result<BTreeMap<String, String>, CallError> {
        self.0.tags(bucket).await
    }

    async fn unique_id(&self, bucket: &Bucket) -> Result<String, CallError> {
        self.0.made_at(bucket).await
    }

    fn plan(state: &State) -> Plan<SetAcl> {
        if state.ineffective().is_some() || !state.acl.is_public() {
            return Plan::nothing();
        }
        Plan::one(SetAcl { acl: state.acl.without_public() })
    }

    async fn apply(
        &self,
        bucket: &Bucket,
        SetAcl { acl }: &SetAcl,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        self.0
            .api
            .put_bucket_acl()
            .bucket(bucket.as_str())
            .expected_bucket_owner(&self.0.account)
            .access_control_policy(acl.to_sdk()?)
            .send()
            .await
            .during("s3:PutBucketAcl")
            .map_err(|error| refusal(error, acl))?;
        Ok(None)
    }

    fn revert(before: &State, after: &State) -> Plan<SetAcl> {
        if Self::same(before, after) {
            return Plan::nothing();
        }
        Plan::one(SetAcl { acl: before.acl.clone() })
    }

    fn describe(state: &State, change: &SetAcl) -> Description {
        Description {
            action: "s3:PutBucketAcl".into(),
            effect: Effect::Set,
            minus: state.acl.beyond(&change.acl),
            plus: change.acl.beyond(&state.acl),
        }
    }

    fn console(bucket: &Bucket, region: &str) -> String {
        bucket.console(region)
    }

    fn arn(bucket: &Bucket, _: &str, region: &str) -> String {
        bucket.arn(region)
    }

    fn notes(state: &State) -> Vec<String> {
        let Some(why) = state.ineffective() else { return Vec::new() };
        let public: Vec<String> =
            state.acl.grants.iter().filter(|grant| grant.is_public()).map(Grant::line).collect();
        vec![if public.is_empty() {
            format!("a public grant would have no effect here, and AWS may not show it: {why}")
        } else {
            format!("the public grant is there but ineffective ({}): {why}", public.join(", "))
        }]
    }

    /// The ACL alone is changed and given back. AWS may list the grants in another order, and no longer tells names.
    fn same(one: &State, other: &State) -> bool {
        let grants = |state: &State| {
            let mut grants = state.acl.grants.clone();
            grants.iter_mut().for_each(|grant| grant.display_name = None);
            grants.sort();
            grants
        };
        one.acl.owner.id == other.acl.owner.id && grants(one) == grants(other)
    }
}

impl PublicAcl {
    async fn acl(&self, bucket: &Bucket) -> Result<Acl, CallError> {
        let reply = self
            .0
            .api
            .get_bucket_acl()
            .bucket(bucket.as_str())
            .expected_bucket_owner(&self.0.account)
            .send()
            .await
            .during("s3:GetBucketAcl")?;
        Acl::from_sdk(reply.owner, reply.grants, "s3:GetBucketAcl")
    }
}

/// Whether ACLs are disabled for the bucket and its objects.
pub(super) async fn are_disabled(s3: &S3, bucket: &Bucket) -> Result<bool, CallError> {
    let reply = s3
        .api
        .get_bucket_ownership_controls()
        .bucket(bucket.as_str())
        .expected_bucket_owner(&s3.account)
        .send()
        .await
        .during("s3:GetBucketOwnershipControls")
        .or_missing(&["OwnershipControlsNotFoundError"])?;
    let rules = reply.and_then(|reply| reply.ownership_controls);
    Ok(rules.is_some_and(|controls| {
        let enforced = ObjectOwnership::BucketOwnerEnforced;
        controls.rules.iter().any(|rule| rule.object_ownership == enforced)
    }))
}

impl State {
    /// Why public grants in the ACL have no effect.
    fn ineffective(&self) -> Option<String> {
        if self.disabled {
            Some(
                "ACLs are disabled for the bucket (Object Ownership is BucketOwnerEnforced)".into(),
            )
        } else {
            self.ignored.map(|level| format!("IgnorePublicAcls is on for {level}"))
        }
    }
}

impl Acl {
    /// What the action answered.
    pub(super) fn from_sdk(
        owner: Option<types::Owner>,
        grants: Option<Vec<types::Grant>>,
        action: &'static str,
    ) -> Result<Self, CallError> {
        let owner = owner.as_ref();
        let grants = grants.unwrap_or_default().into_iter();
        Ok(Self {
            owner: Owner {
                id: owner.and_then(|owner| owner.id.clone()),
                display_name: owner.and_then(|owner| owner.display_name.clone()),
            },
            grants: grants.map(|grant| Grant::from_sdk(grant, action)).collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn to_sdk(&self) -> Result<AccessControlPolicy, CallError> {
        let owner = types::Owner::builder()
            .set_id(self.owner.id.clone())
            .set_display_name(self.owner.display_name.clone());
        let grants = self.grants.iter().map(Grant::to_sdk).collect::<Result<_, _>>()?;
        let policy = AccessControlPolicy::builder().owner(owner.build()).set_grants(Some(grants));
        Ok(policy.build())
    }

    fn is_public(&self) -> bool {
        self.grants.iter().any(Grant::is_public)
    }

    fn without_public(&self) -> Self {
        let grants = self.grants.iter().filter(|grant| !grant.is_public()).cloned().collect();
        Self { owner: self.owner.clone(), grants }
    }

    /// The grants that are here and not in the other list, one line each.
    fn beyond(&self, other: &Self) -> Vec<String> {
        let mut others: Vec<&Grant> = other.grants.iter().collect();
        let mut lines = Vec::new();
        for grant in &self.grants {
            match others.iter().position(|other| *other == grant) {
                Some(found) => {
                    others.swap_remove(found);
                }
                None => lines.push(grant.line()),
            }
        }
        lines
    }
}

impl Grant {
    fn from_sdk(grant: types::Grant, action: &'static str) -> Result<Self, CallError> {
        // Whatever could not be given back must not be taken away.
        let (Some(grantee), Some(permission)) = (grant.grantee, grant.permission) else {
            let message = "AWS answered with a grant without grantee or permission";
            return Err(CallError::new(action, CallErrorKind::Refused, message));
        };
        Ok(Self {
            permission: permission.as_str().to_owned(),
            kind: grantee.r#type.as_str().to_owned(),
            uri: grantee.uri,
            id: grantee.id,
            email: grantee.email_address,
            display_name: grantee.display_name,
        })
    }

    fn to_sdk(&self) -> Result<types::Grant, CallError> {
        let grantee = types::Grantee::builder()
            .r#type(types::Type::from(self.kind.as_str()))
            .set_uri(self.uri.clone())
            .set_id(self.id.clone())
            .set_email_address(self.email.clone())
            .set_display_name(self.display_name.clone())
            .build()
            .map_err(|error| {
                CallError::new("s3:PutBucketAcl", CallErrorKind::Refused, error.to_string())
            })?;
        let permission = types::Permission::from(self.permission.as_str());
        Ok(types::Grant::builder().grantee(grantee).permission(permission).build())
    }

    fn is_public(&self) -> bool {
        let group = self
            .uri
            .as_deref()
            .and_then(|uri| uri.strip_prefix("http://").or_else(|| uri.strip_prefix("https://")));
        group.is_some_and(|group| PUBLIC_GROUPS.contains(&group))
    }

    fn line(&self) -> String {
        let who = [&self.uri, &self.id, &self.email].into_iter().find_map(Option::as_deref);
        format!("{} to {} {}", self.permission, self.kind, who.unwrap_or("(unnamed)"))
    }
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html#specifying-grantee-predefined-groups>
const PUBLIC_GROUPS: [&str; 2] = [
    "acs.amazonaws.com/groups/global/AllUsers",
    "acs.amazonaws.com/groups/global/AuthenticatedUsers",
];

pub(super) fn refusal(error: CallError, acl: &Acl) -> CallError {
    if error.is("AccessControlListNotSupported") {
        let message = "AccessControlListNotSupported: ACLs are disabled for the bucket (Object Ownership is \
                       BucketOwnerEnforced), so that no grant in its ACL can be set or has any effect";
        return CallError { message: message.into(), kind: CallErrorKind::Refused, ..error };
    }
    if acl.is_public() { blocked(error, "ACL", "BlockPublicAcls") } else { error }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quell_engine::Trigger;
    use serde_json::json;

    use super::*;
    use crate::s3::tests::signal;

    const EVERYONE: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
    const ANY_ACCOUNT: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";
    const LOG_DELIVERY: &str = "http://acs.amazonaws.com/groups/s3/LogDelivery";

    fn user(id: &str, permission: &str) -> Grant {
        Grant {
            permission: permission.into(),
            kind: "CanonicalUser".into(),
            uri: None,
            id: Some(id.into()),
            email: None,
            display_name: Some(format!("name of {id}")),
        }
    }

    fn group(uri: &str, permission: &str) -> Grant {
        Grant {
            permission: permission.into(),
            kind: "Group".into(),
            uri: Some(uri.into()),
            id: None,
            email: None,
            display_name: None,
        }
    }

    fn state(grants: Vec<Grant>) -> State {
        let owner = Owner { id: Some("owner".into()), display_name: Some("Owner".into()) };
        State { acl: Acl { owner, grants }, disabled: false, ignored: None }
    }

    #[test]
    fn exactly_the_public_grants_go() {
        let kept = [user("owner", "FULL_CONTROL"), group(LOG_DELIVERY, "WRITE"), user("b", "READ")];
        let found = state(vec![
            group(EVERYONE, "READ"),
            kept[0].clone(),
            group(ANY_ACCOUNT, "WRITE_ACP"),
            kept[1].clone(),
            kept[2].clone(),
            group(EVERYONE, "READ_ACP"),
        ]);
        let plan = PublicAcl::plan(&found);
        let [change] = plan.changes.as_slice() else { panic!("{plan:?}") };
        assert_eq!(change.acl.grants, kept);
        assert_eq!(change.acl.owner, found.acl.owner);

        let described = PublicAcl::describe(&found, change);
        assert_eq!(described.plus, [""; 0]);
        assert_eq!(
            described.minus,
            [
                format!("READ to Group {EVERYONE}"),
                format!("WRITE_ACP to Group {ANY_ACCOUNT}"),
                format!("READ_ACP to Group {EVERYONE}"),
            ]
        );
    }

    #[test]
    fn private_lists_and_lookalikes_are_left_alone() {
        for grant in [
            user("owner", "FULL_CONTROL"),
            user(EVERYONE, "READ"),
            group(LOG_DELIVERY, "WRITE"),
            group("http://example.com/groups/global/AllUsers", "READ"),
            group("http://acs.amazonaws.com/groups/global/AllUsersOfMine", "READ"),
        ] {
            assert!(PublicAcl::plan(&state(vec![grant.clone()])).is_empty(), "{grant:?}");
        }
        assert!(PublicAcl::plan(&state(Vec::new())).is_empty());
        assert!(PublicAcl::notes(&state(vec![group(EVERYONE, "READ")])).is_empty());
    }

    #[test]
    fn a_grant_without_effect_is_noted_and_left() {
        let public = state(vec![group(EVERYONE, "READ")]);
        for (found, why) in [
            (State { disabled: true, ..public.clone() }, "BucketOwnerEnforced"),
            (State { ignored: Some(Level::Bucket), ..public.clone() }, "on for the bucket"),
            (State { ignored: Some(Level::Account), ..public.clone() }, "on for the account"),
        ] {
            assert!(PublicAcl::plan(&found).is_empty(), "{found:?}");
            let notes = PublicAcl::notes(&found);
            assert!(notes[0].contains("ineffective") && notes[0].contains(why), "{notes:?}");
        }
        let hidden = State { disabled: true, ..state(Vec::new()) };
        assert!(PublicAcl::notes(&hidden)[0].contains("would have no effect"));
    }

    #[test]
    fn order_and_display_names_make_no_difference_but_grants_do() {
        let one = state(vec![user("a", "READ"), user("b", "READ")]);
        let mut other = state(vec![user("b", "READ"), user("a", "READ")]);
        other.acl.grants[0].display_name = None;
        other.ignored = Some(Level::Account);
        assert!(PublicAcl::same(&one, &other));
        other.acl.grants.push(user("a", "READ"));
        assert!(!PublicAcl::same(&one, &other));
    }

    #[test]
    fn refusals_are_told_in_words() {
        let public = state(vec![group(EVERYONE, "READ")]).acl;
        let refused = |code: &str, message: &str| CallError {
            code: Some(code.into()),
            ..CallError::new("s3:PutBucketAcl", CallErrorKind::Denied, message)
        };

        let error = refusal(refused("AccessControlListNotSupported", "…"), &public);
        assert!(error.is("AccessControlListNotSupported"));
        assert_eq!(error.kind, CallErrorKind::Refused);
        assert!(error.message.contains("ACLs are disabled"));

        let denied = refused("AccessDenied", "Access Denied");
        assert!(refusal(denied.clone(), &public).message.contains("Block Public Access"));
        let private = state(vec![user("owner", "FULL_CONTROL")]).acl;
        assert_eq!(refusal(denied.clone(), &private), denied);
    }

    #[test]
    fn all_spellings_of_public_name_the_bucket() {
        for parameters in [
            json!({"bucketName": "photos", "acl": [""], "AccessControlPolicy": {"AccessControlList":
                {"Grant": {"Grantee": {"URI": EVERYONE}, "Permission": "READ"}}}}),
            json!({"bucketName": "photos", "acl": [""], "x-amz-acl": ["public-read"]}),
            json!({"bucketName": "photos", "x-amz-grant-read": [format!("uri={EVERYONE}")]}),
        ] {
            for name in ["PutBucketAcl", "CreateBucket"] {
                let trigger = Trigger::ApiCall {
                    service: "s3.amazonaws.com".into(),
                    name: name.into(),
                    parameters: parameters.clone(),
                    response: json!(null),
                    resources: Vec::new(),
                };
                let targets = PublicAcl::targets(&signal(trigger)).unwrap();
                assert_eq!(targets, ["photos".parse().unwrap()], "{name} {parameters}");
            }
        }
    }

    #[test]
    fn other_signals_are_not_for_it() {
        let other = Trigger::ApiCall {
            service: "ec2.amazonaws.com".into(),
            name: "PutBucketAcl".into(),
            parameters: json!({"bucketName": "photos"}),
            response: json!(null),
            resources: Vec::new(),
        };
        assert_eq!(PublicAcl::targets(&signal(other)), Ok(Vec::new()));
    }

    fn grants() -> impl Strategy<Value = Vec<Grant>> {
        let grant = prop_oneof![
            ("[a-f0-9]{8}", "READ|WRITE|FULL_CONTROL")
                .prop_map(|(id, allowed)| user(&id, &allowed)),
            "READ|WRITE|READ_ACP".prop_map(|allowed| group(EVERYONE, &allowed)),
            "READ|WRITE|WRITE_ACP".prop_map(|allowed| group(ANY_ACCOUNT, &allowed)),
            Just(group(LOG_DELIVERY, "WRITE")),
        ];
        proptest::collection::vec(grant, 0..12)
    }

    proptest! {
        #[test]
        fn the_plan_leaves_nothing_public_and_undo_brings_all_back(grants in grants()) {
            let before = state(grants);
            let mut after = before.clone();
            for change in PublicAcl::plan(&before).changes {
                after.acl = change.acl;
            }
            prop_assert!(PublicAcl::plan(&after).is_empty());
            let private: Vec<&Grant> =
                before.acl.grants.iter().filter(|grant| !grant.is_public()).collect();
            prop_assert_eq!(after.acl.grants.iter().collect::<Vec<_>>(), private);

            let mut undone = after.clone();
            for change in PublicAcl::revert(&before, &after).changes {
                undone.acl = change.acl;
            }
            prop_assert_eq!(undone, before);
        }

        #[test]
        fn grants_reach_the_api_as_they_came(grants in grants()) {
            for grant in grants {
                prop_assert_eq!(Grant::from_sdk(grant.to_sdk().unwrap(), "s3:GetBucketAcl").unwrap(), grant);
            }
        }
    }
}
