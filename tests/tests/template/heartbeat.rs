//! The chain of the heartbeat, link by link: schedule, role, call, rule, metric, alarm, topic.
//!
//! What is shown is that the names and permissions fit. The chain itself was not run on AWS.

use quamina::Quamina;
use serde_json::{Value, json};

use crate::model::{Template, arn_of, list, target, texts};

/// The universal target of EventBridge Scheduler for SNS's TagResource.
/// <https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-universal.html>
const CALL: &str = "arn:${AWS::Partition}:scheduler:::aws-sdk:sns:tagResource";

/// The rules whose matches an alarm counts: nothing depends on what their targets do.
pub(crate) fn heard(template: &Template) -> Vec<&str> {
    alarms(template)
        .into_iter()
        .filter_map(|(_, alarm)| target(&alarm["Dimensions"][0]["Value"]))
        .collect()
}

/// Alarms on how often a rule matched.
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html>
fn alarms(template: &Template) -> Vec<(&str, &Value)> {
    let is_it = |(_, alarm): &(&str, &Value)| {
        alarm["Namespace"] == "AWS/Events" && alarm["MetricName"] == "MatchedEvents"
    };
    template.all("AWS::CloudWatch::Alarm").into_iter().filter(is_it).collect()
}

/// A call every five minutes is heard by a rule, and its silence is told on a way of its own.
pub(crate) fn the_heartbeat_is_heard(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    let schedules = template.all("AWS::Scheduler::Schedule");
    let [(id, schedule)] = schedules.as_slice() else {
        return vec![format!("there are {} heartbeats", schedules.len())];
    };
    let mut need = |holds: bool, what: &str| {
        if !holds {
            complaints.push(format!("{id}: {what}"));
        }
    };
    need(
        schedule["ScheduleExpression"] == "rate(5 minutes)"
            && schedule["State"].is_null()
            && schedule["FlexibleTimeWindow"]["Mode"] == "OFF",
        "does not beat every five minutes",
    );
    need(schedule["Target"]["Arn"]["Fn::Sub"] == CALL, "its call is not sns:TagResource");

    let input = schedule["Target"]["Input"]["Fn::Sub"].as_str().unwrap_or_default();
    let input: Value = serde_json::from_str(input).unwrap_or_default();
    let topic =
        input["ResourceArn"].as_str().and_then(|arn| arn.strip_prefix("${")?.strip_suffix('}'));
    let tags: Vec<&str> =
        list(&input["Tags"]).iter().filter_map(|tag| tag["Key"].as_str()).collect();
    let messages =
        topic.filter(|id| template.all("AWS::SNS::Topic").iter().any(|(topic, _)| topic == id));
    need(messages.is_some() && !tags.is_empty(), "does not tag a topic of the stack");

    let role = target(&schedule["Target"]["RoleArn"]).unwrap_or_default();
    let statements = template.statements(role);
    let [statement] = statements.as_slice() else {
        complaints.push(format!("{id}: its role may do {} things", statements.len()));
        return complaints;
    };
    let mut need = |holds: bool, what: &str| {
        if !holds {
            complaints.push(format!("{id}: {what}"));
        }
    };
    need(
        texts(&statement["Action"]) == ["sns:TagResource"]
            && target(&statement["Resource"]) == messages
            && texts(&statement["Condition"]["ForAllValues:StringEquals"]["aws:TagKeys"]) == tags,
        "its role may not make the call, or more than it",
    );

    let group = target(&schedule["GroupName"]).unwrap_or_default();
    let name = &template.root["Resources"][group]["Properties"]["Name"]["Fn::Sub"];
    let name = name.as_str().unwrap_or("no name");
    let trust =
        &template.root["Resources"][role]["Properties"]["AssumeRolePolicyDocument"]["Statement"];
    let trust = list(trust);
    let place = "arn:${AWS::Partition}:scheduler:${AWS::Region}:${AWS::AccountId}";
    let wanted = json!({"StringEquals": {
        "aws:SourceAccount": {"Ref": "AWS::AccountId"},
        "aws:SourceArn": {"Fn::Sub": format!("{place}:schedule-group/{name}")},
    }});
    need(
        trust.len() == 1
            && trust[0]["Principal"] == json!({"Service": "scheduler.amazonaws.com"})
            && trust[0]["Condition"] == wanted,
        "its role can be taken by others than its own schedule group",
    );

    let heard = heard(template);
    let rules = template.all("AWS::Events::Rule");
    let rule = rules.iter().find(|(rule, _)| heard.contains(rule));
    let Some((rule, properties)) = rule else {
        complaints.push(format!("{id}: no alarm counts the rule that hears it"));
        return complaints;
    };
    need(
        properties["State"].is_null() && properties["EventBusName"].is_null(),
        "the rule does not hear what CloudTrail says",
    );
    // As AWS fills it in.
    let arn = "arn:aws:iam::111122223333:role/quell-HeartbeatRole-1A2B";
    let pattern = properties["EventPattern"]
        .to_string()
        .replace(&arn_of(role).to_string(), &json!(arn).to_string());
    need(matches(&pattern, &beat(arn, None)), "the rule does not hear it");
    let other = "arn:aws:iam::111122223333:role/quell-HeartbeatRole";
    need(!matches(&pattern, &beat(other, None)), "the rule hears the call of anybody");
    need(!matches(&pattern, &beat(arn, Some("AccessDenied"))), "the rule hears a call that failed");

    for (alarm, properties) in alarms(template) {
        let number = |name: &str| properties[name].as_u64().unwrap_or_default();
        let window = number("Period") * number("EvaluationPeriods");
        let sounds = properties["Statistic"] == "Sum"
            && properties["ComparisonOperator"] == "LessThanThreshold"
            && properties["Threshold"] == 1
            && properties["Dimensions"] == json!([{"Name": "RuleName", "Value": {"Ref": rule}}])
            && properties["TreatMissingData"] == "breaching"
            && properties["ActionsEnabled"].is_null();
        if !sounds || !(600..=900).contains(&window) {
            complaints
                .push(format!("{alarm}: does not sound after a quarter of an hour of silence"));
        }
        let told: Vec<_> =
            list(&properties["AlarmActions"]).into_iter().filter_map(target).collect();
        let key = messages.and_then(|messages| key_of(template, messages));
        let apart = |topic: &str| messages != Some(topic) && key_of(template, topic) != key;
        if told.is_empty() || !told.iter().all(|topic| apart(topic)) {
            complaints.push(format!("{alarm}: is told on the way of the messages"));
        }
    }
    complaints
}

/// The key of a topic.
fn key_of<'t>(template: &'t Template, topic: &str) -> Option<&'t str> {
    target(&template.root["Resources"][topic]["Properties"]["KmsMasterKeyId"])
}

fn matches(pattern: &str, event: &Value) -> bool {
    let mut matcher = Quamina::<&str>::new();
    matcher.add_pattern("rule", pattern).is_ok()
        && matcher
            .matches_for_event(event.to_string().as_bytes())
            .is_ok_and(|matching| !matching.is_empty())
}

/// The call of the schedule, as CloudTrail records it.
fn beat(role: &str, error: Option<&str>) -> Value {
    let mut event = json!({
        "version": "0",
        "id": "00000000-0000-4000-8000-000000000001",
        "detail-type": "AWS API Call via CloudTrail",
        "source": "aws.sns",
        "account": "111122223333",
        "time": "2026-03-01T02:05:00Z",
        "region": "eu-west-1",
        "resources": [],
        "detail": {
            "eventVersion": "1.11",
            "userIdentity": {
                "type": "AssumedRole",
                "principalId": "AROA4QUELLEXAMPLE0002:beat",
                "arn": "arn:aws:sts::111122223333:assumed-role/quell-HeartbeatRole-1A2B/beat",
                "accountId": "111122223333",
                "sessionContext": {
                    "sessionIssuer": {
                        "type": "Role",
                        "principalId": "AROA4QUELLEXAMPLE0002",
                        "arn": role,
                        "accountId": "111122223333",
                        "userName": "quell-HeartbeatRole-1A2B",
                    },
                },
                "invokedBy": "scheduler.amazonaws.com",
            },
            "eventTime": "2026-03-01T02:05:00Z",
            "eventSource": "sns.amazonaws.com",
            "eventName": "TagResource",
            "awsRegion": "eu-west-1",
            "sourceIPAddress": "scheduler.amazonaws.com",
            "userAgent": "scheduler.amazonaws.com",
            "requestParameters": {
                "resourceArn": "arn:aws:sns:eu-west-1:111122223333:quell-messages",
                "tags": [{"key": "quell:heartbeat", "value": "2026-03-01T02:05:00Z"}],
            },
            "responseElements": null,
            "readOnly": false,
            "eventType": "AwsApiCall",
            "managementEvent": true,
            "recipientAccountId": "111122223333",
            "eventCategory": "Management",
        },
    });
    if let Some(code) = error {
        event["detail"]["errorCode"] = json!(code);
    }
    event
}
