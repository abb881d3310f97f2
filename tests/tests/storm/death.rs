//! Whoever works on a resource dies, or loses an answer, at any one call to AWS: the work is finished once, and undo
//! brings back every byte.

use std::{env, sync::Arc, time::Instant};

use quell_controls::with_control;
use quell_engine::{
    Control as _,
    ledger::{Record, Status, Verb},
};
use quell_local::{
    Attempt, Function,
    proxy::{Calls, Fault},
    scenario::Staged,
};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::scene::{ANY_NUMBER, DEADLINE, Scene, hint, outcome};

/// One test for each control and fault: a failure names both.
macro_rules! at_every_call {
    ($($fault:ident: $faults:expr),+ $(,)?) => { $(
        mod $fault {
            use super::*;
            #[tokio::test] async fn s3_public_acl() { at_every_call("s3-public-acl", &$faults).await }
            #[tokio::test] async fn s3_public_policy() { at_every_call("s3-public-policy", &$faults).await }
            #[tokio::test] async fn s3_block_public_access() { at_every_call("s3-block-public-access", &$faults).await }
            #[tokio::test] async fn ec2_imdsv2() { at_every_call("ec2-imdsv2", &$faults).await }
            #[tokio::test] async fn sg_open_ingress() { at_every_call("sg-open-ingress", &$faults).await }
            #[tokio::test] async fn ec2_quarantine() { at_every_call("ec2-quarantine", &$faults).await }
            #[tokio::test] async fn cloudtrail_logging() { at_every_call("cloudtrail-logging", &$faults).await }
            #[tokio::test] async fn cloudtrail_weakened() { at_every_call("cloudtrail-weakened", &$faults).await }
            #[tokio::test] async fn cloudtrail_event_selectors() { at_every_call("cloudtrail-event-selectors", &$faults).await }
            #[tokio::test] async fn cloudtrail_deleted() { at_every_call("cloudtrail-deleted", &$faults).await }
            #[tokio::test] async fn config_recorder() { at_every_call("config-recorder", &$faults).await }
            #[tokio::test] async fn guardduty_detector() { at_every_call("guardduty-detector", &$faults).await }
            #[tokio::test] async fn iam_exposed_key() { at_every_call("iam-exposed-key", &$faults).await }
            #[tokio::test] async fn iam_second_key() { at_every_call("iam-second-key", &$faults).await }
            #[tokio::test] async fn iam_stale_key() { at_every_call("iam-stale-key", &$faults).await }
            #[tokio::test] async fn iam_admin_policy() { at_every_call("iam-admin-policy", &$faults).await }
            #[tokio::test] async fn iam_admin_group() { at_every_call("iam-admin-group", &$faults).await }
            #[tokio::test] async fn iam_console_mfa() { at_every_call("iam-console-mfa", &$faults).await }
            #[tokio::test] async fn iam_open_trust() { at_every_call("iam-open-trust", &$faults).await }
            #[tokio::test] async fn iam_password_policy() { at_every_call("iam-password-policy", &$faults).await }
            #[tokio::test] async fn iam_policy_version() { at_every_call("iam-policy-version", &$faults).await }
            #[tokio::test] async fn iam_permissions_boundary() { at_every_call("iam-permissions-boundary", &$faults).await }
            #[tokio::test] async fn iam_role_sessions() { at_every_call("iam-role-sessions", &$faults).await }
            #[tokio::test] async fn iam_quarantine() { at_every_call("iam-quarantine", &$faults).await }
            #[tokio::test] async fn quell_rule_disabled() { at_every_call("quell-rule-disabled", &$faults).await }
            #[tokio::test] async fn vpc_subnet_public_ip() { at_every_call("vpc-subnet-public-ip", &$faults).await }
            #[tokio::test] async fn vpc_nacl_open_ingress() { at_every_call("vpc-nacl-open-ingress", &$faults).await }
            #[tokio::test] async fn sg_default_rules() { at_every_call("sg-default-rules", &$faults).await }
            #[tokio::test] async fn s3_versioning() { at_every_call("s3-versioning", &$faults).await }
            #[tokio::test] async fn s3_encryption() { at_every_call("s3-encryption", &$faults).await }
            #[tokio::test] async fn s3_destructive_lifecycle() { at_every_call("s3-destructive-lifecycle", &$faults).await }
            #[tokio::test] async fn s3_cross_account_policy() { at_every_call("s3-cross-account-policy", &$faults).await }
            #[tokio::test] async fn s3_public_object() { at_every_call("s3-public-object", &$faults).await }
            #[tokio::test] async fn ebs_public_snapshot() { at_every_call("ebs-public-snapshot", &$faults).await }
            #[tokio::test] async fn ebs_shared_snapshot() { at_every_call("ebs-shared-snapshot", &$faults).await }
            #[tokio::test] async fn ami_public_image() { at_every_call("ami-public-image", &$faults).await }
            #[tokio::test] async fn ami_shared_image() { at_every_call("ami-shared-image", &$faults).await }
        }
    )+ };
}

at_every_call!(
    killed_at_any_call_a_fix_and_its_undo_are_finished: [Fault::KillBefore, Fault::KillAfter],
    an_answer_lost_at_any_call_is_one_effect_all_the_same: [Fault::DropAnswer],
);

/// So many resources are worked on at the same time: more would make the machine the slowest part.
const AT_ONCE: usize = 3;

async fn at_every_call(control: &'static str, faults: &[Fault]) {
    let began = Instant::now();
    let scene = Scene::begin(0, ANY_NUMBER).await;
    let clean = Arc::new(clean(&scene, control).await);
    println!("{control}: {} calls to fix, {} to undo", clean.fix, clean.undo);
    // In a hurry only every so many calls.
    let stride = env::var("QUELL_STORM_STRIDE").ok().and_then(|stride| stride.parse().ok());
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut points = JoinSet::new();
    let (mut fixes, mut undos) = (0, 0);
    for call in (1..=clean.fix.max(clean.undo)).step_by(stride.unwrap_or(1)) {
        for fault in faults {
            fixes += usize::from(call <= clean.fix);
            undos += usize::from(call <= clean.undo);
            let point = Point {
                scene: Arc::clone(&scene),
                clean: Arc::clone(&clean),
                turns: Arc::clone(&turns),
                control,
                fault: fault.clone(),
                call,
            };
            points.spawn(point.pass());
        }
    }
    while let Some(passed) = points.join_next().await {
        passed.unwrap();
    }
    println!(
        "{control}: {faults:?} at {fixes} calls of fixes and {undos} of undos, {} calls in all, {:.0?}",
        scene.proxy.count(|_| true),
        began.elapsed()
    );
}

/// What happens when nothing goes wrong.
struct Clean {
    /// Calls to AWS.
    fix: usize,
    undo: usize,
    /// Applied writes on the resource.
    effects: usize,
    snapshots: usize,
}

async fn clean(scene: &Scene, control: &'static str) -> Clean {
    let staged = scene.stack.stage(control, "clean").await.unwrap();
    let before = scene.snapshot(&staged).await;
    let function = scene.patient(control, "clean");
    let fix = function.invoke(staged.event.to_string()).await.unwrap();
    assert_eq!(outcome(&fix, control), Some("fixed"), "{fix:#?}");
    let effects = scene.effects(&staged.resource).len();
    let record = scene.story(&staged).await;
    let snapshots = scene.snapshots_of(&record).await;
    let of = |attempt: &Attempt| {
        let id = Some(attempt.request_id.as_str());
        scene.proxy.count(|call| call.request_id.as_deref() == id)
    };
    if !is_reversible(control) {
        return Clean { fix: of(&fix), undo: 0, effects, snapshots };
    }
    scene.order(&record, Verb::Undo).await;
    let undoing = scene.patient(control, "clean undo");
    let undo = undoing.invoke(hint(&record).to_string()).await.unwrap();
    assert_eq!(outcome(&undo, control), Some("undone"), "{undo:#?}");
    assert_eq!(scene.snapshot(&staged).await, before);
    println!(
        "{control}: {:?} to fix and {:?} to undo in new processes",
        fix.duration, undo.duration
    );
    Clean { fix: of(&fix), undo: of(&undo), effects, snapshots }
}

fn is_reversible(control: &str) -> bool {
    with_control!(control, C => C::META.reversible).unwrap()
}

/// One resource, whose fix and undo both meet the fault at this call.
struct Point {
    scene: Arc<Scene>,
    clean: Arc<Clean>,
    turns: Arc<Semaphore>,
    control: &'static str,
    fault: Fault,
    call: usize,
}

impl Point {
    /// On a machine that is too busy a call may fail by itself, so that fewer are made than there should be: then
    /// everything must be well too, and another resource has to meet the fault.
    async fn pass(mut self) {
        for round in 0..4 {
            // Samples are staged under names without a hyphen.
            let name = format!("{:?}{}x{round}", self.fault, self.call).to_lowercase();
            if self.is_passed(&name).await {
                return;
            }
        }
        panic!("{}: call {} was never made", self.control, self.call);
    }

    async fn is_passed(&mut self, name: &str) -> bool {
        {
            let _turn = self.turns.acquire().await.unwrap();
            self.scene = self.scene.beside(name).await;
        }
        let Self { scene, clean, control, call, .. } = &self;
        let (function, undoing, staged, before, seen) = {
            let _turn = self.turns.acquire().await.unwrap();
            let staged = scene.stack.stage(control, name).await.unwrap();
            let (before, seen) = (scene.snapshot(&staged).await, scene.assess(&staged).await);
            let function = scene.function(control, name);
            let undoing = scene.function_within(control, &format!("{name} undo"), DEADLINE);
            (function, undoing, staged, before, seen)
        };

        let event = staged.event.to_string();
        let is_hit = self.survive(&function, &staged, &event, *call <= clean.fix).await;
        let turn = self.turns.acquire().await.unwrap();
        assert!(!scene.is_violating(&staged).await, "{name}: {:#?}", function.log());
        let record = scene.story(&staged).await;
        assert_eq!(record.intent.before, seen, "{name}: the way back is to what was there");
        self.is_one_effect(name, &staged, &record).await;

        if !is_reversible(control) {
            let records = scene.records(&staged).await;
            assert!(records.iter().all(|record| !record.open), "{name}: {records:#?}");
            assert!(!scene.is_locked(&record).await, "{name}");
            return is_hit;
        }
        scene.order(&record, Verb::Undo).await;
        drop(turn);
        let event = hint(&record).to_string();
        let is_hit = is_hit & self.survive(&undoing, &staged, &event, *call <= clean.undo).await;
        let _turn = self.turns.acquire().await.unwrap();
        assert_eq!(scene.snapshot(&staged).await, before, "{name}: {:#?}", undoing.log());
        let records = scene.records(&staged).await;
        assert!(records.iter().all(|record| !record.open), "{name}: {records:#?}");
        let undone = records.iter().filter(|record| record.status == Status::Undone);
        let undone: Vec<Option<&str>> =
            undone.map(|record| record.intent.undoes.as_deref()).collect();
        let lives: Vec<_> =
            records.iter().map(|record| (record.status, &record.result.reason)).collect();
        assert_eq!(undone.len(), 2, "{name}: what was done and its undo: {lives:?}");
        assert!(undone.contains(&Some(record.id.as_str())), "{name}: {undone:?}");
        assert!(!scene.is_locked(&record).await, "{name}");
        is_hit
    }

    /// Delivers the event, lets the fault happen, and does what AWS and recovery do then. `false`: the fault did not
    /// come to pass.
    async fn survive(
        &self,
        function: &Function,
        staged: &Staged,
        event: &str,
        is_hit: bool,
    ) -> bool {
        let Self { scene, fault, call, .. } = self;
        let turn = self.turns.acquire().await.unwrap();
        let rule = is_hit.then(|| {
            let calls = Calls::any().by(function.name()).number(*call).once();
            scene.proxy.fault(calls, fault.clone())
        });
        let first = function.invoke(event.to_owned()).await.unwrap();
        scene.proxy.quiet().await;
        drop(turn);
        if *fault == Fault::KillAfter && !first.answer.is_response() {
            // Recovery is earlier than Lambda's next attempt.
            self.rest(function, staged).await;
        }
        // Lambda makes two more attempts for what ended badly, then people send the dead letter again. In this test never
        // as long as somebody may be alive.
        let mut last = first;
        for _ in 0..5 {
            if last.answer.is_response() {
                break;
            }
            scene.lease_ends(staged).await;
            let _turn = self.turns.acquire().await.unwrap();
            last = function.retry(&last.request_id, event.to_owned()).await.unwrap();
        }
        self.rest(function, staged).await;
        rule.is_none_or(|rule| rule.fired() == 1)
    }

    async fn rest(&self, function: &Function, staged: &Staged) {
        self.scene.lease_ends(staged).await;
        let _turn = self.turns.acquire().await.unwrap();
        self.scene.recover(function, staged).await;
    }

    async fn is_one_effect(&self, name: &str, staged: &Staged, record: &Record) {
        let snapshots = self.scene.snapshots_of(record).await;
        assert_eq!(snapshots, self.clean.snapshots, "{name}: evidence is taken once");
        if self.control == "ec2-quarantine" {
            return;
        }
        // What AWS had made when the answer was lost is sent once more by the SDK, and makes no difference.
        let effects = self.scene.effects(&staged.resource);
        let lost = effects.iter().filter(|call| call.fault == Some(Fault::DropAnswer)).count();
        let again = effects.len() - lost.min(effects.len().saturating_sub(self.clean.effects));
        assert_eq!(again, self.clean.effects, "{name}: {effects:#?}");
    }
}

impl Scene {
    /// How many snapshots carry the record's tag.
    pub(crate) async fn snapshots_of(&self, record: &Record) -> usize {
        if record.intent.control != "ec2-quarantine" {
            return 0;
        }
        let ours = aws_sdk_ec2::types::Filter::builder()
            .name("tag:quell:quarantine")
            .values(&record.id)
            .build();
        let found =
            self.cloud.ec2.describe_snapshots().owner_ids("self").filters(ours).send().await;
        found.unwrap().snapshots().len()
    }
}
