//! Lists: filters, order, pages; and the root.

use serde_json::{Value, json};

use crate::app::TestApp;

async fn filled() -> TestApp {
    let app = TestApp::start().await;
    for (name, group, tags, active) in [
        ("delta", "core", json!(["prod"]), true),
        ("alpha", "core", json!(["prod", "eu"]), true),
        ("charlie", "edge", json!([]), false),
        ("bravo", "", json!(["eu"]), true),
    ] {
        let url = format!("https://user:secretword@{name}.example.com/");
        app.create(&json!({"name": name, "group": group, "tags": tags, "is_active": active, "url": url})).await;
    }
    app
}

fn names(list: &Value) -> Vec<&str> {
    list["endpoints"].as_array().unwrap().iter().map(|e| e["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn filters_order_and_pages() {
    let app = filled().await;
    for (query, expected, total) in [
        ("", vec!["delta", "alpha", "charlie", "bravo"], 4),
        ("?sort=name", vec!["alpha", "bravo", "charlie", "delta"], 4),
        ("?sort=-name&limit=2", vec!["delta", "charlie"], 4),
        ("?sort=name&limit=2&offset=3", vec!["delta"], 4),
        ("?offset=9", vec![], 4),
        ("?group=core", vec!["delta", "alpha"], 2),
        ("?group=", vec!["bravo"], 1),
        ("?tag=eu&sort=name", vec!["alpha", "bravo"], 2),
        ("?is_active=false", vec!["charlie"], 1),
        ("?status=paused", vec!["charlie"], 1),
        ("?status=pending&limit=1", vec!["delta"], 3),
        ("?search=ALPHA", vec!["alpha"], 1),
        ("?search=secretword", vec![], 0),
    ] {
        let list = app.get(&format!("/api/v1/endpoints{query}")).await.json();
        assert_eq!((names(&list), &list["total"]), (expected, &json!(total)), "{query}");
    }
    let list = app.get("/api/v1/endpoints").await.json();
    assert_eq!((&list["limit"], &list["offset"]), (&json!(1000), &json!(0)));
}

#[tokio::test]
async fn lists_go_on_while_the_database_is_away() {
    let app = filled().await;
    app.ctx.store.close().await.unwrap();
    assert_eq!(app.get("/api/v1/endpoints").await.json()["total"], 4);
    assert_eq!(app.get("/api/v1/stats/summary").await.json()["total_endpoints"], 4);
    app.get("/api/v1/stats/uptime/1").await.problem(503, "unavailable");
    app.get("/api/v1/stats/history/1").await.problem(503, "unavailable");
    let body = json!({"name": "new", "url": "https://example.com"});
    app.post("/api/v1/endpoints", &body).await.problem(503, "unavailable");
    assert_eq!(app.ctx.board.len(), 4);
}

#[tokio::test]
async fn the_root_and_the_versions() {
    let app = TestApp::start().await;
    let expected = json!({
        "name": "API Monitor", "version": env!("CARGO_PKG_VERSION"), "status": "running",
        "docs": "/docs", "health": "/health", "auth_enabled": false
    });
    assert_eq!(app.get("/").await.json(), expected);
    assert_eq!(app.get("/api/").await.json()["versions"][0]["base"], "/api/v1");
}
