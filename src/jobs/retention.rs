//! Removes what is older than it is kept, in small batches that never hold up the recorder.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::domain::uptime::{DAY_US, day_of, hour_of};
use crate::domain::{Timestamp, from_micros, micros};
use crate::store::{self, Store, StoreError};
use crate::wakeup::Wakeup;

/// Rows removed in one transaction.
const BATCH: u64 = 500;

/// The pause between batches, in which the recorder has the database.
const PAUSE: Duration = Duration::from_millis(20);

/// How long things are kept.
#[derive(Debug)]
pub struct Retention {
    pub store: Arc<Store>,
    pub clock: Arc<dyn Clock>,
    pub check_history_days: u32,
    pub hourly_rollup_days: u32,
}

/// What a run removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    pub checks: u64,
    pub hours: u64,
}

impl Retention {
    /// Removes whatever is due at each nudge, until the stop.
    pub async fn run(self, nudged: Wakeup, stopping: CancellationToken) {
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = nudged.wait() => {}
            }
            tokio::select! {
                () = stopping.cancelled() => return,
                removed = self.step() => match removed {
                    Ok(Removed { checks: 0, hours: 0 }) => {}
                    Ok(removed) => tracing::info!(checks = removed.checks, hours = removed.hours, "old history was removed"),
                    Err(error) => tracing::warn!(%error, "old history could not be removed; tried again at the next run"),
                },
            }
        }
    }

    /// Removes everything that is due now.
    pub async fn step(&self) -> Result<Removed, StoreError> {
        let now = self.clock.now();
        let mut removed = Removed::default();
        // By whole hours and days, so that what is left adds up with the rollups.
        let checks_before = hour_of(days_before(now, self.check_history_days));
        let hours_before = day_of(days_before(now, self.hourly_rollup_days.max(self.check_history_days)));
        loop {
            let count = store::history::delete_before(self.store.writer(), checks_before, BATCH).await?;
            removed.checks += count;
            if count == 0 {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        loop {
            let count = store::rollups::delete_hours_before(self.store.writer(), hours_before, BATCH).await?;
            removed.hours += count;
            if count == 0 {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(removed)
    }
}

fn days_before(now: Timestamp, days: u32) -> Timestamp {
    from_micros(micros(now) - i64::from(days) * DAY_US)
}
