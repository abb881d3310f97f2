//! The default group of a VPC as AWS makes it, with two rules more, one of them with words and tags, and an interface
//! that uses it.

use aws_sdk_ec2::types::{
    Filter, IpPermission, IpRange, ResourceType, Tag, TagSpecification, UserIdGroupPair,
};
use serde_json::Value;

use super::{Error, Staged, sample, sg_open_ingress};
use crate::Cloud;

pub(super) const SAMPLE: &str = include_str!("../../../../events/sg-default-rules/violating.json");

/// The group of the sample.
const SAMPLE_GROUP: &str = "sg-0a2b3c4d5e6f70819";

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let vpc = cloud.ec2.create_vpc().cidr_block("10.30.0.0/16").send().await?;
    let vpc = vpc.vpc().and_then(|vpc| vpc.vpc_id()).ok_or("the VPC has no id")?;
    let of_vpc = |name: &str, value: &str| Filter::builder().name(name).values(value).build();
    let found = cloud
        .ec2
        .describe_security_groups()
        .filters(of_vpc("vpc-id", vpc))
        .filters(of_vpc("group-name", "default"))
        .send()
        .await?;
    let group = found.security_groups().first().and_then(|group| group.group_id());
    let group = group.ok_or("the VPC has no default group")?;

    // Unlike AWS, the emulator makes it without the rule for its members.
    let members = UserIdGroupPair::builder().group_id(group).build();
    let members = IpPermission::builder().ip_protocol("-1").user_id_group_pairs(members).build();
    let ingress = cloud.ec2.authorize_security_group_ingress().group_id(group);
    ingress.ip_permissions(members).send().await?;
    let ssh = IpRange::builder().cidr_ip("10.0.0.0/8").description(format!("for {name}")).build();
    let ssh = IpPermission::builder().ip_protocol("tcp").from_port(22).to_port(22).ip_ranges(ssh);
    let tags = TagSpecification::builder()
        .resource_type(ResourceType::SecurityGroupRule)
        .tags(Tag::builder().key("team").value("orders").build());
    let ingress = cloud.ec2.authorize_security_group_ingress().group_id(group);
    ingress.ip_permissions(ssh.build()).tag_specifications(tags.build()).send().await?;
    let mail = IpRange::builder().cidr_ip("203.0.113.0/24").description("mail").build();
    let mail = IpPermission::builder().ip_protocol("tcp").from_port(25).to_port(25).ip_ranges(mail);
    let tags = TagSpecification::builder()
        .resource_type(ResourceType::SecurityGroupRule)
        .tags(Tag::builder().key("team").value("mail").build());
    let egress = cloud.ec2.authorize_security_group_egress().group_id(group);
    egress.ip_permissions(mail.build()).tag_specifications(tags.build()).send().await?;

    let subnet = cloud.ec2.create_subnet().vpc_id(vpc).cidr_block("10.30.1.0/24").send().await?;
    let subnet = subnet.subnet().and_then(|subnet| subnet.subnet_id());
    let interface = cloud.ec2.create_network_interface().groups(group);
    interface.subnet_id(subnet.ok_or("the subnet has no id")?).send().await?;
    Ok(Staged {
        control: "sg-default-rules",
        resource: group.to_owned(),
        event: sample::happening(SAMPLE, &[(SAMPLE_GROUP, group)])?,
    })
}

pub(super) async fn is_violating(cloud: &Cloud, resource: &str) -> Result<bool, Error> {
    let found = cloud.ec2.describe_security_groups().group_ids(resource).send().await?;
    let group = found.security_groups().first().ok_or("no such group")?;
    Ok(!group.ip_permissions().is_empty() || !group.ip_permissions_egress().is_empty())
}

pub(super) async fn snapshot(cloud: &Cloud, resource: &str) -> Result<Value, Error> {
    sg_open_ingress::snapshot(cloud, resource).await
}
