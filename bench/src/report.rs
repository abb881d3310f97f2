//! The results as a page of Markdown.

use std::fmt::Write as _;

use crate::{
    case::Case,
    cost::Bill,
    goals::Goal,
    results::{CaseResult, Measured, Results},
    stats::Spread,
};

pub(crate) fn markdown(results: &Results, goals: &[Goal]) -> String {
    let mut page = Page::default();
    let machine = &results.machine;
    let versions: Vec<String> =
        machine.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    page.line("# Benchmark");
    page.line("");
    page.line(&format!(
        "Made by `bench/run` on {}: {} cores of {}, {}. {} fresh processes of each side and case, interleaved, with {} warm events each.",
        machine.date, machine.cores, machine.processor, machine.system, results.processes, results.warm_events
    ));
    if !versions.is_empty() {
        page.line(&format!("Against {}.", versions.join(", ")));
    }
    page.line(
        "Medians, and in brackets the middle half. Times in milliseconds; the processor's (CPU) repeat well, those by the clock (wall) are this machine's, with an emulated AWS.",
    );
    for case in &results.cases {
        of_case(&mut page, case, results.floor.as_ref());
    }
    growth(&mut page, results);
    cost(&mut page, results);
    page.line("");
    page.line("## Goals");
    page.line("");
    page.row(&["goal", "limit", "measured", "met"]);
    page.rule(4);
    for goal in goals {
        let met = if goal.is_met { "yes" } else { "**no**" };
        page.row(&[&goal.what, &number(goal.limit), &number(goal.measured), met]);
    }
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, line: &str) {
        let _ = writeln!(self.text, "{line}");
    }

    fn row(&mut self, cells: &[&str]) {
        self.line(&format!("| {} |", cells.join(" | ")));
    }

    fn rule(&mut self, columns: usize) {
        self.line(&format!("|{}", "---|".repeat(columns)));
    }
}

fn of_case(page: &mut Page, result: &CaseResult, floor: Option<&Measured>) {
    let Ok(case) = Case::named(&result.case) else { return };
    page.line("");
    page.line(&format!("## {}", case.title()));
    page.line("");
    let columns: Vec<(&str, &Measured)> = [
        ("Quell", Some(&result.quell)),
        ("Cloud Custodian", result.custodian.as_ref()),
        ("Quell, TLS", result.encrypted.as_ref()),
        ("`lambda_runtime`, no SDK", floor),
    ]
    .into_iter()
    .filter_map(|(name, measured)| Some((name, measured?)))
    .collect();
    let mut head = vec![""];
    head.extend(columns.iter().map(|(name, _)| *name));
    page.row(&head);
    page.rule(head.len());
    let mut row = |name: &str, of: &dyn Fn(&Measured) -> String| {
        let cells: Vec<String> = columns.iter().map(|(_, measured)| of(measured)).collect();
        let mut cells: Vec<&str> = cells.iter().map(String::as_str).collect();
        cells.insert(0, name);
        page.row(&cells);
    };
    row("package, MB zipped", &|m| format!("{:.2}", m.package_bytes as f64 / 1e6));
    row("init, wall", &|m| spread(&m.init.wall));
    row("init, CPU", &|m| spread(&m.init.cpu));
    row("cold start to response, wall", &|m| spread(&m.cold.wall));
    row("the same without waiting for AWS", &|m| spread(&m.cold.own_wall));
    row("cold start to response, CPU", &|m| spread(&m.cold.cpu));
    row("cold start to fix in force, wall", &|m| maybe(m.cold_fix.as_ref()));
    row("first event alone, CPU", &|m| spread(&m.first.cpu));
    row("warm event, wall", &|m| spread(&m.warm.wall));
    row("the same without waiting for AWS", &|m| spread(&m.warm.own_wall));
    row("warm event, wall, p95", &|m| number(m.warm_p95));
    row("warm event to fix in force, wall", &|m| maybe(m.warm_fix.as_ref()));
    row("warm event, CPU", &|m| spread(&m.warm.cpu));
    row("compliant event, CPU", &|m| maybe(m.compliant.map(|times| times.cpu).as_ref()));
    row("peak memory, MiB", &|m| spread(&m.peak_mib));
    row("AWS calls, cold / warm / compliant", &|m| {
        let compliant: usize = m.compliant_calls.values().sum();
        format!("{} / {} / {compliant}", m.cold_calls, m.calls_in_all())
    });
    row("of these on its own service, warm", &|m| m.own_calls(case).to_string());
    row("round trips to the fix, to the response", &|m| {
        let trips = m.trips.as_ref();
        trips.map_or_else(dash, |trips| format!("{} / {}", trips.fix_depth, trips.answer_depth))
    });
    row("the same, slope of latency", &|m| {
        let slopes = |trips: &crate::trial::Trips| {
            format!("{:.2} / {:.2}", trips.fix_slope, trips.answer_slope)
        };
        m.trips.as_ref().map_or_else(dash, slopes)
    });
    row("million instructions: init / cold / warm", &|m| {
        m.instructions.map_or_else(dash, |count| {
            format!("{:.1} / {:.1} / {:.1}", count.init, count.cold, count.warm)
        })
    });
    row("fixed, and nothing else changed", &|m| {
        let checks = m.checks;
        if checks.events == 0 {
            return dash();
        }
        format!("{} and {} of {}", checks.fixed, checks.alone, checks.events)
    });
    page.line("");
    for (name, measured) in
        columns.iter().take(2).filter(|(_, measured)| !measured.calls.is_empty())
    {
        let calls: Vec<String> = measured
            .calls
            .iter()
            .map(
                |(call, count)| {
                    if *count == 1 { call.clone() } else { format!("{call} ×{count}") }
                },
            )
            .collect();
        page.line(&format!("{name} calls, warm: {}.", calls.join(", ")));
    }
}

fn growth(page: &mut Page, results: &Results) {
    if let Some(storm) = &results.storm {
        page.line("");
        page.line("## Many events");
        page.line("");
        let outcomes: Vec<String> =
            storm.outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
        page.line(&format!(
            "{} mixed events, {} at a time: {:.0} events a second on this machine, emulated AWS included; {:.2} ms CPU of {} processes and {:.2} AWS calls an event; answered after {} ms (p95 {} ms). {}; {} of {} resources are right afterwards.",
            storm.events,
            storm.workers,
            storm.events_per_second,
            storm.cpu_ms_per_event,
            storm.processes,
            storm.calls_per_event,
            spread(&storm.answer_ms),
            number(storm.answer_p95_ms),
            outcomes.join(", "),
            storm.fixed,
            storm.resources
        ));
    }
    if !results.growth.is_empty() {
        page.line("");
        page.row(&["case", "other resources in the account", "warm event, CPU", "AWS calls"]);
        page.rule(4);
        for row in &results.growth {
            let cells = [row.others.to_string(), spread(&row.warm_cpu_ms), row.calls.to_string()];
            page.row(&[&row.case, &cells[0], &cells[1], &cells[2]]);
        }
    }
}

fn cost(page: &mut Page, results: &Results) {
    let Some(cost) = &results.cost else { return };
    let assumed = &cost.assumed;
    page.line("");
    page.line("## Cost");
    page.line("");
    page.line(&format!(
        "US dollars at the list prices of {} ({}), without free tiers: `bench/prices.toml`. A thousand accounts have {} matching events each a month, of which {:.0} % are fixed and {:.0} % find no process running; a call takes {} ms. {} alarms, {} dashboard and {} key of each of Quell's stacks are in the last column, and are most of it.",
        cost.region,
        cost.date,
        assumed.events,
        assumed.violating * 100.0,
        assumed.cold * 100.0,
        assumed.call_ms,
        cost.standing.alarms,
        cost.standing.dashboards,
        cost.standing.keys
    ));
    page.line("");
    page.row(&[
        "case",
        "side",
        "a million fixes",
        "a million compliant events",
        "1,000 accounts for a month",
        "of it for events",
    ]);
    page.rule(6);
    for row in &cost.rows {
        let standing = ["Alarms", "Dashboards", "Keys"];
        let for_events: f64 = row
            .thousand_accounts
            .iter()
            .filter(|(name, _)| !standing.contains(&name.as_str()))
            .map(|(_, usd)| usd)
            .sum();
        let cells = [
            bill(&row.million_fixes),
            bill(&row.million_compliant),
            format!("{:.2}", row.thousand_accounts.values().sum::<f64>()),
            format!("{for_events:.2}"),
        ];
        page.row(&[&row.case, &row.side, &cells[0], &cells[1], &cells[2], &cells[3]]);
    }
}

/// The sum, and what it is made of.
fn bill(bill: &Bill) -> String {
    let parts = bill.iter().filter(|(_, usd)| **usd > 0.0);
    let parts: Vec<String> = parts.map(|(name, usd)| format!("{name} {usd:.2}")).collect();
    format!("{:.2} ({})", bill.values().sum::<f64>(), parts.join(", "))
}

fn spread(spread: &Spread) -> String {
    if spread.count < 2 {
        return number(spread.median);
    }
    format!("{} ({}–{})", number(spread.median), number(spread.low), number(spread.high))
}

fn maybe(one: Option<&Spread>) -> String {
    one.map_or_else(dash, spread)
}

fn dash() -> String {
    "–".to_owned()
}

/// Three digits.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!(number(1234.5), "1234");
        assert_eq!(number(123.4), "123");
        assert_eq!(number(12.34), "12.3");
        assert_eq!(number(1.234), "1.23");
    }

    #[test]
    fn a_bill_shows_what_it_is_made_of() {
        let parts = [("Lambda", 1.5), ("SNS", 0.5), ("X-Ray", 0.0)];
        let parts = parts.map(|(name, usd)| (name.to_owned(), usd));
        assert_eq!(bill(&parts.into()), "2.00 (Lambda 1.50, SNS 0.50)");
    }
}
