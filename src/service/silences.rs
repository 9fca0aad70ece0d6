//! Silences: of which endpoints nobody is told for a time. What is silenced is checked, shown and counted as ever.

use std::sync::Arc;

use serde_json::json;

use super::context::{Actor, ServiceContext, detached_change};
use super::error::{FieldError, ServiceError};
pub use super::maintenance::Change;
use super::maintenance::{commit, in_force, meaning_nothing, settle_doubts};
use super::merge_patch;
use crate::domain::Timestamp;
use crate::domain::role::Role;
use crate::domain::silence::{Silence, SilenceSettings};
use crate::store::{StoreError, audit, silences as table};

/// The most silences that are kept. To make room for another one the one that ended first goes; where none has ended a
/// further one is refused.
pub const MOST: usize = 1_000;

/// A silence as it stands.
#[derive(Debug, Clone)]
pub struct SilenceReport {
    pub silence: Arc<Silence>,
    pub is_on: bool,
    /// How many endpoints it is about now.
    pub endpoints: usize,
}

fn report(ctx: &ServiceContext, silence: Arc<Silence>) -> SilenceReport {
    let entries = ctx.board.entries();
    let meant = |selectors: &crate::domain::selector::Selectors| {
        entries.iter().filter(|entry| selectors.select(&entry.known)).count()
    };
    SilenceReport {
        is_on: silence.is_on(ctx.clock.now()),
        endpoints: silence.settings.selectors.as_ref().map_or(0, meant),
        silence,
    }
}

/// Every silence that is kept, by id. Works without the database.
pub fn list(ctx: &ServiceContext) -> Vec<SilenceReport> {
    ctx.quiet.silences().into_iter().map(|silence| report(ctx, silence)).collect()
}

/// A silence by its id. Works without the database.
///
/// # Errors
/// `NotFound`.
pub fn get(ctx: &ServiceContext, id: i64) -> Result<SilenceReport, ServiceError> {
    let silence = ctx.quiet.silence(id).ok_or_else(|| unknown(id))?;
    Ok(report(ctx, silence))
}

/// Makes a silence, from now on.
///
/// # Errors
/// `Forbidden`; `Invalid`, also when there are too many.
pub async fn create(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    settings: SilenceSettings,
) -> Result<SilenceReport, ServiceError> {
    actor.require(Role::Operator)?;
    let (work, actor) = (Arc::clone(ctx), actor.clone());
    detached_change(ctx, async move {
        let ctx = &*work;
        let _changes = ctx.changes.lock().await;
        settle_doubts(ctx).await?;
        let now = ctx.clock.now();
        check(ctx, &settings, None, now)?;
        let there = ctx.quiet.silences();
        let ended = there.iter().filter(|silence| !silence.is_on(now)).min_by_key(|silence| silence.until());
        let gone = ended.filter(|_| there.len() >= MOST).map(|silence| silence.id);
        if there.len() >= MOST && gone.is_none() {
            let detail = format!("there are {MOST} silences, and none has ended: delete one first");
            return Err(ServiceError::invalid(FieldError::at("", "out_of_range", detail)));
        }
        let transaction = ctx.store.begin_durable().await.map_err(ServiceError::Store)?;
        if let Some(gone) = gone {
            table::delete(&transaction, &[gone]).await.map_err(ServiceError::Store)?;
        }
        let silence = table::insert(&transaction, &settings, &actor.name, now).await.map_err(ServiceError::Store)?;
        let id = silence.id;
        let mut row = actor.audit_row(now, "silence.create", subject(id));
        row.after = Some(json!(settings));
        audit::append(&transaction, row).await.map_err(ServiceError::Store)?;
        commit(ctx, transaction).await?;
        if let Some(gone) = gone {
            ctx.quiet.remove_silence(gone);
        }
        ctx.quiet.put_silence(silence);
        in_force(ctx);
        ctx.announce(&actor, "silence.create", &subject(id));
        get(ctx, id)
    })
    .await
}

/// Changes a silence.
///
/// # Errors
/// `Forbidden`, `NotFound`, `Invalid`; `Stale` when `expected_revision` is no longer its revision.
pub async fn change(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    id: i64,
    expected_revision: Option<i64>,
    change: Change<SilenceSettings>,
) -> Result<SilenceReport, ServiceError> {
    actor.require(Role::Operator)?;
    let (work, actor) = (Arc::clone(ctx), actor.clone());
    detached_change(ctx, async move {
        let ctx = &*work;
        let _changes = ctx.changes.lock().await;
        settle_doubts(ctx).await?;
        let now = ctx.clock.now();
        let before = changeable(ctx, id, expected_revision)?;
        let (settings, action) = match change {
            Change::Replace(settings) => (settings, "silence.replace"),
            Change::Patch(patch) => {
                let patched = merge_patch::apply_flat(&before.settings, patch, "a silence");
                (patched.map_err(ServiceError::invalid)?, "silence.patch")
            }
        };
        check(ctx, &settings, Some(&before.settings), now)?;
        if settings == before.settings && before.unreadable.is_none() {
            return get(ctx, id);
        }
        let transaction = ctx.store.begin_durable().await.map_err(ServiceError::Store)?;
        let after = table::update(&transaction, id, &settings, before.revision, now).await.map_err(|e| match e {
            StoreError::NotFound => unknown(id),
            error => ServiceError::Store(error),
        })?;
        let mut row = actor.audit_row(now, action, subject(id));
        (row.before, row.after) = (Some(json!(before.settings)), Some(json!(settings)));
        audit::append(&transaction, row).await.map_err(ServiceError::Store)?;
        commit(ctx, transaction).await?;
        ctx.quiet.put_silence(after);
        in_force(ctx);
        ctx.announce(&actor, action, &subject(id));
        get(ctx, id)
    })
    .await
}

/// Removes a silence. What it kept from being told is told now, if it lasts.
///
/// # Errors
/// As [`change`].
pub async fn delete(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    id: i64,
    expected_revision: Option<i64>,
) -> Result<(), ServiceError> {
    actor.require(Role::Operator)?;
    let (work, actor) = (Arc::clone(ctx), actor.clone());
    detached_change(ctx, async move {
        let ctx = &*work;
        let _changes = ctx.changes.lock().await;
        settle_doubts(ctx).await?;
        let before = changeable(ctx, id, expected_revision)?;
        let transaction = ctx.store.begin_durable().await.map_err(ServiceError::Store)?;
        table::delete(&transaction, &[id]).await.map_err(ServiceError::Store)?;
        let mut row = actor.audit_row(ctx.clock.now(), "silence.delete", subject(id));
        row.before = Some(json!(before.settings));
        audit::append(&transaction, row).await.map_err(ServiceError::Store)?;
        commit(ctx, transaction).await?;
        ctx.quiet.remove_silence(id);
        in_force(ctx);
        ctx.announce(&actor, "silence.delete", &subject(id));
        Ok(())
    })
    .await
}

fn changeable(ctx: &ServiceContext, id: i64, expected_revision: Option<i64>) -> Result<Arc<Silence>, ServiceError> {
    let silence = ctx.quiet.silence(id).ok_or_else(|| unknown(id))?;
    let revision = silence.revision;
    if expected_revision.is_some_and(|expected| expected != revision) {
        return Err(ServiceError::Stale { revision });
    }
    Ok(silence)
}

/// Every rule of the settings. What was there before is not refused for what has changed around it.
fn check(
    ctx: &ServiceContext,
    settings: &SilenceSettings,
    before: Option<&SilenceSettings>,
    now: Timestamp,
) -> Result<(), ServiceError> {
    let broken = settings.check(before, now).err().unwrap_or_default();
    let mut errors: Vec<FieldError> = broken.into_iter().map(FieldError::from).collect();
    let kept = before.and_then(|before| before.selectors.as_ref());
    errors.extend(meaning_nothing(ctx, settings.selectors.as_ref(), kept));
    if errors.is_empty() { Ok(()) } else { Err(ServiceError::Invalid(errors)) }
}

fn unknown(id: i64) -> ServiceError {
    ServiceError::NotFound(format!("silence {id}"))
}

fn subject(id: i64) -> String {
    format!("silence/{id}")
}
