//! A queue between the topic and a function, and Lambda's event source mapping, which reads it.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>

use std::sync::Arc;

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};
use serde_json::{Value, json};

use crate::{
    Attempt, Cloud, Function, Stack,
    cloud::REGION,
    stack::{Error, make_queue},
};

/// As the template makes it: messages as they are, and no alarms.
#[derive(Debug)]
pub struct Mapping {
    cloud: Cloud,
    queue: String,
    arn: String,
    function: Arc<Function>,
}

impl Mapping {
    /// A queue of this name, with all that the stack's topic is given from now on.
    pub async fn new(stack: &Stack, name: &str, function: Arc<Function>) -> Result<Self, Error> {
        let cloud = stack.cloud().clone();
        let queue = make_queue(&cloud, name).await?;
        let attributes = cloud
            .sqs
            .get_queue_attributes()
            .queue_url(&queue)
            .attribute_names(QueueAttributeName::QueueArn)
            .send()
            .await?;
        let arn = attributes
            .attributes()
            .and_then(|attributes| attributes.get(&QueueAttributeName::QueueArn))
            .ok_or("GetQueueAttributes gave no ARN")?;
        cloud
            .sns
            .subscribe()
            .topic_arn(&stack.topic)
            .protocol("sqs")
            .endpoint(arn)
            .attributes("RawMessageDelivery", "true")
            .attributes("FilterPolicy", r#"{"outcome":[{"exists":true}]}"#)
            .send()
            .await?;
        let arn = arn.clone();
        Ok(Self { cloud, queue, arn, function })
    }

    /// Gives the function what waits, at most ten messages, and takes out of the queue what it does not call failed.
    /// What failed waits again. `None`: nothing waits.
    pub async fn poll(&self) -> Result<Option<Attempt>, Error> {
        let received = self
            .cloud
            .sqs
            .receive_message()
            .queue_url(&self.queue)
            .max_number_of_messages(10)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .send()
            .await?;
        let messages = received.messages.unwrap_or_default();
        if messages.is_empty() {
            return Ok(None);
        }
        let records: Vec<Value> = messages.iter().map(|message| self.record(message)).collect();
        let attempt = self.function.invoke(json!({"Records": records}).to_string()).await?;
        for message in &messages {
            let handle = message.receipt_handle().unwrap_or_default();
            let sqs = &self.cloud.sqs;
            if has_failed(&attempt, message.message_id().unwrap_or_default()) {
                sqs.change_message_visibility()
                    .queue_url(&self.queue)
                    .receipt_handle(handle)
                    .visibility_timeout(0)
                    .send()
                    .await?;
            } else {
                sqs.delete_message().queue_url(&self.queue).receipt_handle(handle).send().await?;
            }
        }
        Ok(Some(attempt))
    }

    fn record(&self, message: &Message) -> Value {
        let attributes = message.attributes.iter().flatten();
        let attributes: serde_json::Map<String, Value> =
            attributes.map(|(name, value)| (name.as_str().to_owned(), json!(value))).collect();
        json!({
            "messageId": message.message_id,
            "receiptHandle": message.receipt_handle,
            "body": message.body,
            "attributes": attributes,
            "messageAttributes": {},
            "md5OfBody": message.md5_of_body,
            "eventSource": "aws:sqs",
            "eventSourceARN": self.arn,
            "awsRegion": REGION,
        })
    }
}

/// A function that fails has done nothing of the batch.
fn has_failed(attempt: &Attempt, id: &str) -> bool {
    let crate::Answer::Response(response) = &attempt.answer else { return true };
    let failed = response["batchItemFailures"].as_array();
    failed.into_iter().flatten().any(|failed| failed["itemIdentifier"] == id)
}
