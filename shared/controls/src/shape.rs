//! The shapes in which CloudTrail writes the parameters of EC2's calls.

use serde_json::Value;

/// The members of a list: `{"items": […]}`, an array, or a single object. `{}`, null and nothing are empty.
pub(crate) fn items(list: &Value) -> &[Value] {
    match list {
        Value::Array(items) => items,
        Value::Object(fields) => match fields.get("items") {
            Some(Value::Array(items)) => items,
            Some(item @ Value::Object(_)) => std::slice::from_ref(item),
            Some(_) => &[],
            None if fields.is_empty() => &[],
            None => std::slice::from_ref(list),
        },
        _ => &[],
    }
}

/// The parameters of a call. Newer calls stand under the name of their request type, with the API's own spelling:
/// `{"ModifySecurityGroupRulesRequest": {"GroupId": …}}`.
pub(crate) fn request<'a>(parameters: &'a Value, name: &str) -> &'a Value {
    parameters.get(name).unwrap_or(parameters)
}

/// A text under either spelling: `groupId` or `GroupId`.
pub(crate) fn text<'a>(parameters: &'a Value, [lower, upper]: [&str; 2]) -> Option<&'a str> {
    parameters.get(lower).or_else(|| parameters.get(upper)).and_then(Value::as_str)
}

/// An id, or that at the end of the ARN of such a resource: `prefix` and 8 or 17 hexadecimal digits. Blanks around it do
/// not count.
pub(crate) fn id<'a>(text: &'a str, prefix: &str, kind: &str) -> Option<&'a str> {
    let text = text.trim();
    let in_arn = |arn: &'a str| arn.split_once(kind)?.1.strip_prefix('/');
    let id = text.strip_prefix("arn:").and_then(in_arn).unwrap_or(text);
    let digits = id.strip_prefix(prefix)?;
    let is_hex = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    (is_hex && matches!(digits.len(), 8 | 17)).then_some(id)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_lists_in_every_shape() {
        let one = json!({"instanceId": "i-0a1b2c3d"});
        for (list, count) in [
            (json!({"items": [one, one]}), 2),
            (json!({"items": one}), 1),
            (json!([one, one, one]), 3),
            (one.clone(), 1),
            (json!({}), 0),
            (json!({"items": []}), 0),
            (json!({"items": null}), 0),
            (json!(null), 0),
            (json!("text"), 0),
        ] {
            assert_eq!(items(&list).len(), count, "{list}");
            assert!(items(&list).iter().all(|item| *item == one));
        }
    }

    #[test]
    fn reads_requests_in_both_spellings() {
        let new = json!({"ModifyRequest": {"GroupId": "a"}});
        let old = json!({"groupId": "a"});
        for parameters in [new, old] {
            let request = request(&parameters, "ModifyRequest");
            assert_eq!(text(request, ["groupId", "GroupId"]), Some("a"));
        }
        assert_eq!(text(&json!({"groupId": 1}), ["groupId", "GroupId"]), None);
        assert_eq!(text(request(&json!(null), "ModifyRequest"), ["a", "b"]), None);
    }

    #[test]
    fn reads_ids_and_arns_and_nothing_else() {
        let read = |text| id(text, "snap-", ":snapshot");
        let long = Some("snap-0a1b2c3d4e5f60718");
        assert_eq!(read("snap-0a1b2c3d4e5f60718"), long);
        assert_eq!(read(" snap-0a1b2c3d4e5f60718\n"), long);
        assert_eq!(read("arn:aws:ec2:eu-west-1::snapshot/snap-0a1b2c3d4e5f60718"), long);
        assert_eq!(read("snap-0a1b2c3d"), Some("snap-0a1b2c3d"));
        for wrong in [
            "",
            "snap-",
            "snap-1111",
            "snap-0A1B2C3D",
            "snap-0a1b2c3g",
            "snap-0a1b 2c3d",
            "x/snap-0a1b2c3d",
            "ami-0a1b2c3d",
            "arn:aws:ec2:eu-west-1::snapshot/../snap-0a1b2c3d",
            "arn:aws:ec2:eu-west-1::image/snap-0a1b2c3d",
        ] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }
}
