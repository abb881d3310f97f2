//! What must hold for the template. Each lint returns its complaints.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use quell_controls::REGISTRY;
use serde_json::{Value, json};

use crate::{
    heartbeat::heard,
    model::{Function, Template, arn_of, list, target, texts},
};

pub(crate) type Lint = fn(&Template) -> Vec<String>;

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
const OPERATOR: &[&str] = &["dynamodb:DeleteItem", "dynamodb:Query", "lambda:InvokeFunction"];

/// The function whose URL is public: it answers requests, and is invoked in no other way.
const PUBLIC: &str = "slack-actions";

/// What Lambda does for a function that has a queue before it.
const LISTENER: &[&str] = &["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"];

/// Functions that hear of messages and send none.
const LISTENERS: &[&str] = &["slack"];

/// Actions that IAM cannot bind to a resource.
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/>
const UNBOUND: &[&str] = &[
    "cloudwatch:GetMetricStatistics",
    "ec2:DescribeImages",
    "ec2:DescribeInstances",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroupRules",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSnapshots",
    "ec2:DisableEbsEncryptionByDefault",
    "ec2:DisableImageBlockPublicAccess",
    "ec2:DisableSnapshotBlockPublicAccess",
    "ec2:EnableEbsEncryptionByDefault",
    "ec2:EnableImageBlockPublicAccess",
    "ec2:EnableSnapshotBlockPublicAccess",
    "ec2:GetEbsEncryptionByDefault",
    "ec2:GetImageBlockPublicAccessState",
    "ec2:GetSnapshotBlockPublicAccessState",
    "s3:GetAccountPublicAccessBlock",
    "s3:ListAllMyBuckets",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
];

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
    "detail.newEvaluationResult.complianceType",
    "detail.resourceType",
    "detail.severity",
    "detail.state",
    "detail.status",
    "detail.type",
    "detail.userIdentity.sessionContext.sessionIssuer.arn",
];

/// EventBridge's limit for a pattern.
const PATTERN_LIMIT: usize = 2048;

/// Every function is built from the binary of its folder, and every folder is deployed.
pub(crate) fn functions_are_the_binaries(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../functions");
    let mut left: BTreeSet<String> = fs::read_dir(&folder)
        .expect("there is a folder functions/")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    for function in template.functions() {
        let Function { id, properties, metadata } = &function;
        let binary = metadata["BuildProperties"]["Binary"].as_str().unwrap_or_default();
        if !left.remove(binary) {
            complaints.push(format!("{id}: there is no functions/{binary}"));
        }
        if properties["CodeUri"] != format!("functions/{binary}") {
            complaints.push(format!("{id}: is not built where {binary} is"));
        }
        let manifest =
            fs::read_to_string(folder.join(binary).join("Cargo.toml")).unwrap_or_default();
        if !manifest.contains(&format!("name = \"{binary}\"")) {
            complaints.push(format!("{id}: functions/{binary} makes no binary {binary}"));
        }
        if metadata["BuildMethod"] != "rust-cargolambda"
            || properties["Runtime"] != "provided.al2023"
            || properties["Handler"] != "bootstrap"
        {
            complaints.push(format!("{id}: is not built and run as a Rust function"));
        }
        if properties["Timeout"].as_u64().is_none_or(|seconds| seconds > 60) {
            complaints.push(format!("{id}: may run for more than a minute"));
        }
    }
    complaints.extend(left.into_iter().map(|binary| format!("functions/{binary}: not deployed")));
    complaints
}

/// Where code is signed, no function runs other code.
pub(crate) fn code_can_be_signed(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    for Function { id, properties, .. } in template.functions() {
        let signing =
            json!({"Fn::If": ["SignsCode", {"Ref": "CodeSigning"}, {"Ref": "AWS::NoValue"}]});
        if properties["CodeSigningConfigArn"] != signing {
            complaints.push(format!("{id}: runs code that nobody signed"));
        }
    }
    for (id, signing) in template.all("AWS::Lambda::CodeSigningConfig") {
        if signing["CodeSigningPolicies"]["UntrustedArtifactOnDeployment"] != "Enforce" {
            complaints.push(format!("{id}: only warns"));
        }
        if signing["AllowedPublishers"]["SigningProfileVersionArns"]
            != json!({"Ref": "SigningProfiles"})
        {
            complaints.push(format!("{id}: trusts other profiles than its parameter names"));
        }
    }
    complaints
}

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
fn admitted_rules<'a>(template: &'a Template, queue: &Value) -> Vec<&'a Value> {
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
            && pattern["detail"]["errorCode"] != serde_json::json!([{"exists": false}])
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

/// An event on which a function fails is tried again, then kept.
pub(crate) fn failed_events_are_kept(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    for function in template.functions().iter().filter(|function| !is_public(function)) {
        let Function { id, properties, .. } = function;
        if properties["EventInvokeConfig"]["MaximumRetryAttempts"] != 2 {
            complaints.push(format!("{id}: is not tried twice more"));
        }
        // Its queue keeps what fails.
        if is_fed(template, id) {
            continue;
        }
        let letters = &properties["DeadLetterQueue"];
        if letters["Type"] != "SQS"
            || template.referred("AWS::SQS::Queue", &letters["TargetArn"]).is_none()
        {
            complaints.push(format!("{id}: has no dead-letter queue"));
            continue;
        }
        let role = target(&properties["Role"]).unwrap_or_default();
        if !template.statements(role).iter().any(|statement| {
            texts(&statement["Action"]).contains(&"sqs:SendMessage")
                && list(&statement["Resource"]) == [&letters["TargetArn"]]
        }) {
            complaints.push(format!("{id}: may not send to its dead-letter queue"));
        }
    }
    complaints
}

/// Whether a queue stands before the function.
fn is_fed(template: &Template, function: &str) -> bool {
    let mappings = template.all("AWS::Lambda::EventSourceMapping").into_iter();
    mappings.filter_map(|(_, mapping)| target(&mapping["FunctionName"])).any(|fed| fed == function)
}

/// A queue that feeds a function gets the messages as they are and nothing else, shows none of them while it is worked
/// on, and keeps what fails, alone and apart.
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
        let timeout = function.properties["Timeout"].as_u64().unwrap_or_default();
        if kept["VisibilityTimeout"].as_u64().is_none_or(|seconds| seconds < 6 * timeout) {
            complaints.push(format!("{queue}: shows messages that are still worked on"));
        }
        let redrive = &kept["RedrivePolicy"];
        let letters = template.referred("AWS::SQS::Queue", &redrive["deadLetterTargetArn"]);
        if letters.is_none_or(|(letters, _)| letters == queue) {
            complaints.push(format!("{queue}: has no dead-letter queue"));
        }
        if redrive["maxReceiveCount"].as_u64().is_none_or(|count| count < 5) {
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
        // Slack says alarms too.
        let takes_alarms = only_listens(function);
        if !takes_alarms && subscription["FilterPolicy"] != json!({"outcome": [{"exists": true}]}) {
            complaints.push(format!("{queue}: gets alarms, which are no messages"));
        }
        let policies = template.all("AWS::SQS::QueuePolicy").into_iter();
        let admits: Vec<_> = policies
            .filter(|(_, policy)| {
                list(&policy["Queues"]).iter().any(|one| target(one) == Some(queue))
            })
            .flat_map(|(_, policy)| list(&policy["PolicyDocument"]["Statement"]))
            .collect();
        let is_topic = |statement: &&Value| {
            admits_service(statement, "sns.amazonaws.com", "sqs:SendMessage")
                && statement["Resource"] == arn_of(queue)
                && target(&statement["Condition"]["ArnEquals"]["aws:SourceArn"]) == Some(MESSAGES)
        };
        if admits.len() != 1 || !admits.iter().all(is_topic) {
            complaints.push(format!("{queue}: does not admit the topic, and it alone"));
        }
    }
    complaints
}

/// The queues before functions.
fn feeding(template: &Template) -> Vec<&str> {
    let mappings = template.all("AWS::Lambda::EventSourceMapping").into_iter();
    mappings.filter_map(|(_, mapping)| target(&mapping["EventSourceArn"])).collect()
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
fn beats(template: &Template) -> Vec<&str> {
    let heard = heard(template);
    let rules = template.all("AWS::Events::Rule").into_iter();
    rules
        .filter(|(id, _)| heard.contains(id))
        .flat_map(|(_, rule)| list(&rule["Targets"]))
        .filter_map(|goal| target(&goal["Arn"]))
        .collect()
}

/// A queue before a function hears the topic alone, gets its messages as they are, outlasts its function, and keeps
/// what nobody handles where the function's other failures wait.
pub(crate) fn sources_lose_nothing(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    let functions = template.functions();
    for (id, source) in template.all("AWS::Lambda::EventSourceMapping") {
        let Some((queue, properties)) =
            template.referred("AWS::SQS::Queue", &source["EventSourceArn"])
        else {
            complaints.push(format!("{id}: comes from no queue"));
            continue;
        };
        let function = target(&source["FunctionName"]).unwrap_or_default();
        let Some(function) = functions.iter().find(|one| one.id == function) else {
            complaints.push(format!("{id}: leads to no function"));
            continue;
        };
        if !only_listens(function) {
            continue;
        }
        if source["FunctionResponseTypes"] != json!(["ReportBatchItemFailures"]) {
            complaints.push(format!("{id}: repeats what was handled"));
        }
        let timeout = function.properties["Timeout"].as_u64().unwrap_or(u64::MAX);
        let hidden = properties["VisibilityTimeout"].as_u64().unwrap_or_default();
        if hidden < timeout.saturating_mul(6) {
            complaints.push(format!("{queue}: shows a message again while it is worked on"));
        }
        let kept = &properties["RedrivePolicy"];
        let letters = &function.properties["DeadLetterQueue"]["TargetArn"];
        if kept["deadLetterTargetArn"] != *letters
            || kept["maxReceiveCount"].as_u64().is_none_or(|count| count < 10)
        {
            complaints.push(format!("{queue}: gives messages up too early, or for good"));
        }
        let subscriptions: Vec<_> = template
            .all("AWS::SNS::Subscription")
            .into_iter()
            .filter(|(_, one)| one["Endpoint"] == arn_of(queue))
            .collect();
        let is_raw = |one: &Value| {
            one["Protocol"] == "sqs"
                && one["RawMessageDelivery"] == true
                && target(&one["TopicArn"]) == Some(MESSAGES)
                && one["RedrivePolicy"]["deadLetterTargetArn"] == *letters
        };
        if !matches!(subscriptions.as_slice(), [(_, one)] if is_raw(one)) {
            complaints
                .push(format!("{queue}: does not hear {MESSAGES} as it speaks, or loses of it"));
        }
        for queue in [queue, target(letters).unwrap_or_default()] {
            let admitted: Vec<_> = template
                .all("AWS::SQS::QueuePolicy")
                .into_iter()
                .filter(|(_, policy)| {
                    list(&policy["Queues"]).iter().any(|one| target(one) == Some(queue))
                })
                .flat_map(|(_, policy)| list(&policy["PolicyDocument"]["Statement"]))
                .collect();
            let expected = json!({"ArnEquals": {"aws:SourceArn": {"Ref": MESSAGES}}});
            let is_bound = |one: &&Value| {
                one["Principal"] == json!({"Service": "sns.amazonaws.com"})
                    && one["Action"] == "sqs:SendMessage"
                    && one["Resource"] == arn_of(queue)
                    && one["Condition"] == expected
            };
            if admitted.len() != 1 || !admitted.iter().all(is_bound) {
                complaints.push(format!("{queue}: admits others than {MESSAGES}"));
            }
        }
    }
    complaints
}

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

fn admits_service(statement: &Value, service: &str, action: &str) -> bool {
    statement["Effect"] == "Allow"
        && texts(&statement["Principal"]["Service"]).contains(&service)
        && texts(&statement["Action"]).contains(&action)
}

/// Which keys bind a statement to a source that must be named.
fn source_keys(statement: &Value) -> BTreeSet<&str> {
    statement["Condition"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(operator, _)| {
            matches!(operator.as_str(), "StringEquals" | "StringLike" | "ArnEquals" | "ArnLike")
        })
        .flat_map(|(_, keys)| keys.as_object().into_iter().flatten())
        .filter(|(_, values)| !texts(values).contains(&"*"))
        .map(|(key, _)| key.as_str())
        .filter(|key| matches!(*key, "aws:SourceAccount" | "aws:SourceArn" | "aws:PrincipalOrgID"))
        .collect()
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
        let tells = |function: &&Function| {
            !is_public(function) && !only_listens(function) && !is_fed(template, &function.id)
        };
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

/// The topic of all messages.
const MESSAGES: &str = "Messages";

fn is_messages(arn: &Value) -> bool {
    arn["Fn::Sub"].as_str().is_some_and(|arn| arn.ends_with(":${AWS::StackName}-messages"))
}

/// The topic for which a key may be used.
fn context(statement: &Value) -> &str {
    let key = "kms:EncryptionContext:aws:sns:topicArn";
    statement["Condition"]["StringEquals"][key]["Fn::Sub"].as_str().unwrap_or_default()
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

/// The parameter that is a function's ceiling.
pub(crate) fn ceiling(function: &Function) -> Option<&str> {
    function.properties["Environment"]["Variables"]["QUELL_CEILING"]["Ref"].as_str()
}

/// Whether a function is the one that the internet reaches.
fn is_public(function: &Function) -> bool {
    function.metadata["BuildProperties"]["Binary"] == PUBLIC
}

/// Whether a permission lets the internet in through the public URL, and in no other way.
fn opens_the_url(template: &Template, permission: &Value) -> bool {
    let functions = template.functions();
    let public = functions.iter().find(|function| is_public(function));
    let is_of_it = public.is_some_and(|public| permission["FunctionName"]["Ref"] == public.id);
    let through_it = match permission["Action"].as_str() {
        Some("lambda:InvokeFunctionUrl") => permission["FunctionUrlAuthType"] == "NONE",
        Some("lambda:InvokeFunction") => permission["InvokedViaFunctionUrl"] == true,
        _ => false,
    };
    is_of_it && through_it && permission["Principal"] == "*"
}

/// Whether a function looks at customers' resources at all.
fn serves_controls(function: &Function) -> bool {
    let binary = function.metadata["BuildProperties"]["Binary"].as_str();
    REGISTRY.iter().any(|meta| Some(meta.function) == binary)
}

/// Whether a function tells elsewhere what others publish.
fn only_listens(function: &Function) -> bool {
    let binary = function.metadata["BuildProperties"]["Binary"].as_str();
    binary.is_some_and(|binary| LISTENERS.contains(&binary))
}

/// Only those whom IAM names get through the function URL, orders wake only functions that serve controls, and of the
/// ledger the operator writes only what people order.
pub(crate) fn orders_are_guarded(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    let functions = template.functions();
    for function in functions.iter().filter(|function| !is_public(function)) {
        let Function { id, properties, .. } = function;
        let url = &properties["FunctionUrlConfig"];
        if !url.is_null()
            && (url["AuthType"] != "AWS_IAM" || serves_controls(function) || only_listens(function))
        {
            complaints.push(format!("{id}: can be called by people whom IAM does not know"));
        }
        let role = target(&properties["Role"]).unwrap_or_default();
        let statements = template.statements(role);
        let families: &[&str] = if serves_controls(function) {
            &["BUD#*", "BUL#*", "LCK#*", "OWN#*", "REC#*"]
        } else if only_listens(function) {
            &["SLK#*"]
        } else {
            &["APR#*", "BUL#*", "EXM#*", "HLT#halt", "REC#*"]
        };
        let writes = ["dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"];
        for statement in &statements {
            let actions = texts(&statement["Action"]);
            let condition = &statement["Condition"];
            let keys = texts(&condition["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]);
            let is_bound = !keys.is_empty()
                && keys.iter().all(|key| families.contains(key))
                && condition["Null"]["dynamodb:LeadingKeys"] == "false";
            if actions.iter().any(|action| writes.contains(action)) && !is_bound {
                complaints.push(format!("{role}: {} is not bound to its items", statement["Sid"]));
            }
        }
        if serves_controls(function) || only_listens(function) {
            let more = statements.iter().flat_map(|statement| texts(&statement["Action"]));
            for action in more.filter(|action| OPERATOR.contains(action)) {
                complaints.push(format!("{role}: may {action}, which only people's orders need"));
            }
            continue;
        }
        if is_fed(template, id) {
            continue;
        }
        let known = properties["Environment"]["Variables"]["QUELL_FUNCTIONS"]["Fn::Sub"].as_str();
        let known: BTreeSet<&str> = known.unwrap_or_default().split(',').collect();
        let wakes: BTreeSet<&str> = statements
            .iter()
            .filter(|statement| texts(&statement["Action"]).contains(&"lambda:InvokeFunction"))
            .flat_map(|statement| list(&statement["Resource"]))
            .map(|arn| arn["Fn::Sub"].as_str().unwrap_or("anything"))
            .collect();
        let served = functions.iter().filter(|function| serves_controls(function));
        let served: Vec<(&str, &str)> = served
            .filter_map(|served| {
                let name = served.metadata["BuildProperties"]["Binary"].as_str()?;
                Some((name, served.id.as_str()))
            })
            .collect();
        let expected: Vec<String> =
            served.iter().map(|(name, id)| format!("{name}=${{{id}.Arn}}")).collect();
        if known != expected.iter().map(String::as_str).collect() {
            complaints.push(format!("{id}: QUELL_FUNCTIONS does not name the functions"));
        }
        let expected: Vec<String> = served
            .iter()
            .map(|(name, _)| {
                let place = "${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}";
                format!("arn:{place}:function:${{AWS::StackName}}-{name}")
            })
            .collect();
        if wakes != expected.iter().map(String::as_str).collect() {
            complaints
                .push(format!("{role}: may not wake exactly the functions that serve controls"));
        }
    }
    for (id, policy) in template.all("AWS::IAM::ManagedPolicy") {
        for statement in list(&policy["PolicyDocument"]["Statement"]) {
            if texts(&statement["Action"]).contains(&"lambda:InvokeFunction")
                && statement["Condition"]["Bool"]["lambda:InvokedViaFunctionUrl"] != "true"
            {
                complaints.push(format!("{id}: lets people past IAM's word on who they are"));
            }
        }
    }
    complaints
}

/// With Slack on, one function has a public URL, with both permissions that it needs; it may read its secret and ask the
/// operator, who knows its role, and nothing else. With Slack off nothing of it is there.
pub(crate) fn slack_is_guarded(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    let (off, on) = (template.deployed(&[]), template.deployed(&[SLACK]));
    for kind in ["AWS::Lambda::Url", "AWS::Lambda::Permission"] {
        for (id, properties) in off.all(kind) {
            if properties["SourceArn"].is_null() {
                complaints.push(format!("{id}: is there without Slack"));
            }
        }
    }
    if off.functions().iter().any(is_public) {
        complaints.push(format!("{PUBLIC}: is there without Slack"));
    }
    let functions = on.functions();
    let Some(public) = functions.iter().find(|function| is_public(function)) else {
        complaints.push(format!("{PUBLIC}: is not there with Slack"));
        return complaints;
    };
    let (id, role) = (&public.id, target(&public.properties["Role"]).unwrap_or_default());
    let urls = on.all("AWS::Lambda::Url");
    let is_its_url = |(_, url): &(&str, &Value)| {
        url["AuthType"] == "NONE" && url["TargetFunctionArn"] == arn_of(id)
    };
    if urls.len() != 1
        || !urls.iter().all(is_its_url)
        || !public.properties["FunctionUrlConfig"].is_null()
    {
        complaints.push(format!("{id}: is not the one function with a public URL"));
    }
    for action in ["lambda:InvokeFunctionUrl", "lambda:InvokeFunction"] {
        let opens = on.all("AWS::Lambda::Permission").into_iter().any(|(_, permission)| {
            permission["Action"] == action && opens_the_url(&on, permission)
        });
        if !opens {
            complaints.push(format!("{id}: its URL has no permission to {action}"));
        }
    }
    let place =
        "${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:${AWS::StackName}";
    let function = |name: &str| json!({"Fn::Sub": format!("arn:{place}-{name}")});
    let operator = function("operator");
    let may: Vec<Value> = on
        .statements(role)
        .into_iter()
        .filter(|statement| !matches!(statement["Sid"].as_str(), Some("Logs" | "Trace")))
        .map(|statement| {
            json!([statement["Action"], statement["Resource"], statement["Condition"]])
        })
        .collect();
    let expected = [
        json!(["secretsmanager:GetSecretValue", {"Ref": SLACK.0}, null]),
        json!([
            "lambda:InvokeFunctionUrl",
            operator,
            {"StringEquals": {"lambda:FunctionUrlAuthType": "AWS_IAM"}},
        ]),
        json!(["lambda:InvokeFunction", operator, {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}]),
    ];
    if may != expected {
        complaints.push(format!("{role}: may not do exactly what it needs"));
    }
    let bounded = &template.root["Resources"][id]["Properties"]["ReservedConcurrentExecutions"];
    if bounded["Fn::If"][1]["Ref"] != "SlackActionsConcurrency" {
        complaints.push(format!("{id}: may take all concurrency of the account"));
    }
    let known_as =
        [("QUELL_SLACK_ROLE", arn_of(role)), ("QUELL_SLACK_FUNCTION", function("slack"))];
    for reached in &functions {
        let variables = &reached.properties["Environment"]["Variables"];
        if variables["QUELL_PUBLIC_FUNCTION"] != function(PUBLIC) {
            complaints.push(format!("{}: does not know which function is public", reached.id));
        }
        let is_operator = !reached.properties["FunctionUrlConfig"].is_null();
        for (name, value) in &known_as {
            let expected = if is_operator { value } else { &Value::Null };
            if variables[name] != *expected {
                complaints.push(format!("{}: {name} is not what it should be", reached.id));
            }
        }
        if !is_operator {
            continue;
        }
        let role = target(&reached.properties["Role"]).unwrap_or_default();
        let only_with_slack: Vec<Value> = on
            .statements(role)
            .into_iter()
            .filter(|statement| !off.statements(role).contains(statement))
            .map(|statement| {
                json!([statement["Action"], statement["Resource"], statement["Condition"]])
            })
            .collect();
        let expected = [
            json!([
                ["dynamodb:DeleteItem", "dynamodb:PutItem"],
                arn_of("Ledger"),
                {
                    "ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["NONCE#*"]},
                    "Null": {"dynamodb:LeadingKeys": "false"},
                },
            ]),
            json!(["lambda:InvokeFunction", function("slack"), null]),
        ];
        if only_with_slack != expected {
            complaints.push(format!("{role}: may with Slack what it does not need"));
        }
    }
    complaints
}

/// The parameter that switches buttons on.
pub(crate) const SLACK: (&str, &str) = (
    "SlackSigningSecret",
    "arn:aws:secretsmanager:eu-west-1:111122223333:secret:quell-slack-signing-AbCdEf",
);

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
                for action in actions.iter().filter(|action| !UNBOUND.contains(action)) {
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
            let own = match actions.first().and_then(|action| action.split_once(':')) {
                Some(("dynamodb", _)) => Some("AWS::DynamoDB::Table"),
                Some(("logs", _)) => Some("AWS::Logs::LogGroup"),
                Some(("sqs", _)) => Some("AWS::SQS::Queue"),
                _ => None,
            };
            if let Some(own) = own
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

/// All ceilings at `act`, and all that is optional.
pub(crate) fn acting(template: &Template) -> Vec<(&'static str, &'static str)> {
    // Leaked for the life of the test, which spares everyone a lifetime.
    template
        .functions()
        .iter()
        .filter_map(|function| Some((&*ceiling(function)?.to_owned().leak(), "act")))
        .chain(quell_local::stack::OPTIONS)
        .collect()
}

/// The ledger outlives mistakes: it is backed up, encrypted, and cannot be deleted with the stack.
pub(crate) fn the_ledger_stays(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    for (id, table) in template.all("AWS::DynamoDB::Table") {
        let resource = &template.root["Resources"][id];
        for (what, holds) in [
            ("is not retained", resource["DeletionPolicy"] == "Retain"),
            ("is lost when replaced", resource["UpdateReplacePolicy"] == "Retain"),
            ("can be deleted", table["DeletionProtectionEnabled"] == true),
            (
                "is not encrypted with a key that can be audited",
                table["SSESpecification"]["SSEEnabled"] == true,
            ),
            (
                "has no point-in-time recovery",
                table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] == true,
            ),
            ("is not on demand", table["BillingMode"] == "PAY_PER_REQUEST"),
            (
                "keeps expired items",
                table["TimeToLiveSpecification"]
                    == serde_json::json!({"AttributeName": "expires", "Enabled": true}),
            ),
            ("has other keys", keys(&table["KeySchema"]) == [("pk", "HASH"), ("sk", "RANGE")]),
            (
                "has no index by control",
                table["GlobalSecondaryIndexes"][0]["IndexName"] == "by-control"
                    && keys(&table["GlobalSecondaryIndexes"][0]["KeySchema"])
                        == [("control", "HASH"), ("created", "RANGE")],
            ),
            (
                "has no index of what is due",
                table["GlobalSecondaryIndexes"][1]["IndexName"] == "by-due"
                    && keys(&table["GlobalSecondaryIndexes"][1]["KeySchema"])
                        == [("open", "HASH"), ("due", "RANGE")],
            ),
        ] {
            if !holds {
                complaints.push(format!("{id}: {what}"));
            }
        }
    }
    complaints
}

fn keys(schema: &Value) -> Vec<(&str, &str)> {
    list(schema)
        .into_iter()
        .filter_map(|key| Some((key["AttributeName"].as_str()?, key["KeyType"].as_str()?)))
        .collect()
}

/// Logs are JSON in a group that ends some day, and traces are on.
pub(crate) fn functions_can_be_followed(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    for Function { id, properties, .. } in template.functions() {
        let logging = &properties["LoggingConfig"];
        if logging["LogFormat"] != "JSON" {
            complaints.push(format!("{id}: does not log JSON"));
        }
        let group = template.referred("AWS::Logs::LogGroup", &logging["LogGroup"]);
        if group.is_none_or(|(_, group)| group["RetentionInDays"].is_null()) {
            complaints.push(format!("{id}: its logs never end"));
        }
        if properties["Tracing"] != "Active" {
            complaints.push(format!("{id}: is not traced"));
        }
    }
    complaints
}

/// Functions are told what they need to know.
pub(crate) fn functions_know_their_settings(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    for function in template.functions() {
        let Function { id, properties, .. } = &function;
        let variables = &properties["Environment"]["Variables"];
        for (name, value) in [
            ("QUELL_ACCOUNT", "AWS::AccountId"),
            ("QUELL_LEDGER_TABLE", "Ledger"),
            ("QUELL_TOPIC_ARN", "Messages"),
        ] {
            if variables[name]["Ref"] != value {
                complaints.push(format!("{id}: {name} is not {value}"));
            }
        }
        if !knows_quell(&function) {
            continue;
        }
        let keys = variables["QUELL_KEYS"]["Fn::Sub"].as_str().unwrap_or_default();
        let named: BTreeSet<String> = keys.split(',').map(str::to_owned).collect();
        let all = template.all("AWS::KMS::Key").into_iter();
        if named != all.map(|(key, _)| format!("${{{key}.Arn}}")).collect() {
            complaints.push(format!("{id}: QUELL_KEYS does not name the keys"));
        }
        for (name, value) in [("QUELL_STACK", "AWS::StackName"), ("QUELL_DEPLOYER", "DeployerRole")]
        {
            if variables[name]["Ref"] != value {
                complaints.push(format!("{id}: {name} is not {value}"));
            }
        }
    }
    complaints
}

/// Whether a function looks at Quell itself.
fn knows_quell(function: &Function) -> bool {
    let binary = function.metadata["BuildProperties"]["Binary"].as_str();
    REGISTRY.iter().any(|meta| meta.id.starts_with("quell-") && Some(meta.function) == binary)
}

/// Who deploys without choosing gets a stack that changes nothing, sets nothing aside, and talks to AWS.
pub(crate) fn defaults_are_harmless(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, parameter) in template.root["Parameters"].as_object().into_iter().flatten() {
        if name.ends_with("Ceiling")
            && (parameter["Default"] != "observe"
                || parameter["AllowedValues"] != serde_json::json!(["observe", "act"]))
        {
            complaints.push(format!("{name}: is not observe unless someone says act"));
        }
        if parameter["Default"].is_null() {
            complaints.push(format!("{name}: has to be chosen"));
        }
        if parameter["AllowedValues"] == json!(["yes", "no"]) && parameter["Default"] != "no" {
            complaints.push(format!("{name}: is not off unless someone says yes"));
        }
    }
    for Function { id, properties, .. } in template.deployed(&[]).functions() {
        if !properties["ReservedConcurrentExecutions"].is_null() {
            complaints.push(format!("{id}: sets concurrency aside, which small accounts refuse"));
        }
        if !properties["Environment"]["Variables"]["AWS_ENDPOINT_URL"].is_null() {
            complaints.push(format!("{id}: does not talk to AWS"));
        }
    }
    complaints
}
