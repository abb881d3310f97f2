//! Envelopes that AWS did not write.

use quell_engine::{policy::Mode, text::one_line};
use quell_local::{Answer, cloud::ACCOUNT};
use serde_json::{Value, json};

use crate::place::Place;

const OTHER: &str = "210987654321";

/// Resources that are really in their bad state, so that a single event that got through would change one.
const CONTROLS: [&str; 4] = ["s3-public-acl", "ec2-imdsv2", "sg-open-ingress", "ec2-quarantine"];

#[tokio::test]
async fn a_forged_envelope_leads_to_no_call_and_is_one_line_that_says_why() {
    let place = Place::begin(Mode::Enforce).await;
    let mut count = 0;
    for control in CONTROLS {
        let staged = place.stage(control, "forged").await;
        let function = place.function(control);
        for (forgery, event) in forgeries(&staged.event) {
            count += 1;
            let attempt = function.invoke(event.clone()).await.unwrap();
            let shown: String = event.chars().take(200).collect();
            match &attempt.answer {
                Answer::Response(response) => {
                    assert_eq!(response["results"], json!([]), "{forgery}: {shown}");
                    let reasons = [&response["ignored"], &response["refused"]];
                    let reasons: Vec<&Value> =
                        reasons.into_iter().flat_map(|list| list.as_array().unwrap()).collect();
                    assert_eq!(reasons.len(), 1, "{forgery}: {response}");
                    assert!(reasons[0].as_str().unwrap().len() > 10, "{forgery}: {response}");
                    let lines: Vec<Value> = attempt
                        .log
                        .iter()
                        .map(|line| serde_json::from_str(line).unwrap())
                        .collect();
                    assert_eq!(lines.len(), 1, "{forgery}: {lines:#?}");
                    let outcome = lines[0]["outcome"].as_str().unwrap();
                    assert!(["ignored", "refused"].contains(&outcome), "{forgery}: {lines:#?}");
                    let shown = one_line(reasons[0].as_str().unwrap());
                    assert_eq!(lines[0]["detail"], shown, "{forgery}");
                }
                Answer::Error { kind, message } => {
                    assert_eq!(kind, "Event", "{forgery}: {message}: {shown}");
                    assert!(!message.is_empty() && !message.contains(char::is_control));
                    assert!(attempt.log.len() <= 1, "{forgery}: {:#?}", attempt.log);
                }
                other => panic!("{forgery}: {other:?}"),
            }
            assert_eq!(place.proxy.count(|_| true), 0, "{forgery}: {:#?}", place.proxy.log());
        }
        assert!(place.is_violating(&staged).await, "{control}");

        // The same without any forgery is fixed.
        let attempt = function.invoke(staged.event.to_string()).await.unwrap();
        assert!(attempt.answer.is_response(), "{:?}", attempt.answer);
        assert!(!place.is_violating(&staged).await, "{control}");
        place.proxy.quiet().await;
        place.proxy.clear();
    }
    println!("{count} forged envelopes, no call");
    assert!(count >= 1_000, "{count}");
}

/// The event with one thing about it forged, each with what that is.
fn forgeries(event: &Value) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut with = |field: &str, value: Value| {
        let mut forged = event.clone();
        // A finding's own region goes before that of the event.
        if field == "region" && forged["detail"].get(field).is_some() {
            forged["detail"][field] = value.clone();
        }
        forged[field] = value.clone();
        all.push((format!("{field} {value}"), forged.to_string()));
    };
    let source = event["source"].as_str().unwrap();
    for like in look_alikes(source) {
        with("source", json!(like));
    }
    for wrong in ["", "s3", "aws", "aws.", ".s3", "com.amazonaws.s3", "my.app", "quell", "*"] {
        with("source", json!(wrong));
    }
    let kind = event["detail-type"].as_str().unwrap();
    for like in look_alikes(kind) {
        with("detail-type", json!(like));
    }
    for field in ["source", "detail-type", "account", "region", "detail", "id"] {
        let whole = event[field].clone();
        with(field, Value::Null);
        with(field, json!([]));
        with(field, json!([whole]));
        with(field, json!({ field: whole }));
        with(field, json!(7));
        with(field, json!(true));
    }
    with("detail", json!(event["detail"].to_string()));

    for wrong in look_alikes(ACCOUNT) {
        with("account", json!(wrong));
    }
    for wrong in [OTHER, "", "12345678901", "1234567890123", "000000000000", "*", "aws", "../"] {
        with("account", json!(wrong));
    }
    let mut altered = |what: &str, alter: &dyn Fn(&mut Value)| {
        let mut forged = event.clone();
        alter(&mut forged);
        all.push((what.to_owned(), forged.to_string()));
    };
    // Where the finding or the record names them too, both are forged.
    let place = |event: &mut Value, region: &str| {
        event["region"] = json!(region);
        if event["detail"].get("region").is_some() {
            event["detail"]["region"] = json!(region);
        }
    };
    for region in [
        "cn-north-1",
        "us-gov-west-1",
        "us-iso-east-1",
        "us-isob-east-1",
        "eu-isoe-west-1",
        "eusc-de-east-1",
        "evil.example",
        "eu-west-1.evil.example/",
        "eu-west-1@evil.example",
        "eu-west-1#",
        "../eu-west-1",
        "EU-WEST-1",
        "eu-west-1 ",
        "eu‐west‐1",
        "eu-west-1\r\nHost: evil.example",
        "-eu-west-1",
        "eu--west-1",
        "euwest1",
        "*",
    ] {
        altered(&format!("region {region}"), &|event| place(event, region));
    }
    if event["detail"].get("recipientAccountId").is_some() {
        for wrong in look_alikes(ACCOUNT).into_iter().map(Value::from).chain([
            json!(OTHER),
            json!([ACCOUNT]),
            json!({ "recipientAccountId": ACCOUNT }),
            json!(210_987_654_321_u64),
            json!(true),
        ]) {
            altered(&format!("recipient {wrong}"), &|event| {
                event["detail"]["recipientAccountId"] = wrong.clone();
            });
        }
        altered("a record of another account in full", &|event| {
            event["account"] = json!(OTHER);
            event["detail"]["recipientAccountId"] = json!(OTHER);
        });
        for code in [json!("AccessDenied"), json!(1), json!([]), json!({}), json!(false)] {
            altered(&format!("error code {code}"), &|event| {
                event["detail"]["errorCode"] = code.clone();
            });
        }
        altered("a read", &|event| event["detail"]["readOnly"] = json!("TRUE"));
        altered("a service event", &|event| {
            event["detail"]["eventType"] = json!("AwsServiceEvent")
        });
        altered("an account within an account", &|event| {
            event["detail"]["recipientAccountId"] = json!(format!("{ACCOUNT}/{OTHER}"));
        });
        for name in look_alikes(event["detail"]["eventName"].as_str().unwrap()) {
            altered(&format!("call {name}"), &|event| event["detail"]["eventName"] = json!(name));
        }
        for service in look_alikes(event["detail"]["eventSource"].as_str().unwrap()) {
            altered(&format!("service {service}"), &|event| {
                event["detail"]["eventSource"] = json!(service);
            });
        }
    } else {
        altered("a finding of another account", &|event| {
            event["detail"]["accountId"] = json!(OTHER);
        });
        let real = event["detail"]["type"].as_str().unwrap();
        let (family, _) = real.split_once('/').unwrap();
        for kind in look_alikes(real) {
            // The control hears all types of a family, also those that GuardDuty will have one day.
            if !kind.starts_with(&format!("{family}/")) {
                altered(&format!("type {kind}"), &|event| event["detail"]["type"] = json!(kind));
            }
        }
        altered("a sample", &|event| {
            event["detail"]["service"]["additionalInfo"] = json!({"sample": "true"});
        });
    }
    for whole in [
        json!([event]),
        json!({ "event": event }),
        json!({ "detail": event }),
        json!({ "Records": [event] }),
        json!({ "Records": [{ "body": event.to_string() }] }),
        json!({ "invokingEvent": event.to_string() }),
        json!(event.to_string()),
    ] {
        all.push(("another shape".to_owned(), whole.to_string()));
    }
    // The names of fields in look-alikes: the real one is missing then.
    for (name, like) in [("source", "ѕource"), ("account", "Account"), ("detail", "detail ")] {
        all.push((
            format!("field {like}"),
            event.to_string().replacen(&format!("\"{name}\":"), &format!("\"{like}\":"), 1),
        ));
    }
    all
}

/// Texts that a person, or a careless comparison, takes for this one.
fn look_alikes(text: &str) -> Vec<String> {
    const BLANKS: [char; 12] = [
        ' ', '\t', '\n', '\r', '\0', '\u{a0}', '\u{2003}', '\u{200b}', '\u{2060}', '\u{feff}',
        '\u{202e}', '\u{3000}',
    ];
    const LIKE: [(char, &str); 14] = [
        ('a', "аａ@"),
        ('s', "ѕｓſ"),
        ('w', "ԝｗ"),
        ('3', "３З"),
        ('e', "еｅ"),
        ('c', "сｃ"),
        ('2', "２"),
        ('1', "１lI"),
        ('0', "０O"),
        ('.', "．。"),
        ('y', "уｙ"),
        ('i', "іｉı"),
        ('P', "РＰ"),
        ('C', "СＣ"),
    ];
    let mut all = vec![text.to_uppercase(), text.to_lowercase(), text.repeat(2)];
    for blank in BLANKS {
        all.push(format!("{text}{blank}"));
        all.push(format!("{blank}{text}"));
        let middle = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
        all.push(format!("{}{blank}{}", &text[..middle], &text[middle..]));
    }
    for (real, others) in LIKE {
        if text.contains(real) {
            all.extend(others.chars().map(|other| text.replacen(real, &other.to_string(), 1)));
        }
    }
    all.retain(|like| like != text);
    all
}
