//! A proxy between the programs and the embedded AWS: it names and logs every call, which is the truth about what was
//! applied, and does to calls what networks, AWS and the death of a process do.
//!
//! ```no_run
//! # use quell_local::{Emulator, proxy::{Calls, Fault, Proxy}};
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let emulator = Emulator::start()?;
//! let proxy = Proxy::start(&emulator.endpoint)?;
//! let worker = proxy.caller("worker")?;
//! proxy.fault(Calls::any().operation("TransactWriteItems").key("LCK#").once(), Fault::DropAnswer);
//! proxy.fault(Calls::any().by("worker").number(4), Fault::KillAfter);
//! // Clients at `worker.endpoint`, or `Function::through(&proxy)` …
//! proxy.quiet().await;
//! assert_eq!(proxy.count(|call| call.is_write && call.service == "S3" && call.applied), 1);
//! # Ok(())
//! # }
//! ```

use std::{
    collections::BTreeMap,
    fmt,
    future::{self, Future},
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response, Uri,
    body::Incoming,
    http::{
        header::AUTHORIZATION,
        request::Parts,
        uri::{Authority, PathAndQuery, Scheme},
    },
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    runtime::{self, Handle},
    sync::{Notify, oneshot},
    task::{AbortHandle, JoinSet},
    time,
};

mod answer;
mod authorize;
mod naming;
mod past;
mod rule;

use answer::{Answer, Sent};
use authorize::Sessions;
use naming::Named;
use past::{Past, Question};
use rule::{Action, Active, Verdict};

use crate::iam::{self, Granted, Refused, Role};

pub use rule::{Calls, Cancelled, Fault, Refusal, Rule};

/// Between callers and one endpoint. It has a thread of its own, and ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    /// For callers without a name.
    pub endpoint: String,
    shared: Arc<Shared>,
    _unnamed: Caller,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// One that calls, with an endpoint of its own. The endpoint ends when this value is dropped.
#[derive(Debug)]
pub struct Caller {
    /// Such as `http://127.0.0.1:40001`.
    pub endpoint: String,
    state: Arc<CallerState>,
    server: AbortHandle,
}

/// A call as it came, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// In the order of arrival, from 0. Never reused.
    pub index: usize,
    /// Since the proxy started.
    pub at: Duration,
    /// Since the proxy started. None: there is no answer, or none yet.
    pub answered: Option<Duration>,
    /// Empty: nobody in particular.
    pub caller: String,
    /// The Lambda request id of the attempt that called, for a function.
    pub request_id: Option<String>,
    /// Which call it is of this caller, or of a function's attempt, from 1.
    pub number: usize,
    /// As the SDKs name it, such as `S3 Control`.
    pub service: String,
    /// As the SDKs name it. `Unknown…`: there is no name for what was sent.
    pub operation: String,
    /// DynamoDB: `pk` of each item named, in the order of the request.
    pub keys: Vec<String>,
    /// A bucket, ids and ARNs, tables, a queue's URL, a function: sorted.
    pub resources: Vec<String>,
    /// It may change something. DynamoDB's Query, Scan, BatchGetItem, TransactGetItems and all of STS do not.
    pub is_write: bool,
    /// What the caller was answered, or would have been.
    pub status: Option<u16>,
    /// What was done to it, other than a delay.
    pub fault: Option<Fault>,
    /// AWS took it, and answered that it went well.
    pub applied: bool,
    /// What the caller's role was asked. None: the caller has no role.
    pub asked: Option<iam::Request>,
    /// What the caller's role allowed for it. Empty: the caller has no role, or nothing was asked of it.
    pub granted: Vec<Granted>,
    /// Why the caller's role does not allow it.
    pub refused: Option<Refused>,
}

/// Why there is no proxy.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error("{endpoint} is not an endpoint; it looks like http://127.0.0.1:5000")]
    Endpoint { endpoint: String },
    #[error("the proxy could not start: {0}")]
    Start(io::Error),
    #[error("the proxy could not listen for {caller}: {source}")]
    Listen { caller: String, source: io::Error },
}

impl Proxy {
    /// To an endpoint such as an emulator's, with seed 0.
    pub fn start(endpoint: &str) -> Result<Self, ProxyError> {
        Self::seeded(endpoint, 0)
    }

    /// The same seed gives the same faults to the same calls in the same order.
    pub fn seeded(endpoint: &str, seed: u64) -> Result<Self, ProxyError> {
        let upstream = authority(endpoint)?;
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ProxyError::Start)?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("proxy".to_owned())
            .spawn(move || {
                let _ = runtime.block_on(ended);
            })
            .map_err(ProxyError::Start)?;

        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let shared = Arc::new(Shared {
            client: Client::builder(TokioExecutor::new()).build(connector),
            upstream,
            handle,
            seed,
            begun: Instant::now(),
            log: Mutex::default(),
            rules: Mutex::default(),
            sessions: Mutex::default(),
            routes: Mutex::default(),
            past: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            quiet: Notify::new(),
        });
        let unnamed = shared.caller("")?;
        Ok(Self {
            endpoint: unnamed.endpoint.clone(),
            shared,
            _unnamed: unnamed,
            end: Some(end),
            thread: Some(thread),
        })
    }

    /// A caller with an endpoint of its own. Several may have one name.
    pub fn caller(&self, name: &str) -> Result<Caller, ProxyError> {
        self.shared.caller(name)
    }

    /// An access key of a session of this role: what it does not allow is answered as AWS does, and not passed on.
    pub fn assume(&self, role: Role) -> String {
        locked(&self.shared.sessions).assume(role)
    }

    /// Passes a service's calls on to another endpoint, such as Lambda's to a front door.
    pub fn route(&self, service: &str, endpoint: &str) -> Result<(), ProxyError> {
        let upstream = authority(endpoint)?;
        locked(&self.shared.routes).insert(service.to_owned(), upstream);
        Ok(())
    }

    /// Passes what is signed for Lambda, and is no call of its API, on to this function URL.
    pub fn function_url(&self, function: &str, endpoint: &str) -> Result<(), ProxyError> {
        locked(&self.shared.sessions).put_behind_url(function);
        self.route("Lambda", endpoint)
    }

    /// Does this to these calls. Rules act in the order in which they came; of several faults the first is done, and
    /// delays add up.
    pub fn fault(&self, calls: Calls, fault: Fault) -> Rule {
        self.shared.add(calls, Action::Fault(fault))
    }

    /// Lets the test act before these calls are passed on.
    pub fn when<F, R>(&self, calls: Calls, act: F) -> Rule
    where
        F: Fn(Entry) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        self.shared.add(calls, Action::Hook(Arc::new(move |entry| Box::pin(act(entry)))))
    }

    pub fn remove(&self, rule: &Rule) {
        locked(&self.shared.rules).active.retain(|active| active.rule().id != rule.id);
    }

    /// No faults and no hooks any more.
    pub fn heal(&self) {
        locked(&self.shared.rules).active.clear();
    }

    /// The moment from which the log counts.
    pub fn begun(&self) -> Instant {
        self.shared.begun
    }

    /// The calls so far, in the order of their arrival.
    pub fn log(&self) -> Vec<Entry> {
        locked(&self.shared.log).entries.clone()
    }

    pub fn count(&self, is_counted: impl FnMut(&&Entry) -> bool) -> usize {
        locked(&self.shared.log).entries.iter().filter(is_counted).count()
    }

    /// Forgets the calls so far.
    pub fn clear(&self) {
        let mut log = locked(&self.shared.log);
        log.forgotten += log.entries.len();
        log.entries.clear();
    }

    /// Returns when no call is on its way: a call goes on when its caller is gone.
    pub async fn quiet(&self) {
        loop {
            let quiet = self.shared.quiet.notified();
            if self.shared.in_flight.load(Ordering::SeqCst) == 0 {
                return;
            }
            quiet.await;
        }
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Caller {
    /// What ends this caller when a fault kills it, in place of a process: for callers within a test.
    pub fn on_kill(&self, act: impl Fn() + Send + Sync + 'static) {
        self.state.dies_by(Death::Act(Box::new(act)));
    }

    /// The process that calls. It is killed (SIGKILL) when a fault says so.
    pub fn process(&self, pid: u32) {
        self.state.dies_by(Death::Kill(pid));
    }

    /// Begins to count anew: the next call is its first.
    pub fn begin(&self, request_id: &str) {
        *locked(&self.state.attempt) =
            Attempt { request_id: Some(request_id.to_owned()), calls: 0 };
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        // A process id may be another's by now.
        *locked(&self.state.death) = None;
        self.server.abort();
    }
}

#[derive(Debug, Default)]
struct CallerState {
    name: String,
    attempt: Mutex<Attempt>,
    death: Mutex<Option<Death>>,
    is_dead: AtomicBool,
}

#[derive(Debug, Default)]
struct Attempt {
    request_id: Option<String>,
    calls: usize,
}

enum Death {
    Kill(u32),
    Act(Box<dyn Fn() + Send + Sync>),
}

impl fmt::Debug for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(pid) => write!(f, "Kill({pid})"),
            Self::Act(_) => f.write_str("Act"),
        }
    }
}

impl CallerState {
    fn dies_by(&self, death: Death) {
        let mut known = locked(&self.death);
        // It called before anyone could say which process it is.
        if self.is_dead.load(Ordering::SeqCst) {
            death.come();
        }
        *known = Some(death);
    }

    fn die(&self) {
        let known = locked(&self.death);
        if !self.is_dead.swap(true, Ordering::SeqCst)
            && let Some(death) = known.as_ref()
        {
            death.come();
        }
    }
}

impl Death {
    fn come(&self) {
        match self {
            Self::Act(act) => act(),
            Self::Kill(pid) => {
                if let Some(pid) = i32::try_from(*pid).ok().and_then(Pid::from_raw) {
                    // It may have ended by itself.
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
        }
    }
}

pub(crate) struct Shared {
    client: Client<HttpConnector, Full<Bytes>>,
    upstream: Authority,
    handle: Handle,
    seed: u64,
    begun: Instant,
    log: Mutex<Log>,
    rules: Mutex<Rules>,
    sessions: Mutex<Sessions>,
    /// By service.
    routes: Mutex<BTreeMap<String, Authority>>,
    past: Mutex<Past>,
    in_flight: AtomicUsize,
    quiet: Notify,
}

#[derive(Default)]
struct Log {
    entries: Vec<Entry>,
    forgotten: usize,
}

#[derive(Default)]
struct Rules {
    active: Vec<Active>,
    made: usize,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("upstream", &self.upstream).finish_non_exhaustive()
    }
}

/// The connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("no answer")]
struct NoAnswer;

impl Shared {
    pub(crate) fn caller(self: &Arc<Self>, name: &str) -> Result<Caller, ProxyError> {
        let listen = |source| ProxyError::Listen { caller: name.to_owned(), source };
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let endpoint = format!("http://{}", listener.local_addr().map_err(listen)?);
        let state = Arc::new(CallerState { name: name.to_owned(), ..CallerState::default() });
        let served = Arc::clone(self).serve(listener, Arc::clone(&state));
        let server = self.handle.spawn(served).abort_handle();
        Ok(Caller { endpoint, state, server })
    }

    fn add(&self, calls: Calls, action: Action) -> Rule {
        let mut rules = locked(&self.rules);
        let active = Active::new(calls, action, rules.made, self.seed);
        let rule = active.rule().clone();
        rules.made += 1;
        rules.active.push(active);
        rule
    }

    async fn serve(self: Arc<Self>, listener: TcpListener, caller: Arc<CallerState>) {
        let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
        // They end with this task.
        let mut connections = JoinSet::new();
        loop {
            let stream = tokio::select! {
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    // Out of file descriptors, or gone before it was accepted.
                    Err(_) => {
                        time::sleep(Duration::from_millis(10)).await;
                        continue;
                    }
                },
            };
            let _ = stream.set_nodelay(true);
            let (shared, caller) = (Arc::clone(&self), Arc::clone(&caller));
            let service =
                service_fn(move |request| Arc::clone(&shared).answer(Arc::clone(&caller), request));
            let io = TokioIo::new(stream);
            let connection = http1::Builder::new().serve_connection(io, service);
            connections.spawn(async move {
                let _ = connection.await;
            });
        }
    }

    async fn answer(
        self: Arc<Self>,
        caller: Arc<CallerState>,
        request: Request<Incoming>,
    ) -> Result<Response<Sent>, NoAnswer> {
        let (parts, body) = request.into_parts();
        // What AWS answers whoever only wants to know whether it is there. It is no call.
        if parts.uri.path() == "/ping" && !parts.headers.contains_key(AUTHORIZATION) {
            return Ok(Response::new(Sent::whole(Bytes::from_static(b"healthy"))));
        }
        // A caller that ends in the middle of a request has not called.
        let body = body.collect().await.map_err(|_| NoAnswer)?.to_bytes();
        let entry = self.arrived(&caller, &parts, &body)?;
        let in_flight = InFlight::new(Arc::clone(&self));
        let question = Question::of(&parts, &body);
        let verdict = self.verdict(&entry, &question);
        if verdict.fault.is_some() {
            self.note(entry.index, |entry| entry.fault.clone_from(&verdict.fault));
        }
        // What is on its way arrives, whether the caller still waits for the answer or not.
        let passing = Arc::clone(&self).pass(caller, entry, verdict, question, parts, body);
        let passed = tokio::spawn(async move {
            let passed = passing.await;
            drop(in_flight);
            passed
        });
        match passed.await.map_err(|_| NoAnswer)? {
            Passed::Answer(response) => Ok(response.map(Sent::whole)),
            Passed::Half(response) => Ok(response.map(Sent::half)),
            Passed::Nothing => Err(NoAnswer),
            Passed::Never => future::pending().await,
        }
    }

    /// Notes the call, unless a dead caller made it.
    fn arrived(
        &self,
        caller: &CallerState,
        parts: &Parts,
        body: &Bytes,
    ) -> Result<Entry, NoAnswer> {
        if caller.is_dead.load(Ordering::SeqCst) {
            return Err(NoAnswer);
        }
        let named = Named::from(parts, body);
        let is_write = named.is_write();
        let mut log = locked(&self.log);
        let mut attempt = locked(&caller.attempt);
        attempt.calls += 1;
        let entry = Entry {
            index: log.forgotten + log.entries.len(),
            at: self.begun.elapsed(),
            answered: None,
            caller: caller.name.clone(),
            request_id: attempt.request_id.clone(),
            number: attempt.calls,
            service: named.service,
            operation: named.operation,
            keys: named.keys,
            resources: named.resources,
            is_write,
            status: None,
            fault: None,
            applied: false,
            asked: None,
            granted: Vec::new(),
            refused: None,
        };
        log.entries.push(entry.clone());
        Ok(entry)
    }

    fn verdict(&self, entry: &Entry, question: &Question) -> Verdict {
        let past = locked(&self.past);
        let is_known = |lag| past.before(&entry.service, question, lag, entry.at).is_some();
        Verdict::on(entry, &mut locked(&self.rules).active, is_known)
    }

    async fn pass(
        self: Arc<Self>,
        caller: Arc<CallerState>,
        entry: Entry,
        verdict: Verdict,
        question: Question,
        parts: Parts,
        body: Bytes,
    ) -> Passed {
        let index = entry.index;
        half_way(verdict.delay).await;
        for hook in verdict.hooks {
            hook(entry.clone()).await;
        }
        let id = format!("injected-{index}");
        let made = match &verdict.fault {
            Some(Fault::Refuse(refusal)) => {
                let named = Named::from(&parts, &body);
                Some(Answer::refusal(refusal, &named, &parts.method, &id))
            }
            Some(Fault::Cancel(cancelled)) => {
                Some(Answer::cancelled(cancelled, &Named::from(&parts, &body), &id))
            }
            Some(Fault::Throttle) => {
                let named = Named::from(&parts, &body);
                let refusal = Answer::throttle(&named, index);
                Some(Answer::refusal(&refusal, &named, &parts.method, &id))
            }
            Some(Fault::Break) => {
                let named = Named::from(&parts, &body);
                let refusal = Answer::failure(&named);
                Some(Answer::refusal(&refusal, &named, &parts.method, &id))
            }
            Some(Fault::Hang) => return Passed::Never,
            Some(Fault::DropRequest) => return Passed::Nothing,
            Some(Fault::KillBefore) => {
                caller.die();
                return Passed::Nothing;
            }
            _ => None,
        };
        let response = match (made, &verdict.fault) {
            (Some(answer), _) => answer.into_response().ok(),
            (None, Some(Fault::Stale(lag))) => {
                locked(&self.past).before(&entry.service, &question, *lag, entry.at)
            }
            (None, _) => match self.denied(index, &parts, &body) {
                Some(denial) => {
                    let named = Named::from(&parts, &body);
                    Answer::refusal(&denial, &named, &parts.method, &id).into_response().ok()
                }
                None => {
                    let response = self.forward(&entry, parts, body).await;
                    self.remember(&entry, question, response.as_ref());
                    response
                }
            },
        };
        let Some(mut response) = response else { return Passed::Nothing };
        self.note(index, |entry| entry.status = Some(response.status().as_u16()));
        match verdict.fault {
            Some(Fault::DropAnswer) => return Passed::Nothing,
            Some(Fault::KillAfter) => {
                caller.die();
                return Passed::Nothing;
            }
            _ => {}
        }
        half_way(verdict.delay).await;
        match verdict.fault {
            // There is no middle of nothing.
            Some(Fault::Truncate) if response.body().is_empty() => return Passed::Nothing,
            Some(Fault::Truncate) => return Passed::Half(response),
            Some(Fault::Shorten) => {
                let half = response.body().len() / 2;
                response.body_mut().truncate(half);
                response.headers_mut().remove("content-length");
            }
            _ => {}
        }
        self.note(index, |entry| entry.answered = Some(self.begun.elapsed()));
        Passed::Answer(response)
    }

    /// What AWS says instead of doing it, if the caller's role does not allow it.
    fn denied(&self, index: usize, parts: &Parts, body: &Bytes) -> Option<Refusal> {
        let (asked, judged) = locked(&self.sessions).judge(parts, body)?;
        self.note(index, |entry| entry.asked = Some(asked));
        match judged {
            Ok(granted) => {
                self.note(index, |entry| entry.granted = granted);
                None
            }
            Err(refused) => {
                let denial = authorize::denial(&refused, &Named::from(parts, body));
                self.note(index, |entry| entry.refused = Some(refused));
                Some(denial)
            }
        }
    }

    /// What later reads may be answered with.
    fn remember(&self, entry: &Entry, question: Question, response: Option<&Response<Bytes>>) {
        if !locked(&self.rules).active.iter().any(Active::is_stale) {
            return;
        }
        let Some(response) = response else { return };
        let mut past = locked(&self.past);
        if entry.is_write && response.status().is_success() {
            past.wrote(&entry.service, entry.at);
        } else if !entry.is_write && !response.status().is_server_error() {
            past.read(&entry.service, question, response, self.begun.elapsed());
        }
    }

    /// AWS's answer. None: AWS is gone, or gave none.
    async fn forward(
        &self,
        entry: &Entry,
        mut parts: Parts,
        body: Bytes,
    ) -> Option<Response<Bytes>> {
        let index = entry.index;
        let upstream = locked(&self.routes).get(&entry.service).cloned();
        // What is about the connection with the caller; `Expect` was met when the body was read.
        for name in ["connection", "expect", "keep-alive", "transfer-encoding"] {
            parts.headers.remove(name);
        }
        let path = parts.uri.path_and_query().cloned();
        parts.uri = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(upstream.unwrap_or_else(|| self.upstream.clone()))
            .path_and_query(path.unwrap_or(PathAndQuery::from_static("/")))
            .build()
            .ok()?;
        let response =
            self.client.request(Request::from_parts(parts, Full::new(body))).await.ok()?;
        let (mut parts, body) = response.into_parts();
        let is_well = parts.status.is_success();
        // It is applied when AWS has begun to say so.
        self.note(index, |entry| entry.applied = is_well);
        let body = body.collect().await.ok()?.to_bytes();
        for name in ["connection", "keep-alive", "transfer-encoding"] {
            parts.headers.remove(name);
        }
        Some(Response::from_parts(parts, body))
    }

    fn note(&self, index: usize, change: impl FnOnce(&mut Entry)) {
        let mut log = locked(&self.log);
        let at = index.checked_sub(log.forgotten);
        if let Some(entry) = at.and_then(|at| log.entries.get_mut(at)) {
            change(entry);
        }
    }
}

/// What a caller gets.
enum Passed {
    Answer(Response<Bytes>),
    /// Half of it, and the connection ends.
    Half(Response<Bytes>),
    /// The connection ends.
    Nothing,
    /// The connection stays, and nothing comes.
    Never,
}

/// A call on its way.
struct InFlight(Arc<Shared>);

impl InFlight {
    fn new(shared: Arc<Shared>) -> Self {
        shared.in_flight.fetch_add(1, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.quiet.notify_waiters();
        }
    }
}

/// Tokio's clock takes a millisecond over no time at all.
async fn half_way(round_trip: Duration) {
    if !round_trip.is_zero() {
        time::sleep(round_trip / 2).await;
    }
}

fn authority(endpoint: &str) -> Result<Authority, ProxyError> {
    let uri = endpoint.parse::<Uri>().ok().filter(|uri| uri.scheme() == Some(&Scheme::HTTP));
    let authority = uri.and_then(|uri| uri.authority().cloned());
    authority.ok_or_else(|| ProxyError::Endpoint { endpoint: endpoint.to_owned() })
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
