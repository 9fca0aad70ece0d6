//! The `OpenAPI` document: what the handlers declare, completed with what is the same for all of them.

use axum::http::StatusCode;
use utoipa::openapi::path::{HttpMethod, Operation, PathItem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, License, ObjectBuilder, OpenApi, OpenApiBuilder, Ref, RefOr,
    Response, ResponseBuilder, Type,
};
use utoipa::{PartialSchema, ToResponse, ToSchema};

use super::error::{ProblemDocument, ProblemEntry, ProblemKind};
use super::policy::{self, Needs};
use crate::domain::role::Role;

/// The name of the one problem response that every operation refers to.
const PROBLEM: &str = "Problem";

/// A problem document, in the declarations of handlers.
#[derive(Debug)]
pub struct ProblemResponse;

impl<'r> ToResponse<'r> for ProblemResponse {
    fn response() -> (&'r str, RefOr<Response>) {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(PROBLEM))).build();
        let kinds = ProblemKind::ALL.map(|kind| {
            let (name, title, status) = kind.facts();
            format!("`urn:api-monitor:problem:{name}` ({}): {title}", status.as_u16())
        });
        let description = format!("A problem document (RFC 9457). Types: {}", kinds.join("; "));
        let response =
            ResponseBuilder::new().description(description).content("application/problem+json", content).build();
        (PROBLEM, response.into())
    }
}

/// The document before any route is in it.
pub fn blank() -> OpenApi {
    let description = "Endpoints are watched, checks are recorded, uptime is exact. Errors are problem documents; \
                       times are RFC 3339 in UTC; secrets are write-only and read `***`.";
    let info = InfoBuilder::new()
        .title("api-monitor")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(description))
        .license(Some(License::new("MIT")))
        .build();
    OpenApiBuilder::new().info(info).build()
}

/// Adds security, and to every operation the problems it can answer with. `key_is_needed`: a key is configured; without
/// one, everybody may read, and programs on this machine may do everything.
pub fn complete(mut document: OpenApi, key_header: &str, key_is_needed: bool) -> OpenApi {
    let (name, response) = ProblemResponse::response();
    let mut schemas = Vec::new();
    ProblemDocument::schemas(&mut schemas);
    let components = std::mem::take(&mut document.components).unwrap_or_default();
    let mut builder = ComponentsBuilder::from(components)
        .schema(PROBLEM, ProblemDocument::schema())
        .schema(ProblemEntry::name(), ProblemEntry::schema())
        .security_scheme(
            "api_key",
            SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
                key_header,
                "A key of `api.auth` (API_KEY) or one made at /api/v1/api-keys. Needed for everything but what is open \
                 when a key is configured",
            ))),
        )
        .security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)))
        .security_scheme(
            "session",
            SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(
                "api_monitor_session",
                "The cookie of a session begun at /api/v1/sessions; over HTTPS its name begins with `__Host-`. Changes \
                 need the `Origin` of this server beside it",
            ))),
        );
    for (name, schema) in schemas {
        builder = builder.schema(name, schema);
    }
    let mut components = builder.build();
    components.responses.insert(name.to_owned(), response);
    document.components = Some(components);
    document.security = Some(any_way(key_is_needed));
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            name_operation(path, &method, operation);
            shape_headers(operation);
            describe_responses(operation);
            add_problems(path, &method, operation, key_is_needed);
        }
    }
    document
}

/// Ids are unique in the whole document: the method and the path, as generated clients name their functions.
fn name_operation(path: &str, method: &HttpMethod, operation: &mut Operation) {
    let (of, below) = path.strip_prefix("/api/v1/").map_or(("root", path), |below| ("", below));
    let words = below.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let method = method_name(method).to_lowercase();
    let parts: Vec<&str> = [method.as_str(), of].into_iter().filter(|part| !part.is_empty()).chain(words).collect();
    operation.operation_id = Some(parts.join("_"));
}

/// The form of the headers that several operations know.
fn shape_headers(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        let RefOr::T(parameter) = parameter else { continue };
        let pattern = match parameter.name.as_str() {
            "If-Match" => r#"^(\*|"[0-9]{1,18}")$"#,
            "If-None-Match" => r"^\*$",
            _ => continue,
        };
        parameter.schema = Some(ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).into());
    }
}

/// Each response has a description, which the specification requires.
fn describe_responses(operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && response.description.is_empty()
        {
            let reason = status.parse::<u16>().ok().and_then(|status| StatusCode::from_u16(status).ok());
            let reason = reason.and_then(|reason| reason.canonical_reason()).unwrap_or("Answer");
            reason.clone_into(&mut response.description);
        }
    }
}

/// One of the headers, or the cookie of a session; where no key is configured, none of them will do too.
fn any_way(key_is_needed: bool) -> Vec<SecurityRequirement> {
    let no_scopes: [&str; 0] = [];
    let nothing = (!key_is_needed).then(SecurityRequirement::default);
    let ways = ["api_key", "bearer", "session"].map(|scheme| SecurityRequirement::new(scheme, no_scopes));
    ways.into_iter().chain(nothing).collect()
}

fn method_name(method: &HttpMethod) -> &'static str {
    match method {
        HttpMethod::Put => "PUT",
        HttpMethod::Post => "POST",
        HttpMethod::Delete => "DELETE",
        HttpMethod::Patch => "PATCH",
        _ => "GET",
    }
}

fn operations(item: &mut PathItem) -> Vec<(HttpMethod, &mut Operation)> {
    [
        (HttpMethod::Get, &mut item.get),
        (HttpMethod::Put, &mut item.put),
        (HttpMethod::Post, &mut item.post),
        (HttpMethod::Delete, &mut item.delete),
        (HttpMethod::Patch, &mut item.patch),
    ]
    .into_iter()
    .filter_map(|(method, operation)| operation.as_mut().map(|operation| (method, operation)))
    .collect()
}

fn add_problems(path: &str, method: &HttpMethod, operation: &mut Operation, key_is_needed: bool) {
    let needs = policy::needs(method_name(method), path);
    let mut statuses = vec!["405", "414", "500", "503"];
    if !path.starts_with("/health") {
        statuses.push("429");
    }
    if !path.starts_with("/docs") {
        statuses.push("406");
    }
    match needs {
        Needs::Open => operation.security = Some(vec![SecurityRequirement::default()]),
        Needs::Role(role) => {
            operation.security = Some(any_way(key_is_needed));
            operation.extensions.get_or_insert_default().insert("x-required-role".to_owned(), role.as_str().into());
            let sentence = format!("Needs the role `{role}`.");
            operation.description = Some(match operation.description.take() {
                Some(text) if !text.is_empty() => format!("{text}\n\n{sentence}"),
                _ => sentence,
            });
            statuses.extend(["400", "401"]);
            // Who has signed in changes things from pages of this server only.
            if role > Role::Viewer || !matches!(method, HttpMethod::Get) {
                statuses.push("403");
            }
        }
    }
    if !matches!(method, HttpMethod::Get) {
        statuses.push("413");
    }
    // Where no body is declared one that says something is refused all the same; a deletion reads none.
    if !matches!(method, HttpMethod::Get | HttpMethod::Delete) {
        statuses.extend(["408", "415"]);
    }
    if path.contains('{') {
        statuses.push("404");
    }
    let is_json = operation.responses.responses.get("200").is_some_and(|response| match response {
        RefOr::T(response) => response.content.contains_key("application/json"),
        RefOr::Ref(_) => false,
    });
    if matches!(method, HttpMethod::Get) && is_json && needs != Needs::Role(Role::Admin) {
        let not_modified = ResponseBuilder::new().description("The client has this answer, by its `ETag` or date");
        operation.responses.responses.entry("304".to_owned()).or_insert(not_modified.build().into());
    }
    for status in statuses {
        let problem = RefOr::Ref(Ref::from_response_name(PROBLEM));
        operation.responses.responses.entry(status.to_owned()).or_insert(problem);
    }
}
