//! The results of many endpoints in few statements.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use sea_orm::sea_query::{Alias, Expr, ExprTrait, Query};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, Order, QueryFilter, QueryOrder, QuerySelect};

use super::{PAGE, row};
use crate::domain::check::CheckResult;
use crate::domain::endpoint::EndpointId;
use crate::domain::{Timestamp, micros};
use crate::store::StoreError;
use crate::store::endpoints::{AT_ONCE, instant_of_each};
use crate::store::entities::{check_results as table, endpoints};

/// Hands over every result of these endpoints in a span, by endpoint and slot, without holding all of them in memory.
pub async fn for_each_of(
    db: &impl ConnectionTrait,
    ids: &[EndpointId],
    span: Range<Timestamp>,
    mut each: impl FnMut(&CheckResult),
) -> Result<(), StoreError> {
    if span.is_empty() {
        return Ok(());
    }
    for chunk in ids.chunks(AT_ONCE) {
        let mut after: Option<(i64, i64)> = None;
        loop {
            let mut select = table::Entity::find()
                .filter(table::Column::EndpointId.is_in(chunk.iter().map(|id| id.0)))
                .filter(table::Column::ScheduledAt.gte(micros(span.start)))
                .filter(table::Column::ScheduledAt.lt(micros(span.end)));
            if let Some((id, at)) = after {
                let of_it = table::Column::EndpointId.eq(id).and(table::Column::ScheduledAt.gt(at));
                select = select.filter(table::Column::EndpointId.gt(id).or(of_it));
            }
            let rows = select
                .order_by(table::Column::EndpointId, Order::Asc)
                .order_by(table::Column::ScheduledAt, Order::Asc)
                .limit(PAGE)
                .all(db)
                .await?;
            let is_last = (rows.len() as u64) < PAGE;
            for row in rows {
                after = Some((row.endpoint_id, row.scheduled_at));
                each(&row::read(row)?);
            }
            if is_last {
                break;
            }
        }
    }
    Ok(())
}

/// Which of these endpoints have a result at or after an instant.
pub async fn recorded_since(
    db: &impl ConnectionTrait,
    ids: &[EndpointId],
    at: Timestamp,
) -> Result<BTreeSet<EndpointId>, StoreError> {
    let mut found = BTreeSet::new();
    for chunk in ids.chunks(AT_ONCE) {
        let some: Vec<i64> = table::Entity::find()
            .select_only()
            .column(table::Column::EndpointId)
            .filter(table::Column::EndpointId.is_in(chunk.iter().map(|id| id.0)))
            .filter(table::Column::ScheduledAt.gte(micros(at)))
            .distinct()
            .into_tuple()
            .all(db)
            .await?;
        found.extend(some.into_iter().map(EndpointId));
    }
    Ok(found)
}

/// The oldest slot of each of these endpoints that is still kept.
pub async fn first_of_each(
    db: &impl ConnectionTrait,
    ids: &[EndpointId],
) -> Result<BTreeMap<EndpointId, Timestamp>, StoreError> {
    // Per endpoint one step to the beginning of its part of the index.
    let any = Alias::new("any_result");
    let oldest = Query::select()
        .expr(Expr::col((any.clone(), table::Column::ScheduledAt)).min())
        .from_as(table::Entity, any.clone())
        .and_where(Expr::col((any, table::Column::EndpointId)).equals((endpoints::Entity, endpoints::Column::Id)))
        .to_owned();
    instant_of_each(db, ids, oldest).await
}
