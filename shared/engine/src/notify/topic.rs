//! The topic that people and machines subscribe to.

use aws_sdk_sns::Client;

use super::{Change, Control, Event, Message, Resource, VERSION, publish};
use crate::{
    CallError, Clients, Meta,
    ledger::{Record, Status},
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

    /// Tells where the record stands.
    pub async fn tell(&self, meta: &Meta, record: &Record) -> Result<(), CallError> {
        self.say(&message(meta, record)).await
    }

    pub async fn say(&self, message: &Message) -> Result<(), CallError> {
        publish(&self.client, &self.arn, message).await.map(drop)
    }
}

/// What the record says, as a message.
pub fn message(meta: &Meta, record: &Record) -> Message {
    let (intent, result) = (&record.intent, &record.result);
    let can_be_undone =
        matches!(record.status, Status::Fixed | Status::Partial) && intent.undoes.is_none();
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
        event: Event { id: intent.event_id.clone(), time: intent.event_time },
        actor: intent.actor.clone(),
        detected: intent.created,
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
            Status::Partial | Status::Failed => result.after.as_ref().map(|_| false),
            _ => None,
        },
        record: Some(record.id.clone()),
        undo: can_be_undone.then(|| format!("quell undo {}", record.id)),
        notes: intent.notes.clone(),
        reason: result.reason.clone().or_else(|| intent.withheld.clone()),
        left_out: 0,
    }
}
