//! Who asks, and what they may do: the one table of open routes, the key, and the rule for a monitor without one.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use super::client_address::{client, peer};
use super::error::{Problem, ProblemKind};
use super::rate_limit::{Caller, RateLimits};
use crate::config::Secret;
use crate::service::{Access, Actor, ServiceContext};

/// Route templates that answer without a key. Everything else needs one when there is one.
pub const OPEN_ROUTES: [&str; 8] = [
    "/health",
    "/health/live",
    "/health/ready",
    "/docs",
    "/docs/",
    "/docs/{file}",
    "/openapi.json",
    "/api/v1/openapi.json",
];

/// Refusals written into the audit log a minute; more are only in the access log, so that nobody can fill the disk
/// by being refused.
const AUDITED_REFUSALS_PER_MINUTE: u64 = 60;

/// Decides for every request.
#[derive(Debug)]
pub struct Gate {
    ctx: Arc<ServiceContext>,
    header_name: HeaderName,
    key: Option<Secret>,
    challenge: HeaderValue,
    /// `None`: nobody is limited.
    limits: Option<RateLimits>,
    /// The minute of the clock in the upper bits, refusals audited in it in the lower 16.
    refusals: AtomicU64,
}

impl Gate {
    pub fn new(ctx: Arc<ServiceContext>) -> Self {
        let auth = &ctx.config.api.auth;
        let header_name = HeaderName::from_bytes(auth.header_name.as_bytes())
            .unwrap_or_else(|_| HeaderName::from_static("x-api-key"));
        let realm: String = auth.realm.chars().filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\')).collect();
        let challenge = HeaderValue::try_from(format!("Bearer realm=\"{realm}\""))
            .unwrap_or_else(|_| HeaderValue::from_static("Bearer"));
        let key = auth.api_key.clone();
        let limits = ctx.config.api.rate_limit;
        let limits = limits.map(|rates| RateLimits::new(rates, ctx.clock.clone(), ctx.metrics.clone()));
        Self { header_name, key, challenge, limits, refusals: AtomicU64::new(0), ctx }
    }

    /// Who this request is from, or why it gets no further.
    fn identify(&self, parts: &Parts) -> Result<Actor, ProblemKind> {
        let address = client(parts);
        let actor = |name: &str, access| Actor { name: name.to_owned(), address, access };
        let Some(key) = &self.key else {
            return Ok(if is_loopback_client(parts) {
                actor("local", Access::Change)
            } else {
                actor("anonymous", Access::Read)
            });
        };
        match presented_key(&parts.headers, &self.header_name) {
            Some(given) if bool::from(given.ct_eq(key.expose().as_bytes())) => Ok(actor("api-key", Access::Change)),
            _ => Err(ProblemKind::Unauthorized),
        }
    }

    /// Counts the request against whoever makes it.
    fn admit(&self, parts: &Parts, actor: Option<&Actor>) -> Result<(), Problem> {
        let Some(limits) = &self.limits else { return Ok(()) };
        let presents_key = self.key.is_some() && presented_key(&parts.headers, &self.header_name).is_some();
        let caller = match actor.map(|actor| actor.name.as_str()) {
            Some("local") => Caller::Local,
            Some("anonymous") => Caller::Anonymous,
            Some(name) => Caller::Key(name),
            None if presents_key => Caller::WrongKey,
            None => Caller::Anonymous,
        };
        limits.admit(parts, caller)
    }

    fn audits_refusal(&self) -> bool {
        let minute = self.ctx.clock.monotonic().as_secs() / Duration::from_mins(1).as_secs();
        let mut seen = self.refusals.load(Ordering::Relaxed);
        loop {
            let (then, count) = (seen >> 16, seen & 0xFFFF);
            let next = if then == minute { count + 1 } else { 1 };
            if next > AUDITED_REFUSALS_PER_MINUTE {
                return false;
            }
            match self.refusals.compare_exchange_weak(seen, (minute << 16) | next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
    }

    async fn refuse(&self, parts: &Parts, actor: &Actor, problem: Problem, status: StatusCode) -> Response {
        if self.audits_refusal() {
            let subject: String = format!("{} {}", parts.method, parts.uri.path()).chars().take(300).collect();
            let result = if status == StatusCode::UNAUTHORIZED { "unauthorized" } else { "forbidden" };
            self.ctx.record_refusal(actor, &subject, result).await;
        }
        problem.into_response()
    }
}

/// The layer around every route.
pub async fn guard(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let anonymous = Actor { name: "anonymous".to_owned(), address: client(&parts), access: Access::Read };
    let template = parts.extensions.get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let open = parts.method == Method::OPTIONS || template.is_some_and(|path| OPEN_ROUTES.contains(&path.as_str()));
    let identified = gate.identify(&parts);
    if let Err(problem) = gate.admit(&parts, identified.as_ref().ok()) {
        return problem.into_response();
    }
    let actor = match identified {
        Ok(actor) => actor,
        Err(_) if open => anonymous,
        Err(kind) => {
            let detail = format!("Send the API key in the header `{}`, or as a Bearer token", gate.header_name);
            let problem = Problem::new(kind, detail).with_header(header::WWW_AUTHENTICATE, gate.challenge.clone());
            return gate.refuse(&parts, &anonymous, problem, StatusCode::UNAUTHORIZED).await;
        }
    };
    let needed = if open || parts.method.is_safe() { Access::Read } else { Access::Change };
    if let Err(error) = actor.require(needed) {
        return gate.refuse(&parts, &actor, error.into(), StatusCode::FORBIDDEN).await;
    }
    parts.extensions.insert(actor);
    next.run(Request::from_parts(parts, body)).await
}

impl<S: Send + Sync> FromRequestParts<S> for Actor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // Put there by `guard`, which is around every route.
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR))
    }
}

fn presented_key<'a>(headers: &'a HeaderMap, header_name: &HeaderName) -> Option<&'a [u8]> {
    if let Some(value) = headers.get(header_name) {
        return Some(value.as_bytes());
    }
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().as_bytes())
}

/// Whether the client is surely a person or program on this machine: the peer is, no proxy stands between, and
/// the request was meant for this machine by name (a page elsewhere whose name was pointed here has its own name
/// in `Host`; a page elsewhere that posts here has its own in `Origin`).
fn is_loopback_client(parts: &Parts) -> bool {
    let proxied = parts.headers.keys().any(|name| {
        let name = name.as_str();
        matches!(name, "forwarded" | "x-real-ip" | "via") || name.starts_with("x-forwarded-")
    });
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(only), None) => only.to_str().ok(),
        (None, _) => parts.uri.authority().map(axum::http::uri::Authority::as_str),
        (Some(_), Some(_)) => None,
    };
    let origin_is_local = parts.headers.get(header::ORIGIN).is_none_or(|origin| {
        origin.to_str().ok().and_then(|o| o.split_once("://")).is_some_and(|(_, host)| is_loopback_host(host))
    });
    peer(parts).is_some_and(|ip| ip.is_loopback()) && !proxied && host.is_some_and(is_loopback_host) && origin_is_local
}

/// `localhost` or a loopback address, with or without a port.
fn is_loopback_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_has_a_loopback_host() {
        for host in ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.9.9.9:80", "[::1]:8000", "[::1]"] {
            assert!(is_loopback_host(host), "{host}");
        }
        for host in ["", "localhost.evil.test", "evil.test:8000", "127.0.0.1.evil.test", "10.0.0.1", "[2001:db8::1]:80"]
        {
            assert!(!is_loopback_host(host), "{host}");
        }
    }
}
