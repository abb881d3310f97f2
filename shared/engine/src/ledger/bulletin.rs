//! What was counted instead of told, until a bulletin tells it.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Item, Ledger, LedgerError, SCHEMA, approval::unless_changed, document, find::OPEN, instant,
    number, string, text, to_json,
};
use crate::{
    During as _,
    notify::{
        bulletin::{Line, Subject},
        fold::{Class, Tally, Window},
    },
};

/// What was counted in a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Counts {
    pub window: Window,
    pub lines: Vec<Kept>,
    /// Everything that was counted.
    pub total: u64,
    /// When recovery is to look at it.
    due: String,
}

/// One line of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Kept {
    /// With its counts.
    #[serde(flatten)]
    pub line: Line,
    /// The topics of routes that would have heard of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<String>,
}

/// How a message is counted. What there is no room for is refused.
#[derive(Clone, Copy, Eq, PartialEq)]
enum As {
    /// One of the few of its class that are told whatever they have in common.
    Told { most: u64 },
    /// By its own key.
    Own,
    /// With all of its control and outcome that go the same way.
    Rest,
}

impl Ledger {
    /// Counts a message, and says whether people get it by itself now. Else the bulletin tells of it.
    pub async fn count(&self, tally: &Tally) -> Result<bool, LedgerError> {
        let has_room = tally.class().most().filter(|_| tally.window.subject == Subject::Folded);
        let told = has_room.map(|most| As::Told { most });
        for way in told.into_iter().chain([As::Own]) {
            match self.count_as(tally, way).await {
                Err(LedgerError::Call(error)) if error.is(REFUSED) => {}
                Err(error) => return Err(error),
                Ok(counts) => {
                    let is_first = string(&counts, &format!("{FIRST}{}", tally.key))
                        == Some(tally.id.as_str());
                    return Ok(match (tally.window.subject, way) {
                        (Subject::Digest | Subject::Sweep, _) => false,
                        (Subject::Folded, As::Told { .. }) => true,
                        (Subject::Folded, _) => is_first && has_room.is_none(),
                    });
                }
            }
        }
        self.count_as(tally, As::Rest).await.map(|_| false)
    }

    /// Returns the window as it is then.
    async fn count_as(&self, tally: &Tally, way: As) -> Result<Item, LedgerError> {
        let until = tally.window.until;
        let due = until.checked_add(SETTLED).unwrap_or(until);
        let expires = until.checked_add(KEPT).unwrap_or(until);
        let key = if way == As::Rest { &tally.rest } else { &tally.key };
        let class = of(tally.class());
        let stored = Stored { subject: tally.window.subject, from: tally.window.from, until };
        let mut kept = Kept { line: tally.line.clone(), topics: tally.topics.clone() };
        // What is left is of several.
        kept.line.actor = kept.line.actor.filter(|_| way != As::Rest);
        let set = |text: &str| AttributeValue::Ss(vec![text.to_owned()]);
        let mut update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(window_key(&tally.window)))
            .expression_attribute_names("#open", OPEN)
            .expression_attribute_names("#schema", "schema")
            .expression_attribute_names("#count", format!("{COUNT}{key}"))
            .expression_attribute_names("#line", format!("{LINE}{key}"))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":open", text("1"))
            .expression_attribute_values(":schema", number(SCHEMA.into()))
            .expression_attribute_values(":due", text(&instant(due)))
            .expression_attribute_values(
                ":expires",
                AttributeValue::N(expires.as_second().to_string()),
            )
            .expression_attribute_values(":document", text(&to_json(key, &stored)?))
            .expression_attribute_values(":line", text(&to_json(key, &kept)?))
            // Not `UpdatedNew`: who was first need not be new.
            .return_values(ReturnValue::AllNew);
        let mut sets =
            "SET #open = :open, due = if_not_exists(due, :due), expires = :expires, #schema = :schema, \
             document = if_not_exists(document, :document), #line = if_not_exists(#line, :line)"
                .to_owned();
        let mut counters = "ADD in_all :one, #count :one".to_owned();
        let mut conditions = Vec::new();
        if way != As::Rest {
            conditions.push(
                "(attribute_not_exists(#keys) OR contains(#keys, :key) OR size(#keys) < :keys_most)",
            );
            sets.push_str(", #first = if_not_exists(#first, :id)");
            counters.push_str(", #keys :keys");
            update = update
                // Each class has room of its own.
                .expression_attribute_names("#keys", format!("{class}{KEYS}"))
                .expression_attribute_names("#first", format!("{FIRST}{key}"))
                .expression_attribute_values(":id", text(&tally.id))
                .expression_attribute_values(":keys", set(key))
                .expression_attribute_values(":key", text(key))
                .expression_attribute_values(":keys_most", number(tally.most() as u64));
        }
        if let As::Told { most } = way {
            // What is counted again because it could not be sent takes no more room.
            conditions.push(
                "(attribute_not_exists(#told) OR contains(#told, :id) OR size(#told) < :told_most)",
            );
            counters.push_str(", #told :told");
            update = update
                .expression_attribute_names("#told", format!("{class}{TOLD}"))
                .expression_attribute_values(":told", set(&tally.id))
                .expression_attribute_values(":told_most", number(most));
        } else {
            counters.push_str(", #untold :one");
            update = update.expression_attribute_names("#untold", format!("{UNTOLD}{key}"));
        }
        let condition = Some(conditions.join(" AND ")).filter(|all| !all.is_empty());
        let updated = update
            .update_expression(format!("{sets} {counters}"))
            .set_condition_expression(condition)
            .send()
            .await
            .during("dynamodb:UpdateItem")?;
        Ok(updated.attributes.unwrap_or_default())
    }

    /// Takes the counts of a window that is over, so that nobody else tells them for a while. `None`: somebody else did.
    pub async fn take_counts(
        &self,
        counts: &Counts,
        now: Timestamp,
    ) -> Result<Option<Counts>, LedgerError> {
        let later = now.checked_add(TELLING).unwrap_or(now);
        let taken = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(window_key(&counts.window)))
            .update_expression("SET due = :later")
            .condition_expression("due = :due")
            .expression_attribute_values(":later", text(&instant(later)))
            .expression_attribute_values(":due", text(&counts.due))
            .return_values(ReturnValue::AllNew)
            .send()
            .await
            .during("dynamodb:UpdateItem");
        match taken {
            Ok(taken) => taken.attributes.as_ref().map(from_item).transpose(),
            Err(error) if error.is(REFUSED) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Forgets counts that were told. Where something was counted since, all of it is told once more.
    pub async fn forget_counts(&self, told: &Counts) -> Result<(), LedgerError> {
        let gone = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(window_key(&told.window)))
            .condition_expression("due = :due AND in_all = :in_all")
            .expression_attribute_values(":due", text(&told.due))
            .expression_attribute_values(":in_all", number(told.total))
            .send()
            .await;
        unless_changed(gone.during("dynamodb:DeleteItem").map(drop))
    }
}

const REFUSED: &str = "ConditionalCheckFailedException";

/// An evaluation that began in a window has ended this long after it.
const SETTLED: SignedDuration = SignedDuration::from_secs(70);

/// How long the one that tells a bulletin has for it.
const TELLING: SignedDuration = SignedDuration::from_mins(10);

/// How long counts wait to be told, where nothing tells them.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

const FAMILY: &str = "BUL#";
const KEYS: &str = "_keys";
const TOLD: &str = "_told";
const FIRST: &str = "first_";
const COUNT: &str = "count_";
const UNTOLD: &str = "untold_";
const LINE: &str = "line_";

#[derive(Deserialize, Serialize)]
struct Stored {
    subject: Subject,
    from: Timestamp,
    until: Timestamp,
}

pub(super) fn is_counts(item: &Item) -> bool {
    string(item, "pk").is_some_and(|pk| pk.starts_with(FAMILY))
}

pub(super) fn from_item(item: &Item) -> Result<Counts, LedgerError> {
    let id = string(item, "pk").unwrap_or("without a key");
    let unreadable = |reason: String| LedgerError::Unreadable { id: id.to_owned(), reason };
    let Stored { subject, from, until } = document::from_item(item)?;
    let routine = item.get(&format!("{}{KEYS}", of(Class::Routine)));
    let routine = routine.and_then(|keys| keys.as_ss().ok()).map(Vec::as_slice).unwrap_or_default();
    let mut lines = Vec::new();
    for (name, value) in item {
        let (Some(key), Ok(json)) = (name.strip_prefix(LINE), value.as_s()) else { continue };
        let mut kept: Kept =
            serde_json::from_str(json).map_err(|error| unreadable(error.to_string()))?;
        let counted = |what: &str| integer(item, &format!("{what}{key}")).unwrap_or_default();
        // Of what is routine the first was told, unless it has no key of its own.
        let first = subject == Subject::Folded && routine.iter().any(|own| own == key);
        kept.line.count = counted(COUNT);
        kept.line.untold = counted(UNTOLD).saturating_sub(u64::from(first));
        lines.push(kept);
    }
    Ok(Counts {
        window: Window { subject, from, until },
        lines,
        total: integer(item, "in_all").unwrap_or_default(),
        due: string(item, "due").unwrap_or_default().to_owned(),
    })
}

/// What the attributes of a class begin with.
fn of(class: Class) -> &'static str {
    match class {
        Class::Critical => "critical",
        Class::Waiting => "waiting",
        Class::Routine => "routine",
    }
}

fn window_key(window: &Window) -> Item {
    document::key(&format!("{FAMILY}{}#{}", window.subject, instant(window.from)), "BULLETIN")
}

fn integer(item: &Item, name: &str) -> Option<u64> {
    item.get(name).and_then(|value| value.as_n().ok()).and_then(|count| count.parse().ok())
}
