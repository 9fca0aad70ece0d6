//! Answers that are whole and wrong: what only a condition can tell, and what comes and goes.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::failing::Then;
use super::super::{Platform, until};
use super::Cases;
use crate::flows::target::{Answer, Target};

fn page(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

impl Cases {
    pub(super) async fn content(&mut self) {
        let html = "<html><h1>Something went wrong</h1></html>";
        let long = format!("{{\"a\": \"{}\", \"b\": 1}}", "x".repeat(5_000));
        for (what, body, condition) in [
            ("an empty page", "", "len([BODY]) > 0"),
            ("an error page with status 200", html, "[BODY] == contains(Welcome)"),
            ("a word that is missing", "<html>sold out</html>", "[BODY] == pat(*in stock*)"),
            ("a word that was injected", "<html>shop casino</html>", "[BODY] != contains(casino)"),
            ("HTML where JSON was due", html, "[BODY].status == ok"),
            ("JSON that says so", r#"{"status": "degraded"}"#, "[BODY].status == ok"),
            ("JSON without what was due", r#"{"error": null}"#, "[BODY].status == ok"),
            ("a condition over what is not read", &long, "[BODY].b == 1"),
        ] {
            let settings = json!({"conditions": [condition], "max_body_bytes": 1_000});
            self.answer(what, page(body), Then::Close, settings).await;
        }
        // The second byte comes late.
        let late = || Then::Repeat(b"x".to_vec(), Duration::from_millis(700));
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n";
        for (what, key) in
            [("an answer that is too slow", "conditions"), ("an answer slow enough to be degraded", "degraded_unless")]
        {
            self.answer(what, head, late(), json!({key: ["[RESPONSE_TIME] < 300ms"]})).await;
        }
    }
}

async fn told(platform: &Platform) -> Vec<String> {
    let list = platform.get("/api/v1/notifications?limit=1000").await.expect(200).json();
    let of = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
    let all = list["notifications"].as_array().unwrap().iter().rev();
    all.map(|one| format!("{} {}: {}", of(one, "endpoint_name"), of(one, "event"), of(one, "error_message"))).collect()
}

/// Of the whole history, how many checks have each outcome.
async fn failed(platform: &Platform, id: usize) -> (usize, usize) {
    let history = platform.get(&format!("/api/v1/stats/history/{id}?limit=1000")).await.expect(200).json();
    let checks = history["checks"].as_array().unwrap();
    (checks.iter().filter(|check| check["outcome"] == "down").count(), checks.len())
}

#[tokio::test]
async fn errors_now_and_then_are_noticed_and_one_blip_is_not() {
    let target = Target::answering(|path, before| match path {
        // Two of five, never two in a row.
        "flaky" if matches!(before % 5, 1 | 3) => Answer::Status(500),
        "blip" | "retried" if before == 3 => Answer::Status(500),
        _ => Answer::Status(200),
    });
    let endpoints = [
        json!({"name": "flaky", "alert_policy": {"failure_threshold": {"failures": 3, "of": 10}}}),
        json!({"name": "blip"}),
        json!({"name": "retried", "retry": {"enabled": true, "max_attempts": 2, "base_delay": "10ms"}}),
    ];
    let endpoints: Vec<Value> = endpoints
        .into_iter()
        .map(|mut endpoint| {
            endpoint["url"] = json!(target.url(endpoint["name"].as_str().unwrap()));
            endpoint
        })
        .collect();
    let config = json!({
        "channels": {"out": {"type": "console"}}, "connectivity": null, "endpoints": endpoints,
        "defaults": {"interval": "1s", "timeout": "900ms", "retry": {"enabled": false},
            "alert_policy": {"failure_threshold": 2}},
    });
    let platform = Platform::start(&config.to_string());
    let is_told = "flaky down: GET returned 500, expected 200";
    until("errors now and then are told", async || told(&platform).await.iter().any(|one| one == is_told)).await;
    until("much came after the blips", async || ["blip", "retried"].iter().all(|path| target.hits(path).len() >= 10))
        .await;
    until("all of it is stored", async || failed(&platform, 2).await.1 >= 8).await;
    assert_eq!(failed(&platform, 2).await.0, 1, "the blip is in the history");
    assert_eq!(failed(&platform, 3).await.0, 0, "a second attempt was good");
    let others: Vec<String> = told(&platform).await.into_iter().filter(|one| !one.starts_with("flaky")).collect();
    assert_eq!(others, Vec::<String>::new());
    for id in [2, 3] {
        let shown = platform.get(&format!("/api/v1/endpoints/{id}")).await.expect(200).json();
        assert_eq!((&shown["status"], &shown["incident"]), (&json!("up"), &Value::Null), "{shown}");
    }
}
