//! The template as data: intrinsic functions in their long form, globals merged, conditions decided.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The template of the project, or one with a fault.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    pub(crate) root: Value,
}

/// A resource: its logical id and its properties.
pub(crate) type Resource<'a> = (&'a str, &'a Value);

/// A function with what it inherits from the globals.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) id: String,
    pub(crate) properties: Value,
    pub(crate) metadata: Value,
}

impl Template {
    pub(crate) fn of_the_project() -> Self {
        Self::parse(include_str!("../../../template.yaml"))
    }

    pub(crate) fn parse(yaml: &str) -> Self {
        let yaml = serde_yaml_ng::from_str(yaml).expect("a template is YAML");
        Self { root: long_form(yaml) }
    }

    /// Resources of a type, in the order of their names.
    pub(crate) fn all(&self, kind: &str) -> Vec<Resource<'_>> {
        let Some(resources) = self.root["Resources"].as_object() else { return Vec::new() };
        let mut found: Vec<_> = resources
            .iter()
            .filter(|(_, resource)| resource["Type"] == kind)
            .map(|(id, resource)| (id.as_str(), &resource["Properties"]))
            .collect();
        found.sort_by_key(|(id, _)| *id);
        found
    }

    pub(crate) fn functions(&self) -> Vec<Function> {
        self.all("AWS::Serverless::Function")
            .into_iter()
            .map(|(id, own)| {
                let mut properties = self.root["Globals"]["Function"].clone();
                merge(&mut properties, own);
                let metadata = self.root["Resources"][id]["Metadata"].clone();
                Function { id: id.to_owned(), properties, metadata }
            })
            .collect()
    }

    /// The resource that a `Ref` or a `GetAtt` of its ARN names, if it is of this type.
    pub(crate) fn referred<'a>(&'a self, kind: &str, reference: &'a Value) -> Option<Resource<'a>> {
        let id = target(reference)?;
        self.all(kind).into_iter().find(|(found, _)| *found == id)
    }

    /// The statements of a role's policies.
    pub(crate) fn statements(&self, role: &str) -> Vec<&Value> {
        list(&self.root["Resources"][role]["Properties"]["Policies"])
            .into_iter()
            .flat_map(|policy| list(&policy["PolicyDocument"]["Statement"]))
            .collect()
    }

    /// What is denied to a role: by its own policies, and by those of this template that are attached to it.
    pub(crate) fn denials(&self, role: &str) -> Vec<&Value> {
        let attached = list(&self.root["Resources"][role]["Properties"]["ManagedPolicyArns"]);
        let attached = attached
            .into_iter()
            .filter_map(|policy| self.referred("AWS::IAM::ManagedPolicy", policy))
            .flat_map(|(_, policy)| list(&policy["PolicyDocument"]["Statement"]));
        let all = self.statements(role).into_iter().chain(attached);
        all.filter(|statement| statement["Effect"] == "Deny").collect()
    }

    /// The template as it is deployed with these parameters, and defaults for the others.
    pub(crate) fn deployed(&self, parameters: &[(&str, &str)]) -> Self {
        let values = self.values(parameters);
        let conditions = self.root["Conditions"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, condition)| (name.clone(), holds(condition, &values)))
            .collect();
        let mut root = decided(&self.root, &conditions).unwrap_or_default();
        if let Some(resources) = root["Resources"].as_object_mut() {
            resources.retain(|_, resource| {
                resource["Condition"].as_str().is_none_or(|name| conditions[name])
            });
        }
        Self { root }
    }

    /// What CloudFormation says of these parameters, and defaults for the others, before it deploys anything.
    pub(crate) fn refused(&self, parameters: &[(&str, &str)]) -> Vec<String> {
        let values = self.values(parameters);
        let rules = self.root["Rules"].as_object().into_iter().flatten();
        rules
            .filter(|(_, rule)| holds(&rule["RuleCondition"], &values))
            .flat_map(|(_, rule)| list(&rule["Assertions"]))
            .filter(|assertion| !holds(&assertion["Assert"], &values))
            .map(|assertion| {
                assertion["AssertDescription"].as_str().expect("a description").to_owned()
            })
            .collect()
    }

    fn values(&self, parameters: &[(&str, &str)]) -> BTreeMap<String, Value> {
        let mut values: BTreeMap<String, Value> = BTreeMap::new();
        for (name, parameter) in self.root["Parameters"].as_object().into_iter().flatten() {
            values.insert(name.clone(), parameter["Default"].clone());
        }
        for (name, value) in parameters {
            values.insert((*name).to_owned(), json!(value));
        }
        values.insert("AWS::AccountId".to_owned(), json!("111122223333"));
        values
    }
}

/// A value that may stand alone or in a list.
pub(crate) fn list(value: &Value) -> Vec<&Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(values) => values.iter().collect(),
        one => vec![one],
    }
}

/// The same, for text.
pub(crate) fn texts(value: &Value) -> Vec<&str> {
    list(value).into_iter().filter_map(Value::as_str).collect()
}

/// The logical id that a `Ref` or a `GetAtt` names.
pub(crate) fn target(reference: &Value) -> Option<&str> {
    reference["Ref"].as_str().or_else(|| reference["Fn::GetAtt"][0].as_str())
}

/// A text of the template in the stack `quell` of 111122223333 in eu-west-1. References to resources are kept.
pub(crate) fn rendered(value: &Value) -> String {
    let text = value["Fn::Sub"].as_str().or_else(|| value.as_str());
    [
        ("${AWS::Partition}", "aws"),
        ("${AWS::Region}", "eu-west-1"),
        ("${AWS::AccountId}", "111122223333"),
        ("${AWS::StackName}", "quell"),
    ]
    .iter()
    .fold(text.unwrap_or_default().to_owned(), |text, (name, value)| text.replace(name, value))
}

/// Whether a text is what IAM's `*` and `?` describe.
pub(crate) fn glob_matches(glob: &str, text: &str) -> bool {
    quell_engine::policy::glob_matches(glob, text)
}

pub(crate) fn arn_of(id: &str) -> Value {
    json!({"Fn::GetAtt": [id, "Arn"]})
}

fn long_form(yaml: serde_yaml_ng::Value) -> Value {
    use serde_yaml_ng::Value as Yaml;
    match yaml {
        Yaml::Tagged(tagged) => {
            let tag = tagged.tag.to_string();
            let name = tag.trim_start_matches('!');
            let mut value = long_form(tagged.value);
            let key = match name {
                "Ref" | "Condition" => name.to_owned(),
                _ => format!("Fn::{name}"),
            };
            if name == "GetAtt"
                && let Some((id, attribute)) = value.as_str().and_then(|path| path.split_once('.'))
            {
                value = json!([id, attribute]);
            }
            json!({ key: value })
        }
        Yaml::Mapping(mapping) => Value::Object(
            mapping
                .into_iter()
                .map(|(key, value)| {
                    (key.as_str().expect("keys are text").to_owned(), long_form(value))
                })
                .collect(),
        ),
        Yaml::Sequence(values) => Value::Array(values.into_iter().map(long_form).collect()),
        plain => serde_json::to_value(plain).expect("YAML's scalars are JSON's"),
    }
}

/// Puts `own` over `inherited`: maps are merged, everything else replaced.
fn merge(inherited: &mut Value, own: &Value) {
    match (inherited, own) {
        (Value::Object(inherited), Value::Object(own)) => {
            for (key, value) in own {
                merge(inherited.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (inherited, own) => *inherited = own.clone(),
    }
}

fn holds(condition: &Value, values: &BTreeMap<String, Value>) -> bool {
    if let Some([one, other]) = condition["Fn::Equals"].as_array().map(Vec::as_slice) {
        let value = |operand: &Value| match operand["Ref"].as_str() {
            Some(name) => values[name].clone(),
            None => operand.clone(),
        };
        return value(one) == value(other);
    }
    if let Some([inner]) = condition["Fn::Not"].as_array().map(Vec::as_slice) {
        return !holds(inner, values);
    }
    panic!("no test knows the condition {condition}");
}

/// `None`: the value is left out.
fn decided(value: &Value, conditions: &BTreeMap<String, bool>) -> Option<Value> {
    if let Some([name, yes, no]) = value["Fn::If"].as_array().map(Vec::as_slice) {
        let chosen = if conditions[name.as_str().unwrap_or_default()] { yes } else { no };
        return decided(chosen, conditions);
    }
    match value {
        Value::Object(fields) if fields.get("Ref").is_some_and(|name| name == "AWS::NoValue") => {
            None
        }
        Value::Object(fields) => Some(Value::Object(
            fields
                .iter()
                .filter_map(|(key, value)| Some((key.clone(), decided(value, conditions)?)))
                .collect::<Map<_, _>>(),
        )),
        Value::Array(values) => {
            Some(values.iter().filter_map(|value| decided(value, conditions)).collect())
        }
        plain => Some(plain.clone()),
    }
}
