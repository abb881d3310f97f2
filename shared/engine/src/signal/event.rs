//! From the text of an event to signals.

use std::fmt::{self, Display, Formatter};

use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    EventError, Reason, Refusal, Signal, Trigger, access_analyzer, cloudtrail, config,
    fields::{Fields, brief, capped},
    guardduty, health, instance_state, manual, operator, schedule, securityhub, sign_in,
};
use crate::{partition, text::redacted};

/// More than EventBridge delivers, and so little that the event still fits a dead-letter queue (SQS takes 1 MiB).
const MAX_BYTES: usize = 1_000_000;

/// Real events have about twelve levels.
const MAX_DEPTH: usize = 64;

/// An empty list of two bytes takes more than a hundred in memory. What CloudTrail keeps of a request and of its
/// response, 100 KB each, cannot hold as many: nobody can have an event refused for that.
const MAX_VALUES: usize = 150_000;

/// The longest key that is kept in clear. A finding's ARN and time are shorter.
const MAX_KEY: usize = 512;

/// An event's id is only told, and is a UUID where AWS gives it.
const MAX_ID: usize = 256;

/// What an event, or one finding in it, comes to.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant)] // An event gives one of these, seldom more.
pub enum Heard {
    Signal(Signal),
    Ignored(Ignored),
    Refused(Refused),
}

/// An event that nothing is to be done about.
#[derive(Clone, Debug, PartialEq)]
pub struct Ignored {
    pub reason: Reason,
    /// EventBridge's id of the event. Empty if it has none.
    pub event_id: String,
}

/// An event that must not lead to a call to AWS, because it is not of our account or partition.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    pub refusal: Refusal,
    /// What stands for the account or the region. Short, and without control characters.
    pub named: String,
    /// EventBridge's id of the event. Empty if it has none.
    pub event_id: String,
}

impl Display for Refused {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is {}", self.named, self.refusal)
    }
}

/// What the reader of events has to know of its surroundings.
#[derive(Clone, Debug, Default)]
pub struct ParseOptions {
    /// The account that is looked after: events of every other are refused. `None`: events of all accounts are
    /// read, as offline tools do.
    pub account: Option<String>,
    /// The region that the function runs in: events of regions in other partitions are refused. `None`: events of all
    /// partitions are read.
    pub region: Option<String>,
    /// Whether sample findings count as real ones.
    pub samples: bool,
    /// Lambda's request id, which stays the same when an asynchronous invocation is tried again. It tells two manual
    /// events apart that have neither id nor time.
    pub delivery: Option<String>,
}

/// Reads an event of any account.
pub fn parse(event: &str) -> Result<Vec<Heard>, EventError> {
    parse_for(event, &ParseOptions::default())
}

/// Reads an event. It gives at least one result; Security Hub's give one for each resource of each finding.
///
/// An error means that the event is malformed. Calls that failed and findings that passed are ignored whatever their
/// account, so only what might have been acted upon is refused.
pub fn parse_for(event: &str, options: &ParseOptions) -> Result<Vec<Heard>, EventError> {
    if event.len() > MAX_BYTES {
        return Err(EventError::TooLarge { bytes: event.len(), limit: MAX_BYTES });
    }
    measure(event)?;
    let value: Value = serde_json::from_str(event).map_err(|error| EventError::not_json(&error))?;
    let root = Fields::root(&value)?;
    if let Some(what) = other_shape(&root) {
        return Err(EventError::OtherShape { what });
    }
    let event = Envelope { source: root.required_text("source")?, root, options };
    match hear(&event) {
        Ok(heard) => Ok(heard.into_iter().map(|heard| event.of_partition(heard)).collect()),
        Err(stop) => Ok(vec![event.stopped(stop)?]),
    }
}

fn hear(event: &Envelope<'_>) -> Result<Vec<Heard>, Stop> {
    if event.source == manual::SOURCE {
        return one(manual::hear(event));
    }
    if event.source == operator::SOURCE {
        return one(operator::hear(event));
    }
    if !is_of_aws(event.source) {
        return Err(Reason::MockSource { source: brief(event.source) }.into());
    }
    let kind = event.root.required_text("detail-type")?;
    match (event.source, kind) {
        (_, "AWS API Call via CloudTrail" | "AWS Console Action via CloudTrail") => {
            one(cloudtrail::hear(event))
        }
        (_, "AWS Service Event via CloudTrail") => Err(Reason::ServiceEvent.into()),
        // The documentation spells it in both ways.
        (
            "aws.signin",
            "AWS Console Sign In via CloudTrail" | "AWS Console Signin via CloudTrail",
        ) => one(sign_in::hear(event)),
        ("aws.guardduty", "GuardDuty Finding") => one(guardduty::hear(event)),
        ("aws.config", "Config Rules Compliance Change") => one(config::hear(event)),
        (
            "aws.securityhub",
            "Security Hub Findings - Imported" | "Security Hub Findings - Custom Action",
        ) => securityhub::hear(event),
        ("aws.health", "AWS Health Event" | "AWS Health Abuse Event") => one(health::hear(event)),
        ("aws.access-analyzer", kind) if kind.contains("Preview") => {
            Err(Reason::AccessPreview.into())
        }
        ("aws.access-analyzer", kind) if kind.contains("Finding") => {
            one(access_analyzer::hear(event))
        }
        ("aws.ec2", "EC2 Instance State-change Notification") => one(instance_state::hear(event)),
        ("aws.events" | "aws.scheduler", "Scheduled Event") => one(schedule::hear(event)),
        (source, kind) => {
            Err(Reason::UnhandledKind { source: brief(source), detail_type: brief(kind) }.into())
        }
    }
}

fn one(signal: Result<Signal, Stop>) -> Result<Vec<Heard>, Stop> {
    Ok(vec![Heard::Signal(signal?)])
}

/// Why reading ended without a signal.
#[derive(Debug)]
pub(super) enum Stop {
    Ignore(Reason),
    Refuse(Refusal, String),
    Malformed(EventError),
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Self {
        Self::Ignore(reason)
    }
}

impl From<EventError> for Stop {
    fn from(error: EventError) -> Self {
        Self::Malformed(error)
    }
}

/// The part that all events of EventBridge share.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    pub(super) root: Fields<'a>,
    pub(super) source: &'a str,
    pub(super) options: &'a ParseOptions,
}

impl<'a> Envelope<'a> {
    pub(super) fn detail(&self) -> Result<Fields<'a>, EventError> {
        self.root.required_object("detail")
    }

    pub(super) fn id(&self) -> Result<&'a str, EventError> {
        self.root.required_text("id")
    }

    pub(super) fn account(&self) -> Result<&'a str, EventError> {
        account(&self.root, "account")?.ok_or_else(|| self.root.missing("account"))
    }

    pub(super) fn region(&self) -> Result<String, EventError> {
        region(&self.root, "region")?.ok_or_else(|| self.root.missing("region"))
    }

    /// Ends the reading if the account is not ours.
    pub(super) fn admit(&self, account: &str) -> Result<String, Stop> {
        if !is_account(account) {
            return Err(Stop::Refuse(Refusal::NotAnAccount, brief(account)));
        }
        if self.options.account.as_deref().is_some_and(|own| own != account) {
            return Err(Stop::Refuse(Refusal::ForeignAccount, brief(account)));
        }
        Ok(account.to_owned())
    }

    /// The account of a finding that also names one. Both must be ours: it may have been forwarded from another
    /// account's detector. What is no account id there names no account.
    pub(super) fn admit_finding(&self, named: Option<&str>) -> Result<String, Stop> {
        let sender = self.admit(self.account()?)?;
        match named.filter(|named| is_account(named)) {
            Some(named) => self.admit(named),
            None => Ok(sender),
        }
    }

    /// Refuses a signal of another partition: its region would send signed requests to hosts of another owner.
    fn of_partition(&self, heard: Heard) -> Heard {
        match (heard, &self.options.region) {
            (Heard::Signal(signal), Some(own))
                if partition::of(&signal.region) != partition::of(own) =>
            {
                Heard::Refused(Refused {
                    refusal: Refusal::ForeignPartition,
                    named: signal.region,
                    event_id: signal.event_id,
                })
            }
            (heard, _) => heard,
        }
    }

    pub(super) fn signal(
        &self,
        trigger: Trigger,
        account: String,
        region: String,
        deduplication: String,
    ) -> Result<Signal, EventError> {
        Ok(Signal {
            trigger,
            account,
            region,
            event_id: event_id(self.id()?),
            deduplication,
            time: time(self.root.hint("time")),
            actor: None,
            request_id: None,
            finding: None,
        })
    }

    pub(super) fn stopped(&self, stop: Stop) -> Result<Heard, EventError> {
        let event_id = brief(self.root.hint("id").unwrap_or_default());
        match stop {
            Stop::Ignore(reason) => Ok(Heard::Ignored(Ignored { reason, event_id })),
            Stop::Refuse(refusal, named) => {
                Ok(Heard::Refused(Refused { refusal, named, event_id }))
            }
            Stop::Malformed(error) => Err(error),
        }
    }
}

/// Text that stands for an account. A number is an error: its leading zeros may be lost.
pub(super) fn account<'a>(fields: &Fields<'a>, field: &str) -> Result<Option<&'a str>, EventError> {
    match fields.value(field) {
        None => Ok(None),
        Some(Value::String(account)) => Ok(Some(account)),
        Some(other) => Err(fields.wrong_type(field, "text of twelve digits", other)),
    }
}

pub(super) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A region by its form, because it becomes part of host names. Global services answer in us-east-1.
pub(super) fn region(fields: &Fields<'_>, field: &str) -> Result<Option<String>, EventError> {
    let Some(text) = fields.text(field)? else { return Ok(None) };
    if matches!(text, "global" | "aws-global") {
        return Ok(Some("us-east-1".to_owned()));
    }
    let is_region = text.len() <= 32
        && text.contains('-')
        && text.split('-').all(|part| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        })
        && text.starts_with(|first: char| first.is_ascii_lowercase());
    if is_region {
        Ok(Some(text.to_owned()))
    } else {
        Err(EventError::unusable(fields.path(field), "a region", text))
    }
}

pub(super) fn time(text: Option<&str>) -> Option<Timestamp> {
    text.and_then(|text| text.parse().ok())
}

/// A deduplication key of these parts, of bounded length and without secrets.
pub(super) fn key(parts: &[&str]) -> String {
    let key = parts.join("#");
    let is_plain = key.len() <= MAX_KEY && redacted(&key) == key;
    if is_plain { key } else { digest(&key) }
}

/// What stands for an event's id.
pub(super) fn event_id(id: &str) -> String {
    capped(id, MAX_ID)
}

pub(super) fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// AWS reserves `aws.` for itself. Look-alikes with a blank or a foreign letter are not AWS's.
fn is_of_aws(source: &str) -> bool {
    source.strip_prefix("aws.").is_some_and(|service| {
        !service.is_empty()
            && service
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b))
    })
}

/// Invocations of Lambda that do not come from EventBridge, if someone connects them.
fn other_shape(root: &Fields<'_>) -> Option<&'static str> {
    if root.has("Records") {
        Some("a batch of records, as SNS, SQS or S3 send it")
    } else if root.has("invokingEvent") {
        Some("an invocation of a custom AWS Config rule")
    } else {
        None
    }
}

/// Whether there is too much of it, without building anything: a parser that recurses and allocates comes later.
fn measure(event: &str) -> Result<(), EventError> {
    let (mut depth, mut values) = (0_usize, 0_usize);
    let mut in_text = false;
    let mut escaped = false;
    for byte in event.bytes() {
        if in_text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_text = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_text = true,
            b'{' | b'[' => {
                depth += 1;
                values += 1;
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => values += 1,
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(EventError::TooDeep { limit: MAX_DEPTH });
        }
        if values > MAX_VALUES {
            return Err(EventError::TooMany { limit: MAX_VALUES });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::*;
    use crate::signal::samples::{self, ACCOUNT};

    fn message(event: &str) -> String {
        parse(event).unwrap_err().to_string()
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(
            message("{\n  \"source\": nope"),
            "the event is not JSON: expected ident at line 2, column 14"
        );
        assert_eq!(
            message(""),
            "the event is not JSON: EOF while parsing a value at line 1, column 0"
        );
        assert_eq!(message("[1]"), "the event is a list, not an object");
        assert_eq!(message("{}"), "`source` is missing or empty");
        assert_eq!(message(r#"{"source": 7}"#), "`source` is a number, not text");
        assert_eq!(message(r#"{"source": "aws.s3"}"#), "`detail-type` is missing or empty");

        for (field, value, expected) in [
            ("detail", Value::Null, "`detail` is missing or empty"),
            ("detail", json!("text"), "`detail` is text, not an object"),
            ("id", Value::Null, "`id` is missing or empty"),
            ("account", Value::Null, "`account` is missing or empty"),
            (
                "account",
                json!(123_456_789_012_u64),
                "`account` is a number, not text of twelve digits",
            ),
            ("region", json!(""), "`region` is missing or empty"),
            ("region", json!("evil.example/"), "`region` is `evil.example/`, not a region"),
        ] {
            let mut event = samples::api_call();
            event[field] = value;
            assert_eq!(message(&event.to_string()), expected);
        }
    }

    #[test]
    fn errors_repeat_no_control_characters() {
        let mut event = samples::api_call();
        event["region"] = json!(format!("eu\u{1b}[31m\n{}", "x".repeat(1000)));
        let message = message(&event.to_string());
        assert!(!message.contains(char::is_control));
        assert!(message.chars().count() < 200);
    }

    #[test]
    fn size_and_depth_have_limits() {
        let large = format!("{{\"padding\":\"{}\"}}", "x".repeat(MAX_BYTES));
        assert_eq!(
            parse(&large),
            Err(EventError::TooLarge { bytes: large.len(), limit: MAX_BYTES })
        );

        for open in ["[", "{\"a\":"] {
            let deep = open.repeat(200);
            assert_eq!(parse(&deep), Err(EventError::TooDeep { limit: MAX_DEPTH }));
        }
        let mut event = samples::api_call();
        event["detail"]["requestParameters"]["note"] = json!("[".repeat(200));
        assert!(matches!(parse(&event.to_string()).unwrap()[0], Heard::Signal(_)));

        let mut nested = json!({});
        for _ in 0..61 {
            nested = json!({"a": nested});
        }
        event["detail"]["requestParameters"] = nested;
        assert!(matches!(parse(&event.to_string()).unwrap()[0], Heard::Signal(_)));
    }

    #[test]
    fn other_invocations_are_named() {
        assert_eq!(
            message(r#"{"Records": [{"Sns": {"Message": "{}"}}]}"#),
            "the event is a batch of records, as SNS, SQS or S3 send it, not an event as EventBridge sends it"
        );
        assert_eq!(
            message(r#"{"invokingEvent": "{}", "configRuleName": "r"}"#),
            "the event is an invocation of a custom AWS Config rule, not an event as EventBridge sends it"
        );
    }

    #[test]
    fn sources_of_others_are_ignored() {
        for source in ["awshealth.mock", "my.app", "aws.s3 ", " aws.s3", "aws.ѕ3", "aws.", "AWS.s3"]
        {
            let mut event = samples::api_call();
            event["source"] = json!(source);
            assert_eq!(
                samples::reason(&event),
                Reason::MockSource { source: source.to_owned() },
                "{source}"
            );
        }
    }

    #[test]
    fn kinds_that_nobody_wants_need_nothing_but_a_name() {
        let event =
            json!({"source": "aws.codebuild", "detail-type": "CodeBuild Build State Change"});
        assert_eq!(
            samples::reason(&event).to_string(),
            "no control wants `CodeBuild Build State Change` of `aws.codebuild`"
        );
        let event = json!({"source": "aws.kms", "detail-type": "AWS Service Event via CloudTrail"});
        assert_eq!(samples::reason(&event), Reason::ServiceEvent);
    }

    #[test]
    fn a_foreign_account_is_refused_in_every_kind() {
        let own = ParseOptions { account: Some(ACCOUNT.to_owned()), ..ParseOptions::default() };
        let other =
            ParseOptions { account: Some("210987654321".to_owned()), ..ParseOptions::default() };
        for event in samples::all() {
            let event = event.to_string();
            let heard = parse_for(&event, &own).unwrap();
            assert!(heard.iter().all(|heard| matches!(heard, Heard::Signal(_))), "{event}");
            let heard = parse_for(&event, &other).unwrap();
            let Heard::Refused(refused) = &heard[0] else { panic!("{heard:?}") };
            assert_eq!(refused.refusal, Refusal::ForeignAccount);
            assert_eq!(
                refused.to_string(),
                format!("`{ACCOUNT}` is not the account that this function looks after")
            );
        }
    }

    #[test]
    fn a_region_of_another_partition_is_refused() {
        let own = ParseOptions { region: Some("eu-west-1".to_owned()), ..ParseOptions::default() };
        let mut event = samples::api_call();
        for region in ["eu-west-1", "us-east-1", "me-central-1"] {
            event["region"] = json!(region);
            let heard = parse_for(&event.to_string(), &own).unwrap();
            assert!(matches!(heard[0], Heard::Signal(_)), "{region}");
        }
        for region in ["cn-north-1", "us-gov-west-1", "us-iso-east-1", "us-isob-east-1"] {
            event["region"] = json!(region);
            let heard = parse_for(&event.to_string(), &own).unwrap();
            let Heard::Refused(refused) = &heard[0] else { panic!("{heard:?}") };
            assert_eq!(
                refused.to_string(),
                format!("`{region}` is not a region of the partition that this function runs in")
            );
        }
    }

    #[test]
    fn a_forged_envelope_is_refused() {
        let own = ParseOptions { account: Some(ACCOUNT.to_owned()), ..ParseOptions::default() };
        // Security Hub and Access Analyzer report in one account what is in another: there the finding counts.
        for mut event in samples::all() {
            if ["aws.securityhub", "aws.access-analyzer"]
                .contains(&event["source"].as_str().unwrap())
            {
                continue;
            }
            for forged in
                ["210987654321", "", "12345", "１２３４５６７８９０１２", "123456789012\n"]
            {
                event["account"] = json!(forged);
                let heard = parse_for(&event.to_string(), &own).unwrap();
                assert!(matches!(heard[0], Heard::Refused(_)), "{event}");
            }
        }
    }

    #[test]
    fn long_keys_are_digested() {
        assert_eq!(key(&["a", "b"]), "a#b");
        assert_eq!(key(&["a", &"x".repeat(4000)]).len(), 64);
    }

    #[test]
    fn every_field_of_every_kind_may_have_any_type() {
        let stand_ins = [
            Value::Null,
            json!(true),
            json!(-1.5e300),
            json!(""),
            json!("x"),
            json!([]),
            json!([[null]]),
            json!({}),
        ];
        for event in samples::all() {
            for path in paths(&event) {
                for stand_in in &stand_ins {
                    let mut event = event.clone();
                    *event.pointer_mut(&path).unwrap() = stand_in.clone();
                    check(&event.to_string());
                }
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in ".{0,200}") {
            check(&text);
        }

        #[test]
        fn no_json_makes_it_panic(value in any_json()) {
            check(&value.to_string());
        }

        #[test]
        fn no_change_to_a_sample_makes_it_panic(
            sample in any::<prop::sample::Index>(),
            place in any::<prop::sample::Index>(),
            value in any_json(),
        ) {
            let mut event = sample.get(&samples::all()).clone();
            let path = place.get(&paths(&event)).clone();
            *event.pointer_mut(&path).unwrap() = value;
            check(&event.to_string());
        }

        #[test]
        fn no_truncation_makes_it_panic(
            sample in any::<prop::sample::Index>(),
            at in any::<prop::sample::Index>(),
        ) {
            let text = sample.get(&samples::all()).to_string();
            let mut at = at.index(text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            prop_assert!(parse(&text[..at]).is_err());
        }
    }

    /// What holds for any text at all.
    fn check(event: &str) {
        match parse(event) {
            Ok(heard) => {
                assert!(!heard.is_empty());
                for heard in heard {
                    match heard {
                        Heard::Signal(signal) => {
                            assert!(is_account(&signal.account));
                            assert!(!signal.region.is_empty());
                            assert!(!signal.deduplication.is_empty());
                            assert!(signal.deduplication.len() <= MAX_KEY);
                        }
                        Heard::Ignored(ignored) => quiet(&ignored.reason.to_string()),
                        Heard::Refused(refused) => quiet(&refused.to_string()),
                    }
                }
            }
            Err(error) => quiet(&error.to_string()),
        }
    }

    fn quiet(message: &str) {
        assert!(!message.contains(char::is_control), "{message:?}");
        assert!(message.len() < 1000);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,20}".prop_map(Value::from),
            "(aws.(ec2|s3|config|guardduty|securityhub|health)|true|12[0-9]{10}|eu-west-1)"
                .prop_map(Value::from),
        ];
        let name = "(source|detail|detail-type|account|region|id|findings|resources|type|.{0,8})";
        leaf.prop_recursive(6, 64, 8, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::vec((name, inner), 0..8)
                    .prop_map(|pairs| Value::from(pairs.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    /// JSON pointers to all values below the root.
    fn paths(event: &Value) -> Vec<String> {
        fn walk(value: &Value, path: &str, all: &mut Vec<String>) {
            let children: Vec<(String, &Value)> = match value {
                Value::Object(object) => object
                    .iter()
                    .map(|(name, value)| {
                        (format!("{path}/{}", name.replace('~', "~0").replace('/', "~1")), value)
                    })
                    .collect(),
                Value::Array(list) => list
                    .iter()
                    .enumerate()
                    .map(|(index, value)| (format!("{path}/{index}"), value))
                    .collect(),
                _ => Vec::new(),
            };
            for (path, value) in children {
                walk(value, &path, all);
                all.push(path);
            }
        }
        let mut all = Vec::new();
        walk(event, "", &mut all);
        all
    }
}
