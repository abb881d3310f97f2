//! How far each control goes: what `quell.toml` says, under the ceiling of each function.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{Control, Meta, Safety, Severity, ledger::record_id};

/// How far a control goes, in ascending order.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The control does not even look.
    Off,
    /// Reports what it would do.
    Observe,
    /// Plans, then waits for a person.
    Approve,
    /// Fixes at once.
    Enforce,
}

impl Mode {
    /// In ascending order.
    pub const ALL: [Self; 4] = [Self::Off, Self::Observe, Self::Approve, Self::Enforce];

    /// As the policy file spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Observe => "observe",
            Self::Approve => "approve",
            Self::Enforce => "enforce",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What `quell.toml` says. Stored as JSON, so that functions need no TOML.
///
/// Every field has to be there when it is read: a scope of which a part got lost would match more than was meant.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// By the control's id.
    pub controls: BTreeMap<String, Mode>,
    /// For controls that are not named.
    pub others: Mode,
    /// The last that matches decides over `controls` and `others`.
    pub scopes: Vec<Scope>,
    pub budgets: Budgets,
    pub approvals: Approvals,
    pub people: Vec<Person>,
    /// Missing in policies that were published before there was any. A route that got lost loses no message.
    #[serde(default)]
    pub notify: Notify,
    #[serde(default)]
    pub routes: Vec<Route>,
    #[serde(default)]
    pub trusted: Trusted,
    #[serde(default)]
    pub sweep: Sweep,
}

/// What sweeps do beside looking.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// Ids of controls, or `*`, that fix what was wrong before the policy named them too.
    pub fix_backlog: Vec<String>,
}

impl Sweep {
    pub fn fixes_backlog_of(&self, control: &str) -> bool {
        self.fix_backlog.iter().any(|id| id == control || id == "*")
    }
}

/// Who is known: what is opened to these is meant to be.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Trusted {
    /// Twelve digits each. Those of the own organisation count only where they, or it, are named.
    pub accounts: Vec<String>,
    /// Ids of organisations, such as `o-a1b2c3d4e5`: what is shared with one as a whole.
    pub organisations: Vec<String>,
    /// Addresses, v4 or v6, such as `203.0.113.0/24`.
    pub cidrs: Vec<String>,
    /// Ids of managed prefix lists, such as `pl-0a1b2c3d`.
    pub prefix_lists: Vec<String>,
    /// ARNs of users and roles by which people get in when all else fails: nothing is done to these.
    #[serde(default)]
    pub break_glass: Vec<String>,
}

/// How often people hear of what repeats, and of what is routine.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    /// Within this long, what the same actor does against the same control is told once, and then counted in one
    /// bulletin. 0: each is told.
    pub fold_minutes: u32,
    /// Routine outcomes are told in one bulletin. `None`: as the others.
    pub digest: Option<Digest>,
    /// Up to which severity what was fixed or observed is routine. Never what is critical, or waits for a person.
    pub digest_up_to: Severity,
}

/// How often there is a digest.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Digest {
    Hourly,
    Daily,
}

/// Who hears of some messages beside those who hear of all. Each list that is not empty has to match.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Ids. Empty: all controls.
    pub controls: Vec<String>,
    pub severities: Vec<Severity>,
    /// Twelve digits each.
    pub accounts: Vec<String>,
    /// For each tag the values of which one has to be there, literally.
    pub tags: BTreeMap<String, Vec<String>>,
    /// ARNs of SNS topics.
    pub topics: Vec<String>,
    /// Ids of channels in Slack.
    pub slack: Vec<String>,
}

/// Where messages about a resource go, beside the stack's own topic.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Routed {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<String>,
}

/// How many topics of routes hear of one message. They are told at the same time, before the message is told to all:
/// more would keep those waiting who hear of everything.
pub const MOST_TOPICS: usize = 10;

impl Routed {
    /// The topics that are told.
    pub fn told(&self) -> &[String] {
        &self.topics[..self.topics.len().min(MOST_TOPICS)]
    }

    pub fn is_nowhere(&self) -> bool {
        self.topics.is_empty() && self.channels.is_empty()
    }
}

impl Trusted {
    pub const NOBODY: Self = Self {
        accounts: Vec::new(),
        organisations: Vec::new(),
        cidrs: Vec::new(),
        prefix_lists: Vec::new(),
        break_glass: Vec::new(),
    };
}

impl Notify {
    pub const DEFAULT: Self =
        Self { fold_minutes: 5, digest: None, digest_up_to: Severity::Medium };
}

impl Default for Notify {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A mode for some resources. Each list that is not empty has to match.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// Ids. Empty: all controls.
    pub controls: Vec<String>,
    /// Twelve digits each.
    pub accounts: Vec<String>,
    pub regions: Vec<String>,
    /// Globs over the resource's name or ARN: `*` is any text, `?` any one character.
    pub resources: Vec<String>,
    /// For each tag the values of which one has to be there, literally. A scope with tags can only raise the mode:
    /// whoever can open a resource can often tag it.
    pub tags: BTreeMap<String, Vec<String>>,
    pub mode: Mode,
}

/// How many changes there may be. Critical controls have their own: a storm of routine fixes must not use up what a
/// stolen credential needs.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Budgets {
    pub critical: Limits,
    pub routine: Limits,
}

/// How many remediations may begin within a window; what is beyond is parked.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub window_minutes: u32,
    /// Of one control.
    pub control: u32,
    /// In one account.
    pub account: u32,
    /// Because of one principal.
    pub actor: u32,
    /// In all.
    pub overall: u32,
}

/// How approvals are asked for.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Approvals {
    /// After this long without an answer a plan is parked.
    pub expire_hours: u32,
}

/// Someone who may be asked, and by what AWS and Slack know them.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    pub name: String,
    /// The member id in Slack.
    pub slack: Option<String>,
    /// ARNs of users and sessions. One that ends in `/*` stands for every session of an assumed role.
    pub principals: Vec<String>,
}

/// The resource that is decided about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub account: &'a str,
    pub region: &'a str,
    /// As people know it.
    pub resource: &'a str,
    pub arn: &'a str,
}

/// The mode that counts, and why it is less than what was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub mode: Mode,
    pub withheld: Option<String>,
}

/// The template gave a function a ceiling that there is not.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("ceiling `{0}` is neither `observe` nor `act`")]
pub struct CeilingError(String);

/// Whether a function may change resources. Nothing said means that it may not.
pub fn acts(ceiling: &str) -> Result<bool, CeilingError> {
    match ceiling {
        "act" => Ok(true),
        "observe" | "" => Ok(false),
        other => Err(CeilingError(crate::text::plain_up_to(other, 40))),
    }
}

/// The template's parameter with the ceiling of a function.
pub fn ceiling_parameter(function: &str) -> String {
    let mut parameter: String = function
        .split('-')
        .flat_map(|word| {
            let mut letters = word.chars();
            letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters)
        })
        .collect();
    parameter.push_str("Ceiling");
    parameter
}

/// Whether the text is what the glob describes: `*` is any text, `?` any one character, and case counts. Takes at most
/// as many steps as the product of both lengths, whatever they hold.
pub fn glob_matches(glob: &str, text: &str) -> bool {
    let (glob, text): (Vec<char>, Vec<char>) = (glob.chars().collect(), text.chars().collect());
    let (mut at, mut seen) = (0, 0);
    // Where the last star stands, and where the text that follows it would begin. Only that star needs another try:
    // what an earlier one could take besides, this one can take too.
    let mut again: Option<(usize, usize)> = None;
    while seen < text.len() {
        match glob.get(at) {
            Some('*') => {
                again = Some((at, seen));
                at += 1;
            }
            Some(&wanted) if wanted == '?' || wanted == text[seen] => {
                at += 1;
                seen += 1;
            }
            _ => {
                let Some((star, begun)) = again else { return false };
                again = Some((star, begun + 1));
                at = star + 1;
                seen = begun + 1;
            }
        }
    }
    glob[at..].iter().all(|rest| *rest == '*')
}

impl Limits {
    /// More than people change by mistake in a quarter of an hour, less than would hurt if Quell were mistaken.
    pub const ROUTINE: Self =
        Self { window_minutes: 15, control: 25, account: 50, actor: 20, overall: 100 };

    /// Four times as many: not to act on what is critical costs more than to act on some of it wrongly, but even that
    /// has an end.
    pub const CRITICAL: Self =
        Self { window_minutes: 15, control: 100, account: 200, actor: 80, overall: 400 };
}

impl Approvals {
    pub const DEFAULT: Self = Self { expire_hours: 24 };
}

impl Policy {
    /// Where there is no policy: everything is observed, nothing changed.
    pub const fn observe() -> Self {
        Self {
            controls: BTreeMap::new(),
            others: Mode::Observe,
            scopes: Vec::new(),
            budgets: Budgets { critical: Limits::CRITICAL, routine: Limits::ROUTINE },
            approvals: Approvals::DEFAULT,
            people: Vec::new(),
            notify: Notify::DEFAULT,
            routes: Vec::new(),
            trusted: Trusted::NOBODY,
            sweep: Sweep { fix_backlog: Vec::new() },
        }
    }

    /// Every control named here, all in one mode.
    pub fn by_name(mode: Mode, known: &[&'static Meta]) -> Self {
        let controls = known.iter().map(|meta| (meta.id.to_owned(), mode)).collect();
        Self { controls, others: mode, ..Self::observe() }
    }

    /// How far the control goes with this resource. `tags` is `None` where they could not be read, or were not asked
    /// for; `acts` is the ceiling of the control's function.
    pub fn decide(
        &self,
        meta: &Meta,
        subject: &Subject<'_>,
        tags: Option<&BTreeMap<String, String>>,
        acts: bool,
    ) -> Decision {
        let on = |scope: &Scope| tags.is_some_and(|tags| scope.is_on(tags));
        self.asked(meta, |scope| scope.covers(subject), on).under(meta, acts)
    }

    /// How far the control goes under a ceiling of `act` in the part of the world that a scope describes, where no more
    /// is known of a resource than that it is there. Scopes for a part of that part do not count.
    pub fn within(&self, meta: &Meta, part: &Scope) -> Mode {
        let on = |scope: &Scope| scope.is_on_all(part);
        self.asked(meta, |scope| scope.includes(part), on).under(meta, true).mode
    }

    /// Whether there are tags that would raise the mode. If not, nobody needs to read them.
    pub fn asks_for_tags(&self, meta: &Meta, subject: &Subject<'_>) -> bool {
        let most = match meta.safety {
            Safety::ReportOnly => Mode::Observe,
            Safety::Safe | Safety::NeedsApproval => Mode::Enforce,
        };
        // No set of tags can do more than to be in every scope.
        let [without, with] = [false, true]
            .map(|on| self.asked(meta, |scope| scope.covers(subject), |_| on).mode.min(most));
        with > without
    }

    /// All that says how far a control goes and what is wrong, as an id: another one is another rule. A newer version of
    /// Quell may find wrong what an older one did not.
    pub fn modes<C: Control>(&self, acts: bool) -> String {
        let meta = &C::META;
        let scopes: Vec<_> = self.scopes.iter().filter(|scope| scope.is_for(meta)).collect();
        let mode = self.controls.get(meta.id);
        let said = (mode, self.others, &scopes, &self.trusted);
        let said = serde_json::to_string(&said).unwrap_or_default();
        let ceiling = if acts { "act" } else { "observe" };
        record_id(&["modes", &said, ceiling, &C::settings(), env!("CARGO_PKG_VERSION")])
    }

    /// Whether the control is off for everything.
    pub fn is_off(&self, meta: &Meta) -> bool {
        let named = self.controls.get(meta.id).copied().unwrap_or(self.others);
        let scopes = self.scopes.iter().filter(|scope| scope.is_for(meta));
        named == Mode::Off && scopes.into_iter().all(|scope| scope.mode == Mode::Off)
    }

    /// Whose principal it is.
    pub fn person(&self, principal_arn: &str) -> Option<&Person> {
        self.people.iter().find(|person| person.is(principal_arn))
    }

    /// Where messages about the resource go. `tags` is `None` where they could not be read, or were not asked for.
    pub fn routed(
        &self,
        meta: &Meta,
        account: &str,
        tags: Option<&BTreeMap<String, String>>,
    ) -> Routed {
        let mut routed = Routed::default();
        let on = |route: &&Route| {
            route.covers(meta, account)
                && (route.tags.is_empty() || tags.is_some_and(|tags| are_on(&route.tags, tags)))
        };
        for route in self.routes.iter().filter(on) {
            for (known, new) in
                [(&mut routed.topics, &route.topics), (&mut routed.channels, &route.slack)]
            {
                for one in new {
                    if !known.contains(one) {
                        known.push(one.clone());
                    }
                }
            }
        }
        routed
    }

    /// Whether a route for the resource looks at its tags.
    pub fn routes_by_tags(&self, meta: &Meta, account: &str) -> bool {
        self.routes.iter().any(|route| !route.tags.is_empty() && route.covers(meta, account))
    }

    pub fn budgets(&self, severity: Severity) -> &Limits {
        match severity {
            Severity::Critical => &self.budgets.critical,
            Severity::Low | Severity::Medium | Severity::High => &self.budgets.routine,
        }
    }

    /// What the policy asks for, whatever the function may do. `covers` says whether a scope is for the resource, its
    /// tags aside, and `is_on` whether its tags are on it.
    fn asked(
        &self,
        meta: &Meta,
        covers: impl Fn(&Scope) -> bool,
        is_on: impl Fn(&Scope) -> bool,
    ) -> Asked {
        let named = self.controls.get(meta.id).copied();
        let nothing = Asked { mode: Mode::Observe, is_unnamed: false };
        let mut asked = nothing.then(named.unwrap_or(self.others), named.is_some(), meta);
        for scope in self.scopes.iter().filter(|scope| scope.is_for(meta) && covers(scope)) {
            let then = asked.then(scope.mode, !scope.controls.is_empty(), meta);
            if scope.tags.is_empty() || then.mode > asked.mode && is_on(scope) {
                asked = then;
            }
        }
        asked
    }
}

impl Scope {
    pub fn is_for(&self, meta: &Meta) -> bool {
        self.controls.is_empty() || self.controls.iter().any(|id| id == meta.id)
    }

    /// Whether every resource of the other scope is in this one, controls and tags aside. `false` if in doubt.
    pub fn includes(&self, other: &Self) -> bool {
        let has_all = |ours: &[String], theirs: &[String], is_in: fn(&str, &str) -> bool| {
            let is_known = |one: &String| ours.iter().any(|our| is_in(our, one));
            ours.is_empty() || !theirs.is_empty() && theirs.iter().all(is_known)
        };
        // A glob without `?` that matches another as text matches all that the other matches.
        let is_within =
            |ours: &str, one: &str| ours == one || !ours.contains('?') && glob_matches(ours, one);
        has_all(&self.accounts, &other.accounts, str::eq)
            && has_all(&self.regions, &other.regions, str::eq)
            && has_all(&self.resources, &other.resources, is_within)
    }

    /// Whether the resource is in the scope, its tags aside.
    fn covers(&self, subject: &Subject<'_>) -> bool {
        let has =
            |list: &[String], wanted: &str| list.is_empty() || list.iter().any(|one| one == wanted);
        has(&self.accounts, subject.account)
            && has(&self.regions, subject.region)
            && (self.resources.is_empty()
                || self.resources.iter().any(|glob| {
                    glob_matches(glob, subject.resource) || glob_matches(glob, subject.arn)
                }))
    }

    fn is_on(&self, tags: &BTreeMap<String, String>) -> bool {
        are_on(&self.tags, tags)
    }

    /// Whether every resource that has the other's tags has this one's.
    fn is_on_all(&self, other: &Self) -> bool {
        self.tags.iter().all(|(key, values)| {
            let theirs = other.tags.get(key);
            theirs.is_some_and(|theirs| theirs.iter().all(|value| values.contains(value)))
        })
    }
}

impl Route {
    /// Whether the route is for the resource, its tags aside.
    fn covers(&self, meta: &Meta, account: &str) -> bool {
        let has =
            |list: &[String], wanted: &str| list.is_empty() || list.iter().any(|one| one == wanted);
        has(&self.controls, meta.id)
            && has(&self.accounts, account)
            && (self.severities.is_empty() || self.severities.contains(&meta.severity))
    }
}

/// Whether each tag is on the resource with one of its values.
fn are_on(wanted: &BTreeMap<String, Vec<String>>, tags: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, values)| tags.get(key).is_some_and(|on| values.contains(on)))
}

impl Person {
    fn is(&self, principal_arn: &str) -> bool {
        self.principals.iter().any(|principal| match principal.strip_suffix("/*") {
            Some(role) => principal_arn
                .strip_prefix(role)
                .and_then(|rest| rest.strip_prefix('/'))
                .is_some_and(|session| !session.is_empty() && !session.contains('/')),
            None => principal == principal_arn,
        })
    }
}

/// How far the parts of the policy go that were looked at so far.
#[derive(Clone, Copy)]
struct Asked {
    mode: Mode,
    /// It would be `enforce`, had the control been named.
    is_unnamed: bool,
}

impl Asked {
    /// What the next part makes of it. A part that does not name the control asks a person where the control needs
    /// one, and leaves it enforced where it was enforced by name before.
    fn then(self, mode: Mode, is_named: bool, meta: &Meta) -> Self {
        let is_unnamed = mode == Mode::Enforce
            && meta.safety == Safety::NeedsApproval
            && !is_named
            && self.mode != Mode::Enforce;
        Self { mode: if is_unnamed { Mode::Approve } else { mode }, is_unnamed }
    }

    /// What counts under the function's ceiling.
    fn under(self, meta: &Meta, acts: bool) -> Decision {
        let (mode, withheld) = match self.mode {
            Mode::Off | Mode::Observe => (self.mode, None),
            _ if meta.safety == Safety::ReportOnly => {
                (Mode::Observe, Some("this control only reports".to_owned()))
            }
            _ if !acts => {
                let parameter = ceiling_parameter(meta.function);
                let why = format!(
                    "the ceiling of function `{}` is `observe`; the template's parameter {parameter} sets it",
                    meta.function
                );
                (Mode::Observe, Some(why))
            }
            _ if self.is_unnamed => {
                let why =
                    "this control waits for a person unless the policy enforces it by its name";
                (Mode::Approve, Some(why.to_owned()))
            }
            _ => (self.mode, None),
        };
        Decision { mode, withheld }
    }
}

#[cfg(test)]
mod tests {
    use std::slice;

    use proptest::{
        collection::vec,
        prelude::*,
        sample::{select, subsequence},
    };

    use super::*;
    use crate::notify::samples::meta;

    static SAFE: Meta = meta("s3-public-acl", Safety::Safe);
    static RISKY: Meta = meta("ec2-imdsv2", Safety::NeedsApproval);
    static REPORTED: Meta = meta("root-key", Safety::ReportOnly);
    static KNOWN: &[&Meta] = &[&SAFE, &RISKY, &REPORTED];

    const BUCKET: Subject<'_> = Subject {
        account: "111122223333",
        region: "eu-west-1",
        resource: "team-reports",
        arn: "arn:aws:s3:::team-reports",
    };

    fn policy(others: Mode, controls: &[(&str, Mode)], scopes: &[Scope]) -> Policy {
        let controls = controls.iter().map(|(id, mode)| ((*id).to_owned(), *mode)).collect();
        Policy { controls, others, scopes: scopes.to_vec(), ..Policy::observe() }
    }

    fn everywhere(mode: Mode) -> Scope {
        Scope {
            controls: vec![],
            accounts: vec![],
            regions: vec![],
            resources: vec![],
            tags: BTreeMap::new(),
            mode,
        }
    }

    fn tagged(key: &str, value: &str, mode: Mode) -> Scope {
        let tags = BTreeMap::from([(key.to_owned(), vec![value.to_owned()])]);
        Scope { tags, ..everywhere(mode) }
    }

    fn decided(policy: &Policy, meta: &Meta) -> Mode {
        policy.decide(meta, &BUCKET, None, true).mode
    }

    #[test]
    fn without_a_policy_everything_is_observed() {
        for meta in KNOWN {
            let decision = Policy::observe().decide(meta, &BUCKET, None, true);
            assert_eq!(decision, Decision { mode: Mode::Observe, withheld: None });
        }
    }

    #[test]
    fn a_control_that_is_named_does_not_follow_the_others() {
        let policy = policy(Mode::Off, &[("s3-public-acl", Mode::Enforce)], &[]);
        assert_eq!(decided(&policy, &SAFE), Mode::Enforce);
        assert_eq!(decided(&policy, &RISKY), Mode::Off);
    }

    #[test]
    fn what_needs_approval_is_enforced_by_its_name_alone_and_else_a_person_is_asked() {
        let unnamed = policy(Mode::Enforce, &[], &[]);
        let decision = unnamed.decide(&RISKY, &BUCKET, None, true);
        assert_eq!(decision.mode, Mode::Approve);
        assert!(decision.withheld.unwrap().contains("enforces it by its name"));
        assert_eq!(decided(&unnamed, &SAFE), Mode::Enforce);

        let named = policy(Mode::Off, &[("ec2-imdsv2", Mode::Enforce)], &[]);
        assert_eq!(
            named.decide(&RISKY, &BUCKET, None, true),
            Decision { mode: Mode::Enforce, withheld: None }
        );

        let by_scope =
            Scope { controls: vec!["ec2-imdsv2".to_owned()], ..everywhere(Mode::Enforce) };
        assert_eq!(decided(&policy(Mode::Off, &[], &[by_scope]), &RISKY), Mode::Enforce);
        let everything = everywhere(Mode::Enforce);
        assert_eq!(
            decided(&policy(Mode::Off, &[], slice::from_ref(&everything)), &RISKY),
            Mode::Approve
        );
        // Named to be observed is not named to be enforced.
        let observed = [("ec2-imdsv2", Mode::Observe)];
        let observed = policy(Mode::Off, &observed, slice::from_ref(&everything));
        assert_eq!(decided(&observed, &RISKY), Mode::Approve);
        // A scope for all controls takes nothing back that is enforced by name.
        let enforced = [("ec2-imdsv2", Mode::Enforce)];
        assert_eq!(decided(&policy(Mode::Off, &enforced, &[everything]), &RISKY), Mode::Enforce);
    }

    #[test]
    fn a_ceiling_of_observe_is_named_with_the_parameter_to_change() {
        let policy = Policy::by_name(Mode::Approve, KNOWN);
        let decision = policy.decide(&SAFE, &BUCKET, None, false);
        assert_eq!(decision.mode, Mode::Observe);
        assert_eq!(
            decision.withheld.unwrap(),
            "the ceiling of function `s3-exposure` is `observe`; the template's parameter S3ExposureCeiling sets it"
        );
        assert_eq!(ceiling_parameter("ec2-metadata"), "Ec2MetadataCeiling");
    }

    #[test]
    fn a_ceiling_is_observe_or_act_and_nothing_else() {
        assert_eq!(acts("act"), Ok(true));
        assert_eq!(acts("observe"), Ok(false));
        assert_eq!(acts(""), Ok(false));
        assert_eq!(
            acts("Act\n").unwrap_err().to_string(),
            "ceiling `Act ` is neither `observe` nor `act`"
        );
    }

    #[test]
    fn every_part_of_a_scope_has_to_match() {
        let scope = Scope {
            controls: vec!["s3-public-acl".to_owned()],
            accounts: vec!["444455556666".to_owned(), "111122223333".to_owned()],
            regions: vec!["eu-west-1".to_owned()],
            resources: vec!["nothing".to_owned(), "team-*".to_owned()],
            tags: BTreeMap::new(),
            mode: Mode::Enforce,
        };
        let policy = policy(Mode::Observe, &[], &[scope]);
        let mode = |meta, subject| policy.decide(meta, &subject, None, true).mode;
        assert_eq!(mode(&SAFE, BUCKET), Mode::Enforce);
        assert_eq!(mode(&RISKY, BUCKET), Mode::Observe);
        assert_eq!(mode(&SAFE, Subject { account: "777788889999", ..BUCKET }), Mode::Observe);
        assert_eq!(mode(&SAFE, Subject { region: "eu-west-2", ..BUCKET }), Mode::Observe);
        assert_eq!(mode(&SAFE, Subject { resource: "ateam-x", ..BUCKET }), Mode::Observe);
    }

    #[test]
    fn a_glob_may_describe_the_arn() {
        let resources = vec!["arn:aws*:s3:::team-report?".to_owned()];
        let scope = Scope { resources, ..everywhere(Mode::Enforce) };
        assert_eq!(decided(&policy(Mode::Observe, &[], &[scope]), &SAFE), Mode::Enforce);
    }

    #[test]
    fn a_tag_raises_and_never_lowers() {
        let tags = BTreeMap::from([("env".to_owned(), "dev".to_owned())]);
        let mode = |policy: &Policy| policy.decide(&SAFE, &BUCKET, Some(&tags), true).mode;
        let raised = policy(Mode::Observe, &[], &[tagged("env", "dev", Mode::Enforce)]);
        assert_eq!(mode(&raised), Mode::Enforce);
        assert_eq!(decided(&raised, &SAFE), Mode::Observe, "unread tags are no tags");
        for low in [Mode::Off, Mode::Observe, Mode::Approve] {
            assert_eq!(
                mode(&policy(Mode::Enforce, &[], &[tagged("env", "dev", low)])),
                Mode::Enforce
            );
        }
        // Case and part of a value do not do.
        let other = policy(Mode::Observe, &[], &[tagged("env", "Dev", Mode::Enforce)]);
        assert_eq!(mode(&other), Mode::Observe);
    }

    #[test]
    fn tags_are_asked_for_only_where_they_could_raise_the_mode() {
        let scope = tagged("env", "dev", Mode::Approve);
        assert!(policy(Mode::Observe, &[], slice::from_ref(&scope)).asks_for_tags(&SAFE, &BUCKET));
        assert!(!policy(Mode::Enforce, &[], slice::from_ref(&scope)).asks_for_tags(&SAFE, &BUCKET));
        assert!(
            !policy(Mode::Observe, &[], slice::from_ref(&scope)).asks_for_tags(&REPORTED, &BUCKET)
        );
        let overruled = [scope.clone(), everywhere(Mode::Observe)];
        assert!(!policy(Mode::Observe, &[], &overruled).asks_for_tags(&SAFE, &BUCKET));
        let elsewhere = Scope { regions: vec!["us-east-1".to_owned()], ..scope };
        assert!(!policy(Mode::Observe, &[], &[elsewhere]).asks_for_tags(&SAFE, &BUCKET));
    }

    #[test]
    fn what_counts_in_a_part_of_the_world_is_said_by_the_scopes_around_it() {
        let in_region =
            |region: &str, mode| Scope { regions: vec![region.to_owned()], ..everywhere(mode) };
        let team = Scope { resources: vec!["team-*".to_owned()], ..everywhere(Mode::Approve) };
        let scopes = [in_region("eu-west-1", Mode::Enforce), team.clone()];
        let policy = policy(Mode::Observe, &[], &scopes);
        let within = |part: &Scope| policy.within(&SAFE, part);
        assert_eq!(within(&everywhere(Mode::Off)), Mode::Observe);
        assert_eq!(within(&in_region("eu-west-1", Mode::Off)), Mode::Enforce);
        assert_eq!(within(&in_region("us-east-1", Mode::Off)), Mode::Observe);
        assert_eq!(within(&team), Mode::Approve);
        let part = Scope { resources: vec!["team-a-*".to_owned()], ..everywhere(Mode::Off) };
        assert_eq!(within(&part), Mode::Approve);
        let more = Scope { resources: vec!["*".to_owned()], ..everywhere(Mode::Off) };
        assert_eq!(within(&more), Mode::Observe);
    }

    #[test]
    fn a_person_is_known_by_principals() {
        let person = |name: &str, principals: &[&str]| Person {
            name: name.to_owned(),
            slack: None,
            principals: principals.iter().map(|arn| (*arn).to_owned()).collect(),
        };
        let people = vec![
            person("Ann", &["arn:aws:iam::111122223333:user/ann"]),
            person("Bob", &["arn:aws:sts::111122223333:assumed-role/Bob/*"]),
        ];
        let policy = Policy { people, ..Policy::observe() };
        let name = |arn| policy.person(arn).map(|person| person.name.as_str());
        assert_eq!(name("arn:aws:iam::111122223333:user/ann"), Some("Ann"));
        assert_eq!(name("arn:aws:iam::111122223333:user/anna"), None);
        assert_eq!(name("arn:aws:sts::111122223333:assumed-role/Bob/laptop"), Some("Bob"));
        for other in ["Bobby/laptop", "Bob/", "Bob", "Bob/x/y", "bob/laptop"] {
            let arn = format!("arn:aws:sts::111122223333:assumed-role/{other}");
            assert!(policy.person(&arn).is_none(), "{arn}");
        }
    }

    #[test]
    fn critical_controls_have_a_budget_of_their_own() {
        let policy = Policy::observe();
        assert_eq!(policy.budgets(Severity::Critical), &Limits::CRITICAL);
        assert_eq!(policy.budgets(Severity::High), &Limits::ROUTINE);
    }

    #[test]
    fn a_scope_that_lost_a_part_is_not_read() {
        let json = serde_json::to_value(policy(
            Mode::Observe,
            &[],
            &[tagged("env", "dev", Mode::Enforce)],
        ))
        .unwrap();
        assert!(serde_json::from_value::<Policy>(json.clone()).is_ok());
        for part in ["controls", "accounts", "regions", "resources", "tags", "mode"] {
            let mut less = json.clone();
            less["scopes"][0].as_object_mut().unwrap().remove(part);
            assert!(serde_json::from_value::<Policy>(less).is_err(), "{part}");
        }
        let mut more = json;
        more["scopes"][0]["units"] = "ou-1".into();
        assert!(serde_json::from_value::<Policy>(more).is_err());
    }

    #[test]
    fn a_hostile_glob_comes_to_an_end() {
        let glob = "*a".repeat(500) + "b";
        let text = "a".repeat(2_000);
        assert!(!glob_matches(&glob, &text));
        assert!(glob_matches(&glob, &(text + "b")));
    }

    const ACCOUNTS: [&str; 2] = ["111122223333", "444455556666"];
    const REGIONS: [&str; 2] = ["eu-west-1", "us-east-1"];
    const RESOURCES: [&str; 3] = ["team-reports", "team-site", "logs"];
    const GLOBS: [&str; 5] = ["team-*", "*s", "logs", "arn:aws:s3:::l??s", "*"];
    const TAGS: [(&str, &str); 4] =
        [("env", "dev"), ("env", "prod"), ("public", "yes"), ("owner", "ann")];

    fn modes() -> impl Strategy<Value = Mode> {
        select(Mode::ALL.to_vec())
    }

    fn some(of: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
        subsequence(of, 0..=of.len()).prop_map(|some| some.into_iter().map(str::to_owned).collect())
    }

    fn scopes() -> impl Strategy<Value = Scope> {
        let ids = &["s3-public-acl", "ec2-imdsv2", "root-key"];
        let tags = vec(select(TAGS.to_vec()), 0..3);
        (some(ids), some(&ACCOUNTS), some(&REGIONS), some(&GLOBS), tags, modes()).prop_map(
            |(controls, accounts, regions, resources, on, mode)| {
                let mut tags = BTreeMap::<String, Vec<String>>::new();
                for (key, value) in on {
                    tags.entry(key.to_owned()).or_default().push(value.to_owned());
                }
                Scope { controls, accounts, regions, resources, tags, mode }
            },
        )
    }

    fn policies() -> impl Strategy<Value = Policy> {
        let named = vec((select(KNOWN.to_vec()), modes()), 0..3);
        (named, modes(), vec(scopes(), 0..6)).prop_map(|(named, others, scopes)| {
            let controls = named.into_iter().map(|(meta, mode)| (meta.id.to_owned(), mode));
            Policy { controls: controls.collect(), others, scopes, ..Policy::observe() }
        })
    }

    fn subjects() -> impl Strategy<Value = Subject<'static>> {
        (select(&ACCOUNTS), select(&REGIONS), select(&RESOURCES)).prop_map(
            |(account, region, resource)| Subject {
                account,
                region,
                resource,
                arn: match resource {
                    "logs" => "arn:aws:s3:::logs",
                    "team-site" => "arn:aws:s3:::team-site",
                    _ => "arn:aws:s3:::team-reports",
                },
            },
        )
    }

    fn tag_sets() -> impl Strategy<Value = BTreeMap<String, String>> {
        subsequence(TAGS.to_vec(), 0..=TAGS.len()).prop_map(|tags| {
            tags.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
        })
    }

    fn naive(glob: &[char], text: &[char]) -> bool {
        match (glob, text) {
            ([], rest) => rest.is_empty(),
            (['*', more @ ..], _) => (0..=text.len()).any(|taken| naive(more, &text[taken..])),
            (['?', more @ ..], [_, rest @ ..]) => naive(more, rest),
            ([one, more @ ..], [other, rest @ ..]) => one == other && naive(more, rest),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn the_ceiling_is_never_exceeded(
            policy in policies(), meta in select(KNOWN), subject in subjects(), tags in tag_sets(),
        ) {
            let under = policy.decide(meta, &subject, Some(&tags), false);
            let free = policy.decide(meta, &subject, Some(&tags), true);
            prop_assert!(under.mode <= Mode::Observe);
            prop_assert_eq!(under.mode, free.mode.min(Mode::Observe));
            prop_assert!(meta.safety != Safety::ReportOnly || free.mode <= Mode::Observe);
        }

        #[test]
        fn no_tag_lowers_a_decision(
            policy in policies(), meta in select(KNOWN), subject in subjects(), tags in tag_sets(),
            more in tag_sets(), act in any::<bool>(),
        ) {
            let with = |tags| policy.decide(meta, &subject, tags, act).mode;
            prop_assert!(with(Some(&tags)) >= with(None));
            let mut all = more;
            all.extend(tags.clone());
            prop_assert!(with(Some(&all)) >= with(Some(&tags)));
            if !policy.asks_for_tags(meta, &subject) {
                prop_assert_eq!(with(Some(&all)), with(None));
            }
        }

        #[test]
        fn the_last_scope_that_matches_decides(
            mut policy in policies(), mode in modes(), subject in subjects(), tags in tag_sets(),
        ) {
            policy.scopes.push(Scope {
                controls: vec![SAFE.id.to_owned()],
                accounts: vec![subject.account.to_owned()],
                ..everywhere(mode)
            });
            prop_assert_eq!(policy.decide(&SAFE, &subject, Some(&tags), true).mode, mode);
            let before = policy.scopes.len() - 1;
            let elsewhere = Subject { account: "777788889999", ..subject };
            let changed = policy.decide(&SAFE, &elsewhere, Some(&tags), true);
            policy.scopes.truncate(before);
            prop_assert_eq!(policy.decide(&SAFE, &elsewhere, Some(&tags), true), changed);
        }

        #[test]
        fn what_needs_approval_is_never_enforced_by_a_policy_that_does_not_name_it(
            mut policy in policies(), subject in subjects(), tags in tag_sets(),
        ) {
            policy.controls.remove(RISKY.id);
            for scope in &mut policy.scopes {
                scope.controls.retain(|id| id != RISKY.id);
            }
            let decision = policy.decide(&RISKY, &subject, Some(&tags), true);
            prop_assert!(decision.mode <= Mode::Approve);
        }

        #[test]
        fn a_glob_matches_what_it_describes(glob in "[ab*?]{0,8}", text in "[abß]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(glob_matches(&glob, &text), naive(&chars(&glob), &chars(&text)));
        }

        #[test]
        fn a_policy_is_the_same_after_it_was_stored(policy in policies()) {
            let stored = serde_json::to_string(&policy).unwrap();
            prop_assert_eq!(serde_json::from_str::<Policy>(&stored).unwrap(), policy);
        }
    }

    #[test]
    fn a_message_goes_wherever_a_route_for_it_leads_and_nowhere_twice() {
        let route = |topic: &str, channel: &str| Route {
            topics: vec![topic.to_owned()],
            slack: vec![channel.to_owned()],
            ..Route::default()
        };
        let tags = BTreeMap::from([("team".to_owned(), vec!["web".to_owned(), "app".to_owned()])]);
        let routes = vec![
            Route { controls: vec!["s3-public-acl".to_owned()], ..route("acl", "C1") },
            Route { controls: vec!["ec2-imdsv2".to_owned()], ..route("imds", "C2") },
            Route { severities: vec![Severity::High], ..route("high", "C1") },
            Route { severities: vec![Severity::Critical], ..route("critical", "C3") },
            Route { accounts: vec!["111122223333".to_owned()], ..route("account", "C4") },
            Route { accounts: vec!["999999999999".to_owned()], ..route("other", "C5") },
            Route { tags, ..route("team", "C6") },
        ];
        let policy = Policy { routes, ..Policy::observe() };
        let web = BTreeMap::from([("team".to_owned(), "web".to_owned())]);
        let routed = policy.routed(&SAFE, "111122223333", Some(&web));
        assert_eq!(routed.topics, ["acl", "high", "account", "team"]);
        assert_eq!(routed.channels, ["C1", "C4", "C6"]);
        assert!(policy.routes_by_tags(&SAFE, "111122223333"));
        for tags in [None, Some(&BTreeMap::new())] {
            assert_eq!(policy.routed(&SAFE, "111122223333", tags).channels, ["C1", "C4"]);
        }
        assert!(Policy::observe().routed(&SAFE, "111122223333", None).is_nowhere());
        assert!(!Policy::observe().routes_by_tags(&SAFE, "111122223333"));
    }

    #[test]
    fn a_policy_from_before_there_were_routes_is_read() {
        let mut json = serde_json::to_value(Policy::observe()).unwrap();
        let fields = json.as_object_mut().unwrap();
        assert!(fields.remove("notify").is_some() && fields.remove("routes").is_some());
        assert_eq!(serde_json::from_value::<Policy>(json).unwrap(), Policy::observe());
    }
}
