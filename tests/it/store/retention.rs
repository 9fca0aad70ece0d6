//! What the retention job removes, and what it keeps.

use std::sync::Arc;

use api_monitor::clock::ManualClock;
use api_monitor::config::{Adjustable, LogLevel, MaxConcurrent, MaxConnections, RunningSettings};
use api_monitor::domain::endpoint::EndpointId;
use api_monitor::domain::notification::Event;
use api_monitor::jobs::retention::{Removed, Retention};
use api_monitor::store::audit::{self, AuditEntry, AuditQuery};
use api_monitor::store::incidents::{self, IncidentEventKind, Resolution};
use api_monitor::store::outbox;

use super::incidents::{event, open};
use super::outbox::add;
use super::{at, days, plus};
use crate::database::{Database, Kind, on_both_databases};

async fn what_was_told_is_kept_as_long_as_the_hours(kind: Kind) {
    let database = Database::of(kind);
    let store = Arc::new(database.open().await);
    let start = at("2026-11-21T10:00:00.123456Z");
    let endpoint = EndpointId(1);
    let mut incidents = Vec::new();
    let mut told = Vec::new();
    // More than a batch of old ones, and one that is young.
    for second in (0..600).chain([days(20)]) {
        let id = open(&store, endpoint, plus(start, second)).await;
        event(&store, id, plus(start, second), IncidentEventKind::Opened).await;
        incidents::resolve(store.writer(), id, plus(start, second + 1), Resolution::Recovered).await.unwrap();
        told.push(add(&store, Event::Down, second, Some(id), &[]).await);
        incidents.push(id);
    }
    let still_open = open(&store, endpoint, plus(start, -50)).await;
    let told_of_open = add(&store, Event::Down, -50, Some(still_open), &["a"]).await;

    let clock = Arc::new(ManualClock::at(plus(start, days(30) + 14 * 3_600 - 1)));
    let settings = Adjustable {
        logging_level: LogLevel::Info,
        check_history_days: 7,
        hourly_rollup_days: 30,
        max_concurrent_checks: MaxConcurrent::Auto,
        max_connections: MaxConnections::Auto,
        cooldown: std::time::Duration::from_secs(300),
    };
    let running = Arc::new(RunningSettings::new(settings));
    let retention = Retention { store: store.clone(), clock: clock.clone(), running: running.clone() };
    // By whole days: the day that is 30 days back is kept to its end.
    assert_eq!(retention.step().await.unwrap(), Removed::default());
    clock.advance(std::time::Duration::from_secs(86_400));
    let removed = Removed { notifications: 600, incidents: 600, ..Removed::default() };
    assert_eq!(retention.step().await.unwrap(), removed);
    assert_eq!(retention.step().await.unwrap(), Removed::default());

    let young = *incidents.last().unwrap();
    let events = incidents::events(store.readers(), &incidents).await.unwrap();
    assert_eq!(events.iter().map(|e| e.incident_id).collect::<Vec<_>>(), [young]);
    assert!(incidents::find(store.readers(), still_open).await.unwrap().is_some());
    for (id, kept) in [(&told[0], false), (told.last().unwrap(), true), (&told_of_open, true)] {
        assert_eq!(outbox::find(store.readers(), id).await.unwrap().is_some(), kept, "{id}");
    }

    // Changed while it runs.
    running.set(Adjustable { hourly_rollup_days: 8, ..settings });
    assert_eq!(retention.step().await.unwrap(), Removed { notifications: 1, incidents: 1, ..Removed::default() });
    store.close().await.unwrap();
}

async fn refusals_age_and_changes_do_not(kind: Kind) {
    let database = Database::of(kind);
    let store = Arc::new(database.open().await);
    let entry = |action: &str, at| AuditEntry {
        at,
        actor: "anonymous".to_owned(),
        address: None,
        action: action.to_owned(),
        subject: "endpoint/1".to_owned(),
        result: "forbidden".to_owned(),
        before: None,
        after: None,
    };
    let start = at("2026-01-01T00:00:00Z");
    for (action, at) in [(audit::REFUSED, start), ("endpoint.delete", start), (audit::REFUSED, plus(start, days(2)))] {
        audit::append(store.writer(), entry(action, at)).await.unwrap();
    }
    let settings = Adjustable {
        logging_level: LogLevel::Info,
        check_history_days: 1,
        hourly_rollup_days: 1,
        max_concurrent_checks: MaxConcurrent::Auto,
        max_connections: MaxConnections::Auto,
        cooldown: std::time::Duration::from_secs(300),
    };
    let clock = Arc::new(ManualClock::at(plus(start, days(31))));
    let running = Arc::new(RunningSettings::new(settings));
    let retention = Retention { store: store.clone(), clock, running };
    assert_eq!(retention.step().await.unwrap(), Removed { refusals: 1, ..Removed::default() });
    let left: Vec<_> = audit::page(store.readers(), &AuditQuery { limit: 10, ..AuditQuery::default() }).await.unwrap();
    assert_eq!(
        left.iter().map(|row| row.entry.action.as_str()).collect::<Vec<_>>(),
        [audit::REFUSED, "endpoint.delete"]
    );
    store.close().await.unwrap();
}

on_both_databases!(refusals_age_and_changes_do_not, what_was_told_is_kept_as_long_as_the_hours,);
