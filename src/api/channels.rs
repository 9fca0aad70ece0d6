//! `/api/v1/channels`: where is told, and how each channel does. Those of the configuration are seen and tried here,
//! others made, changed and deleted.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::channel_settings::{ChannelReplacement, ChannelSettings, NewChannel};
use super::channel_view::ChannelItem;
use super::error::Problem;
use super::extract::{IfMatch, JsonBody, NoBody, TextPath, etag};
use super::pagination::{FromParams, Page, Params, Query, Sort, sort_keys};
use crate::config::channels::Settings;
use crate::domain::endpoint::Origin;
use crate::service::channels::{self as verbs, Change, ChannelReport};
use crate::service::{Actor, ServiceContext};

type Ctx = State<Arc<ServiceContext>>;

sort_keys! {
    /// By what channels are ordered.
    pub enum ChannelSort {
        Name = "name",
        Type = "type",
        Status = "status",
        CreatedAt = "created_at",
        UpdatedAt = "updated_at",
    }
}

/// Which channels.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ChannelParams {
    /// Only those of the configuration, or only those made through the API.
    origin: Option<Origin>,
    /// By what the list is ordered; `-` before it reverses. Default: the configured ones in their order, then those made through the API in theirs.
    #[param(inline, value_type = Option<ChannelSort>)]
    sort: Option<Sort<ChannelSort>>,
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

impl FromParams for ChannelParams {
    fn from_params(params: &mut Params) -> Self {
        Self {
            origin: params.word("origin", "config, api"),
            sort: params.sort(),
            limit: (),
            offset: (),
            page: params.page(100),
        }
    }
}

/// A page of channels.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChannelList {
    channels: Vec<ChannelItem>,
    total: u64,
    limit: u64,
    offset: u64,
}

/// What became of a test message.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChannelTest {
    channel: String,
    delivered: bool,
    /// What the other side said.
    #[schema(example = "200 OK")]
    answer: Option<String>,
    /// Why it was not delivered.
    error: Option<String>,
}

/// List channels
#[utoipa::path(get, path = "/api/v1/channels", tag = "channels", params(ChannelParams),
    responses((status = 200, body = ChannelList)))]
pub async fn list(State(ctx): Ctx, Query(params): Query<ChannelParams>) -> Json<ChannelList> {
    let found = verbs::list(&ctx).await;
    let found = found.iter().filter(|report| params.origin.is_none_or(|origin| report.config.origin == origin));
    let mut all: Vec<ChannelItem> = found.map(ChannelItem::from).collect();
    if let Some(sort) = params.sort {
        sort.arrange(&mut all, |key, a, b| match key {
            ChannelSort::Name => a.name.cmp(&b.name),
            ChannelSort::Type => a.kind.cmp(&b.kind),
            ChannelSort::Status => a.status.cmp(&b.status),
            ChannelSort::CreatedAt => a.created_at.cmp(&b.created_at),
            ChannelSort::UpdatedAt => a.updated_at.cmp(&b.updated_at),
        });
    }
    let Page { limit, offset } = params.page;
    Json(ChannelList { total: all.len() as u64, channels: params.page.cut(all), limit, offset })
}

type Shown = (Option<[(HeaderName, String); 1]>, Json<ChannelItem>);

fn shown(report: &ChannelReport) -> Shown {
    (report.made.as_ref().map(|made| [etag(made.revision)]), Json(ChannelItem::from(report)))
}

/// Make a channel
///
/// `name` and `type` are required, and what its type needs. It is used at once.
#[utoipa::path(post, path = "/api/v1/channels", tag = "channels", request_body = NewChannel, responses(
    (status = 201, body = ChannelItem, headers(("Location" = String), ("ETag" = String))),
    (status = 409, response = super::openapi::ProblemResponse),
))]
pub async fn create(
    State(ctx): Ctx,
    actor: Actor,
    Query(()): Query<()>,
    JsonBody(given): JsonBody<Settings>,
) -> Result<Response, Problem> {
    let report = verbs::create(&ctx, &actor, given).await?;
    let name = utf8_percent_encode(&report.config.name, NON_ALPHANUMERIC);
    let location = [(header::LOCATION, format!("/api/v1/channels/{name}"))];
    Ok((StatusCode::CREATED, location, shown(&report)).into_response())
}

/// Get a channel
///
/// The `ETag` is there for those made through the API.
#[utoipa::path(get, path = "/api/v1/channels/{name}", tag = "channels", params(("name" = String, Path)),
    responses((status = 200, body = ChannelItem, headers(("ETag" = String)))))]
pub async fn get(State(ctx): Ctx, TextPath(name): TextPath, Query(()): Query<()>) -> Result<Shown, Problem> {
    Ok(shown(&verbs::get(&ctx, &name).await?))
}

/// Replace a channel
///
/// `type` is required, and what its type needs; whatever is absent returns to its default. What waits in the channel is
/// attempted at once through what it is now.
#[utoipa::path(put, path = "/api/v1/channels/{name}", tag = "channels", request_body = ChannelReplacement,
    params(("name" = String, Path), ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses(
        (status = 200, body = ChannelItem, headers(("ETag" = String))),
        (status = 409, response = super::openapi::ProblemResponse),
        (status = 412, response = super::openapi::ProblemResponse),
    ))]
pub async fn replace(
    State(ctx): Ctx,
    actor: Actor,
    TextPath(name): TextPath,
    Query(()): Query<()>,
    IfMatch(revision): IfMatch,
    JsonBody(given): JsonBody<Settings>,
) -> Result<Shown, Problem> {
    Ok(shown(&verbs::change(&ctx, &actor, &name, revision, Change::Replace(given)).await?))
}

/// Change a channel
///
/// A JSON merge patch (RFC 7396): `null` returns a setting to its default. A secret that is not in it is kept only as
/// long as the channel leads to the same host.
#[utoipa::path(patch, path = "/api/v1/channels/{name}", tag = "channels",
    request_body(content((ChannelSettings = "application/json"), (ChannelSettings = "application/merge-patch+json"))),
    params(("name" = String, Path), ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses(
        (status = 200, body = ChannelItem, headers(("ETag" = String))),
        (status = 409, response = super::openapi::ProblemResponse),
        (status = 412, response = super::openapi::ProblemResponse),
    ))]
pub async fn patch(
    State(ctx): Ctx,
    actor: Actor,
    TextPath(name): TextPath,
    Query(()): Query<()>,
    IfMatch(revision): IfMatch,
    JsonBody(patch): JsonBody<Settings>,
) -> Result<Shown, Problem> {
    Ok(shown(&verbs::change(&ctx, &actor, &name, revision, Change::Patch(patch)).await?))
}

/// Whether a channel goes that something names.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeleteChannelQuery {
    /// Delete it although endpoints, groups or other channels name it. Default false: that is refused.
    force: Option<bool>,
}

impl FromParams for DeleteChannelQuery {
    fn from_params(params: &mut Params) -> Self {
        Self { force: params.boolean("force") }
    }
}

/// Delete a channel
///
/// What waits in it is given up, with the reason. Those that name it are told by the other channels that they name, else
/// by the default route.
#[utoipa::path(delete, path = "/api/v1/channels/{name}", tag = "channels",
    params(("name" = String, Path), DeleteChannelQuery,
        ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses(
        (status = 204, description = "deleted"),
        (status = 409, response = super::openapi::ProblemResponse),
        (status = 412, response = super::openapi::ProblemResponse),
    ))]
pub async fn delete(
    State(ctx): Ctx,
    actor: Actor,
    TextPath(name): TextPath,
    Query(query): Query<DeleteChannelQuery>,
    IfMatch(revision): IfMatch,
) -> Result<StatusCode, Problem> {
    verbs::delete(&ctx, &actor, &name, revision, query.force == Some(true)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Test a channel
///
/// Sends a message that is marked as a test through the real transport, and tells what the other side answered. 200
/// whether or not it was delivered.
#[utoipa::path(post, path = "/api/v1/channels/{name}/test", tag = "channels", params(("name" = String, Path)),
    responses(
        (status = 200, body = ChannelTest),
        (status = 409, response = super::openapi::ProblemResponse),
    ))]
pub async fn test(
    State(ctx): Ctx,
    actor: Actor,
    TextPath(name): TextPath,
    Query(()): Query<()>,
    _: NoBody,
) -> Result<Json<ChannelTest>, Problem> {
    let (delivered, answer, error) = match verbs::test(&ctx, &actor, &name).await? {
        Ok(answer) => (true, Some(answer), None),
        Err(error) => (false, None, Some(error)),
    };
    Ok(Json(ChannelTest { channel: name, delivered, answer, error }))
}
