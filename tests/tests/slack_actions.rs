//! What people press in Slack: the real `slack-actions` before the real operator, with requests as Slack signs them.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use jiff::{SignedDuration, Timestamp};
use quell_engine::{
    Severity,
    ledger::{Halt, Record, Status, Verb},
    policy::{Mode, Person, Policy},
};
use quell_local::{
    Function, Proxy, SlackApi, Source,
    proxy::{Calls, Fault},
    scenario,
    slack::TOKEN,
};
use quell_slack::{Action, Button, modal};
use quell_tests::{
    buttons::{
        ALICE, BOB, CHANNEL, Post, SECRET, SPEAKER, TEAM, answered, button, form, function,
        pressed, pressed_from, session, submitted,
    },
    desk::{Desk, arn, key, people, sent, signed},
    rig::{Rig, again, binary},
};
use serde_json::json;
use tokio::net::TcpListener;

const KEY: &str = "ASIASLACKACTIONS";

// Who is heard

#[tokio::test]
async fn the_example_of_slacks_own_page_is_refused_today_and_heard_when_it_is_signed_today() {
    let slack = Slack::open().await;
    const BODY: &str = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let published = Post::signed_at(1_531_420_618, SECRET, BODY);
    let signature = &published.headers[1].1;
    assert_eq!(signature, "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503");
    assert_eq!(slack.send(&published).await, (401, String::new()), "it is of 2018");
    // It is a command, which Quell has none of: known for Slack's, and then refused for what it says.
    assert_eq!(slack.send(&Post::signed(BODY)).await, (400, String::new()));
}

#[tokio::test]
async fn what_slack_did_not_sign_so_is_refused_without_a_reason_and_nobody_is_asked() {
    let (slack, record) = Slack::with_a_plan("unsigned").await;
    let body = || pressed(BOB, Action::Approve, &button(&record));
    let now = Timestamp::now().as_second();
    let good = Post::signed(body());
    let with = |change: &dyn Fn(&mut Post)| {
        let mut post = good.clone();
        change(&mut post);
        post
    };
    let header = |post: &mut Post, name: &str, value: &str| {
        let found = post.headers.iter_mut().find(|(known, _)| known == name);
        found.unwrap().1 = value.to_owned();
    };
    let fresh = now.to_string();
    let other_time = (now - 1).to_string();
    let twice = |post: &mut Post| {
        let (_, value) = post.headers[1].clone();
        post.headers.push(("X-Slack-Signature".to_owned(), value));
    };
    for (why, post) in [
        ("tampered with", with(&|post| *post.body.last_mut().unwrap() ^= 1)),
        ("shortened", with(&|post| post.body.truncate(100))),
        ("lengthened", with(&|post| post.body.extend(b"&x=1"))),
        ("empty", with(&|post| post.body.clear())),
        ("old", Post::signed_at(now - 400, SECRET, body())),
        ("of the future", Post::signed_at(now + 400, SECRET, body())),
        ("of another time", with(&|post| header(post, "x-slack-request-timestamp", &other_time))),
        ("of no time", with(&|post| header(post, "x-slack-request-timestamp", "now"))),
        ("forged", Post::signed_at(now, "guessed", body())),
        (
            "of another version",
            with(&|post| {
                let signature = post.headers[1].1.replace("v0=", "v1=");
                header(post, "x-slack-signature", &signature);
            }),
        ),
        ("without a signature", with(&|post| drop(post.headers.remove(1)))),
        ("without a time", with(&|post| drop(post.headers.remove(0)))),
        ("with an empty signature", with(&|post| header(post, "x-slack-signature", ""))),
        ("signed twice", with(&twice)),
        ("signed under another name", with(&|post| post.headers[1].0 = "x-signature".to_owned())),
        (
            "of zeros",
            with(&|post| {
                header(post, "x-slack-request-timestamp", &fresh);
                header(post, "x-slack-signature", &format!("v0={}", "0".repeat(64)));
            }),
        ),
    ] {
        assert_eq!(slack.send(&post).await, (401, String::new()), "{why}");
    }
    assert!(slack.desk.operator.log().is_empty(), "the operator was not even started");
    slack.nothing_happened(&record).await;
    for line in slack.function.log() {
        let is_silent = [BOB, &record.id, "payload", "v0=", "guessed"];
        assert!(!is_silent.iter().any(|part| line.contains(part)), "{line}");
    }
    assert_eq!(slack.send(&good).await.0, 200, "the same, as Slack sent it");
    assert_eq!(rested(&slack.rig, &record.id).await.status, Status::Fixed);
}

#[tokio::test]
async fn header_names_may_have_any_case_and_a_body_may_be_plain() {
    let (slack, record) = Slack::with_a_plan("anycase").await;
    let unknown =
        |action: &str| form(&json!({"type": "block_actions", "actions": [{"action_id": action}]}));
    for change in [str::to_ascii_uppercase as fn(&str) -> String, title_case, str::to_owned] {
        let mut post = Post::signed(unknown("quell.console"));
        for (name, _) in &mut post.headers {
            *name = change(name);
        }
        assert_eq!(slack.send(&post).await, (200, String::new()), "{:?}", post.headers);
        post.is_base64_encoded = false;
        assert_eq!(slack.send(&post).await, (200, String::new()), "{:?}", post.headers);
    }
    let mut plain = Post::signed(pressed(BOB, Action::Deny, &button(&record)));
    plain.is_base64_encoded = false;
    assert_eq!(slack.send(&plain).await.0, 200);
    assert_eq!(rested(&slack.rig, &record.id).await.status, Status::Denied);
}

#[tokio::test]
async fn what_is_too_long_is_refused_before_anything_else() {
    let rig = Rig::start().await;
    // Whoever looked at anything else first would ask for the secret, which is not there, and fail.
    let nowhere = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:nowhere-AbCdEf";
    let function = function(&rig.stack, "http://127.0.0.1:9/", nowhere).signing_with(KEY.into());
    let huge = vec![b'x'; 64 * 1024 + 1];
    assert_eq!(Post::signed(huge.clone()).to(&function).await, (413, String::new()));
    let plain = Post { is_base64_encoded: false, ..Post::signed(huge) };
    assert_eq!(plain.to(&function).await, (413, String::new()));
    let fields = json!({"headers": {"a": "x".repeat(5 << 20)}}).to_string();
    assert_eq!(answered(&function, fields).await, (413, String::new()));
    assert_eq!(Post::signed("payload={}").to(&function).await, (502, String::new()), "no secret");
}

#[tokio::test]
async fn what_slack_signed_and_quell_cannot_read_is_malformed_and_nobody_is_asked() {
    let slack = Slack::open().await;
    let deep = format!("payload={}", "[".repeat(60_000));
    for body in [
        "",
        "payload",
        "payload=",
        "payload=null",
        "payload={}&payload={}",
        "{",
        deep.as_str(),
        "payload=%FF%00",
    ] {
        let short: String = body.chars().take(20).collect();
        assert_eq!(slack.send(&Post::signed(body)).await, (400, String::new()), "{short}");
    }
    let hostile = json!({
        "type": "block_actions",
        "user": {"id": "<!channel>"},
        "team": {"id": TEAM},
        "channel": {"id": CHANNEL},
        "trigger_id": "\u{202e}",
        "actions": [{"action_id": "quell.approve", "value": "{\"v\":1,\"record\":\"../..\"}"}],
    });
    assert_eq!(slack.send(&Post::signed(form(&hostile))).await, (400, String::new()));
    for event in ["null", "7", "{\"headers\":[]}"] {
        assert_eq!(answered(&slack.function, event.to_owned()).await, (400, String::new()));
    }
    assert!(slack.desk.operator.log().is_empty());
    for line in slack.function.log() {
        assert!(!line.contains("channel") && !line.contains('\u{202e}'), "{line}");
    }
}

#[tokio::test]
async fn slack_gets_its_challenge_back_and_an_empty_answer_to_what_is_not_quells() {
    let slack = Slack::open().await;
    let challenge = json!({"type": "url_verification", "token": "t", "challenge": "3eZbrw1aB1"});
    let post = Post::signed(challenge.to_string());
    assert_eq!(slack.send(&post).await, (200, "3eZbrw1aB1".to_owned()));
    let forged = Post::signed_at(Timestamp::now().as_second(), "guessed", challenge.to_string());
    assert_eq!(slack.send(&forged).await, (401, String::new()), "signed as anything else");
    for kind in ["view_closed", "shortcut", "message_action", "block_suggestion", "yet unknown"] {
        let post = Post::signed(form(&json!({"type": kind, "trigger_id": "1"})));
        assert_eq!(slack.send(&post).await, (200, String::new()), "{kind}");
    }
    assert_eq!(slack.send(&Post::signed("ssl_check=1&token=t")).await, (200, String::new()));
    assert!(slack.desk.operator.log().is_empty());
}

#[tokio::test]
async fn only_the_role_of_slack_actions_brings_what_is_pressed_and_it_gives_no_orders() {
    let (slack, record) = Slack::with_a_plan("brought").await;
    let button = button(&record);
    let said = json!({
        "user": BOB,
        "team": TEAM,
        "action": "approve",
        "button": button,
        "trigger_id": "1.2.3",
        "channel": CHANNEL,
    });
    let order = json!({"verb": "halt", "reason": "taken over"});
    let url = slack.desk.door.url();
    let to_slack = format!("{url}slack");
    for (who, key, url, body) in [
        ("whoever may give orders", key("alice"), &to_slack, &said),
        ("the very person", key("bob"), &to_slack, &said),
        ("a stranger", key("eve"), &to_slack, &said),
        ("the role, with an order", session(KEY), &url, &order),
        ("a person, with an order", key("bob"), &to_slack, &order),
    ] {
        let request = signed(url, &key, SystemTime::now(), &body.to_string());
        let (status, answer) = sent(request).await;
        assert_eq!((status, &answer["state"]), (403, &json!("refused")), "{who}: {answer}");
    }
    for (why, body) in [
        ("an order", order.clone()),
        ("no person", json!({})),
        ("somebody named", {
            let mut named = said.clone();
            named["person"] = json!("bob");
            named
        }),
    ] {
        let request = signed(&to_slack, &session(KEY), SystemTime::now(), &body.to_string());
        let (status, answer) = sent(request).await;
        assert_eq!(status, 400, "{why}: {answer}");
    }
    assert_eq!(slack.rig.ledger.halted().await.unwrap(), None);
    slack.nothing_happened(&record).await;
}

#[tokio::test]
async fn without_slack_in_the_template_the_operator_has_no_such_path() {
    let rig = Rig::start().await;
    rig.stack.apply_policy(&members(Mode::Approve)).await.unwrap();
    let desk = Desk::open(&rig.stack, vec![s3_exposure(&rig)]).await;
    let url = format!("{}slack", desk.door.url());
    let (status, answer) = sent(signed(&url, &key("bob"), SystemTime::now(), "{}")).await;
    assert_eq!(status, 403, "{answer}");
}

// What is pressed

#[tokio::test]
async fn what_another_person_approves_in_slack_is_fixed_and_they_hear_of_it_once() {
    let (slack, record) = Slack::with_a_plan("approved").await;
    let mut post = Post::signed(pressed(BOB, Action::Approve, &button(&record)));
    assert_eq!(slack.send(&post).await, (200, String::new()));
    let fixed = rested(&slack.rig, &record.id).await;
    assert_eq!(fixed.status, Status::Fixed);
    let order = fixed.result.order.clone().unwrap();
    assert_eq!(
        (order.by.as_str(), order.person.as_deref()),
        ("slack:T0123ABCD/U0BOB0000", Some("bob"))
    );
    let said = slack.desk.said(1).await;
    assert_eq!(said.len(), 1);
    let reply = &said[0]["reply"];
    assert_eq!((&reply["user"], &reply["channel"]), (&json!(BOB), &json!(CHANNEL)));
    assert!(reply["text"].as_str().unwrap().starts_with("approved by bob"), "{reply}");

    // Slack did not hear of it in time, and sends the same once more.
    for (number, why) in [("1", "http_timeout"), ("2", "http_error")] {
        post.headers.push(("x-slack-retry-num".to_owned(), number.to_owned()));
        post.headers.push(("x-slack-retry-reason".to_owned(), why.to_owned()));
        assert_eq!(slack.send(&post).await, (200, String::new()));
    }
    assert!(slack.desk.said(0).await.is_empty(), "nothing is done or said twice");
    assert_eq!(slack.rig.ledger.read(&record.id).await.unwrap().unwrap(), fixed);
}

#[tokio::test]
async fn a_button_that_was_used_is_refused_to_whoever_presses_it_again() {
    let (slack, record) = Slack::with_a_plan("replayed").await;
    let button = button(&record);
    assert_eq!(slack.press(BOB, Action::Deny, &button).await, 200);
    let denied = rested(&slack.rig, &record.id).await;
    assert_eq!(denied.status, Status::Denied);
    assert_eq!(denied.result.reason.as_deref(), Some("denied by bob"));
    assert_eq!(slack.reply().await, "denied by bob");

    for member in [BOB, CAROL] {
        assert_eq!(slack.press(member, Action::Deny, &button).await, 200);
        let told = slack.reply().await;
        assert!(told.starts_with("Not done: this button was used already"), "{told}");
    }
    assert_eq!(slack.rig.ledger.read(&record.id).await.unwrap().unwrap(), denied);
}

#[tokio::test]
async fn of_two_who_press_at_the_same_time_one_is_heard() {
    let (slack, record) = Slack::with_a_plan("atonce").await;
    let button = button(&record);
    let press = |member| slack.press(member, Action::Approve, &button);
    assert_eq!(tokio::join!(press(BOB), press(CAROL)), (200, 200));
    let said = slack.desk.said(2).await;
    let texts: BTreeSet<bool> = said
        .iter()
        .map(|said| said["reply"]["text"].as_str().unwrap().starts_with("approved by"))
        .collect();
    assert_eq!((said.len(), texts), (2, BTreeSet::from([false, true])), "{said:?}");
    assert_eq!(rested(&slack.rig, &record.id).await.status, Status::Fixed);
}

#[tokio::test]
async fn whoever_may_not_hears_why_changes_nothing_and_leaves_the_button_to_others() {
    let (slack, record) = Slack::with_a_plan("refused").await;
    let button = button(&record);
    let of_plan = |plan: &str| Button::new(record.id.as_str(), plan).unwrap();
    let unknown = Button::new("00000000000000000000", &*record.intent.plan_hash).unwrap();
    for (why, member, action, button, says) in [
        ("the one who did it", ALICE, Action::Approve, &button, "somebody else must approve it"),
        ("the one who did it", ALICE, Action::Deny, &button, "somebody else must say"),
        ("the one who did it", ALICE, Action::Snooze, &button, "somebody else must exempt it"),
        (
            "nobody we know",
            "U0EVE0000",
            Action::Approve,
            &button,
            "nobody by your member id U0EVE0000",
        ),
        ("nobody we know", "U0EVE0000", Action::Exempt, &button, "nobody by your member id"),
        ("two people's member", "U0TWICE00", Action::Approve, &button, "nobody by your member id"),
        ("another plan", BOB, Action::Approve, &of_plan("0123456789abcdef0123"), "of another plan"),
        ("another plan", BOB, Action::Deny, &of_plan("0123456789abcdef0123"), "of another plan"),
        ("another plan", BOB, Action::Snooze, &of_plan("0123456789abcdef0123"), "of another plan"),
        ("another plan", BOB, Action::Exempt, &of_plan("0123456789abcdef0123"), "of another plan"),
        ("no plan", BOB, Action::Approve, &of_plan(""), "of another plan"),
        ("no plan", BOB, Action::Deny, &of_plan(""), "of another plan"),
        ("no such record", BOB, Action::Approve, &unknown, "there is no record"),
        ("nothing to undo", BOB, Action::Undo, &button, "there is nothing to undo"),
    ] {
        assert_eq!(slack.press(member, action, button).await, 200, "{why}: {action}");
        let said = slack.desk.said(1).await;
        assert_eq!(said.len(), 1, "{why}: {action}: {said:?}");
        let reply = &said[0]["reply"];
        let text = reply["text"].as_str().unwrap();
        assert!(text.starts_with("Not done: ") && text.contains(says), "{why}: {action}: {text}");
        assert_eq!((&reply["user"], &reply["channel"]), (&json!(member), &json!(CHANNEL)));
        slack.nothing_happened(&record).await;
    }
    assert_eq!(slack.press(BOB, Action::Approve, &button).await, 200);
    assert_eq!(rested(&slack.rig, &record.id).await.status, Status::Fixed, "it is left to bob");
}

#[tokio::test]
async fn while_everything_is_halted_a_button_does_nothing() {
    let (slack, record) = Slack::with_a_plan("halted").await;
    let halt =
        Halt { by: arn("eve"), person: None, at: Timestamp::now(), reason: "wait".to_owned() };
    slack.rig.ledger.halt(&halt).await.unwrap();
    let button = button(&record);
    slack.press(BOB, Action::Approve, &button).await;
    let told = slack.reply().await;
    assert!(told.contains("halted everything"), "{told}");
    slack.nothing_happened(&record).await;
    slack.rig.ledger.continue_(&halt).await.unwrap();
    slack.press(BOB, Action::Approve, &button).await;
    assert_eq!(rested(&slack.rig, &record.id).await.status, Status::Fixed);
}

#[tokio::test]
async fn a_member_of_another_workspace_is_refused_whatever_their_id_is() {
    const FOREIGN: &str = "T0FOREIGN";
    let (slack, record) = Slack::with_a_plan("foreign").await;
    let button = button(&record);
    // Slack names the workspace in which it was pressed, and that of the member; of another company, one or both differ.
    for (team, home) in [(FOREIGN, FOREIGN), (TEAM, FOREIGN), (FOREIGN, TEAM)] {
        for action in [Action::Approve, Action::Deny, Action::Exempt, Action::Snooze, Action::Undo]
        {
            let body = pressed_from(team, home, BOB, action, &button);
            assert_eq!(slack.send(&Post::signed(body)).await, (200, String::new()));
            let told = slack.reply().await;
            assert!(told.starts_with("Not done: only members of the workspace"), "{told}");
            assert!(told.contains(FOREIGN), "{told}");
        }
    }
    slack.nothing_happened(&record).await;
    assert_eq!(slack.press(BOB, Action::Approve, &button).await, 200);
    assert_eq!(rested(&slack.rig, &record.id).await.status, Status::Fixed, "it is left to bob");
}

#[tokio::test]
async fn an_order_that_stands_is_no_failure_although_nobody_could_be_woken() {
    let (slack, record) = Slack::with_a_plan("unwoken").await;
    let functions = vec![s3_exposure(&slack.rig)];
    let desk = Desk::open_with_nobody_to_obey(&slack.rig.stack, functions, KEY).await;
    let approved = Post::signed(pressed(BOB, Action::Approve, &button(&record)));
    assert_eq!(approved.to(&slack.function_before(&desk)).await, (200, String::new()));
    let said = desk.said(1).await;
    let told = said[0]["reply"]["text"].as_str().unwrap();
    assert!(told.starts_with("approved by bob"), "{told}");
    assert!(told.contains("The order stands, but the function that obeys it could not be"));
    assert!(told.ends_with("recovery tries again within five minutes"), "{told}");
    let order = slack.rig.ledger.ordered(&record.id, Verb::Approve).await.unwrap();
    assert_eq!(order.unwrap().person.as_deref(), Some("bob"));

    // With the command it is the same.
    let plan = &record.intent.plan_hash;
    let approve = json!({"verb": "approve", "record": record.id, "plan": plan});
    let (status, body) = desk.order("bob", &approve).await;
    assert_eq!(status, 409, "his first stands: {body}");
    let staged = scenario::stage(&slack.rig.cloud, "s3-public-acl", "unwoken2").await.unwrap();
    let other = slack.desk.deliver(&slack.rig, &staged).await;
    let plan = &other.intent.plan_hash;
    let approve = json!({"verb": "approve", "record": other.id, "plan": plan});
    for _ in 0..2 {
        let (status, body) = desk.order("bob", &approve).await;
        assert_eq!((status, &body["state"]), (202, &json!("accepted")), "{body}");
        let detail = body["detail"].as_str().unwrap();
        assert!(detail.contains("recovery tries again within five minutes"), "{detail}");
    }

    assert!(slack.desk.recover().await.is_response());
    for record in [record, other] {
        assert_eq!(rested(&slack.rig, &record.id).await.status, Status::Fixed);
    }
}

#[tokio::test]
async fn what_somebody_unknown_did_nobody_undoes_or_exempts_in_slack_or_with_the_command() {
    let slack = Slack::open().await;
    slack.rig.stack.apply_policy(&members(Mode::Enforce)).await.unwrap();
    let mut staged = scenario::stage(&slack.rig.cloud, "s3-public-acl", "whose").await.unwrap();
    // Perhaps another principal of bob's.
    staged.event["detail"]["userIdentity"]["arn"] = json!(arn("mallory"));
    let record = slack.desk.deliver(&slack.rig, &staged).await;
    assert_eq!(record.status, Status::Fixed);
    let button = button(&record);
    let says = |text: &str, to: &str| {
        assert!(text.contains("whom the policy does not know and who may be bob"), "{text}");
        assert!(text.contains(&format!("to {to}, let somebody add that principal")), "{text}");
    };
    for (action, to) in [(Action::Undo, "undo the fix"), (Action::Snooze, "exempt it")] {
        slack.press(BOB, action, &button).await;
        says(&slack.reply().await, to);
    }
    let exempt = json!({"verb": "exempt", "record": record.id, "reason": "press kit", "days": 1});
    for (order, to) in
        [(json!({"verb": "undo", "record": record.id}), "undo the fix"), (exempt, "exempt it")]
    {
        let (status, body) = slack.desk.order("bob", &order).await;
        assert_eq!(status, 403, "{body}");
        says(body["detail"].as_str().unwrap(), to);
        let (status, body) = slack.desk.order("eve", &order).await;
        assert_eq!(status, 403, "nobody whom the policy does not know: {body}");
    }
    assert!(slack.rig.ledger.exemptions().await.unwrap().is_empty());
    assert!(!scenario::is_violating(&slack.rig.cloud, &staged).await.unwrap());

    // Somebody says whose principal it is.
    let mut policy = members(Mode::Enforce);
    let mallory = arn("mallory");
    policy.people.push(Person { name: "mallory".into(), slack: None, principals: vec![mallory] });
    slack.rig.stack.apply_policy(&policy).await.unwrap();
    slack.press(BOB, Action::Undo, &button).await;
    assert!(slack.reply().await.contains("is as it was before"));
}

#[tokio::test]
async fn an_undo_in_slack_puts_back_what_was() {
    let slack = Slack::open().await;
    slack.rig.stack.apply_policy(&members(Mode::Enforce)).await.unwrap();
    let staged = scenario::stage(&slack.rig.cloud, "s3-public-acl", "undone").await.unwrap();
    let before = scenario::snapshot(&slack.rig.cloud, &staged).await.unwrap();
    let record = slack.desk.deliver(&slack.rig, &staged).await;
    assert_eq!(record.status, Status::Fixed);
    let button = button(&record);
    slack.press(ALICE, Action::Undo, &button).await;
    let told = slack.reply().await;
    assert!(told.contains("somebody else must undo the fix"), "{told}");

    slack.press(BOB, Action::Undo, &button).await;
    let told = slack.reply().await;
    assert!(told.contains("is as it was before"), "{told}");
    assert_eq!(scenario::snapshot(&slack.rig.cloud, &staged).await.unwrap(), before);
    let order = slack.rig.ledger.ordered(&record.id, Verb::Undo).await.unwrap().unwrap();
    assert_eq!(
        (order.by.as_str(), order.person.as_deref()),
        ("slack:T0123ABCD/U0BOB0000", Some("bob"))
    );
    let exemption = slack.rig.ledger.exemptions().await.unwrap().remove(0);
    assert_eq!(
        (exemption.person.as_str(), exemption.by.as_str()),
        ("bob", "slack:T0123ABCD/U0BOB0000")
    );
}

#[tokio::test]
async fn exempt_asks_for_reason_and_days_and_what_is_sent_counts() {
    let (slack, record) = Slack::with_a_plan("exempt").await;
    let button = button(&record);
    assert_eq!(slack.press(BOB, Action::Exempt, &button).await, 200);
    let said = slack.desk.said(1).await;
    let modal = &said[0]["modal"];
    assert_eq!((&modal["button"], &modal["channel"]), (&json!(button), &json!(CHANNEL)));
    assert!(modal["trigger_id"].as_str().unwrap().starts_with("398738663015."), "{modal}");
    slack.nothing_happened(&record).await;
    // Cancelled, and pressed again.
    slack.press(BOB, Action::Exempt, &button).await;
    assert!(slack.desk.said(1).await[0]["modal"].is_object());

    let post = |member, days| Post::signed(submitted(member, &button, "press kit", days));
    slack.send(&post(ALICE, 30)).await;
    assert!(slack.reply().await.contains("somebody else must exempt it"));
    assert!(slack.rig.ledger.exemptions().await.unwrap().is_empty());

    let sent = post(BOB, 30);
    for _ in 0..2 {
        assert_eq!(slack.send(&sent).await, (200, String::new()), "an empty answer closes it");
    }
    let told = slack.reply().await;
    assert!(told.contains("may violate s3-public-acl until"), "{told}");
    let given = slack.rig.ledger.exemptions().await.unwrap();
    let [exemption] = given.as_slice() else { panic!("{given:?}") };
    assert_eq!(
        (exemption.reason.as_str(), exemption.person.as_str(), exemption.by.as_str()),
        ("press kit", "bob", "slack:T0123ABCD/U0BOB0000")
    );
    let days = exemption.expires.duration_since(exemption.granted);
    assert_eq!(days, SignedDuration::from_hours(30 * 24));

    slack.send(&post(BOB, 60)).await;
    assert!(slack.reply().await.contains("used already"));
    slack.press(BOB, Action::Exempt, &button).await;
    assert!(slack.reply().await.contains("used already"), "nobody is asked in vain");
    assert_eq!(slack.rig.ledger.exemptions().await.unwrap(), given);
}

#[tokio::test]
async fn a_modal_with_what_an_exemption_may_not_have_gives_none() {
    let (slack, record) = Slack::with_a_plan("modal").await;
    let button = button(&record);
    for (reason, days, status) in
        [("x", 0, 400), ("x", 91, 400), (" ", 1, 400), ("x".repeat(501).as_str(), 1, 400)]
    {
        let sent = slack.send(&Post::signed(submitted(BOB, &button, reason, days))).await;
        assert_eq!(sent, (status, String::new()), "{days}");
    }
    slack.send(&Post::signed(submitted(BOB, &button, "a\u{202e}b", 1))).await;
    assert!(slack.reply().await.contains("invisible character"));
    assert!(slack.rig.ledger.exemptions().await.unwrap().is_empty());
    slack.nothing_happened(&record).await;
}

#[tokio::test]
async fn a_snooze_lets_it_be_for_a_day() {
    let slack = Slack::open().await;
    let mut staged = scenario::stage(&slack.rig.cloud, "s3-public-acl", "snoozed").await.unwrap();
    let record = slack.desk.deliver(&slack.rig, &staged).await;
    slack.press(BOB, Action::Snooze, &button(&record)).await;
    assert!(slack.reply().await.contains("may violate s3-public-acl until"));
    let exemption = slack.rig.ledger.exemptions().await.unwrap().remove(0);
    assert_eq!(exemption.reason, "snoozed in Slack");
    assert_eq!(exemption.severity, Severity::High);
    let days = exemption.expires.duration_since(exemption.granted);
    assert_eq!(days, SignedDuration::from_hours(24));
    staged.event = again(&staged.event, "77");
    let now = Timestamp::now() + SignedDuration::from_secs(1);
    staged.event["time"] = json!(format!("{now:.0}"));
    staged.event["detail"]["eventTime"] = json!(format!("{now:.0}"));
    assert_eq!(slack.desk.deliver(&slack.rig, &staged).await.status, Status::Exempt);
}

#[tokio::test]
async fn each_button_of_a_message_can_be_used_once() {
    let slack = Slack::open().await;
    slack.rig.stack.apply_policy(&members(Mode::Enforce)).await.unwrap();
    let staged = scenario::stage(&slack.rig.cloud, "s3-public-acl", "each").await.unwrap();
    let record = slack.desk.deliver(&slack.rig, &staged).await;
    // A message without a plan has buttons too: those that decide about none.
    let button = Button::new(record.id.as_str(), "").unwrap();
    slack.press(BOB, Action::Snooze, &button).await;
    assert!(slack.reply().await.contains("may violate"));
    slack.press(BOB, Action::Undo, &button).await;
    assert!(slack.reply().await.contains("is as it was before"));
    for action in [Action::Snooze, Action::Undo] {
        slack.press(BOB, action, &button).await;
        assert!(slack.reply().await.contains("used already"), "{action}");
    }
}

#[tokio::test]
async fn from_the_message_in_slack_over_its_buttons_to_the_fix_and_what_people_see_of_it() {
    let rig = Rig::start().await;
    rig.stack.apply_policy(&members(Mode::Approve)).await.unwrap();
    let api = SlackApi::start(&[CHANNEL]).await.unwrap();
    let token = rig.stack.keep_secret("token", TOKEN).await.unwrap();
    let environment = rig.stack.slack_environment(&token, CHANNEL, &api);
    let timeout = Duration::from_secs(60);
    let speaker = Arc::new(Function::new(SPEAKER, binary("slack"), environment, timeout, 256));
    let listener = rig.stack.listen("slack", 3, true).await.unwrap();
    let source = Source::new(&rig.stack, listener, Arc::clone(&speaker)).await.unwrap();
    let desk = Desk::open_to_slack(&rig.stack, vec![s3_exposure(&rig), speaker], KEY).await;
    let secret = rig.stack.keep_secret("signing", SECRET).await.unwrap();
    let function = function(&rig.stack, &desk.door.url(), &secret).signing_with(KEY.into());

    let staged = scenario::stage(&rig.cloud, "s3-public-acl", "throughout").await.unwrap();
    let record = desk.deliver(&rig, &staged).await;
    source.poll().await.unwrap();
    let message = api.messages().into_iter().find(|seen| seen.thread.is_none()).unwrap();
    let value = |action: Action| {
        let buttons = message.buttons();
        let found = buttons.iter().find(|(id, _)| id == action.id());
        Button::parse(&found.unwrap_or_else(|| panic!("{action}: {buttons:?}")).1).unwrap()
    };
    let approve = value(Action::Approve);
    assert_eq!((&approve.record, &approve.plan), (&record.id, &record.intent.plan_hash));

    // She did it herself.
    assert_eq!(Post::signed(pressed(ALICE, Action::Approve, &approve)).to(&function).await.0, 200);
    let told = seen_by(&api, ALICE).await;
    assert!(told.contains("Not done") && told.contains("somebody else must approve"), "{told}");
    // He looks what the modal asks, and cancels it.
    let exempt = value(Action::Exempt);
    assert_eq!(Post::signed(pressed(BOB, Action::Exempt, &exempt)).to(&function).await.0, 200);
    until(|| async { !api.views().is_empty() }).await;
    let view = api.views().remove(0);
    assert_eq!(view["private_metadata"], modal::metadata(&exempt, CHANNEL));

    assert_eq!(Post::signed(pressed(BOB, Action::Approve, &approve)).to(&function).await.0, 200);
    assert_eq!(rested(&rig, &record.id).await.status, Status::Fixed);
    assert!(seen_by(&api, BOB).await.contains("approved by bob"));
    until(|| async {
        source.poll().await.unwrap();
        let messages = api.messages();
        let same = messages.iter().find(|seen| seen.ts == message.ts).unwrap();
        same.updates > 0 && same.buttons().iter().all(|(id, _)| id != Action::Approve.id())
    })
    .await;
}

// When something is out of order

#[tokio::test]
async fn slack_is_answered_whatever_the_operator_does() {
    let rig = Rig::start().await;
    let secret = rig.stack.keep_secret("signing", SECRET).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let silent = tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(stream);
        }
    });
    let button = Button::new("5f0c6a1de2b94c770000", "").unwrap();
    let post = || Post::signed(pressed(BOB, Action::Undo, &button));
    let url = format!("http://{address}/");
    let waiting = function(&rig.stack, &url, &secret).signing_with(KEY.into());
    assert_eq!(post().to(&waiting).await, (200, String::new()), "it goes on by itself");
    silent.abort();
    let gone = function(&rig.stack, "http://127.0.0.1:9/", &secret).signing_with(KEY.into());
    assert_eq!(
        post().to(&gone).await,
        (502, String::new()),
        "nothing came of it, and Slack says so"
    );
}

#[tokio::test]
async fn a_call_that_never_left_in_time_is_not_answered_as_if_it_had() {
    let rig = Rig::start().await;
    let secret = rig.stack.keep_secret("signing", SECRET).await.unwrap();
    let proxy = Proxy::start(&rig.cloud.endpoint).unwrap();
    // So little is left of the time after this that connecting does not come to its own end.
    let slow = Fault::Delay(Duration::from_secs(1));
    let slowed = proxy.fault(Calls::any().operation("GetSecretValue"), slow);
    // It takes the connection, and then says nothing of TLS.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let function = function(&rig.stack, &url, &secret).through(&proxy);
    let button = Button::new("5f0c6a1de2b94c770000", "").unwrap();
    let post = Post::signed(pressed(BOB, Action::Undo, &button));
    assert_eq!(post.to(&function).await, (502, String::new()), "Slack says that it did not work");
    assert_eq!(slowed.fired(), 1);
    let log = function.log().join("\n");
    assert!(log.contains("the operator was not reached in time for quell.undo"), "{log}");
}

#[tokio::test]
async fn what_the_operator_cannot_say_in_slack_is_no_success_there() {
    let (slack, record) = Slack::with_a_plan("unsaid").await;
    // The operator's own door, but without the function that speaks.
    let desk =
        Desk::open_with_nobody_to_speak(&slack.rig.stack, vec![s3_exposure(&slack.rig)], KEY).await;
    let function = slack.function_before(&desk);
    let button = button(&record);
    let refused = Post::signed(pressed(ALICE, Action::Approve, &button));
    assert_eq!(refused.to(&function).await, (502, String::new()), "she would never hear of it");
    let denied = Post::signed(pressed(BOB, Action::Deny, &button));
    assert_eq!(denied.to(&function).await, (200, String::new()), "it is done, and all are told");
    assert_eq!(rested(&slack.rig, &record.id).await.status, Status::Denied);
}

#[tokio::test]
async fn a_function_without_its_settings_says_which() {
    let rig = Rig::start().await;
    let settings = rig.stack.environment("observe");
    let timeout = Duration::from_secs(10);
    let bare = Function::new("slack-actions", binary("slack-actions"), settings, timeout, 256);
    let attempt = bare.invoke(Post::signed("payload={}").event().to_string()).await.unwrap();
    assert_eq!(attempt.answer.error_kind(), Some("Settings"));
    let message = attempt.answer.error_message().unwrap();
    assert!(message.contains("QUELL_SLACK_SIGNING_SECRET"), "{message}");
}

/// A workspace whose app is Quell's.
struct Slack {
    rig: Rig,
    desk: Desk,
    function: Function,
    secret: String,
}

const CAROL: &str = "U0CAROL00";

impl Slack {
    async fn open() -> Self {
        let rig = Rig::start().await;
        rig.stack.apply_policy(&members(Mode::Approve)).await.unwrap();
        let desk = Desk::open_to_slack(&rig.stack, vec![s3_exposure(&rig)], KEY).await;
        let secret = rig.stack.keep_secret("signing", SECRET).await.unwrap();
        let function = function(&rig.stack, &desk.door.url(), &secret).signing_with(KEY.into());
        Self { rig, desk, function, secret }
    }

    /// With a plan that waits for somebody other than alice.
    async fn with_a_plan(name: &str) -> (Self, Record) {
        let slack = Self::open().await;
        let staged = scenario::stage(&slack.rig.cloud, "s3-public-acl", name).await.unwrap();
        let record = slack.desk.deliver(&slack.rig, &staged).await;
        assert_eq!(record.status, Status::Pending);
        (slack, record)
    }

    fn function_before(&self, desk: &Desk) -> Function {
        function(&self.rig.stack, &desk.door.url(), &self.secret).signing_with(KEY.into())
    }

    async fn send(&self, post: &Post) -> (u64, String) {
        post.to(&self.function).await
    }

    async fn press(&self, member: &str, action: Action, button: &Button) -> u64 {
        let (status, body) = self.send(&Post::signed(pressed(member, action, button))).await;
        assert_eq!(body, "");
        status
    }

    /// The one thing that the operator said to a person since the last time.
    async fn reply(&self) -> String {
        let said = self.desk.said(1).await;
        let [said] = said.as_slice() else { panic!("{said:?}") };
        said["reply"]["text"].as_str().unwrap_or_else(|| panic!("{said}")).to_owned()
    }

    /// The record waits as it did, nothing is ordered or exempt, and the resource is as it was.
    async fn nothing_happened(&self, record: &Record) {
        let ledger = &self.rig.ledger;
        assert_eq!(ledger.read(&record.id).await.unwrap().as_ref(), Some(record));
        for verb in Verb::ALL {
            assert_eq!(ledger.ordered(&record.id, verb).await.unwrap(), None);
        }
        assert!(ledger.exemptions().await.unwrap().is_empty());
        let acl = self.rig.cloud.s3.get_bucket_acl().bucket(&record.intent.resource).send().await;
        assert!(format!("{acl:?}").contains("AllUsers"));
    }
}

/// The desk's people with their members, carol, who has no principal, and two who claim one member.
fn members(mode: Mode) -> Policy {
    let mut policy = people(mode);
    for (person, member) in policy.people.iter_mut().zip([ALICE, BOB]) {
        person.slack = Some(member.to_owned());
    }
    for (name, member) in [("carol", CAROL), ("dan", "U0TWICE00"), ("dora", "U0TWICE00")] {
        policy.people.push(Person {
            name: name.to_owned(),
            slack: Some(member.to_owned()),
            principals: Vec::new(),
        });
    }
    policy
}

fn s3_exposure(rig: &Rig) -> Arc<Function> {
    let environment = rig.stack.environment("act");
    let timeout = Duration::from_secs(60);
    let program = binary("s3-exposure");
    Arc::new(Function::new("s3-exposure", program, environment, timeout, 256))
}

/// What only this member sees, once there is something.
async fn seen_by(api: &SlackApi, member: &str) -> String {
    let seen = || {
        let mut messages = api.messages().into_iter();
        messages.find(|seen| seen.only.as_deref() == Some(member)).map(|seen| seen.text)
    };
    until(|| async { seen().is_some() }).await;
    seen().unwrap()
}

/// Waits for something that happens elsewhere.
async fn until<F: Future<Output = bool>>(holds: impl Fn() -> F) {
    for _ in 0..600 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it did not come about");
}

/// The record once nobody works on it.
async fn rested(rig: &Rig, id: &str) -> Record {
    for _ in 0..600 {
        let record = rig.ledger.read(id).await.unwrap().unwrap();
        // A fix is open until people were told and the lock is given back.
        let is_open = record.status == Status::Fixed && record.open;
        if !matches!(record.status, Status::Pending | Status::Applying) && !is_open {
            return record;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nobody came to an end with it")
}

fn title_case(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at(1);
        format!("{}{rest}", first.to_ascii_uppercase())
    });
    words.collect::<Vec<_>>().join("-")
}
