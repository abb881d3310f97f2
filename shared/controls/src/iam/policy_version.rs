//! Takes a policy back to the version before the one that makes administrators.
//!
//! ## What it fixes
//! A managed policy of the account whose default version makes administrators of all who have it, while an earlier one does
//! not. The newest of the versions that do not is made the default again; no version is deleted.
//!
//! Nothing is done, and people are told why, where it belongs to Quell, where `break_glass` of the policy file names a user or
//! role that has it, or where nobody but who has it may administer the account.
//!
//! ## Why it matters
//! Who may write a new version of a policy that one has oneself, or make another version the default, has what that version
//! says. Nothing is attached, and no name changes.
//!
//! ## What can break
//! What the new version was meant to allow beside is not allowed any more.
//!
//! ## Undo
//! Makes the version the default again that was.

use std::{collections::BTreeMap, fmt};

use quell_engine::{
    Background, CallError, Clients, Control, Description, During, Effect, Listen, Meta, Plan,
    Progress, Safety, Severity, Signal, Trigger, aws::OrMissing, control::TargetError,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    holder::{Policies, unreadable},
    principal::{self, Principal, in_link},
};
use crate::{
    partition,
    policy::{document::decoded, what::Powers},
};

const VERSIONS: &str = "iam:ListPolicyVersions";
const READ: &str = "iam:GetPolicyVersion";
const HOLDERS: &str = "iam:ListEntitiesForPolicy";
const SET: &str = "iam:SetDefaultPolicyVersion";

pub struct PolicyVersion {
    iam: Policies,
    partition: &'static str,
}

/// A managed policy of the account's own. As text: `policy/deploy`, with its path.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Managed(String);

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Versions {
    pub policy: Managed,
    /// The number of the default version: 3 for `v3`.
    pub default: u32,
    /// By their numbers, whether each makes administrators. Only the default one, where that does not.
    pub administer: BTreeMap<u32, bool>,
    /// Users and roles that have the policy themselves. Asked only where something is wrong.
    pub held_by: Vec<Principal>,
    /// Whether somebody could still administer the account. Asked only where something is wrong.
    pub others_administer: Option<bool>,
    /// What a person wants to know of the default version.
    #[serde(default)]
    pub remarks: Vec<String>,
    /// Of those who have it, one by whom people get in when all else fails.
    #[serde(default)]
    pub break_glass: Option<Principal>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SetDefault {
    pub version: u32,
}

impl Control for PolicyVersion {
    const META: Meta = Meta {
        id: "iam-policy-version",
        title: "No new version of a policy makes administrators of those who have it",
        risk: "Everybody who has this policy can do everything in the account, and give the same to others.",
        severity: Severity::Critical,
        safety: Safety::NeedsApproval,
        reversible: true,
        satisfies: &["cis-aws-v3.0.0/1.16", "nist-800-53-r5/AC-6", "securityhub/IAM.1"],
        function: "iam-privilege",
        listens: &[
            Listen::ApiCall {
                source: "aws.iam",
                service: "iam.amazonaws.com",
                calls: &["CreatePolicyVersion", "SetDefaultPolicyVersion"],
            },
            // https://docs.aws.amazon.com/securityhub/latest/userguide/iam-controls.html#iam-1
            Listen::SecurityHub { generators: &["/IAM.1"], resource_type: "AwsIamPolicy" },
        ],
        discovers: &[],
        reads: &[READ, "iam:GetGroup", "iam:GetRole", HOLDERS, "iam:ListPolicyTags", VERSIONS],
        writes: &[SET],
        baseline: false,
        visible_within: 30,
        source: file!(),
    };

    const IS_GLOBAL: bool = true;

    type Target = Managed;
    type State = Versions;
    type Change = SetDefault;

    fn connect(aws: &Clients) -> Self {
        Self { iam: Policies::new(aws), partition: partition::of(aws.region()) }
    }

    fn targets(signal: &Signal) -> Result<Vec<Managed>, TargetError> {
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        let (field, named) = match &signal.trigger {
            Trigger::ApiCall { parameters, .. } => (
                "requestParameters.policyArn",
                parameters.get("policyArn").and_then(Value::as_str).unwrap_or_default(),
            ),
            Trigger::SecurityHub { resource, .. } => {
                ("detail.findings[].Resources[].Id", resource.as_str())
            }
            Trigger::Manual { resource, .. } => ("detail.resource", resource.trim()),
            _ => return Ok(Vec::new()),
        };
        let found = Managed::parse(named, &signal.account);
        let reason = "it names no managed policy of this account".to_owned();
        let found = found.ok_or(TargetError { control: Self::META.id, field, reason })?;
        Ok(vec![found])
    }

    async fn assess(&self, policy: &Managed) -> Result<Option<Versions>, CallError> {
        let arn = policy.arn(self.partition, &self.iam.account);
        // There are five at most.
        let listed = self.iam.client.list_policy_versions().policy_arn(&arn);
        let listed = listed.send().await.during(VERSIONS).or_missing(&["NoSuchEntity"])?;
        let Some(listed) = listed else { return Ok(None) };
        let number = |id: &str| id.strip_prefix('v')?.parse::<u32>().ok();
        let mut numbers: Vec<u32> = Vec::new();
        let mut default = None;
        for version in listed.versions.unwrap_or_default() {
            let Some(found) = version.version_id().and_then(number) else { continue };
            numbers.push(found);
            if version.is_default_version {
                default = Some(found);
            }
        }
        let Some(default) = default else { return Ok(None) };
        let mut found = Versions {
            policy: policy.clone(),
            default,
            administer: BTreeMap::new(),
            held_by: Vec::new(),
            others_administer: None,
            remarks: Vec::new(),
            break_glass: None,
        };
        let Some(remarks) = self.read(&arn, default, &mut found).await? else { return Ok(None) };
        found.remarks = remarks;
        if found.administer[&default] {
            for version in numbers.into_iter().filter(|&number| number != default) {
                self.read(&arn, version, &mut found).await?;
            }
        }
        if !Self::plan(&found).is_empty() {
            found.held_by = self.held_by(&arn).await?;
            found.others_administer = Some(self.iam.anybody_administers(self.partition).await?);
        }
        Ok(Some(found))
    }

    fn inform(state: &mut Versions, background: &Background<'_, Versions>) {
        let glass = state.held_by.iter().find(|one| one.is_break_glass(background.trusted));
        state.break_glass = glass.cloned();
    }

    /// Which version counts: versions come and go without a meaning of their own.
    fn same(one: &Versions, other: &Versions) -> bool {
        one.policy == other.policy
            && one.default == other.default
            && one.administer.get(&one.default) == other.administer.get(&other.default)
    }

    fn withheld(state: &Versions) -> Option<String> {
        let why = if let Some(principal) = &state.break_glass {
            format!("{principal} has it, whom the policy's `break_glass` names")
        } else if principal::is_of_stack(state.policy.name()) {
            "it is a policy of Quell's own".to_owned()
        } else if state.others_administer == Some(false) {
            "who has it may be the last administrators: nobody has AdministratorAccess".to_owned()
        } else {
            return None;
        };
        Some(format!("{}: {why}", state.policy))
    }

    /// The newest version before it that makes no administrators, or else the newest of all.
    fn plan(state: &Versions) -> Plan<SetDefault> {
        if state.administer.get(&state.default) != Some(&true) {
            return Plan::nothing();
        }
        let others = state.administer.iter().filter(|(_, administers)| !**administers);
        let others: Vec<u32> = others.map(|(&version, _)| version).collect();
        let before = others.iter().rfind(|&&version| version < state.default);
        before
            .or(others.last())
            .map_or_else(Plan::nothing, |&version| Plan::one(SetDefault { version }))
    }

    async fn apply(
        &self,
        policy: &Managed,
        set: &SetDefault,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        let arn = policy.arn(self.partition, &self.iam.account);
        let version = format!("v{}", set.version);
        let set = self.iam.client.set_default_policy_version().policy_arn(arn).version_id(version);
        set.send().await.during(SET)?;
        Ok(None)
    }

    fn revert(before: &Versions, after: &Versions) -> Plan<SetDefault> {
        if before.default == after.default {
            Plan::nothing()
        } else {
            Plan::one(SetDefault { version: before.default })
        }
    }

    fn describe(state: &Versions, set: &SetDefault) -> Description {
        let line = |version: u32| {
            let administers = state.administer.get(&version) == Some(&true);
            let says = if administers { ", which makes administrators" } else { "" };
            vec![format!("{}: default version v{version}{says}", state.policy)]
        };
        Description {
            action: SET.to_owned(),
            effect: Effect::Set,
            minus: line(state.default),
            plus: line(set.version),
        }
    }

    fn notes(state: &Versions) -> Vec<String> {
        let mut notes = state.remarks.clone();
        if !state.held_by.is_empty() {
            let held: Vec<String> = state.held_by.iter().map(ToString::to_string).collect();
            notes.push(format!("attached to {}", held.join(", ")));
        }
        notes
    }

    fn console(policy: &Managed, region: &str) -> String {
        let console = partition::console("iam", partition::first_region(region));
        // Its ARN, as the console has it: only the name and path are anyone's.
        let path: Vec<String> = policy.0.split('/').map(in_link).collect();
        format!("{console}#/policies?search={}", path.last().map_or("", String::as_str))
    }

    fn arn(policy: &Managed, account: &str, region: &str) -> String {
        policy.arn(partition::of(region), account)
    }

    async fn tags(&self, policy: &Managed) -> Result<BTreeMap<String, String>, CallError> {
        let arn = policy.arn(self.partition, &self.iam.account);
        let tags = self.iam.client.list_policy_tags().policy_arn(arn).send().await;
        let tags = tags.during("iam:ListPolicyTags")?.tags;
        Ok(tags.into_iter().map(|tag| (tag.key, tag.value)).collect())
    }
}

impl PolicyVersion {
    /// Judges a version. What a person wants to know of it; `None`: it is gone.
    async fn read(
        &self,
        arn: &str,
        version: u32,
        found: &mut Versions,
    ) -> Result<Option<Vec<String>>, CallError> {
        let read = self.iam.client.get_policy_version().policy_arn(arn);
        let read = read.version_id(format!("v{version}")).send().await.during(READ);
        let text =
            read.or_missing(&["NoSuchEntity"])?.and_then(|read| read.policy_version?.document);
        let Some(text) = text else { return Ok(None) };
        let text = decoded(&text).map_err(unreadable)?;
        let powers = Powers::parse(&text, &self.iam.account).map_err(unreadable)?;
        found.administer.insert(version, powers.are_administrative());
        Ok(Some(powers.notes()))
    }

    async fn held_by(&self, arn: &str) -> Result<Vec<Principal>, CallError> {
        let (mut held_by, mut next) = (Vec::new(), None);
        loop {
            let page = self.iam.client.list_entities_for_policy().policy_arn(arn).set_marker(next);
            let page = page.send().await.during(HOLDERS).or_missing(&["NoSuchEntity"])?;
            let Some(page) = page else { return Ok(held_by) };
            let users = page.policy_users.iter().flatten();
            held_by.extend(users.filter_map(|user| Principal::user(user.user_name()?)));
            let roles = page.policy_roles.iter().flatten();
            held_by.extend(roles.filter_map(|role| Principal::role(role.role_name()?)));
            next = page.marker.filter(|_| page.is_truncated);
            if next.is_none() {
                return Ok(held_by);
            }
        }
    }
}

impl Managed {
    /// From `policy/deploy`, or from an ARN.
    fn parse(text: &str, account: &str) -> Option<Self> {
        let resource = match text.strip_prefix("arn:") {
            None => text,
            Some(rest) => {
                let parts: Vec<&str> = rest.splitn(5, ':').collect();
                let [_, "iam", "", owner, resource] = parts.as_slice() else { return None };
                (*owner == account).then_some(*resource)?
            }
        };
        let path = resource.strip_prefix("policy/")?;
        // https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
        let is_path = path.len() <= 512
            && path.split('/').all(|part| {
                !part.is_empty()
                    && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"+=,.@_-".contains(&b))
            });
        (is_path && path.rsplit('/').next()?.len() <= 128).then(|| Self(path.to_owned()))
    }

    fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    fn arn(&self, partition: &str, account: &str) -> String {
        format!("arn:{partition}:iam::{account}:{self}")
    }
}

impl fmt::Display for Managed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "policy/{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(default: u32, administer: &[(u32, bool)]) -> Versions {
        Versions {
            policy: Managed("deploy".into()),
            default,
            administer: administer.iter().copied().collect(),
            held_by: Vec::new(),
            others_administer: Some(true),
            remarks: Vec::new(),
            break_glass: None,
        }
    }

    fn planned(default: u32, administer: &[(u32, bool)]) -> Option<u32> {
        PolicyVersion::plan(&versions(default, administer)).changes.first().map(|set| set.version)
    }

    #[test]
    fn the_newest_harmless_version_before_it_counts_again() {
        for (default, administer, back) in [
            (3, &[(1, false), (2, false), (3, true)][..], Some(2)),
            (3, &[(1, false), (2, true), (3, true), (4, false)], Some(1)),
            // An old one was made the default.
            (1, &[(1, true), (2, false), (4, false)], Some(4)),
            // It always made administrators: nobody changed that.
            (2, &[(1, true), (2, true)], None),
            (2, &[(2, false)], None),
        ] {
            assert_eq!(planned(default, administer), back, "{default} of {administer:?}");
        }
        let (before, after) = (versions(3, &[(3, true), (2, false)]), versions(2, &[(2, false)]));
        assert_eq!(PolicyVersion::revert(&before, &after).changes, [SetDefault { version: 3 }]);
        assert!(!PolicyVersion::same(&before, &after));
    }

    #[test]
    fn some_policies_are_left_alone() {
        let found = versions(2, &[(1, false), (2, true)]);
        assert_eq!(PolicyVersion::withheld(&found), None);
        for (left, why) in [
            (Versions { others_administer: Some(false), ..found.clone() }, "last administrators"),
            (Versions { policy: Managed("quell-Guardrails-1".into()), ..found.clone() }, "own"),
            (Versions { break_glass: Principal::user("glass"), ..found }, "break_glass"),
        ] {
            assert!(PolicyVersion::withheld(&left).unwrap().contains(why), "{why}");
        }
    }

    #[test]
    fn a_policy_is_one_of_the_account() {
        let account = "123456789012";
        for text in ["policy/teams/deploy", "arn:aws:iam::123456789012:policy/teams/deploy"] {
            let policy = Managed::parse(text, account).unwrap();
            assert_eq!(policy.to_string(), "policy/teams/deploy");
            assert_eq!(policy.name(), "deploy");
        }
        for bad in [
            "deploy",
            "policy/",
            "policy/a//b",
            "policy/a b",
            "arn:aws:iam::aws:policy/AdministratorAccess",
            "arn:aws:iam::210987654321:policy/deploy",
        ] {
            assert_eq!(Managed::parse(bad, account), None, "{bad}");
        }
    }
}
