//! How controls name what belongs to a VPC: by its id.

use quell_engine::control::TargetError;

/// A kind of resource, as its ids and ARNs begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// Such as `subnet-`.
    pub(super) prefix: &'static str,
    /// What stands before the id in an ARN, such as `:subnet/`.
    pub(super) arn: &'static str,
}

impl Kind {
    /// Reads an id, which is the prefix and 8 or 17 hexadecimal digits, or the ARN that ends in one. Blanks around it
    /// do not count.
    pub(super) fn id(
        self,
        control: &'static str,
        field: &'static str,
        text: &str,
    ) -> Result<String, TargetError> {
        let text = text.trim();
        let id = match text.strip_prefix("arn:").and_then(|rest| rest.split_once(self.arn)) {
            Some((_, id)) => id,
            None => text,
        };
        let digits = id.strip_prefix(self.prefix).unwrap_or_default();
        let is_hex = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        if is_hex && matches!(digits.len(), 8 | 17) {
            return Ok(id.to_owned());
        }
        let reason = format!("not `{}` and 8 or 17 hexadecimal digits", self.prefix);
        Err(TargetError { control, field, reason })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SUBNET: Kind = Kind { prefix: "subnet-", arn: ":subnet/" };

    fn id(text: &str) -> Option<String> {
        SUBNET.id("test", "field", text).ok()
    }

    #[test]
    fn reads_ids_and_arns_of_its_kind_and_nothing_else() {
        let long = Some("subnet-0a1b2c3d4e5f60718".to_owned());
        assert_eq!(id(" subnet-0a1b2c3d4e5f60718\n"), long);
        assert_eq!(id("arn:aws:ec2:eu-west-1:123456789012:subnet/subnet-0a1b2c3d4e5f60718"), long);
        assert_eq!(id("subnet-0a1b2c3d").as_deref(), Some("subnet-0a1b2c3d"));
        for wrong in [
            "",
            "subnet-",
            "subnet-0a1b2c3",
            "subnet-0A1B2C3D",
            "subnet-0a1b2c3d,subnet-0a1b2c3e",
            "acl-0a1b2c3d",
            "arn:aws:ec2:eu-west-1:123456789012:vpc/subnet-0a1b2c3d",
        ] {
            assert_eq!(id(wrong), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_has_the_form_of_an_id(text in "\\PC{0,40}|subnet-[0-9a-f]{6,19}") {
            if let Some(id) = id(&text) {
                prop_assert!(text.contains(&id));
                prop_assert!(matches!(id.len(), 15 | 24) && id.starts_with("subnet-"));
            }
        }
    }
}
