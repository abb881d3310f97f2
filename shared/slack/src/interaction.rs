//! What people do in Slack: what Slack sends to an app's request URL, reduced to what the operator needs.
//!
//! <https://docs.slack.dev/interactivity/handling-user-interaction>

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Action, Button,
    button::ButtonError,
    modal::{self, DAYS, REASON},
};

/// A button that a person pressed, or the modal of [`Action::Exempt`] that they sent. Slack says who they are.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Interaction {
    /// The member id, such as `U012AB3CD`.
    pub user: String,
    /// The workspace's id, such as `T012AB3CD`.
    pub team: String,
    /// The member's own workspace, where it is another: channels can be shared with other companies.
    /// <https://docs.slack.dev/apis/slack-connect>
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
    pub action: Action,
    pub button: Button,
    /// Unlike that of any other press: the same once more is a second delivery. A modal can be opened with it for
    /// three seconds.
    pub trigger_id: String,
    /// Where the message stands.
    pub channel: String,
    /// Of the modal. `None`: it is yet to be asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of the modal, from 1 to [`MOST_DAYS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<i64>,
}

/// What a request of Slack's asks for.
#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    Interaction(Interaction),
    /// Slack wants to hear this text back, to see that the URL is the app's.
    /// <https://docs.slack.dev/reference/events/url_verification>
    Challenge(String),
    /// Nothing of Quell's: a link that was followed, a modal that was closed, a kind that is yet unknown. Slack wants it
    /// answered like any other.
    Nothing,
}

/// The request is none of Slack's, or not one of a message that Quell wrote. Holds nothing of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InteractionError {
    #[error("the body is no form with one `payload`")]
    Form,
    #[error("the payload is no JSON object")]
    Json,
    #[error("`{0}` is missing, or not of the form that Slack documents")]
    Field(&'static str),
    #[error(transparent)]
    Button(#[from] ButtonError),
}

/// Characters of a reason.
pub const LONGEST_REASON: usize = 500;

/// Days that an exemption may last.
pub const MOST_DAYS: i64 = 90;

/// What the body of a request asks for. Read nothing before its signature is verified.
///
/// # Errors
/// [`InteractionError`] if Slack would not send it so.
pub fn read(body: &[u8]) -> Result<Request, InteractionError> {
    // Events come as JSON, interactions in a form.
    if body.trim_ascii_start().starts_with(b"{") {
        return event(&object(body)?);
    }
    let mut payload = None;
    for (name, value) in form_urlencoded::parse(body) {
        match &*name {
            // Slack asks now and then whether the certificate is good.
            "ssl_check" => return Ok(Request::Nothing),
            "payload" if payload.is_some() => return Err(InteractionError::Form),
            "payload" => payload = Some(value),
            _ => {}
        }
    }
    let payload = object(payload.ok_or(InteractionError::Form)?.as_bytes())?;
    match text(&payload, "/type", "type")? {
        "block_actions" => pressed(&payload),
        "view_submission" => submitted(&payload),
        _ => Ok(Request::Nothing),
    }
}

impl Interaction {
    /// From JSON, as `slack-actions` tells the operator.
    ///
    /// # Errors
    /// [`InteractionError`] names the field that it could not have sent so.
    pub fn from_json(json: &[u8]) -> Result<Self, InteractionError> {
        let told: Self = serde_json::from_slice(json).map_err(|_| InteractionError::Json)?;
        told.checked()
    }

    fn checked(self) -> Result<Self, InteractionError> {
        use InteractionError::Field;
        if !is_id(&self.user, &['U', 'W']) {
            return Err(Field("user"));
        }
        if !is_id(&self.team, &['T', 'E']) {
            return Err(Field("team"));
        }
        if !self.home.as_ref().is_none_or(|home| is_id(home, &['T', 'E'])) {
            return Err(Field("home"));
        }
        if !is_id(&self.channel, &['C', 'D', 'G']) {
            return Err(Field("channel"));
        }
        if Button::parse(&self.button.value())? != self.button {
            return Err(ButtonError::Malformed.into());
        }
        let is_trigger = |text: &str| {
            (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
        };
        if !is_trigger(&self.trigger_id) {
            return Err(Field("trigger_id"));
        }
        let is_reason =
            |text: &String| !text.trim().is_empty() && text.chars().count() <= LONGEST_REASON;
        if !self.reason.as_ref().is_none_or(is_reason) {
            return Err(Field("reason"));
        }
        if !self.days.is_none_or(|days| (1..=MOST_DAYS).contains(&days)) {
            return Err(Field("days"));
        }
        let is_modal = self.reason.is_some() || self.days.is_some();
        if is_modal && self.action != Action::Exempt || self.reason.is_some() != self.days.is_some()
        {
            return Err(Field("action"));
        }
        Ok(self)
    }
}

/// <https://docs.slack.dev/reference/events/url_verification>
fn event(event: &Value) -> Result<Request, InteractionError> {
    if text(event, "/type", "type")? != "url_verification" {
        return Ok(Request::Nothing);
    }
    let challenge = text(event, "/challenge", "challenge")?;
    let is_plain = challenge.len() <= 255 && challenge.bytes().all(|b| b.is_ascii_graphic());
    if !is_plain {
        return Err(InteractionError::Field("challenge"));
    }
    Ok(Request::Challenge(challenge.to_owned()))
}

/// <https://docs.slack.dev/reference/interaction-payloads/block_actions-payload>
fn pressed(payload: &Value) -> Result<Request, InteractionError> {
    let actions = payload["actions"].as_array().ok_or(InteractionError::Field("actions"))?;
    let [pressed] = actions.as_slice() else { return Err(InteractionError::Field("actions")) };
    let id = text(pressed, "/action_id", "action_id")?;
    // A link is a button too.
    let Some(action) = Action::from_id(id) else { return Ok(Request::Nothing) };
    let button = Button::parse(text(pressed, "/value", "value")?)?;
    let channel = text(payload, "/channel/id", "channel").or_else(|missing| {
        text(payload, "/container/channel_id", "channel").map_err(|_| missing)
    })?;
    let team = team(payload)?;
    let interaction = Interaction {
        user: user(payload)?,
        home: home(payload, &team)?,
        team,
        action,
        button,
        trigger_id: text(payload, "/trigger_id", "trigger_id")?.to_owned(),
        channel: channel.to_owned(),
        reason: None,
        days: None,
    };
    Ok(Request::Interaction(interaction.checked()?))
}

/// <https://docs.slack.dev/reference/interaction-payloads/view-interactions-payload>
fn submitted(payload: &Value) -> Result<Request, InteractionError> {
    let callback = text(payload, "/view/callback_id", "callback_id")?;
    if callback != Action::Exempt.id() {
        return Ok(Request::Nothing);
    }
    let carried = text(payload, "/view/private_metadata", "private_metadata")?;
    let (button, channel) = modal::parse_metadata(carried)?;
    let answer = |block: &'static str| {
        let input = &payload["view"]["state"]["values"][block][block]["value"];
        input.as_str().ok_or(InteractionError::Field(block))
    };
    // Slack tells numbers as text.
    let days = answer(DAYS)?.parse().map_err(|_| InteractionError::Field("days"))?;
    // Not every submission has a trigger.
    let trigger = text(payload, "/trigger_id", "trigger_id")
        .or_else(|missing| text(payload, "/view/id", "trigger_id").map_err(|_| missing))?;
    let team = team(payload)?;
    let interaction = Interaction {
        user: user(payload)?,
        home: home(payload, &team)?,
        team,
        action: Action::Exempt,
        button,
        trigger_id: trigger.to_owned(),
        channel,
        reason: Some(answer(REASON)?.to_owned()),
        days: Some(days),
    };
    Ok(Request::Interaction(interaction.checked()?))
}

fn user(payload: &Value) -> Result<String, InteractionError> {
    text(payload, "/user/id", "user").map(str::to_owned)
}

/// Of an app that a whole organisation has installed there is no team but the person's.
fn team(payload: &Value) -> Result<String, InteractionError> {
    text(payload, "/team/id", "team")
        .or_else(|missing| text(payload, "/user/team_id", "team").map_err(|_| missing))
        .map(str::to_owned)
}

/// The workspace of the person, if it is not this one.
fn home(payload: &Value, team: &str) -> Result<Option<String>, InteractionError> {
    match payload.pointer("/user/team_id") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(home)) => Ok(Some(home.clone()).filter(|home| home != team)),
        Some(_) => Err(InteractionError::Field("team")),
    }
}

fn object(json: &[u8]) -> Result<Value, InteractionError> {
    let value = serde_json::from_slice(json).map_err(|_| InteractionError::Json)?;
    if matches!(value, Value::Object(_)) { Ok(value) } else { Err(InteractionError::Json) }
}

fn text<'a>(of: &'a Value, at: &str, name: &'static str) -> Result<&'a str, InteractionError> {
    of.pointer(at).and_then(Value::as_str).ok_or(InteractionError::Field(name))
}

/// Slack's ids are capital letters and digits.
fn is_id(text: &str, begins: &[char]) -> bool {
    (2..=32).contains(&text.len())
        && text.starts_with(begins)
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pressed_button_is_reduced_to_what_the_operator_needs() {
        let button = button();
        let expected = Interaction {
            user: "U012AB3CD".into(),
            team: "T0123ABCD".into(),
            home: None,
            action: Action::Approve,
            button: button.clone(),
            trigger_id: "398738663015.47445629121.803a0bc887a1".into(),
            channel: "C0123ABCD".into(),
            reason: None,
            days: None,
        };
        let read = read(&form(&press("quell.approve", &button.value()))).unwrap();
        assert_eq!(read, Request::Interaction(expected.clone()));
        let told = serde_json::to_value(&expected).unwrap();
        assert_eq!(
            told,
            json!({
                "user": "U012AB3CD",
                "team": "T0123ABCD",
                "action": "approve",
                "button": {
                    "v": 1,
                    "record": button.record,
                    "plan": button.plan,
                    "nonce": button.nonce,
                },
                "trigger_id": "398738663015.47445629121.803a0bc887a1",
                "channel": "C0123ABCD",
            })
        );
        assert_eq!(Interaction::from_json(told.to_string().as_bytes()), Ok(expected));
    }

    #[test]
    fn the_modal_brings_reason_and_days_and_the_button_that_opened_it() {
        let button = button();
        let Request::Interaction(sent) = read(&form(&submission(&button, "30"))).unwrap() else {
            panic!("it is one");
        };
        assert_eq!((sent.action, &sent.button), (Action::Exempt, &button));
        assert_eq!((sent.reason.as_deref(), sent.days), (Some("press kit"), Some(30)));
        assert_eq!(sent.channel, "C0123ABCD");
        assert_eq!(
            sent.trigger_id, "V0123ABCD",
            "a submission without a trigger is known by its view"
        );
        let told = serde_json::to_vec(&sent).unwrap();
        assert_eq!(Interaction::from_json(&told), Ok(sent));
    }

    #[test]
    fn of_an_app_of_an_organisation_the_team_is_the_persons() {
        let mut payload = press("quell.deny", &button().value());
        payload["team"] = Value::Null;
        payload["user"]["team_id"] = json!("T0999ABCD");
        let Request::Interaction(read) = read(&form(&payload)).unwrap() else {
            panic!("it is one")
        };
        assert_eq!((read.team.as_str(), read.home), ("T0999ABCD", None));
    }

    #[test]
    fn a_member_of_another_workspace_brings_its_id() {
        let button = button();
        let of = |mut payload: Value, home: Value| {
            payload["user"]["team_id"] = home;
            let read = read(&form(&payload));
            let Ok(Request::Interaction(read)) = read else { return Err(read.unwrap_err()) };
            let told = serde_json::to_vec(&read).unwrap();
            assert_eq!(Interaction::from_json(&told), Ok(read.clone()));
            Ok(read.home)
        };
        for payload in [press("quell.deny", &button.value()), submission(&button, "7")] {
            assert_eq!(of(payload.clone(), json!("T0123ABCD")), Ok(None));
            assert_eq!(of(payload.clone(), Value::Null), Ok(None));
            assert_eq!(of(payload.clone(), json!("T0FOREIGN")), Ok(Some("T0FOREIGN".to_owned())));
            assert_eq!(of(payload.clone(), json!("t0")), Err(InteractionError::Field("home")));
            assert_eq!(of(payload, json!(["T0123ABCD"])), Err(InteractionError::Field("team")));
        }
    }

    #[test]
    fn slack_hears_its_challenge_and_what_is_nothing_of_quells_is_nothing() {
        let challenge =
            json!({"type": "url_verification", "token": "t", "challenge": "3eZbrw1aB1"});
        let challenge = read(challenge.to_string().as_bytes()).unwrap();
        assert_eq!(challenge, Request::Challenge("3eZbrw1aB1".into()));
        let link = press("quell.console", "https://console.aws.amazon.com");
        let mut closed = submission(&button(), "1");
        closed["type"] = json!("view_closed");
        let mut other = submission(&button(), "1");
        other["view"]["callback_id"] = json!("another.app");
        for nothing in [link, closed, other, json!({"type": "shortcut"})] {
            assert_eq!(read(&form(&nothing)), Ok(Request::Nothing), "{nothing}");
        }
        assert_eq!(read(br#"{"type":"event_callback","event":{}}"#), Ok(Request::Nothing));
        assert_eq!(read(b"token=t&ssl_check=1"), Ok(Request::Nothing));
    }

    #[test]
    fn what_slack_would_not_send_is_refused_with_the_name_of_what_is_wrong() {
        use InteractionError::{Field, Form, Json};
        assert_eq!(read(b""), Err(Form));
        assert_eq!(read(b"payload={}&payload={}"), Err(Form));
        assert_eq!(read(b"payload=[]"), Err(Json));
        assert_eq!(read(b"payload=%7B"), Err(Json));
        assert_eq!(read(b"{"), Err(Json));
        assert_eq!(read(b"payload={}"), Err(Field("type")));
        assert_eq!(read(form(&Value::from("[".repeat(20_000))).as_slice()), Err(Json));
        let deep = format!("payload={}", "[".repeat(20_000));
        assert_eq!(read(deep.as_bytes()), Err(Json));

        let value = button().value();
        for (at, put, wrong) in [
            ("/user/id", json!("<!channel>"), Field("user")),
            ("/user/id", json!("u012ab3cd"), Field("user")),
            ("/user/id", json!(7), Field("user")),
            ("/team", json!("T0123ABCD"), Field("team")),
            ("/channel", Value::Null, Field("channel")),
            ("/trigger_id", json!("a b"), Field("trigger_id")),
            ("/trigger_id", json!("7".repeat(256)), Field("trigger_id")),
            ("/actions", json!([]), Field("actions")),
            ("/actions", json!({"0": 1}), Field("actions")),
            ("/actions/0/value", Value::Null, Field("value")),
            ("/actions/0/value", json!("{}"), ButtonError::Malformed.into()),
            ("/actions/0/value", json!(value.replace(":1,", ":2,")), ButtonError::Version.into()),
        ] {
            let mut payload = press("quell.undo", &value);
            *payload.pointer_mut(at).unwrap() = put.clone();
            assert_eq!(read(&form(&payload)), Err(wrong), "{at} = {put}");
        }
        let two = json!([press("quell.undo", &value)["actions"][0], {"action_id": "quell.deny"}]);
        let mut payload = press("quell.undo", &value);
        payload["actions"] = two;
        assert_eq!(read(&form(&payload)), Err(Field("actions")), "one press is one action");
    }

    #[test]
    fn a_modal_that_slack_would_not_send_is_refused() {
        use InteractionError::Field;
        for days in ["0", "91", "-1", "1.5", "", "1e1", "99999999999999999999"] {
            let read = read(&form(&submission(&button(), days)));
            assert_eq!(read, Err(Field("days")), "{days}");
        }
        for (at, put, wrong) in [
            ("/view/state/values/reason/reason/value", json!("  "), Field("reason")),
            ("/view/state/values/reason/reason/value", json!("x".repeat(501)), Field("reason")),
            ("/view/state/values/reason", Value::Null, Field("reason")),
            ("/view/state/values/days", Value::Null, Field("days")),
            ("/view/private_metadata", Value::Null, Field("private_metadata")),
            ("/view/private_metadata", json!(""), ButtonError::Malformed.into()),
            ("/view/private_metadata", json!(button().value()), ButtonError::Malformed.into()),
            ("/view/private_metadata", json!(r#"{"channel":"C1"}"#), ButtonError::Malformed.into()),
        ] {
            let mut payload = submission(&button(), "30");
            *payload.pointer_mut(at).unwrap() = put.clone();
            assert_eq!(read(&form(&payload)), Err(wrong), "{at} = {put}");
        }
    }

    #[test]
    fn the_operator_takes_only_what_slack_actions_can_have_sent() {
        let Request::Interaction(good) = read(&form(&submission(&button(), "30"))).unwrap() else {
            panic!("it is one");
        };
        let good = serde_json::to_value(good).unwrap();
        for (at, put) in [
            ("/user", json!("alice")),
            ("/team", json!("")),
            ("/channel", json!("#general")),
            ("/trigger_id", json!("")),
            ("/reason", Value::Null),
            ("/days", json!(0)),
            ("/days", json!(3.5)),
            ("/action", json!("approve")),
            ("/action", json!("halt")),
            ("/button/record", json!(r#"a","plan":"b"#)),
            ("/button/nonce", json!("")),
            ("/button/v", json!(2)),
        ] {
            let mut told = good.clone();
            *told.pointer_mut(at).unwrap() = put.clone();
            let read = Interaction::from_json(told.to_string().as_bytes());
            assert!(read.is_err(), "{at} = {put}: {read:?}");
        }
        let mut told = good;
        told["person"] = json!("bob");
        assert_eq!(
            Interaction::from_json(told.to_string().as_bytes()),
            Err(InteractionError::Json),
            "nobody is named but by Slack"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_ask_for_anything(body in prop::collection::vec(any::<u8>(), 0..2000)) {
            prop_assert!(!matches!(read(&body), Ok(Request::Interaction(_))));
        }

        #[test]
        fn no_payload_makes_it_panic(
            payload in ".{0,400}",
            kind in prop::sample::select(vec!["block_actions", "view_submission", "x"]),
        ) {
            let nearly = format!(r#"{{"type":"{kind}",{payload}"#);
            for text in [payload.as_str(), nearly.as_str()] {
                prop_assert!(!matches!(read(&form_of(text)), Ok(Request::Interaction(_))));
            }
        }

        #[test]
        fn whatever_is_put_anywhere_it_asks_for_what_was_pressed_or_for_nothing(
            is_modal: bool,
            place in 0..20_usize,
            put in hostile(),
        ) {
            let button = button();
            let mut payload = if is_modal {
                submission(&button, "30")
            } else {
                press("quell.approve", &button.value())
            };
            let mut places = Vec::new();
            places_of(&payload, String::new(), &mut places);
            let at = &places[place % places.len()];
            *payload.pointer_mut(at).unwrap() = put;
            if let Ok(Request::Interaction(read)) = read(&form(&payload)) {
                prop_assert_eq!(read.button, button);
                prop_assert!(is_id(&read.user, &['U', 'W']));
                prop_assert!(is_id(&read.channel, &['C', 'D', 'G']));
                prop_assert!(read.reason.is_none_or(|text| text.chars().count() <= LONGEST_REASON));
            }
        }
    }

    fn hostile() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,600}".prop_map(Value::from),
            Just(json!("<!channel> <@U012AB3CD>")),
            Just(json!([])),
            Just(json!({"id": ["U012AB3CD"]})),
            Just(json!({"id": "U012AB3CD"})),
        ]
    }

    fn places_of(value: &Value, at: String, places: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    places_of(value, format!("{at}/{name}"), places);
                }
            }
            Value::Array(values) => {
                for (index, value) in values.iter().enumerate() {
                    places_of(value, format!("{at}/{index}"), places);
                }
            }
            _ => {}
        }
        if !at.is_empty() {
            places.push(at);
        }
    }

    fn button() -> Button {
        let value = r#"{"v":1,"record":"5f0c6a1de2b94c770000","plan":"77c49be21d6a0c5f0000","nonce":"0123456789abcdef0123456789abcdef"}"#;
        Button::parse(value).unwrap()
    }

    /// As Slack's page shows it, without what nobody reads here.
    fn press(action: &str, value: &str) -> Value {
        json!({
            "type": "block_actions",
            "user": {"id": "U012AB3CD", "username": "bob"},
            "api_app_id": "A0123ABCD",
            "container": {"type": "message", "message_ts": "1548261231.000200"},
            "trigger_id": "398738663015.47445629121.803a0bc887a1",
            "team": {"id": "T0123ABCD", "domain": "example"},
            "channel": {"id": "C0123ABCD", "name": "security"},
            "actions": [{
                "type": "button",
                "action_id": action,
                "block_id": "=qXel",
                "value": value,
                "action_ts": "1548426417.840180",
            }],
        })
    }

    fn submission(button: &Button, days: &str) -> Value {
        json!({
            "type": "view_submission",
            "team": {"id": "T0123ABCD", "domain": "example"},
            "user": {"id": "U012AB3CD", "name": "bob"},
            "view": {
                "id": "V0123ABCD",
                "type": "modal",
                "callback_id": "quell.exempt",
                "private_metadata": modal::metadata(button, "C0123ABCD"),
                "state": {"values": {
                    "reason": {"reason": {"type": "plain_text_input", "value": "press kit"}},
                    "days": {"days": {"type": "number_input", "value": days}},
                }},
            },
        })
    }

    fn form(payload: &Value) -> Vec<u8> {
        form_of(&payload.to_string())
    }

    fn form_of(payload: &str) -> Vec<u8> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("payload", payload).finish().into_bytes()
    }
}
