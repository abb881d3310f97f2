//! What the ledger relies on in DynamoDB, as AWS documents it, held against the embedded AWS.
//!
//! <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.OperatorsAndFunctions.html>

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::{
        transact_write_items::{
            TransactWriteItemsError, TransactWriteItemsOutput,
            builders::TransactWriteItemsFluentBuilder,
        },
        update_item::UpdateItemError,
    },
    primitives::Blob,
    types::{
        AttributeValue, CancellationReason, ConditionCheck, Delete, Put,
        ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
    },
};
use quell_local::{Emulator, Stack};
use tokio::task::JoinSet;

type Item = HashMap<String, AttributeValue>;

#[tokio::test]
async fn each_item_of_a_cancelled_transaction_has_its_reason_in_order() {
    let table = Table::new().await;
    table.put("BUD#full", [("count", n(50)), ("plan", b("compressed"))]).await;
    table.put("LCK#held", [("owner", s("another"))]).await;

    let reasons = cancelled(
        table
            .transaction([
                table.insert("REC#new"),
                table.update(
                    "BUD#full",
                    "ADD #count :one",
                    "attribute_not_exists(#count) OR #count < :limit",
                    [(":one", n(1)), (":limit", n(50))],
                ),
                table.check("LCK#held", "#owner = :me", [(":me", s("me"))]),
                table.delete("OWN#gone", "attribute_exists(pk)"),
                table.update("BUD#other", "ADD #count :one", "", [(":one", n(1))]),
            ])
            .send()
            .await,
    );

    let codes: Vec<_> = reasons.iter().map(|reason| reason.code().unwrap()).collect();
    let failed = "ConditionalCheckFailed";
    assert_eq!(codes, ["None", failed, failed, failed, "None"]);
    assert_eq!(reasons[1].message(), Some("The conditional request failed"));
    assert_eq!(reasons[0].item(), None);
    // The items as they are, whole and with their types.
    assert_eq!(reasons[1].item(), table.item("BUD#full").await.as_ref());
    assert_eq!(reasons[1].item().unwrap()["plan"], b("compressed"));
    assert_eq!(reasons[2].item().unwrap()["owner"], s("another"));
    // There is none.
    assert_eq!(reasons[3].item(), None);
    // And nothing was written.
    assert_eq!(table.item("REC#new").await, None);
    assert_eq!(table.item("BUD#other").await, None);
    assert_eq!(table.item("BUD#full").await.unwrap()["count"], n(50));
}

#[tokio::test]
async fn the_old_item_is_told_only_where_it_was_asked_for() {
    let table = Table::new().await;
    table.put("REC#a", [("count", n(1))]).await;
    let silent = Put::builder()
        .table_name(&table.name)
        .set_item(Some(key("REC#a")))
        .condition_expression("attribute_not_exists(pk)");
    let silent = TransactWriteItem::builder().put(silent.build().unwrap()).build();
    let reasons = cancelled(table.transaction([silent]).send().await);
    assert_eq!(reasons[0].code(), Some("ConditionalCheckFailed"));
    assert_eq!(reasons[0].item(), None);
}

#[tokio::test]
async fn a_transaction_writes_all_of_its_items() {
    let table = Table::new().await;
    table.put("LCK#a", [("generation", n(3)), ("dirty", s("yes"))]).await;
    table.put("OWN#old", [("owner", s("me"))]).await;
    table
        .transaction([
            table.insert("REC#a"),
            table.update(
                "LCK#a",
                "SET #owner = :me, generation = generation + :one, \
                 started = if_not_exists(started, :now) REMOVE dirty ADD #count :one",
                "generation = :seen AND attribute_not_exists(#owner)",
                [(":me", s("me")), (":one", n(1)), (":now", n(100)), (":seen", n(3))],
            ),
            table.update(
                "BUD#a",
                "SET started = if_not_exists(started, :now) ADD #count :one",
                "attribute_not_exists(#count) OR #count < :limit",
                [(":one", n(1)), (":now", n(100)), (":limit", n(5))],
            ),
            table.check("HLT#halt", "attribute_not_exists(pk)", []),
            table.delete("OWN#old", "attribute_not_exists(dirty.since)"),
        ])
        .send()
        .await
        .unwrap();
    let lock = table.item("LCK#a").await.unwrap();
    assert_eq!((&lock["owner"], &lock["generation"]), (&s("me"), &n(4)));
    assert_eq!((&lock["started"], &lock["count"]), (&n(100), &n(1)));
    assert_eq!(lock.get("dirty"), None);
    let budget = table.item("BUD#a").await.unwrap();
    assert_eq!((&budget["started"], &budget["count"]), (&n(100), &n(1)));
    assert!(table.item("REC#a").await.is_some());
    assert_eq!(table.item("OWN#old").await, None);
}

#[tokio::test]
async fn values_that_are_missing_or_unused_make_the_request_invalid_and_nothing_is_written() {
    let table = Table::new().await;
    for values in [vec![], vec![(":now", n(1)), (":also", n(2))]] {
        let check = ConditionCheck::builder()
            .table_name(&table.name)
            .set_key(Some(key("LCK#a")))
            .condition_expression("attribute_not_exists(pk) OR lease < :now")
            .set_expression_attribute_values(given(values));
        let check = TransactWriteItem::builder().condition_check(check.build().unwrap()).build();
        let error = table.transaction([table.insert("REC#a"), check]).send().await.unwrap_err();
        assert_eq!(error.code(), Some("ValidationException"), "{error:?}");
    }
    assert_eq!(table.item("REC#a").await, None);
}

#[tokio::test]
async fn a_transaction_whose_answer_was_lost_may_be_sent_again_with_its_token() {
    let table = Table::new().await;
    let insert = || table.transaction([table.insert("REC#a")]).client_request_token("first");
    insert().send().await.unwrap();
    // The condition would fail now.
    insert().send().await.unwrap();
    cancelled(
        table.transaction([table.insert("REC#a")]).client_request_token("second").send().await,
    );

    let other = table.transaction([table.insert("REC#b")]).client_request_token("first");
    let error = other.send().await.unwrap_err().into_service_error();
    assert!(error.is_idempotent_parameter_mismatch_exception(), "{error:?}");
    assert_eq!(table.item("REC#b").await, None);
}

#[tokio::test]
async fn a_cancelled_transaction_is_judged_anew_under_the_same_token() {
    let table = Table::new().await;
    table.put("REC#a", []).await;
    let insert = || table.transaction([table.insert("REC#a")]).client_request_token("token");
    cancelled(insert().send().await);
    table.transaction([table.delete("REC#a", "")]).send().await.unwrap();
    insert().send().await.unwrap();
    assert!(table.item("REC#a").await.is_some());
}

#[tokio::test]
async fn one_item_is_in_a_transaction_once() {
    let table = Table::new().await;
    let twice = table
        .transaction([table.insert("REC#a"), table.check("REC#a", "attribute_not_exists(pk)", [])]);
    let error = twice.send().await.unwrap_err();
    assert_eq!(error.code(), Some("ValidationException"), "{error:?}");
    assert_eq!(table.item("REC#a").await, None);
}

#[tokio::test]
async fn what_an_update_cannot_do_is_a_reason_and_undoes_the_rest() {
    let table = Table::new().await;
    table.put("BUD#a", [("count", s("many"))]).await;
    let one = [(":one", n(1))];
    let reasons = cancelled(
        table
            .transaction([
                table.insert("REC#a"),
                table.update("BUD#a", "SET started = :one ADD #count :one", "", one.clone()),
                table.update("BUD#b", "SET #count = #count + :one", "", one),
            ])
            .send()
            .await,
    );
    let codes: Vec<_> = reasons.iter().map(|reason| reason.code().unwrap()).collect();
    assert_eq!(codes, ["None", "ValidationError", "ValidationError"]);
    assert_eq!(table.item("REC#a").await, None);
    assert_eq!(table.item("BUD#a").await.unwrap().get("started"), None);
    assert_eq!(table.item("BUD#b").await, None);
}

#[tokio::test]
async fn a_single_update_that_fails_writes_nothing() {
    let table = Table::new().await;
    table.put("BUD#a", [("count", s("many"))]).await;
    for (pk, expression) in
        [("BUD#a", "SET started = :one ADD #count :one"), ("BUD#b", "SET #count = #count + :one")]
    {
        let update = table
            .dynamodb
            .update_item()
            .table_name(&table.name)
            .set_key(Some(key(pk)))
            .update_expression(expression)
            .expression_attribute_names("#count", "count")
            .expression_attribute_values(":one", n(1));
        let error = update.send().await.unwrap_err();
        assert_eq!(error.code(), Some("ValidationException"), "{error:?}");
    }
    assert_eq!(table.item("BUD#a").await.unwrap().get("started"), None);
    assert_eq!(table.item("BUD#b").await, None);
}

#[tokio::test]
async fn conditions_on_what_is_absent_or_of_another_type_are_judged_not_failed() {
    let table = Table::new().await;
    table
        .put(
            "REC#a",
            [
                ("count", n(7)),
                ("words", s("seven")),
                ("packed", b("seven")),
                ("nested", AttributeValue::M([("deep".to_owned(), n(1))].into())),
            ],
        )
        .await;
    for (condition, holds) in [
        ("attribute_not_exists(absent)", true),
        ("attribute_not_exists(absent.deeper.still)", true),
        ("attribute_exists(nested.deep)", true),
        ("attribute_not_exists(nested.nowhere)", true),
        ("nested.deep < :value", true),
        ("nested.nowhere < :value", false),
        ("words.deep = :value", false),
        ("absent = :value", false),
        ("absent <> :value", true),
        ("absent < :value", false),
        ("absent >= :value", false),
        ("absent = :nothing", false),
        ("NOT absent = :value", true),
        ("absent BETWEEN :value AND :value", false),
        ("words < :value", false),
        ("words > :value", false),
        ("words = :value", false),
        ("words <> :value", true),
        ("words BETWEEN :value AND :value", false),
        ("packed < :value", false),
        ("#count <= :value", true),
        ("#count < :value", false),
        ("size(words) < :value", true),
        ("size(absent) < :value", false),
        ("begins_with(absent, :text)", false),
        ("begins_with(words, :text)", true),
        ("contains(absent, :text)", false),
        ("words IN (:text, :value)", false),
        ("attribute_exists(pk) AND (attribute_not_exists(lease) OR lease < :value)", true),
    ] {
        let mut update = table
            .dynamodb
            .update_item()
            .table_name(&table.name)
            .set_key(Some(key("REC#a")))
            .update_expression("SET seen = :seen")
            .expression_attribute_values(":seen", n(1))
            .condition_expression(condition);
        for (name, value) in
            [(":value", n(7)), (":text", s("sev")), (":nothing", AttributeValue::Null(true))]
        {
            if condition.contains(name) {
                update = update.expression_attribute_values(name, value);
            }
        }
        if condition.contains("#count") {
            update = update.expression_attribute_names("#count", "count");
        }
        match update.send().await.map_err(SdkError::into_service_error) {
            Ok(_) => assert!(holds, "{condition} held"),
            Err(UpdateItemError::ConditionalCheckFailedException(_)) => {
                assert!(!holds, "{condition} did not hold");
            }
            Err(error) => panic!("{condition}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn a_budget_is_never_overdrawn_by_transactions_at_the_same_time() {
    let table = Table::new().await;
    let mut writers = JoinSet::new();
    for writer in 0..40 {
        let transaction = table.transaction([
            table.insert(&format!("REC#{writer}")),
            table.update(
                "BUD#a",
                "ADD #count :one",
                "attribute_not_exists(#count) OR #count < :limit",
                [(":one", n(1)), (":limit", n(15))],
            ),
        ]);
        writers.spawn(async move { transaction.send().await.is_ok() });
    }
    let well = writers.join_all().await.into_iter().filter(|well| *well).count();
    assert_eq!(well, 15);
    assert_eq!(table.item("BUD#a").await.unwrap()["count"], n(15));
    let mut records = 0;
    for writer in 0..40 {
        records += usize::from(table.item(&format!("REC#{writer}")).await.is_some());
    }
    assert_eq!(records, 15);
}

#[tokio::test]
async fn a_batch_is_read_with_what_is_not_there_left_out() {
    use aws_sdk_dynamodb::types::KeysAndAttributes;

    let table = Table::new().await;
    table.put("LCK#a", [("owner", s("me"))]).await;
    let wanted = ["LCK#a", "POL#policy", "HLT#halt"].map(key);
    let wanted = KeysAndAttributes::builder().set_keys(Some(wanted.into())).consistent_read(true);
    let found = table
        .dynamodb
        .batch_get_item()
        .request_items(&table.name, wanted.build().unwrap())
        .send()
        .await
        .unwrap();
    let items = &found.responses().unwrap()[&table.name];
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["pk"], s("LCK#a"));
    assert!(found.unprocessed_keys().is_none_or(HashMap::is_empty));
}

/// The ledger's table in an AWS of its own.
struct Table {
    _emulator: Emulator,
    dynamodb: Client,
    name: String,
}

impl Table {
    async fn new() -> Self {
        let emulator = Emulator::start().unwrap();
        let cloud = emulator.cloud();
        let name = Stack::deploy(&cloud).await.unwrap().ledger;
        Self { _emulator: emulator, dynamodb: cloud.dynamodb, name }
    }

    async fn put<const N: usize>(&self, pk: &str, attributes: [(&str, AttributeValue); N]) {
        let put = self.dynamodb.put_item().table_name(&self.name);
        put.set_item(Some(item(pk, attributes))).send().await.unwrap();
    }

    async fn item(&self, pk: &str) -> Option<Item> {
        let read = self.dynamodb.get_item().table_name(&self.name).set_key(Some(key(pk)));
        read.consistent_read(true).send().await.unwrap().item
    }

    fn transaction<const N: usize>(
        &self,
        items: [TransactWriteItem; N],
    ) -> TransactWriteItemsFluentBuilder {
        self.dynamodb.transact_write_items().set_transact_items(Some(items.into()))
    }

    /// Writes the item unless it is there.
    fn insert(&self, pk: &str) -> TransactWriteItem {
        let put = Put::builder()
            .table_name(&self.name)
            .set_item(Some(item(pk, [])))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        TransactWriteItem::builder().put(put.build().unwrap()).build()
    }

    fn update<const N: usize>(
        &self,
        pk: &str,
        expression: &str,
        condition: &str,
        values: [(&str, AttributeValue); N],
    ) -> TransactWriteItem {
        let update = Update::builder()
            .table_name(&self.name)
            .set_key(Some(key(pk)))
            .update_expression(expression)
            .set_condition_expression((!condition.is_empty()).then(|| condition.to_owned()))
            .set_expression_attribute_names(names(&format!("{expression} {condition}")))
            .set_expression_attribute_values(given(values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        TransactWriteItem::builder().update(update.build().unwrap()).build()
    }

    fn check<const N: usize>(
        &self,
        pk: &str,
        condition: &str,
        values: [(&str, AttributeValue); N],
    ) -> TransactWriteItem {
        let check = ConditionCheck::builder()
            .table_name(&self.name)
            .set_key(Some(key(pk)))
            .condition_expression(condition)
            .set_expression_attribute_names(names(condition))
            .set_expression_attribute_values(given(values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        TransactWriteItem::builder().condition_check(check.build().unwrap()).build()
    }

    fn delete(&self, pk: &str, condition: &str) -> TransactWriteItem {
        let delete = Delete::builder()
            .table_name(&self.name)
            .set_key(Some(key(pk)))
            .set_condition_expression((!condition.is_empty()).then(|| condition.to_owned()))
            .set_expression_attribute_names(names(condition))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        TransactWriteItem::builder().delete(delete.build().unwrap()).build()
    }
}

/// The reasons of a transaction that was cancelled.
fn cancelled(
    answer: Result<TransactWriteItemsOutput, SdkError<TransactWriteItemsError>>,
) -> Vec<CancellationReason> {
    match answer.unwrap_err().into_service_error() {
        TransactWriteItemsError::TransactionCanceledException(cancelled) => {
            cancelled.cancellation_reasons.unwrap()
        }
        other => panic!("{other:?}"),
    }
}

fn key(pk: &str) -> Item {
    item(pk, [])
}

fn item<const N: usize>(pk: &str, attributes: [(&str, AttributeValue); N]) -> Item {
    [("pk", s(pk)), ("sk", s("ITEM"))]
        .into_iter()
        .chain(attributes)
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Those of the reserved words that an expression uses.
fn names(expression: &str) -> Option<HashMap<String, String>> {
    let used: HashMap<_, _> = ["count", "owner"]
        .into_iter()
        .filter(|name| expression.contains(&format!("#{name}")))
        .map(|name| (format!("#{name}"), name.to_owned()))
        .collect();
    (!used.is_empty()).then_some(used)
}

fn given<'a>(
    values: impl IntoIterator<Item = (&'a str, AttributeValue)>,
) -> Option<HashMap<String, AttributeValue>> {
    let values = values.into_iter().map(|(name, value)| (name.to_owned(), value));
    Some(values.collect()).filter(|values: &HashMap<_, _>| !values.is_empty())
}

fn s(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn n(number: u32) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn b(bytes: &str) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}
