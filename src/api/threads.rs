//! `/api/v1/threads`: the threads that do the work, and how busy they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::Problem;
use super::pagination::{Page, PageParams, Query, sort_keys};
use crate::service::ServiceContext;
use crate::service::operations::{self as verbs, SeenRuntime};

sort_keys! {
    /// By what workers are ordered.
    pub enum ThreadSort {
        Id = "id",
        BusySeconds = "busy_seconds",
        BusyRatio = "busy_ratio",
        Parks = "parks",
    }
}

type ThreadParams = PageParams<ThreadSort>;

const NOT_TOLD: &str = "The runtime tells it only where it is built for experiments";

/// The runtimes, and a page of their workers.
#[derive(Debug, Serialize, ToSchema)]
pub struct ThreadList {
    runtimes: Vec<RuntimeItem>,
    threads: Vec<ThreadItem>,
    /// Why a field is null, by its name.
    #[schema(example = json!({"local_queue_depth": "The runtime tells it only where it is built for experiments"}))]
    reasons: BTreeMap<&'static str, &'static str>,
    /// Of workers.
    total: u64,
    limit: u64,
    offset: u64,
}

/// Threads that share their work.
#[derive(Debug, Serialize, ToSchema)]
pub struct RuntimeItem {
    /// `checks` makes, records and tells; `api` answers requests.
    #[schema(example = "checks")]
    name: String,
    #[schema(minimum = 1)]
    workers: u64,
    /// Tasks that have begun and not ended.
    alive_tasks: u64,
    /// Tasks that wait for any of the workers.
    global_queue_depth: u64,
    /// Always null, see `reasons`.
    blocking_threads: Option<u64>,
    #[schema(minimum = 0)]
    uptime_seconds: f64,
}

/// A worker, which is one thread.
#[derive(Debug, Serialize, ToSchema)]
pub struct ThreadItem {
    /// The runtime and the number of the worker in it.
    #[schema(example = "checks-0")]
    id: String,
    #[schema(example = "checks")]
    runtime: String,
    worker: u64,
    /// Time in which it was not parked, since its runtime began.
    #[schema(minimum = 0)]
    busy_seconds: f64,
    /// That time as a share.
    #[schema(minimum = 0, maximum = 1)]
    busy_ratio: f64,
    /// How often it found nothing to do and slept.
    parks: u64,
    /// Whether it sleeps now.
    is_parked: bool,
    /// Always null, see `reasons`.
    local_queue_depth: Option<u64>,
}

fn workers(runtime: &SeenRuntime) -> impl Iterator<Item = ThreadItem> {
    let (metrics, uptime) = (&runtime.metrics, runtime.since.elapsed().as_secs_f64());
    let name = runtime.name.to_lowercase();
    (0..metrics.num_workers()).map(move |worker| {
        let busy = metrics.worker_total_busy_duration(worker).as_secs_f64();
        ThreadItem {
            id: format!("{name}-{worker}"),
            runtime: name.clone(),
            worker: worker as u64,
            busy_seconds: busy,
            // It was busy for a moment before it was seen first.
            busy_ratio: if uptime > 0.0 { (busy / uptime).min(1.0) } else { 0.0 },
            parks: metrics.worker_park_count(worker),
            // It counts parking and waking, so while it sleeps the count is odd.
            is_parked: !metrics.worker_park_unpark_count(worker).is_multiple_of(2),
            local_queue_depth: None,
        }
    })
}

impl From<&SeenRuntime> for RuntimeItem {
    fn from(runtime: &SeenRuntime) -> Self {
        let metrics = &runtime.metrics;
        Self {
            name: runtime.name.to_lowercase(),
            workers: metrics.num_workers() as u64,
            alive_tasks: metrics.num_alive_tasks() as u64,
            global_queue_depth: metrics.global_queue_depth() as u64,
            blocking_threads: None,
            uptime_seconds: runtime.since.elapsed().as_secs_f64(),
        }
    }
}

/// List the threads
///
/// The workers of the two runtimes: checks, recording and telling on one, this API on the other.
#[utoipa::path(get, path = "/api/v1/threads", tag = "operations", params(ThreadParams),
    responses((status = 200, body = ThreadList)))]
pub async fn list(
    State(ctx): State<Arc<ServiceContext>>,
    Query(params): Query<ThreadParams>,
) -> Result<Json<ThreadList>, Problem> {
    let seen = verbs::runtimes(&ctx);
    let mut threads: Vec<ThreadItem> = seen.iter().flat_map(workers).collect();
    if let Some(sort) = params.sort {
        sort.arrange(&mut threads, |key, a, b| match key {
            ThreadSort::Id => (&a.runtime, a.worker).cmp(&(&b.runtime, b.worker)),
            ThreadSort::BusySeconds => a.busy_seconds.total_cmp(&b.busy_seconds),
            ThreadSort::BusyRatio => a.busy_ratio.total_cmp(&b.busy_ratio),
            ThreadSort::Parks => a.parks.cmp(&b.parks),
        });
    }
    let reasons = ["blocking_threads", "local_queue_depth"].map(|field| (field, NOT_TOLD)).into();
    let runtimes = seen.iter().map(RuntimeItem::from).collect();
    let (total, Page { limit, offset }) = (threads.len() as u64, params.page);
    Ok(Json(ThreadList { runtimes, threads: params.page.cut(threads), reasons, total, limit, offset }))
}
