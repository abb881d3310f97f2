use proptest::{collection::vec, prelude::*, sample::subsequence};
use serde_json::json;

use super::*;

const RECORD: &str = "0a1b2c3d4e5f60718293";

fn interface(id: &str, groups: &[&str]) -> Interface {
    Interface {
        id: id.to_owned(),
        vpc: "vpc-1".to_owned(),
        groups: Groups(groups.iter().map(|&group| group.to_owned()).collect()),
        managed: false,
        isolated: false,
    }
}

fn volume(device: &str, delete_on_termination: bool) -> Volume {
    Volume { device: device.to_owned(), id: format!("vol-{device}"), delete_on_termination }
}

fn state() -> State {
    State {
        interfaces: vec![interface("eni-1", &["sg-b", "sg-a"]), interface("eni-2", &["sg-c"])],
        volumes: vec![volume("/dev/xvda", true), volume("/dev/sdf", false)],
        termination_protection: false,
        spot: false,
        tag: None,
        auto_scaling_group: None,
    }
}

fn signal(trigger: Trigger) -> Signal {
    Signal {
        trigger,
        account: "123456789012".to_owned(),
        region: "eu-west-1".to_owned(),
        event_id: String::new(),
        deduplication: String::new(),
        time: None,
        actor: None,
        request_id: None,
        finding: None,
    }
}

fn finding(kind: &str, severity: f64, resource: Value) -> Signal {
    signal(Trigger::GuardDuty { kind: kind.to_owned(), severity, resource, affected: json!(null) })
}

#[test]
fn hears_findings_in_which_the_instance_is_the_actor() {
    for (kind, severity, wanted) in [
        ("Backdoor:EC2/C&CActivity.B!DNS", 8.0, true),
        ("Backdoor:EC2/DenialOfService.Tcp", 7.0, true),
        ("CryptoCurrency:EC2/BitcoinTool.B!DNS", 8.0, true),
        ("Execution:EC2/MaliciousFile", 8.0, true),
        ("Impact:EC2/WinRMBruteForce", 8.0, true),
        ("Trojan:EC2/DNSDataExfiltration", 8.0, true),
        ("UnauthorizedAccess:EC2/TorClient", 8.0, true),
        ("UnauthorizedAccess:EC2/TorRelay", 8.0, true),
        ("CryptoCurrency:EC2/BitcoinTool.B!DNS", 6.9, false),
        ("UnauthorizedAccess:EC2/SSHBruteForce", 8.0, false),
        ("UnauthorizedAccess:EC2/RDPBruteForce", 8.0, false),
        ("UnauthorizedAccess:EC2/MetadataDNSRebind", 8.0, false),
        ("UnauthorizedAccess:EC2/TorIPCaller", 8.0, false),
        ("Recon:EC2/PortProbeEMRUnprotectedPort", 8.0, false),
        ("CryptoCurrency:Runtime/BitcoinTool.B", 8.0, false),
        ("AttackSequence:EC2/CompromisedInstanceGroup", 9.0, false),
    ] {
        let heard = Quarantine::META.hears(&finding(kind, severity, Value::Null));
        assert_eq!(heard, wanted, "{kind} {severity}");
    }
}

#[test]
fn takes_the_instance_and_nothing_else_from_a_finding() {
    let kind = "CryptoCurrency:EC2/BitcoinTool.B!DNS";
    let id = "i-0c5a1e7d2b9f48360";
    let resource = json!({"resourceType": "Instance", "instanceDetails": {"instanceId": id}});
    let found = Quarantine::targets(&finding(kind, 8.0, resource)).unwrap();
    assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), [id]);

    for wrong in [
        Value::Null,
        json!({}),
        json!({"instanceDetails": null}),
        json!({"instanceDetails": {"instanceId": 7}}),
        json!({"instanceDetails": {"instanceId": "i-0c5a1e7d2b9f48360,i-0c5a1e7d2b9f48361"}}),
        json!({"InstanceDetails": {"InstanceId": id}}),
    ] {
        let error = Quarantine::targets(&finding(kind, 8.0, wrong.clone())).unwrap_err();
        assert_eq!(error.field, "detail.resource.instanceDetails.instanceId", "{wrong}");
    }
}

#[test]
fn keeps_evidence_before_it_isolates() {
    let plan = Quarantine::plan(&state());
    let vpc = "vpc-1".to_owned();
    let isolate = |interface: &str| Change::Isolate {
        interface: interface.to_owned(),
        untracking: 5,
        isolation: 4,
    };
    assert_eq!(
        plan.changes,
        [
            Change::Tag,
            Change::TerminationProtection { on: true },
            Change::DeleteOnTermination { devices: vec!["/dev/xvda".to_owned()], on: false },
            Change::Snapshots,
            Change::IsolationGroup { vpc: vpc.clone(), place: 4 },
            Change::UntrackingGroup { vpc, place: 5 },
            isolate("eni-1"),
            isolate("eni-2"),
            Change::DeleteUntrackingGroup { untracking: 5 },
        ]
    );
}

#[test]
fn leaves_out_what_is_so_already() {
    let mut done = state();
    done.termination_protection = true;
    done.volumes = vec![volume("/dev/xvda", false)];
    done.interfaces[0].isolated = true;
    let changes = Quarantine::plan(&done).changes;
    assert!(!changes.iter().any(|change| matches!(
        change,
        Change::TerminationProtection { .. } | Change::DeleteOnTermination { .. }
    )));
    assert_eq!(isolated_by(&changes), ["eni-2"]);

    let mut without_volumes = state();
    without_volumes.volumes.clear();
    assert!(!Quarantine::plan(&without_volumes).changes.contains(&Change::Snapshots));

    let mut spot = state();
    spot.spot = true;
    let changes = Quarantine::plan(&spot).changes;
    assert!(!changes.contains(&Change::TerminationProtection { on: true }));
}

#[test]
fn an_interface_that_a_service_manages_is_left_and_named() {
    let mut state = state();
    state.interfaces[1].managed = true;
    assert_eq!(isolated_by(&Quarantine::plan(&state).changes), ["eni-1"]);
    assert!(Quarantine::notes(&state).iter().any(|note| note.contains("eni-2")));
}

#[test]
fn says_what_a_person_must_know() {
    let mut state = state();
    state.auto_scaling_group = Some("web".to_owned());
    let notes = Quarantine::notes(&state).join("\n");
    for part in ["Auto Scaling group web", "verified as configuration", "NAT gateways", "DNS"] {
        assert!(notes.contains(part), "{part} in {notes}");
    }
}

#[test]
fn an_interface_is_opened_only_on_its_way_to_isolation() {
    let (open, closed) = ("sg-untrack", "sg-isolate");
    let held = |groups: &[&str]| groups.iter().map(|&group| group.to_owned()).collect::<Vec<_>>();
    for (groups, is_ours, wanted) in [
        (vec!["sg-a"], true, Swap::Both),
        (vec!["sg-a", "sg-b"], true, Swap::Both),
        (vec![], true, Swap::Both),
        (vec![closed, "sg-a"], true, Swap::Both),
        (vec![closed], true, Swap::Nothing),
        (vec![open], true, Swap::Close),
        (vec![open, "sg-a"], true, Swap::Close),
        // Detached, or attached to another instance, since it was read.
        (vec!["sg-a"], false, Swap::Nothing),
        (vec![open], false, Swap::Close),
    ] {
        assert_eq!(swap(&held(&groups), is_ours, open, closed), wanted, "{groups:?} {is_ours}");
    }
}

#[test]
fn an_interface_left_open_is_told_with_the_command_that_closes_it() {
    let error = CallError::new("ec2:ModifyNetworkInterfaceAttribute", CallErrorKind::Denied, "no");
    let error = left_open(error, "eni-1", "sg-untrack", "sg-isolate");
    assert_eq!(error.kind, CallErrorKind::Denied);
    assert!(error.message.starts_with("CRITICAL: eni-1"), "{error}");
    assert!(error.message.contains("--network-interface-id eni-1 --groups sg-isolate"), "{error}");
}

#[test]
fn a_takeover_closes_what_may_be_open_first() {
    let changes = Quarantine::plan(&state()).changes;
    let mut made = vec![None; changes.len()];
    let in_order: Vec<usize> = (0..changes.len()).collect();
    assert_eq!(Quarantine::resume(&changes, &made), in_order);
    made[4] = Some("sg-isolate".to_owned());
    assert_eq!(Quarantine::resume(&changes, &made), in_order);
    made[5] = Some("sg-untrack".to_owned());
    assert_eq!(Quarantine::resume(&changes, &made), [6, 7, 0, 1, 2, 3, 4, 5, 8]);
    assert_eq!(Quarantine::resume(&changes, &[]), in_order);
}

#[test]
fn without_a_group_in_the_record_nothing_is_swapped() {
    let made = [None, Some("sg-isolate".to_owned())];
    let progress = Progress { record: RECORD, made: &made, deadline: std::time::Instant::now() };
    assert_eq!(made_at(&progress, 1), Ok("sg-isolate"));
    for unknown in [0, 2] {
        assert_eq!(made_at(&progress, unknown).unwrap_err().kind, CallErrorKind::Refused);
    }
}

#[test]
fn the_order_of_groups_makes_no_difference_but_is_kept() {
    let one = Groups(vec!["sg-b".to_owned(), "sg-a".to_owned()]);
    let other = Groups(vec!["sg-a".to_owned(), "sg-b".to_owned()]);
    assert_eq!(one, other);
    assert_eq!(one.to_string(), "sg-b, sg-a");
    assert_ne!(one, Groups(vec!["sg-a".to_owned()]));
}

fn isolated_by(changes: &[Change]) -> Vec<&str> {
    let isolated = changes.iter().filter_map(|change| match change {
        Change::Isolate { interface, .. } => Some(interface.as_str()),
        _ => None,
    });
    isolated.collect()
}

/// What the changes make of a state, and the ids of what they made.
fn carry_out(state: &State, plan: &Plan<Change>) -> (State, Vec<Option<String>>) {
    let mut state = state.clone();
    let mut made = vec![None; plan.changes.len()];
    for (index, change) in plan.changes.iter().enumerate() {
        match change {
            Change::Tag => state.tag = Some(RECORD.to_owned()),
            Change::TerminationProtection { on } => state.termination_protection = *on,
            Change::DeleteOnTermination { devices, on } => {
                for volume in &mut state.volumes {
                    if devices.contains(&volume.device) {
                        volume.delete_on_termination = *on;
                    }
                }
            }
            Change::Snapshots => made[index] = Some("snap-1".to_owned()),
            Change::IsolationGroup { vpc, place } => {
                assert_eq!(*place, index);
                made[index] = Some(format!("sg-isolate-{vpc}"));
            }
            Change::UntrackingGroup { vpc, place } => {
                assert_eq!(*place, index);
                made[index] = Some(format!("sg-untrack-{vpc}"));
            }
            Change::Isolate { interface, untracking, isolation } => {
                let at = |place: &usize| made[*place].clone().expect("made before it is used");
                let now = state.interfaces.iter_mut().find(|now| now.id == *interface).unwrap();
                assert!(!now.managed, "nobody can change it");
                assert_eq!(at(untracking), format!("sg-untrack-{}", now.vpc));
                assert_eq!(at(isolation), format!("sg-isolate-{}", now.vpc));
                (now.groups, now.isolated) = (Groups(vec![at(isolation)]), true);
            }
            Change::DeleteUntrackingGroup { untracking } => {
                assert!(made[*untracking].as_ref().unwrap().starts_with("sg-untrack"));
            }
            Change::RestoreGroups { interface, groups } => {
                let now = state.interfaces.iter_mut().find(|now| now.id == *interface).unwrap();
                (now.groups, now.isolated) = (Groups(groups.clone()), false);
            }
            Change::DeleteGroups => {
                let held = state.interfaces.iter().flat_map(|interface| &interface.groups.0);
                assert!(held.into_iter().all(|group| !group.starts_with("sg-isolate")));
            }
            Change::RestoreTag { value } => state.tag = value.clone(),
        }
    }
    (state, made)
}

prop_compose! {
    fn any_interface()(
        vpc in "vpc-[12]",
        groups in subsequence(vec!["sg-a", "sg-b", "sg-c"], 1..=3).prop_shuffle(),
        managed in any::<bool>(),
        without_rules in any::<bool>(),
    ) -> Interface {
        let isolated = !managed && without_rules && groups.len() == 1;
        Interface { vpc, managed, isolated, ..interface("", &groups) }
    }
}

prop_compose! {
    fn any_state()(
        interfaces in vec(any_interface(), 1..5),
        volumes in vec(any::<bool>(), 0..4),
        termination_protection in any::<bool>(),
        spot in any::<bool>(),
        tag in proptest::option::of("[0-9a-f]{20}"),
        auto_scaling_group in proptest::option::of("\\PC{1,20}"),
    ) -> State {
        let interfaces = interfaces.into_iter().enumerate();
        let volumes = volumes.into_iter().enumerate();
        State {
            interfaces: interfaces.map(|(n, one)| Interface { id: format!("eni-{n}"), ..one }).collect(),
            volumes: volumes.map(|(n, on)| volume(&format!("/dev/sd{n}"), on)).collect(),
            termination_protection,
            spot,
            tag,
            auto_scaling_group,
        }
    }
}

proptest! {
    #[test]
    fn a_plan_isolates_all_that_can_be_and_is_empty_then(state in any_state()) {
        let plan = Quarantine::plan(&state);
        let open = state.interfaces.iter().any(|interface| !interface.managed && !interface.isolated);
        prop_assert_eq!(plan.is_empty(), !open);
        let (after, _) = carry_out(&state, &plan);
        prop_assert!(Quarantine::plan(&after).is_empty());
        for (was, now) in state.interfaces.iter().zip(&after.interfaces) {
            prop_assert!(now.isolated || was.managed);
            if was.managed || was.isolated {
                prop_assert_eq!(was, now);
            }
        }
    }

    #[test]
    fn nothing_comes_between_the_interfaces(state in any_state()) {
        let changes = Quarantine::plan(&state).changes;
        let place = |change: &Change| match change {
            Change::Isolate { .. } => 1,
            Change::DeleteUntrackingGroup { .. } => 2,
            _ => 0,
        };
        prop_assert!(changes.is_sorted_by_key(place));
    }

    #[test]
    fn undo_brings_back_what_was(state in any_state()) {
        let (after, _) = carry_out(&state, &Quarantine::plan(&state));
        let (restored, _) = carry_out(&after, &Quarantine::revert(&state, &after));
        for (was, now) in state.interfaces.iter().zip(&restored.interfaces) {
            prop_assert_eq!(&was.groups.0, &now.groups.0, "in their order");
        }
        prop_assert!(Quarantine::same(&state, &restored));
    }

    #[test]
    fn a_takeover_leaves_nothing_out(state in any_state(), known in vec(any::<bool>(), 20)) {
        let changes = Quarantine::plan(&state).changes;
        let made: Vec<_> = known.iter().map(|is| is.then(|| "sg-1".to_owned())).collect();
        let mut order = Quarantine::resume(&changes, &made);
        order.sort_unstable();
        prop_assert_eq!(order, (0..changes.len()).collect::<Vec<_>>());
    }

    #[test]
    fn what_the_record_holds_can_be_read_again(state in any_state()) {
        let mut changes = Quarantine::plan(&state).changes;
        let (after, _) = carry_out(&state, &Plan { changes: changes.clone() });
        changes.extend(Quarantine::revert(&state, &after).changes);
        let text = serde_json::to_string(&(&state, &changes)).unwrap();
        let (state_again, changes_again): (State, Vec<Change>) = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&state_again, &state);
        prop_assert_eq!(&changes_again, &changes);
        for change in &changes {
            let said = Quarantine::describe(&state, change);
            prop_assert!(Quarantine::META.writes.contains(&said.action.as_str()), "{}", said.action);
        }
    }
}
