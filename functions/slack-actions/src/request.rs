//! A request at the function URL, of which nothing is known yet.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads>

use std::{borrow::Cow, collections::BTreeMap};

use aws_smithy_types::base64;
use serde::Deserialize;

/// What a body may be long, in bytes. What Slack sends of a message is a tenth of it.
pub(crate) const LONGEST: usize = 64 * 1024;

/// What an event may be long: a body of control characters, each of which JSON writes with six, and the headers, of which
/// Lambda takes 10 KB.
const LONGEST_EVENT: usize = 6 * LONGEST + 64 * 1024;

/// The parts of a request that count.
#[derive(Debug)]
pub(crate) struct Request {
    /// As it came over the wire.
    pub(crate) body: Vec<u8>,
    pub(crate) timestamp: String,
    pub(crate) signature: String,
}

/// Why a request is not even looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("longer than {LONGEST} bytes")]
    TooLong,
    #[error("not a request at a function URL")]
    Malformed,
    /// One of the two headers is missing, or there twice.
    #[error("not signed")]
    Unsigned,
}

/// What Lambda makes of an HTTP request.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    #[serde(borrow, default)]
    headers: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    #[serde(borrow, default)]
    body: Option<Cow<'a, str>>,
    #[serde(default)]
    is_base64_encoded: bool,
}

impl Request {
    /// Looks at the length first, at all else after that. Nothing in the body is read.
    pub(crate) fn read(event: &str) -> Result<Self, RequestError> {
        if event.len() > LONGEST_EVENT {
            return Err(RequestError::TooLong);
        }
        let event: Event<'_> = serde_json::from_str(event).map_err(|_| RequestError::Malformed)?;
        let body = event.body.as_deref().unwrap_or_default();
        // Base64 takes four characters for three bytes.
        let most = if event.is_base64_encoded { LONGEST.div_ceil(3) * 4 } else { LONGEST };
        if body.len() > most {
            return Err(RequestError::TooLong);
        }
        let body = if event.is_base64_encoded {
            base64::decode(body).map_err(|_| RequestError::Malformed)?
        } else {
            body.as_bytes().to_vec()
        };
        if body.len() > LONGEST {
            return Err(RequestError::TooLong);
        }
        let header = |wanted: &str| {
            let mut found =
                event.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            match (found.next(), found.next()) {
                (Some((_, value)), None) => Ok(value.to_string()),
                _ => Err(RequestError::Unsigned),
            }
        };
        Ok(Self {
            timestamp: header("x-slack-request-timestamp")?,
            signature: header("x-slack-signature")?,
            body,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn headers_are_taken_in_any_case() {
        for [timestamp, signature] in [
            ["x-slack-request-timestamp", "x-slack-signature"],
            ["X-Slack-Request-Timestamp", "X-Slack-Signature"],
            ["X-SLACK-REQUEST-TIMESTAMP", "X-SLACK-SIGNATURE"],
        ] {
            let headers = json!({timestamp: "1531420618", signature: "v0=a2", "host": "h"});
            let read = read(&json!({"headers": headers, "body": "a=b"})).unwrap();
            assert_eq!(
                (read.timestamp.as_str(), read.signature.as_str(), read.body.as_slice()),
                ("1531420618", "v0=a2", &b"a=b"[..])
            );
        }
    }

    #[test]
    fn a_header_that_is_missing_or_there_twice_is_no_signature() {
        for headers in [
            json!({}),
            json!({"x-slack-signature": "v0=a2"}),
            json!({"x-slack-request-timestamp": "1"}),
            json!({
                "x-slack-request-timestamp": "1",
                "x-slack-signature": "v0=a2",
                "X-Slack-Signature": "v0=a3",
            }),
        ] {
            let event = json!({"headers": headers, "body": "a=b"});
            assert_eq!(read(&event).unwrap_err(), RequestError::Unsigned, "{event}");
        }
        assert_eq!(read(&json!({"body": "a=b"})).unwrap_err(), RequestError::Unsigned);
    }

    #[test]
    fn a_body_is_read_plainly_or_from_base64_and_is_the_same_bytes() {
        let bytes = [0, 255, b'=', 10];
        let event = signed(json!({"body": base64::encode(bytes), "isBase64Encoded": true}));
        assert_eq!(read(&event).unwrap().body, bytes);
        assert_eq!(read(&signed(json!({"body": "AP89Cg=="}))).unwrap().body, b"AP89Cg==");
        assert_eq!(read(&signed(json!({"body": null}))).unwrap().body, b"");
        let bad = signed(json!({"body": "not base64!", "isBase64Encoded": true}));
        assert_eq!(read(&bad).unwrap_err(), RequestError::Malformed);
    }

    #[test]
    fn the_length_is_looked_at_before_anything_else() {
        let longest = "x".repeat(LONGEST);
        assert_eq!(read(&signed(json!({"body": longest}))).unwrap().body.len(), LONGEST);
        let encoded = base64::encode(&longest);
        let event = signed(json!({"body": encoded, "isBase64Encoded": true}));
        assert_eq!(read(&event).unwrap().body.len(), LONGEST);
        let too_long = "x".repeat(LONGEST + 1);
        for event in [
            json!({"body": too_long}),
            json!({"body": base64::encode(&too_long), "isBase64Encoded": true}),
            json!({"body": "!".repeat(LONGEST * 2), "isBase64Encoded": true}),
        ] {
            assert_eq!(read(&event).unwrap_err(), RequestError::TooLong);
        }
        assert_eq!(Request::read(&"[".repeat(6 << 20)).unwrap_err(), RequestError::TooLong);
        let control = signed(json!({"body": "\u{1}".repeat(LONGEST)}));
        assert_eq!(read(&control).unwrap().body.len(), LONGEST);
    }

    #[test]
    fn what_is_no_request_is_malformed() {
        for text in ["", "null", "7", "{", "{\"headers\":7}", "{\"body\":[]}"] {
            assert_eq!(Request::read(text).unwrap_err(), RequestError::Malformed, "{text}");
        }
        let deep = format!("{{\"a\":{}", "[".repeat(100_000));
        assert_eq!(Request::read(&deep).unwrap_err(), RequestError::Malformed);
    }

    fn signed(mut event: Value) -> Value {
        event["headers"] =
            json!({"x-slack-request-timestamp": "1531420618", "x-slack-signature": "v0=a2"});
        event
    }

    fn read(event: &Value) -> Result<Request, RequestError> {
        Request::read(&event.to_string())
    }
}
