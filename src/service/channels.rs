//! The channels as configured, how each does, and a test message through one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

use super::context::{Actor, ServiceContext, detached};
use super::error::{Conflict, ServiceError};
use crate::config::channels::ChannelConfig;
use crate::domain::role::Role;
use crate::events::ChannelTestRequest;
pub use crate::store::outbox::Undelivered;
use crate::store::{audit, outbox, within};
use crate::telemetry::metrics::ChannelStatus;

/// How long the database has to say what is not delivered.
const COUNT_TIMEOUT: Duration = Duration::from_millis(700);

/// The longest that a test is waited for; a request as a whole has 30 s.
pub const MAX_TEST: Duration = Duration::from_secs(25);

/// A channel and how it does.
#[derive(Debug)]
pub struct ChannelReport<'a> {
    pub config: &'a ChannelConfig,
    /// Attempts since the start; `None` without any.
    pub status: Option<ChannelStatus>,
    /// `None` while the database is away.
    pub undelivered: Option<Undelivered>,
}

/// Every configured channel, in the order of the configuration. Works without the database.
pub async fn list(ctx: &ServiceContext) -> Vec<ChannelReport<'_>> {
    let undelivered = undelivered(ctx).await;
    let statuses = ctx.metrics.channels();
    let report = |config| report(config, &statuses, undelivered.as_ref());
    ctx.config.channels.iter().map(report).collect()
}

/// A channel by its name.
///
/// # Errors
/// `NotFound`.
pub async fn get<'a>(ctx: &'a ServiceContext, name: &str) -> Result<ChannelReport<'a>, ServiceError> {
    let config = find(ctx, name)?;
    Ok(report(config, &ctx.metrics.channels(), undelivered(ctx).await.as_ref()))
}

fn find<'a>(ctx: &'a ServiceContext, name: &str) -> Result<&'a ChannelConfig, ServiceError> {
    let found = ctx.config.channels.iter().find(|channel| channel.name == name);
    found.ok_or_else(|| ServiceError::NotFound(format!("channel `{name}`")))
}

fn report<'a>(
    config: &'a ChannelConfig,
    statuses: &std::collections::BTreeMap<String, ChannelStatus>,
    undelivered: Option<&HashMap<String, Undelivered>>,
) -> ChannelReport<'a> {
    ChannelReport {
        config,
        status: statuses.get(&config.name).cloned(),
        undelivered: undelivered.map(|of| of.get(&config.name).copied().unwrap_or_default()),
    }
}

/// What is not delivered, by channel; `None` while the database is away.
pub async fn undelivered(ctx: &ServiceContext) -> Option<HashMap<String, Undelivered>> {
    match tokio::time::timeout(COUNT_TIMEOUT, outbox::undelivered(ctx.store.readers())).await {
        Ok(Ok(counts)) => Some(counts),
        Ok(Err(_)) | Err(_) => None,
    }
}

/// The names of the channels whose last attempts failed.
pub fn failing(ctx: &ServiceContext) -> Vec<String> {
    let statuses = ctx.metrics.channels();
    statuses.into_iter().filter(|(_, status)| status.failing_since.is_some()).map(|(name, _)| name).collect()
}

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
    let config = find(ctx, name)?;
    if !config.enabled {
        return Err(ServiceError::Conflict(Conflict::ChannelOff { name: name.to_owned() }));
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
    let mut row = actor.audit_row(ctx.clock.now(), "channel.test", format!("channel/{name}"));
    ctx.announce(actor, &row.action, &row.subject);
    if !delivered {
        "failed".clone_into(&mut row.result);
    }
    if let Err(error) = within(COUNT_TIMEOUT, audit::append(ctx.store.writer(), row)).await {
        tracing::warn!(%error, channel = name, "a test of a channel could not be written into the audit log");
    }
}
