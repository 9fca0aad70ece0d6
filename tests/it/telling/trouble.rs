//! Channels that do not work: nothing else is late, and nothing is lost.

use std::time::Duration;

use api_monitor::domain::Timestamp;
use api_monitor::domain::notification::Event;
use api_monitor::domain::outcome::{Outcome, Status};
use api_monitor::store::outbox::{self, DeliveryState};

use super::scripted::{Reply, Scripted, channels, named};
use super::{START, notifications};
use crate::database::{Kind, on_both_databases};
use crate::flows::harness::Place;
use crate::flows::target::Switched;

fn yaml(names: &[&str], target: &Switched) -> String {
    let url = target.url("e");
    format!("{}endpoints: [{{name: e, url: '{url}', interval: 20, retry: {{enabled: false}}}}]", named(names))
}

async fn a_channel_that_hangs_makes_nothing_else_late(kind: Kind) {
    let target = Switched::good();
    let place = Place::on(kind, START);
    let clock = place.moved();
    let well = Scripted::taking(&clock);
    let began = place.now();
    // Each first attempt hangs, and may have been received.
    let slow = Scripted::by(&clock, |message, _| match message.attempt {
        1 => Reply::Hang(Duration::from_secs(30)),
        _ => Reply::Take,
    });
    let yaml = yaml(&["slow", "well"], &target);
    let live = place.start_through(&yaml, Some(channels([("slow", &slow), ("well", &well)]))).await;
    live.run_while("the first good check", || live.status("e") != Status::Up).await;
    target.set(500);
    live.run_while("down", || well.events().is_empty()).await;
    target.set(200);
    live.run_while("up", || well.events().len() < 2).await;
    let ended = place.now();
    for message in well.taken() {
        let after = (message.at - message.notification.occurred_at).num_seconds();
        assert!(after < 10, "{} came {after} s late", message.notification.event);
    }
    live.run_while("the late ones", || slow.events().len() < 2).await;
    assert_eq!(slow.events(), [Event::Down, Event::Up], "both, as the first may have been received");
    assert!(slow.taken().iter().all(|message| !message.notification.told_late));
    let ids = |channel: &Scripted| channel.taken().iter().map(|m| m.notification.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&slow), ids(&well));
    assert_eq!(slow.attempts().len(), 4);
    // The checks went on at their interval all the while.
    let rows = live.history(live.id("e")).await;
    let in_time = rows.iter().filter(|row| row.scheduled_at >= began && row.scheduled_at <= ended);
    assert!(
        in_time.clone().count() >= 3 && in_time.clone().all(|row| !matches!(row.outcome, Outcome::Missed(_))),
        "{rows:#?}"
    );
    live.stop().await;
}

async fn a_channel_that_fails_is_told_through_the_others_and_merges_what_is_over(kind: Kind) {
    let target = Switched::good();
    target.set(500);
    let place = Place::on(kind, START);
    let clock = place.moved();
    let well_again: Timestamp = place.now() + chrono::TimeDelta::seconds(460);
    let broken = Scripted::by(&clock, move |_, now| if now < well_again { Reply::Refuse } else { Reply::Take });
    let (one, two) = (Scripted::taking(&clock), Scripted::taking(&clock));
    let yaml = yaml(&["broken", "one", "two"], &target);
    let live = place.start_through(&yaml, Some(channels([("broken", &broken), ("one", &one), ("two", &two)]))).await;
    live.run_while("down", || one.events().is_empty() || two.events().is_empty()).await;
    live.run_while("the failing channel", || one.events().len() < 2 || two.events().len() < 2).await;
    assert!(place.now() < well_again, "it was told while it failed");
    for channel in [&one, &two] {
        assert_eq!(channel.events(), [Event::Down, Event::ChannelFailing]);
        let told = channel.taken().pop().unwrap();
        let after = (told.at - channel.taken()[0].at).num_seconds();
        assert!((295..420).contains(&after), "{after} s");
        assert_eq!(told.notification.endpoint_name, "broken");
        let remarks = told.notification.remarks.join("; ");
        assert!(remarks.contains("e down at"), "it names what waits: {remarks}");
    }
    target.set(200);
    live.run_while("up", || one.events().len() < 3).await;
    live.run_while("the late message", || broken.events().is_empty()).await;
    live.run_for(Duration::from_secs(30)).await;
    let late = broken.taken();
    assert_eq!(broken.events(), [Event::Up], "one message for both");
    assert!(late[0].notification.told_late);
    assert_eq!(late[0].notification.id, one.taken()[2].notification.id);
    assert_eq!(one.events().iter().filter(|event| **event == Event::ChannelFailing).count(), 1);
    let states: Vec<_> = notifications(&live)
        .await
        .iter()
        .flat_map(|notification| notification.deliveries.clone())
        .filter(|delivery| delivery.channel == "broken")
        .map(|delivery| delivery.state)
        .collect();
    assert_eq!(states, [DeliveryState::Merged, DeliveryState::Delivered]);
    live.stop().await;
}

async fn a_message_that_a_stop_cut_off_is_told_again_before_its_recovery(kind: Kind) {
    let target = Switched::good();
    target.set(500);
    let place = Place::on(kind, START);
    let clock = place.moved();
    let hanging = Scripted::by(&clock, |_, _| Reply::Hang(Duration::from_secs(86_400)));
    let probe = Scripted::taking(&clock);
    let yaml = yaml(&["ops", "probe"], &target);
    let live = place.start_through(&yaml, Some(channels([("ops", &hanging), ("probe", &probe)]))).await;
    live.run_while("down", || probe.events().is_empty()).await;
    live.stop().await;

    // Refused until the recovery waits too: without doubt about the first attempt the two would be merged.
    let back = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let open = back.clone();
    let ops =
        Scripted::by(
            &clock,
            move |_, _| {
                if open.load(std::sync::atomic::Ordering::Relaxed) { Reply::Take } else { Reply::Refuse }
            },
        );
    let live = place.start_through(&yaml, Some(channels([("ops", &ops), ("probe", &probe)]))).await;
    target.set(200);
    live.run_while("up", || probe.events().len() < 2).await;
    back.store(true, std::sync::atomic::Ordering::Relaxed);
    live.run_while("both", || ops.events().len() < 2).await;
    assert_eq!(ops.events(), [Event::Down, Event::Up]);
    live.stop().await;
}

async fn a_delivery_is_dead_after_a_day_and_is_sent_again_by_hand(kind: Kind) {
    let target = Switched::good();
    target.set(500);
    let place = Place::on(kind, START);
    let clock = place.moved();
    let well_again: Timestamp = place.now() + chrono::TimeDelta::hours(30);
    let broken = Scripted::by(&clock, move |_, now| if now < well_again { Reply::Break } else { Reply::Take });
    let one = Scripted::taking(&clock);
    let yaml = format!("defaults: {{alert_policy: {{reminder: false}}}}\n{}", yaml(&["broken", "one"], &target));
    let live = place.start_through(&yaml, Some(channels([("broken", &broken), ("one", &one)]))).await;
    live.run_while("down", || one.events().is_empty() || broken.attempts().is_empty()).await;
    let before = broken.attempts().len();
    live.skip(Duration::from_secs(23 * 3_600)).await;
    live.run_while("an attempt in the last hour", || broken.attempts().len() == before).await;
    let of_broken = async || {
        let down = notifications(&live).await.into_iter().find(|n| n.facts.event == Event::Down).unwrap();
        let delivery = down.deliveries.into_iter().find(|delivery| delivery.channel == "broken").unwrap();
        (delivery, down.facts.id)
    };
    live.run_for(Duration::from_secs(5)).await;
    assert_eq!(of_broken().await.0.state, DeliveryState::Pending);
    let before = broken.attempts().len();
    live.skip(Duration::from_secs(3_700)).await;
    live.run_while("the last attempt", || broken.attempts().len() == before).await;
    live.run_for(Duration::from_secs(5)).await;
    let (delivery, id) = of_broken().await;
    assert_eq!(delivery.state, DeliveryState::Dead);
    assert_eq!(delivery.last_error.as_deref(), Some("it answered 500 Internal Server Error"));
    let attempts = broken.attempts().len();
    live.skip(Duration::from_secs(6 * 3_600)).await;
    live.run_for(Duration::from_secs(10)).await;
    assert_eq!(broken.attempts().len(), attempts, "dead is dead");

    let again = outbox::retry(live.monitor.store.writer(), &id, &["broken".to_owned()], place.now()).await.unwrap();
    assert_eq!(again, 1);
    live.run_while("the message sent again", || broken.events().is_empty()).await;
    live.run_for(Duration::from_secs(5)).await;
    assert_eq!((broken.taken()[0].notification.id.clone(), of_broken().await.0.state), (id, DeliveryState::Delivered));
    live.stop().await;
}

async fn a_message_that_can_never_be_delivered_is_named_in_the_others(kind: Kind) {
    let target = Switched::good();
    target.set(500);
    let place = Place::on(kind, START);
    let clock = place.moved();
    let (gone, one) = (Scripted::by(&clock, |_, _| Reply::Never), Scripted::taking(&clock));
    let live =
        place.start_through(&yaml(&["gone", "one"], &target), Some(channels([("gone", &gone), ("one", &one)]))).await;
    live.run_while("both", || one.events().len() < 2).await;
    let told = one.taken().into_iter().find(|message| message.notification.event == Event::ChannelFailing).unwrap();
    assert_eq!(told.notification.endpoint_name, "gone");
    assert!(told.notification.remarks.join("; ").contains("e down at"), "{:?}", told.notification.remarks);
    assert_eq!(gone.attempts().len(), 1);
    live.stop().await;
}

async fn a_database_that_takes_no_writes_makes_no_message_arrive_again(kind: Kind) {
    let target = Switched::good();
    target.set(500);
    let place = Place::on(kind, START);
    let clock = place.moved();
    let ops = Scripted::taking(&clock);
    let holding = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let held = holding.clone();
    // Takes the message only when the database is locked.
    let gated =
        Scripted::by(
            &clock,
            move |_, _| {
                if held.load(std::sync::atomic::Ordering::Relaxed) { Reply::Refuse } else { Reply::Take }
            },
        );
    let yaml = yaml(&["ops", "gated"], &target);
    let live = place.start_through(&yaml, Some(channels([("ops", &ops), ("gated", &gated)]))).await;
    live.run_while("down", || ops.events().is_empty() || gated.attempts().is_empty()).await;
    let url = place.database_url();
    let options = sea_orm::ConnectOptions::new(url).max_connections(1).to_owned();
    let other = sea_orm::Database::connect(options).await.unwrap();
    let lock = sea_orm::TransactionTrait::begin(&other).await.unwrap();
    sea_orm::ConnectionTrait::execute_unprepared(&lock, "UPDATE deliveries SET attempts = attempts").await.unwrap();
    holding.store(false, std::sync::atomic::Ordering::Relaxed);
    live.run_while("the message", || gated.taken().is_empty()).await;
    // Longer than a write waits for its turn and the pause after a failure.
    tokio::time::sleep(Duration::from_secs(14)).await;
    live.skip(Duration::from_secs(1)).await;
    lock.rollback().await.unwrap();
    live.run_for(Duration::from_secs(30)).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(gated.taken().len(), 1);
    let down = notifications(&live).await.into_iter().find(|n| n.facts.event == Event::Down).unwrap();
    assert!(down.deliveries.iter().all(|delivery| delivery.state == DeliveryState::Delivered), "{down:#?}");
    live.stop().await;
}

on_both_databases!(
    a_channel_that_hangs_makes_nothing_else_late,
    a_channel_that_fails_is_told_through_the_others_and_merges_what_is_over,
    a_message_that_a_stop_cut_off_is_told_again_before_its_recovery,
    a_delivery_is_dead_after_a_day_and_is_sent_again_by_hand,
    a_message_that_can_never_be_delivered_is_named_in_the_others,
    a_database_that_takes_no_writes_makes_no_message_arrive_again
);
