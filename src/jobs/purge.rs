//! Removes what is left of endpoints that were deleted with their history, in small batches that never hold up the
//! recorder. What is to be removed is marked in the rows of the endpoints, so that a run which was cut goes on with the
//! next one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;

use super::Turns;
use crate::clock::Clock;
use crate::domain::endpoint::EndpointId;
use crate::store::{Store, StoreError, endpoints, within};

/// Rows removed in one transaction.
const BATCH: u64 = 500;

/// Endpoints asked for at a time.
const ENDPOINTS: u64 = 100;

/// How long a batch may take.
const LIMIT: Duration = Duration::from_secs(30);

/// The pause between batches, in which the recorder has the database.
const PAUSE: Duration = Duration::from_millis(20);

/// How long after its deletion the last of an endpoint may be written: the hour that was open then, with its grace. So
/// long its row stays, and what came late is removed with it.
const LATE: TimeDelta = TimeDelta::hours(2);

/// The marked endpoints of a store.
#[derive(Debug)]
pub struct Purge {
    pub store: Arc<Store>,
    pub clock: Arc<dyn Clock>,
}

/// What a run removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Purged {
    /// Checks, hours and days.
    pub rows: u64,
    /// Endpoints of which nothing is left.
    pub endpoints: u64,
}

impl fmt::Display for Purged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, endpoints } = self;
        write!(f, "removed: rows {rows}, endpoints {endpoints}")
    }
}

impl Purge {
    /// Removes whatever is marked at each nudge, until the stop.
    pub async fn run(self, turns: Turns) {
        while turns.next().await {
            match turns.run(Box::pin(self.step()), ToString::to_string).await {
                Some(Ok(purged)) if purged == Purged::default() => {}
                Some(Ok(Purged { rows, endpoints })) => {
                    tracing::info!(rows, endpoints, "the history of deleted endpoints was removed");
                }
                Some(Err(error)) => {
                    let message = "the history of deleted endpoints could not be removed; tried again within a minute";
                    tracing::warn!(%error, "{message}");
                    turns.failed(message);
                }
                None => return,
            }
        }
    }

    /// Removes everything that is marked now.
    pub async fn step(&self) -> Result<Purged, StoreError> {
        let mut purged = Purged::default();
        loop {
            let now = self.clock.now();
            let marked = within(LIMIT, endpoints::to_purge(self.store.readers(), now, ENDPOINTS)).await?;
            if marked.is_empty() {
                return Ok(purged);
            }
            for (id, archived_at) in marked {
                purged.rows += self.remove_history(id).await?;
                let gone_for_good = archived_at + LATE;
                if now < gone_for_good {
                    within(LIMIT, endpoints::mark_to_purge(self.store.writer(), id, gone_for_good)).await?;
                } else {
                    within(LIMIT, endpoints::delete(self.store.writer(), id)).await?;
                    purged.endpoints += 1;
                }
            }
        }
    }

    /// Removes batch after batch until none is left; returns how many rows went.
    async fn remove_history(&self, id: EndpointId) -> Result<u64, StoreError> {
        let mut removed = 0;
        loop {
            let count = within(LIMIT, self.remove_batch(id)).await?;
            if count == 0 {
                return Ok(removed);
            }
            removed += count;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn remove_batch(&self, id: EndpointId) -> Result<u64, StoreError> {
        let transaction = self.store.begin().await?;
        let count = endpoints::purge_history(&transaction, id, BATCH).await?;
        transaction.commit().await?;
        Ok(count)
    }
}
