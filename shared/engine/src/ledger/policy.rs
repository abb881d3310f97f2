//! The policy, one item for each version that was ever published, and one for the current:
//!
//! | `pk` | `sk` | what |
//! |---|---|---|
//! | `POL#policy` | `CURRENT` | the version that counts |
//! | `POL#policy` | `V#<12 digits>` | every version, never overwritten |
//!
//! Only people write these: the functions that fix things are not allowed to.

use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Item, Ledger, LedgerError,
    find::{page_of, paged},
    number, string, text,
};
use crate::{CallError, During as _, policy::Policy};

/// The version of the items that this code writes. Newer ones are left alone.
const SCHEMA: u32 = 1;

/// DynamoDB takes 400 KB with the names of attributes.
const LARGEST: usize = 350 * 1024;

/// A policy with who published it and when.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PublishedPolicy {
    /// From 1, without gaps.
    pub version: u64,
    pub policy: Policy,
    /// The file as it was written.
    pub source: String,
    /// The ARN of the caller.
    pub by: String,
    pub at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PublishError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(
        "{}; look at what would change now, and publish again",
        .there.as_ref().map_or_else(
            || "there is no policy any more".to_owned(),
            |there| format!("{} published version {} meanwhile", there.by, there.version)
        )
    )]
    Overtaken { there: Option<Box<PublishedPolicy>> },
    #[error(
        "the policy takes {bytes} bytes with its file, and the ledger holds {LARGEST}; shorten it"
    )]
    TooLarge { bytes: usize },
}

impl Ledger {
    /// The policy that counts. `None`: none was ever published.
    pub async fn policy(&self) -> Result<Option<PublishedPolicy>, LedgerError> {
        self.stored_policy(policy_key()).await
    }

    /// A version that counts or counted.
    pub async fn policy_version(
        &self,
        version: u64,
    ) -> Result<Option<PublishedPolicy>, LedgerError> {
        self.stored_policy(key(&version_key(version))).await
    }

    /// The newest versions, newest first.
    pub async fn policies(&self, limit: usize) -> Result<Vec<PublishedPolicy>, LedgerError> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :policy AND begins_with(sk, :version)")
            .expression_attribute_values(":policy", text(POLICY))
            .expression_attribute_values(":version", text(VERSION))
            .consistent_read(true)
            .scan_index_forward(false)
            .set_limit(page_of(limit));
        paged(query, limit, policy_from_item, |_| true).await
    }

    /// Makes a policy count, as the version after `seen` (0: there is none yet), unless somebody published meanwhile.
    /// `by` is the ARN of who does it.
    pub async fn publish_policy(
        &self,
        policy: Policy,
        source: &str,
        by: &str,
        note: Option<&str>,
        seen: u64,
    ) -> Result<PublishedPolicy, PublishError> {
        let published = PublishedPolicy {
            version: seen + 1,
            policy,
            source: source.to_owned(),
            by: by.to_owned(),
            at: Timestamp::now(),
            note: note.map(str::to_owned),
        };
        let document = serde_json::to_string(&published)
            .map_err(|error| unreadable(CURRENT, error.to_string()))?;
        if document.len() > LARGEST {
            return Err(PublishError::TooLarge { bytes: document.len() });
        }
        let item = |sk: &str| {
            let mut item = key(sk);
            item.extend([
                ("schema".to_owned(), number(SCHEMA.into())),
                ("version".to_owned(), number(published.version)),
                ("document".to_owned(), text(&document)),
            ]);
            item
        };
        let current = Put::builder().table_name(&self.table).set_item(Some(item(CURRENT)));
        let current = if seen == 0 {
            current.condition_expression("attribute_not_exists(pk)")
        } else {
            current
                .condition_expression("version = :seen")
                .expression_attribute_values(":seen", number(seen))
        };
        let version = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item(&version_key(published.version))))
            .condition_expression("attribute_not_exists(pk)");
        let mut writes = Vec::new();
        for put in [current, version] {
            let put = put.build().map_err(|error| unreadable(CURRENT, error.to_string()))?;
            writes.push(TransactWriteItem::builder().put(put).build());
        }
        let sent = self
            .client
            .transact_write_items()
            .set_transact_items(Some(writes))
            .send()
            .await
            .during("dynamodb:TransactWriteItems");
        match sent {
            Ok(_) => Ok(published),
            Err(error) if error.is("TransactionCanceledException") => {
                self.not_published(published, seen, error).await
            }
            Err(error) => Err(LedgerError::Call(error).into()),
        }
    }

    /// What a cancelled transaction means. It is ours if the item is as we wrote it: the answer to the first attempt
    /// was lost.
    async fn not_published(
        &self,
        published: PublishedPolicy,
        seen: u64,
        error: CallError,
    ) -> Result<PublishedPolicy, PublishError> {
        match self.policy().await? {
            Some(there) if there == published => Ok(published),
            there if there.as_ref().map_or(0, |there| there.version) != seen => {
                Err(PublishError::Overtaken { there: there.map(Box::new) })
            }
            _ => Err(LedgerError::Call(error).into()),
        }
    }

    async fn stored_policy(&self, key: Item) -> Result<Option<PublishedPolicy>, LedgerError> {
        let found = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key))
            .consistent_read(true)
            .send()
            .await
            .during("dynamodb:GetItem")?;
        found.item.map(|item| policy_from_item(&item)).transpose()
    }
}

const POLICY: &str = "POL#policy";
const CURRENT: &str = "CURRENT";
const VERSION: &str = "V#";

/// The key of the policy that counts.
pub(super) fn policy_key() -> Item {
    key(CURRENT)
}

pub(super) fn policy_from_item(item: &Item) -> Result<PublishedPolicy, LedgerError> {
    let id = string(item, "sk").unwrap_or(CURRENT);
    let numbered = |name: &str| match item.get(name) {
        Some(AttributeValue::N(number)) => Ok(number.as_str()),
        _ => Err(unreadable(id, format!("it has no {name}"))),
    };
    let schema = numbered("schema")?;
    if schema.parse::<u32>().map_or(true, |schema| schema > SCHEMA) {
        return Err(LedgerError::Newer { id: named(id), schema: schema.to_owned() });
    }
    let document =
        string(item, "document").ok_or_else(|| unreadable(id, "it has no document".to_owned()))?;
    let published: PublishedPolicy =
        serde_json::from_str(document).map_err(|error| unreadable(id, error.to_string()))?;
    if numbered("version")?.parse() != Ok(published.version) {
        return Err(unreadable(id, "its version is not that of its document".to_owned()));
    }
    Ok(published)
}

fn key(sk: &str) -> Item {
    Item::from([("pk".to_owned(), text(POLICY)), ("sk".to_owned(), text(sk))])
}

/// Twelve digits, so that versions are in order.
fn version_key(version: u64) -> String {
    format!("{VERSION}{version:012}")
}

fn named(sk: &str) -> String {
    format!("{POLICY}/{sk}")
}

fn unreadable(sk: &str, reason: String) -> LedgerError {
    LedgerError::Unreadable { id: named(sk), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(published: &PublishedPolicy) -> Item {
        let mut item = policy_key();
        item.insert("schema".to_owned(), number(SCHEMA.into()));
        item.insert("version".to_owned(), number(published.version));
        item.insert("document".to_owned(), text(&serde_json::to_string(published).unwrap()));
        item
    }

    fn published() -> PublishedPolicy {
        PublishedPolicy {
            version: 7,
            policy: Policy::observe(),
            source: "[controls]\n".to_owned(),
            by: "arn:aws:iam::111122223333:user/ann".to_owned(),
            at: "2026-02-03T04:05:06Z".parse().unwrap(),
            note: None,
        }
    }

    #[test]
    fn what_was_published_is_read_as_it_was() {
        assert_eq!(policy_from_item(&item(&published())), Ok(published()));
    }

    #[test]
    fn an_item_of_a_newer_version_is_left_alone() {
        let mut item = item(&published());
        item.insert("schema".to_owned(), number(2));
        item.insert("document".to_owned(), text("whatever it is then"));
        let error = policy_from_item(&item).unwrap_err();
        assert!(matches!(error, LedgerError::Newer { schema, .. } if schema == "2"));
    }

    #[test]
    fn an_item_that_is_no_policy_is_an_error_and_never_the_default() {
        for name in ["schema", "version", "document"] {
            let mut less = item(&published());
            less.remove(name);
            let error = policy_from_item(&less).unwrap_err().to_string();
            assert!(error.contains("POL#policy/CURRENT") && error.contains(name), "{error}");
        }
        for document in ["", "{}", "null", r#"{"version":7}"#] {
            let mut broken = item(&published());
            broken.insert("document".to_owned(), text(document));
            assert!(matches!(policy_from_item(&broken), Err(LedgerError::Unreadable { .. })));
        }
        let mut other = item(&published());
        other.insert("version".to_owned(), number(8));
        assert!(policy_from_item(&other).is_err());
    }

    #[test]
    fn versions_are_in_order_as_text() {
        assert!(version_key(9) < version_key(10));
        assert!(version_key(999) < version_key(1_000));
    }
}
