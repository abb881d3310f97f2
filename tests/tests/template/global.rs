//! Services that speak in one region alone are heard in the others: `template-global.yaml` hands on what a rule of
//! `template.yaml` wants, once, and nothing else. That EventBridge does so was not tried on AWS.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::model::{Template, list, target};

/// Services that speak on the bus of the partition's first region alone.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/cloudtrail-integration.html>
/// <https://docs.aws.amazon.com/organizations/latest/userguide/orgs_security_incident-response.html>
/// <https://docs.aws.amazon.com/health/latest/ug/choosing-a-region.html>
const GLOBAL: [&str; 4] = ["aws.health", "aws.iam", "aws.organizations", "aws.signin"];

#[test]
fn what_global_services_say_is_handed_on() {
    let complaints = forwards(&leg());
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn a_leg_that_limps_is_seen() {
    let faults: [(&str, &str, &str); 9] = [
        // Handed on by another rule too.
        (
            "/Resources/SignIns/Properties/EventPattern",
            r#"{"region": [{"Ref": "AWS::Region"}], "source": ["aws.iam"]}"#,
            "is not what",
        ),
        ("/Resources/IamCalls/Properties/EventPattern/detail/eventName/0", "", "is not what"),
        ("/Resources/IamCalls", "", "is not what"),
        ("/Resources/IamCalls/Properties/EventPattern/region", "", "send events round"),
        ("/Resources/IamCalls/Properties/Targets/0/RetryPolicy", "", "gives up"),
        ("/Resources/IamCalls/Properties/Targets/0/DeadLetterConfig", "", "loses"),
        (
            "/Resources/ForwardRole/Properties/Policies/0/PolicyDocument/Statement/0/Resource",
            r#""*""#,
            "may more",
        ),
        (
            "/Resources/DeadLettersPolicy/Properties/PolicyDocument/Statement/0/Condition",
            "",
            "is not kept",
        ),
        ("/Rules/Place/Assertions/1", "", "very region"),
    ];
    for (at, put, says) in faults {
        let mut leg = leg();
        crate::change(&mut leg.root, at, put);
        let complaints = forwards(&leg);
        assert!(complaints.iter().any(|one| one.contains(says)), "{at}: {complaints:?}");
    }
}

fn leg() -> Template {
    Template::parse(include_str!("../../../template-global.yaml"))
}

fn forwards(leg: &Template) -> Vec<String> {
    let bus = json!({
        "Fn::Sub": "arn:${AWS::Partition}:events:${Region}:${AWS::AccountId}:event-bus/default"
    });
    let mut complaints = Vec::new();
    let rules = leg.all("AWS::Events::Rule");
    let stack = Template::of_the_project();
    let wanted: Vec<_> = stack
        .all("AWS::Events::Rule")
        .into_iter()
        .filter(|(_, rule)| {
            let sources = list(&rule["EventPattern"]["source"]);
            sources.iter().any(|source| GLOBAL.iter().any(|global| *source == global))
        })
        .collect();
    assert!(!wanted.is_empty(), "no control listens for a global service");
    let patterns = wanted.iter().map(|(_, rule)| rule["EventPattern"].clone());
    let heard = together(patterns);
    for pattern in &heard {
        if !rules.iter().any(|(_, rule)| in_order(without_region(rule)) == *pattern) {
            complaints.push(format!("what the stack hears is not what is handed on: {pattern}"));
        }
    }
    if rules.len() != heard.len() {
        complaints.push("there is not one rule for each source".to_owned());
    }
    for (id, rule) in &rules {
        if !heard.contains(&in_order(without_region(rule))) {
            complaints.push(format!("{id}: its pattern is not what rules of the stack hear"));
        }
        if rule["EventPattern"]["region"] != json!([{"Ref": "AWS::Region"}]) {
            complaints.push(format!("{id}: would send events round"));
        }
        let goals = list(&rule["Targets"]);
        let [goal] = goals.as_slice() else {
            complaints.push(format!("{id}: has {} targets", goals.len()));
            continue;
        };
        let role = target(&goal["RoleArn"]).unwrap_or_default();
        let statements = leg.statements(role);
        let may = |statement: &&Value| {
            statement["Action"] == "events:PutEvents" && statement["Resource"] == bus
        };
        if goal["Arn"] != bus || statements.len() != 1 || !statements.iter().all(may) {
            complaints.push(format!("{id}: goes elsewhere, or its role may more than hand on"));
        }
        if goal["RetryPolicy"]
            != json!({"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185})
        {
            complaints.push(format!("{id}: gives up early"));
        }
        let queue = target(&goal["DeadLetterConfig"]["Arn"]).unwrap_or_default();
        if leg.referred("AWS::SQS::Queue", &goal["DeadLetterConfig"]["Arn"]).is_none() {
            complaints.push(format!("{id}: loses what cannot be handed on"));
        }
        let kept = leg.all("AWS::SQS::QueuePolicy").into_iter().any(|(_, policy)| {
            let statement = &policy["PolicyDocument"]["Statement"][0];
            let from = list(&statement["Condition"]["ArnEquals"]["aws:SourceArn"]);
            target(&policy["Queues"][0]) == Some(queue)
                && from.iter().any(|from| target(from) == Some(id))
        });
        if !kept {
            complaints.push(format!("{id}: what cannot be handed on is not kept"));
        }
    }
    let elsewhere =
        json!({"Fn::Not": [{"Fn::Equals": [{"Ref": "Region"}, {"Ref": "AWS::Region"}]}]});
    let assertions = list(&leg.root["Rules"]["Place"]["Assertions"]);
    if !assertions.iter().any(|one| one["Assert"] == elsewhere) {
        complaints.push("it can be deployed for a stack in this very region".to_owned());
    }
    complaints
}

/// What several rules of the stack hear of one source, in one pattern: one for each would hand the same event on twice.
fn together(patterns: impl Iterator<Item = Value>) -> Vec<Value> {
    let mut of_sources: BTreeMap<String, Value> = BTreeMap::new();
    for pattern in patterns {
        let all = of_sources.entry(pattern["source"].to_string()).or_insert(Value::Null);
        unite(all, &pattern);
    }
    of_sources.into_values().map(in_order).collect()
}

fn unite(all: &mut Value, more: &Value) {
    match (all, more) {
        (Value::Object(all), Value::Object(more)) => {
            for (name, more) in more {
                unite(all.entry(name.as_str()).or_insert(Value::Null), more);
            }
        }
        (Value::Array(all), Value::Array(more)) => {
            let new: Vec<_> = more.iter().filter(|one| !all.contains(one)).cloned().collect();
            all.extend(new);
        }
        (all, more) => *all = more.clone(),
    }
}

/// The same pattern whatever the order of its lists.
fn in_order(mut pattern: Value) -> Value {
    match &mut pattern {
        Value::Array(values) => values.sort_by_key(Value::to_string),
        Value::Object(fields) => {
            fields.values_mut().for_each(|value| *value = in_order(value.take()))
        }
        _ => {}
    }
    pattern
}

fn without_region(rule: &Value) -> Value {
    let mut pattern = rule["EventPattern"].clone();
    if let Some(fields) = pattern.as_object_mut() {
        fields.remove("region");
    }
    pattern
}
