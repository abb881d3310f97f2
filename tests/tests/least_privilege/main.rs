//! Each function can do all that it has to with the role that the template gives it, and nothing can be taken away
//! from that role. `UPDATE=1 cargo nextest run --test least_privilege` notes which case needs which action.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and tells what it measured"
)]

mod cases;
mod scene;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
};

use quell_local::{
    Template,
    iam::{Access, Request, Role, facts},
};
use quell_tests::{
    permissions::{
        LAMBDAS_OWN, ON_EVERYTHING, Permission, Removed, WRITES_ON_EVERYTHING, What, deployment,
        granted, is_own, needed, needed_path, why,
    },
    root,
};

use cases::Case;
use scene::Stage;

/// One test for each function, so that each has an AWS of its own.
macro_rules! functions {
    ($($test:ident = $function:literal),+ $(,)?) => {
        mod nothing_can_be_taken_away {
            $( #[tokio::test] async fn $test() {
                // Boxed: it does so much that it would not fit a test's stack.
                Box::pin(super::nothing_can_be_taken_away_from($function)).await
            } )+
        }
        const PROVEN: &[&str] = &[$($function),+];
    };
}

functions!(
    s3_exposure = "s3-exposure",
    ec2_metadata = "ec2-metadata",
    image_exposure = "image-exposure",
    network_exposure = "network-exposure",
    ec2_quarantine = "ec2-quarantine",
    operator = "operator",
    audit_trail = "audit-trail",
    iam_credentials = "iam-credentials",
    iam_privilege = "iam-privilege",
    security_hub = "security-hub",
    slack_actions = "slack-actions",
    slack = "slack",
);

#[test]
fn every_function_of_the_template_is_proven() {
    let functions = template().functions();
    assert_eq!(
        functions.iter().map(String::as_str).collect::<BTreeSet<_>>(),
        PROVEN.iter().copied().collect::<BTreeSet<_>>()
    );
}

#[test]
fn no_action_has_a_wildcard() {
    for_every_permission("act", |function, permission| {
        let action = &permission.action;
        assert!(!action.contains(['*', '?']), "{function}: {action}");
        assert!(facts(action).is_some(), "{function}: {action} is not in iam/actions.rs");
    });
}

#[test]
fn only_what_aws_cannot_scope_is_allowed_on_everything() {
    let mut used = BTreeSet::new();
    for_every_permission("act", |function, Permission { action, resources, .. }| {
        if !resources.iter().any(|resource| resource == "*") {
            return;
        }
        let facts = facts(action).unwrap();
        assert!(!facts.has_resources, "{function}: {action} can be scoped: {}", facts.page());
        if !is_lambdas_own(action) {
            let is_read = matches!(facts.access, Access::Read | Access::List);
            let is_named = WRITES_ON_EVERYTHING.contains(&action.as_str());
            assert!(is_read || is_named, "{function}: {action}");
            assert!(ON_EVERYTHING.contains(&action.as_str()), "{function}: {action} is not named");
            used.insert(action.clone());
        }
    });
    assert_eq!(used.iter().map(String::as_str).collect::<Vec<_>>(), ON_EVERYTHING);
}

#[test]
fn below_the_ceiling_act_nothing_of_a_customer_can_be_written() {
    let mut acting = BTreeSet::new();
    let writes = |Permission { action, resources, .. }: &Permission| {
        // What is said of a finding changes no resource.
        let is_write = facts(action).unwrap().access.is_write()
            && !is_lambdas_own(action)
            && !action.starts_with("securityhub:");
        is_write && !resources.iter().all(|resource| is_own(resource, "quell"))
    };
    for_every_permission("observe", |function, permission| {
        assert!(!writes(permission), "{function}: {permission:?}");
    });
    for_every_permission("act", |function, permission| {
        if writes(permission) {
            acting.insert(function.to_owned());
        }
    });
    // What the ceiling is for: else this test would see nothing.
    assert!(acting.len() >= 4, "{acting:?}");
}

#[test]
fn every_action_has_a_reason() {
    for_every_permission("act", |function, permission| {
        assert!(why(&permission.action).is_some(), "{function}: why {}?", permission.action);
    });
}

/// Plays all cases of a function with its role: every call is allowed. Without each action, each resource and each value
/// of a condition AWS would refuse a call of the case that is known to fail then. That it does fail is played where
/// `PLAY_REMOVALS` (`./check permissions`) or `UPDATE` asks for it: each removal is a case played anew.
async fn nothing_can_be_taken_away_from(function: &'static str) {
    let stage = Stage::set().await;
    let cases = cases::of(function);
    let played = everything_is_allowed(&stage, function, &cases).await;
    let permissions = permissions(function, "act");
    let removals = removals(function, &permissions);

    let known = needed(function).unwrap_or_default();
    let is_played = ["PLAY_REMOVALS", "UPDATE"].iter().any(|name| env::var_os(name).is_some());
    let (mut caught, mut missed) = (BTreeMap::new(), Vec::new());
    for removed in &removals {
        let known = known.get(&removed.to_string());
        let mut users: Vec<_> =
            (0..cases.len()).filter(|case| played[*case].is_refused_without(removed)).collect();
        users.sort_by_key(|user| known != Some(&cases[*user].name));
        let case = match is_played {
            true => failing(&stage, &cases, users, removed).await,
            false => users.first().map(|user| &cases[*user]),
        };
        match case {
            Some(case) => drop(caught.insert(removed.to_string(), case.name.clone())),
            None => missed.push(removed.to_string()),
        }
    }
    println!("{function}: {} parts removed, {} caught", removals.len(), caught.len());
    assert!(missed.is_empty(), "{function} does without: {missed:?}");
    noted(function, &caught);
}

/// What a function called in a case, and the role it had.
struct Played {
    role: Role,
    asked: Vec<Request>,
}

impl Played {
    fn is_refused_without(&self, removed: &Removed) -> bool {
        let role = removed.from(&self.role);
        self.asked.iter().any(|request| role.judge(request).is_err())
    }
}

async fn everything_is_allowed(stage: &Stage, function: &str, cases: &[Case]) -> Vec<Played> {
    let mut all = Vec::new();
    for case in cases {
        let scene = stage.scene(None).await;
        let played = case.play(&scene, &stage.proxy).await;
        // Of whatever function the case needs.
        for call in stage.proxy.log() {
            let refused = call.refused.as_ref().map(ToString::to_string);
            assert_eq!(refused, None, "{}: {} {}", case.name, call.service, call.operation);
        }
        played.unwrap_or_else(|failed| panic!("{}: {failed}", case.name));
        let asked = stage.calls(&scene, function).into_iter().filter_map(|call| call.asked);
        all.push(Played { role: stage.role(function, &scene.stack), asked: asked.collect() });
    }
    all
}

/// The first of these cases that fails without it, because AWS refuses a call.
async fn failing<'a>(
    stage: &Stage,
    cases: &'a [Case],
    users: Vec<usize>,
    removed: &Removed,
) -> Option<&'a Case> {
    for user in users {
        let scene = stage.scene(Some(removed)).await;
        let played = cases[user].play(&scene, &stage.proxy).await;
        let is_refused = |what: &What| match what {
            What::Action(action) => stage.calls(&scene, &removed.function).iter().any(|call| {
                call.refused.as_ref().and_then(|refused| refused.action()) == Some(action)
            }),
            _ => stage.calls(&scene, &removed.function).iter().any(|call| call.refused.is_some()),
        };
        if played.is_err() {
            assert!(
                is_refused(&removed.what),
                "{}: it failed by itself: {played:?}",
                cases[user].name
            );
            return Some(&cases[user]);
        }
    }
    None
}

/// Every action, then resources and values of conditions of statements that have several.
fn removals(function: &str, permissions: &[Permission]) -> Vec<Removed> {
    let permissions = permissions.iter().filter(|one| !is_lambdas_own(&one.action));
    let mut removals = Vec::new();
    let mut statements: BTreeMap<&str, &Permission> = BTreeMap::new();
    let mut add = |sid: &str, what: What| {
        removals.push(Removed { function: function.to_owned(), sid: sid.to_owned(), what });
    };
    for permission in permissions {
        add(&permission.sid, What::Action(permission.action.clone()));
        statements.insert(&permission.sid, permission);
    }
    for (sid, permission) in statements {
        if permission.resources.len() > 1 {
            (0..permission.resources.len()).for_each(|place| add(sid, What::Resource(place)));
        }
        for condition in &permission.conditions {
            let (key, values) = condition.split_once(": ").unwrap();
            let values: Vec<&str> = values.split(", ").collect();
            if values.len() > 1 {
                for value in values {
                    add(sid, What::Value { key: key.to_owned(), value: value.to_owned() });
                }
            }
        }
    }
    removals
}

/// What `docs/permissions.md` is made of is what was found.
fn noted(function: &str, caught: &BTreeMap<String, String>) {
    let path = root(&needed_path(function));
    if env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("{}\n", serde_json::to_string_pretty(caught).unwrap())).unwrap();
    }
    let hint = format!("{} is stale: UPDATE=1 writes it", needed_path(function));
    assert_eq!(&needed(function).unwrap_or_default(), caught, "{hint}");
}

fn is_lambdas_own(action: &str) -> bool {
    LAMBDAS_OWN.iter().any(|(own, ..)| *own == action)
}

fn for_every_permission(ceiling: &str, mut look: impl FnMut(&str, &Permission)) {
    for function in template().functions() {
        permissions(&function, ceiling).iter().for_each(|permission| look(&function, permission));
    }
}

fn permissions(function: &str, ceiling: &str) -> Vec<Permission> {
    let template = template();
    granted(&template.role(function, &deployment(&template, ceiling)).unwrap())
}

fn template() -> Template {
    Template::of_the_project().unwrap()
}
