//! Alarms, and the topic that tells people.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    MESSAGES, admits_service, is_fed, is_public, queues::beats, queues::feeding, roles::context,
    source_keys,
};
use crate::{
    heartbeat::heard,
    model::{Function, Template, arn_of, list, target, texts},
};

/// An alarm for whatever can go wrong without anyone being told.
pub(crate) fn failures_raise_alarms(template: &Template) -> Vec<String> {
    let mut watched: BTreeSet<(String, String)> = BTreeSet::new();
    for (_, alarm) in template.all("AWS::CloudWatch::Alarm") {
        let mut metrics = vec![alarm];
        metrics
            .extend(list(&alarm["Metrics"]).into_iter().map(|part| &part["MetricStat"]["Metric"]));
        for metric in metrics {
            let Some(name) = metric["MetricName"].as_str() else { continue };
            let dimension = &metric["Dimensions"][0]["Value"];
            watched.insert((name.to_owned(), target(dimension).unwrap_or_default().to_owned()));
        }
    }
    let mut wanted = Vec::new();
    for function in template.functions() {
        wanted.push(("Errors", function.id.clone()));
        wanted.push(("Throttles", function.id));
    }
    let (heard, beats, feeding) = (heard(template), beats(template), feeding(template));
    for (id, _) in template.all("AWS::SQS::Queue") {
        if beats.contains(&id) {
            continue;
        }
        // That messages come is nothing wrong; that they stay is.
        if !feeding.contains(&id) {
            wanted.push(("ApproximateNumberOfMessagesVisible", id.to_owned()));
        }
        wanted.push(("ApproximateAgeOfOldestMessage", id.to_owned()));
    }
    for (id, _) in template.all("AWS::Events::Rule") {
        if heard.contains(&id) {
            wanted.push(("MatchedEvents", id.to_owned()));
        } else {
            wanted.push(("FailedInvocations", id.to_owned()));
        }
    }
    wanted
        .into_iter()
        .filter(|(metric, id)| !watched.contains(&((*metric).to_owned(), id.clone())))
        .map(|(metric, id)| format!("{id}: no alarm watches {metric}"))
        .collect()
}

/// Alarms go to a topic whose policy and key admit CloudWatch.
pub(crate) fn alarms_reach_people(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    for (id, alarm) in template.all("AWS::CloudWatch::Alarm") {
        let actions = list(&alarm["AlarmActions"]);
        let topic = actions.iter().find_map(|action| template.referred("AWS::SNS::Topic", action));
        let Some((topic, properties)) = topic else {
            complaints.push(format!("{id}: tells nobody"));
            continue;
        };
        // CloudWatch refuses more.
        // https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Create-alarm-on-metric-math-expression.html
        let metrics = list(&alarm["Metrics"]);
        let metrics = metrics.iter().filter(|part| !part["MetricStat"].is_null()).count();
        if metrics > 10 {
            complaints.push(format!("{id}: adds up {metrics} metrics"));
        }
        if alarm["TreatMissingData"] != "notBreaching" && alarm["MetricName"] != "MatchedEvents" {
            complaints.push(format!("{id}: cries when there is nothing to measure"));
        }
        let admitting = template.all("AWS::SNS::TopicPolicy").into_iter().any(|(_, policy)| {
            list(&policy["Topics"]).iter().any(|admitting| target(admitting) == Some(topic))
                && list(&policy["PolicyDocument"]["Statement"]).iter().any(|statement| {
                    admits_service(statement, "cloudwatch.amazonaws.com", "sns:Publish")
                        && source_keys(statement)
                            == BTreeSet::from(["aws:SourceAccount", "aws:SourceArn"])
                })
        });
        if !admitting {
            complaints.push(format!("{id}: the policy of {topic} does not admit alarms"));
        }
        let Some((key, policy)) = template.referred("AWS::KMS::Key", &properties["KmsMasterKeyId"])
        else {
            complaints
                .push(format!("{id}: {topic} has no key of its own, so alarms cannot publish"));
            continue;
        };
        for action in ["kms:Decrypt", "kms:GenerateDataKey*"] {
            if !list(&policy["KeyPolicy"]["Statement"]).iter().any(|statement| {
                admits_service(statement, "cloudwatch.amazonaws.com", action)
                    && source_keys(statement).contains("aws:SourceAccount")
            }) {
                complaints.push(format!("{id}: {key} does not admit alarms to {action}"));
            }
        }
    }
    complaints
}

/// Every function may publish to the topic, and the topic's key admits its role and EventBridge.
pub(crate) fn publishers_may_use_the_key(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    for (topic, properties) in template.all("AWS::SNS::Topic") {
        let name = properties["TopicName"]["Fn::Sub"].as_str().unwrap_or_default();
        // The heartbeat's topic is for its alarm alone.
        if topic != MESSAGES {
            for (role, _) in template.all("AWS::IAM::Role") {
                let reaches = |statement: &&Value| {
                    statement["Effect"] == "Allow"
                        && texts(&statement["Action"]).contains(&"sns:Publish")
                        && !list(&statement["Resource"]).iter().all(|arn| is_messages(arn))
                };
                if template.statements(role).iter().any(reaches) {
                    complaints.push(format!("{role}: may publish to {topic}"));
                }
            }
            continue;
        }
        let Some((key, policy)) = template.referred("AWS::KMS::Key", &properties["KmsMasterKeyId"])
        else {
            complaints.push(format!("{topic}: has no key of its own"));
            continue;
        };
        let statements = list(&policy["KeyPolicy"]["Statement"]);
        // Who is fed by the topic has nothing to say in it.
        let tells = |function: &&Function| !is_public(function) && !is_fed(template, &function.id);
        for function in template.functions().iter().filter(tells) {
            let role = target(&function.properties["Role"]).unwrap_or_default();
            let publishes = template.statements(role).into_iter().any(|statement| {
                texts(&statement["Action"]).contains(&"sns:Publish")
                    && statement["Resource"]["Fn::Sub"]
                        .as_str()
                        .is_some_and(|arn| arn.ends_with(&format!(":${{AWS::AccountId}}:{name}")))
            });
            if !publishes {
                complaints.push(format!("{role}: may not publish to {topic}"));
            }
            for action in ["kms:Decrypt", "kms:GenerateDataKey*"] {
                if !statements.iter().any(|statement| {
                    list(&statement["Principal"]["AWS"]).contains(&&arn_of(role))
                        && texts(&statement["Action"]).contains(&action)
                        && statement["Condition"]["StringEquals"]["kms:ViaService"].is_object()
                }) {
                    complaints.push(format!("{key}: does not admit {role} to {action}"));
                }
            }
        }
        if !statements.iter().any(|statement| {
            admits_service(statement, "events.amazonaws.com", "kms:GenerateDataKey*")
                && context(statement).ends_with(&format!(":{name}"))
        }) {
            complaints.push(format!("{key}: does not admit rules for {topic}"));
        }
    }
    complaints
}

fn is_messages(arn: &Value) -> bool {
    arn["Fn::Sub"].as_str().is_some_and(|arn| arn.ends_with(":${AWS::StackName}-messages"))
}
