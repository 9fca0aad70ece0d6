//! Probes: `/health`, `/health/live`, `/health/ready`. Open without a key, unknown parameters ignored.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::Timestamp;
use crate::domain::connectivity::Network;
use crate::domain::outcome::MissedReason;
use crate::service::ServiceContext;
use crate::service::channels::{self, Undelivered};
use crate::service::health::{View, health as ask};
use crate::telemetry::metrics::TlsStatus;

/// How well the monitor itself is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    Healthy,
    /// The database is away, and results wait, or it is damaged, or our own network is in doubt: checks go on.
    Degraded,
    /// The scheduler or the recorder is dead.
    Unhealthy,
}

/// The health report.
#[derive(Debug, Serialize, ToSchema)]
pub struct HealthReport {
    status: HealthStatus,
    version: &'static str,
    #[schema(value_type = String, format = DateTime)]
    timestamp: Timestamp,
    /// `connected` or `disconnected`.
    #[schema(example = "connected")]
    database: &'static str,
    /// What is damaged in the database, found by the examination after an unclean end: restore a backup.
    database_damage: Option<String>,
    /// Since when nothing can be written; null while the database takes what is written.
    #[schema(value_type = Option<String>, format = DateTime)]
    database_away_since: Option<Timestamp>,
    /// `running` or `stopped`.
    #[schema(example = "running")]
    scheduler: &'static str,
    /// `running` or `stopped`.
    #[schema(example = "running")]
    recorder: &'static str,
    /// Time since the start, in words.
    #[schema(example = "48 hours")]
    uptime: String,
    uptime_seconds: u64,
    /// How long ago the last backup was made that is known here, in words; null without one.
    #[schema(example = "12 hours ago")]
    last_backup: Option<String>,
    /// When that was.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_backup_at: Option<Timestamp>,
    /// Endpoints known, active or not.
    endpoints: u64,
    checks_in_flight: i64,
    /// How late the last due check was begun.
    schedule_lag_ms: f64,
    /// Slots without a verdict since the start, by reason.
    missed: MissedSlots,
    /// Results that wait to be written.
    results_pending: i64,
    /// Results lost since the start because too many waited.
    results_dropped: u64,
    /// Names of the channels whose last attempts failed.
    channels_failing: Vec<String>,
    /// Messages that wait to be delivered; null while the database is away.
    deliveries_pending: Option<u64>,
    /// Messages that were given up; null while the database is away.
    deliveries_dead: Option<u64>,
    /// The certificate that is served; null without TLS.
    tls: Option<TlsReport>,
    /// Our own network, as the targets of `connectivity` tell; null without targets.
    own_network: Option<NetworkReport>,
}

/// Our own network.
#[derive(Debug, Serialize, ToSchema)]
pub struct NetworkReport {
    state: Network,
    /// Since when the targets do not answer; null while they do.
    #[schema(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Until when failed checks are not counted; null while they are.
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    targets: u64,
    /// How many answered when they were asked last, or as many as were needed; 0 before that.
    answered: u32,
    /// Failed checks that were not counted, since the start.
    suppressed: u64,
}

impl From<View> for NetworkReport {
    fn from(view: View) -> Self {
        let View { network, since, until, targets, answered, suppressed } = view;
        Self { state: network, since, until, targets: targets as u64, answered, suppressed }
    }
}

/// The certificate that the API is served with.
#[derive(Debug, Serialize, ToSchema)]
pub struct TlsReport {
    #[schema(value_type = String, format = DateTime)]
    not_after: Timestamp,
    /// Why the files as they are now could not be taken; the certificate before is served on.
    error: Option<String>,
}

/// Slots without a verdict, by reason.
#[derive(Debug, Serialize, ToSchema)]
pub struct MissedSlots {
    /// The previous check was still being made.
    overrun: u64,
    /// The previous check was still waiting for its turn.
    overload: u64,
    /// The monitor was not running.
    stopped: u64,
    /// The machine slept, or its clock jumped.
    suspended: u64,
    /// The check was cut by a stop.
    shutdown: u64,
    /// Our own network was in doubt.
    own_network: u64,
    /// The system did not let the check be made.
    not_permitted: u64,
}

/// How well the monitor is
///
/// 200 while checks are made, even without the database (`degraded`); 503 when the scheduler or the recorder is dead.
#[utoipa::path(get, path = "/health", tag = "health", responses(
    (status = 200, body = HealthReport, description = "healthy or degraded"),
    (status = 503, body = HealthReport, description = "unhealthy: the scheduler or the recorder is dead"),
))]
pub async fn health(State(ctx): State<Arc<ServiceContext>>) -> (StatusCode, Json<HealthReport>) {
    let health = ask(&ctx).await;
    let (code, status) =
        match (health.is_working(), health.is_whole() && health.damage.is_none() && health.has_network()) {
            (true, true) => (StatusCode::OK, HealthStatus::Healthy),
            (true, false) => (StatusCode::OK, HealthStatus::Degraded),
            (false, _) => (StatusCode::SERVICE_UNAVAILABLE, HealthStatus::Unhealthy),
        };
    let undelivered = if health.database { channels::undelivered(&ctx).await } else { None };
    let sum = |of: fn(&Undelivered) -> u64| undelivered.as_ref().map(|all| all.values().map(of).sum());
    let running = |alive| if alive { "running" } else { "stopped" };
    let metrics = &ctx.metrics;
    let missed = |reason| metrics.missed.get(reason);
    let report = HealthReport {
        status,
        version: env!("CARGO_PKG_VERSION"),
        timestamp: ctx.clock.now(),
        database: if health.database { "connected" } else { "disconnected" },
        database_damage: health.damage,
        database_away_since: health.away.map(|away| away.since),
        scheduler: running(health.scheduler),
        recorder: running(health.recorder),
        uptime: in_words(health.uptime),
        uptime_seconds: health.uptime.as_secs(),
        last_backup: health.last_backup.map(|(_, ago)| format!("{} ago", in_words(ago))),
        last_backup_at: health.last_backup.map(|(at, _)| at),
        endpoints: ctx.board.len() as u64,
        checks_in_flight: metrics.checks_in_flight.get(),
        schedule_lag_ms: milliseconds(metrics.schedule_lag_us.get()),
        missed: MissedSlots {
            overrun: missed(MissedReason::Overrun),
            overload: missed(MissedReason::Overload),
            stopped: missed(MissedReason::Stopped),
            suspended: missed(MissedReason::Suspended),
            shutdown: missed(MissedReason::Shutdown),
            own_network: missed(MissedReason::OwnNetwork),
            not_permitted: missed(MissedReason::NotPermitted),
        },
        results_pending: metrics.results_pending.get(),
        results_dropped: metrics.results_dropped.get(),
        channels_failing: channels::failing(&ctx),
        deliveries_pending: sum(|of| of.pending),
        deliveries_dead: sum(|of| of.dead),
        own_network: health.network.map(NetworkReport::from),
        tls: metrics.tls().map(|TlsStatus { not_after, error }| TlsReport { not_after, error }),
    };
    (code, Json(report))
}

#[expect(clippy::cast_precision_loss, reason = "a lag is far below 2^52 microseconds")]
fn milliseconds(micros: i64) -> f64 {
    micros as f64 / 1000.0
}

/// The largest unit that says enough: `12 seconds`, `1 minute`, `48 hours`, `5 days`.
fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (n, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3_600 => (seconds / 60, "minute"),
        3_600..259_200 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    if n == 1 { format!("1 {unit}") } else { format!("{n} {unit}s") }
}

/// One word of a probe.
#[derive(Debug, Serialize, ToSchema)]
pub struct Probe {
    #[schema(example = "alive")]
    status: &'static str,
}

/// Whether the process serves
///
/// 200 as long as anything is answered: restarting would not help against whatever else is wrong.
#[utoipa::path(get, path = "/health/live", tag = "health", responses((status = 200, body = Probe)))]
pub async fn live() -> Json<Probe> {
    Json(Probe { status: "alive" })
}

/// Whether everything is up
#[utoipa::path(get, path = "/health/ready", tag = "health", responses(
    (status = 200, body = Probe, description = "checks are made and kept"),
    (status = 503, body = Probe, description = "the database, the scheduler or the recorder is away"),
))]
pub async fn ready(State(ctx): State<Arc<ServiceContext>>) -> (StatusCode, Json<Probe>) {
    if ask(&ctx).await.is_whole() {
        (StatusCode::OK, Json(Probe { status: "ready" }))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(Probe { status: "not_ready" }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_words() {
        for (seconds, words) in [
            (0, "0 seconds"),
            (59, "59 seconds"),
            (60, "1 minute"),
            (7_199, "1 hour"),
            (172_800, "48 hours"),
            (259_200, "3 days"),
        ] {
            assert_eq!(in_words(Duration::from_secs(seconds)), words);
        }
    }
}
