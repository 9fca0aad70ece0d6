//! The check of an `http` or `https` endpoint: one request on a fresh connection, the redirects it leads to,
//! and the whole body of the last answer.
//!
//! Owns the order of an attempt and its bounds. What is sent is [`request`](super::request)'s, how a
//! connection is made [`dial`]'s, how HTTP is spoken on it [`exchange`]'s, what an error means [`failure`]'s.

mod auth;
mod body;
mod exchange;
mod kept;

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::Instant;
use url::Url;

use self::auth::{Token, Tokens};
use self::exchange::{Exchange, Stream};
use self::kept::{Kept, Made, Place, Pool};
use super::dial::{self, Dialler, Route};
use super::request::Hop;
use super::trace::{Phase, Trace};
use super::trust::TlsError;
use super::{Checker, certificate, deadline, failure};
use crate::domain::check::{CheckSpec, Observation, shown_url};
use crate::domain::dial::{Auth, ClientCredentials, HopSeen, HttpVersion, Proxy, ProxyKind};
use crate::domain::endpoint::Origin;
use crate::domain::outcome::{Failure, FailureKind};
use crate::outbound::Outbound;

#[cfg(test)]
mod tests;

/// A redirect's URL is shown up to here; a server may send one of hundreds of kilobytes.
const MAX_SHOWN_URL: usize = 2000;

/// Examines HTTP endpoints. Made once and shared: it holds the connections that are kept, and the tokens.
#[derive(Debug)]
pub struct HttpChecker {
    dialler: Arc<Dialler>,
    pool: Pool,
    tokens: Tokens,
}

/// One attempt, and what is noted of it.
#[derive(Clone, Copy)]
struct Attempt<'a> {
    spec: &'a CheckSpec,
    route: Route<'a>,
    trace: &'a Arc<Trace>,
}

/// The headers of an answer, and the connection on which its body comes.
struct Answer {
    response: Response<Incoming>,
    connection: Kept,
    place: Place,
}

impl HttpChecker {
    /// Reads the authorities of the machine, which takes some milliseconds.
    ///
    /// # Errors
    /// When TLS cannot be spoken at all.
    pub fn new(outbound: Arc<Outbound>) -> Result<Self, TlsError> {
        Ok(Self::upon(Arc::new(Dialler::new(outbound)?)))
    }

    /// With the connections that other kinds of checks make as well.
    pub fn upon(dialler: Arc<Dialler>) -> Self {
        Self { dialler, pool: Pool::default(), tokens: Tokens::default() }
    }

    async fn attempt(&self, attempt: Attempt<'_>, seen: &mut Observation) -> Result<(), Failure> {
        let Attempt { spec, trace, .. } = attempt;
        let mut hop = Hop::first(spec)?;
        let token = match &spec.auth {
            Some(Auth::OAuth2(credentials)) => {
                let token = self.tokens.get(credentials, self.ask_token(attempt, credentials)).await?;
                hop.authorize(&format!("Bearer {token}"))?;
                seen.token = Some(token.clone());
                Some((credentials, token))
            }
            _ => None,
        };
        let mut visited: HashSet<(Method, Url)> = HashSet::new();
        loop {
            let answer = self.send(attempt, &hop, seen).await?;
            let response = &answer.response;
            if let (StatusCode::UNAUTHORIZED, Some((credentials, token))) = (response.status(), &token) {
                self.tokens.forget(credentials, token).await;
            }
            let next = if spec.redirects.follow {
                hop.redirected(response.status(), response.headers(), &spec.redact).transpose()?
            } else {
                None
            };
            let Some(next) = next else { return self.read_body(attempt, answer, seen).await };
            drop(answer);
            hop.may_lead_to(&next.url, &spec.url, &spec.redirects)?;
            visited.insert((hop.method.clone(), hop.url.clone()));
            let leads_to: String = next.url.as_str().chars().take(MAX_SHOWN_URL).collect();
            let shown = || shown_url(next.url.as_str()).chars().take(MAX_SHOWN_URL).collect::<String>();
            if visited.contains(&(next.method.clone(), next.url.clone())) {
                return Err(Failure::new(
                    FailureKind::RedirectLoop,
                    format!("The redirects go round in a circle at {}", shown()),
                ));
            }
            if seen.redirects.len() >= usize::try_from(spec.redirects.max).unwrap_or(usize::MAX) {
                let max = spec.redirects.max;
                return Err(Failure::new(
                    FailureKind::RedirectLimit,
                    format!("More than {max} redirects, the last one to {}", shown()),
                ));
            }
            end_hop(trace, &hop.url, seen);
            seen.redirects.push(leads_to);
            hop = next;
        }
    }

    /// Sends one request and waits for the headers of its answer.
    async fn send(&self, attempt: Attempt<'_>, hop: &Hop, seen: &mut Observation) -> Result<Answer, Failure> {
        let Attempt { spec, trace, .. } = attempt;
        // A failure on this hop is told without the answer of the hop before.
        (seen.status_code, seen.http_version, seen.reused) = (None, None, false);
        let place = place(attempt, hop);
        let proxy = whole_urls(&place);
        let mut sent = None;
        if let Some(mut kept) = self.kept(attempt, hop, &place).await? {
            match kept.exchange.send(hop.request(kept.exchange.is_http2(), proxy)?).await {
                Ok(response) if response.status() != StatusCode::REQUEST_TIMEOUT => {
                    seen.reused = true;
                    sent = Some((kept, response));
                }
                // The other side may close an idle connection at any time, and say so (408): that is no failure. Whatever
                // else goes wrong is told of a new connection, if it is wrong there too.
                Ok(_) | Err(_) => {}
            }
        }
        let (connection, response) = match sent {
            Some(sent) => sent,
            None => {
                let mut connection = self.connect(attempt, &place).await?;
                let request = hop.request(connection.exchange.is_http2(), proxy)?;
                let response = connection.exchange.send(request).await;
                (connection, response.map_err(|error| failure::of_request(&error, trace))?)
            }
        };
        trace.enter(Phase::Transfer);
        if let (StatusCode::PROXY_AUTHENTICATION_REQUIRED, Some(proxy)) = (response.status(), proxy) {
            let message = format!("The proxy {} wants a login, or another one (407)", dial::place(proxy));
            return Err(Failure::new(FailureKind::ProxyFailed, message));
        }
        seen.status_code = Some(response.status().as_u16());
        seen.http_version = Some(format!("{:?}", response.version()));
        if spec.conditions.needs().headers {
            seen.evidence
                .keep_headers(response.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
        }
        debug_assert!(spec.reuse_connection || !seen.reused, "only where it is asked for");
        Ok(Answer { response, connection, place })
    }

    /// A connection that an earlier check has made, if it would be made the same way now.
    async fn kept(&self, attempt: Attempt<'_>, hop: &Hop, place: &Place) -> Result<Option<Kept>, Failure> {
        let Attempt { spec, route, trace } = attempt;
        // What may not be sent twice is not sent on a connection that may be closed already.
        let is_repeatable =
            matches!(hop.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE);
        if !spec.reuse_connection || !is_repeatable {
            return Ok(None);
        }
        let Some(mut kept) = self.pool.take(place) else { return Ok(None) };
        let peer = kept.made.peer;
        if let Some(proxy) = &place.proxy {
            trace.goes_by(&dial::place(proxy));
            trace.begin(&place.host, place.port, Some(peer.ip()));
            trace.tunnelled(&place.host, place.port);
        } else if !self.dialler.resolve(&place.host, place.port, &route, trace).await?.contains(&peer.ip()) {
            return Ok(None);
        }
        if !kept.exchange.is_open().await {
            return Ok(None);
        }
        trace.reuse(peer, kept.made.chain.clone(), kept.made.tls.clone());
        Ok(Some(kept))
    }

    /// Makes a connection on which HTTP is spoken.
    async fn connect(&self, attempt: Attempt<'_>, place: &Place) -> Result<Kept, Failure> {
        let Attempt { spec, route, trace } = attempt;
        let connected = match &place.proxy {
            None => self.dialler.dial(&place.host, place.port, &route, trace).await?,
            Some(proxy) if whole_urls(place).is_some() => self.dialler.dial_proxy(proxy, &route, trace).await?,
            Some(proxy) => self.dialler.dial_by(proxy, &place.host, place.port, &route, trace).await?,
        };
        let at = Instant::now();
        let (stream, is_http2): (Box<dyn Stream>, bool) = if place.is_https {
            let alpn: &[&str] = match place.version {
                HttpVersion::Auto => &["h2", "http/1.1"],
                HttpVersion::Http1 => &["http/1.1"],
                HttpVersion::Http2 => &["h2"],
            };
            let secured = self.dialler.secure(connected.stream, &place.host, &spec.tls, alpn, trace).await?;
            let is_http2 = secured.protocol.as_deref() == Some("h2");
            if place.version == HttpVersion::Http2 && !is_http2 {
                let message = format!("{} does not speak HTTP/2", trace.peer());
                return Err(Failure::new(FailureKind::HttpProtocol, message));
            }
            (Box::new(secured.stream), is_http2)
        } else {
            trace.enter(Phase::FirstByte);
            (Box::new(connected.stream), place.version == HttpVersion::Http2)
        };
        let exchange = Exchange::begin(stream, is_http2).await.map_err(|error| failure::of_request(&error, trace))?;
        let chain = if spec.reuse_connection { trace.chain() } else { Vec::new() };
        let expires = chain.iter().filter(|_| spec.tls.verify).filter_map(|der| certificate::expires(der)).min();
        let made = Made { at, peer: connected.peer, chain, tls: trace.tls(), expires };
        Ok(Kept { exchange, made })
    }

    /// Reads the decompressed body up to its bound. Of it as much is kept as conditions need.
    async fn read_body(&self, attempt: Attempt<'_>, answer: Answer, seen: &mut Observation) -> Result<(), Failure> {
        let Attempt { spec, trace, .. } = attempt;
        let Answer { response, mut connection, place } = answer;
        let (head, body) = response.into_parts();
        let exchange = &mut connection.exchange;
        let mut wanted = body::Wanted::of(spec, seen);
        let is_whole = body::read(exchange, &head.headers, body, &mut wanted, trace).await?;
        if !is_whole {
            return Ok(());
        }
        if spec.reuse_connection && exchange.is_open().await {
            self.pool.keep(place, connection);
        } else {
            connection.exchange.close().await;
        }
        Ok(())
    }

    /// Asks for a token, by the way and the TLS policy of the endpoint. Ends at the attempt's deadline.
    async fn ask_token(&self, attempt: Attempt<'_>, credentials: &ClientCredentials) -> Result<Token, Failure> {
        // Of its own: the phases of the attempt are those of the endpoint.
        let trace = Trace::start();
        let attempt = Attempt { trace: &trace, ..attempt };
        let asked = deadline::within(&trace, attempt.route.deadline, self.token(attempt, credentials)).await;
        let failure = match asked {
            Some(Ok(token)) => return Ok(token),
            Some(Err(failure)) => failure,
            None => failure::timed_out(&trace, attempt.spec.timeout, 0),
        };
        Err(match failure.kind {
            FailureKind::OauthTokenFailed | FailureKind::OutboundRefused => failure,
            _ => auth::failed(credentials, &failure.message),
        })
    }

    async fn token(&self, attempt: Attempt<'_>, credentials: &ClientCredentials) -> Result<Token, Failure> {
        let Attempt { spec, trace, .. } = attempt;
        let (form, authorization) = auth::request(credentials);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Ok(agent) = HeaderValue::from_str(&spec.user_agent) {
            headers.insert(USER_AGENT, agent);
        }
        let url = credentials.token_url.clone();
        let mut hop = Hop { url, method: Method::POST, headers, body: Some(Bytes::from(form)) };
        hop.authorize(&authorization)?;
        let place = Place { version: HttpVersion::Auto, ..place(attempt, &hop) };
        let mut exchange = self.connect(attempt, &place).await?.exchange;
        let request = hop.request(exchange.is_http2(), whole_urls(&place))?;
        let response = exchange.send(request).await.map_err(|error| failure::of_request(&error, trace))?;
        trace.enter(Phase::Transfer);
        let status = response.status().as_u16();
        let mut body = http_body_util::Limited::new(response.into_body(), auth::MAX_ANSWER);
        let mut answer = Vec::new();
        while let Some(frame) = exchange.drive(body.frame()).await {
            let frame = frame.map_err(|error| failure::of_body(error.as_ref(), trace, 0, None))?;
            answer.extend(frame.into_data().iter().flatten());
        }
        auth::answered(credentials, status, &answer)
    }
}

/// Notes a hop that is over.
fn end_hop(trace: &Trace, url: &Url, seen: &mut Observation) {
    let timings = trace.hop_over();
    let url = url.as_str().chars().take(MAX_SHOWN_URL).collect();
    seen.hops.push(HopSeen { url, status_code: seen.status_code, address: trace.connected_to(), timings });
}

/// Where a request is sent, and how.
fn place(attempt: Attempt<'_>, hop: &Hop) -> Place {
    let Attempt { spec, route, .. } = attempt;
    // HTTP/2 has no `Host` beside that of the URL.
    let has_host = hop.headers.contains_key(HOST);
    Place {
        is_https: hop.url.scheme() == "https",
        host: hop.url.host_str().unwrap_or_default().to_owned(),
        port: hop.url.port_or_known_default().unwrap_or_default(),
        origin: route.origin,
        dial: spec.dial.clone(),
        tls: spec.tls.clone(),
        proxy: spec.proxy.clone(),
        version: if has_host && spec.http_version == HttpVersion::Auto {
            HttpVersion::Http1
        } else {
            spec.http_version
        },
    }
}

/// The proxy that takes whole URLs instead of connecting. What was made through the API is connected, to the address that
/// was examined.
fn whole_urls(place: &Place) -> Option<&Proxy> {
    let takes = !place.is_https && place.origin == Origin::Config && place.version != HttpVersion::Http2;
    place.proxy.as_ref().filter(|proxy| takes && proxy.kind == ProxyKind::Http)
}

impl Checker for HttpChecker {
    fn check<'a>(&'a self, spec: &'a CheckSpec, origin: Origin, ends_at: Instant) -> BoxFuture<'a, Observation> {
        Box::pin(async move {
            self.pool.sweep();
            let trace = Trace::start();
            let mut seen = Observation::default();
            let attempt = Attempt { spec, route: Route::of(spec, origin, ends_at), trace: &trace };
            let work = Box::pin(self.attempt(attempt, &mut seen));
            let ended = deadline::within(&trace, ends_at, work).await;
            let has_ended = ended.is_some();
            seen.failure = match ended {
                Some(done) => done.err(),
                None => Some(failure::timed_out(&trace, spec.timeout, seen.body_bytes)),
            };
            if let Some(last) = seen.redirects.last().and_then(|url| Url::parse(url).ok()) {
                end_hop(&trace, &last, &mut seen);
            }
            trace.tell(&mut seen);
            seen.own_trouble |= deadline::is_ours(&seen, has_ended, trace.stood_still(), spec.timeout);
            seen
        })
    }
}
