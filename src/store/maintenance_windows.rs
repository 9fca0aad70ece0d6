//! `maintenance_windows`: the windows made through the API. Those of the configuration are not here.

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveValue, ColumnTrait, ConnectionTrait, EntityTrait, Order, QueryFilter, QueryOrder};

use super::entities::maintenance_windows as table;
use super::{StoreError, decode};
use crate::domain::maintenance::{KnownWindow, StoredAs, WindowMade, WindowSettings};
use crate::domain::{Timestamp, from_micros, micros};

fn json_of(settings: &WindowSettings) -> Result<serde_json::Value, StoreError> {
    serde_json::to_value(settings).map_err(|e| StoreError::Other(format!("the window cannot be stored: {e}")))
}

/// Adds a window, which has a name.
///
/// # Errors
/// [`StoreError::Conflict`] when the name is taken.
pub async fn insert(
    db: &impl ConnectionTrait,
    settings: &WindowSettings,
    created_by: &str,
    now: Timestamp,
) -> Result<KnownWindow, StoreError> {
    let row = table::ActiveModel {
        id: ActiveValue::NotSet,
        name: ActiveValue::Set(settings.name.clone().unwrap_or_default()),
        settings: ActiveValue::Set(json_of(settings)?),
        created_at: ActiveValue::Set(micros(now)),
        created_by: ActiveValue::Set(created_by.to_owned()),
        updated_at: ActiveValue::Set(micros(now)),
        revision: ActiveValue::Set(1),
    };
    Ok(read(table::Entity::insert(row).exec_with_returning(db).await?))
}

/// Changes a window, and counts its revision up.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Stale`] when `expected_revision` is no longer its revision;
/// [`StoreError::Conflict`] when the name is another one's.
pub async fn update(
    db: &impl ConnectionTrait,
    id: i64,
    settings: &WindowSettings,
    expected_revision: i64,
    now: Timestamp,
) -> Result<KnownWindow, StoreError> {
    let changed = table::Entity::update_many()
        .col_expr(table::Column::Name, Expr::value(settings.name.clone().unwrap_or_default()))
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

/// Removes a window, if it is there.
pub async fn delete(db: &impl ConnectionTrait, id: i64) -> Result<(), StoreError> {
    table::Entity::delete_by_id(id).exec(db).await?;
    Ok(())
}

/// All windows, by name, also those that cannot be read as a whole. What they mean is not worked out.
pub async fn list(db: &impl ConnectionTrait) -> Result<Vec<KnownWindow>, StoreError> {
    let rows = table::Entity::find().order_by(table::Column::Name, Order::Asc).all(db).await?;
    Ok(rows.into_iter().map(read).collect())
}

fn read(row: table::Model) -> KnownWindow {
    let (settings, unreadable) = decode::settings::<WindowSettings>(row.settings);
    let made = WindowMade::Stored(StoredAs {
        id: row.id,
        created_at: from_micros(row.created_at),
        created_by: row.created_by,
        updated_at: from_micros(row.updated_at),
        revision: row.revision,
    });
    // By the column, whatever the rest is.
    KnownWindow { settings: WindowSettings { name: Some(row.name), ..settings }, window: None, unreadable, made }
}
