//! Time as a dependency: wall time for slots, windows and stamps, monotonic time for durations.
//!
//! The only module that reads the system's clocks. Tests hand in a clock that they move themselves.

use std::time::Duration;

use crate::domain::{Timestamp, from_micros, micros};

/// Tells the time.
pub trait Clock: Send + Sync + std::fmt::Debug + 'static {
    /// Wall time in whole microseconds. May jump.
    fn now(&self) -> Timestamp;

    /// Time since some fixed instant of this process. Never jumps, stands still while the machine sleeps.
    fn monotonic(&self) -> Duration;
}

/// The clocks of the machine.
#[derive(Debug)]
pub struct SystemClock {
    started: tokio::time::Instant,
}

impl SystemClock {
    pub fn new() -> Self {
        Self { started: tokio::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
    fn now(&self) -> Timestamp {
        from_micros(micros(chrono::Utc::now()))
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock {
    /// Wall time in microseconds since the epoch, and monotonic microseconds.
    times: std::sync::Mutex<(i64, u64)>,
}

impl ManualClock {
    pub fn at(start: Timestamp) -> Self {
        Self { times: std::sync::Mutex::new((micros(start), 0)) }
    }

    /// Both clocks go on by `by`.
    pub fn advance(&self, by: Duration) {
        let us = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        let mut times = self.lock();
        times.0 = times.0.saturating_add_unsigned(us);
        times.1 = times.1.saturating_add(us);
    }

    /// The wall clock is set to `to`; monotonic time stays.
    pub fn jump_to(&self, to: Timestamp) {
        self.lock().0 = micros(to);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (i64, u64)> {
        self.times.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        from_micros(self.lock().0)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.lock().1)
    }
}
