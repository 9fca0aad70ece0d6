//! Looks now and then how much the database takes, for the metrics, which ask no database themselves.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::store::{Store, within};
use crate::telemetry::metrics::Metrics;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(60);

/// How long the database has to say it.
const LIMIT: Duration = Duration::from_secs(5);

/// Looks until the stop. While it cannot be had it is not known.
pub async fn watch(store: Arc<Store>, metrics: Arc<Metrics>, stopping: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let bytes = match within(LIMIT, store.size()).await {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::debug!(%error, "the size of the database is not known");
                0
            }
        };
        metrics.database_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}
