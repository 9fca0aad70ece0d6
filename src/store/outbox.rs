//! `notifications` and `deliveries`: the outbox. A notification is a row, with one delivery a channel, before anything
//! is sent; it is written in the transaction of what it tells.

mod lately;
mod listing;
mod waits;

use std::collections::{HashMap, HashSet};

use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{ActiveValue, ColumnTrait, ConnectionTrait, EntityTrait, Order, QueryFilter, QueryOrder, QuerySelect};

use super::entities::{deliveries, incidents, notifications};
use super::{StoreError, decode};
use crate::domain::endpoint::EndpointId;
use crate::domain::notification::{Event, Notification};
use crate::domain::outcome::{without_nul, words};
use crate::domain::{Timestamp, from_micros, micros};

pub use self::lately::{Lately, lately};
pub use self::listing::{NotificationQuery, count, find, list};
pub use self::waits::{WaitsForDigest, waiting_for_digests};

words! {
    /// What became of a delivery.
    pub enum DeliveryState {
        /// To be attempted, at once or again.
        Pending = "pending",
        Delivered = "delivered",
        /// Given up; can be sent again by hand.
        Dead = "dead",
        /// The outage was over before it could be delivered: one message told both, late.
        Merged = "merged",
        /// Many messages at once: a digest tells it, whose own deliveries say how that stands.
        Grouped = "grouped",
    }
}

/// A notification to add.
#[derive(Debug, Clone)]
pub struct NewNotification<'a> {
    pub facts: &'a Notification,
    pub endpoint: Option<EndpointId>,
    pub incident: Option<i64>,
    /// What keeps it back; then it has no deliveries.
    pub held_by: Option<&'a str>,
    /// Which one of its kind: the parent.
    pub held_name: Option<&'a str>,
    pub channels: &'a [String],
    pub now: Timestamp,
}

/// One notification to one channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    pub id: i64,
    pub notification_id: String,
    pub channel: String,
    pub endpoint: Option<EndpointId>,
    pub state: DeliveryState,
    pub attempts: u32,
    /// An attempt that failed may have been received all the same.
    pub may_have_arrived: bool,
    pub next_attempt_at: Option<Timestamp>,
    pub last_attempt_at: Option<Timestamp>,
    pub last_error: Option<String>,
    pub answer: Option<String>,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    /// It waits, or waited, for the digest that goes out then.
    pub held_until: Option<Timestamp>,
    /// The digest that tells it.
    pub digest: Option<String>,
}

/// A notification as it is kept, with its deliveries in the order of their channels' rows.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredNotification {
    pub facts: Notification,
    pub endpoint: Option<EndpointId>,
    pub incident: Option<i64>,
    pub held_by: Option<String>,
    pub held_name: Option<String>,
    pub created_at: Timestamp,
    pub deliveries: Vec<Delivery>,
}

/// Adds a notification and its deliveries. One that is there already, by its id, is left as it is, but for what keeps
/// it back: what was kept back until now is told by this.
pub async fn insert(db: &impl ConnectionTrait, new: &NewNotification<'_>) -> Result<(), StoreError> {
    let facts = serde_json::to_value(new.facts)
        .map_err(|e| StoreError::Other(format!("the notification cannot be stored: {e}")))?;
    notifications::Entity::insert(notifications::ActiveModel {
        id: ActiveValue::Set(new.facts.id.clone()),
        endpoint_id: ActiveValue::Set(new.endpoint.map(|id| id.0)),
        incident_id: ActiveValue::Set(new.incident),
        event: ActiveValue::Set(new.facts.event.to_string()),
        occurred_at: ActiveValue::Set(micros(new.facts.occurred_at)),
        facts: ActiveValue::Set(facts),
        held_by: ActiveValue::Set(new.held_by.map(str::to_owned)),
        held_name: ActiveValue::Set(new.held_name.map(str::to_owned)),
        created_at: ActiveValue::Set(micros(new.now)),
    })
    .on_conflict(
        OnConflict::column(notifications::Column::Id)
            .update_columns([notifications::Column::HeldBy, notifications::Column::HeldName])
            .to_owned(),
    )
    .exec_without_returning(db)
    .await?;
    for channel in new.channels {
        deliveries::Entity::insert(deliveries::ActiveModel {
            id: ActiveValue::NotSet,
            notification_id: ActiveValue::Set(new.facts.id.clone()),
            channel: ActiveValue::Set(channel.clone()),
            endpoint_id: ActiveValue::Set(new.endpoint.map(|id| id.0)),
            state: ActiveValue::Set(DeliveryState::Pending.to_string()),
            attempts: ActiveValue::Set(0),
            may_have_arrived: ActiveValue::Set(false),
            next_attempt_at: ActiveValue::Set(Some(micros(new.now))),
            last_attempt_at: ActiveValue::Set(None),
            last_error: ActiveValue::Set(None),
            answer: ActiveValue::Set(None),
            created_at: ActiveValue::Set(micros(new.now)),
            finished_at: ActiveValue::Set(None),
            held_until: ActiveValue::Set(None),
            digest_id: ActiveValue::Set(None),
        })
        .on_conflict(
            OnConflict::columns([deliveries::Column::NotificationId, deliveries::Column::Channel])
                .do_nothing()
                .to_owned(),
        )
        .exec_without_returning(db)
        .await?;
    }
    Ok(())
}

/// The id of the first notification of an incident, under which mails thread.
pub async fn first_of_incident(db: &impl ConnectionTrait, incident: i64) -> Result<Option<String>, StoreError> {
    Ok(notifications::Entity::find()
        .select_only()
        .column(notifications::Column::Id)
        .filter(notifications::Column::IncidentId.eq(incident))
        .order_by(notifications::Column::CreatedAt, Order::Asc)
        .order_by(notifications::Column::OccurredAt, Order::Asc)
        .into_tuple()
        .one(db)
        .await?)
}

/// Who was told of an incident, and under which notification the first time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ToldOf {
    pub first: Option<String>,
    /// Those that heard of an outage of it, or are about to, each once, in the order of their rows.
    pub channels: Vec<String>,
    /// Of these, those that have heard nothing of it yet: all of it waits for a digest.
    pub waiting: Vec<String>,
}

/// Who was told of these incidents; those without a notification are left out.
pub async fn told_of(db: &impl ConnectionTrait, incidents: &[i64]) -> Result<HashMap<i64, ToldOf>, StoreError> {
    let mut all: HashMap<i64, ToldOf> = HashMap::new();
    let mut heard: HashSet<(i64, String)> = HashSet::new();
    for chunk in incidents.chunks(500) {
        let rows: Vec<(String, i64, String)> = notifications::Entity::find()
            .select_only()
            .columns([notifications::Column::Id, notifications::Column::IncidentId, notifications::Column::Event])
            .filter(notifications::Column::IncidentId.is_in(chunk.iter().copied()))
            .order_by(notifications::Column::CreatedAt, Order::Asc)
            .order_by(notifications::Column::OccurredAt, Order::Asc)
            .into_tuple()
            .all(db)
            .await?;
        let mut incident_of = HashMap::new();
        for (id, incident, event) in rows {
            all.entry(incident).or_default().first.get_or_insert_with(|| id.clone());
            let event: Event = decode::word(&event, "notifications.event")?;
            if event.tells_of_an_outage() {
                incident_of.insert(id, incident);
            }
        }
        let ids: Vec<String> = incident_of.keys().cloned().collect();
        for ids in ids.chunks(500) {
            let rows: Vec<(String, String, String, Option<i64>)> = deliveries::Entity::find()
                .select_only()
                .columns([
                    deliveries::Column::NotificationId,
                    deliveries::Column::Channel,
                    deliveries::Column::State,
                    deliveries::Column::HeldUntil,
                ])
                .filter(deliveries::Column::NotificationId.is_in(ids.iter().cloned()))
                .order_by(deliveries::Column::Id, Order::Asc)
                .into_tuple()
                .all(db)
                .await?;
            for (notification, channel, state, held_until) in rows {
                let Some(incident) = incident_of.get(&notification) else { continue };
                let Some(of) = all.get_mut(incident) else { continue };
                if state != DeliveryState::Pending.as_str() || held_until.is_none() {
                    heard.insert((*incident, channel.clone()));
                }
                if !of.channels.contains(&channel) {
                    of.channels.push(channel);
                }
            }
        }
    }
    for (incident, of) in &mut all {
        let waits = |channel: &&String| !heard.contains(&(*incident, (*channel).clone()));
        of.waiting = of.channels.iter().filter(waits).cloned().collect();
    }
    Ok(all)
}

/// The channels that these notifications are, or were, delivered to.
pub async fn channels_of(
    db: &impl ConnectionTrait,
    notifications: &[String],
) -> Result<HashMap<String, Vec<String>>, StoreError> {
    let mut all: HashMap<String, Vec<String>> = HashMap::new();
    for chunk in notifications.chunks(500) {
        let rows: Vec<(String, String)> = deliveries::Entity::find()
            .select_only()
            .columns([deliveries::Column::NotificationId, deliveries::Column::Channel])
            .filter(deliveries::Column::NotificationId.is_in(chunk.iter().cloned()))
            .order_by(deliveries::Column::Id, Order::Asc)
            .into_tuple()
            .all(db)
            .await?;
        for (notification, channel) in rows {
            all.entry(notification).or_default().push(channel);
        }
    }
    Ok(all)
}

/// How a delivery stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub state: DeliveryState,
    pub attempts: u32,
    pub may_have_arrived: bool,
    pub next_attempt_at: Option<Timestamp>,
    pub last_attempt_at: Option<Timestamp>,
    pub last_error: Option<String>,
    pub answer: Option<String>,
    pub finished_at: Option<Timestamp>,
    /// It waits, or waited, for the digest that goes out then.
    pub held_until: Option<Timestamp>,
    /// The digest that tells it.
    pub digest: Option<String>,
}

/// Records how pending deliveries of one channel stand, all alike; doing it twice changes nothing more. Gives how many were pending.
///
/// At most 500.
pub async fn record_alike(
    db: &impl ConnectionTrait,
    notifications: &[String],
    channel: &str,
    standing: &Standing,
) -> Result<u64, StoreError> {
    let update = deliveries::Entity::update_many()
        .col_expr(deliveries::Column::State, Expr::value(standing.state.as_str()))
        .col_expr(deliveries::Column::Attempts, Expr::value(i64::from(standing.attempts)))
        .col_expr(deliveries::Column::MayHaveArrived, Expr::value(standing.may_have_arrived))
        .col_expr(deliveries::Column::NextAttemptAt, Expr::value(standing.next_attempt_at.map(micros)))
        .col_expr(deliveries::Column::LastAttemptAt, Expr::value(standing.last_attempt_at.map(micros)))
        .col_expr(deliveries::Column::LastError, Expr::value(standing.last_error.clone().map(without_nul)))
        .col_expr(deliveries::Column::Answer, Expr::value(standing.answer.clone().map(without_nul)))
        .col_expr(deliveries::Column::FinishedAt, Expr::value(standing.finished_at.map(micros)))
        .col_expr(deliveries::Column::HeldUntil, Expr::value(standing.held_until.map(micros)))
        .col_expr(deliveries::Column::DigestId, Expr::value(standing.digest.clone()))
        .filter(deliveries::Column::NotificationId.is_in(notifications.iter().cloned()))
        .filter(deliveries::Column::Channel.eq(channel))
        .filter(deliveries::Column::State.eq(DeliveryState::Pending.as_str()));
    Ok(update.exec(db).await?.rows_affected)
}

/// As [`record_alike`], of one. `false`: no such delivery is pending.
pub async fn record(
    db: &impl ConnectionTrait,
    notification: &str,
    channel: &str,
    standing: &Standing,
) -> Result<bool, StoreError> {
    Ok(record_alike(db, &[notification.to_owned()], channel, standing).await? > 0)
}

/// Notifications by their ids, without their deliveries; those that are not there are left out.
pub async fn facts_of(
    db: &impl ConnectionTrait,
    ids: &[String],
) -> Result<Vec<(Notification, Option<EndpointId>, Option<i64>)>, StoreError> {
    let mut found = Vec::new();
    for chunk in ids.chunks(500) {
        let rows = notifications::Entity::find()
            .filter(notifications::Column::Id.is_in(chunk.iter().cloned()))
            .all(db)
            .await?;
        for row in rows {
            let facts = decode::json(row.facts, "notifications.facts")?;
            found.push((facts, row.endpoint_id.map(EndpointId), row.incident_id));
        }
    }
    Ok(found)
}

/// The channels that have pending deliveries.
pub async fn waiting_channels(db: &impl ConnectionTrait) -> Result<Vec<String>, StoreError> {
    Ok(deliveries::Entity::find()
        .select_only()
        .column(deliveries::Column::Channel)
        .filter(deliveries::Column::State.eq(DeliveryState::Pending.as_str()))
        .distinct()
        .into_tuple()
        .all(db)
        .await?)
}

/// The pending deliveries of a channel in their order, the oldest `limit` of them.
pub async fn pending(db: &impl ConnectionTrait, channel: &str, limit: u64) -> Result<Vec<Delivery>, StoreError> {
    deliveries::Entity::find()
        .filter(deliveries::Column::State.eq(DeliveryState::Pending.as_str()))
        .filter(deliveries::Column::Channel.eq(channel))
        .order_by(deliveries::Column::Id, Order::Asc)
        .limit(limit)
        .all(db)
        .await?
        .into_iter()
        .map(read_delivery)
        .collect()
}

/// Why a delivery is given up whose channel is not there.
pub const NO_SUCH_CHANNEL: &str = "the channel is no longer configured, or is off";

/// Gives up what is pending to a channel that is not there: one notification, or with `None` all.
pub async fn give_up(
    db: &impl ConnectionTrait,
    notification: Option<&str>,
    channel: &str,
    error: &str,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let mut update = deliveries::Entity::update_many()
        .col_expr(deliveries::Column::State, Expr::value(DeliveryState::Dead.as_str()))
        .col_expr(deliveries::Column::LastError, Expr::value(error))
        .col_expr(deliveries::Column::NextAttemptAt, Expr::value(None::<i64>))
        .col_expr(deliveries::Column::FinishedAt, Expr::value(Some(micros(now))))
        .filter(deliveries::Column::State.eq(DeliveryState::Pending.as_str()))
        .filter(deliveries::Column::Channel.eq(channel));
    if let Some(id) = notification {
        update = update.filter(deliveries::Column::NotificationId.eq(id));
    }
    Ok(update.exec(db).await?.rows_affected)
}

/// Makes everything that is pending to a channel due at once, since the channel is another one now.
pub async fn hurry(db: &impl ConnectionTrait, channel: &str, now: Timestamp) -> Result<u64, StoreError> {
    let done = deliveries::Entity::update_many()
        .col_expr(deliveries::Column::NextAttemptAt, Expr::value(Some(micros(now))))
        .filter(deliveries::Column::State.eq(DeliveryState::Pending.as_str()))
        .filter(deliveries::Column::Channel.eq(channel))
        .exec(db)
        .await?;
    Ok(done.rows_affected)
}

/// Notes that a process which ended in the middle of attempts may have made the pending deliveries arrive that were
/// due before `now`: an attempt is recorded only when it is over. Those that wait for a digest were not attempted.
pub async fn doubt_unfinished(db: &impl ConnectionTrait, now: Timestamp) -> Result<u64, StoreError> {
    let done = deliveries::Entity::update_many()
        .col_expr(deliveries::Column::MayHaveArrived, Expr::value(true))
        .filter(deliveries::Column::State.eq(DeliveryState::Pending.as_str()))
        .filter(deliveries::Column::NextAttemptAt.lte(micros(now)))
        .filter(deliveries::Column::HeldUntil.is_null())
        .exec(db)
        .await?;
    Ok(done.rows_affected)
}

/// Makes the dead deliveries of a notification to these channels pending again; returns how many.
pub async fn retry(
    db: &impl ConnectionTrait,
    notification: &str,
    channels: &[String],
    now: Timestamp,
) -> Result<u64, StoreError> {
    let done = deliveries::Entity::update_many()
        .col_expr(deliveries::Column::State, Expr::value(DeliveryState::Pending.as_str()))
        .col_expr(deliveries::Column::NextAttemptAt, Expr::value(Some(micros(now))))
        // The day that a delivery is tried begins again.
        .col_expr(deliveries::Column::CreatedAt, Expr::value(micros(now)))
        .col_expr(deliveries::Column::FinishedAt, Expr::value(None::<i64>))
        .col_expr(deliveries::Column::HeldUntil, Expr::value(None::<i64>))
        .filter(deliveries::Column::State.eq(DeliveryState::Dead.as_str()))
        .filter(deliveries::Column::NotificationId.eq(notification))
        .filter(deliveries::Column::Channel.is_in(channels.iter().cloned()))
        .exec(db)
        .await?;
    Ok(done.rows_affected)
}

/// Numbers of deliveries by state.
pub async fn counts(db: &impl ConnectionTrait) -> Result<HashMap<DeliveryState, u64>, StoreError> {
    let rows: Vec<(String, i64)> = deliveries::Entity::find()
        .select_only()
        .column(deliveries::Column::State)
        .column_as(deliveries::Column::Id.count(), "count")
        .group_by(deliveries::Column::State)
        .into_tuple()
        .all(db)
        .await?;
    rows.into_iter()
        .map(|(state, count)| Ok((decode::word(&state, "deliveries.state")?, decode::number(count, "deliveries")?)))
        .collect()
}

/// Deliveries of one channel that are not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Undelivered {
    pub pending: u64,
    pub dead: u64,
}

/// What is not delivered, by channel; channels without any are left out.
pub async fn undelivered(db: &impl ConnectionTrait) -> Result<HashMap<String, Undelivered>, StoreError> {
    let rows: Vec<(String, String, i64)> = deliveries::Entity::find()
        .select_only()
        .columns([deliveries::Column::Channel, deliveries::Column::State])
        .column_as(deliveries::Column::Id.count(), "count")
        .filter(deliveries::Column::State.is_in([DeliveryState::Pending.as_str(), DeliveryState::Dead.as_str()]))
        .group_by(deliveries::Column::Channel)
        .group_by(deliveries::Column::State)
        .into_tuple()
        .all(db)
        .await?;
    let mut by_channel: HashMap<String, Undelivered> = HashMap::new();
    for (channel, state, count) in rows {
        let count = decode::number(count, "deliveries")?;
        let of = by_channel.entry(channel).or_default();
        if state == DeliveryState::Dead.as_str() {
            of.dead = count;
        } else {
            of.pending = count;
        }
    }
    Ok(by_channel)
}

/// Removes notifications older than `before` whose deliveries are all finished, at most `batch`; returns how many.
/// Those of an open incident stay: whoever was told of it is told of its end.
pub async fn delete_before(db: &impl ConnectionTrait, before: Timestamp, batch: u64) -> Result<u64, StoreError> {
    let unfinished = deliveries::Entity::find()
        .select_only()
        .column(deliveries::Column::NotificationId)
        .filter(deliveries::Column::State.eq(DeliveryState::Pending.as_str()));
    let open = incidents::Entity::find()
        .select_only()
        .column(incidents::Column::Id)
        .filter(incidents::Column::ResolvedAt.is_null());
    let ids: Vec<String> = notifications::Entity::find()
        .select_only()
        .column(notifications::Column::Id)
        .filter(
            notifications::Column::IncidentId
                .is_null()
                .or(notifications::Column::IncidentId.not_in_subquery(sea_orm::QueryTrait::into_query(open))),
        )
        .filter(notifications::Column::CreatedAt.lt(micros(before)))
        .filter(notifications::Column::Id.not_in_subquery(sea_orm::QueryTrait::into_query(unfinished)))
        .limit(batch)
        .into_tuple()
        .all(db)
        .await?;
    deliveries::Entity::delete_many().filter(deliveries::Column::NotificationId.is_in(ids.clone())).exec(db).await?;
    Ok(notifications::Entity::delete_many().filter(notifications::Column::Id.is_in(ids)).exec(db).await?.rows_affected)
}

fn read_delivery(row: deliveries::Model) -> Result<Delivery, StoreError> {
    Ok(Delivery {
        id: row.id,
        notification_id: row.notification_id,
        channel: row.channel,
        endpoint: row.endpoint_id.map(EndpointId),
        state: decode::word(&row.state, "deliveries.state")?,
        attempts: decode::number(row.attempts, "deliveries.attempts")?,
        may_have_arrived: row.may_have_arrived,
        next_attempt_at: row.next_attempt_at.map(from_micros),
        last_attempt_at: row.last_attempt_at.map(from_micros),
        last_error: row.last_error,
        answer: row.answer,
        created_at: from_micros(row.created_at),
        finished_at: row.finished_at.map(from_micros),
        held_until: row.held_until.map(from_micros),
        digest: row.digest_id,
    })
}
