//! Many changes of endpoints in one request: each by itself, in their order, several in one transaction.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::context::{Actor, CHANGE_LIMIT, ServiceContext, detached_changes, in_time};
use super::endpoints::{Changes, Purge};
use super::error::{FieldError, Place, Precondition, ServiceError};
use super::merge_patch;
use crate::domain::endpoint::{EndpointId, EndpointSettings};
use crate::domain::outcome::words;
use crate::domain::role::Role;

/// The most operations of one request.
pub const MAX_OPERATIONS: usize = 1_000;

/// As many mistakes are told of an operation.
const MAX_ERRORS: usize = 20;

/// Operations in one transaction: few enough that results of checks never wait long for their turn to be written.
const AT_ONCE: usize = 200;

/// The longest that the changes of one request are waited for: each transaction has the time of any change.
pub const MAX_WAIT: Duration = Duration::from_secs(CHANGE_LIMIT.as_secs() * MAX_OPERATIONS.div_ceil(AT_ONCE) as u64);

/// Said of what was not written.
const NOT_DONE: &str = "The database did not take the changes: nothing of this operation was done";

/// Said of what was being written when the database was heard of last.
const IN_DOUBT: &str = "The database did not say whether it took the changes: this operation may have been done";

words! {
    /// What is done with an endpoint.
    pub enum Op {
        Create = "create",
        /// By a merge patch.
        Update = "update",
        /// By key also what does not exist.
        Replace = "replace",
        Delete = "delete",
        Pause = "pause",
        Resume = "resume",
    }
}

/// An endpoint by its group (empty: none) and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub group: String,
    pub name: String,
}

/// One change.
#[derive(Debug, Clone)]
pub struct Operation {
    pub op: Op,
    pub id: Option<EndpointId>,
    pub key: Option<Key>,
    /// Settings, or a merge patch of them.
    pub settings: Option<Value>,
    /// Change it only if it still has this revision.
    pub expected_revision: Option<i64>,
    /// Whether the history goes with a deleted endpoint.
    pub purge: bool,
}

/// What an operation has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    Created { id: EndpointId, revision: i64 },
    Changed { id: EndpointId, revision: i64 },
    Deleted { id: EndpointId },
}

/// Makes the changes one after the other. One that is refused does not undo the others, and those after it are made.
/// Pointers of mistakes are those within the whole of the operations: `/operations/3/settings/url`.
///
/// # Errors
/// `Forbidden`; `Invalid` when there are more than [`MAX_OPERATIONS`]. Everything else is told of each operation.
pub async fn apply(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    operations: Vec<Operation>,
) -> Result<Vec<Result<Applied, ServiceError>>, ServiceError> {
    actor.require(Role::Editor)?;
    if operations.len() > MAX_OPERATIONS {
        let detail = format!("{} operations are too many: at most {MAX_OPERATIONS}", operations.len());
        return Err(ServiceError::invalid(FieldError::at("/operations", "out_of_range", detail)));
    }
    let (work, actor) = (Arc::clone(ctx), actor.clone());
    detached_changes(ctx, async move {
        let count = operations.len();
        let mut results = Vec::with_capacity(count);
        let mut left = operations.into_iter().enumerate().peekable();
        while left.peek().is_some() {
            let chunk: Vec<_> = left.by_ref().take(AT_ONCE).collect();
            let begun = results.len();
            let mut committing = false;
            let done = in_time(Box::pin(apply_together(&work, &actor, chunk, &mut results, &mut committing))).await;
            if let Err(error) = done {
                let ServiceError::Store(cause) = error else { return Err(error) };
                tracing::warn!(%cause, done = begun, of = count, in_doubt = committing, "a bulk change was broken off");
                if committing {
                    // What was refused was not done in any case.
                    let doubtful = results[begun..].iter_mut().filter(|result| result.is_ok());
                    doubtful.for_each(|result| *result = Err(ServiceError::Unavailable(IN_DOUBT.to_owned())));
                } else {
                    results.truncate(begun);
                }
                // Another transaction would not fare better.
                results.resize_with(count, || Err(ServiceError::Unavailable(NOT_DONE.to_owned())));
                break;
            }
        }
        Ok(results)
    })
    .await
}

/// `committing` says whether it came to the commit.
///
/// # Errors
/// When the store fails: then nothing of these was done, or, if it came to the commit, all that was not refused may
/// have been.
async fn apply_together(
    ctx: &ServiceContext,
    actor: &Actor,
    operations: Vec<(usize, Operation)>,
    results: &mut Vec<Result<Applied, ServiceError>>,
    committing: &mut bool,
) -> Result<(), ServiceError> {
    let mut changes = Changes::begin(ctx, actor).await?;
    for (index, operation) in operations {
        match Box::pin(apply_one(&mut changes, operation)).await {
            Err(ServiceError::Store(error)) => return Err(ServiceError::Store(error)),
            Err(error) => results.push(Err(below(error, &format!("/operations/{index}")))),
            Ok(applied) => results.push(Ok(applied)),
        }
    }
    *committing = true;
    changes.commit().await
}

async fn apply_one(changes: &mut Changes<'_>, operation: Operation) -> Result<Applied, ServiceError> {
    let Operation { op, id, key, settings, expected_revision, purge } = operation;
    let mut errors = Vec::new();
    let mut wrong = |field: &str, given: bool, wanted: bool, detail: &str| {
        if given != wanted {
            let rule = if wanted { "required" } else { "conflict" };
            errors.push(FieldError::at(format!("/{field}"), rule, detail));
        }
    };
    if op == Op::Create {
        wrong("id", id.is_some(), false, "a new endpoint has no id yet");
        wrong("key", key.is_some(), false, "group and name of a new endpoint are in its settings");
        wrong("if_match", expected_revision.is_some(), false, "a new endpoint has no revision yet");
    } else {
        let detail = "an endpoint is named by its `id` or by its `key`, one of them";
        if id.is_some() == key.is_some() {
            wrong("id", id.is_some(), id.is_none(), detail);
        }
    }
    match op {
        Op::Create | Op::Replace => wrong("settings", settings.is_some(), true, "the settings of the endpoint"),
        Op::Update => wrong("settings", settings.is_some(), true, "a merge patch of the settings"),
        Op::Delete | Op::Pause | Op::Resume => {
            wrong("settings", settings.is_some(), false, "nothing is set by this operation");
        }
    }
    if op != Op::Delete {
        wrong("purge", purge, false, "only a deletion can remove the history");
    }
    if !errors.is_empty() {
        return Err(ServiceError::Invalid(errors));
    }

    let settings = settings.unwrap_or_default();
    match (op, id, key) {
        (Op::Create, ..) => {
            let id = changes.create(read(settings)?).await.map_err(in_settings)?;
            Ok(created(changes, id))
        }
        (Op::Replace, None, Some(Key { group, name })) => {
            let put = changes.put_by_key(group, name, Precondition::from(expected_revision), read(settings)?);
            let (id, is_new) = Box::pin(put).await.map_err(in_settings)?;
            Ok(if is_new { created(changes, id) } else { changed(changes, id) })
        }
        (op, id, key) => {
            let id = match (id, key) {
                (Some(id), _) => id,
                (None, Some(Key { group, name })) => changes.require_key(&group, &name).await?,
                // Refused above.
                (None, None) => return Err(ServiceError::NotFound("the endpoint".to_owned())),
            };
            match op {
                Op::Delete => {
                    let purge = if purge { Purge::History } else { Purge::Nothing };
                    changes.archive(id, expected_revision, purge).await?;
                    return Ok(Applied::Deleted { id });
                }
                Op::Pause => changes.pause(id, expected_revision).await?,
                Op::Resume => changes.resume(id, expected_revision).await?,
                Op::Update => changes.patch(id, expected_revision, settings).await.map_err(in_settings)?,
                Op::Create | Op::Replace => {
                    changes.replace(id, expected_revision, read(settings)?).await.map_err(in_settings)?;
                }
            }
            Ok(changed(changes, id))
        }
    }
}

fn revision(changes: &Changes<'_>, id: EndpointId) -> i64 {
    changes.known(id).map_or(0, |known| known.revision)
}

fn created(changes: &Changes<'_>, id: EndpointId) -> Applied {
    Applied::Created { id, revision: revision(changes, id) }
}

fn changed(changes: &Changes<'_>, id: EndpointId) -> Applied {
    Applied::Changed { id, revision: revision(changes, id) }
}

fn read(settings: Value) -> Result<EndpointSettings, ServiceError> {
    if !settings.is_object() {
        return Err(ServiceError::invalid(FieldError::at("/settings", "invalid", "must be an object")));
    }
    merge_patch::read(settings).map_err(ServiceError::invalid).map_err(in_settings)
}

fn in_settings(error: ServiceError) -> ServiceError {
    below(error, "/settings")
}

/// The error, with its pointers below another one.
fn below(error: ServiceError, pointer: &str) -> ServiceError {
    let ServiceError::Invalid(mut errors) = error else { return error };
    // There may be a thousand operations.
    errors.truncate(MAX_ERRORS);
    for error in &mut errors {
        if let Place::Pointer(place) = &mut error.place {
            place.insert_str(0, pointer);
        }
    }
    ServiceError::Invalid(errors)
}
