//! Stops sharing an image with accounts and organisations that nobody knows.
//!
//! ## What it fixes
//! A machine image (AMI) of this account that is shared with accounts which are neither the own one nor among those that
//! the policy trusts (`[trusted] accounts`), or with organisations and organisational units whose organisation it does not
//! trust (`[trusted] organisations`, by the id in the ARN). Exactly those entries go; what is trusted stays, and so does the
//! group `all`, which is the business of `ami-public-image`. A policy that trusts nobody knows the own account only.
//!
//! ## Why it matters
//! Who may launch an image reads all that is on its disks. Sharing one is a quiet way to take it away: it is launched in an
//! account where nobody sees it. What was copied meanwhile cannot be called back.
//!
//! ## What can break
//! Accounts that launch the image on purpose and are not in the policy. Where an Auto Scaling group there uses a golden image
//! of this account, its next launch fails. Name such accounts, or the organisation, in the policy first. Instances that run
//! already go on.
//!
//! The snapshots behind the image have permissions of their own: `ebs-shared-snapshot` looks at those.
//!
//! ## Undo
//! Shares the image with exactly those accounts, organisations and units again.

use std::collections::BTreeMap;

use quell_engine::{
    Background, CallError, Clients, Control, Description, Discovered, Listen, Meta, Plan, Progress,
    Safety, Severity, Signal, control::TargetError,
};

use super::image::{ImageId, Images, LIST, MODIFY, READ};
use crate::sharing::{Change, Sharing};

pub struct SharedImage(Images);

impl Control for SharedImage {
    const META: Meta = Meta {
        id: "ami-shared-image",
        title: "Machine images are shared with known accounts only",
        risk: "An account or organisation that the policy does not know can launch the image and read all that is on its disks.",
        severity: Severity::High,
        safety: Safety::NeedsApproval,
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

    async fn discover(&self, page: Option<&str>) -> Result<Discovered<ImageId>, CallError> {
        self.0.own(page, false).await
    }

    async fn assess(&self, image: &ImageId) -> Result<Option<Sharing>, CallError> {
        self.0.sharing(image).await
    }

    async fn assess_again(
        &self,
        image: &ImageId,
        known: &Sharing,
    ) -> Result<Option<Sharing>, CallError> {
        Ok(self.0.sharing(image).await?.map(|seen| seen.with_known_of(known)))
    }

    async fn tags(&self, image: &ImageId) -> Result<BTreeMap<String, String>, CallError> {
        self.0.tags(image).await
    }

    fn inform(state: &mut Sharing, background: &Background<'_, Sharing>) {
        state.inform(background.trusted);
    }

    fn plan(state: &Sharing) -> Plan<Change> {
        state.without_unknown()
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
        after.shared_as(before)
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
        vec![state.note_of_known()]
    }

    /// Whom the policy trusts is no part of the image; the group `all` is the business of `ami-public-image`.
    fn same(one: &Sharing, other: &Sharing) -> bool {
        one.grantees == other.grantees
    }
}

#[cfg(test)]
mod tests {
    use quell_engine::policy::Trusted;

    use super::*;

    #[test]
    fn whom_the_policy_trusts_stays_and_nobody_else_does() {
        let (own, partner, stranger) = ("123456789012", "210987654321", "111122223333");
        let mut state = Sharing::new(true, [own, partner, stranger].map(str::to_owned).into(), own);
        let trusted = Trusted { accounts: vec![partner.to_owned()], ..Trusted::NOBODY };
        let seen = state.clone();
        SharedImage::inform(&mut state, &Background { trusted: &trusted, baseline: None });
        assert!(SharedImage::same(&seen, &state));
        let told = SharedImage::describe(&state, &SharedImage::plan(&state).changes[0]);
        assert_eq!(told.minus, ["shared with account 111122223333"]);
        assert_eq!(
            SharedImage::notes(&state),
            ["Known accounts and organisations, which keep it: 2"]
        );
    }
}
