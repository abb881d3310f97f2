//! A network ACL that lets the world in by an entry for SSH and by two that carry other traffic, among entries that
//! must stay.

use aws_sdk_ec2::types::{
    NetworkAclEntry, PortRange, ResourceType, RuleAction, Tag, TagSpecification,
};
use serde_json::{Value, json};

use super::{Error, Staged, sample};
use crate::Cloud;

pub(super) const SAMPLE: &str =
    include_str!("../../../../events/vpc-nacl-open-ingress/violating.json");

/// The network ACL of the sample.
const SAMPLE_ACL: &str = "acl-0a2b3c4d5e6f70819";

/// Number, protocol, ports, source.
type Allowed = (i32, &'static str, Option<(i32, i32)>, &'static str);

const INGRESS: [Allowed; 5] = [
    (90, "6", Some((443, 443)), "0.0.0.0/0"),
    (100, "6", Some((22, 22)), "0.0.0.0/0"),
    (110, "6", Some((1024, 65535)), "0.0.0.0/0"),
    (120, "-1", None, "::/0"),
    (130, "-1", None, "10.0.0.0/8"),
];
const EGRESS: Allowed = (100, "-1", None, "0.0.0.0/0");

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let vpc = cloud.ec2.create_vpc().cidr_block("10.20.0.0/16").send().await?;
    let vpc = vpc.vpc().and_then(|vpc| vpc.vpc_id()).ok_or("the VPC has no id")?;
    let tags = TagSpecification::builder()
        .resource_type(ResourceType::NetworkAcl)
        .tags(Tag::builder().key("Name").value(name).build());
    let create = cloud.ec2.create_network_acl().vpc_id(vpc).tag_specifications(tags.build());
    let created = create.send().await?;
    let acl = created.network_acl().and_then(|acl| acl.network_acl_id());
    let acl = acl.ok_or("the network ACL has no id")?;
    for allowed in INGRESS {
        allow(cloud, acl, false, allowed).await?;
    }
    allow(cloud, acl, true, EGRESS).await?;
    Ok(Staged {
        control: "vpc-nacl-open-ingress",
        resource: acl.to_owned(),
        event: sample::happening(SAMPLE, &[(SAMPLE_ACL, acl)])?,
    })
}

/// The first entry that fits decides.
pub(super) async fn is_violating(cloud: &Cloud, resource: &str) -> Result<bool, Error> {
    let mut entries = entries(cloud, resource).await?;
    entries.retain(|entry| entry.egress() == Some(false));
    entries.sort_by_key(|entry| entry.rule_number());
    let lets_in = |port: i32, world: &str| {
        let decides = entries.iter().find(|entry| {
            let ports = entry.port_range().and_then(|range| Some(range.from()?..=range.to()?));
            [entry.cidr_block(), entry.ipv6_cidr_block()].contains(&Some(world))
                && matches!(entry.protocol(), Some("-1" | "6"))
                && ports.is_none_or(|ports| ports.contains(&port))
        });
        decides.is_some_and(|entry| entry.rule_action() == Some(&RuleAction::Allow))
    };
    Ok([22, 3389].iter().any(|port| lets_in(*port, "0.0.0.0/0") || lets_in(*port, "::/0")))
}

pub(super) async fn snapshot(cloud: &Cloud, resource: &str) -> Result<Value, Error> {
    let mut entries: Vec<Value> = entries(cloud, resource).await?.iter().map(told).collect();
    entries.sort_by_key(Value::to_string);
    let found = cloud.ec2.describe_network_acls().network_acl_ids(resource).send().await?;
    let acl = found.network_acls().first().ok_or("no such network ACL")?;
    let tags: Vec<Value> = acl.tags().iter().map(|tag| json!([tag.key(), tag.value()])).collect();
    Ok(json!({"vpc": acl.vpc_id(), "default": acl.is_default(), "tags": tags, "entries": entries}))
}

async fn allow(
    cloud: &Cloud,
    acl: &str,
    egress: bool,
    (number, protocol, ports, source): Allowed,
) -> Result<(), Error> {
    let create = cloud.ec2.create_network_acl_entry().network_acl_id(acl).egress(egress);
    let create = create.rule_number(number).protocol(protocol).rule_action(RuleAction::Allow);
    let ports = ports.map(|(from, to)| PortRange::builder().from(from).to(to).build());
    let create = match source.contains(':') {
        true => create.ipv6_cidr_block(source),
        false => create.cidr_block(source),
    };
    create.set_port_range(ports).send().await?;
    Ok(())
}

async fn entries(cloud: &Cloud, acl: &str) -> Result<Vec<NetworkAclEntry>, Error> {
    let found = cloud.ec2.describe_network_acls().network_acl_ids(acl).send().await?;
    Ok(found.network_acls().first().ok_or("no such network ACL")?.entries().to_vec())
}

fn told(entry: &NetworkAclEntry) -> Value {
    json!({
        "egress": entry.egress(),
        "number": entry.rule_number(),
        "action": entry.rule_action().map(RuleAction::as_str),
        "protocol": entry.protocol(),
        "ipv4": entry.cidr_block(),
        "ipv6": entry.ipv6_cidr_block(),
        "ports": entry.port_range().map(|range| json!([range.from(), range.to()])),
    })
}
