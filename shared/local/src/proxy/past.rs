//! What reads were answered before, for those that are served an old answer.

use std::{collections::HashMap, time::Duration};

use axum::body::Bytes;
use hyper::{Response, StatusCode, header::HeaderMap, http::request::Parts};
use serde_json::Value;

/// What was asked, whoever asked and whenever: no signature, no time.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Question {
    method: String,
    path: String,
    target: String,
    body: Bytes,
}

impl Question {
    pub(super) fn of(parts: &Parts, body: &Bytes) -> Self {
        let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
        Self {
            method: parts.method.to_string(),
            path: parts.uri.to_string(),
            target: target.unwrap_or_default().to_owned(),
            body: in_order(body),
        }
    }
}

/// JSON with the fields of every object in the order of their names: the SDK writes maps in whatever order they have.
fn in_order(body: &Bytes) -> Bytes {
    match serde_json::from_slice::<Value>(body) {
        Ok(mut json) => {
            json.sort_all_objects();
            json.to_string().into()
        }
        Err(_) => body.clone(),
    }
}

/// Times are those since the proxy started.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// When the last write was, by service.
    writes: HashMap<String, Duration>,
    answers: HashMap<Question, Vec<Answered>>,
}

#[derive(Clone, Debug)]
struct Answered {
    at: Duration,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Past {
    pub(super) fn wrote(&mut self, service: &str, at: Duration) {
        let last = self.writes.entry(service.to_owned()).or_default();
        *last = (*last).max(at);
    }

    pub(super) fn read(
        &mut self,
        service: &str,
        question: Question,
        response: &Response<Bytes>,
        at: Duration,
    ) {
        let written = self.writes.get(service).copied();
        let answers = self.answers.entry(question).or_default();
        // Of those from before the last write only the newest will ever be given.
        if let Some(written) = written
            && let Some(newest) = answers.iter().rposition(|one| one.at < written)
        {
            answers.drain(..newest);
        }
        answers.push(Answered {
            at,
            status: response.status(),
            headers: response.headers().clone(),
            body: response.body().clone(),
        });
    }

    /// The answer from before the last write to the service, if that is not longer ago than `lag`.
    pub(super) fn before(
        &self,
        service: &str,
        question: &Question,
        lag: Duration,
        now: Duration,
    ) -> Option<Response<Bytes>> {
        let written = *self.writes.get(service)?;
        if now.saturating_sub(written) > lag {
            return None;
        }
        let answers = self.answers.get(question)?;
        let known = answers.iter().rev().find(|one| one.at < written)?;
        let mut response = Response::new(known.body.clone());
        *response.status_mut() = known.status;
        *response.headers_mut() = known.headers.clone();
        Some(response)
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    #[test]
    fn the_same_fields_in_another_order_are_the_same_question() {
        let ask = |body: &'static str| {
            let (parts, ()) = Request::new(()).into_parts();
            Question::of(&parts, &Bytes::from(body))
        };
        let one = ask(r#"{"Key":{"pk":{"S":"REC#a"},"sk":{"S":"ITEM"}}}"#);
        assert_eq!(one, ask(r#"{"Key":{"sk":{"S":"ITEM"},"pk":{"S":"REC#a"}}}"#));
        assert_ne!(one, ask(r#"{"Key":{"sk":{"S":"ITEM"},"pk":{"S":"REC#b"}}}"#));
        assert_ne!(ask("Action=One"), ask("Action=Two"));
    }
}
