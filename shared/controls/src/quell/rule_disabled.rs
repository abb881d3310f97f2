//! Switches Quell's own rules on again.
//!
//! ## What it fixes
//! A rule of EventBridge that belongs to Quell's stack and is disabled. It is enabled; its pattern and its targets stay
//! as they are. Rules of others are never touched: a rule is Quell's if its name begins with the name of the stack.
//!
//! ## Why it matters
//! A disabled rule makes Quell deaf for what it listens for, without an error anywhere. Whoever wants to open something
//! unseen does this first.
//!
//! ## What can break
//! Nothing of yours. To switch a rule off on purpose, set the mode of the controls that it serves to `off` in the
//! policy, or deploy a template without it. If somebody disables it again and again, it is enabled again and again.
//! A rule that listens to EventBridge itself (`AuditTrailEventsCalls`) hears of its own end, but may hear of nothing
//! after it: the alarm on the heartbeat watches what the rules together can hear.
//!
//! ## Undo
//! There is none: Quell holds no right to disable a rule, so that nobody who gets hold of its credentials can. Disable the rule
//! yourself.

use std::{collections::BTreeMap, fmt};

use aws_sdk_eventbridge::{Client, types::RuleState};
use quell_engine::{
    CallError, CallErrorKind, Clients, Control, Description, Discovered, During, Effect, Listen,
    Meta, Plan, Progress, Safety, Severity, Signal, Trigger, aws::OrMissing, control::TargetError,
};
use serde::{Deserialize, Serialize};

use super::own::Own;
use crate::partition;

pub struct RuleDisabled {
    events: Client,
    account: String,
    region: String,
}

/// The name of a rule on the default bus.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct RuleName(String);

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether events reach the rule.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Hearing {
    /// As EventBridge names it: `ENABLED`, `DISABLED`, `ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS`.
    pub state: String,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    Enable,
}

const LIST: &str = "events:ListRules";
const DESCRIBE: &str = "events:DescribeRule";
const TAGS: &str = "events:ListTagsForResource";
const ENABLE: &str = "events:EnableRule";

impl Control for RuleDisabled {
    const META: Meta = Meta {
        id: "quell-rule-disabled",
        title: "Quell's own rules are enabled",
        risk: "One of Quell's rules was disabled: what it listens for goes unseen.",
        severity: Severity::Critical,
        safety: Safety::Safe,
        reversible: false,
        satisfies: &["nist-800-53-r5/SI-4", "nist-800-53-r5/AU-5"],
        function: "audit-trail",
        listens: &[Listen::ApiCall {
            source: "aws.events",
            service: "events.amazonaws.com",
            calls: &["DisableRule", "PutRule"],
        }],
        discovers: &[LIST],
        reads: &[DESCRIBE, TAGS],
        writes: &[ENABLE],
        baseline: false,
        visible_within: 10,
        source: file!(),
    };

    type Target = RuleName;
    type State = Hearing;
    type Change = Change;

    fn connect(aws: &Clients) -> Self {
        let config = aws_sdk_eventbridge::config::Builder::from(aws.sdk()).interceptor(aws.calls());
        Self {
            events: Client::from_conf(config.build()),
            account: aws.account().to_owned(),
            region: aws.region().to_owned(),
        }
    }

    fn targets(signal: &Signal) -> Result<Vec<RuleName>, TargetError> {
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        let (field, name) = match &signal.trigger {
            Trigger::ApiCall { parameters, .. } => {
                let bus = parameters.get("eventBusName").and_then(|bus| bus.as_str());
                if bus.is_some_and(|bus| bus != "default" && !bus.ends_with(":event-bus/default")) {
                    return Ok(Vec::new());
                }
                ("requestParameters.name", parameters.get("name").and_then(|name| name.as_str()))
            }
            Trigger::Manual { resource, .. } => ("detail.resource", Some(resource.trim())),
            _ => return Ok(Vec::new()),
        };
        let unusable =
            |field, reason: String| TargetError { control: Self::META.id, field, reason };
        let arn = format!(
            "arn:{}:events:{}:{}:rule/",
            partition::of(&signal.region),
            signal.region,
            signal.account
        );
        let name = name.map(|name| name.strip_prefix(&arn).unwrap_or(name));
        let name = name.filter(|name| is_rule_name(name));
        let name =
            name.ok_or_else(|| unusable(field, "it is not the name of a rule".to_owned()))?;
        let own = Own::of_environment()
            .map_err(|(setting, error)| unusable(setting, error.to_string()))?;
        Ok(own.has(name).then(|| RuleName(name.to_owned())).into_iter().collect())
    }

    async fn discover(&self, page: Option<&str>) -> Result<Discovered<RuleName>, CallError> {
        let own = Own::of_environment().map_err(|(setting, error)| {
            CallError::new(LIST, CallErrorKind::Refused, format!("{setting}: {error}"))
        })?;
        let found = self.events.list_rules().set_next_token(page.map(str::to_owned));
        let found = found.send().await.during(LIST)?;
        let names = found.rules.unwrap_or_default().into_iter().filter_map(|rule| rule.name);
        let targets = names.filter(|name| own.has(name)).map(RuleName).collect();
        Ok(Discovered { targets, next: found.next_token })
    }

    async fn assess(&self, rule: &RuleName) -> Result<Option<Hearing>, CallError> {
        let found = self.events.describe_rule().name(&rule.0).send().await.during(DESCRIBE);
        let found = found.or_missing(&["ResourceNotFoundException"])?;
        Ok(found.map(|found| Hearing {
            state: found.state.as_ref().map_or("", RuleState::as_str).to_owned(),
        }))
    }

    async fn tags(&self, rule: &RuleName) -> Result<BTreeMap<String, String>, CallError> {
        let arn = Self::arn(rule, &self.account, &self.region);
        let found = self.events.list_tags_for_resource().resource_arn(arn).send().await;
        let tags = found.during(TAGS)?.tags.unwrap_or_default();
        Ok(tags.into_iter().map(|tag| (tag.key, tag.value)).collect())
    }

    fn plan(found: &Hearing) -> Plan<Change> {
        if found.state == RuleState::Disabled.as_str() {
            Plan::one(Change::Enable)
        } else {
            Plan::nothing()
        }
    }

    async fn apply(
        &self,
        rule: &RuleName,
        Change::Enable: &Change,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        self.events.enable_rule().name(&rule.0).send().await.during(ENABLE)?;
        Ok(None)
    }

    fn revert(_: &Hearing, _: &Hearing) -> Plan<Change> {
        Plan::nothing()
    }

    fn describe(found: &Hearing, Change::Enable: &Change) -> Description {
        Description {
            action: ENABLE.into(),
            effect: Effect::Set,
            minus: vec![format!("State: {}", found.state)],
            plus: vec![format!("State: {}", RuleState::Enabled.as_str())],
        }
    }

    fn console(rule: &RuleName, region: &str) -> String {
        format!("{}#/eventbus/default/rules/{rule}", partition::console("events", region))
    }

    fn arn(rule: &RuleName, account: &str, region: &str) -> String {
        format!("arn:{}:events:{region}:{account}:rule/{rule}", partition::of(region))
    }
}

/// <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_DisableRule.html>
fn is_rule_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::s3::tests::signal;

    fn named(call: &str, parameters: Value) -> Result<Vec<String>, TargetError> {
        let trigger = Trigger::ApiCall {
            service: "events.amazonaws.com".into(),
            name: call.into(),
            parameters,
            response: json!(null),
            resources: Vec::new(),
        };
        let targets = RuleDisabled::targets(&signal(trigger))?;
        Ok(targets.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn own_rules_on_the_default_bus_are_looked_at_and_no_others() {
        let own = "quell-S3ExposureS3Calls-1ABC";
        for parameters in [
            json!({"name": own}),
            json!({"name": own, "eventBusName": "default"}),
            json!({"name": own, "eventBusName": "arn:aws:events:eu-west-1:123456789012:event-bus/default"}),
        ] {
            assert_eq!(named("DisableRule", parameters.clone()).unwrap(), [own], "{parameters}");
            assert_eq!(named("PutRule", parameters).unwrap(), [own]);
        }
        for parameters in [
            json!({"name": "orders-nightly"}),
            json!({"name": "quell"}),
            json!({"name": own, "eventBusName": "orders"}),
        ] {
            assert_eq!(named("DisableRule", parameters).unwrap(), [""; 0]);
        }
        assert_eq!(named("EnableRule", json!({"name": own})).unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_no_name_of_a_rule_is_an_error() {
        for parameters in [
            json!(null),
            json!({}),
            json!({"name": 7}),
            json!({"name": "quell-*"}),
            json!({"name": ""}),
        ] {
            let error = named("DisableRule", parameters).unwrap_err();
            assert_eq!(error.field, "requestParameters.name");
        }
    }

    #[test]
    fn a_person_may_give_the_name_or_the_arn() {
        let manual = |resource: &str| {
            let control = RuleDisabled::META.id.to_owned();
            RuleDisabled::targets(&signal(Trigger::Manual { control, resource: resource.into() }))
        };
        let rule = RuleName("quell-Rule-1".to_owned());
        assert_eq!(manual("quell-Rule-1").unwrap(), std::slice::from_ref(&rule));
        let arn = RuleDisabled::arn(&rule, "123456789012", "eu-west-1");
        assert_eq!(manual(&arn).unwrap(), [rule]);
        assert!(manual("arn:aws:events:eu-west-1:210987654321:rule/quell-Rule-1").is_err());
    }

    #[test]
    fn only_a_disabled_rule_is_enabled_and_nothing_disables_one() {
        let hearing = |state: &str| Hearing { state: state.to_owned() };
        assert_eq!(RuleDisabled::plan(&hearing("DISABLED")).changes, [Change::Enable]);
        for state in ["ENABLED", "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"] {
            assert!(RuleDisabled::plan(&hearing(state)).is_empty());
        }
        assert!(RuleDisabled::revert(&hearing("DISABLED"), &hearing("ENABLED")).is_empty());
    }
}
