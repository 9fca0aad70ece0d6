//! Secrets go in and never come out.

use api_monitor::domain::endpoint::EndpointId;
use serde_json::{Value, json};

use crate::app::TestApp;

fn with_secrets() -> Value {
    json!({
        "name": "a", "url": "https://user:passw0rd@example.com/x?page=2&api_key=qu3ry", "redact": ["X-Own"],
        "headers": {"Authorization": "Bearer t0ken", "X-Own": "0wn", "Accept": "text/html"},
        "body": {"user": "u", "password": "b0dy"}
    })
}

fn assert_hidden(text: &str) {
    for secret in ["passw0rd", "t0ken", "0wn", "qu3ry", "b0dy"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[tokio::test]
async fn no_answer_and_no_audit_row_has_a_secret() {
    let app = TestApp::start().await;
    let created = app.create(&with_secrets()).await;
    assert_eq!(created["url"], "https://***@example.com/x?page=2&api_key=***");
    assert_eq!(created["body"], json!({"user": "u", "password": "***"}));
    assert_eq!(created["headers"], json!({"Authorization": "***", "X-Own": "***", "Accept": "text/html"}));
    assert_hidden(&created.to_string());
    for path in ["/api/v1/endpoints", "/api/v1/endpoints/1", "/api/v1/endpoints/by-key/a", "/api/v1/stats/summary"] {
        assert_hidden(&app.get(path).await.json().to_string());
    }
    app.call("PATCH", "/api/v1/endpoints/1").json(&json!({"headers": {"X-Own": "0wn2"}})).send().await;
    assert_hidden(
        &app.call("PATCH", "/api/v1/endpoints/1").json(&json!({"timeout": 9999})).send().await.json().to_string(),
    );
    assert_hidden(&format!("{:?}", app.audit().await));
}

#[tokio::test]
async fn what_was_read_can_be_written_back() {
    let app = TestApp::start().await;
    let created = app.create(&with_secrets()).await;
    let mut settings = created["settings"].clone();
    settings["interval"] = json!(90);
    let answer = app.call("PUT", "/api/v1/endpoints/1").json(&settings).send().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let patch = json!({"headers": {"authorization": "***"}, "url": "https://***@example.com/y"});
    let answer = app.call("PATCH", "/api/v1/endpoints/1").json(&patch).send().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let check = &app.ctx.board.get(EndpointId(1)).unwrap().known.endpoint.check;
    assert_eq!(check.headers["authorization"], "Bearer t0ken");
    assert_eq!(check.headers["x-own"], "0wn");
    assert_eq!(check.url.as_str(), "https://user:passw0rd@example.com/y");
    assert_eq!(serde_json::to_value(&check.body).unwrap()["password"], "b0dy");
}

#[tokio::test]
async fn a_kept_secret_is_not_made_readable_or_sent_elsewhere() {
    let app = TestApp::start().await;
    app.create(&with_secrets()).await;
    for patch in [
        json!({"redact": null}),
        json!({"redact": []}),
        json!({"url": "https://***@evil.example/x"}),
        json!({"url": "http://***@example.com/x"}),
        json!({"headers": {"Cookie": "***"}}),
        json!({"url": "https://evil.example/x"}),
        json!({"url": "https://example.com:8443/x"}),
        json!({"url": "https://evil.example/x?api_key=***", "headers": null, "body": null}),
        json!({"url": "https://evil.example/x", "headers": null}),
        json!({"body": {"token": "***"}}),
    ] {
        let answer = app.call("PATCH", "/api/v1/endpoints/1").json(&patch).send().await;
        assert_hidden(&answer.problem(400, "invalid-parameter").to_string());
    }
    let operations = json!({"operations": [{"op": "update", "id": 1, "settings": {"url": "https://evil.example/x"}}]});
    let results = app.post("/api/v1/endpoints/bulk", &operations).await.json()["results"].clone();
    let pointers: Vec<_> = results[0]["problem"]["errors"].as_array().unwrap().iter().map(|e| &e["pointer"]).collect();
    let kept = ["headers/Authorization", "headers/X-Own", "body/password"];
    assert_eq!(pointers, kept.map(|place| json!(format!("/operations/0/settings/{place}"))).each_ref(), "{results}");
    let check = &app.ctx.board.get(EndpointId(1)).unwrap().known.endpoint.check;
    assert_eq!(check.url.host_str(), Some("example.com"));
    let written = json!({"url": "https://new.example/x", "headers": {"Authorization": "t0ken", "X-Own": null}, "body": {"password": "b0dy"}});
    assert_eq!(app.call("PATCH", "/api/v1/endpoints/1").json(&written).send().await.status, 200);

    let invented = json!({"name": "b", "url": "https://***@example.com", "headers": {"Authorization": "***"}});
    let document = app.post("/api/v1/endpoints", &invented).await.problem(400, "invalid-parameter");
    assert_eq!(document["errors"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn what_is_secret_by_the_defaults_stays_so() {
    let app = TestApp::with_config("api: {port: 0}\ndefaults: {redact: [X-Own]}\n").await;
    let body = json!({"name": "a", "url": "https://example.com", "headers": {"X-Own": "0wn"}});
    let created = app.create(&body).await;
    assert_eq!(created["settings"]["headers"]["X-Own"], "***");
    let patched = app.call("PATCH", "/api/v1/endpoints/1").json(&json!({"redact": []})).send().await.json();
    assert_eq!(patched["settings"]["headers"]["X-Own"], "***");
    assert_eq!(patched["effective"]["headers"]["x-own"], "***");
    assert_hidden(&format!("{patched} {:?}", app.audit().await));
}
