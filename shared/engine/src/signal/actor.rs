//! Who did it, in words.

use sha2::{Digest as _, Sha256};

use super::{
    Actor,
    fields::{Fields, capped},
};

const MAX_NAME: usize = 256;
const MAX_ARN: usize = 2048;

/// The prefix of the roles that IAM Identity Center makes for people.
const IDENTITY_CENTER: &str = "AWSReservedSSO_";

/// The actor of a CloudTrail record. Every part of it may be missing.
pub(super) fn of_record(detail: &Fields<'_>) -> Option<Actor> {
    let identity = detail.hint_object("userIdentity")?;
    Some(Actor {
        principal: capped(&principal(&identity), MAX_NAME),
        arn: identity.hint("arn").map(|arn| capped(arn, MAX_ARN)),
        key: identity.hint("accessKeyId").filter(|id| !id.is_empty()).map(key_digest),
        source_ip: detail.hint("sourceIPAddress").map(|address| capped(address, MAX_NAME)),
        user_agent: detail.hint("userAgent").map(|agent| capped(agent, MAX_NAME)),
        invoked_by: identity.hint("invokedBy").map(|service| capped(service, MAX_NAME)),
    })
}

/// The actor of a GuardDuty finding: whose credentials were used, and from where.
pub(super) fn of_finding(detail: &Fields<'_>) -> Option<Actor> {
    let details = detail.hint_object("resource")?.hint_object("accessKeyDetails")?;
    let name = details.hint("userName").or_else(|| details.hint("principalId"));
    let principal = match (details.hint("userType"), name) {
        (Some("Root"), _) => "root".to_owned(),
        (Some("IAMUser"), Some(name)) => format!("user {name}"),
        (Some("AssumedRole" | "Role"), Some(name)) => format!("role {name}"),
        (_, Some(name)) => format!("principal {name}"),
        (_, None) => return None,
    };
    let source_ip = detail
        .hint_object("service")
        .and_then(|service| service.hint_object("action"))
        .and_then(|action| action.hint_object("awsApiCallAction"))
        .and_then(|action| action.hint_object("remoteIpDetails"))
        .and_then(|details| details.hint("ipAddressV4").map(|ip| capped(ip, MAX_NAME)));
    let key = details.hint("accessKeyId").filter(|id| !id.is_empty()).map(key_digest);
    Some(Actor { principal: capped(&principal, MAX_NAME), key, source_ip, ..Actor::default() })
}

/// Ten bytes of SHA-256, in hexadecimal digits.
pub fn key_digest(id: &str) -> String {
    Sha256::digest(id).iter().take(10).map(|byte| format!("{byte:02x}")).collect()
}

fn principal(identity: &Fields<'_>) -> String {
    let issuer = identity
        .hint_object("sessionContext")
        .and_then(|context| context.hint_object("sessionIssuer"))
        .and_then(|issuer| issuer.hint("userName"));
    let arn = identity.hint("arn");
    let id = identity.hint("principalId");
    let name = identity
        .hint("userName")
        // CloudTrail hides what a person typed in place of a user name: it may be the password.
        .map(|name| if name == "HIDDEN_DUE_TO_SECURITY_REASONS" { "(name hidden)" } else { name });
    // `AROA…:session`
    let session = id.and_then(|id| id.split_once(':')).map(|(_, session)| session);

    match identity.hint("type") {
        Some("Root") => "root".to_owned(),
        Some("IAMUser") => {
            let name = name.or_else(|| arn.and_then(|arn| arn.rsplit('/').next())).or(id);
            named("user", name)
        }
        Some("AssumedRole") => {
            // `arn:aws:sts::123456789012:assumed-role/role/session`
            let mut parts = arn
                .and_then(|arn| arn.split_once(":assumed-role/"))
                .map(|(_, rest)| rest.splitn(2, '/'));
            let role_of_arn = parts.as_mut().and_then(Iterator::next);
            let session = session.or_else(|| parts.as_mut().and_then(Iterator::next));
            match (issuer.or(role_of_arn).or(name), session) {
                (Some(role), Some(person)) if role.starts_with(IDENTITY_CENTER) => {
                    format!("SSO user {person}")
                }
                (Some(role), Some(session)) => format!("role {role} (session {session})"),
                (role, _) => named("role", role.or(id)),
            }
        }
        Some("Role") => named("role", name.or(issuer).or(id)),
        Some("FederatedUser") => {
            let of_arn =
                arn.and_then(|arn| arn.split_once(":federated-user/")).map(|(_, name)| name);
            named("federated user", of_arn.or(session).or(name).or(id))
        }
        Some("SAMLUser") => named("SAML user", name.or(id)),
        Some("WebIdentityUser") => named("web identity", name.or(id)),
        Some("IdentityCenterUser") => {
            let person = identity.hint_object("onBehalfOf").and_then(|of| of.hint("userId"));
            named("SSO user", name.or(person).or(id))
        }
        Some("Directory") => named("directory user", name.or(id)),
        Some("AWSService") => named("service", identity.hint("invokedBy").or(id)),
        Some("AWSAccount") => named("account", identity.hint("accountId").or(id)),
        _ => match (name.or(arn).or(id), identity.hint("invokedBy")) {
            (Some(name), _) => named("principal", Some(name)),
            (None, Some(service)) => named("service", Some(service)),
            (None, None) => "unknown".to_owned(),
        },
    }
}

fn named(kind: &str, name: Option<&str>) -> String {
    name.map_or_else(|| format!("unknown {kind}"), |name| format!("{kind} {name}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn everyone_has_a_readable_name() {
        let cases = [
            (json!({"type": "Root", "arn": "arn:aws:iam::123456789012:root"}), "root"),
            (json!({"type": "IAMUser", "userName": "alice"}), "user alice"),
            (
                json!({"type": "IAMUser", "arn": "arn:aws:iam::123456789012:user/ops/alice"}),
                "user alice",
            ),
            (
                json!({"type": "IAMUser", "userName": "HIDDEN_DUE_TO_SECURITY_REASONS"}),
                "user (name hidden)",
            ),
            (
                json!({"type": "AssumedRole", "principalId": "AROAQUELLSAMPLE:ci",
                    "sessionContext": {"sessionIssuer": {"userName": "deploy"}}}),
                "role deploy (session ci)",
            ),
            (
                json!({"type": "AssumedRole",
                    "arn": "arn:aws:sts::123456789012:assumed-role/deploy/ci"}),
                "role deploy (session ci)",
            ),
            (json!({"type": "AssumedRole", "userName": "deploy"}), "role deploy"),
            (
                json!({"type": "AssumedRole", "principalId": "AROAQUELLSAMPLE:bob@example.com",
                    "arn": "arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Admin_0123456789abcdef/bob@example.com"}),
                "SSO user bob@example.com",
            ),
            (
                json!({"type": "AWSService", "invokedBy": "cloudformation.amazonaws.com"}),
                "service cloudformation.amazonaws.com",
            ),
            (json!({"type": "AWSAccount", "accountId": "111122223333"}), "account 111122223333"),
            (
                json!({"type": "FederatedUser", "principalId": "123456789012:carol"}),
                "federated user carol",
            ),
            (
                json!({"type": "WebIdentityUser", "userName": "oidc-subject"}),
                "web identity oidc-subject",
            ),
            (
                json!({"type": "IdentityCenterUser", "onBehalfOf": {"userId": "c0ffee00"}}),
                "SSO user c0ffee00",
            ),
            (
                json!({"type": "Unknown", "principalId": "AIDAQUELLSAMPLE"}),
                "principal AIDAQUELLSAMPLE",
            ),
            (json!({"invokedBy": "s3.amazonaws.com"}), "service s3.amazonaws.com"),
            (json!({"type": "IAMUser"}), "unknown user"),
            (json!({"type": 7, "userName": ["x"]}), "unknown"),
        ];
        for (identity, expected) in cases {
            assert_eq!(actor(json!({"userIdentity": identity})).unwrap().principal, expected);
        }
        assert_eq!(actor(json!({})), None);
        assert_eq!(actor(json!({"userIdentity": "someone"})), None);
    }

    #[test]
    fn what_an_attacker_may_write_is_not_kept_at_any_length() {
        let actor = actor(json!({
            "userIdentity": {"type": "IAMUser", "userName": "é".repeat(10_000)},
            "userAgent": "x".repeat(10_000),
            "sourceIPAddress": "198.51.100.7",
        }))
        .unwrap();
        assert_eq!(actor.principal.chars().count(), MAX_NAME + 1);
        assert_eq!(actor.user_agent.unwrap().chars().count(), MAX_NAME + 1);
        assert_eq!(actor.source_ip.as_deref(), Some("198.51.100.7"));
    }

    fn actor(detail: Value) -> Option<Actor> {
        of_record(&Fields::root(&detail).unwrap())
    }
}
