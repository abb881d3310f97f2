//! The two groups of a quarantine: how they are made, compared and deleted.
//!
//! A name is free to everyone who may make groups. A group that has our name already is used only if it is as we make
//! it, or on the way there; and no later step looks for a group by name or tag.

use std::collections::{BTreeSet, HashSet};

use aws_sdk_ec2::{
    Client,
    types::{Filter, IpPermission, IpRange, Ipv6Range, ResourceType, SecurityGroup},
};
use quell_engine::{CallError, CallErrorKind, During, aws::OrMissing};

use super::{ISOLATION_NAME, UNTRACKING_NAME, tagged};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// No rules.
    Isolation,
    /// All protocols, both directions, IPv4 and IPv6: connections under such rules are not tracked.
    Untracking,
}

/// The group of this kind for the record: made, or adopted from an earlier attempt, and read to be as it must be.
pub(super) async fn make(
    ec2: &Client,
    kind: Kind,
    vpc: &str,
    record: &str,
) -> Result<String, CallError> {
    let name = format!("{}{record}", kind.name());
    let request = ec2.create_security_group().group_name(&name).vpc_id(vpc);
    let request = request
        .description(kind.description())
        .tag_specifications(tagged(ResourceType::SecurityGroup, record));
    let made = request.send().await.during(CREATE);
    let (id, mut rules) = match made {
        Ok(reply) => match reply.group_id {
            Some(id) => (id, Rules::of_a_new_group()),
            None => named(ec2, kind, vpc, &name).await?,
        },
        Err(error) if error.is("InvalidGroup.Duplicate") => named(ec2, kind, vpc, &name).await?,
        Err(error) => return Err(error),
    };
    // Twice: the rules of a new group may differ from what was assumed, and that is seen only by reading them.
    for _ in 0..2 {
        if !rules.are_on_the_way_to(kind) {
            return Err(alien(&id));
        }
        revoke(ec2, &id, rules.egress.difference(&kind.rules())).await?;
        for direction in [Direction::In, Direction::Out] {
            let wanted = kind.rules();
            let missing = wanted.difference(rules.of(direction));
            authorize(ec2, &id, direction, missing).await?;
        }
        rules = read(ec2, &id).await?;
        if rules.are_those_of(kind) {
            return Ok(id);
        }
    }
    if rules.are_on_the_way_to(kind) {
        let why = format!("the rules of {id} are not yet as they were written");
        Err(CallError::new(DESCRIBE, CallErrorKind::NotReady, why))
    } else {
        Err(alien(&id))
    }
}

/// Which of these groups have no rule at all.
pub(super) async fn without_rules(
    ec2: &Client,
    ids: BTreeSet<String>,
) -> Result<HashSet<String>, CallError> {
    let found = by(ec2, vec![filter("group-id", ids)]).await?;
    let empty = found
        .into_iter()
        .filter(|group| Rules::from(group) == Rules::default())
        .filter_map(|group| group.group_id);
    Ok(empty.collect())
}

/// A group that is gone is deleted. One that is still in use is worth another try.
pub(super) async fn delete(ec2: &Client, id: &str) -> Result<(), CallError> {
    let reply = ec2.delete_security_group().group_id(id).send().await.during(DELETE);
    match reply.or_missing(&["InvalidGroup.NotFound"]) {
        Ok(_) => Ok(()),
        Err(error) if error.is("InvalidGroup.InUse") => {
            Err(CallError { kind: CallErrorKind::NotReady, ..error })
        }
        Err(error) => Err(error),
    }
}

pub(super) async fn delete_what_is_left(ec2: &Client, ids: Vec<String>) -> Result<(), CallError> {
    if ids.is_empty() {
        return Ok(());
    }
    for group in by(ec2, vec![filter("group-id", ids)]).await? {
        delete(ec2, group.group_id().unwrap_or_default()).await?;
    }
    Ok(())
}

const CREATE: &str = "ec2:CreateSecurityGroup";
const DESCRIBE: &str = "ec2:DescribeSecurityGroups";
const DELETE: &str = "ec2:DeleteSecurityGroup";

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Isolation => ISOLATION_NAME,
            Self::Untracking => UNTRACKING_NAME,
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::Isolation => "Quell: no traffic to or from an instance in quarantine",
            Self::Untracking => {
                "Quell: ends connection tracking of an instance on its way to quarantine"
            }
        }
    }

    /// The same in both directions.
    fn rules(self) -> BTreeSet<Rule> {
        match self {
            Self::Isolation => BTreeSet::new(),
            Self::Untracking => BTreeSet::from([Rule::everything(V4), Rule::everything(V6)]),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Direction {
    In,
    Out,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Rules {
    ingress: BTreeSet<Rule>,
    egress: BTreeSet<Rule>,
}

/// One rule towards one peer: a range, a group or a prefix list.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Rule {
    protocol: String,
    ports: (Option<i32>, Option<i32>),
    peer: String,
}

const V4: &str = "0.0.0.0/0";
const V6: &str = "::/0";

impl Rule {
    fn everything(peer: &str) -> Self {
        Self { protocol: "-1".to_owned(), ports: (None, None), peer: peer.to_owned() }
    }
}

impl Rules {
    /// AWS gives a new group one egress rule. Where the VPC has IPv6 there may be a second one.
    fn of_a_new_group() -> Self {
        Self { ingress: BTreeSet::new(), egress: BTreeSet::from([Rule::everything(V4)]) }
    }

    fn of(&self, direction: Direction) -> &BTreeSet<Rule> {
        match direction {
            Direction::In => &self.ingress,
            Direction::Out => &self.egress,
        }
    }

    fn are_those_of(&self, kind: Kind) -> bool {
        self.ingress == kind.rules() && self.egress == kind.rules()
    }

    /// Nothing in it but what the group must have, and the egress rules that AWS gives to new groups.
    fn are_on_the_way_to(&self, kind: Kind) -> bool {
        let given = BTreeSet::from([Rule::everything(V4), Rule::everything(V6)]);
        let egress: BTreeSet<Rule> = kind.rules().union(&given).cloned().collect();
        self.ingress.is_subset(&kind.rules()) && self.egress.is_subset(&egress)
    }
}

impl From<&SecurityGroup> for Rules {
    fn from(group: &SecurityGroup) -> Self {
        let rules = |permissions: &[IpPermission]| permissions.iter().flat_map(rules).collect();
        Self {
            ingress: rules(group.ip_permissions()),
            egress: rules(group.ip_permissions_egress()),
        }
    }
}

fn rules(permission: &IpPermission) -> Vec<Rule> {
    let v4 = permission.ip_ranges().iter().map(IpRange::cidr_ip);
    let v6 = permission.ipv6_ranges().iter().map(Ipv6Range::cidr_ipv6);
    let groups = permission.user_id_group_pairs().iter().map(|pair| pair.group_id());
    let lists = permission.prefix_list_ids().iter().map(|list| list.prefix_list_id());
    let mut peers: Vec<Option<&str>> = v4.chain(v6).chain(groups).chain(lists).collect();
    if peers.is_empty() {
        // A permission that we cannot read is a rule all the same.
        peers.push(None);
    }
    let protocol = permission.ip_protocol().unwrap_or_default();
    let rule = |peer: Option<&str>| Rule {
        protocol: protocol.to_owned(),
        // For "all protocols" some answers say -1 where others say nothing.
        ports: match protocol {
            "-1" => (None, None),
            _ => (permission.from_port(), permission.to_port()),
        },
        peer: peer.unwrap_or_default().to_owned(),
    };
    peers.into_iter().map(rule).collect()
}

/// Only for rules of all protocols and ports, which are the only ones that are ever written.
fn permission<'a>(rules: impl Iterator<Item = &'a Rule>) -> Option<IpPermission> {
    let mut permission = IpPermission::builder().ip_protocol("-1");
    let mut is_empty = true;
    for rule in rules {
        is_empty = false;
        permission = match rule.peer.as_str() {
            V6 => permission.ipv6_ranges(Ipv6Range::builder().cidr_ipv6(V6).build()),
            _ => permission.ip_ranges(IpRange::builder().cidr_ip(V4).build()),
        };
    }
    (!is_empty).then(|| permission.build())
}

async fn revoke<'a>(
    ec2: &Client,
    id: &str,
    rules: impl Iterator<Item = &'a Rule>,
) -> Result<(), CallError> {
    let Some(permission) = permission(rules) else { return Ok(()) };
    let request = ec2.revoke_security_group_egress().group_id(id).ip_permissions(permission);
    let reply = request.send().await.during("ec2:RevokeSecurityGroupEgress").map(drop);
    // What is not there need not be revoked; the rules are read afterwards.
    reply.or_missing(&["InvalidPermission.NotFound"]).map(drop).map_err(not_visible_yet)
}

async fn authorize<'a>(
    ec2: &Client,
    id: &str,
    direction: Direction,
    rules: impl Iterator<Item = &'a Rule>,
) -> Result<(), CallError> {
    let Some(permission) = permission(rules) else { return Ok(()) };
    let reply = match direction {
        Direction::In => {
            let request = ec2.authorize_security_group_ingress().group_id(id);
            let reply = request.ip_permissions(permission).send().await;
            reply.during("ec2:AuthorizeSecurityGroupIngress").map(drop)
        }
        Direction::Out => {
            let request = ec2.authorize_security_group_egress().group_id(id);
            let reply = request.ip_permissions(permission).send().await;
            reply.during("ec2:AuthorizeSecurityGroupEgress").map(drop)
        }
    };
    // One that is there makes AWS refuse all of them; the rules are read afterwards.
    reply.or_missing(&["InvalidPermission.Duplicate"]).map(drop).map_err(not_visible_yet)
}

async fn read(ec2: &Client, id: &str) -> Result<Rules, CallError> {
    let found = by(ec2, vec![filter("group-id", [id.to_owned()])]).await?;
    found.first().map(Rules::from).ok_or_else(|| {
        CallError::new(DESCRIBE, CallErrorKind::NotReady, format!("{id} is not visible yet"))
    })
}

/// The group that has our name already, if it is as Quell makes it.
async fn named(
    ec2: &Client,
    kind: Kind,
    vpc: &str,
    name: &str,
) -> Result<(String, Rules), CallError> {
    let filters = vec![filter("group-name", [name.to_owned()]), filter("vpc-id", [vpc.to_owned()])];
    let found = by(ec2, filters).await?;
    let Some(group) = found.into_iter().find(|group| group.group_name() == Some(name)) else {
        let why = format!("{name} is said to be there, but is not visible yet");
        return Err(CallError::new(DESCRIBE, CallErrorKind::NotReady, why));
    };
    let rules = Rules::from(&group);
    let id = group.group_id.unwrap_or_default();
    if group.description.as_deref() != Some(kind.description()) {
        return Err(alien(&id));
    }
    Ok((id, rules))
}

async fn by(ec2: &Client, filters: Vec<Filter>) -> Result<Vec<SecurityGroup>, CallError> {
    let request = ec2.describe_security_groups().set_filters(Some(filters));
    let pages = request.into_paginator().items().send();
    pages.collect::<Result<Vec<_>, _>>().await.during(DESCRIBE)
}

fn filter(name: &str, values: impl IntoIterator<Item = String>) -> Filter {
    Filter::builder().name(name).set_values(Some(values.into_iter().collect())).build()
}

fn not_visible_yet(error: CallError) -> CallError {
    if error.is("InvalidGroup.NotFound") {
        CallError { kind: CallErrorKind::NotReady, ..error }
    } else {
        error
    }
}

fn alien(id: &str) -> CallError {
    let why = format!(
        "{id} has the name of a group of this quarantine, but not its description and rules. It is not used: find out \
         who made or changed it"
    );
    CallError::new(CREATE, CallErrorKind::Refused, why)
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::UserIdGroupPair;

    use super::*;

    fn group(ingress: Vec<IpPermission>, egress: Vec<IpPermission>) -> Rules {
        let group = SecurityGroup::builder().set_ip_permissions(Some(ingress));
        Rules::from(&group.set_ip_permissions_egress(Some(egress)).build())
    }

    fn all(v4: bool, v6: bool) -> Vec<IpPermission> {
        let rules = [(v4, V4), (v6, V6)].map(|(is, peer)| is.then(|| Rule::everything(peer)));
        permission(rules.iter().flatten()).into_iter().collect()
    }

    fn https() -> IpPermission {
        let range = IpRange::builder().cidr_ip(V4).build();
        IpPermission::builder()
            .ip_protocol("tcp")
            .from_port(443)
            .to_port(443)
            .ip_ranges(range)
            .build()
    }

    #[test]
    fn an_isolation_group_has_no_rule_and_may_come_with_the_default_ones() {
        assert!(group(vec![], vec![]).are_those_of(Kind::Isolation));
        for egress in [all(true, false), all(true, true), all(false, true), vec![]] {
            let rules = group(vec![], egress);
            assert!(rules.are_on_the_way_to(Kind::Isolation), "{rules:?}");
        }
        for (ingress, egress) in [
            (all(true, false), vec![]),
            (vec![https()], vec![]),
            (vec![], vec![https()]),
            (vec![IpPermission::builder().ip_protocol("-1").build()], vec![]),
        ] {
            let rules = group(ingress, egress);
            assert!(!rules.are_on_the_way_to(Kind::Isolation), "{rules:?}");
            assert!(!rules.are_those_of(Kind::Isolation), "{rules:?}");
        }
    }

    #[test]
    fn an_untracking_group_allows_everything_both_ways_and_nothing_else() {
        assert!(group(all(true, true), all(true, true)).are_those_of(Kind::Untracking));
        for (ingress, egress) in [
            (vec![], all(true, false)),
            (all(true, true), all(true, false)),
            (all(false, true), vec![]),
        ] {
            let rules = group(ingress, egress);
            assert!(rules.are_on_the_way_to(Kind::Untracking), "{rules:?}");
            assert!(!rules.are_those_of(Kind::Untracking), "{rules:?}");
        }
        let mut more = all(true, true);
        more.push(https());
        assert!(!group(more, all(true, true)).are_on_the_way_to(Kind::Untracking));
        assert!(!group(vec![], vec![https()]).are_on_the_way_to(Kind::Untracking));
    }

    #[test]
    fn every_peer_of_a_permission_is_a_rule() {
        let pair = UserIdGroupPair::builder().group_id("sg-0a1b2c3d").build();
        let mixed = https().ip_ranges()[0].clone();
        let permission = IpPermission::builder()
            .ip_protocol("tcp")
            .ip_ranges(mixed)
            .ipv6_ranges(Ipv6Range::builder().cidr_ipv6("2001:db8::/32").build())
            .user_id_group_pairs(pair)
            .build();
        let peers: Vec<String> = rules(&permission).into_iter().map(|rule| rule.peer).collect();
        assert_eq!(peers, [V4, "2001:db8::/32", "sg-0a1b2c3d"]);
    }

    #[test]
    fn ports_of_all_protocols_do_not_count() {
        let range = IpRange::builder().cidr_ip(V4).build();
        let minus_one = IpPermission::builder().ip_protocol("-1").from_port(-1).to_port(-1);
        let minus_one = minus_one.ip_ranges(range).build();
        assert_eq!(rules(&minus_one), [Rule::everything(V4)]);
    }
}
