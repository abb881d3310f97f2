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
        fold::{Class, Counted, Tally, Window},
    },
};

/// What was counted in a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Counts {
    pub window: Window,
    pub lines: Vec<Kept>,
    /// Critical ones, of any line.
    pub critical: u64,
    /// Those that wait for a person, of any line.
    pub waiting: u64,
    /// Everything that was counted.
    pub total: u64,
    /// When recovery is to look at it.
    due: String,
}

/// One line of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// With its count.
    pub line: Line,
    /// Whether it is of one key. Else it is what was left of a control and an outcome.
    pub is_own: bool,
}

impl Ledger {
    /// Counts a message, and says how often there was the like in its window.
    pub async fn count(&self, tally: &Tally) -> Result<Counted, LedgerError> {
        match self.count_as(tally, &tally.key, Some(tally.most())).await {
            Err(LedgerError::Call(error)) if error.is(REFUSED) => {
                let counted = self.count_as(tally, &tally.rest, None).await?;
                Ok(Counted { is_first: false, ..counted })
            }
            counted => counted,
        }
    }

    async fn count_as(
        &self,
        tally: &Tally,
        key: &str,
        most: Option<usize>,
    ) -> Result<Counted, LedgerError> {
        let until = tally.window.until;
        let due = until.checked_add(SETTLED).unwrap_or(until);
        let expires = until.checked_add(KEPT).unwrap_or(until);
        let count = format!("{COUNT}{key}");
        let of_class = of(tally.class());
        let first = format!("{FIRST}{key}");
        let stored = Stored { subject: tally.window.subject, from: tally.window.from, until };
        let mut update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(window_key(&tally.window)))
            .expression_attribute_names("#open", OPEN)
            .expression_attribute_names("#schema", "schema")
            .expression_attribute_names("#count", &count)
            .expression_attribute_names("#class", of_class)
            .expression_attribute_names("#first", &first)
            .expression_attribute_names("#line", format!("{LINE}{key}"))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":id", text(&tally.id))
            .expression_attribute_values(":open", text("1"))
            .expression_attribute_values(":schema", number(SCHEMA.into()))
            .expression_attribute_values(":due", text(&instant(due)))
            .expression_attribute_values(
                ":expires",
                AttributeValue::N(expires.as_second().to_string()),
            )
            .expression_attribute_values(":document", text(&to_json(key, &stored)?))
            .expression_attribute_values(":line", text(&to_json(key, &tally.line)?))
            // Not `UpdatedNew`: who was first need not be new.
            .return_values(ReturnValue::AllNew);
        let mut counters = "ADD in_all :one, #class :one, #count :one".to_owned();
        if let Some(most) = most {
            counters.push_str(", #keys :keys");
            update = update
                .condition_expression(
                    "attribute_not_exists(#keys) OR contains(#keys, :key) OR size(#keys) < :most",
                )
                // Each class has room of its own.
                .expression_attribute_names("#keys", format!("{of_class}{KEYS}"))
                .expression_attribute_values(":keys", AttributeValue::Ss(vec![key.to_owned()]))
                .expression_attribute_values(":key", text(key))
                .expression_attribute_values(":most", number(most as u64));
        }
        let update = update.update_expression(format!(
            "SET #open = :open, due = if_not_exists(due, :due), expires = :expires, #schema = :schema, \
             document = if_not_exists(document, :document), #line = if_not_exists(#line, :line), #first = if_not_exists(#first, :id) {counters}"
        ));
        let updated = update.send().await.during("dynamodb:UpdateItem")?;
        let counts = updated.attributes.unwrap_or_default();
        // What is not said is taken for many: it is counted, and told later.
        Ok(Counted {
            is_first: string(&counts, &first) == Some(tally.id.as_str()),
            of_class: integer(&counts, of_class).unwrap_or(u64::MAX),
        })
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
const FIRST: &str = "first_";
const COUNT: &str = "count_";
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
    let keys = [Class::Critical, Class::Waiting, Class::Routine]
        .map(|class| item.get(&format!("{}{KEYS}", of(class))).and_then(|keys| keys.as_ss().ok()));
    let is_own = |key: &String| keys.iter().flatten().any(|keys| keys.contains(key));
    let mut lines = Vec::new();
    for (name, value) in item {
        let (Some(key), Ok(json)) = (name.strip_prefix(LINE), value.as_s()) else { continue };
        let mut line: Line =
            serde_json::from_str(json).map_err(|error| unreadable(error.to_string()))?;
        line.count = integer(item, &format!("{COUNT}{key}")).unwrap_or_default();
        lines.push(Kept { line, is_own: is_own(&key.to_owned()) });
    }
    Ok(Counts {
        window: Window { subject, from, until },
        lines,
        critical: integer(item, of(Class::Critical)).unwrap_or_default(),
        waiting: integer(item, of(Class::Waiting)).unwrap_or_default(),
        total: integer(item, "in_all").unwrap_or_default(),
        due: string(item, "due").unwrap_or_default().to_owned(),
    })
}

/// The attribute that counts a class.
fn of(class: Class) -> &'static str {
    match class {
        Class::Critical => "of_critical",
        Class::Waiting => "of_waiting",
        Class::Routine => "of_routine",
    }
}

fn window_key(window: &Window) -> Item {
    document::key(&format!("{FAMILY}{}#{}", window.subject, instant(window.from)), "BULLETIN")
}

fn integer(item: &Item, name: &str) -> Option<u64> {
    item.get(name).and_then(|value| value.as_n().ok()).and_then(|count| count.parse().ok())
}
