//! The real operator behind its function URL, with people who sign what they ask.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_http_client::{
    Connector,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{http::HttpConnector as _, orchestrator::HttpRequest};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};
use quell_engine::{
    ledger::Record,
    policy::{Mode, Person, Policy},
};
use quell_local::{
    Answer, Cloud, FrontDoor, Function, Key, Stack,
    cloud::{ACCOUNT, REGION},
    scenario::Staged,
};
use serde_json::{Value, json};

use crate::{
    buttons,
    rig::{Rig, binary},
};

pub struct Desk {
    pub door: FrontDoor,
    pub operator: Arc<Function>,
    functions: Vec<Arc<Function>>,
}

impl Desk {
    /// The operator of the stack, and the functions that it wakes.
    pub async fn open(stack: &Stack, functions: Vec<Arc<Function>>) -> Self {
        Self::open_under(stack, functions, "").await
    }

    /// An operator that knows these ceilings, as the template would tell it. Empty: those of the stack.
    pub async fn open_under(stack: &Stack, functions: Vec<Arc<Function>>, ceilings: &str) -> Self {
        let ceilings = (!ceilings.is_empty()).then(|| ("QUELL_CEILINGS".into(), ceilings.into()));
        Self::open_with(stack, functions, ceilings.into_iter().collect(), Vec::new()).await
    }

    /// An operator that takes orders from Slack, brought by whoever holds this key. What it says there is noted.
    pub async fn open_to_slack(stack: &Stack, functions: Vec<Arc<Function>>, key: &str) -> Self {
        let environment = buttons::operator_environment();
        Self::open_with(stack, functions, environment, vec![buttons::session(key)]).await
    }

    /// The same, where the function that would say it cannot be invoked.
    pub async fn open_with_nobody_to_speak(
        stack: &Stack,
        functions: Vec<Arc<Function>>,
        key: &str,
    ) -> Self {
        let mut environment = buttons::operator_environment();
        for (name, value) in &mut environment {
            if name == "QUELL_SLACK_FUNCTION" {
                value.push_str("-gone");
            }
        }
        Self::open_with(stack, functions, environment, vec![buttons::session(key)]).await
    }

    /// The same, where the functions that would obey cannot be invoked.
    pub async fn open_with_nobody_to_obey(
        stack: &Stack,
        functions: Vec<Arc<Function>>,
        key: &str,
    ) -> Self {
        let mut environment = buttons::operator_environment();
        let gone = functions.iter().map(|one| format!("{}={}-gone", one.name(), one.arn()));
        let gone = gone.collect::<Vec<_>>().join(",");
        environment.push(("QUELL_FUNCTIONS".to_owned(), gone));
        Self::open_with(stack, functions, environment, vec![buttons::session(key)]).await
    }

    async fn open_with(
        stack: &Stack,
        functions: Vec<Arc<Function>>,
        settings: Vec<(String, String)>,
        more: Vec<Key>,
    ) -> Self {
        let mut door = FrontDoor::at("127.0.0.1", 0).await.expect("there is a free port");
        let mut environment = stack.operator_environment(&door, &functions);
        environment.retain(|(name, _)| settings.iter().all(|(other, _)| other != name));
        environment.extend(settings);
        door.note(buttons::SPEAKER);
        let operator = Arc::new(Function::new(
            "operator",
            binary("operator"),
            environment,
            Duration::from_secs(60),
            256,
        ));
        let mut keys: Vec<Key> = ["alice", "bob", "eve"].map(key).into();
        keys.push(Cloud::key());
        keys.extend(more);
        door.open(Arc::clone(&operator), functions.clone(), keys);
        Self { door, operator, functions }
    }

    /// What the operator answers to an order that this person signs.
    pub async fn order(&self, person: &str, order: &Value) -> (u16, Value) {
        let request = signed(&self.door.url(), &key(person), SystemTime::now(), &order.to_string());
        sent(request).await
    }

    /// What the operator said in Slack since the last time, once it has said so much.
    pub async fn said(&self, count: usize) -> Vec<Value> {
        let mut said = Vec::new();
        for _ in 0..600 {
            let invoked = self.door.invocations().into_iter();
            let to_slack = invoked.filter(|one| one.function == buttons::SPEAKER);
            said.extend(to_slack.map(|one| one.event["slack"].clone()));
            if said.len() >= count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        said
    }

    /// Delivers the event to the function of its control, and returns the record that came of it.
    pub async fn deliver(&self, rig: &Rig, staged: &Staged) -> Record {
        let function = quell_controls::REGISTRY.iter().find(|meta| meta.id == staged.control);
        let function = function.expect("the control is registered").function;
        let function = self.functions.iter().find(|one| one.name() == function);
        let function = function.expect("the desk has the function");
        let attempt = function.invoke(staged.event.to_string()).await.expect("it runs");
        let Answer::Response(response) = attempt.answer else { panic!("{:?}", attempt.answer) };
        let results = response["results"].as_array().expect("results");
        let own = results.iter().find(|report| report["control"] == staged.control);
        let id = own.and_then(|report| report["record"].as_str());
        let id = id.unwrap_or_else(|| panic!("no record came of it: {response}"));
        rig.ledger.read(id).await.expect("it is read").expect("it is there")
    }

    /// Runs recovery, as the schedule does.
    pub async fn recover(&self) -> Answer {
        let event = json!({
            "version": "0",
            "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": ACCOUNT,
            "time": "2026-03-01T02:03:04Z",
            "region": REGION,
            "resources": [format!("arn:aws:events:{REGION}:{ACCOUNT}:rule/quell-OperatorRecovery")],
            "detail": {},
        });
        self.operator.invoke(event.to_string()).await.expect("it runs").answer
    }
}

/// The access key of somebody in the account.
pub fn key(person: &str) -> Key {
    Key {
        id: format!("AKIA{}", person.to_uppercase()),
        secret: format!("the secret of {person}"),
        arn: arn(person),
    }
}

/// The principal of somebody in the account.
pub fn arn(person: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:user/{person}")
}

/// A policy that knows alice and bob and nobody else, with every control in this mode.
pub fn people(mode: Mode) -> Policy {
    let person =
        |name: &str| Person { name: name.to_owned(), slack: None, principals: vec![arn(name)] };
    let people = ["alice", "bob"].map(person).into();
    Policy { people, ..Policy::by_name(mode, quell_controls::REGISTRY) }
}

/// An order as a request that holds the key's signature of this time.
pub fn signed(url: &str, key: &Key, time: SystemTime, body: &str) -> HttpRequest {
    let identity = Credentials::new(&key.id, &key.secret, None, None, "test").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name("lambda")
        .time(time)
        .settings(SigningSettings::default())
        .build()
        .expect("nothing is missing")
        .into();
    let signable =
        SignableRequest::new("POST", url, std::iter::empty(), SignableBody::Bytes(body.as_bytes()));
    let (instructions, _) =
        sign(signable.expect("a request"), &params).expect("it is signed").into_parts();
    let mut request = HttpRequest::new(SdkBody::from(body));
    request.set_method("POST").expect("a method");
    request.set_uri(url).expect("an address");
    for (name, value) in instructions.headers() {
        request.headers_mut().insert(name.to_owned(), value.to_owned());
    }
    request
}

/// Status and body of the response.
pub async fn sent(request: HttpRequest) -> (u16, Value) {
    let connector = Connector::builder().tls_provider(Provider::Rustls(CryptoMode::Ring)).build();
    let response = connector.call(request).await.expect("an answer");
    let status = response.status().as_u16();
    let body = ByteStream::new(response.into_body()).collect().await.expect("a body").to_vec();
    let text = String::from_utf8_lossy(&body).into_owned();
    (status, serde_json::from_slice(&body).unwrap_or(Value::String(text)))
}
