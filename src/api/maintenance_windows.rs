//! `/api/v1/maintenance-windows`: when work is being done on endpoints on purpose.

use std::cmp::Ordering;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::Problem;
use super::extract::{IfMatch, JsonBody, TextPath, etag};
use super::pagination::{FromParams, Page, Params, Query, Sort, sort_keys};
use crate::domain::Timestamp;
use crate::domain::endpoint::Origin;
use crate::domain::maintenance::{Span, WindowMade, WindowSettings};
use crate::domain::selector::Selectors;
use crate::domain::setting::DurationSetting;
use crate::service::maintenance::{self as verbs, Change, WindowReport};
use crate::service::{Actor, ServiceContext};

type Ctx = State<Arc<ServiceContext>>;

/// How a window stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WindowState {
    /// It is open.
    Open,
    /// It is still to begin, for the first time or again.
    Scheduled,
    /// It will not be open again.
    Over,
}

sort_keys! {
    /// By what windows are ordered.
    pub enum WindowSort {
        Name = "name",
        State = "state",
        Next = "next",
    }
}

/// Which windows.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WindowParams {
    /// Only those that stand so.
    #[param(inline)]
    state: Option<WindowState>,
    /// Only those of the configuration, or only those made here.
    origin: Option<Origin>,
    /// By what the list is ordered; `-` before it reverses. Default: by name.
    #[param(inline, value_type = Option<WindowSort>)]
    sort: Option<Sort<WindowSort>>,
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

impl FromParams for WindowParams {
    fn from_params(params: &mut Params) -> Self {
        let state = |text: &str| match text {
            "open" => Ok(WindowState::Open),
            "scheduled" => Ok(WindowState::Scheduled),
            "over" => Ok(WindowState::Over),
            _ => Err("must be one of open, scheduled, over".to_owned()),
        };
        Self {
            state: params.parsed("state", state),
            origin: params.word("origin", "config, api"),
            sort: params.sort(),
            limit: (),
            offset: (),
            page: params.page(100),
        }
    }
}

/// A time in which a window is open: from `start`, up to but without `end`.
#[derive(Debug, Serialize, ToSchema)]
pub struct WindowSpan {
    #[schema(value_type = String, format = DateTime)]
    start: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    end: Timestamp,
}

impl From<Span> for WindowSpan {
    fn from(Span { start, end }: Span) -> Self {
        Self { start, end }
    }
}

/// A window: what was set, and how it stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct WindowItem {
    #[schema(example = "database upgrade")]
    name: String,
    state: WindowState,
    /// The time that it is open in now.
    current: Option<WindowSpan>,
    /// The first time that is still to begin.
    next: Option<WindowSpan>,
    /// As set; null where it begins otherwise, as of `at`, `every` and `cron`.
    start: Option<String>,
    at: Option<String>,
    every: Option<String>,
    cron: Option<String>,
    /// How long it is open each time. Null: what is stored cannot be read.
    #[serde(rename = "for")]
    length: Option<DurationSetting>,
    /// Of the clock that counts; the monitor's where none was set.
    #[schema(example = "Europe/Berlin")]
    timezone: String,
    /// On which endpoints work is being done.
    #[serde(rename = "match")]
    selectors: Vec<String>,
    reason: String,
    /// How many endpoints that is now.
    endpoints: u64,
    origin: Origin,
    /// File and line of a configured window.
    source: Option<String>,
    /// What of it is stored and cannot be read (damage, or the work of a newer version): it is never open until it is
    /// replaced. Null: all can be.
    error: Option<String>,
    /// Counts changes; also the `ETag`. Null for a window of the configuration, as what follows.
    revision: Option<i64>,
    #[schema(value_type = Option<String>, format = DateTime)]
    created_at: Option<Timestamp>,
    /// The name of whoever made it.
    created_by: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    updated_at: Option<Timestamp>,
}

/// A page of windows.
#[derive(Debug, Serialize, ToSchema)]
pub struct WindowList {
    maintenance_windows: Vec<WindowItem>,
    /// Windows that the filters let through, on all pages.
    total: u64,
    limit: u64,
    offset: u64,
}

fn state_of(report: &WindowReport) -> WindowState {
    match (&report.open, &report.next) {
        (Some(_), _) => WindowState::Open,
        (None, Some(_)) => WindowState::Scheduled,
        (None, None) => WindowState::Over,
    }
}

fn origin_of(report: &WindowReport) -> Origin {
    match report.known.made {
        WindowMade::Configured { .. } => Origin::Config,
        WindowMade::Stored(_) => Origin::Api,
    }
}

impl From<WindowReport> for WindowItem {
    fn from(report: WindowReport) -> Self {
        let settings = report.known.settings.clone();
        let stored = report.known.stored();
        let source = match &report.known.made {
            WindowMade::Configured { source } => Some(source.clone()),
            WindowMade::Stored(_) => None,
        };
        let Selectors(selectors) = settings.selectors.unwrap_or_default();
        Self {
            state: state_of(&report),
            current: report.open.map(WindowSpan::from),
            next: report.next.map(WindowSpan::from),
            name: settings.name.unwrap_or_default(),
            start: settings.start,
            at: settings.at,
            every: settings.every,
            cron: settings.cron,
            length: settings.length,
            timezone: settings.timezone.unwrap_or_else(|| report.timezone.name().to_owned()),
            selectors,
            reason: settings.reason.unwrap_or_default(),
            endpoints: report.endpoints as u64,
            origin: origin_of(&report),
            source,
            error: report.known.unreadable.clone(),
            revision: stored.map(|stored| stored.revision),
            created_at: stored.map(|stored| stored.created_at),
            created_by: stored.map(|stored| stored.created_by.clone()),
            updated_at: stored.map(|stored| stored.updated_at),
        }
    }
}

type Shown = (Option<[(HeaderName, String); 1]>, Json<WindowItem>);

fn shown(report: WindowReport) -> Shown {
    let revision = report.known.stored().map(|stored| [etag(stored.revision)]);
    (revision, Json(report.into()))
}

fn compare(key: WindowSort, a: &WindowReport, b: &WindowReport) -> Ordering {
    let order = match key {
        WindowSort::Name => Ordering::Equal,
        WindowSort::State => state_of(a).cmp(&state_of(b)),
        // Those that will not begin again are last.
        WindowSort::Next => {
            let begins = |report: &WindowReport| report.next.map(|span| span.start);
            begins(a).is_none().cmp(&begins(b).is_none()).then(begins(a).cmp(&begins(b)))
        }
    };
    order.then_with(|| a.known.name().cmp(b.known.name()))
}

/// List maintenance windows
///
/// Those of the configuration and those made here.
#[utoipa::path(get, path = "/api/v1/maintenance-windows", tag = "maintenance", params(WindowParams),
    responses((status = 200, body = WindowList)))]
pub async fn list(State(ctx): Ctx, Query(params): Query<WindowParams>) -> Json<WindowList> {
    let mut windows = verbs::list(&ctx);
    windows.retain(|report| {
        params.state.is_none_or(|wanted| state_of(report) == wanted)
            && params.origin.is_none_or(|wanted| origin_of(report) == wanted)
    });
    if let Some(sort) = params.sort {
        sort.arrange(&mut windows, compare);
    }
    let (total, Page { limit, offset }) = (windows.len() as u64, params.page);
    let maintenance_windows = params.page.cut(windows).into_iter().map(WindowItem::from).collect();
    Json(WindowList { maintenance_windows, total, limit, offset })
}

/// Make a maintenance window
///
/// `name`, `match`, `for` and one of `start`, `at` with `every`, and `cron` are required. One that begins now is open at
/// once.
#[utoipa::path(post, path = "/api/v1/maintenance-windows", tag = "maintenance", request_body = WindowSettings,
    responses(
        (status = 201, body = WindowItem, headers(("Location" = String), ("ETag" = String))),
        (status = 409, response = super::openapi::ProblemResponse),
    ))]
pub async fn create(
    State(ctx): Ctx,
    actor: Actor,
    Query(()): Query<()>,
    JsonBody(settings): JsonBody<WindowSettings>,
) -> Result<Response, Problem> {
    let report = verbs::create(&ctx, &actor, settings).await?;
    let mut location = String::from("/api/v1/maintenance-windows/");
    let name = report.known.name().as_bytes();
    location.extend(url::form_urlencoded::byte_serialize(name).map(|part| part.replace('+', "%20")));
    let mut response = (StatusCode::CREATED, shown(report)).into_response();
    // Percent-encoded, so that it is always a value of a header.
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Get a maintenance window
#[utoipa::path(get, path = "/api/v1/maintenance-windows/{name}", tag = "maintenance",
    params(("name" = String, Path)),
    responses((status = 200, body = WindowItem, headers(("ETag" = String)))))]
pub async fn get(State(ctx): Ctx, TextPath(name): TextPath, Query(()): Query<()>) -> Result<Shown, Problem> {
    Ok(shown(verbs::get(&ctx, &name)?))
}

/// Replace a maintenance window
///
/// What is required of a new one is required here; whatever is absent returns to its default. Another `name` renames it.
#[utoipa::path(put, path = "/api/v1/maintenance-windows/{name}", tag = "maintenance", request_body = WindowSettings,
    params(("name" = String, Path), ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses(
        (status = 200, body = WindowItem, headers(("ETag" = String))),
        (status = 409, response = super::openapi::ProblemResponse),
        (status = 412, response = super::openapi::ProblemResponse),
    ))]
pub async fn replace(
    State(ctx): Ctx,
    actor: Actor,
    TextPath(name): TextPath,
    Query(()): Query<()>,
    IfMatch(revision): IfMatch,
    JsonBody(settings): JsonBody<WindowSettings>,
) -> Result<Shown, Problem> {
    Ok(shown(verbs::change(&ctx, &actor, name, revision, Change::Replace(settings)).await?))
}

/// Change a maintenance window
///
/// A JSON merge patch (RFC 7396): `null` returns a setting to its default.
#[utoipa::path(patch, path = "/api/v1/maintenance-windows/{name}", tag = "maintenance",
    request_body(content((WindowSettings = "application/json"), (WindowSettings = "application/merge-patch+json"))),
    params(("name" = String, Path), ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses(
        (status = 200, body = WindowItem, headers(("ETag" = String))),
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
    Ok(shown(verbs::change(&ctx, &actor, name, revision, Change::Patch(patch)).await?))
}

/// Delete a maintenance window
///
/// One that is open is over: what failed in it is checked at once, and told if it is still down.
#[utoipa::path(delete, path = "/api/v1/maintenance-windows/{name}", tag = "maintenance",
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
