//! The check of an `http` or `https` endpoint: one request on a fresh connection, the redirects it leads to,
//! and the whole body of the last answer.
//!
//! Owns the order of an attempt and its bounds. What is sent is [`request`](super::request)'s, how a
//! connection is made [`client`](super::client)'s, what an error means [`failure`]'s.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::header::HOST;
use http::{HeaderValue, Method};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::client::{ClientError, Clients, Versions};
use super::request::Hop;
use super::trace::{Phase, Trace};
use super::trust::Trust;
use super::{Checker, certificate, failure};
use crate::domain::check::{CHECK_HEADER, CheckSpec, Observation};
use crate::domain::endpoint::Origin;
use crate::domain::outcome::{Failure, FailureKind};
use crate::outbound::Outbound;

#[cfg(test)]
mod tests;

/// A redirect's URL is shown up to here; a server may send one of hundreds of kilobytes.
const MAX_SHOWN_URL: usize = 2000;

/// Examines HTTP endpoints. Made once and shared: it holds the clients of all TLS policies.
#[derive(Debug)]
pub struct HttpChecker {
    clients: Clients,
    outbound: Arc<Outbound>,
}

impl HttpChecker {
    /// Reads the authorities of the machine, which takes some milliseconds.
    ///
    /// # Errors
    /// When no TLS client can be made at all.
    pub fn new(outbound: Arc<Outbound>) -> Result<Self, ClientError> {
        Ok(Self { clients: Clients::new(Trust::load(), Arc::clone(&outbound))?, outbound })
    }

    async fn attempt(
        &self,
        spec: &CheckSpec,
        origin: Origin,
        trace: &Arc<Trace>,
        seen: &mut Observation,
    ) -> Result<(), Failure> {
        let mut hop = Hop::first(spec)?;
        let mut visited: HashSet<(Method, Url)> = HashSet::new();
        loop {
            let response = self.send(spec, origin, trace, &hop, seen).await?;
            let next = if spec.redirects.follow {
                hop.redirected(response.status(), response.headers(), &spec.redact).transpose()?
            } else {
                None
            };
            let Some(next) = next else { return read_body(response, spec.max_body_bytes, trace, seen).await };
            drop(response);
            visited.insert((hop.method.clone(), hop.url.clone()));
            let leads_to: String = next.url.as_str().chars().take(MAX_SHOWN_URL).collect();
            if visited.contains(&(next.method.clone(), next.url.clone())) {
                return Err(Failure::new(
                    FailureKind::RedirectLoop,
                    format!("The redirects go round in a circle at {leads_to}"),
                ));
            }
            if seen.redirects.len() >= usize::try_from(spec.redirects.max).unwrap_or(usize::MAX) {
                let max = spec.redirects.max;
                return Err(Failure::new(
                    FailureKind::RedirectLimit,
                    format!("More than {max} redirects, the last one to {leads_to}"),
                ));
            }
            seen.redirects.push(leads_to);
            hop = next;
        }
    }

    /// Sends one request and waits for the headers of its answer.
    async fn send(
        &self,
        spec: &CheckSpec,
        origin: Origin,
        trace: &Arc<Trace>,
        hop: &Hop,
        seen: &mut Observation,
    ) -> Result<reqwest::Response, Failure> {
        // A failure on this hop is told without the answer of the hop before.
        (seen.status_code, seen.http_version, seen.remote_address) = (None, None, None);
        // Of a name the resolver of the client sees to it.
        self.outbound.examine_url(&hop.url, origin).inspect_err(|_| trace.refuse_hop())?;
        trace.begin_hop(&hop.url);
        let versions = if hop.headers.contains_key(HOST) { Versions::Http1 } else { Versions::All };
        let client = self.clients.get(&spec.tls, versions, origin).await?;
        let mut request = reqwest::Request::new(hop.method.clone(), hop.url.clone());
        *request.headers_mut() = hop.headers.clone();
        // At every hop, and whatever the settings say.
        request.headers_mut().insert(CHECK_HEADER, HeaderValue::from_static("1"));
        *request.body_mut() = hop.body.clone().map(Into::into);
        let response = match Arc::clone(trace).scope(client.execute(request)).await {
            Ok(response) => response,
            Err(error) => {
                let error = error.without_url();
                seen.own_trouble = failure::is_own_trouble(&error);
                return Err(failure::of_request(&error, trace));
            }
        };
        trace.enter(Phase::Transfer);
        seen.status_code = Some(response.status().as_u16());
        seen.http_version = Some(format!("{:?}", response.version()));
        seen.remote_address = response.remote_addr().map(|address| address.to_string());
        Ok(response)
    }
}

impl Checker for HttpChecker {
    fn check<'a>(&'a self, spec: &'a CheckSpec, origin: Origin, deadline: Instant) -> BoxFuture<'a, Observation> {
        Box::pin(async move {
            let trace = Trace::start_within(spec.connect_timeout);
            let mut seen = Observation::default();
            let ended = timeout_at(deadline, self.attempt(spec, origin, &trace, &mut seen)).await;
            seen.failure = match ended {
                Ok(done) => done.err(),
                Err(_) => Some(failure::timed_out(&trace, spec.timeout, seen.body_bytes)),
            };
            seen.timings = trace.timings();
            seen.reaches = trace.reaches();
            seen.remote_address = seen.remote_address.or_else(|| trace.connected_to());
            seen.certificate = trace.leaf().and_then(|der| certificate::read(&der));
            seen
        })
    }
}

/// Reads the decompressed body up to `max` bytes. Only their number is kept.
async fn read_body(
    mut response: reqwest::Response,
    max: u64,
    trace: &Trace,
    seen: &mut Observation,
) -> Result<(), Failure> {
    let expected = response.content_length();
    while seen.body_bytes < max {
        let chunk = response
            .chunk()
            .await
            .map_err(|error| failure::of_body(&error.without_url(), trace, seen.body_bytes, expected))?;
        let Some(chunk) = chunk else { break };
        // A compressed body is long at hand when its few bytes have come: it must not hold the thread.
        tokio::task::consume_budget().await;
        seen.body_bytes = max.min(seen.body_bytes.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX)));
    }
    Ok(())
}
