//! Work grows at most as its input does, also for input that somebody made to be slow.

use quell_controls::{
    policy::{document::same, who::Policy},
    s3::public_policy::PublicPolicy,
    sg::open_ingress::{Ingress, OpenIngress, Rule, Source},
};
use quell_engine::{
    Actor, Control, Description, Effect, Outcome, Safety, Severity, Signal, Trigger,
    notify::{self, Envelope, Message},
    policy::glob_matches,
    signal::{ParseOptions, parse_for},
    text,
};
use quell_local::cloud::{ACCOUNT, REGION};
use quell_tests::attack::{Cost, grows_at_most_linearly};
use serde_json::{Value, json};

use crate::place::samples;

type Shape = (&'static str, usize, fn(usize) -> String);

#[test]
fn reading_an_event_grows_with_its_length() {
    let shapes: [Shape; 12] = [
        ("a long text", 800_000, |n| padded(&json!("x".repeat(n)))),
        ("escapes", 150_000, |n| padded(&json!("\u{1}".repeat(n)))),
        ("many members", 40_000, |n| {
            padded(&(0..n).map(|i| (format!("k{i}"), json!(i))).collect::<Value>())
        }),
        ("the same member again and again", 80_000, |n| {
            let twice = "\"a\":1,".repeat(n);
            json!({}).to_string().replacen("{}", "", 1)
                + &padded_text(&format!("{{{twice}\"a\":1}}"))
        }),
        ("a wide list", 149_000, |n| padded(&json!(vec![1; n]))),
        ("many lists as deep as may be", 2_900, |n| {
            let deep = format!("{}{}", "[".repeat(50), "]".repeat(50));
            padded_text(&format!("[{}]", vec![deep; n].join(",")))
        }),
        ("many resources", 15_000, |n| {
            let mut event = call("s3-public-acl");
            event["detail"]["requestParameters"] = Value::Null;
            let arns = (0..n).map(|i| json!({"ARN": format!("arn:aws:s3:::bucket-{i}")}));
            event["detail"]["resources"] = arns.collect();
            event.to_string()
        }),
        ("one long name", 800_000, |n| {
            let mut event = call("s3-public-acl");
            event["detail"]["requestParameters"]["bucketName"] = json!("x".repeat(n));
            event.to_string()
        }),
        ("a long user agent", 400_000, |n| {
            let mut event = call("s3-public-acl");
            event["detail"]["userAgent"] = json!("eyJAKIA".repeat(n / 8));
            event.to_string()
        }),
        ("a long source", 800_000, |n| {
            json!({"source": "aws.\u{1f4a5}".repeat(n / 8)}).to_string()
        }),
        ("many findings", 1_500, |n| {
            let mut event = sample("s3-public-acl", "securityhub.json");
            let finding = event["detail"]["findings"][0].clone();
            let short: Value = ["Id", "UpdatedAt", "AwsAccountId", "GeneratorId", "Resources"]
                .iter()
                .map(|field| ((*field).to_owned(), finding[*field].clone()))
                .collect();
            event["detail"]["findings"] = json!(vec![short; n]);
            event.to_string()
        }),
        ("open brackets", 900_000, |n| "[".repeat(n)),
    ];
    let options = ParseOptions { account: Some(ACCOUNT.to_owned()), ..ParseOptions::default() };
    for (what, most, make) in shapes {
        println!("{}", grows_at_most_linearly(what, most, make, |text| parse_for(text, &options)));
    }
}

/// The most that one event can cost, whatever its form.
#[test]
fn an_event_of_any_form_is_refused_or_takes_no_more_than_sixty_four_megabytes() {
    let largest = 990_000;
    for (what, event) in [
        ("numbers", padded(&json!(vec![1; largest / 2]))),
        ("empty objects", padded(&json!(vec![json!({}); largest / 3]))),
        ("one-letter members", {
            let members = "\"a\":{},".repeat(largest / 8);
            padded_text(&format!("[{{{members}\"b\":1}}]"))
        }),
        ("objects of one", padded(&json!(vec![json!({"a": 1}); largest / 9]))),
        ("lists of one", padded_text(&format!("[{}]", vec!["[1]"; largest / 4].join(",")))),
        // As much as CloudTrail keeps of a request.
        ("what an attacker can send", padded(&json!(vec![1; 50_000]))),
        ("the same twice, with a long text", {
            let numbers = json!([vec![1; 50_000], vec![1; 50_000], "x".repeat(largest - 250_000)]);
            padded(&numbers)
        }),
    ] {
        assert!(event.len() < 1_000_000, "{what}: {}", event.len());
        let cost = Cost::of(|| parse_for(&event, &ParseOptions::default()));
        println!("{what}: {} bytes for {}", cost.bytes, event.len());
        assert!(cost.bytes <= 64 << 20, "{what}: {} bytes", cost.bytes);
    }
}

#[test]
fn naming_the_resources_of_an_event_grows_with_their_number() {
    let listed = |n: usize| {
        signal(Trigger::ApiCall {
            service: "s3.amazonaws.com".to_owned(),
            name: "PutBucketAcl".to_owned(),
            parameters: Value::Null,
            response: Value::Null,
            resources: (0..n).map(|i| format!("arn:aws:s3:::bucket-{i}")).collect(),
        })
    };
    let found = |n: usize| {
        let buckets: Value = (0..n).map(|i| json!({"name": format!("bucket-{i}")})).collect();
        signal(Trigger::GuardDuty {
            kind: "Policy:S3/BucketAnonymousAccessGranted".to_owned(),
            severity: 8.0,
            resource: json!({ "s3BucketDetails": buckets }),
            affected: Value::Null,
        })
    };
    let launched = |n: usize| {
        let set: Value = (0..n).map(|i| json!({"instanceId": format!("i-{i:08x}")})).collect();
        signal(Trigger::ApiCall {
            service: "ec2.amazonaws.com".to_owned(),
            name: "RunInstances".to_owned(),
            parameters: Value::Null,
            response: json!({ "instancesSet": {"items": set} }),
            resources: Vec::new(),
        })
    };
    let names =
        |control: &'static str| move |signal: &Signal| quell_tests::targets(control, signal);
    println!("{}", grows_at_most_linearly("listed buckets", 8_000, listed, names("s3-public-acl")));
    println!("{}", grows_at_most_linearly("found buckets", 8_000, found, names("s3-public-acl")));
    println!(
        "{}",
        grows_at_most_linearly("launched instances", 20_000, launched, names("ec2-imdsv2"))
    );
    let long = |n: usize| {
        signal(Trigger::Manual { control: "sg-open-ingress".to_owned(), resource: "a".repeat(n) })
    };
    println!("{}", grows_at_most_linearly("a long name", 800_000, long, names("sg-open-ingress")));
}

#[test]
fn judging_and_cutting_a_bucket_policy_grows_with_its_length() {
    let open = r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"*"}"#;
    let closed =
        r#"{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"s3:*","Resource":"*"}"#;
    let statements = move |n: usize| {
        let list: Vec<&str> = (0..n).map(|i| if i % 2 == 0 { open } else { closed }).collect();
        policy(&list.join(","))
    };
    let principals = |n: usize| {
        let all: Vec<String> = (0..n)
            .map(|i| if i % 2 == 0 { "\"*\"".to_owned() } else { format!("\"{i:012}\"") })
            .collect();
        policy(&format!(
            r#"{{"Effect":"Allow","Principal":{{"AWS":[{}]}},"Action":"s3:*","Resource":"*"}}"#,
            all.join(",")
        ))
    };
    let conditions = |n: usize| {
        let values: Vec<String> =
            (0..n).map(|i| format!("\"10.0.{}.{}/32\"", i / 256 % 256, i % 256)).collect();
        policy(&format!(
            r#"{{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*","Condition":{{"IpAddress":{{"aws:SourceIp":[{}]}}}}}}"#,
            values.join(",")
        ))
    };
    let operators = |n: usize| {
        let all: Vec<String> = (0..n).map(|i| format!(r#""Op{i}":{{"key":"v"}}"#)).collect();
        policy(&format!(
            r#"{{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*","Condition":{{{}}}}}"#,
            all.join(",")
        ))
    };
    let long = |n: usize| {
        policy(&format!(
            r#"{{"Sid":"{}","Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}}"#,
            "x".repeat(n)
        ))
    };
    let blanks = |n: usize| format!("{}{}", " ".repeat(n), policy(""));
    let judge = |text: &String| {
        Policy::parse(text)
            .map(|policy| (policy.lines(), policy.without_public(), policy.is_public()))
    };
    println!("{}", grows_at_most_linearly("statements", 4_000, statements, judge));
    println!("{}", grows_at_most_linearly("principals", 20_000, principals, judge));
    println!("{}", grows_at_most_linearly("addresses", 20_000, conditions, judge));
    println!("{}", grows_at_most_linearly("operators", 4_000, operators, judge));
    println!("{}", grows_at_most_linearly("a long Sid", 800_000, long, judge));
    println!("{}", grows_at_most_linearly("blanks", 800_000, blanks, judge));
    println!(
        "{}",
        grows_at_most_linearly("comparing", 4_000, statements, |text| same(
            text,
            &format!(" {text}")
        ))
    );
    // Each statement is another, so that each is looked for among all the others.
    let different = |n: usize| {
        let list: Vec<String> = (0..n)
            .map(|i| {
                let who = if i % 2 == 0 { "\"*\"" } else { r#"{"AWS":"123456789012"}"# };
                format!(r#"{{"Sid":"{i}","Effect":"Allow","Principal":{who},"Action":"s3:*","Resource":"*"}}"#)
            })
            .collect();
        policy(&list.join(","))
    };
    let told = |text: &String| {
        let state = serde_json::from_value(json!({"policy": text, "restricted": null})).unwrap();
        let plan = PublicPolicy::plan(&state);
        plan.changes.iter().map(|change| PublicPolicy::describe(&state, change)).collect::<Vec<_>>()
    };
    println!("{}", grows_at_most_linearly("telling the changes", 4_000, different, told));
}

#[test]
fn judging_the_rules_of_a_group_grows_with_their_number() {
    let group = |n: usize| {
        let rules = (0..n)
            .map(|i| Rule {
                id: format!("sgr-{i:017x}"),
                protocol: "tcp".to_owned(),
                from: Some(i32::try_from(i % 60_000).unwrap()),
                to: Some(65_535),
                source: Source::Ipv4("0.0.0.0/0".to_owned()),
                peer: None,
                description: Some(format!("rule {i}")),
                tags: (0..5).map(|tag| (format!("tag{tag}"), i.to_string())).collect(),
                open: true,
            })
            .collect();
        Ingress {
            group: "sg-0a1b2c3d".into(),
            name: "web".into(),
            vpc: None,
            rules,
            untracking: None,
        }
    };
    let fix = |before: &Ingress| {
        let plan = OpenIngress::plan(before);
        plan.changes.iter().map(|change| OpenIngress::describe(before, change)).collect::<Vec<_>>()
    };
    println!("{}", grows_at_most_linearly("revoking", 8_000, group, fix));
    let back = |before: &Ingress| {
        let mut after = before.clone();
        let half = after.rules.len() / 2;
        after.rules.drain(..half);
        (OpenIngress::revert(before, &after).changes.len(), OpenIngress::same(before, &after))
    };
    println!("{}", grows_at_most_linearly("undoing", 8_000, group, back));
}

#[test]
fn telling_of_a_change_grows_with_its_length() {
    let lines = |n: usize| message("photos", vec!["READ to everyone".to_owned(); n]);
    let line = |n: usize| message("photos", vec!["<!channel> www.evil.example ".repeat(n)]);
    let name = |n: usize| message(&"💥<@U1>://".repeat(n), Vec::new());
    let render = |message: &Message| Envelope::of(&message.clone().into()).unwrap();
    // From some length on everything is cut, and more of it costs only the cutting.
    println!("{}", grows_at_most_linearly("lines", 200_000, lines, render));
    println!("{}", grows_at_most_linearly("a long line", 200_000, line, render));
    println!("{}", grows_at_most_linearly("a long name", 200_000, name, render));
    for part in [
        "www.",
        "a.b",
        "[:](http://",
        "\\\\",
        "e\u{301}",
        "<",
        "`",
        "AKIA",
        "eyJ",
        "-----BEGIN ",
        "Aa1/",
        "-",
    ] {
        let text = |n: usize| part.repeat(n);
        println!(
            "{}",
            grows_at_most_linearly(part, 40_000, text, |text| (
                text::mail_up_to(text, usize::MAX),
                text::redacted(text).into_owned(),
                text::json(text).unwrap(),
            ))
        );
    }
}

/// A glob has at most 512 characters.
#[test]
fn matching_a_glob_grows_with_the_text() {
    for glob in ["*a*a*a*a*a*a*a*b", "????*????*x", "*", "a*b*c*d*e*f"] {
        let text = |n: usize| "a".repeat(n);
        println!(
            "{}",
            grows_at_most_linearly(glob, 100_000, text, |text| glob_matches(glob, text))
        );
    }
}

fn sample(control: &str, name: &str) -> Value {
    samples(control).into_iter().find(|(file, _)| file == name).unwrap().1
}

fn call(control: &str) -> Value {
    sample(control, "violating.json")
}

/// A call with this among its parameters.
fn padded(value: &Value) -> String {
    padded_text(&value.to_string())
}

fn padded_text(value: &str) -> String {
    let mut event = call("s3-public-acl");
    event["detail"]["requestParameters"] = json!({"bucketName": "photos", "padding": "@mark@"});
    event.to_string().replacen("\"@mark@\"", value, 1)
}

fn policy(statements: &str) -> String {
    format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#)
}

fn signal(trigger: Trigger) -> Signal {
    Signal {
        trigger,
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
        event_id: "event".to_owned(),
        deduplication: "event".to_owned(),
        time: None,
        actor: None,
        request_id: None,
        finding: None,
    }
}

fn message(name: &str, minus: Vec<String>) -> Message {
    let text = |text: &str| text.to_owned();
    Message {
        version: notify::VERSION,
        control: notify::Control {
            id: text("s3-public-acl"),
            title: text("S3 bucket ACLs grant nothing to the public"),
            risk: text("The ACL lets anyone on the internet list its objects."),
            severity: Severity::High,
            safety: Safety::Safe,
            function: text("s3-exposure"),
            runbook: text("docs/runbooks/s3-public-acl.md"),
        },
        outcome: Outcome::Observed,
        mode: text("observe"),
        resource: notify::Resource { name: text(name), arn: text(name), console: text(name) },
        account: text(ACCOUNT),
        region: text(REGION),
        event: notify::Event { id: text(name), time: None, finding: None },
        actor: Some(Actor { principal: text(name), ..Actor::default() }),
        detected: jiff::Timestamp::UNIX_EPOCH,
        since: None,
        changes: vec![notify::Change {
            description: Description {
                action: text("s3:PutBucketAcl"),
                effect: Effect::Set,
                minus,
                plus: Vec::new(),
            },
            made: false,
        }],
        applied: false,
        verified: None,
        fixed_at: None,
        record: None,
        revision: 0,
        plan_hash: None,
        undoes: None,
        order: None,
        approve: None,
        deny: None,
        expires: None,
        resume: None,
        undo: None,
        exempt: None,
        cause: None,
        notes: Vec::new(),
        reason: None,
        left_out: 0,
        channels: Vec::new(),
    }
}
