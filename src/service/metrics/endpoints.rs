//! Metrics of single endpoints.

use super::families::{Family, number, seconds};
use crate::board::Entry;
use crate::domain::outcome::Status;

/// Of these endpoints, as they are on the board.
pub(super) fn families(entries: &[Entry]) -> [Family; 7] {
    let mut up = Family::gauge("api_monitor_endpoint_up", "1: up or degraded, 0: down; absent while nothing is known");
    let mut status =
        Family::gauge("api_monitor_endpoint_status", "Always 1, for the present status of the endpoint alone");
    let mut uptime = Family::gauge(
        "api_monitor_endpoint_uptime_ratio",
        "Good checks of the last 24 hours, 7 and 30 days, of all; absent without any",
    );
    let mut latency =
        Family::gauge("api_monitor_endpoint_latency_seconds", "Time of the last attempt of the last check");
    let mut last_check =
        Family::gauge("api_monitor_endpoint_last_check_timestamp_seconds", "When the last check with a verdict began");
    let mut certificate = Family::gauge(
        "api_monitor_endpoint_certificate_expiry_timestamp_seconds",
        "When the certificate that was served last expires; absent until a check has seen one since the start",
    );
    let mut checks = Family::counter("api_monitor_endpoint_checks_total", "Checks since the start, by outcome");
    for entry in entries {
        let endpoint = &entry.known.endpoint;
        let who =
            [("group", endpoint.group.clone()), ("name", endpoint.name.clone()), ("id", entry.known.id.to_string())];
        let now = entry.status();
        match now {
            Status::Up | Status::Degraded => up.add(&who, &[], 1.0),
            Status::Down => up.add(&who, &[], 0.0),
            Status::Pending | Status::Paused | Status::Maintenance | Status::Unknown => {}
        }
        status.add(&who, &[("status", now.as_str())], 1.0);
        let uptimes = entry.uptimes();
        for (window, percentage) in [("24h", uptimes.day), ("7d", uptimes.week), ("30d", uptimes.month)] {
            if let Some(percentage) = percentage {
                uptime.add(&who, &[("window", window)], percentage / 100.0);
            }
        }
        if let Some(last) = &entry.live.last_verdict {
            last_check.add(&who, &[], seconds(last.started_at));
            if let Some(micros) = last.response_time_us() {
                latency.add(&who, &[], f64::from(micros) / 1_000_000.0);
            }
        }
        if let Some(served) = &entry.live.certificate {
            certificate.add(&who, &[], seconds(served.leaf.not_after));
        }
        let counts = &entry.live.counts;
        for (outcome, n) in [("up", counts.up), ("degraded", counts.degraded), ("down", counts.down)] {
            checks.add(&who, &[("outcome", outcome)], number(u64::from(n)));
        }
    }
    [up, status, uptime, latency, last_check, certificate, checks]
}
