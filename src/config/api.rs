//! `api:`: where and how the API is served, and to whom.

use std::fmt;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::auth::{self, AuthConfig};
use super::outbound;
use super::raw::{AutoOr, RawApi, RawCors};
use super::report::Report;
use super::section::Section;
use super::validate::is_host;
use crate::domain::Timestamp;

/// `api:`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiConfig {
    /// An IP address or a host name.
    pub host: String,
    /// 0: any free one.
    pub port: u16,
    pub workers: Workers,
    pub max_connections: MaxConnections,
    pub auth: AuthConfig,
    /// `None`: pages from elsewhere get no answer that they can read.
    pub cors: Option<CorsConfig>,
    /// `None`: plain HTTP.
    pub tls: Option<TlsConfig>,
    /// `None`: no limit.
    pub rate_limit: Option<RateLimitConfig>,
    /// Peers that are believed about whom they speak for.
    pub trusted_proxies: Vec<IpNet>,
}

/// How many threads the runtime has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// One a processor.
    Auto,
    /// At least 1.
    Fixed(u32),
}

/// How many connections are served at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxConnections {
    /// As fits the open files that the process may have.
    Auto,
    /// [`FEWEST`](Self::FEWEST) to [`MOST`](Self::MOST).
    Fixed(u32),
}

impl MaxConnections {
    /// Fewer would keep health checks and a browser from each other.
    pub const FEWEST: u32 = 16;
    pub const MOST: u32 = 65_536;
}

/// `api.cors:`, when it is enabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsConfig {
    pub origins: Origins,
    /// Never together with [`Origins::Any`].
    pub credentials: bool,
    /// `None`: any.
    pub methods: Option<Vec<http::Method>>,
    /// `None`: any.
    pub headers: Option<Vec<http::HeaderName>>,
}

/// Where pages that may read answers come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    Any,
    /// As browsers write them: `https://status.example.com`.
    Listed(Vec<String>),
}

/// `api.tls:`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// PEM: the certificate of this server, then those that lead to an authority.
    pub cert_file: PathBuf,
    /// PEM: the private key of the first certificate.
    pub key_file: PathBuf,
}

/// `api.rate_limit:`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimitConfig {
    /// In the long run, at least 1.
    pub requests_per_minute: u32,
    /// At once, at least 1.
    pub burst: u32,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTls {
    cert_file: Option<String>,
    key_file: Option<String>,
}

/// `false`, `true`, a number a minute, or a mapping.
pub(super) enum RawRateLimit {
    Off,
    On(RawRates),
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRates {
    requests_per_minute: Option<u32>,
    burst: Option<u32>,
}

impl<'de> Deserialize<'de> for RawRateLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = RawRateLimit;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("false, or a mapping such as {requests_per_minute: 600, burst: 100}")
            }
            fn visit_bool<E: de::Error>(self, on: bool) -> Result<RawRateLimit, E> {
                Ok(if on { RawRateLimit::On(RawRates::default()) } else { RawRateLimit::Off })
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<RawRateLimit, E> {
                if number == 0 {
                    return Ok(RawRateLimit::Off);
                }
                Err(E::invalid_type(de::Unexpected::Unsigned(number), &self))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawRateLimit, A::Error> {
                RawRates::deserialize(de::value::MapAccessDeserializer::new(map)).map(RawRateLimit::On)
            }
        }
        deserializer.deserialize_any(V)
    }
}

pub(super) fn read(section: &Section<'_>, now: Timestamp, report: &mut Report) -> ApiConfig {
    let raw: RawApi = section.read(report);
    let host = raw.host.unwrap_or_else(|| "0.0.0.0".to_owned());
    if !is_host(&host) {
        section.wrong("host", "is not an IP address or a host name, such as 0.0.0.0, :: or localhost", report);
    }
    let auth = auth::read(section, raw.auth.unwrap_or_default(), now, report);
    let rate_limit = match raw.rate_limit {
        Some(RawRateLimit::Off) => None,
        // Written without a value: nothing is limited. Not written at all: the default.
        None if section.node.and_then(|node| node.get("rate_limit")).is_some_and(super::tree::Node::is_null) => None,
        None => rates(section, &RawRates::default(), report),
        Some(RawRateLimit::On(raw)) => rates(section, &raw, report),
    };
    ApiConfig {
        host,
        port: raw.port.unwrap_or(8000),
        workers: section.auto_or("workers", raw.workers, 1024, report).map_or(Workers::Auto, Workers::Fixed),
        max_connections: max_connections(section, raw.max_connections, report),
        cors: raw.cors.and_then(|raw| cors(section, raw, &auth, report)),
        tls: raw.tls.and_then(|raw| tls(section, raw, report)),
        rate_limit,
        trusted_proxies: trusted_proxies(section, &raw.trusted_proxies.unwrap_or_default(), report),
        auth,
    }
}

fn max_connections(section: &Section<'_>, raw: Option<AutoOr>, report: &mut Report) -> MaxConnections {
    let Some(AutoOr::Number(number)) = raw else { return MaxConnections::Auto };
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    let (fewest, most) = (MaxConnections::FEWEST, MaxConnections::MOST);
    MaxConnections::Fixed(section.in_range("max_connections", Some(number), fewest, fewest, most, report))
}

fn rates(section: &Section<'_>, raw: &RawRates, report: &mut Report) -> Option<RateLimitConfig> {
    const MOST: u32 = 1_000_000;
    if raw.requests_per_minute == Some(0) {
        return None;
    }
    Some(RateLimitConfig {
        requests_per_minute: section.in_range(
            "rate_limit.requests_per_minute",
            raw.requests_per_minute,
            600,
            1,
            MOST,
            report,
        ),
        burst: section.in_range("rate_limit.burst", raw.burst, 100, 1, MOST, report),
    })
}

fn tls(section: &Section<'_>, raw: RawTls, report: &mut Report) -> Option<TlsConfig> {
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    match (filled(raw.cert_file), filled(raw.key_file)) {
        (None, None) => None,
        (Some(cert_file), Some(key_file)) => Some(TlsConfig { cert_file: cert_file.into(), key_file: key_file.into() }),
        (cert_file, _) => {
            let (given, missing) =
                if cert_file.is_some() { ("cert_file", "key_file") } else { ("key_file", "cert_file") };
            section.wrong("tls", format!("has a {given} and no {missing}: TLS needs both"), report);
            None
        }
    }
}

/// Headers that pages may send when none are named.
const USUAL_HEADERS: [http::HeaderName; 5] = [
    http::header::ACCEPT,
    http::header::AUTHORIZATION,
    http::header::CONTENT_TYPE,
    http::header::IF_MATCH,
    http::HeaderName::from_static("x-request-id"),
];

/// Methods of the API.
const METHODS: [http::Method; 6] = [
    http::Method::GET,
    http::Method::HEAD,
    http::Method::POST,
    http::Method::PUT,
    http::Method::PATCH,
    http::Method::DELETE,
];

fn cors(section: &Section<'_>, raw: RawCors, auth: &AuthConfig, report: &mut Report) -> Option<CorsConfig> {
    let methods = listed(section, "cors.allow_methods", raw.allow_methods, "a method, such as GET", report)
        .map(|all: Vec<http::Method>| if all.is_empty() { METHODS.to_vec() } else { all });
    let headers =
        listed(section, "cors.allow_headers", raw.allow_headers, "a header name, such as Content-Type", report).map(
            |all: Vec<http::HeaderName>| {
                if !all.is_empty() {
                    return all;
                }
                let key = http::HeaderName::from_bytes(auth.header_name.as_bytes()).ok();
                USUAL_HEADERS.into_iter().chain(key).collect()
            },
        );
    let origins = origins(section, raw.allow_origins.unwrap_or_default(), report);
    if !raw.enabled.unwrap_or(false) {
        return None;
    }
    if origins == Origins::Listed(Vec::new()) {
        section.warn("cors.enabled", "allows no origin: name them in api.cors.allow_origins", report);
    }
    let mut credentials = raw.allow_credentials.unwrap_or(false);
    if credentials && origins == Origins::Any {
        // The original's own example has both. Browsers refuse the two together, and to answer every origin by its
        // name instead would give what a person's browser may see here to any page.
        let message = "has no effect together with allow_origins \"*\", as browsers refuse the two together: name the \
                       origins. API keys are sent in headers and need no credentials";
        section.warn("cors.allow_credentials", message, report);
        credentials = false;
    }
    Some(CorsConfig { origins, credentials, methods, headers })
}

/// `None`: any, by `*`.
fn listed<T: std::str::FromStr>(
    section: &Section<'_>,
    key: &str,
    items: Option<Vec<String>>,
    what: &str,
    report: &mut Report,
) -> Option<Vec<T>> {
    let items = items.unwrap_or_default();
    if items.iter().any(|item| item == "*") {
        return None;
    }
    let mut all = Vec::new();
    for (i, item) in items.iter().enumerate() {
        match item.trim().parse() {
            Ok(item) => all.push(item),
            Err(_) => section.wrong(&format!("{key}.{i}"), format!("`{item}` is not {what}"), report),
        }
    }
    Some(all)
}

fn origins(section: &Section<'_>, items: Vec<String>, report: &mut Report) -> Origins {
    if items.iter().any(|item| item == "*") {
        return Origins::Any;
    }
    let mut all = Vec::new();
    for (i, item) in items.into_iter().enumerate() {
        let origin = url::Url::parse(&item).ok().map(|url| url.origin()).filter(url::Origin::is_tuple);
        match origin.map(|origin| origin.ascii_serialization()) {
            Some(origin) if origin == item.to_ascii_lowercase() => all.push(origin),
            origin => {
                let message = format!("`{item}` is not an origin, such as https://status.example.com, or \"*\"");
                let help = origin.map(|origin| format!("did you mean {origin} ?"));
                section.wrong_with_help(&format!("cors.allow_origins.{i}"), message, help, report);
            }
        }
    }
    Origins::Listed(all)
}

fn trusted_proxies(section: &Section<'_>, items: &[String], report: &mut Report) -> Vec<IpNet> {
    let all = outbound::networks(section, "trusted_proxies", items, report);
    for (i, item) in items.iter().enumerate() {
        if item.trim().parse::<IpNet>().is_ok_and(|network| network.prefix_len() == 0) {
            section.warn(&format!("trusted_proxies.{i}"), "believes anybody about their address", report);
        }
    }
    all
}
