//! `/api/v1/incidents`: confirmed outages, what was told of them, and what people do with them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::Problem;
use super::extract::{IncidentPath, JsonBody, OptionalJsonBody};
use super::notifications::NotificationItem;
use super::pagination::{FromParams, Moment, Page, Params, Query, Sort, sort_keys};
use crate::domain::Timestamp;
use crate::domain::endpoint::EndpointId;
use crate::domain::notification::Severity;
use crate::domain::outcome::FailureKind;
use crate::domain::setting::DurationSetting;
use crate::domain::suppression::{Held, Suppressor};
use crate::service::error::FieldError;
use crate::service::incidents::{
    self as verbs, Acknowledgement, IncidentDetail, IncidentEvent, IncidentEventKind, NamedIncident, Resolution,
};
use crate::service::{Actor, ServiceContext};

type Ctx = State<Arc<ServiceContext>>;

/// Items of a page, unless asked otherwise.
const DEFAULT_LIMIT: u64 = 100;

/// Whether an incident is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum IncidentStatus {
    Open,
    Resolved,
}

sort_keys! {
    /// By what incidents are ordered.
    pub enum IncidentSort {
        StartedAt = "started_at",
    }
}

/// Which incidents.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct IncidentParams {
    /// Only those of the endpoint with this id.
    #[param(minimum = 1)]
    endpoint: Option<u64>,
    /// Only those that are open, or only those that are not.
    open: Option<bool>,
    /// The same in words, instead of `open`.
    #[param(inline)]
    status: Option<IncidentStatus>,
    /// Those not over before this instant: a date or RFC 3339.
    #[param(value_type = Option<String>, example = "2024-01-25")]
    from: Option<Moment>,
    /// Those begun before this instant; a date is included whole.
    #[param(value_type = Option<String>, example = "2024-01-26T10:00:00Z")]
    to: Option<Moment>,
    /// By what the list is ordered; `-` before it reverses. Default: `-started_at`, the newest first.
    #[param(inline, value_type = Option<IncidentSort>)]
    sort: Option<Sort<IncidentSort>>,
    /// Items of one page, 1 to 1000. Default 100.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 1000)]
    #[expect(dead_code, reason = "read into `page`; here for the documentation")]
    limit: (),
    /// Items before the page. Default 0.
    #[param(value_type = Option<u64>)]
    #[expect(dead_code, reason = "read into `page`; here for the documentation")]
    offset: (),
    #[param(ignore)]
    page: Page,
}

impl FromParams for IncidentParams {
    fn from_params(params: &mut Params) -> Self {
        let status = |text: &str| match text {
            "open" => Ok(IncidentStatus::Open),
            "resolved" => Ok(IncidentStatus::Resolved),
            _ => Err("must be one of open, resolved".to_owned()),
        };
        Self {
            endpoint: params.number("endpoint", 1..=i64::MAX.unsigned_abs()),
            open: params.boolean("open"),
            status: params.parsed("status", status),
            from: params.instant("from"),
            to: params.instant("to"),
            sort: params.sort(),
            limit: (),
            offset: (),
            page: params.page(DEFAULT_LIMIT),
        }
    }
}

impl IncidentParams {
    fn query(&self) -> Result<verbs::IncidentQuery, Problem> {
        let (from, to) = (self.from.map(|m| m.at), self.to.map(Moment::as_end));
        let refuse = |name, detail| Err(Problem::invalid(vec![FieldError::parameter(name, "conflict", detail)]));
        if self.open.is_some() && self.status.is_some() {
            return refuse("open", "excludes `status`: give one or the other");
        }
        if from.is_some_and(|from| to.is_some_and(|to| from >= to)) {
            return refuse("from", "must be before `to`");
        }
        Ok(verbs::IncidentQuery {
            endpoint: self.endpoint.map(endpoint_id),
            open: self.open.or(self.status.map(|status| status == IncidentStatus::Open)),
            from,
            to,
            is_oldest_first: self.sort.is_some_and(|sort| !sort.descending),
            limit: self.page.limit,
            offset: self.page.offset,
        })
    }
}

/// The id of a parameter that was read as a number no larger than an id can be.
pub(super) fn endpoint_id(number: u64) -> EndpointId {
    EndpointId(i64::try_from(number).unwrap_or(i64::MAX))
}

/// A confirmed outage.
#[derive(Debug, Serialize, ToSchema)]
pub struct IncidentItem {
    id: i64,
    endpoint_id: i64,
    /// Null when the endpoint was purged.
    endpoint_name: Option<String>,
    /// Of the endpoint; empty: it is in none. Null when it was purged.
    group: Option<String>,
    status: IncidentStatus,
    severity: Severity,
    /// The first failed check of the run that opened it.
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    /// The confirmation.
    #[schema(value_type = String, format = DateTime)]
    opened_at: Timestamp,
    /// The first good check of the run that ended it.
    #[schema(value_type = Option<String>, format = DateTime)]
    resolved_at: Option<Timestamp>,
    resolution: Option<Resolution>,
    /// From the start to the end, or until now.
    duration_seconds: i64,
    /// The newest cause, as a stable word.
    failure_kind: FailureKind,
    /// The newest cause, in a sentence.
    error_message: String,
    /// The newest acknowledgement.
    acknowledgement: Option<AcknowledgementItem>,
    /// Since when it goes up and down; null: it does not, or the incident is over.
    #[schema(value_type = Option<String>, format = DateTime)]
    flapping_since: Option<Timestamp>,
    /// Reminders told; null when it is over.
    reminders: Option<u32>,
    /// Null: none is due, or the incident is over.
    #[schema(value_type = Option<String>, format = DateTime)]
    next_reminder_at: Option<Timestamp>,
    /// Steps of its escalation told; null when it is over.
    escalation_steps: Option<u32>,
    /// What keeps its recovery back, or, while it is down, its message or its reminders. Null: nothing does.
    held_by: Option<HeldItem>,
}

/// Who looks, or looked, after an incident.
#[derive(Debug, Serialize, ToSchema)]
pub struct AcknowledgementItem {
    /// The name of the key.
    #[schema(example = "on-call")]
    by: String,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Until then nobody is reminded.
    #[schema(value_type = String, format = DateTime)]
    until: Timestamp,
    note: Option<String>,
}

impl From<Acknowledgement> for AcknowledgementItem {
    fn from(acknowledgement: Acknowledgement) -> Self {
        let Acknowledgement { by, at, until, note } = acknowledgement;
        Self { by, at, until, note }
    }
}

/// What keeps a message back.
#[derive(Debug, Serialize, ToSchema)]
pub struct HeldItem {
    by: Suppressor,
    /// Which one, if there are several of its kind.
    name: Option<String>,
    /// Null: until what it is about ends.
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
}

impl From<Held> for HeldItem {
    fn from(held: Held) -> Self {
        Self { by: held.by, name: Some(held.name).filter(|name| !name.is_empty()), until: held.until }
    }
}

impl IncidentItem {
    fn new(named: NamedIncident, now: Timestamp) -> Self {
        let NamedIncident { incident, endpoint, live, held } = named;
        let (group, endpoint_name) = endpoint.unzip();
        let live = live.as_ref();
        let status = if incident.resolved_at.is_some() { IncidentStatus::Resolved } else { IncidentStatus::Open };
        Self {
            id: incident.id,
            endpoint_id: incident.endpoint_id.0,
            endpoint_name,
            group,
            status,
            severity: incident.severity,
            started_at: incident.started_at,
            opened_at: incident.opened_at,
            resolved_at: incident.resolved_at,
            resolution: incident.resolution,
            duration_seconds: (incident.resolved_at.unwrap_or(now) - incident.started_at).num_seconds().max(0),
            failure_kind: incident.cause.kind,
            error_message: incident.cause.message,
            acknowledgement: incident.acknowledgement.map(AcknowledgementItem::from),
            flapping_since: live.and_then(|open| open.flapping).map(|flapping| flapping.since),
            reminders: live.map(|open| open.reminders),
            next_reminder_at: live.and_then(|open| open.remind_at),
            escalation_steps: live.map(|open| open.escalated),
            held_by: held.map(HeldItem::from),
        }
    }
}

/// A page of incidents.
#[derive(Debug, Serialize, ToSchema)]
pub struct IncidentList {
    incidents: Vec<IncidentItem>,
    /// Incidents that the filters let through, on all pages.
    total: u64,
    limit: u64,
    offset: u64,
}

/// One entry of an incident's timeline.
#[derive(Debug, Serialize, ToSchema)]
pub struct TimelineEntry {
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    event: IncidentEventKind,
    failure_kind: Option<FailureKind>,
    error_message: Option<String>,
    /// Who did it: the name of a key. Null: nobody.
    actor: Option<String>,
    /// What they wrote.
    note: Option<String>,
}

impl From<IncidentEvent> for TimelineEntry {
    fn from(event: IncidentEvent) -> Self {
        let (failure_kind, error_message) = event.failure.map(|f| (f.kind, f.message)).unzip();
        Self { at: event.at, event: event.kind, failure_kind, error_message, actor: event.actor, note: event.note }
    }
}

/// An incident with all that happened in it.
#[derive(Debug, Serialize, ToSchema)]
pub struct IncidentResource {
    #[serde(flatten)]
    item: IncidentItem,
    /// The timeline, oldest first.
    events: Vec<TimelineEntry>,
    /// What was told of it, oldest first; of more than 1000 the newest.
    notifications: Vec<NotificationItem>,
}

/// List incidents
#[utoipa::path(get, path = "/api/v1/incidents", tag = "incidents", params(IncidentParams),
    responses((status = 200, body = IncidentList)))]
pub async fn list(State(ctx): Ctx, Query(params): Query<IncidentParams>) -> Result<Json<IncidentList>, Problem> {
    let (found, total) = verbs::list(&ctx, &params.query()?).await?;
    let now = ctx.clock.now();
    let incidents = found.into_iter().map(|named| IncidentItem::new(named, now)).collect();
    Ok(Json(IncidentList { incidents, total, limit: params.page.limit, offset: params.page.offset }))
}

/// Get an incident
///
/// With its timeline and what was told of it.
#[utoipa::path(get, path = "/api/v1/incidents/{id}", tag = "incidents", params(("id" = i64, Path, minimum = 1)),
    responses((status = 200, body = IncidentResource)))]
pub async fn get(
    State(ctx): Ctx,
    IncidentPath(id): IncidentPath,
    Query(()): Query<()>,
) -> Result<Json<IncidentResource>, Problem> {
    Ok(Json(resource(&ctx, verbs::get(&ctx, id).await?)))
}

fn resource(ctx: &ServiceContext, detail: IncidentDetail) -> IncidentResource {
    IncidentResource {
        item: IncidentItem::new(detail.named, ctx.clock.now()),
        events: detail.events.into_iter().map(TimelineEntry::from).collect(),
        notifications: detail.notifications.into_iter().map(NotificationItem::from).collect(),
    }
}

/// How an incident is acknowledged.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AcknowledgeOptions {
    /// What is to be known of it; not blank.
    #[schema(min_length = 1, max_length = 2000)]
    note: Option<String>,
    /// For how long reminders and escalation are kept back, 1 min to 30 days. Default: `acknowledge_for` of the policy.
    #[serde(rename = "for")]
    #[schema(nullable)]
    wanted: Option<DurationSetting>,
}

/// How an incident is resolved.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResolveOptions {
    /// What is to be known of it; not blank.
    #[schema(min_length = 1, max_length = 2000)]
    note: Option<String>,
}

/// Something to be written down.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewNote {
    /// Not blank.
    #[schema(min_length = 1, max_length = 2000, example = "The provider is told")]
    note: String,
}

/// Acknowledge an incident
///
/// Reminders and escalation are kept back for some time; whoever was told of the outage is told who looks after it. Of
/// several acknowledgements the newest counts.
#[utoipa::path(post, path = "/api/v1/incidents/{id}/acknowledge", tag = "incidents",
    request_body = Option<AcknowledgeOptions>, params(("id" = i64, Path, minimum = 1)),
    responses(
        (status = 200, body = IncidentResource),
        (status = 409, response = super::openapi::ProblemResponse),
    ))]
pub async fn acknowledge(
    State(ctx): Ctx,
    actor: Actor,
    IncidentPath(id): IncidentPath,
    Query(()): Query<()>,
    OptionalJsonBody(options): OptionalJsonBody<AcknowledgeOptions>,
) -> Result<Json<IncidentResource>, Problem> {
    let AcknowledgeOptions { note, wanted } = options.unwrap_or_default();
    let detail = verbs::acknowledge(&ctx, &actor, id, note, wanted.map(|wanted| wanted.0)).await?;
    Ok(Json(resource(&ctx, detail)))
}

/// Resolve an incident by hand
///
/// While its checks are good, though its recovery is held or not confirmed yet. While they fail it is refused: it would
/// open again at once.
#[utoipa::path(post, path = "/api/v1/incidents/{id}/resolve", tag = "incidents",
    request_body = Option<ResolveOptions>, params(("id" = i64, Path, minimum = 1)),
    responses(
        (status = 200, body = IncidentResource),
        (status = 409, response = super::openapi::ProblemResponse),
    ))]
pub async fn resolve(
    State(ctx): Ctx,
    actor: Actor,
    IncidentPath(id): IncidentPath,
    Query(()): Query<()>,
    OptionalJsonBody(options): OptionalJsonBody<ResolveOptions>,
) -> Result<Json<IncidentResource>, Problem> {
    let detail = verbs::resolve(&ctx, &actor, id, options.unwrap_or_default().note).await?;
    Ok(Json(resource(&ctx, detail)))
}

/// Write a note to an incident
///
/// Open or not; nobody is told.
#[utoipa::path(post, path = "/api/v1/incidents/{id}/notes", tag = "incidents",
    request_body = NewNote, params(("id" = i64, Path, minimum = 1)),
    responses(
        (status = 200, body = IncidentResource),
        (status = 409, response = super::openapi::ProblemResponse),
    ))]
pub async fn note(
    State(ctx): Ctx,
    actor: Actor,
    IncidentPath(id): IncidentPath,
    Query(()): Query<()>,
    JsonBody(NewNote { note }): JsonBody<NewNote>,
) -> Result<Json<IncidentResource>, Problem> {
    Ok(Json(resource(&ctx, verbs::note(&ctx, &actor, id, note).await?)))
}
