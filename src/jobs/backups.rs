//! Looks which backup is the newest: those of the command line are made without a word to this process.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::store::backup::BackupFolder;
use crate::wakeup::Wakeup;

/// Looks at each nudge, on a thread that may wait for the disk.
pub async fn look(folder: Arc<BackupFolder>, nudged: Wakeup, stopping: CancellationToken) {
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = nudged.wait() => {}
        }
        let folder = Arc::clone(&folder);
        let looked = tokio::task::spawn_blocking(move || folder.look());
        tokio::select! {
            () = stopping.cancelled() => return,
            looked = looked => drop(looked),
        }
    }
}
