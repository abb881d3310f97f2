//! Metrics in CloudWatch's embedded format: a line of the log of which CloudWatch makes metrics, so that measuring costs
//! no call.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
//!
//! | metric | unit | dimensions |
//! |---|---|---|
//! | `Outcomes` | count | `Outcome`; `Control` and `Outcome`; `Severity` and `Outcome` |
//! | `TimeToFix`: from when the function began until the fix was in force | ms | none; `Control` |
//! | `SweptResources`, `SweptViolations`, `SweepFailures`: what a sweep that is through saw | count | none; `Control` |
//! | `ExposureTime`: from the event until the fix was in force | ms | none; `Control` |

use std::{
    io::{self, Write as _},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{Meta, Outcome, ledger::Found, notify::severity};

/// The namespace of all metrics.
pub const NAMESPACE: &str = "Quell";

/// One evaluation.
#[derive(Clone, Copy, Debug)]
pub struct Measured<'a> {
    pub meta: &'a Meta,
    pub outcome: Outcome,
    /// How long after the evaluation began the fix was in force. `None`: nothing was fixed.
    pub fixed: Option<Duration>,
    /// The same since the event. `None`: the event does not say when it happened.
    pub open: Option<SignedDuration>,
}

/// Writes the line. What cannot be written is not measured.
pub fn write(measured: &Measured<'_>) {
    let _ = writeln!(io::stdout(), "{}", line(measured, Timestamp::now()));
}

/// What a sweep found of one control's resources, once it was through with all.
pub fn write_sweep(meta: &Meta, found: Found) {
    let _ = writeln!(io::stdout(), "{}", sweep_line(meta, found, Timestamp::now()));
}

fn sweep_line(meta: &Meta, found: Found, now: Timestamp) -> Value {
    let unit = |name: &str| json!({"Name": name, "Unit": "Count"});
    let metrics = ["SweptResources", "SweptViolations", "SweepFailures"].map(unit);
    let directive = json!({
        "Namespace": NAMESPACE,
        "Dimensions": [[], ["Control"]],
        "Metrics": metrics,
    });
    json!({
        "Control": meta.id,
        "SweptResources": found.resources,
        "SweptViolations": found.violating + found.backlog + found.known,
        "SweepFailures": found.failed,
        "_aws": {"Timestamp": now.as_millisecond(), "CloudWatchMetrics": [directive]},
    })
}

fn line(measured: &Measured<'_>, now: Timestamp) -> Value {
    let Measured { meta, outcome, fixed, open } = measured;
    let mut directives = vec![json!({
        "Namespace": NAMESPACE,
        "Dimensions": [["Outcome"], ["Control", "Outcome"], ["Severity", "Outcome"]],
        "Metrics": [{"Name": "Outcomes", "Unit": "Count"}],
    })];
    let mut line = json!({
        "Control": meta.id,
        "Severity": severity(meta.severity),
        "Outcome": outcome.as_str(),
        "Outcomes": 1,
    });
    let times = [
        ("TimeToFix", fixed.map(|fixed| fixed.as_millis())),
        // Clocks may disagree.
        ("ExposureTime", open.map(|open| open.unsigned_abs().as_millis())),
    ];
    let times: Vec<_> = times.into_iter().filter_map(|(name, ms)| Some((name, ms?))).collect();
    if !times.is_empty() {
        let metrics: Vec<_> =
            times.iter().map(|(name, _)| json!({"Name": name, "Unit": "Milliseconds"})).collect();
        directives.push(json!({
            "Namespace": NAMESPACE,
            "Dimensions": [[], ["Control"]],
            "Metrics": metrics,
        }));
    }
    for (name, ms) in times {
        line[name] = json!(u64::try_from(ms).unwrap_or(u64::MAX));
    }
    line["_aws"] = json!({"Timestamp": now.as_millisecond(), "CloudWatchMetrics": directives});
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::samples::META;

    fn measured(outcome: Outcome, fixed: Option<u64>, open: Option<i64>) -> Value {
        let now = "2026-03-01T02:03:04.5Z".parse().unwrap();
        let measured = Measured {
            meta: &META,
            outcome,
            fixed: fixed.map(Duration::from_millis),
            open: open.map(SignedDuration::from_millis),
        };
        line(&measured, now)
    }

    #[test]
    fn a_fix_is_counted_and_timed() {
        insta::assert_json_snapshot!(measured(Outcome::Fixed, Some(412), Some(6_700)));
    }

    #[test]
    fn what_has_no_time_has_no_metric_of_it() {
        let line = measured(Outcome::Observed, None, None);
        assert_eq!(line["_aws"]["CloudWatchMetrics"].as_array().unwrap().len(), 1);
        assert!(line.get("TimeToFix").is_none() && line.get("ExposureTime").is_none());
    }

    #[test]
    fn every_metric_and_dimension_that_is_named_has_a_value() {
        for (fixed, open) in
            [(None, None), (Some(1), None), (Some(1), Some(2)), (Some(1), Some(-2))]
        {
            let line = measured(Outcome::Fixed, fixed, open);
            assert!(line["_aws"]["Timestamp"].is_i64());
            for directive in line["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
                let dimensions = directive["Dimensions"].as_array().unwrap();
                for name in dimensions.iter().flat_map(|set| set.as_array().unwrap()) {
                    assert!(line[name.as_str().unwrap()].is_string(), "{name}");
                }
                for metric in directive["Metrics"].as_array().unwrap() {
                    assert!(line[metric["Name"].as_str().unwrap()].is_u64(), "{metric}");
                }
            }
        }
    }
}
