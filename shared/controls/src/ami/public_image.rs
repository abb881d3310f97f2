//! Makes a public image private.
//!
//! ## What it fixes
//! A machine image (AMI) of this account that everyone with an AWS account may launch: the group `all` is among its launch
//! permissions. That entry goes. Accounts, organisations and organisational units that the image is shared with by name
//! keep it.
//!
//! ## Why it matters
//! An image holds the disks of the machine that it was made of: the code, the configuration, keys and passwords that were
//! left there. Public images are listed for everyone, and there are programs that search each new one. A copy cannot be
//! called back: treat what was in an image that was public as known.
//!
//! ## What can break
//! Whoever launches the image without being named. A vendor that publishes images on purpose exempts them, or has the
//! control off in the account that publishes (a scope of the policy): there it would take each new one back within seconds.
//! Instances that run already go on; those that Auto Scaling in other accounts would launch of it fail.
//!
//! The snapshots behind the image have permissions of their own: `ebs-public-snapshot` looks at those.
//!
//! ## Undo
//! Adds the group `all` again. AWS refuses that where block public access for images was switched on since.

use std::collections::BTreeMap;

use quell_engine::{
    CallError, Clients, Control, Description, Discovered, Listen, Meta, Plan, Progress, Safety,
    Severity, Signal, control::TargetError,
};

use super::image::{ImageId, Images, LIST, MODIFY, READ};
use crate::sharing::{Change, Sharing};

pub struct PublicImage(Images);

impl Control for PublicImage {
    const META: Meta = Meta {
        id: "ami-public-image",
        title: "Machine images are not public",
        risk: "Everyone with an AWS account can launch the image and read all that is on its disks.",
        severity: Severity::High,
        safety: Safety::Safe,
        reversible: true,
        satisfies: &["nist-800-53-r5/AC-3", "nist-800-53-r5/AC-6"],
        function: "image-exposure",
        listens: &[Listen::ApiCall {
            source: "aws.ec2",
            service: "ec2.amazonaws.com",
            calls: &["ModifyImageAttribute"],
        }],
        discovers: &[LIST],
        reads: &[READ, LIST],
        writes: &[MODIFY],
        baseline: false,
        visible_within: 30,
        source: file!(),
    };

    type Target = ImageId;
    type State = Sharing;
    type Change = Change;

    fn connect(aws: &Clients) -> Self {
        Self(Images::new(aws))
    }

    fn targets(signal: &Signal) -> Result<Vec<ImageId>, TargetError> {
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        ImageId::of(signal, Self::META.id)
    }

    /// Only those that are public.
    async fn discover(&self, page: Option<&str>) -> Result<Discovered<ImageId>, CallError> {
        self.0.own(page, true).await
    }

    async fn assess(&self, image: &ImageId) -> Result<Option<Sharing>, CallError> {
        self.0.sharing(image).await
    }

    async fn tags(&self, image: &ImageId) -> Result<BTreeMap<String, String>, CallError> {
        self.0.tags(image).await
    }

    fn plan(state: &Sharing) -> Plan<Change> {
        state.without_public()
    }

    async fn apply(
        &self,
        image: &ImageId,
        change: &Change,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        self.0.change(image, change).await.map(|()| None)
    }

    fn revert(before: &Sharing, after: &Sharing) -> Plan<Change> {
        after.public_as(before)
    }

    fn describe(_: &Sharing, change: &Change) -> Description {
        change.describe(MODIFY)
    }

    fn console(image: &ImageId, region: &str) -> String {
        image.console(region)
    }

    fn arn(image: &ImageId, _: &str, region: &str) -> String {
        image.arn(region)
    }

    fn notes(state: &Sharing) -> Vec<String> {
        vec![state.note_of_others()]
    }

    /// Who is named is the business of `ami-shared-image`.
    fn same(one: &Sharing, other: &Sharing) -> bool {
        one.public == other.public
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::region::tests::call;

    #[test]
    fn listens_for_changes_of_permissions_alone() {
        let parameters = json!({"imageId": "ami-0a1b2c3d4e5f60718"});
        let named = |name| PublicImage::targets(&call(name, parameters.clone())).unwrap().len();
        assert_eq!(named("ModifyImageAttribute"), 1);
        assert_eq!(named("RegisterImage"), 0);
    }

    #[test]
    fn only_the_group_of_all_goes() {
        let state = Sharing::new(true, ["210987654321".to_owned()].into(), "123456789012");
        let told = PublicImage::describe(&state, &PublicImage::plan(&state).changes[0]);
        assert_eq!(told.minus, ["shared with everyone who has an AWS account (group all)"]);
        assert!(told.plus.is_empty());
        let private = Sharing { public: false, ..state };
        assert!(PublicImage::plan(&private).is_empty());
    }
}
