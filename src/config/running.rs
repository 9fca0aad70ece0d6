//! The settings that can change while the monitor runs, as they are now. They begin as configured; the verb that
//! changes them and what is stored of it is `service::settings`.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use super::{Config, LogLevel, MaxConcurrent, MaxConnections};
use crate::domain::alert_policy::AlertPolicy;

/// The values of the changeable settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adjustable {
    pub logging_level: LogLevel,
    pub check_history_days: u32,
    pub hourly_rollup_days: u32,
    pub max_concurrent_checks: MaxConcurrent,
    pub max_connections: MaxConnections,
    /// Of endpoints for which neither they nor their group say another.
    pub cooldown: Duration,
}

impl Adjustable {
    /// As configured.
    pub fn of(config: &Config) -> Self {
        Self {
            logging_level: config.logging.level,
            check_history_days: config.monitoring.check_history_days,
            hourly_rollup_days: config.monitoring.hourly_rollup_days,
            max_concurrent_checks: config.monitoring.max_concurrent_checks,
            max_connections: config.api.max_connections,
            cooldown: cooldown(config),
        }
    }
}

fn cooldown(config: &Config) -> Duration {
    let policy = config.defaults.alert_policy.as_ref();
    policy.and_then(|policy| policy.cooldown_seconds).map_or(AlertPolicy::default().cooldown, |set| set.0)
}

/// The values that apply now, shared by the parts that go by them. Each reads them when it acts.
#[derive(Debug)]
pub struct RunningSettings(RwLock<Adjustable>);

impl RunningSettings {
    pub fn new(values: Adjustable) -> Self {
        Self(RwLock::new(values))
    }

    pub fn get(&self) -> Adjustable {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set(&self, values: Adjustable) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = values;
    }
}
