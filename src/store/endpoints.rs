//! `endpoints`: the settings of what is watched. Resolving them with their defaults is not done here.

use std::collections::BTreeMap;

use sea_orm::sea_query::{Expr, ExprTrait, SelectStatement};
use sea_orm::{ActiveValue, ColumnTrait, ConnectionTrait, EntityTrait, Order, QueryFilter, QueryOrder, QuerySelect};

use super::entities::{check_results, endpoint_certificates, endpoint_states, endpoints as table, rollups};
use super::{StoreError, decode};
use crate::domain::endpoint::{EndpointId, EndpointSettings, Origin};
use crate::domain::{Timestamp, from_micros, micros};

/// Ids in one statement, far below the bind limits.
const IDS: usize = 500;

/// An endpoint as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEndpoint {
    pub id: EndpointId,
    pub origin: Origin,
    /// `file:line` of a configured endpoint.
    pub source: Option<String>,
    pub paused: bool,
    /// 1 when created, then one more with every change.
    pub revision: i64,
    pub settings: EndpointSettings,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// From when the present schedule applies.
    pub scheduled_from: Timestamp,
    /// Since when it is no longer watched.
    pub archived_at: Option<Timestamp>,
    /// From when what is left of it is to be removed; only of an archived one.
    pub purge_at: Option<Timestamp>,
}

/// An endpoint to add.
#[derive(Debug, Clone)]
pub struct NewEndpoint {
    pub settings: EndpointSettings,
    pub origin: Origin,
    pub source: Option<String>,
    pub paused: bool,
    pub now: Timestamp,
}

/// Everything of an endpoint that can change, as it shall be.
#[derive(Debug, Clone)]
pub struct EndpointUpdate {
    pub settings: EndpointSettings,
    pub origin: Origin,
    pub source: Option<String>,
    pub paused: bool,
    pub scheduled_from: Timestamp,
    /// Change it only if it still has this revision.
    pub expected_revision: Option<i64>,
}

/// Adds an endpoint, scheduled from now.
///
/// # Errors
/// [`StoreError::Conflict`] when its group has a current endpoint of this name.
pub async fn insert(db: &impl ConnectionTrait, new: NewEndpoint) -> Result<StoredEndpoint, StoreError> {
    let now = micros(new.now);
    let row = table::ActiveModel {
        id: ActiveValue::NotSet,
        name: ActiveValue::Set(new.settings.name.clone().unwrap_or_default()),
        group_name: ActiveValue::Set(new.settings.group.clone().unwrap_or_default()),
        url: ActiveValue::Set(new.settings.url.clone().unwrap_or_default()),
        origin: ActiveValue::Set(new.origin.to_string()),
        source: ActiveValue::Set(new.source),
        paused: ActiveValue::Set(new.paused),
        revision: ActiveValue::Set(1),
        spec: ActiveValue::Set(spec_of(&new.settings)?),
        created_at: ActiveValue::Set(now),
        updated_at: ActiveValue::Set(now),
        scheduled_from: ActiveValue::Set(now),
        archived_at: ActiveValue::Set(None),
        purge_at: ActiveValue::Set(None),
    };
    let result = table::Entity::insert(row).exec_with_returning(db).await;
    read(result.map_err(|e| name_taken(e.into(), &new.settings))?)
}

/// Changes a current endpoint and counts its revision up.
///
/// # Errors
/// [`StoreError::NotFound`] for an unknown or archived id, [`StoreError::Stale`] when `expected_revision` is no
/// longer its revision, [`StoreError::Conflict`] when the new name is taken.
pub async fn update(
    db: &impl ConnectionTrait,
    id: EndpointId,
    update: EndpointUpdate,
    now: Timestamp,
) -> Result<StoredEndpoint, StoreError> {
    let wanted = Expr::col(table::Column::ArchivedAt).is_null();
    write(db, id, update, now, wanted).await
}

/// Watches an archived endpoint again, with its history; ids come from [`find_archived`].
///
/// # Errors
/// As [`update`]; [`StoreError::NotFound`] when it is not archived.
pub async fn unarchive(
    db: &impl ConnectionTrait,
    id: EndpointId,
    update: EndpointUpdate,
    now: Timestamp,
) -> Result<StoredEndpoint, StoreError> {
    let wanted = Expr::col(table::Column::ArchivedAt).is_not_null();
    write(db, id, update, now, wanted).await
}

async fn write(
    db: &impl ConnectionTrait,
    id: EndpointId,
    update: EndpointUpdate,
    now: Timestamp,
    wanted: Expr,
) -> Result<StoredEndpoint, StoreError> {
    let settings = &update.settings;
    let mut query = table::Entity::update_many()
        .col_expr(table::Column::Name, Expr::value(settings.name.clone().unwrap_or_default()))
        .col_expr(table::Column::GroupName, Expr::value(settings.group.clone().unwrap_or_default()))
        .col_expr(table::Column::Url, Expr::value(settings.url.clone().unwrap_or_default()))
        .col_expr(table::Column::Origin, Expr::value(update.origin.as_str()))
        .col_expr(table::Column::Source, Expr::value(update.source.clone()))
        .col_expr(table::Column::Paused, Expr::value(update.paused))
        .col_expr(table::Column::Spec, Expr::value(spec_of(settings)?))
        .col_expr(table::Column::ScheduledFrom, Expr::value(micros(update.scheduled_from)))
        .col_expr(table::Column::UpdatedAt, Expr::value(micros(now)))
        .col_expr(table::Column::ArchivedAt, Expr::value(None::<i64>))
        .col_expr(table::Column::Revision, Expr::col(table::Column::Revision).add(1))
        .filter(table::Column::Id.eq(id.0))
        .filter(wanted.clone());
    if let Some(revision) = update.expected_revision {
        query = query.filter(table::Column::Revision.eq(revision));
    }
    let changed = query.exec(db).await.map_err(|e| name_taken(e.into(), settings))?;
    let row = table::Entity::find_by_id(id.0).filter(wanted_after(changed.rows_affected, wanted)).one(db).await?;
    match (changed.rows_affected, row) {
        (0, Some(_)) => Err(StoreError::Stale),
        (_, Some(row)) => read(row),
        (_, None) => Err(StoreError::NotFound),
    }
}

/// After a change the row is current; without one it is looked up as it was wanted, to tell stale from missing.
fn wanted_after(changed: u64, wanted: Expr) -> Expr {
    if changed > 0 { Expr::col(table::Column::ArchivedAt).is_null() } else { wanted }
}

/// Has the present schedules of these endpoints apply from `from` on. No change of their settings: the revision stays.
pub async fn reschedule(db: &impl ConnectionTrait, ids: &[EndpointId], from: Timestamp) -> Result<(), StoreError> {
    for ids in ids.chunks(IDS) {
        table::Entity::update_many()
            .col_expr(table::Column::ScheduledFrom, Expr::value(micros(from)))
            .filter(table::Column::Id.is_in(ids.iter().map(|id| id.0)))
            .exec(db)
            .await?;
    }
    Ok(())
}

/// Stops watching an endpoint; its history stays and its name is free again.
///
/// # Errors
/// [`StoreError::NotFound`] for an unknown or archived id.
pub async fn archive(db: &impl ConnectionTrait, id: EndpointId, now: Timestamp) -> Result<(), StoreError> {
    let changed = table::Entity::update_many()
        .col_expr(table::Column::ArchivedAt, Expr::value(micros(now)))
        .col_expr(table::Column::UpdatedAt, Expr::value(micros(now)))
        .col_expr(table::Column::Revision, Expr::col(table::Column::Revision).add(1))
        .filter(table::Column::Id.eq(id.0))
        .filter(table::Column::ArchivedAt.is_null())
        .exec(db)
        .await?;
    if changed.rows_affected == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}

/// Marks an archived endpoint: what is left of it is to be removed from `at` on.
///
/// # Errors
/// [`StoreError::NotFound`] for an id that is unknown or not archived.
pub async fn mark_to_purge(db: &impl ConnectionTrait, id: EndpointId, at: Timestamp) -> Result<(), StoreError> {
    let changed = table::Entity::update_many()
        .col_expr(table::Column::PurgeAt, Expr::value(micros(at)))
        .filter(table::Column::Id.eq(id.0))
        .filter(table::Column::ArchivedAt.is_not_null())
        .exec(db)
        .await?;
    if changed.rows_affected == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}

/// Endpoints of which what is left is to be removed now, the first `limit` of them, with since when they are archived.
pub async fn to_purge(
    db: &impl ConnectionTrait,
    now: Timestamp,
    limit: u64,
) -> Result<Vec<(EndpointId, Timestamp)>, StoreError> {
    let rows = table::Entity::find()
        .select_only()
        .columns([table::Column::Id, table::Column::ArchivedAt])
        .filter(table::Column::ArchivedAt.is_not_null())
        .filter(table::Column::PurgeAt.lte(micros(now)))
        .order_by(table::Column::Id, Order::Asc)
        .limit(limit)
        .into_tuple::<(i64, i64)>()
        .all(db)
        .await?;
    Ok(rows.into_iter().map(|(id, archived_at)| (EndpointId(id), from_micros(archived_at))).collect())
}

/// Removes the history of an endpoint, at most `batch` rows a call; returns how many, 0 when nothing is left. The
/// endpoint itself stays, and its state, from which its incident is closed.
pub async fn purge_history(db: &impl ConnectionTrait, id: EndpointId, batch: u64) -> Result<u64, StoreError> {
    let positions = check_results::Entity::find()
        .select_only()
        .column(check_results::Column::Position)
        .filter(check_results::Column::EndpointId.eq(id.0))
        .limit(batch);
    let rows = check_results::Entity::delete_many()
        .filter(check_results::Column::Position.in_subquery(sea_orm::QueryTrait::into_query(positions)))
        .exec(db)
        .await?
        .rows_affected;
    if rows > 0 {
        return Ok(rows);
    }
    let starts = rollups::Entity::find()
        .select_only()
        .column(rollups::Column::StartAt)
        .filter(rollups::Column::EndpointId.eq(id.0))
        .limit(batch);
    let rollups = rollups::Entity::delete_many()
        .filter(rollups::Column::EndpointId.eq(id.0))
        .filter(rollups::Column::StartAt.in_subquery(sea_orm::QueryTrait::into_query(starts)))
        .exec(db)
        .await?;
    Ok(rollups.rows_affected)
}

/// Removes an endpoint without history. Its checks must have been written, or a late one would stay behind without an
/// owner.
pub async fn delete(db: &impl ConnectionTrait, id: EndpointId) -> Result<(), StoreError> {
    endpoint_states::Entity::delete_by_id(id.0).exec(db).await?;
    endpoint_certificates::Entity::delete_by_id(id.0).exec(db).await?;
    table::Entity::delete_by_id(id.0).exec(db).await?;
    Ok(())
}

/// An endpoint by its id, archived or not.
pub async fn find(db: &impl ConnectionTrait, id: EndpointId) -> Result<Option<StoredEndpoint>, StoreError> {
    table::Entity::find_by_id(id.0).one(db).await?.map(read).transpose()
}

/// The current endpoint of a name; the group of an endpoint without one is empty.
pub async fn find_by_key(
    db: &impl ConnectionTrait,
    group: &str,
    name: &str,
) -> Result<Option<StoredEndpoint>, StoreError> {
    table::Entity::find()
        .filter(table::Column::GroupName.eq(group))
        .filter(table::Column::Name.eq(name))
        .filter(table::Column::ArchivedAt.is_null())
        .one(db)
        .await?
        .map(read)
        .transpose()
}

/// The configured endpoint of a name that was archived last: the one that comes back when the name returns, unless it
/// is being removed.
pub async fn find_archived(
    db: &impl ConnectionTrait,
    group: &str,
    name: &str,
) -> Result<Option<StoredEndpoint>, StoreError> {
    table::Entity::find()
        .filter(table::Column::GroupName.eq(group))
        .filter(table::Column::Name.eq(name))
        .filter(table::Column::Origin.eq(Origin::Config.as_str()))
        .filter(table::Column::ArchivedAt.is_not_null())
        .filter(table::Column::PurgeAt.is_null())
        .order_by(table::Column::ArchivedAt, Order::Desc)
        .order_by(table::Column::Id, Order::Desc)
        .one(db)
        .await?
        .map(read)
        .transpose()
}

/// All endpoints that are not archived, by id.
pub async fn list_current(db: &impl ConnectionTrait) -> Result<Vec<StoredEndpoint>, StoreError> {
    table::Entity::find()
        .filter(table::Column::ArchivedAt.is_null())
        .order_by(table::Column::Id, Order::Asc)
        .all(db)
        .await?
        .into_iter()
        .map(read)
        .collect()
}

/// All endpoints that are kept, archived or not, by id. Those that are being removed are not.
pub async fn list_all(db: &impl ConnectionTrait) -> Result<Vec<StoredEndpoint>, StoreError> {
    table::Entity::find()
        .filter(table::Column::PurgeAt.is_null())
        .order_by(table::Column::Id, Order::Asc)
        .all(db)
        .await?
        .into_iter()
        .map(read)
        .collect()
}

/// Endpoints named in one statement: far below the bind limits.
pub(super) const AT_ONCE: usize = 250;

/// An instant of each of these endpoints, where there is one: `of_one` asks for it by the id of the endpoint's row.
pub(super) async fn instant_of_each(
    db: &impl ConnectionTrait,
    ids: &[EndpointId],
    of_one: SelectStatement,
) -> Result<BTreeMap<EndpointId, Timestamp>, StoreError> {
    let mut found = BTreeMap::new();
    for chunk in ids.chunks(AT_ONCE) {
        let rows: Vec<(i64, Option<i64>)> = table::Entity::find()
            .select_only()
            .column(table::Column::Id)
            .expr(Expr::SubQuery(None, Box::new(of_one.clone().into())))
            .filter(table::Column::Id.is_in(chunk.iter().map(|id| id.0)))
            .into_tuple()
            .all(db)
            .await?;
        found.extend(rows.into_iter().filter_map(|(id, at)| Some((EndpointId(id), from_micros(at?)))));
    }
    Ok(found)
}

fn spec_of(settings: &EndpointSettings) -> Result<serde_json::Value, StoreError> {
    serde_json::to_value(settings).map_err(|e| StoreError::Other(format!("the settings cannot be stored: {e}")))
}

fn read(row: table::Model) -> Result<StoredEndpoint, StoreError> {
    let settings = serde_json::from_value(row.spec).map_err(|e| {
        StoreError::Other(format!("the stored settings of endpoint {} ({}) cannot be read: {e}", row.id, row.name))
    })?;
    Ok(StoredEndpoint {
        id: EndpointId(row.id),
        origin: decode::word(&row.origin, "endpoints.origin")?,
        source: row.source,
        paused: row.paused,
        revision: row.revision,
        settings,
        created_at: from_micros(row.created_at),
        updated_at: from_micros(row.updated_at),
        scheduled_from: from_micros(row.scheduled_from),
        archived_at: row.archived_at.map(from_micros),
        purge_at: row.purge_at.map(from_micros),
    })
}

fn name_taken(error: StoreError, settings: &EndpointSettings) -> StoreError {
    let StoreError::Conflict(_) = error else { return error };
    let name = settings.name.as_deref().unwrap_or_default();
    StoreError::Conflict(match settings.group.as_deref() {
        Some(group) if !group.is_empty() => format!("an endpoint named `{name}` exists in the group `{group}`"),
        _ => format!("an endpoint named `{name}` exists"),
    })
}
