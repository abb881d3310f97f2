//! Slack's Web API and its incoming webhooks, as far as Quell calls them.
//!
//! <https://docs.slack.dev/apis/web-api/>, <https://docs.slack.dev/apis/web-api/rate-limits>

use std::time::Duration;

use aws_smithy_runtime_api::client::{
    http::{HttpConnector as _, SharedHttpConnector},
    orchestrator::{HttpRequest, HttpResponse},
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};
use quell_engine::text;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    Posting,
    credential::{Token, Webhook},
    limits,
};

/// How long one call may take.
pub const CALL_TIME: Duration = Duration::from_secs(8);

/// Slack without an account.
#[derive(Clone, Debug)]
pub struct Slack {
    connector: SharedHttpConnector,
    /// What stands in for Slack, such as `http://127.0.0.1:4567`.
    stand_in: Option<String>,
}

/// A message that is there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Posted {
    /// Slack's id of the channel, whatever the channel was called by.
    pub channel: String,
    /// Slack's id of the message in its channel.
    pub ts: String,
}

/// Why a call came to nothing. Slack's own words are letters, digits and underscores here.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SlackError {
    #[error("{method}: too many calls; Slack takes the next in {} s", after.as_secs())]
    RateLimited { method: &'static str, after: Duration },
    #[error(
        "{method}: Slack does not accept the secret ({word}); install the app again and put its new bot token into the secret"
    )]
    Credential { method: &'static str, word: String },
    #[error("{method}: Slack refuses it ({word}){}", hint(word))]
    Refused { method: &'static str, word: String },
    #[error("{method}: Slack fails (status {status})")]
    Unavailable { method: &'static str, status: u16 },
    #[error("{method}: Slack was not reached, or did not answer ({reason}); it may have heard it")]
    Unanswered { method: &'static str, reason: String },
    #[error("{method}: could not be asked of Slack: {reason}")]
    Unaskable { method: &'static str, reason: String },
}

impl SlackError {
    /// Whether Slack said this.
    pub fn is(&self, wanted: &[&str]) -> bool {
        matches!(self, Self::Refused { word, .. } if wanted.contains(&word.as_str()))
    }

    /// Whether Slack has certainly not done what was asked.
    pub fn is_certain(&self) -> bool {
        !matches!(self, Self::Unavailable { .. } | Self::Unanswered { .. })
    }
}

/// What to do about a refusal.
fn hint(word: &str) -> &'static str {
    match word {
        "not_in_channel" => "; invite the app to the channel",
        "channel_not_found" => {
            "; name an existing channel by its id, and invite the app to a private one"
        }
        "is_archived" | "channel_is_archived" => "; name a channel that is not archived",
        "missing_scope" => {
            "; install the app from docs/slack-app-manifest.yaml, which has the scopes"
        }
        "restricted_action" | "action_prohibited" => "; an administrator of Slack has to allow it",
        _ => "",
    }
}

impl Slack {
    pub fn new(connector: SharedHttpConnector) -> Self {
        Self { connector, stand_in: None }
    }

    /// Calls what stands in for Slack instead, for tests.
    pub fn at(self, stand_in: impl Into<String>) -> Self {
        let stand_in = stand_in.into().trim_end_matches('/').to_owned();
        Self { stand_in: Some(stand_in), ..self }
    }

    /// Posts to a channel, or to the thread of a message in it.
    /// <https://docs.slack.dev/reference/methods/chat.postMessage>
    pub async fn post(
        &self,
        token: &Token,
        channel: &str,
        thread: Option<&str>,
        posting: &Posting,
    ) -> Result<Posted, SlackError> {
        const METHOD: &str = "chat.postMessage";
        let mut body = content(posting);
        body["channel"] = json!(channel);
        if let Some(thread) = thread {
            body["thread_ts"] = json!(thread);
        }
        let answer = self.call(METHOD, token, &body).await?;
        posted(METHOD, &answer)
    }

    /// <https://docs.slack.dev/reference/methods/chat.update>
    pub async fn update(
        &self,
        token: &Token,
        message: &Posted,
        posting: &Posting,
    ) -> Result<(), SlackError> {
        let mut body = content(posting);
        body["channel"] = json!(message.channel);
        body["ts"] = json!(message.ts);
        self.call("chat.update", token, &body).await.map(drop)
    }

    /// Says something that only one person in the channel sees.
    /// <https://docs.slack.dev/reference/methods/chat.postEphemeral>
    pub async fn whisper(
        &self,
        token: &Token,
        channel: &str,
        user: &str,
        posting: &Posting,
    ) -> Result<(), SlackError> {
        let mut body = content(posting);
        body["channel"] = json!(channel);
        body["user"] = json!(user);
        self.call("chat.postEphemeral", token, &body).await.map(drop)
    }

    /// Opens a modal for whoever pressed a button in the last three seconds.
    /// <https://docs.slack.dev/reference/methods/views.open>
    pub async fn open(&self, token: &Token, trigger: &str, view: &Value) -> Result<(), SlackError> {
        let body = json!({"trigger_id": trigger, "view": view});
        self.call("views.open", token, &body).await.map(drop)
    }

    /// Posts through an incoming webhook.
    /// <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>
    pub async fn hook(&self, webhook: &Webhook, posting: &Posting) -> Result<(), SlackError> {
        const METHOD: &str = "incoming webhook";
        let Webhook { path, host } = webhook;
        let base = self.stand_in.clone().unwrap_or_else(|| format!("https://{host}"));
        let request = request(METHOD, &format!("{base}{path}"), None, &content(posting))?;
        let (status, answer) = self.sent(METHOD, request).await?;
        if status == 200 {
            return Ok(());
        }
        let word = word(&String::from_utf8_lossy(&answer));
        // What is left of a webhook that was taken away.
        if matches!(word.as_str(), "no_service" | "no_team" | "invalid_token" | "user_not_found") {
            return Err(SlackError::Credential { method: METHOD, word });
        }
        Err(SlackError::Refused { method: METHOD, word })
    }

    /// Slack's answer, if it is one that says `ok`.
    async fn call(
        &self,
        method: &'static str,
        token: &Token,
        body: &Value,
    ) -> Result<Value, SlackError> {
        let base = self.stand_in.as_deref().unwrap_or("https://slack.com");
        let request = request(method, &format!("{base}/api/{method}"), Some(token), body)?;
        let (status, answer) = self.sent(method, request).await?;
        let answer: Value = serde_json::from_slice(&answer).map_err(|_| {
            let reason = format!("status {status}, and no JSON");
            SlackError::Unanswered { method, reason }
        })?;
        if answer["ok"] == true {
            return Ok(answer);
        }
        let word = word(answer["error"].as_str().unwrap_or("no error named"));
        Err(match word.as_str() {
            "invalid_auth" | "not_authed" | "account_inactive" | "token_revoked"
            | "token_expired" => SlackError::Credential { method, word },
            // As a status it says when; as a word it does not.
            "ratelimited" | "rate_limited" => SlackError::RateLimited { method, after: UNSAID },
            "internal_error" | "fatal_error" | "service_unavailable" | "request_timeout" => {
                SlackError::Unavailable { method, status }
            }
            _ => SlackError::Refused { method, word },
        })
    }

    /// Status and body of an answer that is neither "too many calls" nor a failure of Slack's.
    async fn sent(
        &self,
        method: &'static str,
        request: HttpRequest,
    ) -> Result<(u16, Vec<u8>), SlackError> {
        let unanswered = |reason: String| SlackError::Unanswered { method, reason };
        let answered = async {
            let answer: HttpResponse = self.connector.call(request).await.map_err(|error| {
                let kind = if error.is_timeout() { "too slow" } else { "no connection" };
                unanswered(kind.to_owned())
            })?;
            let status = answer.status().as_u16();
            let after = answer.headers().get("retry-after").and_then(|after| after.parse().ok());
            let body = ByteStream::new(answer.into_body()).collect().await;
            let body = body.map_err(|_| unanswered("half an answer".to_owned()))?;
            match status {
                429 => {
                    let after = after.map_or(UNSAID, Duration::from_secs);
                    Err(SlackError::RateLimited { method, after })
                }
                500.. => Err(SlackError::Unavailable { method, status }),
                _ => Ok((status, body.to_vec())),
            }
        };
        timeout(CALL_TIME, answered)
            .await
            .unwrap_or_else(|_| Err(unanswered(format!("no answer in {} s", CALL_TIME.as_secs()))))
    }
}

/// How long to wait where Slack does not say.
const UNSAID: Duration = Duration::from_secs(30);

fn request(
    method: &'static str,
    url: &str,
    token: Option<&Token>,
    body: &Value,
) -> Result<HttpRequest, SlackError> {
    // What makes these fail is never shown: it may hold the token.
    let unaskable = |what: &str| SlackError::Unaskable { method, reason: what.to_owned() };
    let mut request = HttpRequest::new(SdkBody::from(body.to_string()));
    request.set_method("POST").map_err(|_| unaskable("the method"))?;
    request.set_uri(url).map_err(|_| unaskable("the address"))?;
    let mut header = |name: &'static str, value: String| {
        request.headers_mut().try_insert(name, value).map(drop).map_err(|_| unaskable("a header"))
    };
    header("content-type", "application/json; charset=utf-8".to_owned())?;
    if let Some(Token(token)) = token {
        header("authorization", format!("Bearer {token}"))?;
    }
    Ok(request)
}

/// What all ways of posting have in common: Slack is to make nothing of the text that is not said in its markup.
fn content(posting: &Posting) -> Value {
    let mut content = json!({
        "text": text::cut(&posting.text, limits::TEXT / 2),
        "unfurl_links": false,
        "unfurl_media": false,
    });
    if posting.blocks.as_array().is_some_and(|blocks| !blocks.is_empty()) {
        content["blocks"] = posting.blocks.clone();
    }
    content
}

fn posted(method: &'static str, answer: &Value) -> Result<Posted, SlackError> {
    let text = |name: &str| answer[name].as_str().map(str::to_owned);
    let posted = text("channel").zip(text("ts")).map(|(channel, ts)| Posted { channel, ts });
    posted.ok_or_else(|| SlackError::Unanswered {
        method,
        reason: "the answer does not say where it is".to_owned(),
    })
}

/// Slack's word for an error, without anything that a log or a person could take for something else.
fn word(text: &str) -> String {
    let known = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    known.take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_slacks_is_harmless() {
        assert_eq!(word("channel_not_found"), "channel_not_found");
        assert_eq!(word("<!channel>\n"), "__channel__");
        assert_eq!(word(&"x".repeat(100)).len(), 64);
    }

    #[test]
    fn no_error_shows_the_token() {
        let token = Token("xoxb-1\nsecret".to_owned());
        let error = request("chat.update", "https://slack.com/", Some(&token), &json!({}));
        let error = error.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let word = "not_in_channel".to_owned();
        let refused = SlackError::Refused { method: "chat.postMessage", word };
        assert_eq!(
            refused.to_string(),
            "chat.postMessage: Slack refuses it (not_in_channel); invite the app to the channel"
        );
    }
}
