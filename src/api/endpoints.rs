//! `/api/v1/endpoints`: what is watched.

use std::cmp::Ordering;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::check_view::{Check, CheckSeen};
use super::endpoint_view::{EndpointItem, EndpointList, EndpointResource};
use super::error::Problem;
use super::extract::{EndpointPath, IfMatch, IfThere, JsonBody, KeyPath, NoBody, OptionalJsonBody, etag};
use super::forms::{KeyedEndpoint, WholeEndpoint};
use super::pagination::{FromParams, MAX_LIMIT, Page, Params, Query, Sort, sort_keys};
use crate::board::Entry;
use crate::domain::endpoint::{EndpointId, EndpointSettings};
use crate::domain::outcome::Status;
use crate::service::endpoints::{self as verbs, Purge, Put};
use crate::service::{Actor, ServiceContext, ServiceError, checks};

type Ctx = State<Arc<ServiceContext>>;

sort_keys! {
    /// By what endpoints are ordered.
    pub enum EndpointSort {
        Id = "id",
        Name = "name",
        Group = "group",
        Status = "status",
        CreatedAt = "created_at",
        UpdatedAt = "updated_at",
    }
}

/// Which endpoints, in which order.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Only those that are checked, or only those that are not.
    is_active: Option<bool>,
    /// Only those of this status.
    status: Option<Status>,
    /// Only those of this group; empty: without a group.
    group: Option<String>,
    /// Only those with this tag.
    tag: Option<String>,
    /// Only those with this text in name, URL or description, in any case.
    search: Option<String>,
    /// By what the list is ordered; `-` before it reverses. Default: by id.
    #[param(inline, value_type = Option<EndpointSort>)]
    sort: Option<Sort<EndpointSort>>,
    /// Items of one page, 1 to 1000. Default 1000.
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

fn compare(key: EndpointSort, a: &Entry, b: &Entry) -> Ordering {
    let (x, y) = (&a.known.endpoint, &b.known.endpoint);
    let order = match key {
        EndpointSort::Id => Ordering::Equal,
        EndpointSort::Name => x.name.cmp(&y.name),
        EndpointSort::Group => (&x.group, &x.name).cmp(&(&y.group, &y.name)),
        EndpointSort::Status => a.status().as_str().cmp(b.status().as_str()),
        EndpointSort::CreatedAt => a.known.created_at.cmp(&b.known.created_at),
        EndpointSort::UpdatedAt => a.known.updated_at.cmp(&b.known.updated_at),
    };
    order.then(a.known.id.cmp(&b.known.id))
}

impl FromParams for ListQuery {
    fn from_params(params: &mut Params) -> Self {
        Self {
            is_active: params.boolean("is_active"),
            status: params.word("status", "up, degraded, down, pending, paused, maintenance, unknown"),
            group: params.text("group"),
            tag: params.text("tag"),
            search: params.text("search"),
            sort: params.sort(),
            limit: (),
            offset: (),
            page: params.page(MAX_LIMIT),
        }
    }
}

impl ListQuery {
    fn lets_through(&self, entry: &Entry) -> bool {
        let endpoint = &entry.known.endpoint;
        let contains = |needle: &String| {
            let needle = needle.to_lowercase();
            // The text as shown: a search must not find out credentials.
            let url = super::endpoint_view::shown_url(endpoint);
            [&endpoint.name, &url, &endpoint.description].iter().any(|text| text.to_lowercase().contains(&needle))
        };
        self.is_active.is_none_or(|wanted| entry.known.is_checked() == wanted)
            && self.status.is_none_or(|wanted| entry.status() == wanted)
            && self.group.as_ref().is_none_or(|wanted| endpoint.group == *wanted)
            && self.tag.as_ref().is_none_or(|wanted| endpoint.tags.contains(wanted))
            && self.search.as_ref().is_none_or(contains)
    }
}

/// List endpoints
#[utoipa::path(get, path = "/api/v1/endpoints", tag = "endpoints", params(ListQuery),
    responses((status = 200, body = EndpointList)))]
pub async fn list(State(ctx): Ctx, Query(query): Query<ListQuery>) -> Json<EndpointList> {
    let mut entries: Vec<Entry> = ctx.board.entries().into_iter().filter(|e| query.lets_through(e)).collect();
    if let Some(sort) = query.sort {
        sort.arrange(&mut entries, compare);
    }
    let total = entries.len() as u64;
    let endpoints = query.page.cut(entries).iter().map(EndpointItem::from).collect();
    Json(EndpointList { endpoints, total, limit: query.page.limit, offset: query.page.offset })
}

type Shown = ([(HeaderName, String); 1], Json<EndpointResource>);

fn shown(ctx: &ServiceContext, actor: &Actor, entry: &Entry) -> Shown {
    let resource = EndpointResource::new(&ctx.board, &ctx.links, actor.role, entry, ctx.clock.now());
    ([etag(entry.known.revision)], Json(resource))
}

fn created(ctx: &ServiceContext, actor: &Actor, entry: &Entry) -> Response {
    let location = [(header::LOCATION, format!("/api/v1/endpoints/{}", entry.known.id))];
    (StatusCode::CREATED, location, shown(ctx, actor, entry)).into_response()
}

/// Create an endpoint
///
/// `name` and `url` are required. It is checked at once.
#[utoipa::path(post, path = "/api/v1/endpoints", tag = "endpoints", request_body = WholeEndpoint, responses(
    (status = 201, body = EndpointResource, headers(("Location" = String), ("ETag" = String))),
    (status = 409, response = super::openapi::ProblemResponse),
))]
pub async fn create(
    State(ctx): Ctx,
    actor: Actor,
    Query(()): Query<()>,
    JsonBody(settings): JsonBody<EndpointSettings>,
) -> Result<Response, Problem> {
    Ok(created(&ctx, &actor, &verbs::create(&ctx, &actor, settings).await?))
}

/// Get an endpoint
///
/// What was set is in `settings`, what applies with all defaults in `effective`.
#[utoipa::path(get, path = "/api/v1/endpoints/{id}", tag = "endpoints", params(("id" = i64, Path, minimum = 1)),
    responses((status = 200, body = EndpointResource, headers(("ETag" = String)))))]
pub async fn get(
    State(ctx): Ctx,
    actor: Actor,
    EndpointPath(id): EndpointPath,
    Query(()): Query<()>,
) -> Result<Shown, Problem> {
    let entry = ctx.board.get(id).ok_or_else(|| ServiceError::NotFound(format!("endpoint {id}")))?;
    Ok(shown(&ctx, &actor, &entry))
}

/// Replace an endpoint
///
/// `name` and `url` are required; whatever is absent returns to its default.
#[utoipa::path(put, path = "/api/v1/endpoints/{id}", tag = "endpoints", request_body = WholeEndpoint,
    params(("id" = i64, Path, minimum = 1), ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses(
        (status = 200, body = EndpointResource, headers(("ETag" = String))),
        (status = 409, response = super::openapi::ProblemResponse),
        (status = 412, response = super::openapi::ProblemResponse),
    ))]
pub async fn replace(
    State(ctx): Ctx,
    actor: Actor,
    EndpointPath(id): EndpointPath,
    Query(()): Query<()>,
    IfMatch(revision): IfMatch,
    JsonBody(settings): JsonBody<EndpointSettings>,
) -> Result<Shown, Problem> {
    Ok(shown(&ctx, &actor, &verbs::replace(&ctx, &actor, id, revision, settings).await?))
}

/// Change an endpoint
///
/// A JSON merge patch (RFC 7396): `null` returns a setting to its default.
#[utoipa::path(patch, path = "/api/v1/endpoints/{id}", tag = "endpoints",
    request_body(content((EndpointSettings = "application/json"), (EndpointSettings = "application/merge-patch+json"))),
    params(("id" = i64, Path, minimum = 1), ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses(
        (status = 200, body = EndpointResource, headers(("ETag" = String))),
        (status = 409, response = super::openapi::ProblemResponse),
        (status = 412, response = super::openapi::ProblemResponse),
    ))]
pub async fn patch(
    State(ctx): Ctx,
    actor: Actor,
    EndpointPath(id): EndpointPath,
    Query(()): Query<()>,
    IfMatch(revision): IfMatch,
    JsonBody(patch): JsonBody<serde_json::Value>,
) -> Result<Shown, Problem> {
    Ok(shown(&ctx, &actor, &verbs::patch(&ctx, &actor, id, revision, patch).await?))
}

/// Whether the history goes too.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeleteQuery {
    /// Remove the history as well, which goes soon after the answer. Default false: it stays until retention.
    purge: Option<bool>,
}

impl FromParams for DeleteQuery {
    fn from_params(params: &mut Params) -> Self {
        Self { purge: params.boolean("purge") }
    }
}

impl DeleteQuery {
    fn purge(&self) -> Purge {
        if self.purge == Some(true) { Purge::History } else { Purge::Nothing }
    }
}

/// Delete an endpoint
///
/// It is no longer checked and its name is free again.
#[utoipa::path(delete, path = "/api/v1/endpoints/{id}", tag = "endpoints",
    params(("id" = i64, Path, minimum = 1), DeleteQuery,
        ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses(
        (status = 204, description = "deleted"),
        (status = 409, response = super::openapi::ProblemResponse),
        (status = 412, response = super::openapi::ProblemResponse),
    ))]
pub async fn delete(
    State(ctx): Ctx,
    actor: Actor,
    EndpointPath(id): EndpointPath,
    Query(query): Query<DeleteQuery>,
    IfMatch(revision): IfMatch,
) -> Result<StatusCode, Problem> {
    verbs::archive(&ctx, &actor, id, revision, query.purge()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Pause an endpoint
///
/// Allowed on configured endpoints too; survives a reload of the configuration.
#[utoipa::path(post, path = "/api/v1/endpoints/{id}/pause", tag = "endpoints", params(("id" = i64, Path, minimum = 1)),
    responses((status = 200, body = EndpointResource, headers(("ETag" = String)))))]
pub async fn pause(
    State(ctx): Ctx,
    actor: Actor,
    EndpointPath(id): EndpointPath,
    Query(()): Query<()>,
    _: NoBody,
) -> Result<Shown, Problem> {
    Ok(shown(&ctx, &actor, &verbs::pause(&ctx, &actor, id).await?))
}

/// Resume an endpoint
#[utoipa::path(post, path = "/api/v1/endpoints/{id}/resume", tag = "endpoints", params(("id" = i64, Path, minimum = 1)),
    responses(
        (status = 200, body = EndpointResource, headers(("ETag" = String))),
        (status = 409, response = super::openapi::ProblemResponse),
    ))]
pub async fn resume(
    State(ctx): Ctx,
    actor: Actor,
    EndpointPath(id): EndpointPath,
    Query(()): Query<()>,
    _: NoBody,
) -> Result<Shown, Problem> {
    Ok(shown(&ctx, &actor, &verbs::resume(&ctx, &actor, id).await?))
}

/// How to check.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckOptions {
    /// `false`: one attempt only. Default true.
    #[serde(default = "yes")]
    use_retry: bool,
}

fn yes() -> bool {
    true
}

/// A check made by hand.
#[derive(Debug, Serialize, ToSchema)]
pub struct CheckedNow {
    #[serde(flatten)]
    check: Check,
    /// It is in the history. False while the database is away: then it waits in memory.
    stored: bool,
}

/// Check an endpoint now
///
/// Waits for the result, which is recorded like every other. Works on inactive endpoints too, and while the database is
/// away. A push endpoint reports by itself and cannot be checked.
#[utoipa::path(post, path = "/api/v1/endpoints/{id}/check", tag = "endpoints",
    request_body = Option<CheckOptions>, params(("id" = i64, Path, minimum = 1)),
    responses((status = 200, body = CheckedNow), (status = 409, response = super::openapi::ProblemResponse)))]
pub async fn check(
    State(ctx): Ctx,
    actor: Actor,
    EndpointPath(id): EndpointPath,
    Query(()): Query<()>,
    OptionalJsonBody(options): OptionalJsonBody<CheckOptions>,
) -> Result<Json<CheckedNow>, Problem> {
    let use_retry = options.is_none_or(|options| options.use_retry);
    let recorded = checks::check_now(&ctx, &actor, id, use_retry).await?;
    // Lists show it by now, unless a newer one is there already.
    let entry = ctx.board.get(id);
    let detail = entry.as_ref().and_then(|entry| entry.live.detail_of(recorded.result.scheduled_at));
    Ok(Json(CheckedNow { check: Check::explained(&recorded.result, detail), stored: recorded.stored }))
}

/// Whose stored secrets are meant.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TrialQuery {
    /// The id of an endpoint: `***` stands for what is stored of it, as in a change of it.
    #[param(value_type = Option<i64>, minimum = 1)]
    endpoint: Option<EndpointId>,
}

impl FromParams for TrialQuery {
    fn from_params(params: &mut Params) -> Self {
        let id = params.number("endpoint", 1..=i64::MAX.unsigned_abs());
        Self { endpoint: id.and_then(|id| i64::try_from(id).ok()).map(EndpointId) }
    }
}

/// An attempt at a definition that is not kept.
#[derive(Debug, Serialize, ToSchema)]
pub struct TriedNow {
    /// Always null: it is in no history.
    id: Option<i64>,
    /// Always null: it is of no endpoint.
    endpoint_id: Option<i64>,
    #[serde(flatten)]
    seen: CheckSeen,
    /// Always false.
    stored: bool,
}

/// Test a definition
///
/// Makes one attempt at what would be checked, and keeps neither the definition nor the result. Who may not make
/// endpoints cannot have secrets sent along that the definition inherits, or that `***` stands for.
#[utoipa::path(post, path = "/api/v1/endpoints/test", tag = "endpoints", request_body = WholeEndpoint,
    params(TrialQuery),
    responses((status = 200, body = TriedNow)))]
pub async fn test(
    State(ctx): Ctx,
    actor: Actor,
    Query(query): Query<TrialQuery>,
    JsonBody(settings): JsonBody<EndpointSettings>,
) -> Result<Json<TriedNow>, Problem> {
    let (result, detail) = checks::try_out(&ctx, &actor, settings, query.endpoint).await?;
    let seen = CheckSeen::from(&result).with(Some(&detail));
    Ok(Json(TriedNow { id: None, endpoint_id: None, seen, stored: false }))
}

/// Get an endpoint by group and name
#[utoipa::path(get, path = "/api/v1/endpoints/by-key/{group}/{name}", tag = "endpoints",
    params(("group" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = EndpointResource, headers(("ETag" = String)))))]
pub async fn get_by_key(State(ctx): Ctx, actor: Actor, key: KeyPath, Query(()): Query<()>) -> Result<Shown, Problem> {
    find_by_key(&ctx, &key).map(|entry| shown(&ctx, &actor, &entry))
}

/// Replace or create an endpoint by group and name
#[utoipa::path(put, path = "/api/v1/endpoints/by-key/{group}/{name}", tag = "endpoints",
    request_body = KeyedEndpoint,
    params(("group" = String, Path), ("name" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The ETag that was read"),
        ("If-None-Match" = Option<String>, Header, description = "*: make it only where it is not there yet")),
    responses(
        (status = 200, body = EndpointResource, headers(("ETag" = String)), description = "replaced"),
        (status = 201, body = EndpointResource, headers(("Location" = String), ("ETag" = String)), description = "created"),
        (status = 409, response = super::openapi::ProblemResponse),
        (status = 412, response = super::openapi::ProblemResponse),
    ))]
pub async fn put_by_key(
    State(ctx): Ctx,
    actor: Actor,
    key: KeyPath,
    Query(()): Query<()>,
    IfThere(precondition): IfThere,
    JsonBody(settings): JsonBody<EndpointSettings>,
) -> Result<Response, Problem> {
    Ok(match verbs::put_by_key(&ctx, &actor, key.group, key.name, precondition, settings).await? {
        Put::Created(entry) => created(&ctx, &actor, &entry),
        Put::Replaced(entry) => shown(&ctx, &actor, &entry).into_response(),
    })
}

/// Delete an endpoint by group and name
#[utoipa::path(delete, path = "/api/v1/endpoints/by-key/{group}/{name}", tag = "endpoints",
    params(("group" = String, Path), ("name" = String, Path), DeleteQuery,
        ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses(
        (status = 204, description = "deleted"),
        (status = 409, response = super::openapi::ProblemResponse),
        (status = 412, response = super::openapi::ProblemResponse),
    ))]
pub async fn delete_by_key(
    State(ctx): Ctx,
    actor: Actor,
    key: KeyPath,
    Query(query): Query<DeleteQuery>,
    IfMatch(revision): IfMatch,
) -> Result<StatusCode, Problem> {
    verbs::archive_by_key(&ctx, &actor, key.group, key.name, revision, query.purge()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Get an endpoint without a group by name
#[utoipa::path(get, path = "/api/v1/endpoints/by-key/{name}", tag = "endpoints", params(("name" = String, Path)),
    responses((status = 200, body = EndpointResource, headers(("ETag" = String)))))]
pub async fn get_by_name(ctx: Ctx, actor: Actor, key: KeyPath, query: Query<()>) -> Result<Shown, Problem> {
    get_by_key(ctx, actor, key, query).await
}

/// Replace or create an endpoint without a group by name
#[utoipa::path(put, path = "/api/v1/endpoints/by-key/{name}", tag = "endpoints", request_body = KeyedEndpoint,
    params(("name" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The ETag that was read"),
        ("If-None-Match" = Option<String>, Header, description = "*: make it only where it is not there yet")),
    responses(
        (status = 200, body = EndpointResource, headers(("ETag" = String)), description = "replaced"),
        (status = 201, body = EndpointResource, headers(("Location" = String), ("ETag" = String)), description = "created"),
        (status = 409, response = super::openapi::ProblemResponse),
        (status = 412, response = super::openapi::ProblemResponse),
    ))]
pub async fn put_by_name(
    ctx: Ctx,
    actor: Actor,
    key: KeyPath,
    query: Query<()>,
    precondition: IfThere,
    body: JsonBody<EndpointSettings>,
) -> Result<Response, Problem> {
    put_by_key(ctx, actor, key, query, precondition, body).await
}

/// Delete an endpoint without a group by name
#[utoipa::path(delete, path = "/api/v1/endpoints/by-key/{name}", tag = "endpoints",
    params(("name" = String, Path), DeleteQuery,
        ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses(
        (status = 204, description = "deleted"),
        (status = 409, response = super::openapi::ProblemResponse),
        (status = 412, response = super::openapi::ProblemResponse),
    ))]
pub async fn delete_by_name(
    ctx: Ctx,
    actor: Actor,
    key: KeyPath,
    query: Query<DeleteQuery>,
    revision: IfMatch,
) -> Result<StatusCode, Problem> {
    delete_by_key(ctx, actor, key, query, revision).await
}

fn find_by_key(ctx: &ServiceContext, key: &KeyPath) -> Result<Entry, Problem> {
    let missing = || {
        let KeyPath { group, name } = key;
        ServiceError::NotFound(if group.is_empty() {
            format!("endpoint {name}")
        } else {
            format!("endpoint {group}/{name}")
        })
    };
    ctx.board.find_by_key(&key.group, &key.name).ok_or_else(|| missing().into())
}
