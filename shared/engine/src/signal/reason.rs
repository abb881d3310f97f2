//! Why an event is not acted upon.

use std::fmt::{self, Display, Formatter};

/// Why an event is no signal. Text in it is short and has no control characters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reason {
    /// The call was denied or failed.
    FailedCall {
        code: String,
    },
    /// The call only asked whether it would work.
    DryRun,
    ReadOnly,
    /// Something that a service did by itself, without a caller.
    ServiceEvent,
    SignInFailed,
    /// A step on the way to a sign-in, such as `CheckMfa`.
    SignInStep {
        name: String,
    },
    /// A finding that someone made to try things out.
    SampleFinding,
    PassedFinding,
    ArchivedFinding,
    ResolvedFinding,
    SuppressedFinding,
    /// One that Quell imported itself, to say what it did.
    OwnFinding,
    /// The resource, the rule or the finding is gone.
    DeletedFinding,
    /// Neither passed nor failed.
    InconclusiveFinding {
        status: String,
    },
    /// What Access Analyzer would find if a policy were put in force.
    AccessPreview,
    HealthClosed,
    /// A source that is not AWS's own, so anyone may have sent it.
    MockSource {
        source: String,
    },
    /// A call from this account upon what another account owns.
    OtherOwner {
        account: String,
    },
    /// A call of another service than the event's source.
    OtherSource {
        source: String,
        service: String,
    },
    /// No control can want it.
    UnhandledKind {
        source: String,
        detail_type: String,
    },
}

impl Reason {
    /// For logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::FailedCall { .. } => "failed-call",
            Self::DryRun => "dry-run",
            Self::ReadOnly => "read-only",
            Self::ServiceEvent => "service-event",
            Self::SignInFailed => "sign-in-failed",
            Self::SignInStep { .. } => "sign-in-step",
            Self::SampleFinding => "sample-finding",
            Self::PassedFinding => "passed-finding",
            Self::ArchivedFinding => "archived-finding",
            Self::ResolvedFinding => "resolved-finding",
            Self::SuppressedFinding => "suppressed-finding",
            Self::OwnFinding => "own-finding",
            Self::DeletedFinding => "deleted-finding",
            Self::InconclusiveFinding { .. } => "inconclusive-finding",
            Self::AccessPreview => "access-preview",
            Self::HealthClosed => "health-closed",
            Self::MockSource { .. } => "mock-source",
            Self::OtherOwner { .. } => "other-owner",
            Self::OtherSource { .. } => "other-source",
            Self::UnhandledKind { .. } => "unhandled-kind",
        }
    }
}

impl Display for Reason {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailedCall { code } => {
                write!(f, "the call failed with `{code}`, so it changed nothing")
            }
            Self::DryRun => f.write_str("the call was a dry run, so it changed nothing"),
            Self::ReadOnly => f.write_str("the call only reads"),
            Self::ServiceEvent => f.write_str("the service did it by itself, without a caller"),
            Self::SignInFailed => f.write_str("the sign-in failed"),
            Self::SignInStep { name } => {
                write!(f, "`{name}` is a step of signing in, not a sign-in")
            }
            Self::SampleFinding => f.write_str("the finding is a sample"),
            Self::PassedFinding => f.write_str("the check passed"),
            Self::ArchivedFinding => f.write_str("the finding is archived"),
            Self::ResolvedFinding => f.write_str("the finding is resolved"),
            Self::SuppressedFinding => f.write_str("the finding is suppressed"),
            Self::OwnFinding => f.write_str("the finding is Quell's own"),
            Self::DeletedFinding => f.write_str("the resource or the rule is gone"),
            Self::InconclusiveFinding { status } => {
                write!(f, "the check came to no result (`{status}`)")
            }
            Self::AccessPreview => f.write_str("it is a preview of access that nobody has yet"),
            Self::HealthClosed => f.write_str("the health event is closed"),
            Self::MockSource { source } => write!(f, "`{source}` is not a source of AWS's own"),
            Self::OtherOwner { account } => {
                write!(f, "what the call is about belongs to account `{account}`")
            }
            Self::OtherSource { source, service } => {
                write!(f, "`{source}` does not tell of calls to `{service}`")
            }
            Self::UnhandledKind { source, detail_type } => {
                write!(f, "no control wants `{detail_type}` of `{source}`")
            }
        }
    }
}

/// Why an event is not for this function.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// Of another account than the one that the function looks after.
    ForeignAccount,
    /// What stands for the account is no account id.
    NotAnAccount,
    /// The event names two accounts where AWS names one.
    AccountMismatch,
    /// Of a region in another partition of AWS, which has other accounts, hosts and ARNs.
    ForeignPartition,
}

impl Refusal {
    /// For logs and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::ForeignAccount => "foreign-account",
            Self::NotAnAccount => "not-an-account",
            Self::AccountMismatch => "account-mismatch",
            Self::ForeignPartition => "foreign-partition",
        }
    }
}

impl Display for Refusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ForeignAccount => "not the account that this function looks after",
            Self::NotAnAccount => "not an account id, which has twelve digits",
            Self::AccountMismatch => "not the account that the rest of the event names",
            Self::ForeignPartition => "not a region of the partition that this function runs in",
        })
    }
}
