//! The policy file: TOML, with every mistake in it found at once, and the line of each.

mod notify;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt, fs,
    io::{self, Read as _},
    path::Path,
};

use quell_engine::{
    Meta, Mode, Safety,
    policy::{Approvals, Limits, Person, Policy, Scope},
    text,
};
use serde::Serialize;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// A policy takes a few kilobytes; what is much larger was not meant.
pub(crate) const LARGEST: usize = 256 * 1024;

/// Each is compared with all before it, and each decision goes through all of them.
const MOST_SCOPES: usize = 200;

const MOST_PEOPLE: usize = 2_000;

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
        const PARTS: &[&str] =
            &["approvals", "budgets", "controls", "notify", "people", "routes", "scopes"];
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

    /// Each with where its mode stands.
    fn scopes(&mut self, value: &Value<'_>) -> Vec<(usize, Scope)> {
        self.tables(value, "scopes", MOST_SCOPES)
            .into_iter()
            .filter_map(|(at, table)| self.scope(at, table))
            .collect()
    }

    fn scope(&mut self, at: usize, table: &DeTable<'_>) -> Option<(usize, Scope)> {
        const KEYS: &[&str] = &["accounts", "controls", "mode", "regions", "resources", "tags"];
        let mut scope = Scope {
            controls: Vec::new(),
            accounts: Vec::new(),
            regions: Vec::new(),
            resources: Vec::new(),
            tags: BTreeMap::new(),
            mode: Mode::Observe,
        };
        let mut mode = None;
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "controls" => {
                    scope.controls = self.texts(value, "controls", |reader, id, at| {
                        reader.control(id, at);
                    });
                }
                "accounts" => {
                    scope.accounts = self.texts(value, "accounts", Self::account);
                }
                "regions" => {
                    scope.regions = self.texts(value, "regions", |reader, region, at| {
                        if !is_region(region) {
                            let region = brief(region);
                            reader.complain(
                                at,
                                format!(
                                    "`{region}` is not a region; regions look like `eu-west-1`"
                                ),
                            );
                        }
                    });
                }
                "resources" => scope.resources = self.texts(value, "resources", Self::glob),
                "tags" => scope.tags = self.tags(value),
                "mode" => {
                    mode = self.mode(value, "mode").map(|mode| (value.span().start, mode));
                }
                _ => self.unknown_key(key, KEYS, " of a scope"),
            }
        }
        if !table.keys().any(|key| key.get_ref() == "mode") {
            self.complain(at, "this scope has no `mode`");
        }
        if !table
            .keys()
            .any(|key| KEYS.contains(&key.get_ref().as_ref()) && key.get_ref() != "mode")
        {
            self.complain(
                at,
                "this scope is for everything; say in [controls] what is so everywhere",
            );
        }
        let (mode_at, mode) = mode?;
        scope.mode = mode;
        for id in &scope.controls {
            let meta = self.known.iter().copied().find(|meta| meta.id == id);
            if let Some(meta) = meta {
                self.only_reports(meta, mode, mode_at);
            }
        }
        let everything = scope.resources.iter().find(|glob| is_everything(glob));
        if let (Mode::Off, Some(glob)) = (mode, everything) {
            self.complain(
                mode_at,
                format!(
                    "`{glob}` is every resource, and this scope switches them off; leave `resources` out if that is meant"
                ),
            );
        }
        Some((mode_at, scope))
    }

    fn account(&mut self, account: &str, at: usize) {
        if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
            let account = brief(account);
            self.complain(at, format!("`{account}` is not an account; accounts have 12 digits"));
        }
    }

    fn glob(&mut self, glob: &str, at: usize) {
        if glob.chars().count() > 512 {
            self.complain(at, "a glob has at most 512 characters");
        }
        if glob.trim() != glob || glob.chars().any(char::is_control) {
            self.complain(
                at,
                format!("`{}` has blanks around it, or characters nobody sees", brief(glob)),
            );
        }
    }

    fn tags(&mut self, value: &Value<'_>) -> BTreeMap<String, Vec<String>> {
        let Some(table) = self.table(value, "tags") else { return BTreeMap::new() };
        if table.is_empty() {
            self.complain(value.span().start, "`tags` is empty; leave it out");
        }
        let mut tags = BTreeMap::new();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            if name.is_empty() || name.chars().count() > 128 {
                self.complain(key.span().start, "a tag's key has 1 to 128 characters");
            }
            let check = |reader: &mut Self, value: &str, at| {
                if value.contains(['*', '?']) {
                    let value = brief(value);
                    reader.complain(
                        at,
                        format!("`{value}`: a tag's value is taken literally, `*` and `?` mean nothing here"),
                    );
                }
                if value.chars().count() > 256 {
                    reader.complain(at, "a tag's value has at most 256 characters");
                }
            };
            let values = match value.get_ref() {
                DeValue::String(one) => {
                    check(self, one, value.span().start);
                    vec![one.clone().into_owned()]
                }
                _ => self.texts(value, name, check),
            };
            tags.insert(name.to_owned(), values);
        }
        tags
    }

    fn budgets(&mut self, value: &Value<'_>, policy: &mut Policy) {
        let Some(table) = self.table(value, "budgets") else { return };
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "critical" => self.limits(value, "critical", &mut policy.budgets.critical),
                "routine" => self.limits(value, "routine", &mut policy.budgets.routine),
                _ => self.unknown_key(key, &["critical", "routine"], " of the budgets"),
            }
        }
    }

    fn limits(&mut self, value: &Value<'_>, name: &str, limits: &mut Limits) {
        const KEYS: &[&str] = &["account", "actor", "control", "overall", "window_minutes"];
        let Some(table) = self.table(value, name) else { return };
        for (key, value) in table {
            let (limit, most) = match key.get_ref().as_ref() {
                "window_minutes" => (&mut limits.window_minutes, 1_440),
                "control" => (&mut limits.control, 10_000),
                "account" => (&mut limits.account, 10_000),
                "actor" => (&mut limits.actor, 10_000),
                "overall" => (&mut limits.overall, 10_000),
                _ => {
                    self.unknown_key(key, KEYS, " of a budget");
                    continue;
                }
            };
            *limit = self.number(value, key.get_ref(), most).unwrap_or(*limit);
        }
    }

    fn approvals(&mut self, value: &Value<'_>, approvals: &mut Approvals) {
        let Some(table) = self.table(value, "approvals") else { return };
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "expire_hours" => {
                    let hours = self.number(value, "expire_hours", 168);
                    approvals.expire_hours = hours.unwrap_or(approvals.expire_hours);
                }
                _ => self.unknown_key(key, &["expire_hours"], " of the approvals"),
            }
        }
    }

    fn people(&mut self, value: &Value<'_>) -> Vec<Person> {
        let mut people: Vec<Person> = Vec::new();
        let mut claimed = Claimed::default();
        let mut names = HashSet::new();
        let mut members: HashMap<String, String> = HashMap::new();
        for (at, table) in self.tables(value, "people", MOST_PEOPLE) {
            let person = self.person(at, table, &mut claimed);
            if !person.name.is_empty() && !names.insert(person.name.clone()) {
                self.complain(
                    at,
                    format!("there are two people with the name `{}`", brief(&person.name)),
                );
            }
            let taken = person.slack.as_ref().and_then(|id| members.get(id));
            if let Some(other) = taken.cloned() {
                self.complain(
                    at,
                    format!(
                        "`{}` and `{}` have the same member id in Slack",
                        brief(&other),
                        brief(&person.name)
                    ),
                );
            }
            if let Some(id) = &person.slack {
                members.entry(id.clone()).or_insert_with(|| person.name.clone());
            }
            people.push(person);
        }
        people
    }

    fn person(&mut self, at: usize, table: &DeTable<'_>, claimed: &mut Claimed) -> Person {
        const KEYS: &[&str] = &["name", "principals", "slack"];
        let name = table.iter().find(|(key, _)| key.get_ref() == "name");
        let name = match name {
            Some((_, value)) => self.text(value, "name").unwrap_or_default().to_owned(),
            None => {
                self.complain(at, "this person has no `name`");
                String::new()
            }
        };
        let mut person = Person { name, slack: None, principals: Vec::new() };
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "name" => {
                    let is_readable = text::plain(&person.name) == person.name;
                    if !is_readable || person.name.chars().count() > 100 {
                        self.complain(
                            value.span().start,
                            "a name has at most 100 characters, all of which can be seen",
                        );
                    }
                }
                "slack" => {
                    let id = self.text(value, "slack").map(str::to_owned);
                    if id.as_deref().is_some_and(|id| !is_slack_member(id)) {
                        self.complain(
                            value.span().start,
                            "`slack` is a member id such as `U012AB3CD` (in Slack: profile, Copy member ID)",
                        );
                    }
                    person.slack = id;
                }
                "principals" => {
                    let name = person.name.clone();
                    person.principals = self.texts(value, "principals", |reader, arn, at| {
                        reader.principal(arn, at);
                        if let Some(whose) = claimed.by(arn) {
                            let (arn, whose) = (brief(arn), brief(whose));
                            reader.complain(at, format!("`{arn}` is `{whose}` already"));
                        }
                        claimed.claim(arn, &name);
                    });
                }
                _ => self.unknown_key(key, KEYS, " of a person"),
            }
        }
        if !table.keys().any(|key| key.get_ref() == "principals") {
            self.complain(at, "this person has no `principals`: nobody could tell who it is");
        }
        person
    }

    fn principal(&mut self, arn: &str, at: usize) {
        if let Some(problem) = principal_problem(arn) {
            self.complain(at, format!("`{}` {problem}", brief(arn)));
        }
    }

    /// A tag can be put on a resource by whoever opened it, so it must not be a way out.
    fn tags_only_raise(&mut self, at: usize, scope: &Scope, before: &Policy) {
        if scope.tags.is_empty() {
            return;
        }
        if scope.mode <= Mode::Observe {
            let mode = scope.mode;
            return self.complain(
                at,
                format!(
                    "a scope with tags cannot be `{mode}`: a tag only raises the mode, because whoever can open a resource can often tag it; use `resources`, or an exemption"
                ),
            );
        }
        let lowered: Vec<_> = self
            .known
            .iter()
            .filter(|meta| scope.is_for(meta))
            .map(|meta| (meta.id, lowest(meta, scope, before)))
            .collect();
        let is_lowered = |(_, mode): &&(&str, Mode)| *mode > scope.mode;
        let worst = lowered.iter().find(is_lowered);
        if let Some((id, mode)) = worst
            && (!scope.controls.is_empty() || lowered.iter().all(|one| is_lowered(&one)))
        {
            self.complain(
                at,
                format!(
                    "`{}` with tags would lower `{id}`, which is at `{mode}` here: a tag only raises the mode",
                    scope.mode
                ),
            );
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

/// The lowest mode that a resource of the scope may have without it.
fn lowest(meta: &Meta, scope: &Scope, before: &Policy) -> Mode {
    let everywhere = Policy { scopes: Vec::new(), ..before.clone() };
    let untagged = before.scopes.iter().filter(|one| one.tags.is_empty() && one.is_for(meta));
    untagged.fold(everywhere.within(meta, scope), |lowest, one| {
        if one.includes(scope) { one.mode } else { lowest.min(one.mode) }
    })
}

/// The principals so far, each with whose it is.
#[derive(Default)]
struct Claimed {
    principals: HashMap<String, String>,
    /// By the role: of whom its first session is, of all or of one.
    roles: HashMap<String, String>,
}

impl Claimed {
    /// Who has this already, or a session of it, or all sessions of its role.
    fn by(&self, arn: &str) -> Option<&str> {
        let role = role_of(arn);
        let all = || self.principals.get(&format!("{}*", role?));
        let one = || self.roles.get(role.filter(|_| arn.ends_with("/*"))?);
        self.principals.get(arn).or_else(all).or_else(one).map(String::as_str)
    }

    fn claim(&mut self, arn: &str, whose: &str) {
        self.principals.entry(arn.to_owned()).or_insert_with(|| whose.to_owned());
        if let Some(role) = role_of(arn) {
            self.roles.entry(role.to_owned()).or_insert_with(|| whose.to_owned());
        }
    }
}

/// A session's ARN up to the name of the session.
fn role_of(arn: &str) -> Option<&str> {
    arn.rfind('/').map(|at| &arn[..=at])
}

/// Why nobody can ever be known by this ARN.
fn principal_problem(arn: &str) -> Option<String> {
    let form = "is not the ARN of a user or of an assumed role's session";
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let [arn, partition, service, "", account, name] = parts.as_slice() else {
        return Some(form.to_owned());
    };
    let is_word = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+=,.@-_".contains(&b))
    };
    let is_path = |text: &str| text.split('/').all(is_word);
    let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
    if *arn != "arn" || !partition.starts_with("aws") || !is_word(partition) || !is_account {
        return Some(form.to_owned());
    }
    let is_known = match (*service, name.split_once('/')) {
        ("iam", Some(("role", path))) => {
            let role = path.rsplit('/').next().unwrap_or_default();
            return Some(format!(
                "is a role, as which nobody calls; its sessions are `arn:{partition}:sts::{account}:assumed-role/{}/*`",
                brief(role)
            ));
        }
        ("iam", Some(("user", path))) => is_path(path),
        ("iam", None) => *name == "root",
        ("sts", Some(("assumed-role", session))) => match session.split_once('/') {
            Some((role, "*")) => is_word(role),
            Some((role, session)) => is_word(role) && is_word(session),
            None => false,
        },
        ("sts", Some(("federated-user", user))) => is_word(user),
        _ => false,
    };
    (!is_known).then(|| {
        format!(
            "{form}; write `arn:aws:iam::<account>:user/<name>` or `arn:aws:sts::<account>:assumed-role/<role>/<session>`, with the session `*` for all"
        )
    })
}

/// Such as `eu-west-1`, `us-gov-east-1`, `eusc-de-east-1`.
fn is_region(text: &str) -> bool {
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

/// <https://docs.slack.dev/reference/objects/user-object>
fn is_slack_member(text: &str) -> bool {
    text.starts_with(['U', 'W'])
        && (7..=20).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

fn is_everything(glob: &str) -> bool {
    let glob = glob.strip_prefix("arn:").unwrap_or(glob);
    glob.contains('*') && glob.chars().all(|c| "*?:".contains(c))
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
    use quell_tests::attack;

    use super::*;

    fn checked(source: &str) -> Result<Policy, Vec<String>> {
        let problems = |problems: Vec<Problem>| {
            problems.iter().map(|problem| problem.at("quell.toml").to_string()).collect()
        };
        check(source.as_bytes().to_vec(), REGISTRY).map(|file| file.policy).map_err(problems)
    }

    /// The only problem, from its line on.
    fn problem(source: &str) -> String {
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
    fn a_role_and_its_sessions_are_of_one_person() {
        let people = |one: &str, other: &str| {
            let arn = |rest: &str| format!("arn:aws:sts::123456789012:assumed-role/{rest}");
            let problems = checked(&format!(
                "[[people]]\nname = \"ann\"\nprincipals = [{:?}]\n[[people]]\nname = \"bob\"\nprincipals = [{:?}]\n",
                arn(one),
                arn(other)
            ));
            problems.err().map_or(0, |problems| problems.len())
        };
        for (one, other) in [("a/*", "a/s"), ("a/s", "a/*"), ("a/s", "a/s"), ("a/*", "a/*")] {
            assert_eq!(people(one, other), 1, "{one} {other}");
        }
        for (one, other) in [("a/s", "a/t"), ("a/*", "b/*"), ("a/*", "ab/s")] {
            assert_eq!(people(one, other), 0, "{one} {other}");
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
    fn nothing_is_switched_off_by_a_glob_for_everything() {
        for glob in ["*", "**", "?*", "arn:*", "arn:*:*:*"] {
            let source = |mode| format!("[[scopes]]\nresources = ['{glob}']\nmode = '{mode}'");
            assert!(problem(&source("off")).starts_with("3: "), "{glob}");
            assert!(checked(&source("enforce")).is_ok(), "{glob}");
        }
        assert!(checked("[[scopes]]\nresources = ['a*']\nmode = 'off'").is_ok());
    }

    #[test]
    fn globs_have_limits() {
        let of = |glob: &str| format!("[[scopes]]\nmode = 'off'\nresources = [\"{glob}\"]");
        assert!(problem(&of(&"a".repeat(513))).contains("at most 512"));
        assert!(problem(&of(" logs")).contains("blanks"));
        assert!(problem(&of("lo\\u0007gs")).contains("nobody sees"));
    }

    #[test]
    fn a_tag_is_no_way_out() {
        for mode in ["off", "observe"] {
            let problem =
                problem(&format!("[[scopes]]\ntags = {{ env = 'dev' }}\nmode = '{mode}'"));
            assert!(
                problem.starts_with(&format!("3: a scope with tags cannot be `{mode}`")),
                "{problem}"
            );
        }
        let lowered = "
[controls]
s3-public-acl = 'enforce'
[[scopes]]
controls = ['s3-public-acl']
tags = { env = 'dev' }
mode = 'approve'
";
        assert!(problem(lowered).starts_with("7: `approve` with tags would lower `s3-public-acl`"));
        let by_scope = "
[[scopes]]
accounts = ['111122223333']
controls = ['s3-public-acl']
mode = 'enforce'
[[scopes]]
accounts = ['111122223333']
controls = ['s3-public-acl']
regions = ['eu-west-1']
tags = { env = 'dev' }
mode = 'approve'
";
        assert!(problem(by_scope).starts_with("11: "));
        // Elsewhere it raises.
        let elsewhere = by_scope
            .replace("regions", "resources")
            .replace("eu-west-1", "x")
            .replacen("accounts = ['111122223333']", "accounts = ['444455556666']", 1);
        assert!(checked(&elsewhere).is_ok(), "{:?}", checked(&elsewhere));
        let raised = "[[scopes]]\ntags = { env = 'dev' }\nmode = 'approve'";
        assert!(checked(raised).is_ok());
    }

    #[test]
    fn a_tags_value_is_literal() {
        let problem = problem("[[scopes]]\nmode = 'enforce'\ntags = { env = ['dev', 'te*'] }");
        assert_eq!(
            problem,
            "3: `te*`: a tag's value is taken literally, `*` and `?` mean nothing here"
        );
    }

    #[test]
    fn a_principal_is_one_persons() {
        let people = |one: &str, other: &str| {
            format!(
                "[[people]]\nname = 'Ann'\nprincipals = ['{one}']\n[[people]]\nname = 'Bob'\nprincipals = ['{other}']\n"
            )
        };
        let ann = "arn:aws:iam::111122223333:user/ann";
        let role = "arn:aws:sts::111122223333:assumed-role/Ops";
        let taken = format!("6: `{ann}` is `Ann` already");
        assert_eq!(problem(&people(ann, ann)), taken);
        assert!(problem(&people(&format!("{role}/*"), &format!("{role}/bob"))).starts_with("6: "));
        assert!(problem(&people(&format!("{role}/bob"), &format!("{role}/*"))).starts_with("6: "));
        assert!(checked(&people(&format!("{role}/ann"), &format!("{role}/bob"))).is_ok());
        assert!(checked(&people(&format!("{role}/*"), &format!("{role}s/*"))).is_ok());
    }

    #[test]
    fn people_are_told_apart() {
        let person = |name: &str, slack: &str, user: &str| {
            format!(
                "[[people]]\nname = '{name}'\nslack = '{slack}'\nprincipals = ['arn:aws:iam::111122223333:user/{user}']\n"
            )
        };
        let ann = person("Ann", "U000000001", "ann");
        assert_eq!(
            problem(&(ann.clone() + &person("Ann", "U000000002", "ann2"))),
            "5: there are two people with the name `Ann`"
        );
        assert_eq!(
            problem(&(ann.clone() + &person("Bob", "U000000001", "bob"))),
            "5: `Ann` and `Bob` have the same member id in Slack"
        );
        assert!(problem(&person("Ann", "@ann", "ann")).starts_with("3: `slack` is a member id"));
        assert!(
            problem("[[people]]\nname = 'Ann'").starts_with("1: this person has no `principals`")
        );
        assert!(
            problem("[[people]]\nprincipals = ['arn:aws:iam::111122223333:user/x']")
                .starts_with("1: this person has no `name`")
        );
    }

    #[test]
    fn a_principal_that_nobody_can_be_is_named() {
        assert_eq!(principal_problem("arn:aws:iam::111122223333:root"), None);
        assert_eq!(principal_problem("arn:aws-us-gov:sts::111122223333:federated-user/ann"), None);
        let role = principal_problem("arn:aws:iam::111122223333:role/ops/Admin").unwrap();
        assert!(role.contains("`arn:aws:sts::111122223333:assumed-role/Admin/*`"), "{role}");
        for bad in [
            "ann",
            "*",
            "arn:aws:iam::*:user/ann",
            "arn:aws:iam::111122223333:user/*",
            "arn:aws:iam::111122223333:user/a*",
            "arn:aws:sts::111122223333:assumed-role/*",
            "arn:aws:sts::111122223333:assumed-role/*/*",
            "arn:aws:sts::111122223333:assumed-role/Ops/a*",
            "arn:aws:sts::111122223333:assumed-role/Ops/a/b",
            "arn:aws:sts::1:assumed-role/Ops/a",
            "arn:aws:s3:::bucket",
        ] {
            assert!(principal_problem(bad).is_some(), "{bad}");
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
