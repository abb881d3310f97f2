//! Takes administrator's rights from who was just given them.
//!
//! ## What it fixes
//! A user, a role or a group to which a policy is attached, or into which one is written, that makes an administrator: a
//! statement that allows everything, or everything in IAM, on all resources. The managed policy is detached. Of an inline
//! policy exactly those statements go; the rest keeps its order and its bytes, and a policy of which nothing is left is
//! deleted.
//!
//! What comes to the same by a detour (`iam:PassRole` with `lambda:CreateFunction`, …) is told beside what is found, and
//! makes nobody an administrator. Permissions boundaries, conditions and `Deny` statements are not weighed.
//!
//! Nothing is done, and people are told why, where it is the last administrator that Quell can see (nobody else has the
//! policy or AWS's `AdministratorAccess`), where the policy file's `break_glass` names it, or where it is a role of Quell,
//! of a service of AWS, or of Identity Center.
//!
//! ## Why it matters
//! To attach `AdministratorAccess` to a user or a role is one call, and the usual way to stay in an account.
//!
//! ## What can break
//! Whoever was meant to be an administrator is none: people who are on call, and roles that deploy (CDK's
//! `cdk-…-cfn-exec-role`). Name the first under `break_glass`, and exempt the second, before you enforce it. Whatever else
//! the same statement or the same managed policy allowed goes too.
//!
//! ## Undo
//! Attaches the policies again, and writes the inline policies as they were, to the byte.

use std::collections::{BTreeMap, BTreeSet};

use quell_engine::{
    Background, CallError, Clients, Control, Description, Effect, Listen, Meta, Plan, Progress,
    Safety, Severity, Signal, Trigger, control::TargetError,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    holder::{Holder, Policies, unreadable},
    principal::{Principal, in_link},
};
use crate::{
    partition,
    policy::{
        document::{self, Left},
        what::Powers,
    },
};

pub struct AdminPolicy {
    iam: Policies,
    partition: &'static str,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Held {
    pub holder: Holder,
    pub account: String,
    /// The attached policies that make an administrator, by ARN.
    pub attached: BTreeSet<String>,
    /// All inline policies, by name.
    pub inline: BTreeMap<String, String>,
    /// Whether somebody else could still administer the account. Asked only where something is wrong.
    pub others_administer: Option<bool>,
    /// What a person wants to know of the attached policies.
    #[serde(default)]
    pub remarks: Vec<String>,
    /// Whether people get in by it when all else fails.
    #[serde(default)]
    pub is_break_glass: bool,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "call")]
pub enum Change {
    Detach { policy: String },
    Attach { policy: String },
    Put { policy: String, text: String },
    Delete { policy: String },
}

impl Control for AdminPolicy {
    const META: Meta = Meta {
        id: "iam-admin-policy",
        title: "Nobody is made an administrator by a policy of their own",
        risk: "Who got this policy can do everything in the account, and give the same to others.",
        severity: Severity::Critical,
        safety: Safety::NeedsApproval,
        reversible: true,
        satisfies: &[
            "cis-aws-v3.0.0/1.16",
            "nist-800-53-r5/AC-2(7)",
            "nist-800-53-r5/AC-6",
            "nist-800-53-r5/AC-6(5)",
        ],
        function: "iam-privilege",
        listens: &[Listen::ApiCall {
            source: "aws.iam",
            service: "iam.amazonaws.com",
            calls: &[
                "AttachGroupPolicy",
                "AttachRolePolicy",
                "AttachUserPolicy",
                "PutGroupPolicy",
                "PutRolePolicy",
                "PutUserPolicy",
            ],
        }],
        discovers: &[],
        reads: &[
            "iam:GetGroup",
            "iam:GetGroupPolicy",
            "iam:GetPolicy",
            "iam:GetPolicyVersion",
            "iam:GetRole",
            "iam:GetRolePolicy",
            "iam:GetUserPolicy",
            "iam:ListAttachedGroupPolicies",
            "iam:ListAttachedRolePolicies",
            "iam:ListAttachedUserPolicies",
            "iam:ListEntitiesForPolicy",
            "iam:ListGroupPolicies",
            "iam:ListRolePolicies",
            "iam:ListRoleTags",
            "iam:ListUserPolicies",
            "iam:ListUserTags",
        ],
        writes: &[
            "iam:AttachGroupPolicy",
            "iam:AttachRolePolicy",
            "iam:AttachUserPolicy",
            "iam:DeleteGroupPolicy",
            "iam:DeleteRolePolicy",
            "iam:DeleteUserPolicy",
            "iam:DetachGroupPolicy",
            "iam:DetachRolePolicy",
            "iam:DetachUserPolicy",
            "iam:PutGroupPolicy",
            "iam:PutRolePolicy",
            "iam:PutUserPolicy",
        ],
        baseline: false,
        visible_within: 30,
        source: file!(),
    };

    const IS_GLOBAL: bool = true;

    type Target = Holder;
    type State = Held;
    type Change = Change;

    fn connect(aws: &Clients) -> Self {
        Self { iam: Policies::new(aws), partition: partition::of(aws.region()) }
    }

    fn targets(signal: &Signal) -> Result<Vec<Holder>, TargetError> {
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        let (field, found) = match &signal.trigger {
            Trigger::ApiCall { parameters, .. } => {
                let text = |name: &str| parameters.get(name).and_then(Value::as_str);
                let user = || Principal::user(text("userName")?).map(Holder::Principal);
                let role = || Principal::role(text("roleName")?).map(Holder::Principal);
                let group = || Holder::group(text("groupName")?);
                ("detail.requestParameters", user().or_else(role).or_else(group))
            }
            Trigger::Manual { resource, .. } => {
                ("detail.resource", Holder::parse(resource.trim(), &signal.account))
            }
            _ => return Ok(Vec::new()),
        };
        let reason = "it names neither a user nor a role nor a group".to_owned();
        let found = found.ok_or(TargetError { control: Self::META.id, field, reason })?;
        Ok(vec![found])
    }

    async fn assess(&self, holder: &Holder) -> Result<Option<Held>, CallError> {
        let Some(all) = self.iam.attached(holder).await? else { return Ok(None) };
        let Some(inline) = self.iam.inline(holder).await? else { return Ok(None) };
        let (mut attached, mut remarks) = (BTreeSet::new(), Vec::new());
        for arn in all {
            let Some(text) = self.iam.managed(&arn).await? else { continue };
            let powers = Powers::parse(&text, &self.iam.account).map_err(unreadable)?;
            let name = arn.rsplit('/').next().unwrap_or_default();
            remarks.extend(powers.notes().into_iter().map(|note| format!("{name}: {note}")));
            if powers.are_administrative() {
                attached.insert(arn);
            }
        }
        for text in inline.values() {
            Powers::parse(text, &self.iam.account).map_err(unreadable)?;
        }
        let mut held = Held {
            holder: holder.clone(),
            account: self.iam.account.clone(),
            attached,
            inline,
            others_administer: None,
            remarks,
            is_break_glass: false,
        };
        if !Self::plan(&held).is_empty() {
            let others = self.iam.others_administer(holder, &held.attached, self.partition);
            held.others_administer = Some(others.await?);
        }
        Ok(Some(held))
    }

    fn inform(state: &mut Held, background: &Background<'_, Held>) {
        let principal = state.holder.principal();
        state.is_break_glass =
            principal.is_some_and(|principal| principal.is_break_glass(background.trusted));
    }

    /// Who else administers is looked at anew each time.
    fn same(one: &Held, other: &Held) -> bool {
        let names = |held: &Held| held.inline.keys().cloned().collect::<Vec<_>>();
        one.holder == other.holder
            && one.attached == other.attached
            && names(one) == names(other)
            && one.inline.iter().all(|(name, text)| document::same(text, &other.inline[name]))
    }

    fn withheld(state: &Held) -> Option<String> {
        let owned = state.holder.principal();
        owned.and_then(|principal| principal.withheld(state.is_break_glass)).or_else(|| {
            (state.others_administer == Some(false)).then(|| {
                format!(
                    "{}: it may be the last administrator of the account: nobody else has this policy or AdministratorAccess",
                    state.holder
                )
            })
        })
    }

    /// `assess` lets no other policy through than one that can be read.
    fn plan(state: &Held) -> Plan<Change> {
        let detached = state.attached.iter().map(|arn| Change::Detach { policy: arn.clone() });
        let cut = state.inline.iter().filter_map(|(name, text)| {
            let policy = name.clone();
            match Powers::parse(text, &state.account).ok()?.without_administration() {
                Left::Same => None,
                Left::Rest(text) => Some(Change::Put { policy, text }),
                Left::Nothing => Some(Change::Delete { policy }),
            }
        });
        detached.chain(cut).collect()
    }

    async fn apply(
        &self,
        holder: &Holder,
        change: &Change,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        match change {
            Change::Detach { policy } => self.iam.detach(holder, policy).await,
            Change::Attach { policy } => self.iam.attach(holder, policy).await,
            Change::Put { policy, text } => self.iam.put(holder, policy, text).await,
            Change::Delete { policy } => self.iam.delete(holder, policy).await,
        }?;
        Ok(None)
    }

    fn revert(before: &Held, after: &Held) -> Plan<Change> {
        let detached = before.attached.difference(&after.attached);
        let attached = detached.map(|arn| Change::Attach { policy: arn.clone() });
        // What this control did not cut is not its business.
        let cut = before.inline.iter().filter(|(name, text)| {
            let is_cut = Powers::parse(text, &before.account)
                .is_ok_and(|powers| powers.are_administrative());
            is_cut && after.inline.get(*name) != Some(*text)
        });
        let put = |(name, text): (&String, &String)| Change::Put {
            policy: name.clone(),
            text: text.clone(),
        };
        attached.chain(cut.map(put)).collect()
    }

    fn describe(state: &Held, change: &Change) -> Description {
        let kind = state.holder.kind();
        let attached = |policy: &str| vec![format!("{}: {policy}", state.holder)];
        let lines = |policy: &str, text: Option<&str>| {
            let powers = text.and_then(|text| Powers::parse(text, &state.account).ok());
            let lines = powers.map(|powers| powers.lines()).unwrap_or_default();
            lines
                .into_iter()
                .map(|line| format!("{}, inline {policy}: {line}", state.holder))
                .collect::<Vec<_>>()
        };
        let (call, minus, plus) = match change {
            Change::Detach { policy } => ("Detach", attached(policy), Vec::new()),
            Change::Attach { policy } => ("Attach", Vec::new(), attached(policy)),
            Change::Put { policy, text } => {
                let old = lines(policy, state.inline.get(policy).map(String::as_str));
                let new = lines(policy, Some(text));
                let beside = |all: &[String], others: &[String]| {
                    all.iter().filter(|line| !others.contains(line)).cloned().collect::<Vec<_>>()
                };
                ("Put", beside(&old, &new), beside(&new, &old))
            }
            Change::Delete { policy } => {
                let old = lines(policy, state.inline.get(policy).map(String::as_str));
                ("Delete", old, Vec::new())
            }
        };
        Description { action: format!("iam:{call}{kind}Policy"), effect: Effect::Set, minus, plus }
    }

    fn notes(state: &Held) -> Vec<String> {
        let inline = state.inline.iter().filter_map(|(name, text)| {
            let notes = Powers::parse(text, &state.account).ok()?.notes();
            Some(notes.into_iter().map(move |note| format!("{name}: {note}")))
        });
        state.remarks.iter().cloned().chain(inline.flatten()).collect()
    }

    fn console(holder: &Holder, region: &str) -> String {
        let console = partition::console("iam", partition::first_region(region));
        let kind = holder.kind().to_ascii_lowercase();
        format!("{console}#/{kind}s/details/{}?section=permissions", in_link(holder.name()))
    }

    fn arn(holder: &Holder, account: &str, region: &str) -> String {
        holder.arn(partition::of(region), account)
    }

    async fn tags(&self, holder: &Holder) -> Result<BTreeMap<String, String>, CallError> {
        self.iam.tags(holder).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::s3::tests::signal;

    const ALL: &str = r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#;
    const READ: &str = r#"{ "Effect":"Allow", "Action":"s3:Get*","Resource":"*"}"#;
    const ADMINISTRATOR_ACCESS: &str = "arn:aws:iam::aws:policy/AdministratorAccess";

    fn held(attached: &[&str], inline: &[(&str, &[&str])]) -> Held {
        let text = |statements: &[&str]| format!("{{\"Statement\": [{}]}}", statements.join(","));
        Held {
            holder: Holder::parse("user/alice", "").unwrap(),
            account: "123456789012".to_owned(),
            attached: attached.iter().map(|&arn| arn.to_owned()).collect(),
            inline: inline.iter().map(|(name, all)| ((*name).to_owned(), text(all))).collect(),
            others_administer: Some(true),
            remarks: Vec::new(),
            is_break_glass: false,
        }
    }

    #[test]
    fn exactly_what_makes_an_administrator_goes_and_comes_back() {
        let before = held(
            &[ADMINISTRATOR_ACCESS],
            &[("all", &[ALL]), ("mixed", &[READ, ALL]), ("read", &[READ])],
        );
        let after = held(&[], &[("mixed", &[READ]), ("read", &[READ])]);
        let policy = |name: &str| name.to_owned();
        assert_eq!(
            AdminPolicy::plan(&before).changes,
            [
                Change::Detach { policy: policy(ADMINISTRATOR_ACCESS) },
                Change::Delete { policy: policy("all") },
                Change::Put { policy: policy("mixed"), text: after.inline["mixed"].clone() },
            ]
        );
        assert!(AdminPolicy::plan(&after).is_empty());
        let put =
            |name: &str| Change::Put { policy: policy(name), text: before.inline[name].clone() };
        assert_eq!(
            AdminPolicy::revert(&before, &after).changes,
            [Change::Attach { policy: policy(ADMINISTRATOR_ACCESS) }, put("all"), put("mixed")]
        );
        assert!(AdminPolicy::same(&before, &Held { others_administer: None, ..before.clone() }));
        assert!(!AdminPolicy::same(&before, &after));
    }

    #[test]
    fn the_last_administrator_and_break_glass_are_left_alone() {
        let found = held(&[ADMINISTRATOR_ACCESS], &[]);
        assert_eq!(AdminPolicy::withheld(&found), None);
        let last = Held { others_administer: Some(false), ..found.clone() };
        assert!(AdminPolicy::withheld(&last).unwrap().contains("last administrator"));
        let glass = Held { is_break_glass: true, ..found };
        assert!(AdminPolicy::withheld(&glass).unwrap().contains("break_glass"));
    }

    #[test]
    fn calls_name_who_got_the_policy() {
        for (call, parameters, named) in [
            ("AttachUserPolicy", json!({"userName": "alice", "policyArn": "x"}), "user/alice"),
            ("PutRolePolicy", json!({"roleName": "app", "policyName": "x"}), "role/app"),
            ("AttachGroupPolicy", json!({"groupName": "admins"}), "group/admins"),
        ] {
            let found = AdminPolicy::targets(&signal(called(call, parameters))).unwrap();
            assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), [named]);
        }
        let nobody = called("PutUserPolicy", json!({"userName": "a/b"}));
        assert!(AdminPolicy::targets(&signal(nobody)).is_err());
    }

    fn called(name: &str, parameters: Value) -> Trigger {
        Trigger::ApiCall {
            service: "iam.amazonaws.com".into(),
            name: name.into(),
            parameters,
            response: json!(null),
            resources: Vec::new(),
        }
    }
}
