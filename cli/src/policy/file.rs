//! The policy file: TOML, with every mistake in it found at once, and the line of each.

mod budgets;
mod notify;
mod people;
mod scopes;
mod sweep;
mod trusted;

use std::{
    fmt, fs,
    io::{self, Read as _},
    path::Path,
};

use quell_engine::{Meta, Mode, Safety, policy::Policy, text};
use serde::Serialize;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// A policy takes a few kilobytes; what is much larger was not meant.
pub(crate) const LARGEST: usize = 256 * 1024;

/// A policy as it was written, free of mistakes.
pub(crate) struct Checked {
    pub(crate) policy: Policy,
    pub(crate) source: String,
}

/// A mistake in the file.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) struct Problem {
    /// From 1. `None`: it is about the file as a whole.
    pub(crate) line: Option<usize>,
    pub(crate) problem: String,
}

impl Problem {
    /// With the place in front, as compilers do.
    pub(crate) fn at<'a>(&'a self, file: &'a str) -> impl fmt::Display + 'a {
        fmt::from_fn(move |f| match self.line {
            Some(line) => write!(f, "{file}:{line}: {}", self.problem),
            None => write!(f, "{file}: {}", self.problem),
        })
    }

    fn whole(problem: impl Into<String>) -> Vec<Self> {
        vec![Self { line: None, problem: problem.into() }]
    }
}

/// A file's bytes, and no more of them than tell that it is too large.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(LARGEST as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// `known` is every control there is.
pub(crate) fn check(bytes: Vec<u8>, known: &[&'static Meta]) -> Result<Checked, Vec<Problem>> {
    if bytes.len() > LARGEST {
        return Err(Problem::whole(format!(
            "larger than {} KB: this is no policy",
            LARGEST / 1024
        )));
    }
    let source = String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        vec![Problem { line: Some(line), problem: "not UTF-8 text".to_owned() }]
    })?;
    let mut reader = Reader { known, problems: Vec::new() };
    let (document, broken) = DeTable::parse_recoverable(&source);
    for error in &broken {
        let at = error.span().map_or(0, |span| span.start);
        reader.complain(at, error.message());
    }
    // What was made of a broken file may be anything.
    let policy = if broken.is_empty() { reader.policy(document.get_ref()) } else { None };
    let mut problems = with_lines(&source, reader.problems);
    problems.sort();
    problems.dedup();
    match policy {
        Some(policy) if problems.is_empty() => Ok(Checked { policy, source }),
        _ => Err(problems),
    }
}

type Value<'t> = Spanned<DeValue<'t>>;

struct Reader<'s> {
    known: &'s [&'static Meta],
    /// Each with the byte that it is about.
    problems: Vec<(usize, String)>,
}

impl Reader<'_> {
    /// `None` only where there is a problem. Some problems leave a policy all the same.
    fn policy(&mut self, document: &DeTable<'_>) -> Option<Policy> {
        const PARTS: &[&str] = &[
            "approvals",
            "budgets",
            "controls",
            "notify",
            "people",
            "routes",
            "scopes",
            "sweep",
            "trusted",
        ];
        let mut policy = Policy::observe();
        let mut scopes = Vec::new();
        for (key, value) in document {
            match key.get_ref().as_ref() {
                "controls" => self.controls(value, &mut policy),
                "scopes" => scopes = self.scopes(value),
                "budgets" => self.budgets(value, &mut policy),
                "approvals" => self.approvals(value, &mut policy.approvals),
                "people" => policy.people = self.people(value),
                "notify" => self.notify(value, &mut policy.notify),
                "routes" => policy.routes = self.routes(value),
                "trusted" => policy.trusted = self.trusted(value),
                "sweep" => policy.sweep = self.sweep(value),
                _ => self.unknown_key(key, PARTS, ""),
            }
        }
        if !self.problems.is_empty() {
            return None;
        }
        for (at, scope) in scopes {
            self.tags_only_raise(at, &scope, &policy);
            policy.scopes.push(scope);
        }
        Some(policy)
    }

    fn controls(&mut self, value: &Value<'_>, policy: &mut Policy) {
        let Some(table) = self.table(value, "controls") else { return };
        for (key, value) in table {
            let id = key.get_ref().as_ref();
            let mode = self.mode(value, id);
            if id == "*" {
                policy.others = mode.unwrap_or(policy.others);
            } else if let Some(meta) = self.control(id, key.span().start) {
                let Some(mode) = mode else { continue };
                self.only_reports(meta, mode, value.span().start);
                policy.controls.insert(id.to_owned(), mode);
            }
        }
    }

    fn account(&mut self, account: &str, at: usize) {
        if !is_account(account) {
            let account = brief(account);
            self.complain(at, format!("`{account}` is not an account; accounts have 12 digits"));
        }
    }

    fn only_reports(&mut self, meta: &Meta, mode: Mode, at: usize) {
        if meta.safety == Safety::ReportOnly && mode > Mode::Observe {
            self.complain(at, format!("`{}` only reports: it can be off or observe", meta.id));
        }
    }

    fn control(&mut self, id: &str, at: usize) -> Option<&'static Meta> {
        let meta = self.known.iter().copied().find(|meta| meta.id == id);
        if meta.is_none() {
            let ids: Vec<_> = self.known.iter().map(|meta| meta.id).collect();
            let meant = match nearest(id, &ids) {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None => "`quell controls` lists them".to_owned(),
            };
            self.complain(at, format!("there is no control `{}`; {meant}", brief(id)));
        }
        meta
    }

    fn mode(&mut self, value: &Value<'_>, what: &str) -> Option<Mode> {
        let name = self.text(value, what)?;
        let mode = Mode::named(name);
        if mode.is_none() {
            self.complain(
                value.span().start,
                format!(
                    "there is no mode `{}`; the modes are off, observe, approve and enforce",
                    brief(name)
                ),
            );
        }
        mode
    }

    fn number(&mut self, value: &Value<'_>, what: &str, most: u32) -> Option<u32> {
        self.number_from(value, what, 1, most)
    }

    fn number_from(&mut self, value: &Value<'_>, what: &str, least: u32, most: u32) -> Option<u32> {
        let number = match value.get_ref() {
            DeValue::Integer(number) => u32::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        let number = number.filter(|number| (least..=most).contains(number));
        if number.is_none() {
            self.complain(
                value.span().start,
                format!("`{what}` has to be a number from {least} to {most}, without quotes"),
            );
        }
        number
    }

    /// A text that is not empty.
    fn text<'v>(&mut self, value: &'v Value<'_>, what: &str) -> Option<&'v str> {
        match value.get_ref() {
            DeValue::String(text) if !text.trim().is_empty() => Some(text.as_ref()),
            DeValue::String(_) => {
                self.complain(value.span().start, format!("`{}` is empty", brief(what)));
                None
            }
            other => {
                let (what, kind) = (brief(what), kind(other));
                self.complain(
                    value.span().start,
                    format!("`{what}` has to be text in quotes, and is {kind}"),
                );
                None
            }
        }
    }

    /// Texts, of which there is at least one. Each is looked at with where it stands.
    fn texts(
        &mut self,
        value: &Value<'_>,
        what: &str,
        mut look: impl FnMut(&mut Self, &str, usize),
    ) -> Vec<String> {
        let DeValue::Array(list) = value.get_ref() else {
            let (what, kind) = (brief(what), kind(value.get_ref()));
            self.complain(
                value.span().start,
                format!("`{what}` has to be a list of texts in quotes, and is {kind}"),
            );
            return Vec::new();
        };
        if list.is_empty() {
            let what = brief(what);
            self.complain(value.span().start, format!("`{what}` is empty; leave it out"));
        }
        let mut texts = Vec::new();
        for value in list.iter() {
            if let Some(text) = self.text(value, what) {
                look(self, text, value.span().start);
                texts.push(text.to_owned());
            }
        }
        texts
    }

    fn table<'v, 't>(&mut self, value: &'v Value<'t>, what: &str) -> Option<&'v DeTable<'t>> {
        if let DeValue::Table(table) = value.get_ref() {
            return Some(table);
        }
        let kind = kind(value.get_ref());
        self.complain(value.span().start, format!("`{what}` has to be a table, and is {kind}"));
        None
    }

    /// The tables of `[[what]]`, each with where it begins.
    fn tables<'v, 't>(
        &mut self,
        value: &'v Value<'t>,
        what: &str,
        most: usize,
    ) -> Vec<(usize, &'v DeTable<'t>)> {
        let mut tables = Vec::new();
        let DeValue::Array(list) = value.get_ref() else {
            self.complain(
                value.span().start,
                format!("`{what}` has to be tables, each begun by a line [[{what}]]"),
            );
            return tables;
        };
        if list.len() > most {
            let count = list.len();
            self.complain(
                value.span().start,
                format!("there are {count} {what}, and at most {most} may be there"),
            );
        }
        for value in list.iter().take(most) {
            let table = self.table(value, what);
            tables.extend(table.map(|table| (value.span().start, table)));
        }
        tables
    }

    fn unknown_key(
        &mut self,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        known: &[&'static str],
        of: &str,
    ) {
        let meant = match nearest(key.get_ref(), known) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => format!("the keys are {}", known.join(", ")),
        };
        let name = brief(key.get_ref());
        self.complain(key.span().start, format!("there is no key `{name}`{of}; {meant}"));
    }

    fn complain(&mut self, at: usize, problem: impl Into<String>) {
        self.problems.push((at, problem.into()));
    }
}

/// Counts the lines once, however many problems there are.
fn with_lines(source: &str, mut problems: Vec<(usize, String)>) -> Vec<Problem> {
    problems.sort();
    let (mut line, mut from) = (1, 0);
    let mut found = Vec::with_capacity(problems.len());
    for (at, problem) in problems {
        let at = at.min(source.len());
        line += source.as_bytes()[from..at].iter().filter(|byte| **byte == b'\n').count();
        from = at;
        found.push(Problem { line: Some(line), problem });
    }
    found
}

pub(crate) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

/// Such as `eu-west-1`, `us-gov-east-1`, `eusc-de-east-1`.
pub(crate) fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [area, middle @ .., number] = parts.as_slice() else { return false };
    let is_lower = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    (2..=4).contains(&area.len())
        && is_lower(area)
        && (1..=2).contains(&middle.len())
        && middle.iter().all(|part| is_lower(part))
        && (1..=2).contains(&number.len())
        && number.bytes().all(|b| b.is_ascii_digit())
}

/// The known word with the smallest edit distance, if that is small.
fn nearest(word: &str, known: &[&'static str]) -> Option<&'static str> {
    if word.len() > 64 {
        return None;
    }
    let near = known.iter().map(|one| (strsim::levenshtein(word, one), *one)).min();
    near.filter(|(distance, one)| *distance <= 4 && *distance < one.len()).map(|(_, one)| one)
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn brief(text: &str) -> String {
    text::plain_up_to(text, 100)
}

#[cfg(test)]
#[allow(clippy::print_stdout, reason = "what was measured is for people to read")]
mod tests {
    use quell_controls::REGISTRY;
    use quell_engine::policy::{Approvals, Limits};
    use quell_tests::attack;

    use super::*;

    pub(super) fn checked(source: &str) -> Result<Policy, Vec<String>> {
        let problems = |problems: Vec<Problem>| {
            problems.iter().map(|problem| problem.at("quell.toml").to_string()).collect()
        };
        check(source.as_bytes().to_vec(), REGISTRY).map(|file| file.policy).map_err(problems)
    }

    /// The only problem, from its line on.
    pub(super) fn problem(source: &str) -> String {
        let problems = checked(source).expect_err(source);
        assert_eq!(problems.len(), 1, "{source}: {problems:#?}");
        problems[0].strip_prefix("quell.toml:").unwrap().to_owned()
    }

    #[test]
    fn whatever_a_policy_file_says_it_is_a_policy_or_each_problem_has_a_line() {
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/quell.toml");
        let example = fs::read_to_string(example).unwrap();
        let parts: Vec<&str> =
            example.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        let (mut policies, mut wrong) = (0, 0);
        attack::each_case(|rng| {
            let mut source = String::new();
            for _ in 0..rng.usize(1..5) {
                let mut line = attack::one(rng, &parts).to_string();
                if rng.u8(..3) == 0 {
                    let mut at = rng.usize(..=line.len());
                    while !line.is_char_boundary(at) {
                        at -= 1;
                    }
                    match rng.u8(..3) {
                        0 => line.truncate(at),
                        1 => line.insert_str(at, attack::fragment(rng)),
                        _ => line.push_str(&attack::hostile(rng)),
                    }
                }
                source.push_str(&line);
                source.push('\n');
            }
            match check(source.clone().into_bytes(), REGISTRY) {
                Ok(checked) => {
                    policies += 1;
                    let stored = serde_json::to_string(&checked.policy).unwrap();
                    assert_eq!(serde_json::from_str::<Policy>(&stored).unwrap(), checked.policy);
                }
                Err(problems) => {
                    wrong += 1;
                    assert!(!problems.is_empty());
                    let lines = source.matches('\n').count() + 1;
                    for problem in problems {
                        assert!(problem.line.is_some_and(|line| (1..=lines).contains(&line)));
                        assert!(problem.problem.len() < 1_000, "{problem:?}");
                    }
                }
            }
        });
        assert!(policies > 0 && wrong > 0, "{policies} policies, {wrong} with problems");
    }

    #[test]
    fn checking_a_policy_file_grows_with_its_length() {
        type Shape = (&'static str, usize, fn(usize) -> String);
        let shapes: [Shape; 7] = [
            ("unknown keys", 8_000, |n| (0..n).map(|i| format!("k{i} = 1\n")).collect()),
            ("unknown controls", 4_000, |n| {
                (0..n).fold("[controls]\n".to_owned(), |all, i| all + &format!("c{i} = \"off\"\n"))
            }),
            ("scopes", 4_000, |n| "[[scopes]]\nresources = [\"a\"]\nmode = \"off\"\n".repeat(n)),
            ("people", 1_900, |n| {
                let person = |i| {
                    format!(
                        "[[people]]\nname = \"p{i}\"\nslack = \"U0{i:07}\"\nprincipals = [\"arn:aws:iam::123456789012:user/p{i}\"]\n"
                    )
                };
                (0..n).map(person).collect()
            }),
            ("a long text", 250_000, |n| format!("x = \"{}\"", "y".repeat(n))),
            ("brackets", 200_000, |n| format!("x = {}", "[".repeat(n))),
            ("broken lines", 40_000, |n| "=\n".repeat(n)),
        ];
        for (what, most, make) in shapes {
            let work = |source: &String| check(source.clone().into_bytes(), REGISTRY).is_ok();
            println!("{}", attack::grows_at_most_linearly(what, most, make, work));
        }
    }

    #[test]
    fn the_example_is_a_policy() {
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/quell.toml");
        let policy = checked(&fs::read_to_string(example).unwrap()).unwrap();
        assert_eq!(policy.others, Mode::Observe);
        assert!(!policy.scopes.is_empty() && !policy.people.is_empty());
        assert_eq!(policy.budgets, Policy::observe().budgets, "it shows the defaults");
        assert_eq!(policy.approvals, Approvals::DEFAULT);
    }

    #[test]
    fn an_empty_file_observes() {
        assert_eq!(checked("").unwrap(), Policy::observe());
        assert_eq!(checked("# nothing yet\n\n").unwrap(), Policy::observe());
    }

    #[test]
    fn everything_that_is_said_is_in_the_policy() {
        let policy = checked(
            r#"
[controls]
"*" = "off"
s3-public-acl = "enforce"

[[scopes]]
controls = ["ec2-imdsv2"]
accounts = ["111122223333"]
regions = ["eu-west-1", "us-gov-east-1"]
resources = ["i-*", "arn:aws:ec2:*:*:instance/i-0?"]
tags = { env = ["dev", "test"], team = "a b" }
mode = "approve"

[budgets.routine]
control = 5

[budgets.critical]
window_minutes = 60
overall = 0x10

[approvals]
expire_hours = 48

[[people]]
name = "Ann"
slack = "U012AB3CD"
principals = ["arn:aws:iam::111122223333:user/ops/ann", "arn:aws:sts::111122223333:assumed-role/Ann/*"]
"#,
        )
        .unwrap();
        assert_eq!(policy.others, Mode::Off);
        assert_eq!(policy.controls["s3-public-acl"], Mode::Enforce);
        let scope = &policy.scopes[0];
        assert_eq!(scope.controls, ["ec2-imdsv2"]);
        assert_eq!(scope.accounts, ["111122223333"]);
        assert_eq!(scope.regions, ["eu-west-1", "us-gov-east-1"]);
        assert_eq!(scope.resources, ["i-*", "arn:aws:ec2:*:*:instance/i-0?"]);
        assert_eq!(scope.tags["env"], ["dev", "test"]);
        assert_eq!(scope.tags["team"], ["a b"]);
        assert_eq!(scope.mode, Mode::Approve);
        assert_eq!(policy.budgets.routine, Limits { control: 5, ..Limits::ROUTINE });
        assert_eq!(policy.budgets.critical.window_minutes, 60);
        assert_eq!(policy.budgets.critical.overall, 16);
        assert_eq!(policy.approvals.expire_hours, 48);
        assert_eq!(policy.people[0].slack.as_deref(), Some("U012AB3CD"));
        assert_eq!(policy.people[0].principals.len(), 2);
    }

    #[test]
    fn every_problem_is_named_at_once_with_its_line() {
        let problems = checked(
            "[control]\ns3-public-acl = 'off'\n[[scopes]]\nregion = ['x']\nmode = 'enforced'\n",
        )
        .unwrap_err();
        assert_eq!(
            problems,
            [
                "quell.toml:1: there is no key `control`; did you mean `controls`?",
                "quell.toml:3: this scope is for everything; say in [controls] what is so everywhere",
                "quell.toml:4: there is no key `region` of a scope; did you mean `regions`?",
                "quell.toml:5: there is no mode `enforced`; the modes are off, observe, approve and enforce",
            ]
        );
    }

    #[test]
    fn unknown_words_are_answered_with_the_nearest() {
        assert_eq!(
            problem("[controls]\ns3-public-alc = 'off'"),
            "2: there is no control `s3-public-alc`; did you mean `s3-public-acl`?"
        );
        assert_eq!(
            problem("[controls]\nnothing-like-it = 'off'"),
            "2: there is no control `nothing-like-it`; `quell controls` lists them"
        );
        assert_eq!(
            problem("[[scopes]]\nmode = 'off'\ncontrols = [\n  'ec2-imdsv2',\n  'ec2-imdsv3',\n]"),
            "5: there is no control `ec2-imdsv3`; did you mean `ec2-imdsv2`?"
        );
        assert_eq!(
            problem("[budgets.routines]\ncontrol = 1"),
            "1: there is no key `routines` of the budgets; did you mean `routine`?"
        );
        assert_eq!(
            problem("[budgets.routine]\nper_hour = 1"),
            "2: there is no key `per_hour` of a budget; the keys are account, actor, control, overall, window_minutes"
        );
        assert_eq!(
            problem("[approvals]\nexpires_hours = 1"),
            "2: there is no key `expires_hours` of the approvals; did you mean `expire_hours`?"
        );
    }

    #[test]
    fn values_of_the_wrong_kind_are_named() {
        for (source, expected) in [
            ("controls = 5", "1: `controls` has to be a table, and is a number"),
            ("[controls]\n'*' = true", "2: `*` has to be text in quotes, and is true or false"),
            ("[controls]\ns3.public = 'off'", "2: there is no control"),
            (
                "[scopes]\nmode = 'off'",
                "1: `scopes` has to be tables, each begun by a line [[scopes]]",
            ),
            ("scopes = ['off']", "1: `scopes` has to be a table, and is text"),
            (
                "[[scopes]]\nmode = 'off'\naccounts = '111122223333'",
                "3: `accounts` has to be a list of texts in quotes, and is text",
            ),
            (
                "[[scopes]]\nmode = 'off'\naccounts = [111122223333]",
                "3: `accounts` has to be text in quotes, and is a number",
            ),
            ("[[scopes]]\nmode = 'off'\nregions = []", "3: `regions` is empty; leave it out"),
            ("[[scopes]]\nmode = 'off'\nregions = ['']", "3: `regions` is empty"),
            ("[[scopes]]\nmode = 'enforce'\ntags = {}", "3: `tags` is empty; leave it out"),
            ("[[scopes]]\nregions = ['eu-west-1']", "1: this scope has no `mode`"),
            (
                "[budgets.routine]\ncontrol = 0",
                "2: `control` has to be a number from 1 to 10000, without quotes",
            ),
            (
                "[budgets.routine]\nactor = 99999999999999999999999",
                "2: `actor` has to be a number from 1 to 10000, without quotes",
            ),
            (
                "[approvals]\nexpire_hours = 169",
                "2: `expire_hours` has to be a number from 1 to 168, without quotes",
            ),
            (
                "[approvals]\nexpire_hours = '24'",
                "2: `expire_hours` has to be a number from 1 to 168, without quotes",
            ),
        ] {
            let found = problem_among(source, expected);
            assert!(found, "{source}: {:#?}", checked(source));
        }
    }

    fn problem_among(source: &str, expected: &str) -> bool {
        let problems = checked(source).expect_err(source);
        problems.iter().any(|one| one.starts_with(&format!("quell.toml:{expected}")))
    }

    #[test]
    fn accounts_and_regions_have_their_forms() {
        let account = |account: &str| {
            checked(&format!("[[scopes]]\nmode = 'off'\naccounts = ['{account}']")).is_ok()
        };
        assert!(account("000011112222"));
        for bad in
            ["1111222233334", "11112222333", "1111-2222-3333", "11112222333x", "١١١١٢٢٢٢٣٣٣٣"]
        {
            assert!(!account(bad), "{bad}");
        }
        let region = |region: &str| {
            checked(&format!("[[scopes]]\nmode = 'off'\nregions = ['{region}']")).is_ok()
        };
        for good in
            ["eu-west-1", "ap-southeast-4", "us-gov-west-1", "us-iso-east-1", "eusc-de-east-1"]
        {
            assert!(region(good), "{good}");
        }
        for bad in
            ["eu-west", "EU-WEST-1", "eu-west-1a", "eu_west_1", "*", "europe-west-1", "eu-west-1 "]
        {
            assert!(!region(bad), "{bad}");
        }
    }

    #[test]
    fn broken_toml_is_named_with_its_line() {
        let problems = checked("[controls]\n'*' = 'off'\n'*' = 'observe'\nmode off\n").unwrap_err();
        assert!(problems.iter().any(|one| one.starts_with("quell.toml:3: ")), "{problems:?}");
        assert!(problems.iter().any(|one| one.starts_with("quell.toml:4: ")), "{problems:?}");
        let deep = format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(checked(&deep).is_err());
    }

    #[test]
    fn what_is_no_text_or_too_large_is_refused() {
        let not_text = check(b"[controls]\n# \xff\n".to_vec(), REGISTRY).err().unwrap();
        assert_eq!(not_text[0].at("quell.toml").to_string(), "quell.toml:2: not UTF-8 text");
        let large = check(vec![b'#'; LARGEST + 1], REGISTRY).err().unwrap();
        assert_eq!(
            large[0].at("quell.toml").to_string(),
            "quell.toml: larger than 256 KB: this is no policy"
        );
        assert!(check(vec![b'#'; LARGEST], REGISTRY).is_ok());
    }

    #[test]
    fn what_a_hostile_file_says_is_shown_on_one_visible_line() {
        let problem = problem("[controls]\n\"a\\u001b[31m\\n\\u202eb\" = 'off'");
        assert!(
            !problem.chars().any(char::is_control) && !problem.contains('\u{202e}'),
            "{problem:?}"
        );
    }
}
