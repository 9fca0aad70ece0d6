//! Databases that can be made to go away.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use sea_orm::{ConnectionTrait, DatabaseTransaction, TransactionTrait};

use super::Away;
use crate::flows::harness::Place;
use crate::postgres::Cluster;

/// Somebody else holds the lock of the file.
pub(super) struct Locked {
    url: String,
    lock: Option<DatabaseTransaction>,
}

impl Locked {
    pub(super) fn new(place: &Place) -> Self {
        Self { url: format!("sqlite://{}", place.database().display()), lock: None }
    }
}

impl Away for Locked {
    async fn go(&mut self) {
        let options = sea_orm::ConnectOptions::new(self.url.clone()).max_connections(1).to_owned();
        let other = sea_orm::Database::connect(options).await.unwrap();
        let lock = other.begin().await.unwrap();
        lock.execute_unprepared("UPDATE settings SET updated_at = updated_at").await.unwrap();
        lock.execute_unprepared("DELETE FROM seaql_migrations WHERE 0").await.unwrap();
        self.lock = Some(lock);
    }

    async fn come_back(&mut self) {
        self.lock.take().unwrap().rollback().await.unwrap();
    }
}

/// The disk is full: a small one in memory, mounted over the folder of the place.
pub(super) struct Full {
    mounted: PathBuf,
}

impl Full {
    /// `None` where nothing can be mounted, which is said.
    pub(super) fn mounted_on(place: &Place) -> Option<Self> {
        let folder = place.folder.path().to_owned();
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"]).arg(&folder).output();
        match done {
            Ok(output) if output.status.success() => Some(Self { mounted: folder }),
            other => {
                eprintln!("skipped: a disk in memory cannot be mounted here ({other:?})");
                None
            }
        }
    }

    fn ballast(&self) -> PathBuf {
        self.mounted.join("ballast")
    }
}

impl Away for Full {
    async fn go(&mut self) {
        let mut ballast = std::fs::File::create(self.ballast()).unwrap();
        // Down to the last page.
        while ballast.write_all(&[1; 4096]).is_ok() {}
    }

    async fn come_back(&mut self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        // Lazily: the database may still be open when a test fails.
        let done = Command::new("umount").arg("-l").arg(&self.mounted).status();
        assert!(done.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

/// A server of one's own, stopped and started again while the monitor goes on.
pub(super) struct Server(pub(super) Arc<Cluster>);

impl Server {
    /// How a database of it is reached.
    pub(super) fn url(&self, database: &str) -> String {
        format!("{}?sslmode=disable", self.0.place(database))
    }

    pub(super) async fn does(&self, what: impl FnOnce(&Cluster) + Send + 'static) {
        let cluster = self.0.clone();
        tokio::task::spawn_blocking(move || what(&cluster)).await.unwrap();
    }
}

/// As a crash stops it.
pub(super) struct Stopped(pub(super) Server);

impl Away for Stopped {
    async fn go(&mut self) {
        self.0.does(Cluster::stop).await;
    }

    async fn come_back(&mut self) {
        self.0.does(Cluster::start_again).await;
    }
}

/// It takes connections and says nothing.
pub(super) struct Hanging(pub(super) Server);

impl Away for Hanging {
    async fn go(&mut self) {
        self.0.does(Cluster::pause).await;
    }

    async fn come_back(&mut self) {
        self.0.does(Cluster::resume).await;
    }
}
