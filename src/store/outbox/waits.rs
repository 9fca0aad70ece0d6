//! What waits for a digest.

use std::collections::HashMap;

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, Order, QueryFilter, QueryOrder, QuerySelect};

use super::DeliveryState;
use crate::domain::endpoint::EndpointId;
use crate::domain::notification::Event;
use crate::domain::{Timestamp, from_micros};
use crate::store::entities::{deliveries, notifications};
use crate::store::{StoreError, decode};

/// One message that a channel is told of by a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitsForDigest {
    pub endpoint: EndpointId,
    pub incident: Option<i64>,
    pub event: Event,
    pub channel: String,
    /// When the digest goes out.
    pub until: Timestamp,
    /// How many other endpoints it will name.
    pub others: u64,
}

impl WaitsForDigest {
    /// Whether it tells that something is down.
    pub fn is_outage(&self) -> bool {
        self.event.tells_of_an_outage()
    }
}

/// What waits for digests of these endpoints, the oldest first.
///
/// # Errors
/// When the database fails.
pub async fn waiting_for_digests(
    db: &impl ConnectionTrait,
    endpoints: &[EndpointId],
) -> Result<Vec<WaitsForDigest>, StoreError> {
    let mut waiting = Vec::new();
    for chunk in endpoints.chunks(500) {
        let rows: Vec<(String, String, i64)> = deliveries::Entity::find()
            .select_only()
            .columns([deliveries::Column::NotificationId, deliveries::Column::Channel, deliveries::Column::HeldUntil])
            .filter(deliveries::Column::State.eq(DeliveryState::Pending.as_str()))
            .filter(deliveries::Column::HeldUntil.is_not_null())
            .filter(deliveries::Column::EndpointId.is_in(chunk.iter().map(|id| id.0)))
            .order_by(deliveries::Column::Id, Order::Asc)
            .into_tuple()
            .all(db)
            .await?;
        waiting.extend(rows);
    }
    if waiting.is_empty() {
        return Ok(Vec::new());
    }
    let together = together(db).await?;
    let ids: Vec<String> = waiting.iter().map(|(id, ..)| id.clone()).collect();
    let told = told(db, &ids).await?;
    let read = |(id, channel, until): (String, String, i64)| {
        let (endpoint, incident, event) = *told.get(&id)?;
        let all = together.get(&(channel.clone(), until)).copied().unwrap_or(1);
        let (until, others) = (from_micros(until), all.saturating_sub(1));
        Some(WaitsForDigest { endpoint, incident, event, channel, until, others })
    };
    Ok(waiting.into_iter().filter_map(read).collect())
}

/// How many endpoints each digest to come will name, by its channel and time.
async fn together(db: &impl ConnectionTrait) -> Result<HashMap<(String, i64), u64>, StoreError> {
    let rows: Vec<(String, i64, i64)> = deliveries::Entity::find()
        .select_only()
        .column(deliveries::Column::Channel)
        .column(deliveries::Column::HeldUntil)
        .column_as(Expr::col(deliveries::Column::EndpointId).count_distinct(), "endpoints")
        .filter(deliveries::Column::State.eq(DeliveryState::Pending.as_str()))
        .filter(deliveries::Column::HeldUntil.is_not_null())
        .group_by(deliveries::Column::Channel)
        .group_by(deliveries::Column::HeldUntil)
        .into_tuple()
        .all(db)
        .await?;
    let read = |(channel, until, endpoints): (String, i64, i64)| {
        Ok(((channel, until), decode::number(endpoints, "a count of endpoints")?))
    };
    rows.into_iter().map(read).collect()
}

/// What these notifications tell, by their ids.
async fn told(
    db: &impl ConnectionTrait,
    ids: &[String],
) -> Result<HashMap<String, (EndpointId, Option<i64>, Event)>, StoreError> {
    let mut told = HashMap::new();
    for chunk in ids.chunks(500) {
        let rows: Vec<(String, Option<i64>, Option<i64>, String)> = notifications::Entity::find()
            .select_only()
            .columns([
                notifications::Column::Id,
                notifications::Column::EndpointId,
                notifications::Column::IncidentId,
                notifications::Column::Event,
            ])
            .filter(notifications::Column::Id.is_in(chunk.iter().cloned()))
            .into_tuple()
            .all(db)
            .await?;
        for (id, endpoint, incident, event) in rows {
            let event = decode::word(&event, "notifications.event")?;
            if let Some(endpoint) = endpoint {
                told.insert(id, (EndpointId(endpoint), incident, event));
            }
        }
    }
    Ok(told)
}
