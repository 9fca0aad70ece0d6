//! Making, changing and removing endpoints.
//!
//! Every verb validates as the configuration does, writes the change and its audit row in one transaction, and
//! after the commit shows it on the board and nudges the scheduler.

mod changes;
mod edits;
mod meaning;
mod parents;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::context::{Actor, ServiceContext, detached_change};
use super::error::{Precondition, ServiceError};
use crate::board::Entry;
use crate::domain::endpoint::{EndpointId, EndpointSettings};
use crate::domain::role::Role;
use crate::feed::{Event, StatusNews};
pub(super) use changes::Changes;
use edits::{Edit, patched, paused, replaced, resumed};
pub(super) use meaning::{not_by_api, resolved_of_api, unknown_channels};
pub(super) use parents::{circles, unknown_parents};

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
/// As [`create`] and [`replace`]; `Stale`, `NotThere` or `IsThere` when the precondition does not hold.
pub async fn put_by_key(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    group: String,
    name: String,
    precondition: Precondition,
    settings: EndpointSettings,
) -> Result<Put, ServiceError> {
    actor.require(Role::Editor)?;
    let (work, actor) = (Arc::clone(ctx), actor.clone());
    detached_change(ctx, async move {
        let mut changes = Changes::begin(&work, &actor).await?;
        let (id, was_created) = Box::pin(changes.put_by_key(group, name, precondition, settings)).await?;
        let entry = changes.finish(id).await?;
        Ok(if was_created { Put::Created(entry) } else { Put::Replaced(entry) })
    })
    .await
}

/// Stops watching an endpoint; its name is free again. Its history stays until retention, or goes soon after with
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
        changes.commit().await
    })
    .await
}

/// As [`archive`], of the endpoint of this group and name.
///
/// # Errors
/// As [`archive`].
pub async fn archive_by_key(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    group: String,
    name: String,
    expected_revision: Option<i64>,
    purge: Purge,
) -> Result<(), ServiceError> {
    actor.require(Role::Editor)?;
    let (work, actor) = (Arc::clone(ctx), actor.clone());
    detached_change(ctx, async move {
        let mut changes = Changes::begin(&work, &actor).await?;
        let id = changes.require_key(&group, &name).await?;
        changes.archive(id, expected_revision, purge).await?;
        changes.commit().await
    })
    .await
}

/// Whether the history goes with the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purge {
    Nothing,
    History,
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
