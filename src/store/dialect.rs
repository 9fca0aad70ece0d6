//! Everything that differs from database to database. At present there is `SQLite` alone.

use std::path::Path;
use std::time::Duration;

use sea_orm::sqlx::Error as SqlxError;
use sea_orm::sqlx::sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ConnectOptions, ConnectionTrait, DatabaseConnection, DbErr, RuntimeErr, SqliteTransactionMode, Statement,
    TransactionOptions,
};

/// Page cache of the writing connection and of each reader, KiB: the working set is the newest pages.
const WRITER_CACHE_KIB: u32 = 4_000;
const READER_CACHE_KIB: u32 = 2_000;
/// Prepared statements kept by a connection. Multi-row inserts come in a few sizes (`history::append`).
const STATEMENTS: usize = 48;
/// How long a statement waits for a lock, and a caller for a connection.
const BUSY: Duration = Duration::from_secs(5);
const ACQUIRE: Duration = Duration::from_secs(10);
/// Idle readers are closed, and their caches with them.
const READER_IDLE: Duration = Duration::from_mins(5);

/// The one connection that writes; it creates the file.
pub(super) fn writer_options(path: &Path, echo: bool) -> ConnectOptions {
    let mut options = base_options(path, echo, |sqlite| {
        sqlite
            .create_if_missing(true)
            .auto_vacuum(SqliteAutoVacuum::Incremental)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .pragma("cache_size", format!("-{WRITER_CACHE_KIB}"))
            .pragma("wal_autocheckpoint", "1000")
            .pragma("journal_size_limit", "16777216")
            .optimize_on_close(true, 400)
    });
    options.max_connections(1).min_connections(1);
    options
}

/// The pool of connections that can only read.
pub(super) fn reader_options(path: &Path, readers: u32, echo: bool) -> ConnectOptions {
    let mut options = base_options(path, echo, |sqlite| {
        sqlite.create_if_missing(false).read_only(true).pragma("cache_size", format!("-{READER_CACHE_KIB}"))
    });
    options.max_connections(readers.max(1)).min_connections(1).idle_timeout(READER_IDLE);
    options
}

fn base_options(
    path: &Path,
    echo: bool,
    refine: impl Fn(SqliteConnectOptions) -> SqliteConnectOptions + Send + Sync + 'static,
) -> ConnectOptions {
    let path = path.to_owned();
    // The path goes in by `filename`: within a URL its special characters would need escapes.
    let mut options = ConnectOptions::new("sqlite::memory:");
    options
        .sqlx_logging(echo)
        .test_before_acquire(false)
        .acquire_timeout(ACQUIRE)
        .connect_timeout(ACQUIRE)
        .map_sqlx_sqlite_opts(move |sqlite| {
            refine(
                sqlite
                    .in_memory(false)
                    .shared_cache(false)
                    .filename(&path)
                    .busy_timeout(BUSY)
                    .foreign_keys(true)
                    .pragma("temp_store", "MEMORY")
                    .statement_cache_capacity(STATEMENTS),
            )
        });
    options
}

/// A transaction that writes: it takes its lock at once, so it cannot fail half-way for want of it.
pub(super) fn write_transaction() -> TransactionOptions {
    TransactionOptions { sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate), ..Default::default() }
}

/// A transaction whose queries all see the same state: what any transaction does under the WAL of `SQLite`.
pub(super) fn snapshot_transaction() -> TransactionOptions {
    TransactionOptions { sqlite_transaction_mode: Some(SqliteTransactionMode::Deferred), ..Default::default() }
}

/// Gives the planner its statistics and empties the journal into the database file.
pub(super) async fn settle(writer: &DatabaseConnection) -> Result<(), DbErr> {
    for sql in ["PRAGMA optimize", "PRAGMA incremental_vacuum(1000)", "PRAGMA wal_checkpoint(TRUNCATE)"] {
        writer.execute_unprepared(sql).await?;
    }
    Ok(())
}

/// The last id that the database itself gave to a row of a table, though the row be gone; 0 without any.
pub(super) async fn last_given_id(db: &impl ConnectionTrait, table: &str, _column: &str) -> Result<i64, DbErr> {
    let backend = db.get_database_backend();
    let sql = "SELECT seq FROM sqlite_sequence WHERE name = ?";
    let row = db.query_one_raw(Statement::from_sql_and_values(backend, sql, [table.into()])).await?;
    row.map_or(Ok(0), |row| row.try_get("", "seq"))
}

/// Lets [`last_given_id`] know of an id that was chosen by us. `SQLite` sees for itself.
#[expect(clippy::unused_async, reason = "another database has to be told")]
pub(super) async fn note_given_id(
    _db: &impl ConnectionTrait,
    _table: &str,
    _column: &str,
    _id: i64,
) -> Result<(), DbErr> {
    Ok(())
}

/// A sentence for a trouble of the database or its disk; `None` when the statement itself was at fault.
pub(super) fn trouble(error: &DbErr) -> Option<String> {
    let (DbErr::Conn(RuntimeErr::SqlxError(cause))
    | DbErr::Exec(RuntimeErr::SqlxError(cause))
    | DbErr::Query(RuntimeErr::SqlxError(cause))) = error
    else {
        return None;
    };
    match cause.as_ref() {
        SqlxError::Database(database) => {
            // The low byte of an extended result code is the primary one: https://sqlite.org/rescode.html
            let code = database.code()?.parse::<u32>().ok()? & 0xff;
            let sentence = match code {
                5 | 6 => "the database is locked by another process",
                8 => "the database is read-only: make the file and its folder writable for this user",
                10 => "the disk of the database reports an error: check the disk and its mount",
                11 => "the database file is damaged: restore it from a backup",
                13 => "the disk of the database is full: free some space",
                14 => "the database file cannot be opened: check that its folder exists and is writable for this user",
                23 => "access to the database file was refused",
                26 => "the file is not an SQLite database: point `database` at another file, or move this one away",
                _ => return None,
            };
            Some(sentence.to_owned())
        }
        SqlxError::Io(io) => Some(format!("the database cannot be reached: {io}")),
        SqlxError::PoolTimedOut => Some("the database is busy: no connection became free in time".to_owned()),
        SqlxError::PoolClosed | SqlxError::WorkerCrashed => Some("the database is closed".to_owned()),
        _ => None,
    }
}
