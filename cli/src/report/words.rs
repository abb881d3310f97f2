//! Times, lengths of time and counts, as people read them.

use jiff::{SignedDuration, Timestamp};
use quell_engine::{Outcome, Severity};

use super::model::{Bucket, Fate, Model};

pub(super) fn day(time: Timestamp) -> String {
    time.strftime("%-d %B %Y").to_string()
}

pub(crate) fn minute(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M").to_string()
}

/// A length of time with about two digits: nobody cares for more.
pub(super) fn lasted(ms: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let seconds = ms / 1000 + u64::from(ms % 1000 >= 500);
    let of = |unit: u64| (seconds + unit / 2) / unit;
    match seconds {
        _ if ms < 9_950 => format!("{}.{} s", (ms + 50) / 1000, (ms + 50) % 1000 / 100),
        seconds if seconds < 2 * MINUTE => format!("{seconds} s"),
        seconds if seconds < 2 * HOUR => format!("{} min", of(MINUTE)),
        seconds if seconds < 2 * DAY => format!("{} h", of(HOUR)),
        _ => format!("{} days", thousands(of(DAY))),
    }
}

/// How long until then, or since then.
pub(super) fn until(now: Timestamp, then: Timestamp) -> String {
    let left = then.duration_since(now);
    let length = lasted(u64::try_from(left.abs().as_millis()).unwrap_or(u64::MAX));
    if left > SignedDuration::ZERO { format!("in {length}") } else { format!("{length} ago") }
}

pub(super) fn bucket(bucket: Bucket, before: Option<Bucket>) -> String {
    let short = |ms: u64| match ms / 1000 {
        seconds if seconds < 60 => format!("{seconds} s"),
        seconds if seconds < 3600 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    };
    match (bucket.at_most_ms, before.and_then(|before| before.at_most_ms)) {
        (Some(most), _) => format!("≤ {}", short(most)),
        (None, Some(least)) => format!("> {}", short(least)),
        (None, None) => "any".to_owned(),
    }
}

/// `12,345`
pub(crate) fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 record`, `2 records`
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", thousands(count), if count == 1 { one } else { many })
}

pub(crate) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "critical",
        Severity::High => "high",
        Severity::Medium => "medium",
        Severity::Low => "low",
    }
}

/// With a capital, as the head of a column.
pub(super) fn capital(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// `undo: failed`
pub(super) fn outcome(outcome: Outcome, undo: bool) -> String {
    if undo { format!("undo: {outcome}") } else { outcome.to_string() }
}

/// How many parts of 100, never rounded to all or nothing.
pub(super) fn percent(part: u64, whole: u64) -> String {
    match (part, whole) {
        (_, 0) | (0, _) => "0%".to_owned(),
        (part, whole) if part == whole => "100%".to_owned(),
        (part, whole) => {
            let rounded = (part * 100 + whole / 2) / whole;
            format!("{}%", rounded.clamp(1, 99))
        }
    }
}

/// The days of the period: what its ends have in common is said once.
pub(super) fn period(model: &Model) -> String {
    let (begin, end) = (model.since, model.generated);
    let same =
        |format: &str| begin.strftime(format).to_string() == end.strftime(format).to_string();
    let begin = match (same("%Y-%m-%d"), same("%Y-%m"), same("%Y")) {
        (true, ..) => return day(end),
        (_, true, _) => begin.strftime("%-d"),
        (.., true) => begin.strftime("%-d %B"),
        _ => begin.strftime("%-d %B %Y"),
    };
    format!("{begin} to {}", day(end))
}

/// All that matters, in a few sentences.
pub(super) fn summary(model: &Model) -> Vec<String> {
    let totals = &model.totals;
    let mut said = Vec::new();
    if totals.found == 0 {
        said.push(format!("No violations were recorded from {}.", period(model)));
    } else {
        let resources: u64 = u64::try_from(model.accounts.len()).unwrap_or(u64::MAX);
        said.push(format!(
            "Quell found {} in {}.",
            counted(totals.found, "violation", "violations"),
            counted(resources, "account", "accounts"),
        ));
        let fixed = totals.outcomes.of_fate(Fate::Fixed);
        let spread = model.time_to_fix.spread;
        said.push(match (fixed, spread.p50_ms, spread.p95_ms) {
            (0, ..) => "None of them is fixed.".to_owned(),
            (fixed, Some(half), Some(most)) => format!(
                "{} {} fixed ({}): half of all fixes were in force within {} of the event, 95 of 100 within {}.",
                thousands(fixed),
                if fixed == 1 { "is" } else { "are" },
                percent(fixed, totals.found),
                lasted(half),
                lasted(most),
            ),
            (fixed, ..) => format!(
                "{} {} fixed ({}).",
                thousands(fixed),
                if fixed == 1 { "is" } else { "are" },
                percent(fixed, totals.found)
            ),
        });
    }
    let troubled = model.needs_person.total;
    let waiting = model.approvals.total;
    if troubled > 0 {
        let subject = counted(troubled, "resource needs", "resources need");
        said.push(format!("{subject} a person now."));
    }
    if waiting > 0 {
        said.push(format!("{} for approval.", counted(waiting, "plan waits", "plans wait")));
    }
    if totals.found > 0 && troubled == 0 && waiting == 0 {
        said.push("Nothing waits for a person.".to_owned());
    }
    said
}

/// How the figures are to be read.
pub(super) fn notes(model: &Model) -> Vec<String> {
    let totals = &model.totals;
    let mut notes = vec![
        format!(
            "Counted are the records that were made from {} UTC to {} UTC: {}, of these {}, {}, and {} superseded by another. A violation that was observed twice has two records.",
            minute(model.since),
            minute(model.generated),
            counted(totals.records, "record", "records"),
            counted(totals.found, "violation", "violations"),
            counted(totals.undos, "undo", "undos"),
            thousands(totals.superseded),
        ),
        "Time to fix runs from the time of the event until the fix was verified, and includes the time in which a plan waited for approval. A fix that was taken back later is measured too.".to_owned(),
        "A resource counts as open from its first violation until a record says that it is fixed, or that a person permitted it. Quell does not see when somebody else puts it right.".to_owned(),
        "What was written in the seconds before the report was made may be missing.".to_owned(),
    ];
    if model.time_to_fix.without_time > 0 {
        notes.push(format!(
            "{} not measured, because no event says when it began.",
            counted(model.time_to_fix.without_time, "fix is", "fixes are")
        ));
    }
    if totals.unreadable > 0 {
        notes.push(format!(
            "{} not be read, and {} missing here: written by a newer version of Quell, or broken.",
            counted(totals.unreadable, "record could", "records could"),
            if totals.unreadable == 1 { "is" } else { "are" }
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};

    #[test]
    fn a_length_of_time_has_the_digits_that_matter() {
        let cases = [
            (0, "0.0 s"),
            (449, "0.4 s"),
            (4_250, "4.3 s"),
            (9_949, "9.9 s"),
            (9_950, "10 s"),
            (41_400, "41 s"),
            (119_000, "119 s"),
            (120_000, "2 min"),
            (7_100_000, "118 min"),
            (7_200_000, "2 h"),
            (47 * 3_600_000, "47 h"),
            (48 * 3_600_000, "2 days"),
            (u64::MAX, "213,503,982,335 days"),
        ];
        for (ms, words) in cases {
            assert_eq!(lasted(ms), words, "{ms}");
        }
    }

    #[test]
    fn a_period_says_once_what_its_ends_have_in_common() {
        let period = |since: &str, generated: &str| {
            let [since, generated] = [since, generated].map(|time| time.parse().unwrap());
            period(&Model { since, generated, ..sample::nothing() })
        };
        let end = "2026-03-31T12:00:00Z";
        assert_eq!(period("2026-03-31T01:00:00Z", end), "31 March 2026");
        assert_eq!(period("2026-03-01T12:00:00Z", end), "1 to 31 March 2026");
        assert_eq!(period("2026-02-28T12:00:00Z", end), "28 February to 31 March 2026");
        assert_eq!(period("2025-12-31T12:00:00Z", end), "31 December 2025 to 31 March 2026");
    }

    #[test]
    fn a_share_is_never_rounded_to_all_or_nothing() {
        assert_eq!(percent(0, 0), "0%");
        assert_eq!(percent(1, 10_000), "1%");
        assert_eq!(percent(9_999, 10_000), "99%");
        assert_eq!(percent(10_000, 10_000), "100%");
        assert_eq!(percent(1, 3), "33%");
    }

    #[test]
    fn counts_have_their_thousands_apart() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_000), "1,000");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }
}
