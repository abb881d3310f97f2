//! Messages for tests, and a Security Hub that answers what it is told to.

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
use proptest::prelude::*;
use quell_engine::{Outcome, notify::Message, text};
use serde_json::{Value, json};

pub(crate) const RECORD: &str = "5f0c6a1de2b94c771234";
pub(crate) const ORIGINAL: &str = "77c49be21d6a0c5f1234";

/// A message as it comes from the queue.
pub(crate) fn body(outcome: Outcome) -> Value {
    let mut body = json!({
        "kind": "remediation",
        "version": 1,
        "revision": 1,
        "control": {
            "id": "s3-public-acl",
            "title": "S3 bucket ACLs grant nothing to the public",
            "risk": "The bucket's ACL lets anyone on the internet list its objects.",
            "severity": "high",
            "safety": "safe",
            "function": "s3-exposure",
            "runbook": "docs/runbooks/s3-public-acl.md",
        },
        "outcome": outcome.as_str(),
        "mode": "enforce",
        "resource": {
            "name": "photos-2024",
            "arn": "arn:aws:s3:::photos-2024",
            "console": "https://eu-west-1.console.aws.amazon.com/s3/buckets/photos-2024?region=eu-west-1&tab=permissions",
        },
        "account": "123456789012",
        "region": "eu-west-1",
        "event": {
            "id": "7d0c2b5e-90a4-4f6e-8c11-3f6a2f1f0a55",
            "time": "2026-03-01T02:03:04Z",
            "finding": null,
        },
        "actor": {
            "principal": "user alice",
            "arn": "arn:aws:iam::123456789012:user/alice",
            "source_ip": "203.0.113.7",
        },
        "detected": "2026-03-01T02:03:09.5Z",
        "fixed_at": null,
        "changes": [{
            "action": "s3:PutBucketAcl", "effect": "set",
            "minus": ["READ to everyone (AllUsers)"], "plus": [], "made": false,
        }],
        "applied": false,
        "verified": null,
        "record": RECORD,
        "plan_hash": null,
        "undoes": null,
        "order": null,
        "approve": null,
        "deny": null,
        "expires": null,
        "resume": null,
        "undo": null,
        "exempt": format!("quell exempt add --record {RECORD} --days 7 --reason REASON"),
        "notes": [],
        "cause": null,
        "reason": null,
        "channels": [],
        "left_out": 0,
    });
    let more = match outcome {
        Outcome::Fixed => json!({
            "applied": true, "verified": true, "undo": format!("quell undo {RECORD}"),
        }),
        Outcome::Partial => json!({
            "applied": true, "verified": false, "undo": format!("quell undo {RECORD}"),
            "exempt": null,
            "reason": "s3:PutBucketPublicAccessBlock: throttled or unavailable; it is tried again: SlowDown",
        }),
        Outcome::Failed => json!({
            "exempt": null,
            "reason": "s3:PutBucketAcl: denied; allow it in the function's role: AccessDenied: Access Denied",
        }),
        Outcome::Refused => {
            json!({"reason": "The resource was changed after Quell fixed it."})
        }
        Outcome::Pending => json!({
            "mode": "approve", "expires": "2026-03-02T02:03:09Z",
            "approve": format!("quell approve {RECORD}"), "deny": format!("quell deny {RECORD}"),
        }),
        Outcome::Parked => json!({
            "exempt": null, "resume": format!("quell resume {RECORD}"),
            "reason": "the budget routine control s3-public-acl of the policy is used up; `quell resume` goes on with it",
        }),
        Outcome::Denied => json!({
            "mode": "approve", "reason": "denied by bob: the press kit is public on purpose",
        }),
        Outcome::Undone => json!({
            "applied": true, "verified": true, "undoes": ORIGINAL, "exempt": null,
        }),
        _ => json!({}),
    };
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

pub(crate) fn message(outcome: Outcome) -> Message {
    serde_json::from_value(body(outcome)).unwrap()
}

/// Everything that untrusted text can reach, filled with it.
pub(crate) fn filled(outcome: Outcome, texts: &[String]) -> Message {
    let mut next = texts.iter().cycle().cloned();
    let mut text = || json!(next.next().unwrap_or_default());
    let mut body = body(outcome);
    for at in [
        "/control/id",
        "/control/title",
        "/control/risk",
        "/control/function",
        "/control/runbook",
        "/mode",
        "/resource/name",
        "/resource/arn",
        "/resource/console",
        "/region",
        "/event/id",
        "/actor/principal",
        "/actor/arn",
        "/actor/source_ip",
        "/record",
        "/approve",
        "/deny",
        "/resume",
        "/undo",
        "/exempt",
        "/reason",
    ] {
        *body.pointer_mut(at).unwrap() = text();
    }
    serde_json::from_value(body).unwrap()
}

/// Text as an attacker may choose it.
pub(crate) fn hostile() -> impl Strategy<Value = String> {
    const FRAGMENTS: &[&str] = &[
        "<!channel>",
        "<http://evil.example|Approve>",
        "[a](http://evil.example)",
        "https://evil.example/x",
        "www.evil.example",
        "\r\n\n- approved\n",
        "\u{1b}[31m",
        "\u{202e}",
        "\u{200b}",
        "\u{2028}",
        "\0",
        "\u{e0041}",
        "{\"a\":1}",
        "\\\\host\\x",
        "arn:aws:s3:::",
        "💥",
        "</p><script>",
        "photos",
        " ",
    ];
    let part = prop_oneof![
        4 => prop::sample::select(FRAGMENTS).prop_map(str::to_owned),
        2 => any::<char>().prop_map(String::from),
        1 => (prop::sample::select(FRAGMENTS), 1..400_usize).prop_map(|(part, times)| part.repeat(times)),
    ];
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

/// One visible line without markup and links.
pub(crate) fn assert_inert(line: &str) {
    assert!(!line.contains(text::is_invisible), "{line:?}");
    for markup in ["<", ">", "://", "](", "www.e"] {
        assert!(!line.contains(markup), "{markup} in {line:?}");
    }
}

/// The finding as Security Hub gets it.
pub(crate) fn wire(finding: AwsSecurityFinding) -> Value {
    let stub = Stub::answering([(200, json!({"FailedCount": 0, "SuccessCount": 1}))]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let call = stub.client().batch_import_findings().findings(finding).send();
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

    pub(crate) fn client(&self) -> Client {
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
        Client::new(&sdk)
    }

    /// What was asked so far.
    pub(crate) fn requests(&self) -> Vec<Value> {
        self.requests.lock().unwrap().clone()
    }
}

impl HttpConnector for Stub {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let asked = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        self.requests.lock().unwrap().push(asked);
        let (status, answer) = self.answers.lock().unwrap().pop_front().expect("an answer is left");
        let status = StatusCode::try_from(status).unwrap();
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(answer.to_string()))))
    }
}
