//! Resume.

use quell_engine::ledger::{Status, Verb};
use serde_json::json;

use super::{find, give, not_halted, order, wake};
use crate::{
    answer::{Answer, Refusal},
    handler::Operator,
    request::Caller,
};

/// How many records one request resumes: so many orders are given and hints sent well within the function's time.
const AT_ONCE: usize = 100;

/// Has a record that is parked, or was left unfinished, taken up again, as far as the policy, the ceiling and
/// exemptions allow now. Budgets do not count what a person orders.
pub(super) async fn one(operator: &Operator, caller: &Caller, id: &str) -> Result<Answer, Refusal> {
    let person = caller.known("resume")?;
    let record = find(operator, id).await?;
    let can_be_resumed = match record.status {
        Status::Parked => true,
        Status::Partial | Status::Failed => record.intent.undoes.is_none(),
        _ => false,
    };
    if !can_be_resumed {
        return Err(Refusal::conflict(format!(
            "it is {}, neither parked nor unfinished: there is nothing to resume",
            record.status.name()
        )));
    }
    not_halted(operator).await?;
    let order = give(operator, order(operator, caller, id, Verb::Resume, None)).await?;
    let woken = wake(operator, &order, &record).await;
    let detail = format!(
        "resumed by {person}; {} is looked at again, and changed as far as the policy allows now{woken}",
        record.intent.resource
    );
    Ok(Answer::accepted("resume", id, detail))
}

/// The same for all that are parked, or those of one control.
pub(super) async fn all(
    operator: &Operator,
    caller: &Caller,
    control: Option<&str>,
) -> Result<Answer, Refusal> {
    let person = caller.known("resume")?;
    let known = operator.domain.known();
    if let Some(id) = control
        && operator.domain.control(id).is_none()
    {
        let all: Vec<_> = known.iter().map(|meta| meta.id).collect();
        return Err(Refusal::bad(format!(
            "there is no such control; there are {}",
            all.join(", ")
        )));
    }
    not_halted(operator).await?;
    let mut parked = Vec::new();
    for meta in known.iter().filter(|meta| control.is_none_or(|id| id == meta.id)) {
        // One more than is taken up tells that there are more.
        let room = AT_ONCE + 1 - parked.len();
        if room > 0 {
            let statuses = [Status::Parked];
            let found = operator.ledger.find(meta.id, &statuses, None, room, |_| true).await?;
            parked.extend(found);
        }
    }
    let has_more = parked.len() > AT_ONCE;
    parked.truncate(AT_ONCE);
    let mut resumed = Vec::new();
    let mut woken = String::new();
    for record in &parked {
        let order = order(operator, caller, &record.id, Verb::Resume, None);
        match give(operator, order).await {
            Ok(order) => {
                resumed.push(record.id.clone());
                // After one that did not wake the others would not either, each after many seconds: recovery finds them.
                if woken.is_empty() {
                    woken = wake(operator, &order, record).await;
                }
            }
            // Somebody else did.
            Err(refusal) if refusal.status == 409 => {}
            Err(refusal) => return Err(refusal.about(&record.id)),
        }
    }
    let detail = match (resumed.len(), has_more) {
        (0, _) => "nothing is parked that somebody has not resumed already".to_owned(),
        (count, false) => format!("{count} resumed by {person}{woken}"),
        (count, true) => {
            format!("{count} resumed by {person}; there are more, resume again{woken}")
        }
    };
    let answer = Answer { status: 202, state: "accepted", ..Answer::done("resume", None, detail) };
    Ok(answer.with("resumed", json!(resumed)).with("more", json!(has_more)))
}
