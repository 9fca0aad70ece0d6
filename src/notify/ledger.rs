//! What a deliverer asks of the database: the pending rows of its channel, and to record what was done.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::queue::{Grouped, Rows};
use crate::domain::Timestamp;
use crate::handover::{Handed, Told};
use crate::store::outbox::{self, NewNotification, Standing};
use crate::store::{Store, StoreError, within};

/// The oldest deliveries of a channel that are looked at together, beside those that were done and wait to be recorded:
/// at least what may wait for a digest in a window. What is beyond it goes into further digests.
const LOOK: usize = 2_500;

/// How long the database has.
const LIMIT: Duration = Duration::from_secs(10);

/// Outcomes recorded in one transaction.
const BATCH: usize = 500;

/// The most messages from which a deliverer that begins learns what its channel had lately.
const LATELY: u64 = 10_000;

/// So many windows before the oldest message that waits it begins to look. A window that began earlier may be taken for
/// another one.
const WINDOWS: u32 = 10;

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) standings: Vec<(String, Standing)>,
    pub(super) notifications: Vec<Handed>,
    pub(super) digests: Vec<Grouped>,
}

/// Reads the pending rows of a channel, and what those tell that are not `known`. `lately`: also what the channel was to
/// deliver lately; how long a window is, and what time it is.
pub(super) async fn read(
    store: Arc<Store>,
    channel: String,
    known: HashSet<String>,
    covered: usize,
    lately: Option<(Duration, Timestamp)>,
) -> Result<Rows, StoreError> {
    within(LIMIT, async {
        let db = store.readers();
        let limit = LOOK + covered;
        let deliveries = outbox::pending(db, &channel, limit as u64).await?;
        let unknown: Vec<String> =
            deliveries.iter().map(|row| row.notification_id.clone()).filter(|id| !known.contains(id)).collect();
        let mut firsts: HashMap<i64, Option<String>> = HashMap::new();
        let mut told = Vec::with_capacity(unknown.len());
        for (facts, endpoint, incident) in outbox::facts_of(db, &unknown).await? {
            let first_of_incident = match incident {
                Some(id) => match firsts.get(&id) {
                    Some(first) => first.clone(),
                    None => firsts.entry(id).or_insert(outbox::first_of_incident(db, id).await?).clone(),
                },
                None => facts.first_of_alert(),
            };
            told.push(Arc::new(Told { facts, endpoint, incident, first_of_incident }));
        }
        let complete = deliveries.len() < limit;
        let lately = match lately {
            None => None,
            Some((window, now)) => {
                let oldest = deliveries.iter().map(|row| row.created_at).min().unwrap_or(now).min(now);
                let back = chrono::TimeDelta::from_std(window.saturating_mul(WINDOWS)).unwrap_or_default();
                Some(outbox::lately(db, &channel, oldest - back, LATELY).await?)
            }
        };
        Ok::<_, StoreError>(Rows { deliveries, told, complete, lately })
    })
    .await
}

/// Records outcomes, and writes notifications that a deliverer itself has to make: a digest with how those stand that it
/// tells, so that neither is there without the other.
pub(super) async fn record(
    store: Arc<Store>,
    channel: String,
    mut standings: Vec<(String, Standing)>,
    notifications: Vec<Handed>,
    digests: Vec<Grouped>,
) -> Result<Written, StoreError> {
    standings.truncate(BATCH);
    within(LIMIT, async {
        // What is taken back would be sent again.
        let transaction = store.begin_durable().await?;
        for (standing, ids) in alike(&standings) {
            // One that is pending no longer, or is gone, needs no record.
            outbox::record_alike(&transaction, &ids, &channel, standing).await?;
        }
        for Grouped { digest: Handed { told, channels, created_at }, standings, .. } in &digests {
            let (facts, now) = (&told.facts, *created_at);
            let new = NewNotification {
                facts,
                endpoint: None,
                incident: None,
                held_by: None,
                held_name: None,
                channels,
                now,
            };
            outbox::insert(&transaction, &new).await?;
            for (standing, ids) in alike(standings) {
                for ids in ids.chunks(BATCH) {
                    outbox::record_alike(&transaction, ids, &channel, standing).await?;
                }
            }
        }
        for Handed { told, channels, created_at } in &notifications {
            let held_by = channels.is_empty().then_some("no_other_channel");
            let (facts, now) = (&told.facts, *created_at);
            let new =
                NewNotification { facts, endpoint: None, incident: None, held_by, held_name: None, channels, now };
            outbox::insert(&transaction, &new).await?;
        }
        transaction.commit().await?;
        Ok::<_, StoreError>(())
    })
    .await?;
    Ok(Written { standings, notifications, digests })
}

/// What stands alike, so that it is recorded together.
fn alike(standings: &[(String, Standing)]) -> Vec<(&Standing, Vec<String>)> {
    let mut all: Vec<(&Standing, Vec<String>)> = Vec::new();
    for (id, standing) in standings {
        match all.iter_mut().find(|(other, _)| *other == standing) {
            Some((_, ids)) => ids.push(id.clone()),
            None => all.push((standing, vec![id.clone()])),
        }
    }
    all
}
