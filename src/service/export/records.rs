//! The columns of each table, and the cells of its rows in the same order.

use super::form::Cell;
use super::{What, names};
use crate::domain::check::CheckResult;
use crate::domain::endpoint::EndpointSettings;
use crate::domain::outcome::Outcome;
use crate::domain::uptime::Bucket;
use crate::domain::{Timestamp, micros};
use crate::store::endpoints::StoredEndpoint;
use crate::store::incidents::StoredIncident;

const CHECKS: &[&str] = &[
    "endpoint_id",
    "group",
    "endpoint",
    "scheduled_at",
    "checked_at",
    "outcome",
    "success",
    "status_code",
    "total_ms",
    "dns_ms",
    "connect_ms",
    "tls_ms",
    "first_byte_ms",
    "transfer_ms",
    "attempts",
    "failure_kind",
    "error_message",
    "missed_reason",
    "slots",
    "trigger",
    "in_maintenance",
];

const ROLLUPS: &[&str] = &[
    "endpoint_id",
    "group",
    "endpoint",
    "start_at",
    "up",
    "degraded",
    "down",
    "missed",
    "maintenance",
    "retried",
    "uptime_percentage",
    "average_ms",
    "min_ms",
    "max_ms",
];

const INCIDENTS: &[&str] = &[
    "incident_id",
    "endpoint_id",
    "group",
    "endpoint",
    "severity",
    "started_at",
    "opened_at",
    "resolved_at",
    "duration_seconds",
    "resolution",
    "failure_kind",
    "error_message",
];

const ENDPOINTS: &[&str] = &[
    "endpoint_id",
    "group",
    "endpoint",
    "url",
    "origin",
    "source",
    "paused",
    "revision",
    "created_at",
    "updated_at",
    "archived_at",
    "settings",
];

pub(super) fn columns(what: What) -> &'static [&'static str] {
    match what {
        What::Checks => CHECKS,
        What::Hours | What::Days => ROLLUPS,
        What::Incidents => INCIDENTS,
        What::Endpoints => ENDPOINTS,
    }
}

pub(super) fn check(endpoint: &StoredEndpoint, result: &CheckResult) -> Vec<Cell> {
    let missed = match result.outcome {
        Outcome::Missed(reason) => Some(reason),
        _ => None,
    };
    let failure = result.outcome.failure();
    let ms = |us: Option<u32>| Cell::number(us.map(|us| f64::from(us) / 1e3));
    let (group, name) = names(endpoint);
    let t = &result.timings;
    vec![
        Cell::Integer(result.endpoint_id.0),
        Cell::text(group),
        Cell::text(name),
        Cell::Time(result.scheduled_at),
        Cell::Time(result.started_at),
        Cell::Word(result.outcome.word().as_str()),
        missed.map_or_else(|| Cell::Boolean(result.outcome.is_good()), |_| Cell::Nothing),
        result.status_code.map_or(Cell::Nothing, |code| Cell::Integer(code.into())),
        ms(result.response_time_us()),
        ms(t.dns_us),
        ms(t.connect_us),
        ms(t.tls_us),
        ms(t.first_byte_us),
        ms(t.transfer_us),
        Cell::Integer(result.attempts.into()),
        failure.map_or(Cell::Nothing, |failure| Cell::Word(failure.kind.as_str())),
        failure.map_or(Cell::Nothing, |failure| Cell::text(&failure.message)),
        missed.map_or(Cell::Nothing, |reason| Cell::Word(reason.as_str())),
        Cell::Integer(result.slots.into()),
        Cell::Word(result.trigger.as_str()),
        Cell::Boolean(result.in_maintenance),
    ]
}

pub(super) fn rollup(endpoint: &StoredEndpoint, start: Timestamp, bucket: &Bucket) -> Vec<Cell> {
    let (group, name) = names(endpoint);
    let edge = |us: u32| Cell::number((bucket.good() > 0).then(|| f64::from(us) / 1e3));
    vec![
        Cell::Integer(endpoint.id.0),
        Cell::text(group),
        Cell::text(name),
        Cell::Time(start),
        Cell::count(bucket.up),
        Cell::count(bucket.degraded),
        Cell::count(bucket.down),
        Cell::count(bucket.missed),
        Cell::count(bucket.maintenance),
        Cell::count(bucket.retried),
        Cell::number(bucket.uptime_percentage()),
        Cell::number(bucket.mean_us().map(|us| us.round() / 1e3)),
        edge(bucket.min_us),
        edge(bucket.max_us),
    ]
}

pub(super) fn incident(endpoint: &StoredEndpoint, incident: &StoredIncident) -> Vec<Cell> {
    let (group, name) = names(endpoint);
    let time = |at: Option<Timestamp>| at.map_or(Cell::Nothing, Cell::Time);
    let seconds = |end: Timestamp| (micros(end) - micros(incident.started_at)) / 1_000_000;
    vec![
        Cell::Integer(incident.id),
        Cell::Integer(endpoint.id.0),
        Cell::text(group),
        Cell::text(name),
        Cell::Word(incident.severity.as_str()),
        Cell::Time(incident.started_at),
        Cell::Time(incident.opened_at),
        time(incident.resolved_at),
        incident.resolved_at.map_or(Cell::Nothing, |end| Cell::Integer(seconds(end))),
        incident.resolution.map_or(Cell::Nothing, |resolution| Cell::Word(resolution.as_str())),
        Cell::Word(incident.cause.kind.as_str()),
        Cell::text(&incident.cause.message),
    ]
}

/// `settings` without their secrets.
pub(super) fn endpoint(endpoint: &StoredEndpoint, settings: EndpointSettings) -> Vec<Cell> {
    let (group, name) = names(endpoint);
    let settings_json = serde_json::to_value(&settings).unwrap_or_default();
    vec![
        Cell::Integer(endpoint.id.0),
        Cell::text(group),
        Cell::text(name),
        settings.url.map_or(Cell::Nothing, Cell::Text),
        Cell::Word(endpoint.origin.as_str()),
        endpoint.source.clone().map_or(Cell::Nothing, Cell::Text),
        Cell::Boolean(endpoint.paused),
        Cell::Integer(endpoint.revision),
        Cell::Time(endpoint.created_at),
        Cell::Time(endpoint.updated_at),
        endpoint.archived_at.map_or(Cell::Nothing, Cell::Time),
        Cell::Json(settings_json),
    ]
}
