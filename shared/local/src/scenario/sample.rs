//! Samples from `events/`, as if they had just happened to a staged resource.

use std::{
    hash::{BuildHasher, RandomState},
    time::SystemTime,
};

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::Error;

/// The sample with some texts replaced wherever they stand, the time now, and ids of its own: an event with the ids of
/// another is a duplicate of it.
pub(super) fn happening(sample: &str, replaced: &[(&str, &str)]) -> Result<Value, Error> {
    let text = replaced.iter().fold(sample.to_owned(), |text, (old, new)| text.replace(old, new));
    let mut event: Value = serde_json::from_str(&text)?;
    let envelope = event.as_object_mut().ok_or("the sample is no object")?;
    renew(envelope, &["id"], &["time"]);
    if let Some(Value::Object(detail)) = envelope.get_mut("detail") {
        renew(detail, &["communicationId", "eventID", "requestID"], &["eventTime", "updatedAt"]);
    }
    Ok(event)
}

fn renew(fields: &mut Map<String, Value>, ids: &[&str], times: &[&str]) {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    for time in times {
        if let Some(value) = fields.get_mut(*time) {
            *value = Value::String(now.clone());
        }
    }
    for id in ids {
        if let Some(value) = fields.get_mut(*id) {
            *value = Value::String(fresh_id());
        }
    }
}

/// In the form of a UUID, different every time: each state of the hasher has random keys.
fn fresh_id() -> String {
    let half = || RandomState::new().hash_one(SystemTime::now());
    let (a, b) = (half(), half());
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        b >> 52,
        b & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_happens_now_to_what_it_is_told() {
        let sample = r#"{"id": "a", "time": "2025-06-03T09:14:27Z", "detail": {"eventID": "b", "sg": "sg-1"}}"#;
        let one = happening(sample, &[("sg-1", "sg-2")]).unwrap();
        let other = happening(sample, &[]).unwrap();
        assert_eq!(one["detail"]["sg"], "sg-2");
        assert_ne!(one["time"], "2025-06-03T09:14:27Z");
        for field in ["/id", "/detail/eventID"] {
            let id = one.pointer(field).and_then(Value::as_str).unwrap();
            assert_eq!(id.len(), 36, "{id}");
            assert_ne!(Some(id), other.pointer(field).and_then(Value::as_str));
        }
        assert!(one["detail"].get("requestID").is_none());
    }
}
