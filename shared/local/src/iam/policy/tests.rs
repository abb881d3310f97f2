use proptest::prelude::*;
use serde_json::json;

use super::*;

const BUCKET: &str = "arn:aws:s3:::photos";
const TABLE: &str = "arn:aws:dynamodb:eu-west-1:123456789012:table/ledger";

/// A request: an action, a resource and context keys.
type Asks = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// What is asked, of statements, and whether it is allowed.
fn vectors() -> Vec<(&'static str, Value, Asks, bool)> {
    let allow = |action: &str, resource: &str| json!([{"Effect": "Allow", "Action": action, "Resource": resource}]);
    let on = |condition: Value| json!([{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition}]);
    let denies = |condition: Value| {
        json!([
            {"Effect": "Allow", "Action": "*", "Resource": "*"},
            {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": condition},
        ])
    };
    let region = json!({"StringEquals": {"aws:RequestedRegion": "eu-west-1"}});
    let keys = json!({"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["REC#*", "LCK#*"]}});
    let keys_there = json!({
        "ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["REC#*", "LCK#*"]},
        "Null": {"dynamodb:LeadingKeys": "false"},
    });
    let put = "dynamodb:PutItem";
    vec![
        // What moto 5 gets wrong: a false condition, outside S3 an exact ARN, and this action.
        (
            "moto: an allow whose condition is false does not allow",
            on(region.clone()),
            (put, TABLE, &[("aws:RequestedRegion", "us-east-1")]),
            false,
        ),
        (
            "moto: a deny whose condition is false does not deny",
            denies(region.clone()),
            (put, TABLE, &[("aws:RequestedRegion", "us-east-1")]),
            true,
        ),
        (
            "moto: an action outside S3 is allowed on its exact ARN",
            allow(put, TABLE),
            (put, TABLE, &[]),
            true,
        ),
        (
            "moto: an action outside S3 is not allowed on another ARN",
            allow(put, TABLE),
            (put, "arn:aws:dynamodb:eu-west-1:123456789012:table/other", &[]),
            false,
        ),
        (
            "moto: PutBucketPublicAccessBlock is allowed on its bucket",
            allow("s3:PutBucketPublicAccessBlock", BUCKET),
            ("s3:PutBucketPublicAccessBlock", BUCKET, &[]),
            true,
        ),
        // Actions.
        (
            "an action that is not named is not allowed",
            allow("s3:GetBucketAcl", "*"),
            ("s3:PutBucketAcl", BUCKET, &[]),
            false,
        ),
        (
            "actions have no case",
            allow("S3:getbucketACL", "*"),
            ("s3:GetBucketAcl", BUCKET, &[]),
            true,
        ),
        ("a star ends an action", allow("s3:Get*", "*"), ("s3:GetBucketAcl", BUCKET, &[]), true),
        (
            "a star is not every verb",
            allow("s3:Get*", "*"),
            ("s3:PutBucketAcl", BUCKET, &[]),
            false,
        ),
        (
            "a question mark is one character",
            allow("s3:GetBucketAc?", "*"),
            ("s3:GetBucketAcl", BUCKET, &[]),
            true,
        ),
        (
            "a question mark is not none",
            allow("s3:GetBucketAcl?", "*"),
            ("s3:GetBucketAcl", BUCKET, &[]),
            false,
        ),
        (
            "an action of another service of the same name is another",
            allow("s3:ListTagsForResource", "*"),
            ("sns:ListTagsForResource", BUCKET, &[]),
            false,
        ),
        (
            "one of several actions is enough",
            json!({"Effect": "Allow", "Action": ["a:B", "s3:GetBucketAcl"], "Resource": "*"}),
            ("s3:GetBucketAcl", BUCKET, &[]),
            true,
        ),
        (
            "NotAction allows all others",
            json!({"Effect": "Allow", "NotAction": ["iam:*", "sts:*"], "Resource": "*"}),
            ("s3:GetBucketAcl", BUCKET, &[]),
            true,
        ),
        (
            "NotAction does not allow what it names",
            json!({"Effect": "Allow", "NotAction": ["iam:*", "sts:*"], "Resource": "*"}),
            ("sts:AssumeRole", "*", &[]),
            false,
        ),
        (
            "NotAction in a deny denies all others",
            json!([{"Effect": "Allow", "Action": "*", "Resource": "*"}, {"Effect": "Deny", "NotAction": "s3:*", "Resource": "*"}]),
            ("ec2:CreateTags", "*", &[]),
            false,
        ),
        // Resources.
        (
            "a resource in a deeper path is not the resource",
            allow("s3:*", BUCKET),
            ("s3:GetObject", "arn:aws:s3:::photos/key", &[]),
            false,
        ),
        (
            "a star at the end reaches into the path",
            allow("s3:*", "arn:aws:s3:::photos/*"),
            ("s3:GetObject", "arn:aws:s3:::photos/a/b", &[]),
            true,
        ),
        (
            "resources have case",
            allow("s3:*", "arn:aws:s3:::Photos"),
            ("s3:GetBucketAcl", BUCKET, &[]),
            false,
        ),
        (
            "a table is not its index",
            allow("dynamodb:Query", TABLE),
            (
                "dynamodb:Query",
                "arn:aws:dynamodb:eu-west-1:123456789012:table/ledger/index/by-due",
                &[],
            ),
            false,
        ),
        (
            "an instance of another region is another",
            allow("ec2:*", "arn:aws:ec2:eu-west-1:123456789012:instance/*"),
            ("ec2:ModifyInstanceAttribute", "arn:aws:ec2:us-east-1:123456789012:instance/i-1", &[]),
            false,
        ),
        (
            "what has no resource needs the star alone",
            allow("s3:ListAllMyBuckets", "arn:aws:s3:::*"),
            ("s3:ListAllMyBuckets", "*", &[]),
            false,
        ),
        (
            "what is yet to be made is allowed by its pattern",
            allow("ec2:CreateTags", "arn:aws:ec2:eu-west-1::snapshot/*"),
            ("ec2:CreateTags", "arn:aws:ec2:eu-west-1::snapshot/*", &[]),
            true,
        ),
        (
            "NotResource allows all others",
            json!({"Effect": "Allow", "Action": "s3:*", "NotResource": "arn:aws:s3:::secret*"}),
            ("s3:GetBucketAcl", BUCKET, &[]),
            true,
        ),
        (
            "NotResource does not allow what it names",
            json!({"Effect": "Allow", "Action": "s3:*", "NotResource": "arn:aws:s3:::ph*"}),
            ("s3:GetBucketAcl", BUCKET, &[]),
            false,
        ),
        (
            "NotResource in a deny spares what it names",
            json!([{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}, {"Effect": "Deny", "Action": "sts:AssumeRole", "NotResource": "arn:aws:iam::*:role/quell-member"}]),
            ("sts:AssumeRole", "arn:aws:iam::210987654321:role/quell-member", &[]),
            true,
        ),
        // An explicit deny.
        (
            "an explicit deny wins before the allow",
            json!([{"Effect": "Deny", "Action": put, "Resource": "*"}, {"Effect": "Allow", "Action": "*", "Resource": "*"}]),
            (put, TABLE, &[]),
            false,
        ),
        (
            "an explicit deny wins behind the allow",
            json!([{"Effect": "Allow", "Action": "*", "Resource": "*"}, {"Effect": "Deny", "Action": put, "Resource": TABLE}]),
            (put, TABLE, &[]),
            false,
        ),
        (
            "an explicit deny elsewhere does not matter",
            json!([{"Effect": "Allow", "Action": "*", "Resource": "*"}, {"Effect": "Deny", "Action": put, "Resource": BUCKET}]),
            (put, TABLE, &[]),
            true,
        ),
        (
            "a deny allows nothing",
            json!({"Effect": "Deny", "Action": "s3:*", "Resource": "*"}),
            (put, TABLE, &[]),
            false,
        ),
        // Conditions.
        (
            "a true condition allows",
            on(region.clone()),
            (put, TABLE, &[("aws:RequestedRegion", "eu-west-1")]),
            true,
        ),
        (
            "condition keys have no case",
            on(region.clone()),
            (put, TABLE, &[("AWS:requestedregion", "eu-west-1")]),
            true,
        ),
        (
            "condition values have case",
            on(region.clone()),
            (put, TABLE, &[("aws:RequestedRegion", "EU-WEST-1")]),
            false,
        ),
        (
            "StringEquals knows no star",
            on(json!({"StringEquals": {"aws:RequestedRegion": "eu-*"}})),
            (put, TABLE, &[("aws:RequestedRegion", "eu-west-1")]),
            false,
        ),
        ("an absent key is not equal", on(region.clone()), (put, TABLE, &[]), false),
        (
            "an absent key is equal if it need not exist",
            on(json!({"StringEqualsIfExists": {"aws:RequestedRegion": "eu-west-1"}})),
            (put, TABLE, &[]),
            true,
        ),
        (
            "a key that is there must be equal though it need not exist",
            on(json!({"StringEqualsIfExists": {"aws:RequestedRegion": "eu-west-1"}})),
            (put, TABLE, &[("aws:RequestedRegion", "us-east-1")]),
            false,
        ),
        (
            "an absent key is not equal to anything",
            on(json!({"StringNotEquals": {"aws:RequestedRegion": "eu-west-1"}})),
            (put, TABLE, &[]),
            true,
        ),
        (
            "StringNotEquals refuses each of its values",
            on(json!({"StringNotEquals": {"aws:RequestedRegion": ["a", "eu-west-1"]}})),
            (put, TABLE, &[("aws:RequestedRegion", "eu-west-1")]),
            false,
        ),
        (
            "StringNotLike knows the star",
            on(json!({"StringNotLike": {"aws:RequestedRegion": "eu-*"}})),
            (put, TABLE, &[("aws:RequestedRegion", "eu-west-1")]),
            false,
        ),
        (
            "StringEqualsIgnoreCase ignores case",
            on(json!({"StringEqualsIgnoreCase": {"aws:RequestedRegion": "EU-west-1"}})),
            (put, TABLE, &[("aws:RequestedRegion", "eu-WEST-1")]),
            true,
        ),
        (
            "one of several values is enough",
            on(json!({"StringLike": {"aws:RequestedRegion": ["us-*", "eu-*"]}})),
            (put, TABLE, &[("aws:RequestedRegion", "eu-west-1")]),
            true,
        ),
        (
            "all operators have to hold",
            on(
                json!({"StringLike": {"aws:RequestedRegion": "eu-*"}, "StringEquals": {"aws:ResourceAccount": "1"}}),
            ),
            (put, TABLE, &[("aws:RequestedRegion", "eu-west-1"), ("aws:ResourceAccount", "2")]),
            false,
        ),
        (
            "all keys have to hold",
            on(
                json!({"StringEquals": {"aws:RequestedRegion": "eu-west-1", "aws:ResourceAccount": "1"}}),
            ),
            (put, TABLE, &[("aws:RequestedRegion", "eu-west-1")]),
            false,
        ),
        (
            "ArnEquals knows the star as ArnLike does",
            on(json!({"ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::*:role/quell-*"}})),
            (put, TABLE, &[("aws:PrincipalArn", "arn:aws:iam::123456789012:role/quell-a")]),
            true,
        ),
        (
            "a star of ArnLike ends at the colon",
            on(json!({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam:*:*:quell"}})),
            (put, TABLE, &[("aws:PrincipalArn", "arn:aws:iam::123456789012:role:quell")]),
            false,
        ),
        (
            "what is no ARN is not like one",
            on(json!({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/*"}})),
            (put, TABLE, &[("aws:PrincipalArn", "anonymous")]),
            false,
        ),
        (
            "Null true wants the key absent",
            on(json!({"Null": {"aws:TagKeys": "true"}})),
            (put, TABLE, &[("aws:TagKeys", "a")]),
            false,
        ),
        (
            "Null false wants the key there",
            on(json!({"Null": {"aws:TagKeys": "false"}})),
            (put, TABLE, &[]),
            false,
        ),
        (
            "Bool has no case",
            on(json!({"Bool": {"aws:SecureTransport": "True"}})),
            (put, TABLE, &[("aws:SecureTransport", "true")]),
            true,
        ),
        (
            "Bool false is not absent",
            on(json!({"Bool": {"aws:SecureTransport": "false"}})),
            (put, TABLE, &[]),
            false,
        ),
        // Keys with several values.
        (
            "ForAllValues holds if all values fit",
            on(keys.clone()),
            (put, TABLE, &[("dynamodb:LeadingKeys", "REC#1"), ("dynamodb:LeadingKeys", "LCK#1")]),
            true,
        ),
        (
            "ForAllValues does not hold if one does not fit",
            on(keys.clone()),
            (put, TABLE, &[("dynamodb:LeadingKeys", "REC#1"), ("dynamodb:LeadingKeys", "EXM#1")]),
            false,
        ),
        ("ForAllValues holds without any value", on(keys.clone()), (put, TABLE, &[]), true),
        (
            "ForAllValues with Null does not hold without any value",
            on(keys_there.clone()),
            (put, TABLE, &[]),
            false,
        ),
        (
            "ForAllValues with Null holds with a value",
            on(keys_there),
            (put, TABLE, &[("dynamodb:LeadingKeys", "REC#1")]),
            true,
        ),
        ("ForAllValues in a deny denies without any value", denies(keys), (put, TABLE, &[]), false),
        (
            "ForAnyValue holds if one value fits",
            on(json!({"ForAnyValue:StringEquals": {"aws:TagKeys": "a"}})),
            (put, TABLE, &[("aws:TagKeys", "b"), ("aws:TagKeys", "a")]),
            true,
        ),
        (
            "ForAnyValue does not hold without any value",
            on(json!({"ForAnyValue:StringEquals": {"aws:TagKeys": "a"}})),
            (put, TABLE, &[]),
            false,
        ),
        (
            "ForAnyValue does not hold without any value, negated neither",
            on(json!({"ForAnyValue:StringNotEquals": {"aws:TagKeys": "a"}})),
            (put, TABLE, &[]),
            false,
        ),
        (
            "ForAllValues negated holds if no value fits",
            on(json!({"ForAllValues:StringNotEquals": {"aws:TagKeys": ["a", "b"]}})),
            (put, TABLE, &[("aws:TagKeys", "c")]),
            true,
        ),
        (
            "ForAllValues negated does not hold if one fits",
            on(json!({"ForAllValues:StringNotEquals": {"aws:TagKeys": ["a", "b"]}})),
            (put, TABLE, &[("aws:TagKeys", "c"), ("aws:TagKeys", "b")]),
            false,
        ),
    ]
}

#[test]
fn policies_are_evaluated_as_aws_does() {
    let vectors = vectors();
    assert!(vectors.len() >= 40);
    for (name, statements, (action, resource, keys), is_allowed) in vectors {
        let policy = policy(statements);
        let decision = Policy::decide(&[policy], None, action, resource, &context(keys));
        assert_eq!(decision.is_allowed(), is_allowed, "{name}: {decision:?}");
    }
}

#[test]
fn a_permissions_boundary_only_takes_away() {
    let all = json!({"Effect": "Allow", "Action": "*", "Resource": "*"});
    let s3 = json!({"Effect": "Allow", "Action": "s3:*", "Resource": "*"});
    let no_s3 = json!([all, {"Effect": "Deny", "Sid": "No", "Action": "s3:*", "Resource": "*"}]);
    let decide = |role: &Value, boundary: &Value, action: &str| {
        let boundary = policy(boundary.clone());
        Policy::decide(
            &[policy(role.clone())],
            Some(&boundary),
            action,
            BUCKET,
            &Context::default(),
        )
    };
    assert!(decide(&all, &s3, "s3:GetBucketAcl").is_allowed());
    assert_eq!(decide(&all, &s3, "ec2:CreateTags"), Decision::OutsideBoundary);
    assert_eq!(decide(&s3, &all, "ec2:CreateTags"), Decision::NotAllowed);
    let denied = Decision::ExplicitlyDenied { sid: "No".to_owned() };
    assert_eq!(decide(&all, &no_s3, "s3:GetBucketAcl"), denied);
    assert_eq!(decide(&no_s3, &all, "s3:GetBucketAcl"), denied);
}

#[test]
fn a_deny_in_one_policy_wins_over_another_policy() {
    let allows = policy(json!({"Effect": "Allow", "Action": "*", "Resource": "*"}));
    let denies = policy(json!({"Effect": "Deny", "Action": "s3:*", "Resource": "*"}));
    for policies in [[allows.clone(), denies.clone()], [denies, allows]] {
        let decision =
            Policy::decide(&policies, None, "s3:GetBucketAcl", BUCKET, &Context::default());
        assert_eq!(decision, Decision::ExplicitlyDenied { sid: String::new() });
    }
}

#[test]
fn what_could_not_be_evaluated_is_no_policy() {
    let with = |field: &str, value: Value| {
        let mut statement = json!({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"});
        statement[field] = value;
        json!({"Version": "2012-10-17", "Statement": statement})
    };
    let without = |field: &str| {
        let mut document = with("Sid", json!("S"));
        document["Statement"].as_object_mut().unwrap().remove(field);
        document
    };
    let on = |operator: &str, key: &str, value: Value| {
        with("Condition", json!({operator: {key: value}}))
    };
    for (document, reason) in [
        (json!([]), "is not an object"),
        (json!({"Statement": []}), "Version 2012-10-17"),
        (json!({"Version": "2008-10-17", "Statement": []}), "Version 2012-10-17"),
        (json!({"Version": "2012-10-17"}), "no Statement"),
        (json!({"Version": "2012-10-17", "Statement": []}), "no Statement"),
        (json!({"Version": "2012-10-17", "Statement": ["Allow"]}), "is not an object"),
        (json!({"Version": "2012-10-17", "Statements": []}), "the element Statements"),
        (with("Effect", json!("allow")), "neither Allow nor Deny"),
        (without("Effect"), "neither Allow nor Deny"),
        (without("Action"), "exactly one of Action and NotAction"),
        (with("NotAction", json!("s3:*")), "exactly one of Action and NotAction"),
        (without("Resource"), "exactly one of Resource and NotResource"),
        (with("NotResource", json!("*")), "exactly one of Resource and NotResource"),
        (with("Principal", json!("*")), "the element Principal"),
        (with("Conditon", json!({})), "the element Conditon"),
        (with("Action", json!([])), "empty Action"),
        (with("Action", json!("GetObject")), "which is none"),
        (with("Action", json!("s3:Get Object")), "which is none"),
        (with("Action", json!("*:GetObject")), "which is none"),
        (with("Action", json!([1])), "no texts as Action"),
        (with("Resource", json!("photos")), "which is no ARN"),
        (with("Resource", json!("arn:aws:s3")), "which is no ARN"),
        (with("Resource", json!("arn:aws:s3:::${aws:username}")), "policy variable"),
        (with("Resource", json!({"Ref": "Table"})), "no texts as Resource"),
        (with("Sid", json!(1)), "Sid that is not text"),
        (with("Condition", json!([])), "no object"),
        (with("Condition", json!({})), "empty Condition"),
        (with("Condition", json!({"StringEquals": {}})), "without keys"),
        (on("StringEqual", "aws:RequestedRegion", json!("a")), "not known here"),
        (on("stringequals", "aws:RequestedRegion", json!("a")), "not known here"),
        (on("NumericEquals", "s3:max-keys", json!("1")), "not known here"),
        (on("IpAddress", "aws:SourceIp", json!("10.0.0.0/8")), "not known here"),
        (on("ForSomeValues:StringEquals", "aws:TagKeys", json!("a")), "no set operator"),
        (
            on("ForAllValues:StringEqualsIfExists", "aws:TagKeys", json!("a")),
            "says nothing certain",
        ),
        (on("StringEquals", "aws:TagKeys", json!("a")), "say ForAllValues or ForAnyValue"),
        (on("StringEquals", "RequestedRegion", json!("a")), "no condition key"),
        (on("StringEquals", "aws:RequestedRegion", json!([])), "without texts"),
        (on("StringEquals", "aws:RequestedRegion", json!(1)), "without texts"),
        (on("StringEquals", "aws:RequestedRegion", json!("${aws:username}")), "policy variable"),
        (on("ArnLike", "aws:PrincipalArn", json!("role")), "cannot be compared"),
        (on("Bool", "aws:SecureTransport", json!("yes")), "cannot be compared"),
        (on("Null", "aws:TagKeys", json!("yes")), "either true or false"),
        (on("NullIfExists", "aws:TagKeys", json!("true")), "not known here"),
    ] {
        let error = Policy::parse(&document).expect_err(&format!("{document} is a policy"));
        assert!(error.to_string().contains(reason), "{document}: {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_text_fits_itself_and_any_text_fits_a_star(text in "[a-z:/*?]{0,30}") {
        prop_assert!(glob("*", &text));
        prop_assert!(glob(&text, &text));
        let prefix_star = format!("{text}*");
        prop_assert!(glob(&prefix_star, &text));
    }

    #[test]
    fn globs_fit_as_their_regular_definition_says(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
        fn defined(pattern: &[u8], text: &[u8]) -> bool {
            match (pattern.first(), text.first()) {
                (None, None) => true,
                (Some(b'*'), _) => {
                    defined(&pattern[1..], text) || (!text.is_empty() && defined(pattern, &text[1..]))
                }
                (Some(b'?'), Some(_)) => defined(&pattern[1..], &text[1..]),
                (Some(p), Some(t)) => p == t && defined(&pattern[1..], &text[1..]),
                _ => false,
            }
        }
        prop_assert_eq!(glob(&pattern, &text), defined(pattern.as_bytes(), text.as_bytes()));
    }

    #[test]
    fn a_deny_of_it_wins_wherever_it_stands(
        mut allows in proptest::collection::vec(any_statement(), 0..5),
        place in any::<proptest::sample::Index>(),
        action in any_action(),
        resource in any_resource(),
    ) {
        let deny = json!({"Effect": "Deny", "Action": action, "Resource": resource});
        allows.insert(place.index(allows.len() + 1), deny);
        let decision = decide(&allows, &action, &resource);
        prop_assert!(matches!(decision, Decision::ExplicitlyDenied { .. }), "{decision:?}");
    }

    #[test]
    fn another_allow_never_takes_away_and_another_deny_never_gives(
        statements in proptest::collection::vec(any_statement(), 1..5),
        one_more in any_statement(),
        action in any_action(),
        resource in any_resource(),
    ) {
        let before = decide(&statements, &action, &resource).is_allowed();
        let mut more = statements.clone();
        let is_deny = one_more["Effect"] == "Deny";
        more.push(one_more);
        let after = decide(&more, &action, &resource).is_allowed();
        let holds = if is_deny { before || !after } else { after || !before };
        prop_assert!(holds, "{before} became {after}");
    }

    #[test]
    fn what_is_said_in_one_policy_or_in_many_is_the_same(
        statements in proptest::collection::vec(any_statement(), 1..5),
        action in any_action(),
        resource in any_resource(),
    ) {
        let each: Vec<_> = statements.iter().cloned().map(policy).collect();
        let context = Context::default();
        let together = decide(&statements, &action, &resource);
        prop_assert_eq!(Policy::decide(&each, None, &action, &resource, &context), together);
    }

    #[test]
    fn any_json_is_a_policy_or_an_error(text in "\\PC{0,60}", number in any::<i64>()) {
        let operator = text.as_str();
        for document in [
            json!(text),
            json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": text, "Resource": text}}),
            json!({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*",
                "Condition": {operator: {operator: [number, text]}}}]}),
        ] {
            if let Ok(policy) = Policy::parse(&document) {
                Policy::decide(&[policy], None, &text, &text, &Context::default());
            }
        }
    }
}

fn decide(statements: &[Value], action: &str, resource: &str) -> Decision {
    Policy::decide(&[policy(json!(statements))], None, action, resource, &Context::default())
}

fn any_statement() -> impl Strategy<Value = Value> {
    let patterns =
        || proptest::collection::vec(prop_oneof![any_action(), Just("*".to_owned())], 1..3);
    let resources =
        || proptest::collection::vec(prop_oneof![any_resource(), Just("*".to_owned())], 1..3);
    (any::<bool>(), any::<bool>(), patterns(), resources()).prop_map(
        |(allows, negated, actions, resources)| {
            let effect = if allows { "Allow" } else { "Deny" };
            let action = if negated { "NotAction" } else { "Action" };
            json!({"Effect": effect, action: actions, "Resource": resources})
        },
    )
}

fn any_action() -> impl Strategy<Value = String> {
    "(s3|ec2):(Get|Put)(A|B)"
}

fn any_resource() -> impl Strategy<Value = String> {
    "arn:aws:s3:::[ab]{1,2}"
}

fn policy(statements: Value) -> Policy {
    Policy::parse(&json!({"Version": "2012-10-17", "Statement": statements})).unwrap()
}

fn context(keys: &[(&str, &str)]) -> Context {
    let mut context = Context::default();
    keys.iter().for_each(|(key, value)| context.add(key, *value));
    context
}
