//! What is no good backup is refused with a clear sentence, and nothing is touched.

use std::io::{Read, Write};
use std::path::Path;

use api_monitor::store::backup::Form;
use api_monitor::store::{ConnectionTrait, Store, StoreError, StoreOptions, StoreTarget};

use super::whole::{restore, save};
use super::{command, configure, contents, refusal, target};
use crate::database::{Database, Kind};
use crate::store::dump;

/// A database with something in it, closed.
async fn filled() -> Database {
    let database = Database::of(Kind::Sqlite);
    let store = std::sync::Arc::new(database.open().await);
    dump::live(store.clone()).await;
    store.close().await.unwrap();
    database
}

#[tokio::test]
async fn a_damaged_backup_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let source = filled().await;
    let mut targets = vec![Database::of(Kind::Sqlite)];
    if Kind::Postgres.is_here() {
        targets.push(Database::of(Kind::Postgres));
    }
    let whole = |name: &str| folder.path().join(name);
    save(&source.options(), &whole("portable"), Form::Portable).await;
    save(&source.options(), &whole("native"), Form::Native).await;
    for database in &targets {
        restore(&database.options(), &whole("portable"), false).await.unwrap();
    }
    let here = super::place(&targets[0]).unwrap();
    let before = contents(here);
    let bad = folder.path().join("bad");
    for form in ["portable", "native"] {
        let good = std::fs::read(whole(form)).unwrap();
        let mut broken: Vec<(String, Vec<u8>)> = [1, 30, good.len() / 3, good.len() / 2, good.len() - 1]
            .map(|length| (format!("{length} bytes of it"), good[..length].to_vec()))
            .into();
        let mut flipped = good.clone();
        // In the middle of a page, and all of its head: a page is examined as a whole.
        let page = good.len() / 2 / 4096 * 4096;
        for byte in &mut flipped[page..page + 64] {
            *byte ^= 0x55;
        }
        broken.push(("bytes flipped".to_owned(), flipped));
        if form == "portable" {
            broken.push(("more after its end".to_owned(), [good.as_slice(), good.as_slice()].concat()));
        }
        for (what, bytes) in broken {
            std::fs::write(&bad, bytes).unwrap();
            for database in &targets {
                let refused = restore(&database.options(), &bad, true).await;
                if form == "native" && database.options().target != targets[0].options().target {
                    assert!(refused.is_err(), "{form}, {what}");
                    continue;
                }
                let Err(StoreError::Unavailable(sentence)) = &refused else { panic!("{form}, {what}: {refused:?}") };
                assert!(sentence.contains("bad"), "{form}, {what}: {sentence}");
            }
            assert!(contents(here) == before, "{form}, {what}: the database was touched");
        }
    }
    // One row that was changed, in a whole gzip: the sum tells.
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(whole("portable")).unwrap()).read_to_string(&mut text).unwrap();
    let forged = text.replacen("\"shop\"", "\"shoq\"", 1);
    assert_ne!(forged, text);
    write_gzip(&bad, &forged);
    let refused = restore(&targets[0].options(), &bad, true).await;
    assert!(matches!(&refused, Err(StoreError::Unavailable(s)) if s.contains("the sum of its rows")), "{refused:?}");
    assert!(contents(here) == before);
}

fn write_gzip(path: &Path, text: &str) {
    let mut gzip = flate2::write::GzEncoder::new(std::fs::File::create(path).unwrap(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    gzip.finish().unwrap();
}

const NEWER: &str = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m20991231_000001_add_wonders', 0)";

fn at(path: &Path) -> StoreOptions {
    StoreOptions { target: StoreTarget::Sqlite(path.to_owned()), readers: 1, echo: false }
}

#[test]
fn what_a_newer_version_wrote_is_left_alone_by_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("monitor.db");
    configure(folder.path(), &format!("sqlite://{}", file.display()), &target());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = Store::open(&at(&file)).await.unwrap();
        store.close().await.unwrap();
        save(&at(&file), &folder.path().join("older.gz"), Form::Portable).await;
        let store = Store::open(&at(&file)).await.unwrap();
        store.writer().execute_unprepared(NEWER).await.unwrap();
        store.close().await.unwrap();
    });
    std::fs::copy(&file, folder.path().join("newer.db")).unwrap();
    let mut text = String::new();
    let older = std::fs::File::open(folder.path().join("older.gz")).unwrap();
    flate2::read::GzDecoder::new(older).read_to_string(&mut text).unwrap();
    let last = "m20261121_000008_create_outbox\"";
    write_gzip(
        &folder.path().join("newer.gz"),
        &text.replacen(last, &format!("{last},\"m20991231_000001_add_wonders\""), 1),
    );
    write_gzip(&folder.path().join("form.gz"), &text.replacen("\"version\":1", "\"version\":2", 1));
    for arguments in [
        ["backup", "b.db"].as_slice(),
        &["backup", "b.gz", "--format", "portable"],
        &["export"],
        &["export", "--what", "endpoints", "-o", "e.csv"],
        &["migrate"],
        &["serve"],
    ] {
        let before: Vec<_> = contents(folder.path()).into_keys().collect();
        let sentence = refusal(&command(folder.path(), arguments));
        assert!(
            sentence.contains("newer api-monitor") && sentence.contains("add_wonders"),
            "{arguments:?}: {sentence}"
        );
        let after = contents(folder.path()).into_keys();
        // Reading beside a monitor may leave the empty journal of SQLite.
        let made: Vec<_> = after.filter(|path| !before.contains(path)).collect();
        assert!(made.iter().all(|path| path.to_string_lossy().contains("monitor.db-")), "{arguments:?}: {made:?}");
    }
    // Into an empty place.
    configure(folder.path(), &format!("sqlite://{}", folder.path().join("other.db").display()), &target());
    for (backup, word) in [("newer.db", "add_wonders"), ("newer.gz", "add_wonders"), ("form.gz", "form 2")] {
        let sentence = refusal(&command(folder.path(), &["restore", backup]));
        assert!(
            sentence.contains(backup) && sentence.contains("newer api-monitor") && sentence.contains(word),
            "{sentence}"
        );
        assert!(!folder.path().join("other.db").exists());
        assert!(!folder.path().join("other.db.restoring").exists());
    }
}

#[test]
fn what_is_no_backup_and_no_database_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("monitor.db");
    configure(folder.path(), &format!("sqlite://{}", file.display()), &target());
    for arguments in [["backup", "b.db"].as_slice(), &["export"]] {
        let sentence = refusal(&command(folder.path(), arguments));
        assert!(sentence.contains("there is no database") && sentence.contains("monitor.db"), "{sentence}");
    }
    assert!(!file.exists(), "nothing is made by looking");
    write_gzip(&folder.path().join("other.gz"), "{\"not\": \"ours\"}\n");
    std::fs::write(folder.path().join("text"), "a text of no use").unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let foreign = sea_orm::Database::connect(format!("sqlite://{}/foreign.db?mode=rwc", folder.path().display()));
        let foreign = foreign.await.unwrap();
        foreign.execute_unprepared("CREATE TABLE notes (text)").await.unwrap();
        foreign.close().await.unwrap();
    });
    for (backup, words) in [
        ("missing", "cannot be read"),
        ("text", "not a backup of api-monitor"),
        ("other.gz", "not a backup of api-monitor"),
        ("foreign.db", "not a database of api-monitor"),
    ] {
        let sentence = refusal(&command(folder.path(), &["restore", backup]));
        assert!(sentence.contains(backup) && sentence.contains(words), "{sentence}");
        assert!(!file.exists());
    }
    // Neither is the database its own backup.
    assert_eq!(command(folder.path(), &["migrate"]).code, Some(0));
    let sentence = refusal(&command(folder.path(), &["backup", "monitor.db", "--force"]));
    assert!(sentence.contains("is the database itself"), "{sentence}");
    let sentence = refusal(&command(folder.path(), &["restore", "monitor.db", "--force"]));
    assert!(sentence.contains("is the database itself"), "{sentence}");
    let sentence = refusal(&command(folder.path(), &["backup", "no/such/folder/b.db"]));
    assert!(sentence.contains("no/such/folder"), "{sentence}");
}
