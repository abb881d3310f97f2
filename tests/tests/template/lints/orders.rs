//! Who can order something, and who can ask for it.

use std::collections::BTreeSet;

use quell_controls::REGISTRY;
use serde_json::{Value, json};

use super::{
    PUBLIC, SLACK, binary, is_fed, is_public, opens_the_url, roles::OPERATOR, serves_controls,
};
use crate::model::{Function, Template, arn_of, list, target, texts};

/// Functions that only tell elsewhere what others publish: which items of the ledger each keeps, and which of what else
/// only people's orders need it may do.
const TELLERS: &[(&str, &str, &[&str])] =
    &[("slack", "SLK#*", &[]), ("security-hub", "HUB#*", &["dynamodb:Query"])];

/// Only those whom IAM names get through the function URL, orders wake only functions that serve controls, and of the
/// ledger the operator writes only what people order.
pub(crate) fn orders_are_guarded(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    let functions = template.functions();
    for function in functions.iter().filter(|function| !is_public(function)) {
        let Function { id, properties, .. } = function;
        let url = &properties["FunctionUrlConfig"];
        let teller = TELLERS.iter().find(|(name, ..)| binary(function) == Some(name));
        if is_fed(template, id) != teller.is_some() {
            complaints
                .push(format!("{id}: a queue feeds what does not only tell, or it is fed by none"));
        }
        if !url.is_null()
            && (url["AuthType"] != "AWS_IAM" || serves_controls(function) || teller.is_some())
        {
            complaints.push(format!("{id}: can be called by people whom IAM does not know"));
        }
        let role = target(&properties["Role"]).unwrap_or_default();
        let statements = template.statements(role);
        let name = binary(function).unwrap_or_default();
        let own_sweep = format!("SWP#{name}");
        let baselines = REGISTRY.iter().filter(|meta| meta.function == name && meta.baseline);
        let baselines: Vec<_> = baselines.map(|meta| format!("BSL#{}#*", meta.id)).collect();
        let families = match teller {
            Some((_, family, _)) => vec![*family],
            None if serves_controls(function) => {
                let own = baselines.iter().map(String::as_str).chain([own_sweep.as_str()]);
                own.chain(["BUD#*", "BUL#*", "LCK#*", "OWN#*", "REC#*"]).collect()
            }
            None => vec!["APR#*", "BUL#*", "EXM#*", "HLT#halt", "REC#*"],
        };
        let writes = ["dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"];
        for statement in &statements {
            let actions = texts(&statement["Action"]);
            let condition = &statement["Condition"];
            let keys = texts(&condition["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]);
            let is_bound = !keys.is_empty()
                && keys.iter().all(|key| families.contains(key))
                && condition["Null"]["dynamodb:LeadingKeys"] == "false";
            if actions.iter().any(|action| writes.contains(action)) && !is_bound {
                complaints.push(format!("{role}: {} is not bound to its items", statement["Sid"]));
            }
        }
        if serves_controls(function) || teller.is_some() {
            let needed = teller.map_or(&[][..], |(.., needed)| *needed);
            let more = statements.iter().flat_map(|statement| texts(&statement["Action"]));
            let more = more.filter(|action| OPERATOR.contains(action) && !needed.contains(action));
            for action in more {
                complaints.push(format!("{role}: may {action}, which only people's orders need"));
            }
            continue;
        }
        let known = properties["Environment"]["Variables"]["QUELL_FUNCTIONS"]["Fn::Sub"].as_str();
        let known: BTreeSet<&str> = known.unwrap_or_default().split(',').collect();
        let wakes: BTreeSet<&str> = statements
            .iter()
            .filter(|statement| texts(&statement["Action"]).contains(&"lambda:InvokeFunction"))
            .flat_map(|statement| list(&statement["Resource"]))
            .map(|arn| arn["Fn::Sub"].as_str().unwrap_or("anything"))
            .collect();
        let served = functions.iter().filter(|function| serves_controls(function));
        let served: Vec<(&str, &str)> = served
            .filter_map(|served| {
                let name = served.metadata["BuildProperties"]["Binary"].as_str()?;
                Some((name, served.id.as_str()))
            })
            .collect();
        let expected: Vec<String> =
            served.iter().map(|(name, id)| format!("{name}=${{{id}.Arn}}")).collect();
        if known != expected.iter().map(String::as_str).collect() {
            complaints.push(format!("{id}: QUELL_FUNCTIONS does not name the functions"));
        }
        let expected: Vec<String> = served
            .iter()
            .map(|(name, _)| {
                let place = "${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}";
                format!("arn:{place}:function:${{AWS::StackName}}-{name}")
            })
            .collect();
        if wakes != expected.iter().map(String::as_str).collect() {
            complaints
                .push(format!("{role}: may not wake exactly the functions that serve controls"));
        }
    }
    for (id, policy) in template.all("AWS::IAM::ManagedPolicy") {
        for statement in list(&policy["PolicyDocument"]["Statement"]) {
            if texts(&statement["Action"]).contains(&"lambda:InvokeFunction")
                && statement["Condition"]["Bool"]["lambda:InvokedViaFunctionUrl"] != "true"
            {
                complaints.push(format!("{id}: lets people past IAM's word on who they are"));
            }
        }
    }
    complaints
}

/// With Slack on, one function has a public URL, with both permissions that it needs; it may read its secret and ask the
/// operator, who knows its role, and nothing else. With Slack off nothing of it is there.
pub(crate) fn slack_is_guarded(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    let (off, on) = (template.deployed(&[]), template.deployed(&[SLACK]));
    for kind in ["AWS::Lambda::Url", "AWS::Lambda::Permission"] {
        for (id, properties) in off.all(kind) {
            if properties["SourceArn"].is_null() {
                complaints.push(format!("{id}: is there without Slack"));
            }
        }
    }
    if off.functions().iter().any(is_public) {
        complaints.push(format!("{PUBLIC}: is there without Slack"));
    }
    let functions = on.functions();
    let Some(public) = functions.iter().find(|function| is_public(function)) else {
        complaints.push(format!("{PUBLIC}: is not there with Slack"));
        return complaints;
    };
    let (id, role) = (&public.id, target(&public.properties["Role"]).unwrap_or_default());
    let urls = on.all("AWS::Lambda::Url");
    let is_its_url = |(_, url): &(&str, &Value)| {
        url["AuthType"] == "NONE" && url["TargetFunctionArn"] == arn_of(id)
    };
    if urls.len() != 1
        || !urls.iter().all(is_its_url)
        || !public.properties["FunctionUrlConfig"].is_null()
    {
        complaints.push(format!("{id}: is not the one function with a public URL"));
    }
    for action in ["lambda:InvokeFunctionUrl", "lambda:InvokeFunction"] {
        let opens = on.all("AWS::Lambda::Permission").into_iter().any(|(_, permission)| {
            permission["Action"] == action && opens_the_url(&on, permission)
        });
        if !opens {
            complaints.push(format!("{id}: its URL has no permission to {action}"));
        }
    }
    let place =
        "${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:${AWS::StackName}";
    let function = |name: &str| json!({"Fn::Sub": format!("arn:{place}-{name}")});
    let operator = function("operator");
    let may: Vec<Value> = on
        .statements(role)
        .into_iter()
        .filter(|statement| !matches!(statement["Sid"].as_str(), Some("Logs" | "Trace")))
        .map(|statement| {
            json!([statement["Action"], statement["Resource"], statement["Condition"]])
        })
        .collect();
    let expected = [
        json!(["secretsmanager:GetSecretValue", {"Ref": SLACK.0}, null]),
        json!([
            "lambda:InvokeFunctionUrl",
            operator,
            {"StringEquals": {"lambda:FunctionUrlAuthType": "AWS_IAM"}},
        ]),
        json!(["lambda:InvokeFunction", operator, {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}]),
    ];
    if may != expected {
        complaints.push(format!("{role}: may not do exactly what it needs"));
    }
    let bounded = &template.root["Resources"][id]["Properties"]["ReservedConcurrentExecutions"];
    if bounded["Fn::If"][1]["Ref"] != "SlackActionsConcurrency" {
        complaints.push(format!("{id}: may take all concurrency of the account"));
    }
    let known_as = [
        ("QUELL_SLACK_ROLE", arn_of(role)),
        ("QUELL_SLACK_FUNCTION", function("slack")),
        ("QUELL_SLACK_WORKSPACE", json!({"Ref": "SlackWorkspace"})),
    ];
    for reached in &functions {
        let variables = &reached.properties["Environment"]["Variables"];
        if variables["QUELL_PUBLIC_FUNCTION"] != function(PUBLIC) {
            complaints.push(format!("{}: does not know which function is public", reached.id));
        }
        let is_operator = !reached.properties["FunctionUrlConfig"].is_null();
        for (name, value) in &known_as {
            let expected = if is_operator { value } else { &Value::Null };
            if variables[name] != *expected {
                complaints.push(format!("{}: {name} is not what it should be", reached.id));
            }
        }
        if !is_operator {
            continue;
        }
        let role = target(&reached.properties["Role"]).unwrap_or_default();
        let only_with_slack: Vec<Value> = on
            .statements(role)
            .into_iter()
            .filter(|statement| !off.statements(role).contains(statement))
            .map(|statement| {
                json!([statement["Action"], statement["Resource"], statement["Condition"]])
            })
            .collect();
        let expected = [
            json!([
                ["dynamodb:DeleteItem", "dynamodb:PutItem"],
                arn_of("Ledger"),
                {
                    "ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["NONCE#*"]},
                    "Null": {"dynamodb:LeadingKeys": "false"},
                },
            ]),
            json!(["lambda:InvokeFunction", function("slack"), null]),
        ];
        if only_with_slack != expected {
            complaints.push(format!("{role}: may with Slack what it does not need"));
        }
    }
    complaints
}
