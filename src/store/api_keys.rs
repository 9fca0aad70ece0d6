//! `api_keys`: the keys made through the API. The keys of the configuration are not here.

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveValue, ColumnTrait, ConnectionTrait, EntityTrait, Order, QueryFilter, QueryOrder};

use super::entities::api_keys as table;
use super::{StoreError, decode};
use crate::domain::api_key::{ApiKey, KeyDigest, KeyId, KeyUse, Made};
use crate::domain::role::Role;
use crate::domain::{Timestamp, from_micros, micros};

/// A key to add.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    pub name: String,
    pub role: Role,
    pub digest: KeyDigest,
    pub prefix: String,
    pub expires_at: Option<Timestamp>,
    pub created_by: String,
    pub now: Timestamp,
}

/// Everything of a key that can change, as it shall be.
#[derive(Debug, Clone)]
pub struct ApiKeyUpdate {
    pub name: String,
    pub role: Role,
    pub expires_at: Option<Timestamp>,
    /// Change it only if it still has this revision.
    pub expected_revision: i64,
}

/// Adds a key.
///
/// # Errors
/// [`StoreError::Conflict`] when the name is taken.
pub async fn insert(db: &impl ConnectionTrait, new: NewApiKey) -> Result<ApiKey, StoreError> {
    let now = micros(new.now);
    let row = table::ActiveModel {
        id: ActiveValue::NotSet,
        name: ActiveValue::Set(new.name),
        role: ActiveValue::Set(new.role.to_string()),
        digest: ActiveValue::Set(new.digest.to_hex()),
        prefix: ActiveValue::Set(new.prefix),
        expires_at: ActiveValue::Set(new.expires_at.map(micros)),
        created_at: ActiveValue::Set(now),
        created_by: ActiveValue::Set(new.created_by),
        updated_at: ActiveValue::Set(now),
        revision: ActiveValue::Set(1),
        last_used_at: ActiveValue::Set(None),
        last_used_from: ActiveValue::Set(None),
    };
    read(table::Entity::insert(row).exec_with_returning(db).await?)
}

/// Changes a key and counts its revision up.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Stale`] when `expected_revision` is no longer its revision;
/// [`StoreError::Conflict`] when the new name is taken.
pub async fn update(
    db: &impl ConnectionTrait,
    id: i64,
    update: ApiKeyUpdate,
    now: Timestamp,
) -> Result<ApiKey, StoreError> {
    let changed = table::Entity::update_many()
        .col_expr(table::Column::Name, Expr::value(update.name))
        .col_expr(table::Column::Role, Expr::value(update.role.as_str()))
        .col_expr(table::Column::ExpiresAt, Expr::value(update.expires_at.map(micros)))
        .col_expr(table::Column::UpdatedAt, Expr::value(micros(now)))
        .col_expr(table::Column::Revision, Expr::col(table::Column::Revision).add(1))
        .filter(table::Column::Id.eq(id))
        .filter(table::Column::Revision.eq(update.expected_revision))
        .exec(db)
        .await?;
    match (changed.rows_affected, find(db, id).await?) {
        (_, None) => Err(StoreError::NotFound),
        (0, Some(_)) => Err(StoreError::Stale),
        (_, Some(key)) => Ok(key),
    }
}

/// Removes a key. Its id is never used again.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn delete(db: &impl ConnectionTrait, id: i64) -> Result<(), StoreError> {
    let gone = table::Entity::delete_by_id(id).exec(db).await?;
    if gone.rows_affected == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}

/// Notes when a key was used last. No change of the key: its revision stays. Of a key that is gone nothing is noted.
pub async fn note_use(db: &impl ConnectionTrait, id: i64, last: KeyUse) -> Result<(), StoreError> {
    table::Entity::update_many()
        .col_expr(table::Column::LastUsedAt, Expr::value(micros(last.at)))
        .col_expr(table::Column::LastUsedFrom, Expr::value(last.address.map(|address| address.to_string())))
        .filter(table::Column::Id.eq(id))
        .exec(db)
        .await?;
    Ok(())
}

/// A key by its id.
pub async fn find(db: &impl ConnectionTrait, id: i64) -> Result<Option<ApiKey>, StoreError> {
    table::Entity::find_by_id(id).one(db).await?.map(read).transpose()
}

/// All keys, by id.
pub async fn list(db: &impl ConnectionTrait) -> Result<Vec<ApiKey>, StoreError> {
    table::Entity::find().order_by(table::Column::Id, Order::Asc).all(db).await?.into_iter().map(read).collect()
}

fn read(row: table::Model) -> Result<ApiKey, StoreError> {
    let address =
        row.last_used_from.as_deref().map(|text| decode::word(text, "api_keys.last_used_from")).transpose()?;
    Ok(ApiKey {
        id: KeyId::Stored(row.id),
        name: row.name,
        role: decode::word(&row.role, "api_keys.role")?,
        digest: KeyDigest::from_hex(&row.digest).ok_or_else(|| decode::unreadable("api_keys.digest", "***"))?,
        prefix: Some(row.prefix),
        source: None,
        expires_at: row.expires_at.map(from_micros),
        made: Some(Made {
            by: row.created_by,
            at: from_micros(row.created_at),
            updated_at: from_micros(row.updated_at),
            revision: row.revision,
        }),
        last_use: row.last_used_at.map(|at| KeyUse { at: from_micros(at), address }),
    })
}
