//! Ways to more rights that are known, and that no role may have.

use crate::{
    lints::acting,
    model::{Template, glob_matches, list, texts},
};

/// Known methods of privilege escalation in IAM: who may do all of one line may rise.
/// <https://rhinosecuritylabs.com/aws/aws-privilege-escalation-methods-mitigation/>,
/// <https://github.com/BishopFox/iam-vulnerable>, <https://hackingthe.cloud/aws/exploitation/iam_privilege_escalation/>
pub(crate) const METHODS: &[&[&str]] = &[
    // Change what a policy, a principal or a trust says.
    &["iam:CreatePolicyVersion"],
    &["iam:SetDefaultPolicyVersion"],
    &["iam:AttachUserPolicy"],
    &["iam:AttachGroupPolicy"],
    &["iam:AttachRolePolicy"],
    &["iam:PutUserPolicy"],
    &["iam:PutGroupPolicy"],
    &["iam:PutRolePolicy"],
    &["iam:AddUserToGroup"],
    &["iam:UpdateAssumeRolePolicy"],
    &["iam:DeleteRolePermissionsBoundary"],
    &["iam:DeleteUserPermissionsBoundary"],
    &["iam:PutRolePermissionsBoundary"],
    &["iam:PutUserPermissionsBoundary"],
    &["iam:CreateSAMLProvider"],
    &["iam:UpdateSAMLProvider"],
    &["iam:CreateOpenIDConnectProvider"],
    &["iam:UpdateOpenIDConnectProviderThumbprint"],
    // Get somebody's credentials.
    &["iam:CreateAccessKey"],
    &["iam:CreateLoginProfile"],
    &["iam:UpdateLoginProfile"],
    &["iam:CreateServiceSpecificCredential"],
    &["iam:ResetServiceSpecificCredential"],
    &["sts:AssumeRole"],
    // Run code with the role of something that is there.
    &["lambda:UpdateFunctionCode"],
    &["lambda:UpdateFunctionConfiguration"],
    &["glue:UpdateDevEndpoint"],
    &["glue:UpdateJob"],
    &["codebuild:UpdateProject"],
    &["codestar:AssociateTeamMember"],
    &["codestar:CreateProjectFromTemplate"],
    &["sagemaker:CreatePresignedNotebookInstanceUrl"],
    &["ssm:SendCommand"],
    &["ssm:StartSession"],
    &["ec2-instance-connect:SendSSHPublicKey"],
    &["ecs:ExecuteCommand"],
    &["ec2:ModifyInstanceAttribute", "ec2:StartInstances", "ec2:StopInstances"],
    &["cloudformation:UpdateStack"],
    &["cloudformation:CreateChangeSet", "cloudformation:ExecuteChangeSet"],
    &["states:UpdateStateMachine"],
    // Run code with a role that is passed.
    &["iam:PassRole", "ec2:RunInstances"],
    &["iam:PassRole", "ec2:AssociateIamInstanceProfile"],
    &["iam:PassRole", "ec2:ReplaceIamInstanceProfileAssociation"],
    &["iam:PassRole", "ec2:RequestSpotInstances"],
    &["iam:AddRoleToInstanceProfile"],
    &["iam:PassRole", "lambda:CreateFunction", "lambda:InvokeFunction"],
    &["iam:PassRole", "lambda:CreateFunction", "lambda:CreateEventSourceMapping"],
    &["iam:PassRole", "lambda:CreateFunction", "lambda:AddPermission"],
    &["iam:PassRole", "glue:CreateDevEndpoint"],
    &["iam:PassRole", "glue:CreateJob"],
    &["iam:PassRole", "cloudformation:CreateStack"],
    &["iam:PassRole", "codebuild:CreateProject"],
    &["iam:PassRole", "codestar:CreateProject"],
    &["iam:PassRole", "datapipeline:CreatePipeline", "datapipeline:PutPipelineDefinition"],
    &["iam:PassRole", "ecs:RegisterTaskDefinition", "ecs:RunTask"],
    &["iam:PassRole", "sagemaker:CreateNotebookInstance"],
    &["iam:PassRole", "sagemaker:CreateProcessingJob"],
    &["iam:PassRole", "sagemaker:CreateTrainingJob"],
    &["iam:PassRole", "scheduler:CreateSchedule"],
    &["iam:PassRole", "states:CreateStateMachine"],
    &["iam:PassRole", "events:PutTargets"],
    // Decide what is deployed next: code and templates lie in a bucket.
    &["s3:PutObject"],
    &["s3:PutBucketPolicy"],
    &["s3:PutBucketAcl"],
    // Let oneself into what others keep.
    &["kms:CreateGrant"],
    &["kms:PutKeyPolicy"],
    &["secretsmanager:PutResourcePolicy"],
    &["lambda:AddPermission"],
    &["secretsmanager:GetSecretValue"],
    &["ssm:GetParameter"],
];

/// Ways that a role must have for its work. `docs/threat-model.md` says what is left because of each.
pub(crate) const RESIDUAL: &[(&str, &str)] = &[
    // The policy and the ACL of any bucket: also of one that holds what is deployed.
    ("S3ExposureRole", "s3:PutBucketPolicy"),
    ("S3ExposureRole", "s3:PutBucketAcl"),
    // What was taken is given back by undo, of whatever policy; IAM cannot bind what an inline policy says. Under the
    // ceiling `act` alone, and never on what is Quell's.
    ("IamPrivilegeRole", "iam:AddUserToGroup"),
    ("IamPrivilegeRole", "iam:AttachGroupPolicy"),
    ("IamPrivilegeRole", "iam:AttachRolePolicy"),
    ("IamPrivilegeRole", "iam:AttachUserPolicy"),
    ("IamPrivilegeRole", "iam:PutGroupPolicy"),
    ("IamPrivilegeRole", "iam:PutRolePolicy"),
    ("IamPrivilegeRole", "iam:PutUserPolicy"),
    ("IamPrivilegeRole", "iam:DeleteRolePermissionsBoundary"),
    ("IamPrivilegeRole", "iam:DeleteUserPermissionsBoundary"),
    ("IamPrivilegeRole", "iam:PutRolePermissionsBoundary"),
    ("IamPrivilegeRole", "iam:PutUserPermissionsBoundary"),
    ("IamPrivilegeRole", "iam:SetDefaultPolicyVersion"),
    ("IamPrivilegeRole", "iam:UpdateAssumeRolePolicy"),
    // Of one secret, which is for nothing but this.
    ("SlackRole", "secretsmanager:GetSecretValue"),
    ("SlackActionsRole", "secretsmanager:GetSecretValue"),
];

/// No role has a known way to more rights, under any ceiling.
pub(crate) fn nobody_can_rise(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    let template = template.deployed(&acting(template));
    for (role, _) in template.all("AWS::IAM::Role") {
        let granted: Vec<&str> = template
            .statements(role)
            .into_iter()
            .filter(|statement| statement["Effect"] == "Allow")
            .filter(|statement| !attaches_denials_alone(&template, statement))
            .flat_map(|statement| texts(&statement["Action"]))
            .collect();
        let may = |action: &str| granted.iter().any(|grant| glob_matches(grant, action));
        for method in METHODS.iter().filter(|method| method.iter().all(|action| may(action))) {
            let way = method.join(" + ");
            if !RESIDUAL.contains(&(role, way.as_str())) {
                complaints.push(format!("{role}: may rise by {way}"));
            }
        }
    }
    for (role, way) in RESIDUAL {
        let may = template
            .statements(role)
            .into_iter()
            .any(|statement| texts(&statement["Action"]).contains(way));
        if !may {
            complaints.push(format!("{role}: is excused {way}, which it does not have"));
        }
    }
    complaints
}

/// Whether what it lets attach are policies of the template of which each only denies: with that nobody rises.
fn attaches_denials_alone(template: &Template, statement: &serde_json::Value) -> bool {
    let policies = list(&statement["Condition"]["ArnEquals"]["iam:PolicyARN"]);
    let denies = |policy: &&serde_json::Value| {
        let found = template.referred("AWS::IAM::ManagedPolicy", policy);
        found.is_some_and(|(_, policy)| {
            let statements = list(&policy["Properties"]["PolicyDocument"]["Statement"]);
            statements.iter().all(|statement| statement["Effect"] == "Deny")
        })
    };
    let attaches =
        |action: &&str| action.starts_with("iam:Attach") || action.starts_with("iam:Detach");
    !policies.is_empty()
        && policies.iter().all(denies)
        && texts(&statement["Action"]).iter().all(attaches)
}

/// Changes of IAM that only take away.
const REDUCING: &[&str] = &[
    "iam:DeleteAccessKey",
    "iam:DeleteGroupPolicy",
    "iam:DeleteLoginProfile",
    "iam:DeleteRolePolicy",
    "iam:DeleteUserPolicy",
    "iam:DetachGroupPolicy",
    "iam:DetachRolePolicy",
    "iam:DetachUserPolicy",
    "iam:RemoveUserFromGroup",
    "iam:UpdateAccessKey",
];

/// Changes that reduce if what is attached denies: IAM can bind them to it by `iam:PolicyARN`.
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html>
const ATTACHING: &[&str] = &[
    "iam:AttachGroupPolicy",
    "iam:AttachRolePolicy",
    "iam:AttachUserPolicy",
    "iam:PutRolePermissionsBoundary",
    "iam:PutUserPermissionsBoundary",
];

/// The services that roles may be passed to: each does nothing with one but deliver what it records.
const PASSED_TO: &[&str] =
    &["cloudtrail.amazonaws.com", "config.amazonaws.com", "vpc-flow-logs.amazonaws.com"];

/// Roles that may make changes whose content IAM cannot bind (`PutRolePolicy`, `UpdateAssumeRolePolicy`,
/// `SetDefaultPolicyVersion`, …), each in a function of its own.
const UNBOUND_CHANGES: &[(&str, &str)] = &[
    // Gives back what was taken: which policy, version or trust that is, only the record says.
    ("IamPrivilegeRole", "iam:AddUserToGroup"),
    ("IamPrivilegeRole", "iam:DeleteRolePermissionsBoundary"),
    ("IamPrivilegeRole", "iam:DeleteUserPermissionsBoundary"),
    ("IamPrivilegeRole", "iam:PutRolePermissionsBoundary"),
    ("IamPrivilegeRole", "iam:PutUserPermissionsBoundary"),
    ("IamPrivilegeRole", "iam:SetDefaultPolicyVersion"),
    ("IamPrivilegeRole", "iam:UpdateAssumeRolePolicy"),
    // How strong passwords are gives nobody a right.
    ("IamPrivilegeRole", "iam:DeleteAccountPasswordPolicy"),
    ("IamPrivilegeRole", "iam:UpdateAccountPasswordPolicy"),
    ("IamPrivilegeRole", "iam:AttachGroupPolicy"),
    ("IamPrivilegeRole", "iam:AttachRolePolicy"),
    ("IamPrivilegeRole", "iam:AttachUserPolicy"),
    ("IamPrivilegeRole", "iam:PutGroupPolicy"),
    ("IamPrivilegeRole", "iam:PutRolePolicy"),
    ("IamPrivilegeRole", "iam:PutUserPolicy"),
];

/// Who changes IAM takes away, from named resources, and attaches only what is named.
pub(crate) fn iam_changes_only_reduce(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    let template = template.deployed(&acting(template));
    for (role, _) in template.all("AWS::IAM::Role") {
        for statement in template.statements(role) {
            let is_anything = |one: &&serde_json::Value| **one == "*";
            let everywhere = list(&statement["Resource"]).iter().any(is_anything);
            let bound = ["StringEquals", "ArnEquals"].iter().any(|operator| {
                let arns = list(&statement["Condition"][operator]["iam:PolicyARN"]);
                // A reference names one policy.
                let is_one = |arn: &&serde_json::Value| {
                    arn.is_object() || arn.as_str().is_some_and(|arn| !arn.contains('*'))
                };
                !arns.is_empty() && arns.iter().all(is_one)
            });
            for action in texts(&statement["Action"]) {
                let Some(name) = action.strip_prefix("iam:") else { continue };
                let is_read = ["Get", "List", "Generate", "Simulate"]
                    .iter()
                    .any(|verb| name.starts_with(verb));
                if is_read || UNBOUND_CHANGES.contains(&(role, action)) {
                    continue;
                }
                let is_attaching = ATTACHING.contains(&action);
                if action == "iam:PassRole" {
                    let condition = &statement["Condition"]["StringEquals"];
                    let services = texts(&condition["iam:PassedToService"]);
                    let known = services.iter().all(|service| PASSED_TO.contains(service));
                    if services.is_empty() || !known || everywhere {
                        complaints
                            .push(format!("{role}: may {action} to whom it is not meant for"));
                    }
                    continue;
                }
                if !is_attaching && !REDUCING.contains(&action) {
                    complaints.push(format!("{role}: may {action}, which does not only take away"));
                } else if everywhere {
                    complaints.push(format!("{role}: may {action} on anything"));
                } else if is_attaching && !bound {
                    complaints.push(format!("{role}: may {action} with any policy"));
                }
            }
        }
    }
    complaints
}
