//! What holds for whatever there is to read, tried with very many cases.

use std::ops::Range;

use fastrand::Rng;
use quell_controls::{
    REGISTRY,
    policy::{
        document::{Left, same},
        who::Policy,
    },
    sg::open_ingress::{Ingress, OpenIngress, Rule, Source},
    with_control,
};
use quell_engine::{
    Control, Signal, Trigger,
    signal::{Heard, ParseOptions, parse_for},
    text::{console_link, is_invisible},
};
use quell_local::cloud::{ACCOUNT, REGION};
use quell_tests::attack::{each_case, fragment, hostile, one};
use serde_json::{Value, json};

use crate::place::{manual, paths, samples};

#[test]
fn whatever_event_comes_is_signals_of_our_account_or_has_a_reason_in_a_short_line() {
    let options = ParseOptions { account: Some(ACCOUNT.to_owned()), ..ParseOptions::default() };
    let samples = all_samples();
    let (mut signals, mut reasons, mut errors) = (0, 0, 0);
    each_case(|rng| {
        let text = altered(rng, &samples);
        match parse_for(&text, &options) {
            Ok(heard) => {
                assert!(!heard.is_empty());
                for heard in heard {
                    match heard {
                        Heard::Signal(signal) => {
                            signals += 1;
                            assert_eq!(signal.account, ACCOUNT);
                            assert!((1..=512).contains(&signal.deduplication.len()));
                            assert!(signal.event_id.len() <= 2048, "{}", signal.event_id.len());
                            let is_host = |c: char| c.is_ascii_alphanumeric() || c == '-';
                            assert!(signal.region.chars().all(is_host), "{}", signal.region);
                        }
                        Heard::Ignored(ignored) => {
                            reasons += 1;
                            assert_short(&ignored.reason.to_string());
                        }
                        Heard::Refused(refused) => {
                            reasons += 1;
                            assert_short(&refused.to_string());
                        }
                    }
                }
            }
            Err(error) => {
                errors += 1;
                assert_short(&error.to_string());
            }
        }
    });
    println!("{signals} signals, {reasons} reasons, {errors} errors");
    assert!(signals > 0 && reasons > 0 && errors > 0);
}

fn assert_short(line: &str) {
    assert!(!line.contains(is_invisible) && line.len() < 1000, "{line:?}");
}

#[test]
fn whatever_stands_for_a_resource_each_control_takes_a_name_or_refuses_it() {
    let (mut taken, mut refused) = (0, 0);
    each_case(|rng| {
        let text = name(rng);
        // One that any kind of signal may carry, and the same as a person gives it to each control.
        let meta = one(rng, REGISTRY);
        let mut signals = vec![(meta.id, signal(rng, meta.id, &text))];
        signals.extend(REGISTRY.iter().map(|meta| {
            let (control, resource) = (meta.id.to_owned(), text.clone());
            (meta.id, of(Trigger::Manual { control, resource }))
        }));
        for (control, signal) in signals {
            match with_control!(control, C => names_of::<C>(&signal)).unwrap() {
                Ok(count) => taken += count,
                Err(error) => {
                    refused += 1;
                    assert!(error.is_ascii() && error.len() < 300, "{error}");
                }
            }
        }
    });
    println!("{taken} names taken, {refused} refused");
    assert!(taken > 0 && refused > 0);
}

/// How many resources the control takes from the signal, each under a name that it can have.
fn names_of<C: Control>(signal: &Signal) -> Result<usize, String> {
    let targets = C::targets(signal).map_err(|error| error.to_string())?;
    for target in &targets {
        let shown = target.to_string();
        // The key of an object may be almost any text.
        let is_object = C::META.id == "s3-public-object";
        let most = if is_object { 1500 } else { 255 };
        assert!((1..=most).contains(&shown.len()), "{shown:?}");
        assert!(is_object || shown.is_ascii(), "{shown:?}");
        assert!(!shown.contains(char::is_control), "{shown:?}");
        let stored = serde_json::to_value(target).unwrap();
        assert_eq!(serde_json::from_value::<C::Target>(stored).unwrap(), *target);
        let arn = C::arn(target, ACCOUNT, REGION);
        assert!(arn.splitn(6, ':').count() == 6 && arn.starts_with("arn:aws:"), "{arn}");
        let link = C::console(target, REGION);
        assert!(link.len() > 512 || console_link(&link).is_some(), "{link}");
    }
    Ok(targets.len())
}

#[test]
fn whatever_a_bucket_policy_says_what_is_left_of_it_is_not_public_or_it_is_not_touched() {
    let (mut cut, mut same_as_before, mut unreadable) = (0, 0, 0);
    each_case(|rng| {
        let text = bucket_policy(rng);
        match Policy::parse(&text) {
            Ok(policy) => {
                drop(policy.lines());
                assert!(same(&text, &text));
                match policy.without_public() {
                    Left::Same => {
                        same_as_before += 1;
                        assert!(!policy.is_public());
                    }
                    Left::Nothing => assert!(policy.is_public()),
                    Left::Rest(rest) => {
                        cut += 1;
                        let left =
                            Policy::parse(&rest).unwrap_or_else(|why| panic!("{why}: {rest}"));
                        assert!(!left.is_public(), "{text}\n{rest}");
                        assert_eq!(left.without_public(), Left::Same);
                    }
                }
            }
            Err(why) => {
                unreadable += 1;
                assert!(why.to_string().len() < 400, "{why}");
            }
        }
    });
    println!("{cut} cut, {same_as_before} private as they were, {unreadable} unreadable");
    assert!(cut > 0 && same_as_before > 0 && unreadable > 0);
}

#[test]
fn whatever_rules_a_group_has_only_open_ones_go_and_the_undo_brings_them_back() {
    each_case(|rng| {
        let count = rng.usize(..12);
        let before = ingress((0..count).map(|number| rule(rng, number)).collect());
        let plan = OpenIngress::plan(&before);
        let open = before.rules.iter().filter(|rule| rule.open).count();
        assert_eq!(plan.is_empty(), open == 0);
        drop(OpenIngress::notes(&before));
        for change in &plan.changes {
            let described = OpenIngress::describe(&before, change);
            assert_eq!((described.minus.len(), described.plus.len()), (open, 0));
        }
        let after = ingress(before.rules.iter().filter(|rule| !rule.open).cloned().collect());
        assert!(OpenIngress::same(&before, &before));
        let back = OpenIngress::revert(&before, &after);
        assert!(back.changes.len() <= open);
        assert!(OpenIngress::revert(&before, &before).is_empty());
        let stored = serde_json::to_string(&before).unwrap();
        assert_eq!(serde_json::from_str::<Ingress>(&stored).unwrap(), before);
    });
}

/// A sample as text, with where each of its values stands.
struct Sample {
    text: String,
    values: Vec<Range<usize>>,
}

fn all_samples() -> Vec<Sample> {
    let mut events: Vec<Value> = REGISTRY
        .iter()
        .flat_map(|meta| samples(meta.id))
        .map(|(_, event)| event)
        .filter(|event| event.to_string().len() < 2_500)
        .collect();
    events.push(manual("s3-public-acl", "photos"));
    events.push(json!({"source": "quell.operator", "id": "1", "detail": {
        "record": "0123456789abcdef0123", "account": ACCOUNT, "region": REGION}}));
    events.push(json!({"source": "quell.operator", "id": "1", "detail": {
        "identify": {"control": "s3-public-acl", "resource": "b"}, "account": ACCOUNT, "region": REGION}}));
    events.iter().map(sample).collect()
}

fn sample(event: &Value) -> Sample {
    let text = event.to_string();
    // Each value is found by a mark that is put in its place.
    let values = paths(event)
        .iter()
        .map(|path| {
            let mut marked = event.clone();
            let value = marked.pointer_mut(path).unwrap();
            let length = value.to_string().len();
            *value = json!("@mark@");
            let at = marked.to_string().find("\"@mark@\"").unwrap();
            at..at + length
        })
        .collect();
    Sample { text, values }
}

/// One of the samples with something about it changed; sometimes no event at all.
fn altered(rng: &mut Rng, samples: &[Sample]) -> String {
    let Sample { text, values } = one(rng, samples);
    match rng.u8(..10) {
        0 => json_text(rng, 4),
        1 => hostile(rng),
        2 => {
            let at = boundary(text, rng.usize(..text.len()));
            text[..at].to_owned()
        }
        3 | 4 => {
            let from = boundary(text, rng.usize(..text.len()));
            let to = boundary(text, (from + rng.usize(..40)).min(text.len()));
            let put = if rng.bool() { fragment(rng).to_owned() } else { String::new() };
            [&text[..from], &put, &text[to..]].concat()
        }
        _ => {
            let place = one(rng, values).clone();
            let put = match rng.u8(..3) {
                0 => json_text(rng, 3),
                1 => Value::from(hostile(rng)).to_string(),
                _ => {
                    let Sample { text, values } = one(rng, samples);
                    text[one(rng, values).clone()].to_owned()
                }
            };
            [&text[..place.start], &put, &text[place.end..]].concat()
        }
    }
}

fn boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Some JSON, or nearly.
fn json_text(rng: &mut Rng, depth: usize) -> String {
    const LEAVES: [&str; 22] = [
        "null",
        "true",
        "false",
        "0",
        "-1",
        "1e308",
        "1e999",
        "-0.0",
        "NaN",
        "18446744073709551616",
        "\"\"",
        "\"x\"",
        "\"aws.s3\"",
        "\"123456789012\"",
        "\"eu-west-1\"",
        "123456789012",
        "[]",
        "{}",
        "[[]]",
        "[null]",
        "\"\\ud800\"",
        "\"\\u0000\"",
    ];
    const NAMES: [&str; 12] = [
        "source",
        "detail",
        "detail-type",
        "account",
        "region",
        "id",
        "findings",
        "resource",
        "type",
        "Records",
        "omitted",
        "Statement",
    ];
    if depth == 0 || rng.u8(..3) == 0 {
        return (*one(rng, &LEAVES)).to_owned();
    }
    let items: Vec<String> = (0..rng.usize(..5))
        .map(|_| {
            let value = json_text(rng, depth - 1);
            if depth.is_multiple_of(2) {
                format!("\"{}\":{value}", one(rng, &NAMES))
            } else {
                value
            }
        })
        .collect();
    let items = items.join(",");
    if depth.is_multiple_of(2) { format!("{{{items}}}") } else { format!("[{items}]") }
}

/// A name, an id, an ARN, a piece of one, or none of all this.
fn name(rng: &mut Rng) -> String {
    const NAMES: [&str; 16] = [
        "photos",
        "i-0a1b2c3d",
        "i-0a1b2c3d4e5f60718",
        "sg-0a1b2c3d",
        "sg-0a1b2c3d4e5f60718",
        "launch-wizard-1",
        "arn:aws:s3:::photos",
        "arn:aws-cn:s3:::photos",
        "arn:aws:ec2:eu-west-1:123456789012:instance/i-0a1b2c3d",
        "arn:aws:ec2:eu-west-1:123456789012:security-group/sg-0a1b2c3d",
        "arn:aws:ec2:*:*:instance/i-0a1b2c3d",
        "10.0.0.1",
        "a..b",
        "photos-s3alias",
        "i-",
        "arn:",
    ];
    let text = (*one(rng, &NAMES)).to_owned();
    match rng.u8(..5) {
        0 => text,
        1 => hostile(rng),
        2 => format!("{text}{}", fragment(rng)),
        3 => format!("{}{text}", fragment(rng)),
        _ => {
            let at = rng.usize(..=text.len());
            format!("{}{}{}", &text[..at], fragment(rng), &text[at..])
        }
    }
}

/// A signal that the control wants, with the text wherever it takes names from.
fn signal(rng: &mut Rng, control: &str, text: &str) -> Signal {
    let trigger = match rng.u8(..6) {
        0 => Trigger::Manual { control: control.to_owned(), resource: text.to_owned() },
        1 => {
            let (generator, resource_type) = match control {
                "ec2-imdsv2" => ("security-control/EC2.8", "AwsEc2Instance"),
                "sg-open-ingress" => ("security-control/EC2.19", "AwsEc2SecurityGroup"),
                _ => ("security-control/S3.2", "AwsS3Bucket"),
            };
            Trigger::SecurityHub {
                generator: generator.to_owned(),
                resource_type: resource_type.to_owned(),
                resource: text.to_owned(),
                action: None,
            }
        }
        2 => {
            let (rule, resource_type) = match control {
                "ec2-imdsv2" => ("ec2-imdsv2-check", "AWS::EC2::Instance"),
                "sg-open-ingress" => ("restricted-ssh", "AWS::EC2::SecurityGroup"),
                _ => ("s3-bucket-public-read-prohibited", "AWS::S3::Bucket"),
            };
            Trigger::ConfigCompliance {
                rule: rule.to_owned(),
                resource_type: resource_type.to_owned(),
                resource: text.to_owned(),
            }
        }
        3 => Trigger::InstanceState { instance: text.to_owned(), state: "running".to_owned() },
        4 => Trigger::GuardDuty {
            kind: one(
                rng,
                &["Policy:S3/BucketAnonymousAccessGranted", "Backdoor:EC2/C&CActivity.B"],
            )
            .to_string(),
            severity: 8.0,
            resource: json!({
                "s3BucketDetails": [{"name": text}, {"name": "photos"}],
                "instanceDetails": {"instanceId": text},
            }),
            affected: Value::Null,
        },
        _ => {
            let (service, calls): (_, &[_]) = match control {
                "ec2-imdsv2" => {
                    ("ec2.amazonaws.com", &["RunInstances", "ModifyInstanceMetadataOptions"])
                }
                "sg-open-ingress" => (
                    "ec2.amazonaws.com",
                    &["AuthorizeSecurityGroupIngress", "ModifySecurityGroupRules"],
                ),
                "s3-public-policy" => ("s3.amazonaws.com", &["PutBucketPolicy"]),
                "s3-block-public-access" => (
                    "s3.amazonaws.com",
                    &["PutBucketPublicAccessBlock", "DeleteBucketPublicAccessBlock"],
                ),
                _ => ("s3.amazonaws.com", &["PutBucketAcl", "CreateBucket"]),
            };
            let some = |rng: &mut Rng, value: Value| if rng.bool() { value } else { Value::Null };
            Trigger::ApiCall {
                service: service.to_owned(),
                name: (*one(rng, calls)).to_owned(),
                parameters: some(
                    rng,
                    json!({
                        "bucketName": text, "groupId": text, "groupName": text, "instanceId": text,
                    }),
                ),
                response: some(
                    rng,
                    json!({
                        "instancesSet": {"items": [{"instanceId": text}, {}]},
                        "securityGroupRuleSet": {"items": [{"groupId": text}]},
                    }),
                ),
                resources: vec![text.to_owned(), format!("arn:aws:s3:::{text}")],
            }
        }
    };
    of(trigger)
}

fn of(trigger: Trigger) -> Signal {
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

/// A policy that may be public, private, partly both, or no policy.
fn bucket_policy(rng: &mut Rng) -> String {
    const PRINCIPALS: [&str; 12] = [
        "\"*\"",
        "{\"AWS\":\"*\"}",
        "{\"AWS\":[\"*\"]}",
        "{\"AWS\":[\"*\",\"123456789012\"]}",
        "{\"AWS\":[\"123456789012\", \"*\" , \"arn:aws:iam::123456789012:user/a\"]}",
        "{\"AWS\":\"arn:aws:iam::123456789012:root\",\"Service\":[\"*\"]}",
        "{\"Federated\":\"graph.facebook.com\",\"AWS\":[\"123456789012\"]}",
        "{\"Service\":\"cloudtrail.amazonaws.com\"}",
        "{\"AWS\":[]}",
        "{\"CanonicalUser\":\"abc\"}",
        "[]",
        "{}",
    ];
    const CONDITIONS: [&str; 8] = [
        "{\"IpAddress\":{\"aws:SourceIp\":\"0.0.0.0/0\"}}",
        "{\"IpAddress\":{\"aws:SourceIp\":[\"10.0.0.0/8\"]}}",
        "{\"StringEquals\":{\"aws:PrincipalOrgID\":\"o-a1b2c3\"}}",
        "{\"StringLike\":{\"aws:SourceVpc\":\"vpc-*\"}}",
        "{\"ForAllValues:StringEquals\":{\"aws:PrincipalOrgID\":\"o-a1b2c3\"}}",
        "{\"StringEqualsIfExists\":{\"aws:SourceVpc\":\"vpc-1\"}}",
        "{\"Null\":{\"aws:SourceVpc\":\"true\"}}",
        "{\"Bool\":{\"aws:SecureTransport\":true}}",
    ];
    if rng.u8(..20) == 0 {
        return json_text(rng, 4);
    }
    let blank = |rng: &mut Rng| *one(rng, &["", " ", "\n  ", "\t"]);
    let statements: Vec<String> = (0..rng.usize(..5))
        .map(|_| {
            let effect = one(rng, &["Allow", "Allow", "Allow", "Deny", "allow"]);
            let kind = one(rng, &["Principal", "Principal", "Principal", "NotPrincipal"]);
            let principal = one(rng, &PRINCIPALS);
            let sid = Value::from(if rng.u8(..4) == 0 { hostile(rng) } else { "s".to_owned() });
            let condition = match rng.u8(..3) {
                0 => format!(",\"Condition\":{}", one(rng, &CONDITIONS)),
                _ => String::new(),
            };
            let (one, two) = (blank(rng), blank(rng));
            format!(
                "{one}{{\"Sid\":{sid},{two}\"Effect\":\"{effect}\",\"{kind}\":{principal},\"Action\":\"s3:GetObject\",\"Resource\":\"*\"{condition}}}{two}"
            )
        })
        .collect();
    let list = match statements.as_slice() {
        [one] if rng.bool() => one.clone(),
        all => format!("[{}]", all.join(",")),
    };
    let mut text = format!("{{\"Version\":\"2012-10-17\",{}\"Statement\":{list}}}", blank(rng));
    if rng.u8(..8) == 0 {
        let from = boundary(&text, rng.usize(..text.len()));
        text.insert_str(from, fragment(rng));
    }
    text
}

fn ingress(rules: Vec<Rule>) -> Ingress {
    Ingress {
        group: "sg-0a1b2c3d".to_owned(),
        name: "web".to_owned(),
        vpc: None,
        rules,
        untracking: None,
    }
}

fn rule(rng: &mut Rng, number: usize) -> Rule {
    let source = match rng.u8(..5) {
        0 => Source::Ipv4("0.0.0.0/0".to_owned()),
        1 => Source::Ipv6("::/0".to_owned()),
        2 => Source::Ipv4(hostile(rng)),
        3 => Source::PrefixList(hostile(rng)),
        _ => Source::Group(hostile(rng)),
    };
    Rule {
        id: format!("sgr-{number}"),
        protocol: (*one(rng, &["tcp", "udp", "-1", "icmp", "47", "💥"])).to_owned(),
        from: *one(rng, &[None, Some(-1), Some(22), Some(i32::MIN), Some(i32::MAX)]),
        to: *one(rng, &[None, Some(-1), Some(22), Some(i32::MIN), Some(i32::MAX)]),
        open: matches!(source, Source::Ipv4(_) | Source::Ipv6(_)) && rng.bool(),
        source,
        peer: rng.bool().then(|| hostile(rng)),
        description: rng.bool().then(|| hostile(rng)),
        tags: (0..rng.usize(..3)).map(|_| (hostile(rng), hostile(rng))).collect(),
    }
}
