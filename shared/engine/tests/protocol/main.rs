//! Every interleaving of two evaluations, duplicate deliveries, crashes, lost answers, ends of leases, people's edits
//! and orders: what `quell_engine::protocol` promises holds in each, and each safeguard is missed when it is gone.
//!
//! What the model leaves to the controls: an undo writes the whole state before back. Who edits the resource between
//! the plan and the look that says what was left behind cannot be told apart from Quell, and their part goes with it;
//! so does, of a plan of several changes that died and is taken over, what another control changed in between.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod search;
mod world;

use proptest::prelude::*;
use quell_engine::{
    Mode,
    ledger::Status,
    protocol::{Count, Found, Life, Lock, Order, Reason, Refusal, Write, classify},
};
use search::search;
use world::{Control, Edit, Invariant, Reached, Scenario, Without};

/// No invariant is broken, and the search came by what it is about.
#[track_caller]
fn holds(scenario: &Scenario, reached: u16) {
    let searched = search(scenario, None);
    println!("{} states, {} of them at rest", searched.states, searched.ends);
    if let Some(broken) = &searched.broken {
        panic!("{:?} is broken:\n{}", broken.invariant, broken.trace);
    }
    let missing = reached & !searched.reached.0;
    assert_eq!(missing, 0, "never came by {missing:b}");
}

/// With the safeguard nothing is broken, without it the invariant is.
#[track_caller]
fn misses(without: Without, scenario: Scenario, invariant: Invariant) {
    holds(&scenario, 0);
    let searched = search(&Scenario { without: Some(without), ..scenario }, Some(invariant));
    let broken = searched.broken.unwrap_or_else(|| {
        panic!("{invariant:?} holds without it; broken are {:?}", searched.others)
    });
    println!("{} states until {:?} is broken", searched.states, broken.invariant);
}

fn twice(control: Control) -> Vec<(u8, Control)> {
    vec![(1, control), (1, control)]
}

fn both() -> Vec<(u8, Control)> {
    vec![(1, Control::A), (2, Control::B)]
}

#[test]
fn three_deliveries_with_crashes_and_ends_of_leases() {
    let scenario = Scenario {
        deliveries: vec![(1, Control::A), (1, Control::A), (2, Control::A)],
        crashes: 1,
        ticks: 1,
        ..Scenario::default()
    };
    holds(&scenario, Reached::FIXED | Reached::LEFT_WORD);
}

#[test]
fn two_crashes_and_two_ends_of_leases() {
    let scenario =
        Scenario { retries: 1, crashes: 2, ticks: 2, recoveries: 1, ..Scenario::default() };
    holds(&scenario, Reached::FIXED | Reached::TAKEN_OVER | Reached::LANDED_LATE);
}

#[test]
fn a_lost_answer_and_a_person_at_the_resource() {
    let scenario = Scenario {
        lost: 1,
        ticks: 1,
        edits: 1,
        kinds: vec![Edit::Reopen, Edit::Mend, Edit::Scribble, Edit::Delete],
        ..Scenario::default()
    };
    let reached = Reached::RECOGNISED | Reached::SUPERSEDED | Reached::RELAYED | Reached::PARTIAL;
    holds(&scenario, reached);
}

#[test]
fn a_duplicate_with_a_crash_and_a_person_who_breaks_it_again() {
    let scenario = Scenario {
        deliveries: twice(Control::A),
        crashes: 1,
        edits: 1,
        kinds: vec![Edit::Reopen],
        ..Scenario::default()
    };
    holds(&scenario, Reached::SUPERSEDED | Reached::RELAYED);
}

#[test]
fn two_controls_at_one_resource_with_a_crash() {
    let scenario = Scenario {
        start: 0b11,
        deliveries: both(),
        crashes: 1,
        ticks: 1,
        recoveries: 1,
        ..Scenario::default()
    };
    holds(&scenario, Reached::FIXED | Reached::TAKEN_OVER);
}

#[test]
fn two_controls_at_one_resource_with_a_lost_answer() {
    let scenario =
        Scenario { start: 0b11, deliveries: both(), lost: 1, ticks: 1, ..Scenario::default() };
    holds(&scenario, Reached::FIXED | Reached::RECOGNISED);
}

#[test]
fn a_plan_of_two_changes_with_crashes() {
    let scenario = Scenario {
        start: 0b1100,
        deliveries: vec![(1, Control::C)],
        retries: 1,
        crashes: 2,
        ticks: 1,
        recoveries: 1,
        ..Scenario::default()
    };
    holds(&scenario, Reached::FIXED | Reached::LANDED_LATE);
}

#[test]
fn a_plan_of_two_changes_with_a_lost_answer_and_a_person() {
    let scenario = Scenario {
        start: 0b1100,
        deliveries: vec![(1, Control::C)],
        retries: 1,
        crashes: 1,
        lost: 1,
        ticks: 1,
        edits: 1,
        kinds: vec![Edit::Scribble],
        ..Scenario::default()
    };
    holds(&scenario, Reached::FIXED | Reached::PARTIAL);
}

#[test]
fn the_kill_switch_in_the_middle_of_a_plan() {
    let scenario = Scenario {
        start: 0b1100,
        deliveries: twice(Control::C),
        crashes: 1,
        ticks: 1,
        halts: 1,
        ..Scenario::default()
    };
    holds(&scenario, Reached::FIXED | Reached::PARTIAL);
}

#[test]
fn the_kill_switch_and_a_lost_answer() {
    let scenario = Scenario {
        start: 0b1100,
        deliveries: vec![(1, Control::C)],
        retries: 1,
        lost: 2,
        ticks: 1,
        halts: 1,
        ..Scenario::default()
    };
    holds(&scenario, Reached::FIXED | Reached::PARTIAL | Reached::RECOGNISED);
}

#[test]
fn two_lost_answers() {
    let scenario =
        Scenario { deliveries: twice(Control::A), retries: 1, lost: 2, ..Scenario::default() };
    holds(&scenario, Reached::FIXED | Reached::RECOGNISED);
}

#[test]
fn a_plan_that_waits_for_approval() {
    let scenario = Scenario {
        mode: Mode::Approve,
        deliveries: twice(Control::A),
        crashes: 1,
        edits: 1,
        kinds: vec![Edit::Scribble],
        orders: 1,
        kinds_of_order: vec![Order::Approve],
        ..Scenario::default()
    };
    holds(&scenario, Reached::PENDING | Reached::FIXED | Reached::SUPERSEDED);
}

#[test]
fn undone_by_two_orders_with_a_crash() {
    let scenario = Scenario {
        orders: 2,
        kinds_of_order: vec![Order::Undo],
        crashes: 1,
        ticks: 1,
        ..Scenario::default()
    };
    holds(&scenario, Reached::UNDONE);
}

#[test]
fn undone_by_two_orders_with_a_lost_answer() {
    let scenario = Scenario {
        orders: 2,
        kinds_of_order: vec![Order::Undo],
        crashes: 1,
        lost: 1,
        ..Scenario::default()
    };
    holds(&scenario, Reached::UNDONE | Reached::RECOGNISED);
}

#[test]
fn undone_while_a_person_is_at_the_resource() {
    let scenario = Scenario {
        orders: 2,
        kinds_of_order: vec![Order::Undo],
        crashes: 1,
        edits: 1,
        kinds: vec![Edit::Scribble, Edit::Delete],
        ..Scenario::default()
    };
    holds(&scenario, Reached::UNDONE | Reached::REFUSED_UNDO);
}

#[test]
fn undone_while_it_is_broken_again() {
    let scenario = Scenario {
        deliveries: vec![(1, Control::A), (2, Control::A)],
        orders: 1,
        kinds_of_order: vec![Order::Undo],
        crashes: 1,
        ticks: 1,
        ..Scenario::default()
    };
    holds(&scenario, Reached::UNDONE | Reached::EXEMPT);
}

#[test]
fn a_budget_of_one_for_two_controls() {
    let scenario = Scenario {
        start: 0b11,
        deliveries: both(),
        crashes: 1,
        lost: 1,
        orders: 1,
        kinds_of_order: vec![Order::Resume],
        budget: Some(1),
        ..Scenario::default()
    };
    holds(&scenario, Reached::OVER_BUDGET | Reached::RESUMED);
}

#[test]
fn observed_and_told() {
    let scenario = Scenario {
        mode: Mode::Observe,
        deliveries: vec![(1, Control::A), (1, Control::A), (2, Control::A)],
        crashes: 1,
        lost: 1,
        ticks: 1,
        ..Scenario::default()
    };
    holds(&scenario, 0);
}

#[test]
fn without_a_second_read_a_stale_plan_is_made() {
    let scenario = Scenario { start: 0b11, deliveries: both(), ..Scenario::default() };
    misses(Without::SecondRead, scenario, Invariant::WayBack);
}

#[test]
fn a_second_read_begun_before_the_lock_was_read_is_none() {
    let scenario = Scenario { start: 0b11, deliveries: both(), ..Scenario::default() };
    misses(Without::LockBeforeSecondRead, scenario, Invariant::WayBack);
}

#[test]
fn without_the_generation_two_take_the_lock() {
    let scenario = Scenario { start: 0b11, deliveries: both(), ..Scenario::default() };
    misses(Without::Generation, scenario, Invariant::Alone);
}

#[test]
fn without_the_version_a_late_write_counts() {
    let scenario = Scenario {
        mode: Mode::Approve,
        orders: 1,
        kinds_of_order: vec![Order::Approve],
        ..Scenario::default()
    };
    misses(Without::Version, scenario, Invariant::WayBack);
}

#[test]
fn without_the_first_writer_winning_the_way_back_is_overwritten() {
    let scenario = Scenario {
        mode: Mode::Approve,
        deliveries: twice(Control::A),
        orders: 1,
        kinds_of_order: vec![Order::Approve],
        edits: 1,
        kinds: vec![Edit::Scribble],
        ..Scenario::default()
    };
    misses(Without::FirstWriterWins, scenario, Invariant::Overwritten);
}

#[test]
fn a_takeover_with_a_plan_of_its_own_loses_the_way_back() {
    let scenario = Scenario {
        start: 0b1100,
        deliveries: vec![(1, Control::C)],
        crashes: 1,
        ticks: 1,
        retries: 1,
        ..Scenario::default()
    };
    misses(Without::StoredPlan, scenario, Invariant::Overwritten);
}

#[test]
fn a_lease_that_ends_before_a_call_lets_two_change() {
    let scenario = Scenario { deliveries: twice(Control::A), ticks: 1, ..Scenario::default() };
    misses(Without::LeaseOutlastingCalls, scenario, Invariant::Alone);
}

#[test]
fn without_a_last_start_a_frozen_evaluation_changes_later() {
    let scenario = Scenario { deliveries: twice(Control::A), ticks: 1, ..Scenario::default() };
    misses(Without::LastStart, scenario, Invariant::Alone);
}

#[test]
fn a_lock_without_a_lease_is_none() {
    let scenario = Scenario { deliveries: twice(Control::A), ..Scenario::default() };
    misses(Without::Lease, scenario, Invariant::Alone);
}

#[test]
fn a_lock_for_each_control_lets_one_undo_the_other() {
    let scenario = Scenario { start: 0b11, deliveries: both(), ..Scenario::default() };
    misses(Without::LockAcrossControls, scenario, Invariant::Alone);
}

#[test]
fn a_word_that_is_ignored_is_lost() {
    let scenario = Scenario { edits: 1, kinds: vec![Edit::Reopen], ..Scenario::default() };
    misses(Without::Marks, scenario, Invariant::Lost);
}

#[test]
fn a_word_that_is_left_for_nobody_is_lost() {
    let scenario = Scenario { edits: 1, kinds: vec![Edit::Reopen], ..Scenario::default() };
    misses(Without::HolderOfMark, scenario, Invariant::Lost);
}

#[test]
fn a_write_of_our_own_that_is_not_recognised_is_a_failure() {
    let scenario = Scenario { lost: 1, ..Scenario::default() };
    misses(Without::OwnWrites, scenario, Invariant::LostAnswer);
}

#[test]
fn without_its_condition_a_budget_is_exceeded() {
    let scenario =
        Scenario { start: 0b11, deliveries: both(), budget: Some(1), ..Scenario::default() };
    misses(Without::BudgetCondition, scenario, Invariant::Budget);
}

#[test]
fn without_its_condition_the_kill_switch_stops_nothing() {
    let scenario = Scenario {
        start: 0b1100,
        deliveries: vec![(1, Control::C)],
        halts: 1,
        ..Scenario::default()
    };
    misses(Without::KillSwitch, scenario, Invariant::Halted);
}

#[test]
fn without_a_person_a_pending_plan_is_made() {
    let scenario =
        Scenario { mode: Mode::Approve, deliveries: twice(Control::A), ..Scenario::default() };
    misses(Without::Approval, scenario, Invariant::Approved);
}

#[test]
fn an_undo_that_does_not_compare_loses_what_a_person_wrote() {
    let scenario = Scenario {
        orders: 1,
        kinds_of_order: vec![Order::Undo],
        edits: 1,
        kinds: vec![Edit::Scribble],
        ..Scenario::default()
    };
    misses(Without::Comparison, scenario, Invariant::Clobbered);
}

#[test]
fn without_recovery_a_record_stays_open() {
    let scenario = Scenario {
        mode: Mode::Approve,
        orders: 1,
        kinds_of_order: vec![Order::Approve],
        crashes: 1,
        ..Scenario::default()
    };
    misses(Without::Recovery, scenario, Invariant::Open);
}

#[test]
fn a_change_before_its_record_has_no_way_back() {
    misses(Without::WriteAhead, Scenario::default(), Invariant::WayBack);
}

#[test]
fn without_a_mark_people_are_told_of_a_full_budget_again_and_again() {
    let scenario =
        Scenario { start: 0b11, deliveries: both(), budget: Some(0), ..Scenario::default() };
    misses(Without::FirstOver, scenario, Invariant::Told);
}

fn life() -> impl Strategy<Value = Life> {
    let status = prop::sample::select(Status::ALL.to_vec());
    (status, 1..4_u64, 0..3_u8, any::<bool>()).prop_map(|(status, version, writer, open)| Life {
        status,
        version,
        writer: format!("d{writer}"),
        done: Vec::new(),
        told: None,
        open,
    })
}

fn count() -> impl Strategy<Value = Count> {
    (0..4_u32).prop_map(|max| Count { key: "all".to_owned(), max })
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        life().prop_map(|life| Write::Put { id: "e1/A/0".to_owned(), life }),
        life().prop_map(|life| Write::Update { id: "e1/A/0".to_owned(), life }),
        count().prop_map(Write::Count),
        (0..3_u64).prop_map(|generation| Write::Mark { generation }),
        (0..3_u64, 0..3_u64).prop_map(|(generation, marks)| Write::Release {
            generation,
            marks,
            fixed: true
        }),
        Just(Write::Running),
        Just(Write::FirstOver("all".to_owned())),
        Just(Write::Refund("all".to_owned())),
    ]
}

fn reason() -> impl Strategy<Value = Reason> {
    let lock = (0..3_u64, 0..3_u64).prop_map(|(generation, marks)| Lock {
        generation,
        holder: None,
        marks,
    });
    prop_oneof![
        Just(Reason::Fine),
        Just(Reason::Conflict),
        Just(Reason::Found(Found::Nothing)),
        Just(Reason::Found(Found::Set)),
        life().prop_map(|life| Reason::Found(Found::Life(life))),
        lock.prop_map(|lock| Reason::Found(Found::Lock(lock))),
        (0..6_u32).prop_map(|count| Reason::Found(Found::Count(count))),
    ]
}

proptest! {
    #[test]
    fn a_write_of_somebody_else_is_never_taken_for_our_own(
        pairs in prop::collection::vec((write(), reason()), 1..6),
    ) {
        let (writes, reasons): (Vec<_>, Vec<_>) = pairs.iter().cloned().unzip();
        let is_ours = pairs.iter().any(|(write, reason)| match (write, reason) {
            (Write::Put { life, .. } | Write::Update { life, .. }, Reason::Found(Found::Life(found))) => {
                (life.version, &life.writer, life.status, life.open)
                    == (found.version, &found.writer, found.status, found.open)
            }
            _ => false,
        });
        prop_assert_eq!(classify(&writes, &reasons).is_ok(), is_ours);
    }

    #[test]
    fn what_has_room_is_never_over_budget(
        pairs in prop::collection::vec((write(), reason()), 1..6),
    ) {
        let (writes, reasons): (Vec<_>, Vec<_>) = pairs.iter().cloned().unzip();
        if let Err(Some(Refusal::OverBudget(key))) = classify(&writes, &reasons) {
            let is_full = pairs.iter().any(|(write, reason)| match (write, reason) {
                (Write::Count(Count { key: full, max }), Reason::Found(Found::Count(count))) => {
                    *full == key && count >= max
                }
                _ => false,
            });
            prop_assert!(is_full);
        }
    }
}
