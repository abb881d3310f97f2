//! The real `slack-actions`, and what Slack sends it when people press buttons.

use std::time::Duration;

use aws_smithy_types::base64;
use jiff::Timestamp;
use quell_engine::ledger::Record;
use quell_local::{Answer, Function, Key, Stack, cloud::ACCOUNT};
use quell_slack::{Action, Button, modal, signature};
use serde_json::{Value, json};

use crate::rig::binary;

/// The app's signing secret: that of the example on Slack's page.
pub const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";

/// The members of the people whom the desk's policy knows.
pub const ALICE: &str = "U0ALICE00";
pub const BOB: &str = "U0BOB0000";

pub const TEAM: &str = "T0123ABCD";
pub const CHANNEL: &str = "C0123ABCD";

/// The function that is told what to say in Slack.
pub const SPEAKER: &str = "quell-slack";

/// The role of `slack-actions`.
pub fn role() -> String {
    format!("arn:aws:iam::{ACCOUNT}:role/quell-SlackActionsRole")
}

/// A session of that role, which signs with this access key.
pub fn session(key: &str) -> Key {
    let arn =
        format!("arn:aws:sts::{ACCOUNT}:assumed-role/quell-SlackActionsRole/quell-slack-actions");
    Key { id: key.to_owned(), secret: "emulated".to_owned(), arn }
}

/// What the operator is told of Slack.
pub fn operator_environment() -> Vec<(String, String)> {
    let speaker = format!("arn:aws:lambda:eu-west-1:{ACCOUNT}:function:{SPEAKER}");
    [
        ("QUELL_SLACK_ROLE", role()),
        ("QUELL_SLACK_FUNCTION", speaker),
        ("QUELL_SLACK_WORKSPACE", TEAM.to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// `slack-actions` as the template deploys it, but for its role.
pub fn function(stack: &Stack, operator: &str, secret: &str) -> Function {
    let mut environment = stack.environment("observe");
    environment.push(("QUELL_OPERATOR_URL".to_owned(), operator.to_owned()));
    environment.push(("QUELL_SLACK_SIGNING_SECRET".to_owned(), secret.to_owned()));
    let name = stack.function_name("slack-actions");
    Function::new(name, binary("slack-actions"), environment, Duration::from_secs(10), 256)
}

/// A request at the public URL.
#[derive(Clone, Debug)]
pub struct Post {
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub is_base64_encoded: bool,
}

impl Post {
    /// As Slack signs it now.
    pub fn signed(body: impl Into<Vec<u8>>) -> Self {
        Self::signed_at(Timestamp::now().as_second(), SECRET, body)
    }

    pub fn signed_at(seconds: i64, secret: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let headers = [
            ("x-slack-request-timestamp", seconds.to_string()),
            ("x-slack-signature", signature::sign(secret, seconds, &body)),
            ("content-type", "application/x-www-form-urlencoded".to_owned()),
            ("user-agent", "Slackbot 1.0 (+https://api.slack.com/robots)".to_owned()),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value)).into();
        // Lambda encodes a form.
        Self { headers, body, is_base64_encoded: true }
    }

    /// What Lambda makes of it.
    /// <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads>
    pub fn event(&self) -> Value {
        let body = if self.is_base64_encoded {
            base64::encode(&self.body)
        } else {
            String::from_utf8(self.body.clone()).expect("else it is encoded")
        };
        json!({
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": "/",
            "rawQueryString": "",
            "headers": self.headers.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            "requestContext": {
                "accountId": "anonymous",
                "http": {"method": "POST", "path": "/", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1"},
                "requestId": "1",
            },
            "body": body,
            "isBase64Encoded": self.is_base64_encoded,
        })
    }

    /// Status and body of the response.
    pub async fn to(&self, function: &Function) -> (u64, String) {
        answered(function, self.event().to_string()).await
    }
}

/// Status and body of the response to this event.
pub async fn answered(function: &Function, event: String) -> (u64, String) {
    let attempt = function.invoke(event).await.expect("it runs");
    let Answer::Response(response) = attempt.answer else {
        panic!("{:?} {:?}", attempt.answer, attempt.log)
    };
    let status = response["statusCode"].as_u64().expect("a status");
    (status, response["body"].as_str().expect("a body").to_owned())
}

/// The button of this record's message.
pub fn button(record: &Record) -> Button {
    Button::new(record.id.as_str(), record.intent.plan_hash.as_str()).expect("they are plain")
}

/// What Slack sends when this member presses the button. Every press has another trigger.
pub fn pressed(member: &str, action: Action, button: &Button) -> Vec<u8> {
    pressed_from(TEAM, TEAM, member, action, button)
}

/// The same in this workspace, by a member whose home is that one.
pub fn pressed_from(
    team: &str,
    home: &str,
    member: &str,
    action: Action,
    button: &Button,
) -> Vec<u8> {
    let payload = json!({
        "type": "block_actions",
        "user": {"id": member, "username": "someone", "team_id": home},
        "api_app_id": "A0123ABCD",
        "container": {"type": "message", "message_ts": "1548261231.000200", "channel_id": CHANNEL},
        "trigger_id": trigger(),
        "team": {"id": team, "domain": "example"},
        "channel": {"id": CHANNEL, "name": "security"},
        "actions": [{
            "type": "button",
            "action_id": action.id(),
            "block_id": "=qXel",
            "value": button.value(),
            "action_ts": "1548426417.840180",
        }],
    });
    form(&payload)
}

/// What Slack sends when this member submits the modal that the button opened.
pub fn submitted(member: &str, button: &Button, reason: &str, days: i64) -> Vec<u8> {
    let payload = json!({
        "type": "view_submission",
        "team": {"id": TEAM, "domain": "example"},
        "user": {"id": member, "name": "someone", "team_id": TEAM},
        "trigger_id": trigger(),
        "view": {
            "id": "V0123ABCD",
            "type": "modal",
            "callback_id": Action::Exempt.id(),
            "private_metadata": modal::metadata(button, CHANNEL),
            "state": {"values": {
                "reason": {"reason": {"type": "plain_text_input", "value": reason}},
                "days": {"days": {"type": "number_input", "value": days.to_string()}},
            }},
        },
    });
    form(&payload)
}

/// A payload in the form in which Slack sends it.
pub fn form(payload: &Value) -> Vec<u8> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("payload", &payload.to_string()).finish().into_bytes()
}

fn trigger() -> String {
    format!("398738663015.47445629121.{:032x}", fastrand::u128(..))
}
