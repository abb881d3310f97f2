//! One rule of a security group.

use std::{collections::BTreeMap, fmt};

use aws_sdk_ec2::types::{
    IpPermission, IpRange, Ipv6Range, PrefixListId, ResourceType, SecurityGroupRule, Tag,
    TagSpecification, UserIdGroupPair,
};
use serde::{Deserialize, Serialize};

use super::ports::Ports;
use crate::cidr::Cidr;

/// A rule for ingress or for egress, with everything that is needed to make it again.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Rule {
    /// Given anew by AWS whenever the rule is made.
    pub id: String,
    /// `tcp`, `udp`, `icmp`, `icmpv6`, a number, or `-1` for all.
    pub protocol: String,
    /// First port, or the ICMP type. AWS says -1 where there is none.
    pub from: Option<i32>,
    /// Last port, or the ICMP code.
    pub to: Option<i32>,
    /// Of egress, where it lets to.
    pub source: Source,
    /// The account of the group that is the source, if it is another than that of the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Opens a sensitive port or everything to the world, by the list of ports that was in effect when it was read.
    #[serde(default)]
    pub open: bool,
}

/// From where the rule lets in, or to where it lets out.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    Ipv4(String),
    Ipv6(String),
    PrefixList(String),
    Group(String),
}

impl Rule {
    /// `None`: the rule has no id, no protocol or no source that is known, so nothing can be said about it.
    pub(super) fn read(rule: SecurityGroupRule, sensitive: &Ports) -> Option<Self> {
        let owner = rule.group_owner_id;
        let peer = rule.referenced_group_info.as_ref().and_then(|group| group.user_id.clone());
        let source = rule
            .cidr_ipv4
            .map(Source::Ipv4)
            .or(rule.cidr_ipv6.map(Source::Ipv6))
            .or(rule.prefix_list_id.map(Source::PrefixList))
            .or(rule.referenced_group_info.and_then(|group| group.group_id).map(Source::Group))?;
        let is_world = match &source {
            Source::Ipv4(cidr) | Source::Ipv6(cidr) => Cidr::parse(cidr)?.is_world(),
            Source::PrefixList(_) | Source::Group(_) => false,
        };
        // Tags that AWS itself sets cannot be set by anyone else.
        let tags = rule.tags.unwrap_or_default().into_iter();
        let tags = tags.filter_map(|tag| tag.key.zip(tag.value));
        let mut rule = Self {
            id: rule.security_group_rule_id?,
            protocol: rule.ip_protocol?,
            from: rule.from_port,
            to: rule.to_port,
            source,
            peer: peer.filter(|peer| owner.as_ref() != Some(peer)),
            description: rule.description.filter(|text| !text.is_empty()),
            tags: tags.filter(|(key, _)| !key.starts_with("aws:")).collect(),
            open: false,
        };
        rule.open = is_world && rule.is_sensitive(sensitive);
        Some(rule)
    }

    /// Whether the rule lets through what nobody in the world should reach. ICMP is left alone, and so are protocols
    /// without ports.
    fn is_sensitive(&self, sensitive: &Ports) -> bool {
        match self.protocol.as_str() {
            "-1" => true,
            "tcp" | "udp" | "6" | "17" => match (self.from, self.to) {
                (Some(from), Some(to)) if from >= 0 && to >= 0 => sensitive.touch(from, to),
                _ => true,
            },
            _ => false,
        }
    }

    /// Whether both let in the same from the same place. AWS allows only one such rule in a group.
    pub(super) fn permits_as(&self, other: &Self) -> bool {
        self.protocol == other.protocol
            && self.ports() == other.ports()
            && self.source == other.source
    }

    /// Whether both are the same to a person: the id and our own mark do not count.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.permits_as(other) && self.description == other.description && self.tags == other.tags
    }

    /// A fixed order, whatever order AWS answers in.
    pub(super) fn order(&self) -> (&str, i32, i32, u8, &str) {
        let (kind, source) = match &self.source {
            Source::Ipv4(cidr) => (0, cidr),
            Source::Ipv6(cidr) => (1, cidr),
            Source::PrefixList(id) => (2, id),
            Source::Group(id) => (3, id),
        };
        let (from, to) = self.ports();
        (&self.protocol, from, to, kind, source)
    }

    /// What makes the rule again.
    pub(super) fn permission(&self) -> IpPermission {
        let permission = IpPermission::builder().ip_protocol(&self.protocol);
        let description = self.description.clone();
        let permission = match &self.source {
            Source::Ipv4(cidr) => {
                let range = IpRange::builder().cidr_ip(cidr).set_description(description);
                permission.ip_ranges(range.build())
            }
            Source::Ipv6(cidr) => {
                let range = Ipv6Range::builder().cidr_ipv6(cidr).set_description(description);
                permission.ipv6_ranges(range.build())
            }
            Source::PrefixList(id) => {
                let list = PrefixListId::builder().prefix_list_id(id).set_description(description);
                permission.prefix_list_ids(list.build())
            }
            Source::Group(id) => {
                let group = UserIdGroupPair::builder().group_id(id).set_description(description);
                permission.user_id_group_pairs(group.set_user_id(self.peer.clone()).build())
            }
        };
        let permission = match self.protocol.as_str() {
            "-1" => permission,
            _ => permission.set_from_port(self.from).set_to_port(self.to),
        };
        permission.build()
    }

    /// The tags that the rule gets with it, if it had any.
    pub(super) fn tag_specification(&self) -> Option<TagSpecification> {
        if self.tags.is_empty() {
            return None;
        }
        let tags =
            self.tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build());
        let specification = TagSpecification::builder()
            .resource_type(ResourceType::SecurityGroupRule)
            .set_tags(Some(tags.collect()));
        Some(specification.build())
    }

    /// The rule as people know it where it is one for egress.
    pub(super) fn outwards(&self) -> String {
        Shown { rule: self, way: "to" }.to_string()
    }

    fn ports(&self) -> (i32, i32) {
        (self.from.unwrap_or(-1), self.to.unwrap_or(-1))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Shown { rule: self, way: "from" }.fmt(f)
    }
}

/// A rule, and the word before its source.
struct Shown<'a> {
    rule: &'a Rule,
    way: &'static str,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, way } = self;
        match (rule.protocol.as_str(), rule.ports()) {
            ("-1", _) => f.write_str("all traffic")?,
            (protocol, (from, to)) if from == to && from >= 0 => write!(f, "{protocol} {from}")?,
            (protocol, (-1, -1)) => write!(f, "{protocol}, all")?,
            (protocol, (from, to)) => write!(f, "{protocol} {from}-{to}")?,
        }
        let (Source::Ipv4(source)
        | Source::Ipv6(source)
        | Source::PrefixList(source)
        | Source::Group(source)) = &rule.source;
        write!(f, " {way} {source}")?;
        if let Some(description) = &rule.description {
            write!(f, " ({description})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::{option, prelude::*, sample::select};

    use super::*;

    /// A rule as AWS never wrote it.
    fn any_rule() -> impl Strategy<Value = SecurityGroupRule> {
        let protocol =
            select(vec!["tcp", "udp", "6", "17", "-1", "icmp", "icmpv6", "", "TCP", "💥"]);
        let range = prop_oneof![
            select(vec!["0.0.0.0/0", "::/0", "10.0.0.0/8", "0.0.0.0", "/", "::/129", "a/0", ""])
                .prop_map(str::to_owned),
            (any::<[u8; 4]>(), any::<u8>())
                .prop_map(|([a, b, c, d], prefix)| format!("{a}.{b}.{c}.{d}/{prefix}")),
            (any::<u16>(), any::<u8>()).prop_map(|(a, prefix)| format!("{a:x}::/{prefix}")),
        ];
        let ports = (option::of(any::<i32>()), option::of(-2..70_000));
        (option::of(protocol), option::of(range), any::<bool>(), ports, any::<Option<bool>>())
            .prop_map(|(protocol, range, is_ipv6, (from, to), has_id)| {
                let rule = SecurityGroupRule::builder()
                    .set_security_group_rule_id(has_id.map(|has| format!("sgr-{has}")))
                    .set_ip_protocol(protocol.map(str::to_owned))
                    .set_from_port(from)
                    .set_to_port(to);
                let rule = match is_ipv6 {
                    true => rule.set_cidr_ipv6(range),
                    false => rule.set_cidr_ipv4(range),
                };
                rule.tags(Tag::builder().key("aws:made").value("x").build()).build()
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100_000))]

        #[test]
        fn whatever_aws_answers_a_rule_is_read_in_full_or_not_at_all(rule in any_rule()) {
            let ports = Ports::default();
            if let Some(read) = Rule::read(rule, &ports) {
                prop_assert!(read.tags.is_empty(), "what AWS sets is not ours to set again");
                prop_assert!(read.permits_as(&read) && read.is_like(&read));
                prop_assert_eq!(read.permission().ip_protocol, Some(read.protocol.clone()));
                prop_assert!(!read.open || matches!(read.protocol.as_str(), "-1" | "tcp" | "udp" | "6" | "17"));
                prop_assert!(!read.to_string().is_empty());
                let stored = serde_json::to_string(&read).unwrap();
                prop_assert_eq!(serde_json::from_str::<Rule>(&stored).unwrap(), read);
            }
        }
    }
}
