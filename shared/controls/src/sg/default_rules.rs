//! Empties default security groups.
//!
//! ## What it fixes
//! A default security group that has rules: all of them are revoked, for ingress and for egress. Each VPC has one such
//! group, which cannot be deleted; whatever is launched without naming a group gets it. AWS makes it with a rule that lets
//! its members reach each other, and one that lets them reach everyone: these go, too.
//!
//! Other groups are left alone, whatever they are called.
//!
//! ## Why it matters
//! Who forgets to name a group should get one that lets nothing through. A rule in the default group applies to whatever
//! was ever launched without a thought.
//!
//! ## What can break
//! **Everything that uses the group loses its network**: its connections, DNS aside. The message says how many network
//! interfaces use it, and names some: look at them before you approve, and give them a group of their own first. The
//! control is worth enforcing by name only where that is done, as in accounts that are new. A tool that manages the rules
//! reports a drift.
//!
//! ## Undo
//! Makes each revoked rule again, with its source, ports, protocol, description and tags. The rules get new ids.

use std::{collections::BTreeMap, time::Duration};

use aws_sdk_ec2::{Client, types::Filter};
use quell_engine::{
    CallError, CallErrorKind, Clients, Control, Description, Discovered, During, Effect, Listen,
    Meta, Plan, Progress, Safety, Severity, Signal, Trigger, control::TargetError,
};
use serde::{Deserialize, Serialize};

pub use super::{group::SecurityGroup, rule::Rule, rules::Direction};
use super::{
    ports::Ports,
    rules::{self, GROUPS, RULES, Rules, SERVICE, TAG},
};
use crate::ec2::instance;

pub struct DefaultRules {
    ec2: Client,
    account: String,
    sensitive: Ports,
}

/// The rules of a security group. Those of one that is not a default group are not read.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct AllRules {
    /// The group's id, also where it was asked for by name.
    pub group: String,
    pub is_default: bool,
    pub vpc: Option<String>,
    /// Each in a fixed order.
    pub ingress: Vec<Rule>,
    pub egress: Vec<Rule>,
}

/// One call that changes rules.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// All that go one way.
    Revoke { group: String, direction: Direction, rules: Vec<Rule> },
    /// One by one: each has tags of its own, and AWS refuses a whole call for one rule that is there already.
    Restore { group: String, direction: Direction, rule: Rule },
}

/// The name of every default security group. No other can have it.
/// <https://docs.aws.amazon.com/vpc/latest/userguide/default-security-group.html>
const DEFAULT: &str = "default";

const INTERFACES: &str = "ec2:DescribeNetworkInterfaces";

/// What uses the group is good to know and never worth waiting for.
const INTERFACES_TIMEOUT: Duration = Duration::from_millis(1500);

/// So many interfaces are named.
const NAMED: usize = 3;

/// <https://docs.aws.amazon.com/securityhub/latest/userguide/ec2-controls.html#ec2-2>,
/// <https://docs.aws.amazon.com/config/latest/developerguide/vpc-default-security-group-closed.html>
impl Control for DefaultRules {
    const META: Meta = Meta {
        id: "sg-default-rules",
        title: "Default security groups have no rules",
        risk: "The default security group has rules, and they apply to whatever is launched without a group of its own.",
        severity: Severity::High,
        safety: Safety::NeedsApproval,
        reversible: true,
        satisfies: &[
            "securityhub/EC2.2",
            "cis-aws-1.2.0/4.3",
            "cis-aws-3.0.0/5.4",
            "cis-aws-5.0.0/5.5",
        ],
        function: "network-exposure",
        listens: &[
            Listen::ApiCall {
                source: "aws.ec2",
                service: SERVICE,
                calls: &[
                    "AuthorizeSecurityGroupEgress",
                    "AuthorizeSecurityGroupIngress",
                    "ModifySecurityGroupRules",
                ],
            },
            Listen::Config {
                rules: &["vpc-default-security-group-closed"],
                resource_type: "AWS::EC2::SecurityGroup",
            },
            Listen::SecurityHub {
                generators: &[
                    "/EC2.2",
                    "/PCI.EC2.2",
                    "cis-aws-foundations-benchmark/v/1.2.0/rule/4.3",
                ],
                resource_type: "AwsEc2SecurityGroup",
            },
        ],
        discovers: &[GROUPS],
        reads: &[GROUPS, RULES, INTERFACES],
        writes: &[
            Direction::Ingress.revoke(),
            Direction::Egress.revoke(),
            Direction::Ingress.authorize(),
            Direction::Egress.authorize(),
            TAG,
        ],
        baseline: false,
        visible_within: 30,
        source: file!(),
    };
    type Target = SecurityGroup;
    type State = AllRules;
    type Change = Change;

    fn connect(aws: &Clients) -> Self {
        let ec2 = instance::client(aws);
        Self { ec2, account: aws.account().to_owned(), sensitive: Ports::default() }
    }

    fn targets(signal: &Signal) -> Result<Vec<SecurityGroup>, TargetError> {
        let control = Self::META.id;
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        let target = match &signal.trigger {
            Trigger::ApiCall { parameters, response, resources, .. } => {
                SecurityGroup::called(control, parameters, response, resources)
            }
            Trigger::ConfigCompliance { resource, .. } => {
                SecurityGroup::by_id(control, "detail.resourceId", resource)
            }
            Trigger::SecurityHub { resource, .. } => {
                SecurityGroup::by_id(control, "Resources[].Id", resource)
            }
            Trigger::Manual { resource, .. } => {
                SecurityGroup::by_either(control, "detail.resource", resource)
            }
            _ => return Ok(Vec::new()),
        };
        target.map(|target| vec![target])
    }

    /// The account's own: those of VPCs that others share, it may not change.
    async fn discover(&self, page: Option<&str>) -> Result<Discovered<SecurityGroup>, CallError> {
        let found = self
            .ec2
            .describe_security_groups()
            .filters(Filter::builder().name("group-name").values(DEFAULT).build())
            .max_results(200)
            .set_next_token(page.map(str::to_owned))
            .send()
            .await
            .during(GROUPS)?;
        let groups = found.security_groups.unwrap_or_default().into_iter();
        let own = groups.filter(|group| group.owner_id() == Some(self.account.as_str()));
        let targets = own.filter_map(|group| group.group_id.map(SecurityGroup::Id)).collect();
        Ok(Discovered { targets, next: found.next_token })
    }

    /// Every call on rules is heard here, and hardly any is about a default group: the group is asked for first.
    async fn assess(&self, target: &SecurityGroup) -> Result<Option<AllRules>, CallError> {
        let Some(found) = rules::group(&self.ec2, target).await? else { return Ok(None) };
        let (Some(group), Some(name)) = (found.group_id, found.group_name) else {
            return Err(CallError::new(GROUPS, CallErrorKind::Refused, "a group without a name"));
        };
        let (is_default, vpc) = (name == DEFAULT, found.vpc_id);
        let known = AllRules { group, is_default, vpc, ingress: Vec::new(), egress: Vec::new() };
        self.assess_again(target, &known).await
    }

    /// A group never changes its name or VPC.
    async fn assess_again(
        &self,
        _: &SecurityGroup,
        known: &AllRules,
    ) -> Result<Option<AllRules>, CallError> {
        if !known.is_default {
            return Ok(Some(known.clone()));
        }
        let unmarked = |rules: Vec<Rule>| {
            rules.into_iter().map(|rule| Rule { open: false, ..rule }).collect::<Vec<_>>()
        };
        let both = self.rules().both(&known.group).await?;
        Ok(both.map(|(ingress, egress)| AllRules {
            ingress: unmarked(ingress),
            egress: unmarked(egress),
            ..known.clone()
        }))
    }

    async fn tags(&self, target: &SecurityGroup) -> Result<BTreeMap<String, String>, CallError> {
        let group = rules::group(&self.ec2, target).await?;
        let tags = group.and_then(|group| group.tags).unwrap_or_default().into_iter();
        Ok(tags.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default()))).collect())
    }

    fn plan(state: &AllRules) -> Plan<Change> {
        if !state.is_default {
            return Plan::nothing();
        }
        let group = &state.group;
        let having = state.directions().into_iter().filter(|(_, rules)| !rules.is_empty());
        having
            .map(|(direction, rules)| Change::Revoke {
                group: group.clone(),
                direction,
                rules: rules.to_vec(),
            })
            .collect()
    }

    async fn apply(
        &self,
        _target: &SecurityGroup,
        change: &Change,
        _progress: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        match change {
            Change::Revoke { group, direction, rules } => {
                self.rules().revoke(group, *direction, rules).await.map(|()| None)
            }
            Change::Restore { group, direction, rule } => {
                self.rules().restore(group, *direction, rule).await
            }
        }
    }

    fn revert(before: &AllRules, after: &AllRules) -> Plan<Change> {
        let mut changes = Vec::new();
        for ((direction, before_rules), (_, there)) in
            before.directions().into_iter().zip(after.directions())
        {
            let gone =
                before_rules.iter().filter(|rule| !there.iter().any(|one| one.is_like(rule)));
            changes.extend(gone.map(|rule| Change::Restore {
                group: before.group.clone(),
                direction,
                rule: rule.clone(),
            }));
        }
        Plan { changes }
    }

    fn describe(_state: &AllRules, change: &Change) -> Description {
        let line = |direction: &Direction, rule: &Rule| match direction {
            Direction::Ingress => rule.to_string(),
            Direction::Egress => rule.outwards(),
        };
        match change {
            Change::Revoke { direction, rules, .. } => Description {
                action: direction.revoke().to_owned(),
                effect: Effect::Set,
                minus: rules
                    .iter()
                    .map(|rule| format!("{} [{}]", line(direction, rule), rule.id))
                    .collect(),
                plus: Vec::new(),
            },
            Change::Restore { direction, rule, .. } => Description {
                action: direction.authorize().to_owned(),
                effect: Effect::Unique,
                minus: Vec::new(),
                plus: vec![line(direction, rule)],
            },
        }
    }

    fn console(target: &SecurityGroup, region: &str) -> String {
        target.console(region)
    }

    fn arn(target: &SecurityGroup, account: &str, region: &str) -> String {
        target.arn(account, region)
    }

    fn notes(state: &AllRules) -> Vec<String> {
        let vpc = state.vpc.as_deref().unwrap_or("no VPC");
        vec![format!("The default group ({}) of {vpc}", state.group)]
    }

    async fn facts(&self, target: &SecurityGroup) -> Vec<String> {
        vec![users_note(self.users(target).await)]
    }

    fn same(one: &AllRules, other: &AllRules) -> bool {
        one.group == other.group
            && one.is_default == other.is_default
            && one.vpc == other.vpc
            && one.directions().into_iter().zip(other.directions()).all(|((_, one), (_, other))| {
                one.len() == other.len()
                    && one.iter().zip(other).all(|(one, other)| one.is_like(other))
            })
    }
}

impl AllRules {
    fn directions(&self) -> [(Direction, &[Rule]); 2] {
        [(Direction::Ingress, &self.ingress), (Direction::Egress, &self.egress)]
    }
}

impl DefaultRules {
    fn rules(&self) -> Rules<'_> {
        Rules { ec2: &self.ec2, sensitive: &self.sensitive }
    }

    /// The interfaces that use the group. An answer that is missing or late is "unknown".
    async fn users(&self, target: &SecurityGroup) -> Option<Vec<String>> {
        let all = async {
            let group = match target {
                SecurityGroup::Id(id) => id.clone(),
                // Each VPC has a group of this name: by it, the interfaces of all of them would be counted.
                SecurityGroup::Name(_) => rules::group(&self.ec2, target).await.ok()??.group_id?,
            };
            let filter = Filter::builder().name("group-id").values(group).build();
            let request = self.ec2.describe_network_interfaces().filters(filter);
            let mut pages = request.max_results(1000).into_paginator().send();
            let mut ids = Vec::new();
            while let Some(page) = pages.next().await {
                let found = page.ok()?.network_interfaces.unwrap_or_default().into_iter();
                ids.extend(found.filter_map(|interface| interface.network_interface_id));
            }
            Some(ids)
        };
        let mut ids = tokio::time::timeout(INTERFACES_TIMEOUT, all).await.ok()??;
        ids.sort();
        Some(ids)
    }
}

fn users_note(users: Option<Vec<String>>) -> String {
    let users = match users.as_deref() {
        None => "unknown".to_owned(),
        Some([]) => "none".to_owned(),
        Some(ids) if ids.len() <= NAMED => format!("{} ({})", ids.len(), ids.join(", ")),
        Some(ids) => format!("{} ({}, …)", ids.len(), ids[..NAMED].join(", ")),
    };
    format!("Network interfaces that use it: {users}")
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{ReferencedSecurityGroup, SecurityGroupRule};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::s3::tests::signal;

    const ID: &str = "sg-0a1b2c3d4e5f60718";

    fn rule(number: usize, source: &str) -> Rule {
        let rule = SecurityGroupRule::builder()
            .security_group_rule_id(format!("sgr-{number}"))
            .group_owner_id("123456789012")
            .ip_protocol("-1")
            .from_port(-1)
            .to_port(-1);
        let rule = match source.split_once('/') {
            Some((account, group)) if group.starts_with("sg-") => rule.referenced_group_info(
                ReferencedSecurityGroup::builder().group_id(group).user_id(account).build(),
            ),
            _ if source.starts_with("pl-") => rule.prefix_list_id(source),
            _ if source.contains(':') => rule.cidr_ipv6(source),
            _ => rule.cidr_ipv4(source),
        };
        Rule { open: false, ..Rule::read(rule.build(), &Ports::default()).unwrap() }
    }

    fn group(is_default: bool, ingress: &[&str], egress: &[&str]) -> AllRules {
        let rules = |sources: &[&str]| {
            sources.iter().enumerate().map(|(number, source)| rule(number, source)).collect()
        };
        AllRules {
            group: ID.to_owned(),
            is_default,
            vpc: Some("vpc-0a1b2c3d4e5f60718".to_owned()),
            ingress: rules(ingress),
            egress: rules(egress),
        }
    }

    const OWN: &str = "123456789012/sg-0a1b2c3d4e5f60718";
    const PEER: &str = "210987654321/sg-0f1e2d3c4b5a69788";

    #[test]
    fn the_rules_of_a_default_group_go_whichever_way_they_let_through() {
        let made_by_aws = group(true, &[OWN], &["0.0.0.0/0"]);
        let plan = DefaultRules::plan(&made_by_aws);
        let described: Vec<Description> = plan
            .changes
            .iter()
            .map(|change| DefaultRules::describe(&made_by_aws, change))
            .collect();
        assert_eq!(described[0].minus, [format!("all traffic from {ID} [sgr-0]")]);
        assert_eq!(described[1].minus, ["all traffic to 0.0.0.0/0 [sgr-0]"]);
        assert_eq!(described.len(), 2);
        assert_eq!(DefaultRules::plan(&group(true, &[], &["::/0"])).changes.len(), 1);
        assert!(DefaultRules::plan(&group(true, &[], &[])).is_empty());
    }

    #[test]
    fn other_groups_are_left_alone() {
        assert!(DefaultRules::plan(&group(false, &["0.0.0.0/0"], &["0.0.0.0/0"])).is_empty());
    }

    #[test]
    fn every_source_is_made_again() {
        let permission = |source| rule(0, source).permission();
        assert_eq!(permission("10.0.0.0/8").ip_ranges()[0].cidr_ip(), Some("10.0.0.0/8"));
        assert_eq!(permission("::/0").ipv6_ranges()[0].cidr_ipv6(), Some("::/0"));
        let list = permission("pl-0a1b2c3d");
        assert_eq!(list.prefix_list_ids()[0].prefix_list_id(), Some("pl-0a1b2c3d"));
        let own = permission(OWN);
        assert_eq!(own.user_id_group_pairs()[0].group_id(), Some(ID));
        assert_eq!(own.user_id_group_pairs()[0].user_id(), None, "it is this account's");
        let peer = permission(PEER);
        assert_eq!(peer.user_id_group_pairs()[0].user_id(), Some("210987654321"));
    }

    #[test]
    fn says_what_uses_the_group() {
        let ids = |count: usize| Some((0..count).map(|n| format!("eni-{n}")).collect());
        for (users, told) in [
            (None, "unknown"),
            (ids(0), "none"),
            (ids(1), "1 (eni-0)"),
            (ids(5), "5 (eni-0, eni-1, eni-2, …)"),
        ] {
            assert_eq!(users_note(users), format!("Network interfaces that use it: {told}"));
        }
    }

    #[test]
    fn names_the_group_of_every_signal() {
        let call = |name: &str, parameters| {
            signal(Trigger::ApiCall {
                service: SERVICE.to_owned(),
                name: name.to_owned(),
                parameters,
                response: json!({"_return": true}),
                resources: Vec::new(),
            })
        };
        let hub = |generator: &str| {
            signal(Trigger::SecurityHub {
                generator: generator.to_owned(),
                resource_type: "AwsEc2SecurityGroup".to_owned(),
                resource: format!("arn:aws:ec2:eu-west-1:123456789012:security-group/{ID}"),
                action: None,
            })
        };
        for signal in [
            call("AuthorizeSecurityGroupIngress", json!({"groupId": ID})),
            call("AuthorizeSecurityGroupEgress", json!({"groupId": ID})),
            call(
                "ModifySecurityGroupRules",
                json!({"ModifySecurityGroupRulesRequest": {"GroupId": ID}}),
            ),
            hub("security-control/EC2.2"),
            hub("arn:aws:securityhub:::ruleset/cis-aws-foundations-benchmark/v/1.2.0/rule/4.3"),
            signal(Trigger::ConfigCompliance {
                rule: "vpc-default-security-group-closed".to_owned(),
                resource_type: "AWS::EC2::SecurityGroup".to_owned(),
                resource: ID.to_owned(),
            }),
        ] {
            let found = DefaultRules::targets(&signal).unwrap();
            assert_eq!(found, [SecurityGroup::Id(ID.to_owned())], "{:?}", signal.trigger);
        }
        assert_eq!(DefaultRules::targets(&hub("security-control/EC2.22")), Ok(Vec::new()));
    }

    fn any_group() -> impl Strategy<Value = AllRules> {
        let sources = prop::sample::subsequence(
            vec![OWN, PEER, "0.0.0.0/0", "10.0.0.0/8", "::/0", "pl-0a1b2c3d"],
            0..6,
        );
        (any::<bool>(), sources.clone(), sources)
            .prop_map(|(is_default, ingress, egress)| group(is_default, &ingress, &egress))
    }

    /// What the calls do to a group.
    fn changed(state: &AllRules, plan: &Plan<Change>) -> AllRules {
        let mut state = state.clone();
        for change in &plan.changes {
            let (Change::Revoke { direction, .. } | Change::Restore { direction, .. }) = change;
            let rules = match direction {
                Direction::Ingress => &mut state.ingress,
                Direction::Egress => &mut state.egress,
            };
            match change {
                Change::Revoke { rules: gone, .. } => {
                    rules.retain(|rule| !gone.iter().any(|gone| gone.id == rule.id));
                }
                Change::Restore { rule, .. } => {
                    rules.push(Rule { id: format!("{}-anew", rule.id), ..rule.clone() });
                }
            }
        }
        state
    }

    proptest! {
        #[test]
        fn undo_brings_back_what_was_there(before in any_group()) {
            let after = changed(&before, &DefaultRules::plan(&before));
            prop_assert!(DefaultRules::plan(&after).is_empty());
            let undone = changed(&after, &DefaultRules::revert(&before, &after));
            prop_assert!(DefaultRules::same(&undone, &before));
            prop_assert!(DefaultRules::revert(&before, &undone).is_empty());
        }

        #[test]
        fn a_state_survives_the_ledger(state in any_group()) {
            let text = serde_json::to_string(&state).unwrap();
            prop_assert_eq!(serde_json::from_str::<AllRules>(&text).unwrap(), state);
        }
    }
}
