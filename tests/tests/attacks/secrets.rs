//! Secrets that somebody lets slip into an event, or plants there to have them shown.

use std::{collections::HashMap, sync::Arc};

use aws_sdk_dynamodb::types::AttributeValue;
use fastrand::Rng;
use quell_controls::REGISTRY;
use quell_engine::policy::Mode;
use quell_local::{Function, scenario::Staged};
use quell_tests::{
    attack::{Secret, one, secret},
    command::{quell, text},
};
use serde_json::{Value, json};

use crate::place::{Place, paths, renewed};

const EVENTS: u64 = 500;

/// So many of them about resources that are fixed; the others are observed.
const FIXED: u64 = 30;

#[tokio::test]
async fn no_secret_of_an_event_is_told_to_anybody() {
    let place = Place::begin(Mode::Observe).await;
    let enforcing = Place::begin(Mode::Enforce).await;
    let mut observed: HashMap<&str, (Staged, Function)> = HashMap::new();
    let mut fixing: HashMap<&str, Function> = HashMap::new();
    for meta in REGISTRY {
        let staged = place.stage(meta.id, "secret").await;
        observed.insert(meta.id, (staged, place.function(meta.id)));
        fixing.insert(meta.id, enforcing.function(meta.id));
    }
    let mut secrets = Vec::new();
    let mut told = Vec::new();
    for seed in 0..EVENTS {
        let mut rng = Rng::with_seed(seed);
        let meta = one(&mut rng, REGISTRY);
        let is_fixed = seed < FIXED;
        let (staged, function) = if is_fixed {
            (enforcing.stage(meta.id, &format!("secret{seed}")).await, &fixing[meta.id])
        } else {
            let (staged, function) = &observed[meta.id];
            (staged.clone(), function)
        };
        let mut event = renewed(&staged.event);
        plant(&mut rng, &mut event, &staged.resource, &mut secrets);
        let attempt = function.invoke(event.to_string()).await.unwrap();
        told.extend(attempt.log);
        told.push(format!("{:?}", attempt.answer));
    }
    let logged = told.len();
    let (mut records, mut messages) = (0, 0);
    for place in [&place, &enforcing] {
        let published = place.rig.stack.published().await.unwrap();
        messages += published.len();
        for message in published {
            told.extend(message.subject);
            told.extend(message.texts.into_values());
            told.extend(message.attributes.into_values());
        }
        let (count, attributes) = plain_attributes(place).await;
        records += count;
        told.extend(attributes);
        let environment = place.rig.stack.environment("act");
        let listed = quell(&["records", "--limit", "1000"], &environment);
        told.push(text(&listed.stdout));
        // The decoded records hold one thing more: the state before, which is the way back and is kept as it is.
        told.extend(decoded(place).await);
        assert_eq!(
            place.proxy.count(|call| call.is_write && call.service == "CloudWatch"),
            0,
            "there are no metrics of our own"
        );
    }
    let all = told.join("\n");
    let shown: Vec<String> = secrets
        .iter()
        .filter_map(|Secret { kind, text, part }| {
            let at = all.find(text).or_else(|| all.find(part))?;
            let from = (0..=at.saturating_sub(200)).rev().find(|at| all.is_char_boundary(*at))?;
            Some(format!(
                "{kind} {text:.60}: …{}",
                all[from..].chars().take(300).collect::<String>()
            ))
        })
        .collect();
    println!(
        "{} secrets in {EVENTS} events; {logged} log lines and answers, {messages} messages, {records} records: {} found",
        secrets.len(),
        shown.len()
    );
    assert!(
        messages as u64 > EVENTS / 2 && records as u64 > EVENTS / 2,
        "people were told something"
    );
    assert!(shown.is_empty(), "{} of {}:\n{}", shown.len(), secrets.len(), shown.join("\n\n"));
}

/// Puts secrets at a few places of the event: where people's own text stands, where AWS answers with credentials, in
/// fields that nobody knows, and anywhere else. What names the resource is left: people have to know which it is.
fn plant(rng: &mut Rng, event: &mut Value, resource: &str, planted: &mut Vec<Secret>) {
    let likely = [
        ("/detail", "userAgent"),
        ("/detail", "sourceIPAddress"),
        ("/detail", "errorMessage"),
        ("/detail", "eventID"),
        ("/detail", "requestID"),
        ("/detail", "vpcEndpointId"),
        ("/detail/userIdentity", "userName"),
        ("/detail/userIdentity", "arn"),
        ("/detail/userIdentity", "principalId"),
        ("/detail/userIdentity", "accessKeyId"),
        ("/detail/userIdentity", "invokedBy"),
        ("/detail/userIdentity/sessionContext/sessionIssuer", "userName"),
        ("/detail/requestParameters", "userData"),
        ("/detail/requestParameters", "x-amz-security-token"),
        ("/detail/resource/accessKeyDetails", "userName"),
        ("/detail/resource/accessKeyDetails", "principalId"),
        ("", "id"),
        ("", "replay-name"),
    ];
    for _ in 0..rng.usize(1..4) {
        let hidden = secret(rng);
        let text = match rng.u8(..4) {
            0 => format!("prefix {} suffix", hidden.text),
            1 => format!("https://s3.amazonaws.com/b?X-Amz-Security-Token={}&x=1", hidden.text),
            2 => format!("key={};token:\"{}\"", hidden.text, hidden.text),
            _ => hidden.text.clone(),
        };
        let done = match rng.u8(..8) {
            0..5 => {
                let (object, field) = *one(rng, &likely);
                match event.pointer_mut(object) {
                    Some(Value::Object(fields)) => {
                        fields.insert(field.to_owned(), json!(text)).is_none_or(|_| true)
                    }
                    _ => false,
                }
            }
            5 => {
                event["detail"]["responseElements"]["credentials"] =
                    json!({"secretAccessKey": text, "sessionToken": hidden.text});
                true
            }
            _ => {
                let mut places = paths(event);
                places.retain(|path| {
                    let value = event.pointer(path).and_then(Value::as_str);
                    value.is_some_and(|value| !value.contains(resource))
                });
                let path = one(rng, &places).clone();
                event.pointer_mut(&path).map(|value| *value = json!(text)).is_some()
            }
        };
        if done {
            planted.push(hidden);
        }
    }
}

/// Every attribute of every item of the ledger that is no packed document.
async fn plain_attributes(place: &Place) -> (usize, Vec<String>) {
    let mut texts = Vec::new();
    let mut count = 0;
    for item in items(place).await {
        let pk = item["pk"].as_s().cloned().unwrap_or_default();
        count += usize::from(pk.starts_with("REC#"));
        for (name, value) in item {
            match value {
                AttributeValue::B(_) => assert!(["intent", "result"].contains(&name.as_str())),
                other => texts.push(format!("{pk} {name} {other:?}")),
            }
        }
    }
    (count, texts)
}

/// The records in clear, but for the state before and after and the changes that are made of it.
async fn decoded(place: &Place) -> Vec<String> {
    let mut all = Vec::new();
    for meta in REGISTRY {
        for mut record in place.rig.ledger.newest(meta.id, None, 10_000).await.unwrap() {
            record.intent.before = Value::Null;
            record.intent.plan.clear();
            record.result.after = None;
            all.push(serde_json::to_string(&record).unwrap());
        }
    }
    all
}

async fn items(place: &Place) -> Vec<HashMap<String, AttributeValue>> {
    let client = Arc::new(place.rig.cloud.dynamodb.clone());
    let mut pages =
        client.scan().table_name(&place.rig.stack.ledger).into_paginator().items().send();
    let mut items = Vec::new();
    while let Some(item) = pages.next().await {
        items.push(item.unwrap());
    }
    items
}

/// What a resource holds is told as a diff: secrets in it are struck out there, and kept in the way back.
#[tokio::test]
async fn a_secret_in_a_resource_is_not_told_and_comes_back_with_the_undo() {
    let place = Place::begin(Mode::Enforce).await;
    let staged = place.stage("s3-public-policy", "referer").await;
    let hidden = Secret { kind: "secret key", ..secret_key() };
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
            "Resource": format!("arn:aws:s3:::{}/*", staged.resource),
            "Condition": {"StringEquals": {"aws:Referer": hidden.text}},
        }],
    });
    let s3 = &place.rig.cloud.s3;
    let put = s3.put_bucket_policy().bucket(&staged.resource).policy(policy.to_string());
    put.send().await.unwrap();
    let before = scenario_policy(&place, &staged).await;

    let function = place.function("s3-public-policy");
    let attempt = function.invoke(staged.event.to_string()).await.unwrap();
    let mut told = attempt.log;
    told.push(format!("{:?}", attempt.answer));
    assert!(told.last().unwrap().contains("fixed"), "{told:?}");
    for message in place.rig.stack.published().await.unwrap() {
        told.extend(message.texts.into_values());
    }
    let record = place.rig.ledger.newest("s3-public-policy", None, 1).await.unwrap().remove(0);
    told.push(serde_json::to_string(&record.intent.changes).unwrap());
    assert!(!told.join("\n").contains(&hidden.text), "{told:#?}");
    assert!(told.join("\n").contains("aws:Referer"), "the rest of the statement is told");

    place.rig.undo(&record.id).await;
    assert_eq!(scenario_policy(&place, &staged).await, before, "the way back is exact");
}

async fn scenario_policy(place: &Place, staged: &Staged) -> String {
    let reply = place.rig.cloud.s3.get_bucket_policy().bucket(&staged.resource).send().await;
    reply.unwrap().policy.unwrap()
}

fn secret_key() -> Secret {
    (0..)
        .map(|seed| secret(&mut Rng::with_seed(seed)))
        .find(|one| one.kind == "secret key")
        .unwrap()
}
