//! Making, changing and removing endpoints.
//!
//! Every verb validates as the configuration does, writes the change and its audit row in one transaction, and
//! after the commit shows it on the board and nudges the scheduler.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::context::{Actor, ServiceContext, detached_change};
use super::error::{Conflict, FieldError, ServiceError};
use super::{merge_patch, outbound, redaction};
use crate::board::{Entry, Live};
use crate::domain::Timestamp;
use crate::domain::endpoint::{Endpoint, EndpointId, EndpointSettings, KnownEndpoint, Origin, resolve};
use crate::domain::role::Role;
use crate::feed::{Event, StatusNews};
use crate::store::endpoints::{EndpointUpdate, NewEndpoint, StoredEndpoint};
use crate::store::{DatabaseTransaction, StoreError, audit, endpoints, states};

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
    detached_change(ctx, async move {
        let mut changes = Changes::begin(&work, &actor).await?;
        let id = changes.create(settings).await?;
        changes.finish(id).await
    })
    .await
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
    let edit: Edit = Box::new(move |ctx, stored, old| replaced(ctx, stored, old, settings));
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
    change(ctx, actor, Role::Editor, id, expected_revision, "endpoint.patch", patched(patch)).await
}

/// Stops checking an endpoint until it is resumed. Allowed on configured endpoints too; survives their reload.
///
/// # Errors
/// `NotFound`.
pub async fn pause(ctx: &Arc<ServiceContext>, actor: &Actor, id: EndpointId) -> Result<Entry, ServiceError> {
    change(ctx, actor, Role::Operator, id, None, "endpoint.pause", Box::new(paused)).await
}

/// Checks an endpoint again, from now.
///
/// # Errors
/// `NotFound`; `Conflict` when the configuration file itself has it inactive.
pub async fn resume(ctx: &Arc<ServiceContext>, actor: &Actor, id: EndpointId) -> Result<Entry, ServiceError> {
    change(ctx, actor, Role::Operator, id, None, "endpoint.resume", Box::new(resumed)).await
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
    settings: EndpointSettings,
) -> Result<Put, ServiceError> {
    actor.require(Role::Editor)?;
    let (work, actor) = (Arc::clone(ctx), actor.clone());
    detached_change(ctx, async move {
        let mut changes = Changes::begin(&work, &actor).await?;
        let (id, was_created) = changes.put_by_key(group, name, expected_revision, settings).await?;
        let entry = changes.finish(id).await?;
        Ok(if was_created { Put::Created(entry) } else { Put::Replaced(entry) })
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
        let mut changes = Changes::begin(&work, &actor).await?;
        changes.archive(id, expected_revision, purge).await?;
        changes.commit().await?;
        if purge == Purge::History {
            remove_history(&work, id).await?;
        }
        Ok(())
    })
    .await
}

/// Removes what is left of an endpoint that was archived, piece by piece and outside any lock: a long history takes
/// seconds.
pub(super) async fn remove_history(ctx: &ServiceContext, id: EndpointId) -> Result<(), ServiceError> {
    while endpoints::purge(ctx.store.writer(), id, PURGE_BATCH).await.map_err(ServiceError::Store)? > 0 {}
    Ok(())
}

/// Whether the history goes with the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purge {
    Nothing,
    History,
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

/// What becomes of a stored endpoint, which means what is known of it.
type Edit = Box<dyn FnOnce(&ServiceContext, &StoredEndpoint, &Endpoint) -> Result<Edited, ServiceError> + Send>;

fn patched(patch: serde_json::Value) -> Edit {
    Box::new(move |ctx, stored, old| {
        require_api_origin(stored)?;
        // Upon what is shown, so that a secret that nobody wrote out goes nowhere else.
        let shown = redaction::redacted(&stored.settings, &old.check.redact);
        let settings = merge_patch::apply(&shown, patch).map_err(ServiceError::invalid)?;
        replaced(ctx, stored, old, settings)
    })
}

#[expect(clippy::unnecessary_wraps, reason = "one of several edits")]
fn paused(_: &ServiceContext, stored: &StoredEndpoint, endpoint: &Endpoint) -> Result<Edited, ServiceError> {
    let mut edited = Edited::of(stored);
    match stored.origin {
        Origin::Config => edited.paused = true,
        Origin::Api if endpoint.is_active => edited.settings.is_active = Some(false),
        Origin::Api => {}
    }
    Ok(edited)
}

fn resumed(_: &ServiceContext, stored: &StoredEndpoint, endpoint: &Endpoint) -> Result<Edited, ServiceError> {
    let mut edited = Edited::of(stored);
    edited.paused = false;
    match stored.origin {
        Origin::Config if !endpoint.is_active => return Err(managed_by_config(stored)),
        Origin::Api if !endpoint.is_active => edited.settings.is_active = Some(true),
        Origin::Config | Origin::Api => {}
    }
    Ok(edited)
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

async fn change(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    needed: Role,
    id: EndpointId,
    expected_revision: Option<i64>,
    action: &'static str,
    edit: Edit,
) -> Result<Entry, ServiceError> {
    actor.require(needed)?;
    let (work, actor) = (Arc::clone(ctx), actor.clone());
    detached_change(ctx, async move {
        let mut changes = Changes::begin(&work, &actor).await?;
        changes.change(id, expected_revision, action, edit).await?;
        changes.finish(id).await
    })
    .await
}

/// Changes of endpoints in one transaction. Each sees those before it; the board shows them after the commit. Dropped
/// without it, nothing was changed.
///
/// A change that is refused has written nothing, so that others can be made all the same; after an error of the store
/// the whole must be dropped.
pub(super) struct Changes<'c> {
    ctx: &'c ServiceContext,
    actor: &'c Actor,
    now: Timestamp,
    transaction: DatabaseTransaction,
    /// What the board is to show; `None`: it is gone.
    after: BTreeMap<EndpointId, Option<Arc<KnownEndpoint>>>,
    /// Those whose counters start again.
    recounted: BTreeSet<EndpointId>,
    /// What was done to which, in their order: whoever looks on is told after the commit.
    done: Vec<(&'static str, EndpointId)>,
    _changes: tokio::sync::MutexGuard<'c, ()>,
}

impl<'c> Changes<'c> {
    pub(super) async fn begin(ctx: &'c ServiceContext, actor: &'c Actor) -> Result<Self, ServiceError> {
        let changes = ctx.changes.lock().await;
        let now = ctx.clock.now();
        let transaction = ctx.store.begin_durable().await.map_err(ServiceError::Store)?;
        let (after, recounted) = (BTreeMap::new(), BTreeSet::new());
        Ok(Self { ctx, actor, now, transaction, after, recounted, done: Vec::new(), _changes: changes })
    }

    /// An endpoint as it is after the changes so far.
    pub(super) fn known(&self, id: EndpointId) -> Option<Arc<KnownEndpoint>> {
        match self.after.get(&id) {
            Some(changed) => changed.clone(),
            None => self.ctx.board.get(id).map(|entry| entry.known),
        }
    }

    /// The id that a group and a name have after the changes so far.
    pub(super) fn find_by_key(&self, group: &str, name: &str) -> Option<EndpointId> {
        let bears = |known: &KnownEndpoint| known.endpoint.group == group && known.endpoint.name == name;
        let changed = self.after.iter().find(|(_, known)| known.as_ref().is_some_and(|known| bears(known)));
        changed.map(|(id, _)| *id).or_else(|| {
            let id = self.ctx.board.find_by_key(group, name)?.known.id;
            (!self.after.contains_key(&id)).then_some(id)
        })
    }

    /// # Errors
    /// As [`create`].
    pub(super) async fn create(&mut self, mut settings: EndpointSettings) -> Result<EndpointId, ServiceError> {
        redaction::restore(&mut settings, &[], None).map_err(ServiceError::Invalid)?;
        let endpoint = resolved_of_api(self.ctx, &settings, self.now)?;
        self.require_free_key(&endpoint).await?;
        let new = NewEndpoint { settings, origin: Origin::Api, source: None, paused: false, now: self.now };
        let stored = endpoints::insert(&self.transaction, new).await.map_err(|e| store_error(e, &endpoint))?;
        let (id, after) = (stored.id, Edited::of(&stored));
        self.note("endpoint.create", id, None, Some(&after)).await?;
        self.show(stored, endpoint);
        Ok(id)
    }

    /// # Errors
    /// As [`replace`].
    pub(super) async fn replace(
        &mut self,
        id: EndpointId,
        expected_revision: Option<i64>,
        settings: EndpointSettings,
    ) -> Result<(), ServiceError> {
        let edit: Edit = Box::new(move |ctx, stored, old| replaced(ctx, stored, old, settings));
        self.change(id, expected_revision, "endpoint.replace", edit).await
    }

    /// # Errors
    /// As [`patch`].
    pub(super) async fn patch(
        &mut self,
        id: EndpointId,
        expected_revision: Option<i64>,
        patch: serde_json::Value,
    ) -> Result<(), ServiceError> {
        self.change(id, expected_revision, "endpoint.patch", patched(patch)).await
    }

    /// # Errors
    /// As [`pause`].
    pub(super) async fn pause(&mut self, id: EndpointId, expected_revision: Option<i64>) -> Result<(), ServiceError> {
        self.change(id, expected_revision, "endpoint.pause", Box::new(paused)).await
    }

    /// # Errors
    /// As [`resume`].
    pub(super) async fn resume(&mut self, id: EndpointId, expected_revision: Option<i64>) -> Result<(), ServiceError> {
        self.change(id, expected_revision, "endpoint.resume", Box::new(resumed)).await
    }

    /// The id, and whether it is new.
    ///
    /// # Errors
    /// As [`put_by_key`].
    pub(super) async fn put_by_key(
        &mut self,
        group: String,
        name: String,
        expected_revision: Option<i64>,
        mut settings: EndpointSettings,
    ) -> Result<(EndpointId, bool), ServiceError> {
        let mut errors = Vec::new();
        for (pointer, given, key) in [("/name", &settings.name, &name), ("/group", &settings.group, &group)] {
            if given.as_ref().is_some_and(|given| given != key) {
                errors.push(FieldError::at(
                    pointer,
                    "conflict",
                    format!("must be `{key}` as in the path, or left out"),
                ));
            }
        }
        if !errors.is_empty() {
            return Err(ServiceError::Invalid(errors));
        }
        settings.name = Some(name.clone());
        settings.group = (!group.is_empty()).then(|| group.clone());
        if let Some(id) = self.find_by_key(&group, &name) {
            return self.replace(id, expected_revision, settings).await.map(|()| (id, false));
        }
        if expected_revision.is_some() {
            return Err(ServiceError::Stale { revision: 0 });
        }
        self.create(settings).await.map(|id| (id, true))
    }

    async fn change(
        &mut self,
        id: EndpointId,
        expected_revision: Option<i64>,
        action: &'static str,
        edit: Edit,
    ) -> Result<(), ServiceError> {
        let old = self.known(id).ok_or_else(|| unknown(id))?;
        let stored = endpoints::find(&self.transaction, id).await.map_err(ServiceError::Store)?;
        let stored = stored.filter(|s| s.archived_at.is_none()).ok_or_else(|| unknown(id))?;
        require_revision(&stored, expected_revision)?;
        let before = Edited::of(&stored);
        let after = edit(self.ctx, &stored, &old.endpoint)?;
        if after == before {
            return Ok(());
        }
        let moved = stored.origin == Origin::Api && after.settings.url != before.settings.url;
        let resolve = if moved { resolved_of_api } else { resolved };
        let endpoint = resolve(self.ctx, &after.settings, self.now)?;
        if (&endpoint.group, &endpoint.name) != (&old.endpoint.group, &old.endpoint.name) {
            self.require_free_key(&endpoint).await?;
        }

        let starts = endpoint.is_active && !after.paused && !old.is_checked();
        let scheduled_from =
            if starts || endpoint.schedule != old.endpoint.schedule { self.now } else { stored.scheduled_from };
        if endpoint.check != old.endpoint.check {
            if let Some(state) = states::find(&self.transaction, id).await.map_err(ServiceError::Store)? {
                let state = [(id, state.recounted())];
                states::upsert_many(&self.transaction, &state).await.map_err(ServiceError::Store)?;
            }
            self.recounted.insert(id);
        }
        let update = EndpointUpdate {
            settings: after.settings.clone(),
            origin: stored.origin,
            source: stored.source.clone(),
            paused: after.paused,
            scheduled_from,
            expected_revision: Some(stored.revision),
        };
        let changed = endpoints::update(&self.transaction, id, update, self.now).await;
        let changed = changed.map_err(|e| store_error(e, &endpoint))?;
        self.note(action, id, Some(&before), Some(&after)).await?;
        self.show(changed, endpoint);
        Ok(())
    }

    /// # Errors
    /// As [`archive`]. The history that goes with the endpoint is to be removed after the commit.
    pub(super) async fn archive(
        &mut self,
        id: EndpointId,
        expected_revision: Option<i64>,
        purge: Purge,
    ) -> Result<(), ServiceError> {
        let stored = endpoints::find(&self.transaction, id).await.map_err(ServiceError::Store)?;
        let stored =
            stored.filter(|s| s.archived_at.is_none() || purge == Purge::History).ok_or_else(|| unknown(id))?;
        require_revision(&stored, expected_revision)?;
        if stored.archived_at.is_none() {
            require_api_origin(&stored)?;
            endpoints::archive(&self.transaction, id, self.now).await.map_err(ServiceError::Store)?;
        }
        let action = if purge == Purge::History { "endpoint.purge" } else { "endpoint.delete" };
        self.note(action, id, Some(&Edited::of(&stored)), None).await?;
        self.after.insert(id, None);
        Ok(())
    }

    /// Refused here and not by the database, whose refusal would end the transaction.
    async fn require_free_key(&self, endpoint: &Endpoint) -> Result<(), ServiceError> {
        let Endpoint { group, name, .. } = endpoint;
        let taken = endpoints::find_by_key(&self.transaction, group, name).await.map_err(ServiceError::Store)?;
        match taken {
            Some(_) => Err(ServiceError::Conflict(Conflict::NameTaken { group: group.clone(), name: name.clone() })),
            None => Ok(()),
        }
    }

    async fn note(
        &mut self,
        action: &'static str,
        id: EndpointId,
        before: Option<&Edited>,
        after: Option<&Edited>,
    ) -> Result<(), ServiceError> {
        let mut row = self.actor.audit_row(self.now, action, subject(id));
        row.before = before.map(|edited| audited(self.ctx, edited));
        row.after = after.map(|edited| audited(self.ctx, edited));
        self.done.push((action, id));
        audit::append(&self.transaction, row).await.map_err(ServiceError::Store)
    }

    fn show(&mut self, stored: StoredEndpoint, endpoint: Endpoint) {
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
        self.after.insert(known.id, Some(Arc::new(known)));
    }

    /// Commits, shows the changes on the board, and wakes the scheduler.
    ///
    /// # Errors
    /// When the database fails; then nothing was changed, unless its answer alone was lost.
    pub(super) async fn commit(self) -> Result<(), ServiceError> {
        if self.done.is_empty() {
            return Ok(());
        }
        self.transaction.commit().await.map_err(|e| ServiceError::Store(e.into()))?;
        let board = &self.ctx.board;
        let before: BTreeMap<_, _> = self.after.keys().filter_map(|id| Some((*id, board.get(*id)?))).collect();
        // Those that go first, or a name that changed hands would lose its new holder.
        for id in self.after.iter().filter(|(_, known)| known.is_none()).map(|(id, _)| *id) {
            board.remove(id);
        }
        let ids: Vec<EndpointId> = self.after.keys().copied().collect();
        for known in self.after.into_values().flatten() {
            board.put(known);
        }
        board.update(self.recounted, |_, live| live.state = live.state.recounted());
        self.ctx.scheduler.nudge();
        tell_of_statuses(self.ctx, &ids, &before);
        announce(self.ctx, self.actor, &self.done, &before);
        Ok(())
    }

    /// Commits, and gives an endpoint as it is then.
    async fn finish(self, id: EndpointId) -> Result<Entry, ServiceError> {
        let (board, known) = (Arc::clone(&self.ctx.board), self.known(id).ok_or_else(|| unknown(id))?);
        self.commit().await?;
        Ok(board.get(id).unwrap_or_else(|| {
            let live = Arc::new(Live::pending(known.created_at));
            Entry { known, live }
        }))
    }
}

/// Tells whoever looks on what was done.
fn announce(
    ctx: &ServiceContext,
    actor: &Actor,
    done: &[(&'static str, EndpointId)],
    before: &BTreeMap<EndpointId, Entry>,
) {
    let now = ctx.clock.now();
    ctx.feed.publish_all(done.iter().map(|(action, id)| {
        let known = ctx.board.get(*id).or_else(|| before.get(id).cloned()).map(|entry| entry.known);
        match known {
            Some(known) => Event::config_of(&known, now, &actor.name, actor.address, action),
            None => Event::config(now, &actor.name, actor.address, action, &subject(*id)),
        }
    }));
}

/// Tells whoever looks on which of these endpoints have another status than `before`.
pub(super) fn tell_of_statuses(ctx: &ServiceContext, changed: &[EndpointId], before: &BTreeMap<EndpointId, Entry>) {
    let now = ctx.clock.now();
    ctx.feed.publish_all(changed.iter().filter_map(|id| {
        let (old, new) = (before.get(id), ctx.board.get(*id));
        let (from, to) = (old.map(Entry::status), new.as_ref().map(Entry::status));
        let since = new.as_ref().map_or(now, Entry::since);
        let news = StatusNews { at: now, from, to, since, error_message: None };
        let entry = new.as_ref().or(old).filter(|_| from != to)?;
        Some(Event::status(&entry.known, news))
    }));
}

/// The endpoint that settings mean with what applies to them now.
fn resolved(ctx: &ServiceContext, settings: &EndpointSettings, now: Timestamp) -> Result<Endpoint, ServiceError> {
    let directory = ctx.directory.get();
    let layers = directory.layers(settings.group.as_deref().unwrap_or_default());
    resolve(settings, layers, now).map_err(ServiceError::rules)
}

/// As [`resolved`], for what is made through the API: its address must be one that it may connect to.
pub(super) fn resolved_of_api(
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
