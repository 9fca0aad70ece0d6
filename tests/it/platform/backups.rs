//! Backups over HTTP of the running program, beside results that are written; restored by the command line.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::Platform;
use crate::cli::process::run;
use crate::flows::target::{Answer as Reply, Target};

const BACKUPS: &str = "/api/v1/backups";

/// Asks until the backup is no longer being made.
async fn finished(platform: &Platform, id: &str) -> Value {
    tokio::time::timeout(Duration::from_secs(120), async {
        loop {
            let backup = platform.get(&format!("{BACKUPS}/{id}")).await.expect(200).json();
            if backup["state"] != "running" {
                return backup;
            }
            let progress = &backup["progress"];
            assert!(progress.is_null() || progress["done"].as_u64() <= progress["total"].as_u64(), "{backup}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap()
}

/// The oldest checks of an endpoint, by their ids.
async fn history(platform: &Platform, endpoint: u64) -> BTreeMap<i64, Value> {
    let answer = platform.get(&format!("/api/v1/stats/history/{endpoint}?limit=1000")).await.expect(200).json();
    let checks = answer["checks"].as_array().unwrap().clone();
    checks.into_iter().filter(|c| c["outcome"] != "missed").map(|c| (c["id"].as_i64().unwrap(), c)).collect()
}

async fn names(platform: &Platform) -> Vec<(u64, String)> {
    let list = platform.get("/api/v1/endpoints").await.expect(200).json();
    let endpoints = list["endpoints"].as_array().unwrap();
    endpoints.iter().map(|e| (e["id"].as_u64().unwrap(), e["name"].as_str().unwrap().to_owned())).collect()
}

async fn backed_up_and_restored(form: &str) {
    let target =
        Target::answering(|path, before| Reply::Status(if path == "b" && before % 2 == 1 { 500 } else { 200 }));
    let sections = "defaults: {interval: 1, retry: {enabled: false}}\nendpoints: []\nbackup: {folder: kept, keep: 2}\n";
    let platform = Platform::start(sections);
    for name in ["a", "b"] {
        let new = json!({"name": name, "url": target.url(name)});
        platform.send("POST", "/api/v1/endpoints", &new).await.expect(201);
    }
    while history(&platform, 2).await.len() < 3 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(platform.get("/health").await.json()["last_backup"], json!(null));
    let before = (history(&platform, 1).await, history(&platform, 2).await);
    let begun = platform.send("POST", BACKUPS, &json!({"backup_type": "FULL", "form": form})).await.expect(202);
    let answer = begun.json();
    assert_eq!(answer["status"], "Backup initiated");
    let id = answer["backup_id"].as_str().unwrap();
    assert_eq!(begun.header("location"), format!("{BACKUPS}/{id}"));
    let backup = finished(&platform, id).await;
    assert_eq!((&backup["state"], &backup["error"]), (&json!("done"), &json!(null)), "{backup}");
    let list = platform.get(BACKUPS).await.expect(200).json();
    assert_eq!((&list["total"], &list["backups"][0]["backup_id"]), (&json!(1), &json!(id)));
    assert!(platform.get("/health").await.json()["last_backup"].as_str().unwrap().ends_with(" ago"));
    let file = platform.get(&format!("{BACKUPS}/{id}/content")).await.expect(200);
    assert_eq!(file.body.len() as u64, backup["size_bytes"].as_u64().unwrap());
    #[cfg(unix)]
    for entry in std::fs::read_dir(platform.folder.path().join("kept")).unwrap() {
        use std::os::unix::fs::PermissionsExt;
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().starts_with("backup_") {
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
    // Another one, of the command line, is seen here; with a third one the first goes.
    let by_hand = run(platform.folder.path(), &["--config", "config.yaml", "backup"]);
    assert_eq!(by_hand.code, Some(0), "{}", by_hand.stderr);
    assert_eq!(platform.get(BACKUPS).await.json()["total"], 2);
    let third = platform.send("POST", BACKUPS, &json!({})).await.expect(202).json();
    let third = third["backup_id"].as_str().unwrap();
    assert_eq!(finished(&platform, third).await["state"], "done");
    let list = platform.get(BACKUPS).await.expect(200).json();
    assert!(list["total"] == 2 && list["backups"].as_array().unwrap().iter().all(|b| b["backup_id"] != id), "{list}");
    platform.ask(platform.request("DELETE", &format!("{BACKUPS}/{third}"))).await.expect(204);
    platform.get(&format!("{BACKUPS}/{third}")).await.expect(404);

    // Elsewhere it is all there again.
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("config.yaml"), sections).unwrap();
    std::fs::write(folder.path().join("downloaded"), &file.body).unwrap();
    let restored = run(folder.path(), &["--config", "config.yaml", "restore", "downloaded"]);
    assert_eq!(restored.code, Some(0), "{}", restored.stderr);
    let expected = names(&platform).await;
    drop(platform);
    let other = Platform::start_in(folder, &[]);
    assert_eq!(names(&other).await, expected);
    let after = (history(&other, 1).await, history(&other, 2).await);
    for (before, after) in [(before.0, after.0), (before.1, after.1)] {
        for (id, check) in before {
            assert_eq!(after.get(&id), Some(&check));
        }
    }
}

#[tokio::test]
async fn a_native_backup_is_made_downloaded_and_restored() {
    backed_up_and_restored("native").await;
}

#[tokio::test]
async fn a_portable_backup_is_made_downloaded_and_restored() {
    backed_up_and_restored("portable").await;
}

#[tokio::test]
async fn what_was_unfinished_is_removed_and_what_was_whole_is_there_after_a_restart() {
    let platform = Platform::start("endpoints: []\n");
    platform.send("POST", BACKUPS, &json!({"backup_type": "PARTIAL"})).await.expect(400);
    let answer = platform.send("POST", BACKUPS, &json!({"backup_type": "FULL"})).await.expect(202).json();
    let backup = finished(&platform, answer["backup_id"].as_str().unwrap()).await;
    let Platform { folder, process, .. } = platform;
    process.signal("KILL");
    process.wait(Duration::from_secs(60));
    let kept = folder.path().join("data/backups");
    let partial = kept.join(".backup_20260101T000000Z.db.x1.partial");
    std::fs::write(&partial, "of a process that was killed").unwrap();
    let platform = Platform::start_in(folder, &[]);
    let list = platform.get(BACKUPS).await.expect(200).json();
    assert_eq!(list["backups"], json!([backup]));
    assert!(!partial.exists());
    assert!(platform.get("/health").await.json()["last_backup_at"] == backup["created_at"]);
}
