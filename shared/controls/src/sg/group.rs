//! How controls name a security group.

use std::fmt;

use quell_engine::control::TargetError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{partition, shape};

/// A security group. Calls may name one of the default VPC by its name alone.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecurityGroup {
    /// `sg-` and 8 or 17 hexadecimal digits.
    Id(String),
    Name(String),
}

impl SecurityGroup {
    /// The group whose rules a call changed. Where the request has only its name, the response names the rules' group
    /// by id.
    pub(super) fn called(
        control: &'static str,
        parameters: &Value,
        response: &Value,
        resources: &[String],
    ) -> Result<Self, TargetError> {
        let request = [
            "ModifySecurityGroupRulesRequest",
            "AuthorizeSecurityGroupIngressRequest",
            "AuthorizeSecurityGroupEgressRequest",
        ]
        .into_iter()
        .fold(parameters, shape::request);
        if let Some(id) = shape::text(request, ["groupId", "GroupId"]) {
            return Self::by_id(control, "requestParameters.groupId", id);
        }
        let rule = shape::items(&response["securityGroupRuleSet"]).first();
        if let Some(id) = rule.and_then(|rule| rule["groupId"].as_str()) {
            let field = "responseElements.securityGroupRuleSet.items[].groupId";
            return Self::by_id(control, field, id);
        }
        if let Some(name) = shape::text(request, ["groupName", "GroupName"]) {
            return Self::by_name(control, "requestParameters.groupName", name);
        }
        let arn = resources.iter().find(|arn| arn.contains(":security-group/"));
        Self::by_id(control, "resources[].ARN", arn.map(String::as_str).unwrap_or_default())
    }

    /// Reads what a person wrote: an id, an ARN, or a name.
    pub(super) fn by_either(
        control: &'static str,
        field: &'static str,
        text: &str,
    ) -> Result<Self, TargetError> {
        let is_id = ["sg-", "arn:"].iter().any(|start| text.trim().starts_with(start));
        let read = if is_id { Self::by_id } else { Self::by_name };
        read(control, field, text)
    }

    /// Reads an id, or the ARN of a security group.
    pub(super) fn by_id(
        control: &'static str,
        field: &'static str,
        text: &str,
    ) -> Result<Self, TargetError> {
        let text = text.trim();
        let id = match text.strip_prefix("arn:").and_then(|arn| arn.split_once(":security-group/"))
        {
            Some((_, id)) => id,
            None => text,
        };
        let digits = id.strip_prefix("sg-").unwrap_or_default();
        let is_hex = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        if is_hex && matches!(digits.len(), 8 | 17) {
            Ok(Self::Id(id.to_owned()))
        } else {
            let reason = "not `sg-` and 8 or 17 hexadecimal digits".to_owned();
            Err(TargetError { control, field, reason })
        }
    }

    /// Reads a name, which AWS limits to 255 of these characters. It cannot begin with `sg-`.
    pub(super) fn by_name(
        control: &'static str,
        field: &'static str,
        text: &str,
    ) -> Result<Self, TargetError> {
        let is_allowed =
            |c: char| c.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(c);
        let is_name = matches!(text.len(), 1..=255)
            && text.chars().all(is_allowed)
            && !text.starts_with("sg-");
        if is_name {
            Ok(Self::Name(text.to_owned()))
        } else {
            let reason = "not a name that a security group can have".to_owned();
            Err(TargetError { control, field, reason })
        }
    }
}

impl SecurityGroup {
    /// The group in the console.
    pub(super) fn console(&self, region: &str) -> String {
        let console = partition::console("ec2", region);
        match self {
            Self::Id(id) => format!("{console}#SecurityGroup:groupId={id}"),
            Self::Name(name) => {
                format!("{console}#SecurityGroups:group-name={}", percent_encoded(name))
            }
        }
    }

    /// By name there is no real ARN: this one stands for the name, which can never be an id.
    pub(super) fn arn(&self, account: &str, region: &str) -> String {
        format!("arn:{}:ec2:{region}:{account}:security-group/{self}", partition::of(region))
    }
}

fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

impl fmt::Display for SecurityGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(text) | Self::Name(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(text: &str) -> Option<SecurityGroup> {
        SecurityGroup::by_id("test", "field", text).ok()
    }

    fn name(text: &str) -> Option<SecurityGroup> {
        SecurityGroup::by_name("test", "field", text).ok()
    }

    #[test]
    fn reads_ids_and_arns() {
        let group = Some(SecurityGroup::Id("sg-0a1b2c3d4e5f60718".to_owned()));
        assert_eq!(id("sg-0a1b2c3d4e5f60718"), group);
        assert_eq!(
            id("arn:aws:ec2:eu-west-1:123456789012:security-group/sg-0a1b2c3d4e5f60718"),
            group
        );
        for wrong in
            ["", "sg-", "sg-1", "web", "sg-0A1B2C3D", "i-0a1b2c3d", "sg-0a1b2c3d,sg-0a1b2c3e"]
        {
            assert_eq!(id(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn reads_names() {
        assert_eq!(
            name("launch-wizard-1"),
            Some(SecurityGroup::Name("launch-wizard-1".to_owned()))
        );
        assert!(name("web (blue) & {green}").is_some());
        let long = "a".repeat(256);
        for wrong in ["", "sg-web", "web\n", "<web>", "wéb", &long] {
            assert_eq!(name(wrong), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_both_an_id_and_a_name(text in "\\PC{0,30}|sg-[0-9a-f]{6,19}") {
            prop_assert!(id(&text).is_none() || name(&text).is_none());
        }
    }
}
