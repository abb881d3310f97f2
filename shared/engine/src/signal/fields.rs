//! Typed reading of JSON that may be anything.

use serde_json::{Map, Value};

use super::EventError;
use crate::text::{is_invisible, redacted};

/// An object in the event, with the path by which errors name its fields. Null counts as absent.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    object: &'a Map<String, Value>,
    path: String,
}

impl<'a> Fields<'a> {
    pub(super) fn root(event: &'a Value) -> Result<Self, EventError> {
        match event {
            Value::Object(object) => Ok(Self { object, path: String::new() }),
            other => Err(EventError::NotAnObject { found: kind(other) }),
        }
    }

    pub(super) fn value(&self, field: &str) -> Option<&'a Value> {
        self.object.get(field).filter(|value| !value.is_null())
    }

    pub(super) fn has(&self, field: &str) -> bool {
        self.value(field).is_some()
    }

    /// Empty text counts as absent.
    pub(super) fn text(&self, field: &str) -> Result<Option<&'a str>, EventError> {
        match self.value(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(other) => Err(self.wrong_type(field, "text", other)),
        }
    }

    pub(super) fn required_text(&self, field: &str) -> Result<&'a str, EventError> {
        self.text(field)?.ok_or_else(|| self.missing(field))
    }

    /// For text that nothing depends on.
    pub(super) fn hint(&self, field: &str) -> Option<&'a str> {
        self.value(field).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// True, or the text `true` as some services write it.
    pub(super) fn flag(&self, field: &str) -> bool {
        self.value(field).is_some_and(is_true)
    }

    pub(super) fn required_number(&self, field: &str) -> Result<f64, EventError> {
        let value = self.value(field).ok_or_else(|| self.missing(field))?;
        value.as_f64().ok_or_else(|| self.wrong_type(field, "a number", value))
    }

    pub(super) fn object(&self, field: &str) -> Result<Option<Self>, EventError> {
        match self.value(field) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(Self { object, path: self.path(field) })),
            Some(other) => Err(self.wrong_type(field, "an object", other)),
        }
    }

    pub(super) fn required_object(&self, field: &str) -> Result<Self, EventError> {
        self.object(field)?.ok_or_else(|| self.missing(field))
    }

    /// For objects that nothing depends on.
    pub(super) fn hint_object(&self, field: &str) -> Option<Self> {
        self.object(field).ok().flatten()
    }

    /// Absent is empty.
    pub(super) fn list(&self, field: &str) -> Result<&'a [Value], EventError> {
        match self.value(field) {
            None => Ok(&[]),
            Some(Value::Array(list)) => Ok(list),
            Some(other) => Err(self.wrong_type(field, "a list", other)),
        }
    }

    /// The objects of a list that must hold at least one, and nothing but objects.
    pub(super) fn required_objects(&self, field: &str) -> Result<Vec<Self>, EventError> {
        let list = self.list(field)?;
        if list.is_empty() {
            return Err(self.missing(field));
        }
        list.iter()
            .enumerate()
            .map(|(index, value)| {
                let path = self.path(&format!("{field}[{index}]"));
                match value {
                    Value::Object(object) => Ok(Self { object, path }),
                    other => Err(EventError::WrongType {
                        field: path,
                        expected: "an object",
                        found: kind(other),
                    }),
                }
            })
            .collect()
    }

    pub(super) fn path(&self, field: &str) -> String {
        if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) }
    }

    pub(super) fn missing(&self, field: &str) -> EventError {
        EventError::Missing { field: self.path(field) }
    }

    pub(super) fn wrong_type(
        &self,
        field: &str,
        expected: &'static str,
        found: &Value,
    ) -> EventError {
        EventError::WrongType { field: self.path(field), expected, found: kind(found) }
    }
}

pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(value) => *value,
        Value::String(text) => text.eq_ignore_ascii_case("true"),
        _ => false,
    }
}

/// Untrusted text for an error or a reason: short, on one line, all of it visible, and without secrets.
pub(super) fn brief(text: &str) -> String {
    let visible: String = text.chars().filter(|c| !is_invisible(*c)).collect();
    cut(redacted(&visible).chars(), 80)
}

/// Untrusted text that is kept as it is, but not at any length and without secrets.
pub(super) fn capped(text: &str, limit: usize) -> String {
    cut(redacted(text).chars(), limit)
}

fn cut(mut chars: impl Iterator<Item = char>, limit: usize) -> String {
    let mut short: String = chars.by_ref().take(limit).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_error_names_the_whole_path() {
        let event = json!({"detail": {"findings": [{"Id": 7}]}});
        let detail = Fields::root(&event).unwrap().required_object("detail").unwrap();
        let finding = &detail.required_objects("findings").unwrap()[0];
        assert_eq!(
            finding.required_text("Id").unwrap_err().to_string(),
            "`detail.findings[0].Id` is a number, not text"
        );
        assert_eq!(
            finding.required_text("Title").unwrap_err().to_string(),
            "`detail.findings[0].Title` is missing or empty"
        );
    }

    #[test]
    fn text_for_errors_is_short_and_on_one_line() {
        assert_eq!(brief("a\r\nb\u{1b}[31m\u{202e}c"), "ab[31mc");
        assert_eq!(brief("a\u{e0041}\u{ee80f}\u{fe0f}\u{ad}b"), "ab");
        assert_eq!(brief(&"x".repeat(500)).chars().count(), 81);
    }
}
