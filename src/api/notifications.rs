//! `/api/v1/notifications`: the outbox, seen.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::error::Problem;
use super::extract::{NoBody, TextPath};
use super::incidents::endpoint_id;
use super::pagination::{FromParams, Page, Params, Query, Sort, sort_keys};
use crate::domain::Timestamp;
use crate::domain::grouping::digest::DigestItem;
use crate::domain::notification::{Event, Notification, Severity};
use crate::domain::suppression::Suppressor;
use crate::service::notifications::{self as verbs, Delivery, DeliveryState, NotificationQuery, StoredNotification};
use crate::service::{Actor, ServiceContext};

type Ctx = State<Arc<ServiceContext>>;

/// Items of a page, unless asked otherwise.
const DEFAULT_LIMIT: u64 = 100;

sort_keys! {
    /// By what notifications are ordered.
    pub enum NotificationSort {
        CreatedAt = "created_at",
    }
}

/// Which notifications.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct NotificationParams {
    /// Only those about the endpoint with this id.
    #[param(minimum = 1)]
    endpoint: Option<u64>,
    /// Only those of the incident with this id.
    #[param(minimum = 1)]
    incident: Option<u64>,
    /// Only those of this event.
    event: Option<Event>,
    /// Only those with a delivery in this state.
    state: Option<DeliveryState>,
    /// By what the list is ordered; `-` before it reverses. Default: `-created_at`, the newest first.
    #[param(inline, value_type = Option<NotificationSort>)]
    sort: Option<Sort<NotificationSort>>,
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

impl FromParams for NotificationParams {
    fn from_params(params: &mut Params) -> Self {
        let events = Event::ALL.iter().map(|event| event.as_str()).collect::<Vec<_>>().join(", ");
        let states = DeliveryState::ALL.iter().map(|state| state.as_str()).collect::<Vec<_>>().join(", ");
        Self {
            endpoint: params.number("endpoint", 1..=i64::MAX.unsigned_abs()),
            incident: params.number("incident", 1..=i64::MAX.unsigned_abs()),
            event: params.word("event", &events),
            state: params.word("state", &states),
            sort: params.sort(),
            limit: (),
            offset: (),
            page: params.page(DEFAULT_LIMIT),
        }
    }
}

/// One notification to one channel.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryItem {
    channel: String,
    state: DeliveryState,
    /// Attempts made, of all tries together.
    attempts: u32,
    /// An attempt that failed may have been received all the same.
    may_have_arrived: bool,
    /// When it is tried again; null when it is not.
    #[schema(value_type = Option<String>, format = DateTime)]
    next_attempt_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_attempt_at: Option<Timestamp>,
    /// Why the last attempt failed.
    last_error: Option<String>,
    /// What the other side said to the one that did not.
    answer: Option<String>,
    /// When it was delivered, given up, merged or grouped.
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
    /// `grouping` while it waits for the digest that goes out at `held_until`; else null.
    #[schema(example = "grouping")]
    held_by: Option<Suppressor>,
    /// Until when it waited, or waits, for a digest; null: it did not.
    #[schema(value_type = Option<String>, format = DateTime)]
    held_until: Option<Timestamp>,
    /// The id of the digest that tells it, of a delivery that is `grouped`, or was merged into a digest.
    digest: Option<String>,
}

impl From<Delivery> for DeliveryItem {
    fn from(delivery: Delivery) -> Self {
        let held_by = is_held(&delivery).then_some(Suppressor::Grouping);
        Self {
            held_by,
            held_until: delivery.held_until,
            digest: delivery.digest,
            channel: delivery.channel,
            state: delivery.state,
            attempts: delivery.attempts,
            may_have_arrived: delivery.may_have_arrived,
            next_attempt_at: delivery.next_attempt_at,
            last_attempt_at: delivery.last_attempt_at,
            last_error: delivery.last_error,
            answer: delivery.answer,
            finished_at: delivery.finished_at,
        }
    }
}

/// Whether it waits for a digest.
fn is_held(delivery: &Delivery) -> bool {
    delivery.state == DeliveryState::Pending && delivery.held_until.is_some()
}

/// An endpoint of a digest.
#[derive(Debug, Serialize, ToSchema)]
pub struct DigestedItem {
    endpoint_id: i64,
    endpoint_name: String,
    /// What happened, oldest first.
    events: Vec<Event>,
    /// The ids of the notifications that are told so, in the same order.
    notifications: Vec<String>,
}

impl From<&DigestItem> for DigestedItem {
    fn from(item: &DigestItem) -> Self {
        Self {
            endpoint_id: item.endpoint.id,
            endpoint_name: item.endpoint.name.clone(),
            events: item.events.clone(),
            notifications: item.ids.clone(),
        }
    }
}

/// The most endpoints of a digest that are listed with it.
const LISTED: usize = 100;

/// One thing to tell, and what became of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct NotificationItem {
    id: String,
    event: Event,
    #[schema(value_type = String, format = DateTime)]
    occurred_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Null when it is not about an endpoint.
    endpoint_id: Option<i64>,
    /// Of the endpoint, or of the channel that it is about.
    endpoint_name: String,
    incident_id: Option<i64>,
    severity: Severity,
    /// Why, in one sentence.
    error_message: Option<String>,
    /// What keeps it back from everybody: `notifications_disabled`, `nobody_to_tell`, `nobody_was_told`, …, or `grouping`
    /// while it waits for a digest in every channel; null when nothing does.
    #[schema(example = "nobody_to_tell")]
    held_by: Option<String>,
    /// The parent, where `held_by` is `parent_down`; null otherwise.
    #[schema(example = "core/gateway")]
    held_name: Option<String>,
    deliveries: Vec<DeliveryItem>,
    /// Endpoints of a digest; 0 for every other event.
    item_count: usize,
    /// The first 100 of them. All are in the `facts` of the notification by itself.
    #[schema(max_items = 100)]
    items: Vec<DigestedItem>,
}

impl From<StoredNotification> for NotificationItem {
    fn from(stored: StoredNotification) -> Self {
        let facts = stored.facts;
        let waits = !stored.deliveries.is_empty() && stored.deliveries.iter().all(is_held);
        let held_by = stored.held_by.or(waits.then(|| Suppressor::Grouping.to_string()));
        Self {
            item_count: facts.items.len(),
            items: facts.items.iter().take(LISTED).map(DigestedItem::from).collect(),
            id: facts.id,
            event: facts.event,
            occurred_at: facts.occurred_at,
            created_at: stored.created_at,
            endpoint_id: stored.endpoint.map(|id| id.0),
            endpoint_name: facts.endpoint_name,
            incident_id: stored.incident,
            severity: facts.severity,
            error_message: facts.error,
            held_by,
            held_name: stored.held_name,
            deliveries: stored.deliveries.into_iter().map(DeliveryItem::from).collect(),
        }
    }
}

/// A notification by itself.
#[derive(Debug, Serialize, ToSchema)]
pub struct NotificationResource {
    #[serde(flatten)]
    item: NotificationItem,
    /// The facts that every channel tells; the default webhook body.
    facts: Notification,
}

impl From<StoredNotification> for NotificationResource {
    fn from(stored: StoredNotification) -> Self {
        Self { facts: stored.facts.clone(), item: stored.into() }
    }
}

/// A page of notifications.
#[derive(Debug, Serialize, ToSchema)]
pub struct NotificationList {
    notifications: Vec<NotificationItem>,
    /// Notifications that the filters let through, on all pages.
    total: u64,
    limit: u64,
    offset: u64,
}

/// List notifications
///
/// What is told, through which channels, and what became of it.
#[utoipa::path(get, path = "/api/v1/notifications", tag = "notifications", params(NotificationParams),
    responses((status = 200, body = NotificationList)))]
pub async fn list(
    State(ctx): Ctx,
    Query(params): Query<NotificationParams>,
) -> Result<Json<NotificationList>, Problem> {
    let Page { limit, offset } = params.page;
    let query = NotificationQuery {
        endpoint: params.endpoint.map(endpoint_id),
        incident: params.incident.map(|id| i64::try_from(id).unwrap_or(i64::MAX)),
        event: params.event,
        state: params.state,
        is_oldest_first: params.sort.is_some_and(|sort| !sort.descending),
        limit,
        offset,
    };
    let (found, total) = verbs::list(&ctx, &query).await?;
    let notifications = found.into_iter().map(NotificationItem::from).collect();
    Ok(Json(NotificationList { notifications, total, limit, offset }))
}

/// Get a notification
#[utoipa::path(get, path = "/api/v1/notifications/{id}", tag = "notifications", params(("id" = String, Path)),
    responses((status = 200, body = NotificationResource)))]
pub async fn get(
    State(ctx): Ctx,
    TextPath(id): TextPath,
    Query(()): Query<()>,
) -> Result<Json<NotificationResource>, Problem> {
    Ok(Json(verbs::get(&ctx, &id).await?.into()))
}

/// Send a notification again
///
/// Its dead deliveries are pending again, those to channels that are on; it keeps its id.
#[utoipa::path(post, path = "/api/v1/notifications/{id}/retry", tag = "notifications", params(("id" = String, Path)),
    responses(
        (status = 200, body = NotificationResource),
        (status = 409, response = super::openapi::ProblemResponse),
    ))]
pub async fn retry(
    State(ctx): Ctx,
    actor: Actor,
    TextPath(id): TextPath,
    Query(()): Query<()>,
    _: NoBody,
) -> Result<Json<NotificationResource>, Problem> {
    Ok(Json(verbs::retry(&ctx, &actor, &id).await?.into()))
}
