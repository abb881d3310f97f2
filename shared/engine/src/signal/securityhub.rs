//! Findings that Security Hub imported, or that a person picked for a custom action.

use serde::{Deserialize, Serialize};

use super::{
    EventError, Heard, Reason, Signal, Trigger,
    event::{Envelope, Stop, account, key, region, time},
    fields::{Fields, brief},
};
use crate::{partition, text::redacted};

/// A finding, as `BatchUpdateFindings` wants it named.
/// <https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_AwsSecurityFindingIdentifier.html>
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Finding {
    /// At most 512 characters.
    pub id: String,
    /// At most 2,048 characters.
    pub product_arn: String,
}

impl Finding {
    /// `None`: Security Hub has no finding of that name, or it would not be safe to keep it. A part of a name is the name
    /// of something else: it is kept whole or not at all.
    pub fn new(id: &str, product_arn: &str) -> Option<Self> {
        let is_product = product_arn.starts_with("arn:")
            && product_arn.split(':').nth(2) == Some("securityhub")
            && product_arn.contains(":product/");
        let is_plain = |text: &str, limit: usize| {
            !text.is_empty()
                && text.len() <= limit
                && text.bytes().all(|b| b.is_ascii_graphic())
                && redacted(text) == text
        };
        (is_product && is_plain(id, 512) && is_plain(product_arn, 2048))
            .then(|| Self { id: id.to_owned(), product_arn: product_arn.to_owned() })
    }

    /// The same, if it is one that [`new`](Self::new) makes.
    pub(crate) fn checked(&self) -> Option<Self> {
        Self::new(&self.id, &self.product_arn)
    }
}

/// What `GeneratorId` begins with in findings that Quell imports: `quell/s3-public-acl`.
pub const OWN_GENERATOR: &str = "quell/";

/// The product of an account for findings of its own making, under which Quell imports.
/// <https://docs.aws.amazon.com/securityhub/latest/userguide/securityhub-custom-providers.html>
pub fn own_product(account: &str, region: &str) -> String {
    let partition = partition::of(region);
    format!("arn:{partition}:securityhub:{region}:{account}:product/{account}/default")
}

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
    if is_own(finding) {
        return Err(Reason::OwnFinding.into());
    }
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
    let id = finding.required_text("Id")?;
    let key = key(&[id, finding.required_text("UpdatedAt")?]);
    let found = Finding::new(id, finding.hint("ProductArn").unwrap_or_default());
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
        signal.finding.clone_from(&found);
        signals.push(signal);
    }
    Ok(signals)
}

/// Whether Quell imported it. It says what was done about a resource, and is no reason to do it again.
fn is_own(finding: &Fields<'_>) -> bool {
    let owner = finding.hint("AwsAccountId").unwrap_or_default();
    let product = format!(":{owner}:product/{owner}/default");
    finding.hint("GeneratorId").is_some_and(|generator| generator.starts_with(OWN_GENERATOR))
        && finding.hint("ProductArn").is_some_and(|arn| arn.ends_with(&product))
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
    fn a_finding_keeps_the_name_by_which_security_hub_is_told_what_came_of_it() {
        let named = Finding {
            id: "arn:aws:securityhub:eu-west-1:123456789012:security-control/S3.2/finding/1".into(),
            product_arn: "arn:aws:securityhub:eu-west-1::product/aws/securityhub".into(),
        };
        assert_eq!(signal(&securityhub()).finding, Some(named));

        let product = "arn:aws:securityhub:eu-west-1::product/aws/securityhub";
        let long = (format!("x/{}", "y/".repeat(255)), format!("{product}{}", "/y".repeat(997)));
        assert!(Finding::new(&long.0, &long.1).is_some());
        for (id, product_arn) in [
            ("", product),
            ("1", ""),
            ("1", "arn:aws:s3:::product/aws/securityhub"),
            ("1", "https://evil.example/:securityhub:product/x"),
            ("a b", product),
            ("a\u{202e}b", product),
            ("a\nb", product),
            (&format!("{}y", long.0), product),
            ("1", &format!("{}y", long.1)),
            ("AKIAIOSFODNN7EXAMPLE", product),
        ] {
            assert_eq!(Finding::new(id, product_arn), None, "{id} of {product_arn}");
            let mut event = securityhub();
            if !id.is_empty() {
                event["detail"]["findings"][0]["Id"] = json!(id);
                event["detail"]["findings"][0]["ProductArn"] = json!(product_arn);
                assert_eq!(signal(&event).finding, None, "the resource is looked at all the same");
            }
        }
    }

    #[test]
    fn what_quell_imported_itself_is_never_acted_upon() {
        let mut event = securityhub();
        let finding = &mut event["detail"]["findings"][0];
        finding["GeneratorId"] = json!("quell/s3-public-acl");
        finding["ProductArn"] = json!(own_product(ACCOUNT, "eu-west-1"));
        assert_eq!(reason(&event), Reason::OwnFinding);
        event["detail-type"] = json!("Security Hub Findings - Custom Action");
        assert_eq!(reason(&event), Reason::OwnFinding, "nor when a person picks it");

        let look_alikes = [
            ("GeneratorId", json!("security-control/S3.2")),
            ("GeneratorId", json!("x/quell/s3-public-acl")),
            ("ProductArn", json!("arn:aws:securityhub:eu-west-1::product/aws/securityhub")),
            ("ProductArn", json!(own_product("210987654321", "eu-west-1"))),
        ];
        for (field, value) in look_alikes {
            let mut event = event.clone();
            event["detail"]["findings"][0][field] = value;
            signal(&event);
        }
        assert_eq!(
            own_product(ACCOUNT, "cn-north-1"),
            "arn:aws-cn:securityhub:cn-north-1:123456789012:product/123456789012/default"
        );
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
