//! `/api/v1/audit`: what is in it, who sees it, and how it is looked through.

use std::time::Duration;

use api_monitor::clock::Clock;
use api_monitor::feed::{Filter, Read};
use serde_json::{Value, json};

use crate::app::TestApp;
use crate::database::{Kind, on_both_databases};

const ADMIN: &str = "the-first-admin-key-of-all";
const WITH_KEY: &str = "api: {port: 0, rate_limit: false, auth: {api_key: the-first-admin-key-of-all}}\n";

async fn read(app: &TestApp, query: &str) -> Value {
    let answer = app.call("GET", &format!("/api/v1/audit{query}")).header("x-api-key", ADMIN).send().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn actions(page: &Value) -> Vec<(&str, &str, &str)> {
    let entries = page["entries"].as_array().unwrap().iter();
    entries
        .map(|entry| {
            let [actor, action, result] = ["actor", "action", "result"].map(|name| entry[name].as_str().unwrap());
            (actor, action, result)
        })
        .collect()
}

async fn it_is_looked_through_by_who_what_and_when(kind: Kind) {
    let app = TestApp::on_with_config(kind, WITH_KEY).await;
    let send = async |method: &str, path: &str, body: Value| {
        app.call(method, path).header("x-api-key", ADMIN).json(&body).send().await
    };
    let secret = "https://user:hunter2@example.com/";
    send(
        "POST",
        "/api/v1/endpoints",
        json!({"name": "n", "url": secret, "headers": {"Authorization": "Bearer s3cret"}}),
    )
    .await;
    send("POST", "/api/v1/api-keys", json!({"name": "ci", "role": "viewer"})).await;
    app.clock.advance(Duration::from_secs(3_600));
    for interval in [61, 62, 63] {
        assert_eq!(send("PATCH", "/api/v1/endpoints/1", json!({"interval": interval})).await.status, 200);
    }
    app.call("GET", "/api/v1/endpoints").header("x-api-key", "wrong").send().await;
    send("PUT", "/api/v1/config", json!({"logging_level": "DEBUG"})).await;

    let all = read(&app, "").await;
    assert_eq!(
        actions(&all),
        [
            ("api-key", "request.read", "ok"),
            ("api-key", "config.update", "ok"),
            ("anonymous", "request.refused", "unauthorized"),
            ("api-key", "endpoint.patch", "ok"),
            ("api-key", "endpoint.patch", "ok"),
            ("api-key", "endpoint.patch", "ok"),
            ("api-key", "api_key.create", "ok"),
            ("api-key", "endpoint.create", "ok"),
        ]
    );
    let text = all.to_string();
    for hidden in ["hunter2", "s3cret", "wrong", ADMIN] {
        assert!(!text.contains(hidden), "{hidden}: {text}");
    }
    assert_eq!(all["entries"][3]["after"]["settings"]["interval"], 63);

    let counted = async |query: &str| {
        let page = read(&app, query).await;
        assert_eq!(page["total"], page["entries"].as_array().unwrap().len(), "{query}");
        page["total"].as_u64().unwrap()
    };
    assert_eq!(counted("?actor=anonymous").await, 1);
    assert_eq!(counted("?action=endpoint.patch").await, 3);
    assert_eq!(counted("?subject=endpoint/1").await, 4);
    assert_eq!(counted("?result=unauthorized").await, 1);
    assert_eq!(counted("?actor=api-key&subject=endpoint/1&result=ok&action=endpoint.create").await, 1);
    assert_eq!(counted("?actor=nobody").await, 0);
    assert_eq!(counted("?subject=%27%20OR%201%3D1%20--").await, 0);
    let boundary = all["entries"][5]["at"].as_str().unwrap();
    assert_eq!(counted(&format!("?to={boundary}")).await, 2);
    assert_eq!(counted(&format!("?from={boundary}")).await, 6);

    // Page after page, while new entries come.
    let (mut ids, mut query) = (Vec::new(), "?limit=3".to_owned());
    loop {
        let page = read(&app, &query).await;
        ids.extend(page["entries"].as_array().unwrap().iter().map(|entry| entry["id"].as_i64().unwrap()));
        let Some(cursor) = page["next_cursor"].as_i64() else { break };
        query = format!("?limit=3&cursor={cursor}");
        send("PATCH", "/api/v1/endpoints/1", json!({"interval": ids.len() + 100})).await;
    }
    assert_eq!(ids.len(), 8, "{ids:?}");
    assert!(ids.is_sorted_by(|newer, older| newer > older), "{ids:?}");
    assert_eq!(read(&app, "?limit=2&offset=9").await["entries"].as_array().unwrap().len(), 1);
    for wrong in ["?limit=0", "?from=x", "?from=2024-01-02&to=2024-01-01", "?cursor=-1", "?nonsense=1"] {
        let call = app.call("GET", &format!("/api/v1/audit{wrong}")).header("x-api-key", ADMIN);
        call.send().await.problem(400, "invalid-parameter");
    }
}

on_both_databases!(it_is_looked_through_by_who_what_and_when);

/// The connection is cut at once; its row and its event must not depend on whether the one who cut it stays.
#[tokio::test]
async fn the_end_of_a_connection_is_told_although_whoever_ended_it_goes_away() {
    let app = TestApp::start().await;
    let mut looking_on = app.ctx.feed.subscribe(None);
    // A machine that is busy for as long as a row may take has it in the log instead.
    for _ in 0..5 {
        let peer = "192.0.2.1:1".parse().unwrap();
        let connection = app.ctx.operations.connections.enter(peer, app.clock.now(), false);
        // Somebody writes, so that the row has to wait.
        let writing = app.ctx.store.begin().await.unwrap();
        let asking = app.call("DELETE", &format!("/api/v1/connections/conn_{}", connection.id)).open();
        tokio::select! {
            answer = asking => panic!("{answer:?}"),
            // Then whoever asked goes away.
            () = connection.cut.cancelled() => {}
        }
        writing.rollback().await.unwrap();
        let told = async {
            loop {
                if let Read::Events(events) = looking_on.read(&Filter::default(), 1_000) {
                    break events[0].1.data().to_owned();
                }
                looking_on.wait().await;
            }
        };
        let told = tokio::time::timeout(Duration::from_mins(1), told).await.expect("it is told");
        assert!(told.contains("connection.end"), "{told}");
        if app.audit().await.iter().any(|row| row.action == "connection.end") {
            return;
        }
    }
    panic!("it is not in the audit log: {:?}", app.audit().await);
}

#[tokio::test]
async fn what_only_administrators_may_read_is_noted_once_a_minute() {
    let app = TestApp::with_config(WITH_KEY).await;
    let get = async |path: &str| app.call("GET", path).header("x-api-key", ADMIN).send().await;
    for _ in 0..3 {
        for path in ["/api/v1/config", "/api/v1/api-keys", "/api/v1/audit", "/api/v1/endpoints"] {
            assert_eq!(get(path).await.status, 200, "{path}");
        }
    }
    let reads = async || {
        let rows = app.audit().await.into_iter().filter(|row| row.action == "request.read");
        rows.map(|row| row.subject).collect::<Vec<_>>()
    };
    assert_eq!(reads().await, ["GET /api/v1/config", "GET /api/v1/api-keys", "GET /api/v1/audit"]);
    app.clock.advance(Duration::from_secs(61));
    get("/api/v1/config?x=1").await;
    get("/api/v1/api-keys/key_404").await;
    assert_eq!(reads().await[3..], ["GET /api/v1/config", "GET /api/v1/api-keys/key_404"]);
    // However many there are, the rows of a minute are bounded.
    for n in 0..400 {
        get(&format!("/api/v1/api-keys/key_{n}")).await;
    }
    assert_eq!(reads().await.len(), 3 + 256);
}
