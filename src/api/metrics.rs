//! `/metrics`, `/api/v1/metrics` and single metrics by name: what the monitor measures of itself.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use utoipa::openapi::schema::{AdditionalProperties, SchemaType, Type};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::error::{Problem, ProblemKind};
use super::extract::TextPath;
use super::pagination::Query;
use crate::service::ServiceContext;
use crate::service::metrics::{self as verbs, METRICS, MetricValue, Unit};

type Ctx = State<Arc<ServiceContext>>;

/// Every metric by its name: numbers of things are numbers, what has a unit is a text with it. Null is what cannot
/// be had at this moment; the metric by itself says why.
#[derive(Debug)]
pub struct MetricsDocument(Vec<MetricValue>);

impl MetricsDocument {
    pub fn now(ctx: &ServiceContext) -> Self {
        Self(verbs::all(ctx))
    }
}

impl Serialize for MetricsDocument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for metric in &self.0 {
            match metric.numeric_value {
                Some(number) if metric.is_plain() => map.serialize_entry(metric.name, &plain(number))?,
                _ => map.serialize_entry(metric.name, &metric.value)?,
            }
        }
        map.end()
    }
}

/// A whole number without a point where it is one.
#[derive(Serialize)]
#[serde(untagged)]
enum Plain {
    Whole(u64),
    Number(f64),
}

fn plain(number: f64) -> Plain {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole, not negative, and in the range"
    )]
    if number >= 0.0 && number.fract() == 0.0 && number < 9e15 {
        Plain::Whole(number as u64)
    } else {
        Plain::Number(number)
    }
}

impl PartialSchema for MetricsDocument {
    /// From the table itself, so that it cannot lag behind.
    fn schema() -> RefOr<Schema> {
        let nullable = |of| SchemaType::from_iter([of, Type::Null]);
        let mut object = ObjectBuilder::new()
            .description(Some(
                "Every metric by its name: numbers of things are numbers, what has a unit is a text with it. Null is \
                 what cannot be had at this moment; the metric by itself says why",
            ))
            .additional_properties(Some(AdditionalProperties::FreeForm(false)));
        for metric in METRICS {
            let kind = match metric.unit {
                Unit::Count => Type::Integer,
                unit if verbs::is_plain(metric.name, unit) => Type::Number,
                _ => Type::String,
            };
            let property = ObjectBuilder::new().schema_type(nullable(kind)).description(Some(metric.help));
            object = object.property(metric.name, property).required(metric.name);
        }
        object.into()
    }
}

impl ToSchema for MetricsDocument {
    fn name() -> std::borrow::Cow<'static, str> {
        "MetricsDocument".into()
    }
}

/// A metric as it is now.
#[derive(Debug, Serialize, ToSchema)]
pub struct MetricItem {
    #[schema(example = "cpu_usage")]
    metric_name: &'static str,
    /// With its unit; null when it cannot be had at this moment.
    #[schema(example = "10%")]
    value: Option<String>,
    unit: Unit,
    /// In `unit`.
    #[schema(example = 10.0)]
    numeric_value: Option<f64>,
    /// What it says.
    description: &'static str,
    /// The share of what there is at most, where that is known: `memory_usage` of the memory that the process may have.
    percent: Option<f64>,
    /// Why there is no value; null when there is one.
    reason: Option<&'static str>,
}

impl From<MetricValue> for MetricItem {
    fn from(metric: MetricValue) -> Self {
        let percent = metric.percent();
        let MetricValue { name, unit, help, numeric_value, value, reason, .. } = metric;
        Self { metric_name: name, value, unit, numeric_value, description: help, percent, reason }
    }
}

/// Get all metrics
///
/// What the monitor measures of itself, from memory: also while the database is away.
#[utoipa::path(get, path = "/api/v1/metrics", tag = "metrics", responses((status = 200, body = MetricsDocument)))]
pub async fn all(State(ctx): Ctx, Query(()): Query<()>) -> Json<MetricsDocument> {
    Json(MetricsDocument::now(&ctx))
}

/// Get a metric
#[utoipa::path(get, path = "/api/v1/metrics/{name}", tag = "metrics", params(("name" = String, Path)),
    responses((status = 200, body = MetricItem)))]
pub async fn get(State(ctx): Ctx, TextPath(name): TextPath, Query(()): Query<()>) -> Result<Json<MetricItem>, Problem> {
    one(&ctx, &name)
}

/// Get a metric
///
/// The same as `/api/v1/metrics/{name}`.
#[utoipa::path(get, path = "/metrics/{name}", tag = "metrics", params(("name" = String, Path)),
    responses((status = 200, body = MetricItem)))]
pub async fn get_at_root(
    State(ctx): Ctx,
    TextPath(name): TextPath,
    Query(()): Query<()>,
) -> Result<Json<MetricItem>, Problem> {
    one(&ctx, &name)
}

fn one(ctx: &ServiceContext, name: &str) -> Result<Json<MetricItem>, Problem> {
    match verbs::get(ctx, name) {
        Some(metric) => Ok(Json(metric.into())),
        None => Err(Problem::new(ProblemKind::NotFound, unknown(name))),
    }
}

/// Names a path may repeat are bounded by the path itself.
fn unknown(name: &str) -> String {
    match verbs::meant(name) {
        Some(meant) => format!("There is no metric `{name}`; did you mean {meant}?"),
        None => format!("There is no metric `{name}`; GET /api/v1/metrics has them all"),
    }
}
