//! What the server is: `GET /`, and the versions of the API at `GET /api/`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::pagination::Query;
use crate::service::ServiceContext;

/// The server in a few words.
#[derive(Debug, Serialize, ToSchema)]
pub struct About {
    #[schema(example = "API Monitor")]
    name: &'static str,
    version: &'static str,
    /// Always `running`.
    #[schema(example = "running")]
    status: &'static str,
    /// Path of the interactive documentation.
    docs: &'static str,
    /// Path of the health report.
    health: &'static str,
    /// Whether requests need a key: one is configured.
    auth_enabled: bool,
}

/// What this server is
#[utoipa::path(get, path = "/", tag = "server", responses((status = 200, body = About)))]
pub async fn about(State(ctx): State<Arc<ServiceContext>>, Query(()): Query<()>) -> Json<About> {
    Json(About {
        name: "API Monitor",
        version: env!("CARGO_PKG_VERSION"),
        status: "running",
        docs: "/docs",
        health: "/health",
        auth_enabled: ctx.config.api.auth.is_on(),
    })
}

/// The versions of the API.
#[derive(Debug, Serialize, ToSchema)]
pub struct Versions {
    versions: [ApiVersion; 1],
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ApiVersion {
    /// The token in the path.
    #[schema(example = "v1")]
    version: &'static str,
    /// `current`: the one to use.
    #[schema(example = "current")]
    status: &'static str,
    /// Where its resources begin.
    base: &'static str,
    /// Its description in `OpenAPI`.
    openapi: &'static str,
    /// The same in version 2.0.
    swagger: &'static str,
}

/// The versions of the API
#[utoipa::path(get, path = "/api/", tag = "server", responses((status = 200, body = Versions)))]
pub async fn versions(Query(()): Query<()>) -> Json<Versions> {
    let v1 = ApiVersion {
        version: "v1",
        status: "current",
        base: "/api/v1",
        openapi: "/api/v1/openapi.json",
        swagger: "/api/v1/swagger.json",
    };
    Json(Versions { versions: [v1] })
}
