//! Lambda's front doors on one port: a function URL that asks IAM who calls, and the API by which functions invoke
//! each other.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html>
//! <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Path, State},
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::{any, post},
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    Answer, Function,
    cloud::{ACCOUNT, REGION},
};

/// The front doors, open to this machine as long as this value lives.
#[derive(Debug)]
pub struct FrontDoor {
    address: String,
    listener: Option<TcpListener>,
    server: Option<JoinHandle<()>>,
    invocations: Arc<Mutex<Vec<Invoked>>>,
    noted: BTreeSet<String>,
}

/// An access key of the account, and whose it is.
#[derive(Clone, Debug)]
pub struct Key {
    pub id: String,
    pub secret: String,
    /// The principal, as IAM names it.
    pub arn: String,
}

/// One function's call of another, as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Invoked {
    pub function: String,
    /// Whether the caller waits for the response.
    pub waits: bool,
    pub event: Value,
}

impl FrontDoor {
    /// Takes a place, so that functions can be told where it is before they are there.
    pub async fn at(host: &str, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((host, port)).await?;
        let address = listener.local_addr()?.to_string();
        Ok(Self {
            address,
            listener: Some(listener),
            server: None,
            invocations: Arc::default(),
            noted: BTreeSet::new(),
        })
    }

    /// Where it is: the function URL, and the endpoint of Lambda's API.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Asynchronous invocations of this function are taken and noted, although it is not there.
    pub fn note(&mut self, function: &str) {
        self.noted.insert(function.to_owned());
    }

    /// Opens: `url` is behind the function URL, for those who hold one of the keys; the others can be invoked by name
    /// or ARN.
    pub fn open(&mut self, url: Arc<Function>, others: Vec<Arc<Function>>, keys: Vec<Key>) {
        let Some(listener) = self.listener.take() else { return };
        let doors = Arc::new(Doors {
            url,
            others: others.into_iter().map(|one| (one.name().to_owned(), one)).collect(),
            keys,
            invocations: Arc::clone(&self.invocations),
            noted: std::mem::take(&mut self.noted),
        });
        let router = Router::new()
            .route("/2015-03-31/functions/{name}/invocations", post(invoke))
            .fallback(any(function_url))
            // https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
            .layer(DefaultBodyLimit::max(6 << 20))
            .with_state(doors);
        self.server = Some(tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        }));
    }

    /// What functions asked of each other since the last time.
    pub fn invocations(&self) -> Vec<Invoked> {
        std::mem::take(&mut self.invocations.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for FrontDoor {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

#[derive(Debug)]
struct Doors {
    url: Arc<Function>,
    others: BTreeMap<String, Arc<Function>>,
    keys: Vec<Key>,
    invocations: Arc<Mutex<Vec<Invoked>>>,
    noted: BTreeSet<String>,
}

async fn invoke(
    State(doors): State<Arc<Doors>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let kind = headers.get("x-amz-invocation-type").and_then(|kind| kind.to_str().ok());
    let waits = match kind {
        None | Some("RequestResponse") => true,
        Some("Event") => false,
        Some(_) => return refused("InvalidParameterValueException", "unknown invocation type"),
    };
    let Ok(event) = serde_json::from_slice(&body) else {
        return refused("InvalidRequestContentException", "Could not parse request body into json");
    };
    let name = name.rsplit(':').next().unwrap_or(&name).to_owned();
    let known = Invoked { function: name.clone(), waits, event };
    doors.invocations.lock().unwrap_or_else(PoisonError::into_inner).push(known);
    let Some(function) = doors.others.get(&name).cloned() else {
        if !waits && doors.noted.contains(&name) {
            return StatusCode::ACCEPTED.into_response();
        }
        let arn = format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}");
        let message = format!("Function not found: {arn}");
        return (
            StatusCode::NOT_FOUND,
            [("x-amzn-errortype", "ResourceNotFoundException")],
            json!({"Type": "User", "Message": message}).to_string(),
        )
            .into_response();
    };
    if !waits {
        tokio::spawn(async move { function.invoke_async(body).await });
        return StatusCode::ACCEPTED.into_response();
    }
    match function.invoke(body).await {
        Ok(attempt) => match attempt.answer {
            Answer::Response(response) => (StatusCode::OK, response.to_string()).into_response(),
            failed => {
                let error = json!({
                    "errorType": failed.error_kind(),
                    "errorMessage": failed.error_message(),
                });
                (StatusCode::OK, [("x-amz-function-error", "Unhandled")], error.to_string())
                    .into_response()
            }
        },
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn refused(code: &'static str, message: &str) -> Response {
    let body = json!({"Type": "User", "message": message}).to_string();
    (StatusCode::BAD_REQUEST, [("x-amzn-errortype", code)], body).into_response()
}

async fn function_url(
    State(doors): State<Arc<Doors>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = Request { method: &method, uri: &uri, headers: &headers, body: &body };
    let key = match request.signer(&doors.keys, SystemTime::now()) {
        Ok(key) => key,
        Err(message) => return forbidden(&message),
    };
    let event = request.event(key).to_string();
    // Who no longer waits for the answer has invoked it all the same.
    let url = Arc::clone(&doors.url);
    let invoked = tokio::spawn(async move { url.invoke(event).await });
    let Ok(invoked) = invoked.await else {
        return (StatusCode::BAD_GATEWAY, "Internal Server Error").into_response();
    };
    match invoked {
        Ok(attempt) => match attempt.answer {
            Answer::Response(response) => answered(&response),
            _ => (StatusCode::BAD_GATEWAY, "Internal Server Error").into_response(),
        },
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn forbidden(message: &str) -> Response {
    (StatusCode::FORBIDDEN, json!({"Message": message}).to_string()).into_response()
}

/// The HTTP response that a function's response means.
fn answered(response: &Value) -> Response {
    let status = response.get("statusCode").and_then(Value::as_u64);
    let Some(status) = status.and_then(|status| u16::try_from(status).ok()) else {
        return (StatusCode::OK, response.to_string()).into_response();
    };
    let mut reply = Response::builder().status(status);
    for (name, value) in response.get("headers").and_then(Value::as_object).into_iter().flatten() {
        reply = reply.header(name, value.as_str().unwrap_or_default());
    }
    let body = response.get("body").and_then(Value::as_str).unwrap_or_default().to_owned();
    reply
        .body(Body::from(body))
        .unwrap_or_else(|_| (StatusCode::BAD_GATEWAY, "Internal Server Error").into_response())
}

/// A request as it came.
#[derive(Clone, Copy)]
struct Request<'a> {
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    body: &'a [u8],
}

/// How far a signature may be from now.
const SKEW: Duration = Duration::from_secs(5 * 60);

const UNSIGNED: &str = "Forbidden. For troubleshooting Function URL authorization issues, see: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html";
const UNKNOWN: &str = "The security token included in the request is invalid.";
const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.";

impl Request<'_> {
    /// Whose key signed the request, by the signature over all of it.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>
    fn signer<'k>(&self, keys: &'k [Key], now: SystemTime) -> Result<&'k Key, String> {
        let authorization = Authorization::of(self.header("authorization")).ok_or(UNSIGNED)?;
        let date = self.header("x-amz-date");
        let time = signed_at(date).ok_or(UNSIGNED)?;
        let apart = now.duration_since(time).unwrap_or_else(|early| early.duration());
        if apart > SKEW {
            return Err(format!("Signature expired: {date} is not within 5 min. of now"));
        }
        let key = keys.iter().find(|key| key.id == authorization.key).ok_or(UNKNOWN)?;
        let day = date.get(..8).unwrap_or_default();
        if authorization.scope != [day, REGION, "lambda", "aws4_request"] {
            return Err("Credential should be scoped to a valid region and service.".to_owned());
        }
        if !authorization.signed.contains(&"host") || !authorization.signed.contains(&"x-amz-date")
        {
            return Err(MISMATCH.to_owned());
        }
        let expected = self.signature(key, time, &authorization.signed).ok_or(MISMATCH)?;
        if expected != authorization.signature {
            return Err(MISMATCH.to_owned());
        }
        Ok(key)
    }

    /// What the holder of the key would have written under this request.
    fn signature(&self, key: &Key, time: SystemTime, signed: &[&str]) -> Option<String> {
        let token = self.headers.get("x-amz-security-token").and_then(|token| token.to_str().ok());
        let token = token.filter(|_| signed.contains(&"x-amz-security-token"));
        let credentials =
            Credentials::new(&key.id, &key.secret, token.map(str::to_owned), None, "");
        let identity = credentials.into();
        // Made anew by the signer.
        let own = ["x-amz-date", "x-amz-security-token"];
        let headers = signed
            .iter()
            .filter(|name| !own.contains(name))
            .map(|name| (*name, self.header(name)))
            .collect::<Vec<_>>();
        let mut settings = SigningSettings::default();
        settings.excluded_headers = Some(vec![Cow::Borrowed("authorization")]);
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(REGION)
            .name("lambda")
            .time(time)
            .settings(settings)
            .build()
            .ok()?
            .into();
        let uri = format!("http://{}{}", self.header("host"), self.uri);
        let body = SignableBody::Bytes(self.body);
        let request =
            SignableRequest::new(self.method.as_str(), uri, headers.into_iter(), body).ok()?;
        let (_, signature) = sign(request, &params).ok()?.into_parts();
        Some(signature)
    }

    /// What the function gets, as payload version 2.0.
    /// <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads>
    fn event(&self, key: &Key) -> Value {
        let mut headers = Map::new();
        for (name, value) in self.headers {
            // Lambda keeps what is between the caller and IAM to itself.
            if name != "authorization" && name != "x-amz-security-token" {
                headers.insert(name.to_string(), String::from_utf8_lossy(value.as_bytes()).into());
            }
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let content = self.header("content-type");
        let is_text = content.starts_with("text/") || content.starts_with("application/json");
        let body = match std::str::from_utf8(self.body) {
            Ok(text) if is_text => (text.to_owned(), false),
            _ => (aws_smithy_types::base64::encode(self.body), true),
        };
        json!({
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": self.uri.path(),
            "rawQueryString": self.uri.query().unwrap_or_default(),
            "headers": headers,
            "requestContext": {
                "accountId": ACCOUNT,
                "apiId": "quelllocal",
                "authentication": null,
                "authorizer": {"iam": {
                    "accessKey": key.id,
                    "accountId": key.arn.split(':').nth(4),
                    "callerId": key.id,
                    "cognitoIdentity": null,
                    "principalOrgId": null,
                    "userArn": key.arn,
                    "userId": key.id,
                }},
                "domainName": self.header("host"),
                "domainPrefix": "quelllocal",
                "http": {
                    "method": self.method.as_str(),
                    "path": self.uri.path(),
                    "protocol": "HTTP/1.1",
                    "sourceIp": "127.0.0.1",
                    "userAgent": self.header("user-agent"),
                },
                "requestId": format!("local-{}", now.as_nanos()),
                "routeKey": "$default",
                "stage": "$default",
                "time": Timestamp::now().strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
                "timeEpoch": u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            },
            "body": body.0,
            "isBase64Encoded": body.1,
        })
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// What the header of that name says.
#[derive(Debug, PartialEq)]
struct Authorization<'a> {
    key: &'a str,
    /// Date, region, service and a constant.
    scope: [&'a str; 4],
    signed: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    fn of(header: &'a str) -> Option<Self> {
        let parts = header.strip_prefix("AWS4-HMAC-SHA256 ")?;
        let part = |name: &str| {
            parts
                .split(',')
                .map(str::trim)
                .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
        };
        let mut credential = part("Credential")?.split('/');
        let key = credential.next()?;
        let scope =
            [credential.next()?, credential.next()?, credential.next()?, credential.next()?];
        Some(Self {
            key,
            scope,
            signed: part("SignedHeaders")?.split(';').collect(),
            signature: part("Signature")?,
        })
    }
}

/// The time in `x-amz-date`, such as `20260301T020304Z`.
fn signed_at(date: &str) -> Option<SystemTime> {
    let is_plain = date.len() == 16 && date.is_ascii();
    let part = |from: usize, to: usize| date.get(from..to);
    let text = is_plain.then(|| {
        Some(format!(
            "{}-{}-{}T{}:{}:{}Z",
            part(0, 4)?,
            part(4, 6)?,
            part(6, 8)?,
            part(9, 11)?,
            part(11, 13)?,
            part(13, 15)?
        ))
    })??;
    let time: Timestamp = text.parse().ok()?;
    Some(time.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"verb":"halt","reason":"test"}"#;

    #[test]
    fn whoever_signs_the_request_is_known() {
        let signed = signed(&key(), now(), BODY);
        assert_eq!(signed.read(BODY).signer(&[key()], now()).unwrap().arn, key().arn);
        let late = now() + Duration::from_secs(299);
        assert!(signed.read(BODY).signer(&[key()], late).is_ok());
    }

    #[test]
    fn whatever_was_not_signed_so_is_refused() {
        let genuine = signed(&key(), now(), BODY);
        let refused = |signed: &Signed, body: &[u8], now| {
            signed.read(body).signer(&[key()], now).unwrap_err()
        };
        assert_eq!(refused(&genuine, br#"{"verb":"continue"}"#, now()), MISMATCH);
        let late = now() + Duration::from_secs(301);
        assert!(refused(&genuine, BODY, late).contains("Signature expired"));
        let early = now() - Duration::from_secs(301);
        assert!(refused(&genuine, BODY, early).contains("Signature expired"));

        let forged = Key { secret: "guessed".into(), ..key() };
        assert_eq!(refused(&self::signed(&forged, now(), BODY), BODY, now()), MISMATCH);
        let stranger = Key { id: "AKIASTRANGER".into(), ..key() };
        assert_eq!(refused(&self::signed(&stranger, now(), BODY), BODY, now()), UNKNOWN);

        let mut changed = self::signed(&key(), now(), BODY);
        changed.uri = Uri::from_static("/admin");
        assert_eq!(refused(&changed, BODY, now()), MISMATCH);
        let mut changed = self::signed(&key(), now(), BODY);
        changed.method = Method::PUT;
        assert_eq!(refused(&changed, BODY, now()), MISMATCH);
        let mut changed = self::signed(&key(), now(), BODY);
        changed.headers.insert("host", "elsewhere".parse().unwrap());
        assert_eq!(refused(&changed, BODY, now()), MISMATCH);

        let mut unsigned = self::signed(&key(), now(), BODY);
        unsigned.headers.remove("authorization");
        assert_eq!(refused(&unsigned, BODY, now()), UNSIGNED);
        let mut undated = self::signed(&key(), now(), BODY);
        undated.headers.remove("x-amz-date");
        assert_eq!(refused(&undated, BODY, now()), UNSIGNED);
        for garbage in ["Bearer x", "AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256 Credential=a/b/c"] {
            let mut odd = self::signed(&key(), now(), BODY);
            odd.headers.insert("authorization", garbage.parse().unwrap());
            assert_eq!(refused(&odd, BODY, now()), UNSIGNED);
        }
    }

    #[test]
    fn a_signature_for_another_service_is_refused() {
        let mut signed = signed(&key(), now(), BODY);
        let header = signed.headers["authorization"].to_str().unwrap().to_owned();
        let other = header.replace("/lambda/", "/s3/");
        signed.headers.insert("authorization", other.parse().unwrap());
        let refused = signed.read(BODY).signer(&[key()], now()).unwrap_err();
        assert!(refused.contains("scoped"), "{refused}");
    }

    #[test]
    fn the_function_hears_who_signed_and_not_the_signature() {
        let signed = signed(&key(), now(), BODY);
        let event = signed.read(BODY).event(&key());
        assert_eq!(event["requestContext"]["authorizer"]["iam"]["userArn"], key().arn);
        assert_eq!(event["requestContext"]["authorizer"]["iam"]["accountId"], ACCOUNT);
        assert_eq!(event["headers"].get("authorization"), None);
        assert_eq!(event["body"], String::from_utf8_lossy(BODY).as_ref());
        assert_eq!(event["isBase64Encoded"], false);
        let event = signed.read(&[0xff, 0x00]).event(&key());
        assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("/wA="), &json!(true)));
    }

    struct Signed {
        method: Method,
        uri: Uri,
        headers: HeaderMap,
    }

    impl Signed {
        fn read<'a>(&'a self, body: &'a [u8]) -> Request<'a> {
            Request { method: &self.method, uri: &self.uri, headers: &self.headers, body }
        }
    }

    fn signed(key: &Key, time: SystemTime, body: &[u8]) -> Signed {
        let credentials = Credentials::new(&key.id, &key.secret, None, None, "");
        let identity = credentials.into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(REGION)
            .name("lambda")
            .time(time)
            .settings(SigningSettings::default())
            .build()
            .unwrap()
            .into();
        let content = [("content-type", "application/json")];
        let signable = SignableRequest::new(
            "POST",
            "http://127.0.0.1:9/",
            content.into_iter(),
            SignableBody::Bytes(body),
        );
        let (instructions, _) = sign(signable.unwrap(), &params).unwrap().into_parts();
        let mut headers = HeaderMap::new();
        headers.insert("host", "127.0.0.1:9".parse().unwrap());
        headers.insert("content-type", "application/json".parse().unwrap());
        for (name, value) in instructions.headers() {
            headers.insert(
                axum::http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.parse().unwrap(),
            );
        }
        Signed { method: Method::POST, uri: Uri::from_static("/"), headers }
    }

    fn key() -> Key {
        Key {
            id: "AKIAQUELLSAMPLE".into(),
            secret: "secret of alice".into(),
            arn: format!("arn:aws:iam::{ACCOUNT}:user/alice"),
        }
    }

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }
}
