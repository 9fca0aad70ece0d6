//! `/api/v1/silences`: of which endpoints nobody is told for a time.

use std::cmp::Ordering;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::Problem;
use super::extract::{IfMatch, JsonBody, SilencePath, etag};
use super::pagination::{FromParams, Page, Params, Query, Sort, sort_keys};
use crate::domain::Timestamp;
use crate::domain::selector::Selectors;
use crate::domain::silence::SilenceSettings;
use crate::service::silences::{self as verbs, Change, SilenceReport};
use crate::service::{Actor, ServiceContext};

type Ctx = State<Arc<ServiceContext>>;

/// Whether a silence has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SilenceState {
    Active,
    Expired,
}

sort_keys! {
    /// By what silences are ordered.
    pub enum SilenceSort {
        Id = "id",
        Until = "until",
    }
}

/// Which silences.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SilenceParams {
    /// Only those that have not ended, or only those that have.
    #[param(inline)]
    state: Option<SilenceState>,
    /// By what the list is ordered; `-` before it reverses. Default: by id.
    #[param(inline, value_type = Option<SilenceSort>)]
    sort: Option<Sort<SilenceSort>>,
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

impl FromParams for SilenceParams {
    fn from_params(params: &mut Params) -> Self {
        let state = |text: &str| match text {
            "active" => Ok(SilenceState::Active),
            "expired" => Ok(SilenceState::Expired),
            _ => Err("must be one of active, expired".to_owned()),
        };
        Self {
            state: params.parsed("state", state),
            sort: params.sort(),
            limit: (),
            offset: (),
            page: params.page(100),
        }
    }
}

/// A silence.
#[derive(Debug, Serialize, ToSchema)]
pub struct SilenceItem {
    id: i64,
    state: SilenceState,
    /// Of which endpoints nothing is told.
    #[serde(rename = "match")]
    selectors: Vec<String>,
    #[schema(value_type = String, format = DateTime)]
    until: Timestamp,
    comment: String,
    /// The name of whoever made it.
    created_by: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// How many endpoints it is about now.
    endpoints: u64,
    /// What of it is stored and cannot be read (damage, or the work of a newer version): it silences nothing until it is
    /// replaced. Null: all can be.
    error: Option<String>,
    /// Counts changes; the `ETag`.
    revision: i64,
}

/// A page of silences.
#[derive(Debug, Serialize, ToSchema)]
pub struct SilenceList {
    silences: Vec<SilenceItem>,
    /// Silences that the filters let through, on all pages.
    total: u64,
    limit: u64,
    offset: u64,
}

fn state_of(report: &SilenceReport) -> SilenceState {
    if report.is_on { SilenceState::Active } else { SilenceState::Expired }
}

impl From<SilenceReport> for SilenceItem {
    fn from(report: SilenceReport) -> Self {
        let silence = &report.silence;
        let Selectors(selectors) = silence.settings.selectors.clone().unwrap_or_default();
        Self {
            id: silence.id,
            state: state_of(&report),
            selectors,
            until: silence.until(),
            comment: silence.settings.comment.clone().unwrap_or_default(),
            created_by: silence.created_by.clone(),
            created_at: silence.created_at,
            updated_at: silence.updated_at,
            endpoints: report.endpoints as u64,
            error: silence.unreadable.clone(),
            revision: silence.revision,
        }
    }
}

type Shown = ([(HeaderName, String); 1], Json<SilenceItem>);

fn shown(report: SilenceReport) -> Shown {
    ([etag(report.silence.revision)], Json(report.into()))
}

fn compare(key: SilenceSort, a: &SilenceReport, b: &SilenceReport) -> Ordering {
    let order = match key {
        SilenceSort::Id => Ordering::Equal,
        SilenceSort::Until => a.silence.until().cmp(&b.silence.until()),
    };
    order.then_with(|| a.silence.id.cmp(&b.silence.id))
}

/// List silences
///
/// Those that have ended too, as long as they are kept.
#[utoipa::path(get, path = "/api/v1/silences", tag = "maintenance", params(SilenceParams),
    responses((status = 200, body = SilenceList)))]
pub async fn list(State(ctx): Ctx, Query(params): Query<SilenceParams>) -> Json<SilenceList> {
    let mut silences = verbs::list(&ctx);
    silences.retain(|report| params.state.is_none_or(|wanted| state_of(report) == wanted));
    if let Some(sort) = params.sort {
        sort.arrange(&mut silences, compare);
    }
    let (total, Page { limit, offset }) = (silences.len() as u64, params.page);
    let silences = params.page.cut(silences).into_iter().map(SilenceItem::from).collect();
    Json(SilenceList { silences, total, limit, offset })
}

/// Make a silence
///
/// `match` and `until` are required. It is in force from now on.
#[utoipa::path(post, path = "/api/v1/silences", tag = "maintenance", request_body = SilenceSettings, responses(
    (status = 201, body = SilenceItem, headers(("Location" = String), ("ETag" = String))),
))]
pub async fn create(
    State(ctx): Ctx,
    actor: Actor,
    Query(()): Query<()>,
    JsonBody(settings): JsonBody<SilenceSettings>,
) -> Result<Response, Problem> {
    let report = verbs::create(&ctx, &actor, settings).await?;
    let location = [(header::LOCATION, format!("/api/v1/silences/{}", report.silence.id))];
    Ok((StatusCode::CREATED, location, shown(report)).into_response())
}

/// Get a silence
#[utoipa::path(get, path = "/api/v1/silences/{id}", tag = "maintenance", params(("id" = i64, Path, minimum = 1)),
    responses((status = 200, body = SilenceItem, headers(("ETag" = String)))))]
pub async fn get(State(ctx): Ctx, SilencePath(id): SilencePath, Query(()): Query<()>) -> Result<Shown, Problem> {
    Ok(shown(verbs::get(&ctx, id)?))
}

/// Replace a silence
///
/// `match` and `until` are required.
#[utoipa::path(put, path = "/api/v1/silences/{id}", tag = "maintenance", request_body = SilenceSettings,
    params(
        ("id" = i64, Path, minimum = 1),
        ("If-Match" = Option<String>, Header, description = "The ETag that was read"),
    ),
    responses(
        (status = 200, body = SilenceItem, headers(("ETag" = String))),
        (status = 412, response = super::openapi::ProblemResponse),
    ))]
pub async fn replace(
    State(ctx): Ctx,
    actor: Actor,
    SilencePath(id): SilencePath,
    Query(()): Query<()>,
    IfMatch(revision): IfMatch,
    JsonBody(settings): JsonBody<SilenceSettings>,
) -> Result<Shown, Problem> {
    Ok(shown(verbs::change(&ctx, &actor, id, revision, Change::Replace(settings)).await?))
}

/// Change a silence
///
/// A JSON merge patch (RFC 7396).
#[utoipa::path(patch, path = "/api/v1/silences/{id}", tag = "maintenance",
    request_body(content((SilenceSettings = "application/json"), (SilenceSettings = "application/merge-patch+json"))),
    params(
        ("id" = i64, Path, minimum = 1),
        ("If-Match" = Option<String>, Header, description = "The ETag that was read"),
    ),
    responses(
        (status = 200, body = SilenceItem, headers(("ETag" = String))),
        (status = 412, response = super::openapi::ProblemResponse),
    ))]
pub async fn patch(
    State(ctx): Ctx,
    actor: Actor,
    SilencePath(id): SilencePath,
    Query(()): Query<()>,
    IfMatch(revision): IfMatch,
    JsonBody(patch): JsonBody<serde_json::Value>,
) -> Result<Shown, Problem> {
    Ok(shown(verbs::change(&ctx, &actor, id, revision, Change::Patch(patch)).await?))
}

/// Delete a silence
///
/// What it kept from being told is told now, if it lasts. Its id is never used again.
#[utoipa::path(delete, path = "/api/v1/silences/{id}", tag = "maintenance",
    params(
        ("id" = i64, Path, minimum = 1),
        ("If-Match" = Option<String>, Header, description = "The ETag that was read"),
    ),
    responses(
        (status = 204, description = "deleted"),
        (status = 412, response = super::openapi::ProblemResponse),
    ))]
pub async fn delete(
    State(ctx): Ctx,
    actor: Actor,
    SilencePath(id): SilencePath,
    Query(()): Query<()>,
    IfMatch(revision): IfMatch,
) -> Result<StatusCode, Problem> {
    verbs::delete(&ctx, &actor, id, revision).await?;
    Ok(StatusCode::NO_CONTENT)
}
