//! A group that opens SSH to the world in several ways, among rules that must stay.

use aws_sdk_ec2::types::{
    Filter, IpPermission, IpRange, Ipv6Range, ResourceType, SecurityGroupRule, Tag,
    TagSpecification, UserIdGroupPair,
};
use serde_json::{Value, json};

use super::{Error, Staged, sample};
use crate::Cloud;

const SAMPLE: &str = include_str!("../../../../events/sg-open-ingress/violating.json");

/// The group of the sample.
const SAMPLE_GROUP: &str = "sg-0a2b3c4d5e6f70819";

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let created = cloud
        .ec2
        .create_security_group()
        .group_name(name)
        .description("A group with rules of many kinds")
        .send()
        .await?;
    let group = created.group_id().ok_or("the group has no id")?;

    let office = IpRange::builder().cidr_ip("203.0.113.0/24").description("office");
    let ssh = permission(22, &["0.0.0.0/0"])
        .ip_ranges(office.build())
        .ipv6_ranges(Ipv6Range::builder().cidr_ipv6("::/0").description("everyone").build())
        .user_id_group_pairs(UserIdGroupPair::builder().group_id(group).build());
    for (permission, tags) in [
        (ssh, &[("team", "orders"), ("until", "monday")][..]),
        // Half of the world, and the other half.
        (permission(5432, &["0.0.0.0/1", "128.0.0.0/1"]), &[("team", "data")][..]),
        (permission(443, &["0.0.0.0/0"]), &[("team", "web")][..]),
        (permission(3389, &["198.51.100.0/24"]), &[][..]),
    ] {
        let tags: Vec<Tag> = tags
            .iter()
            .map(|(key, value)| Tag::builder().key(*key).value(*value).build())
            .collect();
        let tags = (!tags.is_empty()).then(|| {
            let rules = TagSpecification::builder().resource_type(ResourceType::SecurityGroupRule);
            vec![rules.set_tags(Some(tags)).build()]
        });
        cloud
            .ec2
            .authorize_security_group_ingress()
            .group_id(group)
            .ip_permissions(permission.build())
            .set_tag_specifications(tags)
            .send()
            .await?;
    }
    Ok(Staged {
        control: "sg-open-ingress",
        resource: group.to_owned(),
        event: sample::happening(SAMPLE, &[(SAMPLE_GROUP, group)])?,
    })
}

/// As many rules more as AWS grants a group. They open nothing to the world.
pub(super) async fn fill(cloud: &Cloud, group: &str) -> Result<(), Error> {
    const WORDS: &[u8] =
        b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:/()#,@+=;!$*";
    let mut random = fastrand::Rng::with_seed(7);
    let mut range = |n: u32| {
        let cidr = format!("10.{}.{}.0/24", n / 250, n % 250);
        // As long as AWS allows.
        let words: String =
            (0..255).map(|_| char::from(WORDS[random.usize(..WORDS.len())])).collect();
        IpRange::builder().cidr_ip(cidr).description(words).build()
    };
    for start in (0..992).step_by(248) {
        let rules = permission(443, &[])
            .set_ip_ranges(Some((start..start + 248).map(&mut range).collect()));
        let grant = cloud.ec2.authorize_security_group_ingress().group_id(group);
        grant.ip_permissions(rules.build()).send().await?;
    }
    Ok(())
}

pub(super) async fn is_violating(cloud: &Cloud, resource: &str) -> Result<bool, Error> {
    const OPEN: [&str; 4] = ["0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "::/0"];
    let rules = rules(cloud, resource).await?;
    Ok(rules.iter().any(|rule| {
        let is_open = [rule.cidr_ipv4(), rule.cidr_ipv6()].into_iter().flatten();
        rule.is_egress() == Some(false)
            && rule.from_port() != Some(443)
            && is_open.into_iter().any(|cidr| OPEN.contains(&cidr))
    }))
}

pub(super) async fn snapshot(cloud: &Cloud, resource: &str) -> Result<Value, Error> {
    let found = cloud.ec2.describe_security_groups().group_ids(resource).send().await?;
    let group = found.security_groups().first().ok_or("no such group")?;
    let mut rules: Vec<Value> = rules(cloud, resource).await?.iter().map(told).collect();
    rules.sort_by_key(Value::to_string);
    Ok(json!({
        "name": group.group_name(),
        "description": group.description(),
        "vpc": group.vpc_id(),
        "tags": told_tags(group.tags()),
        "rules": rules,
    }))
}

fn permission(port: i32, open_to: &[&str]) -> aws_sdk_ec2::types::builders::IpPermissionBuilder {
    let permission = IpPermission::builder().ip_protocol("tcp").from_port(port).to_port(port);
    open_to.iter().fold(permission, |permission, cidr| {
        let description = format!("port {port} for a while");
        let range = IpRange::builder().cidr_ip(*cidr).description(description);
        permission.ip_ranges(range.build())
    })
}

async fn rules(cloud: &Cloud, group: &str) -> Result<Vec<SecurityGroupRule>, Error> {
    let filter = Filter::builder().name("group-id").values(group).build();
    let found = cloud.ec2.describe_security_group_rules().filters(filter).send().await?;
    Ok(found.security_group_rules().to_vec())
}

/// Everything but the ids of the rule.
fn told(rule: &SecurityGroupRule) -> Value {
    json!({
        "egress": rule.is_egress(),
        "protocol": rule.ip_protocol(),
        "from": rule.from_port(),
        "to": rule.to_port(),
        "ipv4": rule.cidr_ipv4(),
        "ipv6": rule.cidr_ipv6(),
        "prefixList": rule.prefix_list_id(),
        "group": rule.referenced_group_info().and_then(|group| group.group_id()),
        "description": rule.description(),
        "tags": told_tags(rule.tags()),
    })
}

fn told_tags(tags: &[Tag]) -> Value {
    let mut tags: Vec<Value> = tags.iter().map(|tag| json!([tag.key(), tag.value()])).collect();
    tags.sort_by_key(Value::to_string);
    Value::Array(tags)
}
