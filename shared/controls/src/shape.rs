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
}
