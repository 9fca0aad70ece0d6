//! Changes of endpoints whose commit was answered with an error, or not in time, and that were made all the same: the
//! rows are new and the board is old, until somebody comes to them.

use std::time::Duration;

use api_monitor::clock::Clock;
use api_monitor::domain::endpoint::{EndpointId, EndpointSettings, Origin};
use api_monitor::store::endpoints::{self, EndpointUpdate, NewEndpoint};
use serde_json::{Value, json};

use crate::app::TestApp;
use crate::database::{Kind, on_both_databases};

const ENDPOINT: &str = "/api/v1/endpoints/1";

fn read(settings: &Value) -> EndpointSettings {
    serde_json::from_value(settings.clone()).unwrap()
}

/// Of a change.
async fn lose_change(app: &TestApp, id: i64, settings: &Value) {
    let now = app.clock.now();
    let update = EndpointUpdate {
        settings: read(settings),
        origin: Origin::Api,
        source: None,
        paused: false,
        scheduled_from: now,
        expected_revision: None,
    };
    endpoints::update(app.ctx.store.writer(), EndpointId(id), update, now).await.unwrap();
}

async fn lose_deletion(app: &TestApp, id: i64) {
    endpoints::archive(app.ctx.store.writer(), EndpointId(id), app.clock.now()).await.unwrap();
}

async fn lose_creation(app: &TestApp, settings: &Value) {
    let new = NewEndpoint {
        settings: read(settings),
        origin: Origin::Api,
        source: None,
        paused: false,
        now: app.clock.now(),
    };
    endpoints::insert(app.ctx.store.writer(), new).await.unwrap();
}

fn old() -> Value {
    json!({"name": "a", "url": "https://example.com/old"})
}

fn new() -> Value {
    json!({"name": "a", "url": "https://example.com/new", "interval": 5, "timeout": 1})
}

/// The scheduler was nudged since it was asked last.
async fn was_woken(app: &TestApp) -> bool {
    tokio::time::timeout(Duration::from_millis(1), app.ctx.scheduler.wait()).await.is_ok()
}

async fn a_repeated_change_is_in_force(kind: Kind) {
    let app = TestApp::on(kind).await;
    app.create(&old()).await;
    app.ctx.board.update([EndpointId(1)], |_, live| live.state.failures = 1);
    assert!(was_woken(&app).await);
    lose_change(&app, 1, &new()).await;
    let put = || app.call("PUT", ENDPOINT).json(&new()).send();
    let repeated = put().await;
    assert_eq!((repeated.status.as_u16(), repeated.header("etag")), (200, "\"2\""), "{repeated:?}");
    assert_eq!((&repeated.json()["settings"], &repeated.json()["interval"]), (&new(), &json!(5)));
    let entry = app.ctx.board.get(EndpointId(1)).unwrap();
    assert_eq!(entry.known.endpoint.check.url.as_str(), "https://example.com/new", "the scheduler goes by it");
    assert_eq!(entry.live.state.failures, 0, "what was counted is of another check");
    assert!(was_woken(&app).await);
    assert_eq!(put().await.header("etag"), "\"2\"", "nothing changed");
    assert!(!was_woken(&app).await);
}

async fn whoever_read_before_is_told_and_can_go_on(kind: Kind) {
    let app = TestApp::on(kind).await;
    app.create(&old()).await;
    lose_change(&app, 1, &new()).await;
    let patch = async |etag: &str| {
        app.call("PATCH", ENDPOINT).header("if-match", etag).json(&json!({"interval": 7})).send().await
    };
    patch("\"1\"").await.problem(412, "stale");
    let shown = app.get(ENDPOINT).await;
    assert_eq!((shown.header("etag"), &shown.json()["settings"]), ("\"2\"", &new()));
    assert_eq!(patch("\"2\"").await.json()["revision"], 3);
}

async fn what_was_deleted_is_gone(kind: Kind) {
    let app = TestApp::on(kind).await;
    app.create(&old()).await;
    lose_deletion(&app, 1).await;
    app.call("DELETE", ENDPOINT).send().await.problem(404, "not-found");
    app.get(ENDPOINT).await.problem(404, "not-found");
    assert!(app.ctx.board.is_empty());
    assert_eq!(app.create(&old()).await["id"], 2);

    lose_deletion(&app, 2).await;
    let put = app.call("PUT", "/api/v1/endpoints/by-key/a").json(&json!({"url": "https://example.com"})).send().await;
    assert_eq!((put.status.as_u16(), &put.json()["id"]), (201, &json!(3)));
    assert_eq!(app.ctx.board.ids(), [EndpointId(3)]);
    lose_deletion(&app, 3).await;
    let pause = json!({"operations": [{"op": "pause", "key": {"name": "a"}}]});
    assert_eq!(app.post("/api/v1/endpoints/bulk", &pause).await.json()["results"][0]["status"], 404);
    assert!(app.ctx.board.is_empty());
}

async fn what_was_made_is_there(kind: Kind) {
    let app = TestApp::on(kind).await;
    lose_creation(&app, &old()).await;
    app.get("/api/v1/endpoints/by-key/a").await.problem(404, "not-found");
    app.post("/api/v1/endpoints", &old()).await.problem(409, "name-taken");
    assert_eq!(app.get("/api/v1/endpoints/by-key/a").await.json()["settings"], old());
    assert!(was_woken(&app).await);

    lose_creation(&app, &json!({"name": "b", "url": "https://example.com/"})).await;
    let put = app.call("PUT", "/api/v1/endpoints/by-key/b").json(&json!({"url": "https://example.com/2"})).send().await;
    assert_eq!((put.status.as_u16(), &put.json()["revision"]), (200, &json!(2)), "{put:?}");
    lose_creation(&app, &json!({"name": "c", "url": "https://example.com/"})).await;
    assert_eq!(app.call("DELETE", "/api/v1/endpoints/by-key/c").send().await.status, 204);
    lose_creation(&app, &json!({"name": "d", "url": "https://example.com/"})).await;
    let all: Vec<_> = endpoints::list_current(app.ctx.store.readers()).await.unwrap();
    let id = all.last().unwrap().id;
    assert_eq!(app.call("POST", &format!("/api/v1/endpoints/{id}/pause")).send().await.json()["status"], "paused");
}

async fn a_name_is_where_it_went(kind: Kind) {
    let app = TestApp::on(kind).await;
    app.create(&old()).await;
    lose_change(&app, 1, &json!({"name": "b", "url": "https://example.com/"})).await;
    let put = app.call("PUT", "/api/v1/endpoints/by-key/a").json(&json!({"url": "https://example.com/2"})).send().await;
    assert_eq!((put.status.as_u16(), &put.json()["id"]), (201, &json!(2)), "{put:?}");
    assert_eq!(app.get("/api/v1/endpoints/by-key/b").await.json()["id"], 1);
    assert_eq!(app.get("/api/v1/endpoints/by-key/a").await.json()["id"], 2);
}

on_both_databases!(
    a_repeated_change_is_in_force,
    whoever_read_before_is_told_and_can_go_on,
    what_was_deleted_is_gone,
    what_was_made_is_there,
    a_name_is_where_it_went,
);
