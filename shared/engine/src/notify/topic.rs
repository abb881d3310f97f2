//! The topic that people and machines subscribe to.

use std::sync::Arc;

use aws_sdk_sns::Client;
use tokio::task::JoinSet;

use super::{Bulletin, Change, Control, Event, Message, Notice, Order, Resource, VERSION, publish};
use crate::{
    CallError, Clients, Meta, brakes,
    ledger::{Counts, Record, Status},
    policy::{MOST_TOPICS, Routed},
    text,
};

#[derive(Clone, Debug)]
pub struct Topic {
    client: Client,
    arn: String,
}

impl Topic {
    pub fn new(aws: &Clients, arn: impl Into<String>) -> Self {
        Self { client: Client::new(aws.sdk()), arn: arn.into() }
    }

    /// Tells where the record stands, wherever the policy's routes lead. Whoever hears of everything hears too of a topic
    /// that could not be told.
    pub async fn tell(&self, meta: &Meta, record: &Record) -> Result<(), CallError> {
        let mut message = message(meta, record);
        let routed: &Routed = &record.intent.routed;
        if !routed.topics.is_empty() {
            let notice = Arc::new(Notice::from(message.clone()));
            let routes = routed.told().iter().map(|topic| (topic.as_str(), Arc::clone(&notice)));
            message.notes.extend(self.tell_routes(routes.collect()).await);
            let more = routed.topics.len() - routed.told().len();
            if more > 0 {
                message.notes.push(format!(
                    "{more} more topics of routes were not told: a message goes to at most {MOST_TOPICS}"
                ));
            }
        }
        self.say(&message.into()).await
    }

    /// Tells what was counted, wherever it would have gone by itself. `false`: there is nothing to tell.
    pub async fn tell_counts(&self, counts: &Counts) -> Result<bool, CallError> {
        let Some(mut bulletin) = Bulletin::of(counts) else { return Ok(false) };
        let routes = Bulletin::of_routes(counts);
        let routes = routes.into_iter().map(|(to, part)| (to, Arc::new(Notice::Bulletin(part))));
        bulletin.notes = self.tell_routes(routes.collect()).await;
        self.say(&Notice::Bulletin(bulletin)).await?;
        Ok(true)
    }

    /// Tells topics of routes, some at a time, and returns a note of each that could not be told.
    async fn tell_routes(&self, routes: Vec<(&str, Arc<Notice>)>) -> Vec<String> {
        let mut notes = Vec::new();
        for some in routes.chunks(MOST_TOPICS) {
            let mut telling = JoinSet::new();
            for (topic, notice) in some.iter().filter(|(topic, _)| *topic != self.arn) {
                let (client, topic, notice) =
                    (self.client.clone(), (*topic).to_owned(), Arc::clone(notice));
                telling.spawn(async move {
                    let error = publish(&client, &topic, &notice).await.err()?;
                    Some(format!("the topic {topic} of a route was not told: {error}"))
                });
            }
            for told in telling.join_all().await {
                notes.extend(told);
            }
        }
        for note in &notes {
            tracing::error!(target: "quell", detail = text::one_line(note), "not routed");
        }
        notes.sort();
        notes
    }

    pub async fn say(&self, notice: &Notice) -> Result<(), CallError> {
        publish(&self.client, &self.arn, notice).await.map(drop)
    }
}

/// What the record says, as a message.
pub fn message(meta: &Meta, record: &Record) -> Message {
    let (intent, result) = (&record.intent, &record.result);
    let (id, status) = (&record.id, record.status);
    let waits = status == Status::Pending;
    let undo = match (status, &intent.undoes) {
        (Status::Fixed | Status::Partial, None) => Some(id).filter(|_| meta.reversible),
        // Of what was not undone it can be ordered once more.
        (Status::Failed | Status::Partial, original) => original.as_ref(),
        _ => None,
    };
    let can_be_exempt = intent.undoes.is_none()
        && matches!(
            status,
            Status::Observed | Status::Pending | Status::Refused | Status::Denied | Status::Fixed
        );
    Message {
        version: VERSION,
        control: Control::from(meta),
        outcome: record.status.outcome(),
        mode: intent.mode.to_string(),
        resource: Resource {
            name: intent.resource.clone(),
            arn: intent.arn.clone(),
            console: intent.console.clone(),
        },
        account: intent.account.clone(),
        region: intent.region.clone(),
        event: Event {
            id: intent.event_id.clone(),
            time: intent.event_time,
            finding: intent.finding.clone(),
        },
        actor: intent.actor.clone(),
        detected: intent.created,
        since: result.history.last().map(|stage| stage.at),
        changes: intent
            .changes
            .iter()
            .enumerate()
            .map(|(index, description)| Change {
                description: description.clone(),
                made: result.done.contains(&index),
            })
            .collect(),
        applied: !result.done.is_empty(),
        verified: match record.status {
            Status::Fixed | Status::Undone => Some(true),
            Status::Partial | Status::Failed => result.verified,
            _ => None,
        },
        fixed_at: result.changed.filter(|_| intent.undoes.is_none()),
        record: Some(record.id.clone()),
        revision: record.version,
        plan_hash: Some(&intent.plan_hash).filter(|hash| !hash.is_empty()).cloned(),
        undoes: intent.undoes.clone(),
        order: result.order.as_ref().map(Order::from),
        approve: waits.then(|| format!("quell approve {id}")),
        deny: waits.then(|| format!("quell deny {id}")),
        expires: intent.expires.filter(|_| waits),
        resume: (status == Status::Parked).then(|| format!("quell resume {id}")),
        undo: undo.map(|id| format!("quell undo {id}")),
        exempt: can_be_exempt
            .then(|| format!("quell exempt add --record {id} --days 7 --reason REASON")),
        cause: intent.actor.as_ref().and_then(brakes::infrastructure_code).map(|tool| {
            format!("{tool} made it so: change its code too, or its next run brings it back")
        }),
        notes: intent.notes.iter().chain(&record.result.facts).cloned().collect(),
        reason: result.reason.clone().or_else(|| intent.withheld.clone()),
        left_out: 0,
        channels: intent.routed.channels.clone(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::{
        Mode, Outcome,
        ledger::{Intent, Order as Given, Verb},
        notify::{chat, email, samples::META, sms},
        protocol::Life,
    };

    const ID: &str = "5f0c6a1de2b94c771234";
    const ORIGINAL: &str = "77c49be21d6a0c5f1234";

    #[test]
    fn a_message_names_each_order_that_a_person_can_give_and_no_other() {
        let commands = |status, undoes| {
            let message = message(&META, &record(status, undoes));
            message.commands().map(|(_, command)| command.to_owned()).collect::<Vec<_>>().join("; ")
        };
        let exempt = format!("quell exempt add --record {ID} --days 7 --reason REASON");
        let expected = [
            (Status::Observed, exempt.clone()),
            (Status::Exempt, String::new()),
            (Status::Pending, format!("quell approve {ID}; quell deny {ID}; {exempt}")),
            (Status::Parked, format!("quell resume {ID}")),
            (Status::Refused, exempt.clone()),
            (Status::Denied, exempt.clone()),
            (Status::Applying, String::new()),
            (Status::Fixed, format!("quell undo {ID}; {exempt}")),
            (Status::Partial, format!("quell undo {ID}")),
            (Status::Failed, String::new()),
            (Status::Superseded, String::new()),
            (Status::Undoing, String::new()),
            (Status::Undone, String::new()),
        ];
        assert_eq!(expected.each_ref().map(|(status, _)| *status), Status::ALL);
        for (status, named) in expected {
            assert_eq!(commands(status, None), named, "{status:?}");
        }
        let once_more = format!("quell undo {ORIGINAL}");
        assert_eq!(commands(Status::Failed, Some(ORIGINAL)), once_more);
        assert_eq!(commands(Status::Partial, Some(ORIGINAL)), once_more);
        assert_eq!(commands(Status::Undone, Some(ORIGINAL)), "", "an undo is not undone");
    }

    #[test]
    fn what_waits_says_until_when_and_what_waits_no_more_does_not() {
        let waiting = message(&META, &record(Status::Pending, None));
        let until = "Until:     2026-03-02 02:03:04 UTC; without an answer by then it is parked";
        assert!(email::body(&waiting).contains(until), "{}", email::body(&waiting));
        assert!(sms::body(&waiting).ends_with(&format!("Approve: quell approve {ID}")));
        let fixed = message(&META, &record(Status::Fixed, None));
        assert_eq!(fixed.expires, None);
        assert!(!email::body(&fixed).contains("Until:"));
    }

    #[test]
    fn who_ordered_it_is_named() {
        let mut record = record(Status::Undone, Some(ORIGINAL));
        record.result.order = Some(Given {
            record: ORIGINAL.to_owned(),
            verb: Verb::Undo,
            plan: None,
            by: "arn:aws:iam::123456789012:user/bob".to_owned(),
            person: Some("bob".to_owned()),
            at: at("2026-03-01T03:00:00Z"),
            expires: at("2026-03-02T03:00:00Z"),
        });
        let message = message(&META, &record);
        let mail = email::body(&message);
        let ordered = "Ordered:   to undo, by bob (arn:aws:iam::123456789012:user/bob), 2026-03-01 03:00:00 UTC\n";
        assert!(mail.contains(ordered), "{mail}");
        let chat = chat::notification(&message).content.description;
        assert!(chat.contains("Ordered: to undo, by `bob` (`arn:aws:iam::123456789012:user/bob`)"));
    }

    #[test]
    fn an_undo_that_failed_is_not_told_as_a_fix_that_failed() {
        let message = message(&META, &record(Status::Failed, Some(ORIGINAL)));
        assert_eq!(message.outcome, Outcome::Failed);
        for told in [email::body(&message), sms::body(&message)] {
            assert!(!told.to_lowercase().contains("bad state"), "{told}");
            assert!(told.contains(&format!("quell undo {ORIGINAL}")), "{told}");
        }
    }

    #[test]
    fn infrastructure_code_that_will_bring_it_back_is_named() {
        let mut record = record(Status::Fixed, None);
        record.intent.actor = Some(crate::Actor {
            principal: "role deploy".to_owned(),
            user_agent: Some("APN/1.0 HashiCorp/1.0 Terraform/1.9.2 (+https://x)".to_owned()),
            ..crate::Actor::default()
        });
        let mail = email::body(&message(&META, &record));
        let cause = "Cause:     Terraform/1.9.2 made it so: change its code too, or its next run brings it back\n";
        assert!(mail.contains(cause), "{mail}");
    }

    fn record(status: Status, undoes: Option<&str>) -> Record {
        let intent = Intent {
            control: META.id.to_owned(),
            account: "123456789012".to_owned(),
            region: "eu-west-1".to_owned(),
            target: json!("photos"),
            resource: "photos".to_owned(),
            arn: "arn:aws:s3:::photos".to_owned(),
            console: String::new(),
            severity: META.severity,
            mode: Mode::Approve,
            withheld: None,
            created: at("2026-03-01T02:03:04Z"),
            event_id: "1".to_owned(),
            deduplication: "1".to_owned(),
            attempt: 0,
            event_time: None,
            actor: None,
            finding: None,
            before: json!({}),
            plan: Vec::new(),
            plan_hash: String::new(),
            expires: Some(at("2026-03-02T02:03:04Z")),
            changes: Vec::new(),
            notes: Vec::new(),
            undoes: undoes.map(str::to_owned),
            routed: Routed::default(),
            backlog: None,
        };
        let life = Life {
            status,
            version: 1,
            writer: String::new(),
            done: Vec::new(),
            told: None,
            open: false,
        };
        Record::new(ID, intent, &life)
    }

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }
}
