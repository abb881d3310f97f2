//! A queue of the topic as the source of a function's events: what Lambda's event source mapping does.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>

use std::sync::Arc;

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use serde_json::{Value, json};

use crate::{
    Answer, Cloud, Function, Stack,
    cloud::REGION,
    stack::{Error, Listener, queue_arn},
};

#[derive(Clone, Debug)]
pub struct Source {
    pub listener: Listener,
    pub function: Arc<Function>,
    arn: String,
    cloud: Cloud,
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Polled {
    /// Bodies of the items that were handled, and are gone.
    pub handled: Vec<String>,
    /// Those that come again.
    pub failed: Vec<String>,
    /// What the function answered. `None`: nothing waited.
    pub answer: Option<Answer>,
}

impl Source {
    pub async fn new(
        stack: &Stack,
        listener: Listener,
        function: Arc<Function>,
    ) -> Result<Self, Error> {
        let cloud = stack.cloud().clone();
        let arn = queue_arn(&cloud, &listener.queue).await?;
        Ok(Self { listener, function, arn, cloud })
    }

    /// Hands at most ten items to the function, and deletes those that it handled. The others are there again at once:
    /// their time on the queue passes.
    pub async fn poll(&self) -> Result<Polled, Error> {
        let (sqs, queue) = (&self.cloud.sqs, &self.listener.queue);
        let received = sqs
            .receive_message()
            .queue_url(queue)
            .max_number_of_messages(10)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .send()
            .await?;
        let items = received.messages.unwrap_or_default();
        if items.is_empty() {
            return Ok(Polled::default());
        }
        let records: Vec<Value> = items.iter().map(|item| self.record(item)).collect();
        let attempt = self.function.invoke(json!({"Records": records}).to_string()).await?;
        let failed = failures(&attempt.answer, &items);
        let mut polled = Polled { answer: Some(attempt.answer), ..Polled::default() };
        for item in &items {
            let (id, handle) = (item.message_id(), item.receipt_handle().unwrap_or_default());
            let body = item.body().unwrap_or_default().to_owned();
            if failed.iter().any(|failed| Some(failed.as_str()) == id) {
                let again = sqs.change_message_visibility().queue_url(queue);
                again.receipt_handle(handle).visibility_timeout(0).send().await?;
                polled.failed.push(body);
            } else {
                sqs.delete_message().queue_url(queue).receipt_handle(handle).send().await?;
                polled.handled.push(body);
            }
        }
        Ok(polled)
    }

    fn record(&self, item: &Message) -> Value {
        let attributes = item.attributes.iter().flatten();
        let attributes: serde_json::Map<String, Value> =
            attributes.map(|(name, value)| (name.as_str().to_owned(), json!(value))).collect();
        json!({
            "messageId": item.message_id,
            "receiptHandle": item.receipt_handle,
            "body": item.body,
            "attributes": attributes,
            "messageAttributes": {},
            "md5OfBody": item.md5_of_body,
            "eventSource": "aws:sqs",
            "eventSourceARN": self.arn,
            "awsRegion": REGION,
        })
    }
}

/// A function that fails, or says what nobody understands, has handled nothing.
fn failures(answer: &Answer, items: &[Message]) -> Vec<String> {
    let all = || items.iter().filter_map(|item| item.message_id.clone()).collect();
    let Answer::Response(response) = answer else { return all() };
    let Some(failed) = response["batchItemFailures"].as_array() else { return Vec::new() };
    let ids: Option<Vec<String>> =
        failed.iter().map(|one| one["itemIdentifier"].as_str().map(str::to_owned)).collect();
    ids.filter(|ids| !ids.iter().any(String::is_empty)).unwrap_or_else(all)
}
