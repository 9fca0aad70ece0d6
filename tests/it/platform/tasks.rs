//! `/tasks`: the housekeeping, seen and run.

use std::time::Duration;

use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Platform, until};
use crate::app::TestApp;

const TASKS: &str = "/api/v1/tasks";
const CONFIG: &str = "endpoints: []\ndatabase: {url: 'sqlite://monitor.db'}\n";

/// The database of a running monitor.
async fn beside(platform: &Platform) -> DatabaseConnection {
    let file = platform.folder.path().join("monitor.db");
    Database::connect(format!("sqlite://{}", file.display())).await.unwrap()
}

async fn count(db: &DatabaseConnection, condition: &str) -> i64 {
    count_in(db, "audit_log", condition).await
}

async fn count_in(db: &DatabaseConnection, table: &str, condition: &str) -> i64 {
    let sql = format!("SELECT count(*) AS n FROM {table} WHERE {condition}");
    let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap().unwrap();
    row.try_get("", "n").unwrap()
}

/// A task, when it has made so many runs.
async fn after_runs(platform: &Platform, name: &str, runs: u64) -> Value {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let task = platform.get(&format!("{TASKS}/{name}")).await.expect(200).json();
        if task["runs"].as_u64() >= Some(runs) && task["running"] == false {
            return task;
        }
        assert!(Instant::now() < deadline, "{task}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_task_is_run_when_it_is_asked_for() {
    let platform = Platform::start(CONFIG);
    // What the start had it do.
    let before = after_runs(&platform, "retention", 1).await;
    assert_eq!((&before["last_result"], &before["schedule"]), (&json!("ok"), &json!("every 86400 s")), "{before}");

    let db = beside(&platform).await;
    let insert = "INSERT INTO audit_log (at, actor, action, subject, result) VALUES \
                  (1000000, 'anonymous', 'request.refused', 'GET /long-ago', 'unauthorized')";
    db.execute_unprepared(insert).await.unwrap();
    assert_eq!(count(&db, "subject = 'GET /long-ago'").await, 1);

    let begun = platform.ask(platform.request("POST", &format!("{TASKS}/retention/run"))).await.expect(202).json();
    assert_eq!(begun["name"], "retention", "{begun}");
    let runs = before["runs"].as_u64().unwrap();
    let after = after_runs(&platform, "retention", runs + 1).await;
    assert_eq!((&after["runs"], &after["last_result"]), (&json!(runs + 1), &json!("ok")), "{after}");
    assert!(after["last_message"].as_str().unwrap().contains("refusals 1"), "{after}");
    assert!(after["last_duration_seconds"].as_f64().is_some_and(|s| (0.0..120.0).contains(&s)), "{after}");
    assert!(after["last_run_at"].as_str() > before["last_run_at"].as_str(), "{after}");
    assert_eq!(count(&db, "subject = 'GET /long-ago'").await, 0, "it did its work");
    assert_eq!(count(&db, "action = 'task.run' AND subject = 'task/retention' AND actor = 'local'").await, 1);
}

#[tokio::test]
async fn every_task_can_be_run_and_tells_how_it_went() {
    let platform = Platform::start(CONFIG);
    let list = platform.get(TASKS).await.expect(200).json();
    let names: Vec<_> =
        list["tasks"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(
        names,
        ["rollup_hours", "rollup_days", "retention", "purge", "key_uses", "sessions", "backups", "integrity"],
        "{list}"
    );
    assert_eq!(list["total"], 8);
    after_runs(&platform, "rollup_days", 1).await;
    after_runs(&platform, "retention", 1).await;
    for name in &names {
        let before = platform.get(&format!("{TASKS}/{name}")).await.expect(200).json();
        assert!(before["description"].as_str().is_some_and(|d| d.len() > 10), "{before}");
        platform.ask(platform.request("POST", &format!("{TASKS}/{name}/run"))).await.expect(202);
        let after = after_runs(&platform, name, before["runs"].as_u64().unwrap() + 1).await;
        assert_eq!(after["last_result"], "ok", "{after}");
        assert!(after["last_message"].as_str().is_some_and(|m| !m.is_empty()), "{after}");
        if name == "integrity" {
            assert_eq!(
                (&after["next_run_at"], &after["last_message"]),
                (&Value::Null, &json!("the database is whole"))
            );
        } else {
            let next = after["next_run_at"].as_str().unwrap();
            assert!(next > after["last_run_at"].as_str().unwrap(), "{after}");
        }
    }
    platform.get(&format!("{TASKS}/laundry")).await.expect(404);
    platform.ask(platform.request("POST", &format!("{TASKS}/laundry/run"))).await.expect(404);
    platform.ask(platform.request("POST", TASKS)).await.expect(405);
    let page = platform.get(&format!("{TASKS}?limit=1&offset=7")).await.expect(200).json();
    assert_eq!((page["tasks"][0]["name"].as_str(), &page["total"]), (Some("integrity"), &json!(8)), "{page}");
}

/// Checks of an endpoint, as many as there would be after some days.
async fn write_history(db: &DatabaseConnection, endpoint: i64) {
    let insert = format!(
        "INSERT INTO check_results (endpoint_id, scheduled_at, started_at, outcome, slots, total_us, attempts, \
         \"trigger\", in_maintenance) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000) \
         SELECT {endpoint}, (strftime('%s', 'now') - i) * 1000000, (strftime('%s', 'now') - i) * 1000000, 'up', 1, 1000, 1, 'scheduled', 0 FROM n"
    );
    db.execute_unprepared(&insert).await.unwrap();
    assert_eq!(count_in(db, "check_results", &format!("endpoint_id = {endpoint}")).await, 4000);
}

#[tokio::test]
async fn the_history_of_what_was_deleted_with_it_goes_after_the_answer_and_after_a_restart() {
    let platform = Platform::start(CONFIG);
    for name in ["at once", "by key", "after the restart", "kept"] {
        let body = json!({"name": name, "url": "http://127.0.0.1:9/", "is_active": false});
        platform.send("POST", "/api/v1/endpoints", &body).await.expect(201);
    }
    let db = beside(&platform).await;
    for id in 1..=4 {
        write_history(&db, id).await;
    }
    let left =
        async |db: &DatabaseConnection, id: i64| count_in(db, "check_results", &format!("endpoint_id = {id}")).await;
    platform.ask(platform.request("DELETE", "/api/v1/endpoints/1?purge=true")).await.expect(204);
    platform.ask(platform.request("DELETE", "/api/v1/endpoints/1?purge=true")).await.expect(404);
    let operations = json!({"operations": [{"op": "delete", "key": {"name": "by key"}, "purge": true}]});
    let done = platform.send("POST", "/api/v1/endpoints/bulk", &operations).await.expect(200).json();
    assert_eq!(done["succeeded"], 1, "{done}");
    for id in 1..=2 {
        until("the history is gone", async || left(&db, id).await == 0).await;
    }
    let task = platform.get(&format!("{TASKS}/purge")).await.expect(200).json();
    assert!(task["next_run_at"].is_string(), "{task}");

    // What a stop has left.
    platform.ask(platform.request("DELETE", "/api/v1/endpoints/3")).await.expect(204);
    assert_eq!(left(&db, 3).await, 4000, "it stays until retention");
    let Platform { folder, process, .. } = platform;
    process.signal("TERM");
    process.wait(Duration::from_mins(1));
    db.execute_unprepared("UPDATE endpoints SET purge_at = 1000000 WHERE id = 3").await.unwrap();
    let platform = Platform::start_in(folder, &[]);
    until("the history is gone", async || left(&db, 3).await == 0).await;
    assert_eq!(left(&db, 4).await, 4000);
    assert_eq!(platform.get("/api/v1/endpoints").await.json()["total"], 1);
}

#[tokio::test]
async fn a_damaged_database_is_found_by_the_task() {
    let platform = Platform::start(CONFIG);
    after_runs(&platform, "retention", 1).await;
    after_runs(&platform, "rollup_days", 1).await;
    let db = beside(&platform).await;
    // An index that lacks a row is what damage looks like to whoever reads it.
    for sql in [
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_master SET rootpage = 100000 WHERE type = 'table' AND name = 'check_results'",
        "PRAGMA writable_schema = RESET",
    ] {
        db.execute_unprepared(sql).await.unwrap();
    }
    platform.ask(platform.request("POST", &format!("{TASKS}/integrity/run"))).await.expect(202);
    let after = after_runs(&platform, "integrity", 1).await;
    assert_eq!(after["last_result"], "error", "{after}");
    assert!(after["last_message"].as_str().unwrap().starts_with("it is damaged"), "{after}");
}

#[tokio::test]
async fn a_task_that_runs_is_not_begun_again() {
    let app = TestApp::start().await;
    let job = &app.ctx.operations.jobs[0];
    let run = || app.call("POST", "/api/v1/tasks/n/run").send();
    assert_eq!(run().await.status, 202);
    assert_eq!(app.get("/api/v1/tasks/n").await.json()["running"], true, "it is about to begin");
    run().await.problem(409, "task-running");
    job.status.begin();
    run().await.problem(409, "task-running");
    let audited = app.audit().await.iter().filter(|row| row.action == "task.run").count();
    assert_eq!(audited, 1, "what was refused did not happen");
}
