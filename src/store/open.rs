//! Opening: folder, lock, file, schema, connections, in this order.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Mutex;

use migrations::{Migrator, MigratorTrait};
use sea_orm::{Database, DatabaseConnection, TransactionTrait};

use super::integrity::Integrity;
use super::lock::ProcessLock;
use super::{Store, StoreError, StoreOptions, StoreTarget, dialect};

pub(super) async fn open(options: &StoreOptions) -> Result<Store, StoreError> {
    let (path, temporary) = match &options.target {
        StoreTarget::Sqlite(path) => (path.clone(), None),
        StoreTarget::Memory => {
            let folder = tempfile::tempdir().map_err(|e| {
                StoreError::Unavailable(format!("no temporary folder for the database can be made: {e}"))
            })?;
            (folder.path().join("api-monitor.db"), Some(folder))
        }
    };
    create_folder(&path)?;
    let lock = ProcessLock::take(&path)?;
    let created = std::fs::metadata(&path).map_or(true, |file| file.len() == 0);
    let about = |error: StoreError| about_file(&path, error);
    let writer = Database::connect(dialect::writer_options(&path, options.echo)).await.map_err(|e| about(e.into()))?;
    migrate(&writer, &path).await?;
    let readers = Database::connect(dialect::reader_options(&path, options.readers, options.echo))
        .await
        .map_err(|e| about(e.into()))?;
    let integrity = if lock.was_closed() || created { Integrity::Sound } else { Integrity::Doubtful };
    lock.note_open();
    Ok(Store { writer, readers, lock, path, created, integrity: Mutex::new(integrity), _temporary: temporary })
}

pub(super) fn create_folder(path: &Path) -> Result<(), StoreError> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    std::fs::create_dir_all(folder).map_err(|e| {
        StoreError::Unavailable(format!(
            "the folder {} of the database cannot be created ({e}): make its parent writable for this user, or choose \
             another place with database.url or DATABASE_URL",
            folder.display()
        ))
    })
}

/// Brings the schema up to date, wholly or not at all.
pub(super) async fn migrate(writer: &DatabaseConnection, path: &Path) -> Result<(), StoreError> {
    let about = |error: sea_orm::DbErr| about_file(path, error.into());
    let transaction = writer.begin_with_options(dialect::write_transaction()).await.map_err(about)?;
    let known: HashSet<String> = Migrator::migrations().iter().map(|m| m.name().to_owned()).collect();
    let applied = Migrator::get_migration_models(&transaction).await.map_err(about)?;
    if let Some(unknown) = applied.iter().map(|m| &m.version).find(|name| !known.contains(*name)) {
        return Err(StoreError::Unavailable(format!(
            "the database {} was written by a newer api-monitor (this version does not know its `{unknown}`): start the newer version, or restore a backup made with this one",
            path.display()
        )));
    }
    Migrator::up(&transaction, None).await.map_err(about)?;
    transaction.commit().await.map_err(about)
}

/// Names the file in an error of opening.
pub(super) fn about_file(path: &Path, error: StoreError) -> StoreError {
    match error {
        StoreError::Unavailable(sentence) => StoreError::Unavailable(format!("{}: {sentence}", path.display())),
        StoreError::Other(sentence) => StoreError::Other(format!("{}: {sentence}", path.display())),
        other => other,
    }
}
