//! A request at the function URL: who asks, and what for.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads>

use aws_smithy_types::base64;
use quell_engine::policy::Policy;
use serde::Deserialize;
use serde_json::Value;

use crate::answer::Refusal;

/// What a body may be long, in bytes.
const LONGEST: usize = 64 * 1024;

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The principal that signed the request.
    pub(crate) arn: String,
    /// The person, if the policy knows one by this principal.
    pub(crate) person: Option<String>,
    pub(crate) policy: Policy,
}

impl Caller {
    /// What people call them.
    pub(crate) fn name(&self) -> &str {
        self.person.as_deref().unwrap_or(&self.arn)
    }

    /// The person, where one has to be known.
    pub(crate) fn known(&self, to: &str) -> Result<&str, Refusal> {
        self.person.as_deref().ok_or_else(|| {
            Refusal::forbidden(format!(
                "the policy knows nobody as {}; to {to}, let somebody add that principal to their [[people]] in quell.toml and apply it",
                self.arn
            ))
        })
    }

    /// The person, where somebody else is needed than who made the change. Whoever is not known counts as the same.
    pub(crate) fn other_than(&self, actor: &str, to: &str) -> Result<&str, Refusal> {
        let person = self.known(to)?;
        match self.policy.person(actor).map(|did| did.name.as_str()) {
            Some(did) if did != person => Ok(person),
            Some(_) => Err(Refusal::forbidden(format!(
                "{person} made the change; somebody else must {to}"
            ))),
            None => Err(Refusal::forbidden(format!(
                "the change was made by {actor}, whom the policy does not know and who may be {person}; to {to}, let somebody add that principal to its [[people]] in quell.toml and apply it"
            ))),
        }
    }
}

/// What is asked for. Nothing in it says who asks.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(tag = "verb", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Order {
    Approve {
        record: String,
        /// The hash of the plan that was looked at.
        plan: String,
    },
    Deny {
        record: String,
        reason: Option<String>,
    },
    Undo {
        record: String,
    },
    /// One record, or as many as there are.
    Resume {
        record: Option<String>,
        #[serde(default)]
        all: bool,
        control: Option<String>,
    },
    /// A resource by its control and name, or by a record about it.
    Exempt {
        record: Option<String>,
        control: Option<String>,
        resource: Option<String>,
        region: Option<String>,
        reason: String,
        days: i64,
        owner: Option<String>,
    },
    /// Takes an exemption back.
    Revoke {
        control: String,
        /// Its name or its ARN.
        resource: String,
        region: Option<String>,
    },
    /// Says how far each function may go. Changes nothing.
    Ceilings {},
    Halt {
        reason: String,
    },
    Continue {
        reason: Option<String>,
    },
}

impl Order {
    pub(crate) fn verb(&self) -> &'static str {
        match self {
            Self::Approve { .. } => "approve",
            Self::Deny { .. } => "deny",
            Self::Undo { .. } => "undo",
            Self::Resume { .. } => "resume",
            Self::Exempt { .. } => "exempt",
            Self::Revoke { .. } => "revoke",
            Self::Ceilings {} => "ceilings",
            Self::Halt { .. } => "halt",
            Self::Continue { .. } => "continue",
        }
    }
}

/// What Lambda makes of an HTTP request.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Url {
    request_context: Context,
    #[serde(default)]
    raw_path: String,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

#[derive(Deserialize)]
struct Context {
    #[serde(default)]
    authorizer: Option<Authorizer>,
    http: Http,
}

#[derive(Deserialize)]
struct Authorizer {
    iam: Option<Iam>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Iam {
    account_id: Option<String>,
    user_arn: Option<String>,
}

#[derive(Deserialize)]
struct Http {
    method: String,
}

impl Url {
    pub(crate) fn read(event: Value) -> Result<Self, Refusal> {
        Self::deserialize(event)
            .map_err(|_| Refusal::bad("this is not a request at a function URL".to_owned()))
    }

    /// The principal that signed the request, as IAM says. It must be of the account.
    pub(crate) fn caller(&self, account: &str) -> Result<String, Refusal> {
        let iam = self.request_context.authorizer.as_ref().and_then(|by| by.iam.as_ref());
        let arn = iam.and_then(|iam| iam.user_arn.as_deref()).ok_or_else(|| {
            Refusal::forbidden(
                "it is not known who asks; the function URL must have AuthType AWS_IAM".to_owned(),
            )
        })?;
        let of = iam.and_then(|iam| iam.account_id.as_deref());
        if account_of(arn) != Some(account) || of.is_some_and(|of| of != account) {
            return Err(Refusal::forbidden(format!(
                "{arn} is not of account {account}; use credentials of that account"
            )));
        }
        Ok(arn.to_owned())
    }

    /// Whether it is where `slack-actions` brings what people press.
    pub(crate) fn is_of_slack(&self) -> bool {
        self.raw_path == "/slack"
    }

    /// What the body asks for.
    pub(crate) fn order(&self) -> Result<Order, Refusal> {
        if self.raw_path != "/" && !self.raw_path.is_empty() {
            return Err(Refusal::absent("there is only the path /".to_owned()));
        }
        serde_json::from_slice(&self.body()?)
            .map_err(|error| Refusal::bad(format!("the body is no order: {error}")))
    }

    /// The body as it was sent.
    pub(crate) fn body(&self) -> Result<Vec<u8>, Refusal> {
        if self.request_context.http.method != "POST" {
            return Err(Refusal::bad("orders are given with POST".to_owned()));
        }
        let too_long =
            || Refusal::bad(format!("the body is longer than {LONGEST} bytes; no order is"));
        let body = self.body.as_deref().unwrap_or_default();
        // Base64 takes four characters for three bytes.
        if body.len() > if self.is_base64_encoded { LONGEST / 3 * 4 + 4 } else { LONGEST } {
            return Err(too_long());
        }
        let decoded = if self.is_base64_encoded {
            base64::decode(body)
                .map_err(|_| Refusal::bad("the body is not Base64, as it says".to_owned()))?
        } else {
            body.as_bytes().to_vec()
        };
        if decoded.len() > LONGEST { Err(too_long()) } else { Ok(decoded) }
    }
}

/// The account in an ARN of IAM or STS.
fn account_of(arn: &str) -> Option<&str> {
    let mut parts = arn.splitn(6, ':');
    let is_arn = parts.next() == Some("arn");
    let _partition = parts.next()?;
    let service = parts.next()?;
    let is_global = parts.next() == Some("");
    let account = parts.next()?;
    let resource = parts.next()?;
    (is_arn && is_global && matches!(service, "iam" | "sts") && !resource.is_empty())
        .then_some(account)
}

#[cfg(test)]
mod tests {
    use quell_engine::policy::Person;
    use serde_json::json;

    use super::*;

    const ACCOUNT: &str = "123456789012";
    const ALICE: &str = "arn:aws:iam::123456789012:user/alice";

    #[test]
    fn who_asks_is_who_signed() {
        assert_eq!(url(Some(ALICE), "{}").caller(ACCOUNT).unwrap(), ALICE);
        let session = "arn:aws:sts::123456789012:assumed-role/admin/bob@example.com";
        assert_eq!(url(Some(session), "{}").caller(ACCOUNT).unwrap(), session);
    }

    #[test]
    fn nobody_of_another_account_or_without_a_name_is_heard() {
        for arn in [
            None,
            Some(""),
            Some("alice"),
            Some("arn:aws:iam::210987654321:user/alice"),
            Some("arn:aws:iam::123456789012:"),
            Some("arn:aws:s3:::123456789012"),
            Some("arn:aws:iam:eu-west-1:123456789012:user/alice"),
            Some("arn:aws:iam::210987654321:user/arn:aws:iam::123456789012:user/alice"),
        ] {
            let refusal = url(arn, "{}").caller(ACCOUNT).unwrap_err();
            assert_eq!(refusal.status, 403, "{arn:?}");
        }
        let mut event = event(Some(ALICE), "{}");
        event["requestContext"]["authorizer"]["iam"]["accountId"] = json!("210987654321");
        assert_eq!(Url::read(event).unwrap().caller(ACCOUNT).unwrap_err().status, 403);
        let mut event = event_without_authorizer();
        event["body"] = json!(json!({"verb": "continue", "userArn": ALICE}).to_string());
        assert_eq!(Url::read(event).unwrap().caller(ACCOUNT).unwrap_err().status, 403);
    }

    #[test]
    fn an_order_is_read_plainly_or_from_base64() {
        let text = r#"{"verb":"undo","record":"5f0c6a1de2b94c770000"}"#;
        let undo = Order::Undo { record: "5f0c6a1de2b94c770000".into() };
        assert_eq!(url(Some(ALICE), text).order().unwrap(), undo);
        let mut event = event(Some(ALICE), &base64::encode(text));
        event["isBase64Encoded"] = json!(true);
        assert_eq!(Url::read(event).unwrap().order().unwrap(), undo);
    }

    #[test]
    fn what_is_no_order_is_refused_with_words() {
        for (body, says) in [
            ("", "EOF"),
            ("[]", "the body is no order"),
            (r#"{"verb":"destroy"}"#, "unknown variant `destroy`"),
            (r#"{"verb":"undo"}"#, "missing field `record`"),
            (
                r#"{"verb":"undo","record":"a","by":"arn:aws:iam::123456789012:root"}"#,
                "unknown field `by`",
            ),
            (r#"{"verb":"halt","reason":7}"#, "invalid type"),
        ] {
            let refusal = url(Some(ALICE), body).order().unwrap_err();
            assert_eq!(refusal.status, 400);
            assert!(refusal.detail.contains(says), "{body}: {}", refusal.detail);
        }
        let long = format!(r#"{{"verb":"halt","reason":"{}"}}"#, "x".repeat(LONGEST));
        let refusal = url(Some(ALICE), &long).order().unwrap_err();
        assert!(refusal.detail.contains("65536"), "{}", refusal.detail);
        let deep = "[".repeat(60_000);
        assert_eq!(url(Some(ALICE), &deep).order().unwrap_err().status, 400);
        let mut event = event(Some(ALICE), "not base64!");
        event["isBase64Encoded"] = json!(true);
        assert_eq!(Url::read(event).unwrap().order().unwrap_err().status, 400);
    }

    #[test]
    fn only_a_post_to_the_root_is_an_order() {
        let mut other = event(Some(ALICE), r#"{"verb":"continue"}"#);
        other["rawPath"] = json!("/admin");
        assert_eq!(Url::read(other).unwrap().order().unwrap_err().status, 404);
        let mut other = event(Some(ALICE), r#"{"verb":"continue"}"#);
        other["requestContext"]["http"]["method"] = json!("GET");
        assert_eq!(Url::read(other).unwrap().order().unwrap_err().status, 400);
    }

    #[test]
    fn whoever_is_not_known_counts_as_the_same_person() {
        let person = |name: &str, arn: &str| Person {
            name: name.into(),
            slack: None,
            principals: vec![arn.into()],
        };
        let role = "arn:aws:sts::123456789012:assumed-role/admin/bob";
        let bob = "arn:aws:iam::123456789012:user/bob";
        let mut policy = Policy::observe();
        policy.people = vec![person("alice", ALICE), person("bob", bob), person("bob", role)];
        let caller = |arn: &str| Caller {
            arn: arn.into(),
            person: policy.person(arn).map(|person| person.name.clone()),
            policy: policy.clone(),
        };
        assert_eq!(caller(bob).other_than(ALICE, "approve it"), Ok("bob"));
        let eve = "arn:aws:iam::123456789012:user/eve";
        for (who, actor, says) in [
            (bob, bob, "bob made the change; somebody else must approve it"),
            // People are compared, not principals.
            (bob, role, "bob made the change; somebody else must approve it"),
            (bob, eve, "whom the policy does not know and who may be bob; to approve it, let"),
            (eve, ALICE, "the policy knows nobody as arn:aws:iam::123456789012:user/eve"),
            (eve, eve, "the policy knows nobody as"),
        ] {
            let refusal = caller(who).other_than(actor, "approve it").unwrap_err();
            assert_eq!(refusal.status, 403);
            assert!(refusal.detail.contains(says), "{who}, {actor}: {}", refusal.detail);
        }
    }

    fn url(arn: Option<&str>, body: &str) -> Url {
        Url::read(event(arn, body)).unwrap()
    }

    fn event(arn: Option<&str>, body: &str) -> Value {
        let mut event = event_without_authorizer();
        event["requestContext"]["authorizer"] = json!({"iam": {"userArn": arn}});
        event["body"] = json!(body);
        event
    }

    fn event_without_authorizer() -> Value {
        json!({
            "version": "2.0",
            "rawPath": "/",
            "requestContext": {"http": {"method": "POST", "path": "/"}},
            "isBase64Encoded": false,
        })
    }
}
