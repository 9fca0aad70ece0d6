//! Remembers until when this process was there to hear what push endpoints report, for the one that comes after it: a
//! heartbeat that was sent while nobody was there is not missing.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::clock::Clock;
use crate::domain::{Timestamp, from_micros, micros};
use crate::store::{Store, StoreError, settings, within};

/// The row.
const KEY: &str = "heard_until";

/// How often it is written, where there is a push endpoint.
const EVERY: Duration = Duration::from_secs(15);

/// How long the database has for it.
const LIMIT: Duration = Duration::from_secs(2);

/// Until when the process before this one was there.
///
/// # Errors
/// When the database fails.
pub async fn last(store: &Store) -> Result<Option<Timestamp>, StoreError> {
    Ok(settings::get(store.readers(), KEY).await?.and_then(|value| value["until_us"].as_i64()).map(from_micros))
}

/// Writes it now and then, and at the stop. What cannot be written makes the next process wait longer, no more.
pub async fn keep(store: Arc<Store>, board: Arc<Board>, clock: Arc<dyn Clock>, stopping: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stopping.cancelled() => {}
            _ = ticks.tick() => {}
        }
        // No endpoint has been one until now.
        if board.push_version() > 0 {
            let now = clock.now();
            let written = settings::put(store.writer(), KEY, json!({ "until_us": micros(now) }), now);
            if let Err(error) = within(LIMIT, written).await {
                tracing::debug!(%error, "it could not be written down until when heartbeats were heard");
            }
        }
        if stopping.is_cancelled() {
            return;
        }
    }
}
