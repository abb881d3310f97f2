//! One message that counts many, as Slack shows it. It is about no single record, so it has no buttons.

use quell_engine::{notify::Bulletin, text};
use serde_json::Value;

use crate::{
    Posting,
    blocks::{context, fitted, header, plain, section},
    limits,
};

/// How many lines are shown, at the most.
const LINES: usize = 20;

pub fn posting(bulletin: &Bulletin) -> Posting {
    let lines = fitted(limits::SECTION, |cap| lines(bulletin, cap));
    let mut blocks = vec![
        header(&fitted(limits::HEADER, |cap| bulletin.headline(|name| plain(name, cap)))),
        section(&text::phrase_up_to(&bulletin.status(), 1000)),
    ];
    if !lines.is_empty() {
        blocks.push(section(&lines));
    }
    for note in bulletin.notes.iter().take(3) {
        blocks.push(context(&[fitted(limits::FIELD, |cap| text::markdown_up_to(note, cap))]));
    }
    let command = fitted(limits::FIELD, |cap| text::markdown_up_to(&bulletin.command, cap));
    blocks.push(context(&[format!("Each of them: {command}")]));
    Posting {
        text: fitted(limits::FIELD, |cap| bulletin.headline(|name| text::phrase_up_to(name, cap))),
        blocks: Value::Array(blocks),
    }
}

fn lines(bulletin: &Bulletin, cap: usize) -> String {
    // With the least of each name fewer are shown too: then they fit whatever they are.
    let room = if cap <= 8 { LINES / 2 } else { LINES };
    let quote = |text: &str| text::markdown_up_to(text, cap.min(64));
    let mut lines: Vec<String> = bulletin
        .lines
        .iter()
        .take(room)
        .map(|line| format!("• *{}×* {}", line.count, Bulletin::describe(line, quote)))
        .collect();
    let more = bulletin.lines.len().saturating_sub(room);
    if more > 0 {
        lines.push(format!("… and {more} kinds more"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quell_engine::{Outcome, notify::bulletin::Subject};
    use serde_json::json;

    use super::*;
    use crate::{hostile, samples};

    #[test]
    fn counts_what_repeated_itself() {
        let posting = posting(&bulletin("photos-2024", 2));
        insta::assert_json_snapshot!(json!({"text": posting.text, "blocks": posting.blocks}));
    }

    #[test]
    fn says_how_many_kinds_are_left_out() {
        let shown = posting(&bulletin("photos-2024", 30)).blocks.to_string();
        assert!(shown.contains("… and 10 kinds more"), "{shown}");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_inert_and_slack_takes_it(
            text in hostile::text(),
            lines in 0..60_usize,
            outcome in prop::sample::select(Outcome::ALL.to_vec()),
        ) {
            let mut bulletin = bulletin(&text, lines);
            for line in &mut bulletin.lines {
                line.outcome = outcome;
            }
            let posting = posting(&bulletin);
            prop_assert_eq!(limits::complaints(&posting.blocks), Vec::<String>::new());
            for said in [posting.text, posting.blocks.to_string()] {
                prop_assert!(!said.contains(['<', '>', '@']), "{said}");
                hostile::assert_inert(&said);
            }
        }
    }

    /// One with so many lines, about this.
    fn bulletin(name: &str, lines: usize) -> Bulletin {
        let mut bulletin = samples::bulletin(Subject::Folded);
        let line = &mut bulletin.lines[0];
        for field in [&mut line.control, &mut line.account, &mut line.region, &mut line.example] {
            *field = name.to_owned();
        }
        (line.count, line.untold) = (9983, 9982);
        line.actor = Some(name.to_owned());
        bulletin.lines = vec![line.clone(); lines];
        bulletin.command = format!("quell records --since {name}");
        bulletin
    }
}
