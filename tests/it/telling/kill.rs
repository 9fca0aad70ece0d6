//! The process is killed at any moment of telling: whatever was to be told arrives, and under one id.

#![expect(clippy::print_stdout, reason = "a campaign prints what it finds")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use api_monitor::clock::{Clock, SystemClock};
use api_monitor::domain::notification::Event;
use api_monitor::store::Store;
use api_monitor::store::incidents::{self, IncidentEventKind, IncidentQuery, Resolution};
use api_monitor::store::outbox::{self, DeliveryState, NotificationQuery};
use serde_json::Value;

use super::hook::{Hook, Moment, kill};
use crate::cli::process::{Running, eventually};
use crate::flows::harness::load;
use crate::flows::target::{Answer, Target};

const ENDPOINTS: usize = 40;

/// What outlives the kills: the folder, the receiver, and targets that go up and down until they may rest.
struct Campaign {
    folder: tempfile::TempDir,
    hook: Arc<Hook>,
    _target: Target,
    rest: Arc<AtomicBool>,
    config: api_monitor::config::Config,
    kills: u32,
}

/// What the campaign found.
#[derive(Debug, Default)]
struct Findings {
    incidents: usize,
    notifications: usize,
    received: usize,
    repeated: usize,
    merged: usize,
    /// Told by a digest.
    grouped: usize,
    wrong: Vec<String>,
}

impl Campaign {
    /// `fails` decides by the number of the endpoint and of the request; `group_messages` is that of the configuration.
    fn new(
        endpoints: usize,
        group_messages: &str,
        fails: impl Fn(usize, usize) -> bool + Send + Sync + 'static,
    ) -> Self {
        let rest = Arc::new(AtomicBool::new(false));
        let resting = rest.clone();
        let target = Target::answering(move |path, before| {
            let number = path.trim_start_matches('e').parse().unwrap();
            Answer::Status(if !resting.load(Ordering::Relaxed) && fails(number, before) { 500 } else { 200 })
        });
        let (folder, hook) = (tempfile::tempdir().unwrap(), Arc::new(Hook::start()));
        let mut yaml = format!(
            "database: {{url: 'sqlite://{}'}}\napi: {{host: 127.0.0.1, port: 0}}\n\
             group_messages: {group_messages}\nmonitoring: {{max_checks_per_host: 100}}\nchannels: {{hook: {{type: webhook, url: '{}'}}}}\n\
             defaults: {{interval: 1, retry: {{enabled: false}}, alert_policy: {{cooldown_seconds: 3}}}}\nendpoints:\n",
            folder.path().join("monitor.db").display(),
            hook.url()
        );
        for n in 1..=endpoints {
            writeln!(yaml, "  - {{name: e{n}, url: '{}'}}", target.url(&format!("e{n}"))).unwrap();
        }
        let config = load(&folder.path().join("config.yaml"), &yaml, SystemClock::new().now());
        Self { folder, hook, _target: target, rest, config, kills: 0 }
    }

    fn start(&self) -> Running {
        let mut monitor = Running::start(self.folder.path(), &["--config", "config.yaml"]);
        monitor.address();
        monitor
    }

    /// Waits until something else has killed it.
    fn is_killed(&mut self, monitor: Running) {
        assert_eq!(monitor.wait(Duration::from_secs(60)).code, None);
        self.kills += 1;
    }

    /// Once there were so many incidents all targets are well. Waits until everything is over and told, and compares
    /// what arrived with the tables.
    fn end(self, incidents: u64) -> Findings {
        let monitor = self.start();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let numbers = || runtime.block_on(self.numbers());
        eventually(Duration::from_secs(60), "the incidents", || (numbers()?.0 >= incidents).then_some(()));
        self.rest.store(true, Ordering::Relaxed);
        eventually(Duration::from_secs(60), "the end of every incident and delivery", || {
            matches!(numbers()?, (_, 0, 0)).then_some(())
        });
        monitor.signal("TERM");
        assert_eq!(monitor.wait(Duration::from_secs(20)).code, Some(0));
        let found = runtime.block_on(self.compare());
        println!(
            "kill campaign of telling: {} kills, {} incidents, {} notifications, {} messages received, {} of them \
             again under the same id, {} merged, {} told by a digest; wrong: {}",
            self.kills,
            found.incidents,
            found.notifications,
            found.received,
            found.repeated,
            found.merged,
            found.grouped,
            found.wrong.len()
        );
        found
    }

    /// Incidents, those that are open, and notifications that wait. Reads as another process would.
    async fn numbers(&self) -> Option<(u64, u64, u64)> {
        let url = format!("sqlite://{}?mode=ro", self.folder.path().join("monitor.db").display());
        let db = sea_orm::Database::connect(url).await.ok()?;
        let open = IncidentQuery { open: Some(true), ..IncidentQuery::default() };
        let waiting = NotificationQuery { state: Some(DeliveryState::Pending), ..NotificationQuery::default() };
        let all = incidents::count(&db, &IncidentQuery::default()).await;
        let numbers = (all, incidents::count(&db, &open).await, outbox::count(&db, &waiting).await);
        drop(db.close().await);
        Some((numbers.0.ok()?, numbers.1.ok()?, numbers.2.ok()?))
    }

    async fn compare(&self) -> Findings {
        let mut found = Findings::default();
        let store = Store::open(&api_monitor::app::store_options(&self.config)).await.unwrap();
        let all = IncidentQuery { limit: 1_000_000, ..IncidentQuery::default() };
        let incidents = incidents::list(store.readers(), &all).await.unwrap();
        let ids: Vec<i64> = incidents.iter().map(|incident| incident.id).collect();
        let events = incidents::events(store.readers(), &ids).await.unwrap();
        let all = NotificationQuery { limit: 1_000_000, ..NotificationQuery::default() };
        let notifications = outbox::list(store.readers(), &all).await.unwrap();
        store.close().await.unwrap();

        let mut arrived: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (_, body) in self.hook.taken() {
            found.received += 1;
            arrived.entry(body["id"].as_str().unwrap().to_owned()).or_default().push(body);
        }
        found.incidents = incidents.len();
        found.notifications = notifications.len();
        found.repeated = found.received - arrived.len();
        let mut wrong = Vec::new();
        for incident in &incidents {
            let happened = |kind| events.iter().filter(|e| e.incident_id == incident.id && e.kind == kind).count();
            let of = |event| {
                notifications.iter().filter(|n| n.incident == Some(incident.id) && n.facts.event == event).count()
            };
            if (happened(IncidentEventKind::Opened), of(Event::Down)) != (1, 1) {
                wrong.push(format!("incident {} has not one down: {events:#?}", incident.id));
            }
            if happened(IncidentEventKind::Reopened) != of(Event::DownAgain) {
                wrong.push(format!("incident {} is down again otherwise than told", incident.id));
            }
            if happened(IncidentEventKind::Resolved) != of(Event::Up) || of(Event::Up) == 0 {
                wrong.push(format!("incident {} has no end that is told", incident.id));
            }
            if incident.resolution != Some(Resolution::Recovered) {
                wrong.push(format!("incident {} is not resolved", incident.id));
            }
        }
        // Under which digests each was told, and under its own id.
        let mut told_as: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for body in arrived.values().map(|bodies| &bodies[0]) {
            let id = body["id"].as_str().unwrap();
            let items = body["items"].as_array().cloned().unwrap_or_default();
            let of_items = items.iter().flat_map(|item| item["ids"].as_array().unwrap().clone());
            let all = of_items.map(|id| id.as_str().unwrap().to_owned()).chain(items.is_empty().then(|| id.to_owned()));
            for told in all {
                told_as.entry(told).or_default().insert(id.to_owned());
            }
        }
        for (id, ways) in told_as.iter().filter(|(_, ways)| ways.len() > 1) {
            wrong.push(format!("{id} was told under {ways:?}"));
        }
        let mut known = BTreeSet::new();
        for notification in &notifications {
            let id = &notification.facts.id;
            known.insert(id.clone());
            let states: Vec<_> = notification.deliveries.iter().map(|delivery| delivery.state).collect();
            match states.as_slice() {
                [DeliveryState::Delivered] if arrived.contains_key(id) => {}
                [DeliveryState::Merged] => found.merged += 1,
                [DeliveryState::Grouped] if told_as.contains_key(id) => {
                    let digest = notification.deliveries[0].digest.clone().unwrap();
                    if !told_as[id].contains(&digest) {
                        wrong.push(format!("{id} was told by another digest than {digest}: {:?}", told_as[id]));
                    }
                    found.grouped += 1;
                }
                _ => wrong.push(format!("{id} is {states:?}, and arrived: {}", arrived.contains_key(id))),
            }
        }
        for (id, bodies) in &arrived {
            if !known.contains(id) {
                wrong.push(format!("{id} arrived and is in no table"));
            }
            if bodies.iter().any(|body| *body != bodies[0]) {
                wrong.push(format!("{id} is not always the same: {bodies:#?}"));
            }
        }
        for line in &wrong {
            println!("wrong: {line}");
        }
        found.wrong = wrong;
        found
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the length of a campaign is a setting of the test, not of the product")]
fn a_kill_at_any_moment_loses_no_message_and_makes_no_second_one() {
    let kills: u32 = std::env::var("API_MONITOR_TELL_KILLS").map_or(3, |n| n.parse().unwrap());
    // Each goes down for some checks of every so many, all at moments of their own.
    let window = "{after: 3, window: 2s}";
    let mut campaign = Campaign::new(ENDPOINTS, window, |n, before| (before + n) % (7 + n % 9) < 2 + n % 3);
    for _ in 0..kills {
        let monitor = campaign.start();
        std::thread::sleep(Duration::from_millis(fastrand::u64(300..5_000)));
        monitor.signal("KILL");
        campaign.is_killed(monitor);
    }
    let found = campaign.end(20);
    assert!(found.wrong.is_empty(), "see the lines above");
    assert!(found.notifications >= 40 && found.grouped >= 10, "{found:?}");
}

/// Ten endpoints go down within a second, faster than the receiver takes it in; it kills the sender amid that.
fn killed_by_the_receiver(moment: Moment, after: usize) -> Findings {
    killed_while("false", moment, after)
}

fn killed_while(group_messages: &str, moment: Moment, after: usize) -> Findings {
    let mut campaign = Campaign::new(10, group_messages, |_, _| true);
    let monitor = campaign.start();
    campaign.hook.aim(monitor.id(), moment, after);
    campaign.is_killed(monitor);
    assert_eq!(campaign.hook.kills(), 1);
    let found = campaign.end(10);
    assert!(found.wrong.is_empty(), "{moment:?} of request {after}: see the lines above");
    assert_eq!(found.incidents, 10);
    found
}

#[test]
fn a_kill_after_the_commit_and_before_the_send_loses_no_message() {
    killed_by_the_receiver(Moment::BeforeReading, 0);
}

#[test]
fn a_kill_after_the_send_and_before_the_mark_repeats_the_message_under_its_id() {
    let found = killed_by_the_receiver(Moment::BeforeTheAnswer, 0);
    assert!(found.repeated >= 1, "{found:?}");
    killed_by_the_receiver(Moment::AfterTheAnswer, 0);
}

#[test]
fn a_kill_in_the_middle_of_a_window_loses_nothing_that_waits_for_the_digest() {
    // By the first message, by the last one that goes out by itself: the digest has not gone out.
    for (moment, after) in [
        (Moment::BeforeReading, 0),
        (Moment::BeforeTheAnswer, 1),
        (Moment::AfterTheAnswer, 2),
        (Moment::BeforeReading, 2),
    ] {
        let found = killed_while("{after: 3, window: 3s}", moment, after);
        assert!(found.grouped >= 10, "seven outages, and more than that of their ends: {found:?}");
    }
}

#[test]
fn a_kill_while_a_digest_is_sent_makes_no_second_one() {
    for moment in [Moment::BeforeReading, Moment::BeforeTheAnswer, Moment::AfterTheAnswer] {
        let found = killed_while("{after: 3, window: 2s}", moment, 3);
        assert!(found.grouped >= 10, "{found:?}");
        assert!(moment != Moment::BeforeTheAnswer || found.repeated >= 1, "under the same id: {found:?}");
    }
}

#[test]
fn a_kill_amid_a_batch_loses_no_message() {
    killed_by_the_receiver(Moment::BeforeTheAnswer, 5);
    killed_by_the_receiver(Moment::BeforeReading, 5);
}

#[test]
fn a_kill_around_the_commit_tells_nothing_that_is_not_kept() {
    // The target kills the monitor some milliseconds after the answer that confirms the outage.
    let process = Arc::new(AtomicU32::new(0));
    let armed = Arc::new(AtomicBool::new(false));
    let (victim, trigger) = (process.clone(), armed.clone());
    let mut campaign = Campaign::new(10, "{after: 3, window: 1s}", move |_, before| {
        if before > 0 && before % 6 == 1 && trigger.swap(false, Ordering::Relaxed) {
            let victim = victim.load(Ordering::Relaxed);
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_micros(fastrand::u64(0..15_000)));
                kill(victim);
            });
        }
        before % 6 < 3
    });
    for _ in 0..4 {
        let monitor = campaign.start();
        process.store(monitor.id(), Ordering::Relaxed);
        armed.store(true, Ordering::Relaxed);
        campaign.is_killed(monitor);
    }
    let found = campaign.end(10);
    assert!(found.wrong.is_empty(), "see the lines above");
}
