//! Who may be asked, and by what they are known: `[[people]]`.

use std::collections::{HashMap, HashSet};

use quell_engine::{policy::Person, text};
use toml::de::DeTable;

use super::{Reader, Value, brief};

const MOST_PEOPLE: usize = 2_000;

impl Reader<'_> {
    pub(super) fn people(&mut self, value: &Value<'_>) -> Vec<Person> {
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

/// <https://docs.slack.dev/reference/objects/user-object>
fn is_slack_member(text: &str) -> bool {
    text.starts_with(['U', 'W'])
        && (7..=20).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::file::tests::{checked, problem};

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
}
