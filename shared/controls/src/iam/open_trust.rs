//! Takes strangers out of who may become a role.
//!
//! ## What it fixes
//! The trust policy of a role that was made, or changed, so that everyone or an account that nobody vouched for may take the
//! role. Exactly these principals go, and statements in which nobody else is named; the rest keeps its order and its bytes. A
//! trust policy of which nothing would be left says that nobody may take the role.
//!
//! The account itself, the accounts and organisations of the policy file's `trusted`, services of AWS and identity providers
//! stay. So does who is narrowed by a condition to a trusted organisation or account. An external id makes nobody known.
//!
//! Nothing is done, and people are told why, where it is a role of Quell, of a service of AWS, of Identity Center, one by
//! which an organisation comes into its accounts, or where `break_glass` names it.
//!
//! ## Why it matters
//! A role that another account may take is a way in that no password and no key of this account closes. It is the usual way to
//! stay.
//!
//! ## What can break
//! Vendors, sister accounts and pipelines that take the role cannot any more, unless the policy file trusts their account.
//! Sessions that they have go on until they end.
//!
//! ## Undo
//! Writes the trust policy as it was, to the byte.

use std::collections::BTreeMap;

use quell_engine::{
    Background, CallError, Clients, Control, Description, During, Effect, Listen, Meta, Plan,
    Progress, Safety, Severity, Signal, Trigger, aws::OrMissing, control::TargetError,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    holder::{Holder, Policies, unreadable},
    principal::{Kind, Principal},
};
use crate::{
    partition,
    policy::{
        document::{self, Left, Unreadable, decoded},
        who::{Known, Policy},
    },
};

const READ: &str = "iam:GetRole";
const UPDATE: &str = "iam:UpdateAssumeRolePolicy";

/// IAM takes no trust policy without a statement.
const NOBODY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}]}"#;

pub struct OpenTrust(Policies);

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Trust {
    pub role: Principal,
    pub text: String,
    pub account: String,
    /// Of the trusted accounts, those that the text names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<String>,
    /// Of the trusted organisations, those that the text names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub organisations: Vec<String>,
    /// Whether people get in by this role when all else fails.
    #[serde(default)]
    pub is_break_glass: bool,
}

/// The trust policy that is to be.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Put {
    pub text: String,
}

impl Control for OpenTrust {
    const META: Meta = Meta {
        id: "iam-open-trust",
        title: "Only who is known may take a role",
        risk: "Others than this account may become the role, and do whatever it may.",
        severity: Severity::Critical,
        safety: Safety::NeedsApproval,
        reversible: true,
        satisfies: &["nist-800-53-r5/AC-3", "nist-800-53-r5/AC-6", "nist-800-53-r5/AC-17"],
        function: "iam-privilege",
        listens: &[
            Listen::ApiCall {
                source: "aws.iam",
                service: "iam.amazonaws.com",
                calls: &["CreateRole", "UpdateAssumeRolePolicy"],
            },
            Listen::AccessAnalyzer { resource_type: "AWS::IAM::Role" },
        ],
        discovers: &[],
        reads: &[READ, "iam:ListRoleTags"],
        writes: &[UPDATE],
        baseline: false,
        visible_within: 30,
        source: file!(),
    };

    const IS_GLOBAL: bool = true;

    type Target = Principal;
    type State = Trust;
    type Change = Put;

    fn connect(aws: &Clients) -> Self {
        Self(Policies::new(aws))
    }

    fn targets(signal: &Signal) -> Result<Vec<Principal>, TargetError> {
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        let role = |text: &str| {
            Principal::parse(text, &signal.account).filter(|found| found.kind() == Kind::Role)
        };
        let (field, found) = match &signal.trigger {
            Trigger::ApiCall { parameters, .. } => {
                let name = parameters.get("roleName").and_then(Value::as_str);
                ("requestParameters.roleName", name.and_then(Principal::role))
            }
            Trigger::AccessAnalyzer { resource, .. } => ("detail.resource", role(resource)),
            Trigger::Manual { resource, .. } => ("detail.resource", role(resource.trim())),
            _ => return Ok(Vec::new()),
        };
        let reason = "it names no role of this account".to_owned();
        let found = found.ok_or(TargetError { control: Self::META.id, field, reason })?;
        Ok(vec![found])
    }

    async fn assess(&self, role: &Principal) -> Result<Option<Trust>, CallError> {
        let found = self.0.client.get_role().role_name(role.name()).send().await.during(READ);
        let found = found.or_missing(&["NoSuchEntity"])?.and_then(|found| found.role);
        let Some(text) = found.and_then(|role| role.assume_role_policy_document) else {
            return Ok(None);
        };
        let trust = Trust {
            role: role.clone(),
            text: decoded(&text).map_err(unreadable)?,
            account: self.0.account.clone(),
            accounts: Vec::new(),
            organisations: Vec::new(),
            is_break_glass: false,
        };
        trust.left().map_err(unreadable)?;
        Ok(Some(trust))
    }

    fn inform(state: &mut Trust, background: &Background<'_, Trust>) {
        let trusted = background.trusted;
        let named = |all: &[String]| {
            all.iter()
                .filter(|one| !one.is_empty() && state.text.contains(one.as_str()))
                .cloned()
                .collect()
        };
        let (accounts, organisations) = (named(&trusted.accounts), named(&trusted.organisations));
        (state.accounts, state.organisations) = (accounts, organisations);
        state.is_break_glass = state.role.is_break_glass(trusted);
    }

    fn withheld(state: &Trust) -> Option<String> {
        let role = &state.role;
        role.withheld(state.is_break_glass).or_else(|| {
            is_organisations(role.name()).then(|| {
                format!(
                    "{role}: by a role of this name an organisation comes into its accounts; `trusted` in the policy file may name its account"
                )
            })
        })
    }

    /// `assess` lets no other policy through than one that can be read.
    fn plan(state: &Trust) -> Plan<Put> {
        match state.left() {
            Ok(Left::Rest(text)) => Plan::one(Put { text }),
            Ok(Left::Nothing) => Plan::one(Put { text: NOBODY.to_owned() }),
            Ok(Left::Same) | Err(_) => Plan::nothing(),
        }
    }

    async fn apply(
        &self,
        role: &Principal,
        put: &Put,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        let update = self.0.client.update_assume_role_policy().role_name(role.name());
        update.policy_document(&put.text).send().await.during(UPDATE)?;
        Ok(None)
    }

    fn revert(before: &Trust, after: &Trust) -> Plan<Put> {
        if Self::same(before, after) {
            return Plan::nothing();
        }
        Plan::one(Put { text: before.text.clone() })
    }

    fn describe(state: &Trust, put: &Put) -> Description {
        let lines = |text: &str| {
            let lines = Policy::parse(text).map(|policy| policy.lines()).unwrap_or_default();
            let lines = lines.into_iter().map(|line| format!("trust of {}: {line}", state.role));
            lines.collect::<Vec<_>>()
        };
        let (old, new) = (lines(&state.text), lines(&put.text));
        let beside = |all: &[String], others: &[String]| {
            all.iter().filter(|line| !others.contains(line)).cloned().collect()
        };
        Description {
            action: UPDATE.to_owned(),
            effect: Effect::Set,
            minus: beside(&old, &new),
            plus: beside(&new, &old),
        }
    }

    fn console(role: &Principal, region: &str) -> String {
        role.console(region)
    }

    fn arn(role: &Principal, account: &str, region: &str) -> String {
        role.arn(partition::of(region), account)
    }

    async fn tags(&self, role: &Principal) -> Result<BTreeMap<String, String>, CallError> {
        self.0.tags(&Holder::Principal(role.clone())).await
    }

    /// The text alone is changed and given back.
    fn same(one: &Trust, other: &Trust) -> bool {
        one.role == other.role && document::same(&one.text, &other.text)
    }
}

impl Trust {
    fn left(&self) -> Result<Left, Unreadable> {
        let own = std::iter::once(&self.account);
        let accounts: Vec<&str> = own.chain(&self.accounts).map(String::as_str).collect();
        let organisations: Vec<&str> = self.organisations.iter().map(String::as_str).collect();
        let known = Known { accounts: &accounts, organisations: &organisations };
        Policy::parse(&self.text)?.without_unknown(&known)
    }
}

/// Roles that trust the management account, or the one that it delegates to, and that AWS makes under these names.
/// <https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_accounts_access-cross-account-role.html>
/// <https://docs.aws.amazon.com/controltower/latest/userguide/roles-how.html>
fn is_organisations(name: &str) -> bool {
    name == "OrganizationAccountAccessRole"
        || name == "AWSControlTowerExecution"
        || name.starts_with("aws-controltower-")
        || name.starts_with("stacksets-exec-")
}

#[cfg(test)]
mod tests {
    use quell_engine::policy::Trusted;

    use super::*;

    const OWN: &str = r#"{ "Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"sts:AssumeRole"}"#;
    const SERVICE: &str = r#"{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}"#;
    const STRANGER: &str = r#"{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::999999999999:root"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"x"}}}"#;
    const EVERYONE: &str =
        r#"{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}"#;
    const ORGANISATION: &str = r#"{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-a1b2c3d4e5"}}}"#;
    const PROVIDER: &str = r#"{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::123456789012:saml-provider/x"},"Action":"sts:AssumeRoleWithSAML"}"#;

    fn trust(statements: &[&str], trusted: &Trusted) -> Trust {
        let mut trust = Trust {
            role: Principal::role("deploy").unwrap(),
            text: format!("{{ \"Statement\": [{}] }}", statements.join(" , ")),
            account: "123456789012".into(),
            accounts: Vec::new(),
            organisations: Vec::new(),
            is_break_glass: false,
        };
        OpenTrust::inform(&mut trust, &Background { trusted, baseline: None });
        trust
    }

    #[test]
    fn strangers_and_everyone_go_and_the_rest_keeps_its_bytes() {
        let nobody = &Trusted::NOBODY;
        let before = trust(&[OWN, STRANGER, SERVICE, EVERYONE, PROVIDER, ORGANISATION], nobody);
        let after = trust(&[OWN, SERVICE, PROVIDER], nobody);
        assert_eq!(OpenTrust::plan(&before).changes, [Put { text: after.text.clone() }]);
        assert!(OpenTrust::plan(&after).is_empty());
        let undo = OpenTrust::revert(&before, &after);
        assert_eq!(undo.changes, [Put { text: before.text.clone() }]);
        let all = OpenTrust::plan(&trust(&[STRANGER], nobody));
        assert_eq!(all.changes, [Put { text: NOBODY.to_owned() }]);
        assert!(OpenTrust::plan(&Trust { text: NOBODY.to_owned(), ..after }).is_empty());
    }

    #[test]
    fn of_several_principals_only_the_stranger_goes() {
        let list = OWN.replace(
            r#""arn:aws:iam::123456789012:root""#,
            r#"["arn:aws:iam::123456789012:root", "999999999999"]"#,
        );
        let one = list.replace(r#", "999999999999""#, "");
        let plan = OpenTrust::plan(&trust(&[&list], &Trusted::NOBODY));
        assert_eq!(plan.changes, [Put { text: trust(&[&one], &Trusted::NOBODY).text }]);
    }

    #[test]
    fn whom_the_policy_file_trusts_stays() {
        let trusted = Trusted {
            accounts: vec!["999999999999".into()],
            organisations: vec!["o-a1b2c3d4e5".into()],
            ..Trusted::NOBODY
        };
        assert!(OpenTrust::plan(&trust(&[OWN, STRANGER, ORGANISATION], &trusted)).is_empty());
        assert!(!OpenTrust::plan(&trust(&[EVERYONE], &trusted)).is_empty());
    }

    #[test]
    fn some_roles_are_left_alone() {
        for (name, why) in [
            ("OrganizationAccountAccessRole", "an organisation comes"),
            ("AWSServiceRoleForSupport", "belongs to a service"),
            ("AWSReservedSSO_Admin_0123456789ab", "Identity Center"),
        ] {
            let role = Principal::role(name).unwrap();
            let found = Trust { role, ..trust(&[EVERYONE], &Trusted::NOBODY) };
            assert!(OpenTrust::withheld(&found).unwrap().contains(why), "{name}");
        }
        assert_eq!(OpenTrust::withheld(&trust(&[EVERYONE], &Trusted::NOBODY)), None);
    }
}
