//! What the functions do for people, one case each.

use std::{collections::BTreeSet, fs, time::Duration};

use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use jiff::{SignedDuration, Timestamp};
use quell_controls::REGISTRY;
use quell_engine::{
    Safety, Severity,
    ledger::{Due, Exemption, Status, Verb},
    notify::fold,
    policy::{Digest, Mode, Notify, Policy, Route, Scope},
};
use quell_local::{
    cloud::{ACCOUNT, REGION},
    proxy::{Calls, Fault, Proxy},
    scenario::{self, Staged},
    stack::ROUTED,
};
use quell_slack::Action;
use quell_tests::{
    buttons::{ALICE, BOB, button},
    desk::{arn, people, sent},
    findings, root,
};
use serde_json::{Value, json};

use crate::scene::{Failed, Scene, check};

/// A case by its name, which is a sentence.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    play: Play,
}

#[derive(Clone, Copy, Debug)]
enum Play {
    Control(&'static str, OfControl),
    Operator(OfOperator),
    SecurityHub(OfSecurityHub),
    Pressed,
    Slack,
}

#[derive(Clone, Copy, Debug)]
enum OfControl {
    Fixed,
    Suspended,
    Observed,
    Undone,
    Approved,
    Exempt,
    Tagged,
    Parked,
    Recovered,
    Gone,
    Samples,
    Counted,
    Emptied,
    Routed,
    Swept,
    Kept,
    Used,
    ToBucket,
    Without,
    OfRole,
    Quarantined,
    OfGroup,
    OfOidc,
}

#[derive(Clone, Copy, Debug)]
enum OfOperator {
    Halts,
    Exempts,
    Denies,
    Approves,
    Undoes,
    TakesBack,
    Resumes,
    Recovers,
    Heeds,
    Asks,
    GivesUp,
    Reminds,
    Ceilings,
    Bulletins,
    Routes,
}

/// What came of a finding, or of something that Security Hub did not know.
#[derive(Clone, Copy, Debug)]
enum OfSecurityHub {
    Observed,
    Fixed,
    Undone,
    Denied,
    Imported,
    Counted,
}

/// The cases of a function, the quickest first.
pub(crate) fn of(function: &str) -> Vec<Case> {
    if function == "operator" {
        use OfOperator::{
            Approves, Asks, Bulletins, Ceilings, Denies, Exempts, GivesUp, Halts, Heeds, Recovers,
            Reminds, Resumes, Routes, TakesBack, Undoes,
        };
        return [
            (Ceilings, "the ceilings are asked for"),
            (Halts, "everything is halted and continued"),
            (Exempts, "a resource is exempted by its name, and the exemption is taken back"),
            (Reminds, "people hear of an exemption that is about to end"),
            (Bulletins, "what was counted is told in a bulletin"),
            (Denies, "a plan is denied"),
            (Approves, "a plan is approved"),
            (Undoes, "a fix is undone"),
            (TakesBack, "an undo that would overwrite what came since is taken back"),
            (Asks, "each function is asked for a resource that is not there"),
            (GivesUp, "recovery parks what nobody approved in time, and tells"),
            (Routes, "what nobody approved in time is told where the policy routes it"),
            (Resumes, "all that is parked is resumed"),
            (Recovers, "recovery hints at what was left unfinished"),
            (Heeds, "recovery has an order heeded of which the word was lost"),
        ]
        .map(|(play, name)| Case { name: name.to_owned(), play: Play::Operator(play) })
        .into_iter()
        .chain([pressed()])
        .collect();
    }
    if function == "slack-actions" {
        return vec![pressed()];
    }
    if function == "slack" {
        let name = "a record is told, and told once more when it has moved on".to_owned();
        return vec![Case { name, play: Play::Slack }];
    }
    if function == "security-hub" {
        use OfSecurityHub::{Counted, Denied, Fixed, Imported, Observed, Undone};
        return [
            (Observed, "a finding that Quell only looked at is marked as told"),
            (Fixed, "a finding that Quell fixed is resolved"),
            (Undone, "a finding is new again once its fix is undone"),
            (Denied, "a finding that a person wants left as it is is suppressed"),
            (Imported, "what Quell heard of elsewhere is imported"),
            (Counted, "a finding whose message was only counted hears of it with the bulletin"),
        ]
        .map(|(play, name)| Case { name: name.to_owned(), play: Play::SecurityHub(play) })
        .into();
    }
    use OfControl::{
        Approved, Counted, Emptied, Exempt, Fixed, Gone, Kept, Observed, OfGroup, OfOidc, OfRole,
        Parked, Quarantined, Recovered, Routed, Samples, Suspended, Swept, Tagged, ToBucket,
        Undone, Used, Without,
    };
    let mut cases = Vec::new();
    let mut swept = REGISTRY.iter().filter(|meta| !meta.discovers.is_empty());
    if let Some(meta) = swept.find(|meta| meta.function == function) {
        let name = "a sweep looks at everything there is".to_owned();
        cases.push(Case { name, play: Play::Control(meta.id, Swept) });
    }
    // Who hears of it is no matter of the control.
    if let Some(meta) = REGISTRY.iter().find(|meta| meta.function == function) {
        let name = format!("{} is told where the policy routes it", meta.id);
        cases.push(Case { name, play: Play::Control(meta.id, Routed) });
    }
    for meta in REGISTRY.iter().filter(|meta| meta.function == function) {
        for (play, name) in [
            (Observed, "is observed"),
            (Fixed, "is fixed"),
            (Undone, "is undone"),
            (Exempt, "is exempt"),
            (Tagged, "is fixed because of a tag that the policy asks for"),
            (Approved, "is fixed once it is approved"),
            (Parked, "is parked over its budget, and resumed"),
            (Recovered, "is finished after a death in the middle"),
            (Gone, "is gone"),
            (Samples, "hears every sample event"),
        ] {
            let only_tells = meta.safety == Safety::ReportOnly;
            // What is deleted has no tags, and is always gone.
            if meta.id == "vpc-flow-logs" && matches!(play, Tagged)
                || meta.id == "cloudtrail-deleted" && matches!(play, Tagged | Gone)
            {
                continue;
            }
            // There is one of it, which is always there and has no tags.
            let is_setting = scenario::SETTINGS.contains(&meta.id);
            if only_tells && !matches!(play, Observed | Samples)
                || !meta.reversible && matches!(play, Undone)
                || is_setting && matches!(play, Tagged | Parked | Gone)
            {
                continue;
            }
            let name = format!("{} {name}", meta.id);
            cases.push(Case { name, play: Play::Control(meta.id, play) });
        }
        for (control, play, name) in [
            ("cloudtrail-event-selectors", Kept, "is kept as a sweep sees it"),
            ("cloudtrail-deleted", Kept, "is kept as a sweep sees it"),
            ("cloudtrail-weakened", Kept, "is kept as a sweep sees it"),
            ("config-recorder", Kept, "is kept as a sweep sees it"),
            ("guardduty-detector", Kept, "is kept as a sweep sees it"),
            ("guardduty-detector", Suspended, "enables what was suspended"),
            ("ebs-snapshot-block-public-access", Kept, "is kept as a sweep sees it"),
            ("ec2-imdsv2", Counted, "says how often IMDSv1 was used"),
            ("iam-exposed-key", Quarantined, "deactivates every key of a user in AWS's quarantine"),
            ("iam-admin-policy", OfGroup, "is fixed and undone for a group"),
            ("iam-admin-policy", OfRole, "is fixed and undone for a role"),
            ("iam-identity-provider", OfOidc, "tells of a provider of OpenID Connect"),
            ("iam-permissions-boundary", Kept, "is kept as a sweep sees it"),
            ("iam-permissions-boundary", OfRole, "is fixed and undone for a user"),
            ("iam-password-policy", Without, "is made where there was none, and undone"),
            ("iam-quarantine", OfRole, "is fixed and undone for a role"),
            ("s3-public-policy", Emptied, "deletes a policy of which nothing is left"),
            ("sg-default-rules", Used, "says what uses the group"),
            ("vpc-flow-logs", ToBucket, "has a flow log deliver to a bucket again"),
        ] {
            if meta.id == control {
                let name = format!("{control} {name}");
                cases.push(Case { name, play: Play::Control(meta.id, play) });
            }
        }
    }
    cases
}

/// What takes `slack-actions` and the operator.
fn pressed() -> Case {
    let name = "a button in Slack that is refused to one is pressed by another";
    Case { name: name.to_owned(), play: Play::Pressed }
}

impl Case {
    /// Plays it; what it was to show did not come about: an error.
    pub(crate) async fn play(&self, scene: &Scene, proxy: &Proxy) -> Result<(), Failed> {
        match self.play {
            Play::Control(control, OfControl::Recovered) => recovered(scene, control, proxy).await,
            Play::Control(control, play) => of_control(scene, control, play).await,
            Play::Operator(play) => of_operator(scene, play).await,
            Play::SecurityHub(play) => Box::pin(of_security_hub(scene, play)).await,
            Play::Pressed => pressed_in_slack(scene).await,
            Play::Slack => of_slack(scene).await,
        }
    }
}

async fn of_control(scene: &Scene, control: &'static str, play: OfControl) -> Result<(), Failed> {
    publish(scene, people(Mode::Enforce)).await;
    match play {
        OfControl::Fixed => {
            let staged = scene.stage(control).await;
            scene.comes_to(&staged, "fixed").await?;
            is_right(scene, &staged).await?;
            let told = scene.told(&staged).await;
            check(told == ["fixed"], || format!("people were told {told:?}"))
        }
        OfControl::Observed => {
            publish(scene, people(Mode::Observe)).await;
            let staged = scene.stage(control).await;
            scene.comes_to(&staged, "observed").await?;
            let told = scene.told(&staged).await;
            check(told == ["observed"], || format!("people were told {told:?}"))?;
            let later = Timestamp::now() + SignedDuration::from_hours(1);
            let due = scene.ledger.due(later, 10).await.unwrap();
            let is_counted = due.iter().any(|due| matches!(due, Due::Counts(_)));
            check(is_counted, || format!("the message was not counted: {due:?}"))
        }
        OfControl::Routed => {
            let topic = routed(scene, people(Mode::Observe)).await;
            let staged = scene.stage(control).await;
            scene.comes_to(&staged, "observed").await?;
            is_told_at(scene, &topic, &staged, 1).await
        }
        OfControl::Undone => {
            let staged = scene.stage(control).await;
            let before = scenario::snapshot(&scene.cloud, &staged).await.unwrap();
            let record = scene.comes_to(&staged, "fixed").await?;
            let report = scene.order_and_hint(&record, Verb::Undo, None).await?;
            check(report["outcome"] == "undone", || format!("not undone: {report}"))?;
            let after = scenario::snapshot(&scene.cloud, &staged).await.unwrap();
            check(before == after, || format!("{before} became {after}"))
        }
        OfControl::Approved => {
            publish(scene, people(Mode::Approve)).await;
            let staged = scene.stage(control).await;
            let record = scene.comes_to(&staged, "pending").await?;
            let plan = Some(record.intent.plan_hash.as_str());
            let report = scene.order_and_hint(&record, Verb::Approve, plan).await?;
            check(report["outcome"] == "fixed", || format!("not fixed: {report}"))?;
            is_right(scene, &staged).await
        }
        OfControl::Exempt => {
            let staged = scene.stage(control).await;
            let wanted = json!({
                "source": "quell.operator", "id": "1",
                "detail": {
                    "identify": {"control": control, "resource": staged.resource},
                    "account": ACCOUNT, "region": REGION,
                },
            });
            let attempt = scene.function(control).invoke(wanted.to_string()).await.unwrap();
            let quell_local::Answer::Response(response) = attempt.answer else {
                return Err(format!("not identified: {:?}", attempt.answer.error_message()));
            };
            let found = &response["identified"];
            let text = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
            let exemption = Exemption {
                arn: text("arn"),
                resource: text("resource"),
                unique_id: text("unique_id"),
                severity: REGISTRY.iter().find(|meta| meta.id == control).unwrap().severity,
                ..exemption(control, &text("arn"), SignedDuration::from_hours(48))
            };
            scene.ledger.grant(&exemption).await.unwrap();
            scene.comes_to(&staged, "exempt").await.map(drop)
        }
        OfControl::Tagged => {
            let staged = scene.stage(control).await;
            tag(scene, &staged).await;
            publish(scene, where_tagged(control)).await;
            scene.comes_to(&staged, "fixed").await?;
            is_right(scene, &staged).await
        }
        OfControl::Parked => {
            let mut policy = people(Mode::Enforce);
            policy.budgets.critical.control = 1;
            policy.budgets.routine.control = 1;
            publish(scene, policy).await;
            let first = scene.stage_as(control, &format!("{}a", scene.name)).await;
            let second = scene.stage_as(control, &format!("{}b", scene.name)).await;
            scene.comes_to(&first, "fixed").await?;
            let record = scene.comes_to(&second, "parked").await?;
            let report = scene.order_and_hint(&record, Verb::Resume, None).await?;
            check(report["outcome"] == "fixed", || format!("not resumed: {report}"))?;
            is_right(scene, &second).await
        }
        OfControl::Gone => {
            let resource = nothing(control);
            let event = json!({
                "source": "quell.manual", "id": scene.name,
                "detail": {
                    "control": control, "resource": resource, "account": ACCOUNT, "region": REGION,
                },
            });
            let report = scene.deliver(control, &event).await?;
            check(report["outcome"] == "gone", || format!("not gone: {report}"))
        }
        OfControl::Samples => {
            let staged = scene.stage(control).await;
            for file in fs::read_dir(root(&format!("events/{control}"))).unwrap() {
                let sample = fs::read_to_string(file.unwrap().path()).unwrap();
                let event = staged.about_it(&sample).unwrap();
                // What comes of each is told elsewhere; here it must only be allowed.
                scene.function(control).invoke(event).await.unwrap();
            }
            Ok(())
        }
        OfControl::Counted => {
            let staged = scene.stage(control).await;
            used_without_token(scene, &staged.resource, 7).await;
            let report = scene.deliver(control, &staged.event).await?;
            let note = "IMDSv1 calls in the last 14 days: 7";
            let notes = report["notes"].as_array().cloned().unwrap_or_default();
            check(notes.iter().any(|said| said == note), || format!("it says {notes:?}"))
        }
        OfControl::Emptied => {
            let staged = scene.stage(control).await;
            let bucket = staged.resource.as_str();
            let public = json!({"Version": "2012-10-17", "Statement": {
                "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
                "Resource": format!("arn:aws:s3:::{bucket}/*"),
            }});
            let put = scene.cloud.s3.put_bucket_policy().bucket(bucket);
            put.policy(public.to_string()).send().await.unwrap();
            scene.comes_to(&staged, "fixed").await?;
            let left = scene.cloud.s3.get_bucket_policy().bucket(bucket).send().await;
            check(left.is_err(), || format!("a policy is left: {left:?}"))
        }
        OfControl::Swept => {
            publish(scene, people(Mode::Observe)).await;
            scene.stage(control).await;
            swept(scene, control).await
        }
        OfControl::Kept => {
            let staged = scene.stage(control).await;
            scene.comes_to(&staged, "fixed").await?;
            swept(scene, control).await
        }
        OfControl::Suspended => {
            let staged = scenario::stage_suspended_detector(&scene.cloud).await.unwrap();
            scene.comes_to(&staged, "fixed").await?;
            is_right(scene, &staged).await
        }
        OfControl::ToBucket => {
            let staged = scenario::stage_flow_log_to_bucket(&scene.cloud, &scene.name).await;
            let staged = staged.unwrap();
            scenario::remember(&scene.cloud, &scene.ledger, &staged).await.unwrap();
            scene.comes_to(&staged, "fixed").await?;
            is_right(scene, &staged).await
        }
        OfControl::Quarantined => {
            let staged = scene.stage(control).await;
            let before = scenario::snapshot(&scene.cloud, &staged).await.unwrap();
            let attach = scene.cloud.iam.attach_user_policy();
            let attach = attach.user_name(before["user"].as_str().unwrap());
            let quarantine = "arn:aws:iam::aws:policy/AWSCompromisedKeyQuarantineV3";
            attach.policy_arn(quarantine).send().await.unwrap();
            let sample = root("events/iam-exposed-key/quarantined.json");
            let event = staged.about_it(&fs::read_to_string(sample).unwrap()).unwrap();
            scene.function(control).invoke(event).await.unwrap();
            let after = scenario::snapshot(&scene.cloud, &staged).await.unwrap();
            let keys = after["keys"].as_object().unwrap();
            let is_over = keys.len() == 2 && keys.values().all(|status| status == "Inactive");
            check(is_over, || format!("not all are inactive: {after}"))
        }
        OfControl::OfRole | OfControl::OfGroup => {
            let staged = match play {
                OfControl::OfRole if control == "iam-permissions-boundary" => {
                    scenario::stage_unbounded_user(&scene.cloud, &scene.name).await
                }
                OfControl::OfRole if control == "iam-quarantine" => {
                    scenario::stage_suspected_role(&scene.cloud, &scene.name).await
                }
                OfControl::OfRole => {
                    scenario::stage_administrative_role(&scene.cloud, &scene.name).await
                }
                _ => scenario::stage_administrative_group(&scene.cloud, &scene.name).await,
            };
            let staged = staged.unwrap();
            scenario::remember(&scene.cloud, &scene.ledger, &staged).await.unwrap();
            if let OfControl::OfRole = play {
                tag(scene, &staged).await;
                publish(scene, where_tagged(control)).await;
            }
            let record = scene.comes_to(&staged, "fixed").await?;
            is_right(scene, &staged).await?;
            let report = scene.order_and_hint(&record, Verb::Undo, None).await?;
            check(report["outcome"] == "undone", || format!("not undone: {report}"))
        }
        OfControl::OfOidc => {
            let staged = scenario::stage_oidc_provider(&scene.cloud, &scene.name).await.unwrap();
            scene.comes_to(&staged, "observed").await.map(drop)
        }
        OfControl::Without => {
            let staged = scene.stage(control).await;
            scenario::delete_password_policy(&scene.cloud).await.unwrap();
            let record = scene.comes_to(&staged, "fixed").await?;
            is_right(scene, &staged).await?;
            let report = scene.order_and_hint(&record, Verb::Undo, None).await?;
            check(report["outcome"] == "undone", || format!("not undone: {report}"))
        }
        OfControl::Used => {
            let staged = scene.stage(control).await;
            let report = scene.deliver(control, &staged.event).await?;
            let notes = report["notes"].as_array().cloned().unwrap_or_default();
            let says = |said: &Value| {
                said.as_str()
                    .is_some_and(|said| said.starts_with("Network interfaces that use it: 1 (eni-"))
            };
            check(notes.iter().any(says), || format!("it says {notes:?}"))
        }
        OfControl::Recovered => unreachable!("it needs the proxy"),
    }
}

/// A sweep, run by run.
async fn swept(scene: &Scene, control: &'static str) -> Result<(), Failed> {
    let event = json!({
        "version": "0", "id": scene.name, "source": "aws.events",
        "detail-type": "Scheduled Event", "account": ACCOUNT, "region": REGION,
        "time": "2026-03-01T02:03:04Z",
        "resources": [format!("arn:aws:events:{REGION}:{ACCOUNT}:rule/quell-Sweep")],
        "detail": {},
    });
    // What other scenes left lies about too: it may need more than one run for all of it.
    for _ in 0..10 {
        let attempt = scene.function(control).invoke(event.to_string()).await.unwrap();
        let quell_local::Answer::Response(response) = attempt.answer else {
            return Err(format!("the sweep failed: {:?}", attempt.answer.error_message()));
        };
        if response["swept"]["finished"] == true {
            let found = &response["swept"]["found"][control]["resources"];
            return check(found.as_u64() > Some(0), || format!("nothing: {response}"));
        }
    }
    Err("it comes to no end".to_owned())
}

/// The function dies right after its first write; a hint to its record has the rest done.
async fn recovered(scene: &Scene, control: &'static str, proxy: &Proxy) -> Result<(), Failed> {
    publish(scene, people(Mode::Enforce)).await;
    let staged = scene.stage(control).await;
    let first_write = Calls::any().service(service(control)).writes().once();
    let rule = proxy.fault(first_write, Fault::KillAfter);
    let died = scene.deliver(control, &staged.event).await;
    proxy.remove(&rule);
    check(died.is_err(), || format!("it did not die: {died:?}"))?;
    let records = scene.ledger.newest(control, None, 10).await.unwrap();
    let record = records.first().ok_or("there is no record")?;
    scene.lease_ends(record).await;
    let report = scene.hint(record).await?;
    check(report["outcome"] == "fixed", || format!("not finished: {report}"))?;
    is_right(scene, &staged).await
}

async fn of_operator(scene: &Scene, play: OfOperator) -> Result<(), Failed> {
    const CONTROL: &str = "s3-public-acl";
    publish(scene, people(Mode::Approve)).await;
    match play {
        OfOperator::Ceilings => {
            let body = scene.order(json!({"verb": "ceilings"}), 200).await?;
            check(body["ceilings"]["s3-exposure"] == "act", || body.to_string())
        }
        OfOperator::Halts => {
            scene.order(json!({"verb": "halt", "reason": "it fights"}), 200).await?;
            check(scene.ledger.halted().await.unwrap().is_some(), || "not halted".to_owned())?;
            scene.order(json!({"verb": "continue"}), 200).await?;
            check(scene.ledger.halted().await.unwrap().is_none(), || "still halted".to_owned())
        }
        OfOperator::Exempts => {
            let staged = scene.stage(CONTROL).await;
            let exempt = json!({
                "verb": "exempt", "control": CONTROL, "resource": staged.resource,
                "reason": "press kit", "days": 30,
            });
            scene.order(exempt, 200).await?;
            let given = scene.ledger.exemptions().await.unwrap();
            check(given.len() == 1, || format!("{given:?}"))?;
            let revoke = json!({"verb": "revoke", "control": CONTROL, "resource": staged.resource});
            scene.order(revoke, 200).await?;
            check(scene.ledger.exemptions().await.unwrap().is_empty(), || "kept".to_owned())
        }
        OfOperator::Reminds => {
            let arn = "arn:aws:s3:::ends-soon";
            let soon = Exemption {
                granted: Timestamp::now() - SignedDuration::from_hours(20 * 24),
                ..exemption(CONTROL, arn, SignedDuration::from_hours(48))
            };
            scene.ledger.grant(&soon).await.unwrap();
            let response = scene.recover().await?;
            check(response["reminded"] == json!([arn]), || response.to_string())?;
            let again = scene.recover().await?;
            check(again["reminded"] == json!([]), || again.to_string())
        }
        OfOperator::Bulletins => {
            publish(scene, people(Mode::Observe)).await;
            let mut counted = None;
            for twin in ["a", "b"] {
                let staged = scene.stage_as(CONTROL, &format!("{}{twin}", scene.name)).await;
                counted = Some(scene.comes_to(&staged, "observed").await?);
            }
            let Some(record) = counted else { return Err("nothing was staged".to_owned()) };
            // The same in a window that is over.
            let then = Timestamp::now() - SignedDuration::from_hours(2);
            let meta = REGISTRY.iter().find(|meta| meta.id == CONTROL).unwrap();
            let tally = fold::tally(meta, &record, &Notify::DEFAULT, then).unwrap();
            for _ in 0..3 {
                scene.ledger.count(&tally).await.unwrap();
            }
            scene.recover().await?;
            let bulletins = |messages: Vec<quell_local::stack::Message>| {
                let bodies =
                    messages.iter().map(|one| serde_json::from_str::<Value>(&one.body).unwrap());
                // All scenes have this topic.
                bodies
                    .filter(|body| body["lines"][0]["example"] == record.intent.resource.as_str())
                    .collect::<Vec<_>>()
            };
            let told = bulletins(scene.stack.messages().await.unwrap());
            check(told.len() == 1 && told[0]["total"] == 2, || format!("{told:?}"))?;
            scene.recover().await?;
            let again = bulletins(scene.stack.messages().await.unwrap());
            check(again.is_empty(), || format!("told once more: {again:?}"))?;
            let due = scene.ledger.due(Timestamp::now(), 10).await.unwrap();
            check(due.is_empty(), || format!("left: {due:?}"))
        }
        OfOperator::Routes => {
            let mut policy = people(Mode::Approve);
            policy.approvals.expire_hours = 0;
            let topic = routed(scene, policy).await;
            let staged = scene.stage(CONTROL).await;
            scene.comes_to(&staged, "pending").await?;
            scene.recover().await?;
            is_told_at(scene, &topic, &staged, 2).await
        }
        OfOperator::Denies => {
            let staged = scene.stage(CONTROL).await;
            let record = scene.comes_to(&staged, "pending").await?;
            scene.order(json!({"verb": "deny", "record": record.id, "reason": "no"}), 200).await?;
            let denied = scene.record(&record.id).await?;
            check(denied.status == Status::Denied, || format!("{:?}", denied.status))
        }
        OfOperator::Approves => {
            let staged = scene.stage(CONTROL).await;
            let record = scene.comes_to(&staged, "pending").await?;
            let plan = &record.intent.plan_hash;
            let approve = json!({"verb": "approve", "record": record.id, "plan": plan});
            scene.order(approve, 202).await?;
            rests(scene, &record.id, Status::Fixed).await
        }
        OfOperator::Undoes => {
            publish(scene, people(Mode::Enforce)).await;
            let staged = scene.stage(CONTROL).await;
            let record = scene.comes_to(&staged, "fixed").await?;
            scene.order(json!({"verb": "undo", "record": record.id}), 200).await?;
            rests(scene, &record.id, Status::Undone).await
        }
        OfOperator::TakesBack => {
            publish(scene, people(Mode::Enforce)).await;
            let staged = scene.stage(CONTROL).await;
            let record = scene.comes_to(&staged, "fixed").await?;
            let acl = aws_sdk_s3::types::BucketCannedAcl::AuthenticatedRead;
            let put = scene.cloud.s3.put_bucket_acl().bucket(&staged.resource);
            put.acl(acl).send().await.unwrap();
            scene.order(json!({"verb": "undo", "record": record.id}), 409).await?;
            let order = scene.ledger.ordered(&record.id, Verb::Undo).await.unwrap();
            check(order.is_none(), || format!("{order:?} is left"))?;
            let left = scene.ledger.exemptions().await.unwrap();
            check(left.is_empty(), || format!("{left:?} is left"))
        }
        OfOperator::Asks => {
            let mut asked = BTreeSet::new();
            for meta in REGISTRY.iter().filter(|meta| asked.insert(meta.function)) {
                let exempt = json!({
                    "verb": "exempt", "control": meta.id, "resource": nothing(meta.id),
                    "reason": "later", "days": 1,
                });
                scene.order(exempt, 404).await?;
            }
            Ok(())
        }
        OfOperator::GivesUp => {
            let (staged, record) = unanswered(scene, CONTROL).await?;
            let response = scene.recover().await?;
            check(response["parked"] == json!([record]), || response.to_string())?;
            let told = scene.told(&staged).await;
            check(told == ["pending", "parked"], || format!("people were told {told:?}"))
        }
        OfOperator::Resumes => {
            let (staged, record) = unanswered(scene, CONTROL).await?;
            scene.recover().await?;
            publish(scene, people(Mode::Enforce)).await;
            let resume = json!({"verb": "resume", "all": true, "control": CONTROL});
            let body = scene.order(resume, 202).await?;
            check(body["resumed"] == json!([record]), || body.to_string())?;
            becomes_right(scene, &staged).await
        }
        OfOperator::Heeds => {
            let staged = scene.stage(CONTROL).await;
            let record = scene.comes_to(&staged, "pending").await?;
            let plan = Some(record.intent.plan_hash.as_str());
            scene.order_at(&record, Verb::Approve, plan, SignedDuration::from_hours(1)).await;
            let response = scene.recover().await?;
            check(response["hinted"] == json!([record.id]), || response.to_string())?;
            rests(scene, &record.id, Status::Fixed).await
        }
        OfOperator::Recovers => {
            let staged = scene.stage(CONTROL).await;
            let record = scene.comes_to(&staged, "pending").await?;
            overdue(scene, &record.id).await;
            let response = scene.recover().await?;
            check(response["hinted"] == json!([record.id]), || response.to_string())
        }
    }
}

async fn of_security_hub(scene: &Scene, play: OfSecurityHub) -> Result<(), Failed> {
    const CONTROL: &str = "s3-public-acl";
    let mode = match play {
        OfSecurityHub::Observed => Mode::Observe,
        OfSecurityHub::Denied => Mode::Approve,
        OfSecurityHub::Fixed
        | OfSecurityHub::Undone
        | OfSecurityHub::Imported
        | OfSecurityHub::Counted => Mode::Enforce,
    };
    let mut policy = people(mode);
    if matches!(play, OfSecurityHub::Counted) {
        policy.notify.digest = Some(Digest::Hourly);
        policy.notify.digest_up_to = Severity::High;
    }
    publish(scene, policy).await;
    let mut staged = scene.stage(CONTROL).await;
    let id = format!("finding-of-{}", scene.name);
    if !matches!(play, OfSecurityHub::Imported) {
        staged.event = findings::found(&scene.cloud, &staged, &id).await;
    }
    let (outcome, status) = match play {
        OfSecurityHub::Observed => ("observed", "NOTIFIED"),
        OfSecurityHub::Fixed | OfSecurityHub::Imported | OfSecurityHub::Counted => {
            ("fixed", "RESOLVED")
        }
        OfSecurityHub::Undone => ("fixed", "NEW"),
        OfSecurityHub::Denied => ("pending", "SUPPRESSED"),
    };
    let record = scene.comes_to(&staged, outcome).await?;
    match play {
        OfSecurityHub::Undone => {
            scene.order_and_hint(&record, Verb::Undo, None).await?;
        }
        OfSecurityHub::Denied => {
            let deny = json!({"verb": "deny", "record": record.id, "reason": "on purpose"});
            scene.order(deny, 200).await?;
        }
        _ => {}
    }
    let mut bodies = scene.messages_about(&staged).await;
    if matches!(play, OfSecurityHub::Counted) {
        check(bodies.is_empty(), || format!("it was told: {bodies:?}"))?;
        let created = record.intent.created;
        let bulletin = json!({
            "kind": "bulletin", "version": 1, "subject": "digest", "total": 1,
            "from": created, "until": created, "lines": [], "command": "quell records",
        });
        bodies.push(bulletin.to_string());
    }
    scene.tell_security_hub(&bodies).await?;
    let id = match play {
        OfSecurityHub::Imported => format!("{REGION}/{ACCOUNT}/quell/{}", record.id),
        _ => id,
    };
    let finding = findings::read(&scene.cloud, &id).await.ok_or("there is no finding")?;
    let is = finding.workflow().and_then(|workflow| workflow.status());
    check(is.is_some_and(|is| is.as_str() == status), || format!("{id} is {is:?}"))
}

async fn pressed_in_slack(scene: &Scene) -> Result<(), Failed> {
    let mut policy = people(Mode::Approve);
    for (person, member) in policy.people.iter_mut().zip([ALICE, BOB]) {
        person.slack = Some(member.to_owned());
    }
    publish(scene, policy).await;
    let staged = scene.stage("s3-public-acl").await;
    let record = scene.comes_to(&staged, "pending").await?;
    let button = button(&record);
    let told = scene.press(ALICE, Action::Approve, &button).await?;
    check(told.contains("somebody else must approve it"), || told)?;
    let told = scene.press(BOB, Action::Approve, &button).await?;
    check(told.starts_with("approved by bob"), || told)?;
    rests(scene, &record.id, Status::Fixed).await
}

async fn of_slack(scene: &Scene) -> Result<(), Failed> {
    for revision in [1, 2] {
        let notice = json!({
            "kind": "remediation", "version": 1, "revision": revision, "record": "5f0c6a1de2b94c77",
            "control": {
                "id": "s3-public-acl", "title": "", "risk": "Anyone can list it.",
                "severity": "high", "safety": "safe", "function": "s3-exposure", "runbook": "",
            },
            "outcome": "observed", "mode": "observe",
            "resource": {"name": "photos", "arn": "arn:aws:s3:::photos", "console": ""},
            "account": ACCOUNT, "region": REGION, "event": {"id": "1"},
            "detected": "2026-03-01T02:03:09Z", "changes": [], "applied": false, "notes": [],
        });
        scene.tell_slack(&notice).await?;
    }
    let seen = scene.slack_api.messages();
    let updates = seen.first().map(|message| message.updates);
    check(updates == Some(1) && seen.len() == 2, || format!("people see {seen:?}"))
}

async fn publish(scene: &Scene, policy: Policy) {
    scene.stack.apply_policy(&policy).await.unwrap();
}

/// Publishes the policy with a route for everything, and returns its topic.
async fn routed(scene: &Scene, policy: Policy) -> String {
    let (_, name) = ROUTED.rsplit_once(':').unwrap();
    let topic = scene.cloud.sns.create_topic().name(name).send().await.unwrap();
    let topic = topic.topic_arn.unwrap();
    let route = Route { topics: vec![topic.clone()], ..Route::default() };
    publish(scene, Policy { routes: vec![route], ..policy }).await;
    topic
}

async fn is_told_at(
    scene: &Scene,
    topic: &str,
    staged: &Staged,
    times: usize,
) -> Result<(), Failed> {
    let told = scene.stack.published_to(topic).await.unwrap();
    // All scenes of a function have this topic.
    let of_it = told.iter().filter(|one| one.texts["email"].contains(&staged.resource)).count();
    check(of_it == times, || format!("{topic} was told of it {of_it} times"))
}

async fn is_right(scene: &Scene, staged: &Staged) -> Result<(), Failed> {
    let is_violating = scenario::is_violating(&scene.cloud, staged).await.unwrap();
    check(!is_violating, || format!("{} is still violating", staged.resource))
}

/// The same, once a function that somebody woke has come to it.
async fn becomes_right(scene: &Scene, staged: &Staged) -> Result<(), Failed> {
    let mut found = is_right(scene, staged).await;
    for _ in 0..200 {
        if found.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        found = is_right(scene, staged).await;
    }
    found
}

/// A record that waits for a person, whose time is over.
async fn unanswered(scene: &Scene, control: &str) -> Result<(Staged, String), Failed> {
    let mut policy = people(Mode::Approve);
    policy.approvals.expire_hours = 0;
    publish(scene, policy).await;
    let staged = scene.stage(control).await;
    let record = scene.comes_to(&staged, "pending").await?;
    Ok((staged, record.id))
}

/// The record is due already.
async fn overdue(scene: &Scene, record: &str) {
    use aws_sdk_dynamodb::types::AttributeValue;
    scene
        .cloud
        .dynamodb
        .update_item()
        .table_name(&scene.stack.ledger)
        .key("pk", AttributeValue::S(format!("REC#{record}")))
        .key("sk", AttributeValue::S("RECORD".to_owned()))
        .update_expression("SET due = :past")
        .expression_attribute_values(
            ":past",
            AttributeValue::S("2026-01-01T00:00:00.000000Z".to_owned()),
        )
        .send()
        .await
        .unwrap();
}

/// Waits until nobody works on the record any more.
async fn rests(scene: &Scene, id: &str, wanted: Status) -> Result<(), Failed> {
    let mut status = None;
    for _ in 0..200 {
        status = Some(scene.record(id).await?.status);
        if status == Some(wanted) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(format!("record {id} is {status:?}, not {wanted:?}"))
}

/// Enforces the control where a tag says so, and observes everything else.
fn where_tagged(control: &str) -> Policy {
    let mut policy = people(Mode::Observe);
    policy.scopes.push(Scope {
        controls: vec![control.to_owned()],
        accounts: vec![],
        regions: vec![],
        resources: vec![],
        tags: [("stage".to_owned(), vec!["production".to_owned()])].into(),
        mode: Mode::Enforce,
    });
    policy
}

/// The service in which a control changes something.
fn service(control: &str) -> &'static str {
    match control.split('-').next() {
        Some("cloudtrail") => "CloudTrail",
        Some("config") => "Config Service",
        Some("guardduty") => "GuardDuty",
        Some("iam") => "IAM",
        Some("quell") => "EventBridge",
        Some("s3") if control == "s3-account-public-access" => "S3 Control",
        Some("s3") => "S3",
        _ => "EC2",
    }
}

/// The name of a resource that is not there.
fn nothing(control: &str) -> &'static str {
    match service(control) {
        "CloudTrail" => "no-such-trail",
        "EventBridge" => "quell-no-such-rule",
        "IAM" if control == "iam-exposed-key" => "AKIAQUELLNOSUCHKEY00",
        "IAM" if control == "iam-admin-group" => "group/no-such-group/no-such-user",
        "IAM" if control == "iam-open-trust" || control == "iam-role-sessions" => {
            "role/no-such-role"
        }
        "IAM" if control == "iam-policy-version" => "policy/no-such-policy",
        "IAM" => "user/no-such-user",
        "S3" if control == "s3-public-object" => "quell-no-such-bucket/object",
        "S3" => "quell-no-such-bucket",
        _ if control.starts_with("sg-") => "sg-0123456789abcdef0",
        _ if control == "vpc-flow-logs" => "vpc-0123456789abcdef0",
        _ if control == "vpc-nacl-open-ingress" => "acl-0123456789abcdef0",
        _ if control == "vpc-subnet-public-ip" => "subnet-0123456789abcdef0",
        _ if control.starts_with("ebs-") => "snap-0123456789abcdef0",
        _ if control.starts_with("ami-") => "ami-0123456789abcdef0",
        _ => "i-0123456789abcdef0",
    }
}

async fn tag(scene: &Scene, staged: &Staged) {
    let (key, value, resource) = ("stage", "production", staged.resource.as_str());
    let arn = |service: &str, kind: &str| {
        format!("arn:aws:{service}:{REGION}:{ACCOUNT}:{kind}/{resource}")
    };
    match service(staged.control) {
        "CloudTrail" => {
            let tag = aws_sdk_cloudtrail::types::Tag::builder().key(key).value(value);
            let add = scene.cloud.cloudtrail.add_tags().resource_id(arn("cloudtrail", "trail"));
            add.tags_list(tag.build().unwrap()).send().await.unwrap();
        }
        "EventBridge" => {
            let tag = aws_sdk_eventbridge::types::Tag::builder().key(key).value(value);
            let add = scene.cloud.events.tag_resource().resource_arn(arn("events", "rule"));
            add.tags(tag.build().unwrap()).send().await.unwrap();
        }
        "IAM" => {
            let tag = aws_sdk_iam::types::Tag::builder().key(key).value(value).build().unwrap();
            let iam = &scene.cloud.iam;
            match resource.split_once('/') {
                Some(("role", role)) => {
                    iam.tag_role().role_name(role).tags(tag).send().await.map(drop).unwrap();
                }
                Some(("policy", _)) => {
                    let arn = format!("arn:aws:iam::{ACCOUNT}:{resource}");
                    iam.tag_policy().policy_arn(arn).tags(tag).send().await.map(drop).unwrap();
                }
                Some((_, named)) => {
                    // Of a member, the user.
                    let user = named.rsplit('/').next().unwrap_or(named);
                    iam.tag_user().user_name(user).tags(tag).send().await.map(drop).unwrap();
                }
                None => {
                    let used = iam.get_access_key_last_used().access_key_id(resource);
                    let user = used.send().await.unwrap().user_name.unwrap();
                    iam.tag_user().user_name(user).tags(tag).send().await.map(drop).unwrap();
                }
            }
        }
        "S3" => {
            let tag = aws_sdk_s3::types::Tag::builder().key(key).value(value).build().unwrap();
            let tagging = aws_sdk_s3::types::Tagging::builder().tag_set(tag).build().unwrap();
            // An object goes by the tags of its bucket.
            let bucket = resource.split('/').next().unwrap_or_default();
            let put = scene.cloud.s3.put_bucket_tagging().bucket(bucket);
            put.tagging(tagging).send().await.unwrap();
        }
        _ => {
            let tag = aws_sdk_ec2::types::Tag::builder().key(key).value(value).build();
            scene.cloud.ec2.create_tags().resources(resource).tags(tag).send().await.unwrap();
        }
    }
}

/// The metric that CloudWatch would have of the instance.
async fn used_without_token(scene: &Scene, instance: &str, calls: u32) {
    let hour_ago = Timestamp::now() - SignedDuration::from_hours(1);
    let body = format!(
        "Action=PutMetricData&Version=2010-08-01&Namespace=AWS%2FEC2\
         &MetricData.member.1.MetricName=MetadataNoToken&MetricData.member.1.Value={calls}\
         &MetricData.member.1.Timestamp={hour_ago:.0}\
         &MetricData.member.1.Dimensions.member.1.Name=InstanceId\
         &MetricData.member.1.Dimensions.member.1.Value={instance}"
    );
    // The SDK for Rust cannot send it: the emulator knows its protocol for one operation only.
    let mut request = HttpRequest::new(SdkBody::from(body));
    request.set_method("POST").unwrap();
    request.set_uri(scene.cloud.endpoint.as_str()).unwrap();
    let scope = format!("AWS4-HMAC-SHA256 Credential=k/20260101/{REGION}/monitoring/aws4_request");
    request.headers_mut().insert("authorization", scope);
    request.headers_mut().insert("content-type", "application/x-www-form-urlencoded");
    let (status, body): (u16, Value) = sent(request).await;
    assert_eq!(status, 200, "{body}");
}

fn exemption(control: &str, of: &str, left: SignedDuration) -> Exemption {
    let now = Timestamp::now();
    Exemption {
        control: control.to_owned(),
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
        arn: of.to_owned(),
        resource: of.rsplit(':').next().unwrap_or_default().to_owned(),
        unique_id: "2024-01-02".to_owned(),
        severity: Severity::High,
        reason: "public on purpose".to_owned(),
        owner: "press".to_owned(),
        by: arn("alice"),
        person: "alice".to_owned(),
        granted: now - SignedDuration::from_hours(2),
        expires: now + left,
        undo_of: None,
        told_expiring: None,
        told_unused: None,
        used: false,
    }
}
