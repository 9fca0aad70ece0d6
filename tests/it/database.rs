//! A database of either kind, for tests whose body runs on both.

use std::path::PathBuf;

use api_monitor::store::{Store, StoreOptions, StoreTarget};

use crate::postgres::{self, PostgresDatabase};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    /// Whether it can be had on this machine; if not, that was said.
    pub(crate) fn is_here(self) -> bool {
        self == Self::Sqlite || postgres::shared().is_some()
    }

    /// How many of the rounds of a test with very many: each is the same code and takes longer on a server.
    pub(crate) fn rounds(self, all: usize) -> usize {
        match self {
            Self::Sqlite => all,
            Self::Postgres => all.div_ceil(6),
        }
    }
}

/// A database of a test, which goes with it.
pub(crate) enum Database {
    Sqlite(tempfile::TempDir),
    Postgres(PostgresDatabase),
}

impl Database {
    /// With the schema, or to be created with it.
    pub(crate) fn of(kind: Kind) -> Self {
        match kind {
            Kind::Sqlite => Self::Sqlite(tempfile::tempdir().unwrap()),
            Kind::Postgres => Self::Postgres(PostgresDatabase::migrated()),
        }
    }

    /// Without anything in it.
    pub(crate) fn empty(kind: Kind) -> Self {
        match kind {
            Kind::Sqlite => Self::of(kind),
            Kind::Postgres => Self::Postgres(PostgresDatabase::empty()),
        }
    }

    /// As `database.url` has it.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Sqlite(folder) => format!("sqlite://{}", file_in(folder).display()),
            Self::Postgres(database) => database.url(),
        }
    }

    pub(crate) fn options(&self) -> StoreOptions {
        match self {
            Self::Sqlite(folder) => {
                StoreOptions { target: StoreTarget::Sqlite(file_in(folder)), readers: 4, echo: false }
            }
            Self::Postgres(database) => database.options(),
        }
    }

    pub(crate) async fn open(&self) -> Store {
        // A program that another test is just starting has all open files of this process for a moment, and with them the
        // lock of a store that is closed already.
        let mut tries = 100;
        loop {
            match Store::open(&self.options()).await {
                Err(error) if tries > 0 && error.to_string().contains("is in use by another") => tries -= 1,
                opened => return opened.unwrap(),
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

fn file_in(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("monitor.db")
}

/// Makes a test for each database of each body, an `async fn(Kind)`.
macro_rules! on_both_databases {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::database::Kind::Sqlite).await;
            })+
        }

        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                if $crate::database::Kind::Postgres.is_here() {
                    super::$name($crate::database::Kind::Postgres).await;
                }
            })+
        }
    };
    (multi_thread: $($name:ident),+ $(,)?) => {
        mod sqlite_threads {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::database::Kind::Sqlite).await;
            })+
        }

        mod postgres_threads {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if $crate::database::Kind::Postgres.is_here() {
                    super::$name($crate::database::Kind::Postgres).await;
                }
            })+
        }
    };
}
pub(crate) use on_both_databases;
