//! The operator says that something is worth a look, with no more authority than any other event: what people ordered
//! is read from the ledger.
//!
//! ```json
//! {"source": "quell.operator", "id": "1", "detail": {"record": "0123456789abcdef0123", "account": "123456789012", "region": "eu-west-1"}}
//! {"source": "quell.operator", "id": "2", "detail": {"identify": {"control": "s3-public-acl", "resource": "my-bucket"}, "account": "123456789012", "region": "eu-west-1"}}
//! ```

use super::{
    EventError, Signal, Trigger,
    event::{Envelope, Stop, account, event_id, key, region},
};

pub(super) const SOURCE: &str = "quell.operator";

/// An ARN may have as many characters.
const MAX_RESOURCE: usize = 2048;

pub(super) fn hear(event: &Envelope<'_>) -> Result<Signal, Stop> {
    let detail = event.detail()?;
    let owner = account(&detail, "account")?.ok_or_else(|| detail.missing("account"))?;
    let place = region(&detail, "region")?.ok_or_else(|| detail.missing("region"))?;
    let owner = event.admit(owner)?;
    let trigger = match detail.text("record")? {
        Some(record) => {
            let is_id = record.len() == 20 && record.bytes().all(|b| b.is_ascii_hexdigit());
            if !is_id {
                let field = detail.path("record");
                return Err(EventError::unusable(field, "the id of a record", record).into());
            }
            Trigger::Record { record: record.to_ascii_lowercase() }
        }
        None => {
            let wanted = detail.object("identify")?.ok_or_else(|| detail.missing("record"))?;
            let (control, resource) =
                (wanted.required_text("control")?, wanted.required_text("resource")?);
            if control.len() > 64 || resource.len() > MAX_RESOURCE {
                let field = wanted.path("resource");
                return Err(EventError::unusable(field, "the name of a resource", resource).into());
            }
            Trigger::Identify { control: control.to_owned(), resource: resource.to_owned() }
        }
    };
    let id = event.root.text("id")?.or(event.options.delivery.as_deref()).unwrap_or("operator");
    Ok(Signal {
        trigger,
        account: owner,
        region: place,
        deduplication: key(&[id]),
        event_id: event_id(id),
        time: None,
        actor: None,
        request_id: None,
        finding: None,
    })
}
