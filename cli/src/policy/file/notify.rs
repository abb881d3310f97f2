//! Who hears of what, and how often: `[notify]` and `[[routes]]`.

use std::collections::{BTreeMap, BTreeSet};

use quell_engine::{
    Meta, Severity,
    policy::{Digest, MOST_TOPICS, Notify, Route},
};
use toml::de::DeTable;

use super::{Reader, Value, brief};

const MOST_ROUTES: usize = 100;

impl Reader<'_> {
    pub(super) fn notify(&mut self, value: &Value<'_>, notify: &mut Notify) {
        const KEYS: &[&str] = &["digest", "digest_up_to", "fold_minutes"];
        let Some(table) = self.table(value, "notify") else { return };
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "fold_minutes" => {
                    let minutes = self.number_from(value, "fold_minutes", 0, 60);
                    notify.fold_minutes = minutes.unwrap_or(notify.fold_minutes);
                }
                "digest" => {
                    let known = [
                        ("off", None),
                        ("hourly", Some(Digest::Hourly)),
                        ("daily", Some(Digest::Daily)),
                    ];
                    notify.digest = self.one_of(value, "digest", &known).unwrap_or(notify.digest);
                }
                "digest_up_to" => {
                    let known = [SEVERITIES[0], SEVERITIES[1], SEVERITIES[2]];
                    let severity = self.one_of(value, "digest_up_to", &known);
                    notify.digest_up_to = severity.unwrap_or(notify.digest_up_to);
                }
                _ => self.unknown_key(key, KEYS, " of notify"),
            }
        }
    }

    pub(super) fn routes(&mut self, value: &Value<'_>) -> Vec<Route> {
        let tables = self.tables(value, "routes", MOST_ROUTES).into_iter();
        let routes: Vec<_> = tables.map(|(at, table)| (at, self.route(at, table))).collect();
        self.lead_to_few_topics(&routes);
        routes.into_iter().map(|(_, route)| route).collect()
    }

    /// Looks for a message that would go to more topics than one message does: from each route on, with every later one
    /// that can be about the same.
    fn lead_to_few_topics(&mut self, routes: &[(usize, Route)]) {
        let every = Common { metas: self.known.to_vec(), accounts: None, tags: BTreeMap::new() };
        for (index, (at, route)) in routes.iter().enumerate() {
            let Some(mut common) = every.and(route) else { continue };
            let mut topics: BTreeSet<_> = route.topics.iter().collect();
            for (_, other) in &routes[index + 1..] {
                if let Some(both) = common.and(other) {
                    common = both;
                    topics.extend(&other.topics);
                }
            }
            if topics.len() > MOST_TOPICS {
                let count = topics.len();
                let control = common.metas.first().map_or("", |meta| meta.id);
                self.complain(
                    *at,
                    format!(
                        "from this route on, {count} topics may hear of one message (of {control}); at most {MOST_TOPICS} do"
                    ),
                );
                return;
            }
        }
    }

    fn route(&mut self, at: usize, table: &DeTable<'_>) -> Route {
        const KEYS: &[&str] = &["accounts", "controls", "severities", "slack", "tags", "topics"];
        let mut route = Route::default();
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "controls" => {
                    route.controls = self.texts(value, "controls", |reader, id, at| {
                        reader.control(id, at);
                    });
                }
                "accounts" => route.accounts = self.texts(value, "accounts", Self::account),
                "tags" => route.tags = self.tags(value),
                "severities" => {
                    let mut severities = Vec::new();
                    self.texts(value, "severities", |reader, name, at| {
                        severities.extend(reader.severity(name, at));
                    });
                    route.severities = severities;
                }
                "topics" => {
                    route.topics = self.texts(value, "topics", |reader, arn, at| {
                        if !is_topic(arn) {
                            let arn = brief(arn);
                            reader.complain(
                                at,
                                format!("`{arn}` is not the ARN of a topic, such as `arn:aws:sns:eu-west-1:111122223333:security`"),
                            );
                        }
                    });
                }
                "slack" => {
                    route.slack = self.texts(value, "slack", |reader, id, at| {
                        if !is_slack_channel(id) {
                            let id = brief(id);
                            reader.complain(
                                at,
                                format!("`{id}` is not the id of a channel such as `C012AB3CD` (in Slack: channel details, at the end)"),
                            );
                        }
                    });
                }
                _ => self.unknown_key(key, KEYS, " of a route"),
            }
        }
        if !table.keys().any(|key| ["topics", "slack"].contains(&key.get_ref().as_ref())) {
            self.complain(at, "this route leads nowhere; it needs `topics` or `slack`");
        }
        route
    }

    fn severity(&mut self, name: &str, at: usize) -> Option<Severity> {
        let known = SEVERITIES.iter().find(|(known, _)| *known == name);
        if known.is_none() {
            self.complain(
                at,
                format!(
                    "there is no severity `{}`; the severities are low, medium, high and critical",
                    brief(name)
                ),
            );
        }
        known.map(|(_, severity)| *severity)
    }

    fn one_of<T: Copy>(&mut self, value: &Value<'_>, what: &str, known: &[(&str, T)]) -> Option<T> {
        let name = self.text(value, what)?;
        let found = known.iter().find(|(known, _)| *known == name).map(|(_, meant)| *meant);
        if found.is_none() {
            let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
            self.complain(
                value.span().start,
                format!("`{what}` is one of {}, and not `{}`", names.join(", "), brief(name)),
            );
        }
        found
    }
}

/// What a message has to be about so that some routes all match.
struct Common<'a> {
    metas: Vec<&'static Meta>,
    /// `None`: any.
    accounts: Option<Vec<&'a str>>,
    tags: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Common<'a> {
    /// The same with one route more. `None`: nothing can be about all.
    fn and(&self, route: &'a Route) -> Option<Self> {
        fn both<'a>(known: Option<&Vec<&'a str>>, more: &'a [String]) -> Option<Vec<&'a str>> {
            let more = more.iter().map(String::as_str);
            let both: Vec<_> =
                more.filter(|one| known.is_none_or(|known| known.contains(one))).collect();
            (!both.is_empty()).then_some(both)
        }
        let metas = self.metas.iter().copied().filter(|meta| {
            (route.controls.is_empty() || route.controls.iter().any(|id| id == meta.id))
                && (route.severities.is_empty() || route.severities.contains(&meta.severity))
        });
        let metas: Vec<_> = metas.collect();
        let accounts = match route.accounts.as_slice() {
            [] => self.accounts.clone(),
            named => Some(both(self.accounts.as_ref(), named)?),
        };
        let mut tags = self.tags.clone();
        for (key, values) in &route.tags {
            tags.insert(key, both(tags.get(key.as_str()), values)?);
        }
        (!metas.is_empty()).then_some(Self { metas, accounts, tags })
    }
}

const SEVERITIES: [(&str, Severity); 4] = [
    ("low", Severity::Low),
    ("medium", Severity::Medium),
    ("high", Severity::High),
    ("critical", Severity::Critical),
];

fn is_topic(arn: &str) -> bool {
    let parts: Vec<&str> = arn.split(':').collect();
    let ["arn", partition, "sns", region, account, name] = parts.as_slice() else { return false };
    partition.starts_with("aws")
        && super::is_region(region)
        && account.len() == 12
        && account.bytes().all(|b| b.is_ascii_digit())
        && (1..=256).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

/// <https://docs.slack.dev/reference/objects/conversation-object>
fn is_slack_channel(text: &str) -> bool {
    text.starts_with(['C', 'G'])
        && (7..=20).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use quell_controls::REGISTRY;
    use quell_engine::policy::Policy;

    use super::*;
    use crate::policy::file::check;

    fn policy(source: &str) -> Result<Policy, Vec<String>> {
        let problems = |problems: Vec<super::super::Problem>| {
            problems.iter().map(|problem| problem.at("quell.toml").to_string()).collect()
        };
        check(source.as_bytes().to_vec(), REGISTRY).map(|file| file.policy).map_err(problems)
    }

    #[test]
    fn it_says_who_hears_of_what_and_how_often() {
        let policy = policy(
            r#"
[notify]
fold_minutes = 0
digest = "daily"
digest_up_to = "high"

[[routes]]
controls = ["s3-public-acl"]
severities = ["critical", "high"]
accounts = ["111122223333"]
tags = { team = "web" }
topics = ["arn:aws:sns:eu-west-1:111122223333:security"]
slack = ["C012AB3CD"]
"#,
        )
        .unwrap();
        assert_eq!(
            policy.notify,
            Notify { fold_minutes: 0, digest: Some(Digest::Daily), digest_up_to: Severity::High }
        );
        assert_eq!(
            policy.routes,
            [Route {
                controls: vec!["s3-public-acl".into()],
                severities: vec![Severity::Critical, Severity::High],
                accounts: vec!["111122223333".into()],
                tags: BTreeMap::from([("team".into(), vec!["web".into()])]),
                topics: vec!["arn:aws:sns:eu-west-1:111122223333:security".into()],
                slack: vec!["C012AB3CD".into()],
            }]
        );
    }

    #[test]
    fn one_message_goes_to_ten_topics_at_the_most() {
        let routes = |count: usize, of: &dyn Fn(usize) -> String| {
            let route = |i| {
                let topic = format!("arn:aws:sns:eu-west-1:111122223333:t{i}");
                format!("[[routes]]\ntopics = [\"{topic}\"]\n{}\n", of(i))
            };
            policy(&(0..count).map(route).collect::<String>())
        };
        let all = |_| String::new();
        routes(10, &all).unwrap();
        let [problem] = routes(11, &all).unwrap_err().try_into().unwrap();
        let said = "quell.toml:1: from this route on, 11 topics may hear of one message (of ";
        assert!(problem.starts_with(said) && problem.ends_with("); at most 10 do"), "{problem}");
        routes(100, &|i| format!("tags = {{ team = \"t{i}\" }}")).unwrap();
        routes(100, &|i| format!("accounts = [\"{:012}\"]", 100_000_000_000 + i)).unwrap();
        let each_other = |i| format!("severities = [\"{}\"]", ["low", "critical"][i % 2]);
        routes(20, &each_other).unwrap();
        let [problem] = routes(22, &each_other).unwrap_err().try_into().unwrap();
        assert!(problem.starts_with("quell.toml:"), "{problem}");
        let two_tags = |i| match i {
            0..50 => format!("tags = {{ team = \"t{i}\" }}"),
            _ => "tags = { env = \"prod\" }".to_owned(),
        };
        routes(59, &two_tags).unwrap();
        routes(60, &two_tags).unwrap_err();
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        for (source, problem) in [
            (
                "[notify]\nfold_minutes = 61",
                "2: `fold_minutes` has to be a number from 0 to 60, without quotes",
            ),
            (
                "[notify]\ndigest = \"weekly\"",
                "2: `digest` is one of off, hourly, daily, and not `weekly`",
            ),
            (
                "[notify]\ndigest_up_to = \"critical\"",
                "2: `digest_up_to` is one of low, medium, high, and not `critical`",
            ),
            (
                "[notify]\ndigests = \"off\"",
                "2: there is no key `digests` of notify; did you mean `digest`?",
            ),
            (
                "[[routes]]\ncontrols = [\"s3-public-acl\"]",
                "1: this route leads nowhere; it needs `topics` or `slack`",
            ),
            (
                "[[routes]]\nslack = [\"#security\"]",
                "2: `#security` is not the id of a channel such as `C012AB3CD` (in Slack: channel details, at the end)",
            ),
            (
                "[[routes]]\nslack = [\"C012AB3CD\"]\nseverities = [\"worst\"]",
                "3: there is no severity `worst`; the severities are low, medium, high and critical",
            ),
            (
                "[[routes]]\nslack = [\"C012AB3CD\"]\naccounts = [\"1\"]",
                "3: `1` is not an account; accounts have 12 digits",
            ),
            (
                "[[routes]]\ntopics = [\"security\"]",
                "2: `security` is not the ARN of a topic, such as `arn:aws:sns:eu-west-1:111122223333:security`",
            ),
        ] {
            assert_eq!(policy(source).unwrap_err(), [format!("quell.toml:{problem}")], "{source}");
        }
    }
}
