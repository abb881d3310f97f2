//! Records, by id, by control and by what became of them; and whatever is due.

use std::ops::{ControlFlow, RangeInclusive};

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use jiff::Timestamp;

use super::{
    Counts, Item, Ledger, LedgerError, Order, Record, Status, approval, bulletin, instant,
    record::{from_item, record_key},
    text,
};
use crate::During as _;

/// The attribute that puts an item into the index `by-due`.
pub(super) const OPEN: &str = "open";

/// What somebody must still look after.
#[derive(Clone, Debug)]
pub enum Due {
    /// An evaluation or a person owes the record something.
    Record(Box<Record>),
    /// A person ordered something, and it is not known whether it was heeded.
    Order(Box<Order>),
    /// A window is over in which messages were counted instead of told.
    Counts(Box<Counts>),
}

/// Some records of a control, newest first.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub records: Vec<Record>,
    /// How many more this version cannot read, because they are of a newer one or broken.
    pub unread: usize,
    /// Where the next page begins. `None`: there is no more.
    pub next: Option<Mark>,
}

/// Where a page begins.
#[derive(Clone, Debug)]
pub struct Mark(Item);

/// Records of one page: held and worked on together.
const PAGE: i32 = 100;

impl Ledger {
    /// One record.
    pub async fn read(&self, id: &str) -> Result<Option<Record>, LedgerError> {
        let found = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(record_key(id)))
            .consistent_read(true)
            .send()
            .await
            .during("dynamodb:GetItem")?;
        found.item.as_ref().map(from_item).transpose()
    }

    /// The newest records of a control, of those created at `since` or later, newest first. What was written a moment
    /// ago may be missing, and records that this version cannot read are left out.
    pub async fn newest(
        &self,
        control: &str,
        since: Option<Timestamp>,
        limit: usize,
    ) -> Result<Vec<Record>, LedgerError> {
        let query = self.of_control(control, since).set_limit(page_of(limit));
        paged(query, limit, from_item, |_| true).await
    }

    /// The same of those in one of these statuses (none given: in any) that `is_wanted`, however many others lie
    /// between them.
    pub async fn find(
        &self,
        control: &str,
        statuses: &[Status],
        since: Option<Timestamp>,
        limit: usize,
        is_wanted: impl Fn(&Record) -> bool,
    ) -> Result<Vec<Record>, LedgerError> {
        let mut query = self.of_control(control, since);
        if !statuses.is_empty() {
            let names: Vec<String> = (0..statuses.len()).map(|at| format!(":status{at}")).collect();
            query = query
                .filter_expression(format!("#status IN ({})", names.join(", ")))
                .expression_attribute_names("#status", "status");
            for (name, status) in names.into_iter().zip(statuses) {
                query = query.expression_attribute_values(name, text(status.name()));
            }
        }
        paged(query, limit, from_item, is_wanted).await
    }

    /// Shows all records of a control to `visit`, of those created at `since` or later, newest first. No more than one page
    /// of the index is held at a time. What was written a moment ago may be missing.
    ///
    /// Returns how many this version cannot read, because they are of a newer one or broken.
    pub async fn each(
        &self,
        control: &str,
        since: Option<Timestamp>,
        mut visit: impl FnMut(Record),
    ) -> Result<usize, LedgerError> {
        let mut unread = 0;
        pages(self.of_control(control, since), |items| {
            let (records, more) = readable(items);
            records.into_iter().for_each(&mut visit);
            unread += more;
            ControlFlow::Continue(())
        })
        .await?;
        Ok(unread)
    }

    /// The records of a control that were created in a time, page by page, for who has something to do between them.
    /// What was written a moment ago may be missing.
    pub async fn page(
        &self,
        control: &str,
        created: &RangeInclusive<Timestamp>,
        from: Option<Mark>,
    ) -> Result<Page, LedgerError> {
        let page = self
            .of_control(control, None)
            .key_condition_expression("control = :control AND created BETWEEN :since AND :until")
            .expression_attribute_values(":since", text(&instant(*created.start())))
            .expression_attribute_values(":until", text(&instant(*created.end())))
            .set_exclusive_start_key(from.map(|Mark(key)| key))
            .limit(PAGE)
            .send()
            .await
            .during("dynamodb:Query")?;
        let (records, unread) = readable(page.items());
        Ok(Page { records, unread, next: page.last_evaluated_key.map(Mark) })
    }

    /// What is due, the longest due first.
    pub async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Due>, LedgerError> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("by-due")
            .key_condition_expression("#open = :open AND due <= :now")
            .expression_attribute_names("#open", OPEN)
            .expression_attribute_values(":open", text("1"))
            .expression_attribute_values(":now", text(&instant(now)))
            .set_limit(page_of(limit));
        let read = |item: &Item| {
            if approval::is_order(item) {
                approval::from_item(item).map(|order| Due::Order(Box::new(order)))
            } else if bulletin::is_counts(item) {
                bulletin::from_item(item).map(|counts| Due::Counts(Box::new(counts)))
            } else {
                from_item(item).map(|record| Due::Record(Box::new(record)))
            }
        };
        paged(query, limit, read, |_| true).await
    }

    fn of_control(&self, control: &str, since: Option<Timestamp>) -> QueryFluentBuilder {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("by-control")
            .expression_attribute_values(":control", text(control))
            .scan_index_forward(false);
        match since {
            None => query.key_condition_expression("control = :control"),
            Some(since) => query
                .key_condition_expression("control = :control AND created >= :since")
                .expression_attribute_values(":since", text(&instant(since))),
        }
    }
}

/// The records of a page, and how many more this version cannot read.
fn readable(items: &[Item]) -> (Vec<Record>, usize) {
    let records: Vec<_> = items
        .iter()
        .filter_map(|item| from_item(item).inspect_err(|error| tracing::error!("{error}")).ok())
        .collect();
    let unread = items.len() - records.len();
    (records, unread)
}

/// Page after page, until there are as many as are asked for, or no more.
pub(super) async fn paged<T>(
    query: QueryFluentBuilder,
    limit: usize,
    read: impl Fn(&Item) -> Result<T, LedgerError>,
    is_wanted: impl Fn(&T) -> bool,
) -> Result<Vec<T>, LedgerError> {
    let mut found = Vec::new();
    pages(query, |items| {
        for item in items {
            match read(item) {
                Ok(one) if is_wanted(&one) => found.push(one),
                Ok(_) | Err(LedgerError::Newer { .. }) => {}
                // One that is broken must not keep the others from being found.
                Err(error) => tracing::error!("{error}"),
            }
        }
        if found.len() >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .await?;
    found.truncate(limit);
    Ok(found)
}

/// Shows page after page, until there are no more or `show` has seen enough.
async fn pages(
    query: QueryFluentBuilder,
    mut show: impl FnMut(&[Item]) -> ControlFlow<()>,
) -> Result<(), LedgerError> {
    let mut from = None;
    loop {
        let page = query.clone().set_exclusive_start_key(from);
        let page = page.send().await.during("dynamodb:Query")?;
        let goes_on = show(page.items());
        from = page.last_evaluated_key;
        if from.is_none() || goes_on.is_break() {
            return Ok(());
        }
    }
}

/// No more than is needed is read, where every item is wanted.
pub(super) fn page_of(limit: usize) -> Option<i32> {
    i32::try_from(limit).ok()
}
