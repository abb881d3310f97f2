//! What the roles of the functions may do, action by action, and why.

use std::{collections::BTreeMap, io};

use quell_local::{
    Deployment, Template,
    cloud::{ACCOUNT, REGION},
    iam::Role,
    stack::OPTIONS,
};
use serde_json::Value;

/// An action that a statement allows.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Permission {
    /// `Sid` of the statement.
    pub sid: String,
    pub action: String,
    pub resources: Vec<String>,
    /// Such as `dynamodb:LeadingKeys: REC#*`.
    pub conditions: Vec<String>,
}

/// Something that is taken away from a role.
#[derive(Clone, Debug)]
pub struct Removed {
    pub function: String,
    /// `Sid` of the statement.
    pub sid: String,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    Action(String),
    /// By its place in the statement.
    Resource(usize),
    /// The value that a condition compares a key with.
    Value {
        key: String,
        value: String,
    },
}

/// What Lambda itself does with a function's role, with the page that says so. No code of Quell's calls it, so no test
/// can miss it.
pub const LAMBDAS_OWN: [(&str, &str, &str); 8] = [
    (
        "logs:CreateLogStream",
        "Lambda keeps the function's log",
        "https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html",
    ),
    (
        "logs:PutLogEvents",
        "Lambda keeps the function's log",
        "https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html",
    ),
    (
        "sqs:DeleteMessage",
        "Lambda takes out of the queue what was handled",
        "https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html",
    ),
    (
        "sqs:GetQueueAttributes",
        "Lambda looks how many messages wait in the queue",
        "https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html",
    ),
    (
        "sqs:ReceiveMessage",
        "Lambda reads the queue",
        "https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html",
    ),
    (
        "sqs:SendMessage",
        "Lambda keeps an event that no attempt could handle",
        "https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html",
    ),
    (
        "xray:PutTelemetryRecords",
        "Lambda traces the invocation",
        "https://docs.aws.amazon.com/lambda/latest/dg/services-xray.html",
    ),
    (
        "xray:PutTraceSegments",
        "Lambda traces the invocation",
        "https://docs.aws.amazon.com/lambda/latest/dg/services-xray.html",
    ),
];

/// What makes nothing that is a resource of IAM's: settings of the account or of a region, and deliveries that need their
/// own resource's permission too.
pub const WRITES_ON_EVERYTHING: &[&str] = &[
    "config:PutDeliveryChannel",
    "ec2:DisableEbsEncryptionByDefault",
    "ec2:DisableImageBlockPublicAccess",
    "ec2:DisableSnapshotBlockPublicAccess",
    "ec2:EnableEbsEncryptionByDefault",
    "ec2:EnableImageBlockPublicAccess",
    "ec2:EnableSnapshotBlockPublicAccess",
    "guardduty:CreateDetector",
    "iam:DeleteAccountPasswordPolicy",
    "iam:UpdateAccountPasswordPolicy",
    "logs:CreateLogDelivery",
    "s3:PutAccountPublicAccessBlock",
];

/// What AWS allows on everything or not at all: reads, and [`WRITES_ON_EVERYTHING`].
/// [`quell_local::iam::Facts::page`] has the page for each.
pub const ON_EVERYTHING: &[&str] = &[
    "cloudtrail:ListTrails",
    "cloudwatch:GetMetricStatistics",
    "config:DescribeDeliveryChannels",
    "config:PutDeliveryChannel",
    "ec2:DescribeFlowLogs",
    "ec2:DescribeImages",
    "ec2:DescribeInstances",
    "ec2:DescribeNetworkAcls",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroupRules",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSnapshots",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
    "ec2:DisableEbsEncryptionByDefault",
    "ec2:DisableImageBlockPublicAccess",
    "ec2:DisableSnapshotBlockPublicAccess",
    "ec2:EnableEbsEncryptionByDefault",
    "ec2:EnableImageBlockPublicAccess",
    "ec2:EnableSnapshotBlockPublicAccess",
    "ec2:GetEbsEncryptionByDefault",
    "ec2:GetImageBlockPublicAccessState",
    "ec2:GetSnapshotBlockPublicAccessState",
    "events:ListRules",
    "guardduty:CreateDetector",
    "guardduty:GetAdministratorAccount",
    "guardduty:ListDetectors",
    "iam:DeleteAccountPasswordPolicy",
    "iam:GetAccountPasswordPolicy",
    "iam:GetAccountSummary",
    "iam:ListRoles",
    "iam:ListUsers",
    "iam:UpdateAccountPasswordPolicy",
    "logs:CreateLogDelivery",
    "s3:GetAccountPublicAccessBlock",
    "s3:ListAllMyBuckets",
    "s3:PutAccountPublicAccessBlock",
];

/// Why, by action.
const WHY: &[(&str, &str)] = &[
    ("cloudwatch:GetMetricStatistics", "says in the message how often IMDSv1 was used"),
    (
        "dynamodb:BatchGetItem",
        "reads the policy, exemptions, the lock and the record in one round trip",
    ),
    ("dynamodb:ConditionCheckItem", "makes nothing while everything is halted"),
    ("dynamodb:DeleteItem", "takes back orders, exemptions and a halt"),
    ("dynamodb:GetItem", "reads a record, an order or an exemption"),
    ("dynamodb:PutItem", "writes what is about to be done before it is done"),
    ("dynamodb:Query", "finds what is due, what is parked, exemptions, and what a bulletin counts"),
    (
        "dynamodb:UpdateItem",
        "takes locks, counts budgets, says where a record stands, which message in Slack shows it, and how far Security Hub was told of a finding",
    ),
    (
        "ec2:AuthorizeSecurityGroupEgress",
        "makes the group that allows everything, so that connections are no longer tracked, or puts a rule back (undo)",
    ),
    (
        "ec2:AuthorizeSecurityGroupIngress",
        "puts a rule back (undo), or makes the group that allows everything",
    ),
    ("ec2:CreateSecurityGroup", "makes the groups of a quarantine"),
    ("ec2:CreateSnapshots", "keeps the volumes as evidence"),
    (
        "ec2:CreateTags",
        "labels what belongs to a record, and rules that are put back with their tags",
    ),
    ("ec2:DeleteSecurityGroup", "deletes the groups that a quarantine made"),
    ("ec2:DeleteTags", "takes the label off again (undo)"),
    ("ec2:DescribeInstanceAttribute", "reads whether termination protection is on"),
    ("ec2:DescribeInstances", "reads the instance"),
    ("ec2:DescribeNetworkInterfaces", "reads the interfaces with their groups"),
    ("ec2:DescribeSecurityGroupRules", "reads the rules of the group"),
    ("ec2:DescribeSecurityGroups", "reads the group"),
    (
        "ec2:DescribeSnapshots",
        "finds the account's snapshots, and those that were made before an answer was lost",
    ),
    (
        "ec2:ModifyInstanceAttribute",
        "switches termination protection, and keeps volumes when the instance ends",
    ),
    ("ec2:ModifyInstanceMetadataOptions", "requires IMDSv2, or no longer (undo)"),
    (
        "ec2:ModifyNetworkInterfaceAttribute",
        "isolates the interfaces, or gives their groups back (undo)",
    ),
    ("ec2:DescribeFlowLogs", "reads the flow logs of the VPC"),
    ("ec2:DescribeVpcs", "reads whether the VPC is still there"),
    ("ec2:CreateFlowLogs", "makes a flow log again"),
    (
        "iam:PassRole",
        "gives a flow log or a trail the role back with which it delivered to a log group",
    ),
    ("iam:GetAccessKeyLastUsed", "finds the user of an exposed key, and when a key was last used"),
    ("iam:ListAccessKeys", "sees which keys of a user are active"),
    ("iam:ListAttachedUserPolicies", "sees whether AWS put its quarantine on a user"),
    ("iam:GetAccountSummary", "sees whether the root user has keys and a second factor"),
    ("iam:ListUsers", "finds the users whose keys a sweep looks at"),
    ("iam:ListUserTags", "reads the tags that the policy file asks for"),
    ("iam:UpdateAccessKey", "deactivates a key, and activates it again (undo)"),
    (
        "iam:ListAttachedUserPolicies",
        "sees whether AWS put its quarantine on a user, and which managed policies it has",
    ),
    ("iam:ListUserTags", "reads the tags that the policy file asks for"),
    ("iam:UpdateAccessKey", "deactivates an exposed key, and activates it again (undo)"),
    ("iam:AddUserToGroup", "puts a user back into a group of administrators (undo)"),
    ("iam:RemoveUserFromGroup", "takes a user out of a group of administrators"),
    ("iam:ListGroupsForUser", "sees whether a user is in a group"),
    ("iam:ListPolicyVersions", "finds the versions of a policy, and which of them counts"),
    (
        "iam:SetDefaultPolicyVersion",
        "makes an earlier version of a policy count, and the later one again (undo)",
    ),
    ("iam:ListPolicyTags", "reads the tags that the policy file asks for"),
    (
        "iam:UpdateAssumeRolePolicy",
        "takes strangers out of a trust policy, and puts it back (undo)",
    ),
    ("iam:GetSAMLProvider", "sees whether an identity provider is there"),
    ("iam:GetOpenIDConnectProvider", "sees for whom an identity provider vouches"),
    ("iam:GetLoginProfile", "sees whether a user has a password"),
    ("iam:ListMFADevices", "sees whether a user has a second factor"),
    ("iam:GetAccountPasswordPolicy", "reads the password policy"),
    (
        "iam:UpdateAccountPasswordPolicy",
        "raises what the password policy asks for, and lowers it again (undo)",
    ),
    (
        "iam:DeleteAccountPasswordPolicy",
        "takes the password policy away where there was none (undo)",
    ),
    ("iam:GetUser", "sees whether a user has a permissions boundary"),
    ("iam:ListRoles", "finds the roles whose boundaries a sweep looks at"),
    ("iam:PutRolePermissionsBoundary", "gives a role its permissions boundary back"),
    ("iam:DeleteRolePermissionsBoundary", "takes a role's permissions boundary away again (undo)"),
    ("iam:PutUserPermissionsBoundary", "gives a user its permissions boundary back"),
    ("iam:DeleteUserPermissionsBoundary", "takes a user's permissions boundary away again (undo)"),
    ("iam:AttachGroupPolicy", "gives a group an administrator's policy back (undo)"),
    ("iam:AttachRolePolicy", "gives a role an administrator's policy back (undo)"),
    ("iam:AttachUserPolicy", "gives a user an administrator's policy back (undo)"),
    ("iam:DeleteGroupPolicy", "deletes an inline policy of a group of which nothing is left"),
    ("iam:DeleteRolePolicy", "deletes an inline policy of a role of which nothing is left"),
    ("iam:DeleteUserPolicy", "deletes an inline policy of a user of which nothing is left"),
    ("iam:DetachGroupPolicy", "takes an administrator's policy from a group"),
    ("iam:DetachRolePolicy", "takes an administrator's policy from a role"),
    ("iam:DetachUserPolicy", "takes an administrator's policy from a user"),
    ("iam:GetGroup", "sees whether another group of administrators has members"),
    ("iam:GetGroupPolicy", "reads the inline policies of a group"),
    ("iam:GetPolicy", "finds the version of a managed policy that counts"),
    ("iam:GetPolicyVersion", "reads what a managed policy allows"),
    ("iam:GetRole", "sees whether anybody but a service can take another role of administrators"),
    ("iam:GetRolePolicy", "reads the inline policies of a role"),
    ("iam:GetUserPolicy", "reads the inline policies of a user"),
    ("iam:ListAttachedGroupPolicies", "sees which managed policies a group has"),
    ("iam:ListAttachedRolePolicies", "sees which managed policies a role has"),
    ("iam:ListEntitiesForPolicy", "sees who else is an administrator, so that the last one stays"),
    ("iam:ListGroupPolicies", "finds the inline policies of a group"),
    ("iam:ListRolePolicies", "finds the inline policies of a role"),
    ("iam:ListRoleTags", "reads the tags that the policy file asks for"),
    ("iam:ListUserPolicies", "finds the inline policies of a user"),
    (
        "iam:PutGroupPolicy",
        "takes an administrator's statements out of an inline policy of a group, and puts them back (undo)",
    ),
    (
        "iam:PutRolePolicy",
        "takes an administrator's statements out of an inline policy of a role, and puts them back (undo)",
    ),
    (
        "iam:PutUserPolicy",
        "takes an administrator's statements out of an inline policy of a user, and puts them back (undo)",
    ),
    ("logs:CreateLogDelivery", "has a flow log deliver to a bucket again"),
    ("ec2:DescribeNetworkAcls", "reads the entries of the network ACL"),
    (
        "ec2:CreateNetworkAclEntry",
        "denies SSH and RDP before an entry that stays, or makes one again (undo)",
    ),
    (
        "ec2:DeleteNetworkAclEntry",
        "deletes an entry that opens SSH or RDP, or those that were added (undo)",
    ),
    ("ec2:DescribeSubnets", "reads whether the subnet gives public addresses"),
    ("ec2:ModifySubnetAttribute", "has a subnet give no public addresses, or again (undo)"),
    ("ec2:RevokeSecurityGroupEgress", "takes the rule out that AWS puts into every new group"),
    ("ec2:RevokeSecurityGroupIngress", "closes what is open to the world"),
    (
        "lambda:InvokeFunction",
        "has another function do its part: look at a record, name a resource, take an order, speak in Slack",
    ),
    ("lambda:InvokeFunctionUrl", "hands what was pressed in Slack to the operator"),
    (
        "s3:DeleteBucketPolicy",
        "deletes a policy of which nothing is left, or that was not there (undo)",
    ),
    ("s3:GetAccountPublicAccessBlock", "reads whether the account blocks public access"),
    ("s3:GetBucketAcl", "reads the ACL"),
    ("s3:GetBucketOwnershipControls", "reads whether ACLs have an effect"),
    ("s3:GetBucketPolicy", "reads the policy"),
    ("s3:GetBucketPublicAccessBlock", "reads whether the bucket blocks public access"),
    ("s3:GetBucketTagging", "reads the tags that the policy file asks for"),
    ("s3:ListAllMyBuckets", "reads when the bucket was made, by which an exemption knows it"),
    ("s3:PutBucketAcl", "takes public grants out, or puts them back (undo)"),
    ("s3:PutBucketPolicy", "takes public statements out, or puts them back (undo)"),
    ("s3:PutBucketPublicAccessBlock", "switches Block Public Access on, or as it was (undo)"),
    ("s3:GetBucketVersioning", "reads whether versioning is suspended"),
    ("s3:PutBucketVersioning", "enables versioning again, or suspends it (undo)"),
    ("s3:GetEncryptionConfiguration", "reads how objects are encrypted by default"),
    ("s3:PutEncryptionConfiguration", "sets the default encryption back, or as it was (undo)"),
    ("s3:GetLifecycleConfiguration", "reads the lifecycle rules"),
    (
        "s3:PutLifecycleConfiguration",
        "takes destructive lifecycle rules out of force, or puts them back (undo)",
    ),
    (
        "s3:PutAccountPublicAccessBlock",
        "switches the account's Block Public Access on, or as it was (undo)",
    ),
    ("s3:GetObjectAcl", "reads the ACL of an object"),
    ("s3:GetObjectVersionAcl", "reads the ACL of an object's version"),
    ("s3:ListBucket", "tells an object that is gone from one that it may not read"),
    ("s3:PutObjectAcl", "takes public grants out of an ACL of an object, or puts them back (undo)"),
    (
        "s3:PutObjectVersionAcl",
        "takes public grants out of an ACL of an object's version, or puts them back (undo)",
    ),
    ("s3:GetReplicationConfiguration", "reads where the bucket is copied to"),
    (
        "securityhub:BatchImportFindings",
        "puts what Quell saw into Security Hub (only if `ImportFindings` is yes)",
    ),
    (
        "securityhub:BatchUpdateFindings",
        "says beside a finding what came of it (only if `SecurityHub` is yes)",
    ),
    ("secretsmanager:GetSecretValue", "reads the secret that Slack gave"),
    ("sns:Publish", "tells people"),
    ("cloudtrail:GetTrail", "reads the settings of the trail"),
    ("cloudtrail:CreateTrail", "makes a trail again"),
    ("cloudtrail:AddTags", "gives a trail that is made again its tags"),
    ("cloudtrail:GetEventSelectors", "reads which events the trail records"),
    ("cloudtrail:PutEventSelectors", "has a trail record what it did, or what was set (undo)"),
    ("cloudtrail:UpdateTrail", "puts the settings of a trail back, or as they were (undo)"),
    ("cloudtrail:GetTrailStatus", "reads whether the trail records"),
    ("cloudtrail:ListTrails", "finds the trails that there are, for the sweep"),
    ("cloudtrail:ListTags", "reads the tags that the policy file asks for"),
    ("cloudtrail:StartLogging", "starts a trail again"),
    ("config:DescribeConfigurationRecorders", "reads what AWS Config records"),
    ("config:DescribeConfigurationRecorderStatus", "reads whether AWS Config records"),
    ("config:DescribeDeliveryChannels", "reads where AWS Config delivers to"),
    ("config:PutConfigurationRecorder", "makes a recorder of AWS Config again"),
    ("config:PutDeliveryChannel", "makes a delivery channel of AWS Config again"),
    ("config:StartConfigurationRecorder", "starts AWS Config again"),
    ("guardduty:ListDetectors", "finds GuardDuty's detector"),
    ("guardduty:GetDetector", "reads the settings of GuardDuty's detector"),
    ("guardduty:GetAdministratorAccount", "reads which account decides about GuardDuty"),
    ("guardduty:UpdateDetector", "enables GuardDuty again"),
    ("guardduty:CreateDetector", "makes GuardDuty's detector again"),
    ("guardduty:TagResource", "gives a detector that is made again its tags"),
    ("events:DescribeRule", "reads whether the rule is enabled"),
    ("events:ListRules", "finds Quell's own rules, for the sweep"),
    ("events:ListTagsForResource", "reads the tags that the policy file asks for"),
    ("events:EnableRule", "enables a rule of Quell's again"),
    ("ec2:DescribeImageAttribute", "reads with whom the image is shared"),
    (
        "ec2:DescribeImages",
        "finds the account's images, and reads the tags that the policy file asks for",
    ),
    ("ec2:DescribeSnapshotAttribute", "reads with whom the snapshot is shared"),
    ("ec2:DisableEbsEncryptionByDefault", "switches encryption by default off again (undo)"),
    ("ec2:DisableImageBlockPublicAccess", "lets images be made public again (undo)"),
    ("ec2:DisableSnapshotBlockPublicAccess", "lets snapshots be made public again (undo)"),
    ("ec2:EnableEbsEncryptionByDefault", "switches encryption by default on"),
    ("ec2:EnableImageBlockPublicAccess", "keeps images from being made public"),
    ("ec2:EnableSnapshotBlockPublicAccess", "keeps snapshots from being made public"),
    ("ec2:GetEbsEncryptionByDefault", "reads whether new volumes are encrypted"),
    ("ec2:GetImageBlockPublicAccessState", "reads whether images can be made public"),
    ("ec2:GetSnapshotBlockPublicAccessState", "reads whether snapshots can be made public"),
    ("ec2:ModifyImageAttribute", "stops sharing an image, or shares it again (undo)"),
    ("ec2:ModifySnapshotAttribute", "stops sharing a snapshot, or shares it again (undo)"),
];

/// Why a function may do it. None: nobody said.
pub fn why(action: &str) -> Option<&'static str> {
    let lambdas = LAMBDAS_OWN.iter().map(|(action, why, _)| (*action, *why));
    WHY.iter().copied().chain(lambdas).find(|(of, _)| *of == action).map(|(_, why)| why)
}

/// The project's stack with every function at this ceiling, with all that is optional, and one topic for routes.
pub fn deployment(template: &Template, ceiling: &str) -> Deployment {
    Deployment {
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
        stack: "quell".to_owned(),
        parameters: template
            .ceilings()
            .into_iter()
            .map(|name| (name, ceiling.to_owned()))
            .chain(OPTIONS.map(|(name, value)| (name.to_owned(), value.to_owned())))
            .collect(),
        names: BTreeMap::new(),
    }
}

/// What the role's statements allow, in the order of the template.
pub fn granted(role: &Role) -> Vec<Permission> {
    let statements = role.documents().iter().flat_map(|document| list(&document["Statement"]));
    let allowing = statements.filter(|statement| statement["Effect"] == "Allow");
    allowing
        .flat_map(|statement| {
            list(&statement["Action"]).into_iter().map(|action| Permission {
                sid: text(&statement["Sid"]),
                action: text(action),
                resources: list(&statement["Resource"]).into_iter().map(text).collect(),
                conditions: conditions(&statement["Condition"]),
            })
        })
        .collect()
}

/// Whether it is a resource of Quell's own stack.
pub fn is_own(arn: &str, stack: &str) -> bool {
    let name = arn.splitn(6, ':').nth(5).unwrap_or_default();
    let kinds = ["table/", "function:", "log-group:/aws/lambda/", "rule/"];
    let name = kinds.iter().find_map(|kind| name.strip_prefix(kind)).unwrap_or(name);
    name.starts_with(&format!("{stack}-"))
}

/// By `Sid` and action, place of a resource, or value of a condition: the case that fails when it is taken away. What the
/// tests found out when they were last run with `UPDATE=1`.
pub fn needed(function: &str) -> io::Result<BTreeMap<String, String>> {
    let text = crate::read(&needed_path(function))?;
    serde_json::from_str(&text).map_err(io::Error::other)
}

/// Where that is.
pub fn needed_path(function: &str) -> String {
    format!("tests/tests/least_privilege/needed/{function}.json")
}

impl Removed {
    /// The role without it.
    pub fn from(&self, role: &Role) -> Role {
        let mut documents = role.documents().to_vec();
        for document in &mut documents {
            let Some(statements) = document["Statement"].as_array_mut() else { continue };
            for statement in statements.iter_mut().filter(|one| text(&one["Sid"]) == self.sid) {
                match &self.what {
                    What::Action(action) => {
                        let left = list(&statement["Action"]).into_iter().cloned();
                        statement["Action"] = left.filter(|one| text(one) != *action).collect();
                    }
                    What::Resource(place) => {
                        let left = list(&statement["Resource"]).into_iter().cloned().enumerate();
                        statement["Resource"] =
                            left.filter(|(at, _)| at != place).map(|(_, one)| one).collect();
                    }
                    What::Value { key, value } => {
                        let operators = statement["Condition"].as_object_mut();
                        for keys in operators.into_iter().flat_map(|block| block.values_mut()) {
                            if list(&keys[key.as_str()]).len() > 1 {
                                let left = list(&keys[key.as_str()]).into_iter().cloned();
                                keys[key.as_str()] =
                                    left.filter(|one| text(one) != *value).collect();
                            }
                        }
                    }
                }
            }
            statements.retain(|statement| !list(&statement["Action"]).is_empty());
        }
        role.with(documents).expect("less is still a policy")
    }
}

impl std::fmt::Display for Removed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.sid, self.what)
    }
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Action(action) => f.write_str(action),
            Self::Resource(place) => write!(f, "resource {place}"),
            Self::Value { key, value } => write!(f, "{key}: {value}"),
        }
    }
}

fn conditions(block: &Value) -> Vec<String> {
    let operators = block.as_object().into_iter().flatten().filter(|(name, _)| *name != "Null");
    operators
        .flat_map(|(_, keys)| keys.as_object().into_iter().flatten())
        .map(|(key, values)| {
            let values: Vec<_> = list(values).into_iter().map(text).collect();
            format!("{key}: {}", values.join(", "))
        })
        .collect()
}

/// A value that may stand alone or in a list.
fn list(value: &Value) -> Vec<&Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(values) => values.iter().collect(),
        one => vec![one],
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
