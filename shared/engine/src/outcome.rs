//! How an evaluation ended.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How an evaluation ended: the same word in log, metric, record, message and exit code.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The resource is as it should be; there was nothing to do.
    Compliant,
    /// There is no such resource (any more).
    Gone,
    /// The event is none that asks for anything.
    Ignored,
    /// The same happening was dealt with before.
    Duplicate,
    /// A violation was found and reported; nothing was changed.
    Observed,
    /// Every change was made, and the resource was read again and is compliant.
    Fixed,
    /// Some changes were made and some not; the resource is not yet as it should be.
    Partial,
    /// The fix did not work; the resource is to be taken as still in its bad state.
    Failed,
    /// Quell must not or cannot act here, and says why.
    Refused,
    /// The resource changed between the two reads; another evaluation took over.
    Superseded,
    /// An earlier fix was taken back; the resource is as it was before that fix.
    Undone,
    /// A violation that somebody permitted for a while; nothing was changed.
    Exempt,
    /// Planned; a person has to approve it before anything is changed.
    Pending,
    /// Planned and put aside: a budget is used up, the kill switch is on, or nobody answered. A person can resume it.
    Parked,
    /// A person said no; nothing was changed.
    Denied,
}

impl Outcome {
    pub const ALL: [Self; 15] = [
        Self::Compliant,
        Self::Gone,
        Self::Ignored,
        Self::Duplicate,
        Self::Observed,
        Self::Fixed,
        Self::Partial,
        Self::Failed,
        Self::Refused,
        Self::Superseded,
        Self::Undone,
        Self::Exempt,
        Self::Pending,
        Self::Parked,
        Self::Denied,
    ];

    /// Whether a message is sent.
    pub fn people_should_hear(self) -> bool {
        matches!(
            self,
            Self::Observed
                | Self::Fixed
                | Self::Partial
                | Self::Failed
                | Self::Refused
                | Self::Undone
                | Self::Pending
                | Self::Parked
                | Self::Denied
        )
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Compliant => "compliant",
            Self::Gone => "gone",
            Self::Ignored => "ignored",
            Self::Duplicate => "duplicate",
            Self::Observed => "observed",
            Self::Fixed => "fixed",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Superseded => "superseded",
            Self::Undone => "undone",
            Self::Exempt => "exempt",
            Self::Pending => "pending",
            Self::Parked => "parked",
            Self::Denied => "denied",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_same_word_in_json_and_in_text() {
        for outcome in Outcome::ALL {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.to_string());
        }
    }
}
