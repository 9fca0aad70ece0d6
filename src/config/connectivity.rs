//! `connectivity:`: what is asked whether our own network is there, when checks fail.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::report::Report;
use super::section::Section;
use super::tree::Node;
use crate::domain::connectivity::{Reach, Rules, reach_of};
use crate::domain::outbound::address_of;
use crate::domain::setting::DurationSetting;

/// The most targets: all are asked at once.
const MOST: usize = 16;

/// What is asked, and what its answers mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectivityConfig {
    /// `tcp://host:port`, which is connected to, or `http(s)://…`, of which any answer will do. 1 to 16, each once.
    pub targets: Vec<Url>,
    pub rules: Rules,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawConnectivity {
    targets: Option<Vec<String>>,
    quorum: Option<u32>,
    interval: Option<DurationSetting>,
    max_suppression: Option<DurationSetting>,
}

/// `None`: nothing is asked, and every failure counts.
pub(super) fn read(root: &Node, report: &mut Report) -> Option<ConnectivityConfig> {
    let section = Section::of(root, "connectivity");
    section.node?;
    let errors = report.errors.len();
    let raw: RawConnectivity = section.read(report);
    let is_read = report.errors.len() == errors;
    let written = raw.targets.unwrap_or_default();
    let targets = targets(&section, &written, report);
    if written.is_empty() && is_read {
        section.wrong("targets", "has none: name 1 to 16, such as tcp://9.9.9.9:53 or https://example.com", report);
    }
    let count = u32::try_from(written.len()).unwrap_or(u32::MAX);
    let quorum = if written.is_empty() { 1 } else { section.in_range("quorum", raw.quorum, 1, 1, count, report) };
    let interval = raw.interval.map_or(Duration::from_secs(10), |d| d.0);
    if interval < Duration::from_secs(1) || interval > Duration::from_hours(1) {
        section.wrong("interval", "must be 1 s to 1 h", report);
    }
    let max_suppression = raw.max_suppression.map_or(Duration::from_mins(10), |d| d.0);
    if max_suppression < Duration::from_secs(1) || max_suppression > Duration::from_hours(24) {
        section.wrong("max_suppression", "must be 1 s to 24 h", report);
    }
    Some(ConnectivityConfig { targets, rules: Rules { quorum, interval, max_suppression } })
}

fn targets(section: &Section<'_>, written: &[String], report: &mut Report) -> Vec<Url> {
    if written.len() > MOST {
        section.wrong("targets", format!("too many: at most {MOST}"), report);
        return Vec::new();
    }
    let mut targets: Vec<Url> = Vec::new();
    for (i, text) in written.iter().enumerate() {
        match parse(text.trim()) {
            Ok(url) if targets.contains(&url) => section.wrong(&format!("targets.{i}"), "is named twice", report),
            Ok(url) => {
                if is_here(&url) {
                    let message = "is on this machine: its answers say nothing of the network";
                    section.warn(&format!("targets.{i}"), message, report);
                }
                targets.push(url);
            }
            Err(message) => section.wrong(&format!("targets.{i}"), message, report),
        }
    }
    targets
}

fn is_here(url: &Url) -> bool {
    let by_name = |name: &str| name.eq_ignore_ascii_case("localhost") || name.ends_with(".localhost");
    match address_in(url) {
        Some(address) => reach_of(address) == Reach::Loopback,
        None => url.host_str().is_some_and(by_name),
    }
}

/// The host of a target, if it is an address. Those of `tcp:` are opaque to URLs.
fn address_in(url: &Url) -> Option<std::net::IpAddr> {
    let of_text = || url.host_str()?.trim_start_matches('[').trim_end_matches(']').parse().ok();
    address_of(url).or_else(of_text)
}

fn parse(text: &str) -> Result<Url, String> {
    const FORMS: &str = "a target is tcp://host:port, http://… or https://…";
    let url = Url::parse(text).map_err(|error| format!("is not a URL ({error}): {FORMS}"))?;
    if !matches!(url.scheme(), "tcp" | "http" | "https") {
        return Err(format!("the scheme `{}` cannot be asked: {FORMS}", url.scheme()));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(format!("has no host: {FORMS}"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold user and password".to_owned());
    }
    if url.port() == Some(0) {
        return Err("port 0 cannot be connected to".to_owned());
    }
    if url.scheme() == "tcp" {
        if url.port().is_none() {
            return Err("has no port: tcp://host:port".to_owned());
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err("has more than host and port: tcp://host:port".to_owned());
        }
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_hosts_with_ports_or_web_addresses() {
        for text in [
            "tcp://9.9.9.9:53",
            "tcp://[2620:fe::fe]:53",
            "tcp://dns.example:853",
            "https://example.com",
            "http://10.0.0.1:8080/x?y=1",
        ] {
            assert_eq!(parse(text).map(drop), Ok(()), "{text}");
        }
        for (text, why) in [
            ("9.9.9.9:53", "is not a URL"),
            ("dns.example", "is not a URL"),
            ("udp://9.9.9.9:53", "the scheme `udp`"),
            ("tcp://9.9.9.9", "has no port"),
            ("tcp://9.9.9.9:0", "port 0"),
            ("tcp://:53", "is not a URL"),
            ("tcp://9.9.9.9:53/x", "more than host and port"),
            ("https://user:word@example.com", "user and password"),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains(why), "{text}: {message}");
            assert!(!message.contains("word@"), "{message}");
        }
    }

    #[test]
    fn what_is_on_this_machine_is_known() {
        for (text, expected) in [
            ("tcp://127.0.0.1:53", true),
            ("tcp://[::1]:53", true),
            ("http://localhost:1/", true),
            ("tcp://x.localhost:1", true),
            ("tcp://9.9.9.9:53", false),
            ("https://example.com", false),
        ] {
            assert_eq!(is_here(&parse(text).unwrap()), expected, "{text}");
        }
    }
}
