//! How long it takes from the first failed check of an outage until it is told, when nothing keeps the message back.

use std::time::Duration;

use crate::domain::Timestamp;
use crate::domain::endpoint::Endpoint;
use crate::domain::retry::{RetryPolicy, delay};

/// What is waited for parents at most, before a child is told.
const PARENTS: Duration = Duration::from_secs(10);

/// The usual time, and the longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// While every check fails at once.
    pub usually: Duration,
    /// T: while every check takes as long as one may. Beyond it an outage is never untold without a suppressor.
    pub at_most: Duration,
}

/// The promise of an endpoint, at `now`: a cron schedule has other pauses at other times.
pub fn of(endpoint: &Endpoint, now: Timestamp) -> Promise {
    let policy = &endpoint.alert_policy;
    let interval = endpoint.schedule.interval(now);
    let confirm = interval.min(policy.confirm_interval);
    let threshold = policy.failure_threshold;
    let longest = longest_check(endpoint.check.timeout, &endpoint.retry);
    let at_most = if threshold.is_in_a_row() {
        // A confirming check that could not end before the next slot is left to the slot, which comes within `timeout`.
        let pause = policy.confirm_interval.saturating_add(endpoint.check.timeout);
        longest.saturating_add(pause).saturating_mul(threshold.failures)
    } else {
        // Good checks in between are followed by an ordinary pause.
        longest.saturating_add(interval).saturating_mul(threshold.of)
    };
    Promise {
        usually: confirm.saturating_mul(threshold.failures.saturating_sub(1)),
        at_most: at_most.saturating_add(PARENTS),
    }
}

/// A check of which every attempt takes as long as it may, with the pauses between them.
fn longest_check(timeout: Duration, retry: &RetryPolicy) -> Duration {
    let pauses = (1..retry.max_attempts).map(|attempt| delay(retry, attempt, 1.0));
    pauses.fold(timeout.saturating_mul(retry.max_attempts), Duration::saturating_add)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::endpoint::{EndpointSettings, Layers, resolve};
    use crate::domain::from_micros;

    fn promise(settings: serde_json::Value) -> (u64, u64) {
        let mut all = json!({"name": "a", "url": "http://localhost/", "timeout": 5, "retry": {"jitter": false}});
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let settings: EndpointSettings = serde_json::from_value(all).unwrap();
        let none = EndpointSettings::default();
        let layers = Layers { defaults: &none, group: None, routes: &[], timezone: chrono_tz::UTC, channels: None };
        let now = from_micros(1_000_000);
        let Promise { usually, at_most } = of(&resolve(&settings, layers, now).unwrap(), now);
        (usually.as_secs(), at_most.as_secs())
    }

    #[test]
    fn failures_in_a_row_are_confirmed_by_early_checks() {
        // Three attempts of 5 s with pauses of 1 s and 2 s are 18 s.
        assert_eq!(promise(json!({})), (10, 2 * (18 + 10 + 5) + 10));
        assert_eq!(promise(json!({"alert_policy": {"failure_threshold": 1}})), (0, 18 + 10 + 5 + 10));
        assert_eq!(
            promise(json!({"interval": 3, "timeout": 1, "retry": {"enabled": false}})),
            (3, 2 * (1 + 10 + 1) + 10)
        );
        let jittered = promise(json!({"retry": {"jitter": true}}));
        assert_eq!(jittered, (10, 2 * (15 + 10 + 5) + 9 + 10), "half as long again, each pause");
    }

    #[test]
    fn failures_among_several_may_take_as_many_intervals() {
        let policy = json!({"alert_policy": {"failure_threshold": {"failures": 3, "of": 5}}, "interval": 60});
        assert_eq!(promise(policy), (20, 5 * (60 + 18) + 10));
    }
}
