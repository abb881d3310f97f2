//! Which statements of an identity's policy make an administrator, and the policy without them.
//!
//! An administrator is who may do everything, or everything in IAM: with that one gives oneself the rest. What comes to
//! the same by a detour ([`ESCALATIONS`]) is told, and makes nobody an administrator: many deployments need it.

use quell_engine::policy::glob_matches;

use super::document::{
    Left, Unreadable, compact, elements, keeping, matches_action, statements, text_of, texts,
    unreadable,
};

/// What an identity's policy lets do.
#[derive(Debug)]
pub struct Powers<'a> {
    text: &'a str,
    statements: Vec<Statement<'a>>,
}

#[derive(Debug)]
struct Statement<'a> {
    text: &'a str,
    is_allow: bool,
    actions: Actions,
    is_administrative: bool,
    has_condition: bool,
}

#[derive(Debug)]
enum Actions {
    Only(Vec<String>),
    AllBut(Vec<String>),
}

/// With any of these on everybody one gives oneself all rights. Who may do all but other things is an administrator.
const GRANTS: &[&str] = &[
    "iam:AddUserToGroup",
    "iam:AttachGroupPolicy",
    "iam:AttachRolePolicy",
    "iam:AttachUserPolicy",
    "iam:CreateAccessKey",
    "iam:CreateLoginProfile",
    "iam:CreatePolicyVersion",
    "iam:PutGroupPolicy",
    "iam:PutRolePolicy",
    "iam:PutUserPolicy",
    "iam:SetDefaultPolicyVersion",
    "iam:UpdateAssumeRolePolicy",
    "iam:UpdateLoginProfile",
];

/// Actions that together lead to more rights than they are. Each of the [`GRANTS`] does so by itself.
/// <https://rhinosecuritylabs.com/aws/aws-privilege-escalation-methods-mitigation/>
const ESCALATIONS: &[&[&str]] = &[
    &["iam:PassRole", "lambda:CreateFunction", "lambda:InvokeFunction"],
    &["iam:PassRole", "lambda:CreateFunction", "lambda:CreateEventSourceMapping"],
    &["iam:PassRole", "ec2:RunInstances"],
    &["iam:PassRole", "cloudformation:CreateStack"],
    &["iam:PassRole", "glue:CreateDevEndpoint"],
    &["iam:PassRole", "datapipeline:CreatePipeline", "datapipeline:PutPipelineDefinition"],
    &["iam:PassRole", "ecs:RegisterTaskDefinition", "ecs:RunTask"],
    &["iam:PassRole", "sagemaker:CreateNotebookInstance"],
    &["lambda:UpdateFunctionCode"],
    &["glue:UpdateDevEndpoint"],
];

/// Stands for a character that no pattern names: what matches it matches whatever is there.
const ANY: char = '\u{1}';

impl<'a> Powers<'a> {
    /// A policy of an identity of this account.
    pub fn parse(text: &'a str, account: &str) -> Result<Self, Unreadable> {
        let statements = statements(text)?;
        let statements = statements.into_iter().map(|text| judge(text, account));
        Ok(Self { text, statements: statements.collect::<Result<_, _>>()? })
    }

    pub fn are_administrative(&self) -> bool {
        self.statements.iter().any(|statement| statement.is_administrative)
    }

    /// Cuts the statements out that make an administrator.
    pub fn without_administration(&self) -> Left {
        let texts: Vec<&str> = self.statements.iter().map(|statement| statement.text).collect();
        let kept: Vec<bool> =
            self.statements.iter().map(|statement| !statement.is_administrative).collect();
        keeping(self.text, &texts, &kept)
    }

    /// The statements, compact, one line each.
    pub fn lines(&self) -> Vec<String> {
        self.statements.iter().map(|statement| compact(statement.text)).collect()
    }

    /// Whether a statement allows it on some resource. What a `Deny` or a condition takes from that is not looked at.
    pub fn may(&self, action: &str) -> bool {
        self.statements
            .iter()
            .any(|statement| statement.is_allow && statement.actions.include(action))
    }

    /// What a person wants to know before deciding.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.statements.iter().any(|one| one.is_administrative && one.has_condition) {
            notes.push("a condition limits when the statement makes an administrator".to_owned());
        }
        if self.statements.iter().any(|statement| !statement.is_allow) {
            notes.push("the policy also denies something: that is not weighed".to_owned());
        }
        if self.are_administrative() {
            return notes;
        }
        let grants = GRANTS.iter().filter(|grant| self.may(grant));
        let grants = grants.map(|&grant| grant.to_owned());
        let together = ESCALATIONS.iter().filter(|actions| actions.iter().all(|one| self.may(one)));
        let together = together.map(|actions| actions.join(" + "));
        notes.extend(grants.chain(together).map(|way| format!("{way} can lead to more rights")));
        notes
    }
}

impl Actions {
    fn include(&self, action: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|one| matches_action(one, action));
        match self {
            Self::Only(patterns) => any(patterns),
            Self::AllBut(patterns) => !any(patterns),
        }
    }

    /// All of IAM, or so much that the rest can be had.
    fn administer(&self) -> bool {
        match self {
            // IAM's shortest actions, such as `TagRole`, have seven letters.
            Self::Only(patterns) => patterns.iter().any(|pattern| {
                [7, 64].into_iter().all(|length| {
                    let action: String =
                        "iam:".chars().chain(std::iter::repeat_n(ANY, length)).collect();
                    matches_action(pattern, &action)
                })
            }),
            Self::AllBut(_) => GRANTS.iter().any(|grant| self.include(grant)),
        }
    }
}

fn judge<'a>(text: &'a str, account: &str) -> Result<Statement<'a>, Unreadable> {
    let elements = elements(text)?;
    let element = |name: &str| elements.get(name).copied();
    let is_allow = match element("Effect").and_then(text_of).as_deref() {
        Some("Allow") => true,
        Some("Deny") => false,
        _ => return Err(unreadable("a statement has no `Effect` of `Allow` or `Deny`")),
    };
    let actions = match (element("Action"), element("NotAction")) {
        (Some(actions), None) => Actions::Only(texts(actions, "an action")?),
        (None, Some(actions)) => Actions::AllBut(texts(actions, "an action")?),
        _ => {
            return Err(unreadable("a statement has not exactly one of `Action`, `NotAction`"));
        }
    };
    let is_everywhere = match (element("Resource"), element("NotResource")) {
        (Some(resources), None) => is_everywhere(&texts(resources, "a resource")?, account),
        (None, Some(but)) => is_anywhere(&texts(but, "a resource")?, account),
        _ => {
            return Err(unreadable("a statement has not exactly one of `Resource`, `NotResource`"));
        }
    };
    let is_administrative = is_allow && is_everywhere && actions.administer();
    let has_condition = element("Condition").is_some();
    Ok(Statement { text, is_allow, actions, is_administrative, has_condition })
}

/// Whoever, and whatever policy, there is in the account.
fn everyone(partition: &str, account: &str) -> [String; 4] {
    let name: String = std::iter::repeat_n(ANY, 64).collect();
    ["group", "policy", "role", "user"]
        .map(|kind| format!("arn:{partition}:iam::{account}:{kind}/{name}"))
}

const PARTITIONS: [&str; 3] = ["aws", "aws-cn", "aws-us-gov"];

/// Whether it is so for all of IAM that there is in the account.
fn is_everywhere(resources: &[String], account: &str) -> bool {
    // A policy variable is no wildcard, whatever stands in it.
    let fixed: Vec<&String> = resources.iter().filter(|one| !one.contains("${")).collect();
    let is_in = |arn: &String| fixed.iter().any(|pattern| glob_matches(pattern, arn));
    PARTITIONS.iter().any(|partition| everyone(partition, account).iter().all(is_in))
}

/// Whether it is so for all of IAM but single ones.
fn is_anywhere(but: &[String], account: &str) -> bool {
    let is_out = |arn: &String| but.iter().any(|pattern| glob_matches(pattern, arn));
    !PARTITIONS.iter().any(|partition| everyone(partition, account).iter().any(is_out))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const ACCOUNT: &str = "123456789012";
    const ADMINISTRATOR: &str = r#"{"Effect":"Allow", "Action":"*","Resource":"*"}"#;
    const READER: &str = r#"{ "Effect":"Allow","Action":["s3:Get*"],"Resource":"*"}"#;

    fn policy(statement: &Value) -> String {
        json!({"Version": "2012-10-17", "Statement": statement}).to_string()
    }

    fn administers(statement: &Value) -> bool {
        Powers::parse(&policy(statement), ACCOUNT).unwrap().are_administrative()
    }

    fn allow(action: Value, resource: Value) -> Value {
        json!({"Effect": "Allow", "Action": action, "Resource": resource})
    }

    fn all_but(actions: Value) -> Value {
        json!({"Effect": "Allow", "NotAction": actions, "Resource": "*"})
    }

    #[test]
    fn who_may_do_all_of_iam_is_an_administrator() {
        for action in
            [json!("*"), json!("**"), json!("*:*"), json!(["s3:*", "iam:*"]), json!("IAM:*")]
        {
            assert!(administers(&allow(action.clone(), json!("*"))), "{action}");
        }
        for action in ["iam*", "i?m:*", "?am:*", "*m:*", "iam:**", "iam:?*"] {
            assert!(administers(&allow(json!(action), json!(["*"]))), "{action}");
        }
        for action in
            ["s3:*", "iam:Get*", "iam:*Policy", "iam:PassRole", "iam", "iam:", "", "iam:*User*"]
        {
            assert!(!administers(&allow(json!(action), json!("*"))), "{action}");
        }
        assert!(!administers(&allow(json!([]), json!("*"))));
    }

    #[test]
    fn all_but_a_few_is_nearly_all() {
        for actions in [json!("s3:*"), json!(["iam:DeleteUser", "aws-portal:*"]), json!([])] {
            assert!(administers(&all_but(actions.clone())), "{actions}");
        }
        // As AWS's `PowerUserAccess` has it.
        for actions in [json!(["iam:*", "organizations:*", "account:*"]), json!("*"), json!("i*")] {
            assert!(!administers(&all_but(actions.clone())), "{actions}");
        }
    }

    #[test]
    fn on_which_resources() {
        for resource in [
            json!("arn:*"),
            json!("arn:aws:iam::*"),
            json!("arn:aws:iam::123456789012:*"),
            json!("arn:aws-cn:iam::*:*"),
            json!([
                "arn:aws:iam::*:user/*",
                "arn:aws:iam::*:role/*",
                "arn:aws:iam::*:group/*",
                "arn:aws:iam::*:policy/*"
            ]),
        ] {
            assert!(administers(&allow(json!("iam:*"), resource.clone())), "{resource}");
        }
        for resource in [
            json!("arn:aws:s3:::*"),
            json!("arn:aws:iam::123456789012:user/${aws:username}"),
            json!("${*}"),
            json!("arn:aws:iam::210987654321:*"),
            json!("arn:aws:iam::*:role/app-*"),
            json!([]),
        ] {
            assert!(!administers(&allow(json!("*"), resource.clone())), "{resource}");
        }
        let but =
            |resource: &str| json!({"Effect": "Allow", "Action": "*", "NotResource": resource});
        assert!(administers(&but("arn:aws:s3:::logs/*")));
        assert!(administers(&but("arn:aws:iam::123456789012:role/one")));
        assert!(!administers(&but("arn:aws:iam::*")));
    }

    #[test]
    fn a_deny_makes_nobody_an_administrator_and_a_condition_is_told() {
        assert!(!administers(&json!({"Effect": "Deny", "Action": "*", "Resource": "*"})));
        let text = policy(&json!([
            {"Effect": "Allow", "Action": "*", "Resource": "*",
             "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}},
            {"Effect": "Deny", "Action": "s3:*", "Resource": "*"},
        ]));
        let powers = Powers::parse(&text, ACCOUNT).unwrap();
        assert!(powers.are_administrative());
        let notes = powers.notes();
        assert!(notes[0].contains("condition") && notes[1].contains("denies"), "{notes:?}");
    }

    #[test]
    fn detours_are_notes() {
        let notes = |actions: Value| {
            let text = policy(&allow(actions, json!("*")));
            let powers = Powers::parse(&text, ACCOUNT).unwrap();
            assert!(!powers.are_administrative());
            powers.notes()
        };
        let passed = notes(json!(["iam:PassRole", "lambda:*Function"]));
        assert!(
            passed[0].starts_with("iam:PassRole + lambda:CreateFunction + lambda:InvokeFunction"),
            "{passed:?}"
        );
        assert_eq!(notes(json!("iam:CreatePolicyVersion")).len(), 1);
        assert_eq!(notes(json!(["iam:PassRole", "s3:*"])), [""; 0]);
    }

    #[test]
    fn what_cannot_be_judged_is_an_error() {
        for statement in [
            json!({"Effect": "Allow", "Action": "*"}),
            json!({"Effect": "Allow", "Resource": "*"}),
            json!({"Effect": "allow", "Action": "*", "Resource": "*"}),
            json!({"Effect": "Allow", "Action": 7, "Resource": "*"}),
            json!({"Effect": "Allow", "Action": "*", "NotAction": "*", "Resource": "*"}),
            json!({"Effect": "Allow", "Action": "*", "Resource": "*", "action": "s3:Get*"}),
        ] {
            assert!(Powers::parse(&policy(&statement), ACCOUNT).is_err(), "{statement}");
        }
    }

    proptest! {
        #[test]
        fn exactly_what_makes_an_administrator_goes(
            administrative in proptest::collection::vec(any::<bool>(), 1..8),
            space in "[ \n\t]{0,3}",
        ) {
            let text = |&administrative: &bool| if administrative { ADMINISTRATOR } else { READER };
            let document = |statements: &[&str]| {
                format!("{{{space}\"Statement\" :[{}]{space}}}", statements.join(","))
            };
            let before = document(&administrative.iter().map(text).collect::<Vec<_>>());
            let kept: Vec<&str> = administrative.iter().filter(|&&one| !one).map(text).collect();
            let left = Powers::parse(&before, ACCOUNT).unwrap().without_administration();
            prop_assert_eq!(left, match kept.len() {
                0 => Left::Nothing,
                all if all == administrative.len() => Left::Same,
                _ => Left::Rest(document(&kept)),
            });
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*", cut in 0..120usize) {
            let _ = Powers::parse(&text, ACCOUNT);
            let whole = format!("{{\"Statement\":[{READER},{ADMINISTRATOR}]}}");
            let _ = Powers::parse(whole.get(..cut).unwrap_or(&whole), ACCOUNT);
        }
    }
}
