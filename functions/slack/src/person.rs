//! What the operator has a person told who pressed a button.

use quell_engine::text;
use quell_slack::{Credential, Posting, Slack, SlackError, credential::Token, modal};
use serde_json::{Value, json};

use crate::{
    bearer::{Bearer, BearerError},
    event::Word,
};

/// Why a word is tried again by Lambda, and in the end kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PersonError {
    #[error(transparent)]
    Bearer(#[from] BearerError),
    #[error(transparent)]
    Slack(#[from] SlackError),
    #[error("an incoming webhook brings no answers to people; put a bot token into the secret")]
    Webhook,
}

/// What became of it.
pub(crate) async fn tell(
    slack: &Slack,
    bearer: &Bearer,
    word: &Word,
) -> Result<Value, PersonError> {
    let credential = bearer.credential().await?;
    match tell_with(slack, &credential, word).await {
        Err(PersonError::Slack(error)) if bearer.is_renewed(&credential, &error).await => {
            tell_with(slack, &bearer.credential().await?, word).await
        }
        told => told,
    }
}

async fn tell_with(
    slack: &Slack,
    credential: &Credential,
    word: &Word,
) -> Result<Value, PersonError> {
    let Credential::Bot(token) = credential else { return Err(PersonError::Webhook) };
    match word {
        Word::Modal { trigger_id, button, channel, user } => {
            match slack.open(token, trigger_id, &modal::exempt(button, channel)).await {
                Ok(()) => Ok(json!({"modal": "opened"})),
                // By an attempt whose answer was lost.
                Err(error) if error.is(&["exchanged_trigger_id", "trigger_exchanged"]) => {
                    Ok(json!({"modal": "opened before"}))
                }
                // Three seconds after the press nothing can be opened any more, however often it is tried.
                Err(error @ SlackError::Refused { .. }) => {
                    tracing::warn!(target: "quell_slack", detail = text::one_line(&error.to_string()), "no modal");
                    let text = format!(
                        "Not done: Slack did not open the form in which you say why. Press the button again, or use `quell exempt add --record {} --days 7 --reason REASON`",
                        button.record
                    );
                    whisper(slack, token, channel, user, &text).await?;
                    Ok(json!({"modal": "not opened"}))
                }
                Err(error) => Err(error.into()),
            }
        }
        Word::Reply { channel, user, text } => {
            whisper(slack, token, channel, user, text).await?;
            Ok(json!({"reply": "said"}))
        }
    }
}

/// Says what only this person sees.
async fn whisper(
    slack: &Slack,
    token: &Token,
    channel: &str,
    user: &str,
    text: &str,
) -> Result<(), SlackError> {
    let posting = Posting { text: text::phrase_up_to(text, 1500), blocks: json!([]) };
    slack.whisper(token, channel, user, &posting).await
}
