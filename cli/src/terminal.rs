//! What people see: colour only on a terminal, and nothing from a resource that could steer it.

use std::io::{self, IsTerminal as _, Write as _};

use quell_engine::text;
use serde::Serialize;

/// A line on standard output.
pub(crate) fn line(text: &str) {
    // Nobody reads on: a closed pipe is no reason to fail.
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Prints a value as JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<(), crate::Error> {
    for part in pretty(value)? {
        line(&part);
    }
    Ok(())
}

/// The lines of a value as JSON, in full: what is invisible is escaped, and the value is the same to a parser.
pub(crate) fn pretty<T: Serialize>(value: &T) -> Result<Vec<String>, crate::Error> {
    let json =
        serde_json::to_string_pretty(value).map_err(|error| crate::Error::Trouble(error.into()))?;
    Ok(json.lines().map(text::visible_json).collect())
}

/// A line on standard error about what is going on, for what takes longer than two seconds.
pub(crate) fn progress(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

pub(crate) fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "quell: {}", clean(text));
}

/// Text from outside, as it may be shown.
pub(crate) fn clean(text: &str) -> String {
    text.lines().map(text::plain).collect::<Vec<_>>().join("\n")
}

/// The same on one line, so that nobody forges another.
pub(crate) fn one_line(text: &str) -> String {
    text::plain_up_to(text, 4096)
}

#[derive(Clone, Copy)]
pub(crate) enum Tone {
    Bold,
    Dim,
    Good,
    Bad,
}

/// Text in a tone, on a terminal.
pub(crate) fn toned(tone: Tone, text: &str) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if plain || !io::stdout().is_terminal() {
        return text.to_owned();
    }
    let code = match tone {
        Tone::Bold => 1,
        Tone::Dim => 2,
        Tone::Good => 32,
        Tone::Bad => 31,
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// Rows in columns as wide as their widest cell.
pub(crate) fn table(heads: &[&str], rows: &[Vec<String>]) {
    let cells = |row: &[String]| row.iter().map(|cell| cell.chars().count()).collect::<Vec<_>>();
    let mut widths: Vec<usize> = heads.iter().map(|head| head.len()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(cells(row)) {
            *width = (*width).max(cell);
        }
    }
    let show = |row: &[String]| {
        let padded: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    line(&toned(Tone::Bold, &show(&heads)));
    for row in rows {
        line(&show(row));
    }
}
