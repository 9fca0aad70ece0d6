//! Who may do what: the one table of every route, with what it needs. The guard obeys it, the description of the
//! API is made from it, and docs/api.md has a copy that a test compares.
//!
//! A route that is not in here is refused to everybody.

use axum::http::Method;

use crate::domain::role::Role;

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing at all, not even a key.
    Open,
    /// Somebody with this role, or one above it.
    Role(Role),
}

const OPEN: Needs = Needs::Open;
const VIEWER: Needs = Needs::Role(Role::Viewer);
const OPERATOR: Needs = Needs::Role(Role::Operator);
const EDITOR: Needs = Needs::Role(Role::Editor);
const ADMIN: Needs = Needs::Role(Role::Admin);

/// Method, template of the path, what it needs. `HEAD` needs what `GET` needs; `OPTIONS` is always open.
pub type Row = (&'static str, &'static str, Needs);

/// The table.
pub const ROWS: &[Row] = &[
    ("GET", "/", VIEWER),
    ("GET", "/api/", VIEWER),
    ("GET", "/health", OPEN),
    ("GET", "/health/live", OPEN),
    ("GET", "/health/ready", OPEN),
    ("GET", "/health/ssl", VIEWER),
    ("GET", "/docs", OPEN),
    ("GET", "/docs/", OPEN),
    ("GET", "/docs/{file}", OPEN),
    ("GET", "/openapi.json", OPEN),
    ("GET", "/acknowledge/{token}", OPEN),
    ("POST", "/acknowledge/{token}", OPEN),
    ("GET", "/api/v1/push/{token}", OPEN),
    ("POST", "/api/v1/push/{token}", OPEN),
    ("GET", "/api/v1/push/{token}/{signal}", OPEN),
    ("POST", "/api/v1/push/{token}/{signal}", OPEN),
    ("GET", "/ping/{token}", OPEN),
    ("POST", "/ping/{token}", OPEN),
    ("GET", "/ping/{token}/{signal}", OPEN),
    ("POST", "/ping/{token}/{signal}", OPEN),
    ("GET", "/api/push/{token}", OPEN),
    ("POST", "/api/push/{token}", OPEN),
    ("GET", "/api/v1/openapi.json", OPEN),
    ("GET", "/api/v1/swagger.json", OPEN),
    ("GET", "/api/v1/endpoints", VIEWER),
    ("POST", "/api/v1/endpoints", EDITOR),
    ("POST", "/api/v1/endpoints/bulk", EDITOR),
    ("POST", "/api/v1/endpoints/test", OPERATOR),
    ("GET", "/api/v1/endpoints/{id}", VIEWER),
    ("PUT", "/api/v1/endpoints/{id}", EDITOR),
    ("PATCH", "/api/v1/endpoints/{id}", EDITOR),
    ("DELETE", "/api/v1/endpoints/{id}", EDITOR),
    ("POST", "/api/v1/endpoints/{id}/pause", OPERATOR),
    ("POST", "/api/v1/endpoints/{id}/resume", OPERATOR),
    ("POST", "/api/v1/endpoints/{id}/check", OPERATOR),
    ("GET", "/api/v1/endpoints/{id}/why-not-told", VIEWER),
    ("GET", "/api/v1/endpoints/by-key/{group}/{name}", VIEWER),
    ("PUT", "/api/v1/endpoints/by-key/{group}/{name}", EDITOR),
    ("DELETE", "/api/v1/endpoints/by-key/{group}/{name}", EDITOR),
    ("GET", "/api/v1/endpoints/by-key/{name}", VIEWER),
    ("PUT", "/api/v1/endpoints/by-key/{name}", EDITOR),
    ("DELETE", "/api/v1/endpoints/by-key/{name}", EDITOR),
    ("GET", "/api/v1/groups", VIEWER),
    ("POST", "/api/v1/groups", EDITOR),
    ("GET", "/api/v1/groups/{name}", VIEWER),
    ("PUT", "/api/v1/groups/{name}", EDITOR),
    ("PATCH", "/api/v1/groups/{name}", EDITOR),
    ("DELETE", "/api/v1/groups/{name}", EDITOR),
    ("GET", "/api/v1/stats/uptime/{id}", VIEWER),
    ("GET", "/api/v1/stats/history/{id}", VIEWER),
    ("GET", "/api/v1/stats/incidents/{id}", VIEWER),
    ("GET", "/api/v1/stats/summary", VIEWER),
    ("GET", "/api/v1/stats/series/{id}", VIEWER),
    ("GET", "/api/v1/stats/sla", VIEWER),
    ("GET", "/api/v1/incidents", VIEWER),
    ("GET", "/api/v1/incidents/{id}", VIEWER),
    ("POST", "/api/v1/incidents/{id}/acknowledge", OPERATOR),
    ("POST", "/api/v1/incidents/{id}/notes", OPERATOR),
    ("POST", "/api/v1/incidents/{id}/resolve", OPERATOR),
    ("GET", "/api/v1/notifications", VIEWER),
    ("GET", "/api/v1/notifications/{id}", VIEWER),
    ("POST", "/api/v1/notifications/{id}/retry", OPERATOR),
    ("GET", "/api/v1/channels", VIEWER),
    ("POST", "/api/v1/channels", EDITOR),
    ("GET", "/api/v1/channels/{name}", VIEWER),
    ("PUT", "/api/v1/channels/{name}", EDITOR),
    ("PATCH", "/api/v1/channels/{name}", EDITOR),
    ("DELETE", "/api/v1/channels/{name}", EDITOR),
    ("POST", "/api/v1/channels/{name}/test", OPERATOR),
    ("GET", "/api/v1/maintenance-windows", VIEWER),
    ("POST", "/api/v1/maintenance-windows", EDITOR),
    ("GET", "/api/v1/maintenance-windows/{name}", VIEWER),
    ("PUT", "/api/v1/maintenance-windows/{name}", EDITOR),
    ("PATCH", "/api/v1/maintenance-windows/{name}", EDITOR),
    ("DELETE", "/api/v1/maintenance-windows/{name}", EDITOR),
    ("GET", "/api/v1/silences", VIEWER),
    ("POST", "/api/v1/silences", OPERATOR),
    ("GET", "/api/v1/silences/{id}", VIEWER),
    ("PUT", "/api/v1/silences/{id}", OPERATOR),
    ("PATCH", "/api/v1/silences/{id}", OPERATOR),
    ("DELETE", "/api/v1/silences/{id}", OPERATOR),
    ("GET", "/api/v1/alerts", VIEWER),
    ("POST", "/api/v1/alerts", EDITOR),
    ("GET", "/api/v1/alerts/{id}", VIEWER),
    ("PUT", "/api/v1/alerts/{id}", EDITOR),
    ("PATCH", "/api/v1/alerts/{id}", EDITOR),
    ("DELETE", "/api/v1/alerts/{id}", EDITOR),
    ("GET", "/api/v1/api-keys", ADMIN),
    ("POST", "/api/v1/api-keys", ADMIN),
    ("GET", "/api/v1/api-keys/{id}", ADMIN),
    ("PUT", "/api/v1/api-keys/{id}", ADMIN),
    ("PATCH", "/api/v1/api-keys/{id}", ADMIN),
    ("DELETE", "/api/v1/api-keys/{id}", ADMIN),
    ("GET", "/api/v1/events", VIEWER),
    ("GET", "/api/v1/audit", ADMIN),
    ("GET", "/api/v1/sessions", VIEWER),
    ("POST", "/api/v1/sessions", OPEN),
    ("GET", "/api/v1/sessions/{id}", VIEWER),
    ("DELETE", "/api/v1/sessions/{id}", VIEWER),
    ("GET", "/api/v1/backups", ADMIN),
    ("POST", "/api/v1/backups", ADMIN),
    ("GET", "/api/v1/backups/{id}", ADMIN),
    ("DELETE", "/api/v1/backups/{id}", ADMIN),
    ("GET", "/api/v1/backups/{id}/content", ADMIN),
    ("GET", "/api/v1/config", ADMIN),
    ("PUT", "/api/v1/config", ADMIN),
    ("GET", "/api/v1/metrics", VIEWER),
    ("GET", "/api/v1/metrics/{name}", VIEWER),
    ("GET", "/metrics", VIEWER),
    ("GET", "/metrics/{name}", VIEWER),
    ("GET", "/api/v1/query_stats", VIEWER),
    ("GET", "/api/v1/connections", ADMIN),
    ("GET", "/api/v1/connections/{id}", ADMIN),
    ("DELETE", "/api/v1/connections/{id}", ADMIN),
    ("GET", "/api/v1/collections", VIEWER),
    ("POST", "/api/v1/collections", OPERATOR),
    ("GET", "/api/v1/collections/{id}", VIEWER),
    ("PUT", "/api/v1/collections/{id}", OPERATOR),
    ("DELETE", "/api/v1/collections/{id}", OPERATOR),
    ("GET", "/api/v1/tasks", VIEWER),
    ("GET", "/api/v1/tasks/{name}", VIEWER),
    ("POST", "/api/v1/tasks/{name}/run", ADMIN),
    ("GET", "/api/v1/threads", VIEWER),
    ("GET", "/api/v1/modules", VIEWER),
    ("GET", "/api/v1/modules/{name}", VIEWER),
];

/// What the table says of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    Needs(Needs),
    /// The path has other methods: `allow`. Told to whoever may use the least of them.
    OtherMethods {
        allow: String,
        needs: Needs,
    },
    /// The path exists and is not in the table.
    Forgotten,
    /// There is nothing at this path, which is told to whoever may read.
    NoRoute,
}

/// What a request needs; `template` is that of the route it came to, if there is one.
pub fn ruling(method: &Method, template: Option<&str>) -> Ruling {
    let Some(template) = template else { return Ruling::NoRoute };
    let read_as = if *method == Method::HEAD { "GET" } else { method.as_str() };
    let of_path = || ROWS.iter().filter(|(_, path, _)| *path == template);
    if let Some((.., needs)) = of_path().find(|(known, ..)| *known == read_as) {
        return Ruling::Needs(*needs);
    }
    let methods: Vec<&str> = of_path().flat_map(|(known, ..)| both(known)).copied().collect();
    if methods.is_empty() {
        return Ruling::Forgotten;
    }
    let needs = if of_path().any(|(.., needs)| *needs == Needs::Open) { Needs::Open } else { VIEWER };
    Ruling::OtherMethods { allow: methods.join(","), needs }
}

/// What an operation of the description needs. One that is not in the table is for administrators there, and for
/// nobody in truth.
pub fn needs(method: &str, template: &str) -> Needs {
    ROWS.iter().find(|(known, path, _)| *known == method && *path == template).map_or(ADMIN, |(.., needs)| *needs)
}

/// The method, and the one that comes with it.
fn both<'m>(method: &'m &'static str) -> &'m [&'static str] {
    if *method == "GET" { &["GET", "HEAD"] } else { std::slice::from_ref(method) }
}

impl Ruling {
    /// What the request needs to get an answer at all.
    pub fn needs(&self) -> Needs {
        match self {
            Self::Needs(needs) | Self::OtherMethods { needs, .. } => *needs,
            Self::Forgotten | Self::NoRoute => VIEWER,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::limits::is_push;

    #[test]
    fn each_route_is_in_the_table_once() {
        let mut seen = std::collections::HashSet::new();
        for (method, path, _) in ROWS {
            assert!(seen.insert((method, path)), "{method} {path} is in the table twice");
            assert!(Method::from_bytes(method.as_bytes()).is_ok_and(|m| m != Method::HEAD && m != Method::OPTIONS));
        }
    }

    #[test]
    fn the_open_routes_are_these_and_no_other() {
        let (read, others): (Vec<_>, Vec<_>) = ROWS
            .iter()
            .filter(|(.., needs)| *needs == Needs::Open)
            .map(|(m, p, _)| (*m, *p))
            .partition(|(method, _)| *method == "GET");
        let expected = [
            "/health",
            "/health/live",
            "/health/ready",
            "/docs",
            "/docs/",
            "/docs/{file}",
            "/openapi.json",
            "/acknowledge/{token}",
            "/api/v1/push/{token}",
            "/api/v1/push/{token}/{signal}",
            "/ping/{token}",
            "/ping/{token}/{signal}",
            "/api/push/{token}",
            "/api/v1/openapi.json",
            "/api/v1/swagger.json",
        ];
        assert_eq!(read, expected.map(|path| ("GET", path)));
        // They ask for a signature, a token or a key by themselves.
        let expected = [
            "/acknowledge/{token}",
            "/api/v1/push/{token}",
            "/api/v1/push/{token}/{signal}",
            "/ping/{token}",
            "/ping/{token}/{signal}",
            "/api/push/{token}",
            "/api/v1/sessions",
        ];
        assert_eq!(others, expected.map(|path| ("POST", path)));
    }

    #[test]
    fn what_changes_something_is_never_for_viewers() {
        // Everybody may sign in with a key, and out again.
        // Who has a link or a token may do what it is for.
        let by_themselves =
            |path: &str| path.contains("/sessions") || path.starts_with("/acknowledge/") || is_push(path);
        let changes = ROWS.iter().filter(|(method, path, _)| *method != "GET" && !by_themselves(path));
        for (method, path, needs) in changes {
            assert!(matches!(needs, Needs::Role(role) if *role > Role::Viewer), "{method} {path}");
        }
    }

    #[test]
    fn a_ruling_is_by_method_and_exact_path() {
        let endpoints = Some("/api/v1/endpoints");
        assert_eq!(ruling(&Method::GET, endpoints), Ruling::Needs(VIEWER));
        assert_eq!(ruling(&Method::HEAD, endpoints), Ruling::Needs(VIEWER));
        assert_eq!(ruling(&Method::POST, endpoints), Ruling::Needs(EDITOR));
        let other = Ruling::OtherMethods { allow: "GET,HEAD,POST".to_owned(), needs: VIEWER };
        assert_eq!(ruling(&Method::DELETE, endpoints), other);
        let probe = Ruling::OtherMethods { allow: "GET,HEAD".to_owned(), needs: OPEN };
        assert_eq!(ruling(&Method::POST, Some("/health")), probe);
        for forgotten in ["/health/", "/Health", "/health/tls", "/docs/{file}/x", "/api/v1/configs", ""] {
            assert_eq!(ruling(&Method::GET, Some(forgotten)), Ruling::Forgotten, "{forgotten}");
        }
        assert_eq!(ruling(&Method::GET, None).needs(), VIEWER);
    }
}
