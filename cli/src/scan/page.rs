//! The scan as one page, in the manner of the report.

use maud::{Markup, html};
use quell_engine::{Description, Safety};

use super::model::{Model, OfControl, Violation};
use crate::{
    report::{
        page::{Column, Data, Kind, column, data, document, number, severity, sorted, table, text},
        untrusted::Untrusted,
        words::{minute, thousands},
    },
    terminal,
};

/// The whole page.
pub(super) fn page(model: &Model) -> String {
    let title = format!("Quell scan of {} in {}", model.place.account, model.place.region);
    document(
        &title,
        &html! {
            header { (head(model)) }
            main { (sections(model)) }
            footer { (foot(model)) }
        },
    )
}

fn head(model: &Model) -> Markup {
    let place = &model.place;
    html! {
        p.kicker { "Quell scan" }
        h1 { "Account " (shown(&place.account)) " in " (shown(&place.region)) }
        p.place {
            "Looked at as " (shown(&place.principal)) ", "
            time datetime=(format!("{:.0}", model.begun)) { (minute(model.begun)) " UTC" } "."
        }
        p.summary {
            @if !model.complete { "Not everything could be looked at. " }
            @match model.totals.violating {
                0 if model.complete => "Nothing is wrong.",
                0 => "Nothing wrong was found in the rest.",
                1 => "1 violation was found.",
                count => { (thousands(count)) " violations were found." }
            }
        }
    }
}

fn sections(model: &Model) -> Markup {
    let totals = &model.totals;
    let figure = |count: u64, words: &str| {
        html! { div { dt { (words) } dd { strong { (thousands(count)) } } } }
    };
    html! {
        dl.figures {
            (figure(totals.resources, "looked at"))
            (figure(totals.compliant, "compliant"))
            (figure(totals.violating, "violating"))
            (figure(totals.unread, "could not be read"))
        }
        @if !model.unread.is_empty() {
            section #unread {
                h2 { "Could not be looked at" }
                p { "Take these as neither right nor wrong: nobody knows." }
                ul { @for line in model.unread_in_words() { li { (shown(&line)) } } }
            }
        }
        section #violations {
            h2 { "What is wrong, and what would be done" }
            @if model.violations.is_empty() {
                p.none { "Nothing wrong was found." }
            } @else {
                (violations(&model.violations))
            }
        }
        section #controls {
            h2 { "What was looked at" }
            (controls(&model.controls))
        }
    }
}

fn violations(violations: &[Violation]) -> Markup {
    let rows = violations.iter().map(|one| {
        vec![
            text(&Untrusted::new(&one.resource)),
            Data { class: "control", ..data(html! { (one.control) }) },
            severity(one.severity),
            Data { class: "reason", ..data(would_be_done(one)) },
        ]
    });
    let columns = [
        column("Resource", Kind::Text),
        column("Control", Kind::Text),
        sorted("Severity", Kind::Rank, "descending"),
        column("What would be done", Kind::Text),
    ];
    table("Violations", &columns, rows.collect())
}

fn would_be_done(one: &Violation) -> Markup {
    html! {
        @if one.safety == Safety::ReportOnly { small { "is only ever reported" } }
        @for Description { action, minus, plus, .. } in &one.changes {
            small { (shown(action)) }
            @for line in minus { div { "− " (shown(line)) } }
            @for line in plus { div { "+ " (shown(line)) } }
        }
        @for note in &one.notes { small { (shown(note)) } }
    }
}

fn controls(controls: &[OfControl]) -> Markup {
    let rows = controls.iter().map(|one| {
        let name = html! {
            (one.control)
            @if one.unlisted.is_some() { small { "not listed to the end" } }
        };
        let counts = &one.counts;
        vec![
            Data { class: "control", ..data(name) },
            severity(one.severity),
            number(counts.resources),
            number(counts.compliant),
            number(counts.violating),
            number(counts.unread),
        ]
    });
    let columns: [Column; 6] = [
        column("Control", Kind::Text),
        column("Severity", Kind::Rank),
        column("Looked at", Kind::Number),
        column("Compliant", Kind::Number),
        column("Violating", Kind::Number),
        column("Not read", Kind::Number),
    ];
    table("Resources by control", &columns, rows.collect())
}

fn foot(model: &Model) -> Markup {
    html! {
        h2 { "How this was counted" }
        ul {
            li { "A resource counts once for each control that looks at it." }
            @for note in model.notes() { li { (shown(&note)) } }
        }
        p { "Made by quell " (env!("CARGO_PKG_VERSION")) "." }
    }
}

/// Text of others: visible characters on one line, isolated, so that right-to-left text turns nothing around it.
fn shown(text: &str) -> Markup {
    html! { bdi { (terminal::one_line(text)) } }
}

#[cfg(test)]
mod tests {
    use quell_engine::text::is_invisible;

    use super::{super::model::sample, *};

    #[test]
    fn whatever_a_resource_is_called_it_is_text() {
        let page = page(&sample::model());
        assert!(!page.contains("<img"), "markup stays text");
        assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;"));
        assert!(!page.contains(|c| is_invisible(c) && c != '\n'), "nothing invisible is left");
    }

    #[test]
    fn the_page_names_nothing_outside_of_itself_and_says_what_is_unknown() {
        let page = page(&sample::model());
        let written = page.replace("&lt;img src=x", "");
        for part in ["http:", "https:", "url(", "@import", "src=", " style=", "<link"] {
            assert!(!written.contains(part), "{part}");
        }
        assert!(page.contains("Not everything could be looked at."));
        assert!(page.contains("2 violations were found."));
        let none = super::page(&sample::nothing());
        assert!(none.contains("Nothing is wrong."));
    }
}
