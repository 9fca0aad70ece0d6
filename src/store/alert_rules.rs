//! `alert_rules`: thresholds over the monitor's own metrics, and which of them have fired.

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveValue, ColumnTrait, ConnectionTrait, EntityTrait, Order, QueryFilter, QueryOrder};
use serde_json::Value;

use super::entities::alert_rules as table;
use super::{StoreError, decode};
use crate::domain::alert_rule::{AlertId, AlertSettings, Fired};
use crate::domain::{Timestamp, from_micros, micros};

/// A rule as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRule {
    pub id: i64,
    pub settings: AlertSettings,
    /// It has fired and not cleared.
    pub fired: Option<Fired>,
    pub created_at: Timestamp,
    pub created_by: String,
    pub updated_at: Timestamp,
    /// Counts changes of the settings.
    pub revision: i64,
    /// What of the settings cannot be read: damage, or the work of a newer version. The rest is in `settings`.
    pub unreadable: Option<String>,
}

fn settings_json(settings: &AlertSettings) -> Result<Value, StoreError> {
    serde_json::to_value(settings).map_err(|e| StoreError::Other(format!("the alert rule cannot be stored: {e}")))
}

/// Adds a rule that has not fired.
pub async fn insert(
    db: &impl ConnectionTrait,
    settings: &AlertSettings,
    created_by: &str,
    now: Timestamp,
) -> Result<StoredRule, StoreError> {
    let row = table::ActiveModel {
        id: ActiveValue::NotSet,
        settings: ActiveValue::Set(settings_json(settings)?),
        firing: ActiveValue::Set(None),
        created_at: ActiveValue::Set(micros(now)),
        created_by: ActiveValue::Set(created_by.to_owned()),
        updated_at: ActiveValue::Set(micros(now)),
        revision: ActiveValue::Set(1),
    };
    Ok(read(table::Entity::insert(row).exec_with_returning(db).await?))
}

/// Changes the settings of a rule, and counts its revision up; it has not fired with them.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Stale`] when `expected_revision` is no longer its revision.
pub async fn update(
    db: &impl ConnectionTrait,
    id: i64,
    settings: &AlertSettings,
    expected_revision: i64,
    now: Timestamp,
) -> Result<StoredRule, StoreError> {
    let changed = table::Entity::update_many()
        .col_expr(table::Column::Settings, Expr::value(settings_json(settings)?))
        .col_expr(table::Column::Firing, Expr::value(None::<Value>))
        .col_expr(table::Column::UpdatedAt, Expr::value(micros(now)))
        .col_expr(table::Column::Revision, Expr::col(table::Column::Revision).add(1))
        .filter(table::Column::Id.eq(id))
        .filter(table::Column::Revision.eq(expected_revision))
        .exec(db)
        .await?;
    match (changed.rows_affected, find(db, id).await?) {
        (_, None) => Err(StoreError::NotFound),
        (0, Some(_)) => Err(StoreError::Stale),
        (_, Some(rule)) => Ok(rule),
    }
}

/// Notes that a rule fired, or cleared. No change of the rule: its revision stays. `false`: it is gone, or another one
/// than at `revision`.
pub async fn note_firing(
    db: &impl ConnectionTrait,
    id: i64,
    revision: i64,
    fired: Option<&Fired>,
) -> Result<bool, StoreError> {
    let fired = fired
        .map(serde_json::to_value)
        .transpose()
        .map_err(|e| StoreError::Other(format!("the firing cannot be stored: {e}")))?;
    let noted = table::Entity::update_many()
        .col_expr(table::Column::Firing, Expr::value(fired))
        .filter(table::Column::Id.eq(id))
        .filter(table::Column::Revision.eq(revision))
        .exec(db)
        .await?;
    Ok(noted.rows_affected > 0)
}

/// Removes a rule. Its id is never used again.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn delete(db: &impl ConnectionTrait, id: i64) -> Result<(), StoreError> {
    let gone = table::Entity::delete_by_id(id).exec(db).await?;
    if gone.rows_affected == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}

/// A rule by its id.
pub async fn find(db: &impl ConnectionTrait, id: i64) -> Result<Option<StoredRule>, StoreError> {
    Ok(table::Entity::find_by_id(id).one(db).await?.map(read))
}

/// All rules, by id, also those that cannot be read as a whole.
pub async fn list(db: &impl ConnectionTrait) -> Result<Vec<StoredRule>, StoreError> {
    Ok(table::Entity::find().order_by(table::Column::Id, Order::Asc).all(db).await?.into_iter().map(read).collect())
}

fn read(row: table::Model) -> StoredRule {
    let (settings, unreadable) = decode::settings(row.settings);
    let fired = row.firing.map(|json| decode::json(json, "alert_rules.firing")).transpose();
    let fired = fired.unwrap_or_else(|error| {
        let alert = AlertId(row.id);
        tracing::error!(%alert, %error, "that an alert rule fires cannot be read: if it still does it is told again");
        None
    });
    StoredRule {
        id: row.id,
        settings,
        fired,
        created_at: from_micros(row.created_at),
        created_by: row.created_by,
        updated_at: from_micros(row.updated_at),
        revision: row.revision,
        unreadable,
    }
}
