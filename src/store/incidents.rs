//! `incidents` and `incident_events`: confirmed outages and what happened in each. Written by the recorder, in the
//! transaction of the results that caused it.

use std::collections::{BTreeMap, HashMap};

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ActiveValue, ColumnTrait, ConnectionTrait, EntityTrait, Order, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, Select,
};

use super::entities::{incident_events, incidents as table};
use super::{StoreError, decode, dialect};
use crate::domain::endpoint::EndpointId;
use crate::domain::notification::Severity;
use crate::domain::outcome::{Failure, words};
use crate::domain::{Timestamp, from_micros, micros};

words! {
    /// How an incident ended.
    pub enum Resolution {
        /// The endpoint was good again.
        Recovered = "recovered",
        /// It was paused or removed.
        NoLongerMonitored = "no_longer_monitored",
        /// Somebody ended it, while its checks were good.
        ByHand = "by_hand",
    }
}

words! {
    /// What happened in an incident.
    pub enum IncidentEventKind {
        Opened = "opened",
        /// Open again, after its recovery was told.
        Reopened = "reopened",
        /// Down again, while its recovery was held.
        DownAgain = "down_again",
        CauseChanged = "cause_changed",
        /// Good again; the recovery is held for the cooldown.
        RecoveryHeld = "recovery_held",
        /// A parent keeps what is to be told back.
        KeptBack = "kept_back",
        Reminded = "reminded",
        /// What was kept back until now was told.
        Told = "told",
        /// It goes up and down.
        Flapping = "flapping",
        /// It was flapping, and stays down.
        StaysDown = "stays_down",
        /// Others were told.
        Escalated = "escalated",
        Acknowledged = "acknowledged",
        /// Its time is up.
        AcknowledgementEnded = "acknowledgement_ended",
        /// A maintenance window has opened: until it is over this is no time down.
        MaintenanceBegan = "maintenance_began",
        MaintenanceEnded = "maintenance_ended",
        /// Somebody wrote something down.
        Noted = "noted",
        Resolved = "resolved",
        NoLongerMonitored = "no_longer_monitored",
    }
}

impl IncidentEventKind {
    /// Whether a time down begins with it.
    fn begins_down(self) -> bool {
        matches!(self, Self::Opened | Self::Reopened | Self::DownAgain | Self::MaintenanceEnded)
    }

    /// Whether a time down ends with it.
    fn ends_down(self) -> bool {
        matches!(self, Self::RecoveryHeld | Self::Resolved | Self::NoLongerMonitored | Self::MaintenanceBegan)
    }
}

/// An incident as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredIncident {
    pub id: i64,
    pub endpoint_id: EndpointId,
    pub started_at: Timestamp,
    pub opened_at: Timestamp,
    pub resolved_at: Option<Timestamp>,
    pub resolution: Option<Resolution>,
    /// The newest.
    pub cause: Failure,
    pub severity: Severity,
    /// The newest.
    pub acknowledgement: Option<Acknowledgement>,
}

/// Somebody looks, or looked, after an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    pub by: String,
    pub at: Timestamp,
    pub until: Timestamp,
    pub note: Option<String>,
}

/// One entry of an incident's timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentEvent {
    pub incident_id: i64,
    pub at: Timestamp,
    pub kind: IncidentEventKind,
    pub failure: Option<Failure>,
    /// Who did it, if somebody did.
    pub actor: Option<String>,
    /// What they wrote. Not beside a failure.
    pub note: Option<String>,
}

/// A time in which an endpoint was down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownSpan {
    pub incident_id: i64,
    pub start: Timestamp,
    /// `None`: it still is.
    pub end: Option<Timestamp>,
}

/// Opens an incident, or opens it again if the endpoint has one that started then; returns its id. A new one has the
/// given id, which the caller has from [`newest_id`] on. The ids are the caller's alone: those that the database would
/// give are used by nobody.
pub async fn open(
    db: &impl ConnectionTrait,
    id: i64,
    endpoint: EndpointId,
    started_at: Timestamp,
    opened_at: Timestamp,
    cause: &Failure,
    severity: Severity,
) -> Result<i64, StoreError> {
    if let Some(id) = find_id(db, endpoint, started_at).await? {
        update(id)
            .col_expr(table::Column::ResolvedAt, Expr::value(None::<i64>))
            .col_expr(table::Column::Resolution, Expr::value(None::<String>))
            .col_expr(table::Column::FailureKind, Expr::value(cause.kind.as_str()))
            .col_expr(table::Column::FailureMessage, Expr::value(cause.message.clone()))
            .col_expr(table::Column::AcknowledgedBy, Expr::value(None::<String>))
            .col_expr(table::Column::AcknowledgedAt, Expr::value(None::<i64>))
            .col_expr(table::Column::AcknowledgedUntil, Expr::value(None::<i64>))
            .col_expr(table::Column::AcknowledgementNote, Expr::value(None::<String>))
            .exec(db)
            .await?;
        return Ok(id);
    }
    let row = table::ActiveModel {
        id: ActiveValue::Set(id),
        endpoint_id: ActiveValue::Set(endpoint.0),
        started_at: ActiveValue::Set(micros(started_at)),
        opened_at: ActiveValue::Set(micros(opened_at)),
        resolved_at: ActiveValue::Set(None),
        resolution: ActiveValue::Set(None),
        failure_kind: ActiveValue::Set(cause.kind.to_string()),
        failure_message: ActiveValue::Set(cause.message.clone()),
        severity: ActiveValue::Set(severity.to_string()),
        acknowledged_by: ActiveValue::Set(None),
        acknowledged_at: ActiveValue::Set(None),
        acknowledged_until: ActiveValue::Set(None),
        acknowledgement_note: ActiveValue::Set(None),
    };
    table::Entity::insert(row).exec_without_returning(db).await?;
    dialect::note_given_id(db, "incidents", id).await?;
    Ok(id)
}

/// The largest id that any incident has or had, as far as the database knows; 0 without any.
pub async fn newest_id(db: &impl ConnectionTrait) -> Result<i64, StoreError> {
    let newest: Option<Option<i64>> =
        table::Entity::find().select_only().column_as(table::Column::Id.max(), "newest").into_tuple().one(db).await?;
    let given = dialect::last_given_id(db, "incidents").await?;
    Ok(std::cmp::max(newest.flatten().unwrap_or_default(), given))
}

/// The ids of the incidents of these endpoints that started at these instants.
pub async fn ids_of(
    db: &impl ConnectionTrait,
    wanted: &[(EndpointId, Timestamp)],
) -> Result<Vec<(EndpointId, Timestamp, i64)>, StoreError> {
    let mut found = Vec::new();
    for chunk in wanted.chunks(500) {
        let rows: Vec<(i64, i64, i64)> = table::Entity::find()
            .select_only()
            .columns([table::Column::EndpointId, table::Column::StartedAt, table::Column::Id])
            .filter(table::Column::EndpointId.is_in(chunk.iter().map(|(id, _)| id.0)))
            .filter(table::Column::StartedAt.is_in(chunk.iter().map(|(_, at)| micros(*at))))
            .into_tuple()
            .all(db)
            .await?;
        let of_chunk = rows.into_iter().map(|(endpoint, at, id)| (EndpointId(endpoint), from_micros(at), id));
        found.extend(of_chunk.filter(|(endpoint, at, _)| chunk.contains(&(*endpoint, *at))));
    }
    Ok(found)
}

fn update(id: i64) -> sea_orm::UpdateMany<table::Entity> {
    table::Entity::update_many().filter(table::Column::Id.eq(id))
}

/// The id of the incident of an endpoint that started then.
pub async fn find_id(
    db: &impl ConnectionTrait,
    endpoint: EndpointId,
    started_at: Timestamp,
) -> Result<Option<i64>, StoreError> {
    Ok(table::Entity::find()
        .select_only()
        .column(table::Column::Id)
        .filter(table::Column::EndpointId.eq(endpoint.0))
        .filter(table::Column::StartedAt.eq(micros(started_at)))
        .into_tuple::<i64>()
        .one(db)
        .await?)
}

/// Ends an incident.
pub async fn resolve(
    db: &impl ConnectionTrait,
    id: i64,
    resolved_at: Timestamp,
    resolution: Resolution,
) -> Result<(), StoreError> {
    update(id)
        .col_expr(table::Column::ResolvedAt, Expr::value(micros(resolved_at)))
        .col_expr(table::Column::Resolution, Expr::value(resolution.as_str()))
        .exec(db)
        .await?;
    Ok(())
}

/// Sets the newest acknowledgement.
pub async fn acknowledge(
    db: &impl ConnectionTrait,
    id: i64,
    acknowledgement: &Acknowledgement,
) -> Result<(), StoreError> {
    let Acknowledgement { by, at, until, note } = acknowledgement;
    update(id)
        .col_expr(table::Column::AcknowledgedBy, Expr::value(by.clone()))
        .col_expr(table::Column::AcknowledgedAt, Expr::value(micros(*at)))
        .col_expr(table::Column::AcknowledgedUntil, Expr::value(micros(*until)))
        .col_expr(table::Column::AcknowledgementNote, Expr::value(note.clone()))
        .exec(db)
        .await?;
    Ok(())
}

/// Sets the newest cause.
pub async fn set_cause(db: &impl ConnectionTrait, id: i64, cause: &Failure) -> Result<(), StoreError> {
    update(id)
        .col_expr(table::Column::FailureKind, Expr::value(cause.kind.as_str()))
        .col_expr(table::Column::FailureMessage, Expr::value(cause.message.clone()))
        .exec(db)
        .await?;
    Ok(())
}

/// How many entries of a kind an incident's timeline has.
pub async fn count_events(
    db: &impl ConnectionTrait,
    incident: i64,
    kind: IncidentEventKind,
) -> Result<u64, StoreError> {
    Ok(incident_events::Entity::find()
        .filter(incident_events::Column::IncidentId.eq(incident))
        .filter(incident_events::Column::Kind.eq(kind.as_str()))
        .count(db)
        .await?)
}

/// Adds an entry to an incident's timeline.
pub async fn add_event(db: &impl ConnectionTrait, event: &IncidentEvent) -> Result<(), StoreError> {
    incident_events::Entity::insert(incident_events::ActiveModel {
        id: ActiveValue::NotSet,
        incident_id: ActiveValue::Set(event.incident_id),
        at: ActiveValue::Set(micros(event.at)),
        kind: ActiveValue::Set(event.kind.to_string()),
        failure_kind: ActiveValue::Set(event.failure.as_ref().map(|f| f.kind.to_string())),
        message: ActiveValue::Set(event.failure.as_ref().map(|f| f.message.clone()).or_else(|| event.note.clone())),
        actor: ActiveValue::Set(event.actor.clone()),
    })
    .exec_without_returning(db)
    .await?;
    Ok(())
}

/// Which incidents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IncidentQuery {
    pub endpoint: Option<EndpointId>,
    /// Open ones, or resolved ones.
    pub open: Option<bool>,
    /// Those not over before this.
    pub from: Option<Timestamp>,
    /// Those begun before this.
    pub to: Option<Timestamp>,
    /// By their beginning; else the newest first.
    pub is_oldest_first: bool,
    pub limit: u64,
    pub offset: u64,
}

fn matching(query: &IncidentQuery) -> Select<table::Entity> {
    let mut select = table::Entity::find();
    if let Some(endpoint) = query.endpoint {
        select = select.filter(table::Column::EndpointId.eq(endpoint.0));
    }
    match query.open {
        Some(true) => select = select.filter(table::Column::ResolvedAt.is_null()),
        Some(false) => select = select.filter(table::Column::ResolvedAt.is_not_null()),
        None => {}
    }
    if let Some(from) = query.from {
        select = select.filter(table::Column::ResolvedAt.is_null().or(table::Column::ResolvedAt.gte(micros(from))));
    }
    if let Some(to) = query.to {
        select = select.filter(table::Column::StartedAt.lt(micros(to)));
    }
    select
}

/// Incidents in the order that is asked for.
pub async fn list(db: &impl ConnectionTrait, query: &IncidentQuery) -> Result<Vec<StoredIncident>, StoreError> {
    let order = if query.is_oldest_first { Order::Asc } else { Order::Desc };
    matching(query)
        .order_by(table::Column::StartedAt, order.clone())
        .order_by(table::Column::Id, order)
        .offset(query.offset)
        .limit(query.limit)
        .all(db)
        .await?
        .into_iter()
        .map(read)
        .collect()
}

/// How many incidents there are, whatever `limit` and `offset` say.
pub async fn count(db: &impl ConnectionTrait, query: &IncidentQuery) -> Result<u64, StoreError> {
    Ok(matching(query).count(db).await?)
}

/// An incident by its id.
pub async fn find(db: &impl ConnectionTrait, id: i64) -> Result<Option<StoredIncident>, StoreError> {
    table::Entity::find_by_id(id).one(db).await?.map(read).transpose()
}

/// The timeline of incidents, oldest first.
pub async fn events(db: &impl ConnectionTrait, incidents: &[i64]) -> Result<Vec<IncidentEvent>, StoreError> {
    let mut events = Vec::new();
    // Far below the bind limits.
    for chunk in incidents.chunks(500) {
        let rows = incident_events::Entity::find()
            .filter(incident_events::Column::IncidentId.is_in(chunk.iter().copied()))
            .order_by(incident_events::Column::IncidentId, Order::Asc)
            .order_by(incident_events::Column::Id, Order::Asc)
            .all(db)
            .await?;
        for row in rows {
            events.push(read_event(row)?);
        }
    }
    Ok(events)
}

/// The times an endpoint was down that reach into a window, oldest first.
pub async fn down_spans(
    db: &impl ConnectionTrait,
    endpoint: EndpointId,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<DownSpan>, StoreError> {
    let query = IncidentQuery {
        endpoint: Some(endpoint),
        from: Some(from),
        to: Some(to),
        limit: 10_000,
        ..IncidentQuery::default()
    };
    let mut incidents: Vec<i64> = list(db, &query).await?.into_iter().map(|incident| incident.id).collect();
    incidents.reverse();
    let mut spans: Vec<DownSpan> = Vec::new();
    for event in events(db, &incidents).await? {
        follow(&mut spans, &event);
    }
    Ok(within(spans, from, to))
}

/// Takes the next event of a timeline into the times down. Those of an incident come one after the other.
fn follow(spans: &mut Vec<DownSpan>, event: &IncidentEvent) {
    let current = spans.last_mut().filter(|span| span.incident_id == event.incident_id && span.end.is_none());
    match current {
        Some(span) if event.kind.ends_down() => span.end = Some(event.at),
        None if event.kind.begins_down() => {
            spans.push(DownSpan { incident_id: event.incident_id, start: event.at, end: None });
        }
        _ => {}
    }
}

/// Those that reach into a window, oldest first.
fn within(mut spans: Vec<DownSpan>, from: Timestamp, to: Timestamp) -> Vec<DownSpan> {
    spans.retain(|span| span.start < to && span.end.is_none_or(|end| end > from));
    spans.sort_by_key(|span| span.start);
    spans
}

/// Incidents of many endpoints that are read at a time. Where there are more, each endpoint is read by itself.
const AT_ONCE: u64 = 20_000;

/// How many incidents of each of these endpoints reach into a window, and the times it was down in it, oldest first.
/// Endpoints without an incident are left out.
pub async fn of_many(
    db: &impl ConnectionTrait,
    endpoints: &[EndpointId],
    from: Timestamp,
    to: Timestamp,
) -> Result<BTreeMap<EndpointId, (u64, Vec<DownSpan>)>, StoreError> {
    let window = IncidentQuery { from: Some(from), to: Some(to), ..IncidentQuery::default() };
    let mut found: BTreeMap<EndpointId, (u64, Vec<DownSpan>)> = BTreeMap::new();
    for chunk in endpoints.chunks(250) {
        let incidents: Vec<(i64, i64)> = matching(&window)
            .select_only()
            .columns([table::Column::Id, table::Column::EndpointId])
            .filter(table::Column::EndpointId.is_in(chunk.iter().map(|id| id.0)))
            .order_by(table::Column::Id, Order::Asc)
            .limit(AT_ONCE)
            .into_tuple()
            .all(db)
            .await?;
        if incidents.len() as u64 == AT_ONCE {
            for id in chunk {
                let count = count(db, &IncidentQuery { endpoint: Some(*id), ..window }).await?;
                found.insert(*id, (count, down_spans(db, *id, from, to).await?));
            }
            continue;
        }
        let ids: Vec<i64> = incidents.iter().map(|(id, _)| *id).collect();
        let endpoint_of: HashMap<i64, EndpointId> =
            incidents.into_iter().map(|(id, endpoint)| (id, EndpointId(endpoint))).collect();
        for endpoint in endpoint_of.values() {
            found.entry(*endpoint).or_default().0 += 1;
        }
        for event in events(db, &ids).await? {
            if let Some((_, spans)) = endpoint_of.get(&event.incident_id).and_then(|id| found.get_mut(id)) {
                follow(spans, &event);
            }
        }
    }
    for (_, spans) in found.values_mut() {
        *spans = within(std::mem::take(spans), from, to);
    }
    Ok(found)
}

/// Removes incidents that were resolved before `before`, with their timelines, at most `batch`; returns how many.
pub async fn delete_resolved_before(
    db: &impl ConnectionTrait,
    before: Timestamp,
    batch: u64,
) -> Result<u64, StoreError> {
    let ids: Vec<i64> = table::Entity::find()
        .select_only()
        .column(table::Column::Id)
        .filter(table::Column::ResolvedAt.lt(micros(before)))
        .limit(batch)
        .into_tuple()
        .all(db)
        .await?;
    incident_events::Entity::delete_many()
        .filter(incident_events::Column::IncidentId.is_in(ids.iter().copied()))
        .exec(db)
        .await?;
    Ok(table::Entity::delete_many().filter(table::Column::Id.is_in(ids)).exec(db).await?.rows_affected)
}

fn read(row: table::Model) -> Result<StoredIncident, StoreError> {
    Ok(StoredIncident {
        id: row.id,
        endpoint_id: EndpointId(row.endpoint_id),
        started_at: from_micros(row.started_at),
        opened_at: from_micros(row.opened_at),
        resolved_at: row.resolved_at.map(from_micros),
        resolution: row.resolution.map(|word| decode::word(&word, "incidents.resolution")).transpose()?,
        cause: Failure::new(decode::word(&row.failure_kind, "incidents.failure_kind")?, row.failure_message),
        severity: decode::word(&row.severity, "incidents.severity")?,
        acknowledgement: row.acknowledged_by.zip(row.acknowledged_at).zip(row.acknowledged_until).map(
            |((by, at), until)| Acknowledgement {
                by,
                at: from_micros(at),
                until: from_micros(until),
                note: row.acknowledgement_note,
            },
        ),
    })
}

fn read_event(row: incident_events::Model) -> Result<IncidentEvent, StoreError> {
    let (failure, note) = match row.failure_kind {
        None => (None, row.message),
        Some(kind) => {
            let kind = decode::word(&kind, "incident_events.failure_kind")?;
            (Some(Failure::new(kind, row.message.unwrap_or_default())), None)
        }
    };
    Ok(IncidentEvent {
        incident_id: row.incident_id,
        at: from_micros(row.at),
        kind: decode::word(&row.kind, "incident_events.kind")?,
        failure,
        actor: row.actor,
        note,
    })
}
