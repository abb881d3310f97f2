//! An instance with two interfaces, whose groups differ, that GuardDuty saw looking for a mining pool.

use aws_sdk_ec2::types::{
    BlockDeviceMapping, EbsBlockDevice, Filter, InstanceAttributeName,
    InstanceNetworkInterfaceSpecification, InstanceType, IpPermission, IpRange, NetworkInterface,
    ResourceType, Tag, TagSpecification,
};
use serde_json::{Value, json};

use super::{Error, Staged};
use crate::Cloud;

const FINDING: &str = include_str!("../../../../events/ec2-quarantine/violating.json");

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let ec2 = &cloud.ec2;
    let vpc = ec2.create_vpc().cidr_block("10.20.0.0/16").send().await?;
    let vpc = text(vpc.vpc().and_then(|vpc| vpc.vpc_id()), "VPC id")?;
    let subnet = ec2.create_subnet().vpc_id(&vpc).cidr_block("10.20.1.0/24").send().await?;
    let subnet = text(subnet.subnet().and_then(|subnet| subnet.subnet_id()), "subnet id")?;
    let web = group(cloud, &vpc, &format!("{name}-web"), 443, "0.0.0.0/0").await?;
    let admin = group(cloud, &vpc, &format!("{name}-admin"), 22, "10.20.0.0/16").await?;

    let primary = InstanceNetworkInterfaceSpecification::builder()
        .device_index(0)
        .subnet_id(&subnet)
        .groups(&web)
        .delete_on_termination(true)
        .build();
    let disk = |device: &str, delete: bool| {
        let ebs = EbsBlockDevice::builder().volume_size(8).delete_on_termination(delete).build();
        BlockDeviceMapping::builder().device_name(device).ebs(ebs).build()
    };
    let tags = TagSpecification::builder()
        .resource_type(ResourceType::Instance)
        .tags(Tag::builder().key("Name").value(name).build())
        .build();
    let run = ec2
        .run_instances()
        .image_id("ami-0d1e2f30415263748")
        .instance_type(InstanceType::M5Large)
        .min_count(1)
        .max_count(1)
        .network_interfaces(primary)
        .block_device_mappings(disk("/dev/xvda", true))
        .block_device_mappings(disk("/dev/sdf", false))
        .tag_specifications(tags)
        .send()
        .await?;
    let launched = run.instances().first().ok_or("the emulator launched no instance")?;
    let instance = text(launched.instance_id(), "instance id")?;
    let interface = launched.network_interfaces().first();
    let interface = text(interface.and_then(|one| one.network_interface_id()), "interface id")?;

    // The order is not the one that sorting gives: undo must keep it.
    let mut two = [web.clone(), admin];
    two.sort();
    two.reverse();
    let second = ec2.create_network_interface().subnet_id(&subnet);
    let second = second.set_groups(Some(two.to_vec())).send().await?;
    let second = second.network_interface().and_then(NetworkInterface::network_interface_id);
    let second = text(second, "network interface id")?;
    let attach = ec2.attach_network_interface().instance_id(&instance);
    attach.network_interface_id(second).device_index(1).send().await?;

    Ok(Staged {
        control: "ec2-quarantine",
        event: finding(&instance, [&interface, &vpc, &subnet, &web], name)?,
        resource: instance,
    })
}

pub(super) async fn is_violating(cloud: &Cloud, resource: &str) -> Result<bool, Error> {
    for interface in interfaces(cloud, resource).await? {
        let [group] = interface.groups() else { return Ok(true) };
        let group = text(group.group_id(), "group id")?;
        let found = cloud.ec2.describe_security_groups().group_ids(group).send().await?;
        let has_rules = found.security_groups().iter().any(|group| {
            !group.ip_permissions().is_empty() || !group.ip_permissions_egress().is_empty()
        });
        if has_rules {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Snapshots are left out: they are evidence and stay.
pub(super) async fn snapshot(cloud: &Cloud, resource: &str) -> Result<Value, Error> {
    let ec2 = &cloud.ec2;
    let found = ec2.describe_instances().instance_ids(resource).send().await?;
    let found = found.reservations().iter().flat_map(|one| one.instances()).next();
    let found = found.ok_or("no such instance")?;
    let protection = ec2
        .describe_instance_attribute()
        .instance_id(resource)
        .attribute(InstanceAttributeName::DisableApiTermination)
        .send()
        .await?
        .disable_api_termination
        .and_then(|protection| protection.value);

    let interfaces: Vec<Value> = interfaces(cloud, resource)
        .await?
        .iter()
        .map(|interface| {
            let groups: Vec<_> = interface.groups().iter().map(|group| group.group_id()).collect();
            json!({"id": interface.network_interface_id(), "groups": groups})
        })
        .collect();
    let mut volumes: Vec<(Option<&str>, Option<bool>)> = found
        .block_device_mappings()
        .iter()
        .map(|one| (one.device_name(), one.ebs().and_then(|ebs| ebs.delete_on_termination())))
        .collect();
    volumes.sort_unstable();
    let mut tags: Vec<(Option<&str>, Option<&str>)> =
        found.tags().iter().map(|tag| (tag.key(), tag.value())).collect();
    tags.sort_unstable();

    let vpc = text(found.vpc_id(), "VPC id")?;
    let in_vpc = Filter::builder().name("vpc-id").values(vpc).build();
    let groups = ec2.describe_security_groups().filters(in_vpc).send().await?;
    let mut groups: Vec<Value> = groups
        .security_groups()
        .iter()
        .map(|group| {
            let rules = |permissions: &[IpPermission]| format!("{permissions:?}");
            json!({
                "name": group.group_name(),
                "ingress": rules(group.ip_permissions()),
                "egress": rules(group.ip_permissions_egress()),
            })
        })
        .collect();
    groups.sort_by_key(|group| group["name"].to_string());

    Ok(json!({
        "interfaces": interfaces,
        "termination_protection": protection,
        "delete_on_termination": volumes,
        "tags": tags,
        "groups_of_the_vpc": groups,
    }))
}

/// In the order of their places in the instance.
async fn interfaces(cloud: &Cloud, instance: &str) -> Result<Vec<NetworkInterface>, Error> {
    let attached = Filter::builder().name("attachment.instance-id").values(instance).build();
    let reply = cloud.ec2.describe_network_interfaces().filters(attached).send().await?;
    let mut found = reply.network_interfaces.unwrap_or_default();
    found.sort_by_key(|one| one.attachment().and_then(|attachment| attachment.device_index()));
    Ok(found)
}

async fn group(
    cloud: &Cloud,
    vpc: &str,
    name: &str,
    port: i32,
    cidr: &str,
) -> Result<String, Error> {
    let made = cloud.ec2.create_security_group().group_name(name).description(name).vpc_id(vpc);
    let id = text(made.send().await?.group_id(), "group id")?;
    let range = IpRange::builder().cidr_ip(cidr).build();
    let rule = IpPermission::builder().ip_protocol("tcp").from_port(port).to_port(port);
    let allow = cloud.ec2.authorize_security_group_ingress().group_id(&id);
    allow.ip_permissions(rule.ip_ranges(range).build()).send().await?;
    Ok(id)
}

/// The sample, about these resources: an interface, its VPC, subnet and group. The ids of event and finding follow from
/// the instance's, so that no two stagings share them.
fn finding(instance: &str, network: [&str; 4], name: &str) -> Result<Value, Error> {
    let sample: Value = serde_json::from_str(FINDING)?;
    let [interface, vpc, subnet, group] = network;
    let group_name = format!("{name}-web");
    let digits = instance.trim_start_matches("i-");
    let (id, event_id) = (format!("{digits:0<32}"), uuid(digits));
    let details = "/detail/resource/instanceDetails";
    let event = [
        ("/instanceId", instance),
        ("/networkInterfaces/0/networkInterfaceId", interface),
        ("/networkInterfaces/0/vpcId", vpc),
        ("/networkInterfaces/0/subnetId", subnet),
        ("/networkInterfaces/0/securityGroups/0/groupId", group),
        ("/networkInterfaces/0/securityGroups/0/groupName", &group_name),
    ]
    .map(|(pointer, new)| (format!("{details}{pointer}"), new))
    .into_iter()
    .chain([("/detail/id".to_owned(), id.as_str()), ("/id".to_owned(), event_id.as_str())])
    .try_fold(FINDING.to_owned(), |event, (pointer, new)| {
        // Everywhere in the text: titles and ARNs repeat the ids.
        let old = text(sample.pointer(&pointer).and_then(Value::as_str), &pointer)?;
        Ok::<_, Error>(event.replace(&old, new))
    })?;
    Ok(serde_json::from_str(&event)?)
}

fn uuid(digits: &str) -> String {
    let digits = format!("{digits:0<32}");
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

fn text(value: Option<&str>, what: &str) -> Result<String, Error> {
    Ok(value.ok_or_else(|| format!("the emulator gave no {what}"))?.to_owned())
}
