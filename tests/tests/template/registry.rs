//! The template's rules and permissions are those that the controls ask for.

use std::collections::{BTreeMap, BTreeSet};

use quell_controls::REGISTRY;
use quell_engine::{Meta, listen};
use serde_json::Value;

use crate::{
    heartbeat::heard,
    lints::{Lint, ceiling, customer_actions},
    model::{Function, Template, target},
};

#[test]
fn rules_are_those_of_the_controls() {
    let complaints = rules(&Template::of_the_project());
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn permissions_are_those_of_the_controls() {
    let complaints = permissions(&Template::of_the_project());
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn a_difference_is_seen() {
    let role = "/Resources/S3ExposureRole/Properties/Policies/0/PolicyDocument/Statement";
    let pattern = "/Resources/S3ExposureS3Calls/Properties/EventPattern/detail";
    let faults: [(Lint, String, &str, &str); 5] = [
        (rules, format!("{pattern}/eventName/0"), "", "make it:\n\n  S3ExposureS3Calls:"),
        (rules, "/Resources/S3ExposureS3Calls".into(), "", "make it:\n\n  S3ExposureS3Calls:"),
        (rules, "/Resources/Ec2MetadataInstanceStates/Type".into(), r#""AWS::SQS::Queue""#, "make"),
        (permissions, format!("{role}/0/Action/0"), r#""s3:GetObject""#, "may s3:GetObject"),
        (permissions, format!("{role}/2/Fn::If/1/Action/0"), "", "may not s3:DeleteBucketPolicy"),
    ];
    for (check, at, put, says) in faults {
        let mut template = Template::of_the_project();
        crate::change(&mut template.root, &at, put);
        let complaints = check(&template);
        assert!(
            complaints.iter().any(|complaint| complaint.contains(says)),
            "{at}: {complaints:?}"
        );
    }
}

/// Rules that differ from what the controls listen for, with the rows to write instead.
fn rules(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut there: BTreeMap<&str, &Value> = template.all("AWS::Events::Rule").into_iter().collect();
    for function in template.functions() {
        let prefix = function.id.trim_end_matches("Function");
        for (name, pattern) in listen::rules(&controls(&function)) {
            let id = format!("{prefix}{name}");
            let found = there.remove(id.as_str());
            let same = found.is_some_and(|rule| {
                comparable(&rule["EventPattern"]) == comparable(&pattern)
                    && target(&rule["Targets"][0]["Arn"]) == Some(&function.id)
            });
            if !same {
                let rows = rows(&id, prefix, binary(&function), &pattern);
                complaints
                    .push(format!("{id} is not what the controls listen for; make it:\n{rows}"));
            }
        }
    }
    // Schedules and heartbeats are nobody's signal.
    let heard = heard(template);
    there.retain(|id, rule| rule["ScheduleExpression"].is_null() && !heard.contains(id));
    complaints.extend(there.into_keys().map(|id| format!("{id}: no control listens for it")));
    complaints
}

/// What roles may do, but the controls do not need, or the other way round.
fn permissions(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    for function in template.functions() {
        let role = target(&function.properties["Role"]).unwrap_or_default();
        let controls = controls(&function);
        let union = |actions: fn(&Meta) -> &'static [&'static str]| {
            controls.iter().flat_map(move |meta| actions(meta)).map(|action| (*action).to_owned())
        };
        let reads: BTreeSet<String> =
            union(|meta| meta.reads).chain(union(|meta| meta.discovers)).collect();
        let both: BTreeSet<String> =
            reads.iter().cloned().chain(union(|meta| meta.writes)).collect();
        for (setting, needed) in [("observe", reads), ("act", both)] {
            let name = ceiling(&function).unwrap_or_default();
            let granted = customer_actions(&template.deployed(&[(name, setting)]), role);
            for action in needed.difference(&granted) {
                complaints.push(format!("{role}: may not {action} under {name} {setting}"));
            }
            for action in granted.difference(&needed) {
                complaints
                    .push(format!("{role}: may {action} under {name} {setting}; none needs it"));
            }
        }
    }
    complaints
}

fn controls(function: &Function) -> Vec<&'static Meta> {
    let binary = binary(function);
    REGISTRY.iter().copied().filter(|meta| meta.function == binary).collect()
}

fn binary(function: &Function) -> &str {
    function.metadata["BuildProperties"]["Binary"].as_str().unwrap_or_default()
}

/// Patterns mean the same whatever the order of their values, and 7 is 7.0.
fn comparable(pattern: &Value) -> Value {
    match pattern {
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), comparable(value))).collect()
        }
        Value::Array(values) => {
            let mut values: Vec<Value> = values.iter().map(comparable).collect();
            values.sort_by_key(Value::to_string);
            Value::Array(values)
        }
        Value::Number(number) => number.as_f64().into(),
        plain => plain.clone(),
    }
}

/// A rule as it stands in the template, and the permission that goes with it.
fn rows(id: &str, prefix: &str, binary: &str, pattern: &Value) -> String {
    let pattern = serde_yaml_ng::to_string(pattern).unwrap_or_default();
    let pattern: String = pattern.lines().map(|line| format!("        {line}\n")).collect();
    format!(
        "
  {id}:
    Type: AWS::Events::Rule
    Properties:
      EventPattern:
{pattern}      Targets:
        - Id: {binary}
          Arn: !GetAtt {prefix}Function.Arn
          RetryPolicy: {{MaximumEventAgeInSeconds: 86400, MaximumRetryAttempts: 185}}
          DeadLetterConfig: {{Arn: !GetAtt {prefix}DeadLetters.Arn}}

  {id}Permission:
    Type: AWS::Lambda::Permission
    Properties:
      Action: lambda:InvokeFunction
      FunctionName: !Ref {prefix}Function
      Principal: events.amazonaws.com
      SourceArn: !GetAtt {id}.Arn

(and {id} in {prefix}DeadLettersPolicy and {prefix}DeliveryAlarm)
"
    )
}
