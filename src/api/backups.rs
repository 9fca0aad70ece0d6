//! `/api/v1/backups`: everything in one file, made while the monitor runs. Only administrators come here. Restoring is
//! for the command line.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tower::ServiceExt;
use tower_http::services::ServeFile;
use utoipa::ToSchema;

use super::error::{Problem, ProblemKind};
use super::extract::{JsonBody, TextPath};
use super::pagination::{FromParams, Page, Params, Query, Sort, sort_keys};
use crate::domain::Timestamp;
use crate::service::backups::{self as verbs, Backup, BackupState, Form, Progress};
use crate::service::error::FieldError;
use crate::service::{Actor, ServiceContext};

type Ctx = State<Arc<ServiceContext>>;

/// The one kind of backup.
const FULL: &str = "FULL";

sort_keys! {
    /// By what backups are ordered.
    pub enum BackupSort {
        CreatedAt = "created_at",
        FinishedAt = "finished_at",
        State = "state",
        Size = "size",
    }
}

/// Which backups.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BackupParams {
    /// Only those in this state.
    state: Option<StateWord>,
    /// By what the list is ordered; `-` before it reverses. Default: the newest first.
    #[param(inline, value_type = Option<BackupSort>)]
    sort: Option<Sort<BackupSort>>,
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

impl FromParams for BackupParams {
    fn from_params(params: &mut Params) -> Self {
        Self {
            state: params.word("state", "running, done, failed"),
            sort: params.sort(),
            limit: (),
            offset: (),
            page: params.page(100),
        }
    }
}

/// What became of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StateWord {
    Done,
    Failed,
    Running,
}

impl std::str::FromStr for StateWord {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "running" => Ok(Self::Running),
            "done" => Ok(Self::Done),
            "failed" => Ok(Self::Failed),
            _ => Err(()),
        }
    }
}

/// What is to be backed up.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NewBackup {
    /// `FULL`, which is the default: there is no other kind.
    #[schema(example = "FULL", pattern = "^FULL$")]
    backup_type: Option<String>,
    /// How it is written. Default: native where the database is a file of SQLite, else portable.
    form: Option<Form>,
}

/// A backup was begun.
#[derive(Debug, Serialize, ToSchema)]
pub struct BackupBegun {
    /// `Backup initiated`
    #[schema(example = "Backup initiated")]
    status: &'static str,
    #[schema(example = "backup_20260301T120001Z")]
    backup_id: String,
}

/// A page of backups.
#[derive(Debug, Serialize, ToSchema)]
pub struct BackupList {
    backups: Vec<BackupItem>,
    total: u64,
    limit: u64,
    offset: u64,
}

/// A backup.
#[derive(Debug, Serialize, ToSchema)]
pub struct BackupItem {
    /// `backup_` and when it was begun.
    #[schema(example = "backup_20260301T120001Z")]
    backup_id: String,
    /// `FULL`
    #[schema(example = "FULL")]
    backup_type: &'static str,
    form: Form,
    state: StateWord,
    /// When it was begun: the state that it holds.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was whole, or failed; null while it is made.
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
    /// Of the whole file, in words; null before.
    #[schema(example = "500MB")]
    size: Option<String>,
    size_bytes: Option<u64>,
    /// How far it has come; null before that is known, and afterwards.
    progress: Option<BackupProgress>,
    /// Why it failed; null unless it did.
    error: Option<String>,
}

/// How far a backup has come.
#[derive(Debug, Serialize, ToSchema)]
pub struct BackupProgress {
    unit: ProgressUnit,
    done: u64,
    /// Of a native backup the most that it will be.
    total: u64,
    /// Of 100.
    #[schema(minimum = 0, maximum = 100)]
    percent: f64,
}

/// What is counted.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProgressUnit {
    Rows,
    Bytes,
}

impl From<Progress> for BackupProgress {
    fn from(progress: Progress) -> Self {
        let (unit, done, total) = match progress {
            Progress::Rows { done, total } => (ProgressUnit::Rows, done, total),
            Progress::Bytes { done, total } => (ProgressUnit::Bytes, done, total),
        };
        #[expect(clippy::cast_precision_loss, reason = "a percentage with one decimal")]
        let percent = if total == 0 { 0.0 } else { (done as f64 / total as f64 * 1000.0).round() / 10.0 };
        Self { unit, done, total, percent }
    }
}

impl BackupItem {
    fn word(backup: &Backup) -> StateWord {
        match backup.state {
            BackupState::Running(_) => StateWord::Running,
            BackupState::Done { .. } => StateWord::Done,
            BackupState::Failed(_) => StateWord::Failed,
        }
    }
}

impl From<Backup> for BackupItem {
    fn from(backup: Backup) -> Self {
        let state = Self::word(&backup);
        let (size_bytes, progress, error) = match backup.state {
            BackupState::Running(progress) => (None, progress, None),
            BackupState::Done { bytes, .. } => (Some(bytes), None, None),
            BackupState::Failed(why) => (None, None, Some(why)),
        };
        Self {
            backup_id: backup.id,
            backup_type: FULL,
            form: backup.form,
            state,
            created_at: backup.created_at,
            finished_at: backup.finished_at,
            size: size_bytes.map(in_words),
            size_bytes,
            progress: progress.map(Into::into),
            error,
        }
    }
}

/// `512B`, `1.5KB`, `500MB`, `2.3GB`: by thousands, with a decimal below ten.
fn in_words(bytes: u64) -> String {
    let mut unit = 1;
    for (name, next) in [("B", 1_000), ("KB", 1_000_000), ("MB", 1_000_000_000), ("GB", u64::MAX)] {
        if bytes >= next {
            unit = next;
            continue;
        }
        let tenths = (bytes / (unit / 10).max(1)) * if unit == 1 { 10 } else { 1 };
        let (whole, rest) = (tenths / 10, tenths % 10);
        return if whole < 10 && rest > 0 { format!("{whole}.{rest}{name}") } else { format!("{whole}{name}") };
    }
    format!("{bytes}B")
}

/// List backups
///
/// Those that are in the folder of the backups (`backup.folder`), the one that is being made, and the last ten that failed
/// since the start.
#[utoipa::path(get, path = "/api/v1/backups", tag = "backups", params(BackupParams),
    responses((status = 200, body = BackupList)))]
pub async fn list(
    State(ctx): Ctx,
    actor: Actor,
    Query(params): Query<BackupParams>,
) -> Result<Json<BackupList>, Problem> {
    let mut all = verbs::list(&ctx, &actor).await?;
    all.retain(|backup| params.state.is_none_or(|state| BackupItem::word(backup) == state));
    let mut backups: Vec<BackupItem> = all.into_iter().map(BackupItem::from).collect();
    if let Some(sort) = params.sort {
        sort.arrange(&mut backups, |key, a, b| match key {
            BackupSort::CreatedAt => a.created_at.cmp(&b.created_at),
            BackupSort::FinishedAt => a.finished_at.cmp(&b.finished_at),
            BackupSort::State => a.state.cmp(&b.state),
            BackupSort::Size => a.size_bytes.cmp(&b.size_bytes),
        });
    }
    let (total, Page { limit, offset }) = (backups.len() as u64, params.page);
    Ok(Json(BackupList { backups: params.page.cut(backups), total, limit, offset }))
}

/// Begin a backup
///
/// It is made while checks and requests go on. One at a time: 409 while another one is made.
#[utoipa::path(post, path = "/api/v1/backups", tag = "backups", request_body = NewBackup, responses(
    (status = 202, body = BackupBegun, headers(("Location" = String))),
    (status = 409, response = super::openapi::ProblemResponse),
))]
pub async fn create(
    State(ctx): Ctx,
    actor: Actor,
    Query(()): Query<()>,
    JsonBody(new): JsonBody<NewBackup>,
) -> Result<Response, Problem> {
    if let Some(other) = new.backup_type.filter(|kind| kind != FULL) {
        let shown: String = other.chars().take(100).collect();
        let detail = format!("`{shown}` is no kind of backup: there is only {FULL}");
        return Err(Problem::invalid(vec![FieldError::at("/backup_type", "invalid", detail)]));
    }
    let backup_id = verbs::start(&ctx, &actor, new.form).await?;
    let location = [(header::LOCATION, format!("/api/v1/backups/{backup_id}"))];
    let begun = BackupBegun { status: "Backup initiated", backup_id };
    Ok((StatusCode::ACCEPTED, location, Json(begun)).into_response())
}

/// Get a backup
///
/// While it is made, how far it has come.
#[utoipa::path(get, path = "/api/v1/backups/{id}", tag = "backups", params(("id" = String, Path)),
    responses((status = 200, body = BackupItem)))]
pub async fn get(
    State(ctx): Ctx,
    actor: Actor,
    TextPath(id): TextPath,
    Query(()): Query<()>,
) -> Result<Json<BackupItem>, Problem> {
    Ok(Json(verbs::get(&ctx, &actor, &id).await?.into()))
}

/// Download a backup
///
/// The file, which holds the secrets of the endpoints: each reading is in the audit log. A part of it with `Range`.
#[utoipa::path(get, path = "/api/v1/backups/{id}/content", tag = "backups",
    params(
        ("id" = String, Path),
        ("Range" = Option<String>, Header, description = "A part of the file: `bytes=1000-`"),
        ("If-Modified-Since" = Option<String>, Header),
    ),
    responses(
        (status = 200, description = "the file", headers(("Content-Disposition" = String), ("Last-Modified" = String)),
            content(
                (Vec<u8> = "application/vnd.sqlite3"),
                (Vec<u8> = "application/gzip"),
            )),
        (status = 206, description = "a part of the file", headers(("Content-Range" = String)),
            content(
                (Vec<u8> = "application/vnd.sqlite3"),
                (Vec<u8> = "application/gzip"),
            )),
        (status = 304, description = "not changed since"),
        (status = 409, response = super::openapi::ProblemResponse),
        (status = 412, response = super::openapi::ProblemResponse),
        (status = 416, response = super::openapi::ProblemResponse),
    ))]
pub async fn content(
    State(ctx): Ctx,
    actor: Actor,
    TextPath(id): TextPath,
    Query(()): Query<()>,
    request: Request,
) -> Result<Response, Problem> {
    let (_, path) = match *request.method() {
        Method::HEAD => verbs::file(&ctx, &actor, &id).await?,
        _ => verbs::read(&ctx, &actor, &id).await?,
    };
    let is_native = path.extension().is_some_and(|extension| extension == "db");
    let kind = HeaderValue::from_static(if is_native { "application/vnd.sqlite3" } else { "application/gzip" });
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Ok(mut response) = ServeFile::new(&path).oneshot(request).await.map(IntoResponse::into_response);
    match response.status() {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => {
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, kind);
            if let Ok(disposition) = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
                headers.insert(header::CONTENT_DISPOSITION, disposition);
            }
            Ok(response)
        }
        StatusCode::RANGE_NOT_SATISFIABLE => {
            let problem = Problem::new(ProblemKind::RangeNotSatisfiable, "The file has no such part");
            let range = response.headers().get(header::CONTENT_RANGE).cloned();
            Err(match range {
                Some(range) => problem.with_header(header::CONTENT_RANGE, range),
                None => problem,
            })
        }
        // Removed in this very moment.
        StatusCode::NOT_FOUND => Err(Problem::new(ProblemKind::NotFound, format!("Backup {id} does not exist"))),
        _ => Ok(response),
    }
}

/// Delete a backup
///
/// The file goes; of one that failed only the memory. 409 while it is made.
#[utoipa::path(delete, path = "/api/v1/backups/{id}", tag = "backups", params(("id" = String, Path)), responses(
    (status = 204, description = "deleted"),
    (status = 409, response = super::openapi::ProblemResponse),
))]
pub async fn delete(
    State(ctx): Ctx,
    actor: Actor,
    TextPath(id): TextPath,
    Query(()): Query<()>,
) -> Result<StatusCode, Problem> {
    verbs::delete(&ctx, &actor, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_in_words() {
        for (bytes, words) in [
            (0, "0B"),
            (999, "999B"),
            (1_000, "1KB"),
            (1_550, "1.5KB"),
            (98_765, "98KB"),
            (500_000_000, "500MB"),
            (9_960_000_000, "9.9GB"),
            (123_000_000_000_000, "123000GB"),
        ] {
            assert_eq!(in_words(bytes), words, "{bytes}");
        }
    }
}
