//! From the tree to [`Config`]: the sections with their defaults, and the rules of their values.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::database;
use super::de::typed;
use super::endpoints::{self, Resolved, Sections};
use super::layer::Rules;
use super::raw::RawMonitoring;
use super::report::Report;
use super::section::Section;
use super::tree::{Node, Trail};
use super::{
    Config, MaxConcurrent, MonitoringConfig, api, backup, channels, connectivity, logging, maintenance, outbound,
    overrides, prometheus, resolver, routes, telling,
};
use crate::domain::Timestamp;
use crate::domain::schedule::parse_timezone;
use crate::domain::selector::Selectable;
use crate::domain::suggest::closest;

/// The keys at the top. `retry` has become a part of `defaults` by now.
const SECTIONS: [&str; 22] = [
    "database",
    "backup",
    "public_url",
    "timezone",
    "defaults",
    "retry",
    "channels",
    "notifications",
    "notify",
    "routes",
    "group_messages",
    "heartbeat",
    "groups",
    "endpoints",
    "maintenance_windows",
    "monitoring",
    "connectivity",
    "resolver",
    "outbound",
    "logging",
    "prometheus",
    "api",
];

/// Checks everything; what is mistaken is in the report, and the result is then of no use.
pub(super) fn config(mut root: Node, now: Timestamp, report: &mut Report) -> Config {
    unknown_sections(&root, report);
    let timezone = timezone(&root, report);
    let channels = channels::read(&root, report);
    let telling = telling::read(&root, &channels, report);
    let rules = Rules { timezone, channels: channels.names.as_deref(), routes: &[], now };
    let routes = routes::read(&root, rules, report);
    let rules = Rules { routes: &routes, ..rules };
    let mut section = |name| root.remove(name).map(|entry| entry.value);
    let sections =
        Sections { defaults: section("defaults"), groups: section("groups"), endpoints: section("endpoints") };
    let mistakes = report.errors.len();
    let Resolved { defaults, groups, endpoints } = endpoints::read(sections, rules, report);
    let root = &root;
    let there = Selectable {
        endpoints: endpoints.iter().map(|configured| (None, &configured.endpoint)).collect(),
        groups: groups.keys().map(String::as_str).collect(),
    };
    let all_read = report.errors.len() == mistakes;
    if all_read {
        routes::note_idle(root, &there, report);
    }
    let maintenance_windows = maintenance::read(root, rules, all_read.then_some(&there), report);
    let database = database::read(&Section::of(root, "database"), report);
    let backup = backup::read(&Section::of(root, "backup"), &database.target, report);
    let monitoring = monitoring(&Section::of(root, "monitoring"), report);
    let connectivity = connectivity::read(root, report);
    let resolver = resolver::read(root, report);
    let outbound = outbound::read(&Section::of(root, "outbound"), report);
    let logging = logging::read(&Section::of(root, "logging"), report);
    let api = api::read(&Section::of(root, "api"), now, report);
    let prometheus = prometheus::read(&Section::of(root, "prometheus"), report);
    Config {
        path: PathBuf::new(),
        files: Vec::new(),
        set: BTreeMap::new(),
        database,
        backup,
        timezone,
        defaults,
        groups,
        endpoints,
        maintenance_windows,
        routes,
        monitoring,
        logging,
        api,
        prometheus,
        channel_names: channels.channels.iter().map(|channel| channel.name.clone()).collect(),
        channels: channels.channels,
        telling,
        connectivity,
        resolver,
        outbound,
        warnings: Vec::new(),
    }
}

fn unknown_sections(root: &Node, report: &mut Report) {
    for entry in root.entries() {
        let key = &entry.key.text;
        if SECTIONS.contains(&key.as_str()) {
            continue;
        }
        let help = match closest(key, SECTIONS) {
            // The whole name of the variable, with the right section in it.
            Some(meant) if entry.key.place.is_variable() => {
                format!("did you mean {}__… ?", overrides::variable_of(meant))
            }
            Some(meant) => format!("did you mean {meant} ?"),
            None => format!("known here: {}", SECTIONS.join(", ")),
        };
        report.error_with_help(&entry.key.place, key, "unknown key", help);
    }
}

fn timezone(root: &Node, report: &mut Report) -> chrono_tz::Tz {
    let Some(node) = root.get("timezone").filter(|node| !node.is_null()) else { return chrono_tz::Tz::UTC };
    let at = Trail::Key(&Trail::Root, "timezone");
    let Some(name) = typed::<Option<String>>(node, &at, report).value else { return chrono_tz::Tz::UTC };
    parse_timezone(&name).unwrap_or_else(|message| {
        if !node.has_missing() {
            let meant = closest(&name, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()));
            let message = super::tree::without_secrets(message, node);
            report.error_with_help(&node.place, at, message, meant.map(|meant| format!("did you mean {meant} ?")));
        }
        chrono_tz::Tz::UTC
    })
}

fn monitoring(section: &Section<'_>, report: &mut Report) -> MonitoringConfig {
    const CENTURY: u32 = 36_500;
    let raw: RawMonitoring = section.read(report);
    let cleanup_interval = raw.cleanup_interval.map_or(Duration::from_hours(24), |d| d.0);
    if cleanup_interval < Duration::from_secs(1) || cleanup_interval > Duration::from_hours(366 * 24) {
        section.wrong("cleanup_interval", "must be 1 s to 366 days", report);
    }
    MonitoringConfig {
        check_history_days: section.in_range("check_history_days", raw.check_history_days, 90, 1, CENTURY, report),
        cleanup_interval,
        max_concurrent_checks: section
            .auto_or("max_concurrent_checks", raw.max_concurrent_checks, 100_000, report)
            .map_or(MaxConcurrent::Auto, MaxConcurrent::Fixed),
        max_checks_per_host: section.in_range("max_checks_per_host", raw.max_checks_per_host, 10, 1, 10_000, report),
        hourly_rollup_days: section.in_range("hourly_rollup_days", raw.hourly_rollup_days, 400, 1, CENTURY, report),
    }
}

/// Whether it is an IP address or may be a host name.
pub(super) fn is_host(host: &str) -> bool {
    let name = || {
        (1..=253).contains(&host.len())
            && !host.starts_with(['-', '.'])
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_')
    };
    host.parse::<std::net::IpAddr>().is_ok() || name()
}
