//! What no role of Quell may do to Quell, and the lints that see to it.

use quell_controls::REGISTRY;
use quell_engine::Listen;
use serde_json::{Value, json};

use crate::{
    lints::acting,
    model::{Template, glob_matches, list, rendered, target, texts},
};

/// Calls that `quell-tampered` tells of, but that are not denied on Quell's own, and why.
const LEFT: &[&str] = &[
    // IAM asks whether the instance profile may be changed, and then for iam:PassRole on the role, which is denied.
    // https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html
    "iam:AddRoleToInstanceProfile",
    // What weakens a trail is also what restores it.
    "cloudtrail:PutEventSelectors",
    "cloudtrail:UpdateTrail",
];

/// What the functions and the heartbeat live by, on Quell's own: the guardrails must leave it.
const NEEDED: &[(&str, &str)] = &[
    ("sts:AssumeRole", "arn:aws:iam::999988887777:role/quell-member-s3-exposure"),
    ("events:EnableRule", "arn:aws:events:eu-west-1:111122223333:rule/quell-Rule-1A2B"),
    ("events:DescribeRule", "arn:aws:events:eu-west-1:111122223333:rule/quell-Rule-1A2B"),
    ("cloudtrail:StartLogging", "arn:aws:cloudtrail:eu-west-1:111122223333:trail/all-calls"),
    ("lambda:InvokeFunction", "arn:aws:lambda:eu-west-1:111122223333:function:quell-s3-exposure"),
    ("dynamodb:PutItem", "arn:aws:dynamodb:eu-west-1:111122223333:table/quell-Ledger-1A2B"),
    ("dynamodb:DeleteItem", "arn:aws:dynamodb:eu-west-1:111122223333:table/quell-Ledger-1A2B"),
    ("dynamodb:UpdateItem", "arn:aws:dynamodb:eu-west-1:111122223333:table/quell-Ledger-1A2B"),
    ("sns:Publish", "arn:aws:sns:eu-west-1:111122223333:quell-messages"),
    ("sns:TagResource", "arn:aws:sns:eu-west-1:111122223333:quell-messages"),
    ("sqs:SendMessage", "arn:aws:sqs:eu-west-1:111122223333:quell-DeadLetters-1A2B"),
    (
        "logs:PutLogEvents",
        "arn:aws:logs:eu-west-1:111122223333:log-group:/aws/lambda/quell-s3-exposure:log-stream:1",
    ),
    ("kms:Decrypt", KEY),
    ("kms:GenerateDataKey", KEY),
];

/// A key that carries the tag of the stack.
const KEY: &str = "arn:aws:kms:eu-west-1:111122223333:key/1d3f5a7b-2c4e-4680-9bdf-13579bdf2468";

/// Every role is denied every call that can disable Quell, and every role to take but those of members.
pub(crate) fn roles_cannot_change_quell(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    let template = &template.deployed(&acting(template));
    for (id, key) in template.all("AWS::KMS::Key") {
        if !list(&key["Tags"])
            .contains(&&json!({"Key": "quell:stack", "Value": {"Ref": "AWS::StackName"}}))
        {
            complaints.push(format!("{id}: the guardrails do not know it by its tag"));
        }
    }
    for (role, _) in template.all("AWS::IAM::Role") {
        for (action, arn) in disabling() {
            if !is_denied(template, role, &action, arn) {
                complaints.push(format!("{role}: is not denied {action} on {arn}"));
            }
        }
        for role_to_take in [
            "arn:aws:iam::999988887777:role/Admin",
            "arn:aws:iam::111122223333:role/quell-S3ExposureRole-1A2B",
        ] {
            if !is_denied(template, role, "sts:AssumeRole", role_to_take) {
                complaints.push(format!("{role}: is not denied sts:AssumeRole on {role_to_take}"));
            }
        }
        for (action, arn) in NEEDED {
            if is_denied(template, role, action, arn) {
                complaints.push(format!("{role}: is denied {action}, which Quell needs"));
            }
        }
        for statement in template.statements(role) {
            let enables = texts(&statement["Action"]).contains(&"events:EnableRule");
            let own = |arn: &&Value| {
                arn["Fn::Sub"]
                    .as_str()
                    .is_some_and(|arn| arn.ends_with(":rule/${AWS::StackName}-*"))
            };
            if enables && !list(&statement["Resource"]).iter().all(own) {
                complaints.push(format!("{role}: may enable rules that are not Quell's"));
            }
        }
    }
    complaints
}

/// Every call that `quell-tampered` and `quell-rule-disabled` tell of, as IAM names it, on what it could be about.
fn disabling() -> Vec<(String, &'static str)> {
    let controls = ["quell-tampered", "quell-rule-disabled"];
    let mut found = vec![
        ("iam:PassRole".to_owned(), "arn:aws:iam::111122223333:role/quell-S3ExposureRole-1A2B"),
        (
            "lambda:GetFunction".to_owned(),
            "arn:aws:lambda:eu-west-1:111122223333:function:quell-s3-exposure",
        ),
        (
            "cloudtrail:StopLogging".to_owned(),
            "arn:aws:cloudtrail:eu-west-1:111122223333:trail/all-calls",
        ),
    ];
    for meta in REGISTRY.iter().filter(|meta| controls.contains(&meta.id)) {
        for listen in meta.listens {
            let Listen::ApiCall { service, calls, .. } = listen else { continue };
            let service = match service.trim_end_matches(".amazonaws.com") {
                "monitoring" => "cloudwatch",
                service => service,
            };
            for call in *calls {
                let action = format!("{service}:{}", call.trim_end_matches('*'));
                if !LEFT.contains(&action.as_str()) {
                    found.extend(own(service, call).iter().map(|arn| (action.clone(), *arn)));
                }
            }
        }
    }
    found
}

/// Resources of the stack `quell` that a call of the service can be about.
fn own(service: &str, call: &str) -> &'static [&'static str] {
    match service {
        "events" => &["arn:aws:events:eu-west-1:111122223333:rule/quell-S3ExposureS3Calls-1A2B"],
        "lambda" => &[
            "arn:aws:lambda:eu-west-1:111122223333:function:quell-s3-exposure",
            "arn:aws:lambda:eu-west-1:111122223333:function:quell-operator:1",
        ],
        "iam" if call.contains("PolicyVersion") || call == "DeletePolicy" => {
            &["arn:aws:iam::111122223333:policy/quell-Guardrails-1A2B"]
        }
        "iam" => &["arn:aws:iam::111122223333:role/quell-S3ExposureRole-1A2B"],
        "sns" => &[
            "arn:aws:sns:eu-west-1:111122223333:quell-messages",
            "arn:aws:sns:eu-west-1:111122223333:quell-heartbeat",
        ],
        "sqs" => &["arn:aws:sqs:eu-west-1:111122223333:quell-S3ExposureDeadLetters-1A2B"],
        "dynamodb" => &["arn:aws:dynamodb:eu-west-1:111122223333:table/quell-Ledger-1A2B"],
        "kms" => &[KEY],
        "logs" => {
            &["arn:aws:logs:eu-west-1:111122223333:log-group:/aws/lambda/quell-s3-exposure:*"]
        }
        "cloudwatch" => {
            &["arn:aws:cloudwatch:eu-west-1:111122223333:alarm:quell-HeartbeatAlarm-1A2B"]
        }
        "cloudformation" => &["arn:aws:cloudformation:eu-west-1:111122223333:stack/quell/0c9f"],
        "scheduler" if call.ends_with("Group") => {
            &["arn:aws:scheduler:eu-west-1:111122223333:schedule-group/quell-heartbeat"]
        }
        "scheduler" => &[
            "arn:aws:scheduler:eu-west-1:111122223333:schedule/quell-heartbeat/quell-Heartbeat-1A2B",
        ],
        "cloudtrail" => &["arn:aws:cloudtrail:eu-west-1:111122223333:trail/all-calls"],
        other => panic!("no test knows what of {other} is Quell's own"),
    }
}

/// Whether a statement denies the role this, for the stack `quell` in 111122223333.
fn is_denied(template: &Template, role: &str, action: &str, arn: &str) -> bool {
    template.denials(role).into_iter().any(|statement| {
        let matches =
            |value: &Value| list(value).iter().any(|one| glob_matches(&rendered(one), arn));
        let is_action = texts(&statement["Action"]).iter().any(|one| glob_matches(one, action));
        let is_resource = match (&statement["Resource"], &statement["NotResource"]) {
            (Value::Null, Value::Null) => false,
            (Value::Null, not) => !matches(not),
            (resource, _) => matches(resource),
        };
        is_action && is_resource && condition_holds(&statement["Condition"], arn)
    })
}

/// The only condition of the guardrails: the tag of the stack, which the keys carry.
fn condition_holds(condition: &Value, arn: &str) -> bool {
    condition.is_null()
        || *condition
            == json!({"StringEquals": {"aws:ResourceTag/quell:stack": {"Ref": "AWS::StackName"}}})
            && arn == KEY
}

/// What is attached to roles is written in this template, and only denies.
pub(crate) fn attached_policies_only_deny(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    for (role, properties) in template.all("AWS::IAM::Role") {
        for attached in list(&properties["ManagedPolicyArns"]) {
            let Some((id, policy)) = template.referred("AWS::IAM::ManagedPolicy", attached) else {
                complaints.push(format!("{role}: has policies that are written elsewhere"));
                continue;
            };
            for statement in list(&policy["PolicyDocument"]["Statement"]) {
                if statement["Effect"] != "Deny" {
                    complaints.push(format!("{role}: {id} grants {}", statement["Sid"]));
                }
            }
        }
        if list(&properties["ManagedPolicyArns"])
            .iter()
            .all(|one| target(one) != Some("Guardrails"))
        {
            complaints.push(format!("{role}: has no guardrails"));
        }
    }
    complaints
}
