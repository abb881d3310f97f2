//! What Lambda delivers of a queue, and what it wants to hear.
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize)]
pub(crate) struct Batch {
    #[serde(rename = "Records")]
    pub(crate) deliveries: Vec<Delivery>,
}

/// One message of the queue.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Delivery {
    pub(crate) message_id: String,
    pub(crate) body: String,
    #[serde(default)]
    attributes: Attributes,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attributes {
    /// Milliseconds since 1970.
    sent_timestamp: Option<String>,
}

impl Delivery {
    /// When the queue got it: the same in every delivery.
    pub(crate) fn sent(&self) -> Option<Timestamp> {
        let millis = self.attributes.sent_timestamp.as_ref()?.parse().ok()?;
        Timestamp::from_millisecond(millis).ok()
    }
}

/// The messages that the queue delivers again. It forgets the others.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer {
    pub(crate) batch_item_failures: Vec<Failed>,
}

#[derive(Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Failed {
    pub(crate) item_identifier: String,
}
