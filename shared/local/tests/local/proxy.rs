use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_sdk_dynamodb::{
    Client,
    config::{
        ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextRef,
        retry::RetryConfig, timeout::TimeoutConfig,
    },
    error::{BoxError, ProvideErrorMetadata, SdkError},
    operation::{
        put_item::{PutItemError, PutItemOutput},
        transact_write_items::TransactWriteItemsError,
    },
    types::{AttributeValue, Put, TransactWriteItem, Update},
};
use aws_sdk_s3control::types::PublicAccessBlockConfiguration;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use quell_local::{
    Answer, Cloud, Emulator, Function, Stack,
    cloud::ACCOUNT,
    proxy::{Calls, Entry, Fault, Proxy},
    scenario,
};
use serde_json::json;
use tokio::task::JoinSet;

const CONTROLS: &[&str] = &[
    "ami-block-public-access",
    "ami-public-image",
    "ami-shared-image",
    "cloudtrail-deleted",
    "cloudtrail-event-selectors",
    "cloudtrail-logging",
    "cloudtrail-weakened",
    "config-recorder",
    "ebs-default-encryption",
    "ebs-public-snapshot",
    "ebs-shared-snapshot",
    "ebs-snapshot-block-public-access",
    "ec2-imdsv2",
    "ec2-quarantine",
    "guardduty-detector",
    "iam-admin-policy",
    "iam-admin-group",
    "iam-console-mfa",
    "iam-identity-provider",
    "iam-login-profile",
    "iam-open-trust",
    "iam-password-policy",
    "iam-permissions-boundary",
    "iam-policy-version",
    "iam-quarantine",
    "iam-exposed-key",
    "iam-role-sessions",
    "iam-root-use",
    "iam-second-key",
    "iam-stale-key",
    "quell-rule-disabled",
    "quell-tampered",
    "s3-account-public-access",
    "s3-block-public-access",
    "s3-cross-account-policy",
    "s3-destructive-lifecycle",
    "s3-encryption",
    "s3-foreign-replication",
    "s3-public-acl",
    "s3-public-object",
    "s3-public-policy",
    "s3-versioning",
    "sg-default-rules",
    "sg-open-ingress",
    "vpc-flow-logs",
    "vpc-nacl-open-ingress",
    "vpc-subnet-public-ip",
];

#[tokio::test]
async fn calls_are_named_as_the_sdk_names_them() {
    let rig = Rig::start().await;
    let sent = Sent::default();
    let cloud = sent.by(&rig.proxied());
    for control in CONTROLS {
        let staged = scenario::stage(&cloud, control, "naming").await.unwrap();
        scenario::is_violating(&cloud, &staged).await.unwrap();
        scenario::snapshot(&cloud, &staged).await.unwrap();
    }
    let stack = Stack::deploy_as(&cloud, "named").await.unwrap();
    stack.messages().await.unwrap();
    let public = PublicAccessBlockConfiguration::builder().block_public_acls(true).build();
    let account = cloud.s3control.put_public_access_block().account_id(ACCOUNT);
    account.public_access_block_configuration(public).send().await.unwrap();
    cloud.s3control.get_public_access_block().account_id(ACCOUNT).send().await.unwrap();
    cloud.s3.list_buckets().send().await.unwrap();
    put(&cloud.dynamodb, &stack.ledger, "REC#a").await.unwrap();

    let logged = rig.proxy.log().into_iter().map(|call| (call.service, call.operation));
    let (mut logged, mut sent) = (logged.collect::<Vec<_>>(), sent.take());
    logged.sort();
    sent.sort();
    assert_eq!(logged, sent);
    let services: BTreeSet<_> = sent.iter().map(|(service, _)| service.as_str()).collect();
    let all = [
        "CloudTrail",
        "Config Service",
        "DynamoDB",
        "EC2",
        "EventBridge",
        "GuardDuty",
        "IAM",
        "S3",
        "S3 Control",
        "SNS",
        "SQS",
    ];
    assert_eq!(services, BTreeSet::from(all));
}

#[tokio::test]
async fn a_call_is_logged_with_what_it_is_about_and_whether_it_was_applied() {
    let rig = Rig::start().await;
    let worker = rig.proxy.caller("worker").unwrap();
    let cloud = Cloud::at(&worker.endpoint);
    put(&cloud.dynamodb, &rig.stack.ledger, "LCK#a").await.unwrap();
    cloud.s3.get_bucket_acl().bucket("nobodys").send().await.unwrap_err();
    put(&rig.proxied().dynamodb, &rig.stack.ledger, "LCK#b").await.unwrap();

    let log = rig.proxy.log();
    let (first, second, third) = (&log[0], &log[1], &log[2]);
    assert_eq!((first.index, first.number, first.caller.as_str()), (0, 1, "worker"));
    assert_eq!((first.service.as_str(), first.operation.as_str()), ("DynamoDB", "PutItem"));
    assert_eq!(
        (&first.keys, &first.resources),
        (&vec!["LCK#a".to_owned()], &vec![rig.stack.ledger.clone()])
    );
    assert!(first.is_write && first.applied && first.fault.is_none());
    assert_eq!(first.status, Some(200));
    assert!(first.answered.unwrap() >= first.at);
    assert_eq!(
        (second.operation.as_str(), second.resources[0].as_str()),
        ("GetBucketAcl", "nobodys")
    );
    assert_eq!((second.number, second.status, second.applied), (2, Some(404), false));
    assert_eq!((third.number, third.caller.as_str()), (1, ""));

    assert_eq!(rig.proxy.count(|call| call.is_write && call.applied), 2);
    rig.proxy.clear();
    assert!(rig.proxy.log().is_empty());
    put(&cloud.dynamodb, &rig.stack.ledger, "LCK#c").await.unwrap();
    assert_eq!(rig.proxy.log()[0].index, 3);
}

#[tokio::test]
async fn many_calls_at_the_same_time_get_their_own_answers() {
    let rig = Rig::start().await;
    let client = rig.proxied().dynamodb;
    let mut calls = JoinSet::new();
    for number in 0..200 {
        let (client, table) = (client.clone(), rig.stack.ledger.clone());
        calls.spawn(async move {
            let pk = format!("REC#{number}");
            put(&client, &table, &pk).await.unwrap();
            let key = AttributeValue::S(pk.clone());
            let read = client.get_item().table_name(table).key("pk", key).key("sk", s("ITEM"));
            assert_eq!(read.send().await.unwrap().item.unwrap()["pk"], s(&pk));
        });
    }
    assert_eq!(calls.join_all().await.len(), 200);
    assert_eq!(rig.proxy.count(|call| call.applied && call.answered.is_some()), 400);
}

#[tokio::test]
async fn an_answer_can_be_lost_after_the_call_was_applied() {
    let rig = Rig::start().await;
    let rule =
        rig.proxy.fault(Calls::any().operation("PutItem").key("REC#").once(), Fault::DropAnswer);
    put(&rig.proxied().dynamodb, &rig.stack.ledger, "REC#a").await.unwrap();

    assert_eq!(rule.fired(), 1);
    let log = rig.proxy.log();
    assert_eq!(log.len(), 2, "the SDK calls again: {log:?}");
    assert_eq!(
        (log[0].applied, log[0].answered, &log[0].fault),
        (true, None, &Some(Fault::DropAnswer))
    );
    assert!(log[1].applied && log[1].answered.is_some() && log[1].fault.is_none());

    // Without a second try the caller does not know, but the item is there.
    rig.proxy.fault(Calls::any().key("REC#b"), Fault::DropAnswer);
    let error = put(&rig.once().dynamodb, &rig.stack.ledger, "REC#b").await.unwrap_err();
    assert!(matches!(error, SdkError::DispatchFailure(_)), "{error:?}");
    assert!(rig.has("REC#b").await);
}

#[tokio::test]
async fn a_request_can_be_lost_before_it_is_applied() {
    let rig = Rig::start().await;
    rig.proxy.fault(Calls::any().key("REC#"), Fault::DropRequest);
    let error = put(&rig.once().dynamodb, &rig.stack.ledger, "REC#a").await.unwrap_err();
    assert!(matches!(error, SdkError::DispatchFailure(_)), "{error:?}");
    assert!(!rig.has("REC#a").await);
    rig.proxy.heal();
    put(&rig.once().dynamodb, &rig.stack.ledger, "REC#a").await.unwrap();
}

#[tokio::test]
async fn there_can_be_no_answer_for_as_long_as_the_caller_waits() {
    let rig = Rig::start().await;
    rig.proxy.fault(Calls::any().key("REC#"), Fault::Hang);
    let timeout = TimeoutConfig::builder().operation_timeout(Duration::from_secs(1)).build();
    let config = rig.once().dynamodb.config().to_builder().timeout_config(timeout).build();
    let error = put(&Client::from_conf(config), &rig.stack.ledger, "REC#a").await.unwrap_err();
    assert!(matches!(error, SdkError::TimeoutError(_)), "{error:?}");
    assert!(!rig.has("REC#a").await);
    assert_eq!(rig.proxy.log()[0].status, None);
}

#[tokio::test]
async fn errors_are_told_as_each_service_tells_them() {
    let rig = Rig::start().await;
    rig.proxy.fault(Calls::any(), Fault::refuse(403, "TestedCode", "told <by> & for the test"));
    let cloud = rig.once();
    let cloudwatch = aws_sdk_cloudwatch::Client::new(
        &cloud.sdk.to_builder().retry_config(RetryConfig::disabled()).build(),
    );
    let told = [
        meta(cloud.dynamodb.list_tables().send().await),
        meta(cloud.sqs.list_queues().send().await),
        meta(cloud.sns.list_topics().send().await),
        meta(cloud.ec2.describe_instances().send().await),
        meta(cloud.s3.get_bucket_acl().bucket("b").send().await),
        meta(cloud.s3control.get_public_access_block().account_id(ACCOUNT).send().await),
        meta(cloudwatch.list_metrics().send().await),
    ];
    for (service, error) in
        ["DynamoDB", "SQS", "SNS", "EC2", "S3", "S3 Control", "CloudWatch"].iter().zip(told)
    {
        let (code, message) = error;
        assert_eq!(code.as_deref(), Some("TestedCode"), "{service}");
        assert_eq!(message.as_deref(), Some("told <by> & for the test"), "{service}");
        let of_service =
            rig.proxy.count(|call| call.service == *service && call.status == Some(403));
        assert_eq!(of_service, 1, "{service}");
    }
    assert_eq!(rig.proxy.count(|call| call.applied), 0);
}

#[tokio::test]
async fn the_sdk_tries_again_what_is_throttled() {
    let rig = Rig::start().await;
    let throttled = Fault::refuse(400, "ThrottlingException", "Rate exceeded");
    rig.proxy.fault(Calls::any().service("DynamoDB").first(1), throttled);
    put(&rig.proxied().dynamodb, &rig.stack.ledger, "REC#a").await.unwrap();
    let statuses: Vec<_> = rig.proxy.log().iter().map(|call| call.status).collect();
    assert_eq!(statuses, [Some(400), Some(200)]);
}

#[tokio::test]
async fn throttles_and_failures_are_told_in_each_services_own_words() {
    let rig = Rig::start().await;
    let cloud = rig.once();
    let never = RetryConfig::disabled();
    let lambda =
        aws_sdk_lambda::Client::new(&cloud.sdk.to_builder().retry_config(never.clone()).build());
    let cloudwatch =
        aws_sdk_cloudwatch::Client::new(&cloud.sdk.to_builder().retry_config(never).build());
    let mut told = Vec::new();
    for fault in [Fault::Throttle, Fault::Break] {
        rig.proxy.heal();
        rig.proxy.fault(Calls::any(), fault);
        told.push(
            [
                meta(cloud.dynamodb.list_tables().send().await),
                meta(cloud.dynamodb.list_tables().send().await),
                meta(cloud.sqs.list_queues().send().await),
                meta(cloud.sns.list_topics().send().await),
                meta(cloud.ec2.describe_instances().send().await),
                meta(cloud.s3.get_bucket_acl().bucket("b").send().await),
                meta(cloud.s3control.get_public_access_block().account_id(ACCOUNT).send().await),
                meta(cloudwatch.list_metrics().send().await),
                meta(lambda.invoke().function_name("f").send().await),
            ]
            .map(|(code, _)| code.unwrap()),
        );
    }
    assert_eq!(
        told[0],
        [
            "ProvisionedThroughputExceededException",
            "ThrottlingException",
            "RequestThrottled",
            "Throttling",
            "RequestLimitExceeded",
            "SlowDown",
            "SlowDown",
            "ThrottlingException",
            "TooManyRequestsException",
        ]
    );
    assert_eq!(
        told[1],
        [
            "InternalServerError",
            "InternalServerError",
            "InternalFailure",
            "InternalFailure",
            "Unavailable",
            "InternalError",
            "InternalError",
            "InternalServiceFault",
            "ServiceException",
        ]
    );
    assert_eq!(rig.proxy.count(|call| call.applied), 0);
}

/// Were one of them no throttle or failure to the SDK, it would not be worth another try.
#[tokio::test]
async fn the_sdk_knows_each_throttle_and_failure_for_one() {
    let rig = Rig::start().await;
    let cloud = rig.proxied();
    let lambda = aws_sdk_lambda::Client::new(&cloud.sdk);
    let cloudwatch = aws_sdk_cloudwatch::Client::new(&cloud.sdk);
    for fault in [Fault::Throttle, Fault::Break] {
        rig.proxy.heal();
        rig.proxy.clear();
        rig.proxy.fault(Calls::any(), fault);
        let _ = tokio::join!(
            cloud.dynamodb.list_tables().send(),
            cloud.sqs.list_queues().send(),
            cloud.sns.list_topics().send(),
            cloud.ec2.describe_instances().send(),
            cloud.s3.get_bucket_acl().bucket("b").send(),
            cloud.s3control.get_public_access_block().account_id(ACCOUNT).send(),
            cloudwatch.list_metrics().send(),
            lambda.invoke().function_name("f").send(),
        );
        for service in ["DynamoDB", "SQS", "SNS", "EC2", "S3", "S3 Control", "CloudWatch", "Lambda"]
        {
            assert_eq!(rig.proxy.count(|call| call.service == service), 3, "{service}");
        }
    }
}

#[tokio::test]
async fn an_answer_can_end_in_the_middle_after_the_call_was_applied() {
    let rig = Rig::start().await;
    rig.proxy.fault(Calls::any().operation("GetItem"), Fault::Truncate);
    put(&rig.proxied().dynamodb, &rig.stack.ledger, "REC#a").await.unwrap();
    let read = rig.once().dynamodb.get_item().table_name(&rig.stack.ledger);
    let error = read.key("pk", s("REC#a")).key("sk", s("ITEM")).send().await.unwrap_err();
    assert!(matches!(error, SdkError::ResponseError(_)), "{error:?}");
    let log = rig.proxy.log();
    assert_eq!((log[1].applied, log[1].answered), (true, None), "{log:?}");
}

#[tokio::test]
async fn half_an_answer_can_look_like_a_whole_one() {
    let rig = Rig::start().await;
    rig.proxy.fault(Calls::any().operation("GetItem"), Fault::Shorten);
    put(&rig.proxied().dynamodb, &rig.stack.ledger, "REC#a").await.unwrap();
    let read = rig.once().dynamodb.get_item().table_name(&rig.stack.ledger);
    let error = read.key("pk", s("REC#a")).key("sk", s("ITEM")).send().await.unwrap_err();
    assert_eq!(error.raw_response().map(|raw| raw.status().as_u16()), Some(200), "{error:?}");
    let log = rig.proxy.log();
    assert!(log[1].applied && log[1].answered.is_some(), "{log:?}");
}

#[tokio::test]
async fn a_read_can_be_answered_as_before_the_last_write() {
    let rig = Rig::start().await;
    let stale = Fault::Stale(Duration::from_secs(3600));
    let rule = rig.proxy.fault(Calls::any().operation("GetItem").first(2), stale);
    let client = rig.proxied().dynamodb;
    let mut seen = Vec::new();
    let read = async || {
        let read = client.get_item().table_name(&rig.stack.ledger);
        read.key("pk", s("REC#a")).key("sk", s("ITEM")).send().await.unwrap().item.is_some()
    };
    for _ in 0..3 {
        seen.push(read().await);
    }
    assert_eq!((seen, rule.fired()), (vec![false, false, false], 0), "nothing was written yet");
    put(&client, &rig.stack.ledger, "REC#a").await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(read().await);
    }
    assert_eq!((seen, rule.fired()), (vec![false, false, true, true], 2));

    // What was never asked before is answered as it is.
    put(&client, &rig.stack.ledger, "REC#b").await.unwrap();
    let other = client.get_item().table_name(&rig.stack.ledger);
    let other = other.key("pk", s("REC#b")).key("sk", s("ITEM")).send().await.unwrap();
    assert!(other.item.is_some());
}

#[tokio::test]
async fn an_old_answer_is_given_no_longer_than_said() {
    let rig = Rig::start().await;
    rig.proxy.fault(Calls::any().operation("GetItem"), Fault::Stale(Duration::ZERO));
    let client = rig.proxied().dynamodb;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let read = client.get_item().table_name(&rig.stack.ledger);
        let read = read.key("pk", s("REC#a")).key("sk", s("ITEM")).send().await.unwrap();
        seen.push(read.item.is_some());
        put(&client, &rig.stack.ledger, "REC#a").await.unwrap();
    }
    assert_eq!(seen, [false, true]);
}

#[tokio::test]
async fn a_transaction_can_be_cancelled_with_a_reason_for_some_of_its_items() {
    let rig = Rig::start().await;
    rig.proxy.fault(Calls::any().once(), Fault::cancel("TransactionConflict", "BUD#"));
    let client = rig.once().dynamodb;
    // Another call is not meant, and does not use the rule up.
    put(&client, &rig.stack.ledger, "BUD#other").await.unwrap();

    let error = rig.transact(&client, "REC#a", "BUD#a").await.unwrap_err();
    let TransactWriteItemsError::TransactionCanceledException(cancelled) = error else {
        panic!("{error:?}")
    };
    let codes: Vec<_> = cancelled
        .cancellation_reasons()
        .iter()
        .map(|reason| reason.code().unwrap_or_default())
        .collect();
    assert_eq!(codes, ["None", "TransactionConflict"]);
    assert!(!rig.has("REC#a").await);

    rig.transact(&client, "REC#a", "BUD#a").await.unwrap();
    assert!(rig.has("REC#a").await);
}

#[tokio::test]
async fn a_round_trip_is_added_to_each_call() {
    let rig = Rig::start().await;
    let trip = Duration::from_millis(40);
    rig.proxy.fault(Calls::any(), Fault::Delay(trip / 2));
    rig.proxy.fault(Calls::any().service("DynamoDB"), Fault::Delay(trip / 2));
    let client = rig.proxied().dynamodb;
    for pk in ["REC#a", "REC#b", "REC#c"] {
        put(&client, &rig.stack.ledger, pk).await.unwrap();
    }
    let log = rig.proxy.log();
    for (number, call) in log.iter().enumerate() {
        assert!(call.answered.unwrap() - call.at >= trip, "{call:?}");
        assert!(call.at >= log[0].at + trip * u32::try_from(number).unwrap());
        assert_eq!(call.fault, None);
    }
}

#[tokio::test]
async fn the_same_seed_gives_the_same_faults() {
    let rig = Rig::start().await;
    let mut seen = Vec::new();
    for (seed, other_rules) in [(7, false), (7, true), (8, false)] {
        let proxy = Proxy::seeded(&rig.emulator.endpoint, seed).unwrap();
        let refused = Fault::refuse(403, "AccessDeniedException", "by chance");
        proxy.fault(Calls::any().service("DynamoDB").with_probability(0.3), refused);
        if other_rules {
            proxy.fault(Calls::any().with_probability(0.5), Fault::Delay(Duration::from_millis(1)));
        }
        let client = without_retries(&proxy.endpoint).dynamodb;
        for _ in 0..60 {
            let _ = put(&client, &rig.stack.ledger, "REC#a").await;
        }
        seen.push(proxy.log().iter().map(|call| call.fault.is_some()).collect::<Vec<_>>());
    }
    assert_eq!(seen[0], seen[1]);
    assert_ne!(seen[0], seen[2]);
    let faults = seen[0].iter().filter(|fault| **fault).count();
    assert!((5..=35).contains(&faults), "{faults} of 60");
}

#[tokio::test]
async fn a_fault_meets_the_calls_that_fit_all_that_was_said() {
    let rig = Rig::start().await;
    let refused = || Fault::refuse(403, "AccessDeniedException", "tested");
    let writes = Calls::any().service("DynamoDB").operation("PutItem").key("BUD#").writes();
    rig.proxy.fault(writes.by("a").nth(2), refused());
    let (a, b) = (rig.proxy.caller("a").unwrap(), rig.proxy.caller("b").unwrap());
    let (a, b) = (without_retries(&a.endpoint).dynamodb, without_retries(&b.endpoint).dynamodb);
    let mut well = Vec::new();
    for (client, pk) in [(&a, "BUD#1"), (&b, "BUD#1"), (&a, "REC#1"), (&a, "BUD#2"), (&a, "BUD#3")]
    {
        well.push(put(client, &rig.stack.ledger, pk).await.is_ok());
    }
    assert_eq!(well, [true, true, true, false, true]);

    let by_number = rig.proxy.fault(Calls::any().by("b").number(3), refused());
    let mut well = Vec::new();
    for _ in 0..3 {
        well.push(put(&b, &rig.stack.ledger, "REC#1").await.is_ok());
    }
    assert_eq!((well, by_number.fired()), (vec![true, false, true], 1));
    rig.proxy.fault(Calls::any().resource(&rig.stack.ledger).reads(), refused());
    put(&b, &rig.stack.ledger, "REC#1").await.unwrap();
}

#[tokio::test]
async fn a_rule_can_be_taken_back() {
    let rig = Rig::start().await;
    let rule = rig.proxy.fault(Calls::any(), Fault::DropRequest);
    put(&rig.once().dynamodb, &rig.stack.ledger, "REC#a").await.unwrap_err();
    rig.proxy.remove(&rule);
    put(&rig.once().dynamodb, &rig.stack.ledger, "REC#a").await.unwrap();
}

#[tokio::test]
async fn a_test_can_act_between_two_calls() {
    let rig = Rig::start().await;
    let (behind, table) = (rig.cloud.dynamodb.clone(), rig.stack.ledger.clone());
    rig.proxy.when(Calls::any().operation("GetItem").nth(2), move |call: Entry| {
        let (behind, table) = (behind.clone(), table.clone());
        async move {
            assert_eq!(call.keys, ["REC#a"]);
            put(&behind, &table, "REC#a").await.unwrap();
        }
    });
    let client = rig.proxied().dynamodb;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let read = client.get_item().table_name(&rig.stack.ledger);
        let read = read.key("pk", s("REC#a")).key("sk", s("ITEM")).send().await.unwrap();
        seen.push(read.item.is_some());
    }
    assert_eq!(seen, [false, true, true]);
    assert_eq!(
        rig.proxy.count(|call| call.operation == "PutItem"),
        0,
        "the test's own goes past it"
    );
}

#[tokio::test]
async fn a_caller_in_this_process_that_is_killed_calls_no_more() {
    let rig = Rig::start().await;
    for (fault, applied) in [(Fault::KillBefore, false), (Fault::KillAfter, true)] {
        let pk = format!("REC#{applied}");
        let worker = rig.proxy.caller("worker").unwrap();
        let client = Cloud::at(&worker.endpoint).dynamodb;
        let rule = rig.proxy.fault(Calls::any().by("worker").number(2), fault);
        let table = rig.stack.ledger.clone();
        let key = pk.clone();
        let work = tokio::spawn(async move {
            put(&client, &table, "LCK#a").await.unwrap();
            let _ = put(&client, &table, &key).await;
            let _ = put(&client, &table, "REC#never").await;
        });
        let abort = work.abort_handle();
        worker.on_kill(move || abort.abort());
        assert!(work.await.unwrap_err().is_cancelled());
        rig.proxy.quiet().await;
        assert_eq!(rig.has(&pk).await, applied);

        // Even if it would.
        let _ =
            put(&without_retries(&worker.endpoint).dynamodb, &rig.stack.ledger, "REC#never").await;
        assert!(!rig.has("REC#never").await);
        rig.proxy.remove(&rule);
    }
    assert_eq!(rig.proxy.count(|call| call.number == 2), 2);
}

#[tokio::test]
async fn a_call_arrives_though_its_caller_is_gone() {
    let rig = Rig::start().await;
    rig.proxy.fault(Calls::any(), Fault::Delay(Duration::from_millis(300)));
    let (client, table) = (rig.proxied().dynamodb, rig.stack.ledger.clone());
    let arrived = Arc::new(tokio::sync::Notify::new());
    let notify = Arc::clone(&arrived);
    rig.proxy.when(Calls::any().once(), move |_| {
        let notify = Arc::clone(&notify);
        async move { notify.notify_one() }
    });
    let call = tokio::spawn(async move { put(&client, &table, "REC#late").await.is_ok() });
    arrived.notified().await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    rig.proxy.quiet().await;
    assert!(rig.has("REC#late").await);
    assert_eq!(rig.proxy.count(|call| call.applied), 1);
}

#[tokio::test]
async fn a_function_dies_at_its_kth_call_and_its_next_attempt_counts_anew() {
    let rig = Rig::start().await;
    let function = rig.function("killed");
    for (k, fault, made) in [
        (1, Fault::KillBefore, 0),
        (2, Fault::KillBefore, 1),
        (2, Fault::KillAfter, 2),
        (3, Fault::KillAfter, 3),
    ] {
        rig.proxy.clear();
        let bucket = format!("{}-{k}-{made}", "bucket");
        let rule = rig.proxy.fault(Calls::any().by("killed").number(k).once(), fault.clone());
        let event = json!({ "do": "call", "bucket": bucket, "times": 3 }).to_string();
        let died = function.invoke(event.clone()).await.unwrap();
        let Answer::Exit(status) = died.answer else { panic!("{died:?}") };
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
        assert_eq!(rule.fired(), 1);
        rig.proxy.quiet().await;
        assert_eq!(rig.proxy.count(|call| call.applied && call.is_write), made);
        assert_eq!(rig.buckets(&bucket).await, made);

        // The process of the next attempt lives, and so does that of the one after.
        for _ in 0..2 {
            let next = function.invoke(event.clone()).await.unwrap();
            assert!(next.answer.is_response(), "{next:?}");
            let calls: Vec<_> = rig
                .proxy
                .log()
                .into_iter()
                .filter(|call| call.request_id.as_ref() == Some(&next.request_id))
                .map(|call| call.number)
                .collect();
            assert_eq!(calls, [1, 2, 3]);
        }
        assert_eq!(rig.buckets(&bucket).await, 3);
    }
}

#[tokio::test]
async fn only_the_process_that_called_is_killed() {
    let rig = Rig::start().await;
    let function = rig.function("one-of-two");
    rig.proxy.fault(Calls::any().resource("doomed-1"), Fault::KillBefore);
    let event = |bucket: &str| json!({ "do": "call", "bucket": bucket, "times": 20 }).to_string();
    let (doomed, spared) =
        tokio::join!(function.invoke(event("doomed")), function.invoke(event("spared")));
    assert!(matches!(doomed.unwrap().answer, Answer::Exit(_)));
    assert!(spared.unwrap().answer.is_response());
    assert_eq!((rig.buckets("doomed").await, rig.buckets("spared").await), (1, 20));
}

#[tokio::test]
async fn ends_when_dropped() {
    let rig = Rig::start().await;
    let endpoint = rig.proxy.endpoint.clone();
    let address = endpoint.strip_prefix("http://").unwrap();
    assert!(std::net::TcpStream::connect(address).is_ok());
    drop(rig.proxy);
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn what_is_no_endpoint_is_an_error_that_says_so() {
    for endpoint in ["", "127.0.0.1:5000", "https://127.0.0.1:5000", "http://"] {
        let error = Proxy::start(endpoint).unwrap_err().to_string();
        assert!(error.contains("http://127.0.0.1:5000"), "{error}");
    }
}

struct Rig {
    emulator: Emulator,
    proxy: Proxy,
    /// Past the proxy.
    cloud: Cloud,
    stack: Stack,
}

impl Rig {
    async fn start() -> Self {
        let emulator = Emulator::start().unwrap();
        let proxy = Proxy::start(&emulator.endpoint).unwrap();
        let cloud = emulator.cloud();
        let stack = Stack::deploy(&cloud).await.unwrap();
        Self { emulator, proxy, cloud, stack }
    }

    fn proxied(&self) -> Cloud {
        Cloud::at(&self.proxy.endpoint)
    }

    /// Through the proxy, and never trying again.
    fn once(&self) -> Cloud {
        without_retries(&self.proxy.endpoint)
    }

    fn function(&self, name: &str) -> Function {
        let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/local/function.py");
        Function::new(name, program, Vec::new(), Duration::from_secs(60), 128).through(&self.proxy)
    }

    async fn has(&self, pk: &str) -> bool {
        let read = self.cloud.dynamodb.get_item().table_name(&self.stack.ledger);
        let read = read.key("pk", s(pk)).key("sk", s("ITEM"));
        read.send().await.unwrap().item.is_some()
    }

    async fn buckets(&self, prefix: &str) -> usize {
        let buckets =
            self.cloud.s3.list_buckets().send().await.unwrap().buckets.unwrap_or_default();
        let named = |name: &str| name.starts_with(&format!("{prefix}-"));
        buckets.iter().filter(|bucket| bucket.name().is_some_and(named)).count()
    }

    async fn transact(
        &self,
        client: &Client,
        record: &str,
        budget: &str,
    ) -> Result<(), TransactWriteItemsError> {
        let put = Put::builder()
            .table_name(&self.stack.ledger)
            .item("pk", s(record))
            .item("sk", s("ITEM"));
        let update = Update::builder()
            .table_name(&self.stack.ledger)
            .key("pk", s(budget))
            .key("sk", s("ITEM"))
            .update_expression("ADD used :one")
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()));
        client
            .transact_write_items()
            .transact_items(TransactWriteItem::builder().put(put.build().unwrap()).build())
            .transact_items(TransactWriteItem::builder().update(update.build().unwrap()).build())
            .send()
            .await
            .map(drop)
            .map_err(SdkError::into_service_error)
    }
}

fn without_retries(endpoint: &str) -> Cloud {
    let cloud = Cloud::at(endpoint);
    let sdk = cloud.sdk.to_builder().retry_config(RetryConfig::disabled()).build();
    let never = RetryConfig::disabled;
    Cloud {
        dynamodb: Client::new(&sdk),
        ec2: aws_sdk_ec2::Client::new(&sdk),
        s3: aws_sdk_s3::Client::from_conf(
            cloud.s3.config().to_builder().retry_config(never()).build(),
        ),
        s3control: aws_sdk_s3control::Client::from_conf(
            cloud.s3control.config().to_builder().retry_config(never()).build(),
        ),
        sns: aws_sdk_sns::Client::new(&sdk),
        sqs: aws_sdk_sqs::Client::new(&sdk),
        ..cloud
    }
}

/// What the SDK says that it sends.
#[derive(Clone, Debug, Default)]
struct Sent(Arc<Mutex<Vec<(String, String)>>>);

impl Sent {
    fn by(&self, cloud: &Cloud) -> Cloud {
        macro_rules! noted {
            ($service:ident, $sdk:ident) => {
                $sdk::Client::from_conf(
                    cloud.$service.config().to_builder().interceptor(self.clone()).build(),
                )
            };
        }
        Cloud {
            cloudtrail: noted!(cloudtrail, aws_sdk_cloudtrail),
            config: noted!(config, aws_sdk_config),
            dynamodb: noted!(dynamodb, aws_sdk_dynamodb),
            ec2: noted!(ec2, aws_sdk_ec2),
            events: noted!(events, aws_sdk_eventbridge),
            guardduty: noted!(guardduty, aws_sdk_guardduty),
            iam: noted!(iam, aws_sdk_iam),
            s3: noted!(s3, aws_sdk_s3),
            s3control: noted!(s3control, aws_sdk_s3control),
            securityhub: noted!(securityhub, aws_sdk_securityhub),
            sns: noted!(sns, aws_sdk_sns),
            sqs: noted!(sqs, aws_sdk_sqs),
            ..cloud.clone()
        }
    }

    fn take(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Intercept for Sent {
    fn name(&self) -> &'static str {
        "Sent"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let metadata = cfg.load::<Metadata>().ok_or("no metadata")?;
        let named = (metadata.service().to_owned(), metadata.name().to_owned());
        self.0.lock().unwrap().push(named);
        Ok(())
    }
}

async fn put(
    client: &Client,
    table: &str,
    pk: &str,
) -> Result<PutItemOutput, SdkError<PutItemError>> {
    client.put_item().table_name(table).item("pk", s(pk)).item("sk", s("ITEM")).send().await
}

/// Code and message of an error of AWS's.
fn meta<T, E: ProvideErrorMetadata>(answer: Result<T, E>) -> (Option<String>, Option<String>) {
    let Err(error) = answer else { panic!("there is an error") };
    (error.code().map(str::to_owned), error.message().map(str::to_owned))
}

fn s(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}
