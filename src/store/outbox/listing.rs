//! The notifications there are, newest first, each with its deliveries.

use std::collections::HashMap;

use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, Order, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select,
};

use super::{Delivery, DeliveryState, StoredNotification, read_delivery};
use crate::domain::endpoint::EndpointId;
use crate::domain::from_micros;
use crate::domain::notification::Event;
use crate::store::entities::{deliveries, notifications};
use crate::store::{StoreError, decode};

/// Which notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NotificationQuery {
    pub endpoint: Option<EndpointId>,
    pub incident: Option<i64>,
    pub event: Option<Event>,
    /// Those with a delivery in this state.
    pub state: Option<DeliveryState>,
    /// By their creation; else the newest first.
    pub is_oldest_first: bool,
    pub limit: u64,
    pub offset: u64,
}

fn matching(query: &NotificationQuery) -> Select<notifications::Entity> {
    let mut select = notifications::Entity::find();
    if let Some(endpoint) = query.endpoint {
        select = select.filter(notifications::Column::EndpointId.eq(endpoint.0));
    }
    if let Some(incident) = query.incident {
        select = select.filter(notifications::Column::IncidentId.eq(incident));
    }
    if let Some(event) = query.event {
        select = select.filter(notifications::Column::Event.eq(event.as_str()));
    }
    if let Some(state) = query.state {
        let with = deliveries::Entity::find()
            .select_only()
            .column(deliveries::Column::NotificationId)
            .filter(deliveries::Column::State.eq(state.as_str()));
        select = select.filter(notifications::Column::Id.in_subquery(sea_orm::QueryTrait::into_query(with)));
    }
    select
}

/// Notifications with their deliveries in the order that is asked for.
pub async fn list(db: &impl ConnectionTrait, query: &NotificationQuery) -> Result<Vec<StoredNotification>, StoreError> {
    let order = if query.is_oldest_first { Order::Asc } else { Order::Desc };
    let rows = matching(query)
        .order_by(notifications::Column::CreatedAt, order.clone())
        .order_by(notifications::Column::Id, order)
        .offset(query.offset)
        .limit(query.limit)
        .all(db)
        .await?;
    with_deliveries(db, rows).await
}

/// How many there are, whatever `limit` and `offset` say.
pub async fn count(db: &impl ConnectionTrait, query: &NotificationQuery) -> Result<u64, StoreError> {
    Ok(matching(query).count(db).await?)
}

/// A notification by its id.
pub async fn find(db: &impl ConnectionTrait, id: &str) -> Result<Option<StoredNotification>, StoreError> {
    // Nothing is called so, and not every database would look for it.
    if id.contains('\0') {
        return Ok(None);
    }
    let row = notifications::Entity::find_by_id(id.to_owned()).one(db).await?;
    Ok(with_deliveries(db, row.into_iter().collect()).await?.pop())
}

async fn with_deliveries(
    db: &impl ConnectionTrait,
    rows: Vec<notifications::Model>,
) -> Result<Vec<StoredNotification>, StoreError> {
    let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
    let mut of: HashMap<String, Vec<Delivery>> = HashMap::new();
    for chunk in ids.chunks(500) {
        let found = deliveries::Entity::find()
            .filter(deliveries::Column::NotificationId.is_in(chunk.iter().cloned()))
            .order_by(deliveries::Column::Id, Order::Asc)
            .all(db)
            .await?;
        for row in found {
            of.entry(row.notification_id.clone()).or_default().push(read_delivery(row)?);
        }
    }
    rows.into_iter()
        .map(|row| {
            Ok(StoredNotification {
                facts: decode::json(row.facts, "notifications.facts")?,
                endpoint: row.endpoint_id.map(EndpointId),
                incident: row.incident_id,
                held_by: row.held_by,
                held_name: row.held_name,
                created_at: from_micros(row.created_at),
                deliveries: of.remove(&row.id).unwrap_or_default(),
            })
        })
        .collect()
}
