//! Tells when somebody gives a user a password.
//!
//! ## What it fixes
//! Nothing: it tells. A console password that was made or changed for a user by somebody else is a message, with whether the
//! user has a second factor. Who changes their own password is not told of.
//!
//! ## Why it matters
//! With a password of somebody else's one has all that the user may, in the console, under the user's name. Users that are
//! meant for programs have no password and no second factor, and nobody watches them.
//!
//! ## What can break
//! Nothing is changed: a password that is taken away cannot be given back. If nobody of yours did it, let `iam-quarantine`
//! hold the user back (`quell plan`), then delete the password.
//!
//! ## Undo
//! There is nothing to undo: nothing was changed.

use std::{collections::BTreeMap, fmt};

use quell_engine::{
    CallError, CallErrorKind, Clients, Control, Description, Effect, Listen, Meta, Plan, Progress,
    Safety, Severity, Signal, Trigger, control::TargetError,
};
use serde::{Deserialize, Serialize};

use super::{access_key, console::Console, principal::Principal};
use crate::partition;

pub struct LoginProfile(Console);

/// A user and who gave them a password. As text: `user/alice`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Given {
    user: Principal,
    /// The call and who made it. `None`: nothing that is known.
    did: Option<String>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Password {
    given: Given,
    has_second_factor: bool,
}

impl Control for LoginProfile {
    const META: Meta = Meta {
        id: "iam-login-profile",
        title: "People know of every password that somebody gives another",
        risk: "Somebody can sign in to the console as this user, with a password of their own choice.",
        severity: Severity::High,
        safety: Safety::ReportOnly,
        reversible: false,
        satisfies: &["nist-800-53-r5/AC-2(4)", "nist-800-53-r5/IA-5", "nist-800-53-r5/AU-6"],
        function: "iam-credentials",
        listens: &[Listen::ApiCall {
            source: "aws.iam",
            service: "iam.amazonaws.com",
            calls: &["CreateLoginProfile", "UpdateLoginProfile"],
        }],
        discovers: &[],
        reads: &[Console::PASSWORD, Console::FACTORS, access_key::TAGS],
        writes: &[],
        baseline: false,
        visible_within: 30,
        source: file!(),
    };

    const IS_GLOBAL: bool = true;

    type Target = Given;
    type State = Password;
    type Change = Password;

    fn connect(aws: &Clients) -> Self {
        Self(Console::new(aws))
    }

    fn targets(signal: &Signal) -> Result<Vec<Given>, TargetError> {
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        let users = access_key::user_named(signal, Self::META.id)?;
        let did = match &signal.trigger {
            Trigger::ApiCall { name, .. } => {
                let by = signal.actor.as_ref().map(|actor| actor.principal.clone());
                Some((name.clone(), by.unwrap_or_else(|| "somebody".to_owned())))
            }
            _ => None,
        };
        let given = users.into_iter().filter_map(|user| {
            if did.as_ref().is_some_and(|(_, by)| *by == format!("user {}", user.name())) {
                return None;
            }
            let did = did.as_ref().map(|(call, by)| format!("{call} by {by}"));
            Some(Given { user, did })
        });
        Ok(given.collect())
    }

    async fn assess(&self, given: &Given) -> Result<Option<Password>, CallError> {
        if !self.0.has_password(&given.user).await? {
            return Ok(None);
        }
        let factors = self.0.has_second_factor(&given.user).await?;
        Ok(factors.map(|has_second_factor| Password { given: given.clone(), has_second_factor }))
    }

    /// Only where one was given: passwords are nothing bad.
    fn plan(found: &Password) -> Plan<Password> {
        if found.given.did.is_some() { Plan::one(found.clone()) } else { Plan::nothing() }
    }

    async fn apply(
        &self,
        _: &Given,
        _: &Password,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        Err(CallError::new(
            "quell:apply",
            CallErrorKind::Refused,
            "this control only tells; a password that is taken away cannot be given back",
        ))
    }

    fn revert(_: &Password, _: &Password) -> Plan<Password> {
        Plan::nothing()
    }

    fn describe(_: &Password, found: &Password) -> Description {
        let Password { given: Given { user, did }, has_second_factor } = found;
        let mut plus: Vec<String> =
            did.iter().map(|did| format!("{user} has a password: {did}")).collect();
        if !has_second_factor {
            plus.push(format!("{user} has no second factor"));
        }
        Description { action: Console::PASSWORD.into(), effect: Effect::Set, minus: vec![], plus }
    }

    fn console(given: &Given, region: &str) -> String {
        given.user.console(region)
    }

    fn arn(given: &Given, account: &str, region: &str) -> String {
        given.user.arn(partition::of(region), account)
    }

    async fn tags(&self, given: &Given) -> Result<BTreeMap<String, String>, CallError> {
        access_key::tags(&self.0.iam, &given.user).await
    }
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.user.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use quell_engine::signal::Actor;
    use serde_json::json;

    use super::*;
    use crate::s3::tests::signal;

    fn given_by(principal: &str) -> Vec<Given> {
        let mut signal = signal(Trigger::ApiCall {
            service: "iam.amazonaws.com".into(),
            name: "UpdateLoginProfile".into(),
            parameters: json!({"userName": "alice"}),
            response: json!(null),
            resources: Vec::new(),
        });
        signal.actor = Some(Actor { principal: principal.into(), ..Actor::default() });
        LoginProfile::targets(&signal).unwrap()
    }

    #[test]
    fn whoever_gives_another_a_password_is_told_of() {
        assert_eq!(given_by("user alice"), []);
        let given = given_by("user mallory").remove(0);
        let found = Password { given, has_second_factor: false };
        assert_eq!(LoginProfile::plan(&found).changes, std::slice::from_ref(&found));
        let described = LoginProfile::describe(&found, &found);
        assert_eq!(
            described.plus,
            [
                "user/alice has a password: UpdateLoginProfile by user mallory",
                "user/alice has no second factor"
            ]
        );
        let asked = Given { did: None, ..found.given };
        assert!(
            LoginProfile::plan(&Password { given: asked, has_second_factor: false }).is_empty()
        );
    }
}
