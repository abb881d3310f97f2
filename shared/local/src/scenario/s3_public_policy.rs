//! Everyone may read the objects, by a statement that stands between two that are wanted.

use serde_json::Value;

use super::{Error, Staged, s3_bucket};
use crate::{Cloud, cloud::ACCOUNT};

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let bucket = s3_bucket::create(cloud, "policy", name).await?;
    cloud.s3.put_bucket_policy().bucket(&bucket).policy(policy(&bucket)).send().await?;
    let sample = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../events/s3-public-policy/violating.json"
    ));
    s3_bucket::staged("s3-public-policy", bucket, sample)
}

pub(super) async fn is_violating(cloud: &Cloud, bucket: &str) -> Result<bool, Error> {
    let snapshot = snapshot(cloud, bucket).await?;
    let Some(text) = snapshot["policy"].as_str() else { return Ok(false) };
    let policy: Value = serde_json::from_str(text)?;
    let statements = policy["Statement"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(statements.iter().any(|statement| {
        statement["Effect"] == "Allow"
            && statement["Principal"] == "*"
            && statement["Condition"].is_null()
    }))
}

pub(super) async fn snapshot(cloud: &Cloud, bucket: &str) -> Result<Value, Error> {
    s3_bucket::snapshot(cloud, bucket).await
}

/// White space, order of keys and escapes as a person might leave them.
fn policy(bucket: &str) -> String {
    format!(
        r#"{{ "Version":"2012-10-17",
  "Statement" : [
    {{"Sid": "Deploy", "Effect":"Allow",
      "Principal": {{ "AWS" : "arn:aws:iam::{ACCOUNT}:root" }},
      "Action": ["s3:GetObject",  "s3:PutObject"], "Resource": "arn:aws:s3:::{bucket}/\u002a"}} ,
    {{ "Sid":"Website","Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::{bucket}/*" }},
	{{ "Effect" : "Deny", "Sid":"Transport", "Principal":"*", "Action":"s3:*",
      "Resource":"arn:aws:s3:::{bucket}/*", "Condition":{{"Bool":{{"aws:SecureTransport":"false"}}}} }}
  ]
}}"#
    )
}
