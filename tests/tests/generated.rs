//! Runbooks, the table of controls and that of permissions are made from the code. `UPDATE=1 cargo nextest run --test
//! generated` writes them; without it a stale page fails.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, env, fmt::Write as _, fs};

use quell_controls::REGISTRY;
use quell_engine::{Listen, Meta, Safety};
use quell_local::{
    Template,
    cloud::{ACCOUNT, REGION},
    iam::facts,
    scenario::OWN_EMULATION,
};
use quell_tests::{
    page,
    permissions::{LAMBDAS_OWN, ON_EVERYTHING, Permission, deployment, granted, needed, why},
    read, root,
};

#[test]
fn every_runbook_is_the_page_of_its_control() {
    for meta in REGISTRY {
        current(&format!("docs/runbooks/{}.md", meta.id), &runbook(meta));
    }
    for file in fs::read_dir(root("docs/runbooks")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let id = name.strip_suffix(".md").unwrap();
        assert!(REGISTRY.iter().any(|meta| meta.id == id), "docs/runbooks/{name} has no control");
    }
}

#[test]
fn the_table_of_controls_is_the_registry() {
    let mut table = String::from(
        "# Controls\n\nMade from the code; the runbook of each says what can break and how to undo it.\n\n\
         | control | after the fix | severity | fixed at once when enforced | undo | function |\n|---|---|---|---|---|---|\n",
    );
    for meta in REGISTRY {
        writeln!(
            table,
            "| [{id}](runbooks/{id}.md) | {} | {} | {} | {} | {} |",
            meta.title,
            format!("{:?}", meta.severity).to_lowercase(),
            safety(meta.safety),
            undo(meta),
            meta.function,
            id = meta.id
        )
        .unwrap();
    }
    table.push_str(
        "\n## What wakes them, what they call, and who else has them\n\n\
         The sweep looks for resources with the actions under *finds*; controls without one hear of their resources from events alone.\n\n\
         | control | events | finds | reads | writes | peers |\n|---|---|---|---|---|---|\n",
    );
    for meta in REGISTRY {
        let (_, peers) = PEERS
            .iter()
            .find(|(id, _)| *id == meta.id)
            .unwrap_or_else(|| panic!("{}: say which peers have it", meta.id));
        let kinds: BTreeSet<&str> = meta.listens.iter().map(kind).collect();
        let kinds: Vec<&str> = kinds.into_iter().collect();
        writeln!(
            table,
            "| {} | {} | {} | {} | {} | {} |",
            meta.id,
            kinds.join(", "),
            codes(meta.discovers),
            codes(meta.reads),
            codes(meta.writes),
            if peers.is_empty() { "none" } else { peers }
        )
        .unwrap();
    }
    table.push_str(
        "\nCC: cloudconformity/auto-remediate, CB: dome9/cloud-bots, FP: flowpipe-mod-aws-compliance, PR: Prowler, PA: Panther, SSM: AWS's Automation runbooks, \
         HM: dowjones/hammer, SV: servian/aws-auto-remediate, CN: Cloudneeti, GD: amazon-guardduty-automated-response-sample, IR: ThreatResponse/aws_ir, SA: awslabs/aws-security-automation, ASR: AWS's Automated Security Response. Cloud Custodian has actions for most of them.\n\
         \n## What no independent emulator proves\n\n\
         The tests run against an emulated AWS made by others. What it lacks was added here from AWS's reference, so that these controls are only as right as our reading of it:\n\n\
         | control | added |\n|---|---|\n",
    );
    for (id, what) in OWN_EMULATION {
        assert!(REGISTRY.iter().any(|meta| meta.id == *id), "{id} is no control");
        writeln!(table, "| {id} | {what} |").unwrap();
    }
    current("docs/controls.md", &table);
}

/// Who else ships the remediation, by what they publish.
const PEERS: &[(&str, &str)] = &[
    ("s3-public-acl", "CB, PR, HM, SV, CC, CN, SSM"),
    ("s3-public-policy", "CB, PR, HM, CC, SSM"),
    ("s3-block-public-access", "CB, FP, PA, PR, CN, SSM, ASR"),
    ("ec2-imdsv2", "FP, SSM, ASR"),
    ("sg-open-ingress", "CB, FP, PR, HM, SV, CC, SSM, ASR"),
    ("ec2-quarantine", "CB, GD, IR, SSM"),
    ("cloudtrail-logging", "SA, CN"),
    ("cloudtrail-weakened", "CB, FP, PA, SV, CN, SSM, ASR"),
    ("cloudtrail-event-selectors", ""),
    ("cloudtrail-deleted", "CB, PA, PR, SSM, ASR"),
    ("config-recorder", "CB, CC, SSM, ASR"),
    ("guardduty-detector", "CC, PA, PR, SSM, ASR"),
    ("iam-admin-policy", "CB, FP, SV, SSM"),
    ("iam-admin-group", "CB"),
    ("iam-console-mfa", "SV, CB, SA"),
    ("iam-identity-provider", ""),
    ("iam-login-profile", "CB"),
    ("iam-open-trust", ""),
    ("iam-password-policy", "CB, FP, PA, PR, SV, CN, SSM, ASR"),
    ("iam-permissions-boundary", "CB"),
    ("iam-policy-version", "CB, SV"),
    ("iam-role-sessions", "GD, SSM"),
    ("iam-quarantine", "CB, PR, SSM, ASR, IR"),
    ("iam-exposed-key", "CB, CC, IR, SSM, ASR"),
    ("iam-root-use", "CB, FP"),
    ("iam-second-key", "FP, CB"),
    ("iam-stale-key", "CB, FP, HM, SV, CC, SSM, ASR, PA"),
    ("quell-rule-disabled", ""),
    ("quell-tampered", ""),
    ("vpc-subnet-public-ip", "SSM, ASR"),
    ("vpc-nacl-open-ingress", "CB, FP, SSM"),
    ("sg-default-rules", "FP, SV, SSM, ASR"),
    ("vpc-flow-logs", "CB, FP, PA, SV, CC, SSM, ASR"),
    ("s3-versioning", "CB, PA, CC, CN, SSM"),
    ("s3-encryption", "CB, PA, HM, SV, CC, CN, SSM"),
    ("s3-destructive-lifecycle", ""),
    ("s3-cross-account-policy", "SSM, ASR"),
    ("s3-public-object", ""),
    ("s3-foreign-replication", ""),
    ("s3-account-public-access", "PR, SSM, ASR"),
    ("ebs-public-snapshot", "PR, HM, CC, SSM, ASR, FP"),
    ("ebs-shared-snapshot", "SSM"),
    ("ami-public-image", "CB, PA, PR, HM, CC"),
    ("ami-shared-image", ""),
    ("ebs-default-encryption", "FP, PR, SSM, ASR"),
    ("ebs-snapshot-block-public-access", "PR"),
    ("ami-block-public-access", ""),
];

fn undo(meta: &Meta) -> &'static str {
    match (meta.safety, meta.reversible) {
        (Safety::ReportOnly, _) => "nothing to undo",
        (_, true) => "yes",
        (_, false) => "irreversible",
    }
}

fn kind(listen: &Listen) -> &'static str {
    match listen {
        Listen::ApiCall { .. } => "CloudTrail",
        Listen::GuardDuty { .. } => "GuardDuty",
        Listen::SecurityHub { .. } => "Security Hub",
        Listen::Config { .. } => "Config",
        Listen::AccessAnalyzer { .. } => "Access Analyzer",
        Listen::Health { .. } => "Health",
        Listen::SignIn { .. } => "sign-in",
        Listen::InstanceState { .. } => "EC2",
    }
}

fn codes(actions: &[&str]) -> String {
    let codes: Vec<String> = actions.iter().map(|action| format!("`{action}`")).collect();
    codes.join(", ")
}

#[test]
fn the_table_of_permissions_is_the_template_and_what_its_proof_found() {
    let template = Template::of_the_project().unwrap();
    let permissions = |function: &str, ceiling: &str| {
        granted(&template.role(function, &deployment(&template, ceiling)).unwrap())
    };
    let mut text = String::from(PERMISSIONS);
    for function in template.functions() {
        writeln!(text, "\n## {function}\n").unwrap();
        text.push_str(
            "| action | on | why | ceiling | without it fails |\n|---|---|---|---|---|\n",
        );
        let always = permissions(&function, "observe");
        let needed = needed(&function).unwrap_or_default();
        for permission in permissions(&function, "act") {
            let Permission { sid, action, .. } = &permission;
            let ceiling = if always.contains(&permission) { "any" } else { "`act`" };
            let is_lambdas = LAMBDAS_OWN.iter().any(|(own, ..)| own == action);
            let case = match needed.get(&format!("{sid} {action}")) {
                Some(case) => case.as_str(),
                None if is_lambdas => "(Lambda itself)",
                None => panic!("{function}: run least_privilege: what needs {sid} {action}?"),
            };
            let (on, why) = (resources(&permission), why(action).unwrap());
            writeln!(text, "| `{action}` | {on} | {why} | {ceiling} | {case} |").unwrap();
        }
    }
    text.push_str(
        "\n## What Lambda itself does with each role\n\n| action | why | page |\n|---|---|---|\n",
    );
    for (action, why, page) in LAMBDAS_OWN {
        writeln!(text, "| `{action}` | {why} | <{page}> |").unwrap();
    }
    text.push_str(
        "\n## What AWS allows on everything or not at all\n\n| action | page |\n|---|---|\n",
    );
    for action in ON_EVERYTHING {
        writeln!(text, "| `{action}` | <{}> |", facts(action).unwrap().page()).unwrap();
    }
    current("docs/permissions.md", &text);
}

const PERMISSIONS: &str = "\
# Permissions

Made from `template.yaml` and from the tests. Every function has a role of its own, in which no action has a wildcard.
The tests run the functions' programs against an emulated AWS behind a proxy that allows only what the role does; then
each action is taken away once, and the case in the last column fails. So are each single resource of a list and each
value of a condition. `tests/tests/least_privilege` has the cases, `shared/local/src/iam` what judges the calls.

Rows with the ceiling `act` are only there if the function's ceiling parameter says so: below it, nothing of a
customer's can be written. The messages' key is used by right of its own policy, which admits the roles for SNS alone.
";

/// Without what is the same everywhere.
fn resources(permission: &Permission) -> String {
    let here = format!(":{REGION}:{ACCOUNT}:");
    let short = |arn: &String| {
        let arn = arn.strip_prefix("arn:aws:").unwrap_or(arn).replace(&here, ":");
        format!("`{}`", arn.replace(&format!(":{REGION}::"), ":"))
    };
    let mut on = permission.resources.iter().map(short).collect::<Vec<_>>().join("<br>");
    for condition in &permission.conditions {
        write!(on, "<br>if `{}`", condition.replace(ACCOUNT, "this account")).unwrap();
    }
    on
}

fn runbook(meta: &Meta) -> String {
    let page = page(meta.source).unwrap();
    let (title, prose) = page.split_once('\n').unwrap();
    let list = |items: &[&str]| {
        items.iter().map(|item| format!("`{item}`")).collect::<Vec<_>>().join(", ")
    };
    let facts = [
        ("severity", format!("{:?}", meta.severity).to_lowercase()),
        ("fixed at once when enforced", safety(meta.safety).to_owned()),
        ("function", format!("`{}`", meta.function)),
        ("satisfies", list(meta.satisfies)),
        ("listens for", meta.listens.iter().map(listens).collect::<Vec<_>>().join("; ")),
        ("reads", list(meta.reads)),
        ("writes", list(meta.writes)),
        ("source", format!("[{0}](../../{0})", meta.source)),
    ];
    let mut runbook =
        format!("# {}: {}\n\n| | |\n|---|---|\n", meta.id, title.trim_end_matches('.'));
    for (name, value) in facts {
        writeln!(runbook, "| {name} | {value} |").unwrap();
    }
    writeln!(runbook, "\n{}", prose.trim()).unwrap();
    runbook
}

fn listens(listen: &Listen) -> String {
    match listen {
        Listen::ApiCall { source, calls, .. } => format!("calls of {source}: {}", calls.join(", ")),
        Listen::GuardDuty { types, min_severity } => {
            let types: Vec<_> = types.iter().map(|kind| kind.replace('*', "…")).collect();
            let least = if *min_severity > 0.0 {
                format!(" of severity {min_severity} and more")
            } else {
                String::new()
            };
            format!("GuardDuty findings{least}: {}", types.join(", "))
        }
        Listen::SecurityHub { generators, .. } => {
            let ids: Vec<_> = generators.iter().map(|end| end.trim_start_matches('/')).collect();
            format!("Security Hub: {}", ids.join(", "))
        }
        Listen::Config { rules, .. } => format!("Config rules: {}", rules.join(", ")),
        Listen::AccessAnalyzer { resource_type } => {
            format!("Access Analyzer: public {resource_type}")
        }
        Listen::SignIn { by } => format!("sign-ins to the console by {}", by.join(", ")),
        Listen::Health { codes } => format!("AWS Health: {}", codes.join(", ")),
        Listen::InstanceState { states } => format!("instances that are {}", states.join(", ")),
    }
}

fn safety(safety: Safety) -> &'static str {
    match safety {
        Safety::Safe => "yes",
        Safety::NeedsApproval => "if enforced by its name",
        Safety::ReportOnly => "never",
    }
}

fn current(path: &str, wanted: &str) {
    if env::var_os("UPDATE").is_some() {
        fs::create_dir_all(root(path).parent().unwrap()).unwrap();
        fs::write(root(path), wanted).unwrap();
    }
    let found = read(path).unwrap_or_default();
    assert_eq!(
        found, wanted,
        "{path} is stale: UPDATE=1 cargo nextest run --test generated writes it"
    );
}
