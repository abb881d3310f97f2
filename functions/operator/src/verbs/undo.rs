//! Undo.

use jiff::SignedDuration;
use quell_engine::{
    Outcome, Severity,
    ledger::{Exemption, Status, Subject, Verb},
};

use serde_json::json;

use super::{find, not_halted, order, wake};
use crate::{
    answer::{Answer, Refusal},
    handler::Operator,
    request::Caller,
};

/// How long the resource may stay as the undo leaves it, until it is looked at again as any other.
const EXEMPT_FOR: SignedDuration = SignedDuration::from_hours(24);

/// Has taken back what a record did, and lets the resource be so for a while: else the next event would redo it.
pub(super) async fn undo(
    operator: &Operator,
    caller: &Caller,
    id: &str,
) -> Result<Answer, Refusal> {
    let record = find(operator, id).await?;
    let intent = &record.intent;
    match record.status {
        // One that an undo failed of is still being undone: it may be ordered once more.
        Status::Fixed | Status::Partial | Status::Undoing if intent.undoes.is_none() => {}
        Status::Fixed | Status::Partial | Status::Undone if intent.undoes.is_some() => {
            return Err(Refusal::conflict("it is itself an undo, which is not undone".to_owned()));
        }
        Status::Undone => {
            return Ok(Answer::done("undo", Some(id), "it is undone already".to_owned()));
        }
        other => {
            return Err(Refusal::conflict(format!(
                "it is {}: there is nothing to undo",
                other.name()
            )));
        }
    }
    // Else an undo would be the exemption that whoever did it may not give.
    match intent.actor.as_ref().and_then(|actor| actor.arn.as_deref()) {
        Some(actor) => caller.other_than(actor, "undo the fix")?,
        None if intent.severity == Severity::Critical => {
            return Err(Refusal::forbidden(
                "the event does not say who made the change, so nobody can undo the fix as somebody else, which must be where it is critical; put the resource right by hand".to_owned(),
            ));
        }
        None => caller.known("undo the fix")?,
    };
    not_halted(operator).await?;
    let found = operator
        .domain
        .identify(&intent.control, &intent.resource, &intent.account, &intent.region)
        .await?;
    if found.arn != intent.arn {
        return Err(Refusal::conflict(format!("{} is gone", intent.resource)));
    }

    let order = order(operator, caller, id, Verb::Undo, None);
    let given = Exemption {
        control: intent.control.clone(),
        account: intent.account.clone(),
        region: intent.region.clone(),
        arn: found.arn,
        resource: intent.resource.clone(),
        unique_id: found.unique_id,
        severity: intent.severity,
        reason: format!("record {id} was undone"),
        owner: caller.name().to_owned(),
        by: caller.arn.clone(),
        person: caller.name().to_owned(),
        granted: operator.now,
        expires: operator.now + EXEMPT_FOR,
        undo_of: Some(id.to_owned()),
        told_expiring: None,
        told_unused: None,
        used: false,
    };
    given.validate().map_err(|error| Refusal::conflict(error.to_string()))?;
    let there = operator.ledger.exemption(&given.control, &given.account, &given.arn).await?;
    let subject = Subject {
        control: &given.control,
        account: &given.account,
        arn: &given.arn,
        unique_id: &given.unique_id,
    };
    // A longer one that somebody gave before is not cut short.
    let is_kept = there.as_ref().is_some_and(|there| {
        there.expires > given.expires && there.admits(subject, operator.now, None).is_ok()
    });
    let exemption = if is_kept { there.clone().unwrap_or(given) } else { given };
    if !operator.ledger.order_undo(&order, &exemption, there.as_ref()).await? {
        return Err(Refusal::conflict(format!(
            "somebody changed the exemption of {} at the same time; order the undo again",
            intent.resource
        )));
    }
    let until = exemption.expires;
    let resource = &intent.resource;
    let report = match operator.domain.hint_and_wait(&record).await {
        Ok(report) => report,
        Err(error) => {
            // Whether it was begun or not: the function is told once more, and Lambda keeps at it.
            let woken = wake(operator, &order, &record).await;
            let detail =
                format!("{resource} is not undone yet, and it is tried again: {error}{woken}");
            return Ok(Answer::accepted("undo", id, detail));
        }
    };
    let reason = report.reason.clone().unwrap_or_default();
    match report.outcome {
        Outcome::Duplicate if find(operator, id).await?.status != Status::Undone => {
            let detail = format!("{resource} is being undone because of an earlier order");
            Ok(Answer::accepted("undo", id, detail).with("report", json!(report)))
        }
        Outcome::Undone | Outcome::Duplicate => {
            let detail =
                format!("{resource} is as it was before; until {until:.0} Quell lets it be");
            Ok(Answer::done("undo", Some(id), detail).with("report", json!(report)))
        }
        Outcome::Refused | Outcome::Gone | Outcome::Ignored => {
            // Nothing was undone: nothing is left to be let be.
            operator.ledger.withdraw_undo(&order, &exemption, there.as_ref()).await?;
            Err(Refusal::conflict(reason))
        }
        other => {
            let detail = format!("{resource}: {other}; {reason}");
            Ok(Answer::accepted("undo", id, detail).with("report", json!(report)))
        }
    }
}
