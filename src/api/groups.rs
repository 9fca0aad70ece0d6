//! `/api/v1/groups`: what several endpoints inherit, and how they are together.

use std::cmp::Ordering;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use utoipa::IntoParams;

use super::error::Problem;
use super::extract::{IfMatch, IfThere, JsonBody, TextPath, etag};
use super::forms::WholeGroup;
use super::group_view::{GroupItem, GroupList, GroupSettings};
use super::pagination::{FromParams, Page, Params, Query, Sort, sort_keys};
use crate::domain::group::GroupOrigin;
use crate::domain::outcome::Status;
use crate::service::groups::{self as verbs, GroupReport, Put};
use crate::service::{Actor, ServiceContext};

type Ctx = State<Arc<ServiceContext>>;

sort_keys! {
    /// By what groups are ordered.
    pub enum GroupSort {
        Name = "name",
        Status = "status",
    }
}

/// Which groups, in which order.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct GroupParams {
    /// Only those of this status.
    status: Option<Status>,
    /// Only those that are declared here, in the configuration, or nowhere.
    origin: Option<GroupOrigin>,
    /// By what the list is ordered; `-` before it reverses. Default: by name.
    #[param(inline, value_type = Option<GroupSort>)]
    sort: Option<Sort<GroupSort>>,
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

fn compare(key: GroupSort, a: &GroupItem, b: &GroupItem) -> Ordering {
    let order = match key {
        GroupSort::Name => Ordering::Equal,
        GroupSort::Status => a.status.as_str().cmp(b.status.as_str()),
    };
    order.then_with(|| a.name.cmp(&b.name))
}

impl FromParams for GroupParams {
    fn from_params(params: &mut Params) -> Self {
        Self {
            status: params.word("status", "up, degraded, down, pending, paused, maintenance, unknown"),
            origin: params.word("origin", "config, api, implicit"),
            sort: params.sort(),
            limit: (),
            offset: (),
            page: params.page(100),
        }
    }
}

impl GroupParams {
    fn lets_through(&self, group: &GroupItem) -> bool {
        self.status.is_none_or(|wanted| group.status == wanted)
            && self.origin.is_none_or(|wanted| group.origin == wanted)
    }
}

type Shown = (Option<[(HeaderName, String); 1]>, Json<GroupItem>);

fn shown(report: &GroupReport) -> Shown {
    let item = GroupItem::from(report);
    (item.revision.map(|revision| [etag(revision)]), Json(item))
}

fn created(report: &GroupReport) -> Response {
    let mut response = (StatusCode::CREATED, shown(report)).into_response();
    let mut location = String::from("/api/v1/groups/");
    location.extend(url::form_urlencoded::byte_serialize(report.name.as_bytes()).map(|part| part.replace('+', "%20")));
    // Percent-encoded, so that it is always a value of a header.
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// List groups
///
/// Those of the configuration, those made here, and those that are there only because endpoints bear their names.
#[utoipa::path(get, path = "/api/v1/groups", tag = "groups", params(GroupParams),
    responses((status = 200, body = GroupList)))]
pub async fn list(State(ctx): Ctx, Query(params): Query<GroupParams>) -> Json<GroupList> {
    let mut groups: Vec<GroupItem> = verbs::list(&ctx).iter().map(GroupItem::from).collect();
    groups.retain(|group| params.lets_through(group));
    if let Some(sort) = params.sort {
        sort.arrange(&mut groups, compare);
    }
    let (total, Page { limit, offset }) = (groups.len() as u64, params.page);
    Json(GroupList { groups: params.page.cut(groups), total, limit, offset })
}

/// Make a group
///
/// `name` and `interval` (or `schedule`) are required. Endpoints that bear its name already inherit from now on.
#[utoipa::path(post, path = "/api/v1/groups", tag = "groups", request_body = WholeGroup, responses(
    (status = 201, body = GroupItem, headers(("Location" = String), ("ETag" = String))),
    (status = 409, response = super::openapi::ProblemResponse),
))]
pub async fn create(
    State(ctx): Ctx,
    actor: Actor,
    Query(()): Query<()>,
    JsonBody(GroupSettings(settings)): JsonBody<GroupSettings>,
) -> Result<Response, Problem> {
    Ok(created(&verbs::create(&ctx, &actor, settings).await?))
}

/// Get a group
///
/// What was set is in `settings`, what an endpoint has that says nothing for itself in `effective`.
#[utoipa::path(get, path = "/api/v1/groups/{name}", tag = "groups", params(("name" = String, Path)),
    responses((status = 200, body = GroupItem, headers(("ETag" = String)))))]
pub async fn get(State(ctx): Ctx, TextPath(name): TextPath, Query(()): Query<()>) -> Result<Shown, Problem> {
    Ok(shown(&verbs::get(&ctx, &name)?))
}

/// Replace a group, or make it
///
/// `name` and `interval` (or `schedule`) are required; whatever is absent returns to its default. Its endpoints follow
/// at the next slot of the new schedule.
#[utoipa::path(put, path = "/api/v1/groups/{name}", tag = "groups", request_body = WholeGroup,
    params(("name" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The ETag that was read"),
        ("If-None-Match" = Option<String>, Header, description = "*: make it only where it is not there yet")),
    responses(
        (status = 200, body = GroupItem, headers(("ETag" = String)), description = "replaced"),
        (status = 201, body = GroupItem, headers(("Location" = String), ("ETag" = String)), description = "created"),
        (status = 409, response = super::openapi::ProblemResponse),
        (status = 412, response = super::openapi::ProblemResponse),
    ))]
pub async fn replace(
    State(ctx): Ctx,
    actor: Actor,
    TextPath(name): TextPath,
    Query(()): Query<()>,
    IfThere(precondition): IfThere,
    JsonBody(GroupSettings(settings)): JsonBody<GroupSettings>,
) -> Result<Response, Problem> {
    Ok(match verbs::put(&ctx, &actor, name, precondition, settings).await? {
        Put::Created(report) => created(&report),
        Put::Replaced(report) => shown(&report).into_response(),
    })
}

/// Change a group
///
/// A JSON merge patch (RFC 7396): `null` returns a setting to its default.
#[utoipa::path(patch, path = "/api/v1/groups/{name}", tag = "groups",
    request_body(content((GroupSettings = "application/json"), (GroupSettings = "application/merge-patch+json"))),
    params(("name" = String, Path), ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses(
        (status = 200, body = GroupItem, headers(("ETag" = String))),
        (status = 409, response = super::openapi::ProblemResponse),
        (status = 412, response = super::openapi::ProblemResponse),
    ))]
pub async fn patch(
    State(ctx): Ctx,
    actor: Actor,
    TextPath(name): TextPath,
    Query(()): Query<()>,
    IfMatch(revision): IfMatch,
    JsonBody(patch): JsonBody<serde_json::Value>,
) -> Result<Shown, Problem> {
    Ok(shown(&verbs::patch(&ctx, &actor, name, revision, patch).await?))
}

/// Delete a group
///
/// Its endpoints stay, and inherit the defaults alone; while there are any, the group is still listed, as implicit.
#[utoipa::path(delete, path = "/api/v1/groups/{name}", tag = "groups",
    params(("name" = String, Path), ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses(
        (status = 204, description = "deleted"),
        (status = 409, response = super::openapi::ProblemResponse),
        (status = 412, response = super::openapi::ProblemResponse),
    ))]
pub async fn delete(
    State(ctx): Ctx,
    actor: Actor,
    TextPath(name): TextPath,
    Query(()): Query<()>,
    IfMatch(revision): IfMatch,
) -> Result<StatusCode, Problem> {
    verbs::delete(&ctx, &actor, name, revision).await?;
    Ok(StatusCode::NO_CONTENT)
}
