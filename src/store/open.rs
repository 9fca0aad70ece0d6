//! Opening: folder, lock, file, schema, connections, in this order; on a server the connection brings the lock.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use migrations::{Migrator, MigratorTrait};
use sea_orm::{Database, DatabaseConnection};

use super::dialect::postgres::{self, Opened};
use super::dialect::{Dialect, sqlite};
use super::integrity::Integrity;
use super::lock::ProcessLock;
use super::{Place, PostgresTarget, Store, StoreError, StoreOptions, StoreTarget};
use crate::telemetry::queries::QueryStats;

pub(super) async fn open(options: &StoreOptions) -> Result<Store, StoreError> {
    match &options.target {
        StoreTarget::Sqlite(path) => open_file(path.clone(), None, options).await,
        StoreTarget::Memory => {
            let folder = tempfile::tempdir().map_err(|e| {
                StoreError::Unavailable(format!("no temporary folder for the database can be made: {e}"))
            })?;
            open_file(folder.path().join("api-monitor.db"), Some(folder), options).await
        }
        StoreTarget::Postgres(target) => open_server(target, options).await,
    }
}

async fn open_file(
    path: PathBuf,
    temporary: Option<tempfile::TempDir>,
    options: &StoreOptions,
) -> Result<Store, StoreError> {
    create_folder(&path)?;
    let lock = ProcessLock::take(&path)?;
    let name = path.display().to_string();
    let about = |error: StoreError| named(&name, error);
    let dialect = Dialect::sqlite();
    let connect = async |options| Database::connect(options).await.map_err(|e| about(e.into()));
    let mut writer = connect(sqlite::writer_options(&path, options.echo)).await?;
    let queries = Arc::default();
    count(&mut writer, &queries);
    let created = migrate(&dialect, &writer, &name).await?;
    let mut readers = connect(sqlite::reader_options(&path, options.readers, options.echo)).await?;
    count(&mut readers, &queries);
    let place = Place::File(path);
    let in_doubt = !lock.was_closed() && !created;
    lock.note_open();
    let integrity = Mutex::new(if in_doubt { Integrity::Doubtful } else { Integrity::Sound });
    Ok(Store { writer, readers, dialect, lock: Some(lock), place, created, integrity, queries, _temporary: temporary })
}

async fn open_server(target: &PostgresTarget, options: &StoreOptions) -> Result<Store, StoreError> {
    let place = target.place.to_string();
    let opened = postgres::open(&target.place, options.readers, options.echo, target.pre_ping).await;
    let Opened { server, mut writer, mut readers } = opened.map_err(|error| named(&place, error))?;
    let queries = Arc::default();
    count(&mut writer, &queries);
    count(&mut readers, &queries);
    let dialect = Dialect::Postgres(Box::new(server));
    let created = migrate(&dialect, &writer, &place).await?;
    // The server mends itself after a crash.
    let integrity = Mutex::new(Integrity::Sound);
    let place = Place::Server(place);
    Ok(Store { writer, readers, dialect, lock: None, place, created, integrity, queries, _temporary: None })
}

/// Reports what goes through a connection, and through the transactions begun on it.
fn count(connection: &mut DatabaseConnection, queries: &Arc<QueryStats>) {
    let queries = queries.clone();
    connection.set_metric_callback(move |info| queries.record(&info.statement.sql, info.elapsed, info.failed));
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

/// Brings the schema up to date, wholly or not at all; says whether there was none.
pub(super) async fn migrate(dialect: &Dialect, writer: &DatabaseConnection, place: &str) -> Result<bool, StoreError> {
    let about = |error: sea_orm::DbErr| named(place, error.into());
    let transaction = dialect.begin(writer, false).await.map_err(|error| named(place, error))?;
    let known: HashSet<String> = Migrator::migrations().iter().map(|m| m.name().to_owned()).collect();
    let applied = Migrator::get_migration_models(&transaction).await.map_err(about)?;
    if let Some(unknown) = applied.iter().map(|m| &m.version).find(|name| !known.contains(*name)) {
        return Err(StoreError::Unavailable(format!(
            "the database {place} was written by a newer api-monitor (this version does not know its `{unknown}`): start the newer version, or restore a backup made with this one"
        )));
    }
    Migrator::up(&transaction, None).await.map_err(about)?;
    transaction.commit().await.map_err(about)?;
    Ok(applied.is_empty())
}

/// Names the database in an error of opening.
pub(super) fn named(place: &str, error: StoreError) -> StoreError {
    match error {
        StoreError::Unavailable(sentence) => StoreError::Unavailable(format!("{place}: {sentence}")),
        StoreError::Other(sentence) => StoreError::Other(format!("{place}: {sentence}")),
        other => other,
    }
}
