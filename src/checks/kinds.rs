//! The kinds of check: one file each, and here one line that registers it.
//!
//! Owns what is the same for all: the deadline, the times, and what is said when the time is over.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::dial::{Dialler, Route};
use super::trace::Trace;
use super::trust::TlsError;
use super::{Checker, HttpChecker, deadline, dns, exchange, failure, grpc, icmp, websocket};
use crate::domain::check::{Answer, CheckSpec, KindSpec, Observation, Received, Timings};
use crate::domain::endpoint::{Kind, Origin};
use crate::domain::outcome::Failure;
use crate::outbound::Outbound;

/// What a kind of check does, in a sentence.
pub fn about(kind: Kind) -> &'static str {
    match kind {
        Kind::Http => "Sends an HTTP or HTTPS request and looks at status, headers, body, certificate and time",
        Kind::Tcp => "Connects to a port, sends a text if one is set, and looks for what is expected of the answer",
        Kind::Tls => "Makes a TLS handshake, looks at the certificate, and then does what the kind tcp does",
        Kind::Icmp => "Asks for echoes (ping) and looks at how many come back, and how fast",
        Kind::Dns => "Asks a name server for the records of a name and looks at its answer",
        Kind::Websocket => {
            "Opens a WebSocket, sends a text if one is set, and looks for what is expected of the answer"
        }
        Kind::Push => "Asks nothing: waits for heartbeats that the other side sends, and for what they say",
        Kind::Grpc => "Asks a gRPC server for its health, or that of one of its services",
    }
}

/// Examines endpoints of every kind. Made once and shared.
#[derive(Debug)]
pub struct Checkers {
    http: HttpChecker,
    dialler: Arc<Dialler>,
    echoes: icmp::Echoes,
    outbound: Arc<Outbound>,
}

impl Checkers {
    /// Reads the authorities of the machine, which takes some milliseconds.
    ///
    /// # Errors
    /// When no TLS client can be made at all.
    pub fn new(outbound: Arc<Outbound>) -> Result<Self, TlsError> {
        let dialler = Arc::new(Dialler::new(Arc::clone(&outbound))?);
        Ok(Self { http: HttpChecker::upon(Arc::clone(&dialler)), dialler, echoes: icmp::Echoes::default(), outbound })
    }

    /// One line a kind.
    async fn examine(&self, on: &mut Attempt<'_>) -> Result<(), Failure> {
        let dialler = &self.dialler;
        match &on.spec.kind {
            // The one has an order of its own, with redirects; of the other nothing is asked.
            KindSpec::Http | KindSpec::Push(_) => Ok(()),
            KindSpec::Tcp(exchange) => exchange::tcp(dialler, exchange, on).await,
            KindSpec::Tls(exchange) => exchange::tls(dialler, exchange, on).await,
            KindSpec::Icmp(echo) => self.echoes.examine(dialler, *echo, on).await,
            KindSpec::Dns(question) => dns::examine(dialler, &self.outbound, question, on).await,
            KindSpec::Websocket(exchange) => websocket::examine(dialler, exchange, on).await,
            KindSpec::Grpc(question) => grpc::examine(dialler, question, on).await,
        }
    }
}

/// What an attempt is given, and what it has seen so far: what it notes is kept also when its time is over.
pub(super) struct Attempt<'a> {
    pub(super) spec: &'a CheckSpec,
    pub(super) origin: Origin,
    pub(super) deadline: Instant,
    pub(super) trace: Arc<Trace>,
    pub(super) seen: Observation,
    received: Option<Received>,
    /// In microseconds, where a kind knows it better than the clock of the attempt.
    pub(super) round_trip: Option<u32>,
    /// Where the other side is only listened to: since when it has said nothing.
    pub(super) silent_since: Option<Instant>,
    /// Who answered, where there was no connection.
    pub(super) address: Option<String>,
}

impl<'a> Attempt<'a> {
    pub(super) fn route(&self) -> Route<'a> {
        Route::of(self.spec, self.origin, self.deadline)
    }

    pub(super) fn host(&self) -> &'a str {
        self.spec.url.host_str().unwrap_or_default()
    }

    /// What has come over the connection until now; from the first call on that is the answer.
    pub(super) fn received(&mut self) -> &mut Received {
        self.received.get_or_insert_default()
    }

    /// Whether conditions look at what the other side says.
    pub(super) fn is_listened_to(&self) -> bool {
        let needs = self.spec.conditions.needs();
        needs.body || needs.body_size
    }

    /// Our own want of means is noted; everything else is the other side's.
    pub(super) fn failed(&self, error: &io::Error, peer: &str) -> Failure {
        if failure::is_own_trouble(error) {
            self.trace.in_own_trouble();
        }
        failure::of_connect(error, peer)
    }
}

impl Checker for Checkers {
    fn check<'a>(&'a self, spec: &'a CheckSpec, origin: Origin, ends_at: Instant) -> BoxFuture<'a, Observation> {
        if matches!(spec.kind, KindSpec::Http) {
            return self.http.check(spec, origin, ends_at);
        }
        if spec.push().is_some() {
            // Nobody has anything examined that is not asked; should they, it says nothing of it.
            return Box::pin(std::future::ready(Observation { not_permitted: true, ..Observation::default() }));
        }
        Box::pin(async move {
            let trace = Trace::start();
            let mut on = Attempt {
                spec,
                origin,
                deadline: ends_at,
                trace: Arc::clone(&trace),
                seen: Observation::default(),
                received: None,
                round_trip: None,
                silent_since: None,
                address: None,
            };
            let ended = deadline::within(&trace, ends_at, Box::pin(self.examine(&mut on))).await;
            let has_ended = ended.is_some();
            let Attempt { mut seen, received, round_trip, silent_since, address, .. } = on;
            let silence = silent_since.map(|since| since.elapsed());
            let has_come = received.as_ref().is_some_and(|received| !received.bytes.is_empty());
            seen.answer = received.map(Answer::Received).or(seen.answer);
            seen.failure = match ended {
                Some(done) => done.err(),
                // What came until then is judged.
                None if silence.is_some() || seen.answer.as_ref().is_some_and(Answer::has_come) => None,
                None => Some(timed_out(spec, &trace)),
            };
            trace.tell(&mut seen);
            seen.own_trouble |= deadline::is_ours(&seen, has_ended, trace.stood_still(), spec.timeout);
            if let Some(round_trip) = round_trip {
                seen.timings.first_byte_us = Some(round_trip);
                seen.timings.total_us = seen.timings.dns_us.unwrap_or(0).saturating_add(round_trip);
            } else if seen.failure.is_none() && !spec.kind.awaits_an_answer() && !has_come {
                seen.timings.first_byte_us = None;
            }
            if let Some(silence) = silence {
                without(&mut seen.timings, silence);
            }
            seen.remote_address = address.or(seen.remote_address);
            if let Some(answer) = &seen.answer {
                // To conditions it is the body.
                let text = answer.text();
                seen.body_bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
                seen.evidence.keep_body(text.as_bytes(), 0, spec.max_body_bytes, spec.conditions.needs());
                seen.evidence.is_cut |= matches!(answer, Answer::Received(received) if received.is_cut);
            }
            seen
        })
    }
}

/// That nothing more came is no part of the answer.
fn without(timings: &mut Timings, silence: Duration) {
    let silence = u32::try_from(silence.as_micros()).unwrap_or(u32::MAX);
    let last_phase = timings.transfer_us.as_mut().or(timings.first_byte_us.as_mut());
    for took in [Some(&mut timings.total_us), last_phase].into_iter().flatten() {
        *took = took.saturating_sub(silence) / 10 * 10;
    }
}

fn timed_out(spec: &CheckSpec, trace: &Trace) -> Failure {
    match spec.kind {
        KindSpec::Dns(_) => dns::timed_out(trace, spec.timeout),
        _ => failure::timed_out(trace, spec.timeout, 0),
    }
}

#[cfg(test)]
mod tests;
