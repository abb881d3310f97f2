//! Users and roles: what they may be called, and which of them are never touched.

use std::{env::var, fmt};

use aws_sdk_iam::Client;
use quell_engine::{Clients, policy::Trusted};
use serde::{Deserialize, Serialize};

use crate::partition;

/// IAM's client: one for all regions of the partition.
pub(super) fn client(aws: &Clients) -> Client {
    let config = aws_sdk_iam::config::Builder::from(aws.sdk()).interceptor(aws.calls());
    Client::from_conf(config.build())
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    User,
    Role,
}

/// A user or a role of the account. No two of a kind have the same name, whatever their paths. As text: `user/alice`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Principal {
    kind: Kind,
    name: String,
}

impl Principal {
    pub(super) fn user(name: &str) -> Option<Self> {
        is_name(name).then(|| Self { kind: Kind::User, name: name.to_owned() })
    }

    pub(super) fn role(name: &str) -> Option<Self> {
        is_name(name).then(|| Self { kind: Kind::Role, name: name.to_owned() })
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// From `user/alice`, or from an ARN with whatever path.
    pub(super) fn parse(text: &str, account: &str) -> Option<Self> {
        let resource = match text.strip_prefix("arn:") {
            None => text,
            Some(rest) => {
                let parts: Vec<&str> = rest.splitn(5, ':').collect();
                let [_, "iam", "", owner, resource] = parts.as_slice() else { return None };
                (*owner == account).then_some(*resource)?
            }
        };
        let (kind, path) = resource.split_once('/')?;
        let name = path.rsplit('/').next()?;
        match kind {
            "user" => Self::user(name),
            "role" => Self::role(name),
            _ => None,
        }
    }

    /// Without its path, which only IAM knows.
    pub(super) fn arn(&self, partition: &str, account: &str) -> String {
        format!("arn:{partition}:iam::{account}:{self}")
    }

    /// Where its credentials and policies are in the console.
    pub(super) fn console(&self, region: &str) -> String {
        let console = partition::console("iam", partition::first_region(region));
        let (kinds, name) = match self.kind {
            Kind::User => ("users", &self.name),
            Kind::Role => ("roles", &self.name),
        };
        format!("{console}#/{kinds}/details/{}", in_link(name))
    }

    /// Roles that belong to a service: nobody else can edit them.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_create-service-linked-role.html>
    pub(super) fn is_service_linked(&self) -> bool {
        self.kind == Kind::Role && self.name.starts_with("AWSServiceRoleFor")
    }

    /// Roles that Identity Center makes and puts back.
    /// <https://docs.aws.amazon.com/singlesignon/latest/userguide/using-service-linked-roles.html>
    pub(super) fn is_identity_center(&self) -> bool {
        self.kind == Kind::Role && self.name.starts_with("AWSReservedSSO_")
    }

    /// A role of Quell's own stack.
    pub(super) fn is_own(&self) -> bool {
        self.kind == Kind::Role && is_of_stack(&self.name)
    }

    /// Whether people get in by it when all else fails. The account is not compared: an account has no other's.
    pub(super) fn is_break_glass(&self, trusted: &Trusted) -> bool {
        trusted.break_glass.iter().any(|arn| {
            let account = arn.split(':').nth(4).unwrap_or_default();
            Self::parse(arn, account).as_ref() == Some(self)
        })
    }

    /// Why nothing is done to it, if so.
    pub(super) fn withheld(&self, is_break_glass: bool) -> Option<String> {
        let why = if is_break_glass {
            "the policy's `break_glass` names it: people get in by it when all else fails"
        } else if self.is_own() {
            "it is a role of Quell's own"
        } else if self.is_service_linked() {
            "it belongs to a service of AWS, which alone can change it"
        } else if self.is_identity_center() {
            "Identity Center makes it and puts it back: change the permission set, or the person's sessions there"
        } else {
            return None;
        };
        Some(format!("{self}: {why}"))
    }
}

/// Whether the name is one that CloudFormation gives to what is in Quell's own stack.
pub(super) fn is_of_stack(name: &str) -> bool {
    name.strip_prefix(&stack()).is_some_and(|rest| rest.starts_with('-'))
}

/// The name of Quell's own stack.
pub(super) fn stack() -> String {
    let stack = var("QUELL_STACK").ok().filter(|stack| !stack.is_empty());
    stack.unwrap_or_else(|| "quell".to_owned())
}

/// A name as it stands in a link. It may hold `@` and `+`, which mean something there.
pub(super) fn in_link(name: &str) -> String {
    let mut link = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'.' | b'_' | b'-' => link.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => link.push(char::from(byte)),
            _ => link.push_str(&format!("%{byte:02X}")),
        }
    }
    link
}

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+=,.@_-".contains(&b))
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::User => "user",
            Kind::Role => "role",
        };
        write!(f, "{kind}/{}", self.name)
    }
}

impl From<Principal> for String {
    fn from(principal: Principal) -> Self {
        principal.to_string()
    }
}

impl TryFrom<String> for Principal {
    type Error = BadPrincipal;

    fn try_from(text: String) -> Result<Self, BadPrincipal> {
        Self::parse(&text, "").ok_or(BadPrincipal)
    }
}

/// Why a text names neither a user nor a role. Does not repeat the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("it names neither a user nor a role")]
pub struct BadPrincipal;

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "123456789012";

    #[test]
    fn a_principal_is_known_by_kind_and_name_whatever_its_path() {
        for text in ["user/alice", "arn:aws:iam::123456789012:user/teams/a/alice"] {
            let alice = Principal::parse(text, ACCOUNT).unwrap();
            assert_eq!(alice, Principal::user("alice").unwrap());
            assert_eq!(alice.arn("aws", ACCOUNT), "arn:aws:iam::123456789012:user/alice");
        }
        for bad in [
            "",
            "alice",
            "user/",
            "group/admins",
            "user/al ice",
            "user/al*",
            "arn:aws:iam::210987654321:user/alice",
            "arn:aws:sts::123456789012:assumed-role/deploy/ci",
            "arn:aws:iam::123456789012:root",
        ] {
            assert_eq!(Principal::parse(bad, ACCOUNT), None, "{bad}");
        }
        assert!(Principal::user(&"a".repeat(65)).is_none());
        let at = Principal::user("a+b@example.com").unwrap();
        assert!(at.console("eu-west-1").ends_with("#/users/details/a%2Bb%40example.com"));
    }

    #[test]
    fn what_others_own_and_what_people_need_is_left_alone() {
        let role = |name: &str| Principal::role(name).unwrap();
        for (principal, says) in [
            (role("quell-S3ExposureRole-1A2B"), "Quell's own"),
            (role("AWSServiceRoleForSupport"), "belongs to a service"),
            (role("AWSReservedSSO_Admin_0123456789abcdef"), "Identity Center"),
        ] {
            assert!(principal.withheld(false).unwrap().contains(says));
        }
        for usual in [role("deploy"), role("quellen"), Principal::user("quell-bot").unwrap()] {
            assert_eq!(usual.withheld(false), None);
        }
        let trusted = Trusted {
            break_glass: vec!["arn:aws:iam::123456789012:role/emergency/glass".to_owned()],
            ..Trusted::NOBODY
        };
        assert!(role("glass").is_break_glass(&trusted));
        assert!(!Principal::user("glass").unwrap().is_break_glass(&trusted));
        assert!(!role("glasses").is_break_glass(&trusted));
    }
}
