//! What the controls for snapshots share: the name of a snapshot, and how its sharing is read and changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use aws_sdk_ec2::{
    Client,
    types::{CreateVolumePermission, PermissionGroup, SnapshotAttributeName},
};
use quell_engine::{
    CallError, CallErrorKind, Clients, Discovered, During as _, Signal, Trigger,
    aws::OrMissing as _, control::TargetError,
};
use serde::{Deserialize, Serialize};

use crate::{
    ec2::instance,
    partition, shape,
    sharing::{ALL, Change, Sharing},
};

/// The id of a snapshot: `snap-` and 8 or 17 hexadecimal digits.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct SnapshotId(String);

impl SnapshotId {
    /// The snapshot of a ModifySnapshotAttribute call, or that a person names.
    pub(super) fn of(signal: &Signal, control: &'static str) -> Result<Vec<Self>, TargetError> {
        let (field, text) = match &signal.trigger {
            Trigger::ApiCall { parameters, resources, .. } => {
                match shape::text(parameters, ["snapshotId", "SnapshotId"]) {
                    Some(id) => ("requestParameters.snapshotId", id),
                    None => {
                        let arn = resources.iter().find(|arn| arn.contains(":snapshot/"));
                        ("resources[].ARN", arn.map(String::as_str).unwrap_or_default())
                    }
                }
            }
            Trigger::Manual { resource, .. } => ("detail.resource", resource.as_str()),
            _ => return Ok(Vec::new()),
        };
        let id = shape::id(text, "snap-", ":snapshot").ok_or_else(|| TargetError {
            control,
            field,
            reason: "not `snap-` and 8 or 17 hexadecimal digits".to_owned(),
        })?;
        Ok(vec![Self(id.to_owned())])
    }

    pub(super) fn console(&self, region: &str) -> String {
        format!("{}#SnapshotDetails:snapshotId={self}", partition::console("ec2", region))
    }

    /// Snapshots have no account in their ARN.
    pub(super) fn arn(&self, region: &str) -> String {
        format!("arn:{}:ec2:{region}::snapshot/{self}", partition::of(region))
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The snapshots of one account and region.
#[derive(Clone, Debug)]
pub(super) struct Snapshots {
    ec2: Client,
    account: String,
}

pub(super) const LIST: &str = "ec2:DescribeSnapshots";
pub(super) const READ: &str = "ec2:DescribeSnapshotAttribute";
pub(super) const MODIFY: &str = "ec2:ModifySnapshotAttribute";

const NO_SNAPSHOT: &[&str] = &["InvalidSnapshot.NotFound", "InvalidSnapshotID.Malformed"];

impl Snapshots {
    pub(super) fn new(aws: &Clients) -> Self {
        Self { ec2: instance::client(aws), account: aws.account().to_owned() }
    }

    /// One page of the account's own snapshots: only those that everyone may restore, or all.
    /// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSnapshots.html>
    pub(super) async fn own(
        &self,
        page: Option<&str>,
        only_public: bool,
    ) -> Result<Discovered<SnapshotId>, CallError> {
        let found = self
            .ec2
            .describe_snapshots()
            .owner_ids("self")
            .set_restorable_by_user_ids(only_public.then(|| vec![ALL.to_owned()]))
            .max_results(200)
            .set_next_token(page.map(str::to_owned))
            .send()
            .await
            .during(LIST)?;
        let snapshots = found.snapshots.unwrap_or_default().into_iter();
        let targets = snapshots.filter_map(|snapshot| snapshot.snapshot_id.map(SnapshotId));
        Ok(Discovered { targets: targets.collect(), next: found.next_token })
    }

    pub(super) async fn sharing(
        &self,
        snapshot: &SnapshotId,
    ) -> Result<Option<Sharing>, CallError> {
        let reply = self
            .ec2
            .describe_snapshot_attribute()
            .snapshot_id(&snapshot.0)
            .attribute(SnapshotAttributeName::CreateVolumePermission)
            .send()
            .await
            .during(READ)
            .or_missing(NO_SNAPSHOT)?;
        let Some(reply) = reply else { return Ok(None) };
        let entries = reply.create_volume_permissions.unwrap_or_default();
        shared_with(entries, &self.account).map(Some)
    }

    pub(super) async fn tags(
        &self,
        snapshot: &SnapshotId,
    ) -> Result<BTreeMap<String, String>, CallError> {
        let found = self.ec2.describe_snapshots().snapshot_ids(&snapshot.0).send().await;
        let snapshots = found.during(LIST)?.snapshots.unwrap_or_default().into_iter();
        let tags = snapshots.flat_map(|snapshot| snapshot.tags.unwrap_or_default());
        Ok(tags.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default()))).collect())
    }

    pub(super) async fn change(
        &self,
        snapshot: &SnapshotId,
        change: &Change,
    ) -> Result<(), CallError> {
        let (groups, accounts): (Vec<_>, Vec<_>) =
            change.grantees().iter().cloned().partition(|grantee| grantee == ALL);
        let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
        self.ec2
            .modify_snapshot_attribute()
            .snapshot_id(&snapshot.0)
            .attribute(SnapshotAttributeName::CreateVolumePermission)
            .operation_type(change.operation())
            .set_group_names(some(groups))
            .set_user_ids(some(accounts))
            .send()
            .await
            .map(drop)
            .during(MODIFY)
    }
}

/// Whatever could not be given back must not be taken away: an entry of an unknown kind is an error.
fn shared_with(entries: Vec<CreateVolumePermission>, account: &str) -> Result<Sharing, CallError> {
    let (mut public, mut grantees) = (false, BTreeSet::new());
    for entry in entries {
        match (entry.group, entry.user_id) {
            (Some(PermissionGroup::All), None) => public = true,
            (None, Some(id)) => drop(grantees.insert(id)),
            _ => {
                let message = "AWS answered with a permission of a kind that is not known";
                return Err(CallError::new(READ, CallErrorKind::Refused, message));
            }
        }
    }
    Ok(Sharing::new(public, grantees, account))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::region::tests::{call, signal};

    const ID: &str = "snap-0a1b2c3d4e5f60718";

    fn named(signal: &Signal) -> Result<Vec<String>, TargetError> {
        Ok(SnapshotId::of(signal, "test")?.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_call_names_its_snapshot_or_cloudtrail_does() {
        let parameters = json!({"snapshotId": ID, "attributeType": "CREATE_VOLUME_PERMISSION",
            "createVolumePermission": {"add": {"items": [{"group": "all"}]}}});
        assert_eq!(named(&call("ModifySnapshotAttribute", parameters)).unwrap(), [ID]);

        let mut omitted = call("ModifySnapshotAttribute", json!({"omitted": "true"}));
        assert_eq!(named(&omitted).unwrap_err().field, "resources[].ARN");
        if let Trigger::ApiCall { resources, .. } = &mut omitted.trigger {
            resources.push(format!("arn:aws:ec2:eu-west-1::snapshot/{ID}"));
        }
        assert_eq!(named(&omitted).unwrap(), [ID]);
    }

    #[test]
    fn a_person_names_it_by_id_or_arn_and_nothing_else() {
        let manual = |resource: &str| {
            signal(Trigger::Manual { control: "test".into(), resource: resource.into() })
        };
        let id = SnapshotId(ID.to_owned());
        for name in [ID.to_owned(), id.arn("eu-west-1"), format!(" {ID}\n")] {
            assert_eq!(named(&manual(&name)).unwrap(), [ID]);
        }
        for name in ["", "snap-1111", "vol-0a1b2c3d", "snap-0a1b2c3d,snap-0a1b2c3e"] {
            assert!(named(&manual(name)).is_err(), "{name:?}");
        }
    }

    #[test]
    fn reads_who_may_make_volumes_of_it() {
        let entry = CreateVolumePermission::builder;
        let entries = vec![
            entry().group(PermissionGroup::All).build(),
            entry().user_id("210987654321").build(),
            entry().user_id("123456789012").build(),
        ];
        let seen = shared_with(entries, "123456789012").unwrap();
        assert!(seen.public);
        assert_eq!(seen.grantees.iter().collect::<Vec<_>>(), ["123456789012", "210987654321"]);
        assert_eq!(seen.known.iter().collect::<Vec<_>>(), ["123456789012"]);
    }

    #[test]
    fn an_entry_of_an_unknown_kind_is_an_error() {
        let entry = CreateVolumePermission::builder;
        for odd in [entry().build(), entry().group(PermissionGroup::from("some")).build()] {
            assert!(shared_with(vec![odd], "123456789012").is_err());
        }
    }

    #[test]
    fn points_at_the_snapshot() {
        let id = SnapshotId(ID.to_owned());
        assert_eq!(
            id.console("eu-west-1"),
            format!(
                "https://eu-west-1.console.aws.amazon.com/ec2/home?region=eu-west-1\
                 #SnapshotDetails:snapshotId={ID}"
            )
        );
        assert_eq!(id.arn("cn-north-1"), format!("arn:aws-cn:ec2:cn-north-1::snapshot/{ID}"));
    }
}
