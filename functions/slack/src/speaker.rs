//! Posts what comes from the queue, keeps it up to date, and forgets nothing that could not be said.
//!
//! Each message in each channel is claimed in the ledger before Slack is called, and noted after it. What is left: who
//! dies between Slack's answer and the note, or never hears the answer, leaves a message behind that nobody knows of,
//! and the next attempt posts it once more. Slack has no key by which it would know it again.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use quell_engine::{
    ledger::{Claim, Edition, Ledger, LedgerError, Outlet, Shown, record_id},
    notify::{Message, Notice},
    queue::Delivery,
    text,
};
use quell_slack::{
    Credential, Posted, Posting, Slack, SlackError, bulletin, button::ButtonError, message,
};
use serde_json::json;

use crate::{
    bearer::{Bearer, BearerError},
    event::Told,
};

pub(crate) struct Speaker<'a> {
    pub(crate) ledger: &'a Ledger,
    pub(crate) slack: &'a Slack,
    pub(crate) bearer: &'a Bearer,
    /// Where everything goes that names no channel, or [`WEBHOOK`].
    pub(crate) channel: &'a str,
    /// Whether anybody hears what is pressed.
    pub(crate) has_buttons: bool,
    /// When Lambda ends the process.
    pub(crate) deadline: Instant,
    /// Of this invocation: SQS may deliver one item to two at once.
    pub(crate) request_id: &'a str,
}

/// Why an item goes back to the queue.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpeakError {
    #[error("it is no notice of Quell's and no alarm: {0}")]
    Unreadable(#[from] serde_json::Error),
    #[error(transparent)]
    Bearer(#[from] BearerError),
    #[error(transparent)]
    Slack(#[from] SlackError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Button(#[from] ButtonError),
    #[error(
        "the secret holds a bot token, but SlackChannel names no channel; set that parameter to the id of one"
    )]
    NoChannel,
    #[error("another process is about to say it")]
    Held,
    #[error("no time is left")]
    NoTime,
}

impl SpeakError {
    /// Whether whatever is said next would fare the same.
    pub(crate) fn is_of_all(&self) -> bool {
        match self {
            Self::Slack(error) => matches!(
                error,
                SlackError::RateLimited { .. }
                    | SlackError::Credential { .. }
                    | SlackError::Unavailable { .. }
                    | SlackError::Unanswered { .. }
            ),
            Self::Bearer(_) | Self::NoTime => true,
            _ => false,
        }
    }
}

/// What is said, and in which thread.
struct Speech {
    record: String,
    edition: Edition,
    channels: Vec<String>,
    content: Content,
}

enum Content {
    Message(Box<Message>),
    Other(Posting),
}

impl Content {
    fn posting(&self, with_buttons: bool) -> Result<Posting, ButtonError> {
        match self {
            Self::Message(message) => message::posting(message, with_buttons),
            Self::Other(posting) => Ok(posting.clone()),
        }
    }

    /// What the thread hears of it.
    fn reply(&self) -> Option<Posting> {
        match self {
            Self::Message(message) => {
                Some(Posting { text: message::reply(message), blocks: json!([]) })
            }
            Self::Other(_) => None,
        }
    }
}

/// In place of a channel's id: an incoming webhook has its own.
const WEBHOOK: &str = "webhook";

/// How long it takes to say something once, at the most: two calls of Slack, and the ledger's.
const ENOUGH: Duration = Duration::from_secs(20);

/// A wait that is not worth another delivery.
const SHORT: Duration = Duration::from_secs(5);

impl Speaker<'_> {
    /// Says it in all of its channels, or returns the first reason why it could not be said in one. Where it was said
    /// it is not said again.
    pub(crate) async fn say(&self, item: &Delivery) -> Result<(), SpeakError> {
        let claimant = format!("{}/{}", self.request_id, item.message_id);
        let mut failed = None;
        'said: for speech in Speech::all_of(&item.body)? {
            for channel in self.channels(&speech).await? {
                if let Err(error) = self.say_in(&speech, &channel, &claimant).await {
                    let ends = error.is_of_all();
                    failed.get_or_insert(error);
                    if ends {
                        break 'said;
                    }
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn channels(&self, speech: &Speech) -> Result<Vec<String>, SpeakError> {
        if let Credential::Webhook(_) = self.bearer.credential().await? {
            // It leads to one channel, whatever is named.
            return Ok(vec![WEBHOOK.to_owned()]);
        }
        if !speech.channels.is_empty() {
            return Ok(speech.channels.clone());
        }
        if self.channel == WEBHOOK {
            return Err(SpeakError::NoChannel);
        }
        Ok(vec![self.channel.to_owned()])
    }

    async fn say_in(
        &self,
        speech: &Speech,
        channel: &str,
        claimant: &str,
    ) -> Result<(), SpeakError> {
        if self.left() < ENOUGH {
            return Err(SpeakError::NoTime);
        }
        let thread = Outlet::Thread { record: &speech.record, channel };
        let claimed = self.ledger.claim_outlet(thread, &speech.edition, claimant, Timestamp::now());
        let shown = match claimed.await? {
            Claim::Granted(shown) => shown,
            Claim::Outdated => return Ok(()),
            Claim::Held => return Err(SpeakError::Held),
        };
        match self.show(speech, channel, shown).await {
            Ok(shown) => {
                let now = Timestamp::now();
                let (ledger, edition) = (self.ledger, &speech.edition);
                let kept = ledger.keep_outlet(thread, edition, claimant, Some(&shown), now);
                Ok(kept.await?)
            }
            Err(error) => {
                // Whether this works or not: the claim runs out.
                if let Err(left) = self.ledger.leave_outlet(thread, claimant).await {
                    tracing::warn!(target: "quell_slack", detail = text::one_line(&left.to_string()), "kept a claim");
                }
                Err(error)
            }
        }
    }

    async fn show(
        &self,
        speech: &Speech,
        channel: &str,
        shown: Option<Shown>,
    ) -> Result<Shown, SpeakError> {
        let mut has_waited = false;
        let mut has_renewed = false;
        loop {
            let credential = self.bearer.credential().await?;
            let error = match self.show_with(&credential, speech, channel, shown.as_ref()).await {
                Err(SpeakError::Slack(error)) => error,
                other => return other,
            };
            match error {
                SlackError::RateLimited { after, .. }
                    if !has_waited && after <= SHORT && self.left() > ENOUGH + after =>
                {
                    has_waited = true;
                    tokio::time::sleep(after).await;
                }
                // Once: what is in the secret now may be no better.
                error if !has_renewed && self.bearer.is_renewed(&credential, &error).await => {
                    has_renewed = true;
                }
                error => return Err(error.into()),
            }
        }
    }

    async fn show_with(
        &self,
        credential: &Credential,
        speech: &Speech,
        channel: &str,
        shown: Option<&Shown>,
    ) -> Result<Shown, SpeakError> {
        let token = match credential {
            Credential::Bot(token) => token,
            Credential::Webhook(webhook) => {
                let posting = speech.content.posting(false)?;
                let said = match self.slack.hook(webhook, &posting).await {
                    Err(error) if are_the_blocks(&error) => {
                        self.slack.hook(webhook, &plainly(&posting, &error)).await
                    }
                    said => said,
                };
                said?;
                return Ok(Shown { channel: channel.to_owned(), message: String::new() });
            }
        };
        let posting = speech.content.posting(self.has_buttons)?;
        if let Some(Shown { channel, message }) = shown.filter(|shown| !shown.message.is_empty()) {
            let there = Posted { channel: channel.clone(), ts: message.clone() };
            let updated = match self.slack.update(token, &there, &posting).await {
                Err(error) if are_the_blocks(&error) => {
                    self.slack.update(token, &there, &plainly(&posting, &error)).await
                }
                updated => updated,
            };
            match updated {
                Ok(()) => {
                    if let Some(reply) = speech.content.reply() {
                        self.slack.post(token, &there.channel, Some(&there.ts), &reply).await?;
                    }
                    return Ok(Shown { channel: there.channel, message: there.ts });
                }
                // Somebody deleted it, or it is too old to change: people are told all the same.
                Err(error) if error.is(&GONE) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let posted = match self.slack.post(token, channel, None, &posting).await {
            Err(error) if are_the_blocks(&error) => {
                self.slack.post(token, channel, None, &plainly(&posting, &error)).await
            }
            posted => posted,
        };
        let Posted { channel, ts } = posted?;
        Ok(Shown { channel, message: ts })
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// What Slack says of a message that cannot be changed any more.
const GONE: [&str; 4] =
    ["message_not_found", "cant_update_message", "edit_window_closed", "is_inactive"];

/// Whether Slack would take the text without its blocks.
fn are_the_blocks(error: &SlackError) -> bool {
    error.is(&["invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "invalid_payload"])
}

/// One line of text is better than nothing.
fn plainly(posting: &Posting, error: &SlackError) -> Posting {
    tracing::error!(target: "quell_slack", detail = text::one_line(&error.to_string()), "said without blocks");
    posting.text_only()
}

impl Speech {
    /// What an item has said: of a bulletin, in each channel what would have been said there.
    fn all_of(body: &str) -> Result<Vec<Self>, serde_json::Error> {
        // What belongs to no record is known again by what it says, and where.
        let other = |posting: Posting, channel: Option<&str>| Self {
            record: record_id(&["said", body, channel.unwrap_or_default()]),
            edition: Edition::new(Timestamp::UNIX_EPOCH, 0),
            channels: channel.map(str::to_owned).into_iter().collect(),
            content: Content::Other(posting),
        };
        Ok(match Told::parse(body)? {
            Told::Alarm(alarm) => vec![other(alarm.posting(), None)],
            Told::Notice(Notice::Bulletin(bulletin)) => {
                let named: BTreeSet<_> =
                    bulletin.lines.iter().flat_map(|line| &line.channels).collect();
                let said = |channel: &&String| {
                    let part = bulletin.only(|line| line.channels.contains(channel))?;
                    Some(other(bulletin::posting(&part), Some(channel)))
                };
                let rest = bulletin.only(|line| line.channels.is_empty());
                let rest = rest.map(|part| other(bulletin::posting(&part), None));
                named.iter().filter_map(said).chain(rest).collect()
            }
            Told::Notice(Notice::Remediation(message)) => {
                // An undo goes on where the fix was told.
                let record = message.undoes.as_ref().or(message.record.as_ref());
                vec![Self {
                    record: record.cloned().unwrap_or_else(|| record_id(&["said", body])),
                    edition: Edition::new(message.detected, message.revision),
                    channels: message.channels.clone(),
                    content: Content::Message(message),
                }]
            }
        })
    }
}
