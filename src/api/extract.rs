//! Reading requests: bodies, ids and the preconditions of single resources. Each failure is a problem document
//! that names the place.

use std::fmt;
use std::marker::PhantomData;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::error::{Problem, ProblemKind};
use super::serve::BodyTooSlow;
use crate::domain::endpoint::EndpointId;
use crate::service::error::{FieldError, Place, Precondition};
use crate::service::merge_patch::pointer_of;

/// The longest body read, in bytes; a longer one is refused with 413.
pub const MAX_BODY_BYTES: usize = 1_048_576;

/// The longest path and query, in bytes; a longer one is refused with 414.
pub const MAX_URI_BYTES: usize = 8_192;

/// A JSON body. An absent one is refused.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

/// A JSON body that may be left out altogether.
#[derive(Debug)]
pub struct OptionalJsonBody<T>(pub Option<T>);

/// No body, or one that says nothing (`{}`, `null`). What says something is refused: whoever sends it expects it to be
/// obeyed.
#[derive(Debug, Clone, Copy)]
pub struct NoBody;

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (headers, bytes) = read_body(request).await?;
        if bytes.is_empty() {
            return Err(Problem::invalid(vec![FieldError::at("", "required", "A JSON body is needed")]));
        }
        check_content_type(&headers)?;
        parse_json(&bytes).map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for OptionalJsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (headers, bytes) = read_body(request).await?;
        if bytes.is_empty() {
            return Ok(Self(None));
        }
        check_content_type(&headers)?;
        if bytes.trim_ascii() == b"null" {
            return Ok(Self(None));
        }
        parse_json(&bytes).map(|body| Self(Some(body)))
    }
}

/// The fields that a body may have where none is read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl<S: Send + Sync> FromRequest<S> for NoBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        OptionalJsonBody::<Nothing>::from_request(request, state).await.map(|_| Self)
    }
}

/// An object within a body. Read by itself a list would stand for its fields in their order.
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields))
            }
        }

        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

async fn read_body(request: Request) -> Result<(HeaderMap, Bytes), Problem> {
    let (parts, body) = request.into_parts();
    Ok((parts.headers, read_bounded(body).await?))
}

/// The whole body, as long as one may be.
pub(super) async fn read_bounded(body: Body) -> Result<Bytes, Problem> {
    axum::body::to_bytes(body, MAX_BODY_BYTES).await.map_err(|e| {
        // Beside the bound, reading fails only when the client goes away in the middle.
        if std::error::Error::source(&e).is_some_and(|cause| cause.to_string().contains("length limit")) {
            too_large()
        } else if let Some(slow) = cause::<BodyTooSlow>(&e) {
            let detail = format!("The body did not arrive within {} s", slow.0.as_secs_f64());
            unread(Problem::new(ProblemKind::TooSlow, detail))
        } else {
            Problem::invalid(vec![FieldError::at("", "invalid", "The body ended before it was complete")])
        }
    })
}

/// The error of a type among those that led to an error.
fn cause<'e, E: std::error::Error + 'static>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e E> {
    let mut next: Option<&'e (dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

pub(super) fn too_large() -> Problem {
    unread(Problem::new(ProblemKind::TooLarge, format!("A body has at most {MAX_BODY_BYTES} bytes")))
}

/// The rest of the body is not read, so nothing else can come over this connection, and the client is told so.
fn unread(problem: Problem) -> Problem {
    problem.with_header(header::CONNECTION, HeaderValue::from_static("close"))
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json")) {
        return Ok(());
    }
    Err(Problem::new(ProblemKind::UnsupportedMediaType, "Send the body with `Content-Type: application/json`"))
}

fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let pointer = pointer_of(error.path());
        json_problem(pointer, error.inner())
    })?;
    deserializer.end().map_err(|error| json_problem(String::new(), &error))?;
    // Read by itself a list would stand for the fields in their order.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Problem::invalid(vec![FieldError::at("", "invalid", "The body must be a JSON object")]));
    }
    Ok(parsed)
}

fn json_problem(pointer: String, error: &serde_json::Error) -> Problem {
    use serde_json::error::Category;
    let entry = match error.classify() {
        Category::Data => {
            let rule = if error.to_string().starts_with("unknown field") { "unknown" } else { "invalid" };
            FieldError::at(pointer, rule, bare_message(error))
        }
        Category::Syntax | Category::Eof | Category::Io => FieldError::at(
            "",
            "invalid",
            format!("Not JSON at line {} column {}: {}", error.line(), error.column(), bare_message(error)),
        ),
    };
    Problem::invalid(vec![entry])
}

/// The message of `serde_json` without its position.
fn bare_message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message).to_owned()
}

/// The id of an endpoint in the path. Digits that no id can have name no endpoint; anything else is bad input.
#[derive(Debug, Clone, Copy)]
pub struct EndpointPath(pub EndpointId);

impl<S: Send + Sync> FromRequestParts<S> for EndpointPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        id_in_path(parts, state, "an endpoint").await.map(|id| Self(EndpointId(id)))
    }
}

/// The id of an incident in the path, read as [`EndpointPath`].
#[derive(Debug, Clone, Copy)]
pub struct IncidentPath(pub i64);

impl<S: Send + Sync> FromRequestParts<S> for IncidentPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        id_in_path(parts, state, "an incident").await.map(Self)
    }
}

/// The id of a silence in the path, read as [`EndpointPath`].
#[derive(Debug, Clone, Copy)]
pub struct SilencePath(pub i64);

impl<S: Send + Sync> FromRequestParts<S> for SilencePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        id_in_path(parts, state, "a silence").await.map(Self)
    }
}

async fn id_in_path<S: Send + Sync>(parts: &mut Parts, state: &S, of: &str) -> Result<i64, Problem> {
    let TextPath(text) = TextPath::from_request_parts(parts, state).await?;
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        let detail = format!("must be the id of {of}: a whole number");
        return Err(Problem::invalid(vec![FieldError::parameter("id", "invalid", detail)]));
    }
    text.parse().map_err(|_| {
        Problem::new(ProblemKind::NotFound, format!("This is not the id of {of}: it is larger than any id can be"))
    })
}

/// The one parameter of the path, as text.
#[derive(Debug, Clone)]
pub struct TextPath(pub String);

impl<S: Send + Sync> FromRequestParts<S> for TextPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Path::<String>::from_request_parts(parts, state).await.map(|Path(text)| Self(text)).map_err(|_| path_problem())
    }
}

/// Group and name in the path; without a group the name alone.
#[derive(Debug, Clone)]
pub struct KeyPath {
    pub group: String,
    pub name: String,
}

impl<S: Send + Sync> FromRequestParts<S> for KeyPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(segments) =
            Path::<Vec<(String, String)>>::from_request_parts(parts, state).await.map_err(|_| path_problem())?;
        let mut key = Self { group: String::new(), name: String::new() };
        for (parameter, value) in segments {
            match parameter.as_str() {
                "group" => key.group = value,
                _ => key.name = value,
            }
        }
        Ok(key)
    }
}

fn path_problem() -> Problem {
    Problem::invalid(vec![FieldError::parameter("path", "invalid", "must be percent-encoded UTF-8")])
}

/// The revision demanded by `If-Match` of a resource that is changed only where it is there; `None` without the header
/// or with `*`.
#[derive(Debug, Clone, Copy)]
pub struct IfMatch(pub Option<i64>);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match if_match(&parts.headers)? {
            Precondition::Revision(revision) => Ok(Self(Some(revision))),
            Precondition::Nothing | Precondition::IsThere | Precondition::NotThere => Ok(Self(None)),
        }
    }
}

/// What `If-Match` and `If-None-Match` demand of a resource that is made by PUT where it is not there.
#[derive(Debug, Clone, Copy)]
pub struct IfThere(pub Precondition);

impl<S: Send + Sync> FromRequestParts<S> for IfThere {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let if_match = if_match(&parts.headers)?;
        let Some(none_match) = parts.headers.get(header::IF_NONE_MATCH) else { return Ok(Self(if_match)) };
        if none_match.as_bytes().trim_ascii() != b"*" {
            let detail = "must be *: make it only where it is not there yet";
            return Err(wrong_header("If-None-Match", "invalid", detail));
        }
        if if_match != Precondition::Nothing {
            let detail = "excludes If-Match: the one asks for a resource that is there, the other for none";
            return Err(wrong_header("If-None-Match", "conflict", detail));
        }
        Ok(Self(Precondition::NotThere))
    }
}

fn if_match(headers: &HeaderMap) -> Result<Precondition, Problem> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(Precondition::Nothing) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(Precondition::IsThere);
    }
    let revision = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).and_then(|t| t.parse().ok());
    let detail = "must be the ETag of this resource, such as \"3\", or *";
    revision.map(Precondition::Revision).ok_or_else(|| wrong_header("If-Match", "invalid", detail))
}

fn wrong_header(name: &'static str, rule: &'static str, detail: &str) -> Problem {
    Problem::invalid(vec![FieldError { place: Place::Header(name), rule, detail: detail.to_owned() }])
}

/// The `ETag` of a revision.
pub fn etag(revision: i64) -> (header::HeaderName, String) {
    (header::ETAG, format!("\"{revision}\""))
}

/// Whether `Accept` lets us answer with JSON. A request without the header accepts everything.
pub fn accepts_json(headers: &HeaderMap) -> bool {
    accepts(headers, "application/json", "application/*")
}

/// Whether the client takes server-sent events.
pub fn accepts_events(headers: &HeaderMap) -> bool {
    accepts(headers, "text/event-stream", "text/*")
}

/// Whether the client takes a media type, such as `text/csv`.
pub fn accepts_type(headers: &HeaderMap, kind: &str) -> bool {
    let family = kind.split_once('/').map_or_else(String::new, |(family, _)| format!("{family}/*"));
    accepts(headers, kind, &family)
}

fn accepts(headers: &HeaderMap, exactly: &str, family: &str) -> bool {
    let mut given = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).peekable();
    if given.peek().is_none() {
        return true;
    }
    // The most specific matching range decides, so that `*/*, application/json;q=0` refuses.
    let mut best: Option<(u8, bool)> = None;
    for range in given.flat_map(|v| v.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let specificity = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            range if range == exactly => 2,
            range if range == family => 1,
            "*/*" | "*" => 0,
            _ => continue,
        };
        let refused = parts
            .any(|p| p.strip_prefix("q=").is_some_and(|q| q.trim().parse::<f32>().is_ok_and(|weight| weight <= 0.0)));
        if best.is_none_or(|(known, _)| specificity >= known) {
            best = Some((specificity, !refused));
        }
    }
    best.is_some_and(|(_, accepted)| accepted)
}

/// The problem for a path that the router does not know, and `OPTIONS` on one that it does.
pub(super) async fn no_such_method(request: Request) -> Result<StatusCode, Problem> {
    // axum adds `Allow` to whatever this answers.
    if request.method() == axum::http::Method::OPTIONS {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::of_status(StatusCode::METHOD_NOT_ALLOWED))
}
