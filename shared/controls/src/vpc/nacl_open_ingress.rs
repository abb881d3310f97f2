//! Keeps SSH and RDP of the world out of network ACLs.
//!
//! ## What it fixes
//! Each ingress entry of a network ACL through which everyone on the internet reaches TCP port 22 (SSH) or 3389 (RDP): an
//! entry for the port, for a range of ports that holds it, or for all traffic. Entries are judged in the order of their
//! numbers, so one that is behind a denial of the same is no violation. "Everyone" is judged by the length of the
//! prefix, as for security groups; ranges that the policy trusts are not everyone.
//!
//! - An entry that opens one of these ports and nothing else is deleted.
//! - An entry that carries other traffic stays as it is: without it, the subnets would be cut off. Right before it, entries
//!   are added that deny the ports to its range, and before those the same permission for the ranges that are not the
//!   internet (`10.0.0.0/8`, `172.16.0.0/12`, `192.168.0.0/16`, `100.64.0.0/10`, `fc00::/7`) and those that the policy
//!   trusts. So nothing but SSH and RDP from outside changes. Where the numbers before the entry are taken, the fix fails
//!   and says so: give the entry a higher number.
//!
//! The entry that allows everything in each default network ACL is AWS's own, and no violation: security groups do the
//! work there, and Security Hub does not look at it either. Once someone has closed a default network ACL, it is judged as
//! any other, but for that very entry.
//!
//! UDP is not judged: SSH does not use it, and RDP only after a connection over TCP.
//!
//! ## Why it matters
//! A network ACL is what is left when a security group is opened by mistake. One that lets everyone reach the ports for
//! administration leaves nothing.
//!
//! ## What can break
//! Whoever administers machines from outside no longer gets through, unless the policy trusts their addresses. An entry
//! behind the denied one that let some of them in no longer has an effect: give it a lower number. So do subnets that
//! reach each other by public IPv6 addresses. Network ACLs have no memory: an answer from the internet to a connection
//! that itself came from port 3389, as a NAT gateway may choose, is denied too, and that connection is tried again.
//!
//! AWS counts the entries: 20 for each direction, unless more were asked for. A tool that manages the network ACL
//! reports a drift.
//!
//! ## Undo
//! Deletes the entries that were added, and makes the deleted ones again under their numbers.

use std::{collections::BTreeMap, fmt};

use aws_sdk_ec2::{
    Client,
    types::{NetworkAcl as Described, PortRange, RuleAction},
};
use quell_engine::{
    Background, CallError, CallErrorKind, Clients, Control, Description, Discovered, During,
    Effect, Listen, Meta, Plan, Progress, Safety, Severity, Signal, Trigger, aws::OrMissing,
    control::TargetError,
};
use serde::{Deserialize, Serialize};

pub use super::acl::Entry;
use super::{acl, id::Kind};
use crate::{cidr::Cidr, ec2::instance, partition, shape};

pub struct NaclOpenIngress {
    ec2: Client,
    account: String,
}

/// The id of a network ACL: `acl-` and 8 or 17 hexadecimal digits.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct NetworkAcl(String);

impl fmt::Display for NetworkAcl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a network ACL lets in.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Ingress {
    pub vpc: Option<String>,
    /// The one that a VPC has from the beginning.
    pub is_default: bool,
    /// The subnets that it is for, in a fixed order.
    pub subnets: Vec<String>,
    /// By their numbers, without those that AWS makes and nobody can change.
    pub entries: Vec<Entry>,
    /// The ranges that the policy trusts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted: Vec<String>,
}

/// One call that changes an entry.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    Create(Entry),
    Delete(Entry),
    /// Something has to go before this entry, and no number is free there. It can only fail, and so be told.
    MakeRoom(Entry),
}

const DESCRIBE: &str = "ec2:DescribeNetworkAcls";
const CREATE: &str = "ec2:CreateNetworkAclEntry";
const DELETE: &str = "ec2:DeleteNetworkAclEntry";

const KIND: Kind = Kind { prefix: "acl-", arn: ":network-acl/" };

/// <https://docs.aws.amazon.com/securityhub/latest/userguide/ec2-controls.html#ec2-21>,
/// <https://docs.aws.amazon.com/config/latest/developerguide/nacl-no-unrestricted-ssh-rdp.html>,
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateNetworkAclEntry.html>
impl Control for NaclOpenIngress {
    const META: Meta = Meta {
        id: "vpc-nacl-open-ingress",
        title: "Network ACLs let nobody in the world reach SSH or RDP",
        risk: "The network ACL lets everyone on the internet reach SSH or RDP, so that a mistake in a security group is \
               enough to be attacked.",
        severity: Severity::Medium,
        safety: Safety::NeedsApproval,
        reversible: true,
        satisfies: &["securityhub/EC2.21", "cis-aws-3.0.0/5.1", "cis-aws-5.0.0/5.2"],
        function: "network-exposure",
        listens: &[
            Listen::ApiCall {
                source: "aws.ec2",
                service: "ec2.amazonaws.com",
                // An entry that denied may have been all that kept the world out.
                calls: &[
                    "CreateNetworkAclEntry",
                    "DeleteNetworkAclEntry",
                    "ReplaceNetworkAclEntry",
                ],
            },
            Listen::Config {
                rules: &["nacl-no-unrestricted-ssh-rdp"],
                resource_type: "AWS::EC2::NetworkAcl",
            },
            Listen::SecurityHub { generators: &["/EC2.21"], resource_type: "AwsEc2NetworkAcl" },
        ],
        discovers: &[DESCRIBE],
        reads: &[DESCRIBE],
        writes: &[CREATE, DELETE],
        baseline: false,
        visible_within: 30,
        source: file!(),
    };
    type Target = NetworkAcl;
    type State = Ingress;
    type Change = Change;

    fn connect(aws: &Clients) -> Self {
        Self { ec2: instance::client(aws), account: aws.account().to_owned() }
    }

    fn targets(signal: &Signal) -> Result<Vec<NetworkAcl>, TargetError> {
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        let (field, text) = match &signal.trigger {
            Trigger::ApiCall { parameters, resources, .. } => {
                match shape::text(parameters, ["networkAclId", "NetworkAclId"]) {
                    Some(id) => ("requestParameters.networkAclId", id),
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
        Ok(vec![NetworkAcl(KIND.id(Self::META.id, field, text)?)])
    }

    /// The account's own: those of subnets that others share, it may not change.
    async fn discover(&self, page: Option<&str>) -> Result<Discovered<NetworkAcl>, CallError> {
        let found = self
            .ec2
            .describe_network_acls()
            .max_results(200)
            .set_next_token(page.map(str::to_owned))
            .send()
            .await
            .during(DESCRIBE)?;
        let acls = found.network_acls.unwrap_or_default().into_iter();
        let own = acls.filter(|acl| acl.owner_id() == Some(self.account.as_str()));
        let targets = own.filter_map(|acl| acl.network_acl_id.map(NetworkAcl)).collect();
        Ok(Discovered { targets, next: found.next_token })
    }

    async fn assess(&self, target: &NetworkAcl) -> Result<Option<Ingress>, CallError> {
        let Some(acl) = self.find(target).await? else { return Ok(None) };
        let mut entries = Vec::new();
        for entry in acl.entries().iter().filter(|entry| entry.egress() != Some(true)) {
            let read = Entry::read(entry)
                .map_err(|missing| CallError::new(DESCRIBE, CallErrorKind::Refused, missing))?;
            entries.extend(read);
        }
        entries.sort_by_key(|entry| entry.number);
        let subnets = acl.associations().iter().filter_map(|association| association.subnet_id());
        let mut subnets: Vec<String> = subnets.map(str::to_owned).collect();
        subnets.sort();
        Ok(Some(Ingress {
            vpc: acl.vpc_id,
            is_default: acl.is_default == Some(true),
            subnets,
            entries,
            trusted: Vec::new(),
        }))
    }

    async fn assess_again(
        &self,
        target: &NetworkAcl,
        known: &Ingress,
    ) -> Result<Option<Ingress>, CallError> {
        let now = self.assess(target).await?;
        Ok(now.map(|now| Ingress { trusted: known.trusted.clone(), ..now }))
    }

    fn inform(state: &mut Ingress, background: &Background<'_, Ingress>) {
        let trusted = background.trusted.cidrs.iter();
        state.trusted = trusted.filter(|range| Cidr::parse(range).is_some()).cloned().collect();
    }

    async fn tags(&self, target: &NetworkAcl) -> Result<BTreeMap<String, String>, CallError> {
        let tags = self.find(target).await?.and_then(|acl| acl.tags).unwrap_or_default();
        let tags = tags.into_iter();
        Ok(tags.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default()))).collect())
    }

    fn plan(state: &Ingress) -> Plan<Change> {
        let mut changes = Vec::new();
        let mut taken = Vec::new();
        for offence in acl::offences(&state.entries, state.is_default, &state.trusted) {
            if offence.entry.is_one_port() {
                changes.push(Change::Delete(offence.entry.clone()));
                continue;
            }
            match acl::before(&offence, &state.entries, &state.trusted, &taken) {
                // What allows comes first, in the order of its numbers: so nothing is denied for a moment that is to stay.
                Some(added) => {
                    taken.extend(added.iter().map(|entry| entry.number));
                    changes.extend(added.into_iter().map(Change::Create));
                }
                None => changes.push(Change::MakeRoom(offence.entry.clone())),
            }
        }
        Plan { changes }
    }

    async fn apply(
        &self,
        target: &NetworkAcl,
        change: &Change,
        _progress: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        match change {
            Change::Create(entry) => self.create(target, entry).await,
            Change::Delete(entry) => self.delete(target, entry).await,
            Change::MakeRoom(entry) => {
                let message = format!(
                    "too few numbers are free before rule {}: give it a higher one",
                    entry.number
                );
                Err(CallError::new(CREATE, CallErrorKind::Refused, message))
            }
        }?;
        Ok(None)
    }

    /// The last first: what denies goes before what allows.
    fn revert(before: &Ingress, after: &Ingress) -> Plan<Change> {
        let is_free = |number| !after.entries.iter().any(|there| there.number == number);
        let made = Self::plan(before).changes.into_iter().rev();
        made.filter_map(|change| match change {
            Change::Create(entry) if after.entries.contains(&entry) => Some(Change::Delete(entry)),
            Change::Delete(entry) if is_free(entry.number) => Some(Change::Create(entry)),
            _ => None,
        })
        .collect()
    }

    fn describe(_state: &Ingress, change: &Change) -> Description {
        let (action, effect, minus, plus) = match change {
            Change::Create(entry) => (CREATE, Effect::Unique, None, Some(entry.to_string())),
            Change::Delete(entry) => (DELETE, Effect::Guarded, Some(entry.to_string()), None),
            Change::MakeRoom(entry) => {
                let told = format!("deny tcp 22 and 3389 before {entry}: no number is free there");
                (CREATE, Effect::Unique, None, Some(told))
            }
        };
        Description {
            action: action.to_owned(),
            effect,
            minus: minus.into_iter().collect(),
            plus: plus.into_iter().collect(),
        }
    }

    fn console(target: &NetworkAcl, region: &str) -> String {
        format!(
            "{}#NetworkAclDetails:networkAclId={target}",
            partition::console("vpcconsole", region)
        )
    }

    fn arn(target: &NetworkAcl, account: &str, region: &str) -> String {
        format!("arn:{}:ec2:{region}:{account}:network-acl/{target}", partition::of(region))
    }

    fn notes(state: &Ingress) -> Vec<String> {
        let vpc = state.vpc.as_deref().unwrap_or("no VPC");
        let kind = if state.is_default { "The default network ACL" } else { "Network ACL" };
        let subnets = match state.subnets.as_slice() {
            [] => "for no subnet".to_owned(),
            [only] => format!("for {only}"),
            [first, ..] => format!("for {first} and {} subnets more", state.subnets.len() - 1),
        };
        let let_in = acl::offences(&state.entries, state.is_default, &state.trusted);
        let mut notes = vec![format!("{kind} in {vpc}, {subnets}")];
        notes.extend(let_in.iter().map(|offence| format!("Lets the world in: {}", offence.entry)));
        notes
    }

    /// Other subnets make no other entries.
    fn same(one: &Ingress, other: &Ingress) -> bool {
        one.entries == other.entries && one.vpc == other.vpc
    }
}

impl NaclOpenIngress {
    async fn find(&self, target: &NetworkAcl) -> Result<Option<Described>, CallError> {
        let found = self.ec2.describe_network_acls().network_acl_ids(&target.0).send().await;
        let found = found
            .during(DESCRIBE)
            .or_missing(&["InvalidNetworkAclID.NotFound", "InvalidNetworkAclId.Malformed"])?;
        let acls = found.and_then(|reply| reply.network_acls).unwrap_or_default();
        Ok(acls.into_iter().find(|acl| acl.network_acl_id() == Some(target.0.as_str())))
    }

    /// The entry that has this number now.
    async fn entry(&self, target: &NetworkAcl, number: i32) -> Result<Option<Entry>, CallError> {
        let entries = self.assess(target).await?.map(|acl| acl.entries).unwrap_or_default();
        Ok(entries.into_iter().find(|entry| entry.number == number))
    }

    async fn create(&self, target: &NetworkAcl, entry: &Entry) -> Result<(), CallError> {
        let action = if entry.allows { RuleAction::Allow } else { RuleAction::Deny };
        let request = self
            .ec2
            .create_network_acl_entry()
            .network_acl_id(&target.0)
            .egress(false)
            .rule_number(entry.number)
            .protocol(&entry.protocol)
            .rule_action(action)
            .set_port_range(
                entry.ports.map(|(from, to)| PortRange::builder().from(from).to(to).build()),
            );
        let request = match entry.source.contains(':') {
            true => request.ipv6_cidr_block(&entry.source),
            false => request.cidr_block(&entry.source),
        };
        let Err(error) = request.send().await.during(CREATE) else { return Ok(()) };
        // It may be there because an earlier answer was lost.
        let is_there = error.is("NetworkAclEntryAlreadyExists")
            && self.entry(target, entry.number).await?.as_ref() == Some(entry);
        if is_there { Ok(()) } else { Err(error) }
    }

    /// Entries are deleted by their numbers: another may have it by now.
    async fn delete(&self, target: &NetworkAcl, entry: &Entry) -> Result<(), CallError> {
        let found = self.entry(target, entry.number).await?;
        match found {
            None => return Ok(()),
            Some(found) if found == *entry => {}
            Some(_) => {
                let message = format!("rule {} is another by now", entry.number);
                return Err(CallError::new(DELETE, CallErrorKind::Refused, message));
            }
        }
        let deleted = self
            .ec2
            .delete_network_acl_entry()
            .network_acl_id(&target.0)
            .egress(false)
            .rule_number(entry.number)
            .send()
            .await
            .during(DELETE);
        deleted.or_missing(&["InvalidNetworkAclEntry.NotFound"]).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::s3::tests::signal;

    const ID: &str = "acl-0a1b2c3d4e5f60718";

    /// Such as `100 allow -1 0.0.0.0/0` or `90 deny 6 22-22 0.0.0.0/0`.
    fn entry(text: &str) -> Entry {
        let words: Vec<&str> = text.split(' ').collect();
        let ports = words[3].split_once('-').filter(|_| words.len() == 5);
        Entry {
            number: words[0].parse().unwrap(),
            allows: words[1] == "allow",
            protocol: words[2].to_owned(),
            ports: ports.map(|(from, to)| (from.parse().unwrap(), to.parse().unwrap())),
            source: words.last().unwrap().to_string(),
            icmp: None,
        }
    }

    fn acl(is_default: bool, entries: &[&str]) -> Ingress {
        Ingress {
            vpc: Some("vpc-0a1b2c3d4e5f60718".to_owned()),
            is_default,
            subnets: Vec::new(),
            entries: entries.iter().map(|text| entry(text)).collect(),
            trusted: Vec::new(),
        }
    }

    fn planned(state: &Ingress) -> Vec<String> {
        let told = |change: &Change| match change {
            Change::Create(entry) => format!("+ {entry}"),
            Change::Delete(entry) => format!("- {entry}"),
            Change::MakeRoom(entry) => format!("! {entry}"),
        };
        NaclOpenIngress::plan(state).changes.iter().map(told).collect()
    }

    /// What the calls do to a network ACL.
    fn changed(state: &Ingress, plan: &Plan<Change>) -> Ingress {
        let mut state = state.clone();
        for change in &plan.changes {
            match change {
                Change::Create(entry) => {
                    assert!(state.entries.iter().all(|there| there.number != entry.number));
                    state.entries.push(entry.clone());
                }
                Change::Delete(entry) => state.entries.retain(|there| there != entry),
                Change::MakeRoom(_) => {}
            }
        }
        state.entries.sort_by_key(|entry| entry.number);
        state
    }

    /// Whether a packet gets in, as AWS decides it.
    fn lets_in(state: &Ingress, protocol: &str, port: i32, from: &str) -> bool {
        let from = Cidr::parse(from).unwrap();
        let fits = |entry: &&Entry| {
            let is_about = entry.protocol == "-1"
                || entry.protocol == protocol
                    && entry.ports.is_none_or(|(first, last)| (first..=last).contains(&port));
            is_about && Cidr::parse(&entry.source).unwrap().contains(from)
        };
        state.entries.iter().find(fits).is_some_and(|entry| entry.allows)
    }

    fn call(name: &str, parameters: Value) -> Signal {
        signal(Trigger::ApiCall {
            service: "ec2.amazonaws.com".to_owned(),
            name: name.to_owned(),
            parameters,
            response: json!({"_return": true}),
            resources: Vec::new(),
        })
    }

    fn named(signal: &Signal) -> Result<Vec<String>, TargetError> {
        Ok(NaclOpenIngress::targets(signal)?.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn names_the_network_acl_of_every_signal() {
        for signal in [
            call("CreateNetworkAclEntry", json!({"networkAclId": ID, "ruleNumber": 100})),
            call("ReplaceNetworkAclEntry", json!({"networkAclId": ID, "ruleNumber": 100})),
            call("DeleteNetworkAclEntry", json!({"networkAclId": ID, "ruleNumber": 100})),
            signal(Trigger::ConfigCompliance {
                rule: "nacl-no-unrestricted-ssh-rdp".to_owned(),
                resource_type: "AWS::EC2::NetworkAcl".to_owned(),
                resource: ID.to_owned(),
            }),
            signal(Trigger::SecurityHub {
                generator: "security-control/EC2.21".to_owned(),
                resource_type: "AwsEc2NetworkAcl".to_owned(),
                resource: format!("arn:aws:ec2:eu-west-1:123456789012:network-acl/{ID}"),
                action: None,
            }),
        ] {
            assert_eq!(named(&signal).unwrap(), [ID], "{:?}", signal.trigger);
        }
        for wrong in [json!(null), json!({"networkAclId": "acl-1"}), json!({"networkAclId": {}})] {
            assert!(named(&call("CreateNetworkAclEntry", wrong.clone())).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_entry_that_opens_nothing_else_is_deleted() {
        for open in ["100 allow 6 22-22 0.0.0.0/0", "100 allow 6 3389-3389 ::/0"] {
            let state = acl(false, &[open, "110 allow 6 443-443 0.0.0.0/0"]);
            assert_eq!(planned(&state), [format!("- {}", entry(open))]);
        }
    }

    #[test]
    fn an_entry_that_carries_more_stays_behind_a_denial() {
        let state = acl(false, &["90 allow 6 443-443 0.0.0.0/0", "100 allow -1 0.0.0.0/0"]);
        assert_eq!(
            planned(&state),
            [
                "+ rule 94: allow all traffic from 10.0.0.0/8",
                "+ rule 95: allow all traffic from 172.16.0.0/12",
                "+ rule 96: allow all traffic from 192.168.0.0/16",
                "+ rule 97: allow all traffic from 100.64.0.0/10",
                "+ rule 98: deny tcp 22 from 0.0.0.0/0",
                "+ rule 99: deny tcp 3389 from 0.0.0.0/0",
            ]
        );
        let state = acl(false, &["100 allow 6 1024-65535 ::/0"]);
        assert_eq!(
            planned(&state),
            ["+ rule 98: allow tcp 1024-65535 from fc00::/7", "+ rule 99: deny tcp 3389 from ::/0",]
        );
    }

    #[test]
    fn ipv4_and_ipv6_have_room_beside_each_other() {
        let state = acl(false, &["100 allow -1 0.0.0.0/0", "101 allow -1 ::/0"]);
        let planned = planned(&state);
        assert_eq!(planned.len(), 9);
        assert_eq!(planned[6], "+ rule 91: allow all traffic from fc00::/7");
        assert_eq!(planned[8], "+ rule 93: deny tcp 3389 from ::/0");
    }

    #[test]
    fn without_room_the_fix_fails_and_says_so() {
        for entries in [
            &["1 allow -1 0.0.0.0/0"][..],
            &["5 allow -1 0.0.0.0/0"],
            &["99 deny 6 25-25 0.0.0.0/0", "100 allow -1 0.0.0.0/0"],
        ] {
            let planned = planned(&acl(false, entries));
            assert_eq!(planned.len(), 1, "{planned:?}");
            assert!(planned[0].starts_with("! "), "{planned:?}");
        }
    }

    #[test]
    fn the_order_of_the_entries_decides() {
        for closed in [
            &[
                "90 deny 6 22-22 0.0.0.0/0",
                "91 deny 6 3000-4000 0.0.0.0/0",
                "100 allow -1 0.0.0.0/0",
            ][..],
            &["90 deny -1 0.0.0.0/0", "100 allow 6 22-22 0.0.0.0/0"],
            &["100 allow 6 22-22 203.0.113.0/24", "110 allow 6 443-443 0.0.0.0/0"],
            &["100 allow 17 0-65535 0.0.0.0/0", "110 allow 1 0.0.0.0/0"],
            &[],
        ] {
            assert_eq!(planned(&acl(false, closed)), [""; 0], "{closed:?}");
        }
        for open in [
            // Behind the permission, for another port, for half of the world, for the other version of IP.
            &["100 allow 6 22-22 0.0.0.0/0", "110 deny 6 22-22 0.0.0.0/0"][..],
            &["90 deny 6 3389-3389 0.0.0.0/0", "100 allow 6 22-22 0.0.0.0/0"],
            &["90 deny 6 22-22 0.0.0.0/1", "100 allow 6 22-22 0.0.0.0/0"],
            &["90 deny 6 22-22 ::/0", "100 allow 6 22-22 0.0.0.0/0"],
            &["100 allow 6 22-22 128.0.0.0/1"],
        ] {
            assert_eq!(planned(&acl(false, open)).len(), 1, "{open:?}");
        }
    }

    #[test]
    fn what_aws_puts_into_a_default_network_acl_stays() {
        let made = ["100 allow -1 0.0.0.0/0", "101 allow -1 ::/0"];
        assert_eq!(planned(&acl(true, &made)), [""; 0]);
        let more = ["90 allow 6 22-22 0.0.0.0/0", made[0], "110 allow 6 22-22 0.0.0.0/0"];
        assert_eq!(planned(&acl(true, &more)), [""; 0], "it makes no difference");
        assert_eq!(planned(&acl(false, &made)).len(), 9, "but only in a default one");
    }

    #[test]
    fn a_default_network_acl_that_was_closed_is_judged_as_any_other() {
        let narrow = ["100 allow -1 10.0.0.0/8", "110 allow 6 22-22 0.0.0.0/0"];
        assert_eq!(planned(&acl(true, &narrow)), ["- rule 110: allow tcp 22 from 0.0.0.0/0"]);
        let before =
            ["80 allow 6 22-22 0.0.0.0/0", "90 deny 6 22-22 0.0.0.0/0", "100 allow -1 0.0.0.0/0"];
        assert_eq!(planned(&acl(true, &before)), ["- rule 80: allow tcp 22 from 0.0.0.0/0"]);
    }

    #[test]
    fn whom_the_policy_trusts_stays_let_in() {
        let trusting = |entries: &[&str], trusted: &[&str]| {
            let mut state = acl(false, entries);
            let cidrs = trusted.iter().map(ToString::to_string).collect();
            let trusted = quell_engine::policy::Trusted { cidrs, ..Default::default() };
            NaclOpenIngress::inform(&mut state, &Background { trusted: &trusted, baseline: None });
            state
        };
        let state = trusting(
            &["100 allow -1 0.0.0.0/0"],
            &["203.0.113.0/24", "10.9.0.0/16", "2001:db8::/32"],
        );
        let plan = planned(&state);
        assert_eq!(plan.len(), 7, "{plan:?}");
        assert_eq!(plan[4], "+ rule 97: allow all traffic from 203.0.113.0/24");
        assert_eq!(planned(&trusting(&["100 allow 6 22-22 64.0.0.0/3"], &["64.0.0.0/2"])), [""; 0]);
    }

    fn any_acl() -> impl Strategy<Value = Ingress> {
        let source = prop::sample::select(vec![
            "0.0.0.0/0",
            "0.0.0.0/0",
            "128.0.0.0/1",
            "10.0.0.0/8",
            "203.0.113.0/24",
            "::/0",
            "2001:db8::/32",
        ]);
        let traffic = prop_oneof![
            Just(("-1", None)),
            Just(("6", Some((22, 22)))),
            Just(("6", Some((3389, 3389)))),
            (0..4000, 0..65535).prop_map(|(a, b): (i32, i32)| ("6", Some((a.min(b), a.max(b))))),
            Just(("17", Some((0, 65535)))),
            Just(("1", None)),
        ];
        let entry = (1..300, prop::bool::weighted(0.7), traffic, source);
        let entries = prop::collection::vec(entry, 0..8);
        let trusted = prop::sample::select(vec![vec![], vec!["203.0.113.0/24".to_owned()]]);
        (entries, any::<bool>(), trusted).prop_map(|(entries, is_default, trusted)| {
            let mut by_number = BTreeMap::new();
            for (number, allows, (protocol, ports), source) in entries {
                let (protocol, source) = (protocol.to_owned(), source.to_owned());
                by_number
                    .insert(number, Entry { number, protocol, allows, source, ports, icmp: None });
            }
            let entries = by_number.into_values().collect();
            Ingress { entries, trusted, ..acl(is_default, &[]) }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn nothing_but_ssh_and_rdp_from_the_world_changes(before in any_acl()) {
            let plan = NaclOpenIngress::plan(&before);
            let after = changed(&before, &plan);
            let deletes = plan.changes.iter().any(|change| matches!(change, Change::Delete(_)));
            for protocol in ["6", "17", "1"] {
                for port in [0, 21, 22, 23, 443, 3388, 3389, 3390, 65535] {
                    for from in ["8.8.8.8/32", "198.51.100.7/32", "2600::1/128"] {
                        let (was, is) = (lets_in(&before, protocol, port, from), lets_in(&after, protocol, port, from));
                        let is_judged = protocol == "6" && [22, 3389].contains(&port);
                        prop_assert!(was == is || was && is_judged, "{protocol} {port} {from}");
                    }
                    // Whoever is not the world: as before, unless an entry for the port alone went.
                    for from in ["10.1.2.3/32", "192.168.0.1/32", "100.64.0.1/32", "fd00::1/128"] {
                        let (was, is) = (lets_in(&before, protocol, port, from), lets_in(&after, protocol, port, from));
                        prop_assert!(was == is || was && deletes, "{protocol} {port} {from}");
                    }
                }
            }
        }

        #[test]
        fn after_the_plan_the_world_is_kept_out(before in any_acl()) {
            let plan = NaclOpenIngress::plan(&before);
            let has_room = !plan.changes.iter().any(|change| matches!(change, Change::MakeRoom(_)));
            let after = changed(&before, &plan);
            prop_assert!(NaclOpenIngress::plan(&after).is_empty() == has_room);
            if has_room && !before.is_default {
                for port in [22, 3389] {
                    for from in ["8.8.8.8/32", "198.51.100.7/32", "2600::1/128"] {
                        prop_assert!(!lets_in(&after, "6", port, from), "{port} {from}");
                    }
                }
            }
        }

        #[test]
        fn undo_brings_back_what_was_there(before in any_acl()) {
            let after = changed(&before, &NaclOpenIngress::plan(&before));
            let undone = changed(&after, &NaclOpenIngress::revert(&before, &after));
            prop_assert_eq!(&undone, &before);
            prop_assert!(NaclOpenIngress::revert(&before, &undone).is_empty());
        }

        #[test]
        fn a_state_survives_the_ledger(state in any_acl()) {
            let text = serde_json::to_string(&state).unwrap();
            prop_assert_eq!(serde_json::from_str::<Ingress>(&text).unwrap(), state);
        }
    }
}
