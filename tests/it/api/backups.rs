//! Backups over HTTP: begun, seen, read, removed, and told in the audit log.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::app::{Answer, TestApp};
use crate::database::{Kind, on_both_databases};

const BACKUPS: &str = "/api/v1/backups";

/// Begins a backup and waits until something has become of it.
pub(super) async fn back_up(app: &TestApp, body: &Value) -> Value {
    let answer = app.post(BACKUPS, body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.json()["status"], "Backup initiated");
    let place = format!("{BACKUPS}/{}", answer.json()["backup_id"].as_str().unwrap());
    assert_eq!(answer.header("location"), place);
    tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let backup = app.get(&place).await.json();
            if backup["state"] != "running" {
                return backup;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap()
}

/// The folder of the backups, which the configuration of these tests does not name.
fn folder(app: &TestApp) -> PathBuf {
    app.kept.as_ref().unwrap().path().to_owned()
}

/// Waits until the audit log has so many rows of an action.
async fn audited(app: &TestApp, action: &str, count: usize) -> Vec<api_monitor::store::audit::AuditEntry> {
    tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let rows: Vec<_> = app.audit().await.into_iter().filter(|row| row.action == action).collect();
            if rows.len() >= count {
                return rows;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap()
}

async fn a_backup_is_begun_seen_read_and_removed(kind: Kind) {
    let app = TestApp::on(kind).await;
    assert_eq!(app.get(BACKUPS).await.json(), json!({"backups": [], "total": 0, "limit": 100, "offset": 0}));
    assert_eq!(app.get("/health").await.json()["last_backup"], json!(null));
    let backup = back_up(&app, &json!({"backup_type": "FULL"})).await;
    let (form, extension, media) = match kind {
        Kind::Sqlite => ("native", "db", "application/vnd.sqlite3"),
        Kind::Postgres => ("portable", "jsonl.gz", "application/gzip"),
    };
    let id = "backup_20260301T120001Z";
    let file = folder(&app).join(format!("{id}.{extension}"));
    let bytes = std::fs::read(&file).unwrap();
    let told = json!({
        "backup_id": id, "backup_type": "FULL", "form": form, "state": "done", "created_at": "2026-03-01T12:00:01Z",
        "finished_at": backup["finished_at"], "size": backup["size"], "size_bytes": bytes.len(), "progress": null,
        "error": null
    });
    assert_eq!(backup, told);
    assert!(backup["finished_at"].is_string() && backup["size"].as_str().unwrap().ends_with("KB"), "{backup}");
    assert_eq!(app.get(BACKUPS).await.json()["backups"], json!([told]));
    app.clock.advance(Duration::from_secs(12 * 3600));
    let health = app.get("/health").await.json();
    assert_eq!(
        (&health["last_backup"], &health["last_backup_at"]),
        (&json!("12 hours ago"), &json!("2026-03-01T12:00:01Z"))
    );

    let place = format!("{BACKUPS}/{id}/content");
    let whole = app.get(&place).await;
    assert_eq!((whole.status.as_u16(), whole.header("content-type")), (200, media));
    assert_eq!(whole.header("content-disposition"), format!("attachment; filename=\"{id}.{extension}\""));
    assert_eq!(whole.header("content-length"), bytes.len().to_string());
    assert!(whole.body[..] == bytes[..]);
    let part = app.call("GET", &place).header("range", "bytes=10-19").header("accept", media).send().await;
    assert_eq!((part.status.as_u16(), &part.body[..]), (206, &bytes[10..20]));
    assert_eq!(part.header("content-range"), format!("bytes 10-19/{}", bytes.len()));
    let beyond = app.call("GET", &place).header("range", "bytes=99999999-").send().await;
    beyond.problem(416, "range-not-satisfiable");
    let head = app.call("HEAD", &place).send().await;
    assert_eq!((head.status.as_u16(), head.body.len(), head.header("content-type")), (200, 0, media));
    let same = app.call("GET", &place).header("if-modified-since", whole.header("last-modified")).send().await;
    assert_eq!(same.status, 304);
    assert_eq!(audited(&app, "backup.read", 4).await.len(), 4, "a part too, and what was there already; no HEAD");

    assert_eq!(app.call("DELETE", &format!("{BACKUPS}/{id}")).send().await.status, 204);
    assert!(!file.exists());
    for (method, path) in [("GET", format!("{BACKUPS}/{id}")), ("GET", place), ("DELETE", format!("{BACKUPS}/{id}"))] {
        app.call(method, &path).send().await.problem(404, "not-found");
    }
    let rows =
        app.audit().await.into_iter().filter(|row| row.action.starts_with("backup.") && row.action != "backup.read");
    let told: Vec<_> = rows.map(|row| (row.action, row.subject, row.result, row.actor)).collect();
    let row = |action: &str| (action.to_owned(), format!("backup/{id}"), "ok".to_owned(), "local".to_owned());
    assert_eq!(told, [row("backup.create"), row("backup.finish"), row("backup.delete")]);
    // It was made, whatever became of it, and the next process knows it.
    let folder = std::sync::Arc::new(api_monitor::store::backup::BackupFolder::new(folder(&app), 3));
    api_monitor::service::backups::look_back(&app.ctx.store, &folder).await;
    assert_eq!(folder.last(), Some("2026-03-01T12:00:01Z".parse().unwrap()));
}

async fn no_more_are_kept_than_shall_be(kind: Kind) {
    let app = TestApp::on(kind).await;
    for _ in 0..5 {
        assert_eq!(back_up(&app, &json!({})).await["state"], "done");
    }
    let list = app.get(&format!("{BACKUPS}?state=done&limit=2")).await.json();
    let ids: Vec<_> = list["backups"].as_array().unwrap().iter().map(|b| b["backup_id"].as_str().unwrap()).collect();
    // Begun in the same second.
    assert_eq!((ids, &list["total"]), (vec!["backup_20260301T120005Z", "backup_20260301T120004Z"], &json!(3)));
    let rows = audited(&app, "backup.finish", 5).await;
    assert_eq!(rows[4].after.as_ref().unwrap()["removed"], json!(["backup_20260301T120002Z"]));
}

on_both_databases!(a_backup_is_begun_seen_read_and_removed, no_more_are_kept_than_shall_be);

#[tokio::test]
async fn bad_input_is_told_with_its_place() {
    let app = TestApp::start().await;
    for (body, pointer) in [
        (json!({"backup_type": "INCREMENTAL"}), "/backup_type"),
        (json!({"backup_type": "full"}), "/backup_type"),
        (json!({"backup_type": 1}), "/backup_type"),
        (json!({"form": "zip"}), "/form"),
        (json!({"path": "/etc/passwd"}), "/path"),
    ] {
        let problem = app.post(BACKUPS, &body).await.problem(400, "invalid-parameter");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    let other = app.post(BACKUPS, &json!({"backup_type": "INCREMENTAL"})).await.problem(400, "invalid-parameter");
    assert!(other["detail"].as_str().unwrap().contains("FULL"), "{other}");
    app.call("POST", BACKUPS).send().await.problem(400, "invalid-parameter");
    app.get(&format!("{BACKUPS}?state=lost")).await.problem(400, "invalid-parameter");
    std::fs::write(folder(&app).join("notes.db"), "private").unwrap();
    std::fs::write(folder(&app).parent().unwrap().join("backup_20260301T120001Z.db"), "elsewhere").unwrap();
    for id in ["notes", "notes.db", "..%2Fbackup_20260301T120001Z", "%2e%2e%2Fx", "backup_20260301T120001Z", "%00"] {
        for (method, tail) in [("GET", ""), ("GET", "/content"), ("DELETE", "")] {
            app.call(method, &format!("{BACKUPS}/{id}{tail}")).send().await.problem(404, "not-found");
        }
    }
    std::fs::remove_file(folder(&app).parent().unwrap().join("backup_20260301T120001Z.db")).unwrap();
    assert!(folder(&app).join("notes.db").exists());
}

/// Asserts that a backup failed with a sentence, and left nothing.
async fn fails(app: &TestApp, words: &str) {
    let answer: Answer = app.post(BACKUPS, &json!({})).await;
    let problem = answer.problem(503, "unavailable");
    assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
}

#[tokio::test]
async fn a_failure_is_told_and_leaves_nothing() {
    let app = TestApp::start().await;
    std::fs::write(folder(&app).join(".backup_20260101T000000Z.db.x.partial"), "of a crash").unwrap();
    // Somebody else has removed the database that is to be read.
    let path = app.ctx.store.path().unwrap().to_owned();
    let away = path.with_extension("away");
    std::fs::rename(&path, &away).unwrap();
    let failed = back_up(&app, &json!({})).await;
    std::fs::rename(&away, &path).unwrap();
    assert_eq!(
        (&failed["state"], &failed["size"], &failed["progress"]),
        (&json!("failed"), &json!(null), &json!(null))
    );
    assert!(failed["error"].as_str().unwrap().contains("there is no database"), "{failed}");
    let id = failed["backup_id"].as_str().unwrap();
    app.get(&format!("{BACKUPS}/{id}/content")).await.problem(404, "not-found");
    let left: Vec<_> = std::fs::read_dir(folder(&app)).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, [".backups.lock"]);
    assert_eq!(app.get("/health").await.json()["last_backup"], json!(null));
    let row = audited(&app, "backup.finish", 1).await.remove(0);
    assert!(row.result.starts_with("failed: there is no database"), "{row:?}");
    assert_eq!(app.call("DELETE", &format!("{BACKUPS}/{id}")).send().await.status, 204);
    assert_eq!(app.get(BACKUPS).await.json()["total"], 0);
    // A folder that cannot be one.
    std::fs::remove_dir_all(folder(&app)).unwrap();
    std::fs::write(folder(&app), "a file").unwrap();
    fails(&app, "the folder of the backups cannot be written").await;
    std::fs::remove_file(folder(&app)).unwrap();
}

#[tokio::test]
async fn one_at_a_time_is_made() {
    let app = TestApp::start().await;
    // As the command line does, in a process of its own.
    let other = api_monitor::store::backup::BackupFolder::new(folder(&app), 3);
    let claim = other.claim().unwrap();
    let problem = app.post(BACKUPS, &json!({})).await.problem(409, "backup-running");
    assert!(problem["detail"].as_str().unwrap().contains("nother process"), "{problem}");
    drop(claim);
    assert_eq!(back_up(&app, &json!({})).await["state"], "done");
}

#[tokio::test]
async fn a_removal_is_noted_first_and_again_when_it_fails() {
    let app = TestApp::start().await;
    let backup = back_up(&app, &json!({})).await;
    let id = backup["backup_id"].as_str().unwrap();
    let file = folder(&app).join(format!("{id}.db"));
    audited(&app, "backup.finish", 1).await;
    let delete = async || app.call("DELETE", &format!("{BACKUPS}/{id}")).send().await;
    app.fail_commits().await;
    assert_eq!(delete().await.status, 500);
    assert!(file.exists(), "nothing goes without its row");
    app.let_commit().await;

    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let set = |mode| std::fs::set_permissions(folder(&app), std::fs::Permissions::from_mode(mode)).unwrap();
        set(0o500);
        // Whoever runs the tests as root is kept from nothing.
        if std::fs::File::create(folder(&app).join("probe")).is_err() {
            delete().await.problem(503, "unavailable");
            let results: Vec<_> = audited(&app, "backup.delete", 2).await.into_iter().map(|row| row.result).collect();
            assert_eq!(results[0], "ok");
            assert!(
                results[1].starts_with("failed: ") && results[1].contains("the backup cannot be removed"),
                "{results:?}"
            );
            assert!(file.exists());
        }
        set(0o700);
    }
    assert_eq!(delete().await.status, 204);
    assert!(!file.exists());
}
