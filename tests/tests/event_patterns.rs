//! The matcher that stands in for EventBridge's in tests understands patterns as EventBridge does, as far as the rules
//! use them.

#![allow(clippy::expect_used, reason = "these are tests")]

use quamina::Quamina;
use serde_json::{Value, json};

#[test]
fn every_operator_of_the_rules_is_understood() {
    let cases = [
        (json!({"a": ["x", "y"]}), json!({"a": "y"}), true),
        (json!({"a": ["x"]}), json!({"a": ["z", "x"]}), true),
        (json!({"a": {"b": ["x"]}}), json!({"a": {"b": "x", "c": 1}, "d": 2}), true),
        (json!({"a": {"b": ["x"]}}), json!({"a": {"c": "x"}}), false),
        (json!({"a": ["x"], "b": ["y"]}), json!({"a": "x"}), false),
        (json!({"a": [true]}), json!({"a": true}), true),
        (json!({"a": [true]}), json!({"a": "true"}), false),
        (json!({"a": [{"exists": false}], "b": ["x"]}), json!({"b": "x"}), true),
        (json!({"a": [{"exists": false}], "b": ["x"]}), json!({"a": "e", "b": "x"}), false),
        (
            json!({"d": {"a": [{"exists": false}], "b": ["x"]}}),
            json!({"d": {"b": "x", "c": null}}),
            true,
        ),
        (
            json!({"d": {"a": [{"exists": false}], "b": ["x"]}}),
            json!({"d": {"b": "x", "a": ""}}),
            false,
        ),
        (json!({"a": [{"prefix": "Trojan:"}]}), json!({"a": "Trojan:EC2/DNS"}), true),
        (json!({"a": [{"prefix": "Trojan:"}, "other"]}), json!({"a": "other"}), true),
        (json!({"a": [{"suffix": "/S3.2"}]}), json!({"a": "security-control/S3.2"}), true),
        (json!({"a": [{"suffix": "/S3.2"}]}), json!({"a": "security-control/S3.20"}), false),
        (json!({"a": [{"wildcard": "*read*"}]}), json!({"a": "no-read-rule-1"}), true),
        (json!({"a": [{"wildcard": "*read*"}]}), json!({"a": "no-write-rule-1"}), false),
        (json!({"a": [{"numeric": [">=", 7.0]}]}), json!({"a": 7}), true),
        (json!({"a": [{"numeric": [">=", 7.0]}]}), json!({"a": 8.5}), true),
        (json!({"a": [{"numeric": [">=", 7]}]}), json!({"a": 6.9}), false),
        (json!({"a": [{"numeric": [">=", 7]}]}), json!({"a": "8"}), false),
    ];
    for (pattern, event, expected) in cases {
        assert_eq!(matches(&pattern, &event), expected, "{pattern} on {event}");
    }
}

/// All fields of one pattern are looked for in the same element of a list.
#[test]
fn fields_of_different_elements_do_not_add_up() {
    let pattern =
        json!({"findings": {"id": ["a"], "state": ["ACTIVE"], "of": {"type": ["bucket"]}}});
    let element = |id, state, of| json!({"id": id, "state": state, "of": of});
    let bucket = json!([{"type": "role"}, {"type": "bucket"}]);
    for (findings, expected) in [
        (json!([element("a", "ACTIVE", bucket.clone())]), true),
        (
            json!([element("b", "ACTIVE", bucket.clone()), element("a", "ACTIVE", bucket.clone())]),
            true,
        ),
        (json!([element("a", "ARCHIVED", bucket.clone()), element("b", "ACTIVE", bucket)]), false),
        (json!([element("a", "ACTIVE", json!([{"type": "role"}]))]), false),
    ] {
        assert_eq!(matches(&pattern, &json!({"findings": findings})), expected, "{findings}");
    }
}

fn matches(pattern: &Value, event: &Value) -> bool {
    let mut matcher = Quamina::<&str>::new();
    matcher.add_pattern("rule", &pattern.to_string()).expect("a pattern");
    !matcher.matches_for_event(event.to_string().as_bytes()).expect("an event").is_empty()
}
