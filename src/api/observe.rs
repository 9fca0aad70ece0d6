//! The outermost layer: request ids, the access log, rendering of problems, and what is the same for every
//! response whoever made it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;

use super::error::{Problem, ProblemKind};
use super::extract::{MAX_BODY_BYTES, accepts_json, too_large};
use super::limits;
use crate::clock::Clock;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The template of the route that answered, on its way out to the access log.
#[derive(Debug, Clone)]
struct Template(MatchedPath);

/// Around everything, the router's own answers included.
pub async fn observe(State(clock): State<Arc<dyn Clock>>, request: Request, next: Next) -> Response {
    let begun = clock.monotonic();
    let id = request_id(&request);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    // At the most severe level, so that the id is in every line whatever the level of the log.
    let span = tracing::error_span!("request", request_id = %id.to_str().unwrap_or_default());
    async {
        let mut response = finish(next.run(request).await, &method, &path);
        response.headers_mut().insert(REQUEST_ID.clone(), id);
        let milliseconds = clock.monotonic().saturating_sub(begun).as_secs_f64() * 1000.0;
        let route = response.extensions().get::<Template>().map_or("-", |template| template.0.as_str());
        let status = response.status().as_u16();
        // Probes and reads would drown what happened: they are told at debug, changes and faults always.
        if method.is_safe() && status < 500 {
            tracing::debug!(%method, route, status, ms = milliseconds, "request");
        } else {
            tracing::info!(%method, route, status, ms = milliseconds, "request");
        }
        response
    }
    .instrument(span)
    .await
}

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
    let is_ours = response.headers().get(header::CONTENT_TYPE).is_some_and(|t| t == "application/json");
    let problem = match response.extensions().get::<Problem>() {
        Some(problem) => Some(problem.clone()),
        None if (status.is_client_error() || status.is_server_error()) && !is_ours => Some(Problem::of_status(status)),
        None => None,
    };
    let allow = response.headers().get(header::ALLOW).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let template = response.extensions().get::<Template>().cloned();
    let mut response = match problem {
        Some(problem) if method == Method::HEAD => problem.render(path).map(|_| Body::empty()),
        Some(problem) => problem.render(path),
        None => response,
    };
    if let Some(template) = template {
        response.extensions_mut().insert(template);
    }
    if let Some(allow) = allow
        && (status == StatusCode::METHOD_NOT_ALLOWED || method == Method::OPTIONS)
        && let Ok(complete) = HeaderValue::try_from(complete_allow(&allow))
    {
        response.headers_mut().insert(header::ALLOW, complete);
    }
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
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
    let speaks_json = template.as_ref().is_none_or(|path| !limits::is_page(path.as_str()));
    let mut response = if declared.is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        too_large().into_response()
    } else if speaks_json && !accepts_json(request.headers()) {
        Problem::new(ProblemKind::NotAcceptable, "Everything here is `application/json`: accept it").into_response()
    } else {
        let limit = limits::handler_timeout(template.as_ref().map(MatchedPath::as_str));
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
