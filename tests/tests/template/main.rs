//! What must hold for `template.yaml`, and that each check would notice if it did not.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it serves tests only")]

use serde_json::Value;

use lints::Lint;
use model::Template;

mod dashboard;
mod global;
mod guardrails;
mod heartbeat;
mod lints;
mod model;
mod privilege;
mod registry;
mod rules;

/// Where, what is put there (nothing: what is there is removed), and what the lint says.
type Fault = (&'static str, &'static str, &'static str);

/// Every lint, with faults that it must see.
const LINTS: &[(Lint, &[Fault])] = &[
    (
        lints::functions_are_the_binaries,
        &[
            (
                "/Resources/S3ExposureFunction/Metadata/BuildProperties/Binary",
                r#""s3-exposed""#,
                "there is no functions/s3-exposed",
            ),
            ("/Resources/Ec2MetadataFunction", "", "functions/ec2-metadata: not deployed"),
            ("/Resources/S3ExposureFunction/Properties/CodeUri", r#"".""#, "is not built where"),
            ("/Globals/Function/Timeout", "900", "more than a minute"),
        ],
    ),
    (
        lints::code_can_be_signed,
        &[
            (
                "/Resources/S3ExposureFunction/Properties/CodeSigningConfigArn",
                "",
                "S3ExposureFunction: runs code that nobody signed",
            ),
            (
                "/Resources/CodeSigning/Properties/CodeSigningPolicies/UntrustedArtifactOnDeployment",
                r#""Warn""#,
                "CodeSigning: only warns",
            ),
            (
                "/Resources/CodeSigning/Properties/AllowedPublishers/SigningProfileVersionArns",
                r#"["arn:aws:signer:eu-west-1:111122223333:/signing-profiles/other/1234567890"]"#,
                "CodeSigning: trusts other profiles",
            ),
        ],
    ),
    (
        lints::rules_lose_nothing,
        &[
            (
                "/Resources/S3ExposureS3Calls/Properties/Targets/0/DeadLetterConfig",
                "",
                "S3ExposureS3Calls: has no dead-letter queue",
            ),
            (
                "/Resources/S3ExposureS3Calls/Properties/Targets/0/DeadLetterConfig/Arn",
                r#"{"Fn::GetAtt": ["Ec2MetadataDeadLetters", "Arn"]}"#,
                "wait apart",
            ),
            (
                "/Resources/S3ExposureS3Calls/Properties/Targets/0/RetryPolicy",
                "",
                "gives up too early",
            ),
            (
                "/Resources/S3ExposureDeadLettersPolicy/Properties/PolicyDocument/Statement/0/Condition/ArnEquals/aws:SourceArn/0",
                "",
                "S3ExposureS3Calls: the policy of its dead-letter queue does not admit it",
            ),
            (
                "/Resources/S3ExposureS3CallsPermission",
                "",
                "S3ExposureS3Calls: no permission to invoke S3ExposureFunction",
            ),
            (
                "/Resources/S3ExposureS3CallsPermission/Properties/SourceArn/Fn::GetAtt/0",
                r#""Ec2MetadataEc2Calls""#,
                "S3ExposureS3Calls: no permission to invoke S3ExposureFunction",
            ),
        ],
    ),
    (
        lints::patterns_are_safe,
        &[
            (
                "/Resources/S3ExposureS3Calls/Properties/EventPattern/detail/requestParameters",
                r#"{"bucketName": ["mine"]}"#,
                "names detail.requestParameters.bucketName",
            ),
            (
                "/Resources/S3ExposureS3Calls/Properties/EventPattern/detail/errorCode",
                "",
                "takes calls that failed",
            ),
            (
                "/Resources/S3ExposureS3Calls/Properties/EventPattern/source",
                "",
                "takes events of any kind",
            ),
            (
                "/Resources/S3ExposureAccessAnalyzerFindings/Properties/EventPattern",
                r#"{"source": ["aws.config"], "detail-type": ["Config Rules Compliance Change"]}"#,
                "takes events that S3ExposureAccessAnalyzerFindings takes",
            ),
        ],
    ),
    (
        lints::failed_events_are_kept,
        &[
            ("/Globals/Function/EventInvokeConfig", "", "is not tried twice more"),
            (
                "/Resources/Ec2MetadataFunction/Properties/DeadLetterQueue",
                "",
                "Ec2MetadataFunction: has no dead-letter queue",
            ),
            (
                "/Resources/Ec2MetadataFunction/Properties/DeadLetterQueue/TargetArn/Fn::GetAtt/0",
                r#""S3ExposureDeadLetters""#,
                "Ec2MetadataFunction: may not send to its dead-letter queue",
            ),
        ],
    ),
    (
        lints::queues_feed_functions,
        &[
            (
                "/Resources/SecurityHubMapping/Properties/FunctionName/Ref",
                r#""SecurityHubQueue""#,
                "SecurityHubMapping: feeds no function",
            ),
            (
                "/Resources/SecurityHubMapping/Properties/EventSourceArn/Fn::GetAtt/0",
                r#""Messages""#,
                "SecurityHubMapping: reads no queue",
            ),
            (
                "/Resources/SecurityHubMapping/Properties/FunctionResponseTypes",
                "",
                "brings all of its batch again",
            ),
            (
                "/Resources/SecurityHubQueue/Properties/VisibilityTimeout",
                "60",
                "SecurityHubQueue: shows messages that are still worked on",
            ),
            (
                "/Resources/SecurityHubQueue/Properties/RedrivePolicy/deadLetterTargetArn/Fn::GetAtt/0",
                r#""SecurityHubQueue""#,
                "SecurityHubQueue: has no dead-letter queue",
            ),
            (
                "/Resources/SecurityHubQueue/Properties/RedrivePolicy/maxReceiveCount",
                "1",
                "SecurityHubQueue: gives up too early",
            ),
            (
                "/Resources/SecurityHubRole/Properties/Policies/0/PolicyDocument/Statement/4/Resource/Fn::GetAtt/0",
                r#""SecurityHubDeadLetters""#,
                "SecurityHubRole: may not read exactly its queue",
            ),
            ("/Resources/SecurityHubSubscription", "", "SecurityHubQueue: has 0 subscriptions"),
            (
                "/Resources/SecurityHubSubscription/Properties/RawMessageDelivery",
                "",
                "SecurityHubQueue: does not get the messages as they are",
            ),
            (
                "/Resources/SecurityHubSubscription/Properties/FilterPolicy",
                "",
                "SecurityHubQueue: gets alarms",
            ),
            (
                "/Resources/SecurityHubQueuePolicy/Properties/PolicyDocument/Statement/0/Condition",
                r#"{"StringEquals": {"aws:SourceAccount": "111122223333"}}"#,
                "SecurityHubQueue: does not admit the topic",
            ),
            (
                "/Resources/SecurityHubSubscription/Properties/RedrivePolicy",
                "",
                "SecurityHubQueue: loses what the topic cannot deliver",
            ),
            (
                "/Resources/SecurityHubDeadLettersPolicy/Properties/PolicyDocument/Statement/0/Principal",
                r#""*""#,
                "SecurityHubDeadLetters: does not admit the topic",
            ),
            (
                "/Resources/SlackSource/Properties/FunctionResponseTypes",
                "",
                "SlackSource: one message that fails brings all of its batch again",
            ),
            (
                "/Resources/SlackSource/Properties/FunctionName/Ref",
                r#""OtherFunction""#,
                "SlackSource: feeds no function",
            ),
            (
                "/Resources/SlackMessages/Properties/VisibilityTimeout",
                "60",
                "SlackMessages: shows messages that are still worked on",
            ),
            (
                "/Resources/SlackMessages/Properties/RedrivePolicy",
                "",
                "SlackMessages: has no dead-letter queue",
            ),
            (
                "/Resources/SlackMessages/Properties/RedrivePolicy/maxReceiveCount",
                "1",
                "SlackMessages: gives up too early",
            ),
            (
                "/Resources/SlackMessages/Properties/RedrivePolicy/deadLetterTargetArn/Fn::GetAtt/0",
                r#""SecurityHubDeadLetters""#,
                "SlackMessages: its dead letters wait apart",
            ),
            (
                "/Resources/MessagesToSlack/Properties/RawMessageDelivery",
                "false",
                "SlackMessages: does not get the messages as they are",
            ),
            (
                "/Resources/MessagesToSlack/Properties/RedrivePolicy",
                "",
                "SlackMessages: loses what the topic cannot deliver",
            ),
            (
                "/Resources/SlackMessagesPolicy/Properties/PolicyDocument/Statement/0/Condition",
                "",
                "SlackMessages: does not admit the topic",
            ),
            (
                "/Resources/SlackDeadLettersPolicy/Properties/PolicyDocument/Statement/0/Principal",
                r#""*""#,
                "SlackDeadLetters: does not admit the topic",
            ),
        ],
    ),
    (
        lints::queues_keep_events,
        &[
            (
                "/Resources/S3ExposureDeadLetters/Properties/SqsManagedSseEnabled",
                "false",
                "is not encrypted",
            ),
            ("/Resources/S3ExposureDeadLetters/Properties/MessageRetentionPeriod", "", "14 days"),
            ("/Resources/S3ExposureS3Calls", "", "which is no rule"),
        ],
    ),
    (
        lints::failures_raise_alarms,
        &[
            (
                "/Resources/SlackMessagesAgeAlarm",
                "",
                "SlackMessages: no alarm watches ApproximateAge",
            ),
            ("/Resources/S3ExposureErrorsAlarm", "", "S3ExposureFunction: no alarm watches Errors"),
            (
                "/Resources/S3ExposureThrottlesAlarm/Properties/Dimensions/0/Value/Ref",
                r#""Ec2MetadataFunction""#,
                "S3ExposureFunction: no alarm watches Throttles",
            ),
            (
                "/Resources/S3ExposureDeadLettersDepthAlarm",
                "",
                "no alarm watches ApproximateNumberOfMessagesVisible",
            ),
            (
                "/Resources/S3ExposureDeadLettersAgeAlarm",
                "",
                "no alarm watches ApproximateAgeOfOldestMessage",
            ),
            (
                "/Resources/S3ExposureDeliveryAlarm/Properties/Metrics/3",
                "",
                "S3ExposureS3Calls: no alarm watches FailedInvocations",
            ),
            (
                "/Resources/AuditTrailMoreDeliveryAlarm",
                "",
                "AuditTrailLogsCalls: no alarm watches FailedInvocations",
            ),
        ],
    ),
    (
        lints::alarms_reach_people,
        &[
            (
                "/Resources/S3ExposureErrorsAlarm/Properties/AlarmActions",
                "",
                "S3ExposureErrorsAlarm: tells nobody",
            ),
            (
                "/Resources/Messages/Properties/KmsMasterKeyId",
                r#""alias/aws/sns""#,
                "so alarms cannot publish",
            ),
            ("/Resources/MessagesPolicy", "", "the policy of Messages does not admit alarms"),
            (
                "/Resources/MessagesPolicy/Properties/PolicyDocument/Statement/0/Condition/StringEquals",
                "",
                "the policy of Messages does not admit alarms",
            ),
            (
                "/Resources/MessagesKey/Properties/KeyPolicy/Statement/1",
                "",
                "MessagesKey does not admit alarms to kms:Decrypt",
            ),
            (
                "/Resources/MessagesKey/Properties/KeyPolicy/Statement/1/Action/1",
                "",
                "MessagesKey does not admit alarms to kms:GenerateDataKey*",
            ),
        ],
    ),
    (
        lints::publishers_may_use_the_key,
        &[
            (
                "/Resources/MessagesKey/Properties/KeyPolicy/Statement/3/Principal/AWS/0",
                "",
                "does not admit S3ExposureRole to kms:Decrypt",
            ),
            (
                "/Resources/MessagesKey/Properties/KeyPolicy/Statement/2",
                "",
                "does not admit rules for Messages",
            ),
            (
                "/Resources/Messages/Properties/TopicName/Fn::Sub",
                r#""${AWS::StackName}-news""#,
                "may not publish to Messages",
            ),
            (
                "/Resources/OperatorRole/Properties/Policies/0/PolicyDocument/Statement/4/Resource/Fn::Sub",
                r#""arn:${AWS::Partition}:sns:${AWS::Region}:${AWS::AccountId}:${AWS::StackName}-*""#,
                "OperatorRole: may publish to HeartbeatMessages",
            ),
        ],
    ),
    (
        lints::services_are_bound,
        &[
            (
                "/Resources/S3ExposureRole/Properties/AssumeRolePolicyDocument/Statement/0/Condition",
                "",
                "S3ExposureRole: admits",
            ),
            (
                "/Resources/MessagesKey/Properties/KeyPolicy/Statement/1/Condition",
                "",
                "MessagesKey: admits",
            ),
            (
                "/Resources/MessagesKey/Properties/KeyPolicy/Statement/2/Condition/StringEquals",
                "",
                "MessagesKey: admits",
            ),
            (
                "/Resources/S3ExposureDeadLettersPolicy/Properties/PolicyDocument/Statement/0/Condition",
                r#"{"ArnLike": {"aws:SourceArn": "*"}}"#,
                "S3ExposureDeadLettersPolicy: admits",
            ),
            (
                "/Resources/S3ExposureS3CallsPermission/Properties/SourceArn",
                "",
                "S3ExposureS3CallsPermission: admits",
            ),
            (
                "/Resources/MessagesPolicy/Properties/PolicyDocument/Statement/0",
                r#"{"Effect": "Allow", "Principal": "*", "Action": "sns:Publish"}"#,
                "MessagesPolicy: admits",
            ),
            (
                "/Resources/HeartbeatMessagesPolicy/Properties/PolicyDocument/Statement/0",
                r#"{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sns:Publish"}"#,
                "HeartbeatMessagesPolicy: admits",
            ),
            (
                "/Resources/HeartbeatsPolicy/Properties/PolicyDocument/Statement/0/Condition",
                r#"{"StringEqualsIfExists": {"aws:SourceAccount": "111122223333"}}"#,
                "HeartbeatsPolicy: admits",
            ),
            (
                "/Resources/HeartbeatRole/Properties/AssumeRolePolicyDocument/Statement/0/Condition",
                "",
                "HeartbeatRole: admits",
            ),
            (
                "/Resources/SlackActionsInvokePermission/Properties/FunctionName/Ref",
                r#""OperatorFunction""#,
                "SlackActionsInvokePermission: admits",
            ),
            (
                "/Resources/SlackActionsUrlPermission/Properties/Action",
                r#""lambda:UpdateFunctionCode""#,
                "SlackActionsUrlPermission: admits",
            ),
        ],
    ),
    (
        lints::ceilings_decide_about_writes,
        &[
            (
                "/Resources/S3ExposureRole/Properties/Policies/0/PolicyDocument/Statement/0/Action/0",
                r#""s3:PutBucketAcl""#,
                "S3ExposureRole: may s3:PutBucketAcl under the ceiling observe",
            ),
            (
                "/Resources/S3ExposureRole/Properties/Policies/0/PolicyDocument/Statement/2/Fn::If/0",
                r#""Ec2MetadataActs""#,
                "S3ExposureRole: changes with Ec2MetadataCeiling",
            ),
            (
                "/Resources/Ec2MetadataRole/Properties/Policies/0/PolicyDocument/Statement/1",
                "",
                "Ec2MetadataRole: cannot write under Ec2MetadataCeiling act",
            ),
            (
                "/Resources/S3ExposureFunction/Properties/Environment/Variables/QUELL_CEILING",
                r#""act""#,
                "does not know its ceiling",
            ),
            (
                "/Resources/S3ExposureFunction/Properties/Role/Fn::GetAtt/0",
                r#""Ec2MetadataRole""#,
                "shares its role",
            ),
        ],
    ),
    (
        lints::roles_are_exact,
        &[
            (
                "/Resources/S3ExposureRole/Properties/Policies/0/PolicyDocument/Statement/0/Action/0",
                r#""s3:Get*""#,
                "has a wildcard",
            ),
            (
                "/Resources/S3ExposureRole/Properties/Policies/0/PolicyDocument/Statement/2/Fn::If/1/Resource",
                r#""*""#,
                "may s3:PutBucketAcl on anything",
            ),
            (
                "/Resources/Ec2MetadataRole/Properties/Policies/0/PolicyDocument/Statement/1/Fn::If/1/Resource/Fn::Sub",
                r#""arn:${AWS::Partition}:ec2:*:*:instance/*""#,
                "reaches beyond its region",
            ),
            (
                "/Resources/S3ExposureRole/Properties/Policies/0/PolicyDocument/Statement/3/Resource",
                r#"{"Fn::Sub": "arn:${AWS::Partition}:dynamodb:*:*:table/*"}"#,
                "is not about Quell's own",
            ),
            (
                "/Resources/HeartbeatRole/Properties/Policies/0/PolicyDocument/Statement/0/Resource",
                r#""*""#,
                "HeartbeatRole: may sns:TagResource on anything",
            ),
        ],
    ),
    (
        guardrails::attached_policies_only_deny,
        &[
            (
                "/Resources/S3ExposureRole/Properties/ManagedPolicyArns",
                r#"["arn:aws:iam::aws:policy/AdministratorAccess"]"#,
                "written elsewhere",
            ),
            (
                "/Resources/HeartbeatRole/Properties/ManagedPolicyArns",
                "",
                "HeartbeatRole: has no guardrails",
            ),
            (
                "/Resources/Guardrails/Properties/PolicyDocument/Statement/0/Effect",
                r#""Allow""#,
                "OperatorRole: Guardrails grants \"NoOtherRoles\"",
            ),
        ],
    ),
    (
        guardrails::roles_cannot_change_quell,
        &[
            (
                "/Resources/S3ExposureRole/Properties/ManagedPolicyArns",
                "",
                "S3ExposureRole: is not denied lambda:UpdateFunctionCode",
            ),
            (
                "/Resources/Guardrails/Properties/PolicyDocument/Statement/0/NotResource",
                r#""*""#,
                "is not denied sts:AssumeRole on arn:aws:iam::999988887777:role/Admin",
            ),
            (
                "/Resources/Guardrails/Properties/PolicyDocument/Statement/0/NotResource",
                r#"{"Fn::Sub": "arn:${AWS::Partition}:iam::*:role/${AWS::StackName}-*"}"#,
                "is not denied sts:AssumeRole on arn:aws:iam::111122223333:role/quell-S3ExposureRole-1A2B",
            ),
            (
                "/Resources/Guardrails/Properties/PolicyDocument/Statement/0/NotResource",
                r#"{"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/${AWS::StackName}-member-*"}"#,
                "is denied sts:AssumeRole, which Quell needs",
            ),
            (
                "/Resources/Guardrails/Properties/PolicyDocument/Statement/1/Action/11",
                "",
                "is not denied iam:UpdateAssumeRolePolicy",
            ),
            (
                "/Resources/Guardrails/Properties/PolicyDocument/Statement/3/Action/1",
                "",
                "AuditTrailRole: is not denied events:DisableRule",
            ),
            (
                "/Resources/Guardrails/Properties/PolicyDocument/Statement/3/Action/1",
                r#""events:*able*""#,
                "is denied events:EnableRule, which Quell needs",
            ),
            (
                "/Resources/Guardrails/Properties/PolicyDocument/Statement/4/Resource/Fn::Sub",
                r#""arn:aws:dynamodb:us-east-1:1:table/x""#,
                "is not denied dynamodb:DeleteTable",
            ),
            (
                "/Resources/HeartbeatKey/Properties/Tags",
                "",
                "HeartbeatKey: the guardrails do not know it",
            ),
            (
                "/Resources/AuditTrailRole/Properties/Policies/0/PolicyDocument/Statement/5/Fn::If/1/Resource/Fn::Sub",
                r#""arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:rule/*""#,
                "AuditTrailRole: may enable rules that are not Quell's",
            ),
        ],
    ),
    (
        privilege::nobody_can_rise,
        &[
            (
                "/Resources/NetworkExposureRole/Properties/Policies/0/PolicyDocument/Statement/0/Action/0",
                r#""lambda:UpdateFunctionConfiguration""#,
                "NetworkExposureRole: may rise by lambda:UpdateFunctionConfiguration",
            ),
            (
                "/Resources/OperatorRole/Properties/Policies/0/PolicyDocument/Statement/0/Action",
                r#"["iam:PassRole", "ec2:RunInstances"]"#,
                "OperatorRole: may rise by iam:PassRole + ec2:RunInstances",
            ),
            (
                "/Resources/Ec2MetadataRole/Properties/Policies/0/PolicyDocument/Statement/0/Action/0",
                r#""*""#,
                "Ec2MetadataRole: may rise by iam:CreatePolicyVersion",
            ),
            (
                "/Resources/AuditTrailRole/Properties/Policies/0/PolicyDocument/Statement/0/Action/0",
                r#""s3:PutBucketPolicy""#,
                "AuditTrailRole: may rise by s3:PutBucketPolicy",
            ),
        ],
    ),
    (
        privilege::iam_changes_only_reduce,
        &[
            (
                "/Resources/AuditTrailRole/Properties/Policies/0/PolicyDocument/Statement/0/Action/0",
                r#""iam:PutRolePolicy""#,
                "AuditTrailRole: may iam:PutRolePolicy, which does not only take away",
            ),
            (
                "/Resources/NetworkExposureRole/Properties/Policies/0/PolicyDocument/Statement/5/Fn::If/1/Condition/StringEquals/iam:PassedToService",
                r#""lambda.amazonaws.com""#,
                "NetworkExposureRole: may iam:PassRole to whom it is not meant for",
            ),
            (
                "/Resources/AuditTrailRole/Properties/Policies/0/PolicyDocument/Statement/0",
                r#"{"Effect": "Allow", "Action": "iam:DetachUserPolicy", "Resource": "*"}"#,
                "AuditTrailRole: may iam:DetachUserPolicy on anything",
            ),
            (
                "/Resources/AuditTrailRole/Properties/Policies/0/PolicyDocument/Statement/0",
                r#"{"Effect": "Allow", "Action": "iam:AttachUserPolicy", "Resource": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:user/*"}}"#,
                "AuditTrailRole: may iam:AttachUserPolicy with any policy",
            ),
            (
                "/Resources/AuditTrailRole/Properties/Policies/0/PolicyDocument/Statement/0",
                r#"{"Effect": "Allow", "Action": "iam:AttachUserPolicy", "Resource": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:user/*"}, "Condition": {"ArnEquals": {"iam:PolicyARN": "*"}}}"#,
                "AuditTrailRole: may iam:AttachUserPolicy with any policy",
            ),
        ],
    ),
    (
        heartbeat::the_heartbeat_is_heard,
        &[
            ("/Resources/Heartbeat", "", "there are 0 heartbeats"),
            (
                "/Resources/Heartbeat/Properties/ScheduleExpression",
                r#""rate(1 day)""#,
                "does not beat every five minutes",
            ),
            (
                "/Resources/Heartbeat/Properties/State",
                r#""DISABLED""#,
                "does not beat every five minutes",
            ),
            (
                "/Resources/Heartbeat/Properties/Target/Arn/Fn::Sub",
                r#""arn:${AWS::Partition}:scheduler:::aws-sdk:sns:publish""#,
                "its call is not sns:TagResource",
            ),
            (
                "/Resources/Heartbeat/Properties/Target/Input/Fn::Sub",
                r#""{}""#,
                "does not tag a topic of the stack",
            ),
            (
                "/Resources/HeartbeatRole/Properties/Policies/0/PolicyDocument/Statement/0/Action",
                r#"["sns:TagResource", "sns:Publish"]"#,
                "may not make the call, or more than it",
            ),
            (
                "/Resources/HeartbeatRole/Properties/Policies/0/PolicyDocument/Statement/0/Resource/Ref",
                r#""HeartbeatMessages""#,
                "may not make the call, or more than it",
            ),
            (
                "/Resources/HeartbeatRole/Properties/AssumeRolePolicyDocument/Statement/0/Condition/StringEquals/aws:SourceArn",
                "",
                "can be taken by others than its own schedule group",
            ),
            (
                "/Resources/HeartbeatGroup/Properties/Name/Fn::Sub",
                r#""${AWS::StackName}""#,
                "can be taken by others than its own schedule group",
            ),
            (
                "/Resources/HeartbeatHeard/Properties/EventPattern/detail/eventName/0",
                r#""UntagResource""#,
                "the rule does not hear it",
            ),
            (
                "/Resources/HeartbeatHeard/Properties/EventPattern/detail/userIdentity",
                "",
                "the rule hears the call of anybody",
            ),
            (
                "/Resources/HeartbeatHeard/Properties/EventPattern/detail/errorCode",
                "",
                "the rule hears a call that failed",
            ),
            (
                "/Resources/HeartbeatHeard/Properties/State",
                r#""DISABLED""#,
                "the rule does not hear what CloudTrail says",
            ),
            (
                "/Resources/HeartbeatAlarm/Properties/MetricName",
                r#""Invocations""#,
                "no alarm counts the rule",
            ),
            (
                "/Resources/HeartbeatAlarm/Properties/Dimensions/0/Value/Ref",
                r#""S3ExposureS3Calls""#,
                "the rule does not hear it",
            ),
            (
                "/Resources/HeartbeatAlarm/Properties/TreatMissingData",
                r#""notBreaching""#,
                "does not sound after a quarter of an hour",
            ),
            (
                "/Resources/HeartbeatAlarm/Properties/EvaluationPeriods",
                "4",
                "does not sound after a quarter of an hour",
            ),
            (
                "/Resources/HeartbeatAlarm/Properties/AlarmActions/0/Ref",
                r#""Messages""#,
                "is told on the way of the messages",
            ),
            (
                "/Resources/HeartbeatMessages/Properties/KmsMasterKeyId/Ref",
                r#""MessagesKey""#,
                "is told on the way of the messages",
            ),
        ],
    ),
    (
        lints::orders_are_guarded,
        &[
            (
                "/Resources/OperatorFunction/Properties/FunctionUrlConfig/AuthType",
                r#""NONE""#,
                "OperatorFunction: can be called by people whom IAM does not know",
            ),
            (
                "/Resources/S3ExposureFunction/Properties/FunctionUrlConfig",
                r#"{"AuthType": "AWS_IAM"}"#,
                "S3ExposureFunction: can be called",
            ),
            (
                "/Resources/S3ExposureRole/Properties/Policies/0/PolicyDocument/Statement/3/Action/0",
                r#""lambda:InvokeFunction""#,
                "S3ExposureRole: may lambda:InvokeFunction",
            ),
            (
                "/Resources/OperatorRole/Properties/Policies/0/PolicyDocument/Statement/3/Resource/0",
                r#""*""#,
                "OperatorRole: may not wake exactly",
            ),
            (
                "/Resources/OperatorRole/Properties/Policies/0/PolicyDocument/Statement/3/Resource/0",
                "",
                "OperatorRole: may not wake exactly",
            ),
            (
                "/Resources/OperatorFunction/Properties/Environment/Variables/QUELL_FUNCTIONS/Fn::Sub",
                r#""s3-exposure=${Ec2MetadataFunction.Arn}""#,
                "QUELL_FUNCTIONS does not name the functions",
            ),
            (
                "/Resources/OperatorRole/Properties/Policies/0/PolicyDocument/Statement/1/Condition/ForAllValues:StringLike/dynamodb:LeadingKeys/0",
                r#""POL#*""#,
                "is not bound to its items",
            ),
            (
                "/Resources/OperatorRole/Properties/Policies/0/PolicyDocument/Statement/1/Condition/Null",
                "",
                "is not bound to its items",
            ),
            (
                "/Resources/S3ExposureRole/Properties/Policies/0/PolicyDocument/Statement/4/Condition/ForAllValues:StringLike/dynamodb:LeadingKeys/0",
                r#""EXM#*""#,
                "S3ExposureRole: \"LedgerRecords\" is not bound to its items",
            ),
            (
                "/Resources/SlackRole/Properties/Policies/0/PolicyDocument/Statement/1/Condition/ForAllValues:StringLike/dynamodb:LeadingKeys/0",
                r#""REC#*""#,
                "SlackRole: \"Threads\" is not bound to its items",
            ),
            (
                "/Resources/SecurityHubRole/Properties/Policies/0/PolicyDocument/Statement/3/Condition/ForAllValues:StringLike/dynamodb:LeadingKeys/0",
                r#""REC#*""#,
                "SecurityHubRole: \"Findings\" is not bound to its items",
            ),
            (
                "/Resources/SecurityHubRole/Properties/Policies/0/PolicyDocument/Statement/2/Action",
                r#""dynamodb:DeleteItem""#,
                "SecurityHubRole: may dynamodb:DeleteItem",
            ),
            (
                "/Resources/SlackRole/Properties/Policies/0/PolicyDocument/Statement/0/Action",
                r#""dynamodb:Query""#,
                "SlackRole: may dynamodb:Query",
            ),
            (
                "/Resources/SecurityHubMapping/Properties/FunctionName/Ref",
                r#""S3ExposureFunction""#,
                "S3ExposureFunction: a queue feeds what does not only tell",
            ),
            (
                "/Resources/OperatorPeople/Properties/PolicyDocument/Statement/1/Condition",
                "",
                "OperatorPeople: lets people past",
            ),
        ],
    ),
    (
        lints::slack_is_guarded,
        &[
            ("/Resources/SlackActionsUrl/Condition", "", "SlackActionsUrl: is there without Slack"),
            (
                "/Resources/SlackActionsFunction/Condition",
                "",
                "slack-actions: is there without Slack",
            ),
            (
                "/Resources/SlackActionsUrl/Properties/AuthType",
                r#""AWS_IAM""#,
                "is not the one function with a public URL",
            ),
            (
                "/Resources/SlackActionsUrl/Properties/TargetFunctionArn/Fn::GetAtt/0",
                r#""OperatorFunction""#,
                "is not the one function with a public URL",
            ),
            (
                "/Resources/SlackActionsUrlPermission",
                "",
                "its URL has no permission to lambda:InvokeFunctionUrl",
            ),
            (
                "/Resources/SlackActionsInvokePermission",
                "",
                "its URL has no permission to lambda:InvokeFunction",
            ),
            (
                "/Resources/SlackActionsInvokePermission/Properties/InvokedViaFunctionUrl",
                "",
                "its URL has no permission to lambda:InvokeFunction",
            ),
            (
                "/Resources/SlackActionsUrlPermission/Properties/FunctionUrlAuthType",
                r#""AWS_IAM""#,
                "its URL has no permission to lambda:InvokeFunctionUrl",
            ),
            (
                "/Resources/SlackActionsRole/Properties/Policies/0/PolicyDocument/Statement/0/Resource",
                r#""*""#,
                "SlackActionsRole: may not do exactly what it needs",
            ),
            (
                "/Resources/SlackActionsRole/Properties/Policies/0/PolicyDocument/Statement/2/Condition",
                "",
                "SlackActionsRole: may not do exactly what it needs",
            ),
            (
                "/Resources/SlackActionsFunction/Properties/ReservedConcurrentExecutions",
                "",
                "SlackActionsFunction: may take all concurrency",
            ),
            (
                "/Globals/Function/Environment/Variables/QUELL_PUBLIC_FUNCTION",
                "",
                "does not know which function is public",
            ),
            (
                "/Resources/OperatorFunction/Properties/Environment/Variables/QUELL_SLACK_ROLE/Fn::If/1/Fn::GetAtt/0",
                r#""OperatorRole""#,
                "OperatorFunction: QUELL_SLACK_ROLE is not what it should be",
            ),
            (
                "/Resources/OperatorFunction/Properties/Environment/Variables/QUELL_SLACK_WORKSPACE",
                "",
                "OperatorFunction: QUELL_SLACK_WORKSPACE is not what it should be",
            ),
            (
                "/Resources/OperatorRole/Properties/Policies/0/PolicyDocument/Statement/6/Fn::If/1/Condition/ForAllValues:StringLike/dynamodb:LeadingKeys/0",
                r#""POL#*""#,
                "OperatorRole: may with Slack what it does not need",
            ),
            (
                "/Resources/OperatorRole/Properties/Policies/0/PolicyDocument/Statement/7/Fn::If/1/Resource/Fn::Sub",
                r#""*""#,
                "OperatorRole: may with Slack what it does not need",
            ),
        ],
    ),
    (
        lints::the_ledger_stays,
        &[
            ("/Resources/Ledger/DeletionPolicy", "", "is not retained"),
            ("/Resources/Ledger/UpdateReplacePolicy", r#""Delete""#, "is lost when replaced"),
            ("/Resources/Ledger/Properties/DeletionProtectionEnabled", "false", "can be deleted"),
            ("/Resources/Ledger/Properties/SSESpecification", "", "is not encrypted"),
            (
                "/Resources/Ledger/Properties/PointInTimeRecoverySpecification",
                "",
                "has no point-in-time recovery",
            ),
            ("/Resources/Ledger/Properties/BillingMode", r#""PROVISIONED""#, "is not on demand"),
            ("/Resources/Ledger/Properties/TimeToLiveSpecification", "", "keeps expired items"),
            ("/Resources/Ledger/Properties/KeySchema/1", "", "has other keys"),
            ("/Resources/Ledger/Properties/GlobalSecondaryIndexes", "", "has no index by control"),
            (
                "/Resources/Ledger/Properties/GlobalSecondaryIndexes/1",
                "",
                "has no index of what is due",
            ),
        ],
    ),
    (
        lints::functions_can_be_followed,
        &[
            ("/Globals/Function/LoggingConfig", "", "does not log JSON"),
            ("/Resources/S3ExposureLogs/Properties/RetentionInDays", "", "its logs never end"),
            ("/Globals/Function/Tracing", r#""PassThrough""#, "is not traced"),
        ],
    ),
    (
        lints::functions_know_their_settings,
        &[
            (
                "/Globals/Function/Environment/Variables/QUELL_LEDGER_TABLE",
                "",
                "QUELL_LEDGER_TABLE is not Ledger",
            ),
            (
                "/Resources/S3ExposureFunction/Properties/Environment/Variables/QUELL_TOPIC_ARN",
                r#"{"Ref": "Email"}"#,
                "S3ExposureFunction: QUELL_TOPIC_ARN is not Messages",
            ),
            (
                "/Resources/AuditTrailFunction/Properties/Environment/Variables/QUELL_KEYS/Fn::Sub",
                r#""${MessagesKey.Arn}""#,
                "AuditTrailFunction: QUELL_KEYS does not name the keys",
            ),
            (
                "/Resources/AuditTrailFunction/Properties/Environment/Variables/QUELL_STACK",
                r#""quell""#,
                "AuditTrailFunction: QUELL_STACK is not AWS::StackName",
            ),
            (
                "/Resources/AuditTrailFunction/Properties/Environment/Variables/QUELL_DEPLOYER",
                "",
                "AuditTrailFunction: QUELL_DEPLOYER is not DeployerRole",
            ),
        ],
    ),
    (
        lints::defaults_are_harmless,
        &[
            ("/Parameters/S3ExposureCeiling/Default", r#""act""#, "is not observe unless"),
            ("/Parameters/Email/Default", "", "Email: has to be chosen"),
            ("/Parameters/ReservedConcurrency/Default", r#""5""#, "sets concurrency aside"),
            ("/Parameters/ImportFindings/Default", r#""yes""#, "ImportFindings: is not off"),
            (
                "/Globals/Function/Environment/Variables/AWS_ENDPOINT_URL",
                r#""http://127.0.0.1""#,
                "does not talk to AWS",
            ),
        ],
    ),
];

#[test]
fn the_template_is_without_fault() {
    let template = Template::of_the_project();
    let complaints: Vec<String> = LINTS.iter().flat_map(|(lint, _)| lint(&template)).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn every_lint_sees_its_faults() {
    let faultless = Template::of_the_project();
    for (lint, faults) in LINTS {
        for (at, put, says) in *faults {
            let mut template = faultless.clone();
            change(&mut template.root, at, put);
            let complaints = lint(&template);
            assert!(
                complaints.iter().any(|complaint| complaint.contains(says)),
                "{at} = {put}: expected `{says}`, got {complaints:#?}"
            );
        }
    }
}

#[test]
fn every_known_way_to_more_rights_is_seen() {
    for method in privilege::METHODS {
        let mut template = Template::of_the_project();
        let at =
            "/Resources/AuditTrailRole/Properties/Policies/0/PolicyDocument/Statement/0/Action";
        change(&mut template.root, at, &serde_json::to_string(method).unwrap());
        let complaints = privilege::nobody_can_rise(&template);
        let says = format!("AuditTrailRole: may rise by {}", method.join(" + "));
        assert!(complaints.contains(&says), "{says}: {complaints:?}");
    }
}

#[test]
fn an_alarm_that_cloudwatch_would_refuse_is_seen() {
    let mut template = Template::of_the_project();
    let at = "/Resources/AuditTrailDeliveryAlarm/Properties/Metrics";
    let one = template.root.pointer(&format!("{at}/1")).unwrap().clone();
    change(&mut template.root, at, &serde_json::to_string(&vec![one; 11]).unwrap());
    let complaints = lints::alarms_reach_people(&template);
    assert!(complaints.iter().any(|complaint| complaint.contains("adds up 11")), "{complaints:?}");
}

#[test]
fn a_pattern_that_is_too_long_is_seen() {
    let mut template = Template::of_the_project();
    let names: Vec<String> = (0..200).map(|number| format!("ModifyThing{number}")).collect();
    let at = "/Resources/S3ExposureS3Calls/Properties/EventPattern/detail/eventName";
    change(&mut template.root, at, &serde_json::to_string(&names).unwrap());
    let complaints = lints::patterns_are_safe(&template);
    assert!(complaints.iter().any(|complaint| complaint.contains("characters")), "{complaints:?}");
}

#[test]
fn sam_local_sets_only_what_the_template_names() {
    let settings: Value = serde_json::from_str(include_str!("../../../sam-local.json")).unwrap();
    let template = Template::of_the_project();
    let variables: Vec<String> = template
        .functions()
        .iter()
        .filter_map(|function| function.properties["Environment"]["Variables"].as_object())
        .flat_map(|variables| variables.keys().cloned())
        .collect();
    for name in settings["Parameters"].as_object().unwrap().keys() {
        assert!(variables.contains(name), "sam local passes on no {name}");
    }
}

/// Puts JSON at a pointer, or removes what is there.
fn change(root: &mut Value, at: &str, put: &str) {
    let (parent, name) = at.rsplit_once('/').unwrap();
    let parent = root.pointer_mut(parent).unwrap_or_else(|| panic!("there is no {parent}"));
    let value = (!put.is_empty()).then(|| serde_json::from_str(put).unwrap());
    match (parent, value) {
        (Value::Object(fields), Some(value)) => {
            fields.insert(name.to_owned(), value);
        }
        (Value::Object(fields), None) => {
            fields.remove(name).unwrap_or_else(|| panic!("there is no {at}"));
        }
        (Value::Array(values), Some(value)) => values[name.parse::<usize>().unwrap()] = value,
        (Value::Array(values), None) => {
            values.remove(name.parse().unwrap());
        }
        (plain, _) => panic!("{at}: {plain} has no parts"),
    }
}
