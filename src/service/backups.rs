//! Backups made while the monitor runs: begun here, written beside everything else, kept in a folder of their own.
//! Restoring is for the command line: nobody can exchange the database under a monitor that uses it.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;

use super::context::{Actor, ServiceContext, detached_change};
use super::error::{Conflict, ServiceError};
use crate::domain::Timestamp;
use crate::domain::role::Role;
use crate::store::audit::AuditEntry;
use crate::store::backup::{self, BackupFolder, BackupOptions, Claim, Kept, Written, begun_at};
use crate::store::{Beside, Store, StoreError, StoreOptions, audit, within};

pub use crate::store::backup::{Form, Progress};

/// Failures that are remembered, the newest; they go with the process.
const FAILURES: usize = 10;

/// How long a row may take that says what became of a backup, or who read one.
const ROW_LIMIT: Duration = Duration::from_secs(2);

/// How long the start waits for the folder.
const TIDYING: Duration = Duration::from_secs(2);

/// How long the disk may take to remove one, so that what became of it can still be noted.
const REMOVING: Duration = Duration::from_secs(15);

/// The backups of this monitor.
#[derive(Debug)]
pub struct Backups {
    folder: Arc<BackupFolder>,
    /// How the database is opened to be read beside the monitor.
    source: StoreOptions,
    state: Mutex<State>,
    /// Held while one is begun or removed. Not the lock of the changes: a disk that hangs holds up nothing else.
    one_at_a_time: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    running: Option<Running>,
    failed: VecDeque<Failed>,
}

#[derive(Debug, Clone)]
struct Running {
    id: String,
    form: Form,
    begun_at: Timestamp,
    progress: Option<Progress>,
}

#[derive(Debug, Clone)]
struct Failed {
    id: String,
    form: Form,
    begun_at: Timestamp,
    at: Timestamp,
    why: String,
}

/// A backup, whatever became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    pub id: String,
    pub form: Form,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    pub state: BackupState,
}

/// What became of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupState {
    /// It is being written; `None` until the first is known of it.
    Running(Option<Progress>),
    /// It is whole.
    Done { bytes: u64, path: PathBuf },
    /// There is none; a sentence.
    Failed(String),
}

impl Backups {
    pub fn new(folder: Arc<BackupFolder>, source: StoreOptions) -> Self {
        Self { folder, source, state: Mutex::default(), one_at_a_time: tokio::sync::Mutex::default() }
    }

    /// When the newest backup that is known was begun.
    pub fn last(&self) -> Option<Timestamp> {
        self.folder.last()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Work on the folder, on a thread that may wait for the disk.
    async fn in_folder<T: Send + 'static>(
        &self,
        work: impl FnOnce(&BackupFolder) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ServiceError> {
        let folder = Arc::clone(&self.folder);
        match tokio::task::spawn_blocking(move || work(&folder)).await {
            Ok(Ok(done)) => Ok(done),
            // A disk is no database.
            Ok(Err(StoreError::Unavailable(sentence))) => Err(ServiceError::Unavailable(sentence)),
            Ok(Err(StoreError::Conflict(sentence))) => {
                Err(ServiceError::Conflict(Conflict::BackupRunning { sentence }))
            }
            Ok(Err(error)) => Err(ServiceError::Store(error)),
            Err(_) => Err(ServiceError::Unavailable("The monitor is stopping".to_owned())),
        }
    }
}

/// Reads when the last backup was made that this monitor knows of, and tidies up in the folder. What cannot be read is
/// not known: a monitor whose audit log is damaged, and that needs a backup all the more, starts all the same.
pub async fn look_back(store: &Store, folder: &Arc<BackupFolder>) {
    let newest = within(ROW_LIMIT, audit::newest(store.readers(), FINISHED, OK)).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "when the last backup was made cannot be read in the audit log");
        None
    });
    let id = newest.as_ref().and_then(|row| row.entry.subject.strip_prefix(SUBJECT));
    if let Some(begun) = id.and_then(begun_at) {
        folder.note(begun);
    }
    let folder = Arc::clone(folder);
    // What cannot be read is told when somebody asks for it, and a disk that hangs does not hold up the start.
    let tidying = tokio::task::spawn_blocking(move || folder.tidy_up());
    drop(tokio::time::timeout(TIDYING, tidying).await);
}

/// All that is known, the newest first. Works without the database.
///
/// # Errors
/// `Forbidden`; `Unavailable` when the folder cannot be read.
pub async fn list(ctx: &ServiceContext, actor: &Actor) -> Result<Vec<Backup>, ServiceError> {
    actor.require(Role::Admin)?;
    // Before the folder, or one that is whole in between would be in neither.
    let (running, failed) = {
        let state = ctx.backups.state();
        (state.running.clone(), state.failed.clone())
    };
    let kept = ctx.backups.in_folder(BackupFolder::list).await?;
    let is_running = |id: &str| running.as_ref().is_some_and(|running| running.id == id);
    let done = kept.into_iter().filter(|kept| !is_running(&kept.id));
    let done = done.map(|Kept { id, path, form, created_at, finished_at, bytes }| Backup {
        id,
        form,
        created_at,
        finished_at,
        state: BackupState::Done { bytes, path },
    });
    let mut all: Vec<Backup> = done.collect();
    let running = running.iter().map(|running| Backup {
        id: running.id.clone(),
        form: running.form,
        created_at: running.begun_at,
        finished_at: None,
        state: BackupState::Running(running.progress),
    });
    let failed = failed.iter().map(|failed| Backup {
        id: failed.id.clone(),
        form: failed.form,
        created_at: failed.begun_at,
        finished_at: Some(failed.at),
        state: BackupState::Failed(failed.why.clone()),
    });
    all.extend(running.chain(failed));
    all.sort_by(|one, other| other.id.cmp(&one.id));
    Ok(all)
}

/// A backup by its id. Works without the database.
///
/// # Errors
/// As [`list`]; `NotFound`.
pub async fn get(ctx: &ServiceContext, actor: &Actor, id: &str) -> Result<Backup, ServiceError> {
    list(ctx, actor).await?.into_iter().find(|backup| backup.id == id).ok_or_else(|| unknown(id))
}

/// The file of a whole backup, to be read by the actor: it holds every secret of the endpoints, so that is noted.
/// Works without the database, and then only the log has it.
///
/// # Errors
/// As [`get`]; `Conflict` when it is not whole.
pub async fn read(ctx: &ServiceContext, actor: &Actor, id: &str) -> Result<(Backup, PathBuf), ServiceError> {
    let (backup, path) = file(ctx, actor, id).await?;
    tracing::info!(backup = id, actor = actor.name, "a backup is read");
    note(ctx, actor.audit_row(ctx.clock.now(), "backup.read", subject(id))).await;
    Ok((backup, path))
}

/// As [`read`], without reading.
///
/// # Errors
/// As [`read`].
pub async fn file(ctx: &ServiceContext, actor: &Actor, id: &str) -> Result<(Backup, PathBuf), ServiceError> {
    let backup = get(ctx, actor, id).await?;
    match &backup.state {
        BackupState::Done { path, .. } => {
            let path = path.clone();
            Ok((backup, path))
        }
        BackupState::Running(_) => Err(running(id)),
        BackupState::Failed(_) => Err(ServiceError::NotFound(format!("The content of {id}, which failed,"))),
    }
}

/// Begins a backup and returns its id; it is made while everything goes on. `form`: what fits the database.
///
/// # Errors
/// `Forbidden`; `Conflict` while another one is made; `Unavailable` when the folder cannot be written.
pub async fn start(ctx: &Arc<ServiceContext>, actor: &Actor, form: Option<Form>) -> Result<String, ServiceError> {
    actor.require(Role::Admin)?;
    let (work, actor) = (Arc::clone(ctx), actor.clone());
    detached_change(ctx, async move {
        let _one = work.backups.one_at_a_time.lock().await;
        let backups = &work.backups;
        if let Some(other) = &backups.state().running {
            return Err(running(&other.id));
        }
        let native = work.store.path().is_some();
        let form = form.unwrap_or(if native { Form::Native } else { Form::Portable });
        if form == Form::Native && !native {
            let detail = "a native backup is a file of SQLite; this database is on a server: portable";
            return Err(ServiceError::invalid(super::error::FieldError::at("/form", "invalid", detail)));
        }
        let now = work.clock.now();
        let (claim, id, path) = backups
            .in_folder(move |folder| {
                let claim = folder.claim()?;
                let (id, path) = folder.name(form, now)?;
                Ok((claim, id, path))
            })
            .await?;
        let begun_at = begun_at(&id).unwrap_or(now);
        let transaction = work.store.begin_durable().await.map_err(ServiceError::Store)?;
        let mut row = actor.audit_row(now, STARTED, subject(&id));
        row.after = Some(json!({ "form": form.as_str() }));
        audit::append(&transaction, row).await.map_err(ServiceError::Store)?;
        transaction.commit().await.map_err(|e| ServiceError::Store(e.into()))?;
        backups.state().running = Some(Running { id: id.clone(), form, begun_at, progress: None });
        work.announce(&actor, STARTED, &subject(&id));
        let making = Making { claim, id: id.clone(), path, form, begun_at };
        work.tasks.spawn_heavy(make(Arc::clone(&work), actor, making));
        Ok(id)
    })
    .await
}

/// A backup that is being made.
#[derive(Debug)]
struct Making {
    /// Held until the end.
    claim: Claim,
    id: String,
    path: PathBuf,
    form: Form,
    begun_at: Timestamp,
}

async fn make(ctx: Arc<ServiceContext>, actor: Actor, making: Making) {
    let Making { claim, id, path, form, begun_at } = making;
    let options = BackupOptions { form: Some(form), overwrite: false, now: ctx.clock.now() };
    let mut told = |progress| {
        if let Some(running) = &mut ctx.backups.state().running {
            running.progress = Some(progress);
        }
    };
    let written = async {
        let source = Beside::open(&ctx.backups.source).await?;
        let written = backup::create(&source, &path, options, &mut told).await;
        source.close().await?;
        written
    };
    let written = tokio::select! {
        written = written => written,
        () = ctx.tasks.stopping().cancelled() => {
            Err(StoreError::Unavailable("the monitor was stopped meanwhile".to_owned()))
        }
    };
    let mut row = actor.audit_row(ctx.clock.now(), FINISHED, subject(&id));
    let failed = match written {
        Ok(Written { rows, bytes, .. }) => {
            ctx.backups.folder.note(begun_at);
            let removed = ctx.backups.folder.remove_old(&id).unwrap_or_else(|error| {
                tracing::warn!(%error, "backups that are not kept any more cannot be removed");
                Vec::new()
            });
            tracing::info!(backup = id, bytes, rows, removed = removed.len(), "a backup was made");
            row.after = Some(json!({ "form": form.as_str(), "rows": rows, "bytes": bytes, "removed": removed }));
            None
        }
        Err(error) => {
            tracing::warn!(backup = id, %error, "a backup failed");
            row.result = format!("failed: {error}");
            Some(Failed { id, form, begun_at, at: row.at, why: error.to_string() })
        }
    };
    drop(claim);
    ctx.announce(&actor, FINISHED, &row.subject);
    note(&ctx, row).await;
    let mut state = ctx.backups.state();
    state.running = None;
    if let Some(failed) = failed {
        state.failed.push_front(failed);
        state.failed.truncate(FAILURES);
    }
}

/// Writes a row that nothing depends on. One that cannot be written is only logged.
async fn note(ctx: &ServiceContext, row: AuditEntry) {
    let (action, subject) = (row.action.clone(), row.subject.clone());
    if let Err(error) = within(ROW_LIMIT, audit::append(ctx.store.writer(), row)).await {
        tracing::warn!(%error, action, subject, "a row could not be written into the audit log");
    }
}

/// Removes a backup, or forgets one that failed. The disk is worked on while no transaction is open, so that a folder
/// that hangs holds up nothing else; so the row is there first, and one that could not be removed has a second one.
///
/// # Errors
/// `Forbidden`, `NotFound`; `Conflict` while it is made; `Unavailable` when the file cannot be removed.
pub async fn delete(ctx: &Arc<ServiceContext>, actor: &Actor, id: &str) -> Result<(), ServiceError> {
    actor.require(Role::Admin)?;
    let (work, actor, id) = (Arc::clone(ctx), actor.clone(), id.to_owned());
    detached_change(ctx, async move {
        let _one = work.backups.one_at_a_time.lock().await;
        let backup = get(&work, &actor, &id).await?;
        if matches!(backup.state, BackupState::Running(_)) {
            return Err(running(&id));
        }
        let transaction = work.store.begin_durable().await.map_err(ServiceError::Store)?;
        let row = actor.audit_row(work.clock.now(), DELETED, subject(&id));
        audit::append(&transaction, row).await.map_err(ServiceError::Store)?;
        transaction.commit().await.map_err(|e| ServiceError::Store(e.into()))?;
        if let BackupState::Done { .. } = backup.state {
            if let Err(error) = remove(&work, &id).await {
                tracing::warn!(backup = id, %error, "a backup cannot be removed");
                let mut row = actor.audit_row(work.clock.now(), DELETED, subject(&id));
                row.result = format!("failed: {error}");
                note(&work, row).await;
                return Err(error);
            }
        } else {
            work.backups.state().failed.retain(|failed| failed.id != id);
        }
        work.announce(&actor, DELETED, &subject(&id));
        Ok(())
    })
    .await
}

async fn remove(ctx: &ServiceContext, id: &str) -> Result<(), ServiceError> {
    let gone = id.to_owned();
    let removing = ctx.backups.in_folder(move |folder| folder.remove(&gone));
    match tokio::time::timeout(REMOVING, removing).await {
        // It is gone, whoever removed it.
        Ok(Err(ServiceError::Store(StoreError::NotFound))) => Ok(()),
        Ok(removed) => removed,
        Err(_) => Err(ServiceError::Unavailable(
            "The folder of the backups did not answer in time; it may be removed all the same".to_owned(),
        )),
    }
}

/// What is audited when a backup is begun, and when it is whole or failed.
const STARTED: &str = "backup.create";
const FINISHED: &str = "backup.finish";
/// When one is to be removed.
const DELETED: &str = "backup.delete";
const OK: &str = "ok";
const SUBJECT: &str = "backup/";

fn subject(id: &str) -> String {
    format!("{SUBJECT}{id}")
}

fn unknown(id: &str) -> ServiceError {
    ServiceError::NotFound(format!("backup {id}"))
}

fn running(id: &str) -> ServiceError {
    let sentence = format!("the backup {id} is still being made: wait until it is done");
    ServiceError::Conflict(Conflict::BackupRunning { sentence })
}
