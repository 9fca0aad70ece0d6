//! The database: tables, queries and the connections to it.
//!
//! Functions are grouped by table and take any connection, so the caller owns the transaction. Entities stay in
//! here; what goes in and comes out are types of [`domain`](crate::domain) and the plain structs of each module.
//! There is one writing connection and a pool of readers, and one process a database.
//! No rule of monitoring is decided here, and nothing here knows who asks.

pub mod alert_rules;
pub mod api_keys;
pub mod audit;
pub mod backup;
mod beside;
pub mod certificates;
pub mod channels;
mod deadline;
mod decode;
mod dialect;
pub mod endpoints;
mod entities;
mod error;
pub mod groups;
pub mod history;
pub mod incidents;
mod integrity;
mod lock;
pub mod maintenance_windows;
mod open;
pub mod outbox;
mod outgoing;
pub mod recount;
pub mod rollups;
mod schema;
pub mod sessions;
pub mod settings;
pub mod silences;
pub mod states;
pub mod windows;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub use beside::Beside;
pub use deadline::within;
use dialect::{postgres, sqlite};
pub use error::StoreError;
pub use integrity::Integrity;
use lock::ProcessLock;
pub use outgoing::Outgoing;
use sea_orm::Statement;
pub use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction};

use crate::config::PostgresConfig;
use crate::telemetry::queries::QueryStats;

/// How long closing may take: a server that is away does not hold up the end of the process.
const CLOSE: std::time::Duration = std::time::Duration::from_secs(5);

/// Where the data is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreTarget {
    /// A file, created with its folder when missing.
    Sqlite(PathBuf),
    /// Nothing is kept: a file in a temporary folder that goes with the [`Store`].
    Memory,
    /// A database on a server, which is there already.
    Postgres(PostgresTarget),
}

/// A database on a PostgreSQL server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresTarget {
    pub place: Box<PostgresConfig>,
    /// Try a connection before it is used, so that one which the server has closed is noticed in time.
    pub pre_ping: bool,
}

/// How the database is opened.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    pub target: StoreTarget,
    /// The most connections for reading, at least 1.
    pub readers: u32,
    /// Log every statement.
    pub echo: bool,
}

#[derive(Debug)]
enum Place {
    File(PathBuf),
    /// As it is shown, without the password.
    Server(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Server(place) => place.fmt(f),
        }
    }
}

/// The open database.
#[derive(Debug)]
pub struct Store {
    writer: DatabaseConnection,
    readers: DatabaseConnection,
    dialect: dialect::Dialect,
    /// Where the database is a file; on a server the writing session is the lock.
    lock: Option<ProcessLock>,
    place: Place,
    created: bool,
    integrity: Mutex<Integrity>,
    queries: Arc<QueryStats>,
    /// The folder of a [`StoreTarget::Memory`], removed with the store.
    _temporary: Option<tempfile::TempDir>,
}

/// The version of the `SQLite` in this program, whichever database is used.
pub async fn sqlite_version() -> Result<String, StoreError> {
    Ok(dialect::sqlite::library_version().await?)
}

impl Store {
    /// Opens the database, creates what is missing, and brings the schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] with one sentence that says what to do: the folder cannot be written, another
    /// process has the database, the file is something else, the schema is newer than this program.
    pub async fn open(options: &StoreOptions) -> Result<Self, StoreError> {
        open::open(options).await
    }

    /// What the database was asked since it was opened.
    pub fn queries(&self) -> Arc<QueryStats> {
        self.queries.clone()
    }

    /// The connection that writes. There is one: whoever holds a transaction on it keeps all other writers waiting.
    pub fn writer(&self) -> &DatabaseConnection {
        &self.writer
    }

    /// The connections that read, at any time, beside the writer.
    pub fn readers(&self) -> &DatabaseConnection {
        &self.readers
    }

    /// Begins a writing transaction; dropped without `commit` it is rolled back. When the machine of the database
    /// loses its power, the commits of its last second may be lost, the older ones first kept.
    pub async fn begin(&self) -> Result<DatabaseTransaction, StoreError> {
        self.dialect.begin(&self.writer, false).await
    }

    /// Begins a writing transaction whose commit waits for the disk: nothing takes it back.
    pub async fn begin_durable(&self) -> Result<DatabaseTransaction, StoreError> {
        self.dialect.begin(&self.writer, true).await
    }

    /// Which of the sessions that wrote, counted from the opening, has begun the newest transaction. With another one what
    /// was committed last may be gone, unless its commit waited for the disk.
    pub fn writing_session(&self) -> u64 {
        self.dialect.writing_sessions()
    }

    /// Begins a reading transaction whose queries all see the same state.
    pub async fn snapshot(&self) -> Result<DatabaseTransaction, StoreError> {
        self.dialect.snapshot(&self.readers).await
    }

    /// Whether this opening created the database.
    pub fn was_created(&self) -> bool {
        self.created
    }

    /// Where the database is, without the password: a file, or `postgresql://user@host:5432/name`.
    pub fn place(&self) -> String {
        self.place.to_string()
    }

    /// The file of the database, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::File(path) => Some(path),
            Place::Server(_) => None,
        }
    }

    /// `sqlite` or `postgresql`.
    pub fn kind(&self) -> &'static str {
        self.dialect.name()
    }

    /// The version of `SQLite`, or of the server.
    pub async fn version(&self) -> Result<String, StoreError> {
        self.dialect.version(&self.readers).await
    }

    /// Reads something from the database.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let backend = self.readers.get_database_backend();
        let statement = Statement::from_string(backend, "SELECT version FROM seaql_migrations");
        match self.readers.query_one_raw(statement).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.dialect.explain_reader(error).await),
        }
    }

    /// Bytes that the database takes on the disk; of a file with what is not yet moved into it.
    pub async fn size(&self) -> Result<u64, StoreError> {
        match self.path() {
            Some(path) => sqlite::bytes(path).map_err(|error| StoreError::Unavailable(error.to_string())),
            None => match postgres::bytes(&self.readers).await {
                Ok(bytes) => Ok(bytes),
                Err(error) => Err(self.dialect.explain_reader(error).await),
            },
        }
    }

    /// What is known of the wholeness of the database.
    pub fn integrity(&self) -> Integrity {
        self.integrity.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Examines the database, beside everything else that goes on, and remembers what was found. `enough` is asked
    /// now and then whether to give up; then it stays in doubt and this is an error.
    pub async fn examine(&self, enough: impl FnMut() -> bool + Send + 'static) -> Result<Integrity, StoreError> {
        let Some(path) = self.path() else { return Ok(Integrity::Sound) };
        let found = match integrity::examine(path, integrity::Depth::Quick, enough).await?.into_iter().next() {
            None => Integrity::Sound,
            Some(finding) => Integrity::Damaged(finding),
        };
        self.integrity.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&found);
        Ok(found)
    }

    /// Leaves a tidy database behind and closes all connections; afterwards another process may open it.
    pub async fn close(&self) -> Result<(), StoreError> {
        let in_time = tokio::time::timeout(CLOSE, async {
            self.readers.close_by_ref().await?;
            let settled = self.dialect.settle(&self.writer).await;
            self.writer.close_by_ref().await?;
            Ok(settled?)
        });
        let closed = in_time.await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable("the database did not answer when it was to be closed".to_owned()))
        });
        if let Some(lock) = &self.lock {
            // One in doubt is examined at the next start, however this process ends.
            if closed.is_ok() && self.integrity() == Integrity::Sound {
                lock.forget_the_past();
            }
            lock.release();
        }
        closed
    }
}
