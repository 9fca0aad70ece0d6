//! `/api/v1/collections`: metrics from a moment on that the client chooses. The names within are those that clients
//! of such collections know.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::Problem;
use super::extract::{NoBody, TextPath};
use super::pagination::Query;
use crate::service::operations::{self as verbs, Collection};
use crate::service::{Actor, ServiceContext};

type Ctx = State<Arc<ServiceContext>>;

/// The collections there are.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CollectionList {
    /// Ascending.
    #[schema(example = json!(["collections/0", "collections/1"]), max_items = 10)]
    collection_uris: Vec<String>,
}

/// Where a new collection is.
#[derive(Debug, Serialize, ToSchema)]
pub struct CollectionUri {
    #[schema(example = "collections/3", pattern = "^collections/[0-9]+$")]
    uri: String,
}

/// What was measured since a collection was made or cleared.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CollectionDocument {
    id: u64,
    time: CollectionTime,
    cpu: CollectionCpu,
    gc: CollectionGc,
    memory: CollectionMemory,
    http_urls: CollectionUrls,
    /// Why something in `data` is null, by where it is: `gc.gcTime`. One sentence for each null.
    #[schema(example = json!({"gc.gcTime": "This program collects no garbage"}))]
    reasons: BTreeMap<&'static str, &'static str>,
}

/// When it began, and now.
#[derive(Debug, Serialize, ToSchema)]
pub struct CollectionTime {
    data: TimeData,
    units: TimeUnits,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct TimeData {
    #[schema(example = 1_532_697_164_637_i64)]
    start: i64,
    end: i64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct TimeUnits {
    start: &'static str,
    end: &'static str,
}

/// Shares of all processors, sampled once a second.
#[derive(Debug, Serialize, ToSchema)]
pub struct CollectionCpu {
    data: CpuData,
    units: CpuUnits,
}

/// Null until the first sample, and on systems that do not tell.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CpuData {
    /// In which the machine's processors were not idle.
    #[schema(minimum = 0, maximum = 1)]
    system_mean: Option<f64>,
    #[schema(minimum = 0, maximum = 1)]
    system_peak: Option<f64>,
    /// Of this process.
    #[schema(minimum = 0, maximum = 1)]
    process_mean: Option<f64>,
    #[schema(minimum = 0, maximum = 1)]
    process_peak: Option<f64>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CpuUnits {
    system_mean: &'static str,
    system_peak: &'static str,
    process_mean: &'static str,
    process_peak: &'static str,
}

/// The time in garbage collection: there is none in this program.
#[derive(Debug, Serialize, ToSchema)]
pub struct CollectionGc {
    data: GcData,
    units: GcUnits,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GcData {
    /// Always null: nothing can be measured.
    #[schema(minimum = 0, maximum = 1)]
    gc_time: Option<f64>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GcUnits {
    gc_time: &'static str,
}

/// The memory of the process.
#[derive(Debug, Serialize, ToSchema)]
pub struct CollectionMemory {
    data: MemoryData,
    units: MemoryUnits,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct MemoryData {
    /// Always null: without a collector no heap is left by one.
    #[serde(rename = "usedHeapAfterGCPeak")]
    used_heap_after_gc_peak: Option<u64>,
    /// The most that was in RAM, sampled once a second; null on systems that do not tell.
    #[serde(rename = "usedNativePeak")]
    used_native_peak: Option<u64>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct MemoryUnits {
    #[serde(rename = "usedHeapAfterGCPeak")]
    used_heap_after_gc_peak: &'static str,
    #[serde(rename = "usedNativePeak")]
    used_native_peak: &'static str,
}

/// The requests that this API answered.
#[derive(Debug, Serialize, ToSchema)]
pub struct CollectionUrls {
    data: Vec<UrlData>,
    units: UrlUnits,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UrlData {
    /// The template of the route.
    #[schema(example = "/api/v1/endpoints/{id}")]
    url: String,
    /// `OTHER` for methods of a client's own.
    #[schema(example = "GET")]
    method: &'static str,
    #[schema(minimum = 1)]
    hits: u64,
    /// To the beginning of the answer.
    #[schema(minimum = 0)]
    average_response_time: f64,
    #[schema(minimum = 0)]
    longest_response_time: f64,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UrlUnits {
    average_response_time: &'static str,
    longest_response_time: &'static str,
    hits: &'static str,
}

const NOT_SAMPLED: &str = "The system does not tell it, or it was not sampled yet";
const NO_GARBAGE: &str = "This program collects no garbage";

const UNIX_MS: &str = "UNIX time (ms)";
const FRACTION: &str = "decimal fraction";
const BYTES: &str = "bytes";

#[expect(clippy::cast_precision_loss, reason = "nanoseconds of months are exact")]
fn mean_ms(time: Duration, hits: u64) -> f64 {
    time.as_nanos() as f64 / 1e6 / hits.max(1) as f64
}

impl CollectionDocument {
    fn new(id: u64, collection: Collection, end: i64) -> Self {
        let Collection { start, machine_cpu, process_cpu, resident_peak, requests } = collection;
        let unknown = [
            ("cpu.systemMean", machine_cpu.mean().is_none(), NOT_SAMPLED),
            ("cpu.systemPeak", machine_cpu.peak().is_none(), NOT_SAMPLED),
            ("cpu.processMean", process_cpu.mean().is_none(), NOT_SAMPLED),
            ("cpu.processPeak", process_cpu.peak().is_none(), NOT_SAMPLED),
            ("gc.gcTime", true, NO_GARBAGE),
            ("memory.usedHeapAfterGCPeak", true, NO_GARBAGE),
            ("memory.usedNativePeak", resident_peak.is_none(), NOT_SAMPLED),
        ];
        let reasons =
            unknown.into_iter().filter(|(_, is_null, _)| *is_null).map(|(place, _, why)| (place, why)).collect();
        let urls = requests.into_iter().map(|((url, method), requests)| UrlData {
            url: url.to_string(),
            method,
            hits: requests.hits,
            average_response_time: mean_ms(requests.time, requests.hits),
            longest_response_time: mean_ms(requests.longest, 1),
        });
        Self {
            id,
            time: CollectionTime {
                data: TimeData { start: start.timestamp_millis(), end },
                units: TimeUnits { start: UNIX_MS, end: UNIX_MS },
            },
            cpu: CollectionCpu {
                data: CpuData {
                    system_mean: machine_cpu.mean(),
                    system_peak: machine_cpu.peak(),
                    process_mean: process_cpu.mean(),
                    process_peak: process_cpu.peak(),
                },
                units: CpuUnits {
                    system_mean: FRACTION,
                    system_peak: FRACTION,
                    process_mean: FRACTION,
                    process_peak: FRACTION,
                },
            },
            gc: CollectionGc { data: GcData { gc_time: None }, units: GcUnits { gc_time: FRACTION } },
            memory: CollectionMemory {
                data: MemoryData { used_heap_after_gc_peak: None, used_native_peak: resident_peak },
                units: MemoryUnits { used_heap_after_gc_peak: BYTES, used_native_peak: BYTES },
            },
            http_urls: CollectionUrls {
                data: urls.collect(),
                units: UrlUnits { average_response_time: "ms", longest_response_time: "ms", hits: "count" },
            },
            reasons,
        }
    }
}

/// List the collections
#[utoipa::path(get, path = "/api/v1/collections", tag = "operations",
    responses((status = 200, body = CollectionList)))]
pub async fn list(State(ctx): Ctx, Query(()): Query<()>) -> Result<Json<CollectionList>, Problem> {
    let collection_uris = verbs::collection_ids(&ctx).into_iter().map(|id| format!("collections/{id}")).collect();
    Ok(Json(CollectionList { collection_uris }))
}

/// Make a collection
///
/// It measures from now on. There are at most ten; an eleventh is refused with 400.
#[utoipa::path(post, path = "/api/v1/collections", tag = "operations",
    responses((status = 201, body = CollectionUri, headers(("Location" = String)))))]
pub async fn create(State(ctx): Ctx, actor: Actor, Query(()): Query<()>, _: NoBody) -> Result<Response, Problem> {
    let id = verbs::create_collection(&ctx, &actor)?;
    let location = [(header::LOCATION, format!("/api/v1/collections/{id}"))];
    let body = Json(CollectionUri { uri: format!("collections/{id}") });
    Ok((StatusCode::CREATED, location, body).into_response())
}

/// Get what a collection has measured
#[utoipa::path(get, path = "/api/v1/collections/{id}", tag = "operations",
    params(("id" = u64, Path)), responses((status = 200, body = CollectionDocument)))]
pub async fn get(
    State(ctx): Ctx,
    TextPath(id): TextPath,
    Query(()): Query<()>,
) -> Result<Json<CollectionDocument>, Problem> {
    let (id, collection) = verbs::collection(&ctx, &id)?;
    Ok(Json(CollectionDocument::new(id, collection, ctx.clock.now().timestamp_millis())))
}

/// Clear a collection
///
/// It measures from now on, as if it had just been made.
#[utoipa::path(put, path = "/api/v1/collections/{id}", tag = "operations",
    params(("id" = u64, Path)), responses((status = 204, description = "cleared")))]
pub async fn clear(
    State(ctx): Ctx,
    actor: Actor,
    TextPath(id): TextPath,
    Query(()): Query<()>,
    _: NoBody,
) -> Result<StatusCode, Problem> {
    verbs::clear_collection(&ctx, &actor, &id)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Delete a collection
#[utoipa::path(delete, path = "/api/v1/collections/{id}", tag = "operations",
    params(("id" = u64, Path)), responses((status = 204, description = "deleted")))]
pub async fn delete(
    State(ctx): Ctx,
    actor: Actor,
    TextPath(id): TextPath,
    Query(()): Query<()>,
) -> Result<StatusCode, Problem> {
    verbs::delete_collection(&ctx, &actor, &id)?;
    Ok(StatusCode::NO_CONTENT)
}
