//! Long-term access keys of users: which there are, how old they are, and when they were last used.

use std::{
    collections::BTreeMap,
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use aws_sdk_iam::{Client, primitives::DateTime, types::StatusType};
use quell_engine::{
    Background, CallError, Description, Discovered, During, Effect, Plan, Signal, Trigger,
    aws::OrMissing, control::TargetError,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::principal::{Kind, Principal};

pub(super) const LAST_USED: &str = "iam:GetAccessKeyLastUsed";
pub(super) const LIST: &str = "iam:ListAccessKeys";
pub(super) const LIST_USERS: &str = "iam:ListUsers";
pub(super) const TAGS: &str = "iam:ListUserTags";
pub(super) const UPDATE: &str = "iam:UpdateAccessKey";

const DAY: i64 = 24 * 60 * 60;

/// A key by its id, `AKIA…`.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids>
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct KeyId(String);

impl KeyId {
    pub(super) fn parse(text: &str) -> Option<Self> {
        (text.starts_with("AKIA") && is_id(text)).then(|| Self(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// By its end, as people tell the two of a user apart: whole ids are struck out of messages, lest a secret key follows.
    pub(super) fn ending(&self) -> String {
        let end = self.0.len().saturating_sub(5);
        format!("key AKIA...{}", self.0.get(end..).unwrap_or_default())
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The key of somebody with temporary credentials, by its id.
pub(super) fn is_temporary(text: &str) -> bool {
    text.starts_with("ASIA") && is_id(text)
}

fn is_id(text: &str) -> bool {
    (16..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// What IAM says of a key.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Key {
    pub active: bool,
    /// Whole days since it was made.
    pub age: i64,
    /// When, by which service's call and in which region it was last used. `None`: never, or it does not matter.
    pub used: Option<Use>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Use {
    /// Whole days ago.
    pub age: i64,
    pub service: String,
    pub region: String,
}

impl Key {
    /// Days since it was last used, or since it was made.
    pub(super) fn idle(&self) -> i64 {
        self.used.as_ref().map_or(self.age, |used| used.age.min(self.age))
    }

    /// For people: how old it is and when it was used.
    pub(super) fn evidence(&self, id: &KeyId) -> String {
        let id = id.ending();
        match &self.used {
            None => format!("{id} was made {} days ago and never used", self.age),
            Some(Use { age, service, region }) => format!(
                "{id} was made {} days ago and last used {age} days ago, for {service} in {region}",
                self.age
            ),
        }
    }
}

/// One key that is to be active, or not.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Switch {
    pub user: Principal,
    pub key: KeyId,
    pub active: bool,
}

impl Switch {
    pub(super) async fn apply(&self, iam: &Client) -> Result<Option<String>, CallError> {
        let status = if self.active { StatusType::Active } else { StatusType::Inactive };
        let update = iam.update_access_key().user_name(self.user.name());
        update.access_key_id(self.key.as_str()).status(status).send().await.during(UPDATE)?;
        Ok(None)
    }

    /// `why` says more of the key as it is, so that what is wrong for another reason is another violation.
    pub(super) fn describe(&self, why: &str) -> Description {
        let line = |active, why: &str| {
            let word = if active { "active" } else { "inactive" };
            vec![format!("{} of {}: {word}{why}", self.key.ending(), self.user)]
        };
        Description {
            action: UPDATE.into(),
            effect: Effect::Set,
            minus: line(!self.active, why),
            plus: line(self.active, ""),
        }
    }
}

/// A user's keys, of which there are at most two.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Keys {
    pub user: Principal,
    pub keys: BTreeMap<KeyId, Key>,
    /// Whether people get in by this user when all else fails.
    #[serde(default)]
    pub is_break_glass: bool,
}

impl Keys {
    /// IAM is asked for the last use of those keys alone of which it matters. `None`: there is no such user.
    pub(super) async fn read(
        iam: &Client,
        user: &Principal,
        matters: fn(&Self, &Key) -> bool,
    ) -> Result<Option<Self>, CallError> {
        let listed = iam.list_access_keys().user_name(user.name()).send().await.during(LIST);
        let Some(listed) = listed.or_missing(&["NoSuchEntity"])? else { return Ok(None) };
        let keys = listed.access_key_metadata.into_iter().filter_map(|found| {
            let active = found.status == Some(StatusType::Active);
            let age = found.create_date.as_ref().map(days_since).unwrap_or_default();
            Some((KeyId::parse(&found.access_key_id?)?, Key { active, age, used: None }))
        });
        let mut found = Self { user: user.clone(), keys: keys.collect(), is_break_glass: false };
        let asked = found.keys.iter().filter(|(_, key)| matters(&found, key));
        let mut asked = asked.map(|(id, _)| id.clone());
        let (one, other) = (asked.next(), asked.next());
        let (used, other_used) =
            tokio::join!(last_use(iam, one.as_ref()), last_use(iam, other.as_ref()));
        for (id, used) in [(one, used?), (other, other_used?)] {
            if let Some(key) = id.and_then(|id| found.keys.get_mut(&id)) {
                key.used = used;
            }
        }
        Ok(Some(found))
    }

    pub(super) fn active(&self) -> impl Iterator<Item = (&KeyId, &Key)> {
        self.keys.iter().filter(|(_, key)| key.active)
    }

    pub(super) fn inform(&mut self, background: &Background<'_, Self>) {
        self.is_break_glass = self.user.is_break_glass(background.trusted);
    }

    pub(super) fn withheld(&self) -> Option<String> {
        self.user.withheld(self.is_break_glass)
    }

    /// What deactivates these keys.
    pub(super) fn deactivate<'a>(&self, keys: impl Iterator<Item = &'a KeyId>) -> Plan<Switch> {
        keys.map(|key| self.switch(key, false)).collect()
    }

    /// What activates again which was active.
    pub(super) fn revert(&self, after: &Self) -> Plan<Switch> {
        self.active()
            .filter(|(id, _)| after.keys.get(*id).is_some_and(|key| !key.active))
            .map(|(id, _)| self.switch(id, true))
            .collect()
    }

    /// Which keys there are and which of them are active: all else changes by itself.
    pub(super) fn same(&self, other: &Self) -> bool {
        let switches = |one: &Self| -> Vec<(KeyId, bool)> {
            one.keys.iter().map(|(id, key)| (id.clone(), key.active)).collect()
        };
        self.user == other.user && switches(self) == switches(other)
    }

    fn switch(&self, key: &KeyId, active: bool) -> Switch {
        Switch { user: self.user.clone(), key: key.clone(), active }
    }
}

async fn last_use(iam: &Client, key: Option<&KeyId>) -> Result<Option<Use>, CallError> {
    let Some(key) = key else { return Ok(None) };
    let used = iam.get_access_key_last_used().access_key_id(key.as_str());
    let used = used.send().await.during(LAST_USED).or_missing(&["NoSuchEntity"])?;
    Ok(used.and_then(|used| used.access_key_last_used).and_then(|used| {
        let age = days_since(used.last_used_date.as_ref()?);
        Some(Use { age, service: used.service_name, region: used.region })
    }))
}

/// The user of a key. `None`: there is no such key in the account.
pub(super) async fn user_of(iam: &Client, key: &KeyId) -> Result<Option<Principal>, CallError> {
    let used = iam.get_access_key_last_used().access_key_id(key.as_str()).send().await;
    let used = used.during(LAST_USED).or_missing(&["NoSuchEntity"])?;
    Ok(used.and_then(|used| used.user_name).as_deref().and_then(Principal::user))
}

/// One page of users.
pub(super) async fn users(
    iam: &Client,
    page: Option<&str>,
) -> Result<Discovered<Principal>, CallError> {
    let listed = iam.list_users().set_marker(page.map(str::to_owned)).max_items(50);
    let listed = listed.send().await.during(LIST_USERS)?;
    let targets = listed.users.iter().filter_map(|user| Principal::user(&user.user_name)).collect();
    Ok(Discovered { targets, next: listed.marker.filter(|_| listed.is_truncated) })
}

pub(super) async fn tags(
    iam: &Client,
    user: &Principal,
) -> Result<BTreeMap<String, String>, CallError> {
    let tags = iam.list_user_tags().user_name(user.name()).send().await.during(TAGS)?.tags;
    Ok(tags.into_iter().map(|tag| (tag.key, tag.value)).collect())
}

/// The user of a call about one, or whom a person names.
pub(super) fn user_named(
    signal: &Signal,
    control: &'static str,
) -> Result<Vec<Principal>, TargetError> {
    let (field, user) = match &signal.trigger {
        Trigger::ApiCall { parameters, response, .. } => {
            let named = parameters.get("userName").filter(|name| !name.is_null());
            // Who leaves it out means the user who calls; the response of a call that makes something says who that is.
            let named = named.or(response.pointer("/accessKey/userName")).and_then(Value::as_str);
            let caller = signal.actor.as_ref().map(|actor| actor.principal.as_str());
            let named = match (named, caller) {
                // Root's own are no user's.
                (None, Some("root")) => return Ok(Vec::new()),
                (None, caller) => caller.and_then(|caller| caller.strip_prefix("user ")),
                (named, _) => named,
            };
            ("requestParameters.userName", named.and_then(Principal::user))
        }
        Trigger::SecurityHub { resource, .. } => {
            let user = Principal::parse(resource, &signal.account);
            ("detail.findings", user.filter(|user| user.kind() == Kind::User))
        }
        Trigger::Manual { resource, .. } => {
            let user = Principal::parse(resource.trim(), &signal.account);
            ("detail.resource", user.filter(|user| user.kind() == Kind::User))
        }
        _ => return Ok(Vec::new()),
    };
    let reason = || "it is not the name of a user".to_owned();
    user.map(|user| vec![user]).ok_or_else(|| TargetError { control, field, reason: reason() })
}

fn days_since(then: &DateTime) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    now.saturating_sub(then.secs()).max(0) / DAY
}
