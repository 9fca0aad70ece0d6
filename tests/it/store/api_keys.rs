//! The keys made through the API.

use api_monitor::domain::api_key::{KeyDigest, KeyId, KeyUse};
use api_monitor::domain::role::Role;
use api_monitor::store::StoreError;
use api_monitor::store::api_keys::{self, ApiKeyUpdate, NewApiKey};

use super::{at, plus, with_database};
use crate::database::{Kind, on_both_databases};

pub(super) fn key(name: &str) -> NewApiKey {
    NewApiKey {
        name: name.to_owned(),
        role: Role::Operator,
        digest: KeyDigest::of(name.as_bytes()),
        prefix: "am_123456".to_owned(),
        expires_at: Some(at("2027-01-31T00:00:00.123456Z")),
        created_by: "the boss".to_owned(),
        now: at("2026-11-21T10:00:00.123456Z"),
    }
}

fn update(name: &str, expected_revision: i64) -> ApiKeyUpdate {
    ApiKeyUpdate { name: name.to_owned(), role: Role::Viewer, expires_at: None, expected_revision }
}

async fn keys_come_back_whole_and_by_their_ids(kind: Kind) {
    with_database(kind, async |store| {
        let db = store.writer();
        let one = api_keys::insert(db, key("one")).await.unwrap();
        let two = api_keys::insert(db, key("two")).await.unwrap();
        assert_eq!((&one.id, &two.id), (&KeyId::Stored(1), &KeyId::Stored(2)));
        let made = one.made.as_ref().unwrap();
        assert_eq!(
            (made.by.as_str(), made.at, made.updated_at, made.revision),
            ("the boss", key("").now, key("").now, 1)
        );
        assert_eq!((one.role, one.expires_at, one.digest), (Role::Operator, key("").expires_at, KeyDigest::of(b"one")));
        assert_eq!((one.prefix.as_deref(), one.last_use), (Some("am_123456"), None));
        assert_eq!(api_keys::list(store.readers()).await.unwrap(), [one.clone(), two]);
        assert_eq!(api_keys::find(store.readers(), 1).await.unwrap(), Some(one));
        assert_eq!(api_keys::find(store.readers(), 3).await.unwrap(), None);
    })
    .await;
}

async fn a_change_needs_the_revision_and_a_free_name(kind: Kind) {
    with_database(kind, async |store| {
        let db = store.writer();
        api_keys::insert(db, key("one")).await.unwrap();
        api_keys::insert(db, key("two")).await.unwrap();
        let later = plus(key("").now, 60);
        let changed = api_keys::update(db, 1, update("first", 1), later).await.unwrap();
        let made = changed.made.clone().unwrap();
        assert_eq!((made.revision, made.at, made.updated_at), (2, key("").now, later));
        assert_eq!((changed.name.as_str(), changed.role, changed.expires_at), ("first", Role::Viewer, None));
        assert_eq!(api_keys::find(store.readers(), 1).await.unwrap(), Some(changed));
        assert_eq!(api_keys::update(db, 1, update("first", 1), later).await, Err(StoreError::Stale));
        assert_eq!(api_keys::update(db, 7, update("first", 1), later).await, Err(StoreError::NotFound));
        let taken = api_keys::update(db, 1, update("two", 2), later).await;
        assert!(matches!(taken, Err(StoreError::Conflict(_))), "{taken:?}");
        let taken = api_keys::insert(db, key("two")).await;
        assert!(matches!(taken, Err(StoreError::Conflict(_))), "{taken:?}");
    })
    .await;
}

async fn a_use_is_no_change_and_an_id_is_never_used_again(kind: Kind) {
    with_database(kind, async |store| {
        let db = store.writer();
        api_keys::insert(db, key("one")).await.unwrap();
        let last = KeyUse { at: at("2026-11-22T00:00:00.654321Z"), address: Some("2001:db8::1".parse().unwrap()) };
        api_keys::note_use(db, 1, last).await.unwrap();
        api_keys::note_use(db, 7, last).await.unwrap();
        let used = api_keys::find(store.readers(), 1).await.unwrap().unwrap();
        assert_eq!((used.last_use, used.made.unwrap().revision), (Some(last), 1));
        let nowhere = KeyUse { address: None, ..last };
        api_keys::note_use(db, 1, nowhere).await.unwrap();
        assert_eq!(api_keys::find(store.readers(), 1).await.unwrap().unwrap().last_use, Some(nowhere));
        api_keys::delete(db, 1).await.unwrap();
        assert_eq!(api_keys::delete(db, 1).await, Err(StoreError::NotFound));
        assert_eq!(api_keys::insert(db, key("one")).await.unwrap().id, KeyId::Stored(2));
    })
    .await;
}

on_both_databases!(
    keys_come_back_whole_and_by_their_ids,
    a_change_needs_the_revision_and_a_free_name,
    a_use_is_no_change_and_an_id_is_never_used_again
);
