//! The table that everything stands in.

use serde_json::{Value, json};

use crate::model::{Template, list};

/// The ledger outlives mistakes: it is backed up, encrypted, and cannot be deleted with the stack.
pub(crate) fn the_ledger_stays(template: &Template) -> Vec<String> {
    let mut complaints = Vec::new();
    for (id, table) in template.all("AWS::DynamoDB::Table") {
        let resource = &template.root["Resources"][id];
        for (what, holds) in [
            ("is not retained", resource["DeletionPolicy"] == "Retain"),
            ("is lost when replaced", resource["UpdateReplacePolicy"] == "Retain"),
            ("can be deleted", table["DeletionProtectionEnabled"] == true),
            (
                "is not encrypted with a key that can be audited",
                table["SSESpecification"]["SSEEnabled"] == true,
            ),
            (
                "has no point-in-time recovery",
                table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] == true,
            ),
            ("is not on demand", table["BillingMode"] == "PAY_PER_REQUEST"),
            (
                "keeps expired items",
                table["TimeToLiveSpecification"]
                    == json!({"AttributeName": "expires", "Enabled": true}),
            ),
            ("has other keys", keys(&table["KeySchema"]) == [("pk", "HASH"), ("sk", "RANGE")]),
            (
                "has no index by control",
                table["GlobalSecondaryIndexes"][0]["IndexName"] == "by-control"
                    && keys(&table["GlobalSecondaryIndexes"][0]["KeySchema"])
                        == [("control", "HASH"), ("created", "RANGE")],
            ),
            (
                "has no index of what is due",
                table["GlobalSecondaryIndexes"][1]["IndexName"] == "by-due"
                    && keys(&table["GlobalSecondaryIndexes"][1]["KeySchema"])
                        == [("open", "HASH"), ("due", "RANGE")],
            ),
        ] {
            if !holds {
                complaints.push(format!("{id}: {what}"));
            }
        }
    }
    complaints
}

fn keys(schema: &Value) -> Vec<(&str, &str)> {
    list(schema)
        .into_iter()
        .filter_map(|key| Some((key["AttributeName"].as_str()?, key["KeyType"].as_str()?)))
        .collect()
}
