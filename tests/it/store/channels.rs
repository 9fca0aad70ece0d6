//! The channels made through the API.

use api_monitor::domain::notification::Event;
use api_monitor::store::StoreError;
use api_monitor::store::channels;
use api_monitor::store::outbox::{self, DeliveryState};
use serde_json::{Map, Value, json};

use super::{at, plus, with_database};
use crate::database::{Kind, on_both_databases};
use crate::store::outbox::{add, pending, start};

pub(super) fn settings(url: &str) -> Map<String, Value> {
    let settings = json!({
        "type": "webhook", "url": url, "headers": {"ä\u{1}": "it's \"so\""}, "timeout": 2.5, "default": false,
        "fallback": ["Z", "a"], "big": 9_007_199_254_740_993_i64
    });
    let Value::Object(settings) = settings else { unreachable!() };
    settings
}

async fn channels_come_back_whole_in_their_order(kind: Kind) {
    with_database(kind, async |store| {
        let (db, now) = (store.writer(), at("2026-11-21T10:00:00.123456Z"));
        let one = channels::insert(db, "z", settings("https://one"), now).await.unwrap();
        let two = channels::insert(db, "Bereitschaft ü", settings("https://two"), now).await.unwrap();
        assert_eq!((&one.settings, one.revision, one.created_at), (&settings("https://one"), 1, now));
        assert_eq!(channels::list(store.readers()).await.unwrap(), [one.clone(), two.clone()]);
        assert_eq!(channels::find(store.readers(), "Bereitschaft ü").await.unwrap(), Some(two.clone()));
        assert_eq!(channels::find(store.readers(), "Z").await.unwrap(), None, "names are told apart by case");
        let taken = channels::insert(db, "z", settings(""), now).await;
        assert!(matches!(taken, Err(StoreError::Conflict(_))), "{taken:?}");

        let later = plus(now, 60);
        let changed = channels::update(db, "z", settings("https://new"), 1, later).await.unwrap();
        assert_eq!((changed.revision, changed.created_at, changed.updated_at), (2, now, later));
        assert_eq!(changed.settings, settings("https://new"));
        assert_eq!(channels::update(db, "z", settings(""), 1, later).await, Err(StoreError::Stale));
        assert_eq!(channels::update(db, "y", settings(""), 1, later).await, Err(StoreError::NotFound));
        channels::delete(db, "z").await.unwrap();
        assert_eq!(channels::delete(db, "z").await, Err(StoreError::NotFound));
        assert_eq!(channels::list(store.readers()).await.unwrap(), [two]);
        assert!(!format!("{changed:?}").contains("https"), "what is set holds secrets");
    })
    .await;
}

async fn what_waits_in_a_channel_is_due_at_once_or_given_up(kind: Kind) {
    with_database(kind, async |store| {
        let db = store.writer();
        for second in 0..2 {
            add(store, Event::Down, second, None, &["a", "b"]).await;
        }
        let due =
            |all: Vec<outbox::Delivery>| all.into_iter().map(|one| one.next_attempt_at.unwrap()).collect::<Vec<_>>();
        let now = plus(start(), -9);
        assert_eq!(outbox::hurry(db, "a", now).await.unwrap(), 2);
        assert_eq!(due(pending(store, "a").await), [now, now]);
        assert!(!due(pending(store, "b").await).contains(&now));
        let first = pending(store, "a").await.remove(0);
        let id = Some(first.notification_id.as_str());
        assert_eq!(outbox::give_up(db, id, "a", "gone", plus(start(), 9)).await.unwrap(), 1);
        assert_eq!(pending(store, "a").await.len(), 1);
        assert_eq!(pending(store, "b").await.len(), 2);
        let stored = outbox::find(store.readers(), &first.notification_id).await.unwrap().unwrap();
        let states: Vec<_> = stored.deliveries.iter().map(|one| (one.channel.as_str(), one.state)).collect();
        assert_eq!(states, [("a", DeliveryState::Dead), ("b", DeliveryState::Pending)]);
    })
    .await;
}

on_both_databases!(channels_come_back_whole_in_their_order, what_waits_in_a_channel_is_due_at_once_or_given_up);
