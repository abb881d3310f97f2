//! Calls of a function URL that asks IAM: signed with one's own credentials, so that IAM says who calls.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html>

use std::time::SystemTime;

use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_runtime_api::client::{
    connection::CaptureSmithyConnection, http::HttpConnector as _, orchestrator::HttpRequest,
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};

use crate::{CallError, CallErrorKind, Clients};

/// What the function answered, or Lambda in its place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
}

/// Whether a call has left: before it has, nobody can have heard it.
#[derive(Clone, Debug, Default)]
pub struct Departure(CaptureSmithyConnection);

impl Departure {
    /// Whether the call was given to an open connection.
    pub fn has_left(&self) -> bool {
        self.0.get().is_some()
    }
}

/// Posts JSON. It is for the caller to say how long that may take: whoever gives up once the call has left has called
/// all the same.
///
/// # Errors
/// [`CallError`] if there is no answer, or nothing could be sent.
pub async fn post(
    aws: &Clients,
    url: &str,
    json: String,
    departure: &Departure,
) -> Result<Reply, CallError> {
    let mut request = signed(aws, url, json).await?;
    request.add_extension(departure.0.clone());
    let no_answer = |reason: String| CallError::new(ACTION, CallErrorKind::NoAnswer, reason);
    let response =
        aws.connector().call(request).await.map_err(|error| no_answer(error.to_string()))?;
    let status = response.status().as_u16();
    let body = ByteStream::new(response.into_body()).collect().await;
    let body = body.map_err(|error| no_answer(error.to_string()))?.to_vec();
    Ok(Reply { status, body })
}

const ACTION: &str = "lambda:InvokeFunctionUrl";
const CONTENT: (&str, &str) = ("content-type", "application/json");

async fn signed(aws: &Clients, url: &str, json: String) -> Result<HttpRequest, CallError> {
    let unusable = |reason: String| CallError::new(ACTION, CallErrorKind::Misconfigured, reason);
    let provider = aws.sdk().credentials_provider();
    let provider = provider.ok_or_else(|| unusable("there are no AWS credentials".to_owned()))?;
    let credentials = provider.provide_credentials().await;
    let identity = credentials.map_err(|error| unusable(error.to_string()))?.into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(aws.region())
        .name("lambda")
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| unusable(error.to_string()))?
        .into();
    let body = SignableBody::Bytes(json.as_bytes());
    let signable = SignableRequest::new("POST", url, [CONTENT].into_iter(), body)
        .map_err(|error| unusable(error.to_string()))?;
    let (instructions, _) =
        sign(signable, &params).map_err(|error| unusable(error.to_string()))?.into_parts();
    let mut request = HttpRequest::new(SdkBody::from(json));
    request.set_method("POST").map_err(|error| unusable(error.to_string()))?;
    request.set_uri(url).map_err(|error| unusable(error.to_string()))?;
    request.headers_mut().insert(CONTENT.0, CONTENT.1);
    for (name, value) in instructions.headers() {
        request.headers_mut().insert(name.to_owned(), value.to_owned());
    }
    Ok(request)
}
