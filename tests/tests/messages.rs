//! Who hears of what, when, and how often.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use quell_controls::{All, REGISTRY};
use quell_engine::{
    Actor, Meta, Mode, Severity,
    ledger::{Due, Record},
    notify::{
        Bulletin,
        bulletin::Subject,
        fold::{self, Class},
    },
    policy::{Digest, Notify, Policy, Route},
    serve::handle,
};
use quell_local::{
    Answer, Function,
    scenario::{self, Staged},
};
use quell_tests::{
    desk::{Desk, arn, people},
    rig::{Rig, binary},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const ACL: &str = "s3-public-acl";
const OTHER: &str = "s3-block-public-access";

#[tokio::test]
async fn the_same_by_the_same_actor_is_told_once_and_then_counted_in_one_bulletin() {
    let rig = Rig::start().await;
    let desk = desk(&rig).await;
    for name in ["a", "b", "c", "d"] {
        let staged = scenario::stage(&rig.cloud, ACL, name).await.unwrap();
        assert_eq!(rig.evaluate(Mode::Enforce, &staged).await.outcome.as_str(), "fixed");
    }
    let told = told(&rig).await;
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!(told[0]["kind"], "remediation");

    assert_eq!(recovered(&desk).await["reminded"], json!([]), "the window is not over");
    rig.windows_end().await;
    recovered(&desk).await;
    let bulletins = self::told(&rig).await;
    assert_eq!(bulletins.len(), 1, "{bulletins:#?}");
    let bulletin: Bulletin = serde_json::from_value(bulletins[0].clone()).unwrap();
    assert_eq!((bulletin.subject, bulletin.total), (Subject::Folded, 3));
    let [line] = bulletin.lines.as_slice() else { panic!("{bulletin:?}") };
    assert_eq!((line.control.as_str(), line.outcome.as_str(), line.count), (ACL, "fixed", 4));
    let published = rig.stack.published().await.unwrap();
    let last = published.last().unwrap();
    assert_eq!(last.subject.as_deref(), Some("Quell repeated [high] 3 messages: s3-public-acl"));
    assert!(last.texts["email"].contains("4 x [high] fixed s3-public-acl"), "{last:?}");
    assert_eq!(last.attributes["outcome"], "folded");

    rig.windows_end().await;
    recovered(&desk).await;
    assert!(self::told(&rig).await.is_empty(), "once is enough");
}

#[tokio::test]
async fn a_bulletin_whose_teller_died_is_told_by_another() {
    let rig = Rig::start().await;
    let desk = desk(&rig).await;
    for name in ["a", "b"] {
        let staged = scenario::stage(&rig.cloud, ACL, name).await.unwrap();
        rig.evaluate(Mode::Observe, &staged).await;
    }
    told(&rig).await;
    rig.windows_end().await;
    let due = rig.ledger.due(Timestamp::now(), 10).await.unwrap();
    let [Due::Counts(counts)] = due.as_slice() else { panic!("{due:?}") };
    let now = Timestamp::now();
    assert!(rig.ledger.take_counts(counts, now).await.unwrap().is_some());
    assert_eq!(rig.ledger.take_counts(counts, now).await.unwrap(), None, "one tells it");
    recovered(&desk).await;
    assert!(told(&rig).await.is_empty(), "whoever took it has time to tell it");
    rig.windows_end().await;
    recovered(&desk).await;
    assert_eq!(told(&rig).await.len(), 1);
}

#[tokio::test]
async fn a_message_that_could_not_be_sent_is_sent_when_it_is_tried_again() {
    let rig = Rig::start().await;
    let staged = scenario::stage(&rig.cloud, ACL, "a").await.unwrap();
    let report = rig.evaluate(Mode::Observe, &staged).await;
    let record = rig.ledger.read(&report.record.unwrap()).await.unwrap().unwrap();
    let meta = REGISTRY.iter().find(|meta| meta.id == ACL).unwrap();
    let now = Timestamp::now() + SignedDuration::from_hours(1);
    let tally = fold::tally(meta, &record, &Notify::DEFAULT, now).unwrap();
    let mut other = record.clone();
    other.id = "other".to_owned();
    let other = fold::tally(meta, &other, &Notify::DEFAULT, now).unwrap();
    assert_eq!(tally.key, other.key);
    for (tally, is_told) in [(&tally, true), (&other, false), (&tally, true), (&other, false)] {
        assert_eq!(rig.ledger.count(tally).await.unwrap(), is_told);
    }
}

#[tokio::test]
async fn each_plan_that_waits_for_a_person_is_told() {
    let rig = Rig::start().await;
    for name in ["a", "b", "c"] {
        let staged = scenario::stage(&rig.cloud, ACL, name).await.unwrap();
        under(&rig, people(Mode::Approve), &staged).await;
    }
    let told: Vec<_> = told(&rig).await.into_iter().map(|one| one["outcome"].clone()).collect();
    assert_eq!(told, ["pending", "pending", "pending"]);
}

#[tokio::test]
async fn another_actor_and_another_outcome_are_told() {
    let rig = Rig::start().await;
    for (name, who) in [("a", "ann"), ("b", "bea"), ("c", "ann")] {
        let staged = staged_by(&rig, name, who).await;
        rig.evaluate(Mode::Observe, &staged).await;
    }
    let staged = staged_by(&rig, "d", "ann").await;
    rig.evaluate(Mode::Enforce, &staged).await;
    let told: Vec<_> = told(&rig).await.into_iter().map(|one| one["outcome"].clone()).collect();
    assert_eq!(told, ["observed", "observed", "fixed"]);
}

#[tokio::test]
async fn what_a_person_ordered_is_told_whatever_happened_lately() {
    let rig = Rig::start().await;
    rig.stack.apply_policy(&people(Mode::Enforce)).await.unwrap();
    let engine = rig.engine_under_policy();
    let staged = scenario::stage(&rig.cloud, ACL, "a").await.unwrap();
    let response = handle::<All>(&engine, &rig.aws, &staged.event.to_string()).await.unwrap();
    let record = response.results.iter().find(|report| report.control == ACL).unwrap();
    assert_eq!(rig.undo(record.record.as_deref().unwrap()).await.outcome.as_str(), "undone");
    let told: Vec<_> = told(&rig).await.into_iter().map(|one| one["outcome"].clone()).collect();
    assert_eq!(told, ["fixed", "undone"]);
}

#[tokio::test]
async fn each_is_told_where_the_policy_folds_nothing() {
    let rig = Rig::start().await;
    let notify = Notify { fold_minutes: 0, ..Notify::DEFAULT };
    for name in ["a", "b"] {
        let staged = scenario::stage(&rig.cloud, ACL, name).await.unwrap();
        under(&rig, Policy { notify, ..people(Mode::Observe) }, &staged).await;
    }
    assert_eq!(told(&rig).await.len(), 2);
    assert!(rig.ledger.due(Timestamp::MAX, 10).await.unwrap().is_empty(), "nothing is counted");
}

#[tokio::test]
async fn what_is_routine_comes_in_a_digest_and_what_waits_for_a_person_at_once() {
    let rig = Rig::start().await;
    let desk = desk(&rig).await;
    let notify =
        Notify { digest: Some(Digest::Daily), digest_up_to: Severity::High, ..Notify::DEFAULT };
    for (name, mode) in [("a", Mode::Enforce), ("b", Mode::Observe), ("c", Mode::Approve)] {
        let staged = scenario::stage(&rig.cloud, ACL, name).await.unwrap();
        under(&rig, Policy { notify, ..people(mode) }, &staged).await;
    }
    let told: Vec<_> = told(&rig).await.into_iter().map(|one| one["outcome"].clone()).collect();
    assert_eq!(told, ["pending"]);
    rig.windows_end().await;
    recovered(&desk).await;
    let bulletins = self::told(&rig).await;
    let digest = bulletins.iter().find(|one| one["subject"] == "digest").unwrap();
    assert_eq!((&digest["total"], digest["lines"].as_array().unwrap().len()), (&json!(2), 2));
    assert_eq!(bulletins.len(), 1, "the folded window had nothing to add: {bulletins:#?}");
}

#[tokio::test]
async fn a_route_leads_to_its_topic_and_a_topic_that_cannot_be_told_keeps_nobody_from_hearing() {
    let rig = Rig::start().await;
    let topic = rig.cloud.sns.create_topic().name("web").send().await.unwrap();
    let topic = topic.topic_arn.unwrap();
    let gone = topic.replace(":web", ":gone");
    let route = |topic: &str, tags: &[(&str, &str)]| Route {
        tags: tags
            .iter()
            .map(|(key, value)| ((*key).to_owned(), vec![(*value).to_owned()]))
            .collect::<BTreeMap<_, _>>(),
        topics: vec![topic.to_owned()],
        slack: vec!["C012AB3CD".to_owned()],
        ..Route::default()
    };
    let staged = scenario::stage(&rig.cloud, ACL, "a").await.unwrap();
    let policy = |route| Policy { routes: vec![route], ..people(Mode::Observe) };
    under(&rig, policy(route(&topic, &[("team", "web")])), &staged).await;
    assert!(rig.stack.published_to(&topic).await.unwrap().is_empty(), "it has no such tag");

    let staged = staged_by(&rig, "b", "ann").await;
    under(&rig, policy(route(&topic, &[])), &staged).await;
    let routed = rig.stack.published_to(&topic).await.unwrap();
    assert_eq!(routed.len(), 1);
    let told = told(&rig).await;
    assert_eq!(told.len(), 2, "whoever hears of all hears of it too");
    assert_eq!(told[1]["channels"], json!(["C012AB3CD"]));

    let staged = staged_by(&rig, "c", "bea").await;
    under(&rig, policy(route(&gone, &[])), &staged).await;
    let told = self::told(&rig).await;
    let notes = told[0]["notes"].to_string();
    assert!(notes.contains(&format!("the topic {gone} of a route was not told")), "{notes}");
}

#[tokio::test]
async fn whoever_would_have_got_the_messages_gets_a_bulletin_that_counts_them() {
    let rig = Rig::start().await;
    let desk = desk(&rig).await;
    let topic = rig.cloud.sns.create_topic().name("web").send().await.unwrap();
    let topic = topic.topic_arn.unwrap();
    let gone = topic.replace(":web", ":gone");
    let route = Route {
        controls: vec![ACL.to_owned()],
        topics: vec![topic.clone(), gone.clone()],
        slack: vec!["C012AB3CD".to_owned()],
        ..Route::default()
    };
    let folded = Policy { routes: vec![route], ..people(Mode::Observe) };
    let daily = Digest::Daily;
    let digest = Notify { digest: Some(daily), digest_up_to: Severity::High, ..Notify::DEFAULT };
    let digest = Policy { notify: digest, ..folded.clone() };
    let mut before = 0;
    for (policy, subject, untold) in [(folded, "folded", 2), (digest, "digest", 3)] {
        for (at, control) in [ACL, ACL, ACL, OTHER, OTHER, OTHER].into_iter().enumerate() {
            let name = format!("{subject}{at}");
            let staged = scenario::stage(&rig.cloud, control, &name).await.unwrap();
            under(&rig, policy.clone(), &staged).await;
        }
        told(&rig).await;
        before += usize::from(subject == "folded");
        let routed = rig.stack.published_to(&topic).await.unwrap();
        assert_eq!(routed.len(), before, "only the first of what is folded is told by itself");

        rig.windows_end().await;
        recovered(&desk).await;
        let all = bulletin_of(&told(&rig).await);
        assert_eq!((all.subject.to_string().as_str(), all.total), (subject, untold * 2));
        let channels = |control: &str| {
            let line = all.lines.iter().find(|line| line.control == control).unwrap();
            assert_eq!((line.count, line.untold), (3, untold));
            line.channels.clone()
        };
        assert_eq!((channels(ACL), channels(OTHER)), (vec!["C012AB3CD".to_owned()], vec![]));
        let [note] = all.notes.as_slice() else { panic!("{all:?}") };
        assert!(note.contains(&format!("the topic {gone} of a route was not told")), "{note}");

        let routed = rig.stack.published_to(&topic).await.unwrap().split_off(before);
        let routed: Vec<_> =
            routed.iter().map(|one| serde_json::from_str(&one.texts["sqs"]).unwrap()).collect();
        let part = bulletin_of(&routed);
        let [line] = part.lines.as_slice() else { panic!("{part:?}") };
        assert_eq!((line.control.as_str(), line.count, part.total), (ACL, 3, untold));
        before += 1;
    }
}

/// Messages of all controls, in every second of ten minutes and by forty actors. `QUELL_FLOOD_MESSAGES` has how many: a
/// thousand unless told otherwise, which are as many lines as ten thousand, and take a tenth of the time.
#[tokio::test]
async fn a_flood_becomes_at_most_sixty_messages_with_every_critical_one_among_them() {
    let flood_of = std::env::var("QUELL_FLOOD_MESSAGES").ok().and_then(|many| many.parse().ok());
    let many: usize = flood_of.unwrap_or(1_000);
    let rig = Rig::start().await;
    let staged = scenario::stage(&rig.cloud, ACL, "a").await.unwrap();
    let report = rig.evaluate(Mode::Observe, &staged).await;
    let record = rig.ledger.read(&report.record.unwrap()).await.unwrap().unwrap();
    forget(&rig).await;

    let is_critical = |meta: &&&Meta| meta.severity == Severity::Critical;
    let critical: Vec<_> = REGISTRY.iter().filter(is_critical).collect();
    let routine: Vec<_> = REGISTRY.iter().filter(|meta| !is_critical(meta)).collect();
    assert!(!critical.is_empty() && !routine.is_empty());
    let start = Timestamp::from_second(Timestamp::now().as_second().div_euclid(600) * 600).unwrap();
    let mut rng = fastrand::Rng::with_seed(7);
    let (mut sent, mut of_critical) = (0, 0);
    let mut flood = JoinSet::new();
    let ledger = Arc::new(rig.ledger.clone());
    for at in 0..many {
        // Twenty-two critical ones, all over the flood.
        let meta = if at % (many / 22) == 7 {
            of_critical += 1;
            *critical[rng.usize(..critical.len())]
        } else {
            *routine[rng.usize(..routine.len())]
        };
        let record = by(&record, rng.usize(..40).min(rng.usize(..40)));
        let now = start + SignedDuration::from_millis(i64::try_from(at * 600_000 / many).unwrap());
        let ledger = Arc::clone(&ledger);
        if flood.len() >= 16 {
            sent += usize::from(flood.join_next().await.unwrap().unwrap());
        }
        flood.spawn(async move {
            let tally = fold::tally(meta, &record, &Notify::DEFAULT, now).unwrap();
            let is_told = ledger.count(&tally).await.unwrap();
            assert!(is_told || tally.class() != Class::Critical, "a critical one was not told");
            is_told
        });
    }
    while let Some(told) = flood.join_next().await {
        sent += usize::from(told.unwrap());
    }
    let largest = largest_window(&rig).await;
    assert!(largest < 200_000, "an item has room for 400 KB: {largest}");
    let (mut bulletins, mut counted) = (0, 0);
    for due in rig.ledger.due(Timestamp::MAX, 10).await.unwrap() {
        let Due::Counts(counts) = due else { panic!("{due:?}") };
        let counts = rig.ledger.take_counts(&counts, start).await.unwrap().unwrap();
        let bulletin = Bulletin::of(&counts).unwrap();
        counted += usize::try_from(bulletin.total).unwrap();
        bulletins += 1;
    }
    assert_eq!(bulletins, 2, "one for each window");
    assert_eq!(sent + counted, many, "nothing is lost");
    assert!(
        of_critical >= 20 && sent + bulletins <= 60,
        "{sent} messages and {bulletins} bulletins"
    );
    #[allow(clippy::print_stdout, reason = "what was measured is for people to read")]
    {
        println!(
            "{many} became {sent} messages ({of_critical} critical) and {bulletins} bulletins; \
             the larger window has {largest} bytes"
        );
    }
}

#[tokio::test]
async fn more_critical_ones_than_people_can_read_are_counted_as_critical() {
    let rig = Rig::start().await;
    let staged = scenario::stage(&rig.cloud, ACL, "a").await.unwrap();
    let report = rig.evaluate(Mode::Observe, &staged).await;
    let record = rig.ledger.read(&report.record.unwrap()).await.unwrap().unwrap();
    forget(&rig).await;
    let meta = REGISTRY.iter().find(|meta| meta.severity == Severity::Critical).unwrap();
    let now = Timestamp::now();
    let mut told = 0;
    for who in 0..40 {
        let tally = fold::tally(meta, &by(&record, who), &Notify::DEFAULT, now).unwrap();
        let is_told = rig.ledger.count(&tally).await.unwrap();
        assert_eq!(rig.ledger.count(&tally).await.unwrap(), is_told, "the same when sent again");
        told += u64::from(is_told);
    }
    assert_eq!(Some(told), Class::Critical.most());
    let due = rig.ledger.due(Timestamp::MAX, 10).await.unwrap();
    let [Due::Counts(counts)] = due.as_slice() else { panic!("{due:?}") };
    let bulletin = Bulletin::of(counts).unwrap();
    assert_eq!(bulletin.severity(), Severity::Critical);
    assert_eq!(bulletin.lines.len(), usize::try_from(40 - told).unwrap(), "the others were told");
}

/// The record, as if this principal had done it.
fn by(record: &Record, who: usize) -> Record {
    let mut record = record.clone();
    record.id = format!("{:020x}", fastrand::u128(..) >> 48);
    record.intent.actor = Some(Actor {
        principal: format!("role deploy-{who}"),
        arn: Some(format!(
            "arn:aws:sts::123456789012:assumed-role/deploy-{who}/{}",
            fastrand::u32(..)
        )),
        ..Actor::default()
    });
    record
}

/// A public bucket of which somebody's call told.
async fn staged_by(rig: &Rig, name: &str, who: &str) -> Staged {
    let mut staged = scenario::stage(&rig.cloud, ACL, name).await.unwrap();
    staged.event["detail"]["userIdentity"] =
        json!({"type": "IAMUser", "userName": who, "arn": arn(who)});
    staged
}

async fn under(rig: &Rig, policy: Policy, staged: &Staged) {
    rig.stack.apply_policy(&policy).await.unwrap();
    let event = staged.event.to_string();
    handle::<All>(&rig.engine_under_policy(), &rig.aws, &event).await.unwrap();
}

/// An operator, and one function that it knows.
async fn desk(rig: &Rig) -> Desk {
    let environment = rig.stack.environment("act");
    let time = Duration::from_secs(60);
    let function = Function::new("s3-exposure", binary("s3-exposure"), environment, time, 256);
    Desk::open(&rig.stack, vec![Arc::new(function)]).await
}

async fn recovered(desk: &Desk) -> Value {
    match desk.recover().await {
        Answer::Response(response) => response,
        failed => panic!("recovery failed: {failed:?}"),
    }
}

/// The one bulletin of these.
fn bulletin_of(told: &[Value]) -> Bulletin {
    let [bulletin] = told else { panic!("{told:#?}") };
    serde_json::from_value(bulletin.clone()).unwrap()
}

/// What was told since the last time.
async fn told(rig: &Rig) -> Vec<Value> {
    let messages = rig.stack.messages().await.unwrap();
    messages.iter().map(|one| serde_json::from_str(&one.body).unwrap()).collect()
}

async fn forget(rig: &Rig) {
    for pk in windows(rig).await {
        let gone = rig.cloud.dynamodb.delete_item().table_name(&rig.stack.ledger).key("pk", pk);
        gone.key("sk", AttributeValue::S("BULLETIN".to_owned())).send().await.unwrap();
    }
}

/// In bytes, as DynamoDB counts an item's texts.
async fn largest_window(rig: &Rig) -> usize {
    let all = rig.cloud.dynamodb.scan().table_name(&rig.stack.ledger).send().await.unwrap();
    let texts = |value: &AttributeValue| match value {
        AttributeValue::S(text) | AttributeValue::N(text) => text.len(),
        AttributeValue::Ss(texts) => texts.iter().map(String::len).sum(),
        _ => 0,
    };
    let windows = all.items().iter().filter(|item| item["pk"].as_s().unwrap().starts_with("BUL#"));
    let size = |item: &HashMap<String, AttributeValue>| {
        item.iter().map(|(name, value)| name.len() + texts(value)).sum()
    };
    windows.map(size).max().unwrap()
}

async fn windows(rig: &Rig) -> Vec<AttributeValue> {
    let all = rig.cloud.dynamodb.scan().table_name(&rig.stack.ledger).send().await.unwrap();
    let keys = all.items().iter().map(|item| item["pk"].clone());
    keys.filter(|pk| pk.as_s().unwrap().starts_with("BUL#")).collect()
}
