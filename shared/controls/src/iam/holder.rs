//! Who holds policies: a user, a role or a group. Their calls differ by name alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use aws_sdk_iam::Client;
use quell_engine::{CallError, Clients, During, aws::OrMissing, error::CallErrorKind};
use serde::{Deserialize, Serialize};

use super::principal::{self, BadPrincipal, Kind, Principal};
use crate::policy::document::{Unreadable, decoded};

/// As text: `user/alice`, `role/deploy`, `group/admins`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Holder {
    Principal(Principal),
    Group(String),
}

/// The kinds of holders, for calls that have a name for each.
enum Named<'a> {
    User(&'a str),
    Role(&'a str),
    Group(&'a str),
}

impl Holder {
    pub(super) fn group(name: &str) -> Option<Self> {
        // Names of groups are those of users, but twice as long.
        // https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
        let is_name = (1..=128).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+=,.@_-".contains(&b));
        is_name.then(|| Self::Group(name.to_owned()))
    }

    /// From `group/admins`, or from an ARN with whatever path.
    pub(super) fn parse(text: &str, account: &str) -> Option<Self> {
        let resource = match text.strip_prefix("arn:") {
            None => text,
            Some(rest) => {
                let parts: Vec<&str> = rest.splitn(5, ':').collect();
                let [_, "iam", "", owner, resource] = parts.as_slice() else { return None };
                (*owner == account).then_some(*resource)?
            }
        };
        match resource.strip_prefix("group/") {
            Some(path) => Self::group(path.rsplit('/').next()?),
            None => Principal::parse(text, account).map(Self::Principal),
        }
    }

    pub(super) fn arn(&self, partition: &str, account: &str) -> String {
        format!("arn:{partition}:iam::{account}:{self}")
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Principal(principal) => principal.name(),
            Self::Group(name) => name,
        }
    }

    /// The kind, as IAM's calls name it.
    pub(super) fn kind(&self) -> &'static str {
        match self.named() {
            Named::User(_) => "User",
            Named::Role(_) => "Role",
            Named::Group(_) => "Group",
        }
    }

    pub(super) fn principal(&self) -> Option<&Principal> {
        match self {
            Self::Principal(principal) => Some(principal),
            Self::Group(_) => None,
        }
    }

    fn named(&self) -> Named<'_> {
        match self {
            Self::Principal(principal) => match principal.kind() {
                Kind::User => Named::User(principal.name()),
                Kind::Role => Named::Role(principal.name()),
            },
            Self::Group(name) => Named::Group(name),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Principal(principal) => principal.fmt(f),
            Self::Group(name) => write!(f, "group/{name}"),
        }
    }
}

impl From<Holder> for String {
    fn from(holder: Holder) -> Self {
        holder.to_string()
    }
}

impl TryFrom<String> for Holder {
    type Error = BadPrincipal;

    fn try_from(text: String) -> Result<Self, BadPrincipal> {
        Self::parse(&text, "").ok_or(BadPrincipal)
    }
}

/// IAM's calls about policies and who holds them.
pub(super) struct Policies {
    pub(super) client: Client,
    pub(super) account: String,
}

const MISSING: &[&str] = &["NoSuchEntity"];

/// All pages of a list, or `None` if the holder is gone.
macro_rules! pages {
    ($call:expr, $action:literal, $($found:tt)+) => {{
        let (mut all, mut next) = (Vec::new(), None::<String>);
        loop {
            let page = $call.set_marker(next).send().await.during($action).or_missing(MISSING)?;
            let Some(page) = page else { break None };
            next = page.marker.filter(|_| page.is_truncated);
            all.extend(page.$($found)+);
            if next.is_none() {
                break Some(all);
            }
        }
    }};
}

/// The text of an inline policy, or `None` if it is gone.
macro_rules! text {
    ($call:expr, $action:literal) => {
        $call.send().await.during($action).or_missing(MISSING)?.map(|found| found.policy_document)
    };
}

/// A call that has nothing to say. What is gone already is what was wanted.
macro_rules! gone {
    ($call:expr, $action:literal) => {
        $call.send().await.during($action).or_missing(MISSING).map(drop)
    };
}

impl Policies {
    pub(super) fn new(aws: &Clients) -> Self {
        Self { client: principal::client(aws), account: aws.account().to_owned() }
    }

    /// The ARNs of the policies that are attached. `None`: there is no such holder.
    pub(super) async fn attached(
        &self,
        holder: &Holder,
    ) -> Result<Option<BTreeSet<String>>, CallError> {
        let iam = &self.client;
        let found = match holder.named() {
            Named::User(name) => pages!(
                iam.list_attached_user_policies().user_name(name),
                "iam:ListAttachedUserPolicies",
                attached_policies.unwrap_or_default()
            ),
            Named::Role(name) => pages!(
                iam.list_attached_role_policies().role_name(name),
                "iam:ListAttachedRolePolicies",
                attached_policies.unwrap_or_default()
            ),
            Named::Group(name) => pages!(
                iam.list_attached_group_policies().group_name(name),
                "iam:ListAttachedGroupPolicies",
                attached_policies.unwrap_or_default()
            ),
        };
        Ok(found.map(|all| all.into_iter().filter_map(|policy| policy.policy_arn).collect()))
    }

    /// The inline policies, by name. `None`: there is no such holder.
    pub(super) async fn inline(
        &self,
        holder: &Holder,
    ) -> Result<Option<BTreeMap<String, String>>, CallError> {
        let iam = &self.client;
        let names = match holder.named() {
            Named::User(name) => pages!(
                iam.list_user_policies().user_name(name),
                "iam:ListUserPolicies",
                policy_names
            ),
            Named::Role(name) => pages!(
                iam.list_role_policies().role_name(name),
                "iam:ListRolePolicies",
                policy_names
            ),
            Named::Group(name) => pages!(
                iam.list_group_policies().group_name(name),
                "iam:ListGroupPolicies",
                policy_names
            ),
        };
        let Some(names) = names else { return Ok(None) };
        let mut texts = BTreeMap::new();
        for policy in names {
            let text = match holder.named() {
                Named::User(name) => text!(
                    iam.get_user_policy().user_name(name).policy_name(&policy),
                    "iam:GetUserPolicy"
                ),
                Named::Role(name) => text!(
                    iam.get_role_policy().role_name(name).policy_name(&policy),
                    "iam:GetRolePolicy"
                ),
                Named::Group(name) => text!(
                    iam.get_group_policy().group_name(name).policy_name(&policy),
                    "iam:GetGroupPolicy"
                ),
            };
            if let Some(text) = text {
                texts.insert(policy, decoded(&text).map_err(unreadable)?);
            }
        }
        Ok(Some(texts))
    }

    /// What one inline policy says. `None`: there is no such role; `Some(None)`: it has no such policy.
    pub(super) async fn inline_of_role(
        &self,
        role: &str,
        policy: &str,
    ) -> Result<Option<Option<String>>, CallError> {
        let names = pages!(
            self.client.list_role_policies().role_name(role),
            "iam:ListRolePolicies",
            policy_names
        );
        let Some(names) = names else { return Ok(None) };
        if !names.iter().any(|name| name == policy) {
            return Ok(Some(None));
        }
        let text = text!(
            self.client.get_role_policy().role_name(role).policy_name(policy),
            "iam:GetRolePolicy"
        );
        text.map(|text| decoded(&text).map_err(unreadable)).transpose().map(Some)
    }

    /// What a managed policy says now. `None`: there is no such policy any more.
    pub(super) async fn managed(&self, arn: &str) -> Result<Option<String>, CallError> {
        let found = self.client.get_policy().policy_arn(arn).send().await.during("iam:GetPolicy");
        let version = found.or_missing(MISSING)?.and_then(|found| found.policy);
        let Some(version) = version.and_then(|policy| policy.default_version_id) else {
            return Ok(None);
        };
        let found = self.client.get_policy_version().policy_arn(arn).version_id(version);
        let found = found.send().await.during("iam:GetPolicyVersion").or_missing(MISSING)?;
        let text = found.and_then(|found| found.policy_version?.document);
        text.map(|text| decoded(&text).map_err(unreadable)).transpose()
    }

    pub(super) async fn attach(&self, holder: &Holder, arn: &str) -> Result<(), CallError> {
        let iam = &self.client;
        match holder.named() {
            Named::User(name) => {
                let attach = iam.attach_user_policy().user_name(name).policy_arn(arn);
                attach.send().await.during("iam:AttachUserPolicy").map(drop)
            }
            Named::Role(name) => {
                let attach = iam.attach_role_policy().role_name(name).policy_arn(arn);
                attach.send().await.during("iam:AttachRolePolicy").map(drop)
            }
            Named::Group(name) => {
                let attach = iam.attach_group_policy().group_name(name).policy_arn(arn);
                attach.send().await.during("iam:AttachGroupPolicy").map(drop)
            }
        }
    }

    pub(super) async fn detach(&self, holder: &Holder, arn: &str) -> Result<(), CallError> {
        let iam = &self.client;
        match holder.named() {
            Named::User(name) => gone!(
                iam.detach_user_policy().user_name(name).policy_arn(arn),
                "iam:DetachUserPolicy"
            ),
            Named::Role(name) => gone!(
                iam.detach_role_policy().role_name(name).policy_arn(arn),
                "iam:DetachRolePolicy"
            ),
            Named::Group(name) => gone!(
                iam.detach_group_policy().group_name(name).policy_arn(arn),
                "iam:DetachGroupPolicy"
            ),
        }
    }

    pub(super) async fn put(
        &self,
        holder: &Holder,
        policy: &str,
        text: &str,
    ) -> Result<(), CallError> {
        let iam = &self.client;
        match holder.named() {
            Named::User(name) => {
                let put = iam.put_user_policy().user_name(name).policy_name(policy);
                put.policy_document(text).send().await.during("iam:PutUserPolicy").map(drop)
            }
            Named::Role(name) => {
                let put = iam.put_role_policy().role_name(name).policy_name(policy);
                put.policy_document(text).send().await.during("iam:PutRolePolicy").map(drop)
            }
            Named::Group(name) => {
                let put = iam.put_group_policy().group_name(name).policy_name(policy);
                put.policy_document(text).send().await.during("iam:PutGroupPolicy").map(drop)
            }
        }
    }

    pub(super) async fn delete(&self, holder: &Holder, policy: &str) -> Result<(), CallError> {
        let iam = &self.client;
        match holder.named() {
            Named::User(name) => gone!(
                iam.delete_user_policy().user_name(name).policy_name(policy),
                "iam:DeleteUserPolicy"
            ),
            Named::Role(name) => gone!(
                iam.delete_role_policy().role_name(name).policy_name(policy),
                "iam:DeleteRolePolicy"
            ),
            Named::Group(name) => gone!(
                iam.delete_group_policy().group_name(name).policy_name(policy),
                "iam:DeleteGroupPolicy"
            ),
        }
    }

    /// Groups have none.
    pub(super) async fn tags(
        &self,
        holder: &Holder,
    ) -> Result<BTreeMap<String, String>, CallError> {
        let iam = &self.client;
        let tags = match holder.named() {
            Named::User(name) => {
                let tags = iam.list_user_tags().user_name(name);
                tags.send().await.during("iam:ListUserTags")?.tags
            }
            Named::Role(name) => {
                let tags = iam.list_role_tags().role_name(name);
                tags.send().await.during("iam:ListRoleTags")?.tags
            }
            Named::Group(_) => Vec::new(),
        };
        Ok(tags.into_iter().map(|tag| (tag.key, tag.value)).collect())
    }
}

pub(super) fn unreadable(why: Unreadable) -> CallError {
    CallError::new("iam:GetPolicyVersion", CallErrorKind::Refused, why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_a_user_a_role_or_a_group() {
        let account = "123456789012";
        for (text, named) in [
            ("user/alice", "user/alice"),
            ("group/admins", "group/admins"),
            ("arn:aws:iam::123456789012:group/all/admins", "group/admins"),
            ("arn:aws:iam::123456789012:role/deploy", "role/deploy"),
        ] {
            assert_eq!(Holder::parse(text, account).unwrap().to_string(), named);
        }
        for bad in ["group/", "group/a b", "arn:aws:iam::210987654321:group/admins", "policy/x"] {
            assert_eq!(Holder::parse(bad, account), None, "{bad}");
        }
    }
}
