//! `/api/v1/alerts`: rules that watch this monitor's own metrics.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::Problem;
use super::extract::{IfMatch, JsonBody, TextPath, etag};
use super::pagination::{FromParams, Page, Params, Query, Sort, sort_keys};
use crate::domain::Timestamp;
use crate::domain::alert_rule::{AlertSettings, Comparison, Standing, ThresholdSetting};
use crate::domain::notification::Severity;
use crate::domain::setting::DurationSetting;
use crate::service::alerts::{self as verbs, AlertRule, Change};
use crate::service::{Actor, ServiceContext};

type Ctx = State<Arc<ServiceContext>>;

sort_keys! {
    /// By what rules are ordered.
    pub enum AlertSort {
        Id = "id",
        Metric = "metric",
        State = "state",
        Severity = "severity",
        Since = "since",
        CreatedAt = "created_at",
        UpdatedAt = "updated_at",
    }
}

/// Which rules.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AlertParams {
    /// Only those that stand so.
    state: Option<Standing>,
    /// Only those of this metric.
    metric: Option<String>,
    /// By what the list is ordered; `-` before it reverses. Default: by id.
    #[param(inline, value_type = Option<AlertSort>)]
    sort: Option<Sort<AlertSort>>,
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

impl FromParams for AlertParams {
    fn from_params(params: &mut Params) -> Self {
        Self {
            state: params.word("state", "ok, pending, firing, no_data, disabled"),
            metric: params.text("metric"),
            sort: params.sort(),
            limit: (),
            offset: (),
            page: params.page(100),
        }
    }
}

impl AlertParams {
    fn lets_through(&self, rule: &AlertRule) -> bool {
        self.state.is_none_or(|state| rule.standing == state)
            && self.metric.as_ref().is_none_or(|metric| rule.settings.metric.as_ref() == Some(metric))
    }
}

/// A page of rules.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlertList {
    alerts: Vec<AlertItem>,
    total: u64,
    limit: u64,
    offset: u64,
}

/// A rule and how it stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlertItem {
    #[schema(example = "alert_001")]
    alert_id: String,
    #[schema(example = "memory_usage")]
    metric: String,
    comparison: Comparison,
    /// As it was written.
    threshold: ThresholdSetting,
    /// As it was written; null: the default, see `clears_at`.
    #[schema(nullable)]
    clear_threshold: Option<ThresholdSetting>,
    /// How long it must hold without interruption before it fires.
    #[serde(rename = "for")]
    hold: DurationSetting,
    #[schema(example = "email_notify")]
    action: String,
    severity: Severity,
    enabled: bool,
    state: Standing,
    /// Since when its state is this; of one that fires, when it fired.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// What is measured now, as it is compared with the threshold; null: nothing can be at this moment.
    #[schema(example = "42.1%")]
    value: Option<String>,
    /// The same in `unit`.
    numeric_value: Option<f64>,
    /// Null when the threshold does not fit the metric any longer.
    #[schema(example = "percent")]
    unit: Option<&'static str>,
    /// Back at this it clears, in `unit`, unless the comparison still holds there.
    clears_at: Option<f64>,
    channel: AlertChannel,
    /// What of it is stored and cannot be read (damage, or the work of a newer version): it is not looked at until it is
    /// replaced. Null: all can be.
    error: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// The name of whoever made it.
    created_by: String,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// Counts changes; the `ETag`.
    revision: i64,
}

/// Through which channel a rule is told.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlertChannel {
    #[schema(example = "email")]
    name: String,
    /// Whether it is on; through one that is not, nothing is told.
    enabled: bool,
    exists: bool,
    /// The channels that are told when it fires now: this one; where there is none of it, those of the default route.
    /// Empty: nobody, because it is off, or no notifications are sent at all.
    #[schema(example = json!(["email"]))]
    tells: Vec<String>,
}

/// A new rule.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlertCreated {
    #[schema(example = "Alert created")]
    status: &'static str,
    #[serde(flatten)]
    item: AlertItem,
}

impl From<AlertRule> for AlertItem {
    fn from(rule: AlertRule) -> Self {
        let AlertSettings { metric, threshold, action, comparison, hold, clear_threshold, severity, enabled } =
            rule.settings;
        Self {
            alert_id: rule.id.to_string(),
            metric: metric.unwrap_or_default(),
            comparison: comparison.unwrap_or(Comparison::Gt),
            threshold: threshold.unwrap_or(ThresholdSetting::Number(0.into())),
            clear_threshold,
            hold: hold.unwrap_or(DurationSetting(Duration::ZERO)),
            action: action.unwrap_or_default(),
            severity: severity.unwrap_or(Severity::Warning),
            enabled: enabled.unwrap_or(true),
            state: rule.standing,
            since: rule.since,
            value: rule.shown,
            numeric_value: rule.measured,
            unit: rule.unit,
            clears_at: rule.clears_at,
            channel: AlertChannel {
                name: rule.channel.name,
                enabled: rule.channel.enabled,
                exists: rule.channel.exists,
                tells: rule.channel.tells,
            },
            error: rule.unreadable,
            created_at: rule.created_at,
            created_by: rule.created_by,
            updated_at: rule.updated_at,
            revision: rule.revision,
        }
    }
}

type Shown = ([(HeaderName, String); 1], Json<AlertItem>);

fn shown(rule: AlertRule) -> Shown {
    ([etag(rule.revision)], Json(rule.into()))
}

fn compare(key: AlertSort, a: &AlertRule, b: &AlertRule) -> Ordering {
    match key {
        AlertSort::Id => a.id.cmp(&b.id),
        AlertSort::Metric => a.settings.metric.cmp(&b.settings.metric),
        AlertSort::State => a.standing.as_str().cmp(b.standing.as_str()),
        AlertSort::Severity => a.settings.severity.cmp(&b.settings.severity),
        AlertSort::Since => a.since.cmp(&b.since),
        AlertSort::CreatedAt => a.created_at.cmp(&b.created_at),
        AlertSort::UpdatedAt => a.updated_at.cmp(&b.updated_at),
    }
}

/// List alert rules
#[utoipa::path(get, path = "/api/v1/alerts", tag = "alerts", params(AlertParams),
    responses((status = 200, body = AlertList)))]
pub async fn list(State(ctx): Ctx, Query(params): Query<AlertParams>) -> Json<AlertList> {
    let mut rules: Vec<AlertRule> = verbs::list(&ctx).into_iter().filter(|rule| params.lets_through(rule)).collect();
    if let Some(sort) = params.sort {
        sort.arrange(&mut rules, compare);
    }
    let (total, Page { limit, offset }) = (rules.len() as u64, params.page);
    let alerts = params.page.cut(rules).into_iter().map(AlertItem::from).collect();
    Json(AlertList { alerts, total, limit, offset })
}

/// Make an alert rule
///
/// `metric`, `threshold` and `action` are required. It is looked at from now on.
#[utoipa::path(post, path = "/api/v1/alerts", tag = "alerts", request_body = AlertSettings, responses(
    (status = 201, body = AlertCreated, headers(("Location" = String), ("ETag" = String))),
))]
pub async fn create(
    State(ctx): Ctx,
    actor: Actor,
    Query(()): Query<()>,
    JsonBody(settings): JsonBody<AlertSettings>,
) -> Result<Response, Problem> {
    let rule = verbs::create(&ctx, &actor, settings).await?;
    let location = [(header::LOCATION, format!("/api/v1/alerts/{}", rule.id))];
    let revision = [etag(rule.revision)];
    let body = Json(AlertCreated { status: "Alert created", item: rule.into() });
    Ok((StatusCode::CREATED, location, revision, body).into_response())
}

/// Get an alert rule
#[utoipa::path(get, path = "/api/v1/alerts/{id}", tag = "alerts",
    params(("id" = String, Path, description = "Such as alert_001")),
    responses((status = 200, body = AlertItem, headers(("ETag" = String)))))]
pub async fn get(State(ctx): Ctx, TextPath(id): TextPath, Query(()): Query<()>) -> Result<Shown, Problem> {
    Ok(shown(verbs::get(&ctx, &id)?))
}

/// Replace an alert rule
///
/// `metric`, `threshold` and `action` are required. One that fires is told to be over (`rule_changed`), and is looked at
/// anew.
#[utoipa::path(put, path = "/api/v1/alerts/{id}", tag = "alerts", request_body = AlertSettings,
    params(
        ("id" = String, Path, description = "Such as alert_001"),
        ("If-Match" = Option<String>, Header, description = "The ETag that was read"),
    ),
    responses(
        (status = 200, body = AlertItem, headers(("ETag" = String))),
        (status = 412, response = super::openapi::ProblemResponse),
    ))]
pub async fn replace(
    State(ctx): Ctx,
    actor: Actor,
    TextPath(id): TextPath,
    Query(()): Query<()>,
    IfMatch(revision): IfMatch,
    JsonBody(settings): JsonBody<AlertSettings>,
) -> Result<Shown, Problem> {
    Ok(shown(verbs::change(&ctx, &actor, &id, revision, Change::Replace(settings)).await?))
}

/// Change an alert rule
///
/// A JSON merge patch (RFC 7396): `null` returns a setting to its default. One that fires is told to be over
/// (`rule_changed`), and is looked at anew.
#[utoipa::path(patch, path = "/api/v1/alerts/{id}", tag = "alerts",
    request_body(content((AlertSettings = "application/json"), (AlertSettings = "application/merge-patch+json"))),
    params(
        ("id" = String, Path, description = "Such as alert_001"),
        ("If-Match" = Option<String>, Header, description = "The ETag that was read"),
    ),
    responses(
        (status = 200, body = AlertItem, headers(("ETag" = String))),
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
    Ok(shown(verbs::change(&ctx, &actor, &id, revision, Change::Patch(patch)).await?))
}

/// Delete an alert rule
///
/// One that fires is told to be over (`rule_deleted`). Its id is never used again.
#[utoipa::path(delete, path = "/api/v1/alerts/{id}", tag = "alerts",
    params(
        ("id" = String, Path, description = "Such as alert_001"),
        ("If-Match" = Option<String>, Header, description = "The ETag that was read"),
    ),
    responses(
        (status = 204, description = "deleted"),
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
