//! Policy documents, and what they say of one action on one resource.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html>

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::condition::Condition;

/// An identity-based policy: no `Principal`. Whatever could not be evaluated is refused when it is read, so that
/// evaluation has no errors.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    statements: Vec<Statement>,
}

/// What a request is known by beside its action and resource: the keys in lower case. A key without values is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context(BTreeMap<String, Vec<String>>);

/// What policies say.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// By the statement with this `Sid`. Empty: it has none.
    Allowed { sid: String },
    /// A statement denies it, whatever others allow.
    ExplicitlyDenied { sid: String },
    /// No statement allows it.
    NotAllowed,
    /// The permissions boundary does not allow it.
    OutsideBoundary,
}

/// Why a document is no policy that could be evaluated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{at} {reason}")]
pub struct PolicyError {
    /// Such as `Statement 2`.
    pub at: String,
    pub reason: String,
}

impl Policy {
    pub fn parse(document: &Value) -> Result<Self, PolicyError> {
        let error = |reason: &str| PolicyError::new("the policy", reason);
        let document = document.as_object().ok_or_else(|| error("is not an object"))?;
        if let Some(other) = unknown(document, &["Version", "Id", "Statement"]) {
            return Err(error(&format!("has the element {other}, which none has")));
        }
        // The older version knows no variables, and nobody writes it any more.
        if document.get("Version").and_then(Value::as_str) != Some("2012-10-17") {
            return Err(error("is not of Version 2012-10-17"));
        }
        let statements = match document.get("Statement") {
            Some(Value::Array(statements)) => statements.iter().collect(),
            Some(one) => vec![one],
            None => Vec::new(),
        };
        if statements.is_empty() {
            return Err(error("has no Statement"));
        }
        let numbered = statements.into_iter().enumerate();
        let statements = numbered
            .map(|(index, statement)| Statement::parse(&format!("Statement {index}"), statement))
            .collect::<Result<_, _>>()?;
        Ok(Self { statements })
    }

    /// What these policies together say, within the boundary if there is one. An explicit deny wins wherever it is.
    pub fn decide(
        policies: &[Self],
        boundary: Option<&Self>,
        action: &str,
        resource: &str,
        context: &Context,
    ) -> Decision {
        let fits = |statement: &&Statement| statement.fits(action, resource, context);
        let all = || policies.iter().flat_map(|policy| &policy.statements).filter(fits);
        let bounds = || boundary.into_iter().flat_map(|policy| &policy.statements).filter(fits);
        if let Some(denial) = all().chain(bounds()).find(|one| one.effect == Effect::Deny) {
            return Decision::ExplicitlyDenied { sid: denial.sid.clone() };
        }
        let Some(allowing) = all().next() else { return Decision::NotAllowed };
        if boundary.is_some() && bounds().next().is_none() {
            return Decision::OutsideBoundary;
        }
        Decision::Allowed { sid: allowing.sid.clone() }
    }

    /// The condition keys that the policy looks at where one of these actions is asked for, in lower case.
    pub(super) fn keys(&self, actions: &[&str]) -> impl Iterator<Item = &str> {
        let asked = |one: &&Statement| {
            actions.iter().any(|action| one.actions.fit(&action.to_ascii_lowercase()))
        };
        let statements = self.statements.iter().filter(asked);
        statements.flat_map(|one| &one.conditions).map(Condition::key)
    }
}

impl Context {
    /// Adds a value: keys such as `aws:TagKeys` have several.
    pub fn add(&mut self, key: &str, value: impl Into<String>) {
        self.0.entry(key.to_ascii_lowercase()).or_default().push(value.into());
    }

    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.add(key, value);
        self
    }

    /// Empty: it is absent. The key is in lower case.
    pub(super) fn values(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }
}

impl Decision {
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed { .. })
    }
}

impl PolicyError {
    pub(super) fn new(at: &str, reason: impl Into<String>) -> Self {
        Self { at: at.to_owned(), reason: reason.into() }
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Statement {
    sid: String,
    effect: Effect,
    actions: Patterns,
    resources: Patterns,
    /// All have to hold.
    conditions: Vec<Condition>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Effect {
    Allow,
    Deny,
}

/// `Action` or `Resource`: one of them has to match. `NotAction` or `NotResource`: none may.
#[derive(Clone, Debug, PartialEq)]
struct Patterns {
    patterns: Vec<String>,
    negated: bool,
}

impl Statement {
    fn parse(at: &str, statement: &Value) -> Result<Self, PolicyError> {
        let error = |reason: String| PolicyError::new(at, reason);
        let fields = statement.as_object().ok_or_else(|| error("is not an object".to_owned()))?;
        const KNOWN: [&str; 7] =
            ["Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"];
        if let Some(other) = unknown(fields, &KNOWN) {
            return Err(error(format!("has the element {other}, which no role's policy has")));
        }
        let sid = match fields.get("Sid") {
            None => String::new(),
            Some(Value::String(sid)) => sid.clone(),
            Some(_) => return Err(error("has a Sid that is not text".to_owned())),
        };
        let effect = match fields.get("Effect").and_then(Value::as_str) {
            Some("Allow") => Effect::Allow,
            Some("Deny") => Effect::Deny,
            _ => return Err(error("has an Effect that is neither Allow nor Deny".to_owned())),
        };
        let mut actions = Patterns::parse(at, fields, "Action", "NotAction")?;
        for action in &mut actions.patterns {
            let is_action = action.split_once(':').is_some_and(|(service, name)| {
                let is_name =
                    |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '*' || c == '?';
                let is_service = |c: char| c.is_ascii_alphanumeric() || c == '-';
                !service.is_empty()
                    && !name.is_empty()
                    && service.chars().all(is_service)
                    && name.chars().all(is_name)
            });
            if !is_action && action != "*" {
                return Err(error(format!("names the action {action}, which is none")));
            }
            // Actions are compared without regard to case.
            action.make_ascii_lowercase();
        }
        let resources = Patterns::parse(at, fields, "Resource", "NotResource")?;
        for resource in &resources.patterns {
            let is_arn = resource.starts_with("arn:") && resource.splitn(6, ':').count() == 6;
            if !is_arn && resource != "*" {
                return Err(error(format!("names the resource {resource}, which is no ARN")));
            }
            if resource.contains("${") {
                return Err(error(format!("has a policy variable in {resource}: none is known")));
            }
        }
        let conditions = match fields.get("Condition") {
            None => Vec::new(),
            Some(block) => Condition::parse(at, block)?,
        };
        Ok(Self { sid, effect, actions, resources, conditions })
    }

    fn fits(&self, action: &str, resource: &str, context: &Context) -> bool {
        self.actions.fit(&action.to_ascii_lowercase())
            && self.resources.fit(resource)
            && self.conditions.iter().all(|condition| condition.holds(context))
    }
}

impl Patterns {
    fn parse(
        at: &str,
        fields: &Map<String, Value>,
        name: &str,
        negated: &str,
    ) -> Result<Self, PolicyError> {
        let error = |reason: String| PolicyError::new(at, reason);
        let (name, value, negated) = match (fields.get(name), fields.get(negated)) {
            (Some(value), None) => (name, value, false),
            (None, Some(value)) => (negated, value, true),
            _ => return Err(error(format!("has not exactly one of {name} and {negated}"))),
        };
        let patterns = texts(value).ok_or_else(|| error(format!("has no texts as {name}")))?;
        if patterns.is_empty() {
            return Err(error(format!("has an empty {name}")));
        }
        Ok(Self { patterns, negated })
    }

    /// `*` is any text, colons too, and `?` any one character.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html>
    fn fit(&self, text: &str) -> bool {
        self.patterns.iter().any(|pattern| glob(pattern, text)) != self.negated
    }
}

/// A text, or a list of texts.
pub(super) fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(one) => Some(vec![one.clone()]),
        Value::Array(many) => many.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

/// Whether the whole text fits, in time that grows with the product of both lengths at worst.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where the last `*` was, and up to where it reaches by now.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, reach)) => {
                    star = Some((at, reach + 1));
                    p = at + 1;
                    t = reach + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

fn unknown<'a>(fields: &'a Map<String, Value>, known: &[&str]) -> Option<&'a str> {
    fields.keys().map(String::as_str).find(|name| !known.contains(name))
}

#[cfg(test)]
mod tests;
