//! PostgreSQL: one session that writes, which holds the lock of the monitor, and a pool of sessions that read.
//!
//! The lock is an advisory lock of the writing session itself, so whoever writes has it: a session that was lost
//! took the lock along, and the next one writes only when it has it again. See `docs/decisions/0005-postgresql.md`.

use std::fmt;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sea_orm::sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgSslMode};
use sea_orm::sqlx::{self, ConnectOptions, Connection, Error as SqlxError, Executor};
use sea_orm::{
    AccessMode, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, IsolationLevel, SqlxPostgresConnector,
    Statement, TransactionOptions, TransactionTrait,
};
use tracing::log::LevelFilter;

use super::{NO_CONNECTION, is_timeout, trouble_of};
use crate::config::{PostgresConfig, TlsMode};
use crate::store::StoreError;

/// How long a reader, and a writer, may wait for a connection, which within it is tried again and again.
const READER_ACQUIRE: Duration = Duration::from_secs(2);
const WRITER_ACQUIRE: Duration = Duration::from_secs(4);
/// How long it may take to find out why there was none.
const EXPLAIN: Duration = Duration::from_secs(1);
/// How long a server may take to answer nothing.
const PING: Duration = Duration::from_secs(3);
/// Between two attempts to take the lock: the server may need a moment to see that our last session is gone.
const LOCK_PAUSE: Duration = Duration::from_millis(100);
/// Idle readers are closed, and their processes on the server with them.
const READER_IDLE: Duration = Duration::from_mins(5);
/// Prepared statements kept by a connection. Multi-row inserts come in a few sizes (`history::append`).
const STATEMENTS: usize = 48;

/// The first half of the lock's key, `apmo`; the second is the schema. Other advisory locks do not meet it.
const LOCK_CLASS: i32 = 0x6170_6d6f;

/// Of each session that writes. Plain results need not wait for the disk; the server notices within half a minute
/// when this machine is gone, and lets another have the lock; nobody's lock on a table holds everything up.
const WRITER_SESSION: &str = "SET synchronous_commit = off; SET tcp_keepalives_idle = 10; \
                              SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; SET lock_timeout = '5s'";
const READER_SESSION: &str = "SET default_transaction_read_only = on; SET tcp_keepalives_idle = 10; \
                              SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; SET lock_timeout = '5s'";

/// The oldest version whose SQL is used here.
const OLDEST: i32 = 120_000;

/// What is known of the server.
pub(in crate::store) struct Server {
    options: PgConnectOptions,
    lock: Arc<LockState>,
}

/// Without the options, which hold the password.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("lock", &self.lock).finish_non_exhaustive()
    }
}

/// Why the writing session does not have the lock, while it does not.
#[derive(Debug, Default)]
struct LockState {
    refusal: Mutex<Option<String>>,
    /// How often the lock was taken: the sessions that wrote.
    sessions: AtomicU64,
}

impl LockState {
    fn set(&self, refusal: Option<String>) {
        if refusal.is_none() {
            self.sessions.fetch_add(1, Ordering::Relaxed);
        }
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = refusal;
    }

    fn refusal(&self) -> Option<String> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Server {
    /// Counts the sessions that wrote, the present one included.
    pub(super) fn sessions(&self) -> u64 {
        self.lock.sessions.load(Ordering::Relaxed)
    }
}

/// The three that come of opening.
pub(in crate::store) struct Opened {
    pub(in crate::store) server: Server,
    pub(in crate::store) writer: DatabaseConnection,
    pub(in crate::store) readers: DatabaseConnection,
}

/// Connects, takes the lock, and prepares the pool of at most `readers`.
pub(in crate::store) async fn open(
    config: &PostgresConfig,
    readers: u32,
    echo: bool,
    pre_ping: bool,
) -> Result<Opened, StoreError> {
    let options = connect_options(config, echo);
    let server = Server { options: options.clone(), lock: Arc::default() };
    let writer = match writer_pool(&server, pre_ping).await {
        Ok(pool) => pool,
        Err(error) => {
            return Err(server.explain_writer(DbErr::Conn(sea_orm::RuntimeErr::SqlxError(error.into()))).await);
        }
    };
    check_server(&writer).await?;
    let readers = reader_pool(options, readers, pre_ping);
    Ok(Opened { server, writer: SqlxPostgresConnector::from_sqlx_postgres_pool(writer), readers })
}

/// A pool of at most `readers` that reads beside whoever has the lock.
pub(in crate::store) fn open_beside(config: &PostgresConfig, readers: u32, echo: bool) -> (Server, DatabaseConnection) {
    let options = connect_options(config, echo);
    let pool = reader_pool(options.clone(), readers, false);
    (Server { options, lock: Arc::default() }, pool)
}

/// Their first connection is made when it is needed.
fn reader_pool(options: PgConnectOptions, readers: u32, pre_ping: bool) -> DatabaseConnection {
    let pool = pool_options(pre_ping)
        .max_connections(readers.max(1))
        .acquire_timeout(READER_ACQUIRE)
        .idle_timeout(READER_IDLE)
        .after_connect(|connection, _| Box::pin(async move { connection.execute(READER_SESSION).await.map(drop) }))
        .connect_lazy_with(options);
    SqlxPostgresConnector::from_sqlx_postgres_pool(pool)
}

fn connect_options(config: &PostgresConfig, echo: bool) -> PgConnectOptions {
    // Whatever has a value here is not taken from the variables of libpq.
    let mut options = PgConnectOptions::new_without_pgpass()
        .port(config.port)
        .database(&config.name)
        .application_name("api-monitor")
        .statement_cache_capacity(STATEMENTS)
        // No number with a fraction is stored, and poolers refuse what they do not know.
        .extra_float_digits(None)
        .ssl_mode(match config.tls {
            TlsMode::Disable => PgSslMode::Disable,
            TlsMode::Prefer => PgSslMode::Prefer,
            TlsMode::Require => PgSslMode::Require,
            TlsMode::VerifyCa => PgSslMode::VerifyCa,
            TlsMode::VerifyFull => PgSslMode::VerifyFull,
        });
    options = if config.host.starts_with('/') { options.socket(&config.host) } else { options.host(&config.host) };
    if let Some(user) = &config.user {
        options = options.username(user);
    }
    if let Some(password) = &config.password {
        options = options.password(password.expose());
    }
    if let Some(file) = &config.root_certificate {
        options = options.ssl_root_cert(file);
    }
    if let (Some(certificate), Some(key)) = (&config.client_certificate, &config.client_key) {
        options = options.ssl_client_cert(certificate).ssl_client_key(key);
    }
    if !config.settings.is_empty() {
        options = options.options(config.settings.iter().map(|(name, value)| (name, value)));
    }
    if echo { options.log_statements(LevelFilter::Debug) } else { options.disable_statement_logging() }
}

fn pool_options(pre_ping: bool) -> PgPoolOptions {
    PgPoolOptions::new().min_connections(0).max_lifetime(None).test_before_acquire(pre_ping).after_release(
        // Before the pool's own test, which waits for ever for a server that stands still.
        |connection, _| {
            Box::pin(async move {
                tokio::time::timeout(PING, connection.ping()).await.map_err(|_| SqlxError::PoolTimedOut)?.map(|()| true)
            })
        },
    )
}

/// The pool of the one connection that writes; it is opened here.
async fn writer_pool(server: &Server, pre_ping: bool) -> Result<PgPool, SqlxError> {
    let lock = server.lock.clone();
    pool_options(pre_ping)
        .max_connections(1)
        .acquire_timeout(WRITER_ACQUIRE)
        // Its session is the lock, which is not to be let go.
        .idle_timeout(None)
        .after_connect(move |connection, _| {
            let lock = lock.clone();
            Box::pin(async move {
                connection.execute(WRITER_SESSION).await?;
                take_lock(connection, &lock).await
            })
        })
        .connect_with(server.options.clone())
        .await
}

/// Waits for the lock for as long as a connection may be waited for.
async fn take_lock(connection: &mut PgConnection, lock: &LockState) -> Result<(), SqlxError> {
    loop {
        let taken: bool =
            sqlx::query_scalar("SELECT pg_try_advisory_lock($1, hashtext(coalesce(current_schema(), '')))")
                .bind(LOCK_CLASS)
                .fetch_one(&mut *connection)
                .await?;
        if taken {
            lock.set(None);
            return Ok(());
        }
        let holder = holder(connection).await.unwrap_or_default();
        lock.set(Some(format!(
            "it is in use by another api-monitor{holder}: stop that process, or give this one a database of its own"
        )));
        tokio::time::sleep(LOCK_PAUSE).await;
    }
}

/// Who has the lock, as far as the server tells.
async fn holder(connection: &mut PgConnection) -> Option<String> {
    let (pid, address): (i32, Option<String>) = sqlx::query_as(
        "SELECT a.pid, host(a.client_addr) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
         WHERE l.locktype = 'advisory' AND l.granted AND l.classid = $1::bigint::oid \
         AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
         AND l.objid = (hashtext(coalesce(current_schema(), ''))::bigint & 4294967295)::oid LIMIT 1",
    )
    .bind(i64::from(LOCK_CLASS))
    .fetch_optional(connection)
    .await
    .ok()??;
    Some(match address {
        Some(address) => format!(" (session {pid}, from {address})"),
        None => format!(" (session {pid})"),
    })
}

/// Refuses a server on which not everything would work.
async fn check_server(writer: &PgPool) -> Result<(), StoreError> {
    let failed = |error: SqlxError| StoreError::from(DbErr::Query(sea_orm::RuntimeErr::SqlxError(error.into())));
    let (version, encoding): (i32, String) =
        sqlx::query_as("SELECT current_setting('server_version_num')::int, current_setting('server_encoding')")
            .fetch_one(writer)
            .await
            .map_err(failed)?;
    if version < OLDEST {
        return Err(StoreError::Unavailable(format!(
            "the server is PostgreSQL {}, and at least {} is needed: upgrade it",
            version / 10_000,
            OLDEST / 10_000
        )));
    }
    if encoding != "UTF8" {
        return Err(StoreError::Unavailable(format!(
            "its encoding is {encoding}, which cannot hold every text: make one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )));
    }
    Ok(())
}

impl Server {
    /// What is the matter when a statement, or the way to it, failed.
    pub(super) async fn explain(&self, error: DbErr) -> StoreError {
        if is_timeout(&error) { StoreError::Unavailable(self.diagnose().await) } else { error.into() }
    }

    /// As [`explain`](Self::explain), for the connection that writes, which may lack the lock.
    pub(super) async fn explain_writer(&self, error: DbErr) -> StoreError {
        match self.lock.refusal().filter(|_| is_timeout(&error)) {
            Some(refusal) => StoreError::Unavailable(refusal),
            None => self.explain(error).await,
        }
    }

    /// The pool tries again what may pass, and in the end says that its time is over: here is what it met.
    async fn diagnose(&self) -> String {
        match tokio::time::timeout(EXPLAIN, PgConnection::connect_with(&self.options)).await {
            Ok(Ok(connection)) => {
                // It was only to see whether one can be had.
                drop(connection);
                NO_CONNECTION.to_owned()
            }
            Ok(Err(error)) => trouble_of(&error).unwrap_or_else(|| format!("the server refused: {error}")),
            Err(_) => {
                "the server does not answer: check that it runs, and the network and firewalls between".to_owned()
            }
        }
    }
}

pub(super) async fn begin(writer: &DatabaseConnection, durable: bool) -> Result<DatabaseTransaction, DbErr> {
    let transaction = writer.begin().await?;
    if durable {
        transaction.execute_unprepared("SET LOCAL synchronous_commit = on").await?;
    }
    Ok(transaction)
}

pub(super) fn snapshot_transaction() -> TransactionOptions {
    TransactionOptions {
        isolation_level: Some(IsolationLevel::RepeatableRead),
        access_mode: Some(AccessMode::ReadOnly),
        ..Default::default()
    }
}

/// A sentence for a trouble that the SQLSTATE of an error names; `None` when the statement itself was at fault.
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
pub(super) fn trouble(code: &str, message: &str) -> Option<String> {
    let sentence = match code {
        "28P01" => "the server refuses the user or the password in database.url (DATABASE_URL): correct them",
        "28000" if message.contains("no encryption") || message.contains("SSL off") => {
            "the server does not let this user in without TLS: add ?sslmode=require to database.url"
        }
        "28000" if message.contains("does not exist") => {
            "the server has no such user: make it with CREATE ROLE name LOGIN PASSWORD '…', or correct database.url"
        }
        "28000" => "the server does not let this user in from here: correct database.url, or the server's pg_hba.conf",
        "3D000" => {
            "the server has no such database: make it with CREATE DATABASE name OWNER user, or correct database.url"
        }
        "3F000" => "there is no schema to make tables in: make it with CREATE SCHEMA, or correct search_path",
        "42501" => {
            "the user of database.url may not do this: make it the owner of the database, or \
             GRANT USAGE, CREATE ON SCHEMA public TO it"
        }
        "53100" => "the disk of the server is full: free some space",
        "53200" => "the server is out of memory",
        "53300" => {
            "the server has no connection left: raise its max_connections, or lower database.pool_size and \
             database.max_overflow"
        }
        "25006" => {
            "the database is read-only: point database.url at the primary server, or unset \
             default_transaction_read_only"
        }
        "55P03" => "another session holds a lock on a table of the monitor: end that session",
        "57P01" | "57P02" => "the server is shutting down",
        "57P03" => "the server is starting up or shutting down",
        "57014" => "the server cut the statement off: raise its statement_timeout for this user",
        "58030" => "the server cannot read or write its files: check its disk and its log",
        "XX001" | "XX002" => "the database is damaged: see the server's log, and restore it from a backup",
        "42P01" => "a table of the monitor is not there: something else is changing the schema",
        "25P02" | "XX000" => "the server has a trouble of its own: see its log",
        code if code.starts_with("08") => "the connection to the server was lost",
        code if code.starts_with("40") => "the server undid the transaction because of another session",
        code if code.starts_with("57P") || code.starts_with("53") => {
            return Some(format!("the server cannot do it now: {message}"));
        }
        _ => return None,
    };
    Some(sentence.to_owned())
}

/// A sentence for a connection that cannot be made, or broke.
pub(super) fn connection_trouble(error: &std::io::Error) -> String {
    let text = error.to_string();
    let sentence = match error.kind() {
        ErrorKind::ConnectionRefused => {
            "nothing listens there: start PostgreSQL, or correct host and port in database.url (DATABASE_URL)"
        }
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::TimedOut => {
            "the server cannot be reached: check the host in database.url, and the network and firewalls between"
        }
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof => "the connection to the server was lost",
        ErrorKind::NotFound => {
            "a file that database.url names is not there: the folder of the socket, or a certificate"
        }
        // The certificate of the server, as rustls tells it.
        ErrorKind::InvalidData => return tls_trouble(error),
        _ if text.contains("lookup address") => {
            return format!("the host in database.url cannot be found: correct it, or check the DNS ({text})");
        }
        _ => return format!("the server cannot be reached: {text}"),
    };
    sentence.to_owned()
}

pub(super) fn tls_trouble(error: &(dyn std::error::Error + Send + Sync)) -> String {
    let text = error.to_string();
    if text.contains("does not support TLS") {
        return "the server has no TLS: turn it on there, or set ?sslmode=prefer or disable in database.url".to_owned();
    }
    format!(
        "TLS with the server failed ({text}): name its CA by ?sslrootcert=FILE in database.url, or do without the \
         check by ?sslmode=require"
    )
}
/// Bytes of all tables and indexes of the database.
pub(in crate::store) async fn bytes(db: &DatabaseConnection) -> Result<u64, DbErr> {
    let sql = "SELECT pg_database_size(current_database()) AS bytes";
    let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await?;
    let bytes: i64 = row.map_or(Ok(0), |row| row.try_get("", "bytes"))?;
    Ok(u64::try_from(bytes).unwrap_or_default())
}
