use serde_json::Value;

use super::{Error, Staged};
use crate::Cloud;

pub(super) async fn stage(_cloud: &Cloud, _name: &str) -> Result<Staged, Error> {
    Err("not written".into())
}

pub(super) async fn is_violating(_cloud: &Cloud, _resource: &str) -> Result<bool, Error> {
    Err("not written".into())
}

pub(super) async fn snapshot(_cloud: &Cloud, _resource: &str) -> Result<Value, Error> {
    Err("not written".into())
}
