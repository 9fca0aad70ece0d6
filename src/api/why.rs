//! `/api/v1/endpoints/{id}/why-not-told`: what keeps messages about an endpoint back at this moment.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::Problem;
use super::extract::EndpointPath;
use super::notifications::NotificationItem;
use super::pagination::Query;
use crate::domain::Timestamp;
use crate::domain::incident::OpenIncident;
use crate::domain::notification::Severity;
use crate::domain::outcome::Status;
use crate::domain::suppression::{AtEnd, Matter, Suppressor};
use crate::service::ServiceContext;
use crate::service::why::{self as verbs, Holding, WhyNotTold};

type Ctx = State<Arc<ServiceContext>>;

/// What keeps messages back now, in the order in which it applies.
#[derive(Debug, Serialize, ToSchema)]
pub struct SuppressorItem {
    by: Suppressor,
    /// Which one, if there are several of its kind: the window, the number of the silence, the parent, who acknowledged.
    name: Option<String>,
    /// Which messages.
    holds_back: Vec<Matter>,
    /// Why, in one sentence.
    #[schema(example = "The maintenance window `database upgrade` is open")]
    reason: String,
    /// Null: not until some time, but until what it is about ends.
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// What is done then.
    at_end: AtEnd,
}

impl From<Holding> for SuppressorItem {
    fn from(holding: Holding) -> Self {
        let Holding { held, holds_back, reason } = holding;
        Self {
            by: held.by,
            name: Some(held.name).filter(|name| !name.is_empty()),
            holds_back: holds_back.to_vec(),
            reason,
            until: held.until,
            at_end: held.at_end,
        }
    }
}

/// Failed checks that do not make an outage yet.
#[derive(Debug, Serialize, ToSchema)]
pub struct UnconfirmedItem {
    failures: u32,
    /// So many confirm an outage …
    needed: u32,
    /// … among so many in a row.
    among: u32,
    /// The first failed one; null: none has.
    #[schema(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
}

/// How soon an outage is told, when nothing holds it back.
#[derive(Debug, Serialize, ToSchema)]
pub struct PromiseItem {
    /// Usually, from the first failed check: while every check fails at once.
    #[schema(minimum = 0, example = 10.0)]
    usually_seconds: f64,
    /// At most, from the first failed check: while every check takes as long as one may, its retries included.
    #[schema(minimum = 0, example = 66.0)]
    at_most_seconds: f64,
}

/// The incident that is open.
#[derive(Debug, Serialize, ToSchema)]
pub struct OpenIncidentItem {
    /// Null while the database does not answer.
    id: Option<i64>,
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    opened_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    next_reminder_at: Option<Timestamp>,
    /// Who was told of it, escalation included; null while the database does not answer.
    told: Option<Vec<String>>,
}

/// Whether an outage of an endpoint would be told now, to whom, and what keeps it back if not.
#[derive(Debug, Serialize, ToSchema)]
pub struct WhyNotToldAnswer {
    endpoint_id: i64,
    endpoint_name: String,
    /// Empty: no group.
    group: String,
    status: Status,
    /// Whether an outage confirmed at this moment would be told; while an incident is open: whether that was.
    is_told: bool,
    /// All of it in words.
    #[schema(
        example = "Nothing holds messages back: ops and mail would be told about 10s after the first failed check, at most 1m 6s"
    )]
    sentence: String,
    /// Whatever holds now, in the order in which it applies. The first that holds back `opening` is the reason.
    suppressors: Vec<SuppressorItem>,
    severity: Severity,
    /// Who would be told of an outage, were nothing in the way.
    channels: Vec<String>,
    promise: PromiseItem,
    unconfirmed: UnconfirmedItem,
    /// Null: none is open.
    incident: Option<OpenIncidentItem>,
    /// The newest ten, newest first, each with what held it back. Null while the database does not answer.
    notifications: Option<Vec<NotificationItem>>,
}

impl From<WhyNotTold> for WhyNotToldAnswer {
    fn from(why: WhyNotTold) -> Self {
        let WhyNotTold { entry, is_told, sentence, channels, promise, holds, told, incident, lately } = why;
        let (endpoint, state) = (&entry.known.endpoint, &entry.live.state);
        let threshold = endpoint.alert_policy.failure_threshold;
        let open = |open: &OpenIncident| OpenIncidentItem {
            id: incident,
            started_at: open.started_at,
            opened_at: open.opened_at,
            next_reminder_at: open.remind_at.filter(|_| open.held.is_none()),
            told,
        };
        Self {
            endpoint_id: entry.known.id.0,
            endpoint_name: endpoint.name.clone(),
            group: endpoint.group.clone(),
            status: entry.status(),
            is_told,
            sentence,
            suppressors: holds.into_iter().map(SuppressorItem::from).collect(),
            severity: endpoint.severity,
            channels,
            promise: PromiseItem {
                usually_seconds: promise.usually.as_secs_f64(),
                at_most_seconds: promise.at_most.as_secs_f64(),
            },
            unconfirmed: UnconfirmedItem {
                failures: state.failures,
                needed: threshold.failures,
                among: threshold.of,
                since: state.run_started_at.filter(|_| state.failures > 0),
            },
            incident: state.incident.as_ref().map(open),
            notifications: lately.map(|lately| lately.into_iter().map(NotificationItem::from).collect()),
        }
    }
}

/// Ask why nobody is told
///
/// Whether an outage of this endpoint would be told at this moment, to whom, how soon; and whatever keeps messages back,
/// each with a reason and an end. It answers while the database does not, without what was told lately.
#[utoipa::path(get, path = "/api/v1/endpoints/{id}/why-not-told", tag = "endpoints",
    params(("id" = i64, Path, minimum = 1)), responses((status = 200, body = WhyNotToldAnswer)))]
pub async fn why_not_told(
    State(ctx): Ctx,
    EndpointPath(id): EndpointPath,
    Query(()): Query<()>,
) -> Result<Json<WhyNotToldAnswer>, Problem> {
    Ok(Json(verbs::why_not_told(&ctx, id).await?.into()))
}
