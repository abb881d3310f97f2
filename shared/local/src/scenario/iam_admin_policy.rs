//! A user, role or group with AWS's `AdministratorAccess`, an inline policy that is partly an administrator's and one that
//! is wholly so; beside it an administrator who must stay one.

use std::collections::BTreeMap;

use aws_sdk_iam::error::ProvideErrorMetadata;
use serde_json::{Value, json};

use super::{Error, Staged, sample};
use crate::{Cloud, cloud::ACCOUNT};

const SAMPLE: &str = include_str!("../../../../events/iam-admin-policy/violating.json");

/// The user of the sample.
const SAMPLE_USER: &str = "night-shift";

const ADMINISTRATOR_ACCESS: &str = "arn:aws:iam::aws:policy/AdministratorAccess";
const MIXED: &str = r#"{ "Version": "2012-10-17", "Statement": [
  {"Sid": "Logs", "Effect": "Allow", "Action": ["logs:Get*"], "Resource": "*"},
  {"Sid": "More", "Effect": "Allow", "Action": "iam:*", "Resource": "*"} ] }"#;
pub(super) const WHOLE: &str =
    r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#;

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let user = format!("{SAMPLE_USER}-{name}");
    let iam = &cloud.iam;
    another(cloud, name).await?;
    iam.create_user().user_name(&user).send().await?;
    iam.attach_user_policy().user_name(&user).policy_arn(ADMINISTRATOR_ACCESS).send().await?;
    for (policy, text) in [("mixed", MIXED), ("whole", WHOLE)] {
        let put = iam.put_user_policy().user_name(&user).policy_name(policy);
        put.policy_document(text).send().await?;
    }
    Ok(Staged {
        control: "iam-admin-policy",
        event: sample::happening(SAMPLE, &[(SAMPLE_USER, &user)])?,
        resource: format!("user/{user}"),
    })
}

/// The same of a role, with a policy of the customer's own.
pub(super) async fn stage_role(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let (role, iam) = (format!("{SAMPLE_USER}-{name}"), &cloud.iam);
    another(cloud, name).await?;
    let trust = json!({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole",
    }});
    let trust = trust.to_string();
    for role in [&role, &format!("other-{role}")] {
        iam.create_role().role_name(role).assume_role_policy_document(&trust).send().await?;
    }
    let made = iam.create_policy().policy_name(&role).policy_document(WHOLE).send().await?;
    let own = made.policy.and_then(|policy| policy.arn).ok_or("the emulator made no policy")?;
    iam.attach_role_policy().role_name(&role).policy_arn(&own).send().await?;
    let other = format!("other-{role}");
    iam.attach_role_policy().role_name(other).policy_arn(&own).send().await?;
    for (policy, text) in [("mixed", MIXED), ("whole", WHOLE)] {
        let put = iam.put_role_policy().role_name(&role).policy_name(policy);
        put.policy_document(text).send().await?;
    }
    of_kind("Role", "roleName", &role)
}

/// The same of a group.
pub(super) async fn stage_group(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let (group, iam) = (format!("{SAMPLE_USER}-{name}"), &cloud.iam);
    another(cloud, name).await?;
    let made = iam.create_policy().policy_name(&group).policy_document(WHOLE).send().await?;
    let own = made.policy.and_then(|policy| policy.arn).ok_or("the emulator made no policy")?;
    let other = format!("other-{group}");
    for group in [&group, &other] {
        iam.create_group().group_name(group).send().await?;
        iam.attach_group_policy().group_name(group).policy_arn(&own).send().await?;
    }
    let member = format!("administrator-{name}");
    iam.add_user_to_group().group_name(&other).user_name(member).send().await?;
    for (policy, text) in [("mixed", MIXED), ("whole", WHOLE)] {
        let put = iam.put_group_policy().group_name(&group).policy_name(policy);
        put.policy_document(text).send().await?;
    }
    of_kind("Group", "groupName", &group)
}

fn of_kind(kind: &str, parameter: &str, name: &str) -> Result<Staged, Error> {
    let call = format!("Attach{kind}Policy");
    let replaced = [
        ("AttachUserPolicy", call.as_str()),
        ("userName\": \"night", &format!("{parameter}\": \"night")),
    ];
    let event = sample::happening(SAMPLE, &replaced)?;
    let event = event.to_string().replace(&format!("\"{SAMPLE_USER}\""), &format!("\"{name}\""));
    Ok(Staged {
        control: "iam-admin-policy",
        event: serde_json::from_str(&event)?,
        resource: format!("{}/{name}", kind.to_ascii_lowercase()),
    })
}

/// Makes administrators of the members of a group, by AWS's policy and by an inline one.
pub(super) async fn make_administrators(cloud: &Cloud, group: &str) -> Result<(), Error> {
    let attach = cloud.iam.attach_group_policy().group_name(group);
    attach.policy_arn(ADMINISTRATOR_ACCESS).send().await?;
    let put = cloud.iam.put_group_policy().group_name(group).policy_name("mixed");
    put.policy_document(MIXED).send().await?;
    Ok(())
}

/// Somebody who stays an administrator: the name of the user.
pub(super) async fn another(cloud: &Cloud, name: &str) -> Result<String, Error> {
    let user = format!("administrator-{name}");
    match cloud.iam.create_user().user_name(&user).send().await {
        // There was one before.
        Err(error) if error.code() == Some("EntityAlreadyExists") => return Ok(user),
        made => made?,
    };
    let attach = cloud.iam.attach_user_policy().user_name(&user);
    attach.policy_arn(ADMINISTRATOR_ACCESS).send().await?;
    Ok(user)
}

pub(super) async fn is_violating(cloud: &Cloud, resource: &str) -> Result<bool, Error> {
    let found = snapshot(cloud, resource).await?;
    let inline = found["inline"].as_object().ok_or("no inline policies")?;
    let is_attached = found["attached"].as_array().is_some_and(|all| !all.is_empty());
    Ok(is_attached
        || inline.values().any(|text| {
            text.as_str().is_some_and(|text| {
                text.contains("iam:*")
                    || text.contains("\"Action\":\"*\"")
                    || text.contains("iam%3A%2A")
            })
        }))
}

pub(super) async fn snapshot(cloud: &Cloud, resource: &str) -> Result<Value, Error> {
    let (kind, name) = resource.split_once('/').ok_or("the resource has no kind")?;
    let iam = &cloud.iam;
    let mut inline = BTreeMap::new();
    let attached = match kind {
        "user" => {
            let names = iam.list_user_policies().user_name(name).send().await?.policy_names;
            for policy in names {
                let found = iam.get_user_policy().user_name(name).policy_name(&policy);
                inline.insert(policy, found.send().await?.policy_document);
            }
            iam.list_attached_user_policies().user_name(name).send().await?.attached_policies
        }
        "role" => {
            let names = iam.list_role_policies().role_name(name).send().await?.policy_names;
            for policy in names {
                let found = iam.get_role_policy().role_name(name).policy_name(&policy);
                inline.insert(policy, found.send().await?.policy_document);
            }
            iam.list_attached_role_policies().role_name(name).send().await?.attached_policies
        }
        _ => {
            let names = iam.list_group_policies().group_name(name).send().await?.policy_names;
            for policy in names {
                let found = iam.get_group_policy().group_name(name).policy_name(&policy);
                inline.insert(policy, found.send().await?.policy_document);
            }
            iam.list_attached_group_policies().group_name(name).send().await?.attached_policies
        }
    };
    let attached: Vec<_> =
        attached.unwrap_or_default().into_iter().filter_map(|policy| policy.policy_arn).collect();
    Ok(json!({"attached": attached, "inline": inline}))
}
