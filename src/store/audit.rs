//! `audit_log`: who changed what, newest first. Changes are kept for good.

use sea_orm::{ActiveValue, ColumnTrait, ConnectionTrait, EntityTrait, Order, QueryFilter, QueryOrder, QuerySelect};

use super::StoreError;
use super::entities::audit_log as table;
use crate::domain::{Timestamp, from_micros, micros};

/// One change, or an attempt at one. Secrets in `before` and `after` are masked by the caller.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    pub at: Timestamp,
    pub actor: String,
    /// Where the request came from.
    pub address: Option<String>,
    /// `endpoint.update`.
    pub action: String,
    /// What it was done to: `endpoint/7`.
    pub subject: String,
    /// `ok`, or why not.
    pub result: String,
    pub before: Option<serde_json::Value>,
    pub after: Option<serde_json::Value>,
}

/// An entry with its place in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredAuditEntry {
    pub id: i64,
    pub entry: AuditEntry,
}

/// Adds an entry, in the transaction of the change it tells of.
pub async fn append(db: &impl ConnectionTrait, entry: AuditEntry) -> Result<(), StoreError> {
    table::Entity::insert(table::ActiveModel {
        id: ActiveValue::NotSet,
        at: ActiveValue::Set(micros(entry.at)),
        actor: ActiveValue::Set(entry.actor),
        address: ActiveValue::Set(entry.address),
        action: ActiveValue::Set(entry.action),
        subject: ActiveValue::Set(entry.subject),
        result: ActiveValue::Set(entry.result),
        before: ActiveValue::Set(entry.before),
        after: ActiveValue::Set(entry.after),
    })
    .exec_without_returning(db)
    .await?;
    Ok(())
}

/// What a refused request is called.
pub const REFUSED: &str = "request.refused";

/// Removes refusals older than `before`, at most `batch`; returns how many.
pub async fn delete_refusals_before(
    db: &impl ConnectionTrait,
    before: Timestamp,
    batch: u64,
) -> Result<u64, StoreError> {
    let ids: Vec<i64> = table::Entity::find()
        .select_only()
        .column(table::Column::Id)
        .filter(table::Column::Action.eq(REFUSED))
        .filter(table::Column::At.lt(micros(before)))
        .limit(batch)
        .into_tuple()
        .all(db)
        .await?;
    Ok(table::Entity::delete_many().filter(table::Column::Id.is_in(ids)).exec(db).await?.rows_affected)
}

/// The newest `limit` entries, or the newest before the entry `before`.
pub async fn list(
    db: &impl ConnectionTrait,
    limit: u64,
    before: Option<i64>,
) -> Result<Vec<StoredAuditEntry>, StoreError> {
    let mut query = table::Entity::find().order_by(table::Column::Id, Order::Desc).limit(limit);
    if let Some(id) = before {
        query = query.filter(table::Column::Id.lt(id));
    }
    Ok(query.all(db).await?.into_iter().map(read).collect())
}

/// The newest entry of an action with a result.
pub async fn newest(
    db: &impl ConnectionTrait,
    action: &str,
    result: &str,
) -> Result<Option<StoredAuditEntry>, StoreError> {
    let query = table::Entity::find()
        .filter(table::Column::Action.eq(action))
        .filter(table::Column::Result.eq(result))
        .order_by(table::Column::Id, Order::Desc);
    Ok(query.one(db).await?.map(read))
}

fn read(row: table::Model) -> StoredAuditEntry {
    StoredAuditEntry {
        id: row.id,
        entry: AuditEntry {
            at: from_micros(row.at),
            actor: row.actor,
            address: row.address,
            action: row.action,
            subject: row.subject,
            result: row.result,
            before: row.before,
            after: row.after,
        },
    }
}
