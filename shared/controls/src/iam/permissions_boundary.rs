//! Gives a user or a role its permissions boundary back.
//!
//! ## What it fixes
//! A user or a role that had a permissions boundary when a sweep last saw it, and has none now, or one that makes an
//! administrator of whoever it bounds. The boundary that it had is put back. Another boundary that somebody chose stays.
//!
//! Nothing is done, and people are told why, where it is a role of Quell, of a service of AWS or of Identity Center, or where
//! `break_glass` of the policy file names it.
//!
//! ## Why it matters
//! A boundary is what keeps those who may write policies for others, or for themselves, from rising by it. Without it they have
//! all that their policies say.
//!
//! ## What can break
//! What was not possible before is not possible again. If the boundary was taken away on purpose, exempt the user or role.
//!
//! ## Undo
//! Takes the boundary away, or puts the one back that was there.

use std::collections::BTreeMap;

use quell_engine::{
    Background, CallError, Clients, Control, Description, Discovered, During, Effect, Listen, Meta,
    Plan, Progress, Safety, Severity, Signal, Trigger, aws::OrMissing, control::TargetError,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    access_key,
    holder::{Holder, Policies, unreadable},
    principal::{Kind, Principal},
};
use crate::{partition, policy::what::Powers};

const LIST_ROLES: &str = "iam:ListRoles";
const GET_ROLE: &str = "iam:GetRole";
const GET_USER: &str = "iam:GetUser";

pub struct PermissionsBoundary(Policies);

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Bounded {
    pub principal: Principal,
    /// The ARN of the boundary.
    pub boundary: Option<String>,
    /// Whether it bounds nothing that matters.
    #[serde(default)]
    pub is_open: bool,
    /// The boundary that a sweep saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remembered: Option<String>,
    /// Whether people get in by it when all else fails.
    #[serde(default)]
    pub is_break_glass: bool,
}

/// The boundary that is to be. `None`: none.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Put {
    pub boundary: Option<String>,
}

impl Control for PermissionsBoundary {
    const META: Meta = Meta {
        id: "iam-permissions-boundary",
        title: "Users and roles keep their permissions boundaries",
        risk: "Nothing bounds any more what this user or role may be given.",
        severity: Severity::High,
        safety: Safety::NeedsApproval,
        reversible: true,
        satisfies: &["nist-800-53-r5/AC-3(7)", "nist-800-53-r5/AC-6", "nist-800-53-r5/CM-5"],
        function: "iam-privilege",
        listens: &[Listen::ApiCall {
            source: "aws.iam",
            service: "iam.amazonaws.com",
            calls: &[
                "DeleteRolePermissionsBoundary",
                "DeleteUserPermissionsBoundary",
                "PutRolePermissionsBoundary",
                "PutUserPermissionsBoundary",
            ],
        }],
        discovers: &[LIST_ROLES, access_key::LIST_USERS],
        reads: &[
            "iam:GetPolicy",
            "iam:GetPolicyVersion",
            GET_ROLE,
            GET_USER,
            "iam:ListRoleTags",
            "iam:ListUserTags",
        ],
        writes: &[
            "iam:DeleteRolePermissionsBoundary",
            "iam:DeleteUserPermissionsBoundary",
            "iam:PutRolePermissionsBoundary",
            "iam:PutUserPermissionsBoundary",
        ],
        baseline: true,
        visible_within: 30,
        source: file!(),
    };

    const IS_GLOBAL: bool = true;

    type Target = Principal;
    type State = Bounded;
    type Change = Put;

    fn connect(aws: &Clients) -> Self {
        Self(Policies::new(aws))
    }

    fn targets(signal: &Signal) -> Result<Vec<Principal>, TargetError> {
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        let (field, found) = match &signal.trigger {
            Trigger::ApiCall { parameters, .. } => {
                let text = |name: &str| parameters.get(name).and_then(Value::as_str);
                let user = text("userName").map(Principal::user);
                (
                    "detail.requestParameters",
                    user.or(text("roleName").map(Principal::role)).flatten(),
                )
            }
            Trigger::Manual { resource, .. } => {
                ("detail.resource", Principal::parse(resource.trim(), &signal.account))
            }
            _ => return Ok(Vec::new()),
        };
        let reason = "it names neither a user nor a role".to_owned();
        let found = found.ok_or(TargetError { control: Self::META.id, field, reason })?;
        Ok(vec![found])
    }

    /// First all roles, then all users.
    async fn discover(&self, page: Option<&str>) -> Result<Discovered<Principal>, CallError> {
        const USERS: &str = "users ";
        let iam = &self.0.client;
        if let Some(page) = page.and_then(|page| page.strip_prefix(USERS)) {
            let page = Some(page).filter(|page| !page.is_empty());
            let mut found = access_key::users(iam, page).await?;
            found.next = found.next.map(|next| format!("{USERS}{next}"));
            return Ok(found);
        }
        let listed = iam.list_roles().set_marker(page.map(str::to_owned)).max_items(50);
        let listed = listed.send().await.during(LIST_ROLES)?;
        let targets = listed.roles.iter().filter_map(|role| Principal::role(&role.role_name));
        let next = listed.marker.filter(|_| listed.is_truncated);
        Ok(Discovered {
            targets: targets.collect(),
            next: Some(next.unwrap_or_else(|| USERS.to_owned())),
        })
    }

    async fn assess(&self, principal: &Principal) -> Result<Option<Bounded>, CallError> {
        let iam = &self.0.client;
        let name = principal.name();
        let boundary = match principal.kind() {
            Kind::Role => {
                let found = iam.get_role().role_name(name).send().await.during(GET_ROLE);
                let found = found.or_missing(&["NoSuchEntity"])?.and_then(|found| found.role);
                found.map(|role| role.permissions_boundary)
            }
            Kind::User => {
                let found = iam.get_user().user_name(name).send().await.during(GET_USER);
                let found = found.or_missing(&["NoSuchEntity"])?.and_then(|found| found.user);
                found.map(|user| user.permissions_boundary)
            }
        };
        let Some(boundary) = boundary else { return Ok(None) };
        let boundary = boundary.and_then(|boundary| boundary.permissions_boundary_arn);
        let is_open = match &boundary {
            None => false,
            Some(arn) => match self.0.managed(arn).await? {
                None => false,
                Some(text) => {
                    Powers::parse(&text, &self.0.account).map_err(unreadable)?.are_administrative()
                }
            },
        };
        Ok(Some(Bounded {
            principal: principal.clone(),
            boundary,
            is_open,
            remembered: None,
            is_break_glass: false,
        }))
    }

    fn inform(state: &mut Bounded, background: &Background<'_, Bounded>) {
        state.is_break_glass = state.principal.is_break_glass(background.trusted);
        let seen = background.baseline.filter(|seen| !seen.is_open);
        state.remembered = seen.and_then(|seen| seen.boundary.clone());
    }

    fn same(one: &Bounded, other: &Bounded) -> bool {
        one.principal == other.principal && one.boundary == other.boundary
    }

    fn withheld(state: &Bounded) -> Option<String> {
        state.principal.withheld(state.is_break_glass)
    }

    fn plan(state: &Bounded) -> Plan<Put> {
        let Some(remembered) = &state.remembered else { return Plan::nothing() };
        let is_lost = state.boundary.is_none() || state.is_open;
        if is_lost && state.boundary.as_ref() != Some(remembered) {
            Plan::one(Put { boundary: Some(remembered.clone()) })
        } else {
            Plan::nothing()
        }
    }

    async fn apply(
        &self,
        principal: &Principal,
        put: &Put,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        let (iam, name) = (&self.0.client, principal.name());
        match (principal.kind(), &put.boundary) {
            (Kind::Role, Some(arn)) => {
                let put = iam.put_role_permissions_boundary().role_name(name);
                let put = put.permissions_boundary(arn).send().await;
                put.during("iam:PutRolePermissionsBoundary")?;
            }
            (Kind::User, Some(arn)) => {
                let put = iam.put_user_permissions_boundary().user_name(name);
                let put = put.permissions_boundary(arn).send().await;
                put.during("iam:PutUserPermissionsBoundary")?;
            }
            (Kind::Role, None) => {
                let delete = iam.delete_role_permissions_boundary().role_name(name).send().await;
                let delete = delete.during("iam:DeleteRolePermissionsBoundary");
                delete.or_missing(&["NoSuchEntity"])?;
            }
            (Kind::User, None) => {
                let delete = iam.delete_user_permissions_boundary().user_name(name).send().await;
                let delete = delete.during("iam:DeleteUserPermissionsBoundary");
                delete.or_missing(&["NoSuchEntity"])?;
            }
        }
        Ok(None)
    }

    fn revert(before: &Bounded, after: &Bounded) -> Plan<Put> {
        if before.boundary == after.boundary {
            Plan::nothing()
        } else {
            Plan::one(Put { boundary: before.boundary.clone() })
        }
    }

    fn describe(state: &Bounded, put: &Put) -> Description {
        let line = |boundary: &Option<String>| {
            let boundary = boundary.as_deref().unwrap_or("none");
            vec![format!("{}: permissions boundary {boundary}", state.principal)]
        };
        let verb = if put.boundary.is_some() { "Put" } else { "Delete" };
        let kind = match state.principal.kind() {
            Kind::Role => "Role",
            Kind::User => "User",
        };
        Description {
            action: format!("iam:{verb}{kind}PermissionsBoundary"),
            effect: Effect::Set,
            minus: line(&state.boundary),
            plus: line(&put.boundary),
        }
    }

    fn console(principal: &Principal, region: &str) -> String {
        principal.console(region)
    }

    fn arn(principal: &Principal, account: &str, region: &str) -> String {
        principal.arn(partition::of(region), account)
    }

    async fn tags(&self, principal: &Principal) -> Result<BTreeMap<String, String>, CallError> {
        self.0.tags(&Holder::Principal(principal.clone())).await
    }
}

#[cfg(test)]
mod tests {
    use quell_engine::policy::Trusted;

    use super::*;

    const TEAM: &str = "arn:aws:iam::123456789012:policy/team";
    const ALL: &str = "arn:aws:iam::aws:policy/AdministratorAccess";

    fn role(boundary: Option<&str>, is_open: bool) -> Bounded {
        Bounded {
            principal: Principal::role("deploy").unwrap(),
            boundary: boundary.map(str::to_owned),
            is_open,
            remembered: None,
            is_break_glass: false,
        }
    }

    fn since(mut now: Bounded, seen: &Bounded) -> Bounded {
        let background = Background { trusted: &Trusted::NOBODY, baseline: Some(seen) };
        PermissionsBoundary::inform(&mut now, &background);
        now
    }

    #[test]
    fn what_a_sweep_saw_comes_back_and_undo_takes_it_away() {
        let seen = role(Some(TEAM), false);
        let before = since(role(None, false), &seen);
        let after = since(role(Some(TEAM), false), &seen);
        let put = Put { boundary: Some(TEAM.into()) };
        assert_eq!(PermissionsBoundary::plan(&before).changes, std::slice::from_ref(&put));
        assert!(PermissionsBoundary::plan(&after).is_empty());
        assert_eq!(PermissionsBoundary::revert(&before, &after).changes, [Put { boundary: None }]);
        let open = since(role(Some(ALL), true), &seen);
        assert_eq!(PermissionsBoundary::plan(&open).changes, [put]);
    }

    #[test]
    fn who_never_had_one_or_has_another_is_left_alone() {
        assert!(PermissionsBoundary::plan(&role(None, false)).is_empty());
        let seen = role(None, false);
        assert!(PermissionsBoundary::plan(&since(role(None, false), &seen)).is_empty());
        let other = role(Some("arn:aws:iam::123456789012:policy/other"), false);
        assert!(PermissionsBoundary::plan(&since(other, &role(Some(TEAM), false))).is_empty());
        // What bounded nothing is no loss.
        let open = role(Some(ALL), true);
        assert!(PermissionsBoundary::plan(&since(role(None, false), &open)).is_empty());
    }
}
