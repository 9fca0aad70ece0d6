//! `maintenance_windows` and `silences`.

use api_monitor::domain::maintenance::{KnownWindow, WindowSettings};
use api_monitor::domain::silence::SilenceSettings;
use api_monitor::store::{StoreError, maintenance_windows, silences};
use serde_json::json;

use super::{at, plus, with_database};
use crate::database::{Kind, on_both_databases};

const START: &str = "2026-11-21T10:00:00.654321Z";

fn window(name: &str) -> WindowSettings {
    serde_json::from_value(json!({"name": name, "cron": "0 2 * * *", "for": 60, "match": ["*"]})).unwrap()
}

fn id_of(known: &KnownWindow) -> (i64, i64) {
    known.stored().map(|stored| (stored.id, stored.revision)).unwrap()
}

async fn windows_are_kept_by_their_names(kind: Kind) {
    with_database(kind, async |store| {
        let (db, now) = (store.writer(), at(START));
        let one = maintenance_windows::insert(db, &window("one"), "the boss", now).await.unwrap();
        let other = maintenance_windows::insert(db, &window("an other"), "local", now).await.unwrap();
        assert!(matches!(
            maintenance_windows::insert(db, &window("one"), "local", now).await,
            Err(StoreError::Conflict(_))
        ));
        assert_eq!(maintenance_windows::list(store.readers()).await.unwrap(), [other, one.clone()]);
        assert_eq!((one.settings.clone(), id_of(&one)), (window("one"), (1, 1)));
        let renamed = maintenance_windows::update(db, 1, &window("two"), 1, plus(now, 5)).await.unwrap();
        assert_eq!((renamed.name(), id_of(&renamed)), ("two", (1, 2)));
        let taken = maintenance_windows::update(db, 1, &window("an other"), 2, now).await;
        assert!(matches!(taken, Err(StoreError::Conflict(_))), "{taken:?}");
        assert_eq!(maintenance_windows::update(db, 1, &window("x"), 1, now).await, Err(StoreError::Stale));
        assert_eq!(maintenance_windows::update(db, 9, &window("x"), 1, now).await, Err(StoreError::NotFound));
        maintenance_windows::delete(db, 1).await.unwrap();
        maintenance_windows::delete(db, 1).await.unwrap();
        assert_eq!(maintenance_windows::list(db).await.unwrap().len(), 1);
    })
    .await;
}

async fn silences_are_kept_and_their_ids_never_used_again(kind: Kind) {
    with_database(kind, async |store| {
        let (db, now) = (store.writer(), at(START));
        let settings = |comment: &str| -> SilenceSettings {
            serde_json::from_value(json!({"match": "e", "until": plus(now, 60), "comment": comment})).unwrap()
        };
        let one = silences::insert(db, &settings("one"), "the boss", now).await.unwrap();
        let two = silences::insert(db, &settings("two"), "local", now).await.unwrap();
        assert_eq!(silences::list(store.readers()).await.unwrap(), [one.clone(), two.clone()]);
        assert_eq!((one.until(), one.unreadable.as_ref(), one.created_by.as_str()), (plus(now, 60), None, "the boss"));
        let changed = silences::update(db, 1, &settings("else"), 1, plus(now, 5)).await.unwrap();
        assert_eq!((changed.settings, changed.revision, changed.updated_at), (settings("else"), 2, plus(now, 5)));
        assert_eq!(silences::update(db, 1, &settings("x"), 1, now).await, Err(StoreError::Stale));
        assert_eq!(silences::update(db, 9, &settings("x"), 1, now).await, Err(StoreError::NotFound));
        silences::delete(db, &[1, 2]).await.unwrap();
        assert_eq!(silences::list(db).await.unwrap(), []);
        assert_eq!(silences::insert(db, &settings("three"), "local", now).await.unwrap().id, 3);
    })
    .await;
}

on_both_databases!(windows_are_kept_by_their_names, silences_are_kept_and_their_ids_never_used_again);
