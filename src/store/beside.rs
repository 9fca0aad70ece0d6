//! A second kind of opening: reading a database that another process may be using. It takes no lock of the
//! process, changes nothing and never migrates.

use std::path::{Path, PathBuf};

use sea_orm::{Database, DatabaseConnection, DatabaseTransaction, TransactionTrait};

use super::schema::{self, Schema};
use super::{StoreError, StoreOptions, StoreTarget, dialect, open};

/// A database that is only read, perhaps beside the monitor that writes it.
#[derive(Debug)]
pub struct Beside {
    readers: DatabaseConnection,
    path: PathBuf,
    migrations: Vec<String>,
}

impl Beside {
    /// Opens an existing database for reading.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] with a sentence: there is none, it is not one of api-monitor, a newer version
    /// wrote it.
    pub async fn open(options: &StoreOptions) -> Result<Self, StoreError> {
        let StoreTarget::Sqlite(path) = &options.target else {
            return Err(StoreError::Unavailable(
                "database.url names a database in memory, which no other process can read and which ends with the \
                 monitor: keep the data in a file to back it up or export it"
                    .to_owned(),
            ));
        };
        if !path.exists() {
            return Err(StoreError::Unavailable(format!(
                "there is no database {}: check database.url and DATABASE_URL, or start the monitor once",
                path.display()
            )));
        }
        Self::at(path, options.echo).await
    }

    /// Opens a database file for reading.
    pub(super) async fn at(path: &Path, echo: bool) -> Result<Self, StoreError> {
        let about = |error: StoreError| open::about_file(path, error);
        let readers =
            Database::connect(dialect::reader_options(path, 1, echo)).await.map_err(|error| about(error.into()))?;
        let applied = schema::applied(&readers).await.map_err(about)?.filter(|names| !names.is_empty());
        let Some(migrations) = applied else {
            return Err(StoreError::Unavailable(format!("{} is not a database of api-monitor", path.display())));
        };
        if let Schema::Newer(unknown) = schema::compare(&migrations) {
            return Err(schema::newer(&format!("the database {}", path.display()), &unknown));
        }
        Ok(Self { readers, path: path.to_owned(), migrations })
    }

    /// Refuses a database whose tables are not those that this program reads.
    pub fn require_current(&self) -> Result<(), StoreError> {
        if schema::compare(&self.migrations) == Schema::Current {
            return Ok(());
        }
        Err(StoreError::Unavailable(format!(
            "the database {} has the schema of an older api-monitor: start this version, or run `api-monitor \
             migrate`, and try again",
            self.path.display()
        )))
    }

    /// The connections that read.
    pub fn readers(&self) -> &DatabaseConnection {
        &self.readers
    }

    /// The file of the database.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The migrations that were applied, oldest first.
    pub(super) fn migrations(&self) -> &[String] {
        &self.migrations
    }

    /// Begins a reading transaction whose queries all see the same state.
    pub async fn snapshot(&self) -> Result<DatabaseTransaction, StoreError> {
        Ok(self.readers.begin_with_options(dialect::snapshot_transaction()).await?)
    }

    /// Closes the connections.
    pub async fn close(&self) -> Result<(), StoreError> {
        Ok(self.readers.close_by_ref().await?)
    }
}
