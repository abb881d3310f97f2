//! What was left unfinished goes on, and what nobody answered is parked. Runs on a schedule.

use jiff::{SignedDuration, Timestamp};
use quell_engine::{
    CallError, Outcome,
    ledger::{Counts, Due, Exemption, LedgerError, Order, Record, Status, Verb},
    notify::{self, Message},
    text,
};
use serde_json::{Value, json};

use crate::handler::Operator;

/// What could not be seen to. The rest was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecoveryError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("{} could not be seen to, the first because of: {}", .0.len(), .0.first().map(String::as_str).unwrap_or_default())]
    Some(Vec<String>),
}

/// How many records are seen to in one run: the function has a minute. The longest due come first.
const AT_ONCE: usize = 200;

/// How long before its end people hear of an exemption.
const EXPIRING: SignedDuration = SignedDuration::from_hours(3 * 24);

/// After how long people hear of an exemption that nothing ever matched.
const UNUSED: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Sees to everything that is due. What fails is tried again with the next run.
pub(crate) async fn run(operator: &Operator) -> Result<Value, RecoveryError> {
    let (mut hinted, mut parked, mut told, mut failed) = (vec![], vec![], vec![], vec![]);
    for due in operator.ledger.due(operator.now, AT_ONCE).await? {
        let (id, done) = match due {
            Due::Record(record) => (record.id.clone(), see_to(operator, *record).await),
            Due::Order(order) => (order.record.clone(), have_heeded(operator, &order).await),
            Due::Counts(counts) => (
                format!("{} since {:.0}", counts.window.subject, counts.window.from),
                tell_counts(operator, &counts).await,
            ),
        };
        match done {
            Ok(Done::Hinted) => hinted.push(id),
            Ok(Done::Parked) => parked.push(id),
            Ok(Done::Told) => told.push(id),
            Ok(Done::Overtaken | Done::Heeded) => {}
            Err(error) => failed.push(format!("{id}: {error}")),
        }
    }
    for exemption in operator.ledger.exemptions().await? {
        let arn = exemption.arn.clone();
        match remind(operator, exemption).await {
            Ok(true) => told.push(arn),
            Ok(false) => {}
            Err(error) => failed.push(format!("{arn}: {error}")),
        }
    }
    tracing::info!(
        target: "quell_operator",
        hinted = hinted.len(),
        parked = parked.len(),
        reminded = told.len(),
        failed = failed.len(),
        "recovered"
    );
    for failure in &failed {
        tracing::error!(target: "quell_operator", detail = text::one_line(failure), "not recovered");
    }
    if failed.is_empty() {
        Ok(json!({"hinted": hinted, "parked": parked, "reminded": told}))
    } else {
        Err(RecoveryError::Some(failed))
    }
}

enum Done {
    Hinted,
    Parked,
    Told,
    /// Somebody else was at it a moment ago.
    Overtaken,
    /// What was ordered is done, or cannot be done any more.
    Heeded,
}

async fn see_to(operator: &Operator, mut record: Record) -> Result<Done, CallError> {
    let is_unanswered = record.status == Status::Pending
        && record.intent.expires.is_some_and(|expires| expires <= operator.now)
        && !is_approved(operator, &record).await?;
    if is_unanswered {
        let reason =
            format!("nobody approved it in time; `quell resume {}` has it planned anew", record.id);
        let told = record.result.told;
        let by = &operator.request_id;
        match operator.ledger.settle(record, Status::Parked, Some(reason), told, by).await {
            Ok(parked) => record = parked,
            Err(LedgerError::Overtaken { .. }) => return Ok(Done::Overtaken),
            Err(error) => return Err(error.into()),
        }
    }
    if record.status != Status::Parked {
        operator.domain.hint(&record).await?;
        return Ok(Done::Hinted);
    }
    if record.result.told != Some(Status::Parked)
        && let Some(meta) = operator.domain.control(&record.intent.control)
    {
        operator.topic.tell(meta, &record).await?;
        let (reason, told) = (record.result.reason.clone(), Some(Status::Parked));
        let by = format!("{} told", operator.request_id);
        operator.ledger.settle(record, Status::Parked, reason, told, &by).await?;
    }
    Ok(Done::Parked)
}

/// Tells what was counted instead of told. Whoever takes the counts tells them; another run does if that fails.
async fn tell_counts(operator: &Operator, counts: &Counts) -> Result<Done, CallError> {
    let Some(counts) = operator.ledger.take_counts(counts, operator.now).await? else {
        return Ok(Done::Overtaken);
    };
    let is_told = operator.topic.tell_counts(&counts).await?;
    operator.ledger.forget_counts(&counts).await?;
    Ok(if is_told { Done::Told } else { Done::Heeded })
}

/// Has an order heeded of which the word may have been lost. Again and again while it stands, but ever less often: what
/// keeps it from being heeded may be a kill switch, or a resource that was changed since.
async fn have_heeded(operator: &Operator, order: &Order) -> Result<Done, CallError> {
    let record = operator.ledger.read(&order.record).await?;
    let waiting =
        record.filter(|record| operator.now < order.expires && waits_for(record, order.verb));
    let Some(record) = waiting else {
        operator.ledger.put_off(order, None).await?;
        return Ok(Done::Heeded);
    };
    operator.domain.hint(&record).await?;
    let again = operator.now.checked_add(operator.now.duration_since(order.at));
    operator.ledger.put_off(order, again.ok()).await?;
    Ok(Done::Hinted)
}

fn waits_for(record: &Record, verb: Verb) -> bool {
    match verb {
        Verb::Approve => record.status == Status::Pending,
        Verb::Resume => record.status == Status::Parked,
        Verb::Undo => matches!(record.status, Status::Fixed | Status::Partial),
        // It is settled by who takes it.
        Verb::Deny => false,
    }
}

/// Whether a person said yes in time, and only nobody heard of it.
async fn is_approved(operator: &Operator, record: &Record) -> Result<bool, LedgerError> {
    let order = operator.ledger.ordered(&record.id, Verb::Approve).await?;
    Ok(order.is_some_and(|order| {
        order.stands(Verb::Approve, &record.id, order.plan.as_deref(), operator.now)
    }))
}

/// Tells people of an exemption that is about to end, or that nothing ever matched. Once each.
async fn remind(operator: &Operator, exemption: Exemption) -> Result<bool, CallError> {
    let mut told = exemption.clone();
    let reason = if is_expiring(&exemption, operator.now) {
        told.told_expiring = Some(operator.now);
        format!(
            "the exemption that {} gave ({}) ends at {:.0}; from then on Quell treats the resource as any other. `quell exempt add` gives another",
            exemption.person, exemption.reason, exemption.expires
        )
    } else if is_long_unseen(&exemption, operator.now) {
        if was_used(operator, &exemption).await? {
            told.used = true;
            operator.ledger.note(&exemption, &told).await?;
            return Ok(false);
        }
        told.told_unused = Some(operator.now);
        format!(
            "nothing matched the exemption that {} gave at {:.0} ({}). `quell exempt remove --control {} --resource {}` takes it back",
            exemption.person,
            exemption.granted,
            exemption.reason,
            exemption.control,
            exemption.resource
        )
    } else {
        return Ok(false);
    };
    let Some(meta) = operator.domain.control(&exemption.control) else { return Ok(false) };
    if !operator.ledger.note(&exemption, &told).await? {
        return Ok(false);
    }
    let said = operator.topic.say(&message(operator, meta, &exemption, reason).into()).await;
    if said.is_err() {
        // Nobody heard it: the next run says it again.
        operator.ledger.note(&told, &exemption).await?;
    }
    said.map(|()| true)
}

/// In its last days, or in the last quarter of one that is short.
fn is_expiring(exemption: &Exemption, now: Timestamp) -> bool {
    let lasts = exemption.expires.duration_since(exemption.granted);
    let left = exemption.expires.duration_since(now);
    exemption.told_expiring.is_none() && left.is_positive() && left <= EXPIRING.min(lasts / 4)
}

fn is_long_unseen(exemption: &Exemption, now: Timestamp) -> bool {
    // Of one that ends soon people heard already.
    exemption.told_unused.is_none()
        && !exemption.used
        && exemption.told_expiring.is_none()
        && now < exemption.expires
        && now.duration_since(exemption.granted) >= UNUSED
}

async fn was_used(operator: &Operator, exemption: &Exemption) -> Result<bool, LedgerError> {
    let (control, since) = (&exemption.control, Some(exemption.granted));
    let is_about_it = |record: &Record| record.intent.arn == exemption.arn;
    let used = operator.ledger.find(control, &[Status::Exempt], since, 1, is_about_it).await?;
    Ok(!used.is_empty())
}

fn message(
    operator: &Operator,
    meta: &'static quell_engine::Meta,
    exemption: &Exemption,
    reason: String,
) -> Message {
    Message {
        version: notify::VERSION,
        control: notify::Control::from(meta),
        outcome: Outcome::Exempt,
        mode: "exempt".to_owned(),
        resource: notify::Resource {
            name: exemption.resource.clone(),
            arn: exemption.arn.clone(),
            console: String::new(),
        },
        account: exemption.account.clone(),
        region: exemption.region.clone(),
        event: notify::Event { id: String::new(), time: None, finding: None },
        actor: None,
        detected: operator.now,
        since: None,
        changes: Vec::new(),
        applied: false,
        verified: None,
        fixed_at: None,
        record: exemption.undo_of.clone(),
        revision: 0,
        plan_hash: None,
        undoes: None,
        order: None,
        approve: None,
        deny: None,
        expires: None,
        resume: None,
        undo: None,
        exempt: None,
        notes: vec![format!("{} answers for the resource.", exemption.owner)],
        cause: None,
        reason: Some(reason),
        left_out: 0,
        channels: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;
    use quell_engine::Severity;

    use super::*;

    #[test]
    fn people_hear_of_an_end_three_days_before_or_in_the_last_quarter() {
        let long = exemption(30);
        assert!(!is_expiring(&long, long.expires - 73.hours()));
        assert!(is_expiring(&long, long.expires - 72.hours()));
        assert!(!is_expiring(&long, long.expires), "it is too late then");
        let short = exemption(1);
        assert!(!is_expiring(&short, short.granted + 17.hours()));
        assert!(is_expiring(&short, short.granted + 18.hours()));
        let told = Exemption { told_expiring: Some(long.granted), ..long.clone() };
        assert!(!is_expiring(&told, long.expires - 1.hour()), "once is enough");
    }

    #[test]
    fn an_exemption_is_given_two_weeks_to_be_of_use() {
        let long = exemption(30);
        assert!(!is_long_unseen(&long, long.granted + (13 * 24).hours()));
        assert!(is_long_unseen(&long, long.granted + (14 * 24).hours()));
        let told = Exemption { told_unused: Some(long.granted), ..long.clone() };
        assert!(!is_long_unseen(&told, long.granted + (15 * 24).hours()));
        let used = Exemption { used: true, ..long.clone() };
        assert!(!is_long_unseen(&used, long.granted + (15 * 24).hours()), "nobody asks again");
    }

    fn exemption(days: i64) -> Exemption {
        let granted: Timestamp = "2026-03-01T02:03:04Z".parse().unwrap();
        Exemption {
            control: "s3-public-acl".into(),
            account: "123456789012".into(),
            region: "eu-west-1".into(),
            arn: "arn:aws:s3:::photos".into(),
            resource: "photos".into(),
            unique_id: "2024-01-02".into(),
            severity: Severity::High,
            reason: "public on purpose".into(),
            owner: "press".into(),
            by: "arn:aws:iam::123456789012:user/alice".into(),
            person: "alice".into(),
            granted,
            expires: granted + SignedDuration::from_hours(24 * days),
            undo_of: None,
            told_expiring: None,
            told_unused: None,
            used: false,
        }
    }
}
