//! The rules over the monitor's own metrics.

use api_monitor::domain::alert_rule::{AlertSettings, Fired, Firing};
use api_monitor::store::StoreError;
use api_monitor::store::alert_rules;
use serde_json::json;

use super::{at, plus, with_database};
use crate::database::{Kind, on_both_databases};

fn settings(threshold: &str) -> AlertSettings {
    let settings = json!({
        "metric": "memory_usage", "threshold": threshold, "action": "ops \"it's\" notify", "for": "90s",
        "clear_threshold": 12.5, "severity": "critical", "enabled": false, "comparison": "lte"
    });
    serde_json::from_value(settings).unwrap()
}

fn fired() -> Fired {
    let crossed_at = at("2026-11-21T10:00:00.123456Z");
    Fired {
        firing: Firing { crossed_at, fired_at: plus(crossed_at, 90), value: 83.25 },
        cause: "memory_usage is 83.3%, above 80%".to_owned(),
        told: vec!["hook".to_owned(), "mail".to_owned()],
    }
}

async fn rules_come_back_whole_and_an_id_is_never_used_again(kind: Kind) {
    with_database(kind, async |store| {
        let (db, now) = (store.writer(), at("2026-11-21T10:00:00.654321Z"));
        let one = alert_rules::insert(db, &settings("80%"), "the boss", now).await.unwrap();
        assert_eq!((one.id, one.revision, &one.fired, &one.settings), (1, 1, &None, &settings("80%")));
        assert_eq!((one.created_at, one.updated_at, one.created_by.as_str()), (now, now, "the boss"));
        let two = alert_rules::insert(db, &settings("90%"), "local", now).await.unwrap();
        assert_eq!(alert_rules::list(store.readers()).await.unwrap(), [one.clone(), two]);
        assert_eq!(alert_rules::find(store.readers(), 1).await.unwrap(), Some(one));
        alert_rules::delete(db, 2).await.unwrap();
        assert_eq!(alert_rules::delete(db, 2).await, Err(StoreError::NotFound));
        assert_eq!(alert_rules::find(store.readers(), 2).await.unwrap(), None);
        assert_eq!(alert_rules::insert(db, &settings("70%"), "local", now).await.unwrap().id, 3);
    })
    .await;
}

async fn a_firing_is_noted_of_the_rule_it_is_of_and_ends_with_a_change(kind: Kind) {
    with_database(kind, async |store| {
        let (db, now) = (store.writer(), at("2026-11-21T10:00:00Z"));
        alert_rules::insert(db, &settings("80%"), "local", now).await.unwrap();
        assert!(alert_rules::note_firing(db, 1, 1, Some(&fired())).await.unwrap());
        let firing = alert_rules::find(db, 1).await.unwrap().unwrap();
        assert_eq!((&firing.fired, firing.revision, firing.updated_at), (&Some(fired()), 1, now), "it is no change");
        assert!(alert_rules::note_firing(db, 1, 1, None).await.unwrap());
        assert_eq!(alert_rules::find(db, 1).await.unwrap().unwrap().fired, None);

        alert_rules::note_firing(db, 1, 1, Some(&fired())).await.unwrap();
        let changed = alert_rules::update(db, 1, &settings("81%"), 1, plus(now, 5)).await.unwrap();
        assert_eq!((changed.revision, changed.fired, changed.created_at), (2, None, now));
        assert_eq!((changed.updated_at, changed.settings), (plus(now, 5), settings("81%")));
        assert!(!alert_rules::note_firing(db, 1, 1, Some(&fired())).await.unwrap(), "it was another rule then");
        assert!(!alert_rules::note_firing(db, 7, 1, Some(&fired())).await.unwrap());
        assert_eq!(alert_rules::find(db, 1).await.unwrap().unwrap().fired, None);
        assert_eq!(alert_rules::update(db, 1, &settings("82%"), 1, now).await, Err(StoreError::Stale));
        assert_eq!(alert_rules::update(db, 7, &settings("82%"), 1, now).await, Err(StoreError::NotFound));
    })
    .await;
}

on_both_databases!(
    rules_come_back_whole_and_an_id_is_never_used_again,
    a_firing_is_noted_of_the_rule_it_is_of_and_ends_with_a_change
);
