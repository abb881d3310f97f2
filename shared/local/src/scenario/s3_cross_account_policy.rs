//! A stranger's account may do everything to the bucket, by a statement that also names the bucket's own account and
//! stands between two that are wanted.

use serde_json::Value;

use super::{Error, Staged, s3_bucket};
use crate::{Cloud, cloud::ACCOUNT};

/// Nobody's, and trusted by no policy.
const STRANGER: &str = "999999999999";

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let bucket = s3_bucket::create(cloud, "cross", name).await?;
    cloud.s3.put_bucket_policy().bucket(&bucket).policy(policy(&bucket)).send().await?;
    let sample = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../events/s3-cross-account-policy/violating.json"
    ));
    s3_bucket::staged("s3-cross-account-policy", bucket, sample)
}

pub(super) async fn is_violating(cloud: &Cloud, bucket: &str) -> Result<bool, Error> {
    let snapshot = snapshot(cloud, bucket).await?;
    let Some(text) = snapshot["policy"].as_str() else { return Ok(false) };
    let policy: Value = serde_json::from_str(text)?;
    let statements = policy["Statement"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(statements.iter().any(|statement| {
        statement["Effect"] == "Allow"
            && statement["Action"] == "s3:*"
            && statement["Principal"].to_string().contains(STRANGER)
    }))
}

pub(super) async fn snapshot(cloud: &Cloud, bucket: &str) -> Result<Value, Error> {
    s3_bucket::snapshot(cloud, bucket).await
}

/// White space and order of keys as a person might leave them.
fn policy(bucket: &str) -> String {
    format!(
        r#"{{ "Version":"2012-10-17",
  "Statement" : [
    {{"Sid": "Read", "Effect":"Allow", "Principal": {{ "AWS" : "arn:aws:iam::{STRANGER}:root" }},
      "Action": "s3:GetObject", "Resource": "arn:aws:s3:::{bucket}/*"}} ,
    {{ "Sid":"Administer","Effect":"Allow",
       "Principal":{{"AWS":[ "arn:aws:iam::{STRANGER}:role/admin" , "arn:aws:iam::{ACCOUNT}:root"]}},
       "Action":"s3:*","Resource":["arn:aws:s3:::{bucket}","arn:aws:s3:::{bucket}/*"] }},
	{{ "Effect" : "Deny", "Sid":"Transport", "Principal":"*", "Action":"s3:*",
      "Resource":"arn:aws:s3:::{bucket}/*", "Condition":{{"Bool":{{"aws:SecureTransport":"false"}}}} }}
  ]
}}"#
    )
}
