//! A trail, by name.

use std::{collections::BTreeMap, fmt};

use aws_sdk_cloudtrail::Client;
use quell_engine::{CallError, Clients, Discovered, During, Signal, Trigger, control::TargetError};
use serde::{Deserialize, Serialize};

use crate::partition;

pub(super) const LIST: &str = "cloudtrail:ListTrails";
pub(super) const TAGS: &str = "cloudtrail:ListTags";

/// A trail: its name if it is one of this account and region, else its ARN.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Trail(String);

impl fmt::Display for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Trail {
    /// A trail by its name or its ARN.
    /// <https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_StopLogging.html>
    pub fn named(text: &str, account: &str, region: &str) -> Option<Self> {
        let is_name = |name: &str| {
            (3..=128).contains(&name.len())
                && name.starts_with(|first: char| first.is_ascii_alphanumeric())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        };
        if is_name(text) {
            return Some(Self(text.to_owned()));
        }
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", partition, "cloudtrail", place, owner, resource] = parts.as_slice() else {
            return None;
        };
        let name = resource.strip_prefix("trail/").filter(|name| is_name(name))?;
        let is_account = owner.len() == 12 && owner.bytes().all(|byte| byte.is_ascii_digit());
        let is_word = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if !is_account || !is_word(place) || *partition != partition::of(region) {
            return None;
        }
        let is_here = *owner == account && *place == region;
        Some(Self(if is_here { name.to_owned() } else { text.to_owned() }))
    }

    /// The trail of a call about one, or of a person's wish.
    pub(super) fn of(signal: &Signal, control: &'static str) -> Result<Vec<Self>, TargetError> {
        let (field, name) = match &signal.trigger {
            Trigger::ApiCall { parameters, .. } => {
                ("requestParameters.name", parameters.get("name").and_then(|name| name.as_str()))
            }
            Trigger::Manual { resource, .. } => ("detail.resource", Some(resource.trim())),
            _ => return Ok(Vec::new()),
        };
        Self::in_field(field, name, signal, control).map(|trail| vec![trail])
    }

    /// The trail that a field of the signal names.
    pub(super) fn in_field(
        field: &'static str,
        name: Option<&str>,
        signal: &Signal,
        control: &'static str,
    ) -> Result<Self, TargetError> {
        let trail = name.and_then(|name| Self::named(name, &signal.account, &signal.region));
        trail.ok_or_else(|| TargetError {
            control,
            field,
            reason: "it is neither the name nor the ARN of a trail".to_owned(),
        })
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Why it is changed elsewhere, if it is.
    pub(super) fn elsewhere(&self, account: &str) -> Option<String> {
        let mut parts = self.0.strip_prefix("arn:")?.split(':').skip(2);
        let (region, owner) = (parts.next()?, parts.next()?);
        Some(match owner == account {
            true => format!("the trail is changed in its home region alone, {region}"),
            false => {
                format!("the trail is that of the organisation, which account {owner} manages")
            }
        })
    }

    /// The trails whose home is here. A shadow of one elsewhere, or of the organisation's, is looked at where it is at home.
    pub(super) async fn discover(
        cloudtrail: &Client,
        page: Option<&str>,
        account: &str,
        region: &str,
    ) -> Result<Discovered<Self>, CallError> {
        let found = cloudtrail.list_trails().set_next_token(page.map(str::to_owned));
        let found = found.send().await.during(LIST)?;
        let trails = found.trails.unwrap_or_default().into_iter();
        let here = trails.filter(|trail| trail.home_region() == Some(region));
        let here = here.filter_map(|found| Self::named(&found.trail_arn?, account, region));
        // Its ARN stays where it is of another account: it is started there alone.
        let own = here.filter(|trail| !trail.0.starts_with("arn:"));
        Ok(Discovered { targets: own.collect(), next: found.next_token })
    }

    pub(super) async fn tags(
        &self,
        cloudtrail: &Client,
        account: &str,
        region: &str,
    ) -> Result<BTreeMap<String, String>, CallError> {
        let arn = self.arn(account, region);
        let found = cloudtrail.list_tags().resource_id_list(arn).send().await.during(TAGS)?;
        let tags = found.resource_tag_list.unwrap_or_default().into_iter();
        let tags = tags.flat_map(|found| found.tags_list.unwrap_or_default());
        Ok(tags.map(|tag| (tag.key, tag.value.unwrap_or_default())).collect())
    }

    pub(super) fn console(&self, region: &str) -> String {
        let console = partition::console("cloudtrailv2", region);
        match self.0.starts_with("arn:") {
            true => format!("{console}#/trails/{self}"),
            false => format!("{console}#/trails"),
        }
    }

    pub(super) fn arn(&self, account: &str, region: &str) -> String {
        if self.0.starts_with("arn:") {
            return self.0.clone();
        }
        format!("arn:{}:cloudtrail:{region}:{account}:trail/{self}", partition::of(region))
    }
}

/// CloudTrail as a control reaches it.
pub(super) fn client(aws: &Clients) -> Client {
    let config = aws_sdk_cloudtrail::config::Builder::from(aws.sdk()).interceptor(aws.calls());
    Client::from_conf(config.build())
}
