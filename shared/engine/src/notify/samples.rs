//! Notices for tests. Other crates include this file: it knows of the crate that it is in nothing.

#![allow(dead_code, reason = "not everyone needs each")]

use quell_engine::{
    Actor, Description, Effect, Finding, Meta, Outcome, Safety, Severity,
    ledger::Verb,
    notify::{Bulletin, Change, Control, Event, Message, Order, Resource, VERSION, bulletin},
};

pub(crate) const RECORD: &str = "5f0c6a1de2b94c77";
pub(crate) const ORIGINAL: &str = "77c49be21d6a0c5f";
pub(crate) const PLAN: &str = "0e5d1f6a7b8c9d0e1f2a";

pub(crate) const META: Meta = meta("s3-public-acl", Safety::Safe);

pub(crate) const fn meta(id: &'static str, safety: Safety) -> Meta {
    Meta {
        id,
        title: "S3 bucket ACLs grant nothing to the public",
        risk: "The bucket's ACL lets anyone on the internet list its objects.",
        severity: Severity::High,
        safety,
        reversible: true,
        satisfies: &[],
        function: "s3-exposure",
        listens: &[],
        discovers: &[],
        reads: &[],
        writes: &[],
        baseline: false,
        visible_within: 0,
        source: "",
    }
}

pub(crate) fn message(outcome: Outcome) -> Message {
    let mut message = Message {
        version: VERSION,
        control: Control::from(&META),
        outcome,
        mode: "enforce".to_owned(),
        resource: Resource {
            name: "photos-2024".to_owned(),
            arn: "arn:aws:s3:::photos-2024".to_owned(),
            console: "https://eu-west-1.console.aws.amazon.com/s3/buckets/photos-2024?region=eu-west-1&tab=permissions"
                .to_owned(),
        },
        account: "123456789012".to_owned(),
        region: "eu-west-1".to_owned(),
        event: Event {
            id: "7d0c2b5e-90a4-4f6e-8c11-3f6a2f1f0a55".to_owned(),
            time: Some("2026-03-01T02:03:04Z".parse().unwrap()),
            finding: None,
        },
        actor: Some(Actor {
            key: None,
            principal: "user alice".to_owned(),
            arn: Some("arn:aws:iam::123456789012:user/alice".to_owned()),
            source_ip: Some("203.0.113.7".to_owned()),
            user_agent: Some("aws-cli/2.15.0 md/Botocore#1.34".to_owned()),
            invoked_by: None,
        }),
        detected: "2026-03-01T02:03:09.5Z".parse().unwrap(),
        since: Some("2026-03-01T02:03:10.9Z".parse().unwrap()),
        changes: vec![Change {
            description: Description {
                action: "s3:PutBucketAcl".to_owned(),
                effect: Effect::Set,
                minus: vec!["READ to everyone (AllUsers)".to_owned(), "READ_ACP to everyone (AllUsers)".to_owned()],
                plus: vec![],
            },
            made: true,
        }],
        applied: true,
        verified: Some(true),
        fixed_at: Some("2026-03-01T02:03:10.7Z".parse().unwrap()),
        record: Some(RECORD.to_owned()),
        revision: 3,
        plan_hash: Some(PLAN.to_owned()),
        undoes: None,
        order: None,
        approve: None,
        deny: None,
        expires: None,
        resume: None,
        undo: Some(format!("quell undo {RECORD}")),
        exempt: Some(format!("quell exempt add --record {RECORD} --days 7 --reason REASON")),
        notes: vec!["Objects that are public by ACLs of their own stay so.".to_owned()],
        cause: None,
        reason: None,
        left_out: 0,
        channels: Vec::new(),
    };
    let untouched = |message: &mut Message| {
        message.changes[0].made = false;
        (message.applied, message.verified, message.undo) = (false, None, None);
        message.fixed_at = None;
    };
    match outcome {
        Outcome::Observed => {
            untouched(&mut message);
            message.mode = "observe".to_owned();
        }
        Outcome::Partial => {
            (message.verified, message.exempt) = (Some(false), None);
            message.changes.push(Change {
                description: Description {
                    action: "s3:PutPublicAccessBlock".to_owned(),
                    effect: Effect::Set,
                    minus: vec!["IgnorePublicAcls: off".to_owned()],
                    plus: vec!["IgnorePublicAcls: on".to_owned()],
                },
                made: false,
            });
            message.reason = Some("s3:PutBucketPublicAccessBlock: throttled or unavailable; it is tried again: SlowDown".to_owned());
        }
        Outcome::Failed => {
            untouched(&mut message);
            message.exempt = None;
            message.reason = Some(
                "s3:PutBucketAcl: denied; allow it in the function's role, or look for a service control policy that denies it: AccessDenied: Access Denied"
                    .to_owned(),
            );
        }
        Outcome::Refused => {
            untouched(&mut message);
            message.reason = Some("The resource was changed after Quell fixed it.".to_owned());
        }
        Outcome::Pending => {
            untouched(&mut message);
            message.mode = "approve".to_owned();
            message.approve = Some(format!("quell approve {RECORD}"));
            message.deny = Some(format!("quell deny {RECORD}"));
            message.expires = Some("2026-03-02T02:03:09Z".parse().unwrap());
        }
        Outcome::Parked => {
            untouched(&mut message);
            message.exempt = None;
            message.resume = Some(format!("quell resume {RECORD}"));
            message.reason = Some("the budget routine control s3-public-acl of the policy is used up; `quell resume` goes on with it".to_owned());
        }
        Outcome::Denied => {
            untouched(&mut message);
            message.mode = "approve".to_owned();
            message.reason = Some("denied by bob: the press kit is public on purpose".to_owned());
        }
        Outcome::Undone => {
            message.undoes = Some(ORIGINAL.to_owned());
            message.order = Some(order(Verb::Undo));
            (message.undo, message.exempt) = (None, None);
            let change = &mut message.changes[0].description;
            change.plus = std::mem::take(&mut change.minus);
        }
        _ => {}
    }
    message
}

/// Who approved, or had it undone.
pub(crate) fn order(verb: Verb) -> Order {
    Order {
        verb,
        by: "arn:aws:iam::123456789012:user/bob".to_owned(),
        person: Some("bob".to_owned()),
        at: "2026-03-01T02:05:00Z".parse().unwrap(),
    }
}

/// Everything that untrusted text can reach, filled with it.
pub(crate) fn filled(outcome: Outcome, texts: &[String], lines: usize) -> Message {
    let mut next = texts.iter().cycle().cloned();
    let mut text = || next.next().unwrap_or_default();
    let mut message = message(outcome);
    message.control.id = text();
    message.control.title = text();
    message.control.risk = text();
    message.control.function = text();
    message.control.runbook = text();
    message.mode = text();
    message.resource = Resource { name: text(), arn: text(), console: text() };
    message.account = text();
    message.region = text();
    message.event.id = text();
    message.event.finding = Some(Finding { id: text(), product_arn: text() });
    message.actor = Some(Actor {
        key: None,
        principal: text(),
        arn: Some(text()),
        source_ip: Some(text()),
        user_agent: Some(text()),
        invoked_by: Some(text()),
    });
    message.changes.push(Change {
        description: Description {
            action: text(),
            effect: Effect::Set,
            minus: (0..lines).map(|_| text()).collect(),
            plus: (0..lines).map(|_| text()).collect(),
        },
        made: false,
    });
    message.record = Some(text());
    message.undoes = Some(text());
    message.order = Some(Order { by: text(), person: Some(text()), ..order(Verb::Approve) });
    message.approve = Some(text());
    message.deny = Some(text());
    message.expires = Some(jiff::Timestamp::MAX);
    message.resume = Some(text());
    message.undo = Some(text());
    message.exempt = Some(text());
    message.notes = (0..lines).map(|_| text()).collect();
    message.reason = Some(text());
    message.cause = Some(text());
    message
}

pub(crate) fn bulletin(subject: bulletin::Subject) -> Bulletin {
    let line = |severity, control: &str, outcome, actor: Option<&str>, count| bulletin::Line {
        severity,
        control: control.to_owned(),
        outcome,
        actor: actor.map(str::to_owned),
        account: "123456789012".to_owned(),
        region: "eu-west-1".to_owned(),
        example: "photos-2024".to_owned(),
        count,
        untold: count.saturating_sub(1),
        channels: Vec::new(),
    };
    Bulletin {
        version: VERSION,
        subject,
        from: "2026-03-01T02:00:00Z".parse().unwrap(),
        until: "2026-03-01T02:05:00Z".parse().unwrap(),
        total: 9_984,
        lines: vec![
            line(
                Severity::High,
                "s3-public-acl",
                Outcome::Fixed,
                Some("role deploy (session ci)"),
                9_983,
            ),
            line(Severity::High, "sg-open-ingress", Outcome::Parked, None, 3),
        ],
        command: "quell records --since 2026-03-01T02:00:00Z".to_owned(),
        notes: Vec::new(),
    }
}
