//! What the benchmark is to show, and whether it does.

use serde::Serialize;

use crate::{
    case::Case,
    results::{CaseResult, Measured, Results},
};

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Goal {
    pub(crate) what: String,
    pub(crate) measured: f64,
    pub(crate) limit: f64,
    pub(crate) is_met: bool,
}

/// All goals that the run has figures for.
pub(crate) fn all(results: &Results) -> Vec<Goal> {
    let mut goals = Vec::new();
    for case in &results.cases {
        let Ok(kind) = Case::named(&case.case) else { continue };
        against_custodian(&mut goals, kind, case);
        counts(&mut goals, kind, &case.quell);
        if let Some(floor) = &results.floor {
            against_the_floor(&mut goals, kind, case, floor);
        }
    }
    for case in Case::ALL {
        let rows: Vec<_> = results.growth.iter().filter(|row| row.case == case.name()).collect();
        if let (Some(small), Some(large)) = (rows.first(), rows.last())
            && rows.len() > 1
        {
            let grown = large.warm_cpu_ms.median / small.warm_cpu_ms.median;
            let name = format!("{}, beside {}", case.name(), large.others);
            let than = format!("instead of {} other resources", small.others);
            goals.push(at_most(format!("{name} {than}: CPU ×"), grown, 1.15));
            let more = large.calls as f64 - small.calls as f64;
            goals.push(at_most(format!("{name} {than}: more calls"), more, 0.0));
        }
    }
    goals
}

fn against_custodian(goals: &mut Vec<Goal>, kind: Case, case: &CaseResult) {
    let name = kind.name();
    let megabytes = case.quell.package_bytes as f64 / 1e6;
    goals.push(at_most(format!("{name}: package, MB zipped"), megabytes, 4.0));
    let Some(peer) = &case.custodian else { return };
    let quell = &case.quell;
    let part = |peer: f64, quell: f64| peer / quell;
    let warm = if kind == Case::Acl { 80.0 } else { 30.0 };
    for (what, measured, limit) in [
        ("warm event, CPU", part(peer.warm.cpu.median, quell.warm.cpu.median), warm),
        ("cold start to response, CPU", part(peer.cold.cpu.median, quell.cold.cpu.median), 50.0),
        ("cold start to response, wall", part(peer.cold.wall.median, quell.cold.wall.median), 30.0),
        (
            "the same without the time that the emulated AWS takes",
            part(peer.cold.own_wall.median, quell.cold.own_wall.median),
            30.0,
        ),
        ("peak memory", part(peer.peak_mib.median, quell.peak_mib.median), 6.0),
    ] {
        let what = format!("{name}: {what}, times less than Cloud Custodian");
        goals.push(at_least(what, measured, limit));
    }
}

fn counts(goals: &mut Vec<Goal>, kind: Case, quell: &Measured) {
    let name = kind.name();
    let look = kind.calls_of_a_look() as f64;
    // The look, another beside the record's write, the change, and one that shows it.
    let own = quell.own_calls(kind) as f64;
    goals.push(at_most(format!("{name}: calls on {} per fix", kind.service()), own, look + 3.0));
    let own = quell.own_compliant_calls(kind) as f64;
    let what = format!("{name}: calls on {} when compliant", kind.service());
    goals.push(at_most(what, own, look));
    let writes = quell.compliant_writes as f64;
    goals.push(at_most(format!("{name}: writes anywhere when compliant"), writes, 0.0));
    if let Some(trips) = &quell.trips {
        let what = format!("{name}: round trips until the fix is in force (slope)");
        goals.push(at_most(what, trips.fix_slope, 3.2));
    }
}

fn against_the_floor(goals: &mut Vec<Goal>, kind: Case, case: &CaseResult, floor: &Measured) {
    let name = kind.name();
    let init = case.quell.init.cpu.median / floor.init.cpu.median;
    goals.push(at_most(format!("{name}: init without connections, CPU, × the floor"), init, 2.5));
    if let Some(quell) = &case.encrypted {
        for (what, measured, limit) in [
            ("cold start to response, CPU", quell.cold.cpu.median / floor.cold.cpu.median, 7.0),
            ("peak memory", quell.peak_mib.median / floor.peak_mib.median, 3.5),
        ] {
            goals.push(at_most(format!("{name} over TLS: {what}, × the floor"), measured, limit));
        }
        let first = quell.first.cpu.median / quell.warm.cpu.median;
        let what =
            format!("{name} over TLS: first event after opened connections, CPU, × a warm one");
        goals.push(at_most(what, first, 2.0));
    }
}

fn at_most(what: String, measured: f64, limit: f64) -> Goal {
    Goal { what: format!("{what} ≤"), measured, limit, is_met: measured <= limit }
}

fn at_least(what: String, measured: f64, limit: f64) -> Goal {
    Goal { what: format!("{what} ≥"), measured, limit, is_met: measured >= limit }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_up_to_its_limit() {
        assert!(at_most("a".to_owned(), 3.2, 3.2).is_met);
        assert!(!at_most("a".to_owned(), 3.21, 3.2).is_met);
        assert!(at_least("b".to_owned(), 30.0, 30.0).is_met);
        assert!(!at_least("b".to_owned(), 29.9, 30.0).is_met);
        assert!(!at_least("not measured".to_owned(), f64::NAN, 1.0).is_met);
    }
}
