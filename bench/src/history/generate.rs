//! Makes a history through the product's own store, in the order in which a monitor would have written it: the
//! checks of all endpoints by time, each hour when it is over, each day when its hours are.

use std::time::Duration;

use anyhow::Context;
use api_monitor::app::store_options;
use api_monitor::clock::{Clock, SystemClock};
use api_monitor::config::{Config, Environment, LoadOptions};
use api_monitor::domain::check::{CheckResult, Timings, Trigger};
use api_monitor::domain::endpoint::EndpointId;
use api_monitor::domain::outcome::{Failure, FailureKind, Outcome};
use api_monitor::domain::schedule::golden_offset;
use api_monitor::domain::uptime::{DAY_US, HOUR_US, Rollup};
use api_monitor::domain::{Timestamp, from_micros, micros};
use api_monitor::recorder::buffer::BATCH;
use api_monitor::service;
use api_monitor::store::{self, Store};

use crate::monitor::Place;
use crate::session::Session;

/// Rows of days and of hours that are changed at once, as housekeeping does.
const ROWS: u64 = 500;

/// Sketches of hours are kept for so many days.
const SKETCH_DAYS: i64 = 3;

/// One check in so many fails.
const FAILURES: u32 = 200;

/// Fills the database of `place` up to two intervals ago, so that every endpoint is overdue; returns how many
/// checks there are.
pub(super) fn history(session: &Session, place: &Place, days: u32, interval: u64) -> anyhow::Result<u64> {
    let now = SystemClock::new().now();
    let options = LoadOptions {
        path: Some(place.configuration()),
        environment: Environment::default(),
        allow_missing_env: false,
    };
    let config = api_monitor::config::load(&options, now)?;
    let interval = Duration::from_secs(interval);
    let interval_us = i64::try_from(interval.as_micros())?;
    let until = micros(now) - 2 * interval_us;
    let from = until - i64::from(days) * DAY_US;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let mut writer = Writer::open(&config, from_micros(from), interval).await?;
        let mut written = 0;
        let mut hour = from.div_euclid(HOUR_US) * HOUR_US;
        while hour < until {
            session.progress(u64::try_from(hour - from).unwrap_or(0), u64::try_from(until - from)?)?;
            let end = hour + HOUR_US;
            written += writer.write_hour(hour.max(from), end.min(until), hour).await?;
            if end <= until && end % DAY_US == 0 {
                writer.close_day(end).await?;
            }
            hour = end;
        }
        writer.store.close().await?;
        Ok(written)
    })
}

struct Writer {
    store: Store,
    /// The endpoints with the offset of their slots, microseconds, in the order in which they are due.
    endpoints: Vec<(EndpointId, i64)>,
    interval_us: i64,
    random: fastrand::Rng,
}

impl Writer {
    async fn open(config: &Config, since: Timestamp, interval: Duration) -> anyhow::Result<Self> {
        let store = Store::open(&store_options(config)).await?;
        service::sync::apply(&store, config, since).await?;
        let mut endpoints = Vec::new();
        for stored in store::endpoints::list_current(store.readers()).await? {
            let offset = golden_offset(stored.id, interval).as_micros();
            endpoints.push((stored.id, i64::try_from(offset)?));
        }
        endpoints.sort_unstable_by_key(|(_, offset)| *offset);
        let interval_us = i64::try_from(interval.as_micros())?;
        Ok(Self { store, endpoints, interval_us, random: fastrand::Rng::with_seed(1) })
    }

    /// Writes the checks due in `[from, to)` of the hour that begins at `hour`, and the hour if it is over then.
    async fn write_hour(&mut self, from: i64, to: i64, hour: i64) -> anyhow::Result<u64> {
        let mut hours: Vec<_> = self.endpoints.iter().map(|_| Rollup::with_sketch()).collect();
        let mut results = Vec::new();
        let mut cycle = from.div_euclid(self.interval_us) * self.interval_us;
        while cycle < to {
            for ((id, offset), rollup) in self.endpoints.iter().zip(&mut hours) {
                let slot = cycle + offset;
                if (from..to).contains(&slot) {
                    let result = check(&mut self.random, *id, slot);
                    rollup.add(&result);
                    results.push(result);
                }
            }
            cycle += self.interval_us;
        }
        for batch in results.chunks(BATCH) {
            let transaction = self.store.begin().await?;
            store::history::append(&transaction, batch).await?;
            transaction.commit().await.context("the checks cannot be written")?;
        }
        if to == hour + HOUR_US {
            let ids = self.endpoints.iter().map(|(id, _)| *id);
            let hours: Vec<_> = ids.zip(hours).map(|(id, rollup)| (id, from_micros(hour), rollup)).collect();
            let transaction = self.store.begin().await?;
            store::rollups::put_hours(&transaction, &hours).await?;
            transaction.commit().await.context("the hours cannot be written")?;
        }
        Ok(results.len() as u64)
    }

    /// Derives the day that ended at `end`, and drops what is no longer kept of its hours.
    async fn close_day(&self, end: i64) -> anyhow::Result<()> {
        while store::rollups::close_days(self.store.writer(), from_micros(end), ROWS).await? > 0 {}
        let sketches_before = from_micros(end - SKETCH_DAYS * DAY_US);
        while store::rollups::drop_hour_sketches(self.store.writer(), sketches_before, ROWS).await? > 0 {}
        Ok(())
    }
}

/// A check with latencies as they are met: mostly near 40 ms, with a tail, and a failure now and then.
fn check(random: &mut fastrand::Rng, id: EndpointId, slot: i64) -> CheckResult {
    let connect = random.u32(500..3_000);
    let tail = if random.u32(..50) == 0 { random.u32(..400_000) } else { 0 };
    let first_byte = 20_000 + random.u32(..40_000) + tail;
    let transfer = random.u32(50..2_000);
    let fails = random.u32(..FAILURES) == 0;
    let (status, outcome) = if fails {
        (503, Outcome::Down(Failure::new(FailureKind::HttpStatus, "GET returned 503, expected 200")))
    } else {
        (200, Outcome::Up)
    };
    let scheduled_at = from_micros(slot);
    CheckResult {
        endpoint_id: id,
        scheduled_at,
        started_at: from_micros(slot + random.i64(200..3_000)),
        outcome,
        slots: 1,
        status_code: Some(status),
        timings: Timings {
            dns_us: None,
            connect_us: Some(connect),
            tls_us: None,
            first_byte_us: Some(first_byte),
            transfer_us: Some(transfer),
            total_us: connect + first_byte + transfer,
        },
        attempts: 1,
        trigger: Trigger::Scheduled,
        in_maintenance: false,
    }
}
