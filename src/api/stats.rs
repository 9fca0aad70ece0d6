//! `/api/v1/stats`: uptime, history and the summary.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::check_view::Check;
use super::error::Problem;
use super::extract::EndpointPath;
use super::pagination::{FromParams, Moment, Page, Params, Query};
use crate::board::Entry;
use crate::domain::endpoint::EndpointId;
use crate::domain::outcome::Status;
use crate::domain::uptime::Period;
use crate::domain::{Timestamp, from_micros, micros};
use crate::service::error::FieldError;
use crate::service::history::{self, HistoryQuery};
use crate::service::reports::{self, Retention, UptimeQuery};
use crate::service::{ServiceContext, ServiceError};
use crate::service::{outages, summary};

type Ctx = State<Arc<ServiceContext>>;

/// Items of a page of the history, unless asked otherwise.
const DEFAULT_LIMIT: u64 = 100;

fn find(ctx: &ServiceContext, id: EndpointId) -> Result<Entry, Problem> {
    ctx.board.get(id).ok_or_else(|| ServiceError::NotFound(format!("endpoint {id}")).into())
}

/// Which window.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WindowQuery {
    /// A window that ends now. Default `24h`.
    #[param(inline)]
    period: Option<Period>,
    /// First instant of the window, instead of `period`: a date or RFC 3339.
    #[param(value_type = Option<String>, example = "2024-01-25")]
    from: Option<Moment>,
    /// End of the window, default now; a date is included whole.
    #[param(value_type = Option<String>, example = "2024-01-26T10:00:00Z")]
    to: Option<Moment>,
}

impl FromParams for WindowQuery {
    fn from_params(params: &mut Params) -> Self {
        Self {
            period: params.word("period", "1h, 24h, 7d, 30d, 90d, 1y"),
            from: params.instant("from"),
            to: params.instant("to"),
        }
    }
}

impl WindowQuery {
    /// The name of the window and its bounds; `default` where none is asked for.
    pub(super) fn window(
        &self,
        now: Timestamp,
        default: Period,
    ) -> Result<(&'static str, Timestamp, Timestamp), Problem> {
        let refuse = |name, detail: &str| Err(Problem::invalid(vec![FieldError::parameter(name, "conflict", detail)]));
        match (self.period, self.from, self.to) {
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
                refuse("period", "excludes `from` and `to`: give one or the other")
            }
            (None, None, Some(_)) => refuse("to", "needs `from`"),
            (None, Some(from), to) => {
                let to = to.map_or(now, Moment::as_end);
                if from.at >= to { refuse("from", "must be before `to`") } else { Ok(("custom", from.at, to)) }
            }
            (period, None, None) => {
                let period = period.unwrap_or(default);
                Ok((period.as_str(), now.checked_sub_signed(period.length()).unwrap_or(now), now))
            }
        }
    }
}

/// The checks of an endpoint in a window.
#[derive(Debug, Serialize, ToSchema)]
pub struct UptimeStats {
    endpoint_id: i64,
    endpoint_name: String,
    /// As asked for; `custom` with `from` and `to`.
    #[schema(example = "24h")]
    period: &'static str,
    /// The window that is answered; wider than asked for where single checks are no longer kept.
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    to: Timestamp,
    /// `100 * successful_checks / total_checks`, two decimals; null without checks, 100 only if none failed.
    #[schema(example = 99.9)]
    uptime_percentage: Option<f64>,
    /// Checks that count: successful and failed.
    total_checks: u64,
    successful_checks: u64,
    failed_checks: u64,
    /// Of the successful ones, those that were degraded.
    degraded_checks: u64,
    /// Slots without a verdict, by no fault of the endpoint; not counted.
    missed_checks: u64,
    /// Checks in maintenance windows; not counted.
    maintenance_checks: u64,
    /// Seconds, of successful checks.
    average_response_time: Option<f64>,
    min_response_time: Option<f64>,
    max_response_time: Option<f64>,
    /// Percentiles of successful checks in seconds, within 1 %.
    p50_response_time: Option<f64>,
    p95_response_time: Option<f64>,
    p99_response_time: Option<f64>,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_check: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_success: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_failure: Option<Timestamp>,
    /// `100 * (1 - downtime / monitored time)`, two decimals; null without checks, 100 only without downtime.
    #[schema(example = 99.95)]
    availability_percentage: Option<f64>,
    /// Time of confirmed outages within the window.
    #[schema(example = 120.5)]
    downtime_seconds: f64,
}

/// Uptime of an endpoint
///
/// Exact to the second as long as single checks are kept.
#[utoipa::path(get, path = "/api/v1/stats/uptime/{id}", tag = "statistics",
    params(("id" = i64, Path, minimum = 1), WindowQuery), responses((status = 200, body = UptimeStats)))]
pub async fn uptime(
    State(ctx): Ctx,
    EndpointPath(id): EndpointPath,
    Query(query): Query<WindowQuery>,
) -> Result<Json<UptimeStats>, Problem> {
    let now = ctx.clock.now();
    let (period, from, to) = query.window(now, Period::Day)?;
    let entry = find(&ctx, id)?;
    let retention = Retention::of(&ctx.running);
    let query = UptimeQuery { endpoint: id, from, to, now, retention };
    let report =
        reports::uptime(&ctx.store, entry.live.open_hour.as_ref(), &query).await.map_err(ServiceError::Store)?;
    let available = outages::available(&ctx, id, &report).await?;
    let bucket = &report.bucket;
    let seconds = |us: Option<f64>| us.map(|us| us / 1e6);
    let bound = |us: u32| (bucket.good() > 0).then(|| f64::from(us) / 1e6);
    Ok(Json(UptimeStats {
        endpoint_id: id.0,
        endpoint_name: entry.known.endpoint.name.clone(),
        period,
        from: report.from,
        to: report.to,
        uptime_percentage: bucket.uptime_percentage(),
        total_checks: bucket.counted(),
        successful_checks: bucket.good(),
        failed_checks: bucket.down,
        degraded_checks: bucket.degraded,
        missed_checks: bucket.missed,
        maintenance_checks: bucket.maintenance,
        average_response_time: seconds(bucket.mean_us()),
        min_response_time: bound(bucket.min_us),
        max_response_time: bound(bucket.max_us),
        p50_response_time: seconds(report.p50_us),
        p95_response_time: seconds(report.p95_us),
        p99_response_time: seconds(report.p99_us),
        last_check: report.last_check,
        last_success: report.last_success,
        last_failure: report.last_failure,
        availability_percentage: available.percentage,
        downtime_seconds: in_seconds(available.downtime),
    }))
}

/// Which checks.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HistoryParams {
    /// Checks of one page, 1 to 1000. Default 100.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 1000)]
    #[expect(dead_code, reason = "read into `page`; here for the documentation")]
    limit: (),
    /// Checks before the page. Default 0.
    #[param(value_type = Option<u64>)]
    #[expect(dead_code, reason = "read into `page`; here for the documentation")]
    offset: (),
    /// From this instant on: a date or RFC 3339.
    #[param(value_type = Option<String>, example = "2024-01-25")]
    from_date: Option<Moment>,
    /// Before this instant; a date is included whole.
    #[param(value_type = Option<String>, example = "2024-01-26T10:00:00+02:00")]
    to_date: Option<Moment>,
    /// `next_cursor` of the page before; steadier than `offset` while checks are added.
    cursor: Option<u64>,
    #[param(ignore)]
    page: Page,
}

impl FromParams for HistoryParams {
    fn from_params(params: &mut Params) -> Self {
        Self {
            limit: (),
            offset: (),
            from_date: params.instant("from_date"),
            to_date: params.instant("to_date"),
            cursor: params.number("cursor", 0..=i64::MAX.unsigned_abs()),
            page: params.page(DEFAULT_LIMIT),
        }
    }
}

/// A page of checks, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct History {
    endpoint_id: i64,
    endpoint_name: String,
    checks: Vec<Check>,
    /// Checks between the dates, on all pages.
    total: u64,
    limit: u64,
    offset: u64,
    /// `cursor` of the next page; null on the last.
    next_cursor: Option<i64>,
    #[schema(value_type = Option<String>, format = DateTime)]
    from_date: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    to_date: Option<Timestamp>,
}

/// History of an endpoint
///
/// Missed slots are in it, with `"outcome": "missed"` and `"success": null`.
#[utoipa::path(get, path = "/api/v1/stats/history/{id}", tag = "statistics",
    params(("id" = i64, Path, minimum = 1), HistoryParams), responses((status = 200, body = History)))]
pub async fn history(
    State(ctx): Ctx,
    EndpointPath(id): EndpointPath,
    Query(params): Query<HistoryParams>,
) -> Result<Json<History>, Problem> {
    let (from, to) = (params.from_date.map(|m| m.at), params.to_date.map(Moment::as_end));
    if from.is_some_and(|from| to.is_some_and(|to| from >= to)) {
        let error = FieldError::parameter("from_date", "conflict", "must be before `to_date`");
        return Err(Problem::invalid(vec![error]));
    }
    let entry = find(&ctx, id)?;
    let query = HistoryQuery {
        from,
        to,
        before: params.cursor.map(|cursor| from_micros(i64::try_from(cursor).unwrap_or(i64::MAX))),
        offset: params.page.offset,
        limit: params.page.limit,
    };
    let slice = history::page(&ctx, id, query).await?;
    Ok(Json(History {
        endpoint_id: id.0,
        endpoint_name: entry.known.endpoint.name.clone(),
        checks: slice
            .checks
            .iter()
            .map(|check| Check::explained(check, slice.details.get(&check.scheduled_at)))
            .collect(),
        total: slice.total,
        limit: params.page.limit,
        offset: params.page.offset,
        next_cursor: slice.next.map(micros),
        from_date: from,
        to_date: to,
    }))
}

fn in_seconds(length: chrono::TimeDelta) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of centuries are below 2^53")]
    let seconds = length.num_milliseconds() as f64 / 1e3;
    seconds
}

/// The longest `min_duration`, in minutes: a hundred years.
const MAX_MINUTES: u64 = 100 * 366 * 24 * 60;

/// Which outages.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OutageQuery {
    /// A window that ends now. Default `7d`.
    #[param(inline)]
    #[expect(dead_code, reason = "read into `window`; here for the documentation")]
    period: Option<Period>,
    /// First instant of the window, instead of `period`: a date or RFC 3339.
    #[param(value_type = Option<String>, example = "2024-01-25")]
    #[expect(dead_code, reason = "read into `window`; here for the documentation")]
    from: (),
    /// End of the window, default now; a date is included whole.
    #[param(value_type = Option<String>, example = "2024-01-26T10:00:00Z")]
    #[expect(dead_code, reason = "read into `window`; here for the documentation")]
    to: (),
    /// Only outages at least this long, in minutes. Default 0.
    min_duration: Option<u64>,
    #[param(ignore)]
    window: WindowQuery,
}

impl FromParams for OutageQuery {
    fn from_params(params: &mut Params) -> Self {
        Self {
            period: None,
            from: (),
            to: (),
            min_duration: params.number("min_duration", 0..=MAX_MINUTES),
            window: WindowQuery::from_params(params),
        }
    }
}

/// The outages of an endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub struct Outages {
    endpoint_id: i64,
    endpoint_name: String,
    /// As asked for; `custom` with `from` and `to`.
    #[schema(example = "7d")]
    period: &'static str,
    /// Newest first, at most 1000.
    incidents: Vec<OutageItem>,
    /// All of them.
    total_incidents: u64,
}

/// An incident that reaches into the window, from its beginning to its end.
#[derive(Debug, Serialize, ToSchema)]
pub struct OutageItem {
    /// The first failed check.
    #[schema(value_type = String, format = DateTime)]
    start: Timestamp,
    /// The first good check after it; null while it goes on.
    #[schema(value_type = Option<String>, format = DateTime)]
    end: Option<Timestamp>,
    /// Until now while it goes on; two decimals.
    #[schema(example = 12.5)]
    duration_minutes: f64,
    /// Checks that failed in it.
    failure_count: u64,
    /// Why, each sentence once, at most 20.
    #[schema(example = json!(["GET returned 502, expected 200"]))]
    errors: Vec<String>,
}

/// Outages of an endpoint
///
/// The incidents that reach into the window, with their failed checks.
#[utoipa::path(get, path = "/api/v1/stats/incidents/{id}", tag = "statistics",
    params(("id" = i64, Path, minimum = 1), OutageQuery), responses((status = 200, body = Outages)))]
pub async fn incidents(
    State(ctx): Ctx,
    EndpointPath(id): EndpointPath,
    Query(query): Query<OutageQuery>,
) -> Result<Json<Outages>, Problem> {
    let (period, from, to) = query.window.window(ctx.clock.now(), Period::Week)?;
    let entry = find(&ctx, id)?;
    let at_least = chrono::TimeDelta::minutes(i64::try_from(query.min_duration.unwrap_or(0)).unwrap_or(i64::MAX));
    let (outages, total_incidents) = outages::outages(&ctx, &entry, from..to, at_least).await?;
    let incidents = outages.into_iter().map(|outage| OutageItem {
        start: outage.start,
        end: outage.end,
        duration_minutes: (in_seconds(outage.length) / 0.6).round() / 100.0,
        failure_count: outage.failures,
        errors: outage.errors,
    });
    Ok(Json(Outages {
        endpoint_id: id.0,
        endpoint_name: entry.known.endpoint.name.clone(),
        period,
        incidents: incidents.collect(),
        total_incidents,
    }))
}

/// How the whole stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct SummaryStats {
    total_endpoints: u64,
    /// Being checked.
    active_endpoints: u64,
    /// Paused or inactive.
    inactive_endpoints: u64,
    /// Up or degraded.
    healthy_endpoints: u64,
    /// Down.
    unhealthy_endpoints: u64,
    #[schema(value_type = String, format = DateTime)]
    timestamp: Timestamp,
    /// Of the healthy ones, those that are degraded.
    degraded: u64,
    /// No verdict yet.
    pending: u64,
    /// Nothing can be said.
    unknown: u64,
    maintenance: u64,
    /// Endpoints with an incident that is not resolved.
    open_incidents: u64,
    /// The endpoint in the worst condition; null while all are well.
    worst: Option<WorstEndpoint>,
}

/// The endpoint in the worst condition: down the longest, else degraded the longest.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorstEndpoint {
    id: i64,
    name: String,
    group: String,
    status: Status,
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
}

/// Summary of all endpoints
#[utoipa::path(get, path = "/api/v1/stats/summary", tag = "statistics", responses((status = 200, body = SummaryStats)))]
pub async fn summarise(State(ctx): Ctx, Query(()): Query<()>) -> Json<SummaryStats> {
    let sum = summary::summary(&ctx.board);
    Json(SummaryStats {
        total_endpoints: sum.total,
        active_endpoints: sum.active,
        inactive_endpoints: sum.inactive,
        healthy_endpoints: sum.healthy,
        unhealthy_endpoints: sum.unhealthy,
        timestamp: ctx.clock.now(),
        degraded: sum.degraded,
        pending: sum.pending,
        unknown: sum.unknown,
        maintenance: sum.maintenance,
        open_incidents: sum.open_incidents,
        worst: sum.worst.map(|w| WorstEndpoint {
            id: w.id.0,
            name: w.name,
            group: w.group,
            status: w.status,
            since: w.since,
        }),
    })
}
