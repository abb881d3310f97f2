//! A policy document as text, and how it is cut: what stays keeps its bytes, with white space, order and escapes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Range,
};

use quell_engine::policy::glob_matches;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

/// The text cannot be judged, so it is not touched. Does not repeat the text.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the policy cannot be read: {0}")]
pub struct Unreadable(String);

/// Whether two texts say the same policy. S3 may give a text back with other white space, and lists of principals or
/// actions in another order.
pub fn same(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    let plain = |text| serde_json::from_str::<Value>(text).ok().map(plain);
    plain(one).is_some_and(|one| plain(other) == Some(one))
}

/// With `*` for any number of characters and `?` for one, in whatever case.
pub fn matches_action(pattern: &str, action: &str) -> bool {
    glob_matches(&pattern.to_ascii_lowercase(), &action.to_ascii_lowercase())
}

/// A member of a JSON object, as slices of the text that it is read from.
pub struct Member<'a> {
    pub name: String,
    pub key: &'a str,
    pub value: &'a str,
}

pub fn members<'a>(object: &'a str, what: &str) -> Result<Vec<Member<'a>>, Unreadable> {
    let Members(found) = serde_json::from_str(object)
        .map_err(|error| unreadable(&format!("{what} is not a JSON object ({})", at(&error))))?;
    let mut names = BTreeSet::new();
    found
        .into_iter()
        .map(|(key, value)| {
            let name = text_of(key.get()).ok_or_else(|| unreadable("a key is not a text"))?;
            if !names.insert(name.clone()) {
                return Err(unreadable(&format!("{what} has the same key twice")));
            }
            Ok(Member { name, key: key.get(), value: value.get() })
        })
        .collect()
}

/// The items of a list, or the one value that stands for a list of one.
pub fn items(value: &str) -> Result<Vec<&str>, Unreadable> {
    if !value.starts_with('[') {
        return Ok(vec![value]);
    }
    let items: Vec<&RawValue> = serde_json::from_str(value)
        .map_err(|error| unreadable(&format!("a list is not JSON ({})", at(&error))))?;
    Ok(items.into_iter().map(RawValue::get).collect())
}

pub fn text_of(value: &str) -> Option<String> {
    serde_json::from_str(value).ok()
}

fn at(error: &serde_json::Error) -> String {
    format!("line {}, column {}", error.line(), error.column())
}

pub fn unreadable(why: &str) -> Unreadable {
    Unreadable(why.to_owned())
}

pub fn unknown(what: &str, name: &str) -> Unreadable {
    let name: String = name.chars().take(40).collect();
    Unreadable(format!("{name:?} is no known {what}"))
}

/// Every member in order, duplicates too.
struct Members<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Vec<(&'de RawValue, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                    // S3 takes 20 KB; nothing of that size has so many.
                    if members.len() > 4096 {
                        return Err(A::Error::custom("too many members"));
                    }
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(InOrder).map(Self)
    }
}

/// Where a slice lies in the text that it was cut from.
pub fn span(text: &str, slice: &str) -> Range<usize> {
    let start = (slice.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    start..start + slice.len()
}

/// The stretches to cut out of a list, so that those items stay that are `kept`, each after its own separator. At
/// least one is kept.
pub fn cuts(items: &[Range<usize>], kept: &[bool]) -> Vec<Range<usize>> {
    let first = kept.iter().position(|&kept| kept).unwrap_or_default();
    (0..items.len())
        .filter(|&i| !kept[i])
        .map(|i| {
            if i < first {
                items[i].start..items[i + 1].start
            } else {
                items[i - 1].end..items[i].end
            }
        })
        .collect()
}

pub fn cut(text: &str, mut cuts: Vec<Range<usize>>) -> String {
    cuts.sort_by_key(|cut| cut.start);
    let mut rest = String::with_capacity(text.len());
    let mut from = 0;
    for cut in cuts {
        rest.push_str(text.get(from..cut.start).unwrap_or_default());
        from = cut.end;
    }
    rest.push_str(text.get(from..).unwrap_or_default());
    rest
}

/// White space outside of strings goes.
pub fn compact(json: &str) -> String {
    match serde_json::from_str::<Value>(json) {
        Ok(value) => value.to_string(),
        Err(_) => json.to_owned(),
    }
}

/// A list of one like its item, and lists of texts in one order.
fn plain(value: Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.into_iter().map(plain).collect();
            if items.iter().all(Value::is_string) {
                items.sort_by(|one, other| one.as_str().cmp(&other.as_str()));
            }
            match items.len() {
                1 => items.swap_remove(0),
                _ => Value::Array(items),
            }
        }
        Value::Object(members) => {
            members.into_iter().map(|(name, value)| (name, plain(value))).collect()
        }
        other => other,
    }
}

/// The elements of a statement, by name. One that AWS does not know makes the statement unreadable.
pub fn elements(statement: &str) -> Result<BTreeMap<String, &str>, Unreadable> {
    let mut elements = BTreeMap::new();
    for Member { name, value, .. } in members(statement, "a statement")? {
        match name.as_str() {
            "Sid" | "Effect" | "Principal" | "NotPrincipal" | "Action" | "NotAction"
            | "Resource" | "NotResource" | "Condition" => elements.insert(name, value),
            _ => return Err(unknown("element of a statement", &name)),
        };
    }
    Ok(elements)
}

/// The statements of a document, as slices of its text.
pub fn statements(text: &str) -> Result<Vec<&str>, Unreadable> {
    let mut statements = None;
    for Member { name, value, .. } in members(text, "the policy")? {
        match name.as_str() {
            "Statement" => statements = Some(items(value)?),
            "Version" | "Id" => {}
            _ => return Err(unknown("element of a policy", &name)),
        }
    }
    statements.ok_or_else(|| unreadable("it has no `Statement`"))
}

/// The texts of an element: one, or a list.
pub fn texts(value: &str, what: &str) -> Result<Vec<String>, Unreadable> {
    let texts = items(value)?.into_iter().map(text_of).collect::<Option<_>>();
    texts.ok_or_else(|| unreadable(&format!("{what} is not a text")))
}

/// What is left of a document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Left {
    /// Nothing was to go.
    Same,
    /// This text is left.
    Rest(String),
    /// No statement is left.
    Nothing,
}

/// The document with those of its statements that are `kept`.
pub fn keeping(text: &str, statements: &[&str], kept: &[bool]) -> Left {
    if !kept.contains(&false) {
        return Left::Same;
    }
    if !kept.contains(&true) {
        return Left::Nothing;
    }
    let spans: Vec<Range<usize>> =
        statements.iter().map(|statement| span(text, statement)).collect();
    Left::Rest(cut(text, cuts(&spans, kept)))
}

/// As IAM gives documents: percent-encoded, as in RFC 3986. What is no such encoding is an error.
/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetPolicyVersion.html>
pub fn decoded(text: &str) -> Result<String, Unreadable> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let pair = digit(rest.next()).zip(digit(rest.next()));
                let code = pair.and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
                code.ok_or_else(|| unreadable("it is not percent-encoded"))?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_percent_encoded_is_an_error() {
        assert_eq!(decoded("%7B%22a%22%3a+1%7d").as_deref(), Ok("{\"a\":+1}"));
        for text in ["%", "%7", "%7x", "%ff", "100%"] {
            assert!(decoded(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(text in ".*") {
            let mut encoded = String::new();
            for byte in text.bytes() {
                write!(encoded, "%{byte:02X}").unwrap();
            }
            prop_assert_eq!(decoded(&encoded), Ok(text));
        }

        #[test]
        fn what_is_kept_keeps_its_bytes(
            items in proptest::collection::vec(("[ \n]{0,2}", 0..100u8, any::<bool>()), 1..8),
        ) {
            let text = |kept_only: bool| {
                let items = items.iter().filter(|(.., kept)| *kept || !kept_only);
                let items: Vec<String> =
                    items.map(|(space, item, _)| format!("{space}{{\"Sid\": \"{item}\"}}")).collect();
                items.join(",")
            };
            let whole = format!("{{ \"Statement\": [{}] }}", text(false));
            let all = statements(&whole).unwrap();
            let kept: Vec<bool> = items.iter().map(|(.., kept)| *kept).collect();
            match keeping(&whole, &all, &kept) {
                Left::Same => prop_assert!(!kept.contains(&false)),
                Left::Nothing => prop_assert!(!kept.contains(&true)),
                Left::Rest(rest) => {
                    let wanted: Vec<&str> =
                        all.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(one, _)| *one).collect();
                    prop_assert_eq!(statements(&rest).unwrap(), wanted);
                    let (head, tail) = ("{ \"Statement\": [", "] }");
                    prop_assert!(rest.starts_with(head) && rest.ends_with(tail));
                }
            }
        }
    }
}
