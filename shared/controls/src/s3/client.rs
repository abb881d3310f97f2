//! The clients, and Block Public Access as every control here reads it.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use aws_sdk_s3::types::{self, PublicAccessBlockConfiguration};
use aws_sdk_s3control::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{
            AfterDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
        },
    },
    error::BoxError,
};
use quell_engine::{
    CallError, CallErrorKind, Clients, Discovered, During,
    aws::{OrMissing, WholeAnswers},
};
use serde::{Deserialize, Serialize};

use super::Bucket;
use crate::partition;

/// S3 as seen from one account. Every call about a bucket says whose it must be.
#[derive(Clone, Debug)]
pub(crate) struct S3 {
    pub(crate) api: aws_sdk_s3::Client,
    pub(crate) control: aws_sdk_s3control::Client,
    pub(crate) account: String,
    /// The account's switches as they were seen last.
    switches: Arc<Mutex<Option<(Instant, Switches)>>>,
}

impl S3 {
    pub(crate) fn new(aws: &Clients) -> Self {
        let api = aws_sdk_s3::config::Builder::from(aws.sdk())
            .interceptor(aws.calls())
            .interceptor(WholeAnswers)
            .retry_config(aws.retries())
            .retry_partition(aws.pace())
            .force_path_style(aws.is_emulated());
        let mut control = aws_sdk_s3control::config::Builder::from(aws.sdk())
            .interceptor(aws.calls())
            .interceptor(WholeAnswers)
            .retry_config(aws.retries())
            .retry_partition(aws.pace());
        if aws.is_emulated() {
            control = control.interceptor(BareHost { account: aws.account().to_owned() });
        }
        Self {
            api: aws_sdk_s3::Client::from_conf(api.build()),
            control: aws_sdk_s3control::Client::from_conf(control.build()),
            account: aws.account().to_owned(),
            switches: Arc::default(),
        }
    }

    pub(crate) async fn tags(
        &self,
        bucket: &Bucket,
    ) -> Result<BTreeMap<String, String>, CallError> {
        let reply = self
            .api
            .get_bucket_tagging()
            .bucket(bucket.as_str())
            .expected_bucket_owner(&self.account)
            .send()
            .await
            .during(TAGS)
            .or_missing(&["NoSuchTagSet"])?;
        let tags = reply.map(|reply| reply.tag_set).unwrap_or_default();
        Ok(tags.into_iter().map(|tag| (tag.key, tag.value)).collect())
    }

    /// When the bucket was made: one of the same name that is made anew has another. Asked in the partition's first
    /// region: elsewhere the date moves with every change of the bucket.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_Bucket.html>
    pub(crate) async fn made_at(&self, bucket: &Bucket) -> Result<String, CallError> {
        let found = self.own(bucket).await?;
        let date = found.and_then(|found| found.creation_date);
        date.map(|date| date.to_string()).ok_or_else(|| {
            let reason = format!("bucket {bucket} is not among those of the account");
            CallError::new(LIST, CallErrorKind::NotReady, reason)
        })
    }

    /// Of these names, those of the account's buckets, in whatever region. However many are asked for, the account's
    /// buckets are listed once.
    pub(crate) async fn owned<'n>(
        &self,
        names: &HashSet<&'n str>,
    ) -> Result<HashSet<&'n str>, CallError> {
        let mut owned = HashSet::new();
        let mut from = None;
        while owned.len() < names.len() {
            let (page, next) = self.everywhere(None, from).await?;
            let found = page.iter().filter_map(|bucket| names.get(bucket.name()?));
            owned.extend(found.copied());
            from = next;
            if from.is_none() {
                break;
            }
        }
        Ok(owned)
    }

    /// The bucket, if it is one of the account's.
    async fn own(&self, bucket: &Bucket) -> Result<Option<types::Bucket>, CallError> {
        let mut from = None;
        loop {
            let (page, next) = self.everywhere(Some(bucket.as_str()), from).await?;
            let mut found = page.into_iter();
            if let Some(found) = found.find(|found| found.name() == Some(bucket.as_str())) {
                return Ok(Some(found));
            }
            from = next;
            if from.is_none() {
                return Ok(None);
            }
        }
    }

    /// One page of the account's buckets in all regions whose names begin so, and where the next begins.
    async fn everywhere(
        &self,
        prefix: Option<&str>,
        from: Option<String>,
    ) -> Result<(Vec<types::Bucket>, Option<String>), CallError> {
        let region = self.api.config().region().map_or("", |region| region.as_ref());
        let home = aws_sdk_s3::config::Builder::new()
            .region(aws_sdk_s3::config::Region::new(partition::first_region(region)));
        let page = self
            .api
            .list_buckets()
            .set_prefix(prefix.map(str::to_owned))
            .max_buckets(1000)
            .set_continuation_token(from)
            .customize()
            .config_override(home)
            .send()
            .await
            .during(LIST)?;
        Ok((page.buckets.unwrap_or_default(), page.continuation_token))
    }

    /// One page of the account's buckets in this region. A directory bucket, or whatever else is not general purpose, is
    /// listed elsewhere.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListBuckets.html>
    pub(crate) async fn buckets(
        &self,
        page: Option<&str>,
    ) -> Result<Discovered<Bucket>, CallError> {
        let region = self.api.config().region().map_or("", |region| region.as_ref());
        let found = self
            .api
            .list_buckets()
            .bucket_region(region)
            .max_buckets(100)
            .set_continuation_token(page.map(str::to_owned))
            .send()
            .await
            .during(LIST)?;
        let is_here = |bucket: &aws_sdk_s3::types::Bucket| {
            bucket.bucket_region().is_none_or(|place| place == region)
        };
        let targets = found.buckets.unwrap_or_default().into_iter().filter(is_here);
        let targets = targets.filter_map(|bucket| bucket.name?.parse().ok()).collect();
        Ok(Discovered { targets, next: found.continuation_token })
    }

    /// The bucket's own switches. `None`: never configured.
    pub(crate) async fn switches(&self, bucket: &Bucket) -> Result<Option<Switches>, CallError> {
        let reply = self
            .api
            .get_public_access_block()
            .bucket(bucket.as_str())
            .expected_bucket_owner(&self.account)
            .send()
            .await
            .during("s3:GetBucketPublicAccessBlock")
            .or_missing(&[NEVER_CONFIGURED])?;
        Ok(reply.map(|reply| {
            let found = reply.public_access_block_configuration;
            found.as_ref().map(Switches::from).unwrap_or_default()
        }))
    }

    /// The account's switches, none of which is on until somebody configures them. A sweep, which asks for each bucket,
    /// reads them once in a while.
    pub(crate) async fn account_switches(&self) -> Result<Switches, CallError> {
        let seen = *self.switches.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, switches)) = seen
            && at.elapsed() < FRESH
        {
            return Ok(switches);
        }
        let switches = self.account_block().await?.unwrap_or(Switches::OFF);
        *self.switches.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Instant::now(), switches));
        Ok(switches)
    }

    /// The same, as AWS answers: with those of the organisation already counted in. `None`: never configured.
    pub(crate) async fn account_block(&self) -> Result<Option<Switches>, CallError> {
        let reply = self
            .control
            .get_public_access_block()
            .account_id(&self.account)
            .send()
            .await
            .during("s3:GetAccountPublicAccessBlock")
            .or_missing(&[NEVER_CONFIGURED])?;
        let found = reply.and_then(|reply| reply.public_access_block_configuration);
        Ok(found.map(|found| Switches {
            block_public_acls: found.block_public_acls.unwrap_or_default(),
            ignore_public_acls: found.ignore_public_acls.unwrap_or_default(),
            block_public_policy: found.block_public_policy.unwrap_or_default(),
            restrict_public_buckets: found.restrict_public_buckets.unwrap_or_default(),
        }))
    }
}

/// The actions that a policy with tags, and an exemption, need of every control here.
pub(crate) const TAGS: &str = "s3:GetBucketTagging";
pub(crate) const LIST: &str = "s3:ListAllMyBuckets";

/// For how long the account's switches count as just seen.
const FRESH: Duration = Duration::from_secs(30);

const NEVER_CONFIGURED: &str = "NoSuchPublicAccessBlockConfiguration";

/// The four switches of Block Public Access.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Switches {
    /// New public ACLs are refused.
    pub block_public_acls: bool,
    /// Public ACLs have no effect.
    pub ignore_public_acls: bool,
    /// New public policies are refused.
    pub block_public_policy: bool,
    /// A public policy reaches only the account itself and AWS services.
    pub restrict_public_buckets: bool,
}

impl Switches {
    pub const ON: Self = Self {
        block_public_acls: true,
        ignore_public_acls: true,
        block_public_policy: true,
        restrict_public_buckets: true,
    };

    pub const OFF: Self = Self {
        block_public_acls: false,
        ignore_public_acls: false,
        block_public_policy: false,
        restrict_public_buckets: false,
    };

    /// Each switch with the name that AWS gives it.
    pub(crate) fn named(self) -> [(&'static str, bool); 4] {
        [
            ("BlockPublicAcls", self.block_public_acls),
            ("IgnorePublicAcls", self.ignore_public_acls),
            ("BlockPublicPolicy", self.block_public_policy),
            ("RestrictPublicBuckets", self.restrict_public_buckets),
        ]
    }
}

impl From<&PublicAccessBlockConfiguration> for Switches {
    fn from(found: &PublicAccessBlockConfiguration) -> Self {
        Self {
            block_public_acls: found.block_public_acls.unwrap_or_default(),
            ignore_public_acls: found.ignore_public_acls.unwrap_or_default(),
            block_public_policy: found.block_public_policy.unwrap_or_default(),
            restrict_public_buckets: found.restrict_public_buckets.unwrap_or_default(),
        }
    }
}

/// Where a switch is on. AWS applies the stricter of the two.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Bucket,
    Account,
}

impl Level {
    /// Where `switch` is on, if anywhere.
    pub(crate) fn of(
        switch: impl Fn(Switches) -> bool,
        bucket: Option<Switches>,
        account: Switches,
    ) -> Option<Self> {
        if bucket.is_some_and(&switch) {
            Some(Self::Bucket)
        } else if switch(account) {
            Some(Self::Account)
        } else {
            None
        }
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bucket => "the bucket",
            Self::Account => "the account",
        })
    }
}

/// Says in words that Block Public Access refuses to have something public again. AWS answers it with the same code
/// as a missing permission, and names the switch only since 2024.
pub(crate) fn blocked(mut error: CallError, what: &str, switch: &str) -> CallError {
    if !error.is("AccessDenied") {
        return error;
    }
    let words = std::mem::take(&mut error.message);
    if words.contains(switch) {
        error.kind = CallErrorKind::Refused;
        error.message = format!(
            "Block Public Access ({switch}) is on and does not let the {what} become public again; \
             switch it off first if that is really wanted ({words})"
        );
    } else {
        error.message = format!(
            "the {what} would become public, which Block Public Access ({switch}) refuses where it is on \
             for the bucket, the account or the organisation; otherwise the permission is missing ({words})"
        );
    }
    error
}

/// Looks whether an answer holds elements that its reader does not know: what was not read cannot be given back, so a
/// configuration with such an element is left as it is.
#[derive(Clone, Debug)]
pub(crate) struct Elements {
    known: &'static [&'static str],
    unknown: Arc<Mutex<Option<String>>>,
}

impl Elements {
    pub(crate) fn known(known: &'static [&'static str]) -> Self {
        Self { known, unknown: Arc::default() }
    }

    /// Ask once the answer is there.
    pub(crate) fn are_all_known(&self, action: &'static str) -> Result<(), CallError> {
        let unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(name) = unknown.as_ref() else { return Ok(()) };
        let message = format!(
            "the configuration has an element {name:?} that this version of Quell does not know and could not give \
             back; it is left as it is"
        );
        Err(CallError::new(action, CallErrorKind::Refused, message))
    }
}

impl Intercept for Elements {
    fn name(&self) -> &'static str {
        "Elements"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if context.response().status().is_success() {
            let body = context.response().body().bytes().unwrap_or_default();
            let found = unknown_element(body, self.known);
            *self.unknown.lock().unwrap_or_else(PoisonError::into_inner) = found;
        }
        Ok(())
    }
}

/// The first element whose name is not among the known. Text cannot hold `<`: XML escapes it.
fn unknown_element(body: &[u8], known: &[&str]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let names = text.split('<').skip(1).map(|rest| {
        let end = |c: char| c.is_ascii_whitespace() || c == '>' || c == '/';
        rest.split(end).next().unwrap_or_default()
    });
    // Closing tags begin with a slash, declarations and comments with `?` and `!`.
    let mut opened = names.filter(|name| !name.is_empty() && !name.starts_with(['?', '!']));
    opened.find(|name| !known.contains(name)).map(|name| name.chars().take(60).collect())
}

/// Takes the account out of the host again: S3 Control puts it in front, and an address cannot carry it.
#[derive(Debug)]
struct BareHost {
    account: String,
}

impl Intercept for BareHost {
    fn name(&self) -> &'static str {
        "BareHost"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        let bare = request.uri().replacen(&format!("://{}.", self.account), "://", 1);
        Ok(request.set_uri(bare)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(message: &str) -> CallError {
        let mut error = CallError::new("s3:PutBucketAcl", CallErrorKind::Denied, message);
        error.code = Some("AccessDenied".into());
        error
    }

    #[test]
    fn a_refusal_by_block_public_access_is_told_from_a_missing_permission() {
        let named =
            "AccessDenied: … because public ACLs are prevented by the BlockPublicAcls setting";
        let error = blocked(denied(named), "ACL", "BlockPublicAcls");
        assert_eq!(error.kind, CallErrorKind::Refused);
        assert!(error.message.starts_with("Block Public Access (BlockPublicAcls) is on"));

        let error = blocked(denied("AccessDenied: Access Denied"), "ACL", "BlockPublicAcls");
        assert_eq!(error.kind, CallErrorKind::Denied);
        assert!(error.message.contains("Block Public Access (BlockPublicAcls)"));
    }

    #[test]
    fn other_errors_keep_their_words() {
        let slow = CallError::new("s3:PutBucketAcl", CallErrorKind::Unavailable, "SlowDown");
        assert_eq!(blocked(slow.clone(), "ACL", "BlockPublicAcls"), slow);
    }

    #[test]
    fn an_element_that_is_not_known_is_found() {
        const KNOWN: [&str; 2] = ["Rule", "ID"];
        for (body, unknown) in [
            ("<?xml version=\"1.0\"?><Rule xmlns=\"a\"><ID>b &lt;New&gt;</ID><ID/></Rule>", None),
            ("<Rule><New>1</New></Rule>", Some("New")),
            ("<Rule><New/></Rule>", Some("New")),
            ("<Rule><New a=\"b\"></New></Rule>", Some("New")),
            ("<Rule><IDs/></Rule>", Some("IDs")),
            ("", None),
        ] {
            let found = unknown_element(body.as_bytes(), &KNOWN);
            assert_eq!(found.as_deref(), unknown, "{body}");
        }
        let elements = Elements::known(&KNOWN);
        assert_eq!(elements.are_all_known("s3:GetLifecycleConfiguration"), Ok(()));
    }

    #[test]
    fn the_bucket_is_named_before_the_account() {
        let switch = |switches: Switches| switches.ignore_public_acls;
        assert_eq!(Level::of(switch, Some(Switches::ON), Switches::ON), Some(Level::Bucket));
        assert_eq!(Level::of(switch, Some(Switches::OFF), Switches::ON), Some(Level::Account));
        assert_eq!(Level::of(switch, None, Switches::ON), Some(Level::Account));
        assert_eq!(Level::of(switch, None, Switches::OFF), None);
    }
}
