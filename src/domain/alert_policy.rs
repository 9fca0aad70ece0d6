//! When an endpoint is believed to be down, when to be up again, and how often that is told.

use std::time::Duration;

/// The thresholds of one endpoint, with all defaults applied.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertPolicy {
    /// Failed checks that confirm an outage.
    pub failure_threshold: FailureThreshold,
    /// While a failure or a recovery is unconfirmed the next check comes after min(interval, this).
    pub confirm_interval: Duration,
    /// Good checks in a row that confirm a recovery, at least 1.
    pub success_threshold: u32,
    /// Whether recoveries are told.
    pub send_recovery: bool,
    /// Whether it is told that an endpoint is degraded, and the end of it.
    pub notify_degraded: bool,
    /// An outage this soon after a told recovery is the same incident, told as `down_again`; the next recovery is
    /// then held back until the endpoint has stayed good for so long. Zero: no recovery is held back.
    pub cooldown: Duration,
    /// How often an open outage is told again. `None`: never.
    pub reminder: Option<ReminderPolicy>,
    /// More changes of status than this are flapping. `None`: nothing is.
    pub flap: Option<FlapPolicy>,
    /// For how long an acknowledgement keeps reminders and escalation back, unless it says so itself.
    pub acknowledge_for: Duration,
    /// Who else is told of an outage that nobody acknowledges, in the order of their times. At most
    /// [`MOST_STEPS`].
    pub escalation: Vec<EscalationStep>,
    /// Slots without a verdict after which that is told, at least 1. `None`: never.
    pub no_data_after: Option<u32>,
}

/// The most steps of an escalation.
pub const MOST_STEPS: usize = 10;

/// The most checks that a threshold looks at.
pub const MOST_CHECKS: u32 = 1000;

/// The least time in which changes of status are flapping.
const LEAST_FLAP_WINDOW: Duration = Duration::from_mins(10);

/// So many failed checks among so many in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureThreshold {
    /// 1 to `of`.
    pub failures: u32,
    /// At most [`MOST_CHECKS`].
    pub of: u32,
}

impl FailureThreshold {
    /// So many failures, one after the other.
    pub fn in_a_row(failures: u32) -> Self {
        Self { failures, of: failures }
    }

    pub fn is_in_a_row(self) -> bool {
        self.failures == self.of
    }
}

/// When changes of status are flapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlapPolicy {
    /// More of them than this, within the window. At least 1.
    pub changes: u32,
    /// Also the time for which the endpoint must be steady until it is over.
    pub window: Duration,
}

impl FlapPolicy {
    pub const CHANGES: u32 = 6;

    /// For an endpoint that is checked so often.
    pub fn new(changes: u32, interval: Duration) -> Self {
        Self { changes, window: LEAST_FLAP_WINDOW.max(interval.saturating_mul(20)) }
    }
}

/// Who is told when nobody has acknowledged an outage for some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EscalationStep {
    /// Since the outage was told.
    pub after: Duration,
    /// Names of channels.
    pub notify: Vec<String>,
}

impl Default for AlertPolicy {
    fn default() -> Self {
        Self {
            failure_threshold: FailureThreshold::in_a_row(2),
            confirm_interval: Duration::from_secs(10),
            success_threshold: 1,
            send_recovery: true,
            notify_degraded: false,
            cooldown: Duration::from_secs(300),
            reminder: Some(ReminderPolicy::default()),
            flap: Some(FlapPolicy::new(FlapPolicy::CHANGES, Duration::from_mins(1))),
            acknowledge_for: Duration::from_hours(4),
            escalation: Vec::new(),
            no_data_after: Some(5),
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
