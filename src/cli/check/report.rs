//! What a check saw, as it is told: bounded, without secrets, and with keys that stay. `docs/check.schema.json` is made
//! of it.

use chrono::SecondsFormat;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::checks::attempts::{Attempted, Tried};
use crate::cli::counted;
use crate::domain::Timestamp;
use crate::domain::check::{Answer, CertificateSeen, Secrets, Timings, shown_url};
use crate::domain::dial::{Dialled, HopSeen};
use crate::domain::endpoint::{Endpoint, Kind};
use crate::domain::outcome::Outcome;

/// What `api-monitor check --json` prints.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Report {
    /// `up`, `degraded`, `down`; `missed`: it could not be examined, which says nothing of the other side.
    pub(super) outcome: String,
    /// One sentence that says why; null where it is up.
    pub(super) why: Option<String>,
    /// The stable word of the failure, one of docs/failures.md.
    pub(super) failure_kind: Option<String>,
    /// Of an outcome `missed`: the stable word of its reason.
    pub(super) missed_reason: Option<String>,
    /// `http`, `tcp`, `tls`, `icmp`, `dns`, `websocket` or `grpc`.
    pub(super) kind: String,
    /// What was examined, without secrets.
    pub(super) url: String,
    /// Of the kind `http`.
    pub(super) method: Option<String>,
    /// When the first attempt began.
    pub(super) started_at: String,
    /// How many attempts were made. Everything else here is of the last one.
    pub(super) attempts: u32,
    /// The attempts before the last, none of which was good.
    pub(super) attempts_before: Vec<AttemptReport>,
    /// How long each phase took; over redirects the phases are summed.
    pub(super) timings: PhasesReport,
    /// The other end of the last connection, `ip:port`; that of the proxy, where there is one.
    pub(super) address: Option<String>,
    /// The proxy by which it was reached, `host:port`.
    pub(super) proxy: Option<String>,
    /// Each address that was dialled, in order, those of all hops.
    pub(super) dialled: Vec<DialledReport>,
    /// What was agreed on the last TLS connection.
    pub(super) tls: Option<TlsReport>,
    /// The certificate that was served, also one that was refused.
    pub(super) certificate: Option<CertificateReport>,
    /// The certificates that were served after it, in their order.
    pub(super) issuers: Vec<CertificateReport>,
    /// The last status; null where no headers came.
    pub(super) status_code: Option<u16>,
    /// `HTTP/1.1`, `HTTP/2.0`.
    pub(super) http_version: Option<String>,
    /// How many bytes of the decompressed body were read, or of what a kind counts as its body.
    pub(super) body_bytes: u64,
    /// Where the redirects led, in order.
    pub(super) redirects: Vec<String>,
    /// Each request of an attempt that was redirected, the last one included; empty of others.
    pub(super) hops: Vec<HopReport>,
    /// What was answered, of kinds other than `http`: a text as it came; of `dns` the server, the code and the records;
    /// of `icmp` the numbers of the echoes; of `grpc` the word of the health protocol.
    #[schema(value_type = Value)]
    pub(super) answer: Option<Value>,
    /// Each condition with the value that was seen, first those that must hold, then those of `degraded_unless`. Empty
    /// where no whole answer came.
    pub(super) conditions: Vec<ConditionReport>,
    /// The beginning of the body, where it is text and the outcome is not `up`.
    pub(super) excerpt: Option<String>,
    /// The answer in lines for a person.
    #[serde(skip)]
    pub(super) said: Vec<String>,
}

/// An attempt that was not the last.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AttemptReport {
    /// The stable word of its failure.
    pub(super) failure_kind: Option<String>,
    /// One sentence.
    pub(super) why: Option<String>,
    /// From its start to its end.
    pub(super) total_ms: f64,
}

/// Times in milliseconds; null: the phase was not reached, or there is none.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(super) struct PhasesReport {
    /// Looking the name up.
    pub(super) dns_ms: Option<f64>,
    /// Connecting, also to addresses that did not answer, and through a proxy.
    pub(super) connect_ms: Option<f64>,
    /// The TLS handshake.
    pub(super) tls_ms: Option<f64>,
    /// From the request to the first byte of its answer.
    pub(super) first_byte_ms: Option<f64>,
    /// From there to the end of what is read.
    pub(super) transfer_ms: Option<f64>,
    /// From the start to the end.
    pub(super) total_ms: f64,
}

/// An address that was dialled.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DialledReport {
    /// `ip:port`
    pub(super) address: String,
    pub(super) took_ms: f64,
    /// Why there is no connection; null: there is.
    pub(super) failure: Option<String>,
}

/// What was agreed in a TLS handshake.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TlsReport {
    /// `TLS 1.3`
    pub(super) version: String,
    /// `TLS13_AES_256_GCM_SHA384`
    pub(super) cipher: String,
    /// What is spoken within, where both sides named it: `h2`, `http/1.1`.
    pub(super) protocol: Option<String>,
}

/// A certificate.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CertificateReport {
    pub(super) subject: String,
    pub(super) issuer: String,
    /// RFC 3339
    pub(super) not_before: String,
    /// RFC 3339
    pub(super) not_after: String,
    /// Whole days until `not_after`, negative when it is over.
    pub(super) expires_in_days: i64,
    /// The names and addresses it is for.
    pub(super) sans: Vec<String>,
    /// SHA-256 of the whole, in lower-case hexadecimal digits.
    pub(super) fingerprint: String,
    #[serde(skip)]
    pub(super) age: Age,
}

/// When a certificate begins and ends, seen from now: for a person.
#[derive(Debug, Default)]
pub(super) struct Age {
    pub(super) begins: String,
    pub(super) ends: String,
    pub(super) is_over: bool,
    pub(super) is_to_come: bool,
}

/// One request of an attempt that was redirected.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HopReport {
    pub(super) url: String,
    /// Null where no answer came.
    pub(super) status_code: Option<u16>,
    /// The other end of its connection.
    pub(super) address: Option<String>,
    /// Of this hop alone.
    pub(super) timings: PhasesReport,
}

/// A condition, and whether it held.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConditionReport {
    /// As it is written.
    pub(super) condition: String,
    /// It holds.
    pub(super) success: bool,
    /// With the values: `[STATUS] (502) == 200`.
    pub(super) seen: String,
    /// One of `degraded_unless`.
    pub(super) degrades: bool,
    /// Where it does not hold, why, in a sentence.
    pub(super) why: Option<String>,
}

impl Report {
    /// `now` is what the ages of certificates are seen from.
    pub(super) fn of(endpoint: &Endpoint, attempted: &Attempted, now: Timestamp) -> Self {
        let seen = &attempted.observation;
        let secrets = Secrets::of(&endpoint.check, seen);
        let clean = |text: &str| printable(&secrets.hidden(text.to_owned()));
        let failure = attempted.outcome.failure();
        let why = match &attempted.outcome {
            Outcome::Up => None,
            Outcome::Degraded => attempted.detail.why_degraded(),
            Outcome::Down(failure) => Some(failure.message.clone()),
            Outcome::Missed(_) => seen.failure.as_ref().map(|failure| failure.message.clone()),
        };
        let certificate = |seen: &CertificateSeen| certificate(seen, now, clean);
        Self {
            outcome: attempted.outcome.word().to_string(),
            why: why.map(|why| clean(&why)),
            failure_kind: failure.map(|failure| failure.kind.to_string()),
            missed_reason: match attempted.outcome {
                Outcome::Missed(reason) => Some(reason.to_string()),
                _ => None,
            },
            kind: endpoint.kind.to_string(),
            url: clean(&shown_url(endpoint.check.url.as_str())),
            method: (endpoint.kind == Kind::Http).then(|| endpoint.check.method.clone()),
            started_at: attempted.started_at.to_rfc3339_opts(SecondsFormat::Millis, true),
            attempts: attempted.attempts,
            attempts_before: attempted.before.iter().map(|tried| before(tried, clean)).collect(),
            timings: phases(seen.timings),
            address: seen.remote_address.clone(),
            proxy: seen.proxy.clone(),
            dialled: seen.dialled.iter().map(|one| dialled(one, clean)).collect(),
            tls: seen.tls.as_ref().map(|tls| TlsReport {
                version: tls.version.clone(),
                cipher: tls.cipher.clone(),
                protocol: tls.protocol.as_deref().map(clean),
            }),
            certificate: seen.certificate.as_ref().map(certificate),
            issuers: seen.issuers.iter().map(certificate).collect(),
            status_code: seen.status_code,
            http_version: seen.http_version.clone(),
            body_bytes: seen.body_bytes,
            redirects: seen.redirects.iter().map(|url| clean(&shown_url(url))).collect(),
            hops: seen.hops.iter().map(|one| hop(one, clean)).collect(),
            answer: seen.answer.as_ref().map(|answer| without(&secrets, answer.to_json())),
            conditions: attempted.detail.conditions.iter().map(|one| condition(one, clean)).collect(),
            excerpt: attempted.detail.excerpt.as_ref().map(|text| secrets.hidden(text.clone())),
            said: seen.answer.as_ref().map(said).unwrap_or_default().iter().map(|line| clean(line)).collect(),
        }
    }
}

/// Of another party, fit for a terminal: what would steer it is replaced.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn without(secrets: &Secrets, value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(secrets.hidden(text)),
        Value::Array(all) => all.into_iter().map(|one| without(secrets, one)).collect(),
        Value::Object(all) => all.into_iter().map(|(key, one)| (key, without(secrets, one))).collect(),
        other => other,
    }
}

fn ms(us: u32) -> f64 {
    f64::from(us) / 1_000.0
}

fn phases(timings: Timings) -> PhasesReport {
    let Timings { dns_us, connect_us, tls_us, first_byte_us, transfer_us, total_us } = timings;
    PhasesReport {
        dns_ms: dns_us.map(ms),
        connect_ms: connect_us.map(ms),
        tls_ms: tls_us.map(ms),
        first_byte_ms: first_byte_us.map(ms),
        transfer_ms: transfer_us.map(ms),
        total_ms: ms(total_us),
    }
}

impl PhasesReport {
    /// Those that were reached, with the words for them.
    pub(super) fn reached(self) -> impl Iterator<Item = (&'static str, f64)> {
        let all = [
            ("dns", self.dns_ms),
            ("connect", self.connect_ms),
            ("tls", self.tls_ms),
            ("first byte", self.first_byte_ms),
            ("transfer", self.transfer_ms),
        ];
        all.into_iter().filter_map(|(name, ms)| Some((name, ms?)))
    }
}

fn before(tried: &Tried, clean: impl Fn(&str) -> String) -> AttemptReport {
    AttemptReport {
        failure_kind: tried.failure.as_ref().map(|failure| failure.kind.to_string()),
        why: tried.failure.as_ref().map(|failure| clean(&failure.message)),
        total_ms: ms(tried.total_us),
    }
}

fn dialled(one: &Dialled, clean: impl Fn(&str) -> String) -> DialledReport {
    let Dialled { address, took_us, failure } = one;
    DialledReport { address: address.to_string(), took_ms: ms(*took_us), failure: failure.as_deref().map(clean) }
}

fn hop(one: &HopSeen, clean: impl Fn(&str) -> String) -> HopReport {
    let HopSeen { url, status_code, address, timings } = one;
    HopReport {
        url: clean(&shown_url(url)),
        status_code: *status_code,
        address: address.clone(),
        timings: phases(*timings),
    }
}

fn condition(one: &crate::domain::condition::ConditionSeen, clean: impl Fn(&str) -> String) -> ConditionReport {
    ConditionReport {
        condition: clean(&one.condition),
        success: one.success,
        seen: clean(&one.seen),
        degrades: one.degrades,
        why: one.why.as_deref().map(clean),
    }
}

fn certificate(seen: &CertificateSeen, now: Timestamp, clean: impl Fn(&str) -> String) -> CertificateReport {
    let at = |at: Timestamp| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    CertificateReport {
        subject: clean(&seen.subject),
        issuer: clean(&seen.issuer),
        not_before: at(seen.not_before),
        not_after: at(seen.not_after),
        expires_in_days: (seen.not_after - now).num_seconds().div_euclid(86_400),
        sans: seen.sans.iter().map(|name| clean(name)).collect(),
        fingerprint: seen.fingerprint.clone(),
        age: Age {
            begins: distance(seen.not_before, now),
            ends: distance(seen.not_after, now),
            is_over: seen.not_after < now,
            is_to_come: seen.not_before > now,
        },
    }
}

/// `in 83 days`, `3 days ago`, `in 5 hours`; of less than a minute `now`.
fn distance(at: Timestamp, now: Timestamp) -> String {
    let seconds = (at - now).num_seconds();
    let length = seconds.unsigned_abs();
    let (count, unit) = match length {
        0..60 => return "now".to_owned(),
        60..7_200 => (length / 60, "minute"),
        7_200..172_800 => (length / 3_600, "hour"),
        _ => (length / 86_400, "day"),
    };
    let length = counted(usize::try_from(count).unwrap_or(usize::MAX), unit);
    if seconds < 0 { format!("{length} ago") } else { format!("in {length}") }
}

fn said(answer: &Answer) -> Vec<String> {
    let Answer::Dns(dns) = answer else { return answer.summary().into_iter().collect() };
    let records = dns.records.iter().map(|record| {
        let alias = if record.is_asked_for { "" } else { ", on the way" };
        format!("{} {} (TTL {} s{alias})", record.record_type, record.data, record.ttl)
    });
    std::iter::once(format!("{} from {}", dns.rcode, dns.server)).chain(records).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use utoipa::openapi::RefOr;
    use utoipa::openapi::schema::Schema;

    use super::*;
    use crate::domain::from_micros;

    fn all_required(object: &mut Value) {
        let keys: Vec<String> =
            object["properties"].as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect();
        object["required"] = keys.into();
        object["additionalProperties"] = false.into();
    }

    /// The schema of [`Report`], as JSON Schema 2020-12, which is what OpenAPI 3.1 uses.
    fn schema() -> Value {
        let mut parts: Vec<(String, RefOr<Schema>)> = Vec::new();
        Report::schemas(&mut parts);
        let as_value = |schema: &RefOr<Schema>| serde_json::to_value(schema).unwrap_or_default();
        let parts: BTreeMap<String, Value> =
            parts.iter().map(|(name, schema)| (name.clone(), as_value(schema))).collect();
        let mut whole = as_value(&<Report as utoipa::PartialSchema>::schema());
        whole["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
        whole["title"] = "api-monitor check --json".into();
        whole["$defs"] = serde_json::to_value(parts).unwrap_or_default();
        // What there is none of is null.
        all_required(&mut whole);
        for part in whole["$defs"].as_object_mut().into_iter().flat_map(|parts| parts.values_mut()) {
            all_required(part);
        }
        let text = whole.to_string().replace("#/components/schemas/", "#/$defs/");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Written anew with `UPDATE_SCHEMA=1`.
    #[test]
    fn the_schema_is_the_documented_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/check.schema.json");
        let text = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), text);
        for key in ["CertificateReport", "HopReport", "PhasesReport", "ConditionReport"] {
            assert!(schema()["$defs"][key]["properties"].is_object(), "{key}");
        }
    }

    #[test]
    fn a_time_is_told_by_its_distance() {
        let now = from_micros(1_000_000_000_000_000);
        let at = |seconds: i64| distance(now + chrono::TimeDelta::seconds(seconds), now);
        assert_eq!(at(30), "now");
        assert_eq!(at(-3_600), "60 minutes ago");
        assert_eq!(at(7_200), "in 2 hours");
        assert_eq!(at(83 * 86_400 + 5), "in 83 days");
        assert_eq!(at(-3 * 86_400), "3 days ago");
    }

    #[test]
    fn what_steers_a_terminal_is_not_printed() {
        assert_eq!(printable("a\u{1b}[2Jb\u{9b}c\n"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}");
    }
}
