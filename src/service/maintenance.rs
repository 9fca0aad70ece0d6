//! Maintenance windows: when work is being done on endpoints on purpose. They are declared in the configuration or made
//! here; what is open is followed by the recorder.

use std::sync::Arc;

use serde_json::{Value, json};

use super::context::{Actor, ServiceContext, detached_change};
use super::error::{Conflict, FieldError, ServiceError};
use super::merge_patch;
use crate::config::{Config, ConfiguredWindow};
use crate::domain::Timestamp;
use crate::domain::maintenance::{KnownWindow, Span, WindowMade, WindowSettings};
use crate::domain::role::Role;
use crate::domain::selector::{Selectable, Selectors};
use crate::quiet::Quiet;
use crate::store::{
    ConnectionTrait, DatabaseTransaction, Store, StoreError, audit, maintenance_windows as table, silences,
};

/// The most windows made through the API. A further one is refused.
pub const MOST_MADE: usize = 1_000;

/// A window as it stands.
#[derive(Debug, Clone)]
pub struct WindowReport {
    pub known: Arc<KnownWindow>,
    /// The span that it is open in.
    pub open: Option<Span>,
    /// The first that is still to begin.
    pub next: Option<Span>,
    /// How many endpoints it is about now.
    pub endpoints: usize,
    /// Of the clock that counts.
    pub timezone: chrono_tz::Tz,
}

/// What is to become of a thing's settings.
#[derive(Debug)]
pub enum Change<T> {
    /// All settings; what is absent returns to its default.
    Replace(T),
    /// A JSON merge patch.
    Patch(Value),
}

/// The windows and silences at the start: those of the configuration, and what is stored.
///
/// # Errors
/// When the store cannot be read.
pub async fn load(store: &Store, config: &Config, now: Timestamp) -> Result<Quiet, StoreError> {
    load_from(store.readers(), config, now).await
}

/// The same over a connection.
///
/// # Errors
/// As [`load`].
pub async fn load_from(db: &impl ConnectionTrait, config: &Config, now: Timestamp) -> Result<Quiet, StoreError> {
    Ok(Quiet::new(windows(db, config, now).await?, silences::list(db).await?))
}

/// The windows of the configuration alone.
pub fn configured(config: &Config) -> Quiet {
    Quiet::new(configured_windows(config), Vec::new())
}

pub(super) fn configured_windows(config: &Config) -> Vec<KnownWindow> {
    let known = |ConfiguredWindow { settings, window, source }: &ConfiguredWindow| KnownWindow {
        settings: settings.clone(),
        window: Some(window.clone()),
        unreadable: None,
        made: WindowMade::Configured { source: source.to_string() },
    };
    config.maintenance_windows.iter().map(known).collect()
}

/// Those of the configuration, and the stored ones whose names it does not have.
pub(super) async fn windows(
    db: &impl ConnectionTrait,
    config: &Config,
    now: Timestamp,
) -> Result<Vec<KnownWindow>, StoreError> {
    let mut all = configured_windows(config);
    for stored in table::list(db).await? {
        if all.iter().any(|known| known.name() == stored.name()) {
            continue;
        }
        let known = worked_out(stored, config, now);
        if let Some(why) = &known.unreadable {
            let window = known.name();
            tracing::error!(
                window,
                why,
                "a maintenance window cannot be read and is never open: replace it with PUT \
                 /api/v1/maintenance-windows/{{name}}, or delete it"
            );
        }
        all.push(known);
    }
    Ok(all)
}

/// With what its settings mean.
fn worked_out(stored: KnownWindow, config: &Config, now: Timestamp) -> KnownWindow {
    if stored.unreadable.is_some() {
        return stored;
    }
    match stored.settings.read(config.timezone, now) {
        Ok(window) => KnownWindow { window: Some(window), ..stored },
        Err(errors) => {
            let why = errors.first().map(|error| format!("{}: {}", error.pointer, error.detail));
            KnownWindow { unreadable: Some(why.unwrap_or_default()), ..stored }
        }
    }
}

fn report(ctx: &ServiceContext, known: Arc<KnownWindow>) -> WindowReport {
    let now = ctx.clock.now();
    let window = known.window.as_ref();
    let is_meant = |window: &crate::domain::maintenance::Window| {
        ctx.board.entries().iter().filter(|entry| window.selectors.select(&entry.known)).count()
    };
    WindowReport {
        open: window.and_then(|window| window.covering(now)),
        next: window.and_then(|window| window.next_after(now)),
        endpoints: window.map_or(0, is_meant),
        timezone: window.map_or(ctx.config.timezone, |window| window.timezone),
        known,
    }
}

/// Every window, by name. Works without the database.
pub fn list(ctx: &ServiceContext) -> Vec<WindowReport> {
    ctx.quiet.windows().into_iter().map(|known| report(ctx, known)).collect()
}

/// A window by its name. Works without the database.
///
/// # Errors
/// `NotFound`.
pub fn get(ctx: &ServiceContext, name: &str) -> Result<WindowReport, ServiceError> {
    let known = ctx.quiet.window(name).ok_or_else(|| unknown(name))?;
    Ok(report(ctx, known))
}

/// Makes a window. One that begins now is open at once.
///
/// # Errors
/// `Forbidden`; `Invalid`, also when there are too many; `Conflict` when the name is taken.
pub async fn create(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    settings: WindowSettings,
) -> Result<WindowReport, ServiceError> {
    actor.require(Role::Editor)?;
    let (work, actor) = (Arc::clone(ctx), actor.clone());
    detached_change(ctx, async move {
        let ctx = &*work;
        let _changes = ctx.changes.lock().await;
        settle_doubts(ctx).await?;
        let now = ctx.clock.now();
        check(ctx, &settings, None, now)?;
        let name = settings.name.clone().unwrap_or_default();
        if ctx.quiet.window(&name).is_some() {
            return Err(taken(name));
        }
        if ctx.quiet.windows().iter().filter(|known| known.stored().is_some()).count() >= MOST_MADE {
            let detail = format!("there are {MOST_MADE} windows made through the API, the most: delete one first");
            return Err(ServiceError::invalid(FieldError::at("", "out_of_range", detail)));
        }
        let transaction = ctx.store.begin_durable().await.map_err(ServiceError::Store)?;
        let stored = table::insert(&transaction, &settings, &actor.name, now).await;
        let stored = stored.map_err(|error| refused(error, &name))?;
        let subject = subject(&stored);
        let mut row = actor.audit_row(now, "maintenance_window.create", subject.clone());
        row.after = Some(json!(settings));
        audit::append(&transaction, row).await.map_err(ServiceError::Store)?;
        commit(ctx, transaction).await?;
        ctx.quiet.put_window(worked_out(stored, &ctx.config, now));
        in_force(ctx);
        ctx.announce(&actor, "maintenance_window.create", &subject);
        get(ctx, &name)
    })
    .await
}

/// Changes a window. From now on the new one counts: what it no longer covers is checked at once where it failed.
///
/// # Errors
/// `Forbidden`, `NotFound`, `Invalid`; `Conflict` when the configuration has it, or the new name is taken; `Stale` when
/// `expected_revision` is no longer its revision.
pub async fn change(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    name: String,
    expected_revision: Option<i64>,
    change: Change<WindowSettings>,
) -> Result<WindowReport, ServiceError> {
    actor.require(Role::Editor)?;
    let (work, actor) = (Arc::clone(ctx), actor.clone());
    detached_change(ctx, async move {
        let ctx = &*work;
        let _changes = ctx.changes.lock().await;
        settle_doubts(ctx).await?;
        let now = ctx.clock.now();
        let before = changeable(ctx, &name, expected_revision)?;
        let (settings, action) = match change {
            Change::Replace(settings) => (settings, "maintenance_window.replace"),
            Change::Patch(patch) => {
                let patched = merge_patch::apply_flat(&before.settings, patch, "a maintenance window");
                (patched.map_err(ServiceError::invalid)?, "maintenance_window.patch")
            }
        };
        check(ctx, &settings, Some(&before.settings), now)?;
        if settings == before.settings && before.unreadable.is_none() {
            return get(ctx, &name);
        }
        let new_name = settings.name.clone().unwrap_or_default();
        if new_name != name && ctx.quiet.window(&new_name).is_some() {
            return Err(taken(new_name));
        }
        let Some(stored) = before.stored() else { return Err(unknown(&name)) };
        let transaction = ctx.store.begin_durable().await.map_err(ServiceError::Store)?;
        let after = table::update(&transaction, stored.id, &settings, stored.revision, now).await;
        let after = after.map_err(|error| refused(error, &new_name))?;
        let subject = subject(&after);
        let mut row = actor.audit_row(now, action, subject.clone());
        (row.before, row.after) = (Some(json!(before.settings)), Some(json!(settings)));
        audit::append(&transaction, row).await.map_err(ServiceError::Store)?;
        commit(ctx, transaction).await?;
        ctx.quiet.remove_window(&name);
        ctx.quiet.put_window(worked_out(after, &ctx.config, now));
        in_force(ctx);
        ctx.announce(&actor, action, &subject);
        get(ctx, &new_name)
    })
    .await
}

/// Removes a window. One that is open is over: what failed in it is checked at once.
///
/// # Errors
/// As [`change`].
pub async fn delete(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    name: String,
    expected_revision: Option<i64>,
) -> Result<(), ServiceError> {
    actor.require(Role::Editor)?;
    let (work, actor) = (Arc::clone(ctx), actor.clone());
    detached_change(ctx, async move {
        let ctx = &*work;
        let _changes = ctx.changes.lock().await;
        settle_doubts(ctx).await?;
        let now = ctx.clock.now();
        let before = changeable(ctx, &name, expected_revision)?;
        let Some(stored) = before.stored() else { return Err(unknown(&name)) };
        let transaction = ctx.store.begin_durable().await.map_err(ServiceError::Store)?;
        table::delete(&transaction, stored.id).await.map_err(ServiceError::Store)?;
        let subject = subject(&before);
        let mut row = actor.audit_row(now, "maintenance_window.delete", subject.clone());
        row.before = Some(json!(before.settings));
        audit::append(&transaction, row).await.map_err(ServiceError::Store)?;
        commit(ctx, transaction).await?;
        ctx.quiet.remove_window(&name);
        in_force(ctx);
        ctx.announce(&actor, "maintenance_window.delete", &subject);
        Ok(())
    })
    .await
}

/// The window that may be changed.
fn changeable(
    ctx: &ServiceContext,
    name: &str,
    expected_revision: Option<i64>,
) -> Result<Arc<KnownWindow>, ServiceError> {
    let known = ctx.quiet.window(name).ok_or_else(|| unknown(name))?;
    match &known.made {
        WindowMade::Configured { source } => {
            let (what, source_line) = ("maintenance window", source.clone());
            Err(ServiceError::Conflict(Conflict::ManagedByConfig { what, source_line }))
        }
        WindowMade::Stored(stored) if expected_revision.is_some_and(|expected| expected != stored.revision) => {
            Err(ServiceError::Stale { revision: stored.revision })
        }
        WindowMade::Stored(_) => Ok(known),
    }
}

/// Every rule of the settings. What was there before is not refused for what has changed around it.
fn check(
    ctx: &ServiceContext,
    settings: &WindowSettings,
    before: Option<&WindowSettings>,
    now: Timestamp,
) -> Result<(), ServiceError> {
    let mut errors: Vec<FieldError> = Vec::new();
    match settings.read(ctx.config.timezone, now) {
        Ok(window) if settings.start != before.and_then(|before| before.start.clone()) => {
            if window.covering(now).is_none() && window.next_after(now).is_none() {
                errors.push(FieldError::at("/start", "out_of_range", "the window would be over already"));
            }
        }
        Ok(_) => {}
        Err(rules) => errors.extend(rules.into_iter().map(FieldError::from)),
    }
    let kept = before.and_then(|before| before.selectors.as_ref());
    errors.extend(meaning_nothing(ctx, settings.selectors.as_ref(), kept));
    if errors.is_empty() { Ok(()) } else { Err(ServiceError::Invalid(errors)) }
}

/// The selectors that mean nothing that there is now, but for those that were there before.
pub(super) fn meaning_nothing(
    ctx: &ServiceContext,
    selectors: Option<&Selectors>,
    before: Option<&Selectors>,
) -> Vec<FieldError> {
    let Some(selectors) = selectors else { return Vec::new() };
    let (entries, listing) = (ctx.board.entries(), ctx.directory.get());
    let there = Selectable {
        endpoints: entries.iter().map(|entry| (Some(entry.known.id), &entry.known.endpoint)).collect(),
        groups: listing.groups.keys().map(String::as_str).collect(),
    };
    let is_new = |i: &usize| before.is_none_or(|before| !before.0.contains(&selectors.0[*i]));
    let told = |(i, detail): (usize, String)| FieldError::at(format!("/match/{i}"), "unknown", detail);
    // A list that is too long is refused as such.
    let few = selectors.0.len() <= crate::domain::selector::MOST;
    let mistakes = if few { selectors.mistakes(&there) } else { Vec::new() };
    mistakes.into_iter().filter(|(i, _)| is_new(i)).map(told).collect()
}

/// Commits a change. As long as there is no answer the table may have it or not.
pub(super) async fn commit(ctx: &ServiceContext, transaction: DatabaseTransaction) -> Result<(), ServiceError> {
    ctx.quiet.set_in_doubt(true);
    transaction.commit().await.map_err(|e| ServiceError::Store(e.into()))?;
    ctx.quiet.set_in_doubt(false);
    Ok(())
}

/// Takes up the changes whose commits were not answered. Whoever calls it holds `changes`.
pub(super) async fn settle_doubts(ctx: &ServiceContext) -> Result<(), ServiceError> {
    if !ctx.quiet.is_in_doubt() {
        return Ok(());
    }
    let db = ctx.store.writer();
    let windows = windows(db, &ctx.config, ctx.clock.now()).await.map_err(ServiceError::Store)?;
    let silences = silences::list(db).await.map_err(ServiceError::Store)?;
    ctx.quiet.set_windows(windows);
    ctx.quiet.set_silences(silences);
    ctx.quiet.set_in_doubt(false);
    in_force(ctx);
    Ok(())
}

/// Shows on the board what is open and silenced now.
pub(super) fn in_force(ctx: &ServiceContext) {
    ctx.board.set_holds(ctx.quiet.holds(ctx.clock.now()));
}

/// The database has another window than is known: one whose commit was answered with an error was made all the same.
fn refused(error: StoreError, name: &str) -> ServiceError {
    match error {
        StoreError::Conflict(_) => taken(name.to_owned()),
        StoreError::NotFound => unknown(name),
        error => ServiceError::Store(error),
    }
}

fn taken(name: String) -> ServiceError {
    ServiceError::Conflict(Conflict::WindowNameTaken { name })
}

fn unknown(name: &str) -> ServiceError {
    ServiceError::NotFound(format!("maintenance window `{name}`"))
}

fn subject(known: &KnownWindow) -> String {
    format!("maintenance-window/{}", known.name())
}
