//! What people can order.

mod approval;
mod exemption;
mod halt;
mod resume;
mod undo;

use jiff::SignedDuration;
use quell_engine::{
    ledger::{self, Ordered, Record, Verb},
    text,
};
use serde_json::json;

use crate::{
    answer::{Answer, Refusal},
    handler::Operator,
    request::{Caller, Order},
};

/// Does what is ordered, as far as this person may.
pub(crate) async fn obey(
    operator: &Operator,
    caller: &Caller,
    order: Order,
) -> Result<Answer, Refusal> {
    match order {
        Order::Approve { record, plan } => {
            approval::approve(operator, caller, &record, &plan).await.map_err(about(&record))
        }
        Order::Deny { record, reason } => {
            approval::deny(operator, caller, &record, reason.as_deref())
                .await
                .map_err(about(&record))
        }
        Order::Undo { record } => {
            undo::undo(operator, caller, &record).await.map_err(about(&record))
        }
        Order::Resume { record: Some(record), all: false, control: None } => {
            resume::one(operator, caller, &record).await.map_err(about(&record))
        }
        Order::Resume { record: None, all: true, control } => {
            resume::all(operator, caller, control.as_deref()).await
        }
        Order::Resume { .. } => Err(Refusal::bad(
            "resume takes either `record`, or `all` and perhaps `control`".to_owned(),
        )),
        Order::Exempt { record, control, resource, region, reason, days, owner } => {
            let wanted =
                exemption::Wanted { record, control, resource, region, reason, days, owner };
            exemption::add(operator, caller, wanted).await
        }
        Order::Revoke { control, resource, region } => {
            exemption::remove(operator, caller, &control, &resource, region.as_deref()).await
        }
        Order::Ceilings {} => {
            let detail = "how far each function may go, as the template says".to_owned();
            Ok(Answer::done("ceilings", None, detail).with("ceilings", json!(operator.ceilings)))
        }
        Order::Halt { reason } => halt::halt(operator, caller, reason).await,
        Order::Continue { reason } => halt::continue_(operator, caller, reason).await,
    }
}

/// Names the record in a refusal, if it can be one's name.
fn about(record: &str) -> impl FnOnce(Refusal) -> Refusal + use<'_> {
    move |refusal| if is_id(record) { refusal.about(record) } else { refusal }
}

/// The record of this id.
pub(crate) async fn find(operator: &Operator, id: &str) -> Result<Record, Refusal> {
    if !is_id(id) {
        return Err(Refusal::bad(
            "`record` is not the id of a record: 20 hexadecimal digits in lower case".to_owned(),
        ));
    }
    let record = operator.ledger.read(id).await?;
    record.ok_or_else(|| {
        Refusal::absent(format!("there is no record {id}; `quell records` lists them"))
    })
}

fn is_id(id: &str) -> bool {
    id.len() == 20 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// While everything is halted, no order that leads to changes is taken.
async fn not_halted(operator: &Operator) -> Result<(), Refusal> {
    match operator.ledger.halted().await? {
        None => Ok(()),
        Some(halt) => Err(Refusal::conflict(format!(
            "{} halted everything at {:.0}: {}. `quell continue` ends the halt",
            halt.person.as_deref().unwrap_or(&halt.by),
            halt.at,
            halt.reason
        ))),
    }
}

/// How long an order counts that nobody has obeyed.
const STANDS_FOR: SignedDuration = SignedDuration::from_hours(24);

/// The order of this caller about a record.
fn order(
    operator: &Operator,
    caller: &Caller,
    record: &str,
    verb: Verb,
    plan: Option<&str>,
) -> ledger::Order {
    ledger::Order {
        record: record.to_owned(),
        verb,
        plan: plan.map(str::to_owned),
        by: caller.arn.clone(),
        person: caller.person.clone(),
        at: operator.now,
        expires: operator.now + STANDS_FOR,
    }
}

/// Gives the order, unless somebody else gave it before. Returns the one that stands.
async fn give(operator: &Operator, order: ledger::Order) -> Result<ledger::Order, Refusal> {
    match operator.ledger.order(&order).await? {
        Ordered::Given => Ok(order),
        // The same once more: whoever works on the record may not have heard of it.
        Ordered::Standing(first) if first.by == order.by && first.plan == order.plan => Ok(first),
        Ordered::Standing(first) => Err(Refusal::conflict(format!(
            "{} ordered to {} it already, at {:.0}",
            first.person.as_deref().unwrap_or(&first.by),
            first.verb,
            first.at
        ))),
    }
}

/// Wakes the function that works on the record. The order stands whether it wakes or not: what the person is to hear of
/// that is returned.
async fn wake(operator: &Operator, order: &ledger::Order, record: &Record) -> String {
    let Err(error) = operator.domain.hint(record).await else { return String::new() };
    tracing::error!(
        target: "quell_operator",
        record = record.id,
        detail = text::one_line(&error.to_string()),
        "not woken"
    );
    let when = match operator.ledger.put_off(order, Some(operator.now)).await {
        Ok(()) => "within five minutes",
        // It looks for what nobody heeded by itself, but not at once.
        Err(_) => "within ten minutes",
    };
    format!(
        ". The order stands, but the function that obeys it could not be woken ({error}); recovery tries again {when}"
    )
}
