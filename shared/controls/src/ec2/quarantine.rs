//! Isolates an instance that acts for an attacker, and keeps the evidence.
//!
//! ## What it fixes
//! An instance that GuardDuty saw acting against others or for its intruder, with severity 7 or more: `Backdoor:EC2/*`,
//! `CryptoCurrency:EC2/*`, `Impact:EC2/*`, `Trojan:EC2/*`, `UnauthorizedAccess:EC2/TorClient`,
//! `UnauthorizedAccess:EC2/TorRelay` and `Execution:EC2/MaliciousFile`. In these types the instance is the actor, whatever
//! the finding's `resourceRole` says. Left out are types in which it may be the victim
//! (`UnauthorizedAccess:EC2/SSHBruteForce` and `…/RDPBruteForce` tell of either side; `…/MetadataDNSRebind`,
//! `…/TorIPCaller`, `…/MaliciousIPCaller.Custom`, `Recon:EC2/PortProbe…`), and `AttackSequence:EC2/…`, which names a
//! group of instances whose own findings come as well.
//!
//! Evidence first: the instance is tagged `quell:quarantine` with the id of the record, termination protection goes on,
//! "delete on termination" goes off for every volume, and all volumes are snapshotted. Then each network interface gets,
//! one right after the other, a group made for this record that allows everything (so that AWS stops tracking its
//! connections, which would otherwise outlive the change of groups) and a group without any rule. The first of the two
//! groups is deleted again. An instance is compliant when each interface holds exactly one group and that has no rules.
//!
//! ## Why it matters
//! A compromised instance mines, scans, sends or attacks at your cost, reaches what its network and its role reach, and
//! takes its traces along when it is terminated.
//!
//! ## What can break
//! Everything that the instance serves stops, and nobody can log in to it, not even through Systems Manager. A DNS
//! forwarder, proxy or NAT instance is blamed for what its clients do, and all of them lose their way out. For a moment,
//! about the time of one call, the interface is open to the world. Load balancers report the instance as unhealthy; an
//! Auto Scaling group may then terminate it despite its termination protection, and launches another. Termination
//! protection does not stop a shutdown from within, and a Spot instance cannot have it.
//!
//! The result is verified as configuration; no packet is sent to try it. AWS tracks connections through NAT gateways,
//! egress-only internet gateways, transit gateways, Network and Gateway Load Balancers, Global Accelerator, Network
//! Firewall endpoints, interface endpoints, the DynamoDB gateway endpoint and Lambda's own interfaces whatever the groups
//! say: those that are established may last until they end or time out, as may ICMP. A network ACL on the subnet cuts
//! them. Security groups never filter the VPC's DNS resolver, the metadata service, DHCP or the time service: data can
//! still leave in DNS queries, and the credentials of the instance's role stay valid. Interfaces that an AWS service
//! manages keep their groups and are named in the message; those of pods with groups of their own are not attached to
//! the instance and are not seen.
//!
//! ## Undo
//! Every interface gets its own groups back, in their order; termination protection, "delete on termination" and the tag
//! become as they were; the groups made for the record are deleted. The snapshots stay: they are evidence, carry the tag
//! `quell:quarantine`, cost storage, and are for a person to delete.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::{Duration, Instant},
};

use aws_sdk_ec2::{
    Client,
    config::retry::RetryConfig,
    types::{
        AttributeBooleanValue, EbsInstanceBlockDeviceSpecification, Filter, Instance,
        InstanceAttributeName, InstanceBlockDeviceMappingSpecification, InstanceLifecycleType,
        InstanceSpecification, InstanceStateName, NetworkInterface, ResourceType, Tag,
        TagSpecification,
    },
};
use quell_engine::{
    CallError, CallErrorKind, Clients, Control, Description, During, Effect, Listen, Meta, Plan,
    Progress, Safety, Severity, Signal, Trigger, aws::OrMissing, control::TargetError,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::instance::{self, InstanceId};
use crate::partition;

mod groups;

use groups::Kind;

/// The groups without rules have this name with the record's id behind it.
pub const ISOLATION_NAME: &str = "quell-isolate-";

/// The groups that allow everything for a moment have this name with the record's id behind it.
pub const UNTRACKING_NAME: &str = "quell-untrack-";

/// The tag that names the record on the instance, its snapshots and the groups.
pub const TAG: &str = "quell:quarantine";

pub struct Quarantine {
    ec2: Client,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct State {
    pub interfaces: Vec<Interface>,
    pub volumes: Vec<Volume>,
    pub termination_protection: bool,
    /// Spot instances cannot have termination protection.
    pub spot: bool,
    /// The value of [`TAG`].
    pub tag: Option<String>,
    pub auto_scaling_group: Option<String>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Interface {
    pub id: String,
    /// An instance may have interfaces in several VPCs.
    pub vpc: String,
    pub groups: Groups,
    /// An AWS service manages it: nobody else can change its groups.
    pub managed: bool,
    /// It holds exactly one group, and that has no rules.
    pub isolated: bool,
}

/// Group ids in the order in which AWS gave them. AWS promises no order, so it makes no difference.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Groups(pub Vec<String>);

impl PartialEq for Groups {
    fn eq(&self, other: &Self) -> bool {
        let set = |groups: &Self| groups.0.iter().cloned().collect::<BTreeSet<_>>();
        set(self) == set(other)
    }
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Volume {
    pub device: String,
    pub id: String,
    pub delete_on_termination: bool,
}

/// One step. Those that use a group say at which place of the plan it is made: its id is in the record, and nothing
/// else about a group is trusted.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Change {
    /// Writes the record's id into [`TAG`].
    Tag,
    TerminationProtection {
        on: bool,
    },
    DeleteOnTermination {
        devices: Vec<String>,
        on: bool,
    },
    Snapshots,
    IsolationGroup {
        vpc: String,
        /// Its own place in the plan.
        place: usize,
    },
    UntrackingGroup {
        vpc: String,
        /// Its own place in the plan.
        place: usize,
    },
    /// Both swaps of one interface: they are one change so that nothing can come between them.
    Isolate {
        interface: String,
        untracking: usize,
        isolation: usize,
    },
    DeleteUntrackingGroup {
        untracking: usize,
    },
    /// Undo: the interface's own groups.
    RestoreGroups {
        interface: String,
        groups: Vec<String>,
    },
    /// Undo: the groups that the record made, as far as they are still there.
    DeleteGroups,
    /// Undo: [`TAG`] as it was.
    RestoreTag {
        value: Option<String>,
    },
}

impl Control for Quarantine {
    const META: Meta = Meta {
        id: "ec2-quarantine",
        title: "Compromised instances are isolated and their evidence is kept",
        risk: "GuardDuty saw the instance act for an intruder, who can use its network, its role and its data until \
               it is isolated.",
        severity: Severity::Critical,
        safety: Safety::NeedsApproval,
        reversible: true,
        satisfies: &["nist-800-53-r5/IR-4(1)", "nist-800-53-r5/IR-4(2)", "nist-csf-2.0/RS.MI-01"],
        function: "ec2-quarantine",
        listens: &[Listen::GuardDuty {
            types: &[
                "Backdoor:EC2/*",
                "CryptoCurrency:EC2/*",
                "Execution:EC2/MaliciousFile",
                "Impact:EC2/*",
                "Trojan:EC2/*",
                "UnauthorizedAccess:EC2/TorClient",
                "UnauthorizedAccess:EC2/TorRelay",
            ],
            min_severity: 7.0,
        }],
        discovers: &[],
        reads: &[
            "ec2:DescribeInstanceAttribute",
            "ec2:DescribeInstances",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSnapshots",
        ],
        writes: &[
            "ec2:AuthorizeSecurityGroupEgress",
            "ec2:AuthorizeSecurityGroupIngress",
            "ec2:CreateSecurityGroup",
            "ec2:CreateSnapshots",
            "ec2:CreateTags",
            "ec2:DeleteSecurityGroup",
            "ec2:DeleteTags",
            "ec2:ModifyInstanceAttribute",
            "ec2:ModifyNetworkInterfaceAttribute",
            "ec2:RevokeSecurityGroupEgress",
        ],
        baseline: false,
        visible_within: 0,
        source: file!(),
    };

    type Target = InstanceId;
    type State = State;
    type Change = Change;

    fn connect(aws: &Clients) -> Self {
        Self { ec2: instance::client(aws) }
    }

    fn targets(signal: &Signal) -> Result<Vec<InstanceId>, TargetError> {
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        let (field, id) = match &signal.trigger {
            Trigger::GuardDuty { resource, .. } => {
                let id = resource.pointer("/instanceDetails/instanceId").and_then(Value::as_str);
                ("detail.resource.instanceDetails.instanceId", id.unwrap_or_default())
            }
            Trigger::Manual { resource, .. } => ("detail.resource", resource.as_str()),
            _ => return Ok(Vec::new()),
        };
        InstanceId::parse(Self::META.id, field, id).map(|id| vec![id])
    }

    async fn assess(&self, instance: &InstanceId) -> Result<Option<State>, CallError> {
        let (found, termination_protection, interfaces) = tokio::join!(
            self.instance(instance),
            self.termination_protection(instance),
            self.interfaces("attachment.instance-id", instance.as_str()),
        );
        // An instance that is gone makes the other two fail.
        let Some(found) = found? else { return Ok(None) };
        let (termination_protection, interfaces) = (termination_protection?, interfaces?);
        let interfaces = self.with_isolation(interfaces).await?;
        if found.vpc_id().is_none() || interfaces.is_empty() {
            let why =
                "the instance has no network interface in a VPC, whose groups could be changed";
            return Err(CallError::new(DESCRIBE_INTERFACES, CallErrorKind::Refused, why));
        }
        if interfaces.iter().all(|interface| interface.managed) {
            let why =
                "an AWS service manages every network interface of the instance; isolate it there";
            return Err(CallError::new(DESCRIBE_INTERFACES, CallErrorKind::Refused, why));
        }
        let tag = |key: &str| {
            let tag = found.tags().iter().find(|tag| tag.key() == Some(key))?;
            Some(tag.value().unwrap_or_default().to_owned())
        };
        Ok(Some(State {
            interfaces,
            volumes: volumes(&found),
            termination_protection,
            spot: found.instance_lifecycle() == Some(&InstanceLifecycleType::Spot),
            tag: tag(TAG),
            auto_scaling_group: tag("aws:autoscaling:groupName"),
        }))
    }

    async fn tags(&self, target: &InstanceId) -> Result<BTreeMap<String, String>, CallError> {
        instance::tags(&self.ec2, target).await
    }

    fn plan(state: &State) -> Plan<Change> {
        let open = || state.interfaces.iter().filter(|interface| interface.is_open());
        let vpcs: BTreeSet<&str> = open().map(|interface| interface.vpc.as_str()).collect();
        if vpcs.is_empty() {
            return Plan::nothing();
        }
        let mut changes = vec![Change::Tag];
        if !state.termination_protection && !state.spot {
            changes.push(Change::TerminationProtection { on: true });
        }
        let devices: Vec<String> = state
            .volumes
            .iter()
            .filter(|volume| volume.delete_on_termination)
            .map(|volume| volume.device.clone())
            .collect();
        if !devices.is_empty() {
            changes.push(Change::DeleteOnTermination { devices, on: false });
        }
        if !state.volumes.is_empty() {
            changes.push(Change::Snapshots);
        }
        let mut places = BTreeMap::new();
        for vpc in vpcs {
            let place = changes.len();
            changes.push(Change::IsolationGroup { vpc: vpc.to_owned(), place });
            changes.push(Change::UntrackingGroup { vpc: vpc.to_owned(), place: place + 1 });
            places.insert(vpc, place);
        }
        changes.extend(open().filter_map(|interface| {
            let isolation = *places.get(interface.vpc.as_str())?;
            let interface = interface.id.clone();
            Some(Change::Isolate { interface, untracking: isolation + 1, isolation })
        }));
        changes.extend(
            places.values().map(|place| Change::DeleteUntrackingGroup { untracking: place + 1 }),
        );
        Plan { changes }
    }

    async fn apply(
        &self,
        instance: &InstanceId,
        change: &Change,
        progress: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        match change {
            Change::Tag => self.tag(instance, progress.record).await?,
            Change::TerminationProtection { on } => {
                self.protect_termination(instance, *on).await?;
            }
            Change::DeleteOnTermination { devices, on } => {
                self.delete_on_termination(instance, devices, *on).await?;
            }
            Change::Snapshots => return self.snapshots(instance, progress.record).await.map(Some),
            Change::IsolationGroup { vpc, place } => {
                return self.group(Kind::Isolation, vpc, *place, progress).await.map(Some);
            }
            Change::UntrackingGroup { vpc, place } => {
                return self.group(Kind::Untracking, vpc, *place, progress).await.map(Some);
            }
            Change::Isolate { interface, untracking, isolation } => {
                let untracking = made_at(progress, *untracking)?;
                let isolation = made_at(progress, *isolation)?;
                let time = progress.deadline;
                self.isolate(instance, interface, untracking, isolation, time).await?;
            }
            Change::DeleteUntrackingGroup { untracking } => {
                self.none_is_open(instance).await?;
                groups::delete(&self.ec2, made_at(progress, *untracking)?).await?;
            }
            Change::RestoreGroups { interface, groups } => {
                self.set_groups(interface, groups).await?;
            }
            Change::DeleteGroups => {
                let made = progress.made.iter().flatten().filter(|made| made.starts_with("sg-"));
                let made: Vec<String> = made.cloned().collect();
                groups::delete_what_is_left(&self.ec2, made).await?;
            }
            Change::RestoreTag { value: Some(value) } => self.tag(instance, value).await?,
            Change::RestoreTag { value: None } => self.untag(instance).await?,
        }
        Ok(None)
    }

    fn revert(before: &State, after: &State) -> Plan<Change> {
        let mut changes = Vec::new();
        for interface in &after.interfaces {
            let was = before.interfaces.iter().find(|was| was.id == interface.id);
            if let Some(was) = was.filter(|was| was.groups != interface.groups) {
                let (interface, groups) = (was.id.clone(), was.groups.0.clone());
                changes.push(Change::RestoreGroups { interface, groups });
            }
        }
        for on in [true, false] {
            let was = |volume: &&Volume| {
                before.volumes.iter().any(|was| {
                    was.id == volume.id
                        && was.device == volume.device
                        && was.delete_on_termination == on
                })
            };
            let changed = after.volumes.iter().filter(|now| now.delete_on_termination != on);
            let devices: Vec<String> =
                changed.filter(was).map(|volume| volume.device.clone()).collect();
            if !devices.is_empty() {
                changes.push(Change::DeleteOnTermination { devices, on });
            }
        }
        if before.termination_protection != after.termination_protection {
            changes.push(Change::TerminationProtection { on: before.termination_protection });
        }
        if before.tag != after.tag {
            changes.push(Change::RestoreTag { value: before.tag.clone() });
        }
        changes.push(Change::DeleteGroups);
        Plan { changes }
    }

    fn describe(state: &State, change: &Change) -> Description {
        let protection =
            |on: bool| format!("termination protection {}", if on { "on" } else { "off" });
        let deletion = |devices: &[String], on: bool| {
            let fate = if on { "deleted with the instance" } else { "kept when the instance ends" };
            let line = |device| format!("{device}: {fate}");
            devices.iter().map(line).collect()
        };
        let tag = |value: &str| vec![format!("tag {TAG} = {value}")];
        let now = |id: &str| {
            let interface = state.interfaces.iter().find(|interface| interface.id == id);
            interface.map(|now| format!("{id}: {}", now.groups)).into_iter().collect()
        };
        let (action, effect, minus, plus) = match change {
            Change::Tag => {
                let minus = state.tag.as_deref().map(tag).unwrap_or_default();
                ("ec2:CreateTags", Effect::Set, minus, tag("the id of this record"))
            }
            Change::TerminationProtection { on } => {
                let (minus, plus) = (vec![protection(!on)], vec![protection(*on)]);
                ("ec2:ModifyInstanceAttribute", Effect::Set, minus, plus)
            }
            Change::DeleteOnTermination { devices, on } => {
                let (minus, plus) = (deletion(devices, !on), deletion(devices, *on));
                ("ec2:ModifyInstanceAttribute", Effect::Set, minus, plus)
            }
            Change::Snapshots => {
                let line =
                    |volume: &Volume| format!("snapshot of {} ({})", volume.id, volume.device);
                let plus = state.volumes.iter().map(line).collect();
                ("ec2:CreateSnapshots", Effect::Guarded, Vec::new(), plus)
            }
            Change::IsolationGroup { vpc, .. } => {
                let plus = vec![format!("security group {ISOLATION_NAME}… in {vpc}: no rules")];
                ("ec2:CreateSecurityGroup", Effect::Unique, Vec::new(), plus)
            }
            Change::UntrackingGroup { vpc, .. } => {
                let plus = vec![format!(
                    "security group {UNTRACKING_NAME}… in {vpc}: all traffic in and out, for a moment"
                )];
                ("ec2:CreateSecurityGroup", Effect::Unique, Vec::new(), plus)
            }
            Change::Isolate { interface, .. } => {
                let plus = vec![format!(
                    "{interface}: {ISOLATION_NAME}… (right after {UNTRACKING_NAME}…)"
                )];
                (MODIFY_INTERFACE, Effect::Guarded, now(interface), plus)
            }
            Change::DeleteUntrackingGroup { .. } => {
                let minus = vec![format!("security group {UNTRACKING_NAME}…")];
                ("ec2:DeleteSecurityGroup", Effect::Set, minus, Vec::new())
            }
            Change::RestoreGroups { interface, groups } => {
                let plus = vec![format!("{interface}: {}", groups.join(", "))];
                (MODIFY_INTERFACE, Effect::Set, now(interface), plus)
            }
            Change::DeleteGroups => {
                let minus = vec!["security groups that the record made".to_owned()];
                ("ec2:DeleteSecurityGroup", Effect::Guarded, minus, Vec::new())
            }
            Change::RestoreTag { value } => {
                let minus = state.tag.as_deref().map(tag).unwrap_or_default();
                let plus = value.as_deref().map(tag).unwrap_or_default();
                let action = if value.is_some() { "ec2:CreateTags" } else { "ec2:DeleteTags" };
                (action, Effect::Set, minus, plus)
            }
        };
        Description { action: action.to_owned(), effect, minus, plus }
    }

    fn console(instance: &InstanceId, region: &str) -> String {
        format!("{}#InstanceDetails:instanceId={instance}", partition::console("ec2", region))
    }

    fn arn(instance: &InstanceId, account: &str, region: &str) -> String {
        format!("arn:{}:ec2:{region}:{account}:instance/{instance}", partition::of(region))
    }

    fn notes(state: &State) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(group) = &state.auto_scaling_group {
            notes.push(format!(
                "The instance belongs to the Auto Scaling group {group}. If its health check fails, the group \
                 terminates it in spite of termination protection and launches another: put it on standby or detach \
                 it to keep it."
            ));
        }
        if state.spot {
            notes.push(
                "It is a Spot instance: it cannot be protected from termination, and AWS may take it back.".into(),
            );
        }
        for managed in state.interfaces.iter().filter(|interface| interface.managed) {
            notes.push(format!(
                "An AWS service manages {}: it keeps its groups ({}) and is not isolated.",
                managed.id, managed.groups
            ));
        }
        notes.push(VERIFIED.into());
        notes.push(STILL_TRACKED.into());
        notes.push(NEVER_FILTERED.into());
        notes
    }

    /// Leaving an Auto Scaling group is none of an undo's business.
    fn same(one: &State, other: &State) -> bool {
        let bare = |state: &State| State { auto_scaling_group: None, ..state.clone() };
        bare(one) == bare(other)
    }

    /// Once both groups are known to the record, an interface may be left in the one that allows everything: those
    /// come first. Before that none can be, and the order of the plan holds.
    /// Evidence that cannot be kept is no reason to leave the intruder in, nor is one interface for the others.
    fn goes_on_without(change: &Change) -> bool {
        matches!(
            change,
            Change::Tag
                | Change::TerminationProtection { .. }
                | Change::DeleteOnTermination { .. }
                | Change::Snapshots
                | Change::Isolate { .. }
        )
    }

    fn resume(changes: &[Change], made: &[Option<String>]) -> Vec<usize> {
        let is_made = |place: usize| made.get(place).is_some_and(Option::is_some);
        let (first, rest): (Vec<usize>, Vec<usize>) =
            (0..changes.len()).partition(|&index| match changes[index] {
                Change::Isolate { untracking, isolation, .. } => {
                    is_made(untracking) && is_made(isolation)
                }
                _ => false,
            });
        [first, rest].concat()
    }
}

const DESCRIBE_INTERFACES: &str = "ec2:DescribeNetworkInterfaces";
const DELETE_GROUP: &str = "ec2:DeleteSecurityGroup";
const MODIFY_INTERFACE: &str = "ec2:ModifyNetworkInterfaceAttribute";

const VERIFIED: &str = "Isolation is verified as configuration: each interface is read again and holds one group \
                        without rules. No packet is sent to try it.";

const STILL_TRACKED: &str = "AWS still tracks connections through NAT gateways, egress-only internet gateways, \
                             transit gateways, Network and Gateway Load Balancers, Global Accelerator, Network \
                             Firewall endpoints, interface endpoints, the DynamoDB gateway endpoint and Lambda: \
                             established ones may last until they end or time out (idle TCP: up to 5 days), as may \
                             ICMP. A network ACL on the subnet cuts them.";

const NEVER_FILTERED: &str = "Security groups do not filter the VPC's DNS resolver, the metadata service, DHCP or \
                              the time service, and the credentials of the instance's role stay valid.";

impl Interface {
    /// Whether it must and can be isolated.
    fn is_open(&self) -> bool {
        !self.managed && !self.isolated
    }
}

impl std::fmt::Display for Groups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "no group" } else { "" })?;
        f.write_str(&self.0.join(", "))
    }
}

/// Reads.
impl Quarantine {
    /// None: there is none, or none any more.
    async fn instance(&self, instance: &InstanceId) -> Result<Option<Instance>, CallError> {
        let reply = self.ec2.describe_instances().instance_ids(instance.as_str()).send().await;
        let reply = reply.during("ec2:DescribeInstances");
        let Some(reply) = reply.or_missing(&["InvalidInstanceID.NotFound"])? else {
            return Ok(None);
        };
        let reservations = reply.reservations.unwrap_or_default().into_iter();
        let mut instances = reservations.flat_map(|found| found.instances.unwrap_or_default());
        let found = instances.find(|found| found.instance_id() == Some(instance.as_str()));
        Ok(found.filter(|found| {
            let state = found.state().and_then(|state| state.name());
            !matches!(state, Some(InstanceStateName::ShuttingDown | InstanceStateName::Terminated))
        }))
    }

    async fn termination_protection(&self, instance: &InstanceId) -> Result<bool, CallError> {
        let request = self.ec2.describe_instance_attribute().instance_id(instance.as_str());
        let request = request.attribute(InstanceAttributeName::DisableApiTermination);
        let reply = request.send().await.during("ec2:DescribeInstanceAttribute")?;
        let protection = reply.disable_api_termination.and_then(|protection| protection.value);
        protection.ok_or_else(|| {
            CallError::new(
                "ec2:DescribeInstanceAttribute",
                CallErrorKind::Refused,
                "the answer does not say whether termination protection is on",
            )
        })
    }

    async fn interfaces(
        &self,
        filter: &'static str,
        value: &str,
    ) -> Result<Vec<NetworkInterface>, CallError> {
        let request = self.ec2.describe_network_interfaces();
        let request = request.filters(Filter::builder().name(filter).values(value).build());
        let pages = request.into_paginator().items().send();
        let mut found = pages.collect::<Result<Vec<_>, _>>().await.during(DESCRIBE_INTERFACES)?;
        found.sort_by_key(|interface| {
            let attached = interface.attachment();
            (
                attached.and_then(|attached| attached.network_card_index()),
                attached.and_then(|attached| attached.device_index()),
                interface.network_interface_id().map(str::to_owned),
            )
        });
        Ok(found)
    }

    /// Only where one group is attached do its rules decide, so only those are read.
    async fn with_isolation(
        &self,
        interfaces: Vec<NetworkInterface>,
    ) -> Result<Vec<Interface>, CallError> {
        let mut interfaces: Vec<Interface> = interfaces.iter().map(interface).collect();
        let single = |interface: &Interface| match interface.groups.0.as_slice() {
            [group] if !interface.managed => Some(group.clone()),
            _ => None,
        };
        let attached: BTreeSet<String> = interfaces.iter().filter_map(single).collect();
        if !attached.is_empty() {
            let empty: HashSet<String> = groups::without_rules(&self.ec2, attached).await?;
            for interface in &mut interfaces {
                interface.isolated = single(interface).is_some_and(|group| empty.contains(&group));
            }
        }
        Ok(interfaces)
    }
}

/// Writes.
impl Quarantine {
    async fn tag(&self, instance: &InstanceId, value: &str) -> Result<(), CallError> {
        let tag = Tag::builder().key(TAG).value(value).build();
        let request = self.ec2.create_tags().resources(instance.as_str()).tags(tag);
        request.send().await.during("ec2:CreateTags").map(drop)
    }

    async fn untag(&self, instance: &InstanceId) -> Result<(), CallError> {
        let tag = Tag::builder().key(TAG).build();
        let request = self.ec2.delete_tags().resources(instance.as_str()).tags(tag);
        request.send().await.during("ec2:DeleteTags").map(drop)
    }

    async fn protect_termination(&self, instance: &InstanceId, on: bool) -> Result<(), CallError> {
        let request = self.ec2.modify_instance_attribute().instance_id(instance.as_str());
        let value = AttributeBooleanValue::builder().value(on).build();
        let request = request.disable_api_termination(value);
        request.send().await.during("ec2:ModifyInstanceAttribute").map(drop)
    }

    async fn delete_on_termination(
        &self,
        instance: &InstanceId,
        devices: &[String],
        on: bool,
    ) -> Result<(), CallError> {
        let request = self.ec2.modify_instance_attribute().instance_id(instance.as_str());
        let ebs = EbsInstanceBlockDeviceSpecification::builder().delete_on_termination(on).build();
        let mapping = |device: &String| {
            let mapping = InstanceBlockDeviceMappingSpecification::builder();
            mapping.device_name(device).ebs(ebs.clone()).build()
        };
        let request =
            request.set_block_device_mappings(Some(devices.iter().map(mapping).collect()));
        request.send().await.during("ec2:ModifyInstanceAttribute").map(drop)
    }

    /// The ids of the record's snapshots, with a blank between them. A response that was lost may have left more than one
    /// per volume, if AWS does not show the first yet: all of them are named, so that the record shows it.
    async fn snapshots(&self, instance: &InstanceId, record: &str) -> Result<String, CallError> {
        let mut ids = self.snapshots_of(record).await?;
        for pause in [500, 1000] {
            if !ids.is_empty() {
                break;
            }
            ids = match self.make_snapshots(instance, record).await {
                Ok(made) => made,
                Err(error) if error.is_worth_retrying() => {
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    self.snapshots_of(record).await?
                }
                Err(error) => return Err(error),
            };
        }
        if ids.is_empty() {
            ids = self.make_snapshots(instance, record).await?;
        }
        ids.sort();
        Ok(ids.join(" "))
    }

    async fn snapshots_of(&self, record: &str) -> Result<Vec<String>, CallError> {
        let ours = Filter::builder().name(format!("tag:{TAG}")).values(record).build();
        let search = self.ec2.describe_snapshots().owner_ids("self").filters(ours);
        // Pages may be empty although more follow.
        let pages = search.into_paginator().items().send();
        let found = pages.collect::<Result<Vec<_>, _>>().await.during("ec2:DescribeSnapshots")?;
        Ok(found.into_iter().filter_map(|one| one.snapshot_id).collect())
    }

    /// Once: the call takes no client token, so the SDK must not send it again before anyone has searched.
    async fn make_snapshots(
        &self,
        instance: &InstanceId,
        record: &str,
    ) -> Result<Vec<String>, CallError> {
        let request = self
            .ec2
            .create_snapshots()
            .description(format!("Quell: evidence of {instance}, taken before its quarantine"));
        let request = request
            .instance_specification(
                InstanceSpecification::builder().instance_id(instance.as_str()).build(),
            )
            .tag_specifications(tagged(ResourceType::Snapshot, record));
        let reply = request.customize().config_override(once()).send().await;
        let reply = reply.during("ec2:CreateSnapshots")?;
        let made = reply.snapshots.unwrap_or_default().into_iter();
        Ok(made.filter_map(|one| one.snapshot_id).collect())
    }

    /// A group that the record knows is there already, and may have been deleted since: it is not made again.
    async fn group(
        &self,
        kind: Kind,
        vpc: &str,
        place: usize,
        progress: &Progress<'_>,
    ) -> Result<String, CallError> {
        match made_at(progress, place) {
            Ok(known) => Ok(known.to_owned()),
            Err(_) => groups::make(&self.ec2, kind, vpc, progress.record).await,
        }
    }

    async fn isolate(
        &self,
        instance: &InstanceId,
        interface: &str,
        untracking: &str,
        isolation: &str,
        deadline: Instant,
    ) -> Result<(), CallError> {
        let found = self.interfaces("network-interface-id", interface).await?;
        let Some(found) = found.into_iter().next() else {
            // It was deleted. Whether nothing is left open is seen when the instance is read again.
            return Ok(());
        };
        let attachment = found.attachment();
        let is_ours = attachment.and_then(|to| to.instance_id()) == Some(instance.as_str());
        let held = groups_of(&found).0;
        let looked_at = held.iter().cloned().chain([isolation.to_owned()]).collect();
        let empty = groups::without_rules(&self.ec2, looked_at).await;
        let untracked = match swap(&held, is_ours, untracking, isolation) {
            Swap::Nothing => return Ok(()),
            Swap::Close => Ok(()),
            Swap::Both if matches!((&held[..], &empty), ([one], Ok(empty)) if empty.contains(one)) =>
            {
                // Isolated already, under another record or by hand: it is not opened again.
                return Ok(());
            }
            Swap::Both if deadline.saturating_duration_since(Instant::now()) < BOTH_STEPS => {
                let why = format!("too little time is left to open and close {interface}");
                return Err(CallError::new(MODIFY_INTERFACE, CallErrorKind::NotReady, why));
            }
            Swap::Both if !empty?.contains(isolation) => {
                let why = format!(
                    "{isolation}, which was made without rules for {interface}, is gone or has rules now; {interface} \
                     keeps its groups"
                );
                return Err(CallError::new(MODIFY_INTERFACE, CallErrorKind::Refused, why));
            }
            Swap::Both => self.set_groups(interface, &[untracking.to_owned()]).await,
        };
        // Without an answer the interface may be open: it is closed before the error is passed on.
        if let Err(error) = &untracked
            && !matches!(error.kind, CallErrorKind::NoAnswer | CallErrorKind::Unavailable)
        {
            return untracked;
        }
        let mut isolated = self.close(interface, isolation).await;
        for pause in [200, 400, 800, 1600] {
            match &isolated {
                Err(error) if error.is_worth_retrying() => {
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    isolated = self.close(interface, isolation).await;
                }
                _ => break,
            }
        }
        let Err(error) = isolated else { return untracked };
        if !held.iter().any(|group| group == untracking)
            && self.set_groups(interface, &held).await.is_ok()
        {
            // The exposure of before is better than everyone's.
            let message = format!(
                "{interface} could not be moved to {isolation}, and has its own groups back: it is not isolated. AWS \
                 said: {}",
                error.message
            );
            return Err(CallError { message, ..error });
        }
        Err(left_open(error, interface, untracking, isolation))
    }

    /// An interface whose isolation failed needs the untracking group once more, and a group that the record knows is not
    /// made again.
    async fn none_is_open(&self, instance: &InstanceId) -> Result<(), CallError> {
        let found = self.interfaces("attachment.instance-id", instance.as_str()).await?;
        let interfaces = self.with_isolation(found).await?;
        match interfaces.iter().find(|interface| interface.is_open()) {
            None => Ok(()),
            Some(open) => {
                let why = format!("{} is not isolated yet", open.id);
                Err(CallError::new(DELETE_GROUP, CallErrorKind::NotReady, why))
            }
        }
    }

    /// Once: whoever closes an interface tries it again by itself, and sooner than the SDK.
    async fn close(&self, interface: &str, isolation: &str) -> Result<(), CallError> {
        let request = self.ec2.modify_network_interface_attribute();
        let request = request.network_interface_id(interface).groups(isolation);
        let reply = request.customize().config_override(once()).send().await;
        reply.during(MODIFY_INTERFACE).map(drop)
    }

    async fn set_groups(&self, interface: &str, groups: &[String]) -> Result<(), CallError> {
        let request = self.ec2.modify_network_interface_attribute();
        let request = request.network_interface_id(interface).set_groups(Some(groups.to_vec()));
        request.send().await.during(MODIFY_INTERFACE).map(drop)
    }
}

/// One attempt, in a loop that tries again by itself.
fn once() -> aws_sdk_ec2::config::Builder {
    aws_sdk_ec2::config::Builder::new().retry_config(RetryConfig::disabled())
}

/// Time for both steps with their retries, so that the process is not ended between them.
const BOTH_STEPS: Duration = Duration::from_secs(35);

#[derive(Debug, PartialEq)]
enum Swap {
    Nothing,
    /// Step two alone: it holds the group that allows everything.
    Close,
    Both,
}

/// What is to be done with an interface, by the groups that it holds right now. One that is isolated is never opened
/// again; one that went to another instance is left alone, unless it is open.
fn swap(held: &[String], is_ours: bool, untracking: &str, isolation: &str) -> Swap {
    if held.iter().any(|group| group == untracking) {
        Swap::Close
    } else if !is_ours || held == [isolation] {
        Swap::Nothing
    } else {
        Swap::Both
    }
}

fn left_open(error: CallError, interface: &str, untracking: &str, isolation: &str) -> CallError {
    let message = format!(
        "CRITICAL: {interface} may be left open to the world. It could not be moved from {untracking}, which allows \
         all traffic, to {isolation}, which has no rules. Do it at once: aws ec2 modify-network-interface-attribute \
         --network-interface-id {interface} --groups {isolation}. AWS said: {}",
        error.message
    );
    CallError { message, ..error }
}

/// The id of what the plan's change at this place made.
fn made_at<'a>(progress: &Progress<'a>, place: usize) -> Result<&'a str, CallError> {
    progress.made.get(place).and_then(Option::as_deref).ok_or_else(|| {
        CallError::new(
            MODIFY_INTERFACE,
            CallErrorKind::Refused,
            "the record does not know the group that was to be made for it; nothing is changed without it",
        )
    })
}

fn interface(found: &NetworkInterface) -> Interface {
    let requester = found.requester_managed() == Some(true);
    let operator = found.operator().and_then(|operator| operator.managed()) == Some(true);
    Interface {
        id: found.network_interface_id().unwrap_or_default().to_owned(),
        vpc: found.vpc_id().unwrap_or_default().to_owned(),
        groups: groups_of(found),
        managed: requester || operator,
        isolated: false,
    }
}

fn groups_of(found: &NetworkInterface) -> Groups {
    Groups(found.groups().iter().filter_map(|group| group.group_id.clone()).collect())
}

fn volumes(instance: &Instance) -> Vec<Volume> {
    let mappings = instance.block_device_mappings().iter();
    let mut volumes: Vec<Volume> = mappings
        .filter_map(|mapping| {
            let ebs = mapping.ebs()?;
            Some(Volume {
                device: mapping.device_name()?.to_owned(),
                id: ebs.volume_id()?.to_owned(),
                delete_on_termination: ebs.delete_on_termination() == Some(true),
            })
        })
        .collect();
    volumes.sort_by(|one, other| one.device.cmp(&other.device));
    volumes
}

fn tagged(kind: ResourceType, record: &str) -> TagSpecification {
    let tag = Tag::builder().key(TAG).value(record).build();
    TagSpecification::builder().resource_type(kind).tags(tag).build()
}

#[cfg(test)]
mod tests;
