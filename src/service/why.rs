//! Why nobody is told: whatever keeps messages about an endpoint back at this moment, and who would be told, how soon.

pub mod beside;
mod words;

use std::collections::HashSet;
use std::sync::Arc;

use self::words::Seen;
use super::context::ServiceContext;
use super::error::ServiceError;
use crate::board::Entry;
use crate::domain::Timestamp;
use crate::domain::endpoint::EndpointId;
use crate::domain::incident::OpenIncident;
use crate::domain::notification::Routing;
use crate::domain::promise::{self, Promise};
use crate::domain::suppression::{Facts, Held, Hold, Matter, Suppressor, decide, every};
use crate::store::incidents::IncidentQuery;
use crate::store::outbox::{self, NotificationQuery, StoredNotification, ToldOf, WaitsForDigest};
use crate::store::{StoreError, incidents};

/// Notifications shown, the newest.
const LATELY: u64 = 10;

/// Something that keeps messages back now.
#[derive(Debug)]
pub struct Holding {
    pub held: Held,
    /// Which messages.
    pub holds_back: &'static [Matter],
    /// Why, in one sentence.
    pub reason: String,
}

/// The whole answer.
#[derive(Debug)]
pub struct WhyNotTold {
    pub entry: Entry,
    /// Whether an outage that is confirmed at this moment would be told; of one that is open: whether it was told.
    pub is_told: bool,
    /// All of it in one or a few sentences.
    pub sentence: String,
    /// Who would be told of an outage, were nothing in the way.
    pub channels: Vec<String>,
    pub promise: Promise,
    /// In the order in which they apply. What waits for digests is among them as far as the database says so.
    pub holds: Vec<Holding>,
    /// The channels that were told of the open incident or are about to be, each once. `None`: the database does not
    /// answer.
    pub told: Option<Vec<String>>,
    /// The number of the open incident; `None` also while the database does not answer.
    pub incident: Option<i64>,
    /// Newest first. `None`: the database does not answer.
    pub lately: Option<Vec<StoredNotification>>,
}

/// All that keeps messages about an endpoint back at `now`: the one place where what is known of it is gathered for
/// whoever asks. The recorder decides by the same facts.
pub fn facts_of(ctx: &ServiceContext, entry: &Entry, now: Timestamp) -> Facts {
    let listing = ctx.directory.get();
    let routing = listing.routing();
    // What the board shows of windows and silences is up to a second old.
    let (shown, quiet) = (entry.facts(), ctx.quiet.facts(&entry.known, now));
    let around = Facts {
        notifications_disabled: !routing.enabled,
        no_channels: route_of(routing, entry).is_empty(),
        paused: !entry.known.is_checked(),
        start_grace: ctx.board.start_grace(),
        maintenance: quiet.maintenance.or(shown.maintenance),
        silence: quiet.silence,
        ..shown
    };
    entry.live.state.facts(&around)
}

/// What keeps back what would be told next of an open incident: that it is over, that it has begun, or that it goes on.
pub(super) fn held_of_incident(ctx: &ServiceContext, entry: &Entry) -> Option<Held> {
    let now = ctx.clock.now();
    let open = entry.live.state.incident.as_ref()?;
    let facts = facts_of(ctx, entry, now);
    if open.held.is_some() {
        // Whoever was told of it is told of its end, whatever the route is now.
        return decide(Matter::Recovery, &Facts { no_channels: !open.is_told, ..facts }, now);
    }
    if open.is_told {
        return decide(Matter::Reminder, &facts, now);
    }
    // What keeps an incident from opening does not keep an open one back.
    let mut of_it = every(&facts, now).filter(|(_, matters)| matters.contains(&Matter::Opening));
    of_it.find(|(held, _)| !held.by.opens_nothing() || held.by == Suppressor::MaintenanceWindow).map(|(held, _)| held)
}

fn route_of(routing: &Routing, entry: &Entry) -> Vec<String> {
    let endpoint = &entry.known.endpoint;
    routing.channels_for(endpoint.notify.as_deref(), endpoint.severity)
}

/// Whether an outage of an endpoint would be told now, to whom, and what keeps it back if not.
///
/// # Errors
/// `NotFound`.
pub async fn why_not_told(ctx: &Arc<ServiceContext>, id: EndpointId) -> Result<WhyNotTold, ServiceError> {
    let entry = ctx.board.get(id).ok_or_else(|| ServiceError::NotFound(format!("endpoint {id}")))?;
    let now = ctx.clock.now();
    let facts = facts_of(ctx, &entry, now);
    let listing = ctx.directory.get();
    let channels = route_of(listing.routing(), &entry);
    let incident = entry.live.state.incident.as_ref();
    let holds: Vec<Holding> = every(&facts, now)
        // That nobody is to be told is one thing, and is said by one.
        .filter(|(held, _)| held.by != Suppressor::NobodyWasTold)
        .map(|(held, holds_back)| {
            let reason = words::reason(ctx, &entry, &held);
            Holding { held, holds_back, reason }
        })
        .collect();
    let first = holds.iter().find(|holding| holding.holds_back.contains(&Matter::Opening));
    let stored = stored(ctx, id, incident.is_some()).await.unwrap_or_else(|error| {
        tracing::debug!(%error, "what was told lately cannot be read");
        Stored::default()
    });
    let Stored { incident, told, untold, lately, waiting } = stored;
    let is_to_come = |waits: &&WaitsForDigest| waits.is_outage() && untold.contains(&waits.channel);
    let to_come: Vec<&WaitsForDigest> = waiting.iter().filter(is_to_come).collect();
    // What the machine believes to be told may have had nobody to tell it to, and what waits is not told yet.
    let was_told = |open: &OpenIncident| told.as_ref().map_or(open.is_told, |told| told.len() > untold.len());
    let is_told = entry.live.state.incident.as_ref().map_or(first.is_none(), was_told);
    let of_digests = grouping(&waiting, now).map(|(held, waits)| {
        let reason = words::waits(waits);
        Holding { held, holds_back: Matter::ALL, reason }
    });
    let holds: Vec<Holding> = holds.into_iter().chain(of_digests).collect();
    let promise = promise::of(&entry.known.endpoint, now);
    let sentence = words::sentence(&Seen {
        entry: &entry,
        holds: &holds,
        channels: &channels,
        is_told,
        told: told.as_deref(),
        to_come: &to_come,
        promise,
        now,
    });
    Ok(WhyNotTold { entry, is_told, sentence, channels, promise, holds, told, incident, lately })
}

/// What the database says of it.
#[derive(Debug, Default)]
struct Stored {
    incident: Option<i64>,
    told: Option<Vec<String>>,
    /// Of these, those that have heard nothing of it yet.
    untold: Vec<String>,
    lately: Option<Vec<StoredNotification>>,
    waiting: Vec<WaitsForDigest>,
}

async fn stored(ctx: &ServiceContext, id: EndpointId, is_open: bool) -> Result<Stored, StoreError> {
    if let Some(away) = ctx.metrics.database.away() {
        return Err(StoreError::Unavailable(away.why));
    }
    let db = ctx.store.snapshot().await?;
    let query = NotificationQuery { endpoint: Some(id), limit: LATELY, ..NotificationQuery::default() };
    let lately = outbox::list(&db, &query).await?;
    let query = IncidentQuery { endpoint: Some(id), open: Some(true), limit: 1, ..IncidentQuery::default() };
    let open = if is_open { incidents::list(&db, &query).await? } else { Vec::new() };
    let incident = open.first().map(|incident| incident.id);
    let ToldOf { channels, waiting: untold, .. } = match incident {
        Some(open) => outbox::told_of(&db, &[open]).await?.remove(&open).unwrap_or_default(),
        None => ToldOf::default(),
    };
    let waiting = outbox::waiting_for_digests(&db, &[id]).await?;
    Ok(Stored { incident, told: Some(channels), untold, lately: Some(lately), waiting })
}

/// What grouping keeps back: of each channel the message that waits longest.
fn grouping(waiting: &[WaitsForDigest], now: Timestamp) -> impl Iterator<Item = (Held, &WaitsForDigest)> {
    let mut channels = HashSet::new();
    waiting.iter().filter_map(move |waits| {
        let held = held_by_grouping(waits, now)?;
        channels.insert(waits.channel.as_str()).then_some((held, waits))
    })
}

/// `None`: the digest goes out at this moment.
pub(super) fn held_by_grouping(waits: &WaitsForDigest, now: Timestamp) -> Option<Held> {
    let grouping = Some(Hold { name: waits.channel.clone(), until: Some(waits.until) });
    decide(Matter::of(waits.event), &Facts { grouping, ..Facts::default() }, now)
}
