//! What a deliverer asks of the database: the pending rows of its channel, and to record what was done.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::queue::Rows;
use crate::handover::{Handed, Told};
use crate::store::outbox::{self, NewNotification, Standing};
use crate::store::{Store, StoreError, within};

/// The oldest deliveries of a channel that are looked at together, beside those that were done and wait to be recorded.
const LOOK: usize = 500;

/// How long the database has.
const LIMIT: Duration = Duration::from_secs(10);

/// Outcomes recorded in one transaction.
const BATCH: usize = 500;

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) standings: Vec<(String, Standing)>,
    pub(super) notifications: Vec<Handed>,
}

/// Reads the pending rows of a channel, and what those tell that are not `known`.
pub(super) async fn read(
    store: Arc<Store>,
    channel: String,
    known: HashSet<String>,
    covered: usize,
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
        Ok::<_, StoreError>(Rows { deliveries, told, complete })
    })
    .await
}

/// Records outcomes, and writes notifications that a deliverer itself has to make.
pub(super) async fn record(
    store: Arc<Store>,
    channel: String,
    mut standings: Vec<(String, Standing)>,
    notifications: Vec<Handed>,
) -> Result<Written, StoreError> {
    standings.truncate(BATCH);
    within(LIMIT, async {
        // What is taken back would be sent again.
        let transaction = store.begin_durable().await?;
        for (id, standing) in &standings {
            // One that is pending no longer, or is gone, needs no record.
            outbox::record(&transaction, id, &channel, standing).await?;
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
    Ok(Written { standings, notifications })
}
