//! What an earlier run found, to compare with: counts decide, ratios are only shown.

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    case::Case,
    error::Error,
    results::{Measured, Results},
};

/// By name. What is not in both is not compared.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Recorded {
    /// The same on every machine.
    pub(crate) counts: BTreeMap<String, f64>,
    /// Of two things measured in one run: by how much they differ depends on the machine, but not by much.
    pub(crate) ratios: BTreeMap<String, f64>,
}

/// By what part a count may be larger than it was: by nothing, but for what another compiler or library changes a bit.
const MARGINS: [(&str, f64); 2] = [("package bytes", 0.10), ("instructions", 0.25)];

impl Recorded {
    pub(crate) fn of(results: &Results) -> Self {
        let mut recorded = Self::default();
        for result in &results.cases {
            let Ok(case) = Case::named(&result.case) else { continue };
            recorded.count(case, &result.quell);
            let mut ratio = |what: &str, value: f64| {
                if value.is_finite() {
                    let name = format!("{}: {what}", result.case);
                    recorded.ratios.insert(name, (value * 100.0).round() / 100.0);
                }
            };
            let quell = &result.quell;
            if let Some(peer) = &result.custodian {
                let of = |part: fn(&Measured) -> f64| part(peer) / part(quell);
                ratio("Cloud Custodian's warm CPU / Quell's", of(|m| m.warm.cpu.median));
                ratio("Cloud Custodian's cold CPU / Quell's", of(|m| m.cold.cpu.median));
                ratio("Cloud Custodian's cold wall / Quell's", of(|m| m.cold.wall.median));
                ratio(
                    "Cloud Custodian's cold wall / Quell's, without waiting for AWS",
                    of(|m| m.cold.own_wall.median),
                );
                ratio("Cloud Custodian's peak memory / Quell's", of(|m| m.peak_mib.median));
            }
            if let (Some(floor), Some(quell)) = (&results.floor, &result.encrypted) {
                let of = |part: fn(&Measured) -> f64| part(quell) / part(floor);
                ratio("init CPU over TLS / the floor's", of(|m| m.init.cpu.median));
                ratio("cold CPU over TLS / the floor's", of(|m| m.cold.cpu.median));
                ratio("peak memory over TLS / the floor's", of(|m| m.peak_mib.median));
            }
        }
        recorded
    }

    fn count(&mut self, case: Case, quell: &Measured) {
        let mut count = |what: &str, value: f64| {
            self.counts.insert(format!("{}: {what}", case.name()), value);
        };
        count("package bytes", quell.package_bytes as f64);
        count("calls, cold", quell.cold_calls as f64);
        count("calls, warm", quell.calls_in_all() as f64);
        count("calls, compliant", quell.compliant_calls.values().sum::<usize>() as f64);
        count("writes, compliant", quell.compliant_writes as f64);
        count("calls on its own service, warm", quell.own_calls(case) as f64);
        if let Some(trips) = &quell.trips {
            count("round trips to the fix", trips.fix_depth as f64);
            count("round trips to the response", trips.answer_depth as f64);
        }
        if let Some(instructions) = &quell.instructions {
            let rounded = |millions: f64| (millions * 100.0).round() / 100.0;
            count("million instructions, init", rounded(instructions.init));
            count("million instructions, cold", rounded(instructions.cold));
            count("million instructions, warm", rounded(instructions.warm));
        }
    }

    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(Error::file(path))?;
        serde_json::from_str(&text)
            .map_err(|error| Error::File { path: path.to_owned(), reason: error.to_string() })
    }

    /// A line for each figure, and those of the counts that are too large.
    pub(crate) fn compare(&self, now: &Self) -> (Vec<String>, Vec<String>) {
        let (mut lines, mut failed) = (Vec::new(), Vec::new());
        for (name, value) in &now.counts {
            let Some(was) = self.counts.get(name) else { continue };
            let line = format!("{name}: {value} (recorded: {was})");
            if *value > was * (1.0 + margin(name)) {
                failed.push(line);
            } else {
                lines.push(line);
            }
        }
        for (name, value) in &now.ratios {
            let Some(was) = self.ratios.get(name) else { continue };
            lines.push(format!("{name}: {value} (recorded: {was}; not judged)"));
        }
        (lines, failed)
    }
}

fn margin(name: &str) -> f64 {
    let known = MARGINS.into_iter().find(|(what, _)| name.contains(what));
    known.map_or(0.0, |(_, margin)| margin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(counts: &[(&str, f64)], ratios: &[(&str, f64)]) -> Recorded {
        let map = |pairs: &[(&str, f64)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
        };
        Recorded { counts: map(counts), ratios: map(ratios) }
    }

    #[test]
    fn one_call_more_is_too_many_and_one_less_is_fine() {
        let was = recorded(&[("acl: calls, warm", 10.0)], &[]);
        let more = was.compare(&recorded(&[("acl: calls, warm", 11.0)], &[]));
        assert_eq!(more.1, ["acl: calls, warm: 11 (recorded: 10)"]);
        let less = was.compare(&recorded(&[("acl: calls, warm", 9.0)], &[]));
        assert!(less.1.is_empty() && less.0.len() == 1);
    }

    #[test]
    fn size_and_instructions_have_a_margin() {
        let was = recorded(
            &[("acl: package bytes", 1000.0), ("acl: million instructions, warm", 4.0)],
            &[],
        );
        let fits = recorded(
            &[("acl: package bytes", 1100.0), ("acl: million instructions, warm", 5.0)],
            &[],
        );
        assert!(was.compare(&fits).1.is_empty());
        let large = recorded(
            &[("acl: package bytes", 1101.0), ("acl: million instructions, warm", 5.1)],
            &[],
        );
        assert_eq!(was.compare(&large).1.len(), 2);
    }

    #[test]
    fn a_ratio_is_shown_but_never_judged() {
        let was = recorded(&[], &[("acl: warm CPU", 80.0)]);
        let (lines, failed) = was.compare(&recorded(&[], &[("acl: warm CPU", 1.0)]));
        assert!(failed.is_empty());
        assert_eq!(lines, ["acl: warm CPU: 1 (recorded: 80; not judged)"]);
    }

    #[test]
    fn what_was_not_recorded_is_not_compared() {
        let was = recorded(&[], &[]);
        let now = recorded(&[("ssh: calls, warm", 12.0)], &[("ssh: x", 1.0)]);
        assert_eq!(was.compare(&now), (Vec::new(), Vec::new()));
    }
}
