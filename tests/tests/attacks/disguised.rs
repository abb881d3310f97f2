//! Attackers who look like Quell itself.

use quell_controls::REGISTRY;
use quell_engine::{Outcome, Safety, policy::Mode};
use quell_local::cloud::ACCOUNT;
use quell_tests::rig::own;
use serde_json::{Value, json};

use crate::place::{Place, unique};

/// As the SDK that Quell is made with says it.
const OUR_AGENT: &str =
    "aws-sdk-rust/1.4.0 os/linux lang/rust/1.95.0 exec-env/AWS_Lambda_provided.al2023 quell";

#[tokio::test]
async fn our_user_agent_and_our_session_name_hide_nothing_of_another_role() {
    let place = Place::begin_without_budgets(Mode::Enforce).await;
    let worker = place.worker();
    // Who signed in is all that these are about.
    let told_by_whom = ["iam-console-mfa", "iam-root-use"];
    let all = REGISTRY.iter().filter(|meta| !told_by_whom.contains(&meta.id));
    for (number, meta) in all.enumerate() {
        let function = meta.function;
        let ours = format!("quell-{function}");
        // Another role with our session's name; our role's name in another path; our own role, stolen.
        for (turn, (arn, issuer)) in [
            (format!("arn:aws:sts::{ACCOUNT}:assumed-role/intruder/{ours}"), "intruder".to_owned()),
            (format!("arn:aws:sts::{ACCOUNT}:assumed-role/{ours}/{ours}"), ours.clone()),
        ]
        .into_iter()
        .enumerate()
        {
            let staged = place.stage(meta.id, &format!("ours{number}{turn}")).await;
            let mut event = staged.event.clone();
            event["detail"]["userAgent"] = json!(OUR_AGENT);
            event["detail"]["sourceIPAddress"] = json!("lambda.amazonaws.com");
            event["detail"]["requestID"] = json!(unique());
            event["detail"]["userIdentity"] = json!({
                "type": "AssumedRole",
                "principalId": format!("AROA4QUELLEXAMPLE0001:{ours}"),
                "arn": arn,
                "accountId": ACCOUNT,
                "invokedBy": "lambda.amazonaws.com",
                "sessionContext": {
                    "sessionIssuer": {"type": "Role", "userName": issuer, "accountId": ACCOUNT},
                    "sourceIdentity": "quell",
                },
            });
            let response = worker.deliver(&event.to_string()).await.unwrap();
            let report = own(response.results, &staged);
            let is_told_only = meta.safety == Safety::ReportOnly;
            let expected = if is_told_only { Outcome::Observed } else { Outcome::Fixed };
            assert_eq!(report.outcome, expected, "{report:#?}");
            assert_eq!(place.is_violating(&staged).await, is_told_only, "{}: {arn}", meta.id);
        }
    }
}

/// A request id is AWS's to give. One of a length or form that none has is nobody's, and hides nothing either.
#[tokio::test]
async fn a_request_id_that_cannot_be_one_hides_nothing_and_stops_nothing() {
    let place = Place::begin(Mode::Enforce).await;
    let worker = place.worker();
    for (number, id) in
        ["x".repeat(100_000), "\u{0}".repeat(3000), "💥".repeat(600), " ".to_owned()]
            .iter()
            .enumerate()
    {
        let staged = place.stage("s3-public-acl", &format!("id{number}")).await;
        let mut event = staged.event.clone();
        event["detail"]["requestID"] = json!(id);
        let response = worker.deliver(&event.to_string()).await;
        let response = response.unwrap_or_else(|error| panic!("{number}: {error}"));
        assert_eq!(own(response.results, &staged).outcome, Outcome::Fixed, "{number}");
    }
}

/// Everything that an event says of itself and of who did it is bounded, whatever it holds.
#[tokio::test]
async fn a_name_of_any_length_and_form_does_not_keep_a_fix_from_being_made() {
    let place = Place::begin(Mode::Enforce).await;
    let worker = place.worker();
    for (number, text) in
        ["x".repeat(100_000), "💥".repeat(20_000), "\u{0}\u{202e}#\n".repeat(10_000)]
            .iter()
            .enumerate()
    {
        for field in ["/id", "/detail/eventID", "/detail/userAgent", "/detail/userIdentity/arn"] {
            let staged =
                place.stage("s3-public-acl", &format!("long{number}{}", field.len())).await;
            let mut event = staged.event.clone();
            let place_of = event.pointer_mut(field).unwrap_or_else(|| panic!("{field}"));
            *place_of = Value::String(format!("arn:aws:iam::{ACCOUNT}:user/{text}"));
            let response = worker.deliver(&event.to_string()).await;
            let response = response.unwrap_or_else(|error| panic!("{field} {number}: {error}"));
            let report = own(response.results, &staged);
            assert_eq!(report.outcome, Outcome::Fixed, "{field} {number}: {report:#?}");
        }
    }
}
