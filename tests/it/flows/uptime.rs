//! The uptime that lists show is the uptime that a report counts.

use std::time::Duration;

use api_monitor::board::Entry;
use api_monitor::domain::check::{CheckResult, Timings, Trigger};
use api_monitor::domain::endpoint::{EndpointId, EndpointSettings};
use api_monitor::domain::outcome::{Failure, FailureKind, Outcome};
use api_monitor::domain::uptime::{HOUR_US, hour_of};
use api_monitor::domain::{Timestamp, from_micros, micros};
use api_monitor::jobs::rollup::Rollup;
use api_monitor::service::reports::{self, Retention, UptimeQuery};
use api_monitor::service::{checks, endpoints, sync};
use api_monitor::store::{self, Store};

use super::harness::{Live, Place, somebody};
use super::target::{Answer, Target};
use crate::database::{Kind, on_both_databases};

const START: &str = "2026-11-21T12:34:00Z";

/// A check a minute in each of the `hours` before the hour of `now`; every `nth` of them failed.
pub(crate) fn past_checks(id: EndpointId, now: Timestamp, hours: i64, nth: i64) -> Vec<CheckResult> {
    let first = micros(hour_of(now)) - hours * HOUR_US;
    let at = |minute: i64| from_micros(first + minute * 60_000_000);
    let outcome = |minute: i64| match minute % nth {
        0 => Outcome::Down(Failure::new(FailureKind::HttpStatus, "GET returned 500, expected 200")),
        _ => Outcome::Up,
    };
    (0..hours * 60)
        .map(|minute| CheckResult {
            endpoint_id: id,
            scheduled_at: at(minute),
            started_at: at(minute),
            outcome: outcome(minute),
            slots: 1,
            status_code: Some(200),
            timings: Timings { total_us: 1_000 + u32::try_from(minute).unwrap(), ..Timings::default() },
            attempts: 1,
            trigger: Trigger::Scheduled,
            in_maintenance: false,
        })
        .collect()
}

/// The percentage of the last 24 hours, counted exactly, with what was recorded in this very instant.
async fn reported(live: &Live<'_>, entry: &Entry, now: Timestamp) -> Option<f64> {
    let query = UptimeQuery {
        endpoint: entry.known.id,
        from: from_micros(micros(now) - 24 * HOUR_US),
        to: from_micros(micros(now) + 1),
        now,
        retention: Retention { history_days: 90, hourly_days: 400 },
    };
    let open = entry.live.open_hour.as_ref();
    reports::uptime(&live.monitor.store, open, &query).await.unwrap().bucket.uptime_percentage()
}

fn housekeeping(live: &Live<'_>) -> Rollup {
    let ctx = &live.monitor.service;
    Rollup {
        store: ctx.store.clone(),
        board: ctx.board.clone(),
        clock: ctx.clock.clone(),
        metrics: ctx.metrics.clone(),
    }
}

/// Makes a check by hand now: the endpoints of these tests have no slots, so that hours can pass at once.
async fn check(live: &Live<'_>, id: EndpointId) {
    checks::check_now(&live.monitor.service, &somebody(), id, false).await.unwrap();
}

async fn assert_lists_are_exact(live: &Live<'_>, now: Timestamp) {
    let entry = live.entry("e");
    let exact = reported(live, &entry, now).await;
    assert!(exact.is_some_and(|percentage| percentage < 100.0), "{exact:?}");
    let shown = entry.uptimes();
    assert_eq!([shown.day, shown.week, shown.month], [exact; 3], "at {now}: {:#?}", entry.live.windows);
}

async fn lists_and_reports_agree_after_a_start_and_after_housekeeping(kind: Kind) {
    let target = Target::answering(|_, _| Answer::Status(200));
    let place = Place::on(kind, START);
    let yaml = format!("endpoints: [{{name: e, url: '{}', is_active: false}}]", target.url("e"));
    let config = place.config(&yaml);
    let store = Store::open(&api_monitor::app::store_options(&config)).await.unwrap();
    sync::apply(&store, &config, place.now()).await.unwrap();
    let id = store::endpoints::list_current(store.readers()).await.unwrap()[0].id;
    // Rows whose hours nobody counted, as a crash leaves them.
    store::history::append(store.writer(), &past_checks(id, place.now(), 5, 7)).await.unwrap();
    store.close().await.unwrap();

    for _ in 0..2 {
        let live = place.start(&yaml).await;
        for _ in 0..5 {
            check(&live, id).await;
            assert_lists_are_exact(&live, place.now()).await;
            housekeeping(&live).step().await.unwrap();
            assert_lists_are_exact(&live, place.now()).await;
            place.pass(Duration::from_secs(50 * 60));
        }
        live.stop().await;
    }
}

async fn the_first_hour_of_a_new_endpoint_counts_when_it_is_over(kind: Kind) {
    let target = Target::answering(|_, before| Answer::Status(if before == 0 { 500 } else { 200 }));
    let place = Place::on(kind, START);
    let live = place.start("endpoints: []").await;
    let settings = EndpointSettings {
        name: Some("e".to_owned()),
        url: Some(target.url("e")),
        is_active: Some(false),
        ..EndpointSettings::default()
    };
    let id = endpoints::create(&live.monitor.service, &somebody(), settings).await.unwrap().known.id;
    for _ in 0..4 {
        check(&live, id).await;
        assert_lists_are_exact(&live, place.now()).await;
        place.pass(Duration::from_secs(30 * 60));
    }
    live.stop().await;
}

async fn what_is_older_than_the_window_leaves_the_lists(kind: Kind) {
    let target = Target::answering(|_, _| Answer::Status(200));
    let place = Place::on(kind, START);
    let yaml = format!("endpoints: [{{name: e, url: '{}', is_active: false}}]", target.url("e"));
    let live = place.start(&yaml).await;
    let id = live.id("e");
    // Thirty hours, of which the first five are bad; with them the day would not be.
    let mut past = past_checks(id, place.now(), 30, 1_801);
    let bad = past_checks(id, place.now(), 30, 1);
    past.splice(..300, bad.into_iter().take(300));
    store::history::append(live.monitor.store.writer(), &past).await.unwrap();
    live.stop().await;

    let live = place.start(&yaml).await;
    for _ in 0..4 {
        housekeeping(&live).step().await.unwrap();
        let shown = live.entry("e").uptimes();
        assert_eq!(shown.day, Some(100.0), "at {}", place.now());
        assert!(shown.week.is_some_and(|percentage| percentage < 90.0), "{shown:?}");
        place.pass(Duration::from_secs(50 * 60));
        check(&live, id).await;
    }
    live.stop().await;
}

on_both_databases!(
    lists_and_reports_agree_after_a_start_and_after_housekeeping,
    the_first_hour_of_a_new_endpoint_counts_when_it_is_over,
    what_is_older_than_the_window_leaves_the_lists
);
