//! What depends on something that is down: the recorder is given results and moments one by one, on each database.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use api_monitor::board::{Board, Entry};
use api_monitor::clock::{Clock, ManualClock};
use api_monitor::config::{Config, Directory, Listing};
use api_monitor::domain::check::{CheckResult, Seen, Timings, Trigger};
use api_monitor::domain::endpoint::{EndpointId, KnownEndpoint};
use api_monitor::domain::maintenance::{KnownWindow, WindowMade, WindowSettings};
use api_monitor::domain::outcome::{Failure, FailureKind, Outcome, Status};
use api_monitor::domain::suppression::Suppressor;
use api_monitor::events::{ConfirmRequest, Decider, Decision, IncidentRequest, Submission};
use api_monitor::quiet::Quiet;
use api_monitor::recorder::buffer::Limits;
use api_monitor::recorder::outages::Outages;
use api_monitor::recorder::{Recorder, RecorderParts};
use api_monitor::service;
use api_monitor::store::Store;
use api_monitor::store::incidents::{self, IncidentEventKind, IncidentQuery};
use api_monitor::store::outbox::{self, NotificationQuery, StoredNotification};
use api_monitor::telemetry::jobs::{JobStatus, When};
use api_monitor::telemetry::metrics::Metrics;
use api_monitor::wakeup::Wakeup;
use chrono::TimeDelta;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::START;
use crate::database::{Database, Kind, on_both_databases};
use crate::flows::harness::load;

const SECOND: Duration = Duration::from_secs(1);

/// What the recorder asked for since it was looked at last.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    /// One attempt at once.
    attempts: Vec<String>,
    /// A check at once.
    checks: Vec<String>,
}

/// A place with a database, a clock that stands, and a configuration.
struct Place {
    database: Database,
    store: Arc<Store>,
    clock: Arc<ManualClock>,
    config: Config,
}

/// A recorder that is given everything by hand.
struct Driven {
    store: Arc<Store>,
    clock: Arc<ManualClock>,
    board: Arc<Board>,
    quiet: Arc<Quiet>,
    recorder: Recorder,
    confirmations: mpsc::Receiver<ConfirmRequest>,
    ids: HashMap<String, EndpointId>,
}

impl Place {
    async fn on(kind: Kind, endpoints: &str) -> Self {
        let clock = Arc::new(ManualClock::at(START.parse().unwrap()));
        let database = Database::of(kind);
        let store = Arc::new(database.open().await);
        let folder = tempfile::tempdir().unwrap();
        let yaml = format!(
            "channels: {{out: {{type: console}}}}\ndefaults: {{retry: {{enabled: false}}}}\nendpoints:\n{endpoints}"
        );
        let config = load(&folder.path().join("config.yaml"), &yaml, clock.now());
        service::sync::apply(&store, &config, clock.now()).await.unwrap();
        Self { database, store, clock, config }
    }

    /// The start of a process.
    async fn start(&self) -> Driven {
        let (store, clock) = (&self.store, &self.clock);
        let listing = Listing::of(&self.config);
        let board = Arc::new(service::rebuild::board(store, &listing, clock.now()).await.unwrap());
        let entries = board.entries();
        let states = entries.iter().map(|entry| (entry.known.id, &entry.live.state));
        let outages = Outages::load(store, states).await.unwrap();
        let ids = entries.iter().map(|entry| (name_of(&entry.known), entry.known.id)).collect();
        let quiet = Arc::new(Quiet::default());
        let (to_recorder, from_recorder) = mpsc::channel(4_096);
        let recorder = Recorder::new(RecorderParts {
            store: store.clone(),
            board: board.clone(),
            clock: clock.clone(),
            metrics: Arc::new(Metrics::default()),
            submissions: mpsc::channel(1).1,
            confirmations: to_recorder,
            decisions: mpsc::channel(1).1,
            close_hours: Wakeup::new(),
            hours: Arc::new(JobStatus::new("hours", "", When::AtStart)),
            directory: Arc::new(Directory::new(listing)),
            quiet: quiet.clone(),
            own_network: Arc::default(),
            deliver: Wakeup::new(),
            left_behind: Vec::new(),
            handover: Arc::default(),
            feed: Arc::default(),
            outages,
            limits: Limits::default(),
            recorded: CancellationToken::new().drop_guard(),
        });
        let (store, clock) = (store.clone(), clock.clone());
        Driven { store, clock, board, quiet, recorder, confirmations: from_recorder, ids }
    }

    async fn end(self) {
        self.store.close().await.unwrap();
        drop(self.database);
    }
}

fn name_of(known: &KnownEndpoint) -> String {
    known.endpoint.name.clone()
}

impl Driven {
    fn entry(&self, name: &str) -> Entry {
        self.board.get(self.ids[name]).unwrap()
    }

    /// A check that began now, or so long ago.
    fn check_begun(&mut self, name: &str, is_good: bool, ago: TimeDelta) {
        // Each a moment after the one before.
        self.clock.advance(Duration::from_micros(1));
        let failure = Failure { kind: FailureKind::HttpStatus, message: "GET returned 502, expected 200".to_owned() };
        let now = self.clock.now();
        let result = CheckResult {
            endpoint_id: self.ids[name],
            scheduled_at: now,
            started_at: now - ago,
            outcome: if is_good { Outcome::Up } else { Outcome::Down(failure) },
            slots: 1,
            status_code: None,
            timings: Timings::default(),
            attempts: 1,
            trigger: Trigger::Confirming,
            in_maintenance: false,
        };
        self.recorder.take(Submission { result, seen: Seen::default(), waiters: Vec::new() });
    }

    fn good(&mut self, name: &str) {
        self.check_begun(name, true, TimeDelta::zero());
    }

    fn failed(&mut self, name: &str) {
        self.check_begun(name, false, TimeDelta::zero());
    }

    /// Twice, which confirms.
    fn down(&mut self, name: &str) {
        self.failed(name);
        self.failed(name);
    }

    fn pass(&mut self, time: Duration) {
        self.clock.advance(time);
        self.recorder.let_time_pass();
    }

    /// Lets the recorder go on, until everything is committed; what it has asked for, each kind by name.
    async fn go_on(&mut self) -> Asked {
        self.recorder.go_on();
        self.recorder.flush().await;
        self.recorder.go_on();
        let mut asked = Asked::default();
        while let Ok(request) = self.confirmations.try_recv() {
            let name = name_of(&self.board.get(request.endpoint_id).unwrap().known);
            match request.attempt_within {
                Some(within) => {
                    assert!(within <= Duration::from_secs(10) && request.at_once);
                    asked.attempts.push(name);
                }
                None if request.at_once => asked.checks.push(name),
                None => {}
            }
        }
        asked
    }

    async fn notifications(&self) -> Vec<StoredNotification> {
        let query = NotificationQuery { limit: 10_000, ..NotificationQuery::default() };
        let mut all = outbox::list(self.store.readers(), &query).await.unwrap();
        all.sort_by_key(|one| (one.created_at, one.facts.id.clone()));
        all
    }

    /// What went to somebody: `gate down`.
    async fn told(&self) -> Vec<String> {
        let all = self.notifications().await;
        let mut told: Vec<_> = all.iter().filter(|one| !one.deliveries.is_empty()).collect();
        told.sort_by_key(|one| one.deliveries[0].id);
        told.iter().map(|one| format!("{} {}", one.facts.endpoint_name, one.facts.event)).collect()
    }

    /// What keeps the newest message about an endpoint back.
    async fn held(&self, name: &str) -> Option<(String, String)> {
        let id = Some(self.ids[name]);
        let of_it = self.notifications().await.into_iter().rfind(|one| one.endpoint == id)?;
        Some((of_it.held_by?, of_it.held_name.unwrap_or_default()))
    }

    fn shown(&self, name: &str) -> Option<(Suppressor, String)> {
        self.entry(name).hold().map(|hold| (hold.by, hold.name.clone()))
    }

    fn by_parent(&self, name: &str) -> Option<String> {
        self.shown(name).map(|(by, name)| {
            assert_eq!(by, Suppressor::ParentDown);
            name
        })
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as the rows have it")]
fn parent_down(name: &str) -> Option<(String, String)> {
    Some(("parent_down".to_owned(), name.to_owned()))
}

fn url() -> &'static str {
    "url: 'http://127.0.0.1:9/'"
}

/// `gate`, and `one` and `two` behind it.
fn behind_a_gate() -> String {
    let url = url();
    format!(
        "  - {{name: gate, group: core, {url}}}\n  - {{name: one, {url}, depends_on: [core/gate]}}\n  \
         - {{name: two, {url}, depends_on: gate}}\n"
    )
}

fn asked(attempts: &[&str], checks: &[&str]) -> Asked {
    let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect();
    Asked { attempts: names(attempts), checks: names(checks) }
}

async fn a_thousand_behind_one_dead_parent_are_one_message_and_one_at_the_end(kind: Kind) {
    let children: Vec<String> = (0..1_000).map(|i| format!("c{i}")).collect();
    let mut lines = String::new();
    for name in &children {
        writeln!(lines, "  - {{name: {name}, {}, depends_on: ['group:core']}}", url()).unwrap();
    }
    let place = Place::on(kind, &format!("  - {{name: gate, group: core, {}}}\n{lines}", url())).await;
    let mut run = place.start().await;
    for name in ["gate"].into_iter().chain(children.iter().map(String::as_str)) {
        run.good(name);
    }
    run.go_on().await;
    run.pass(60 * SECOND);

    // All in the same second, the parent last of all.
    let mut all = Asked::default();
    for name in &children {
        run.failed(name);
    }
    for (i, name) in children.iter().enumerate() {
        run.failed(name);
        if i % 100 == 0 {
            all.attempts.extend(run.go_on().await.attempts);
        }
    }
    all.attempts.extend(run.go_on().await.attempts);
    assert_eq!(all, asked(&["gate"], &[]), "it is asked once");
    assert_eq!(run.told().await, Vec::<String>::new());
    run.failed("gate");
    run.go_on().await;
    run.pass(10 * SECOND);
    run.failed("gate");
    run.go_on().await;
    run.pass(60 * SECOND);
    run.go_on().await;
    assert_eq!(run.told().await, ["gate down"]);
    let held = run.notifications().await;
    let by_gate = held.iter().filter(|one| one.held_by.as_deref() == Some("parent_down"));
    assert_eq!(by_gate.filter(|one| one.held_name.as_deref() == Some("group:core")).count(), 1_000);
    assert!(children.iter().all(|name| run.entry(name).live.state.status == Status::Down), "each is shown as it is");
    assert_eq!(run.by_parent("c7").as_deref(), Some("group:core"));

    run.good("gate");
    let again = run.go_on().await;
    assert_eq!((again.attempts.len(), again.checks.len()), (0, 1_000), "each is checked, once");
    run.pass(SECOND);
    for name in &children {
        run.good(name);
    }
    assert_eq!(run.go_on().await, Asked::default());
    run.pass(300 * SECOND);
    run.go_on().await;
    assert_eq!(run.told().await, ["gate down", "gate up"]);
    place.end().await;
}

async fn a_parent_that_answers_holds_nothing_back_and_is_asked_once_a_second(kind: Kind) {
    let place = Place::on(kind, &behind_a_gate()).await;
    let mut run = place.start().await;
    for name in ["gate", "one", "two"] {
        run.good(name);
    }
    run.pass(30 * SECOND);
    run.down("one");
    assert_eq!(run.go_on().await, asked(&["gate"], &[]));
    assert_eq!((run.held("one").await, run.told().await.len()), (parent_down("core/gate"), 0));
    let held = run.notifications().await;
    run.pass(SECOND);
    assert_eq!(run.by_parent("one").as_deref(), Some("core/gate"), "while it is asked");
    run.good("gate");
    run.go_on().await;
    assert_eq!(run.told().await, ["one down"]);
    assert_eq!(run.notifications().await[0].facts.id, held[0].facts.id, "under the same id");
    assert_eq!((run.held("one").await, run.shown("one")), (None, None));
    // It was examined just now.
    run.down("two");
    assert_eq!(run.go_on().await, Asked::default());
    assert_eq!(run.told().await, ["one down", "two down"]);
    place.end().await;
}

async fn a_parent_that_is_never_examined_holds_a_message_back_for_ten_seconds(kind: Kind) {
    let place = Place::on(kind, &behind_a_gate()).await;
    let mut run = place.start().await;
    run.good("gate");
    run.pass(30 * SECOND);
    run.down("one");
    run.go_on().await;
    run.pass(9 * SECOND);
    run.down("two");
    assert_eq!(run.go_on().await, Asked::default(), "it is being asked");
    assert_eq!(run.told().await, Vec::<String>::new());
    run.pass(SECOND);
    run.go_on().await;
    let mut told = run.told().await;
    told.sort();
    assert_eq!(told, ["one down", "two down"], "what is known counts");
    place.end().await;
}

async fn an_attempt_that_failed_counts_while_its_check_goes_on(kind: Kind) {
    let place = Place::on(kind, &behind_a_gate()).await;
    let mut run = place.start().await;
    run.good("gate");
    run.pass(30 * SECOND);
    run.board.note_attempt(run.ids["gate"], true);
    run.down("one");
    assert_eq!(run.go_on().await, Asked::default(), "it is being examined");
    run.pass(60 * SECOND);
    run.go_on().await;
    assert_eq!((run.told().await.len(), run.held("one").await), (0, parent_down("core/gate")));
    run.board.note_attempt(run.ids["gate"], false);
    run.good("gate");
    assert_eq!(run.go_on().await, asked(&[], &["one"]), "another of its attempts was good");
    run.pass(SECOND);
    run.failed("one");
    run.pass(SECOND);
    run.go_on().await;
    assert_eq!(run.told().await, ["one down"]);
    place.end().await;
}

async fn a_child_that_is_down_when_its_parent_is_back_is_checked_and_told_with_its_own_start(kind: Kind) {
    let place = Place::on(kind, &behind_a_gate()).await;
    let mut run = place.start().await;
    run.good("gate");
    run.pass(30 * SECOND);
    run.down("gate");
    run.go_on().await;
    let began = run.clock.now();
    run.down("one");
    run.down("two");
    assert_eq!(run.go_on().await, Asked::default(), "it is known to be down");
    run.pass(60 * SECOND);
    run.good("gate");
    assert_eq!(run.go_on().await, asked(&[], &["one", "two"]));
    run.pass(SECOND);
    // One that was under way before tells nothing: another is asked for.
    run.check_begun("one", false, TimeDelta::seconds(5));
    run.good("two");
    assert_eq!(run.go_on().await, asked(&[], &["one"]));
    assert_eq!(run.told().await, ["gate down", "gate up"]);
    assert_eq!(run.by_parent("one").as_deref(), Some("core/gate"), "it waits for its check");
    run.failed("one");
    run.pass(SECOND);
    run.go_on().await;
    assert_eq!(run.told().await, ["gate down", "gate up", "one down"]);
    let told = run.notifications().await.into_iter().find(|one| one.facts.endpoint_name == "one").unwrap();
    let since = told.facts.incident.unwrap().started_at;
    assert!(since > began && since < began + TimeDelta::seconds(1), "{since} is its own");
    let query = IncidentQuery { endpoint: Some(run.ids["one"]), limit: 9, ..IncidentQuery::default() };
    let of_it = incidents::list(run.store.readers(), &query).await.unwrap();
    let events = incidents::events(run.store.readers(), &[of_it[0].id]).await.unwrap();
    let kinds: Vec<_> = events.iter().map(|event| (event.kind, event.note.as_deref())).collect();
    let kept = (IncidentEventKind::KeptBack, Some("parent_down: core/gate"));
    assert_eq!(kinds, [(IncidentEventKind::Opened, None), kept, (IncidentEventKind::Told, None)]);
    place.end().await;
}

async fn a_check_that_never_comes_is_not_waited_for_for_ever(kind: Kind) {
    let place = Place::on(kind, &behind_a_gate()).await;
    let mut run = place.start().await;
    run.down("gate");
    run.down("one");
    run.pass(60 * SECOND);
    run.good("gate");
    run.go_on().await;
    run.pass(110 * SECOND);
    run.go_on().await;
    assert_eq!(run.told().await, ["gate down", "gate up"]);
    run.pass(11 * SECOND);
    run.go_on().await;
    assert_eq!(run.told().await, ["gate down", "gate up", "one down"]);
    place.end().await;
}

async fn a_recovery_under_way_is_waited_for(kind: Kind) {
    let more = "alert_policy: {success_threshold: 2}";
    let yaml = format!("  - {{name: gate, {0}}}\n  - {{name: one, {0}, depends_on: gate, {more}}}\n", url());
    let place = Place::on(kind, &yaml).await;
    let mut run = place.start().await;
    run.down("gate");
    run.down("one");
    run.pass(60 * SECOND);
    run.good("gate");
    run.go_on().await;
    run.pass(SECOND);
    run.good("one");
    run.pass(10 * SECOND);
    run.go_on().await;
    run.good("one");
    run.pass(300 * SECOND);
    run.go_on().await;
    assert_eq!(run.told().await, ["gate down", "gate up"]);
    place.end().await;
}

async fn children_of_children_are_held_by_their_own_parent(kind: Kind) {
    let url = url();
    let yaml = format!(
        "  - {{name: gate, {url}}}\n  - {{name: db, {url}, depends_on: gate}}\n  - {{name: web, {url}, depends_on: db}}\n"
    );
    let place = Place::on(kind, &yaml).await;
    let mut run = place.start().await;
    for name in ["gate", "db", "web"] {
        run.good(name);
    }
    run.pass(60 * SECOND);
    run.down("web");
    assert_eq!(run.go_on().await.attempts, ["db"]);
    run.failed("db");
    run.failed("db");
    assert_eq!(run.go_on().await.attempts, ["gate"]);
    run.failed("gate");
    run.failed("gate");
    run.go_on().await;
    assert_eq!((run.held("web").await, run.held("db").await), (parent_down("db"), parent_down("gate")));
    assert_eq!(run.told().await, ["gate down"]);
    run.pass(60 * SECOND);
    run.good("gate");
    assert_eq!(run.go_on().await, asked(&[], &["db"]), "its own parent is down still");
    run.pass(SECOND);
    run.good("db");
    assert_eq!(run.go_on().await, asked(&[], &["web"]));
    run.pass(SECOND);
    run.failed("web");
    run.pass(SECOND);
    run.go_on().await;
    assert_eq!(run.told().await, ["gate down", "gate up", "web down"]);
    place.end().await;
}

async fn a_parent_that_leaves_lets_its_children_go(kind: Kind) {
    for leave in ["deleted", "paused", "edited away", "another group"] {
        let place = Place::on(kind, &behind_a_gate().replace("core/gate", "group:core")).await;
        let mut run = place.start().await;
        run.down("gate");
        run.down("one");
        run.go_on().await;
        assert_eq!(run.held("one").await, parent_down("group:core"), "{leave}");
        let known = |name: &str| (*run.entry(name).known).clone();
        let (mut gate, mut one) = (known("gate"), known("one"));
        match leave {
            "deleted" => run.board.remove(gate.id),
            "paused" => {
                gate.paused = true;
                run.board.put(gate);
            }
            "edited away" => {
                one.endpoint.depends_on.0.clear();
                run.board.put(one);
            }
            _ => {
                "other".clone_into(&mut gate.endpoint.group);
                run.board.put(gate);
            }
        }
        run.pass(SECOND);
        assert_eq!(run.go_on().await, asked(&[], &["one"]), "{leave}");
        run.failed("one");
        run.pass(SECOND);
        run.go_on().await;
        assert_eq!(run.told().await.last().map(String::as_str), Some("one down"), "{leave}");
        place.end().await;
    }
}

async fn a_parent_resolved_by_hand_lets_its_children_go(kind: Kind) {
    let more = "alert_policy: {success_threshold: 3}";
    let yaml = format!("  - {{name: gate, {0}, {more}}}\n  - {{name: one, {0}, depends_on: gate}}\n", url());
    let place = Place::on(kind, &yaml).await;
    let mut run = place.start().await;
    run.down("gate");
    run.down("one");
    run.pass(60 * SECOND);
    run.good("gate");
    assert_eq!(run.go_on().await, Asked::default(), "its recovery is not confirmed");
    let started_at = run.entry("gate").live.state.incident.as_ref().unwrap().started_at;
    let (reply, answer) = oneshot::channel();
    let by = Decider { name: "somebody".to_owned(), address: None };
    let decision = Decision::Resolve { note: None };
    run.recorder.decide(IncidentRequest { endpoint_id: run.ids["gate"], started_at, decision, by, reply });
    assert_eq!(run.go_on().await, asked(&[], &["one"]));
    answer.await.unwrap().unwrap();
    place.end().await;
}

async fn a_restart_neither_forgets_who_is_held_nor_whom_to_ask(kind: Kind) {
    let place = Place::on(kind, &behind_a_gate()).await;
    let mut run = place.start().await;
    run.good("gate");
    run.pass(30 * SECOND);
    run.down("one");
    assert_eq!(run.go_on().await.attempts, ["gate"]);
    drop(run);

    // It was being asked.
    let mut run = place.start().await;
    run.pass(SECOND);
    assert_eq!(run.go_on().await.attempts, ["gate"]);
    run.down("gate");
    run.go_on().await;
    assert_eq!(run.told().await, ["gate down"]);
    drop(run);

    // It was held.
    let mut run = place.start().await;
    run.pass(60 * SECOND);
    run.go_on().await;
    assert_eq!((run.told().await, run.by_parent("one").as_deref()), (vec!["gate down".to_owned()], Some("core/gate")));
    run.good("gate");
    assert_eq!(run.go_on().await.checks, ["one"]);
    drop(run);

    // It was to be checked. What was known before counts for nothing.
    let mut run = place.start().await;
    run.pass(SECOND);
    assert_eq!(run.go_on().await.attempts, ["gate"]);
    assert_eq!(run.told().await, ["gate down", "gate up"]);
    run.good("gate");
    run.go_on().await;
    assert_eq!(run.told().await, ["gate down", "gate up", "one down"]);
    place.end().await;
}

async fn maintenance_of_a_parent_is_that_of_its_children(kind: Kind) {
    let url = url();
    let yaml = format!(
        "  - {{name: gate, {url}}}\n  - {{name: db, {url}, depends_on: gate}}\n  - {{name: web, {url}, depends_on: db}}\n  \
         - {{name: free, {url}}}\n"
    );
    let place = Place::on(kind, &yaml).await;
    let mut run = place.start().await;
    for name in ["gate", "db", "web", "free"] {
        run.good(name);
    }
    run.go_on().await;
    let start = run.clock.now() + TimeDelta::seconds(60);
    let settings: WindowSettings = serde_json::from_value(
        json!({"name": "upgrade", "match": "gate", "start": start, "for": "2m", "reason": "new disks"}),
    )
    .unwrap();
    let window = settings.read(chrono_tz::UTC, run.clock.now()).unwrap();
    let made = WindowMade::Configured { source: "here:1".to_owned() };
    run.quiet.put_window(KnownWindow { settings, window: Some(window), unreadable: None, made });
    run.pass(59 * SECOND);
    run.failed("web");
    run.clock.advance(2 * SECOND);
    // Before the recorder has looked at the window.
    for _ in 0..3 {
        run.failed("web");
        run.failed("free");
    }
    run.pass(SECOND);
    run.go_on().await;
    let entry = run.entry("web");
    assert_eq!((entry.status(), entry.live.last_verdict.as_ref().unwrap().in_maintenance), (Status::Maintenance, true));
    let hold = entry.hold().unwrap();
    assert_eq!(
        (hold.by, hold.name.as_str(), hold.through.as_deref()),
        (Suppressor::MaintenanceWindow, "upgrade", Some("db"))
    );
    assert_eq!(run.entry("db").hold().unwrap().through.as_deref(), Some("gate"));
    assert_eq!(run.told().await, ["free down"]);
    assert_eq!(entry.live.open_hour.as_ref().unwrap().rollup.bucket.maintenance, 3);
    // What began inside is inside.
    run.pass(118 * SECOND);
    assert_eq!(run.go_on().await, asked(&[], &["web"]), "it is checked when the window is over");
    run.check_begun("web", false, TimeDelta::seconds(3));
    run.pass(SECOND);
    assert_eq!(run.go_on().await, asked(&[], &["web"]));
    assert!(run.entry("web").live.last_verdict.as_ref().unwrap().in_maintenance);
    run.pass(2 * SECOND);
    run.failed("web");
    assert!(run.go_on().await.attempts == ["db"], "from now on it counts, with the failure before the window");
    run.good("db");
    run.go_on().await;
    assert_eq!(run.told().await, ["free down", "web down"]);
    place.end().await;
}

on_both_databases!(
    a_thousand_behind_one_dead_parent_are_one_message_and_one_at_the_end,
    a_parent_that_answers_holds_nothing_back_and_is_asked_once_a_second,
    a_parent_that_is_never_examined_holds_a_message_back_for_ten_seconds,
    an_attempt_that_failed_counts_while_its_check_goes_on,
    a_child_that_is_down_when_its_parent_is_back_is_checked_and_told_with_its_own_start,
    a_check_that_never_comes_is_not_waited_for_for_ever,
    a_recovery_under_way_is_waited_for,
    children_of_children_are_held_by_their_own_parent,
    a_parent_that_leaves_lets_its_children_go,
    a_parent_resolved_by_hand_lets_its_children_go,
    a_restart_neither_forgets_who_is_held_nor_whom_to_ask,
    maintenance_of_a_parent_is_that_of_its_children
);
