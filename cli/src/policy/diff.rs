//! What one policy changes about another, in words.

use std::fmt;

use quell_engine::{
    Meta, Mode,
    policy::{Digest, Limits, Notify, Person, Policy, Route, Scope, Trusted},
    text,
};
use serde::Serialize;

/// One thing that would be otherwise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Change {
    /// A control, or a setting as the file names it.
    pub(crate) what: String,
    /// The part of the world, for a control. `None`: wherever no scope says otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<String>,
    pub(crate) from: String,
    pub(crate) to: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} -> {}", self.what, self.from, self.to)?;
        match &self.place {
            Some(place) => write!(f, " {place}"),
            None => Ok(()),
        }
    }
}

/// What is otherwise under `new`: first the controls, in the order of `known`, then the settings.
pub(crate) fn diff(old: &Policy, new: &Policy, known: &[&'static Meta]) -> Vec<Change> {
    let mut changes: Vec<Change> =
        known.iter().flat_map(|meta| of_control(old, new, meta)).collect();
    // Scopes that overlap may be told apart by their order alone.
    if changes.is_empty() && old.scopes != new.scopes {
        changes.push(change("scopes", "as they were".to_owned(), "in another form".to_owned()));
    }
    for (name, old, new) in [
        ("budgets.critical", old.budgets.critical, new.budgets.critical),
        ("budgets.routine", old.budgets.routine, new.budgets.routine),
    ] {
        changes.extend(of_limits(name, &old, &new));
    }
    let hours = [old, new].map(|policy| policy.approvals.expire_hours);
    changes.extend(of_number("approvals.expire_hours", hours));
    changes.extend(of_people(&old.people, &new.people));
    changes.extend(of_notify(&old.notify, &new.notify));
    changes.extend(of_routes(&old.routes, &new.routes));
    changes.extend(of_trusted(&old.trusted, &new.trusted));
    changes.extend(of_list("sweep.fix_backlog", [&old.sweep.fix_backlog, &new.sweep.fix_backlog]));
    changes
}

/// The furthest that a control goes anywhere under this policy.
pub(crate) fn furthest(policy: &Policy, meta: &Meta) -> Mode {
    modes(policy, meta).max().unwrap_or(Mode::Off)
}

/// How far a control goes where no scope says otherwise, and in each of its scopes.
pub(crate) fn modes(policy: &Policy, meta: &Meta) -> impl Iterator<Item = Mode> {
    let scopes = policy.scopes.iter().filter(|scope| scope.is_for(meta));
    std::iter::once(&ANYWHERE).chain(scopes).map(|part| policy.within(meta, part))
}

static ANYWHERE: Scope = Scope {
    controls: Vec::new(),
    accounts: Vec::new(),
    regions: Vec::new(),
    resources: Vec::new(),
    tags: std::collections::BTreeMap::new(),
    mode: Mode::Observe,
};

fn of_control(old: &Policy, new: &Policy, meta: &Meta) -> Vec<Change> {
    let within = |part: &Scope| [old, new].map(|policy| policy.within(meta, part));
    let aside = within(&ANYWHERE);
    let mut changes = Vec::new();
    changes.extend(of_modes(meta, None, aside));
    let mut places = Vec::new();
    for scope in old.scopes.iter().chain(&new.scopes).filter(|scope| scope.is_for(meta)) {
        let (modes, place) = (within(scope), place(scope));
        // What is as everywhere else is said already.
        if place.is_empty() || modes == aside || places.contains(&place) {
            continue;
        }
        changes.extend(of_modes(meta, Some(place.clone()), modes));
        places.push(place);
    }
    changes
}

fn of_modes(meta: &Meta, place: Option<String>, [from, to]: [Mode; 2]) -> Option<Change> {
    (from != to).then(|| Change {
        what: meta.id.to_owned(),
        place,
        from: from.to_string(),
        to: to.to_string(),
    })
}

/// Such as `in account 111122223333 in eu-west-1 for website-* tagged env=dev`.
fn place(scope: &Scope) -> String {
    let mut words = Vec::new();
    let list = |list: &[String]| list.iter().map(|one| shown(one)).collect::<Vec<_>>().join(" or ");
    if !scope.accounts.is_empty() {
        words.push(format!("in account {}", list(&scope.accounts)));
    }
    if !scope.regions.is_empty() {
        words.push(format!("in {}", list(&scope.regions)));
    }
    if !scope.resources.is_empty() {
        words.push(format!("for {}", list(&scope.resources)));
    }
    if !scope.tags.is_empty() {
        let tags = scope.tags.iter().map(|(key, values)| {
            let pairs = values.iter().map(|value| format!("{}={}", shown(key), shown(value)));
            pairs.collect::<Vec<_>>().join(" or ")
        });
        words.push(format!("tagged {}", tags.collect::<Vec<_>>().join(" and ")));
    }
    words.join(" ")
}

fn of_limits(name: &str, old: &Limits, new: &Limits) -> Vec<Change> {
    [
        ("window_minutes", [old.window_minutes, new.window_minutes]),
        ("control", [old.control, new.control]),
        ("account", [old.account, new.account]),
        ("actor", [old.actor, new.actor]),
        ("overall", [old.overall, new.overall]),
    ]
    .into_iter()
    .filter_map(|(limit, numbers)| of_number(&format!("{name}.{limit}"), numbers))
    .collect()
}

fn of_number(name: &str, [from, to]: [u32; 2]) -> Option<Change> {
    (from != to).then(|| change(name, from.to_string(), to.to_string()))
}

fn of_people(old: &[Person], new: &[Person]) -> Vec<Change> {
    let find = |people: &[Person], name: &str| {
        people.iter().find(|person| person.name == name).map_or("nobody".to_owned(), person)
    };
    let mut names: Vec<&str> = old.iter().chain(new).map(|person| person.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .map(|name| (name, find(old, name), find(new, name)))
        .filter(|(_, from, to)| from != to)
        .map(|(name, from, to)| change(&format!("people.{}", shown(name)), from, to))
        .collect()
}

fn of_notify(old: &Notify, new: &Notify) -> Vec<Change> {
    let digest = |notify: &Notify| match notify.digest {
        None => "off",
        Some(Digest::Hourly) => "hourly",
        Some(Digest::Daily) => "daily",
    };
    let severity = |notify: &Notify| format!("{:?}", notify.digest_up_to).to_lowercase();
    let texts = [
        ("notify.digest", [old, new].map(|notify| digest(notify).to_owned())),
        ("notify.digest_up_to", [old, new].map(severity)),
    ];
    let texts = texts
        .into_iter()
        .filter(|(_, [from, to])| from != to)
        .map(|(name, [from, to])| change(name, from, to));
    let minutes = [old, new].map(|notify| notify.fold_minutes);
    of_number("notify.fold_minutes", minutes).into_iter().chain(texts).collect()
}

/// Each route that is on one side only.
fn of_routes(old: &[Route], new: &[Route]) -> Vec<Change> {
    let nothing = || "nothing".to_owned();
    let gone = old.iter().filter(|route| !new.contains(route));
    let added = new.iter().filter(|route| !old.contains(route));
    gone.map(|route| change("routes", self::route(route), nothing()))
        .chain(added.map(|route| change("routes", nothing(), self::route(route))))
        .collect()
}

fn route(route: &Route) -> String {
    let list = |list: &[String]| list.iter().map(|one| shown(one)).collect::<Vec<_>>().join(" or ");
    let to = [list(&route.topics), list(&route.slack)];
    let to: Vec<&str> = to.iter().map(String::as_str).filter(|to| !to.is_empty()).collect();
    let mut what = Vec::new();
    if !route.severities.is_empty() {
        what.push(format!("{:?}", route.severities).to_lowercase());
    }
    if !route.controls.is_empty() {
        what.push(list(&route.controls));
    }
    if !route.accounts.is_empty() {
        what.push(format!("in account {}", list(&route.accounts)));
    }
    for (key, values) in &route.tags {
        what.push(format!("tagged {}={}", shown(key), list(values)));
    }
    let what = if what.is_empty() { "everything".to_owned() } else { what.join(" ") };
    format!("{what} to {}", to.join(" and "))
}

fn of_trusted(old: &Trusted, new: &Trusted) -> Vec<Change> {
    [
        ("trusted.accounts", [&old.accounts, &new.accounts]),
        ("trusted.organisations", [&old.organisations, &new.organisations]),
        ("trusted.cidrs", [&old.cidrs, &new.cidrs]),
        ("trusted.prefix_lists", [&old.prefix_lists, &new.prefix_lists]),
        ("trusted.break_glass", [&old.break_glass, &new.break_glass]),
    ]
    .into_iter()
    .flat_map(|(name, lists)| of_list(name, lists))
    .collect()
}

/// Each entry that is on one side only.
fn of_list(name: &str, [old, new]: [&Vec<String>; 2]) -> Vec<Change> {
    let nothing = || "nothing".to_owned();
    let gone = old.iter().filter(|one| !new.contains(one));
    let added = new.iter().filter(|one| !old.contains(one));
    gone.map(|one| change(name, shown(one), nothing()))
        .chain(added.map(|one| change(name, nothing(), shown(one))))
        .collect()
}

fn person(person: &Person) -> String {
    let mut known_by: Vec<String> = person.principals.iter().map(|arn| shown(arn)).collect();
    known_by.extend(person.slack.as_deref().map(|id| format!("Slack {}", shown(id))));
    known_by.join(", ")
}

fn change(what: &str, from: String, to: String) -> Change {
    Change { what: what.to_owned(), place: None, from, to }
}

fn shown(name: &str) -> String {
    text::plain_up_to(name, 512)
}

#[cfg(test)]
mod tests {
    use quell_controls::REGISTRY;
    use quell_engine::Safety;

    use super::*;
    use crate::policy::file;

    fn policy(source: &str) -> Policy {
        let checked = file::check(source.as_bytes().to_vec(), REGISTRY);
        checked.map(|file| file.policy).unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    fn between(old: &str, new: &str) -> Vec<String> {
        diff(&policy(old), &policy(new), REGISTRY).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_same_policy_changes_nothing() {
        let example = include_str!("../../../docs/quell.toml");
        assert!(between(example, example).is_empty());
        assert!(between("", "[controls]\n'*' = 'observe'\nec2-imdsv2 = 'observe'").is_empty());
    }

    #[test]
    fn who_hears_of_what_is_told() {
        let new = "[notify]\nfold_minutes = 0\ndigest = 'daily'\n[[routes]]\nseverities = ['critical']\nslack = ['C012AB3CD']";
        assert_eq!(
            between("", new),
            [
                "notify.fold_minutes: 5 -> 0",
                "notify.digest: off -> daily",
                "routes: nothing -> [critical] to C012AB3CD",
            ]
        );
        assert_eq!(between(new, "").last().unwrap(), "routes: [critical] to C012AB3CD -> nothing");
    }

    #[test]
    fn who_is_trusted_and_whose_backlog_is_fixed_is_told_one_by_one() {
        let old = "[trusted]\naccounts = ['111122223333', '444455556666']\n[sweep]\nfix_backlog = ['ec2-imdsv2']";
        let new = "[trusted]\naccounts = ['444455556666']\norganisations = ['o-a1b2c3d4e5']\ncidrs = ['203.0.113.0/24']\nprefix_lists = ['pl-0a1b2c3d']\n[sweep]\nfix_backlog = ['*']";
        assert_eq!(
            between(old, new),
            [
                "trusted.accounts: 111122223333 -> nothing",
                "trusted.organisations: nothing -> o-a1b2c3d4e5",
                "trusted.cidrs: nothing -> 203.0.113.0/24",
                "trusted.prefix_lists: nothing -> pl-0a1b2c3d",
                "sweep.fix_backlog: ec2-imdsv2 -> nothing",
                "sweep.fix_backlog: nothing -> *",
            ]
        );
    }

    #[test]
    fn a_mode_is_told_by_control() {
        assert_eq!(
            between("", "[controls]\ns3-public-acl = 'enforce'"),
            ["s3-public-acl: observe -> enforce"]
        );
        let all = between("", "[controls]\n'*' = 'enforce'");
        // What only tells goes no further than observe.
        let fixing = REGISTRY.iter().filter(|meta| meta.safety != Safety::ReportOnly);
        assert_eq!(all.len(), fixing.count());
        assert!(all.contains(&"ec2-imdsv2: observe -> approve".to_owned()), "{all:?}");
    }

    #[test]
    fn a_scope_is_told_by_its_place() {
        let regions =
            "[[scopes]]\ncontrols = ['s3-public-acl']\nregions = ['eu-west-1']\nmode = 'enforce'";
        assert_eq!(between("", regions), ["s3-public-acl: observe -> enforce in eu-west-1"]);
        assert_eq!(between(regions, ""), ["s3-public-acl: enforce -> observe in eu-west-1"]);
        let more = "[[scopes]]\ncontrols = ['s3-public-acl']\naccounts = ['111122223333', '444455556666']\nresources = ['a-*']\ntags = { env = ['dev', 'test'], x = 'y' }\nmode = 'enforce'";
        assert_eq!(
            between("", more),
            [
                "s3-public-acl: observe -> enforce in account 111122223333 or 444455556666 for a-* tagged env=dev or env=test and x=y"
            ]
        );
    }

    #[test]
    fn a_place_that_stays_as_it_is_is_not_told() {
        let scope =
            "[[scopes]]\ncontrols = ['s3-public-acl']\nregions = ['eu-west-1']\nmode = 'off'";
        assert_eq!(
            between(scope, &format!("[controls]\ns3-public-acl = 'enforce'\n{scope}")),
            ["s3-public-acl: observe -> enforce"]
        );
    }

    #[test]
    fn another_order_of_scopes_is_not_nothing() {
        let one = "[[scopes]]\nregions = ['eu-west-1']\nmode = 'off'\n";
        let other = "[[scopes]]\naccounts = ['111122223333']\nmode = 'enforce'\n";
        assert_eq!(
            between(&format!("{one}{other}"), &format!("{other}{one}")),
            ["scopes: as they were -> in another form"]
        );
    }

    #[test]
    fn settings_and_people_are_told() {
        let new = "
[budgets.routine]
actor = 3
[approvals]
expire_hours = 2
[[people]]
name = 'Ann'
slack = 'U012AB3CD'
principals = ['arn:aws:iam::111122223333:user/ann']
";
        assert_eq!(
            between("", new),
            [
                "budgets.routine.actor: 20 -> 3",
                "approvals.expire_hours: 24 -> 2",
                "people.Ann: nobody -> arn:aws:iam::111122223333:user/ann, Slack U012AB3CD",
            ]
        );
    }

    #[test]
    fn how_far_a_control_goes_is_the_furthest_of_all_places() {
        let furthest = |source| furthest(&policy(source), REGISTRY[0]);
        assert_eq!(furthest(""), Mode::Observe);
        assert_eq!(
            furthest("[[scopes]]\nregions = ['eu-west-1']\nmode = 'approve'"),
            Mode::Approve
        );
        assert_eq!(
            furthest(
                "[controls]\n'*' = 'approve'\n[[scopes]]\nregions = ['eu-west-1']\nmode = 'off'"
            ),
            Mode::Approve
        );
    }
}
