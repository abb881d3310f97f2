//! The name of a bucket, and where events carry it.

use std::{collections::HashSet, fmt, str::FromStr};

use quell_engine::{Signal, Trigger, control::TargetError};
use serde::{Deserialize, Serialize};

/// The name of a general purpose bucket. Whatever else an event says never gets as far as a call.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bucket(String);

impl Bucket {
    /// The buckets that a signal speaks of, each once.
    pub(crate) fn of(signal: &Signal, control: &'static str) -> Result<Vec<Self>, TargetError> {
        let refuse = |field, reason: String| TargetError { control, field, reason };
        let named = |field, name: &str| {
            name.parse().map_err(|why: BadBucketName| refuse(field, why.to_string()))
        };
        let mut buckets = match &signal.trigger {
            Trigger::ApiCall { parameters, resources, .. } => {
                let field = "requestParameters.bucketName";
                match parameters.get("bucketName").filter(|name| !name.is_null()) {
                    Some(name) => {
                        let name = name
                            .as_str()
                            .ok_or_else(|| refuse(field, "it is not a text".to_owned()))?;
                        vec![named(field, name)?]
                    }
                    // CloudTrail leaves long parameters out, but still lists the resources.
                    None => {
                        let buckets: Vec<Self> = resources
                            .iter()
                            .filter(|arn| arn.starts_with("arn:"))
                            .filter_map(|arn| arn.parse().ok())
                            .collect();
                        if buckets.is_empty() {
                            let reason = "it is missing, and `resources` lists no bucket";
                            return Err(refuse(field, reason.to_owned()));
                        }
                        buckets
                    }
                }
            }
            Trigger::GuardDuty { resource, .. } => {
                let field = "resource.s3BucketDetails";
                let details = resource.get("s3BucketDetails").and_then(|list| list.as_array());
                let details = details
                    .filter(|list| !list.is_empty())
                    .ok_or_else(|| refuse(field, "it is missing or empty".to_owned()))?;
                details
                    .iter()
                    .map(|bucket| match bucket.get("name").and_then(|name| name.as_str()) {
                        Some(name) => named(field, name),
                        None => Err(refuse(field, "a bucket has no name".to_owned())),
                    })
                    .collect::<Result<Vec<_>, _>>()?
            }
            Trigger::ConfigCompliance { resource, .. } => vec![named("resourceId", resource)?],
            Trigger::SecurityHub { resource, .. } => vec![named("Resources.Id", resource)?],
            Trigger::AccessAnalyzer { resource, .. } => vec![named("resource", resource)?],
            Trigger::Manual { resource, .. } => vec![named("resource", resource)?],
            _ => Vec::new(),
        };
        let mut seen = HashSet::new();
        buckets.retain(|bucket| seen.insert(bucket.clone()));
        Ok(buckets)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn arn(&self, region: &str) -> String {
        let partition = match region {
            _ if region.starts_with("cn-") => "aws-cn",
            _ if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        };
        format!("arn:{partition}:s3:::{self}")
    }

    /// The page with the bucket's permissions.
    pub(crate) fn console(&self, region: &str) -> String {
        let host = match region {
            _ if region.starts_with("cn-") => "console.amazonaws.cn",
            _ if region.starts_with("us-gov-") => "console.amazonaws-us-gov.com",
            _ => "s3.console.aws.amazon.com",
        };
        format!("https://{host}/s3/buckets/{self}?region={region}&tab=permissions")
    }
}

/// From a bare name, or an ARN such as `arn:aws:s3:::name`.
///
/// The rules are those of
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>. Aliases of access points and
/// directory buckets look like names, but have neither ACL nor switches.
impl FromStr for Bucket {
    type Err = BadBucketName;

    fn from_str(text: &str) -> Result<Self, BadBucketName> {
        let name = match text.strip_prefix("arn:") {
            None => text,
            Some(rest) => {
                let (partition, name) =
                    rest.split_once(":s3:::").ok_or(BadBucketName("the ARN is not of a bucket"))?;
                let known = partition == "aws" || partition.starts_with("aws-");
                if !known || partition.contains(|c: char| !c.is_ascii_lowercase() && c != '-') {
                    return Err(BadBucketName("the ARN is not of AWS"));
                }
                name
            }
        };
        // Upper case, underscores and long names: buckets made in us-east-1 before March 2018 may still have them.
        let plain = |c: u8| c.is_ascii_alphanumeric();
        let bytes = name.as_bytes();
        if !(3..=255).contains(&bytes.len()) {
            return Err(BadBucketName("a bucket's name has 3 to 255 characters"));
        }
        if !bytes.iter().all(|&c| plain(c) || matches!(c, b'.' | b'-' | b'_')) {
            return Err(BadBucketName(
                "a bucket's name has only letters, digits, `.`, `-` and `_`",
            ));
        }
        if !bytes.first().is_some_and(|&c| plain(c)) || !bytes.last().is_some_and(|&c| plain(c)) {
            return Err(BadBucketName("a bucket's name begins and ends with a letter or digit"));
        }
        if name.contains("..") || name.parse::<std::net::Ipv4Addr>().is_ok() {
            return Err(BadBucketName(
                "a bucket's name is no address and has no two dots in a row",
            ));
        }
        let other = ["-s3alias", "--ol-s3", "--x-s3", "--xa-s3", "--table-s3"];
        if other.iter().any(|suffix| name.ends_with(suffix)) {
            return Err(BadBucketName("it names an access point, a directory or a table bucket"));
        }
        Ok(Self(name.to_owned()))
    }
}

/// Why a text is not the name of a bucket. Does not repeat the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct BadBucketName(&'static str);

impl TryFrom<String> for Bucket {
    type Error = BadBucketName;

    fn try_from(text: String) -> Result<Self, BadBucketName> {
        text.parse()
    }
}

impl From<Bucket> for String {
    fn from(bucket: Bucket) -> Self {
        bucket.0
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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
            name: "PutBucketAcl".into(),
            parameters,
            response: Value::Null,
            resources: resources.iter().map(|&arn| arn.to_owned()).collect(),
        })
    }

    fn names(signal: &Signal) -> Vec<String> {
        Bucket::of(signal, "test").unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_call_names_its_bucket() {
        assert_eq!(names(&call(json!({"bucketName": "photos"}), &[])), ["photos"]);
    }

    #[test]
    fn parameters_that_cloudtrail_left_out_leave_the_resources() {
        let left_out = json!({"omitted": "true", "originalSize": "149893", "reason": "too large"});
        let arns = ["arn:aws:s3:::photos", "arn:aws:s3:::photos/key", "arn:aws:s3:::photos"];
        for parameters in [left_out, Value::Null, json!({}), json!({"bucketName": null})] {
            assert_eq!(names(&call(parameters.clone(), &arns)), ["photos"], "{parameters}");
            assert!(Bucket::of(&call(parameters, &["photos"]), "test").is_err());
        }
    }

    #[test]
    fn a_finding_names_every_bucket_once() {
        let finding = |resource| {
            let (kind, affected) = (String::new(), json!(null));
            signal(Trigger::GuardDuty { kind, severity: 8.0, resource, affected })
        };
        let several = json!({"s3BucketDetails": [
            {"name": "one-bucket"}, {"name": "two-bucket"}, {"name": "one-bucket"},
        ]});
        assert_eq!(names(&finding(several)), ["one-bucket", "two-bucket"]);
        for bad in [
            Value::Null,
            json!({"s3BucketDetails": []}),
            json!({"s3BucketDetails": {"name": "one-bucket"}}),
            json!({"s3BucketDetails": [{"name": "one-bucket"}, {}]}),
            json!({"s3BucketDetails": [{"name": "${bucket_1_name}"}]}),
        ] {
            assert!(Bucket::of(&finding(bad.clone()), "test").is_err(), "{bad}");
        }
    }

    #[test]
    fn names_and_arns_are_read_strictly() {
        for good in [
            "abc",
            "my.bucket-1",
            "Old_Bucket",
            "arn:aws:s3:::my-bucket",
            "arn:aws-us-gov:s3:::my-bucket",
        ] {
            assert!(good.parse::<Bucket>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "ab",
            "-abc",
            "abc.",
            "a..b",
            "a b",
            "a/b",
            "192.0.2.1",
            "abc\n",
            "böse",
            "ab?acl",
            "x-s3alias",
            "point-x7k-s3alias",
            "dir--euw1-az1--x-s3",
            "arn:aws:s3:::",
            "arn:aws:s3:::abc/def",
            "arn:aws:sns:::abc",
            "arn:evil:s3:::abc",
            "arn:aws:s3:eu-west-1:123456789012:accesspoint/abc",
        ] {
            assert!(bad.parse::<Bucket>().is_err(), "{bad}");
        }
        assert!("a".repeat(256).parse::<Bucket>().is_err());
    }

    #[test]
    fn arns_and_links_know_the_partition() {
        let bucket: Bucket = "photos".parse().unwrap();
        assert_eq!(bucket.arn("eu-west-1"), "arn:aws:s3:::photos");
        assert_eq!(bucket.arn("cn-north-1"), "arn:aws-cn:s3:::photos");
        assert_eq!(bucket.arn("us-gov-west-1"), "arn:aws-us-gov:s3:::photos");
        assert_eq!(
            bucket.console("eu-west-1"),
            "https://s3.console.aws.amazon.com/s3/buckets/photos?region=eu-west-1&tab=permissions"
        );
    }

    proptest! {
        #[test]
        fn only_harmless_characters_pass(text in ".*") {
            if let Ok(bucket) = text.parse::<Bucket>() {
                let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
                prop_assert!(bucket.as_str().bytes().all(plain));
                prop_assert!(text.ends_with(bucket.as_str()));
            }
        }

        #[test]
        fn every_plain_name_passes_bare_and_as_an_arn(name in "[a-z0-9][a-z0-9-]{1,55}[a-z0-9]q") {
            let bucket: Bucket = name.parse().unwrap();
            prop_assert_eq!(bucket.arn("eu-west-1").parse::<Bucket>().unwrap(), bucket);
        }
    }
}
