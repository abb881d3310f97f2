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
    Ok(json.lines().map(|line| text::visible_json(line).into_owned()).collect())
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
    let (head, rows) = laid_out(heads, rows);
    line(&toned(Tone::Bold, &head));
    for row in rows {
        line(&row);
    }
}

/// The line with the heads, and those with the rows.
pub(crate) fn laid_out(heads: &[&str], rows: &[Vec<String>]) -> (String, Vec<String>) {
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
    (show(&heads), rows.iter().map(|row| show(row)).collect())
}

#[cfg(test)]
mod tests {
    use quell_tests::attack::{each_case, hostile};

    use super::*;

    /// What a terminal is shown of hostile text, in each way in which this command shows text.
    #[test]
    fn whatever_a_resource_is_called_a_table_has_a_line_for_each_and_steers_no_terminal() {
        each_case(|rng| {
            let (name, actor) = (hostile(rng), hostile(rng));
            let row = vec!["5f0c".to_owned(), text::plain(&name), text::plain(&actor)];
            let (head, rows) = laid_out(&["RECORD", "RESOURCE", "WHO"], &[row.clone(), row]);
            assert_eq!(rows.len(), 2);
            let json = pretty(&name).unwrap();
            let shown = [head, one_line(&name)].into_iter().chain(rows).chain(json);
            for line in shown {
                assert!(!line.contains(text::is_invisible), "{line:?}");
            }
            assert!(clean(&name).lines().all(|line| !line.contains(text::is_invisible)));
        });
    }
}
