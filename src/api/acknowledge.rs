//! `/acknowledge/{token}`: the page behind the link of a message. It shows the outage and a button; what follows links by
//! itself (mail scanners, previews of chats) does nothing by it. The button acknowledges, without a key: the link is one.

use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::SecondsFormat;
use chrono_tz::Tz;
use sha2::{Digest, Sha256};

use super::client_address::client;
use super::extract::TextPath;
use super::html::escaped;
use super::observe::Told;
use super::origin::{self, Page};
use crate::domain::Timestamp;
use crate::links::{AcknowledgeLink, Refused};
use crate::service::incidents::{self, IncidentDetail};
use crate::service::{ServiceContext, ServiceError, links};

type Ctx = State<Arc<ServiceContext>>;

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:1.1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:2rem auto;padding:0 1rem;overflow-wrap:anywhere}\
h1{font-size:1.5rem;line-height:1.25}\
dt{font-weight:600}dd{margin:0 0 .75rem}\
button{font:inherit;font-weight:600;width:100%;min-height:3rem;margin-top:1rem;padding:.75rem 1rem;border:0;\
border-radius:.5rem;background:#0b5cad;color:#fff;cursor:pointer}\
button:focus-visible{outline:3px solid currentColor;outline-offset:3px}";

/// Look at an outage before acknowledging it
///
/// The page behind the link that a message has. It needs no key: the link is signed, for one incident, and ends after
/// 7 days. It changes nothing.
#[utoipa::path(get, path = "/acknowledge/{token}", tag = "incidents", params(("token" = String, Path)),
    responses(
        (status = 200, content_type = "text/html", body = String),
        (status = 404, content_type = "text/html", body = String, description = "The link is not one of this monitor"),
        (status = 410, content_type = "text/html", body = String, description = "The link has ended"),
        (status = 503, content_type = "text/html", body = String),
    ))]
pub async fn page(State(ctx): Ctx, token: Result<TextPath, super::error::Problem>) -> Response {
    let seen = match read(&ctx, token) {
        Ok(link) => incidents::get(&ctx, link.incident).await.map_err(Said::from),
        Err(said) => Err(said),
    };
    match seen {
        Ok(detail) => shown(&ctx, &detail),
        Err(said) => said.into_response(),
    }
}

/// Acknowledge an outage by the link of a message
///
/// What the button of the page does: as `POST /api/v1/incidents/{id}/acknowledge`, for as long as the policy says. Who did
/// it is recorded as `link (channel)`.
#[utoipa::path(post, path = "/acknowledge/{token}", tag = "incidents", params(("token" = String, Path)),
    responses(
        (status = 200, content_type = "text/html", body = String),
        (status = 403, content_type = "text/html", body = String, description = "A page from elsewhere has sent it"),
        (status = 404, content_type = "text/html", body = String, description = "The link is not one of this monitor"),
        (status = 409, content_type = "text/html", body = String,
            description = "The outage is over, or somebody looks after it already"),
        (status = 410, content_type = "text/html", body = String, description = "The link has ended"),
        (status = 503, content_type = "text/html", body = String),
    ))]
pub async fn acknowledge(State(ctx): Ctx, sent: Sent, token: Result<TextPath, super::error::Problem>) -> Response {
    match acknowledged(&ctx, &sent, token).await {
        Ok(detail) => {
            let until = detail.named.incident.acknowledgement.as_ref().map(|a| instant(&ctx, a.until));
            let name = name_of(&detail);
            let until = until.map_or_else(String::new, |until| format!(" Nobody is reminded until {until}."));
            Said {
                status: StatusCode::OK,
                title: format!("Acknowledged: {name}"),
                text: format!("Whoever was told of the outage is told that somebody looks after it.{until}"),
            }
        }
        Err(said) => said,
    }
    .into_response()
}

async fn acknowledged(
    ctx: &Arc<ServiceContext>,
    sent: &Sent,
    token: Result<TextPath, super::error::Problem>,
) -> Result<IncidentDetail, Said> {
    let link = read(ctx, token)?;
    if sent.is_foreign {
        return Err(Said::new(
            StatusCode::FORBIDDEN,
            "Not from here",
            "Another page has sent this. Open the link of the message itself, and press the button there.",
        ));
    }
    let there = incidents::get(ctx, link.incident).await?;
    if let Some(said) = nothing_to_do(ctx, &there) {
        return Err(Said { status: StatusCode::CONFLICT, ..said });
    }
    Ok(links::acknowledge(ctx, &link, sent.address).await?)
}

/// Who sends a form.
#[derive(Debug)]
pub struct Sent {
    is_foreign: bool,
    address: Option<std::net::IpAddr>,
}

impl FromRequestParts<Arc<ServiceContext>> for Sent {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, ctx: &Arc<ServiceContext>) -> Result<Self, Self::Rejection> {
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        // Browsers say `null` for what a page sends that tells nobody where it is, as ours does. Those that know more say
        // it in `Sec-Fetch-Site`; for the others the link itself, which no page elsewhere knows, is the proof.
        let is_untold = text("origin") == Some("null") && text("sec-fetch-site").is_none_or(|site| site == "none");
        let is_foreign = !is_untold && origin::page(parts, &ctx.config) == Page::Foreign;
        Ok(Self { is_foreign, address: client(parts) })
    }
}

fn read(ctx: &ServiceContext, token: Result<TextPath, super::error::Problem>) -> Result<AcknowledgeLink, Said> {
    let unknown = || {
        Said::new(
            StatusCode::NOT_FOUND,
            "This link is not known here",
            "It is not complete, or not of this monitor. Copy the whole link of the message.",
        )
    };
    let TextPath(token) = token.map_err(|_| unknown())?;
    ctx.links.read_acknowledge(&token, ctx.clock.now()).map_err(|why| match why {
        Refused::Unknown => unknown(),
        Refused::Ended(at) => Said::new(
            StatusCode::GONE,
            "This link has ended",
            &format!("It was good until {}. A newer message of the same outage has a new one.", instant(ctx, at)),
        ),
    })
}

/// Why there is nothing to acknowledge, for people.
fn nothing_to_do(ctx: &ServiceContext, detail: &IncidentDetail) -> Option<Said> {
    let incident = &detail.named.incident;
    let name = name_of(detail);
    if let Some(at) = incident.resolved_at {
        let text = format!("The outage ended at {}: there is nothing to acknowledge.", instant(ctx, at));
        return Some(Said { status: StatusCode::OK, title: format!("It is over: {name}"), text });
    }
    let open = detail.named.live.as_ref()?;
    let acknowledged = open.acknowledged.as_ref().filter(|acknowledged| !acknowledged.is_over)?;
    let until = instant(ctx, acknowledged.until);
    let text = format!("{} looks after it; nobody is reminded until {until}.", acknowledged.by);
    Some(Said { status: StatusCode::OK, title: format!("Somebody looks after {name}"), text })
}

fn name_of(detail: &IncidentDetail) -> &str {
    detail.named.endpoint.as_ref().map_or("an endpoint that is no longer known", |(_, name)| name)
}

/// The outage, and the button if there is something to acknowledge.
fn shown(ctx: &ServiceContext, detail: &IncidentDetail) -> Response {
    if let Some(said) = nothing_to_do(ctx, detail) {
        return said.into_response();
    }
    let incident = &detail.named.incident;
    let is_good = detail.named.live.as_ref().is_some_and(|open| open.held.is_some());
    let title = format!("{} {}", name_of(detail), if is_good { "was down, and is good again" } else { "is down" });
    let facts = format!(
        "<dl><dt>Since</dt><dd>{}</dd><dt>Why</dt><dd>{}</dd></dl>\n\
         <p>Acknowledging says that you look after it: whoever was told is told so, and nobody is reminded for a time.</p>\n\
         <form method=\"post\"><button type=\"submit\">Acknowledge</button></form>\n",
        escaped(&instant(ctx, incident.started_at)),
        escaped(&incident.cause.message),
    );
    html(StatusCode::OK, &title, &facts)
}

/// A page that only says something.
#[derive(Debug)]
struct Said {
    status: StatusCode,
    title: String,
    text: String,
}

impl Said {
    fn new(status: StatusCode, title: &str, text: &str) -> Self {
        Self { status, title: title.to_owned(), text: text.to_owned() }
    }
}

impl IntoResponse for Said {
    fn into_response(self) -> Response {
        html(self.status, &self.title, &format!("<p>{}</p>\n", escaped(&self.text)))
    }
}

impl From<ServiceError> for Said {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::NotFound(_) => {
                Self::new(StatusCode::NOT_FOUND, "It is not known any more", "The history of this outage was removed.")
            }
            ServiceError::Conflict(_) => Self::new(
                StatusCode::CONFLICT,
                "It is over",
                "The outage ended in this moment: there is nothing to acknowledge.",
            ),
            ServiceError::Unavailable(text) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "Not now", &text),
            error => {
                tracing::warn!(%error, "a link could not be followed");
                let text = "The database does not answer. Try again in a moment.";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "Not now", text)
            }
        }
    }
}

/// `body` is markup.
fn html(status: StatusCode, title: &str, body: &str) -> Response {
    let title = escaped(title);
    let page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"robots\" content=\"noindex\"><title>{title}</title><style>{STYLE}</style></head>\n\
         <body><main>\n<h1>{title}</h1>\n{body}</main></body></html>\n"
    );
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        STANDARD.encode(Sha256::digest(STYLE))
    );
    let mut response = (
        status,
        [
            (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
            (header::CONTENT_SECURITY_POLICY, policy),
            (header::REFERRER_POLICY, "no-referrer".to_owned()),
            (header::CACHE_CONTROL, "no-store".to_owned()),
        ],
        page,
    )
        .into_response();
    response.extensions_mut().insert(Told);
    response
}

fn instant(ctx: &ServiceContext, at: Timestamp) -> String {
    match ctx.config.timezone {
        Tz::UTC => at.to_rfc3339_opts(SecondsFormat::Secs, true),
        timezone => at.with_timezone(&timezone).format("%Y-%m-%d %H:%M:%S %Z").to_string(),
    }
}
