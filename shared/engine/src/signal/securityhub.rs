//! Findings that Security Hub imported, or that a person picked for a custom action.

use super::{
    EventError, Heard, Reason, Signal, Trigger,
    event::{Envelope, Stop, account, key, region, time},
    fields::{Fields, brief},
};

/// One result for each resource of each finding, and at least one for each finding.
pub(super) fn hear(event: &Envelope<'_>) -> Result<Vec<Heard>, Stop> {
    let detail = event.detail()?;
    let action = detail.hint("actionName");
    let mut heard = Vec::new();
    for finding in detail.required_objects("findings")? {
        match signals(event, &finding, action) {
            Ok(signals) => heard.extend(signals.into_iter().map(Heard::Signal)),
            Err(stop) => heard.push(event.stopped(stop)?),
        }
    }
    Ok(heard)
}

fn signals(
    event: &Envelope<'_>,
    finding: &Fields<'_>,
    action: Option<&str>,
) -> Result<Vec<Signal>, Stop> {
    if let Some(reason) = settled(finding)? {
        return Err(reason.into());
    }
    // Of the finding: the event may come from the account or the region that collects the findings of others.
    let owner = match account(finding, "AwsAccountId")? {
        Some(account) => account,
        None => event.account()?,
    };
    let owner = event.admit(owner)?;
    let generator = finding.required_text("GeneratorId")?;
    let key = key(&[finding.required_text("Id")?, finding.required_text("UpdatedAt")?]);
    let place = region(finding, "Region")?;

    let mut signals = Vec::new();
    for resource in finding.required_objects("Resources")? {
        let place = match (&place, region(&resource, "Region")?) {
            (Some(region), _) => region.clone(),
            (None, Some(region)) => region,
            (None, None) => event.region()?,
        };
        let trigger = Trigger::SecurityHub {
            generator: generator.to_owned(),
            resource_type: resource.required_text("Type")?.to_owned(),
            resource: resource.required_text("Id")?.to_owned(),
            action: action.map(str::to_owned),
        };
        let mut signal = event.signal(trigger, owner.clone(), place, key.clone())?;
        signal.time = time(finding.hint("UpdatedAt")).or(signal.time);
        signals.push(signal);
    }
    Ok(signals)
}

/// Why nothing is left to do about the finding. It is announced again with every update, so also when it is over.
fn settled(finding: &Fields<'_>) -> Result<Option<Reason>, EventError> {
    if finding.text("RecordState")? == Some("ARCHIVED") {
        return Ok(Some(Reason::ArchivedFinding));
    }
    let workflow = match finding.object("Workflow")? {
        Some(workflow) => workflow.text("Status")?,
        None => None,
    };
    // Old findings have only `WorkflowState`. It stays at NEW in newer ones.
    match workflow.or(finding.text("WorkflowState")?) {
        Some("RESOLVED") => return Ok(Some(Reason::ResolvedFinding)),
        Some("SUPPRESSED") => return Ok(Some(Reason::SuppressedFinding)),
        _ => {}
    }
    let compliance = match finding.object("Compliance")? {
        Some(compliance) => compliance.text("Status")?,
        None => None,
    };
    Ok(match compliance {
        Some("PASSED") => Some(Reason::PassedFinding),
        // Findings of other products say nothing about compliance.
        Some("FAILED" | "WARNING") | None => None,
        Some(other) => Some(Reason::InconclusiveFinding { status: brief(other) }),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::signal::{
        Refusal, parse,
        samples::{ACCOUNT, error, reason, refusal_for, securityhub, signal},
    };

    #[test]
    fn a_finding_keeps_control_and_resource() {
        let signal = signal(&securityhub());
        assert_eq!(
            signal.trigger,
            Trigger::SecurityHub {
                generator: "security-control/S3.2".into(),
                resource_type: "AwsS3Bucket".into(),
                resource: "arn:aws:s3:::quell-sample".into(),
                action: None,
            }
        );
        assert_eq!(
            signal.deduplication,
            "arn:aws:securityhub:eu-west-1:123456789012:security-control/S3.2/finding/1#2026-03-01T09:29:00.000Z"
        );
    }

    #[test]
    fn account_and_region_are_those_of_the_finding() {
        let mut event = securityhub();
        event["account"] = json!("210987654321");
        event["region"] = json!("eu-central-1");
        let heard = signal(&event);
        assert_eq!((heard.account.as_str(), heard.region.as_str()), (ACCOUNT, "eu-west-1"));

        event["detail"]["findings"][0]["Region"] = Value::Null;
        event["detail"]["findings"][0]["Resources"][0]["Region"] = json!("eu-north-1");
        assert_eq!(signal(&event).region, "eu-north-1");
        event["detail"]["findings"][0]["Resources"][0]["Region"] = Value::Null;
        assert_eq!(signal(&event).region, "eu-central-1");

        event["account"] = json!(ACCOUNT);
        event["detail"]["findings"][0]["AwsAccountId"] = json!("210987654321");
        assert_eq!(refusal_for(&event, ACCOUNT), Refusal::ForeignAccount);
    }

    #[test]
    fn what_is_settled_is_ignored() {
        for (field, value, code) in [
            ("Compliance", json!({"Status": "PASSED"}), "passed-finding"),
            ("Compliance", json!({"Status": "NOT_AVAILABLE"}), "inconclusive-finding"),
            ("Workflow", json!({"Status": "RESOLVED"}), "resolved-finding"),
            ("Workflow", json!({"Status": "SUPPRESSED"}), "suppressed-finding"),
            ("RecordState", json!("ARCHIVED"), "archived-finding"),
        ] {
            let mut event = securityhub();
            event["detail"]["findings"][0][field] = value;
            assert_eq!(reason(&event).code(), code);
        }
        let mut event = securityhub();
        event["detail"]["findings"][0]["Workflow"] = Value::Null;
        event["detail"]["findings"][0]["WorkflowState"] = json!("RESOLVED");
        assert_eq!(reason(&event), Reason::ResolvedFinding);
        let mut event = securityhub();
        event["detail"]["findings"][0]["Compliance"] = Value::Null;
        signal(&event);
    }

    #[test]
    fn each_finding_that_a_person_picked_is_judged_by_itself() {
        let mut event = securityhub();
        event["detail-type"] = json!("Security Hub Findings - Custom Action");
        event["detail"]["actionName"] = json!("Fix with Quell");
        let finding = event["detail"]["findings"][0].clone();
        let mut passed = finding.clone();
        passed["Compliance"]["Status"] = json!("PASSED");
        let mut two = finding.clone();
        two["Resources"] = json!([
            {"Type": "AwsS3Bucket", "Id": "arn:aws:s3:::one"},
            {"Type": "AwsIamRole", "Id": "arn:aws:iam::123456789012:role/two"},
        ]);
        event["detail"]["findings"] = json!([finding, passed, two]);
        let heard = parse(&event.to_string()).unwrap();
        let kinds: Vec<_> = heard
            .iter()
            .map(|heard| match heard {
                Heard::Signal(signal) => match &signal.trigger {
                    Trigger::SecurityHub { resource, action, .. } => {
                        assert_eq!(action.as_deref(), Some("Fix with Quell"));
                        resource.as_str()
                    }
                    other => panic!("{other:?}"),
                },
                Heard::Ignored(ignored) => ignored.reason.code(),
                Heard::Refused(refused) => refused.refusal.code(),
            })
            .collect();
        assert_eq!(
            kinds,
            [
                "arn:aws:s3:::quell-sample",
                "passed-finding",
                "arn:aws:s3:::one",
                "arn:aws:iam::123456789012:role/two"
            ]
        );
    }

    #[test]
    fn malformed_findings_are_named() {
        let mut event = securityhub();
        event["detail"]["findings"][0]["Resources"][0]["Id"] = json!(7);
        assert_eq!(
            error(&event).to_string(),
            "`detail.findings[0].Resources[0].Id` is a number, not text"
        );
        event["detail"]["findings"] = json!({"Id": "x"});
        assert_eq!(error(&event).to_string(), "`detail.findings` is an object, not a list");
        event["detail"]["findings"] = json!([]);
        assert_eq!(error(&event).to_string(), "`detail.findings` is missing or empty");
    }
}
