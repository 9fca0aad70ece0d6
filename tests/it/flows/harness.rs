//! An assembled monitor in a folder of its own, on a clock that the test moves or on the machine's.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use api_monitor::app::{Monitor, Outside};
use api_monitor::board::Entry;
use api_monitor::checks::Checkers;
use api_monitor::clock::{Clock, ManualClock, SystemClock};
use api_monitor::config::{self, Config, Environment, LoadOptions};
use api_monitor::domain::check::CheckResult;
use api_monitor::domain::endpoint::EndpointId;
use api_monitor::domain::outcome::{MissedReason, Outcome, Status};
use api_monitor::domain::role::Role;
use api_monitor::domain::{Timestamp, from_micros, micros};
use api_monitor::lifecycle::Tasks;
use api_monitor::notify::Channels;
use api_monitor::service::context::Actor;
use api_monitor::store;
use api_monitor::telemetry::logging::LevelControl;
use tokio::time::Instant;

use crate::database::Kind;
use crate::postgres::PostgresDatabase;

/// How much later a moved clock is at each step, and the pause in which the monitor acts on it.
const STEP: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(20);

/// What outlives a monitor: the folder with its database, unless that is on a server, and the clock.
pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
    server: Option<PostgresDatabase>,
    elsewhere: Option<String>,
    clock: Arc<dyn Clock>,
    moved: Option<Arc<ManualClock>>,
}

impl Place {
    /// With a database of this kind, on a clock that stands at `start` until it is moved.
    pub(crate) fn on(kind: Kind, start: &str) -> Self {
        let clock = Arc::new(ManualClock::at(start.parse().unwrap()));
        let server = (kind == Kind::Postgres).then(PostgresDatabase::migrated);
        Self { folder: tempfile::tempdir().unwrap(), server, elsewhere: None, clock: clock.clone(), moved: Some(clock) }
    }

    /// As [`on`](Self::on), with the database that a URL names.
    pub(crate) fn with_url(url: String, start: &str) -> Self {
        Self { elsewhere: Some(url), ..Self::on(Kind::Sqlite, start) }
    }

    /// On the machine's clock.
    pub(crate) fn real() -> Self {
        let clock = Arc::new(SystemClock::new());
        Self { folder: tempfile::tempdir().unwrap(), server: None, elsewhere: None, clock, moved: None }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Moves the clock while nothing runs.
    pub(crate) fn pass(&self, time: Duration) {
        self.moved.as_ref().unwrap().advance(time);
    }

    pub(crate) fn config(&self, yaml: &str) -> Config {
        let path = self.folder.path().join("config.yaml");
        load(&path, &format!("database: {{url: '{}'}}\n{yaml}", self.database_url()), self.now())
    }

    /// The file, where it is one.
    pub(crate) fn database(&self) -> std::path::PathBuf {
        self.folder.path().join("monitor.db")
    }

    /// As `database.url` has it.
    pub(crate) fn database_url(&self) -> String {
        match (&self.server, &self.elsewhere) {
            (Some(server), _) => server.url(),
            (None, Some(url)) => url.clone(),
            (None, None) => format!("sqlite://{}", self.database().display()),
        }
    }

    /// The clock that the test moves.
    pub(crate) fn moved(&self) -> Arc<ManualClock> {
        self.moved.clone().unwrap()
    }

    pub(crate) async fn start(&self, yaml: &str) -> Live<'_> {
        self.start_through(yaml, None).await
    }

    /// With channels of the test in place of those that are configured under the same names.
    pub(crate) async fn start_through(&self, yaml: &str, channels: Option<Channels>) -> Live<'_> {
        let config = Arc::new(self.config(yaml));
        let outbound = api_monitor::app::outbound(&config).unwrap();
        let checker = Arc::new(Checkers::new(outbound.clone()).unwrap());
        let log_level = LevelControl::default();
        let outside = Outside { clock: self.clock.clone(), checker, outbound, channels, log_level };
        let tasks = Tasks::new();
        let monitor = Box::pin(Monitor::start(config, outside, &tasks)).await.unwrap();
        Live { place: self, monitor, tasks }
    }
}

/// Loads a configuration that has no mistakes.
pub(crate) fn load(path: &Path, yaml: &str, now: Timestamp) -> Config {
    std::fs::write(path, yaml).unwrap();
    let environment = Environment::from_pairs::<String, String>([]);
    let options = LoadOptions { path: Some(path.to_owned()), environment, allow_missing_env: false };
    config::load(&options, now).unwrap_or_else(|errors| panic!("{errors}"))
}

/// A running monitor.
pub(crate) struct Live<'a> {
    place: &'a Place,
    pub(crate) monitor: Monitor,
    tasks: Tasks,
}

impl Live<'_> {
    /// The endpoint of this name outside any group.
    pub(crate) fn entry(&self, name: &str) -> Entry {
        self.monitor.service.board.find_by_key("", name).unwrap()
    }

    pub(crate) fn id(&self, name: &str) -> EndpointId {
        self.entry(name).known.id
    }

    pub(crate) fn status(&self, name: &str) -> Status {
        self.entry(name).status()
    }

    /// Everything recorded of an endpoint, oldest first.
    pub(crate) async fn history(&self, id: EndpointId) -> Vec<CheckResult> {
        let mut rows = Vec::new();
        let ever = from_micros(0)..Timestamp::MAX_UTC;
        let readers = self.monitor.store.readers();
        store::history::for_each(readers, id, ever, |row| rows.push(row.clone())).await.unwrap();
        rows
    }

    /// Lets the moved clock run, fast, until the history of an endpoint has `count` rows or more; returns them.
    pub(crate) async fn run_until(&self, name: &str, count: usize) -> Vec<CheckResult> {
        let id = self.id(name);
        let deadline = Instant::now() + Duration::from_secs(400);
        loop {
            let rows = self.history(id).await;
            if rows.len() >= count {
                // What is committed is told to the board right after.
                eventually("the board", || {
                    let last = self.entry(name).live.last.clone();
                    last.is_some_and(|last| last.scheduled_at >= rows[rows.len() - 1].scheduled_at)
                })
                .await;
                return rows;
            }
            assert!(Instant::now() < deadline, "{count} rows of {name}, but there are {rows:#?}");
            self.step().await;
        }
    }

    /// Lets the moved clock run for a while.
    pub(crate) async fn run_for(&self, time: Duration) {
        let end = self.place.now() + time;
        while self.place.now() < end {
            self.step().await;
        }
    }

    /// Lets the moved clock run, fast, until it is so.
    pub(crate) async fn run_while(&self, what: &str, mut not_yet: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(400);
        while not_yet() {
            assert!(Instant::now() < deadline, "never came: {what}");
            self.step().await;
        }
    }

    /// Moves the clock at once by a time in which nothing is examined.
    pub(crate) async fn skip(&self, time: Duration) {
        self.place.pass(time);
        self.step().await;
    }

    async fn step(&self) {
        self.place.moved.as_ref().unwrap().advance(STEP);
        self.monitor.service.scheduler.nudge();
        self.monitor.service.deliver.nudge();
        tokio::time::sleep(PAUSE).await;
    }

    /// The clean stop, as a signal begins it.
    pub(crate) async fn stop(self) {
        self.tasks.stopping().cancel();
        self.monitor.until_stopped().await.unwrap();
    }
}

/// A person who may change everything.
pub(crate) fn somebody() -> Actor {
    Actor { name: "local".to_owned(), address: None, role: Role::Admin }
}

/// Asks again and again until it is so.
pub(crate) async fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !so() {
        assert!(Instant::now() < deadline, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The rows that stand for slots nobody examined: reason and number.
pub(crate) fn gaps(rows: &[CheckResult]) -> Vec<(MissedReason, u32)> {
    rows.iter()
        .filter_map(|row| match row.outcome {
            Outcome::Missed(reason) => Some((reason, row.slots)),
            _ => None,
        })
        .collect()
}

/// Microseconds from one row's slot to the next one's.
pub(crate) fn distances(rows: &[CheckResult]) -> Vec<i64> {
    rows.windows(2).map(|pair| micros(pair[1].scheduled_at) - micros(pair[0].scheduled_at)).collect()
}
