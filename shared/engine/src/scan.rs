//! The scan: what a sweep would find wrong, and what would be done about it, for a person who has no ledger yet. It
//! changes nothing and keeps nothing.

use std::time::Instant;

use tokio::time::sleep;

use crate::{
    CallError, Clients, Control, Description, pace::Pace, policy::Trusted, sweep::planned, text,
};

/// One look at an account in a region, control by control, at the pace of a sweep.
#[derive(Debug)]
pub struct Scan<'a> {
    aws: &'a Clients,
    trusted: &'a Trusted,
    pace: Pace,
}

/// A resource that was looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Looked {
    /// As people know it. Untrusted text.
    pub resource: String,
    pub arn: String,
    pub verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Compliant,
    /// It was listed, and is there no more.
    Gone,
    /// Wrong, and permitted by the template for this reason.
    Permitted(String),
    Violating {
        /// What would be done, in order.
        changes: Vec<Description>,
        /// What a person wants to know before deciding.
        notes: Vec<String>,
    },
    /// Nobody knows.
    Unread(CallError),
}

impl<'a> Scan<'a> {
    pub fn new(aws: &'a Clients, trusted: &'a Trusted) -> Self {
        // What was called before belongs to no scan.
        aws.calls().take();
        Self { aws, trusted, pace: Pace::of(aws) }
    }

    /// All resources of one control, in the order in which AWS lists them. There are none where
    /// [`Meta::discovers`](crate::Meta::discovers) names no action.
    ///
    /// # Errors
    /// If they cannot be listed to the end. What was listed until then was looked at.
    pub async fn control<C: Control>(
        &mut self,
        mut look: impl FnMut(Looked),
    ) -> Result<(), CallError> {
        let control = C::connect(self.aws);
        let mut page = None;
        loop {
            self.wait().await;
            let found = control.discover(page.as_deref()).await;
            self.pay();
            let found = found?;
            for target in found.targets {
                let verdict = self.target(&control, &target).await;
                look(Looked {
                    resource: target.to_string(),
                    arn: C::arn(&target, self.aws.account(), self.aws.region()),
                    verdict,
                });
            }
            page = found.next;
            if page.is_none() {
                return Ok(());
            }
        }
    }

    async fn target<C: Control>(&mut self, control: &C, target: &C::Target) -> Verdict {
        self.wait().await;
        let seen = control.assess(target).await;
        self.pay();
        let state = match seen {
            Ok(Some(state)) => state,
            Ok(None) => return Verdict::Gone,
            Err(error) => return Verdict::Unread(error),
        };
        let (state, plan) = planned::<C>(self.trusted, state, None);
        let state = state.informed;
        if plan.is_empty() {
            return Verdict::Compliant;
        }
        if let Some(reason) = C::permitted(&state) {
            return Verdict::Permitted(reason);
        }
        let changes = plan.changes.iter();
        let changes = changes.map(|change| C::describe(&state, change).without_secrets());
        let notes = C::notes(&state);
        let mut notes: Vec<_> =
            notes.iter().map(|note| text::redacted(note).into_owned()).collect();
        notes.extend(C::spared_by(&state).map(|record| {
            format!("it may be part of a remediation that is under way: `quell show {record}`")
        }));
        Verdict::Violating { changes: changes.collect(), notes }
    }

    /// Until another call is within the budget.
    async fn wait(&self) {
        sleep(self.pace.pause(Instant::now())).await;
    }

    fn pay(&mut self) {
        self.pace.pay(&self.aws.calls().take());
    }
}
