//! Incidents in lists, by themselves and in statistics; availability.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::telling::{check, down, down_with, record, up};
use crate::app::TestApp;
use api_monitor::clock::Clock;
use api_monitor::domain::check::CheckResult;
use api_monitor::domain::endpoint::EndpointId;
use api_monitor::domain::outcome::{MissedReason, Outcome};

const CONSOLE: &str = "api: {port: 0}\nchannels: {console: {type: console}}\n";

/// Endpoint 1 was down from 50 to 40 minutes ago, for two reasons; endpoint 2 is down since 5 minutes.
async fn recorded() -> TestApp {
    let app = TestApp::with_config(CONSOLE).await;
    for name in ["first", "second"] {
        app.create(&json!({"name": name, "url": "https://example.com"})).await;
    }
    let mut first: Vec<_> = (51..=100).rev().map(|ago| up(&app, 1, ago)).collect();
    first.extend((41..=50).rev().map(|ago| {
        let sentence = if ago > 45 { "GET returned 502, expected 200" } else { "GET returned 503, expected 200" };
        down_with(&app, 1, ago, sentence)
    }));
    first.extend((1..=40).rev().map(|ago| up(&app, 1, ago)));
    record(&app, &first).await;
    let second: Vec<_> = [up(&app, 2, 6)].into_iter().chain((1..=5).rev().map(|ago| down(&app, 2, ago))).collect();
    record(&app, &second).await;
    app
}

#[tokio::test]
async fn incidents_are_listed_filtered_and_paged() {
    let app = recorded().await;
    let get = async |query: &str| app.get(&format!("/api/v1/incidents{query}")).await.json();
    insta::assert_json_snapshot!("incidents", get("").await);
    let ids = async |query: &str| -> (Vec<i64>, i64) {
        let page = get(query).await;
        let ids = page["incidents"].as_array().unwrap().iter().map(|i| i["id"].as_i64().unwrap()).collect();
        (ids, page["total"].as_i64().unwrap())
    };
    for (query, expected) in [
        ("?endpoint=1", vec![1]),
        ("?endpoint=2", vec![2]),
        ("?endpoint=9", vec![]),
        ("?open=true", vec![2]),
        ("?open=false", vec![1]),
        ("?status=open", vec![2]),
        ("?status=resolved", vec![1]),
        ("?from=2026-03-01T11:30:00Z", vec![2]),
        ("?to=2026-03-01T11:30:00Z", vec![1]),
        ("?from=2026-03-01T11:15:00Z&to=2026-03-01T11:16:00Z", vec![1]),
        ("?to=2026-02-28", vec![]),
        ("", vec![2, 1]),
        ("?sort=-started_at", vec![2, 1]),
        ("?sort=started_at", vec![1, 2]),
    ] {
        let count = i64::try_from(expected.len()).unwrap();
        assert_eq!(ids(query).await, (expected, count), "{query}");
    }
    assert_eq!(ids("?limit=1").await, (vec![2], 2));
    assert_eq!(ids("?limit=1&offset=1").await, (vec![1], 2));

    // The name of what is no longer watched is still known; after a purge it is not.
    app.call("DELETE", "/api/v1/endpoints/1").send().await;
    assert_eq!(get("?endpoint=1").await["incidents"][0]["endpoint_name"], "first");
}

#[tokio::test]
async fn an_incident_has_its_timeline_and_what_was_told() {
    let app = recorded().await;
    insta::assert_json_snapshot!("incident", app.get("/api/v1/incidents/1").await.json());
    let open = app.get("/api/v1/incidents/2").await.json();
    assert_eq!(
        (&open["status"], &open["resolved_at"], &open["resolution"]),
        (&json!("open"), &Value::Null, &Value::Null)
    );
    assert_eq!(open["duration_seconds"], 299);
    app.clock.advance(Duration::from_mins(1));
    assert_eq!(app.get("/api/v1/incidents/2").await.json()["duration_seconds"], 359);
    app.get("/api/v1/incidents/3").await.problem(404, "not-found");
}

#[tokio::test]
async fn the_open_incident_is_on_the_endpoint_and_in_the_summary() {
    let app = recorded().await;
    assert_eq!(app.get("/api/v1/endpoints/1").await.json()["incident"], Value::Null);
    let shown = app.get("/api/v1/endpoints/2").await.json();
    insta::assert_json_snapshot!("open_incident_of_an_endpoint", shown["incident"]);
    assert_eq!(app.get("/api/v1/stats/summary").await.json()["open_incidents"], 1);
    record(&app, &[check(&app, 2, TimeDelta::zero(), Outcome::Up)]).await;
    assert_eq!(app.get("/api/v1/endpoints/2").await.json()["incident"], Value::Null);
    assert_eq!(app.get("/api/v1/stats/summary").await.json()["open_incidents"], 0);
}

#[tokio::test]
async fn the_statistics_of_incidents_keep_their_shape() {
    let app = recorded().await;
    insta::assert_json_snapshot!("outages", app.get("/api/v1/stats/incidents/1").await.json());
    let open = app.get("/api/v1/stats/incidents/2?period=24h").await.json();
    let incident = &open["incidents"][0];
    assert_eq!((&incident["end"], &incident["failure_count"]), (&Value::Null, &json!(5)));
    assert_eq!(incident["duration_minutes"], 5.0);
    assert_eq!(open["period"], "24h");
    for (query, total) in [
        ("?min_duration=10", 1),
        ("?min_duration=11", 0),
        ("?period=1h", 1),
        ("?from=2026-03-01T11:30:00Z", 0),
        ("?from=2026-02-01&to=2026-02-28", 0),
    ] {
        let found = app.get(&format!("/api/v1/stats/incidents/1{query}")).await.json();
        assert_eq!(found["total_incidents"], total, "{query}");
        assert_eq!(found["incidents"].as_array().unwrap().len(), total, "{query}");
    }
}

#[tokio::test]
async fn a_long_outage_counts_every_failed_check() {
    let app = TestApp::start().await;
    app.create(&json!({"name": "a", "url": "https://example.com", "interval": 1})).await;
    let mut results: Vec<_> =
        (1..=2_500).rev().map(|ago| CheckResult { endpoint_id: EndpointId(1), ..down(&app, 1, ago) }).collect();
    results.insert(0, up(&app, 1, 2_501));
    results.push(up(&app, 1, 0));
    record(&app, &results).await;
    let found = app.get("/api/v1/stats/incidents/1?period=30d").await.json();
    let incident = &found["incidents"][0];
    assert_eq!((&incident["failure_count"], &incident["duration_minutes"]), (&json!(2_500), &json!(2_500.0)));
    assert_eq!(incident["errors"], json!(["GET returned 502, expected 200"]));
}

#[tokio::test]
async fn availability_is_weighed_by_time_within_monitored_time() {
    let app = recorded().await;
    let of = async |path: &str| {
        let stats = app.get(&format!("/api/v1/stats/uptime/{path}")).await.json();
        (stats["availability_percentage"].clone(), stats["downtime_seconds"].clone())
    };
    // Ten of the hundred minutes since the first check.
    assert_eq!(of("1?period=7d").await, (json!(90.0), json!(600.0)));
    // Ten of sixty.
    assert_eq!(of("1?period=1h").await, (json!(83.33), json!(600.0)));
    // The window cuts the outage.
    assert_eq!(of("1?from=2026-03-01T11:15:01.02Z&to=2026-03-01T11:25:01.02Z").await, (json!(50.0), json!(300.0)));
    // What is to come is neither.
    assert_eq!(of("1?from=2026-03-01T11:00:01Z&to=2026-03-02T11:00:01Z").await, (json!(83.33), json!(600.0)));
    // It goes on: from the first failed check until now.
    assert_eq!(of("2?period=24h").await, (json!(16.67), json!(299.98)));
    app.create(&json!({"name": "new", "url": "https://example.com"})).await;
    assert_eq!(of("3").await, (Value::Null, json!(0.0)));
}

#[tokio::test]
async fn slots_that_were_missed_are_not_monitored() {
    let app = TestApp::start().await;
    app.create(&json!({"name": "a", "url": "https://example.com"})).await;
    // Forty minutes watched, of which four down; then a gap of forty.
    let mut results: Vec<_> = (65..=80).rev().map(|ago| up(&app, 1, ago)).collect();
    results.extend((61..=64).rev().map(|ago| down(&app, 1, ago)));
    results.extend((41..=60).rev().map(|ago| up(&app, 1, ago)));
    let gap_end = app.clock.now() - TimeDelta::minutes(1);
    results.push(CheckResult::missed(EndpointId(1), gap_end, 40, MissedReason::Stopped));
    record(&app, &results).await;
    let stats = app.get("/api/v1/stats/uptime/1?period=24h").await.json();
    assert_eq!((&stats["downtime_seconds"], &stats["missed_checks"]), (&json!(240.0), &json!(40)));
    assert_eq!(stats["availability_percentage"], 90.0);
}
