//! A subnet that gives public addresses, with a name that must stay.

use aws_sdk_ec2::types::{AttributeBooleanValue, ResourceType, Tag, TagSpecification};
use serde_json::{Value, json};

use super::{Error, Staged, sample};
use crate::Cloud;

pub(super) const SAMPLE: &str =
    include_str!("../../../../events/vpc-subnet-public-ip/violating.json");

/// The subnet of the sample.
const SAMPLE_SUBNET: &str = "subnet-0a2b3c4d5e6f70819";

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let vpc = cloud.ec2.create_vpc().cidr_block("10.20.0.0/16").send().await?;
    let vpc = vpc.vpc().and_then(|vpc| vpc.vpc_id()).ok_or("the VPC has no id")?;
    let tags = TagSpecification::builder()
        .resource_type(ResourceType::Subnet)
        .tags(Tag::builder().key("Name").value(name).build());
    let create = cloud.ec2.create_subnet().vpc_id(vpc).cidr_block("10.20.1.0/24");
    let created = create.tag_specifications(tags.build()).send().await?;
    let subnet = created.subnet().and_then(|subnet| subnet.subnet_id());
    let subnet = subnet.ok_or("the subnet has no id")?;
    let on = AttributeBooleanValue::builder().value(true).build();
    let modify = cloud.ec2.modify_subnet_attribute().subnet_id(subnet);
    modify.map_public_ip_on_launch(on).send().await?;
    Ok(Staged {
        control: "vpc-subnet-public-ip",
        resource: subnet.to_owned(),
        event: sample::happening(SAMPLE, &[(SAMPLE_SUBNET, subnet)])?,
    })
}

pub(super) async fn is_violating(cloud: &Cloud, resource: &str) -> Result<bool, Error> {
    Ok(snapshot(cloud, resource).await?["public"] == true)
}

pub(super) async fn snapshot(cloud: &Cloud, resource: &str) -> Result<Value, Error> {
    let found = cloud.ec2.describe_subnets().subnet_ids(resource).send().await?;
    let subnet = found.subnets().first().ok_or("no such subnet")?;
    let tags: Vec<Value> =
        subnet.tags().iter().map(|tag| json!([tag.key(), tag.value()])).collect();
    Ok(json!({
        "vpc": subnet.vpc_id(),
        "cidr": subnet.cidr_block(),
        "zone": subnet.availability_zone(),
        "public": subnet.map_public_ip_on_launch(),
        "ipv6": subnet.assign_ipv6_address_on_creation(),
        "tags": tags,
    }))
}
