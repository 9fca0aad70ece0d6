//! The outbox, seen, and sent again.

use std::time::Duration;

use api_monitor::clock::Clock;
use api_monitor::store::outbox;
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::telling::{down, record, up};
use crate::app::TestApp;
use crate::attempts::{AttemptResult, record_attempt};

const TWO_CHANNELS: &str = "
api: {port: 0}
channels:
  console: {type: console}
  hook: {type: webhook, url: 'https://hooks.example.com/T0KEN'}
";

/// Endpoint 1 was down and is up again; all was told to two channels, of which `hook` gave up on `down`.
async fn told(yaml: &str) -> (TestApp, String) {
    let app = TestApp::with_config(yaml).await;
    app.create(&json!({"name": "a", "url": "https://user:pass@example.com", "severity": "warning"})).await;
    record(&app, &[down(&app, 1, 9), down(&app, 1, 8), up(&app, 1, 7)]).await;
    let db = app.ctx.store.writer();
    let now = app.clock.now();
    for delivery in outbox::pending(db, "console", 10).await.unwrap() {
        let done = AttemptResult::Delivered { answer: "printed".to_owned() };
        record_attempt(db, &delivery, &done, now - TimeDelta::minutes(6)).await;
    }
    let first = outbox::pending(db, "hook", 10).await.unwrap().remove(0);
    let dead = AttemptResult::Dead { error: "410 Gone".to_owned(), may_have_arrived: false };
    record_attempt(db, &first, &dead, now - TimeDelta::minutes(5)).await;
    (app, first.notification_id)
}

#[tokio::test]
async fn notifications_are_listed_filtered_and_paged() {
    let (app, id) = told(TWO_CHANNELS).await;
    let get = async |query: &str| app.get(&format!("/api/v1/notifications{query}")).await.json();
    insta::assert_json_snapshot!("notifications", get("").await);
    for (query, total) in [
        ("?endpoint=1", 2),
        ("?endpoint=2", 0),
        ("?incident=1", 2),
        ("?incident=2", 0),
        ("?event=down", 1),
        ("?event=up", 1),
        ("?event=reminder", 0),
        ("?state=dead", 1),
        ("?state=pending", 1),
        ("?state=delivered", 2),
        ("?state=merged", 0),
        ("?event=up&state=dead", 0),
        ("?limit=1&offset=1", 2),
    ] {
        assert_eq!(get(query).await["total"], total, "{query}");
    }
    assert_eq!(get("?limit=1&offset=1").await["notifications"][0]["id"], id.as_str());
    assert_eq!(get("?limit=1&sort=created_at").await["notifications"][0]["id"], id.as_str());
    let one = app.get(&format!("/api/v1/notifications/{id}")).await.json();
    insta::assert_json_snapshot!("notification", one);
    app.get("/api/v1/notifications/ntf_none").await.problem(404, "not-found");
}

#[tokio::test]
async fn what_is_told_to_nobody_says_why() {
    for (yaml, reason) in [
        ("api: {port: 0}\nnotify: []\nchannels: {console: {type: console}}\n", "nobody_to_tell"),
        (
            "api: {port: 0}\nnotifications: {enabled: false}\nchannels: {console: {type: console}}\n",
            "notifications_disabled",
        ),
    ] {
        let app = TestApp::with_config(yaml).await;
        app.create(&json!({"name": "a", "url": "https://example.com"})).await;
        record(&app, &[down(&app, 1, 9), down(&app, 1, 8)]).await;
        let shown = app.get("/api/v1/incidents/1").await.json()["notifications"][0].clone();
        assert_eq!((&shown["held_by"], &shown["deliveries"]), (&json!(reason), &json!([])));
    }
}

#[tokio::test]
async fn what_is_dead_is_sent_again() {
    let (app, id) = told(TWO_CHANNELS).await;
    let retry = format!("/api/v1/notifications/{id}/retry");
    let answer = app.call("POST", &retry).send().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let states = |shown: &Value| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let deliveries = shown["deliveries"].as_array().unwrap();
        deliveries.iter().map(|d| (text(&d["channel"]), text(&d["state"]))).collect()
    };
    let expected = [("console", "delivered"), ("hook", "pending")].map(|(c, s)| (c.to_owned(), s.to_owned()));
    assert_eq!(states(&answer.json()), expected);
    assert_eq!(states(&app.get(&format!("/api/v1/notifications/{id}")).await.json()), expected);
    assert_eq!(answer.json()["deliveries"][1]["next_attempt_at"], "2026-03-01T12:00:01Z");
    assert_eq!(answer.json()["id"], id.as_str());
    tokio::time::timeout(Duration::from_secs(5), app.ctx.deliver.wait()).await.unwrap();
    let row = app.audit().await.pop().unwrap();
    assert_eq!((row.action.as_str(), row.subject), ("notification.retry", format!("notification/{id}")));
    assert_eq!(row.after, Some(json!({"channels": ["hook"]})));

    let again = app.call("POST", &retry).send().await.problem(409, "nothing-to-retry");
    assert!(again["detail"].as_str().unwrap().contains("none of its deliveries is dead"), "{again}");
    app.call("POST", "/api/v1/notifications/ntf_none/retry").send().await.problem(404, "not-found");
}

#[tokio::test]
async fn nothing_is_sent_again_where_nothing_can_be_delivered() {
    let (app, id) = told(TWO_CHANNELS).await;
    let db = app.ctx.store.writer();
    // Of a channel that is no longer in the configuration.
    let gone = AttemptResult::Dead { error: "gone".to_owned(), may_have_arrived: false };
    let up = outbox::pending(db, "hook", 1).await.unwrap().remove(0);
    record_attempt(db, &up, &gone, app.clock.now()).await;
    for (yaml, reason) in [
        ("api: {port: 0}\nchannels: {console: {type: console}}\n", "hook"),
        (
            "api: {port: 0}\nchannels: {hook: {type: webhook, enabled: false, url: 'https://hooks.example.com'}}\n",
            "hook",
        ),
        (&*format!("{TWO_CHANNELS}notifications: {{enabled: false}}\n"), "notifications.enabled"),
    ] {
        let other = app.reconfigured(yaml).await;
        let refused = other.call("POST", &format!("/api/v1/notifications/{id}/retry")).send().await;
        let problem = refused.problem(409, "nothing-to-retry");
        assert!(problem["detail"].as_str().unwrap().contains(reason), "{problem}");
    }
    let dead = app.get("/api/v1/notifications?state=dead").await.json();
    assert_eq!(dead["total"], 2);
}
