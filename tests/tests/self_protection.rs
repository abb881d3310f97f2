//! Every call that can disable Quell leads to a critical message that names the call, the resource and who made it,
//! under the policy that a fresh deployment has.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, time::Duration};

use quamina::Quamina;
use quell_controls::REGISTRY;
use quell_engine::{
    Listen, Meta, listen,
    policy::{Notify, Policy},
};
use quell_local::{Function, scenario};
use quell_tests::rig::{Rig, binary};
use serde_json::{Value, json};

const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/1d3f5a7b-2c4e-4680-9bdf-13579bdf2468";

/// A rule that is there, but disabled, and a trail that is stopped: what the two controls that read find.
const RULE: &str = "quell-disabled-matrix";
const TRAIL: &str = "all-calls-matrix";

/// The call as CloudTrail names it, its event source, its parameters, and what a message must name.
fn calls() -> Vec<(&'static str, &'static str, Value, &'static str)> {
    let function = || json!({"functionName": "quell-s3-exposure"});
    let version = || json!({"functionName": "arn:aws:lambda:eu-west-1:123456789012:function:quell-operator:live"});
    let rule = || json!({"name": "quell-S3ExposureS3Calls-1A2B"});
    let target = || json!({"rule": "quell-S3ExposureS3Calls-1A2B", "ids": ["s3-exposure"]});
    let role = || json!({"roleName": "quell-S3ExposureRole-1A2B", "policyName": "s3-exposure"});
    let policy = || json!({"policyArn": "arn:aws:iam::123456789012:policy/quell-Guardrails-1A2B"});
    let topic = || json!({"topicArn": "arn:aws:sns:eu-west-1:123456789012:quell-messages"});
    let subscription =
        || json!({"subscriptionArn": "arn:aws:sns:eu-west-1:123456789012:quell-heartbeat:0c9f"});
    let queue = || json!({"queueUrl": "https://sqs.eu-west-1.amazonaws.com/123456789012/quell-S3ExposureDeadLetters-1A2B"});
    let table = || json!({"tableName": "quell-Ledger-1A2B"});
    let table_arn = || json!({"resourceArn": "arn:aws:dynamodb:eu-west-1:123456789012:table/quell-Ledger-1A2B"});
    let key = || json!({"keyId": KEY});
    let key_id = || json!({"keyId": KEY.rsplit('/').next()});
    let logs = || json!({"logGroupName": "/aws/lambda/quell-s3-exposure"});
    let alarms = || json!({"alarmNames": ["quell-HeartbeatAlarm-1A2B"]});
    let alarm = || json!({"alarmName": "quell-HeartbeatAlarm-1A2B"});
    let stack = || json!({"stackName": "quell"});
    let stack_arn =
        || json!({"stackName": "arn:aws:cloudformation:eu-west-1:123456789012:stack/quell/0c9f"});
    let schedule = || json!({"name": "quell-Heartbeat-1A2B", "groupName": "quell-heartbeat"});
    let group = || json!({"name": "quell-heartbeat"});
    let trail = || json!({"name": "arn:aws:cloudtrail:eu-west-1:123456789012:trail/all-calls"});
    vec![
        ("DisableRule", "events", json!({"name": RULE}), RULE),
        ("DeleteRule", "events", rule(), "events:rule/quell-S3ExposureS3Calls-1A2B"),
        (
            "PutRule",
            "events",
            json!({"name": RULE, "state": "DISABLED"}),
            "events:rule/quell-disabled-matrix",
        ),
        ("PutTargets", "events", target(), "events:rule/quell-S3ExposureS3Calls-1A2B"),
        ("RemoveTargets", "events", target(), "events:rule/quell-S3ExposureS3Calls-1A2B"),
        ("AddPermission20150331v2", "lambda", function(), "lambda:function:quell-s3-exposure"),
        ("CreateFunctionUrlConfig", "lambda", function(), "lambda:function:quell-s3-exposure"),
        ("DeleteFunction20150331", "lambda", version(), "lambda:function:quell-operator"),
        (
            "DeleteFunctionCodeSigningConfig",
            "lambda",
            function(),
            "lambda:function:quell-s3-exposure",
        ),
        (
            "DeleteFunctionConcurrency20171031",
            "lambda",
            function(),
            "lambda:function:quell-s3-exposure",
        ),
        (
            "DeleteFunctionEventInvokeConfig",
            "lambda",
            function(),
            "lambda:function:quell-s3-exposure",
        ),
        ("DeleteFunctionUrlConfig", "lambda", version(), "lambda:function:quell-operator"),
        ("PutFunctionCodeSigningConfig", "lambda", function(), "lambda:function:quell-s3-exposure"),
        (
            "PutFunctionConcurrency20171031",
            "lambda",
            function(),
            "lambda:function:quell-s3-exposure",
        ),
        ("PutFunctionEventInvokeConfig", "lambda", function(), "lambda:function:quell-s3-exposure"),
        ("PutRuntimeManagementConfig", "lambda", function(), "lambda:function:quell-s3-exposure"),
        ("RemovePermission20150331v2", "lambda", function(), "lambda:function:quell-s3-exposure"),
        ("UpdateFunctionCode20150331v2", "lambda", function(), "lambda:function:quell-s3-exposure"),
        (
            "UpdateFunctionConfiguration20150331v2",
            "lambda",
            function(),
            "lambda:function:quell-s3-exposure",
        ),
        (
            "UpdateFunctionEventInvokeConfig",
            "lambda",
            function(),
            "lambda:function:quell-s3-exposure",
        ),
        ("UpdateFunctionUrlConfig", "lambda", version(), "lambda:function:quell-operator"),
        ("AddRoleToInstanceProfile", "iam", role(), "iam:role/quell-S3ExposureRole-1A2B"),
        ("AttachRolePolicy", "iam", role(), "iam:role/quell-S3ExposureRole-1A2B"),
        ("CreatePolicyVersion", "iam", policy(), "iam:policy/quell-Guardrails-1A2B"),
        ("DeletePolicy", "iam", policy(), "iam:policy/quell-Guardrails-1A2B"),
        ("DeletePolicyVersion", "iam", policy(), "iam:policy/quell-Guardrails-1A2B"),
        ("DeleteRole", "iam", role(), "iam:role/quell-S3ExposureRole-1A2B"),
        ("DeleteRolePermissionsBoundary", "iam", role(), "iam:role/quell-S3ExposureRole-1A2B"),
        ("DeleteRolePolicy", "iam", role(), "iam:role/quell-S3ExposureRole-1A2B"),
        ("DetachRolePolicy", "iam", role(), "iam:role/quell-S3ExposureRole-1A2B"),
        ("PutRolePermissionsBoundary", "iam", role(), "iam:role/quell-S3ExposureRole-1A2B"),
        ("PutRolePolicy", "iam", role(), "iam:role/quell-S3ExposureRole-1A2B"),
        ("SetDefaultPolicyVersion", "iam", policy(), "iam:policy/quell-Guardrails-1A2B"),
        ("UpdateAssumeRolePolicy", "iam", role(), "iam:role/quell-S3ExposureRole-1A2B"),
        ("UpdateRole", "iam", role(), "iam:role/quell-S3ExposureRole-1A2B"),
        ("AddPermission", "sns", topic(), "sns:quell-messages"),
        ("DeleteTopic", "sns", topic(), "sns:quell-messages"),
        (
            "PutDataProtectionPolicy",
            "sns",
            json!({"resourceArn": "arn:aws:sns:eu-west-1:123456789012:quell-messages"}),
            "sns:quell-messages",
        ),
        ("RemovePermission", "sns", topic(), "sns:quell-messages"),
        ("SetSubscriptionAttributes", "sns", subscription(), "sns:quell-heartbeat"),
        ("SetTopicAttributes", "sns", topic(), "sns:quell-messages"),
        ("Unsubscribe", "sns", subscription(), "sns:quell-heartbeat"),
        ("AddPermission", "sqs", queue(), "sqs:quell-S3ExposureDeadLetters-1A2B"),
        ("DeleteQueue", "sqs", queue(), "sqs:quell-S3ExposureDeadLetters-1A2B"),
        ("PurgeQueue", "sqs", queue(), "sqs:quell-S3ExposureDeadLetters-1A2B"),
        ("RemovePermission", "sqs", queue(), "sqs:quell-S3ExposureDeadLetters-1A2B"),
        ("SetQueueAttributes", "sqs", queue(), "sqs:quell-S3ExposureDeadLetters-1A2B"),
        ("DeleteResourcePolicy", "dynamodb", table_arn(), "dynamodb:table/quell-Ledger-1A2B"),
        ("DeleteTable", "dynamodb", table(), "dynamodb:table/quell-Ledger-1A2B"),
        ("PutResourcePolicy", "dynamodb", table_arn(), "dynamodb:table/quell-Ledger-1A2B"),
        ("UpdateContinuousBackups", "dynamodb", table(), "dynamodb:table/quell-Ledger-1A2B"),
        ("UpdateTable", "dynamodb", table(), "dynamodb:table/quell-Ledger-1A2B"),
        ("UpdateTimeToLive", "dynamodb", table(), "dynamodb:table/quell-Ledger-1A2B"),
        ("CreateGrant", "kms", key(), "kms:key/1d3f5a7b"),
        ("DisableKey", "kms", key(), "kms:key/1d3f5a7b"),
        ("DisableKeyRotation", "kms", key_id(), "kms:key/1d3f5a7b"),
        ("PutKeyPolicy", "kms", key_id(), "kms:key/1d3f5a7b"),
        ("ScheduleKeyDeletion", "kms", key_id(), "kms:key/1d3f5a7b"),
        ("AssociateKmsKey", "logs", logs(), "logs:log-group:/aws/lambda/quell-s3-exposure"),
        ("DeleteLogGroup", "logs", logs(), "logs:log-group:/aws/lambda/quell-s3-exposure"),
        ("DeleteLogStream", "logs", logs(), "logs:log-group:/aws/lambda/quell-s3-exposure"),
        ("PutRetentionPolicy", "logs", logs(), "logs:log-group:/aws/lambda/quell-s3-exposure"),
        ("DeleteAlarms", "monitoring", alarms(), "cloudwatch:alarm:quell-HeartbeatAlarm-1A2B"),
        (
            "DisableAlarmActions",
            "monitoring",
            alarms(),
            "cloudwatch:alarm:quell-HeartbeatAlarm-1A2B",
        ),
        ("PutMetricAlarm", "monitoring", alarm(), "cloudwatch:alarm:quell-HeartbeatAlarm-1A2B"),
        ("SetAlarmState", "monitoring", alarm(), "cloudwatch:alarm:quell-HeartbeatAlarm-1A2B"),
        ("DeleteStack", "cloudformation", stack_arn(), "cloudformation:stack/quell"),
        ("ExecuteChangeSet", "cloudformation", stack(), "cloudformation:stack/quell"),
        ("SetStackPolicy", "cloudformation", stack(), "cloudformation:stack/quell"),
        ("UpdateStack", "cloudformation", stack_arn(), "cloudformation:stack/quell"),
        ("UpdateTerminationProtection", "cloudformation", stack(), "cloudformation:stack/quell"),
        (
            "DeleteSchedule",
            "scheduler",
            schedule(),
            "scheduler:schedule/quell-heartbeat/quell-Heartbeat-1A2B",
        ),
        ("DeleteScheduleGroup", "scheduler", group(), "quell-heartbeat"),
        (
            "UpdateSchedule",
            "scheduler",
            schedule(),
            "scheduler:schedule/quell-heartbeat/quell-Heartbeat-1A2B",
        ),
        ("StopLogging", "cloudtrail", json!({"name": TRAIL}), TRAIL),
        ("DeleteTrail", "cloudtrail", trail(), "cloudtrail:trail/all-calls"),
        (
            "PutEventSelectors",
            "cloudtrail",
            json!({"trailName": "all-calls"}),
            "cloudtrail:trail/all-calls",
        ),
        ("UpdateTrail", "cloudtrail", trail(), "cloudtrail:trail/all-calls"),
    ]
}

const DEPLOYER: &str = "arn:aws:iam::123456789012:role/teams/deploy";

#[tokio::test]
async fn each_call_that_can_disable_quell_is_a_critical_message_with_call_resource_and_actor() {
    let rig = Rig::start().await;
    for control in ["quell-rule-disabled", "cloudtrail-logging"] {
        scenario::stage(&rig.cloud, control, "matrix").await.unwrap();
    }
    // So many within a moment would be counted: here each has to be told.
    let notify = Notify { fold_minutes: 0, ..Notify::DEFAULT };
    rig.stack.apply_policy(&Policy { notify, ..Policy::observe() }).await.unwrap();
    let function = audit_trail(&rig, "");
    let rules = rules();
    let calls = calls();
    for (number, (name, service, parameters, resource)) in calls.iter().enumerate() {
        let event = event(name, service, parameters, number, "mallory");
        let matching = rules.matches_for_event(event.to_string().as_bytes()).unwrap();
        assert_eq!(matching.len(), 1, "{service} {name} matches the rules {matching:?}");
        let answer = function.invoke(event.to_string()).await.unwrap().answer;
        assert_eq!(answer.error_message(), None, "{service} {name}");

        let messages = rig.stack.messages().await.unwrap();
        let base = name.split("20").next().unwrap();
        let told = messages.iter().any(|message| {
            let told: Value = serde_json::from_str(&message.body).unwrap();
            let names_call = told["changes"][0]["action"].as_str().is_some_and(|action| {
                action.ends_with(&format!(":{base}"))
                    // These two say what puts it right.
                    || (base == "DisableRule" && action == "events:EnableRule")
                    || (base == "StopLogging" && action == "cloudtrail:StartLogging")
            });
            message.attributes["severity"] == "critical"
                && told["control"]["severity"] == "critical"
                && told["outcome"] == "observed"
                && names_call
                && told["resource"]["name"].as_str().unwrap().contains(resource)
                && told["actor"]["principal"] == "role mallory (session m)"
        });
        assert!(told, "{service} {name}: {messages:#?}");
    }
    println!("{} calls", calls.len());
}

/// IAM speaks in us-east-1 alone; `template-global.yaml` hands on what it says, and the test of the template shows what.
#[tokio::test]
async fn what_was_called_in_the_region_of_global_services_is_told_where_the_stack_is() {
    let rig = Rig::start().await;
    let function = audit_trail(&rig, "");
    let parameters = json!({"roleName": "quell-S3ExposureRole-1A2B", "policyName": "more"});
    let mut event = event("PutRolePolicy", "iam", &parameters, 1, "mallory");
    event["region"] = json!("us-east-1");
    event["detail"]["awsRegion"] = json!("us-east-1");
    let matching = rules().matches_for_event(event.to_string().as_bytes()).unwrap().len();
    assert_eq!(matching, 1, "as it came, it is heard by a rule of the stack");
    let answer = function.invoke(event.to_string()).await.unwrap().answer;
    assert_eq!(answer.error_message(), None);
    let told = rig.stack.messages().await.unwrap();
    let told: Value = serde_json::from_str(&told[0].body).unwrap();
    assert_eq!(told["resource"]["name"], "iam:role/quell-S3ExposureRole-1A2B");
    assert_eq!(told["region"], "us-east-1", "{told:#}");
}

/// What is listened for and what is in the table above are the same.
#[test]
fn the_matrix_has_every_call_that_is_listened_for() {
    let tested: BTreeSet<(String, String)> = calls()
        .into_iter()
        .map(|(name, service, ..)| {
            (format!("{service}.amazonaws.com"), name.split("20").next().unwrap().to_owned())
        })
        .collect();
    // Quell neither consists of these nor hears by them alone: their laws are enough.
    let others = ["config-recorder", "guardduty-detector"];
    let listened: BTreeSet<(String, String)> = controls()
        .iter()
        .filter(|meta| !others.contains(&meta.id))
        .flat_map(|meta| meta.listens)
        .filter_map(|listen| match listen {
            Listen::ApiCall { service, calls, .. } => Some((service, calls)),
            _ => None,
        })
        .flat_map(|(service, calls)| {
            calls.iter().map(|call| ((*service).to_owned(), call.trim_end_matches('*').to_owned()))
        })
        .collect();
    assert_eq!(tested, listened);
    assert!(tested.len() >= 25);
}

#[tokio::test]
async fn what_the_deployer_does_is_recorded_and_told_to_nobody_and_what_others_do_is_told() {
    let rig = Rig::start().await;
    let function = audit_trail(&rig, DEPLOYER);
    let parameters = json!({"functionName": "quell-s3-exposure"});
    for (number, actor, outcome) in [(1, "deploy", "exempt"), (2, "deployer", "observed")] {
        let event = event("UpdateFunctionCode20150331v2", "lambda", &parameters, number, actor);
        let answer = function.invoke(event.to_string()).await.unwrap().answer;
        let quell_local::Answer::Response(response) = answer else { panic!("{answer:?}") };
        let result = &response["results"][0];
        assert_eq!(result["outcome"], outcome, "{actor}: {response:#}");
        let record = rig.ledger.read(result["record"].as_str().unwrap()).await.unwrap().unwrap();
        assert_eq!(record.status.outcome().as_str(), outcome);
        let told = rig.stack.messages().await.unwrap();
        assert_eq!(told.len(), usize::from(outcome == "observed"), "{told:#?}");
        if outcome == "exempt" {
            assert!(record.result.reason.unwrap().contains(DEPLOYER));
        }
    }
}

#[tokio::test]
async fn a_call_whose_parameters_were_left_out_is_told_all_the_same() {
    let rig = Rig::start().await;
    let function = audit_trail(&rig, "");
    let event = quell_tests::read("events/quell-tampered/omitted.json").unwrap();
    let answer = function.invoke(event).await.unwrap().answer;
    assert_eq!(answer.error_message(), None);
    let told = rig.stack.messages().await.unwrap();
    assert_eq!(told.len(), 1);
    let told: Value = serde_json::from_str(&told[0].body).unwrap();
    assert_eq!(told["resource"]["name"], "iam:unknown");
    assert_eq!(told["changes"][0]["action"], "iam:PutRolePolicy");
    assert!(told["notes"][1].as_str().unwrap().contains("left the parameters of the call out"));
}

#[tokio::test]
async fn a_resource_that_is_gone_is_told_of() {
    let rig = Rig::start().await;
    let rule = "quell-gone-1A2B";
    rig.cloud
        .events
        .put_rule()
        .name(rule)
        .event_pattern("{\"source\":[\"aws.s3\"]}")
        .send()
        .await
        .unwrap();
    rig.cloud.events.delete_rule().name(rule).send().await.unwrap();
    let event = event("DeleteRule", "events", &json!({"name": rule}), 1, "mallory");
    audit_trail(&rig, "").invoke(event.to_string()).await.unwrap();
    let told = rig.stack.messages().await.unwrap();
    assert_eq!(told.len(), 1);
    assert!(told[0].body.contains("the rule is gone"), "{}", told[0].body);
}

#[tokio::test]
async fn a_stack_name_that_cannot_be_told_from_others_is_an_error() {
    let rig = Rig::start().await;
    let mut environment = rig.stack.environment("observe");
    environment.retain(|(name, _)| name != "QUELL_STACK");
    environment.push(("QUELL_STACK".to_owned(), "a-name-of-more-than-24-letters".to_owned()));
    let event = event("DeleteRule", "events", &json!({"name": "x"}), 1, "mallory");
    let answer = function(environment).invoke(event.to_string()).await.unwrap().answer;
    let message = answer.error_message().unwrap();
    assert!(message.contains("QUELL_STACK") && message.contains("24 characters"), "{message}");
}

/// As a fresh deployment has it: no policy, and the ceiling `observe`.
fn audit_trail(rig: &Rig, deployer: &str) -> Function {
    let mut environment = rig.stack.environment("observe");
    environment.push(("QUELL_KEYS".to_owned(), KEY.to_owned()));
    environment.push(("QUELL_DEPLOYER".to_owned(), deployer.to_owned()));
    function(environment)
}

fn function(environment: Vec<(String, String)>) -> Function {
    let program = binary("audit-trail");
    Function::new("audit-trail", program, environment, Duration::from_secs(60), 256)
}

fn controls() -> Vec<&'static Meta> {
    REGISTRY.iter().copied().filter(|meta| meta.function == "audit-trail").collect()
}

/// The rules of the function, as the template has them.
fn rules() -> Quamina<String> {
    let mut matcher = Quamina::new();
    for (name, pattern) in listen::rules(&controls()) {
        matcher.add_pattern(name, &pattern.to_string()).unwrap();
    }
    matcher
}

fn event(name: &str, service: &str, parameters: &Value, number: usize, role: &str) -> Value {
    let mut event: Value =
        serde_json::from_str(&quell_tests::read("events/quell-tampered/violating.json").unwrap())
            .unwrap();
    event["id"] = json!(format!("00000000-0000-4000-8000-{number:012}"));
    event["source"] = json!(format!("aws.{service}"));
    let detail = &mut event["detail"];
    detail["eventSource"] = json!(format!("{service}.amazonaws.com"));
    detail["eventName"] = json!(name);
    detail["requestParameters"] = parameters.clone();
    detail["eventID"] = json!(format!("10000000-0000-4000-8000-{number:012}"));
    detail["requestID"] = json!(format!("20000000-0000-4000-8000-{number:012}"));
    let identity = &mut detail["userIdentity"];
    identity["arn"] = json!(format!("arn:aws:sts::123456789012:assumed-role/{role}/m"));
    identity["principalId"] = json!("AROA4QUELLEXAMPLE0001:m");
    identity["sessionContext"]["sessionIssuer"]["userName"] = json!(role);
    event
}
