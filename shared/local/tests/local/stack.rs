use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sns::types::MessageAttributeValue;
use quell_local::{Emulator, Stack};

#[tokio::test]
async fn messages_are_read_back() {
    let emulator = Emulator::start().unwrap();
    let cloud = emulator.cloud();
    let stack = Stack::deploy(&cloud).await.unwrap();
    let severity =
        MessageAttributeValue::builder().data_type("String").string_value("high").build().unwrap();
    cloud
        .sns
        .publish()
        .topic_arn(&stack.topic)
        .subject("a bucket was public")
        .message_structure("json")
        .message(r#"{"default":"for people","email":"for mail","sqs":"{\"version\":1}"}"#)
        .message_attributes("severity", severity)
        .send()
        .await
        .unwrap();

    let messages = stack.messages().await.unwrap();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].subject.as_deref(), Some("a bucket was public"));
    assert_eq!(messages[0].body, r#"{"version":1}"#);
    assert_eq!(messages[0].attributes["severity"], "high");
    assert!(stack.messages().await.unwrap().is_empty(), "each is given once");

    let published = stack.published().await.unwrap();
    assert_eq!(published.len(), 1);
    assert_eq!(published[0].id, messages[0].id);
    assert_eq!(published[0].texts["email"], "for mail");
    assert_eq!(published[0].texts["default"], "for people");
    assert_eq!(published[0].attributes["severity"], "high");

    let other = Stack::deploy_as(&cloud, "other").await.unwrap();
    assert!(other.published().await.unwrap().is_empty(), "each stack has its own");
}

#[tokio::test]
async fn the_ledger_has_its_index() {
    let emulator = Emulator::start().unwrap();
    let cloud = emulator.cloud();
    let stack = Stack::deploy(&cloud).await.unwrap();
    let text = |text: &str| AttributeValue::S(text.into());
    for created in ["2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"] {
        cloud
            .dynamodb
            .put_item()
            .table_name(&stack.ledger)
            .item("pk", text(&format!("REC#{created}")))
            .item("sk", text("REC"))
            .item("control", text("s3-public-acl"))
            .item("created", text(created))
            .send()
            .await
            .unwrap();
    }
    let found = cloud
        .dynamodb
        .query()
        .table_name(&stack.ledger)
        .index_name("by-control")
        .key_condition_expression("control = :control")
        .expression_attribute_values(":control", text("s3-public-acl"))
        .send()
        .await
        .unwrap();
    let created: Vec<_> =
        found.items().iter().map(|item| item["created"].as_s().unwrap().as_str()).collect();
    assert_eq!(created, ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]);
}

#[tokio::test]
async fn functions_are_told_where_they_are() {
    let emulator = Emulator::start().unwrap();
    let stack = Stack::deploy(&emulator.cloud()).await.unwrap();
    let environment = stack.environment("act");
    for (name, value) in [
        ("QUELL_LEDGER_TABLE", "quell-ledger"),
        ("QUELL_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:quell-messages"),
        ("QUELL_CEILING", "act"),
        ("AWS_ENDPOINT_URL", &emulator.endpoint),
    ] {
        assert!(environment.contains(&(name.to_owned(), value.to_owned())), "{name}");
    }
}
