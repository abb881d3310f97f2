//! Records: what Quell is about to do, is doing and has done, with the way back.

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use jiff::{SignedDuration, Timestamp};
use miniz_oxide::{deflate::compress_to_vec_zlib, inflate::decompress_to_vec_zlib_with_limit};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Item, LARGEST, LedgerError, Order, SCHEMA, instant, number, string, text};
use crate::{
    Actor, Description, Finding, Outcome, Severity,
    aws::Call,
    policy::{Mode, Routed},
    protocol::Life,
};

/// The life of one remediation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record {
    pub id: String,
    pub status: Status,
    pub intent: Intent,
    pub result: Progressed,
    /// Grows with every write.
    pub version: u64,
    /// The evaluation, or the person's order, that wrote it last.
    #[serde(skip)]
    pub(crate) writer: String,
    /// Whether an evaluation still owes it something: recovery looks after those.
    pub open: bool,
    /// When recovery is to look at it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
}

/// What is known before the first change. Written once, never overwritten.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Intent {
    pub control: String,
    pub account: String,
    pub region: String,
    /// The target as its control serialises it.
    pub target: Value,
    /// The target as people know it.
    pub resource: String,
    pub arn: String,
    pub console: String,
    pub severity: Severity,
    pub mode: Mode,
    /// Why the mode is less than what was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<String>,
    pub created: Timestamp,
    pub event_id: String,
    /// The same for every delivery of the same happening.
    #[serde(default)]
    pub deduplication: String,
    /// How many records of the same happening came before.
    #[serde(default)]
    pub attempt: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_time: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
    /// Security Hub's finding, where one asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finding: Option<Finding>,
    /// The state before, as the control serialises it: the way back.
    pub before: Value,
    /// The changes, as the control serialises them.
    pub plan: Vec<Value>,
    /// What a person approves: the hash of plan and state before.
    #[serde(default)]
    pub plan_hash: String,
    /// Until when a person may approve it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// The changes, as people see them.
    pub changes: Vec<Description>,
    #[serde(default)]
    pub notes: Vec<String>,
    /// The record that this one undoes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<String>,
    /// Where messages about it go, beside the stack's own topic.
    #[serde(default, skip_serializing_if = "Routed::is_nowhere")]
    pub routed: Routed,
    /// The sweep that found it in a state from before the policy named the control, by when it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog: Option<Timestamp>,
}

/// What became of it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Progressed {
    /// The state after, as verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// Whether the state after is as it should be, or after an undo as it was. Only where not all went well: a fix that
    /// ended well is verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
    /// Ids of what the changes made, by index into the plan.
    #[serde(default)]
    pub made: Vec<Option<String>>,
    /// Which changes are known to be made, by index into the plan.
    #[serde(default)]
    pub done: Vec<usize>,
    /// When the last of them was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Timestamp>,
    /// The calls to AWS on the resource's own services.
    #[serde(default)]
    pub calls: Vec<Call>,
    /// What was learned beside the plan when it was made, and is not among its notes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<String>,
    /// Where it stood, and since when.
    #[serde(default)]
    pub history: Vec<Stage>,
    /// Who ordered what was done, beside the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The status that people were last told of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Status>,
    /// The record that undid this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone_by: Option<String>,
}

/// One stage of a record's life.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Stage {
    pub at: Timestamp,
    pub status: Status,
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Reported; nothing was changed.
    Observed,
    /// Somebody permitted it; nothing was changed.
    Exempt,
    /// Planned, and waiting for a person.
    Pending,
    /// Planned, and put aside until a person resumes it.
    Parked,
    /// Quell cannot or must not act, and says why.
    Refused,
    /// A person said no.
    Denied,
    /// Changes are being made, or made and not verified yet.
    Applying,
    /// Made and verified.
    Fixed,
    /// Some changes were made, others not.
    Partial,
    /// Nothing is known to be changed, and the resource is still in its bad state.
    Failed,
    /// The resource changed before the first write: evaluated anew under another record.
    Superseded,
    /// It is being undone under another record.
    Undoing,
    /// Undone, or (of a record that undoes) done.
    Undone,
}

impl Status {
    pub const ALL: [Self; 13] = [
        Self::Observed,
        Self::Exempt,
        Self::Pending,
        Self::Parked,
        Self::Refused,
        Self::Denied,
        Self::Applying,
        Self::Fixed,
        Self::Partial,
        Self::Failed,
        Self::Superseded,
        Self::Undoing,
        Self::Undone,
    ];

    /// What people call it.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Observed => Outcome::Observed,
            Self::Exempt => Outcome::Exempt,
            Self::Pending => Outcome::Pending,
            Self::Parked => Outcome::Parked,
            Self::Refused => Outcome::Refused,
            Self::Denied => Outcome::Denied,
            Self::Applying | Self::Partial | Self::Undoing => Outcome::Partial,
            Self::Fixed => Outcome::Fixed,
            Self::Failed => Outcome::Failed,
            Self::Superseded => Outcome::Superseded,
            Self::Undone => Outcome::Undone,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Observed => "observed",
            Self::Exempt => "exempt",
            Self::Pending => "pending",
            Self::Parked => "parked",
            Self::Refused => "refused",
            Self::Denied => "denied",
            Self::Applying => "applying",
            Self::Fixed => "fixed",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
            Self::Undoing => "undoing",
            Self::Undone => "undone",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// How long a record is kept: it is the audit of what was done.
const KEPT: SignedDuration = SignedDuration::from_hours(400 * 24);

/// What a stored text may grow to: far more than any resource's description.
const MOST: usize = 16 * 1024 * 1024;

impl Record {
    /// A record that nobody wrote yet.
    pub fn new(id: impl Into<String>, intent: Intent, life: &Life) -> Self {
        let result = Progressed { made: vec![None; intent.plan.len()], ..Progressed::default() };
        let mut record = Self {
            id: id.into(),
            status: life.status,
            intent,
            result,
            version: 0,
            writer: String::new(),
            open: false,
            due: None,
        };
        record.live(life);
        record
    }

    /// What the protocol knows of it.
    pub fn life(&self) -> Life {
        Life {
            status: self.status,
            version: self.version,
            writer: self.writer.clone(),
            done: self.result.done.clone(),
            told: self.result.told,
            open: self.open,
        }
    }

    /// Takes over what the protocol says.
    pub fn live(&mut self, life: &Life) {
        if self.status != life.status || self.result.history.is_empty() {
            self.result.history.push(Stage { at: Timestamp::now(), status: life.status });
        }
        self.status = life.status;
        self.version = life.version;
        self.writer.clone_from(&life.writer);
        self.result.done.clone_from(&life.done);
        self.result.told = life.told;
        self.open = life.open;
    }

    /// Bytes that a record of this intent takes, if that is more than the ledger keeps. The state after, which is about
    /// as large as that before, will stand beside the intent.
    pub fn excess(intent: &Intent) -> Result<Option<usize>, LedgerError> {
        let id = "a new record";
        // Nearly all are small as they are: deflating them only to know would take longer than all else.
        if json(id, intent)?.len() + json(id, &intent.before)?.len() <= LARGEST {
            return Ok(None);
        }
        let size =
            pack(id, intent)?.into_inner().len() + pack(id, &intent.before)?.into_inner().len();
        Ok((size > LARGEST).then_some(size))
    }
}

pub(super) fn record_key(id: &str) -> Item {
    super::document::key(&format!("REC#{id}"), "RECORD")
}

pub(super) fn to_item(record: &Record) -> Result<Item, LedgerError> {
    let mut item = record_key(&record.id);
    let expires = record.intent.created.checked_add(KEPT).unwrap_or(Timestamp::MAX);
    item.extend([
        ("schema".to_owned(), number(SCHEMA.into())),
        ("control".to_owned(), text(&record.intent.control)),
        ("created".to_owned(), text(&instant(record.intent.created))),
        ("expires".to_owned(), AttributeValue::N(expires.as_second().to_string())),
        ("intent".to_owned(), AttributeValue::B(pack(&record.id, &record.intent)?)),
    ]);
    for (name, value) in changing(record)? {
        if let Some(value) = value {
            item.insert(name.to_owned(), value);
        }
    }
    Ok(item)
}

/// The attributes that change in the life of a record; `None`: it has none (any more).
pub(super) fn changing(
    record: &Record,
) -> Result<[(&'static str, Option<AttributeValue>); 6], LedgerError> {
    let due = record.due.map(|due| text(&instant(due)));
    Ok([
        ("status", Some(text(record.status.name()))),
        ("version", Some(number(record.version))),
        ("writer", Some(text(&record.writer))),
        ("result", Some(AttributeValue::B(pack(&record.id, &Kept::of(record))?))),
        // Both are keys of the index `by-due`, which holds only what has them.
        ("open", due.as_ref().map(|_| text("1"))),
        ("due", due),
    ])
}

/// The result as it is stored.
#[derive(Deserialize, Serialize)]
struct Kept {
    open: bool,
    #[serde(flatten)]
    result: Progressed,
}

impl Kept {
    fn of(record: &Record) -> Self {
        Self { open: record.open, result: record.result.clone() }
    }
}

pub(super) fn from_item(item: &Item) -> Result<Record, LedgerError> {
    let id = string(item, "pk").and_then(|pk| pk.strip_prefix("REC#")).unwrap_or("?");
    let unreadable = |reason: String| LedgerError::Unreadable { id: id.to_owned(), reason };
    let missing = |name: &str| unreadable(format!("it has no `{name}`"));
    let schema = match item.get("schema") {
        Some(AttributeValue::N(schema)) => schema.clone(),
        _ => return Err(missing("schema")),
    };
    if schema.parse::<u32>().map_or(true, |schema| schema > SCHEMA) {
        return Err(LedgerError::Newer { id: id.to_owned(), schema });
    }
    let status = string(item, "status").ok_or_else(|| missing("status"))?;
    let kept: Kept = unpack(id, item.get("result")).ok_or_else(|| missing("result"))??;
    Ok(Record {
        id: id.to_owned(),
        status: Status::named(status)
            .ok_or_else(|| unreadable(format!("status `{status}` is unknown")))?,
        intent: unpack(id, item.get("intent")).ok_or_else(|| missing("intent"))??,
        result: kept.result,
        version: match item.get("version") {
            Some(AttributeValue::N(version)) => version.parse().ok(),
            _ => None,
        }
        .ok_or_else(|| missing("version"))?,
        writer: string(item, "writer").unwrap_or_default().to_owned(),
        open: kept.open,
        due: string(item, "due").and_then(|due| due.parse().ok()),
    })
}

/// JSON, deflated: a way back of a thousand rules is mostly repetition.
fn pack<T: Serialize>(id: &str, value: &T) -> Result<Blob, LedgerError> {
    Ok(Blob::new(compress_to_vec_zlib(&json(id, value)?, 6)))
}

fn json<T: Serialize>(id: &str, value: &T) -> Result<Vec<u8>, LedgerError> {
    serde_json::to_vec(value)
        .map_err(|error| LedgerError::Unreadable { id: id.to_owned(), reason: error.to_string() })
}

fn unpack<T: DeserializeOwned>(
    id: &str,
    value: Option<&AttributeValue>,
) -> Option<Result<T, LedgerError>> {
    let Some(AttributeValue::B(packed)) = value else { return None };
    let unreadable = |reason: String| LedgerError::Unreadable { id: id.to_owned(), reason };
    let json = decompress_to_vec_zlib_with_limit(packed.as_ref(), MOST);
    Some(match json {
        Ok(json) => serde_json::from_slice(&json).map_err(|error| unreadable(error.to_string())),
        Err(error) => Err(unreadable(format!("it cannot be unpacked: {error}"))),
    })
}
