//! Bounds that differ by route.

use std::time::Duration;

use crate::config::DEFAULT_METRICS_PATH;
use crate::service::{bulk, checks};

/// The route template of a check by hand, which takes as long as the check.
pub const CHECK_ROUTE: &str = "/api/v1/endpoints/{id}/check";

/// The route template of a test of a channel, which takes as long as the channel.
pub const TEST_ROUTE: &str = "/api/v1/channels/{name}/test";

/// The route template of a report, which comes in several forms.
pub const REPORT_ROUTE: &str = "/api/v1/stats/sla";

/// The route template of the stream of events.
pub const EVENTS_ROUTE: &str = "/api/v1/events";

/// The route of a trial of a definition, which takes as long as the attempt.
pub const TRIAL_ROUTE: &str = "/api/v1/endpoints/test";

/// The route of many changes in one request, of which each has the time of a request.
pub const BULK_ROUTE: &str = "/api/v1/endpoints/bulk";

/// The route template of the page of a link that acknowledges.
pub const ACKNOWLEDGE_ROUTE: &str = "/acknowledge/{token}";

/// The route template of the file of a backup.
pub const BACKUP_ROUTE: &str = "/api/v1/backups/{id}/content";

/// The most time of an ordinary request; then it is answered with 503.
const ORDINARY: Duration = Duration::from_secs(30);

/// The time that a body has to arrive, on top of the time for what is done with it.
const BODY: Duration = Duration::from_secs(30);

/// How long a request to a route may take.
pub fn handler_timeout(template: Option<&str>, has_body: bool) -> Duration {
    let body = if has_body { BODY } else { Duration::ZERO };
    // The verb gives up by itself, with a better sentence than the bound has.
    let verb = match template {
        Some(CHECK_ROUTE | TRIAL_ROUTE) => checks::MAX_WAIT,
        Some(BULK_ROUTE) => bulk::MAX_WAIT,
        _ => Duration::ZERO,
    };
    body + verb + ORDINARY
}

/// Routes that are not cut short while the database does not answer: they wait for a target or a channel, or have to
/// tell what was done before it went away.
pub fn is_left_waiting(template: &str) -> bool {
    matches!(template, CHECK_ROUTE | TEST_ROUTE | TRIAL_ROUTE | BULK_ROUTE)
}

/// Routes that endpoints report to. They are limited by their tokens, not by who asks: several machines behind one address
/// keep nobody from reporting, nor does whoever else is there.
pub fn is_push(template: &str) -> bool {
    ["/api/v1/push/", "/api/push/", "/ping/"].iter().any(|start| template.starts_with(start))
}

/// Routes that answer with something else than JSON too: pages and their assets, tables, files, and the metrics, which look
/// themselves at what is accepted.
pub fn is_page(template: &str) -> bool {
    template.starts_with("/docs")
        || is_push(template)
        || [REPORT_ROUTE, BACKUP_ROUTE, ACKNOWLEDGE_ROUTE, DEFAULT_METRICS_PATH].contains(&template)
}

/// Routes that machines, or browsers for every page, ask again and again: probes of health, the scrape of Prometheus, and
/// the assets of the documentation.
pub fn is_probe(template: &str) -> bool {
    ["/health", "/health/live", "/health/ready", DEFAULT_METRICS_PATH].contains(&template)
        || template.starts_with("/docs")
}
