//! What the operator answers.

use quell_engine::{CallError, ledger::LedgerError, text};
use serde::Serialize;
use serde_json::Value;

use crate::{domain::IdentifyError, request::Caller};

/// The answer to an order.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Answer {
    #[serde(skip)]
    pub(crate) status: u16,
    pub(crate) verb: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) record: Option<String>,
    /// `accepted`: somebody else does it from here. `done`. `refused`: nothing was done.
    pub(crate) state: &'static str,
    /// What happened, or what to do about it, in words.
    pub(crate) detail: String,
    /// What else there is to know, by name.
    #[serde(flatten)]
    pub(crate) more: serde_json::Map<String, Value>,
}

/// Why an order is not obeyed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) record: Option<String>,
    pub(crate) detail: String,
}

impl Answer {
    /// The order stands, and whoever works on the record was told.
    pub(crate) fn accepted(verb: &'static str, record: &str, detail: String) -> Self {
        let record = Some(record.to_owned());
        Self { status: 202, verb, record, state: "accepted", detail, more: Default::default() }
    }

    pub(crate) fn done(verb: &'static str, record: Option<&str>, detail: String) -> Self {
        let record = record.map(str::to_owned);
        Self { status: 200, verb, record, state: "done", detail, more: Default::default() }
    }

    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        self.more.insert(name.to_owned(), value);
        self
    }

    pub(crate) fn body(&self) -> String {
        text::json(self).unwrap_or_default()
    }

    /// One line of the log, without anything of the request as it came.
    pub(crate) fn log(&self, caller: Option<&Caller>) {
        let arn = caller.map(|caller| text::one_line(&caller.arn)).unwrap_or_default();
        let person = caller.and_then(|caller| caller.person.as_deref()).unwrap_or_default();
        let (record, detail) =
            (self.record.as_deref().unwrap_or_default(), text::one_line(&self.detail));
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "quell_operator",
                    verb = self.verb,
                    status = self.status,
                    record,
                    by = arn,
                    person,
                    detail,
                    "{}",
                    self.state
                )
            };
        }
        match self.status {
            500.. => line!(error),
            400.. => line!(warn),
            _ => line!(info),
        }
    }
}

impl Refusal {
    pub(crate) fn bad(detail: String) -> Self {
        Self { status: 400, record: None, detail }
    }

    pub(crate) fn forbidden(detail: String) -> Self {
        Self { status: 403, record: None, detail }
    }

    pub(crate) fn absent(detail: String) -> Self {
        Self { status: 404, record: None, detail }
    }

    /// Not as things stand.
    pub(crate) fn conflict(detail: String) -> Self {
        Self { status: 409, record: None, detail }
    }

    pub(crate) fn about(mut self, record: &str) -> Self {
        self.record = Some(record.to_owned());
        self
    }

    pub(crate) fn of(self, verb: &'static str) -> Answer {
        let Self { status, record, detail } = self;
        Answer { status, verb, record, state: "refused", detail, more: Default::default() }
    }
}

impl From<LedgerError> for Refusal {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Call(error) => error.into(),
            error @ LedgerError::Overtaken { .. } => Self::conflict(error.to_string()),
            error => Self { status: 500, record: None, detail: error.to_string() },
        }
    }
}

impl From<IdentifyError> for Refusal {
    fn from(error: IdentifyError) -> Self {
        match error {
            IdentifyError::Unknown(reason) => Self::absent(reason),
            IdentifyError::Call(error) => error.into(),
        }
    }
}

impl From<CallError> for Refusal {
    fn from(error: CallError) -> Self {
        let status = if error.is_worth_retrying() { 503 } else { 500 };
        Self { status, record: None, detail: error.to_string() }
    }
}
