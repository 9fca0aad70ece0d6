//! Making, changing and removing endpoints.
//!
//! Every verb validates as the configuration does, writes the change and its audit row in one transaction, and
//! after the commit shows it on the board and nudges the scheduler.

use std::sync::Arc;

use super::context::{Actor, ServiceContext, detached_change};
use super::error::{Conflict, FieldError, ServiceError};
use super::{merge_patch, outbound, redaction};
use crate::board::{Entry, Live};
use crate::domain::Timestamp;
use crate::domain::endpoint::{Endpoint, EndpointId, EndpointSettings, KnownEndpoint, Origin, resolve};
use crate::domain::role::Role;
use crate::store::endpoints::{EndpointUpdate, NewEndpoint, StoredEndpoint};
use crate::store::{StoreError, audit, endpoints, states};

/// Rows removed by one statement of a purge, so that the recorder never waits long.
const PURGE_BATCH: u64 = 1_000;

/// What there was before a change by key.
#[derive(Debug)]
pub enum Put {
    Created(Entry),
    Replaced(Entry),
}

/// Makes an endpoint; it is checked at once.
///
/// # Errors
/// `Invalid`; `Conflict` when the name is taken.
pub async fn create(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    settings: EndpointSettings,
) -> Result<Entry, ServiceError> {
    actor.require(Role::Editor)?;
    let (work, actor) = (Arc::clone(ctx), actor.clone());
    detached_change(ctx, async move { create_locked(&work, &actor, settings).await }).await
}

/// Replaces all settings of an endpoint.
///
/// # Errors
/// `NotFound`, `Invalid`, `Conflict`; `Stale` when `expected_revision` is no longer its revision.
pub async fn replace(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    id: EndpointId,
    expected_revision: Option<i64>,
    settings: EndpointSettings,
) -> Result<Entry, ServiceError> {
    let edit =
        move |ctx: &ServiceContext, stored: &StoredEndpoint, old: &Endpoint| replaced(ctx, stored, old, settings);
    change(ctx, actor, Role::Editor, id, expected_revision, "endpoint.replace", edit).await
}

/// Changes settings by a JSON merge patch.
///
/// # Errors
/// As [`replace`].
pub async fn patch(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    id: EndpointId,
    expected_revision: Option<i64>,
    patch: serde_json::Value,
) -> Result<Entry, ServiceError> {
    let edit = move |ctx: &ServiceContext, stored: &StoredEndpoint, old: &Endpoint| {
        require_api_origin(stored)?;
        let settings = merge_patch::apply(&stored.settings, patch).map_err(ServiceError::invalid)?;
        replaced(ctx, stored, old, settings)
    };
    change(ctx, actor, Role::Editor, id, expected_revision, "endpoint.patch", edit).await
}

/// Stops checking an endpoint until it is resumed. Allowed on configured endpoints too; survives their reload.
///
/// # Errors
/// `NotFound`.
pub async fn pause(ctx: &Arc<ServiceContext>, actor: &Actor, id: EndpointId) -> Result<Entry, ServiceError> {
    let edit = |_: &ServiceContext, stored: &StoredEndpoint, endpoint: &Endpoint| {
        let mut edited = Edited::of(stored);
        match stored.origin {
            Origin::Config => edited.paused = true,
            Origin::Api if endpoint.is_active => edited.settings.is_active = Some(false),
            Origin::Api => {}
        }
        Ok(edited)
    };
    change(ctx, actor, Role::Operator, id, None, "endpoint.pause", edit).await
}

/// Checks an endpoint again, from now.
///
/// # Errors
/// `NotFound`; `Conflict` when the configuration file itself has it inactive.
pub async fn resume(ctx: &Arc<ServiceContext>, actor: &Actor, id: EndpointId) -> Result<Entry, ServiceError> {
    let edit = |_: &ServiceContext, stored: &StoredEndpoint, endpoint: &Endpoint| {
        let mut edited = Edited::of(stored);
        edited.paused = false;
        match stored.origin {
            Origin::Config if !endpoint.is_active => return Err(managed_by_config(stored)),
            Origin::Api if !endpoint.is_active => edited.settings.is_active = Some(true),
            Origin::Config | Origin::Api => {}
        }
        Ok(edited)
    };
    change(ctx, actor, Role::Operator, id, None, "endpoint.resume", edit).await
}

/// Replaces the endpoint of this group and name, or makes it.
///
/// # Errors
/// As [`create`] and [`replace`]; `Stale` when a revision is expected of an endpoint that does not exist.
pub async fn put_by_key(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    group: String,
    name: String,
    expected_revision: Option<i64>,
    mut settings: EndpointSettings,
) -> Result<Put, ServiceError> {
    actor.require(Role::Editor)?;
    let mut errors = Vec::new();
    for (pointer, given, key) in [("/name", &settings.name, &name), ("/group", &settings.group, &group)] {
        if given.as_ref().is_some_and(|given| given != key) {
            errors.push(FieldError::at(pointer, "conflict", format!("must be `{key}` as in the path, or left out")));
        }
    }
    if !errors.is_empty() {
        return Err(ServiceError::Invalid(errors));
    }
    settings.name = Some(name.clone());
    settings.group = (!group.is_empty()).then(|| group.clone());
    let (work, actor) = (Arc::clone(ctx), actor.clone());
    detached_change(ctx, async move {
        // The key may be taken between looking and making; then it is there to be replaced.
        if let Some(entry) = work.board.find_by_key(&group, &name) {
            let edit = move |ctx: &ServiceContext, stored: &StoredEndpoint, old: &Endpoint| {
                replaced(ctx, stored, old, settings)
            };
            let id = entry.known.id;
            return change_locked(&work, &actor, id, expected_revision, "endpoint.replace", edit)
                .await
                .map(Put::Replaced);
        }
        if expected_revision.is_some() {
            return Err(ServiceError::Stale { revision: 0 });
        }
        create_locked(&work, &actor, settings).await.map(Put::Created)
    })
    .await
}

/// Stops watching an endpoint; its name is free again. Its history stays until retention, or goes at once with
/// `purge`, which also removes the history of an endpoint that was archived before.
///
/// # Errors
/// `NotFound`; `Conflict` when it is managed by the configuration; `Stale`.
pub async fn archive(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    id: EndpointId,
    expected_revision: Option<i64>,
    purge: Purge,
) -> Result<(), ServiceError> {
    actor.require(Role::Editor)?;
    let (work, actor) = (Arc::clone(ctx), actor.clone());
    detached_change(ctx, async move {
        archive_locked(&work, &actor, id, expected_revision, purge).await?;
        if purge == Purge::History {
            // Piece by piece and outside any lock: a long history takes seconds.
            while endpoints::purge(work.store.writer(), id, PURGE_BATCH).await.map_err(ServiceError::Store)? > 0 {}
        }
        Ok(())
    })
    .await
}

/// Whether the history goes with the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purge {
    Nothing,
    History,
}

async fn archive_locked(
    ctx: &ServiceContext,
    actor: &Actor,
    id: EndpointId,
    expected_revision: Option<i64>,
    purge: Purge,
) -> Result<(), ServiceError> {
    let _changes = ctx.changes.lock().await;
    let now = ctx.clock.now();
    let transaction = ctx.store.begin_durable().await.map_err(ServiceError::Store)?;
    let stored = endpoints::find(&transaction, id).await.map_err(ServiceError::Store)?;
    let stored = stored.filter(|s| s.archived_at.is_none() || purge == Purge::History).ok_or_else(|| unknown(id))?;
    require_revision(&stored, expected_revision)?;
    if stored.archived_at.is_none() {
        require_api_origin(&stored)?;
        endpoints::archive(&transaction, id, now).await.map_err(ServiceError::Store)?;
    }
    let action = if purge == Purge::History { "endpoint.purge" } else { "endpoint.delete" };
    let mut row = actor.audit_row(now, action, subject(id));
    row.before = Some(audited(ctx, &Edited::of(&stored)));
    audit::append(&transaction, row).await.map_err(ServiceError::Store)?;
    transaction.commit().await.map_err(|e| ServiceError::Store(e.into()))?;
    ctx.board.remove(id);
    ctx.scheduler.nudge();
    Ok(())
}

/// What of a stored endpoint a verb changes.
#[derive(Debug, Clone, PartialEq)]
struct Edited {
    settings: EndpointSettings,
    paused: bool,
}

impl Edited {
    fn of(stored: &StoredEndpoint) -> Self {
        Self { settings: stored.settings.clone(), paused: stored.paused }
    }
}

fn replaced(
    ctx: &ServiceContext,
    stored: &StoredEndpoint,
    old: &Endpoint,
    mut settings: EndpointSettings,
) -> Result<Edited, ServiceError> {
    require_api_origin(stored)?;
    let redact = hidden_headers(ctx, &settings);
    let kept = redaction::Stored { settings: &stored.settings, redact: &old.check.redact };
    redaction::restore(&mut settings, &redact, Some(kept)).map_err(ServiceError::Invalid)?;
    Ok(Edited { settings, paused: stored.paused })
}

/// The headers whose values are secrets by these settings, inherited ones included.
fn hidden_headers(ctx: &ServiceContext, settings: &EndpointSettings) -> Vec<String> {
    redaction::applying(settings, ctx.directory.get().layers(settings.group.as_deref().unwrap_or_default()))
}

fn require_api_origin(stored: &StoredEndpoint) -> Result<(), ServiceError> {
    match stored.origin {
        Origin::Api => Ok(()),
        Origin::Config => Err(managed_by_config(stored)),
    }
}

fn managed_by_config(stored: &StoredEndpoint) -> ServiceError {
    let source_line = stored.source.clone().unwrap_or_else(|| "the configuration file".to_owned());
    ServiceError::Conflict(Conflict::ManagedByConfig { what: "endpoint", source_line })
}

fn require_revision(stored: &StoredEndpoint, expected: Option<i64>) -> Result<(), ServiceError> {
    if expected.is_none_or(|revision| revision == stored.revision) {
        Ok(())
    } else {
        Err(ServiceError::Stale { revision: stored.revision })
    }
}

fn unknown(id: EndpointId) -> ServiceError {
    ServiceError::NotFound(format!("endpoint {id}"))
}

fn subject(id: EndpointId) -> String {
    format!("endpoint/{id}")
}

async fn create_locked(
    ctx: &ServiceContext,
    actor: &Actor,
    mut settings: EndpointSettings,
) -> Result<Entry, ServiceError> {
    redaction::restore(&mut settings, &[], None).map_err(ServiceError::Invalid)?;
    let _changes = ctx.changes.lock().await;
    let now = ctx.clock.now();
    let endpoint = resolved_of_api(ctx, &settings, now)?;
    let transaction = ctx.store.begin_durable().await.map_err(ServiceError::Store)?;
    let new = NewEndpoint { settings, origin: Origin::Api, source: None, paused: false, now };
    let stored = endpoints::insert(&transaction, new).await.map_err(|e| store_error(e, &endpoint))?;
    let mut row = actor.audit_row(now, "endpoint.create", subject(stored.id));
    row.after = Some(audited(ctx, &Edited::of(&stored)));
    audit::append(&transaction, row).await.map_err(ServiceError::Store)?;
    transaction.commit().await.map_err(|e| ServiceError::Store(e.into()))?;
    Ok(show(ctx, stored, endpoint))
}

async fn change(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    needed: Role,
    id: EndpointId,
    expected_revision: Option<i64>,
    action: &'static str,
    edit: impl FnOnce(&ServiceContext, &StoredEndpoint, &Endpoint) -> Result<Edited, ServiceError> + Send + 'static,
) -> Result<Entry, ServiceError> {
    actor.require(needed)?;
    let (work, actor) = (Arc::clone(ctx), actor.clone());
    detached_change(ctx, async move { change_locked(&work, &actor, id, expected_revision, action, edit).await }).await
}

async fn change_locked(
    ctx: &ServiceContext,
    actor: &Actor,
    id: EndpointId,
    expected_revision: Option<i64>,
    action: &'static str,
    edit: impl FnOnce(&ServiceContext, &StoredEndpoint, &Endpoint) -> Result<Edited, ServiceError> + Send,
) -> Result<Entry, ServiceError> {
    let _changes = ctx.changes.lock().await;
    let now = ctx.clock.now();
    let old = ctx.board.get(id).ok_or_else(|| unknown(id))?;
    let transaction = ctx.store.begin_durable().await.map_err(ServiceError::Store)?;
    let stored = endpoints::find(&transaction, id).await.map_err(ServiceError::Store)?;
    let stored = stored.filter(|s| s.archived_at.is_none()).ok_or_else(|| unknown(id))?;
    require_revision(&stored, expected_revision)?;
    let before = Edited::of(&stored);
    let after = edit(ctx, &stored, &old.known.endpoint)?;
    if after == before {
        return Ok(old);
    }
    let moved = stored.origin == Origin::Api && after.settings.url != before.settings.url;
    let resolve = if moved { resolved_of_api } else { resolved };
    let endpoint = resolve(ctx, &after.settings, now)?;

    let starts = endpoint.is_active && !after.paused && !old.known.is_checked();
    let scheduled_from =
        if starts || endpoint.schedule != old.known.endpoint.schedule { now } else { stored.scheduled_from };
    let recount = endpoint.check != old.known.endpoint.check;
    if recount && let Some(state) = states::find(&transaction, id).await.map_err(ServiceError::Store)? {
        states::upsert_many(&transaction, &[(id, state.recounted())]).await.map_err(ServiceError::Store)?;
    }
    let update = EndpointUpdate {
        settings: after.settings.clone(),
        origin: stored.origin,
        source: stored.source.clone(),
        paused: after.paused,
        scheduled_from,
        expected_revision: Some(stored.revision),
    };
    let changed = endpoints::update(&transaction, id, update, now).await.map_err(|e| store_error(e, &endpoint))?;
    let mut row = actor.audit_row(now, action, subject(id));
    (row.before, row.after) = (Some(audited(ctx, &before)), Some(audited(ctx, &after)));
    audit::append(&transaction, row).await.map_err(ServiceError::Store)?;
    transaction.commit().await.map_err(|e| ServiceError::Store(e.into()))?;
    if recount {
        ctx.board.update([id], |_, live| live.state = live.state.recounted());
    }
    Ok(show(ctx, changed, endpoint))
}

fn resolved(ctx: &ServiceContext, settings: &EndpointSettings, now: Timestamp) -> Result<Endpoint, ServiceError> {
    let directory = ctx.directory.get();
    let layers = directory.layers(settings.group.as_deref().unwrap_or_default());
    resolve(settings, layers, now).map_err(ServiceError::rules)
}

/// As [`resolved`], for what is made through the API: its address must be one that it may connect to.
fn resolved_of_api(
    ctx: &ServiceContext,
    settings: &EndpointSettings,
    now: Timestamp,
) -> Result<Endpoint, ServiceError> {
    let unreachable = outbound::unreachable_url(settings.url.as_deref().unwrap_or_default(), "/url");
    match (resolved(ctx, settings, now), unreachable) {
        (Err(ServiceError::Invalid(mut all)), Some(one)) => {
            all.push(one);
            Err(ServiceError::Invalid(all))
        }
        (Ok(_), Some(one)) => Err(ServiceError::invalid(one)),
        (resolved, _) => resolved,
    }
}

fn store_error(error: StoreError, endpoint: &Endpoint) -> ServiceError {
    match error {
        StoreError::Conflict(_) => {
            ServiceError::Conflict(Conflict::NameTaken { group: endpoint.group.clone(), name: endpoint.name.clone() })
        }
        other => ServiceError::Store(other),
    }
}

/// The settings as the audit log keeps them: without secrets.
fn audited(ctx: &ServiceContext, edited: &Edited) -> serde_json::Value {
    let redact = hidden_headers(ctx, &edited.settings);
    serde_json::json!({ "settings": redaction::redacted(&edited.settings, &redact), "paused": edited.paused })
}

/// Puts a committed endpoint on the board and wakes the scheduler.
fn show(ctx: &ServiceContext, stored: StoredEndpoint, endpoint: Endpoint) -> Entry {
    let known = KnownEndpoint {
        id: stored.id,
        origin: stored.origin,
        source: stored.source,
        revision: stored.revision,
        created_at: stored.created_at,
        updated_at: stored.updated_at,
        scheduled_from: stored.scheduled_from,
        settings: stored.settings,
        endpoint,
        paused: stored.paused,
    };
    ctx.board.put(known.clone());
    ctx.scheduler.nudge();
    ctx.board.get(known.id).unwrap_or_else(|| {
        let live = Arc::new(Live::pending(known.created_at));
        Entry { known: Arc::new(known), live }
    })
}
