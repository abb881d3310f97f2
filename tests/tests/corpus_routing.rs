//! Real events that call for one of the controls reach it: a rule of its function matches them, and the control names
//! the resource that the index of the events names.
//!
//! Which control an event calls for is decided by the index: the kind of event, the call or finding, and the label.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "these are tests")]

mod corpus_index;

use std::collections::{BTreeMap, BTreeSet};

use corpus_index::{Row, corpus, is_account};
use quamina::Quamina;
use quell_controls::REGISTRY;
use quell_engine::{
    Meta, Signal, listen,
    signal::{Heard, parse},
};
use quell_tests::targets;
use serde_json::Value;

/// The bucket could be public by its ACL, its policy, or both.
const PUBLIC_BUCKET: &[&str] = &["s3-public-acl", "s3-public-policy"];

/// Only the group itself says whether it is a default one.
const CALLED: &[&str] = &["sg-open-ingress", "sg-default-rules"];

/// The image could be shared with everyone, with somebody unknown, or both.
const SHARED_IMAGE: &[&str] = &["ami-public-image", "ami-shared-image"];

#[test]
fn what_calls_for_a_control_reaches_it() {
    let Some((folder, rows)) = corpus() else { return };
    let functions = Functions::new();
    let mut wrong = Vec::new();
    let mut reached: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &rows {
        let text = unscrubbed(&row.read(&folder));
        let event: Value = serde_json::from_str(&text).unwrap();
        let Some((controls, resources)) = called_for(row, &event) else { continue };
        let signals = signals(&text);
        for control in controls {
            let meta = REGISTRY.iter().find(|meta| meta.id == *control).unwrap();
            let rules = functions.rules_that_match(meta.function, &text);
            let named: BTreeSet<String> = signals
                .iter()
                .filter(|signal| meta.hears(signal))
                .flat_map(|signal| targets(control, signal).unwrap())
                .collect();
            if rules.len() != 1 {
                wrong.push(format!("{}: {control}: matches the rules {rules:?}", row.file));
            }
            if named != resources {
                wrong.push(format!(
                    "{}: {control}: names {named:?} instead of {resources:?}",
                    row.file
                ));
            }
            *reached.entry(control).or_default() += 1;
        }
    }
    for (control, events) in &reached {
        println!("{control:24}{events} events");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!reached.is_empty(), "no event of the corpus calls for a control");
}

#[test]
fn what_must_not_be_acted_upon_names_nothing() {
    let Some((folder, rows)) = corpus() else { return };
    for row in rows {
        let failed = row.error_code.as_deref().is_some_and(|code| !code.is_empty());
        if !failed && !row.has_quirk("read-only") && !row.has_quirk("sample-finding") {
            continue;
        }
        for signal in signals(&unscrubbed(&row.read(&folder))) {
            for meta in REGISTRY {
                let named = targets(meta.id, &signal);
                assert!(
                    named.as_ref().is_ok_and(Vec::is_empty),
                    "{}: {}: {named:?}",
                    row.file,
                    meta.id
                );
            }
        }
    }
}

/// The controls that the event calls for, and the resources that they must name.
fn called_for(row: &Row, event: &Value) -> Option<(&'static [&'static str], BTreeSet<String>)> {
    let label = row.label.act.as_deref()?;
    // What is to be held against a baseline is labelled as a matter of policy. It must reach its control all the same.
    const POLICY: [&str; 6] = [
        "evaluate the new",
        "enable versioning",
        "restore default encryption",
        "deactivate the new key",
        "recreate the trail",
        "remove the trust",
    ];
    if !row.is_firm_act() && !POLICY.iter().any(|begin| label.starts_with(begin)) {
        return None;
    }
    let parameters = &event["detail"]["requestParameters"];
    let bucket = || one(parameters["bucketName"].as_str()?);
    let (service, name) = (row.service.as_deref()?, row.name.as_deref()?);
    match (row.kind.as_str(), service, name) {
        ("cloudtrail-api", "s3", "PutBucketAcl" | "CreateBucket") => {
            Some((&["s3-public-acl"], bucket()?))
        }
        ("cloudtrail-api", "s3", "PutBucketPolicy") => {
            Some((&["s3-public-policy", "s3-cross-account-policy"], bucket()?))
        }
        (
            "cloudtrail-api",
            "s3",
            "PutBucketPublicAccessBlock" | "DeleteBucketPublicAccessBlock",
        ) => Some((&["s3-block-public-access"], bucket()?)),
        ("cloudtrail-api", "s3", "PutBucketVersioning") => Some((&["s3-versioning"], bucket()?)),
        ("cloudtrail-api", "s3", "DeleteBucketEncryption") => Some((&["s3-encryption"], bucket()?)),
        (
            "cloudtrail-api",
            "s3",
            "PutAccountPublicAccessBlock" | "DeleteAccountPublicAccessBlock",
        ) => Some((&["s3-account-public-access"], one(event["account"].as_str()?)?)),
        ("cloudtrail-api", "cloudtrail", "StopLogging") => {
            Some((&["cloudtrail-logging"], trail(event, "name")?))
        }
        ("cloudtrail-api", "cloudtrail", "DeleteTrail") => {
            Some((&["cloudtrail-deleted"], trail(event, "name")?))
        }
        ("cloudtrail-api", "cloudtrail", "PutEventSelectors") => {
            Some((&["cloudtrail-event-selectors"], trail(event, "trailName")?))
        }
        (
            "cloudtrail-api",
            "config",
            "DeleteConfigurationRecorder" | "DeleteDeliveryChannel" | "StopConfigurationRecorder",
        ) => Some((&["config-recorder"], one(event["account"].as_str()?)?)),
        ("cloudtrail-api", "ec2", "AuthorizeSecurityGroupIngress" | "ModifySecurityGroupRules") => {
            Some((CALLED, one(word(label, "sg-")?)?))
        }
        ("cloudtrail-api", "ec2", "CreateNetworkAclEntry") => {
            // Publishers hide the id, too.
            let id = parameters["networkAclId"].as_str().filter(|id| id.starts_with("acl-"))?;
            Some((&["vpc-nacl-open-ingress"], one(id)?))
        }
        ("cloudtrail-api", "ec2", "DeleteFlowLogs") => {
            let content = parameters.pointer("/DeleteFlowLogsRequest/FlowLogId/content")?;
            Some((&["vpc-flow-logs"], one(content.as_str()?)?))
        }
        // A key that root makes is no user's.
        ("cloudtrail-api", "iam", "CreateAccessKey")
            if event["detail"]["userIdentity"]["type"] != "Root" =>
        {
            let user = event.pointer("/detail/responseElements/accessKey/userName")?;
            Some((&["iam-second-key"], one(&format!("user/{}", user.as_str()?))?))
        }
        ("cloudtrail-api", "iam", "CreateRole" | "UpdateAssumeRolePolicy") => {
            let role = parameters["roleName"].as_str()?;
            Some((&["iam-open-trust"], one(&format!("role/{role}"))?))
        }
        ("cloudtrail-api", "iam", "AttachRolePolicy") => {
            let role = parameters["roleName"].as_str()?;
            Some((&["iam-admin-policy"], one(&format!("role/{role}"))?))
        }
        ("cloudtrail-api", "iam", "AttachUserPolicy") => {
            let user = parameters["userName"].as_str()?;
            Some((&["iam-admin-policy"], one(&format!("user/{user}"))?))
        }
        ("config-compliance", ..) if label.contains("vpc-flow-logs-enabled") => {
            Some((&["vpc-flow-logs"], one(event["detail"]["resourceId"].as_str()?)?))
        }
        ("cloudtrail-api", "ec2", "ModifyImageAttribute") => {
            Some((SHARED_IMAGE, one(parameters["imageId"].as_str()?)?))
        }
        ("cloudtrail-api", "ec2", "RunInstances") => {
            let launched = event.pointer("/detail/responseElements/instancesSet/items")?;
            let ids = launched.as_array()?.iter().filter_map(|item| item["instanceId"].as_str());
            Some((&["ec2-imdsv2"], ids.map(str::to_owned).collect()))
        }
        ("guardduty", ..) if label.starts_with("isolate i-") => {
            Some((&["ec2-quarantine"], one(word(label, "i-")?)?))
        }
        ("access-analyzer", _, "AWS::S3::Bucket") if label.contains("public access") => {
            Some((PUBLIC_BUCKET, one(last(event["detail"]["resource"].as_str()?))?))
        }
        ("securityhub-imported" | "securityhub-custom-action", ..) => found(event),
        _ => None,
    }
}

/// What Security Hub's own checks call for, by the id at the end of the generator. One finding, one resource.
fn found(event: &Value) -> Option<(&'static [&'static str], BTreeSet<String>)> {
    let finding = event.pointer("/detail/findings/0")?;
    let resource = finding.pointer("/Resources/0")?;
    let generator = finding["GeneratorId"].as_str()?;
    let controls: &[&str] = match (resource["Type"].as_str()?, generator.rsplit('/').next()?) {
        // A setting of the region. EC2.1 names the account too, but is about snapshots: the sweep finds those.
        ("AwsAccount", "EC2.7") => {
            return Some((&["ebs-default-encryption"], one(event["region"].as_str()?)?));
        }
        ("AwsIamUser", "IAM.3" | "IAM.8" | "IAM.22") => {
            let user = format!("user/{}", last(resource["Id"].as_str()?));
            return Some((&["iam-stale-key"], one(&user)?));
        }
        ("AwsS3Bucket", "S3.2" | "S3.3") => PUBLIC_BUCKET,
        ("AwsEc2Instance", "EC2.8") => &["ec2-imdsv2"],
        // The first CIS benchmark: 4.1 is SSH, 4.2 is RDP.
        ("AwsEc2SecurityGroup", "4.1" | "4.2") => &["sg-open-ingress"],
        ("AwsEc2SecurityGroup", "EC2.2" | "4.3") => &["sg-default-rules"],
        ("AwsEc2Vpc", "2.9") => &["vpc-flow-logs"],
        ("AwsEc2Subnet", "EC2.15") => &["vpc-subnet-public-ip"],
        _ => return None,
    };
    Some((controls, one(last(resource["Id"].as_str()?))?))
}

/// The trail that a parameter names: by its name where it is of here.
fn trail(event: &Value, parameter: &str) -> Option<BTreeSet<String>> {
    let name = event["detail"]["requestParameters"][parameter].as_str()?;
    let (region, account) = (event["region"].as_str()?, event["account"].as_str()?);
    let here = format!("arn:aws:cloudtrail:{region}:{account}:trail/");
    one(name.strip_prefix(&here).unwrap_or(name))
}

/// The part of a label that begins like this, up to the next blank.
fn word<'a>(label: &'a str, start: &str) -> Option<&'a str> {
    label.split(' ').find(|word| word.starts_with(start))
}

/// The name at the end of an ARN.
fn last(arn: &str) -> &str {
    arn.rsplit(['/', ':']).next().unwrap_or(arn)
}

fn one(resource: &str) -> Option<BTreeSet<String>> {
    Some(BTreeSet::from([resource.to_owned()]))
}

/// Publishers put other text in place of their account. Such an event is refused, so an account is put there again.
fn unscrubbed(event: &str) -> String {
    let mut event: Value = serde_json::from_str(event).unwrap();
    if event["account"].as_str().is_some_and(|account| !is_account(account)) {
        event["account"] = Value::from("123456789012");
        if let Some(recipient) = event.pointer_mut("/detail/recipientAccountId") {
            *recipient = Value::from("123456789012");
        }
    }
    event.to_string()
}

fn signals(event: &str) -> Vec<Signal> {
    let heard = parse(event).unwrap_or_default();
    heard
        .into_iter()
        .filter_map(|heard| match heard {
            Heard::Signal(signal) => Some(signal),
            Heard::Ignored(_) | Heard::Refused(_) => None,
        })
        .collect()
}

/// The rules of all functions, as the template has them.
struct Functions(BTreeMap<&'static str, Quamina<String>>);

impl Functions {
    fn new() -> Self {
        let mut served: BTreeMap<&str, Vec<&Meta>> = BTreeMap::new();
        for meta in REGISTRY {
            served.entry(meta.function).or_default().push(meta);
        }
        let matchers = served.into_iter().map(|(function, controls)| {
            let mut matcher = Quamina::new();
            for (index, (name, pattern)) in listen::rules(&controls).into_iter().enumerate() {
                // Two rules of one function may have the same name.
                matcher.add_pattern(format!("{name} {index}"), &pattern.to_string()).unwrap();
            }
            (function, matcher)
        });
        Self(matchers.collect())
    }

    fn rules_that_match(&self, function: &str, event: &str) -> Vec<String> {
        self.0[function].matches_for_event(event.as_bytes()).unwrap()
    }
}
