//! Which actions, on which resources, with which context keys AWS asks for at each operation that Quell calls. An
//! operation that is not here is denied.
//!
//! From the Service Authorization Reference, a page for each service ([`PAGES`]), and where it does not name operations:
//! - S3: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html>
//! - tags at creation: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/supported-iam-actions-tagging.html>
//! - transactions: <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html>
//!
//! Where the reference calls a resource of an action optional, it is asked for here: a role that is allowed more than
//! AWS asks for is found by taking actions away, one that is allowed less would only be found on AWS.

use std::collections::{BTreeMap, BTreeSet};

use super::policy::Context;

/// A call, as far as IAM looks at it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// As the SDKs name it, such as `S3 Control`.
    pub service: String,
    /// As the SDKs name it.
    pub operation: String,
    pub region: String,
    /// Of the caller, and of what it names without saying whose it is.
    pub account: String,
    /// Forms as they were sent (`TagSpecification.1.Tag.1.Key`); of paths and JSON `Bucket`, `FunctionName`,
    /// `IndexName` and the like; of Security Hub's JSON all texts (`Workflow.Status`).
    pub parameters: Vec<(String, String)>,
    /// DynamoDB: what is read or written, in the order of the request.
    pub items: Vec<Item>,
}

/// A table, and a key in it if the request names one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Item {
    /// In a transaction: `Put`, `Update`, `Delete`, `ConditionCheck` or `Get`.
    pub kind: String,
    /// Name or ARN.
    pub table: String,
    /// The partition key.
    pub key: Option<String>,
}

/// One question to IAM.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Such as `ec2:CreateTags`.
    pub action: String,
    /// An ARN; with `*` where the resource is yet to be made; `*` if the action has no resources.
    pub resource: String,
    pub context: Context,
}

/// It is not known what AWS asks for.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{service} {operation} {reason}; shared/local/src/iam/actions.rs has what is known")]
pub struct UnknownOperation {
    pub service: String,
    pub operation: String,
    pub reason: String,
}

/// What an operation needs: all of it.
#[derive(Debug)]
pub(super) struct Operation {
    service: &'static str,
    name: &'static str,
    needs: &'static [Need],
}

type Need = (&'static str, &'static [On]);

/// On which resources an action has to be allowed. `{}` in an ARN is the value of the parameter.
#[derive(Debug)]
enum On {
    /// It has none.
    Everything,
    /// Each that the parameter names, at least one.
    Each(&'static str, &'static str),
    /// The same, for what comes through its function URL with a signature.
    ThroughUrl(&'static str, &'static str),
    /// Each that the parameter names, if any.
    Also(&'static str, &'static str),
    /// Some, if the parameter is there.
    If(&'static str, &'static str),
    /// One that the call makes, or that the request does not name.
    Some(&'static str),
    /// It has none, and is asked for only if the parameter is there.
    EverythingIf(&'static str),
    /// The role that the parameter names, if any, for the service that gets it.
    Passed(&'static str, &'static str),
    /// Who is named by the parameter, with the policy that is attached or detached.
    Attached(&'static str, &'static str),
    /// What the ids in the parameter name.
    Ids(&'static str),
    /// What is tagged while it is made.
    TagSpecifications,
    /// The table with all keys of the request.
    Table,
    /// The index that is asked, else the table.
    Queried,
    /// The items of a transaction that are of this kind.
    Items(&'static str),
    /// The account's hub, with what is said of findings.
    Hub,
    /// The product of each finding, with the accounts that the findings are about.
    Products,
}

const BUCKET: &str = "arn:{partition}:s3:::{}";
const OBJECT: &str = "arn:{partition}:s3:::{}/*";
const INSTANCE: &str = "arn:{partition}:ec2:{region}:{account}:instance/{}";
const INTERFACE: &str = "arn:{partition}:ec2:{region}:{account}:network-interface/{}";
const FLOW_LOG: &str = "arn:{partition}:ec2:{region}:{account}:vpc-flow-log/{}";
const GROUP: &str = "arn:{partition}:ec2:{region}:{account}:security-group/{}";
const RULE: &str = "arn:{partition}:ec2:{region}:{account}:security-group-rule/{}";
/// Images and snapshots have no account in their ARN.
const IMAGE: &str = "arn:{partition}:ec2:{region}::image/{}";
const SNAPSHOT: &str = "arn:{partition}:ec2:{region}::snapshot/{}";
const NETWORK_ACL: &str = "arn:{partition}:ec2:{region}:{account}:network-acl/{}";
const SUBNET: &str = "arn:{partition}:ec2:{region}:{account}:subnet/{}";
const VOLUME: &str = "arn:{partition}:ec2:{region}:{account}:volume/{}";
const VPC: &str = "arn:{partition}:ec2:{region}:{account}:vpc/{}";
const TABLE: &str = "arn:{partition}:dynamodb:{region}:{account}:table/{}";
const FUNCTION: &str = "arn:{partition}:lambda:{region}:{account}:function:{}";
const EVENT_RULE: &str = "arn:{partition}:events:{region}:{account}:rule/{}";
const USER: &str = "arn:{partition}:iam::{account}:user/{}";
const ROLE: &str = "arn:{partition}:iam::{account}:role/{}";
const USERS_GROUP: &str = "arn:{partition}:iam::{account}:group/{}";
/// The request names a key, and IAM looks at its user.
const SOME_USER: &str = "arn:{partition}:iam::{account}:user/*";
const TRAIL: &str = "arn:{partition}:cloudtrail:{region}:{account}:trail/{}";
const RECORDER: &str = "arn:{partition}:config:{region}:{account}:configuration-recorder/*";
const DETECTOR: &str = "arn:{partition}:guardduty:{region}:{account}:detector/{}";
const HUB: &str = "arn:{partition}:securityhub:{region}:{account}:hub/{}";
/// The parameter is an ARN.
const ARN: &str = "{}";

/// The kinds of EC2's resources that are tagged here, by how their ids begin.
const EC2_IDS: [(&str, &str, &str); 9] = [
    ("eni-", "network-interface", INTERFACE),
    ("fl-", "vpc-flow-log", FLOW_LOG),
    ("i-", "instance", INSTANCE),
    ("sg-", "security-group", GROUP),
    ("sgr-", "security-group-rule", RULE),
    ("snap-", "snapshot", SNAPSHOT),
    ("subnet-", "subnet", SUBNET),
    ("vol-", "volume", VOLUME),
    ("vpc-", "vpc", VPC),
];

/// By service and name.
const OPERATIONS: &[Operation] = {
    use On::{
        Also, Attached, Each, Everything, EverythingIf, Hub, Ids, If, Items, Passed, Products,
        Queried, Some as Any, Table, TagSpecifications, ThroughUrl,
    };
    const fn of(service: &'static str, name: &'static str, needs: &'static [Need]) -> Operation {
        Operation { service, name, needs }
    }
    const IN_BUCKET: &[On] = &[Each(BUCKET, "Bucket")];
    const ALL: &[On] = &[Everything];
    &[
        // https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsconfig.html
        // A recorder's ARN ends with an id that no request names.
        of(
            "Config Service",
            "DescribeConfigurationRecorders",
            &[("config:DescribeConfigurationRecorders", &[Any(RECORDER)])],
        ),
        of(
            "Config Service",
            "DescribeConfigurationRecorderStatus",
            &[("config:DescribeConfigurationRecorderStatus", &[Any(RECORDER)])],
        ),
        of(
            "Config Service",
            "DescribeDeliveryChannels",
            &[("config:DescribeDeliveryChannels", ALL)],
        ),
        of(
            "Config Service",
            "PutConfigurationRecorder",
            &[
                ("config:PutConfigurationRecorder", &[Any(RECORDER)]),
                (
                    "iam:PassRole",
                    &[Passed("ConfigurationRecorder.roleARN", "config.amazonaws.com")],
                ),
            ],
        ),
        of("Config Service", "PutDeliveryChannel", &[("config:PutDeliveryChannel", ALL)]),
        of(
            "Config Service",
            "StartConfigurationRecorder",
            &[("config:StartConfigurationRecorder", &[Any(RECORDER)])],
        ),
        // https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonguardduty.html
        of(
            "GuardDuty",
            "CreateDetector",
            &[
                ("guardduty:CreateDetector", ALL),
                ("guardduty:TagResource", &[If(DETECTOR, "tags.team")]),
            ],
        ),
        of("GuardDuty", "GetAdministratorAccount", &[("guardduty:GetAdministratorAccount", ALL)]),
        of(
            "GuardDuty",
            "GetDetector",
            &[("guardduty:GetDetector", &[Each(DETECTOR, "DetectorId")])],
        ),
        of("GuardDuty", "ListDetectors", &[("guardduty:ListDetectors", ALL)]),
        of(
            "GuardDuty",
            "UpdateDetector",
            &[("guardduty:UpdateDetector", &[Each(DETECTOR, "DetectorId")])],
        ),
        // https://docs.aws.amazon.com/service-authorization/latest/reference/list_awscloudtrail.html
        of(
            "CloudTrail",
            "CreateTrail",
            &[
                ("cloudtrail:CreateTrail", &[Each(TRAIL, "Name")]),
                ("cloudtrail:AddTags", &[If(TRAIL, "TagsList.Key")]),
                ("iam:PassRole", &[Passed("CloudWatchLogsRoleArn", "cloudtrail.amazonaws.com")]),
            ],
        ),
        of(
            "CloudTrail",
            "GetEventSelectors",
            &[("cloudtrail:GetEventSelectors", &[Each(TRAIL, "TrailName")])],
        ),
        of("CloudTrail", "GetTrail", &[("cloudtrail:GetTrail", &[Each(TRAIL, "Name")])]),
        of(
            "CloudTrail",
            "GetTrailStatus",
            &[("cloudtrail:GetTrailStatus", &[Each(TRAIL, "Name")])],
        ),
        of("CloudTrail", "ListTrails", &[("cloudtrail:ListTrails", ALL)]),
        of("CloudTrail", "ListTags", &[("cloudtrail:ListTags", &[Each(TRAIL, "ResourceIdList")])]),
        of(
            "CloudTrail",
            "PutEventSelectors",
            &[("cloudtrail:PutEventSelectors", &[Each(TRAIL, "TrailName")])],
        ),
        of("CloudTrail", "StartLogging", &[("cloudtrail:StartLogging", &[Each(TRAIL, "Name")])]),
        // https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-required-policy-for-cloudwatch-logs.html
        of(
            "CloudTrail",
            "UpdateTrail",
            &[
                ("cloudtrail:UpdateTrail", &[Each(TRAIL, "Name")]),
                ("iam:PassRole", &[Passed("CloudWatchLogsRoleArn", "cloudtrail.amazonaws.com")]),
            ],
        ),
        of("CloudWatch", "GetMetricStatistics", &[("cloudwatch:GetMetricStatistics", ALL)]),
        of("DynamoDB", "BatchGetItem", &[("dynamodb:BatchGetItem", &[Table])]),
        of("DynamoDB", "BatchWriteItem", &[("dynamodb:BatchWriteItem", &[Table])]),
        of("DynamoDB", "DeleteItem", &[("dynamodb:DeleteItem", &[Table])]),
        of("DynamoDB", "GetItem", &[("dynamodb:GetItem", &[Table])]),
        of("DynamoDB", "PutItem", &[("dynamodb:PutItem", &[Table])]),
        of("DynamoDB", "Query", &[("dynamodb:Query", &[Queried])]),
        of("DynamoDB", "Scan", &[("dynamodb:Scan", &[Queried])]),
        of("DynamoDB", "TransactGetItems", &[("dynamodb:GetItem", &[Items("Get")])]),
        of(
            "DynamoDB",
            "TransactWriteItems",
            &[
                ("dynamodb:ConditionCheckItem", &[Items("ConditionCheck")]),
                ("dynamodb:DeleteItem", &[Items("Delete")]),
                ("dynamodb:PutItem", &[Items("Put")]),
                ("dynamodb:UpdateItem", &[Items("Update")]),
            ],
        ),
        of("DynamoDB", "UpdateItem", &[("dynamodb:UpdateItem", &[Table])]),
        of(
            "EC2",
            "AuthorizeSecurityGroupEgress",
            &[
                ("ec2:AuthorizeSecurityGroupEgress", &[Each(GROUP, "GroupId"), Any(RULE)]),
                ("ec2:CreateTags", &[TagSpecifications]),
            ],
        ),
        of(
            "EC2",
            "AuthorizeSecurityGroupIngress",
            &[
                ("ec2:AuthorizeSecurityGroupIngress", &[Each(GROUP, "GroupId"), Any(RULE)]),
                ("ec2:CreateTags", &[TagSpecifications]),
            ],
        ),
        // What delivers to a log group does so with a role; for a bucket CloudWatch Logs does it.
        // https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-iam-role.html
        // https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-s3-permissions.html
        of(
            "EC2",
            "CreateFlowLogs",
            &[
                ("ec2:CreateFlowLogs", &[Any(FLOW_LOG), Each(VPC, "ResourceId")]),
                ("ec2:CreateTags", &[TagSpecifications]),
                (
                    "iam:PassRole",
                    &[Passed("DeliverLogsPermissionArn", "vpc-flow-logs.amazonaws.com")],
                ),
                ("logs:CreateLogDelivery", &[EverythingIf("LogDestination")]),
            ],
        ),
        of(
            "EC2",
            "CreateNetworkAclEntry",
            &[("ec2:CreateNetworkAclEntry", &[Each(NETWORK_ACL, "NetworkAclId")])],
        ),
        of(
            "EC2",
            "CreateSecurityGroup",
            &[
                ("ec2:CreateSecurityGroup", &[Any(GROUP), Each(VPC, "VpcId")]),
                ("ec2:CreateTags", &[TagSpecifications]),
            ],
        ),
        // Not `ec2:CreateSnapshot`: the reference has an action of its own for snapshots of all volumes of an instance.
        of(
            "EC2",
            "CreateSnapshots",
            &[
                (
                    "ec2:CreateSnapshots",
                    &[
                        Each(INSTANCE, "InstanceSpecification.InstanceId"),
                        Any(SNAPSHOT),
                        Any(VOLUME),
                    ],
                ),
                ("ec2:CreateTags", &[TagSpecifications]),
            ],
        ),
        of("EC2", "CreateTags", &[("ec2:CreateTags", &[Ids("ResourceId")])]),
        of(
            "EC2",
            "DeleteNetworkAclEntry",
            &[("ec2:DeleteNetworkAclEntry", &[Each(NETWORK_ACL, "NetworkAclId")])],
        ),
        of("EC2", "DeleteSecurityGroup", &[("ec2:DeleteSecurityGroup", &[Each(GROUP, "GroupId")])]),
        of("EC2", "DeleteTags", &[("ec2:DeleteTags", &[Ids("ResourceId")])]),
        of("EC2", "DescribeFlowLogs", &[("ec2:DescribeFlowLogs", ALL)]),
        of(
            "EC2",
            "DescribeImageAttribute",
            &[("ec2:DescribeImageAttribute", &[Each(IMAGE, "ImageId")])],
        ),
        of("EC2", "DescribeImages", &[("ec2:DescribeImages", ALL)]),
        of(
            "EC2",
            "DescribeInstanceAttribute",
            &[("ec2:DescribeInstanceAttribute", &[Each(INSTANCE, "InstanceId")])],
        ),
        of("EC2", "DescribeInstances", &[("ec2:DescribeInstances", ALL)]),
        of("EC2", "DescribeNetworkAcls", &[("ec2:DescribeNetworkAcls", ALL)]),
        of("EC2", "DescribeNetworkInterfaces", &[("ec2:DescribeNetworkInterfaces", ALL)]),
        of("EC2", "DescribeSecurityGroupRules", &[("ec2:DescribeSecurityGroupRules", ALL)]),
        of("EC2", "DescribeSecurityGroups", &[("ec2:DescribeSecurityGroups", ALL)]),
        of(
            "EC2",
            "DescribeSnapshotAttribute",
            &[("ec2:DescribeSnapshotAttribute", &[Each(SNAPSHOT, "SnapshotId")])],
        ),
        of("EC2", "DescribeSnapshots", &[("ec2:DescribeSnapshots", ALL)]),
        of("EC2", "DescribeSubnets", &[("ec2:DescribeSubnets", ALL)]),
        of("EC2", "DescribeVpcs", &[("ec2:DescribeVpcs", ALL)]),
        of("EC2", "DisableEbsEncryptionByDefault", &[("ec2:DisableEbsEncryptionByDefault", ALL)]),
        of("EC2", "DisableImageBlockPublicAccess", &[("ec2:DisableImageBlockPublicAccess", ALL)]),
        of(
            "EC2",
            "DisableSnapshotBlockPublicAccess",
            &[("ec2:DisableSnapshotBlockPublicAccess", ALL)],
        ),
        of("EC2", "EnableEbsEncryptionByDefault", &[("ec2:EnableEbsEncryptionByDefault", ALL)]),
        of("EC2", "EnableImageBlockPublicAccess", &[("ec2:EnableImageBlockPublicAccess", ALL)]),
        of(
            "EC2",
            "EnableSnapshotBlockPublicAccess",
            &[("ec2:EnableSnapshotBlockPublicAccess", ALL)],
        ),
        of("EC2", "GetEbsEncryptionByDefault", &[("ec2:GetEbsEncryptionByDefault", ALL)]),
        of("EC2", "GetImageBlockPublicAccessState", &[("ec2:GetImageBlockPublicAccessState", ALL)]),
        of(
            "EC2",
            "GetSnapshotBlockPublicAccessState",
            &[("ec2:GetSnapshotBlockPublicAccessState", ALL)],
        ),
        of(
            "EC2",
            "ModifyImageAttribute",
            &[("ec2:ModifyImageAttribute", &[Each(IMAGE, "ImageId")])],
        ),
        of(
            "EC2",
            "ModifyInstanceAttribute",
            &[(
                "ec2:ModifyInstanceAttribute",
                &[
                    Each(INSTANCE, "InstanceId"),
                    Also(GROUP, "GroupId"),
                    If(VOLUME, "BlockDeviceMapping.DeviceName"),
                ],
            )],
        ),
        of(
            "EC2",
            "ModifyInstanceMetadataOptions",
            &[("ec2:ModifyInstanceMetadataOptions", &[Each(INSTANCE, "InstanceId")])],
        ),
        of(
            "EC2",
            "ModifyNetworkInterfaceAttribute",
            &[(
                "ec2:ModifyNetworkInterfaceAttribute",
                &[
                    Each(INTERFACE, "NetworkInterfaceId"),
                    Also(GROUP, "SecurityGroupId"),
                    Any(INSTANCE),
                    Any(SUBNET),
                ],
            )],
        ),
        of(
            "EC2",
            "ModifySnapshotAttribute",
            &[("ec2:ModifySnapshotAttribute", &[Each(SNAPSHOT, "SnapshotId")])],
        ),
        of(
            "EC2",
            "ModifySubnetAttribute",
            &[("ec2:ModifySubnetAttribute", &[Each(SUBNET, "SubnetId")])],
        ),
        of(
            "EC2",
            "RevokeSecurityGroupEgress",
            &[("ec2:RevokeSecurityGroupEgress", &[Each(GROUP, "GroupId")])],
        ),
        of(
            "EC2",
            "RevokeSecurityGroupIngress",
            &[("ec2:RevokeSecurityGroupIngress", &[Each(GROUP, "GroupId")])],
        ),
        of("EventBridge", "DescribeRule", &[("events:DescribeRule", &[Each(EVENT_RULE, "Name")])]),
        of("EventBridge", "EnableRule", &[("events:EnableRule", &[Each(EVENT_RULE, "Name")])]),
        of("EventBridge", "ListRules", &[("events:ListRules", ALL)]),
        of(
            "EventBridge",
            "ListTagsForResource",
            &[("events:ListTagsForResource", &[Each(EVENT_RULE, "ResourceARN")])],
        ),
        of("Lambda", "Invoke", &[("lambda:InvokeFunction", &[Each(FUNCTION, "FunctionName")])]),
        // https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
        of(
            "Lambda",
            "InvokeFunctionUrl",
            &[
                ("lambda:InvokeFunctionUrl", &[ThroughUrl(FUNCTION, "FunctionName")]),
                ("lambda:InvokeFunction", &[ThroughUrl(FUNCTION, "FunctionName")]),
            ],
        ),
        of("S3", "DeleteBucketLifecycle", &[("s3:PutLifecycleConfiguration", IN_BUCKET)]),
        of("S3", "DeleteBucketPolicy", &[("s3:DeleteBucketPolicy", IN_BUCKET)]),
        of("S3", "DeletePublicAccessBlock", &[("s3:PutBucketPublicAccessBlock", IN_BUCKET)]),
        of("S3", "GetBucketAcl", &[("s3:GetBucketAcl", IN_BUCKET)]),
        of("S3", "GetBucketEncryption", &[("s3:GetEncryptionConfiguration", IN_BUCKET)]),
        of("S3", "GetBucketLifecycleConfiguration", &[("s3:GetLifecycleConfiguration", IN_BUCKET)]),
        of("S3", "GetBucketOwnershipControls", &[("s3:GetBucketOwnershipControls", IN_BUCKET)]),
        of("S3", "GetBucketPolicy", &[("s3:GetBucketPolicy", IN_BUCKET)]),
        of("S3", "GetBucketReplication", &[("s3:GetReplicationConfiguration", IN_BUCKET)]),
        of("S3", "GetBucketTagging", &[("s3:GetBucketTagging", IN_BUCKET)]),
        of("S3", "GetBucketVersioning", &[("s3:GetBucketVersioning", IN_BUCKET)]),
        of(
            "S3",
            "GetObjectAcl",
            &[
                ("s3:GetObjectAcl", &[Each(OBJECT, "Bucket")]),
                ("s3:GetObjectVersionAcl", &[If(OBJECT, "versionId")]),
                // For one that is not there: without it the answer is 403.
                ("s3:ListBucket", IN_BUCKET),
            ],
        ),
        of("S3", "GetPublicAccessBlock", &[("s3:GetBucketPublicAccessBlock", IN_BUCKET)]),
        of("S3", "HeadBucket", &[("s3:ListBucket", IN_BUCKET)]),
        of("S3", "ListBuckets", &[("s3:ListAllMyBuckets", ALL)]),
        of("S3", "PutBucketAcl", &[("s3:PutBucketAcl", IN_BUCKET)]),
        of("S3", "PutBucketEncryption", &[("s3:PutEncryptionConfiguration", IN_BUCKET)]),
        of("S3", "PutBucketLifecycleConfiguration", &[("s3:PutLifecycleConfiguration", IN_BUCKET)]),
        of("S3", "PutBucketPolicy", &[("s3:PutBucketPolicy", IN_BUCKET)]),
        of("S3", "PutBucketVersioning", &[("s3:PutBucketVersioning", IN_BUCKET)]),
        of(
            "S3",
            "PutObjectAcl",
            &[
                ("s3:PutObjectAcl", &[Each(OBJECT, "Bucket")]),
                ("s3:PutObjectVersionAcl", &[If(OBJECT, "versionId")]),
            ],
        ),
        of("S3", "PutPublicAccessBlock", &[("s3:PutBucketPublicAccessBlock", IN_BUCKET)]),
        of("S3 Control", "DeletePublicAccessBlock", &[("s3:PutAccountPublicAccessBlock", ALL)]),
        of("S3 Control", "GetPublicAccessBlock", &[("s3:GetAccountPublicAccessBlock", ALL)]),
        of("S3 Control", "PutPublicAccessBlock", &[("s3:PutAccountPublicAccessBlock", ALL)]),
        of(
            "Secrets Manager",
            "GetSecretValue",
            &[("secretsmanager:GetSecretValue", &[Each(ARN, "SecretId")])],
        ),
        of(
            "SecurityHub",
            "BatchImportFindings",
            &[("securityhub:BatchImportFindings", &[Products])],
        ),
        of("SecurityHub", "BatchUpdateFindings", &[("securityhub:BatchUpdateFindings", &[Hub])]),
        of("IAM", "GetAccessKeyLastUsed", &[("iam:GetAccessKeyLastUsed", &[Any(SOME_USER)])]),
        of("IAM", "ListAccessKeys", &[("iam:ListAccessKeys", &[Each(USER, "UserName")])]),
        of(
            "IAM",
            "ListAttachedUserPolicies",
            &[("iam:ListAttachedUserPolicies", &[Each(USER, "UserName")])],
        ),
        of("IAM", "GetAccountSummary", &[("iam:GetAccountSummary", &[Everything])]),
        of("IAM", "GetUser", &[("iam:GetUser", &[Each(USER, "UserName")])]),
        of(
            "IAM",
            "PutRolePermissionsBoundary",
            &[("iam:PutRolePermissionsBoundary", &[Each(ROLE, "RoleName")])],
        ),
        of(
            "IAM",
            "DeleteRolePermissionsBoundary",
            &[("iam:DeleteRolePermissionsBoundary", &[Each(ROLE, "RoleName")])],
        ),
        of(
            "IAM",
            "PutUserPermissionsBoundary",
            &[("iam:PutUserPermissionsBoundary", &[Each(USER, "UserName")])],
        ),
        of(
            "IAM",
            "DeleteUserPermissionsBoundary",
            &[("iam:DeleteUserPermissionsBoundary", &[Each(USER, "UserName")])],
        ),
        of("IAM", "ListRoles", &[("iam:ListRoles", &[Everything])]),
        of("IAM", "AddUserToGroup", &[("iam:AddUserToGroup", &[Each(USERS_GROUP, "GroupName")])]),
        of(
            "IAM",
            "RemoveUserFromGroup",
            &[("iam:RemoveUserFromGroup", &[Each(USERS_GROUP, "GroupName")])],
        ),
        of("IAM", "ListGroupsForUser", &[("iam:ListGroupsForUser", &[Each(USER, "UserName")])]),
        of("IAM", "ListPolicyVersions", &[("iam:ListPolicyVersions", &[Each(ARN, "PolicyArn")])]),
        of(
            "IAM",
            "SetDefaultPolicyVersion",
            &[("iam:SetDefaultPolicyVersion", &[Each(ARN, "PolicyArn")])],
        ),
        of("IAM", "ListPolicyTags", &[("iam:ListPolicyTags", &[Each(ARN, "PolicyArn")])]),
        of(
            "IAM",
            "UpdateAssumeRolePolicy",
            &[("iam:UpdateAssumeRolePolicy", &[Each(ROLE, "RoleName")])],
        ),
        of("IAM", "GetSAMLProvider", &[("iam:GetSAMLProvider", &[Each(ARN, "SAMLProviderArn")])]),
        of(
            "IAM",
            "GetOpenIDConnectProvider",
            &[("iam:GetOpenIDConnectProvider", &[Each(ARN, "OpenIDConnectProviderArn")])],
        ),
        of("IAM", "GetLoginProfile", &[("iam:GetLoginProfile", &[Each(USER, "UserName")])]),
        of("IAM", "ListMFADevices", &[("iam:ListMFADevices", &[Each(USER, "UserName")])]),
        of("IAM", "GetAccountPasswordPolicy", &[("iam:GetAccountPasswordPolicy", &[Everything])]),
        of(
            "IAM",
            "UpdateAccountPasswordPolicy",
            &[("iam:UpdateAccountPasswordPolicy", &[Everything])],
        ),
        of(
            "IAM",
            "DeleteAccountPasswordPolicy",
            &[("iam:DeleteAccountPasswordPolicy", &[Everything])],
        ),
        of("IAM", "ListUsers", &[("iam:ListUsers", &[Everything])]),
        of("IAM", "ListUserTags", &[("iam:ListUserTags", &[Each(USER, "UserName")])]),
        of("IAM", "UpdateAccessKey", &[("iam:UpdateAccessKey", &[Each(USER, "UserName")])]),
        of(
            "IAM",
            "AttachGroupPolicy",
            &[("iam:AttachGroupPolicy", &[Attached(USERS_GROUP, "GroupName")])],
        ),
        of("IAM", "AttachRolePolicy", &[("iam:AttachRolePolicy", &[Attached(ROLE, "RoleName")])]),
        of("IAM", "AttachUserPolicy", &[("iam:AttachUserPolicy", &[Attached(USER, "UserName")])]),
        of(
            "IAM",
            "DeleteGroupPolicy",
            &[("iam:DeleteGroupPolicy", &[Each(USERS_GROUP, "GroupName")])],
        ),
        of("IAM", "DeleteRolePolicy", &[("iam:DeleteRolePolicy", &[Each(ROLE, "RoleName")])]),
        of("IAM", "DeleteUserPolicy", &[("iam:DeleteUserPolicy", &[Each(USER, "UserName")])]),
        of(
            "IAM",
            "DetachGroupPolicy",
            &[("iam:DetachGroupPolicy", &[Attached(USERS_GROUP, "GroupName")])],
        ),
        of("IAM", "DetachRolePolicy", &[("iam:DetachRolePolicy", &[Attached(ROLE, "RoleName")])]),
        of("IAM", "DetachUserPolicy", &[("iam:DetachUserPolicy", &[Attached(USER, "UserName")])]),
        of("IAM", "GetGroup", &[("iam:GetGroup", &[Each(USERS_GROUP, "GroupName")])]),
        of("IAM", "GetGroupPolicy", &[("iam:GetGroupPolicy", &[Each(USERS_GROUP, "GroupName")])]),
        of("IAM", "GetPolicy", &[("iam:GetPolicy", &[Each(ARN, "PolicyArn")])]),
        of("IAM", "GetPolicyVersion", &[("iam:GetPolicyVersion", &[Each(ARN, "PolicyArn")])]),
        of("IAM", "GetRole", &[("iam:GetRole", &[Each(ROLE, "RoleName")])]),
        of("IAM", "GetRolePolicy", &[("iam:GetRolePolicy", &[Each(ROLE, "RoleName")])]),
        of("IAM", "GetUserPolicy", &[("iam:GetUserPolicy", &[Each(USER, "UserName")])]),
        of(
            "IAM",
            "ListAttachedGroupPolicies",
            &[("iam:ListAttachedGroupPolicies", &[Each(USERS_GROUP, "GroupName")])],
        ),
        of(
            "IAM",
            "ListAttachedRolePolicies",
            &[("iam:ListAttachedRolePolicies", &[Each(ROLE, "RoleName")])],
        ),
        of(
            "IAM",
            "ListEntitiesForPolicy",
            &[("iam:ListEntitiesForPolicy", &[Each(ARN, "PolicyArn")])],
        ),
        of(
            "IAM",
            "ListGroupPolicies",
            &[("iam:ListGroupPolicies", &[Each(USERS_GROUP, "GroupName")])],
        ),
        of("IAM", "ListRolePolicies", &[("iam:ListRolePolicies", &[Each(ROLE, "RoleName")])]),
        of("IAM", "ListRoleTags", &[("iam:ListRoleTags", &[Each(ROLE, "RoleName")])]),
        of("IAM", "ListUserPolicies", &[("iam:ListUserPolicies", &[Each(USER, "UserName")])]),
        of("IAM", "PutGroupPolicy", &[("iam:PutGroupPolicy", &[Each(USERS_GROUP, "GroupName")])]),
        of("IAM", "PutRolePolicy", &[("iam:PutRolePolicy", &[Each(ROLE, "RoleName")])]),
        of("IAM", "PutUserPolicy", &[("iam:PutUserPolicy", &[Each(USER, "UserName")])]),
        of("SNS", "Publish", &[("sns:Publish", &[Each(ARN, "TopicArn")])]),
        of("STS", "AssumeRole", &[("sts:AssumeRole", &[Each(ARN, "RoleArn")])]),
        // Nobody needs a permission for it: it is never asked for.
        of("STS", "GetCallerIdentity", &[]),
    ]
};

/// What an action can do, in the reference's words.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Access {
    List,
    Read,
    Write,
    Tagging,
    PermissionsManagement,
}

/// What the reference says of an action.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facts {
    pub action: &'static str,
    pub access: Access,
    /// It can be allowed on single resources. If not, AWS wants `Resource: "*"`.
    pub has_resources: bool,
}

impl Access {
    pub fn is_write(self) -> bool {
        self > Self::Read
    }
}

impl Facts {
    /// The page that says so.
    pub fn page(&self) -> &'static str {
        let prefix = self.action.split(':').next().unwrap_or_default();
        PAGES.iter().find(|(of, _)| *of == prefix).map_or("", |(_, page)| page)
    }
}

/// The actions that some operation asks for.
pub(super) fn asked_for() -> Vec<&'static str> {
    OPERATIONS.iter().flat_map(|operation| operation.needs).map(|(action, _)| *action).collect()
}

/// What is known of an action.
pub fn facts(action: &str) -> Option<&'static Facts> {
    FACTS.iter().find(|facts| facts.action == action)
}

/// By the prefix of the actions.
pub const PAGES: [(&str, &str); 17] = [
    (
        "cloudtrail",
        "https://docs.aws.amazon.com/service-authorization/latest/reference/list_awscloudtrail.html",
    ),
    (
        "cloudwatch",
        "https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatch.html",
    ),
    (
        "config",
        "https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsconfig.html",
    ),
    (
        "dynamodb",
        "https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html",
    ),
    (
        "ec2",
        "https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html",
    ),
    (
        "events",
        "https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoneventbridge.html",
    ),
    (
        "guardduty",
        "https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonguardduty.html",
    ),
    (
        "iam",
        "https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html",
    ),
    (
        "lambda",
        "https://docs.aws.amazon.com/service-authorization/latest/reference/list_awslambda.html",
    ),
    (
        "logs",
        "https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatchlogs.html",
    ),
    ("s3", "https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html"),
    (
        "secretsmanager",
        "https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssecretsmanager.html",
    ),
    (
        "securityhub",
        "https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssecurityhub.html",
    ),
    (
        "sns",
        "https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsns.html",
    ),
    (
        "sqs",
        "https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsqs.html",
    ),
    (
        "sts",
        "https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssecuritytokenservice.html",
    ),
    (
        "xray",
        "https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsx-ray.html",
    ),
];

/// By action.
const FACTS: &[Facts] = {
    use Access::{List, PermissionsManagement, Read, Tagging, Write};
    const fn of(action: &'static str, access: Access, has_resources: bool) -> Facts {
        Facts { action, access, has_resources }
    }
    &[
        of("cloudtrail:AddTags", Tagging, true),
        of("cloudtrail:CreateTrail", Write, true),
        of("cloudtrail:GetEventSelectors", Read, true),
        of("cloudtrail:GetTrail", Read, true),
        of("cloudtrail:GetTrailStatus", Read, true),
        of("cloudtrail:ListTags", Read, true),
        of("cloudtrail:ListTrails", List, false),
        of("cloudtrail:PutEventSelectors", Write, true),
        of("cloudtrail:StartLogging", Write, true),
        of("cloudtrail:UpdateTrail", Write, true),
        of("cloudwatch:GetMetricStatistics", Read, false),
        of("config:DescribeConfigurationRecorderStatus", Read, true),
        of("config:DescribeConfigurationRecorders", Read, true),
        of("config:DescribeDeliveryChannels", Read, false),
        of("config:PutConfigurationRecorder", Write, true),
        of("config:PutDeliveryChannel", Write, false),
        of("config:StartConfigurationRecorder", Write, true),
        of("dynamodb:BatchGetItem", Read, true),
        of("dynamodb:BatchWriteItem", Write, true),
        of("dynamodb:ConditionCheckItem", Read, true),
        of("dynamodb:DeleteItem", Write, true),
        of("dynamodb:GetItem", Read, true),
        of("dynamodb:PutItem", Write, true),
        of("dynamodb:Query", Read, true),
        of("dynamodb:Scan", Read, true),
        of("dynamodb:UpdateItem", Write, true),
        of("ec2:AuthorizeSecurityGroupEgress", Write, true),
        of("ec2:AuthorizeSecurityGroupIngress", Write, true),
        of("ec2:CreateFlowLogs", Write, true),
        of("ec2:CreateNetworkAclEntry", Write, true),
        of("ec2:CreateSecurityGroup", Write, true),
        of("ec2:CreateSnapshots", Write, true),
        of("ec2:CreateTags", Tagging, true),
        of("ec2:DeleteNetworkAclEntry", Write, true),
        of("ec2:DeleteSecurityGroup", Write, true),
        of("ec2:DeleteTags", Tagging, true),
        of("ec2:DescribeFlowLogs", List, false),
        of("ec2:DescribeImageAttribute", List, true),
        of("ec2:DescribeImages", List, false),
        of("ec2:DescribeInstanceAttribute", List, true),
        of("ec2:DescribeInstances", List, false),
        of("ec2:DescribeNetworkAcls", List, false),
        of("ec2:DescribeNetworkInterfaces", List, false),
        of("ec2:DescribeSecurityGroupRules", List, false),
        of("ec2:DescribeSecurityGroups", List, false),
        of("ec2:DescribeSnapshotAttribute", List, true),
        of("ec2:DescribeSnapshots", List, false),
        of("ec2:DescribeSubnets", List, false),
        of("ec2:DescribeVpcs", List, false),
        of("ec2:DisableEbsEncryptionByDefault", Write, false),
        of("ec2:DisableImageBlockPublicAccess", Write, false),
        of("ec2:DisableSnapshotBlockPublicAccess", Write, false),
        of("ec2:EnableEbsEncryptionByDefault", Write, false),
        of("ec2:EnableImageBlockPublicAccess", Write, false),
        of("ec2:EnableSnapshotBlockPublicAccess", Write, false),
        of("ec2:GetEbsEncryptionByDefault", Read, false),
        of("ec2:GetImageBlockPublicAccessState", Read, false),
        of("ec2:GetSnapshotBlockPublicAccessState", Read, false),
        of("ec2:ModifyImageAttribute", Write, true),
        of("ec2:ModifyInstanceAttribute", Write, true),
        of("ec2:ModifyInstanceMetadataOptions", Write, true),
        of("ec2:ModifyNetworkInterfaceAttribute", Write, true),
        of("ec2:ModifySnapshotAttribute", PermissionsManagement, true),
        of("ec2:ModifySubnetAttribute", Write, true),
        of("ec2:RevokeSecurityGroupEgress", Write, true),
        of("ec2:RevokeSecurityGroupIngress", Write, true),
        of("events:DescribeRule", Read, true),
        of("events:EnableRule", Write, true),
        of("events:ListRules", List, false),
        of("events:ListTagsForResource", List, true),
        of("iam:AttachGroupPolicy", PermissionsManagement, true),
        of("iam:AttachRolePolicy", PermissionsManagement, true),
        of("iam:AttachUserPolicy", PermissionsManagement, true),
        of("iam:DeleteGroupPolicy", PermissionsManagement, true),
        of("iam:DeleteRolePolicy", PermissionsManagement, true),
        of("iam:DeleteUserPolicy", PermissionsManagement, true),
        of("iam:DetachGroupPolicy", PermissionsManagement, true),
        of("iam:DetachRolePolicy", PermissionsManagement, true),
        of("iam:DetachUserPolicy", PermissionsManagement, true),
        of("iam:GetAccessKeyLastUsed", Read, true),
        of("iam:GetGroup", Read, true),
        of("iam:GetGroupPolicy", Read, true),
        of("iam:GetPolicy", Read, true),
        of("iam:GetPolicyVersion", Read, true),
        of("iam:GetRole", Read, true),
        of("iam:GetRolePolicy", Read, true),
        of("iam:GetUserPolicy", Read, true),
        of("iam:ListAccessKeys", List, true),
        of("iam:ListAttachedGroupPolicies", List, true),
        of("iam:ListAttachedRolePolicies", List, true),
        of("iam:ListAttachedUserPolicies", List, true),
        of("iam:GetAccountSummary", List, false),
        of("iam:GetUser", Read, true),
        of("iam:PutRolePermissionsBoundary", PermissionsManagement, true),
        of("iam:DeleteRolePermissionsBoundary", PermissionsManagement, true),
        of("iam:PutUserPermissionsBoundary", PermissionsManagement, true),
        of("iam:DeleteUserPermissionsBoundary", PermissionsManagement, true),
        of("iam:ListRoles", List, false),
        of("guardduty:CreateDetector", Write, false),
        of("guardduty:GetAdministratorAccount", Read, false),
        of("guardduty:GetDetector", Read, true),
        of("guardduty:ListDetectors", List, false),
        of("guardduty:TagResource", Tagging, true),
        of("guardduty:UpdateDetector", Write, true),
        of("iam:AddUserToGroup", Write, true),
        of("iam:RemoveUserFromGroup", Write, true),
        of("iam:ListGroupsForUser", List, true),
        of("iam:ListPolicyVersions", List, true),
        of("iam:SetDefaultPolicyVersion", PermissionsManagement, true),
        of("iam:ListPolicyTags", List, true),
        of("iam:UpdateAssumeRolePolicy", PermissionsManagement, true),
        of("iam:GetSAMLProvider", Read, true),
        of("iam:GetOpenIDConnectProvider", Read, true),
        of("iam:GetLoginProfile", Read, true),
        of("iam:ListMFADevices", List, true),
        of("iam:GetAccountPasswordPolicy", Read, false),
        of("iam:UpdateAccountPasswordPolicy", Write, false),
        of("iam:DeleteAccountPasswordPolicy", PermissionsManagement, false),
        of("iam:ListUsers", List, false),
        of("iam:ListEntitiesForPolicy", List, true),
        of("iam:ListGroupPolicies", List, true),
        of("iam:ListRolePolicies", List, true),
        of("iam:ListRoleTags", List, true),
        of("iam:ListUserPolicies", List, true),
        of("iam:ListUserTags", List, true),
        of("iam:PassRole", Write, true),
        of("iam:PutGroupPolicy", PermissionsManagement, true),
        of("iam:PutRolePolicy", PermissionsManagement, true),
        of("iam:PutUserPolicy", PermissionsManagement, true),
        of("iam:UpdateAccessKey", Write, true),
        of("lambda:InvokeFunction", Write, true),
        of("lambda:InvokeFunctionUrl", Write, true),
        of("logs:CreateLogDelivery", Write, false),
        of("logs:CreateLogStream", Write, true),
        of("logs:PutLogEvents", Write, true),
        of("s3:DeleteBucketPolicy", PermissionsManagement, true),
        of("s3:GetAccountPublicAccessBlock", Read, false),
        of("s3:GetBucketAcl", Read, true),
        of("s3:GetBucketOwnershipControls", Read, true),
        of("s3:GetBucketPolicy", Read, true),
        of("s3:GetBucketPublicAccessBlock", Read, true),
        of("s3:GetBucketTagging", Read, true),
        of("s3:GetBucketVersioning", Read, true),
        of("s3:GetEncryptionConfiguration", Read, true),
        of("s3:GetLifecycleConfiguration", Read, true),
        of("s3:GetObjectAcl", Read, true),
        of("s3:GetObjectVersionAcl", Read, true),
        of("s3:GetReplicationConfiguration", Read, true),
        of("s3:ListAllMyBuckets", List, false),
        of("s3:ListBucket", List, true),
        of("s3:PutAccountPublicAccessBlock", PermissionsManagement, false),
        of("s3:PutBucketAcl", PermissionsManagement, true),
        of("s3:PutBucketPolicy", PermissionsManagement, true),
        of("s3:PutBucketPublicAccessBlock", PermissionsManagement, true),
        of("s3:PutBucketVersioning", Write, true),
        of("s3:PutEncryptionConfiguration", Write, true),
        of("s3:PutLifecycleConfiguration", Write, true),
        of("s3:PutObjectAcl", PermissionsManagement, true),
        of("s3:PutObjectVersionAcl", PermissionsManagement, true),
        of("secretsmanager:GetSecretValue", Read, true),
        of("securityhub:BatchImportFindings", Write, true),
        of("securityhub:BatchUpdateFindings", Write, true),
        of("sns:Publish", Write, true),
        of("sqs:DeleteMessage", Write, true),
        of("sqs:GetQueueAttributes", Read, true),
        of("sqs:ReceiveMessage", Read, true),
        of("sqs:SendMessage", Write, true),
        of("sts:AssumeRole", Write, true),
        of("xray:PutTelemetryRecords", Write, false),
        of("xray:PutTraceSegments", Write, false),
    ]
};

/// The context keys that requests are known by here, in lower case; those that end in `/` go on with a tag's key, or a field. A
/// policy that looks at another would be misjudged.
pub(super) const KEYS: [&str; 16] = [
    "aws:principalaccount",
    "aws:principalarn",
    "aws:requestedregion",
    "aws:requesttag/",
    "aws:resourceaccount",
    "aws:tagkeys",
    "dynamodb:enclosingoperation",
    "dynamodb:leadingkeys",
    "ec2:createaction",
    "iam:passedtoservice",
    "iam:policyarn",
    "lambda:functionurlauthtype",
    "lambda:invokedviafunctionurl",
    "s3:resourceaccount",
    "securityhub:asffsyntaxpath/",
    "securityhub:targetaccount",
];

impl Request {
    /// What AWS asks IAM before it does what is requested: each has to be allowed.
    pub fn asks(&self) -> Result<Vec<Asked>, UnknownOperation> {
        let operation = OPERATIONS
            .iter()
            .find(|known| known.service == self.service && known.name == self.operation)
            .ok_or_else(|| self.unknown("is not known"))?;
        let mut asked = Vec::new();
        for (action, resources) in operation.needs {
            for on in *resources {
                self.ask(action, on, &mut asked)?;
            }
        }
        Ok(asked)
    }

    fn ask(&self, action: &str, on: &On, asked: &mut Vec<Asked>) -> Result<(), UnknownOperation> {
        let mut plain = |resource: String| {
            let context = self.context(&resource);
            asked.push(Asked { action: action.to_owned(), resource, context });
        };
        match on {
            On::Everything => plain("*".to_owned()),
            On::EverythingIf(parameter) => {
                if !self.values(parameter).is_empty() {
                    plain("*".to_owned());
                }
            }
            On::Passed(parameter, service) => {
                // An empty text takes the role away.
                for role in self.values(parameter).into_iter().filter(|role| !role.is_empty()) {
                    let context = self.context(role).with("iam:PassedToService", *service);
                    let resource = role.to_owned();
                    asked.push(Asked { action: action.to_owned(), resource, context });
                }
            }
            On::Attached(arn, parameter) => {
                let named = self.value(parameter).zip(self.value("PolicyArn"));
                let (name, policy) = named
                    .ok_or_else(|| self.unknown(&format!("names no {parameter} or policy")))?;
                let resource = self.arn(arn, name);
                let context = self.context(&resource).with("iam:PolicyARN", policy);
                asked.push(Asked { action: action.to_owned(), resource, context });
            }
            On::Each(arn, parameter) => {
                let named = self.values(parameter);
                if named.is_empty() {
                    return Err(self.unknown(&format!("names no {parameter}")));
                }
                named.into_iter().for_each(|name| plain(self.arn(arn, name)));
            }
            On::ThroughUrl(arn, parameter) => {
                let name = self.value(parameter);
                let name = name.ok_or_else(|| self.unknown(&format!("names no {parameter}")))?;
                let resource = self.arn(arn, name);
                let context = self.context(&resource);
                let context = match action {
                    "lambda:InvokeFunctionUrl" => {
                        context.with("lambda:FunctionUrlAuthType", "AWS_IAM")
                    }
                    _ => context.with("lambda:InvokedViaFunctionUrl", "true"),
                };
                asked.push(Asked { action: action.to_owned(), resource, context });
            }
            On::Also(arn, parameter) => {
                self.values(parameter).into_iter().for_each(|name| plain(self.arn(arn, name)));
            }
            On::If(arn, parameter) => {
                if !self.values(parameter).is_empty() {
                    plain(self.arn(arn, "*"));
                }
            }
            On::Some(arn) => plain(self.arn(arn, "*")),
            On::Ids(parameter) => {
                let ids = self.values(parameter);
                if ids.is_empty() {
                    return Err(self.unknown(&format!("names no {parameter}")));
                }
                for id in ids {
                    let kind = EC2_IDS.iter().find(|(begin, ..)| id.starts_with(begin));
                    let (.., arn) = kind.ok_or_else(|| self.unknown(&format!("tags {id}")))?;
                    let resource = self.arn(arn, id);
                    let context = self.tagged(self.context(&resource), "Tag");
                    asked.push(Asked { action: action.to_owned(), resource, context });
                }
            }
            On::TagSpecifications => {
                for place in self.places("TagSpecification") {
                    let kind = self.value(&format!("{place}.ResourceType")).unwrap_or_default();
                    let known = EC2_IDS.iter().find(|(_, known, _)| *known == kind);
                    let (.., arn) = known.ok_or_else(|| self.unknown(&format!("tags a {kind}")))?;
                    let resource = self.arn(arn, "*");
                    let context = self.tagged(self.context(&resource), &format!("{place}.Tag"));
                    let context = context.with("ec2:CreateAction", self.operation.as_str());
                    asked.push(Asked { action: action.to_owned(), resource, context });
                }
            }
            On::Table => {
                let mut keys: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
                for item in &self.items {
                    keys.entry(&item.table).or_default().extend(item.key.as_deref());
                }
                if keys.is_empty() {
                    return Err(self.unknown("names no table"));
                }
                for (table, keys) in keys {
                    let resource = self.arn(TABLE, table);
                    let mut context = self.context(&resource);
                    keys.iter().for_each(|key| context.add("dynamodb:LeadingKeys", *key));
                    asked.push(Asked { action: action.to_owned(), resource, context });
                }
            }
            On::Queried => {
                let table = self.items.first().ok_or_else(|| self.unknown("names no table"))?;
                let table = self.arn(TABLE, &table.table);
                plain(match self.value("IndexName") {
                    Some(index) => format!("{table}/index/{index}"),
                    None => table,
                });
            }
            On::Items(kind) => {
                const KINDS: [&str; 5] = ["ConditionCheck", "Delete", "Get", "Put", "Update"];
                if let Some(other) = self.items.iter().find(|one| !KINDS.contains(&&*one.kind)) {
                    return Err(self.unknown(&format!("has an item of kind {}", other.kind)));
                }
                if self.items.is_empty() {
                    return Err(self.unknown("names no items"));
                }
                for item in self.items.iter().filter(|item| item.kind == *kind) {
                    let resource = self.arn(TABLE, &item.table);
                    let mut context = self.context(&resource);
                    context.add("dynamodb:EnclosingOperation", self.operation.as_str());
                    if let Some(key) = &item.key {
                        context.add("dynamodb:LeadingKeys", key.as_str());
                    }
                    asked.push(Asked { action: action.to_owned(), resource, context });
                }
            }
            // https://docs.aws.amazon.com/securityhub/latest/userguide/finding-update-batchupdatefindings.html
            On::Hub => {
                let resource = self.arn(HUB, "default");
                let mut context = self.context(&resource);
                for (field, value) in &self.parameters {
                    if !field.starts_with("FindingIdentifiers.") {
                        context.add(&format!("securityhub:ASFFSyntaxPath/{field}"), value.as_str());
                    }
                }
                asked.push(Asked { action: action.to_owned(), resource, context });
            }
            On::Products => {
                let once = |parameter| self.values(parameter).into_iter().collect::<BTreeSet<_>>();
                let (products, accounts) =
                    (once("Findings.ProductArn"), once("Findings.AwsAccountId"));
                if products.is_empty() {
                    return Err(self.unknown("names no Findings.ProductArn"));
                }
                for product in products {
                    let mut context = self.context(product);
                    for account in &accounts {
                        context.add("securityhub:TargetAccount", *account);
                    }
                    let resource = product.to_owned();
                    asked.push(Asked { action: action.to_owned(), resource, context });
                }
            }
        }
        Ok(())
    }

    fn unknown(&self, reason: &str) -> UnknownOperation {
        UnknownOperation {
            service: self.service.clone(),
            operation: self.operation.clone(),
            reason: reason.to_owned(),
        }
    }

    fn arn(&self, template: &str, value: &str) -> String {
        if value.starts_with("arn:") {
            return value.to_owned();
        }
        let partition = match self.region.as_str() {
            region if region.starts_with("cn-") => "aws-cn",
            region if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        };
        // The value last: it may have braces of its own.
        template
            .replace("{partition}", partition)
            .replace("{region}", &self.region)
            .replace("{account}", &self.account)
            .replacen("{}", value, 1)
    }

    /// What every question has.
    fn context(&self, resource: &str) -> Context {
        let mut context = Context::default().with("aws:RequestedRegion", self.region.as_str());
        if let Some(owner) = resource.split(':').nth(4) {
            // Buckets and snapshots do not say whose they are.
            let owner = if owner.is_empty() { self.account.as_str() } else { owner };
            context.add("aws:ResourceAccount", owner);
            if resource.split(':').nth(2) == Some("s3") {
                context.add("s3:ResourceAccount", owner);
            }
        }
        context
    }

    /// The tags at `place` and behind it: `Tag.1.Key`, `Tag.1.Value`.
    fn tagged(&self, mut context: Context, place: &str) -> Context {
        for place in self.places(place) {
            let Some(key) = self.value(&format!("{place}.Key")) else { continue };
            context.add("aws:TagKeys", key);
            if let Some(value) = self.value(&format!("{place}.Value")) {
                context.add(&format!("aws:RequestTag/{key}"), value);
            }
        }
        context
    }

    /// The values of a parameter whatever its numbers: `InstanceId`, `InstanceId.1`.
    fn values(&self, parameter: &str) -> Vec<&str> {
        let is_it = |name: &str| {
            let parts = name.split('.').filter(|part| part.parse::<u32>().is_err());
            parts.eq(parameter.split('.'))
        };
        let found = self.parameters.iter().filter(|(name, _)| is_it(name));
        found.map(|(_, value)| value.as_str()).collect()
    }

    /// The value at exactly this place.
    fn value(&self, place: &str) -> Option<&str> {
        self.parameters.iter().find(|(name, _)| name == place).map(|(_, value)| value.as_str())
    }

    /// `TagSpecification.1`, `TagSpecification.2` …, each once.
    fn places(&self, list: &str) -> Vec<String> {
        let mut places: Vec<String> = Vec::new();
        for (name, _) in &self.parameters {
            let Some(rest) = name.strip_prefix(list).and_then(|rest| rest.strip_prefix('.')) else {
                continue;
            };
            let place = format!("{list}.{}", rest.split('.').next().unwrap_or_default());
            if !places.contains(&place) {
                places.push(place);
            }
        }
        places
    }
}

#[cfg(test)]
mod tests;
