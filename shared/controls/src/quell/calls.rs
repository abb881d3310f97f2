//! The calls that can disable Quell, and where CloudTrail writes what they act upon.

use quell_engine::Signal;
use serde_json::Value;

use super::own::Own;
use crate::partition;

/// One operation that changes or takes away a part of Quell.
#[derive(Debug)]
pub(super) struct Call {
    /// The operation. `*`: CloudTrail may write the date of the API behind it.
    pub(super) name: &'static str,
    /// The request parameters that can name the resource, the first that is there counts.
    pub(super) at: &'static [&'static str],
    /// What it can do, as people read it.
    pub(super) does: &'static str,
}

/// The calls of one service.
#[derive(Debug)]
pub(super) struct Service {
    /// As IAM writes it before the colon of an action.
    pub(super) name: &'static str,
    /// CloudTrail's event source.
    pub(super) source: &'static str,
    kind: Kind,
    pub(super) calls: &'static [Call],
}

/// How the service names what is Quell's.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// `<prefix><name>`, where the name is one of the stack's. Parameters hold the name or the ARN.
    Named(&'static str),
    /// Functions: a name, a whole or a partial ARN, each perhaps with a version.
    Function,
    /// Roles by name, policies by ARN.
    Identity,
    /// Topics and subscriptions by ARN.
    Topic,
    /// Queues by URL.
    Queue,
    /// Keys by id or ARN.
    Key,
    /// Log groups of the stack's functions.
    LogGroup,
    /// The stack itself, by name or ARN.
    Stack,
    /// Schedules in the stack's group, and the group.
    Schedule,
    /// Any trail: Quell hears by it.
    Trail,
}

const fn call(name: &'static str, at: &'static [&'static str], does: &'static str) -> Call {
    Call { name, at, does }
}

/// The names of the calls, for rules.
pub(super) const fn names<const N: usize>(calls: &[Call]) -> [&'static str; N] {
    let mut names = [""; N];
    let mut at = 0;
    while at < N {
        names[at] = calls[at].name;
        at += 1;
    }
    names
}

const FUNCTION: &[&str] = &["functionName"];
const ROLE: &[&str] = &["roleName"];
const POLICY: &[&str] = &["policyArn"];
const TABLE: &[&str] = &["tableName"];
const QUEUE: &[&str] = &["queueUrl"];
const KEY: &[&str] = &["keyId"];
const LOGS: &[&str] = &["logGroupName", "logGroupIdentifier", "resourceIdentifier"];

/// <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_Operations.html>
pub(super) const EVENTS: &[Call] = &[
    call("DeleteRule", &["name"], "the rule is gone: its events reach no function"),
    call("PutRule", &["name"], "the rule may be disabled, or listen for something else"),
    call("PutTargets", &["rule"], "the rule's events may go elsewhere"),
    call("RemoveTargets", &["rule"], "the rule's events reach no function"),
];

/// <https://docs.aws.amazon.com/lambda/latest/dg/logging-using-cloudtrail.html>
pub(super) const LAMBDA: &[Call] = &[
    call("AddPermission*", FUNCTION, "somebody else may invoke the function"),
    call("CreateFunctionUrlConfig*", FUNCTION, "the function has an address of its own"),
    call("DeleteFunction*", FUNCTION, "the function is gone"),
    call(
        "DeleteFunctionCodeSigningConfig*",
        FUNCTION,
        "code of any origin may be put into the function",
    ),
    call("DeleteFunctionConcurrency*", FUNCTION, "nothing is set aside for the function any more"),
    call("DeleteFunctionEventInvokeConfig*", FUNCTION, "failed events of the function may be lost"),
    call("DeleteFunctionUrlConfig*", FUNCTION, "the function has no address any more"),
    call(
        "PutFunctionCodeSigningConfig*",
        FUNCTION,
        "code of another origin may be put into the function",
    ),
    call("PutFunctionConcurrency*", FUNCTION, "the function may be held back, or stopped"),
    call("PutFunctionEventInvokeConfig*", FUNCTION, "failed events of the function may be lost"),
    call("PutRuntimeManagementConfig*", FUNCTION, "the function may run on another runtime"),
    call("RemovePermission*", FUNCTION, "a rule may not invoke the function any more"),
    call("UpdateFunctionCode*", FUNCTION, "the function runs other code, with its rights"),
    call(
        "UpdateFunctionConfiguration*",
        FUNCTION,
        "the function has another role, other settings or layers",
    ),
    call("UpdateFunctionEventInvokeConfig*", FUNCTION, "failed events of the function may be lost"),
    call("UpdateFunctionUrlConfig*", FUNCTION, "anyone may call the function's address"),
];

/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_Operations.html>
pub(super) const IAM: &[Call] = &[
    call("AddRoleToInstanceProfile", ROLE, "instances may get the rights of the role"),
    call("AttachRolePolicy", ROLE, "the role may do more, or is denied what it needs"),
    call("CreatePolicyVersion", POLICY, "the policy says something else"),
    call("DeletePolicy", POLICY, "the policy is gone"),
    call("DeletePolicyVersion", POLICY, "the way back to what the policy said is gone"),
    call("DeleteRole", ROLE, "the role is gone: its function can do nothing"),
    call("DeleteRolePermissionsBoundary", ROLE, "the role may do more"),
    call("DeleteRolePolicy", ROLE, "the role lost rights, or what denied it more"),
    call("DetachRolePolicy", ROLE, "the role lost rights, or what denied it more"),
    call("PutRolePermissionsBoundary", ROLE, "the role may be kept from what it needs"),
    call("PutRolePolicy", ROLE, "the role may do more, or is denied what it needs"),
    call("SetDefaultPolicyVersion", POLICY, "the policy says something else"),
    call(
        "UpdateAssumeRolePolicy",
        ROLE,
        "somebody else may take the role, or its function may not",
    ),
    call("UpdateRole", ROLE, "the role's settings are others"),
];

/// <https://docs.aws.amazon.com/sns/latest/api/API_Operations.html>
pub(super) const SNS: &[Call] = &[
    call("AddPermission", &["topicArn"], "somebody else may use the topic"),
    call("DeleteTopic", &["topicArn"], "the topic is gone: nobody is told of anything"),
    call("PutDataProtectionPolicy", &["resourceArn"], "messages may be held back or changed"),
    call("RemovePermission", &["topicArn"], "alarms may not reach the topic any more"),
    call("SetSubscriptionAttributes", &["subscriptionArn"], "a subscriber may be told less"),
    call("SetTopicAttributes", &["topicArn"], "the topic's policy or key may be another"),
    call("Unsubscribe", &["subscriptionArn"], "a subscriber is not told any more"),
];

/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_Operations.html>
pub(super) const SQS: &[Call] = &[
    call("AddPermission", QUEUE, "somebody else may use the queue"),
    call("DeleteQueue", QUEUE, "the queue is gone: failed events are lost"),
    call("PurgeQueue", QUEUE, "failed events that waited in the queue are gone"),
    call("RemovePermission", QUEUE, "rules may not send to the queue any more"),
    call(
        "SetQueueAttributes",
        QUEUE,
        "the queue's policy may be another, or it keeps events for less long",
    ),
];

/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Operations_Amazon_DynamoDB.html>
pub(super) const DYNAMODB: &[Call] = &[
    call(
        "DeleteResourcePolicy",
        &["resourceArn"],
        "who may read and write the ledger may have changed",
    ),
    call("DeleteTable", TABLE, "the ledger is gone, and with it every way back"),
    call("PutResourcePolicy", &["resourceArn"], "somebody else may read or write the ledger"),
    call("UpdateContinuousBackups", TABLE, "the ledger may not be backed up any more"),
    call(
        "UpdateTable",
        TABLE,
        "the ledger may have lost its protection against deletion, or an index",
    ),
    call("UpdateTimeToLive", TABLE, "the ledger may forget too early, or never"),
];

/// <https://docs.aws.amazon.com/kms/latest/APIReference/API_Operations.html>
pub(super) const KMS: &[Call] = &[
    call("CreateGrant", KEY, "somebody else may use the key"),
    call("DisableKey", KEY, "no message can be sent under the key"),
    call("DisableKeyRotation", KEY, "the key stays the same for ever"),
    call("PutKeyPolicy", KEY, "somebody else may use the key, or Quell may not"),
    call("ScheduleKeyDeletion", KEY, "no message can be sent under the key, and it will be gone"),
];

/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_Operations.html>
pub(super) const LOG_GROUPS: &[Call] = &[
    call("AssociateKmsKey", LOGS, "the log may become unreadable"),
    call("DeleteLogGroup", LOGS, "the log of a function is gone"),
    call("DeleteLogStream", LOGS, "a part of a function's log is gone"),
    call("PutRetentionPolicy", LOGS, "the log may be kept for less long"),
];

/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Operations.html>
pub(super) const ALARMS: &[Call] = &[
    call("DeleteAlarms", &["alarmNames"], "nobody is told when this goes wrong"),
    call("DisableAlarmActions", &["alarmNames"], "nobody is told when this goes wrong"),
    call(
        "PutMetricAlarm",
        &["alarmName"],
        "the alarm may watch something else, or tell somebody else",
    ),
    call("SetAlarmState", &["alarmName"], "the alarm was made to sound, or to be silent"),
];

/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_Operations.html>
pub(super) const STACKS: &[Call] = &[
    call("DeleteStack", &["stackName"], "all of Quell but the ledger is being deleted"),
    call("ExecuteChangeSet", &["stackName"], "all of Quell may be another"),
    call("SetStackPolicy", &["stackName"], "what protects the stack from changes is another"),
    call("UpdateStack", &["stackName"], "all of Quell may be another"),
    call("UpdateTerminationProtection", &["stackName"], "the stack may be deleted"),
];

/// <https://docs.aws.amazon.com/scheduler/latest/APIReference/API_Operations.html>
pub(super) const SCHEDULES: &[Call] = &[
    call("DeleteSchedule", &["name"], "the heart does not beat any more"),
    call("DeleteScheduleGroup", &["name"], "the heart does not beat any more"),
    call("UpdateSchedule", &["name"], "the heart may beat otherwise, or not at all"),
];

/// <https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_Operations.html>
pub(super) const TRAILS: &[Call] = &[
    call(
        "DeleteTrail",
        &["name"],
        "the trail is gone: without one that logs, Quell hears of no call",
    ),
    call(
        "PutEventSelectors",
        &["trailName"],
        "the trail may record less: without management events Quell hears of no call",
    ),
    call("UpdateTrail", &["name"], "the trail may record less, or elsewhere"),
];

/// Every service that a part of Quell lives in.
pub(super) const SERVICES: &[Service] = &[
    Service {
        name: "events",
        source: "events.amazonaws.com",
        kind: Kind::Named("rule/"),
        calls: EVENTS,
    },
    Service { name: "lambda", source: "lambda.amazonaws.com", kind: Kind::Function, calls: LAMBDA },
    Service { name: "iam", source: "iam.amazonaws.com", kind: Kind::Identity, calls: IAM },
    Service { name: "sns", source: "sns.amazonaws.com", kind: Kind::Topic, calls: SNS },
    Service { name: "sqs", source: "sqs.amazonaws.com", kind: Kind::Queue, calls: SQS },
    Service {
        name: "dynamodb",
        source: "dynamodb.amazonaws.com",
        kind: Kind::Named("table/"),
        calls: DYNAMODB,
    },
    Service { name: "kms", source: "kms.amazonaws.com", kind: Kind::Key, calls: KMS },
    Service { name: "logs", source: "logs.amazonaws.com", kind: Kind::LogGroup, calls: LOG_GROUPS },
    Service {
        name: "cloudwatch",
        source: "monitoring.amazonaws.com",
        kind: Kind::Named("alarm:"),
        calls: ALARMS,
    },
    Service {
        name: "cloudformation",
        source: "cloudformation.amazonaws.com",
        kind: Kind::Stack,
        calls: STACKS,
    },
    Service {
        name: "scheduler",
        source: "scheduler.amazonaws.com",
        kind: Kind::Schedule,
        calls: SCHEDULES,
    },
    Service {
        name: "cloudtrail",
        source: "cloudtrail.amazonaws.com",
        kind: Kind::Trail,
        calls: TRAILS,
    },
];

/// Stands for the resource where CloudTrail left the parameters out: it may be one of Quell's.
pub(super) const UNKNOWN: &str = "unknown";

/// What a call acted upon, as the event says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acted<'a> {
    pub(super) parameters: &'a Value,
    pub(super) resources: &'a [String],
    pub(super) signal: &'a Signal,
}

/// The event says nothing that could name a resource.
#[derive(Debug)]
pub(super) struct Unnamed;

impl Service {
    /// The call of this name, in any version of its API.
    pub(super) fn call(&self, signal: &Signal) -> Option<&'static Call> {
        let is_it =
            |call: &&Call| signal.trigger.is_call(self.source, call.name.trim_end_matches('*'));
        self.calls.iter().find(is_it)
    }

    /// What of Quell's own the call acted upon, as the last part of each ARN.
    pub(super) fn own(
        &self,
        call: &Call,
        acted: Acted<'_>,
        own: &Own,
    ) -> Result<Vec<String>, Unnamed> {
        if acted.parameters.is_null() {
            return Ok(vec![UNKNOWN.to_owned()]);
        }
        let texts = acted.named(call.at)?;
        Ok(texts.into_iter().filter_map(|text| self.resource(text, acted, own)).collect())
    }

    /// The last part of the ARN of what is named so, if it is Quell's own.
    fn resource(&self, text: &str, acted: Acted<'_>, own: &Own) -> Option<String> {
        let arn = Arn::of(text);
        // A foreign account's resource of our name is not ours.
        if arn.as_ref().is_some_and(|arn| !arn.is_of(self.name, acted.signal)) {
            return None;
        }
        let rest = arn.as_ref().map_or(text, |arn| arn.resource);
        let named = |prefix: &str, name: &str| own.has(name).then(|| format!("{prefix}{name}"));
        let last = |text: &'_ str| text.rsplit('/').next().unwrap_or_default().to_owned();
        match self.kind {
            Kind::Named(prefix) => named(prefix, rest.strip_prefix(prefix).unwrap_or(rest)),
            Kind::Function => {
                // `name`, `function:name`, `123456789012:function:name`, each perhaps with `:version`.
                let rest = rest.rsplit_once("function:").map_or(rest, |(_, rest)| rest);
                named("function:", rest.split(':').next().unwrap_or_default())
            }
            // Paths are none of the name.
            Kind::Identity if rest.starts_with("policy/") => named("policy/", &last(rest)),
            Kind::Identity => named("role/", &last(rest)),
            Kind::Topic => {
                // A subscription is `topic:id`.
                named("", rest.split(':').next().unwrap_or_default())
            }
            Kind::Queue => {
                let path = rest.split_once("://").map_or(rest, |(_, rest)| rest);
                let mut parts = path.rsplit('/');
                let (name, account) = (parts.next()?, parts.next());
                let is_ours = account.is_none_or(|account| account == acted.signal.account);
                named("", name).filter(|_| is_ours)
            }
            Kind::Key => {
                let id = rest.strip_prefix("key/").unwrap_or(rest);
                let Signal { account, region, .. } = acted.signal;
                let arn = format!("arn:{}:kms:{region}:{account}:key/{id}", partition::of(region));
                let is_ours = own.has_key(&arn)
                    // An alias in place of the id: CloudTrail lists the key beside it.
                    || acted.resources.iter().any(|arn| own.has_key(arn));
                is_ours.then(|| format!("key/{id}"))
            }
            Kind::LogGroup => {
                let group = rest.strip_prefix("log-group:").unwrap_or(rest);
                let group = group.split(':').next().unwrap_or_default();
                let name = group.strip_prefix("/aws/lambda/")?;
                named("log-group:/aws/lambda/", name)
            }
            Kind::Stack => {
                let name = rest.strip_prefix("stack/").unwrap_or(rest);
                let name = name.split('/').next().unwrap_or_default();
                own.is_stack(name).then(|| format!("stack/{name}"))
            }
            Kind::Schedule => {
                let group = acted.parameters.get("groupName").and_then(Value::as_str);
                let is_ours = own.has(rest) || group.is_some_and(|group| own.has(group));
                is_ours.then(|| format!("schedule/{}/{rest}", group.unwrap_or("default")))
            }
            Kind::Trail => Some(format!("trail/{}", rest.strip_prefix("trail/").unwrap_or(rest))),
        }
    }
}

impl<'a> Acted<'a> {
    /// The texts of the first parameter that is there: one, or a list.
    fn named(&self, at: &[&str]) -> Result<Vec<&'a str>, Unnamed> {
        let value = at.iter().find_map(|field| self.parameters.get(field)).ok_or(Unnamed)?;
        let texts: Option<Vec<&str>> = match value {
            Value::String(text) => Some(vec![text]),
            Value::Array(texts) => texts.iter().map(Value::as_str).collect(),
            _ => None,
        };
        texts.filter(|texts| !texts.is_empty()).ok_or(Unnamed)
    }
}

/// An ARN in its parts.
#[derive(Debug)]
struct Arn<'a> {
    partition: &'a str,
    service: &'a str,
    region: &'a str,
    account: &'a str,
    resource: &'a str,
}

impl<'a> Arn<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", partition, service, region, account, resource] = parts.as_slice() else {
            return None;
        };
        Some(Self { partition, service, region, account, resource })
    }

    /// Whether it can name something of the signal's account and region. IAM has no regions.
    fn is_of(&self, service: &str, signal: &Signal) -> bool {
        self.service == service
            && self.partition == partition::of(&signal.region)
            && self.account == signal.account
            && (self.region == signal.region || (service == "iam" && self.region.is_empty()))
    }
}
