//! `/docs`: the interactive documentation, from the binary alone, and the document it shows.

use std::fmt;
use std::sync::{Arc, OnceLock};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::Config;

use super::error::Problem;
use super::pagination::Query;
use super::swagger;
use crate::domain::Timestamp;

/// Where the document is.
pub const DOCUMENT_PATH: &str = "/api/v1/openapi.json";

/// Only what the binary serves may be loaded, nothing written into a page runs, and no other page has a hold on
/// these. The pictures in the style sheet are written into it.
const PAGE_HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    // Asked for again with every version of the binary.
    (header::CACHE_CONTROL, "no-cache"),
];

/// The description of this API in both forms. It is written when it is first asked for: that takes many times the memory of
/// what comes of it, and most monitors are never asked.
#[derive(Clone)]
pub struct Documents {
    make: Arc<dyn Fn() -> OpenApi + Send + Sync>,
    written: Arc<OnceLock<Written>>,
    /// Since when they are as they are: the start of this process, which reads their configuration.
    last_modified: HeaderValue,
}

impl fmt::Debug for Documents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Documents").field("last_modified", &self.last_modified).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Written {
    openapi: Bytes,
    swagger: Bytes,
}

impl Documents {
    /// `make` gives the description in 3.1.
    pub fn new(make: impl Fn() -> OpenApi + Send + Sync + 'static, since: Timestamp) -> Self {
        let date = httpdate::fmt_http_date(since.into());
        Self {
            make: Arc::new(make),
            written: Arc::default(),
            last_modified: HeaderValue::try_from(date).unwrap_or_else(|_| HeaderValue::from_static("")),
        }
    }

    fn written(&self) -> &Written {
        self.written.get_or_init(|| {
            // Made of strings, numbers and maps with string keys, which JSON always has.
            let openapi = serde_json::to_value((self.make)()).unwrap_or_default();
            let text = |value: &serde_json::Value| Bytes::from(value.to_string());
            Written { swagger: text(&swagger::of(&openapi)), openapi: text(&openapi) }
        })
    }

    fn answer(self, document: Bytes) -> Response {
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (header::LAST_MODIFIED, self.last_modified),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        ];
        (headers, document).into_response()
    }
}

/// The description of this API in `OpenAPI` 3.1
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "server",
    responses(
        (status = 200, content_type = "application/json", body = serde_json::Value),
        (status = 400, response = super::openapi::ProblemResponse),
    ))]
pub async fn openapi(State(documents): State<Documents>, Query(()): Query<()>) -> Response {
    let document = documents.written().openapi.clone();
    documents.answer(document)
}

/// The description of this API in `OpenAPI` 3.1, under its short path
#[utoipa::path(get, path = "/openapi.json", tag = "server",
    responses(
        (status = 200, content_type = "application/json", body = serde_json::Value),
        (status = 400, response = super::openapi::ProblemResponse),
    ))]
pub async fn openapi_alias(documents: State<Documents>, query: Query<()>) -> Response {
    openapi(documents, query).await
}

/// The description of this API in `OpenAPI` 2.0 (Swagger)
///
/// For tools that know no later version. It says what the one in 3.1 says; where 2.0 has no words for it, in
/// `x-nullable` and `x-oneOf`.
#[utoipa::path(get, path = "/api/v1/swagger.json", tag = "server",
    responses(
        (status = 200, content_type = "application/json", body = serde_json::Value),
        (status = 400, response = super::openapi::ProblemResponse),
    ))]
pub async fn swagger(State(documents): State<Documents>, Query(()): Query<()>) -> Response {
    let document = documents.written().swagger.clone();
    documents.answer(document)
}

/// The interactive documentation
#[utoipa::path(get, path = "/docs", tag = "server",
    responses((status = 200, content_type = "text/html", body = String)))]
pub async fn index() -> Result<Response, Problem> {
    asset("index.html")
}

/// A file of the interactive documentation
#[utoipa::path(get, path = "/docs/{file}", tag = "server", params(("file" = String, Path)),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>)))]
pub async fn file(Path(path): Path<String>) -> Result<Response, Problem> {
    asset(&path)
}

fn asset(path: &str) -> Result<Response, Problem> {
    // "none": the built-in validator badge would ask a server elsewhere.
    let config = Arc::new(Config::from(DOCUMENT_PATH).validator_url("none").try_it_out_enabled(true));
    let missing = || Problem::of_status(StatusCode::NOT_FOUND);
    let file = utoipa_swagger_ui::serve(path, config)
        .map_err(|error| {
            tracing::error!(%error, path, "an asset of the documentation cannot be served");
            Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR)
        })?
        .ok_or_else(missing)?;
    let mut bytes = file.bytes.into_owned();
    if path == "index.html" {
        bytes = below_docs(&bytes);
    }
    let mut response = (PAGE_HEADERS, [(header::CONTENT_TYPE, file.content_type)], bytes).into_response();
    if file.gzpipped {
        response.headers_mut().insert(header::CONTENT_ENCODING, header::HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

/// The page is at `/docs` too, without a slash at the end, and its files are below that: what it refers to beside itself is
/// written out.
fn below_docs(page: &[u8]) -> Vec<u8> {
    let mut page = String::from_utf8_lossy(page).into_owned();
    for attribute in ["href=\"", "src=\""] {
        let mut parts = page.split(attribute);
        let mut whole = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let name = part.strip_prefix("./").unwrap_or(part);
            let target = name.split('"').next().unwrap_or_default();
            let is_beside = !target.starts_with(['/', '#']) && !target.contains(':');
            let folder = if is_beside { "/docs/" } else { "" };
            whole = format!("{whole}{attribute}{folder}{name}");
        }
        page = whole;
    }
    page.into_bytes()
}
