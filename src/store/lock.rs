//! One process a database: an advisory lock on a file beside it, released by the system however the process ends.
//!
//! While a database is open something is written in that file, so the next process sees whether the last one closed
//! it. It is written once at the start and removed at the end: a check costs nothing.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use super::StoreError;

/// The held lock of a database.
#[derive(Debug)]
pub(super) struct ProcessLock {
    file: File,
    /// Whether the process before closed the database.
    closed: bool,
}

/// What the file says while a database is open.
const OPEN: &str = "open: if no process has this file, the last one did not close the database\n";

impl ProcessLock {
    /// Takes `<database>.lock`. The file itself stays behind: removing it would let two processes each lock their own.
    pub(super) fn take(database: &Path) -> Result<Self, StoreError> {
        let path = lock_path(database);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(|e| {
            StoreError::Unavailable(format!(
                "the lock file {} cannot be written ({e}): make the folder of the database writable for this user",
                path.display()
            ))
        })?;
        match file.try_lock() {
            Ok(()) => {
                let closed = file.metadata().map_or(true, |file| file.len() == 0);
                Ok(Self { file, closed })
            }
            Err(TryLockError::WouldBlock) => Err(StoreError::Unavailable(format!(
                "the database {} is in use by another api-monitor, which holds {}: stop that process, or give this one a database of its own",
                database.display(),
                path.display()
            ))),
            Err(TryLockError::Error(e)) => Err(StoreError::Unavailable(format!(
                "the lock file {} cannot be locked ({e}): put the database on a local disk",
                path.display()
            ))),
        }
    }

    /// Whether the process before closed the database. One that was never open counts as closed.
    pub(super) fn was_closed(&self) -> bool {
        self.closed
    }

    /// Notes that the database is open, so that it lasts beyond a failure of power.
    pub(super) fn note_open(&self) {
        let mut file = &self.file;
        let noted = file.rewind().and_then(|()| file.write_all(OPEN.as_bytes())).and_then(|()| file.sync_data());
        if let Err(error) = noted {
            tracing::warn!(%error, "it cannot be noted that the database is open: after a crash it is not examined");
        }
    }

    /// Notes that the database is closed and was not left in doubt. Should that be lost, it is examined once more.
    pub(super) fn forget_the_past(&self) {
        if let Err(error) = self.file.set_len(0) {
            tracing::debug!(%error, "it cannot be noted that the database is closed: it is examined at the next start");
        }
    }

    /// Lets another process in, before the lock itself is dropped.
    pub(super) fn release(&self) {
        if let Err(error) = self.file.unlock() {
            tracing::debug!(%error, "the lock of the database is released by the end of the process instead");
        }
    }
}

fn lock_path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}
