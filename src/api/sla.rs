//! `/api/v1/stats/sla`: availability against a target, as JSON, CSV, or a page to print.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use chrono::SecondsFormat;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::error::{Problem, ProblemKind};
use super::extract::accepts_type;
use super::html::escaped;
use super::pagination::{FromParams, Params, Query};
use super::stats::WindowQuery;
use crate::domain::Timestamp;
use crate::domain::endpoint::EndpointId;
use crate::domain::outcome::words;
use crate::domain::uptime::Period;
use crate::service::sla::{self, Budget, Report, Selection};
use crate::service::{ServiceContext, ServiceError};

/// What most promise.
const USUAL_TARGET: f64 = 99.9;

words! {
    /// The form of a report.
    pub enum ReportFormat {
        Json = "json",
        Csv = "csv",
        Html = "html",
    }
}

/// Which endpoints, which window, which target.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SlaQuery {
    /// Only this one, by its id.
    #[param(value_type = Option<i64>, minimum = 1)]
    endpoint: Option<u64>,
    /// Only those of this group; empty: without a group.
    group: Option<String>,
    /// Only those with this tag.
    tag: Option<String>,
    /// Percent of the monitored time, above 0 and up to 100. Default 99.9.
    #[param(exclusive_minimum = 0, maximum = 100, example = 99.95)]
    target: Option<f64>,
    /// Default `json`.
    #[param(inline)]
    format: Option<ReportFormat>,
    #[param(ignore)]
    window: WindowQuery,
}

impl FromParams for SlaQuery {
    fn from_params(params: &mut Params) -> Self {
        let percent = |text: &str| match text.parse::<f64>() {
            Ok(target) if target > 0.0 && target <= 100.0 => Ok(target),
            _ => Err("must be percent, above 0 and up to 100, such as 99.9".to_owned()),
        };
        Self {
            endpoint: params.number("endpoint", 1..=i64::MAX.unsigned_abs()),
            group: params.text("group"),
            tag: params.text("tag"),
            target: params.parsed("target", percent),
            format: params.word("format", "json, csv, html"),
            window: WindowQuery::from_params(params),
        }
    }
}

/// How an endpoint, or all of a report, stands to the target.
#[derive(Debug, Serialize, ToSchema)]
pub struct SlaBudget {
    /// `100 * (1 - downtime / monitored time)`, four decimals; null where nothing was watched, 100 only without downtime.
    #[schema(example = 99.9731)]
    availability_percentage: Option<f64>,
    /// The time in which checks were made and counted: gaps of the monitor and maintenance are left out.
    monitored_seconds: f64,
    downtime_seconds: f64,
    /// The downtime that the target allows in the monitored time.
    budget_seconds: f64,
    /// What is left of it; below 0 when more was used.
    budget_remaining_seconds: f64,
    /// The share that is used; null where nothing is allowed.
    #[schema(example = 0.269)]
    budget_used_ratio: Option<f64>,
    /// Null where nothing was watched.
    is_met: Option<bool>,
}

impl From<Budget> for SlaBudget {
    fn from(budget: Budget) -> Self {
        let milliseconds = |seconds: f64| (seconds * 1e3).round() / 1e3;
        Self {
            availability_percentage: budget.availability(),
            monitored_seconds: milliseconds(budget.monitored),
            downtime_seconds: milliseconds(budget.downtime),
            budget_seconds: milliseconds(budget.allowed),
            budget_remaining_seconds: milliseconds(budget.left()),
            budget_used_ratio: budget.used(),
            is_met: budget.is_met(),
        }
    }
}

/// An endpoint of a report.
#[derive(Debug, Serialize, ToSchema)]
pub struct SlaLine {
    endpoint_id: i64,
    endpoint_name: String,
    group: String,
    #[serde(flatten)]
    budget: SlaBudget,
    /// By checks: `100 * successful / total`.
    uptime_percentage: Option<f64>,
    /// Incidents that reach into the window.
    incidents: u64,
}

/// Availability against a target.
#[derive(Debug, Serialize, ToSchema)]
pub struct SlaReport {
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    to: Timestamp,
    #[schema(example = 99.9)]
    target_percentage: f64,
    /// By group and name.
    endpoints: Vec<SlaLine>,
    /// All of them together: the sums of their times.
    all: SlaBudget,
}

/// Availability against a target
///
/// How much downtime the target allowed in the window (default: the last 30 days), and how much of it is left. As JSON,
/// as CSV, or as a page to print.
#[utoipa::path(get, path = "/api/v1/stats/sla", tag = "statistics", params(SlaQuery, WindowQuery), responses(
    (status = 200, content((SlaReport = "application/json"), (String = "text/csv"), (String = "text/html"))),
    (status = 404, response = super::openapi::ProblemResponse),
))]
pub async fn report(
    State(ctx): State<Arc<ServiceContext>>,
    Query(query): Query<SlaQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let format = query.format.unwrap_or(ReportFormat::Json);
    let kind = match format {
        ReportFormat::Json => "application/json",
        ReportFormat::Csv => "text/csv",
        ReportFormat::Html => "text/html",
    };
    if !accepts_type(&headers, kind) {
        let detail = format!("The report is `{kind}` with `format={format}`: accept it, or ask for another format");
        return Err(Problem::new(ProblemKind::NotAcceptable, detail));
    }
    let (_, from, to) = query.window.window(ctx.clock.now(), Period::Month)?;
    let target = query.target.unwrap_or(USUAL_TARGET);
    let selection = Selection {
        endpoint: query.endpoint.and_then(|id| i64::try_from(id).ok()).map(EndpointId),
        group: query.group,
        tag: query.tag,
    };
    let found = sla::report(&ctx, &selection, from..to, target).await?;
    Ok(match format {
        ReportFormat::Json => Json(in_json(&found, from, to, target)).into_response(),
        ReportFormat::Csv => {
            let csv = sla::csv(&found).map_err(|error| ServiceError::Unavailable(error.to_string()))?;
            let name = HeaderValue::from_static("attachment; filename=\"sla.csv\"");
            (
                [
                    (header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8")),
                    (header::CONTENT_DISPOSITION, name),
                ],
                csv,
            )
                .into_response()
        }
        ReportFormat::Html => {
            let policy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
            (
                [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, policy)],
                page(&in_json(&found, from, to, target)),
            )
                .into_response()
        }
    })
}

fn in_json(found: &Report, from: Timestamp, to: Timestamp, target: f64) -> SlaReport {
    let line = |line: &sla::Line| SlaLine {
        endpoint_id: line.id.0,
        endpoint_name: line.name.clone(),
        group: line.group.clone(),
        budget: line.budget.into(),
        uptime_percentage: line.uptime_percentage,
        incidents: line.incidents,
    };
    SlaReport {
        from,
        to,
        target_percentage: target,
        endpoints: found.lines.iter().map(line).collect(),
        all: found.total.into(),
    }
}

/// A page without style or script: a table that every browser prints.
fn page(report: &SlaReport) -> String {
    let time = |at: Timestamp| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Availability</title></head><body>\n\
         <h1>Availability</h1>\n<p>{} to {}, target {} %</p>\n<table border=\"1\" cellpadding=\"4\">\n<thead><tr>\
         <th>Group</th><th>Endpoint</th><th>Availability</th><th>Down</th><th>Allowed</th><th>Left</th><th>Incidents</th>\
         <th>Target</th></tr></thead>\n<tbody>\n",
        time(report.from),
        time(report.to),
        report.target_percentage
    );
    for line in &report.endpoints {
        row(&mut page, &line.group, &line.endpoint_name, &line.budget, Some(line.incidents));
    }
    page.push_str("</tbody>\n<tfoot>\n");
    row(&mut page, "", "All", &report.all, None);
    page.push_str("</tfoot></table>\n</body></html>\n");
    page
}

fn row(page: &mut String, group: &str, name: &str, budget: &SlaBudget, incidents: Option<u64>) {
    let percent = budget.availability_percentage.map_or_else(|| "no data".to_owned(), |p| format!("{p:.4} %"));
    let verdict = match budget.is_met {
        Some(true) => "met",
        Some(false) => "missed",
        None => "no data",
    };
    let incidents = incidents.map(|n| n.to_string()).unwrap_or_default();
    let line = format!(
        "<tr><td>{}</td><td>{}</td><td>{percent}</td><td>{}</td><td>{}</td><td>{}</td><td>{incidents}</td><td>{verdict}</td></tr>\n",
        escaped(group),
        escaped(name),
        length(budget.downtime_seconds),
        length(budget.budget_seconds),
        length(budget.budget_remaining_seconds),
    );
    page.push_str(&line);
}

/// `1d 2h 3min 4s`
fn length(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded, and a few centuries at most")]
    let whole = std::time::Duration::from_secs(seconds.abs().round() as u64);
    let sign = if seconds <= -0.5 { "−" } else { "" };
    format!("{sign}{}", humantime::format_duration(whole))
}
