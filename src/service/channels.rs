//! The channels: which there are and how each does, making, changing and removing those of the API, and a test
//! message through one. The bookkeeping of what is delivered goes on over every change.

mod trial;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;

pub use self::trial::{MAX_TEST, test};
use super::alerts;
use super::channel_secrets::{redacted, restore as restore_secrets};
use super::context::{Actor, ServiceContext, detached_change};
use super::error::{Conflict, FieldError, ServiceError, key_text};
use super::merge_patch::merge;
use super::sync;
use crate::config::channels::{ChannelConfig, MadeChannel, Mistake, Settings, as_far_as_possible, read_made};
use crate::config::{Directory, Listing};
use crate::domain::Timestamp;
use crate::domain::endpoint::EndpointSettings;
use crate::domain::role::Role;
use crate::events::ChannelsChanged;
use crate::store::channels::StoredChannel;
pub use crate::store::outbox::Undelivered;
use crate::store::{ConnectionTrait, Store, StoreError, audit, channels, outbox};
use crate::telemetry::metrics::ChannelStatus;

/// How long the database has to say what is not delivered.
const COUNT_TIMEOUT: Duration = Duration::from_millis(700);

/// How long a change waits until deliveries go by it. They do so in any case.
const IN_FORCE_LIMIT: Duration = Duration::from_secs(2);

/// The most channels made through the API: each has a deliverer, which looks after its rows. Further ones are refused.
pub const MOST_MADE: usize = 200;

/// How many of those that name a channel are listed in a refusal.
const MOST_USERS: usize = 10;

/// A channel and how it does.
#[derive(Debug)]
pub struct ChannelReport {
    pub config: ChannelConfig,
    /// `None` for a configured one.
    pub made: Option<MadeChannel>,
    /// Attempts since the start, or since it was changed; `None` without any.
    pub status: Option<ChannelStatus>,
    /// `None` while the database is away.
    pub undelivered: Option<Undelivered>,
}

/// Every channel: the configured ones in their order, then those made through the API. Works without the database.
pub async fn list(ctx: &ServiceContext) -> Vec<ChannelReport> {
    let undelivered = undelivered(ctx).await;
    let (listing, statuses) = (ctx.directory.get(), ctx.metrics.channels());
    listing.channels.iter().map(|config| report(&listing, config, &statuses, undelivered.as_ref())).collect()
}

/// A channel by its name. Works without the database.
///
/// # Errors
/// `NotFound`.
pub async fn get(ctx: &ServiceContext, name: &str) -> Result<ChannelReport, ServiceError> {
    let listing = ctx.directory.get();
    let config = find(&listing, name)?;
    Ok(report(&listing, config, &ctx.metrics.channels(), undelivered(ctx).await.as_ref()))
}

fn find<'l>(listing: &'l Listing, name: &str) -> Result<&'l ChannelConfig, ServiceError> {
    listing.channel(name).ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> ServiceError {
    ServiceError::NotFound(format!("channel `{name}`"))
}

fn report(
    listing: &Listing,
    config: &ChannelConfig,
    statuses: &BTreeMap<String, ChannelStatus>,
    undelivered: Option<&HashMap<String, Undelivered>>,
) -> ChannelReport {
    ChannelReport {
        config: config.clone(),
        made: listing.made_channel(&config.name).cloned(),
        status: statuses.get(&config.name).cloned(),
        undelivered: undelivered.map(|of| of.get(&config.name).copied().unwrap_or_default()),
    }
}

/// Adds the stored channels to those of the configuration, at the start. One whose name the configuration has now is
/// the configuration's, and removed here; one that breaks a rule of this version is shown as such.
///
/// # Errors
/// When the database fails.
pub async fn restore(store: &Store, listing: &mut Listing, now: Timestamp) -> Result<(), StoreError> {
    let stored = channels::list(store.readers()).await?;
    let (adopted, stored): (Vec<_>, Vec<_>) =
        stored.into_iter().partition(|stored| listing.channel(&stored.name).is_some());
    if !adopted.is_empty() {
        sync::adopt_channels(store, listing, &adopted, now).await?;
    }
    for channel in stored {
        let (config, made) = understood(channel);
        listing.put_channel(config, made);
    }
    Ok(())
}

/// The channels made through the API, for whoever only reads: what the file has goes before.
///
/// # Errors
/// When the database fails.
pub(super) async fn read(db: &impl ConnectionTrait, listing: &mut Listing) -> Result<(), StoreError> {
    for stored in channels::list(db).await? {
        if listing.channel(&stored.name).is_none() {
            let (config, made) = understood(stored);
            listing.put_channel(config, made);
        }
    }
    Ok(())
}

/// What stored settings mean.
fn understood(stored: StoredChannel) -> (ChannelConfig, MadeChannel) {
    let StoredChannel { name, settings, created_at, updated_at, revision } = stored;
    // Whatever it falls back to: a channel may have been removed all the same.
    let config = read_made(&name, &settings, None).unwrap_or_else(|mistakes| {
        let why: Vec<String> = mistakes.iter().map(|m| format!("{}: {}", m.pointer, m.detail)).collect();
        as_far_as_possible(&name, &settings, why.join("; "))
    });
    (config, MadeChannel { settings, created_at, updated_at, revision })
}

/// Makes a channel. `given` has its `name` and the keys that it would have in the file.
///
/// # Errors
/// `Invalid`; `Conflict` when the name is taken, or there are too many.
pub async fn create(ctx: &Arc<ServiceContext>, actor: &Actor, given: Settings) -> Result<ChannelReport, ServiceError> {
    actor.require(Role::Editor)?;
    let (work, actor) = (Arc::clone(ctx), actor.clone());
    let name = detached_change(ctx, async move { create_locked(&work, &actor, given).await }).await?;
    get(ctx, &name).await
}

async fn create_locked(ctx: &ServiceContext, actor: &Actor, mut given: Settings) -> Result<String, ServiceError> {
    let _changes = ctx.changes.lock().await;
    let now = ctx.clock.now();
    let listing = ctx.directory.get();
    let name = match given.remove("name") {
        Some(Value::String(name)) => Ok(name),
        None | Some(Value::Null) => Err(FieldError::at("/name", "required", "a channel has a name")),
        Some(_) => Err(FieldError::at("/name", "invalid", "the name of a channel is text")),
    };
    let mut settings = given.clone();
    let mut errors = restore_secrets(&mut settings, &given, None);
    // Under any name, to tell every mistake at once.
    let read = read_made(name.as_deref().unwrap_or("unnamed"), &settings, Some(listing.channel_names()));
    errors.extend(name.as_ref().err().cloned());
    let (name, config) = match (name, read) {
        (Ok(name), Ok(config)) if errors.is_empty() => (name, config),
        (_, read) => {
            errors.extend(read.err().into_iter().flatten().map(FieldError::from));
            return Err(ServiceError::Invalid(errors));
        }
    };
    if listing.channel(&name).is_some() {
        return Err(ServiceError::Conflict(Conflict::ChannelNameTaken { name }));
    }
    if listing.made_channels() >= MOST_MADE {
        return Err(ServiceError::Conflict(Conflict::TooManyChannels { most: MOST_MADE }));
    }
    require_working(ctx, &config)?;
    settings.retain(|_, value| !value.is_null());
    let transaction = ctx.store.begin_durable().await.map_err(ServiceError::Store)?;
    let stored = match channels::insert(&transaction, &name, settings, now).await {
        Ok(stored) => stored,
        Err(error) => {
            drop(transaction);
            return Err(behind(ctx, &name, error).await);
        }
    };
    let mut row = actor.audit_row(now, "channel.create", subject(&name));
    row.after = Some(audited(&stored.settings));
    audit::append(&transaction, row).await.map_err(ServiceError::Store)?;
    transaction.commit().await.map_err(|e| ServiceError::Store(e.into()))?;
    put_in_force(ctx, stored, Some(config)).await;
    ctx.announce(actor, "channel.create", &subject(&name));
    Ok(name)
}

/// What a change makes of a channel.
#[derive(Debug)]
pub enum Change {
    /// All settings; what is absent returns to its default.
    Replace(Settings),
    /// A JSON merge patch.
    Patch(Settings),
}

/// Changes the settings of a channel. What waits in it is attempted at once through what it is then, or given up when
/// it is off then.
///
/// # Errors
/// `NotFound`, `Invalid`; `Conflict` when the configuration has the channel; `Stale` when `expected_revision` is no
/// longer its revision.
pub async fn change(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    name: &str,
    expected_revision: Option<i64>,
    change: Change,
) -> Result<ChannelReport, ServiceError> {
    actor.require(Role::Editor)?;
    let (work, actor, known) = (Arc::clone(ctx), actor.clone(), name.to_owned());
    detached_change(ctx, async move { change_locked(&work, &actor, &known, expected_revision, change).await }).await?;
    get(ctx, name).await
}

async fn change_locked(
    ctx: &ServiceContext,
    actor: &Actor,
    name: &str,
    expected_revision: Option<i64>,
    change: Change,
) -> Result<(), ServiceError> {
    let _changes = ctx.changes.lock().await;
    let now = ctx.clock.now();
    let listing = ctx.directory.get();
    let old = changeable(&listing, name, expected_revision)?;
    let (action, mut given) = match &change {
        Change::Replace(given) => ("channel.replace", given.clone()),
        Change::Patch(given) => ("channel.patch", given.clone()),
    };
    let mut errors = Vec::new();
    if given.remove("name").is_some_and(|given| given.as_str() != Some(name)) {
        errors.push(FieldError::at("/name", "conflict", format!("must be `{name}` as in the path, or left out")));
    }
    let (mut settings, cleared) = match change {
        Change::Replace(_) => (given.clone(), Settings::new()),
        Change::Patch(_) => patched(&old.settings, &given),
    };
    errors.extend(restore_secrets(&mut settings, &given, Some(&old.settings)));
    // What a patch only clears is read too, so that a key that there is not is no more accepted than elsewhere.
    let with_cleared = settings.clone().into_iter().chain(cleared).collect();
    let config = match read_made(name, &with_cleared, Some(listing.channel_names())) {
        Ok(config) if errors.is_empty() => config,
        read => {
            errors.extend(read.err().into_iter().flatten().map(FieldError::from));
            return Err(ServiceError::Invalid(errors));
        }
    };
    settings.retain(|_, value| !value.is_null());
    if settings == old.settings {
        return Ok(());
    }
    require_working(ctx, &config)?;
    let transaction = ctx.store.begin_durable().await.map_err(ServiceError::Store)?;
    let stored = match channels::update(&transaction, name, settings, old.revision, now).await {
        Ok(stored) => stored,
        Err(error) => {
            drop(transaction);
            return Err(behind(ctx, name, error).await);
        }
    };
    if config.enabled {
        outbox::hurry(&transaction, name, now).await.map_err(ServiceError::Store)?;
    }
    let mut row = actor.audit_row(now, action, subject(name));
    (row.before, row.after) = (Some(audited(&old.settings)), Some(audited(&stored.settings)));
    audit::append(&transaction, row).await.map_err(ServiceError::Store)?;
    transaction.commit().await.map_err(|e| ServiceError::Store(e.into()))?;
    put_in_force(ctx, stored, Some(config)).await;
    ctx.announce(actor, action, &subject(name));
    Ok(())
}

/// Removes a channel. What waits in it is given up, with the reason. `force`: also when something names it.
///
/// # Errors
/// As [`change`]; `Conflict` when something names it.
pub async fn delete(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    name: &str,
    expected_revision: Option<i64>,
    force: bool,
) -> Result<(), ServiceError> {
    actor.require(Role::Editor)?;
    let (work, actor, name) = (Arc::clone(ctx), actor.clone(), name.to_owned());
    detached_change(ctx, async move {
        let _changes = work.changes.lock().await;
        let now = work.clock.now();
        let listing = work.directory.get();
        let old = changeable(&listing, &name, expected_revision)?;
        if !force && let Some(users) = users(&work, &listing, &name) {
            return Err(ServiceError::Conflict(Conflict::ChannelInUse { name, users }));
        }
        let transaction = work.store.begin_durable().await.map_err(ServiceError::Store)?;
        match channels::delete(&transaction, &name).await {
            // It went before, by a commit whose answer was lost: it is only remembered.
            Ok(()) | Err(StoreError::NotFound) => {}
            Err(error) => return Err(ServiceError::Store(error)),
        }
        let mut row = actor.audit_row(now, "channel.delete", subject(&name));
        row.before = Some(audited(&old.settings));
        audit::append(&transaction, row).await.map_err(ServiceError::Store)?;
        transaction.commit().await.map_err(|e| ServiceError::Store(e.into()))?;
        forget(&work, &name).await;
        work.announce(&actor, "channel.delete", &subject(&name));
        Ok(())
    })
    .await
}

/// The channel, if it may be changed.
fn changeable<'l>(
    listing: &'l Listing,
    name: &str,
    expected_revision: Option<i64>,
) -> Result<&'l MadeChannel, ServiceError> {
    let config = find(listing, name)?;
    let Some(made) = listing.made_channel(name) else {
        let source_line = config.source.clone().unwrap_or_else(|| "the configuration".to_owned());
        return Err(ServiceError::Conflict(Conflict::ManagedByConfig { what: "channel", source_line }));
    };
    if expected_revision.is_none_or(|revision| revision == made.revision) {
        Ok(made)
    } else {
        Err(ServiceError::Stale { revision: made.revision })
    }
}

/// The settings after a merge patch, and those keys which it clears though they are not set.
fn patched(old: &Settings, patch: &Settings) -> (Settings, Settings) {
    let mut patch = patch.clone();
    if let Some(Value::Object(headers)) = patch.get_mut("headers") {
        // Header names are compared without case.
        let known = old.get("headers").and_then(Value::as_object);
        let renamed = std::mem::take(headers).into_iter().map(|(name, value)| {
            let stored = known.and_then(|known| known.keys().find(|stored| stored.eq_ignore_ascii_case(&name)));
            (stored.cloned().unwrap_or(name), value)
        });
        *headers = renamed.collect();
    }
    let cleared = patch.iter().filter(|(key, value)| value.is_null() && !old.contains_key(*key));
    let cleared = cleared.map(|(key, value)| (key.clone(), value.clone())).collect();
    let mut settings = Value::Object(old.clone());
    merge(&mut settings, Value::Object(patch));
    match settings {
        Value::Object(settings) => (settings, cleared),
        _ => (Settings::new(), cleared),
    }
}

/// Refuses a channel that is on and could not be built.
fn require_working(ctx: &ServiceContext, config: &ChannelConfig) -> Result<(), ServiceError> {
    if let Some(mistake) = super::outbound::unreachable_channel(config) {
        return Err(ServiceError::invalid(mistake));
    }
    if !config.enabled {
        return Ok(());
    }
    let fault = |(key, why): (String, String)| FieldError::at(format!("/{}", key.replace('.', "/")), "invalid", why);
    ctx.channel_trial.of(config).map_err(|why| ServiceError::invalid(fault(why)))
}

impl From<Mistake> for FieldError {
    fn from(mistake: Mistake) -> Self {
        Self::at(mistake.pointer, mistake.rule, mistake.detail)
    }
}

/// Who names a channel, in words; `None` if nobody does.
fn users(ctx: &ServiceContext, listing: &Listing, name: &str) -> Option<String> {
    let names = |notify: Option<&Vec<String>>| notify.is_some_and(|names| names.iter().any(|other| other == name));
    let uses = |settings: &EndpointSettings| {
        let policy = settings.alert_policy.as_ref();
        let mut steps = policy.and_then(|policy| policy.escalation.as_ref()).into_iter().flatten();
        names(settings.notify.as_ref()) || steps.any(|step| names(Some(&step.notify)))
    };
    let mut found = Vec::new();
    if names(ctx.config.telling.default_route.as_ref()) {
        found.push("the top-level `notify`".to_owned());
    }
    if uses(&listing.defaults) {
        found.push("`defaults`".to_owned());
    }
    let groups = listing.groups.iter().filter(|(_, group)| uses(&group.settings));
    found.extend(groups.map(|(group, _)| format!("the group `{group}`")));
    let others = listing.channels.iter().filter(|other| other.name != name && names(Some(&other.fallback)));
    found.extend(others.map(|other| format!("the fallback of the channel `{}`", other.name)));
    let entries = ctx.board.entries();
    let endpoints = entries.iter().filter(|entry| uses(&entry.known.settings));
    found.extend(endpoints.map(|entry| {
        let endpoint = &entry.known.endpoint;
        format!("the endpoint {}", key_text(&endpoint.group, &endpoint.name))
    }));
    found.extend(alerts::naming(ctx, listing, name).into_iter().map(|id| format!("the alert rule {id}")));
    let more = found.len().saturating_sub(MOST_USERS);
    found.truncate(MOST_USERS);
    if more > 0 {
        found.push(format!("{more} more"));
    }
    (!found.is_empty()).then(|| found.join(", "))
}

/// Shows a stored channel in the directory, and has deliveries go by it.
async fn put_in_force(ctx: &ServiceContext, stored: StoredChannel, config: Option<ChannelConfig>) {
    let (read, made) = understood(stored);
    edit(&ctx.directory, |listing| listing.put_channel(config.unwrap_or(read), made));
    tell_deliverers(ctx).await;
}

async fn forget(ctx: &ServiceContext, name: &str) {
    edit(&ctx.directory, |listing| listing.remove_channel(name));
    tell_deliverers(ctx).await;
}

/// Whoever calls it holds `changes`.
fn edit(directory: &Directory, edit: impl FnOnce(&mut Listing)) {
    let mut listing = (*directory.get()).clone();
    edit(&mut listing);
    directory.set(listing);
}

/// Waits until deliveries go by the directory as it is. Not for long: they will do so in any case.
async fn tell_deliverers(ctx: &ServiceContext) {
    let (in_force, done) = oneshot::channel();
    let told = async {
        if ctx.channel_changes.send(ChannelsChanged { in_force }).await.is_ok() {
            // Dropped at the stop.
            drop(done.await);
        }
    };
    if tokio::time::timeout(IN_FORCE_LIMIT, told).await.is_err() {
        tracing::warn!("the deliverers take long to go by a change of the channels");
    }
}

/// The database refused a change because it has another channel than the directory: one whose commit was answered
/// with an error had been made all the same. The directory follows it, and the client is told so.
async fn behind(ctx: &ServiceContext, name: &str, error: StoreError) -> ServiceError {
    if !matches!(error, StoreError::Stale | StoreError::NotFound | StoreError::Conflict(_)) {
        return ServiceError::Store(error);
    }
    match channels::find(ctx.store.writer(), name).await {
        Ok(Some(stored)) => {
            let revision = stored.revision;
            put_in_force(ctx, stored, None).await;
            match error {
                StoreError::Conflict(_) => ServiceError::Conflict(Conflict::ChannelNameTaken { name: name.to_owned() }),
                _ => ServiceError::Stale { revision },
            }
        }
        Ok(None) => {
            forget(ctx, name).await;
            unknown(name)
        }
        Err(error) => ServiceError::Store(error),
    }
}

fn subject(name: &str) -> String {
    format!("channel/{name}")
}

/// The settings as the audit log keeps them: without secrets.
pub(super) fn audited(settings: &Settings) -> Value {
    Value::Object(redacted(settings))
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
