//! Records as evaluations would have written them, for tests of what looks at the ledger.

use jiff::{Timestamp, ToSpan as _};
use quell_controls::REGISTRY;
use quell_engine::{
    Actor, Description, Effect, Mode,
    ledger::{Intent, Ledger, Record, Stage, Status, record_id},
    policy::Routed,
    protocol::{Life, Write},
};
use serde_json::json;

use crate::rig::write;

pub const ACCOUNT: &str = quell_local::cloud::ACCOUNT;
pub const REGION: &str = quell_local::cloud::REGION;

/// What became of something that user alice did a minute before.
pub fn record(control: &str, resource: &str, created: Timestamp, status: Status) -> Record {
    let meta = REGISTRY.iter().find(|meta| meta.id == control).expect("the control is registered");
    let change = Description {
        action: meta.writes.first().copied().unwrap_or_default().to_owned(),
        effect: Effect::Set,
        minus: Vec::new(),
        plus: Vec::new(),
    };
    let intent = Intent {
        control: control.to_owned(),
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
        target: json!(resource),
        resource: resource.to_owned(),
        arn: String::new(),
        console: String::new(),
        severity: meta.severity,
        mode: Mode::Enforce,
        withheld: None,
        created,
        event_id: "1".to_owned(),
        deduplication: "1".to_owned(),
        attempt: 0,
        event_time: Some(created - 1.minute()),
        actor: Some(Actor { principal: "user alice".to_owned(), ..Actor::default() }),
        before: json!(null),
        plan: Vec::new(),
        plan_hash: String::new(),
        expires: None,
        changes: vec![change],
        notes: Vec::new(),
        undoes: None,
        finding: None,
        routed: Routed::default(),
        backlog: None,
    };
    let life = Life {
        status,
        version: 1,
        writer: "the test".to_owned(),
        done: Vec::new(),
        told: None,
        open: false,
    };
    let id = record_id(&[control, resource, &created.to_string(), status.name()]);
    let mut record = Record::new(id, intent, &life);
    record.result.history = vec![Stage { at: created, status }];
    record
}

/// What is different about a record.
pub trait Differing {
    /// Its fix was verified so many seconds after the event, which must have a time.
    fn fixed_after(self, seconds: i64) -> Self;
    fn by(self, principal: &str) -> Self;
    fn without_actor(self) -> Self;
    /// The event does not say when it happened.
    fn timeless(self) -> Self;
    fn undoing(self, record: &str) -> Self;
    fn expiring(self, at: Timestamp) -> Self;
    fn because(self, reason: &str) -> Self;
    fn in_account(self, account: &str) -> Self;
}

impl Differing for Record {
    fn fixed_after(mut self, seconds: i64) -> Self {
        let event = self.intent.event_time.expect("the event has a time");
        let fixed = Stage { at: event + seconds.seconds(), status: Status::Fixed };
        self.result.history.retain(|stage| stage.status != Status::Fixed);
        self.result.history.insert(0, fixed);
        self
    }

    fn by(mut self, principal: &str) -> Self {
        self.intent.actor = Some(Actor { principal: principal.to_owned(), ..Actor::default() });
        self
    }

    fn without_actor(mut self) -> Self {
        self.intent.actor = None;
        self
    }

    fn timeless(mut self) -> Self {
        self.intent.event_time = None;
        self
    }

    fn undoing(mut self, record: &str) -> Self {
        self.intent.undoes = Some(record.to_owned());
        self
    }

    fn expiring(mut self, at: Timestamp) -> Self {
        self.intent.expires = Some(at);
        self
    }

    fn because(mut self, reason: &str) -> Self {
        self.result.reason = Some(reason.to_owned());
        self
    }

    fn in_account(mut self, account: &str) -> Self {
        account.clone_into(&mut self.intent.account);
        self
    }
}

/// Writes it to the ledger.
pub async fn put(ledger: &Ledger, record: Record) {
    let (id, life) = (record.id.clone(), record.life());
    write(ledger, record, Write::Put { id, life }).await;
}
