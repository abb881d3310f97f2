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
        notes.extend(C::withheld(&state).map(|why| text::redacted(&why).into_owned()));
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use aws_config::SdkConfig;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::{
        Background, CallErrorKind, Discovered, Effect, Meta, Plan, Progress, Safety, Severity,
        Signal, control::TargetError,
    };

    /// Things that are shared with somebody.
    struct Shared;

    #[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
    struct State {
        with: String,
        is_trusted: bool,
    }

    impl Control for Shared {
        const META: Meta = Meta {
            id: "things-shared",
            title: "Things are shared with nobody unknown",
            risk: "Strangers have it.",
            severity: Severity::High,
            safety: Safety::Safe,
            reversible: true,
            satisfies: &[],
            function: "things",
            listens: &[],
            discovers: &["things:List"],
            reads: &[],
            writes: &[],
            baseline: false,
            visible_within: 0,
            source: file!(),
        };

        type Target = String;
        type State = State;
        type Change = String;

        fn connect(_: &Clients) -> Self {
            Self
        }

        fn targets(_: &Signal) -> Result<Vec<String>, TargetError> {
            Ok(Vec::new())
        }

        async fn discover(&self, page: Option<&str>) -> Result<Discovered<String>, CallError> {
            let of = |names: &[&str], next: &str| Discovered {
                targets: names.iter().map(|name| (*name).to_owned()).collect(),
                next: Some(next.to_owned()),
            };
            match page {
                None => Ok(of(&["nobody", "partner"], "2")),
                Some("2") => Ok(of(&["gone", "hidden", "stranger", "press"], "3")),
                Some(_) => Err(denied("things:List")),
            }
        }

        async fn assess(&self, target: &String) -> Result<Option<State>, CallError> {
            match target.as_str() {
                "gone" => Ok(None),
                "hidden" => Err(denied("things:Get")),
                with => Ok(Some(State { with: with.to_owned(), is_trusted: false })),
            }
        }

        fn inform(state: &mut State, background: &Background<'_, State>) {
            state.is_trusted = background.trusted.accounts.contains(&state.with);
        }

        fn plan(state: &State) -> Plan<String> {
            match state.with.as_str() {
                "nobody" => Plan::nothing(),
                _ if state.is_trusted => Plan::nothing(),
                with => Plan::one(with.to_owned()),
            }
        }

        async fn apply(
            &self,
            target: &String,
            _: &String,
            _: &Progress<'_>,
        ) -> Result<Option<String>, CallError> {
            panic!("a scan changes nothing, and not {target}")
        }

        fn revert(_: &State, _: &State) -> Plan<String> {
            Plan::nothing()
        }

        fn describe(_: &State, change: &String) -> Description {
            Description {
                action: "things:Unshare".to_owned(),
                effect: Effect::Set,
                minus: vec![format!("{change} {SECRET}")],
                plus: Vec::new(),
            }
        }

        fn console(_: &String, _: &str) -> String {
            String::new()
        }

        fn arn(target: &String, account: &str, region: &str) -> String {
            format!("arn:aws:things:{region}:{account}:{target}")
        }

        async fn tags(&self, _: &String) -> Result<BTreeMap<String, String>, CallError> {
            panic!("nobody asked for tags")
        }

        fn notes(_: &State) -> Vec<String> {
            vec![format!("with {SECRET}")]
        }

        fn permitted(state: &State) -> Option<String> {
            (state.with == "press").then(|| "the template says so".to_owned())
        }

        fn spared_by(state: &State) -> Option<String> {
            (state.with == "stranger").then(|| "4f2a9c0d1e8b7a635241".to_owned())
        }
    }

    /// AWS's own example.
    const SECRET: &str = "AKIAIOSFODNN7EXAMPLE";

    fn denied(action: &'static str) -> CallError {
        CallError::new(action, CallErrorKind::Denied, "no")
    }

    async fn scan(trusted: &[&str]) -> (Vec<Looked>, Result<(), CallError>) {
        let aws = Clients::new(SdkConfig::builder().build(), "111122223333");
        let accounts = trusted.iter().map(|one| (*one).to_owned()).collect();
        let trusted = Trusted { accounts, ..Trusted::NOBODY };
        let mut all = Vec::new();
        let ended = Scan::new(&aws, &trusted).control::<Shared>(|looked| all.push(looked)).await;
        (all, ended)
    }

    #[tokio::test]
    async fn every_page_is_looked_at_and_what_cannot_be_read_is_no_verdict() {
        let (all, ended) = scan(&[]).await;
        assert_eq!(ended, Err(denied("things:List")), "the rest is unknown, and that is said");
        let names: Vec<_> = all.iter().map(|looked| looked.resource.as_str()).collect();
        assert_eq!(names, ["nobody", "partner", "gone", "hidden", "stranger", "press"]);
        assert_eq!(all[0].verdict, Verdict::Compliant);
        assert!(matches!(all[1].verdict, Verdict::Violating { .. }));
        assert_eq!(all[2].verdict, Verdict::Gone);
        assert_eq!(all[3].verdict, Verdict::Unread(denied("things:Get")));
        assert_eq!(all[5].verdict, Verdict::Permitted("the template says so".to_owned()));
        assert_eq!(all[4].arn, "arn:aws:things::111122223333:stranger");
    }

    #[tokio::test]
    async fn who_is_trusted_is_no_violation() {
        let (all, _) = scan(&["partner"]).await;
        assert_eq!(all[1].verdict, Verdict::Compliant);
        assert!(matches!(all[4].verdict, Verdict::Violating { .. }));
    }

    #[tokio::test]
    async fn what_is_told_of_a_violation_holds_no_secret_and_names_the_remediation_it_may_be_of() {
        let (all, _) = scan(&[]).await;
        let Verdict::Violating { changes, notes } = &all[4].verdict else { panic!("{:?}", all[4]) };
        assert!(changes[0].minus[0].starts_with("stranger "), "{changes:?}");
        let told = format!("{changes:?}{notes:?}");
        assert!(!told.contains(SECRET), "{told}");
        assert!(notes.iter().any(|note| note.contains("quell show 4f2a9c0d1e8b7a635241")));
    }
}
