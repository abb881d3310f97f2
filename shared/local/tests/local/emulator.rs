use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_ec2::{
    error::ProvideErrorMetadata,
    types::{IpPermission, IpRange, UserIdGroupPair},
};
use aws_sdk_s3control::types::PublicAccessBlockConfiguration;
use quell_local::{Cloud, Emulator, Stack, cloud::ACCOUNT};
use tokio::task::JoinSet;

#[tokio::test]
async fn two_are_apart() {
    let (one, other) = (Emulator::start().unwrap(), Emulator::start().unwrap());
    one.cloud().sqs.create_queue().queue_name("only-in-one").send().await.unwrap();
    let queues = |cloud: Cloud| async move {
        cloud.sqs.list_queues().send().await.unwrap().queue_urls().len()
    };
    assert_eq!(queues(one.cloud()).await, 1);
    assert_eq!(queues(other.cloud()).await, 0);
}

#[test]
fn ends_when_dropped() {
    let emulator = Emulator::start().unwrap();
    let address = emulator.endpoint.strip_prefix("http://").unwrap().to_owned();
    assert!(TcpStream::connect(&address).is_ok());
    drop(emulator);
    assert!(TcpStream::connect(&address).is_err());
}

#[test]
fn a_taken_port_is_an_error_with_the_reason() {
    let emulator = Emulator::start().unwrap();
    let port = emulator.endpoint.rsplit(':').next().unwrap().parse().unwrap();
    let error = Emulator::start_on("127.0.0.1", port, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("in use"), "{error}");
}

#[test]
fn connections_stay_open() {
    let emulator = Emulator::start().unwrap();
    let address = emulator.endpoint.strip_prefix("http://").unwrap();
    let mut stream = BufReader::new(TcpStream::connect(address).unwrap());
    for (request, body) in
        [("PUT /a-bucket", ""), ("PUT /a-bucket/key", "content"), ("GET /a-bucket/key", "")]
    {
        // A body that nobody reads must not be taken for the next request.
        let length = body.len();
        let signature = "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/s3/aws4_request";
        write!(
            stream.get_mut(),
            "{request} HTTP/1.1\r\nHost: {address}\r\nAuthorization: {signature}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            assert_ne!(stream.read_line(&mut line).unwrap(), 0, "closed after {request}");
            if line == "\r\n" {
                break;
            }
            head.push(line.trim_end().to_lowercase());
        }
        assert!(head[0].starts_with("http/1.1 200"), "{request}: {head:?}");
        let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut content = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut content).unwrap();
        if request.starts_with("GET") {
            assert_eq!(content, b"content");
        }
    }
}

#[tokio::test]
async fn a_conditional_write_has_one_winner() {
    let emulator = Emulator::start().unwrap();
    let cloud = emulator.cloud();
    let stack = Stack::deploy(&cloud).await.unwrap();
    for round in 0..50 {
        let mut writers = JoinSet::new();
        for writer in 0..16 {
            let write = cloud
                .dynamodb
                .put_item()
                .table_name(&stack.ledger)
                .item("pk", AttributeValue::S(format!("LOCK#{round}")))
                .item("sk", AttributeValue::S("LOCK".into()))
                .item("owner", AttributeValue::N(writer.to_string()))
                .condition_expression("attribute_not_exists(pk)");
            writers.spawn(async move {
                write.send().await.map_err(|error| error.code().map(str::to_owned))
            });
        }
        let results = writers.join_all().await;
        let lost = Some("ConditionalCheckFailedException".to_owned());
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "round {round}");
        assert_eq!(
            results.into_iter().filter_map(Result::err).filter(|code| *code == lost).count(),
            15
        );
    }
}

#[tokio::test]
async fn the_account_has_a_public_access_block() {
    let emulator = Emulator::start().unwrap();
    let s3control = emulator.cloud().s3control;
    let missing = s3control.get_public_access_block().account_id(ACCOUNT).send().await.unwrap_err();
    assert_eq!(missing.code(), Some("NoSuchPublicAccessBlockConfiguration"));

    let block = PublicAccessBlockConfiguration::builder()
        .block_public_acls(true)
        .ignore_public_acls(true)
        .block_public_policy(false)
        .restrict_public_buckets(false)
        .build();
    s3control
        .put_public_access_block()
        .account_id(ACCOUNT)
        .public_access_block_configuration(block.clone())
        .send()
        .await
        .unwrap();
    let read = s3control.get_public_access_block().account_id(ACCOUNT).send().await.unwrap();
    assert_eq!(read.public_access_block_configuration, Some(block));
}

/// Our own response: no other emulator has proven it.
#[tokio::test]
async fn authorizing_and_revoking_tell_all_rules() {
    let emulator = Emulator::start().unwrap();
    let ec2 = emulator.cloud().ec2;
    let (one, other) = (group(&ec2, "one").await, group(&ec2, "other").await);
    let ssh = IpPermission::builder()
        .ip_protocol("tcp")
        .from_port(22)
        .to_port(22)
        .ip_ranges(IpRange::builder().cidr_ip("0.0.0.0/0").description("why").build())
        .ip_ranges(IpRange::builder().cidr_ip("198.51.100.0/24").build())
        .build();
    let all = IpPermission::builder()
        .ip_protocol("-1")
        .user_id_group_pairs(UserIdGroupPair::builder().group_id(&other).build())
        .build();
    let authorized = ec2
        .authorize_security_group_ingress()
        .group_id(&one)
        .ip_permissions(ssh)
        .ip_permissions(all)
        .send()
        .await
        .unwrap();
    let ids: Vec<_> = authorized
        .security_group_rules()
        .iter()
        .map(|rule| rule.security_group_rule_id().unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), 3);

    let in_use = ec2.delete_security_group().group_id(&other).send().await.unwrap_err();
    assert_eq!(in_use.code(), Some("DependencyViolation"));

    let revoked = ec2
        .revoke_security_group_ingress()
        .group_id(&one)
        .security_group_rule_ids(&ids[0])
        .security_group_rule_ids(&ids[2])
        .send()
        .await
        .unwrap();
    let revoked = revoked.revoked_security_group_rules();
    assert_eq!(revoked.len(), 2);
    assert_eq!(revoked[0].security_group_rule_id(), Some(ids[0].as_str()));
    assert_eq!(revoked[0].cidr_ipv4(), Some("0.0.0.0/0"));
    assert_eq!(revoked[0].description(), Some("why"));
    assert_eq!(revoked[1].referenced_group_id(), Some(other.as_str()));
    ec2.delete_security_group().group_id(&other).send().await.unwrap();
}

/// Our own response: no other emulator has proven it.
#[tokio::test]
async fn an_instance_has_the_groups_of_its_first_interface() {
    let emulator = Emulator::start().unwrap();
    let ec2 = emulator.cloud().ec2;
    let (one, other) = (group(&ec2, "one").await, group(&ec2, "other").await);
    let launched = ec2
        .run_instances()
        .image_id("ami-0123456789abcdef0")
        .min_count(1)
        .max_count(1)
        .security_group_ids(&one)
        .send()
        .await
        .unwrap();
    let instance = launched.instances()[0].instance_id().unwrap();
    let interface = launched.instances()[0].network_interfaces()[0].network_interface_id().unwrap();
    assert_eq!(groups(&ec2, instance).await, [one.as_str(), one.as_str()]);

    ec2.modify_network_interface_attribute()
        .network_interface_id(interface)
        .groups(&other)
        .send()
        .await
        .unwrap();
    assert_eq!(groups(&ec2, instance).await, [other.as_str(), other.as_str()]);

    ec2.modify_instance_attribute().instance_id(instance).groups(&one).send().await.unwrap();
    assert_eq!(groups(&ec2, instance).await, [one.as_str(), one.as_str()]);

    let in_use = ec2.delete_security_group().group_id(&one).send().await.unwrap_err();
    assert_eq!(in_use.code(), Some("DependencyViolation"));
    ec2.terminate_instances().instance_ids(instance).send().await.unwrap();
    ec2.delete_security_group().group_id(&one).send().await.unwrap();
}

async fn group(ec2: &aws_sdk_ec2::Client, name: &str) -> String {
    let vpcs = ec2.describe_vpcs().send().await.unwrap();
    let group = ec2
        .create_security_group()
        .group_name(name)
        .description(name)
        .vpc_id(vpcs.vpcs()[0].vpc_id().unwrap())
        .send()
        .await
        .unwrap();
    group.group_id.unwrap()
}

/// Those of the instance, then those of its interface.
async fn groups(ec2: &aws_sdk_ec2::Client, instance: &str) -> Vec<String> {
    let read = ec2.describe_instances().instance_ids(instance).send().await.unwrap();
    let instance = &read.reservations()[0].instances()[0];
    let interface = instance.network_interfaces()[0].network_interface_id().unwrap();
    let read =
        ec2.describe_network_interfaces().network_interface_ids(interface).send().await.unwrap();
    let interface = read.network_interfaces()[0].groups();
    instance
        .security_groups()
        .iter()
        .chain(interface)
        .map(|group| group.group_id().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn findings_are_checked_and_what_is_the_customers_stays() {
    use aws_sdk_securityhub::types::{
        AwsSecurityFindingIdentifier, NoteUpdate, Resource, Severity, SeverityLabel, Workflow,
        WorkflowStatus, WorkflowUpdate, builders::AwsSecurityFindingBuilder,
    };
    const PRODUCT: &str = "arn:aws:securityhub:eu-west-1:123456789012:product/123456789012/default";
    let emulator = Emulator::start().unwrap();
    let hub = emulator.cloud().securityhub;
    let finding = |id: &str, updated: &str| -> AwsSecurityFindingBuilder {
        aws_sdk_securityhub::types::AwsSecurityFinding::builder()
            .schema_version("2018-10-08")
            .id(id)
            .product_arn(PRODUCT)
            .generator_id("test")
            .aws_account_id(ACCOUNT)
            .created_at("2026-03-01T02:03:04.000Z")
            .updated_at(updated)
            .severity(Severity::builder().label(SeverityLabel::High).build())
            .title("title")
            .description("description")
            .resources(Resource::builder().r#type("Other").id("r").build())
            .workflow(Workflow::builder().status(WorkflowStatus::New).build())
    };
    let (first, older, newer) =
        ("2026-03-01T02:03:05.000Z", "2026-03-01T02:03:04.500Z", "2026-03-01T02:03:06.000Z");
    let imported = hub
        .batch_import_findings()
        .findings(finding("good", first).build())
        .findings(finding("long", first).title("x".repeat(257)).build())
        .findings(finding("blank", first).description(" ").build())
        .findings(finding("late", "yesterday").build())
        .findings(finding("foreign", first).aws_account_id("210987654321").build())
        .send()
        .await
        .unwrap();
    assert_eq!(imported.success_count(), Some(1));
    let failed: Vec<_> = imported.failed_findings().iter().filter_map(|one| one.id()).collect();
    assert_eq!(failed, ["long", "blank", "late", "foreign"]);

    let named =
        |id: &str| AwsSecurityFindingIdentifier::builder().id(id).product_arn(PRODUCT).build();
    let updated = hub
        .batch_update_findings()
        .finding_identifiers(named("good"))
        .finding_identifiers(named("gone"))
        .workflow(WorkflowUpdate::builder().status(WorkflowStatus::Suppressed).build())
        .note(NoteUpdate::builder().text("on purpose").updated_by("bob").build())
        .send()
        .await
        .unwrap();
    assert_eq!(updated.processed_findings().len(), 1);
    let refused = &updated.unprocessed_findings()[0];
    assert_eq!(refused.error_code(), Some("FindingNotFound"));

    for (time, title) in [(older, "older"), (newer, "newer")] {
        let again = finding("good", time).title(title).build();
        hub.batch_import_findings().findings(again).send().await.unwrap();
    }
    let found = hub.get_findings().send().await.unwrap();
    assert_eq!(found.findings().len(), 1);
    let found = &found.findings()[0];
    assert_eq!(found.title(), Some("newer"));
    assert_eq!(found.workflow().unwrap().status(), Some(&WorkflowStatus::Suppressed));
    assert_eq!(found.note().unwrap().text(), Some("on purpose"));
}
