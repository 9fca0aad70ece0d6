//! Alert rules: thresholds over the monitor's own metrics, made and changed here, looked at by [`watch`], told through
//! channels like everything that is told.

mod rules;
mod telling;
pub mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

pub use self::rules::{AlertRules, Watched};
use self::telling::Happened;
use super::context::{Actor, ServiceContext, detached_change};
use super::error::{FieldError, ServiceError};
use super::merge_patch;
use super::metrics::{self, MetricValue, Unit};
use crate::config::Listing;
use crate::config::channels::{ChannelConfig, Transport};
use crate::domain::Timestamp;
use crate::domain::alert_rule::{AlertId, AlertSettings, Bounds, Quantity, QuantityKind, Standing};
use crate::domain::notification::{AlertEnding, Severity};
use crate::domain::role::Role;
use crate::domain::suggest::closest;
use crate::store::{StoreError, alert_rules, audit};

/// The most rules. A further one is refused.
pub const MOST_RULES: usize = 500;

/// What actions end with that name a channel by its kind or its name.
const NOTIFY: &str = "_notify";

/// Kinds of channels that an action may name before there is one.
const KINDS: [&str; 3] = ["email", "webhook", "telegram"];

/// A rule as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertRule {
    pub id: AlertId,
    pub settings: AlertSettings,
    pub standing: Standing,
    /// Since when it stands so.
    pub since: Timestamp,
    /// What was measured last, as it is compared with the threshold.
    pub measured: Option<f64>,
    /// The same for people.
    pub shown: Option<String>,
    /// Of `measured`.
    pub unit: Option<&'static str>,
    /// Back at this it clears, in `unit`.
    pub clears_at: Option<f64>,
    pub channel: ActionChannel,
    /// What of it cannot be read; then it is not looked at.
    pub unreadable: Option<String>,
    pub created_at: Timestamp,
    pub created_by: String,
    pub updated_at: Timestamp,
    pub revision: i64,
}

/// The channel that an action names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionChannel {
    pub name: String,
    pub exists: bool,
    pub enabled: bool,
    /// The channels that are told when the rule fires now. Not only itself: where there is none of it any more, or not
    /// yet, those of the default route, so that nobody goes untold. One that is off tells nobody.
    pub tells: Vec<String>,
}

impl ActionChannel {
    fn of(settings: &AlertSettings, listing: &Listing) -> Self {
        let action = settings.action.as_deref().unwrap_or_default();
        let (name, channel) = match meant(action, listing) {
            Some(Meant::Channel(channel)) => (channel.name.as_str(), Some(channel)),
            Some(Meant::Kind(kind)) => (kind, None),
            None => (action.strip_suffix(NOTIFY).unwrap_or(action), None),
        };
        let routing = listing.routing();
        let tells = match channel {
            _ if !routing.enabled => Vec::new(),
            Some(channel) => channel.enabled.then(|| channel.name.clone()).into_iter().collect(),
            None => routing.channels_for(None, settings.severity.unwrap_or(Severity::Warning)),
        };
        let enabled = channel.is_some_and(|channel| channel.enabled);
        Self { name: name.to_owned(), exists: channel.is_some(), enabled, tells }
    }
}

/// What an action means.
enum Meant<'l> {
    Channel(&'l ChannelConfig),
    /// Of which there is no channel.
    Kind(&'static str),
}

/// `None` when it can mean nothing.
fn meant<'l>(action: &str, listing: &'l Listing) -> Option<Meant<'l>> {
    if let Some(channel) = listing.channel(action) {
        return Some(Meant::Channel(channel));
    }
    let stem = action.strip_suffix(NOTIFY)?;
    if let Some(channel) = listing.channel(stem) {
        return Some(Meant::Channel(channel));
    }
    let of_kind = || listing.channels.iter().filter(|channel| kind_of(&channel.transport) == Some(stem));
    let channel = of_kind().find(|channel| channel.enabled).or_else(|| of_kind().next());
    let kind = KINDS.into_iter().find(|kind| *kind == stem);
    channel.map(Meant::Channel).or(kind.map(Meant::Kind))
}

fn kind_of(transport: &Transport) -> Option<&'static str> {
    match transport {
        Transport::Email(_) => Some("email"),
        Transport::Webhook(_) => Some("webhook"),
        Transport::Telegram(_) => Some("telegram"),
        // Not there until it is configured, so it is not among the kinds that are accepted before.
        Transport::Preset { preset, .. } if preset == "twilio_sms" => Some("sms"),
        Transport::Console | Transport::Preset { .. } | Transport::Unreadable { .. } => None,
    }
}

/// What a metric measures. One that was not measured yet may have a whole.
fn quantity(metric: &MetricValue) -> Quantity {
    let kind = match metric.unit {
        Unit::Percent => QuantityKind::Percent,
        Unit::Bytes => QuantityKind::Bytes,
        Unit::Seconds => QuantityKind::Seconds,
        Unit::Count => QuantityKind::Count,
        Unit::PerSecond => QuantityKind::Number,
    };
    let may_have = matches!(kind, QuantityKind::Bytes | QuantityKind::Count);
    Quantity { kind, has_whole: may_have && (metric.whole.is_some() || metric.numeric_value.is_none()) }
}

/// What a rule is compared with, and what for.
#[derive(Debug, Clone, PartialEq)]
struct Measured {
    quantity: Quantity,
    bounds: Bounds,
    value: Option<f64>,
}

/// The metrics of one round, each looked at once.
struct Round<'c> {
    ctx: &'c ServiceContext,
    metrics: BTreeMap<String, Option<MetricValue>>,
}

impl<'c> Round<'c> {
    fn new(ctx: &'c ServiceContext) -> Self {
        Self { ctx, metrics: BTreeMap::new() }
    }

    /// `None`: there is no such metric, or the threshold fits it no longer.
    fn measure(&mut self, settings: &AlertSettings) -> Option<Measured> {
        let name = settings.metric.as_deref()?;
        if !self.metrics.contains_key(name) {
            self.metrics.insert(name.to_owned(), metrics::get(self.ctx, name));
        }
        let metric = self.metrics.get(name)?.as_ref()?;
        let quantity = quantity(metric);
        let bounds = Bounds::of(settings, quantity).ok()?;
        Some(Measured { quantity, bounds, value: bounds.measured(metric.numeric_value, metric.whole) })
    }
}

fn as_it_stands(watched: Watched, round: &mut Round<'_>, listing: &Listing) -> AlertRule {
    let Watched { stored, state } = watched;
    let measured = if stored.unreadable.is_none() { round.measure(&stored.settings) } else { None };
    let is_on = stored.settings.enabled.unwrap_or(true);
    let channel = ActionChannel::of(&stored.settings, listing);
    let value = measured.as_ref().and_then(|measured| measured.value);
    AlertRule {
        id: AlertId(stored.id),
        standing: if is_on { state.standing() } else { Standing::Disabled },
        since: if is_on { state.since() } else { stored.updated_at },
        shown: measured.as_ref().and_then(|m| Some(m.quantity.shown(m.value?, &m.bounds))),
        unit: measured.as_ref().map(|m| m.quantity.unit(&m.bounds)),
        clears_at: measured.as_ref().map(|m| m.bounds.clear),
        measured: value,
        channel,
        unreadable: stored.unreadable,
        settings: stored.settings,
        created_at: stored.created_at,
        created_by: stored.created_by,
        updated_at: stored.updated_at,
        revision: stored.revision,
    }
}

/// Every rule, by id. Works without the database.
pub fn list(ctx: &ServiceContext) -> Vec<AlertRule> {
    let (mut round, listing) = (Round::new(ctx), ctx.directory.get());
    ctx.alerts.list().into_iter().map(|watched| as_it_stands(watched, &mut round, &listing)).collect()
}

/// The rules whose action means this channel, by id.
pub(super) fn naming(ctx: &ServiceContext, listing: &Listing, channel: &str) -> Vec<AlertId> {
    let names_it = |watched: &Watched| {
        let action = watched.stored.settings.action.as_deref().unwrap_or_default();
        matches!(meant(action, listing), Some(Meant::Channel(meant)) if meant.name == channel)
    };
    ctx.alerts.list().iter().filter(|watched| names_it(watched)).map(|watched| AlertId(watched.stored.id)).collect()
}

/// A rule by its id. Works without the database.
///
/// # Errors
/// `NotFound`.
pub fn get(ctx: &ServiceContext, id: &str) -> Result<AlertRule, ServiceError> {
    let watched = AlertId::read(id).and_then(|id| ctx.alerts.get(id)).ok_or_else(|| unknown(id))?;
    Ok(as_it_stands(watched, &mut Round::new(ctx), &ctx.directory.get()))
}

/// Makes a rule.
///
/// # Errors
/// `Forbidden`; `Invalid`, also when there are too many.
pub async fn create(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    settings: AlertSettings,
) -> Result<AlertRule, ServiceError> {
    actor.require(Role::Editor)?;
    let (work, actor) = (Arc::clone(ctx), actor.clone());
    detached_change(ctx, async move { create_locked(&work, &actor, &settings).await }).await
}

async fn create_locked(
    ctx: &ServiceContext,
    actor: &Actor,
    settings: &AlertSettings,
) -> Result<AlertRule, ServiceError> {
    let _changes = ctx.changes.lock().await;
    check(ctx, settings, None)?;
    if ctx.alerts.count() >= MOST_RULES {
        let detail = format!("there are {MOST_RULES} alert rules, and there can be no more: delete one first");
        return Err(ServiceError::invalid(FieldError::at("", "out_of_range", detail)));
    }
    let now = ctx.clock.now();
    let transaction = ctx.store.begin_durable().await.map_err(ServiceError::Store)?;
    let stored = alert_rules::insert(&transaction, settings, &actor.name, now).await.map_err(ServiceError::Store)?;
    let mut row = actor.audit_row(now, "alert.create", subject(stored.id));
    row.after = Some(audited(&stored.settings));
    audit::append(&transaction, row).await.map_err(ServiceError::Store)?;
    ctx.alerts.commit(transaction).await?;
    let subject = subject(stored.id);
    let watched = ctx.alerts.put(stored, now);
    ctx.announce(actor, "alert.create", &subject);
    Ok(as_it_stands(watched, &mut Round::new(ctx), &ctx.directory.get()))
}

/// What a change makes of a rule.
#[derive(Debug)]
pub enum Change {
    /// All settings; what is absent returns to its default.
    Replace(AlertSettings),
    /// A JSON merge patch.
    Patch(Value),
}

/// Changes a rule. One that fires is told to be over, and is looked at anew with its new settings.
///
/// # Errors
/// `Forbidden`, `NotFound`, `Invalid`; `Stale` when `expected_revision` is no longer its revision.
pub async fn change(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    id: &str,
    expected_revision: Option<i64>,
    change: Change,
) -> Result<AlertRule, ServiceError> {
    actor.require(Role::Editor)?;
    let (work, actor, id) = (Arc::clone(ctx), actor.clone(), id.to_owned());
    detached_change(ctx, async move { change_locked(&work, &actor, &id, expected_revision, change).await }).await
}

async fn change_locked(
    ctx: &ServiceContext,
    actor: &Actor,
    id: &str,
    expected_revision: Option<i64>,
    change: Change,
) -> Result<AlertRule, ServiceError> {
    let _changes = ctx.changes.lock().await;
    let now = ctx.clock.now();
    let held = held(ctx, id, expected_revision)?;
    let before = &held.watched.stored;
    let (settings, action) = match change {
        Change::Replace(settings) => (settings, "alert.replace"),
        Change::Patch(patch) => (patched(&before.settings, patch)?, "alert.patch"),
    };
    check(ctx, &settings, Some(&before.settings))?;
    if settings == before.settings && before.unreadable.is_none() {
        return Ok(as_it_stands(held.watched.clone(), &mut Round::new(ctx), &ctx.directory.get()));
    }
    let ending = Happened::ended(ctx, &held.watched, AlertEnding::RuleChanged, now);
    let transaction = ctx.store.begin_durable().await.map_err(ServiceError::Store)?;
    held.write_what_waits(&transaction).await?;
    let stored = match alert_rules::update(&transaction, before.id, &settings, before.revision, now).await {
        Ok(stored) => stored,
        // It was changed before, by a commit whose answer was lost.
        Err(StoreError::Stale | StoreError::NotFound) => {
            drop(transaction);
            take_up(ctx).await.map_err(ServiceError::Store)?;
            let known = ctx.alerts.get(AlertId(before.id));
            return Err(
                known.map_or_else(|| unknown(id), |known| ServiceError::Stale { revision: known.stored.revision })
            );
        }
        Err(error) => return Err(ServiceError::Store(error)),
    };
    if let Some(ending) = &ending {
        ending.write_notification(&transaction).await.map_err(ServiceError::Store)?;
    }
    let mut row = actor.audit_row(now, action, subject(before.id));
    (row.before, row.after) = (Some(audited(&before.settings)), Some(audited(&settings)));
    audit::append(&transaction, row).await.map_err(ServiceError::Store)?;
    ctx.alerts.commit(transaction).await?;
    let watched = ctx.alerts.put(stored, now);
    ctx.announce(actor, action, &subject(before.id));
    tell(ctx, ending);
    drop(held);
    Ok(as_it_stands(watched, &mut Round::new(ctx), &ctx.directory.get()))
}

/// Removes a rule. One that fires is told to be over.
///
/// # Errors
/// As [`change`].
pub async fn delete(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    id: &str,
    expected_revision: Option<i64>,
) -> Result<(), ServiceError> {
    actor.require(Role::Editor)?;
    let (work, actor, id) = (Arc::clone(ctx), actor.clone(), id.to_owned());
    detached_change(ctx, async move {
        let _changes = work.changes.lock().await;
        let now = work.clock.now();
        let held = held(&work, &id, expected_revision)?;
        let before = &held.watched.stored;
        let ending = Happened::ended(&work, &held.watched, AlertEnding::RuleDeleted, now);
        let transaction = work.store.begin_durable().await.map_err(ServiceError::Store)?;
        held.write_what_waits(&transaction).await?;
        match alert_rules::delete(&transaction, before.id).await {
            Ok(()) => {}
            // It went before, by a commit whose answer was lost: it is only remembered.
            Err(StoreError::NotFound) => {
                work.alerts.remove(AlertId(before.id));
                return Ok(());
            }
            Err(error) => return Err(ServiceError::Store(error)),
        }
        if let Some(ending) = &ending {
            ending.write_notification(&transaction).await.map_err(ServiceError::Store)?;
        }
        let mut row = actor.audit_row(now, "alert.delete", subject(before.id));
        row.before = Some(audited(&before.settings));
        audit::append(&transaction, row).await.map_err(ServiceError::Store)?;
        work.alerts.commit(transaction).await?;
        work.alerts.remove(AlertId(before.id));
        work.announce(&actor, "alert.delete", &subject(before.id));
        tell(&work, ending);
        Ok(())
    })
    .await
}

/// Takes up what changes made whose commits were not answered. Whoever calls it holds `changes`.
async fn take_up(ctx: &ServiceContext) -> Result<(), StoreError> {
    let table = alert_rules::list(ctx.store.writer()).await?;
    ctx.alerts.follow(table, ctx.clock.now());
    Ok(())
}

/// Hands over what is told of a change whose rows are written.
fn tell(ctx: &ServiceContext, ending: Option<Happened>) {
    let Some(ending) = ending else { return };
    if let Some(handed) = ending.to_deliver() {
        ctx.alerts.handover.hand(handed, true);
    }
    ctx.deliver.nudge();
}

/// The rule that may be changed, held so that it neither fires nor clears meanwhile.
fn held(ctx: &ServiceContext, id: &str, expected_revision: Option<i64>) -> Result<rules::Held, ServiceError> {
    let held = AlertId::read(id).and_then(|id| ctx.alerts.hold(id)).ok_or_else(|| unknown(id))?;
    let revision = held.watched.stored.revision;
    if expected_revision.is_some_and(|expected| expected != revision) {
        return Err(ServiceError::Stale { revision });
    }
    Ok(held)
}

/// Every rule of the settings. What was there before is not refused for what has changed around it.
fn check(ctx: &ServiceContext, settings: &AlertSettings, before: Option<&AlertSettings>) -> Result<(), ServiceError> {
    let mut errors = Vec::new();
    match settings.metric.as_deref() {
        None => {
            errors.push(FieldError::at("/metric", "required", "a rule has a metric, by its name in /api/v1/metrics"));
        }
        Some(name) => match metrics::get(ctx, name) {
            None => {
                let detail = match metrics::meant(name) {
                    Some(meant) => format!("there is no such metric; did you mean {meant}?"),
                    None => "there is no such metric; /api/v1/metrics lists those that there are".to_owned(),
                };
                errors.push(FieldError::at("/metric", "unknown", detail));
            }
            Some(metric) => match Bounds::of(settings, quantity(&metric)) {
                Ok(bounds) if bounds.always_holds(quantity(&metric)) => {
                    let detail = "the comparison would hold whatever is measured, so that it never clears";
                    errors.push(FieldError::at("/threshold", "out_of_range", detail));
                }
                Ok(_) => {}
                Err(broken) => {
                    let told = |(field, rule, detail)| FieldError::at(format!("/{field}"), rule, detail);
                    errors.extend(broken.into_iter().map(told));
                }
            },
        },
    }
    let listing = ctx.directory.get();
    match settings.action.as_deref() {
        None => {
            errors.push(FieldError::at("/action", "required", format!("a rule has an action: {}", actions(&listing))));
        }
        Some(action) if before.is_some_and(|before| before.action.as_deref() == Some(action)) => {}
        Some(action) if meant(action, &listing).is_none() => {
            let stem = action.strip_suffix(NOTIFY).unwrap_or(action);
            let names = listing.channels.iter().map(|channel| channel.name.as_str()).chain(KINDS);
            let detail = match closest(stem, names) {
                Some(meant) => format!("there is no such channel; did you mean {meant}{NOTIFY}?"),
                None => format!("there is no such channel: there are {}", actions(&listing)),
            };
            errors.push(FieldError::at("/action", "unknown", detail));
        }
        Some(_) => {}
    }
    if errors.is_empty() { Ok(()) } else { Err(ServiceError::Invalid(errors)) }
}

/// What an action can be.
fn actions(listing: &Listing) -> String {
    let names = listing.channels.iter().map(|channel| channel.name.as_str());
    let kinds = KINDS.into_iter().filter(|kind| listing.channel(kind).is_none());
    names.chain(kinds).map(|name| format!("{name}{NOTIFY}")).collect::<Vec<_>>().join(", ")
}

/// The settings after a merge patch: what is not in it stays, `null` removes.
fn patched(settings: &AlertSettings, patch: Value) -> Result<AlertSettings, ServiceError> {
    let Value::Object(fields) = patch else {
        let error = FieldError::at("", "invalid", "A merge patch of an alert rule is a JSON object");
        return Err(ServiceError::invalid(error));
    };
    // Its mistakes by themselves, also of a field that would only be removed.
    merge_patch::read::<AlertSettings>(Value::Object(fields.clone())).map_err(ServiceError::invalid)?;
    let mut document = serde_json::to_value(settings).unwrap_or_default();
    if let Value::Object(document) = &mut document {
        for (key, value) in fields {
            if value.is_null() {
                document.remove(&key);
            } else {
                document.insert(key, value);
            }
        }
    }
    merge_patch::read(document).map_err(ServiceError::invalid)
}

fn unknown(id: &str) -> ServiceError {
    ServiceError::NotFound(format!("alert rule {id}"))
}

fn subject(id: i64) -> String {
    format!("alert/{}", AlertId(id))
}

fn audited(settings: &AlertSettings) -> Value {
    json!(settings)
}
