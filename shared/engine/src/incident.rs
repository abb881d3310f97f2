//! What belongs together: the records of one actor, so that people see an attack and not twenty alerts.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
};

use jiff::{SignedDuration, Timestamp};

use crate::{Actor, ledger::Record};

/// Records of one actor belong together as long as no more lies between one and the next.
pub const APART: SignedDuration = SignedDuration::from_hours(1);

/// By what an actor is known again: the digest of the access key's id, the user or session, the address. Services of AWS, and
/// what they do for others, leave none.
pub fn traces(actor: &Actor) -> Vec<&str> {
    if actor.principal.starts_with("service ") {
        return Vec::new();
    }
    let address = actor.source_ip.as_deref().filter(|address| address.parse::<IpAddr>().is_ok());
    [actor.key.as_deref(), actor.arn.as_deref(), address].into_iter().flatten().collect()
}

/// When what it is about happened, as far as the event says.
pub fn time(record: &Record) -> Timestamp {
    record.intent.event_time.unwrap_or(record.intent.created)
}

/// Those of the records that `is_wanted`, and all that are linked to them: by one of the [`traces`] and by no more than
/// [`APART`] in time, or through others that are. Oldest first.
pub fn linked(records: Vec<Record>, is_wanted: impl Fn(&Record) -> bool) -> Vec<Record> {
    let mut of_trace: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, record) in records.iter().enumerate() {
        for trace in record.intent.actor.iter().flat_map(traces) {
            of_trace.entry(trace).or_default().push(place);
        }
    }
    let mut is_linked: Vec<bool> = records.iter().map(&is_wanted).collect();
    let mut found: VecDeque<usize> = is_linked
        .iter()
        .enumerate()
        .filter(|(_, linked)| **linked)
        .map(|(place, _)| place)
        .collect();
    while let Some(place) = found.pop_front() {
        let record = &records[place];
        for trace in record.intent.actor.iter().flat_map(traces) {
            // Each is looked at again only as long as it is not linked.
            of_trace.entry(trace).or_default().retain(|&other| {
                if is_linked[other] {
                    return false;
                }
                let apart = time(&records[other]).duration_since(time(record)).abs();
                if apart <= APART {
                    is_linked[other] = true;
                    found.push_back(other);
                }
                !is_linked[other]
            });
        }
    }
    let mut linked: Vec<Record> = records
        .into_iter()
        .zip(is_linked)
        .filter(|(_, linked)| *linked)
        .map(|(one, _)| one)
        .collect();
    linked.sort_by_cached_key(|record| (time(record), record.id.clone()));
    linked
}
