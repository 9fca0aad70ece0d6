//! Conditional requests: whoever has an answer already is told that it still holds (RFC 9110, section 13).
//!
//! Answers that change from request to request cost nothing by it but a hash. What only administrators may read is
//! kept by nobody. Resources with a revision have that as their `ETag`, for `If-Match`; it counts changes of their
//! settings, not of what is seen of them, and so says nothing about an answer.

use std::hash::{DefaultHasher, Hasher};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::policy::{self, Needs};
use crate::domain::role::Role;

/// Longer answers are sent as they are: exports and files.
const MAX_TAGGED_BYTES: u64 = 4 * 1024 * 1024;

/// For whoever asked, and to be asked for again each time.
const REVALIDATE: HeaderValue = HeaderValue::from_static("private, no-cache");

/// The layer around the routes: gives JSON answers a weak `ETag`, and answers 304 to `If-None-Match`, or, where an
/// answer says when it was changed, to `If-Modified-Since`.
pub async fn revalidate(request: Request, next: Next) -> Response {
    let template = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let keeps_nothing = template.is_none_or(|template| policy::needs("GET", &template) == Needs::Role(Role::Admin));
    // What answers HEAD is the answer to GET; its body is dropped outside of this layer.
    if !matches!(*request.method(), Method::GET | Method::HEAD) || keeps_nothing {
        return next.run(request).await;
    }
    let asked = Asked::of(request.headers());
    let response = next.run(request).await;
    if response.status() != StatusCode::OK {
        return response;
    }
    let response = tagged(response).await;
    if asked.has(response.headers()) { not_modified(response) } else { response }
}

/// What the client has.
#[derive(Debug)]
struct Asked {
    none_match: Option<Vec<String>>,
    modified_since: Option<std::time::SystemTime>,
}

impl Asked {
    fn of(headers: &HeaderMap) -> Self {
        let listed: Vec<String> = headers
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|tag| weakened(tag.trim()).to_owned())
            .collect();
        let since = headers.get(header::IF_MODIFIED_SINCE).and_then(|value| value.to_str().ok());
        Self {
            none_match: headers.contains_key(header::IF_NONE_MATCH).then_some(listed),
            modified_since: since.and_then(|since| httpdate::parse_http_date(since).ok()),
        }
    }

    /// Whether the client has this answer. Dates count only without tags.
    fn has(&self, headers: &HeaderMap) -> bool {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        if let Some(tags) = &self.none_match {
            // A strong tag here is a revision, which is no tag of the whole answer.
            return text(header::ETAG)
                .filter(|tag| tag.starts_with("W/"))
                .is_some_and(|tag| tags.iter().any(|asked| asked == weakened(tag) || asked == "*"));
        }
        let changed = text(header::LAST_MODIFIED).and_then(|at| httpdate::parse_http_date(at).ok());
        matches!((changed, self.modified_since), (Some(changed), Some(since)) if changed <= since)
    }
}

/// A tag as it is compared: weak ones as strong ones.
fn weakened(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

async fn tagged(response: Response) -> Response {
    let headers = response.headers();
    let is_json = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    let is_decided = headers.get(header::CACHE_CONTROL).is_some_and(|value| value == "no-store");
    let is_whole = response.body().size_hint().upper().is_some_and(|bytes| bytes <= MAX_TAGGED_BYTES);
    if !is_json || is_decided || !is_whole || headers.contains_key(header::ETAG) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let limit = usize::try_from(MAX_TAGGED_BYTES).unwrap_or(usize::MAX);
    let Ok(bytes) = axum::body::to_bytes(body, limit).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    if let Ok(tag) = HeaderValue::try_from(format!("W/\"{:016x}\"", digest(&bytes))) {
        parts.headers.insert(header::ETAG, tag);
    }
    parts.headers.entry(header::CACHE_CONTROL).or_insert(REVALIDATE);
    Response::from_parts(parts, Body::from(bytes))
}

/// Told apart are the answers of one route, by chance alike once in 2^64; nobody gains by making two alike.
fn digest(bytes: &Bytes) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

fn not_modified(response: Response) -> Response {
    let (mut parts, _) = response.into_parts();
    parts.status = StatusCode::NOT_MODIFIED;
    parts.headers.remove(header::CONTENT_TYPE);
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::empty())
}
