//! What roles may do, and for whom services act.

use std::collections::BTreeSet;

use quell_tests::permissions::ON_EVERYTHING;
use serde_json::Value;

use super::{acting, ceiling, opens_the_url, serves_controls, source_keys};
use crate::model::{Template, list, target, texts};

/// What every function may do with Quell's own resources.
pub(crate) const ENGINE: &[&str] = &[
    "dynamodb:BatchGetItem",
    "dynamodb:ConditionCheckItem",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "sns:Publish",
    "sqs:SendMessage",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
];

/// What a function without controls may do beside: obey people, and look after what was left unfinished.
pub(super) const OPERATOR: &[&str] =
    &["dynamodb:DeleteItem", "dynamodb:Query", "lambda:InvokeFunction"];

/// What Lambda does for a function that has a queue before it.
const LISTENER: &[&str] = &["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"];

/// What IAM cannot bind to a resource beside [`ON_EVERYTHING`]: Lambda's traces.
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsx-ray.html>
const TRACES: &[&str] = &["xray:PutTelemetryRecords", "xray:PutTraceSegments"];

/// Whether IAM cannot bind the action to a resource.
fn is_unbound(action: &str) -> bool {
    ON_EVERYTHING.contains(&action) || TRACES.contains(&action)
}

/// No service acts for a stranger: wherever one is admitted, the source is bound.
pub(crate) fn services_are_bound(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    let resources = template.root["Resources"].as_object();
    for (id, resource) in resources.into_iter().flatten() {
        let mut statements = Vec::new();
        admissions(resource, &mut statements);
        for statement in statements {
            // EventBridge does not name its source to KMS; what is encrypted binds it instead.
            // https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
            let rules_to_one_topic = resource["Type"] == "AWS::KMS::Key"
                && statement["Principal"]["Service"] == "events.amazonaws.com"
                && !context(statement).is_empty();
            if source_keys(statement).is_empty() && !rules_to_one_topic {
                let service = &statement["Principal"]["Service"];
                complaints.push(format!("{id}: admits {service} for whomever it acts"));
            }
        }
    }
    for (id, permission) in template.all("AWS::Lambda::Permission") {
        if permission["SourceArn"].is_null() && !opens_the_url(template, permission) {
            complaints
                .push(format!("{id}: admits {} for whomever it acts", permission["Principal"]));
        }
    }
    complaints
}

/// Statements that admit a service, or everyone.
fn admissions<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(fields) => {
            let principal = &value["Principal"];
            if value["Effect"] == "Allow"
                && (!principal["Service"].is_null()
                    || texts(principal).contains(&"*")
                    || texts(&principal["AWS"]).contains(&"*"))
            {
                found.push(value);
            }
            fields.values().for_each(|value| admissions(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| admissions(value, found)),
        _ => {}
    }
}

/// The topic for which a key may be used.
pub(super) fn context(statement: &Value) -> &str {
    let key = "kms:EncryptionContext:aws:sns:topicArn";
    statement["Condition"]["StringEquals"][key]["Fn::Sub"].as_str().unwrap_or_default()
}

/// Each function has a role of its own, which can write to customers' resources only if that function's ceiling is
/// `act`; another function's ceiling changes nothing about it.
pub(crate) fn ceilings_decide_about_writes(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    let functions = template.functions();
    let mut roles = BTreeSet::new();
    let observing = template.deployed(&[]);
    for function in &functions {
        let role = target(&function.properties["Role"]).unwrap_or_default();
        if !roles.insert(role) {
            complaints.push(format!("{}: shares its role", function.id));
        }
        for action in customer_actions(&observing, role) {
            if !is_read(&action) {
                complaints.push(format!("{role}: may {action} under the ceiling observe"));
            }
        }
        if !serves_controls(function) {
            continue;
        }
        let Some(ceiling) = ceiling(function) else {
            complaints.push(format!("{}: does not know its ceiling", function.id));
            continue;
        };
        let acting = template.deployed(&[(ceiling, "act")]);
        if customer_actions(&acting, role).iter().all(|action| is_read(action)) {
            complaints.push(format!("{role}: cannot write under {ceiling} act"));
        }
        for other in functions.iter().filter(|other| other.id != function.id) {
            let other = target(&other.properties["Role"]).unwrap_or_default();
            if acting.statements(other) != observing.statements(other) {
                complaints.push(format!("{other}: changes with {ceiling}"));
            }
        }
    }
    complaints
}

/// What a role may do beside what the engine and the operator need.
pub(crate) fn customer_actions(template: &Template, role: &str) -> BTreeSet<String> {
    template
        .statements(role)
        .into_iter()
        .filter(|statement| statement["Effect"] == "Allow")
        .flat_map(|statement| texts(&statement["Action"]))
        .filter(|action| ![ENGINE, OPERATOR, LISTENER].iter().any(|own| own.contains(action)))
        .map(str::to_owned)
        .collect()
}

fn is_read(action: &str) -> bool {
    action.split_once(':').is_some_and(|(_, name)| {
        ["Describe", "Get", "List"].iter().any(|verb| name.starts_with(verb))
    })
}

/// Roles name actions in full, and everything that can be bound to a resource is.
pub(crate) fn roles_are_exact(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    let template = template.deployed(&acting(template));
    for (role, _) in template.all("AWS::IAM::Role") {
        for statement in template.statements(role) {
            // A denial may not be wide enough, but never too wide.
            if statement["Effect"] == "Deny" {
                continue;
            }
            let actions = texts(&statement["Action"]);
            if !statement["NotAction"].is_null()
                || !statement["NotResource"].is_null()
                || actions.iter().any(|action| action.contains('*'))
            {
                complaints.push(format!("{role}: {} has a wildcard", statement["Sid"]));
            }
            let resources = list(&statement["Resource"]);
            if resources.contains(&&Value::from("*")) {
                for action in actions.iter().filter(|action| !is_unbound(action)) {
                    complaints.push(format!("{role}: may {action} on anything"));
                }
            }
            for resource in resources {
                let arn = resource["Fn::Sub"].as_str().unwrap_or_default();
                if arn.contains(":ec2:")
                    && !arn.starts_with("arn:${AWS::Partition}:ec2:${AWS::Region}:")
                {
                    complaints.push(format!("{role}: reaches beyond its region with {arn}"));
                }
            }
            let unbound = actions.iter().all(|action| is_unbound(action));
            let own = match actions.first().and_then(|action| action.split_once(':')) {
                Some(("dynamodb", _)) => Some("AWS::DynamoDB::Table"),
                Some(("logs", _)) => Some("AWS::Logs::LogGroup"),
                Some(("sqs", _)) => Some("AWS::SQS::Queue"),
                _ => None,
            };
            if let Some(own) = own
                && !unbound
                && !list(&statement["Resource"]).into_iter().all(|resource| {
                    template.referred(own, resource).is_some() || is_index(&template, resource)
                })
            {
                complaints.push(format!("{role}: {} is not about Quell's own", statement["Sid"]));
            }
        }
    }
    complaints
}

/// Whether it is an index of a table of Quell's own.
fn is_index(template: &Template, resource: &Value) -> bool {
    let arn = resource["Fn::Sub"].as_str().and_then(|arn| arn.strip_prefix("${"));
    arn.and_then(|arn| arn.split_once(".Arn}/index/")).is_some_and(|(table, name)| {
        template.all("AWS::DynamoDB::Table").iter().any(|(id, properties)| {
            *id == table
                && list(&properties["GlobalSecondaryIndexes"])
                    .iter()
                    .any(|index| index["IndexName"] == name)
        })
    })
}
