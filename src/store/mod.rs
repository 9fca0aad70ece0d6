//! The database: tables, queries and the connections to it.
//!
//! Functions are grouped by table and take any connection, so the caller owns the transaction. Entities stay in
//! here; what goes in and comes out are types of [`domain`](crate::domain) and the plain structs of each module.
//! There is one writing connection and a pool of readers, and one process a database.
//! No rule of monitoring is decided here, and nothing here knows who asks.

pub mod audit;
mod deadline;
mod decode;
mod dialect;
pub mod endpoints;
mod entities;
mod error;
pub mod history;
pub mod incidents;
mod lock;
mod open;
pub mod outbox;
pub mod recount;
pub mod rollups;
pub mod settings;
pub mod states;
pub mod windows;

use std::path::{Path, PathBuf};

pub use deadline::within;
pub use error::StoreError;
use lock::ProcessLock;
pub use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction};
use sea_orm::{Statement, TransactionTrait};

/// Where the data is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreTarget {
    /// A file, created with its folder when missing.
    Sqlite(PathBuf),
    /// Nothing is kept: a file in a temporary folder that goes with the [`Store`].
    Memory,
}

/// How the database is opened.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    pub target: StoreTarget,
    /// Connections for reading, at least 1.
    pub readers: u32,
    /// Log every statement.
    pub echo: bool,
}

/// The open database.
#[derive(Debug)]
pub struct Store {
    writer: DatabaseConnection,
    readers: DatabaseConnection,
    lock: ProcessLock,
    path: PathBuf,
    created: bool,
    /// The folder of a [`StoreTarget::Memory`], removed with the store.
    _temporary: Option<tempfile::TempDir>,
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

    /// The connection that writes. There is one: whoever holds a transaction on it keeps all other writers waiting.
    pub fn writer(&self) -> &DatabaseConnection {
        &self.writer
    }

    /// The connections that read, at any time, beside the writer.
    pub fn readers(&self) -> &DatabaseConnection {
        &self.readers
    }

    /// Begins a writing transaction; dropped without `commit` it is rolled back.
    pub async fn begin(&self) -> Result<DatabaseTransaction, StoreError> {
        Ok(self.writer.begin_with_options(dialect::write_transaction()).await?)
    }

    /// Begins a reading transaction whose queries all see the same state.
    pub async fn snapshot(&self) -> Result<DatabaseTransaction, StoreError> {
        Ok(self.readers.begin_with_options(dialect::snapshot_transaction()).await?)
    }

    /// Whether this opening created the database.
    pub fn was_created(&self) -> bool {
        self.created
    }

    /// The file of the database.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads something from the database.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let backend = self.readers.get_database_backend();
        self.readers.query_one_raw(Statement::from_string(backend, "SELECT version FROM seaql_migrations")).await?;
        Ok(())
    }

    /// Leaves a tidy file behind and closes all connections; afterwards another process may open it.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.readers.close_by_ref().await?;
        let settled = dialect::settle(&self.writer).await;
        self.writer.close_by_ref().await?;
        self.lock.release();
        Ok(settled?)
    }
}
