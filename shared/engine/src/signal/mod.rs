//! What an event boils down to.
//!
//! [`parse`] turns the text of an event into signals, or says why it is none. One file per kind of event.

mod access_analyzer;
mod actor;
mod cloudtrail;
mod config;
mod error;
mod event;
mod fields;
mod guardduty;
mod health;
mod instance_state;
mod manual;
mod operator;
mod reason;
#[cfg(test)]
mod samples;
mod schedule;
mod securityhub;
mod sign_in;

pub use actor::key_digest;
pub use error::EventError;
pub use event::{Heard, Ignored, ParseOptions, Refused, parse, parse_for};
pub use reason::{Reason, Refusal};
pub use securityhub::{Finding, OWN_GENERATOR, own_product};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A hint that some resources are worth a look. Names only: no fact in it is ever trusted.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    pub trigger: Trigger,
    /// Twelve digits. Of the finding, where that differs from the envelope.
    pub account: String,
    pub region: String,
    /// EventBridge's id of the event, for logs.
    pub event_id: String,
    /// The same for every delivery of the same happening: CloudTrail's `sharedEventID` or `eventID`, a finding's id
    /// and `updatedAt`, else the event's id. Never empty.
    pub deduplication: String,
    /// When it happened, as the event says.
    pub time: Option<Timestamp>,
    pub actor: Option<Actor>,
    /// CloudTrail's `requestID`: how Quell recognises its own calls.
    pub request_id: Option<String>,
    /// Security Hub's finding that asks for a look, which wants to know what came of it.
    pub finding: Option<Finding>,
}

/// What kind of happening, with the names that controls take resources from.
#[derive(Clone, Debug, PartialEq)]
pub enum Trigger {
    /// A call that succeeded and may have changed something.
    ApiCall {
        /// Such as `s3.amazonaws.com`.
        service: String,
        /// Such as `PutBucketAcl`. May end in an API date: compare with [`Trigger::is_call`].
        name: String,
        /// `requestParameters` or null. CloudTrail leaves the content out above 100 KB.
        parameters: Value,
        /// `responseElements` or null.
        response: Value,
        /// ARNs that CloudTrail lists beside the call.
        resources: Vec<String>,
    },
    SignIn {
        mfa: Option<bool>,
    },
    GuardDuty {
        /// Such as `Backdoor:EC2/C&CActivity.B`.
        kind: String,
        severity: f64,
        /// `detail.resource`.
        resource: Value,
        /// What the call acted upon that the finding is about, by type: `{"AWS::CloudTrail::Trail": "arn:…"}`, or null.
        affected: Value,
    },
    ConfigCompliance {
        rule: String,
        resource_type: String,
        /// A name or an id, by type.
        resource: String,
    },
    SecurityHub {
        /// `GeneratorId`, which ends in the control's id: `security-control/S3.2`, `pci-dss/v/3.2.1/PCI.S3.1`, …
        generator: String,
        /// ASFF type, such as `AwsS3Bucket`.
        resource_type: String,
        /// An ARN, or a bare name.
        resource: String,
        /// The name of the custom action that a person chose.
        action: Option<String>,
    },
    Health {
        code: String,
        entities: Vec<String>,
    },
    AccessAnalyzer {
        resource_type: String,
        /// An ARN.
        resource: String,
        public: bool,
    },
    InstanceState {
        instance: String,
        state: String,
    },
    Schedule {
        rule: String,
    },
    /// A sweep found the resource in a bad state.
    Sweep {
        begun: Timestamp,
        /// Whether it was in this state before the policy named the control.
        is_backlog: bool,
        /// What the policy says of the control, as [`Policy::modes`](crate::policy::Policy::modes) has it.
        modes: String,
    },
    /// Somebody, or recovery, says that a record of the ledger is worth a look.
    Record {
        record: String,
    },
    /// Somebody wants to know what a control calls a resource.
    Identify {
        control: String,
        resource: String,
    },
    /// A person asked for one control on one resource.
    Manual {
        control: String,
        resource: String,
    },
}

impl Trigger {
    /// Whether this is the call, in any version of its API: Lambda writes `AddPermission20150331v2`.
    pub fn is_call(&self, service: &str, name: &str) -> bool {
        matches!(self, Self::ApiCall { service: of, name: called, .. } if of == service
            && called.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(|c: char| c.is_ascii_digit())))
    }
}

/// Who did it, as far as the event says. Untrusted text: escaped only when rendered.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Actor {
    /// Readable: `root`, `user alice`, `role deploy (session ci)`, `SSO user bob@example.com`, `service cloudformation.amazonaws.com`.
    pub principal: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
    /// What links the calls of one access key, and tells nobody which it is: [`key_digest`] of its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<String>,
    /// The tool, by its user agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// The AWS service that called on someone's behalf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invoked_by: Option<String>,
}
