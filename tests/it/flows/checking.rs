//! From a failing answer to a confirmed outage and back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use api_monitor::domain::check::Trigger;
use api_monitor::domain::endpoint::EndpointSettings;
use api_monitor::domain::outcome::Status;
use api_monitor::domain::setting::DurationSetting;
use api_monitor::domain::{from_micros, micros};
use api_monitor::service::{checks, endpoints};

use super::harness::{Place, distances, gaps, somebody};
use super::target::{Answer, Target};
use crate::database::{Kind, on_both_databases};

const START: &str = "2026-11-21T12:00:40Z";

async fn a_target_that_answers_at_the_third_attempt_is_up(kind: Kind) {
    let target = Target::answering(|_, before| Answer::Status(if before < 2 { 500 } else { 200 }));
    let place = Place::on(kind, START);
    let retry = "retry: {max_attempts: 3, base_delay: 100ms, multiplier: 3, jitter: false}";
    let live = place.start(&format!("endpoints: [{{name: e, url: '{}', timeout: 1, {retry}}}]", target.url("e"))).await;
    let rows = live.run_until("e", 1).await;
    assert!(rows[0].outcome.is_good());
    assert_eq!((rows[0].attempts, rows[0].status_code), (3, Some(200)));
    assert_eq!(live.status("e"), Status::Up);
    let hits = target.hits("e");
    let pauses = [hits[1] - hits[0], hits[2] - hits[1]];
    assert!(pauses[0] >= Duration::from_millis(100) && pauses[1] >= Duration::from_millis(300), "{pauses:?}");
    live.stop().await;
}

async fn an_outage_is_confirmed_early_and_ends_with_a_good_answer(kind: Kind) {
    let status = Arc::new(AtomicU16::new(200));
    let answers = status.clone();
    let target = Target::answering(move |_, _| Answer::Status(answers.load(Ordering::Relaxed)));
    let place = Place::on(kind, START);
    let policy = "alert_policy: {failure_threshold: 2, confirm_interval: 10}, retry: {enabled: false}";
    let yaml = format!("endpoints: [{{name: e, url: '{}', interval: 300, {policy}}}]", target.url("e"));
    let live = place.start(&yaml).await;
    live.run_until("e", 1).await;
    assert_eq!(live.status("e"), Status::Up);

    status.store(503, Ordering::Relaxed);
    let rows = live.run_until("e", 3).await;
    let [_, first, second] = &rows[..] else { panic!("{rows:#?}") };
    assert_eq!((first.trigger, second.trigger), (Trigger::Scheduled, Trigger::Confirming));
    let early = (second.started_at - first.started_at).to_std().unwrap();
    assert!(early >= Duration::from_secs(10) && early < Duration::from_secs(60), "{early:?}");
    let down = live.entry("e");
    assert_eq!((down.status(), down.since()), (Status::Down, first.started_at));
    assert_eq!(down.live.state.cause.as_ref().unwrap().message, "GET returned 503, expected 200");

    status.store(200, Ordering::Relaxed);
    let rows = live.run_until("e", 4).await;
    let up = live.entry("e");
    assert_eq!((up.status(), up.since()), (Status::Up, rows[3].started_at));
    assert_eq!(rows[3].trigger, Trigger::Scheduled, "nothing is asked in between while it is down");
    live.stop().await;
}

async fn a_check_by_hand_joins_the_one_under_way(kind: Kind) {
    let target = Target::answering(|_, _| Answer::After(Duration::from_millis(300), 200));
    let place = Place::on(kind, START);
    let live = place.start(&format!("endpoints: [{{name: e, url: '{}', is_active: false}}]", target.url("e"))).await;
    let (id, ctx) = (live.id("e"), live.monitor.service.clone());
    let (who, other) = (somebody(), somebody());
    let (one, two) = tokio::join!(checks::check_now(&ctx, &who, id, true), checks::check_now(&ctx, &other, id, true));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one, two);
    assert!(one.stored);
    let one = one.result;
    assert_eq!(one.trigger, Trigger::Manual);
    assert_eq!(target.hits("e").len(), 1);
    assert_eq!(live.history(id).await, std::slice::from_ref(&one), "what is answered is committed");
    // A further one is a check of its own.
    let three = checks::check_now(&ctx, &who, id, true).await.unwrap();
    assert!(three.result.scheduled_at > one.scheduled_at);
    live.stop().await;
}

async fn a_changed_interval_takes_effect_at_the_next_slot(kind: Kind) {
    let target = Target::answering(|_, _| Answer::Status(200));
    let place = Place::on(kind, START);
    let live = place.start("endpoints: []").await;
    let ctx = live.monitor.service.clone();
    let settings = |every| EndpointSettings {
        name: Some("e".to_owned()),
        url: Some(target.url("e")),
        interval: Some(DurationSetting(Duration::from_secs(every))),
        ..EndpointSettings::default()
    };
    let id = endpoints::create(&ctx, &somebody(), settings(3600)).await.unwrap().known.id;
    live.run_until("e", 1).await;
    let changed = endpoints::replace(&ctx, &somebody(), id, None, settings(30)).await.unwrap();
    let slots = changed.known.endpoint.schedule.slots(id);
    let next = slots.next_after(changed.known.updated_at).unwrap();
    let rows = live.run_until("e", 4).await;
    assert_eq!(rows[1].scheduled_at, next);
    assert_eq!(distances(&rows[1..4]), [30_000_000; 2]);
    assert_eq!(gaps(&rows), []);
    live.stop().await;
}

async fn a_check_that_runs_into_its_next_slots_tells_them_as_one_gap(kind: Kind) {
    let target = Target::answering(|_, before| if before == 0 { Answer::Hang } else { Answer::Status(200) });
    let place = Place::on(kind, START);
    let yaml = format!("endpoints: [{{name: e, url: '{}', interval: 2, timeout: 2}}]", target.url("e"));
    let live = place.start(&yaml).await;
    // The clock goes much faster than the attempt, whose time-out is real.
    let rows = live.run_until("e", 3).await;
    let told = gaps(&rows[1..2]);
    assert_eq!(told.len(), 1, "{rows:#?}");
    let (first, gap) = (&rows[0], &rows[1]);
    assert!(first.outcome.failure().is_some() && told[0].1 > 1, "{rows:#?}");
    let slots = live.entry("e").known.endpoint.schedule.clone();
    let counted =
        slots.slots(live.id("e")).count_between(first.scheduled_at, from_micros(micros(gap.scheduled_at) + 1));
    assert_eq!(told[0].1, counted);
    live.stop().await;
}

on_both_databases!(
    a_target_that_answers_at_the_third_attempt_is_up,
    an_outage_is_confirmed_early_and_ends_with_a_good_answer,
    a_check_by_hand_joins_the_one_under_way,
    a_changed_interval_takes_effect_at_the_next_slot,
    a_check_that_runs_into_its_next_slots_tells_them_as_one_gap
);
