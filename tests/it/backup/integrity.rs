//! After an end that was not clean the database is examined, beside everything else.

use std::path::Path;
use std::time::Duration;

use api_monitor::domain::Timestamp;
use api_monitor::store::audit::{self, AuditEntry};
use api_monitor::store::{Integrity, Store, StoreOptions, StoreTarget};

use super::{command, configure, done, target, told};
use crate::cli::process::Running;

const SERVE: &[&str] = &["--config", "config.yaml"];
const WAIT: Duration = Duration::from_secs(30);

fn options(file: &Path) -> StoreOptions {
    StoreOptions { target: StoreTarget::Sqlite(file.to_owned()), readers: 1, echo: false }
}

/// Rows that no start reads, some of which can be found in the file.
async fn fill(file: &Path, rows: i64) {
    let store = Store::open(&options(file)).await.unwrap();
    let transaction = store.begin().await.unwrap();
    for n in 0..rows {
        let entry = AuditEntry {
            at: "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap(),
            actor: "local".to_owned(),
            address: None,
            action: "endpoint.update".to_owned(),
            subject: format!("row number {n:06} of a table that is damaged"),
            result: "ok".to_owned(),
            before: None,
            after: None,
        };
        audit::append(&transaction, entry).await.unwrap();
    }
    transaction.commit().await.unwrap();
    store.close().await.unwrap();
}

/// Overwrites the head of the page that holds a text.
fn damage(file: &Path, text: &str) {
    let mut bytes = std::fs::read(file).unwrap();
    let at = bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap();
    let page = at / 4096 * 4096;
    bytes[page..page + 100].fill(0xA5);
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn a_kill_makes_the_next_start_examine_the_database_once() {
    let target = target();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("monitor.db");
    configure(folder.path(), &format!("sqlite://{}", file.display()), &target);
    let examined = "the last run did not end cleanly";

    let mut monitor = Running::start(folder.path(), SERVE);
    monitor.address();
    monitor.signal("KILL");
    let killed = monitor.wait(WAIT);
    assert!(!killed.stderr.contains(examined), "{}", killed.stderr);

    // A command that opens and closes it does not count as an examination.
    done(&command(folder.path(), &["migrate"]));
    let mut monitor = Running::start(folder.path(), SERVE);
    monitor.logs(WAIT, examined);
    monitor.logs(WAIT, "the database is whole");
    let address = monitor.address();
    let health = told(&address, "/health");
    assert_eq!((&health["status"], &health["database_damage"]), (&"healthy".into(), &().into()));
    monitor.signal("TERM");
    assert_eq!(monitor.wait(WAIT).code, Some(0));

    let mut monitor = Running::start(folder.path(), SERVE);
    monitor.address();
    monitor.signal("TERM");
    let clean = monitor.wait(WAIT);
    assert!(!clean.stderr.contains(examined), "{}", clean.stderr);
}

#[test]
fn damage_is_told_and_a_backup_mends_it() {
    let target = target();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("monitor.db");
    configure(folder.path(), &format!("sqlite://{}", file.display()), &target);
    tokio::runtime::Runtime::new().unwrap().block_on(fill(&file, 2_000));
    done(&command(folder.path(), &["backup", "good.db"]));
    let mut monitor = Running::start(folder.path(), SERVE);
    monitor.address();
    monitor.signal("KILL");
    monitor.wait(WAIT);
    damage(&file, "row number 001000");

    for round in 0..2 {
        let mut monitor = Running::start(folder.path(), SERVE);
        monitor.logs(WAIT, "is damaged: stop the monitor and restore a backup with `api-monitor restore FILE");
        let address = monitor.address();
        let health = told(&address, "/health");
        assert_eq!(health["status"], "degraded", "{health}");
        assert!(!health["database_damage"].as_str().unwrap().is_empty(), "{health}");
        assert_eq!(told(&address, "/health/ready")["status"], "ready", "checks are made and kept");
        monitor.signal("TERM");
        let ended = monitor.wait(WAIT);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let errors = ended.stderr.lines().filter(|line| line.contains("\"level\":\"ERROR\"")).count();
        assert_eq!(errors, 1, "round {round}: a clean stop mends nothing, and one line says so\n{}", ended.stderr);
    }

    // What is damaged is no backup.
    std::fs::copy(&file, folder.path().join("bad.db")).unwrap();
    let refused = super::refusal(&command(folder.path(), &["restore", "bad.db", "--force"]));
    assert!(refused.contains("bad.db is damaged"), "{refused}");
    done(&command(folder.path(), &["restore", "good.db", "--force"]));
    let mut monitor = Running::start(folder.path(), SERVE);
    let address = monitor.address();
    assert_eq!(told(&address, "/health")["status"], "healthy");
    monitor.signal("TERM");
    let ended = monitor.wait(WAIT);
    assert!(!ended.stderr.contains("did not end cleanly"), "{}", ended.stderr);
}

#[test]
fn damage_at_the_root_is_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("monitor.db");
    configure(folder.path(), &format!("sqlite://{}", file.display()), &target());
    tokio::runtime::Runtime::new().unwrap().block_on(fill(&file, 10));
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[100..4096].fill(0xA5);
    std::fs::write(&file, bytes).unwrap();
    let ended = Running::start(folder.path(), SERVE).wait(WAIT);
    let sentence = super::refusal(&ended);
    assert!(sentence.contains("monitor.db") && sentence.contains("damaged: restore a backup"), "{sentence}");
}

#[tokio::test]
async fn an_examination_that_was_cut_is_begun_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("monitor.db");
    fill(&file, 20_000).await;
    let store = Store::open(&options(&file)).await.unwrap();
    assert_eq!(store.integrity(), Integrity::Sound);
    drop(store);
    let store = Store::open(&options(&file)).await.unwrap();
    assert_eq!(store.integrity(), Integrity::Doubtful);
    assert!(store.examine(|| true).await.is_err());
    assert_eq!(store.integrity(), Integrity::Doubtful);
    store.close().await.unwrap();
    let store = Store::open(&options(&file)).await.unwrap();
    assert_eq!(store.integrity(), Integrity::Doubtful);
    assert_eq!(store.examine(|| false).await, Ok(Integrity::Sound));
    store.close().await.unwrap();
    let store = Store::open(&options(&file)).await.unwrap();
    assert_eq!(store.integrity(), Integrity::Sound);
    store.close().await.unwrap();
}
