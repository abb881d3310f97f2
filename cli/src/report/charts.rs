//! Charts as SVG without a view box: lengths are parts of 100 of whatever width there is, so that letters stay as large on
//! a telephone as they are on paper.

use maud::{Markup, html};

use super::{
    model::{Bucket, Fate, OfSeverity},
    words::{self, bucket, counted, thousands},
};

/// Heights in pixels.
const LABEL: u64 = 18;
const BAR: u64 = 16;
const ROW: u64 = 48;

/// One bar for each severity, as long as it was frequent, in pieces for what became of them.
pub(super) fn fates(severities: &[OfSeverity]) -> Markup {
    let most = severities.iter().map(|one| one.found).max().unwrap_or(0);
    let said: Vec<String> = severities
        .iter()
        .map(|one| {
            let parts = Fate::ALL.map(|fate| (fate, one.outcomes.of_fate(fate)));
            let parts: Vec<String> = parts
                .iter()
                .filter(|(_, count)| *count > 0)
                .map(|(fate, count)| format!("{} {}", thousands(*count), fate.words()))
                .collect();
            format!("{}: {}", words::severity(one.severity), parts.join(", "))
        })
        .collect();
    let rows = u64::try_from(severities.len()).unwrap_or(0);
    html! {
        ul.legend aria-hidden="true" {
            @for fate in Fate::ALL {
                li { span.swatch.(class(fate)) {} (fate.words()) }
            }
        }
        svg role="img" width="100%" height=(rows * ROW) aria-labelledby="fates-title fates-desc" {
            title #fates-title { "Violations by severity and what became of them" }
            desc #fates-desc { (said.join("; ")) "." }
            @for (row, one) in (0_u64..).zip(severities) {
                text.label x="0" y=(row * ROW + LABEL - 5) {
                    (words::severity(one.severity)) " "
                    tspan.count dx="4" { (thousands(one.found)) }
                }
                @for (fate, start, width) in pieces(one, most) {
                    rect.(class(fate)) x=(part(start, most)) y=(row * ROW + LABEL + 2) width=(part(width, most)) height=(BAR) {
                        title { (words::severity(one.severity)) ": " (thousands(width)) " " (fate.words()) }
                    }
                }
            }
        }
    }
}

/// What became of how many, with where each piece begins.
fn pieces(one: &OfSeverity, most: u64) -> Vec<(Fate, u64, u64)> {
    let mut start = 0;
    let mut pieces = Vec::new();
    for fate in Fate::ALL {
        let count = one.outcomes.of_fate(fate);
        if count > 0 && most > 0 {
            pieces.push((fate, start, count));
        }
        start += count;
    }
    pieces
}

/// One bar for each bucket.
pub(super) fn histogram(buckets: &[Bucket]) -> Markup {
    const HEIGHT: u64 = 24;
    const LEFT: u64 = 24;
    const WIDTH: u64 = 62;
    let most = buckets.iter().map(|one| one.count).max().unwrap_or(0);
    let labelled: Vec<(String, u64)> = labelled(buckets);
    let said: Vec<String> =
        labelled.iter().map(|(label, count)| format!("{label}: {}", thousands(*count))).collect();
    let rows = u64::try_from(buckets.len()).unwrap_or(0);
    html! {
        svg role="img" width="100%" height=(rows * HEIGHT) aria-labelledby="times-title times-desc" {
            title #times-title { "Fixes by how long they took from the event" }
            desc #times-desc { (said.join("; ")) "." }
            @for (row, (label, count)) in (0_u64..).zip(&labelled) {
                text.label x="0" y=(row * HEIGHT + 16) { (label) }
                @let length = (count * WIDTH * 100).checked_div(most).unwrap_or(0);
                @if *count > 0 {
                    rect.fixed x=(format!("{LEFT}%")) y=(row * HEIGHT + 4) width=(hundredths(length)) height=(BAR) {
                        title { (label) ": " (counted(*count, "fix", "fixes")) }
                    }
                }
                text.count x=(hundredths(LEFT * 100 + length + 150)) y=(row * HEIGHT + 16) { (thousands(*count)) }
            }
            line.axis x1=(format!("{LEFT}%")) x2=(format!("{LEFT}%")) y1="0" y2=(rows * HEIGHT) {}
        }
    }
}

pub(super) fn labelled(buckets: &[Bucket]) -> Vec<(String, u64)> {
    let before = [None].into_iter().chain(buckets.iter().copied().map(Some));
    buckets.iter().zip(before).map(|(one, before)| (bucket(*one, before), one.count)).collect()
}

pub(super) fn class(fate: Fate) -> &'static str {
    match fate {
        Fate::Fixed => "fixed",
        Fate::Waits => "waits",
        Fate::NotFixed => "not-fixed",
        Fate::LeftAsIs => "left",
        Fate::Permitted => "permitted",
    }
}

fn part(count: u64, whole: u64) -> String {
    hundredths((count * 10_000).checked_div(whole).unwrap_or(0))
}

/// `1234` is `12.34%`.
fn hundredths(length: u64) -> String {
    format!("{}.{:02}%", length / 100, length % 100)
}
