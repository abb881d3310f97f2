//! Text that others chose, and the one way in which a report shows it.

use maud::{Markup, Render, html};
use quell_engine::text;
use serde::Serialize;

/// How many characters are kept: more than AWS gives any name.
const KEPT: usize = 1024;

/// A name, a reason or the like that an attacker may have chosen. There is no way to write it but these: as text in a page,
/// as inline code in Markdown, and as a JSON string.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub(crate) struct Untrusted(String);

impl Untrusted {
    pub(crate) fn new(text: &str) -> Self {
        Self(text::cut(text, KEPT))
    }

    /// Visible characters on one line, and no more than people can bear.
    fn shown(&self) -> String {
        let shown = text::plain(&self.0);
        if shown.trim().is_empty() { "(no visible name)".to_owned() } else { shown }
    }

    /// Whether it fits on a line of a telephone.
    pub(super) fn is_short(&self) -> bool {
        self.0.chars().count() <= 24
    }

    /// For Markdown: inline code that ends neither itself nor the cell of a table.
    pub(super) fn markdown(&self) -> String {
        format!("`{}`", self.shown().trim().replace('`', "'").replace('|', "¦"))
    }
}

/// Isolated, so that right-to-left text turns nothing around it.
impl Render for Untrusted {
    fn render(&self) -> Markup {
        html! { bdi { (self.shown()) } }
    }
}

#[cfg(test)]
mod tests {
    use quell_tests::attack::{each_of, hostile};

    use super::*;

    #[test]
    fn markup_stays_text() {
        let name = Untrusted::new("\"><img src=x onerror=alert(1)>&amp;'");
        assert_eq!(
            name.render().into_string(),
            "<bdi>&quot;&gt;&lt;img src=x onerror=alert(1)&gt;&amp;amp;'</bdi>"
        );
    }

    #[test]
    fn whatever_it_holds_it_is_one_line_of_text_in_every_form() {
        each_of(20_000, |rng| {
            let name = Untrusted::new(&hostile(rng));
            let page = name.render().into_string();
            let inner = page.strip_prefix("<bdi>").and_then(|rest| rest.strip_suffix("</bdi>"));
            let inner = inner.unwrap();
            assert!(!inner.contains(['<', '>', '"']), "{inner}");
            assert!(!inner.contains(text::is_invisible), "{inner:?}");
            assert!(!inner.is_empty());

            let markdown = name.markdown();
            let inner = markdown.strip_prefix('`').and_then(|rest| rest.strip_suffix('`'));
            let inner = inner.unwrap();
            assert!(!inner.contains(['`', '|']), "{inner}");
            assert!(!inner.contains(text::is_invisible), "{inner:?}");
            assert!(!inner.is_empty() && inner.trim() == inner);
        });
    }

    #[test]
    fn ten_thousand_characters_are_cut() {
        let name = Untrusted::new(&"x".repeat(10_000));
        assert_eq!(name.0.chars().count(), KEPT);
        assert_eq!(name.shown().chars().count(), text::CAP);
        assert!(name.shown().ends_with('…'));
    }

    #[test]
    fn what_cannot_be_seen_is_said_to_be_there() {
        assert_eq!(Untrusted::new("\u{200b}\u{202e}").markdown(), "`(no visible name)`");
        assert_eq!(Untrusted::new(" ").markdown(), "`(no visible name)`");
    }
}
