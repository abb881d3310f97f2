//! Events of AWS Health about the account.

use serde_json::Value;

use super::{
    Reason, Signal, Trigger,
    event::{Envelope, Stop, account, key},
};

pub(super) fn hear(event: &Envelope<'_>) -> Result<Signal, Stop> {
    let detail = event.detail()?;
    let code = detail.required_text("eventTypeCode")?;
    if detail.text("statusCode")?.is_some_and(|status| status.eq_ignore_ascii_case("closed")) {
        return Err(Reason::HealthClosed.into());
    }
    let owner = event.admit_finding(account(&detail, "affectedAccount")?)?;
    let entities = detail
        .list("affectedEntities")?
        .iter()
        .filter_map(|entity| entity.get("entityValue").and_then(Value::as_str))
        .map(str::to_owned)
        .collect();
    // The same communication is sent in the region and in a backup region, page by page.
    let key = match detail.text("communicationId")? {
        Some(id) => key(&[id, detail.hint("page").unwrap_or("1")]),
        None => key(&[event.id()?]),
    };
    let trigger = Trigger::Health { code: code.to_owned(), entities };
    Ok(event.signal(trigger, owner, event.region()?, key)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::signal::{
        Refusal,
        samples::{ACCOUNT, health, reason, refusal_for, signal},
    };

    #[test]
    fn an_open_event_names_what_it_is_about() {
        let mut event = health();
        let heard = signal(&event);
        assert_eq!(
            heard.trigger,
            Trigger::Health {
                code: "AWS_RISK_CREDENTIALS_EXPOSED".into(),
                entities: vec!["AKIAQUELLSAMPLE00001".into()],
            }
        );
        assert_eq!(heard.deduplication, "c0ffee-1#2");
        event["region"] = json!("global");
        assert_eq!(signal(&event).region, "us-east-1");
        event["detail"]["communicationId"] = Value::Null;
        assert_eq!(signal(&event).deduplication, "8f2d0b1c-0000-4000-8000-000000000001");
    }

    #[test]
    fn a_closed_event_is_ignored() {
        let mut event = health();
        event["detail"]["statusCode"] = json!("closed");
        assert_eq!(reason(&event), Reason::HealthClosed);
    }

    #[test]
    fn an_event_about_another_account_of_the_organisation_is_refused() {
        let mut event = health();
        event["detail"]["affectedAccount"] = json!("210987654321");
        assert_eq!(refusal_for(&event, ACCOUNT), Refusal::ForeignAccount);
    }
}
