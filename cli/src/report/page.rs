//! The report as one page of HTML that asks nobody for anything: style, script and charts are in it.

use aws_smithy_types::base64;
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use quell_engine::{Outcome, Severity};
use sha2::{Digest as _, Sha256};

use super::{
    charts,
    model::{
        Approval, Exempted, Fate, Flapping, List, Model, NeedsPerson, OUTCOMES, OfPrincipal, Place,
    },
    untrusted::Untrusted,
    words::{self, counted, lasted, minute, thousands},
};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The whole page.
pub(super) fn page(model: &Model) -> String {
    let title = format!("Quell report, {}", words::period(model));
    document(
        &title,
        &html! {
            header { (head(model)) }
            main {
                @if model.totals.records == 0 && model.exemptions.total == 0 {
                    (empty(model))
                } @else {
                    (sections(model))
                }
            }
            footer { (foot(model)) }
        },
    )
}

/// A page around this, which asks nobody for anything.
pub(crate) fn document(title: &str, body: &Markup) -> String {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (body)
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    markup.into_string()
}

/// Only this style and this script, and nothing from anywhere.
fn policy() -> String {
    let hash = |text: &str| base64::encode(Sha256::digest(text));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

fn head(model: &Model) -> Markup {
    html! {
        p.kicker { "Quell report" }
        h1 { (words::period(model)) }
        p.place { "Ledger of account " (model.account) " in " (model.region) ". Times are in UTC." }
        p.summary { (words::summary(model).join(" ")) }
    }
}

fn empty(model: &Model) -> Markup {
    html! {
        section.empty {
            h2 { "The ledger has no records of this period" }
            p {
                "Either nothing dangerous was changed from " (words::day(model.since)) " on, or no function of Quell heard of it. "
                "If you expected something, look whether the functions are deployed and their ceilings and policy let them observe."
            }
        }
    }
}

fn sections(model: &Model) -> Markup {
    let totals = &model.totals;
    let now = model.generated;
    html! {
        (figures(model))
        nav aria-label="Sections" {
            ul {
                li { a href="#person" { "Needs a person" } }
                li { a href="#approvals" { "Approvals" } }
                li { a href="#outcomes" { "Found and fixed" } }
                li { a href="#time" { "Time to fix" } }
                li { a href="#principals" { "Who caused it" } }
                li { a href="#exemptions" { "Exemptions" } }
                li { a href="#flapping" { "Flapping" } }
                li { a href="#accounts" { "Accounts" } }
            }
        }
        section #person {
            h2 { "Needs a person first" }
            p { "What was put aside, failed or was made only in part, and nothing put right since. Take these resources as still in their bad state." }
            (listed(&model.needs_person, "Nothing was left half done.", |shown| needs_person(shown, now)))
        }
        section #approvals {
            h2 { "Open approvals" }
            p { "Plans that change nothing until a person says so. Silence is never a yes." }
            (listed(&model.approvals, "No plan waits for approval.", |shown| approvals(shown, now)))
        }
        section #outcomes {
            h2 { "What was found and fixed" }
            @if totals.found == 0 {
                p.none { "No violations were found." }
            } @else {
                figure { (charts::fates(&model.severities)) }
                (fates(model))
                (outcomes(model))
            }
        }
        section #time {
            h2 { "Time to fix, and exposure" }
            (times(model))
        }
        section #principals {
            h2 { "Who caused it" }
            p { "The principals whose changes were violations, as the events name them. A role stands for all its sessions." }
            (listed(&model.principals, "Nobody.", principals))
        }
        section #exemptions {
            h2 { "Exemptions" }
            p { "What people permitted for a time. The one that ends soonest comes first; what is over is listed for a week." }
            (listed(&model.exemptions, "Nothing is exempt.", |shown| exemptions(shown, now)))
        }
        section #flapping {
            h2 { "Flapping resources" }
            p { "Fixed three times or more in this period: something keeps breaking them, often infrastructure as code. Fix it at its source." }
            (listed(&model.flapping, "No resource was fixed again and again.", flapping))
        }
        section #accounts {
            h2 { "Controls by account" }
            @if model.accounts.is_empty() {
                p.none { "No violations were found." }
            } @else {
                p { "Violations found, and how many of them are fixed." }
                (accounts(model))
            }
        }
    }
}

fn figures(model: &Model) -> Markup {
    let totals = &model.totals;
    let fixed = totals.outcomes.of_fate(Fate::Fixed);
    let active = model.exemptions.shown.iter().filter(|one| !one.expired).count();
    let half = model.time_to_fix.spread.p50_ms.map_or("–".to_owned(), lasted);
    let figure = |value: &str, words: &str, note: &str| {
        html! { div { dt { (words) } dd { strong { (value) } @if !note.is_empty() { small { (note) } } } } }
    };
    html! {
        dl.figures {
            (figure(&thousands(totals.found), "found", ""))
            (figure(&thousands(fixed), "fixed", &words::percent(fixed, totals.found)))
            (figure(&half, "median time to fix", ""))
            (figure(&thousands(model.needs_person.total), "need a person", ""))
            (figure(&thousands(model.approvals.total), "wait for approval", ""))
            (figure(&active.to_string(), "exempt now", ""))
        }
    }
}

/// A list, how much of it is left out, or words about why there is none.
fn listed<T>(list: &List<T>, none: &str, show: impl Fn(&[T]) -> Markup) -> Markup {
    html! {
        @if list.total == 0 {
            p.none { (none) }
        } @else {
            (show(&list.shown))
            @if list.left_out() > 0 {
                p.left-out { "and " (thousands(list.left_out())) " more" }
            }
        }
    }
}

/// The head of a column.
pub(crate) struct Column {
    name: String,
    kind: Kind,
    /// How the rows are ordered by it at first.
    sorted: Option<&'static str>,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Text,
    /// Right-aligned, and sorted by its value; the largest first.
    Number,
    /// Sorted by its value; the smallest first.
    Value,
    /// The same, the largest first.
    Rank,
    /// A command: nobody sorts by it.
    Command,
}

pub(crate) fn column(name: &str, kind: Kind) -> Column {
    Column { name: name.to_owned(), kind, sorted: None }
}

pub(crate) fn sorted(name: &str, kind: Kind, order: &'static str) -> Column {
    Column { sorted: Some(order), ..column(name, kind) }
}

pub(crate) struct Data {
    pub(crate) shown: Markup,
    /// What it is sorted by, if not by what is shown.
    pub(crate) value: Option<String>,
    pub(crate) class: &'static str,
}

pub(crate) fn data(shown: Markup) -> Data {
    Data { shown, value: None, class: "" }
}

pub(crate) fn text(shown: &Untrusted) -> Data {
    Data { class: "name", ..data(html! { (shown) }) }
}

pub(crate) fn number(count: u64) -> Data {
    let class = if count == 0 { "number zero" } else { "number" };
    Data { shown: html! { (thousands(count)) }, value: Some(count.to_string()), class }
}

fn length(ms: Option<u64>) -> Data {
    let shown = ms.map_or("–".to_owned(), lasted);
    Data { shown: html! { (shown) }, value: ms.map(|ms| ms.to_string()), class: "number" }
}

fn time(at: Timestamp, more: Markup) -> Data {
    Data {
        shown: html! { time datetime=(format!("{at:.0}")) { (minute(at)) } (more) },
        value: Some(at.as_second().to_string()),
        class: "time",
    }
}

pub(crate) fn severity(severity: Severity) -> Data {
    let (rank, class) = match severity {
        Severity::Critical => (4, "severity critical"),
        Severity::High => (3, "severity high"),
        Severity::Medium => (2, "severity"),
        Severity::Low => (1, "severity"),
    };
    Data { shown: html! { (words::severity(severity)) }, value: Some(rank.to_string()), class }
}

fn command(line: &str) -> Data {
    Data { class: "command", ..data(html! { code { (line) } }) }
}

/// A table in a box of its own. The first cell of each row is its head.
pub(crate) fn table(caption: &str, columns: &[Column], rows: Vec<Vec<Data>>) -> Markup {
    html! {
        div.scroll role="region" aria-label=(caption) tabindex="0" {
            table.sortable {
                caption { (caption) }
                thead {
                    tr {
                        @for column in columns {
                            th scope="col" aria-sort=[column.sorted]
                                class=[(column.kind == Kind::Number).then_some("number")]
                                data-kind=(match column.kind {
                                    Kind::Text => "text",
                                    Kind::Number => "number",
                                    Kind::Value => "value",
                                    Kind::Rank => "rank",
                                    Kind::Command => "command",
                                }) { (column.name) }
                        }
                    }
                }
                tbody {
                    @for row in rows {
                        tr {
                            @for (at, cell) in row.into_iter().enumerate() {
                                @let class = (!cell.class.is_empty()).then_some(cell.class);
                                @if at == 0 {
                                    th scope="row" class=[class] data-value=[cell.value] { (cell.shown) }
                                } @else {
                                    td class=[class] data-value=[cell.value] { (cell.shown) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The resource with where it is beneath, and its control.
fn resource(place: &Place) -> Data {
    // Ids are not broken at their hyphens.
    let class = if place.resource.is_short() { "name short" } else { "name" };
    let shown = html! {
        (place.resource)
        small.place-of { (place.account) ", " (place.region) }
    };
    Data { class, ..data(shown) }
}

fn control(id: &str) -> Data {
    Data { class: "control", ..data(html! { (id) }) }
}

fn needs_person(shown: &[NeedsPerson], now: Timestamp) -> Markup {
    let rows = shown.iter().map(|one| {
        vec![
            resource(&one.place),
            control(&one.place.control),
            severity(one.place.severity),
            Data { class: "outcome", ..data(html! { (words::outcome(one.outcome, one.undo)) }) },
            time(one.since, html! { small { (words::until(now, one.since)) } }),
            number(one.times),
            Data {
                class: "reason",
                ..data(html! { @if let Some(reason) = &one.reason { (reason) } @else { "–" } })
            },
            command(&one.next),
        ]
    });
    let columns = [
        column("Resource", Kind::Text),
        column("Control", Kind::Text),
        sorted("Severity", Kind::Rank, "descending"),
        column("Outcome", Kind::Text),
        column("Since", Kind::Value),
        column("Times", Kind::Number),
        column("Reason", Kind::Text),
        column("Begin with", Kind::Command),
    ];
    table("Resources that need a person", &columns, rows.collect())
}

fn approvals(shown: &[Approval], now: Timestamp) -> Markup {
    let rows = shown.iter().map(|one| {
        vec![
            resource(&one.place),
            control(&one.place.control),
            severity(one.place.severity),
            principal(one.principal.as_ref()),
            match one.expires {
                Some(at) if one.expired => time(at, html! { small.over { "expired" } }),
                Some(at) => time(at, html! { small { (words::until(now, at)) } }),
                None => data(html! { "–" }),
            },
            number(one.changes),
            command(&one.approve),
        ]
    });
    let columns = [
        column("Resource", Kind::Text),
        column("Control", Kind::Text),
        sorted("Severity", Kind::Rank, "descending"),
        column("Who did it", Kind::Text),
        column("Until", Kind::Value),
        column("Changes", Kind::Number),
        column("Look at it", Kind::Command),
    ];
    table("Plans that wait for approval", &columns, rows.collect())
}

fn principal(name: Option<&Untrusted>) -> Data {
    match name {
        Some(name) => text(name),
        None => Data { class: "name", ..data(html! { "the event does not say" }) },
    }
}

/// The same as the chart, in figures.
fn fates(model: &Model) -> Markup {
    let rows = model.severities.iter().map(|one| {
        let mut row = vec![severity(one.severity), number(one.found)];
        row.extend(Fate::ALL.map(|fate| number(one.outcomes.of_fate(fate))));
        row
    });
    let columns = [
        sorted("Severity", Kind::Rank, "descending"),
        column("Found", Kind::Number),
        column("Fixed", Kind::Number),
        column("Waits for a person", Kind::Number),
        column("Not fixed", Kind::Number),
        column("Left as it is", Kind::Number),
        column("Permitted", Kind::Number),
    ];
    let meanings: Vec<String> = Fate::ALL
        .iter()
        .filter(|fate| **fate != Fate::Fixed)
        .map(|fate| format!("{}: {}", fate.words(), fate.outcomes().join(", ")))
        .collect();
    html! {
        div.narrow { (table("Violations by severity", &columns, rows.collect())) }
        p.key { (meanings.join(" · ")) }
    }
}

/// Every outcome that there was, by control.
fn outcomes(model: &Model) -> Markup {
    let there: Vec<Outcome> =
        OUTCOMES.into_iter().filter(|outcome| model.totals.outcomes.of(*outcome) > 0).collect();
    let rows = model.controls.iter().map(|one| {
        let name = data(html! { (one.control) small { (one.title) } });
        let mut row =
            vec![Data { class: "control", ..name }, severity(one.severity), number(one.found)];
        row.extend(there.iter().map(|outcome| number(one.outcomes.of(*outcome))));
        row
    });
    let mut columns = vec![
        column("Control", Kind::Text),
        sorted("Severity", Kind::Rank, "descending"),
        column("Found", Kind::Number),
    ];
    columns.extend(
        there.iter().map(|outcome| column(&words::capital(outcome.as_str()), Kind::Number)),
    );
    table("Outcomes by control", &columns, rows.collect())
}

fn times(model: &Model) -> Markup {
    let spread = model.time_to_fix.spread;
    let measured = model.controls.iter().any(|one| one.time_to_fix.count > 0 || one.open > 0);
    let rows = model.controls.iter().map(|one| {
        vec![
            control(&one.control),
            number(one.time_to_fix.count),
            length(one.time_to_fix.p50_ms),
            length(one.time_to_fix.p95_ms),
            length(one.time_to_fix.longest_ms),
            length((one.time_to_fix.count > 0).then_some(one.exposure_ms)),
            number(one.open),
            length(one.longest_open_ms),
        ]
    });
    let columns = [
        column("Control", Kind::Text),
        column("Fixes", Kind::Number),
        column("Median", Kind::Number),
        column("95 of 100", Kind::Number),
        column("Longest", Kind::Number),
        column("Exposure until fixed", Kind::Number),
        column("Still open", Kind::Number),
        column("Longest open", Kind::Number),
    ];
    let buckets = charts::labelled(&model.time_to_fix.histogram);
    html! {
        @if spread.count == 0 {
            p.none { "No fix was measured." }
        } @else {
            p {
                "From the event until the fix was in force and verified: half within "
                strong { (length(spread.p50_ms).shown) } ", 95 of 100 within "
                strong { (length(spread.p95_ms).shown) } ", the longest "
                (length(spread.longest_ms).shown) ". Measured "
                (counted(spread.count, "fix", "fixes")) "."
            }
            figure { (charts::histogram(&model.time_to_fix.histogram)) }
            details {
                summary { "The chart as a table" }
                (table(
                    "Fixes by how long they took",
                    &[column("Time to fix", Kind::Value), column("Fixes", Kind::Number)],
                    buckets.iter().zip(0..).map(|((label, count), rank)| {
                        vec![
                            Data { value: Some(rank.to_string()), ..data(html! { (label) }) },
                            number(*count),
                        ]
                    }).collect(),
                ))
            }
        }
        @if measured {
            (table("Time to fix and exposure by control", &columns, rows.collect()))
        }
    }
}

fn principals(shown: &[OfPrincipal]) -> Markup {
    let rows = shown.iter().map(|one| {
        let name = principal(one.principal.as_ref());
        let known = u64::try_from(one.sessions.len()).unwrap_or(u64::MAX);
        let more = one.session_count.saturating_sub(known);
        let sessions = html! {
            @if !one.sessions.is_empty() {
                small {
                    @if one.session_count == 1 { "session " } @else { "sessions " }
                    @for (at, session) in one.sessions.iter().enumerate() {
                        @if at > 0 { ", " }
                        (session)
                    }
                    @if more > 0 { " and " (thousands(more)) " more" }
                }
            }
        };
        vec![
            Data { shown: html! { (name.shown) (sessions) }, ..name },
            number(one.found),
            number(one.outcomes.of_fate(Fate::Fixed)),
            number(one.outcomes.of_fate(Fate::Waits) + one.outcomes.of_fate(Fate::NotFixed)),
            severity(one.severity),
            control(&one.control),
            time(one.last, html! {}),
        ]
    });
    let columns = [
        column("Principal", Kind::Text),
        sorted("Found", Kind::Number, "descending"),
        column("Fixed", Kind::Number),
        column("Not or not yet fixed", Kind::Number),
        column("Most severe", Kind::Rank),
        column("Most often", Kind::Text),
        column("Last", Kind::Value),
    ];
    table("Principals", &columns, rows.collect())
}

fn exemptions(shown: &[Exempted], now: Timestamp) -> Markup {
    let rows = shown.iter().map(|one| {
        let flag = html! {
            @if one.expired {
                small.over { "expired " (words::until(now, one.expires)) }
            } @else {
                small { (words::until(now, one.expires)) }
            }
        };
        let unused = html! { @if one.unused { small { "nothing ever matched it" } } };
        vec![
            resource(&one.place),
            control(&one.place.control),
            severity(one.place.severity),
            time(one.expires, flag),
            Data { class: "reason", ..data(html! { (one.reason) (unused) }) },
            text(&one.owner),
            text(&one.person),
        ]
    });
    let columns = [
        column("Resource", Kind::Text),
        column("Control", Kind::Text),
        column("Severity", Kind::Rank),
        sorted("Until", Kind::Value, "ascending"),
        column("Reason", Kind::Text),
        column("Owner", Kind::Text),
        column("Given by", Kind::Text),
    ];
    table("Exemptions by when they end", &columns, rows.collect())
}

fn flapping(shown: &[Flapping]) -> Markup {
    let rows = shown.iter().map(|one| {
        vec![
            resource(&one.place),
            control(&one.place.control),
            severity(one.place.severity),
            number(one.fixes),
            time(one.first, html! {}),
            time(one.last, html! {}),
            principal(one.principal.as_ref()),
        ]
    });
    let columns = [
        column("Resource", Kind::Text),
        column("Control", Kind::Text),
        column("Severity", Kind::Rank),
        sorted("Fixes", Kind::Number, "descending"),
        column("First", Kind::Value),
        column("Last", Kind::Value),
        column("Who broke it most often", Kind::Text),
    ];
    table("Resources that were fixed again and again", &columns, rows.collect())
}

fn accounts(model: &Model) -> Markup {
    let most = model.accounts.iter().flat_map(|one| &one.controls).map(|cell| cell.found).max();
    let most = most.unwrap_or(1).max(1);
    html! {
        div.scroll role="region" aria-label="Controls by account" tabindex="0" {
            table.matrix.sortable {
                caption { "Controls by account" }
                thead {
                    tr {
                        th scope="col" data-kind="text" { "Account" }
                        th.number scope="col" data-kind="number" aria-sort="descending" { "All" }
                        @for control in &model.controls {
                            th.number scope="col" data-kind="number" { (control.control) }
                        }
                    }
                }
                tbody {
                    @for account in &model.accounts {
                        tr {
                            th.control scope="row" { (account.account) }
                            (cell(account.found, account.fixed, 0))
                            @for control in &model.controls {
                                @let found = account.controls.iter().find(|one| one.control == control.control);
                                @if let Some(one) = found {
                                    // One of four shades: a little already counts.
                                    (cell(one.found, one.fixed, 1 + one.found.saturating_sub(1) * 4 / most))
                                } @else {
                                    td.number.zero data-value="0" { "–" }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn cell(found: u64, fixed: u64, shade: u64) -> Markup {
    let class = match shade {
        0 => "number",
        1 => "number shade-1",
        2 => "number shade-2",
        3 => "number shade-3",
        _ => "number shade-4",
    };
    html! {
        td class=(class) data-value=(found) { (thousands(found)) small { (thousands(fixed)) " fixed" } }
    }
}

fn foot(model: &Model) -> Markup {
    html! {
        h2 { "How this was counted" }
        ul {
            @for note in words::notes(model) {
                li { (note) }
            }
        }
        p { "Made by quell " (env!("CARGO_PKG_VERSION")) " at " time datetime=(format!("{:.0}", model.generated)) { (minute(model.generated)) " UTC" } "." }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};

    #[test]
    fn the_page_names_nothing_outside_of_itself() {
        let page = page(&sample::model());
        for part in
            ["http:", "https:", "url(", "@import", "src=", " style=", "<link", "<a href=\"h"]
        {
            let written = page.replace("onerror=alert(1)", "").replace("&lt;img src=x", "");
            assert!(!written.contains(part), "{part}");
        }
    }

    #[test]
    fn a_name_is_text_wherever_it_stands() {
        let page = page(&sample::model());
        assert!(page.contains("<bdi>&quot;&gt;&lt;img src=x onerror=alert(1)&gt;`|</bdi>"));
        assert!(page.contains("<bdi>&lt;script&gt;alert(1)&lt;/script&gt;</bdi>"));
        assert_eq!(page.matches("<script>").count(), 1, "the page's own");
        assert!(!page.contains('\u{202e}'));
    }

    #[test]
    fn what_is_there_is_on_the_page_and_what_is_not_is_said() {
        let model = sample::model();
        let shown = page(&model);
        for one in &model.needs_person.shown {
            assert!(shown.contains(&format!("<code>{}</code>", one.next)));
        }
        for one in &model.approvals.shown {
            assert!(shown.contains(&format!("<code>{}</code>", one.approve)));
        }
        assert!(shown.contains("expired 2 days ago"), "an exemption that is over");
        assert!(shown.contains("nothing ever matched it"));
        assert!(shown.contains("1 record could not be read"));

        let shown = page(&sample::nothing());
        assert!(shown.contains("The ledger has no records of this period"));
        assert!(!shown.contains("<table") && !shown.contains("<svg"));
    }

    #[test]
    fn every_chart_has_words_and_a_table_that_say_the_same() {
        let page = page(&sample::model());
        for chart in page.split("<svg").skip(1) {
            let chart = chart.split("</svg>").next().unwrap();
            assert!(chart.contains("role=\"img\"") && chart.contains("aria-labelledby="));
            assert!(chart.contains("<title id=") && chart.contains("<desc id="));
        }
        assert_eq!(page.matches("<svg").count(), 2);
        assert!(page.contains("<caption>Violations by severity</caption>"));
        assert!(page.contains("<caption>Fixes by how long they took</caption>"));
    }

    #[test]
    fn style_and_script_end_where_they_are_meant_to() {
        assert!(!STYLE.contains("</") && !SCRIPT.contains("</") && !SCRIPT.contains("<!--"));
        let policy = policy();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }
}
