//! What lets Quell speak in Slack.

use std::fmt;

use serde::Deserialize;

/// A bot's token, or the address of an incoming webhook. Neither is ever shown.
#[derive(Clone, Eq, PartialEq)]
pub enum Credential {
    /// Everything: buttons, updates, threads.
    Bot(Token),
    /// Messages alone, into the one channel that the webhook was made for.
    /// <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>
    Webhook(Webhook),
}

#[derive(Clone, Eq, PartialEq)]
pub struct Token(pub(crate) String);

#[derive(Clone, Eq, PartialEq)]
pub struct Webhook {
    /// With the slash.
    pub(crate) path: String,
    pub(crate) host: &'static str,
}

/// The secret holds neither. Says nothing of what it holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CredentialError {
    #[error("the secret is empty; put the bot token of the app's OAuth page into it")]
    Empty,
    #[error("the secret is JSON without a field `token`")]
    NoToken,
    #[error(
        "the secret holds neither a bot token (`xoxb-…`) nor the address of an incoming webhook (`https://hooks.slack.com/services/…`)"
    )]
    Unknown,
}

impl Credential {
    /// From the secret's text: the token or address itself, or JSON with it under `token`.
    pub fn parse(secret: &str) -> Result<Self, CredentialError> {
        #[derive(Deserialize)]
        struct Keys {
            token: Option<String>,
        }
        let secret = secret.trim();
        if !secret.starts_with('{') {
            return Self::read(secret);
        }
        let keys: Keys = serde_json::from_str(secret).map_err(|_| CredentialError::NoToken)?;
        Self::read(keys.token.ok_or(CredentialError::NoToken)?.trim())
    }

    fn read(text: &str) -> Result<Self, CredentialError> {
        if text.is_empty() {
            return Err(CredentialError::Empty);
        }
        // What is put into a header, or a line of a request, must not end it.
        if !text.bytes().all(|b| b.is_ascii_graphic()) || text.len() > 1024 {
            return Err(CredentialError::Unknown);
        }
        if text.starts_with("xoxb-") || text.starts_with("xoxe.xoxb-") {
            return Ok(Self::Bot(Token(text.to_owned())));
        }
        HOSTS
            .iter()
            .find_map(|host| {
                let path = text.strip_prefix("https://")?.strip_prefix(host)?;
                let named = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_".contains(&b));
                (path.starts_with('/') && path.len() > 1 && named)
                    .then(|| Self::Webhook(Webhook { path: path.to_owned(), host }))
            })
            .ok_or(CredentialError::Unknown)
    }
}

/// Slack's, and that of its governmental edition.
const HOSTS: [&str; 2] = ["hooks.slack.com", "hooks.slack-gov.com"];

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bot(_) => "Bot(…)",
            Self::Webhook(_) => "Webhook(…)",
        })
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Webhook(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_is_or_under_its_name() {
        let bot = Credential::Bot(Token("xoxb-1-2-abc".to_owned()));
        for secret in ["xoxb-1-2-abc", " xoxb-1-2-abc\n", r#"{"token": "xoxb-1-2-abc", "x": 1}"#] {
            assert_eq!(Credential::parse(secret), Ok(bot.clone()), "{secret}");
        }
    }

    #[test]
    fn the_address_of_a_webhook_is_known_by_its_host() {
        let url = "https://hooks.slack.com/services/T000/B000/XXXX";
        let webhook = Webhook { path: "/services/T000/B000/XXXX".to_owned(), host: HOSTS[0] };
        assert_eq!(Credential::parse(url), Ok(Credential::Webhook(webhook)));
    }

    #[test]
    fn anything_else_is_refused_without_being_shown() {
        for (secret, refused) in [
            ("", CredentialError::Empty),
            ("{}", CredentialError::NoToken),
            ("{", CredentialError::NoToken),
            (r#"{"token": ""}"#, CredentialError::Empty),
            ("xoxp-a-persons-token", CredentialError::Unknown),
            ("xoxb-1\r\nX-Evil: 1", CredentialError::Unknown),
            ("http://hooks.slack.com/services/T/B/X", CredentialError::Unknown),
            ("https://hooks.slack.com.evil.example/services/T/B/X", CredentialError::Unknown),
            ("https://hooks.slack.com@evil.example/services", CredentialError::Unknown),
            ("https://evil.example/services/T/B/X", CredentialError::Unknown),
            ("https://hooks.slack.com", CredentialError::Unknown),
            ("https://hooks.slack.com/a?b", CredentialError::Unknown),
        ] {
            assert_eq!(Credential::parse(secret), Err(refused), "{secret}");
        }
        let shown = format!("{:?}", Credential::parse("xoxb-1-2-abc"));
        assert!(!shown.contains("abc"), "{shown}");
    }
}
