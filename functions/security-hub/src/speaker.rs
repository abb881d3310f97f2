//! Tells Security Hub of messages, and of records whose messages a bulletin counted.
//!
//! Each finding is claimed in the ledger before Security Hub is called, and noted after it: a message that is late, or
//! delivered again, does not overwrite a newer one.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use jiff::{SignedDuration, Timestamp};
use quell_controls::REGISTRY;
use quell_engine::{
    Finding, Meta,
    ledger::{Claim, Edition, Ledger, Mark, Outlet, Record},
    log,
    notify::{Bulletin, Message, topic},
    queue::Delivery,
    signal::own_product,
    text,
};

use crate::{
    asff::{self, Place},
    hub::{Hub, Undone, is_late},
    update::Update,
};

pub(crate) struct Speaker<'a> {
    pub(crate) hub: &'a Hub,
    pub(crate) ledger: &'a Ledger,
    pub(crate) place: Place<'a>,
    /// Whether findings of Quell's own are imported.
    pub(crate) imports: bool,
    /// Of this invocation: SQS may deliver one message to two at once.
    pub(crate) request_id: &'a str,
    /// When Lambda ends the process.
    pub(crate) deadline: Instant,
}

/// A message that Security Hub is to hear.
pub(crate) struct Told {
    message: Message,
    /// When it was told.
    sent: Timestamp,
    edition: Edition,
    /// What the queue calls it.
    delivery: String,
}

/// It is about a resource elsewhere.
#[derive(Debug, thiserror::Error)]
#[error("it is about account {0}, and this function tells the Security Hub of {1}")]
pub(crate) struct Foreign(String, String);

/// A record may be created so long before its message is counted: its evaluation may have died, and recovery, or the
/// next delivery, finished it.
const UNFINISHED: SignedDuration = SignedDuration::from_hours(1);

impl Told {
    pub(crate) fn new(
        message: Message,
        place: Place<'_>,
        delivery: &Delivery,
    ) -> Result<Self, Foreign> {
        if message.account != place.account {
            return Err(Foreign(message.account, place.account.to_owned()));
        }
        // Without the queue's time: that of the message, which is the same in every delivery too.
        let sent = delivery.sent().unwrap_or(message.detected);
        Ok(Self {
            edition: Edition::new(message.since.unwrap_or(sent), message.revision),
            message,
            sent,
            delivery: delivery.message_id.clone(),
        })
    }

    /// Logs how it ended. What the queue calls it, if it has to come again.
    fn end(&self, step: &'static str, undone: Option<Undone>) -> Option<String> {
        let message = &self.message;
        let Some(why) = undone else {
            let about = log::About {
                control: &message.control.id,
                resource: &message.resource.name,
                account: &message.account,
                region: &message.region,
                event_id: &message.event.id,
            };
            about.step(step, message.outcome.as_str());
            return None;
        };
        tracing::error!(
            target: "quell",
            control = text::one_line(&message.control.id),
            resource = text::one_line(&message.resource.name),
            record = text::one_line(message.record.as_deref().unwrap_or_default()),
            detail = text::one_line(&why.to_string()),
            "not {step}"
        );
        Some(self.delivery.clone())
    }
}

/// What is said of findings.
type Said<'a, T> = BTreeMap<Finding, (&'a Told, T)>;

const UPDATED: &str = "finding updated";
const IMPORTED: &str = "finding imported";

impl Speaker<'_> {
    /// Tells of these, and returns what the queue calls those that have to come again.
    pub(crate) async fn tell(&self, told: &[Told]) -> BTreeSet<String> {
        let mut failed = self.update(told).await;
        if self.imports {
            failed.extend(self.import(told).await);
        }
        failed
    }

    /// Tells of everything that the bulletin counts, as its message would have. `false`: some of it could not be told.
    ///
    /// All controls are asked for: a bulletin that is too long leaves lines out.
    pub(crate) async fn tell_counted(&self, bulletin: &Bulletin, delivery: &Delivery) -> bool {
        let since = bulletin.from.checked_sub(UNFINISHED).unwrap_or(bulletin.from);
        let mut is_done = true;
        for meta in REGISTRY {
            let mut from = None;
            loop {
                let page = self.page(meta, since, bulletin.until, from, delivery).await;
                match page {
                    Ok((all, next)) => {
                        is_done &= all;
                        from = next;
                    }
                    Err(why) => {
                        tracing::error!(
                            target: "quell",
                            control = meta.id,
                            detail = text::one_line(&why.to_string()),
                            "not told what a bulletin counts"
                        );
                        is_done = false;
                        from = None;
                    }
                }
                if from.is_none() {
                    break;
                }
            }
        }
        is_done
    }

    /// Tells of one page of a control's records. Whether all of it is done, and where the next begins.
    async fn page(
        &self,
        meta: &Meta,
        since: Timestamp,
        until: Timestamp,
        from: Option<Mark>,
        delivery: &Delivery,
    ) -> Result<(bool, Option<Mark>), Undone> {
        if is_late(self.deadline) {
            return Err(Undone::Late("dynamodb:Query"));
        }
        let page = self.ledger.page(meta.id, &(since..=until), from).await?;
        let mut is_done = page.unread == 0;
        let mut told = Vec::new();
        for record in page.records.iter().filter(|record| self.is_wanted(record)) {
            match Told::new(topic::message(meta, record), self.place, delivery) {
                Ok(one) => told.push(one),
                Err(foreign) => {
                    let why = text::one_line(&foreign.to_string());
                    tracing::error!(target: "quell", record = record.id, detail = why, "unfit for Security Hub");
                    is_done = false;
                }
            }
        }
        is_done &= self.tell(&told).await.is_empty();
        Ok((is_done, page.next))
    }

    /// Whether people heard where the record stands, by itself or in a bulletin, and Security Hub should too.
    fn is_wanted(&self, record: &Record) -> bool {
        record.result.told == Some(record.status)
            && (self.imports || record.intent.finding.is_some())
    }

    async fn update(&self, told: &[Told]) -> BTreeSet<String> {
        let said = told.iter().filter_map(|one| {
            Some((one.message.event.finding.clone()?, one, Update::of(&one.message)?))
        });
        let (granted, failed) = self.claimed(newest(said), UPDATED).await;
        let updates = granted.iter().map(|(name, (_, update))| (name.clone(), update.clone()));
        let mut undone = self.hub.update(&updates.collect(), self.deadline).await;
        self.end(UPDATED, granted, |finding| undone.remove(finding), failed).await
    }

    /// What Security Hub told Quell of is there already.
    async fn import(&self, told: &[Told]) -> BTreeSet<String> {
        let product_arn = own_product(self.place.account, self.place.region);
        let own = told.iter().filter(|one| one.message.event.finding.is_none());
        let said = own.filter_map(|one| {
            let finding = asff::finding(&one.message, self.place, one.sent)?;
            let id = finding.id().unwrap_or_default().to_owned();
            Some((Finding { id, product_arn: product_arn.clone() }, one, finding))
        });
        let (granted, failed) = self.claimed(newest(said), IMPORTED).await;
        let findings = granted.values().map(|(_, finding)| finding.clone());
        let mut undone = self.hub.import(findings.collect(), self.deadline).await;
        self.end(IMPORTED, granted, |finding| undone.remove(&finding.id), failed).await
    }

    /// What is no news is left out. What cannot be claimed has to come again.
    async fn claimed<'a, T>(
        &self,
        said: Said<'a, T>,
        step: &'static str,
    ) -> (Said<'a, T>, BTreeSet<String>) {
        let mut granted = BTreeMap::new();
        let mut failed = BTreeSet::new();
        for (finding, (one, what)) in said {
            let claim = if is_late(self.deadline) {
                Err(Undone::Late("dynamodb:UpdateItem"))
            } else {
                let (outlet, now) = (Outlet::Finding(&finding), Timestamp::now());
                let claim = self.ledger.claim_outlet(outlet, &one.edition, self.request_id, now);
                claim.await.map_err(Undone::from)
            };
            match claim {
                Ok(Claim::Granted(_)) => {
                    granted.insert(finding, (one, what));
                }
                Ok(Claim::Outdated) => {}
                Ok(Claim::Held) => failed.extend(one.end(step, Some(Undone::Held))),
                Err(why) => failed.extend(one.end(step, Some(why))),
            }
        }
        (granted, failed)
    }

    /// Notes what was done, and gives back what was not.
    async fn end<T>(
        &self,
        step: &'static str,
        granted: Said<'_, T>,
        mut undone: impl FnMut(&Finding) -> Option<Undone>,
        mut failed: BTreeSet<String>,
    ) -> BTreeSet<String> {
        for (finding, (one, _)) in granted {
            let outlet = Outlet::Finding(&finding);
            let why = match undone(&finding) {
                None => {
                    let (edition, now) = (&one.edition, Timestamp::now());
                    let kept = self.ledger.keep_outlet(outlet, edition, self.request_id, None, now);
                    kept.await.err().map(Undone::from)
                }
                Some(why) => {
                    // Whether this works or not: the claim runs out.
                    if let Err(left) = self.ledger.leave_outlet(outlet, self.request_id).await {
                        let detail = text::one_line(&left.to_string());
                        tracing::warn!(target: "quell", detail, "kept a claim");
                    }
                    Some(why)
                }
            };
            failed.extend(one.end(step, why));
        }
        failed
    }
}

/// Of each finding what is newest: what an older message said is over.
fn newest<'a, T>(said: impl Iterator<Item = (Finding, &'a Told, T)>) -> Said<'a, T> {
    let mut newest: Said<'a, T> = BTreeMap::new();
    for (finding, one, what) in said {
        let is_newer = newest.get(&finding).is_none_or(|(known, _)| one.edition >= known.edition);
        if is_newer {
            newest.insert(finding, (one, what));
        }
    }
    newest
}
