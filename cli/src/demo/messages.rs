//! `quell demo --messages`: every outcome that people hear of, and what they are told. Each outcome happens on the
//! embedded AWS, and each text is read back from the topic.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use quell_controls::REGISTRY;
use quell_engine::{
    During as _, Mode, Outcome, Severity,
    ledger::Record,
    notify::{Notice, bulletin::Subject},
    policy::{Digest, Notify, Policy},
};
use quell_local::{
    Cloud, Emulator, Stack,
    proxy::{Calls, Fault, Proxy},
    scenario::{self, Staged},
    stack::Published,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    Error,
    binaries::{Binaries, Operator},
    operator::{order, patiently},
    place::Place,
    terminal::{self, Tone},
    undo::undo,
};

/// What people are told of one outcome, each text exactly as it was published.
#[derive(Serialize)]
struct Told {
    outcome: &'static str,
    subject: String,
    email: String,
    /// For Slack and Teams by way of Amazon Q Developer: JSON.
    chat: String,
    /// For queues, functions and HTTP: JSON.
    machine: String,
    /// The ledger's record as it stood when people were told. None: the message is about none.
    record: Option<Record>,
}

pub(super) async fn run(binaries: &Binaries, as_json: bool) -> Result<(), Error> {
    let emulator = Emulator::start_on("127.0.0.1", 0, &mut |step| terminal::progress(step))
        .map_err(|error| Error::Trouble(error.into()))?;
    let account = Account::with_quell(binaries, &emulator).await?;
    let (mut all, mut missing) = (Vec::new(), Vec::new());
    for scene in Scene::ALL {
        let name = scene.name();
        match patiently(&format!("bringing about: {name}"), scene.play(&account)).await {
            Ok(told) => {
                if !as_json {
                    show(&told);
                }
                all.push(told);
            }
            Err(error) => missing.push(format!("{name} did not come about: {error}")),
        }
    }
    if as_json {
        terminal::json(&all)?;
    }
    if missing.is_empty() { Ok(()) } else { Err(Error::NotDone(missing.join("\n"))) }
}

/// Not cleaned: what is inert in a mail is inert on a terminal.
fn show(told: &Told) {
    terminal::line(&terminal::toned(Tone::Bold, &format!("──── {}", told.outcome)));
    terminal::line(&format!("Subject: {}\n", told.subject));
    terminal::line(&told.email);
}

/// How one outcome comes about.
#[derive(Clone, Copy)]
enum Scene {
    Observed,
    Fixed,
    Pending,
    Denied,
    Parked,
    Partial,
    Failed,
    Refused,
    Undone,
    ExemptionExpires,
    QuellTampered,
    Folded,
    Digest,
}

impl Scene {
    const ALL: [Self; 13] = [
        Self::Observed,
        Self::Fixed,
        Self::Pending,
        Self::Denied,
        Self::Parked,
        Self::Partial,
        Self::Failed,
        Self::Refused,
        Self::Undone,
        Self::ExemptionExpires,
        Self::QuellTampered,
        Self::Folded,
        Self::Digest,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Observed => "observed",
            Self::Fixed => "fixed",
            Self::Pending => "pending",
            Self::Denied => "denied",
            Self::Parked => "parked",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Undone => "undone",
            Self::ExemptionExpires => "exemption-expires",
            Self::QuellTampered => "quell-tampered",
            Self::Folded => "folded",
            Self::Digest => "digest",
        }
    }

    /// Its last word, of which the resource's name is made.
    fn word(self) -> &'static str {
        self.name().rsplit('-').next().unwrap_or_default()
    }

    async fn play(self, account: &Account) -> Result<Told, Error> {
        match self {
            Self::Observed => {
                account.enact(&policy("ec2-imdsv2", Mode::Observe)).await?;
                let staged = account.stage("ec2-imdsv2", self).await?;
                let record = account.deliver(&staged).await?;
                account.is_violating(&staged, true).await?;
                account.told(self, Outcome::Observed, record).await
            }
            Self::Fixed => {
                account.enact(&policy("s3-public-acl", Mode::Enforce)).await?;
                let staged = account.stage("s3-public-acl", self).await?;
                let record = account.deliver(&staged).await?;
                account.is_violating(&staged, false).await?;
                account.told(self, Outcome::Fixed, record).await
            }
            Self::Pending => {
                account.enact(&policy("sg-open-ingress", Mode::Approve)).await?;
                let staged = account.stage("sg-open-ingress", self).await?;
                let record = account.deliver(&staged).await?;
                account.is_violating(&staged, true).await?;
                account.told(self, Outcome::Pending, record).await
            }
            Self::Denied => {
                account.enact(&policy("s3-block-public-access", Mode::Approve)).await?;
                let staged = account.stage("s3-block-public-access", self).await?;
                let record = account.deliver(&staged).await?;
                let reason = "the press kit is public on purpose";
                let deny = json!({"verb": "deny", "record": record.id, "reason": reason});
                order(&account.place, &deny).await?;
                account.is_violating(&staged, true).await?;
                let record = account.record(&record.id).await?;
                account.told(self, Outcome::Denied, record).await
            }
            Self::Parked => {
                let mut policy = policy("s3-public-policy", Mode::Enforce);
                policy.budgets.critical.control = 1;
                policy.budgets.routine.control = 1;
                account.enact(&policy).await?;
                let within = account.stage_as("s3-public-policy", "within").await?;
                account.deliver(&within).await?;
                let staged = account.stage("s3-public-policy", self).await?;
                let record = account.deliver(&staged).await?;
                account.is_violating(&staged, true).await?;
                account.told(self, Outcome::Parked, record).await
            }
            Self::Partial => {
                account.enact(&policy("ec2-quarantine", Mode::Enforce)).await?;
                let staged = account.stage("ec2-quarantine", self).await?;
                let snapshots = Calls::any().service("EC2").operation("CreateSnapshots");
                let code = "UnauthorizedOperation";
                let record = account.deliver_denied(&staged, snapshots, 403, code).await?;
                account.told(self, Outcome::Partial, record).await
            }
            Self::Failed => {
                account.enact(&policy("s3-block-public-access", Mode::Enforce)).await?;
                let staged = account.stage("s3-block-public-access", self).await?;
                let put = Calls::any().service("S3").operation("PutPublicAccessBlock");
                let record = account.deliver_denied(&staged, put, 403, "AccessDenied").await?;
                account.is_violating(&staged, true).await?;
                account.told(self, Outcome::Failed, record).await
            }
            Self::Refused => {
                account.enact(&policy("sg-open-ingress", Mode::Enforce)).await?;
                let staged = now(scenario::stage_too_large(&account.cloud, self.word()).await?);
                let record = account.deliver(&staged).await?;
                account.is_violating(&staged, true).await?;
                account.told(self, Outcome::Refused, record).await
            }
            Self::Undone => {
                account.enact(&policy("s3-public-policy", Mode::Enforce)).await?;
                let staged = account.stage("s3-public-policy", self).await?;
                let before = scenario::snapshot(&account.cloud, &staged).await?;
                let fixed = account.deliver(&staged).await?;
                let record = undo(&account.place, &fixed).await?;
                if scenario::snapshot(&account.cloud, &staged).await? != before {
                    let resource = &staged.resource;
                    return Err(Error::trouble(format!("{resource} is not what it was before")));
                }
                account.told(self, Outcome::Undone, record).await
            }
            Self::ExemptionExpires => account.exemption_expires(self).await,
            Self::QuellTampered => {
                account.enact(&policy("quell-tampered", Mode::Enforce)).await?;
                let staged = account.stage("quell-tampered", self).await?;
                let record = account.deliver(&staged).await?;
                account.is_violating(&staged, true).await?;
                account.told(self, Outcome::Observed, record).await
            }
            Self::Folded => account.folded(self).await,
            Self::Digest => account.digest(self).await,
        }
    }
}

/// An embedded AWS account with Quell in it, whose functions call AWS through a proxy.
struct Account {
    cloud: Cloud,
    stack: Stack,
    proxy: Proxy,
    operator: Operator,
    place: Place,
}

impl Account {
    async fn with_quell(binaries: &Binaries, emulator: &Emulator) -> Result<Self, Error> {
        let cloud = emulator.cloud();
        let stack = Stack::deploy(&cloud).await?;
        let proxy = Proxy::start(&cloud.endpoint).map_err(|error| Error::Trouble(error.into()))?;
        let mut environment = stack.environment("act");
        environment.retain(|(name, _)| name != "AWS_ENDPOINT_URL");
        environment.push(("AWS_ENDPOINT_URL".to_owned(), proxy.endpoint.clone()));
        let operator = Operator::start(binaries, &stack, &environment, "127.0.0.1").await?;
        let place = Place::embedded(&cloud, &stack.ledger, &stack.topic, &operator.door.url());
        Ok(Self { cloud, stack, proxy, operator, place })
    }

    async fn enact(&self, policy: &Policy) -> Result<(), Error> {
        Ok(self.stack.apply_policy(policy).await?)
    }

    async fn stage(&self, control: &str, scene: Scene) -> Result<Staged, Error> {
        self.stage_as(control, scene.word()).await
    }

    async fn stage_as(&self, control: &str, name: &str) -> Result<Staged, Error> {
        Ok(now(scenario::stage(&self.cloud, control, name).await?))
    }

    /// Delivers the event to the function of its control, and returns the record that came of it.
    async fn deliver(&self, staged: &Staged) -> Result<Record, Error> {
        let meta = REGISTRY.iter().find(|meta| meta.id == staged.control);
        let function = meta.and_then(|meta| self.operator.function(meta.function));
        let function = function
            .ok_or_else(|| Error::trouble(format!("no function serves {}", staged.control)))?;
        let attempt = function.invoke(staged.event.to_string()).await;
        let attempt = attempt.map_err(|error| Error::Trouble(error.into()))?;
        let is_about_it = |record: &Record| record.intent.resource == staged.resource;
        let found = self.place.ledger.find(staged.control, &[], None, 1, is_about_it).await;
        found.map_err(|error| Error::Trouble(error.into()))?.pop().ok_or_else(|| {
            let said = attempt.answer.error_message().unwrap_or_default();
            Error::trouble(format!("no record came of {}: {said}", staged.resource))
        })
    }

    /// The same while AWS denies these calls.
    async fn deliver_denied(
        &self,
        staged: &Staged,
        calls: Calls,
        status: u16,
        code: &str,
    ) -> Result<Record, Error> {
        let denied = Fault::refuse(status, code, "an explicit deny in a service control policy");
        let rule = self.proxy.fault(calls, denied);
        let delivered = self.deliver(staged).await;
        self.proxy.remove(&rule);
        delivered
    }

    async fn record(&self, id: &str) -> Result<Record, Error> {
        let found = self.place.ledger.read(id).await;
        let found = found.map_err(|error| Error::Trouble(error.into()))?;
        found.ok_or_else(|| Error::trouble(format!("there is no record {id}")))
    }

    /// Looks at the resource without Quell.
    async fn is_violating(&self, staged: &Staged, expected: bool) -> Result<(), Error> {
        if scenario::is_violating(&self.cloud, staged).await? == expected {
            return Ok(());
        }
        let state =
            if expected { "not in its bad state any more" } else { "still in its bad state" };
        Err(Error::trouble(format!("AWS shows that {} is {state}", staged.resource)))
    }

    /// An exemption as a person gives it, four weeks later.
    async fn exemption_expires(&self, scene: Scene) -> Result<Told, Error> {
        self.enact(&policy("s3-public-acl", Mode::Enforce)).await?;
        let staged = self.stage("s3-public-acl", scene).await?;
        let exempt = json!({
            "verb": "exempt", "control": staged.control, "resource": staged.resource,
            "reason": "the press kit is public on purpose", "days": 30,
        });
        order(&self.place, &exempt).await?;
        let ledger = &self.place.ledger;
        let given = ledger.exemptions().await.map_err(|error| Error::Trouble(error.into()))?;
        let given = given.into_iter().find(|given| given.resource == staged.resource);
        let mut exemption =
            given.ok_or_else(|| Error::trouble(format!("{} is not exempt", staged.resource)))?;
        exemption.granted -= SignedDuration::from_hours(28 * 24);
        exemption.expires -= SignedDuration::from_hours(28 * 24);
        ledger.grant(&exemption).await.map_err(|error| Error::Trouble(error.into()))?;
        self.operator.recover().await?;
        let is_it = |notice: &Notice| {
            matches!(notice, Notice::Remediation(message)
                if message.outcome == Outcome::Exempt && message.resource.name == staged.resource)
        };
        only(self.published(scene, None, is_it).await?)
    }

    /// Repeats by the same principal, an hour later.
    async fn folded(&self, scene: Scene) -> Result<Told, Error> {
        self.enact(&policy("s3-public-acl", Mode::Enforce)).await?;
        // However a window's end falls between them, one window has two.
        for name in ["folded1", "folded2", "folded3"] {
            let staged = self.stage_as("s3-public-acl", name).await?;
            self.deliver(&staged).await?;
            self.is_violating(&staged, false).await?;
        }
        // There are two where a window's end fell between them.
        self.counted(scene, Subject::Folded).await
    }

    /// What was fixed and what was observed, a day later.
    async fn digest(&self, scene: Scene) -> Result<Told, Error> {
        let notify = Notify {
            digest: Some(Digest::Daily),
            digest_up_to: Severity::High,
            ..Notify::default()
        };
        let modes = [("s3-public-acl", Mode::Enforce), ("sg-open-ingress", Mode::Observe)];
        for (control, mode) in modes {
            self.enact(&Policy { notify, ..policy(control, mode) }).await?;
            let staged = self.stage(control, scene).await?;
            self.deliver(&staged).await?;
            self.is_violating(&staged, mode == Mode::Observe).await?;
        }
        self.counted(scene, Subject::Digest).await
    }

    /// The bulletin of what was counted instead of told, as it comes once the window is over.
    async fn counted(&self, scene: Scene, subject: Subject) -> Result<Told, Error> {
        self.windows_end().await?;
        self.operator.recover().await?;
        let is_it = |notice: &Notice| matches!(notice, Notice::Bulletin(bulletin) if bulletin.subject == subject);
        let told = self.published(scene, None, is_it).await?.pop();
        told.ok_or_else(|| Error::trouble("nobody was told"))
    }

    /// What the ledger counted is due, as it is once the window is over.
    async fn windows_end(&self) -> Result<(), Error> {
        let (dynamodb, table) = (&self.cloud.dynamodb, self.stack.ledger.as_str());
        let all = dynamodb.scan().table_name(table).send().await.during("dynamodb:Scan");
        let all = all.map_err(|error| Error::Trouble(error.into()))?;
        let keys = all.items().iter().filter_map(|item| item.get("pk")?.as_s().ok());
        for pk in keys.filter(|pk| pk.starts_with("BUL#")) {
            let text = |text: &str| AttributeValue::S(text.to_owned());
            let update =
                dynamodb.update_item().table_name(table).update_expression("SET due = :past");
            let update = update.key("pk", text(pk)).key("sk", text("BULLETIN"));
            let past = text("2026-01-01T00:00:00.000000Z");
            let updated = update.expression_attribute_values(":past", past).send().await;
            updated.during("dynamodb:UpdateItem").map_err(|error| Error::Trouble(error.into()))?;
        }
        Ok(())
    }

    /// What people were told of the record, if it came to this outcome.
    async fn told(&self, scene: Scene, wanted: Outcome, record: Record) -> Result<Told, Error> {
        let outcome = record.status.outcome();
        if outcome != wanted {
            let reason = record.result.reason.unwrap_or_default();
            return Err(Error::trouble(format!("record {} is {outcome}: {reason}", record.id)));
        }
        let id = record.id.clone();
        let is_it = |notice: &Notice| {
            matches!(notice, Notice::Remediation(message)
                if message.outcome == wanted && message.record.as_ref() == Some(&id))
        };
        only(self.published(scene, Some(record), is_it).await?)
    }

    /// The messages for which this holds, read back from the topic.
    async fn published(
        &self,
        scene: Scene,
        record: Option<Record>,
        is_it: impl Fn(&Notice) -> bool,
    ) -> Result<Vec<Told>, Error> {
        let mut found = Vec::new();
        for Published { subject, mut texts, .. } in self.stack.published().await? {
            let machine = taken(&mut texts, "sqs")?;
            let notice = serde_json::from_str(&machine);
            if !is_it(&notice.map_err(|error| Error::Trouble(error.into()))?) {
                continue;
            }
            found.push(Told {
                outcome: scene.name(),
                subject: subject.ok_or_else(|| Error::trouble("the message has no subject"))?,
                email: taken(&mut texts, "email")?,
                chat: taken(&mut texts, "https")?,
                machine,
                record: record.clone(),
            });
        }
        Ok(found)
    }
}

fn only(mut found: Vec<Told>) -> Result<Told, Error> {
    match (found.pop(), found.len()) {
        (Some(told), 0) => Ok(told),
        (None, _) => Err(Error::trouble("nobody was told")),
        (Some(_), more) => Err(Error::trouble(format!("people were told {} times", more + 1))),
    }
}

fn taken(texts: &mut BTreeMap<String, String>, protocol: &str) -> Result<String, Error> {
    let text = texts.remove(protocol);
    text.ok_or_else(|| Error::trouble(format!("a message has no text for {protocol}")))
}

/// A policy with one control in this mode.
fn policy(control: &str, mode: Mode) -> Policy {
    Policy {
        controls: [(control.to_owned(), mode)].into(),
        people: super::people(),
        ..Policy::observe()
    }
}

/// The bad state was made a moment ago, and not when the sample was recorded.
fn now(mut staged: Staged) -> Staged {
    let now = format!("{:.0}", Timestamp::now());
    for time in ["/time", "/detail/eventTime", "/detail/updatedAt"] {
        if let Some(value) = staged.event.pointer_mut(time) {
            *value = Value::String(now.clone());
        }
    }
    staged
}
