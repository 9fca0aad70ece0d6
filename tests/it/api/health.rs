//! `/health` tells the truth, over a real socket too.

use std::net::Ipv4Addr;
use std::time::Duration;

use api_monitor::api;
use api_monitor::clock::Clock;
use api_monitor::lifecycle::Tasks;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::serving::serving;
use crate::app::TestApp;

#[tokio::test]
async fn healthy_degraded_and_unhealthy() {
    let app = TestApp::start().await;
    app.clock.advance(Duration::from_secs(48 * 3600 - 1));
    let beat = || {
        app.ctx.metrics.scheduler_heartbeat.beat(app.clock.monotonic());
        app.ctx.metrics.recorder_heartbeat.beat(app.clock.monotonic());
    };
    beat();
    let report = app.get("/health").await;
    assert_eq!(report.status, 200);
    let mut shown = report.json();
    assert_eq!(shown["version"].take(), env!("CARGO_PKG_VERSION"));
    insta::assert_json_snapshot!("healthy", shown);
    assert_eq!(app.get("/health/ready").await.status, 200);

    app.clock.advance(Duration::from_secs(11));
    let dead = app.get("/health").await;
    assert_eq!((dead.status.as_u16(), &dead.json()["status"]), (503, &json!("unhealthy")));
    assert_eq!(dead.json()["scheduler"], "stopped");
    assert_eq!(app.get("/health/live").await.status, 200);
    assert_eq!(app.get("/health/ready").await.status, 503);

    beat();
    app.ctx.store.close().await.unwrap();
    let degraded = app.get("/health").await;
    assert_eq!((degraded.status.as_u16(), &degraded.json()["status"]), (200, &json!("degraded")));
    assert_eq!(degraded.json()["database"], "disconnected");
    assert_eq!(app.get("/health/ready").await.status, 503);
}

#[tokio::test]
async fn a_real_server_answers_and_stops_gracefully() {
    let app = TestApp::start().await;
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = Tasks::new();
    let server = api::serve(listener, app.router.clone(), serving(&tasks));
    let client = async {
        let body = r#"{"name":"a","url":"https://example.com"}"#;
        let request = format!(
            "POST /api/v1/endpoints HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        tasks.stopping().cancel();
        answer
    };
    let ((), answer) = tokio::join!(server, client);
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    assert_eq!(app.audit().await[0].address.as_deref(), Some("127.0.0.1"));
}
