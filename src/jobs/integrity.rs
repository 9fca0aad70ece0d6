//! Examines the database once after a process that did not close it, beside everything else.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::feed::{Event, Feed, TroubleCode};
use crate::store::{Integrity, Store};

/// Examines the database if it is in doubt. A stop cuts it short; then the next start begins again.
pub async fn examine(store: Arc<Store>, clock: Arc<dyn Clock>, feed: Arc<Feed>, stopping: CancellationToken) {
    if store.integrity() != Integrity::Doubtful {
        return;
    }
    let database = store.place();
    tracing::info!(database, "the last run did not end cleanly: the database is examined while checks are made");
    let began = clock.monotonic();
    let cut = stopping.clone();
    let found = store.examine(move || cut.is_cancelled()).await;
    let seconds = clock.monotonic().saturating_sub(began).as_secs_f64();
    match found {
        Ok(Integrity::Damaged(finding)) => {
            tracing::error!(database, finding, seconds, "{}", what_to_do(&database));
            let message = "the database is damaged: the log says what to do";
            feed.publish(Event::trouble(clock.now(), TroubleCode::DatabaseDamaged, "database", message));
        }
        Ok(_) => tracing::info!(database, seconds, "the database is whole"),
        Err(_) if stopping.is_cancelled() => {
            tracing::info!(database, seconds, "the database was not examined to its end; the next start does it");
        }
        Err(error) => {
            tracing::warn!(database, %error, "the database could not be examined; the next start tries again");
        }
    }
}

fn what_to_do(database: &str) -> String {
    format!(
        "the database {database} is damaged: stop the monitor and restore a backup with `api-monitor restore FILE \
         --force`, or save what can be read with `sqlite3 {database} .recover`"
    )
}
