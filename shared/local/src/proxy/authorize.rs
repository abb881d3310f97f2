//! What a proxy has of IAM: access keys with roles, and requests as IAM sees them.

use std::collections::BTreeMap;

use axum::body::Bytes;
use hyper::http::request::Parts;
use serde_json::Value;

use super::{
    Refusal,
    naming::{self, Named, Protocol},
};
use crate::{
    cloud::ACCOUNT,
    iam::{Granted, Item, Refused, Request, Role},
};

/// The roles of access keys. A key without a role may do anything.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_key: BTreeMap<String, Role>,
    /// The function behind the function URL, which its host would tell.
    behind_url: Option<String>,
}

impl Sessions {
    /// A new key, of the form of AWS's temporary ones.
    pub(super) fn assume(&mut self, role: Role) -> String {
        let key = format!("ASIA{:016}", self.by_key.len());
        self.by_key.insert(key.clone(), role);
        key
    }

    pub(super) fn put_behind_url(&mut self, function: &str) {
        self.behind_url = Some(function.to_owned());
    }

    /// What the role of the request's key is asked, and what it says. None: the key has none.
    pub(super) fn judge(
        &self,
        parts: &Parts,
        body: &Bytes,
    ) -> Option<(Request, Result<Vec<Granted>, Refused>)> {
        let [key, region] = scope(parts)?;
        let role = self.by_key.get(key)?;
        let mut named = Named::from(parts, body);
        if named.operation == naming::THROUGH_URL {
            named.resources.extend(self.behind_url.clone());
        }
        let mut request = request(&named, region, body);
        if named.protocol == Protocol::S3 {
            let query = parts.uri.query().unwrap_or_default();
            request.parameters.extend(form_urlencoded::parse(query.as_bytes()).into_owned());
        }
        let judged = role.judge(&request);
        Some((request, judged))
    }
}

/// As the service says that IAM refused.
pub(super) fn denial(refused: &Refused, named: &Named) -> Refusal {
    let (status, code) = match named.protocol {
        Protocol::Json | Protocol::Cbor => (400, "AccessDeniedException"),
        Protocol::RestJson => (403, "AccessDeniedException"),
        Protocol::Ec2 => (403, "UnauthorizedOperation"),
        // https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
        Protocol::Query if named.service == "SNS" => (403, "AuthorizationError"),
        Protocol::Query | Protocol::S3 | Protocol::S3Control => (403, "AccessDenied"),
    };
    Refusal { status, code: code.to_owned(), message: refused.to_string() }
}

/// Key and region of `Credential=<key>/<day>/<region>/<service>/aws4_request`.
fn scope(parts: &Parts) -> Option<[&str; 2]> {
    let authorization = parts.headers.get("authorization")?.to_str().ok()?;
    let scope = authorization.split_once("Credential=")?.1.split([',', ' ']).next()?;
    let mut scope = scope.split('/');
    Some([scope.next()?, scope.nth(1)?])
}

fn request(named: &Named, region: &str, body: &Bytes) -> Request {
    let one = |name: &str| {
        let resource = named.resources.first();
        resource.map(|resource| (name.to_owned(), resource.clone())).into_iter().collect::<Vec<_>>()
    };
    let (parameters, items) = match named.protocol {
        Protocol::Ec2 | Protocol::Query => {
            (form_urlencoded::parse(body).into_owned().collect(), Vec::new())
        }
        Protocol::S3 => (one("Bucket"), Vec::new()),
        Protocol::RestJson if named.service == "SecurityHub" => {
            let json = serde_json::from_slice::<Value>(body).unwrap_or_default();
            (texts(&json), Vec::new())
        }
        Protocol::RestJson if named.service == "GuardDuty" => {
            let json = serde_json::from_slice::<Value>(body).unwrap_or_default();
            let mut parameters = texts(&json);
            parameters.extend(one("DetectorId"));
            (parameters, Vec::new())
        }
        Protocol::RestJson => (one("FunctionName"), Vec::new()),
        Protocol::S3Control | Protocol::Cbor => (Vec::new(), Vec::new()),
        Protocol::Json => {
            let json = serde_json::from_slice::<Value>(body).unwrap_or_default();
            let items = if named.service == "DynamoDB" { items(&json) } else { Vec::new() };
            (texts(&json), items)
        }
    };
    Request {
        service: named.service.clone(),
        operation: named.operation.clone(),
        region: region.to_owned(),
        account: ACCOUNT.to_owned(),
        parameters,
        items,
    }
}

/// All texts by their path, such as `Workflow.Status`, whatever their place in lists.
fn leaves(path: &str, json: &Value, found: &mut Vec<(String, String)>) {
    match json {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                leaves(&path, value, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| leaves(path, value, found)),
        Value::String(text) => found.push((path.to_owned(), text.clone())),
        _ => {}
    }
}

/// Every text, by where it stands.
fn texts(json: &Value) -> Vec<(String, String)> {
    let mut texts = Vec::new();
    leaves("", json, &mut texts);
    texts
}

/// What a request of DynamoDB is about, item by item; a query's table once.
fn items(json: &Value) -> Vec<Item> {
    let mut items = Vec::new();
    if let Some(table) = json["TableName"].as_str() {
        items.push(item("", table, json));
    }
    for of_transaction in json["TransactItems"].as_array().into_iter().flatten() {
        for (kind, operation) in of_transaction.as_object().into_iter().flatten() {
            items.push(item(kind, operation["TableName"].as_str().unwrap_or_default(), operation));
        }
    }
    for (table, wanted) in json["RequestItems"].as_object().into_iter().flatten() {
        let keys = wanted["Keys"].as_array().into_iter().flatten();
        items.extend(keys.map(|key| Item {
            kind: String::new(),
            table: table.clone(),
            key: partition_key(key),
        }));
        let writes = wanted.as_array().into_iter().flatten().filter_map(Value::as_object);
        items.extend(writes.flat_map(|write| write.values()).map(|write| item("", table, write)));
    }
    items
}

fn item(kind: &str, table: &str, operation: &Value) -> Item {
    let key = ["Item", "Key"].iter().find_map(|at| partition_key(operation.get(at)?));
    Item { kind: kind.to_owned(), table: table.to_owned(), key }
}

/// Every table here calls it `pk`.
fn partition_key(attributes: &Value) -> Option<String> {
    attributes["pk"]["S"].as_str().map(str::to_owned)
}
