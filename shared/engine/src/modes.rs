//! How far each control goes in this deployment.

use std::collections::BTreeMap;

pub use crate::policy::Mode;
use crate::{Meta, Safety};

/// The mode of each control, under the ceiling of the function that serves it.
#[derive(Clone, Debug, PartialEq)]
pub struct Modes {
    act: bool,
    named: BTreeMap<String, Mode>,
    others: Mode,
}

/// The mode that counts, and why it is less than what was asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    pub mode: Mode,
    pub withheld: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ModesError {
    #[error("ceiling `{0}` is neither `observe` nor `act`")]
    Ceiling(String),
    #[error("`{0}` is not of the form control=mode")]
    Form(String),
    #[error("`{control}={mode}`: the modes are off, observe and enforce")]
    Mode { control: String, mode: String },
    #[error("there is no control `{control}`{}", .nearest.map(|id| format!("; did you mean `{id}`?")).unwrap_or_default())]
    Unknown { control: String, nearest: Option<&'static str> },
    #[error("control `{0}` is named twice")]
    Twice(String),
}

impl Modes {
    /// Everything observed, nothing changed.
    pub const OBSERVE: Self = Self { act: false, named: BTreeMap::new(), others: Mode::Observe };

    /// From `control=mode,…`, where the control `*` means all that are not named, and a ceiling (`observe` or `act`).
    /// `known` is every control there is: a misspelt name is an error rather than a control that silently observes.
    pub fn parse(ceiling: &str, modes: &str, known: &[&'static Meta]) -> Result<Self, ModesError> {
        let act = match ceiling {
            "act" => true,
            "observe" | "" => false,
            other => return Err(ModesError::Ceiling(brief(other))),
        };
        let mut parsed = Self { act, ..Self::OBSERVE };
        let mut others = None;
        for item in modes.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let (control, mode) =
                item.split_once('=').ok_or_else(|| ModesError::Form(brief(item)))?;
            let (control, mode) = (control.trim(), mode.trim());
            let mode = match mode {
                "off" => Mode::Off,
                "observe" => Mode::Observe,
                "enforce" => Mode::Enforce,
                other => {
                    return Err(ModesError::Mode { control: brief(control), mode: brief(other) });
                }
            };
            let before = if control == "*" {
                others.replace(mode)
            } else if known.iter().any(|meta| meta.id == control) {
                parsed.named.insert(control.to_owned(), mode)
            } else {
                return Err(ModesError::Unknown {
                    control: brief(control),
                    nearest: nearest(control, known),
                });
            };
            if before.is_some() {
                return Err(ModesError::Twice(brief(control)));
            }
        }
        parsed.others = others.unwrap_or(Mode::Observe);
        Ok(parsed)
    }

    /// Every control named here, all in one mode: what a person asks for by name.
    pub fn by_name(act: bool, mode: Mode, known: &[&'static Meta]) -> Self {
        let named = known.iter().map(|meta| (meta.id.to_owned(), mode)).collect();
        Self { act, named, others: mode }
    }

    pub fn decide(&self, meta: &Meta) -> Decision {
        let named = self.named.get(meta.id).copied();
        let asked = named.unwrap_or(self.others);
        let withheld = if asked != Mode::Enforce {
            None
        } else if meta.safety == Safety::ReportOnly {
            Some("this control only reports")
        } else if meta.safety == Safety::NeedsApproval && named.is_none() {
            Some("this control must be enforced by its name; `*` does not count as approval")
        } else if !self.act {
            Some("the function's ceiling is `observe`")
        } else {
            None
        };
        Decision { mode: if withheld.is_some() { Mode::Observe } else { asked }, withheld }
    }
}

fn brief(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}

/// The known control with the smallest edit distance, if that is small.
fn nearest(control: &str, known: &[&'static Meta]) -> Option<&'static str> {
    known
        .iter()
        .map(|meta| (distance(control, meta.id), meta.id))
        .min()
        .filter(|(distance, _)| *distance <= 4)
        .map(|(_, id)| id)
}

/// Levenshtein's edit distance.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Severity;

    const fn meta(id: &'static str, safety: Safety) -> Meta {
        Meta {
            id,
            title: "",
            risk: "",
            severity: Severity::High,
            safety,
            satisfies: &[],
            function: "",
            listens: &[],
            reads: &[],
            writes: &[],
            visible_within: 0,
            source: "",
        }
    }

    static SAFE: Meta = meta("s3-public-acl", Safety::Safe);
    static RISKY: Meta = meta("ec2-imdsv2", Safety::NeedsApproval);
    static REPORTED: Meta = meta("root-key", Safety::ReportOnly);
    static KNOWN: &[&Meta] = &[&SAFE, &RISKY, &REPORTED];

    fn decided(ceiling: &str, modes: &str, meta: &Meta) -> Mode {
        Modes::parse(ceiling, modes, KNOWN).unwrap().decide(meta).mode
    }

    #[test]
    fn nothing_said_means_observe() {
        for meta in KNOWN {
            assert_eq!(decided("", "", meta), Mode::Observe);
            assert_eq!(decided("act", "", meta), Mode::Observe);
        }
    }

    #[test]
    fn the_ceiling_is_never_exceeded() {
        for meta in KNOWN {
            assert_eq!(decided("observe", &format!("{}=enforce", meta.id), meta), Mode::Observe);
        }
    }

    #[test]
    fn a_wildcard_enforces_only_what_is_safe() {
        assert_eq!(decided("act", "*=enforce", &SAFE), Mode::Enforce);
        assert_eq!(decided("act", "*=enforce", &RISKY), Mode::Observe);
        assert_eq!(decided("act", "*=enforce,ec2-imdsv2=enforce", &RISKY), Mode::Enforce);
        assert_eq!(decided("act", "*=off", &RISKY), Mode::Off);
    }

    #[test]
    fn a_report_only_control_never_acts() {
        assert_eq!(decided("act", "root-key=enforce", &REPORTED), Mode::Observe);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |ceiling, modes| Modes::parse(ceiling, modes, KNOWN).unwrap_err().to_string();
        assert_eq!(error("acts", ""), "ceiling `acts` is neither `observe` nor `act`");
        assert_eq!(
            error("act", "s3-public-acl"),
            "`s3-public-acl` is not of the form control=mode"
        );
        assert_eq!(
            error("act", "s3-public-acls=enforce"),
            "there is no control `s3-public-acls`; did you mean `s3-public-acl`?"
        );
        assert_eq!(error("act", "nothing=enforce"), "there is no control `nothing`");
        assert_eq!(
            error("act", "ec2-imdsv2=approve"),
            "`ec2-imdsv2=approve`: the modes are off, observe and enforce"
        );
        assert_eq!(error("act", "*=off,*=observe"), "control `*` is named twice");
    }
}
