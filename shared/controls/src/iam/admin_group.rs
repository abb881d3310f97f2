//! Takes who was just put there out of a group of administrators.
//!
//! ## What it fixes
//! A user who was added to a group that has an administrator's policy, attached or inline. The user is taken out of the group;
//! the group and its policies stay.
//!
//! Nothing is done, and people are told why, where the user is the last administrator that Quell can see, or where the policy
//! file's `break_glass` names it.
//!
//! ## Why it matters
//! Who may add users to groups may make anybody an administrator, oneself first, without touching a policy.
//!
//! ## What can break
//! A new colleague who was meant to administer has to be put there again. Exempt the user, or let the control ask.
//!
//! ## Undo
//! Puts the user back into the group.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use quell_engine::{
    Background, CallError, Clients, Control, Description, During, Effect, Listen, Meta, Plan,
    Progress, Safety, Severity, Signal, Trigger, aws::OrMissing, control::TargetError,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    holder::{Holder, Policies, unreadable},
    principal::{Principal, in_link},
};
use crate::{partition, policy::what::Powers};

const GROUPS: &str = "iam:ListGroupsForUser";
const ADD: &str = "iam:AddUserToGroup";
const REMOVE: &str = "iam:RemoveUserFromGroup";

pub struct AdminGroup {
    iam: Policies,
    partition: &'static str,
}

/// A user as a member of a group. As text: `group/admins/alice`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Member {
    group: Holder,
    user: Principal,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Membership {
    pub member: Member,
    pub is_in: bool,
    /// What makes administrators of the group's members: ARNs and names of policies.
    pub policies: BTreeSet<String>,
    /// Whether somebody else could still administer the account. Asked only where something is wrong.
    pub others_administer: Option<bool>,
    /// Whether people get in by this user when all else fails.
    #[serde(default)]
    pub is_break_glass: bool,
}

/// Whether the user is to be in the group.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Put {
    pub is_in: bool,
}

impl Control for AdminGroup {
    const META: Meta = Meta {
        id: "iam-admin-group",
        title: "Nobody is added to a group of administrators",
        risk: "Who was added to this group can do everything in the account, and give the same to others.",
        severity: Severity::Critical,
        safety: Safety::NeedsApproval,
        reversible: true,
        satisfies: &["nist-800-53-r5/AC-2(7)", "nist-800-53-r5/AC-6", "nist-800-53-r5/AC-6(5)"],
        function: "iam-privilege",
        listens: &[Listen::ApiCall {
            source: "aws.iam",
            service: "iam.amazonaws.com",
            calls: &["AddUserToGroup"],
        }],
        discovers: &[],
        reads: &[
            "iam:GetGroup",
            "iam:GetGroupPolicy",
            "iam:GetPolicy",
            "iam:GetPolicyVersion",
            "iam:GetRole",
            "iam:ListAttachedGroupPolicies",
            "iam:ListEntitiesForPolicy",
            "iam:ListGroupPolicies",
            GROUPS,
            "iam:ListUserTags",
        ],
        writes: &[ADD, REMOVE],
        baseline: false,
        visible_within: 30,
        source: file!(),
    };

    const IS_GLOBAL: bool = true;

    type Target = Member;
    type State = Membership;
    type Change = Put;

    fn connect(aws: &Clients) -> Self {
        Self { iam: Policies::new(aws), partition: partition::of(aws.region()) }
    }

    fn targets(signal: &Signal) -> Result<Vec<Member>, TargetError> {
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        let (field, member) = match &signal.trigger {
            Trigger::ApiCall { parameters, .. } => {
                let text = |name: &str| parameters.get(name).and_then(Value::as_str);
                let member = text("groupName").zip(text("userName"));
                (
                    "detail.requestParameters",
                    member.and_then(|(group, user)| Member::of(group, user)),
                )
            }
            Trigger::Manual { resource, .. } => {
                let named = resource.trim().strip_prefix("group/");
                let named = named.and_then(|named| named.split_once('/'));
                ("detail.resource", named.and_then(|(group, user)| Member::of(group, user)))
            }
            _ => return Ok(Vec::new()),
        };
        let reason = "it does not name a user and a group, as in group/admins/alice".to_owned();
        let member = member.ok_or(TargetError { control: Self::META.id, field, reason })?;
        Ok(vec![member])
    }

    async fn assess(&self, member: &Member) -> Result<Option<Membership>, CallError> {
        let Some(is_in) = self.is_in(member).await? else { return Ok(None) };
        let mut found = Membership {
            member: member.clone(),
            is_in,
            policies: BTreeSet::new(),
            others_administer: None,
            is_break_glass: false,
        };
        if !is_in {
            return Ok(Some(found));
        }
        let Some(attached) = self.iam.attached(&member.group).await? else { return Ok(None) };
        let Some(inline) = self.iam.inline(&member.group).await? else { return Ok(None) };
        let administers = |text: &str| {
            let powers = Powers::parse(text, &self.iam.account).map_err(unreadable)?;
            Ok::<_, CallError>(powers.are_administrative())
        };
        let mut managed = BTreeSet::new();
        for arn in attached {
            let Some(text) = self.iam.managed(&arn).await? else { continue };
            if administers(&text)? {
                managed.insert(arn);
            }
        }
        found.policies = managed.clone();
        for (name, text) in &inline {
            if administers(text)? {
                found.policies.insert(name.clone());
            }
        }
        if !found.policies.is_empty() {
            let user = Holder::Principal(member.user.clone());
            let others = self.iam.has_member_beside(&member.group, Some(&member.user)).await?
                || self.iam.others_administer(&user, &managed, self.partition).await?;
            found.others_administer = Some(others);
        }
        Ok(Some(found))
    }

    fn inform(state: &mut Membership, background: &Background<'_, Membership>) {
        state.is_break_glass = state.member.user.is_break_glass(background.trusted);
    }

    /// What the group may do, and who else administers, is looked at anew each time.
    fn same(one: &Membership, other: &Membership) -> bool {
        one.member == other.member && one.is_in == other.is_in
    }

    fn withheld(state: &Membership) -> Option<String> {
        let user = &state.member.user;
        user.withheld(state.is_break_glass).or_else(|| {
            (state.others_administer == Some(false)).then(|| {
                format!(
                    "{user}: it may be the last administrator of the account: nobody else is in a group of administrators or has AdministratorAccess"
                )
            })
        })
    }

    fn plan(state: &Membership) -> Plan<Put> {
        if state.is_in && !state.policies.is_empty() {
            Plan::one(Put { is_in: false })
        } else {
            Plan::nothing()
        }
    }

    async fn apply(
        &self,
        member: &Member,
        put: &Put,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        let (group, user) = (member.group.name(), member.user.name());
        if put.is_in {
            let add = self.iam.client.add_user_to_group().group_name(group).user_name(user);
            add.send().await.during(ADD)?;
        } else {
            let remove = self.iam.client.remove_user_from_group();
            let remove = remove.group_name(group).user_name(user).send().await.during(REMOVE);
            // Who is not there any more is where it was to be.
            remove.or_missing(&["NoSuchEntity"])?;
        }
        Ok(None)
    }

    fn revert(before: &Membership, after: &Membership) -> Plan<Put> {
        if before.is_in && !after.is_in { Plan::one(Put { is_in: true }) } else { Plan::nothing() }
    }

    fn describe(state: &Membership, put: &Put) -> Description {
        let Membership { member: Member { group, user }, policies, .. } = state;
        let by: Vec<&str> =
            policies.iter().map(|arn| arn.rsplit('/').next().unwrap_or(arn)).collect();
        let line = match by.as_slice() {
            [] => format!("{user} in {group}"),
            by => format!("{user} in {group}, an administrator by {}", by.join(", ")),
        };
        let (minus, plus) = if put.is_in { (vec![], vec![line]) } else { (vec![line], vec![]) };
        let action = if put.is_in { ADD } else { REMOVE };
        Description { action: action.to_owned(), effect: Effect::Set, minus, plus }
    }

    fn console(member: &Member, region: &str) -> String {
        let console = partition::console("iam", partition::first_region(region));
        format!("{console}#/groups/details/{}", in_link(member.group.name()))
    }

    fn arn(member: &Member, account: &str, region: &str) -> String {
        member.user.arn(partition::of(region), account)
    }

    async fn tags(&self, member: &Member) -> Result<BTreeMap<String, String>, CallError> {
        self.iam.tags(&Holder::Principal(member.user.clone())).await
    }
}

impl AdminGroup {
    /// `None`: there is no such user.
    async fn is_in(&self, member: &Member) -> Result<Option<bool>, CallError> {
        let mut next = None;
        loop {
            let groups = self.iam.client.list_groups_for_user().user_name(member.user.name());
            let groups = groups.set_marker(next).send().await.during(GROUPS);
            let Some(page) = groups.or_missing(&["NoSuchEntity"])? else { return Ok(None) };
            if page.groups.iter().any(|group| group.group_name() == member.group.name()) {
                return Ok(Some(true));
            }
            next = page.marker.filter(|_| page.is_truncated);
            if next.is_none() {
                return Ok(Some(false));
            }
        }
    }
}

impl Member {
    fn of(group: &str, user: &str) -> Option<Self> {
        Some(Self { group: Holder::group(group)?, user: Principal::user(user)? })
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.group, self.user.name())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::s3::tests::signal;

    fn called(parameters: Value) -> Signal {
        signal(Trigger::ApiCall {
            service: "iam.amazonaws.com".into(),
            name: "AddUserToGroup".into(),
            parameters,
            response: json!(null),
            resources: Vec::new(),
        })
    }

    fn alice(is_in: bool, policies: &[&str]) -> Membership {
        Membership {
            member: Member::of("admins", "alice").unwrap(),
            is_in,
            policies: policies.iter().map(|&name| name.to_owned()).collect(),
            others_administer: Some(true),
            is_break_glass: false,
        }
    }

    #[test]
    fn the_call_names_who_was_added_and_where() {
        let found =
            AdminGroup::targets(&called(json!({"groupName": "admins", "userName": "alice"})));
        assert_eq!(found.unwrap()[0].to_string(), "group/admins/alice");
        for bad in [json!({"groupName": "admins"}), json!({"groupName": "a/b", "userName": "c"})] {
            assert!(AdminGroup::targets(&called(bad)).is_err());
        }
    }

    #[test]
    fn only_a_member_of_administrators_is_taken_out() {
        let before = alice(true, &["AdministratorAccess"]);
        let after = alice(false, &[]);
        assert_eq!(AdminGroup::plan(&before).changes, [Put { is_in: false }]);
        assert!(AdminGroup::plan(&alice(true, &[])).is_empty());
        assert!(AdminGroup::plan(&after).is_empty());
        assert_eq!(AdminGroup::revert(&before, &after).changes, [Put { is_in: true }]);
        assert_eq!(AdminGroup::withheld(&before), None);
        let last = Membership { others_administer: Some(false), ..before.clone() };
        assert!(AdminGroup::withheld(&last).unwrap().contains("last administrator"));
        let glass = Membership { is_break_glass: true, ..before };
        assert!(AdminGroup::withheld(&glass).unwrap().contains("break_glass"));
    }
}
