//! Keeps block public access on for snapshots.
//!
//! ## What it fixes
//! A region in which public sharing of snapshots is not blocked (`unblocked`). What a sweep last saw there is set again. Where
//! no sweep saw it blocked, it is set to `block-new-sharing`, which nobody notices who has not asked for a public snapshot:
//! `block-all-sharing` would also hide those that are public now.
//!
//! `block-new-sharing` is compliant, also where it was `block-all-sharing` before: snapshots that become public by that are
//! the business of `ebs-public-snapshot`. AWS Config (`ebs-snapshot-block-public-access`) is stricter, and is not listened to.
//!
//! ## Why it matters
//! Without it, one call makes a whole disk public. Switching it off is the first step of that, by mistake and on purpose.
//!
//! ## What can break
//! Making snapshots public fails from then on; with `block-all-sharing`, public snapshots are also hidden from everyone. An
//! account that publishes snapshots needs an exemption, or the control off. Sharing with accounts by name is not affected.
//! Where a declarative policy of AWS Organizations sets it, AWS refuses the change.
//!
//! ## Undo
//! Switches it off again. Snapshots that were hidden become public again.

use std::collections::BTreeMap;

use aws_sdk_ec2::{Client, types::SnapshotBlockPublicAccessState as Api};
use quell_engine::{
    Background, CallError, CallErrorKind, Clients, Control, Description, Discovered, During,
    Effect, Listen, Meta, Plan, Progress, Safety, Severity, Signal, control::TargetError,
};
use serde::{Deserialize, Serialize};

use crate::{ec2::instance, partition, region::Region};

pub struct SnapshotBlockPublicAccess {
    ec2: Client,
    region: Region,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Setting {
    pub state: State,
    /// As a sweep last saw it, if it was blocked then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<State>,
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_EnableSnapshotBlockPublicAccess.html>
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nothing can be made public, and what is public is hidden.
    BlockAllSharing,
    /// Nothing can be made public.
    BlockNewSharing,
    Unblocked,
}

const READ: &str = "ec2:GetSnapshotBlockPublicAccessState";
const ENABLE: &str = "ec2:EnableSnapshotBlockPublicAccess";
const DISABLE: &str = "ec2:DisableSnapshotBlockPublicAccess";

impl Control for SnapshotBlockPublicAccess {
    const META: Meta = Meta {
        id: "ebs-snapshot-block-public-access",
        title: "EBS snapshots cannot be made public",
        risk: "Nothing stops the snapshots of this region, which hold whole disks, from being made public by one call.",
        severity: Severity::Medium,
        safety: Safety::Safe,
        reversible: true,
        satisfies: &["nist-800-53-r5/AC-3", "nist-800-53-r5/AC-6"],
        function: "image-exposure",
        listens: &[Listen::ApiCall {
            source: "aws.ec2",
            service: "ec2.amazonaws.com",
            calls: &["DisableSnapshotBlockPublicAccess"],
        }],
        discovers: &[READ],
        reads: &[READ],
        writes: &[ENABLE, DISABLE],
        baseline: true,
        visible_within: 0,
        source: file!(),
    };

    type Target = Region;
    type State = Setting;
    type Change = State;

    fn connect(aws: &Clients) -> Self {
        Self { ec2: instance::client(aws), region: Region::new(aws.region()) }
    }

    fn targets(signal: &Signal) -> Result<Vec<Region>, TargetError> {
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        Region::of(signal, Self::META.id)
    }

    async fn discover(&self, _: Option<&str>) -> Result<Discovered<Region>, CallError> {
        Ok(Discovered { targets: vec![self.region.clone()], next: None })
    }

    async fn assess(&self, _: &Region) -> Result<Option<Setting>, CallError> {
        let found = self.ec2.get_snapshot_block_public_access_state().send().await.during(READ)?;
        let state = match found.state {
            Some(Api::BlockAllSharing) => State::BlockAllSharing,
            Some(Api::BlockNewSharing) => State::BlockNewSharing,
            Some(Api::Unblocked) => State::Unblocked,
            _ => {
                let message = "the answer has no state that is known";
                return Err(CallError::new(READ, CallErrorKind::Refused, message));
            }
        };
        Ok(Some(Setting { state, baseline: None }))
    }

    /// A setting has no tags.
    async fn tags(&self, _: &Region) -> Result<BTreeMap<String, String>, CallError> {
        Ok(BTreeMap::new())
    }

    fn inform(setting: &mut Setting, background: &Background<'_, Setting>) {
        setting.baseline = background.baseline.map(|kept| kept.state);
    }

    fn plan(setting: &Setting) -> Plan<State> {
        if setting.state != State::Unblocked {
            return Plan::nothing();
        }
        let blocked = setting.baseline.filter(|kept| *kept != State::Unblocked);
        Plan::one(blocked.unwrap_or(State::BlockNewSharing))
    }

    async fn apply(
        &self,
        _: &Region,
        wanted: &State,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        let enable = |state| self.ec2.enable_snapshot_block_public_access().state(state).send();
        match wanted {
            State::BlockAllSharing => drop(enable(Api::BlockAllSharing).await.during(ENABLE)?),
            State::BlockNewSharing => drop(enable(Api::BlockNewSharing).await.during(ENABLE)?),
            State::Unblocked => {
                self.ec2.disable_snapshot_block_public_access().send().await.during(DISABLE)?;
            }
        }
        Ok(None)
    }

    fn revert(before: &Setting, after: &Setting) -> Plan<State> {
        if Self::same(before, after) { Plan::nothing() } else { Plan::one(before.state) }
    }

    fn describe(setting: &Setting, wanted: &State) -> Description {
        Description {
            action: if *wanted == State::Unblocked { DISABLE } else { ENABLE }.to_owned(),
            effect: Effect::Set,
            minus: vec![setting.state.line()],
            plus: vec![wanted.line()],
        }
    }

    fn console(_: &Region, region: &str) -> String {
        format!("{}#Settings:tab=dataProtectionAndSecurity", partition::console("ec2", region))
    }

    fn arn(region: &Region, account: &str, _: &str) -> String {
        region.arn(account, "snapshot-block-public-access")
    }

    fn same(one: &Setting, other: &Setting) -> bool {
        one.state == other.state
    }
}

impl State {
    fn line(self) -> String {
        let word = match self {
            Self::BlockAllSharing => "block-all-sharing",
            Self::BlockNewSharing => "block-new-sharing",
            Self::Unblocked => "unblocked",
        };
        format!("block public access for snapshots: {word}")
    }
}

#[cfg(test)]
mod tests {
    use quell_engine::policy::Trusted;
    use serde_json::json;

    use super::{
        State::{BlockAllSharing, BlockNewSharing, Unblocked},
        *,
    };
    use crate::region::tests::call;

    fn setting(state: State, baseline: Option<State>) -> Setting {
        let mut setting = Setting { state, baseline: None };
        let kept = baseline.map(|state| Setting { state, baseline: None });
        let background = Background { trusted: &Trusted::NOBODY, baseline: kept.as_ref() };
        SnapshotBlockPublicAccess::inform(&mut setting, &background);
        setting
    }

    #[test]
    fn what_is_unblocked_is_blocked_as_a_sweep_last_saw_it() {
        for (baseline, wanted) in [
            (None, BlockNewSharing),
            (Some(BlockNewSharing), BlockNewSharing),
            (Some(BlockAllSharing), BlockAllSharing),
            (Some(Unblocked), BlockNewSharing),
        ] {
            let before = setting(Unblocked, baseline);
            assert_eq!(SnapshotBlockPublicAccess::plan(&before).changes, [wanted]);
            let after = setting(wanted, baseline);
            assert!(SnapshotBlockPublicAccess::plan(&after).is_empty());
            let undo = SnapshotBlockPublicAccess::revert(&before, &after);
            assert_eq!(undo.changes, [Unblocked]);
        }
    }

    #[test]
    fn a_weaker_block_is_a_block() {
        assert!(
            SnapshotBlockPublicAccess::plan(&setting(BlockNewSharing, Some(BlockAllSharing)))
                .is_empty()
        );
    }

    #[test]
    fn what_only_quell_knows_is_no_difference() {
        let (one, other) = (setting(Unblocked, None), setting(Unblocked, Some(BlockAllSharing)));
        assert!(one != other && SnapshotBlockPublicAccess::same(&one, &other));
        assert!(SnapshotBlockPublicAccess::revert(&one, &other).is_empty());
    }

    #[test]
    fn says_by_which_call_and_what_changes() {
        let told = SnapshotBlockPublicAccess::describe(&setting(Unblocked, None), &BlockNewSharing);
        assert_eq!(told.action, ENABLE);
        assert_eq!(told.minus, ["block public access for snapshots: unblocked"]);
        assert_eq!(told.plus, ["block public access for snapshots: block-new-sharing"]);
        let told = SnapshotBlockPublicAccess::describe(&setting(BlockAllSharing, None), &Unblocked);
        assert_eq!(told.action, DISABLE);
    }

    #[test]
    fn listens_for_the_call_that_switches_it_off_alone() {
        let named =
            |name| SnapshotBlockPublicAccess::targets(&call(name, json!(null))).unwrap().len();
        assert_eq!(named("DisableSnapshotBlockPublicAccess"), 1);
        assert_eq!(named("EnableSnapshotBlockPublicAccess"), 0);
    }
}
