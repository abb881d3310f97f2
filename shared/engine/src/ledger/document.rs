//! Items whose content is one JSON document.

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};

use super::{Item, LedgerError, SCHEMA, number, string, text, to_json};

/// The key of an item.
pub(super) fn key(pk: &str, sk: &str) -> Item {
    Item::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

/// The item of this key. Once `until` is past, DynamoDB takes it away some time later.
pub(super) fn to_item<T: Serialize>(
    key: Item,
    document: &T,
    until: Option<Timestamp>,
) -> Result<Item, LedgerError> {
    let mut item = key;
    let document = to_json(&name(&item), document)?;
    item.insert("schema".to_owned(), number(SCHEMA.into()));
    item.insert("document".to_owned(), text(&document));
    if let Some(until) = until {
        item.insert("expires".to_owned(), AttributeValue::N(until.as_second().to_string()));
    }
    Ok(item)
}

/// The document of an item, unless a newer version of Quell wrote it.
pub(super) fn from_item<T: DeserializeOwned>(item: &Item) -> Result<T, LedgerError> {
    let unreadable = |reason: String| LedgerError::Unreadable { id: name(item), reason };
    let schema = match item.get("schema") {
        Some(AttributeValue::N(schema)) => schema,
        _ => return Err(unreadable("it has no schema version".to_owned())),
    };
    if schema.parse::<u32>().map_or(true, |schema| schema > SCHEMA) {
        return Err(LedgerError::Newer { id: name(item), schema: schema.clone() });
    }
    let document =
        string(item, "document").ok_or_else(|| unreadable("it has no `document`".to_owned()))?;
    serde_json::from_str(document).map_err(|error| unreadable(error.to_string()))
}

fn name(item: &Item) -> String {
    string(item, "pk").unwrap_or("without a key").to_owned()
}
