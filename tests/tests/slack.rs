//! The real function `slack`, with what stands in for Slack: what people see there, and that nothing is lost or said
//! twice, whatever Slack does.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use quell_engine::{Outcome, policy::Mode};
use quell_local::{
    Answer, Cloud, Function, SlackApi, Source, Stack, scenario,
    slack::{HOOK, Seen, TOKEN, Trouble},
};
use quell_slack::Button;
use quell_tests::{
    desk::{Desk, people},
    rig::{Rig, binary},
};
use serde_json::{Value, json};

const CHANNEL: &str = "C0123456789";
const OTHER: &str = "C9876543210";

/// The function with its queue.
struct Office {
    rig: Rig,
    api: SlackApi,
    source: Source,
    secret: String,
}

impl Office {
    async fn open() -> Self {
        Self::open_with(TOKEN, 3).await
    }

    /// With this in the secret. An item is given up after so many deliveries.
    async fn open_with(secret: &str, deliveries: u32) -> Self {
        let rig = Rig::start().await;
        let api = SlackApi::start(&[CHANNEL, OTHER]).await.unwrap();
        let secret = rig.stack.keep_secret("slack", secret).await.unwrap();
        let listener = rig.stack.listen("slack", deliveries, true).await.unwrap();
        let function = function(rig.stack.slack_environment(&secret, CHANNEL, &api));
        let source = Source::new(&rig.stack, listener, Arc::new(function)).await.unwrap();
        Self { rig, api, source, secret }
    }

    /// What the function is given, with this in place of one setting.
    fn environment_with(&self, setting: &str, value: &str) -> Vec<(String, String)> {
        let mut environment = self.stack().slack_environment(&self.secret, CHANNEL, &self.api);
        environment.retain(|(name, _)| name != setting);
        environment.push((setting.to_owned(), value.to_owned()));
        environment
    }

    fn cloud(&self) -> &Cloud {
        &self.rig.cloud
    }

    fn stack(&self) -> &Stack {
        &self.rig.stack
    }

    /// Puts these on the queue, as the topic does, and has them said.
    async fn told(&self, notices: &[Value]) -> (usize, usize) {
        for notice in notices {
            self.put(&notice.to_string()).await;
        }
        self.poll().await
    }

    async fn put(&self, body: &str) {
        let send = self.cloud().sqs.send_message().queue_url(&self.source.listener.queue);
        send.message_body(body).send().await.unwrap();
    }

    /// How many items were handled, and how many come again.
    async fn poll(&self) -> (usize, usize) {
        let polled = self.source.poll().await.unwrap();
        (polled.handled.len(), polled.failed.len())
    }

    /// What is not in a thread, nor for one person alone.
    fn messages(&self) -> Vec<Seen> {
        let all = self.api.messages().into_iter();
        all.filter(|one| one.thread.is_none() && one.only.is_none()).collect()
    }

    fn replies(&self) -> Vec<String> {
        let all = self.api.messages().into_iter().filter(|one| one.thread.is_some());
        all.map(|one| one.text).collect()
    }

    /// What was given up.
    async fn dead(&self) -> usize {
        self.stack().received(&self.source.listener.dead_letters).await.unwrap().len()
    }

    async fn invoke(&self, event: Value) -> Answer {
        self.source.function.invoke(event.to_string()).await.unwrap().answer
    }

    async fn renew(&self, secret: &str) {
        let put = self.cloud().secretsmanager.put_secret_value().secret_id(&self.secret);
        put.secret_string(secret).send().await.unwrap();
    }
}

fn function(environment: Vec<(String, String)>) -> Function {
    Function::new("slack", binary("slack"), environment, Duration::from_secs(60), 256)
}

/// A notice about a record, as machines get it.
fn notice(record: &str, revision: u64, outcome: Outcome) -> Value {
    json!({
        "kind": "remediation",
        "version": 1,
        "control": {
            "id": "s3-public-acl", "title": "S3 bucket ACLs grant nothing to the public",
            "risk": "The ACL lets anyone list its objects.", "severity": "high", "safety": "safe",
            "function": "s3-exposure", "runbook": "docs/runbooks/s3-public-acl.md",
        },
        "outcome": outcome,
        "mode": "enforce",
        "resource": {"name": "photos-2024", "arn": "arn:aws:s3:::photos-2024", "console": ""},
        "account": "123456789012",
        "region": "eu-west-1",
        "event": {"id": "7d0c2b5e", "time": "2026-03-01T02:03:04Z"},
        "actor": {"principal": "user alice"},
        "detected": "2026-03-01T02:03:09.5Z",
        "changes": [],
        "applied": outcome == Outcome::Fixed,
        "verified": (outcome == Outcome::Fixed).then_some(true),
        "record": record,
        "revision": revision,
        "plan_hash": "9b1f0c6a",
        "exempt": format!("quell exempt add --record {record} --days 7 --reason REASON"),
        "undo": (outcome == Outcome::Fixed).then(|| format!("quell undo {record}")),
        "notes": [],
    })
}

#[tokio::test]
async fn one_message_shows_how_a_remediation_goes_on_from_approval_to_undo() {
    let office = Office::open().await;
    let environment = office.stack().environment("act");
    let exposure = Function::new(
        "s3-exposure",
        binary("s3-exposure"),
        environment,
        Duration::from_secs(60),
        256,
    );
    let desk = Desk::open(office.stack(), vec![Arc::new(exposure)]).await;
    office.stack().apply_policy(&people(Mode::Approve)).await.unwrap();
    let staged = scenario::stage(office.cloud(), "s3-public-acl", "one").await.unwrap();
    let record = desk.deliver(&office.rig, &staged).await;

    assert_eq!(until(&office, 1).await, 1, "the plan waits for somebody");
    let [pending] = office.messages().try_into().unwrap();
    assert_eq!(pending.channel, CHANNEL);
    assert!(pending.text.starts_with("Quell pending approval [high] s3-public-acl"));
    let ids: Vec<String> = pending.buttons().into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, ["quell.approve", "quell.deny", "quell.exempt", "quell.snooze"]);
    let button = Button::parse(&pending.buttons()[0].1).unwrap();
    assert_eq!((&button.record, &button.plan), (&record.id, &record.intent.plan_hash));

    let plan = &record.intent.plan_hash;
    let approve = json!({"verb": "approve", "record": record.id, "plan": plan});
    assert_eq!(desk.order("bob", &approve).await.0, 202);
    assert_eq!(until(&office, 1).await, 1, "it is fixed");
    let [fixed] = office.messages().try_into().unwrap();
    assert_eq!((&fixed.ts, fixed.updates), (&pending.ts, 1));
    assert!(fixed.text.starts_with("Quell fixed"), "{}", fixed.text);
    let [told] = office.replies().try_into().unwrap();
    assert!(
        told.starts_with("*Quell fixed it, and verified the fix.*\nOrdered: to approve, by `bob`"),
        "{told}"
    );
    let undo = fixed.buttons().into_iter().find(|(id, _)| id == "quell.undo").unwrap();
    let nonce = Button::parse(&undo.1).unwrap().nonce;
    assert_ne!(nonce, button.nonce, "every update has buttons of its own");

    assert_eq!(desk.order("bob", &json!({"verb": "undo", "record": record.id})).await.0, 200);
    assert_eq!(until(&office, 1).await, 1, "it is undone");
    let [undone] = office.messages().try_into().unwrap();
    assert_eq!((&undone.ts, undone.updates), (&pending.ts, 2));
    assert!(undone.text.starts_with("Quell undone"), "{}", undone.text);
    assert_eq!(undone.buttons(), []);
    assert_eq!(office.replies().len(), 2);
}

/// Polls until so many items were handled, or nothing more can be expected.
async fn until(office: &Office, items: usize) -> usize {
    let mut handled = 0;
    for _ in 0..400 {
        handled += office.poll().await.0;
        if handled >= items {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    handled
}

#[tokio::test]
async fn what_comes_twice_is_said_once_and_what_comes_late_changes_nothing() {
    let office = Office::open().await;
    let (observed, fixed) = (notice("a1", 1, Outcome::Observed), notice("a1", 2, Outcome::Fixed));
    assert_eq!(office.told(&[observed.clone(), observed.clone()]).await, (2, 0));
    assert_eq!((office.messages().len(), office.replies().len()), (1, 0));

    // The later one overtakes the earlier.
    let other = notice("a2", 5, Outcome::Fixed);
    assert_eq!(office.told(&[other, notice("a2", 4, Outcome::Observed)]).await, (2, 0));
    let [_, overtaking] = office.messages().try_into().unwrap();
    assert!(overtaking.text.starts_with("Quell fixed"), "{}", overtaking.text);
    assert_eq!((overtaking.updates, office.replies().len()), (0, 0));

    assert_eq!(office.told(&[fixed.clone(), fixed, observed]).await, (3, 0));
    let [message, _] = office.messages().try_into().unwrap();
    assert_eq!((message.updates, office.replies().len()), (1, 1));
    assert!(message.text.starts_with("Quell fixed"), "{}", message.text);
}

#[tokio::test]
async fn an_undo_goes_on_in_the_thread_of_the_fix_and_a_late_fix_does_not_undo_it() {
    let office = Office::open().await;
    assert_eq!(office.told(&[notice("a1", 2, Outcome::Fixed)]).await, (1, 0));
    let mut undone = notice("b1", 1, Outcome::Undone);
    let made: Timestamp = undone["detected"].as_str().unwrap().parse().unwrap();
    undone["detected"] = json!(made + SignedDuration::from_secs(60));
    undone["undoes"] = json!("a1");
    assert_eq!(office.told(&[undone, notice("a1", 3, Outcome::Fixed)]).await, (2, 0));
    let [message] = office.messages().try_into().unwrap();
    assert!(message.text.starts_with("Quell undone"), "{}", message.text);
}

#[tokio::test]
async fn channels_that_the_policy_names_hear_it_instead_and_one_that_fails_does_not_silence_the_others()
 {
    let office = Office::open().await;
    let mut routed = notice("a1", 1, Outcome::Observed);
    routed["channels"] = json!([OTHER]);
    assert_eq!(office.told(&[routed.clone()]).await, (1, 0));
    assert_eq!(office.messages()[0].channel, OTHER);

    routed["record"] = json!("a2");
    routed["channels"] = json!(["C0000000000", OTHER]);
    assert_eq!(office.told(&[routed]).await, (0, 1), "it comes again for the first");
    assert_eq!(office.messages().len(), 2);
    let log = office.source.function.log().join("\n");
    assert!(log.contains("channel_not_found"), "{log}");
    office.poll().await;
    assert_eq!(office.messages().len(), 2, "the second has it already");
}

#[tokio::test]
async fn an_item_that_nobody_can_read_keeps_no_other_from_being_said_and_is_kept() {
    let office = Office::open().await;
    office.put("<html>").await;
    office.put(r#"{"kind": "poem"}"#).await;
    assert_eq!(office.told(&[notice("a1", 1, Outcome::Observed)]).await, (1, 2));
    assert_eq!(office.messages().len(), 1);
    for _ in 0..3 {
        office.poll().await;
    }
    assert_eq!(office.dead().await, 2);
}

#[tokio::test]
async fn too_many_calls_go_back_to_the_queue_and_are_said_once() {
    let office = Office::open().await;
    office.api.trouble([Trouble::Busy { after: 600 }]);
    let all: Vec<Value> =
        ["a1", "a2", "a3"].map(|record| notice(record, 1, Outcome::Observed)).into();
    assert_eq!(office.told(&all).await, (0, 3), "the others would fare the same");
    assert_eq!(office.api.heard().len(), 1);
    assert_eq!(office.poll().await, (3, 0));
    assert_eq!(office.messages().len(), 3);

    // A short wait is not worth another delivery.
    office.api.trouble([Trouble::Busy { after: 1 }]);
    assert_eq!(office.told(&[notice("a4", 1, Outcome::Observed)]).await, (1, 0));
    assert_eq!(office.messages().len(), 4);
}

#[tokio::test]
async fn a_slack_that_fails_loses_nothing() {
    let office = Office::open().await;
    office.api.trouble([Trouble::Broken]);
    let fixed = notice("a1", 1, Outcome::Fixed);
    assert_eq!(office.told(std::slice::from_ref(&fixed)).await, (0, 1));
    assert_eq!(office.poll().await, (1, 0));
    assert_eq!(office.messages().len(), 1);

    office.api.trouble([Trouble::Broken, Trouble::Broken, Trouble::Broken, Trouble::Broken]);
    assert_eq!(office.told(&[notice("a2", 1, Outcome::Fixed)]).await, (0, 1));
    for _ in 0..3 {
        office.poll().await;
    }
    assert_eq!(office.dead().await, 1, "in the end it is kept for a person");
}

#[tokio::test]
async fn an_answer_that_never_comes_is_said_once_more() {
    let office = Office::open().await;
    office.api.trouble([Trouble::Lost]);
    let observed = notice("a1", 1, Outcome::Observed);
    assert_eq!(office.told(&[observed]).await, (0, 1));
    assert_eq!(office.poll().await, (1, 0));
    assert_eq!(office.messages().len(), 2, "nobody can know that the first is there");
    assert_eq!(office.told(&[notice("a1", 2, Outcome::Fixed)]).await, (1, 0));
    let [first, second] = office.messages().try_into().unwrap();
    assert_eq!((first.updates, second.updates), (0, 1));
}

#[tokio::test]
async fn a_token_that_was_renewed_is_fetched_once_and_one_that_was_not_loses_nothing() {
    let office = Office::open().await;
    assert_eq!(office.told(&[notice("a1", 1, Outcome::Observed)]).await, (1, 0));
    office.api.accept("xoxb-stand-in-2");
    assert_eq!(office.told(&[notice("a2", 1, Outcome::Observed)]).await, (0, 1));
    let log = office.source.function.log().join("\n");
    assert!(log.contains("put its new bot token into the secret"), "{log}");
    assert!(!log.contains("xoxb"), "{log}");

    office.renew(&json!({"token": "xoxb-stand-in-2"}).to_string()).await;
    assert_eq!(office.poll().await, (1, 0));
    assert_eq!(office.messages().len(), 2);
}

#[tokio::test]
async fn a_message_that_somebody_deleted_is_posted_anew() {
    let office = Office::open().await;
    assert_eq!(office.told(&[notice("a1", 1, Outcome::Observed)]).await, (1, 0));
    office.api.clear();
    assert_eq!(office.told(&[notice("a1", 2, Outcome::Fixed)]).await, (1, 0));
    let [message] = office.messages().try_into().unwrap();
    assert!(message.text.starts_with("Quell fixed"), "{}", message.text);
}

#[tokio::test]
async fn blocks_that_slack_does_not_take_are_said_as_text() {
    let office = Office::open().await;
    office.api.trouble([Trouble::Error("invalid_blocks")]);
    assert_eq!(office.told(&[notice("a1", 1, Outcome::Observed)]).await, (1, 0));
    let [message] = office.messages().try_into().unwrap();
    assert_eq!(message.blocks, Value::Null);
    assert!(message.text.contains("photos-2024"), "{}", message.text);
}

#[tokio::test]
async fn a_webhook_brings_every_message_with_commands_instead_of_buttons() {
    let office = Office::open_with(HOOK, 3).await;
    let observed = notice("a1", 1, Outcome::Observed);
    let fixed = notice("a1", 2, Outcome::Fixed);
    assert_eq!(office.told(&[observed.clone(), observed, fixed]).await, (3, 0));
    let [observed, fixed] = office.messages().try_into().unwrap();
    assert_eq!(observed.channel, "webhook");
    assert_eq!((observed.buttons(), fixed.buttons()), (vec![], vec![]));
    assert!(fixed.blocks.to_string().contains("Undo: `quell undo a1`"), "{}", fixed.blocks);
    assert_eq!(office.replies(), Vec::<String>::new());

    let reply = json!({"slack": {"reply": {"channel": CHANNEL, "user": "U1", "text": "no"}}});
    let answer = office.invoke(reply).await;
    assert!(answer.error_message().unwrap().contains("put a bot token into the secret"));
}

#[tokio::test]
async fn where_nobody_would_hear_a_press_there_are_commands_instead_of_buttons() {
    let mut office = Office::open().await;
    assert_eq!(office.told(&[notice("a1", 1, Outcome::Fixed)]).await, (1, 0));
    assert_ne!(office.messages()[0].buttons(), []);
    // Deployed without the signing secret.
    let without = office.environment_with("QUELL_SLACK_BUTTONS", "no");
    office.source.function = Arc::new(function(without));
    let fixed = [notice("a1", 2, Outcome::Fixed), notice("a2", 1, Outcome::Fixed)];
    assert_eq!(office.told(&fixed).await, (2, 0));
    let messages = office.messages();
    assert_eq!(messages.len(), 2);
    for message in &messages {
        assert_eq!(message.buttons(), [], "also of one that had buttons");
        let shown = message.blocks.to_string();
        assert!(shown.contains("Undo: `quell undo a"), "{shown}");
        assert!(shown.contains("quell exempt add --record a"), "{shown}");
    }
    assert_eq!(messages[0].updates, 1);
}

#[tokio::test]
async fn a_bot_without_a_channel_keeps_what_it_cannot_say_and_says_what_to_do() {
    let mut office = Office::open().await;
    let without = office.environment_with("QUELL_SLACK_CHANNEL", "webhook");
    office.source.function = Arc::new(function(without));
    assert_eq!(office.told(&[notice("a1", 1, Outcome::Fixed)]).await, (0, 1));
    let log = office.source.function.log().join("\n");
    assert!(log.contains("SlackChannel names no channel; set that parameter"), "{log}");
    for (name, value) in
        [("QUELL_SLACK_CHANNEL", ""), ("QUELL_SLACK_BUTTONS", ""), ("QUELL_SLACK_BUTTONS", "true")]
    {
        let environment = office.environment_with(name, value);
        let attempt = function(environment).invoke(json!({"Records": []}).to_string()).await;
        let answer = attempt.unwrap().answer;
        assert_eq!(answer.error_kind(), Some("Settings"), "{name}={value}");
        assert!(answer.error_message().unwrap().contains(name), "{answer:?}");
    }
}

#[tokio::test]
async fn an_alarm_and_a_bulletin_are_said_too() {
    let office = Office::open().await;
    let alarm = json!({
        "AlarmName": "quell-S3ExposureErrorsAlarm-1A2B", "AlarmDescription": "s3-exposure failed.",
        "AWSAccountId": "123456789012", "NewStateValue": "ALARM", "NewStateReason": "1 of 1",
        "StateChangeTime": "2026-03-01T02:03:04.000+0000", "Region": "EU (Ireland)",
    });
    let line = |count: u64, channels: &[&str]| {
        json!({
            "severity": "high", "control": "s3-public-acl", "outcome": "fixed", "account": "123456789012",
            "region": "eu-west-1", "example": "photos-2024", "count": count, "untold": count - 1,
            "channels": channels,
        })
    };
    let bulletin = json!({
        "kind": "bulletin", "version": 1, "subject": "folded",
        "from": "2026-03-01T02:00:00Z", "until": "2026-03-01T02:05:00Z", "total": 9984,
        "lines": [line(9983, &[OTHER]), line(3, &[])],
        "command": "quell records --since 2026-03-01T02:00:00Z",
    });
    assert_eq!(office.told(&[alarm.clone(), bulletin.clone(), alarm, bulletin]).await, (4, 0));
    let [alarm, routed, other] = office.messages().try_into().unwrap();
    assert!(alarm.text.contains("S3ExposureErrorsAlarm"), "{}", alarm.text);
    assert_eq!((alarm.channel.as_str(), routed.channel.as_str()), (CHANNEL, OTHER));
    assert!(routed.blocks.to_string().contains("9983×"), "{}", routed.blocks);
    assert!(routed.text.contains(" 9982 messages"), "{}", routed.text);
    assert!(!routed.blocks.to_string().contains("*3×*"), "each channel has its own lines");
    assert_eq!(other.channel, CHANNEL);
    assert!(other.blocks.to_string().contains("*3×*"), "{}", other.blocks);
}

#[tokio::test]
async fn the_operator_has_a_modal_opened_and_a_person_answered() {
    let office = Office::open().await;
    let button = Button::new("5f0c6a1de2b94c77", "9b1f").unwrap();
    let modal = |trigger: &str| json!({"slack": {"modal": {"trigger_id": trigger, "button": button, "channel": CHANNEL, "user": "U1"}}});
    assert_eq!(office.invoke(modal("1.2.3")).await, Answer::Response(json!({"modal": "opened"})));
    let [view] = office.api.views().try_into().unwrap();
    assert_eq!(view["callback_id"], "quell.exempt");
    assert!(view["private_metadata"].as_str().unwrap().contains(&button.nonce));
    // Three seconds are over: nobody tries it again, and the person hears of it.
    let late = office.invoke(modal("expired")).await;
    assert_eq!(late, Answer::Response(json!({"modal": "not opened"})));
    let [told] = office.api.messages().try_into().unwrap();
    assert_eq!(told.only.as_deref(), Some("U1"));
    assert!(told.text.starts_with("Not done: Slack did not open the form"), "{}", told.text);
    let command = "quell exempt add --record 5f0c6a1de2b94c77 --days 7 --reason REASON";
    assert!(told.text.contains(command), "{}", told.text);
    // It was opened by an attempt whose answer was lost.
    office.api.trouble([Trouble::Error("exchanged_trigger_id")]);
    let twice = office.invoke(modal("1.2.3")).await;
    assert_eq!(twice, Answer::Response(json!({"modal": "opened before"})));
    assert_eq!(office.api.messages().len(), 1, "nothing is amiss");
    // Slack fails: Lambda tries it again, and then it is too late.
    office.api.trouble([Trouble::Broken]);
    assert!(!office.invoke(modal("1.2.3")).await.is_response());
    office.api.clear();

    let text = "not you, <!channel> <http://evil.example|ok>\u{202e}";
    let reply = json!({"slack": {"reply": {"channel": CHANNEL, "user": "U1", "text": text}}});
    assert_eq!(office.invoke(reply.clone()).await, Answer::Response(json!({"reply": "said"})));
    let said = office.api.messages();
    assert_eq!(said[0].only.as_deref(), Some("U1"));
    assert_eq!(said[0].text, "not you, ‹!channel› ‹http[:]//evil[.]example|ok›");

    office.api.trouble([Trouble::Broken]);
    assert!(!office.invoke(reply).await.is_response(), "Lambda tries it again");
}

#[tokio::test]
async fn no_event_says_where_slack_is_and_no_setting_leads_elsewhere() {
    let office = Office::open().await;
    for event in [
        json!({"slack": {"url": "http://evil.example"}}),
        json!({"Records": "none"}),
        json!({}),
        json!([]),
    ] {
        let answer = office.invoke(event).await;
        assert_eq!(answer.error_kind(), Some("Event"), "{answer:?}");
    }
    for elsewhere in ["http://evil.example", "http://127.0.0.1:80@evil.example", "http://10.0.0.1"]
    {
        let environment = office.environment_with("QUELL_SLACK_STAND_IN", elsewhere);
        let attempt = function(environment).invoke(json!({"Records": []}).to_string()).await;
        assert_eq!(attempt.unwrap().answer.error_kind(), Some("Settings"), "{elsewhere}");
    }
}
