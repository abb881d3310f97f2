//! Entries of a network ACL, and which of them let everyone in.
//!
//! AWS looks at the entries of one direction by their numbers, lowest first, and the first that fits decides. IPv4 and
//! IPv6 share the numbers, but no entry is about both.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/nacl-rules.html>

use std::fmt;

use aws_sdk_ec2::types::{NetworkAclEntry, RuleAction};
use serde::{Deserialize, Serialize};

use crate::cidr::Cidr;

/// SSH and RDP.
const PORTS: [i32; 2] = [22, 3389];

const TCP: &str = "6";
const EVERYTHING: &str = "-1";

/// The highest number that an entry can have. What is above it AWS makes, and nobody changes.
const LAST: i32 = 32766;

/// Addresses that nobody on the internet has: those of private networks and of carriers.
/// <https://www.rfc-editor.org/rfc/rfc1918>, <https://www.rfc-editor.org/rfc/rfc6598>, <https://www.rfc-editor.org/rfc/rfc4193>
const PRIVATE: [&str; 5] =
    ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"];

/// An ingress entry.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Entry {
    /// 1 to 32766.
    pub number: i32,
    /// A number: 6 is TCP. `-1` is everything.
    pub protocol: String,
    pub allows: bool,
    /// A range of addresses, v4 or v6.
    pub source: String,
    /// The first and the last port, both in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<(i32, i32)>,
    /// ICMP's type and code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp: Option<(i32, i32)>,
}

/// An entry that lets everyone reach some of the ports.
#[derive(Debug)]
pub(super) struct Offence<'a> {
    pub(super) entry: &'a Entry,
    pub(super) ports: Vec<i32>,
}

impl Entry {
    /// `None`: one of AWS's own, which nobody can change. An error says what is missing.
    pub(super) fn read(entry: &NetworkAclEntry) -> Result<Option<Self>, &'static str> {
        let number = entry.rule_number().ok_or("an entry without a number")?;
        if number > LAST {
            return Ok(None);
        }
        let source =
            entry.cidr_block().or(entry.ipv6_cidr_block()).ok_or("an entry without a source")?;
        if Cidr::parse(source).is_none() {
            return Err("an entry whose source is no range of addresses");
        }
        let ports = entry.port_range().and_then(|range| Some((range.from()?, range.to()?)));
        let icmp = entry.icmp_type_code().and_then(|icmp| Some((icmp.r#type()?, icmp.code()?)));
        Ok(Some(Self {
            number,
            protocol: entry.protocol().ok_or("an entry without a protocol")?.to_owned(),
            allows: match entry.rule_action() {
                Some(RuleAction::Allow) => true,
                Some(RuleAction::Deny) => false,
                _ => return Err("an entry that neither allows nor denies"),
            },
            source: source.to_owned(),
            ports: ports.filter(|(from, _)| *from >= 0),
            icmp,
        }))
    }

    /// Opens one port of TCP, and nothing else.
    pub(super) fn is_one_port(&self) -> bool {
        self.protocol == TCP && self.ports.is_some_and(|(from, to)| from == to)
    }

    /// What lets this entry's traffic in from a range in its own.
    fn narrowed(&self, number: i32, range: &str) -> Self {
        Self { number, source: range.to_owned(), ..self.clone() }
    }

    fn denying(&self, number: i32, port: i32) -> Self {
        Self {
            number,
            protocol: TCP.to_owned(),
            allows: false,
            source: self.source.clone(),
            ports: Some((port, port)),
            icmp: None,
        }
    }

    /// Whether the entry is about a connection to this port of TCP.
    fn is_about(&self, port: i32) -> bool {
        let holds = |(from, to): (i32, i32)| (from..=to).contains(&port);
        self.protocol == EVERYTHING || self.protocol == TCP && self.ports.is_none_or(holds)
    }

    fn is_ipv6(&self) -> bool {
        self.source.contains(':')
    }

    /// Whether everybody in `other` is in this entry's range.
    fn covers(&self, other: &str) -> bool {
        contains(&self.source, other)
    }

    /// What AWS puts into every default network ACL.
    fn is_as_aws_makes_it(&self) -> bool {
        self.allows
            && self.protocol == EVERYTHING
            && matches!((self.number, self.source.as_str()), (100, "0.0.0.0/0") | (101, "::/0"))
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}: {} ", self.number, if self.allows { "allow" } else { "deny" })?;
        match (self.protocol.as_str(), self.ports) {
            (EVERYTHING, _) => f.write_str("all traffic")?,
            (TCP, Some((from, to))) if from == to => write!(f, "tcp {from}")?,
            (TCP, Some((from, to))) => write!(f, "tcp {from}-{to}")?,
            (protocol, None) => write!(f, "protocol {protocol}")?,
            (protocol, Some((from, to))) => write!(f, "protocol {protocol} {from}-{to}")?,
        }
        write!(f, " from {}", self.source)
    }
}

/// The entries that let the world in, given the ones before them. `ingress` is in the order of its numbers.
pub(super) fn offences<'a>(
    ingress: &'a [Entry],
    is_default: bool,
    trusted: &[String],
) -> Vec<Offence<'a>> {
    let mut found: Vec<Offence> = Vec::new();
    for (index, entry) in ingress.iter().enumerate() {
        let is_world = Cidr::parse(&entry.source).is_some_and(Cidr::is_world);
        if !entry.allows || !is_world || trusted.iter().any(|range| contains(range, &entry.source))
        {
            continue;
        }
        let is_denied = |port: i32| {
            let before = ingress.iter().take(index).any(|earlier| {
                !earlier.allows && earlier.is_about(port) && earlier.covers(&entry.source)
            });
            // What is put before an entry that stays holds for those behind it, too.
            before
                || found.iter().any(|earlier| {
                    !earlier.entry.is_one_port()
                        && earlier.ports.contains(&port)
                        && earlier.entry.covers(&entry.source)
                })
        };
        let ports: Vec<i32> = PORTS
            .into_iter()
            .filter(|port| entry.is_about(*port) && !is_denied(*port))
            .filter(|port| {
                !(is_default && is_open_as_aws_makes_it(ingress, entry.is_ipv6(), *port))
            })
            .collect();
        if !ports.is_empty() {
            found.push(Offence { entry, ports });
        }
    }
    found
}

/// Whether the port is open by what AWS put into the default network ACL. Then nothing else in it makes a difference.
fn is_open_as_aws_makes_it(ingress: &[Entry], is_ipv6: bool, port: i32) -> bool {
    let made =
        ingress.iter().find(|entry| entry.is_as_aws_makes_it() && entry.is_ipv6() == is_ipv6);
    made.is_some_and(|made| {
        let before = ingress.iter().take_while(|entry| entry.number < made.number);
        !before
            .into_iter()
            .any(|entry| !entry.allows && entry.is_about(port) && entry.covers(&made.source))
    })
}

/// What goes before an entry that has to stay: the same for those who are not the world, and then nothing for the rest
/// on these ports. `taken`: numbers that are not free. `None`: there are not enough free ones.
pub(super) fn before(
    offence: &Offence,
    ingress: &[Entry],
    trusted: &[String],
    taken: &[i32],
) -> Option<Vec<Entry>> {
    let Offence { entry, ports } = offence;
    let mut inside: Vec<&str> = Vec::new();
    for range in PRIVATE.into_iter().chain(trusted.iter().map(String::as_str)) {
        if entry.covers(range) && !inside.iter().any(|there| contains(there, range)) {
            inside.push(range);
        }
    }
    // Between the entry and the one before it that is about the same version of IP: what is about the other is never
    // looked at for the same packet.
    let alike = ingress.iter().filter(|other| other.is_ipv6() == entry.is_ipv6());
    let last = alike.map(|other| other.number).filter(|number| *number < entry.number).max();
    let is_free = |number: &i32| {
        !taken.contains(number) && !ingress.iter().any(|other| other.number == *number)
    };
    let count = inside.len() + ports.len();
    let free = (last.unwrap_or(0) + 1..entry.number).rev().filter(is_free);
    let mut numbers: Vec<i32> = free.take(count).collect();
    if numbers.len() < count {
        return None;
    }
    numbers.reverse();
    let (allowing, denying) = numbers.split_at(inside.len());
    let allowing =
        allowing.iter().zip(&inside).map(|(number, range)| entry.narrowed(*number, range));
    let denying = denying.iter().zip(ports).map(|(number, port)| entry.denying(*number, *port));
    Some(allowing.chain(denying).collect())
}

fn contains(one: &str, other: &str) -> bool {
    let ranges = Cidr::parse(one).zip(Cidr::parse(other));
    ranges.is_some_and(|(one, other)| one.contains(other))
}
