//! A test message through a channel.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

use super::{COUNT_TIMEOUT, find, subject};
use crate::domain::role::Role;
use crate::events::ChannelTestRequest;
use crate::service::context::{Actor, ServiceContext, detached};
use crate::service::error::{Conflict, ServiceError};
use crate::store::{audit, within};

/// The longest that a test is waited for; a request as a whole has 30 s.
pub const MAX_TEST: Duration = Duration::from_secs(25);

/// Sends a message that is marked as a test through the channel's real transport, and returns what the other side
/// answered, or why it was not delivered.
///
/// # Errors
/// `NotFound`; `Conflict` when the channel is off; `Unavailable` when other tests are under way or the monitor stops.
pub async fn test(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    name: &str,
) -> Result<Result<String, String>, ServiceError> {
    actor.require(Role::Operator)?;
    let listing = ctx.directory.get();
    let config = find(&listing, name)?;
    if !config.enabled {
        let where_to = if listing.made_channel(name).is_some() { "" } else { " in the configuration" };
        return Err(ServiceError::Conflict(Conflict::ChannelOff { name: name.to_owned(), where_to }));
    }
    let (reply, answer) = oneshot::channel();
    ctx.channel_tests.try_send(ChannelTestRequest { channel: name.to_owned(), reply }).map_err(|e| {
        ServiceError::Unavailable(
            match e {
                TrySendError::Full(_) => "Other tests of channels are still under way: try again in a moment",
                TrySendError::Closed(_) => "Nothing is delivered at this moment: the monitor is stopping",
            }
            .to_owned(),
        )
    })?;
    let (work, actor, name) = (Arc::clone(ctx), actor.clone(), name.to_owned());
    // The message is on its way, so it is audited even if the client goes away.
    detached(ctx, async move {
        let sent = match tokio::time::timeout(MAX_TEST, answer).await {
            Ok(Ok(sent)) => sent,
            Ok(Err(_)) => {
                return Err(ServiceError::Unavailable("The test was given up: nothing is delivered now".to_owned()));
            }
            Err(_) => Err(format!("no answer within {} s", MAX_TEST.as_secs())),
        };
        note_test(&work, &actor, &name, sent.is_ok()).await;
        Ok(sent)
    })
    .await
}

/// Trying a channel works without the database, so a row that cannot be written is only logged.
async fn note_test(ctx: &ServiceContext, actor: &Actor, name: &str, delivered: bool) {
    let mut row = actor.audit_row(ctx.clock.now(), "channel.test", subject(name));
    ctx.announce(actor, &row.action, &row.subject);
    if !delivered {
        "failed".clone_into(&mut row.result);
    }
    if let Err(error) = within(COUNT_TIMEOUT, audit::append(ctx.store.writer(), row)).await {
        tracing::warn!(%error, channel = name, "a test of a channel could not be written into the audit log");
    }
}
