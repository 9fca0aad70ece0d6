//! From the tree to [`Config`]: the sections with their defaults, and the rules of their values.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::Deserializer;

use super::database;
use super::de::typed;
use super::endpoints::{self, Resolved, Sections};
use super::layer::Rules;
use super::raw::{RawApi, RawAuth, RawLogging, RawMonitoring, RawPrometheus};
use super::report::Report;
use super::secret::Secret;
use super::section::Section;
use super::tree::{Node, Trail};
use super::{
    ApiConfig, AuthConfig, Config, LogFormat, LogLevel, LoggingConfig, MaxConcurrent, MonitoringConfig, Workers,
    channels, original, overrides, telling,
};
use crate::domain::Timestamp;
use crate::domain::schedule::parse_timezone;
use crate::domain::suggest::closest;

/// The keys at the top. `retry` has become a part of `defaults` by now.
const SECTIONS: [&str; 15] = [
    "database",
    "public_url",
    "timezone",
    "defaults",
    "retry",
    "channels",
    "notifications",
    "notify",
    "heartbeat",
    "groups",
    "endpoints",
    "monitoring",
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
    let rules = Rules { timezone, channels: channels.names.as_deref(), now };
    let mut section = |name| root.remove(name).map(|entry| entry.value);
    let sections =
        Sections { defaults: section("defaults"), groups: section("groups"), endpoints: section("endpoints") };
    let Resolved { defaults, groups, endpoints } = endpoints::read(sections, rules, report);
    let root = &root;
    let database = database::read(&Section::of(root, "database"), report);
    let monitoring = monitoring(&Section::of(root, "monitoring"), report);
    let logging = logging(&Section::of(root, "logging"), report);
    let api = api(&Section::of(root, "api"), report);
    Section::of(root, "prometheus").read::<RawPrometheus>(report);
    original::warn_of_not_in_effect(root, report);
    Config {
        path: PathBuf::new(),
        files: Vec::new(),
        database,
        timezone,
        defaults,
        groups,
        endpoints,
        monitoring,
        logging,
        api,
        channel_names: channels.channels.iter().map(|channel| channel.name.clone()).collect(),
        channels: channels.channels,
        telling,
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

fn logging(section: &Section<'_>, report: &mut Report) -> LoggingConfig {
    let raw: RawLogging = section.read(report);
    LoggingConfig {
        level: raw.level.unwrap_or(LogLevel::Info),
        format: raw.format.unwrap_or(LogFormat::Auto),
        console: raw.console.unwrap_or(true),
    }
}

impl<'de> Deserialize<'de> for LogLevel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const KNOWN: &[&str] = &["TRACE", "DEBUG", "INFO", "WARNING", "ERROR"];
        let word = String::deserialize(deserializer)?;
        match word.trim().to_ascii_uppercase().as_str() {
            "TRACE" => Ok(Self::Trace),
            "DEBUG" => Ok(Self::Debug),
            "INFO" => Ok(Self::Info),
            "WARN" | "WARNING" => Ok(Self::Warn),
            // The most severe level of the original; here errors are the most severe.
            "ERROR" | "CRITICAL" => Ok(Self::Error),
            _ => Err(serde::de::Error::unknown_variant(&word, KNOWN)),
        }
    }
}

fn api(section: &Section<'_>, report: &mut Report) -> ApiConfig {
    let raw: RawApi = section.read(report);
    let host = raw.host.unwrap_or_else(|| "0.0.0.0".to_owned());
    if !is_host(&host) {
        section.wrong("host", "is not an IP address or a host name, such as 0.0.0.0, :: or localhost", report);
    }
    ApiConfig {
        host,
        port: raw.port.unwrap_or(8000),
        workers: section.auto_or("workers", raw.workers, 1024, report).map_or(Workers::Auto, Workers::Fixed),
        auth: auth(section, raw.auth.unwrap_or_default(), report),
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

fn auth(section: &Section<'_>, raw: RawAuth, report: &mut Report) -> AuthConfig {
    let header_name = raw.header_name.unwrap_or_else(|| "X-API-Key".to_owned());
    if http::HeaderName::from_bytes(header_name.as_bytes()).is_err() {
        section.wrong("auth.header_name", "is not a header name, such as X-API-Key", report);
    }
    let realm = raw.realm.unwrap_or_else(|| "api-monitor".to_owned());
    if realm.len() > 200 || !realm.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'"' && b != b'\\') {
        section.wrong("auth.realm", "is printable ASCII without quotes and backslashes, at most 200 bytes", report);
    }
    let api_key = raw.api_key.filter(|key| !key.expose().is_empty());
    if let Some(key) = &api_key
        && (key.expose().len() > 1000 || !key.expose().bytes().all(|b| (0x21..0x7f).contains(&b)))
    {
        let message = "cannot be sent in a header: printable ASCII without spaces, at most 1,000 bytes";
        section.wrong("auth.api_key", message, report);
    }
    let api_key = match (raw.enabled, api_key) {
        (Some(false), Some(_)) => {
            let message = "has no effect while api.auth.enabled is false: requests are not authenticated";
            section.warn("auth.api_key", message, report);
            None
        }
        (Some(true), None) => {
            // A key that an allowed unset variable would give is there as far as anybody can tell; nobody may
            // guess what stands for it.
            let unset = section.place_of("auth.api_key").is_some_and(|(_, missing)| missing);
            if !unset {
                let message = "authentication is on and there is no key: set api.auth.api_key or the variable API_KEY";
                section.wrong("auth.enabled", message, report);
            }
            Some(Secret::new(uuid::Uuid::new_v4().to_string()))
        }
        (_, key) => key,
    };
    AuthConfig { api_key, header_name, realm }
}
