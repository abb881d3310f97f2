//! Tells when somebody brings in another who vouches for people.
//!
//! ## What it fixes
//! Nothing: it tells. A SAML or OpenID Connect provider that was made or changed is a message, with what it is now and who did it.
//!
//! ## Why it matters
//! Whoever runs an identity provider that the account trusts decides who signs in. One of an intruder's own lets anybody in, under
//! any name, for as long as it is there.
//!
//! ## What can break
//! Nothing is changed: to take a provider away, or to put its old certificate back, locks everybody out who signs in by it. If nobody
//! of yours did it, delete the provider, and look at which roles trust it.
//!
//! ## Undo
//! There is nothing to undo: nothing was changed.

use std::{collections::BTreeMap, fmt};

use aws_sdk_iam::Client;
use quell_engine::{
    CallError, CallErrorKind, Clients, Control, Description, During, Effect, Listen, Meta, Plan,
    Progress, Safety, Severity, Signal, Trigger, aws::OrMissing, control::TargetError,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::principal::{self, in_link};
use crate::partition;

const SAML: &str = "iam:GetSAMLProvider";
const OIDC: &str = "iam:GetOpenIDConnectProvider";

pub struct IdentityProvider {
    iam: Client,
    account: String,
    partition: &'static str,
}

/// A provider and what was done about it. As text: `saml-provider/corporate`, `oidc-provider/token.example.com`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Provider {
    kind: Kind,
    name: String,
    /// The call. `None`: nothing that is known.
    did: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Saml,
    Oidc,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Vouching {
    provider: Provider,
    /// For whom it vouches: the client ids of OpenID Connect.
    audiences: Vec<String>,
}

impl Control for IdentityProvider {
    const META: Meta = Meta {
        id: "iam-identity-provider",
        title: "People know of every identity provider that is made or changed",
        risk: "Whoever runs this identity provider decides who signs in to the account.",
        severity: Severity::High,
        safety: Safety::ReportOnly,
        reversible: false,
        satisfies: &["nist-800-53-r5/AC-2(4)", "nist-800-53-r5/IA-8", "nist-800-53-r5/AU-6"],
        function: "iam-privilege",
        listens: &[Listen::ApiCall {
            source: "aws.iam",
            service: "iam.amazonaws.com",
            calls: &[
                "AddClientIDToOpenIDConnectProvider",
                "CreateOpenIDConnectProvider",
                "CreateSAMLProvider",
                "UpdateOpenIDConnectProviderThumbprint",
                "UpdateSAMLProvider",
            ],
        }],
        discovers: &[],
        reads: &[OIDC, SAML],
        writes: &[],
        baseline: false,
        visible_within: 30,
        source: file!(),
    };

    const IS_GLOBAL: bool = true;

    type Target = Provider;
    type State = Vouching;
    type Change = Vouching;

    fn connect(aws: &Clients) -> Self {
        Self {
            iam: principal::client(aws),
            account: aws.account().to_owned(),
            partition: partition::of(aws.region()),
        }
    }

    fn targets(signal: &Signal) -> Result<Vec<Provider>, TargetError> {
        if !Self::META.hears(signal) {
            return Ok(Vec::new());
        }
        let (field, found) = match &signal.trigger {
            Trigger::ApiCall { name, parameters, response, .. } => {
                // Who makes one does not know its ARN yet; and CloudTrail writes `SAML` and `OpenID` in more than one way.
                let arn = [parameters, response].into_iter().filter_map(Value::as_object).flatten();
                let mut arn = arn.filter(|(field, _)| {
                    let field = field.to_ascii_lowercase();
                    field == "samlproviderarn" || field == "openidconnectproviderarn"
                });
                let arn = arn.find_map(|(_, value)| value.as_str());
                let found = arn.and_then(|arn| Provider::parse(arn, &signal.account));
                ("requestParameters, responseElements", found.map(|found| found.after(name)))
            }
            Trigger::Manual { resource, .. } => {
                ("detail.resource", Provider::parse(resource.trim(), &signal.account))
            }
            _ => return Ok(Vec::new()),
        };
        let reason = "it names no identity provider of this account".to_owned();
        let found = found.ok_or(TargetError { control: Self::META.id, field, reason })?;
        Ok(vec![found])
    }

    async fn assess(&self, provider: &Provider) -> Result<Option<Vouching>, CallError> {
        let arn = provider.arn(self.partition, &self.account);
        let audiences = match provider.kind {
            Kind::Saml => {
                let found = self.iam.get_saml_provider().saml_provider_arn(arn).send().await;
                found.during(SAML).or_missing(&["NoSuchEntity"])?.map(|_| Vec::new())
            }
            Kind::Oidc => {
                let found = self.iam.get_open_id_connect_provider();
                let found = found.open_id_connect_provider_arn(arn).send().await.during(OIDC);
                let found = found.or_missing(&["NoSuchEntity"])?;
                found.map(|found| found.client_id_list.unwrap_or_default())
            }
        };
        Ok(audiences.map(|audiences| Vouching { provider: provider.clone(), audiences }))
    }

    /// Only where something was done: providers are nothing bad.
    fn plan(found: &Vouching) -> Plan<Vouching> {
        if found.provider.did.is_some() { Plan::one(found.clone()) } else { Plan::nothing() }
    }

    async fn apply(
        &self,
        _: &Provider,
        _: &Vouching,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        Err(CallError::new(
            "quell:apply",
            CallErrorKind::Refused,
            "this control only tells; who takes a provider away locks people out",
        ))
    }

    fn revert(_: &Vouching, _: &Vouching) -> Plan<Vouching> {
        Plan::nothing()
    }

    fn describe(_: &Vouching, found: &Vouching) -> Description {
        let Vouching { provider, audiences } = found;
        let mut plus: Vec<String> =
            provider.did.iter().map(|call| format!("{provider}: {call}")).collect();
        plus.extend(audiences.iter().map(|id| format!("{provider} vouches for {id}")));
        let action = match provider.kind {
            Kind::Saml => SAML,
            Kind::Oidc => OIDC,
        };
        Description { action: action.into(), effect: Effect::Set, minus: Vec::new(), plus }
    }

    fn console(provider: &Provider, region: &str) -> String {
        let console = partition::console("iam", partition::first_region(region));
        let kind = match provider.kind {
            Kind::Saml => "SAML",
            Kind::Oidc => "OPENID",
        };
        format!("{console}#/identity_providers/details/{kind}/{}", in_link(&provider.name))
    }

    fn arn(provider: &Provider, account: &str, region: &str) -> String {
        provider.arn(partition::of(region), account)
    }

    async fn tags(&self, provider: &Provider) -> Result<BTreeMap<String, String>, CallError> {
        let arn = provider.arn(self.partition, &self.account);
        let tags = match provider.kind {
            Kind::Saml => {
                let found = self.iam.get_saml_provider().saml_provider_arn(arn).send().await;
                found.during(SAML)?.tags
            }
            Kind::Oidc => {
                let found = self.iam.get_open_id_connect_provider();
                let found = found.open_id_connect_provider_arn(arn).send().await;
                found.during(OIDC)?.tags
            }
        };
        let tags = tags.unwrap_or_default();
        Ok(tags.into_iter().map(|tag| (tag.key, tag.value)).collect())
    }
}

impl Provider {
    /// From `saml-provider/corporate`, or from an ARN.
    fn parse(text: &str, account: &str) -> Option<Self> {
        let resource = match text.strip_prefix("arn:") {
            None => text,
            Some(rest) => {
                let parts: Vec<&str> = rest.splitn(5, ':').collect();
                let [_, "iam", "", owner, resource] = parts.as_slice() else { return None };
                (*owner == account).then_some(*resource)?
            }
        };
        let (kind, name) = resource.split_once('/')?;
        let kind = match kind {
            "saml-provider" => Kind::Saml,
            "oidc-provider" => Kind::Oidc,
            _ => return None,
        };
        // An address without its scheme may have a path.
        let is_name = (1..=255).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b));
        is_name.then(|| Self { kind, name: name.to_owned(), did: None })
    }

    fn after(self, call: &str) -> Self {
        Self { did: Some(call.to_owned()), ..self }
    }

    fn arn(&self, partition: &str, account: &str) -> String {
        format!("arn:{partition}:iam::{account}:{self}")
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Saml => "saml-provider",
            Kind::Oidc => "oidc-provider",
        };
        write!(f, "{kind}/{}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::s3::tests::signal;

    fn called(name: &str, parameters: Value, response: Value) -> Signal {
        signal(Trigger::ApiCall {
            service: "iam.amazonaws.com".into(),
            name: name.into(),
            parameters,
            response,
            resources: Vec::new(),
        })
    }

    #[test]
    fn the_call_or_its_answer_names_the_provider() {
        let saml = "arn:aws:iam::123456789012:saml-provider/corporate";
        let oidc = "arn:aws:iam::123456789012:oidc-provider/token.example.com/a";
        for (call, parameters, response, named) in [
            (
                "CreateSAMLProvider",
                json!({"name": "corporate"}),
                json!({"sAMLProviderArn": saml}),
                "saml-provider/corporate",
            ),
            (
                "UpdateSAMLProvider",
                json!({"sAMLProviderArn": saml}),
                json!(null),
                "saml-provider/corporate",
            ),
            (
                "CreateOpenIDConnectProvider",
                json!({"url": "https://token.example.com/a"}),
                json!({"openIDConnectProviderArn": oidc}),
                "oidc-provider/token.example.com/a",
            ),
        ] {
            let found = IdentityProvider::targets(&called(call, parameters, response)).unwrap();
            assert_eq!(found[0].to_string(), named);
            let told = Vouching { provider: found[0].clone(), audiences: vec!["x".into()] };
            let described =
                IdentityProvider::describe(&told, &IdentityProvider::plan(&told).changes[0]);
            assert_eq!(described.plus[0], format!("{named}: {call}"));
        }
        let none = called("CreateSAMLProvider", json!({"name": "corporate"}), json!(null));
        assert!(IdentityProvider::targets(&none).is_err());
        for bad in ["corporate", "saml-provider/", "saml-provider/a b", "role/x"] {
            assert_eq!(Provider::parse(bad, "123456789012"), None, "{bad}");
        }
    }
}
