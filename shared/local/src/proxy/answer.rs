//! Errors in the form of the protocol that the caller speaks.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Bytes;
use hyper::{
    Method, Response, StatusCode,
    body::{Body, Frame, SizeHint},
};
use serde_json::{Value, json};
use tokio::time::{Sleep, sleep};

use super::{
    Cancelled, Refusal,
    naming::{Named, Protocol},
};

pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    pub(super) fn refusal(refusal: &Refusal, named: &Named, method: &Method, id: &str) -> Self {
        let (code, message) = (refusal.code.as_str(), refusal.message.as_str());
        let (c, m) = (escaped(code), escaped(message));
        let error = format!("<Code>{c}</Code><Message>{m}</Message>");
        let status = StatusCode::from_u16(refusal.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        match named.protocol {
            Protocol::Json => {
                let body = json!({ "__type": typed(named, code), "message": message });
                Self::json(status, id, &body)
            }
            Protocol::RestJson => {
                let body = json!({ "Type": "User", "Message": message });
                let mut answer = Self::json(status, id, &body);
                answer.headers.push(("x-amzn-errortype", code.to_owned()));
                answer
            }
            Protocol::Cbor => {
                let mut body = vec![0xa2];
                for text in ["__type", code, "message", message] {
                    cbor_text(text, &mut body);
                }
                let headers = [
                    ("content-type", "application/cbor".to_owned()),
                    ("smithy-protocol", "rpc-v2-cbor".to_owned()),
                    ("x-amzn-requestid", id.to_owned()),
                ];
                Self { status, headers: headers.into(), body }
            }
            Protocol::Ec2 => {
                let errors = format!("<Errors><Error>{error}</Error></Errors>");
                Self::xml(
                    status,
                    id,
                    &format!("<Response>{errors}<RequestID>{id}</RequestID></Response>"),
                )
            }
            Protocol::Query | Protocol::S3Control => {
                let kind = if status.is_server_error() { "Receiver" } else { "Sender" };
                let error = format!("<Error><Type>{kind}</Type>{error}</Error>");
                let body =
                    format!("<ErrorResponse>{error}<RequestId>{id}</RequestId></ErrorResponse>");
                Self::xml(status, id, &body)
            }
            // What asks for the head alone gets no reason.
            Protocol::S3 if *method == Method::HEAD => Self::xml(status, id, ""),
            Protocol::S3 => {
                Self::xml(status, id, &format!("<Error>{error}<RequestId>{id}</RequestId></Error>"))
            }
        }
    }

    /// Too many calls, as the service of the call tells it. DynamoDB has two ways, and takes them in turn.
    pub(super) fn throttle(named: &Named, index: usize) -> Refusal {
        let (status, code, message) = match named.service.as_str() {
            "DynamoDB" if index.is_multiple_of(2) => (
                400,
                "ProvisionedThroughputExceededException",
                "The level of configured provisioned throughput for the table was exceeded.",
            ),
            "EC2" => (503, "RequestLimitExceeded", "Request limit exceeded."),
            "S3" | "S3 Control" => (503, "SlowDown", "Please reduce your request rate."),
            "Lambda" => (429, "TooManyRequestsException", "Rate Exceeded."),
            "SNS" | "STS" | "IAM" => (400, "Throttling", "Rate exceeded"),
            "SQS" => (400, "RequestThrottled", "The request was denied due to request throttling."),
            _ => (400, "ThrottlingException", "Rate exceeded"),
        };
        Refusal { status, code: code.to_owned(), message: message.to_owned() }
    }

    /// A failure on AWS's side, as the service of the call tells it.
    pub(super) fn failure(named: &Named) -> Refusal {
        let (status, code, message) = match named.service.as_str() {
            "DynamoDB" => (500, "InternalServerError", "Internal server error"),
            "EC2" => (503, "Unavailable", "The service is unavailable. Please try again shortly."),
            "S3" | "S3 Control" => {
                (500, "InternalError", "We encountered an internal error. Please try again.")
            }
            "Lambda" => {
                (500, "ServiceException", "An error occurred and the request cannot be processed.")
            }
            "CloudWatch" => (500, "InternalServiceFault", "Request processing has failed."),
            _ => (500, "InternalFailure", "The request processing has failed."),
        };
        Refusal { status, code: code.to_owned(), message: message.to_owned() }
    }

    /// A transaction that DynamoDB cancelled, with a reason for each item.
    /// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
    pub(super) fn cancelled(cancelled: &Cancelled, named: &Named, id: &str) -> Self {
        let codes: Vec<_> = named
            .keys
            .iter()
            .map(|key| {
                let is_meant = key.starts_with(&cancelled.key_prefix);
                if is_meant { cancelled.code.as_str() } else { "None" }
            })
            .collect();
        let reasons: Vec<_> = codes
            .iter()
            .map(|code| match *code {
                "None" => json!({ "Code": code }),
                code => json!({ "Code": code, "Message": format!("{code} injected") }),
            })
            .collect();
        let message = format!(
            "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]",
            codes.join(", ")
        );
        let body = json!({
            "__type": typed(named, "TransactionCanceledException"),
            "Message": message,
            "CancellationReasons": reasons,
        });
        Self::json(StatusCode::BAD_REQUEST, id, &body)
    }

    fn json(status: StatusCode, id: &str, body: &Value) -> Self {
        let headers = [
            ("content-type", "application/x-amz-json-1.0".to_owned()),
            ("x-amzn-requestid", id.to_owned()),
        ];
        Self { status, headers: headers.into(), body: body.to_string().into() }
    }

    fn xml(status: StatusCode, id: &str, body: &str) -> Self {
        let headers = [
            ("content-type", "application/xml".to_owned()),
            ("x-amzn-requestid", id.to_owned()),
            ("x-amz-request-id", id.to_owned()),
        ];
        Self { status, headers: headers.into(), body: body.into() }
    }

    pub(super) fn into_response(self) -> Result<Response<Bytes>, hyper::http::Error> {
        let mut response = Response::builder().status(self.status);
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        response.body(Bytes::from(self.body))
    }
}

/// A body on its way to the caller.
pub(super) struct Sent {
    promised: u64,
    left: Option<Bytes>,
    /// What ends the connection before the promised length is reached: a moment later, so that the half arrives.
    end: Option<Pin<Box<Sleep>>>,
}

impl Sent {
    pub(super) fn whole(body: Bytes) -> Self {
        Self { promised: body.len() as u64, left: Some(body), end: None }
    }

    pub(super) fn half(body: Bytes) -> Self {
        let half = body.slice(..body.len() / 2);
        let end = Box::pin(sleep(Duration::from_millis(20)));
        Self { promised: body.len() as u64, left: Some(half), end: Some(end) }
    }
}

/// The connection ends in the middle of an answer.
#[derive(Debug, thiserror::Error)]
#[error("half an answer")]
pub(super) struct HalfAnAnswer;

impl Body for Sent {
    type Data = Bytes;
    type Error = HalfAnAnswer;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HalfAnAnswer>>> {
        if let Some(body) = self.left.take().filter(|body| !body.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(body))));
        }
        match &mut self.end {
            None => Poll::Ready(None),
            Some(end) => end.as_mut().poll(context).map(|()| Some(Err(HalfAnAnswer))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.end.is_none() && self.left.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.promised)
    }
}

/// The code with the namespace of its service.
fn typed(named: &Named, code: &str) -> String {
    match named.service.as_str() {
        "DynamoDB" => format!("com.amazonaws.dynamodb.v20120810#{code}"),
        service => format!("com.amazonaws.{}#{code}", service.to_lowercase()),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A text string of definite length. <https://www.rfc-editor.org/rfc/rfc8949#section-3.1>
fn cbor_text(text: &str, out: &mut Vec<u8>) {
    out.push(0x7a);
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    out.extend(length.to_be_bytes());
    out.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    // The other protocols are read by the SDKs in the integration tests.

    #[test]
    fn lambda_tells_the_code_in_a_header() {
        let answer = refused(Protocol::RestJson, Method::POST);
        assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(answer.headers()["x-amzn-errortype"], "TooManyRequestsException");
        let body: Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(body["Message"], "Rate <exceeded>");
    }

    #[test]
    fn a_head_request_of_s3_is_answered_without_a_body() {
        assert!(refused(Protocol::S3, Method::HEAD).body().is_empty());
        let body = String::from_utf8(refused(Protocol::S3, Method::GET).body().to_vec()).unwrap();
        assert!(body.contains("<Message>Rate &lt;exceeded&gt;</Message>"), "{body}");
    }

    fn refused(protocol: Protocol, method: Method) -> Response<Bytes> {
        let refusal = Refusal {
            status: 429,
            code: "TooManyRequestsException".to_owned(),
            message: "Rate <exceeded>".to_owned(),
        };
        let named = Named {
            protocol,
            service: "Lambda".to_owned(),
            operation: "Invoke".to_owned(),
            keys: Vec::new(),
            resources: Vec::new(),
        };
        Answer::refusal(&refusal, &named, &method, "id").into_response().unwrap()
    }
}
