//! What a channel was to deliver lately, from which a deliverer that begins knows how many messages it has had.

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, Order, QueryFilter, QueryOrder, QuerySelect};

use crate::domain::{Timestamp, from_micros, micros};
use crate::store::StoreError;
use crate::store::entities::deliveries;

/// One message about an endpoint, whatever became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lately {
    pub notification_id: String,
    pub created_at: Timestamp,
    pub held_until: Option<Timestamp>,
}

/// The messages about endpoints that were written for a channel since then, in their order, the oldest `limit`.
///
/// # Errors
/// When the database fails.
pub async fn lately(
    db: &impl ConnectionTrait,
    channel: &str,
    since: Timestamp,
    limit: u64,
) -> Result<Vec<Lately>, StoreError> {
    let rows: Vec<(String, i64, Option<i64>)> = deliveries::Entity::find()
        .select_only()
        .column(deliveries::Column::NotificationId)
        .column(deliveries::Column::CreatedAt)
        .column(deliveries::Column::HeldUntil)
        .filter(deliveries::Column::Channel.eq(channel))
        .filter(deliveries::Column::CreatedAt.gte(micros(since)))
        .filter(deliveries::Column::EndpointId.is_not_null())
        .order_by(deliveries::Column::Id, Order::Asc)
        .limit(limit)
        .into_tuple()
        .all(db)
        .await?;
    let read = |(notification_id, created_at, held_until): (String, i64, Option<i64>)| Lately {
        notification_id,
        created_at: from_micros(created_at),
        held_until: held_until.map(from_micros),
    };
    Ok(rows.into_iter().map(read).collect())
}
