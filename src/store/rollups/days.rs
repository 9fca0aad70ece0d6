//! Days, derived from their hours.

use std::collections::BTreeSet;

use sea_orm::sea_query::{Alias, Expr, ExprTrait, Func, IntoColumnRef, Query, SimpleExpr};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, Order, QueryFilter, QuerySelect};

use super::{Grain, list, put};
use crate::domain::endpoint::EndpointId;
use crate::domain::uptime::{DAY_US, Rollup, day_of};
use crate::domain::{Timestamp, from_micros, micros};
use crate::store::StoreError;
use crate::store::entities::{endpoints, rollups as table};

/// Derives the day rows that are missing for days that start before `before` (which should be the start of a
/// day), at most `limit` of them; returns how many, 0 when no day is left. All hours of those days must be stored.
pub async fn close_days(db: &impl ConnectionTrait, before: Timestamp, limit: u64) -> Result<u64, StoreError> {
    let hour = Alias::new("hour_rows");
    let start = Expr::col((hour.clone(), table::Column::StartAt));
    let day = start.clone().sub(start.clone().modulo(DAY_US));
    // From each endpoint's newest day row on; older days have theirs.
    let missing = Query::select()
        .distinct()
        .column((hour.clone(), table::Column::EndpointId))
        .expr_as(day, "day_at")
        .from(endpoints::Entity)
        .inner_join(
            sea_orm::sea_query::TableRef::from(table::Entity).alias(hour.clone()),
            Expr::col((hour.clone(), table::Column::EndpointId)).equals((endpoints::Entity, endpoints::Column::Id)),
        )
        .and_where(Expr::col((hour.clone(), table::Column::Period)).eq(Grain::Hour.as_str()))
        .and_where(start.clone().gte(closed_until((endpoints::Entity, endpoints::Column::Id))))
        .and_where(start.lt(micros(before)))
        .order_by((hour, table::Column::EndpointId), Order::Asc)
        .order_by(Alias::new("day_at"), Order::Asc)
        .limit(limit)
        .to_owned();
    let mut closed = 0;
    for found in db.query_all(&missing).await? {
        let id: i64 = found.try_get_by_index(0)?;
        let day: i64 = found.try_get_by_index(1)?;
        derive(db, EndpointId(id), from_micros(day)).await?;
        closed += 1;
    }
    Ok(closed)
}

/// Sums the hours of a day into its day row.
pub(super) async fn derive(db: &impl ConnectionTrait, id: EndpointId, day: Timestamp) -> Result<(), StoreError> {
    let end = from_micros(micros(day) + DAY_US);
    let mut whole = Rollup::with_sketch();
    for (_, hour) in list(db, id, Grain::Hour, day..end).await? {
        whole.merge(&hour);
    }
    put(db, Grain::Day, &[(id, day, whole)]).await
}

/// Of the days of these hours those that are before or at their endpoint's newest day row.
pub(super) async fn behind_a_day_row(
    db: &impl ConnectionTrait,
    hours: &[(EndpointId, Timestamp, Rollup)],
) -> Result<BTreeSet<(EndpointId, Timestamp)>, StoreError> {
    let mut days: BTreeSet<_> = hours.iter().map(|(id, start, _)| (*id, day_of(*start))).collect();
    let ids: Vec<i64> = days.iter().map(|(id, _)| id.0).collect();
    let mut newest = std::collections::HashMap::new();
    for chunk in ids.chunks(100) {
        let rows = endpoints::Entity::find()
            .select_only()
            .column(endpoints::Column::Id)
            .expr(closed_until((endpoints::Entity, endpoints::Column::Id)))
            .filter(endpoints::Column::Id.is_in(chunk.iter().copied()))
            .into_tuple::<(i64, i64)>()
            .all(db)
            .await?;
        newest.extend(rows);
    }
    days.retain(|(id, day)| newest.get(&id.0).is_some_and(|until| micros(*day) < *until));
    Ok(days)
}

/// The end of the newest day row of the endpoint in `id`, 0 without one.
pub(super) fn closed_until(id: impl IntoColumnRef) -> SimpleExpr {
    let day = Alias::new("day_rows");
    let newest = Query::select()
        .expr(Expr::col((day.clone(), table::Column::StartAt)).max().add(DAY_US))
        .from_as(table::Entity, day.clone())
        .and_where(Expr::col((day.clone(), table::Column::EndpointId)).eq(Expr::col(id)))
        .and_where(Expr::col((day, table::Column::Period)).eq(Grain::Day.as_str()))
        .to_owned();
    Func::coalesce([Expr::SubQuery(None, Box::new(newest.into())), Expr::value(0_i64)]).into()
}
