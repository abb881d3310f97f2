//! The two calls. What Security Hub does not say that it did, it did not do.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use aws_sdk_securityhub::{
    Client,
    types::{AwsSecurityFinding, AwsSecurityFindingIdentifier, NoteUpdate, WorkflowUpdate},
};
use quell_engine::{
    CallError, Clients, During as _, Finding, aws::CALL_TIME, ledger::LedgerError, text,
};

use crate::update::Update;

/// Findings in one call.
/// <https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_BatchUpdateFindings.html>,
/// <https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_BatchImportFindings.html>
const MOST: usize = 100;

/// Who notes.
const AUTHOR: &str = "quell";

#[derive(Clone, Debug)]
pub(crate) struct Hub {
    client: Client,
}

/// Why something was not done, for the log.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Undone {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("{action}: Security Hub did not do it: {}", text::one_line(said))]
    Refused { action: &'static str, said: String },
    #[error("{0}: too little time is left for the call")]
    Late(&'static str),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("another process is about to tell of it")]
    Held,
}

const UPDATE: &str = "securityhub:BatchUpdateFindings";
const IMPORT: &str = "securityhub:BatchImportFindings";

impl Hub {
    pub(crate) fn new(aws: &Clients) -> Self {
        Self { client: Client::new(aws.sdk()) }
    }

    /// Tells what came of findings that are there, those that come to the same in one call, and returns those of which
    /// it could not be told.
    pub(crate) async fn update(
        &self,
        updates: &BTreeMap<Finding, Update>,
        deadline: Instant,
    ) -> BTreeMap<Finding, Undone> {
        let mut same: BTreeMap<&Update, Vec<&Finding>> = BTreeMap::new();
        for (finding, update) in updates {
            same.entry(update).or_default().push(finding);
        }
        let mut undone = BTreeMap::new();
        for (update, findings) in same {
            for findings in findings.chunks(MOST) {
                undone.extend(self.update_same(update, findings, deadline).await);
            }
        }
        undone
    }

    async fn update_same(
        &self,
        update: &Update,
        findings: &[&Finding],
        deadline: Instant,
    ) -> Vec<(Finding, Undone)> {
        let all = |why: Undone| {
            findings.iter().map(|finding| ((*finding).clone(), why.clone())).collect()
        };
        if is_late(deadline) {
            return all(Undone::Late(UPDATE));
        }
        let identifiers = findings.iter().map(|finding| {
            let identifier = AwsSecurityFindingIdentifier::builder();
            identifier.id(&finding.id).product_arn(&finding.product_arn).build()
        });
        let call = self
            .client
            .batch_update_findings()
            .set_finding_identifiers(Some(identifiers.collect()))
            .workflow(WorkflowUpdate::builder().status(update.workflow.clone()).build())
            .note(NoteUpdate::builder().text(&update.note).updated_by(AUTHOR).build());
        let answer = match call.send().await.during(UPDATE) {
            Ok(answer) => answer,
            Err(error) => return all(error.into()),
        };
        let done: BTreeSet<_> = answer
            .processed_findings()
            .iter()
            .map(|done| (done.id().unwrap_or_default(), done.product_arn().unwrap_or_default()))
            .collect();
        let is_done =
            |finding: &Finding| done.contains(&(finding.id.as_str(), finding.product_arn.as_str()));
        let why = |finding: &Finding| {
            let named = answer.unprocessed_findings().iter().find(|refused| {
                let named = refused.finding_identifier();
                named.is_some_and(|named| {
                    named.id() == Some(finding.id.as_str())
                        && named.product_arn() == Some(finding.product_arn.as_str())
                })
            });
            let said = named.map(|one| said(one.error_code(), one.error_message()));
            Undone::Refused { action: UPDATE, said: said.unwrap_or_else(|| UNNAMED.to_owned()) }
        };
        let undone = findings.iter().filter(|finding| !is_done(finding));
        undone.map(|finding| ((*finding).clone(), why(finding))).collect()
    }

    /// Imports findings, or updates them where they are there, and returns the ids of those that are not in.
    pub(crate) async fn import(
        &self,
        findings: Vec<AwsSecurityFinding>,
        deadline: Instant,
    ) -> BTreeMap<String, Undone> {
        let mut undone = BTreeMap::new();
        for findings in findings.chunks(MOST) {
            undone.extend(self.import_some(findings, deadline).await);
        }
        undone
    }

    async fn import_some(
        &self,
        findings: &[AwsSecurityFinding],
        deadline: Instant,
    ) -> Vec<(String, Undone)> {
        let ids = findings.iter().map(|finding| finding.id().unwrap_or_default());
        let all = |why: Undone| ids.clone().map(|id| (id.to_owned(), why.clone())).collect();
        if is_late(deadline) {
            return all(Undone::Late(IMPORT));
        }
        let call = self.client.batch_import_findings().set_findings(Some(findings.to_vec()));
        let answer = match call.send().await.during(IMPORT) {
            Ok(answer) => answer,
            Err(error) => return all(error.into()),
        };
        let refused: Vec<(String, Undone)> = answer
            .failed_findings()
            .iter()
            .map(|one| {
                let said = said(one.error_code(), one.error_message());
                let id = one.id().unwrap_or_default().to_owned();
                (id, Undone::Refused { action: IMPORT, said })
            })
            .collect();
        let are_named = refused.iter().all(|(id, _)| ids.clone().any(|asked| asked == id));
        let count = |count: Option<i32>| count.and_then(|count| usize::try_from(count).ok());
        let counted = (count(answer.failed_count()), count(answer.success_count()));
        let listed = (Some(refused.len()), findings.len().checked_sub(refused.len()));
        if are_named && counted == listed {
            return refused;
        }
        // It is not said which: to import one again does no harm.
        all(Undone::Refused { action: IMPORT, said: UNNAMED.to_owned() })
    }
}

const UNNAMED: &str = "the answer does not say which findings it is about";

fn said(code: Option<&str>, message: Option<&str>) -> String {
    format!("{}: {}", code.unwrap_or("no error code"), message.unwrap_or("no reason"))
}

/// A call that is cut off in the middle would be neither done nor undone.
pub(crate) fn is_late(deadline: Instant) -> bool {
    deadline.saturating_duration_since(Instant::now()) < CALL_TIME + Duration::from_secs(1)
}

#[cfg(test)]
mod tests {
    use aws_sdk_securityhub::types::WorkflowStatus;
    use serde_json::{Value, json};

    use super::*;
    use crate::stub::Stub;

    const PRODUCT: &str = "arn:aws:securityhub:eu-west-1::product/aws/securityhub";

    #[tokio::test]
    async fn findings_that_come_to_the_same_are_told_of_in_one_call() {
        let stub =
            Stub::answering([(200, done(0..100)), (200, done(100..150)), (200, done(900..901))]);
        let mut updates: BTreeMap<_, _> = (0..150).map(|n| (named(n), resolved("a"))).collect();
        updates.insert(named(900), resolved("b"));
        assert!(Hub::new(&stub.clients()).update(&updates, soon()).await.is_empty());
        let sizes: Vec<_> = stub
            .requests()
            .iter()
            .map(|request| request["FindingIdentifiers"].as_array().unwrap().len())
            .collect();
        assert_eq!(sizes, [100, 50, 1]);
        let first = &stub.requests()[0];
        assert_eq!(first["Workflow"], json!({"Status": "RESOLVED"}));
        assert_eq!(first["Note"], json!({"Text": "a", "UpdatedBy": "quell"}));
    }

    #[tokio::test]
    async fn what_is_unprocessed_is_undone_and_says_why() {
        let mut answer = done(0..1);
        answer["UnprocessedFindings"] = json!([{
            "FindingIdentifier": identifier(1),
            "ErrorCode": "FindingNotFound",
            "ErrorMessage": "Finding Not Found",
        }]);
        let stub = Stub::answering([(200, answer)]);
        // The third is in neither list.
        let updates = (0..3).map(|n| (named(n), resolved("a"))).collect();
        let undone = Hub::new(&stub.clients()).update(&updates, soon()).await;
        let why: Vec<_> = undone.iter().map(|(f, why)| format!("{}: {why}", f.id)).collect();
        assert_eq!(
            why,
            [
                "0001: securityhub:BatchUpdateFindings: Security Hub did not do it: FindingNotFound: Finding Not Found",
                "0002: securityhub:BatchUpdateFindings: Security Hub did not do it: the answer does not say which findings it is about",
            ]
        );
    }

    #[tokio::test]
    async fn a_call_that_fails_leaves_all_of_it_undone() {
        for (status, answer) in [
            (429, json!({"Code": "LimitExceededException", "Message": "slow down"})),
            (500, json!({"Code": "InternalException", "Message": "oops"})),
            (403, json!({"Code": "AccessDeniedException", "Message": "no"})),
            (200, json!({})),
            (200, json!({"ProcessedFindings": [], "UnprocessedFindings": []})),
        ] {
            let stub = Stub::answering([(status, answer.clone()), (status, answer)]);
            let hub = Hub::new(&stub.clients());
            let updates = (0..2).map(|n| (named(n), resolved("a"))).collect();
            assert_eq!(hub.update(&updates, soon()).await.len(), 2, "{status}");
            let findings = (0..2).map(own).collect();
            assert_eq!(hub.import(findings, soon()).await.len(), 2, "{status}");
        }
    }

    #[tokio::test]
    async fn of_an_import_only_what_failed_is_undone_if_the_answer_says_what() {
        let failed = json!({"Id": "0001", "ErrorCode": "InvalidInput", "ErrorMessage": "bad"});
        for (answer, undone) in [
            (json!({"FailedCount": 0, "SuccessCount": 3}), &[][..]),
            (json!({"FailedCount": 1, "SuccessCount": 2, "FailedFindings": [failed]}), &["0001"]),
            (json!({"FailedCount": 1, "SuccessCount": 2}), &["0000", "0001", "0002"]),
            (json!({"FailedCount": 0, "SuccessCount": 2}), &["0000", "0001", "0002"]),
            (
                json!({"FailedCount": 1, "SuccessCount": 2, "FailedFindings": [{"Id": "other", "ErrorCode": "x", "ErrorMessage": "y"}]}),
                &["0000", "0001", "0002"],
            ),
        ] {
            let stub = Stub::answering([(200, answer.clone())]);
            let findings = (0..3).map(own).collect();
            let found = Hub::new(&stub.clients()).import(findings, soon()).await;
            assert_eq!(found.keys().collect::<Vec<_>>(), undone, "{answer}");
        }
    }

    #[tokio::test]
    async fn no_call_begins_that_could_be_cut_off() {
        let stub = Stub::answering([]);
        let hub = Hub::new(&stub.clients());
        let deadline = Instant::now() + CALL_TIME;
        let updates = [(named(1), resolved("a"))].into();
        let undone = hub.update(&updates, deadline).await;
        assert!(matches!(undone[&named(1)], Undone::Late(_)));
        assert!(matches!(hub.import(vec![own(1)], deadline).await["0001"], Undone::Late(_)));
        assert!(stub.requests().is_empty());
    }

    fn done(numbers: std::ops::Range<usize>) -> Value {
        let done: Vec<_> = numbers.map(identifier).collect();
        json!({"ProcessedFindings": done, "UnprocessedFindings": []})
    }

    fn identifier(number: usize) -> Value {
        json!({"Id": format!("{number:04}"), "ProductArn": PRODUCT})
    }

    fn named(number: usize) -> Finding {
        Finding::new(&format!("{number:04}"), PRODUCT).unwrap()
    }

    fn own(number: usize) -> AwsSecurityFinding {
        AwsSecurityFinding::builder().id(format!("{number:04}")).build()
    }

    fn resolved(note: &str) -> Update {
        Update { workflow: WorkflowStatus::Resolved, note: note.to_owned() }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }
}
