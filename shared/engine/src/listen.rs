//! Which events a control wants, and the EventBridge rules that follow from it.
//!
//! Patterns name only fields that AWS itself fills: never request parameters, which an attacker shapes, and which
//! CloudTrail leaves out above 100 KB.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{Meta, Signal, Trigger};

/// One kind of event that a control wants.
#[derive(Debug)]
pub enum Listen {
    /// Successful API calls that CloudTrail records.
    ApiCall {
        /// EventBridge's source, such as `aws.s3`.
        source: &'static str,
        /// CloudTrail's event source, such as `s3.amazonaws.com`. The two differ for some services.
        service: &'static str,
        /// Names of operations. One that ends in `*` also comes with the date of its API behind it, as Lambda writes it.
        calls: &'static [&'static str],
    },
    /// GuardDuty findings of these types, at least this severe. A type that ends in `*` is a prefix.
    GuardDuty { types: &'static [&'static str], min_severity: f64 },
    /// Failed findings of Security Hub, by the end of their `GeneratorId`: `/S3.2`.
    SecurityHub { generators: &'static [&'static str], resource_type: &'static str },
    /// Resources that became non-compliant under a Config rule whose name begins with one of these, as it is or with
    /// what Security Hub and organisations put before it.
    Config { rules: &'static [&'static str], resource_type: &'static str },
    /// Active findings of Access Analyzer about public access.
    AccessAnalyzer { resource_type: &'static str },
    /// Events of AWS Health about the account, by their code.
    Health { codes: &'static [&'static str] },
    /// Sign-ins to the console by these types of identity: `Root`, `IAMUser`, `AssumedRole`.
    SignIn { by: &'static [&'static str] },
    /// Instances that reach one of these states.
    InstanceState { states: &'static [&'static str] },
}

impl Meta {
    /// Whether the signal is one that this control asked for. A person may always ask by name.
    pub fn hears(&self, signal: &Signal) -> bool {
        if let Trigger::Manual { control, .. } = &signal.trigger {
            return control == self.id;
        }
        self.listens.iter().any(|listen| listen.hears(&signal.trigger))
    }
}

impl Listen {
    fn hears(&self, trigger: &Trigger) -> bool {
        match (self, trigger) {
            (Self::ApiCall { service, calls, .. }, Trigger::ApiCall { .. }) => {
                calls.iter().any(|call| trigger.is_call(service, call.trim_end_matches('*')))
            }
            (
                Self::GuardDuty { types, min_severity },
                Trigger::GuardDuty { kind, severity, .. },
            ) => {
                severity >= min_severity
                    && types.iter().any(|wanted| match wanted.strip_suffix('*') {
                        Some(prefix) => kind.starts_with(prefix),
                        None => kind == wanted,
                    })
            }
            (
                Self::SecurityHub { generators, resource_type },
                Trigger::SecurityHub { generator, resource_type: of, .. },
            ) => of == resource_type && generators.iter().any(|end| generator.ends_with(end)),
            (
                Self::Config { rules, resource_type },
                Trigger::ConfigCompliance { rule, resource_type: of, .. },
            ) => {
                let name = CONFIG_PREFIXES.iter().find_map(|before| rule.strip_prefix(before));
                let name = name.unwrap_or(rule);
                of == resource_type && rules.iter().any(|begin| name.starts_with(begin))
            }
            (
                Self::AccessAnalyzer { resource_type },
                Trigger::AccessAnalyzer { resource_type: of, public, .. },
            ) => of == resource_type && *public,
            (Self::Health { codes }, Trigger::Health { code, .. }) => {
                codes.contains(&code.as_str())
            }
            // Who it was, the control sees.
            (Self::SignIn { .. }, Trigger::SignIn { .. }) => true,
            (Self::InstanceState { states }, Trigger::InstanceState { state, .. }) => {
                states.contains(&state.as_str())
            }
            _ => false,
        }
    }
}

/// The rules that a function with these controls needs: a name and a pattern each. No event matches two of them.
pub fn rules(controls: &[&Meta]) -> Vec<(String, Value)> {
    let mut calls: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    let mut types: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    // One rule for all types of resources: each control looks at its own.
    let mut generators: (BTreeSet<&str>, BTreeSet<&str>) = Default::default();
    let mut config: (BTreeSet<&str>, BTreeSet<&str>) = Default::default();
    let mut analyzed: BTreeSet<&str> = BTreeSet::new();
    let mut states: BTreeSet<&str> = BTreeSet::new();
    let mut codes: BTreeSet<&str> = BTreeSet::new();
    let mut identities: BTreeSet<&str> = BTreeSet::new();
    for listen in controls.iter().flat_map(|control| control.listens) {
        match listen {
            Listen::ApiCall { source, service, calls: wanted } => {
                calls.entry((source, service)).or_default().extend(*wanted);
            }
            Listen::GuardDuty { types: wanted, min_severity } => {
                types.entry(min_severity.to_string()).or_default().extend(*wanted);
            }
            Listen::SecurityHub { generators: wanted, resource_type } => {
                generators.0.insert(resource_type);
                generators.1.extend(*wanted);
            }
            Listen::Config { rules, resource_type } => {
                config.0.insert(resource_type);
                config.1.extend(*rules);
            }
            Listen::AccessAnalyzer { resource_type } => {
                analyzed.insert(resource_type);
            }
            Listen::Health { codes: wanted } => codes.extend(*wanted),
            Listen::SignIn { by } => identities.extend(*by),
            Listen::InstanceState { states: wanted } => states.extend(*wanted),
        }
    }

    let mut rules = Vec::new();
    for ((source, service), calls) in calls {
        let calls: Vec<Value> = calls.into_iter().map(or_prefix).collect();
        rules.push((
            format!("{}Calls", camel(source)),
            json!({
                "source": [source],
                "detail-type": ["AWS API Call via CloudTrail"],
                "detail": {
                    "eventSource": [service],
                    "eventName": calls,
                    "errorCode": [{"exists": false}],
                },
            }),
        ));
    }
    for (severity, types) in types {
        let types: Vec<Value> = types.into_iter().map(or_prefix).collect();
        let severity: f64 = severity.parse().unwrap_or_default();
        rules.push((
            "GuardDutyFindings".to_owned(),
            json!({
                "source": ["aws.guardduty"],
                "detail-type": ["GuardDuty Finding"],
                "detail": {"type": types, "severity": [{"numeric": [">=", severity]}]},
            }),
        ));
    }
    let (resource_types, ends) = generators;
    if !ends.is_empty() {
        let ends: Vec<Value> = ends.into_iter().map(|end| json!({"suffix": end})).collect();
        rules.push((
            "SecurityHubFindings".to_owned(),
            json!({
                "source": ["aws.securityhub"],
                "detail-type": [
                    "Security Hub Findings - Imported",
                    "Security Hub Findings - Custom Action",
                ],
                "detail": {"findings": {
                    "GeneratorId": ends,
                    "Compliance": {"Status": ["FAILED", "WARNING"]},
                    "Workflow": {"Status": ["NEW", "NOTIFIED"]},
                    "RecordState": ["ACTIVE"],
                    "Resources": {"Type": resource_types},
                }},
            }),
        ));
    }
    let (resource_types, parts) = config;
    if !parts.is_empty() {
        // No wildcards: EventBridge refuses patterns with several of them as too complex.
        let names: Vec<Value> = [""]
            .into_iter()
            .chain(CONFIG_PREFIXES)
            .flat_map(|before| parts.iter().map(move |part| format!("{before}{part}")))
            .map(|begin| json!({"prefix": begin}))
            .collect();
        rules.push((
            "ConfigCompliance".to_owned(),
            json!({
                "source": ["aws.config"],
                "detail-type": ["Config Rules Compliance Change"],
                "detail": {
                    "configRuleName": names,
                    "resourceType": resource_types,
                    "newEvaluationResult": {"complianceType": ["NON_COMPLIANT"]},
                },
            }),
        ));
    }
    if !analyzed.is_empty() {
        rules.push((
            "AccessAnalyzerFindings".to_owned(),
            json!({
                "source": ["aws.access-analyzer"],
                "detail-type": ["Access Analyzer Finding"],
                "detail": {"resourceType": analyzed, "status": ["ACTIVE"], "isPublic": [true]},
            }),
        ));
    }
    if !codes.is_empty() {
        rules.push((
            "HealthEvents".to_owned(),
            json!({
                "source": ["aws.health"],
                "detail-type": ["AWS Health Event"],
                "detail": {"eventTypeCode": codes},
            }),
        ));
    }
    if !identities.is_empty() {
        rules.push((
            "SignIns".to_owned(),
            json!({
                "source": ["aws.signin"],
                "detail-type": ["AWS Console Sign In via CloudTrail"],
                "detail": {"eventName": ["ConsoleLogin"], "userIdentity": {"type": identities}},
            }),
        ));
    }
    if !states.is_empty() {
        rules.push((
            "InstanceStates".to_owned(),
            json!({
                "source": ["aws.ec2"],
                "detail-type": ["EC2 Instance State-change Notification"],
                "detail": {"state": states},
            }),
        ));
    }
    rules
}

/// What stands before the name of a managed rule in those of Security Hub and of an organisation.
const CONFIG_PREFIXES: [&str; 2] = ["securityhub-", "OrgConfigRule-"];

/// A name as a pattern has it. One that ends in `*` is a prefix.
fn or_prefix(name: &str) -> Value {
    match name.strip_suffix('*') {
        Some(prefix) => json!({"prefix": prefix}),
        None => json!(name),
    }
}

/// `aws.s3` → `S3`, `aws.ec2` → `Ec2`.
fn camel(source: &str) -> String {
    let name = source.strip_prefix("aws.").unwrap_or(source);
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}
