//! Tells when somebody changes Quell itself.
//!
//! ## What it fixes
//! Nothing: it tells. A successful call that changes or deletes a part of Quell (its rules and their targets, functions, roles and
//! policies, topics, queues, the ledger, keys, logs, alarms, schedule, the stack) or weakens a trail that it hears by is a
//! critical message at once, with the call, the resource and who made it. What is told is what CloudTrail recorded: the call is
//! the finding, whatever the resource looks like by now, so a resource that is gone is told of as well. Resources are known
//! by the names and ARNs that the template gives the function, and by nothing that the event says of them.
//!
//! Above 100 KB CloudTrail leaves the parameters of a call out. Which resource it was about is unknown then, and
//! it is told all the same.
//!
//! ## Why it matters
//! Who can change the code, the role or the settings of a function has its rights; who removes a target, a subscription or a queue
//! makes it deaf or mute. Attackers do this before anything else.
//!
//! ## What can break
//! Every deployment is a change of Quell and is told, call by call, unless the template's parameter `DeployerRole` names the role that
//! deploys it. What that role does is recorded as `exempt`, and nobody is told; so protect it as you protect Quell. Calls that
//! CloudFormation makes for it count as its own.
//!
//! IAM speaks in us-east-1 only: a stack in another region does not hear of its roles being changed. Two stacks of which one's
//! name begins with the other's name and a hyphen tell of each other's resources too.
//!
//! To put things back: deploy the template again, then look in CloudTrail for what else the actor did.
//!
//! ## Undo
//! There is nothing to undo: nothing was changed.

use std::{collections::BTreeMap, fmt};

use quell_engine::{
    CallError, CallErrorKind, Clients, Control, Description, Effect, Listen, Meta, Plan, Progress,
    Safety, Severity, Signal, Trigger, control::TargetError,
};
use serde::{Deserialize, Serialize};

use super::{
    calls::{self, Acted, SERVICES, Service, UNKNOWN, names},
    own::{Own, is_name},
};
use crate::partition;

pub struct Tampered;

/// A part of Quell, and what was done to it. As text: `lambda:function:quell-s3-exposure`, the end of its ARN.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Part {
    /// As IAM writes it before the colon of an action.
    service: String,
    /// The last part of the ARN.
    resource: String,
    /// The operation. `None`: a person named the part, and no call is known.
    call: Option<String>,
    /// The role that may change Quell, if it was the one that made the call.
    deployer: Option<String>,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.service, self.resource)
    }
}

/// A call that was made.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Tampering {
    /// As IAM names it: `lambda:UpdateFunctionCode`.
    pub call: String,
    /// The end of the resource's ARN.
    pub part: String,
    /// The role that may change Quell, if it was the one that made the call.
    pub deployer: Option<String>,
}

impl Control for Tampered {
    const META: Meta = Meta {
        id: "quell-tampered",
        title: "Nobody tampers with Quell",
        risk: "Somebody changed a part of Quell: what it watches may go unseen, and its rights may be misused.",
        severity: Severity::Critical,
        safety: Safety::ReportOnly,
        reversible: false,
        satisfies: &["nist-800-53-r5/AU-9", "nist-800-53-r5/CM-6", "nist-800-53-r5/SI-7"],
        function: "audit-trail",
        listens: &[
            Listen::ApiCall {
                source: "aws.events",
                service: "events.amazonaws.com",
                calls: &names::<{ calls::EVENTS.len() }>(calls::EVENTS),
            },
            Listen::ApiCall {
                source: "aws.lambda",
                service: "lambda.amazonaws.com",
                calls: &names::<{ calls::LAMBDA.len() }>(calls::LAMBDA),
            },
            Listen::ApiCall {
                source: "aws.iam",
                service: "iam.amazonaws.com",
                calls: &names::<{ calls::IAM.len() }>(calls::IAM),
            },
            Listen::ApiCall {
                source: "aws.sns",
                service: "sns.amazonaws.com",
                calls: &names::<{ calls::SNS.len() }>(calls::SNS),
            },
            Listen::ApiCall {
                source: "aws.sqs",
                service: "sqs.amazonaws.com",
                calls: &names::<{ calls::SQS.len() }>(calls::SQS),
            },
            Listen::ApiCall {
                source: "aws.dynamodb",
                service: "dynamodb.amazonaws.com",
                calls: &names::<{ calls::DYNAMODB.len() }>(calls::DYNAMODB),
            },
            Listen::ApiCall {
                source: "aws.kms",
                service: "kms.amazonaws.com",
                calls: &names::<{ calls::KMS.len() }>(calls::KMS),
            },
            Listen::ApiCall {
                source: "aws.logs",
                service: "logs.amazonaws.com",
                calls: &names::<{ calls::LOG_GROUPS.len() }>(calls::LOG_GROUPS),
            },
            Listen::ApiCall {
                source: "aws.monitoring",
                service: "monitoring.amazonaws.com",
                calls: &names::<{ calls::ALARMS.len() }>(calls::ALARMS),
            },
            Listen::ApiCall {
                source: "aws.cloudformation",
                service: "cloudformation.amazonaws.com",
                calls: &names::<{ calls::STACKS.len() }>(calls::STACKS),
            },
            Listen::ApiCall {
                source: "aws.scheduler",
                service: "scheduler.amazonaws.com",
                calls: &names::<{ calls::SCHEDULES.len() }>(calls::SCHEDULES),
            },
            Listen::ApiCall {
                source: "aws.cloudtrail",
                service: "cloudtrail.amazonaws.com",
                calls: &names::<{ calls::TRAILS.len() }>(calls::TRAILS),
            },
        ],
        discovers: &[],
        reads: &[],
        writes: &[],
        baseline: false,
        visible_within: 0,
        source: file!(),
    };

    type Target = Part;
    type State = Tampering;
    type Change = Tampering;

    fn connect(_: &Clients) -> Self {
        Self
    }

    fn targets(signal: &Signal) -> Result<Vec<Part>, TargetError> {
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        let error = |field, reason: &dyn fmt::Display| TargetError {
            control: Self::META.id,
            field,
            reason: reason.to_string(),
        };
        let (parameters, resources) = match &signal.trigger {
            Trigger::ApiCall { parameters, resources, .. } => (parameters, resources),
            Trigger::Manual { resource, .. } => {
                let part = named(resource.trim());
                let part =
                    part.ok_or_else(|| error("detail.resource", &"it is no part of Quell"))?;
                return Ok(vec![part]);
            }
            _ => return Ok(Vec::new()),
        };
        let found = SERVICES.iter().find_map(|service| Some((service, service.call(signal)?)));
        let Some((service, call)) = found else { return Ok(Vec::new()) };
        let own = Own::of_environment().map_err(|(setting, wrong)| error(setting, &wrong))?;
        let acted = Acted { parameters, resources, signal };
        let parts = service.own(call, acted, &own);
        let parts = parts.map_err(|_| error("requestParameters", &"no resource is named in it"))?;
        let actor = signal.actor.as_ref().and_then(|actor| actor.arn.as_deref());
        let deployer = actor.and_then(|actor| own.deployer(actor)).map(str::to_owned);
        Ok(parts
            .into_iter()
            .map(|resource| Part {
                service: service.name.to_owned(),
                resource,
                call: Some(call.name.trim_end_matches('*').to_owned()),
                deployer: deployer.clone(),
            })
            .collect())
    }

    /// The call is the finding: there is nothing to read.
    async fn assess(&self, part: &Part) -> Result<Option<Tampering>, CallError> {
        let Some(call) = &part.call else {
            return Err(CallError::new(
                "cloudtrail:LookupEvents",
                CallErrorKind::Refused,
                "this control tells of calls as CloudTrail reports them; look in CloudTrail's event history for earlier ones",
            ));
        };
        Ok(Some(Tampering {
            call: format!("{}:{call}", part.service),
            part: part.to_string(),
            deployer: part.deployer.clone(),
        }))
    }

    async fn tags(&self, _: &Part) -> Result<BTreeMap<String, String>, CallError> {
        Ok(BTreeMap::new())
    }

    fn plan(found: &Tampering) -> Plan<Tampering> {
        Plan::one(found.clone())
    }

    async fn apply(
        &self,
        _: &Part,
        _: &Tampering,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        Err(CallError::new(
            "quell:apply",
            CallErrorKind::Refused,
            "this control only tells; deploy the template again",
        ))
    }

    fn revert(_: &Tampering, _: &Tampering) -> Plan<Tampering> {
        Plan::nothing()
    }

    fn permitted(found: &Tampering) -> Option<String> {
        let role = found.deployer.as_ref()?;
        Some(format!("made by {role}, which the template's parameter DeployerRole names"))
    }

    fn describe(_: &Tampering, done: &Tampering) -> Description {
        Description {
            action: done.call.clone(),
            effect: Effect::Set,
            minus: vec![format!("{}: {}", done.part, done.means())],
            plus: Vec::new(),
        }
    }

    /// CloudTrail's event history, at calls of this name.
    fn console(part: &Part, region: &str) -> String {
        let history = format!("{}#/events", partition::console("cloudtrailv2", region));
        match &part.call {
            Some(call) => format!("{history}?EventName={call}"),
            None => history,
        }
    }

    fn arn(part: &Part, account: &str, region: &str) -> String {
        let Part { service, resource, .. } = part;
        let place = if service == "iam" { "" } else { region };
        format!("arn:{}:{service}:{place}:{account}:{resource}", partition::of(region))
    }

    fn notes(found: &Tampering) -> Vec<String> {
        let mut notes = vec![
            "to put it back, deploy the template again; then see what else the actor did"
                .to_owned(),
        ];
        if found.part.ends_with(&format!(":{UNKNOWN}")) {
            notes.push(
                "CloudTrail left the parameters of the call out: it may be about something else of the same service"
                    .to_owned(),
            );
        }
        notes
    }
}

impl Tampering {
    /// What the call can do.
    fn means(&self) -> &'static str {
        let known = self.call.split_once(':').and_then(|(service, name)| {
            let service: &Service = SERVICES.iter().find(|known| known.name == service)?;
            service.calls.iter().find(|call| call.name.trim_end_matches('*') == name)
        });
        known.map_or("it was changed", |call| call.does)
    }
}

/// A part as people and messages name it.
fn named(text: &str) -> Option<Part> {
    let (service, resource) = text.split_once(':')?;
    let service = SERVICES.iter().find(|known| known.name == service)?;
    is_name(resource).then(|| Part {
        service: service.name.to_owned(),
        resource: resource.to_owned(),
        call: None,
        deployer: None,
    })
}

#[cfg(test)]
mod tests {
    use quell_engine::Actor;
    use serde_json::{Value, json};

    use super::*;
    use crate::s3::tests::signal;

    fn called(service: &str, name: &str, parameters: Value) -> Signal {
        signal(Trigger::ApiCall {
            service: format!("{service}.amazonaws.com"),
            name: name.into(),
            parameters,
            response: json!(null),
            resources: Vec::new(),
        })
    }

    fn parts(signal: &Signal) -> Vec<String> {
        Tampered::targets(signal).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn functions_are_known_in_every_form_that_lambda_takes() {
        for name in [
            "quell-s3-exposure",
            "quell-s3-exposure:live",
            "function:quell-s3-exposure",
            "123456789012:function:quell-s3-exposure",
            "arn:aws:lambda:eu-west-1:123456789012:function:quell-s3-exposure",
            "arn:aws:lambda:eu-west-1:123456789012:function:quell-s3-exposure:$LATEST",
        ] {
            for call in ["UpdateFunctionCode20150331v2", "UpdateFunctionCode"] {
                let event = called("lambda", call, json!({"functionName": name}));
                assert_eq!(parts(&event), ["lambda:function:quell-s3-exposure"], "{name}");
            }
        }
        for name in [
            "orders",
            "arn:aws:lambda:eu-west-1:210987654321:function:quell-s3-exposure",
            "arn:aws:lambda:us-east-1:123456789012:function:quell-s3-exposure",
            "arn:aws:lambda:eu-west-1:123456789012:function:orders:quell-s3-exposure",
        ] {
            let event = called("lambda", "DeleteFunction20150331", json!({"functionName": name}));
            assert_eq!(parts(&event), [""; 0], "{name}");
        }
    }

    #[test]
    fn other_resources_are_known_in_the_forms_that_their_services_take() {
        for (service, call, parameters, part) in [
            (
                "iam",
                "DetachRolePolicy",
                json!({"roleName": "quell-Role-1", "policyArn": "arn:aws:iam::aws:policy/X"}),
                "iam:role/quell-Role-1",
            ),
            (
                "iam",
                "CreatePolicyVersion",
                json!({"policyArn": "arn:aws:iam::123456789012:policy/a/b/quell-Policy-1"}),
                "iam:policy/quell-Policy-1",
            ),
            (
                "sns",
                "Unsubscribe",
                json!({"subscriptionArn": "arn:aws:sns:eu-west-1:123456789012:quell-messages:0c9f"}),
                "sns:quell-messages",
            ),
            (
                "sqs",
                "PurgeQueue",
                json!({"queueUrl": "https://sqs.eu-west-1.amazonaws.com/123456789012/quell-Q-1"}),
                "sqs:quell-Q-1",
            ),
            (
                "dynamodb",
                "UpdateTable",
                json!({"tableName": "quell-Ledger-1"}),
                "dynamodb:table/quell-Ledger-1",
            ),
            (
                "dynamodb",
                "UpdateTable",
                json!({"tableName": "arn:aws:dynamodb:eu-west-1:123456789012:table/quell-Ledger-1"}),
                "dynamodb:table/quell-Ledger-1",
            ),
            (
                "logs",
                "DeleteLogGroup",
                json!({"logGroupName": "/aws/lambda/quell-operator"}),
                "logs:log-group:/aws/lambda/quell-operator",
            ),
            (
                "logs",
                "AssociateKmsKey",
                json!({"resourceIdentifier": "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/lambda/quell-operator:*"}),
                "logs:log-group:/aws/lambda/quell-operator",
            ),
            (
                "cloudformation",
                "DeleteStack",
                json!({"stackName": "arn:aws:cloudformation:eu-west-1:123456789012:stack/quell/0c9f"}),
                "cloudformation:stack/quell",
            ),
            (
                "scheduler",
                "DeleteSchedule",
                json!({"name": "beat", "groupName": "quell-heartbeat"}),
                "scheduler:schedule/quell-heartbeat/beat",
            ),
            (
                "cloudtrail",
                "DeleteTrail",
                json!({"name": "all-calls"}),
                "cloudtrail:trail/all-calls",
            ),
        ] {
            assert_eq!(parts(&called(service, call, parameters.clone())), [part], "{parameters}");
        }
        for (service, call, parameters) in [
            (
                "iam",
                "DetachRolePolicy",
                json!({"roleName": "app", "policyArn": "arn:aws:iam::123456789012:policy/quell-Policy-1"}),
            ),
            (
                "iam",
                "CreatePolicyVersion",
                json!({"policyArn": "arn:aws:iam::210987654321:policy/quell-Policy-1"}),
            ),
            (
                "sqs",
                "PurgeQueue",
                json!({"queueUrl": "https://sqs.eu-west-1.amazonaws.com/210987654321/quell-Q-1"}),
            ),
            ("logs", "DeleteLogGroup", json!({"logGroupName": "/apps/quell-operator"})),
            ("cloudformation", "DeleteStack", json!({"stackName": "quell-of-others"})),
            ("scheduler", "DeleteSchedule", json!({"name": "nightly"})),
            ("events", "DisableRule", json!({"name": "quell-Rule-1"})),
        ] {
            assert_eq!(parts(&called(service, call, parameters.clone())), [""; 0], "{parameters}");
        }
    }

    #[test]
    fn each_of_several_alarms_is_a_part() {
        let alarms = json!({"alarmNames": ["quell-A-1", "orders", "quell-B-1"]});
        let event = called("monitoring", "DeleteAlarms", alarms);
        assert_eq!(parts(&event), ["cloudwatch:alarm:quell-A-1", "cloudwatch:alarm:quell-B-1"]);
    }

    #[test]
    fn what_cloudtrail_left_out_may_be_about_quell_and_what_names_nothing_is_an_error() {
        for service in SERVICES {
            let source = service.source.trim_end_matches(".amazonaws.com");
            let call = service.calls[0].name.trim_end_matches('*');
            assert_eq!(
                parts(&called(source, call, json!(null))),
                [format!("{}:unknown", service.name)]
            );
            for parameters in [json!({}), json!({service.calls[0].at[0]: 7})] {
                let error = Tampered::targets(&called(source, call, parameters)).unwrap_err();
                assert_eq!(error.field, "requestParameters");
            }
        }
    }

    #[tokio::test]
    async fn what_is_told_is_the_call_and_nothing_is_read() {
        let control = Tampered;
        let event = called(
            "lambda",
            "PutFunctionConcurrency20171031",
            json!({"functionName": "quell-operator"}),
        );
        let part = Tampered::targets(&event).unwrap().remove(0);
        let found = control.assess(&part).await.unwrap().unwrap();
        let told = Tampered::describe(&found, &Tampered::plan(&found).changes[0]);
        assert_eq!(told.action, "lambda:PutFunctionConcurrency");
        assert_eq!(
            told.minus,
            ["lambda:function:quell-operator: the function may be held back, or stopped"]
        );
        assert_eq!(Tampered::permitted(&found), None);
        assert_eq!(
            Tampered::arn(&part, "123456789012", "eu-west-1"),
            "arn:aws:lambda:eu-west-1:123456789012:function:quell-operator"
        );
    }

    #[tokio::test]
    async fn of_what_a_person_names_no_call_is_known() {
        let control = Tampered::META.id.to_owned();
        let manual = |resource: &str| {
            let resource = resource.to_owned();
            Tampered::targets(&signal(Trigger::Manual { control: control.clone(), resource }))
        };
        let part = manual("iam:role/quell-Role-1").unwrap().remove(0);
        let error = Tampered.assess(&part).await.unwrap_err();
        assert!(error.to_string().contains("tells of calls as CloudTrail reports them"), "{error}");
        for nothing in ["", "role/quell-Role-1", "ec2:instance/i-1", "iam:", "iam:role/<!channel>"]
        {
            assert_eq!(manual(nothing).unwrap_err().field, "detail.resource");
        }
    }

    #[test]
    fn an_actor_is_no_deployer_unless_the_template_names_one() {
        let mut event = called(
            "sns",
            "DeleteTopic",
            json!({"topicArn": "arn:aws:sns:eu-west-1:123456789012:quell-messages"}),
        );
        event.actor = Some(Actor {
            principal: "role deploy".into(),
            arn: Some("arn:aws:sts::123456789012:assumed-role/deploy/ci".into()),
            ..Actor::default()
        });
        assert_eq!(Tampered::targets(&event).unwrap()[0].deployer, None);
    }

    #[test]
    fn what_the_deployer_does_is_permitted() {
        let made = Tampering {
            call: "lambda:UpdateFunctionCode".into(),
            part: "lambda:function:quell-operator".into(),
            deployer: Some("arn:aws:iam::123456789012:role/deploy".into()),
        };
        let why = Tampered::permitted(&made).unwrap();
        assert!(why.contains("role/deploy") && why.contains("DeployerRole"), "{why}");
    }
}
