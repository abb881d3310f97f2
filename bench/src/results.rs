//! What a run found, as it is written to `latest.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    case::Case,
    cost::{Assumed, Bill, Capacity, Standing, Usage},
    error::Error,
    instructions::Instructions,
    scale::{Growth, Storm},
    scene::{MEMORY_OF_CUSTODIAN, MEMORY_OF_QUELL, Programs, Side},
    stats::{Spread, quantile},
    trial::{Checks, Span, Trial, Trips, counted},
};

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    /// Fresh processes of each side and case, and warm events of each process.
    pub(crate) processes: usize,
    pub(crate) warm_events: usize,
    pub(crate) cases: Vec<CaseResult>,
    pub(crate) floor: Option<Measured>,
    pub(crate) storm: Option<Storm>,
    pub(crate) growth: Vec<Growth>,
    pub(crate) cost: Option<Cost>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) system: String,
    /// Of the peer and what it runs on.
    pub(crate) versions: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct CaseResult {
    pub(crate) case: String,
    pub(crate) quell: Measured,
    /// Over TLS.
    pub(crate) encrypted: Option<Measured>,
    pub(crate) custodian: Option<Measured>,
}

/// One side in one case. Times in milliseconds.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Measured {
    pub(crate) package_bytes: u64,
    pub(crate) init: Times,
    pub(crate) cold: Times,
    /// The first event alone, from when it was given.
    pub(crate) first: Times,
    pub(crate) cold_fix: Option<Spread>,
    pub(crate) warm: Times,
    pub(crate) warm_p95: f64,
    pub(crate) warm_fix: Option<Spread>,
    pub(crate) compliant: Option<Times>,
    pub(crate) peak_mib: Spread,
    pub(crate) calls: BTreeMap<String, usize>,
    pub(crate) cold_calls: usize,
    pub(crate) compliant_calls: BTreeMap<String, usize>,
    pub(crate) compliant_writes: usize,
    pub(crate) compliant_depth: usize,
    pub(crate) capacity: Capacity,
    pub(crate) compliant_capacity: Capacity,
    pub(crate) log_bytes: usize,
    pub(crate) compliant_log_bytes: usize,
    pub(crate) checks: Checks,
    pub(crate) trips: Option<Trips>,
    pub(crate) instructions: Option<Instructions>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Times {
    pub(crate) wall: Spread,
    /// Without the time in which it waited for AWS.
    pub(crate) own_wall: Spread,
    pub(crate) cpu: Spread,
}

/// By case and side: dollars for a million fixes, a million compliant events, and a thousand accounts for a month.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Cost {
    pub(crate) region: String,
    pub(crate) date: String,
    pub(crate) assumed: Assumed,
    pub(crate) standing: Standing,
    pub(crate) rows: Vec<CostRow>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct CostRow {
    pub(crate) case: String,
    pub(crate) side: String,
    pub(crate) million_fixes: Bill,
    pub(crate) million_compliant: Bill,
    pub(crate) thousand_accounts: Bill,
}

impl Measured {
    /// What many processes of one side say together.
    pub(crate) fn of(
        programs: &Programs,
        side: Side,
        case: Case,
        trials: &[Trial],
    ) -> Result<Option<Self>, Error> {
        let Some(last) = trials.last() else { return Ok(None) };
        let each = |of: fn(&Trial) -> Span| -> Vec<Span> { trials.iter().map(of).collect() };
        let warm: Vec<Span> = trials.iter().flat_map(|trial| trial.warm.clone()).collect();
        let compliant: Vec<Span> =
            trials.iter().flat_map(|trial| trial.compliant.clone()).collect();
        let walls: Vec<f64> = warm.iter().map(|span| span.wall).collect();
        let cold_fix: Vec<f64> = trials.iter().filter_map(|trial| trial.cold_fix).collect();
        let warm_fix: Vec<f64> = trials.iter().flat_map(|trial| trial.warm_fix.clone()).collect();
        let peaks: Vec<f64> = trials.iter().map(|trial| trial.peak_mib).collect();
        let mut checks = Checks::default();
        trials.iter().for_each(|trial| checks.add(trial.checks));
        let compliant_calls = &last.compliant_calls;
        Ok(Some(Self {
            package_bytes: programs.package_bytes(side, case)?,
            init: Times::of(&each(|trial| trial.init)),
            cold: Times::of(&each(|trial| trial.cold)),
            first: Times::of(&each(|trial| trial.first)),
            cold_fix: Spread::of(&cold_fix),
            warm: Times::of(&warm),
            warm_p95: quantile(&walls, 0.95).unwrap_or_default(),
            warm_fix: Spread::of(&warm_fix),
            compliant: (!compliant.is_empty()).then(|| Times::of(&compliant)),
            peak_mib: Spread::of(&peaks).unwrap_or_default(),
            calls: counted(&last.warm_calls),
            cold_calls: last.cold_calls.len(),
            compliant_calls: counted(compliant_calls),
            compliant_writes: compliant_calls.iter().filter(|call| call.is_write).count(),
            compliant_depth: crate::trips::depth_of_all(compliant_calls),
            capacity: last.capacity,
            compliant_capacity: last.compliant_capacity,
            log_bytes: last.log_bytes,
            compliant_log_bytes: last.compliant_log_bytes,
            checks,
            trips: None,
            instructions: None,
        }))
    }

    pub(crate) fn calls_in_all(&self) -> usize {
        self.calls.values().sum()
    }

    /// Calls on the service of the resource.
    pub(crate) fn own_calls(&self, case: Case) -> usize {
        of_service(&self.calls, case)
    }

    pub(crate) fn own_compliant_calls(&self, case: Case) -> usize {
        of_service(&self.compliant_calls, case)
    }

    /// What a fix, and a compliant event, take of AWS.
    pub(crate) fn usage(&self, side: Side) -> [Usage; 2] {
        let is_quell = side != Side::Custodian;
        let own = if is_quell { MEMORY_OF_QUELL } else { MEMORY_OF_CUSTODIAN };
        let services = |calls: &BTreeMap<String, usize>| {
            let names = calls.keys().map(|call| call.rsplit_once(' ').map_or("", |(name, _)| name));
            names.collect::<std::collections::BTreeSet<_>>().len() as f64
        };
        let common = Usage {
            memory_mb: f64::from(own),
            is_arm: is_quell,
            // The template traces every invocation; Cloud Custodian by default none.
            traces: if is_quell { 1.0 } else { 0.0 },
            ..Usage::default()
        };
        let depth = self
            .trips
            .as_ref()
            .map_or_else(|| self.calls_in_all() as f64, |trips| trips.answer_depth as f64);
        let publishes = self.calls.get("SNS Publish").copied().unwrap_or_default();
        let fix = Usage {
            cold_cpu_ms: self.cold.cpu.median,
            warm_cpu_ms: self.warm.cpu.median,
            depth,
            services: services(&self.calls),
            capacity: self.capacity,
            messages: publishes as f64,
            log_bytes: self.log_bytes as f64,
            ..common
        };
        let warm = self.compliant.map_or(self.warm.cpu.median, |times| times.cpu.median);
        let start = self.cold.cpu.median - self.warm.cpu.median;
        let compliant = Usage {
            cold_cpu_ms: start.max(0.0) + warm,
            warm_cpu_ms: warm,
            depth: self.compliant_depth as f64,
            services: services(&self.compliant_calls),
            capacity: self.compliant_capacity,
            log_bytes: self.compliant_log_bytes as f64,
            ..common
        };
        [fix, compliant]
    }
}

fn of_service(calls: &BTreeMap<String, usize>, case: Case) -> usize {
    let own = format!("{} ", case.service());
    calls.iter().filter(|(call, _)| call.starts_with(&own)).map(|(_, count)| count).sum()
}

impl Times {
    fn of(spans: &[Span]) -> Self {
        let spread = |of: fn(&Span) -> f64| {
            Spread::of(&spans.iter().map(of).collect::<Vec<_>>()).unwrap_or_default()
        };
        Self {
            wall: spread(|span| span.wall),
            own_wall: spread(|span| span.own_wall),
            cpu: spread(|span| span.cpu),
        }
    }
}
