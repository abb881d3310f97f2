//! Events for tests, one of each kind that gives a signal.

use serde_json::{Value, json};

use super::{EventError, Heard, ParseOptions, Reason, Refusal, Signal, parse, parse_for};

pub(super) const ACCOUNT: &str = "123456789012";

pub(super) fn all() -> Vec<Value> {
    vec![
        api_call(),
        sign_in(),
        guardduty(),
        config(),
        securityhub(),
        health(),
        access_analyzer(),
        instance_state(),
        schedule(),
        manual(),
    ]
}

pub(super) fn hear_for(event: &Value, options: &ParseOptions) -> Heard {
    let mut heard = parse_for(&event.to_string(), options).unwrap();
    assert_eq!(heard.len(), 1);
    heard.remove(0)
}

pub(super) fn signal(event: &Value) -> Signal {
    match hear_for(event, &ParseOptions::default()) {
        Heard::Signal(signal) => signal,
        other => panic!("{other:?}"),
    }
}

pub(super) fn reason(event: &Value) -> Reason {
    match hear_for(event, &ParseOptions::default()) {
        Heard::Ignored(ignored) => ignored.reason,
        other => panic!("{other:?}"),
    }
}

pub(super) fn refusal(event: &Value) -> Refusal {
    match hear_for(event, &ParseOptions::default()) {
        Heard::Refused(refused) => refused.refusal,
        other => panic!("{other:?}"),
    }
}

pub(super) fn refusal_for(event: &Value, account: &str) -> Refusal {
    let options = ParseOptions { account: Some(account.to_owned()), ..ParseOptions::default() };
    match hear_for(event, &options) {
        Heard::Refused(refused) => refused.refusal,
        other => panic!("{other:?}"),
    }
}

pub(super) fn error(event: &Value) -> EventError {
    parse(&event.to_string()).unwrap_err()
}

pub(super) fn api_call() -> Value {
    envelope(
        "aws.s3",
        "AWS API Call via CloudTrail",
        json!({
            "eventVersion": "1.11",
            "userIdentity": {
                "type": "IAMUser",
                "principalId": "AIDAQUELLSAMPLE",
                "arn": "arn:aws:iam::123456789012:user/alice",
                "accountId": ACCOUNT,
                "userName": "alice",
            },
            "eventTime": "2026-03-01T09:30:00Z",
            "eventSource": "s3.amazonaws.com",
            "eventName": "PutBucketAcl",
            "awsRegion": "eu-west-1",
            "sourceIPAddress": "203.0.113.10",
            "userAgent": "[sample-client/1.0]",
            "requestParameters": {
                "bucketName": "quell-sample",
                "x-amz-acl": ["public-read"],
                "acl": [""],
            },
            "responseElements": null,
            "requestID": "QUELLSAMPLEREQUEST",
            "eventID": "5d3c7e1a-0000-4000-8000-000000000002",
            "readOnly": false,
            "eventType": "AwsApiCall",
            "managementEvent": true,
            "recipientAccountId": ACCOUNT,
            "eventCategory": "Management",
        }),
    )
}

pub(super) fn sign_in() -> Value {
    envelope(
        "aws.signin",
        "AWS Console Sign In via CloudTrail",
        json!({
            "userIdentity": {"type": "Root", "accountId": ACCOUNT},
            "eventTime": "2026-03-01T09:30:00Z",
            "eventSource": "signin.amazonaws.com",
            "eventName": "ConsoleLogin",
            "sourceIPAddress": "203.0.113.10",
            "requestParameters": null,
            "responseElements": {"ConsoleLogin": "Success"},
            "additionalEventData": {"MobileVersion": "No", "MFAUsed": "No"},
            "eventID": "5d3c7e1a-0000-4000-8000-000000000003",
            "eventType": "AwsConsoleSignIn",
            "recipientAccountId": ACCOUNT,
        }),
    )
}

pub(super) fn guardduty() -> Value {
    envelope(
        "aws.guardduty",
        "GuardDuty Finding",
        json!({
            "schemaVersion": "2.0",
            "accountId": ACCOUNT,
            "region": "eu-west-1",
            "id": "00c0ffee00c0ffee00c0ffee00c0ffee",
            "type": "Backdoor:EC2/C&CActivity.B",
            "resource": {
                "resourceType": "Instance",
                "instanceDetails": {"instanceId": "i-0abc0abc0abc0abc0", "platform": null},
            },
            "service": {"resourceRole": "TARGET", "archived": false, "count": 2, "additionalInfo": {}},
            "severity": 8,
            "updatedAt": "2026-03-01T09:25:00.000Z",
        }),
    )
}

pub(super) fn config() -> Value {
    envelope(
        "aws.config",
        "Config Rules Compliance Change",
        json!({
            "resourceId": "quell-sample",
            "resourceType": "AWS::S3::Bucket",
            "awsRegion": "eu-west-1",
            "awsAccountId": ACCOUNT,
            "configRuleName": "s3-bucket-public-read-prohibited-quell",
            "messageType": "ComplianceChangeNotification",
            "newEvaluationResult": {
                "complianceType": "NON_COMPLIANT",
                "resultRecordedTime": "2026-03-01T09:29:58.120Z",
            },
            "notificationCreationTime": "2026-03-01T09:29:59.000Z",
        }),
    )
}

pub(super) fn securityhub() -> Value {
    envelope(
        "aws.securityhub",
        "Security Hub Findings - Imported",
        json!({
            "findings": [{
                "SchemaVersion": "2018-10-08",
                "Id": "arn:aws:securityhub:eu-west-1:123456789012:security-control/S3.2/finding/1",
                "ProductArn": "arn:aws:securityhub:eu-west-1::product/aws/securityhub",
                "GeneratorId": "security-control/S3.2",
                "AwsAccountId": ACCOUNT,
                "Region": "eu-west-1",
                "UpdatedAt": "2026-03-01T09:29:00.000Z",
                "Compliance": {"Status": "FAILED", "SecurityControlId": "S3.2"},
                "Workflow": {"Status": "NEW"},
                "WorkflowState": "NEW",
                "RecordState": "ACTIVE",
                "Resources": [
                    {"Type": "AwsS3Bucket", "Id": "arn:aws:s3:::quell-sample", "Region": "eu-west-1"},
                ],
            }],
        }),
    )
}

pub(super) fn health() -> Value {
    envelope(
        "aws.health",
        "AWS Health Event",
        json!({
            "service": "RISK",
            "eventTypeCode": "AWS_RISK_CREDENTIALS_EXPOSED",
            "eventTypeCategory": "issue",
            "communicationId": "c0ffee-1",
            "statusCode": "open",
            "affectedEntities": [{"entityValue": "AKIAQUELLSAMPLE00001"}],
            "affectedAccount": ACCOUNT,
            "page": "2",
            "totalPages": "3",
        }),
    )
}

pub(super) fn access_analyzer() -> Value {
    envelope(
        "aws.access-analyzer",
        "Access Analyzer Finding",
        json!({
            "id": "aa-finding-1",
            "status": "ACTIVE",
            "resourceType": "AWS::S3::Bucket",
            "resource": "arn:aws:s3:::quell-sample",
            "updatedAt": "2026-03-01T09:28:00Z",
            "accountId": ACCOUNT,
            "region": "eu-west-1",
            "isDeleted": false,
            "isPublic": true,
        }),
    )
}

pub(super) fn instance_state() -> Value {
    let mut event = envelope(
        "aws.ec2",
        "EC2 Instance State-change Notification",
        json!({"instance-id": "i-0abc0abc0abc0abc0", "state": "running"}),
    );
    event["resources"] = json!(["arn:aws:ec2:eu-west-1:123456789012:instance/i-0abc0abc0abc0abc0"]);
    event
}

pub(super) fn schedule() -> Value {
    let mut event = envelope("aws.events", "Scheduled Event", json!({}));
    event["resources"] = json!(["arn:aws:events:eu-west-1:123456789012:rule/quell-sweep"]);
    event
}

pub(super) fn manual() -> Value {
    json!({
        "source": "quell.manual",
        "detail": {
            "control": "s3-public-acl",
            "resource": "quell-sample",
            "account": ACCOUNT,
            "region": "eu-west-1",
        },
    })
}

fn envelope(source: &str, kind: &str, detail: Value) -> Value {
    json!({
        "version": "0",
        "id": "8f2d0b1c-0000-4000-8000-000000000001",
        "detail-type": kind,
        "source": source,
        "account": ACCOUNT,
        "time": "2026-03-01T09:30:05Z",
        "region": "eu-west-1",
        "resources": [],
        "detail": detail,
    })
}
