//! What is Quell's own, by the names that the template gives.

use std::env::{VarError, var};

/// The settings by which Quell knows its own.
const STACK: &str = "QUELL_STACK";
const KEYS: &str = "QUELL_KEYS";
const DEPLOYER: &str = "QUELL_DEPLOYER";

/// The name that `samconfig.toml` gives the stack.
const USUAL_STACK: &str = "quell";

/// CloudFormation begins the name of every resource of a stack with the stack's, and shortens longer ones.
const LONGEST_STACK: usize = 24;

/// Names of stacks, functions, rules, roles, topics, queues, tables and alarms are no longer.
const LONGEST_NAME: usize = 256;

/// Quell's own stack, and who may change it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Own {
    stack: String,
    /// ARNs. Keys have no names.
    keys: Vec<String>,
    /// What the ARN of every session of the deploying role begins with, and the ARN of the role.
    deployer: Option<(String, String)>,
}

/// A setting that the template should have given otherwise.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SettingError {
    #[error("it is not text")]
    NotText,
    #[error("`{0}` is longer than the 24 characters up to which its resources can be told by it")]
    LongStack(String),
    #[error("`{0}` is not the name of a stack")]
    Stack(String),
    #[error("`{0}` is not the ARN of a role")]
    Deployer(String),
}

impl Own {
    /// As the template sets it. An error names the setting.
    pub(super) fn of_environment() -> Result<Self, (&'static str, SettingError)> {
        let setting = |name| match var(name) {
            Ok(text) => Ok(text),
            Err(VarError::NotPresent) => Ok(String::new()),
            Err(VarError::NotUnicode(_)) => Err((name, SettingError::NotText)),
        };
        Self::new(&setting(STACK)?, &setting(KEYS)?, &setting(DEPLOYER)?)
    }

    fn new(stack: &str, keys: &str, deployer: &str) -> Result<Self, (&'static str, SettingError)> {
        let stack = if stack.is_empty() { USUAL_STACK } else { stack };
        let is_name = stack.starts_with(|first: char| first.is_ascii_alphabetic())
            && stack.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !is_name {
            return Err((STACK, SettingError::Stack(stack.to_owned())));
        }
        if stack.len() > LONGEST_STACK {
            return Err((STACK, SettingError::LongStack(stack.to_owned())));
        }
        let deployer = match deployer {
            "" => None,
            role => {
                let sessions = sessions(role);
                let sessions =
                    sessions.ok_or_else(|| (DEPLOYER, SettingError::Deployer(role.to_owned())))?;
                Some((sessions, role.to_owned()))
            }
        };
        let keys = keys.split(',').filter(|key| !key.is_empty()).map(str::to_owned).collect();
        Ok(Self { stack: stack.to_owned(), keys, deployer })
    }

    /// Whether a name is that of a resource of the stack. What no resource can be called is none.
    pub(super) fn has(&self, name: &str) -> bool {
        is_name(name) && name.strip_prefix(&self.stack).is_some_and(|rest| rest.starts_with('-'))
    }

    pub(super) fn is_stack(&self, name: &str) -> bool {
        name == self.stack
    }

    pub(super) fn has_key(&self, arn: &str) -> bool {
        self.keys.iter().any(|key| key == arn)
    }

    /// The role that may change Quell, if this is the ARN of one of its sessions.
    pub(super) fn deployer(&self, actor: &str) -> Option<&str> {
        let (sessions, role) = self.deployer.as_ref()?;
        let session = actor.strip_prefix(sessions.as_str())?;
        (!session.is_empty() && !session.contains('/')).then_some(role)
    }
}

/// Whether a resource, or a resource with its kind, can be called so.
pub(super) fn is_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+=,.@_-/:#".contains(&b))
}

/// What the ARNs of a role's sessions begin with: they have the role's name, but not its path. No two roles of an
/// account have the same name.
fn sessions(role: &str) -> Option<String> {
    let parts: Vec<&str> = role.splitn(6, ':').collect();
    let ["arn", partition, "iam", "", account, resource] = parts.as_slice() else { return None };
    let name = resource.strip_prefix("role/")?.rsplit('/').next()?;
    let is_name = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+=,.@_-".contains(&b))
    };
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    (is_account && is_name(name))
        .then(|| format!("arn:{partition}:sts::{account}:assumed-role/{name}/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: &str = "arn:aws:iam::123456789012:role/teams/ci/deploy";

    #[test]
    fn names_of_the_stack_begin_with_its_own() {
        let own = Own::new("quell", "", "").unwrap();
        assert_eq!(Own::new("", "", "").unwrap(), own, "the usual name where none is set");
        for name in ["quell-Ledger-1ABC", "quell-s3-exposure", "quell-"] {
            assert!(own.has(name), "{name}");
        }
        let long = format!("quell-{}", "x".repeat(100_000));
        for name in [
            "quell",
            "quellen-x",
            "Quell-x",
            "my-quell-x",
            "qu\u{435}ll-x",
            "quell-\u{202e}x",
            "quell-*",
            "quell-x\r\n",
            &long,
            "",
        ] {
            assert!(!own.has(name), "{name}");
        }
        assert!(own.is_stack("quell") && !own.is_stack("quell-2"));
    }

    #[test]
    fn keys_are_known_by_their_whole_arn() {
        let (one, other) = (
            "arn:aws:kms:eu-west-1:123456789012:key/1",
            "arn:aws:kms:eu-west-1:123456789012:key/2",
        );
        let own = Own::new("quell", &format!("{one},{other}"), "").unwrap();
        assert!(own.has_key(one) && own.has_key(other));
        assert!(!own.has_key("arn:aws:kms:eu-west-1:123456789012:key/12"));
        assert!(!Own::new("quell", "", "").unwrap().has_key(""));
    }

    #[test]
    fn the_deployer_is_every_session_of_one_role_and_nobody_else() {
        let own = Own::new("quell", "", ROLE).unwrap();
        let of = |arn: &str| own.deployer(arn).map(str::to_owned);
        assert_eq!(of("arn:aws:sts::123456789012:assumed-role/deploy/ci-7"), Some(ROLE.to_owned()));
        for other in [
            ROLE,
            "arn:aws:sts::123456789012:assumed-role/deploy/",
            "arn:aws:sts::123456789012:assumed-role/deploy/ci/7",
            "arn:aws:sts::123456789012:assumed-role/deployer/ci-7",
            "arn:aws:sts::210987654321:assumed-role/deploy/ci-7",
            "arn:aws:sts::123456789012:federated-user/deploy",
            "arn:aws:iam::123456789012:user/deploy",
            "",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
        let nobody = Own::new("quell", "", "").unwrap();
        assert_eq!(nobody.deployer("arn:aws:sts::123456789012:assumed-role/deploy/ci-7"), None);
    }

    #[test]
    fn settings_that_cannot_be_meant_are_errors() {
        let long = "a".repeat(25);
        for (stack, deployer, setting, says) in [
            (long.as_str(), "", STACK, "longer than the 24"),
            ("quell*", "", STACK, "is not the name of a stack"),
            ("1quell", "", STACK, "is not the name of a stack"),
            ("quell", "arn:aws:iam::123456789012:role/*", DEPLOYER, "is not the ARN of a role"),
            ("quell", "arn:aws:iam::123456789012:user/ci", DEPLOYER, "is not the ARN of a role"),
            ("quell", "arn:aws:iam::12345678901:role/ci", DEPLOYER, "is not the ARN of a role"),
            ("quell", "deploy", DEPLOYER, "is not the ARN of a role"),
        ] {
            let (name, error) = Own::new(stack, "", deployer).unwrap_err();
            assert_eq!(name, setting);
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
