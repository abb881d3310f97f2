//! What Quell did, in the AWS Security Finding Format.
//!
//! Required attributes: <https://docs.aws.amazon.com/securityhub/latest/userguide/asff-required-attributes.html>.
//! Limits: <https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_AwsSecurityFinding.html>, and the pages of the
//! types in it.

use aws_sdk_securityhub::types::{
    AwsSecurityFinding, Compliance, ComplianceStatus, FindingProviderFields,
    FindingProviderSeverity, Partition, Recommendation, RecordState, Remediation, Resource,
    Severity as Rated, SeverityLabel, Workflow,
};
use jiff::Timestamp;
use quell_engine::{
    Outcome, Severity,
    notify::{Message, email},
    signal::{OWN_GENERATOR, own_product},
    text,
};

use crate::{
    plain::{cut, plain},
    update::workflow,
};

const SCHEMA: &str = "2018-10-08";

/// <https://docs.aws.amazon.com/securityhub/latest/userguide/securityhub-findings-format-type-taxonomy.html>
const TYPE: &str = "Software and Configuration Checks/AWS Security Best Practices";

const NAME: &str = "Quell";

const ID: usize = 512;
const TITLE: usize = 256;
const DESCRIPTION: usize = 1024;
const RECOMMENDATION: usize = 512;
const REGION: usize = 16;
const FIELD: usize = 2048;

/// Where it is imported: the account and region of the function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) account: &'a str,
    pub(crate) region: &'a str,
}

/// The finding of the message's record; every message of one record, and of its undo, gives the same `Id`. `sent` is
/// when the message was told. `None`: there is no record to name it by, or nothing to say.
pub(crate) fn finding(
    message: &Message,
    place: Place<'_>,
    sent: Timestamp,
) -> Option<AwsSecurityFinding> {
    let record = message.undoes.as_ref().or(message.record.as_ref())?;
    let workflow = Workflow::builder().status(workflow(message)?).build();
    let Place { account, region } = place;
    let is_over = message.outcome == Outcome::Fixed && message.verified == Some(true);
    let detected = message.detected.max(Timestamp::UNIX_EPOCH);
    let observed = message.event.time.unwrap_or(detected).max(Timestamp::UNIX_EPOCH);
    let control = plain(&message.control.id, ID - OWN_GENERATOR.len());
    let finding = AwsSecurityFinding::builder()
        .schema_version(SCHEMA)
        .id(plain(&format!("{region}/{account}/quell/{record}"), ID))
        .product_arn(own_product(account, region))
        .product_name(NAME)
        .company_name(NAME)
        .generator_id(format!("{OWN_GENERATOR}{control}"))
        .aws_account_id(account)
        .types(TYPE)
        .first_observed_at(instant(observed.min(detected)))
        .last_observed_at(instant(observed))
        .created_at(instant(detected))
        // An update that is not newer is ignored.
        .updated_at(instant(sent.max(detected)))
        .severity(rated(message.control.severity))
        .finding_provider_fields(provided(message.control.severity))
        .title(plain(&email::subject(message), TITLE))
        .description(description(message))
        .remediation(remediation(message))
        .resources(resource(message))
        .compliance(
            Compliance::builder()
                .status(if is_over { ComplianceStatus::Passed } else { ComplianceStatus::Failed })
                .build(),
        )
        // Counts when the finding is new; afterwards it is the customer's.
        .workflow(workflow)
        .record_state(if is_over { RecordState::Archived } else { RecordState::Active });
    let finding = fields(message).into_iter().fold(finding, |finding, (name, value)| {
        finding.product_fields(format!("quell/{name}"), plain(&value, FIELD))
    });
    Some(match text::console_link(&message.resource.console) {
        Some(link) => finding.source_url(link).build(),
        None => finding.build(),
    })
}

fn description(message: &Message) -> String {
    let risk = text::mail_up_to(&message.control.risk, DESCRIPTION);
    let reason = message.reason.as_deref().unwrap_or_default();
    let reason = text::mail_up_to(reason, DESCRIPTION);
    let said = format!("{} {risk} {reason}", message.status());
    cut(said.trim(), DESCRIPTION)
}

fn remediation(message: &Message) -> Remediation {
    let mut said = match message.runbook() {
        Some(runbook) => format!("Quell's runbook says what to do: {runbook}"),
        None => "Quell's record says what to do".to_owned(),
    };
    for (name, command) in message.commands() {
        said.push_str(&format!("; {}: {}", name.to_lowercase(), plain(command, 128)));
    }
    let recommendation = Recommendation::builder().text(cut(&said, RECOMMENDATION)).build();
    Remediation::builder().recommendation(recommendation).build()
}

fn resource(message: &Message) -> Resource {
    let arn = message.resource.arn.as_str();
    // Other findings are about the same resource only if it has the same name in all of them.
    let is_arn = arn.starts_with("arn:")
        && arn.len() <= ID
        && !arn.contains("://")
        && arn.bytes().all(|b| b.is_ascii_graphic() && !b"<>&|\"'`()[]".contains(&b));
    let id = if is_arn { arn.to_owned() } else { plain(&message.resource.name, ID) };
    let resource = Resource::builder().r#type(resource_type(arn)).id(id);
    let resource = match arn.split(':').nth(1).filter(|_| is_arn) {
        Some(known @ ("aws" | "aws-cn" | "aws-us-gov")) => {
            resource.partition(Partition::from(known))
        }
        _ => resource,
    };
    let region = message.region.as_str();
    let is_region = !region.is_empty()
        && region.len() <= REGION
        && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if is_region { resource.region(region).build() } else { resource.build() }
}

/// <https://docs.aws.amazon.com/securityhub/latest/userguide/asff-resources.html>
fn resource_type(arn: &str) -> &'static str {
    let mut parts = arn.splitn(6, ':').skip(2);
    let (service, name) = (parts.next().unwrap_or_default(), parts.nth(2).unwrap_or_default());
    let kind = name.split(['/', ':']).next().unwrap_or_default();
    match (service, kind) {
        ("s3", bucket) if bucket == name && !name.is_empty() => "AwsS3Bucket",
        ("ec2", "instance") => "AwsEc2Instance",
        ("ec2", "security-group") => "AwsEc2SecurityGroup",
        ("cloudtrail", "trail") => "AwsCloudTrailTrail",
        ("lambda", "function") => "AwsLambdaFunction",
        ("iam", "role") => "AwsIamRole",
        ("iam", "user") => "AwsIamUser",
        ("iam", "group") => "AwsIamGroup",
        ("iam", "policy") => "AwsIamPolicy",
        ("sns", _) => "AwsSnsTopic",
        ("sqs", _) => "AwsSqsQueue",
        ("dynamodb", "table") => "AwsDynamoDbTable",
        ("kms", "key") => "AwsKmsKey",
        ("cloudwatch", "alarm") => "AwsCloudWatchAlarm",
        ("cloudformation", "stack") => "AwsCloudFormationStack",
        _ => "Other",
    }
}

/// What the format has no place for, at most 50. All untrusted.
fn fields(message: &Message) -> Vec<(&'static str, String)> {
    let mut fields = vec![
        ("control", message.control.id.clone()),
        ("outcome", message.outcome.to_string()),
        ("mode", message.mode.clone()),
        ("event", message.event.id.clone()),
        ("resource", message.resource.name.clone()),
    ];
    let actor = message.actor.as_ref();
    let more = [
        ("record", message.record.clone()),
        ("undoes", message.undoes.clone()),
        ("reason", message.reason.clone()),
        ("undo", message.undo.clone()),
        ("approve", message.approve.clone()),
        ("resume", message.resume.clone()),
        ("actor", actor.map(|actor| actor.principal.clone())),
        ("actor-arn", actor.and_then(|actor| actor.arn.clone())),
        ("source-ip", actor.and_then(|actor| actor.source_ip.clone())),
    ];
    fields.extend(more.into_iter().filter_map(|(name, value)| Some((name, value?))));
    fields
}

fn rated(severity: Severity) -> Rated {
    Rated::builder().label(label(severity)).original(original(severity)).build()
}

/// What a provider says of severity and type: customers may say otherwise, and an import does not overwrite them.
fn provided(severity: Severity) -> FindingProviderFields {
    let severity = FindingProviderSeverity::builder()
        .label(label(severity))
        .original(original(severity))
        .build();
    FindingProviderFields::builder().severity(severity).types(TYPE).build()
}

fn label(severity: Severity) -> SeverityLabel {
    match severity {
        Severity::Low => SeverityLabel::Low,
        Severity::Medium => SeverityLabel::Medium,
        Severity::High => SeverityLabel::High,
        Severity::Critical => SeverityLabel::Critical,
    }
}

fn original(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

/// <https://docs.aws.amazon.com/securityhub/1.0/APIReference/Welcome.html#timestamps>
fn instant(time: Timestamp) -> String {
    format!("{time:.3}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::{
        hostile,
        plain::tests::assert_inert,
        samples::{ORIGINAL, filled, message},
        stub::wire,
    };

    const PLACE: Place<'_> = Place { account: "123456789012", region: "eu-west-1" };

    #[test]
    fn each_outcome_that_people_hear_of_is_a_finding() {
        for outcome in Outcome::ALL.into_iter().filter(|outcome| outcome.people_should_hear()) {
            let finding = wire(finding(&message(outcome), PLACE, sent()).unwrap());
            // The SDK sends maps in no order.
            insta::with_settings!({sort_maps => true}, {
                insta::assert_json_snapshot!(outcome.as_str(), finding);
            });
        }
    }

    #[test]
    fn a_record_has_one_finding_whatever_comes_of_it() {
        let fixed = finding(&message(Outcome::Fixed), PLACE, sent()).unwrap();
        let mut undo = message(Outcome::Undone);
        undo.undoes.clone_from(&message(Outcome::Fixed).record);
        let undone = finding(&undo, PLACE, sent()).unwrap();
        assert_eq!(fixed.id(), undone.id());
        assert_eq!(fixed.record_state(), Some(&RecordState::Archived));
        assert_eq!(undone.record_state(), Some(&RecordState::Active));
        undo.undoes = Some(ORIGINAL.to_owned());
        assert_ne!(finding(&undo, PLACE, sent()).unwrap().id(), fixed.id());
        undo.undoes = None;
        undo.record = None;
        assert!(finding(&undo, PLACE, sent()).is_none(), "without a record it has no name");
    }

    #[test]
    fn an_update_is_never_older_than_what_it_updates() {
        let early = message(Outcome::Fixed).detected - jiff::SignedDuration::from_hours(1);
        let finding = finding(&message(Outcome::Fixed), PLACE, early).unwrap();
        assert_eq!(finding.updated_at(), finding.created_at());
    }

    #[test]
    fn resources_have_the_types_that_the_format_documents() {
        for (arn, kind) in [
            ("arn:aws:s3:::photos", "AwsS3Bucket"),
            ("arn:aws:s3:::photos/2024/a.jpg", "Other"),
            ("arn:aws:ec2:eu-west-1:123456789012:instance/i-1", "AwsEc2Instance"),
            ("arn:aws:ec2:eu-west-1:123456789012:security-group/sg-1", "AwsEc2SecurityGroup"),
            ("arn:aws:cloudtrail:eu-west-1:123456789012:trail/all", "AwsCloudTrailTrail"),
            ("arn:aws:lambda:eu-west-1:123456789012:function:f", "AwsLambdaFunction"),
            ("arn:aws:iam::123456789012:role/quell/r", "AwsIamRole"),
            ("arn:aws:sns:eu-west-1:123456789012:t", "AwsSnsTopic"),
            ("arn:aws:sqs:eu-west-1:123456789012:q", "AwsSqsQueue"),
            ("arn:aws:dynamodb:eu-west-1:123456789012:table/t", "AwsDynamoDbTable"),
            ("arn:aws:kms:eu-west-1:123456789012:key/k", "AwsKmsKey"),
            ("arn:aws:cloudwatch:eu-west-1:123456789012:alarm:a", "AwsCloudWatchAlarm"),
            ("arn:aws:cloudformation:eu-west-1:123456789012:stack/s/1", "AwsCloudFormationStack"),
            ("arn:aws:events:eu-west-1:123456789012:rule/r", "Other"),
            ("arn:aws:s3:::", "Other"),
            ("photos", "Other"),
            ("", "Other"),
        ] {
            assert_eq!(resource_type(arn), kind, "{arn}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn whatever_comes_keeps_the_limits_of_the_format(
            texts in prop::collection::vec(hostile::text(), 1..6),
            which in prop::sample::select(Outcome::ALL.to_vec()),
            millis in any::<i64>(),
        ) {
            let sent = Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX);
            let mut message = filled(which, &texts, 2);
            message.detected = sent;
            let Some(finding) = finding(&message, PLACE, sent) else { return Ok(()) };
            let finding = wire(finding);
            check(&finding);
        }
    }

    /// What the format documents of each attribute that Quell uses.
    fn check(finding: &Value) {
        let within = |at: &str, least: usize, most: usize| {
            let text = finding.pointer(at).and_then(Value::as_str);
            let text = text.unwrap_or_else(|| panic!("there is no {at} in {finding:#}"));
            let length = text.encode_utf16().count();
            assert!((least..=most).contains(&length), "{at} has {length} characters");
            assert!(!text.trim().is_empty(), "{at} is blank");
            assert_inert(text);
        };
        assert_eq!(finding["SchemaVersion"], "2018-10-08");
        assert_eq!(finding["AwsAccountId"], PLACE.account);
        for (at, least, most) in [
            ("/Id", 1, 512),
            ("/ProductArn", 12, 2048),
            ("/ProductName", 1, 128),
            ("/CompanyName", 1, 128),
            ("/GeneratorId", 1, 512),
            ("/AwsAccountId", 12, 12),
            ("/Title", 1, 256),
            ("/Description", 1, 1024),
            ("/Severity/Original", 1, 64),
            ("/Remediation/Recommendation/Text", 1, 512),
            ("/Resources/0/Type", 1, 256),
            ("/Resources/0/Id", 1, 512),
        ] {
            within(at, least, most);
        }
        for (at, may_be) in [
            ("/Severity/Label", &["LOW", "MEDIUM", "HIGH", "CRITICAL"][..]),
            ("/FindingProviderFields/Severity/Label", &["LOW", "MEDIUM", "HIGH", "CRITICAL"]),
            ("/Compliance/Status", &["PASSED", "FAILED"]),
            ("/Workflow/Status", &["NEW", "NOTIFIED", "RESOLVED", "SUPPRESSED"]),
            ("/RecordState", &["ACTIVE", "ARCHIVED"]),
        ] {
            let is = finding.pointer(at).and_then(Value::as_str).unwrap();
            assert!(may_be.contains(&is), "{at} is {is}");
        }
        let mut times = vec![];
        for at in ["FirstObservedAt", "LastObservedAt", "CreatedAt", "UpdatedAt"] {
            let text = finding[at].as_str().unwrap();
            assert_eq!(text.len(), "2017-03-22T13:22:13.933Z".len(), "{at} is {text}");
            times.push(text.parse::<Timestamp>().unwrap());
        }
        assert!(times[3] >= times[2]);
        let fields = finding["ProductFields"].as_object().unwrap();
        assert!(fields.len() <= 50);
        for (name, value) in fields {
            assert!(name.len() <= 128);
            let value = value.as_str().unwrap();
            assert!(value.encode_utf16().count() <= 2048 && !value.trim().is_empty(), "{name}");
            assert_inert(value);
        }
        assert_eq!(finding["Resources"].as_array().unwrap().len(), 1);
        assert!(finding["Types"].as_array().unwrap().len() <= 50);
        if let Some(region) = finding.pointer("/Resources/0/Region").and_then(Value::as_str) {
            assert!((1..=16).contains(&region.len()));
        }
        assert!(finding.to_string().len() <= 240 * 1024);
    }

    fn sent() -> Timestamp {
        "2026-03-01T02:03:12.345Z".parse().unwrap()
    }
}
