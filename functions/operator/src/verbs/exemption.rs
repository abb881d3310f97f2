//! Exempt and revoke.

use jiff::SignedDuration;
use quell_engine::{
    Severity,
    ledger::{Exemption, Record},
};
use serde_json::json;

use super::find;
use crate::{
    answer::{Answer, Refusal},
    handler::Operator,
    request::Caller,
};

/// What is asked for.
pub(super) struct Wanted {
    pub(super) record: Option<String>,
    pub(super) control: Option<String>,
    pub(super) resource: Option<String>,
    pub(super) region: Option<String>,
    pub(super) reason: String,
    pub(super) days: i64,
    pub(super) owner: Option<String>,
}

/// Gives one resource, as it is now, leave to violate one control for a time.
pub(super) async fn add(
    operator: &Operator,
    caller: &Caller,
    wanted: Wanted,
) -> Result<Answer, Refusal> {
    let person = caller.known("exempt")?;
    if !(1..=366).contains(&wanted.days) {
        return Err(Refusal::bad("`days` must be a number from 1 to 90".to_owned()));
    }
    let about = about(operator, &wanted).await?;
    let meta = operator.domain.control(&about.control).ok_or_else(|| {
        let all: Vec<_> = operator.domain.known().iter().map(|meta| meta.id).collect();
        Refusal::bad(format!("there is no such control; there are {}", all.join(", ")))
    })?;
    let mut exemption = Exemption {
        control: meta.id.to_owned(),
        account: operator.account.clone(),
        region: about.region,
        arn: "arn:".to_owned(),
        resource: about.resource,
        unique_id: "not known yet".to_owned(),
        severity: meta.severity,
        reason: wanted.reason,
        owner: wanted.owner.unwrap_or_else(|| person.to_owned()),
        by: caller.arn.clone(),
        person: person.to_owned(),
        granted: operator.now,
        expires: operator.now + SignedDuration::from_hours(24 * wanted.days),
        undo_of: None,
        told_expiring: None,
        told_unused: None,
        used: false,
    };
    let refused = |error: quell_engine::ledger::ExemptionError| Refusal::bad(error.to_string());
    // First what can be said without asking anyone.
    exemption.validate().map_err(refused)?;
    if exemption.resource.contains(['*', '?']) {
        let name = exemption.resource;
        return Err(refused(quell_engine::ledger::ExemptionError::Glob(name)));
    }
    let found = operator
        .domain
        .identify(meta.id, &exemption.resource, &operator.account, &exemption.region)
        .await?;
    exemption.arn = found.arn;
    exemption.unique_id = found.unique_id;
    exemption.resource = found.resource;
    exemption.validate().map_err(refused)?;
    somebody_else(operator, caller, &exemption).await?;

    let replaced = operator.ledger.grant(&exemption).await?;
    let detail = format!(
        "{} may violate {} until {:.0}{}",
        exemption.resource,
        exemption.control,
        exemption.expires,
        replaced
            .as_ref()
            .map(|old| format!(". It replaces one by {} until {:.0}", old.person, old.expires))
            .unwrap_or_default()
    );
    let answer = Answer::done("exempt", wanted.record.as_deref(), detail);
    Ok(answer.with("exemption", json!(exemption)))
}

/// Takes exemptions back by control and resource, whether the resource still exists or not.
pub(super) async fn remove(
    operator: &Operator,
    caller: &Caller,
    control: &str,
    resource: &str,
    region: Option<&str>,
) -> Result<Answer, Refusal> {
    caller.known("take an exemption back")?;
    let listed = operator.ledger.exemptions().await?;
    let mut found = listed.into_iter().filter(|exemption| {
        exemption.control == control
            && (exemption.arn == resource || exemption.resource == resource)
            && region.is_none_or(|region| region == exemption.region)
    });
    let Some(exemption) = found.next() else {
        return Err(Refusal::absent(
            "there is no such exemption; `quell exempt list` shows them all".to_owned(),
        ));
    };
    if found.next().is_some() {
        return Err(Refusal::conflict(
            "there are several resources of this name; give `region`, or the ARN".to_owned(),
        ));
    }
    let Exemption { control, account, arn, resource, .. } = &exemption;
    let gone = operator.ledger.revoke(control, account, arn).await?;
    let detail = match gone {
        Some(_) => format!("{resource} is no longer exempt from {control}"),
        None => format!("somebody took back the exemption of {resource} from {control} already"),
    };
    Ok(Answer::done("revoke", None, detail).with("exemption", json!(exemption)))
}

/// What the exemption is about.
struct About {
    control: String,
    resource: String,
    region: String,
}

async fn about(operator: &Operator, wanted: &Wanted) -> Result<About, Refusal> {
    match wanted {
        Wanted { record: Some(id), control: None, resource: None, region: None, .. } => {
            let Record { intent, .. } = find(operator, id).await?;
            if intent.account != operator.account {
                return Err(Refusal::forbidden(format!(
                    "record {id} is of account {}",
                    intent.account
                )));
            }
            Ok(About { control: intent.control, resource: intent.resource, region: intent.region })
        }
        Wanted {
            record: None, control: Some(control), resource: Some(resource), region, ..
        } => Ok(About {
            control: control.clone(),
            resource: resource.clone(),
            region: region.clone().unwrap_or_else(|| operator.region.clone()),
        }),
        _ => Err(Refusal::bad(
            "exempt takes either `record`, or `control` and `resource` and perhaps `region`"
                .to_owned(),
        )),
    }
}

/// Whoever opened the resource last does not exempt it, nor does who may have. Where the control is critical, the event
/// must name who did.
async fn somebody_else(
    operator: &Operator,
    caller: &Caller,
    exemption: &Exemption,
) -> Result<(), Refusal> {
    // However many others came since: who opened it must not be able to bury it.
    let is_about_it = |record: &Record| {
        record.intent.undoes.is_none()
            && record.intent.arn == exemption.arn
            // A finding about it names nobody.
            && record.intent.actor.is_some()
    };
    let newest = operator.ledger.find(&exemption.control, &[], None, 1, is_about_it).await?;
    let Some(record) = newest.first() else { return Ok(()) };
    match record.intent.actor.as_ref().and_then(|actor| actor.arn.as_deref()) {
        Some(actor) => caller.other_than(actor, "exempt it").map(drop).map_err(|refusal| Refusal {
            detail: format!("{} (record {})", refusal.detail, record.id),
            ..refusal
        }),
        None if exemption.severity == Severity::Critical => Err(Refusal::forbidden(format!(
            "{} was opened by somebody whom the event does not name (record {}); nobody can exempt it as somebody else, which must be where it is critical",
            record.intent.resource, record.id
        ))),
        None => Ok(()),
    }
}
