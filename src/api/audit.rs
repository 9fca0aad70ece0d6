//! `/api/v1/audit`: who changed, read or was refused what.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::error::Problem;
use super::pagination::{FromParams, Moment, Page, Params, Query, Sort, sort_keys};
use crate::domain::Timestamp;
use crate::service::audit::{self as verbs, AuditEntry, AuditQuery, StoredAuditEntry};
use crate::service::error::FieldError;
use crate::service::{Actor, ServiceContext};

type Ctx = State<Arc<ServiceContext>>;

/// Items of a page, unless asked otherwise.
const DEFAULT_LIMIT: u64 = 100;

sort_keys! {
    /// By what the log is ordered.
    pub enum AuditSort {
        Id = "id",
    }
}

/// Which entries.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditParams {
    /// Only what this actor did: the name of a key, `local`, `anonymous`, `config` or `cli`.
    actor: Option<String>,
    /// Only this action.
    #[param(example = "endpoint.patch")]
    action: Option<String>,
    /// Only what was done to this.
    #[param(example = "endpoint/7")]
    subject: Option<String>,
    /// Only with this result: `ok`, or why not.
    #[param(example = "unauthorized")]
    result: Option<String>,
    /// Not before this instant: a date or RFC 3339.
    #[param(value_type = Option<String>, example = "2024-01-25")]
    from: Option<Moment>,
    /// Before this instant; a date is included whole.
    #[param(value_type = Option<String>, example = "2024-01-26T10:00:00Z")]
    to: Option<Moment>,
    /// `next_cursor` of the page before; steadier than `offset` while entries are added.
    cursor: Option<u64>,
    /// By what the list is ordered; `-` before it reverses. Default: `-id`, the newest first.
    #[param(inline, value_type = Option<AuditSort>)]
    sort: Option<Sort<AuditSort>>,
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

impl FromParams for AuditParams {
    fn from_params(params: &mut Params) -> Self {
        Self {
            actor: params.text("actor"),
            action: params.text("action"),
            subject: params.text("subject"),
            result: params.text("result"),
            from: params.instant("from"),
            to: params.instant("to"),
            cursor: params.number("cursor", 0..=i64::MAX.unsigned_abs()),
            sort: params.sort(),
            limit: (),
            offset: (),
            page: params.page(DEFAULT_LIMIT),
        }
    }
}

/// One entry of the log.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditItem {
    id: i64,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// The name of a key, `local` (this machine without a key), `anonymous`, `config` or `cli`.
    #[schema(example = "ci")]
    actor: String,
    /// Where the request came from; null for what came from no request.
    address: Option<String>,
    #[schema(example = "endpoint.patch")]
    action: String,
    /// What it was done to.
    #[schema(example = "endpoint/7")]
    subject: String,
    /// `ok`, or why not.
    result: String,
    /// As it was, without secrets; null where nothing was changed.
    #[schema(value_type = Option<Object>)]
    before: Option<Value>,
    /// As it is since, without secrets.
    #[schema(value_type = Option<Object>)]
    after: Option<Value>,
}

impl From<StoredAuditEntry> for AuditItem {
    fn from(stored: StoredAuditEntry) -> Self {
        let AuditEntry { at, actor, address, action, subject, result, before, after } = stored.entry;
        Self { id: stored.id, at, actor, address, action, subject, result, before, after }
    }
}

/// A page of the log.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditList {
    entries: Vec<AuditItem>,
    /// Entries that the filters let through, on all pages.
    total: u64,
    limit: u64,
    offset: u64,
    /// `cursor` of the next page; null on the last.
    next_cursor: Option<i64>,
}

/// List the audit log
///
/// Changes, refusals, sign-ins and what was read that only administrators may read. Without secrets.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(AuditParams),
    responses((status = 200, body = AuditList)))]
pub async fn list(
    State(ctx): Ctx,
    actor: Actor,
    Query(params): Query<AuditParams>,
) -> Result<Json<AuditList>, Problem> {
    let (from, to) = (params.from.map(|m| m.at), params.to.map(Moment::as_end));
    if from.is_some_and(|from| to.is_some_and(|to| from >= to)) {
        return Err(Problem::invalid(vec![FieldError::parameter("from", "conflict", "must be before `to`")]));
    }
    let Page { limit, offset } = params.page;
    let query = AuditQuery {
        actor: params.actor,
        action: params.action,
        subject: params.subject,
        result: params.result,
        from,
        to,
        is_oldest_first: params.sort.is_some_and(|sort| !sort.descending),
        beyond: params.cursor.map(|cursor| i64::try_from(cursor).unwrap_or(i64::MAX)),
        // One more, which tells whether there is a next page.
        limit: limit + 1,
        offset,
    };
    let (mut found, total) = verbs::list(&ctx, &actor, &query).await?;
    let is_last = (found.len() as u64) <= limit;
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next_cursor = found.last().map(|entry| entry.id).filter(|_| !is_last);
    let entries = found.into_iter().map(AuditItem::from).collect();
    Ok(Json(AuditList { entries, total, limit, offset, next_cursor }))
}
