//! The policy as this container knows it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{ledger::PolicyItem, policy::Policy};

/// For how long the last good policy counts when the ledger has none that can be read.
const LAST_GOOD_FOR: Duration = Duration::from_secs(15 * 60);

/// The policy is looked at with every event, and taken apart only when it is another version.
#[derive(Debug, Default)]
pub struct PolicyCache(Mutex<Option<Known>>);

#[derive(Clone, Debug)]
struct Known {
    version: u64,
    policy: Arc<Policy>,
    /// When the ledger was last seen to have it.
    seen: Instant,
}

impl PolicyCache {
    /// The policy that counts, with words if it is not the ledger's own. None, or none that can be read, means the last
    /// good one for a while, then that everything is only observed.
    pub fn current(&self, item: Option<&PolicyItem>) -> (Arc<Policy>, Option<String>) {
        self.at(item, Instant::now())
    }

    fn at(&self, item: Option<&PolicyItem>, now: Instant) -> (Arc<Policy>, Option<String>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let problem = match item {
            None => "the ledger has no policy; `quell policy apply` publishes one".to_owned(),
            Some(item) => {
                if let Some(known) = known.as_mut()
                    && item.version() == Some(known.version)
                {
                    known.seen = now;
                    return (Arc::clone(&known.policy), None);
                }
                match item.read() {
                    Ok(published) => {
                        let policy = Arc::new(published.policy);
                        let version = published.version;
                        *known = Some(Known { version, policy: Arc::clone(&policy), seen: now });
                        return (policy, None);
                    }
                    Err(error) => format!("the policy cannot be used: {error}"),
                }
            }
        };
        match known.as_ref().filter(|known| now.duration_since(known.seen) < LAST_GOOD_FOR) {
            Some(known) => {
                let words = format!("{problem}; version {} still counts", known.version);
                (Arc::clone(&known.policy), Some(words))
            }
            None => (
                Arc::new(Policy::observe()),
                Some(format!("{problem}; until then everything is only observed")),
            ),
        }
    }
}
