//! A Security Hub that answers what it is told to, beside a ledger in which nothing is.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_securityhub::{Client, types::AwsSecurityFinding};
use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
        orchestrator::{HttpRequest, HttpResponse},
    },
    http::StatusCode,
};
use aws_smithy_types::body::SdkBody;
use quell_engine::Clients;
use serde_json::{Value, json};

/// The finding as Security Hub gets it.
pub(crate) fn wire(finding: AwsSecurityFinding) -> Value {
    let stub = Stub::answering([(200, json!({"FailedCount": 0, "SuccessCount": 1}))]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = Client::new(stub.clients().sdk());
    let call = client.batch_import_findings().findings(finding).send();
    runtime.block_on(call).unwrap();
    stub.requests().remove(0)["Findings"][0].take()
}

/// A Security Hub that gives these answers, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Stub {
    answers: Arc<Mutex<VecDeque<(u16, Value)>>>,
    requests: Arc<Mutex<Vec<Value>>>,
}

impl Stub {
    pub(crate) fn answering(answers: impl IntoIterator<Item = (u16, Value)>) -> Self {
        Self {
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
            requests: Arc::default(),
        }
    }

    pub(crate) fn clients(&self) -> Clients {
        let stub = self.clone();
        let sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("eu-west-1"))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
                "key", "secret", None, None, "test",
            )))
            .http_client(http_client_fn(move |_, _| SharedHttpConnector::new(stub.clone())))
            .retry_config(RetryConfig::disabled())
            .build();
        Clients::new(sdk, "123456789012")
    }

    /// What Security Hub was asked so far.
    pub(crate) fn requests(&self) -> Vec<Value> {
        self.requests.lock().unwrap().clone()
    }
}

impl HttpConnector for Stub {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (status, answer) = if request.headers().get("x-amz-target").is_some() {
            (200, json!({"Items": []}))
        } else {
            let asked = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
            self.requests.lock().unwrap().push(asked);
            self.answers.lock().unwrap().pop_front().expect("an answer is left")
        };
        let status = StatusCode::try_from(status).unwrap();
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(answer.to_string()))))
    }
}
