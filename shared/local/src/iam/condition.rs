//! Condition blocks.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html>

use serde_json::Value;

use super::policy::{Context, PolicyError, glob, texts};

/// One operator on one key.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    /// In lower case.
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    /// Whether the key is absent.
    Null(bool),
    Compare {
        set: Set,
        comparison: Comparison,
        negated: bool,
        if_exists: bool,
        wanted: Vec<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Set {
    One,
    ForAllValues,
    ForAnyValue,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Equal,
    EqualIgnoringCase,
    Like,
    /// Component by component. `ArnEquals` does the same as `ArnLike`.
    Arn,
    Bool,
}

/// Keys that may have several values: without `ForAllValues` or `ForAnyValue` a condition on them says nothing certain.
const MULTIVALUED: [&str; 4] =
    ["aws:tagkeys", "dynamodb:attributes", "dynamodb:leadingkeys", "kms:encryptioncontextkeys"];

impl Condition {
    pub(super) fn parse(at: &str, block: &Value) -> Result<Vec<Self>, PolicyError> {
        let error = |reason: String| PolicyError::new(at, reason);
        let operators = block
            .as_object()
            .ok_or_else(|| error("has a Condition that is no object".to_owned()))?;
        let mut conditions = Vec::new();
        for (operator, keys) in operators {
            let keys = keys
                .as_object()
                .filter(|keys| !keys.is_empty())
                .ok_or_else(|| error(format!("has the operator {operator} without keys")))?;
            for (key, values) in keys {
                let of = format!("{operator} of {key}");
                let is_key = key.split_once(':').is_some_and(|(prefix, name)| {
                    !prefix.is_empty() && !name.is_empty() && !key.contains(char::is_whitespace)
                });
                if !is_key {
                    return Err(error(format!("has {of}, which is no condition key")));
                }
                let wanted = texts(values)
                    .filter(|wanted| !wanted.is_empty())
                    .ok_or_else(|| error(format!("has {of} without texts to compare with")))?;
                if wanted.iter().any(|wanted| wanted.contains("${")) {
                    return Err(error(format!("has a policy variable in {of}: none is known")));
                }
                let test = Test::parse(operator, wanted)
                    .map_err(|reason| error(format!("has {of}: {reason}")))?;
                let key = key.to_ascii_lowercase();
                if matches!(test, Test::Compare { set: Set::One, .. })
                    && MULTIVALUED.contains(&key.as_str())
                {
                    let reason = "the key has several values; say ForAllValues or ForAnyValue";
                    return Err(error(format!("has {of}: {reason}")));
                }
                conditions.push(Self { key, test });
            }
        }
        if conditions.is_empty() {
            return Err(error("has an empty Condition".to_owned()));
        }
        Ok(conditions)
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn holds(&self, context: &Context) -> bool {
        let found = context.values(&self.key);
        match &self.test {
            Test::Null(wanted) => found.is_empty() == *wanted,
            Test::Compare { set, comparison, negated, if_exists, wanted } => {
                let fits = |value: &String| {
                    wanted.iter().any(|wanted| comparison.fits(wanted, value)) != *negated
                };
                match set {
                    // True without any value: only a `Null` beside it asks for one.
                    Set::ForAllValues => found.iter().all(fits),
                    Set::ForAnyValue => found.iter().any(fits),
                    // What is absent is not equal to anything.
                    Set::One if found.is_empty() => *if_exists || *negated,
                    Set::One => found.iter().all(fits),
                }
            }
        }
    }
}

impl Test {
    fn parse(operator: &str, wanted: Vec<String>) -> Result<Self, String> {
        if operator == "Null" {
            return match wanted.as_slice() {
                [one] if one.eq_ignore_ascii_case("true") => Ok(Self::Null(true)),
                [one] if one.eq_ignore_ascii_case("false") => Ok(Self::Null(false)),
                _ => Err("Null is either true or false".to_owned()),
            };
        }
        let (set, rest) = match operator.split_once(':') {
            None => (Set::One, operator),
            Some(("ForAllValues", rest)) => (Set::ForAllValues, rest),
            Some(("ForAnyValue", rest)) => (Set::ForAnyValue, rest),
            Some((other, _)) => return Err(format!("there is no set operator {other}")),
        };
        let (name, if_exists) = match rest.strip_suffix("IfExists") {
            Some(_) if set != Set::One => {
                return Err("a set operator with IfExists says nothing certain".to_owned());
            }
            Some(name) => (name, true),
            None => (rest, false),
        };
        let (comparison, negated) = match name {
            "StringEquals" => (Comparison::Equal, false),
            "StringNotEquals" => (Comparison::Equal, true),
            "StringEqualsIgnoreCase" => (Comparison::EqualIgnoringCase, false),
            "StringNotEqualsIgnoreCase" => (Comparison::EqualIgnoringCase, true),
            "StringLike" => (Comparison::Like, false),
            "StringNotLike" => (Comparison::Like, true),
            "ArnEquals" | "ArnLike" => (Comparison::Arn, false),
            "ArnNotEquals" | "ArnNotLike" => (Comparison::Arn, true),
            "Bool" => (Comparison::Bool, false),
            _ => return Err("the operator is not known here".to_owned()),
        };
        for wanted in &wanted {
            let is_bool = ["true", "false"].iter().any(|bool| wanted.eq_ignore_ascii_case(bool));
            let is_well = match comparison {
                Comparison::Bool => is_bool,
                Comparison::Arn => components(wanted).is_some(),
                _ => true,
            };
            if !is_well {
                return Err(format!("{wanted} cannot be compared so"));
            }
        }
        Ok(Self::Compare { set, comparison, negated, if_exists, wanted })
    }
}

impl Comparison {
    fn fits(self, wanted: &str, value: &str) -> bool {
        match self {
            Self::Equal => wanted == value,
            Self::EqualIgnoringCase => wanted.to_lowercase() == value.to_lowercase(),
            Self::Bool => wanted.eq_ignore_ascii_case(value),
            Self::Like => glob(wanted, value),
            Self::Arn => match (components(wanted), components(value)) {
                (Some(wanted), Some(value)) => {
                    wanted.iter().zip(value).all(|(wanted, value)| glob(wanted, value))
                }
                _ => false,
            },
        }
    }
}

/// The six parts of an ARN. The last may have colons.
fn components(arn: &str) -> Option<[&str; 6]> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    parts.try_into().ok().filter(|parts: &[&str; 6]| parts[0] == "arn")
}
