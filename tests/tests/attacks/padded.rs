//! Requests that are padded until CloudTrail leaves their parameters out.

use quell_controls::REGISTRY;
use quell_engine::{Meta, Outcome, Safety, error::EventFailure, policy::Mode};
use quell_local::{
    cloud::{ACCOUNT, REGION},
    scenario::SETTINGS,
};
use quell_tests::rig::own;
use serde_json::{Map, Value, json};

use crate::place::Place;

#[tokio::test]
async fn what_is_left_out_of_a_request_is_fixed_or_is_an_error_that_people_see() {
    let place = Place::begin_without_budgets(Mode::Enforce).await;
    let worker = place.worker();
    let (mut fixed, mut errors, mut told) = (0, 0, 0);
    for meta in REGISTRY.iter().filter(|meta| is_told_by_a_call(meta)) {
        for (number, (what, parameters)) in paddings().into_iter().enumerate() {
            for has_resources in [true, false] {
                let name = format!("pad{number}{}", if has_resources { "r" } else { "n" });
                let staged = place.stage(meta.id, &name).await;
                let mut event = staged.event.clone();
                let detail = event["detail"].as_object_mut().unwrap();
                match &parameters {
                    Some(value) => drop(detail.insert("requestParameters".into(), value.clone())),
                    None => drop(detail.remove("requestParameters")),
                }
                // Nothing else names the resource, but for the list that CloudTrail makes itself.
                detail.insert("responseElements".into(), Value::Null);
                detail.remove("resources");
                if has_resources {
                    let arn = arn(meta, &staged.resource);
                    let listed = json!([{"ARN": arn, "accountId": ACCOUNT}]);
                    detail.insert("resources".into(), listed);
                }
                // A launch that names no instance is dealt with when the instance runs: here it is another call.
                if meta.id == "ec2-imdsv2" {
                    detail.insert("eventName".into(), json!("ModifyInstanceMetadataOptions"));
                }
                let ended = worker.deliver(&event.to_string()).await;
                let about = format!("{}, {what}, resources listed: {has_resources}", meta.id);
                match ended {
                    // Where a part of Quell is concerned, it is told even if nobody knows which part it was.
                    Ok(response) if meta.safety == Safety::ReportOnly => {
                        let mut own = response.results.iter().filter(|one| one.control == meta.id);
                        assert!(own.all(|one| one.outcome == Outcome::Observed), "{response:#?}");
                        assert!(response.ignored.is_empty(), "{about}: {response:#?}");
                        told += 1;
                    }
                    Ok(response) => {
                        // The account and the region of a setting are those of the envelope.
                        let is_named = has_resources || SETTINGS.contains(&meta.id);
                        assert!(is_named, "{about}: {response:#?}");
                        let report = own(response.results, &staged);
                        assert_eq!(report.outcome, Outcome::Fixed, "{about}: {report:#?}");
                        assert!(!place.is_violating(&staged).await, "{about}");
                        fixed += 1;
                    }
                    Err(EventFailure::Failed(failures)) => {
                        // Of trails, rules and what is IAM's CloudTrail lists nothing.
                        let is_listed = has_resources && !NEVER_LISTED.contains(&meta.function);
                        assert!(!is_listed, "{about}: {failures:?}");
                        let said = failures.iter().map(ToString::to_string);
                        assert!(
                            said.clone().any(|said| said.contains("does not name a resource")),
                            "{about}: {:?}",
                            said.collect::<Vec<_>>()
                        );
                        assert!(place.is_violating(&staged).await, "{about}");
                        errors += 1;
                    }
                    Err(error) => {
                        assert!(matches!(error, EventFailure::Event(_)), "{about}: {error}");
                        assert!(place.is_violating(&staged).await, "{about}");
                        errors += 1;
                    }
                }
            }
        }
    }
    println!(
        "{fixed} fixed all the same, {told} told, {errors} an error in the dead-letter queue, none compliant"
    );
    assert!(fixed >= 25 && errors >= 25);
}

/// Who launches instances with a response that CloudTrail left out is not asked to name them.
#[tokio::test]
async fn a_launch_that_names_no_instance_is_seen_to_when_the_instance_runs() {
    let place = Place::begin(Mode::Enforce).await;
    let worker = place.worker();
    let staged = place.stage("ec2-imdsv2", "launch").await;
    let mut event = staged.event.clone();
    event["detail"]["eventName"] = json!("RunInstances");
    for response in [json!(null), json!({"omitted": "true", "reason": "too large"}), json!({})] {
        event["detail"]["responseElements"] = response;
        let response = worker.deliver(&event.to_string()).await.unwrap();
        assert!(response.results.is_empty(), "{response:?}");
        assert_eq!(response.ignored, ["no control of this function looks at it"]);
    }
    assert!(place.effects().is_empty());
    let sample = quell_tests::read("events/ec2-imdsv2/state-running.json").unwrap();
    let running = staged.about_it(&sample).unwrap();
    let response = worker.deliver(&running).await.unwrap();
    assert_eq!(own(response.results, &staged).outcome, Outcome::Fixed);
    assert!(!place.is_violating(&staged).await);
}

/// `None`: there are no parameters at all.
fn paddings() -> Vec<(&'static str, Option<Value>)> {
    vec![
        (
            "omitted, as CloudTrail writes it",
            Some(json!({"omitted": "true", "originalSize": "149893", "reason": "too large"})),
        ),
        ("omitted, as a flag", Some(json!({"omitted": true, "originalSize": 149_893}))),
        ("omitted, and nothing more", Some(json!({"omitted": true}))),
        ("null", Some(Value::Null)),
        ("empty", Some(json!({}))),
        ("absent", None),
        ("truncated", Some(json!({"acl": "", "policy": "", "ipPermissions": {}}))),
        ("padded with names", Some(padded())),
    ]
}

/// Far more members than a request has, and not the one that counts.
fn padded() -> Value {
    let many: Map<String, Value> =
        (0..2_000).map(|number| (format!("padding{number}"), json!("x".repeat(20)))).collect();
    Value::Object(many)
}

/// Functions whose resources CloudTrail does not list beside a call.
const NEVER_LISTED: &[&str] = &["audit-trail", "iam-credentials", "iam-privilege"];

/// Whether the sample of its bad state is a call; else there are no parameters to pad.
fn is_told_by_a_call(meta: &Meta) -> bool {
    let sample = format!("{}/../events/{}/violating.json", env!("CARGO_MANIFEST_DIR"), meta.id);
    let sample: Value = serde_json::from_str(&std::fs::read_to_string(sample).unwrap()).unwrap();
    sample["detail-type"] == "AWS API Call via CloudTrail"
}

fn arn(meta: &Meta, resource: &str) -> String {
    match meta.id {
        id if id.starts_with("s3-") => format!("arn:aws:s3:::{resource}"),
        "ami-public-image" | "ami-shared-image" => {
            format!("arn:aws:ec2:{REGION}::image/{resource}")
        }
        id if id.starts_with("ebs-") => format!("arn:aws:ec2:{REGION}::snapshot/{resource}"),
        id => {
            let kind = match id {
                "sg-default-rules" | "sg-open-ingress" => "security-group",
                "vpc-flow-logs" => "vpc-flow-log",
                "vpc-nacl-open-ingress" => "network-acl",
                "vpc-subnet-public-ip" => "subnet",
                _ => "instance",
            };
            format!("arn:aws:ec2:{REGION}:{ACCOUNT}:{kind}/{resource}")
        }
    }
}
