//! The roles of the functions as `template.yaml` gives them, with CloudFormation's intrinsic functions resolved for one
//! deployment.
//!
//! Only what leads to a role is resolved; what cannot be is an error, never left out.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::iam::{PolicyError, Role};

/// A template of CloudFormation's, intrinsic functions in their long form.
#[derive(Clone, Debug)]
pub struct Template {
    root: Value,
}

/// Where and how it is deployed.
#[derive(Clone, Debug, Default)]
pub struct Deployment {
    pub account: String,
    pub region: String,
    pub stack: String,
    /// Those that are not here have their defaults.
    pub parameters: BTreeMap<String, String>,
    /// Names by logical id, of resources that CloudFormation names itself.
    pub names: BTreeMap<String, String>,
}

/// Why there is no role.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    #[error("the template is not YAML: {0}")]
    Yaml(#[from] serde_yaml_ng::Error),
    #[error("there is no function {0} in the template")]
    NoFunction(String),
    #[error("{at}: {reason}")]
    Unresolved { at: String, reason: String },
    #[error("role {role}: {source}")]
    Policy { role: String, source: PolicyError },
}

impl Template {
    pub fn of_the_project() -> Result<Self, TemplateError> {
        Self::parse(include_str!("../../../template.yaml"))
    }

    pub fn parse(yaml: &str) -> Result<Self, TemplateError> {
        Ok(Self { root: long_form(serde_yaml_ng::from_str(yaml)?)? })
    }

    /// The names of the functions: those of their programs.
    pub fn functions(&self) -> Vec<String> {
        let functions = self.resources().filter(|(_, one)| one["Type"] == FUNCTION);
        functions.filter_map(|(_, one)| program(one).map(str::to_owned)).collect()
    }

    /// The parameters, as one says how far a function may go.
    pub fn ceilings(&self) -> Vec<String> {
        let parameters = self.root["Parameters"].as_object().into_iter().flatten();
        let names = parameters.map(|(name, _)| name.clone());
        names.filter(|name| name.ends_with("Ceiling")).collect()
    }

    /// The role of a function.
    pub fn role(&self, function: &str, deployment: &Deployment) -> Result<Role, TemplateError> {
        let mut functions = self.resources().filter(|(_, one)| one["Type"] == FUNCTION);
        let (id, found) = functions
            .find(|(_, one)| program(one) == Some(function))
            .ok_or_else(|| TemplateError::NoFunction(function.to_owned()))?;
        let resolver = Resolver { template: self, deployment };
        let role = match &found["Properties"]["Role"]["Fn::GetAtt"] {
            Value::Array(path) if path.get(1).is_some_and(|attribute| attribute == "Arn") => {
                path[0].as_str().unwrap_or_default()
            }
            _ => return Err(unresolved(id, "its Role is not the ARN of a role of the template")),
        };
        resolver.role(role)
    }

    fn resources(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.root["Resources"].as_object().into_iter().flatten()
    }
}

const FUNCTION: &str = "AWS::Serverless::Function";

fn program(function: &Value) -> Option<&str> {
    function["Metadata"]["BuildProperties"]["Binary"].as_str()
}

fn unresolved(at: &str, reason: impl Into<String>) -> TemplateError {
    TemplateError::Unresolved { at: at.to_owned(), reason: reason.into() }
}

#[derive(Clone, Copy)]
struct Resolver<'a> {
    template: &'a Template,
    deployment: &'a Deployment,
}

impl<'a> Resolver<'a> {
    fn role(self, id: &str) -> Result<Role, TemplateError> {
        let found = &self.template.root["Resources"][id];
        if found["Type"] != "AWS::IAM::Role" {
            return Err(unresolved(id, "is not a role"));
        }
        let properties = self.resolved(&found["Properties"], id)?.unwrap_or_default();
        let document = |policy: &Value| policy["PolicyDocument"].clone();
        let own = properties["Policies"].as_array().into_iter().flatten();
        let mut documents: Vec<Value> = own.map(document).collect();
        for arn in properties["ManagedPolicyArns"].as_array().into_iter().flatten() {
            documents.push(self.managed(id, arn)?);
        }
        let boundary = match &properties["PermissionsBoundary"] {
            Value::Null => None,
            arn => Some(self.managed(id, arn)?),
        };
        let arn = self.arn(id)?;
        Role::new(&arn, documents, boundary.as_ref())
            .map_err(|source| TemplateError::Policy { role: id.to_owned(), source })
    }

    /// A managed policy of this template, by its ARN.
    fn managed(self, role: &str, arn: &Value) -> Result<Value, TemplateError> {
        for (id, resource) in self.template.resources() {
            if resource["Type"] == "AWS::IAM::ManagedPolicy" && self.arn(id)? == *arn {
                let document = &resource["Properties"]["PolicyDocument"];
                return Ok(self.resolved(document, id)?.unwrap_or_default());
            }
        }
        Err(unresolved(role, format!("the policy {arn} is not in the template")))
    }

    /// None: it is left out (`AWS::NoValue`).
    fn resolved(self, value: &Value, at: &str) -> Result<Option<Value>, TemplateError> {
        match value {
            Value::Array(values) => {
                let mut resolved = Vec::new();
                for value in values {
                    resolved.extend(self.resolved(value, at)?);
                }
                Ok(Some(Value::Array(resolved)))
            }
            Value::Object(fields) => match intrinsic(fields) {
                Some((name, argument)) => self.intrinsic(name, argument, at),
                None => {
                    let mut resolved = Map::new();
                    for (name, value) in fields {
                        if let Some(value) = self.resolved(value, &format!("{at}.{name}"))? {
                            resolved.insert(name.clone(), value);
                        }
                    }
                    Ok(Some(Value::Object(resolved)))
                }
            },
            plain => Ok(Some(plain.clone())),
        }
    }

    fn intrinsic(
        self,
        name: &str,
        argument: &Value,
        at: &str,
    ) -> Result<Option<Value>, TemplateError> {
        match (name, argument) {
            ("Ref", Value::String(name)) if name == "AWS::NoValue" => Ok(None),
            ("Ref", Value::String(name)) => {
                let value = self.referred(name, at)?;
                let parameter = &self.template.root["Parameters"][name.as_str()];
                Ok(Some(match parameter["Type"].as_str() {
                    Some("CommaDelimitedList") => value.split(',').map(Value::from).collect(),
                    _ => Value::String(value),
                }))
            }
            ("Fn::GetAtt", Value::Array(path)) => match path.as_slice() {
                [Value::String(id), Value::String(attribute)] => {
                    Ok(Some(Value::String(self.attribute(id, attribute, at)?)))
                }
                _ => Err(unresolved(at, format!("{name} of {argument}"))),
            },
            ("Fn::Sub", Value::String(text)) => {
                Ok(Some(Value::String(self.substituted(text, &Map::new(), at)?)))
            }
            ("Fn::Sub", Value::Array(of)) => match of.as_slice() {
                [Value::String(text), Value::Object(own)] => {
                    Ok(Some(Value::String(self.substituted(text, own, at)?)))
                }
                _ => Err(unresolved(at, format!("{name} of {argument}"))),
            },
            ("Fn::Join", Value::Array(of)) => match of.as_slice() {
                [Value::String(between), list] => {
                    let list = self.resolved(list, at)?.unwrap_or_default();
                    let parts = list.as_array().into_iter().flatten().map(|part| part.as_str());
                    let parts: Option<Vec<&str>> = parts.collect();
                    let parts = parts.ok_or_else(|| unresolved(at, "joins what is no text"))?;
                    Ok(Some(Value::String(parts.join(between))))
                }
                _ => Err(unresolved(at, format!("{name} of {argument}"))),
            },
            ("Fn::If", Value::Array(of)) => match of.as_slice() {
                [Value::String(condition), yes, no] => {
                    let chosen = if self.holds_named(condition, at)? { yes } else { no };
                    self.resolved(chosen, at)
                }
                _ => Err(unresolved(at, format!("{name} of {argument}"))),
            },
            _ => Err(unresolved(at, format!("no one knows {name} of {argument}"))),
        }
    }

    fn substituted(
        self,
        text: &str,
        own: &Map<String, Value>,
        at: &str,
    ) -> Result<String, TemplateError> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            out.push_str(before);
            let (name, after) =
                after.split_once('}').ok_or_else(|| unresolved(at, "`${` without `}`"))?;
            if let Some(literal) = name.strip_prefix('!') {
                out.push_str(&format!("${{{literal}}}"));
            } else if let Some(value) = own.get(name) {
                let value = self.resolved(value, at)?.unwrap_or_default();
                out.push_str(value.as_str().ok_or_else(|| unresolved(at, "puts in no text"))?);
            } else if let Some((id, attribute)) = name.split_once('.') {
                out.push_str(&self.attribute(id, attribute, at)?);
            } else {
                out.push_str(&self.referred(name, at)?);
            }
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    fn holds_named(self, name: &str, at: &str) -> Result<bool, TemplateError> {
        match &self.template.root["Conditions"][name] {
            Value::Null => Err(unresolved(at, format!("there is no condition {name}"))),
            condition => self.holds(condition, name),
        }
    }

    fn holds(self, condition: &Value, at: &str) -> Result<bool, TemplateError> {
        let unknown = || unresolved(at, format!("no one knows the condition {condition}"));
        let fields = condition.as_object().ok_or_else(unknown)?;
        let (name, argument) = fields.iter().next().ok_or_else(unknown)?;
        let all = || argument.as_array().ok_or_else(unknown);
        match name.as_str() {
            "Condition" => self.holds_named(argument.as_str().ok_or_else(unknown)?, at),
            "Fn::Equals" => match all()?.as_slice() {
                [one, other] => Ok(self.resolved(one, at)? == self.resolved(other, at)?),
                _ => Err(unknown()),
            },
            "Fn::Not" => match all()?.as_slice() {
                [inner] => Ok(!self.holds(inner, at)?),
                _ => Err(unknown()),
            },
            "Fn::And" => {
                all()?.iter().try_fold(true, |holds, one| Ok(self.holds(one, at)? && holds))
            }
            "Fn::Or" => {
                all()?.iter().try_fold(false, |holds, one| Ok(self.holds(one, at)? || holds))
            }
            _ => Err(unknown()),
        }
    }

    /// What `Ref` gives.
    fn referred(self, name: &str, at: &str) -> Result<String, TemplateError> {
        let deployment = self.deployment;
        match name {
            "AWS::AccountId" => return Ok(deployment.account.clone()),
            "AWS::Partition" => return Ok(self.partition().to_owned()),
            "AWS::Region" => return Ok(deployment.region.clone()),
            "AWS::StackName" => return Ok(deployment.stack.clone()),
            "AWS::URLSuffix" => {
                let is_china = self.partition() == "aws-cn";
                return Ok(if is_china { "amazonaws.com.cn" } else { "amazonaws.com" }.to_owned());
            }
            _ => {}
        }
        if let Some(given) = deployment.parameters.get(name) {
            return Ok(given.clone());
        }
        match &self.template.root["Parameters"][name] {
            Value::Null => {}
            parameter => match &parameter["Default"] {
                Value::String(default) => return Ok(default.clone()),
                Value::Number(default) => return Ok(default.to_string()),
                _ => return Err(unresolved(at, format!("the parameter {name} has no value"))),
            },
        }
        match self.kind(name, at)? {
            "AWS::SNS::Topic" | "AWS::IAM::ManagedPolicy" => self.arn(name),
            "AWS::SQS::Queue" => {
                let (name, deployment) = (self.name(name)?, self.deployment);
                Ok(format!(
                    "https://sqs.{}.amazonaws.com/{}/{name}",
                    deployment.region, deployment.account
                ))
            }
            _ => self.name(name),
        }
    }

    /// What `GetAtt` gives.
    fn attribute(self, id: &str, attribute: &str, at: &str) -> Result<String, TemplateError> {
        match (self.kind(id, at)?, attribute) {
            (_, "Arn") => self.arn(id),
            ("AWS::SNS::Topic", "TopicArn") => self.arn(id),
            ("AWS::SNS::Topic", "TopicName") | ("AWS::SQS::Queue", "QueueName") => self.name(id),
            (kind, _) => Err(unresolved(at, format!("no one knows {attribute} of {id}, a {kind}"))),
        }
    }

    fn kind(self, id: &str, at: &str) -> Result<&'a str, TemplateError> {
        let kind = self.template.root["Resources"][id]["Type"].as_str();
        kind.ok_or_else(|| unresolved(at, format!("there is no {id} in the template")))
    }

    /// The name that the template gives, or else CloudFormation would.
    fn name(self, id: &str) -> Result<String, TemplateError> {
        const NAMES: [&str; 9] = [
            "TableName",
            "TopicName",
            "QueueName",
            "LogGroupName",
            "FunctionName",
            "RoleName",
            "ManagedPolicyName",
            "AlarmName",
            "Name",
        ];
        if let Some(name) = self.deployment.names.get(id) {
            return Ok(name.clone());
        }
        let properties = &self.template.root["Resources"][id]["Properties"];
        for name in NAMES {
            if let Some(given) = properties.get(name)
                && let Some(Value::String(given)) = self.resolved(given, id)?
            {
                return Ok(given);
            }
        }
        Ok(format!("{}-{id}", self.deployment.stack))
    }

    fn arn(self, id: &str) -> Result<String, TemplateError> {
        let (partition, name) = (self.partition(), self.name(id)?);
        let Deployment { account, region, .. } = self.deployment;
        let here = format!("{region}:{account}");
        let rest = match self.kind(id, id)? {
            "AWS::CloudTrail::Trail" => format!("cloudtrail:{here}:trail/{name}"),
            "AWS::CloudWatch::Alarm" => format!("cloudwatch:{here}:alarm:{name}"),
            "AWS::DynamoDB::Table" => format!("dynamodb:{here}:table/{name}"),
            "AWS::Events::Rule" => format!("events:{here}:rule/{name}"),
            "AWS::IAM::ManagedPolicy" => format!("iam::{account}:policy/{name}"),
            "AWS::IAM::Role" => format!("iam::{account}:role/{name}"),
            "AWS::KMS::Key" => format!("kms:{here}:key/{name}"),
            FUNCTION | "AWS::Lambda::Function" => format!("lambda:{here}:function:{name}"),
            // With the streams in it. https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-logs-loggroup.html
            "AWS::Logs::LogGroup" => format!("logs:{here}:log-group:{name}:*"),
            "AWS::SNS::Topic" => format!("sns:{here}:{name}"),
            "AWS::SQS::Queue" => format!("sqs:{here}:{name}"),
            kind => return Err(unresolved(id, format!("no one knows the ARN of a {kind}"))),
        };
        Ok(format!("arn:{partition}:{rest}"))
    }

    fn partition(self) -> &'static str {
        match self.deployment.region.as_str() {
            region if region.starts_with("cn-") => "aws-cn",
            region if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        }
    }
}

/// `{"Ref": …}`, `{"Fn::Sub": …}`: an object with this one field.
fn intrinsic(fields: &Map<String, Value>) -> Option<(&str, &Value)> {
    let mut only = fields.iter();
    let (name, argument) = only.next()?;
    let is_intrinsic = only.next().is_none() && (name == "Ref" || name.starts_with("Fn::"));
    is_intrinsic.then_some((name.as_str(), argument))
}

/// `!Sub x` is `{"Fn::Sub": x}`.
fn long_form(yaml: serde_yaml_ng::Value) -> Result<Value, TemplateError> {
    use serde_yaml_ng::Value as Yaml;
    Ok(match yaml {
        Yaml::Tagged(tagged) => {
            let tag = tagged.tag.to_string();
            let name = tag.trim_start_matches('!');
            let mut value = long_form(tagged.value)?;
            if name == "GetAtt"
                && let Some((id, attribute)) = value.as_str().and_then(|path| path.split_once('.'))
            {
                value = json!([id, attribute]);
            }
            match name {
                "Ref" | "Condition" => json!({ name: value }),
                _ => json!({ format!("Fn::{name}"): value }),
            }
        }
        Yaml::Mapping(mapping) => {
            let mut fields = Map::new();
            for (key, value) in mapping {
                let key = key.as_str().map(str::to_owned);
                let key = key.ok_or_else(|| unresolved("the template", "a key is no text"))?;
                fields.insert(key, long_form(value)?);
            }
            Value::Object(fields)
        }
        Yaml::Sequence(values) => {
            Value::Array(values.into_iter().map(long_form).collect::<Result<_, _>>()?)
        }
        plain => serde_json::to_value(plain)
            .map_err(|error| unresolved("the template", error.to_string()))?,
    })
}

#[cfg(test)]
mod tests;
