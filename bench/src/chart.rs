//! The results as a picture.

use std::fmt::Write as _;

use crate::{
    case::Case,
    results::{Measured, Results},
};

/// A panel: what it shows, how a value is written, and the value.
type Panel = (&'static str, fn(f64) -> String, fn(&Measured) -> f64);

const PANELS: [Panel; 4] = [
    ("Cold start to response, CPU", milliseconds, |m| m.cold.cpu.median),
    ("Warm event, CPU", milliseconds, |m| m.warm.cpu.median),
    ("Peak memory", |mib| format!("{mib:.0} MiB"), |m| m.peak_mib.median),
    ("AWS calls, warm event", |calls| format!("{calls:.0}"), |m| m.calls_in_all() as f64),
];

const WIDTH: usize = 760;
const PANEL_WIDTH: usize = 370;
const PANEL_HEIGHT: usize = 168;
const BAR: usize = 13;
const LABEL: usize = 46;
const LONGEST: f64 = 230.0;

/// `None`: there is nothing to compare.
pub(crate) fn svg(results: &Results) -> Option<String> {
    let pairs: Vec<(Case, &Measured, &Measured)> = results
        .cases
        .iter()
        .filter_map(|result| {
            let case = Case::named(&result.case).ok()?;
            Some((case, &result.quell, result.custodian.as_ref()?))
        })
        .collect();
    if pairs.is_empty() {
        return None;
    }
    let height = 2 * PANEL_HEIGHT + 40;
    let mut svg = String::new();
    let _ = writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="Quell and Cloud Custodian, measured side by side">
<style>
text {{ font: 12px system-ui, sans-serif; fill: #333; }}
.title {{ font-weight: 600; }}
.quell {{ fill: #0b7a75; }}
.peer {{ fill: #b8b8b8; }}
@media (prefers-color-scheme: dark) {{ text {{ fill: #ddd; }} .quell {{ fill: #2fb5ae; }} .peer {{ fill: #777; }} }}
</style>
<rect class="quell" x="10" y="8" width="12" height="12"/><text x="28" y="18">Quell</text>
<rect class="peer" x="84" y="8" width="12" height="12"/><text x="102" y="18">Cloud Custodian</text>"#
    );
    for (number, (title, written, value)) in PANELS.iter().enumerate() {
        let (left, top) = (10 + number % 2 * (PANEL_WIDTH + 10), 44 + number / 2 * PANEL_HEIGHT);
        let _ = writeln!(svg, r#"<text class="title" x="{left}" y="{top}">{title}</text>"#);
        let values: Vec<(Case, f64, f64)> =
            pairs.iter().map(|(case, quell, peer)| (*case, value(quell), value(peer))).collect();
        let most = values.iter().flat_map(|(_, quell, peer)| [*quell, *peer]).fold(0.0, f64::max);
        for (row, (case, quell, peer)) in values.into_iter().enumerate() {
            let y = top + 12 + row * (2 * BAR + 12);
            let (middle, bars) = (y + BAR + 4, left + LABEL);
            let _ = writeln!(svg, r#"<text x="{left}" y="{middle}">{}</text>"#, case.name());
            for (class, y, value) in [("quell", y, quell), ("peer", y + BAR + 1, peer)] {
                let length = (value / most * LONGEST).max(1.0);
                let (end, base) = (bars as f64 + length + 5.0, y + BAR - 2);
                let _ = writeln!(
                    svg,
                    r#"<rect class="{class}" x="{bars}" y="{y}" width="{length:.1}" height="{BAR}"/><text x="{end:.1}" y="{base}">{}</text>"#,
                    written(value)
                );
            }
        }
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

fn milliseconds(value: f64) -> String {
    if value < 10.0 { format!("{value:.1} ms") } else { format!("{value:.0} ms") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{CaseResult, Machine};

    fn results(custodian: Option<Measured>) -> Results {
        let mut quell = Measured::default();
        quell.warm.cpu.median = 2.5;
        Results {
            machine: Machine {
                date: String::new(),
                processor: String::new(),
                cores: 2,
                system: String::new(),
                versions: Default::default(),
            },
            processes: 1,
            warm_events: 1,
            cases: vec![CaseResult { case: "acl".to_owned(), quell, encrypted: None, custodian }],
            floor: None,
            storm: None,
            growth: Vec::new(),
            cost: None,
        }
    }

    #[test]
    fn both_sides_have_a_bar_with_their_value() {
        let mut peer = Measured::default();
        peer.warm.cpu.median = 250.0;
        let svg = svg(&results(Some(peer))).unwrap();
        assert!(svg.contains(">2.5 ms<") && svg.contains(">250 ms<"), "{svg}");
        assert_eq!(svg.matches("<rect").count(), 2 + 2 * PANELS.len());
    }

    #[test]
    fn there_is_no_picture_of_one_side() {
        assert_eq!(svg(&results(None)), None);
    }
}
