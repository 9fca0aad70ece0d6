//! A second kind of opening: reading a database that another process may be using. It takes no lock of the
//! process, changes nothing and never migrates.

use std::path::Path;

use sea_orm::{Database, DatabaseConnection, DatabaseTransaction};

use super::dialect::{Dialect, postgres, sqlite};
use super::schema::{self, Schema};
use super::{Place, StoreError, StoreOptions, StoreTarget, open};

/// A database that is only read, perhaps beside the monitor that writes it.
#[derive(Debug)]
pub struct Beside {
    readers: DatabaseConnection,
    dialect: Dialect,
    place: Place,
    migrations: Vec<String>,
}

impl Beside {
    /// Opens an existing database for reading.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] with a sentence: there is none, it is not one of api-monitor, a newer version
    /// wrote it.
    pub async fn open(options: &StoreOptions) -> Result<Self, StoreError> {
        match &options.target {
            StoreTarget::Memory => Err(StoreError::Unavailable(
                "database.url names a database in memory, which no other process can read and which ends with the \
                 monitor: keep the data in a file to back it up or export it"
                    .to_owned(),
            )),
            StoreTarget::Sqlite(path) if !path.exists() => Err(StoreError::Unavailable(format!(
                "there is no database {}: check database.url and DATABASE_URL, or start the monitor once",
                path.display()
            ))),
            StoreTarget::Sqlite(path) => Self::at(path, options.echo).await,
            StoreTarget::Postgres(target) => {
                let (server, readers) = postgres::open_beside(&target.place, 1, options.echo);
                let dialect = Dialect::Postgres(Box::new(server));
                Self::look(readers, dialect, Place::Server(target.place.to_string())).await
            }
        }
    }

    /// Opens a database file for reading.
    pub(super) async fn at(path: &Path, echo: bool) -> Result<Self, StoreError> {
        let readers = Database::connect(sqlite::reader_options(path, 1, echo))
            .await
            .map_err(|error| open::named(&path.display().to_string(), error.into()))?;
        Self::look(readers, Dialect::sqlite(), Place::File(path.to_owned())).await
    }

    /// Looks whose database it is.
    async fn look(readers: DatabaseConnection, dialect: Dialect, place: Place) -> Result<Self, StoreError> {
        let applied = match schema::applied(&readers).await {
            Ok(applied) => applied.filter(|names| !names.is_empty()),
            Err(error) => return Err(open::named(&place.to_string(), dialect.explain_reader(error).await)),
        };
        let Some(migrations) = applied else {
            return Err(StoreError::Unavailable(format!("{place} is not a database of api-monitor")));
        };
        if let Schema::Newer(unknown) = schema::compare(&migrations) {
            return Err(schema::newer(&format!("the database {place}"), &unknown));
        }
        Ok(Self { readers, dialect, place, migrations })
    }

    /// Refuses a database whose tables are not those that this program reads.
    pub fn require_current(&self) -> Result<(), StoreError> {
        if schema::compare(&self.migrations) == Schema::Current {
            return Ok(());
        }
        Err(StoreError::Unavailable(format!(
            "the database {} has the schema of an older api-monitor: start this version, or run `api-monitor \
             migrate`, and try again",
            self.place
        )))
    }

    /// The connections that read.
    pub fn readers(&self) -> &DatabaseConnection {
        &self.readers
    }

    /// The file of the database, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::File(path) => Some(path),
            Place::Server(_) => None,
        }
    }

    /// The migrations that were applied, oldest first.
    pub(super) fn migrations(&self) -> &[String] {
        &self.migrations
    }

    /// Begins a reading transaction whose queries all see the same state.
    pub async fn snapshot(&self) -> Result<DatabaseTransaction, StoreError> {
        self.dialect.snapshot(&self.readers).await
    }

    /// Closes the connections.
    pub async fn close(&self) -> Result<(), StoreError> {
        Ok(self.readers.close_by_ref().await?)
    }
}
