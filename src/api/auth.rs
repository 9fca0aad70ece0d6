//! Who asks, and whether they may: the key or the session of a request, the rule for a monitor without one, and the
//! guard that compares the role with the [`policy`] table.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::client_address::{client, peer};
use super::error::{Problem, ProblemKind};
use super::events::Streams;
use super::limits::EVENTS_ROUTE;
use super::origin::{self, Here, Page};
use super::policy::{self, Needs, Ruling};
use super::rate_limit::{Caller, RateLimits};
use super::session_cookie;
use crate::config::{Config, Secret};
use crate::domain::api_key::KeyId;
use crate::domain::check::CHECK_HEADER;
use crate::domain::role::Role;
use crate::service::context::UNAUTHORIZED;
use crate::service::operations::OpenConnection;
use crate::service::sessions::{self, SignedIn};
use crate::service::{Actor, Identity, ServiceContext, Shown};

/// The name of whoever shows no key.
const ANONYMOUS: &str = "anonymous";

/// Refusals written into the audit log a minute; more are only in the access log, so that nobody can fill the disk
/// by being refused.
const AUDITED_REFUSALS_PER_MINUTE: u64 = 60;

/// Decides for every request.
#[derive(Debug)]
pub struct Gate {
    ctx: Arc<ServiceContext>,
    header_name: HeaderName,
    challenge: HeaderValue,
    /// `None`: nobody is limited.
    limits: Option<RateLimits>,
    /// The minute of the clock in the upper bits, refusals audited in it in the lower 16.
    refusals: AtomicU64,
    streams: Arc<Streams>,
}

/// Who sent a request whose answer goes on for long, to be looked up again. Put into the requests that need it by the
/// guard.
#[derive(Clone)]
pub struct Standing {
    gate: Arc<Gate>,
    request: Arc<Parts>,
}

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The request holds the key.
        f.debug_struct("Standing").finish_non_exhaustive()
    }
}

impl Standing {
    /// The role of whoever asked, as it is now; `None` when the key is no longer good.
    pub fn role(&self) -> Option<Role> {
        self.gate.identify(&self.request, Occasion::LookedUpAgain).ok().map(|(actor, _)| actor.role)
    }

    /// Refuses what was asked after all.
    pub async fn refuse(&self, actor: &Actor, problem: Problem) -> Response {
        self.gate.refuse(&self.request, actor, problem, "forbidden").await
    }

    pub(super) fn streams(&self) -> &Arc<Streams> {
        &self.gate.streams
    }
}

/// When somebody is told by a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occasion {
    /// It comes in now.
    Request,
    /// Its answer has been going on for a while. That is no use of a session, which would never be idle otherwise: who
    /// looks on need not be there.
    LookedUpAgain,
}

/// Whose name the access log has: put into every response by the guard.
#[derive(Debug, Clone)]
pub struct Principal(pub String);

/// Somebody who cannot be told: shown a key that is none, or none where one is needed.
#[derive(Debug)]
struct Stranger {
    /// The name of a key that has expired, else `anonymous`.
    name: String,
    /// What is wrong, and what would be right.
    detail: String,
}

impl Gate {
    pub fn new(ctx: Arc<ServiceContext>) -> Self {
        let auth = &ctx.config.api.auth;
        let header_name = HeaderName::from_bytes(auth.header_name.as_bytes())
            .unwrap_or_else(|_| HeaderName::from_static("x-api-key"));
        let realm: String = auth.realm.chars().filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\')).collect();
        let challenge = HeaderValue::try_from(format!("Bearer realm=\"{realm}\""))
            .unwrap_or_else(|_| HeaderValue::from_static("Bearer"));
        let limits = ctx.config.api.rate_limit;
        let limits = limits.map(|rates| RateLimits::new(rates, ctx.clock.clone(), ctx.metrics.clone()));
        Self { header_name, challenge, limits, refusals: AtomicU64::new(0), streams: Arc::default(), ctx }
    }

    /// Who this request is from. A key that is shown counts also where none is needed, and before the cookie of a
    /// session, which browsers send without being told to. A cookie that is worth nothing any more is none.
    fn identify(&self, parts: &Parts, occasion: Occasion) -> Result<(Actor, Identity), Stranger> {
        let address = client(parts);
        let known = |name: String, role, identity| Ok((Actor { name, address, role }, identity));
        let actor = |name: &str, role| known(name.to_owned(), role, Identity::default());
        let stranger = |detail: &str| Err(Stranger { name: ANONYMOUS.to_owned(), detail: detail.to_owned() });
        let how = format!("send one key in the header `{}`, or as a Bearer token", self.header_name);
        match presented_key(&parts.headers, &self.header_name) {
            Err(Ambiguous) => stranger(&format!("The request has more than one key: {how}")),
            Ok(Some(key)) => match self.ctx.keyring.show(key, self.ctx.clock.now(), address) {
                Shown::Valid { id, name, role } => known(name, role, Identity { key: Some(id), session: None }),
                Shown::Expired { name, at } => {
                    let detail = format!("The key `{name}` expired at {}: {how}", at.format("%Y-%m-%dT%H:%M:%SZ"));
                    Err(Stranger { name, detail })
                }
                Shown::Unknown => stranger(&format!("This is not a valid key: {how}")),
            },
            Ok(None) => match self.signed_in(parts, occasion) {
                Ok(Some(SignedIn { session, key, name, role })) => {
                    known(name, role, Identity { key: Some(key), session: Some(session) })
                }
                Err(Ended) if self.ctx.config.api.auth.is_on() => {
                    stranger("The session is over: sign in again, or show a key")
                }
                Ok(None) if self.ctx.config.api.auth.is_on() => stranger(&format!("An API key is needed: {how}")),
                Ok(None) | Err(Ended) if self.is_direct() && is_this_machine(parts, &self.ctx.config) => {
                    actor("local", Role::Admin)
                }
                Ok(None) | Err(Ended) => actor(ANONYMOUS, Role::Viewer),
            },
        }
    }

    /// The session whose cookie came along, if one did.
    fn signed_in(&self, parts: &Parts, occasion: Occasion) -> Result<Option<SignedIn>, Ended> {
        let here = Here::of(parts, &self.ctx.config);
        let Some(token) = session_cookie::token(&parts.headers, &here) else { return Ok(None) };
        let find = match occasion {
            Occasion::Request => sessions::recognise,
            Occasion::LookedUpAgain => sessions::find_signed_in,
        };
        find(&self.ctx, token.expose().as_bytes()).map(Some).ok_or(Ended)
    }

    /// The key that somebody signs in with: that of the headers, which was counted already, or that of the body.
    ///
    /// # Errors
    /// The problem to answer with: there is none, more than one, one that is worth nothing; it comes from a page from
    /// elsewhere, which would have somebody act in another's name; no key is needed here.
    pub async fn signs_in(&self, parts: &Parts, in_body: Option<&Secret>) -> Result<(Actor, KeyId), Problem> {
        let how = format!("send one as `key` in the body, or in the header `{}`", self.header_name);
        let Ok(in_header) = presented_key(&parts.headers, &self.header_name) else {
            return Err(self.no_sign_in(parts, ANONYMOUS, format!("The request has more than one key: {how}")).await);
        };
        let in_body = in_body.map(|key| key.expose().as_bytes());
        let key = match (in_header, in_body) {
            (Some(one), Some(other)) if one != other => {
                return Err(self
                    .no_sign_in(parts, ANONYMOUS, format!("The request has more than one key: {how}"))
                    .await);
            }
            (None, None) if self.ctx.config.api.auth.is_on() => {
                return Err(self.no_sign_in(parts, ANONYMOUS, format!("A key is needed to sign in: {how}")).await);
            }
            (None, None) => {
                let detail = "No key is configured, so nobody needs to sign in; who has a key may do so with it";
                return Err(Problem::new(ProblemKind::NothingToSignInTo, detail));
            }
            (Some(key), _) | (None, Some(key)) => key,
        };
        let address = client(parts);
        let shown = self.ctx.keyring.show(key, self.ctx.clock.now(), address);
        if let (None, Some(limits)) = (in_header, &self.limits) {
            let good = if let Shown::Valid { name, .. } = &shown { Some(name.as_str()) } else { None };
            limits.admit_in_body(parts, good)?;
        }
        match shown {
            Shown::Valid { id, name, role } => {
                let actor = Actor { name, address, role };
                if origin::page(parts, &self.ctx.config) == Page::Foreign {
                    self.note_refusal(parts, &actor, "forbidden").await;
                    return Err(foreign_origin());
                }
                Ok((actor, id))
            }
            Shown::Expired { name, at } => {
                let detail = format!("The key `{name}` expired at {}: {how}", at.format("%Y-%m-%dT%H:%M:%SZ"));
                Err(self.no_sign_in(parts, &name, detail).await)
            }
            Shown::Unknown => Err(self.no_sign_in(parts, ANONYMOUS, format!("This is not a valid key: {how}")).await),
        }
    }

    async fn no_sign_in(&self, parts: &Parts, name: &str, detail: String) -> Problem {
        let actor = Actor { name: name.to_owned(), address: client(parts), role: Role::Viewer };
        self.note_refusal(parts, &actor, UNAUTHORIZED).await;
        Problem::new(ProblemKind::Unauthorized, detail).with_header(header::WWW_AUTHENTICATE, self.challenge.clone())
    }

    /// Whether nobody said that a proxy stands before this monitor: then one on this machine cannot be told from a
    /// person.
    fn is_direct(&self) -> bool {
        self.ctx.config.api.trusted_proxies.is_empty()
    }

    /// Counts the request against whoever makes it.
    fn admit(&self, parts: &Parts, known: Option<&(Actor, Identity)>) -> Result<(), Problem> {
        let Some(limits) = &self.limits else { return Ok(()) };
        let caller = match known {
            Some((actor, Identity { session: Some(_), .. })) => Caller::Session(&actor.name),
            Some((actor, Identity { key: Some(_), .. })) => Caller::Key(&actor.name),
            Some((actor, _)) if actor.role == Role::Admin => Caller::Local,
            Some(_) => Caller::Anonymous,
            None if presented_key(&parts.headers, &self.header_name) == Ok(None) => Caller::Anonymous,
            None => Caller::WrongKey,
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

    async fn refuse(&self, parts: &Parts, actor: &Actor, problem: Problem, result: &str) -> Response {
        self.note_refusal(parts, actor, result).await;
        problem.into_response()
    }

    async fn note_refusal(&self, parts: &Parts, actor: &Actor, result: &str) {
        if self.audits_refusal() {
            let subject: String = format!("{} {}", parts.method, parts.uri.path()).chars().take(300).collect();
            self.ctx.record_refusal(actor, &subject, result).await;
        }
    }

    /// Lets the request through, or answers it.
    async fn decide(
        self: Arc<Self>,
        mut request: Parts,
        body: axum::body::Body,
        ruling: Ruling,
        next: Next,
    ) -> Response {
        let open = request.method == Method::OPTIONS || ruling.needs() == Needs::Open;
        let identified = self.identify(&request, Occasion::Request);
        if let Err(problem) = self.admit(&request, identified.as_ref().ok()) {
            return problem.into_response();
        }
        // A stranger has none, whatever is open to them.
        let role = identified.as_ref().ok().map(|(actor, _)| actor.role);
        let (actor, identity) = match identified {
            Ok(known) => known,
            Err(_) if open => {
                let actor = Actor { name: ANONYMOUS.to_owned(), address: client(&request), role: Role::Viewer };
                (actor, Identity::default())
            }
            Err(Stranger { name, detail }) => {
                let actor = Actor { name, address: client(&request), role: Role::Viewer };
                known_by(&request, &actor.name, role);
                let problem = Problem::new(ProblemKind::Unauthorized, detail)
                    .with_header(header::WWW_AUTHENTICATE, self.challenge.clone());
                return named(self.refuse(&request, &actor, problem, UNAUTHORIZED).await, actor);
            }
        };
        if !open
            && identity.session.is_some()
            && !request.method.is_safe()
            && origin::page(&request, &self.ctx.config) != Page::Own
        {
            return named(self.refuse(&request, &actor, foreign_origin(), "forbidden").await, actor);
        }
        known_by(&request, &actor.name, role);
        if let (false, Needs::Role(role)) = (open, ruling.needs())
            && let Err(error) = actor.require(role)
        {
            return named(self.refuse(&request, &actor, error.into(), "forbidden").await, actor);
        }
        let is_for_admins = ruling == Ruling::Needs(Needs::Role(Role::Admin));
        let answer = match ruling {
            _ if request.method == Method::OPTIONS => None,
            Ruling::Needs(_) | Ruling::NoRoute => None,
            Ruling::OtherMethods { allow, .. } => {
                let problem = Problem::of_status(StatusCode::METHOD_NOT_ALLOWED);
                let allow = HeaderValue::try_from(allow).ok().map(|allow| [(header::ALLOW, allow)]);
                Some((allow, problem).into_response())
            }
            Ruling::Forgotten => {
                tracing::error!(path = request.uri.path(), "a route is not in the policy table, and so is refused");
                let problem = Problem::new(ProblemKind::Forbidden, "Nobody may use this: no rule says who may");
                Some(self.refuse(&request, &actor, problem, "forbidden").await)
            }
        };
        if let Some(answer) = answer {
            return named(answer, actor);
        }
        if is_for_admins && matches!(request.method, Method::GET | Method::HEAD) {
            let subject: String = format!("{} {}", request.method, request.uri.path()).chars().take(300).collect();
            self.ctx.record_read(&actor, &subject).await;
        }
        if request.extensions.get::<MatchedPath>().is_some_and(|path| path.as_str() == EVENTS_ROUTE) {
            let standing = Standing { gate: Arc::clone(&self), request: Arc::new(request.clone()) };
            request.extensions.insert(standing);
        }
        request.extensions.insert(actor.clone());
        request.extensions.insert(identity);
        request.extensions.insert(Arc::clone(&self));
        named(next.run(Request::from_parts(request, body)).await, actor)
    }
}

/// What is wrong when a cookie came along that nobody of this server's pages sent.
fn foreign_origin() -> Problem {
    let detail = "Who has signed in changes things from pages of this server only: `Origin` must be its own address \
                  (that of `Host`, or `public_url`). Programs show a key instead of the cookie";
    Problem::new(ProblemKind::ForeignOrigin, detail)
}

/// A cookie came along, and its session is over.
#[derive(Debug, PartialEq, Eq)]
struct Ended;

/// Lets the connection of a request be known by whoever made it.
fn known_by(request: &Parts, name: &str, role: Option<Role>) {
    if let Some(connection) = request.extensions.get::<Arc<OpenConnection>>() {
        connection.set_principal(name, role);
    }
}

fn named(mut response: Response, actor: Actor) -> Response {
    response.extensions_mut().insert(Principal(actor.name));
    response
}

/// The layer around every route.
pub async fn guard(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let template = parts.extensions.get::<MatchedPath>();
    let ruling = policy::ruling(&parts.method, template.map(MatchedPath::as_str));
    gate.decide(parts, body, ruling, next).await
}

impl<S: Send + Sync> FromRequestParts<S> for Actor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // Put there by `guard`, which is around every route.
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Identity {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR))
    }
}

/// A request that shows several keys, or one several times.
#[derive(Debug, PartialEq, Eq)]
struct Ambiguous;

/// The key that a request shows, if it does. The same one in both headers is one key; `Authorization` with another
/// scheme is not meant for us.
fn presented_key<'a>(headers: &'a HeaderMap, header_name: &HeaderName) -> Result<Option<&'a [u8]>, Ambiguous> {
    let own = only(headers, header_name)?.map(HeaderValue::as_bytes);
    let bearer = only(headers, &header::AUTHORIZATION)?.and_then(|value| bearer_token(value.as_bytes()));
    if *header_name == header::AUTHORIZATION {
        return Ok(bearer.or(own));
    }
    match (own, bearer) {
        (Some(own), Some(bearer)) if own != bearer => Err(Ambiguous),
        (own, bearer) => Ok(own.or(bearer)),
    }
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, Ambiguous> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(Ambiguous) } else { Ok(first) }
}

fn bearer_token(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(6)?;
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer") && token.first().is_none_or(|b| *b == b' ');
    is_bearer.then(|| token.trim_ascii())
}

/// Whether the client is a person or program on this machine: the peer is, no proxy makes itself known, it is no check
/// of ours, and the request was meant for this machine by name (a page elsewhere whose name was pointed here has its own name
/// in `Host`; a page elsewhere that posts here has its own in `Origin`).
fn is_loopback_client(parts: &Parts) -> bool {
    let proxied = parts.headers.keys().any(|name| {
        let name = name.as_str();
        matches!(name, "forwarded" | "x-real-ip" | "via" | CHECK_HEADER) || name.starts_with("x-forwarded-")
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
    // Programs have spoken HTTP/1.1 for decades; proxies that say nothing of themselves often speak HTTP/1.0.
    let is_current = parts.version >= Version::HTTP_11;
    peer(parts).is_some_and(|ip| ip.is_loopback())
        && is_current
        && !proxied
        && host.is_some_and(is_loopback_host)
        && origin_is_local
}

/// Whether somebody on this machine asks, and, where something is changed, not a page of another server: such a page
/// may make a browser on this machine send what it likes, as long as it needs no answer.
fn is_this_machine(parts: &Parts, config: &Config) -> bool {
    is_loopback_client(parts) && (parts.method.is_safe() || !origin::is_from_elsewhere(parts, config))
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
    fn a_request_shows_one_key_or_none() {
        let own = HeaderName::from_static("x-api-key");
        let shown = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
            }
            presented_key(&headers, &own).map(|key| key.map(|k| String::from_utf8_lossy(k).into_owned()))
        };
        for (pairs, key) in [
            (&[][..], None),
            (&[("x-api-key", "a")], Some("a")),
            (&[("x-api-key", "")], Some("")),
            (&[("authorization", "Bearer a")], Some("a")),
            (&[("authorization", "bEARER   a ")], Some("a")),
            (&[("authorization", "Bearer")], Some("")),
            (&[("authorization", "Bearera")], None),
            (&[("authorization", "Basic a")], None),
            (&[("authorization", "é")], None),
            (&[("x-api-key", "a"), ("authorization", "Basic b")], Some("a")),
            (&[("x-api-key", "a"), ("authorization", "Bearer a")], Some("a")),
        ] {
            assert_eq!(shown(pairs), Ok(key.map(str::to_owned)), "{pairs:?}");
        }
        for pairs in [
            &[("x-api-key", "a"), ("authorization", "Bearer b")][..],
            &[("x-api-key", "a"), ("x-api-key", "a")],
            &[("x-api-key", "a"), ("x-api-key", "b")],
            &[("authorization", "Bearer a"), ("authorization", "Bearer a")],
            &[("authorization", "Basic b"), ("authorization", "Bearer a")],
        ] {
            assert_eq!(shown(pairs), Err(Ambiguous), "{pairs:?}");
        }
    }

    #[test]
    fn a_key_may_stand_alone_in_authorization() {
        let shown = |value: &'static str| {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(value))]);
            presented_key(&headers, &header::AUTHORIZATION).map(|key| key.map(<[u8]>::to_vec))
        };
        assert_eq!(shown("Bearer a"), Ok(Some(b"a".to_vec())));
        assert_eq!(shown("a"), Ok(Some(b"a".to_vec())));
    }

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
