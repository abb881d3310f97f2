//! Makes a public snapshot private.
//!
//! ## What it fixes
//! A snapshot of this account that everyone with an AWS account may make volumes of: the group `all` is among its
//! create-volume permissions. That entry goes. Accounts that the snapshot is shared with by name keep it.
//!
//! Where block public access for snapshots blocks all sharing, AWS keeps the entry but lets nobody in. The entry goes there
//! too: it would count again as soon as somebody weakens that setting.
//!
//! The control looks at a snapshot when its permissions are changed. AWS Config (`ebs-snapshot-public-restorable-check`) and
//! Security Hub (EC2.1) name the account only, not the snapshot: what they find, the sweep finds by name.
//!
//! ## Why it matters
//! A snapshot is the whole disk, with every file, key and password on it. Public ones are listed for everyone, and there
//! are programs that copy each new one within minutes. A copy cannot be called back: treat what was on a disk that was
//! public as known.
//!
//! ## What can break
//! Whoever uses the snapshot without being named: readers of a public data set, buyers of a product on the AWS Marketplace.
//! An account that publishes snapshots on purpose needs an exemption for them, or the control off. Volumes and copies that
//! others made already are theirs, and stay.
//!
//! ## Undo
//! Adds the group `all` again. AWS refuses that where block public access for snapshots was switched on since.

use std::collections::BTreeMap;

use quell_engine::{
    CallError, Clients, Control, Description, Discovered, Listen, Meta, Plan, Progress, Safety,
    Severity, Signal, control::TargetError,
};

use super::snapshot::{LIST, MODIFY, READ, SnapshotId, Snapshots};
use crate::sharing::{Change, Sharing};

pub struct PublicSnapshot(Snapshots);

impl Control for PublicSnapshot {
    const META: Meta = Meta {
        id: "ebs-public-snapshot",
        title: "EBS snapshots are not public",
        risk: "Everyone with an AWS account can copy the snapshot, which holds a whole disk.",
        severity: Severity::High,
        safety: Safety::Safe,
        reversible: true,
        // https://docs.aws.amazon.com/securityhub/latest/userguide/ec2-controls.html#ec2-1
        satisfies: &[
            "securityhub/EC2.1",
            "pci-dss-3.2.1/1.2.1",
            "pci-dss-3.2.1/1.3.1",
            "nist-800-53-r5/AC-3",
            "nist-800-53-r5/AC-6",
        ],
        function: "image-exposure",
        listens: &[Listen::ApiCall {
            source: "aws.ec2",
            service: "ec2.amazonaws.com",
            calls: &["ModifySnapshotAttribute"],
        }],
        discovers: &[LIST],
        reads: &[READ, LIST],
        writes: &[MODIFY],
        baseline: false,
        visible_within: 30,
        source: file!(),
    };

    type Target = SnapshotId;
    type State = Sharing;
    type Change = Change;

    fn connect(aws: &Clients) -> Self {
        Self(Snapshots::new(aws))
    }

    fn targets(signal: &Signal) -> Result<Vec<SnapshotId>, TargetError> {
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        SnapshotId::of(signal, Self::META.id)
    }

    /// Only those that are public: there may be a hundred thousand others.
    async fn discover(&self, page: Option<&str>) -> Result<Discovered<SnapshotId>, CallError> {
        self.0.own(page, true).await
    }

    async fn assess(&self, snapshot: &SnapshotId) -> Result<Option<Sharing>, CallError> {
        self.0.sharing(snapshot).await
    }

    async fn tags(&self, snapshot: &SnapshotId) -> Result<BTreeMap<String, String>, CallError> {
        self.0.tags(snapshot).await
    }

    fn plan(state: &Sharing) -> Plan<Change> {
        state.without_public()
    }

    async fn apply(
        &self,
        snapshot: &SnapshotId,
        change: &Change,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        self.0.change(snapshot, change).await.map(|()| None)
    }

    fn revert(before: &Sharing, after: &Sharing) -> Plan<Change> {
        after.public_as(before)
    }

    fn describe(_: &Sharing, change: &Change) -> Description {
        change.describe(MODIFY)
    }

    fn console(snapshot: &SnapshotId, region: &str) -> String {
        snapshot.console(region)
    }

    fn arn(snapshot: &SnapshotId, _: &str, region: &str) -> String {
        snapshot.arn(region)
    }

    fn notes(state: &Sharing) -> Vec<String> {
        vec![state.note_of_others()]
    }

    /// Who is named is the business of `ebs-shared-snapshot`.
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
        let parameters = json!({"snapshotId": "snap-0a1b2c3d4e5f60718"});
        let named = |name| PublicSnapshot::targets(&call(name, parameters.clone())).unwrap().len();
        assert_eq!(named("ModifySnapshotAttribute"), 1);
        assert_eq!(named("CreateSnapshot"), 0);
    }

    #[test]
    fn only_the_group_of_all_goes() {
        let state = Sharing::new(true, ["210987654321".to_owned()].into(), "123456789012");
        let told = PublicSnapshot::describe(&state, &PublicSnapshot::plan(&state).changes[0]);
        assert_eq!(told.minus, ["shared with everyone who has an AWS account (group all)"]);
        assert!(told.plus.is_empty());
        let private = Sharing { public: false, ..state };
        assert!(PublicSnapshot::plan(&private).is_empty());
    }
}
