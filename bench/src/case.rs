//! The three bad states that both sides put right.

use std::ops::Range;

use aws_sdk_ec2::types::{Filter, HttpTokensState, InstanceMetadataOptionsRequest};
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use quell_local::{
    Cloud,
    cloud::REGION,
    scenario::{self, Staged},
};
use serde_json::{Value, json};

use crate::error::Error;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Case {
    Acl,
    Imds,
    Ssh,
}

impl Case {
    pub(crate) const ALL: [Self; 3] = [Self::Acl, Self::Imds, Self::Ssh];

    pub(crate) fn named(name: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|case| case.name() == name);
        found.ok_or_else(|| Error::NoCase(name.to_owned()))
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Acl => "acl",
            Self::Imds => "imds",
            Self::Ssh => "ssh",
        }
    }

    /// As people call it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Acl => "Public bucket ACL",
            Self::Imds => "IMDSv1 on an instance",
            Self::Ssh => "SSH open to the world",
        }
    }

    pub(crate) fn control(self) -> &'static str {
        match self {
            Self::Acl => "s3-public-acl",
            Self::Imds => "ec2-imdsv2",
            Self::Ssh => "sg-open-ingress",
        }
    }

    /// Quell's function.
    pub(crate) fn function(self) -> &'static str {
        match self {
            Self::Acl => "s3-exposure",
            Self::Imds => "ec2-metadata",
            Self::Ssh => "network-exposure",
        }
    }

    /// Cloud Custodian's policy.
    pub(crate) fn policy(self) -> &'static str {
        match self {
            Self::Acl => "public-acl",
            Self::Imds => "imdsv2",
            Self::Ssh => "open-ssh",
        }
    }

    /// The service of the resource, as the SDKs name it.
    pub(crate) fn service(self) -> &'static str {
        match self {
            Self::Acl => "S3",
            Self::Imds | Self::Ssh => "EC2",
        }
    }

    /// How many calls, at the same time, tell all that must be known first. One, but for two exceptions: whether an ACL
    /// counts is told by the bucket's ownership controls, its switches and the account's; and the rules of a security
    /// group with their ids and tags by another call than its name, by which Quell knows a group of its own.
    pub(crate) fn calls_of_a_look(self) -> usize {
        match self {
            Self::Acl => 4,
            Self::Imds => 1,
            Self::Ssh => 2,
        }
    }

    /// Makes the bad state. `name` has letters and digits, and is unique among the case's in the emulator.
    pub(crate) async fn stage(self, cloud: &Cloud, name: &str) -> Result<Staged, Error> {
        let staged = scenario::stage(cloud, self.control(), name).await?;
        if self == Self::Ssh {
            leave_only_ssh(cloud, &staged.resource).await?;
        }
        Ok(staged)
    }

    /// What [`scenario::snapshot`] shall be after the fix: nothing else is changed.
    pub(crate) fn fixed(self, before: &Value) -> Value {
        let mut after = before.clone();
        match self {
            Self::Acl => {
                if let Some(grants) = after["grants"].as_array_mut() {
                    grants.retain(|grant| !grant.as_str().is_some_and(is_public));
                }
            }
            Self::Imds => after["httpTokens"] = json!("required"),
            Self::Ssh => {
                if let Some(rules) = after["rules"].as_array_mut() {
                    rules.retain(|rule| rule["from"] != 22 || rule["ipv4"] != "0.0.0.0/0");
                }
            }
        }
        after
    }

    /// Makes other resources of the same kind, with nothing wrong about them.
    pub(crate) async fn fill(self, cloud: &Cloud, numbers: Range<usize>) -> Result<(), Error> {
        if self == Self::Imds {
            return launch(cloud, numbers.len()).await;
        }
        for number in numbers {
            let name = format!("quell-other-{number}");
            let made = match self {
                Self::Acl => {
                    let here = BucketLocationConstraint::from(REGION);
                    let here = CreateBucketConfiguration::builder().location_constraint(here);
                    let create = cloud.s3.create_bucket().bucket(name);
                    let create = create.create_bucket_configuration(here.build());
                    create.send().await.map(drop).map_err(|error| error.into())
                }
                _ => {
                    let create = cloud.ec2.create_security_group().group_name(name);
                    let create = create.description("another").send().await;
                    create.map(drop).map_err(|error| error.into())
                }
            };
            made.map_err(Error::Cloud)?;
        }
        Ok(())
    }

    /// Takes the resource away, so that the account is as large for the next as it was for this one.
    pub(crate) async fn clear(self, cloud: &Cloud, staged: &Staged) {
        let name = &staged.resource;
        match self {
            Self::Acl => drop(cloud.s3.delete_bucket().bucket(name).send().await),
            Self::Imds => drop(cloud.ec2.terminate_instances().instance_ids(name).send().await),
            Self::Ssh => drop(cloud.ec2.delete_security_group().group_id(name).send().await),
        }
    }
}

async fn launch(cloud: &Cloud, mut count: usize) -> Result<(), Error> {
    let metadata = InstanceMetadataOptionsRequest::builder().http_tokens(HttpTokensState::Required);
    let metadata = metadata.build();
    while count > 0 {
        let some = count.min(500);
        let launch = cloud.ec2.run_instances().image_id("ami-12c6146b");
        let launch = launch.metadata_options(metadata.clone());
        let launched = launch.min_count(some as i32).max_count(some as i32).send().await;
        launched.map_err(|error| Error::Cloud(error.into()))?;
        count -= some;
    }
    Ok(())
}

fn is_public(grant: &str) -> bool {
    ["/global/AllUsers", "/global/AuthenticatedUsers"].iter().any(|group| grant.contains(group))
}

/// The scenario opens databases too, and both halves of the world, and IPv6. What Cloud Custodian's own example of a
/// policy does not look for is taken away, so that both sides have the same to do.
async fn leave_only_ssh(cloud: &Cloud, group: &str) -> Result<(), Error> {
    let filter = Filter::builder().name("group-id").values(group).build();
    let found = cloud.ec2.describe_security_group_rules().filters(filter).send().await;
    let found = found.map_err(|error| Error::Cloud(error.into()))?;
    let extra = found.security_group_rules().iter().filter(|rule| {
        rule.is_egress() == Some(false)
            && (rule.cidr_ipv6().is_some() || rule.from_port() == Some(5432))
    });
    let extra = extra.filter_map(|rule| rule.security_group_rule_id().map(str::to_owned)).collect();
    let revoke = cloud.ec2.revoke_security_group_ingress().group_id(group);
    let revoked = revoke.set_security_group_rule_ids(Some(extra)).send().await;
    revoked.map_err(|error| Error::Cloud(error.into()))?;
    Ok(())
}

/// The same event as another happening: new ids.
pub(crate) fn again(event: &Value, number: usize) -> Value {
    let mut event = event.clone();
    let number = format!("{number:08}");
    for place in ["/id", "/detail/eventID", "/detail/requestID"] {
        if let Some(Value::String(id)) = event.pointer_mut(place) {
            let keep = id.len().saturating_sub(number.len());
            id.truncate(keep);
            id.push_str(&number);
        }
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_found_by_its_name() {
        for case in Case::ALL {
            assert_eq!(Case::named(case.name()).unwrap(), case);
        }
        assert!(Case::named("rdp").unwrap_err().to_string().contains("rdp"));
    }

    #[test]
    fn the_fix_of_an_acl_takes_away_public_grants_only() {
        let before = json!({"grants": [
            "READ http://acs.amazonaws.com/groups/global/AllUsers ",
            "READ_ACP http://acs.amazonaws.com/groups/global/AuthenticatedUsers ",
            "WRITE http://acs.amazonaws.com/groups/s3/LogDelivery ",
        ], "tags": null});
        let after = json!({
            "grants": ["WRITE http://acs.amazonaws.com/groups/s3/LogDelivery "],
            "tags": null,
        });
        assert_eq!(Case::Acl.fixed(&before), after);
    }

    #[test]
    fn the_fix_of_a_group_takes_away_ssh_from_everywhere_only() {
        let rule = |from: i32, ipv4: &str| json!({"from": from, "ipv4": ipv4});
        let before = json!({"rules": [
            rule(22, "0.0.0.0/0"), rule(22, "203.0.113.0/24"), rule(443, "0.0.0.0/0"),
        ]});
        let after = json!({"rules": [rule(22, "203.0.113.0/24"), rule(443, "0.0.0.0/0")]});
        assert_eq!(Case::Ssh.fixed(&before), after);
    }

    #[test]
    fn another_happening_has_ids_of_the_same_length() {
        let event =
            json!({"id": "69a914c5-d618-4207-add0-acc1ab8764f0", "detail": {"eventID": "x"}});
        let other = again(&event, 7);
        assert_eq!(other["id"], "69a914c5-d618-4207-add0-acc100000007");
        assert_ne!(again(&event, 8)["id"], other["id"]);
    }
}
