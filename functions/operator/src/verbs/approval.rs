//! Approve and deny.

use quell_engine::{
    CallError,
    ledger::{Record, Status, Verb},
};

use super::{find, give, not_halted, order, wake};
use crate::{
    answer::{Answer, Refusal},
    handler::Operator,
    request::Caller,
};

/// Lets the plan be applied that waits for a person. The state is read again before it is.
pub(super) async fn approve(
    operator: &Operator,
    caller: &Caller,
    id: &str,
    plan: &str,
) -> Result<Answer, Refusal> {
    caller.known("approve")?;
    let record = waiting(operator, id).await?;
    let actor = record.intent.actor.as_ref().and_then(|actor| actor.arn.as_deref());
    let Some(actor) = actor else {
        return Err(Refusal::forbidden(
            "the event does not say who made the change, so nobody can approve it as somebody else; put the resource right by hand, or deny it".to_owned(),
        ));
    };
    let person = caller.other_than(actor, "approve it")?;
    if plan != record.intent.plan_hash {
        return Err(Refusal::conflict(format!(
            "`{}` is not the hash of this record's plan; look at it with `quell show {id}`, and approve what it shows",
            quell_engine::text::plain(plan)
        )));
    }
    if let Some(expires) = record.intent.expires
        && operator.now >= expires
    {
        return Err(Refusal::conflict(format!(
            "nobody approved it until {expires:.0}; `quell resume {id}` has it planned anew"
        )));
    }
    not_halted(operator).await?;
    let order = give(operator, order(operator, caller, id, Verb::Approve, Some(plan))).await?;
    let woken = wake(operator, &order, &record).await;
    let detail = format!(
        "approved by {person}; {} is read again, and changed only if it is as it was planned{woken}",
        record.intent.resource
    );
    Ok(Answer::accepted("approve", id, detail))
}

/// Ends a record that waits for a person. Nothing is changed.
pub(super) async fn deny(
    operator: &Operator,
    caller: &Caller,
    id: &str,
    reason: Option<&str>,
) -> Result<Answer, Refusal> {
    let person = caller.known("deny")?;
    let record = waiting(operator, id).await?;
    let actor = record.intent.actor.as_ref().and_then(|actor| actor.arn.as_deref());
    let did_it = actor.and_then(|actor| caller.policy.person(actor)).map(|did| did.name.as_str());
    if actor == Some(caller.arn.as_str()) || did_it == Some(person) {
        return Err(Refusal::forbidden(format!(
            "{person} made the change; somebody else must say whether it stays"
        )));
    }
    let because = reason.map(quell_engine::text::one_line).filter(|reason| !reason.is_empty());
    let detail = match because {
        Some(reason) => format!("denied by {person}: {reason}"),
        None => format!("denied by {person}"),
    };
    let (why, told) = (Some(detail.clone()), record.result.told);
    let by = &operator.request_id;
    let denied = operator.ledger.settle(record, Status::Denied, why, told, by).await?;
    let heard = tell(operator, denied).await;
    Ok(Answer::done(
        "deny",
        Some(id),
        match heard {
            Ok(()) => detail,
            Err(error) => format!("{detail}; the others could not be told: {error}"),
        },
    ))
}

/// Who was asked to approve hears that nobody needs to any more.
async fn tell(operator: &Operator, denied: Record) -> Result<(), CallError> {
    let Some(meta) = operator.domain.control(&denied.intent.control) else { return Ok(()) };
    operator.topic.tell(meta, &denied).await?;
    let (why, told) = (denied.result.reason.clone(), Some(Status::Denied));
    let by = format!("{} told", operator.request_id);
    operator.ledger.settle(denied, Status::Denied, why, told, &by).await?;
    Ok(())
}

/// The record, if it waits for a person.
async fn waiting(operator: &Operator, id: &str) -> Result<Record, Refusal> {
    let record = find(operator, id).await?;
    if record.status == Status::Pending {
        return Ok(record);
    }
    Err(Refusal::conflict(match record.status {
        Status::Parked => {
            format!("it is parked; `quell resume {id}` has it planned anew")
        }
        other => format!("it is {} and does not wait for a person", other.name()),
    }))
}
