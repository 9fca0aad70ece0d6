//! Problem documents (RFC 9457): the one place where errors of verbs, of extractors and of the router become
//! `application/problem+json`.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::service::StoreError;
use crate::service::error::{Conflict, FieldError, Place, ServiceError};

/// The prefix of every problem type. A URN, so that it is stable without a domain.
const TYPE_PREFIX: &str = "urn:api-monitor:problem:";

/// The code of every entry in `errors`.
const INVALID_PARAMETER: &str = "InvalidParameter";

/// As many mistakes are told of a request.
const MAX_ERRORS: usize = 100;

/// The kinds of problems: type, title and status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    InvalidParameter,
    Unauthorized,
    Forbidden,
    ForeignOrigin,
    NotFound,
    MethodNotAllowed,
    NotAcceptable,
    NameTaken,
    ManagedByConfig,
    NothingToRetry,
    NothingToCheck,
    IncidentOver,
    ChecksFail,
    TooManyNotes,
    ChannelOff,
    LastAdmin,
    ChannelInUse,
    TooManyChannels,
    TooManyGroups,
    BackupRunning,
    NothingToSignInTo,
    ImplicitGroup,
    TooManyCollections,
    TaskRunning,
    Stale,
    TooLarge,
    UriTooLong,
    UnsupportedMediaType,
    RangeNotSatisfiable,
    TooSlow,
    RateLimited,
    Internal,
    Unavailable,
}

impl ProblemKind {
    /// Every kind, for the documentation.
    pub const ALL: [Self; 33] = [
        Self::InvalidParameter,
        Self::Unauthorized,
        Self::Forbidden,
        Self::ForeignOrigin,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::NameTaken,
        Self::ManagedByConfig,
        Self::NothingToRetry,
        Self::NothingToCheck,
        Self::IncidentOver,
        Self::ChecksFail,
        Self::TooManyNotes,
        Self::ChannelOff,
        Self::LastAdmin,
        Self::ChannelInUse,
        Self::TooManyChannels,
        Self::TooManyGroups,
        Self::BackupRunning,
        Self::NothingToSignInTo,
        Self::ImplicitGroup,
        Self::TooManyCollections,
        Self::TaskRunning,
        Self::Stale,
        Self::TooLarge,
        Self::UriTooLong,
        Self::UnsupportedMediaType,
        Self::RangeNotSatisfiable,
        Self::TooSlow,
        Self::RateLimited,
        Self::Internal,
        Self::Unavailable,
    ];

    /// The last part of the type URN, the title, the status.
    pub fn facts(self) -> (&'static str, &'static str, StatusCode) {
        match self {
            Self::InvalidParameter => ("invalid-parameter", "The request is not valid", StatusCode::BAD_REQUEST),
            Self::Unauthorized => ("unauthorized", "A valid API key is needed", StatusCode::UNAUTHORIZED),
            Self::Forbidden => ("forbidden", "This is not allowed", StatusCode::FORBIDDEN),
            Self::ForeignOrigin => ("foreign-origin", "A page from elsewhere asks", StatusCode::FORBIDDEN),
            Self::NotFound => ("not-found", "There is nothing here", StatusCode::NOT_FOUND),
            Self::MethodNotAllowed => {
                ("method-not-allowed", "This resource has no such method", StatusCode::METHOD_NOT_ALLOWED)
            }
            Self::NotAcceptable => ("not-acceptable", "No acceptable representation", StatusCode::NOT_ACCEPTABLE),
            Self::NameTaken => ("name-taken", "The name is taken", StatusCode::CONFLICT),
            Self::ManagedByConfig => ("managed-by-config", "Managed by the configuration", StatusCode::CONFLICT),
            Self::NothingToCheck => ("nothing-to-check", "It reports by itself", StatusCode::CONFLICT),
            Self::NothingToRetry => ("nothing-to-retry", "Nothing can be sent again", StatusCode::CONFLICT),
            Self::IncidentOver => ("incident-over", "The incident is over", StatusCode::CONFLICT),
            Self::ChecksFail => ("checks-fail", "Its checks fail", StatusCode::CONFLICT),
            Self::TooManyNotes => ("too-many-notes", "There are too many notes", StatusCode::CONFLICT),
            Self::ChannelOff => ("channel-off", "The channel is off", StatusCode::CONFLICT),
            Self::LastAdmin => ("last-admin", "Nobody could manage keys", StatusCode::CONFLICT),
            Self::ChannelInUse => ("channel-in-use", "Something names the channel", StatusCode::CONFLICT),
            Self::TooManyChannels => ("too-many-channels", "There are too many channels", StatusCode::CONFLICT),
            Self::TooManyGroups => ("too-many-groups", "There are too many groups", StatusCode::CONFLICT),
            Self::BackupRunning => ("backup-running", "A backup is being made", StatusCode::CONFLICT),
            Self::RangeNotSatisfiable => {
                ("range-not-satisfiable", "There is no such part", StatusCode::RANGE_NOT_SATISFIABLE)
            }
            Self::NothingToSignInTo => ("nothing-to-sign-in-to", "No key is needed here", StatusCode::CONFLICT),
            Self::ImplicitGroup => ("implicit-group", "Nobody has declared the group", StatusCode::CONFLICT),
            Self::TooManyCollections => {
                ("too-many-collections", "There can be no more collections", StatusCode::BAD_REQUEST)
            }
            Self::TaskRunning => ("task-running", "The task is running", StatusCode::CONFLICT),
            Self::Stale => ("stale", "The resource has changed", StatusCode::PRECONDITION_FAILED),
            Self::TooLarge => ("too-large", "The body is too large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::UriTooLong => ("uri-too-long", "The path and query are too long", StatusCode::URI_TOO_LONG),
            Self::TooSlow => ("too-slow", "The body took too long to arrive", StatusCode::REQUEST_TIMEOUT),
            Self::RateLimited => ("rate-limited", "Too many requests", StatusCode::TOO_MANY_REQUESTS),
            Self::UnsupportedMediaType => {
                ("unsupported-media-type", "The body must be JSON", StatusCode::UNSUPPORTED_MEDIA_TYPE)
            }
            Self::Internal => ("internal", "Something went wrong here", StatusCode::INTERNAL_SERVER_ERROR),
            Self::Unavailable => ("unavailable", "Not possible at this moment", StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::UNAUTHORIZED => Self::Unauthorized,
            StatusCode::FORBIDDEN => Self::Forbidden,
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::NOT_ACCEPTABLE => Self::NotAcceptable,
            StatusCode::PRECONDITION_FAILED => Self::Stale,
            StatusCode::PAYLOAD_TOO_LARGE => Self::TooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::UnsupportedMediaType,
            StatusCode::URI_TOO_LONG => Self::UriTooLong,
            StatusCode::RANGE_NOT_SATISFIABLE => Self::RangeNotSatisfiable,
            StatusCode::REQUEST_TIMEOUT => Self::TooSlow,
            StatusCode::TOO_MANY_REQUESTS => Self::RateLimited,
            StatusCode::SERVICE_UNAVAILABLE => Self::Unavailable,
            other if other.is_client_error() => Self::InvalidParameter,
            _ => Self::Internal,
        }
    }
}

/// A problem on its way to a client. [`render`](Problem::render) writes it once the path is known.
#[derive(Debug, Clone)]
pub struct Problem {
    kind: ProblemKind,
    detail: String,
    errors: Vec<FieldError>,
    headers: Vec<(header::HeaderName, HeaderValue)>,
}

/// The document itself.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDocument {
    /// A stable URI naming the kind of problem.
    #[serde(rename = "type")]
    #[schema(example = "urn:api-monitor:problem:invalid-parameter")]
    kind: String,
    /// The kind in words; the same for every problem of a type.
    title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What was wrong in this request, and what would be right.
    detail: String,
    /// The path of the request.
    instance: String,
    /// Every mistake in the input, for bad input.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ProblemEntry>,
}

/// One mistake in the input.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProblemEntry {
    /// JSON pointer into the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    /// Parameter of the query or the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<String>,
    /// Request header.
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<&'static str>,
    /// Always `InvalidParameter`.
    #[schema(example = "InvalidParameter")]
    code: &'static str,
    /// `required`, `invalid`, `out_of_range`, `conflict`, `unknown`.
    rule: &'static str,
    /// What is wrong and what would be right.
    detail: String,
}

impl From<&FieldError> for ProblemEntry {
    fn from(error: &FieldError) -> Self {
        let (pointer, parameter, header) = match &error.place {
            Place::Pointer(pointer) => (Some(pointer.clone()), None, None),
            Place::Parameter(name) => (None, Some(name.clone()), None),
            Place::Header(name) => (None, None, Some(*name)),
        };
        Self { pointer, parameter, header, code: INVALID_PARAMETER, rule: error.rule, detail: error.detail.clone() }
    }
}

impl Problem {
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), errors: Vec::new(), headers: Vec::new() }
    }

    /// Bad input; the detail sums the mistakes up. Of very many the first [`MAX_ERRORS`] are told.
    pub fn invalid(mut errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [one] => match &one.place {
                Place::Pointer(pointer) if pointer.is_empty() => one.detail.clone(),
                Place::Pointer(place) | Place::Parameter(place) => format!("{place}: {}", one.detail),
                Place::Header(name) => format!("{name}: {}", one.detail),
            },
            many => format!("{} things are wrong; see `errors`", many.len()),
        };
        errors.truncate(MAX_ERRORS);
        Self { errors, ..Self::new(ProblemKind::InvalidParameter, detail) }
    }

    #[must_use]
    pub fn with_header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The database is needed, and away.
    pub fn database_away() -> Self {
        let sentence = "The database cannot be reached at this moment; checks go on, and what they find is kept";
        Self::new(ProblemKind::Unavailable, sentence).with_header(header::RETRY_AFTER, HeaderValue::from_static("5"))
    }

    /// The problem that stands for an error response made by a library.
    pub fn of_status(status: StatusCode) -> Self {
        let kind = ProblemKind::of_status(status);
        let detail = match kind {
            ProblemKind::NotFound => "No resource has this path; the routes are described at /docs",
            ProblemKind::MethodNotAllowed => "The methods of this resource are in the `Allow` header",
            ProblemKind::Unavailable => "The request took too long and was given up",
            ProblemKind::Internal => "The cause is in the log of the monitor, beside the request id",
            _ => "The request could not be understood",
        };
        Self::new(kind, detail)
    }

    pub fn status(&self) -> StatusCode {
        self.kind.facts().2
    }

    /// The document, for a request to `path`.
    pub fn document(&self, path: &str) -> ProblemDocument {
        let (name, title, status) = self.kind.facts();
        ProblemDocument {
            kind: format!("{TYPE_PREFIX}{name}"),
            title,
            status: status.as_u16(),
            detail: self.detail.clone(),
            instance: path.to_owned(),
            errors: self.errors.iter().map(ProblemEntry::from).collect(),
        }
    }

    /// The response, for a request to `path`.
    pub fn render(&self, path: &str) -> Response {
        let (document, status) = (self.document(path), self.status());
        // A document of strings and numbers always serializes.
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
        response
    }
}

impl IntoResponse for Problem {
    /// Carries the problem to the outermost layer, which knows the path and renders it.
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.kind.facts().2;
        response.extensions_mut().insert(self);
        response
    }
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        let detail = error.to_string();
        match error {
            ServiceError::Invalid(errors) => Self::invalid(errors),
            ServiceError::NotFound(_) => Self::new(ProblemKind::NotFound, capitalised(&detail)),
            ServiceError::Conflict(
                Conflict::NameTaken { .. }
                | Conflict::KeyNameTaken { .. }
                | Conflict::ChannelNameTaken { .. }
                | Conflict::GroupNameTaken { .. }
                | Conflict::WindowNameTaken { .. },
            ) => Self::new(ProblemKind::NameTaken, capitalised(&detail)),
            ServiceError::Conflict(Conflict::ManagedByConfig { .. }) => {
                Self::new(ProblemKind::ManagedByConfig, capitalised(&detail))
            }
            ServiceError::Conflict(Conflict::NothingToCheck { .. }) => {
                Self::new(ProblemKind::NothingToCheck, capitalised(&detail))
            }
            ServiceError::Conflict(Conflict::NothingToRetry { .. }) => {
                Self::new(ProblemKind::NothingToRetry, capitalised(&detail))
            }
            ServiceError::Conflict(Conflict::IncidentOver { .. }) => {
                Self::new(ProblemKind::IncidentOver, capitalised(&detail))
            }
            ServiceError::Conflict(Conflict::ChecksFail { .. }) => {
                Self::new(ProblemKind::ChecksFail, capitalised(&detail))
            }
            ServiceError::Conflict(Conflict::TooManyNotes { .. }) => {
                Self::new(ProblemKind::TooManyNotes, capitalised(&detail))
            }
            ServiceError::Conflict(Conflict::ChannelOff { .. }) => {
                Self::new(ProblemKind::ChannelOff, capitalised(&detail))
            }
            ServiceError::Conflict(Conflict::BackupRunning { .. }) => {
                Self::new(ProblemKind::BackupRunning, capitalised(&detail))
            }
            ServiceError::Conflict(Conflict::LastAdmin { .. }) => {
                Self::new(ProblemKind::LastAdmin, capitalised(&detail))
            }
            ServiceError::Conflict(Conflict::ChannelInUse { .. }) => {
                Self::new(ProblemKind::ChannelInUse, capitalised(&detail))
            }
            ServiceError::Conflict(Conflict::TooManyChannels { .. }) => {
                Self::new(ProblemKind::TooManyChannels, capitalised(&detail))
            }
            ServiceError::Conflict(Conflict::TooManyGroups { .. }) => {
                Self::new(ProblemKind::TooManyGroups, capitalised(&detail))
            }
            ServiceError::Conflict(Conflict::ImplicitGroup { .. }) => {
                Self::new(ProblemKind::ImplicitGroup, capitalised(&detail))
            }
            ServiceError::Conflict(Conflict::TooManyCollections { .. }) => {
                Self::new(ProblemKind::TooManyCollections, capitalised(&detail))
            }
            ServiceError::Conflict(Conflict::TaskRunning { .. }) => {
                Self::new(ProblemKind::TaskRunning, capitalised(&detail))
            }
            ServiceError::Forbidden(_) => Self::new(ProblemKind::Forbidden, detail),
            ServiceError::Stale { revision } => {
                Self::new(ProblemKind::Stale, format!("The resource is now at revision {revision}: read it again"))
            }
            ServiceError::NotThere => {
                Self::new(ProblemKind::Stale, "There is no such resource, and If-Match asks for one")
            }
            ServiceError::IsThere => {
                Self::new(ProblemKind::Stale, "There is such a resource, and If-None-Match asks for none")
            }
            ServiceError::Unavailable(_) => Self::new(ProblemKind::Unavailable, detail),
            ServiceError::Store(StoreError::Unavailable(cause)) => {
                tracing::warn!(%cause, "the database is away");
                Self::database_away()
            }
            ServiceError::Store(cause) => {
                tracing::error!(error = %cause, "a request failed in the store");
                Self::of_status(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }
}

fn capitalised(sentence: &str) -> String {
    let mut chars = sentence.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
