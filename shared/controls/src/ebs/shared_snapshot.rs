//! Stops sharing a snapshot with accounts that nobody knows.
//!
//! ## What it fixes
//! A snapshot of this account that is shared with accounts which are neither the own one nor among those that the policy
//! trusts (`[trusted] accounts`). Exactly those entries go; the accounts that are trusted keep theirs, and so does the group
//! `all`, which is the business of `ebs-public-snapshot`. A policy that trusts nobody knows the own account only.
//!
//! ## Why it matters
//! Sharing a snapshot is the quiet way to take a disk away: no data moves through the network, and the thief copies it in an
//! account of their own, where nobody sees it. What was copied meanwhile cannot be called back.
//!
//! ## What can break
//! Accounts that restore the snapshot on purpose and are not in the policy: for disaster recovery, for backups, for tests
//! with real data. Name them in the policy first. Volumes and copies that they made already stay.
//!
//! ## Undo
//! Shares the snapshot with exactly those accounts again.

use std::collections::BTreeMap;

use quell_engine::{
    Background, CallError, Clients, Control, Description, Discovered, Listen, Meta, Plan, Progress,
    Safety, Severity, Signal, control::TargetError,
};

use super::snapshot::{LIST, MODIFY, READ, SnapshotId, Snapshots};
use crate::sharing::{Change, Sharing};

pub struct SharedSnapshot(Snapshots);

impl Control for SharedSnapshot {
    const META: Meta = Meta {
        id: "ebs-shared-snapshot",
        title: "EBS snapshots are shared with known accounts only",
        risk: "An account that the policy does not know can copy the snapshot, which holds a whole disk.",
        severity: Severity::High,
        safety: Safety::NeedsApproval,
        reversible: true,
        satisfies: &["nist-800-53-r5/AC-3", "nist-800-53-r5/AC-6"],
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

    async fn discover(&self, page: Option<&str>) -> Result<Discovered<SnapshotId>, CallError> {
        self.0.own(page, false).await
    }

    async fn assess(&self, snapshot: &SnapshotId) -> Result<Option<Sharing>, CallError> {
        self.0.sharing(snapshot).await
    }

    async fn assess_again(
        &self,
        snapshot: &SnapshotId,
        known: &Sharing,
    ) -> Result<Option<Sharing>, CallError> {
        Ok(self.0.sharing(snapshot).await?.map(|seen| seen.with_known_of(known)))
    }

    async fn tags(&self, snapshot: &SnapshotId) -> Result<BTreeMap<String, String>, CallError> {
        self.0.tags(snapshot).await
    }

    fn inform(state: &mut Sharing, background: &Background<'_, Sharing>) {
        state.inform(background.trusted);
    }

    fn plan(state: &Sharing) -> Plan<Change> {
        state.without_unknown()
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
        after.shared_as(before)
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
        vec![state.note_of_known()]
    }

    /// Whom the policy trusts is no part of the snapshot; the group `all` is the business of `ebs-public-snapshot`.
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
        SharedSnapshot::inform(&mut state, &Background { trusted: &trusted, baseline: None });
        assert!(SharedSnapshot::same(&seen, &state));
        let told = SharedSnapshot::describe(&state, &SharedSnapshot::plan(&state).changes[0]);
        assert_eq!(told.minus, ["shared with account 111122223333"]);
        assert_eq!(
            SharedSnapshot::notes(&state),
            ["Known accounts and organisations, which keep it: 2"]
        );
    }
}
