//! A SAML provider that somebody made.

use serde_json::{Value, json};

use super::{Error, Staged, sample};
use crate::{Cloud, cloud::ACCOUNT};

const SAMPLE: &str = include_str!("../../../../events/iam-identity-provider/violating.json");

/// The provider of the sample.
const SAMPLE_PROVIDER: &str = "corporate";

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let provider = format!("{SAMPLE_PROVIDER}-{name}");
    let create = cloud.iam.create_saml_provider().name(&provider);
    create.saml_metadata_document("<EntityDescriptor/>".repeat(60)).send().await?;
    Ok(Staged {
        control: "iam-identity-provider",
        event: sample::happening(SAMPLE, &[(SAMPLE_PROVIDER, &provider)])?,
        resource: format!("saml-provider/{provider}"),
    })
}

/// The same of OpenID Connect.
pub(super) async fn stage_oidc(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    const SAMPLE: &str = include_str!("../../../../events/iam-identity-provider/oidc.json");
    let address = format!("token.{name}.example.com");
    let create = cloud.iam.create_open_id_connect_provider().url(format!("https://{address}"));
    create.client_id_list("sts.amazonaws.com").send().await?;
    Ok(Staged {
        control: "iam-identity-provider",
        event: sample::happening(SAMPLE, &[("token.example.com", &address)])?,
        resource: format!("oidc-provider/{address}"),
    })
}

/// Whether it is there.
pub(super) async fn is_violating(cloud: &Cloud, resource: &str) -> Result<bool, Error> {
    let listed = cloud.iam.list_saml_providers().send().await?;
    let arn = format!("arn:aws:iam::{ACCOUNT}:{resource}");
    Ok(listed.saml_provider_list().iter().any(|one| one.arn() == Some(&arn)))
}

pub(super) async fn snapshot(cloud: &Cloud, resource: &str) -> Result<Value, Error> {
    let arn = format!("arn:aws:iam::{ACCOUNT}:{resource}");
    let found = cloud.iam.get_saml_provider().saml_provider_arn(arn).send().await?;
    Ok(json!({"metadata": found.saml_metadata_document}))
}
