//! Keeps block public access on for images.
//!
//! ## What it fixes
//! A region in which public sharing of machine images (AMIs) is not blocked (`unblocked`). It is set to
//! `block-new-sharing`, the only mode that there is: no image can be made public. Images that are public stay so, and are
//! the business of `ami-public-image`.
//!
//! AWS takes up to ten minutes to apply a change, and shows the old setting until then. For that time the answer to Quell's
//! own call counts as what is set; the next sweep looks whether it came about. After a call that switches it off, AWS may
//! still answer for as long that it is blocked: Quell then takes it for compliant, and it is the next sweep that finds it.
//!
//! ## Why it matters
//! Without it, one call makes all that is on the disks of an image public. Switching it off is the first step of that, by
//! mistake and on purpose.
//!
//! ## What can break
//! Making images public fails from then on. An account that publishes images needs an exemption, or the control off. Sharing
//! with accounts and organisations by name is not affected. Where a declarative policy of AWS Organizations sets it, AWS
//! refuses the change.
//!
//! ## Undo
//! Switches it off again, which takes up to ten minutes too. Within ten minutes of the fix it may be refused: while AWS
//! still shows the old setting, the region does not look as the fix left it. Try again later.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use aws_sdk_ec2::{Client, types::ImageBlockPublicAccessEnabledState};
use quell_engine::{
    CallError, CallErrorKind, Clients, Control, Description, Discovered, During, Effect, Listen,
    Meta, Plan, Progress, Safety, Severity, Signal, control::TargetError,
};
use serde::{Deserialize, Serialize};

use crate::{ec2::instance, partition, region::Region};

pub struct BlockPublicAccess {
    ec2: Client,
    region: Region,
    /// What AWS answered to the last call that was made here. Each evaluation connects anew, and takes seconds.
    accepted: Mutex<Option<Sharing>>,
}

/// Whether images can be made public: as it is, and as it is to be.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetImageBlockPublicAccessState.html>
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sharing {
    BlockNewSharing,
    Unblocked,
}

const READ: &str = "ec2:GetImageBlockPublicAccessState";
const ENABLE: &str = "ec2:EnableImageBlockPublicAccess";
const DISABLE: &str = "ec2:DisableImageBlockPublicAccess";

impl Control for BlockPublicAccess {
    const META: Meta = Meta {
        id: "ami-block-public-access",
        title: "Machine images cannot be made public",
        risk: "Nothing stops the machine images of this region, with all that is on their disks, from being made public by \
               one call.",
        severity: Severity::Medium,
        safety: Safety::Safe,
        reversible: true,
        satisfies: &["nist-800-53-r5/AC-3", "nist-800-53-r5/AC-6"],
        function: "image-exposure",
        listens: &[Listen::ApiCall {
            source: "aws.ec2",
            service: "ec2.amazonaws.com",
            calls: &["DisableImageBlockPublicAccess"],
        }],
        discovers: &[READ],
        reads: &[READ],
        writes: &[ENABLE, DISABLE],
        baseline: false,
        visible_within: 0,
        source: file!(),
    };

    type Target = Region;
    type State = Sharing;
    type Change = Sharing;

    fn connect(aws: &Clients) -> Self {
        Self {
            ec2: instance::client(aws),
            region: Region::new(aws.region()),
            accepted: Mutex::default(),
        }
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

    async fn assess(&self, _: &Region) -> Result<Option<Sharing>, CallError> {
        self.read().await.map(Some)
    }

    /// What AWS has accepted is what it will show.
    async fn assess_again(
        &self,
        _: &Region,
        known: &Sharing,
    ) -> Result<Option<Sharing>, CallError> {
        let seen = self.read().await?;
        let accepted = *self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Some(seen.once_accepted(accepted, *known)))
    }

    /// A setting has no tags.
    async fn tags(&self, _: &Region) -> Result<BTreeMap<String, String>, CallError> {
        Ok(BTreeMap::new())
    }

    fn plan(found: &Sharing) -> Plan<Sharing> {
        match found {
            Sharing::BlockNewSharing => Plan::nothing(),
            Sharing::Unblocked => Plan::one(Sharing::BlockNewSharing),
        }
    }

    async fn apply(
        &self,
        _: &Region,
        wanted: &Sharing,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        let (action, answer) = match wanted {
            Sharing::BlockNewSharing => {
                let mode = ImageBlockPublicAccessEnabledState::BlockNewSharing;
                let enable = self.ec2.enable_image_block_public_access();
                let reply = enable.image_block_public_access_state(mode).send().await;
                let state = reply.during(ENABLE)?.image_block_public_access_state;
                (ENABLE, state.map(|state| state.as_str().to_owned()))
            }
            Sharing::Unblocked => {
                let reply = self.ec2.disable_image_block_public_access().send().await;
                let state = reply.during(DISABLE)?.image_block_public_access_state;
                (DISABLE, state.map(|state| state.as_str().to_owned()))
            }
        };
        let answer = Sharing::parse(action, answer.as_deref())?;
        *self.accepted.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        Ok(None)
    }

    fn revert(before: &Sharing, after: &Sharing) -> Plan<Sharing> {
        if before == after { Plan::nothing() } else { Plan::one(*before) }
    }

    fn describe(found: &Sharing, wanted: &Sharing) -> Description {
        let action = match wanted {
            Sharing::BlockNewSharing => ENABLE,
            Sharing::Unblocked => DISABLE,
        };
        Description {
            action: action.to_owned(),
            effect: Effect::Set,
            minus: vec![found.line()],
            plus: vec![wanted.line()],
        }
    }

    fn console(_: &Region, region: &str) -> String {
        format!("{}#Settings:tab=dataProtectionAndSecurity", partition::console("ec2", region))
    }

    fn arn(region: &Region, account: &str, _: &str) -> String {
        region.arn(account, "image-block-public-access")
    }

    fn notes(_: &Sharing) -> Vec<String> {
        vec!["AWS takes up to ten minutes to apply a change of this setting".to_owned()]
    }
}

impl BlockPublicAccess {
    async fn read(&self) -> Result<Sharing, CallError> {
        let found = self.ec2.get_image_block_public_access_state().send().await.during(READ)?;
        Sharing::parse(READ, found.image_block_public_access_state.as_deref())
    }
}

impl Sharing {
    fn parse(action: &'static str, state: Option<&str>) -> Result<Self, CallError> {
        match state {
            Some("block-new-sharing") => Ok(Self::BlockNewSharing),
            Some("unblocked") => Ok(Self::Unblocked),
            _ => {
                let message = "the answer has no state that is known";
                Err(CallError::new(action, CallErrorKind::Refused, message))
            }
        }
    }

    /// What is seen, unless it is only what was `known` before AWS accepted a change.
    fn once_accepted(self, accepted: Option<Self>, known: Self) -> Self {
        accepted.filter(|_| self == known).unwrap_or(self)
    }

    fn line(self) -> String {
        let word = match self {
            Self::BlockNewSharing => "block-new-sharing",
            Self::Unblocked => "unblocked",
        };
        format!("block public access for images: {word}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        Sharing::{BlockNewSharing, Unblocked},
        *,
    };
    use crate::region::tests::call;

    #[test]
    fn it_is_switched_on_and_undo_switches_it_off() {
        assert_eq!(BlockPublicAccess::plan(&Unblocked).changes, [BlockNewSharing]);
        assert!(BlockPublicAccess::plan(&BlockNewSharing).is_empty());
        assert_eq!(BlockPublicAccess::revert(&Unblocked, &BlockNewSharing).changes, [Unblocked]);
        assert!(BlockPublicAccess::revert(&Unblocked, &Unblocked).is_empty());
    }

    #[test]
    fn what_aws_accepted_counts_while_it_still_shows_what_was() {
        for (before, after) in [(Unblocked, BlockNewSharing), (BlockNewSharing, Unblocked)] {
            assert_eq!(before.once_accepted(None, before), before, "nothing was called");
            assert_eq!(before.once_accepted(Some(after), before), after, "not applied yet");
            assert_eq!(after.once_accepted(Some(after), before), after, "applied");
        }
    }

    #[test]
    fn a_state_that_is_not_known_is_an_error() {
        for odd in [None, Some(""), Some("block-all-sharing")] {
            assert!(Sharing::parse(READ, odd).is_err(), "{odd:?}");
        }
    }

    #[test]
    fn says_by_which_call_and_what_changes() {
        let told = BlockPublicAccess::describe(&Unblocked, &BlockNewSharing);
        assert_eq!(told.action, ENABLE);
        assert_eq!(told.minus, ["block public access for images: unblocked"]);
        assert_eq!(told.plus, ["block public access for images: block-new-sharing"]);
        assert_eq!(BlockPublicAccess::describe(&BlockNewSharing, &Unblocked).action, DISABLE);
    }

    #[test]
    fn listens_for_the_call_that_switches_it_off_alone() {
        let named = |name| BlockPublicAccess::targets(&call(name, json!(null))).unwrap().len();
        assert_eq!(named("DisableImageBlockPublicAccess"), 1);
        assert_eq!(named("EnableImageBlockPublicAccess"), 0);
    }
}
