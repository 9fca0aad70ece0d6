//! `/api/v1/api-keys`: who may use this API, and what for. Only administrators come here.

use std::cmp::Ordering;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::Problem;
use super::extract::{IfMatch, JsonBody, TextPath, etag};
use super::forms::WholeKey;
use super::pagination::{FromParams, Page, Params, Query, Sort, sort_keys};
use crate::domain::Timestamp;
use crate::domain::api_key::ApiKey;
use crate::domain::endpoint::Origin;
use crate::domain::role::Role;
use crate::service::api_keys::{self as verbs, Change, KeySettings};
use crate::service::{Actor, ServiceContext};

type Ctx = State<Arc<ServiceContext>>;

sort_keys! {
    /// By what keys are ordered.
    pub enum KeySort {
        Name = "name",
        Role = "role",
        CreatedAt = "created_at",
        ExpiresAt = "expires_at",
        LastUsedAt = "last_used_at",
    }
}

/// Which keys.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct KeyParams {
    /// Only those with this role.
    role: Option<Role>,
    /// Only those of the configuration, or only those made through the API.
    origin: Option<Origin>,
    /// By what the list is ordered; `-` before it reverses. Default: the configured ones in their order, then those made through the API by their ids.
    #[param(inline, value_type = Option<KeySort>)]
    sort: Option<Sort<KeySort>>,
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

impl FromParams for KeyParams {
    fn from_params(params: &mut Params) -> Self {
        Self {
            role: params.word("role", "viewer, operator, editor, admin"),
            origin: params.word("origin", "config, api"),
            sort: params.sort(),
            limit: (),
            offset: (),
            page: params.page(100),
        }
    }
}

impl KeyParams {
    fn lets_through(&self, key: &ApiKey) -> bool {
        self.role.is_none_or(|role| key.role == role) && self.origin.is_none_or(|origin| key.origin() == origin)
    }
}

/// A page of keys.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApiKeyList {
    api_keys: Vec<ApiKeyItem>,
    total: u64,
    limit: u64,
    offset: u64,
}

/// A key, without itself.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApiKeyItem {
    /// `key_7`, or `config_` and the name of a configured one.
    #[schema(example = "key_7")]
    id: String,
    /// How the logs call its holder.
    #[schema(example = "ci")]
    name: String,
    role: Role,
    /// The first characters of the key, to recognise it; null for a configured one.
    #[schema(example = "am_x7Qz0a")]
    prefix: Option<String>,
    origin: Origin,
    /// Where a configured key is written.
    source: Option<String>,
    /// From then on it is refused; null: never.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    is_expired: bool,
    /// Null for a configured key, as what follows.
    #[schema(value_type = Option<String>, format = DateTime)]
    created_at: Option<Timestamp>,
    /// The name of whoever made it.
    created_by: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    updated_at: Option<Timestamp>,
    /// Counts changes; the `ETag`.
    revision: Option<i64>,
    /// That of a configured key is known since the start of the monitor.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
    /// The address that used it last.
    last_used_from: Option<String>,
}

/// A new key, with itself: it is shown here and never again.
#[derive(Debug, Serialize, ToSchema)]
pub struct NewApiKey {
    /// What its holder sends.
    #[schema(example = "am_x7Qz0a9mWJc2mH1rJmZl3T5v8y4b6n0PqRsTuVwXyZA")]
    key: String,
    #[serde(flatten)]
    item: ApiKeyItem,
}

impl ApiKeyItem {
    fn new(key: ApiKey, now: Timestamp) -> Self {
        let made = key.made.as_ref();
        Self {
            id: key.id.to_string(),
            role: key.role,
            origin: key.origin(),
            expires_at: key.expires_at,
            is_expired: key.is_expired(now),
            created_at: made.map(|made| made.at),
            created_by: made.map(|made| made.by.clone()),
            updated_at: made.map(|made| made.updated_at),
            revision: made.map(|made| made.revision),
            last_used_at: key.last_use.map(|last| last.at),
            last_used_from: key.last_use.and_then(|last| last.address).map(|address| address.to_string()),
            name: key.name,
            prefix: key.prefix,
            source: key.source,
        }
    }
}

fn compare(key: KeySort, a: &ApiKey, b: &ApiKey) -> Ordering {
    match key {
        KeySort::Name => a.name.cmp(&b.name),
        KeySort::Role => a.role.cmp(&b.role),
        KeySort::CreatedAt => a.made.as_ref().map(|made| made.at).cmp(&b.made.as_ref().map(|made| made.at)),
        // What never expires comes last.
        KeySort::ExpiresAt => (a.expires_at.is_none(), a.expires_at).cmp(&(b.expires_at.is_none(), b.expires_at)),
        KeySort::LastUsedAt => a.last_use.map(|last| last.at).cmp(&b.last_use.map(|last| last.at)),
    }
}

type Shown = (Option<[(HeaderName, String); 1]>, Json<ApiKeyItem>);

fn shown(ctx: &ServiceContext, key: ApiKey) -> Shown {
    let revision = key.made.as_ref().map(|made| [etag(made.revision)]);
    (revision, Json(ApiKeyItem::new(key, ctx.clock.now())))
}

/// List keys
///
/// Also those of the configuration. No key itself is shown.
#[utoipa::path(get, path = "/api/v1/api-keys", tag = "api-keys", params(KeyParams),
    responses((status = 200, body = ApiKeyList)))]
pub async fn list(State(ctx): Ctx, actor: Actor, Query(params): Query<KeyParams>) -> Result<Json<ApiKeyList>, Problem> {
    let mut keys: Vec<ApiKey> = verbs::list(&ctx, &actor)?.into_iter().filter(|key| params.lets_through(key)).collect();
    if let Some(sort) = params.sort {
        sort.arrange(&mut keys, compare);
    }
    let (now, total, Page { limit, offset }) = (ctx.clock.now(), keys.len() as u64, params.page);
    let api_keys = params.page.cut(keys).into_iter().map(|key| ApiKeyItem::new(key, now)).collect();
    Ok(Json(ApiKeyList { api_keys, total, limit, offset }))
}

/// Make a key
///
/// `name` and `role` are required. The answer has the `key` itself, which is shown only this once.
#[utoipa::path(post, path = "/api/v1/api-keys", tag = "api-keys", request_body = WholeKey, responses(
    (status = 201, body = NewApiKey, headers(("Location" = String), ("ETag" = String))),
    (status = 409, response = super::openapi::ProblemResponse),
))]
pub async fn create(
    State(ctx): Ctx,
    actor: Actor,
    Query(()): Query<()>,
    JsonBody(settings): JsonBody<KeySettings>,
) -> Result<Response, Problem> {
    let (key, secret) = verbs::create(&ctx, &actor, settings).await?;
    let headers =
        [(header::LOCATION, format!("/api/v1/api-keys/{}", key.id)), (header::CACHE_CONTROL, "no-store".to_owned())];
    let (revision, Json(item)) = shown(&ctx, key);
    let body = Json(NewApiKey { key: secret.expose().to_owned(), item });
    Ok((StatusCode::CREATED, headers, revision, body).into_response())
}

/// Get a key
#[utoipa::path(get, path = "/api/v1/api-keys/{id}", tag = "api-keys", params(("id" = String, Path)),
    responses((status = 200, body = ApiKeyItem, headers(("ETag" = String)))))]
pub async fn get(
    State(ctx): Ctx,
    actor: Actor,
    TextPath(id): TextPath,
    Query(()): Query<()>,
) -> Result<Shown, Problem> {
    Ok(shown(&ctx, verbs::get(&ctx, &actor, &id)?))
}

/// Replace the settings of a key
///
/// `name` and `role` are required; without `expires_at` it never expires. The key itself stays what it is.
#[utoipa::path(put, path = "/api/v1/api-keys/{id}", tag = "api-keys", request_body = WholeKey,
    params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses(
        (status = 200, body = ApiKeyItem, headers(("ETag" = String))),
        (status = 409, response = super::openapi::ProblemResponse),
        (status = 412, response = super::openapi::ProblemResponse),
    ))]
pub async fn replace(
    State(ctx): Ctx,
    actor: Actor,
    TextPath(id): TextPath,
    Query(()): Query<()>,
    IfMatch(revision): IfMatch,
    JsonBody(settings): JsonBody<KeySettings>,
) -> Result<Shown, Problem> {
    Ok(shown(&ctx, verbs::change(&ctx, &actor, &id, revision, Change::Replace(settings)).await?))
}

/// Change a key
///
/// A JSON merge patch (RFC 7396): `null` for `expires_at` means never.
#[utoipa::path(patch, path = "/api/v1/api-keys/{id}", tag = "api-keys",
    request_body(content((KeySettings = "application/json"), (KeySettings = "application/merge-patch+json"))),
    params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses(
        (status = 200, body = ApiKeyItem, headers(("ETag" = String))),
        (status = 409, response = super::openapi::ProblemResponse),
        (status = 412, response = super::openapi::ProblemResponse),
    ))]
pub async fn patch(
    State(ctx): Ctx,
    actor: Actor,
    TextPath(id): TextPath,
    Query(()): Query<()>,
    IfMatch(revision): IfMatch,
    JsonBody(patch): JsonBody<serde_json::Value>,
) -> Result<Shown, Problem> {
    Ok(shown(&ctx, verbs::change(&ctx, &actor, &id, revision, Change::Patch(patch)).await?))
}

/// Delete a key
///
/// Whoever has it is a stranger from now on.
#[utoipa::path(delete, path = "/api/v1/api-keys/{id}", tag = "api-keys",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses(
        (status = 204, description = "deleted"),
        (status = 409, response = super::openapi::ProblemResponse),
        (status = 412, response = super::openapi::ProblemResponse),
    ))]
pub async fn delete(
    State(ctx): Ctx,
    actor: Actor,
    TextPath(id): TextPath,
    Query(()): Query<()>,
    IfMatch(revision): IfMatch,
) -> Result<StatusCode, Problem> {
    verbs::delete(&ctx, &actor, &id, revision).await?;
    Ok(StatusCode::NO_CONTENT)
}
