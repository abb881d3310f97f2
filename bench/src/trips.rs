//! Round trips: which calls waited for which, and how latency grows when every call takes longer.

use std::time::Duration;

use quell_local::proxy::Entry;

/// What fixes it: the last write that was made outside the ledger and the topic.
pub(crate) fn fix(calls: &[Entry]) -> Option<&Entry> {
    calls.iter().rev().find(|call| {
        call.is_write && call.applied && !["DynamoDB", "SNS"].contains(&call.service.as_str())
    })
}

/// How many calls had to be answered one after another until this one was, itself included.
pub(crate) fn depth(calls: &[Entry], call: &Entry) -> usize {
    1 + depth_before(calls, call.at)
}

/// How many calls had to be answered one after another until all were.
pub(crate) fn depth_of_all(calls: &[Entry]) -> usize {
    depth_before(calls, Duration::MAX)
}

/// For how long a call was on its way: what AWS, emulated or not, takes of an event's time.
pub(crate) fn waiting(calls: &[Entry]) -> Duration {
    let mut spans: Vec<(Duration, Duration)> =
        calls.iter().filter_map(|call| Some((call.at, call.answered?))).collect();
    spans.sort();
    let (mut waiting, mut until) = (Duration::ZERO, Duration::ZERO);
    for (at, answered) in spans {
        waiting += answered.saturating_sub(at.max(until));
        until = until.max(answered);
    }
    waiting
}

/// The longest chain of calls, each begun after the one before it was answered, that was over by then. The one that is
/// answered first is always as good a next link as any other.
fn depth_before(calls: &[Entry], end: Duration) -> usize {
    let mut spans: Vec<(Duration, Duration)> =
        calls.iter().filter_map(|call| Some((call.answered?, call.at))).collect();
    spans.sort();
    let mut last = Duration::ZERO;
    let mut links = 0;
    for (answered, at) in spans {
        if at >= last && answered <= end {
            last = answered;
            links += 1;
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(service: &str, is_write: bool, at: u64, answered: u64) -> Entry {
        Entry {
            index: 0,
            at: Duration::from_millis(at),
            answered: Some(Duration::from_millis(answered)),
            caller: String::new(),
            request_id: None,
            number: 1,
            service: service.to_owned(),
            operation: "Call".to_owned(),
            keys: Vec::new(),
            resources: Vec::new(),
            is_write,
            status: Some(200),
            fault: None,
            applied: is_write,
            asked: None,
            granted: Vec::new(),
            refused: None,
        }
    }

    #[test]
    fn calls_at_the_same_time_are_one_round_trip() {
        let calls = [
            call("DynamoDB", false, 1, 41),
            call("EC2", false, 2, 42),
            call("DynamoDB", true, 43, 83),
            call("EC2", false, 43, 84),
            call("EC2", true, 85, 125),
            call("EC2", false, 126, 166),
            call("DynamoDB", true, 126, 167),
            call("SNS", true, 168, 208),
        ];
        let fix = fix(&calls).unwrap();
        assert_eq!(fix.at, Duration::from_millis(85));
        assert_eq!(depth(&calls, fix), 3);
        assert_eq!(depth_of_all(&calls), 5);
    }

    #[test]
    fn calls_one_after_another_are_as_many_round_trips() {
        let calls: Vec<Entry> = (0..6).map(|n| call("S3", n == 5, n * 10, n * 10 + 9)).collect();
        assert_eq!(depth(&calls, fix(&calls).unwrap()), 6);
        assert_eq!(depth_of_all(&calls), 6);
    }

    #[test]
    fn calls_at_the_same_time_are_waited_for_once() {
        let calls = [call("S3", false, 1, 5), call("S3", false, 2, 9), call("S3", true, 20, 25)];
        assert_eq!(waiting(&calls), Duration::from_millis(8 + 5));
        assert_eq!(waiting(&[]), Duration::ZERO);
    }

    #[test]
    fn without_calls_there_is_no_round_trip() {
        assert_eq!(depth_of_all(&[]), 0);
        assert!(fix(&[]).is_none());
        assert!(fix(&[call("DynamoDB", true, 0, 1)]).is_none());
    }
}
