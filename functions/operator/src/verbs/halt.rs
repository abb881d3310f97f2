//! Halt and continue.

use quell_engine::{ledger::Halt, text};
use serde_json::json;

use crate::{
    answer::{Answer, Refusal},
    handler::Operator,
    request::Caller,
};

/// Stops everything. To stop is safe: whoever may sign a request may halt.
pub(super) async fn halt(
    operator: &Operator,
    caller: &Caller,
    reason: String,
) -> Result<Answer, Refusal> {
    let halt = turn(operator, caller, &reason);
    let standing = operator.ledger.halt(&halt).await?;
    let who = standing.person.as_deref().unwrap_or(&standing.by);
    let detail = if standing == halt {
        format!("halted by {who}: nothing is changed until `quell continue`")
    } else {
        format!("{who} halted everything already, at {:.0}: {}", standing.at, standing.reason)
    };
    Ok(Answer::done("halt", None, detail).with("halt", json!(standing)))
}

/// Lets everything go on.
pub(super) async fn continue_(
    operator: &Operator,
    caller: &Caller,
    reason: Option<String>,
) -> Result<Answer, Refusal> {
    let person = caller.known("continue")?;
    let by = turn(operator, caller, reason.as_deref().unwrap_or_default());
    let detail = match operator.ledger.continue_(&by).await? {
        Some(halt) => format!(
            "continued by {person}; it had been halted by {} at {:.0}",
            halt.person.as_deref().unwrap_or(&halt.by),
            halt.at
        ),
        None => "nothing was halted".to_owned(),
    };
    Ok(Answer::done("continue", None, detail))
}

fn turn(operator: &Operator, caller: &Caller, reason: &str) -> Halt {
    let reason = text::one_line(reason);
    Halt {
        by: caller.arn.clone(),
        person: caller.person.clone(),
        at: operator.now,
        reason: if reason.trim().is_empty() { "no reason given".to_owned() } else { reason },
    }
}
