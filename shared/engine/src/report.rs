//! What came of a signal, for machines: the function's response, and what `quell` prints.

use serde::{Deserialize, Serialize};

use crate::{Description, Outcome, Severity, aws::Call, sweep::Swept};

/// The response of a function to one event.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Response {
    pub results: Vec<Report>,
    /// Why parts of the event, or all of it, led to nothing.
    pub ignored: Vec<String>,
    /// Why parts of the event, or all of it, are not for this function.
    pub refused: Vec<String>,
    /// What a resource is called, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identified: Option<Identified>,
    /// How far a sweep came, where one was due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swept: Option<Swept>,
}

/// A resource as a control knows it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Identified {
    pub control: String,
    pub severity: Severity,
    pub arn: String,
    /// What a resource of the same name that is made anew does not have.
    pub unique_id: String,
    pub resource: String,
}

/// How one evaluation ended.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Report {
    pub control: String,
    pub resource: String,
    pub account: String,
    pub region: String,
    pub outcome: Outcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// What was, or would be, changed.
    pub changes: Vec<Description>,
    /// Calls to AWS on the resource's own services, in the order of their answers.
    pub calls: Vec<Call>,
    pub notes: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// From the start of the evaluation until the last change was made, and until the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_after_ms: Option<u64>,
    pub ended_after_ms: u64,
}
