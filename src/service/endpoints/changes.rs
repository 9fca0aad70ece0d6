//! Changes of endpoints, from the row to the board.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::edits::{Edit, Edited, patched, paused, replaced, require_api_origin, require_revision, resumed};
use super::meaning::{hidden_headers, resolved, resolved_of_api, resolved_where_reachable, switched};
use super::parents::{circle, unknown_parents};
use super::{Purge, tell_of_statuses};
#[cfg(doc)]
use super::{archive, create, patch, pause, put_by_key, replace, resume};
use crate::board::{Entry, Live};
use crate::domain::Timestamp;
use crate::domain::endpoint::{Aftermath, Endpoint, EndpointId, EndpointSettings, KnownEndpoint, Origin};
use crate::feed::Event;
use crate::service::context::{Actor, ServiceContext};
use crate::service::error::{Conflict, FieldError, Precondition, ServiceError, key_text};
use crate::service::rebuild::{known_at_any_rate, with_meaning};
use crate::service::{push, redaction};
use crate::store::endpoints::{EndpointUpdate, NewEndpoint, StoredEndpoint};
use crate::store::{DatabaseTransaction, StoreError, audit, endpoints, states};

/// Changes of endpoints in one transaction. Each sees those before it; the board shows them after the commit. Dropped
/// without it, nothing was changed.
///
/// A change that is refused has written nothing, so that others can be made all the same; after an error of the store
/// the whole must be dropped.
pub(in crate::service) struct Changes<'c> {
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
    /// Some of them go with their history.
    purges: bool,
    _changes: tokio::sync::MutexGuard<'c, ()>,
}

impl<'c> Changes<'c> {
    pub(in crate::service) async fn begin(ctx: &'c ServiceContext, actor: &'c Actor) -> Result<Self, ServiceError> {
        let changes = ctx.changes.lock().await;
        let now = ctx.clock.now();
        let transaction = ctx.store.begin_durable().await.map_err(ServiceError::Store)?;
        let (after, recounted) = (BTreeMap::new(), BTreeSet::new());
        Ok(Self { ctx, actor, now, transaction, after, recounted, done: Vec::new(), purges: false, _changes: changes })
    }

    /// An endpoint as it is after the changes so far.
    pub(in crate::service) fn known(&self, id: EndpointId) -> Option<Arc<KnownEndpoint>> {
        match self.after.get(&id) {
            Some(changed) => changed.clone(),
            None => self.ctx.board.get(id).map(|entry| entry.known),
        }
    }

    /// The id that a group and a name have after the changes so far.
    async fn find_by_key(&self, group: &str, name: &str) -> Result<Option<EndpointId>, ServiceError> {
        if group.contains('\0') || name.contains('\0') {
            // No endpoint is called so, and not every database takes the question.
            return Ok(None);
        }
        let stored = endpoints::find_by_key(&self.transaction, group, name).await.map_err(ServiceError::Store)?;
        let id = stored.as_ref().map(|stored| stored.id);
        let shown = self.ctx.board.find_by_key(group, name).map(|entry| entry.known.id);
        if let Some(shown) = shown.filter(|shown| Some(*shown) != id && !self.after.contains_key(shown)) {
            self.find(shown).await?;
        }
        if let Some(stored) = stored {
            self.follow(stored.id, Some(&stored));
        }
        Ok(id)
    }

    /// As [`find_by_key`](Self::find_by_key).
    ///
    /// # Errors
    /// `NotFound`, `Store`.
    pub(in crate::service) async fn require_key(&self, group: &str, name: &str) -> Result<EndpointId, ServiceError> {
        let id = self.find_by_key(group, name).await?;
        id.ok_or_else(|| ServiceError::NotFound(format!("endpoint {}", key_text(group, name))))
    }

    /// An endpoint as it is stored, archived or not.
    async fn find(&self, id: EndpointId) -> Result<Option<StoredEndpoint>, ServiceError> {
        let stored = endpoints::find(&self.transaction, id).await.map_err(ServiceError::Store)?;
        self.follow(id, stored.as_ref());
        Ok(stored)
    }

    /// Has the board show what is stored, where it shows something else: a change whose commit was answered with an
    /// error, or not in time, may have been made all the same.
    fn follow(&self, id: EndpointId, stored: Option<&StoredEndpoint>) {
        if self.after.contains_key(&id) {
            // Stored by these changes, and shown with them.
            return;
        }
        let board = &self.ctx.board;
        let shown = board.get(id);
        let current = stored.filter(|stored| stored.archived_at.is_none());
        if shown.as_ref().map(|entry| entry.known.revision) == current.map(|stored| stored.revision) {
            return;
        }
        match current {
            None => board.remove(id),
            Some(stored) => {
                // One that is not watched since its settings break a rule stays off.
                let Some(known) = known_at_any_rate(stored.clone(), &self.ctx.directory.get(), self.now) else {
                    return;
                };
                let recount = shown.as_ref().is_some_and(|entry| {
                    let old = &entry.known;
                    Aftermath::of((&old.endpoint, old.paused), (&known.endpoint, known.paused)).recount
                });
                board.put(known);
                board.update(recount.then_some(id), |_, live| live.state = live.state.recounted());
            }
        }
        tracing::warn!(endpoint_id = id.0, "a change that was given up had been made all the same: it is in force now");
        self.ctx.scheduler.nudge();
        tell_of_statuses(self.ctx, &[id], &shown.into_iter().map(|entry| (id, entry)).collect());
    }

    /// # Errors
    /// As [`create`].
    pub(in crate::service) async fn create(
        &mut self,
        mut settings: EndpointSettings,
    ) -> Result<EndpointId, ServiceError> {
        redaction::restore(&mut settings, &[], None).map_err(ServiceError::Invalid)?;
        let resolved = resolved_of_api(self.ctx, &settings, self.now);
        let endpoint = self.with_parents(resolved, None, &settings, None)?;
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
    pub(in crate::service) async fn replace(
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
    pub(in crate::service) async fn patch(
        &mut self,
        id: EndpointId,
        expected_revision: Option<i64>,
        patch: serde_json::Value,
    ) -> Result<(), ServiceError> {
        self.change(id, expected_revision, "endpoint.patch", patched(patch)).await
    }

    /// # Errors
    /// As [`pause`].
    pub(in crate::service) async fn pause(
        &mut self,
        id: EndpointId,
        expected_revision: Option<i64>,
    ) -> Result<(), ServiceError> {
        self.change(id, expected_revision, "endpoint.pause", Box::new(paused)).await
    }

    /// # Errors
    /// As [`resume`].
    pub(in crate::service) async fn resume(
        &mut self,
        id: EndpointId,
        expected_revision: Option<i64>,
    ) -> Result<(), ServiceError> {
        self.change(id, expected_revision, "endpoint.resume", Box::new(resumed)).await
    }

    /// The id, and whether it is new.
    ///
    /// # Errors
    /// As [`put_by_key`].
    pub(in crate::service) async fn put_by_key(
        &mut self,
        group: String,
        name: String,
        precondition: Precondition,
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
        if let Some(id) = self.find_by_key(&group, &name).await? {
            precondition.require(self.known(id).map(|known| known.revision))?;
            return self.replace(id, None, settings).await.map(|()| (id, false));
        }
        precondition.require(None)?;
        self.create(settings).await.map(|id| (id, true))
    }

    pub(super) async fn change(
        &mut self,
        id: EndpointId,
        expected_revision: Option<i64>,
        action: &'static str,
        edit: Edit,
    ) -> Result<(), ServiceError> {
        let stored = self.find(id).await?.filter(|s| s.archived_at.is_none()).ok_or_else(|| unknown(id))?;
        let old = self.known(id).ok_or_else(|| unknown(id))?;
        require_revision(&stored, expected_revision)?;
        let before = Edited::of(&stored);
        let after = edit(self.ctx, &stored, &old.endpoint)?;
        if after == before {
            return Ok(());
        }
        let moved = stored.origin == Origin::Api && after.settings.url != before.settings.url;
        let endpoint = if after.only_switches(&before) {
            switched(self.ctx, &after, &old, self.now)
        } else {
            let resolve = if moved { resolved_where_reachable } else { resolved };
            let resolved = resolve(self.ctx, &after.settings, Some(&before.settings), self.now);
            self.with_parents(resolved, Some(&old), &after.settings, Some(&before.settings))?
        };
        if (&endpoint.group, &endpoint.name) != (&old.endpoint.group, &old.endpoint.name) {
            self.require_free_key(&endpoint).await?;
        }

        let aftermath = Aftermath::of((&old.endpoint, old.paused), (&endpoint, after.paused));
        let scheduled_from = if aftermath.reschedule { self.now } else { stored.scheduled_from };
        if aftermath.recount {
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
    /// As [`archive`].
    pub(in crate::service) async fn archive(
        &mut self,
        id: EndpointId,
        expected_revision: Option<i64>,
        purge: Purge,
    ) -> Result<(), ServiceError> {
        let may_go = |stored: &StoredEndpoint| match (stored.archived_at, stored.purge_at) {
            (None, _) => true,
            (Some(_), None) => purge == Purge::History,
            (Some(_), Some(_)) => false,
        };
        let stored = self.find(id).await?.filter(may_go).ok_or_else(|| unknown(id))?;
        require_revision(&stored, expected_revision)?;
        if stored.archived_at.is_none() {
            require_api_origin(&stored)?;
            endpoints::archive(&self.transaction, id, self.now).await.map_err(ServiceError::Store)?;
        }
        if purge == Purge::History {
            endpoints::mark_to_purge(&self.transaction, id, self.now).await.map_err(ServiceError::Store)?;
            self.purges = true;
        }
        let action = if purge == Purge::History { "endpoint.purge" } else { "endpoint.delete" };
        self.note(action, id, Some(&Edited::of(&stored)), None).await?;
        self.after.insert(id, None);
        Ok(())
    }

    /// What settings mean, if what it depends on is there and no circle comes of it.
    fn with_parents(
        &self,
        resolved: Result<Endpoint, ServiceError>,
        old: Option<&KnownEndpoint>,
        settings: &EndpointSettings,
        before: Option<&EndpointSettings>,
    ) -> Result<Endpoint, ServiceError> {
        let mut unknown = unknown_parents(self.ctx, &self.after, settings, before);
        unknown.extend(self.taken_token(settings, old.map(|old| old.id)));
        let endpoint = match resolved {
            Err(ServiceError::Invalid(all)) => {
                return Err(ServiceError::Invalid(all.into_iter().chain(unknown).collect()));
            }
            Ok(_) if !unknown.is_empty() => return Err(ServiceError::Invalid(unknown)),
            resolved => resolved?,
        };
        match circle(self.ctx, &self.after, old.map(|old| old.id), &endpoint, old.map(|old| &old.endpoint)) {
            Some(error) => Err(ServiceError::invalid(error)),
            None => Ok(endpoint),
        }
    }

    /// As of [`push::taken_token`], the changes so far included.
    fn taken_token(&self, settings: &EndpointSettings, id: Option<EndpointId>) -> Option<FieldError> {
        let token = settings.token.as_ref()?;
        let is_same = |known: &Arc<KnownEndpoint>| known.settings.token.as_ref() == Some(token) && Some(known.id) != id;
        if self.after.values().flatten().any(is_same) {
            return Some(push::taken_token_error());
        }
        push::taken_token(self.ctx, settings, id)
    }

    /// Refused here and not by the database, whose refusal would end the transaction.
    async fn require_free_key(&self, endpoint: &Endpoint) -> Result<(), ServiceError> {
        let Endpoint { group, name, .. } = endpoint;
        let taken = self.find_by_key(group, name).await?;
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
        let known = with_meaning(stored, endpoint);
        self.after.insert(known.id, Some(Arc::new(known)));
    }

    /// Commits, shows the changes on the board, and wakes the scheduler.
    ///
    /// # Errors
    /// When the database fails; then nothing was changed, unless its answer alone was lost.
    pub(in crate::service) async fn commit(self) -> Result<(), ServiceError> {
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
        if self.purges {
            self.ctx.purge.nudge();
        }
        tell_of_statuses(self.ctx, &ids, &before);
        announce(self.ctx, self.actor, &self.done, &before);
        Ok(())
    }

    /// Commits, and gives an endpoint as it is then.
    pub(super) async fn finish(self, id: EndpointId) -> Result<Entry, ServiceError> {
        let (board, known) = (Arc::clone(&self.ctx.board), self.known(id).ok_or_else(|| unknown(id))?);
        self.commit().await?;
        Ok(board.get(id).unwrap_or_else(|| {
            let live = Arc::new(Live::pending(known.created_at));
            Entry { known, live, maintenance: None, silence: None, parent_down: None }
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

fn unknown(id: EndpointId) -> ServiceError {
    ServiceError::NotFound(format!("endpoint {id}"))
}

fn subject(id: EndpointId) -> String {
    format!("endpoint/{id}")
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
