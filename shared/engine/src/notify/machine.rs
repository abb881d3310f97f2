//! JSON for machines: the notice itself. Its strings are as they came, and untrusted.

use super::Notice;
use crate::text;

pub fn body(notice: &Notice) -> Result<String, serde_json::Error> {
    text::json(notice)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Outcome, notify::samples, text::hostile};

    #[test]
    fn has_a_version_and_flat_changes() {
        let json: serde_json::Value =
            serde_json::from_str(&body(&samples::message(Outcome::Partial).into()).unwrap())
                .unwrap();
        insta::assert_json_snapshot!(json);
    }

    proptest! {
        #[test]
        fn a_machine_reads_what_was_written(
            texts in prop::collection::vec(hostile::text(), 1..6),
            which in prop::sample::select(Outcome::ALL.to_vec()),
        ) {
            let notice = Notice::from(samples::filled(which, &texts, 3));
            let json = body(&notice).unwrap();
            prop_assert!(!json.contains(text::is_invisible) && !json.contains(['<', '>', '&']));
            prop_assert_eq!(serde_json::from_str::<Notice>(&json).unwrap(), notice);
        }
    }
}
