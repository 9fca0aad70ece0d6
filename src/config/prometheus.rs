//! `prometheus`: the metrics as text, where they are, and of how many endpoints.

use serde::Deserialize;

use super::report::Report;
use super::section::Section;

/// `prometheus:`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrometheusConfig {
    /// `false`: there is nothing at the path.
    pub enabled: bool,
    /// Begins with a slash, and is the path of nothing else.
    pub path: String,
    /// Whether there are metrics of single endpoints.
    pub endpoint_metrics: bool,
    /// Of how many endpoints at most, the oldest first.
    pub max_endpoints: u32,
    /// Whether they are there under the names that Gatus gives them, too.
    pub gatus_names: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawPrometheus {
    enabled: Option<bool>,
    path: Option<String>,
    endpoint_metrics: Option<bool>,
    max_endpoints: Option<u32>,
    gatus_names: Option<bool>,
}

/// Where they are unless the configuration says otherwise.
pub const DEFAULT_METRICS_PATH: &str = "/metrics";

/// Each endpoint has about twenty lines: this is 200 MB of text.
const MOST_ENDPOINTS: u32 = 100_000;

pub(super) fn read(section: &Section<'_>, report: &mut Report) -> PrometheusConfig {
    let raw: RawPrometheus = section.read(report);
    let path = raw.path.unwrap_or_else(|| DEFAULT_METRICS_PATH.to_owned());
    if let Err(message) = check_path(&path) {
        section.wrong("path", message, report);
    }
    PrometheusConfig {
        enabled: raw.enabled.unwrap_or(true),
        path,
        endpoint_metrics: raw.endpoint_metrics.unwrap_or(true),
        max_endpoints: section.in_range("max_endpoints", raw.max_endpoints, 1_000, 0, MOST_ENDPOINTS, report),
        gatus_names: raw.gatus_names.unwrap_or(false),
    }
}

fn check_path(path: &str) -> Result<(), String> {
    let segments = || path.split('/').skip(1);
    let sane = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~'))
    };
    if !path.starts_with('/') || path.len() > 200 || !segments().all(sane) {
        return Err(format!("`{path}` is not a path such as /metrics: letters, digits, - _ . ~ between slashes"));
    }
    let first = segments().next().unwrap_or_default();
    let is_taken = matches!(first, "api" | "docs" | "health" | "openapi.json")
        || (path != DEFAULT_METRICS_PATH && path.starts_with("/metrics/"));
    if is_taken { Err(format!("`{path}` is the path of something else: take another")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::check_path;

    #[test]
    fn a_path_is_one_of_its_own() {
        for good in ["/metrics", "/prometheus", "/internal/metrics", "/a.b-c_d~e", "/metricsy"] {
            assert_eq!(check_path(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "metrics",
            "/",
            "//",
            "/metrics/",
            "/a b",
            "/a?b",
            "/a#b",
            "/{x}",
            "/%41",
            "/é",
            "/a/../b",
            "/metrics/x",
        ] {
            assert!(check_path(bad).is_err(), "{bad}");
        }
        for taken in ["/api", "/api/v1/endpoints", "/health", "/health/live", "/docs/x", "/openapi.json"] {
            assert!(check_path(taken).unwrap_err().contains("something else"), "{taken}");
        }
    }
}
