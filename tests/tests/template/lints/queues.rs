//! Queues: before functions, and for what cannot be handled.

use serde_json::{Value, json};

use super::{MESSAGES, binary, rules::admitted_rules};
use crate::{
    heartbeat::heard,
    model::{Template, arn_of, list, target, texts},
};

/// A queue before a function hears the topic alone, gets its messages as they are, shows none of them while it is worked
/// on, and keeps what nobody handles apart: where the function's other failures wait, if it has any.
pub(crate) fn queues_feed_functions(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    let functions = template.functions();
    for (id, mapping) in template.all("AWS::Lambda::EventSourceMapping") {
        let function = target(&mapping["FunctionName"]);
        let Some(function) = functions.iter().find(|one| Some(one.id.as_str()) == function) else {
            complaints.push(format!("{id}: feeds no function"));
            continue;
        };
        let Some((queue, kept)) = template.referred("AWS::SQS::Queue", &mapping["EventSourceArn"])
        else {
            complaints.push(format!("{id}: reads no queue"));
            continue;
        };
        if mapping["FunctionResponseTypes"] != json!(["ReportBatchItemFailures"]) {
            complaints.push(format!("{id}: one message that fails brings all of its batch again"));
        }
        let timeout = function.properties["Timeout"].as_u64().unwrap_or(u64::MAX);
        let hidden = kept["VisibilityTimeout"].as_u64().unwrap_or_default();
        if hidden < timeout.saturating_mul(6) {
            complaints.push(format!("{queue}: shows messages that are still worked on"));
        }
        let redrive = &kept["RedrivePolicy"];
        if redrive["maxReceiveCount"].as_u64().is_none_or(|count| count < 10) {
            complaints.push(format!("{queue}: gives up too early"));
        }
        let role = target(&function.properties["Role"]).unwrap_or_default();
        let reads = template.statements(role).into_iter().any(|statement| {
            texts(&statement["Action"]).contains(&"sqs:ReceiveMessage")
                && list(&statement["Resource"]) == [&arn_of(queue)]
        });
        if !reads {
            complaints.push(format!("{role}: may not read exactly its queue"));
        }
        let letters = &redrive["deadLetterTargetArn"];
        let of_function = &function.properties["DeadLetterQueue"]["TargetArn"];
        match template.referred("AWS::SQS::Queue", letters) {
            Some((apart, _)) if apart != queue => {
                if !of_function.is_null() && of_function != letters {
                    complaints
                        .push(format!("{queue}: its dead letters wait apart from its function's"));
                }
                complaints.extend(others_than_the_topic(template, apart));
            }
            _ => complaints.push(format!("{queue}: has no dead-letter queue")),
        }
        complaints.extend(others_than_the_topic(template, queue));
        let subscriptions = template.all("AWS::SNS::Subscription").into_iter();
        let subscribed: Vec<_> =
            subscriptions.filter(|(_, one)| one["Endpoint"] == arn_of(queue)).collect();
        let [(_, subscription)] = subscribed.as_slice() else {
            complaints.push(format!("{queue}: has {} subscriptions", subscribed.len()));
            continue;
        };
        if target(&subscription["TopicArn"]) != Some(MESSAGES)
            || subscription["Protocol"] != "sqs"
            || subscription["RawMessageDelivery"] != true
        {
            complaints.push(format!("{queue}: does not get the messages as they are"));
        }
        if subscription["RedrivePolicy"]["deadLetterTargetArn"] != *letters {
            complaints.push(format!("{queue}: loses what the topic cannot deliver"));
        }
        if binary(function) != Some(TELLS_ALARMS)
            && subscription["FilterPolicy"] != json!({"outcome": [{"exists": true}]})
        {
            complaints.push(format!("{queue}: gets alarms, which are no messages"));
        }
    }
    complaints
}

/// The function that tells alarms too.
const TELLS_ALARMS: &str = "slack";

/// Whether the topic, and it alone, may send to a queue.
fn others_than_the_topic(template: &Template, queue: &str) -> Option<String> {
    let policies = template.all("AWS::SQS::QueuePolicy").into_iter();
    let admitted: Vec<_> = policies
        .filter(|(_, policy)| list(&policy["Queues"]).iter().any(|one| target(one) == Some(queue)))
        .flat_map(|(_, policy)| list(&policy["PolicyDocument"]["Statement"]))
        .collect();
    let expected = json!({"ArnEquals": {"aws:SourceArn": {"Ref": MESSAGES}}});
    let is_topic = |one: &&Value| {
        one["Effect"] == "Allow"
            && one["Principal"] == json!({"Service": "sns.amazonaws.com"})
            && one["Action"] == "sqs:SendMessage"
            && one["Resource"] == arn_of(queue)
            && one["Condition"] == expected
    };
    (admitted.len() != 1 || !admitted.iter().all(is_topic))
        .then(|| format!("{queue}: does not admit the topic, and it alone"))
}

/// Queues encrypt, keep dead letters for 14 days, and let no one in but rules that are there.
pub(crate) fn queues_keep_events(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    let rules: Vec<Value> =
        template.all("AWS::Events::Rule").into_iter().map(|(id, _)| arn_of(id)).collect();
    let beats = beats(template);
    for (id, queue) in template.all("AWS::SQS::Queue") {
        if queue["SqsManagedSseEnabled"] != true {
            complaints.push(format!("{id}: is not encrypted"));
        }
        if queue["MessageRetentionPeriod"] != 1_209_600 && !beats.contains(&id) {
            complaints.push(format!("{id}: does not keep messages for 14 days"));
        }
        for rule in admitted_rules(template, &arn_of(id)) {
            if !rules.contains(rule) {
                complaints.push(format!("{id}: admits {rule}, which is no rule"));
            }
        }
    }
    complaints
}

/// The queues of heartbeats: what is lost of them is no event.
pub(super) fn beats(template: &Template) -> Vec<&str> {
    let heard = heard(template);
    let rules = template.all("AWS::Events::Rule").into_iter();
    rules
        .filter(|(id, _)| heard.contains(id))
        .flat_map(|(_, rule)| list(&rule["Targets"]))
        .filter_map(|goal| target(&goal["Arn"]))
        .collect()
}

/// The queues before functions.
pub(super) fn feeding(template: &Template) -> Vec<&str> {
    let mappings = template.all("AWS::Lambda::EventSourceMapping").into_iter();
    mappings.filter_map(|(_, mapping)| target(&mapping["EventSourceArn"])).collect()
}
