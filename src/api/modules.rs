//! `/api/v1/modules`: the parts that configuration chooses among.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::error::Problem;
use super::extract::TextPath;
use super::pagination::{FromParams, Page, Params, Query, Sort, sort_keys};
use crate::service::ServiceContext;
use crate::service::operations::{self as verbs, ModuleType, ShownModule};

type Ctx = State<Arc<ServiceContext>>;

/// What a module is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ModuleKind {
    Channel,
    Check,
    Storage,
}

impl std::str::FromStr for ModuleKind {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "check" => Ok(Self::Check),
            "channel" => Ok(Self::Channel),
            "storage" => Ok(Self::Storage),
            _ => Err(()),
        }
    }
}

impl From<ModuleType> for ModuleKind {
    fn from(kind: ModuleType) -> Self {
        match kind {
            ModuleType::Check => Self::Check,
            ModuleType::Channel => Self::Channel,
            ModuleType::Storage => Self::Storage,
        }
    }
}

sort_keys! {
    /// By what modules are ordered.
    pub enum ModuleSort {
        Name = "name",
        Type = "type",
    }
}

/// Which modules.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ModuleParams {
    /// Only those for this.
    #[param(rename = "type")]
    kind: Option<ModuleKind>,
    /// By what the list is ordered; `-` before it reverses. Default: checks, channels, storages.
    #[param(inline, value_type = Option<ModuleSort>)]
    sort: Option<Sort<ModuleSort>>,
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

impl FromParams for ModuleParams {
    fn from_params(params: &mut Params) -> Self {
        Self {
            kind: params.word("type", "check, channel, storage"),
            sort: params.sort(),
            limit: (),
            offset: (),
            page: params.page(100),
        }
    }
}

/// A page of modules.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModuleList {
    modules: Vec<ModuleItem>,
    total: u64,
    limit: u64,
    offset: u64,
}

/// A part that configuration chooses.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModuleItem {
    /// The word that chooses it.
    #[schema(example = "webhook")]
    name: String,
    #[serde(rename = "type")]
    kind: ModuleKind,
    /// Of the monitor, which it is a part of; for a storage that of the library or server. Null while there is no
    /// connection to one.
    #[schema(example = "3.50.4")]
    version: Option<String>,
    description: String,
    /// A JSON schema of what is set for it.
    #[schema(value_type = Object)]
    parameters: Value,
    /// Whether an endpoint is checked by it, a channel that is on is of it, the data is kept in it.
    in_use: bool,
}

impl From<ShownModule<'_>> for ModuleItem {
    fn from(ShownModule { module, in_use }: ShownModule<'_>) -> Self {
        Self {
            name: module.name.clone(),
            kind: module.kind.into(),
            version: module.version.clone(),
            description: module.description.clone(),
            parameters: module.parameters.clone(),
            in_use,
        }
    }
}

/// List the modules
#[utoipa::path(get, path = "/api/v1/modules", tag = "operations", params(ModuleParams),
    responses((status = 200, body = ModuleList)))]
pub async fn list(State(ctx): Ctx, Query(params): Query<ModuleParams>) -> Result<Json<ModuleList>, Problem> {
    let wanted = |shown: &ShownModule<'_>| params.kind.is_none_or(|kind| kind == shown.module.kind.into());
    let mut modules: Vec<_> = verbs::modules(&ctx).into_iter().filter(wanted).map(ModuleItem::from).collect();
    if let Some(sort) = params.sort {
        sort.arrange(&mut modules, |key, a, b| match key {
            ModuleSort::Name => a.name.cmp(&b.name),
            ModuleSort::Type => a.kind.cmp(&b.kind),
        });
    }
    let (total, Page { limit, offset }) = (modules.len() as u64, params.page);
    Ok(Json(ModuleList { modules: params.page.cut(modules), total, limit, offset }))
}

/// Get a module
#[utoipa::path(get, path = "/api/v1/modules/{name}", tag = "operations", params(("name" = String, Path)),
    responses((status = 200, body = ModuleItem)))]
pub async fn get(State(ctx): Ctx, TextPath(name): TextPath, Query(()): Query<()>) -> Result<Json<ModuleItem>, Problem> {
    Ok(Json(verbs::module(&ctx, &name)?.into()))
}
