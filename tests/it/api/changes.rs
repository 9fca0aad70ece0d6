//! Creating, replacing, patching, pausing and deleting endpoints.

use std::time::Duration;

use api_monitor::domain::endpoint::EndpointId;
use serde_json::{Value, json};

use crate::app::{START, TestApp};
use crate::database::{Kind, on_both_databases};

fn example() -> Value {
    json!({"name": "api", "url": "https://example.com/health", "interval": 120, "timeout": 10, "tags": ["prod"]})
}

async fn an_endpoint_is_created_shown_and_audited(kind: Kind) {
    let app = TestApp::on(kind).await;
    let answer = app.post("/api/v1/endpoints", &example()).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("location"), "/api/v1/endpoints/1");
    assert_eq!(answer.header("etag"), "\"1\"");
    let shown = app.get("/api/v1/endpoints/1").await;
    assert_eq!(shown.json(), answer.json());
    let mut resource = shown.json();
    assert_eq!(resource["effective"]["user_agent"].take(), concat!("api-monitor/", env!("CARGO_PKG_VERSION")));
    insta::assert_json_snapshot!("created_endpoint", resource);
    let audit = app.audit().await;
    assert_eq!(
        (audit.len(), audit[0].action.as_str(), audit[0].subject.as_str()),
        (1, "endpoint.create", "endpoint/1")
    );
    assert_eq!(audit[0].after.as_ref().unwrap()["settings"]["interval"], 120);
    // The scheduler was woken.
    tokio::time::timeout(Duration::from_secs(5), app.ctx.scheduler.wait()).await.unwrap();
}

async fn a_name_is_taken_once_even_in_a_race(kind: Kind) {
    let app = TestApp::on(kind).await;
    let body = example();
    let answers = futures_util::future::join_all((0..20).map(|_| app.post("/api/v1/endpoints", &body))).await;
    let created = answers.iter().filter(|a| a.status == 201).count();
    assert_eq!(created, 1);
    for answer in answers.iter().filter(|a| a.status != 201) {
        answer.problem(409, "name-taken");
    }
    assert_eq!(app.ctx.board.len(), 1);
    let in_group = json!({"name": "api", "url": "https://example.com", "group": "core"});
    assert_eq!(app.post("/api/v1/endpoints", &in_group).await.status, 201);
}

async fn put_returns_what_is_absent_to_its_default(kind: Kind) {
    let app = TestApp::on(kind).await;
    app.create(&example()).await;
    app.clock.advance(Duration::from_mins(1));
    let body = json!({"name": "api", "url": "https://example.com/other"});
    let answer = app.call("PUT", "/api/v1/endpoints/1").json(&body).send().await;
    assert_eq!(answer.status, 200);
    let shown = answer.json();
    assert_eq!((&shown["interval"], &shown["timeout"], &shown["tags"]), (&json!(60), &json!(5), &json!([])));
    assert_eq!((&shown["revision"], &shown["settings"]), (&json!(2), &body));
    assert_eq!(shown["updated_at"], "2026-03-01T12:01:01Z");
    let entry = app.ctx.board.get(EndpointId(1)).unwrap();
    assert_eq!(entry.known.scheduled_from, entry.known.updated_at, "a new schedule counts from now");
    let missing = app.call("PUT", "/api/v1/endpoints/1").json(&json!({"name": "api"})).send().await;
    missing.problem(400, "invalid-parameter");
}

async fn patch_merges_null_removes_and_nothing_changes_nothing(kind: Kind) {
    let app = TestApp::on(kind).await;
    app.create(&example()).await;
    let patch = json!({"interval": null, "tags": ["a", "b"], "headers": {"Accept": "text/html"}});
    let call = app.call("PATCH", "/api/v1/endpoints/1").header("content-type", "application/merge-patch+json");
    let shown = call.body(patch.to_string()).send().await.json();
    assert_eq!((&shown["interval"], &shown["timeout"], &shown["revision"]), (&json!(60), &json!(10), &json!(2)));
    assert_eq!(shown["headers"], json!({"Accept": "text/html"}));
    let again = app.call("PATCH", "/api/v1/endpoints/1").json(&patch).send().await.json();
    assert_eq!(again["revision"], 2);
    let rows = app.audit().await;
    assert_eq!(rows.iter().filter(|row| row.action == "endpoint.patch").count(), 1);
    let conflict = app.call("PATCH", "/api/v1/endpoints/1").json(&json!({"timeout": 61})).send().await;
    assert_eq!(conflict.problem(400, "invalid-parameter")["errors"][0]["pointer"], "/timeout");
}

async fn a_lost_update_is_refused(kind: Kind) {
    let app = TestApp::on(kind).await;
    app.create(&example()).await;
    let patch = |etag: &'static str, n: u32| {
        app.call("PATCH", "/api/v1/endpoints/1").header("if-match", etag).json(&json!({"interval": n}))
    };
    let changed = patch("\"1\"", 200).send().await;
    assert_eq!((changed.status.as_u16(), changed.header("etag")), (200, "\"2\""));
    patch("\"1\"", 300).send().await.problem(412, "stale");
    patch("1", 300).send().await.problem(400, "invalid-parameter");
    assert_eq!(patch("*", 300).send().await.status, 200);
    app.call("DELETE", "/api/v1/endpoints/1").header("if-match", "\"1\"").send().await.problem(412, "stale");
    assert_eq!(app.get("/api/v1/endpoints/1").await.json()["interval"], 300);
}

async fn by_key_creates_replaces_and_deletes(kind: Kind) {
    let app = TestApp::on(kind).await;
    let path = "/api/v1/endpoints/by-key/core/the%20api%2Fv2";
    let put = |url: &str| app.call("PUT", path).json(&json!({"url": url}));
    let created = put("https://example.com/1").send().await;
    assert_eq!(created.status, 201);
    assert_eq!((&created.json()["group"], &created.json()["name"]), (&json!("core"), &json!("the api/v2")));
    let replaced = put("https://example.com/2").send().await;
    assert_eq!((replaced.status.as_u16(), &replaced.json()["id"]), (200, &json!(1)));
    assert_eq!(app.get(path).await.json()["url"], "https://example.com/2");
    let other = app.call("PUT", path).json(&json!({"name": "other", "url": "https://example.com"})).send().await;
    assert_eq!(other.problem(400, "invalid-parameter")["errors"][0]["pointer"], "/name");
    assert_eq!(app.call("DELETE", path).send().await.status, 204);
    app.get(path).await.problem(404, "not-found");
    let alone = app.call("PUT", "/api/v1/endpoints/by-key/alone").json(&json!({"url": "https://example.com"}));
    assert_eq!(alone.send().await.json()["group"], "");
}

async fn a_deleted_endpoint_frees_its_name_but_never_its_id(kind: Kind) {
    let app = TestApp::on(kind).await;
    app.create(&example()).await;
    assert_eq!(app.call("DELETE", "/api/v1/endpoints/1?purge=true").send().await.status, 204);
    app.get("/api/v1/endpoints/1").await.problem(404, "not-found");
    app.call("DELETE", "/api/v1/endpoints/1").send().await.problem(404, "not-found");
    assert_eq!(app.create(&example()).await["id"], 2);
    let actions: Vec<_> = app.audit().await.into_iter().map(|row| row.action).collect();
    assert_eq!(actions, ["endpoint.create", "endpoint.purge", "endpoint.create"]);
}

async fn a_paused_endpoint_resumes_from_now(kind: Kind) {
    let app = TestApp::on(kind).await;
    app.create(&example()).await;
    let paused = app.call("POST", "/api/v1/endpoints/1/pause").send().await.json();
    assert_eq!((&paused["is_active"], &paused["status"]), (&json!(false), &json!("paused")));
    app.clock.advance(Duration::from_mins(10));
    let resumed = app.call("POST", "/api/v1/endpoints/1/resume").send().await.json();
    assert_eq!((&resumed["is_active"], &resumed["status"]), (&json!(true), &json!("pending")));
    let entry = app.ctx.board.get(EndpointId(1)).unwrap();
    assert_eq!(entry.known.scheduled_from.to_rfc3339(), "2026-03-01T12:10:01+00:00");
    let twice = app.call("POST", "/api/v1/endpoints/1/resume").send().await.json();
    assert_eq!(twice["revision"], resumed["revision"]);
}

async fn a_configured_endpoint_can_be_paused_but_not_changed(kind: Kind) {
    let app = TestApp::on(kind).await;
    let id = app.configured(example(), "config.yaml:12").await;
    let path = format!("/api/v1/endpoints/{id}");
    let body = json!({"name": "api", "url": "https://example.com"});
    for answer in [
        app.call("PUT", &path).json(&body).send().await,
        app.call("PATCH", &path).json(&json!({"interval": 90})).send().await,
        app.call("DELETE", &path).send().await,
        app.call("PUT", "/api/v1/endpoints/by-key/api").json(&body).send().await,
    ] {
        let document = answer.problem(409, "managed-by-config");
        assert!(document["detail"].as_str().unwrap().contains("config.yaml:12"), "{document}");
    }
    let paused = app.call("POST", &format!("{path}/pause")).send().await.json();
    assert_eq!((&paused["paused"], &paused["settings"]["is_active"]), (&json!(true), &Value::Null));
    let resumed = app.call("POST", &format!("{path}/resume")).send().await.json();
    assert_eq!((&resumed["paused"], &resumed["origin"]), (&json!(false), &json!("config")));
    assert!(resumed["created_at"].as_str().unwrap() >= START);
}

async fn what_no_longer_fits_what_it_inherits_can_be_paused(kind: Kind) {
    let app = TestApp::on(kind).await;
    app.create(&json!({"name": "a", "group": "g", "url": "https://example.com", "timeout": 20})).await;
    // A start with a configuration that it does not fit.
    let other = app.reconfigured("api: {port: 0}\ngroups: {g: {interval: 10}}\n").await;
    let patch = other.call("PATCH", "/api/v1/endpoints/1").json(&json!({"tags": ["x"]})).send().await;
    assert_eq!(patch.problem(400, "invalid-parameter")["errors"][0]["pointer"], "/timeout");
    for (verb, active) in [("pause", false), ("resume", true)] {
        let answer = other.call("POST", &format!("/api/v1/endpoints/1/{verb}")).send().await;
        assert_eq!((answer.status.as_u16(), &answer.json()["is_active"]), (200, &json!(active)), "{answer:?}");
    }
    let operations = json!({"operations": [{"op": "pause", "id": 1}]});
    assert_eq!(other.post("/api/v1/endpoints/bulk", &operations).await.json()["succeeded"], 1);
    assert!(!other.ctx.board.get(EndpointId(1)).unwrap().known.is_checked());
    let switched = other.call("PATCH", "/api/v1/endpoints/1").json(&json!({"is_active": null})).send().await;
    assert_eq!(switched.json()["is_active"], true, "as by default");
    let entry = other.ctx.board.get(EndpointId(1)).unwrap();
    assert_eq!(entry.known.endpoint.check.timeout.as_secs(), 20, "else as it was");
}

on_both_databases!(
    an_endpoint_is_created_shown_and_audited,
    a_name_is_taken_once_even_in_a_race,
    put_returns_what_is_absent_to_its_default,
    patch_merges_null_removes_and_nothing_changes_nothing,
    a_lost_update_is_refused,
    by_key_creates_replaces_and_deletes,
    a_deleted_endpoint_frees_its_name_but_never_its_id,
    a_paused_endpoint_resumes_from_now,
    a_configured_endpoint_can_be_paused_but_not_changed,
    what_no_longer_fits_what_it_inherits_can_be_paused
);
