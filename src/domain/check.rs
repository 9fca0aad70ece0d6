//! One examination of an endpoint: what to ask ([`CheckSpec`]), what was seen ([`Observation`]), the verdict
//! ([`judge`]) and the record of it ([`CheckResult`]).

mod judged;
mod kind;
mod secrets;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::Timestamp;
use crate::domain::certificate::ServedChain;
use crate::domain::condition::{Conditions, Evidence};
use crate::domain::connectivity::Reaches;
pub use crate::domain::dial::TlsPolicy;
use crate::domain::dial::{Auth, DialPolicy, Dialled, HopSeen, HttpVersion, Proxy, RedirectHosts, TlsSeen};
use crate::domain::endpoint::EndpointId;
use crate::domain::outcome::{Failure, FailureKind, MissedReason, Outcome, words};
use crate::domain::push::PushSpec;
use crate::domain::setting::{ExpectedStatus, RequestBody};

pub use self::judged::{CheckDetail, Judged, judge};
pub use self::kind::{
    Answer, DnsAnswer, DnsQuestion, DnsRecord, DnsRecordType, DnsTransport, Echo, EchoSpec, Exchange, Expectation,
    HealthQuestion, HealthStatus, KindSpec, Received,
};
pub use self::secrets::{Secrets, shown_url};

/// A header of every request that a check sends. This monitor's own API knows its checks by it: they come from this
/// machine, but are made up by whoever may make endpoints, and by those to whom a check is redirected.
pub const CHECK_HEADER: &str = "x-api-monitor-check";

/// What is examined and what is expected of it, with all defaults applied. Two equal specs examine the same
/// thing; an edit that changes it starts the counters of the endpoint again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckSpec {
    pub url: url::Url,
    /// The kind of check, and what it needs beside the rest.
    pub kind: KindSpec,
    /// Any HTTP token, upper case by custom only.
    pub method: String,
    /// Names are lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Option<RequestBody>,
    /// Bound of a whole attempt: DNS, connect, TLS, headers, body, redirects.
    pub timeout: Duration,
    /// Bound of connecting to one address.
    pub connect_timeout: Option<Duration>,
    pub dial: DialPolicy,
    /// Not added to conditions that name the status themselves.
    pub expected_status: ExpectedStatus,
    pub conditions: Conditions,
    pub redirects: RedirectPolicy,
    pub tls: TlsPolicy,
    pub auth: Option<Auth>,
    pub proxy: Option<Proxy>,
    pub http_version: HttpVersion,
    /// Whether a connection may serve several checks, one after another.
    pub reuse_connection: bool,
    /// Reading the decompressed body stops here; a longer body is no failure.
    pub max_body_bytes: u64,
    pub user_agent: String,
    /// Lower-case names of headers whose values are secret, the built-in ones included.
    pub redact: Vec<String>,
}

impl CheckSpec {
    /// What is waited for, where the other side reports by itself.
    pub fn push(&self) -> Option<PushSpec> {
        match self.kind {
            KindSpec::Push(spec) => Some(spec),
            _ => None,
        }
    }

    /// Whether its connections are encrypted from their beginning.
    pub fn is_encrypted(&self) -> bool {
        matches!(self.url.scheme(), "https" | "tls" | "wss" | "grpcs")
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectPolicy {
    pub follow: bool,
    /// The most redirects followed in one attempt.
    pub max: u32,
    /// From https to http.
    pub allow_downgrade: bool,
    pub hosts: RedirectHosts,
}

impl Default for RedirectPolicy {
    fn default() -> Self {
        Self { follow: true, max: 10, allow_downgrade: false, hosts: RedirectHosts::Any }
    }
}

/// How long each phase of an attempt took, in microseconds; over redirects the phases are summed. `None`: the
/// phase was not reached or does not exist (no TLS on `http`, no DNS for an address).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timings {
    pub dns_us: Option<u32>,
    pub connect_us: Option<u32>,
    pub tls_us: Option<u32>,
    pub first_byte_us: Option<u32>,
    pub transfer_us: Option<u32>,
    /// From the start of the attempt to its end, good or bad.
    pub total_us: u32,
}

/// What one attempt saw. Always made, however badly the attempt went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observation {
    /// The transport failure, if the attempt did not bring a whole answer.
    pub failure: Option<Failure>,
    /// The attempt could not be made for want of our own files, ports or memory: it says nothing of the endpoint.
    pub own_trouble: bool,
    /// The system does not let us examine it so: that, too, says nothing of the endpoint.
    pub not_permitted: bool,
    /// Status of the last response, when headers came.
    pub status_code: Option<u16>,
    pub timings: Timings,
    /// Address of the last connection, `ip:port`.
    pub remote_address: Option<String>,
    /// Where the addresses are that the last hop dialled or could have; none of a name that could not be looked up.
    pub reaches: Reaches,
    /// Where the redirects led, one entry a hop followed.
    pub redirects: Vec<String>,
    /// The hops of an attempt that was redirected, the last one included; empty of others.
    pub hops: Vec<HopSeen>,
    /// `host:port` of the proxy by which the last hop went.
    pub proxy: Option<String>,
    /// Bytes of decompressed body read, at most `max_body_bytes`.
    pub body_bytes: u64,
    /// The addresses that were dialled, in order, those of all hops; the newest [`MAX_DIALLED`] of them.
    pub dialled: Vec<Dialled>,
    /// The leaf certificate that was served, even if it was refused.
    pub certificate: Option<CertificateSeen>,
    /// The certificates that were served after it, in their order; at most [`MAX_CHAIN`].
    pub issuers: Vec<CertificateSeen>,
    /// What was agreed on the last TLS connection; `None` also where the handshake failed.
    pub tls: Option<TlsSeen>,
    /// `HTTP/1.1`, `HTTP/2.0`.
    pub http_version: Option<String>,
    /// What was kept for conditions, and to be shown.
    pub evidence: Evidence,
    /// What was answered, where it is not in HTTP.
    pub answer: Option<Answer>,
    /// What we were given to say who we are. Never shown.
    pub token: Option<String>,
    /// The connection was one that an earlier check had made.
    pub reused: bool,
}

/// What a check saw that is not stored with its result.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// The last attempt had a connection.
    pub connected: bool,
    /// What the last attempt was served.
    pub certificate: Option<Arc<ServedChain>>,
    /// `None` of slots that were missed.
    pub detail: Option<Arc<CheckDetail>>,
}

impl Seen {
    pub fn of(observation: &Observation, detail: CheckDetail) -> Self {
        let served =
            |leaf: &CertificateSeen| Arc::new(ServedChain { leaf: leaf.clone(), issuers: observation.issuers.clone() });
        Self {
            connected: observation.remote_address.is_some() || observation.status_code.is_some(),
            certificate: observation.certificate.as_ref().map(served),
            detail: Some(Arc::new(detail)),
        }
    }
}

/// Of more addresses that were dialled in one attempt, the first are forgotten.
pub const MAX_DIALLED: usize = 64;

/// Of a longer chain of certificates, the rest is not looked at.
pub const MAX_CHAIN: usize = 10;

/// A certificate of a TLS connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSeen {
    /// SHA-256 of the whole, in lower-case hexadecimal digits.
    pub fingerprint: String,
    pub subject: String,
    pub issuer: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub sans: Vec<String>,
}

/// What the answer is worth by itself, conditions aside. Our own trouble is never the endpoint's downtime. A transport
/// failure is a failure whatever else was seen; then the status must be one of the expected.
fn answered(spec: &CheckSpec, observation: &Observation) -> Outcome {
    if observation.not_permitted {
        return Outcome::Missed(MissedReason::NotPermitted);
    }
    if observation.own_trouble {
        return Outcome::Missed(MissedReason::Overload);
    }
    if let Some(failure) = &observation.failure {
        return Outcome::Down(failure.clone());
    }
    if matches!(spec.kind, KindSpec::Dns(_)) && spec.conditions.name_the_rcode() && observation.answer.is_some() {
        return Outcome::Up;
    }
    if !matches!(spec.kind, KindSpec::Http) {
        return spec.kind.complaint(observation.answer.as_ref()).map_or(Outcome::Up, Outcome::Down);
    }
    match observation.status_code {
        Some(code) if spec.conditions.name_the_status() || spec.expected_status.contains(code) => Outcome::Up,
        Some(code) => Outcome::Down(Failure::new(
            FailureKind::HttpStatus,
            format!("{} returned {code}, expected {}", spec.method, spec.expected_status),
        )),
        None => Outcome::Down(Failure::new(FailureKind::HttpProtocol, "The attempt ended without an answer")),
    }
}

words! {
    /// What caused a check.
    pub enum Trigger {
        /// A slot of the schedule.
        Scheduled = "scheduled",
        /// Between slots, because a failure or a recovery is unconfirmed.
        Confirming = "confirming",
        /// The other side has reported, of itself.
        Pushed = "pushed",
        /// By hand, through the API.
        Manual = "manual",
    }
}

/// The record of a check. Its identity is `(endpoint_id, scheduled_at)`: recording it twice changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckResult {
    pub endpoint_id: EndpointId,
    /// The slot; for a gap of several missed slots the last of them. Whole microseconds.
    pub scheduled_at: Timestamp,
    /// When the first attempt began; for a missed slot the slot itself.
    pub started_at: Timestamp,
    pub outcome: Outcome,
    /// How many slots this row stands for: 1, or the length of a gap of missed slots.
    pub slots: u32,
    /// Of the last attempt.
    pub status_code: Option<u16>,
    /// Of the last attempt. Zero for missed slots.
    pub timings: Timings,
    /// Attempts made, 0 for missed slots.
    pub attempts: u32,
    pub trigger: Trigger,
    pub in_maintenance: bool,
}

impl CheckResult {
    /// Time from the start of the last attempt to its end; `None` for missed slots.
    pub fn response_time_us(&self) -> Option<u32> {
        (self.attempts > 0).then_some(self.timings.total_us)
    }

    /// A gap of `slots` missed slots, the last of them at `scheduled_at`.
    pub fn missed(
        endpoint_id: EndpointId,
        scheduled_at: Timestamp,
        slots: u32,
        reason: crate::domain::outcome::MissedReason,
    ) -> Self {
        Self {
            endpoint_id,
            scheduled_at,
            started_at: scheduled_at,
            outcome: Outcome::Missed(reason),
            slots,
            status_code: None,
            timings: Timings::default(),
            attempts: 0,
            trigger: Trigger::Scheduled,
            in_maintenance: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(spec: &CheckSpec, observation: &Observation) -> Outcome {
        super::judge(spec, observation, crate::domain::from_micros(0)).outcome
    }

    pub(super) fn spec(expected: &serde_json::Value) -> CheckSpec {
        CheckSpec {
            url: "https://shop.example/".parse().unwrap(),
            kind: KindSpec::Http,
            method: "HEAD".to_owned(),
            headers: BTreeMap::new(),
            body: None,
            timeout: Duration::from_secs(5),
            connect_timeout: None,
            conditions: crate::domain::condition::Conditions::default(),
            dial: DialPolicy::default(),
            expected_status: serde_json::from_value(expected.clone()).unwrap(),
            redirects: RedirectPolicy::default(),
            tls: TlsPolicy::default(),
            auth: None,
            proxy: None,
            http_version: HttpVersion::Auto,
            reuse_connection: false,
            max_body_bytes: 0,
            user_agent: String::new(),
            redact: Vec::new(),
        }
    }

    fn saw(status_code: u16) -> Observation {
        Observation { status_code: Some(status_code), ..Observation::default() }
    }

    #[test]
    fn our_own_trouble_is_never_downtime() {
        let failure = Some(Failure::new(FailureKind::ConnectUnreachable, "Connection error: too many open files"));
        let observation = Observation { failure, own_trouble: true, ..Observation::default() };
        assert_eq!(judge(&spec(&serde_json::json!(200)), &observation), Outcome::Missed(MissedReason::Overload));
    }

    #[test]
    fn the_status_decides() {
        use serde_json::json;
        for (expected, status, complaint) in [
            (json!(200), 200, None),
            (json!(200), 500, Some("HEAD returned 500, expected 200")),
            (json!(404), 200, Some("HEAD returned 200, expected 404")),
            (json!("2xx"), 204, None),
            (json!("2xx"), 301, Some("HEAD returned 301, expected 2xx")),
            (json!("200-204"), 204, None),
            (json!("200-204"), 205, Some("HEAD returned 205, expected 200-204")),
            (json!([200, "3xx", "401-403"]), 399, None),
            (json!([200, "3xx", "401-403"]), 404, Some("HEAD returned 404, expected 200, 3xx, 401-403")),
            (json!(200), 999, Some("HEAD returned 999, expected 200")),
        ] {
            let outcome = judge(&spec(&expected), &saw(status));
            let told = outcome.failure().map(|f| (f.kind, f.message.as_str()));
            assert_eq!(told, complaint.map(|c| (FailureKind::HttpStatus, c)), "{expected} {status}");
            assert_eq!(outcome.is_good(), complaint.is_none());
        }
    }

    #[test]
    fn a_transport_failure_wins_over_a_good_status() {
        let cut = Failure::new(FailureKind::BodyTruncated, "cut");
        let observation = Observation { failure: Some(cut.clone()), ..saw(200) };
        assert_eq!(judge(&spec(&serde_json::json!(200)), &observation), Outcome::Down(cut));
    }

    #[test]
    fn an_attempt_without_any_answer_is_down() {
        let outcome = judge(&spec(&serde_json::json!("1xx")), &Observation::default());
        assert_eq!(outcome.failure().map(|f| f.kind), Some(FailureKind::HttpProtocol));
    }

    #[test]
    fn a_gap_of_missed_slots_has_no_response_time() {
        let at = crate::domain::from_micros(1_000_000);
        let missed = CheckResult::missed(EndpointId(1), at, 3, crate::domain::outcome::MissedReason::Stopped);
        assert_eq!((missed.response_time_us(), missed.attempts, missed.slots), (None, 0, 3));
        let made = CheckResult { attempts: 1, timings: Timings { total_us: 70, ..Timings::default() }, ..missed };
        assert_eq!(made.response_time_us(), Some(70));
    }
}
