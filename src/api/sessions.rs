//! `/api/v1/sessions`: signing in with a key, seeing who is signed in, signing out.

use std::cmp::Ordering;
use std::sync::Arc;

use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::Gate;
use super::client_address::client;
use super::error::{Problem, ProblemKind};
use super::extract::{OptionalJsonBody, TextPath};
use super::origin::Here;
use super::pagination::{FromParams, Page, Params, Query, Sort, sort_keys};
use super::session_cookie;
use crate::config::Secret;
use crate::domain::Timestamp;
use crate::domain::role::Role;
use crate::domain::session::{SessionState, shown_user_agent};
use crate::service::error::FieldError;
use crate::service::sessions::{self as verbs, Client, Shown};
use crate::service::{Actor, Identity, ServiceContext};

type Ctx = State<Arc<ServiceContext>>;

/// The name of one's own session in a path.
const CURRENT: &str = "current";

/// The longest key that is looked at.
const MAX_KEY: usize = 1_000;

sort_keys! {
    /// By what sessions are ordered.
    pub enum SessionSort {
        Id = "id",
        Name = "name",
        State = "state",
        CreatedAt = "created_at",
        LastSeenAt = "last_seen_at",
        ExpiresAt = "expires_at",
    }
}

/// Which sessions.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SessionParams {
    /// Only those in this state.
    state: Option<SessionState>,
    /// By what the list is ordered; `-` before it reverses. Default: by id.
    #[param(inline, value_type = Option<SessionSort>)]
    sort: Option<Sort<SessionSort>>,
    /// Items of one page, 1 to 1000. Default 100.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 1000)]
    #[expect(dead_code, reason = "read into `page`; here for the documentation")]
    limit: (),
    /// Items before the page. Default 0.
    #[param(value_type = Option<u64>)]
    #[expect(dead_code, reason = "read into `page`; here for the documentation")]
    offset: (),
    #[param(ignore)]
    page: Page,
}

impl FromParams for SessionParams {
    fn from_params(params: &mut Params) -> Self {
        Self {
            state: params.word("state", "active, expired"),
            sort: params.sort(),
            limit: (),
            offset: (),
            page: params.page(100),
        }
    }
}

/// How somebody signs in. The key may come in a header instead, and then the body may be left out.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SignIn {
    /// A key of `api.auth`, or one made at `/api/v1/api-keys`.
    #[schema(value_type = Option<String>, format = Password, write_only, max_length = 1000)]
    key: Option<Secret>,
}

/// A page of sessions.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionList {
    sessions: Vec<SessionItem>,
    total: u64,
    limit: u64,
    offset: u64,
}

/// Somebody who has signed in.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionItem {
    /// Never used again.
    id: i64,
    /// `expired` ones are removed within a minute.
    state: SessionState,
    /// Whether this request came with its cookie.
    current: bool,
    /// Of its key, as in `/api/v1/api-keys`.
    #[schema(example = "key_7")]
    key_id: String,
    /// Of its key; null when that is gone.
    #[schema(example = "ci")]
    name: Option<String>,
    /// What it may do: that of its key, at this moment; null when that is gone.
    role: Option<Role>,
    /// Where the client was when it signed in.
    #[schema(example = "198.51.100.7")]
    address: Option<String>,
    /// What the client calls itself, at most 200 characters of it.
    user_agent: Option<String>,
    /// The address of this server at which it signed in.
    #[schema(example = "https://monitor.example.com")]
    service: Option<String>,
    /// Whose it is and from where: `name@address`; null when one of the two is not known.
    #[schema(example = "ci@198.51.100.7")]
    client: Option<String>,
    /// When it was begun; as `created_at`.
    #[schema(value_type = String, format = DateTime)]
    connected: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    last_seen_at: Timestamp,
    /// Seconds since its last request; as `idle_seconds`.
    idle: u64,
    idle_seconds: u64,
    /// When it ends at the latest, however much it is used.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

impl SessionItem {
    fn new(Shown { session, key, state, expires_at }: Shown, now: Timestamp, current: Option<i64>) -> Self {
        let idle = session.idle(now).as_secs();
        let (name, role) = (key.as_ref().map(|key| key.name.clone()), key.as_ref().map(|key| key.role));
        let address = session.address.map(|address| address.to_string());
        Self {
            id: session.id,
            state,
            current: current == Some(session.id),
            key_id: session.key.to_string(),
            client: name.as_ref().zip(address.as_ref()).map(|(name, address)| format!("{name}@{address}")),
            name,
            role,
            address,
            user_agent: session.user_agent,
            service: session.service,
            connected: session.created_at,
            created_at: session.created_at,
            last_seen_at: session.last_seen_at,
            idle,
            idle_seconds: idle,
            expires_at,
        }
    }
}

fn compare(key: SessionSort, a: &Shown, b: &Shown) -> Ordering {
    let name = |shown: &Shown| shown.key.as_ref().map(|key| key.name.clone());
    match key {
        SessionSort::Id => a.session.id.cmp(&b.session.id),
        SessionSort::Name => name(a).cmp(&name(b)),
        SessionSort::State => a.state.as_str().cmp(b.state.as_str()),
        SessionSort::CreatedAt => a.session.created_at.cmp(&b.session.created_at),
        SessionSort::LastSeenAt => a.session.last_seen_at.cmp(&b.session.last_seen_at),
        SessionSort::ExpiresAt => a.expires_at.cmp(&b.expires_at),
    }
}

/// List sessions
///
/// Administrators see all of them, others those of their own key. No token is shown.
#[utoipa::path(get, path = "/api/v1/sessions", tag = "sessions", params(SessionParams),
    responses((status = 200, body = SessionList)))]
pub async fn list(
    State(ctx): Ctx,
    actor: Actor,
    identity: Identity,
    Query(params): Query<SessionParams>,
) -> Json<SessionList> {
    let mut all = verbs::list(&ctx, &actor, &identity);
    all.retain(|shown| params.state.is_none_or(|state| shown.state == state));
    if let Some(sort) = params.sort {
        sort.arrange(&mut all, compare);
    }
    let (now, total, Page { limit, offset }) = (ctx.clock.now(), all.len() as u64, params.page);
    let item = |shown| SessionItem::new(shown, now, identity.session);
    let sessions = params.page.cut(all).into_iter().map(item).collect();
    Json(SessionList { sessions, total, limit, offset })
}

/// Sign in
///
/// With a key, in the body or in a header. The answer sets the cookie of the session; the token in it is shown nowhere
/// else. Whoever came with the cookie of a session ends that one. 409 where no key is configured and none is shown: nobody
/// needs to sign in there.
#[utoipa::path(post, path = "/api/v1/sessions", tag = "sessions", request_body = Option<SignIn>, responses(
    (status = 201, body = SessionItem, headers(("Location" = String), ("Set-Cookie" = String))),
    (status = 400, response = super::openapi::ProblemResponse),
    (status = 401, response = super::openapi::ProblemResponse),
    (status = 403, response = super::openapi::ProblemResponse),
    (status = 409, response = super::openapi::ProblemResponse),
))]
pub async fn create(
    State(ctx): Ctx,
    Extension(gate): Extension<Arc<Gate>>,
    identity: Identity,
    parts: Parts,
    Query(()): Query<()>,
    OptionalJsonBody(body): OptionalJsonBody<SignIn>,
) -> Result<Response, Problem> {
    let in_body = body.and_then(|body| body.key);
    if in_body.as_ref().is_some_and(|key| key.expose().len() > MAX_KEY) {
        let error = FieldError::at("/key", "out_of_range", format!("a key has at most {MAX_KEY} bytes"));
        return Err(Problem::invalid(vec![error]));
    }
    let (actor, key) = gate.signs_in(&parts, in_body.as_ref()).await?;
    let here = Here::of(&parts, &ctx.config);
    let user_agent = parts.headers.get(header::USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let known = Client {
        address: client(&parts),
        user_agent: user_agent.and_then(|text| shown_user_agent(&text)),
        service: here.address(),
        before: identity.session,
    };
    let (shown, token) = verbs::sign_in(&ctx, &actor, key, known).await?;
    let (now, id) = (ctx.clock.now(), shown.session.id);
    let seconds = (shown.expires_at - shown.session.created_at).num_seconds().max(0);
    let cookie = session_cookie::keep(&token, &here, seconds);
    let headers = [(header::LOCATION, format!("/api/v1/sessions/{id}")), (header::SET_COOKIE, cookie)];
    Ok((StatusCode::CREATED, headers, Json(SessionItem::new(shown, now, Some(id)))).into_response())
}

/// Get a session
///
/// `current` is the one whose cookie the request has.
#[utoipa::path(get, path = "/api/v1/sessions/{id}", tag = "sessions",
    params(("id" = String, Path, description = "The id of a session, or `current`")),
    responses((status = 200, body = SessionItem)))]
pub async fn get(
    State(ctx): Ctx,
    actor: Actor,
    identity: Identity,
    TextPath(id): TextPath,
    Query(()): Query<()>,
) -> Result<Json<SessionItem>, Problem> {
    let shown = verbs::get(&ctx, &actor, &identity, named(&id, &identity)?)?;
    Ok(Json(SessionItem::new(shown, ctx.clock.now(), identity.session)))
}

/// Sign out
///
/// Ends a session: one's own (`current`), another one of the same key, or, for administrators, any. With the present one
/// the cookie goes too.
#[utoipa::path(delete, path = "/api/v1/sessions/{id}", tag = "sessions",
    params(("id" = String, Path, description = "The id of a session, or `current`")),
    responses((status = 204, description = "ended", headers(("Set-Cookie" = Option<String>)))))]
pub async fn delete(
    State(ctx): Ctx,
    actor: Actor,
    identity: Identity,
    parts: Parts,
    TextPath(id): TextPath,
    Query(()): Query<()>,
) -> Result<(StatusCode, Option<[(HeaderName, String); 1]>, ()), Problem> {
    let id = named(&id, &identity)?;
    verbs::delete(&ctx, &actor, &identity, id).await?;
    let forget = || [(header::SET_COOKIE, session_cookie::forget(&Here::of(&parts, &ctx.config)))];
    Ok((StatusCode::NO_CONTENT, (identity.session == Some(id)).then(forget), ()))
}

/// The id that a path names.
fn named(text: &str, identity: &Identity) -> Result<i64, Problem> {
    if text == CURRENT {
        let detail = "The request has no session of its own: it shows no cookie, or a key instead";
        return identity.session.ok_or_else(|| Problem::new(ProblemKind::NotFound, detail));
    }
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        let detail = "must be the id of a session, a whole number, or `current`";
        return Err(Problem::invalid(vec![FieldError::parameter("id", "invalid", detail)]));
    }
    let too_large = "This is not the id of a session: it is larger than any id can be";
    text.parse().map_err(|_| Problem::new(ProblemKind::NotFound, too_large))
}
