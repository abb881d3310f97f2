//! How Quell reaches AWS: one connection pool, explicit time limits, and a note of every call made.

use std::{
    env,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_config::{
    BehaviorVersion, ConfigLoader, Region, SdkConfig,
    environment::EnvironmentVariableCredentialsProvider, retry::RetryConfig,
    timeout::TimeoutConfig,
};
use aws_sdk_dynamodb::config::retry::{ClientRateLimiter, RetryPartition};
use aws_smithy_http_client::{
    Connector,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        http::{
            HttpConnector as _, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
            http_client_fn,
        },
        interceptors::{
            Intercept,
            context::{AfterDeserializationInterceptorContextRef, FinalizerInterceptorContextRef},
        },
        orchestrator::{HttpRequest, Metadata},
        result::SdkError,
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::{
    byte_stream::ByteStream, config_bag::ConfigBag, error::metadata::ProvideErrorMetadata,
};
use serde::{Deserialize, Serialize};
use tokio::{task::JoinSet, time::timeout};

use crate::CallError;

/// Clients of one account and region. All share one HTTP connection pool.
#[derive(Clone, Debug)]
pub struct Clients {
    sdk: SdkConfig,
    /// Under all of them, where it is ours.
    connector: Option<SharedHttpConnector>,
    account: String,
    home: String,
    calls: CallLog,
}

impl Clients {
    /// From the environment, as a person's shell sets it. No call takes longer than `call_time`.
    pub async fn load(
        account: impl Into<String>,
        region: impl Into<String>,
        call_time: Duration,
    ) -> Self {
        let (connector, config) = (connector(TrustStore::default()), ConfigLoader::default());
        Self::with(connector, config, account, region, call_time).await
    }

    /// From the environment, as Lambda sets it, with a connection to each of these services opened. Of all
    /// certificates of the system, only Amazon's are read: the others would take longer than the rest of a start.
    pub async fn in_lambda(
        account: &str,
        region: &str,
        call_time: Duration,
        services: &[&str],
    ) -> Self {
        let config = || {
            ConfigLoader::default()
                .credentials_provider(EnvironmentVariableCredentialsProvider::new())
        };
        let connect =
            |trusted| Self::with(connector(trusted), config(), account, region, call_time);
        // Whoever names certificates wants these.
        if ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| env::var_os(name).is_some()) {
            let clients = connect(TrustStore::default()).await;
            clients.open_connections(services).await;
            return clients;
        }
        let amazon = TrustStore::empty().with_pem_certificate(AMAZON_ROOTS);
        let clients = connect(amazon).await;
        if clients.open_connections(services).await {
            return clients;
        }
        tracing::warn!(
            target: "quell",
            "no service of AWS answers under Amazon's root certificates: those of the system are used"
        );
        connect(TrustStore::default()).await
    }

    async fn with(
        connector: SharedHttpConnector,
        config: ConfigLoader,
        account: impl Into<String>,
        region: impl Into<String>,
        call_time: Duration,
    ) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIME.min(call_time))
            .operation_attempt_timeout(ATTEMPT_TIME.min(call_time))
            .operation_timeout(call_time)
            .build();
        let sdk = config
            .behavior_version(BehaviorVersion::latest())
            .http_client(http_client_of(connector.clone()))
            .timeout_config(timeouts)
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .region(Region::new(region.into()))
            .load()
            .await;
        Self { connector: Some(connector), ..Self::new(sdk, account) }
    }

    pub fn new(sdk: SdkConfig, account: impl Into<String>) -> Self {
        let home = sdk.region().map(ToString::to_string).unwrap_or_default();
        Self { sdk, connector: None, account: account.into(), home, calls: CallLog::default() }
    }

    /// The same credentials, now that their account is known.
    pub fn of_account(self, account: impl Into<String>) -> Self {
        Self { account: account.into(), ..self }
    }

    /// The same account in another region, over the same connections.
    pub fn in_region(&self, region: &str) -> Self {
        let sdk = self.sdk.to_builder().region(Region::new(region.to_owned())).build();
        Self { sdk, ..self.clone() }
    }

    /// Opens a connection to each of these services, as IAM names them, and leaves it to whoever calls first: an
    /// endpoint that is elsewhere, or does not answer in time, is reached by the call itself. `false`: none answered.
    async fn open_connections(&self, services: &[&str]) -> bool {
        let Some(connector) = &self.connector else { return true };
        let mut opening = JoinSet::new();
        for url in services.iter().filter_map(|service| self.ping(service)) {
            let Ok(request) = HttpRequest::get(url) else { continue };
            let connector = connector.clone();
            opening.spawn(async move {
                let Ok(answer) = connector.call(request).await else { return false };
                // A connection is free again once its answer is read.
                let _ = ByteStream::new(answer.into_body()).collect().await;
                true
            });
        }
        let mut has_answered = opening.is_empty();
        let all = async {
            while let Some(answered) = opening.join_next().await {
                has_answered |= answered.unwrap_or_default();
            }
        };
        let _ = timeout(OPENING_TIME, all).await;
        has_answered
    }

    /// What a service answers without credentials. `None`: its hosts are named after the resource.
    fn ping(&self, service: &str) -> Option<String> {
        if let Some(endpoint) = self.sdk.endpoint_url() {
            // Without TLS there is little to gain.
            let is_encrypted = endpoint.starts_with("https:");
            return is_encrypted.then(|| format!("{}/ping", endpoint.trim_end_matches('/')));
        }
        let host = match service {
            "s3" => return None,
            "cloudwatch" => "monitoring",
            service => service,
        };
        let region = self.region();
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        Some(format!("https://{host}.{region}.{domain}/ping"))
    }

    /// What a service's client is made of. Add [`calls`](Self::calls) as its interceptor.
    pub fn sdk(&self) -> &SdkConfig {
        &self.sdk
    }

    /// How a client of the customers' services tries again what was throttled, or failed on AWS's side: adaptively, so
    /// that after a throttle the calls that follow are slower too. Goes with [`pace`](Self::pace).
    pub fn retries(&self) -> RetryConfig {
        let attempts = self.sdk.retry_config().map_or(ATTEMPTS, RetryConfig::max_attempts);
        RetryConfig::adaptive().with_max_attempts(attempts)
    }

    /// What an adaptive client knows of the rate that AWS takes. One for each client: by default a process has one for
    /// all, which measures how often it calls. That of a function which makes ten calls an hour is next to nothing, and
    /// after one throttle its next attempt would come twenty seconds later, when the call has long timed out.
    pub fn pace(&self) -> RetryPartition {
        let limiter = ClientRateLimiter::builder()
            .tokens_retrieved_per_second(FIRST_RATE)
            .current_bucket_capacity(FIRST_RATE)
            .build();
        RetryPartition::custom("quell").client_rate_limiter(limiter).build()
    }

    /// The connections, for what no client of the SDK's calls.
    pub(crate) fn connector(&self) -> SharedHttpConnector {
        self.connector.clone().unwrap_or_else(|| connector(TrustStore::default()))
    }

    pub fn account(&self) -> &str {
        &self.account
    }

    pub fn region(&self) -> &str {
        self.sdk.region().map_or("", |region| region.as_ref())
    }

    /// The region of Quell's own stack, whichever the calls go to.
    pub fn home(&self) -> &str {
        &self.home
    }

    pub fn calls(&self) -> CallLog {
        self.calls.clone()
    }

    /// Whether the endpoint is an emulator on this machine, where host names cannot carry a bucket or an account.
    pub fn is_emulated(&self) -> bool {
        self.host().is_some_and(|host| {
            host == "localhost" || host == "host.docker.internal" || host.parse::<IpAddr>().is_ok()
        })
    }

    /// Whether the endpoint is on this very machine.
    pub fn is_loopback(&self) -> bool {
        self.sdk.endpoint_url().is_some_and(is_this_machine)
    }

    fn host(&self) -> Option<&str> {
        self.sdk.endpoint_url().map(host_of)
    }
}

/// Whether an address is on this very machine.
pub fn is_this_machine(url: &str) -> bool {
    let host = host_of(url);
    let is_loopback = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    // Before an `@` anything can stand.
    !url.contains('@') && (host == "localhost" || is_loopback)
}

fn host_of(url: &str) -> &str {
    let host = url.split("://").last().unwrap_or(url);
    let host = host.split(['/', '?']).next().unwrap_or(host);
    host.rsplit_once(':').map_or(host, |(host, _)| host)
}

/// One connector for all clients: the SDK's own HTTP client makes another one whenever a client is made, and reads all
/// root certificates for it. With ring: aws-lc costs 50 ms of CPU at every cold start.
pub fn http_client() -> SharedHttpClient {
    http_client_of(connector(TrustStore::default()))
}

/// For servers that are not AWS's: with the root certificates of the system.
pub fn web() -> SharedHttpConnector {
    connector(TrustStore::default())
}

fn http_client_of(connector: SharedHttpConnector) -> SharedHttpClient {
    http_client_fn(move |_, _| connector.clone())
}

fn connector(trusted: TrustStore) -> SharedHttpConnector {
    let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_TIME).build();
    let connector = Connector::builder()
        .connector_settings(settings)
        .tls_provider(Provider::Rustls(CryptoMode::Ring));
    // Fails for other TLS libraries only.
    let connector = match TlsContext::builder().with_trust_store(trusted).build() {
        Ok(context) => connector.tls_context(context),
        Err(_) => connector,
    };
    SharedHttpConnector::new(connector.build())
}

/// The roots of all endpoints of AWS. <https://www.amazontrust.com/repository/>
const AMAZON_ROOTS: &[u8] = include_bytes!("amazon-roots.pem");

/// A process waits no longer than this for its first connections.
const OPENING_TIME: Duration = Duration::from_millis(500);

/// Time for a connection: within a region more is a failure.
const CONNECT_TIME: Duration = Duration::from_secs(2);

/// How often a call is made in all, if AWS throttles it, fails or does not answer. Nobody tries it once more around
/// that: a loop that calls again has a client that does not.
pub const ATTEMPTS: u32 = 3;

/// Calls a second that an adaptive client takes for its rate until it has measured it. A fifth of it is left after its
/// first measurement: about as much as one evaluation makes, and EC2 takes of every account.
/// <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>
const FIRST_RATE: f64 = 50.0;

/// Time for one attempt of a call.
const ATTEMPT_TIME: Duration = Duration::from_secs(5);

/// Time for a call with its retries.
pub const CALL_TIME: Duration = Duration::from_secs(15);

/// A note of every call that was answered: what Quell did, and by which request ids its own events are recognised.
#[derive(Clone, Debug, Default)]
pub struct CallLog(Arc<Mutex<Vec<Call>>>);

/// One call as it was made.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Call {
    /// The service as the SDK names it, such as `S3`.
    pub service: String,
    /// The operation, such as `PutBucketAcl`.
    pub operation: String,
    /// AWS's id of the request, which CloudTrail repeats as `requestID`.
    pub request_id: Option<String>,
    pub ok: bool,
}

impl Call {
    /// Whether the call may have changed something.
    pub fn is_write(&self) -> bool {
        !["Get", "List", "Describe", "Head"].iter().any(|verb| self.operation.starts_with(verb))
    }
}

impl CallLog {
    /// The calls since the last time, in the order of their answers.
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Intercept for CallLog {
    fn name(&self) -> &'static str {
        "CallLog"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(response) = context.response() else { return Ok(()) };
        let header = |name| response.headers().get(name).map(str::to_owned);
        let (service, operation) = cfg
            .load::<Metadata>()
            .map(|meta| (meta.service().to_owned(), meta.name().to_owned()))
            .unwrap_or_default();
        let call = Call {
            service,
            operation,
            request_id: header("x-amzn-requestid").or_else(|| header("x-amz-request-id")),
            ok: context.output_or_error().is_some_and(|result| result.is_ok()),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(call);
        Ok(())
    }
}

/// Refuses XML without an end. The SDK takes what is there for all there is: half a list of instances would be a list
/// without the others, and an instance that is not in it would be gone.
#[derive(Clone, Copy, Debug)]
pub struct WholeAnswers;

/// AWS's answer ends in the middle.
#[derive(Debug, thiserror::Error)]
#[error("the answer ends in the middle, after {0} bytes")]
struct HalfAnAnswer(usize);

impl Intercept for WholeAnswers {
    fn name(&self) -> &'static str {
        "WholeAnswers"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.response().body().bytes().unwrap_or_default();
        if has_end(body) { Ok(()) } else { Err(HalfAnAnswer(body.len()).into()) }
    }
}

/// Whether XML ends with the end of its first element. What is no XML is for others to judge.
fn has_end(body: &[u8]) -> bool {
    let mut rest = body.trim_ascii();
    if rest.starts_with(b"<?") {
        let declared = rest.windows(2).position(|end| end == b"?>");
        // It ends within its declaration.
        let Some(end) = declared else { return false };
        rest = rest[end + 2..].trim_ascii_start();
        if rest.is_empty() {
            return false;
        }
    }
    let Some(root) = rest.strip_prefix(b"<") else { return true };
    let name = root.split(|byte| byte.is_ascii_whitespace() || b"/>".contains(byte)).next();
    let name = name.unwrap_or_default();
    let is_empty_element =
        rest.ends_with(b"/>") && rest.iter().filter(|b| **b == b'<').count() == 1;
    let end = rest.strip_suffix(b">").and_then(|rest| rest.trim_ascii_end().strip_suffix(name));
    is_empty_element || end.is_some_and(|rest| rest.ends_with(b"</"))
}

/// Names the IAM action of a call whose failure is passed on.
pub trait During<T> {
    fn during(self, action: &'static str) -> Result<T, CallError>;
}

impl<T, E, R> During<T> for Result<T, SdkError<E, R>>
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
    R: std::fmt::Debug,
{
    fn during(self, action: &'static str) -> Result<T, CallError> {
        self.map_err(|error| CallError::from_sdk(action, error))
    }
}

/// "There is none" as a value: an error with one of these codes becomes `None`.
pub trait OrMissing<T> {
    fn or_missing(self, codes: &[&str]) -> Result<Option<T>, CallError>;
}

impl<T> OrMissing<T> for Result<T, CallError> {
    fn or_missing(self, codes: &[&str]) -> Result<Option<T>, CallError> {
        match self {
            Ok(value) => Ok(Some(value)),
            Err(error) if codes.iter().any(|code| error.is(code)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::{CertificateDer, pem::PemObject as _};

    use super::*;

    #[test]
    fn the_roots_that_functions_trust_are_amazons_and_mozilla_trusts_them_too() {
        let roots: Vec<_> =
            CertificateDer::pem_slice_iter(AMAZON_ROOTS).collect::<Result<_, _>>().unwrap();
        assert_eq!(roots.len(), 5);
        for root in roots {
            assert!(webpki_root_certs::TLS_SERVER_ROOT_CERTS.contains(&root));
            let text = String::from_utf8_lossy(&root);
            assert!(text.contains("Amazon") || text.contains("Starfield Services"), "{text}");
        }
    }

    #[test]
    fn xml_is_whole_when_its_first_element_ends() {
        for whole in [
            "",
            "<a/>",
            "<a b=\"c\" />\n",
            "<a><b>1</b></a>",
            "<?xml version=\"1.0\"?>\n<a xmlns=\"n\"><b/></a >\n",
            "{\"Version\": \"2012-10-17\"}",
            "plain",
        ] {
            assert!(has_end(whole.as_bytes()), "{whole}");
        }
    }

    #[test]
    fn no_part_of_xml_is_whole() {
        let whole =
            "<?xml version=\"1.0\"?>\n<Reply xmlns=\"n\"><set><item/><item>é</item></set></Reply>";
        assert!(has_end(whole.as_bytes()));
        for length in 1..whole.len() {
            assert!(!has_end(&whole.as_bytes()[..length]), "{length}");
        }
    }
}
