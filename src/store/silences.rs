//! `silences`: of which endpoints nobody is told for a time, those that have ended included.

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveValue, ColumnTrait, ConnectionTrait, EntityTrait, Order, QueryFilter, QueryOrder};

use super::entities::silences as table;
use super::{StoreError, decode};
use crate::domain::silence::{Silence, SilenceSettings};
use crate::domain::{Timestamp, from_micros, micros};

fn json_of(settings: &SilenceSettings) -> Result<serde_json::Value, StoreError> {
    serde_json::to_value(settings).map_err(|e| StoreError::Other(format!("the silence cannot be stored: {e}")))
}

/// Adds a silence.
pub async fn insert(
    db: &impl ConnectionTrait,
    settings: &SilenceSettings,
    created_by: &str,
    now: Timestamp,
) -> Result<Silence, StoreError> {
    let row = table::ActiveModel {
        id: ActiveValue::NotSet,
        settings: ActiveValue::Set(json_of(settings)?),
        created_at: ActiveValue::Set(micros(now)),
        created_by: ActiveValue::Set(created_by.to_owned()),
        updated_at: ActiveValue::Set(micros(now)),
        revision: ActiveValue::Set(1),
    };
    Ok(read(table::Entity::insert(row).exec_with_returning(db).await?))
}

/// Changes a silence, and counts its revision up.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Stale`] when `expected_revision` is no longer its revision.
pub async fn update(
    db: &impl ConnectionTrait,
    id: i64,
    settings: &SilenceSettings,
    expected_revision: i64,
    now: Timestamp,
) -> Result<Silence, StoreError> {
    let changed = table::Entity::update_many()
        .col_expr(table::Column::Settings, Expr::value(json_of(settings)?))
        .col_expr(table::Column::UpdatedAt, Expr::value(micros(now)))
        .col_expr(table::Column::Revision, Expr::col(table::Column::Revision).add(1))
        .filter(table::Column::Id.eq(id))
        .filter(table::Column::Revision.eq(expected_revision))
        .exec(db)
        .await?;
    match (changed.rows_affected, table::Entity::find_by_id(id).one(db).await?) {
        (_, None) => Err(StoreError::NotFound),
        (0, Some(_)) => Err(StoreError::Stale),
        (_, Some(row)) => Ok(read(row)),
    }
}

/// Removes these silences, those of them that are there.
pub async fn delete(db: &impl ConnectionTrait, ids: &[i64]) -> Result<(), StoreError> {
    table::Entity::delete_many().filter(table::Column::Id.is_in(ids.iter().copied())).exec(db).await?;
    Ok(())
}

/// All silences, by id, also those that cannot be read as a whole.
pub async fn list(db: &impl ConnectionTrait) -> Result<Vec<Silence>, StoreError> {
    Ok(table::Entity::find().order_by(table::Column::Id, Order::Asc).all(db).await?.into_iter().map(read).collect())
}

fn read(row: table::Model) -> Silence {
    let (settings, unreadable) = decode::settings(row.settings);
    Silence {
        id: row.id,
        settings,
        unreadable,
        created_at: from_micros(row.created_at),
        created_by: row.created_by,
        updated_at: from_micros(row.updated_at),
        revision: row.revision,
    }
}
