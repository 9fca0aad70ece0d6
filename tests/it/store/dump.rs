//! One month of a monitor's life on each database leaves the same rows in every table.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use api_monitor::clock::{Clock, ManualClock};
use api_monitor::config::{Adjustable, Directory, Listing, LogLevel, MaxConcurrent, MaxConnections, RunningSettings};
use api_monitor::domain::api_key::{KeyDigest, KeyId, KeyUse};
use api_monitor::domain::certificate::ServedChain;
use api_monitor::domain::check::{CertificateSeen, Seen};
use api_monitor::domain::endpoint::EndpointId;
use api_monitor::domain::session::Session;
use api_monitor::domain::{Timestamp, micros};
use api_monitor::events::Submission;
use api_monitor::jobs::retention::Retention;
use api_monitor::jobs::rollup::Rollup;
use api_monitor::recorder::buffer::Limits;
use api_monitor::recorder::outages::Outages;
use api_monitor::recorder::{Recorder, RecorderParts};
use api_monitor::service;
use api_monitor::store::groups::GroupContent;
use api_monitor::store::{
    self, DatabaseConnection, Store, alert_rules, api_keys, certificates, channels, groups, maintenance_windows,
    outbox, sessions, silences,
};
use api_monitor::telemetry::jobs::{JobStatus, When};
use api_monitor::telemetry::metrics::Metrics;
use api_monitor::wakeup::Wakeup;
use sea_orm::{ConnectionTrait, QueryResult, Statement};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::api_keys::key;
use super::channels::settings;
use super::{at, history_of, plus};
use crate::attempts::{AttemptResult, merge, record_attempt};
use crate::database::{Database, Kind};
use crate::flows::harness::load;

const START: &str = "2026-01-30T22:10:00Z";
const DAYS: i64 = 12;

/// Two versions of a file: in the second one endpoint is changed, one is gone, one has moved and one is new.
const FIRST: &str = "
channels: {Mail: {type: console}, hook: {type: console}}
defaults: {interval: 120, alert_policy: {cooldown_seconds: 600, reminder: {every: 10m, backoff: 1}}}
endpoints:
  - {name: shop, url: 'http://127.0.0.1:9/', group: eu, headers: {accept: text/html}}
  - {name: Blog, url: 'http://127.0.0.1:9/blog', tags: [b, a]}
  - {name: ärger, url: 'http://127.0.0.1:9/%C3%A4', body: {z: 1, a: [null, 1.5, 1e30, 'it''s']}}
  - {name: gone, url: 'http://127.0.0.1:9/gone'}
";
const SECOND: &str = "
channels: {Mail: {type: console}, hook: {type: console}}
defaults: {interval: 120, alert_policy: {cooldown_seconds: 600, reminder: {every: 10m, backoff: 1}}}
endpoints:
  - {name: Blog, url: 'http://127.0.0.1:9/blog', tags: [b, a]}
  - {name: shop, url: 'http://127.0.0.1:9/', group: eu, headers: {accept: text/html}, interval: 60}
  - {name: ärger, url: 'http://127.0.0.1:9/%C3%A4', body: {z: 1, a: [null, 1.5, 1e30, 'it''s']}}
  - {name: new, url: 'http://127.0.0.1:9/new'}
";

/// The first half on one file, the second on the other, as after a restart.
pub(crate) async fn live(store: Arc<Store>) {
    Box::pin(live_in(tempfile::tempdir().unwrap().path(), store)).await;
}

/// Somebody who has signed in with a token.
pub(crate) fn session(token: &str, now: Timestamp) -> Session {
    Session {
        id: 0,
        key: KeyId::Stored(1),
        digest: KeyDigest::of(token.as_bytes()),
        binding: KeyDigest::of(b"bound"),
        address: Some(std::net::Ipv4Addr::LOCALHOST.into()),
        user_agent: Some("Mozilla/5.0 é".to_owned()),
        service: Some("https://monitor.example.com".to_owned()),
        created_at: now,
        last_seen_at: now,
        expires_at: plus(now, 604_800),
    }
}

/// As [`live`], with the file in a folder, whose name is part of what is stored.
async fn live_in(folder: &Path, store: Arc<Store>) {
    let clock = Arc::new(ManualClock::at(at(START)));
    let mut random = fastrand::Rng::with_seed(7);
    for (name, url) in [("gone", "https://gone.example"), ("kept", "https://kept.example")] {
        channels::insert(store.writer(), name, settings(url), clock.now()).await.unwrap();
    }
    channels::delete(store.writer(), "gone").await.unwrap();
    let made = serde_json::json!({"interval": 90, "tags": ["é"], "headers": {"x": "1"}});
    let made = GroupContent { description: "both".to_owned(), settings: serde_json::from_value(made).unwrap() };
    for name in ["made", "unmade"] {
        groups::insert(store.writer(), name, &made, clock.now()).await.unwrap();
    }
    groups::update(store.writer(), "made", &made, 1, plus(clock.now(), 5)).await.unwrap();
    assert!(groups::delete(store.writer(), "unmade").await.unwrap());
    let rule = serde_json::json!({"metric": "memory_usage", "threshold": "80%", "action": "mail", "for": 90});
    let rule = serde_json::from_value(rule).unwrap();
    alert_rules::insert(store.writer(), &rule, "the boss", clock.now()).await.unwrap();
    let window = serde_json::json!({"name": "é", "at": "02:00", "every": "day", "for": 90, "match": "*"});
    let window = serde_json::from_value(window).unwrap();
    maintenance_windows::insert(store.writer(), &window, "the boss", clock.now()).await.unwrap();
    let silence = serde_json::json!({"match": "*", "until": plus(clock.now(), 60), "comment": "é"});
    let silence = serde_json::from_value(silence).unwrap();
    silences::insert(store.writer(), &silence, "the boss", clock.now()).await.unwrap();
    let leaf = CertificateSeen {
        fingerprint: "ab".repeat(32),
        subject: "CN=é".to_owned(),
        issuer: "CN=test".to_owned(),
        not_before: clock.now(),
        not_after: plus(clock.now(), 86_400),
        sans: vec!["é.example".to_owned()],
    };
    let chain = Arc::new(ServedChain { leaf: leaf.clone(), issuers: vec![leaf.clone()] });
    let served = certificates::Served { chain, place: "https://é.example:443".to_owned() };
    certificates::serve(store.writer(), &[(EndpointId(1), Some(served))], clock.now()).await.unwrap();
    certificates::note_told(store.writer(), &leaf.fingerprint, clock.now()).await.unwrap();
    api_keys::insert(store.writer(), key("kept")).await.unwrap();
    api_keys::insert(store.writer(), key("gone")).await.unwrap();
    let used = KeyUse { at: clock.now(), address: Some(std::net::Ipv4Addr::LOCALHOST.into()) };
    api_keys::note_use(store.writer(), 1, used).await.unwrap();
    api_keys::delete(store.writer(), 2).await.unwrap();
    sessions::insert(store.writer(), session("kept", clock.now())).await.unwrap();
    sessions::insert(store.writer(), session("gone", clock.now())).await.unwrap();
    sessions::note_seen(store.writer(), 1, plus(clock.now(), 60)).await.unwrap();
    sessions::delete(store.writer(), &[2]).await.unwrap();
    for (half, yaml) in [FIRST, SECOND].into_iter().enumerate() {
        let config = load(&folder.join("config.yaml"), yaml, clock.now());
        service::sync::apply(&store, &config, clock.now()).await.unwrap();
        let listing = service::groups::listing(store.readers(), &config).await.unwrap();
        let board = Arc::new(service::rebuild::board(&store, &listing, clock.now()).await.unwrap());
        let left_behind = service::rebuild::left_behind(&store, &listing, &board, clock.now()).await.unwrap();
        let entries = board.entries();
        let states = entries.iter().map(|entry| (entry.known.id, &entry.live.state));
        let left = left_behind.iter().map(|(known, state)| (known.id, state));
        let outages = Outages::load(&store, states.chain(left)).await.unwrap();
        let (_submissions, submitted) = mpsc::channel(1);
        let (confirmations, _to_confirm) = mpsc::channel(1);
        let mut recorder = Recorder::new(RecorderParts {
            store: store.clone(),
            board: board.clone(),
            clock: clock.clone(),
            metrics: Arc::new(Metrics::default()),
            submissions: submitted,
            confirmations,
            decisions: mpsc::channel(1).1,
            close_hours: Wakeup::new(),
            hours: Arc::new(JobStatus::new("hours", "", When::AtStart)),
            directory: Arc::new(Directory::new(Listing::of(&config))),
            quiet: Arc::default(),
            own_network: Arc::default(),
            deliver: Wakeup::new(),
            left_behind,
            handover: Arc::default(),
            feed: Arc::default(),
            outages,
            limits: Limits::default(),
            recorded: CancellationToken::new().drop_guard(),
        });
        let from = plus(at(START), DAYS * 86_400 / 2 * i64::try_from(half).unwrap());
        let to = plus(from, DAYS * 86_400 / 2);
        let mut results: Vec<_> =
            board.ids().into_iter().flat_map(|id| history_of(id, from, to, 120, &mut random)).collect();
        results.sort_by_key(|result| (result.started_at, result.endpoint_id));
        for (number, result) in results.into_iter().enumerate() {
            let late = micros(result.started_at) - micros(clock.now());
            clock.advance(Duration::from_micros(u64::try_from(late).unwrap_or(0)));
            recorder.let_time_pass();
            recorder.take(Submission { result, seen: Seen::default(), waiters: Vec::new() });
            if number % 150 == 0 {
                recorder.flush().await;
            }
        }
        recorder.close_hours();
        recorder.flush().await;
        Rollup { store: store.clone(), board, clock: clock.clone(), metrics: Arc::default() }.step().await.unwrap();
        deliver(&store, &clock).await;
    }
    let kept = Adjustable {
        logging_level: LogLevel::Info,
        check_history_days: 5,
        hourly_rollup_days: 8,
        max_concurrent_checks: MaxConcurrent::Auto,
        max_connections: MaxConnections::Auto,
        cooldown: std::time::Duration::from_secs(300),
    };
    let running = Arc::new(RunningSettings::new(kept));
    let retention = Retention { store: store.clone(), clock: clock.clone(), running };
    let removed = retention.step().await.unwrap();
    assert!(removed.checks > 100 && removed.hours > 10, "{removed:?}");
    assert!(removed.incidents > 0 && removed.notifications > 0, "{removed:?}");
}

/// Each sort of end for what waits.
async fn deliver(store: &Store, clock: &ManualClock) {
    for (channel, results) in [
        ("Mail", [AttemptResult::Delivered { answer: "250 \0 ok".to_owned() }].as_slice()),
        (
            "hook",
            &[
                AttemptResult::Retry {
                    error: "refused\0".to_owned(),
                    next_attempt_at: clock.now(),
                    may_have_arrived: true,
                },
                AttemptResult::Dead { error: "gone".to_owned(), may_have_arrived: false },
            ],
        ),
    ] {
        for (number, delivery) in outbox::pending(store.readers(), channel, 1_000).await.unwrap().iter().enumerate() {
            if number % 3 == 0 {
                merge(store.writer(), delivery, clock.now()).await;
                continue;
            }
            for result in results {
                record_attempt(store.writer(), delivery, result, clock.now()).await;
            }
        }
    }
}

async fn rows(db: &DatabaseConnection, sql: String) -> Vec<QueryResult> {
    db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap()
}

/// Each column of each table with its type, as PostgreSQL tells it.
pub(crate) async fn columns(db: &DatabaseConnection) -> BTreeMap<String, Vec<(String, String)>> {
    let sql = "SELECT table_name::text, column_name::text, data_type::text FROM information_schema.columns \
               WHERE table_schema = 'public' ORDER BY table_name, ordinal_position";
    let mut tables = BTreeMap::<String, Vec<(String, String)>>::new();
    for row in rows(db, sql.to_owned()).await {
        let text = |index| row.try_get_by_index::<String>(index).unwrap();
        tables.entry(text(0)).or_default().push((text(1), text(2)));
    }
    tables
}

async fn sqlite_columns(db: &DatabaseConnection) -> BTreeMap<String, Vec<String>> {
    let tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    let mut columns = BTreeMap::new();
    for table in rows(db, tables.to_owned()).await {
        let table: String = table.try_get_by_index(0).unwrap();
        let infos = rows(db, format!("SELECT name FROM pragma_table_info('{table}')")).await;
        columns.insert(table, infos.iter().map(|info| info.try_get_by_index(0).unwrap()).collect());
    }
    columns
}

fn shown(row: &QueryResult, index: usize, kind: &str) -> String {
    match kind {
        "bigint" | "integer" => format!("{:?}", row.try_get_by_index::<Option<i64>>(index).unwrap()),
        "text" | "character varying" => format!("{:?}", row.try_get_by_index::<Option<String>>(index).unwrap()),
        "boolean" => format!("{:?}", row.try_get_by_index::<Option<bool>>(index).unwrap()),
        "bytea" => format!("{:?}", row.try_get_by_index::<Option<Vec<u8>>>(index).unwrap()),
        "json" => row
            .try_get_by_index::<Option<serde_json::Value>>(index)
            .unwrap()
            .map_or_else(|| "None".to_owned(), |value| value.to_string()),
        other => panic!("a column of type {other} is not compared yet"),
    }
}

/// Every row, in the order of the first columns, which are the keys.
pub(crate) async fn dump(
    db: &DatabaseConnection,
    tables: &BTreeMap<String, Vec<(String, String)>>,
) -> BTreeMap<String, Vec<String>> {
    let mut dumped = BTreeMap::new();
    for (table, columns) in tables {
        // When a migration ran is no part of the story.
        let columns: Vec<_> = columns.iter().filter(|(name, _)| name != "applied_at").collect();
        let quoted: Vec<_> = columns.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let mut lines = Vec::new();
        for row in rows(db, format!("SELECT {} FROM {table}", quoted.join(", "))).await {
            let mut line = String::new();
            // Unique.
            if table == "settings" && shown(&row, 0, &columns[0].1).contains("recorder.batch") {
                continue;
            }
            for (index, (name, kind)) in columns.iter().enumerate() {
                write!(line, "{name}={} ", shown(&row, index, kind)).unwrap();
            }
            lines.push(line);
        }
        lines.sort_unstable();
        dumped.insert(table.clone(), lines);
    }
    dumped
}

#[tokio::test]
async fn the_same_life_leaves_the_same_rows_on_both() {
    if !Kind::Postgres.is_here() {
        return;
    }
    let (file, server) = (Database::of(Kind::Sqlite), Database::of(Kind::Postgres));
    let (on_file, on_server) = (Arc::new(file.open().await), Arc::new(server.open().await));
    let folder = tempfile::tempdir().unwrap();
    Box::pin(live_in(folder.path(), on_file.clone())).await;
    Box::pin(live_in(folder.path(), on_server.clone())).await;

    let tables = columns(on_server.readers()).await;
    let names = |of: &Vec<(String, String)>| of.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let expected: BTreeMap<_, _> = tables.iter().map(|(table, columns)| (table.clone(), names(columns))).collect();
    assert_eq!(sqlite_columns(on_file.readers()).await, expected);
    let (left, right) = (dump(on_file.readers(), &tables).await, dump(on_server.readers(), &tables).await);
    for (table, lines) in &left {
        // What the monitor writes of itself, and only then.
        assert!(!lines.is_empty() || table == "settings", "{table} is empty: the story does not tell of it");
        let other = &right[table];
        if let Some(at) = (0..lines.len().max(other.len())).find(|at| lines.get(*at) != other.get(*at)) {
            panic!("{table}, row {at}:\n  SQLite     {:?}\n  PostgreSQL {:?}", lines.get(at), other.get(at));
        }
    }
    assert_eq!(
        store::history::last_of_each(on_file.readers()).await,
        store::history::last_of_each(on_server.readers()).await
    );
    on_file.close().await.unwrap();
    on_server.close().await.unwrap();
}
