//! Settings that an account has once in each region: the resource is the region.

use std::fmt;

use quell_engine::{Signal, Trigger, control::TargetError};
use serde::{Deserialize, Serialize};

use crate::partition;

/// A region's code, such as `eu-west-1`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Region(String);

impl Region {
    pub(crate) fn new(code: &str) -> Self {
        Self(code.to_owned())
    }

    /// The region of the signal, which whoever delivers it names. What else is named must be the same.
    pub(crate) fn of(signal: &Signal, control: &'static str) -> Result<Vec<Self>, TargetError> {
        let refuse =
            |field, reason: &str| Err(TargetError { control, field, reason: reason.to_owned() });
        let is_code = |code: &str| {
            (4..=32).contains(&code.len())
                && code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if !is_code(&signal.region) {
            return refuse("region", "not the code of a region");
        }
        let is_own = |account: &str| account_in(account) == signal.account;
        match &signal.trigger {
            Trigger::Manual { resource, .. } if resource.trim() != signal.region => {
                refuse("detail.resource", "not the region of the order")
            }
            Trigger::SecurityHub { resource, .. } if !is_own(resource) => {
                refuse("Resources[].Id", "not the account of the finding")
            }
            Trigger::ConfigCompliance { resource, .. } if !is_own(resource) => {
                refuse("detail.resourceId", "not the account of the event")
            }
            _ => Ok(vec![Self(signal.region.clone())]),
        }
    }

    /// A setting has no ARN. This one stands for it.
    pub(crate) fn arn(&self, account: &str, setting: &str) -> String {
        format!("arn:{}:ec2:{self}:{account}:settings/{setting}", partition::of(&self.0))
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Security Hub writes `AWS::::Account:123456789012`.
fn account_in(resource: &str) -> &str {
    resource.strip_prefix("AWS::::Account:").unwrap_or(resource)
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// A signal of nothing but its trigger.
    pub(crate) fn signal(trigger: Trigger) -> Signal {
        Signal {
            trigger,
            account: "123456789012".into(),
            region: "eu-west-1".into(),
            event_id: "event".into(),
            deduplication: "event".into(),
            time: None,
            actor: None,
            request_id: None,
            finding: None,
        }
    }

    pub(crate) fn call(name: &str, parameters: serde_json::Value) -> Signal {
        signal(Trigger::ApiCall {
            service: "ec2.amazonaws.com".into(),
            name: name.into(),
            parameters,
            response: json!(null),
            resources: Vec::new(),
        })
    }

    fn finding(resource: &str) -> Signal {
        signal(Trigger::SecurityHub {
            generator: "security-control/EC2.7".into(),
            resource_type: "AwsAccount".into(),
            resource: resource.into(),
            action: None,
        })
    }

    fn manual(resource: &str) -> Signal {
        signal(Trigger::Manual { control: "test".into(), resource: resource.into() })
    }

    fn compliance(resource: &str) -> Signal {
        signal(Trigger::ConfigCompliance {
            rule: "ec2-ebs-encryption-by-default".into(),
            resource_type: "AWS::::Account".into(),
            resource: resource.into(),
        })
    }

    #[test]
    fn the_region_is_that_of_whoever_delivers() {
        for signal in [
            call("DisableEbsEncryptionByDefault", json!(null)),
            call("DisableEbsEncryptionByDefault", json!({"omitted": "true"})),
            finding("AWS::::Account:123456789012"),
            compliance("123456789012"),
            manual(" eu-west-1"),
        ] {
            let named = Region::of(&signal, "test");
            assert_eq!(named, Ok(vec![Region::new("eu-west-1")]), "{:?}", signal.trigger);
        }
    }

    #[test]
    fn another_account_or_region_is_refused() {
        for signal in [
            finding("AWS::::Account:210987654321"),
            finding("arn:aws:ec2:eu-west-1::snapshot/snap-0a1b2c3d"),
            compliance("210987654321"),
            manual("us-east-1"),
            manual("123456789012"),
            manual(""),
            Signal { region: "../eu-west-1".into(), ..manual("../eu-west-1") },
            Signal { region: "EU-WEST-1".into(), ..manual("EU-WEST-1") },
        ] {
            assert!(Region::of(&signal, "test").is_err(), "{:?}", signal.trigger);
        }
    }

    #[test]
    fn a_setting_is_known_by_a_name_of_its_own() {
        let region = Region::new("cn-north-1");
        assert_eq!(
            region.arn("123456789012", "ebs-encryption-by-default"),
            "arn:aws-cn:ec2:cn-north-1:123456789012:settings/ebs-encryption-by-default"
        );
    }
}
