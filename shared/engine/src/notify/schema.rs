//! `docs/message.schema.json` says what machines read, and nothing else.

use std::{collections::BTreeSet, sync::LazyLock};

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Notice, bulletin::Subject, machine, samples};
use crate::{Finding, Outcome, text::hostile};

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../../docs/message.schema.json")).unwrap()
});

#[test]
fn every_outcome_is_as_the_schema_says() {
    for outcome in Outcome::ALL {
        check(&sent(samples::message(outcome)))
            .unwrap_or_else(|wrong| panic!("{outcome}: {wrong}"));
    }
}

#[test]
fn every_bulletin_is_as_the_schema_says() {
    for subject in [Subject::Folded, Subject::Digest, Subject::Sweep] {
        check(&sent(Notice::Bulletin(samples::bulletin(subject)))).unwrap();
    }
}

#[test]
fn the_schema_has_exactly_the_fields_that_are_sent() {
    let mut message = samples::filled(Outcome::Pending, &["x".to_owned()], 1);
    message.event.finding = Some(Finding { id: "1".into(), product_arn: "arn:".into() });
    message.channels = vec!["C1".to_owned()];
    compare(&SCHEMA["$defs"]["remediation"], &sent(message), "remediation");
    let mut bulletin = samples::bulletin(Subject::Folded);
    bulletin.lines.truncate(1);
    bulletin.lines[0].channels = vec!["C1".to_owned()];
    bulletin.notes = vec!["x".to_owned()];
    compare(&SCHEMA["$defs"]["bulletin"], &sent(Notice::Bulletin(bulletin)), "bulletin");
}

#[test]
fn another_version_or_kind_is_refused() {
    let known = sent(samples::message(Outcome::Fixed));
    for (at, value) in [
        ("/version", json!(2)),
        ("/version", json!("1")),
        ("/version", json!(null)),
        ("/kind", json!("magic")),
        ("/kind", json!("bulletin")),
        ("/outcome", json!("repaired")),
        ("/control/severity", json!("HIGH")),
        ("/detected", json!("yesterday")),
        ("/event/finding", json!({"id": "1"})),
        ("/applied", json!(null)),
        ("/notes", json!("one")),
        ("/left_out", json!(-1)),
    ] {
        let mut other = known.clone();
        *other.pointer_mut(at).unwrap() = value.clone();
        assert!(check(&other).is_err(), "{at} may be {value}");
    }
    for other in [json!({}), json!([]), json!("x"), json!(null)] {
        assert!(check(&other).is_err(), "{other}");
    }
}

#[test]
fn a_message_without_one_of_its_fields_is_refused() {
    let known = sent(samples::message(Outcome::Fixed));
    let mut removed = 0;
    for part in ["", "/control", "/resource", "/event", "/changes/0"] {
        for name in known.pointer(part).unwrap().as_object().unwrap().keys() {
            let mut other = known.clone();
            other.pointer_mut(part).unwrap().as_object_mut().unwrap().remove(name);
            assert!(check(&other).is_err(), "{part}/{name} may be missing");
            removed += 1;
        }
    }
    assert!(removed > 40, "{removed}");
}

#[test]
fn a_field_that_is_new_under_the_same_version_is_none_of_a_readers_business() {
    let mut newer = sent(samples::message(Outcome::Fixed));
    newer["weather"] = json!("fine");
    newer["control"]["weather"] = json!("fine");
    check(&newer).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_comes_is_as_the_schema_says(
        texts in prop::collection::vec(hostile::text(), 1..6),
        which in prop::sample::select(Outcome::ALL.to_vec()),
        lines in 0..4_usize,
    ) {
        check(&sent(samples::filled(which, &texts, lines))).unwrap();
    }
}

/// What a machine gets.
fn sent(notice: impl Into<Notice>) -> Value {
    serde_json::from_str(&machine::body(&notice.into()).unwrap()).unwrap()
}

fn check(json: &Value) -> Result<(), String> {
    fits(&SCHEMA, json, "it")
}

/// Whether a value fits a schema, by the keywords that the file uses: another one panics. The crates that know them all
/// would change features of crates that every function is built with.
fn fits(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    for (keyword, rule) in schema.as_object().unwrap() {
        let list = || rule.as_array().unwrap().iter();
        let holds = match keyword.as_str() {
            "$schema" | "$id" | "$defs" | "title" | "description" => true,
            "$ref" => {
                fits(referred(rule), value, at)?;
                true
            }
            "oneOf" => list().filter(|one| fits(one, value, at).is_ok()).count() == 1,
            "const" => value == rule,
            "enum" => list().any(|one| value == one),
            "type" if rule.is_array() => list().any(|one| is_of(one, value)),
            "type" => is_of(rule, value),
            "format" => {
                assert_eq!(rule, "date-time");
                value
                    .as_str()
                    .is_none_or(|time| time.ends_with('Z') && time.parse::<Timestamp>().is_ok())
            }
            "minimum" => value.as_i64().is_none_or(|number| number >= rule.as_i64().unwrap()),
            "required" => value.as_object().is_none_or(|fields| {
                list().all(|name| fields.contains_key(name.as_str().unwrap()))
            }),
            "properties" => {
                for (name, schema) in rule.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        fits(schema, value, &format!("{at}.{name}"))?;
                    }
                }
                true
            }
            "items" => {
                for value in value.as_array().into_iter().flatten() {
                    fits(rule, value, &format!("{at}[]"))?;
                }
                true
            }
            other => panic!("{at}: nobody here knows {other}"),
        };
        if !holds {
            return Err(format!("{at} is {value}, but {keyword} is {rule}"));
        }
    }
    Ok(())
}

fn is_of(kind: &Value, value: &Value) -> bool {
    match kind.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("nobody here knows the type {other}"),
    }
}

fn referred(to: &Value) -> &'static Value {
    SCHEMA.pointer(to.as_str().unwrap().trim_start_matches('#')).unwrap()
}

/// Every object has the fields that the schema has for it, and no other.
fn compare(schema: &Value, value: &Value, at: &str) {
    let schema = if schema["$ref"].is_null() { schema } else { referred(&schema["$ref"]) };
    match value {
        Value::Object(fields) => {
            let known = schema["properties"].as_object().unwrap_or_else(|| panic!("{at}"));
            let names = |of: &serde_json::Map<String, Value>| {
                of.keys().cloned().collect::<BTreeSet<String>>()
            };
            assert_eq!(names(known), names(fields), "{at}");
            for (name, value) in fields {
                compare(&known[name], value, &format!("{at}.{name}"));
            }
        }
        Value::Array(values) => {
            for value in values {
                compare(&schema["items"], value, at);
            }
        }
        plain => assert!(schema["properties"].is_null(), "{at} is {plain}"),
    }
}
