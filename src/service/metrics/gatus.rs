//! The same endpoints under the names and labels that Gatus gives them, so that boards made for it go on working.
//! What has no counterpart here (domains that expire, suites) is not there.

use super::families::{Family, number, seconds};
use crate::board::Entry;
use crate::domain::Timestamp;
use crate::domain::endpoint::Kind;

/// Of these endpoints. One that was not checked since the start is not there, as in Gatus.
pub(super) fn families(entries: &[Entry], now: Timestamp) -> [Family; 6] {
    let mut results = Family::counter("gatus_results_total", "Number of results per endpoint");
    let mut duration = Family::gauge("gatus_results_duration_seconds", "Duration of the request in seconds");
    let mut connected = Family::counter(
        "gatus_results_connected_total",
        "Total number of results in which a connection was successfully established",
    );
    let mut codes = Family::counter("gatus_results_code_total", "Total number of results by code");
    let mut certificate = Family::gauge(
        "gatus_results_certificate_expiration_seconds",
        "Number of seconds until the certificate expires",
    );
    let mut success =
        Family::gauge("gatus_results_endpoint_success", "Displays whether or not the endpoint was a success");
    for entry in entries {
        let (endpoint, live) = (&entry.known.endpoint, &entry.live);
        let Some(last) = live.last_verdict.as_ref().filter(|_| !live.counts.is_empty()) else { continue };
        let kind = match endpoint.kind {
            Kind::Http => "HTTP",
            Kind::Tcp => "TCP",
            Kind::Tls => "TLS",
            Kind::Icmp => "ICMP",
            Kind::Dns => "DNS",
            Kind::Websocket => "WEBSOCKET",
            Kind::Grpc => "GRPC",
            // As it calls what is reported to it.
            Kind::Push => "UNKNOWN",
        };
        let who = [
            ("key", key(&endpoint.group, &endpoint.name)),
            ("group", endpoint.group.clone()),
            ("name", endpoint.name.clone()),
            ("type", kind.to_owned()),
        ];
        let counts = &live.counts;
        results.add(&who, &[("success", "true")], number(u64::from(counts.good())));
        results.add(&who, &[("success", "false")], number(u64::from(counts.down)));
        if let Some(micros) = last.response_time_us() {
            duration.add(&who, &[], f64::from(micros) / 1_000_000.0);
        }
        connected.add(&who, &[], number(u64::from(counts.connected)));
        for (code, n) in counts.codes() {
            let code = if *code == 0 { "other".to_owned() } else { code.to_string() };
            codes.add(&who, &[("code", &code)], number(u64::from(*n)));
        }
        if let Some(served) = &live.certificate {
            certificate.add(&who, &[], seconds(served.leaf.not_after) - seconds(now));
        }
        success.add(&who, &[], if last.outcome.is_good() { 1.0 } else { 0.0 });
    }
    [results, duration, connected, codes, certificate, success]
}

/// The key of an endpoint: group and name in small letters, with hyphens for what a path could not hold.
fn key(group: &str, name: &str) -> String {
    let plain = |text: &str| {
        let lower = text.to_lowercase();
        lower.trim().replace(['/', '_', '.', ',', ' ', '#', '+', '&'], "-")
    };
    format!("{}_{}", plain(group), plain(name))
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn keys_are_made_as_gatus_makes_them() {
        for (group, name, expected) in [
            ("core", "Front End", "core_front-end"),
            ("", "a", "_a"),
            (" Core/EU ", "x_y.z,1#2+3&4", "core-eu_x-y-z-1-2-3-4"),
            ("Ä", "ß", "ä_ß"),
        ] {
            assert_eq!(key(group, name), expected);
        }
    }
}
