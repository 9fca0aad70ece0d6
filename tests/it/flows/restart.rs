//! A monitor that ends and starts again goes on where it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use api_monitor::domain::outcome::{MissedReason, Status};
use api_monitor::service::{checks, endpoints};

use super::harness::{Place, distances, gaps, somebody};
use super::target::{Answer, Target};
use crate::database::{Kind, on_both_databases};

const START: &str = "2026-11-21T12:00:40Z";

async fn a_failing_run_is_neither_repeated_nor_forgotten(kind: Kind) {
    let target = Target::answering(|_, _| Answer::Status(500));
    let place = Place::on(kind, START);
    // No room for confirming checks: each slot counts one.
    let policy = "alert_policy: {failure_threshold: 4, confirm_interval: 60}, retry: {enabled: false}";
    let yaml = format!("endpoints: [{{name: e, url: '{}', interval: 60, {policy}}}]", target.url("e"));
    let first = place.start(&yaml).await;
    let rows = first.run_until("e", 2).await;
    assert_eq!(rows.len(), 2);
    assert_eq!((first.status("e"), first.entry("e").live.state.failures), (Status::Pending, 2));
    first.stop().await;

    let second = place.start(&yaml).await;
    assert_eq!(second.entry("e").live.state.failures, 2);
    let rows = second.run_until("e", 3).await;
    assert_eq!((rows.len(), second.status("e")), (3, Status::Pending));
    let rows = second.run_until("e", 4).await;
    let entry = second.entry("e");
    assert_eq!((entry.status(), entry.since()), (Status::Down, rows[0].started_at));
    second.stop().await;

    let third = place.start(&yaml).await;
    let entry = third.entry("e");
    assert_eq!((entry.status(), entry.since()), (Status::Down, rows[0].started_at));
    third.stop().await;
}

async fn the_time_without_a_monitor_is_one_gap(kind: Kind) {
    let target = Target::answering(|_, _| Answer::Status(200));
    let place = Place::on(kind, START);
    let yaml = format!("endpoints: [{{name: e, url: '{}', interval: 60}}]", target.url("e"));
    let first = place.start(&yaml).await;
    let before = first.run_until("e", 2).await;
    first.stop().await;
    place.pass(Duration::from_secs(36_000));

    let second = place.start(&yaml).await;
    let rows = second.run_until("e", before.len() + 3).await;
    let new = &rows[before.len()..];
    let (last, gap, next) = (&before[before.len() - 1], &new[0], &new[1]);
    let between = (next.scheduled_at - last.scheduled_at).num_seconds() / 60 - 1;
    assert_eq!(gaps(&rows), [(MissedReason::Stopped, u32::try_from(between).unwrap())]);
    assert_eq!(distances(&[gap.clone(), next.clone()]), [60_000_000], "it ends at the slot before the next check");
    assert!(between >= 599, "{between}");
    assert_eq!(second.status("e"), Status::Up);
    assert_eq!(second.entry("e").uptimes().day, Some(100.0));
    second.stop().await;
}

async fn a_quick_restart_leaves_no_gap_and_checks_no_slot_twice(kind: Kind) {
    let target = Target::answering(|_, _| Answer::Status(200));
    let place = Place::on(kind, START);
    let yaml = format!("endpoints: [{{name: e, url: '{}', interval: 60}}]", target.url("e"));
    let mut count = 0;
    for _ in 0..4 {
        let live = place.start(&yaml).await;
        count = live.run_until("e", count + 1).await.len();
        live.stop().await;
        let live = place.start(&yaml).await;
        live.stop().await;
    }
    let live = place.start(&yaml).await;
    let rows = live.history(live.id("e")).await;
    assert_eq!(gaps(&rows), []);
    assert_eq!(distances(&rows[1..]), vec![60_000_000; rows.len() - 2]);
    assert_eq!(target.hits("e").len(), rows.len());
    live.stop().await;
}

async fn a_pause_survives_restarts_and_is_no_gap(kind: Kind) {
    let target = Target::answering(|_, _| Answer::Status(200));
    let place = Place::on(kind, START);
    let yaml = format!("endpoints: [{{name: e, url: '{}', interval: 60}}]", target.url("e"));
    let first = place.start(&yaml).await;
    let rows = first.run_until("e", 1).await;
    endpoints::pause(&first.monitor.service, &somebody(), first.id("e")).await.unwrap();
    assert_eq!(first.status("e"), Status::Paused);
    first.run_for(Duration::from_secs(150)).await;
    assert_eq!(first.history(first.id("e")).await, rows);
    first.stop().await;

    place.pass(Duration::from_secs(7200));
    let second = place.start(&yaml).await;
    assert_eq!(second.status("e"), Status::Paused);
    second.run_for(Duration::from_secs(150)).await;
    assert_eq!(second.history(second.id("e")).await, rows);
    // By hand it is examined all the same.
    let by_hand = checks::check_now(&second.monitor.service, &somebody(), second.id("e"), true).await.unwrap();
    endpoints::resume(&second.monitor.service, &somebody(), second.id("e")).await.unwrap();
    let rows = second.run_until("e", 3).await;
    assert_eq!(rows[1], by_hand.result);
    second.stop().await;

    let third = place.start(&yaml).await;
    let rows = third.run_until("e", rows.len() + 1).await;
    assert_eq!(third.status("e"), Status::Up);
    assert_eq!(gaps(&rows), []);
    third.stop().await;
}

async fn an_edit_between_two_starts_keeps_the_status_and_starts_the_counters_again(kind: Kind) {
    let status = Arc::new(AtomicU16::new(500));
    let answers = status.clone();
    let target = Target::answering(move |_, _| Answer::Status(answers.load(Ordering::Relaxed)));
    let place = Place::on(kind, START);
    let policy = "alert_policy: {failure_threshold: 3, confirm_interval: 60}, retry: {enabled: false}, interval: 60";
    let yaml = |path: &str| format!("endpoints: [{{name: e, url: '{}', {policy}}}]", target.url(path));
    let first = place.start(&yaml("old")).await;
    first.run_until("e", 2).await;
    assert_eq!(first.entry("e").live.state.failures, 2);
    first.stop().await;

    let second = place.start(&yaml("new")).await;
    assert_eq!(second.monitor.synced.changed, 1);
    assert_eq!(second.entry("e").live.state.failures, 0);
    let rows = second.run_until("e", 4).await;
    assert_eq!((rows.len(), second.status("e")), (4, Status::Pending), "two failures of the new target");
    second.run_until("e", 5).await;
    assert_eq!(second.status("e"), Status::Down);
    second.stop().await;
}

on_both_databases!(
    a_failing_run_is_neither_repeated_nor_forgotten,
    the_time_without_a_monitor_is_one_gap,
    a_quick_restart_leaves_no_gap_and_checks_no_slot_twice,
    a_pause_survives_restarts_and_is_no_gap,
    an_edit_between_two_starts_keeps_the_status_and_starts_the_counters_again
);
