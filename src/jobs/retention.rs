//! Removes what is older than it is kept, in small batches that never hold up the recorder.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Turns;
use crate::clock::Clock;
use crate::config::RunningSettings;
use crate::domain::uptime::{DAY_US, day_of, hour_of};
use crate::domain::{Timestamp, from_micros, micros};
use crate::store::{self, Store, StoreError, within};

/// Rows removed in one transaction.
const BATCH: u64 = 500;

/// Days for which the audit log keeps refusals: whoever is refused again and again must not fill the disk.
const REFUSALS_DAYS: u32 = 30;

/// And what administrators read.
const READS_DAYS: u32 = 90;

/// How long a batch may take.
const LIMIT: Duration = Duration::from_secs(30);

/// The pause between batches, in which the recorder has the database.
const PAUSE: Duration = Duration::from_millis(20);

/// How long things are kept.
#[derive(Debug)]
pub struct Retention {
    pub store: Arc<Store>,
    pub clock: Arc<dyn Clock>,
    /// Of which the days are followed.
    pub running: Arc<RunningSettings>,
}

/// What a run removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    pub checks: u64,
    pub hours: u64,
    pub notifications: u64,
    pub incidents: u64,
    pub refusals: u64,
    pub reads: u64,
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { checks, hours, notifications, incidents, refusals, reads } = self;
        write!(
            f,
            "removed: checks {checks}, hours {hours}, notifications {notifications}, incidents {incidents}, \
             refusals {refusals}, reads {reads}"
        )
    }
}

impl Retention {
    /// Removes whatever is due at each nudge, until the stop.
    pub async fn run(self, turns: Turns) {
        while turns.next().await {
            match turns.run(Box::pin(self.step()), ToString::to_string).await {
                Some(Ok(removed)) if removed == Removed::default() => {}
                Some(Ok(Removed { checks, hours, notifications, incidents, refusals, reads })) => {
                    tracing::info!(checks, hours, notifications, incidents, refusals, reads, "old history was removed");
                }
                Some(Err(error)) => {
                    let message = "old history could not be removed; tried again at the next run";
                    tracing::warn!(%error, "{message}");
                    turns.failed(message);
                }
                None => return,
            }
        }
    }

    /// Removes everything that is due now.
    pub async fn step(&self) -> Result<Removed, StoreError> {
        let now = self.clock.now();
        let kept = self.running.get();
        // By whole hours and days, so that what is left adds up with the rollups.
        let checks_before = hour_of(days_before(now, kept.check_history_days));
        let hours_before = day_of(days_before(now, kept.hourly_rollup_days.max(kept.check_history_days)));
        Ok(Removed {
            checks: self.remove(Old::Checks, checks_before).await?,
            hours: self.remove(Old::Hours, hours_before).await?,
            // As long as the hours, which count the same outages.
            notifications: self.remove(Old::Notifications, hours_before).await?,
            incidents: self.remove(Old::Incidents, hours_before).await?,
            refusals: self.remove(Old::Refusals, days_before(now, REFUSALS_DAYS)).await?,
            reads: self.remove(Old::Reads, days_before(now, READS_DAYS)).await?,
        })
    }

    /// Removes batch after batch until none is left; returns how many rows went.
    async fn remove(&self, old: Old, before: Timestamp) -> Result<u64, StoreError> {
        let mut removed = 0;
        loop {
            let count = within(LIMIT, self.remove_batch(old, before)).await?;
            if count == 0 {
                return Ok(removed);
            }
            removed += count;
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Retention {
    async fn remove_batch(&self, old: Old, before: Timestamp) -> Result<u64, StoreError> {
        let transaction = self.store.begin().await?;
        let count = match old {
            Old::Checks => {
                store::check_details::delete_before(&transaction, before).await?;
                store::history::delete_before(&transaction, before, BATCH).await?
            }
            Old::Hours => store::rollups::delete_hours_before(&transaction, before, BATCH).await?,
            Old::Notifications => store::outbox::delete_before(&transaction, before, BATCH).await?,
            Old::Incidents => store::incidents::delete_resolved_before(&transaction, before, BATCH).await?,
            Old::Refusals => store::audit::delete_before(&transaction, store::audit::REFUSED, before, BATCH).await?,
            Old::Reads => store::audit::delete_before(&transaction, store::audit::READ, before, BATCH).await?,
        };
        transaction.commit().await?;
        Ok(count)
    }
}

/// What is removed when it is old.
#[derive(Debug, Clone, Copy)]
enum Old {
    Checks,
    Hours,
    Notifications,
    /// Resolved ones.
    Incidents,
    /// What was refused to strangers; changes are kept for good.
    Refusals,
    /// What administrators read.
    Reads,
}

fn days_before(now: Timestamp, days: u32) -> Timestamp {
    from_micros(micros(now) - i64::from(days) * DAY_US)
}
