//! Which call to AWS a request is, by the protocol that its service speaks.

use std::collections::BTreeSet;

use axum::body::Bytes;
use hyper::{Method, http::request::Parts};
use serde_json::Value;

/// No operation of the API: a request at a function URL that asks IAM.
pub(super) const THROUGH_URL: &str = "InvokeFunctionUrl";

/// What a request asks for. Names are those of the SDKs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Named {
    pub(super) protocol: Protocol,
    /// Such as `S3 Control`. Empty: nothing in the request says so.
    pub(super) service: String,
    /// Such as `PutPublicAccessBlock`; `Unknown` and the request's shape where there is no name for it.
    pub(super) operation: String,
    /// DynamoDB: `pk` of every item that the request names, in its order.
    pub(super) keys: Vec<String>,
    /// What else it is about: a bucket, the ids in EC2's parameters, a table, a topic, a queue, a function, a rule, a trail.
    pub(super) resources: Vec<String>,
}

/// How errors are told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Protocol {
    /// AWS JSON: CloudTrail, Config, DynamoDB, EventBridge, Secrets Manager, SQS.
    Json,
    /// Smithy RPC v2 CBOR: CloudWatch.
    Cbor,
    Ec2,
    /// AWS query: IAM, SNS, STS.
    Query,
    S3,
    S3Control,
    /// REST with JSON: GuardDuty, Lambda, Security Hub.
    RestJson,
}

impl Named {
    pub(super) fn from(parts: &Parts, body: &Bytes) -> Self {
        let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let scope = header("authorization").and_then(signed_for).map(service_name);
        let path = parts.uri.path();

        // CloudTrail's has dots before the service.
        if let Some((target, operation)) = header("x-amz-target").and_then(|t| t.rsplit_once('.')) {
            let service = match target.split('_').next() {
                Some("AWSEvents") => "EventBridge",
                Some("DynamoDB") => "DynamoDB",
                Some("AmazonSQS") => "SQS",
                Some("secretsmanager") => "Secrets Manager",
                _ => scope.unwrap_or(target),
            };
            return json(service, operation, body);
        }
        if let Some((_, operation)) =
            path.strip_prefix("/service/").and_then(|rest| rest.split_once("/operation/"))
        {
            return Self::new(Protocol::Cbor, scope.unwrap_or_default(), operation);
        }
        if let Some(configuration) = path.strip_prefix("/v20180820/") {
            let account = header("x-amz-account-id").map(str::to_owned);
            return s3_control(&parts.method, configuration, account);
        }
        if let Some(rest) = path.strip_prefix("/2015-03-31/functions/") {
            return lambda(&parts.method, rest);
        }
        if scope == Some("GuardDuty") {
            return guardduty(&parts.method, path);
        }
        if scope == Some("SecurityHub") {
            return security_hub(&parts.method, path, body);
        }
        let is_form = header("content-type")
            .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        if parts.method == Method::POST && is_form {
            return query(scope.unwrap_or_default(), body);
        }
        match scope {
            None | Some("S3") => s3(parts),
            // The API has versions in its paths.
            Some("Lambda") if !path.starts_with("/20") => {
                Self::new(Protocol::RestJson, "Lambda", THROUGH_URL)
            }
            Some(service) => {
                let operation = format!("Unknown {} {path}", parts.method);
                Self::new(Protocol::RestJson, service, operation)
            }
        }
    }

    /// Whether it may change something. What has no name may.
    pub(super) fn is_write(&self) -> bool {
        const READS: [&str; 8] =
            ["Get", "List", "Describe", "Head", "BatchGet", "TransactGet", "Query", "Scan"];
        // Credentials change nothing by themselves.
        self.service != "STS" && !READS.iter().any(|verb| self.operation.starts_with(verb))
    }

    fn new(protocol: Protocol, service: impl Into<String>, operation: impl Into<String>) -> Self {
        let (service, operation) = (service.into(), operation.into());
        Self { protocol, service, operation, keys: Vec::new(), resources: Vec::new() }
    }

    fn about(mut self, resources: impl IntoIterator<Item = String>) -> Self {
        self.resources = resources.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        self
    }
}

/// The service of the credential scope: `Credential=<key>/<day>/<region>/<service>/aws4_request`.
fn signed_for(authorization: &str) -> Option<&str> {
    let scope = authorization.split_once("Credential=")?.1.split([',', ' ']).next()?;
    scope.split('/').nth(3)
}

/// The SDK's name of a service, by the name that its requests are signed for.
fn service_name(signed_for: &str) -> &str {
    match signed_for {
        "cloudtrail" => "CloudTrail",
        "config" => "Config Service",
        "dynamodb" => "DynamoDB",
        "ec2" => "EC2",
        "events" => "EventBridge",
        "guardduty" => "GuardDuty",
        "iam" => "IAM",
        "lambda" => "Lambda",
        "monitoring" => "CloudWatch",
        "s3" => "S3",
        "secretsmanager" => "Secrets Manager",
        "securityhub" => "SecurityHub",
        "sns" => "SNS",
        "sqs" => "SQS",
        "sts" => "STS",
        other => other,
    }
}

fn json(service: &str, operation: &str, body: &Bytes) -> Named {
    let named = Named::new(Protocol::Json, service, operation);
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return named };
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    if service != "DynamoDB" {
        let named_by = ["QueueUrl", "Name", "TrailName", "Rule", "ResourceARN", "SecretId"];
        return named.about(named_by.into_iter().find_map(text));
    }
    let mut keys = Vec::new();
    let mut tables: Vec<String> = text("TableName").into_iter().collect();
    let mut note = |operation: &Value| {
        keys.extend(["Item", "Key"].iter().find_map(|at| pk(operation.get(at)?)));
        tables.extend(operation.get("TableName").and_then(Value::as_str).map(str::to_owned));
    };
    note(&body);
    // TransactWriteItems and TransactGetItems: a list of `{"Put": {…}}`.
    let of_transaction = body.get("TransactItems").and_then(Value::as_array);
    for operation in of_transaction.into_iter().flatten().filter_map(Value::as_object) {
        operation.values().for_each(&mut note);
    }
    for (table, wanted) in body.get("RequestItems").and_then(Value::as_object).into_iter().flatten()
    {
        tables.push(table.clone());
        // BatchGetItem: keys by table; BatchWriteItem: a list of `{"PutRequest": {…}}`.
        let read = wanted.get("Keys").and_then(Value::as_array);
        keys.extend(read.into_iter().flatten().filter_map(pk));
        for request in wanted.as_array().into_iter().flatten().filter_map(Value::as_object) {
            keys.extend(
                request.values().filter_map(|request| {
                    ["Item", "Key"].iter().find_map(|at| pk(request.get(at)?))
                }),
            );
        }
    }
    Named { keys, ..named.about(tables) }
}

fn pk(attributes: &Value) -> Option<String> {
    attributes.get("pk")?.get("S")?.as_str().map(str::to_owned)
}

fn query(service: &str, body: &Bytes) -> Named {
    let pairs: Vec<_> = form_urlencoded::parse(body).collect();
    let action = pairs.iter().find(|(name, _)| name == "Action").map(|(_, value)| value.as_ref());
    let protocol = if service == "EC2" { Protocol::Ec2 } else { Protocol::Query };
    // `InstanceId`, `InstanceId.1`, `IpPermissions.1.Groups.1.GroupId`, `TopicArn`, `UserName`.
    let names_resource = |name: &str| {
        let last = name.rsplit('.').find(|part| part.parse::<u32>().is_err()).unwrap_or(name);
        ["Id", "Arn"].iter().any(|end| last.ends_with(end))
            || service == "IAM" && ["GroupName", "RoleName", "UserName"].contains(&last)
    };
    let resources = pairs.iter().filter(|(name, _)| names_resource(name));
    Named::new(protocol, service, action.unwrap_or("Unknown without Action"))
        .about(resources.map(|(_, value)| value.to_string()))
}

fn lambda(method: &Method, rest: &str) -> Named {
    let (function, of_function) = rest.split_once('/').unwrap_or((rest, ""));
    let operation = match (method.as_str(), of_function) {
        ("GET", "") if function.is_empty() => "ListFunctions",
        ("POST", "") if function.is_empty() => "CreateFunction",
        ("POST", "invocations") => "Invoke",
        ("GET", "") => "GetFunction",
        ("GET", "configuration") => "GetFunctionConfiguration",
        ("PUT", "configuration") => "UpdateFunctionConfiguration",
        _ => &format!("Unknown {method} function/{of_function}"),
    };
    let function = percent_encoding::percent_decode_str(function).decode_utf8_lossy().into_owned();
    Named::new(Protocol::RestJson, "Lambda", operation)
        .about((!function.is_empty()).then_some(function))
}

fn guardduty(method: &Method, path: &str) -> Named {
    let mut parts = path.trim_matches('/').split('/');
    let (kind, detector, of_detector) = (parts.next(), parts.next(), parts.next());
    let operation = match (method.as_str(), kind, detector, of_detector, parts.next()) {
        ("GET", Some("detector"), None, None, None) => "ListDetectors",
        ("POST", Some("detector"), None, None, None) => "CreateDetector",
        ("GET", Some("detector"), Some(_), None, None) => "GetDetector",
        ("POST", Some("detector"), Some(_), None, None) => "UpdateDetector",
        ("DELETE", Some("detector"), Some(_), None, None) => "DeleteDetector",
        ("GET", Some("detector"), Some(_), Some("administrator"), None) => {
            "GetAdministratorAccount"
        }
        _ => &format!("Unknown {method} {path}"),
    };
    Named::new(Protocol::RestJson, "GuardDuty", operation).about(detector.map(str::to_owned))
}

/// It is about the findings that it names.
fn security_hub(method: &Method, path: &str, body: &Bytes) -> Named {
    let operation = match (method.as_str(), path) {
        ("POST", "/findings") => "GetFindings",
        ("POST", "/findings/import") => "BatchImportFindings",
        ("PATCH", "/findings/batchupdate") => "BatchUpdateFindings",
        _ => &format!("Unknown {method} {path}"),
    };
    let body = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let lists = ["Findings", "FindingIdentifiers"].into_iter();
    let findings = lists.filter_map(|list| body[list].as_array()).flatten();
    let ids = findings.filter_map(|finding| finding["Id"].as_str().map(str::to_owned));
    Named::new(Protocol::RestJson, "SecurityHub", operation).about(ids)
}

fn s3_control(method: &Method, configuration: &str, account: Option<String>) -> Named {
    let operation = match (method.as_str(), configuration) {
        ("GET", "configuration/publicAccessBlock") => "GetPublicAccessBlock",
        ("PUT", "configuration/publicAccessBlock") => "PutPublicAccessBlock",
        ("DELETE", "configuration/publicAccessBlock") => "DeletePublicAccessBlock",
        _ => &format!("Unknown {method} {configuration}"),
    };
    Named::new(Protocol::S3Control, "S3 Control", operation).about(account)
}

fn s3(parts: &Parts) -> Named {
    let path = parts.uri.path().trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let parameters = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let mut asked: Vec<_> = parameters
        .map(|(name, _)| name.into_owned())
        .filter(|name| !S3_MODIFIERS.contains(&name.as_str()))
        .collect();
    asked.sort();

    let method = parts.method.as_str();
    let level = match (bucket, key) {
        ("", _) => Level::Service,
        (_, "") => Level::Bucket,
        _ => Level::Object,
    };
    let operation = match (level, asked.as_slice()) {
        (Level::Object, [])
            if method == "PUT" && parts.headers.contains_key("x-amz-copy-source") =>
        {
            Some("CopyObject")
        }
        (_, []) => s3_operation(level, method, ""),
        (_, [one]) => s3_operation(level, method, one),
        // Parts of an upload carry two.
        (Level::Object, [one, other]) if one == "partNumber" && other == "uploadId" => {
            (method == "PUT").then_some("UploadPart")
        }
        _ => None,
    };
    let operation = operation.map_or_else(
        || format!("Unknown {method} {}?{}", level.name(), asked.join("&")),
        str::to_owned,
    );
    let bucket = percent_encoding::percent_decode_str(bucket).decode_utf8_lossy().into_owned();
    Named::new(Protocol::S3, "S3", operation).about((!bucket.is_empty()).then_some(bucket))
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Level {
    Service,
    Bucket,
    Object,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Bucket => "bucket",
            Self::Object => "object",
        }
    }
}

fn s3_operation(level: Level, method: &str, subresource: &str) -> Option<&'static str> {
    S3_OPERATIONS
        .iter()
        .find(|(at, by, sub, _)| (*at, *by, *sub) == (level, method, subresource))
        .map(|(.., operation)| *operation)
}

/// Query parameters that say more about a call, but not which it is.
const S3_MODIFIERS: [&str; 22] = [
    "bucket-region",
    "continuation-token",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "key-marker",
    "marker",
    "max-buckets",
    "max-keys",
    "max-uploads",
    "optional-object-attributes",
    "prefix",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "start-after",
    "version-id-marker",
    "versionId",
    "x-id",
];

/// Level, method, sub-resource: operation.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html>
const S3_OPERATIONS: [(Level, &str, &str, &str); 60] = {
    use Level::{Bucket as B, Object as O, Service as S};
    [
        (S, "GET", "", "ListBuckets"),
        (B, "GET", "", "ListObjects"),
        (B, "GET", "list-type", "ListObjectsV2"),
        (B, "HEAD", "", "HeadBucket"),
        (B, "PUT", "", "CreateBucket"),
        (B, "DELETE", "", "DeleteBucket"),
        (B, "GET", "acl", "GetBucketAcl"),
        (B, "PUT", "acl", "PutBucketAcl"),
        (B, "GET", "policy", "GetBucketPolicy"),
        (B, "PUT", "policy", "PutBucketPolicy"),
        (B, "DELETE", "policy", "DeleteBucketPolicy"),
        (B, "GET", "policyStatus", "GetBucketPolicyStatus"),
        (B, "GET", "publicAccessBlock", "GetPublicAccessBlock"),
        (B, "PUT", "publicAccessBlock", "PutPublicAccessBlock"),
        (B, "DELETE", "publicAccessBlock", "DeletePublicAccessBlock"),
        (B, "GET", "ownershipControls", "GetBucketOwnershipControls"),
        (B, "PUT", "ownershipControls", "PutBucketOwnershipControls"),
        (B, "DELETE", "ownershipControls", "DeleteBucketOwnershipControls"),
        (B, "GET", "tagging", "GetBucketTagging"),
        (B, "PUT", "tagging", "PutBucketTagging"),
        (B, "DELETE", "tagging", "DeleteBucketTagging"),
        (B, "GET", "location", "GetBucketLocation"),
        (B, "GET", "website", "GetBucketWebsite"),
        (B, "PUT", "website", "PutBucketWebsite"),
        (B, "DELETE", "website", "DeleteBucketWebsite"),
        (B, "GET", "versioning", "GetBucketVersioning"),
        (B, "PUT", "versioning", "PutBucketVersioning"),
        (B, "GET", "encryption", "GetBucketEncryption"),
        (B, "PUT", "encryption", "PutBucketEncryption"),
        (B, "DELETE", "encryption", "DeleteBucketEncryption"),
        (B, "GET", "logging", "GetBucketLogging"),
        (B, "PUT", "logging", "PutBucketLogging"),
        (B, "GET", "cors", "GetBucketCors"),
        (B, "PUT", "cors", "PutBucketCors"),
        (B, "DELETE", "cors", "DeleteBucketCors"),
        (B, "GET", "lifecycle", "GetBucketLifecycleConfiguration"),
        (B, "PUT", "lifecycle", "PutBucketLifecycleConfiguration"),
        (B, "DELETE", "lifecycle", "DeleteBucketLifecycle"),
        (B, "GET", "replication", "GetBucketReplication"),
        (B, "PUT", "replication", "PutBucketReplication"),
        (B, "DELETE", "replication", "DeleteBucketReplication"),
        (B, "GET", "notification", "GetBucketNotificationConfiguration"),
        (B, "PUT", "notification", "PutBucketNotificationConfiguration"),
        (B, "GET", "versions", "ListObjectVersions"),
        (B, "GET", "uploads", "ListMultipartUploads"),
        (B, "POST", "delete", "DeleteObjects"),
        (O, "GET", "", "GetObject"),
        (O, "HEAD", "", "HeadObject"),
        (O, "PUT", "", "PutObject"),
        (O, "DELETE", "", "DeleteObject"),
        (O, "GET", "acl", "GetObjectAcl"),
        (O, "PUT", "acl", "PutObjectAcl"),
        (O, "GET", "tagging", "GetObjectTagging"),
        (O, "PUT", "tagging", "PutObjectTagging"),
        (O, "DELETE", "tagging", "DeleteObjectTagging"),
        (O, "GET", "attributes", "GetObjectAttributes"),
        (O, "POST", "uploads", "CreateMultipartUpload"),
        (O, "POST", "uploadId", "CompleteMultipartUpload"),
        (O, "DELETE", "uploadId", "AbortMultipartUpload"),
        (O, "GET", "uploadId", "ListParts"),
    ]
};

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    #[test]
    fn dynamodb_is_named_by_its_target_with_the_keys_in_order() {
        let transaction = r#"{"ClientRequestToken":"t","TransactItems":[
            {"Update":{"TableName":"ledger","Key":{"pk":{"S":"LCK#a"},"sk":{"S":"LOCK"}}}},
            {"Put":{"TableName":"ledger","Item":{"sk":{"S":"RECORD"},"pk":{"S":"REC#a"}}}},
            {"ConditionCheck":{"TableName":"ledger","Key":{"pk":{"S":"HLT#halt"}}}},
            {"Delete":{"TableName":"other","Key":{"pk":{"S":"APR#a"}}}}]}"#;
        let batch = r#"{"RequestItems":{"ledger":{"ConsistentRead":true,"Keys":[
            {"pk":{"S":"POL#policy"},"sk":{"S":"CURRENT"}},{"pk":{"S":"LCK#a"}}]}}}"#;
        let batch_write = r#"{"RequestItems":{"ledger":[
            {"PutRequest":{"Item":{"pk":{"S":"OWN#1"}}}},{"DeleteRequest":{"Key":{"pk":{"S":"OWN#2"}}}}]}}"#;
        let update = r#"{"TableName":"ledger","Key":{"pk":{"S":"BUD#a"}}}"#;
        let put = r#"{"TableName":"ledger","Item":{"pk":{"S":"REC#a"}}}"#;
        let of_index = r#"{"TableName":"ledger","IndexName":"by-control"}"#;
        for (operation, body, keys, tables, is_write) in [
            (
                "TransactWriteItems",
                transaction,
                vec!["LCK#a", "REC#a", "HLT#halt", "APR#a"],
                vec!["ledger", "other"],
                true,
            ),
            ("BatchGetItem", batch, vec!["POL#policy", "LCK#a"], vec!["ledger"], false),
            ("BatchWriteItem", batch_write, vec!["OWN#1", "OWN#2"], vec!["ledger"], true),
            ("UpdateItem", update, vec!["BUD#a"], vec!["ledger"], true),
            ("GetItem", update, vec!["BUD#a"], vec!["ledger"], false),
            ("PutItem", put, vec!["REC#a"], vec!["ledger"], true),
            ("Query", of_index, vec![], vec!["ledger"], false),
            ("PutItem", "not JSON", vec![], vec![], true),
        ] {
            let target = format!("DynamoDB_20120810.{operation}");
            let named = named("POST", "/", &[("x-amz-target", &target)], body);
            assert_eq!((named.service.as_str(), named.operation.as_str()), ("DynamoDB", operation));
            assert_eq!((&named.keys, &named.resources), (&owned(keys), &owned(tables)));
            assert_eq!((named.protocol, named.is_write()), (Protocol::Json, is_write));
        }
    }

    #[test]
    fn secrets_are_named_by_their_id() {
        let named = named(
            "POST",
            "/",
            &[("x-amz-target", "secretsmanager.GetSecretValue")],
            r#"{"SecretId":"arn:aws:secretsmanager:eu-west-1:123456789012:secret:slack-AbCdEf"}"#,
        );
        assert_eq!(
            (named.service.as_str(), named.operation.as_str()),
            ("Secrets Manager", "GetSecretValue")
        );
        assert_eq!(
            named.resources,
            ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:slack-AbCdEf"]
        );
        assert!(!named.is_write());
    }

    #[test]
    fn sqs_is_named_by_its_target() {
        let named = named(
            "POST",
            "/",
            &[("x-amz-target", "AmazonSQS.SendMessage")],
            r#"{"QueueUrl":"http://sqs/queue","MessageBody":"b"}"#,
        );
        assert_eq!((named.service.as_str(), named.operation.as_str()), ("SQS", "SendMessage"));
        assert_eq!(named.resources, ["http://sqs/queue"]);
    }

    #[test]
    fn query_calls_are_named_by_their_action_and_signature() {
        for (signed, body, service, operation, resources, is_write) in [
            (
                "ec2",
                "Action=RevokeSecurityGroupIngress&Version=2016-11-15&GroupId=sg-1&SecurityGroupRuleId.1=sgr-2",
                "EC2",
                "RevokeSecurityGroupIngress",
                vec!["sg-1", "sgr-2"],
                true,
            ),
            (
                "ec2",
                "Action=DescribeInstances&Version=2016-11-15&InstanceId.1=i-1",
                "EC2",
                "DescribeInstances",
                vec!["i-1"],
                false,
            ),
            (
                "sns",
                "Action=Publish&TopicArn=arn%3Aaws%3Asns%3Aeu-west-1%3A1%3At&Message=Id",
                "SNS",
                "Publish",
                vec!["arn:aws:sns:eu-west-1:1:t"],
                true,
            ),
            ("sts", "Action=GetCallerIdentity", "STS", "GetCallerIdentity", vec![], false),
            ("sts", "Action=AssumeRole&RoleArn=arn", "STS", "AssumeRole", vec!["arn"], false),
            ("ec2", "Version=1", "EC2", "Unknown without Action", vec![], true),
        ] {
            let named = named(
                "POST",
                "/",
                &[
                    ("authorization", &signature(signed)),
                    ("content-type", "application/x-www-form-urlencoded"),
                ],
                body,
            );
            assert_eq!((named.service.as_str(), named.operation.as_str()), (service, operation));
            assert_eq!((named.resources.clone(), named.is_write()), (owned(resources), is_write));
        }
    }

    #[test]
    fn cbor_calls_are_named_by_their_path() {
        let path = "/service/GraniteServiceVersion20100801/operation/GetMetricStatistics";
        let named = named("POST", path, &[("authorization", &signature("monitoring"))], "");
        assert_eq!(named.service, "CloudWatch");
        assert_eq!(named.operation, "GetMetricStatistics");
        assert_eq!(named.protocol, Protocol::Cbor);
    }

    #[test]
    fn s3_is_named_by_method_and_subresource() {
        for (method, path, operation) in [
            ("GET", "/?x-id=ListBuckets", "ListBuckets"),
            ("HEAD", "/b", "HeadBucket"),
            ("GET", "/b/?acl", "GetBucketAcl"),
            ("PUT", "/b?acl", "PutBucketAcl"),
            ("GET", "/b?policyStatus", "GetBucketPolicyStatus"),
            ("DELETE", "/b?policy", "DeleteBucketPolicy"),
            ("PUT", "/b?publicAccessBlock=", "PutPublicAccessBlock"),
            ("GET", "/b?ownershipControls", "GetBucketOwnershipControls"),
            ("GET", "/b?list-type=2&prefix=a&max-keys=1", "ListObjectsV2"),
            ("GET", "/b/a/key?x-id=GetObject", "GetObject"),
            ("PUT", "/b/key?partNumber=1&uploadId=u&x-id=UploadPart", "UploadPart"),
            ("PUT", "/b/key?acl", "PutObjectAcl"),
            ("POST", "/b?delete", "DeleteObjects"),
            ("GET", "/b?newThing&acl", "Unknown GET bucket?acl&newThing"),
            ("PATCH", "/b", "Unknown PATCH bucket?"),
            ("DELETE", "/", "Unknown DELETE service?"),
        ] {
            let named = named(method, path, &[("authorization", &signature("s3"))], "");
            assert_eq!((named.service.as_str(), named.operation.as_str()), ("S3", operation));
            assert_eq!(
                named.is_write(),
                !matches!(method, "GET" | "HEAD") || operation.starts_with("Unknown")
            );
            let bucket = if path.starts_with("/b") { vec!["b"] } else { vec![] };
            assert_eq!(named.resources, owned(bucket), "{path}");
        }
    }

    #[test]
    fn s3_control_and_lambda_are_named_by_their_paths() {
        let block = "/v20180820/configuration/publicAccessBlock";
        for (method, path, service, operation, resource) in [
            ("GET", block, "S3 Control", "GetPublicAccessBlock", "123456789012"),
            ("PUT", block, "S3 Control", "PutPublicAccessBlock", "123456789012"),
            ("GET", "/v20180820/jobs", "S3 Control", "Unknown GET jobs", "123456789012"),
            ("POST", "/2015-03-31/functions/quell-s3/invocations", "Lambda", "Invoke", "quell-s3"),
            (
                "POST",
                "/2015-03-31/functions/arn%3Aaws%3Alambda/invocations",
                "Lambda",
                "Invoke",
                "arn:aws:lambda",
            ),
            ("GET", "/2015-03-31/functions/f/policy", "Lambda", "Unknown GET function/policy", "f"),
        ] {
            let named = named(method, path, &[("x-amz-account-id", "123456789012")], "");
            assert_eq!((named.service.as_str(), named.operation.as_str()), (service, operation));
            assert_eq!(named.resources, [resource]);
        }
    }

    #[test]
    fn security_hub_is_named_by_its_paths_with_the_findings() {
        let updated = r#"{"FindingIdentifiers":[{"Id":"b"},{"Id":"a"}]}"#;
        for (method, path, body, operation, findings, is_write) in [
            (
                "POST",
                "/findings/import",
                r#"{"Findings":[{"Id":"a"}]}"#,
                "BatchImportFindings",
                vec!["a"],
                true,
            ),
            (
                "PATCH",
                "/findings/batchupdate",
                updated,
                "BatchUpdateFindings",
                vec!["a", "b"],
                true,
            ),
            ("POST", "/findings", "{}", "GetFindings", vec![], false),
            ("GET", "/accounts", "", "Unknown GET /accounts", vec![], true),
        ] {
            let named = named(method, path, &[("authorization", &signature("securityhub"))], body);
            assert_eq!(
                (named.service.as_str(), named.operation.as_str()),
                ("SecurityHub", operation)
            );
            assert_eq!((named.resources.clone(), named.is_write()), (owned(findings), is_write));
        }
    }

    #[test]
    fn what_is_signed_for_lambda_and_is_no_call_of_its_api_came_through_a_url() {
        let scope = signature("lambda");
        let named = |path| named("POST", path, &[("authorization", scope.as_str())], "{}");
        for path in ["/", "/slack"] {
            let named = named(path);
            assert_eq!((&*named.service, &*named.operation), ("Lambda", THROUGH_URL));
            assert!(named.is_write());
        }
        assert_eq!(named("/2015-03-31/functions/f/invocations").operation, "Invoke");
        assert_eq!(
            named("/2017-10-31/functions/f/concurrency").operation,
            "Unknown POST /2017-10-31/functions/f/concurrency"
        );
    }

    #[test]
    fn a_request_of_an_unknown_service_is_named_plainly() {
        let scope = signature("glacier");
        let named = named("GET", "/vaults", &[("authorization", scope.as_str())], "");
        assert_eq!(
            (named.service.as_str(), named.operation.as_str()),
            ("glacier", "Unknown GET /vaults")
        );
        assert!(named.is_write());
    }

    #[test]
    fn no_request_of_s3_has_two_names() {
        for (index, (level, method, subresource, _)) in S3_OPERATIONS.iter().enumerate() {
            let same = |other: &&(Level, &str, &str, &str)| {
                (&other.0, &other.1, &other.2) == (level, method, subresource)
            };
            assert_eq!(S3_OPERATIONS.iter().filter(same).count(), 1, "entry {index}");
        }
    }

    fn named(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Named {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        Named::from(&parts, &Bytes::from(body.to_owned()))
    }

    fn signature(service: &str) -> String {
        format!(
            "AWS4-HMAC-SHA256 Credential=key/20260101/eu-west-1/{service}/aws4_request, SignedHeaders=host, Signature=s"
        )
    }

    fn owned(texts: Vec<&str>) -> Vec<String> {
        texts.into_iter().map(str::to_owned).collect()
    }
}
