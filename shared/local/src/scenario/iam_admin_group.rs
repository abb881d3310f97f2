//! A user in a group of administrators, by AWS's policy and by an inline one; beside it one who stays in it.

use serde_json::{Value, json};

use super::{Error, Staged, iam_admin_policy, sample};
use crate::Cloud;

const SAMPLE: &str = include_str!("../../../../events/iam-admin-group/violating.json");

/// The user and the group of the sample.
const SAMPLE_USER: &str = "new-colleague";
const SAMPLE_GROUP: &str = "administrators";

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let (user, group) = (format!("{SAMPLE_USER}-{name}"), format!("{SAMPLE_GROUP}-{name}"));
    let iam = &cloud.iam;
    let stays = iam_admin_policy::another(cloud, name).await?;
    iam.create_group().group_name(&group).send().await?;
    iam_admin_policy::make_administrators(cloud, &group).await?;
    iam.create_user().user_name(&user).send().await?;
    for member in [&user, &stays] {
        iam.add_user_to_group().group_name(&group).user_name(member).send().await?;
    }
    Ok(Staged {
        control: "iam-admin-group",
        event: sample::happening(SAMPLE, &[(SAMPLE_USER, &user), (SAMPLE_GROUP, &group)])?,
        resource: format!("group/{group}/{user}"),
    })
}

pub(super) async fn is_violating(cloud: &Cloud, resource: &str) -> Result<bool, Error> {
    let (_, user) = resource.rsplit_once('/').ok_or("the resource has no user")?;
    let found = snapshot(cloud, resource).await?;
    Ok(found["members"].as_array().is_some_and(|all| all.contains(&json!(user))))
}

pub(super) async fn snapshot(cloud: &Cloud, resource: &str) -> Result<Value, Error> {
    let (group, _) = resource.rsplit_once('/').ok_or("the resource has no user")?;
    let name = group.strip_prefix("group/").ok_or("the resource is no group")?;
    let found = cloud.iam.get_group().group_name(name).send().await?;
    let mut members: Vec<_> = found.users.into_iter().map(|user| user.user_name).collect();
    members.sort();
    Ok(json!({
        "members": members,
        "policies": iam_admin_policy::snapshot(cloud, group).await?,
    }))
}
