//! Keeps the account's password policy strong.
//!
//! ## What it fixes
//! A password policy that allows passwords of fewer than 14 characters, or one of the last 24 again, or that was deleted.
//! Exactly these two are raised; everything else that the policy says stays. Where there is no policy, AWS's default counts,
//! and it is replaced by one that asks for 14 characters of all four kinds.
//!
//! ## Why it matters
//! Whoever guesses the password of a user signs in to the console. A weaker policy is also how somebody who is in makes room
//! for a password of their own.
//!
//! ## What can break
//! Passwords that exist go on working. Who changes theirs has to choose one that fits. Whether passwords expire is not
//! touched: that locks people out.
//!
//! ## Undo
//! Writes the policy as it was, all of it in one call, or deletes it if there was none.

use std::{collections::BTreeMap, fmt};

use aws_sdk_iam::Client;
use quell_engine::{
    CallError, Clients, Control, Description, Discovered, During, Effect, Listen, Meta, Plan,
    Progress, Safety, Severity, Signal, Trigger, aws::OrMissing, control::TargetError,
};
use serde::{Deserialize, Serialize};

use super::principal;
use crate::partition;

/// CIS AWS Foundations Benchmark 3.0, 1.8 and 1.9.
const LENGTH: i32 = 14;
const REMEMBERED: i32 = 24;

const READ: &str = "iam:GetAccountPasswordPolicy";
const UPDATE: &str = "iam:UpdateAccountPasswordPolicy";
const DELETE: &str = "iam:DeleteAccountPasswordPolicy";

pub struct PasswordPolicy(Client);

/// The setting, of which an account has one. As text: `password-policy`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Setting;

const NAME: &str = "password-policy";

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)
    }
}

/// All of what the policy says: what a call leaves out falls back to AWS's default.
/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateAccountPasswordPolicy.html>
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Rules {
    pub length: i32,
    pub symbols: bool,
    pub numbers: bool,
    pub upper: bool,
    pub lower: bool,
    /// Whether users may change their own.
    pub own: bool,
    /// Days. `None`: never expires.
    pub age: Option<i32>,
    /// How many of the last ones may not be used again.
    pub remembered: Option<i32>,
    /// Whether an administrator has to help who let theirs expire.
    pub hard_expiry: Option<bool>,
}

/// `None`: AWS's default.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Wanted(pub Option<Rules>);

impl Control for PasswordPolicy {
    const META: Meta = Meta {
        id: "iam-password-policy",
        title: "The password policy asks for long passwords that were not used before",
        risk: "Users of the console may choose short passwords, or the old one again.",
        severity: Severity::Medium,
        safety: Safety::Safe,
        reversible: true,
        satisfies: &[
            "cis-aws-v3.0.0/1.8",
            "cis-aws-v3.0.0/1.9",
            "nist-800-53-r5/IA-5(1)",
            "securityhub/IAM.15",
            "securityhub/IAM.16",
        ],
        function: "iam-privilege",
        listens: &[
            Listen::ApiCall {
                source: "aws.iam",
                service: "iam.amazonaws.com",
                calls: &["DeleteAccountPasswordPolicy", "UpdateAccountPasswordPolicy"],
            },
            // https://docs.aws.amazon.com/guardduty/latest/ug/guardduty_finding-types-iam.html
            Listen::GuardDuty {
                types: &["Stealth:IAMUser/PasswordPolicyChange"],
                min_severity: 0.0,
            },
            // https://docs.aws.amazon.com/securityhub/latest/userguide/iam-controls.html
            Listen::SecurityHub {
                generators: &["/IAM.15", "/IAM.16"],
                resource_type: "AwsAccount",
            },
        ],
        discovers: &[READ],
        reads: &[READ],
        writes: &[DELETE, UPDATE],
        baseline: false,
        visible_within: 0,
        source: file!(),
    };

    const IS_GLOBAL: bool = true;

    type Target = Setting;
    type State = Wanted;
    type Change = Wanted;

    fn connect(aws: &Clients) -> Self {
        Self(principal::client(aws))
    }

    fn targets(signal: &Signal) -> Result<Vec<Setting>, TargetError> {
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        match &signal.trigger {
            Trigger::Manual { resource, .. } if resource.trim() != NAME => Err(TargetError {
                control: Self::META.id,
                field: "detail.resource",
                reason: format!("there is one password policy, and it is called {NAME}"),
            }),
            _ => Ok(vec![Setting]),
        }
    }

    async fn discover(&self, _: Option<&str>) -> Result<Discovered<Setting>, CallError> {
        Ok(Discovered { targets: vec![Setting], next: None })
    }

    async fn assess(&self, _: &Setting) -> Result<Option<Wanted>, CallError> {
        let found = self.0.get_account_password_policy().send().await.during(READ);
        let found = found.or_missing(&["NoSuchEntity"])?.and_then(|found| found.password_policy);
        Ok(Some(Wanted(found.map(|policy| Rules {
            // AWS's default, says the page above.
            length: policy.minimum_password_length.unwrap_or(6),
            symbols: policy.require_symbols,
            numbers: policy.require_numbers,
            upper: policy.require_uppercase_characters,
            lower: policy.require_lowercase_characters,
            own: policy.allow_users_to_change_password,
            age: policy.max_password_age.filter(|_| policy.expire_passwords),
            remembered: policy.password_reuse_prevention,
            hard_expiry: policy.hard_expiry,
        }))))
    }

    fn plan(found: &Wanted) -> Plan<Wanted> {
        let wanted = match &found.0 {
            // AWS's default asks for three of the four kinds: all of them is no weaker.
            None => Rules {
                length: LENGTH,
                symbols: true,
                numbers: true,
                upper: true,
                lower: true,
                remembered: Some(REMEMBERED),
                ..Rules::default()
            },
            Some(rules) => Rules {
                length: rules.length.max(LENGTH),
                remembered: rules.remembered.max(Some(REMEMBERED)),
                ..rules.clone()
            },
        };
        let wanted = Wanted(Some(wanted));
        if *found == wanted { Plan::nothing() } else { Plan::one(wanted) }
    }

    async fn apply(
        &self,
        _: &Setting,
        Wanted(rules): &Wanted,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        let Some(rules) = rules else {
            let deleted = self.0.delete_account_password_policy().send().await.during(DELETE);
            deleted.or_missing(&["NoSuchEntity"])?;
            return Ok(None);
        };
        self.0
            .update_account_password_policy()
            .minimum_password_length(rules.length)
            .require_symbols(rules.symbols)
            .require_numbers(rules.numbers)
            .require_uppercase_characters(rules.upper)
            .require_lowercase_characters(rules.lower)
            .allow_users_to_change_password(rules.own)
            .set_max_password_age(rules.age)
            .set_password_reuse_prevention(rules.remembered)
            .set_hard_expiry(rules.hard_expiry)
            .send()
            .await
            .during(UPDATE)?;
        Ok(None)
    }

    fn revert(before: &Wanted, after: &Wanted) -> Plan<Wanted> {
        if before == after { Plan::nothing() } else { Plan::one(before.clone()) }
    }

    fn describe(found: &Wanted, wanted: &Wanted) -> Description {
        let (old, new) = (lines(found), lines(wanted));
        let beside = |all: &[String], others: &[String]| {
            all.iter().filter(|line| !others.contains(line)).cloned().collect()
        };
        Description {
            action: if wanted.0.is_some() { UPDATE } else { DELETE }.to_owned(),
            effect: Effect::Set,
            minus: beside(&old, &new),
            plus: beside(&new, &old),
        }
    }

    fn console(_: &Setting, region: &str) -> String {
        let console = partition::console("iam", partition::first_region(region));
        format!("{console}#/account_settings")
    }

    fn arn(_: &Setting, account: &str, region: &str) -> String {
        format!("arn:{}:iam::{account}:{NAME}", partition::of(region))
    }

    /// A setting has no tags.
    async fn tags(&self, _: &Setting) -> Result<BTreeMap<String, String>, CallError> {
        Ok(BTreeMap::new())
    }
}

fn lines(Wanted(rules): &Wanted) -> Vec<String> {
    let Some(rules) = rules else {
        return vec!["no password policy: AWS's default, 8 characters".to_owned()];
    };
    let count = |count: Option<i32>, none: &str| count.map_or(none.to_owned(), |n| n.to_string());
    vec![
        format!("passwords: at least {} characters", rules.length),
        format!("passwords: last {} not used again", count(rules.remembered, "0")),
        format!("passwords: expire after {} days", count(rules.age, "no number of")),
        format!(
            "passwords: symbols {}, numbers {}, upper case {}, lower case {}",
            rules.symbols, rules.numbers, rules.upper, rules.lower
        ),
        format!("passwords: users may change their own: {}", rules.own),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_too_weak_is_raised() {
        let weak = Rules { length: 8, own: true, age: Some(60), ..Rules::default() };
        let raised = Rules { length: LENGTH, remembered: Some(REMEMBERED), ..weak.clone() };
        let (before, after) = (Wanted(Some(weak)), Wanted(Some(raised)));
        assert_eq!(PasswordPolicy::plan(&before).changes, std::slice::from_ref(&after));
        assert!(PasswordPolicy::plan(&after).is_empty());
        assert_eq!(PasswordPolicy::revert(&before, &after).changes, std::slice::from_ref(&before));
        let described = PasswordPolicy::describe(&before, &after);
        assert_eq!(described.minus.len(), 2, "{described:?}");

        let long = Rules { length: 20, remembered: Some(24), ..Rules::default() };
        assert!(PasswordPolicy::plan(&Wanted(Some(long))).is_empty());
    }

    #[test]
    fn where_there_is_none_one_is_made_and_undo_deletes_it() {
        let none = Wanted(None);
        let plan = PasswordPolicy::plan(&none);
        let made = plan.changes[0].clone();
        assert!(PasswordPolicy::plan(&made).is_empty());
        assert_eq!(PasswordPolicy::revert(&none, &made).changes, [none]);
    }
}
