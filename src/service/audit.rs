//! The audit log, seen.

use super::context::{Actor, ServiceContext};
use super::error::ServiceError;
use crate::domain::role::Role;
use crate::store::audit;
pub use crate::store::audit::{AuditEntry, AuditQuery, StoredAuditEntry};

/// A page of the log in the order that is asked for, and how many entries the filters let through on all pages.
///
/// # Errors
/// `Forbidden`, `Store`.
pub async fn list(
    ctx: &ServiceContext,
    actor: &Actor,
    query: &AuditQuery,
) -> Result<(Vec<StoredAuditEntry>, u64), ServiceError> {
    actor.require(Role::Admin)?;
    let db = ctx.store.snapshot().await.map_err(ServiceError::Store)?;
    let found = audit::page(&db, query).await.map_err(ServiceError::Store)?;
    let total = audit::count(&db, query).await.map_err(ServiceError::Store)?;
    Ok((found, total))
}
