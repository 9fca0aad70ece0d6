//! Every query on real databases: each body runs on SQLite and on PostgreSQL.

mod alert_rules;
mod api_keys;
mod channels;
mod check_details;
pub(crate) mod dump;
mod endpoints;
mod history;
mod incidents;
mod maintenance;
mod opening;
mod outbox;
mod postgres;
mod queries;
mod recount;
mod reports;
mod retention;
mod rollups;
mod tables;

use std::path::Path;

use api_monitor::domain::check::{CheckResult, Timings, Trigger};
use api_monitor::domain::endpoint::{EndpointId, EndpointSettings, Origin};
use api_monitor::domain::outcome::{Failure, FailureKind, MissedReason, Outcome};
use api_monitor::domain::uptime::{Bucket, DAY_US, OpenHour, Rollup, hour_of};
use api_monitor::domain::{Timestamp, from_micros, micros};
use api_monitor::store::endpoints::{NewEndpoint, StoredEndpoint};
use api_monitor::store::{self, Store, StoreOptions, StoreTarget};

use crate::database::{Database, Kind};

/// Runs a test body on an empty database of its own.
async fn with_database(kind: Kind, test: impl AsyncFnOnce(&Store)) {
    let database = Database::of(kind);
    let store = database.open().await;
    test(&store).await;
    store.close().await.unwrap();
}

async fn open_at(path: &Path) -> Store {
    Store::open(&options_at(path)).await.unwrap()
}

fn options_at(path: &Path) -> StoreOptions {
    StoreOptions { target: StoreTarget::Sqlite(path.to_owned()), readers: 2, echo: false }
}

/// `2026-11-21T10:00:00Z`, given as text.
fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn plus(start: Timestamp, seconds: i64) -> Timestamp {
    from_micros(micros(start) + seconds * 1_000_000)
}

fn days(n: i64) -> i64 {
    n * DAY_US / 1_000_000
}

fn named(name: &str) -> EndpointSettings {
    EndpointSettings {
        name: Some(name.to_owned()),
        url: Some(format!("http://127.0.0.1/{name}")),
        ..EndpointSettings::default()
    }
}

fn new_endpoint(settings: EndpointSettings) -> NewEndpoint {
    NewEndpoint { settings, origin: Origin::Api, source: None, paused: false, now: at("2026-01-01T00:00:00Z") }
}

async fn add_endpoint(store: &Store, name: &str) -> StoredEndpoint {
    store::endpoints::insert(store.writer(), new_endpoint(named(name))).await.unwrap()
}

fn good(endpoint_id: EndpointId, scheduled_at: Timestamp, total_us: u32) -> CheckResult {
    CheckResult {
        endpoint_id,
        scheduled_at,
        started_at: from_micros(micros(scheduled_at) + 1_250),
        outcome: Outcome::Up,
        slots: 1,
        status_code: Some(200),
        timings: Timings {
            dns_us: None,
            connect_us: Some(total_us / 4),
            tls_us: None,
            first_byte_us: Some(total_us / 2),
            transfer_us: Some(total_us / 8),
            total_us,
        },
        attempts: 1,
        trigger: Trigger::Scheduled,
        in_maintenance: false,
    }
}

fn failed(endpoint_id: EndpointId, scheduled_at: Timestamp) -> CheckResult {
    CheckResult {
        outcome: Outcome::Down(Failure::new(FailureKind::HttpStatus, "GET returned 502, expected 200")),
        status_code: Some(502),
        attempts: 3,
        ..good(endpoint_id, scheduled_at, 40_000)
    }
}

/// Results as a monitor makes them: mostly good, now and then an outage, a gap, a window of maintenance, a check
/// between two slots.
fn history_of(
    id: EndpointId,
    from: Timestamp,
    to: Timestamp,
    interval_seconds: i64,
    random: &mut fastrand::Rng,
) -> Vec<CheckResult> {
    let mut results = Vec::new();
    let mut slot = plus(from, random.i64(0..interval_seconds));
    let mut outage = 0;
    let mut maintenance = 0;
    while slot < to {
        let latency = random.u32(500..5_000) * if random.u8(0..20) == 0 { 40 } else { 1 };
        let mut result = if outage > 0 { failed(id, slot) } else { good(id, slot, latency) };
        match random.u32(0..200) {
            0 => outage = random.u32(1..8),
            1 => maintenance = random.u32(1..40),
            2..=4 => result.outcome = if outage > 0 { result.outcome } else { Outcome::Degraded },
            5 => {
                let slots = random.u32(1..6);
                slot = plus(slot, i64::from(slots - 1) * interval_seconds);
                result = CheckResult::missed(id, slot, slots, MissedReason::Overload);
            }
            6 => {
                let between =
                    good(id, from_micros(micros(slot) + random.i64(1..interval_seconds * 1_000_000)), latency);
                results.push(CheckResult { trigger: Trigger::Manual, ..between });
            }
            7 => slot = plus(slot, random.i64(1..20) * 3_000),
            8..=9 => result.attempts = 2,
            _ => {}
        }
        result.in_maintenance = maintenance > 0;
        outage = outage.saturating_sub(1);
        maintenance = maintenance.saturating_sub(1);
        if result.scheduled_at >= slot {
            results.push(result);
        }
        slot = plus(slot, interval_seconds);
    }
    results.sort_by_key(|r| r.scheduled_at);
    results.dedup_by_key(|r| r.scheduled_at);
    results.retain(|r| r.scheduled_at < to);
    results
}

/// What the recorder does with results of one endpoint, without its batching by time.
struct Recorder<'a> {
    store: &'a Store,
    open: Option<OpenHour>,
}

impl<'a> Recorder<'a> {
    fn new(store: &'a Store) -> Self {
        Self { store, open: None }
    }

    async fn record(&mut self, results: &[CheckResult]) {
        for batch in results.chunks(500) {
            let transaction = self.store.begin().await.unwrap();
            assert_eq!(store::history::append(&transaction, batch).await.unwrap(), batch.len() as u64);
            let mut over = Vec::new();
            for result in batch {
                let hour = hour_of(result.scheduled_at);
                match &mut self.open {
                    Some(open) if open.start == hour => open.add(result),
                    Some(open) if open.start > hour => {
                        store::rollups::put_hours(&transaction, &over).await.unwrap();
                        over.clear();
                        store::rollups::amend(&transaction, result.endpoint_id, result).await.unwrap();
                    }
                    _ => {
                        let mut next = OpenHour::holding(hour);
                        next.add(result);
                        if let Some(closed) = self.open.replace(next) {
                            over.push((result.endpoint_id, closed.start, closed.rollup));
                        }
                    }
                }
            }
            store::rollups::put_hours(&transaction, &over).await.unwrap();
            transaction.commit().await.unwrap();
        }
    }
}

async fn close_all_days(store: &Store, before: Timestamp) -> u64 {
    let mut closed = 0;
    loop {
        match store::rollups::close_days(store.writer(), before, 3).await.unwrap() {
            0 => return closed,
            n => closed += n,
        }
    }
}

/// The count to compare with: over the results themselves.
fn counted<'a>(results: impl IntoIterator<Item = &'a CheckResult>, from: Timestamp, to: Timestamp) -> Bucket {
    rolled_up(results, from, to).bucket
}

fn rolled_up<'a>(results: impl IntoIterator<Item = &'a CheckResult>, from: Timestamp, to: Timestamp) -> Rollup {
    let mut rollup = Rollup::with_sketch();
    results.into_iter().filter(|r| (from..to).contains(&r.scheduled_at)).for_each(|r| rollup.add(r));
    rollup
}
