//! `/metrics`, `/api/v1/metrics` and single metrics by name: what the monitor measures of itself.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use utoipa::openapi::schema::{AdditionalProperties, SchemaType, Type};
use utoipa::openapi::{ObjectBuilder, OpenApi, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::error::{Problem, ProblemKind};
use super::extract::TextPath;
use super::pagination::Query;
use crate::config::{DEFAULT_METRICS_PATH, PrometheusConfig};
use crate::service::ServiceContext;
use crate::service::metrics::{self as verbs, Form, METRICS, MetricValue, Unit};

type Ctx = State<Arc<ServiceContext>>;

/// Every metric by its name: numbers of things, and what says its unit in its name, are numbers; what else has a unit
/// is a text with it. Null is what cannot be had at this moment; the metric by itself says why.
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
                "Every metric by its name: numbers of things, and what says its unit in its name, are numbers; what else \
                 has a unit is a text with it. Null is what cannot be had at this moment; the metric by itself says why",
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

/// A request that came by the path at which the metrics are.
#[derive(Debug, Clone)]
struct ByConfiguredPath;

/// Around the router: leads the configured path to the route of the metrics.
pub async fn at_configured_path(State(path): State<Arc<str>>, mut request: Request, next: Next) -> Response {
    if request.uri().path() == &*path {
        let query = request.uri().query().map_or_else(String::new, |query| format!("?{query}"));
        // What came as a path and query is one.
        if let Ok(uri) = Uri::try_from(format!("{DEFAULT_METRICS_PATH}{query}")) {
            *request.uri_mut() = uri;
            request.extensions_mut().insert(ByConfiguredPath);
        }
    }
    next.run(request).await
}

/// The description says where the metrics are, if anywhere.
pub fn described_at(prometheus: &PrometheusConfig, mut document: OpenApi) -> OpenApi {
    if (prometheus.enabled && prometheus.path != DEFAULT_METRICS_PATH)
        && let Some(item) = document.paths.paths.remove(DEFAULT_METRICS_PATH)
    {
        document.paths.paths.insert(prometheus.path.clone(), item);
    }
    document
}

/// Get the metrics as text
///
/// For Prometheus, which is given the key of a viewer as a bearer token. `Accept` chooses between the text format of
/// Prometheus (version 0.0.4, the default), OpenMetrics 1.0.0, and the JSON of `/api/v1/metrics`. At `prometheus.path`;
/// 404 when `prometheus.enabled` is false.
#[utoipa::path(get, path = "/metrics", tag = "metrics", responses(
    (status = 200, content(
        (String = "text/plain"), (String = "application/openmetrics-text"), (MetricsDocument = "application/json"))),
    (status = 404, response = super::openapi::ProblemResponse),
))]
pub async fn text(State(ctx): Ctx, Query(()): Query<()>, request: Request) -> Result<Response, Problem> {
    if !ctx.config.prometheus.enabled || request.extensions().get::<ByConfiguredPath>().is_none() {
        return Err(Problem::of_status(StatusCode::NOT_FOUND));
    }
    let (form, content_type) = match wanted(request.headers()) {
        Some(Wanted::Prometheus) => (Form::Prometheus, "text/plain; version=0.0.4; charset=utf-8"),
        Some(Wanted::OpenMetrics) => (Form::OpenMetrics, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        Some(Wanted::Json) => return Ok(vary(Json(MetricsDocument::now(&ctx)))),
        None => {
            let detail =
                "The metrics are `text/plain`, `application/openmetrics-text` or `application/json`: accept one";
            return Err(Problem::new(ProblemKind::NotAcceptable, detail));
        }
    };
    let text = verbs::text(&verbs::families(&ctx), form).map_err(|error| {
        tracing::error!(%error, "the metrics could not be written down");
        Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR)
    })?;
    Ok(vary(([(header::CONTENT_TYPE, content_type)], text)))
}

fn vary(answer: impl IntoResponse) -> Response {
    ([(header::VARY, "Accept")], answer).into_response()
}

/// What a client can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Prometheus,
    OpenMetrics,
    Json,
}

/// What `Accept` likes best of what there is; of equals the first of these. `None`: it refuses all.
fn wanted(headers: &HeaderMap) -> Option<Wanted> {
    let given: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    if given.is_empty() {
        return Some(Wanted::Prometheus);
    }
    let ranges: Vec<&str> = given.iter().flat_map(|value| value.split(',')).collect();
    let mut best: Option<(f32, Wanted)> = None;
    for (offer, kind, subtype, version) in [
        (Wanted::Prometheus, "text", "plain", Some("0.0.4")),
        (Wanted::OpenMetrics, "application", "openmetrics-text", Some("1.0.0")),
        (Wanted::Json, "application", "json", None),
    ] {
        let matching = ranges.iter().filter_map(|range| weigh(range, kind, subtype, version));
        // The most specific range decides.
        let Some((_, weight)) = matching.max_by_key(|(specificity, _)| *specificity) else { continue };
        if weight > 0.0 && best.is_none_or(|(known, _)| weight > known) {
            best = Some((weight, offer));
        }
    }
    best.map(|(_, offer)| offer)
}

/// How specific a range of `Accept` is about a type, and how much it is liked; `None` when it is about others.
fn weigh(range: &str, kind: &str, subtype: &str, version: Option<&str>) -> Option<(u8, f32)> {
    let mut parts = range.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let mut specificity = match essence.split_once('/') {
        Some((k, s)) if k == kind && s == subtype => 2,
        Some((k, "*")) if k == kind => 1,
        Some(("*", "*")) => 0,
        None if essence == "*" => 0,
        _ => return None,
    };
    let mut weight = 1.0;
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "q" => weight = value.trim().parse().ok().filter(|q| (0.0..=1.0).contains(q)).unwrap_or(1.0),
            "version" if version.is_some() && specificity == 2 => {
                if Some(value.trim().trim_matches('"')) != version {
                    return None;
                }
                specificity = 3;
            }
            _ => {}
        }
    }
    Some((specificity, weight))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_liked_best_is_given() {
        let of = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            wanted(&headers)
        };
        assert_eq!(wanted(&HeaderMap::new()), Some(Wanted::Prometheus));
        for (accept, expected) in [
            ("*/*", Some(Wanted::Prometheus)),
            ("text/html, */*;q=0.8", Some(Wanted::Prometheus)),
            ("text/plain", Some(Wanted::Prometheus)),
            ("text/*", Some(Wanted::Prometheus)),
            ("application/json", Some(Wanted::Json)),
            ("application/json, */*;q=0.1", Some(Wanted::Json)),
            ("application/json;q=0.5, text/plain;version=0.0.4;q=0.4", Some(Wanted::Json)),
            ("application/openmetrics-text", Some(Wanted::OpenMetrics)),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                Some(Wanted::OpenMetrics),
            ),
            ("application/openmetrics-text;version=0.0.1,text/plain;version=0.0.4;q=0.5", Some(Wanted::Prometheus)),
            ("application/json;q=0, */*", Some(Wanted::Prometheus)),
            ("*/*;q=0", None),
            ("image/png", None),
            ("text/plain;q=0, application/json;q=0.1", Some(Wanted::Json)),
        ] {
            assert_eq!(of(accept), expected, "{accept}");
        }
    }
}
