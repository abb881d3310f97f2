//! How many calls are made to look at everything there is: few enough that nobody else is throttled.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{Clients, aws::Call};

/// When the next call of each service is within the budget.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace {
    free: BTreeMap<String, Instant>,
    is_unbound: bool,
}

impl Pace {
    /// An emulator on this machine is nobody else's.
    pub(crate) fn of(aws: &Clients) -> Self {
        Self { is_unbound: aws.is_loopback(), ..Self::default() }
    }

    /// Counts calls that were made.
    pub(crate) fn pay(&mut self, calls: &[Call]) {
        let now = Instant::now();
        for call in calls.iter().filter(|_| !self.is_unbound) {
            let free = self.free.entry(call.service.clone()).or_insert(now);
            *free = (*free).max(now) + Duration::from_secs(1).div_f64(rate(&call.service));
        }
    }

    pub(crate) fn pause(&self, now: Instant) -> Duration {
        self.free.values().map(|free| free.saturating_duration_since(now)).max().unwrap_or_default()
    }
}

/// Calls a second that a sweep or a scan makes of a service at most: a fifth of what AWS documents for an account and
/// region, divided by the functions that sweep with it. Services that document nothing get little.
///
/// * EC2 refills 20 tokens a second for calls that read: a fifth is 4, for four functions.
///   <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>
/// * CloudTrail takes 10 calls a second of those that read.
///   <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/WhatIsCloudTrail-Limits.html>
/// * S3 documents nothing for calls about buckets; on objects it takes 5,500 a second.
///   <https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html>
fn rate(service: &str) -> f64 {
    match service {
        "S3" | "S3 Control" => 10.0,
        "EC2" => 1.0,
        "CloudTrail" => 2.0,
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(service: &str, count: usize) -> Vec<Call> {
        let call = Call {
            service: service.to_owned(),
            operation: "DescribeThings".to_owned(),
            request_id: None,
            ok: true,
        };
        vec![call; count]
    }

    #[test]
    fn whoever_looks_at_everything_waits_as_long_as_the_calls_take_of_the_budget() {
        let mut pace = Pace::default();
        let now = Instant::now();
        assert_eq!(pace.pause(now), Duration::ZERO);
        pace.pay(&calls("EC2", 3));
        pace.pay(&calls("S3", 5));
        let pause = pace.pause(now);
        assert!((Duration::from_secs(3)..Duration::from_secs(4)).contains(&pause), "{pause:?}");
        assert_eq!(pace.pause(now + Duration::from_secs(10)), Duration::ZERO);
    }
}
