//! `channels`: those made through the API, with everything that was set, secrets included. What the settings mean is
//! not decided here, and those of the configuration are not here.

use std::fmt;

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveValue, ColumnTrait, ConnectionTrait, EntityTrait, Order, QueryFilter, QueryOrder};
use serde_json::{Map, Value};

use super::entities::channels as table;
use super::{StoreError, decode};
use crate::domain::{Timestamp, from_micros, micros};

/// A channel as it is kept. `Debug` leaves the settings out: they hold secrets.
#[derive(Clone, PartialEq)]
pub struct StoredChannel {
    pub name: String,
    pub settings: Map<String, Value>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// 1 when made, then one more with every change.
    pub revision: i64,
}

impl fmt::Debug for StoredChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredChannel")
            .field("name", &self.name)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}

/// Adds a channel.
///
/// # Errors
/// [`StoreError::Conflict`] when the name is taken.
pub async fn insert(
    db: &impl ConnectionTrait,
    name: &str,
    settings: Map<String, Value>,
    now: Timestamp,
) -> Result<StoredChannel, StoreError> {
    let now = micros(now);
    let row = table::ActiveModel {
        id: ActiveValue::NotSet,
        name: ActiveValue::Set(name.to_owned()),
        settings: ActiveValue::Set(Value::Object(settings)),
        created_at: ActiveValue::Set(now),
        updated_at: ActiveValue::Set(now),
        revision: ActiveValue::Set(1),
    };
    read(table::Entity::insert(row).exec_with_returning(db).await?)
}

/// Replaces the settings of a channel and counts its revision up.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Stale`] when `expected_revision` is no longer its revision.
pub async fn update(
    db: &impl ConnectionTrait,
    name: &str,
    settings: Map<String, Value>,
    expected_revision: i64,
    now: Timestamp,
) -> Result<StoredChannel, StoreError> {
    let changed = table::Entity::update_many()
        .col_expr(table::Column::Settings, Expr::value(Value::Object(settings)))
        .col_expr(table::Column::UpdatedAt, Expr::value(micros(now)))
        .col_expr(table::Column::Revision, Expr::col(table::Column::Revision).add(1))
        .filter(table::Column::Name.eq(name))
        .filter(table::Column::Revision.eq(expected_revision))
        .exec(db)
        .await?;
    match (changed.rows_affected, find(db, name).await?) {
        (_, None) => Err(StoreError::NotFound),
        (0, Some(_)) => Err(StoreError::Stale),
        (_, Some(channel)) => Ok(channel),
    }
}

/// Removes a channel.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn delete(db: &impl ConnectionTrait, name: &str) -> Result<(), StoreError> {
    let gone = table::Entity::delete_many().filter(table::Column::Name.eq(name)).exec(db).await?;
    if gone.rows_affected == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}

/// A channel by its name.
pub async fn find(db: &impl ConnectionTrait, name: &str) -> Result<Option<StoredChannel>, StoreError> {
    table::Entity::find().filter(table::Column::Name.eq(name)).one(db).await?.map(read).transpose()
}

/// All channels, in the order in which they were made.
pub async fn list(db: &impl ConnectionTrait) -> Result<Vec<StoredChannel>, StoreError> {
    table::Entity::find().order_by(table::Column::Id, Order::Asc).all(db).await?.into_iter().map(read).collect()
}

fn read(row: table::Model) -> Result<StoredChannel, StoreError> {
    // The value itself is not shown: it may hold secrets.
    let Value::Object(settings) = row.settings else { return Err(decode::unreadable("channels.settings", "***")) };
    Ok(StoredChannel {
        name: row.name,
        settings,
        created_at: from_micros(row.created_at),
        updated_at: from_micros(row.updated_at),
        revision: row.revision,
    })
}
