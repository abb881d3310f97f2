//! Text that Security Hub takes, and that is harmless wherever it is shown from there.

use quell_engine::text;

/// One visible line without links or markup, and never blank: Security Hub wants `.*\S.*`.
pub(crate) fn plain(text: &str, limit: usize) -> String {
    let line = cut(text::mail_up_to(text, limit).trim(), limit);
    if line.is_empty() { "-".to_owned() } else { line }
}

/// At most so many characters as UTF-16 counts them: AWS does not say how it does, and no count gives more.
pub(crate) fn cut(text: &str, limit: usize) -> String {
    let is_short = text.encode_utf16().nth(limit).is_none();
    if is_short {
        return text.to_owned();
    }
    let mut room = limit.saturating_sub(1);
    let fits = |c: &char| {
        let left = room.checked_sub(c.len_utf16());
        room = left.unwrap_or_default();
        left.is_some()
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::hostile;

    /// One visible line without markup and links.
    pub(crate) fn assert_inert(line: &str) {
        hostile::assert_inert(line);
        assert!(!line.contains(['<', '>', '\n']), "{line:?}");
    }

    #[test]
    fn what_is_blank_is_a_dash() {
        for blank in ["", " \n\t", "\u{200b}", "\u{2800}"] {
            assert_eq!(plain(blank, 64), "-");
        }
    }

    #[test]
    fn length_is_counted_as_the_strictest_counts() {
        assert_eq!(plain("photos", 6), "photos");
        assert_eq!(plain("photos", 5), "phot…");
        assert_eq!(plain(&"💥".repeat(4), 8), "💥".repeat(4));
        assert_eq!(plain(&"💥".repeat(4), 7), format!("{}…", "💥".repeat(3)));
        assert_eq!(cut("💥x", 2), "…", "no half of a character is kept");
    }

    #[test]
    fn a_name_that_looks_like_a_link_is_none() {
        assert_eq!(plain("<http://evil.example|ok>", 64), "‹http[:]//evil[.]example|ok›");
    }
}
