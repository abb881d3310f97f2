//! An embedded AWS in which every function has the role that the template gives it, and nothing more.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use quell_controls::REGISTRY;
use quell_engine::{
    Clients,
    ledger::{Ledger, Order, Ordered, Record, Verb},
};
use quell_local::{
    Answer, Cloud, Emulator, FrontDoor, Function, Key, SlackApi, Stack, Template,
    cloud::{ACCOUNT, REGION},
    iam::Role,
    proxy::{Caller, Entry, Proxy},
    scenario::Staged,
    slack::TOKEN,
};
use quell_slack::{Action, Button};
use quell_tests::{
    buttons::{self, Post},
    desk::{arn, key, sent, signed},
    permissions::Removed,
    rig::binary,
};
use serde_json::{Value, json};

/// One emulator for many scenes, one after the other.
pub(crate) struct Stage {
    pub(crate) cloud: Cloud,
    pub(crate) proxy: Proxy,
    template: Template,
    stack: Stack,
    /// The ARN of the Slack app's signing secret.
    signing_secret: String,
    /// The same of its bot token.
    secret: String,
    scenes: AtomicUsize,
    _emulator: Emulator,
}

/// All functions with a ledger of their own.
pub(crate) struct Scene {
    pub(crate) cloud: Cloud,
    pub(crate) stack: Stack,
    pub(crate) ledger: Ledger,
    /// Unlike that of any other scene.
    pub(crate) name: String,
    pub(crate) operator: Arc<Function>,
    pub(crate) security_hub: Arc<Function>,
    pub(crate) slack: Function,
    pub(crate) slack_api: SlackApi,
    functions: Vec<Arc<Function>>,
    slack_actions: Function,
    /// Its way to the operator's URL.
    _way: Caller,
    door: FrontDoor,
}

impl Stage {
    pub(crate) async fn set() -> Self {
        let emulator = Emulator::start().unwrap();
        let cloud = emulator.cloud();
        let stack = Stack::deploy(&cloud).await.unwrap();
        Self {
            secret: stack.keep_secret("slack", TOKEN).await.unwrap(),
            signing_secret: stack.keep_secret("signing", buttons::SECRET).await.unwrap(),
            stack,
            cloud,
            proxy: Proxy::start(&emulator.endpoint).unwrap(),
            template: Template::of_the_project().unwrap(),
            scenes: AtomicUsize::new(0),
            _emulator: emulator,
        }
    }

    /// With every role as it is, but for what was removed from one.
    pub(crate) async fn scene(&self, removed: Option<&Removed>) -> Scene {
        self.proxy.clear();
        self.proxy.heal();
        let name = format!("s{}", self.scenes.fetch_add(1, Ordering::Relaxed));
        let stack = self.stack.with_ledger(&format!("quell-{name}")).await.unwrap();
        let ledger =
            Ledger::new(&Clients::new(self.cloud.sdk.clone(), ACCOUNT), stack.ledger.as_str());
        let assumed = |function: &str| {
            let role = self.role(function, &stack);
            self.proxy.assume(match removed.filter(|removed| removed.function == function) {
                Some(removed) => removed.from(&role),
                None => role,
            })
        };
        let deployed = |function: &str, environment: Vec<(String, String)>| {
            let key = assumed(function);
            let (name, program) = (stack.function_name(function), binary(function));
            let function = Function::new(name, program, environment, Duration::from_secs(60), 256);
            function.through(&self.proxy).signing_with(key)
        };
        let names = REGISTRY.iter().map(|meta| meta.function).collect::<BTreeSet<_>>();
        let functions: Vec<_> = names
            .into_iter()
            .map(|name| Arc::new(deployed(name, stack.environment("act"))))
            .collect();
        let slack_api = SlackApi::start(&[CHANNEL]).await.unwrap();
        let slack = deployed("slack", stack.slack_environment(&self.secret, CHANNEL, &slack_api));

        let mut door = FrontDoor::at("127.0.0.1", 0).await.unwrap();
        let name_of_operator = stack.function_name("operator");
        let url = door.url();
        self.proxy.function_url(&name_of_operator, url.trim_end_matches('/')).unwrap();
        let mut environment = stack.operator_environment(&door, &functions);
        environment.extend(buttons::operator_environment());
        // Through the proxy, as everything else.
        environment.retain(|(name, _)| name != "AWS_ENDPOINT_URL_LAMBDA");
        let operator = Arc::new(deployed("operator", environment));
        let key_of_slack = assumed("slack-actions");
        let way = self.proxy.caller(&stack.function_name("slack-actions")).unwrap();
        let slack_actions = buttons::function(&stack, &way.endpoint, &self.signing_secret)
            .through(&self.proxy)
            .signing_with(key_of_slack.clone());
        let mut keys: Vec<Key> = ["alice", "bob"].map(key).into();
        keys.push(buttons::session(&key_of_slack));
        door.note(buttons::SPEAKER);
        door.open(Arc::clone(&operator), functions.clone(), keys);
        let security_hub = Arc::new(deployed("security-hub", stack.security_hub_environment(true)));
        Scene {
            cloud: self.cloud.clone(),
            stack,
            ledger,
            name,
            operator,
            security_hub,
            slack,
            slack_api,
            functions,
            slack_actions,
            _way: way,
            door,
        }
    }

    /// The role of a function in this stack, with the ceiling `act`.
    pub(crate) fn role(&self, function: &str, stack: &Stack) -> Role {
        let mut deployment = stack.deployment(&self.template, "act");
        let secret = self.signing_secret.clone();
        deployment.parameters.insert("SlackSigningSecret".to_owned(), secret);
        deployment.parameters.insert("SlackBotTokenSecret".to_owned(), self.secret.clone());
        self.template.role(function, &deployment).unwrap()
    }

    /// What a function called, in its scene.
    pub(crate) fn calls(&self, scene: &Scene, function: &str) -> Vec<Entry> {
        let name = scene.stack.function_name(function);
        self.proxy.log().into_iter().filter(|call| call.caller == name).collect()
    }
}

/// Where messages appear in Slack.
const CHANNEL: &str = "C0123456789";

/// What a case says when it fails.
pub(crate) type Failed = String;

impl Scene {
    pub(crate) fn function(&self, control: &str) -> &Function {
        let meta = REGISTRY.iter().find(|meta| meta.id == control).expect("it is registered");
        let name = self.stack.function_name(meta.function);
        self.functions.iter().find(|one| one.name() == name).expect("it is deployed")
    }

    pub(crate) async fn stage(&self, control: &str) -> Staged {
        self.stage_as(control, &self.name).await
    }

    pub(crate) async fn stage_as(&self, control: &str, name: &str) -> Staged {
        self.stack.stage(control, name).await.unwrap()
    }

    /// The report about the control that the function answers with.
    pub(crate) async fn deliver(&self, control: &str, event: &Value) -> Result<Value, Failed> {
        let attempt = self.function(control).invoke(event.to_string()).await.unwrap();
        let Answer::Response(response) = attempt.answer else {
            return Err(format!("the function failed: {:?}", attempt.answer.error_message()));
        };
        let results = response["results"].as_array().cloned().unwrap_or_default();
        results
            .into_iter()
            .find(|report| report["control"] == control)
            .ok_or_else(|| format!("no report about {control}: {response}"))
    }

    /// Delivers the event, and returns the record that came of it with this outcome.
    pub(crate) async fn comes_to(&self, staged: &Staged, outcome: &str) -> Result<Record, Failed> {
        let report = self.deliver(staged.control, &staged.event).await?;
        check(report["outcome"] == outcome, || format!("not {outcome} but {report}"))?;
        let id = report["record"].as_str().ok_or("there is no record")?;
        self.record(id).await
    }

    pub(crate) async fn record(&self, id: &str) -> Result<Record, Failed> {
        self.ledger.read(id).await.unwrap().ok_or_else(|| format!("there is no record {id}"))
    }

    /// A person's order as it stands in the ledger, and the hint that makes the function read it.
    pub(crate) async fn order_and_hint(
        &self,
        record: &Record,
        verb: Verb,
        plan: Option<&str>,
    ) -> Result<Value, Failed> {
        self.order_at(record, verb, plan, SignedDuration::ZERO).await;
        self.hint(record).await
    }

    /// A person's order as it stands in the ledger since a while, of which nobody was told.
    pub(crate) async fn order_at(
        &self,
        record: &Record,
        verb: Verb,
        plan: Option<&str>,
        ago: SignedDuration,
    ) {
        let at = Timestamp::now() - ago;
        let order = Order {
            record: record.id.clone(),
            verb,
            plan: plan.map(str::to_owned),
            by: arn("bob"),
            person: Some("bob".to_owned()),
            at,
            expires: at + SignedDuration::from_hours(24),
        };
        assert_eq!(self.ledger.order(&order).await.unwrap(), Ordered::Given);
    }

    pub(crate) async fn hint(&self, record: &Record) -> Result<Value, Failed> {
        let event = json!({
            "source": "quell.operator",
            "id": format!("{:032x}", fastrand::u128(..)),
            "detail": {"record": record.id, "account": ACCOUNT, "region": record.intent.region},
        });
        self.deliver(&record.intent.control, &event).await
    }

    /// What the operator answers to an order that bob signs, if it has this status.
    pub(crate) async fn order(&self, order: Value, wanted: u16) -> Result<Value, Failed> {
        let now = SystemTime::now();
        let request = signed(&self.door.url(), &key("bob"), now, &order.to_string());
        let (status, body) = sent(request).await;
        check(status == wanted, || format!("{order}: {status} {body}"))?;
        Ok(body)
    }

    /// What was told of the resource since the last time.
    pub(crate) async fn messages_about(&self, staged: &Staged) -> Vec<String> {
        let messages = self.stack.messages().await.unwrap();
        let bodies = messages.into_iter().map(|message| message.body);
        bodies
            .filter(|body| {
                let body: Value = serde_json::from_str(body).unwrap();
                body["resource"]["name"] == staged.resource.as_str()
            })
            .collect()
    }

    /// Gives messages to the function that tells Security Hub.
    pub(crate) async fn tell_security_hub(&self, bodies: &[String]) -> Result<(), Failed> {
        check(!bodies.is_empty(), || "there are no messages".to_owned())?;
        let records: Vec<_> = bodies
            .iter()
            .enumerate()
            .map(|(place, body)| {
                let sent = 1_800_000_000_000 + place;
                json!({
                    "messageId": place.to_string(), "body": body,
                    "attributes": {"SentTimestamp": sent.to_string()},
                })
            })
            .collect();
        let batch = json!({"Records": records}).to_string();
        match self.security_hub.invoke(batch).await.unwrap().answer {
            Answer::Response(response) if response["batchItemFailures"] == json!([]) => Ok(()),
            other => Err(format!("Security Hub does not know it: {other:?}")),
        }
    }

    /// Presses a button in Slack, and returns what the member is told there.
    pub(crate) async fn press(
        &self,
        member: &str,
        action: Action,
        button: &Button,
    ) -> Result<String, Failed> {
        let post = Post::signed(buttons::pressed(member, action, button));
        let (status, _) = post.to(&self.slack_actions).await;
        check(status == 200, || format!("{action} by {member}: {status}"))?;
        for _ in 0..200 {
            let invoked = self.door.invocations().into_iter();
            let mut said = invoked.filter(|one| one.function == buttons::SPEAKER);
            if let Some(said) = said.next() {
                let text = said.event["slack"]["reply"]["text"].as_str();
                return Ok(text.unwrap_or_default().to_owned());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(format!("{action} by {member}: nothing is said"))
    }

    /// Hands the notice to the function that tells Slack, as its queue does.
    pub(crate) async fn tell_slack(&self, notice: &Value) -> Result<(), Failed> {
        let item = json!({"messageId": "1", "body": notice.to_string()});
        let event = json!({"Records": [item]});
        match self.slack.invoke(event.to_string()).await.unwrap().answer {
            Answer::Response(said) if said["batchItemFailures"] == json!([]) => Ok(()),
            Answer::Response(_) => Err(format!("not said: {}", self.slack.log().join("\n"))),
            other => Err(format!("slack failed: {:?}", other.error_message())),
        }
    }

    /// Runs recovery, as the schedule does.
    pub(crate) async fn recover(&self) -> Result<Value, Failed> {
        let event = json!({
            "source": "aws.events", "detail-type": "Scheduled Event", "account": ACCOUNT,
            "region": REGION, "time": "2026-03-01T02:03:04Z", "id": "1", "detail": {},
        });
        match self.operator.invoke(event.to_string()).await.unwrap().answer {
            Answer::Response(response) => Ok(response),
            other => Err(format!("recovery failed: {:?}", other.error_message())),
        }
    }

    /// Time passes until whoever holds the resource's lock must be dead.
    pub(crate) async fn lease_ends(&self, record: &Record) {
        let pk = format!("LCK#{ACCOUNT}#{}#{}", record.intent.region, record.intent.arn);
        self.cloud
            .dynamodb
            .update_item()
            .table_name(&self.stack.ledger)
            .key("pk", AttributeValue::S(pk))
            .key("sk", AttributeValue::S("LOCK".to_owned()))
            .update_expression("SET #until = :past")
            .expression_attribute_names("#until", "until")
            .expression_attribute_values(":past", AttributeValue::N("1".to_owned()))
            .send()
            .await
            .unwrap();
    }

    /// The outcomes that people were told of about the resource under its own control.
    pub(crate) async fn told(&self, staged: &Staged) -> Vec<String> {
        let messages = self.stack.messages().await.unwrap();
        let bodies = messages.iter().map(|one| serde_json::from_str::<Value>(&one.body).unwrap());
        bodies
            .filter(|body| {
                body["control"]["id"] == staged.control
                    && body["resource"]["name"] == staged.resource.as_str()
            })
            .map(|body| body["outcome"].as_str().unwrap().to_owned())
            .collect()
    }
}

pub(crate) fn check(holds: bool, otherwise: impl FnOnce() -> Failed) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(otherwise()) }
}
