//! Lambda on one machine: drives the real function binaries over the Lambda Runtime API, as asynchronous invocation
//! does.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>

use std::{
    collections::VecDeque,
    fmt::{self, Write as _},
    fs::File,
    hash::{BuildHasher, Hasher, RandomState},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use aws_sdk_sqs::{error::DisplayErrorContext, types::MessageAttributeValue};
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path as UrlPath, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
    serve::ListenerExt,
};
use serde_json::Value;
use tokio::{
    net::TcpListener,
    process::{Child, Command},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time,
};

use crate::{
    cloud::{ACCOUNT, REGION},
    proxy::{Caller, Proxy, ProxyError, Shared},
};

/// A function as it is deployed: one program, started on demand, once for each event that is handled at the same time.
///
/// All of its processes end when this value is dropped.
#[derive(Debug)]
pub struct Function {
    name: String,
    program: PathBuf,
    environment: Vec<(String, String)>,
    timeout: Duration,
    memory: u32,
    account: String,
    region: String,
    pace: f64,
    dead_letters: Option<DeadLetterQueue>,
    proxy: Option<Arc<Shared>>,
    watch: Option<Arc<dyn Watch>>,
    idle: Mutex<Vec<Instance>>,
    log: Mutex<Log>,
}

/// Sees the processes of a function at the moments at which they wait for Lambda: they go on when the call returns.
pub trait Watch: fmt::Debug + Send + Sync {
    /// It is there. `begun` is the moment before it was started.
    fn started(&self, pid: u32, begun: Instant);

    /// It asks for an event.
    fn asked(&self, pid: u32);

    /// It is given an event.
    fn given(&self, pid: u32);

    /// It answered, with a response or an error.
    fn answered(&self, pid: u32);
}

/// Where events go that no attempt could handle.
#[derive(Clone, Debug)]
pub struct DeadLetterQueue {
    pub sqs: aws_sdk_sqs::Client,
    pub url: String,
}

/// An event's way through asynchronous invocation.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The same in every attempt.
    pub request_id: String,
    /// One, or up to three if the earlier ones failed.
    pub attempts: Vec<Attempt>,
    /// All attempts failed, and the event is on the dead-letter queue.
    pub dead_lettered: bool,
    /// From the event's arrival to its end, with the waits between attempts.
    pub duration: Duration,
}

impl Invocation {
    /// The function's response, if an attempt ended well.
    pub fn response(&self) -> Option<&Value> {
        match &self.attempts.last()?.answer {
            Answer::Response(response) => Some(response),
            _ => None,
        }
    }
}

/// One run of the handler.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub request_id: String,
    /// How long a new process took until it asked for the event. `None`: the process was there already.
    pub init: Option<Duration>,
    /// From the moment at which the process had the event.
    pub duration: Duration,
    pub answer: Answer,
    /// What the process wrote to its standard output and error since it last answered.
    pub log: Vec<String>,
}

/// How one run of the handler ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Response(Value),
    /// The function says that it failed.
    Error {
        kind: String,
        message: String,
    },
    /// It took longer than it may, and was killed.
    Timeout(Duration),
    /// The process ended by itself before it answered.
    Exit(ExitStatus),
}

impl Answer {
    pub fn is_response(&self) -> bool {
        matches!(self, Self::Response(_))
    }

    /// The kind of error, as Lambda names it.
    pub fn error_kind(&self) -> Option<&str> {
        match self {
            Self::Response(_) => None,
            Self::Error { kind, .. } => Some(kind),
            Self::Timeout(_) => Some("Sandbox.Timedout"),
            Self::Exit(_) => Some("Runtime.ExitError"),
        }
    }

    /// What went wrong, in words like Lambda's.
    pub fn error_message(&self) -> Option<String> {
        match self {
            Self::Response(_) => None,
            Self::Error { message, .. } => Some(message.clone()),
            Self::Timeout(limit) => {
                Some(format!("Task timed out after {:.2} seconds", limit.as_secs_f64()))
            }
            Self::Exit(status) => Some(format!("Runtime exited with error: {status}")),
        }
    }
}

/// Trouble of this machine's, not of the function's.
#[derive(Debug, thiserror::Error)]
pub enum LambdaError {
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error("could not listen for {function}: {source}")]
    Listen { function: String, source: io::Error },
    #[error("could not keep the log of {function}: {source}")]
    Log { function: String, source: io::Error },
    #[error("could not put an event of {function} on its dead-letter queue: {reason}")]
    DeadLetter { function: String, reason: String },
}

impl Function {
    /// `environment` is all that the program sees, apart from PATH, HOME and what Lambda sets.
    pub fn new(
        name: impl Into<String>,
        program: impl Into<PathBuf>,
        environment: Vec<(String, String)>,
        timeout: Duration,
        memory: u32,
    ) -> Self {
        let program = program.into();
        Self {
            name: name.into(),
            program: std::path::absolute(&program).unwrap_or(program),
            environment,
            timeout,
            memory,
            account: ACCOUNT.to_owned(),
            region: REGION.to_owned(),
            pace: 1.0,
            dead_letters: None,
            proxy: None,
            watch: None,
            idle: Mutex::default(),
            log: Mutex::default(),
        }
    }

    /// Where it says that it runs, if not in the emulator's account and region.
    pub fn located(mut self, account: impl Into<String>, region: impl Into<String>) -> Self {
        self.account = account.into();
        self.region = region.into();
        self
    }

    /// By what the waits between attempts (one minute, then two) are multiplied.
    pub fn paced(mut self, pace: f64) -> Self {
        self.pace = pace;
        self
    }

    pub fn with_dead_letters(mut self, queue: DeadLetterQueue) -> Self {
        self.dead_letters = Some(queue);
        self
    }

    /// Each of its processes calls AWS through an endpoint of its own, under the function's name, and counts its calls
    /// anew with each attempt.
    pub fn through(mut self, proxy: &Proxy) -> Self {
        self.proxy = Some(proxy.shared());
        self
    }

    /// All its processes are seen by this.
    pub fn watched(mut self, watch: Arc<dyn Watch>) -> Self {
        self.watch = Some(watch);
        self
    }

    /// It signs its calls with this access key, by which a proxy knows its role.
    pub fn signing_with(mut self, key: String) -> Self {
        self.environment.push(("AWS_ACCESS_KEY_ID".to_owned(), key));
        self
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn arn(&self) -> String {
        format!("arn:aws:lambda:{}:{}:function:{}", self.region, self.account, self.name)
    }

    /// Everything that its processes wrote, up to a size. The oldest goes first.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).lines.iter().cloned().collect()
    }

    /// One attempt, as synchronous invocation makes it.
    pub async fn invoke(&self, event: impl Into<Bytes>) -> Result<Attempt, LambdaError> {
        self.attempt(&unique_id(), event.into()).await
    }

    /// One more attempt of an invocation, as asynchronous invocation makes it after a failed one.
    pub async fn retry(
        &self,
        request_id: &str,
        event: impl Into<Bytes>,
    ) -> Result<Attempt, LambdaError> {
        self.attempt(request_id, event.into()).await
    }

    /// Up to three attempts, then the dead-letter queue.
    pub async fn invoke_async(&self, event: impl Into<Bytes>) -> Result<Invocation, LambdaError> {
        let event = event.into();
        let begun = Instant::now();
        let request_id = unique_id();
        let mut attempts = vec![self.attempt(&request_id, event.clone()).await?];
        for wait in RETRIES_AFTER {
            if attempts.last().is_some_and(|attempt| attempt.answer.is_response()) {
                break;
            }
            time::sleep(wait.mul_f64(self.pace)).await;
            attempts.push(self.attempt(&request_id, event.clone()).await?);
        }
        let dead_lettered = match (attempts.last(), &self.dead_letters) {
            (Some(last), Some(queue)) if !last.answer.is_response() => {
                self.dead_letter(queue, &event, last).await?;
                true
            }
            _ => false,
        };
        Ok(Invocation { request_id, attempts, dead_lettered, duration: begun.elapsed() })
    }

    async fn attempt(&self, request_id: &str, event: Bytes) -> Result<Attempt, LambdaError> {
        loop {
            let warm = self.idle_instance();
            let is_warm = warm.is_some();
            let mut instance = match warm {
                Some(instance) => instance,
                None => match self.start().await? {
                    Started::Yes(instance) => *instance,
                    Started::No(answer) => {
                        return Ok(Attempt {
                            request_id: request_id.to_owned(),
                            init: None,
                            duration: Duration::ZERO,
                            answer,
                            log: Vec::new(),
                        });
                    }
                },
            };
            if let Some(caller) = &instance.caller {
                caller.begin(request_id);
            }
            let run = instance.run(request_id, event.clone(), self.timeout).await;
            let lines = instance
                .log
                .new_lines(!run.lives)
                .map_err(|source| LambdaError::Log { function: self.name.clone(), source })?;
            self.log.lock().unwrap_or_else(PoisonError::into_inner).extend(&lines);
            if is_warm && !run.began {
                // It ended while it had nothing to do. Lambda starts another and nobody notices.
                continue;
            }
            if run.lives {
                self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(instance);
            }
            return Ok(Attempt {
                request_id: request_id.to_owned(),
                init: (!is_warm).then_some(run.init),
                duration: run.duration,
                answer: run.answer,
                log: lines,
            });
        }
    }

    fn idle_instance(&self) -> Option<Instance> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(mut instance) = idle.pop() {
            if matches!(instance.child.try_wait(), Ok(None)) {
                return Some(instance);
            }
        }
        None
    }

    async fn start(&self) -> Result<Started, LambdaError> {
        let listen = |source| LambdaError::Listen { function: self.name.clone(), source };
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?.to_string();
        let log = ProcessLog::new()
            .map_err(|source| LambdaError::Log { function: self.name.clone(), source })?;
        let caller = self.proxy.as_ref().map(|proxy| proxy.caller(&self.name)).transpose()?;
        let begun = Instant::now();
        let child = match self.command(&address, caller.as_ref(), &log) {
            Ok(child) => child,
            Err(error) => {
                return Ok(Started::No(Answer::Error {
                    kind: "Runtime.InvalidEntrypoint".to_owned(),
                    message: format!("could not start {}: {error}", self.program.display()),
                }));
            }
        };

        if let (Some(caller), Some(pid)) = (&caller, child.id()) {
            caller.process(pid);
        }

        let watch = self.watch.clone().zip(child.id());
        if let Some((watch, pid)) = &watch {
            watch.started(*pid, begun);
        }

        let (events, next) = mpsc::channel(1);
        let (failed, init_error) = oneshot::channel();
        let process = Arc::new(Process {
            arn: self.arn(),
            watch,
            next: tokio::sync::Mutex::new(next),
            current: Mutex::default(),
            init_error: Mutex::new(Some(failed)),
        });
        let server = tokio::spawn(async move {
            let listener = listener.tap_io(|stream| {
                let _ = stream.set_nodelay(true);
            });
            let _ = axum::serve(listener, runtime_api(process)).await;
        });
        Ok(Started::Yes(Box::new(Instance { child, events, init_error, server, log, caller })))
    }

    fn command(
        &self,
        address: &str,
        caller: Option<&Caller>,
        log: &ProcessLog,
    ) -> io::Result<Child> {
        let folder = self.program.parent().unwrap_or(Path::new("/"));
        let mut command = Command::new(&self.program);
        command.env_clear();
        for name in ["PATH", "HOME"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        // https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime
        command
            .env("AWS_LAMBDA_RUNTIME_API", address)
            .env("AWS_LAMBDA_FUNCTION_NAME", &self.name)
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", self.memory.to_string())
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", self.name))
            .env("AWS_LAMBDA_LOG_STREAM_NAME", format!("[$LATEST]{}", unique_id().replace('-', "")))
            .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
            .env("AWS_LAMBDA_LOG_LEVEL", "INFO")
            .env("AWS_REGION", &self.region)
            .env("AWS_DEFAULT_REGION", &self.region)
            .env("LAMBDA_TASK_ROOT", folder)
            .env("_HANDLER", "bootstrap")
            .env("TZ", ":UTC");
        // In Lambda there are no such files; here they are somebody's own.
        command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(caller) = caller {
            command.env("AWS_ENDPOINT_URL", &caller.endpoint);
        }
        command
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(log.file.try_clone()?)
            .stderr(log.file.try_clone()?)
            .kill_on_drop(true)
            .spawn()
    }

    /// The body is the event and nothing else; what went wrong is in the attributes.
    /// <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html>
    async fn dead_letter(
        &self,
        queue: &DeadLetterQueue,
        event: &[u8],
        last: &Attempt,
    ) -> Result<(), LambdaError> {
        let failed = |reason| LambdaError::DeadLetter { function: self.name.clone(), reason };
        let attribute = |kind: &str, value: String| {
            MessageAttributeValue::builder()
                .data_type(kind)
                .string_value(value)
                .build()
                .map_err(|error| failed(error.to_string()))
        };
        let message = last.answer.error_message().unwrap_or_default();
        // SQS refuses an empty value.
        let message = if message.is_empty() { "none".to_owned() } else { message };
        queue
            .sqs
            .send_message()
            .queue_url(&queue.url)
            .message_body(allowed_in_sqs(&String::from_utf8_lossy(event)))
            .message_attributes("RequestID", attribute("String", last.request_id.clone())?)
            // The status of the invocation as a call: a function that fails was still called well.
            .message_attributes("ErrorCode", attribute("Number", "200".to_owned())?)
            .message_attributes(
                "ErrorMessage",
                attribute("String", shortened(&allowed_in_sqs(&message), ERROR_MESSAGE_BYTES))?,
            )
            .send()
            .await
            .map_err(|error| failed(DisplayErrorContext(&error).to_string()))?;
        Ok(())
    }
}

const RETRIES_AFTER: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(120)];

/// How long a process may take until it asks for its first event.
/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-ib>
const INIT_LIMIT: Duration = Duration::from_secs(10);

const ERROR_MESSAGE_BYTES: usize = 1024;

/// What is kept of a function's log.
const LOG_BYTES: usize = 8 << 20;

enum Started {
    Yes(Box<Instance>),
    No(Answer),
}

/// One process, with a Runtime API of its own as every sandbox has.
#[derive(Debug)]
struct Instance {
    child: Child,
    events: mpsc::Sender<Event>,
    init_error: oneshot::Receiver<Answer>,
    server: JoinHandle<()>,
    log: ProcessLog,
    caller: Option<Caller>,
}

/// How an event went.
struct Run {
    answer: Answer,
    init: Duration,
    duration: Duration,
    /// The process took the event.
    began: bool,
    /// The process can take another.
    lives: bool,
}

impl Instance {
    async fn run(&mut self, request_id: &str, body: Bytes, timeout: Duration) -> Run {
        let sent = Instant::now();
        let (taken, mut began) = oneshot::channel();
        let (answers, mut answer) = oneshot::channel();
        let event = Event { request_id: request_id.to_owned(), body, timeout, taken, answers };
        // There is room: the last event was taken before it was answered.
        let _ = self.events.try_send(event);

        let ended = |answer, began, duration| Run {
            answer,
            init: sent.elapsed(),
            duration,
            began,
            lives: false,
        };
        let begun = tokio::select! {
            biased;
            Ok(begun) = &mut began => begun,
            Ok(error) = &mut self.init_error => {
                self.kill().await;
                return ended(error, false, Duration::ZERO);
            }
            status = self.child.wait() => return ended(exit(status), false, Duration::ZERO),
            () = time::sleep(timeout.max(INIT_LIMIT)) => {
                self.kill().await;
                return ended(Answer::Timeout(timeout.max(INIT_LIMIT)), false, Duration::ZERO);
            }
        };
        let init = begun.duration_since(sent);
        let limit = time::sleep_until((begun + timeout).into());
        let (answer, lives) = tokio::select! {
            biased;
            Ok(answer) = &mut answer => (answer, true),
            status = self.child.wait() => (exit(status), false),
            () = limit => {
                self.kill().await;
                (Answer::Timeout(timeout), false)
            }
        };
        Run { answer, init, duration: begun.elapsed(), began: true, lives }
    }

    async fn kill(&mut self) {
        let _ = self.child.kill().await;
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn exit(status: io::Result<ExitStatus>) -> Answer {
    match status {
        Ok(status) => Answer::Exit(status),
        Err(error) => {
            Answer::Error { kind: "Runtime.ExitError".to_owned(), message: error.to_string() }
        }
    }
}

/// An event on its way to a process.
#[derive(Debug)]
struct Event {
    request_id: String,
    body: Bytes,
    timeout: Duration,
    taken: oneshot::Sender<Instant>,
    answers: oneshot::Sender<Answer>,
}

/// What the Runtime API of one process knows.
#[derive(Debug)]
struct Process {
    arn: String,
    watch: Option<(Arc<dyn Watch>, u32)>,
    next: tokio::sync::Mutex<mpsc::Receiver<Event>>,
    current: Mutex<Option<(String, oneshot::Sender<Answer>)>>,
    init_error: Mutex<Option<oneshot::Sender<Answer>>>,
}

fn runtime_api(process: Arc<Process>) -> Router {
    Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
        .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
        .route("/2018-06-01/runtime/init/error", post(init_error))
        .layer(DefaultBodyLimit::disable())
        .with_state(process)
}

async fn next(State(process): State<Arc<Process>>) -> Response {
    if let Some((watch, pid)) = &process.watch {
        watch.asked(*pid);
    }
    let Some(event) = process.next.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    let Event { request_id, body, timeout, taken, answers } = event;
    let deadline = (SystemTime::now() + timeout).duration_since(UNIX_EPOCH).unwrap_or_default();
    let trace = unique_id().replace('-', "");
    let headers = [
        ("Content-Type", "application/json".to_owned()),
        ("Lambda-Runtime-Aws-Request-Id", request_id.clone()),
        ("Lambda-Runtime-Deadline-Ms", deadline.as_millis().to_string()),
        ("Lambda-Runtime-Invoked-Function-Arn", process.arn.clone()),
        (
            "Lambda-Runtime-Trace-Id",
            format!("Root=1-{}-{};Parent={};Sampled=0", &trace[..8], &trace[8..], &trace[16..]),
        ),
    ];
    *process.current.lock().unwrap_or_else(PoisonError::into_inner) = Some((request_id, answers));
    if let Some((watch, pid)) = &process.watch {
        watch.given(*pid);
    }
    let _ = taken.send(Instant::now());
    (headers, body).into_response()
}

async fn response(
    State(process): State<Arc<Process>>,
    UrlPath(id): UrlPath<String>,
    body: Bytes,
) -> Response {
    let response = serde_json::from_slice(&body)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
    process.answer(&id, Answer::Response(response))
}

async fn error(
    State(process): State<Arc<Process>>,
    UrlPath(id): UrlPath<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    process.answer(&id, reported(&headers, &body))
}

async fn init_error(
    State(process): State<Arc<Process>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let sender = process.init_error.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(sender) = sender {
        let _ = sender.send(reported(&headers, &body));
    }
    accepted()
}

impl Process {
    fn answer(&self, id: &str, answer: Answer) -> Response {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match current.take() {
            Some((request_id, answers)) if request_id == id => {
                if let Some((watch, pid)) = &self.watch {
                    watch.answered(*pid);
                }
                let _ = answers.send(answer);
                accepted()
            }
            other => {
                *current = other;
                let refusal =
                    r#"{"errorMessage":"Invalid request ID","errorType":"InvalidRequestID"}"#;
                (StatusCode::BAD_REQUEST, refusal).into_response()
            }
        }
    }
}

fn accepted() -> Response {
    (StatusCode::ACCEPTED, r#"{"status":"OK"}"#).into_response()
}

fn reported(headers: &HeaderMap, body: &[u8]) -> Answer {
    let report = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let text = |name| report.get(name).and_then(Value::as_str).map(str::to_owned);
    let header = headers
        .get("Lambda-Runtime-Function-Error-Type")
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    Answer::Error {
        kind: text("errorType").or(header).unwrap_or_else(|| "Runtime.Unknown".to_owned()),
        message: text("errorMessage").unwrap_or_else(|| String::from_utf8_lossy(body).into_owned()),
    }
}

/// What one process writes, in a file without a name: all that it wrote before it answered is there when the answer
/// is, which a pipe does not promise.
#[derive(Debug)]
struct ProcessLog {
    file: File,
    read: u64,
}

impl ProcessLog {
    fn new() -> io::Result<Self> {
        // Appending, so that cutting off what was read does not leave a hole.
        let (file, _) = tempfile::Builder::new().append(true).tempfile()?.into_parts();
        Ok(Self { file, read: 0 })
    }

    /// The whole lines since the last time; at the end, also one that is not whole.
    fn new_lines(&mut self, ended: bool) -> io::Result<Vec<String>> {
        let size = self.file.metadata()?.len();
        let from = self.read.max(size.saturating_sub(LOG_BYTES as u64));
        let mut bytes = vec![0; usize::try_from(size - from).unwrap_or_default()];
        self.file.read_exact_at(&mut bytes, from)?;
        if !ended {
            bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1));
        }
        self.read = from + bytes.len() as u64;
        if self.read > LOG_BYTES as u64 {
            self.file.set_len(0)?;
            self.read = 0;
        }
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.lines().map(str::to_owned).collect())
    }
}

/// What is kept of what a function's processes wrote.
#[derive(Debug, Default)]
struct Log {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Log {
    fn extend(&mut self, lines: &[String]) {
        for line in lines {
            self.bytes += line.len();
            self.lines.push_back(line.clone());
        }
        while self.bytes > LOG_BYTES {
            let Some(line) = self.lines.pop_front() else { return };
            self.bytes -= line.len();
        }
    }
}

/// A random UUID. The standard library seeds each hasher anew; who guesses it gains nothing.
fn unique_id() -> String {
    let mut hex = String::with_capacity(32);
    for _ in 0..2 {
        let _ = write!(hex, "{:016x}", RandomState::new().build_hasher().finish());
    }
    let (a, b, c, d, e) = (&hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..]);
    format!("{a}-{b}-4{c}-a{d}-{e}")
}

/// SQS takes the characters of XML 1.0 only.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
fn allowed_in_sqs(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' => c,
            '\u{10000}'.. => c,
            _ => char::REPLACEMENT_CHARACTER,
        })
        .collect()
}

fn shortened(text: &str, bytes: usize) -> String {
    text[..text.floor_char_boundary(bytes)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids_and_differ() {
        let (one, other) = (unique_id(), unique_id());
        assert_ne!(one, other);
        assert_eq!(one.len(), 36);
        assert_eq!(&one[14..15], "4");
    }

    #[test]
    fn the_log_forgets_the_oldest() {
        let mut log = Log::default();
        let line = "x".repeat(LOG_BYTES / 2);
        log.extend(&["first".to_owned(), line.clone(), line.clone()]);
        assert_eq!(log.lines.len(), 2);
    }

    #[test]
    fn lines_are_read_once_and_whole() {
        use std::io::Write;

        let mut log = ProcessLog::new().unwrap();
        write!(log.file, "one\ntwo\nthr").unwrap();
        assert_eq!(log.new_lines(false).unwrap(), ["one", "two"]);
        write!(log.file, "ee").unwrap();
        assert!(log.new_lines(false).unwrap().is_empty());
        assert_eq!(log.new_lines(true).unwrap(), ["three"]);
    }

    #[test]
    fn a_long_log_is_cut_off_without_holes() {
        use std::io::Write;

        let mut log = ProcessLog::new().unwrap();
        let line = "y".repeat(1 << 20);
        for _ in 0..10 {
            writeln!(log.file, "{line}").unwrap();
        }
        assert!(log.new_lines(false).unwrap().len() <= 9);
        writeln!(log.file, "after").unwrap();
        assert_eq!(log.new_lines(false).unwrap(), ["after"]);
    }

    #[test]
    fn errors_are_read_from_the_body_or_the_header() {
        let mut headers = HeaderMap::new();
        headers.insert("Lambda-Runtime-Function-Error-Type", "Header".parse().unwrap());
        let error = |kind: &str, message: &str| Answer::Error {
            kind: kind.to_owned(),
            message: message.to_owned(),
        };
        let body = br#"{"errorType":"Body","errorMessage":"words"}"#;
        assert_eq!(reported(&headers, body), error("Body", "words"));
        assert_eq!(reported(&headers, b"not JSON"), error("Header", "not JSON"));
        assert_eq!(reported(&HeaderMap::new(), b""), error("Runtime.Unknown", ""));
    }

    #[test]
    fn what_sqs_refuses_is_replaced() {
        assert_eq!(allowed_in_sqs("a\u{0}\u{1b}b\n\u{ffff}ü😀"), "a\u{fffd}\u{fffd}b\n\u{fffd}ü😀");
        assert_eq!(shortened("aü", 2), "a");
    }
}
