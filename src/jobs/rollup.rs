//! Closes days that are over, lets go of the sketches of hours whose day has its own, and moves the far edge of
//! the windows on the board.

use std::sync::Arc;
use std::time::Duration;

use super::Turns;
use crate::board::{Board, Windows};
use crate::clock::Clock;
use crate::domain::uptime::{DAY_US, HOUR_US, day_of, hour_of};
use crate::domain::{Timestamp, from_micros, micros};
use crate::store::{self, Store, StoreError, within};
use crate::telemetry::metrics::Metrics;

const BATCH: u64 = 500;

/// How long a batch may take.
const LIMIT: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(20);

/// How long after midnight a day waits for late results before it is closed.
const DAY_GRACE_US: i64 = 15 * 60 * 1_000_000;

/// How long the sketches of hours are kept, so that percentiles of recent windows need few single checks.
const HOUR_SKETCHES_US: i64 = 3 * DAY_US;

/// Derives days from hours.
#[derive(Debug)]
pub struct Rollup {
    pub store: Arc<Store>,
    pub board: Arc<Board>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
}

impl Rollup {
    /// Does whatever is due at each nudge, until the stop.
    pub async fn run(self, turns: Turns) {
        while turns.next().await {
            match turns.run(Box::pin(self.step()), |days| format!("closed: days {days}")).await {
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    let message = "days could not be closed; tried again at the next run";
                    tracing::warn!(%error, "{message}");
                    turns.failed(message);
                }
                None => return,
            }
        }
    }

    /// In one transaction, so that no late result comes between the sum of the hours and the day.
    async fn close_days(&self, over: Timestamp) -> Result<u64, StoreError> {
        let transaction = self.store.begin().await?;
        let closed = store::rollups::close_days(&transaction, over, BATCH).await?;
        transaction.commit().await?;
        Ok(closed)
    }

    /// Does everything that is due now; returns how many days of endpoints were closed.
    pub async fn step(&self) -> Result<u64, StoreError> {
        if self.metrics.database.away().is_some() {
            // Hours that are over wait to be written: until then the board alone has them.
            return Err(StoreError::Unavailable("the database is away".to_owned()));
        }
        let at = self.clock.now();
        let now = micros(at);
        let over = day_of(from_micros(now - DAY_GRACE_US));
        let mut days = 0;
        loop {
            let closed = within(LIMIT, self.close_days(over)).await?;
            if closed == 0 {
                break;
            }
            days += closed;
            tokio::time::sleep(PAUSE).await;
        }
        let sketches_before = day_of(from_micros(now - HOUR_SKETCHES_US));
        while within(LIMIT, store::rollups::drop_hour_sketches(self.store.writer(), sketches_before, BATCH)).await? > 0
        {
            tokio::time::sleep(PAUSE).await;
        }
        // Hours older than the last two are written for sure; the newer ones the board holds itself.
        let until = hour_of(from_micros(now - 2 * HOUR_US));
        let mut windows = within(LIMIT, store::windows::sums(self.store.readers(), at, until)).await?;
        self.board.update(self.board.ids(), |id, live| {
            live.windows.rebase(windows.remove(&id).unwrap_or_else(|| Windows::empty(until)));
        });
        Ok(days)
    }
}
