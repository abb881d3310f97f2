//! Revokes ingress rules that open sensitive ports to the world.
//!
//! ## What it fixes
//! Each ingress rule of a security group that lets everyone on the internet reach a sensitive port, or everything: SSH,
//! RDP, databases, admin ports, a range of ports that holds one of them, or all traffic. "Everyone" is judged by the
//! length of the prefix, not by the text: IPv4 ranges shorter than /8 and IPv6 ranges shorter than /16, so that
//! `0.0.0.0/1` and `128.0.0.0/1` count as `0.0.0.0/0` does. The list of sensitive ports is the setting
//! `QUELL_SENSITIVE_PORTS` of the function, such as `22,3389,5432-5439`; without it the default applies. A list that
//! cannot be read is an error, and then nothing is judged or changed.
//!
//! Rules are revoked by their ids, all in one call. Rules for other ranges, other security groups and prefix lists
//! stay, also where they stand in the same permission; so do rules for ICMP, and for ports that are not sensitive.
//!
//! ## Why it matters
//! Addresses on the internet are scanned all the time. An open admin port meets its first attempt to log in within
//! minutes, and an open database is often copied and erased within a day.
//!
//! ## What can break
//! Whoever used the open port from outside no longer gets through: people who administer the machine, a bastion host,
//! a VPN, partners. Connections that are established may go on until they end. Let such users in again by a rule for
//! their own addresses. A tool that manages the rules, such as Terraform or CloudFormation, reports a drift and may
//! open the port again: correct it there too.
//!
//! Rules that refer to a prefix list are not judged by the list's content. Many ranges of /8 and longer, which together
//! hold much of the internet, are not added up.
//!
//! ## Undo
//! Makes each revoked rule again, with its range, ports, protocol, description and tags. The rules get new ids, so a
//! tool that knows rules by their ids sees new ones.

use std::collections::BTreeMap;

use aws_sdk_ec2::{Client, types::SecurityGroup as Described};
use quell_engine::{
    CallError, CallErrorKind, Clients, Control, Description, Discovered, During, Effect, Listen,
    Meta, Plan, Progress, Safety, Severity, Signal, Trigger, control::TargetError,
};
use serde::{Deserialize, Serialize};

pub use super::{
    group::SecurityGroup,
    rule::{Rule, Source},
};
use super::{
    ports::{Ports, PortsError},
    rules::{self, Direction, GROUPS, RULES, Rules, SERVICE, TAG},
};
use crate::ec2::instance;

pub struct OpenIngress {
    ec2: Client,
    sensitive: Result<Ports, PortsError>,
}

/// The ingress rules of a security group.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Ingress {
    /// The group's id, also where it was asked for by name.
    pub group: String,
    pub name: String,
    pub vpc: Option<String>,
    /// In a fixed order.
    pub rules: Vec<Rule>,
    /// The record for which the group was made, if its name is that of a quarantine's untracking group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untracking: Option<String>,
}

/// One call that changes ingress rules.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// All at once, IPv4 and IPv6 together.
    Revoke { group: String, rules: Vec<Rule> },
    /// One by one: each has tags of its own, and AWS refuses a whole call for one rule that is there already.
    Restore { group: String, rule: Rule },
}

impl Control for OpenIngress {
    const META: Meta = Meta {
        id: "sg-open-ingress",
        title: "Security groups open no sensitive port to the world",
        risk: "The security group lets everyone on the internet reach ports for administration or databases, where \
               attackers try to log in within minutes.",
        severity: Severity::High,
        safety: Safety::NeedsApproval,
        reversible: true,
        satisfies: &[
            "securityhub/EC2.13",
            "securityhub/EC2.14",
            "securityhub/EC2.19",
            "securityhub/EC2.53",
            "securityhub/EC2.54",
            "cis-aws-1.2.0/4.1",
            "cis-aws-1.2.0/4.2",
            "cis-aws-3.0.0/5.2",
            "cis-aws-3.0.0/5.3",
        ],
        function: "network-exposure",
        listens: &[
            Listen::ApiCall {
                source: "aws.ec2",
                service: SERVICE,
                calls: &["AuthorizeSecurityGroupIngress", "ModifySecurityGroupRules"],
            },
            Listen::Config {
                rules: &[
                    "restricted-ssh",
                    "restricted-common-ports",
                    "vpc-sg-open-only-to-authorized-ports",
                    "vpc-sg-port-restriction-check",
                ],
                resource_type: "AWS::EC2::SecurityGroup",
            },
            Listen::SecurityHub {
                generators: &[
                    "/EC2.13",
                    "/EC2.14",
                    "/EC2.18",
                    "/EC2.19",
                    "/EC2.53",
                    "/EC2.54",
                    "/PCI.EC2.5",
                    "cis-aws-foundations-benchmark/v/1.2.0/rule/4.1",
                    "cis-aws-foundations-benchmark/v/1.2.0/rule/4.2",
                ],
                resource_type: "AwsEc2SecurityGroup",
            },
        ],
        discovers: &[GROUPS],
        reads: &[GROUPS, RULES],
        writes: &[REVOKE, AUTHORIZE, TAG],
        baseline: false,
        visible_within: 30,
        source: file!(),
    };
    type Target = SecurityGroup;
    type State = Ingress;
    type Change = Change;

    fn connect(aws: &Clients) -> Self {
        let sensitive = match std::env::var(SETTING) {
            Ok(text) => Ports::parse(&text),
            Err(std::env::VarError::NotPresent) => Ok(Ports::default()),
            Err(std::env::VarError::NotUnicode(_)) => Err(PortsError::NotText),
        };
        Self { ec2: instance::client(aws), sensitive }
    }

    fn settings() -> String {
        std::env::var(SETTING).unwrap_or_default()
    }

    fn targets(signal: &Signal) -> Result<Vec<SecurityGroup>, TargetError> {
        let control = Self::META.id;
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        let target = match &signal.trigger {
            Trigger::ApiCall { parameters, response, resources, .. } => {
                SecurityGroup::called(control, parameters, response, resources)
            }
            Trigger::ConfigCompliance { resource, .. } => {
                SecurityGroup::by_id(control, "detail.resourceId", resource)
            }
            Trigger::SecurityHub { resource, .. } => {
                SecurityGroup::by_id(control, "Resources[].Id", resource)
            }
            Trigger::Manual { resource, .. } => {
                SecurityGroup::by_either(control, "detail.resource", resource)
            }
            _ => return Ok(Vec::new()),
        };
        target.map(|target| vec![target])
    }

    async fn discover(&self, page: Option<&str>) -> Result<Discovered<SecurityGroup>, CallError> {
        let found = self
            .ec2
            .describe_security_groups()
            .max_results(200)
            .set_next_token(page.map(str::to_owned))
            .send()
            .await
            .during(GROUPS)?;
        let ids = found.security_groups.unwrap_or_default().into_iter();
        let targets = ids.filter_map(|group| group.group_id.map(SecurityGroup::Id)).collect();
        Ok(Discovered { targets, next: found.next_token })
    }

    async fn assess(&self, target: &SecurityGroup) -> Result<Option<Ingress>, CallError> {
        let (group, rules) = match target {
            SecurityGroup::Id(id) => {
                let (group, rules) =
                    tokio::join!(rules::group(&self.ec2, target), self.ingress(id));
                (group?, rules?)
            }
            SecurityGroup::Name(_) => {
                let group = rules::group(&self.ec2, target).await?;
                let rules = match group.as_ref().and_then(Described::group_id) {
                    Some(id) => self.ingress(id).await?,
                    None => None,
                };
                (group, rules)
            }
        };
        let (Some(group), Some(rules)) = (group, rules) else { return Ok(None) };
        let (Some(id), Some(name)) = (group.group_id, group.group_name) else {
            return Err(CallError::new(GROUPS, CallErrorKind::Refused, "a group without a name"));
        };
        let untracking = untracking(&name);
        Ok(Some(Ingress { group: id, name, vpc: group.vpc_id, rules, untracking }))
    }

    /// A group never changes its name or VPC.
    async fn assess_again(
        &self,
        _: &SecurityGroup,
        known: &Ingress,
    ) -> Result<Option<Ingress>, CallError> {
        let rules = self.ingress(&known.group).await?;
        Ok(rules.map(|rules| Ingress { rules, ..known.clone() }))
    }

    async fn tags(&self, target: &SecurityGroup) -> Result<BTreeMap<String, String>, CallError> {
        let group = rules::group(&self.ec2, target).await?;
        let tags = group.and_then(|group| group.tags).unwrap_or_default().into_iter();
        Ok(tags.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default()))).collect())
    }

    fn plan(state: &Ingress) -> Plan<Change> {
        let rules: Vec<Rule> = state.rules.iter().filter(|rule| rule.open).cloned().collect();
        if rules.is_empty() {
            Plan::nothing()
        } else {
            Plan::one(Change::Revoke { group: state.group.clone(), rules })
        }
    }

    async fn apply(
        &self,
        _target: &SecurityGroup,
        change: &Change,
        _progress: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        match change {
            Change::Revoke { group, rules } => {
                self.rules()?.revoke(group, Direction::Ingress, rules).await.map(|()| None)
            }
            Change::Restore { group, rule } => {
                self.rules()?.restore(group, Direction::Ingress, rule).await
            }
        }
    }

    fn revert(before: &Ingress, after: &Ingress) -> Plan<Change> {
        let mut there: BTreeMap<_, Vec<&Rule>> = BTreeMap::new();
        for rule in &after.rules {
            there.entry(rule.order()).or_default().push(rule);
        }
        let is_missing = |rule: &&Rule| {
            !there.get(&rule.order()).is_some_and(|there| there.iter().any(|one| one.is_like(rule)))
        };
        let revoked = before.rules.iter().filter(|rule| rule.open).filter(is_missing);
        revoked
            .map(|rule| Change::Restore { group: before.group.clone(), rule: rule.clone() })
            .collect()
    }

    fn describe(_state: &Ingress, change: &Change) -> Description {
        match change {
            Change::Revoke { rules, .. } => Description {
                action: REVOKE.to_owned(),
                effect: Effect::Set,
                minus: rules.iter().map(|rule| format!("{rule} [{}]", rule.id)).collect(),
                plus: Vec::new(),
            },
            Change::Restore { rule, .. } => Description {
                action: AUTHORIZE.to_owned(),
                effect: Effect::Unique,
                minus: Vec::new(),
                plus: vec![rule.to_string()],
            },
        }
    }

    fn console(target: &SecurityGroup, region: &str) -> String {
        target.console(region)
    }

    fn arn(target: &SecurityGroup, account: &str, region: &str) -> String {
        target.arn(account, region)
    }

    fn notes(state: &Ingress) -> Vec<String> {
        let vpc = state.vpc.as_deref().unwrap_or("no VPC");
        let staying = state.rules.iter().filter(|rule| !rule.open).count();
        vec![
            format!("Group {} ({}) in {vpc}", state.name, state.group),
            format!("Other ingress rules, which stay: {staying}"),
        ]
    }

    fn same(one: &Ingress, other: &Ingress) -> bool {
        let is_same_group =
            one.group == other.group && one.name == other.name && one.vpc == other.vpc;
        is_same_group
            && one.rules.len() == other.rules.len()
            && one.rules.iter().zip(&other.rules).all(|(one, other)| one.is_like(other))
    }

    fn spared_by(state: &Ingress) -> Option<String> {
        state.untracking.clone()
    }
}

const REVOKE: &str = Direction::Ingress.revoke();
const AUTHORIZE: &str = Direction::Ingress.authorize();

/// The environment variable with the list of sensitive ports.
const SETTING: &str = "QUELL_SENSITIVE_PORTS";

/// How a quarantine names the group through which it makes connections untracked, before the id of its record.
const UNTRACKING: &str = "quell-untrack-";

impl OpenIngress {
    fn rules(&self) -> Result<Rules<'_>, CallError> {
        let sensitive = self.sensitive.as_ref().map_err(|error| {
            CallError::new(SETTING, CallErrorKind::Misconfigured, error.to_string())
        })?;
        Ok(Rules { ec2: &self.ec2, sensitive })
    }

    async fn ingress(&self, group: &str) -> Result<Option<Vec<Rule>>, CallError> {
        self.rules()?.of(group, Direction::Ingress).await
    }
}

/// The id of the record that an untracking group belongs to, by the group's name.
fn untracking(name: &str) -> Option<String> {
    let record = name.strip_prefix(UNTRACKING)?;
    let is_hex = record.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    (is_hex && record.len() == 20).then(|| record.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use aws_sdk_ec2::types::SecurityGroupRule;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const ID: &str = "sg-0a1b2c3d4e5f60718";

    fn signal(trigger: Trigger) -> Signal {
        Signal {
            trigger,
            account: "123456789012".to_owned(),
            region: "eu-west-1".to_owned(),
            event_id: "event".to_owned(),
            deduplication: "event".to_owned(),
            time: None,
            actor: None,
            request_id: None,
            finding: None,
        }
    }

    fn call(name: &str, parameters: Value, response: Value) -> Signal {
        signal(Trigger::ApiCall {
            service: SERVICE.to_owned(),
            name: name.to_owned(),
            parameters,
            response,
            resources: Vec::new(),
        })
    }

    fn authorize(parameters: Value, response: Value) -> Signal {
        call("AuthorizeSecurityGroupIngress", parameters, response)
    }

    fn id(text: &str) -> SecurityGroup {
        SecurityGroup::Id(text.to_owned())
    }

    /// A rule as AWS tells it, judged by a list of ports.
    fn judged(protocol: &str, from: i32, to: i32, cidr: &str, ports: &str) -> Rule {
        let rule = SecurityGroupRule::builder()
            .security_group_rule_id("sgr-0a1b2c3d4e5f60718")
            .ip_protocol(protocol)
            .from_port(from)
            .to_port(to);
        let rule =
            if cidr.contains(':') { rule.cidr_ipv6(cidr) } else { rule.cidr_ipv4(cidr) }.build();
        Rule::read(rule, &Ports::parse(ports).unwrap()).unwrap()
    }

    fn is_open(protocol: &str, from: i32, to: i32, cidr: &str) -> bool {
        judged(protocol, from, to, cidr, "").open
    }

    fn ingress(rules: Vec<Rule>) -> Ingress {
        Ingress {
            group: ID.to_owned(),
            name: "web".to_owned(),
            vpc: Some("vpc-0a1b2c3d4e5f60718".to_owned()),
            rules,
            untracking: None,
        }
    }

    #[test]
    fn names_the_group_in_the_old_and_the_new_form() {
        let old = json!({"groupId": ID, "cidrIp": "0.0.0.0/0", "fromPort": 22, "toPort": 22, "ipProtocol": "tcp", "ipPermissions": {}});
        let new = json!({"groupId": ID, "ipPermissions": {"items": [
            {"ipProtocol": "tcp", "fromPort": 22, "toPort": 22, "ipRanges": {"items": [{"cidrIp": "0.0.0.0/0"}]}}]}});
        for parameters in [old, new] {
            assert_eq!(OpenIngress::targets(&authorize(parameters, json!(null))), Ok(vec![id(ID)]));
        }
        let modify = json!({"ModifySecurityGroupRulesRequest": {"GroupId": ID, "SecurityGroupRule": {"tag": 1}}});
        let modify = call("ModifySecurityGroupRules", modify, json!({"_return": true}));
        assert_eq!(OpenIngress::targets(&modify), Ok(vec![id(ID)]));
    }

    #[test]
    fn names_the_group_by_name_only_where_no_id_is_told() {
        let parameters = json!({"groupName": "launch-wizard-1", "ipPermissions": {}});
        let name = SecurityGroup::Name("launch-wizard-1".to_owned());
        let found = OpenIngress::targets(&authorize(parameters.clone(), json!({"_return": true})));
        assert_eq!(found, Ok(vec![name]));
        let response = json!({"securityGroupRuleSet": {"items": [{"groupId": ID}]}});
        assert_eq!(OpenIngress::targets(&authorize(parameters, response)), Ok(vec![id(ID)]));
    }

    #[test]
    fn what_is_left_out_of_the_event_is_taken_from_its_resources() {
        let mut signal =
            authorize(json!({"omitted": "true", "originalSize": "149893"}), json!(null));
        assert!(OpenIngress::targets(&signal).is_err());
        if let Trigger::ApiCall { resources, .. } = &mut signal.trigger {
            resources.push(format!("arn:aws:ec2:eu-west-1:123456789012:security-group/{ID}"));
        }
        assert_eq!(OpenIngress::targets(&signal), Ok(vec![id(ID)]));
    }

    #[test]
    fn refuses_what_is_no_group() {
        for parameters in [
            json!(null),
            json!({}),
            json!({"groupId": "sg-1"}),
            json!({"groupId": "sg-0a1b2c3d&Action=DeleteSecurityGroup"}),
            json!({"groupName": "sg-web"}),
            json!({"groupName": "a\nb"}),
        ] {
            let found = OpenIngress::targets(&authorize(parameters.clone(), json!(null)));
            assert!(found.is_err(), "{parameters}");
        }
    }

    #[test]
    fn names_the_group_of_other_signals() {
        let config = |rule: &str| {
            signal(Trigger::ConfigCompliance {
                rule: rule.to_owned(),
                resource_type: "AWS::EC2::SecurityGroup".to_owned(),
                resource: ID.to_owned(),
            })
        };
        let hub = |generator: &str| {
            signal(Trigger::SecurityHub {
                generator: generator.to_owned(),
                resource_type: "AwsEc2SecurityGroup".to_owned(),
                resource: format!("arn:aws:ec2:eu-west-1:123456789012:security-group/{ID}"),
                action: None,
            })
        };
        let cis = "arn:aws:securityhub:::ruleset/cis-aws-foundations-benchmark/v/1.2.0/rule";
        for signal in [
            config("securityhub-restricted-ssh-0a1b2c3d"),
            config("restricted-common-ports"),
            config("vpc-sg-open-only-to-authorized-ports"),
            hub("security-control/EC2.13"),
            hub("aws-foundational-security-best-practices/v/1.0.0/EC2.19"),
            hub(&format!("{cis}/4.1")),
            hub(&format!("{cis}/4.2")),
            signal(Trigger::Manual { control: "sg-open-ingress".into(), resource: ID.into() }),
        ] {
            assert_eq!(OpenIngress::targets(&signal), Ok(vec![id(ID)]), "{:?}", signal.trigger);
        }
        for signal in [
            config("vpc-default-security-group-closed"),
            hub("security-control/EC2.2"),
            hub(&format!("{cis}/4.3")),
            signal(Trigger::Manual { control: "ec2-imdsv2".into(), resource: ID.into() }),
            call("RevokeSecurityGroupIngress", json!({"groupId": ID}), json!(null)),
        ] {
            assert_eq!(OpenIngress::targets(&signal), Ok(vec![]), "{:?}", signal.trigger);
        }
    }

    #[test]
    fn a_person_may_name_a_group_as_it_is_shown() {
        for target in [id(ID), SecurityGroup::Name("web (blue)".to_owned())] {
            let signal = signal(Trigger::Manual {
                control: "sg-open-ingress".to_owned(),
                resource: target.to_string(),
            });
            assert_eq!(OpenIngress::targets(&signal), Ok(vec![target]));
        }
    }

    #[test]
    fn judges_rules() {
        for (protocol, from, to, cidr) in [
            ("tcp", 22, 22, "0.0.0.0/0"),
            ("tcp", 22, 22, "::/0"),
            ("tcp", 3389, 3389, "203.0.113.9/0"),
            ("tcp", 22, 22, "0.0.0.0/1"),
            ("tcp", 22, 22, "128.0.0.0/1"),
            ("tcp", 0, 65535, "0.0.0.0/0"),
            ("udp", 0, 65535, "2000::/3"),
            ("tcp", 20, 443, "0.0.0.0/0"),
            ("udp", 11211, 11211, "0.0.0.0/0"),
            ("6", 22, 22, "0.0.0.0/0"),
            ("tcp", -1, -1, "0.0.0.0/0"),
            ("-1", -1, -1, "0.0.0.0/0"),
            ("-1", -1, -1, "::/0"),
        ] {
            assert!(is_open(protocol, from, to, cidr), "{protocol} {from}-{to} {cidr}");
        }
        for (protocol, from, to, cidr) in [
            ("tcp", 443, 443, "0.0.0.0/0"),
            ("tcp", 80, 80, "::/0"),
            ("tcp", 22, 22, "203.0.113.0/24"),
            ("tcp", 22, 22, "10.0.0.0/8"),
            ("tcp", 22, 22, "2001:db8::/32"),
            ("-1", -1, -1, "10.0.0.0/8"),
            ("icmp", -1, -1, "0.0.0.0/0"),
            ("icmp", 8, -1, "0.0.0.0/0"),
            ("icmpv6", -1, -1, "::/0"),
            ("50", -1, -1, "0.0.0.0/0"),
        ] {
            assert!(!is_open(protocol, from, to, cidr), "{protocol} {from}-{to} {cidr}");
        }
    }

    #[test]
    fn the_list_of_ports_decides() {
        assert!(judged("tcp", 443, 443, "0.0.0.0/0", "443").open);
        assert!(!judged("tcp", 22, 22, "0.0.0.0/0", "443").open);
        assert!(judged("-1", -1, -1, "0.0.0.0/0", "443").open, "everything holds every port");
    }

    #[test]
    fn groups_and_prefix_lists_stay() {
        let rule =
            || SecurityGroupRule::builder().security_group_rule_id("sgr-1").ip_protocol("-1");
        let group = aws_sdk_ec2::types::ReferencedSecurityGroup::builder().group_id(ID).build();
        for rule in [rule().referenced_group_info(group), rule().prefix_list_id("pl-0a1b2c3d")] {
            assert!(!Rule::read(rule.build(), &Ports::default()).unwrap().open);
        }
        assert_eq!(Rule::read(rule().build(), &Ports::default()), None, "no source");
        let odd = rule().cidr_ipv4("everywhere").build();
        assert_eq!(Rule::read(odd, &Ports::default()), None, "no range");
    }

    #[test]
    fn knows_untracking_groups_by_their_name_alone() {
        let record = "0123456789abcdef0123";
        assert_eq!(untracking(&format!("quell-untrack-{record}")), Some(record.to_owned()));
        for other in [
            "quell-untrack-",
            "quell-untrack-0123456789ABCDEF0123",
            "quell-untrack-0123456789abcdef01234",
            "my-quell-untrack-0123456789abcdef0123",
            "web",
        ] {
            assert_eq!(untracking(other), None, "{other}");
        }
    }

    #[test]
    fn shows_rules_as_people_write_them() {
        let mut rule = judged("tcp", 22, 22, "0.0.0.0/0", "");
        rule.description = Some("office".to_owned());
        assert_eq!(rule.to_string(), "tcp 22 from 0.0.0.0/0 (office)");
        assert_eq!(judged("udp", 0, 65535, "::/0", "").to_string(), "udp 0-65535 from ::/0");
        assert_eq!(judged("-1", -1, -1, "::/0", "").to_string(), "all traffic from ::/0");
        assert_eq!(judged("icmp", -1, -1, "::/0", "").to_string(), "icmp, all from ::/0");

        let state = ingress(vec![rule]);
        let plan = OpenIngress::plan(&state);
        let description = OpenIngress::describe(&state, &plan.changes[0]);
        assert_eq!(description.minus, ["tcp 22 from 0.0.0.0/0 (office) [sgr-0a1b2c3d4e5f60718]"]);
    }

    #[test]
    fn points_at_the_group() {
        let name = SecurityGroup::Name("a&b c".to_owned());
        assert_eq!(
            OpenIngress::console(&id(ID), "eu-west-1"),
            format!(
                "https://eu-west-1.console.aws.amazon.com/ec2/home?region=eu-west-1#SecurityGroup:groupId={ID}"
            )
        );
        assert!(OpenIngress::console(&name, "eu-west-1").ends_with("group-name=a%26b%20c"));
        assert_eq!(
            OpenIngress::arn(&id(ID), "123456789012", "cn-north-1"),
            format!("arn:aws-cn:ec2:cn-north-1:123456789012:security-group/{ID}")
        );
    }

    fn any_rule() -> impl Strategy<Value = Rule> {
        let cidr = prop_oneof![
            Just("0.0.0.0/0"),
            Just("0.0.0.0/1"),
            Just("128.0.0.0/1"),
            Just("203.0.113.0/24"),
            Just("10.0.0.0/8"),
            Just("::/0"),
            Just("2001:db8::/32"),
        ];
        let permission = prop_oneof![
            Just(("-1", -1, -1)),
            Just(("icmp", -1, -1)),
            (prop_oneof![Just("tcp"), Just("udp")], 0..=65535, 0..=65535)
                .prop_map(|(protocol, a, b): (_, i32, i32)| (protocol, a.min(b), a.max(b))),
            Just(("tcp", 22, 22)),
            Just(("tcp", 443, 443)),
        ];
        let tags = prop::collection::btree_map("[a-z]{1,5}", "[a-z]{0,5}", 0..3);
        (cidr, permission, prop::option::of("[a-z ]{1,9}"), tags).prop_map(
            |(cidr, (protocol, from, to), description, tags)| Rule {
                description,
                tags,
                ..judged(protocol, from, to, cidr, "")
            },
        )
    }

    /// A group as AWS allows it: no two rules that permit the same.
    fn any_ingress() -> impl Strategy<Value = Ingress> {
        prop::collection::vec(any_rule(), 0..12).prop_map(|rules| {
            let mut unique: Vec<Rule> = Vec::new();
            for rule in rules {
                if !unique.iter().any(|there| there.permits_as(&rule)) {
                    unique.push(Rule { id: format!("sgr-{}", unique.len()), ..rule });
                }
            }
            sorted(ingress(unique))
        })
    }

    fn sorted(mut state: Ingress) -> Ingress {
        state.rules.sort_by(|one, other| one.order().cmp(&other.order()));
        state
    }

    /// What the calls do to a group.
    fn changed(state: &Ingress, plan: &Plan<Change>) -> Ingress {
        let mut state = state.clone();
        for change in &plan.changes {
            match change {
                Change::Revoke { rules, .. } => {
                    state.rules.retain(|rule| !rules.iter().any(|gone| gone.id == rule.id));
                }
                Change::Restore { rule, .. } => {
                    state.rules.push(Rule { id: format!("{}-anew", rule.id), ..rule.clone() });
                }
            }
        }
        sorted(state)
    }

    proptest! {
        #[test]
        fn the_plan_closes_and_touches_nothing_else(before in any_ingress()) {
            let after = changed(&before, &OpenIngress::plan(&before));
            prop_assert!(OpenIngress::plan(&after).is_empty());
            let staying: Vec<Rule> = before.rules.into_iter().filter(|rule| !rule.open).collect();
            prop_assert_eq!(after.rules, staying);
        }

        #[test]
        fn undo_brings_back_what_was_there(before in any_ingress()) {
            let after = changed(&before, &OpenIngress::plan(&before));
            let undo = OpenIngress::revert(&before, &after);
            prop_assert_eq!(undo.is_empty(), OpenIngress::plan(&before).is_empty());
            let undone = changed(&after, &undo);
            prop_assert!(OpenIngress::same(&undone, &before));
            prop_assert!(OpenIngress::revert(&before, &undone).is_empty());
        }

        #[test]
        fn states_differ_in_more_than_ids_and_marks(before in any_ingress(), other in any_rule()) {
            let mut anew = before.clone();
            for rule in &mut anew.rules {
                rule.id.push('x');
                rule.open = !rule.open;
            }
            prop_assert!(OpenIngress::same(&before, &anew));
            anew.rules.push(other);
            prop_assert!(!OpenIngress::same(&before, &anew));
        }

        #[test]
        fn a_state_survives_the_ledger(state in any_ingress()) {
            let text = serde_json::to_string(&state).unwrap();
            prop_assert_eq!(serde_json::from_str::<Ingress>(&text).unwrap(), state);
        }

        #[test]
        fn no_event_makes_it_panic(group in "\\PC{0,20}", key in "groupId|groupName|GroupId|ipPermissions") {
            let parameters = json!({key: group});
            if let Ok(targets) = OpenIngress::targets(&authorize(parameters, json!({"securityGroupRuleSet": group}))) {
                prop_assert_eq!(targets.len(), 1);
            }
        }
    }

    #[test]
    fn tags_of_a_rule_are_made_with_it() {
        let mut rule = judged("tcp", 22, 22, "0.0.0.0/0", "");
        assert_eq!(rule.tag_specification(), None);
        rule.tags = BTreeMap::from([("team".to_owned(), "web".to_owned())]);
        let specification = rule.tag_specification().unwrap();
        assert_eq!(specification.tags()[0].key(), Some("team"));
        let permission = rule.permission();
        assert_eq!(permission.ip_ranges()[0].cidr_ip(), Some("0.0.0.0/0"));
        assert_eq!((permission.from_port(), permission.to_port()), (Some(22), Some(22)));
    }
}
