//! What sweeps do beside looking: `[sweep]`.

use quell_engine::{Safety, policy::Sweep};

use super::{Reader, Value};

impl Reader<'_> {
    pub(super) fn sweep(&mut self, value: &Value<'_>) -> Sweep {
        let mut sweep = Sweep::default();
        let Some(table) = self.table(value, "sweep") else { return sweep };
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "fix_backlog" => {
                    sweep.fix_backlog = self.texts(value, "fix_backlog", |reader, id, at| {
                        if id != "*" {
                            reader.swept(id, at);
                        }
                    });
                }
                _ => self.unknown_key(key, &["fix_backlog"], " of the sweep"),
            }
        }
        sweep
    }

    /// A control of which a sweep can fix something.
    fn swept(&mut self, id: &str, at: usize) {
        let Some(meta) = self.control(id, at) else { return };
        if meta.safety == Safety::ReportOnly {
            self.complain(at, format!("`{id}` only reports: there is nothing that it fixes"));
        } else if meta.discovers.is_empty() {
            self.complain(at, format!("no sweep looks at `{id}`: it hears of events alone"));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::policy::file::tests::{checked, problem};

    #[test]
    fn it_says_of_which_controls_the_backlog_is_fixed() {
        let policy = checked("[sweep]\nfix_backlog = ['s3-public-acl']").unwrap();
        assert!(policy.sweep.fixes_backlog_of("s3-public-acl"));
        assert!(!policy.sweep.fixes_backlog_of("ec2-imdsv2"));
        let all = checked("[sweep]\nfix_backlog = ['*']").unwrap();
        assert!(all.sweep.fixes_backlog_of("ec2-imdsv2"));
        assert!(!checked("[sweep]").unwrap().sweep.fixes_backlog_of("s3-public-acl"));
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        for (line, expected) in [
            (
                "fix_backlogs = ['*']",
                "there is no key `fix_backlogs` of the sweep; did you mean `fix_backlog`?",
            ),
            ("fix_backlog = '*'", "`fix_backlog` has to be a list of texts in quotes, and is text"),
            (
                "fix_backlog = ['s3-public-alc']",
                "there is no control `s3-public-alc`; did you mean `s3-public-acl`?",
            ),
            (
                "fix_backlog = ['quell-tampered']",
                "`quell-tampered` only reports: there is nothing that it fixes",
            ),
            (
                "fix_backlog = ['ec2-quarantine']",
                "no sweep looks at `ec2-quarantine`: it hears of events alone",
            ),
        ] {
            assert_eq!(problem(&format!("[sweep]\n{line}")), format!("2: {expected}"));
        }
    }
}
