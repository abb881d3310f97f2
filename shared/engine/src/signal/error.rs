//! What is wrong with an event that cannot be understood.

use super::fields::brief;

/// The event is malformed. Trying again does not help: it belongs in the dead-letter queue, where a person sees it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EventError {
    #[error("the event has {bytes} bytes, more than the {limit} that are read")]
    TooLarge { bytes: usize, limit: usize },
    #[error("the event is nested deeper than {limit} levels")]
    TooDeep { limit: usize },
    #[error("the event has more than {limit} values")]
    TooMany { limit: usize },
    #[error("the event is not JSON: {what} at line {line}, column {column}")]
    NotJson { what: String, line: usize, column: usize },
    #[error("the event is {found}, not an object")]
    NotAnObject { found: &'static str },
    #[error("the event is {what}, not an event as EventBridge sends it")]
    OtherShape { what: &'static str },
    #[error("`{field}` is missing or empty")]
    Missing { field: String },
    #[error("`{field}` is {found}, not {expected}")]
    WrongType { field: String, expected: &'static str, found: &'static str },
    #[error("`{field}` is `{found}`, not {expected}")]
    Unusable { field: String, expected: &'static str, found: String },
}

impl EventError {
    pub(super) fn not_json(error: &serde_json::Error) -> Self {
        let message = error.to_string();
        let what = message.split(" at line ").next().unwrap_or_default();
        Self::NotJson { what: brief(what), line: error.line(), column: error.column() }
    }

    pub(super) fn unusable(field: String, expected: &'static str, found: &str) -> Self {
        Self::Unusable { field, expected, found: brief(found) }
    }
}
