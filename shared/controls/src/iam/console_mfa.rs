//! Lets who has a password but no second factor do nothing in the console but get one.
//!
//! ## What it fixes
//! A user with a console password and without a second factor: found when one signs in so, when a password is made, when a
//! factor is taken away, and by the sweep. The policy `<stack>-deny-unless-mfa-<region>` is attached to the user. It denies
//! everything to console sessions without a second factor, but for what it takes to set one up. Access keys go on working: it
//! is not about them.
//!
//! Who signs in by a federation or by Identity Center is no user of IAM and never meant: CloudTrail says "no MFA" of them
//! whatever their provider asked for.
//!
//! ## Why it matters
//! A password can be guessed, found or asked for. A second factor is what keeps it from being enough.
//!
//! ## What can break
//! Somebody in the console without a second factor can do nothing from the next call on, until they have set one up and signed
//! in anew. Sessions that a program gets for the user by `GetSessionToken` without a second factor are held back too.
//!
//! ## Undo
//! Detaches the policy.

use std::collections::BTreeMap;

use quell_engine::{
    Background, CallError, Clients, Control, Description, Discovered, Listen, Meta, Plan, Progress,
    Safety, Severity, Signal, Trigger, control::TargetError,
};
use serde::{Deserialize, Serialize};

use super::{
    access_key,
    console::Console,
    denial::{Attach, Denial},
    principal::Principal,
};
use crate::partition;

pub struct ConsoleMfa {
    console: Console,
    denial: Denial,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct SignsIn {
    pub user: Principal,
    pub has_password: bool,
    pub has_second_factor: bool,
    /// The policy that holds who has none back.
    pub policy: String,
    pub is_held_back: bool,
    /// Whether people get in by this user when all else fails.
    #[serde(default)]
    pub is_break_glass: bool,
}

impl Control for ConsoleMfa {
    const META: Meta = Meta {
        id: "iam-console-mfa",
        title: "Who signs in to the console by a password has a second factor",
        risk: "A password alone is enough to sign in as this user.",
        severity: Severity::High,
        safety: Safety::NeedsApproval,
        reversible: true,
        satisfies: &[
            "cis-aws-v3.0.0/1.10",
            "nist-800-53-r5/AC-2(1)",
            "nist-800-53-r5/IA-2(1)",
            "nist-800-53-r5/IA-2(2)",
            "securityhub/IAM.5",
        ],
        function: "iam-credentials",
        listens: &[
            Listen::SignIn { by: &["IAMUser"] },
            Listen::ApiCall {
                source: "aws.iam",
                service: "iam.amazonaws.com",
                calls: &["CreateLoginProfile", "DeactivateMFADevice"],
            },
            // https://docs.aws.amazon.com/securityhub/latest/userguide/iam-controls.html#iam-5
            Listen::SecurityHub { generators: &["/IAM.5", "/IAM.19"], resource_type: "AwsIamUser" },
        ],
        discovers: &[access_key::LIST_USERS],
        reads: &[
            Console::PASSWORD,
            Console::FACTORS,
            "iam:ListAttachedUserPolicies",
            access_key::TAGS,
        ],
        writes: &["iam:AttachUserPolicy", "iam:DetachUserPolicy"],
        baseline: false,
        visible_within: 30,
        source: file!(),
    };

    const IS_GLOBAL: bool = true;

    type Target = Principal;
    type State = SignsIn;
    type Change = Attach;

    fn connect(aws: &Clients) -> Self {
        Self { console: Console::new(aws), denial: Denial::new(aws, "deny-unless-mfa") }
    }

    fn targets(signal: &Signal) -> Result<Vec<Principal>, TargetError> {
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        let Trigger::SignIn { mfa } = &signal.trigger else {
            return access_key::user_named(signal, Self::META.id);
        };
        let by = signal.actor.as_ref().map(|actor| actor.principal.as_str());
        let Some(name) = by.and_then(|by| by.strip_prefix("user ")) else { return Ok(Vec::new()) };
        if *mfa == Some(true) {
            return Ok(Vec::new());
        }
        let user = Principal::user(name).ok_or_else(|| TargetError {
            control: Self::META.id,
            field: "detail.userIdentity.userName",
            reason: "it is not the name of a user".to_owned(),
        })?;
        Ok(vec![user])
    }

    async fn discover(&self, page: Option<&str>) -> Result<Discovered<Principal>, CallError> {
        access_key::users(&self.console.iam, page).await
    }

    async fn assess(&self, user: &Principal) -> Result<Option<SignsIn>, CallError> {
        let (has_password, has_second_factor, is_held_back) = tokio::try_join!(
            self.console.has_password(user),
            self.console.has_second_factor(user),
            self.denial.is_attached(user),
        )?;
        let found = has_second_factor.zip(is_held_back);
        Ok(found.map(|(has_second_factor, is_held_back)| SignsIn {
            user: user.clone(),
            has_password,
            has_second_factor,
            policy: self.denial.policy.clone(),
            is_held_back,
            is_break_glass: false,
        }))
    }

    fn inform(state: &mut SignsIn, background: &Background<'_, SignsIn>) {
        state.is_break_glass = state.user.is_break_glass(background.trusted);
    }

    /// Only what holds back is changed and given back.
    fn same(one: &SignsIn, other: &SignsIn) -> bool {
        one.user == other.user && one.is_held_back == other.is_held_back
    }

    fn withheld(state: &SignsIn) -> Option<String> {
        state.user.withheld(state.is_break_glass)
    }

    fn plan(state: &SignsIn) -> Plan<Attach> {
        if state.has_password && !state.has_second_factor && !state.is_held_back {
            Attach::plan(&state.policy)
        } else {
            Plan::nothing()
        }
    }

    async fn apply(
        &self,
        user: &Principal,
        change: &Attach,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        self.denial.apply(user, change).await
    }

    fn revert(before: &SignsIn, after: &SignsIn) -> Plan<Attach> {
        Attach::revert(&before.policy, before.is_held_back, after.is_held_back)
    }

    fn describe(state: &SignsIn, change: &Attach) -> Description {
        change.describe(&state.user, ": nothing in the console without a second factor")
    }

    fn console(user: &Principal, region: &str) -> String {
        user.console(region)
    }

    fn arn(user: &Principal, account: &str, region: &str) -> String {
        user.arn(partition::of(region), account)
    }

    async fn tags(&self, user: &Principal) -> Result<BTreeMap<String, String>, CallError> {
        access_key::tags(&self.console.iam, user).await
    }
}

#[cfg(test)]
mod tests {
    use quell_engine::signal::Actor;

    use super::*;
    use crate::s3::tests::signal;

    fn signed_in(principal: &str, mfa: Option<bool>) -> Vec<String> {
        let mut signal = signal(Trigger::SignIn { mfa });
        signal.actor = Some(Actor { principal: principal.into(), ..Actor::default() });
        let found = ConsoleMfa::targets(&signal).unwrap();
        found.iter().map(ToString::to_string).collect()
    }

    fn alice(has_second_factor: bool, is_held_back: bool) -> SignsIn {
        SignsIn {
            user: Principal::user("alice").unwrap(),
            has_password: true,
            has_second_factor,
            policy: "arn:aws:iam::123456789012:policy/quell-deny-unless-mfa-eu-west-1".into(),
            is_held_back,
            is_break_glass: false,
        }
    }

    #[test]
    fn only_users_of_iam_sign_in_without_a_second_factor() {
        assert_eq!(signed_in("user alice", Some(false)), ["user/alice"]);
        assert_eq!(signed_in("user alice", Some(true)), [""; 0]);
        // CloudTrail says "No" of all of these.
        for other in ["root", "role admin (session bob)", "SSO user bob@example.com"] {
            assert_eq!(signed_in(other, Some(false)), [""; 0], "{other}");
        }
    }

    #[test]
    fn who_has_no_second_factor_is_held_back_and_undo_lets_go() {
        let (before, after) = (alice(false, false), alice(false, true));
        let held = Attach { policy: before.policy.clone(), attached: true };
        assert_eq!(ConsoleMfa::plan(&before).changes, std::slice::from_ref(&held));
        for fine in [
            alice(true, false),
            after.clone(),
            SignsIn { has_password: false, ..alice(false, false) },
        ] {
            assert!(ConsoleMfa::plan(&fine).is_empty(), "{fine:?}");
        }
        let undo = Attach { attached: false, ..held };
        assert_eq!(ConsoleMfa::revert(&before, &after).changes, [undo]);
        assert!(ConsoleMfa::withheld(&SignsIn { is_break_glass: true, ..before }).is_some());
    }
}
