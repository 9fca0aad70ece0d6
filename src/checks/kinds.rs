//! The kinds of check: one file each, and here one line that registers it.
//!
//! Owns what is the same for all: the deadline, the times, and what is said when the time is over.

use std::io;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout_at};

use super::client::ClientError;
use super::trace::Trace;
use super::{Checker, HttpChecker, dns, failure, icmp};
use crate::domain::check::{CheckSpec, KindSpec, Observation};
use crate::domain::endpoint::{Kind, Origin};
use crate::domain::outcome::{Failure, FailureKind};
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
        Kind::Grpc => "Asks a gRPC server for its health, or that of one of its services",
    }
}

/// Examines endpoints of every kind. Made once and shared.
#[derive(Debug)]
pub struct Checkers {
    http: HttpChecker,
    echoes: icmp::Echoes,
    outbound: Arc<Outbound>,
}

impl Checkers {
    /// Reads the authorities of the machine, which takes some milliseconds.
    ///
    /// # Errors
    /// When no TLS client can be made at all.
    pub fn new(outbound: Arc<Outbound>) -> Result<Self, ClientError> {
        let http = HttpChecker::new(Arc::clone(&outbound))?;
        Ok(Self { http, echoes: icmp::Echoes::default(), outbound })
    }

    /// One line a kind.
    async fn examine(&self, on: &mut Attempt<'_>) -> Result<(), Failure> {
        match &on.spec.kind {
            // It has an order of its own, with redirects.
            KindSpec::Http => Ok(()),
            KindSpec::Dns(question) => dns::examine(&self.outbound, question, on).await,
            KindSpec::Icmp(echo) => self.echoes.examine(&self.outbound, *echo, on).await,
            KindSpec::Tcp(_) | KindSpec::Tls(_) | KindSpec::Websocket(_) | KindSpec::Grpc(_) => {
                Err(Failure::new(FailureKind::Protocol, "not yet"))
            }
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
}

impl Attempt<'_> {
    /// Our own want of means is noted; everything else is the other side's.
    pub(super) fn failed(&mut self, error: &io::Error, peer: &str) -> Failure {
        self.seen.own_trouble = failure::is_own_trouble(error);
        failure::of_io(error, peer)
    }
}

impl Checker for Checkers {
    fn check<'a>(&'a self, spec: &'a CheckSpec, origin: Origin, deadline: Instant) -> BoxFuture<'a, Observation> {
        if matches!(spec.kind, KindSpec::Http) {
            return self.http.check(spec, origin, deadline);
        }
        Box::pin(async move {
            let trace = Trace::start(spec.connect_timeout);
            let mut on = Attempt { spec, origin, deadline, trace: Arc::clone(&trace), seen: Observation::default() };
            let ended = timeout_at(deadline, self.examine(&mut on)).await;
            let mut seen = on.seen;
            seen.failure = match ended {
                Ok(done) => done.err(),
                // What came until then is judged.
                Err(_) if seen.answer.is_some() => None,
                Err(_) => Some(timed_out(spec, &trace)),
            };
            let told = seen.timings;
            seen.timings = trace.timings();
            // A kind that knows better says so.
            seen.timings.first_byte_us = told.first_byte_us.or(seen.timings.first_byte_us);
            if told.total_us > 0 {
                seen.timings.total_us = told.total_us;
            }
            if seen.reaches.is_empty() {
                seen.reaches = trace.reaches();
            }
            seen.remote_address = seen.remote_address.or_else(|| trace.connected_to());
            seen
        })
    }
}

fn timed_out(spec: &CheckSpec, trace: &Trace) -> Failure {
    match spec.kind {
        KindSpec::Dns(_) => dns::timed_out(trace, spec.timeout),
        _ => failure::timed_out(trace, spec.timeout, 0),
    }
}
