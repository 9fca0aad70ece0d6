//! Examines the database, beside everything else: once after a process that did not close it, and when it is nudged.

use std::sync::Arc;

use super::Turns;
use crate::feed::{Event, TroubleCode};
use crate::store::{Integrity, Store, StoreError};

/// Why a run found nothing good.
#[derive(Debug, thiserror::Error)]
enum Doubt {
    #[error("it is damaged: {0}")]
    Damaged(String),
    #[error(transparent)]
    Store(StoreError),
}

/// Examines the database if it is in doubt, and then at each nudge. A stop cuts it short; then the next start begins
/// again.
pub async fn run(store: Arc<Store>, turns: Turns) {
    if store.integrity() == Integrity::Doubtful {
        let database = store.place();
        tracing::info!(database, "the last run did not end cleanly: the database is examined while checks are made");
        examine(&store, &turns).await;
    }
    while turns.next().await {
        examine(&store, &turns).await;
    }
}

async fn examine(store: &Store, turns: &Turns) {
    let database = store.place();
    let cut = turns.stopping.clone();
    let step = async {
        match store.examine(move || cut.is_cancelled()).await {
            Ok(Integrity::Damaged(finding)) => Err(Doubt::Damaged(finding)),
            Ok(_) => Ok(()),
            Err(error) => Err(Doubt::Store(error)),
        }
    };
    let words = |(): &()| {
        let looked_at = store.path().is_some();
        if looked_at { "the database is whole" } else { "the server looks after its own files" }.to_owned()
    };
    match turns.run_to_end(step, words).await {
        Ok(()) => tracing::info!(database, "the database is whole"),
        Err(Doubt::Damaged(finding)) => {
            tracing::error!(database, finding, "{}", what_to_do(&database));
            let (now, message) = (turns.clock.now(), "the database is damaged: the log says what to do");
            turns.feed.publish(Event::trouble(now, TroubleCode::DatabaseDamaged, "database", message));
        }
        Err(Doubt::Store(_)) if turns.stopping.is_cancelled() => {
            tracing::info!(database, "the database was not examined to its end; the next start does it");
        }
        Err(Doubt::Store(error)) => {
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
