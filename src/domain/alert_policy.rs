//! When an endpoint is believed to be down, when to be up again, and how often that is told.

use std::time::Duration;

/// The thresholds of one endpoint, with all defaults applied.
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
    /// An outage this soon after a told recovery is the same incident, told as `down_again`; the next recovery is
    /// then held back until the endpoint has stayed good for so long. Zero: no recovery is held back.
    pub cooldown: Duration,
    /// How often an open outage is told again. `None`: never.
    pub reminder: Option<ReminderPolicy>,
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

/// Reminders of an outage that nobody has acknowledged, in pauses that grow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReminderPolicy {
    /// From the first message to the first reminder.
    pub every: Duration,
    /// Each further pause is so many times longer, at least 1.
    pub backoff: f64,
    /// The longest pause, at least `every`.
    pub max: Duration,
}

impl Default for ReminderPolicy {
    fn default() -> Self {
        Self { every: Duration::from_hours(1), backoff: 2.0, max: Duration::from_hours(24) }
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
