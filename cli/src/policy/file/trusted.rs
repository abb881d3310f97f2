//! Who is known: `[trusted]`.

use std::net::IpAddr;

use quell_engine::policy::Trusted;

use super::{Reader, Value, brief};

impl Reader<'_> {
    pub(super) fn trusted(&mut self, value: &Value<'_>) -> Trusted {
        const KEYS: &[&str] =
            &["accounts", "break_glass", "cidrs", "organisations", "prefix_lists"];
        let mut trusted = Trusted::default();
        let Some(table) = self.table(value, "trusted") else { return trusted };
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "accounts" => trusted.accounts = self.texts(value, "accounts", Self::account),
                "organisations" => {
                    trusted.organisations = self.texts(value, "organisations", |reader, id, at| {
                        if !is_organisation(id) {
                            let id = brief(id);
                            reader.complain(
                                at,
                                format!(
                                    "`{id}` is not the id of an organisation such as `o-a1b2c3d4e5`"
                                ),
                            );
                        }
                    });
                }
                "cidrs" => {
                    trusted.cidrs = self.texts(value, "cidrs", |reader, cidr, at| {
                        if let Some(problem) = cidr_problem(cidr) {
                            reader.complain(at, format!("`{}` {problem}", brief(cidr)));
                        }
                    });
                }
                "prefix_lists" => {
                    trusted.prefix_lists = self.texts(value, "prefix_lists", |reader, id, at| {
                        if !is_prefix_list(id) {
                            let id = brief(id);
                            reader.complain(
                                at,
                                format!("`{id}` is not the id of a prefix list such as `pl-0a1b2c3d4e5f67890`"),
                            );
                        }
                    });
                }
                "break_glass" => {
                    trusted.break_glass = self.texts(value, "break_glass", |reader, arn, at| {
                        if !is_principal(arn) {
                            let arn = brief(arn);
                            reader.complain(
                                at,
                                format!("`{arn}` is not the ARN of a user or a role such as `arn:aws:iam::123456789012:role/break-glass`"),
                            );
                        }
                    });
                }
                _ => self.unknown_key(key, KEYS, " of those who are trusted"),
            }
        }
        trusted
    }
}

/// <https://docs.aws.amazon.com/organizations/latest/APIReference/API_Organization.html>
fn is_organisation(id: &str) -> bool {
    id.strip_prefix("o-").is_some_and(|rest| {
        (10..=32).contains(&rest.len())
            && rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    })
}

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html>
fn is_principal(arn: &str) -> bool {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, "iam", "", account, resource] = parts.as_slice() else { return false };
    let name = resource.strip_prefix("role/").or_else(|| resource.strip_prefix("user/"));
    let is_name = |name: &str| {
        !name.is_empty()
            && name.split('/').all(|part| !part.is_empty())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+=,.@_-/".contains(&b))
    };
    ["aws", "aws-cn", "aws-us-gov"].contains(partition)
        && account.len() == 12
        && account.bytes().all(|b| b.is_ascii_digit())
        && name.is_some_and(is_name)
}

fn is_prefix_list(id: &str) -> bool {
    id.strip_prefix("pl-").is_some_and(|rest| {
        (8..=17).contains(&rest.len())
            && rest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

/// The widest ranges that have one owner: `10.0.0.0/8`, `fc00::/7`. Who trusts more trusts strangers.
const WIDEST: [u8; 2] = [8, 7];

/// Why this is no range of addresses that somebody can mean.
fn cidr_problem(cidr: &str) -> Option<String> {
    let form = || {
        Some("is not a range of addresses such as `203.0.113.0/24` or `2001:db8::/32`".to_owned())
    };
    let (address, prefix) = match cidr.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (cidr, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else { return form() };
    let (bits, most, widest) = match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32, WIDEST[0]),
        IpAddr::V6(address) => (address.to_bits(), 128, WIDEST[1]),
    };
    let Some(prefix) = prefix else {
        return Some(format!("is one address; write `{address}/{most}`"));
    };
    // Such as `/+8` and `/08`, which others read otherwise.
    let prefix = prefix.parse::<u8>().ok().filter(|number| number.to_string() == prefix);
    let Some(prefix) = prefix.filter(|prefix| *prefix <= most) else { return form() };
    if prefix < widest {
        return Some(format!("is more than anybody knows; a range has at least `/{widest}`"));
    }
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or_default();
    let first = bits & mask;
    if first != bits {
        let first = match address {
            IpAddr::V4(_) => IpAddr::V4(u32::try_from(first >> 96).unwrap_or_default().into()),
            IpAddr::V6(_) => IpAddr::V6(first.into()),
        };
        return Some(format!(
            "does not begin at its first address; did you mean `{first}/{prefix}`?"
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::file::tests::{checked, problem};

    #[test]
    fn it_says_who_is_known() {
        let policy = checked(
            r#"
[trusted]
accounts = ["111122223333"]
organisations = ["o-a1b2c3d4e5"]
cidrs = ["203.0.113.0/24", "198.51.100.7/32", "10.0.0.0/8", "2001:db8::/32", "fc00::/7"]
prefix_lists = ["pl-0a1b2c3d", "pl-0a1b2c3d4e5f67890"]
break_glass = ["arn:aws:iam::111122223333:role/emergency/break-glass"]
"#,
        )
        .unwrap();
        assert_eq!(policy.trusted.accounts, ["111122223333"]);
        assert_eq!(policy.trusted.organisations, ["o-a1b2c3d4e5"]);
        assert_eq!(policy.trusted.cidrs.len(), 5);
        assert_eq!(policy.trusted.prefix_lists, ["pl-0a1b2c3d", "pl-0a1b2c3d4e5f67890"]);
        let break_glass = ["arn:aws:iam::111122223333:role/emergency/break-glass"];
        assert_eq!(policy.trusted.break_glass, break_glass);
        assert_eq!(checked("").unwrap().trusted, Trusted::NOBODY);
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        for (line, expected) in [
            (
                "account = [\"1\"]",
                "there is no key `account` of those who are trusted; did you mean `accounts`?",
            ),
            (
                "organizations = [\"o-a1b2c3d4e5\"]",
                "there is no key `organizations` of those who are trusted; did you mean `organisations`?",
            ),
            ("accounts = [\"1\"]", "`1` is not an account; accounts have 12 digits"),
            (
                "organisations = [\"r-a1b2\"]",
                "`r-a1b2` is not the id of an organisation such as `o-a1b2c3d4e5`",
            ),
            (
                "prefix_lists = [\"pl-office\"]",
                "`pl-office` is not the id of a prefix list such as `pl-0a1b2c3d4e5f67890`",
            ),
            (
                "break_glass = [\"arn:aws:iam::111122223333:role/*\"]",
                "`arn:aws:iam::111122223333:role/*` is not the ARN of a user or a role such as `arn:aws:iam::123456789012:role/break-glass`",
            ),
            (
                "break_glass = [\"arn:aws:sts::111122223333:assumed-role/a/b\"]",
                "`arn:aws:sts::111122223333:assumed-role/a/b` is not the ARN of a user or a role such as `arn:aws:iam::123456789012:role/break-glass`",
            ),
            ("cidrs = []", "`cidrs` is empty; leave it out"),
            ("cidrs = [\"203.0.113.7\"]", "`203.0.113.7` is one address; write `203.0.113.7/32`"),
            ("cidrs = [\"2001:db8::1\"]", "`2001:db8::1` is one address; write `2001:db8::1/128`"),
            (
                "cidrs = [\"203.0.113.7/24\"]",
                "`203.0.113.7/24` does not begin at its first address; did you mean `203.0.113.0/24`?",
            ),
            (
                "cidrs = [\"2001:db8::1/32\"]",
                "`2001:db8::1/32` does not begin at its first address; did you mean `2001:db8::/32`?",
            ),
            (
                "cidrs = [\"0.0.0.0/0\"]",
                "`0.0.0.0/0` is more than anybody knows; a range has at least `/8`",
            ),
            ("cidrs = [\"::/0\"]", "`::/0` is more than anybody knows; a range has at least `/7`"),
        ] {
            assert_eq!(problem(&format!("[trusted]\n{line}")), format!("2: {expected}"));
        }
        assert_eq!(
            problem("trusted = ['o-a1b2c3d4e5']"),
            "1: `trusted` has to be a table, and is a list"
        );
    }

    #[test]
    fn what_is_no_range_is_named() {
        for bad in [
            "office",
            "203.0.113.0/",
            "203.0.113.0/33",
            "2001:db8::/129",
            "203.0.113.0/+8",
            "203.0.113.0/024",
            "203.0.113/24",
            "203.0.113.0/24 ",
            "*",
            "0.0.0.0/0/0",
            "010.0.0.0/8",
        ] {
            assert!(cidr_problem(bad).is_some_and(|problem| problem.contains("such as")), "{bad}");
        }
    }
}
