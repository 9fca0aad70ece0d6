//! `groups`: the groups made through the API. Those of the configuration are not here.

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveValue, ColumnTrait, ConnectionTrait, EntityTrait, Order, QueryFilter, QueryOrder};

use super::entities::groups as table;
use super::{StoreError, decode};
use crate::domain::endpoint::EndpointSettings;
use crate::domain::group::{Group, GroupMade, StoredAs};
use crate::domain::{Timestamp, from_micros, micros};

/// What of a group is kept, as it shall be.
#[derive(Debug, Clone)]
pub struct GroupContent {
    pub description: String,
    /// Without name, url, group and description.
    pub settings: EndpointSettings,
}

/// Adds a group.
///
/// # Errors
/// [`StoreError::Conflict`] when the name is taken.
pub async fn insert(
    db: &impl ConnectionTrait,
    name: &str,
    content: &GroupContent,
    now: Timestamp,
) -> Result<Group, StoreError> {
    let row = table::ActiveModel {
        id: ActiveValue::NotSet,
        name: ActiveValue::Set(name.to_owned()),
        description: ActiveValue::Set(content.description.clone()),
        spec: ActiveValue::Set(spec_of(&content.settings)?),
        revision: ActiveValue::Set(1),
        created_at: ActiveValue::Set(micros(now)),
        updated_at: ActiveValue::Set(micros(now)),
    };
    Ok(read(table::Entity::insert(row).exec_with_returning(db).await?).1)
}

/// Changes a group and counts its revision up.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Stale`] when `expected_revision` is no longer its revision.
pub async fn update(
    db: &impl ConnectionTrait,
    name: &str,
    content: &GroupContent,
    expected_revision: i64,
    now: Timestamp,
) -> Result<Group, StoreError> {
    let changed = table::Entity::update_many()
        .col_expr(table::Column::Description, Expr::value(content.description.clone()))
        .col_expr(table::Column::Spec, Expr::value(spec_of(&content.settings)?))
        .col_expr(table::Column::UpdatedAt, Expr::value(micros(now)))
        .col_expr(table::Column::Revision, Expr::col(table::Column::Revision).add(1))
        .filter(table::Column::Name.eq(name))
        .filter(table::Column::Revision.eq(expected_revision))
        .exec(db)
        .await?;
    match (changed.rows_affected, find(db, name).await?) {
        (_, None) => Err(StoreError::NotFound),
        (0, Some(_)) => Err(StoreError::Stale),
        (_, Some(group)) => Ok(group),
    }
}

/// Removes a group; its endpoints stay. Says whether there was one.
pub async fn delete(db: &impl ConnectionTrait, name: &str) -> Result<bool, StoreError> {
    let gone = table::Entity::delete_many().filter(table::Column::Name.eq(name)).exec(db).await?;
    Ok(gone.rows_affected > 0)
}

/// A group by its name.
pub async fn find(db: &impl ConnectionTrait, name: &str) -> Result<Option<Group>, StoreError> {
    let row = table::Entity::find().filter(table::Column::Name.eq(name)).one(db).await?;
    Ok(row.map(|row| read(row).1))
}

/// All groups that are kept, by name, also those that cannot be read as a whole.
pub async fn list(db: &impl ConnectionTrait) -> Result<Vec<(String, Group)>, StoreError> {
    Ok(table::Entity::find().order_by(table::Column::Name, Order::Asc).all(db).await?.into_iter().map(read).collect())
}

fn spec_of(settings: &EndpointSettings) -> Result<serde_json::Value, StoreError> {
    serde_json::to_value(settings).map_err(|e| StoreError::Other(format!("the settings cannot be stored: {e}")))
}

fn read(row: table::Model) -> (String, Group) {
    let (settings, unreadable) = decode::settings(row.spec);
    let made = GroupMade::Stored(StoredAs {
        revision: row.revision,
        created_at: from_micros(row.created_at),
        updated_at: from_micros(row.updated_at),
    });
    (row.name, Group { description: row.description, settings, made, unreadable })
}
