//! An embedded AWS with Quell's engine in this process: for laws about what a control does.

use std::{
    cell::Cell,
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_runtime_api::{
    client::{
        http::{
            HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector,
            http_client_fn,
        },
        orchestrator::{HttpRequest, HttpResponse},
    },
    http::StatusCode,
    shared::IntoShared as _,
};
use aws_smithy_types::body::SdkBody;
use quell_controls::{All, REGISTRY};
use quell_engine::{
    Clients, Outcome, Report,
    aws::http_client,
    error::{EventFailure, Failure},
    evaluate::Engine,
    ledger::{Batch, Ledger, LockKey, Record},
    notify::Topic,
    policies::PolicyCache,
    policy::{Mode, Policy},
    protocol::Write,
    report::Response,
    serve::{Controls as _, handle},
};
use quell_local::{Cloud, Emulator, Stack, cloud::ACCOUNT, scenario::Staged};
use serde_json::Value;

/// Every delivery is another invocation.
static DELIVERIES: AtomicUsize = AtomicUsize::new(0);

pub struct Rig {
    pub cloud: Cloud,
    pub stack: Stack,
    pub aws: Clients,
    pub ledger: Ledger,
    /// The mode of the policy that was published last.
    published: Cell<Option<Mode>>,
    _emulator: Emulator,
}

impl Rig {
    pub async fn start() -> Self {
        let emulator = Emulator::start().expect("the embedded AWS starts");
        let cloud = Cloud::at(&emulator.endpoint);
        let stack = Stack::deploy(&cloud).await.expect("the stack is deployed");
        let aws = Clients::new(cloud.sdk.clone(), ACCOUNT);
        let ledger = Ledger::new(&aws, stack.ledger.as_str());
        Self { cloud, stack, aws, ledger, published: Cell::new(None), _emulator: emulator }
    }

    /// An engine under a policy that has every control in this mode, by its name.
    pub async fn engine(&self, mode: Mode) -> Engine {
        if self.published.replace(Some(mode)) != Some(mode) {
            let policy = Policy::by_name(mode, REGISTRY);
            self.stack.apply_policy(&policy).await.expect("the policy is published");
        }
        self.engine_under_policy()
    }

    /// An engine under whatever policy the ledger has.
    pub fn engine_under_policy(&self) -> Engine {
        Engine {
            ledger: self.ledger.clone(),
            topic: Some(Topic::new(
                &Clients::new(self.cloud.sdk.clone(), ACCOUNT),
                self.stack.topic.as_str(),
            )),
            policies: Arc::new(PolicyCache::default()),
            acts: true,
            deadline: Instant::now() + Duration::from_secs(60),
            margin: Duration::from_secs(30),
            delivery: format!("delivery-{}", DELIVERIES.fetch_add(1, Ordering::Relaxed)),
            sweeps_every: None,
        }
    }

    /// Delivers an event, as Lambda would.
    pub async fn deliver(&self, mode: Mode, event: &Value) -> Result<Response, EventFailure> {
        handle::<All>(&self.engine(mode).await, &self.aws, &event.to_string()).await
    }

    /// Delivers an event while AWS denies every write on customers' resources.
    pub async fn deliver_denied(&self, event: &Value) -> Result<Response, EventFailure> {
        let sdk = self.cloud.sdk.to_builder().http_client(denying_writes()).build();
        let aws = Clients::new(sdk, ACCOUNT);
        handle::<All>(&self.engine(Mode::Enforce).await, &aws, &event.to_string()).await
    }

    /// Delivers an event to an engine that counts its HTTP requests, to whatever service.
    pub async fn deliver_counted(
        &self,
        account: &str,
        event: &str,
    ) -> (usize, Result<Response, EventFailure>) {
        let requests = Arc::new(AtomicUsize::new(0));
        let sdk = self.cloud.sdk.to_builder().http_client(counting(&requests)).build();
        let aws = Clients::new(sdk, account);
        let engine = Engine {
            ledger: Ledger::new(&aws, self.stack.ledger.as_str()),
            topic: Some(Topic::new(&aws, self.stack.topic.as_str())),
            ..self.engine(Mode::Enforce).await
        };
        let ended = handle::<All>(&engine, &aws, event).await;
        (requests.load(Ordering::Relaxed), ended)
    }

    /// The report about the staged resource under its own control.
    pub async fn evaluate(&self, mode: Mode, staged: &Staged) -> Report {
        let response = self.deliver(mode, &staged.event).await.expect("the event ends well");
        own(response.results, staged)
    }

    /// Everything that was counted instead of told is due.
    pub async fn windows_end(&self) {
        let all = self.cloud.dynamodb.scan().table_name(&self.stack.ledger).send().await.unwrap();
        let keys = all.items().iter().map(|item| item["pk"].clone());
        for pk in keys.filter(|pk| pk.as_s().unwrap().starts_with("BUL#")) {
            self.cloud
                .dynamodb
                .update_item()
                .table_name(&self.stack.ledger)
                .key("pk", pk)
                .key("sk", AttributeValue::S("BULLETIN".to_owned()))
                .update_expression("SET due = :past")
                .expression_attribute_values(
                    ":past",
                    AttributeValue::S("2026-01-01T00:00:00.000000Z".to_owned()),
                )
                .send()
                .await
                .unwrap();
        }
    }

    /// The window of every budget is over.
    pub async fn budgets_end(&self) {
        let all = self.cloud.dynamodb.scan().table_name(&self.stack.ledger).send().await.unwrap();
        let items = all.items().iter();
        for item in items.filter(|item| item["pk"].as_s().unwrap().starts_with("BUD#")) {
            let delete = self.cloud.dynamodb.delete_item().table_name(&self.stack.ledger);
            let delete = delete.key("pk", item["pk"].clone()).key("sk", item["sk"].clone());
            delete.send().await.unwrap();
        }
    }

    pub async fn undo(&self, record: &str) -> Report {
        let record = self.ledger.read(record).await.unwrap().expect("the record is there");
        let signal = quell_engine::Signal {
            trigger: quell_engine::Trigger::Manual {
                control: record.intent.control.clone(),
                resource: record.intent.resource.clone(),
            },
            account: record.intent.account.clone(),
            region: record.intent.region.clone(),
            event_id: "undo".to_owned(),
            deduplication: "undo".to_owned(),
            time: None,
            actor: None,
            request_id: None,
            finding: None,
        };
        let aws = self.aws.in_region(&record.intent.region);
        match All::undo(&self.engine(Mode::Enforce).await, &aws, record, &signal).await {
            Some(Ok(report)) => report,
            Some(Err(failure)) => failure.report().expect("it has a resource"),
            None => panic!("no control undoes it"),
        }
    }
}

/// Writes a record to the ledger, as an evaluation would.
pub async fn write(ledger: &Ledger, record: Record, write: Write) {
    let id = record.id.clone();
    let batch = Batch {
        writes: &[write],
        lock: LockKey { account: "", region: "", arn: "" },
        records: &HashMap::from([(id.clone(), record)]),
        fixes: &[],
        own: &[],
        record: &id,
        deadline: Instant::now(),
    };
    assert_eq!(ledger.commit(&batch).await.expect("the ledger is there"), Ok(()));
}

/// The report about the staged resource under its own control: one event may reach several controls.
pub fn own(reports: Vec<Report>, staged: &Staged) -> Report {
    reports
        .into_iter()
        .find(|report| report.control == staged.control && report.resource == staged.resource)
        .unwrap_or_else(|| panic!("no report about {} of {}", staged.resource, staged.control))
}

/// The report of a failed event about the staged resource.
pub fn failed(failure: EventFailure, staged: &Staged) -> Report {
    let EventFailure::Failed(failures) = failure else { panic!("{failure}") };
    let report = own(failures.into_iter().filter_map(Failure::report).collect(), staged);
    assert!(matches!(report.outcome, Outcome::Failed | Outcome::Partial));
    report
}

/// The same event as another happening: new ids.
pub fn again(event: &Value, suffix: &str) -> Value {
    let mut event = event.clone();
    for place in [
        "/id",
        "/detail/eventID",
        "/detail/sharedEventID",
        "/detail/requestID",
        "/detail/communicationId",
        "/detail/updatedAt",
        "/detail/findings/0/UpdatedAt",
    ] {
        if let Some(Value::String(id)) = event.pointer_mut(place) {
            if place.ends_with("pdatedAt") {
                *id = format!("2031-01-01T00:00:{suffix}Z");
            } else {
                // Whatever the id ends in, it is another one.
                let keep = id.len() - suffix.len() - 1;
                let other = if id[keep..].starts_with('e') { 'f' } else { 'e' };
                id.replace_range(keep.., &format!("{other}{suffix}"));
            }
        }
    }
    event
}

/// A program of this workspace, as it was last built: `cargo build --workspace --bins`.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test is a program");
    let folder = test.parent().and_then(Path::parent).expect("target/<profile>/deps/<test>");
    let program = folder.join(name);
    assert!(program.is_file(), "build it first: cargo build --workspace --bins ({name})");
    program
}

/// AWS as usual, with every request counted.
fn counting(requests: &Arc<AtomicUsize>) -> SharedHttpClient {
    let (inner, requests) = (http_client(), Arc::clone(requests));
    http_client_fn(move |settings, components| {
        use aws_smithy_runtime_api::client::http::HttpClient as _;
        let inner = inner.http_connector(settings, components);
        SharedHttpConnector::new(Counting(inner, Arc::clone(&requests)))
    })
    .into_shared()
}

#[derive(Debug)]
struct Counting(SharedHttpConnector, Arc<AtomicUsize>);

impl HttpConnector for Counting {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.call(request)
    }
}

/// AWS as usual, but the ledger never gets round to reading a batch with keys that begin so.
pub fn leaving_keys_unread(beginning: &'static str) -> SharedHttpClient {
    let inner = http_client();
    http_client_fn(move |settings, components| {
        use aws_smithy_runtime_api::client::http::HttpClient as _;
        let inner = inner.http_connector(settings, components);
        SharedHttpConnector::new(LeavingKeysUnread(inner, beginning))
    })
    .into_shared()
}

#[derive(Debug)]
struct LeavingKeysUnread(SharedHttpConnector, &'static str);

impl HttpConnector for LeavingKeysUnread {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        if !target.ends_with(".BatchGetItem") {
            return self.0.call(request);
        }
        let asked = request.body().bytes().unwrap_or_default();
        let asked: Value = serde_json::from_slice(asked).unwrap_or_default();
        if !asked.to_string().contains(&format!("\"S\":\"{}", self.1)) {
            return self.0.call(request);
        }
        let body = serde_json::json!({"Responses": {}, "UnprocessedKeys": asked["RequestItems"]});
        let status = StatusCode::try_from(200).expect("200 is a status");
        let reply = HttpResponse::new(status, SdkBody::from(body.to_string()));
        HttpConnectorFuture::ready(Ok(reply))
    }
}

/// AWS as usual, but whatever is asked about this bucket by its name is answered `AccessDenied`.
pub fn denying_bucket(bucket: &str) -> SharedHttpClient {
    let (inner, bucket) = (http_client(), bucket.to_owned());
    http_client_fn(move |settings, components| {
        use aws_smithy_runtime_api::client::http::HttpClient as _;
        let inner = inner.http_connector(settings, components);
        SharedHttpConnector::new(DenyingBucket(inner, bucket.clone()))
    })
    .into_shared()
}

#[derive(Debug)]
struct DenyingBucket(SharedHttpConnector, String);

impl HttpConnector for DenyingBucket {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        if !request.uri().contains(&format!("/{}", self.1)) {
            return self.0.call(request);
        }
        let body = "<Error><Code>AccessDenied</Code><Message>denied by the test</Message></Error>";
        let status = StatusCode::try_from(403).expect("403 is a status");
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(body))))
    }
}

/// AWS as usual, but every write on a customer's resource is answered `AccessDenied`.
pub fn denying_writes() -> SharedHttpClient {
    let inner = http_client();
    http_client_fn(move |settings, components| {
        use aws_smithy_runtime_api::client::http::HttpClient as _;
        let inner = inner.http_connector(settings, components);
        SharedHttpConnector::new(DenyingWrites(inner))
    })
    .into_shared()
}

#[derive(Debug)]
struct DenyingWrites(SharedHttpConnector);

impl HttpConnector for DenyingWrites {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        if !is_write(&request) {
            return self.0.call(request);
        }
        let ec2 = "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>denied by the test</Message></Error></Errors><RequestID>r</RequestID></Response>";
        let s3 = "<Error><Code>AccessDenied</Code><Message>denied by the test</Message></Error>";
        let json = r#"{"__type":"AccessDeniedException","message":"denied by the test"}"#;
        let query = format!("<ErrorResponse>{s3}<RequestId>r</RequestId></ErrorResponse>");
        let body = match signed_for(&request) {
            _ if target(&request).is_some() => json,
            "ec2" => ec2,
            "iam" => &query,
            "s3" if request.uri().contains("/v20180820/") => &query,
            "s3" => s3,
            _ => json,
        };
        let status = StatusCode::try_from(403).expect("403 is a status");
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(body))))
    }
}

/// The operation, where the service speaks AWS JSON.
fn target(request: &HttpRequest) -> Option<&str> {
    let target = request.headers().get("x-amz-target")?;
    target.rsplit_once('.').map(|(_, operation)| operation)
}

/// The service, by the scope of the request's credentials.
fn signed_for(request: &HttpRequest) -> &str {
    let header = request.headers().get("authorization").unwrap_or_default();
    let scope = header.split_once("Credential=").map_or("", |(_, scope)| scope);
    scope.split('/').nth(3).unwrap_or_default()
}

/// S3 writes by method; EC2 and IAM say what they do in the body, others in a header.
fn is_write(request: &HttpRequest) -> bool {
    let is_read =
        |action: &str| ["Describe", "Get", "List"].iter().any(|verb| action.starts_with(verb));
    if let Some(operation) = target(request) {
        return !is_read(operation);
    }
    let body = request.body().bytes().map(String::from_utf8_lossy).unwrap_or_default();
    let action = body.split('&').find_map(|pair| pair.strip_prefix("Action="));
    match action {
        Some(action) => !is_read(action),
        // GuardDuty makes and updates by POST.
        None if signed_for(request) == "guardduty" => request.method() != "GET",
        None => request.method() == "PUT" || request.method() == "DELETE",
    }
}
