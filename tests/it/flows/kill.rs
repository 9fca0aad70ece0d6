//! The process is killed at any moment, again and again: nothing that was told is taken back, nothing counts twice.

#![expect(clippy::print_stdout, reason = "a campaign prints what it finds")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use api_monitor::clock::{Clock, SystemClock};
use api_monitor::config::Config;
use api_monitor::domain::check::CheckResult;
use api_monitor::domain::endpoint::EndpointId;
use api_monitor::domain::uptime::{Rollup, hour_of};
use api_monitor::domain::{Timestamp, from_micros};
use api_monitor::store::{self, Store};
use serde_json::Value;
use tokio::time::Instant;

use super::harness::load;
use super::target::{Answer, Target};
use super::uptime::past_checks;
use crate::cli::process::{Running, eventually, try_get};

const ENDPOINTS: usize = 30;
const PAST_HOURS: i64 = 5;
const PAGE: usize = 1_000;

/// The history of each endpoint as the API tells it: by id of the check, what it was.
type Told = BTreeMap<i64, BTreeMap<i64, Value>>;

/// What the campaign saw.
#[derive(Default)]
struct Findings {
    kills: usize,
    results: usize,
    lost: usize,
    changed: usize,
    repeated: usize,
    counts_wrong: usize,
    rollups_wrong: usize,
    gaps: u64,
    slowest_start: Duration,
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the length of a campaign is a setting of the test, not of the product")]
fn a_kill_at_any_moment_loses_nothing_that_was_told_and_counts_nothing_twice() {
    let kills: usize = std::env::var("API_MONITOR_KILLS").map_or(3, |n| n.parse().unwrap());
    let target = Target::answering(|path, before| {
        let fails = path == "e1" || path == "e2" && before % 5 < 2 || path == "e3" && before % 20 > 9;
        match path {
            "e4" => Answer::After(Duration::from_millis(300), 200),
            _ => Answer::Status(if fails { 500 } else { 200 }),
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let config = configure(folder.path(), &target);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(seed(&config));

    let mut told = Told::new();
    let mut found = Findings::default();
    for _ in 0..kills {
        let mut monitor = start(folder.path(), &mut told, &mut found);
        let address = monitor.address();
        // Read while results flow, up to the moment of the kill.
        let end = Instant::now() + Duration::from_millis(fastrand::u64(300..4_000));
        while Instant::now() < end {
            let id = i64::try_from(fastrand::usize(1..=ENDPOINTS)).unwrap();
            remember(&address, id, 50, told.entry(id).or_default());
        }
        monitor.signal("KILL");
        assert_eq!(monitor.wait(Duration::from_secs(10)).code, None);
        found.kills += 1;
    }
    let monitor = start(folder.path(), &mut told, &mut found);
    monitor.signal("KILL");
    monitor.wait(Duration::from_secs(10));
    runtime.block_on(compare_rollups(&config, &mut found));

    let seconds = found.slowest_start.as_secs_f64();
    println!(
        "kill campaign: {} kills, {} endpoints, {} results told, {} slots in gaps, slowest start {seconds:.2} s; \
         lost {}, changed {}, repeated {}, counts wrong {}, rollups wrong {}",
        found.kills,
        ENDPOINTS,
        found.results,
        found.gaps,
        found.lost,
        found.changed,
        found.repeated,
        found.counts_wrong,
        found.rollups_wrong
    );
    let wrong = found.lost + found.changed + found.repeated + found.counts_wrong + found.rollups_wrong;
    assert_eq!(wrong, 0, "see the lines above");
    assert!(found.results > ENDPOINTS * usize::try_from(PAST_HOURS * 60).unwrap(), "results flowed");
}

fn configure(folder: &Path, target: &Target) -> Config {
    let mut yaml = format!(
        "database: {{url: 'sqlite://{}'}}\napi: {{host: 127.0.0.1, port: 0}}\n\
         monitoring: {{max_checks_per_host: 100}}\ndefaults: {{interval: 1, retry: {{enabled: false}}}}\nendpoints:\n",
        folder.join("monitor.db").display()
    );
    for n in 1..=ENDPOINTS {
        writeln!(yaml, "  - {{name: e{n}, url: '{}'}}", target.url(&format!("e{n}"))).unwrap();
    }
    load(&folder.join("config.yaml"), &yaml, now())
}

fn now() -> Timestamp {
    SystemClock::new().now()
}

/// Hours full of checks that nobody counted, as a kill leaves them: every start has hours to mend until it has.
async fn seed(config: &Config) {
    let store = Store::open(&api_monitor::app::store_options(config)).await.unwrap();
    api_monitor::service::sync::apply(&store, config, now()).await.unwrap();
    for stored in store::endpoints::list_current(store.readers()).await.unwrap() {
        let past = past_checks(stored.id, now(), PAST_HOURS, 2 + stored.id.0);
        store::history::append(store.writer(), &past).await.unwrap();
    }
    store.close().await.unwrap();
}

/// Starts the monitor and compares what it tells with what was told before.
fn start(folder: &Path, told: &mut Told, found: &mut Findings) -> Running {
    let began = Instant::now();
    let mut monitor = Running::start(folder, &["--config", "config.yaml"]);
    let address = monitor.address();
    found.slowest_start = found.slowest_start.max(began.elapsed());
    found.results = 0;
    found.gaps = 0;
    for id in (1..).take(ENDPOINTS) {
        let before = told.remove(&id).unwrap_or_default();
        let after = whole_history(&address, id, found);
        for (check, was) in &before {
            match after.get(check) {
                None => {
                    found.lost += 1;
                    println!("lost: {was}");
                }
                Some(is) if is != was => {
                    found.changed += 1;
                    println!("changed: {was} to {is}");
                }
                Some(_) => {}
            }
        }
        found.results += after.len();
        told.insert(id, after);
        compare_counts(&address, id, found);
    }
    monitor
}

fn ask(address: &str, path: &str) -> Value {
    let (status, answer) = eventually(Duration::from_secs(20), path, || try_get(address, path).ok());
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

fn checks_of(page: &Value) -> impl Iterator<Item = (i64, Value)> {
    page["checks"].as_array().unwrap().iter().map(|check| (check["id"].as_i64().unwrap(), check.clone()))
}

fn remember(address: &str, id: i64, newest: usize, into: &mut BTreeMap<i64, Value>) {
    into.extend(checks_of(&ask(address, &format!("/api/v1/stats/history/{id}?limit={newest}"))));
}

fn whole_history(address: &str, id: i64, found: &mut Findings) -> BTreeMap<i64, Value> {
    let mut all = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let page = ask(address, &format!("/api/v1/stats/history/{id}?limit={PAGE}{cursor}"));
        for (check, is) in checks_of(&page) {
            found.gaps += if is["success"].is_null() { is["slots"].as_u64().unwrap() } else { 0 };
            if all.insert(check, is).is_some() {
                found.repeated += 1;
                println!("repeated: check {check} of endpoint {id}");
            }
        }
        match page["next_cursor"].as_i64() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

/// The uptime of a window that is over, so that what is recorded meanwhile lies outside, against its single checks.
fn compare_counts(address: &str, id: i64, found: &mut Findings) {
    let (mut told, mut counted) = (Value::Null, (0_u64, 0_u64, 0_u64));
    // A check made before the window's end may be committed between the two questions: then ask again.
    for _ in 0..5 {
        told = ask(address, &format!("/api/v1/stats/uptime/{id}?period=24h"));
        let to = told["to"].as_str().unwrap();
        let all = whole_history(address, id, &mut Findings::default());
        counted = (0, 0, 0);
        for check in all.values().filter(|check| instant(check, "scheduled_at") < to.parse::<Timestamp>().unwrap()) {
            match check["success"].as_bool() {
                Some(true) => counted.0 += 1,
                Some(false) => counted.1 += 1,
                None => counted.2 += check["slots"].as_u64().unwrap(),
            }
        }
        let number = |key: &str| told[key].as_u64().unwrap();
        let same = (number("successful_checks"), number("failed_checks"), number("missed_checks")) == counted;
        if same && number("total_checks") == counted.0 + counted.1 {
            return;
        }
    }
    found.counts_wrong += 1;
    println!("counted of endpoint {id}: {counted:?} (good, bad, missed), told: {told}");
}

fn instant(check: &Value, key: &str) -> Timestamp {
    check[key].as_str().unwrap().parse().unwrap()
}

/// Hours as they are stored and the open hour as it is counted at a start, against each single check.
async fn compare_rollups(config: &Config, found: &mut Findings) {
    let store = Store::open(&api_monitor::app::store_options(config)).await.unwrap();
    let now = now();
    let open = store::recount::recount(&store, now).await.unwrap();
    let ever = from_micros(0)..Timestamp::MAX_UTC;
    for id in (1..).take(ENDPOINTS).map(EndpointId) {
        let mut counted: BTreeMap<Timestamp, Rollup> = BTreeMap::new();
        let count = |row: &CheckResult| {
            counted.entry(hour_of(row.scheduled_at)).or_insert_with(Rollup::with_sketch).add(row);
        };
        store::history::for_each(store.readers(), id, ever.clone(), count).await.unwrap();
        let hours = store::rollups::list(store.readers(), id, store::rollups::Grain::Hour, ever.clone()).await.unwrap();
        let mut stored: BTreeMap<_, _> = hours.into_iter().collect();
        if let Some(open) = open.get(&id) {
            stored.insert(open.start, open.rollup.clone());
        }
        if stored != counted {
            found.rollups_wrong += 1;
            println!("endpoint {id}: stored {stored:#?}, counted {counted:#?}");
        }
    }
    store.close().await.unwrap();
}
