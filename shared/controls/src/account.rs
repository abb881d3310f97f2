//! An account as the resource of a control: for what there is one of, or one of in each region.

use std::{fmt, str::FromStr};

use quell_engine::{Clients, Signal, Trigger, control::TargetError};
use serde::{Deserialize, Serialize};

use crate::partition;

/// Twelve digits.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Account(String);

impl Account {
    /// The one that the clients reach.
    pub(crate) fn own(aws: &Clients) -> Self {
        Self(aws.account().to_owned())
    }

    /// The account of the signal: what else it names must be the same.
    pub(crate) fn of(signal: &Signal, control: &'static str) -> Result<Vec<Self>, TargetError> {
        let (field, named) = match &signal.trigger {
            Trigger::ConfigCompliance { resource, .. } => ("resourceId", resource),
            Trigger::SecurityHub { resource, .. } => ("Resources.Id", resource),
            Trigger::Manual { resource, .. } => ("resource", resource),
            _ => ("account", &signal.account),
        };
        let refuse = |reason: String| TargetError { control, field, reason };
        let account: Self = named.parse().map_err(|why: BadAccount| refuse(why.to_string()))?;
        if account.0 != signal.account {
            return Err(refuse("it is another account than that of the event".to_owned()));
        }
        Ok(vec![account])
    }

    #[cfg(feature = "s3")]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn arn(&self, region: &str) -> String {
        format!("arn:{}:iam::{self}:root", partition::of(region))
    }
}

/// From twelve digits, or from Security Hub's `AWS::::Account:123456789012`.
impl FromStr for Account {
    type Err = BadAccount;

    fn from_str(text: &str) -> Result<Self, BadAccount> {
        let id = text.strip_prefix("AWS::::Account:").unwrap_or(text);
        let is_account = id.len() == 12 && id.bytes().all(|c| c.is_ascii_digit());
        if is_account { Ok(Self(id.to_owned())) } else { Err(BadAccount) }
    }
}

/// Why a text is not the id of an account. Does not repeat the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the id of an account has twelve digits")]
pub struct BadAccount;

impl TryFrom<String> for Account {
    type Error = BadAccount;

    fn try_from(text: String) -> Result<Self, BadAccount> {
        text.parse()
    }
}

impl From<Account> for String {
    fn from(account: Account) -> Self {
        account.0
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read_strictly() {
        for bad in
            ["", "12345678901", "1234567890123", "12345678901a", "AWS::::Account:", "१२३४५६७८९०१२"]
        {
            assert_eq!(bad.parse::<Account>(), Err(BadAccount), "{bad}");
        }
    }
}
