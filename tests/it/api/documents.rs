//! The `OpenAPI` document is complete and true, and the pages that show it need nothing from elsewhere.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::backups::back_up;
use super::telling::{down, record};
use crate::app::TestApp;

#[tokio::test]
async fn every_documented_operation_answers() {
    let app = TestApp::with_config("api: {port: 0}\nchannels: {n: {type: console}}\n").await;
    app.create(&json!({"name": "n", "group": "g", "url": "https://example.com"})).await;
    app.create(&json!({"name": "n", "url": "https://example.com"})).await;
    app.create(&json!({"name": "third", "url": "https://example.com"})).await;
    record(&app, &[down(&app, 3, 9), down(&app, 3, 8)]).await;
    app.post("/api/v1/groups", &json!({"name": "n", "interval": 60})).await;
    let key = app.post("/api/v1/api-keys", &json!({"name": "n", "role": "viewer"})).await.json()["key"].clone();
    assert_eq!(app.post("/api/v1/sessions", &json!({"key": key})).await.status, 201);
    let backup = back_up(&app, &json!({})).await["backup_id"].as_str().unwrap().to_owned();
    app.call("POST", "/api/v1/collections").send().await;
    let rule = json!({"metric": "cpu_usage", "threshold": "90%", "action": "n"});
    assert_eq!(app.post("/api/v1/alerts", &rule).await.status, 201);
    let window = json!({"name": "n", "at": "02:00", "every": "day", "for": 60, "match": "*"});
    assert_eq!(app.post("/api/v1/maintenance-windows", &window).await.status, 201);
    let silence = json!({"match": "*", "until": app.ctx.clock.now() + chrono::TimeDelta::days(1)});
    assert_eq!(app.post("/api/v1/silences", &silence).await.status, 201);
    app.ctx.operations.connections.enter("127.0.0.1:1".parse().unwrap(), app.ctx.clock.now(), false);
    let told = app.get("/api/v1/incidents/1").await.json()["notifications"][0]["id"].as_str().unwrap().to_owned();
    // Without a scheduler a check by hand answers at once.
    let mut app = app;
    app.checks.close();
    app.trials.close();
    app.channel_tests.close();
    let mut operations: Vec<(String, String)> = Vec::new();
    for (path, item) in app.document["paths"].as_object().unwrap() {
        operations.extend(item.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone())));
    }
    // What removes things comes last.
    operations.sort_by_key(|(method, path)| (method == "DELETE", path.clone()));
    assert!(operations.len() > 25, "{operations:?}");
    for (method, path) in operations {
        let id = match path.split('/').nth(3) {
            Some("incidents" | "sessions" | "silences") => "1",
            Some("notifications") => told.as_str(),
            Some("api-keys") => "key_1",
            Some("backups") => backup.as_str(),
            Some("connections") => "conn_1",
            Some("collections") => "0",
            Some("alerts") => "alert_001",
            _ => "3",
        };
        let name = match path.split('/').nth(3) {
            _ if path.contains("/metrics/") => "cpu_usage",
            _ if path.starts_with("/metrics") => "cpu_usage",
            _ => "n",
        };
        let filled = path
            .replace("{id}", id)
            .replace("{group}", "g")
            .replace("{name}", name)
            .replace("{file}", "swagger-ui.css");
        let mut call = app.call(&method, &filled);
        let has_body = !app.document["paths"][&path][method.to_lowercase()]["requestBody"].is_null();
        if has_body && !filled.ends_with("/check") {
            call = call.json(&json!({"name": "n", "url": "https://example.com"}));
        }
        let status = call.send().await.status;
        // A link that nobody signed leads nowhere, nor does a token of nobody.
        let leads_nowhere = ["/acknowledge/", "/api/v1/push/", "/api/push/", "/ping/"];
        let unsigned = status == 404 && leads_nowhere.iter().any(|start| path.starts_with(start));
        assert!(unsigned || !matches!(status.as_u16(), 404 | 405 | 500), "{method} {path}: {status}");
    }
}

#[tokio::test]
async fn every_operation_declares_its_problems_and_parameters() {
    let app = TestApp::start().await;
    let served: Value = app.get("/api/v1/openapi.json").await.json();
    assert_eq!(served, app.document);
    assert_eq!(app.get("/openapi.json").await.json(), served);
    assert_eq!(served["openapi"], "3.1.0");
    for (path, item) in served["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let responses = operation["responses"].as_object().unwrap();
            let place = format!("{method} {path}");
            assert!(responses.keys().any(|s| s.starts_with('2')), "{place}");
            assert!(responses.contains_key("500") && responses.contains_key("405"), "{place}");
            // The metrics can be switched off, and others name an endpoint in their query.
            let by_query = ["/metrics", "/api/v1/stats/sla"].contains(&path.as_str());
            assert_eq!(path.contains('{') || by_query, responses.contains_key("404"), "{place}");
            let declared =
                operation["parameters"].as_array().map_or(0, |p| p.iter().filter(|p| p["in"] == "path").count());
            assert_eq!(declared, path.matches('{').count(), "{place}");
            assert!(operation["summary"].as_str().is_some_and(|s| !s.is_empty()), "{place}");
        }
    }
    // Nothing is referred to that is not there.
    let text = served.to_string();
    for reference in text.split("\"#/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(served.pointer(&format!("/{reference}")).is_some(), "{reference}");
    }
    assert!(!text.contains("\"page\""), "what is internal is not a parameter");
}

#[tokio::test]
async fn the_pages_come_from_the_binary() {
    let app = TestApp::start().await;
    let index = app.call("GET", "/docs").header("accept", "text/html").send().await;
    assert_eq!(index.status, StatusCode::OK);
    let page = String::from_utf8(index.body.to_vec()).unwrap();
    let files: Vec<_> = page
        .split(['"', '\''])
        .filter(|part| std::path::Path::new(part).extension().is_some_and(|e| e == "js" || e == "css"))
        .collect();
    assert!(files.len() >= 3, "{page}");
    for file in files {
        assert!(!file.contains("//"), "{file} is elsewhere");
        // The page is at `/docs` and at `/docs/`: what is beside it is only found by its whole path.
        assert!(file.starts_with("/docs/"), "{file}: {page}");
        let answer = app.get(file).await;
        assert_eq!(answer.status, StatusCode::OK, "{file}");
        assert!(!answer.body.is_empty());
    }
    let setup = String::from_utf8(app.get("/docs/swagger-initializer.js").await.body.to_vec()).unwrap();
    assert!(setup.contains("/api/v1/openapi.json") && !setup.contains("https://"), "{setup}");
    app.get("/docs/nothing.js").await.problem(404, "not-found");
    app.get("/docs/..%2Fsecret").await.problem(404, "not-found");
}
