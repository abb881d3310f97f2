//! Policies of Quell's own stack that deny: what holds a user or a role back is attached, and undo detaches it.

use quell_engine::{CallError, Clients, Description, Effect, Plan};
use serde::{Deserialize, Serialize};

use super::{
    holder::{Holder, Policies},
    principal::{Kind, Principal, stack},
};
use crate::partition;

/// One of these policies.
pub(super) struct Denial {
    pub(super) iam: Policies,
    /// Its ARN. IAM lets Quell attach and detach this one alone.
    pub(super) policy: String,
}

/// Whether a policy that denies is to be attached.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Attach {
    pub policy: String,
    pub attached: bool,
}

impl Denial {
    /// The template names the policy: after the stack, what it does, and the region, because names in IAM are of the whole
    /// account.
    pub(super) fn new(aws: &Clients, does: &str) -> Self {
        let iam = Policies::new(aws);
        let (partition, region) = (partition::of(aws.home()), aws.home());
        let account = &iam.account;
        let policy = format!("arn:{partition}:iam::{account}:policy/{}-{does}-{region}", stack());
        Self { iam, policy }
    }

    /// `None`: there is no such principal.
    pub(super) async fn is_attached(&self, to: &Principal) -> Result<Option<bool>, CallError> {
        let attached = self.iam.attached(&Holder::Principal(to.clone())).await?;
        Ok(attached.map(|all| all.contains(&self.policy)))
    }

    pub(super) async fn apply(
        &self,
        to: &Principal,
        change: &Attach,
    ) -> Result<Option<String>, CallError> {
        let to = Holder::Principal(to.clone());
        if change.attached {
            self.iam.attach(&to, &change.policy).await?;
        } else {
            self.iam.detach(&to, &change.policy).await?;
        }
        Ok(None)
    }
}

impl Attach {
    pub(super) fn plan(policy: &str) -> Plan<Self> {
        Plan::one(Self { policy: policy.to_owned(), attached: true })
    }

    /// What was not there before goes.
    pub(super) fn revert(policy: &str, before: bool, after: bool) -> Plan<Self> {
        if !before && after {
            Plan::one(Self { policy: policy.to_owned(), attached: false })
        } else {
            Plan::nothing()
        }
    }

    pub(super) fn describe(&self, to: &Principal, why: &str) -> Description {
        let kind = match to.kind() {
            Kind::User => "User",
            Kind::Role => "Role",
        };
        let name = self.policy.rsplit('/').next().unwrap_or_default();
        let line = vec![format!("{to}: {name} attached{why}")];
        let (verb, minus, plus) =
            if self.attached { ("Attach", Vec::new(), line) } else { ("Detach", line, Vec::new()) };
        let action = format!("iam:{verb}{kind}Policy");
        Description { action, effect: Effect::Set, minus, plus }
    }
}
