//! When an endpoint is believed to be down, when to be up again, and what is told of it.

use std::time::Duration;

/// The alert policy of one endpoint, with all defaults applied.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertPolicy {
    /// Failed checks in a row that confirm an outage, at least 1.
    pub failure_threshold: u32,
    /// While a failure or a recovery is unconfirmed the next check comes after min(interval, this).
    pub confirm_interval: Duration,
    /// Good checks in a row that confirm a recovery, at least 1.
    pub success_threshold: u32,
    /// Whether recoveries are told.
    pub send_recovery: bool,
    /// Damps recoveries, never outages: after a told recovery a new outage within this reopens the incident, and
    /// its recovery is held until the endpoint has stayed good for this long.
    pub cooldown: Duration,
    /// Tell again while an incident is open; `None`: never.
    pub reminder: Option<ReminderPolicy>,
}

/// When an open incident is told again.
#[derive(Debug, Clone, PartialEq)]
pub struct ReminderPolicy {
    /// After the outage was told, at least 1 minute.
    pub every: Duration,
    /// Each pause is this many times the one before, at least 1.
    pub backoff: f64,
    /// The longest pause.
    pub max: Duration,
}

impl Default for AlertPolicy {
    fn default() -> Self {
        Self {
            failure_threshold: 2,
            confirm_interval: Duration::from_secs(10),
            success_threshold: 1,
            send_recovery: true,
            cooldown: Duration::from_secs(300),
            reminder: Some(ReminderPolicy::default()),
        }
    }
}

impl Default for ReminderPolicy {
    fn default() -> Self {
        Self { every: Duration::from_secs(3_600), backoff: 2.0, max: Duration::from_secs(86_400) }
    }
}

impl ReminderPolicy {
    /// The pause before reminder `ordinal` (the first is 1): `min(max, every · backoff^(ordinal-1))`.
    pub fn pause(&self, ordinal: u32) -> Duration {
        let exponent = i32::try_from(ordinal.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.every.as_secs_f64() * self.backoff.powi(exponent);
        let bounded = if seconds.is_finite() { seconds.min(self.max.as_secs_f64()) } else { self.max.as_secs_f64() };
        Duration::try_from_secs_f64(bounded).unwrap_or(self.max)
    }
}
