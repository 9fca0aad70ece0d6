//! `settings`: what the monitor remembers of itself between two runs, as JSON by key. Not the configuration.

use sea_orm::sea_query::{Alias, Expr, ExprTrait, OnConflict};
use sea_orm::{ActiveValue, ConnectionTrait, EntityTrait};
use serde_json::Value;

use super::StoreError;
use super::entities::settings as table;
use crate::domain::{Timestamp, micros};

/// The value of a key, if it was ever put.
pub async fn get(db: &impl ConnectionTrait, key: &str) -> Result<Option<Value>, StoreError> {
    Ok(table::Entity::find_by_id(key.to_owned()).one(db).await?.map(|row| row.value))
}

/// Forgets the value of a key.
pub async fn remove(db: &impl ConnectionTrait, key: &str) -> Result<(), StoreError> {
    table::Entity::delete_by_id(key.to_owned()).exec(db).await?;
    Ok(())
}

/// Puts a value in place of another one. `false`: this very value is there already. Of two transactions that put the
/// same one at the same time the second waits for the first, and is told `false` if that was committed.
pub async fn put_if_other(
    db: &impl ConnectionTrait,
    key: &str,
    value: Value,
    now: Timestamp,
) -> Result<bool, StoreError> {
    // As texts, since the JSON type of PostgreSQL cannot be compared.
    let text = |column: Expr| column.cast_as("text");
    let there = text(Expr::col((table::Entity, table::Column::Value)));
    let put = text(Expr::col((Alias::new("excluded"), table::Column::Value)));
    let changed = table::Entity::insert(table::ActiveModel {
        key: ActiveValue::Set(key.to_owned()),
        value: ActiveValue::Set(value),
        updated_at: ActiveValue::Set(micros(now)),
    })
    .on_conflict(
        OnConflict::column(table::Column::Key)
            .update_columns([table::Column::Value, table::Column::UpdatedAt])
            .action_and_where(there.ne(put))
            .to_owned(),
    )
    .exec_without_returning(db)
    .await?;
    Ok(changed > 0)
}

/// Puts a value in place of the one that is there.
pub async fn put(db: &impl ConnectionTrait, key: &str, value: Value, now: Timestamp) -> Result<(), StoreError> {
    table::Entity::insert(table::ActiveModel {
        key: ActiveValue::Set(key.to_owned()),
        value: ActiveValue::Set(value),
        updated_at: ActiveValue::Set(micros(now)),
    })
    .on_conflict(
        OnConflict::column(table::Column::Key)
            .update_columns([table::Column::Value, table::Column::UpdatedAt])
            .to_owned(),
    )
    .exec_without_returning(db)
    .await?;
    Ok(())
}
