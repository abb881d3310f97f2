//! Exemptions: one resource may violate one control for a time.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    error::SdkError,
    operation::put_item::PutItemError,
    types::{AttributeValue, Put, ReturnValue, TransactWriteItem},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Item, Ledger, LedgerError, Order,
    approval::{self, document_as, unless_changed},
    document,
    find::paged,
    instant,
};
use crate::{CallError, During as _, Severity, text};

/// A reasoned, expiring permission for one resource to violate one control. Given by a person, never by a tag.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Exemption {
    pub control: String,
    pub account: String,
    pub region: String,
    pub arn: String,
    /// The resource as people know it.
    pub resource: String,
    /// What a resource of the same name that is made anew does not have.
    pub unique_id: String,
    /// Of the control: how long an exemption may be.
    pub severity: Severity,
    pub reason: String,
    /// Who answers for the resource.
    pub owner: String,
    /// Who gave it: the ARN of the principal.
    pub by: String,
    /// The same as the policy knows them.
    pub person: String,
    pub granted: Timestamp,
    pub expires: Timestamp,
    /// The record whose undo it belongs to: without it the next event would redo what was undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo_of: Option<String>,
    /// When people were told that it is about to expire, and that nothing ever matched it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_expiring: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_unused: Option<Timestamp>,
    /// Whether it is known that something matched it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub used: bool,
}

/// What is asked about: a resource as it is now, under a control.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Subject<'a> {
    pub control: &'a str,
    pub account: &'a str,
    pub arn: &'a str,
    pub unique_id: &'a str,
}

/// Why an exemption does not count.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotExempt {
    #[error("the exemption is for control {0}")]
    OtherControl(String),
    #[error("the exemption is for account {0}")]
    OtherAccount(String),
    #[error("the exemption is for {0}")]
    OtherResource(String),
    #[error("the exemption is for an earlier resource of the same name (its unique id was `{0}`)")]
    Recreated(String),
    #[error("the exemption counts only from {0:.0} on")]
    NotYet(Timestamp),
    #[error("the exemption expired at {0:.0}")]
    Expired(Timestamp),
}

/// Why an exemption cannot be given.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ExemptionError {
    #[error("`{field}` has {length} characters; give it between 1 and {most}")]
    Length { field: &'static str, length: usize, most: usize },
    #[error("`{field}` has a control or invisible character; write it as plain text")]
    Control { field: &'static str },
    #[error(
        "`{0}` names no single resource; exempt each resource by its own name, and use a scope of the policy for many"
    )]
    Glob(String),
    #[error("`{0}` is not a plain ASCII ARN; copy it from the resource itself")]
    NotPlain(String),
    #[error("the resource has no unique id, so that another of its name would be exempt too")]
    NoUniqueId,
    #[error(
        "it would last {asked} days; at most {most} are allowed for a control of severity {severity:?}"
    )]
    TooLong { asked: i64, most: i64, severity: Severity },
    #[error("it would be over before it begins; let it last at least a day")]
    TooShort,
}

/// By how much the clocks of two functions may differ.
const SKEW: SignedDuration = SignedDuration::from_mins(1);

const REASON: usize = 500;
const OWNER: usize = 100;
const NAME: usize = 1024;

impl Exemption {
    /// Days that an exemption from a control of this severity may last.
    pub fn most_days(severity: Severity) -> i64 {
        match severity {
            Severity::Critical => 7,
            _ => 90,
        }
    }

    /// Whether it may be given as it is.
    ///
    /// # Errors
    /// [`ExemptionError`] names the first thing that is not allowed.
    pub fn validate(&self) -> Result<(), ExemptionError> {
        plain("reason", &self.reason, REASON)?;
        plain("owner", &self.owner, OWNER)?;
        plain("resource", &self.resource, NAME)?;
        if self.arn.contains(['*', '?']) {
            return Err(ExemptionError::Glob(self.arn.clone()));
        }
        let is_plain = self.arn.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if !is_plain || !self.arn.starts_with("arn:") || self.arn.len() > NAME {
            return Err(ExemptionError::NotPlain(self.arn.chars().take(NAME).collect()));
        }
        if self.unique_id.trim().is_empty() {
            return Err(ExemptionError::NoUniqueId);
        }
        if self.expires <= self.granted {
            return Err(ExemptionError::TooShort);
        }
        let most = Self::most_days(self.severity);
        if self.expires > self.ends_at_most() {
            const DAY: i64 = 24 * 60 * 60;
            let asked = (self.expires.duration_since(self.granted).as_secs() + DAY - 1) / DAY;
            return Err(ExemptionError::TooLong { asked, most, severity: self.severity });
        }
        Ok(())
    }

    /// Whether the violation that happened at `event_time` is allowed. Compares everything, byte by byte, whatever key
    /// the exemption was found by. Without a time of its own the violation counts as happening now.
    ///
    /// # Errors
    /// [`NotExempt`] says why it is not.
    pub fn admits(
        &self,
        subject: Subject<'_>,
        now: Timestamp,
        event_time: Option<Timestamp>,
    ) -> Result<(), NotExempt> {
        if self.control != subject.control {
            return Err(NotExempt::OtherControl(self.control.clone()));
        }
        if self.account != subject.account {
            return Err(NotExempt::OtherAccount(self.account.clone()));
        }
        if self.arn != subject.arn {
            return Err(NotExempt::OtherResource(self.arn.clone()));
        }
        if self.unique_id.is_empty() || self.unique_id != subject.unique_id {
            return Err(NotExempt::Recreated(self.unique_id.clone()));
        }
        // Most are given because of a violation that was seen before: only one from the future is forged.
        if now.checked_add(SKEW).unwrap_or(Timestamp::MAX) < self.granted {
            return Err(NotExempt::NotYet(self.granted));
        }
        let happened = event_time.unwrap_or(now);
        // An item that claims more than may be given ends when it would have had to.
        let expires = self.expires.min(self.ends_at_most());
        if now.max(happened) >= expires {
            return Err(NotExempt::Expired(expires));
        }
        Ok(())
    }

    fn ends_at_most(&self) -> Timestamp {
        let most = SignedDuration::from_hours(24 * Self::most_days(self.severity));
        self.granted.checked_add(most).unwrap_or(self.granted)
    }
}

/// Between 1 and `most` characters of text that shows as it is.
fn plain(field: &'static str, value: &str, most: usize) -> Result<(), ExemptionError> {
    let length = if value.trim().is_empty() { 0 } else { value.chars().count() };
    if length == 0 || length > most {
        return Err(ExemptionError::Length { field, length, most });
    }
    if text::plain_up_to(value, most) != value {
        return Err(ExemptionError::Control { field });
    }
    Ok(())
}

impl Ledger {
    /// Gives an exemption. One that the resource had from this control is replaced, and returned.
    pub async fn grant(&self, exemption: &Exemption) -> Result<Option<Exemption>, LedgerError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(to_item(exemption)?))
            .return_values(ReturnValue::AllOld)
            .send()
            .await
            .during("dynamodb:PutItem")?;
        put.attributes.as_ref().map(from_item).transpose()
    }

    /// Orders an undo and gives the exemption without which the next event would redo what is undone: both or neither.
    /// A second order of the same undo replaces the first, with a new time. `false`, and nothing is written, if the
    /// resource's exemption is no longer the one that was `there`.
    pub async fn order_undo(
        &self,
        order: &Order,
        exemption: &Exemption,
        there: Option<&Exemption>,
    ) -> Result<bool, LedgerError> {
        let give = Put::builder().table_name(&self.table).set_item(Some(to_item(exemption)?));
        let give = match there {
            None => give.condition_expression("attribute_not_exists(pk)"),
            Some(there) => give
                .condition_expression("document = :there")
                .set_expression_attribute_values(document_as(":there", to_item(there)?)),
        };
        let order =
            Put::builder().table_name(&self.table).set_item(Some(approval::to_item(order)?));
        let mut writes = Vec::new();
        for put in [order, give] {
            let put = put.build().map_err(|error| LedgerError::Unreadable {
                id: exemption.arn.clone(),
                reason: error.to_string(),
            })?;
            writes.push(TransactWriteItem::builder().put(put).build());
        }
        self.together("dynamodb:PutItem", writes).await
    }

    /// Takes back an order to undo, with the exemption that was given for it: `before` is put in its place, if there
    /// was one. What somebody else ordered or gave meanwhile stays.
    pub async fn withdraw_undo(
        &self,
        order: &Order,
        given: &Exemption,
        before: Option<&Exemption>,
    ) -> Result<(), LedgerError> {
        self.withdraw(order).await?;
        if let Some(before) = before {
            return self.note(given, before).await.map(drop);
        }
        let Exemption { control, account, arn, .. } = given;
        let gone = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(exemption_key(control, account, arn)))
            .condition_expression("document = :given")
            .set_expression_attribute_values(document_as(":given", to_item(given)?))
            .send()
            .await;
        unless_changed(gone.during("dynamodb:DeleteItem").map(drop))
    }

    /// One exemption, whether it counts or not.
    pub async fn exemption(
        &self,
        control: &str,
        account: &str,
        arn: &str,
    ) -> Result<Option<Exemption>, LedgerError> {
        let found = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(exemption_key(control, account, arn)))
            .consistent_read(true)
            .send()
            .await
            .during("dynamodb:GetItem")?;
        found.item.as_ref().map(from_item).transpose()
    }

    /// All exemptions, newest first, those that expired lately among them. What was given a moment ago may be missing.
    pub async fn exemptions(&self) -> Result<Vec<Exemption>, LedgerError> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("by-control")
            .key_condition_expression("control = :listed")
            .expression_attribute_values(":listed", super::text(LISTED))
            .scan_index_forward(false);
        paged(query, usize::MAX, from_item, |_| true).await
    }

    /// Takes an exemption back, and returns it. `None`: there was none.
    pub async fn revoke(
        &self,
        control: &str,
        account: &str,
        arn: &str,
    ) -> Result<Option<Exemption>, LedgerError> {
        let gone = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(exemption_key(control, account, arn)))
            .return_values(ReturnValue::AllOld)
            .send()
            .await
            .during("dynamodb:DeleteItem")?;
        gone.attributes.as_ref().map(from_item).transpose()
    }

    /// Notes what people were told or is known of an exemption, unless it was replaced or taken back meanwhile. Returns whether
    /// it was noted: of two that would tell, one does.
    pub async fn note(&self, seen: &Exemption, told: &Exemption) -> Result<bool, LedgerError> {
        let seen = to_item(seen)?;
        let seen =
            seen.get("document").cloned().unwrap_or_else(|| AttributeValue::S(String::new()));
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(to_item(told)?))
            .condition_expression("document = :seen")
            .expression_attribute_values(":seen", seen)
            .send()
            .await;
        match put {
            Ok(_) => Ok(true),
            Err(SdkError::ServiceError(refused))
                if matches!(refused.err(), PutItemError::ConditionalCheckFailedException(_)) =>
            {
                Ok(false)
            }
            Err(error) => Err(CallError::from_sdk("dynamodb:PutItem", error).into()),
        }
    }
}

/// Under what name the index `by-control` lists exemptions. No control has it.
const LISTED: &str = "exemption";

/// How long an exemption that is over can still be listed.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 7);

pub(super) fn exemption_key(control: &str, account: &str, arn: &str) -> Item {
    document::key(&format!("EXM#{control}#{account}#{arn}"), "EXEMPTION")
}

pub(super) fn to_item(exemption: &Exemption) -> Result<Item, LedgerError> {
    let Exemption { control, account, arn, .. } = exemption;
    let until = exemption.expires.checked_add(KEPT).unwrap_or(Timestamp::MAX);
    let mut item = document::to_item(exemption_key(control, account, arn), exemption, Some(until))?;
    item.extend(HashMap::from([
        ("control".to_owned(), super::text(LISTED)),
        ("created".to_owned(), super::text(&instant(exemption.granted))),
    ]));
    Ok(item)
}

pub(super) fn from_item(item: &Item) -> Result<Exemption, LedgerError> {
    document::from_item(item)
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;

    use super::*;

    const ARN: &str = "arn:aws:s3:::photos";

    #[test]
    fn it_admits_exactly_its_own_resource_while_it_lasts() {
        let exemption = exemption(Severity::High, 30);
        let now = exemption.granted + 1.hour();
        assert_eq!(exemption.admits(subject(), now, None), Ok(()));
        assert_eq!(exemption.admits(subject(), now, Some(exemption.granted)), Ok(()));
        let last = exemption.expires - 1.second();
        assert_eq!(exemption.admits(subject(), last, Some(last)), Ok(()));
    }

    #[test]
    fn it_admits_nothing_that_only_looks_alike() {
        let exemption = exemption(Severity::High, 30);
        let now = exemption.granted + 1.hour();
        for (subject, refused) in [
            (
                Subject { control: "s3-public-policy", ..subject() },
                NotExempt::OtherControl("s3-public-acl".into()),
            ),
            (
                Subject { account: "210987654321", ..subject() },
                NotExempt::OtherAccount("123456789012".into()),
            ),
            (Subject { arn: "arn:aws:s3:::photos2", ..subject() }, other()),
            (Subject { arn: "arn:aws:s3:::Photos", ..subject() }, other()),
            (Subject { arn: "arn:aws:s3:::phot\u{43e}s", ..subject() }, other()),
            (Subject { arn: "arn:aws:s3:::photos\u{200b}", ..subject() }, other()),
            (Subject { arn: "arn:aws:s3:::*", ..subject() }, other()),
            (Subject { unique_id: "2025-01-02", ..subject() }, recreated()),
            (Subject { unique_id: "", ..subject() }, recreated()),
        ] {
            assert_eq!(exemption.admits(subject, now, None), Err(refused));
        }
    }

    #[test]
    fn an_exemption_without_a_unique_id_admits_nothing() {
        let exemption = Exemption { unique_id: String::new(), ..exemption(Severity::High, 30) };
        let subject = Subject { unique_id: "", ..subject() };
        let refused = exemption.admits(subject, exemption.granted + 1.hour(), None);
        assert_eq!(refused, Err(NotExempt::Recreated(String::new())));
    }

    #[test]
    fn one_from_the_future_admits_nothing_and_one_given_because_of_the_violation_does() {
        let exemption = exemption(Severity::High, 30);
        let early = exemption.granted - 1.hour();
        let refused = exemption.admits(subject(), early, None);
        assert_eq!(refused, Err(NotExempt::NotYet(exemption.granted)));
        let refused = exemption.admits(subject(), early, Some(exemption.granted + 1.hour()));
        assert_eq!(refused, Err(NotExempt::NotYet(exemption.granted)), "by the own clock");
        let later = exemption.granted + 1.hour();
        assert_eq!(exemption.admits(subject(), later, Some(early)), Ok(()));
    }

    #[test]
    fn it_is_over_by_whichever_clock_is_later() {
        let exemption = exemption(Severity::High, 30);
        let (before, after) = (exemption.expires - 1.hour(), exemption.expires + 1.hour());
        for (now, event_time) in
            [(exemption.expires, None), (after, Some(before)), (before, Some(after))]
        {
            let refused = exemption.admits(subject(), now, event_time);
            assert_eq!(refused, Err(NotExempt::Expired(exemption.expires)));
        }
    }

    #[test]
    fn an_item_that_claims_too_long_a_time_ends_when_it_would_have_had_to() {
        let exemption = exemption(Severity::Critical, 3650);
        let refused = exemption.admits(subject(), exemption.granted + (8 * 24).hours(), None);
        assert_eq!(refused, Err(NotExempt::Expired(exemption.granted + (7 * 24).hours())));
    }

    #[test]
    fn the_longest_time_depends_on_the_severity() {
        assert_eq!(exemption(Severity::High, 90).validate(), Ok(()));
        assert_eq!(exemption(Severity::Critical, 7).validate(), Ok(()));
        let error = exemption(Severity::Low, 91).validate().unwrap_err();
        assert_eq!(
            error.to_string(),
            "it would last 91 days; at most 90 are allowed for a control of severity Low"
        );
        let error = exemption(Severity::Critical, 8).validate().unwrap_err();
        assert_eq!(
            error,
            ExemptionError::TooLong { asked: 8, most: 7, severity: Severity::Critical }
        );
        assert_eq!(exemption(Severity::Low, 0).validate(), Err(ExemptionError::TooShort));
        assert_eq!(exemption(Severity::Low, -3).validate(), Err(ExemptionError::TooShort));
    }

    #[test]
    fn only_one_plainly_named_resource_can_be_exempt() {
        for arn in ["arn:aws:s3:::*", "arn:aws:s3:::photo?"] {
            let exemption = Exemption { arn: arn.into(), ..exemption(Severity::High, 1) };
            assert_eq!(exemption.validate(), Err(ExemptionError::Glob(arn.into())));
        }
        for arn in ["arn:aws:s3:::phot\u{43e}s", "arn:aws:s3:::photos\u{200b}", "photos", ""] {
            let exemption = Exemption { arn: arn.into(), ..exemption(Severity::High, 1) };
            assert_eq!(exemption.validate(), Err(ExemptionError::NotPlain(arn.into())));
        }
        let exemption = Exemption { unique_id: " ".into(), ..exemption(Severity::High, 1) };
        assert_eq!(exemption.validate(), Err(ExemptionError::NoUniqueId));
    }

    #[test]
    fn reason_and_owner_are_given_in_plain_words() {
        let with =
            |reason: &str| Exemption { reason: reason.into(), ..exemption(Severity::High, 1) };
        let length = |length| ExemptionError::Length { field: "reason", length, most: 500 };
        assert_eq!(with("").validate(), Err(length(0)));
        assert_eq!(with(" \t ").validate(), Err(length(0)));
        assert_eq!(with(&"é".repeat(501)).validate(), Err(length(501)));
        assert_eq!(with(&"é".repeat(500)).validate(), Ok(()));
        for reason in ["a\nb", "a\u{1b}[31mb", "a\u{202e}b", "a\u{200b}b"] {
            let refused = with(reason).validate();
            assert_eq!(refused, Err(ExemptionError::Control { field: "reason" }), "{reason:?}");
        }
        let nobody = Exemption { owner: String::new(), ..exemption(Severity::High, 1) };
        assert!(matches!(nobody.validate(), Err(ExemptionError::Length { field: "owner", .. })));
    }

    #[test]
    fn its_item_is_found_by_control_account_and_resource_and_listed() {
        let exemption = exemption(Severity::High, 30);
        let item = to_item(&exemption).unwrap();
        let text = |name: &str| item[name].as_s().unwrap().as_str();
        assert_eq!(text("pk"), "EXM#s3-public-acl#123456789012#arn:aws:s3:::photos");
        assert_eq!((text("sk"), text("control")), ("EXEMPTION", "exemption"));
        assert_eq!(from_item(&item).unwrap(), exemption);
    }

    #[test]
    fn what_a_newer_version_wrote_is_not_read() {
        let mut item = to_item(&exemption(Severity::High, 30)).unwrap();
        item.insert("schema".to_owned(), AttributeValue::N("99".to_owned()));
        assert!(matches!(from_item(&item), Err(LedgerError::Newer { .. })));
        item.remove("schema");
        assert!(matches!(from_item(&item), Err(LedgerError::Unreadable { .. })));
    }

    fn subject() -> Subject<'static> {
        Subject {
            control: "s3-public-acl",
            account: "123456789012",
            arn: ARN,
            unique_id: "2024-01-02",
        }
    }

    fn other() -> NotExempt {
        NotExempt::OtherResource(ARN.into())
    }

    fn recreated() -> NotExempt {
        NotExempt::Recreated("2024-01-02".into())
    }

    fn exemption(severity: Severity, days: i64) -> Exemption {
        let granted: Timestamp = "2026-03-01T02:03:04Z".parse().unwrap();
        Exemption {
            control: "s3-public-acl".into(),
            account: "123456789012".into(),
            region: "eu-west-1".into(),
            arn: ARN.into(),
            resource: "photos".into(),
            unique_id: "2024-01-02".into(),
            severity,
            reason: "the press kit is public on purpose".into(),
            owner: "press team".into(),
            by: "arn:aws:iam::123456789012:user/alice".into(),
            person: "alice".into(),
            granted,
            expires: granted + SignedDuration::from_hours(24 * days),
            undo_of: None,
            told_expiring: None,
            told_unused: None,
            used: false,
        }
    }
}
