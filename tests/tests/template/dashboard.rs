//! The dashboard shows all that is deployed, and nothing that is not.

use std::collections::BTreeSet;

use quell_local::stack::OPTIONS;
use serde_json::Value;

use crate::model::{Template, target};

/// Names of a metric's namespace, the metric, and whose it is.
type Shown = BTreeSet<(String, String, String)>;

#[test]
fn the_dashboard_shows_every_function_and_queue_that_is_deployed_and_no_other() {
    let template = Template::of_the_project();
    let with = |names: &[&str]| {
        let chosen: Vec<_> =
            OPTIONS.iter().copied().filter(|(name, _)| names.contains(name)).collect();
        assert_eq!(template.refused(&chosen), Vec::<String>::new());
        template.deployed(&chosen)
    };
    let messages = ["SlackBotTokenSecret", "SlackChannel"];
    let buttons = ["SlackSigningSecret", "SlackWorkspace"];
    for deployed in [
        with(&[]),
        with(&["SecurityHub"]),
        with(&messages),
        with(&[&messages[..], &buttons].concat()),
        with(&OPTIONS.map(|(name, _)| name)),
    ] {
        let shown = shown(&deployed);
        let is_shown = |space: &str, metric: &str, of: &str| {
            shown.contains(&(space.to_owned(), metric.to_owned(), of.to_owned()))
        };
        let mut there = BTreeSet::new();
        for function in deployed.functions() {
            there.insert(function.id.clone());
            for metric in ["Errors", "Throttles"] {
                assert!(is_shown("AWS/Lambda", metric, &function.id), "{}: {metric}", function.id);
            }
        }
        for (id, _) in deployed.all("AWS::SQS::Queue") {
            // Nobody reads it: that something arrives there is all, and has an alarm.
            if id == "Heartbeats" {
                continue;
            }
            let queue = format!("{id}.QueueName");
            let depth = is_shown("AWS/SQS", "ApproximateNumberOfMessagesVisible", &queue);
            assert!(depth, "{id}: how many wait is not shown");
            there.insert(queue);
        }
        for (id, mapping) in deployed.all("AWS::Lambda::EventSourceMapping") {
            let queue = format!("{}.QueueName", target(&mapping["EventSourceArn"]).unwrap());
            let age = is_shown("AWS/SQS", "ApproximateAgeOfOldestMessage", &queue);
            assert!(age, "{id}: how long the oldest waits is not shown");
        }
        for (space, metric, of) in &shown {
            let is_there = !space.starts_with("AWS/") || there.contains(of);
            assert!(is_there, "{space} {metric}: there is no {of}");
        }
    }
}

/// What the metrics of all widgets are.
fn shown(deployed: &Template) -> Shown {
    let dashboards = deployed.all("AWS::CloudWatch::Dashboard");
    let [(_, dashboard)] = dashboards.as_slice() else { panic!("{dashboards:?}") };
    let body: Value = serde_json::from_str(&text(&dashboard["DashboardBody"])).unwrap();
    let widgets = body["widgets"].as_array().unwrap();
    let mut taken = BTreeSet::new();
    for widget in widgets {
        let place = (widget["x"].as_u64().unwrap(), widget["y"].as_u64().unwrap());
        assert!(taken.insert(place), "two widgets at {place:?}");
        assert!(place.0 + widget["width"].as_u64().unwrap() <= 24, "{widget}");
        assert!(widget["properties"]["title"].is_string(), "{widget}");
    }
    let metrics =
        widgets.iter().filter_map(|widget| widget["properties"]["metrics"].as_array()).flatten();
    metrics
        .filter_map(|metric| {
            let part = |index: usize| metric[index].as_str().map(str::to_owned);
            Some((part(0)?, part(1)?, part(3).unwrap_or_default()))
        })
        .collect()
}

/// The text that CloudFormation makes of it, where what is referred to stands by its name.
fn text(value: &Value) -> String {
    let text = match &value["Fn::Sub"] {
        Value::Array(parts) => {
            let text = parts[0].as_str().unwrap().to_owned();
            let given = parts[1].as_object().unwrap();
            given.iter().fold(text, |text, (name, value)| {
                text.replace(&format!("${{{name}}}"), &self::text(value))
            })
        }
        Value::String(text) => text.clone(),
        _ => value.as_str().unwrap().to_owned(),
    };
    let mut parts = text.split("${");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let (name, rest) = part.split_once('}').unwrap();
        text + name + rest
    })
}
