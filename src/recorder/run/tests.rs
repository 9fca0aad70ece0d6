//! What the board is told of, with a real database.

use tokio_util::sync::CancellationToken;

use super::super::batch::Failed;
use super::*;
use crate::clock::ManualClock;
use crate::config::{Environment, Listing, LoadOptions};
use crate::domain::check::Seen;
use crate::domain::{from_micros, micros};
use crate::feed::{EventKind, Filter, Read, Reader};
use crate::recorder::testing::{good, known};
use crate::store::StoreError;
use crate::store::{StoreOptions, StoreTarget, history};
use crate::telemetry::jobs::When;

fn at(second: i64) -> Timestamp {
    let start: Timestamp = "2026-11-21T07:00:00Z".parse().unwrap();
    from_micros(micros(start) + second * 1_000_000)
}

fn listing(folder: &tempfile::TempDir) -> Listing {
    let path = folder.path().join("config.yaml");
    std::fs::write(&path, "database: {url: 'sqlite://:memory:'}").unwrap();
    let environment = Environment::from_pairs::<String, String>([]);
    let options = LoadOptions { path: Some(path), environment, allow_missing_env: false };
    Listing::of(&crate::config::load(&options, at(0)).unwrap())
}

async fn recorder() -> Recorder {
    let options = StoreOptions { target: StoreTarget::Memory, readers: 1, echo: false };
    let store = Arc::new(Store::open(&options).await.unwrap());
    let board = Arc::new(Board::new());
    board.put(known("one", "http://127.0.0.1/", at(0)));
    let outages = Outages::load(&store, std::iter::empty()).await.unwrap();
    Recorder::new(RecorderParts {
        store,
        board,
        clock: Arc::new(ManualClock::at(at(0))),
        metrics: Arc::default(),
        submissions: mpsc::channel(1).1,
        decisions: mpsc::channel(1).1,
        confirmations: mpsc::channel(1).0,
        close_hours: Wakeup::new(),
        hours: Arc::new(JobStatus::new("hours", "", When::AtStart)),
        directory: Arc::new(Directory::new(listing(&tempfile::tempdir().unwrap()))),
        quiet: Arc::default(),
        own_network: Arc::default(),
        deliver: Wakeup::new(),
        handover: Arc::default(),
        feed: Arc::default(),
        outages,
        left_behind: Vec::new(),
        limits: Limits::default(),
        recorded: CancellationToken::new().drop_guard(),
    })
}

/// A recorder step by step.
struct Stepped {
    recorder: Recorder,
    looking_on: Reader,
    events: usize,
}

impl Stepped {
    async fn begin() -> Self {
        let recorder = recorder().await;
        let looking_on = recorder.parts.feed.subscribe(None);
        Self { recorder, looking_on, events: 0 }
    }

    fn take(&mut self, second: i64) {
        self.recorder.take(Submission { result: good(at(second)), seen: Seen::default(), waiters: Vec::new() });
    }

    async fn end_commit(&mut self) {
        let outcome = ended(&mut self.recorder.committing).await;
        assert!(outcome.2.is_ok(), "{:?}", outcome.2);
        self.recorder.settle(outcome);
    }

    /// Checks as they are stored, as the board counts them, and of which whoever looks on was told; then the second of
    /// the newest on the board.
    async fn known(&mut self) -> (u64, u64, usize, Option<i64>) {
        let entry = self.recorder.parts.board.get(EndpointId(1)).unwrap();
        let counted = entry.live.open_hour.as_ref().map_or(0, |open| open.rollup.bucket.up);
        let newest = entry.live.last.as_ref().map(|last| (last.scheduled_at - at(0)).num_seconds());
        let stored = history::count(self.recorder.parts.store.readers(), EndpointId(1), None, None).await.unwrap();
        if let Read::Events(events) = self.looking_on.read(&Filter::of([EventKind::Check]), usize::MAX) {
            self.events += events.len();
        }
        (stored, counted, self.events, newest)
    }
}

#[tokio::test]
async fn the_board_does_not_count_what_came_during_a_commit_until_it_is_committed_too() {
    let mut monitor = Stepped::begin().await;
    monitor.take(0);
    monitor.recorder.begin_commit();
    assert_eq!(monitor.known().await, (0, 0, 0, None));
    monitor.take(1);
    monitor.take(2);
    monitor.end_commit().await;
    assert_eq!(monitor.known().await, (1, 1, 1, Some(0)));
    monitor.recorder.begin_commit();
    monitor.take(3);
    monitor.end_commit().await;
    assert_eq!(monitor.known().await, (3, 3, 3, Some(2)));
    monitor.recorder.flush().await;
    assert_eq!(monitor.known().await, (4, 4, 4, Some(3)));
}

#[tokio::test]
async fn with_the_database_away_the_board_counts_all_and_each_once() {
    let mut monitor = Stepped::begin().await;
    monitor.take(0);
    let held = monitor.recorder.parts.store.begin().await.unwrap();
    monitor.recorder.begin_commit();
    monitor.take(1);
    let away = StoreError::Unavailable("gone".to_owned());
    monitor.recorder.committing = None;
    monitor.recorder.failed(&Failed::Unknown(away), Instant::now(), at(2));
    monitor.recorder.go_on();
    assert_eq!(monitor.known().await, (0, 2, 2, Some(1)));
    drop(held);
    // The first is written, then what came during it.
    monitor.recorder.begin_commit();
    monitor.take(2);
    monitor.end_commit().await;
    monitor.recorder.flush().await;
    assert_eq!(monitor.known().await, (3, 3, 3, Some(2)));
}
