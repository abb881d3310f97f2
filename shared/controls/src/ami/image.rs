//! What the controls for images share: the name of an image, and how its sharing is read and changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use aws_sdk_ec2::{
    Client,
    types::{
        Filter, ImageAttributeName, LaunchPermission, LaunchPermissionModifications, OperationType,
        PermissionGroup,
    },
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

/// The id of an image: `ami-` and 8 or 17 hexadecimal digits.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct ImageId(String);

impl ImageId {
    /// The image of a ModifyImageAttribute call, or that a person names.
    pub(super) fn of(signal: &Signal, control: &'static str) -> Result<Vec<Self>, TargetError> {
        let (field, text) = match &signal.trigger {
            Trigger::ApiCall { parameters, resources, .. } => {
                match shape::text(parameters, ["imageId", "ImageId"]) {
                    Some(id) => ("requestParameters.imageId", id),
                    None => {
                        let arn = resources.iter().find(|arn| arn.contains(":image/"));
                        ("resources[].ARN", arn.map(String::as_str).unwrap_or_default())
                    }
                }
            }
            Trigger::Manual { resource, .. } => ("detail.resource", resource.as_str()),
            _ => return Ok(Vec::new()),
        };
        let id = shape::id(text, "ami-", ":image").ok_or_else(|| TargetError {
            control,
            field,
            reason: "not `ami-` and 8 or 17 hexadecimal digits".to_owned(),
        })?;
        Ok(vec![Self(id.to_owned())])
    }

    pub(super) fn console(&self, region: &str) -> String {
        format!("{}#ImageDetails:imageId={self}", partition::console("ec2", region))
    }

    /// Images have no account in their ARN.
    pub(super) fn arn(&self, region: &str) -> String {
        format!("arn:{}:ec2:{region}::image/{self}", partition::of(region))
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The images of one account and region.
#[derive(Clone, Debug)]
pub(super) struct Images {
    ec2: Client,
    account: String,
}

pub(super) const LIST: &str = "ec2:DescribeImages";
pub(super) const READ: &str = "ec2:DescribeImageAttribute";
pub(super) const MODIFY: &str = "ec2:ModifyImageAttribute";

/// The last is that of one that was deregistered.
const NO_IMAGE: &[&str] =
    &["InvalidAMIID.NotFound", "InvalidAMIID.Malformed", "InvalidAMIID.Unavailable"];

impl Images {
    pub(super) fn new(aws: &Clients) -> Self {
        Self { ec2: instance::client(aws), account: aws.account().to_owned() }
    }

    /// One page of the account's own images: only those that everyone may launch, or all.
    /// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeImages.html>
    pub(super) async fn own(
        &self,
        page: Option<&str>,
        only_public: bool,
    ) -> Result<Discovered<ImageId>, CallError> {
        let public = Filter::builder().name("is-public").values("true").build();
        let found = self
            .ec2
            .describe_images()
            .owners("self")
            .set_filters(only_public.then(|| vec![public]))
            .max_results(200)
            .set_next_token(page.map(str::to_owned))
            .send()
            .await
            .during(LIST)?;
        let images = found.images.unwrap_or_default().into_iter();
        let targets = images.filter_map(|image| image.image_id.map(ImageId));
        Ok(Discovered { targets: targets.collect(), next: found.next_token })
    }

    pub(super) async fn sharing(&self, image: &ImageId) -> Result<Option<Sharing>, CallError> {
        let reply = self
            .ec2
            .describe_image_attribute()
            .image_id(&image.0)
            .attribute(ImageAttributeName::LaunchPermission)
            .send()
            .await
            .during(READ)
            .or_missing(NO_IMAGE)?;
        let Some(reply) = reply else { return Ok(None) };
        let entries = reply.launch_permissions.unwrap_or_default();
        shared_with(entries, &self.account).map(Some)
    }

    pub(super) async fn tags(
        &self,
        image: &ImageId,
    ) -> Result<BTreeMap<String, String>, CallError> {
        let found = self.ec2.describe_images().image_ids(&image.0).send().await;
        let images = found.during(LIST)?.images.unwrap_or_default().into_iter();
        let tags = images.flat_map(|image| image.tags.unwrap_or_default());
        Ok(tags.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default()))).collect())
    }

    pub(super) async fn change(&self, image: &ImageId, change: &Change) -> Result<(), CallError> {
        let entries = Some(change.grantees().iter().map(|grantee| entry(grantee)).collect());
        let modifications = LaunchPermissionModifications::builder();
        let modifications = match change.operation() {
            OperationType::Add => modifications.set_add(entries),
            _ => modifications.set_remove(entries),
        };
        self.ec2
            .modify_image_attribute()
            .image_id(&image.0)
            .launch_permission(modifications.build())
            .send()
            .await
            .map(drop)
            .during(MODIFY)
    }
}

/// Whatever could not be given back must not be taken away: an entry of an unknown kind is an error.
fn shared_with(entries: Vec<LaunchPermission>, account: &str) -> Result<Sharing, CallError> {
    let (mut public, mut grantees) = (false, BTreeSet::new());
    for entry in entries {
        let named =
            [entry.user_id, entry.organization_arn, entry.organizational_unit_arn].into_iter();
        match (entry.group, named.flatten().next()) {
            (Some(PermissionGroup::All), None) => public = true,
            (None, Some(grantee)) => drop(grantees.insert(grantee)),
            _ => {
                let message = "AWS answered with a permission of a kind that is not known";
                return Err(CallError::new(READ, CallErrorKind::Refused, message));
            }
        }
    }
    Ok(Sharing::new(public, grantees, account))
}

fn entry(grantee: &str) -> LaunchPermission {
    let entry = LaunchPermission::builder();
    let resource = grantee.strip_prefix("arn:").and_then(|arn| arn.splitn(5, ':').nth(4));
    match resource {
        _ if grantee == ALL => entry.group(PermissionGroup::All),
        Some(unit) if unit.starts_with("ou/") => entry.organizational_unit_arn(grantee),
        Some(_) => entry.organization_arn(grantee),
        None => entry.user_id(grantee),
    }
    .build()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::region::tests::{call, signal};

    const ID: &str = "ami-0a1b2c3d4e5f60718";

    fn named(signal: &Signal) -> Result<Vec<String>, TargetError> {
        Ok(ImageId::of(signal, "test")?.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_call_names_its_image_or_cloudtrail_does() {
        let parameters = json!({"imageId": ID, "attributeType": "launchPermission",
            "launchPermission": {"add": {"items": [{"group": "all"}]}}});
        assert_eq!(named(&call("ModifyImageAttribute", parameters)).unwrap(), [ID]);

        let mut omitted = call("ModifyImageAttribute", json!({"omitted": "true"}));
        assert_eq!(named(&omitted).unwrap_err().field, "resources[].ARN");
        if let Trigger::ApiCall { resources, .. } = &mut omitted.trigger {
            resources.push(format!("arn:aws:ec2:eu-west-1::image/{ID}"));
        }
        assert_eq!(named(&omitted).unwrap(), [ID]);
    }

    #[test]
    fn a_person_names_it_by_id_or_arn_and_nothing_else() {
        let manual = |resource: &str| {
            signal(Trigger::Manual { control: "test".into(), resource: resource.into() })
        };
        let id = ImageId(ID.to_owned());
        for name in [ID.to_owned(), id.arn("eu-west-1"), format!(" {ID}\n")] {
            assert_eq!(named(&manual(&name)).unwrap(), [ID]);
        }
        for name in ["", "ami-1111", "aki-0a1b2c3d", "ami-0a1b2c3d,ami-0a1b2c3e"] {
            assert!(named(&manual(name)).is_err(), "{name:?}");
        }
    }

    #[test]
    fn every_kind_of_entry_goes_out_as_it_came_in() {
        let entries = vec![
            LaunchPermission::builder().group(PermissionGroup::All).build(),
            LaunchPermission::builder().user_id("210987654321").build(),
            LaunchPermission::builder()
                .organization_arn("arn:aws:organizations::210987654321:organization/o-a1b2c3d4e5")
                .build(),
            LaunchPermission::builder()
                .organizational_unit_arn(
                    "arn:aws:organizations::210987654321:ou/o-a1b2c3d4e5/ou-ab12-cdefghij",
                )
                .build(),
        ];
        let seen = shared_with(entries.clone(), "123456789012").unwrap();
        assert!(seen.public && seen.known.is_empty());
        for one in entries {
            assert!(
                one == entry(ALL) || seen.grantees.iter().any(|grantee| entry(grantee) == one),
                "{one:?}"
            );
        }
    }

    #[test]
    fn an_entry_of_an_unknown_kind_is_an_error() {
        let entry = LaunchPermission::builder;
        for odd in [entry().build(), entry().group(PermissionGroup::from("some")).build()] {
            assert!(shared_with(vec![odd], "123456789012").is_err());
        }
    }

    #[test]
    fn points_at_the_image() {
        let id = ImageId(ID.to_owned());
        assert_eq!(
            id.console("eu-west-1"),
            format!(
                "https://eu-west-1.console.aws.amazon.com/ec2/home?region=eu-west-1\
                 #ImageDetails:imageId={ID}"
            )
        );
        assert_eq!(id.arn("cn-north-1"), format!("arn:aws-cn:ec2:cn-north-1::image/{ID}"));
    }
}
