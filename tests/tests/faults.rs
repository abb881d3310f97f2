//! One failure after another, each by itself: what the real binaries do about it. `docs/failure-modes.md` has all of
//! them. Storms, in which everything fails at once, are in `storm`.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "storm/scene.rs"]
#[allow(dead_code, reason = "the storm uses the rest")]
mod scene;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use aws_smithy_runtime_api::{
    client::{
        http::{
            HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector,
            http_client_fn,
        },
        orchestrator::{HttpRequest, HttpResponse},
    },
    shared::IntoShared as _,
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};
use quell_controls::{All, REGISTRY, with_control};
use quell_engine::{
    Clients, Control, Listen, Signal, Trigger,
    aws::{ATTEMPTS, http_client},
    evaluate::Engine,
    ledger::{Ledger, Status},
    notify::Topic,
    policies::PolicyCache,
    policy::{Mode, Policy},
    serve::handle,
};
use quell_local::{
    Answer, Attempt, Cloud,
    cloud::{ACCOUNT, REGION},
    proxy::{Calls, Fault},
    scenario::{self, Staged},
};
use quell_tests::rig::{again, leaving_keys_unread};
use serde_json::{Value, json};
use tokio::time::sleep;

use scene::{ANY_NUMBER, Scene, is_effect, manual, outcome};

/// All but quarantine, whose thirty calls are the storm's.
const QUICK: [&str; 5] = [
    "ec2-imdsv2",
    "s3-block-public-access",
    "s3-public-acl",
    "s3-public-policy",
    "sg-open-ingress",
];

/// The services in which customers' resources live.
const CUSTOMERS: [&str; 4] = ["CloudWatch", "EC2", "S3", "S3 Control"];

const FOR_EVER: Duration = Duration::from_secs(1 << 30);

// Throttles, failures and hangs

#[tokio::test]
async fn a_read_that_is_throttled_is_made_three_times_and_the_next_delivery_goes_on() {
    let scene = Scene::begin(1, ANY_NUMBER).await;
    for control in QUICK {
        for fault in [Fault::Throttle, Fault::Break] {
            let staged = scene.stage_alone(control, &format!("{fault:?}").to_lowercase()).await;
            let function = scene.patient(control, control);
            scene.fault_reads(&fault);
            let failed = function.invoke(staged.event.to_string()).await.unwrap();
            assert_eq!(failed.answer.error_kind(), Some("Remediation"), "{failed:#?}");
            let most = scene.most_of_one_call(&failed);
            assert_eq!(most, ATTEMPTS as usize, "{control}, {fault:?}");
            assert!(scene.effects(&staged.resource).is_empty());
            scene.is_put_right_by_the_next_delivery(&function, &failed, &staged).await;
        }
    }
}

#[tokio::test]
async fn a_write_that_is_throttled_is_made_three_times_and_stays_in_the_ledger_until_it_is_made() {
    let scene = Scene::begin(2, ANY_NUMBER).await;
    for control in QUICK {
        for fault in [Fault::Throttle, Fault::Break] {
            let staged = scene.stage_alone(control, &format!("{fault:?}").to_lowercase()).await;
            let function = scene.patient(control, control);
            for service in CUSTOMERS {
                scene.proxy.fault(Calls::any().service(service).writes(), fault.clone());
            }
            let failed = function.invoke(staged.event.to_string()).await.unwrap();
            assert_eq!(failed.answer.error_kind(), Some("Remediation"), "{failed:#?}");
            let writes = scene.proxy.count(|call| {
                call.is_write
                    && CUSTOMERS.contains(&call.service.as_str())
                    && call.request_id.as_ref() == Some(&failed.request_id)
            });
            assert_eq!(writes, ATTEMPTS as usize, "{control}, {fault:?}");
            let record = scene.records(&staged).await.remove(0);
            assert_eq!(record.status, Status::Failed, "{record:#?}");
            assert_eq!(record.result.told, Some(Status::Failed), "people heard of it");
            scene.is_put_right_by_the_next_delivery(&function, &failed, &staged).await;
        }
    }
}

#[tokio::test]
async fn a_call_that_hangs_ends_by_itself_and_is_no_answer() {
    let scene = Scene::begin(3, ANY_NUMBER).await;
    for (control, calls) in [
        ("s3-public-acl", Calls::any().operation("GetBucketAcl")),
        ("s3-public-acl", Calls::any().operation("PutBucketAcl")),
        ("sg-open-ingress", Calls::any().operation("RevokeSecurityGroupIngress")),
    ] {
        let staged = scene.stage_alone(control, &format!("hang{}", scene.proxy.log().len())).await;
        // Two minutes for the event, six seconds for a call.
        let (event, call) = (Duration::from_secs(120), Duration::from_secs(6));
        let function = scene.function_with(control, control, event, call);
        let rule = scene.proxy.fault(calls, Fault::Hang);
        let failed = function.invoke(staged.event.to_string()).await.unwrap();
        let Answer::Error { message, .. } = &failed.answer else { panic!("{failed:#?}") };
        assert!(message.contains("no answer"), "{message}");
        assert!((2..=3).contains(&rule.fired()), "{control}: {}", rule.fired());
        scene.is_put_right_by_the_next_delivery(&function, &failed, &staged).await;
    }
}

#[tokio::test]
async fn a_throttle_does_not_put_off_the_rest_of_an_evaluation() {
    let scene = Scene::begin(4, ANY_NUMBER).await;
    for control in QUICK {
        // A process that has just started has measured nothing, and one that was idle next to nothing.
        let staged = scene.stage_alone(control, "once").await;
        let function = scene.patient(control, control);
        for service in CUSTOMERS {
            scene.proxy.fault(Calls::any().service(service).first(1), Fault::Throttle);
        }
        let attempt = function.invoke(staged.event.to_string()).await.unwrap();
        assert_eq!(outcome(&attempt, control), Some("fixed"), "{attempt:#?}");
        scene.proxy.heal();
    }
}

#[tokio::test]
async fn a_call_that_is_denied_is_made_once_and_said_to_be() {
    let scene = Scene::begin(5, ANY_NUMBER).await;
    for (control, code) in
        [("ec2-imdsv2", "UnauthorizedOperation"), ("s3-public-acl", "AccessDenied")]
    {
        let staged = scene.stage_alone(control, "denied").await;
        let function = scene.patient(control, control);
        let denied = Fault::refuse(403, code, "not authorized by a service control policy");
        let rules = CUSTOMERS.map(|service| {
            scene.proxy.fault(Calls::any().service(service).writes(), denied.clone())
        });
        let failed = function.invoke(staged.event.to_string()).await.unwrap();
        let Answer::Error { message, .. } = &failed.answer else { panic!("{failed:#?}") };
        assert!(message.contains("denied") && message.contains(code), "{message}");
        assert_eq!(rules.iter().map(|rule| rule.fired()).sum::<usize>(), 1);
        let record = scene.records(&staged).await.remove(0);
        assert!(record.result.reason.unwrap().contains("denied"), "it is in the ledger");
        scene.is_put_right_by_the_next_delivery(&function, &failed, &staged).await;
    }
}

// Answers that are not what they seem

#[tokio::test]
async fn half_an_answer_is_never_taken_for_all_of_it() {
    let scene = Scene::begin(6, ANY_NUMBER).await;
    for control in QUICK {
        for fault in [Fault::Shorten, Fault::Truncate] {
            let staged = scene.stage_alone(control, &format!("{fault:?}").to_lowercase()).await;
            let function = scene.patient(control, control);
            scene.fault_reads(&fault);
            let failed = function.invoke(staged.event.to_string()).await.unwrap();
            assert_eq!(failed.answer.error_kind(), Some("Remediation"), "{failed:#?}");
            assert!(scene.effects(&staged.resource).is_empty());
            scene.is_put_right_by_the_next_delivery(&function, &failed, &staged).await;
        }
    }
}

#[tokio::test]
async fn half_an_answer_of_the_ledger_changes_nothing() {
    let scene = Scene::begin(7, ANY_NUMBER).await;
    for operation in ["BatchGetItem", "TransactWriteItems"] {
        for fault in [Fault::Shorten, Fault::Truncate] {
            let name = format!("{fault:?}{operation}").to_lowercase();
            let staged = scene.stage_alone("s3-public-acl", &name).await;
            let function = scene.function("s3-public-acl", &name);
            scene.proxy.fault(Calls::any().operation(operation), fault);
            let failed = function.invoke(staged.event.to_string()).await.unwrap();
            assert!(!failed.answer.is_response(), "{failed:#?}");
            assert!(scene.effects(&staged.resource).is_empty(), "{name}");
            scene.proxy.heal();
            scene.lease_ends(&staged).await;
            scene.is_put_right_by_the_next_delivery(&function, &failed, &staged).await;
        }
    }
}

#[tokio::test]
async fn a_fix_that_shows_late_is_a_fix_and_is_made_once() {
    let scene = Scene::begin(8, ANY_NUMBER).await;
    for control in QUICK {
        let staged = scene.stage_alone(control, "late").await;
        let function = scene.patient(control, control);
        let old = CUSTOMERS.map(|service| {
            let reads = Calls::any().service(service).reads();
            scene.proxy.fault(reads.first(2), Fault::Stale(FOR_EVER))
        });
        let attempt = function.invoke(staged.event.to_string()).await.unwrap();
        assert_eq!(outcome(&attempt, control), Some("fixed"), "{attempt:#?}");
        assert!(old.iter().any(|rule| rule.fired() > 0), "{control} read it again");
        assert_eq!(scene.effects(&staged.resource).len(), 1);
        scene.proxy.heal();
    }
}

#[tokio::test]
async fn a_fix_that_does_not_show_is_none_until_it_does() {
    let scene = Scene::begin(9, ANY_NUMBER).await;
    for control in ["ec2-imdsv2", "s3-public-acl"] {
        let staged = scene.stage_alone(control, "never").await;
        let function = scene.patient(control, control);
        for service in CUSTOMERS {
            let reads = Calls::any().service(service).reads();
            scene.proxy.fault(reads, Fault::Stale(FOR_EVER));
        }
        let failed = function.invoke(staged.event.to_string()).await.unwrap();
        let Answer::Error { message, .. } = &failed.answer else { panic!("{failed:#?}") };
        assert!(message.contains("does not show it"), "{message}");
        scene.is_put_right_by_the_next_delivery(&function, &failed, &staged).await;
    }
}

#[tokio::test]
async fn what_is_not_visible_yet_is_waited_for_and_never_taken_for_gone() {
    let scene = Scene::begin(10, ANY_NUMBER).await;
    let nowhere =
        Fault::refuse(400, "InvalidInstanceID.NotFound", "The instance ID does not exist");
    let asked = || Calls::any().operation("DescribeInstances");

    let staged = scene.stage("ec2-imdsv2", "soon").await;
    let function = scene.patient("ec2-imdsv2", "ec2-imdsv2");
    let rule = scene.proxy.fault(asked().first(2), nowhere.clone());
    let attempt = function.invoke(staged.event.to_string()).await.unwrap();
    assert_eq!((outcome(&attempt, "ec2-imdsv2"), rule.fired()), (Some("fixed"), 2));

    let staged = scene.stage("ec2-imdsv2", "later").await;
    let hurried = scene.function("ec2-imdsv2", "hurried");
    scene.proxy.fault(asked(), nowhere);
    let failed = hurried.invoke(staged.event.to_string()).await.unwrap();
    assert!(!failed.answer.is_response(), "{failed:#?}");
    scene.is_put_right_by_the_next_delivery(&function, &failed, &staged).await;
}

#[tokio::test]
async fn every_page_is_read() {
    let scene = Scene::begin(11, ANY_NUMBER).await;
    for control in ["sg-open-ingress", "ec2-quarantine"] {
        let staged = scene.stage(control, "pages").await;
        let pages = Arc::new(AtomicUsize::new(0));
        let sdk = scene.cloud.sdk.to_builder().http_client(in_two_pages(&pages)).build();
        let seen = assess(&Clients::new(sdk, ACCOUNT), &staged).await;
        assert_eq!(seen, scene.assess(&staged).await, "{control}");
        assert!(pages.load(Ordering::Relaxed) >= 2, "{control}: there were pages");
    }
}

// The ledger and the topic

#[tokio::test]
async fn while_the_ledger_is_out_of_reach_nothing_is_changed_and_nothing_is_lost() {
    let scene = Scene::begin(12, ANY_NUMBER).await;
    for (name, calls) in [
        ("all", Calls::any().service("DynamoDB")),
        ("writes", Calls::any().service("DynamoDB").writes()),
        ("reads", Calls::any().service("DynamoDB").reads()),
    ] {
        let staged = scene.stage_alone("s3-public-acl", name).await;
        let function = scene.patient("s3-public-acl", name);
        let function = function.paced(0.001).with_dead_letters(scene.stack.dead_letter_queue());
        scene.proxy.fault(calls, Fault::Break);
        let ended = function.invoke_async(staged.event.to_string()).await.unwrap();
        assert!(ended.dead_lettered, "{ended:#?}");
        assert!(scene.effects(&staged.resource).is_empty(), "{name}");
        scene.proxy.heal();
        let letter = scene.stack.dead_letters().await.unwrap().remove(0);
        let attempt = function.invoke(letter.body).await.unwrap();
        assert_eq!(outcome(&attempt, "s3-public-acl"), Some("fixed"), "{attempt:#?}");
        scene.story(&staged).await;
    }
}

#[tokio::test]
async fn a_budget_that_cannot_be_counted_is_neither_free_nor_used_up() {
    let scene = Scene::begin(13, ANY_NUMBER).await;
    let staged = scene.stage_alone("s3-public-acl", "budget").await;
    let function = scene.function("s3-public-acl", "budget");
    scene.proxy.fault(Calls::any(), Fault::cancel("ThrottlingError", "BUD#"));
    let failed = function.invoke(staged.event.to_string()).await.unwrap();
    assert!(!failed.answer.is_response(), "{failed:#?}");
    assert!(scene.effects(&staged.resource).is_empty());
    assert!(scene.records(&staged).await.is_empty(), "nothing is parked");
    scene.is_put_right_by_the_next_delivery(&function, &failed, &staged).await;
}

#[tokio::test]
async fn a_transaction_in_conflict_is_made_again_and_counts_once() {
    let scene = Scene::begin(14, ANY_NUMBER).await;
    for (number, prefix) in ["LCK#", "REC#", "BUD#", "HLT#"].into_iter().enumerate() {
        let staged = scene.stage_alone("s3-public-acl", &format!("conflict{number}")).await;
        let function = scene.patient("s3-public-acl", prefix);
        let conflict = Fault::cancel("TransactionConflict", prefix);
        let rule = scene.proxy.fault(Calls::any().first(4), conflict);
        let attempt = function.invoke(staged.event.to_string()).await.unwrap();
        assert_eq!(outcome(&attempt, "s3-public-acl"), Some("fixed"), "{attempt:#?}");
        assert_eq!(rule.fired(), 4);
        assert_eq!(scene.effects(&staged.resource).len(), 1);
        scene.story(&staged).await;
        scene.proxy.heal();
    }
}

#[tokio::test]
async fn keys_that_a_batch_left_out_are_read_again_and_never_taken_for_absent() {
    let scene = Scene::begin(15, ANY_NUMBER).await;
    let staged = scene.stage_alone("s3-public-acl", "keys").await;
    let sdk = scene.cloud.sdk.to_builder().http_client(leaving_keys_unread("")).build();
    let ended = scene.handle(&sdk, &staged.event, Duration::from_secs(60), "keys").await;
    assert!(ended.unwrap_err().contains("not all keys were read"));
    assert!(scene.is_violating(&staged).await);
}

#[tokio::test]
async fn a_topic_out_of_reach_delays_the_message_and_repeats_no_change() {
    let scene = Scene::begin(16, ANY_NUMBER).await;
    for fault in [Fault::Break, Fault::Throttle, Fault::DropRequest] {
        let staged = scene.stage_alone("s3-public-acl", &format!("{fault:?}").to_lowercase()).await;
        let (event, call) = (Duration::from_secs(12), Duration::from_secs(3));
        let function = scene.function_with("s3-public-acl", "topic", event, call);
        scene.proxy.fault(Calls::any().service("SNS"), fault);
        let failed = function.invoke(staged.event.to_string()).await.unwrap();
        assert!(!scene.is_violating(&staged).await, "the fix does not wait for the message");
        let record = scene.records(&staged).await.remove(0);
        assert!(record.open && record.result.told.is_none(), "{record:#?}");
        scene.proxy.heal();
        scene.lease_ends(&staged).await;
        scene.recover(&function, &staged).await;
        let record = scene.story(&staged).await;
        let heard = scene.told().await.into_iter().filter(|(id, _)| *id == record.id);
        assert_eq!(heard.count(), 1, "{failed:#?}");
        assert_eq!(scene.effects(&staged.resource).len(), 1);
    }
}

#[tokio::test]
async fn while_messages_cannot_be_counted_critical_ones_are_told_and_the_others_wait() {
    let scene = Scene::begin(21, ANY_NUMBER).await;
    let policy = Policy::by_name(Mode::Enforce, REGISTRY);
    scene.stack.apply_policy(&policy).await.unwrap();
    for (control, is_critical) in [("s3-public-policy", true), ("s3-public-acl", false)] {
        let staged = scene.stage(control, "counted").await;
        let (event, call) = (Duration::from_secs(12), Duration::from_secs(3));
        let function = scene.function_with(control, control, event, call);
        let counts = Calls::any().service("DynamoDB").operation("UpdateItem").key("BUL#");
        let rule = scene.proxy.fault(counts, Fault::Throttle);
        let attempt = function.invoke(staged.event.to_string()).await.unwrap();
        assert_eq!(rule.fired(), ATTEMPTS as usize, "{attempt:#?}");
        assert!(!scene.is_violating(&staged).await, "the fix does not wait for the message");
        let id = scene.records(&staged).await.remove(0).id;
        let heard = || async { scene.told().await.iter().filter(|(of, _)| *of == id).count() };
        assert_eq!(heard().await, usize::from(is_critical), "{attempt:#?}");
        assert_eq!(outcome(&attempt, control) == Some("fixed"), is_critical, "{attempt:#?}");
        scene.proxy.heal();
        if !is_critical {
            scene.lease_ends(&staged).await;
            scene.recover(&function, &staged).await;
        }
        scene.story(&staged).await;
        assert_eq!(heard().await, 1, "once");
        assert_eq!(scene.effects(&staged.resource).len(), 1);
    }
}

// Events

#[tokio::test]
async fn an_event_is_judged_by_what_is_there_now_however_old_it_is() {
    let scene = Scene::begin(17, ANY_NUMBER).await;
    let function = scene.patient("s3-public-acl", "old");
    let aged = |staged: &Staged| {
        let mut event = staged.event.clone();
        for place in ["/time", "/detail/eventTime"] {
            *event.pointer_mut(place).unwrap() = json!("2024-02-03T04:05:06Z");
        }
        event.to_string()
    };

    let staged = scene.stage("s3-public-acl", "stillopen").await;
    let attempt = function.invoke(aged(&staged)).await.unwrap();
    assert_eq!(outcome(&attempt, "s3-public-acl"), Some("fixed"), "{attempt:#?}");

    let staged = scene.stage("s3-public-acl", "closedsince").await;
    let private = aws_sdk_s3::types::BucketCannedAcl::Private;
    scene.cloud.s3.put_bucket_acl().bucket(&staged.resource).acl(private).send().await.unwrap();
    let attempt = function.invoke(aged(&staged)).await.unwrap();
    assert_eq!(outcome(&attempt, "s3-public-acl"), Some("compliant"), "{attempt:#?}");

    let staged = scene.stage("s3-public-acl", "deletedsince").await;
    scene.delete_bucket(&staged.resource).await;
    let attempt = function.invoke(aged(&staged)).await.unwrap();
    assert_eq!(outcome(&attempt, "s3-public-acl"), Some("gone"), "{attempt:#?}");
    assert!(scene.effects(&staged.resource).is_empty());
}

#[tokio::test]
async fn events_in_the_wrong_order_come_to_the_same_end() {
    let scene = Scene::begin(18, ANY_NUMBER).await;
    let staged = scene.stage("s3-public-acl", "order").await;
    let function = scene.patient("s3-public-acl", "order");
    let mut earlier = again(&staged.event, "77");
    *earlier.pointer_mut("/time").unwrap() = json!("2024-02-03T04:05:06Z");
    let mut outcomes = Vec::new();
    for event in [&staged.event, &earlier, &staged.event] {
        let attempt = function.invoke(event.to_string()).await.unwrap();
        outcomes.push(outcome(&attempt, "s3-public-acl").unwrap().to_owned());
    }
    assert_eq!(outcomes, ["fixed", "compliant", "duplicate"]);
    assert_eq!(scene.effects(&staged.resource).len(), 1);
}

/// EventBridge gives an archived event the id that it had, and the name of the replay.
#[tokio::test]
async fn a_replay_of_what_was_dealt_with_changes_nothing() {
    let scene = Scene::begin(19, ANY_NUMBER).await;
    for control in QUICK {
        let staged = scene.stage(control, "replay").await;
        let function = scene.patient(control, control);
        let attempt = function.invoke(staged.event.to_string()).await.unwrap();
        assert_eq!(outcome(&attempt, control), Some("fixed"), "{attempt:#?}");
        let mut replayed = staged.event.clone();
        replayed["replay-name"] = json!("after-the-outage");
        let attempt = function.invoke(replayed.to_string()).await.unwrap();
        assert_eq!(outcome(&attempt, control), Some("duplicate"), "{attempt:#?}");
        assert_eq!(scene.effects(&staged.resource).len(), 1);
    }
}

#[tokio::test]
async fn whoever_is_frozen_past_its_last_moment_changes_nothing_when_it_thaws() {
    let scene = Scene::begin(20, ANY_NUMBER).await;
    let staged = scene.stage_alone("s3-public-acl", "frozen").await;
    let (deadline, margin) = (Duration::from_secs(8), scene::MARGIN);
    // It stands still while its record is written, until there is no time for a call any more.
    let last_start = Instant::now() + deadline - margin;
    let frozen = scene.proxy.when(Calls::any().key("REC#").writes().once(), move |_| async move {
        sleep(last_start.saturating_duration_since(Instant::now())).await;
    });
    let sdk = Cloud::at(&scene.proxy.endpoint).sdk;
    let left = last_start.saturating_duration_since(Instant::now()) + margin;
    let ended = scene.handle(&sdk, &staged.event, left, "frozen").await;
    assert!(ended.is_err(), "{ended:?}");
    assert_eq!(frozen.fired(), 1);
    assert!(scene.effects(&staged.resource).is_empty());
    let record = scene.records(&staged).await.remove(0);
    assert_eq!(record.status, Status::Failed);
    assert!(record.result.reason.unwrap().contains("too little time"));
    let ended = scene.handle(&sdk, &staged.event, Duration::from_secs(60), "frozen").await;
    assert_eq!(ended, Ok(()));
    scene.story(&staged).await;
}

// What is so by construction

/// What AWS cannot take back once it is done. What Quell deletes it has made itself, or can make anew from its record.
#[test]
fn nothing_that_cannot_be_taken_back_is_among_the_writes() {
    const FINAL: [&str; 8] =
        ["Terminate", "Delete", "Purge", "Disable", "Remove", "Release", "Schedule", "Cancel"];
    const TAKEN_BACK: &[&str] = &[
        "ec2:DeleteNetworkAclEntry",
        "ec2:DeleteSecurityGroup",
        "ec2:DeleteTags",
        "ec2:DisableEbsEncryptionByDefault",
        "ec2:DisableImageBlockPublicAccess",
        "ec2:DisableSnapshotBlockPublicAccess",
        "iam:DeleteAccountPasswordPolicy",
        "iam:DeleteGroupPolicy",
        "iam:DeleteRolePermissionsBoundary",
        "iam:DeleteRolePolicy",
        "iam:DeleteUserPermissionsBoundary",
        "iam:DeleteUserPolicy",
        "iam:RemoveUserFromGroup",
        "s3:DeleteBucketPolicy",
    ];
    for meta in REGISTRY {
        for action in meta.writes {
            let verb = action.split_once(':').unwrap().1;
            let is_final = FINAL.iter().any(|word| verb.starts_with(word));
            assert!(!is_final || TAKEN_BACK.contains(action), "{}: {action}", meta.id);
        }
    }
}

/// EventBridge passes reads on only to rules that ask for them expressly, and Quell's do not.
#[test]
fn no_control_waits_for_an_event_that_only_reads() {
    for meta in REGISTRY {
        for listen in meta.listens {
            if let Listen::ApiCall { calls, .. } = listen {
                for name in *calls {
                    let reads = ["Get", "List", "Describe", "Head", "Lookup"];
                    assert!(
                        !reads.iter().any(|verb| name.starts_with(verb)),
                        "{}: {name}",
                        meta.id
                    );
                }
            }
        }
    }
}

impl Scene {
    /// With the event of its control.
    async fn stage(&self, control: &str, name: &str) -> Staged {
        scenario::stage(&self.cloud, control, name).await.unwrap()
    }

    /// With the order of a person who wants this control alone to look at it: some events are for several.
    async fn stage_alone(&self, control: &str, name: &str) -> Staged {
        let staged = self.stage(control, name).await;
        Staged { event: manual(control, &staged.resource), ..staged }
    }

    fn fault_reads(&self, fault: &Fault) {
        for service in CUSTOMERS {
            self.proxy.fault(Calls::any().service(service).reads(), fault.clone());
        }
    }

    /// How often the attempt made that call on a customer's service that it made most often.
    fn most_of_one_call(&self, attempt: &Attempt) -> usize {
        let mut counts = BTreeMap::<String, usize>::new();
        for call in self.proxy.log() {
            let is_its = call.request_id.as_ref() == Some(&attempt.request_id);
            if is_its && CUSTOMERS.contains(&call.service.as_str()) {
                *counts.entry(format!("{} {}", call.service, call.operation)).or_default() += 1;
            }
        }
        counts.into_values().max().unwrap_or_default()
    }

    /// Once nothing fails any more: one effect, one record, nothing owed to anybody.
    async fn is_put_right_by_the_next_delivery(
        &self,
        function: &quell_local::Function,
        failed: &Attempt,
        staged: &Staged,
    ) {
        self.proxy.heal();
        let attempt = function.retry(&failed.request_id, staged.event.to_string()).await.unwrap();
        assert_eq!(outcome(&attempt, staged.control), Some("fixed"), "{attempt:#?}");
        assert!(!self.is_violating(staged).await);
        self.story(staged).await;
        let effects = self.effects(&staged.resource);
        assert_eq!(effects.len(), 1, "{effects:#?}");
        assert!(effects.iter().all(is_effect));
    }

    /// An engine in this process instead of a function.
    async fn handle(
        &self,
        sdk: &aws_config::SdkConfig,
        event: &Value,
        time: Duration,
        delivery: &str,
    ) -> Result<(), String> {
        let aws = Clients::new(sdk.clone(), ACCOUNT);
        let engine = Engine {
            ledger: Ledger::new(&aws, self.stack.ledger.as_str()),
            topic: Some(Topic::new(&aws, self.stack.topic.as_str())),
            policies: Arc::new(PolicyCache::default()),
            acts: true,
            deadline: Instant::now() + time,
            margin: scene::MARGIN,
            delivery: delivery.to_owned(),
            sweeps_every: None,
        };
        let ended = Box::pin(handle::<All>(&engine, &aws, &event.to_string())).await;
        ended.map(drop).map_err(|failure| failure.to_string())
    }

    async fn delete_bucket(&self, bucket: &str) {
        let objects = self.cloud.s3.list_objects_v2().bucket(bucket).send().await.unwrap();
        for object in objects.contents() {
            let delete = self.cloud.s3.delete_object().bucket(bucket);
            delete.key(object.key().unwrap()).send().await.unwrap();
        }
        self.cloud.s3.delete_bucket().bucket(bucket).send().await.unwrap();
    }
}

/// What the resource's own control reads through these clients.
async fn assess(aws: &Clients, staged: &Staged) -> Value {
    let signal = Signal {
        trigger: Trigger::Manual {
            control: staged.control.to_owned(),
            resource: staged.resource.clone(),
        },
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
        event_id: String::new(),
        deduplication: String::new(),
        time: None,
        actor: None,
        request_id: None,
        finding: None,
    };
    with_control!(staged.control, C => {
        let target = C::targets(&signal).unwrap().remove(0);
        let state = Box::pin(C::connect(aws).assess(&target)).await.unwrap().unwrap();
        serde_json::to_value(state).unwrap()
    })
    .unwrap()
}

/// AWS as usual, but lists of EC2 that may come in pages come in two.
fn in_two_pages(pages: &Arc<AtomicUsize>) -> SharedHttpClient {
    let (inner, pages) = (http_client(), Arc::clone(pages));
    http_client_fn(move |settings, components| {
        use aws_smithy_runtime_api::client::http::HttpClient as _;
        let inner = inner.http_connector(settings, components);
        SharedHttpConnector::new(InTwoPages(inner, Arc::clone(&pages)))
    })
    .into_shared()
}

#[derive(Debug)]
struct InTwoPages(SharedHttpConnector, Arc<AtomicUsize>);

impl HttpConnector for InTwoPages {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        const TOKEN: &str = "&NextToken=the-second";
        let body = String::from_utf8_lossy(request.body().bytes().unwrap_or_default()).into_owned();
        let set = [
            ("Action=DescribeSecurityGroupRules&", "securityGroupRuleSet"),
            ("Action=DescribeNetworkInterfaces&", "networkInterfaceSet"),
        ];
        let Some((_, set)) = set.into_iter().find(|(action, _)| body.contains(action)) else {
            return self.0.call(request);
        };
        let is_second = body.contains(TOKEN);
        let body = body.replace(TOKEN, "");
        request.headers_mut().insert("content-length", body.len().to_string());
        *request.body_mut() = SdkBody::from(body);
        let (answer, pages) = (self.0.call(request), Arc::clone(&self.1));
        HttpConnectorFuture::new(async move {
            let answer = answer.await?;
            let status = answer.status();
            let body = ByteStream::new(answer.into_body()).collect().await.unwrap().to_vec();
            let body = String::from_utf8(body).unwrap();
            pages.fetch_add(1, Ordering::Relaxed);
            Ok(HttpResponse::new(status, SdkBody::from(half_of(&body, set, is_second))))
        })
    }
}

fn half_of(body: &str, set: &str, is_second: bool) -> String {
    let (open, close) = (format!("<{set}>"), format!("</{set}>"));
    let (Some(from), Some(to)) = (body.find(&open), body.rfind(&close)) else {
        return body.to_owned();
    };
    let from = from + open.len();
    let items = top_level_items(&body[from..to]);
    let middle = items.len() / 2;
    let (kept, token) = match is_second {
        false => (&items[..middle], "<nextToken>the-second</nextToken>"),
        true => (&items[middle..], ""),
    };
    format!("{}{}{close}{token}{}", &body[..from], kept.concat(), &body[to + close.len()..])
}

fn top_level_items(list: &str) -> Vec<&str> {
    let (mut items, mut depth, mut start, mut at) = (Vec::new(), 0, 0, 0);
    while let Some(next) = list[at..].find('<').map(|found| at + found) {
        if list[next..].starts_with("<item>") {
            if depth == 0 {
                start = next;
            }
            depth += 1;
        } else if list[next..].starts_with("</item>") {
            depth -= 1;
            if depth == 0 {
                items.push(&list[start..next + "</item>".len()]);
            }
        }
        at = next + 1;
    }
    items
}
