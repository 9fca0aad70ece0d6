//! One process a database: an advisory lock on a file beside it, released by the system however the process ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use super::StoreError;

/// The held lock of a database.
#[derive(Debug)]
pub(super) struct ProcessLock {
    file: File,
}

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
            Ok(()) => Ok(Self { file }),
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
