//! The outbox, seen, and what is dead in it sent again.

use std::sync::Arc;

use super::context::{Actor, ServiceContext, detached_change};
use super::error::{Conflict, ServiceError};
use crate::domain::role::Role;
pub use crate::store::outbox::{Delivery, DeliveryState, NotificationQuery, StoredNotification};
use crate::store::{audit, outbox};

/// A page of notifications with their deliveries, newest first, and how many there are on all pages.
///
/// # Errors
/// `Store`.
pub async fn list(
    ctx: &ServiceContext,
    query: &NotificationQuery,
) -> Result<(Vec<StoredNotification>, u64), ServiceError> {
    let db = ctx.store.snapshot().await.map_err(ServiceError::Store)?;
    let found = outbox::list(&db, query).await.map_err(ServiceError::Store)?;
    let total = outbox::count(&db, query).await.map_err(ServiceError::Store)?;
    Ok((found, total))
}

/// A notification by its id.
///
/// # Errors
/// `NotFound`, `Store`.
pub async fn get(ctx: &ServiceContext, id: &str) -> Result<StoredNotification, ServiceError> {
    let db = ctx.store.snapshot().await.map_err(ServiceError::Store)?;
    outbox::find(&db, id).await.map_err(ServiceError::Store)?.ok_or_else(|| unknown(id))
}

/// Makes the dead deliveries of a notification pending again, those to channels that are on.
///
/// # Errors
/// `NotFound`; `Conflict` when none is dead or none of their channels is on; `Store`.
pub async fn retry(ctx: &Arc<ServiceContext>, actor: &Actor, id: &str) -> Result<StoredNotification, ServiceError> {
    actor.require(Role::Operator)?;
    let (work, actor, id) = (Arc::clone(ctx), actor.clone(), id.to_owned());
    detached_change(ctx, async move { retry_now(&work, &actor, &id).await }).await
}

async fn retry_now(ctx: &ServiceContext, actor: &Actor, id: &str) -> Result<StoredNotification, ServiceError> {
    let now = ctx.clock.now();
    let transaction = ctx.store.begin_durable().await.map_err(ServiceError::Store)?;
    let found = outbox::find(&transaction, id).await.map_err(ServiceError::Store)?.ok_or_else(|| unknown(id))?;
    let channels = retried(ctx, &found)?;
    outbox::retry(&transaction, id, &channels, now).await.map_err(ServiceError::Store)?;
    let mut row = actor.audit_row(now, "notification.retry", format!("notification/{id}"));
    row.after = Some(serde_json::json!({ "channels": channels }));
    audit::append(&transaction, row).await.map_err(ServiceError::Store)?;
    let retried = outbox::find(&transaction, id).await.map_err(ServiceError::Store)?.ok_or_else(|| unknown(id))?;
    transaction.commit().await.map_err(|e| ServiceError::Store(e.into()))?;
    ctx.deliver.nudge();
    ctx.announce(actor, "notification.retry", &format!("notification/{id}"));
    Ok(retried)
}

/// The channels through which the notification can be sent again.
fn retried(ctx: &ServiceContext, notification: &StoredNotification) -> Result<Vec<String>, ServiceError> {
    let refuse = |reason: String| Err(ServiceError::Conflict(Conflict::NothingToRetry { reason }));
    let dead = notification.deliveries.iter().filter(|delivery| delivery.state == DeliveryState::Dead);
    let dead: Vec<&str> = dead.map(|delivery| delivery.channel.as_str()).collect();
    let digest = notification.deliveries.iter().find_map(|delivery| delivery.digest.as_deref());
    if let (true, Some(digest)) = (dead.is_empty(), digest) {
        return refuse(format!("none of its deliveries is dead: the digest {digest} tells it"));
    }
    if dead.is_empty() {
        return refuse("none of its deliveries is dead".to_owned());
    }
    if !ctx.config.telling.enabled {
        return refuse("`notifications.enabled` is false in the configuration".to_owned());
    }
    let directory = ctx.directory.get();
    let is_on = |name: &str| directory.channel(name).is_some_and(|channel| channel.enabled);
    let on: Vec<String> = dead.iter().filter(|name| is_on(name)).map(|name| (*name).to_owned()).collect();
    if on.is_empty() {
        return refuse(format!("no channel of its dead deliveries is on ({})", dead.join(", ")));
    }
    Ok(on)
}

fn unknown(id: &str) -> ServiceError {
    ServiceError::NotFound(format!("notification {id}"))
}
