//! `/api/v1/config`: the monitor's own settings, and those of them that can change while it runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::error::Problem;
use super::extract::JsonBody;
use super::pagination::Query;
use crate::service::settings::{self as verbs, Shown, Source, Values};
use crate::service::{Actor, ServiceContext};

type Ctx = State<Arc<ServiceContext>>;

/// The settings that can change while running, by their keys, and under `settings` all of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConfigDocument {
    /// As it is now; may be sent back by PUT.
    #[serde(flatten)]
    #[schema(value_type = HashMap<String, Value>)]
    changeable: Values,
    /// Every setting by its path in the configuration. Endpoints and channels have routes of their own.
    settings: BTreeMap<&'static str, Setting>,
}

/// A setting as it is now.
#[derive(Debug, Serialize, ToSchema)]
pub struct Setting {
    /// Secrets read `***`; durations are in seconds.
    #[schema(value_type = Value)]
    value: Value,
    source: SourceName,
    /// The file with the line, or the variable.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/etc/api-monitor/config.yaml:12")]
    at: Option<String>,
    /// What is configured where `source` is `override`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    configured: Option<Value>,
    /// The key that changes it while running.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'static str>,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SourceName {
    Default,
    File,
    Environment,
    /// It was changed while running.
    Override,
}

impl From<Shown> for Setting {
    fn from(shown: Shown) -> Self {
        let Shown { value, source, key } = shown;
        let (source, at, configured) = match source {
            Source::Default => (SourceName::Default, None, None),
            Source::File(at) => (SourceName::File, Some(at), None),
            Source::Environment(name) => (SourceName::Environment, Some(name), None),
            Source::Override(configured) => (SourceName::Override, None, Some(configured)),
        };
        Self { value, source, at, configured, key }
    }
}

/// What became of a change.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConfigChanged {
    #[schema(example = "Configuration updated successfully")]
    status: &'static str,
    /// As it is now.
    #[serde(flatten)]
    #[schema(value_type = HashMap<String, Value>)]
    changeable: Values,
}

/// Get the settings
///
/// The running settings without secrets, each with its source.
#[utoipa::path(get, path = "/api/v1/config", tag = "config", responses(
    (status = 200, body = ConfigDocument),
    (status = 403, response = super::openapi::ProblemResponse),
))]
pub async fn get(State(ctx): Ctx, actor: Actor, Query(()): Query<()>) -> Result<Json<ConfigDocument>, Problem> {
    let (changeable, settings) = verbs::show(&ctx, &actor)?;
    let settings = settings.into_iter().map(|(path, shown)| (path, shown.into())).collect();
    Ok(Json(ConfigDocument { changeable, settings }))
}

/// Change settings
///
/// Changes the settings that are named, all or none, at once and over restarts, until the configuration gives them
/// another value. `null` returns one to what is configured.
#[utoipa::path(put, path = "/api/v1/config", tag = "config", request_body(content = Object,
    description = "Keys that `GET` has beside `settings`, with their new values",
    example = json!({"logging_level": "DEBUG"})),
    responses((status = 200, body = ConfigChanged)))]
pub async fn put(
    State(ctx): Ctx,
    actor: Actor,
    Query(()): Query<()>,
    JsonBody(wanted): JsonBody<Map<String, Value>>,
) -> Result<Json<ConfigChanged>, Problem> {
    let changeable = verbs::change(&ctx, &actor, wanted).await?;
    Ok(Json(ConfigChanged { status: "Configuration updated successfully", changeable }))
}
