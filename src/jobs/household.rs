//! The jobs there are, and when each runs.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Turns;
use crate::clock::Clock;
use crate::domain::schedule::CronSchedule;
use crate::feed::Feed;
use crate::telemetry::jobs::{JobStatus, When};
use crate::wakeup::Wakeup;

/// The turns of every job.
#[derive(Debug)]
pub struct Household {
    pub hours: Turns,
    pub days: Turns,
    pub retention: Turns,
    pub purge: Turns,
    pub key_uses: Turns,
    pub sessions: Turns,
    pub backups: Turns,
    pub integrity: Turns,
}

impl Household {
    /// # Errors
    /// None that a test does not see: a schedule of ours is no cron expression.
    pub fn new(
        cleanup_interval: Duration,
        clock: &Arc<dyn Clock>,
        feed: &Arc<Feed>,
        stopping: &CancellationToken,
    ) -> Result<Self, String> {
        let now = clock.now();
        let turns = |name, description, when| Turns {
            status: Arc::new(JobStatus::new(name, description, when)),
            nudged: Wakeup::new(),
            clock: clock.clone(),
            feed: feed.clone(),
            stopping: stopping.clone(),
        };
        let cron = |expression| CronSchedule::parse(expression, chrono_tz::UTC, now).map(When::Cron);
        let household = Self {
            hours: turns(
                "rollup_hours",
                "Closes the hours that are over, so that windows are summed from them; they are written with the next \
                 batch of results",
                cron("0 * * * * *")?,
            ),
            days: turns(
                "rollup_days",
                "Closes the days that are over, lets go of what only hours without a day need, and moves the windows of \
                 the lists",
                cron("0 20 * * * *")?,
            ),
            retention: turns(
                "retention",
                "Removes single checks, hours, notifications, resolved incidents and refusals of the audit log that are \
                 older than they are kept",
                When::Every(cleanup_interval),
            ),
            purge: turns(
                "purge",
                "Removes the history of endpoints that were deleted with it; begun by the deletion",
                cron("50 * * * * *")?,
            ),
            key_uses: turns("key_uses", "Writes down when each API key was used last", cron("30 * * * * *")?),
            sessions: turns(
                "sessions",
                "Writes down when each session was used last, and removes those that are over",
                cron("45 * * * * *")?,
            ),
            backups: turns("backups", "Looks which backup is the newest", cron("15 * * * * *")?),
            integrity: turns(
                "integrity",
                "Examines the pages of the database file; at the start only if the last run did not end cleanly",
                When::AtStart,
            ),
        };
        household.retention.status.nudged(now);
        Ok(household)
    }

    pub fn all(&self) -> [&Turns; 8] {
        let Self { hours, days, retention, purge, key_uses, sessions, backups, integrity } = self;
        [hours, days, retention, purge, key_uses, sessions, backups, integrity]
    }
}
