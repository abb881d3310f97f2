use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem, Update};
use aws_sdk_s3::{config::retry::RetryConfig, error::ProvideErrorMetadata};
use quell_local::{
    Cloud, Emulator, Stack,
    cloud::ACCOUNT,
    iam::{Refused, Role},
    proxy::{Calls, Fault, Proxy},
    scenario,
};
use serde_json::{Value, json};

const ROLE: &str = "arn:aws:iam::123456789012:role/tested";

#[tokio::test]
async fn what_a_role_does_not_allow_is_answered_as_each_service_does_and_not_passed_on() {
    let (_emulator, proxy, _cloud) = rig();
    let nothing = json!({"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"});
    let (as_role, cloudwatch) = session(&proxy, nothing);
    let lock = || AttributeValue::S("LCK#a".to_owned());
    let told = [
        (
            "DynamoDB",
            code(as_role.dynamodb.get_item().table_name("t").key("pk", lock()).send().await),
        ),
        (
            "SNS",
            code(
                as_role
                    .sns
                    .publish()
                    .topic_arn("arn:aws:sns:eu-west-1:123456789012:t")
                    .message("m")
                    .send()
                    .await,
            ),
        ),
        ("EC2", code(as_role.ec2.describe_instances().send().await)),
        ("S3", code(as_role.s3.get_bucket_acl().bucket("b").send().await)),
        (
            "S3 Control",
            code(as_role.s3control.get_public_access_block().account_id(ACCOUNT).send().await),
        ),
        (
            "CloudWatch",
            code(
                cloudwatch
                    .get_metric_statistics()
                    .namespace("n")
                    .metric_name("m")
                    .start_time(std::time::SystemTime::now().into())
                    .end_time(std::time::SystemTime::now().into())
                    .period(60)
                    .send()
                    .await,
            ),
        ),
        // Nobody knows what AWS would ask for.
        ("SQS", code(as_role.sqs.list_queues().send().await)),
    ];
    for ((service, told), wanted) in told.into_iter().zip([
        "AccessDeniedException",
        "AuthorizationError",
        "UnauthorizedOperation",
        "AccessDenied",
        "AccessDenied",
        "AccessDeniedException",
        "AccessDeniedException",
    ]) {
        let (code, message) = told;
        assert_eq!(code, wanted, "{service}");
        assert!(
            message.contains(&format!("User: {ROLE} is not authorized to perform")),
            "{message}"
        );
        let denied =
            |call: &&quell_local::proxy::Entry| call.service == service && call.refused.is_some();
        assert_eq!(proxy.count(denied), 1, "{service}");
    }
    assert_eq!(proxy.count(|call| call.applied), 0);
    let unknown =
        |call: &&quell_local::proxy::Entry| matches!(call.refused, Some(Refused::Unknown { .. }));
    assert_eq!(proxy.count(unknown), 1);
}

#[tokio::test]
async fn what_a_role_allows_is_passed_on_and_named_and_other_keys_may_do_anything() {
    let (_emulator, proxy, cloud) = rig();
    let mine = scenario::stage(&cloud, "s3-public-acl", "mine").await.unwrap().resource;
    let other = scenario::stage(&cloud, "s3-public-acl", "other").await.unwrap().resource;
    let statement = json!({
        "Sid": "Look", "Effect": "Allow", "Action": "s3:GetBucketAcl",
        "Resource": format!("arn:aws:s3:::{mine}"),
        "Condition": {"StringEquals": {"aws:ResourceAccount": ACCOUNT}},
    });
    let (as_role, _) = session(&proxy, statement);
    as_role.s3.get_bucket_acl().bucket(&mine).send().await.unwrap();
    let (code, message) = code(as_role.s3.get_bucket_acl().bucket(&other).send().await);
    assert_eq!(code, "AccessDenied");
    let because = format!(
        "s3:GetBucketAcl on resource: arn:aws:s3:::{other} because no identity-based policy allows the s3:GetBucketAcl action"
    );
    assert!(message.contains(&because), "{message}");
    let log = proxy.log();
    assert_eq!(log[0].granted[0].sid, "Look");
    assert_eq!(log[0].granted[0].action, "s3:GetBucketAcl");
    assert!(log[1].granted.is_empty());
    assert_eq!(log[1].refused.as_ref().unwrap().action(), Some("s3:GetBucketAcl"));

    let anybody = Cloud::at(&proxy.endpoint);
    anybody.s3.get_bucket_acl().bucket(&other).send().await.unwrap();
    assert!(proxy.log()[2].granted.is_empty(), "nobody was asked");
}

#[tokio::test]
async fn one_item_that_is_not_allowed_denies_the_whole_transaction() {
    let (_emulator, proxy, cloud) = rig();
    let stack = Stack::deploy(&cloud).await.unwrap();
    let records = json!({
        "Effect": "Allow", "Action": ["dynamodb:PutItem", "dynamodb:UpdateItem"],
        "Resource": format!("arn:aws:dynamodb:eu-west-1:{ACCOUNT}:table/{}", stack.ledger),
        "Condition": {
            "ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["REC#*", "LCK#*"]},
            "Null": {"dynamodb:LeadingKeys": "false"},
        },
    });
    let (as_role, _) = session(&proxy, records);
    let write = |record: &str| {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let put = Put::builder().table_name(&stack.ledger);
        let put = put.item("pk", text(record)).item("sk", text("RECORD")).build().unwrap();
        let lock = Update::builder().table_name(&stack.ledger).update_expression("SET a = :a");
        let lock = lock.key("pk", text("LCK#a")).key("sk", text("LOCK"));
        let lock = lock.expression_attribute_values(":a", text("a")).build().unwrap();
        as_role
            .dynamodb
            .transact_write_items()
            .transact_items(TransactWriteItem::builder().update(lock).build())
            .transact_items(TransactWriteItem::builder().put(put).build())
            .send()
    };
    write("REC#a").await.unwrap();
    for denied in ["EXM#a", "POL#policy", "HLT#halt", "APR#a"] {
        assert_eq!(code(write(denied).await).0, "AccessDeniedException", "{denied}");
    }
    assert_eq!(proxy.count(|call| call.applied), 1);
}

#[tokio::test]
async fn a_throttled_call_is_not_judged_and_a_denied_one_can_be_lost_too() {
    let (_emulator, proxy, _cloud) = rig();
    let nothing = json!({"Effect": "Deny", "Action": "*", "Resource": "*"});
    let (as_role, _) = session(&proxy, nothing);
    let list = || as_role.s3.list_buckets().send();
    proxy.fault(Calls::any().nth(1), Fault::refuse(503, "SlowDown", "later"));
    assert_eq!(code(list().await).0, "SlowDown");
    assert_eq!(proxy.log()[0].refused, None);
    proxy.fault(Calls::any().nth(1), Fault::DropAnswer);
    assert!(list().await.unwrap_err().as_service_error().is_none(), "no answer came");
    assert!(proxy.log()[1].refused.is_some());
    assert_eq!(code(list().await).0, "AccessDenied");
}

#[tokio::test]
async fn calls_of_one_service_can_go_elsewhere() {
    let (_emulator, proxy, cloud) = rig();
    let elsewhere = Proxy::start(&cloud.endpoint).unwrap();
    proxy.route("S3", &elsewhere.endpoint).unwrap();
    let through = Cloud::at(&proxy.endpoint);
    through.s3.list_buckets().send().await.unwrap();
    through.sqs.list_queues().send().await.unwrap();
    let services: Vec<_> = elsewhere.log().into_iter().map(|call| call.service).collect();
    assert_eq!(services, ["S3"]);
    assert!(proxy.route("S3", "nowhere").is_err());
}

fn rig() -> (Emulator, Proxy, Cloud) {
    let emulator = Emulator::start().unwrap();
    let proxy = Proxy::start(&emulator.endpoint).unwrap();
    let cloud = emulator.cloud();
    (emulator, proxy, cloud)
}

/// Clients that call as this role, once each.
fn session(proxy: &Proxy, statement: Value) -> (Cloud, aws_sdk_cloudwatch::Client) {
    let policy = json!({"Version": "2012-10-17", "Statement": statement});
    let key = proxy.assume(Role::new(ROLE, vec![policy], None).unwrap());
    let credentials =
        SharedCredentialsProvider::new(Credentials::new(key, "s", None, None, "test"));
    let cloud = Cloud::at(&proxy.endpoint);
    macro_rules! as_role {
        ($service:ident, $sdk:ident) => {
            $sdk::Client::from_conf(
                cloud
                    .$service
                    .config()
                    .to_builder()
                    .credentials_provider(credentials.clone())
                    .retry_config(RetryConfig::disabled())
                    .build(),
            )
        };
    }
    let sdk = cloud.sdk.to_builder().credentials_provider(credentials.clone());
    let cloudwatch =
        aws_sdk_cloudwatch::Client::new(&sdk.retry_config(RetryConfig::disabled()).build());
    let as_role = Cloud {
        dynamodb: as_role!(dynamodb, aws_sdk_dynamodb),
        ec2: as_role!(ec2, aws_sdk_ec2),
        s3: as_role!(s3, aws_sdk_s3),
        s3control: as_role!(s3control, aws_sdk_s3control),
        sns: as_role!(sns, aws_sdk_sns),
        sqs: as_role!(sqs, aws_sdk_sqs),
        ..cloud.clone()
    };
    (as_role, cloudwatch)
}

fn code<T, E>(answer: Result<T, aws_sdk_s3::error::SdkError<E>>) -> (String, String)
where
    aws_sdk_s3::error::SdkError<E>: ProvideErrorMetadata,
{
    let error = answer.err().expect("it is denied");
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    (text(error.code()), text(error.message()))
}
