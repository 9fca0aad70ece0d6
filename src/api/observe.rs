//! The layers around the router: request ids, the client's address, the access log, rendering of problems, and
//! headers that are the same for every response whoever made it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ipnet::IpNet;
use tracing::Instrument;

use super::auth::Principal;
use super::error::{Problem, ProblemKind};
use super::extract::{MAX_BODY_BYTES, MAX_URI_BYTES, accepts_events, accepts_json, too_large};
use super::{client_address, limits};
use crate::clock::Clock;
use crate::config::LogAccess;
use crate::service::operations::Collections;
use crate::telemetry::metrics::Metrics;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The template of the route that answered, on its way out to the access log.
#[derive(Debug, Clone)]
struct Template(MatchedPath);

/// An error that is told by a page for people, and is not to become a problem document.
#[derive(Debug, Clone, Copy)]
pub struct Told;

/// What the outermost layer knows.
#[derive(Debug)]
pub struct Observer {
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    pub trusted_proxies: Vec<IpNet>,
    /// Whether connections are encrypted, and clients should insist on it from now on.
    pub is_encrypted: bool,
    /// Which are told of every answer of a route.
    pub collections: Arc<Collections>,
    pub access: LogAccess,
}

/// A year, without the names below this one: they may be served by something else.
const INSIST_ON_TLS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Around everything.
pub async fn observe(State(observer): State<Arc<Observer>>, mut request: Request, next: Next) -> Response {
    let begun = observer.clock.monotonic();
    let id = request_id(&request);
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical());
    let client = peer.map(|peer| client_address::of_request(peer, request.headers(), &observer.trusted_proxies));
    if let Some(client) = client {
        request.extensions_mut().insert(client);
    }
    let method = request.method().clone();
    // At the most severe level, so that the id is in every line whatever the level of the log.
    let span = tracing::error_span!("request", request_id = %id.to_str().unwrap_or_default());
    async {
        let mut response = next.run(request).await;
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID.clone(), id);
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if observer.is_encrypted {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, INSIST_ON_TLS);
        }
        // What is answered here is of this moment, and some of it only for whoever asked.
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        let took = observer.clock.monotonic().saturating_sub(begun);
        let milliseconds = took.as_secs_f64() * 1000.0;
        let template = response.extensions().get::<Template>().map(|template| template.0.as_str());
        observer.metrics.requests.observe(method.as_str(), template, response.status().as_u16(), took);
        if let Some(template) = template {
            observer.collections.answered(method.as_str(), template, took);
        }
        let route = template.unwrap_or("-");
        let actor = response.extensions().get::<Principal>().map_or("-", |principal| principal.0.as_str());
        let status = response.status().as_u16();
        let client = client.map_or_else(|| "-".to_owned(), |client| client.0.to_string());
        if is_worth_a_line(observer.access, &method, route, status) {
            tracing::info!(%method, route, actor, status, client, ms = milliseconds, "request");
        } else {
            tracing::debug!(%method, route, actor, status, client, ms = milliseconds, "request");
        }
        response
    }
    .instrument(span)
    .await
}

/// Whether a request is told at `INFO`. Probes, which come every few seconds for ever, would drown what happens, and a
/// flood that is refused must not fill the disk; faults of ours are told always.
fn is_worth_a_line(access: LogAccess, method: &Method, route: &str, status: u16) -> bool {
    if status == 429 {
        return false;
    }
    // Heartbeats come for ever too, by whatever method.
    status >= 500
        || !limits::is_push(route) && (!method.is_safe() || access == LogAccess::All && !limits::is_probe(route))
}

/// Around the router, its own answers included.
pub async fn render(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let length = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let response = if length > MAX_URI_BYTES {
        let detail = format!("A path with its query has at most {MAX_URI_BYTES} bytes");
        Problem::new(ProblemKind::UriTooLong, detail).into_response()
    } else {
        next.run(request).await
    };
    let shown = path.char_indices().nth(MAX_SHOWN_PATH).map_or(path.as_str(), |(end, _)| &path[..end]);
    finish(response, &method, shown)
}

/// Characters of a path that a problem document repeats.
const MAX_SHOWN_PATH: usize = 1_000;

/// An incoming id that is fit for a log line, else a new one.
fn request_id(request: &Request) -> HeaderValue {
    let sane = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=128).contains(&bytes.len()) && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
    };
    request.headers().get(&REQUEST_ID).filter(sane).cloned().unwrap_or_else(|| {
        // A UUID is printable ASCII.
        HeaderValue::try_from(uuid::Uuid::new_v4().to_string()).unwrap_or_else(|_| HeaderValue::from_static("none"))
    })
}

/// Renders the problem that a response stands for, and completes `Allow`.
fn finish(response: Response, method: &Method, path: &str) -> Response {
    let status = response.status();
    let is_told = response.extensions().get::<Told>().is_some();
    let is_ours = is_told || response.headers().get(header::CONTENT_TYPE).is_some_and(|t| t == "application/json");
    let problem = match response.extensions().get::<Problem>() {
        Some(problem) => Some(problem.clone()),
        None if (status.is_client_error() || status.is_server_error()) && !is_ours => Some(Problem::of_status(status)),
        None => None,
    };
    let allow = response.headers().get(header::ALLOW).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let template = response.extensions().get::<Template>().cloned();
    let principal = response.extensions().get::<Principal>().cloned();
    let mut response = match problem {
        Some(problem) if method == Method::HEAD => problem.render(path).map(|_| Body::empty()),
        Some(problem) => problem.render(path),
        None => response,
    };
    if let Some(template) = template {
        response.extensions_mut().insert(template);
    }
    if let Some(principal) = principal {
        response.extensions_mut().insert(principal);
    }
    if let Some(allow) = allow
        && (status == StatusCode::METHOD_NOT_ALLOWED || method == Method::OPTIONS)
        && let Ok(complete) = HeaderValue::try_from(complete_allow(&allow))
    {
        response.headers_mut().insert(header::ALLOW, complete);
    }
    response
}

/// The methods of the route and `OPTIONS`, each once.
fn complete_allow(allow: &str) -> String {
    let mut methods: Vec<&str> = allow.split(',').map(str::trim).filter(|m| !m.is_empty()).collect();
    methods.push("OPTIONS");
    methods.sort_unstable();
    methods.dedup();
    methods.join(", ")
}

/// Inside, around every route, where its template is known: bounds and what the client accepts.
pub async fn bounds(request: Request, next: Next) -> Response {
    let template = request.extensions().get::<MatchedPath>().cloned();
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    let route = template.as_ref().map_or("", MatchedPath::as_str);
    let refused = match route {
        limits::EVENTS_ROUTE => !accepts_events(request.headers()),
        _ => !limits::is_page(route) && !accepts_json(request.headers()),
    };
    let mut response = if declared.is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        too_large().into_response()
    } else if refused {
        let kind = if route == limits::EVENTS_ROUTE { "text/event-stream" } else { "application/json" };
        Problem::new(ProblemKind::NotAcceptable, format!("Everything here is `{kind}`: accept it")).into_response()
    } else {
        let has_body = !request.body().is_end_stream();
        let limit = limits::handler_timeout(template.as_ref().map(MatchedPath::as_str), has_body);
        match tokio::time::timeout(limit, next.run(request)).await {
            Ok(response) => response,
            Err(_) => Problem::of_status(StatusCode::SERVICE_UNAVAILABLE).into_response(),
        }
    };
    if let Some(template) = template {
        response.extensions_mut().insert(Template(template));
    }
    response
}

/// The answer for a request whose handler panicked; the panic itself is in the log.
#[expect(clippy::needless_pass_by_value, reason = "the layer hands the panic over")]
pub fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let message = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = message.unwrap_or("no message"), "a request handler panicked");
    Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_probes_and_floods_is_worth_a_line() {
        for (method, route, status, of_all, of_changes) in [
            (Method::GET, "/api/v1/endpoints", 200, true, false),
            (Method::GET, "/api/v1/events", 200, true, false),
            (Method::GET, "/api/v1/config", 403, true, false),
            (Method::GET, "-", 404, true, false),
            (Method::HEAD, "/", 200, true, false),
            (Method::OPTIONS, "/api/v1/endpoints", 204, true, false),
            (Method::GET, "/api/v1/endpoints", 500, true, true),
            (Method::POST, "/api/v1/endpoints", 400, true, true),
            (Method::POST, "/health", 405, true, true),
            (Method::GET, "/health/live", 200, false, false),
            (Method::GET, "/health", 503, true, true),
            (Method::GET, "/metrics", 200, false, false),
            (Method::GET, "/metrics/{name}", 200, true, false),
            (Method::GET, "/docs/{file}", 200, false, false),
            (Method::POST, "/api/v1/push/{token}", 200, false, false),
            (Method::GET, "/ping/{token}/{signal}", 404, false, false),
            (Method::GET, "/api/push/{token}", 503, true, true),
            (Method::GET, "/api/v1/endpoints", 429, false, false),
            (Method::POST, "/api/v1/endpoints", 429, false, false),
        ] {
            let told = |access| is_worth_a_line(access, &method, route, status);
            let told = (told(LogAccess::All), told(LogAccess::Changes));
            assert_eq!(told, (of_all, of_changes), "{method} {route} {status}");
        }
    }
}
