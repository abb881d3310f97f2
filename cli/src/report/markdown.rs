//! The report as Markdown, for a terminal, a ticket or a wiki.

use quell_engine::Outcome;

use super::{
    charts,
    model::{Fate, List, Model, OUTCOMES, Place},
    untrusted::Untrusted,
    words::{self, counted, lasted, minute, thousands},
};

/// The whole report.
pub(super) fn markdown(model: &Model) -> String {
    let mut parts = vec![
        format!("# Quell report, {}", words::period(model)),
        format!(
            "Ledger of account {} in {}. Times are in UTC.",
            model.account.markdown(),
            model.region.markdown()
        ),
        words::summary(model).join(" "),
    ];
    if model.totals.records == 0 && model.exemptions.total == 0 {
        parts.push("The ledger has no records of this period.".to_owned());
    } else {
        parts.extend(sections(model));
    }
    parts.push("## How this was counted".to_owned());
    let notes: Vec<String> = words::notes(model).iter().map(|note| format!("* {note}")).collect();
    parts.push(notes.join("\n"));
    let mut text = parts.join("\n\n");
    text.push('\n');
    text
}

fn sections(model: &Model) -> Vec<String> {
    let mut parts = Vec::new();
    parts.push("## Needs a person first".to_owned());
    parts.extend(needs_person(model));
    parts.push("## Open approvals".to_owned());
    parts.extend(approvals(model));
    parts.push("## What was found and fixed".to_owned());
    if model.totals.found == 0 {
        parts.push("No violations were found.".to_owned());
    } else {
        parts.push(fates(model));
        parts.push(outcomes(model));
    }
    parts.push("## Time to fix, and exposure".to_owned());
    if model.time_to_fix.spread.count == 0 {
        parts.push("No fix was measured.".to_owned());
    } else {
        parts.push(histogram(model));
    }
    if !model.controls.is_empty() {
        parts.push(times(model));
    }
    parts.push("## Who caused it".to_owned());
    parts.extend(principals(model));
    parts.push("## Exemptions".to_owned());
    parts.extend(exemptions(model));
    parts.push("## Flapping resources".to_owned());
    parts.extend(flapping(model));
    parts.push("## Controls by account".to_owned());
    parts.push(accounts(model));
    parts
}

fn needs_person(model: &Model) -> Vec<String> {
    let heads =
        ["resource", "control", "severity", "outcome", "since", "-times", "reason", "begin with"];
    listed(&model.needs_person, "Nothing was left half done.", &heads, |one| {
        vec![
            resource(&one.place),
            one.place.control.clone(),
            words::severity(one.place.severity).to_owned(),
            words::outcome(one.outcome, one.undo),
            minute(one.since),
            thousands(one.times),
            one.reason.as_ref().map_or("–".to_owned(), Untrusted::markdown),
            command(&one.next),
        ]
    })
}

fn approvals(model: &Model) -> Vec<String> {
    let heads = [
        "resource",
        "control",
        "severity",
        "who did it",
        "planned",
        "until",
        "-changes",
        "look at it",
    ];
    listed(&model.approvals, "No plan waits for approval.", &heads, |one| {
        let until = match one.expires {
            None => "–".to_owned(),
            Some(at) if one.expired => format!("{} (expired)", minute(at)),
            Some(at) => minute(at),
        };
        vec![
            resource(&one.place),
            one.place.control.clone(),
            words::severity(one.place.severity).to_owned(),
            principal(one.principal.as_ref()),
            minute(one.created),
            until,
            thousands(one.changes),
            command(&one.approve),
        ]
    })
}

fn fates(model: &Model) -> String {
    let mut heads = vec!["severity".to_owned(), "-found".to_owned()];
    heads.extend(Fate::ALL.map(|fate| format!("-{}", fate.words())));
    let rows = model.severities.iter().map(|one| {
        let mut row = vec![words::severity(one.severity).to_owned(), thousands(one.found)];
        row.extend(Fate::ALL.map(|fate| thousands(one.outcomes.of_fate(fate))));
        row
    });
    table(&heads, rows)
}

fn outcomes(model: &Model) -> String {
    let there: Vec<Outcome> =
        OUTCOMES.into_iter().filter(|outcome| model.totals.outcomes.of(*outcome) > 0).collect();
    let mut heads = ["control", "severity", "-found"].map(str::to_owned).to_vec();
    heads.extend(there.iter().map(|outcome| format!("-{outcome}")));
    let rows = model.controls.iter().map(|one| {
        let severity = words::severity(one.severity).to_owned();
        let mut row = vec![one.control.clone(), severity, thousands(one.found)];
        row.extend(there.iter().map(|outcome| thousands(one.outcomes.of(*outcome))));
        row
    });
    table(&heads, rows)
}

fn histogram(model: &Model) -> String {
    let rows = charts::labelled(&model.time_to_fix.histogram);
    let rows = rows.into_iter().map(|(label, count)| vec![label, thousands(count)]);
    table(&["time to fix", "-fixes"], rows)
}

fn times(model: &Model) -> String {
    let heads = [
        "control",
        "-fixes",
        "-median",
        "-95 of 100",
        "-longest",
        "-exposure until fixed",
        "-still open",
        "-longest open",
    ];
    let length = |ms: Option<u64>| ms.map_or("–".to_owned(), lasted);
    let rows = model.controls.iter().map(|one| {
        let spread = one.time_to_fix;
        vec![
            one.control.clone(),
            thousands(spread.count),
            length(spread.p50_ms),
            length(spread.p95_ms),
            length(spread.longest_ms),
            length((spread.count > 0).then_some(one.exposure_ms)),
            thousands(one.open),
            length(one.longest_open_ms),
        ]
    });
    table(&heads, rows)
}

fn principals(model: &Model) -> Vec<String> {
    let heads = [
        "principal",
        "-found",
        "-fixed",
        "-not or not yet fixed",
        "most severe",
        "most often",
        "last",
    ];
    listed(&model.principals, "Nobody.", &heads, |one| {
        let unfixed = one.outcomes.of_fate(Fate::Waits) + one.outcomes.of_fate(Fate::NotFixed);
        let mut who = principal(one.principal.as_ref());
        if one.session_count > 0 {
            who.push_str(&format!(" ({})", counted(one.session_count, "session", "sessions")));
        }
        vec![
            who,
            thousands(one.found),
            thousands(one.outcomes.of_fate(Fate::Fixed)),
            thousands(unfixed),
            words::severity(one.severity).to_owned(),
            one.control.clone(),
            minute(one.last),
        ]
    })
}

fn exemptions(model: &Model) -> Vec<String> {
    let heads = ["resource", "control", "severity", "until", "reason", "owner", "given by"];
    listed(&model.exemptions, "Nothing is exempt.", &heads, |one| {
        let mut until = minute(one.expires);
        if one.expired {
            until.push_str(" (expired)");
        }
        let mut reason = one.reason.markdown();
        if one.unused {
            reason.push_str(" (nothing ever matched it)");
        }
        vec![
            resource(&one.place),
            one.place.control.clone(),
            words::severity(one.place.severity).to_owned(),
            until,
            reason,
            one.owner.markdown(),
            one.person.markdown(),
        ]
    })
}

fn flapping(model: &Model) -> Vec<String> {
    let heads =
        ["resource", "control", "severity", "-fixes", "first", "last", "who broke it most often"];
    listed(&model.flapping, "No resource was fixed again and again.", &heads, |one| {
        vec![
            resource(&one.place),
            one.place.control.clone(),
            words::severity(one.place.severity).to_owned(),
            thousands(one.fixes),
            minute(one.first),
            minute(one.last),
            principal(one.principal.as_ref()),
        ]
    })
}

fn accounts(model: &Model) -> String {
    if model.accounts.is_empty() {
        return "No violations were found.".to_owned();
    }
    let mut heads = vec!["account".to_owned(), "-all".to_owned()];
    heads.extend(model.controls.iter().map(|one| format!("-{}", one.control)));
    let cell =
        |found: u64, fixed: u64| format!("{} ({} fixed)", thousands(found), thousands(fixed));
    let rows = model.accounts.iter().map(|account| {
        let mut row = vec![account.account.markdown(), cell(account.found, account.fixed)];
        row.extend(model.controls.iter().map(|control| {
            let found = account.controls.iter().find(|one| one.control == control.control);
            found.map_or("–".to_owned(), |one| cell(one.found, one.fixed))
        }));
        row
    });
    table(&heads, rows)
}

fn resource(place: &Place) -> String {
    let Place { resource, account, region, .. } = place;
    format!("{} in {}, {}", resource.markdown(), account.markdown(), region.markdown())
}

fn principal(name: Option<&Untrusted>) -> String {
    name.map_or("the event does not say".to_owned(), Untrusted::markdown)
}

fn command(line: &str) -> String {
    Untrusted::new(line).markdown()
}

/// A list as a table, how much of it is left out, or words about why there is none.
fn listed<T>(
    list: &List<T>,
    none: &str,
    heads: &[&str],
    row: impl Fn(&T) -> Vec<String>,
) -> Vec<String> {
    if list.total == 0 {
        return vec![none.to_owned()];
    }
    let mut parts = vec![table(heads, list.shown.iter().map(row))];
    if list.left_out() > 0 {
        parts.push(format!("and {} more", thousands(list.left_out())));
    }
    parts
}

/// A table. Columns whose name begins with a dash are numbers.
fn table<S: AsRef<str>>(heads: &[S], rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |cells: Vec<&str>| format!("| {} |", cells.join(" | "));
    let names = heads.iter().map(|head| head.as_ref().trim_start_matches('-'));
    let rules = heads.iter().map(|head| if head.as_ref().starts_with('-') { "--:" } else { "---" });
    let mut lines = vec![line(names.collect()), line(rules.collect())];
    lines.extend(rows.map(|row| line(row.iter().map(String::as_str).collect())));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use quell_tests::attack::each_of;

    use super::{
        super::{
            sample::{self, any, now, since},
            tally::Tally,
        },
        *,
    };

    #[test]
    fn a_report_as_people_read_it() {
        insta::assert_snapshot!(markdown(&sample::model()));
    }

    #[test]
    fn a_report_of_nothing_says_so() {
        insta::assert_snapshot!(markdown(&sample::nothing()));
    }

    /// However names look, each row has as many cells as its head, and no line begins anything of its own.
    #[test]
    fn no_name_breaks_a_table() {
        each_of(500, |rng| {
            let mut tally = Tally::new(since(), now());
            (0..20).for_each(|_| tally.add(&any(rng)));
            let text = markdown(&tally.finish(Vec::new(), "123456789012", "eu-west-1"));
            let mut cells = None;
            for line in text.lines() {
                let is_row = line.starts_with("| ");
                let own = ["# ", "## ", "* ", "and ", "Ledger ", "Quell ", "No", "| "];
                assert!(line.is_empty() || own.iter().any(|own| line.starts_with(own)), "{line}");
                let count = line.matches('|').count();
                assert!(!is_row || cells.is_none_or(|cells| cells == count), "{line}");
                cells = is_row.then_some(count);
            }
        });
    }
}
