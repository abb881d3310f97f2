//! What stands in for Slack: its Web API and an incoming webhook, as strict as the documentation, with all that was
//! said.
//!
//! <https://docs.slack.dev/apis/web-api/>

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use quell_slack::limits;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// A workspace of one's own. It ends when this value is dropped.
#[derive(Debug)]
pub struct SlackApi {
    address: String,
    workspace: Arc<Mutex<Workspace>>,
    server: JoinHandle<()>,
}

/// A message as people see it now.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// `webhook` where it came through one.
    pub channel: String,
    pub ts: String,
    /// The message in whose thread it is.
    pub thread: Option<String>,
    /// The only person who sees it.
    pub only: Option<String>,
    pub text: String,
    pub blocks: Value,
    /// How often it was changed.
    pub updates: usize,
}

impl Seen {
    /// Ids and values of its buttons.
    pub fn buttons(&self) -> Vec<(String, String)> {
        let blocks = self.blocks.as_array().into_iter().flatten();
        let elements = blocks.filter_map(|block| block["elements"].as_array()).flatten();
        elements
            .filter_map(|one| Some((one["action_id"].as_str()?, one["value"].as_str()?)))
            .map(|(id, value)| (id.to_owned(), value.to_owned()))
            .collect()
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Such as `chat.postMessage`, or `webhook`.
    pub method: String,
    pub body: Value,
}

/// What goes wrong with the next call.
#[derive(Clone, Debug, PartialEq)]
pub enum Trouble {
    /// Too many calls: the next one after so many seconds.
    Busy { after: u64 },
    /// A failure of Slack's.
    Broken,
    /// Slack did it, but its answer never comes.
    Lost,
    /// An error by its word.
    Error(&'static str),
}

#[derive(Debug)]
struct Workspace {
    /// The token that is accepted.
    token: String,
    /// The path of the webhook.
    hook: String,
    channels: Vec<String>,
    messages: Vec<Seen>,
    views: Vec<Value>,
    heard: Vec<Heard>,
    troubles: VecDeque<Trouble>,
}

/// The token that a new workspace accepts.
pub const TOKEN: &str = "xoxb-stand-in-1";

/// The address of its webhook, as Slack gives it.
pub const HOOK: &str = "https://hooks.slack.com/services/T000/B000/standin";

impl SlackApi {
    /// Starts one on a free port of this machine, with these channels. Asks for a Tokio runtime.
    pub async fn start(channels: &[&str]) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?.to_string();
        let workspace = Arc::new(Mutex::new(Workspace {
            token: TOKEN.to_owned(),
            hook: HOOK.trim_start_matches("https://hooks.slack.com").to_owned(),
            channels: channels.iter().map(|channel| (*channel).to_owned()).collect(),
            messages: Vec::new(),
            views: Vec::new(),
            heard: Vec::new(),
            troubles: VecDeque::new(),
        }));
        let router = Router::new()
            .route("/api/{method}", post(call))
            .route("/services/{*path}", post(hook))
            .layer(DefaultBodyLimit::max(1 << 20))
            .with_state(Arc::clone(&workspace));
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, workspace, server })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What people see, the oldest first.
    pub fn messages(&self) -> Vec<Seen> {
        self.workspace().messages.clone()
    }

    /// The modals that were opened.
    pub fn views(&self) -> Vec<Value> {
        self.workspace().views.clone()
    }

    /// The calls since the last time.
    pub fn heard(&self) -> Vec<Heard> {
        std::mem::take(&mut self.workspace().heard)
    }

    /// This happens to the next calls, one after the other.
    pub fn trouble(&self, troubles: impl IntoIterator<Item = Trouble>) {
        self.workspace().troubles.extend(troubles);
    }

    /// From now on this token is the one that is accepted.
    pub fn accept(&self, token: &str) {
        self.workspace().token = token.to_owned();
    }

    /// Somebody deletes all messages.
    pub fn clear(&self) {
        self.workspace().messages.clear();
    }

    fn workspace(&self) -> MutexGuard<'_, Workspace> {
        locked(&self.workspace)
    }
}

impl Drop for SlackApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn locked(workspace: &Mutex<Workspace>) -> MutexGuard<'_, Workspace> {
    workspace.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn call(
    State(workspace): State<Arc<Mutex<Workspace>>>,
    Path(method): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let trouble = {
        let mut workspace = locked(&workspace);
        workspace.heard.push(Heard { method: method.clone(), body: body.clone() });
        workspace.troubles.pop_front()
    };
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let refused = match trouble {
        Some(Trouble::Busy { after }) => return busy(after),
        Some(Trouble::Broken) => return (StatusCode::SERVICE_UNAVAILABLE, "").into_response(),
        Some(Trouble::Error(word)) => Some(word),
        _ if !header("content-type").starts_with("application/json") => Some("invalid_post_type"),
        _ if !body.is_object() => Some("invalid_json"),
        _ => None,
    };
    let answered = match refused {
        Some(word) => Err(word),
        None => {
            let token = header("authorization").strip_prefix("Bearer ").unwrap_or_default();
            locked(&workspace).answer(&method, token, &body)
        }
    };
    if trouble == Some(Trouble::Lost) {
        // Longer than anybody waits.
        tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
    }
    let answer = match answered {
        Ok(mut answer) => {
            answer["ok"] = json!(true);
            answer
        }
        Err(word) => json!({"ok": false, "error": word}),
    };
    ([("content-type", "application/json; charset=utf-8")], answer.to_string()).into_response()
}

fn busy(after: u64) -> Response {
    let headers = [("retry-after", after.to_string())];
    (StatusCode::TOO_MANY_REQUESTS, headers, r#"{"ok":false,"error":"ratelimited"}"#)
        .into_response()
}

/// <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors>
async fn hook(
    State(workspace): State<Arc<Mutex<Workspace>>>,
    Path(path): Path<String>,
    body: Bytes,
) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut workspace = locked(&workspace);
    workspace.heard.push(Heard { method: "webhook".to_owned(), body: body.clone() });
    match workspace.troubles.pop_front() {
        Some(Trouble::Busy { after }) => return busy(after),
        Some(Trouble::Error(word)) => return (StatusCode::BAD_REQUEST, word).into_response(),
        Some(_) => return (StatusCode::INTERNAL_SERVER_ERROR, "rollup_error").into_response(),
        None => {}
    }
    if workspace.hook != format!("/services/{path}") {
        return (StatusCode::NOT_FOUND, "no_service").into_response();
    }
    if let Err(word) = content(&body) {
        return (StatusCode::BAD_REQUEST, word).into_response();
    }
    workspace.say("webhook", None, None, &body);
    "ok".into_response()
}

impl Workspace {
    fn answer(&mut self, method: &str, token: &str, body: &Value) -> Result<Value, &'static str> {
        if token.is_empty() {
            return Err("not_authed");
        }
        if token != self.token {
            return Err("invalid_auth");
        }
        let text = |name: &str| body[name].as_str().unwrap_or_default();
        match method {
            "chat.postMessage" => {
                content(body)?;
                self.find(text("channel"))?;
                let thread = body["thread_ts"].as_str();
                if thread.is_some_and(|thread| self.messages.iter().all(|one| one.ts != thread)) {
                    return Err("thread_not_found");
                }
                let ts = self.say(text("channel"), thread, None, body);
                Ok(json!({"channel": text("channel"), "ts": ts, "message": body}))
            }
            "chat.update" => {
                content(body)?;
                self.find(text("channel"))?;
                let message = self.messages.iter_mut();
                let message = message
                    .filter(|one| one.channel == text("channel"))
                    .find(|one| one.ts == text("ts"))
                    .ok_or("message_not_found")?;
                message.text = text("text").to_owned();
                message.blocks = body["blocks"].clone();
                message.updates += 1;
                Ok(json!({"channel": text("channel"), "ts": text("ts"), "text": text("text")}))
            }
            "chat.postEphemeral" => {
                content(body)?;
                self.find(text("channel"))?;
                if !text("user").starts_with('U') {
                    return Err("user_not_in_channel");
                }
                let ts = self.say(text("channel"), None, Some(text("user")), body);
                Ok(json!({"message_ts": ts}))
            }
            "views.open" => {
                match text("trigger_id") {
                    "" => return Err("invalid_arguments"),
                    // As long as anybody here needs one that is over.
                    "expired" => return Err("expired_trigger_id"),
                    _ => {}
                }
                if !limits::complaints_of_modal(&body["view"]).is_empty() {
                    return Err("invalid_arguments");
                }
                self.views.push(body["view"].clone());
                Ok(json!({"view": body["view"]}))
            }
            _ => Err("unknown_method"),
        }
    }

    fn find(&self, channel: &str) -> Result<(), &'static str> {
        let is_there = self.channels.iter().any(|there| there == channel);
        is_there.then_some(()).ok_or("channel_not_found")
    }

    /// Slack's id of the message.
    fn say(
        &mut self,
        channel: &str,
        thread: Option<&str>,
        only: Option<&str>,
        body: &Value,
    ) -> String {
        let ts = format!("1772330584.{:06}", self.messages.len());
        self.messages.push(Seen {
            channel: channel.to_owned(),
            ts: ts.clone(),
            thread: thread.map(str::to_owned),
            only: only.map(str::to_owned),
            text: body["text"].as_str().unwrap_or_default().to_owned(),
            blocks: body["blocks"].clone(),
            updates: 0,
        });
        ts
    }
}

/// What every message must hold.
fn content(body: &Value) -> Result<(), &'static str> {
    let text = body["text"].as_str().unwrap_or_default();
    if limits::length(text) > 40_000 {
        return Err("msg_too_long");
    }
    match body.get("blocks") {
        Some(blocks) if !limits::complaints(blocks).is_empty() => Err("invalid_blocks"),
        None if text.is_empty() => Err("no_text"),
        // Slack only warns; whoever hears a notification would hear nothing.
        Some(_) if text.is_empty() => Err("no_text"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use quell_engine::aws::web;
    use quell_slack::{Credential, Posting, Slack, SlackError};

    use super::*;

    fn posting(blocks: Value) -> Posting {
        Posting { text: "Quell".to_owned(), blocks }
    }

    fn header(length: usize) -> Value {
        json!([{"type": "header", "text": {"type": "plain_text", "text": "x".repeat(length)}}])
    }

    async fn open() -> (SlackApi, Slack) {
        let api = SlackApi::start(&["C1"]).await.unwrap();
        let slack = Slack::new(web()).at(api.url());
        (api, slack)
    }

    fn bot(token: &str) -> quell_slack::credential::Token {
        let Ok(Credential::Bot(token)) = Credential::parse(token) else { panic!("a bot token") };
        token
    }

    #[tokio::test]
    async fn a_message_is_posted_answered_in_its_thread_and_changed() {
        let (api, slack) = open().await;
        let token = bot(TOKEN);
        let posted = slack.post(&token, "C1", None, &posting(header(10))).await.unwrap();
        slack.post(&token, "C1", Some(&posted.ts), &posting(json!([]))).await.unwrap();
        slack.update(&token, &posted, &posting(header(20))).await.unwrap();
        let seen = api.messages();
        assert_eq!(seen.len(), 2);
        assert_eq!((seen[0].updates, &seen[0].blocks), (1, &header(20)));
        assert_eq!(seen[1].thread.as_ref(), Some(&posted.ts));
    }

    #[tokio::test]
    async fn what_slack_refuses_is_refused_by_its_word() {
        let (_api, slack) = open().await;
        let word = |result: Result<_, SlackError>| match result {
            Err(SlackError::Refused { word, .. } | SlackError::Credential { word, .. }) => word,
            other => panic!("{other:?}"),
        };
        let token = bot(TOKEN);
        let post = |channel: &'static str, blocks| {
            let (slack, token) = (slack.clone(), token.clone());
            async move { slack.post(&token, channel, None, &posting(blocks)).await }
        };
        assert_eq!(word(post("C2", header(10)).await), "channel_not_found");
        assert_eq!(word(post("C1", header(151)).await), "invalid_blocks");
        let other = bot("xoxb-other");
        assert_eq!(word(slack.post(&other, "C1", None, &posting(header(1))).await), "invalid_auth");
    }

    #[tokio::test]
    async fn trouble_is_told_as_slack_tells_it() {
        let (api, slack) = open().await;
        let token = bot(TOKEN);
        let post = || async { slack.post(&token, "C1", None, &posting(header(1))).await };
        api.trouble([Trouble::Busy { after: 7 }, Trouble::Broken, Trouble::Error("token_revoked")]);
        let busy = post().await.unwrap_err();
        assert!(matches!(busy, SlackError::RateLimited { after, .. } if after.as_secs() == 7));
        assert!(matches!(post().await, Err(SlackError::Unavailable { status: 503, .. })));
        assert!(matches!(post().await, Err(SlackError::Credential { .. })));
        assert!(post().await.is_ok());
        assert_eq!(api.heard().len(), 4);
    }

    #[tokio::test]
    async fn a_webhook_takes_messages_and_nothing_else() {
        let (api, slack) = open().await;
        let hook = |url: &str| match Credential::parse(url) {
            Ok(Credential::Webhook(hook)) => hook,
            other => panic!("{other:?}"),
        };
        slack.hook(&hook(HOOK), &posting(header(10))).await.unwrap();
        assert_eq!(api.messages()[0].channel, "webhook");
        let bad = slack.hook(&hook(HOOK), &posting(header(151))).await;
        assert!(bad.unwrap_err().is(&["invalid_blocks"]));
        let gone = slack.hook(&hook(&HOOK.replace("T000", "T111")), &posting(header(1))).await;
        assert!(matches!(gone, Err(SlackError::Credential { .. })));
    }

    #[tokio::test]
    async fn a_slack_that_is_not_there_was_not_reached() {
        let (api, slack) = open().await;
        drop(api);
        let slack = slack.at("http://127.0.0.1:1");
        let post = slack.post(&bot(TOKEN), "C1", None, &posting(header(1))).await;
        assert!(matches!(post, Err(SlackError::Unanswered { .. })), "{post:?}");
    }
}
