//! What it would cost in AWS: the measured figures, times the prices in one file.

use std::{collections::BTreeMap, fs, path::Path};

use aws_sdk_dynamodb::types::AttributeValue;
use quell_local::proxy::Entry;
use serde::{Deserialize, Serialize};

use crate::{error::Error, scene::Scene};

/// The file of prices.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Prices {
    pub(crate) region: String,
    pub(crate) date: String,
    prices: BTreeMap<String, Price>,
    pub(crate) assumed: Assumed,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Price {
    usd: f64,
    per: f64,
    unit: String,
    source: String,
}

/// How the functions are used.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Assumed {
    pub(crate) events: f64,
    pub(crate) violating: f64,
    pub(crate) cold: f64,
    pub(crate) call_ms: f64,
    pub(crate) connection_ms: f64,
    processor_mb: f64,
    platform_log_bytes: f64,
    emails: f64,
}

/// What one event takes, as it was measured.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Usage {
    pub(crate) memory_mb: f64,
    pub(crate) is_arm: bool,
    pub(crate) cold_cpu_ms: f64,
    pub(crate) warm_cpu_ms: f64,
    /// Calls that wait for one another.
    pub(crate) depth: f64,
    /// Services that are called.
    pub(crate) services: f64,
    pub(crate) capacity: Capacity,
    pub(crate) messages: f64,
    pub(crate) log_bytes: f64,
    /// Traces for each event.
    pub(crate) traces: f64,
}

/// What there is whether anything happens or not, for each account.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Standing {
    pub(crate) alarms: usize,
    pub(crate) dashboards: usize,
    pub(crate) keys: usize,
}

/// Dollars, by what they are for.
pub(crate) type Bill = BTreeMap<String, f64>;

impl Prices {
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(Error::file(path))?;
        let failed = |reason| Error::File { path: path.to_owned(), reason };
        let prices: Self = toml::from_str(&text).map_err(|error| failed(error.to_string()))?;
        match NAMES.into_iter().find(|name| !prices.prices.contains_key(*name)) {
            None => Ok(prices),
            Some(name) => Err(failed(format!("there is no price of {name}"))),
        }
    }

    /// A million such events. Billed time is the processor's, at the share that the memory gives, and the calls' that
    /// wait for one another. Connections count for a new process: one to each service.
    pub(crate) fn million(&self, usage: &Usage) -> Bill {
        let millions = 1_000_000.0;
        let Assumed { cold, call_ms, connection_ms, .. } = self.assumed;
        let share = (usage.memory_mb / self.assumed.processor_mb).min(1.0);
        let waiting = usage.depth * call_ms;
        let of_cold = usage.cold_cpu_ms / share + waiting + usage.services * connection_ms;
        let of_warm = usage.warm_cpu_ms / share + waiting;
        let seconds = (cold * of_cold + (1.0 - cold) * of_warm) / 1000.0;
        let gb_seconds = millions * seconds * usage.memory_mb / 1024.0;
        let compute = if usage.is_arm { "lambda_arm" } else { "lambda_x86" };
        let gigabytes = (usage.log_bytes + self.assumed.platform_log_bytes) * millions / 1e9;
        [
            ("Lambda", self.of("lambda_request", millions) + self.of(compute, gb_seconds)),
            (
                "DynamoDB",
                self.of("dynamodb_write", millions * usage.capacity.write)
                    + self.of("dynamodb_read", millions * usage.capacity.read),
            ),
            (
                "SNS",
                self.of("sns_publish", millions * usage.messages)
                    + self.of("sns_email", millions * usage.messages * self.assumed.emails),
            ),
            ("Logs", self.of("log", gigabytes)),
            ("X-Ray", self.of("trace", millions * usage.traces)),
        ]
        .map(|(name, usd)| (name.to_owned(), usd))
        .into()
    }

    /// So many accounts for a month, of events of which most tell of nothing bad.
    pub(crate) fn month(
        &self,
        accounts: f64,
        fix: &Usage,
        compliant: &Usage,
        standing: &Standing,
    ) -> Bill {
        let events = accounts * self.assumed.events / 1_000_000.0;
        let (fixes, others) =
            (events * self.assumed.violating, events * (1.0 - self.assumed.violating));
        let mut bill = Bill::new();
        for (share, usage) in [(fixes, fix), (others, compliant)] {
            for (name, usd) in self.million(usage) {
                *bill.entry(name).or_insert(0.0) += usd * share;
            }
        }
        for (name, price, count) in [
            ("Alarms", "alarm", standing.alarms),
            ("Dashboards", "dashboard", standing.dashboards),
            ("Keys", "key", standing.keys),
        ] {
            bill.insert(name.to_owned(), self.of(price, accounts * count as f64));
        }
        bill
    }

    fn of(&self, name: &str, count: f64) -> f64 {
        self.prices.get(name).map_or(0.0, |price| count * price.usd / price.per)
    }
}

const NAMES: [&str; 12] = [
    "alarm",
    "dashboard",
    "dynamodb_read",
    "dynamodb_write",
    "key",
    "lambda_arm",
    "lambda_request",
    "lambda_x86",
    "log",
    "sns_email",
    "sns_publish",
    "trace",
];

impl Standing {
    /// What a template makes.
    pub(crate) fn of(template: &str) -> Self {
        let count = |kind: &str| {
            let line = format!("Type: {kind}");
            template.lines().filter(|one| one.trim() == line).count()
        };
        Self {
            alarms: count("AWS::CloudWatch::Alarm"),
            dashboards: count("AWS::CloudWatch::Dashboard"),
            keys: count("AWS::KMS::Key"),
        }
    }
}

/// Units of DynamoDB, estimated from the calls and the items as they are in the end.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Capacity {
    pub(crate) read: f64,
    pub(crate) write: f64,
}

/// The table's indexes hold what has these attributes.
const INDEXES: [[&str; 2]; 2] = [["control", "created"], ["open", "due"]];

impl Capacity {
    /// What these calls took. Reads are consistent, and one that finds nothing counts all the same.
    /// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html>
    pub(crate) async fn of(scene: &Scene, calls: &[Entry]) -> Result<Self, Error> {
        let mut items = BTreeMap::new();
        let mut pages = scene
            .cloud
            .dynamodb
            .scan()
            .table_name(&scene.stack.ledger)
            .into_paginator()
            .items()
            .send();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| Error::Cloud(error.into()))?;
            let pk = item.get("pk").and_then(|pk| pk.as_s().ok()).cloned().unwrap_or_default();
            let indexes =
                INDEXES.iter().filter(|names| names.iter().all(|n| item.contains_key(*n)));
            items.insert(pk, (size(&item), indexes.count()));
        }
        let mut capacity = Self::default();
        for call in calls.iter().filter(|call| call.service == "DynamoDB") {
            let times = if call.operation.starts_with("Transact") { 2.0 } else { 1.0 };
            for key in &call.keys {
                let (bytes, indexes) = items.get(key).copied().unwrap_or_default();
                if call.is_write {
                    let units = bytes.div_ceil(1024).max(1) as f64;
                    capacity.write += units * times + units * indexes as f64;
                } else {
                    capacity.read += bytes.div_ceil(4096).max(1) as f64 * times;
                }
            }
        }
        Ok(capacity)
    }
}

/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>
fn size(item: &std::collections::HashMap<String, AttributeValue>) -> usize {
    item.iter().map(|(name, value)| name.len() + size_of(value)).sum()
}

fn size_of(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        // Two digits a byte, and one.
        AttributeValue::N(number) => number.len().div_ceil(2) + 1,
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::L(list) => 3 + list.iter().map(|one| 1 + size_of(one)).sum::<usize>(),
        AttributeValue::M(map) => 3 + map.len() + size(map),
        AttributeValue::Ss(texts) => texts.iter().map(String::len).sum(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn prices() -> Prices {
        let text = include_str!("../prices.toml");
        toml::from_str(text).unwrap()
    }

    fn sum(bill: &Bill) -> f64 {
        bill.values().sum()
    }

    #[test]
    fn every_price_has_a_unit_and_a_source() {
        let prices = prices();
        for name in NAMES {
            let price = &prices.prices[name];
            assert!(price.usd > 0.0 && price.per >= 1.0 && !price.unit.is_empty(), "{name}");
            assert!(price.source.starts_with("https://"), "{name}");
        }
        assert_eq!(prices.prices.len(), NAMES.len());
        assert_eq!(prices.date.len(), 10);
    }

    #[test]
    fn a_million_events_cost_what_lambda_says_they_do() {
        let mut prices = prices();
        prices.assumed.cold = 0.0;
        // An eighth of a GB for 100 ms, a million times: 12 500 GB-seconds.
        let usage =
            Usage { memory_mb: 128.0, warm_cpu_ms: 100.0 * 128.0 / 1769.0, ..Usage::default() };
        let lambda = prices.million(&usage)["Lambda"];
        assert!((lambda - (0.20 + 12_500.0 * 0.000_016_666_7)).abs() < 1e-6, "{lambda}");
        let arm = prices.million(&Usage { is_arm: true, ..usage })["Lambda"];
        assert!((arm - (0.20 + 12_500.0 * 0.000_013_333_4)).abs() < 1e-6, "{arm}");
    }

    #[test]
    fn waiting_costs_memory_and_no_processor() {
        let mut prices = prices();
        prices.assumed.cold = 1.0;
        let waiting = Usage { memory_mb: 1024.0, depth: 2.0, services: 1.0, ..Usage::default() };
        let seconds = (2.0 * prices.assumed.call_ms + prices.assumed.connection_ms) / 1000.0;
        let expected = 0.20 + 1e6 * seconds * 0.000_016_666_7;
        assert!((prices.million(&waiting)["Lambda"] - expected).abs() < 1e-6);
    }

    #[test]
    fn the_ledger_and_messages_are_paid_by_the_million() {
        let usage = Usage {
            memory_mb: 128.0,
            capacity: Capacity { read: 8.0, write: 10.0 },
            messages: 1.0,
            ..Usage::default()
        };
        let bill = prices().million(&usage);
        assert!((bill["DynamoDB"] - (6.25 + 1.0)).abs() < 1e-9);
        assert!((bill["SNS"] - (0.50 + 20.0)).abs() < 1e-9);
        assert!(bill["X-Ray"].abs() < 1e-9);
    }

    #[test]
    fn a_month_is_its_events_and_what_is_there_anyway() {
        let mut prices = prices();
        prices.assumed = Assumed { events: 1000.0, violating: 0.5, ..prices.assumed };
        let fix = Usage { memory_mb: 256.0, messages: 1.0, ..Usage::default() };
        let compliant = Usage { memory_mb: 256.0, ..Usage::default() };
        let standing = Standing { alarms: 10, dashboards: 1, keys: 1 };
        // A thousand accounts of a thousand events are a million, half of them fixes.
        let bill = prices.month(1000.0, &fix, &compliant, &standing);
        let events = (sum(&prices.million(&fix)) + sum(&prices.million(&compliant))) / 2.0;
        assert!((sum(&bill) - events - 1000.0 - 3000.0 - 1000.0).abs() < 1e-6);
    }

    #[test]
    fn a_template_has_what_it_makes() {
        let template = "A:\n  Type: AWS::CloudWatch::Alarm\nB:\n  Type: AWS::CloudWatch::Alarm\n  Type: AWS::KMS::Key\n";
        assert_eq!(Standing::of(template), Standing { alarms: 2, dashboards: 0, keys: 1 });
    }

    #[test]
    fn the_size_of_an_item_is_its_names_and_values() {
        let item = HashMap::from([
            ("pk".to_owned(), AttributeValue::S("abc".to_owned())),
            ("n".to_owned(), AttributeValue::N("1234".to_owned())),
            ("l".to_owned(), AttributeValue::L(vec![AttributeValue::Bool(true)])),
        ]);
        assert_eq!(size(&item), 5 + 4 + 6);
    }
}
