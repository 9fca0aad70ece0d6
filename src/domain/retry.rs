//! When a failed attempt is tried again.

use std::time::Duration;

/// Exponential backoff between the attempts of one check.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// Attempts in all, at least 1; 1 when retrying is off.
    pub max_attempts: u32,
    pub base_delay: Duration,
    /// At least 1.
    pub multiplier: f64,
    pub max_delay: Duration,
    /// Multiply each delay by a random 0.5–1.5.
    pub jitter: bool,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            base_delay: Duration::from_secs(1),
            multiplier: 2.0,
            max_delay: Duration::from_secs(60),
            jitter: true,
        }
    }
}

/// The pause after failed attempt `attempt` (the first is 1):
/// `min(max_delay, base_delay · multiplier^(attempt-1))`, times `0.5 + random` with jitter.
/// `random` is uniform in 0..1. Never overflows.
pub fn delay(policy: &RetryPolicy, attempt: u32, random: f64) -> Duration {
    let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
    let seconds = policy.base_delay.as_secs_f64() * policy.multiplier.powi(exponent);
    // 0 · ∞ is no number: a base delay of nothing stays nothing.
    let bounded = if seconds.is_nan() { 0.0 } else { seconds.min(policy.max_delay.as_secs_f64()) };
    let factor = if policy.jitter { 0.5 + random.clamp(0.0, 1.0) } else { 1.0 };
    Duration::try_from_secs_f64(bounded * factor).unwrap_or(policy.max_delay)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn grows_by_the_multiplier_up_to_the_bound() {
        let policy = RetryPolicy { jitter: false, max_delay: Duration::from_secs(5), ..RetryPolicy::default() };
        let delays: Vec<_> = (1..=5).map(|n| delay(&policy, n, 0.0).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 5, 5]);
    }

    #[test]
    fn an_overflowing_power_is_bounded_not_infinite() {
        let policy = RetryPolicy { multiplier: 1e9, ..RetryPolicy::default() };
        assert_eq!(delay(&RetryPolicy { jitter: false, ..policy.clone() }, u32::MAX, 0.0), Duration::from_secs(60));
        let nothing = RetryPolicy { base_delay: Duration::ZERO, ..policy };
        assert_eq!(delay(&nothing, u32::MAX, 0.3), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn jitter_stays_within_half_and_one_and_a_half(attempt in 1_u32..200, random in 0.0_f64..1.0,
                base_ms in 0_u64..10_000, multiplier in 1.0_f64..10.0) {
            let policy = RetryPolicy { base_delay: Duration::from_millis(base_ms), multiplier, ..RetryPolicy::default() };
            let plain = delay(&RetryPolicy { jitter: false, ..policy.clone() }, attempt, 0.0).as_secs_f64();
            let jittered = delay(&policy, attempt, random).as_secs_f64();
            prop_assert!(jittered >= plain * 0.5 - 1e-6 && jittered <= plain * 1.5 + 1e-6);
        }
    }
}
