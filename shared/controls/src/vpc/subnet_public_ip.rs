//! Stops a subnet from giving every new interface a public address.
//!
//! ## What it fixes
//! A subnet that gives a public IPv4 address to each interface that is made in it (`MapPublicIpOnLaunch`). Only this
//! setting changes; routes, tags and the IPv6 settings of the subnet stay as they are.
//!
//! IPv6 is not judged: Security Hub's control looks at IPv4 alone, and an IPv6 address says nothing about who can reach
//! it. A finding of AWS Config that is about IPv6 only ends as compliant here.
//!
//! ## Why it matters
//! Whoever launches an instance there puts it on the internet without having asked for it. Then a security group that
//! is open by mistake is all that an attacker needs.
//!
//! ## What can break
//! What runs keeps its address. What is launched later in the subnet gets none unless it asks for one: an instance that
//! has to reach the internet through the internet gateway, such as a node of a cluster in a public subnet, then cannot.
//! Launch templates and Auto Scaling groups can ask for an address themselves.
//!
//! The default subnets of a default VPC have the setting on since AWS made them, and violate as any other does: a first
//! sweep finds them all. The message says which are such. Exempt the ones that are meant to be public.
//!
//! ## Undo
//! Switches `MapPublicIpOnLaunch` on again. Nothing else was changed.

use std::{collections::BTreeMap, fmt};

use aws_sdk_ec2::{
    Client,
    types::{AttributeBooleanValue, Subnet as Described},
};
use quell_engine::{
    CallError, CallErrorKind, Clients, Control, Description, Discovered, During, Effect, Listen,
    Meta, Plan, Progress, Safety, Severity, Signal, Trigger, aws::OrMissing, control::TargetError,
};
use serde::{Deserialize, Serialize};

use super::id::Kind;
use crate::{ec2::instance, partition, shape};

pub struct SubnetPublicIp {
    ec2: Client,
    account: String,
}

/// The id of a subnet: `subnet-` and 8 or 17 hexadecimal digits.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Subnet(String);

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which addresses a subnet gives, and where it is.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Addresses {
    pub map_public_ip_on_launch: bool,
    pub vpc: Option<String>,
    /// Such as `eu-west-1a`.
    pub zone: Option<String>,
    /// A default subnet of a default VPC: AWS made it with the setting on.
    pub is_default: bool,
}

/// One call of ModifySubnetAttribute.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct MapPublicIp {
    pub on_launch: bool,
}

const DESCRIBE: &str = "ec2:DescribeSubnets";
const MODIFY: &str = "ec2:ModifySubnetAttribute";

const KIND: Kind = Kind { prefix: "subnet-", arn: ":subnet/" };

/// <https://docs.aws.amazon.com/securityhub/latest/userguide/ec2-controls.html#ec2-15>,
/// <https://docs.aws.amazon.com/config/latest/developerguide/subnet-auto-assign-public-ip-disabled.html>,
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifySubnetAttribute.html>
impl Control for SubnetPublicIp {
    const META: Meta = Meta {
        id: "vpc-subnet-public-ip",
        title: "Subnets give no public addresses by themselves",
        risk: "The subnet gives a public address to everything that is launched in it, so that a mistake in a security \
               group is enough to be reached from the internet.",
        severity: Severity::Medium,
        safety: Safety::NeedsApproval,
        reversible: true,
        satisfies: &["securityhub/EC2.15", "nist-800-53-r5/SC-7"],
        function: "network-exposure",
        listens: &[
            Listen::ApiCall {
                source: "aws.ec2",
                service: "ec2.amazonaws.com",
                calls: &["ModifySubnetAttribute"],
            },
            Listen::Config {
                rules: &["subnet-auto-assign-public-ip-disabled"],
                resource_type: "AWS::EC2::Subnet",
            },
            Listen::SecurityHub { generators: &["/EC2.15"], resource_type: "AwsEc2Subnet" },
        ],
        discovers: &[DESCRIBE],
        reads: &[DESCRIBE],
        writes: &[MODIFY],
        baseline: false,
        visible_within: 30,
        source: file!(),
    };
    type Target = Subnet;
    type State = Addresses;
    type Change = MapPublicIp;

    fn connect(aws: &Clients) -> Self {
        Self { ec2: instance::client(aws), account: aws.account().to_owned() }
    }

    fn targets(signal: &Signal) -> Result<Vec<Subnet>, TargetError> {
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        let (field, text) = match &signal.trigger {
            Trigger::ApiCall { parameters, resources, .. } => {
                let request = shape::request(parameters, "ModifySubnetAttributeRequest");
                match shape::text(request, ["subnetId", "SubnetId"]) {
                    Some(id) => ("requestParameters.subnetId", id),
                    None => {
                        let arn = resources.iter().find(|arn| arn.contains(KIND.arn));
                        ("resources[].ARN", arn.map(String::as_str).unwrap_or_default())
                    }
                }
            }
            Trigger::ConfigCompliance { resource, .. } => ("detail.resourceId", resource.as_str()),
            Trigger::SecurityHub { resource, .. } => ("Resources[].Id", resource.as_str()),
            Trigger::Manual { resource, .. } => ("detail.resource", resource.as_str()),
            _ => return Ok(Vec::new()),
        };
        Ok(vec![Subnet(KIND.id(Self::META.id, field, text)?)])
    }

    /// The account's own: of those that others share, it may change nothing.
    async fn discover(&self, page: Option<&str>) -> Result<Discovered<Subnet>, CallError> {
        let found = self
            .ec2
            .describe_subnets()
            .max_results(200)
            .set_next_token(page.map(str::to_owned))
            .send()
            .await
            .during(DESCRIBE)?;
        let subnets = found.subnets.unwrap_or_default().into_iter();
        let own = subnets.filter(|subnet| subnet.owner_id() == Some(self.account.as_str()));
        let targets = own.filter_map(|subnet| subnet.subnet_id.map(Subnet)).collect();
        Ok(Discovered { targets, next: found.next_token })
    }

    async fn assess(&self, target: &Subnet) -> Result<Option<Addresses>, CallError> {
        let Some(subnet) = self.find(target).await? else { return Ok(None) };
        let Some(map_public_ip_on_launch) = subnet.map_public_ip_on_launch else {
            let message = "the answer does not say whether the subnet gives public addresses";
            return Err(CallError::new(DESCRIBE, CallErrorKind::Refused, message));
        };
        Ok(Some(Addresses {
            map_public_ip_on_launch,
            vpc: subnet.vpc_id,
            zone: subnet.availability_zone,
            is_default: subnet.default_for_az == Some(true),
        }))
    }

    async fn tags(&self, target: &Subnet) -> Result<BTreeMap<String, String>, CallError> {
        let tags = self.find(target).await?.and_then(|subnet| subnet.tags).unwrap_or_default();
        let tags = tags.into_iter();
        Ok(tags.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default()))).collect())
    }

    fn plan(state: &Addresses) -> Plan<MapPublicIp> {
        if state.map_public_ip_on_launch {
            Plan::one(MapPublicIp { on_launch: false })
        } else {
            Plan::nothing()
        }
    }

    async fn apply(
        &self,
        target: &Subnet,
        change: &MapPublicIp,
        _progress: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        self.ec2
            .modify_subnet_attribute()
            .subnet_id(&target.0)
            .map_public_ip_on_launch(
                AttributeBooleanValue::builder().value(change.on_launch).build(),
            )
            .send()
            .await
            .during(MODIFY)?;
        Ok(None)
    }

    fn revert(before: &Addresses, after: &Addresses) -> Plan<MapPublicIp> {
        if before.map_public_ip_on_launch == after.map_public_ip_on_launch {
            Plan::nothing()
        } else {
            Plan::one(MapPublicIp { on_launch: before.map_public_ip_on_launch })
        }
    }

    fn describe(state: &Addresses, change: &MapPublicIp) -> Description {
        let line = |on_launch| format!("MapPublicIpOnLaunch: {on_launch}");
        Description {
            action: MODIFY.to_owned(),
            effect: Effect::Set,
            minus: vec![line(state.map_public_ip_on_launch)],
            plus: vec![line(change.on_launch)],
        }
    }

    fn console(target: &Subnet, region: &str) -> String {
        format!("{}#SubnetDetails:subnetId={target}", partition::console("vpcconsole", region))
    }

    fn arn(target: &Subnet, account: &str, region: &str) -> String {
        format!("arn:{}:ec2:{region}:{account}:subnet/{target}", partition::of(region))
    }

    fn notes(state: &Addresses) -> Vec<String> {
        let vpc = state.vpc.as_deref().unwrap_or("no VPC");
        let zone = state.zone.as_deref().unwrap_or("no zone");
        let mut notes = vec![format!("Subnet in {vpc}, {zone}")];
        if state.is_default {
            notes.push("A default subnet: AWS makes them with public addresses".to_owned());
        }
        notes
    }
}

impl SubnetPublicIp {
    async fn find(&self, target: &Subnet) -> Result<Option<Described>, CallError> {
        let found = self.ec2.describe_subnets().subnet_ids(&target.0).send().await;
        let found = found
            .during(DESCRIBE)
            .or_missing(&["InvalidSubnetID.NotFound", "InvalidSubnetID.Malformed"])?;
        let subnets = found.and_then(|reply| reply.subnets).unwrap_or_default();
        Ok(subnets.into_iter().find(|subnet| subnet.subnet_id() == Some(target.0.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::s3::tests::signal;

    const ID: &str = "subnet-0a1b2c3d4e5f60718";

    fn modified(parameters: Value, resources: Vec<String>) -> Signal {
        signal(Trigger::ApiCall {
            service: "ec2.amazonaws.com".to_owned(),
            name: "ModifySubnetAttribute".to_owned(),
            parameters,
            response: json!({"_return": true}),
            resources,
        })
    }

    fn named(signal: &Signal) -> Result<Vec<String>, TargetError> {
        Ok(SubnetPublicIp::targets(signal)?.iter().map(ToString::to_string).collect())
    }

    fn addresses(map_public_ip_on_launch: bool, is_default: bool) -> Addresses {
        let vpc = Some("vpc-0a1b2c3d4e5f60718".to_owned());
        Addresses { map_public_ip_on_launch, vpc, zone: Some("eu-west-1a".to_owned()), is_default }
    }

    #[test]
    fn names_the_subnet_of_every_signal() {
        let arn = format!("arn:aws:ec2:eu-west-1:123456789012:subnet/{ID}");
        let on = json!({"value": true});
        for signal in [
            modified(json!({"subnetId": ID, "mapPublicIpOnLaunch": on}), Vec::new()),
            modified(json!({"ModifySubnetAttributeRequest": {"SubnetId": ID}}), Vec::new()),
            modified(json!({"omitted": "true"}), vec![arn.clone()]),
            signal(Trigger::ConfigCompliance {
                rule: "securityhub-subnet-auto-assign-public-ip-disabled-0a1b2c3d".to_owned(),
                resource_type: "AWS::EC2::Subnet".to_owned(),
                resource: ID.to_owned(),
            }),
            signal(Trigger::SecurityHub {
                generator: "security-control/EC2.15".to_owned(),
                resource_type: "AwsEc2Subnet".to_owned(),
                resource: arn,
                action: None,
            }),
            signal(Trigger::Manual {
                control: "vpc-subnet-public-ip".to_owned(),
                resource: ID.to_owned(),
            }),
        ] {
            assert_eq!(named(&signal).unwrap(), [ID], "{:?}", signal.trigger);
        }
    }

    #[test]
    fn what_names_no_subnet_is_an_error() {
        for parameters in [json!(null), json!({}), json!({"subnetId": 7}), json!({"subnetId": "*"})]
        {
            assert!(named(&modified(parameters.clone(), Vec::new())).is_err(), "{parameters}");
        }
    }

    #[test]
    fn only_the_giving_of_public_addresses_is_switched_off_and_on_again() {
        let (on, off) = (addresses(true, false), addresses(false, false));
        assert_eq!(SubnetPublicIp::plan(&on).changes, [MapPublicIp { on_launch: false }]);
        assert!(SubnetPublicIp::plan(&off).is_empty());
        assert_eq!(SubnetPublicIp::revert(&on, &off).changes, [MapPublicIp { on_launch: true }]);
        assert!(SubnetPublicIp::revert(&on, &on).is_empty());
    }

    #[test]
    fn a_default_subnet_violates_too_and_is_said_to_be_one() {
        let state = addresses(true, true);
        assert!(!SubnetPublicIp::plan(&state).is_empty());
        assert!(SubnetPublicIp::notes(&state)[1].contains("default subnet"));
        assert_eq!(SubnetPublicIp::notes(&addresses(true, false)).len(), 1);
    }
}
