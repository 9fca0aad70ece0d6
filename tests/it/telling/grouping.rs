//! Many outages at once are three messages and one digest, in an assembled monitor with either database.

use std::fmt::Write as _;
use std::time::Duration;

use api_monitor::domain::outcome::Status;
use api_monitor::store::outbox::DeliveryState;
use serde_json::Value;

use super::{START, notifications};
use crate::database::{Kind, on_both_databases};
use crate::flows::harness::Place;
use crate::flows::target::Switched;
use crate::notify::receivers::{Received, Receiver, answer};

const ENDPOINTS: usize = 12;

fn config(hook: &Receiver, pager: &Receiver, target: &Switched) -> String {
    let mut yaml = format!(
        "channels:\n  team: {{type: webhook, url: '{}'}}\n  pager: {{type: pagerduty, routing_key: \
         0123456789abcdef0123456789abcdef, api_url: '{}'}}\nmonitoring: {{max_checks_per_host: 100}}\n\
         defaults: {{interval: 5, retry: {{enabled: false}}, alert_policy: {{failure_threshold: 1, cooldown_seconds: \
         0, reminder: false, flap: false}}}}\nendpoints:\n",
        hook.url("/hook"),
        pager.url("")
    );
    for n in 1..=ENDPOINTS {
        writeln!(yaml, "  - {{name: e{n}, url: '{}'}}", target.url(&format!("e{n}"))).unwrap();
    }
    yaml
}

fn bodies(receiver: &Receiver) -> Vec<Value> {
    receiver.received().iter().map(Received::json).collect()
}

/// What a webhook was told: of whom each message was, and what it says happened.
fn told(hook: &Receiver) -> Vec<Vec<(String, String)>> {
    let words = |events: &Value| {
        let all: Vec<&str> = events.as_array().unwrap().iter().map(|event| event.as_str().unwrap()).collect();
        all.join(",")
    };
    let of = |body: &Value| match body["items"].as_array() {
        None => vec![(body["endpoint_name"].as_str().unwrap().to_owned(), body["event"].as_str().unwrap().to_owned())],
        Some(items) => {
            let name = |item: &Value| item["endpoint"]["name"].as_str().unwrap().to_owned();
            items.iter().map(|item| (name(item), words(&item["events"]))).collect()
        }
    };
    bodies(hook).iter().map(of).collect()
}

async fn many_outages_at_once_are_three_messages_and_a_digest_and_so_is_their_end(kind: Kind) {
    let hook = Receiver::answering([answer(200, "ok")]).await;
    let pager = Receiver::answering([answer(202, r#"{"status": "success"}"#)]).await;
    let target = Switched::good();
    let place = Place::on(kind, START);
    // Longer than the default, for a server that answers slowly while the clock runs.
    let live = place.start(&format!("group_messages: {{window: 2m}}\n{}", config(&hook, &pager, &target))).await;
    let is = |status| (1..=ENDPOINTS).all(|n| live.status(&format!("e{n}")) == status);
    live.run_while("the first good checks", || !is(Status::Up)).await;

    target.set(500);
    live.run_while("the outages", || !is(Status::Down)).await;
    live.run_while("the digest of them", || told(&hook).concat().len() < ENDPOINTS).await;
    live.run_while("the pager", || pager.received().len() < ENDPOINTS).await;
    target.set(200);
    live.run_while("the end of them", || !is(Status::Up)).await;
    live.run_while("the digest of the ends", || told(&hook).concat().len() < 2 * ENDPOINTS).await;
    live.run_while("the pager", || pager.received().len() < 2 * ENDPOINTS).await;
    live.run_for(Duration::from_secs(60)).await;

    let told = told(&hook);
    assert_eq!(told.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1, 9, 1, 1, 1, 9], "{told:?}");
    for (messages, event) in [(&told[..4], "down"), (&told[4..], "up")] {
        let mut names: Vec<_> = messages.concat();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), ENDPOINTS, "each once: {messages:?}");
        assert!(names.iter().all(|(_, said)| said == event), "{names:?}");
    }
    let count = |action: &str| bodies(&pager).iter().filter(|body| body["event_action"] == action).count();
    assert_eq!((count("trigger"), count("resolve")), (ENDPOINTS, ENDPOINTS), "each by itself");
    let bodies = bodies(&hook);
    assert_eq!(
        (&bodies[3]["event"], &bodies[3]["status"], &bodies[3]["endpoint_name"]),
        (&"digest".into(), &"down".into(), &"9 endpoints".into())
    );
    assert_eq!((&bodies[7]["event"], &bodies[7]["status"]), (&"digest".into(), &"up".into()));

    for notification in notifications(&live).await {
        let id = &notification.facts.id;
        if !notification.facts.items.is_empty() {
            assert_eq!(notification.deliveries.len(), 1, "{id}");
            continue;
        }
        let of = |channel: &str| notification.deliveries.iter().find(|d| d.channel == channel).unwrap();
        assert_eq!((of("pager").state, of("pager").held_until), (DeliveryState::Delivered, None), "{id}");
        let team = of("team");
        match &team.digest {
            None => assert_eq!(team.state, DeliveryState::Delivered, "{id}"),
            Some(digest) => {
                assert_eq!(team.state, DeliveryState::Grouped, "{id}");
                let body = bodies.iter().find(|body| body["id"] == **digest).unwrap();
                assert!(body["items"].to_string().contains(id), "{digest} tells {id}");
                let waited = (team.held_until.unwrap() - team.created_at).to_std().unwrap();
                assert!(waited <= Duration::from_mins(2), "{id} waits {waited:?}");
            }
        }
    }
    live.stop().await;
}

async fn who_was_down_and_is_up_within_a_window_is_named_once_with_both(kind: Kind) {
    let hook = Receiver::answering([answer(200, "ok")]).await;
    let pager = Receiver::answering([answer(202, r#"{"status": "success"}"#)]).await;
    let target = Switched::good();
    let place = Place::on(kind, START);
    let yaml = format!("group_messages: {{window: 5m}}\n{}", config(&hook, &pager, &target));
    let live = place.start(&yaml).await;
    let is = |status| (1..=ENDPOINTS).all(|n| live.status(&format!("e{n}")) == status);
    live.run_while("the first good checks", || !is(Status::Up)).await;
    target.set(500);
    live.run_while("the outages", || !is(Status::Down)).await;
    target.set(200);
    live.run_while("the end of them", || !is(Status::Up)).await;
    live.run_while("the digest", || told(&hook).len() < 4).await;
    live.run_for(Duration::from_secs(60)).await;
    let told = told(&hook);
    let [.., digest] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((told.len(), digest.len()), (4, ENDPOINTS), "{told:?}");
    let both = digest.iter().filter(|(_, said)| said == "down,up").count();
    let ends = digest.iter().filter(|(_, said)| said == "up").count();
    assert_eq!((both, ends), (ENDPOINTS - 3, 3), "three were told to be down before: {digest:?}");
    live.stop().await;
}

on_both_databases!(
    many_outages_at_once_are_three_messages_and_a_digest_and_so_is_their_end,
    who_was_down_and_is_up_within_a_window_is_named_once_with_both,
);
