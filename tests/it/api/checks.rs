//! Checking by hand, with a scheduler played by the test.

use std::time::Duration;

use api_monitor::domain::check::{CheckResult, Timings, Trigger};
use api_monitor::domain::outcome::{Failure, FailureKind, Outcome};
use api_monitor::events::Recorded;
use serde_json::json;

use crate::app::TestApp;

#[tokio::test]
async fn a_check_by_hand_waits_for_the_recorded_result() {
    let mut app = TestApp::start().await;
    app.create(&json!({"name": "a", "url": "https://example.com"})).await;
    let (sent, mut checks) = tokio::sync::mpsc::channel(1);
    std::mem::swap(&mut app.checks, &mut checks);
    drop(sent);
    let scheduler = async {
        let request = checks.recv().await.unwrap();
        assert!(!request.use_retry);
        let now = "2026-03-01T12:00:05.000123Z".parse().unwrap();
        let result = CheckResult {
            endpoint_id: request.endpoint_id,
            scheduled_at: now,
            started_at: now,
            outcome: Outcome::Down(Failure::new(FailureKind::HttpStatus, "GET returned 500, expected 200")),
            slots: 1,
            status_code: Some(500),
            timings: Timings { connect_us: Some(1_500), total_us: 234_560, ..Timings::default() },
            attempts: 1,
            trigger: Trigger::Manual,
            in_maintenance: false,
        };
        request.reply.send(Recorded { result, stored: true }).unwrap();
    };
    let call = app.call("POST", "/api/v1/endpoints/1/check").json(&json!({"use_retry": false}));
    let (answer, ()) = tokio::join!(call.send(), scheduler);
    assert_eq!(answer.status, 200);
    insta::assert_json_snapshot!("check_by_hand", answer.json());
}

#[tokio::test]
async fn a_check_that_cannot_be_made_is_told() {
    let mut app = TestApp::start().await;
    app.create(&json!({"name": "a", "url": "https://example.com"})).await;
    let (_, empty) = tokio::sync::mpsc::channel(1);
    let mut checks = std::mem::replace(&mut app.checks, empty);
    let drops_it = async { drop(checks.recv().await.unwrap().reply) };
    let (answer, ()) = tokio::join!(app.call("POST", "/api/v1/endpoints/1/check").send(), drops_it);
    answer.problem(503, "unavailable");

    // The channel holds two; nobody takes them.
    let waiting =
        || tokio::time::timeout(Duration::from_millis(50), app.call("POST", "/api/v1/endpoints/1/check").send());
    assert!(waiting().await.is_err() && waiting().await.is_err());
    app.call("POST", "/api/v1/endpoints/1/check").send().await.problem(503, "unavailable");

    drop(checks);
    app.call("POST", "/api/v1/endpoints/1/check").send().await.problem(503, "unavailable");
}
