//! An alarm of CloudWatch's, which comes over the same topic as the messages.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html>

use quell_engine::text;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    Posting,
    blocks::{context, fitted, header, plain, section},
    limits,
};

/// What CloudWatch says of an alarm. Unknown fields are left alone.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "PascalCase")]
pub struct Alarm {
    pub alarm_name: String,
    #[serde(default)]
    pub alarm_description: Option<String>,
    /// `ALARM`, `OK` or `INSUFFICIENT_DATA`.
    pub new_state_value: String,
    #[serde(default)]
    pub new_state_reason: String,
    #[serde(default)]
    pub state_change_time: String,
    #[serde(default)]
    pub region: String,
    #[serde(rename = "AWSAccountId", default)]
    pub account: String,
}

impl Alarm {
    pub fn posting(&self) -> Posting {
        let title = fitted(limits::HEADER, |cap| {
            format!(
                "Quell's alarm {}: {}",
                plain(&self.alarm_name, cap),
                plain(&self.new_state_value, cap)
            )
        });
        let said = fitted(limits::SECTION, |cap| {
            let why = text::markdown_up_to(&self.new_state_reason, 2 * cap);
            match &self.alarm_description {
                Some(description) => {
                    format!("{}\nWhy: {why}", text::phrase_up_to(description, 4 * cap))
                }
                None => format!("Why: {why}"),
            }
        });
        let place = fitted(limits::FIELD, |cap| {
            let [account, region, time] = [&self.account, &self.region, &self.state_change_time]
                .map(|value| text::markdown_up_to(value, cap));
            format!("Account {account}, region {region}, {time}")
        });
        let text = fitted(limits::FIELD, |cap| {
            format!(
                "Quell's alarm {}: {}",
                text::markdown_up_to(&self.alarm_name, cap),
                text::markdown_up_to(&self.new_state_value, cap)
            )
        });
        let blocks = Value::Array(vec![header(&title), section(&said), context(&[place])]);
        Posting { text, blocks }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::hostile;

    fn alarm(text: &str) -> Alarm {
        serde_json::from_value(json!({
            "AlarmName": text,
            "AlarmDescription": text,
            "AWSAccountId": text,
            "NewStateValue": text,
            "NewStateReason": text,
            "StateChangeTime": text,
            "Region": text,
            "Trigger": {"MetricName": "Errors"},
        }))
        .unwrap()
    }

    #[test]
    fn an_alarm_says_what_it_means() {
        let alarm: Alarm = serde_json::from_value(json!({
            "AlarmName": "quell-S3ExposureErrorsAlarm-1A2B",
            "AlarmDescription": "s3-exposure failed on an event. The log says why.",
            "AWSAccountId": "123456789012",
            "NewStateValue": "ALARM",
            "NewStateReason": "Threshold Crossed: 1 datapoint [1.0] was greater than or equal to the threshold (1.0).",
            "StateChangeTime": "2026-03-01T02:03:04.000+0000",
            "Region": "EU (Ireland)",
        }))
        .unwrap();
        insta::assert_json_snapshot!(alarm.posting().blocks);
    }

    proptest! {
        #[test]
        fn whatever_it_is_called_is_inert_and_slack_takes_it(text in hostile::text()) {
            let posting = alarm(&text).posting();
            prop_assert_eq!(limits::complaints(&posting.blocks), Vec::<String>::new());
            for said in [posting.text, posting.blocks.to_string()] {
                prop_assert!(!said.contains(['<', '>', '@']), "{said}");
                hostile::assert_inert(&said);
            }
        }
    }
}
