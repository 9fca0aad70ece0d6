//! When an endpoint is believed to be down, and when to be up again.

use std::time::Duration;

/// The thresholds of one endpoint, with all defaults applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertPolicy {
    /// Failed checks in a row that confirm an outage, at least 1.
    pub failure_threshold: u32,
    /// While a failure or a recovery is unconfirmed the next check comes after min(interval, this).
    pub confirm_interval: Duration,
    /// Good checks in a row that confirm a recovery, at least 1.
    pub success_threshold: u32,
}

impl Default for AlertPolicy {
    fn default() -> Self {
        Self { failure_threshold: 2, confirm_interval: Duration::from_secs(10), success_threshold: 1 }
    }
}
