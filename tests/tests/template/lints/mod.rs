//! What must hold for the template. Each lint returns its complaints.

mod alarms;
mod functions;
mod ledger;
mod orders;
mod queues;
mod roles;
mod rules;

use std::collections::BTreeSet;

use quell_controls::REGISTRY;
use serde_json::Value;

use crate::model::{Function, Template, target, texts};

pub(crate) use alarms::{alarms_reach_people, failures_raise_alarms, publishers_may_use_the_key};
pub(crate) use functions::{
    code_can_be_signed, defaults_are_harmless, failed_events_are_kept, functions_are_the_binaries,
    functions_can_be_followed, functions_know_their_settings,
};
pub(crate) use ledger::the_ledger_stays;
pub(crate) use orders::{orders_are_guarded, slack_is_guarded};
pub(crate) use queues::{queues_feed_functions, queues_keep_events};
pub(crate) use roles::{
    ceilings_decide_about_writes, customer_actions, roles_are_exact, services_are_bound,
};
pub(crate) use rules::{patterns_are_safe, rules_lose_nothing};

pub(crate) type Lint = fn(&Template) -> Vec<String>;

/// The function whose URL is public: it answers requests, and is invoked in no other way.
const PUBLIC: &str = "slack-actions";

/// The parameter that switches buttons on.
pub(crate) const SLACK: (&str, &str) = (
    "SlackSigningSecret",
    "arn:aws:secretsmanager:eu-west-1:111122223333:secret:quell-slack-signing-AbCdEf",
);

/// The topic of all messages.
const MESSAGES: &str = "Messages";

/// The binary that a function is.
fn binary(function: &Function) -> Option<&str> {
    function.metadata["BuildProperties"]["Binary"].as_str()
}

/// Whether a function is the one that the internet reaches.
fn is_public(function: &Function) -> bool {
    binary(function) == Some(PUBLIC)
}

/// Whether a permission lets the internet in through the public URL, and in no other way.
fn opens_the_url(template: &Template, permission: &Value) -> bool {
    let functions = template.functions();
    let public = functions.iter().find(|function| is_public(function));
    let is_of_it = public.is_some_and(|public| permission["FunctionName"]["Ref"] == public.id);
    let through_it = match permission["Action"].as_str() {
        Some("lambda:InvokeFunctionUrl") => permission["FunctionUrlAuthType"] == "NONE",
        Some("lambda:InvokeFunction") => permission["InvokedViaFunctionUrl"] == true,
        _ => false,
    };
    is_of_it && through_it && permission["Principal"] == "*"
}

/// Whether a function looks at customers' resources at all.
fn serves_controls(function: &Function) -> bool {
    REGISTRY.iter().any(|meta| Some(meta.function) == binary(function))
}

/// Whether a queue stands before the function.
fn is_fed(template: &Template, function: &str) -> bool {
    let mappings = template.all("AWS::Lambda::EventSourceMapping").into_iter();
    mappings.filter_map(|(_, mapping)| target(&mapping["FunctionName"])).any(|fed| fed == function)
}

/// The parameter that is a function's ceiling.
pub(crate) fn ceiling(function: &Function) -> Option<&str> {
    function.properties["Environment"]["Variables"]["QUELL_CEILING"]["Ref"].as_str()
}

/// All ceilings at `act`, and all that is optional.
pub(crate) fn acting(template: &Template) -> Vec<(&'static str, &'static str)> {
    // Leaked for the life of the test, which spares everyone a lifetime.
    template
        .functions()
        .iter()
        .filter_map(|function| Some((&*ceiling(function)?.to_owned().leak(), "act")))
        .chain(quell_local::stack::OPTIONS)
        .collect()
}

fn admits_service(statement: &Value, service: &str, action: &str) -> bool {
    statement["Effect"] == "Allow"
        && texts(&statement["Principal"]["Service"]).contains(&service)
        && texts(&statement["Action"]).contains(&action)
}

/// Which keys bind a statement to a source that must be named.
fn source_keys(statement: &Value) -> BTreeSet<&str> {
    statement["Condition"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(operator, _)| {
            matches!(operator.as_str(), "StringEquals" | "StringLike" | "ArnEquals" | "ArnLike")
        })
        .flat_map(|(_, keys)| keys.as_object().into_iter().flatten())
        .filter(|(_, values)| !texts(values).contains(&"*"))
        .map(|(key, _)| key.as_str())
        .filter(|key| matches!(*key, "aws:SourceAccount" | "aws:SourceArn" | "aws:PrincipalOrgID"))
        .collect()
}
