//! Reading incidents, with what was told of them, and what people do with them: acknowledge, note, resolve.
//!
//! The recorder alone changes what the machine remembers. So acknowledging and resolving are asked of it; the change,
//! its row in the audit log and what is told of it are one transaction there.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

use super::context::{Actor, ServiceContext, detached_change};
use super::error::{Conflict, FieldError, ServiceError};
use super::why::{held_by_grouping, held_of_incident};
use crate::domain::endpoint::EndpointId;
use crate::domain::incident::OpenIncident;
use crate::domain::role::Role;
use crate::domain::suppression::Held;
use crate::events::{Decided, Decider, Decision, IncidentRequest, Undecidable};
pub use crate::store::incidents::{
    Acknowledgement, IncidentEvent, IncidentEventKind, IncidentQuery, Resolution, StoredIncident,
};
use crate::store::outbox::{self, NotificationQuery, StoredNotification, WaitsForDigest};
use crate::store::{ConnectionTrait, StoreError, audit, endpoints, incidents};

/// Notifications shown with one incident, the newest.
const MOST_NOTIFICATIONS: u64 = 1_000;

/// Notes of one incident. One more is refused.
const MOST_NOTES: u64 = 1_000;

/// The longest note, in characters.
const LONGEST_NOTE: usize = 2_000;

/// How long a decision waits for the recorder to have it committed.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// An incident and the name of its endpoint.
#[derive(Debug)]
pub struct NamedIncident {
    pub incident: StoredIncident,
    /// Group and name; `None` when the endpoint was purged.
    pub endpoint: Option<(String, String)>,
    /// What the machine remembers of it while it is open.
    pub live: Option<OpenIncident>,
    /// What keeps its recovery back, or, while it is down, its reminders, or, while nobody was told, that it is down; else
    /// the digest that something of it waits for.
    pub held: Option<Held>,
}

impl NamedIncident {
    /// `waiting`: for digests, of any endpoint.
    fn new(
        ctx: &ServiceContext,
        incident: StoredIncident,
        endpoint: Option<(String, String)>,
        waiting: &[WaitsForDigest],
    ) -> Self {
        let entry = ctx.board.get(incident.endpoint_id);
        let is_meant = |open: &OpenIncident| open.started_at == incident.started_at && incident.resolved_at.is_none();
        let entry = entry.filter(|entry| entry.live.state.incident.as_ref().is_some_and(is_meant));
        let held = entry.as_ref().and_then(|entry| held_of_incident(ctx, entry));
        let live = entry.and_then(|entry| entry.live.state.incident.clone());
        let now = ctx.clock.now();
        let of_it = |waits: &&WaitsForDigest| waits.incident == Some(incident.id);
        let grouped = || waiting.iter().filter(of_it).find_map(|waits| held_by_grouping(waits, now));
        let held = held.or_else(grouped);
        Self { incident, endpoint, live, held }
    }
}

/// An incident with all that happened in it.
#[derive(Debug)]
pub struct IncidentDetail {
    pub named: NamedIncident,
    /// Oldest first.
    pub events: Vec<IncidentEvent>,
    /// Oldest first; of very many the newest.
    pub notifications: Vec<StoredNotification>,
}

/// A page of incidents, newest first, and how many there are on all pages.
///
/// # Errors
/// `Store`.
pub async fn list(ctx: &ServiceContext, query: &IncidentQuery) -> Result<(Vec<NamedIncident>, u64), ServiceError> {
    let db = ctx.store.snapshot().await.map_err(ServiceError::Store)?;
    let found = incidents::list(&db, query).await.map_err(ServiceError::Store)?;
    let total = incidents::count(&db, query).await.map_err(ServiceError::Store)?;
    let endpoints: BTreeSet<_> = found.iter().map(|incident| incident.endpoint_id).collect();
    let endpoints: Vec<_> = endpoints.into_iter().collect();
    let waiting = outbox::waiting_for_digests(&db, &endpoints).await.map_err(ServiceError::Store)?;
    let mut endpoint_keys = Names::default();
    let mut named = Vec::with_capacity(found.len());
    for incident in found {
        let endpoint = endpoint_keys.of(ctx, &db, incident.endpoint_id).await.map_err(ServiceError::Store)?;
        named.push(NamedIncident::new(ctx, incident, endpoint, &waiting));
    }
    Ok((named, total))
}

/// An incident by its id.
///
/// # Errors
/// `NotFound`, `Store`.
pub async fn get(ctx: &ServiceContext, id: i64) -> Result<IncidentDetail, ServiceError> {
    let db = ctx.store.snapshot().await.map_err(ServiceError::Store)?;
    let incident = incidents::find(&db, id).await.map_err(ServiceError::Store)?;
    let incident = incident.ok_or_else(|| ServiceError::NotFound(format!("incident {id}")))?;
    let events = incidents::events(&db, &[id]).await.map_err(ServiceError::Store)?;
    let query = NotificationQuery { incident: Some(id), limit: MOST_NOTIFICATIONS, ..NotificationQuery::default() };
    let mut notifications = outbox::list(&db, &query).await.map_err(ServiceError::Store)?;
    notifications.reverse();
    let endpoint = Names::default().of(ctx, &db, incident.endpoint_id).await.map_err(ServiceError::Store)?;
    let waiting = outbox::waiting_for_digests(&db, &[incident.endpoint_id]).await.map_err(ServiceError::Store)?;
    let named = NamedIncident::new(ctx, incident, endpoint, &waiting);
    Ok(IncidentDetail { named, events, notifications })
}

/// Somebody looks after an open incident: reminders and escalation are kept back, for so long or for as long as the
/// policy says. Whoever was told of it is told.
///
/// # Errors
/// `Forbidden`, `Invalid`, `NotFound`, `Conflict` when it is over, `Unavailable`, `Store`.
pub async fn acknowledge(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    id: i64,
    note: Option<String>,
    wanted: Option<Duration>,
) -> Result<IncidentDetail, ServiceError> {
    actor.require(Role::Operator)?;
    let mut wrong = check_note(note.as_deref());
    let in_range = Duration::from_mins(1)..=Duration::from_hours(30 * 24);
    if wanted.is_some_and(|wanted| !in_range.contains(&wanted)) {
        wrong.push(FieldError::at("/for", "out_of_range", "must be 1 min to 30 days"));
    }
    if !wrong.is_empty() {
        return Err(ServiceError::Invalid(wrong));
    }
    decide_by_recorder(ctx, actor, id, Decision::Acknowledge { note, wanted }, "incident.acknowledge").await
}

/// Ends an incident whose checks are good again, though its recovery is held or not confirmed yet. Whoever was told of
/// it is told.
///
/// # Errors
/// `Forbidden`, `Invalid`, `NotFound`, `Conflict` when it is over or its checks fail, `Unavailable`, `Store`.
pub async fn resolve(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    id: i64,
    note: Option<String>,
) -> Result<IncidentDetail, ServiceError> {
    actor.require(Role::Operator)?;
    let wrong = check_note(note.as_deref());
    if !wrong.is_empty() {
        return Err(ServiceError::Invalid(wrong));
    }
    decide_by_recorder(ctx, actor, id, Decision::Resolve { note }, "incident.resolve").await
}

/// Writes something down in the timeline of an incident, open or not. Nobody is told.
///
/// # Errors
/// `Forbidden`, `Invalid`, `NotFound`, `Conflict` when it has its share of notes, `Store`.
pub async fn note(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    id: i64,
    note: String,
) -> Result<IncidentDetail, ServiceError> {
    actor.require(Role::Operator)?;
    let wrong = check_note(Some(&note));
    if !wrong.is_empty() {
        return Err(ServiceError::Invalid(wrong));
    }
    let (work, actor) = (Arc::clone(ctx), actor.clone());
    detached_change(ctx, async move {
        let now = work.clock.now();
        let subject = format!("incident/{id}");
        let transaction = work.store.begin_durable().await.map_err(ServiceError::Store)?;
        if incidents::find(&transaction, id).await.map_err(ServiceError::Store)?.is_none() {
            return Err(ServiceError::NotFound(format!("incident {id}")));
        }
        let kind = IncidentEventKind::Noted;
        if incidents::count_events(&transaction, id, kind).await.map_err(ServiceError::Store)? >= MOST_NOTES {
            return Err(ServiceError::Conflict(Conflict::TooManyNotes { id, most: MOST_NOTES }));
        }
        let mut row = actor.audit_row(now, "incident.note", subject.clone());
        row.after = Some(json!({"note": note}));
        let (actor_name, note) = (Some(actor.name.clone()), Some(note));
        let event = IncidentEvent { incident_id: id, at: now, kind, failure: None, actor: actor_name, note };
        incidents::add_event(&transaction, &event).await.map_err(ServiceError::Store)?;
        audit::append(&transaction, row).await.map_err(ServiceError::Store)?;
        transaction.commit().await.map_err(|error| ServiceError::Store(error.into()))?;
        work.announce(&actor, "incident.note", &subject);
        get(&work, id).await
    })
    .await
}

fn check_note(note: Option<&str>) -> Vec<FieldError> {
    let Some(note) = note else { return Vec::new() };
    let mut wrong = Vec::new();
    if note.trim().is_empty() {
        wrong.push(FieldError::at("/note", "invalid", "must not be blank"));
    }
    if note.chars().count() > LONGEST_NOTE {
        wrong.push(FieldError::at("/note", "out_of_range", format!("too long: at most {LONGEST_NOTE} characters")));
    }
    if note.contains('\0') {
        wrong.push(FieldError::at("/note", "invalid", "must not contain a NUL character"));
    }
    wrong
}

async fn decide_by_recorder(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    id: i64,
    decision: Decision,
    action: &str,
) -> Result<IncidentDetail, ServiceError> {
    if let Some(away) = ctx.metrics.database.away() {
        // What is refused must not happen later all the same.
        return Err(ServiceError::Store(StoreError::Unavailable(away.why)));
    }
    let incident = incidents::find(ctx.store.readers(), id).await.map_err(ServiceError::Store)?;
    let incident = incident.ok_or_else(|| ServiceError::NotFound(format!("incident {id}")))?;
    if incident.resolved_at.is_some() {
        return Err(ServiceError::Conflict(Conflict::IncidentOver { id }));
    }
    let (reply, answer) = oneshot::channel();
    let by = Decider { name: actor.name.clone(), address: actor.address.map(|address| address.to_string()) };
    let StoredIncident { endpoint_id, started_at, .. } = incident;
    ctx.decisions.try_send(IncidentRequest { endpoint_id, started_at, decision, by, reply }).map_err(|e| {
        ServiceError::Unavailable(
            match e {
                TrySendError::Full(_) => "Too many people decide about incidents: try again in a moment",
                TrySendError::Closed(_) => "The monitor is stopping",
            }
            .to_owned(),
        )
    })?;
    match tokio::time::timeout(MAX_WAIT, answer).await {
        Ok(Ok(Ok(Decided { stored: true }))) => {
            ctx.announce(actor, action, &format!("incident/{id}"));
            get(ctx, id).await
        }
        Ok(Ok(Ok(Decided { stored: false }))) | Err(_) => Err(ServiceError::Unavailable(
            "It was done, but the database takes long: it is written once the database answers".to_owned(),
        )),
        Ok(Ok(Err(Undecidable::NotOpen))) => Err(ServiceError::Conflict(Conflict::IncidentOver { id })),
        Ok(Ok(Err(Undecidable::ChecksFail))) => Err(ServiceError::Conflict(Conflict::ChecksFail { id })),
        Ok(Err(_)) => Err(ServiceError::Unavailable("The monitor is stopping".to_owned())),
    }
}

/// The groups and names of endpoints, those of archived ones too, each looked up once.
#[derive(Default)]
struct Names(HashMap<EndpointId, Option<(String, String)>>);

impl Names {
    async fn of(
        &mut self,
        ctx: &ServiceContext,
        db: &impl ConnectionTrait,
        id: EndpointId,
    ) -> Result<Option<(String, String)>, StoreError> {
        if let Some(known) = self.0.get(&id) {
            return Ok(known.clone());
        }
        let name = match ctx.board.get(id) {
            Some(entry) => Some((entry.known.endpoint.group.clone(), entry.known.endpoint.name.clone())),
            None => {
                let stored = endpoints::find(db, id).await?.filter(|stored| stored.purge_at.is_none());
                stored.and_then(|stored| {
                    let settings = stored.settings;
                    Some((settings.group.unwrap_or_default(), settings.name?))
                })
            }
        };
        self.0.insert(id, name.clone());
        Ok(name)
    }
}
