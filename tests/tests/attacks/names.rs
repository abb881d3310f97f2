//! Names of resources that are more than names.

use std::collections::BTreeSet;

use quell_controls::{REGISTRY, with_control};
use quell_engine::{
    Control as _, Signal,
    error::EventFailure,
    policy::Mode,
    signal::{Heard, parse},
    text::console_link,
};
use quell_local::scenario::SETTINGS;
use quell_tests::attack::FRAGMENTS;
use serde_json::Value;

use crate::place::{Place, manual, paths, samples};

#[tokio::test]
async fn whatever_stands_for_a_resource_is_a_name_that_it_can_have_or_is_refused() {
    let place = Place::begin(Mode::Enforce).await;
    let worker = place.worker();
    let (mut tried, mut delivered, mut refused) = (0, 0, 0);
    // The account and the region of a setting are named by every envelope.
    for meta in REGISTRY.iter().filter(|meta| !SETTINGS.contains(&meta.id)) {
        let mut events = samples(meta.id);
        let shown = name_in(meta.id, &events);
        events.push(("manual".to_owned(), manual(meta.id, &shown)));
        // A part of Quell is shown as `events:rule/name`; calls have the name alone.
        let name = shown.rsplit('/').next().unwrap_or(&shown).to_owned();
        for (sample, event) in &events {
            for path in naming(meta.id, event, &name) {
                for hostile in hostile_names(&name) {
                    let mut event = event.clone();
                    let place_of = event.pointer_mut(&path).unwrap();
                    let text = place_of.as_str().unwrap();
                    let replaced = text.replace(&name, &hostile);
                    *place_of = if replaced == text { hostile.clone() } else { replaced }.into();
                    let about = || {
                        let shown: String = hostile.chars().take(60).collect();
                        format!("{} {sample} {path} {shown:?}", meta.id)
                    };
                    let text = event.to_string();
                    tried += 1;
                    let is_named = is_named(meta.id, &text, &about);
                    // Most are refused before a call: a few of those, and all others, are delivered.
                    if is_named || tried % 100 == 0 {
                        delivered += 1;
                        match worker.deliver(&text).await {
                            Ok(_) => {}
                            Err(EventFailure::Event(_)) => refused += 1,
                            Err(EventFailure::Failed(failures)) => {
                                refused += 1;
                                let said: Vec<_> =
                                    failures.iter().map(ToString::to_string).collect();
                                assert!(
                                    said.iter().all(|said| !said.contains(char::is_control)),
                                    "{}: {said:?}",
                                    about()
                                );
                            }
                            Err(error) => panic!("{}: {error}", about()),
                        }
                    }
                }
            }
        }
    }
    place.proxy.quiet().await;
    assert_eq!(place.effects(), [], "nothing is changed under such a name");
    let asked = place.named();
    for name in &asked {
        assert!(is_allowed(name), "AWS was asked for {name:?}");
    }
    println!(
        "{tried} hostile names, {delivered} delivered, {refused} of these refused; AWS was asked for {} names: {:?}",
        asked.len(),
        asked.iter().take(40).collect::<BTreeSet<_>>()
    );
    assert!(tried > 5_000);
}

/// Whether a control takes a name from the event. Each name that it takes is one that a resource can have.
fn is_named(control: &str, event: &str, about: &dyn Fn() -> String) -> bool {
    let Ok(heard) = parse(event) else { return false };
    let mut named = false;
    for heard in heard {
        let Heard::Signal(signal) = heard else { continue };
        // An error is typed, and repeats nothing of the name.
        if let Err(error) = quell_tests::targets(control, &signal) {
            let said = error.to_string();
            assert!(said.len() < 300 && said.is_ascii(), "{}: {said}", about());
        }
        with_control!(control, C => {
            for target in C::targets(&signal).unwrap_or_default() {
                named = true;
                assert!(is_allowed(&target.to_string()), "{}: {target}", about());
                let Signal { account, region, .. } = &signal;
                let arn = C::arn(&target, account, region);
                assert!(arn.starts_with("arn:aws:") && !arn.contains(char::is_control), "{arn}");
                let link = C::console(&target, region);
                assert!(
                    link.len() > 512 || console_link(&link) == Some(link.as_str()),
                    "{}: {link}",
                    about()
                );
            }
        });
    }
    named
}

/// What AWS lets buckets, instances, groups and accounts be called.
fn is_allowed(name: &str) -> bool {
    // The proxy names groups by their ARN, too.
    let name = name.strip_prefix(GROUP_ARN).unwrap_or(name);
    let of = |allowed: &str| {
        name.chars().all(|c| c.is_ascii_alphanumeric() || allowed.contains(c)) && !name.is_empty()
    };
    let is_id = |prefix: &str| {
        name.strip_prefix(prefix).is_some_and(|digits| {
            matches!(digits.len(), 8 | 17) && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
        })
    };
    let is_bucket = name.len() >= 3 && of(".-_") && !name.contains("..");
    let is_group = of(" ._-:/()#,@[]+=&;{}!$*") && !name.starts_with("sg-");
    name.len() <= 300 && (is_id("i-") || is_id("sg-") || is_bucket || is_group) || is_object(name)
}

/// A bucket and a key, which may be almost any text.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>
fn is_object(name: &str) -> bool {
    name.split_once('/').is_some_and(|(bucket, rest)| {
        is_allowed(bucket) && rest.len() <= 1200 && !rest.contains(char::is_control)
    })
}

const GROUP_ARN: &str = "arn:aws:ec2:eu-west-1:123456789012:security-group/";

/// What the control's own sample calls its resource.
fn name_in(control: &str, samples: &[(String, Value)]) -> String {
    let (_, violating) = samples.iter().find(|(name, _)| name == "violating.json").unwrap();
    let heard = parse(&violating.to_string()).unwrap();
    let Heard::Signal(signal) = &heard[0] else { panic!("{heard:?}") };
    quell_tests::targets(control, signal).unwrap().remove(0)
}

/// From where in the event the control takes the name.
fn naming(control: &str, event: &Value, name: &str) -> Vec<String> {
    let taken = |event: &Value| -> Vec<_> {
        let Ok(heard) = parse(&event.to_string()) else { return Vec::new() };
        let signals = heard.into_iter().filter_map(|heard| match heard {
            Heard::Signal(signal) => Some(quell_tests::targets(control, &signal).ok()),
            _ => None,
        });
        signals.collect()
    };
    let before = taken(event);
    let mut all = paths(event);
    all.retain(|path| {
        let mut event = event.clone();
        match event.pointer_mut(path) {
            Some(Value::String(text)) if text.contains(name) || path.ends_with("/groupName") => {
                *text = "../".to_owned();
                taken(&event) != before
            }
            _ => false,
        }
    });
    all
}

fn hostile_names(name: &str) -> Vec<String> {
    let mut all: Vec<String> = FRAGMENTS.iter().map(|part| (*part).to_owned()).collect();
    for part in FRAGMENTS {
        let middle = name.len() / 2;
        all.push(format!("{name}{part}"));
        all.push(format!("{part}{name}"));
        all.push(format!("{}{part}{}", &name[..middle], &name[middle..]));
    }
    all.extend(["x".repeat(128 * 1024), "💥".repeat(32 * 1024), format!("{name}\u{0}.png")]);
    all.extend([
        name.to_uppercase(),
        name.replace('-', "‐"),
        name.replace('e', "е"),
        format!("{name}/../other"),
        format!("../{name}"),
        format!("{name}?versionId=1"),
        format!("{name}#{name}"),
        format!("{name},{name}"),
        format!("{name}\n{name}"),
        format!("arn:aws:iam::123456789012:role/{name}"),
        format!("arn:evil:s3:::{name}"),
        format!("arn:aws:s3:::{name}/../../other"),
    ]);
    // The name itself, in other letters, may be a name as good as any.
    all.retain(|hostile| hostile != name);
    all
}
