//! What cannot work together is refused before anything is deployed, and whatever is not refused fits together.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::model::{Template, list};

const TOKEN: &str = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:token";
const SIGNING: &str = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:signing";

/// Parameters that decide about each other, with the values that matter.
const CHOICES: &[(&str, &[&str])] = &[
    ("SlackBotTokenSecret", &["", TOKEN]),
    ("SlackSigningSecret", &["", SIGNING, TOKEN]),
    ("SlackChannel", &["", "C0123456789", "webhook"]),
    ("SlackWorkspace", &["", "T0123456789"]),
    ("SecurityHub", &["no", "yes"]),
    ("ImportFindings", &["no", "yes"]),
];

type Choice = Vec<(&'static str, &'static str)>;

/// Every combination of them.
fn choices() -> Vec<Choice> {
    CHOICES.iter().fold(vec![Vec::new()], |before, (name, values)| {
        let with = |chosen: &Choice, value| [chosen.clone(), vec![(*name, value)]].concat();
        before
            .iter()
            .flat_map(|chosen| values.iter().map(move |value| with(chosen, value)))
            .collect()
    })
}

/// Why it cannot work, by the parameter that is to be set otherwise.
fn faults(choice: &Choice) -> BTreeSet<&'static str> {
    let of = |wanted: &str| choice.iter().find(|(name, _)| *name == wanted).unwrap().1;
    let (token, signing) = (of("SlackBotTokenSecret"), of("SlackSigningSecret"));
    let (channel, workspace) = (of("SlackChannel"), of("SlackWorkspace"));
    let has_buttons = !signing.is_empty();
    let mut faults = BTreeSet::new();
    for (is_fault, fault) in [
        (!token.is_empty() && channel.is_empty(), "nowhere to post"),
        (token.is_empty() && !channel.is_empty(), "nothing to post with"),
        (has_buttons && token.is_empty(), "no message has a button"),
        (has_buttons && channel == "webhook", "a webhook has no buttons"),
        (has_buttons && signing == token, "one secret for both"),
        (has_buttons && workspace.is_empty(), "anybody's members"),
        (of("ImportFindings") == "yes" && of("SecurityHub") == "no", "nobody imports"),
    ] {
        if is_fault {
            faults.insert(fault);
        }
    }
    faults
}

#[test]
fn what_cannot_work_together_is_refused_and_all_else_is_not() {
    let template = Template::of_the_project();
    let mut seen = BTreeSet::new();
    for choice in choices() {
        let refused = template.refused(&choice);
        let faults = faults(&choice);
        assert_eq!(refused.len(), faults.len(), "{choice:?}: {refused:?}, not {faults:?}");
        seen.extend(faults);
    }
    assert_eq!(seen.len(), 7, "each of them came up: {seen:?}");
    assert_eq!(template.refused(&[]), Vec::<String>::new(), "the defaults");
    assert_eq!(template.refused(&quell_local::stack::OPTIONS), Vec::<String>::new());
}

#[test]
fn who_is_refused_hears_which_parameters_and_what_to_do() {
    let template = Template::of_the_project();
    for (choice, names) in [
        (vec![("SlackBotTokenSecret", TOKEN)], vec!["SlackChannel", "webhook"]),
        (vec![("SlackChannel", "C0123456789")], vec!["SlackBotTokenSecret"]),
        (
            vec![("SlackSigningSecret", SIGNING), ("SlackWorkspace", "T0123456789")],
            vec!["SlackBotTokenSecret", "no message would have a button"],
        ),
        (vec![("ImportFindings", "yes")], vec!["SecurityHub"]),
    ] {
        let refused = template.refused(&choice);
        let [said] = refused.as_slice() else { panic!("{choice:?}: {refused:?}") };
        for name in names.iter().chain(choice.iter().map(|(name, _)| name).take(1)) {
            assert!(said.contains(name), "{choice:?}: {said}");
        }
    }
    let parameters = template.root["Parameters"].as_object().unwrap();
    for (name, rule) in template.root["Rules"].as_object().unwrap() {
        for assertion in list(&rule["Assertions"]) {
            let said = assertion["AssertDescription"].as_str().unwrap();
            let named = parameters.keys().filter(|parameter| said.contains(parameter.as_str()));
            assert!(named.count() >= 2, "{name}: {said}");
            let ends_with_advice = ["Set ", "Use ", "Keep "].iter().any(|word| said.contains(word));
            assert!(ends_with_advice, "{name}: {said}");
        }
    }
}

#[test]
fn whatever_is_not_refused_refers_only_to_what_is_deployed() {
    let template = Template::of_the_project();
    let all: BTreeSet<&str> = names(&template);
    for choice in choices() {
        if !template.refused(&choice).is_empty() {
            continue;
        }
        let deployed = template.deployed(&choice);
        let there = names(&deployed);
        let mut referred = BTreeSet::new();
        for (id, resource) in deployed.root["Resources"].as_object().unwrap() {
            references(resource, id, &mut referred);
        }
        let dangling: Vec<_> = referred
            .iter()
            .filter(|(_, to)| all.contains(to.as_str()) && !there.contains(to.as_str()))
            .collect();
        assert!(dangling.is_empty(), "{choice:?}: {dangling:?}");
    }
}

fn names(template: &Template) -> BTreeSet<&str> {
    template.root["Resources"].as_object().unwrap().keys().map(String::as_str).collect()
}

/// Which resource refers to what.
fn references(value: &Value, from: &str, found: &mut BTreeSet<(String, String)>) {
    let mut note = |to: &str| {
        found.insert((from.to_owned(), to.to_owned()));
    };
    match value {
        Value::Object(fields) => {
            let direct = [&value["Ref"], &value["Fn::GetAtt"][0], &value["DependsOn"]];
            for to in direct.into_iter().flat_map(list).filter_map(Value::as_str) {
                note(to);
            }
            fields.values().for_each(|value| references(value, from, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, from, found)),
        // What `Fn::Sub` names.
        Value::String(text) => {
            for part in text.split("${").skip(1) {
                if let Some(name) = part.split(['}', '.']).next() {
                    note(name);
                }
            }
        }
        _ => {}
    }
}
