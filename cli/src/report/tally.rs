//! Counts records one by one, in any order, and keeps of each no more than the report needs.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use jiff::Timestamp;
use quell_controls::REGISTRY;
use quell_engine::{
    Outcome, Severity,
    ledger::{Exemption, Record, Status},
    notify::RUNBOOKS,
};

use super::{
    model::{
        Approval, Bucket, Cell, Counts, Exempted, FLAPS, Flapping, List, Model, NeedsPerson,
        OfAccount, OfControl, OfPrincipal, OfSeverity, Place, SHOWN, Spread, TimeToFix, Totals,
        VERSION,
    },
    untrusted::Untrusted,
};

/// What is known of a period so far.
#[derive(Debug)]
pub(super) struct Tally {
    since: Timestamp,
    now: Timestamp,
    totals: Totals,
    without_time: u64,
    severities: BTreeMap<Severity, Counts>,
    controls: BTreeMap<String, OneControl>,
    accounts: BTreeMap<String, BTreeMap<String, (u64, u64)>>,
    principals: HashMap<Option<String>, OnePrincipal>,
    /// By control, account, region and name.
    resources: HashMap<[Box<str>; 4], OneResource>,
    /// The first ones, and some more until they are sorted.
    approvals: Vec<Approval>,
    approval_count: u64,
}

#[derive(Debug)]
struct OneControl {
    severity: Severity,
    counts: Counts,
    times_to_fix: Vec<u64>,
}

#[derive(Debug)]
struct OnePrincipal {
    counts: Counts,
    severity: Severity,
    last: Timestamp,
    controls: BTreeMap<String, u64>,
    sessions: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct OneResource {
    severity: Severity,
    happenings: Vec<Happening>,
    broken_by: HashMap<String, u64>,
    /// The newest record that needs, or needed, a person.
    trouble: Option<Box<Trouble>>,
}

/// What one record says about its resource.
#[derive(Debug)]
struct Happening {
    created: Timestamp,
    /// When the bad state began, as far as the record knows.
    start: Timestamp,
    status: Status,
    is_undo: bool,
    /// When a fix was verified.
    fixed: Option<Timestamp>,
}

#[derive(Debug)]
struct Trouble {
    created: Timestamp,
    record: String,
    outcome: Outcome,
    is_undo: bool,
    is_parked: bool,
    reason: Option<Untrusted>,
}

impl Tally {
    /// Of a period that ends now.
    pub(super) fn new(since: Timestamp, now: Timestamp) -> Self {
        Self {
            since,
            now,
            totals: Totals::default(),
            without_time: 0,
            severities: BTreeMap::new(),
            controls: BTreeMap::new(),
            accounts: BTreeMap::new(),
            principals: HashMap::new(),
            resources: HashMap::new(),
            approvals: Vec::new(),
            approval_count: 0,
        }
    }

    pub(super) fn records(&self) -> u64 {
        self.totals.records
    }

    pub(super) fn unreadable(&mut self, count: usize) {
        self.totals.unreadable += u64::try_from(count).unwrap_or(u64::MAX);
    }

    /// Counts a record. One that was made while the ledger was read is left to the next report.
    pub(super) fn add(&mut self, record: &Record) {
        if record.intent.created > self.now {
            return;
        }
        self.totals.records += 1;
        if record.status == Status::Superseded {
            self.totals.superseded += 1;
            return;
        }
        self.resource(record);
        if record.intent.undoes.is_some() {
            self.totals.undos += 1;
            return;
        }
        self.violation(record);
        if record.status == Status::Pending {
            self.approval_count += 1;
            self.approvals.push(self.approval(record));
            if self.approvals.len() >= 2 * SHOWN {
                first_approvals(&mut self.approvals);
            }
        }
    }

    fn violation(&mut self, record: &Record) {
        let intent = &record.intent;
        let (outcome, severity) = (record.status.outcome(), intent.severity);
        self.totals.found += 1;
        self.totals.outcomes.add(outcome);
        self.severities.entry(severity).or_default().add(outcome);

        let control = self.controls.entry(intent.control.clone()).or_insert_with(|| OneControl {
            severity,
            counts: Counts::default(),
            times_to_fix: Vec::new(),
        });
        control.severity = control.severity.max(severity);
        control.counts.add(outcome);
        if record.status == Status::Fixed || fixed(record).is_some() {
            match fixed(record).zip(intent.event_time) {
                Some((fixed, begun)) => control.times_to_fix.push(between(begun, fixed)),
                None => self.without_time += 1,
            }
        }

        let account = self.accounts.entry(intent.account.clone()).or_default();
        let cell = account.entry(intent.control.clone()).or_default();
        cell.0 += 1;
        cell.1 += u64::from(outcome == Outcome::Fixed);

        let actor = intent.actor.as_ref().map(|actor| role_and_session(&actor.principal));
        let name = actor.map(|(name, _)| name.to_owned());
        let happened = intent.event_time.unwrap_or(intent.created);
        let principal = self.principals.entry(name).or_insert_with(|| OnePrincipal {
            counts: Counts::default(),
            severity,
            last: happened,
            controls: BTreeMap::new(),
            sessions: BTreeMap::new(),
        });
        principal.counts.add(outcome);
        principal.severity = principal.severity.max(severity);
        principal.last = principal.last.max(happened);
        *principal.controls.entry(intent.control.clone()).or_default() += 1;
        if let Some((_, Some(session))) = actor {
            *principal.sessions.entry(session.to_owned()).or_default() += 1;
        }
    }

    fn resource(&mut self, record: &Record) {
        let intent = &record.intent;
        let key = [&intent.control, &intent.account, &intent.region, &intent.resource];
        let key = key.map(|part| part.as_str().into());
        let resource = self.resources.entry(key).or_insert_with(|| OneResource {
            severity: intent.severity,
            // Most have one.
            happenings: Vec::with_capacity(1),
            broken_by: HashMap::new(),
            trouble: None,
        });
        let is_undo = intent.undoes.is_some();
        let fixed = fixed(record).filter(|_| !is_undo);
        resource.severity = resource.severity.max(intent.severity);
        resource.happenings.push(Happening {
            created: intent.created,
            start: intent.event_time.unwrap_or(intent.created).min(self.now),
            status: record.status,
            is_undo,
            fixed,
        });
        if let (Some(_), Some(actor)) = (fixed, &intent.actor) {
            let (name, _) = role_and_session(&actor.principal);
            *resource.broken_by.entry(name.to_owned()).or_default() += 1;
        }
        let newest = (intent.created, record.id.as_str());
        let is_newer = |known: &Trouble| newest > (known.created, known.record.as_str());
        if needs_person(record.status) && resource.trouble.as_deref().is_none_or(is_newer) {
            let reason = record.result.reason.as_ref().or(intent.withheld.as_ref());
            resource.trouble = Some(Box::new(Trouble {
                created: intent.created,
                record: record.id.clone(),
                outcome: record.status.outcome(),
                is_undo,
                is_parked: record.status == Status::Parked,
                reason: reason.map(|reason| Untrusted::new(reason)),
            }));
        }
    }

    fn approval(&self, record: &Record) -> Approval {
        let intent = &record.intent;
        Approval {
            place: Place {
                control: intent.control.clone(),
                severity: intent.severity,
                resource: Untrusted::new(&intent.resource),
                account: Untrusted::new(&intent.account),
                region: Untrusted::new(&intent.region),
            },
            record: record.id.clone(),
            principal: intent.actor.as_ref().map(|actor| Untrusted::new(&actor.principal)),
            created: intent.created,
            expires: intent.expires,
            expired: intent.expires.is_some_and(|expires| expires <= self.now),
            changes: u64::try_from(intent.changes.len()).unwrap_or(u64::MAX),
            approve: format!("quell approve {}", record.id),
            deny: format!("quell deny {}", record.id),
        }
    }

    /// What it comes to. The exemptions are those of now; `account` and `region` say where the ledger is.
    pub(super) fn finish(
        mut self,
        exemptions: Vec<Exemption>,
        account: &str,
        region: &str,
    ) -> Model {
        for resource in self.resources.values_mut() {
            resource.happenings.sort_unstable_by_key(|one| {
                (one.created, one.start, one.status.name(), one.is_undo, one.fixed)
            });
        }
        let mut open: HashMap<&str, (u64, u64)> = HashMap::new();
        for ([control, ..], resource) in &self.resources {
            if let Some(start) = resource.open_since() {
                let (count, longest) = open.entry(control).or_default();
                *count += 1;
                *longest = (*longest).max(between(start, self.now));
            }
        }
        let totals = Totals { open: open.values().map(|(count, _)| count).sum(), ..self.totals };
        let mut times: Vec<u64> = Vec::new();
        let mut controls: Vec<OfControl> = Vec::new();
        for (id, one) in &mut self.controls {
            times.extend(&one.times_to_fix);
            let (open, longest) = open.get(id.as_str()).copied().unzip();
            controls.push(OfControl {
                control: id.clone(),
                title: REGISTRY
                    .iter()
                    .find(|meta| meta.id == id)
                    .map(|meta| meta.title.to_owned())
                    .unwrap_or_default(),
                severity: one.severity,
                found: one.counts.total(),
                outcomes: one.counts,
                exposure_ms: one.times_to_fix.iter().fold(0, |sum, time| sum.saturating_add(*time)),
                time_to_fix: spread(&mut one.times_to_fix),
                open: open.unwrap_or(0),
                longest_open_ms: longest,
            });
        }
        controls
            .sort_by_key(|one| (Reverse(one.severity), Reverse(one.found), one.control.clone()));
        let severities = self.severities.iter().rev().map(|(severity, counts)| OfSeverity {
            severity: *severity,
            found: counts.total(),
            outcomes: *counts,
        });
        first_approvals(&mut self.approvals);
        Model {
            version: VERSION,
            generated: self.now,
            since: self.since,
            account: Untrusted::new(account),
            region: Untrusted::new(region),
            totals,
            severities: severities.collect(),
            time_to_fix: TimeToFix {
                spread: spread(&mut times),
                without_time: self.without_time,
                histogram: histogram(&times),
            },
            needs_person: needing(&self.resources),
            approvals: List { total: self.approval_count, shown: self.approvals },
            principals: principals(self.principals),
            exemptions: exempted(exemptions, self.now),
            flapping: flapping(&self.resources),
            accounts: accounts(self.accounts, &controls),
            controls,
        }
    }
}

impl OneResource {
    /// Since when it is not known to be right again. Of what nobody permitted.
    fn open_since(&self) -> Option<Timestamp> {
        let mut since = None;
        for one in self.happenings.iter().filter(|one| !one.is_undo) {
            since = match one.status {
                Status::Fixed | Status::Exempt | Status::Undone | Status::Undoing => None,
                _ => since.or(Some(one.start)),
            };
        }
        since
    }

    /// Since when it needs a person, and how many records say so.
    fn troubled(&self) -> Option<(Timestamp, u64)> {
        let mut troubled: Option<(Timestamp, u64)> = None;
        for one in &self.happenings {
            if needs_person(one.status) {
                let (since, times) = troubled.unwrap_or((one.start, 0));
                troubled = Some((since, times + 1));
            } else if matches!(one.status, Status::Fixed | Status::Exempt | Status::Undone) {
                troubled = None;
            }
        }
        troubled
    }
}

fn needs_person(status: Status) -> bool {
    matches!(status, Status::Parked | Status::Failed | Status::Partial)
}

/// When its fix was verified, whatever came after.
fn fixed(record: &Record) -> Option<Timestamp> {
    let stages = &record.result.history;
    stages.iter().find(|stage| stage.status == Status::Fixed).map(|stage| stage.at)
}

/// Milliseconds. Clocks differ: what ends before it begins took no time.
fn between(begin: Timestamp, end: Timestamp) -> u64 {
    u64::try_from(end.duration_since(begin).as_millis()).unwrap_or(0)
}

/// `role deploy (session ci)` is one session of `role deploy`.
fn role_and_session(principal: &str) -> (&str, Option<&str>) {
    let parts = principal.strip_suffix(')').and_then(|rest| rest.split_once(" (session "));
    match parts {
        Some((role, session)) if role.starts_with("role ") => (role, Some(session)),
        _ => (principal, None),
    }
}

/// Sorts the times, and picks by the nearest rank.
fn spread(times: &mut [u64]) -> Spread {
    times.sort_unstable();
    let rank = |percent: usize| {
        let rank = (times.len() * percent).div_ceil(100).saturating_sub(1);
        times.get(rank).copied()
    };
    Spread {
        count: u64::try_from(times.len()).unwrap_or(u64::MAX),
        p50_ms: rank(50),
        p95_ms: rank(95),
        longest_ms: times.last().copied(),
    }
}

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// Of sorted times.
fn histogram(times: &[u64]) -> Vec<Bucket> {
    let bounds = [
        5 * SECOND,
        15 * SECOND,
        30 * SECOND,
        MINUTE,
        5 * MINUTE,
        15 * MINUTE,
        HOUR,
        6 * HOUR,
        24 * HOUR,
    ];
    let mut below = 0;
    let mut bucket = |at_most_ms: Option<u64>| {
        let up_to = at_most_ms.map_or(times.len(), |most| times.partition_point(|t| *t <= most));
        let count = u64::try_from(up_to - below).unwrap_or(u64::MAX);
        below = up_to;
        Bucket { at_most_ms, count }
    };
    bounds.into_iter().map(Some).chain([None]).map(&mut bucket).collect()
}

fn first_approvals(approvals: &mut Vec<Approval>) {
    approvals.sort_by_cached_key(|one| {
        let expires = one.expires.unwrap_or(Timestamp::MAX);
        (Reverse(one.place.severity), expires, one.record.clone())
    });
    approvals.truncate(SHOWN);
}

fn place(key: &[Box<str>; 4], severity: Severity) -> Place {
    let [control, account, region, resource] = key;
    Place {
        control: control.to_string(),
        severity,
        resource: Untrusted::new(resource),
        account: Untrusted::new(account),
        region: Untrusted::new(region),
    }
}

/// The first of a list in this order, each made only if it is shown.
fn list<T, K: Ord, V>(mut all: Vec<T>, order: impl Fn(&T) -> K, make: impl Fn(T) -> V) -> List<V> {
    let total = u64::try_from(all.len()).unwrap_or(u64::MAX);
    all.sort_by_cached_key(order);
    List { total, shown: all.into_iter().take(SHOWN).map(make).collect() }
}

fn needing(resources: &HashMap<[Box<str>; 4], OneResource>) -> List<NeedsPerson> {
    let all = resources.iter().filter_map(|(key, resource)| {
        let (since, times) = resource.troubled()?;
        Some((key, resource.severity, since, times, resource.trouble.as_deref()?))
    });
    list(
        all.collect(),
        |(key, severity, since, ..)| (Reverse(*severity), *since, *key),
        |(key, severity, since, times, trouble)| NeedsPerson {
            place: place(key, severity),
            record: trouble.record.clone(),
            outcome: trouble.outcome,
            undo: trouble.is_undo,
            since,
            times,
            reason: trouble.reason.clone(),
            next: match (trouble.is_parked, trouble.is_undo) {
                (true, false) => format!("quell resume {}", trouble.record),
                _ => format!("quell show {}", trouble.record),
            },
            runbook: format!("{RUNBOOKS}{}.md", key[0]),
        },
    )
}

fn flapping(resources: &HashMap<[Box<str>; 4], OneResource>) -> List<Flapping> {
    let all = resources.iter().filter_map(|(key, resource)| {
        let fixes = resource.happenings.iter().filter_map(|one| one.fixed);
        let (first, last) = (fixes.clone().min()?, fixes.clone().max()?);
        let fixes = u64::try_from(fixes.count()).unwrap_or(u64::MAX);
        (fixes >= FLAPS).then_some((key, resource, fixes, first, last))
    });
    list(
        all.collect(),
        |(key, _, fixes, ..)| (Reverse(*fixes), *key),
        |(key, resource, fixes, first, last)| Flapping {
            place: place(key, resource.severity),
            fixes,
            first,
            last,
            principal: most(&resource.broken_by).first().map(|name| Untrusted::new(name)),
        },
    )
}

/// The names that were counted most often first.
fn most<'a>(counts: impl IntoIterator<Item = (&'a String, &'a u64)>) -> Vec<&'a str> {
    let mut names: Vec<(&String, &u64)> = counts.into_iter().collect();
    names.sort_by_key(|(name, count)| (Reverse(**count), *name));
    names.into_iter().map(|(name, _)| name.as_str()).collect()
}

/// How many of its sessions a role is shown with.
const SESSIONS: usize = 3;

fn principals(principals: HashMap<Option<String>, OnePrincipal>) -> List<OfPrincipal> {
    list(
        principals.into_iter().collect(),
        |(name, one)| (Reverse(one.counts.total()), Reverse(one.severity), name.clone()),
        |(name, one)| OfPrincipal {
            principal: name.map(|name| Untrusted::new(&name)),
            sessions: most(&one.sessions).into_iter().take(SESSIONS).map(Untrusted::new).collect(),
            session_count: u64::try_from(one.sessions.len()).unwrap_or(u64::MAX),
            found: one.counts.total(),
            outcomes: one.counts,
            severity: one.severity,
            control: most(&one.controls).first().copied().unwrap_or_default().to_owned(),
            last: one.last,
        },
    )
}

fn exempted(exemptions: Vec<Exemption>, now: Timestamp) -> List<Exempted> {
    list(
        exemptions,
        |one| (one.expires, one.control.clone(), one.account.clone(), one.arn.clone()),
        |one| Exempted {
            place: Place {
                control: one.control,
                severity: one.severity,
                resource: Untrusted::new(&one.resource),
                account: Untrusted::new(&one.account),
                region: Untrusted::new(&one.region),
            },
            reason: Untrusted::new(&one.reason),
            owner: Untrusted::new(&one.owner),
            person: Untrusted::new(&one.person),
            granted: one.granted,
            expires: one.expires,
            expired: one.expires <= now,
            unused: one.told_unused.is_some() && !one.used,
        },
    )
}

fn accounts(
    accounts: BTreeMap<String, BTreeMap<String, (u64, u64)>>,
    controls: &[OfControl],
) -> Vec<OfAccount> {
    let mut all: Vec<OfAccount> = accounts
        .into_iter()
        .map(|(account, cells)| OfAccount {
            account: Untrusted::new(&account),
            found: cells.values().map(|(found, _)| found).sum(),
            fixed: cells.values().map(|(_, fixed)| fixed).sum(),
            controls: controls
                .iter()
                .filter_map(|control| Some((control, cells.get(&control.control)?)))
                .map(|(control, (found, fixed))| Cell {
                    control: control.control.clone(),
                    found: *found,
                    fixed: *fixed,
                })
                .collect(),
        })
        .collect();
    all.sort_by(|one, other| (other.found, &one.account).cmp(&(one.found, &other.account)));
    all
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;
    use quell_tests::{
        attack::each_of,
        records::{ACCOUNT, Differing as _, REGION},
    };
    use stats_alloc::{INSTRUMENTED_SYSTEM, Region};

    use super::{
        super::model::{Fate, OUTCOMES},
        super::sample::{any, exemption, model, now, record, since},
        *,
    };

    #[test]
    fn whatever_the_order_of_the_records_the_report_is_the_same() {
        each_of(1_000, |rng| {
            let mut records: Vec<Record> = (0..rng.usize(..40)).map(|_| any(rng)).collect();
            let one = tally(&records);
            rng.shuffle(&mut records);
            assert_eq!(one, tally(&records));
        });
    }

    #[test]
    fn every_record_is_counted_once_and_all_sums_are_the_same() {
        each_of(1_000, |rng| {
            let records: Vec<Record> = (0..rng.usize(..60)).map(|_| any(rng)).collect();
            let model = tally(&records);
            let totals = &model.totals;
            let counted = records.iter().filter(|record| record.intent.created <= now()).count();
            assert_eq!(totals.records, counted as u64);
            assert_eq!(totals.records, totals.found + totals.undos + totals.superseded);
            assert_eq!(totals.outcomes.total(), totals.found);
            let sum = |counts: Vec<&Counts>| {
                OUTCOMES.map(|outcome| counts.iter().map(|one| one.of(outcome)).sum::<u64>())
            };
            let wanted = OUTCOMES.map(|outcome| totals.outcomes.of(outcome));
            assert_eq!(sum(model.controls.iter().map(|one| &one.outcomes).collect()), wanted);
            assert_eq!(sum(model.severities.iter().map(|one| &one.outcomes).collect()), wanted);
            let principals = &model.principals.shown;
            assert_eq!(sum(principals.iter().map(|one| &one.outcomes).collect()), wanted);
            for fates in model.controls.iter().map(|one| &one.outcomes) {
                let sum: u64 = Fate::ALL.iter().map(|fate| fates.of_fate(*fate)).sum();
                assert_eq!(sum, fates.total());
            }
            let accounts = &model.accounts;
            assert_eq!(accounts.iter().map(|one| one.found).sum::<u64>(), totals.found);
            let fixed = accounts.iter().map(|one| one.fixed).sum::<u64>();
            assert_eq!(fixed, totals.outcomes.of(Outcome::Fixed));
            for one in accounts {
                assert_eq!(one.controls.iter().map(|cell| cell.found).sum::<u64>(), one.found);
            }
            let times = &model.time_to_fix;
            assert_eq!(
                times.histogram.iter().map(|one| one.count).sum::<u64>(),
                times.spread.count
            );
            let measured = model.controls.iter().map(|one| one.time_to_fix.count).sum::<u64>();
            assert_eq!(measured, times.spread.count);
            assert_eq!(model.controls.iter().map(|one| one.open).sum::<u64>(), totals.open);
            assert_eq!(model.approvals.total, totals.outcomes.of(Outcome::Pending));
        });
    }

    #[test]
    fn the_time_to_fix_runs_from_the_event_and_is_ranked() {
        let records: Vec<Record> = (1..=100)
            .map(|n| record("s3-public-acl", &n.to_string(), 5, Status::Fixed).fixed_after(n))
            .collect();
        let times = tally(&records).time_to_fix;
        let spread = Spread {
            count: 100,
            p50_ms: Some(50_000),
            p95_ms: Some(95_000),
            longest_ms: Some(100_000),
        };
        assert_eq!(times.spread, spread);
        let counts: Vec<u64> = times.histogram.iter().map(|bucket| bucket.count).collect();
        assert_eq!(counts, [5, 10, 15, 30, 40, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_fix_before_its_event_took_no_time_and_one_without_an_event_is_counted_apart() {
        let early = record("s3-public-acl", "early", 5, Status::Fixed).fixed_after(-10);
        let timeless = record("s3-public-acl", "timeless", 5, Status::Fixed).fixed_after(10);
        let times = tally(&[early, timeless.timeless()]).time_to_fix;
        assert_eq!((times.spread.count, times.spread.longest_ms), (1, Some(0)));
        assert_eq!(times.without_time, 1);
    }

    #[test]
    fn a_resource_is_open_from_its_first_violation_until_it_is_fixed_or_permitted() {
        let at = |hours, status| record("s3-public-acl", "photos", hours, status);
        let open = |records: &[Record]| {
            let model = tally(records);
            (model.totals.open, model.controls[0].longest_open_ms)
        };
        // It happened a minute before the record was made.
        let hours = |hours: u64| Some(hours * HOUR + MINUTE);
        let (observed, fixed) = (Status::Observed, Status::Fixed);
        assert_eq!(open(&[at(9, observed)]), (1, hours(9)));
        assert_eq!(open(&[at(9, observed), at(5, Status::Failed)]), (1, hours(9)));
        assert_eq!(open(&[at(9, observed), at(5, fixed)]), (0, None));
        assert_eq!(open(&[at(9, fixed), at(5, observed), at(3, observed)]), (1, hours(5)));
        assert_eq!(open(&[at(9, observed), at(5, Status::Exempt)]), (0, None));
        let undo = at(4, Status::Failed).undoing("another");
        assert_eq!(open(&[at(9, fixed), undo]), (0, None), "an undo opens nothing");
    }

    #[test]
    fn a_resource_needs_a_person_until_something_put_it_right() {
        let at = |hours, status| record("sg-open-ingress", "sg-1", hours, status);
        let needs = |records: &[Record]| {
            let list = tally(records).needs_person;
            assert_eq!(list.total, list.shown.len() as u64);
            list.shown.into_iter().map(|one| (one.outcome, one.times, one.next)).next()
        };
        let parked = at(5, Status::Parked);
        let resume = format!("quell resume {}", parked.id);
        let (failed, fixed) = (at(9, Status::Failed), at(7, Status::Fixed));
        assert_eq!(needs(std::slice::from_ref(&fixed)), None);
        assert_eq!(needs(&[failed.clone(), fixed.clone()]), None);
        let one = [failed.clone(), fixed, parked.clone()];
        assert_eq!(needs(&one), Some((Outcome::Parked, 1, resume.clone())));
        assert_eq!(needs(&[failed, parked]), Some((Outcome::Parked, 2, resume)));

        let undo = at(3, Status::Failed).undoing("another");
        let show = format!("quell show {}", undo.id);
        let found = tally(std::slice::from_ref(&undo)).needs_person.shown.remove(0);
        assert!(found.undo);
        assert_eq!(found.next, show);
        assert_eq!(needs(&[undo, at(2, Status::Undone)]), None);
        assert_eq!(needs(&[at(1, Status::Applying)]), None, "it is being worked on");
    }

    #[test]
    fn what_was_fixed_three_times_flaps_and_is_told_with_whoever_broke_it_most_often() {
        let fix = |hours, who: &str| {
            record("sg-open-ingress", "sg-1", hours, Status::Fixed).fixed_after(5).by(who)
        };
        let (deploy, alice) = ("role deploy (session 1)", "user alice");
        assert_eq!(tally(&[fix(9, deploy), fix(8, deploy)]).flapping.total, 0);
        let third = fix(7, "role deploy (session 2)");
        let found = tally(&[fix(9, alice), fix(8, deploy), third.clone()]).flapping;
        assert_eq!(found.shown[0].fixes, 3);
        assert_eq!(found.shown[0].principal, Some(Untrusted::new("role deploy")));
        let elsewhere = third.in_account("210987654321");
        assert_eq!(tally(&[fix(9, alice), fix(8, deploy), elsewhere]).flapping.total, 0);
    }

    #[test]
    fn the_sessions_of_a_role_are_one_principal() {
        let by = |n: i64, who: &str| record("s3-public-acl", "photos", n, Status::Observed).by(who);
        let records = [
            by(1, "role deploy (session a)"),
            by(2, "role deploy (session b)"),
            by(3, "role deploy (session b)"),
            by(4, "role deploy"),
            by(5, "user mallory (session b)"),
        ];
        let found = tally(&records).principals;
        let of = |at: usize| (found.shown[at].principal.clone(), found.shown[at].found);
        assert_eq!(found.total, 2);
        assert_eq!(of(0), (Some(Untrusted::new("role deploy")), 4));
        assert_eq!(of(1), (Some(Untrusted::new("user mallory (session b)")), 1));
        assert_eq!(found.shown[0].sessions, ["b", "a"].map(Untrusted::new));
    }

    #[test]
    fn exemptions_stand_in_the_order_of_their_end_and_those_that_are_over_are_marked() {
        let given = [30, -1, 2, 0].map(|days| exemption(&days.to_string(), days));
        let model = Tally::new(since(), now()).finish(given.into(), ACCOUNT, REGION);
        let found: Vec<_> = model.exemptions.shown.iter().map(|one| one.expired).collect();
        assert_eq!(found, [true, true, false, false]);
        assert!(model.exemptions.shown.is_sorted_by_key(|one| one.expires));
    }

    #[test]
    fn of_a_long_list_the_most_urgent_are_shown_and_the_rest_is_counted() {
        let mut records = Vec::new();
        for n in 0..SHOWN as i64 * 5 {
            let resource = n.to_string();
            records.push(
                record("s3-public-acl", &resource, 5, Status::Pending)
                    .expiring(now() + (n + 1).hours()),
            );
            records.push(record("s3-public-policy", &resource, n + 1, Status::Parked));
        }
        let model = tally(&records);
        assert_eq!(model.approvals.left_out(), 400);
        let last = &model.approvals.shown[SHOWN - 1];
        assert_eq!(last.expires, Some(now() + 100.hours()), "the soonest 100");
        assert_eq!(model.needs_person.left_out(), 400);
        assert_eq!(model.needs_person.shown[0].since, now() - 500.hours() - 1.minute());
    }

    /// What is kept of a record does not grow with its size, and is the same for each.
    #[test]
    fn a_hundred_thousand_records_fit_into_little_memory() {
        let region = Region::new(&INSTRUMENTED_SYSTEM);
        let mut tally = Tally::new(since(), now());
        for n in 0..100_000 {
            let status = [Status::Fixed, Status::Failed, Status::Pending][n % 3];
            let name = format!("bucket-with-a-name-of-usual-length-{n}");
            let mut one = record("s3-public-acl", &name, (n % 700) as i64, status)
                .by(&format!("role deploy (session {n})"))
                .because(&"a long reason ".repeat(20));
            one.intent.notes = vec!["x".repeat(1_000)];
            tally.add(&one);
        }
        let change = region.change();
        let kept = change.bytes_allocated as i64 - change.bytes_deallocated as i64
            + change.bytes_reallocated as i64;
        assert!(kept < 100_000_000, "{kept} bytes");
        assert_eq!(tally.finish(Vec::new(), ACCOUNT, REGION).totals.records, 100_000);
    }

    #[test]
    fn what_is_made_while_the_ledger_is_read_is_left_to_the_next_report() {
        let model = tally(&[record("s3-public-acl", "photos", -1, Status::Fixed)]);
        assert_eq!(model.totals.records, 0);
        assert_eq!(model.totals, Totals::default());
    }

    #[test]
    fn a_plan_that_nobody_answered_in_time_is_marked() {
        let model = model();
        let expired: Vec<bool> = model.approvals.shown.iter().map(|one| one.expired).collect();
        assert_eq!(expired, [true, false]);
    }

    fn tally(records: &[Record]) -> Model {
        let mut tally = Tally::new(since(), now());
        records.iter().for_each(|record| tally.add(record));
        tally.finish(Vec::new(), ACCOUNT, REGION)
    }
}
