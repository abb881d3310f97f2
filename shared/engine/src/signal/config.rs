//! Compliance changes of AWS Config rules.

use super::{
    Reason, Signal, Trigger,
    event::{Envelope, Stop, account, key, region, time},
    fields::brief,
};

pub(super) fn hear(event: &Envelope<'_>) -> Result<Signal, Stop> {
    let detail = event.detail()?;
    let rule = detail.required_text("configRuleName")?;
    let Some(result) = detail.object("newEvaluationResult")? else {
        return Err(Reason::DeletedFinding.into());
    };
    match result.required_text("complianceType")? {
        "NON_COMPLIANT" => {}
        "COMPLIANT" => return Err(Reason::PassedFinding.into()),
        other => return Err(Reason::InconclusiveFinding { status: brief(other) }.into()),
    }

    let owner = event.admit_finding(account(&detail, "awsAccountId")?)?;
    let resource_type = detail.required_text("resourceType")?;
    let resource = detail.required_text("resourceId")?;
    let recorded = match result.text("resultRecordedTime")? {
        Some(recorded) => recorded,
        None => detail.required_text("notificationCreationTime")?,
    };
    let place = match region(&detail, "awsRegion")? {
        Some(region) => region,
        None => event.region()?,
    };
    let mut signal = event.signal(
        Trigger::ConfigCompliance {
            rule: rule.to_owned(),
            resource_type: resource_type.to_owned(),
            resource: resource.to_owned(),
        },
        owner,
        place,
        key(&[rule, resource_type, resource, recorded]),
    )?;
    signal.time = time(Some(recorded)).or(signal.time);
    Ok(signal)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::signal::samples::{config, error, reason, signal};

    #[test]
    fn a_resource_that_became_non_compliant_is_a_signal() {
        let signal = signal(&config());
        assert_eq!(
            signal.trigger,
            Trigger::ConfigCompliance {
                rule: "s3-bucket-public-read-prohibited-quell".into(),
                resource_type: "AWS::S3::Bucket".into(),
                resource: "quell-sample".into(),
            }
        );
        assert_eq!(
            signal.deduplication,
            "s3-bucket-public-read-prohibited-quell#AWS::S3::Bucket#quell-sample#2026-03-01T09:29:58.120Z"
        );
    }

    #[test]
    fn everything_else_is_ignored() {
        let mut event = config();
        for (compliance, code) in [
            ("COMPLIANT", "passed-finding"),
            ("NOT_APPLICABLE", "inconclusive-finding"),
            ("INSUFFICIENT_DATA", "inconclusive-finding"),
        ] {
            event["detail"]["newEvaluationResult"]["complianceType"] = json!(compliance);
            assert_eq!(reason(&event).code(), code);
        }
        event["detail"]["newEvaluationResult"] = Value::Null;
        assert_eq!(reason(&event), Reason::DeletedFinding);
    }

    #[test]
    fn a_result_without_a_time_cannot_be_told_apart() {
        let mut event = config();
        event["detail"]["newEvaluationResult"]["resultRecordedTime"] = Value::Null;
        signal(&event);
        event["detail"]["notificationCreationTime"] = Value::Null;
        assert_eq!(
            error(&event).to_string(),
            "`detail.notificationCreationTime` is missing or empty"
        );
    }
}
