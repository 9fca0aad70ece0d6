//! Opening, closing, the schema, and one process a database.

use api_monitor::domain::endpoint::EndpointId;
use api_monitor::store::{self, ConnectionTrait, DatabaseConnection, Store, StoreError, StoreOptions, StoreTarget};
use migrations::{Migrator, MigratorTrait};
use sea_orm::Statement;

use super::{add_endpoint, at, good, open_at, options_at, with_database};
use crate::database::{Database, Kind, on_both_databases};

pub(super) fn sentence(result: Result<Store, StoreError>) -> String {
    match result {
        Err(StoreError::Unavailable(sentence)) => sentence,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_database_is_created_once_and_keeps_what_it_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new folder/50% of #1?.db");
    let store = open_at(&path).await;
    assert!(store.was_created());
    assert!(path.exists());
    store.ping().await.unwrap();
    let endpoint = add_endpoint(&store, "shop").await;
    store.close().await.unwrap();
    assert!(store.ping().await.is_err());
    assert!(!path.with_extension("db-wal").exists(), "a closed database is one file");

    let again = open_at(&path).await;
    assert!(!again.was_created());
    assert_eq!(store::endpoints::find(again.readers(), endpoint.id).await.unwrap(), Some(endpoint));
    again.close().await.unwrap();
}

#[tokio::test]
async fn nothing_stays_of_a_database_in_memory() {
    let options = StoreOptions { target: StoreTarget::Memory, readers: 1, echo: false };
    let store = Store::open(&options).await.unwrap();
    let path = store.path().unwrap().to_owned();
    add_endpoint(&store, "shop").await;
    assert_eq!(store::endpoints::list_current(store.readers()).await.unwrap().len(), 1);
    store.close().await.unwrap();
    drop(store);
    assert!(!path.exists());
}

#[tokio::test]
async fn the_connections_are_set_up_for_one_writer_beside_readers() {
    with_database(Kind::Sqlite, async |store| {
        let pragma = async |db: &DatabaseConnection, name: &str| {
            let statement = Statement::from_string(db.get_database_backend(), format!("PRAGMA {name}"));
            let row = db.query_one_raw(statement).await.unwrap().unwrap();
            row.try_get_by_index::<i64>(0).map_or_else(|_| row.try_get_by_index(0).unwrap(), |n| n.to_string())
        };
        for (name, expected) in [
            ("journal_mode", "wal"),
            ("synchronous", "1"),
            ("foreign_keys", "1"),
            ("busy_timeout", "5000"),
            ("auto_vacuum", "2"),
            ("cache_size", "-4000"),
            ("mmap_size", "0"),
        ] {
            assert_eq!(pragma(store.writer(), name).await, expected, "{name}");
        }
        for (name, expected) in [("journal_mode", "wal"), ("busy_timeout", "5000"), ("cache_size", "-2000")] {
            assert_eq!(pragma(store.readers(), name).await, expected, "{name}");
        }
    })
    .await;
}

async fn readers_cannot_write(kind: Kind) {
    with_database(kind, async |store| {
        let result = good(EndpointId(1), at("2026-11-21T10:00:00Z"), 100);
        let refused = store::history::append(store.readers(), &[result]).await;
        assert!(matches!(&refused, Err(StoreError::Unavailable(s)) if s.contains("read-only")), "{refused:?}");
    })
    .await;
}

async fn a_second_process_is_refused_until_the_first_has_closed(kind: Kind) {
    let database = Database::of(kind);
    let first = database.open().await;
    let refusal = sentence(Store::open(&database.options()).await);
    assert!(refusal.contains("in use by another api-monitor") && refusal.contains(&first.place()), "{refusal}");
    add_endpoint(&first, "the first goes on").await;
    first.close().await.unwrap();
    database.open().await.close().await.unwrap();
}

async fn migrations_go_up_down_and_up_again(kind: Kind) {
    with_database(kind, async |store| {
        add_endpoint(store, "before").await;
        let tables = Migrator::migrations().len();
        assert_eq!(Migrator::get_applied_migrations(store.writer()).await.unwrap().len(), tables);
        Migrator::down(store.writer(), None).await.unwrap();
        assert!(store::endpoints::list_current(store.writer()).await.is_err());
        Migrator::up(store.writer(), None).await.unwrap();
        assert_eq!(store::endpoints::list_current(store.writer()).await.unwrap(), []);
        add_endpoint(store, "after").await;
    })
    .await;
}

async fn an_empty_database_is_created_once(kind: Kind) {
    let database = Database::empty(kind);
    let store = database.open().await;
    assert!(store.was_created());
    store.ping().await.unwrap();
    let endpoint = add_endpoint(&store, "shop").await;
    store.close().await.unwrap();
    assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));
    let again = database.open().await;
    assert!(!again.was_created());
    assert_eq!(store::endpoints::find(again.readers(), endpoint.id).await.unwrap(), Some(endpoint));
    again.close().await.unwrap();
}

/// Whether a commit now waits for the disk, as the database says it.
async fn waits_for_the_disk(kind: Kind, db: &impl ConnectionTrait) -> String {
    let sql = match kind {
        Kind::Sqlite => "PRAGMA synchronous",
        Kind::Postgres => "SHOW synchronous_commit",
    };
    let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap().unwrap();
    row.try_get_by_index::<i64>(0).map_or_else(|_| row.try_get_by_index(0).unwrap(), |level| level.to_string())
}

async fn only_a_durable_commit_waits_for_the_disk(kind: Kind) {
    let (plain, durable) = match kind {
        Kind::Sqlite => ("1", "2"),
        Kind::Postgres => ("off", "on"),
    };
    with_database(kind, async |store| {
        for (wanted, level) in [(false, plain), (true, durable), (true, durable), (false, plain), (false, plain)] {
            let transaction = if wanted { store.begin_durable().await } else { store.begin().await }.unwrap();
            assert_eq!(waits_for_the_disk(kind, &transaction).await, level, "durable: {wanted}");
            transaction.commit().await.unwrap();
        }
        // One that was given up leaves nothing behind.
        drop(store.begin_durable().await.unwrap());
        let transaction = store.begin().await.unwrap();
        assert_eq!(waits_for_the_disk(kind, &transaction).await, plain);
    })
    .await;
}

async fn a_newer_schema_is_refused_and_left_alone(kind: Kind) {
    let database = Database::of(kind);
    let store = database.open().await;
    let newer = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m20991231_000001_add_wonders', 0)";
    store.writer().execute_unprepared(newer).await.unwrap();
    store.close().await.unwrap();
    let refusal = sentence(Store::open(&database.options()).await);
    assert!(refusal.contains("newer api-monitor") && refusal.contains("m20991231_000001_add_wonders"), "{refusal}");
}

#[tokio::test]
async fn files_and_folders_that_cannot_be_used_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "This is no database, but it is longer than the header of one would be. ".repeat(20))
        .unwrap();
    let refusal = sentence(Store::open(&options_at(&text)).await);
    assert!(refusal.contains("not an SQLite database") && refusal.contains("notes.txt"), "{refusal}");

    let refusal = sentence(Store::open(&options_at(&text.join("monitor.db"))).await);
    assert!(refusal.contains("folder") && refusal.contains("cannot be created"), "{refusal}");

    let refusal = sentence(Store::open(&options_at(folder.path())).await);
    assert!(refusal.contains("cannot be opened"), "{refusal}");
}

async fn a_transaction_that_is_dropped_leaves_nothing(kind: Kind) {
    with_database(kind, async |store| {
        let transaction = store.begin().await.unwrap();
        store::history::append(&transaction, &[good(EndpointId(1), at("2026-11-21T10:00:00Z"), 100)]).await.unwrap();
        drop(transaction);
        assert_eq!(store::history::count(store.writer(), EndpointId(1), None, None).await.unwrap(), 0);
    })
    .await;
}

async fn a_snapshot_sees_one_state_and_does_not_stop_the_writer(kind: Kind) {
    with_database(kind, async |store| {
        let id = EndpointId(1);
        let snapshot = store.snapshot().await.unwrap();
        assert_eq!(store::history::count(&snapshot, id, None, None).await.unwrap(), 0);
        store::history::append(store.writer(), &[good(id, at("2026-11-21T10:00:00Z"), 100)]).await.unwrap();
        assert_eq!(store::history::count(&snapshot, id, None, None).await.unwrap(), 0);
        drop(snapshot);
        assert_eq!(store::history::count(store.readers(), id, None, None).await.unwrap(), 1);
    })
    .await;
}

on_both_databases!(
    readers_cannot_write,
    a_second_process_is_refused_until_the_first_has_closed,
    migrations_go_up_down_and_up_again,
    a_newer_schema_is_refused_and_left_alone,
    a_transaction_that_is_dropped_leaves_nothing,
    a_snapshot_sees_one_state_and_does_not_stop_the_writer,
    an_empty_database_is_created_once,
    only_a_durable_commit_waits_for_the_disk
);
