//! Everything that differs from database to database.

pub(super) mod postgres;
pub(super) mod sqlite;

use sea_orm::sqlx::Error as SqlxError;
use sea_orm::sqlx::postgres::PgDatabaseError;
use sea_orm::{
    ConnAcquireErr, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, RuntimeErr, Statement,
    TransactionOptions, TransactionTrait,
};

use super::StoreError;

/// The database that is open, as far as its kind matters.
#[derive(Debug)]
pub(super) enum Dialect {
    Sqlite(sqlite::Durability),
    Postgres(Box<postgres::Server>),
}

impl Dialect {
    pub(super) fn sqlite() -> Self {
        Self::Sqlite(sqlite::Durability::default())
    }

    /// Begins a transaction that writes. `durable`: what it commits outlives a loss of power.
    pub(super) async fn begin(
        &self,
        writer: &DatabaseConnection,
        durable: bool,
    ) -> Result<DatabaseTransaction, StoreError> {
        match self {
            Self::Sqlite(durability) => Ok(durability.begin(writer, durable).await?),
            Self::Postgres(server) => match postgres::begin(writer, durable).await {
                Ok(transaction) => Ok(transaction),
                Err(error) => Err(server.explain_writer(error).await),
            },
        }
    }

    /// Counts the sessions that wrote: after another one has begun, what was committed last without waiting for the
    /// disk may be gone with its server. A file is written by this process alone, and survives it.
    pub(super) fn writing_sessions(&self) -> u64 {
        match self {
            Self::Sqlite(_) => 1,
            Self::Postgres(server) => server.sessions(),
        }
    }

    /// How a transaction begins whose queries all see the same state.
    pub(super) fn snapshot_transaction(&self) -> TransactionOptions {
        match self {
            Self::Sqlite(_) => sqlite::snapshot_transaction(),
            Self::Postgres(_) => postgres::snapshot_transaction(),
        }
    }

    /// Begins a transaction whose queries all see the same state.
    pub(super) async fn snapshot(&self, readers: &DatabaseConnection) -> Result<DatabaseTransaction, StoreError> {
        match readers.begin_with_options(self.snapshot_transaction()).await {
            Ok(transaction) => Ok(transaction),
            Err(error) => Err(self.explain_reader(error).await),
        }
    }

    /// What is the matter when a reader failed; where no connection could be had it is asked why.
    pub(super) async fn explain_reader(&self, error: DbErr) -> StoreError {
        match self {
            Self::Sqlite(_) => error.into(),
            Self::Postgres(server) => server.explain(error).await,
        }
    }

    /// As `database.type` has it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgresql",
        }
    }

    /// The version of what answers.
    pub(super) async fn version(&self, readers: &DatabaseConnection) -> Result<String, StoreError> {
        let backend = readers.get_database_backend();
        let sql = match self {
            Self::Sqlite(_) => "SELECT sqlite_version() AS version",
            Self::Postgres(_) => "SELECT current_setting('server_version') AS version",
        };
        let row = readers.query_one_raw(Statement::from_string(backend, sql)).await?;
        row.map_or(Ok(String::new()), |row| Ok(row.try_get("", "version")?))
    }

    /// Leaves the database tidy.
    pub(super) async fn settle(&self, writer: &DatabaseConnection) -> Result<(), DbErr> {
        match self {
            Self::Sqlite(_) => sqlite::settle(writer).await,
            // The server looks after itself.
            Self::Postgres(_) => Ok(()),
        }
    }
}

/// The last id that the database itself gave to a row of a table, or was told of; 0 without any. The row may be gone.
pub(super) async fn last_given_id(db: &impl ConnectionTrait, table: &str) -> Result<i64, DbErr> {
    let backend = db.get_database_backend();
    let row = if backend == DbBackend::Sqlite {
        let sql = "SELECT seq AS last FROM sqlite_sequence WHERE name = ?";
        db.query_one_raw(Statement::from_sql_and_values(backend, sql, [table.into()])).await?
    } else {
        // Names of ours, which need no quotes.
        let sql = format!("SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS last FROM {table}_id_seq");
        db.query_one_raw(Statement::from_string(backend, sql)).await?
    };
    row.map_or(Ok(0), |row| row.try_get("", "last"))
}

/// Lets [`last_given_id`] know of an id that was chosen by us. `SQLite` sees for itself.
pub(super) async fn note_given_id(db: &impl ConnectionTrait, table: &str, id: i64) -> Result<(), DbErr> {
    let backend = db.get_database_backend();
    if backend != DbBackend::Sqlite {
        let sql = format!("SELECT setval('{table}_id_seq', GREATEST($1, (SELECT last_value FROM {table}_id_seq)))");
        db.query_one_raw(Statement::from_sql_and_values(backend, sql, [id.into()])).await?;
    }
    Ok(())
}

/// Whether no connection could be had within the time for it.
fn is_timeout(error: &DbErr) -> bool {
    match error {
        DbErr::ConnectionAcquire(ConnAcquireErr::Timeout) => true,
        DbErr::Conn(RuntimeErr::SqlxError(cause)) => matches!(cause.as_ref(), SqlxError::PoolTimedOut),
        _ => false,
    }
}

/// A sentence for a trouble of the database, its server or its disk; `None` when the statement itself was at fault.
pub(super) fn trouble(error: &DbErr) -> Option<String> {
    let (DbErr::Conn(RuntimeErr::SqlxError(cause))
    | DbErr::Exec(RuntimeErr::SqlxError(cause))
    | DbErr::Query(RuntimeErr::SqlxError(cause))) = error
    else {
        return None;
    };
    trouble_of(cause)
}

fn trouble_of(cause: &SqlxError) -> Option<String> {
    match cause {
        SqlxError::Database(error) => match error.try_downcast_ref::<PgDatabaseError>() {
            Some(error) => postgres::trouble(error.code(), error.message()),
            None => sqlite::trouble(error.code()?.as_ref()).map(str::to_owned),
        },
        // SQLite's own are codes.
        SqlxError::Io(error) => Some(postgres::connection_trouble(error)),
        SqlxError::Tls(error) => Some(postgres::tls_trouble(error.as_ref())),
        SqlxError::Protocol(_) => Some(
            "what answers there does not speak the protocol of PostgreSQL: check host and port in database.url"
                .to_owned(),
        ),
        SqlxError::Configuration(error) => Some(format!("database.url cannot be used: {error}")),
        SqlxError::PoolTimedOut => Some(NO_CONNECTION.to_owned()),
        SqlxError::PoolClosed | SqlxError::WorkerCrashed => Some("the database is closed".to_owned()),
        _ => None,
    }
}

/// Nobody knows more in the time that there is.
pub(super) const NO_CONNECTION: &str = "the database is busy or away: no connection to it could be had in time";
