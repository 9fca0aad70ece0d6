//! `POST /api/v1/endpoints/bulk`: many changes of endpoints in one request, each with its own result.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::error::{Problem, ProblemDocument};
use super::extract::{JsonBody, Object};
use super::limits::BULK_ROUTE;
use super::pagination::Query;
use crate::domain::endpoint::EndpointId;
use crate::service::bulk::{self as verbs, Applied, Op, Operation};
use crate::service::{Actor, ServiceContext};

/// What is to be done, in this order.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkRequest {
    /// At most 1000.
    #[schema(max_items = 1000, value_type = Vec<BulkOperation>)]
    operations: Vec<Object<BulkOperation>>,
}

/// One change of one endpoint.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkOperation {
    op: Op,
    /// The endpoint, unless `key` names it.
    #[serde(default)]
    #[schema(minimum = 1)]
    id: Option<i64>,
    /// The endpoint by group and name, unless `id` names it.
    #[serde(default)]
    #[schema(value_type = Option<BulkKey>)]
    key: Option<Object<BulkKey>>,
    /// For `create` and `replace` the settings, for `update` a JSON merge patch of them. Mistakes in them are told in
    /// the result of the operation.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    settings: Option<Value>,
    /// The revision that was read: the endpoint is changed only if it still has it.
    #[serde(default)]
    if_match: Option<i64>,
    /// For `delete`: remove the history as well.
    #[serde(default)]
    purge: Option<bool>,
}

/// An endpoint by group and name.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkKey {
    /// Absent or empty: no group.
    #[serde(default)]
    group: String,
    name: String,
}

/// What became of the operations.
#[derive(Debug, Serialize, ToSchema)]
pub struct BulkResults {
    /// One an operation, in the same order.
    results: Vec<BulkResult>,
    total: u64,
    succeeded: u64,
    failed: u64,
}

/// What became of one operation.
#[derive(Debug, Serialize, ToSchema)]
pub struct BulkResult {
    op: Op,
    /// As a request of its own would have been answered: 200, 201, 204, or what is in `problem`.
    #[schema(minimum = 200, maximum = 599)]
    status: u16,
    /// Of the endpoint; null when it is not known.
    id: Option<i64>,
    /// Of the endpoint after the change; null without one, and after a deletion.
    revision: Option<i64>,
    /// Why it was not done, or why that is not known; null when it was.
    problem: Option<ProblemDocument>,
}

impl From<BulkOperation> for Operation {
    fn from(operation: BulkOperation) -> Self {
        let BulkOperation { op, id, key, settings, if_match, purge } = operation;
        Self {
            op,
            id: id.map(EndpointId),
            key: key.map(|Object(BulkKey { group, name })| verbs::Key { group, name }),
            settings,
            expected_revision: if_match,
            purge: purge == Some(true),
        }
    }
}

/// Change many endpoints
///
/// At most 1000 operations, made in their order, each as by a request of its own and with its own result: one that is
/// refused neither undoes nor prevents the others. Answered with 200 whatever became of them. A body that has not this
/// form is refused as a whole, and nothing is done.
#[utoipa::path(post, path = "/api/v1/endpoints/bulk", tag = "endpoints", request_body = BulkRequest,
    responses((status = 200, body = BulkResults)))]
pub async fn apply(
    State(ctx): State<Arc<ServiceContext>>,
    actor: Actor,
    Query(()): Query<()>,
    JsonBody(BulkRequest { operations }): JsonBody<BulkRequest>,
) -> Result<Json<BulkResults>, Problem> {
    let asked: Vec<(Op, Option<i64>)> =
        operations.iter().map(|Object(operation)| (operation.op, operation.id)).collect();
    let done =
        verbs::apply(&ctx, &actor, operations.into_iter().map(|Object(operation)| operation.into()).collect()).await?;
    let results: Vec<BulkResult> = asked
        .into_iter()
        .zip(done)
        .map(|((op, id), done)| match done {
            Ok(Applied::Created { id, revision }) => BulkResult::done(op, 201, id, Some(revision)),
            Ok(Applied::Changed { id, revision }) => BulkResult::done(op, 200, id, Some(revision)),
            Ok(Applied::Deleted { id }) => BulkResult::done(op, 204, id, None),
            Err(error) => {
                let problem = Problem::from(error);
                let status = problem.status().as_u16();
                BulkResult { op, status, id, revision: None, problem: Some(problem.document(BULK_ROUTE)) }
            }
        })
        .collect();
    let (total, failed) = (results.len(), results.iter().filter(|result| result.problem.is_some()).count());
    let (total, failed) = (total as u64, failed as u64);
    Ok(Json(BulkResults { results, total, succeeded: total - failed, failed }))
}

impl BulkResult {
    fn done(op: Op, status: u16, id: EndpointId, revision: Option<i64>) -> Self {
        Self { op, status, id: Some(id.0), revision, problem: None }
    }
}
