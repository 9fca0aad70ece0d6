//! What can be seen and done of the monitor's own workings: connections, collections of metrics, housekeeping,
//! threads, and the parts that it is made of.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::context::{Actor, ServiceContext, detached, detached_change};
use super::error::{Conflict, FieldError, ServiceError};
use crate::domain::Timestamp;
use crate::domain::role::Role;
pub use crate::lifecycle::SeenRuntime;
use crate::store::{audit, within};
pub use crate::telemetry::collections::{Collection, Collections, MOST as MOST_COLLECTIONS};
pub use crate::telemetry::connections::{Connections, OpenConnection, State};
pub use crate::telemetry::jobs::{JobReport, JobStatus, Run, When};
use crate::wakeup::Wakeup;

/// What is seen of the workings.
#[derive(Debug, Default)]
pub struct Operations {
    pub connections: Arc<Connections>,
    pub collections: Arc<Collections>,
    pub jobs: Vec<Job>,
    pub modules: Vec<Module>,
}

/// A housekeeping job, and how it is nudged.
#[derive(Debug, Clone)]
pub struct Job {
    pub status: Arc<JobStatus>,
    pub nudge: Wakeup,
}

/// What a module is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModuleType {
    Check,
    Channel,
    Storage,
}

/// A part of the monitor that can be chosen by configuration.
#[derive(Debug, Clone)]
pub struct Module {
    pub name: String,
    pub kind: ModuleType,
    /// `None`: that of a server to which there is no connection.
    pub version: Option<String>,
    pub description: String,
    /// A JSON schema of what is set for it.
    pub parameters: serde_json::Value,
}

/// A module, and whether something goes through it now.
#[derive(Debug)]
pub struct ShownModule<'c> {
    pub module: &'c Module,
    pub in_use: bool,
}

/// How long an audit row may take of what is done without the database.
const ROW_LIMIT: Duration = Duration::from_secs(2);

/// The connections that are open now.
///
/// # Errors
/// `Forbidden`: who is connected from where is for administrators.
pub fn connections(ctx: &ServiceContext, actor: &Actor) -> Result<Vec<Arc<OpenConnection>>, ServiceError> {
    actor.require(Role::Admin)?;
    Ok(ctx.operations.connections.list())
}

/// An open connection by its id, `conn_7`.
///
/// # Errors
/// `Forbidden`; `NotFound`, also of one that is over.
pub fn connection(ctx: &ServiceContext, actor: &Actor, id: &str) -> Result<Arc<OpenConnection>, ServiceError> {
    actor.require(Role::Admin)?;
    let number = id.strip_prefix("conn_").filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    let found = number.and_then(|digits| ctx.operations.connections.get(digits.parse().ok()?));
    found.ok_or_else(|| ServiceError::NotFound(format!("connection {id}")))
}

/// Ends a connection: at once, or after its answers when it is the one that asks (`own`). Works without the database.
///
/// # Errors
/// As [`connection`].
pub async fn end_connection(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    id: &str,
    own: Option<u64>,
) -> Result<(), ServiceError> {
    let connection = connection(ctx, actor, id)?;
    let (work, actor, id) = (Arc::clone(ctx), actor.clone(), id.to_owned());
    detached(ctx, async move {
        let end: &CancellationToken = if own == Some(connection.id) { &connection.close } else { &connection.cut };
        end.cancel();
        let mut row = actor.audit_row(work.clock.now(), "connection.end", format!("connection/{id}"));
        let principal = connection.principal().map(|(name, _)| name.to_string());
        row.before = Some(json!({ "client_ip": connection.client(), "principal": principal }));
        if let Err(error) = within(ROW_LIMIT, audit::append(work.store.writer(), row)).await {
            tracing::warn!(%error, connection = id, "the end of a connection could not be written into the audit log");
        }
        work.announce(&actor, "connection.end", &format!("connection/{id}"));
        Ok(())
    })
    .await
}

/// The ids of the collections there are.
pub fn collection_ids(ctx: &ServiceContext) -> Vec<u64> {
    ctx.operations.collections.ids()
}

/// Begins to collect. Collections are instruments: they change nothing of what is watched or kept, live in memory,
/// and are not audited.
///
/// # Errors
/// `Forbidden`; `Conflict` when there are as many as there may be.
pub fn create_collection(ctx: &ServiceContext, actor: &Actor) -> Result<u64, ServiceError> {
    actor.require(Role::Operator)?;
    let created = ctx.operations.collections.create(ctx.clock.now());
    created.ok_or(ServiceError::Conflict(Conflict::TooManyCollections { most: MOST_COLLECTIONS }))
}

/// What a collection holds now.
///
/// # Errors
/// `Invalid` when `id` is no number, `NotFound`.
pub fn collection(ctx: &ServiceContext, id: &str) -> Result<(u64, Collection), ServiceError> {
    let number = collection_number(id)?;
    let found = number.and_then(|number| Some((number, ctx.operations.collections.get(number)?)));
    found.ok_or_else(|| unknown_collection(id))
}

/// Begins a collection anew.
///
/// # Errors
/// `Forbidden`; as [`collection`].
pub fn clear_collection(ctx: &ServiceContext, actor: &Actor, id: &str) -> Result<(), ServiceError> {
    actor.require(Role::Operator)?;
    let cleared = collection_number(id)?.is_some_and(|id| ctx.operations.collections.clear(id, ctx.clock.now()));
    if cleared { Ok(()) } else { Err(unknown_collection(id)) }
}

/// Ends a collection.
///
/// # Errors
/// As [`clear_collection`].
pub fn delete_collection(ctx: &ServiceContext, actor: &Actor, id: &str) -> Result<(), ServiceError> {
    actor.require(Role::Operator)?;
    let deleted = collection_number(id)?.is_some_and(|id| ctx.operations.collections.delete(id));
    if deleted { Ok(()) } else { Err(unknown_collection(id)) }
}

/// `None`: a number that no collection can have.
fn collection_number(id: &str) -> Result<Option<u64>, ServiceError> {
    if id.is_empty() || !id.bytes().all(|b| b.is_ascii_digit()) {
        let detail = "must be the id of a collection: a whole number";
        return Err(ServiceError::invalid(FieldError::parameter("id", "invalid", detail)));
    }
    Ok(id.parse().ok())
}

fn unknown_collection(id: &str) -> ServiceError {
    ServiceError::NotFound(format!("collection {id}"))
}

/// The housekeeping, and how each job of it does.
pub fn tasks(ctx: &ServiceContext) -> Vec<(&JobStatus, JobReport)> {
    let now = ctx.clock.now();
    ctx.operations.jobs.iter().map(|job| reported(job, now)).collect()
}

fn reported(job: &Job, now: Timestamp) -> (&JobStatus, JobReport) {
    (&job.status, job.status.report(now))
}

/// A job by its name.
///
/// # Errors
/// `NotFound`.
pub fn task<'c>(ctx: &'c ServiceContext, name: &str) -> Result<(&'c JobStatus, JobReport), ServiceError> {
    Ok(reported(job(ctx, name)?, ctx.clock.now()))
}

fn job<'c>(ctx: &'c ServiceContext, name: &str) -> Result<&'c Job, ServiceError> {
    let found = ctx.operations.jobs.iter().find(|job| job.status.name == name);
    found.ok_or_else(|| ServiceError::NotFound(format!("task {name}")))
}

/// Has a job do now whatever is to be done; it is not waited for.
///
/// # Errors
/// `Forbidden`, `NotFound`; `Conflict` while a run is under way or about to begin; `Store`.
pub async fn run_task<'c>(
    ctx: &'c Arc<ServiceContext>,
    actor: &Actor,
    name: &str,
) -> Result<(&'c JobStatus, JobReport), ServiceError> {
    actor.require(Role::Admin)?;
    let known = job(ctx, name)?;
    let (work, actor, wanted) = (Arc::clone(ctx), actor.clone(), known.clone());
    detached_change(ctx, async move {
        let _changes = work.changes.lock().await;
        let name = wanted.status.name;
        if wanted.status.report(work.clock.now()).running {
            return Err(ServiceError::Conflict(Conflict::TaskRunning { name: name.to_owned() }));
        }
        let transaction = work.store.begin_durable().await.map_err(ServiceError::Store)?;
        let row = actor.audit_row(work.clock.now(), "task.run", format!("task/{name}"));
        audit::append(&transaction, row).await.map_err(ServiceError::Store)?;
        transaction.commit().await.map_err(|e| ServiceError::Store(e.into()))?;
        work.announce(&actor, "task.run", &format!("task/{name}"));
        // Should its schedule have begun a run meanwhile, there is another one after it.
        wanted.status.ask();
        wanted.nudge.nudge();
        Ok(())
    })
    .await?;
    Ok(reported(known, ctx.clock.now()))
}

/// The runtimes with their workers.
pub fn runtimes(ctx: &ServiceContext) -> Vec<SeenRuntime> {
    ctx.tasks.runtimes()
}

/// What the monitor is made of.
pub fn modules(ctx: &ServiceContext) -> Vec<ShownModule<'_>> {
    let directory = ctx.directory.get();
    let entries = ctx.board.entries();
    let in_use = |module: &Module| match module.kind {
        ModuleType::Check => entries.iter().any(|entry| entry.known.endpoint.kind.as_str() == module.name),
        ModuleType::Channel => directory.channels.iter().any(|c| c.enabled && c.transport.kind() == module.name),
        ModuleType::Storage => ctx.store.kind() == module.name,
    };
    ctx.operations.modules.iter().map(|module| ShownModule { module, in_use: in_use(module) }).collect()
}

/// A module by its name.
///
/// # Errors
/// `NotFound`.
pub fn module<'c>(ctx: &'c ServiceContext, name: &str) -> Result<ShownModule<'c>, ServiceError> {
    let found = modules(ctx).into_iter().find(|shown| shown.module.name == name);
    found.ok_or_else(|| ServiceError::NotFound(format!("module {name}")))
}
