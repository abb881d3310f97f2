//! Rules of EventBridge, and their patterns.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    heartbeat::heard,
    model::{Template, arn_of, list, target, texts},
};

/// The fields that patterns may name: AWS fills them, not whoever made the call.
const FIELDS: &[&str] = &[
    "source",
    "detail-type",
    "detail.configRuleName",
    "detail.errorCode",
    "detail.eventName",
    "detail.eventSource",
    "detail.findings.Compliance.Status",
    "detail.findings.GeneratorId",
    "detail.findings.RecordState",
    "detail.findings.Resources.Type",
    "detail.findings.Workflow.Status",
    "detail.isPublic",
    "detail.eventTypeCode",
    "detail.newEvaluationResult.complianceType",
    "detail.resourceType",
    "detail.severity",
    "detail.state",
    "detail.status",
    "detail.type",
    "detail.userIdentity.sessionContext.sessionIssuer.arn",
    "detail.userIdentity.type",
];

/// EventBridge's limit for a pattern.
const PATTERN_LIMIT: usize = 2048;

/// Every rule may invoke its function, tries again, and keeps what it cannot deliver where its function's other
/// failures wait.
pub(crate) fn rules_lose_nothing(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    let functions = template.functions();
    let permissions = template.all("AWS::Lambda::Permission");
    let heard = heard(template);
    for (id, rule) in template.all("AWS::Events::Rule") {
        // What counts is that it matched.
        if heard.contains(&id) {
            continue;
        }
        let targets = list(&rule["Targets"]);
        let [goal] = targets.as_slice() else {
            complaints.push(format!("{id}: has {} targets", targets.len()));
            continue;
        };
        let Some(function) = functions.iter().find(|function| goal["Arn"] == arn_of(&function.id))
        else {
            complaints.push(format!("{id}: its target is no function"));
            continue;
        };
        if permissions
            .iter()
            .filter(|(_, permission)| {
                permission["SourceArn"] == arn_of(id)
                    && target(&permission["FunctionName"]) == Some(&function.id)
                    && permission["Principal"] == "events.amazonaws.com"
                    && permission["Action"] == "lambda:InvokeFunction"
            })
            .count()
            != 1
        {
            complaints.push(format!("{id}: no permission to invoke {}", function.id));
        }
        let retry = &goal["RetryPolicy"];
        if retry["MaximumRetryAttempts"].as_u64().is_none_or(|attempts| attempts < 10)
            || retry["MaximumEventAgeInSeconds"].as_u64().is_none_or(|age| age < 3600)
        {
            complaints.push(format!("{id}: gives up too early"));
        }
        let queue = &goal["DeadLetterConfig"]["Arn"];
        if template.referred("AWS::SQS::Queue", queue).is_none() {
            complaints.push(format!("{id}: has no dead-letter queue"));
        } else if function.properties["DeadLetterQueue"]["TargetArn"] != *queue {
            complaints.push(format!("{id}: its dead letters wait apart from its function's"));
        } else if !admitted_rules(template, queue).contains(&&arn_of(id)) {
            complaints.push(format!("{id}: the policy of its dead-letter queue does not admit it"));
        }
    }
    complaints
}

/// The rules that may send to a queue.
pub(super) fn admitted_rules<'a>(template: &'a Template, queue: &Value) -> Vec<&'a Value> {
    template
        .all("AWS::SQS::QueuePolicy")
        .into_iter()
        .filter(|(_, policy)| {
            list(&policy["Queues"]).iter().any(|admitting| target(admitting) == target(queue))
        })
        .flat_map(|(_, policy)| list(&policy["PolicyDocument"]["Statement"]))
        .filter(|statement| {
            statement["Effect"] == "Allow"
                && statement["Principal"]["Service"] == "events.amazonaws.com"
                && statement["Action"] == "sqs:SendMessage"
                && statement["Resource"] == *queue
        })
        .flat_map(|statement| list(&statement["Condition"]["ArnEquals"]["aws:SourceArn"]))
        .collect()
}

/// Patterns name only what AWS fills, are short enough, and no event matches two rules of one function.
pub(crate) fn patterns_are_safe(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut taken: BTreeMap<(String, String, String), &str> = BTreeMap::new();
    for (id, rule) in template.all("AWS::Events::Rule") {
        let pattern = &rule["EventPattern"];
        if pattern.is_null() && !rule["ScheduleExpression"].is_null() {
            continue;
        }
        let length = pattern.to_string().chars().count();
        if length > PATTERN_LIMIT {
            complaints.push(format!("{id}: its pattern has {length} characters"));
        }
        let mut fields = Vec::new();
        leaves(pattern, "", &mut fields);
        for (field, value) in fields {
            if !FIELDS.contains(&field.as_str()) {
                complaints.push(format!("{id}: its pattern names {field}"));
            }
            if value.as_array().is_none_or(Vec::is_empty) {
                complaints.push(format!("{id}: its pattern has no list of values for {field}"));
            }
        }
        let kinds = texts(&pattern["detail-type"]);
        let sources = texts(&pattern["source"]);
        if kinds.is_empty() || sources.is_empty() {
            complaints.push(format!("{id}: its pattern takes events of any kind"));
        }
        if kinds.contains(&"AWS API Call via CloudTrail")
            && pattern["detail"]["errorCode"] != json!([{"exists": false}])
        {
            complaints.push(format!("{id}: takes calls that failed"));
        }
        let function = target(&rule["Targets"][0]["Arn"]).unwrap_or_default();
        for kind in kinds {
            for source in &sources {
                let key = (function.to_owned(), kind.to_owned(), (*source).to_owned());
                if let Some(other) = taken.insert(key, id) {
                    complaints.push(format!("{id}: takes events that {other} takes"));
                }
            }
        }
    }
    complaints
}

fn leaves<'a>(pattern: &'a Value, path: &str, found: &mut Vec<(String, &'a Value)>) {
    match pattern {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                leaves(value, &path, found);
            }
        }
        leaf => found.push((path.to_owned(), leaf)),
    }
}
