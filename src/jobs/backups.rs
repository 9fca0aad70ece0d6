//! Looks which backup is the newest: those of the command line are made without a word to this process.

use std::sync::Arc;

use super::Turns;
use crate::store::backup::BackupFolder;

/// Looks at each nudge, on a thread that may wait for the disk.
pub async fn look(folder: Arc<BackupFolder>, turns: Turns) {
    while turns.next().await {
        let folder = Arc::clone(&folder);
        let looked = tokio::task::spawn_blocking(move || folder.look());
        if turns.run(looked, |()| "looked at: the folder of backups".to_owned()).await.is_none() {
            return;
        }
    }
}
