//! What the template deploys beside the functions, made in the emulator.

use std::{collections::BTreeMap, sync::Arc};

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType,
};
use aws_sdk_sqs::types::QueueAttributeName;
use quell_engine::{Clients, ledger::Ledger, policy::Policy};
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    Cloud, DeadLetterQueue, Deployment, FrontDoor, Function, SlackApi, Template,
    cloud::{ACCOUNT, REGION},
    scenario::{self, Staged},
};

/// Parameters that deploy what is optional.
pub const OPTIONS: [(&str, &str); 7] = [
    ("SecurityHub", "yes"),
    ("ImportFindings", "yes"),
    ("RouteTopics", ROUTED),
    (
        "SlackBotTokenSecret",
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:SlackBotTokenSecret",
    ),
    (
        "SlackSigningSecret",
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:SlackSigningSecret",
    ),
    ("SlackChannel", "C0123456789"),
    ("SlackWorkspace", "T0123ABCD"),
];

/// The topic that routes of the policy may lead to.
pub const ROUTED: &str = "arn:aws:sns:eu-west-1:123456789012:quell-routed";

/// Trouble with the emulator, in words.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// A ledger, a topic with a subscriber, and a dead-letter queue.
#[derive(Clone, Debug)]
pub struct Stack {
    pub ledger: String,
    pub topic: String,
    name: String,
    cloud: Cloud,
    inbox: String,
    dead_letters: String,
}

/// A queue of the topic's messages as they were given to it, with a queue for what nobody handles.
#[derive(Clone, Debug)]
pub struct Listener {
    pub queue: String,
    pub dead_letters: String,
}

/// A message as a queue gets it that is subscribed to the topic.
#[derive(Clone, Debug)]
pub struct Message {
    pub id: String,
    pub subject: Option<String>,
    /// The text for `sqs`.
    pub body: String,
    /// What filter policies see.
    pub attributes: BTreeMap<String, String>,
}

/// A message as it was given to the topic, with what it says to each kind of subscriber.
#[derive(Clone, Debug)]
pub struct Published {
    pub id: String,
    pub subject: Option<String>,
    /// By protocol, such as `default`, `email`, `https`.
    pub texts: BTreeMap<String, String>,
    pub attributes: BTreeMap<String, String>,
}

/// An event that no attempt could handle.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The event.
    pub body: String,
    /// `RequestID`, `ErrorCode`, `ErrorMessage`.
    pub attributes: BTreeMap<String, String>,
}

impl Stack {
    pub async fn deploy(cloud: &Cloud) -> Result<Self, Error> {
        Self::deploy_as(cloud, "quell").await
    }

    /// Several can live in one emulator, each with a prefix of its own.
    pub async fn deploy_as(cloud: &Cloud, prefix: &str) -> Result<Self, Error> {
        let ledger = format!("{prefix}-ledger");
        make_ledger(cloud, &ledger).await?;

        let topic = cloud.sns.create_topic().name(format!("{prefix}-messages")).send().await?;
        let topic = topic.topic_arn.ok_or("CreateTopic gave no ARN")?;
        let inbox = make_queue(cloud, &format!("{prefix}-inbox")).await?;
        let dead_letters = make_queue(cloud, &format!("{prefix}-dead-letters")).await?;
        let arn = queue_arn(cloud, &inbox).await?;
        cloud.sns.subscribe().topic_arn(&topic).protocol("sqs").endpoint(arn).send().await?;
        Ok(Self {
            ledger,
            topic,
            name: prefix.to_owned(),
            cloud: cloud.clone(),
            inbox,
            dead_letters,
        })
    }

    /// The same stack with another ledger, which is empty.
    pub async fn with_ledger(&self, name: &str) -> Result<Self, Error> {
        make_ledger(&self.cloud, name).await?;
        Ok(Self { ledger: name.to_owned(), ..self.clone() })
    }

    /// This stack as one that the template is deployed as, with every function at this ceiling, and with all that is
    /// optional.
    pub fn deployment(&self, template: &Template, ceiling: &str) -> Deployment {
        let ceilings = template.ceilings().into_iter().map(|name| (name, ceiling.to_owned()));
        let options = OPTIONS.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Deployment {
            account: ACCOUNT.to_owned(),
            region: REGION.to_owned(),
            stack: self.name.clone(),
            parameters: ceilings.chain(options).collect(),
            names: [("Ledger".to_owned(), self.ledger.clone())].into(),
        }
    }

    /// The name that a function has when it is deployed.
    pub fn function_name(&self, function: &str) -> String {
        format!("{}-{function}", self.name)
    }

    /// What a function of this stack is given: where AWS is, and what the template sets. `ceiling` is `observe` or
    /// `act`.
    pub fn environment(&self, ceiling: &str) -> Vec<(String, String)> {
        let mut environment = self.cloud.environment();
        environment.extend(
            [
                ("QUELL_ACCOUNT", ACCOUNT),
                ("QUELL_LEDGER_TABLE", self.ledger.as_str()),
                ("QUELL_TOPIC_ARN", self.topic.as_str()),
                ("QUELL_CEILING", ceiling),
                ("QUELL_LEASE_MARGIN", "30"),
                ("QUELL_STACK", "quell"),
                ("QUELL_SWEEP_MINUTES", "60"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        environment
    }

    /// Makes a policy count, as `quell policy apply` does.
    pub async fn apply_policy(&self, policy: &Policy) -> Result<(), Error> {
        let aws = Clients::new(self.cloud.sdk.clone(), ACCOUNT);
        let ledger = Ledger::new(&aws, self.ledger.as_str());
        let seen = ledger.policy().await?.map_or(0, |there| there.version);
        let source = "# Made by a program: `quell policy show --json` has what it says.\n";
        let by = format!("arn:aws:iam::{ACCOUNT}:root");
        ledger.publish_policy(policy.clone(), source, &by, None, seen).await?;
        Ok(())
    }

    /// Makes the bad state of a control, and has the ledger know what a sweep would have seen before.
    pub async fn stage(&self, control: &str, name: &str) -> Result<Staged, scenario::Error> {
        let staged = scenario::stage(&self.cloud, control, name).await?;
        let aws = Clients::new(self.cloud.sdk.clone(), ACCOUNT);
        let ledger = Ledger::new(&aws, self.ledger.as_str());
        scenario::remember(&self.cloud, &ledger, &staged).await?;
        Ok(staged)
    }

    /// Subscribes a queue as a function's source, which gives an item up after so many deliveries. With alarms, or
    /// without.
    pub async fn listen(
        &self,
        name: &str,
        deliveries: u32,
        hears_alarms: bool,
    ) -> Result<Listener, Error> {
        let dead_letters = make_queue(&self.cloud, &format!("{}-{name}-dead", self.name)).await?;
        let given_up = serde_json::json!({
            "deadLetterTargetArn": queue_arn(&self.cloud, &dead_letters).await?,
            "maxReceiveCount": deliveries,
        });
        let queue = self.cloud.sqs.create_queue().queue_name(format!("{}-{name}", self.name));
        let queue = queue
            .attributes(QueueAttributeName::RedrivePolicy, given_up.to_string())
            .attributes(QueueAttributeName::VisibilityTimeout, "360")
            .send()
            .await?;
        let queue = queue.queue_url.ok_or("CreateQueue gave no URL")?;
        let subscribe = self.cloud.sns.subscribe().topic_arn(&self.topic).protocol("sqs");
        let mut subscribe = subscribe
            .endpoint(queue_arn(&self.cloud, &queue).await?)
            .attributes("RawMessageDelivery", "true");
        if !hears_alarms {
            subscribe = subscribe.attributes("FilterPolicy", r#"{"outcome":[{"exists":true}]}"#);
        }
        subscribe.send().await?;
        Ok(Listener { queue, dead_letters })
    }

    /// Keeps a secret, and returns its ARN.
    pub async fn keep_secret(&self, name: &str, value: &str) -> Result<String, Error> {
        let create = self.cloud.secretsmanager.create_secret();
        let kept = create.name(format!("{}-{name}", self.name)).secret_string(value).send().await?;
        Ok(kept.arn.ok_or("CreateSecret gave no ARN")?)
    }

    /// What the function `slack` of this stack is given.
    pub fn slack_environment(
        &self,
        secret: &str,
        channel: &str,
        api: &SlackApi,
    ) -> Vec<(String, String)> {
        let mut environment = self.environment("observe");
        environment.extend(
            [
                ("QUELL_SLACK_SECRET", secret),
                ("QUELL_SLACK_CHANNEL", channel),
                ("QUELL_SLACK_BUTTONS", "yes"),
                ("QUELL_SLACK_STAND_IN", &api.url()),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        environment
    }

    /// What the operator of this stack is given. It wakes these functions through the front door.
    pub fn operator_environment(
        &self,
        door: &FrontDoor,
        functions: &[Arc<Function>],
    ) -> Vec<(String, String)> {
        // Each function has a ceiling of its own in its environment; here all may act.
        let name = |one: &Function| {
            let deployed = one.name();
            let bare = deployed.strip_prefix(&self.function_name("")).unwrap_or(deployed);
            bare.to_owned()
        };
        let ceilings: Vec<_> = functions.iter().map(|one| format!("{}=act", name(one))).collect();
        let functions: Vec<_> =
            functions.iter().map(|one| format!("{}={}", name(one), one.arn())).collect();
        let mut environment = self.cloud.environment();
        environment.extend(
            [
                ("QUELL_ACCOUNT", ACCOUNT),
                ("QUELL_LEDGER_TABLE", self.ledger.as_str()),
                ("QUELL_TOPIC_ARN", self.topic.as_str()),
                ("QUELL_FUNCTIONS", &functions.join(",")),
                ("QUELL_CEILINGS", &ceilings.join(",")),
                ("AWS_ENDPOINT_URL_LAMBDA", door.url().trim_end_matches('/')),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        environment
    }

    /// What the function that tells Security Hub is given.
    pub fn security_hub_environment(&self, imports: bool) -> Vec<(String, String)> {
        let mut environment = self.cloud.environment();
        environment.extend(
            [
                ("QUELL_ACCOUNT", ACCOUNT),
                ("QUELL_LEDGER_TABLE", self.ledger.as_str()),
                ("QUELL_IMPORT_FINDINGS", if imports { "yes" } else { "no" }),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        environment
    }

    /// The AWS that it is in.
    pub fn cloud(&self) -> &Cloud {
        &self.cloud
    }

    pub fn dead_letter_queue(&self) -> DeadLetterQueue {
        DeadLetterQueue { sqs: self.cloud.sqs.clone(), url: self.dead_letters.clone() }
    }

    /// The messages since the last time, as a queue gets them.
    pub async fn messages(&self) -> Result<Vec<Message>, Error> {
        self.received(&self.inbox)
            .await?
            .iter()
            .map(|message| {
                let envelope: Envelope = serde_json::from_str(message.body().unwrap_or_default())?;
                let attributes = envelope.attributes.into_iter();
                Ok(Message {
                    id: envelope.id,
                    subject: envelope.subject,
                    body: envelope.message,
                    attributes: attributes
                        .map(|(name, attribute)| (name, attribute.value))
                        .collect(),
                })
            })
            .collect()
    }

    /// All messages ever given to the topic, with the texts for subscribers that cannot live on this machine. AWS has
    /// no such call; the emulator of this crate has.
    pub async fn published(&self) -> Result<Vec<Published>, Error> {
        self.published_to(&self.topic).await
    }

    /// The same of any topic.
    pub async fn published_to(&self, topic: &str) -> Result<Vec<Published>, Error> {
        let given: Vec<Given> =
            serde_json::from_slice(&fetched(&self.cloud.endpoint, "/quell/published").await?)?;
        let ours = given.into_iter().filter(|message| message.topic == topic);
        Ok(ours
            .map(|message| Published {
                id: message.id,
                subject: message.subject,
                texts: serde_json::from_str(&message.message)
                    .unwrap_or_else(|_| BTreeMap::from([("default".into(), message.message)])),
                attributes: message.attributes,
            })
            .collect())
    }

    /// The events since the last time that no attempt could handle.
    pub async fn dead_letters(&self) -> Result<Vec<DeadLetter>, Error> {
        let messages = self.received(&self.dead_letters).await?.into_iter();
        Ok(messages
            .map(|message| DeadLetter {
                body: message.body.unwrap_or_default(),
                attributes: message
                    .message_attributes
                    .unwrap_or_default()
                    .into_iter()
                    .filter_map(|(name, value)| Some((name, value.string_value?)))
                    .collect(),
            })
            .collect())
    }

    /// Empties a queue.
    pub async fn received(&self, queue: &str) -> Result<Vec<aws_sdk_sqs::types::Message>, Error> {
        let sqs = &self.cloud.sqs;
        let mut all = Vec::new();
        loop {
            let received = sqs
                .receive_message()
                .queue_url(queue)
                .max_number_of_messages(10)
                .message_attribute_names("All")
                .send()
                .await?;
            let messages = received.messages.unwrap_or_default();
            if messages.is_empty() {
                return Ok(all);
            }
            for message in &messages {
                let handle = message.receipt_handle().unwrap_or_default();
                sqs.delete_message().queue_url(queue).receipt_handle(handle).send().await?;
            }
            all.extend(messages);
        }
    }
}

/// What SNS wraps around a message.
/// <https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html>
#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "MessageId")]
    id: String,
    #[serde(rename = "Subject")]
    subject: Option<String>,
    #[serde(rename = "Message")]
    message: String,
    #[serde(rename = "MessageAttributes", default)]
    attributes: BTreeMap<String, EnvelopeAttribute>,
}

#[derive(Deserialize)]
struct EnvelopeAttribute {
    #[serde(rename = "Value")]
    value: String,
}

/// What the emulator's `/quell/published` says.
#[derive(Deserialize)]
struct Given {
    topic: String,
    id: String,
    subject: Option<String>,
    message: String,
    attributes: BTreeMap<String, String>,
}

async fn make_ledger(cloud: &Cloud, name: &str) -> Result<(), Error> {
    let key =
        |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    let by_control = GlobalSecondaryIndex::builder()
        .index_name("by-control")
        .key_schema(key("control", KeyType::Hash)?)
        .key_schema(key("created", KeyType::Range)?)
        .projection(Projection::builder().projection_type(ProjectionType::All).build())
        .build()?;
    let by_due = GlobalSecondaryIndex::builder()
        .index_name("by-due")
        .key_schema(key("open", KeyType::Hash)?)
        .key_schema(key("due", KeyType::Range)?)
        .projection(Projection::builder().projection_type(ProjectionType::All).build())
        .build()?;
    let mut table = cloud
        .dynamodb
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key("pk", KeyType::Hash)?)
        .key_schema(key("sk", KeyType::Range)?)
        .global_secondary_indexes(by_control)
        .global_secondary_indexes(by_due);
    for attribute in ["pk", "sk", "control", "created", "open", "due"] {
        table = table.attribute_definitions(
            AttributeDefinition::builder()
                .attribute_name(attribute)
                .attribute_type(ScalarAttributeType::S)
                .build()?,
        );
    }
    table.send().await?;
    Ok(())
}

async fn make_queue(cloud: &Cloud, name: &str) -> Result<String, Error> {
    let queue = cloud.sqs.create_queue().queue_name(name).send().await?;
    Ok(queue.queue_url.ok_or("CreateQueue gave no URL")?)
}

pub(crate) async fn queue_arn(cloud: &Cloud, queue: &str) -> Result<String, Error> {
    let asked = cloud.sqs.get_queue_attributes().queue_url(queue);
    let asked = asked.attribute_names(QueueAttributeName::QueueArn).send().await?;
    let arn = asked.attributes().and_then(|known| known.get(&QueueAttributeName::QueueArn));
    Ok(arn.ok_or("GetQueueAttributes gave no ARN")?.clone())
}

/// One plain request. An HTTP client is not worth having for it.
async fn fetched(endpoint: &str, path: &str) -> Result<Vec<u8>, Error> {
    let address = endpoint.strip_prefix("http://").unwrap_or(endpoint);
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await?;
    let head = reply.windows(4).position(|bytes| bytes == b"\r\n\r\n").ok_or("no reply")?;
    if !reply.starts_with(b"HTTP/1.1 200 ") {
        return Err(String::from_utf8_lossy(&reply).into());
    }
    Ok(reply.split_off(head + 4))
}
