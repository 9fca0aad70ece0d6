//! The addresses and answers that clients of others know: those of healthchecks.io (`/ping/{uuid}`) and of Uptime Kuma
//! (`/api/push/{token}`). A host name and a token are all that has to be changed in them.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{Ctx, Sent, milliseconds, signal_of};
use crate::api::error::Problem;
use crate::api::observe::Told;
use crate::domain::push::{Heartbeat, Signal};
use crate::service::ServiceContext;
use crate::service::push::{self as verbs, Refused};

/// Says how long a log may be that is sent along; clients cut theirs by it.
static BODY_LIMIT: HeaderName = HeaderName::from_static("ping-body-limit");
const MOST_BYTES: HeaderValue = HeaderValue::from_static("10000");

/// A text as healthchecks.io answers with.
fn text(status: StatusCode, text: &'static str, wait: Option<HeaderValue>) -> Response {
    let mut response = (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response();
    response.headers_mut().insert(BODY_LIMIT.clone(), MOST_BYTES);
    if let Some(wait) = wait {
        response.headers_mut().insert(header::RETRY_AFTER, wait);
    }
    response.extensions_mut().insert(Told);
    response
}

async fn pinged(ctx: &ServiceContext, sent: Sent) -> Response {
    let said = sent.said("msg");
    let signal = match &sent.signal {
        None => Some(Signal::Heartbeat(Heartbeat::up(None))),
        Some(word) => signal_of(word, said, None),
    };
    let taken = match (sent.open(ctx), signal) {
        (Err(refused), _) => Err(refused),
        (Ok(_), None) => return text(StatusCode::BAD_REQUEST, "invalid url format", None),
        (Ok(entry), Some(signal)) => verbs::take(ctx, &entry, signal).await.map(drop),
    };
    match taken {
        Ok(()) => text(StatusCode::OK, "OK", None),
        Err(Refused::Unknown) => text(StatusCode::NOT_FOUND, "not found", None),
        Err(Refused::TooOften(wait)) => {
            text(StatusCode::TOO_MANY_REQUESTS, "rate limited", Some(HeaderValue::from(wait.as_secs() + 1)))
        }
        Err(Refused::NotNow(sentence)) => text(StatusCode::SERVICE_UNAVAILABLE, sentence, None),
    }
}

/// Report a heartbeat, as to healthchecks.io
#[utoipa::path(get, path = "/ping/{token}", tag = "push", params(("token" = String, Path)), responses(
    (status = 200, content_type = "text/plain", body = String), (status = 404, content_type = "text/plain", body = String),
    (status = 429, content_type = "text/plain", body = String), (status = 503, content_type = "text/plain", body = String)))]
pub async fn ping(State(ctx): Ctx, sent: Sent) -> Response {
    pinged(&ctx, sent).await
}

/// Report a heartbeat with a log, as to healthchecks.io
#[utoipa::path(post, path = "/ping/{token}", tag = "push", params(("token" = String, Path)),
    request_body(content = String, content_type = "text/plain", description = "May be left out"), responses(
    (status = 200, content_type = "text/plain", body = String), (status = 404, content_type = "text/plain", body = String),
    (status = 429, content_type = "text/plain", body = String), (status = 503, content_type = "text/plain", body = String)))]
pub async fn post_ping(State(ctx): Ctx, sent: Sent) -> Response {
    pinged(&ctx, sent).await
}

/// Report what became of a job, as to healthchecks.io
///
/// `start`, `fail`, `log`, or an exit code.
#[utoipa::path(get, path = "/ping/{token}/{signal}", tag = "push",
    params(("token" = String, Path), ("signal" = String, Path)), responses(
    (status = 200, content_type = "text/plain", body = String), (status = 400, content_type = "text/plain", body = String),
    (status = 404, content_type = "text/plain", body = String), (status = 429, content_type = "text/plain", body = String),
    (status = 503, content_type = "text/plain", body = String)))]
pub async fn ping_signal(State(ctx): Ctx, sent: Sent) -> Response {
    pinged(&ctx, sent).await
}

/// Report what became of a job with a log, as to healthchecks.io
#[utoipa::path(post, path = "/ping/{token}/{signal}", tag = "push",
    params(("token" = String, Path), ("signal" = String, Path)),
    request_body(content = String, content_type = "text/plain", description = "May be left out"), responses(
    (status = 200, content_type = "text/plain", body = String), (status = 400, content_type = "text/plain", body = String),
    (status = 404, content_type = "text/plain", body = String), (status = 429, content_type = "text/plain", body = String),
    (status = 503, content_type = "text/plain", body = String)))]
pub async fn post_ping_signal(State(ctx): Ctx, sent: Sent) -> Response {
    pinged(&ctx, sent).await
}

/// What Uptime Kuma answers with.
#[derive(Debug, Serialize, ToSchema)]
pub struct KumaAnswer {
    ok: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    msg: Option<&'static str>,
}

/// What may be said in the query, as to Uptime Kuma.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read as it comes; here for the documentation")]
pub struct KumaParams {
    /// `down`; everything else is up.
    status: Option<String>,
    /// What is wrong.
    msg: Option<String>,
    /// How long it took, in milliseconds; what is no number is passed over.
    ping: Option<String>,
}

async fn pushed(ctx: &ServiceContext, sent: &Sent) -> Response {
    let duration = sent.parameter("ping").and_then(milliseconds);
    let heartbeat = if sent.parameter("status") == Some("down") {
        Heartbeat::down(sent.said("msg"), duration)
    } else {
        Heartbeat::up(duration)
    };
    let taken = match sent.open(ctx) {
        Ok(entry) => verbs::take(ctx, &entry, Signal::Heartbeat(heartbeat)).await,
        Err(refused) => Err(refused),
    };
    match taken {
        Ok(_) => Json(KumaAnswer { ok: true, msg: None }).into_response(),
        Err(Refused::Unknown) => {
            let answer = KumaAnswer { ok: false, msg: Some("Monitor not found or not active.") };
            (StatusCode::NOT_FOUND, Json(answer)).into_response()
        }
        Err(other) => Problem::from(other).into_response(),
    }
}

/// Report a heartbeat, as to Uptime Kuma
#[utoipa::path(get, path = "/api/push/{token}", tag = "push", params(("token" = String, Path), KumaParams),
    responses((status = 200, body = KumaAnswer), (status = 404, body = KumaAnswer)))]
pub async fn kuma(State(ctx): Ctx, sent: Sent) -> Response {
    pushed(&ctx, &sent).await
}

/// Report a heartbeat with a log, as to Uptime Kuma
#[utoipa::path(post, path = "/api/push/{token}", tag = "push", params(("token" = String, Path), KumaParams),
    request_body(content = String, content_type = "text/plain", description = "May be left out"),
    responses((status = 200, body = KumaAnswer), (status = 404, body = KumaAnswer)))]
pub async fn post_kuma(State(ctx): Ctx, sent: Sent) -> Response {
    pushed(&ctx, &sent).await
}
