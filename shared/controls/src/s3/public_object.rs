//! Takes public grants out of the access control list of an object.
//!
//! ## What it fixes
//! An object whose access control list (ACL) grants anything to the group *AllUsers* (everyone on the internet) or
//! *AuthenticatedUsers* (everyone with any AWS account). Exactly those grants go. Every other grant and the owner stay as
//! they are. Where the call named a version of the object, that version is meant, else the current one.
//!
//! It is seen only where a trail records data events of S3 for the bucket: then CloudTrail tells of `PutObjectAcl`. Objects
//! that are uploaded with a public ACL are not looked at, because every upload would have to be, nor does a sweep look for
//! objects. `s3-block-public-access` closes them all.
//!
//! Where the ACL has no effect, because ACLs are disabled for the bucket (Object Ownership is *bucket owner enforced*) or
//! because `IgnorePublicAcls` is on for the bucket or the account, nothing is changed and the grant is reported as
//! ineffective. AWS then mostly hides the grant from everyone who reads the ACL.
//!
//! ## Why it matters
//! Anyone who knows or guesses the name reads the object, even if the bucket's own ACL and policy are private: it is the
//! quietest way to take data out.
//!
//! ## What can break
//! Links to the object that were given out answer 403. A program that publishes objects this way does it again with the
//! next one: change it there.
//!
//! ## Undo
//! Sets the list of grants back as it was. AWS refuses this if Block Public Access (`BlockPublicAcls`) was switched on
//! since, and says `AccessControlListNotSupported` if ACLs were disabled since. Both are reported in words, and nothing
//! changes.

use std::{collections::BTreeMap, fmt, str::FromStr};

use quell_engine::{
    CallError, Clients, Control, Description, During, Listen, Meta, Plan, Progress, Safety,
    Severity, Signal, Trigger, aws::OrMissing, control::TargetError,
};
use serde::{Deserialize, Serialize};

use super::{
    Bucket, Level,
    client::{LIST, S3, TAGS},
    public_acl::{Acl, PublicAcl, SetAcl, State, are_disabled, refusal},
};

pub struct PublicObject(S3);

/// An object, or one version of it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Object {
    pub bucket: Bucket,
    pub key: Key,
    /// `None`: the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionId>,
}

/// 1 to 1024 bytes of text, whatever it is.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(String);

/// At most 1024 bytes, of characters that need no escape in an address.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/versioning-workflows.html>
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct VersionId(String);

impl Control for PublicObject {
    const META: Meta = Meta {
        id: "s3-public-object",
        title: "S3 object ACLs grant nothing to the public",
        risk: "The access control list of the object lets anyone on the internet, or anyone with an AWS account, in.",
        severity: Severity::High,
        safety: Safety::Safe,
        reversible: true,
        satisfies: &["nist-800-53-r5/AC-3", "nist-800-53-r5/AC-6"],
        function: "s3-exposure",
        listens: &[Listen::ApiCall {
            source: "aws.s3",
            service: "s3.amazonaws.com",
            calls: &["PutObjectAcl"],
        }],
        // Nobody could list all objects.
        discovers: &[],
        reads: &[
            "s3:GetAccountPublicAccessBlock",
            "s3:GetBucketOwnershipControls",
            "s3:GetBucketPublicAccessBlock",
            READ,
            "s3:GetObjectVersionAcl",
            TAGS,
            LIST,
            // Without it AWS answers "denied" for an object that is not there.
            "s3:ListBucket",
        ],
        writes: &[WRITE, "s3:PutObjectVersionAcl"],
        baseline: false,
        visible_within: 0,
        source: file!(),
    };

    type Target = Object;
    type State = State;
    type Change = SetAcl;

    fn connect(aws: &Clients) -> Self {
        Self(S3::new(aws))
    }

    fn targets(signal: &Signal) -> Result<Vec<Object>, TargetError> {
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        let refuse = |field, why: BadObject| {
            let control = Self::META.id;
            TargetError { control, field, reason: why.to_string() }
        };
        let object = match &signal.trigger {
            Trigger::ApiCall { parameters, resources, .. } => {
                let text = |name: &str| parameters.get(name).and_then(|value| value.as_str());
                match (text("bucketName"), text("key")) {
                    (Some(bucket), Some(key)) => Object::new(bucket, key, text("versionId"))
                        .map_err(|why| refuse("requestParameters", why))?,
                    // CloudTrail leaves long parameters out, but still lists the resources.
                    _ => {
                        let mut arns = resources.iter().filter(|arn| arn.starts_with("arn:"));
                        let object = arns.find_map(|arn| arn.parse().ok());
                        object.ok_or_else(|| refuse("requestParameters", BadObject::MISSING))?
                    }
                }
            }
            Trigger::Manual { resource, .. } => {
                resource.parse().map_err(|why| refuse("resource", why))?
            }
            _ => return Ok(Vec::new()),
        };
        Ok(vec![object])
    }

    async fn assess(&self, object: &Object) -> Result<Option<State>, CallError> {
        let read = tokio::try_join!(
            self.acl(object),
            are_disabled(&self.0, &object.bucket),
            self.0.switches(&object.bucket),
            self.0.account_switches(),
        );
        Ok(read.or_missing(&GONE)?.map(|(acl, disabled, own, account)| State {
            acl,
            disabled,
            ignored: Level::of(|switches| switches.ignore_public_acls, own, account),
        }))
    }

    async fn assess_again(
        &self,
        object: &Object,
        known: &State,
    ) -> Result<Option<State>, CallError> {
        let acl = self.acl(object).await.or_missing(&GONE)?;
        Ok(acl.map(|acl| State { acl, ..known.clone() }))
    }

    /// Those of the bucket, by which policies are scoped.
    async fn tags(&self, object: &Object) -> Result<BTreeMap<String, String>, CallError> {
        self.0.tags(&object.bucket).await
    }

    async fn unique_id(&self, object: &Object) -> Result<String, CallError> {
        self.0.made_at(&object.bucket).await
    }

    fn plan(state: &State) -> Plan<SetAcl> {
        PublicAcl::plan(state)
    }

    async fn apply(
        &self,
        Object { bucket, key, version }: &Object,
        SetAcl { acl }: &SetAcl,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        let put = self.0.api.put_object_acl().bucket(bucket.as_str()).key(&key.0);
        put.set_version_id(version.clone().map(String::from))
            .expected_bucket_owner(&self.0.account)
            .access_control_policy(acl.to_sdk()?)
            .send()
            .await
            .during(WRITE)
            .map_err(|error| refusal(error, acl))?;
        Ok(None)
    }

    fn revert(before: &State, after: &State) -> Plan<SetAcl> {
        PublicAcl::revert(before, after)
    }

    fn describe(state: &State, change: &SetAcl) -> Description {
        Description { action: WRITE.into(), ..PublicAcl::describe(state, change) }
    }

    fn console(Object { bucket, key, .. }: &Object, region: &str) -> String {
        let bucket_page = bucket.console(region);
        let host = bucket_page.split("/s3/").next().unwrap_or_default();
        let mut prefix = String::new();
        for byte in key.0.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    prefix.push(char::from(byte));
                }
                _ => prefix.push_str(&format!("%{byte:02X}")),
            }
        }
        format!("{host}/s3/object/{bucket}?region={region}&prefix={prefix}&tab=permissions")
    }

    fn arn(object: &Object, _: &str, region: &str) -> String {
        let bucket = object.bucket.arn(region);
        format!("{bucket}/{}", object.path())
    }

    fn notes(state: &State) -> Vec<String> {
        PublicAcl::notes(state)
    }

    fn same(one: &State, other: &State) -> bool {
        PublicAcl::same(one, other)
    }
}

const READ: &str = "s3:GetObjectAcl";
const WRITE: &str = "s3:PutObjectAcl";

/// The last: a delete marker, which has no ACL.
const GONE: [&str; 4] = ["NoSuchBucket", "NoSuchKey", "NoSuchVersion", "MethodNotAllowed"];

/// What stands between a key and a version.
const VERSION: &str = "?versionId=";

impl PublicObject {
    async fn acl(&self, Object { bucket, key, version }: &Object) -> Result<Acl, CallError> {
        let get = self.0.api.get_object_acl().bucket(bucket.as_str()).key(&key.0);
        let reply = get
            .set_version_id(version.clone().map(String::from))
            .expected_bucket_owner(&self.0.account)
            .send()
            .await
            .during(READ)?;
        Acl::from_sdk(reply.owner, reply.grants, READ)
    }
}

impl Object {
    fn new(bucket: &str, key: &str, version: Option<&str>) -> Result<Self, BadObject> {
        Ok(Self {
            bucket: bucket.parse().map_err(|_| BadObject("it names no bucket"))?,
            key: key.to_owned().try_into()?,
            version: version.map(|version| version.to_owned().try_into()).transpose()?,
        })
    }

    /// Behind the bucket.
    fn path(&self) -> String {
        match &self.version {
            Some(version) => format!("{}{VERSION}{}", self.key.0, version.0),
            None => self.key.0.clone(),
        }
    }
}

/// From `bucket/key`, `bucket/key?versionId=id`, or the same as an ARN.
impl FromStr for Object {
    type Err = BadObject;

    fn from_str(text: &str) -> Result<Self, BadObject> {
        let (bucket, path) = text.split_once('/').ok_or(BadObject("it names no key"))?;
        // The bucket's own reader knows its ARN.
        match path.rsplit_once(VERSION) {
            Some((key, version)) if VersionId::try_from(version.to_owned()).is_ok() => {
                Self::new(bucket, key, Some(version))
            }
            _ => Self::new(bucket, path, None),
        }
    }
}

/// Why a text does not name an object. Does not repeat the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct BadObject(&'static str);

impl BadObject {
    const MISSING: Self = Self("it names no bucket and key, and `resources` lists no object");
}

impl TryFrom<String> for Key {
    type Error = BadObject;

    fn try_from(text: String) -> Result<Self, BadObject> {
        if !(1..=1024).contains(&text.len()) {
            return Err(BadObject("an object's key has 1 to 1024 bytes"));
        }
        // S3 takes them. Nobody could tell such an object from another one in a message.
        if text.contains(char::is_control) {
            return Err(BadObject(
                "an object's key with control characters cannot be shown; make the object private by hand",
            ));
        }
        Ok(Self(text))
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0
    }
}

impl TryFrom<String> for VersionId {
    type Error = BadObject;

    fn try_from(text: String) -> Result<Self, BadObject> {
        let is_plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
        if (1..=1024).contains(&text.len()) && text.bytes().all(is_plain) {
            Ok(Self(text))
        } else {
            Err(BadObject("it names no version of an object"))
        }
    }
}

impl From<VersionId> for String {
    fn from(version: VersionId) -> Self {
        version.0
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.bucket, self.path())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::s3::tests::signal;

    fn call(parameters: Value, resources: &[&str]) -> Signal {
        signal(Trigger::ApiCall {
            service: "s3.amazonaws.com".into(),
            name: "PutObjectAcl".into(),
            parameters,
            response: Value::Null,
            resources: resources.iter().map(|&arn| arn.to_owned()).collect(),
        })
    }

    fn named(signal: &Signal) -> Vec<String> {
        PublicObject::targets(signal).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_call_names_the_object_and_its_version() {
        let object = json!({"bucketName": "photos", "key": "a b/c.jpg", "acl": ""});
        assert_eq!(named(&call(object, &[])), ["photos/a b/c.jpg"]);
        let version =
            json!({"bucketName": "photos", "key": "c", "versionId": "3HL4kqtJvjVBH40Nrjfkd"});
        assert_eq!(named(&call(version, &[])), ["photos/c?versionId=3HL4kqtJvjVBH40Nrjfkd"]);
        let arns = ["arn:aws:s3:::photos", "arn:aws:s3:::photos/a/b"];
        assert_eq!(named(&call(json!({"omitted": "true"}), &arns)), ["photos/a/b"]);
    }

    #[test]
    fn what_names_no_object_is_refused() {
        for parameters in [
            json!({"bucketName": "photos"}),
            json!({"bucketName": "photos", "key": ""}),
            json!({"bucketName": "photos", "key": "k".repeat(1025)}),
            json!({"bucketName": "photos", "key": 7}),
            json!({"bucketName": "../photos", "key": "k"}),
            json!({"bucketName": "photos", "key": "k", "versionId": "a&acl"}),
            Value::Null,
        ] {
            let found = PublicObject::targets(&call(parameters.clone(), &["arn:aws:s3:::photos"]));
            assert!(found.is_err(), "{parameters}");
        }
    }

    #[test]
    fn links_and_arns_escape_what_they_must() {
        let object: Object = "photos/a b&c=d?versionId=null".parse().unwrap();
        assert_eq!(
            PublicObject::console(&object, "eu-west-1"),
            "https://s3.console.aws.amazon.com/s3/object/photos?region=eu-west-1\
             &prefix=a%20b%26c%3Dd&tab=permissions"
        );
        assert_eq!(
            PublicObject::arn(&object, "123456789012", "cn-north-1"),
            "arn:aws-cn:s3:::photos/a b&c=d?versionId=null"
        );
    }

    proptest! {
        #[test]
        fn an_object_is_read_as_it_is_shown(key in "\\PC{1,40}", version in proptest::option::of("[a-zA-Z0-9._-]{1,32}")) {
            let object = Object::new("photos", &key, version.as_deref()).unwrap();
            prop_assert_eq!(object.to_string().parse::<Object>(), Ok(object.clone()));
            let stored = serde_json::to_value(&object).unwrap();
            prop_assert_eq!(serde_json::from_value::<Object>(stored).unwrap(), object);
        }
    }
}
