//! Findings of IAM Access Analyzer.

use super::{
    Reason, Signal, Trigger,
    event::{Envelope, Stop, account, key, region, time},
};

pub(super) fn hear(event: &Envelope<'_>) -> Result<Signal, Stop> {
    let detail = event.detail()?;
    if detail.flag("isDeleted") {
        return Err(Reason::DeletedFinding.into());
    }
    match detail.required_text("status")? {
        "ARCHIVED" => return Err(Reason::ArchivedFinding.into()),
        "RESOLVED" => return Err(Reason::ResolvedFinding.into()),
        _ => {}
    }

    // Of the finding: the analyzer may look after a whole organisation.
    let owner = match account(&detail, "accountId")? {
        Some(account) => account,
        None => event.account()?,
    };
    let owner = event.admit(owner)?;
    let place = match region(&detail, "region")? {
        Some(region) => region,
        None => event.region()?,
    };
    let key = key(&[detail.required_text("id")?, detail.required_text("updatedAt")?]);
    let trigger = Trigger::AccessAnalyzer {
        resource_type: detail.required_text("resourceType")?.to_owned(),
        resource: detail.required_text("resource")?.to_owned(),
        // Missing where the analyzer could not read the resource.
        public: detail.flag("isPublic"),
    };
    let mut signal = event.signal(trigger, owner, place, key)?;
    signal.time = time(detail.hint("updatedAt")).or(signal.time);
    Ok(signal)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::signal::{
        Refusal,
        samples::{ACCOUNT, access_analyzer, error, reason, refusal_for, signal},
    };

    #[test]
    fn an_active_finding_says_whether_everyone_has_access() {
        let mut event = access_analyzer();
        let heard = signal(&event);
        assert_eq!(
            heard.trigger,
            Trigger::AccessAnalyzer {
                resource_type: "AWS::S3::Bucket".into(),
                resource: "arn:aws:s3:::quell-sample".into(),
                public: true,
            }
        );
        assert_eq!(heard.deduplication, "aa-finding-1#2026-03-01T09:28:00Z");
        event["detail"]["isPublic"] = Value::Null;
        assert!(matches!(signal(&event).trigger, Trigger::AccessAnalyzer { public: false, .. }));
    }

    #[test]
    fn what_is_over_is_ignored() {
        let mut event = access_analyzer();
        event["detail"]["status"] = json!("ARCHIVED");
        assert_eq!(reason(&event), Reason::ArchivedFinding);
        event["detail"]["status"] = json!("RESOLVED");
        assert_eq!(reason(&event), Reason::ResolvedFinding);
        event["detail"]["status"] = json!("ACTIVE");
        event["detail"]["isDeleted"] = json!(true);
        assert_eq!(reason(&event), Reason::DeletedFinding);
        event["detail-type"] = json!("Access Preview State Change");
        assert_eq!(reason(&event), Reason::AccessPreview);
    }

    #[test]
    fn account_and_region_are_those_of_the_finding() {
        let mut event = access_analyzer();
        event["region"] = json!("eu-central-1");
        assert_eq!(signal(&event).region, "eu-west-1");
        event["detail"]["accountId"] = json!("210987654321");
        assert_eq!(refusal_for(&event, ACCOUNT), Refusal::ForeignAccount);
    }

    #[test]
    fn a_finding_without_a_resource_is_an_error() {
        let mut event = access_analyzer();
        event["detail"]["resource"] = Value::Null;
        assert_eq!(error(&event).to_string(), "`detail.resource` is missing or empty");
    }
}
