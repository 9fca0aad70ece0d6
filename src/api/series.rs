//! `/api/v1/stats/series/{id}`: statistics over time.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::error::Problem;
use super::extract::EndpointPath;
use super::pagination::{FromParams, Params, Query};
use super::stats::WindowQuery;
use crate::domain::Timestamp;
use crate::domain::outcome::{UnknownWord, words};
use crate::domain::uptime::{Period, Rollup};
use crate::service::series::{self, Step};
use crate::service::{ServiceContext, ServiceError};

words! {
    /// What is told of each step.
    pub enum SeriesMetric {
        Latency = "latency",
        Phases = "phases",
        Checks = "checks",
        Uptime = "uptime",
    }
}

/// Which window, in which steps, and what of it.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SeriesQuery {
    /// Length of a step. Default: the shortest that gives at most 400. Steps shorter than an hour are for windows of at
    /// most 8 days, and none gives more than 2000.
    #[param(inline)]
    step: Option<Step>,
    /// What is told, with commas between: `latency`, `phases`, `checks`, `uptime`. Default: all.
    #[param(value_type = Option<String>, example = "latency,uptime", pattern = "^(latency|phases|checks|uptime)(,(latency|phases|checks|uptime))*$")]
    metric: Option<Vec<SeriesMetric>>,
    #[param(ignore)]
    window: WindowQuery,
}

impl FromParams for SeriesQuery {
    fn from_params(params: &mut Params) -> Self {
        let names = "latency, phases, checks, uptime";
        let listed = |text: &str| {
            let words = text.split(',').map(|word| word.trim().parse::<SeriesMetric>());
            words.collect::<Result<Vec<_>, UnknownWord>>().map_err(|_| format!("must be some of {names}"))
        };
        Self {
            step: params.word("step", "1m, 5m, 15m, 1h, 6h, 1d"),
            metric: params.parsed("metric", listed),
            window: WindowQuery::from_params(params),
        }
    }
}

/// Response times of good checks, seconds.
#[derive(Debug, Serialize, ToSchema)]
pub struct LatencyPoint {
    average: f64,
    min: f64,
    max: f64,
    /// Within 1 %; null where latencies are no longer known one by one.
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
}

/// Means of the phases of good checks, seconds; null where no check had the phase.
#[derive(Debug, Serialize, ToSchema)]
pub struct PhasesPoint {
    dns: Option<f64>,
    connect: Option<f64>,
    tls: Option<f64>,
    first_byte: Option<f64>,
    transfer: Option<f64>,
}

/// Checks by what became of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChecksPoint {
    successful: u64,
    /// Of the successful ones.
    degraded: u64,
    failed: u64,
    missed: u64,
    maintenance: u64,
}

/// One step. What was not asked for is absent.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::option_option, reason = "not asked for, or null")]
pub struct SeriesPoint {
    #[schema(value_type = String, format = DateTime)]
    start: Timestamp,
    /// Null without a good check.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<LatencyPoint>)]
    latency: Option<Option<LatencyPoint>>,
    /// Null without a good check.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<PhasesPoint>)]
    phases: Option<Option<PhasesPoint>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<ChecksPoint>,
    /// Null without a check that counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    uptime_percentage: Option<Option<f64>>,
}

/// Statistics over time.
#[derive(Debug, Serialize, ToSchema)]
pub struct SeriesStats {
    endpoint_id: i64,
    endpoint_name: String,
    /// The window, widened to whole steps.
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    to: Timestamp,
    step: Step,
    #[schema(example = 3600)]
    step_seconds: i64,
    /// Oldest first. Steps in which nothing was due are left out.
    points: Vec<SeriesPoint>,
}

/// Statistics of an endpoint over time
///
/// For charts: latency percentiles, phases, counts and uptime of each step of a window (default: the last 24 hours).
#[utoipa::path(get, path = "/api/v1/stats/series/{id}", tag = "statistics",
    params(("id" = i64, Path, minimum = 1), SeriesQuery, WindowQuery), responses((status = 200, body = SeriesStats)))]
pub async fn series(
    State(ctx): State<Arc<ServiceContext>>,
    EndpointPath(id): EndpointPath,
    Query(query): Query<SeriesQuery>,
) -> Result<Json<SeriesStats>, Problem> {
    let (_, from, to) = query.window.window(ctx.clock.now(), Period::Day)?;
    let entry = ctx.board.get(id).ok_or_else(|| ServiceError::NotFound(format!("endpoint {id}")))?;
    let found = series::series(&ctx, &entry, from..to, query.step).await?;
    let wanted = query.metric.unwrap_or_else(|| SeriesMetric::ALL.to_vec());
    Ok(Json(SeriesStats {
        endpoint_id: id.0,
        endpoint_name: entry.known.endpoint.name.clone(),
        from: found.from,
        to: found.to,
        step: found.step,
        step_seconds: found.step.seconds(),
        points: found.points.iter().map(|(start, rollup)| point(*start, rollup, &wanted)).collect(),
    }))
}

fn point(start: Timestamp, rollup: &Rollup, wanted: &[SeriesMetric]) -> SeriesPoint {
    let bucket = &rollup.bucket;
    let asked = |metric| wanted.contains(&metric);
    let quantile = |q| rollup.sketch.as_ref().and_then(|sketch| sketch.quantile(q)).map(|us| us / 1e6);
    let latency = || {
        bucket.mean_us().map(|mean| LatencyPoint {
            average: mean / 1e6,
            min: f64::from(bucket.min_us) / 1e6,
            max: f64::from(bucket.max_us) / 1e6,
            p50: quantile(0.50),
            p95: quantile(0.95),
            p99: quantile(0.99),
        })
    };
    #[expect(clippy::cast_precision_loss, reason = "sums of microseconds stay far below 2^52")]
    let mean = |sum: u64| (sum > 0).then(|| sum as f64 / bucket.good() as f64 / 1e6);
    let phases = || {
        (bucket.good() > 0).then(|| PhasesPoint {
            dns: mean(bucket.dns_us),
            connect: mean(bucket.connect_us),
            tls: mean(bucket.tls_us),
            first_byte: mean(bucket.first_byte_us),
            transfer: mean(bucket.transfer_us),
        })
    };
    let checks = || ChecksPoint {
        successful: bucket.good(),
        degraded: bucket.degraded,
        failed: bucket.down,
        missed: bucket.missed,
        maintenance: bucket.maintenance,
    };
    SeriesPoint {
        start,
        latency: asked(SeriesMetric::Latency).then(latency),
        phases: asked(SeriesMetric::Phases).then(phases),
        checks: asked(SeriesMetric::Checks).then(checks),
        uptime_percentage: asked(SeriesMetric::Uptime).then(|| bucket.uptime_percentage()),
    }
}
