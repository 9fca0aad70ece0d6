//! `/api/v1/incidents`: confirmed outages and what was told of them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::Problem;
use super::extract::IncidentPath;
use super::hold_view::HoldItem;
use super::notifications::NotificationItem;
use super::pagination::{FromParams, Moment, Page, Params, Query, Sort, sort_keys};
use crate::domain::Timestamp;
use crate::domain::endpoint::EndpointId;
use crate::domain::notification::Severity;
use crate::domain::outcome::FailureKind;
use crate::service::ServiceContext;
use crate::service::error::FieldError;
use crate::service::incidents::{self as verbs, IncidentEvent, IncidentEventKind, NamedIncident, Resolution};

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
    /// What keeps messages about it back now, of one that is open; what was kept back stands at each notification.
    held_by: Option<HoldItem>,
}

impl IncidentItem {
    fn new(named: NamedIncident, now: Timestamp) -> Self {
        let NamedIncident { incident, endpoint_name, hold } = named;
        let status = if incident.resolved_at.is_some() { IncidentStatus::Resolved } else { IncidentStatus::Open };
        Self {
            id: incident.id,
            endpoint_id: incident.endpoint_id.0,
            endpoint_name,
            status,
            severity: incident.severity,
            started_at: incident.started_at,
            opened_at: incident.opened_at,
            resolved_at: incident.resolved_at,
            resolution: incident.resolution,
            duration_seconds: (incident.resolved_at.unwrap_or(now) - incident.started_at).num_seconds().max(0),
            failure_kind: incident.cause.kind,
            error_message: incident.cause.message,
            held_by: hold.as_ref().map(HoldItem::from),
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
}

impl From<IncidentEvent> for TimelineEntry {
    fn from(event: IncidentEvent) -> Self {
        let (failure_kind, error_message) = event.failure.map(|f| (f.kind, f.message)).unzip();
        Self { at: event.at, event: event.kind, failure_kind, error_message }
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
    let detail = verbs::get(&ctx, id).await?;
    Ok(Json(IncidentResource {
        item: IncidentItem::new(detail.named, ctx.clock.now()),
        events: detail.events.into_iter().map(TimelineEntry::from).collect(),
        notifications: detail.notifications.into_iter().map(NotificationItem::from).collect(),
    }))
}
