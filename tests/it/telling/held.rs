//! What is held back, for how long, and what is told again.

use std::time::Duration;

use api_monitor::domain::notification::Event;
use api_monitor::domain::outcome::{Outcome, Status};

use super::scripted::{Scripted, channels, named};
use super::{START, incidents_of, notifications};
use crate::database::{Kind, on_both_databases};
use crate::flows::harness::Place;
use crate::flows::target::Switched;

fn yaml(target: &Switched, more: &str) -> String {
    let url = target.url("e");
    format!("{}endpoints: [{{name: e, url: '{url}', interval: 20, retry: {{enabled: false}}{more}}}]", named(&["ops"]))
}

async fn down_again_within_the_cooldown_is_told_at_once_and_its_recovery_held(kind: Kind) {
    let target = Switched::good();
    target.set(500);
    let place = Place::on(kind, START);
    let ops = Scripted::taking(&place.moved());
    let live = place.start_through(&yaml(&target, ""), Some(channels([("ops", &ops)]))).await;
    let id = live.id("e");
    live.run_while("down", || ops.events().is_empty()).await;
    target.set(200);
    live.run_while("up", || ops.events().len() < 2).await;
    target.set(500);
    live.run_while("down again", || ops.events().len() < 3).await;
    target.set(200);
    live.run_while("good again", || live.status("e") != Status::Up).await;
    assert_eq!(ops.events(), [Event::Down, Event::Up, Event::DownAgain]);
    let held_at = place.now();
    live.run_while("the held recovery", || ops.events().len() < 4).await;
    let told = ops.taken();
    assert_eq!(told[3].notification.event, Event::Up);
    let after = (told[3].at - held_at).num_seconds();
    assert!((295..400).contains(&after), "{after} s");

    let incidents = incidents_of(&live, id).await;
    let [incident] = incidents.as_slice() else { panic!("one incident: {incidents:#?}") };
    let rows = live.history(id).await;
    let last_failed = rows.iter().rposition(|row| matches!(row.outcome, Outcome::Down(_))).unwrap();
    assert_eq!(incident.resolved_at, Some(rows[last_failed + 1].started_at));
    for message in &told {
        assert_eq!(message.notification.incident.as_ref().unwrap().id, incident.id);
    }
    let ids: std::collections::HashSet<_> = told.iter().map(|message| message.notification.id.clone()).collect();
    assert_eq!(ids.len(), 4);
    live.stop().await;
}

async fn an_outage_that_lasts_is_told_again_after_an_hour(kind: Kind) {
    let target = Switched::good();
    target.set(500);
    let place = Place::on(kind, START);
    let ops = Scripted::taking(&place.moved());
    let live = place.start_through(&yaml(&target, ""), Some(channels([("ops", &ops)]))).await;
    live.run_while("down", || ops.events().is_empty()).await;
    live.skip(Duration::from_secs(3_500)).await;
    // A tick of the recorder, in which it would remind.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(ops.events(), [Event::Down]);
    live.skip(Duration::from_secs(110)).await;
    live.run_while("the reminder", || ops.events().len() < 2).await;
    let told = ops.taken();
    assert_eq!(told[1].notification.event, Event::Reminder);
    assert!(told[1].notification.incident.as_ref().unwrap().duration_seconds >= 3_600);
    live.skip(Duration::from_secs(3_700)).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(ops.events().len(), 2, "the second pause is twice as long");
    live.stop().await;
}

async fn refused_connections_right_after_a_start_open_nothing_for_a_while(kind: Kind) {
    let place = Place::on(kind, START);
    let ops = Scripted::taking(&place.moved());
    // Nobody listens there.
    let yaml = format!(
        "{}endpoints: [{{name: e, url: 'http://127.0.0.1:1/', interval: 5, retry: {{enabled: false}}}}]",
        named(&["ops"])
    );
    let began = place.now();
    let live = place.start_through(&yaml, Some(channels([("ops", &ops)]))).await;
    let id = live.id("e");
    live.run_until("e", 4).await;
    assert_eq!((live.status("e"), incidents_of(&live, id).await.len()), (Status::Pending, 0));
    live.run_while("the outage", || ops.events().is_empty()).await;
    let after = (ops.taken()[0].at - began).num_seconds();
    assert!((30..60).contains(&after), "{after} s after the start");
    let rows = live.history(id).await;
    assert_eq!(incidents_of(&live, id).await[0].started_at, rows[0].started_at, "the run counts as it is");
    live.stop().await;
}

async fn a_success_ends_the_grace_after_a_start(kind: Kind) {
    let target = Switched::good();
    let place = Place::on(kind, START);
    let ops = Scripted::taking(&place.moved());
    let yaml = format!(
        "{}endpoints: [{{name: good, url: '{}', interval: 5}},\n  \
         {{name: e, url: 'http://127.0.0.1:1/', interval: 5, retry: {{enabled: false}}}}]",
        named(&["ops"]),
        target.url("e")
    );
    let began = place.now();
    let live = place.start_through(&yaml, Some(channels([("ops", &ops)]))).await;
    live.run_while("the outage", || ops.events().is_empty()).await;
    let after = (ops.taken()[0].at - began).num_seconds();
    assert!(after < 25, "{after} s after the start");
    live.stop().await;
}

async fn whoever_wants_no_messages_gets_rows_that_say_so(kind: Kind) {
    for (top, more, held_by) in
        [("", ", notify: []", "nobody_to_tell"), ("notifications: {enabled: false}\n", "", "notifications_disabled")]
    {
        let target = Switched::good();
        target.set(500);
        let place = Place::on(kind, START);
        let ops = Scripted::taking(&place.moved());
        let yaml = format!("{top}{}", yaml(&target, more));
        let live = place.start_through(&yaml, Some(channels([("ops", &ops)]))).await;
        let id = live.id("e");
        live.run_while("the outage", || live.status("e") != Status::Down).await;
        target.set(200);
        live.run_while("the recovery", || live.status("e") != Status::Up).await;
        let incidents = incidents_of(&live, id).await;
        assert_eq!(incidents.len(), 1, "it is opened and shown");
        assert!(incidents[0].resolved_at.is_some());
        let rows = notifications(&live).await;
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].held_by.as_deref(), Some(held_by));
        assert!(rows.iter().all(|row| row.held_by.is_some() && row.deliveries.is_empty()), "{rows:#?}");
        assert!(ops.attempts().is_empty());
        live.stop().await;
    }
}

on_both_databases!(
    down_again_within_the_cooldown_is_told_at_once_and_its_recovery_held,
    an_outage_that_lasts_is_told_again_after_an_hour,
    refused_connections_right_after_a_start_open_nothing_for_a_while,
    a_success_ends_the_grace_after_a_start,
    whoever_wants_no_messages_gets_rows_that_say_so
);
