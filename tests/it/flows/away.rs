//! The database goes away while checks go on: nothing is lost, people are told in time, and afterwards the rows say
//! what happened.

mod places;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api_monitor::api;
use api_monitor::domain::check::CheckResult;
use api_monitor::domain::notification::Event;
use api_monitor::domain::outcome::{Outcome, Status};
use api_monitor::domain::uptime::{OpenHour, Rollup, hour_of};
use api_monitor::domain::{Timestamp, from_micros};
use api_monitor::service::checks;
use api_monitor::store::incidents::{self, IncidentQuery, Resolution};
use api_monitor::store::outbox::{self, DeliveryState, NotificationQuery};
use api_monitor::store::{self, Store};
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use serde_json::Value;
use tokio::time::Instant;
use tower::ServiceExt;

use self::places::{Full, Hanging, Locked, Server, Stopped};
use super::harness::{Live, Place, eventually, somebody};
use super::target::{Answer, Target};
use crate::database::Kind;
use crate::postgres::Cluster;
use crate::telling::hook::Hook;

/// Soon an hour is over, while the database is away.
const START: &str = "2026-11-21T12:58:40Z";

const ENDPOINTS: usize = 6;

/// How soon people are told, however the database does. Far more than it takes, as machines are busy.
const SOON: Duration = Duration::from_secs(20);

/// A database that goes away and comes back.
trait Away {
    async fn go(&mut self);
    async fn come_back(&mut self);
}

/// What is watched, and who is told.
struct Scene {
    target: Target,
    statuses: Arc<Mutex<BTreeMap<String, u16>>>,
    hook: Hook,
}

impl Scene {
    fn new() -> Self {
        let statuses: Arc<Mutex<BTreeMap<String, u16>>> = Arc::default();
        let asked = statuses.clone();
        let target =
            Target::answering(move |path, _| Answer::Status(asked.lock().unwrap().get(path).copied().unwrap_or(200)));
        Self { target, statuses, hook: Hook::start() }
    }

    fn yaml(&self) -> String {
        let mut yaml = format!(
            "channels: {{hook: {{type: webhook, url: '{}'}}}}\nmonitoring: {{max_checks_per_host: 100}}\n\
             group_messages: false\n\
             defaults: {{interval: 30, retry: {{enabled: false}}, alert_policy: {{cooldown_seconds: 0}}}}\nendpoints:\n",
            self.hook.url()
        );
        for n in 1..=ENDPOINTS {
            writeln!(yaml, "  - {{name: e{n}, url: '{}'}}", self.target.url(&format!("e{n}"))).unwrap();
        }
        yaml
    }

    fn set(&self, name: &str, status: u16) {
        self.statuses.lock().unwrap().insert(name.to_owned(), status);
    }

    /// What was told of an endpoint, in order: event and id.
    fn told(&self, name: &str) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let of = |body: &Value| body["endpoint_name"] == name;
        let taken = self.hook.taken();
        taken.iter().filter(|(_, body)| of(body)).map(|(_, body)| (text(&body["event"]), text(&body["id"]))).collect()
    }

    fn bodies(&self) -> Vec<Value> {
        self.hook.taken().into_iter().map(|(_, body)| body).collect()
    }

    async fn is_told(&self, name: &str, event: &str) {
        let began = Instant::now();
        eventually(&format!("{event} of {name}"), || self.told(name).last().is_some_and(|(told, _)| told == event))
            .await;
        assert!(began.elapsed() < SOON, "{event} of {name} after {:?}", began.elapsed());
    }
}

/// An answer of the API and how long it took.
async fn ask(live: &Live<'_>, method: &str, path: &str, body: Option<Value>) -> (u16, Value, Option<String>, Duration) {
    let began = Instant::now();
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let mut request = request.body(body.map_or_else(Body::empty, |body| Body::from(body.to_string()))).unwrap();
    request.extensions_mut().insert(ConnectInfo(std::net::SocketAddr::from(([127, 0, 0, 1], 40_000))));
    let answer = api::router(live.monitor.service.clone()).oneshot(request).await.unwrap();
    let (status, retry) = (answer.status().as_u16(), answer.headers().get("retry-after").cloned());
    let bytes = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    let took = began.elapsed();
    let retry = retry.map(|value| value.to_str().unwrap().to_owned());
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null), retry, took)
}

/// The whole story, for any database and any way to go away.
async fn goes_away_and_comes_back(place: &Place, mut database: impl Away) {
    let scene = Scene::new();
    let live = place.start(&scene.yaml()).await;
    // Time goes on, whatever is waited for.
    tokio::select! {
        () = live.run_for(Duration::from_hours(100)) => unreachable!(),
        () = story(&live, &scene, &mut database) => {}
    }
    compare(&live, &scene).await;
    let config = place.config(&scene.yaml());
    live.stop().await;
    let store = Store::open(&api_monitor::app::store_options(&config)).await.unwrap();
    compare_hours(&store, place.now()).await;
    store.close().await.unwrap();
}

async fn story(live: &Live<'_>, scene: &Scene, database: &mut impl Away) {
    let metrics = live.monitor.service.metrics.clone();
    eventually("the first checks", || metrics.results_recorded.get() >= 2 * ENDPOINTS as u64).await;
    // It is down already when the database goes, and recovers while it is away.
    scene.set("e5", 500);
    scene.is_told("e5", "down").await;

    database.go().await;
    scene.set("e1", 500);
    scene.set("e2", 500);
    scene.is_told("e1", "down").await;
    scene.is_told("e2", "down").await;
    scene.set("e1", 200);
    scene.set("e5", 200);
    scene.is_told("e1", "up").await;
    scene.is_told("e5", "up").await;
    eventually("the board", || live.status("e2") == Status::Down && live.status("e1") == Status::Up).await;

    eventually("the trouble", || metrics.database.away().is_some()).await;
    let (status, health, _, took) = ask(live, "GET", "/health", None).await;
    assert_eq!((status, &health["status"], &health["database"]), (200, &"degraded".into(), &"disconnected".into()));
    assert!(health["database_away_since"].is_string(), "{health}");
    assert!(health["results_pending"].as_u64().unwrap() > 0, "{health}");
    assert!(took < Duration::from_secs(6), "{took:?}");
    let (status, ready, ..) = ask(live, "GET", "/health/ready", None).await;
    assert_eq!(status, 503, "{ready}");
    for path in ["/api/v1/endpoints", "/api/v1/stats/summary", "/api/v1/endpoints/1", "/health/live"] {
        let (status, answer, _, took) = ask(live, "GET", path, None).await;
        assert_eq!(status, 200, "{path}: {answer}");
        assert!(took < Duration::from_secs(6), "{path}: {took:?}");
    }
    let new = serde_json::json!({"name": "new", "url": scene.target.url("new")});
    let (status, answer, retry, took) = ask(live, "POST", "/api/v1/endpoints", Some(new)).await;
    assert_eq!((status, retry.as_deref()), (503, Some("5")), "{answer}");
    assert!(took < Duration::from_secs(12), "{took:?}");
    let by_hand = checks::check_now(&live.monitor.service, &somebody(), live.id("e3"), true).await.unwrap();
    assert!(!by_hand.stored && by_hand.result.outcome == Outcome::Up, "{by_hand:?}");
    // The hour is over meanwhile.
    let over: Timestamp = "2026-11-21T13:00:40Z".parse().unwrap();
    eventually("the next hour", || live.monitor.service.clock.now() > over).await;

    database.come_back().await;
    eventually("the end of the trouble", || metrics.database.away().is_none()).await;
    let (status, health, ..) = ask(live, "GET", "/health", None).await;
    assert_eq!((status, &health["status"], &health["database"]), (200, &"healthy".into(), &"connected".into()));
    assert_eq!(ask(live, "GET", "/health/ready", None).await.0, 200);
    scene.set("e2", 200);
    scene.is_told("e2", "up").await;
    settled(live).await;
}

/// Everything is delivered, and said to be.
async fn settled(live: &Live<'_>) {
    let query = NotificationQuery { state: Some(DeliveryState::Pending), limit: 100, ..NotificationQuery::default() };
    let deadline = Instant::now() + Duration::from_secs(30);
    while !outbox::list(live.monitor.store.readers(), &query).await.unwrap().is_empty() {
        assert!(Instant::now() < deadline, "deliveries are never settled");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What was told against the rows.
async fn compare_told(live: &Live<'_>, scene: &Scene) -> usize {
    let db = live.monitor.store.readers();
    let query = NotificationQuery { limit: 1_000, ..NotificationQuery::default() };
    // What was told from memory last may get its rows a moment later.
    let deadline = Instant::now() + Duration::from_secs(30);
    let (stored, bodies) = loop {
        settled(live).await;
        let stored = outbox::list(db, &query).await.unwrap();
        let mut ids: Vec<_> = stored.iter().map(|notification| notification.facts.id.clone()).collect();
        let bodies = scene.bodies();
        let mut told: Vec<_> = bodies.iter().map(|body| body["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        told.sort();
        if told == ids {
            break (stored, bodies);
        }
        assert!(Instant::now() < deadline, "each once, under the id of its rows: told {told:?}, rows {ids:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    for notification in &stored {
        let states: Vec<_> = notification.deliveries.iter().map(|d| (d.state, d.attempts)).collect();
        assert_eq!(states, [(DeliveryState::Delivered, 1)], "{notification:?}");
    }
    let all = incidents::list(db, &IncidentQuery { limit: 1_000, ..IncidentQuery::default() }).await.unwrap();
    for incident in &all {
        assert_eq!(incident.resolution, Some(Resolution::Recovered));
        let of: Vec<_> = bodies.iter().filter(|body| body["incident"]["id"] == incident.id).collect();
        assert_eq!(of.len(), 2, "{incident:?}");
        assert!(of.iter().all(|body| body["endpoint"]["id"] == incident.endpoint_id.0), "{of:#?}");
    }
    let ids: Vec<i64> = all.iter().map(|incident| incident.id).collect();
    let events = incidents::events(db, &ids).await.unwrap();
    assert_eq!(events.len(), 2 * all.len(), "opened and resolved, each once: {events:#?}");
    all.len()
}

/// The rows against what was asked of the targets.
async fn compare_rows(live: &Live<'_>, scene: &Scene) {
    for n in 1..=ENDPOINTS {
        let name = format!("e{n}");
        // What was under way when the clock stopped comes yet.
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut rows = live.history(live.id(&name)).await;
        while rows.len() != scene.target.hits(&name).len() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(50)).await;
            rows = live.history(live.id(&name)).await;
        }
        assert!(!rows.iter().any(|row| matches!(row.outcome, Outcome::Missed(_))), "{name}: {rows:#?}");
        assert_eq!(rows.len(), scene.target.hits(&name).len(), "{name}: each check has its row");
    }
}

async fn compare(live: &Live<'_>, scene: &Scene) {
    assert_eq!(compare_told(live, scene).await, 3);
    let bodies = scene.bodies();
    for name in ["e1", "e2", "e5"] {
        let events: Vec<_> = scene.told(name).into_iter().map(|(event, _)| event).collect();
        assert_eq!(events, [Event::Down.as_str(), Event::Up.as_str()], "{name}");
    }
    let from_memory = |body: &&Value| {
        body["remarks"].as_array().is_some_and(|all| all.iter().any(|r| r.as_str().unwrap().contains("from memory")))
    };
    assert!(bodies.iter().filter(from_memory).count() >= 4, "{bodies:#?}");
    eventually("the rows", || live.monitor.service.metrics.results_pending.get() == 0).await;
    compare_rows(live, scene).await;
}

/// Every hour, as stored or as counted at a start, against each single check.
async fn compare_hours(store: &Store, now: Timestamp) {
    let open = store::recount::recount(store, now).await.unwrap();
    let ever = from_micros(0)..Timestamp::MAX_UTC;
    for stored in store::endpoints::list_current(store.readers()).await.unwrap() {
        let mut counted: BTreeMap<Timestamp, Rollup> = BTreeMap::new();
        let count = |row: &CheckResult| {
            counted.entry(hour_of(row.scheduled_at)).or_insert_with(Rollup::with_sketch).add(row);
        };
        store::history::for_each(store.readers(), stored.id, ever.clone(), count).await.unwrap();
        let grain = store::rollups::Grain::Hour;
        let hours = store::rollups::list(store.readers(), stored.id, grain, ever.clone()).await.unwrap();
        let mut kept: BTreeMap<_, _> = hours.into_iter().collect();
        if let Some(OpenHour { start, rollup }) = open.get(&stored.id) {
            kept.insert(*start, rollup.clone());
        }
        assert!(counted.len() >= 2, "two hours of {}", stored.id);
        assert_eq!(kept, counted, "endpoint {}", stored.id);
    }
}

#[tokio::test]
async fn a_locked_database_holds_up_nothing_and_loses_nothing() {
    let place = Place::on(Kind::Sqlite, START);
    let database = Locked::new(&place);
    goes_away_and_comes_back(&place, database).await;
}

#[tokio::test]
async fn a_full_disk_holds_up_nothing_and_loses_nothing() {
    let place = Place::on(Kind::Sqlite, START);
    let Some(database) = Full::mounted_on(&place) else { return };
    goes_away_and_comes_back(&place, database).await;
}

#[tokio::test]
async fn a_server_that_stops_or_hangs_holds_up_nothing_and_loses_nothing() {
    let Some(cluster) = Cluster::start().map(Arc::new) else { return };
    let server = || Server(cluster.clone());
    server()
        .does(|cluster| ["stopped", "hanging"].into_iter().for_each(|name| cluster.create(name, "template0")))
        .await;
    let place = Place::with_url(server().url("stopped"), START);
    goes_away_and_comes_back(&place, Stopped(server())).await;
    let place = Place::with_url(server().url("hanging"), START);
    goes_away_and_comes_back(&place, Hanging(server())).await;
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the length of a campaign is a setting of the test, not of the product")]
async fn a_server_that_is_killed_again_and_again_loses_nothing_and_counts_nothing_twice() {
    let kills: u32 = std::env::var("API_MONITOR_SERVER_KILLS").map_or(8, |n| n.parse().unwrap());
    let Some(cluster) = Cluster::start().map(Arc::new) else { return };
    let server = Server(cluster);
    server.does(|cluster| cluster.create("killed", "template0")).await;
    let place = Place::with_url(server.url("killed"), START);
    let scene = Scene::new();
    let live = place.start(&scene.yaml()).await;
    let metrics = live.monitor.service.metrics.clone();
    let campaign = async {
        for n in 0..kills {
            scene.set(&format!("e{}", fastrand::usize(1..=ENDPOINTS)), if n % 3 == 2 { 200 } else { 500 });
            tokio::time::sleep(Duration::from_millis(fastrand::u64(0..2_500))).await;
            server.does(Cluster::stop).await;
            tokio::time::sleep(Duration::from_millis(fastrand::u64(0..1_500))).await;
            server.does(Cluster::start_again).await;
        }
        (1..=ENDPOINTS).for_each(|n| scene.set(&format!("e{n}"), 200));
        let all_up = || (1..=ENDPOINTS).all(|n| live.status(&format!("e{n}")) == Status::Up);
        eventually("the end", || all_up() && metrics.database.away().is_none()).await;
        // Until the next hour is there.
        let over: Timestamp = "2026-11-21T13:00:40Z".parse().unwrap();
        eventually("the next hour", || live.monitor.service.clock.now() > over).await;
        settled(&live).await;
    };
    tokio::select! {
        () = live.run_for(Duration::from_hours(100)) => unreachable!(),
        () = campaign => {}
    }
    compare_told(&live, &scene).await;
    compare_rows(&live, &scene).await;
    let config = place.config(&scene.yaml());
    live.stop().await;
    let store = Store::open(&api_monitor::app::store_options(&config)).await.unwrap();
    compare_hours(&store, place.now()).await;
    store.close().await.unwrap();
}

/// A result that the database does not want.
#[tokio::test]
async fn a_row_that_is_refused_is_left_out_and_holds_up_nothing() {
    let status = Arc::new(AtomicU16::new(200));
    let asked = status.clone();
    let target = Target::answering(move |path, _| {
        Answer::Status(if path == "e1" { asked.load(Ordering::Relaxed) } else { 200 })
    });
    let hook = Hook::start();
    let place = Place::on(Kind::Sqlite, START);
    let yaml = format!(
        "channels: {{hook: {{type: webhook, url: '{}'}}}}\ndefaults: {{interval: 30, retry: {{enabled: false}}}}\n\
         endpoints: [{{name: e1, url: '{}'}}, {{name: e2, url: '{}'}}]",
        hook.url(),
        target.url("e1"),
        target.url("e2")
    );
    let live = place.start(&yaml).await;
    let sql = "CREATE TRIGGER refuse BEFORE INSERT ON check_results WHEN new.status_code = 418 \
               BEGIN SELECT RAISE(ABORT, 'not this one'); END";
    store::ConnectionTrait::execute_unprepared(live.monitor.store.writer(), sql).await.unwrap();
    let metrics = live.monitor.service.metrics.clone();
    let (one, two) = (live.id("e1"), live.id("e2"));
    live.run_while("the first checks", || metrics.results_recorded.get() < 6).await;
    status.store(418, Ordering::Relaxed);
    live.run_while("the outage", || hook.taken().is_empty()).await;
    status.store(200, Ordering::Relaxed);
    live.run_while("the recovery", || hook.taken().len() < 2).await;
    live.run_while("what comes after", || metrics.results_pending.get() > 0 || live.status("e1") != Status::Up).await;
    let refused = metrics.results_refused.get();
    live.run_for(Duration::from_secs(60)).await;
    assert!(refused >= 2, "{refused}");
    assert_eq!(metrics.results_refused.get(), refused);
    assert!(metrics.database.away().is_none());
    let rows = live.history(one).await;
    assert!(rows.iter().all(|row| row.status_code == Some(200)), "{rows:#?}");
    assert_eq!(rows.len() as u64 + refused, target.hits("e1").len() as u64);
    assert_eq!(live.history(two).await.len(), target.hits("e2").len());
    let query = IncidentQuery { limit: 9, ..IncidentQuery::default() };
    let all = incidents::list(live.monitor.store.readers(), &query).await.unwrap();
    assert_eq!((all.len(), all[0].resolution), (1, Some(Resolution::Recovered)));
    live.stop().await;
}
