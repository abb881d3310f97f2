//! How controls name a security group.

use std::fmt;

use quell_engine::control::TargetError;
use serde::{Deserialize, Serialize};

/// A security group. Calls may name one of the default VPC by its name alone.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecurityGroup {
    /// `sg-` and 8 or 17 hexadecimal digits.
    Id(String),
    Name(String),
}

impl SecurityGroup {
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
