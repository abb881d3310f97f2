//! Messages for tests, from the JSON that machines read.

use quell_engine::{
    Outcome,
    notify::{Bulletin, Message},
};
use serde_json::{Value, json};

pub(crate) const RECORD: &str = "5f0c6a1de2b94c77";
pub(crate) const PLAN: &str = "9b1f0c6a1de2b94c77aa";

pub(crate) fn message(outcome: Outcome) -> Message {
    let mut message = json!({
        "version": 1,
        "control": {
            "id": "s3-public-acl",
            "title": "S3 bucket ACLs grant nothing to the public",
            "risk": "The bucket's ACL lets anyone on the internet list its objects.",
            "severity": "high",
            "safety": "safe",
            "function": "s3-exposure",
            "runbook": "docs/runbooks/s3-public-acl.md",
        },
        "outcome": outcome,
        "mode": "enforce",
        "resource": {
            "name": "photos-2024",
            "arn": "arn:aws:s3:::photos-2024",
            "console": "https://eu-west-1.console.aws.amazon.com/s3/buckets/photos-2024?region=eu-west-1&tab=permissions",
        },
        "account": "123456789012",
        "region": "eu-west-1",
        "event": {
            "id": "7d0c2b5e-90a4-4f6e-8c11-3f6a2f1f0a55",
            "time": "2026-03-01T02:03:04Z",
        },
        "actor": {
            "principal": "user alice",
            "arn": "arn:aws:iam::123456789012:user/alice",
            "source_ip": "203.0.113.7",
            "user_agent": "aws-cli/2.15.0 md/Botocore#1.34",
            "invoked_by": null,
        },
        "detected": "2026-03-01T02:03:09.5Z",
        "changes": [{
            "action": "s3:PutBucketAcl",
            "effect": "set",
            "minus": ["READ to everyone (AllUsers)", "READ_ACP to everyone (AllUsers)"],
            "plus": [],
            "made": true,
        }],
        "applied": true,
        "verified": true,
        "record": RECORD,
        "revision": 2,
        "plan_hash": PLAN,
        "channels": [],
        "undo": format!("quell undo {RECORD}"),
        "exempt": format!("quell exempt add --record {RECORD} --days 7 --reason REASON"),
        "notes": ["Objects that are public by ACLs of their own stay so."],
        "left_out": 0,
    });
    let untouched = json!({"applied": false, "verified": null, "undo": null});
    let (order, reason) = (
        json!({
            "verb": "undo", "by": "arn:aws:iam::123456789012:user/bob", "person": "bob",
            "at": "2026-03-01T02:05:00Z",
        }),
        |why: &str| json!({"reason": why, "exempt": null}),
    );
    match outcome {
        Outcome::Observed => put(&mut message, &[&untouched, &json!({"mode": "observe"})]),
        Outcome::Partial => {
            let rest = json!({
                "action": "s3:PutPublicAccessBlock", "effect": "set",
                "minus": ["IgnorePublicAcls: off"], "plus": ["IgnorePublicAcls: on"], "made": false,
            });
            message["changes"].as_array_mut().unwrap().push(rest);
            let why = "s3:PutBucketPublicAccessBlock: throttled or unavailable: SlowDown";
            put(&mut message, &[&json!({"verified": false}), &reason(why)]);
        }
        Outcome::Failed => {
            put(&mut message, &[&untouched, &reason("s3:PutBucketAcl: denied: AccessDenied")])
        }
        Outcome::Refused => {
            put(
                &mut message,
                &[&untouched, &json!({"reason": "The resource was changed after Quell fixed it."})],
            );
        }
        Outcome::Pending => {
            let waits = json!({
                "mode": "approve",
                "approve": format!("quell approve {RECORD}"),
                "deny": format!("quell deny {RECORD}"),
                "expires": "2026-03-02T02:03:09Z",
            });
            put(&mut message, &[&untouched, &waits]);
        }
        Outcome::Parked => {
            let why = "the budget routine control s3-public-acl of the policy is used up";
            let resume = json!({"resume": format!("quell resume {RECORD}")});
            put(&mut message, &[&untouched, &resume, &reason(why)]);
        }
        Outcome::Denied => {
            let why = "denied by bob: the press kit is public on purpose";
            put(&mut message, &[&untouched, &json!({"mode": "approve", "reason": why})]);
        }
        Outcome::Undone => {
            let undone =
                json!({"undoes": "77c49be21d6a0c5f", "order": order, "undo": null, "exempt": null});
            put(&mut message, &[&undone]);
            let change = &mut message["changes"][0];
            change["plus"] = change["minus"].take();
            change["minus"] = json!([]);
        }
        _ => {}
    }
    if message["applied"] == false {
        message["changes"][0]["made"] = json!(false);
    }
    serde_json::from_value(message).unwrap()
}

/// Everything that untrusted text can reach, filled with it.
pub(crate) fn filled(outcome: Outcome, texts: &[String], lines: usize) -> Message {
    let mut next = texts.iter().cycle().cloned();
    let mut text = || next.next().unwrap_or_default();
    let mut filled = message(outcome);
    filled.control.id = text();
    filled.control.title = text();
    filled.control.risk = text();
    filled.control.function = text();
    filled.control.runbook = text();
    filled.mode = text();
    filled.resource.name = text();
    filled.resource.arn = text();
    filled.resource.console = text();
    filled.account = text();
    filled.region = text();
    filled.event.id = text();
    if let Some(actor) = &mut filled.actor {
        actor.principal = text();
        actor.source_ip = Some(text());
        actor.user_agent = Some(text());
        actor.invoked_by = Some(text());
    }
    let mut change = filled.changes[0].clone();
    change.description.action = text();
    change.description.minus = (0..lines).map(|_| text()).collect();
    change.description.plus = (0..lines).map(|_| text()).collect();
    filled.changes.push(change);
    for field in [
        &mut filled.record,
        &mut filled.undoes,
        &mut filled.approve,
        &mut filled.deny,
        &mut filled.resume,
        &mut filled.undo,
        &mut filled.exempt,
        &mut filled.reason,
        &mut filled.plan_hash,
        &mut filled.cause,
    ] {
        *field = Some(text());
    }
    filled.notes = (0..lines).map(|_| text()).collect();
    filled
}

/// One with so many lines, about this.
pub(crate) fn bulletin(name: &str, lines: usize) -> Bulletin {
    let line = json!({
        "severity": "high", "control": name, "outcome": "fixed", "actor": name,
        "account": name, "region": name, "example": name, "count": 9983, "untold": 9982,
    });
    let bulletin = json!({
        "version": 1,
        "subject": "folded",
        "from": "2026-03-01T02:00:00Z",
        "until": "2026-03-01T02:05:00Z",
        "total": 9984,
        "lines": vec![line; lines],
        "command": format!("quell records --since {name}"),
    });
    serde_json::from_value(bulletin).unwrap()
}

fn put(message: &mut Value, fields: &[&Value]) {
    for (name, value) in fields.iter().flat_map(|fields| fields.as_object().unwrap()) {
        message[name] = value.clone();
    }
}
