//! Everything is in a backup, and comes back the same, from one database into the other.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use api_monitor::domain::Timestamp;
use api_monitor::domain::endpoint::{EndpointId, EndpointSettings, Origin};
use api_monitor::store::backup::{self, BackupOptions, Form, Restored};
use api_monitor::store::endpoints::NewEndpoint;
use api_monitor::store::{self, Beside, ConnectionTrait, Store, StoreError, StoreOptions};
use sea_orm::Statement;
use serde_json::Value;

use crate::database::{Database, Kind};
use crate::store::dump;

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

pub(super) async fn save(from: &StoreOptions, into: &Path, form: Form) {
    let source = Beside::open(from).await.unwrap();
    let options = BackupOptions { form: Some(form), overwrite: false, now: now() };
    let written = backup::create(&source, into, options, &mut |_| {}).await.unwrap();
    source.close().await.unwrap();
    assert_eq!((written.form, written.bytes), (form, into.metadata().unwrap().len()));
}

pub(super) async fn restore(into: &StoreOptions, from: &Path, replace: bool) -> Result<Restored, StoreError> {
    backup::restore(into, from, replace, now(), &mut |_| {}).await
}

/// The lines of a portable backup, the last of which is empty.
fn lines(backup: &Path) -> Vec<String> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(backup).unwrap()).read_to_string(&mut text).unwrap();
    text.split('\n').map(str::to_owned).collect()
}

async fn sequences(store: &Store) -> BTreeMap<String, i64> {
    let db = store.readers();
    let mut positions = BTreeMap::new();
    for table in ["endpoints", "check_results", "incidents", "incident_events", "deliveries", "audit_log"] {
        let key = if table == "check_results" { "position" } else { "id" };
        let sql = match db.get_database_backend() {
            sea_orm::DbBackend::Sqlite => format!("SELECT seq FROM sqlite_sequence WHERE name = '{table}'"),
            _ => format!("SELECT last_value FROM {table}_{key}_seq"),
        };
        let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap().unwrap();
        positions.insert(table.to_owned(), row.try_get_by_index(0).unwrap());
    }
    positions
}

async fn add(store: &Store, name: &str) -> EndpointId {
    let settings = EndpointSettings {
        name: Some(name.to_owned()),
        url: Some("http://127.0.0.1:9/".to_owned()),
        ..EndpointSettings::default()
    };
    let new = NewEndpoint { settings, origin: Origin::Api, source: None, paused: false, now: now() };
    store::endpoints::insert(store.writer(), new).await.unwrap().id
}

#[tokio::test]
async fn a_month_moves_from_sqlite_to_postgresql_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let first = Database::of(Kind::Sqlite);
    let store = Arc::new(first.open().await);
    dump::live(store.clone()).await;
    // Sessions are in a backup, and end with the restore: see below.
    store::sessions::delete(store.writer(), &[1]).await.unwrap();
    // An id that was given and must not be given again; a settings row; a text that PostgreSQL does not keep as is.
    let gone = add(&store, "soon gone").await;
    store::endpoints::delete(store.writer(), gone).await.unwrap();
    store::settings::put(store.writer(), "a/key", serde_json::json!({"é": [1.1, 1e300, null]}), now()).await.unwrap();
    let expected_positions = sequences(&store).await;
    assert_eq!(expected_positions["endpoints"], gone.0);
    store.close().await.unwrap();
    let portable = folder.path().join("first.gz");
    save(&first.options(), &portable, Form::Portable).await;
    let native = folder.path().join("first.db");
    save(&first.options(), &native, Form::Native).await;

    // Through the native form, and from one database to the other by way of the portable one.
    let mut places = vec![(Database::of(Kind::Sqlite), native), (Database::of(Kind::Sqlite), portable.clone())];
    if Kind::Postgres.is_here() {
        let server = Database::empty(Kind::Postgres);
        restore(&server.options(), &portable, false).await.unwrap();
        let from_server = folder.path().join("server.gz");
        save(&server.options(), &from_server, Form::Portable).await;
        let (left, right) = (lines(&portable), lines(&from_server));
        assert_eq!(left.len(), right.len());
        // Line by line, but for the sum at the end, which is that of a header with another number.
        for (left, right) in left[1..left.len() - 2].iter().zip(&right[1..]) {
            assert_eq!(left, right);
        }
        places.push((server, portable));
        places.push((Database::of(Kind::Sqlite), from_server));
    }
    let original = first.open().await;
    let columns = match places.iter().find(|(place, _)| matches!(place, Database::Postgres(_))) {
        Some((server, _)) => {
            let store = server.open().await;
            let columns = dump::columns(store.readers()).await;
            store.close().await.unwrap();
            columns
        }
        None => BTreeMap::new(),
    };
    let expected = dump::dump(original.readers(), &columns).await;
    original.close().await.unwrap();
    for (n, (place, backup)) in places.iter().enumerate() {
        // The server has it already: restored over itself, as one goes back to yesterday.
        restore(&place.options(), backup, matches!(place, Database::Postgres(_))).await.unwrap();
        let store = place.open().await;
        for (table, rows) in dump::dump(store.readers(), &columns).await {
            assert!(rows == expected[&table], "{table} of place {n} differs");
        }
        for (table, position) in sequences(&store).await {
            assert!(position >= expected_positions[&table], "{table} of place {n}: {position}");
        }
        assert!(add(&store, "one more").await > gone, "an id is never given twice");
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn nobody_is_signed_in_after_a_restore() {
    let folder = tempfile::tempdir().unwrap();
    let first = Database::of(Kind::Sqlite);
    let store = first.open().await;
    store::sessions::insert(store.writer(), dump::session("somebody", now())).await.unwrap();
    store.close().await.unwrap();
    for (form, name) in [(Form::Native, "native"), (Form::Portable, "portable")] {
        let backup = folder.path().join(name);
        save(&first.options(), &backup, form).await;
        let mut places = vec![Database::of(Kind::Sqlite)];
        if form == Form::Portable && Kind::Postgres.is_here() {
            places.push(Database::empty(Kind::Postgres));
        }
        for place in places {
            restore(&place.options(), &backup, false).await.unwrap();
            let store = place.open().await;
            assert_eq!(store::sessions::list(store.readers()).await.unwrap(), [], "{form:?}");
            let again = store::sessions::insert(store.writer(), dump::session("somebody", now())).await.unwrap();
            assert_eq!(again.id, 2, "an id is never given twice");
            store.close().await.unwrap();
        }
    }
}

/// Every table and column of the database is in a portable backup: whoever adds one adds it to the list as well.
#[tokio::test]
async fn no_table_and_no_column_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::of(Kind::Sqlite);
    let store = database.open().await;
    let backup = folder.path().join("empty.gz");
    save(&database.options(), &backup, Form::Portable).await;
    let header: Value = serde_json::from_str(&lines(&backup)[0]).unwrap();
    let saved: BTreeMap<String, Vec<String>> = header["tables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|table| {
            let columns = table["columns"].as_array().unwrap().iter();
            let mut columns: Vec<_> = columns.map(|c| c["name"].as_str().unwrap().to_owned()).collect();
            columns.sort();
            (table["name"].as_str().unwrap().to_owned(), columns)
        })
        .collect();
    let db = store.readers();
    let rows = async |sql: String| {
        let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap();
        rows.iter().map(|row| row.try_get_by_index::<String>(0).unwrap()).collect::<Vec<_>>()
    };
    let mut there = BTreeMap::new();
    let tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' \
                  AND name <> 'seaql_migrations'";
    for table in rows(tables.to_owned()).await {
        let mut columns = rows(format!("SELECT name FROM pragma_table_info('{table}')")).await;
        columns.sort();
        there.insert(table, columns);
    }
    assert_eq!(saved, there);
    store.close().await.unwrap();
}

/// A backup that the first version with backups could have made, of a schema before the last migrations.
#[tokio::test]
async fn a_backup_of_an_older_schema_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("old.gz");
    let text = include_str!("../fixtures/backup-of-schema-7.jsonl");
    let mut gzip = flate2::write::GzEncoder::new(std::fs::File::create(&old).unwrap(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    gzip.finish().unwrap();
    for kind in [Kind::Sqlite, Kind::Postgres] {
        if !kind.is_here() {
            continue;
        }
        let database = Database::empty(kind);
        restore(&database.options(), &old, false).await.unwrap();
        let store = database.open().await;
        let endpoints = store::endpoints::list_current(store.readers()).await.unwrap();
        assert_eq!(endpoints.len(), 2, "{kind:?}");
        assert_eq!(endpoints[0].settings.name.as_deref(), Some("ärger"));
        assert_eq!(store::history::count(store.readers(), endpoints[0].id, None, None).await.unwrap(), 2);
        // What came later is there, and empty.
        assert_eq!(store::outbox::pending(store.readers(), "mail", 10).await.unwrap(), []);
        assert!(add(&store, "one more").await.0 > 40);
        store.close().await.unwrap();
    }
}
