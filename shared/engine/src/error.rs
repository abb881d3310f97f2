//! What can go wrong with a call to AWS.

use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::{display::DisplayErrorContext, metadata::ProvideErrorMetadata};
use lambda_runtime::Diagnostic;

use crate::{Report, control::TargetError, signal::EventError, text};

/// A call that did not do what it should, with what to do about it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{action}: {kind}{}{message}", if message.is_empty() { "" } else { ": " })]
pub struct CallError {
    /// The IAM action of the call.
    pub action: &'static str,
    pub kind: CallErrorKind,
    /// AWS's code, such as `AccessDenied`.
    pub code: Option<String>,
    /// AWS's words, without secrets. Untrusted text.
    pub message: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CallErrorKind {
    /// The role, a service control policy or a resource policy does not allow it. Terminal until someone changes that.
    Denied,
    /// AWS answered that the request is wrong for this resource. Terminal.
    Refused,
    /// The resource is not in a state in which the call works, or not visible yet. Worth another try.
    NotReady,
    /// Too many calls, or a failure on AWS's side. Worth another try.
    Unavailable,
    /// No answer in time: it may or may not have been applied. Worth another try, after looking.
    NoAnswer,
    /// No call was made, because a setting of the function cannot be used. Terminal until someone corrects it.
    Misconfigured,
}

impl std::fmt::Display for CallErrorKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Denied => "denied; allow it in the function's role, or look for a service control policy that denies it",
            Self::Refused => "refused by AWS",
            Self::NotReady => "the resource is not ready; it is tried again",
            Self::Unavailable => "throttled or unavailable; it is tried again",
            Self::NoAnswer => "no answer; it is tried again",
            Self::Misconfigured => "cannot be used as it is set; correct the function's settings",
        })
    }
}

impl CallError {
    pub fn new(action: &'static str, kind: CallErrorKind, message: impl Into<String>) -> Self {
        Self { action, kind, code: None, message: message.into() }
    }

    /// Whether AWS's code is this one.
    pub fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// Whether trying again may help without a person's doing.
    pub fn is_worth_retrying(&self) -> bool {
        matches!(
            self.kind,
            CallErrorKind::NotReady | CallErrorKind::Unavailable | CallErrorKind::NoAnswer
        )
    }

    pub(crate) fn from_sdk<E, R>(action: &'static str, error: SdkError<E, R>) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
        R: std::fmt::Debug,
    {
        match error {
            SdkError::ServiceError(ref service) => {
                let meta = service.err();
                let code = meta.code().map(str::to_owned);
                let message = match (meta.code(), meta.message().map(text::redacted)) {
                    (Some(code), Some(message)) => format!("{code}: {message}"),
                    (Some(code), None) => code.to_owned(),
                    (None, message) => message.unwrap_or("no error code".into()).into_owned(),
                };
                Self { action, kind: kind_of(meta.code().unwrap_or_default()), code, message }
            }
            SdkError::TimeoutError(_)
            | SdkError::DispatchFailure(_)
            | SdkError::ResponseError(_) => {
                Self::new(action, CallErrorKind::NoAnswer, DisplayErrorContext(&error).to_string())
            }
            _ => Self::new(action, CallErrorKind::Refused, DisplayErrorContext(&error).to_string()),
        }
    }
}

/// Sorted by the codes that S3, EC2, IAM, DynamoDB, SNS, EventBridge and CloudTrail document as common errors.
fn kind_of(code: &str) -> CallErrorKind {
    match code {
        "AccessDenied"
        | "AccessDeniedException"
        | "AuthorizationError"
        | "AllAccessDisabled"
        | "UnauthorizedOperation"
        | "Client.UnauthorizedOperation"
        | "AuthFailure"
        | "NotAuthorized"
        | "OptInRequired"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "KMSAccessDeniedException"
        | "KMSAccessDenied"
        | "SignatureDoesNotMatch"
        | "InvalidAccessKeyId" => CallErrorKind::Denied,
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestLimitExceeded"
        | "SlowDown"
        | "RequestThrottled"
        | "Throttled"
        | "ProvisionedThroughputExceededException"
        | "TooManyRequestsException"
        | "InternalError"
        | "InternalFailure"
        | "InternalServerError"
        | "ServiceUnavailable"
        | "Unavailable"
        | "OperationAborted"
        | "ConditionalRequestConflict"
        | "EC2ThrottledException"
        | "TransactionConflictException"
        | "ConcurrentModificationException"
        | "ConflictException" => CallErrorKind::Unavailable,
        "IncorrectInstanceState"
        | "IncorrectState"
        | "InvalidInstanceID.NotLinkable"
        | "DependencyViolation" => CallErrorKind::NotReady,
        _ => CallErrorKind::Refused,
    }
}

/// What must be tried again, or mended by a person.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// The report says how far it came.
    #[error("{} of {}: {}: {}", .0.control, .0.resource, .0.outcome, .0.reason.as_deref().unwrap_or("no reason given"))]
    Evaluation(Box<Report>),
    /// The event names no resource where it must name one.
    #[error("{0}")]
    Target(#[from] TargetError),
}

impl Failure {
    /// How far it came, if it came so far that there is a resource.
    pub fn report(self) -> Option<Report> {
        match self {
            Self::Evaluation(report) => Some(*report),
            Self::Target(_) => None,
        }
    }
}

/// Why an event as a whole goes back to Lambda: it is delivered twice more, then kept in the dead-letter queue.
#[derive(Debug, thiserror::Error)]
pub enum EventFailure {
    /// The event is not one that can be read.
    #[error("{0}")]
    Event(#[from] EventError),
    /// Some evaluations did not end well.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Failed(Vec<Failure>),
    /// The record that is to be gone on with cannot be.
    #[error("record {id}: {reason}")]
    Record { id: String, reason: String },
    /// The resource that a person named cannot be read.
    #[error("`{}`: {reason}", text::one_line(resource))]
    Resource { resource: String, reason: String },
    /// Some resources could not be looked at, or not be put right, by a sweep.
    #[error("sweep: {}", .0.join("; "))]
    Sweep(Vec<String>),
    /// The function is not configured as it must be. Nothing was looked at.
    #[error("{0}")]
    Settings(String),
}

impl From<EventFailure> for Diagnostic {
    fn from(failure: EventFailure) -> Self {
        let kind = match &failure {
            EventFailure::Event(_) => "Event",
            EventFailure::Failed(failures)
                if failures.iter().all(|failure| matches!(failure, Failure::Target(_))) =>
            {
                "Target"
            }
            EventFailure::Failed(_) => "Remediation",
            EventFailure::Record { .. } => "Record",
            EventFailure::Resource { .. } => "Resource",
            EventFailure::Sweep(_) => "Sweep",
            EventFailure::Settings(_) => "Settings",
        };
        Self { error_type: kind.to_owned(), error_message: text::one_line(&failure.to_string()) }
    }
}
