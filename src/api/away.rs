//! Requests that wait for a database which does not answer are not left waiting.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::Problem;
use super::limits;
use crate::service::ServiceContext;
use crate::service::health::answers;

/// How long a request may take before it is asked whether the database answers at all.
const PATIENCE: Duration = Duration::from_secs(3);

/// Ends a request with 503 when it takes long and the database does not answer, or takes nothing that is to be written.
/// A request that is slow for another reason goes on.
pub async fn bound(State(ctx): State<Arc<ServiceContext>>, request: Request, next: Next) -> Response {
    let template = request.extensions().get::<MatchedPath>().cloned();
    if template.is_some_and(|path| limits::is_left_waiting(path.as_str())) {
        return next.run(request).await;
    }
    let writes = !request.method().is_safe();
    let mut answered = std::pin::pin!(next.run(request));
    loop {
        if let Ok(response) = tokio::time::timeout(PATIENCE, &mut answered).await {
            return response;
        }
        if (writes && ctx.metrics.database.away().is_some()) || !answers(&ctx).await {
            return Problem::database_away().into_response();
        }
    }
}
