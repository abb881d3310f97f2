//! What the controls for security groups share: how a group and its rules are read, revoked and made again.

use aws_sdk_ec2::{
    Client,
    types::{Filter, SecurityGroup as Described, SecurityGroupRule},
};
use quell_engine::{CallError, CallErrorKind, During as _, aws::OrMissing as _};
use serde::{Deserialize, Serialize};

use super::{group::SecurityGroup, ports::Ports, rule::Rule};

pub(super) const GROUPS: &str = "ec2:DescribeSecurityGroups";
pub(super) const RULES: &str = "ec2:DescribeSecurityGroupRules";
/// Rules are tagged while they are made.
pub(super) const TAG: &str = "ec2:CreateTags";

pub(super) const SERVICE: &str = "ec2.amazonaws.com";

/// How AWS says that there is no such group. Without a default VPC, there is none to be named by its name alone.
const NO_GROUP: &[&str] = &[
    "InvalidGroup.NotFound",
    "InvalidGroupId.Malformed",
    "InvalidSecurityGroupID.NotFound",
    "VPCIdNotSpecified",
];

/// Which way a rule lets through.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    pub(super) const fn revoke(self) -> &'static str {
        match self {
            Self::Ingress => "ec2:RevokeSecurityGroupIngress",
            Self::Egress => "ec2:RevokeSecurityGroupEgress",
        }
    }

    pub(super) const fn authorize(self) -> &'static str {
        match self {
            Self::Ingress => "ec2:AuthorizeSecurityGroupIngress",
            Self::Egress => "ec2:AuthorizeSecurityGroupEgress",
        }
    }
}

/// A security group's rules as AWS has them now.
pub(super) struct Rules<'a> {
    pub(super) ec2: &'a Client,
    /// By which a rule is marked as open.
    pub(super) sensitive: &'a Ports,
}

pub(super) async fn group(
    ec2: &Client,
    target: &SecurityGroup,
) -> Result<Option<Described>, CallError> {
    let request = ec2.describe_security_groups();
    let request = match target {
        SecurityGroup::Id(id) => request.group_ids(id),
        // AWS looks up names in the default VPC only.
        SecurityGroup::Name(name) => request.group_names(name),
    };
    let found = request.send().await.during(GROUPS).or_missing(NO_GROUP)?;
    let mut groups = found.and_then(|reply| reply.security_groups).unwrap_or_default();
    match groups.len() {
        0 | 1 => Ok(groups.pop()),
        _ => {
            let message = "more than one group has this name";
            Err(CallError::new(GROUPS, CallErrorKind::Refused, message))
        }
    }
}

impl Rules<'_> {
    /// All rules of a group that go one way, in a fixed order.
    pub(super) async fn of(
        &self,
        group: &str,
        direction: Direction,
    ) -> Result<Option<Vec<Rule>>, CallError> {
        let both = self.both(group).await?;
        Ok(both.map(|(ingress, egress)| match direction {
            Direction::Ingress => ingress,
            Direction::Egress => egress,
        }))
    }

    /// All rules of a group, those for ingress and those for egress, each in a fixed order.
    pub(super) async fn both(
        &self,
        group: &str,
    ) -> Result<Option<(Vec<Rule>, Vec<Rule>)>, CallError> {
        let Some(found) = self.pages(group).await.or_missing(NO_GROUP)? else { return Ok(None) };
        let (mut ingress, mut egress) = (Vec::new(), Vec::new());
        for rule in found {
            if rule.group_id.as_deref() != Some(group) {
                continue;
            }
            let rules = if rule.is_egress == Some(true) { &mut egress } else { &mut ingress };
            let id = rule.security_group_rule_id.clone().unwrap_or_default();
            let rule = Rule::read(rule, self.sensitive).ok_or_else(|| {
                let message = format!("the rule {id} cannot be read");
                CallError::new(RULES, CallErrorKind::Refused, message)
            })?;
            rules.push(rule);
        }
        for rules in [&mut ingress, &mut egress] {
            rules.sort_by(|one, other| one.order().cmp(&other.order()));
        }
        Ok(Some((ingress, egress)))
    }

    /// All pages or an error: a rule that was not read is not a rule that is not there.
    async fn pages(&self, group: &str) -> Result<Vec<SecurityGroupRule>, CallError> {
        let filter = Filter::builder().name("group-id").values(group).build();
        let mut pages = self
            .ec2
            .describe_security_group_rules()
            .filters(filter)
            .max_results(1000)
            .into_paginator()
            .send();
        let mut rules = Vec::new();
        while let Some(page) = pages.next().await {
            rules.extend(page.during(RULES)?.security_group_rules.unwrap_or_default());
        }
        Ok(rules)
    }

    /// All in one call, IPv4 and IPv6 together.
    pub(super) async fn revoke(
        &self,
        group: &str,
        direction: Direction,
        rules: &[Rule],
    ) -> Result<(), CallError> {
        let Err(error) = self.revoke_once(group, direction, rules).await else { return Ok(()) };
        if NO_GROUP.iter().any(|code| error.is(code)) {
            return Ok(());
        }
        // AWS revokes none if one of them is unknown. It may be gone because an earlier answer was lost, or by
        // someone else's hand: what is left is revoked, if it is still what was planned.
        if !["InvalidSecurityGroupRuleId.NotFound", "InvalidPermission.NotFound"]
            .iter()
            .any(|code| error.is(code))
        {
            return Err(error);
        }
        let there = self.of(group, direction).await?.unwrap_or_default();
        let is_left =
            |rule: &&Rule| there.iter().any(|found| found.id == rule.id && found.is_like(rule));
        let left: Vec<Rule> = rules.iter().filter(is_left).cloned().collect();
        match left.len() {
            0 => Ok(()),
            // Listed, and yet unknown: AWS has not caught up with itself.
            count if count == rules.len() => {
                Err(CallError { kind: CallErrorKind::NotReady, ..error })
            }
            _ => self.revoke_once(group, direction, &left).await,
        }
    }

    async fn revoke_once(
        &self,
        group: &str,
        direction: Direction,
        rules: &[Rule],
    ) -> Result<(), CallError> {
        let ids = Some(rules.iter().map(|rule| rule.id.clone()).collect());
        let action = direction.revoke();
        match direction {
            Direction::Ingress => {
                let revoke = self.ec2.revoke_security_group_ingress().group_id(group);
                revoke.set_security_group_rule_ids(ids).send().await.during(action).map(drop)
            }
            Direction::Egress => {
                let revoke = self.ec2.revoke_security_group_egress().group_id(group);
                revoke.set_security_group_rule_ids(ids).send().await.during(action).map(drop)
            }
        }
    }

    /// Makes a rule again, with its description and tags. Returns its new id.
    pub(super) async fn restore(
        &self,
        group: &str,
        direction: Direction,
        rule: &Rule,
    ) -> Result<Option<String>, CallError> {
        let tags = rule.tag_specification().map(|tags| vec![tags]);
        let action = direction.authorize();
        let made = match direction {
            Direction::Ingress => {
                let authorize = self.ec2.authorize_security_group_ingress().group_id(group);
                let authorize = authorize.ip_permissions(rule.permission());
                let reply = authorize.set_tag_specifications(tags).send().await.during(action);
                reply.map(|reply| reply.security_group_rules)
            }
            Direction::Egress => {
                let authorize = self.ec2.authorize_security_group_egress().group_id(group);
                let authorize = authorize.ip_permissions(rule.permission());
                let reply = authorize.set_tag_specifications(tags).send().await.during(action);
                reply.map(|reply| reply.security_group_rules)
            }
        };
        match made {
            Ok(made) => Ok(made.and_then(|mut rules| rules.pop()?.security_group_rule_id)),
            Err(error) if error.is("InvalidPermission.Duplicate") => {
                let there = self.of(group, direction).await?.unwrap_or_default();
                match there.into_iter().find(|found| found.is_like(rule)) {
                    Some(found) => Ok(Some(found.id)),
                    None => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }
}
