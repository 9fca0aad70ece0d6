//! What explains checks that were not good, of each endpoint the newest [`MOST`].

use std::collections::BTreeSet;

use sea_orm::sea_query::{Alias, Expr, ExprTrait, OnConflict, Query};
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};

use super::StoreError;
use super::entities::{check_details as table, endpoints};
use crate::domain::check::CheckDetail;
use crate::domain::endpoint::EndpointId;
use crate::domain::{Timestamp, from_micros, micros};

/// As many are kept of an endpoint: the oldest goes for a new one.
pub const MOST: i64 = 20;

/// Rows in one statement.
const ROWS: usize = 50;

/// Keeps what explains these checks. One that is there already stays.
pub async fn put_many(
    db: &impl ConnectionTrait,
    details: &[(EndpointId, Timestamp, &CheckDetail)],
) -> Result<(), StoreError> {
    for chunk in details.chunks(ROWS) {
        let mut rows = Vec::with_capacity(chunk.len());
        for (id, scheduled_at, detail) in chunk {
            let detail = serde_json::to_value(detail).map_err(|error| StoreError::Other(error.to_string()))?;
            rows.push(table::ActiveModel {
                endpoint_id: Set(id.0),
                scheduled_at: Set(micros(*scheduled_at)),
                detail: Set(detail),
            });
        }
        let there =
            OnConflict::columns([table::Column::EndpointId, table::Column::ScheduledAt]).do_nothing().to_owned();
        table::Entity::insert_many(rows).on_conflict(there).exec_without_returning(db).await?;
        let endpoints: BTreeSet<i64> = chunk.iter().map(|(id, ..)| id.0).collect();
        trim(db, endpoints).await?;
    }
    Ok(())
}

/// Removes what is older than the newest ones.
async fn trim(db: &impl ConnectionTrait, endpoints: BTreeSet<i64>) -> Result<(), StoreError> {
    let newer = Alias::new("newer");
    let newer_ones = Query::select()
        .expr(Expr::col((newer.clone(), table::Column::ScheduledAt)).count())
        .from_as(table::Entity, newer.clone())
        .and_where(
            Expr::col((newer.clone(), table::Column::EndpointId)).equals((table::Entity, table::Column::EndpointId)),
        )
        .and_where(
            Expr::col((newer, table::Column::ScheduledAt)).gt(Expr::col((table::Entity, table::Column::ScheduledAt))),
        )
        .to_owned();
    table::Entity::delete_many()
        .filter(table::Column::EndpointId.is_in(endpoints))
        .filter(Expr::SubQuery(None, Box::new(newer_ones.into())).gte(MOST))
        .exec(db)
        .await?;
    Ok(())
}

/// What explains checks of an endpoint from the first of these slots to the last, as far as it is kept.
pub async fn between(
    db: &impl ConnectionTrait,
    id: EndpointId,
    first: Timestamp,
    last: Timestamp,
) -> Result<Vec<(Timestamp, CheckDetail)>, StoreError> {
    let rows = table::Entity::find()
        .filter(table::Column::EndpointId.eq(id.0))
        .filter(table::Column::ScheduledAt.between(micros(first), micros(last)))
        .all(db)
        .await?;
    // Of a newer version it may say more, never something else.
    let read = |row: table::Model| Some((from_micros(row.scheduled_at), serde_json::from_value(row.detail).ok()?));
    Ok(rows.into_iter().filter_map(read).collect())
}

/// Removes those of checks from before `cutoff`, of all endpoints; there are never many. Returns how many went.
pub async fn delete_before(db: &impl ConnectionTrait, cutoff: Timestamp) -> Result<u64, StoreError> {
    // By endpoint, so that the key finds the old ones.
    let every_endpoint = Query::select().column(endpoints::Column::Id).from(endpoints::Entity).to_owned();
    let deleted = table::Entity::delete_many()
        .filter(table::Column::EndpointId.in_subquery(every_endpoint))
        .filter(table::Column::ScheduledAt.lt(micros(cutoff)))
        .exec(db)
        .await?;
    Ok(deleted.rows_affected)
}

/// Removes all of an endpoint.
pub async fn purge(db: &impl ConnectionTrait, id: EndpointId) -> Result<(), StoreError> {
    table::Entity::delete_many().filter(table::Column::EndpointId.eq(id.0)).exec(db).await?;
    Ok(())
}
