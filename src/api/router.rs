//! All routes, in one place, and the layers around them.

use std::sync::Arc;

use axum::Router;
use axum::http::{Extensions, HeaderMap, StatusCode, Version, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{Predicate, SizeAbove};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Gate, guard};
use super::docs::{self, Documents};
use super::error::Problem;
use super::extract::no_such_method;
use super::{
    acknowledge, alerts, api_keys, audit, away, backups, bulk, certificates, channels, collections, conditional,
    config, connections, cors, endpoints, events, groups, health, incidents, maintenance_windows, metrics, modules,
    notifications, observe, openapi, push, query_stats, rate_limit, root, series, sessions, silences, sla, stats,
    tasks, threads, why,
};
use crate::config::Config;
use crate::service::ServiceContext;

/// The whole surface and its description.
pub fn router_and_document(ctx: Arc<ServiceContext>) -> (Router, OpenApi) {
    let document = configured_document(&ctx.config);
    (router(ctx), document)
}

/// The whole surface.
pub fn router(ctx: Arc<ServiceContext>) -> Router {
    let (routes, _) = routes().split_for_parts();
    let (documents, _) = document_routes().split_for_parts();
    let api = ctx.config.api.clone();
    let observer = observe::Observer {
        clock: Arc::clone(&ctx.clock),
        metrics: Arc::clone(&ctx.metrics),
        trusted_proxies: api.trusted_proxies,
        is_encrypted: api.tls.is_some(),
        collections: ctx.operations.collections.clone(),
        access: ctx.config.logging.access,
    };
    let gate = Arc::new(Gate::new(Arc::clone(&ctx)));
    let store_bound = from_fn_with_state(Arc::clone(&ctx), away::bound);
    let (config, since) = (Arc::clone(&ctx.config), ctx.clock.now());
    let described = Documents::new(move || configured_document(&config), since);
    let metrics_path = Arc::from(ctx.config.prometheus.path.as_str());
    let inner = routes
        .with_state(ctx)
        .merge(documents.with_state(described))
        .fallback(async || Problem::of_status(StatusCode::NOT_FOUND))
        .method_not_allowed_fallback(no_such_method)
        .layer(store_bound)
        .layer(from_fn(conditional::revalidate))
        .layer(from_fn_with_state(gate, guard))
        .layer(from_fn(observe::bounds))
        .layer(CatchPanicLayer::custom(observe::panicked));
    let inner = Router::new()
        // Outside the router, which adds `Allow` to the answers of its routes.
        .fallback_service(inner)
        .layer(from_fn_with_state(metrics_path, metrics::at_configured_path))
        .layer(from_fn(observe::render))
        .layer(CompressionLayer::new().gzip(true).compress_when(SizeAbove::new(COMPRESSED_FROM).and(is_text)))
        .layer(from_fn(rate_limit::tell));
    // Outside the guard: a browser asks beforehand without the key.
    let inner = match &api.cors {
        Some(cors) => cors::around(inner, cors),
        None => inner,
    };
    inner.layer(from_fn_with_state(Arc::new(observer), observe::observe))
}

/// Smaller bodies gain nothing by compression.
const COMPRESSED_FROM: u16 = 1_024;

/// JSON and pages; images are compressed as they are, and events are not held back to be.
fn is_text(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default();
    (essence.starts_with("text/") && essence != "text/event-stream")
        || ["json", "javascript", "-text"].iter().any(|end| essence.ends_with(end))
}

/// The description of the whole surface as it is with a configured key, without serving it. `key_header` is the header that carries the key.
pub fn document(key_header: &str) -> OpenApi {
    describe(routes().into_openapi(), document_routes().into_openapi(), key_header, true)
}

/// The description as it is with this configuration.
fn configured_document(config: &Config) -> OpenApi {
    let auth = &config.api.auth;
    let document = describe(routes().into_openapi(), document_routes().into_openapi(), &auth.header_name, auth.is_on());
    metrics::described_at(&config.prometheus, document)
}

fn describe(declared: OpenApi, described: OpenApi, key_header: &str, key_is_needed: bool) -> OpenApi {
    let mut document = openapi::blank();
    document.merge(declared);
    document.merge(described);
    openapi::complete(document, key_header, key_is_needed)
}

fn routes() -> OpenApiRouter<Arc<ServiceContext>> {
    OpenApiRouter::new()
        .routes(routes!(root::about))
        .routes(routes!(root::versions))
        .routes(routes!(health::health))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(certificates::list))
        .routes(routes!(acknowledge::page, acknowledge::acknowledge))
        .routes(routes!(push::get, push::post))
        .routes(routes!(push::get_signal, push::post_signal))
        .routes(routes!(push::peers::ping, push::peers::post_ping))
        .routes(routes!(push::peers::ping_signal, push::peers::post_ping_signal))
        .routes(routes!(push::peers::kuma, push::peers::post_kuma))
        .routes(routes!(endpoints::list, endpoints::create))
        .routes(routes!(bulk::apply))
        .routes(routes!(endpoints::test))
        .routes(routes!(endpoints::get, endpoints::replace, endpoints::patch, endpoints::delete))
        .routes(routes!(endpoints::pause))
        .routes(routes!(endpoints::resume))
        .routes(routes!(endpoints::check))
        .routes(routes!(why::why_not_told))
        .routes(routes!(endpoints::get_by_key, endpoints::put_by_key, endpoints::delete_by_key))
        .routes(routes!(endpoints::get_by_name, endpoints::put_by_name, endpoints::delete_by_name))
        .routes(routes!(groups::list, groups::create))
        .routes(routes!(groups::get, groups::replace, groups::patch, groups::delete))
        .routes(routes!(stats::uptime))
        .routes(routes!(stats::history))
        .routes(routes!(stats::incidents))
        .routes(routes!(stats::summarise))
        .routes(routes!(series::series))
        .routes(routes!(sla::report))
        .routes(routes!(incidents::list))
        .routes(routes!(incidents::get))
        .routes(routes!(incidents::acknowledge))
        .routes(routes!(incidents::resolve))
        .routes(routes!(incidents::note))
        .routes(routes!(notifications::list))
        .routes(routes!(notifications::get))
        .routes(routes!(notifications::retry))
        .routes(routes!(channels::list, channels::create))
        .routes(routes!(channels::get, channels::replace, channels::patch, channels::delete))
        .routes(routes!(channels::test))
        .routes(routes!(maintenance_windows::list, maintenance_windows::create))
        .routes(routes!(
            maintenance_windows::get,
            maintenance_windows::replace,
            maintenance_windows::patch,
            maintenance_windows::delete
        ))
        .routes(routes!(silences::list, silences::create))
        .routes(routes!(silences::get, silences::replace, silences::patch, silences::delete))
        .routes(routes!(alerts::list, alerts::create))
        .routes(routes!(alerts::get, alerts::replace, alerts::patch, alerts::delete))
        .routes(routes!(api_keys::list, api_keys::create))
        .routes(routes!(api_keys::get, api_keys::replace, api_keys::patch, api_keys::delete))
        .routes(routes!(sessions::list, sessions::create))
        .routes(routes!(sessions::get, sessions::delete))
        .routes(routes!(backups::list, backups::create))
        .routes(routes!(backups::get, backups::delete))
        .routes(routes!(backups::content))
        .routes(routes!(config::get, config::put))
        .routes(routes!(metrics::text))
        .routes(routes!(metrics::all))
        .routes(routes!(metrics::get))
        .routes(routes!(metrics::get_at_root))
        .routes(routes!(events::stream))
        .routes(routes!(audit::list))
        .routes(routes!(query_stats::get))
        .routes(routes!(connections::list))
        .routes(routes!(connections::get, connections::delete))
        .routes(routes!(collections::list, collections::create))
        .routes(routes!(collections::get, collections::clear, collections::delete))
        .routes(routes!(tasks::list))
        .routes(routes!(tasks::get))
        .routes(routes!(tasks::run))
        .routes(routes!(threads::list))
        .routes(routes!(modules::list))
        .routes(routes!(modules::get))
}

fn document_routes() -> OpenApiRouter<Documents> {
    OpenApiRouter::new()
        .routes(routes!(docs::openapi))
        .routes(routes!(docs::openapi_alias))
        .routes(routes!(docs::swagger))
        .routes(routes!(docs::index))
        .routes(routes!(docs::file))
        .route("/docs/", get(docs::index))
}
