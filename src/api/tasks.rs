//! `/api/v1/tasks`: the housekeeping, when it runs, and how it went.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::Problem;
use super::extract::{NoBody, TextPath};
use super::pagination::{Page, PageParams, Query, sort_keys};
use crate::domain::Timestamp;
use crate::service::operations::{self as verbs, JobReport, JobStatus, When};
use crate::service::{Actor, ServiceContext};

type Ctx = State<Arc<ServiceContext>>;

sort_keys! {
    /// By what tasks are ordered.
    pub enum TaskSort {
        Name = "name",
        Runs = "runs",
        LastRunAt = "last_run_at",
        LastDurationSeconds = "last_duration_seconds",
        NextRunAt = "next_run_at",
    }
}

type TaskParams = PageParams<TaskSort>;

/// A page of tasks.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaskList {
    tasks: Vec<TaskItem>,
    total: u64,
    limit: u64,
    offset: u64,
}

/// A housekeeping task, and its runs since the start of the monitor.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaskItem {
    #[schema(example = "retention")]
    name: String,
    description: String,
    /// A cron expression of six fields in UTC, `every 86400 s`, or `at the start`.
    #[schema(example = "0 20 * * * *")]
    schedule: String,
    /// Under way, or asked for and about to begin.
    running: bool,
    /// Those that are over.
    runs: u64,
    /// When the last of them began; null before the first, as what follows.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_run_at: Option<Timestamp>,
    #[schema(minimum = 0)]
    last_duration_seconds: Option<f64>,
    last_result: Option<TaskResult>,
    /// What it did, or why it could not.
    #[schema(example = "removed: checks 1440, hours 0, notifications 0, incidents 0, refusals 0")]
    last_message: Option<String>,
    /// Null without a schedule.
    #[schema(value_type = Option<String>, format = DateTime)]
    next_run_at: Option<Timestamp>,
}

/// How a run went.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskResult {
    Ok,
    Error,
}

impl From<(&JobStatus, JobReport)> for TaskItem {
    fn from((job, report): (&JobStatus, JobReport)) -> Self {
        let last = report.last.as_ref();
        Self {
            name: job.name.to_owned(),
            description: job.description.to_owned(),
            schedule: match &job.when {
                When::Cron(schedule) => schedule.expression().to_owned(),
                When::Every(period) => format!("every {} s", period.as_secs_f64()),
                When::AtStart => "at the start".to_owned(),
            },
            running: report.running,
            runs: report.runs,
            last_run_at: last.map(|run| run.at),
            last_duration_seconds: last.map(|run| run.took.as_secs_f64()),
            last_result: last.map(|run| if run.result.is_ok() { TaskResult::Ok } else { TaskResult::Error }),
            last_message: last.map(|run| match &run.result {
                Ok(words) | Err(words) => words.clone(),
            }),
            next_run_at: report.next_run_at,
        }
    }
}

/// List the tasks
#[utoipa::path(get, path = "/api/v1/tasks", tag = "operations", params(TaskParams),
    responses((status = 200, body = TaskList)))]
pub async fn list(State(ctx): Ctx, Query(params): Query<TaskParams>) -> Result<Json<TaskList>, Problem> {
    let mut tasks: Vec<TaskItem> = verbs::tasks(&ctx).into_iter().map(TaskItem::from).collect();
    if let Some(sort) = params.sort {
        sort.arrange(&mut tasks, |key, a, b| match key {
            TaskSort::Name => a.name.cmp(&b.name),
            TaskSort::Runs => a.runs.cmp(&b.runs),
            TaskSort::LastRunAt => a.last_run_at.cmp(&b.last_run_at),
            TaskSort::LastDurationSeconds => {
                a.last_duration_seconds.unwrap_or(-1.0).total_cmp(&b.last_duration_seconds.unwrap_or(-1.0))
            }
            TaskSort::NextRunAt => a.next_run_at.cmp(&b.next_run_at),
        });
    }
    let (total, Page { limit, offset }) = (tasks.len() as u64, params.page);
    Ok(Json(TaskList { tasks: params.page.cut(tasks), total, limit, offset }))
}

/// Get a task
#[utoipa::path(get, path = "/api/v1/tasks/{name}", tag = "operations", params(("name" = String, Path)),
    responses((status = 200, body = TaskItem)))]
pub async fn get(State(ctx): Ctx, TextPath(name): TextPath, Query(()): Query<()>) -> Result<Json<TaskItem>, Problem> {
    Ok(Json(verbs::task(&ctx, &name)?.into()))
}

/// Run a task
///
/// Begins to do whatever is to be done by now, and does not wait for the end: `runs` grows when it is over.
#[utoipa::path(post, path = "/api/v1/tasks/{name}/run", tag = "operations", params(("name" = String, Path)),
    responses(
        (status = 202, body = TaskItem),
        (status = 409, response = super::openapi::ProblemResponse),
    ))]
pub async fn run(
    State(ctx): Ctx,
    actor: Actor,
    TextPath(name): TextPath,
    Query(()): Query<()>,
    _: NoBody,
) -> Result<(StatusCode, Json<TaskItem>), Problem> {
    let begun = verbs::run_task(&ctx, &actor, &name).await?;
    Ok((StatusCode::ACCEPTED, Json(begun.into())))
}
