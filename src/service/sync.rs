//! YAML → database: brings the configured endpoints in step with the file. Entries made through the API are
//! never touched, but for one whose name the file takes: that one is adopted.

use std::collections::{HashMap, HashSet};

use crate::config::{Config, ConfiguredEndpoint, Listing};
use crate::domain::Timestamp;
use crate::domain::endpoint::{Aftermath, EndpointId, Origin, resolve};
use crate::store::channels::StoredChannel;
use crate::store::endpoints::{EndpointUpdate, NewEndpoint, StoredEndpoint};
use crate::store::{self, Store, StoreError, audit};

/// What a sync did, by number of endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SyncReport {
    pub added: usize,
    pub changed: usize,
    /// Were made through the API and are the file's now.
    pub adopted: usize,
    /// Were archived, and the file names them again.
    pub returned: usize,
    /// Are no longer in the file.
    pub archived: usize,
}

impl SyncReport {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

type Key = (String, String);

fn key(stored: &StoredEndpoint) -> Key {
    (stored.settings.group.clone().unwrap_or_default(), stored.settings.name.clone().unwrap_or_default())
}

/// Applies the file, all of it or nothing.
///
/// # Errors
/// When the database fails; then nothing was changed.
pub async fn apply(store: &Store, config: &Config, now: Timestamp) -> Result<SyncReport, StoreError> {
    // Endpoints are large, and several are held across its waits: the future of each caller would hold them as well.
    Box::pin(apply_all(store, config, now)).await
}

async fn apply_all(store: &Store, config: &Config, now: Timestamp) -> Result<SyncReport, StoreError> {
    let transaction = store.begin_durable().await?;
    adopt_groups(&transaction, config, now).await?;
    let listing = super::groups::listing(&transaction, config).await?;
    let mut current: HashMap<Key, StoredEndpoint> =
        store::endpoints::list_current(&transaction).await?.into_iter().map(|stored| (key(&stored), stored)).collect();
    let mut report = SyncReport::default();
    let mut recount = HashSet::new();
    for wanted in &config.endpoints {
        let wanted_key = (wanted.endpoint.group.clone(), wanted.endpoint.name.clone());
        let source = Some(format!("{}:{}", wanted.source.file, wanted.source.line));
        match current.remove(&wanted_key) {
            Some(stored) if is_as_wanted(&stored, wanted, source.as_deref()) => {}
            Some(stored) => {
                let update = update_to(&stored, wanted, source, &listing, now, &mut recount);
                let action = if stored.origin == Origin::Api {
                    report.adopted += 1;
                    "endpoint.adopt"
                } else if stored.settings == wanted.settings {
                    // Only its line moved.
                    "endpoint.move"
                } else {
                    report.changed += 1;
                    "endpoint.update"
                };
                store::endpoints::update(&transaction, stored.id, update, now).await?;
                if action != "endpoint.move" {
                    note(&transaction, action, stored.id, &wanted_key, now).await?;
                }
            }
            None => match store::endpoints::find_archived(&transaction, &wanted_key.0, &wanted_key.1).await? {
                Some(stored) => {
                    let update = EndpointUpdate {
                        scheduled_from: now,
                        ..update_to(&stored, wanted, source, &listing, now, &mut recount)
                    };
                    store::endpoints::unarchive(&transaction, stored.id, update, now).await?;
                    report.returned += 1;
                    note(&transaction, "endpoint.return", stored.id, &wanted_key, now).await?;
                }
                None => {
                    let settings = wanted.settings.clone();
                    let new = NewEndpoint { settings, origin: Origin::Config, source, paused: false, now };
                    let stored = store::endpoints::insert(&transaction, new).await?;
                    report.added += 1;
                    note(&transaction, "endpoint.create", stored.id, &wanted_key, now).await?;
                }
            },
        }
    }
    for (gone_key, stored) in current.into_iter().filter(|(_, stored)| stored.origin == Origin::Config) {
        store::endpoints::archive(&transaction, stored.id, now).await?;
        report.archived += 1;
        note(&transaction, "endpoint.archive", stored.id, &gone_key, now).await?;
    }
    start_counters_again(&transaction, &recount).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(report)
}

/// Forgets the groups made through the API whose names the file takes: they are the file's now.
async fn adopt_groups(db: &impl store::ConnectionTrait, config: &Config, now: Timestamp) -> Result<(), StoreError> {
    let listing = Listing::of(config);
    for (name, group) in store::groups::list(db).await? {
        if config.groups.contains_key(&name) {
            store::groups::delete(db, &name).await?;
            let before = Some(super::groups::audited(&listing, &name, &group));
            let row = audit::AuditEntry { before, ..row("group.adopt", format!("group/{name}"), now) };
            audit::append(db, row).await?;
        }
    }
    Ok(())
}

/// Forgets the channels made through the API whose names the file takes: they are the file's now.
pub(super) async fn adopt_channels(
    store: &Store,
    listing: &Listing,
    adopted: &[StoredChannel],
    now: Timestamp,
) -> Result<(), StoreError> {
    let transaction = store.begin_durable().await?;
    for StoredChannel { name, settings, .. } in adopted {
        store::channels::delete(&transaction, name).await?;
        let before = Some(super::channels::audited(settings));
        let row = audit::AuditEntry { before, ..row("channel.adopt", format!("channel/{name}"), now) };
        audit::append(&transaction, row).await?;
    }
    transaction.commit().await.map_err(StoreError::from)?;
    for StoredChannel { name, .. } in adopted {
        let source = listing.channel(name).and_then(|channel| channel.source.as_deref());
        tracing::warn!(
            channel = name,
            source,
            "the configuration has the channel {name} now: what was set of it through the API is removed"
        );
    }
    Ok(())
}

fn is_as_wanted(stored: &StoredEndpoint, wanted: &ConfiguredEndpoint, source: Option<&str>) -> bool {
    stored.origin == Origin::Config && stored.settings == wanted.settings && stored.source.as_deref() == source
}

fn update_to(
    stored: &StoredEndpoint,
    wanted: &ConfiguredEndpoint,
    source: Option<String>,
    listing: &Listing,
    now: Timestamp,
    recount: &mut HashSet<EndpointId>,
) -> EndpointUpdate {
    let layers = listing.layers_of(Origin::Config, &wanted.endpoint.group).of_any_channel();
    let before = resolve(&stored.settings, layers, now).ok();
    let after = resolve(&wanted.settings, layers, now).unwrap_or_else(|_| wanted.endpoint.clone());
    let aftermath = before.map(|before| Aftermath::of((&before, stored.paused), (&after, stored.paused)));
    // Of one that fitted nothing any more, nothing is known.
    let aftermath = aftermath.unwrap_or(Aftermath { reschedule: true, recount: true });
    if aftermath.recount {
        recount.insert(stored.id);
    }
    EndpointUpdate {
        settings: wanted.settings.clone(),
        origin: Origin::Config,
        source,
        paused: stored.paused,
        scheduled_from: if aftermath.reschedule { now } else { stored.scheduled_from },
        expected_revision: None,
    }
}

/// An edit that changes what is checked starts the counters again but keeps the status.
async fn start_counters_again(db: &impl store::ConnectionTrait, ids: &HashSet<EndpointId>) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    let states = store::states::list(db).await?;
    let again: Vec<_> =
        states.into_iter().filter(|(id, _)| ids.contains(id)).map(|(id, state)| (id, state.recounted())).collect();
    store::states::upsert_many(db, &again).await
}

async fn note(
    db: &impl store::ConnectionTrait,
    action: &str,
    id: EndpointId,
    (group, name): &Key,
    now: Timestamp,
) -> Result<(), StoreError> {
    let after = Some(serde_json::json!({ "name": name, "group": group }));
    audit::append(db, audit::AuditEntry { after, ..row(action, format!("endpoint/{id}"), now) }).await
}

fn row(action: &str, subject: String, now: Timestamp) -> audit::AuditEntry {
    audit::AuditEntry {
        at: now,
        actor: "config".to_owned(),
        address: None,
        action: action.to_owned(),
        subject,
        result: "ok".to_owned(),
        before: None,
        after: None,
    }
}
