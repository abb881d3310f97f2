//! A role with its policies, and what it makes of a request.

use serde_json::Value;

use super::{
    actions::{KEYS, Request, UnknownOperation, asked_for},
    policy::{Context, Decision, Policy, PolicyError},
};

/// A role as it is deployed: everything in its policies is resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Role {
    arn: String,
    account: String,
    documents: Vec<Value>,
    policies: Vec<Policy>,
    boundary: Option<Policy>,
}

/// An action on a resource that a statement allowed.
#[derive(Clone, Debug, PartialEq)]
pub struct Granted {
    pub action: String,
    pub resource: String,
    /// `Sid` of the statement.
    pub sid: String,
}

/// Why a request is denied.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refused {
    #[error(
        "User: {role} is not authorized to perform: {action} on resource: {resource} because {because}"
    )]
    Denied { role: String, action: String, resource: String, because: String },
    #[error("User: {role} is not authorized to perform it: {unknown}")]
    Unknown { role: String, unknown: UnknownOperation },
}

impl Refused {
    /// None: it is not known what is asked for.
    pub fn action(&self) -> Option<&str> {
        match self {
            Self::Denied { action, .. } => Some(action),
            Self::Unknown { .. } => None,
        }
    }
}

impl Role {
    /// `arn` is such as `arn:aws:iam::123456789012:role/name`.
    pub fn new(
        arn: &str,
        documents: Vec<Value>,
        boundary: Option<&Value>,
    ) -> Result<Self, PolicyError> {
        let policies = documents.iter().map(Policy::parse).collect::<Result<Vec<_>, _>>()?;
        let boundary = boundary.map(Policy::parse).transpose()?;
        let actions = asked_for();
        for key in policies.iter().chain(&boundary).flat_map(|policy| policy.keys(&actions)) {
            let is_known = |known: &str| match known.strip_suffix('/') {
                Some(_) => key.starts_with(known),
                None => key == known,
            };
            if !KEYS.iter().any(|known| is_known(known)) {
                let reason = format!("looks at {key}, which no request tells here");
                return Err(PolicyError::new("the policy", reason));
            }
        }
        let account = arn.split(':').nth(4).unwrap_or_default().to_owned();
        Ok(Self { arn: arn.to_owned(), account, documents, policies, boundary })
    }

    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// The policy documents.
    pub fn documents(&self) -> &[Value] {
        &self.documents
    }

    /// The same role with other policies.
    pub fn with(&self, documents: Vec<Value>) -> Result<Self, PolicyError> {
        let role = Self::new(&self.arn, documents, None)?;
        Ok(Self { boundary: self.boundary.clone(), ..role })
    }

    /// Whether the role may do what is requested, and by which statements.
    pub fn judge(&self, request: &Request) -> Result<Vec<Granted>, Refused> {
        let asked = request
            .asks()
            .map_err(|unknown| Refused::Unknown { role: self.arn.clone(), unknown })?;
        asked
            .into_iter()
            .map(|asked| {
                let context = self.known(asked.context);
                let boundary = self.boundary.as_ref();
                let (action, resource) = (asked.action, asked.resource);
                match Policy::decide(&self.policies, boundary, &action, &resource, &context) {
                    Decision::Allowed { sid } => Ok(Granted { action, resource, sid }),
                    refusal => {
                        let because = because(&refusal, &action);
                        let role = self.arn.clone();
                        Err(Refused::Denied { role, action, resource, because })
                    }
                }
            })
            .collect()
    }

    fn known(&self, context: Context) -> Context {
        context
            .with("aws:PrincipalArn", self.arn.as_str())
            .with("aws:PrincipalAccount", self.account.as_str())
    }
}

/// In AWS's words. <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>
fn because(refusal: &Decision, action: &str) -> String {
    match refusal {
        Decision::ExplicitlyDenied { sid } => {
            format!("of an explicit deny in an identity-based policy ({sid})")
        }
        Decision::OutsideBoundary => {
            format!("no permissions boundary allows the {action} action")
        }
        Decision::NotAllowed | Decision::Allowed { .. } => {
            format!("no identity-based policy allows the {action} action")
        }
    }
}
