//! Which schema a database has, found out without changing anything.

use migrations::{Migrator, MigratorTrait};
use sea_orm::sea_query::{Alias, Order, Query};
use sea_orm::{ConnectionTrait, DbErr, RuntimeErr};

use super::StoreError;

/// A schema compared with the one of this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Schema {
    Current,
    /// Migrations of this program are missing, as every database has it after an update until the next start.
    Older,
    /// It has a migration that this program does not know.
    Newer(String),
}

/// The names of the migrations of this program, oldest first.
pub(super) fn known() -> Vec<String> {
    Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect()
}

/// Compares the applied migrations, oldest first, with those of this program.
pub(super) fn compare(applied: &[String]) -> Schema {
    let known = known();
    match applied.iter().find(|name| !known.contains(name)) {
        Some(unknown) => Schema::Newer(unknown.clone()),
        None if applied.len() < known.len() => Schema::Older,
        None => Schema::Current,
    }
}

/// The migrations that were applied to a database, oldest first; `None` when it is not one of api-monitor.
pub(super) async fn applied(db: &impl ConnectionTrait) -> Result<Option<Vec<String>>, DbErr> {
    let version = Alias::new("version");
    let query = Query::select()
        .column(version.clone())
        .from(Alias::new("seaql_migrations"))
        .order_by(version, Order::Asc)
        .to_owned();
    match db.query_all(&query).await {
        Ok(rows) => Ok(Some(rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, DbErr>>()?)),
        Err(error) if is_missing_table(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What to do about something that a newer version wrote.
pub(super) fn newer(what: &str, unknown: &str) -> StoreError {
    StoreError::Unavailable(format!(
        "{what} was written by a newer api-monitor (this version does not know its `{unknown}`): use the newer version"
    ))
}

fn is_missing_table(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause))) = error else {
        return false;
    };
    let Some(database) = cause.as_database_error() else { return false };
    // PostgreSQL has a code of its own for it, SQLite only words.
    database.code().is_some_and(|code| code == "42P01") || database.message().starts_with("no such table")
}
