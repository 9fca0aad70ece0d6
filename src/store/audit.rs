//! `audit_log`: who changed what, and who read or was refused what. Changes are kept for good.

use sea_orm::{
    ActiveValue, ColumnTrait, ConnectionTrait, EntityTrait, Order, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, Select,
};

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

/// What a request is called that reads what only administrators may read.
pub const READ: &str = "request.read";

/// Removes entries of an action that are older than `before`, at most `batch`; returns how many.
pub async fn delete_before(
    db: &impl ConnectionTrait,
    action: &str,
    before: Timestamp,
    batch: u64,
) -> Result<u64, StoreError> {
    let ids: Vec<i64> = table::Entity::find()
        .select_only()
        .column(table::Column::Id)
        .filter(table::Column::Action.eq(action))
        .filter(table::Column::At.lt(micros(before)))
        .limit(batch)
        .into_tuple()
        .all(db)
        .await?;
    Ok(table::Entity::delete_many().filter(table::Column::Id.is_in(ids)).exec(db).await?.rows_affected)
}

/// Which entries; `None` lets all through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    pub actor: Option<String>,
    pub action: Option<String>,
    pub subject: Option<String>,
    pub result: Option<String>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    /// In the order in which they were written; else the newest first.
    pub is_oldest_first: bool,
    /// Only entries that come after this one in the order: the last of the page before. Does not change the [`count`].
    pub beyond: Option<i64>,
    pub limit: u64,
    pub offset: u64,
}

impl AuditQuery {
    fn select(&self) -> Select<table::Entity> {
        let text = |column: table::Column, wanted: &Option<String>| wanted.as_ref().map(|wanted| column.eq(wanted));
        let conditions = [
            text(table::Column::Actor, &self.actor),
            text(table::Column::Action, &self.action),
            text(table::Column::Subject, &self.subject),
            text(table::Column::Result, &self.result),
            self.from.map(|from| table::Column::At.gte(micros(from))),
            self.to.map(|to| table::Column::At.lt(micros(to))),
        ];
        conditions.into_iter().flatten().fold(table::Entity::find(), QueryFilter::filter)
    }
}

/// Entries in the order that is asked for.
pub async fn page(db: &impl ConnectionTrait, query: &AuditQuery) -> Result<Vec<StoredAuditEntry>, StoreError> {
    let mut select = query.select();
    let id = table::Column::Id;
    if let Some(beyond) = query.beyond {
        select = select.filter(if query.is_oldest_first { id.gt(beyond) } else { id.lt(beyond) });
    }
    let order = if query.is_oldest_first { Order::Asc } else { Order::Desc };
    let rows = select.order_by(id, order).limit(query.limit).offset(query.offset).all(db).await?;
    Ok(rows.into_iter().map(read).collect())
}

/// How many entries there are on all pages.
pub async fn count(db: &impl ConnectionTrait, query: &AuditQuery) -> Result<u64, StoreError> {
    Ok(query.select().count(db).await?)
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
