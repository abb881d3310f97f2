//! What the controls for instances share: the name of an instance, and the client.

use std::{collections::BTreeMap, fmt};

use aws_sdk_ec2::Client;
use quell_engine::{CallError, Clients, During as _, aws::WholeAnswers, control::TargetError};
use serde::{Deserialize, Serialize};

/// The id of an instance: `i-` and 8 or 17 hexadecimal digits.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct InstanceId(String);

impl InstanceId {
    /// Reads an id, or the ARN of an instance. Blanks around it do not count: AWS's own samples have them.
    pub fn parse(
        control: &'static str,
        field: &'static str,
        text: &str,
    ) -> Result<Self, TargetError> {
        let text = text.trim();
        let id = match text.strip_prefix("arn:").and_then(|arn| arn.split_once(":instance/")) {
            Some((_, id)) => id,
            None => text,
        };
        let digits = id.strip_prefix("i-").unwrap_or_default();
        let is_hex = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        if is_hex && matches!(digits.len(), 8 | 17) {
            Ok(Self(id.to_owned()))
        } else {
            let reason = "not `i-` and 8 or 17 hexadecimal digits".to_owned();
            Err(TargetError { control, field, reason })
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The client of EC2, with every call noted.
pub(crate) fn client(aws: &Clients) -> Client {
    let config = aws_sdk_ec2::config::Builder::from(aws.sdk())
        .interceptor(aws.calls())
        .interceptor(WholeAnswers)
        .retry_config(aws.retries())
        .retry_partition(aws.pace());
    Client::from_conf(config.build())
}

/// The instance's tags.
pub(crate) async fn tags(
    ec2: &Client,
    target: &InstanceId,
) -> Result<BTreeMap<String, String>, CallError> {
    let reply = ec2.describe_instances().instance_ids(target.as_str()).send().await;
    let reply = reply.during("ec2:DescribeInstances")?;
    let tags = reply
        .reservations()
        .iter()
        .flat_map(|reservation| reservation.instances())
        .flat_map(|instance| instance.tags());
    Ok(tags
        .filter_map(|tag| Some((tag.key.clone()?, tag.value.clone().unwrap_or_default())))
        .collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Option<String> {
        InstanceId::parse("test", "field", text).ok().map(|id| id.to_string())
    }

    #[test]
    fn reads_ids_and_arns_and_nothing_else() {
        let long = Some("i-0a1b2c3d4e5f60718".to_owned());
        assert_eq!(parse("i-0a1b2c3d4e5f60718"), long);
        assert_eq!(parse(" i-0a1b2c3d4e5f60718\n"), long);
        assert_eq!(parse("arn:aws:ec2:eu-west-1:123456789012:instance/i-0a1b2c3d4e5f60718"), long);
        assert_eq!(parse("i-0a1b2c3d"), Some("i-0a1b2c3d".to_owned()));
        for wrong in [
            "",
            "i-",
            "i-0a1b2c3",
            "i-0a1b2c3d4",
            "i-0A1B2C3D",
            "i-0a1b2c3g",
            "i-0a1b 2c3d",
            "x/i-0a1b2c3d",
            "sg-0a1b2c3d",
            "arn:aws:ec2:eu-west-1:123456789012:volume/i-0a1b2c3d",
        ] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_has_the_form_of_an_id(text in "\\PC{0,40}|i-[0-9a-f]{6,19}") {
            if let Some(id) = parse(&text) {
                prop_assert!(text.contains(&id));
                prop_assert!(matches!(id.len(), 10 | 19) && id.starts_with("i-"));
            }
        }
    }
}
