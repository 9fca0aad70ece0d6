//! `SQLite`: a file, a writer and readers beside it by the WAL.

use std::path::Path;
use std::time::Duration;

use sea_orm::sqlx::sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::sqlx::{ConnectOptions as _, Connection};
use sea_orm::{
    ConnectOptions, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, SqliteTransactionMode,
    TransactionOptions, TransactionTrait,
};
use tokio::sync::Mutex;

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
pub(in crate::store) fn writer_options(path: &Path, echo: bool) -> ConnectOptions {
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
    options.max_connections(1).min_connections(1).map_sqlx_sqlite_pool_opts(|pool| {
        // A transaction that SQLite ended by itself, as it does when the disk is full, is still open to the driver, and
        // every later one would fail: such a connection is replaced.
        pool.after_release(|connection, _| {
            Box::pin(async move {
                // Behind the rollback, which may only be queued.
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        })
    });
    options
}

/// The connection that fills a new file, which is thrown away unless it is filled wholly.
pub(in crate::store) fn loading_options(path: &Path, echo: bool) -> ConnectOptions {
    let mut options = base_options(path, echo, |sqlite| {
        sqlite
            .create_if_missing(true)
            .auto_vacuum(SqliteAutoVacuum::Incremental)
            .journal_mode(SqliteJournalMode::Off)
            .synchronous(SqliteSynchronous::Off)
            .pragma("cache_size", format!("-{WRITER_CACHE_KIB}"))
    });
    options.max_connections(1).min_connections(1);
    options
}

/// The pool of connections that can only read.
pub(in crate::store) fn reader_options(path: &Path, readers: u32, echo: bool) -> ConnectOptions {
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

/// The version of the library in this program.
pub(in crate::store) async fn library_version() -> Result<String, DbErr> {
    let trouble = |error: sea_orm::sqlx::Error| DbErr::Query(sea_orm::RuntimeErr::SqlxError(error.into()));
    let mut connection = SqliteConnectOptions::new().in_memory(true).connect().await.map_err(trouble)?;
    let version = sea_orm::sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut connection).await;
    connection.close().await.map_err(trouble)?;
    version.map_err(trouble)
}

/// Whether the writing connection was left waiting for the disk at each commit.
#[derive(Debug, Default)]
pub(in crate::store) struct Durability(Mutex<bool>);

impl Durability {
    /// Begins a transaction that writes. It takes its lock at once, so it cannot fail half-way for want of it.
    /// `durable`: the commit waits until the disk has it; else a loss of power may take the last commits back.
    pub(super) async fn begin(&self, writer: &DatabaseConnection, durable: bool) -> Result<DatabaseTransaction, DbErr> {
        // Nobody changes the setting between this and the beginning, within which it cannot be changed.
        let mut waits = self.0.lock().await;
        if durable || *waits {
            // Before the statement, whose end may never be seen here.
            *waits = true;
            let level = if durable { "FULL" } else { "NORMAL" };
            writer.execute_unprepared(&format!("PRAGMA synchronous = {level}")).await?;
            *waits = durable;
        }
        let mode = Some(SqliteTransactionMode::Immediate);
        writer.begin_with_options(TransactionOptions { sqlite_transaction_mode: mode, ..Default::default() }).await
    }
}

/// A transaction whose queries all see the same state: what any transaction does under the WAL of `SQLite`.
pub(super) fn snapshot_transaction() -> TransactionOptions {
    TransactionOptions { sqlite_transaction_mode: Some(SqliteTransactionMode::Deferred), ..Default::default() }
}

/// Gives the planner its statistics and empties the journal into the database file.
pub(in crate::store) async fn settle(writer: &DatabaseConnection) -> Result<(), DbErr> {
    for sql in ["PRAGMA optimize", "PRAGMA incremental_vacuum(1000)", "PRAGMA wal_checkpoint(TRUNCATE)"] {
        writer.execute_unprepared(sql).await?;
    }
    Ok(())
}

/// Brings all changes from the journal into the database file.
pub(in crate::store) async fn empty_journal(writer: &DatabaseConnection) -> Result<(), DbErr> {
    writer.execute_unprepared("PRAGMA wal_checkpoint(TRUNCATE)").await.map(drop)
}

/// A sentence for a trouble that the code of an error names; `None` when the statement itself was at fault.
pub(super) fn trouble(code: &str) -> Option<&'static str> {
    // The low byte of an extended result code is the primary one: https://sqlite.org/rescode.html
    let sentence = match code.parse::<u32>().ok()? & 0xff {
        5 | 6 => "the database is locked by another process",
        7 => "there is no memory left for the database",
        9 | 15 => "the database was interrupted",
        8 => "the database is read-only: make the file and its folder writable for this user",
        10 => "the disk of the database reports an error: check the disk and its mount",
        11 => "the database file is damaged: restore a backup with `api-monitor restore`",
        13 => "the disk of the database is full: free some space",
        14 => "the database file cannot be opened: check that its folder exists and is writable for this user",
        23 => "access to the database file was refused",
        26 => "the file is not an SQLite database: point `database` at another file, or move this one away",
        _ => return None,
    };
    Some(sentence)
}
/// Bytes of the file, and of the log beside it.
pub(in crate::store) fn bytes(path: &Path) -> std::io::Result<u64> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let of_log = std::fs::metadata(log).map_or(0, |metadata| metadata.len());
    Ok(std::fs::metadata(path)?.len() + of_log)
}
