//! The app's signing secret: fetched once, and anew when it may have been changed.

use std::time::{Duration, Instant};

use aws_sdk_secretsmanager::Client;
use quell_engine::{CallError, CallErrorKind, During as _};
use tokio::sync::Mutex;

/// The secret as this process knows it.
#[derive(Debug, Default)]
pub(crate) struct SigningSecret(Mutex<Option<Held>>);

struct Held {
    value: String,
    fetched: Instant,
    /// The last attempt to fetch it.
    asked: Instant,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("fetched", &self.fetched).finish_non_exhaustive()
    }
}

/// Whoever sends what is not signed has the secret fetched no more often.
const FETCHED_EVERY: Duration = Duration::from_secs(60);

/// One that became known, and was replaced, is good for no longer.
const HELD_FOR: Duration = Duration::from_secs(15 * 60);

impl SigningSecret {
    /// Whether `verify` takes the secret: the one that is held, or else the one that there is by now.
    ///
    /// # Errors
    /// If there is none yet, and it cannot be fetched.
    pub(crate) async fn verifies(
        &self,
        now: Instant,
        verify: impl Fn(&str) -> bool,
        fetch: impl AsyncFn() -> Result<String, CallError>,
    ) -> Result<bool, CallError> {
        let mut held = self.0.lock().await;
        let fits = match held.as_mut() {
            Some(known) => {
                let fits = verify(&known.value);
                let is_new = now.duration_since(known.fetched) < HELD_FOR;
                let is_too_soon = now.duration_since(known.asked) < FETCHED_EVERY;
                if fits && is_new || is_too_soon {
                    return Ok(fits);
                }
                known.asked = now;
                Some(fits)
            }
            None => None,
        };
        match (fetch().await, fits) {
            (Ok(value), _) => {
                let fits = verify(&value);
                *held = Some(Held { value, fetched: now, asked: now });
                Ok(fits)
            }
            // Buttons go on working with the one that is held.
            (Err(_), Some(fits)) => Ok(fits),
            (Err(error), None) => Err(error),
        }
    }
}

/// The text of a secret in Secrets Manager.
pub(crate) async fn fetched(client: &Client, arn: &str) -> Result<String, CallError> {
    const ACTION: &str = "secretsmanager:GetSecretValue";
    let secret = client.get_secret_value().secret_id(arn).send().await.during(ACTION)?;
    let text = secret.secret_string.filter(|text| !text.trim().is_empty());
    text.ok_or_else(|| {
        let reason = "the secret has no text; put the app's signing secret into it as plain text";
        CallError::new(ACTION, CallErrorKind::Misconfigured, reason)
    })
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    /// Secrets Manager, as far as it counts here.
    struct Manager {
        answers: RefCell<Result<String, CallError>>,
        asked: Cell<usize>,
    }

    impl Manager {
        fn with(secret: &str) -> Self {
            Self { answers: RefCell::new(Ok(secret.to_owned())), asked: Cell::new(0) }
        }

        fn has(&self, secret: &str) {
            *self.answers.borrow_mut() = Ok(secret.to_owned());
        }

        fn fails(&self) {
            let kind = CallErrorKind::Unavailable;
            *self.answers.borrow_mut() = Err(CallError::new("secretsmanager", kind, "throttled"));
        }

        async fn verifies(&self, held: &SigningSecret, signed: &str, at: Instant) -> Option<bool> {
            let fetch = async || {
                self.asked.set(self.asked.get() + 1);
                self.answers.borrow().clone()
            };
            held.verifies(at, |secret| secret == signed, fetch).await.ok()
        }
    }

    #[tokio::test]
    async fn it_is_fetched_once() {
        let (manager, held, now) = (Manager::with("old"), SigningSecret::default(), Instant::now());
        for second in 0..100 {
            let at = now + Duration::from_secs(second);
            assert_eq!(manager.verifies(&held, "old", at).await, Some(true));
        }
        assert_eq!(manager.asked.get(), 1);
    }

    #[tokio::test]
    async fn a_new_one_counts_within_a_minute() {
        let (manager, held, now) = (Manager::with("old"), SigningSecret::default(), Instant::now());
        assert_eq!(manager.verifies(&held, "old", now).await, Some(true));
        manager.has("new");
        let minute = Duration::from_secs(60);
        let soon = now + minute - Duration::from_millis(1);
        assert_eq!(manager.verifies(&held, "new", soon).await, Some(false));
        assert_eq!(manager.verifies(&held, "new", now + minute).await, Some(true));
        assert_eq!(manager.verifies(&held, "old", now + minute).await, Some(false));
        assert_eq!(manager.asked.get(), 2);
    }

    #[tokio::test]
    async fn one_that_was_replaced_is_good_for_a_quarter_of_an_hour_at_most() {
        let (manager, held, now) = (Manager::with("old"), SigningSecret::default(), Instant::now());
        assert_eq!(manager.verifies(&held, "old", now).await, Some(true));
        let quarter = Duration::from_secs(15 * 60);
        manager.fails();
        assert_eq!(manager.verifies(&held, "old", now + quarter).await, Some(true), "not known");
        manager.has("new");
        let later = now + quarter + Duration::from_secs(60);
        assert_eq!(manager.verifies(&held, "old", later).await, Some(false));
        assert_eq!(manager.verifies(&held, "new", later).await, Some(true));
    }

    #[tokio::test]
    async fn whatever_is_sent_it_is_fetched_once_a_minute_at_most() {
        let (manager, held, now) = (Manager::with("old"), SigningSecret::default(), Instant::now());
        for second in 0..600 {
            let at = now + Duration::from_secs(second);
            assert_eq!(manager.verifies(&held, "forged", at).await, Some(false));
        }
        assert_eq!(manager.asked.get(), 10);
        manager.fails();
        for second in 600..1200 {
            let at = now + Duration::from_secs(second);
            assert_eq!(manager.verifies(&held, "forged", at).await, Some(false));
            assert_eq!(manager.verifies(&held, "old", at).await, Some(true));
        }
        assert_eq!(manager.asked.get(), 20, "what is held stays good while none can be fetched");
    }

    #[tokio::test]
    async fn without_one_nobody_is_verified() {
        let (manager, held, now) = (Manager::with("old"), SigningSecret::default(), Instant::now());
        manager.fails();
        assert_eq!(manager.verifies(&held, "old", now).await, None);
        manager.has("old");
        assert_eq!(manager.verifies(&held, "old", now).await, Some(true));
        assert!(!format!("{held:?}").contains("old"));
    }
}
