//! Functions: how they are built, signed, watched and told what they need to know.

use std::{collections::BTreeSet, fs, path::Path};

use quell_controls::REGISTRY;
use serde_json::json;

use super::{binary, is_fed, is_public};
use crate::model::{Function, Template, list, target, texts};

/// Every function is built from the binary of its folder, and every folder is deployed.
pub(crate) fn functions_are_the_binaries(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../functions");
    let mut left: BTreeSet<String> = fs::read_dir(&folder)
        .expect("there is a folder functions/")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    for function in template.functions() {
        let Function { id, properties, metadata } = &function;
        let binary = metadata["BuildProperties"]["Binary"].as_str().unwrap_or_default();
        if !left.remove(binary) {
            complaints.push(format!("{id}: there is no functions/{binary}"));
        }
        if properties["CodeUri"] != format!("functions/{binary}") {
            complaints.push(format!("{id}: is not built where {binary} is"));
        }
        let manifest =
            fs::read_to_string(folder.join(binary).join("Cargo.toml")).unwrap_or_default();
        if !manifest.contains(&format!("name = \"{binary}\"")) {
            complaints.push(format!("{id}: functions/{binary} makes no binary {binary}"));
        }
        if metadata["BuildMethod"] != "rust-cargolambda"
            || properties["Runtime"] != "provided.al2023"
            || properties["Handler"] != "bootstrap"
        {
            complaints.push(format!("{id}: is not built and run as a Rust function"));
        }
        if properties["Timeout"].as_u64().is_none_or(|seconds| seconds > 60) {
            complaints.push(format!("{id}: may run for more than a minute"));
        }
    }
    complaints.extend(left.into_iter().map(|binary| format!("functions/{binary}: not deployed")));
    complaints
}

/// Where code is signed, no function runs other code.
pub(crate) fn code_can_be_signed(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    for Function { id, properties, .. } in template.functions() {
        let signing =
            json!({"Fn::If": ["SignsCode", {"Ref": "CodeSigning"}, {"Ref": "AWS::NoValue"}]});
        if properties["CodeSigningConfigArn"] != signing {
            complaints.push(format!("{id}: runs code that nobody signed"));
        }
    }
    for (id, signing) in template.all("AWS::Lambda::CodeSigningConfig") {
        if signing["CodeSigningPolicies"]["UntrustedArtifactOnDeployment"] != "Enforce" {
            complaints.push(format!("{id}: only warns"));
        }
        if signing["AllowedPublishers"]["SigningProfileVersionArns"]
            != json!({"Ref": "SigningProfiles"})
        {
            complaints.push(format!("{id}: trusts other profiles than its parameter names"));
        }
    }
    complaints
}

/// An event on which a function fails is tried again, then kept.
pub(crate) fn failed_events_are_kept(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    for function in template.functions().iter().filter(|function| !is_public(function)) {
        let Function { id, properties, .. } = function;
        if properties["EventInvokeConfig"]["MaximumRetryAttempts"] != 2 {
            complaints.push(format!("{id}: is not tried twice more"));
        }
        // Its queue keeps what fails.
        if is_fed(template, id) {
            continue;
        }
        let letters = &properties["DeadLetterQueue"];
        if letters["Type"] != "SQS"
            || template.referred("AWS::SQS::Queue", &letters["TargetArn"]).is_none()
        {
            complaints.push(format!("{id}: has no dead-letter queue"));
            continue;
        }
        let role = target(&properties["Role"]).unwrap_or_default();
        if !template.statements(role).iter().any(|statement| {
            texts(&statement["Action"]).contains(&"sqs:SendMessage")
                && list(&statement["Resource"]) == [&letters["TargetArn"]]
        }) {
            complaints.push(format!("{id}: may not send to its dead-letter queue"));
        }
    }
    complaints
}

/// Logs are JSON in a group that ends some day, and traces are on.
pub(crate) fn functions_can_be_followed(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    for Function { id, properties, .. } in template.functions() {
        let logging = &properties["LoggingConfig"];
        if logging["LogFormat"] != "JSON" {
            complaints.push(format!("{id}: does not log JSON"));
        }
        let group = template.referred("AWS::Logs::LogGroup", &logging["LogGroup"]);
        if group.is_none_or(|(_, group)| group["RetentionInDays"].is_null()) {
            complaints.push(format!("{id}: its logs never end"));
        }
        if properties["Tracing"] != "Active" {
            complaints.push(format!("{id}: is not traced"));
        }
    }
    complaints
}

/// Functions are told what they need to know.
pub(crate) fn functions_know_their_settings(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    for function in template.functions() {
        let Function { id, properties, .. } = &function;
        let variables = &properties["Environment"]["Variables"];
        for (name, value) in [
            ("QUELL_ACCOUNT", "AWS::AccountId"),
            ("QUELL_LEDGER_TABLE", "Ledger"),
            ("QUELL_TOPIC_ARN", "Messages"),
        ] {
            if variables[name]["Ref"] != value {
                complaints.push(format!("{id}: {name} is not {value}"));
            }
        }
        if !knows_quell(&function) {
            continue;
        }
        let keys = variables["QUELL_KEYS"]["Fn::Sub"].as_str().unwrap_or_default();
        let named: BTreeSet<String> = keys.split(',').map(str::to_owned).collect();
        let all = template.all("AWS::KMS::Key").into_iter();
        if named != all.map(|(key, _)| format!("${{{key}.Arn}}")).collect() {
            complaints.push(format!("{id}: QUELL_KEYS does not name the keys"));
        }
        for (name, value) in [("QUELL_STACK", "AWS::StackName"), ("QUELL_DEPLOYER", "DeployerRole")]
        {
            if variables[name]["Ref"] != value {
                complaints.push(format!("{id}: {name} is not {value}"));
            }
        }
    }
    complaints
}

/// Whether a function looks at Quell itself.
fn knows_quell(function: &Function) -> bool {
    let binary = binary(function);
    REGISTRY.iter().any(|meta| meta.id.starts_with("quell-") && Some(meta.function) == binary)
}

/// Who deploys without choosing gets a stack that changes nothing, sets nothing aside, and talks to AWS.
pub(crate) fn defaults_are_harmless(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, parameter) in template.root["Parameters"].as_object().into_iter().flatten() {
        if name.ends_with("Ceiling")
            && (parameter["Default"] != "observe"
                || parameter["AllowedValues"] != json!(["observe", "act"]))
        {
            complaints.push(format!("{name}: is not observe unless someone says act"));
        }
        if parameter["Default"].is_null() {
            complaints.push(format!("{name}: has to be chosen"));
        }
        if parameter["AllowedValues"] == json!(["yes", "no"]) && parameter["Default"] != "no" {
            complaints.push(format!("{name}: is not off unless someone says yes"));
        }
    }
    for Function { id, properties, .. } in template.deployed(&[]).functions() {
        if !properties["ReservedConcurrentExecutions"].is_null() {
            complaints.push(format!("{id}: sets concurrency aside, which small accounts refuse"));
        }
        if !properties["Environment"]["Variables"]["AWS_ENDPOINT_URL"].is_null() {
            complaints.push(format!("{id}: does not talk to AWS"));
        }
    }
    complaints
}
