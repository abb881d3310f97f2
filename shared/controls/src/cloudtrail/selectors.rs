//! What a trail records: its event selectors, of either kind.
//!
//! <https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_EventSelector.html>,
//! <https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_AdvancedEventSelector.html>

use std::fmt;

use aws_sdk_cloudtrail::{
    Client,
    types::{
        AdvancedEventSelector, AdvancedFieldSelector, DataResource, EventSelector, ReadWriteType,
    },
};
use quell_engine::{CallError, CallErrorKind, During};
use serde::{Deserialize, Serialize};

pub(super) const READ: &str = "cloudtrail:GetEventSelectors";
pub(super) const WRITE: &str = "cloudtrail:PutEventSelectors";

/// A selector may name 500 values in all: three fields of them would make millions of parts.
const PARTS: usize = 4096;

/// A trail has one kind or the other.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Selectors {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    basic: Vec<Basic>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    advanced: Vec<Advanced>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Basic {
    /// `All`, `ReadOnly` or `WriteOnly`.
    calls: String,
    /// Management events.
    management: bool,
    /// Services whose management events are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    without: Vec<String>,
    /// Types of resources, and the ARNs that they begin with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    data: Vec<(String, Vec<String>)>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Advanced {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    fields: Vec<Field>,
}

/// What a field of an event has to be: what all operators that are there let through.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
struct Field {
    field: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    equals: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    starts_with: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ends_with: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    not_equals: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    not_starts_with: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    not_ends_with: Vec<String>,
}

impl Selectors {
    pub(super) fn is_empty(&self) -> bool {
        self.basic.is_empty() && self.advanced.is_empty()
    }

    pub(super) async fn read(cloudtrail: &Client, trail: &str) -> Result<Self, CallError> {
        let found = cloudtrail.get_event_selectors().trail_name(trail).send().await.during(READ)?;
        let basic = found.event_selectors.unwrap_or_default().into_iter();
        let advanced = found.advanced_event_selectors.unwrap_or_default().into_iter();
        Ok(Self {
            basic: basic.map(Basic::from).collect(),
            advanced: advanced.map(Advanced::from).collect(),
        })
    }

    pub(super) async fn write(&self, cloudtrail: &Client, trail: &str) -> Result<(), CallError> {
        let advanced = self.advanced.iter().map(Advanced::to_sdk).collect::<Result<Vec<_>, _>>();
        let advanced = advanced
            .map_err(|error| CallError::new(WRITE, CallErrorKind::Refused, error.to_string()))?;
        let basic: Vec<_> = self.basic.iter().map(Basic::to_sdk).collect();
        cloudtrail
            .put_event_selectors()
            .trail_name(trail)
            .set_event_selectors((!basic.is_empty()).then_some(basic))
            .set_advanced_event_selectors((!advanced.is_empty()).then_some(advanced))
            .send()
            .await
            .during(WRITE)?;
        Ok(())
    }

    /// Whether every event that the others record is recorded by one of these, as far as can be told by comparing them one
    /// by one.
    pub(super) fn record_all_of(&self, others: &Self) -> bool {
        let these = self.as_advanced();
        let is_covered = |other: &Advanced| {
            other.parts().iter().all(|part| these.iter().any(|one| one.admits(part)))
        };
        others.as_advanced().iter().all(is_covered)
    }

    /// Basic selectors as the advanced ones that they are short for.
    fn as_advanced(&self) -> Vec<Advanced> {
        let basic = self.basic.iter().flat_map(Basic::as_advanced);
        self.advanced.iter().cloned().chain(basic).collect()
    }
}

impl fmt::Display for Selectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        let told: Vec<String> = self.as_advanced().iter().map(ToString::to_string).collect();
        f.write_str(&told.join("; "))
    }
}

impl Basic {
    fn as_advanced(&self) -> Vec<Advanced> {
        let category = |name: &str| Field::equal("eventCategory", &[name]);
        let calls = match self.calls.as_str() {
            "ReadOnly" => Some(Field::equal("readOnly", &["true"])),
            "WriteOnly" => Some(Field::equal("readOnly", &["false"])),
            _ => None,
        };
        let mut all = Vec::new();
        if self.management {
            let mut fields = vec![category("Management")];
            fields.extend(calls.clone());
            if !self.without.is_empty() {
                fields.push(Field {
                    field: "eventSource".to_owned(),
                    not_equals: self.without.clone(),
                    ..Field::default()
                });
            }
            all.push(Advanced { name: None, fields });
        }
        // A type without ARNs is no resource at all.
        for (kind, arns) in self.data.iter().filter(|(_, arns)| !arns.is_empty()) {
            let mut fields = vec![category("Data"), Field::equal("resources.type", &[kind])];
            fields.extend(calls.clone());
            fields.push(Field {
                field: "resources.ARN".to_owned(),
                starts_with: arns.clone(),
                ..Field::default()
            });
            all.push(Advanced { name: None, fields });
        }
        all
    }

    fn to_sdk(&self) -> EventSelector {
        let data = self.data.iter().map(|(kind, arns)| {
            DataResource::builder().r#type(kind).set_values(Some(arns.clone())).build()
        });
        EventSelector::builder()
            .read_write_type(ReadWriteType::from(self.calls.as_str()))
            .include_management_events(self.management)
            .set_data_resources(Some(data.collect()))
            .set_exclude_management_event_sources(Some(self.without.clone()))
            .build()
    }
}

/// What is left out is as AWS has it then: all calls, with management events.
impl From<EventSelector> for Basic {
    fn from(found: EventSelector) -> Self {
        let data = found.data_resources.unwrap_or_default().into_iter();
        let data =
            data.map(|data| (data.r#type.unwrap_or_default(), data.values.unwrap_or_default()));
        Self {
            calls: found.read_write_type.map_or("All".into(), |calls| calls.as_str().to_owned()),
            management: found.include_management_events != Some(false),
            without: found.exclude_management_event_sources.unwrap_or_default(),
            data: data.collect(),
        }
    }
}

impl Advanced {
    /// The same in parts, of which each can be what another selector records: reading and writing calls, and each of the
    /// values that a field may have.
    fn parts(&self) -> Vec<Self> {
        let mut parts = vec![Vec::new()];
        let calls = Field::equal("readOnly", &["true", "false"]);
        let is_told = self.fields.iter().any(|field| field.field == calls.field);
        for field in self.fields.iter().chain((!is_told).then_some(&calls)) {
            let mut one_by_one = field.one_by_one();
            // What would take too long to compare is not taken apart, and so not seen to be recorded.
            if parts.len().saturating_mul(one_by_one.len()) > PARTS {
                one_by_one = vec![field.clone()];
            }
            parts = parts
                .into_iter()
                .flat_map(|fields: Vec<Field>| {
                    one_by_one.iter().map(move |one| {
                        let mut fields = fields.clone();
                        fields.push(one.clone());
                        fields
                    })
                })
                .collect();
        }
        parts.into_iter().map(|fields| Self { name: None, fields }).collect()
    }

    /// Whether it records everything that the other does.
    fn admits(&self, other: &Self) -> bool {
        self.fields.iter().all(|field| {
            other.fields.iter().any(|other| other.field == field.field && field.admits(other))
        })
    }

    fn to_sdk(&self) -> Result<AdvancedEventSelector, aws_sdk_cloudtrail::error::BuildError> {
        let fields = self.fields.iter().map(Field::to_sdk).collect::<Result<Vec<_>, _>>()?;
        let selector = AdvancedEventSelector::builder().set_name(self.name.clone());
        selector.set_field_selectors(Some(fields)).build()
    }
}

impl From<AdvancedEventSelector> for Advanced {
    fn from(found: AdvancedEventSelector) -> Self {
        Self {
            name: found.name.filter(|name| !name.is_empty()),
            fields: found.field_selectors.into_iter().map(Field::from).collect(),
        }
    }
}

impl fmt::Display for Advanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields: Vec<String> = self.fields.iter().map(ToString::to_string).collect();
        f.write_str(&fields.join(", "))
    }
}

impl Field {
    fn equal(field: &str, values: &[&str]) -> Self {
        let equals = values.iter().map(ToString::to_string).collect();
        Self { field: field.to_owned(), equals, ..Self::default() }
    }

    /// One for each value that it may have.
    fn one_by_one(&self) -> Vec<Self> {
        if self.equals.len() > 1 {
            let one = |value: &String| Self { equals: vec![value.clone()], ..self.clone() };
            return self.equals.iter().map(one).collect();
        }
        if self.starts_with.len() > 1 {
            let one = |value: &String| Self { starts_with: vec![value.clone()], ..self.clone() };
            return self.starts_with.iter().map(one).collect();
        }
        vec![self.clone()]
    }

    /// Whether it lets through whatever the other lets through. In doubt it does not.
    fn admits(&self, other: &Self) -> bool {
        fn all(values: &[String], is_let_through: impl Fn(&str) -> bool) -> bool {
            !values.is_empty() && values.iter().all(|value| is_let_through(value))
        }
        let any = |values: &[String], fits: &dyn Fn(&str) -> bool| values.iter().any(|v| fits(v));
        let begins = |value: &str| any(&self.starts_with, &|start| value.starts_with(start));
        let ends = |value: &str| any(&self.ends_with, &|end| value.ends_with(end));
        let excludes =
            |values: &[String], excluded: &[String], fits: &dyn Fn(&str, &str) -> bool| {
                values.iter().all(|value| excluded.contains(value))
                    || all(&other.equals, |given| !any(values, &|value| fits(given, value)))
            };
        (self.equals.is_empty() || all(&other.equals, |value| any(&self.equals, &|v| v == value)))
            && (self.starts_with.is_empty()
                || all(&other.equals, begins)
                || all(&other.starts_with, begins))
            && (self.ends_with.is_empty()
                || all(&other.equals, ends)
                || all(&other.ends_with, ends))
            && excludes(&self.not_equals, &other.not_equals, &|given, value| given == value)
            && excludes(&self.not_starts_with, &other.not_starts_with, &|given, value| {
                given.starts_with(value)
            })
            && excludes(&self.not_ends_with, &other.not_ends_with, &|given, value| {
                given.ends_with(value)
            })
    }

    fn operators(&self) -> [(&'static str, &[String]); 6] {
        [
            ("is", &self.equals),
            ("begins with", &self.starts_with),
            ("ends with", &self.ends_with),
            ("is not", &self.not_equals),
            ("does not begin with", &self.not_starts_with),
            ("does not end with", &self.not_ends_with),
        ]
    }

    fn to_sdk(&self) -> Result<AdvancedFieldSelector, aws_sdk_cloudtrail::error::BuildError> {
        let some = |values: &[String]| (!values.is_empty()).then(|| values.to_vec());
        AdvancedFieldSelector::builder()
            .field(&self.field)
            .set_equals(some(&self.equals))
            .set_starts_with(some(&self.starts_with))
            .set_ends_with(some(&self.ends_with))
            .set_not_equals(some(&self.not_equals))
            .set_not_starts_with(some(&self.not_starts_with))
            .set_not_ends_with(some(&self.not_ends_with))
            .build()
    }
}

impl From<AdvancedFieldSelector> for Field {
    fn from(found: AdvancedFieldSelector) -> Self {
        Self {
            field: found.field,
            equals: found.equals.unwrap_or_default(),
            starts_with: found.starts_with.unwrap_or_default(),
            ends_with: found.ends_with.unwrap_or_default(),
            not_equals: found.not_equals.unwrap_or_default(),
            not_starts_with: found.not_starts_with.unwrap_or_default(),
            not_ends_with: found.not_ends_with.unwrap_or_default(),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.field)?;
        for (operator, values) in self.operators() {
            if !values.is_empty() {
                write!(f, " {operator} {}", values.join(" or "))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn basic(calls: &str, management: bool, data: Value) -> Selectors {
        let selector = json!({"calls": calls, "management": management, "data": data});
        serde_json::from_value(json!({ "basic": [selector] })).unwrap()
    }

    fn advanced(selectors: &[Value]) -> Selectors {
        let of = |fields: &Value| json!({ "fields": fields });
        let selectors: Vec<Value> = selectors.iter().map(of).collect();
        serde_json::from_value(json!({ "advanced": selectors })).unwrap()
    }

    fn field(field: &str, operator: &str, values: &[&str]) -> Value {
        json!({"field": field, operator: values})
    }

    #[test]
    fn what_records_less_is_told_from_what_records_more() {
        let objects = json!([["AWS::S3::Object", ["arn:aws:s3:::one/", "arn:aws:s3:::two/"]]]);
        let all = basic("All", true, objects.clone());
        let one = json!([["AWS::S3::Object", ["arn:aws:s3:::one/"]]]);
        let every = json!([["AWS::S3::Object", ["arn:aws:s3"]]]);
        for (less, why) in [
            (Selectors::default(), "nothing"),
            (basic("WriteOnly", true, objects.clone()), "no reading calls"),
            (basic("All", false, objects.clone()), "no management events"),
            (basic("All", true, json!([])), "no data events"),
            (basic("All", true, json!([["AWS::S3::Object", []]])), "no bucket"),
            (basic("All", true, one), "one bucket of two"),
        ] {
            assert!(!less.record_all_of(&all), "{why}");
            assert!(all.record_all_of(&less), "{why}");
        }
        assert!(all.record_all_of(&all));
        assert!(basic("All", true, every).record_all_of(&all), "all buckets");
        let mut without = basic("All", true, objects);
        without.basic[0].without = vec!["kms.amazonaws.com".to_owned()];
        assert!(!without.record_all_of(&all));
        assert!(all.record_all_of(&without));
    }

    #[test]
    fn as_many_values_as_aws_takes_are_compared_in_no_time() {
        let values: Vec<String> = (0..160).map(|n| format!("value{n}")).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let names = ["eventName", "resources.ARN", "eventSource"];
        let fields = |values: &[&str]| -> Value {
            names.iter().map(|name| field(name, "equals", values)).collect()
        };
        let (all, fewer) = (advanced(&[fields(&values)]), advanced(&[fields(&values[1..])]));
        assert!(all.as_advanced()[0].parts().len() <= PARTS);
        assert!(all.record_all_of(&all) && all.record_all_of(&fewer));
        assert!(!fewer.record_all_of(&all));
    }

    #[test]
    fn the_same_in_the_other_kind_records_the_same() {
        let all = basic("All", true, json!([]));
        let management = field("eventCategory", "equals", &["Management"]);
        let reads = field("readOnly", "equals", &["true"]);
        let writes = field("readOnly", "equals", &["false"]);
        assert!(advanced(&[json!([management])]).record_all_of(&all));
        let two = advanced(&[json!([management, reads]), json!([management, writes])]);
        assert!(two.record_all_of(&all), "two halves");
        assert!(!advanced(&[json!([management, writes])]).record_all_of(&all));
        assert!(all.record_all_of(&two));
        let kms = field("eventSource", "not_equals", &["kms.amazonaws.com"]);
        let quiet = advanced(&[json!([management, kms])]);
        assert!(!quiet.record_all_of(&all));
        let s3 = field("eventSource", "equals", &["s3.amazonaws.com"]);
        assert!(quiet.record_all_of(&advanced(&[json!([management, s3])])));
    }

    #[test]
    fn both_kinds_come_back_as_they_were() {
        let selectors = basic("All", true, json!([["AWS::S3::Object", ["arn:aws:s3"]]]));
        let back: Vec<Basic> = selectors.basic.iter().map(Basic::to_sdk).map(Basic::from).collect();
        assert_eq!(back, selectors.basic);
        let management = field("eventCategory", "equals", &["Management"]);
        let ends = field("eventName", "not_ends_with", &["Tags"]);
        let mut selectors = advanced(&[json!([management, ends])]);
        selectors.advanced[0].name = Some("all".to_owned());
        let back = selectors.advanced.iter().map(|one| one.to_sdk().map(Advanced::from));
        assert_eq!(back.collect::<Result<Vec<_>, _>>().unwrap(), selectors.advanced);
        assert_eq!(
            selectors.to_string(),
            "eventCategory is Management, eventName does not end with Tags"
        );
    }
}
