use serde_json::json;

use super::*;
use crate::iam::{Refused, Role};

#[test]
fn what_is_tagged_while_it_is_made_needs_leave_to_tag() {
    let request = request(
        "EC2",
        "CreateSnapshots",
        &[
            ("InstanceSpecification.InstanceId", "i-1"),
            ("TagSpecification.1.ResourceType", "snapshot"),
            ("TagSpecification.1.Tag.1.Key", "quell:quarantine"),
            ("TagSpecification.1.Tag.1.Value", "record"),
        ],
    );
    let asked = request.asks().unwrap();
    assert_eq!(
        lines(&asked),
        [
            "ec2:CreateSnapshots arn:aws:ec2:eu-west-1:123456789012:instance/i-1",
            "ec2:CreateSnapshots arn:aws:ec2:eu-west-1::snapshot/*",
            "ec2:CreateSnapshots arn:aws:ec2:eu-west-1:123456789012:volume/*",
            "ec2:CreateTags arn:aws:ec2:eu-west-1::snapshot/*",
        ]
    );
    assert_eq!(asked[3].context.values("ec2:createaction"), ["CreateSnapshots"]);
    assert_eq!(asked[3].context.values("aws:requesttag/quell:quarantine"), ["record"]);
    assert_eq!(asked[3].context.values("aws:tagkeys"), ["quell:quarantine"]);
    assert!(asked[0].context.values("ec2:createaction").is_empty());

    let untagged = super::Request {
        parameters: request.parameters.into_iter().take(1).collect(),
        ..super::tests::request("EC2", "CreateSnapshots", &[])
    };
    assert_eq!(untagged.asks().unwrap().len(), 3, "without tags nobody has to be allowed to tag");
}

#[test]
fn a_flow_log_needs_leave_to_pass_its_role_or_to_deliver_to_its_bucket() {
    let role = "arn:aws:iam::123456789012:role/flow-logs";
    let to_group = [("ResourceId.1", "vpc-1"), ("DeliverLogsPermissionArn", role)];
    let asked = request("EC2", "CreateFlowLogs", &to_group).asks().unwrap();
    assert_eq!(
        lines(&asked),
        [
            "ec2:CreateFlowLogs arn:aws:ec2:eu-west-1:123456789012:vpc-flow-log/*",
            "ec2:CreateFlowLogs arn:aws:ec2:eu-west-1:123456789012:vpc/vpc-1",
            "iam:PassRole arn:aws:iam::123456789012:role/flow-logs",
        ]
    );
    assert_eq!(asked[2].context.values("iam:passedtoservice"), ["vpc-flow-logs.amazonaws.com"]);
    let to_bucket = [("ResourceId.1", "vpc-1"), ("LogDestination", "arn:aws:s3:::flow")];
    let asked = request("EC2", "CreateFlowLogs", &to_bucket).asks().unwrap();
    assert_eq!(lines(&asked)[2..], ["logs:CreateLogDelivery *"]);
}

#[test]
fn tags_on_what_is_there_have_no_create_action() {
    let tag = [("ResourceId.1", "i-1"), ("ResourceId.2", "sgr-2"), ("Tag.1.Key", "a")];
    let asked = request("EC2", "CreateTags", &tag).asks().unwrap();
    assert_eq!(
        lines(&asked),
        [
            "ec2:CreateTags arn:aws:ec2:eu-west-1:123456789012:instance/i-1",
            "ec2:CreateTags arn:aws:ec2:eu-west-1:123456789012:security-group-rule/sgr-2",
        ]
    );
    assert!(asked.iter().all(|one| one.context.values("ec2:createaction").is_empty()));
    assert!(asked.iter().all(|one| one.context.values("aws:tagkeys") == ["a"]));
}

#[test]
fn each_item_of_a_transaction_is_asked_for_with_its_own_key() {
    let item = |kind: &str, key: &str| Item {
        kind: kind.to_owned(),
        table: "ledger".to_owned(),
        key: Some(key.to_owned()),
    };
    let request = Request {
        items: vec![
            item("Put", "REC#a"),
            item("Update", "LCK#a"),
            item("ConditionCheck", "HLT#halt"),
            item("Put", "EXM#a"),
        ],
        ..request("DynamoDB", "TransactWriteItems", &[])
    };
    let asked = request.asks().unwrap();
    let keys: Vec<_> = asked
        .iter()
        .map(|one| (one.action.as_str(), one.context.values("dynamodb:leadingkeys")))
        .collect();
    assert_eq!(
        keys,
        [
            ("dynamodb:ConditionCheckItem", &["HLT#halt".to_owned()][..]),
            ("dynamodb:PutItem", &["REC#a".to_owned()]),
            ("dynamodb:PutItem", &["EXM#a".to_owned()]),
            ("dynamodb:UpdateItem", &["LCK#a".to_owned()]),
        ]
    );
    for one in &asked {
        assert_eq!(one.resource, "arn:aws:dynamodb:eu-west-1:123456789012:table/ledger");
        let enclosing = one.context.values("dynamodb:enclosingoperation");
        assert_eq!(enclosing, ["TransactWriteItems"]);
    }
}

#[test]
fn an_index_is_asked_for_and_not_its_table() {
    let table = Item { table: "ledger".to_owned(), ..Item::default() };
    let mut query = Request { items: vec![table], ..request("DynamoDB", "Query", &[]) };
    let of_table = "dynamodb:Query arn:aws:dynamodb:eu-west-1:123456789012:table/ledger";
    assert_eq!(lines(&query.asks().unwrap()), [of_table]);
    query.parameters.push(("IndexName".to_owned(), "by-due".to_owned()));
    assert_eq!(lines(&query.asks().unwrap()), [format!("{of_table}/index/by-due")]);
}

#[test]
fn operations_of_s3_go_by_other_names_in_iam() {
    for (service, operation, parameters, asked) in [
        (
            "S3",
            "PutPublicAccessBlock",
            &[("Bucket", "b")][..],
            "s3:PutBucketPublicAccessBlock arn:aws:s3:::b",
        ),
        (
            "S3",
            "DeletePublicAccessBlock",
            &[("Bucket", "b")],
            "s3:PutBucketPublicAccessBlock arn:aws:s3:::b",
        ),
        (
            "S3",
            "GetPublicAccessBlock",
            &[("Bucket", "b")],
            "s3:GetBucketPublicAccessBlock arn:aws:s3:::b",
        ),
        ("S3 Control", "GetPublicAccessBlock", &[], "s3:GetAccountPublicAccessBlock *"),
        ("S3", "ListBuckets", &[], "s3:ListAllMyBuckets *"),
        ("S3", "HeadBucket", &[("Bucket", "b")], "s3:ListBucket arn:aws:s3:::b"),
    ] {
        assert_eq!(lines(&request(service, operation, parameters).asks().unwrap()), [asked]);
    }
    let acl = request("S3", "PutBucketAcl", &[("Bucket", "b")]).asks().unwrap();
    assert_eq!(acl[0].context.values("aws:resourceaccount"), ["123456789012"]);
}

#[test]
fn findings_are_asked_for_with_what_is_said_of_them_and_whose_they_are() {
    let update = request(
        "SecurityHub",
        "BatchUpdateFindings",
        &[
            ("FindingIdentifiers.Id", "f1"),
            ("FindingIdentifiers.ProductArn", "arn:aws:securityhub:eu-west-1::product/aws/x"),
            ("Workflow.Status", "RESOLVED"),
            ("Note.Text", "done"),
        ],
    );
    let asked = update.asks().unwrap();
    assert_eq!(
        lines(&asked),
        ["securityhub:BatchUpdateFindings arn:aws:securityhub:eu-west-1:123456789012:hub/default"]
    );
    let said = |field: &str| {
        asked[0].context.values(&format!("securityhub:asffsyntaxpath/{field}")).to_vec()
    };
    assert_eq!(said("workflow.status"), ["RESOLVED"]);
    assert_eq!(said("note.text"), ["done"]);
    assert!(said("severity.label").is_empty() && said("findingidentifiers.id").is_empty());

    let product = "arn:aws:securityhub:eu-west-1:123456789012:product/123456789012/default";
    let import = request(
        "SecurityHub",
        "BatchImportFindings",
        &[
            ("Findings.ProductArn", product),
            ("Findings.AwsAccountId", "123456789012"),
            ("Findings.ProductArn", product),
            ("Findings.AwsAccountId", "210987654321"),
        ],
    );
    let asked = import.asks().unwrap();
    assert_eq!(lines(&asked), [format!("securityhub:BatchImportFindings {product}")]);
    let accounts = asked[0].context.values("securityhub:targetaccount");
    assert_eq!(accounts, ["123456789012", "210987654321"]);
}

#[test]
fn other_partitions_have_other_arns() {
    for (region, arn) in [
        ("cn-north-1", "arn:aws-cn:ec2:cn-north-1:123456789012:instance/i-1"),
        ("us-gov-west-1", "arn:aws-us-gov:ec2:us-gov-west-1:123456789012:instance/i-1"),
    ] {
        let modify = request("EC2", "ModifyInstanceMetadataOptions", &[("InstanceId", "i-1")]);
        let asked = Request { region: region.to_owned(), ..modify }.asks().unwrap();
        assert_eq!(asked[0].resource, arn);
    }
}

#[test]
fn what_comes_through_a_function_url_needs_both_actions_and_says_that_it_does() {
    let asked = request("Lambda", "InvokeFunctionUrl", &[("FunctionName", "f")]).asks().unwrap();
    assert_eq!(
        lines(&asked),
        [
            "lambda:InvokeFunctionUrl arn:aws:lambda:eu-west-1:123456789012:function:f",
            "lambda:InvokeFunction arn:aws:lambda:eu-west-1:123456789012:function:f",
        ]
    );
    assert_eq!(asked[0].context.values("lambda:functionurlauthtype"), ["AWS_IAM"]);
    assert_eq!(asked[1].context.values("lambda:invokedviafunctionurl"), ["true"]);
    let plain = request("Lambda", "Invoke", &[("FunctionName", "f")]).asks().unwrap();
    assert!(plain[0].context.values("lambda:invokedviafunctionurl").is_empty());
    assert!(request("Lambda", "InvokeFunctionUrl", &[]).asks().is_err());
}

#[test]
fn what_is_not_known_is_not_allowed_to_anybody() {
    let all = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}});
    let role = Role::new("arn:aws:iam::123456789012:role/all", vec![all], None).unwrap();
    for (service, operation, parameters, says) in [
        (
            "EC2",
            "TerminateInstances",
            &[("InstanceId.1", "i-1")][..],
            "EC2 TerminateInstances is not known",
        ),
        ("S3", "Unknown GET bucket?newThing", &[], "is not known"),
        ("EC2", "CreateTags", &[("ResourceId.1", "ami-1")], "tags ami-1"),
        ("EC2", "CreateTags", &[], "names no ResourceId"),
        ("S3", "PutBucketAcl", &[], "names no Bucket"),
        ("DynamoDB", "PutItem", &[], "names no table"),
        ("DynamoDB", "TransactWriteItems", &[], "names no items"),
        ("SecurityHub", "BatchImportFindings", &[], "names no Findings.ProductArn"),
    ] {
        let refused = role.judge(&request(service, operation, parameters)).unwrap_err();
        assert!(matches!(refused, Refused::Unknown { .. }), "{refused}");
        assert!(refused.to_string().contains(says), "{refused}");
    }
}

#[test]
fn a_role_that_looks_at_what_no_request_tells_is_refused() {
    let policy = |key: &str| {
        json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*",
            "Condition": {"StringEquals": {key: "x"}}}})
    };
    for (key, is_known) in [
        ("aws:ResourceAccount", true),
        ("aws:RequestTag/quell:quarantine", true),
        ("aws:ResourceTag/quell:quarantine", false),
        ("aws:SourceIp", false),
    ] {
        let role = Role::new("arn:aws:iam::123456789012:role/r", vec![policy(key)], None);
        assert_eq!(role.is_ok(), is_known, "{key}: {role:?}");
    }
}

#[test]
fn every_action_of_the_table_has_its_facts_and_every_fact_its_page() {
    for operation in OPERATIONS {
        for (action, _) in operation.needs {
            assert!(facts(action).is_some(), "{action} has no facts");
        }
        let same =
            |one: &&Operation| (one.service, one.name) == (operation.service, operation.name);
        assert_eq!(OPERATIONS.iter().filter(same).count(), 1, "{}", operation.name);
    }
    for known in FACTS {
        assert!(known.page().starts_with("https://docs.aws.amazon.com/"), "{}", known.action);
        assert_eq!(FACTS.iter().filter(|one| one.action == known.action).count(), 1);
        let is_single = OPERATIONS
            .iter()
            .flat_map(|operation| operation.needs)
            .filter(|(action, _)| *action == known.action)
            .all(|(_, on)| {
                let is_bound = |on: &On| !matches!(on, On::Everything | On::EverythingIf(_));
                on.iter().any(is_bound) == known.has_resources
            });
        assert!(is_single, "{}: resources", known.action);
    }
}

fn lines(asked: &[Asked]) -> Vec<String> {
    asked.iter().map(|one| format!("{} {}", one.action, one.resource)).collect()
}

fn request(service: &str, operation: &str, parameters: &[(&str, &str)]) -> Request {
    Request {
        service: service.to_owned(),
        operation: operation.to_owned(),
        region: "eu-west-1".to_owned(),
        account: "123456789012".to_owned(),
        parameters: parameters.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        items: Vec::new(),
    }
}
