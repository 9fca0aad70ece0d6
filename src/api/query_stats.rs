//! `/api/v1/query_stats`: what the database was asked, and how long its answers took.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::error::Problem;
use super::pagination::{FromParams, Page, Params, Query};
use crate::domain::{Timestamp, from_micros, micros};
use crate::service::ServiceContext;
use crate::service::query_stats::{self as verbs, Order, SLOW, StatementStats};

/// How the statements are shown.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StatementParams {
    /// The most first. Default `total_time`.
    #[param(inline)]
    sort: Option<Order>,
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

impl FromParams for StatementParams {
    fn from_params(params: &mut Params) -> Self {
        Self { sort: params.word("sort", Order::WORDS), limit: (), offset: (), page: params.page(100) }
    }
}

/// All statements since the start together, and a page of them by their shapes.
#[derive(Debug, Serialize, ToSchema)]
pub struct QueryStatsDocument {
    /// Those that failed included.
    total_queries_executed: u64,
    /// Those that took at least `slow_query_threshold_ms`.
    slow_queries: u64,
    failed_queries: u64,
    /// Null before the first statement.
    #[schema(example = "0.4ms")]
    average_execution_time: Option<String>,
    average_execution_time_ms: Option<f64>,
    max_execution_time_ms: f64,
    total_execution_time_ms: f64,
    slow_query_threshold_ms: f64,
    statements: Vec<StatementItem>,
    total: u64,
    limit: u64,
    offset: u64,
}

/// Statements that differ in their values alone.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatementItem {
    /// Without values; `other` are all those beyond the first 200 shapes.
    #[schema(example = "SELECT \"id\" FROM \"endpoints\" WHERE \"id\" = ?")]
    statement: String,
    executions: u64,
    failed: u64,
    slow: u64,
    total_time_ms: f64,
    average_time_ms: f64,
    max_time_ms: f64,
    #[schema(value_type = String, format = DateTime)]
    last_executed_at: Timestamp,
}

impl StatementItem {
    fn new(stats: StatementStats, now: Timestamp) -> Self {
        let ago = i64::try_from(stats.last.elapsed().as_micros()).unwrap_or(i64::MAX);
        Self {
            executions: stats.executed,
            failed: stats.failed,
            slow: stats.slow,
            total_time_ms: milliseconds(stats.time),
            average_time_ms: milliseconds(stats.average()),
            max_time_ms: milliseconds(stats.longest),
            last_executed_at: from_micros(micros(now).saturating_sub(ago)),
            statement: stats.statement.unwrap_or_else(|| "other".to_owned()),
        }
    }
}

/// To the microsecond.
#[expect(clippy::cast_precision_loss, reason = "microseconds of three centuries are exact")]
fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

/// `0.04ms`, `0.4ms`, `12.3ms`, `50ms`.
fn text(time: Duration) -> String {
    let milliseconds = milliseconds(time);
    let scale = if milliseconds < 1.0 { 100.0 } else { 10.0 };
    format!("{}ms", (milliseconds * scale).round() / scale)
}

/// What the database is asked
///
/// Statements since the start of the monitor, without their values.
#[utoipa::path(get, path = "/api/v1/query_stats", tag = "operations", params(StatementParams),
    responses((status = 200, body = QueryStatsDocument)))]
pub async fn get(
    State(ctx): State<Arc<ServiceContext>>,
    Query(params): Query<StatementParams>,
) -> Result<Json<QueryStatsDocument>, Problem> {
    let (totals, statements) = verbs::show(&ctx, params.sort.unwrap_or_default());
    let (now, total, Page { limit, offset }) = (ctx.clock.now(), statements.len() as u64, params.page);
    let statements = params.page.cut(statements).into_iter().map(|stats| StatementItem::new(stats, now)).collect();
    Ok(Json(QueryStatsDocument {
        total_queries_executed: totals.executed,
        slow_queries: totals.slow,
        failed_queries: totals.failed,
        average_execution_time: totals.average().map(text),
        average_execution_time_ms: totals.average().map(milliseconds),
        max_execution_time_ms: milliseconds(totals.longest),
        total_execution_time_ms: milliseconds(totals.time),
        slow_query_threshold_ms: milliseconds(SLOW),
        statements,
        total,
        limit,
        offset,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_with_as_many_digits_as_say_something() {
        for (microseconds, expected) in
            [(0, "0ms"), (40, "0.04ms"), (404, "0.4ms"), (999, "1ms"), (12_340, "12.3ms"), (50_000, "50ms")]
        {
            assert_eq!(text(Duration::from_micros(microseconds)), expected);
        }
    }
}
