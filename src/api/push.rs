//! `/api/v1/push/{token}`: what push endpoints report. The token is the key, so no other is asked for; the routes that
//! clients of others know are in [`peers`].

pub mod peers;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::{HeaderValue, header};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::error::{Problem, ProblemKind};
use super::extract::read_bounded;
use crate::board::Entry;
use crate::domain::outcome::OutcomeWord;
use crate::domain::push::{Heartbeat, Signal};
use crate::service::ServiceContext;
use crate::service::error::FieldError;
use crate::service::push::{self as verbs, Refused, Taken};

type Ctx = State<Arc<ServiceContext>>;

/// Of a longer body the end is looked at, which in a log says most.
const LOOKED_AT: usize = 10_000;

/// The longest time that a job may say it took: a year.
const LONGEST_MS: f64 = 366.0 * 86_400_000.0;

/// What is reported, as it came: whatever else is in the query says nothing and is no mistake.
#[derive(Debug)]
pub struct Sent {
    token: String,
    /// What follows the token in the path.
    signal: Option<String>,
    query: Vec<(String, String)>,
    /// The end of the body.
    body: String,
}

impl<S: Send + Sync> FromRequest<S> for Sent {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let path =
            <Path<Vec<(String, String)>> as axum::extract::FromRequestParts<S>>::from_request_parts(&mut parts, state);
        // What is not even text is the token of nobody.
        let mut path = path.await.map(|Path(path)| path).unwrap_or_default().into_iter().map(|(_, text)| text);
        let (token, signal) = (path.next().unwrap_or_default(), path.next());
        let query = parts.uri.query().unwrap_or_default();
        let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let body = if parts.method.is_safe() { Body::empty() } else { body };
        let bytes = read_bounded(body).await?;
        let end = &bytes[bytes.len().saturating_sub(LOOKED_AT)..];
        Ok(Self { token, signal, query, body: String::from_utf8_lossy(end).into_owned() })
    }
}

impl Sent {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// What is said of a failure: `name` of the query, or else the body.
    fn said(&self, name: &str) -> &str {
        self.parameter(name).filter(|text| !text.trim().is_empty()).unwrap_or(&self.body)
    }

    fn open(&self, ctx: &ServiceContext) -> Result<Entry, Refused> {
        verbs::open(ctx, &self.token)
    }
}

/// `start`, `fail`, `log` or an exit code. `None`: none of them.
fn signal_of(word: &str, said: &str, duration: Option<Duration>) -> Option<Signal> {
    Some(match word {
        "start" => Signal::Start,
        "log" => Signal::Log,
        "fail" => Signal::Heartbeat(Heartbeat::down(said, duration)),
        code if !code.is_empty() && code.bytes().all(|b| b.is_ascii_digit()) => {
            Signal::Heartbeat(Heartbeat::exited(code.parse().ok()?, said, duration))
        }
        _ => return None,
    })
}

/// A number of milliseconds, a fraction too. `None`: it is none.
fn milliseconds(text: &str) -> Option<Duration> {
    let ms: f64 = text.parse().ok()?;
    (0.0..=LONGEST_MS).contains(&ms).then(|| Duration::from_secs_f64(ms / 1_000.0))
}

/// What may be said in the query. Whatever else is there is passed over.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read as it comes; here for the documentation")]
pub struct PushParams {
    /// `up` or `down`. Default `up`.
    #[param(pattern = "^(up|down)$")]
    status: Option<String>,
    /// What is wrong; the end of a longer text is kept. Default: the body.
    message: Option<String>,
    /// How long the job took. Default: the time since `start`, if that was told.
    #[param(minimum = 0, maximum = 31_622_400_000_i64)]
    duration_ms: Option<f64>,
}

/// What became of a report.
#[derive(Debug, Serialize, ToSchema)]
pub struct PushAnswer {
    result: PushWord,
    /// What is recorded; null where nothing is.
    outcome: Option<OutcomeWord>,
    /// The instant of the check that is recorded.
    #[schema(value_type = Option<String>, format = DateTime)]
    checked_at: Option<crate::domain::Timestamp>,
    /// How long the job took, as far as it is known.
    duration_ms: Option<f64>,
    /// It is in the database; false: that is away, and it waits in memory.
    stored: Option<bool>,
}

/// In a word.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PushWord {
    /// It is a check of the endpoint.
    Recorded,
    /// The time that the job takes is being measured.
    Started,
    /// It says nothing of how the endpoint is.
    Noted,
    /// The endpoint is paused: nothing is recorded.
    Paused,
}

impl From<Taken> for PushAnswer {
    fn from(taken: Taken) -> Self {
        let bare = |result| Self { result, outcome: None, checked_at: None, duration_ms: None, stored: None };
        match taken {
            Taken::Recorded(recorded) => Self {
                outcome: Some(recorded.result.outcome.word()),
                checked_at: Some(recorded.result.scheduled_at),
                duration_ms: recorded.result.response_time_us().map(|us| f64::from(us) / 1_000.0),
                stored: Some(recorded.stored),
                ..bare(PushWord::Recorded)
            },
            Taken::Started => bare(PushWord::Started),
            Taken::Noted => bare(PushWord::Noted),
            Taken::Paused => bare(PushWord::Paused),
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unknown => Self::new(ProblemKind::NotFound, "This is not the token of a push endpoint"),
            Refused::TooOften(wait) => {
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                Self::new(ProblemKind::RateLimited, "This endpoint reports too often: at most once a second for long")
                    .with_header(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)))
            }
            Refused::NotNow(sentence) => Self::new(ProblemKind::Unavailable, sentence),
        }
    }
}

async fn heartbeat(ctx: &ServiceContext, sent: &Sent) -> Result<Json<PushAnswer>, Problem> {
    let entry = sent.open(ctx)?;
    let mut errors = Vec::new();
    let is_up = match sent.parameter("status") {
        None | Some("up") => true,
        Some("down") => false,
        Some(_) => {
            errors.push(FieldError::parameter("status", "invalid", "must be up or down"));
            true
        }
    };
    let duration = sent.parameter("duration_ms").and_then(|text| {
        let read = milliseconds(text);
        if read.is_none() {
            let detail = "must be a number of milliseconds, at most a year";
            errors.push(FieldError::parameter("duration_ms", "invalid", detail));
        }
        read
    });
    let said = sent.said("message");
    let signal = match &sent.signal {
        None if is_up => Signal::Heartbeat(Heartbeat::up(duration)),
        None => Signal::Heartbeat(Heartbeat::down(said, duration)),
        Some(word) => signal_of(word, said, duration).ok_or_else(|| {
            Problem::new(ProblemKind::NotFound, "After the token comes start, fail, log or an exit code of 0 to 255")
        })?,
    };
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    Ok(Json(verbs::take(ctx, &entry, signal).await?.into()))
}

/// Report a heartbeat
///
/// Needs no key: the token is one. Answered once the check is recorded.
#[utoipa::path(get, path = "/api/v1/push/{token}", tag = "push", params(("token" = String, Path), PushParams),
    responses((status = 200, body = PushAnswer), (status = 400, response = super::openapi::ProblemResponse)))]
pub async fn get(State(ctx): Ctx, sent: Sent) -> Result<Json<PushAnswer>, Problem> {
    heartbeat(&ctx, &sent).await
}

/// Report a heartbeat, with an excerpt of a log
///
/// As GET. Of what went wrong the body may tell, a text of any kind, of which the end is kept.
#[utoipa::path(post, path = "/api/v1/push/{token}", tag = "push", params(("token" = String, Path), PushParams),
    request_body(content = String, content_type = "text/plain", description = "May be left out"),
    responses((status = 200, body = PushAnswer), (status = 400, response = super::openapi::ProblemResponse)))]
pub async fn post(State(ctx): Ctx, sent: Sent) -> Result<Json<PushAnswer>, Problem> {
    heartbeat(&ctx, &sent).await
}

/// Report the beginning, the failure or the exit code of a job
///
/// `start`: a job begins, and the time until its heartbeat is measured. `fail`: it failed. `0` to `255`: it ended with
/// this exit code. `log`: nothing of it is kept.
#[utoipa::path(get, path = "/api/v1/push/{token}/{signal}", tag = "push",
    params(("token" = String, Path), ("signal" = String, Path, example = "start"), PushParams),
    responses((status = 200, body = PushAnswer), (status = 400, response = super::openapi::ProblemResponse)))]
pub async fn get_signal(State(ctx): Ctx, sent: Sent) -> Result<Json<PushAnswer>, Problem> {
    heartbeat(&ctx, &sent).await
}

/// Report the beginning, the failure or the exit code of a job, with an excerpt of a log
#[utoipa::path(post, path = "/api/v1/push/{token}/{signal}", tag = "push",
    params(("token" = String, Path), ("signal" = String, Path, example = "fail"), PushParams),
    request_body(content = String, content_type = "text/plain", description = "May be left out"),
    responses((status = 200, body = PushAnswer), (status = 400, response = super::openapi::ProblemResponse)))]
pub async fn post_signal(State(ctx): Ctx, sent: Sent) -> Result<Json<PushAnswer>, Problem> {
    heartbeat(&ctx, &sent).await
}
