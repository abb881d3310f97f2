//! What a scan says, however it is shown. `docs/scan.md` describes it for machines.

use std::cmp::Reverse;

use jiff::Timestamp;
use quell_controls::REGISTRY;
use quell_engine::{
    CallError, CallErrorKind, Description, Meta, Safety, Severity,
    scan::{Looked, Verdict},
};
use serde::Serialize;

use crate::report::words::{self, counted, thousands};

/// The version of [`Model`] as machines read it. Fields may be added under the same version.
const VERSION: u8 = 1;

#[derive(Debug, Serialize)]
pub(super) struct Model {
    pub(super) version: u8,
    pub(super) begun: Timestamp,
    pub(super) ended: Timestamp,
    #[serde(flatten)]
    pub(super) place: Place,
    /// Whether all there is was looked at.
    pub(super) complete: bool,
    pub(super) totals: Counts,
    /// Those that were looked for, in the order of the registry.
    pub(super) controls: Vec<OfControl>,
    /// The worst first.
    pub(super) violations: Vec<Violation>,
    pub(super) unread: Vec<Unread>,
    /// Those that hear of events alone. Empty, where controls were chosen.
    pub(super) not_looked_for: Vec<&'static str>,
}

/// Where it was looked, as whom, and by which policy file.
#[derive(Debug, Serialize)]
pub(super) struct Place {
    pub(super) account: String,
    pub(super) region: String,
    pub(super) principal: String,
    pub(super) policy: Option<String>,
}

/// `resources` is the sum of the others. A resource counts once for each control that looks at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Counts {
    pub(super) resources: u64,
    pub(super) compliant: u64,
    pub(super) permitted: u64,
    pub(super) violating: u64,
    pub(super) gone: u64,
    pub(super) unread: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct OfControl {
    pub(super) control: &'static str,
    pub(super) severity: Severity,
    /// Whether it also compares with how the resource was, which only a ledger knows.
    pub(super) needs_baseline: bool,
    #[serde(flatten)]
    pub(super) counts: Counts,
    /// Why its resources could not be listed to the end.
    pub(super) unlisted: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Violation {
    pub(super) control: &'static str,
    pub(super) severity: Severity,
    pub(super) safety: Safety,
    pub(super) resource: String,
    pub(super) arn: String,
    pub(super) changes: Vec<Description>,
    pub(super) notes: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Unread {
    pub(super) control: &'static str,
    /// None: the resources of the control could not be listed to the end.
    pub(super) resource: Option<String>,
    /// The IAM action of the call.
    pub(super) action: &'static str,
    pub(super) reason: &'static str,
    /// AWS's words.
    pub(super) detail: String,
}

/// What was found so far.
#[derive(Default)]
pub(super) struct Tally {
    controls: Vec<OfControl>,
    violations: Vec<Violation>,
    unread: Vec<Unread>,
    looking: Option<&'static Meta>,
}

impl Tally {
    /// What is added from now on is of this control.
    pub(super) fn begin(&mut self, meta: &'static Meta) {
        self.looking = Some(meta);
        self.controls.push(OfControl {
            control: meta.id,
            severity: meta.severity,
            needs_baseline: meta.baseline,
            counts: Counts::default(),
            unlisted: None,
        });
    }

    pub(super) fn add(&mut self, looked: Looked) {
        let (Some(meta), Some(of)) = (self.looking, self.controls.last_mut()) else { return };
        let counts = &mut of.counts;
        counts.resources += 1;
        match looked.verdict {
            Verdict::Compliant => counts.compliant += 1,
            Verdict::Gone => counts.gone += 1,
            Verdict::Permitted(_) => counts.permitted += 1,
            Verdict::Violating { changes, notes } => {
                counts.violating += 1;
                self.violations.push(Violation {
                    control: meta.id,
                    severity: meta.severity,
                    safety: meta.safety,
                    resource: looked.resource,
                    arn: looked.arn,
                    changes,
                    notes,
                });
            }
            Verdict::Unread(error) => {
                counts.unread += 1;
                self.unread.push(Unread::new(meta, Some(looked.resource), &error));
            }
        }
    }

    /// The control's resources could not be listed, or not to the end.
    pub(super) fn unlisted(&mut self, error: &CallError) {
        let (Some(meta), Some(of)) = (self.looking, self.controls.last_mut()) else { return };
        let unread = Unread::new(meta, None, error);
        of.unlisted = Some(unread.why());
        self.unread.push(unread);
    }

    /// How far it is.
    pub(super) fn progress(&self) -> String {
        let counts = self.counts();
        format!(
            "{}: {} looked at so far, {} violating, {} could not be read",
            self.looking.map_or("scan", |meta| meta.id),
            counted(counts.resources, "resource", "resources"),
            thousands(counts.violating),
            thousands(counts.unread),
        )
    }

    pub(super) fn finish(mut self, place: Place, begun: Timestamp, is_chosen: bool) -> Model {
        let totals = self.counts();
        // Stable: of the same severity, in the order of the registry and of AWS.
        self.violations.sort_by_key(|one| Reverse(one.severity));
        let deaf = REGISTRY.iter().filter(|meta| !is_chosen && meta.discovers.is_empty());
        Model {
            version: VERSION,
            begun,
            ended: Timestamp::now(),
            place,
            complete: self.unread.is_empty(),
            totals,
            controls: self.controls,
            violations: self.violations,
            unread: self.unread,
            not_looked_for: deaf.map(|meta| meta.id).collect(),
        }
    }

    fn counts(&self) -> Counts {
        self.controls.iter().fold(Counts::default(), |sum, one| Counts {
            resources: sum.resources + one.counts.resources,
            compliant: sum.compliant + one.counts.compliant,
            permitted: sum.permitted + one.counts.permitted,
            violating: sum.violating + one.counts.violating,
            gone: sum.gone + one.counts.gone,
            unread: sum.unread + one.counts.unread,
        })
    }
}

impl Unread {
    fn new(meta: &'static Meta, resource: Option<String>, error: &CallError) -> Self {
        let reason = match error.kind {
            CallErrorKind::Denied => "denied to these credentials",
            CallErrorKind::Refused => "refused by AWS",
            CallErrorKind::NotReady => "the resource is not ready",
            CallErrorKind::Unavailable => "throttled or unavailable",
            CallErrorKind::NoAnswer => "no answer in time",
            CallErrorKind::Misconfigured => "a setting cannot be used",
        };
        let detail = error.message.clone();
        Self { control: meta.id, resource, action: error.action, reason, detail }
    }

    fn why(&self) -> String {
        let Self { action, reason, detail, .. } = self;
        match detail.is_empty() {
            true => format!("{action}: {reason}"),
            false => format!("{action}: {reason}: {detail}"),
        }
    }
}

impl Model {
    /// In one sentence. Nothing in it is chosen by others.
    pub(super) fn summary(&self) -> String {
        let Counts { resources, compliant, permitted, violating, gone, unread } = self.totals;
        let mut parts = vec![
            format!("{} compliant", thousands(compliant)),
            format!("{} violating", thousands(violating)),
        ];
        for (count, words) in
            [(permitted, "permitted"), (gone, "gone meanwhile"), (unread, "could not be read")]
        {
            if count > 0 {
                parts.push(format!("{} {words}", thousands(count)));
            }
        }
        let unlisted = self.controls.iter().filter(|one| one.unlisted.is_some()).count();
        let unlisted = match unlisted {
            0 => String::new(),
            count => format!(
                "; the resources of {} could not be listed",
                counted(count as u64, "control", "controls")
            ),
        };
        format!(
            "account {} in {}, {}: {} looked at, {}{unlisted}",
            self.place.account,
            self.place.region,
            counted(self.controls.len() as u64, "control", "controls"),
            counted(resources, "resource", "resources"),
            parts.join(", "),
        )
    }

    /// What could not be looked at: the same reason once, with one resource by name.
    pub(super) fn unread_in_words(&self) -> Vec<String> {
        let mut groups: Vec<(&Unread, u64)> = Vec::new();
        for one in &self.unread {
            let is_alike = |(other, _): &&mut (&Unread, u64)| {
                other.control == one.control
                    && other.resource.is_some() == one.resource.is_some()
                    && (other.action, other.reason) == (one.action, one.reason)
            };
            match groups.iter_mut().find(is_alike) {
                Some((_, count)) => *count += 1,
                None => groups.push((one, 1)),
            }
        }
        let words = groups.iter().map(|(one, count)| match &one.resource {
            None => format!("{}: its resources could not be listed: {}", one.control, one.why()),
            Some(name) if *count == 1 => format!("{}, {name}: {}", one.control, one.why()),
            Some(name) => {
                format!(
                    "{}, {} resources such as {name}: {}",
                    one.control,
                    thousands(*count),
                    one.why()
                )
            }
        });
        words.collect()
    }

    /// What a reader has to know to trust the figures.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        notes.push(match &self.place.policy {
            Some(file) => format!("Whom you trust is as {file} says."),
            None => "There is no policy file: nobody is trusted.".to_owned(),
        });
        let baseline: Vec<_> =
            self.controls.iter().filter(|one| one.needs_baseline).map(|one| one.control).collect();
        if !baseline.is_empty() {
            notes.push(format!(
                "Some violations show only beside how the resource was before, which a stack's sweeps keep; without it nothing is said about those: {}.",
                baseline.join(", ")
            ));
        }
        if !self.not_looked_for.is_empty() {
            notes.push(format!(
                "Not looked for, because they hear of events alone: {}.",
                self.not_looked_for.join(", ")
            ));
        }
        if self.totals.violating > 0 {
            notes.push(
                "Exemptions are in a stack's ledger, which was not read. Nothing was changed."
                    .to_owned(),
            );
        }
        notes
    }
}

pub(super) fn severity(severity: Severity) -> &'static str {
    words::severity(severity)
}

/// A scan with everything in it, the names chosen by an attacker.
#[cfg(test)]
pub(super) mod sample {
    use quell_engine::Effect;

    use super::*;

    pub(in crate::scan) const HOSTILE: &str =
        "\"><img src=x onerror=alert(1)>\u{1b}[31m\n\u{202e}{{7*7}}";

    pub(in crate::scan) fn model() -> Model {
        let mut tally = Tally::default();
        let [first, second] = [REGISTRY[0], REGISTRY[3]];
        tally.begin(second);
        tally.add(looked("i-1", Verdict::Unread(denied("ec2:DescribeInstances"))));
        tally.add(looked("i-2", Verdict::Unread(denied("ec2:DescribeInstances"))));
        tally.add(looked("i-3", violating()));
        tally.unlisted(&denied("ec2:DescribeInstances"));
        tally.begin(first);
        tally.add(looked("fine", Verdict::Compliant));
        tally.add(looked("gone", Verdict::Gone));
        tally.add(looked("meant", Verdict::Permitted("by the template".to_owned())));
        tally.add(looked(HOSTILE, violating()));
        tally.finish(place(), Timestamp::UNIX_EPOCH, false)
    }

    pub(in crate::scan) fn nothing() -> Model {
        Tally::default().finish(place(), Timestamp::UNIX_EPOCH, false)
    }

    fn place() -> Place {
        Place {
            account: "111122223333".to_owned(),
            region: "eu-west-1".to_owned(),
            principal: "arn:aws:iam::111122223333:user/ann".to_owned(),
            policy: Some(HOSTILE.to_owned()),
        }
    }

    fn looked(resource: &str, verdict: Verdict) -> Looked {
        Looked { resource: resource.to_owned(), arn: format!("arn:aws:s3:::{resource}"), verdict }
    }

    fn violating() -> Verdict {
        let changes = vec![Description {
            action: "s3:PutBucketAcl".to_owned(),
            effect: Effect::Set,
            minus: vec![format!("READ to {HOSTILE}")],
            plus: vec!["nothing".to_owned()],
        }];
        Verdict::Violating { changes, notes: vec![HOSTILE.to_owned()] }
    }

    fn denied(action: &'static str) -> CallError {
        CallError::new(action, CallErrorKind::Denied, HOSTILE)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_worst_comes_first_and_every_resource_counts_once_for_a_control() {
        let model = sample::model();
        assert!(model.violations.is_sorted_by_key(|one| Reverse(one.severity)));
        let Counts { resources, compliant, permitted, violating, gone, unread } = model.totals;
        assert_eq!(resources, compliant + permitted + violating + gone + unread);
        assert_eq!((resources, violating, unread), (7, 2, 2));
        assert!(!model.complete);
        assert!(sample::nothing().complete);
    }

    #[test]
    fn the_same_reason_is_told_once() {
        let words = sample::model().unread_in_words();
        assert_eq!(words.len(), 2, "{words:#?}");
        assert!(words[0].contains("2 resources such as i-1: ec2:DescribeInstances: denied"));
        assert!(words[1].contains("could not be listed"), "{words:#?}");
    }

    #[test]
    fn a_control_that_needs_to_know_how_it_was_is_named() {
        let mut model = sample::model();
        assert!(!model.notes().iter().any(|note| note.contains("how the resource was")));
        model.controls[0].needs_baseline = true;
        let notes = model.notes();
        let note = notes.iter().find(|note| note.contains("how the resource was")).unwrap();
        assert!(note.contains(model.controls[0].control), "{note}");
    }

    #[test]
    fn every_field_of_the_json_is_described() {
        let page = quell_tests::read("docs/scan.md").unwrap();
        let mut names = Vec::new();
        gather(&serde_json::to_value(sample::model()).unwrap(), &mut names);
        assert!(names.len() > 40, "{}", names.len());
        for name in names {
            assert!(page.contains(&format!("`{name}`")), "docs/scan.md does not describe {name}");
        }
    }

    fn gather(value: &Value, names: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    names.push(name.clone());
                    gather(value, names);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| gather(item, names)),
            _ => {}
        }
    }
}
