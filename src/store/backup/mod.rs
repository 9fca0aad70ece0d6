//! Backups: one file that holds everything, made beside a running monitor, and put back.
//!
//! There are two forms. The native one is a database file of `SQLite`. The portable one is ours ([`portable`]): rows
//! as JSON lines, compressed, which goes into every database. Both hold the secrets of the endpoints.

mod folder;
mod numbering;
mod portable;
mod reader;
mod restore;
mod rows;
mod tables;

use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use sea_orm::{ConnectionTrait, Statement};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use folder::{BackupFolder, Claim, Kept, begun_at};
pub use restore::{Restored, restore};

use super::beside::Beside;
use super::{StoreError, open};
use crate::domain::Timestamp;

/// How a backup is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// A database file of `SQLite`.
    Native,
    /// Rows as compressed JSON lines, for every database.
    Portable,
}

impl Form {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Portable => "portable",
        }
    }
}

/// How far the work has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Rows { done: u64, total: u64 },
    Bytes { done: u64, total: u64 },
}

/// Is told of the progress, some times a second at most a few hundred rows apart.
pub type Told<'a> = &'a mut (dyn FnMut(Progress) + Send);

/// What a backup is to be.
#[derive(Debug, Clone, Copy)]
pub struct BackupOptions {
    /// `None`: what fits the database.
    pub form: Option<Form>,
    /// Replace a file that is there.
    pub overwrite: bool,
    pub now: Timestamp,
}

/// A backup that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    pub form: Form,
    /// Rows in a portable backup; nobody counts those of a native one.
    pub rows: Option<u64>,
    /// Size of the file.
    pub bytes: u64,
}

/// How often the size of a growing file is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Writes everything into `target`, which appears whole or not at all, readable for this user alone.
///
/// # Errors
/// [`StoreError::Conflict`] when `target` is there; [`StoreError::Unavailable`] with a sentence otherwise.
pub async fn create(
    source: &Beside,
    target: &Path,
    options: BackupOptions,
    told: Told<'_>,
) -> Result<Written, StoreError> {
    if source.path().is_some_and(|path| is_same_file(path, target)) {
        return Err(StoreError::Conflict(format!("{} is the database itself: name another file", target.display())));
    }
    if !options.overwrite && target.symlink_metadata().is_ok() {
        return Err(there_is(target));
    }
    let form = options.form.unwrap_or(if source.path().is_some() { Form::Native } else { Form::Portable });
    if form == Form::Native && source.path().is_none() {
        return Err(StoreError::Conflict(
            "a native backup is a file of SQLite: a database of PostgreSQL has the portable form, or pg_dump"
                .to_owned(),
        ));
    }
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    // Made for this user alone, and removed unless it becomes the backup.
    let partial =
        tempfile::Builder::new().prefix(&format!(".{name}.")).suffix(".partial").tempfile_in(folder).map_err(|e| {
            StoreError::Unavailable(format!("no file can be made in {} ({e}): choose another folder", folder.display()))
        })?;
    let about = |e| open::named(&target.display().to_string(), e);
    let rows = match form {
        Form::Native => vacuum_into(source, partial.path(), told).await.map(|()| None),
        Form::Portable => write_portable(source, &partial, options.now, told).await.map(Some),
    }
    .map_err(about)?;
    let cannot = |e: std::io::Error| unavailable("the backup cannot be finished", target, &e);
    partial.as_file().sync_all().map_err(cannot)?;
    let bytes = partial.as_file().metadata().map_err(cannot)?.len();
    if options.overwrite {
        partial.persist(target).map_err(|e| cannot(e.error))?;
    } else {
        partial.persist_noclobber(target).map_err(|e| match e.error.kind() {
            std::io::ErrorKind::AlreadyExists => there_is(target),
            _ => cannot(e.error),
        })?;
    }
    sync_folder(folder).map_err(cannot)?;
    Ok(Written { form, rows, bytes })
}

/// Has `SQLite` copy one state of the database, without what is free in it, into an empty file.
async fn vacuum_into(source: &Beside, into: &Path, told: Told<'_>) -> Result<(), StoreError> {
    let db = source.readers();
    let backend = db.get_database_backend();
    let number = async |pragma: &str| -> Result<u64, StoreError> {
        let row = db.query_one_raw(Statement::from_string(backend, format!("PRAGMA {pragma}"))).await?;
        let value: i64 = row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or_default();
        Ok(u64::try_from(value).unwrap_or_default())
    };
    let pages = number("page_count").await?.saturating_sub(number("freelist_count").await?);
    let total = pages * number("page_size").await?;
    let Some(path) = into.to_str() else {
        return Err(StoreError::Unavailable("the name of the backup is not UTF-8: choose another".to_owned()));
    };
    let copy = db.execute_raw(Statement::from_sql_and_values(backend, "VACUUM INTO ?", [path.into()]));
    let mut copy = std::pin::pin!(copy);
    loop {
        tokio::select! {
            copied = &mut copy => {
                copied?;
                return Ok(());
            }
            () = tokio::time::sleep(LOOK) => {
                let done = std::fs::metadata(into).map_or(0, |file| file.len());
                told(Progress::Bytes { done: done.min(total), total });
            }
        }
    }
}

async fn write_portable(
    source: &Beside,
    into: &tempfile::NamedTempFile,
    now: Timestamp,
    told: Told<'_>,
) -> Result<u64, StoreError> {
    source.require_current()?;
    let snapshot = source.snapshot().await?;
    let mut file = BufWriter::new(into.as_file());
    let rows = portable::write(&snapshot, source.migrations(), &mut file, now, told).await?;
    file.flush().map_err(|e| unavailable("the backup cannot be written", into.path(), &e))?;
    Ok(rows)
}

fn there_is(target: &Path) -> StoreError {
    StoreError::Conflict(format!("{} exists: choose another name, or overwrite it with --force", target.display()))
}

/// Whether two names lead to one file that exists.
fn is_same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

fn unavailable(what: &str, path: &Path, error: &std::io::Error) -> StoreError {
    let sentence = match error.kind() {
        std::io::ErrorKind::StorageFull => "the disk is full: free some space".to_owned(),
        _ => error.to_string(),
    };
    StoreError::Unavailable(format!("{}: {what}: {sentence}", path.display()))
}

/// Makes the new name of a file in a folder last.
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    if cfg!(unix) { std::fs::File::open(folder)?.sync_all() } else { Ok(()) }
}
