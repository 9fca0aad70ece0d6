//! `rollups`: checks counted by hour and by UTC day, from which windows are summed.
//!
//! An hour is written when it is over, a day is derived from its hours when it is over. Two invariants hold for
//! each endpoint, and every function here keeps them: a day row is the sum of the checks of its day, and every
//! counted day before the newest day row has a day row too. So a window is the days up to the newest, then hours.

mod days;
mod row;
mod sums;

use std::collections::BTreeMap;
use std::ops::Range;

use sea_orm::sea_query::{Expr, ExprTrait, OnConflict, Query};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, Iterable, Order, QueryFilter, QueryOrder, QuerySelect,
};

use super::StoreError;
use super::endpoints::instant_of_each;
use super::entities::{endpoints, rollups as table};
use crate::domain::check::CheckResult;
use crate::domain::endpoint::EndpointId;
use crate::domain::uptime::{Rollup, day_of, hour_of};
use crate::domain::{Timestamp, from_micros, micros};
pub use days::close_days;
pub use sums::sums;

/// Rows in one statement: few sizes, so that few prepared statements are kept.
const CHUNKS: [usize; 3] = [100, 10, 1];

/// The two lengths of a rollup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grain {
    Hour,
    Day,
}

impl Grain {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }
}

/// Stores hours that are over, in place of those that are there. The instant is the start of the hour; no hour of
/// an endpoint may occur twice.
pub async fn put_hours(db: &impl ConnectionTrait, hours: &[(EndpointId, Timestamp, Rollup)]) -> Result<(), StoreError> {
    put(db, Grain::Hour, hours).await?;
    for (id, day) in days::behind_a_day_row(db, hours).await? {
        days::derive(db, id, day).await?;
    }
    Ok(())
}

/// Counts a result that arrived when its hour was already stored. Call it only for a result that
/// [`history::append`](super::history::append) took as new, in the same transaction.
pub async fn amend(db: &impl ConnectionTrait, id: EndpointId, result: &CheckResult) -> Result<(), StoreError> {
    let (hour, day) = (hour_of(result.scheduled_at), day_of(result.scheduled_at));
    let mut amended = find(db, id, Grain::Hour, hour).await?.unwrap_or_else(Rollup::with_sketch);
    amended.add(result);
    put(db, Grain::Hour, &[(id, hour, amended)]).await?;
    if let Some(mut whole_day) = find(db, id, Grain::Day, day).await? {
        whole_day.add(result);
        put(db, Grain::Day, &[(id, day, whole_day)]).await?;
    } else if newest_start(db, id, Grain::Day, Timestamp::MAX_UTC).await?.is_some_and(|newest| newest > day) {
        days::derive(db, id, day).await?;
    }
    Ok(())
}

/// The rollups of an endpoint that start in a span, oldest first, with their starts.
pub async fn list(
    db: &impl ConnectionTrait,
    id: EndpointId,
    grain: Grain,
    starts: Range<Timestamp>,
) -> Result<Vec<(Timestamp, Rollup)>, StoreError> {
    if starts.is_empty() {
        return Ok(Vec::new());
    }
    table::Entity::find()
        .filter(table::Column::EndpointId.eq(id.0))
        .filter(table::Column::Period.eq(grain.as_str()))
        .filter(table::Column::StartAt.gte(micros(starts.start)))
        .filter(table::Column::StartAt.lt(micros(starts.end)))
        .order_by(table::Column::StartAt, Order::Asc)
        .all(db)
        .await?
        .into_iter()
        .map(row::read)
        .collect()
}

/// The stored hours of an endpoint that start in `[from, to)`, oldest first.
pub async fn hours(
    db: &impl ConnectionTrait,
    id: EndpointId,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<(Timestamp, Rollup)>, StoreError> {
    list(db, id, Grain::Hour, from..to).await
}

/// The start of the newest rollup of an endpoint among those that start before `before`.
pub async fn newest_start(
    db: &impl ConnectionTrait,
    id: EndpointId,
    grain: Grain,
    before: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let start = table::Entity::find()
        .select_only()
        .column(table::Column::StartAt)
        .filter(table::Column::EndpointId.eq(id.0))
        .filter(table::Column::Period.eq(grain.as_str()))
        .filter(table::Column::StartAt.lt(micros(before)))
        .order_by(table::Column::StartAt, Order::Desc)
        .into_tuple::<i64>()
        .one(db)
        .await?;
    Ok(start.map(from_micros))
}

/// The start of the oldest rollup of an endpoint.
pub async fn oldest_start(
    db: &impl ConnectionTrait,
    id: EndpointId,
    grain: Grain,
) -> Result<Option<Timestamp>, StoreError> {
    let start = table::Entity::find()
        .select_only()
        .column(table::Column::StartAt)
        .filter(table::Column::EndpointId.eq(id.0))
        .filter(table::Column::Period.eq(grain.as_str()))
        .order_by(table::Column::StartAt, Order::Asc)
        .into_tuple::<i64>()
        .one(db)
        .await?;
    Ok(start.map(from_micros))
}

/// The start of the oldest rollup of each of these endpoints that has one.
pub async fn oldest_of_each(
    db: &impl ConnectionTrait,
    ids: &[EndpointId],
    grain: Grain,
) -> Result<BTreeMap<EndpointId, Timestamp>, StoreError> {
    let oldest = Query::select()
        .expr(Expr::col((table::Entity, table::Column::StartAt)).min())
        .from(table::Entity)
        .and_where(
            Expr::col((table::Entity, table::Column::EndpointId)).equals((endpoints::Entity, endpoints::Column::Id)),
        )
        .and_where(Expr::col((table::Entity, table::Column::Period)).eq(grain.as_str()))
        .to_owned();
    instant_of_each(db, ids, oldest).await
}

/// Every endpoint, archived ones too, with the start of its newest stored hour.
pub async fn latest_hour_of_each(
    db: &impl ConnectionTrait,
) -> Result<Vec<(EndpointId, Option<Timestamp>)>, StoreError> {
    let newest = Query::select()
        .expr(Expr::col((table::Entity, table::Column::StartAt)).max())
        .from(table::Entity)
        .and_where(
            Expr::col((table::Entity, table::Column::EndpointId)).equals((endpoints::Entity, endpoints::Column::Id)),
        )
        .and_where(Expr::col((table::Entity, table::Column::Period)).eq(Grain::Hour.as_str()))
        .to_owned();
    let rows = endpoints::Entity::find()
        .select_only()
        .column(endpoints::Column::Id)
        .expr(Expr::SubQuery(None, Box::new(newest.into())))
        .order_by(endpoints::Column::Id, Order::Asc)
        .into_tuple::<(i64, Option<i64>)>()
        .all(db)
        .await?;
    Ok(rows.into_iter().map(|(id, start)| (EndpointId(id), start.map(from_micros))).collect())
}

/// Drops the sketches of hours that start before `before`, at most `batch` of them; returns how many. Their days
/// keep theirs, so call [`close_days`] first.
pub async fn drop_hour_sketches(db: &impl ConnectionTrait, before: Timestamp, batch: u64) -> Result<u64, StoreError> {
    // The word is written out, since a parameter would keep the planner from the index of just these rows.
    let hour = Expr::Constant(Grain::Hour.as_str().into());
    let found = table::Entity::find()
        .select_only()
        .columns([table::Column::EndpointId, table::Column::StartAt])
        .filter(Expr::col(table::Column::Period).eq(hour))
        .filter(table::Column::Sketch.is_not_null())
        .filter(table::Column::StartAt.lt(micros(before)))
        .order_by(table::Column::StartAt, Order::Asc)
        .limit(batch)
        .into_tuple::<(i64, i64)>()
        .all(db)
        .await?;
    let mut dropped = 0;
    for (id, newest) in newest_of_each(&found) {
        dropped += table::Entity::update_many()
            .col_expr(table::Column::Sketch, Expr::value(None::<Vec<u8>>))
            .filter(hours_until(id, newest))
            .filter(table::Column::Sketch.is_not_null())
            .exec(db)
            .await?
            .rows_affected;
    }
    Ok(dropped)
}

/// Removes hours that start before `cutoff` and whose day is closed, at most `batch` of them; returns how many.
pub async fn delete_hours_before(db: &impl ConnectionTrait, cutoff: Timestamp, batch: u64) -> Result<u64, StoreError> {
    let every_endpoint = Query::select().column(endpoints::Column::Id).from(endpoints::Entity).to_owned();
    let closed = days::closed_until((table::Entity, table::Column::EndpointId));
    let found = table::Entity::find()
        .select_only()
        .columns([table::Column::EndpointId, table::Column::StartAt])
        .filter(table::Column::EndpointId.in_subquery(every_endpoint))
        .filter(table::Column::Period.eq(Grain::Hour.as_str()))
        .filter(table::Column::StartAt.lt(micros(cutoff)))
        .filter(Expr::col((table::Entity, table::Column::StartAt)).lt(closed))
        .order_by(table::Column::EndpointId, Order::Asc)
        .order_by(table::Column::StartAt, Order::Asc)
        .limit(batch)
        .into_tuple::<(i64, i64)>()
        .all(db)
        .await?;
    let mut deleted = 0;
    for (id, newest) in newest_of_each(&found) {
        deleted += table::Entity::delete_many().filter(hours_until(id, newest)).exec(db).await?.rows_affected;
    }
    Ok(deleted)
}

/// Of keys in ascending order the last of each endpoint. One range an endpoint is found by the key of the table,
/// which a list of whole keys would not be on every database.
fn newest_of_each(keys: &[(i64, i64)]) -> BTreeMap<i64, i64> {
    keys.iter().copied().collect()
}

fn hours_until(id: i64, newest: i64) -> Condition {
    Condition::all()
        .add(table::Column::EndpointId.eq(id))
        .add(table::Column::Period.eq(Grain::Hour.as_str()))
        .add(table::Column::StartAt.lte(newest))
}

async fn find(
    db: &impl ConnectionTrait,
    id: EndpointId,
    grain: Grain,
    start: Timestamp,
) -> Result<Option<Rollup>, StoreError> {
    let row = table::Entity::find_by_id((id.0, grain.as_str().to_owned(), micros(start))).one(db).await?;
    Ok(row.map(row::read).transpose()?.map(|(_, rollup)| rollup))
}

async fn put(
    db: &impl ConnectionTrait,
    grain: Grain,
    rollups: &[(EndpointId, Timestamp, Rollup)],
) -> Result<(), StoreError> {
    let key = [table::Column::EndpointId, table::Column::Period, table::Column::StartAt];
    let values = || {
        table::Column::iter()
            .filter(|c| !matches!(c, table::Column::EndpointId | table::Column::Period | table::Column::StartAt))
    };
    let mut rest = rollups;
    for size in CHUNKS {
        let (now, later) = rest.split_at(rest.len() - rest.len() % size);
        for chunk in now.chunks(size) {
            table::Entity::insert_many(chunk.iter().map(|(id, start, rollup)| row::of(*id, grain, *start, rollup)))
                .on_conflict(OnConflict::columns(key).update_columns(values()).to_owned())
                .exec_without_returning(db)
                .await?;
        }
        rest = later;
    }
    Ok(())
}
