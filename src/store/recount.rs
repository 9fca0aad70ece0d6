//! Counting again at start what was in memory when the monitor ended, however it ended.
//!
//! An hour is stored when it is over and at a clean stop, so rows may be newer than the newest stored hour of
//! their endpoint. They are counted here: hours that are over are stored, the present one is handed back.

use std::collections::{BTreeMap, HashMap};

use super::{Store, StoreError, history, rollups};
use crate::domain::Timestamp;
use crate::domain::endpoint::EndpointId;
use crate::domain::uptime::{Bucket, OpenHour, Rollup, hour_of};

/// Rows of `rollups` written in one transaction.
const BATCH: usize = 500;

/// Stores the hours that are over and not rightly stored, and returns the present hour of each endpoint that has a
/// result in it. Doing it twice changes nothing.
pub async fn recount(store: &Store, now: Timestamp) -> Result<HashMap<EndpointId, OpenHour>, StoreError> {
    let present = hour_of(now);
    let mut open = HashMap::new();
    let mut repaired = Vec::new();
    for (id, newest) in rollups::latest_hour_of_each(store.readers()).await? {
        let mut counted = count_from(store, id, newest).await?;
        if let Some(rollup) = counted.remove(&present) {
            open.insert(id, OpenHour { start: present, rollup });
        }
        if let Some(start) = newest.filter(|start| counted.contains_key(start)) {
            let stored = rollups::list(store.readers(), id, rollups::Grain::Hour, start..end_of(start)).await?;
            let stored = stored.first().map_or(0, |(_, rollup)| results_in(&rollup.bucket));
            // Equal: nothing to do. Fewer rows than counted: retention has taken some, the count is the truth.
            counted.retain(|at, rollup| *at != start || results_in(&rollup.bucket) > stored);
        }
        repaired.extend(counted.into_iter().map(|(start, rollup)| (id, start, rollup)));
        if repaired.len() >= BATCH {
            put(store, &mut repaired).await?;
        }
    }
    put(store, &mut repaired).await?;
    Ok(open)
}

/// The hours of an endpoint that have rows, from its newest stored hour on, counted from these rows.
async fn count_from(
    store: &Store,
    id: EndpointId,
    newest: Option<Timestamp>,
) -> Result<BTreeMap<Timestamp, Rollup>, StoreError> {
    let from = match newest {
        Some(hour) => Some(hour),
        None => history::first_scheduled_at(store.readers(), id).await?,
    };
    let mut hours: BTreeMap<Timestamp, Rollup> = BTreeMap::new();
    if let Some(from) = from {
        history::for_each(store.readers(), id, from..Timestamp::MAX_UTC, |result| {
            hours.entry(hour_of(result.scheduled_at)).or_insert_with(Rollup::with_sketch).add(result);
        })
        .await?;
    }
    Ok(hours)
}

async fn put(store: &Store, hours: &mut Vec<(EndpointId, Timestamp, Rollup)>) -> Result<(), StoreError> {
    if !hours.is_empty() {
        let transaction = store.begin().await?;
        rollups::put_hours(&transaction, hours).await?;
        transaction.commit().await?;
        hours.clear();
    }
    Ok(())
}

fn end_of(hour: Timestamp) -> Timestamp {
    OpenHour::holding(hour).end()
}

fn results_in(bucket: &Bucket) -> u64 {
    bucket.counted() + bucket.missed + bucket.maintenance
}
