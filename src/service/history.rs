//! Reading the single checks of an endpoint.

use std::collections::HashMap;

use super::context::ServiceContext;
use super::error::ServiceError;
use crate::domain::Timestamp;
use crate::domain::check::{CheckDetail, CheckResult};
use crate::domain::endpoint::EndpointId;
pub use crate::store::history::HistoryQuery;
use crate::store::{check_details, history as stored};

/// A page of checks, newest first.
#[derive(Debug)]
pub struct Slice {
    pub checks: Vec<CheckResult>,
    /// What explains those of them that were not good, as far as it is kept.
    pub details: HashMap<Timestamp, CheckDetail>,
    /// Checks between the bounds, on all pages.
    pub total: u64,
    /// What to give as `before` for the next page; `None` on the last.
    pub next: Option<Timestamp>,
}

/// Reads a page.
///
/// # Errors
/// `Store`.
pub async fn page(ctx: &ServiceContext, id: EndpointId, query: HistoryQuery) -> Result<Slice, ServiceError> {
    let db = ctx.store.snapshot().await.map_err(ServiceError::Store)?;
    // One more than asked for tells whether there is a next page.
    let wanted = HistoryQuery { limit: query.limit + 1, ..query };
    let mut checks = stored::page(&db, id, wanted).await.map_err(ServiceError::Store)?;
    let total = stored::count(&db, id, query.from, query.to).await.map_err(ServiceError::Store)?;
    let more = checks.len() as u64 > query.limit;
    checks.truncate(usize::try_from(query.limit).unwrap_or(usize::MAX));
    let details = match (checks.last(), checks.first()) {
        (Some(oldest), Some(newest)) => {
            let kept = check_details::between(&db, id, oldest.scheduled_at, newest.scheduled_at).await;
            kept.map_err(ServiceError::Store)?.into_iter().collect()
        }
        _ => HashMap::new(),
    };
    let next = checks.last().filter(|_| more).map(|last| last.scheduled_at);
    Ok(Slice { checks, details, total, next })
}
