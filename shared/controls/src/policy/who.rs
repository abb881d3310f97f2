//! Which statements of a bucket policy are public or let strangers administer the bucket, and the policy without them.
//!
//! "Public" is what AWS publishes as its meaning:
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html#access-control-block-public-access-policy-status>.
//! S3 takes a policy for public until it finds that it grants access only to fixed values, without wildcard and
//! without policy variable: of the principal, or of one of the condition keys in [`Key`].
//!
//! The text is cut, never written anew: what stays keeps its bytes, with white space, order and escapes.

use std::{collections::BTreeSet, net::IpAddr, ops::Range};

use super::document::{
    Left, Unreadable, compact, cut, cuts, elements, items, matches_action, members, span,
    statements, text_of, texts, unknown, unreadable,
};

/// A policy as far as it matters who is let in.
#[derive(Debug)]
pub struct Policy<'a> {
    text: &'a str,
    statements: Vec<Statement<'a>>,
}

#[derive(Debug)]
struct Statement<'a> {
    text: &'a str,
    openness: Openness,
}

#[derive(Debug)]
enum Openness {
    Private,
    Public,
    /// Public only by these stretches of the policy's text, among fixed principals.
    Partly(Vec<Range<usize>>),
}

impl<'a> Policy<'a> {
    pub fn parse(text: &'a str) -> Result<Self, Unreadable> {
        let statements = statements(text)?
            .into_iter()
            .map(|statement| Ok(Statement { text: statement, openness: judge(text, statement)? }))
            .collect::<Result<_, _>>()?;
        Ok(Self { text, statements })
    }

    pub fn is_public(&self) -> bool {
        self.statements.iter().any(|statement| !matches!(statement.openness, Openness::Private))
    }

    /// The statements, compact, one line each.
    pub fn lines(&self) -> Vec<String> {
        self.statements.iter().map(|statement| compact(statement.text)).collect()
    }

    /// Cuts the public statements out, and the open principals out of those that also name fixed ones.
    pub fn without_public(&self) -> Left {
        let judged: Vec<&Openness> =
            self.statements.iter().map(|statement| &statement.openness).collect();
        self.without(&judged)
    }

    /// Cuts out who is not known where it may administer the bucket ([`ADMINISTRATION`]): the statement, or its
    /// principals among those that are known. What is for everyone is for [`without_public`](Self::without_public).
    pub fn without_strangers(&self, known: &Known<'_>) -> Result<Left, Unreadable> {
        let judged = self.statements.iter();
        let judged = judged.map(|statement| judge_strangers(self.text, statement.text, known));
        let judged = judged.collect::<Result<Vec<_>, _>>()?;
        Ok(self.without(&judged.iter().collect::<Vec<_>>()))
    }

    /// Of a role's trust policy: cuts out everyone and whose account is not known, wherever no condition keeps them to who is.
    /// Services and identity providers stay.
    pub fn without_unknown(&self, known: &Known<'_>) -> Result<Left, Unreadable> {
        let judged = self.statements.iter();
        let judged = judged.map(|statement| judge_trust(self.text, statement.text, known));
        let judged = judged.collect::<Result<Vec<_>, _>>()?;
        Ok(self.without(&judged.iter().collect::<Vec<_>>()))
    }

    /// Without what was judged to be open, statement by statement.
    fn without(&self, judged: &[&Openness]) -> Left {
        if judged.iter().all(|openness| matches!(openness, Openness::Private)) {
            return Left::Same;
        }
        let kept: Vec<bool> =
            judged.iter().map(|openness| !matches!(openness, Openness::Public)).collect();
        if !kept.contains(&true) {
            return Left::Nothing;
        }
        let spans: Vec<Range<usize>> =
            self.statements.iter().map(|statement| span(self.text, statement.text)).collect();
        let mut cuts = cuts(&spans, &kept);
        for openness in judged {
            if let Openness::Partly(open) = openness {
                cuts.extend(open.iter().cloned());
            }
        }
        Left::Rest(cut(self.text, cuts))
    }
}

/// Who is known.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Twelve digits each, the bucket's own account among them.
    pub accounts: &'a [&'a str],
    /// Such as `o-a1b2c3d4e5`.
    pub organisations: &'a [&'a str],
}

/// What Security Hub's control S3.6 names: with these another account takes the bucket over, or hides what it holds.
/// <https://docs.aws.amazon.com/securityhub/latest/userguide/s3-controls.html#s3-6>
pub const ADMINISTRATION: [&str; 5] = [
    "s3:DeleteBucketPolicy",
    "s3:PutBucketAcl",
    "s3:PutBucketPolicy",
    "s3:PutEncryptionConfiguration",
    "s3:PutObjectAcl",
];

/// Only an `Allow` can open, only to principals that are not fixed, and only where no condition narrows it.
fn judge(policy: &str, statement: &str) -> Result<Openness, Unreadable> {
    let element = elements(statement)?;
    let effect = element.get("Effect").and_then(|effect| text_of(effect));
    match effect.as_deref() {
        Some("Allow") => {}
        Some("Deny") => return Ok(Openness::Private),
        _ => return Err(unreadable("a statement has no `Effect` of `Allow` or `Deny`")),
    }
    let openness = match (element.get("Principal"), element.get("NotPrincipal")) {
        (Some(principal), None) if text_of(principal).as_deref() == Some("*") => Openness::Public,
        (Some(principal), None) if text_of(principal).is_some() => {
            return Err(unreadable("a `Principal` is a text other than `*`"));
        }
        (Some(principal), None) => principals(policy, principal, is_fixed_principal)?,
        // Everyone but a few.
        (None, Some(_)) => Openness::Public,
        _ => {
            return Err(unreadable(
                "a statement has not exactly one of `Principal`, `NotPrincipal`",
            ));
        }
    };
    let narrowed = match element.get("Condition") {
        Some(condition) => narrows(condition)?,
        None => false,
    };
    Ok(if narrowed { Openness::Private } else { openness })
}

/// By kind and entry, whether each of the principals stays.
fn principals(
    policy: &str,
    principal: &str,
    stays: impl Fn(&str, &str) -> Result<bool, Unreadable>,
) -> Result<Openness, Unreadable> {
    let mut spans = Vec::new();
    let mut kept = Vec::new();
    let mut open = Vec::new();
    for member in members(principal, "a `Principal`")? {
        let entries = items(member.value)?;
        let fixed = entries
            .iter()
            .map(|entry| stays(&member.name, entry))
            .collect::<Result<Vec<bool>, _>>()?;
        // A member of open principals alone goes with its name.
        let is_kept = fixed.contains(&true) || fixed.is_empty();
        if is_kept {
            let entries: Vec<Range<usize>> =
                entries.iter().map(|entry| span(policy, entry)).collect();
            open.extend(cuts(&entries, &fixed));
        }
        spans.push(span(policy, member.key).start..span(policy, member.value).end);
        kept.push(is_kept);
    }
    if !kept.contains(&true) {
        let nobody = kept.is_empty();
        return Ok(if nobody { Openness::Private } else { Openness::Public });
    }
    open.extend(cuts(&spans, &kept));
    Ok(if open.is_empty() { Openness::Private } else { Openness::Partly(open) })
}

/// Only an `Allow` of administration counts, and only if no condition keeps it to who is known.
fn judge_strangers(
    policy: &str,
    statement: &str,
    known: &Known<'_>,
) -> Result<Openness, Unreadable> {
    let elements = members(statement, "a statement")?;
    let element = |name: &str| elements.iter().find(|one| one.name == name).map(|one| one.value);
    let is_allow = element("Effect").and_then(text_of).as_deref() == Some("Allow");
    if !is_allow || !administers(element("Action"), element("NotAction"))? {
        return Ok(Openness::Private);
    }
    let admitted = match element("Condition") {
        Some(condition) => admitted(condition, known)?,
        None => Admitted::Anyone,
    };
    let everyone = match admitted {
        Admitted::Known => return Ok(Openness::Private),
        // Everyone of an organisation or account that is not known.
        Admitted::Strangers => Openness::Public,
        // For `s3-public-policy` to judge.
        Admitted::Anyone => Openness::Private,
    };
    match element("Principal") {
        Some(principal) if text_of(principal).is_none() => {
            principals(policy, principal, |kind, entry| {
                let name = text_of(entry).ok_or_else(|| unreadable("a principal is not a text"))?;
                Ok(match account_of_principal(kind, &name) {
                    Owner::Account(account) => known.accounts.contains(&account),
                    Owner::Unknown => false,
                    Owner::Everyone => matches!(everyone, Openness::Private),
                    Owner::Nobody => true,
                })
            })
        }
        _ => Ok(everyone),
    }
}

/// Only an `Allow` counts, and only if no condition keeps it to who is known.
fn judge_trust(policy: &str, statement: &str, known: &Known<'_>) -> Result<Openness, Unreadable> {
    let elements = elements(statement)?;
    if elements.get("Effect").and_then(|effect| text_of(effect)).as_deref() != Some("Allow") {
        return Ok(Openness::Private);
    }
    if let Some(condition) = elements.get("Condition")
        && admitted(condition, known)? == Admitted::Known
    {
        return Ok(Openness::Private);
    }
    match elements.get("Principal") {
        Some(principal) if text_of(principal).is_none() => {
            principals(policy, principal, |kind, entry| {
                let name = text_of(entry).ok_or_else(|| unreadable("a principal is not a text"))?;
                Ok(match account_of_principal(kind, &name) {
                    Owner::Account(account) => known.accounts.contains(&account),
                    Owner::Unknown => false,
                    // Whom a provider lets in, its conditions say.
                    Owner::Everyone => kind == "Federated",
                    Owner::Nobody => true,
                })
            })
        }
        // Everyone, or everyone but a few.
        _ => Ok(Openness::Public),
    }
}

/// Whether it allows any of [`ADMINISTRATION`].
fn administers(action: Option<&str>, not_action: Option<&str>) -> Result<bool, Unreadable> {
    let patterns = |value: &str| texts(value, "an action");
    let is_one_of = |patterns: &[String], action: &str| {
        patterns.iter().any(|pattern| matches_action(pattern, action))
    };
    match (action, not_action) {
        (Some(action), None) => {
            let patterns = patterns(action)?;
            Ok(ADMINISTRATION.iter().any(|action| is_one_of(&patterns, action)))
        }
        (None, Some(not_action)) => {
            let patterns = patterns(not_action)?;
            Ok(!ADMINISTRATION.iter().all(|action| is_one_of(&patterns, action)))
        }
        _ => Err(unreadable("a statement has not exactly one of `Action`, `NotAction`")),
    }
}

/// Whom the conditions admit, as far as they name principals.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Admitted {
    /// They do not say.
    Anyone,
    Known,
    /// Others too.
    Strangers,
}

/// All conditions must hold: one that admits only who is known is enough.
fn admitted(condition: &str, known: &Known<'_>) -> Result<Admitted, Unreadable> {
    let mut found = Admitted::Anyone;
    for operator in members(condition, "a `Condition`")? {
        let Some(reads) = Operator::named(&operator.name) else { continue };
        for member in members(operator.value, "an operator")? {
            let name = member.name.to_ascii_lowercase();
            let is_known = |value: &str| match name.as_str() {
                "aws:principalorgid" => known.organisations.contains(&value),
                "aws:principalorgpaths" => {
                    value.split_once('/').is_some_and(|(organisation, path)| {
                        known.organisations.contains(&organisation) && !path.contains("${")
                    })
                }
                "aws:principalaccount" => known.accounts.contains(&value),
                "aws:principalarn" => {
                    account_of_arn(value).is_some_and(|account| known.accounts.contains(&account))
                }
                _ => false,
            };
            let names_principals = matches!(
                name.as_str(),
                "aws:principalorgid"
                    | "aws:principalorgpaths"
                    | "aws:principalaccount"
                    | "aws:principalarn"
            );
            if !names_principals || !Key::named(&name).is_some_and(|key| key.goes_with(reads)) {
                continue;
            }
            let values: Option<Vec<String>> =
                items(member.value)?.into_iter().map(text_of).collect();
            let values = values.unwrap_or_default();
            if !values.is_empty() && values.iter().all(|value| is_known(value)) {
                return Ok(Admitted::Known);
            }
            found = Admitted::Strangers;
        }
    }
    Ok(found)
}

/// Whose a principal is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Owner<'a> {
    Account(&'a str),
    /// Somebody's, and nothing says whose.
    Unknown,
    Everyone,
    /// A service of AWS, or a principal that is gone: no account of anyone's.
    Nobody,
}

fn account_of_principal<'a>(kind: &str, name: &'a str) -> Owner<'a> {
    let is_account = name.len() == 12 && name.bytes().all(|c| c.is_ascii_digit());
    match kind {
        "AWS" if is_account => Owner::Account(name),
        "AWS" | "Federated" if name.starts_with("arn:") => match account_of_arn(name) {
            Some(account) => Owner::Account(account),
            // CloudFront's identities: `arn:aws:iam::cloudfront:user/…`.
            None if name.split(':').nth(4) == Some("cloudfront") => Owner::Nobody,
            None => Owner::Everyone,
        },
        "CanonicalUser" if is_fixed(name) => Owner::Unknown,
        "Service" if is_fixed(name) => Owner::Nobody,
        // The id that is left of a principal that was deleted.
        "AWS" if is_fixed(name) => Owner::Nobody,
        _ => Owner::Everyone,
    }
}

fn account_of_arn(arn: &str) -> Option<&str> {
    let account = arn.split(':').nth(4)?;
    (account.len() == 12 && account.bytes().all(|c| c.is_ascii_digit())).then_some(account)
}

/// Whether a principal is one that AWS knows by name. Federated ones are whoever some other party lets sign in: AWS
/// gives `{"Federated": "graph.facebook.com"}` as an example of public.
fn is_fixed_principal(kind: &str, entry: &str) -> Result<bool, Unreadable> {
    let name = text_of(entry).ok_or_else(|| unreadable("a principal is not a text"))?;
    match kind {
        "AWS" | "CanonicalUser" | "Service" => Ok(is_fixed(&name)),
        "Federated" => Ok(false),
        _ => Err(unknown("kind of principal", kind)),
    }
}

/// Whether one of the conditions, all of which must hold, lets only fixed values in.
fn narrows(condition: &str) -> Result<bool, Unreadable> {
    let mut narrowed = false;
    for operator in members(condition, "a `Condition`")? {
        let reads = Operator::named(&operator.name);
        let mut seen = BTreeSet::new();
        for member in members(operator.value, "an operator")? {
            // Names of keys are not case-sensitive.
            let name = member.name.to_ascii_lowercase();
            let key = Key::named(&name);
            if !seen.insert(name) {
                return Err(unreadable("a condition has the same key twice"));
            }
            let values: Option<Vec<String>> =
                items(member.value)?.into_iter().map(text_of).collect();
            if let (Some(operator), Some(key), Some(values)) = (reads, key, values) {
                narrowed |= !values.is_empty()
                    && key.goes_with(operator)
                    && values.iter().all(|value| key.narrows(value));
            }
        }
    }
    Ok(narrowed)
}

/// How a condition compares, where it can narrow at all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Operator {
    Text,
    Arn,
    Address,
}

impl Operator {
    /// `None` does not narrow: negated and unknown operators, `Null`, and those that hold without the key, which are
    /// `…IfExists` and `ForAllValues:`.
    fn named(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        match name.strip_prefix("foranyvalue:").unwrap_or(&name) {
            "stringequals" | "stringequalsignorecase" | "stringlike" => Some(Self::Text),
            "arnequals" | "arnlike" => Some(Self::Arn),
            "ipaddress" => Some(Self::Address),
            _ => None,
        }
    }
}

/// A condition key that AWS counts, by what its values must be like. Every other key does not narrow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Key {
    /// A fixed value: ids of VPCs, endpoints, accounts, organisations, KMS keys, and names of principals, which AWS
    /// lists as "a principal, user, role or service principal (for example `aws:PrincipalOrgID`)".
    Fixed,
    /// A fixed ARN.
    FixedArn,
    /// CIDRs no wider than /8 for IPv4 and /32 for IPv6. The private ranges are never wider.
    Addresses,
    /// A fixed id that is not of the form `AROLEID:*`, a role's session.
    UserId,
    /// `o-…/r-…/ou-…/*`: a wildcard after the fixed organisation leaves it the same organisation.
    OrganizationPath,
    /// An ARN whose access point may be a wildcard, if all before it is fixed.
    AccessPoint,
}

impl Key {
    /// By the name in lower case.
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "aws:sourceip" => Self::Addresses,
            "aws:sourcevpc"
            | "aws:sourcevpce"
            | "aws:sourceowner"
            | "aws:sourceaccount"
            | "s3:x-amz-server-side-encryption-aws-kms-key-id"
            | "s3:dataaccesspointaccount"
            | "aws:principalaccount"
            | "aws:principalorgid"
            | "aws:principalservicename" => Self::Fixed,
            "aws:sourcearn" | "aws:principalarn" => Self::FixedArn,
            "aws:principalorgpaths" => Self::OrganizationPath,
            "aws:userid" => Self::UserId,
            "s3:dataaccesspointarn" => Self::AccessPoint,
            _ => return None,
        })
    }

    fn goes_with(self, operator: Operator) -> bool {
        match operator {
            Operator::Text => true,
            Operator::Arn => matches!(self, Self::FixedArn | Self::AccessPoint),
            Operator::Address => self == Self::Addresses,
        }
    }

    fn narrows(self, value: &str) -> bool {
        match self {
            Self::Fixed | Self::FixedArn => is_fixed(value),
            Self::Addresses => is_narrow_range(value),
            Self::UserId => is_fixed(value) && !(value.starts_with("AROA") && value.contains(':')),
            Self::OrganizationPath => value.split_once('/').is_some_and(|(organization, path)| {
                organization.starts_with("o-") && is_fixed(organization) && !path.contains("${")
            }),
            Self::AccessPoint => is_fixed(value) || is_access_point_of_fixed_account(value),
        }
    }
}

fn is_fixed(value: &str) -> bool {
    !value.is_empty() && !value.contains(['*', '?']) && !value.contains("${")
}

fn is_narrow_range(value: &str) -> bool {
    let (address, length) = match value.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (value, None),
    };
    let (shortest, longest) = match address.parse() {
        Ok(IpAddr::V4(_)) => (8, 32),
        Ok(IpAddr::V6(_)) => (32, 128),
        Err(_) => return false,
    };
    match length {
        None => true,
        Some(length) if length.bytes().all(|c| c.is_ascii_digit()) => {
            length.parse().is_ok_and(|length: u8| (shortest..=longest).contains(&length))
        }
        Some(_) => false,
    }
}

fn is_access_point_of_fixed_account(value: &str) -> bool {
    let parts: Vec<&str> = value.splitn(6, ':').collect();
    let [arn @ "arn", partition, service @ "s3", region, account, point] = parts.as_slice() else {
        return false;
    };
    account.len() == 12
        && account.bytes().all(|c| c.is_ascii_digit())
        && [arn, partition, service, region].into_iter().all(|part| is_fixed(part))
        && point.starts_with("accesspoint/")
        && !point.contains("${")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{super::document::same, *};

    fn is_public(statement: &Value) -> bool {
        let text = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
        Policy::parse(&text).unwrap_or_else(|error| panic!("{error}: {text}")).is_public()
    }

    fn allow(principal: Value, condition: Value) -> Value {
        let mut statement = json!({
            "Effect": "Allow",
            "Principal": principal,
            "Action": "s3:PutObject",
            "Resource": "*",
        });
        if !condition.is_null() {
            statement["Condition"] = condition;
        }
        statement
    }

    fn everyone_if(condition: Value) -> Value {
        allow(json!("*"), condition)
    }

    /// Each case that the page linked above documents, in our own words.
    #[test]
    fn documented_cases() {
        let vpc = |operator: &str, value| everyone_if(json!({operator: {"aws:SourceVpc": value}}));
        let ip = |value| everyone_if(json!({"IpAddress": {"aws:SourceIp": value}}));
        let equals = |key: &str, value| everyone_if(json!({"StringEquals": {key: value}}));
        let like = |key: &str, value| everyone_if(json!({"StringLike": {key: value}}));

        for (case, statement) in [
            ("everyone", everyone_if(Value::Null)),
            (
                "users of a web identity provider",
                allow(json!({"Federated": "graph.facebook.com"}), Value::Null),
            ),
            ("a VPC with a wildcard", vpc("StringLike", "vpc-*")),
            ("a very broad range of addresses", ip("0.0.0.0/1")),
            ("broader than /8 for IPv4", ip("128.0.0.0/7")),
            ("broader than /32 for IPv6", ip("2001:db8::/31")),
            ("all of IPv4", ip("0.0.0.0/0")),
            ("all of IPv6", ip("::/0")),
            ("a policy variable as value", equals("aws:SourceVpc", "${aws:PrincipalTag/vpc}")),
            ("a user id of the form AROLEID:*", like("aws:userid", "AROAEXAMPLEROLEID:*")),
            (
                "access points of any account",
                like("s3:DataAccessPointArn", "arn:aws:s3:us-west-2:*:accesspoint/*"),
            ),
            ("a source ARN with a wildcard", like("aws:SourceArn", "arn:aws:sns:*:*:*")),
        ] {
            assert!(is_public(&statement), "{case}: {statement}");
        }

        for (case, statement) in [
            ("a fixed VPC makes it non-public", vpc("StringEquals", "vpc-91237329")),
            ("a fixed account", allow(json!({"AWS": "123456789012"}), Value::Null)),
            (
                "a fixed user",
                allow(json!({"AWS": "arn:aws:iam::123456789012:user/ann"}), Value::Null),
            ),
            (
                "a service principal",
                allow(json!({"Service": "cloudtrail.amazonaws.com"}), Value::Null),
            ),
            ("an organisation", equals("aws:PrincipalOrgID", "o-a1b2c3d4e5")),
            ("/8 is not broader than /8", ip("203.0.0.0/8")),
            ("/32 is not broader than /32", ip("2001:db8::/32")),
            ("a private range", ip("10.0.0.0/8")),
            ("a private range", ip("172.16.0.0/12")),
            ("a private range", ip("192.168.0.0/16")),
            ("a source ARN", equals("aws:SourceArn", "arn:aws:sns:eu-west-1:123456789012:topic")),
            ("a VPC endpoint", equals("aws:SourceVpce", "vpce-1a2b3c4d")),
            ("a source owner", equals("aws:SourceOwner", "123456789012")),
            ("a source account", equals("aws:SourceAccount", "123456789012")),
            (
                "a KMS key",
                equals(
                    "s3:x-amz-server-side-encryption-aws-kms-key-id",
                    "arn:aws:kms:eu-west-1:123456789012:key/0a1b2c3d",
                ),
            ),
            ("a user id", equals("aws:userid", "AIDAEXAMPLEUSERID")),
            (
                "an access point",
                equals(
                    "s3:DataAccessPointArn",
                    "arn:aws:s3:us-west-2:123456789012:accesspoint/one",
                ),
            ),
            (
                "any access point of a fixed account",
                like("s3:DataAccessPointArn", "arn:aws:s3:us-west-2:123456789012:accesspoint/*"),
            ),
            (
                "the account of the access point",
                equals("s3:DataAccessPointAccount", "123456789012"),
            ),
        ] {
            assert!(!is_public(&statement), "{case}: {statement}");
        }
    }

    #[test]
    fn who_is_everyone() {
        for principal in [
            json!("*"),
            json!({"AWS": "*"}),
            json!({"AWS": ["*"]}),
            json!({"AWS": ["*", "arn:aws:iam::123456789012:root"]}),
            json!({"AWS": "arn:aws:iam::*:root"}),
            json!({"AWS": "arn:aws:iam::123456789012:user/${aws:username}"}),
            json!({"CanonicalUser": "*"}),
            json!({"Service": "*"}),
            json!({"Federated": "cognito-identity.amazonaws.com"}),
            json!({"Federated": ["arn:aws:iam::123456789012:saml-provider/idp"]}),
            json!({"Service": "cloudtrail.amazonaws.com", "AWS": "*"}),
        ] {
            assert!(is_public(&allow(principal.clone(), Value::Null)), "{principal}");
        }
        for principal in [
            json!({"AWS": ["123456789012", "arn:aws:iam::123456789012:role/deploy"]}),
            json!({"AWS": "AIDAEXAMPLEUSERID"}),
            json!({"AWS": "arn:aws:iam::cloudfront:user/CloudFront Origin Access Identity E1EXAMPLE"}),
            json!({"CanonicalUser": "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"}),
            json!({"Service": ["cloudtrail.amazonaws.com", "delivery.logs.amazonaws.com"]}),
            json!({"AWS": []}),
            json!({}),
        ] {
            assert!(!is_public(&allow(principal.clone(), Value::Null)), "{principal}");
        }
    }

    #[test]
    fn what_does_not_narrow() {
        for condition in [
            json!({}),
            json!({"StringEquals": {}}),
            json!({"StringEquals": {"aws:SourceVpc": []}}),
            json!({"StringEquals": {"aws:SourceVpc": ""}}),
            json!({"StringEquals": {"aws:SourceVpc": 7}}),
            json!({"StringEquals": {"aws:SourceVpc": ["vpc-1", "*"]}}),
            json!({"StringLike": {"aws:SourceVpc": "vpc-?"}}),
            json!({"StringEqualsIfExists": {"aws:SourceVpc": "vpc-1"}}),
            json!({"IpAddressIfExists": {"aws:SourceIp": "203.0.113.0/24"}}),
            json!({"ForAllValues:StringEquals": {"aws:SourceVpc": "vpc-1"}}),
            json!({"ForAnyValue:StringEqualsIfExists": {"aws:SourceVpc": "vpc-1"}}),
            json!({"StringNotEquals": {"aws:SourceVpc": "vpc-1"}}),
            json!({"StringNotLike": {"aws:SourceVpc": "vpc-1"}}),
            json!({"ArnNotEquals": {"aws:SourceArn": "arn:aws:sns:eu-west-1:123456789012:t"}}),
            json!({"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}}),
            json!({"Null": {"aws:SourceVpc": "false"}}),
            json!({"Bool": {"aws:SecureTransport": "true"}}),
            json!({"Bool": {"aws:PrincipalIsAWSService": "true"}}),
            json!({"DateLessThan": {"aws:CurrentTime": "2030-01-01T00:00:00Z"}}),
            json!({"StringEquals": {"aws:Referer": "https://example.com/"}}),
            json!({"StringEquals": {"aws:UserAgent": "secret"}}),
            json!({"StringEquals": {"s3:prefix": "public/"}}),
            json!({"StringEquals": {"aws:PrincipalTag/team": "red"}}),
            json!({"StringEquals": {"aws:SourceVpcX": "vpc-1"}}),
            json!({"IpAddress": {"aws:SourceVpc": "203.0.113.0/24"}}),
            json!({"ArnLike": {"aws:SourceVpc": "vpc-1"}}),
            json!({"ArnLike": {"aws:SourceArn": "arn:aws:s3:::*"}}),
            json!({"IpAddress": {"aws:SourceIp": ["203.0.113.0/24", "0.0.0.0/0"]}}),
            json!({"IpAddress": {"aws:SourceIp": "203.0.113.0/33"}}),
            json!({"IpAddress": {"aws:SourceIp": "203.0.113.0/128"}}),
            json!({"IpAddress": {"aws:SourceIp": "203.0.113.0/"}}),
            json!({"IpAddress": {"aws:SourceIp": "203.0.113.0/+24"}}),
            json!({"IpAddress": {"aws:SourceIp": "203.0.113"}}),
            json!({"StringEquals": {"aws:userid": "AROAEXAMPLEROLEID:session"}}),
            json!({"StringLike": {"s3:DataAccessPointArn": "arn:aws:s3:*:123456789012:accesspoint/*"}}),
            json!({"StringLike": {"s3:DataAccessPointArn": "arn:aws:s3:us-west-2:123456789012:*"}}),
        ] {
            assert!(is_public(&everyone_if(condition.clone())), "{condition}");
        }
    }

    #[test]
    fn what_narrows() {
        for condition in [
            json!({"stringequals": {"AWS:sourcevpc": "vpc-1"}}),
            json!({"StringLike": {"aws:SourceVpc": "vpc-1"}}),
            json!({"StringEqualsIgnoreCase": {"aws:SourceVpce": ["vpce-1", "vpce-2"]}}),
            json!({"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": "o-a1b2c3d4e5/r-ab12/ou-1/*"}}),
            json!({"ForAnyValue:StringEquals": {"aws:PrincipalOrgPaths": "o-a1b2c3d4e5/r-ab12/ou-1/"}}),
            json!({"StringEquals": {"aws:PrincipalAccount": "123456789012"}}),
            json!({"ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::123456789012:role/deploy"}}),
            json!({"ArnLike": {"aws:SourceArn": "arn:aws:sns:eu-west-1:123456789012:topic"}}),
            json!({"ArnLike": {"s3:DataAccessPointArn": "arn:aws:s3:us-west-2:123456789012:accesspoint/a-*"}}),
            json!({"IpAddress": {"aws:SourceIp": ["203.0.113.7", "2001:db8::1", "198.51.100.0/24"]}}),
            json!({"Bool": {"aws:SecureTransport": "true"}, "StringEquals": {"aws:SourceVpc": "vpc-1"}}),
            json!({"StringEquals": {"aws:Referer": "x", "aws:SourceVpc": "vpc-1"}}),
        ] {
            assert!(!is_public(&everyone_if(condition.clone())), "{condition}");
        }
    }

    #[test]
    fn other_elements() {
        let mut not_principal = everyone_if(Value::Null);
        not_principal.as_object_mut().unwrap().remove("Principal");
        not_principal["NotPrincipal"] = json!({"AWS": "arn:aws:iam::123456789012:root"});
        assert!(is_public(&not_principal));
        not_principal["Condition"] = json!({"StringEquals": {"aws:SourceVpc": "vpc-1"}});
        assert!(!is_public(&not_principal));

        for inverted in [
            json!({"Effect": "Allow", "Principal": "*", "NotAction": "s3:DeleteBucket", "Resource": "*"}),
            json!({"Effect": "Allow", "Principal": "*", "Action": "s3:*", "NotResource": "x"}),
        ] {
            assert!(is_public(&inverted));
        }

        for deny in [
            json!({"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*"}),
            json!({"Effect": "Deny", "NotPrincipal": {"AWS": "123456789012"}, "Action": "s3:*", "Resource": "*"}),
            json!({"Effect": "Deny", "Principal": {"AWS": ["*"]}, "Action": "s3:*", "Resource": "*",
                "Condition": {"Bool": {"aws:SecureTransport": "false"}}}),
        ] {
            assert!(!is_public(&deny), "{deny}");
        }
    }

    const PRIVATE: &str = r#"{ "Sid":"b\u0061d" ,"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":["s3:*"],"Resource":"*"}"#;
    const PUBLIC: &str =
        r#"{"Principal": "*", "Effect":"Allow","Action":"s3:GetObject","Resource":"*"}"#;

    const OWN_ACCOUNT: &str = "123456789012";
    const PARTNER: &str = "444455556666";
    const STRANGER: &str = "999999999999";

    fn without_strangers(text: &str) -> Left {
        let known = Known { accounts: &[OWN_ACCOUNT, PARTNER], organisations: &["o-a1b2c3d4e5"] };
        Policy::parse(text).unwrap().without_strangers(&known).unwrap()
    }

    fn lets(principal: Value, action: Value, condition: Value) -> bool {
        let mut statement =
            json!({"Effect": "Allow", "Principal": principal, "Action": action, "Resource": "*"});
        if !condition.is_null() {
            statement["Condition"] = condition;
        }
        let text = json!({"Statement": [statement]}).to_string();
        without_strangers(&text) != Left::Same
    }

    fn stranger() -> Value {
        json!({"AWS": format!("arn:aws:iam::{STRANGER}:root")})
    }

    #[test]
    fn who_is_a_stranger() {
        for principal in [
            json!({"AWS": STRANGER}),
            json!({"AWS": [format!("arn:aws:iam::{STRANGER}:role/x"), OWN_ACCOUNT]}),
            json!({"AWS": format!("arn:aws:sts::{STRANGER}:assumed-role/x/y")}),
            json!({"Federated": format!("arn:aws:iam::{STRANGER}:saml-provider/x")}),
            json!({"CanonicalUser": "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"}),
        ] {
            assert!(lets(principal.clone(), json!("s3:*"), Value::Null), "{principal}");
        }
        for principal in [
            json!("*"),
            json!({"AWS": "*"}),
            json!({"AWS": OWN_ACCOUNT}),
            json!({"AWS": [format!("arn:aws:iam::{PARTNER}:root"), OWN_ACCOUNT]}),
            json!({"AWS": "AIDAEXAMPLEUSERID"}),
            json!({"AWS": "arn:aws:iam::cloudfront:user/CloudFront Origin Access Identity E1EXAMPLE"}),
            json!({"Service": "cloudtrail.amazonaws.com"}),
            json!({"Federated": "cognito-identity.amazonaws.com"}),
            json!({"AWS": []}),
        ] {
            assert!(!lets(principal.clone(), json!("s3:*"), Value::Null), "{principal}");
        }
    }

    #[test]
    fn what_is_administration() {
        for action in [
            json!("*"),
            json!("s3:*"),
            json!("S3:put*"),
            json!("s3:PutObject*"),
            json!("s3:PutBucketPolic?"),
            json!(["s3:GetObject", "s3:DeleteBucketPolicy"]),
            json!("s3:PutEncryptionConfiguration"),
        ] {
            assert!(lets(stranger(), action.clone(), Value::Null), "{action}");
        }
        for action in [
            json!("s3:GetObject"),
            json!("s3:Get*"),
            json!("s3:PutObject"),
            json!(["s3:ListBucket", "s3:DeleteObject"]),
            json!("s3:PutBucketPolicy?"),
            json!("sns:*"),
            json!([]),
        ] {
            assert!(!lets(stranger(), action.clone(), Value::Null), "{action}");
        }
        let not = |not_action: Value| {
            let statement = json!({"Effect": "Allow", "Principal": stranger(),
                "NotAction": not_action, "Resource": "*"});
            without_strangers(&json!({"Statement": statement}).to_string())
        };
        assert_eq!(not(json!("s3:GetObject")), Left::Nothing);
        assert_eq!(not(json!(["s3:Put*", "s3:DeleteBucketPolicy"])), Left::Same);
    }

    #[test]
    fn conditions_that_name_who_is_known_keep_strangers_out() {
        for condition in [
            json!({"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}}),
            json!({"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": "o-a1b2c3d4e5/r-ab12/*"}}),
            json!({"StringEquals": {"aws:PrincipalAccount": [OWN_ACCOUNT, PARTNER]}}),
            json!({"ArnLike": {"aws:PrincipalArn": format!("arn:aws:iam::{PARTNER}:role/*")}}),
        ] {
            for principal in [json!("*"), json!({"AWS": "*"}), stranger()] {
                assert!(!lets(principal, json!("s3:*"), condition.clone()), "{condition}");
            }
        }
        for condition in [
            json!({"StringEquals": {"aws:PrincipalOrgID": "o-zzzzzzzzzz"}}),
            json!({"StringEquals": {"aws:PrincipalOrgID": ["o-a1b2c3d4e5", "o-zzzzzzzzzz"]}}),
            json!({"StringLike": {"aws:PrincipalOrgID": "o-a1b2c3d4e*"}}),
            json!({"StringEquals": {"aws:PrincipalAccount": STRANGER}}),
        ] {
            for principal in [json!("*"), json!({"AWS": "*"}), stranger()] {
                assert!(lets(principal, json!("s3:*"), condition.clone()), "{condition}");
            }
        }
        for condition in [
            json!({"StringNotEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}}),
            json!({"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}}),
            json!({"Bool": {"aws:SecureTransport": "true"}}),
            json!({"StringEquals": {"aws:SourceVpc": "vpc-1"}}),
        ] {
            assert!(lets(stranger(), json!("s3:*"), condition.clone()), "{condition}");
            assert!(!lets(json!("*"), json!("s3:*"), condition.clone()), "{condition}");
        }
    }

    #[test]
    fn only_the_stranger_goes_and_the_rest_keeps_its_bytes() {
        let policy = |principal: &str| {
            format!(
                r#"{{ "Statement":[ {PRIVATE} ,{{"Effect":"Allow", "Principal" : {principal},"Action":"s3:Put*","Resource":"*"}}] }}"#
            )
        };
        for (before, after) in [
            (r#"{"AWS":["999999999999", "123456789012" ]}"#, r#"{"AWS":["123456789012" ]}"#),
            (
                r#"{"AWS":[ "444455556666" ,"arn:aws:iam::999999999999:root"]}"#,
                r#"{"AWS":[ "444455556666"]}"#,
            ),
            (
                r#"{ "AWS" : "999999999999" , "Service": "cloudtrail.amazonaws.com" }"#,
                r#"{ "Service": "cloudtrail.amazonaws.com" }"#,
            ),
        ] {
            assert_eq!(without_strangers(&policy(before)), Left::Rest(policy(after)), "{before}");
        }
        let whole = policy(r#"{"AWS":"999999999999"}"#);
        let rest = Left::Rest(format!(r#"{{ "Statement":[ {PRIVATE}] }}"#));
        assert_eq!(without_strangers(&whole), rest);
        let deny = r#"{"Statement":{"Effect":"Deny","Principal":{"AWS":"999999999999"},"Action":"s3:*","Resource":"*"}}"#;
        assert_eq!(without_strangers(deny), Left::Same);
    }

    #[test]
    fn actions_that_cannot_be_read_are_an_error() {
        for action in
            [r#""Action":7"#, r#""Action":"s3:*","NotAction":"s3:*""#, r#""Resource":"*""#]
        {
            let text = format!(
                r#"{{"Statement":{{"Effect":"Allow","Principal":{{"AWS":"999999999999"}},{action}}}}}"#
            );
            let known = Known { accounts: &[], organisations: &[] };
            let policy = Policy::parse(&text).unwrap();
            assert!(policy.without_strangers(&known).is_err(), "{text}");
        }
    }

    fn without_public(text: &str) -> Left {
        Policy::parse(text).unwrap().without_public()
    }

    #[test]
    fn what_stays_keeps_its_bytes() {
        for (before, after) in [
            (
                format!(
                    "{{\"Statement\" :[\n {PRIVATE} , {PUBLIC},\t{PRIVATE}\n]  ,\"Id\":\"x\"}} "
                ),
                format!("{{\"Statement\" :[\n {PRIVATE},\t{PRIVATE}\n]  ,\"Id\":\"x\"}} "),
            ),
            (
                format!("{{\"Statement\":[ {PUBLIC} ,{PUBLIC},\n{PRIVATE} ]}}"),
                format!("{{\"Statement\":[ {PRIVATE} ]}}"),
            ),
            (
                format!("{{\"Statement\":[ {PRIVATE} ,{PUBLIC},\n{PUBLIC} ]}}"),
                format!("{{\"Statement\":[ {PRIVATE} ]}}"),
            ),
        ] {
            assert_eq!(without_public(&before), Left::Rest(after));
        }
    }

    #[test]
    fn a_policy_of_public_statements_alone_leaves_nothing() {
        for text in [
            format!("{{\"Statement\":{PUBLIC}}}"),
            format!("{{\"Statement\":[{PUBLIC}]}}"),
            format!("{{\"Version\":\"2012-10-17\",\"Statement\":[{PUBLIC},{PUBLIC}]}}"),
        ] {
            assert_eq!(without_public(&text), Left::Nothing, "{text}");
        }
    }

    #[test]
    fn a_private_policy_is_left_alone() {
        for text in [
            format!("{{\"Statement\":{PRIVATE}}}"),
            format!("{{\"Statement\":[{PRIVATE},{PRIVATE}]}}"),
            "{\"Statement\":[]}".to_owned(),
        ] {
            assert_eq!(without_public(&text), Left::Same, "{text}");
        }
    }

    #[test]
    fn only_the_star_goes_from_among_fixed_principals() {
        let policy = |principal: &str| {
            format!(
                r#"{{"Statement":{{"Effect":"Allow", "Principal" : {principal},"Action":"s3:*","Resource":"*"}}}}"#
            )
        };
        for (before, after) in [
            (r#"{"AWS":["*", "123456789012" ]}"#, r#"{"AWS":["123456789012" ]}"#),
            (r#"{"AWS":[ "123456789012", "*"]}"#, r#"{"AWS":[ "123456789012"]}"#),
            (r#"{"AWS":["1", "\u002a" , "2"]}"#, r#"{"AWS":["1" , "2"]}"#),
            (
                r#"{ "AWS" : "*" , "Service": "cloudtrail.amazonaws.com" }"#,
                r#"{ "Service": "cloudtrail.amazonaws.com" }"#,
            ),
            (
                r#"{"Service":"cloudtrail.amazonaws.com" , "Federated":["a","b"]}"#,
                r#"{"Service":"cloudtrail.amazonaws.com"}"#,
            ),
            (r#"{"CanonicalUser":"*","AWS":["*","1","*"],"Service":"*"}"#, r#"{"AWS":["1"]}"#),
        ] {
            assert_eq!(without_public(&policy(before)), Left::Rest(policy(after)), "{before}");
        }
        let narrowed = r#"{"Statement":{"Effect":"Allow","Principal":{"AWS":["*","1"]},"Action":"s3:*",
            "Resource":"*","Condition":{"StringEquals":{"aws:SourceVpc":"vpc-1"}}}}"#;
        assert_eq!(without_public(narrowed), Left::Same);
    }

    #[test]
    fn a_policy_of_20_kb_is_read() {
        let many = vec![PRIVATE; 150].join(",");
        let text = format!("{{\"Statement\":[{many},{PUBLIC}]}}");
        assert!(text.len() > 15_000);
        assert_eq!(without_public(&text), Left::Rest(format!("{{\"Statement\":[{many}]}}")));
    }

    #[test]
    fn what_cannot_be_judged_is_an_error() {
        let statement = |members: &str| format!("{{\"Statement\":[{{{members}}}]}}");
        let allow = r#""Effect":"Allow","Action":"s3:*","Resource":"*""#;
        for text in [
            String::new(),
            "null".into(),
            "[]".into(),
            "{}".into(),
            "{\"Statement\":7}".into(),
            "{\"Statement\":[7]}".into(),
            "{\"Statement\":[{}]}".into(),
            format!("{{\"Statement\":[{PUBLIC}]}} trailing"),
            format!("{{\"Statement\":[{PUBLIC},]}}"),
            format!("{{\"Statement\":{PRIVATE},\"Statement\":{PUBLIC}}}"),
            format!("{{\"statement\":{PUBLIC},\"Statement\":{PRIVATE}}}"),
            statement(allow),
            statement(&format!(r#"{allow},"Principal":"123456789012""#)),
            statement(&format!(r#"{allow},"Principal":["*"]"#)),
            statement(&format!(r#"{allow},"Principal":{{"AWS":7}}"#)),
            statement(&format!(r#"{allow},"Principal":{{"Aws":"*"}}"#)),
            statement(&format!(r#"{allow},"Principal":{{"AWS":"1","AWS":"*"}}"#)),
            statement(&format!(r#"{allow},"Principal":"*","NotPrincipal":"*""#)),
            statement(&format!(r#"{allow},"Principal":{{"AWS":"1"}},"Principal":"*""#)),
            statement(&format!(r#"{allow},"Principal":{{"AWS":"1"}},"principal":"*""#)),
            statement(&format!(r#"{allow},"Principal":"*","Condition":"x""#)),
            statement(&format!(r#"{allow},"Principal":"*","Condition":{{"StringEquals":"x"}}"#)),
            statement(&format!(
                r#"{allow},"Principal":"*","Condition":{{"StringEquals":{{"aws:SourceVpc":"vpc-1","aws:sourcevpc":"*"}}}}"#
            )),
            statement(r#""Effect":"allow","Principal":"*","Action":"s3:*","Resource":"*""#),
            "[".repeat(100_000),
            "{\"Statement\":".repeat(50_000),
        ] {
            let shown: String = text.chars().take(100).collect();
            assert!(Policy::parse(&text).is_err(), "{shown}");
        }
    }

    #[test]
    fn the_same_policy_in_other_words() {
        let one =
            r#"{"Statement":[{"Action":["s3:Get*","s3:List*"],"Effect":"Allow"}],"Version":"x"}"#;
        let other =
            r#"{"Version" : "x", "Statement": {"Effect":"Allow","Action":["s3:List*","s3:Get*"]}}"#;
        assert!(same(one, other));
        assert!(!same(one, &other.replace("Allow", "Deny")));
        assert!(!same("nonsense", "other nonsense"));
        assert!(same("nonsense", "nonsense"));
    }

    /// A statement as text, whether it is public, and what is left of it if it is so only in part.
    fn statement() -> impl Strategy<Value = (String, Option<String>)> {
        let keep = |text: &str| (text.to_owned(), Some(text.to_owned()));
        let deny = r#"{"Effect" :"Deny","Principal":"*","Action":"s3:*","Resource":"*"}"#;
        let narrow = r#"{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*",
            "Condition":{"IpAddress":{"aws:SourceIp":"203.0.113.0/24"}}}"#;
        let mixed =
            r#"{"Effect":"Allow","Principal":{"AWS":["*" , "1"]},"Action":"s3:*","Resource":"*"}"#;
        let left = r#"{"Effect":"Allow","Principal":{"AWS":["1"]},"Action":"s3:*","Resource":"*"}"#;
        prop_oneof![
            Just(keep(PRIVATE)),
            Just(keep(deny)),
            Just(keep(narrow)),
            Just((PUBLIC.to_owned(), None)),
            Just((mixed.to_owned(), Some(left.to_owned()))),
        ]
    }

    proptest! {
        #[test]
        fn exactly_the_public_goes(
            statements in proptest::collection::vec((statement(), "[ \n\t]{0,3}"), 1..8),
        ) {
            let list = statements.iter().map(|((text, _), space)| format!("{space}{text}"));
            let before = format!("{{\"Statement\":[{}]}}", list.collect::<Vec<_>>().join(","));
            let kept: Vec<&String> =
                statements.iter().filter_map(|((_, left), _)| left.as_ref()).collect();
            let after = match without_public(&before) {
                Left::Same => before.clone(),
                Left::Rest(rest) => {
                    prop_assert!(!Policy::parse(&rest).unwrap().is_public());
                    rest
                }
                Left::Nothing => {
                    prop_assert!(kept.is_empty());
                    return Ok(());
                }
            };
            let policy = Policy::parse(&after).unwrap();
            let found: Vec<&str> =
                policy.statements.iter().map(|statement| statement.text).collect();
            prop_assert_eq!(found, kept);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*", cut in 0..200usize) {
            let _ = Policy::parse(&text);
            let whole = format!("{{\"Statement\":[{PRIVATE},{PUBLIC}]}}");
            let _ = Policy::parse(whole.get(..cut).unwrap_or(&whole));
        }
    }
}
