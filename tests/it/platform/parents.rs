//! `depends_on`: what it may say, and what is told of endpoints whose parent is down.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Platform, until};
use crate::flows::target::Switched;

const ENDPOINTS: &str = "/api/v1/endpoints";

/// How many endpoints are behind the parent.
const CHILDREN: usize = 40;

async fn endpoint(platform: &Platform, key: &str) -> Value {
    platform.get(&format!("{ENDPOINTS}/by-key/{key}")).await.expect(200).json()
}

async fn patch(platform: &Platform, key: &str, body: &Value) -> super::Answer {
    let id = endpoint(platform, key).await["id"].clone();
    platform.send("PATCH", &format!("{ENDPOINTS}/{id}"), body).await
}

/// Every notification, oldest first.
async fn notifications(platform: &Platform) -> Vec<Value> {
    let list = platform.get("/api/v1/notifications?limit=1000").await.expect(200).json();
    let mut all = list["notifications"].as_array().unwrap().clone();
    all.reverse();
    all
}

/// What went to somebody: `gate down`.
async fn told(platform: &Platform) -> Vec<String> {
    let all = notifications(platform).await;
    let told = all.iter().filter(|one| !one["deliveries"].as_array().unwrap().is_empty());
    told.map(|one| format!("{} {}", one["endpoint_name"].as_str().unwrap(), one["event"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn what_a_dead_parent_keeps_back_is_shown_everywhere_and_told_to_nobody() {
    let target = Switched::good();
    let url = target.url("e");
    let mut children = String::new();
    for i in 0..CHILDREN {
        writeln!(children, "  - {{name: c{i}, url: '{url}', depends_on: ['group:core']}}").unwrap();
    }
    let platform = Platform::start(&format!(
        "channels: {{out: {{type: console}}}}\n\
         defaults: {{interval: 2, retry: {{enabled: false}}, alert_policy: {{confirm_interval: 1}}}}\n\
         endpoints:\n  - {{name: gate, group: core, url: '{url}'}}\n{children}"
    ));
    let summary =
        async |status: &str| platform.get("/api/v1/stats/summary").await.expect(200).json()[status].as_u64().unwrap();
    let all = CHILDREN as u64 + 1;
    until("all are up", async || summary("healthy_endpoints").await == all).await;
    target.set(503);
    until("all are down", async || summary("unhealthy_endpoints").await == all).await;
    until("each is noted", async || notifications(&platform).await.len() > CHILDREN).await;
    until("the parent is told", async || !told(&platform).await.is_empty()).await;
    assert_eq!(told(&platform).await, ["gate down"]);
    let held: Vec<_> = notifications(&platform).await.into_iter().filter(|one| !one["held_by"].is_null()).collect();
    assert_eq!(held.len(), CHILDREN);
    assert!(held.iter().all(|one| one["held_by"] == "parent_down" && one["held_name"] == "group:core"), "{held:#?}");
    let shown = endpoint(&platform, "c0").await;
    assert_eq!((&shown["status"], &shown["held_by"]["by"]), (&json!("down"), &json!("parent_down")), "{shown}");
    assert_eq!((&shown["held_by"]["name"], &shown["held_by"]["until"]), (&json!("group:core"), &Value::Null));
    assert!(shown["held_by"]["reason"].as_str().unwrap().contains("503"), "{shown}");
    assert_eq!(shown["effective"]["depends_on"], json!(["group:core"]));
    let parent = json!({"selector": "group:core", "endpoint_id": 1, "endpoint": "core/gate", "status": "down",
        "counts_as_down": true});
    assert_eq!(shown["parents"], json!([parent]));
    let incident = platform.get(&format!("/api/v1/incidents/{}", held[0]["incident_id"])).await.expect(200).json();
    assert_eq!(
        (&incident["held_by"]["by"], &incident["held_by"]["name"]),
        (&json!("parent_down"), &json!("group:core"))
    );
    let kept = &incident["events"][1];
    assert_eq!((&kept["event"], &kept["note"]), (&json!("kept_back"), &json!("parent_down: group:core")), "{incident}");

    target.set(200);
    until("all are up again", async || summary("healthy_endpoints").await == all).await;
    until("the end is told", async || told(&platform).await.len() > 1).await;
    assert_eq!(told(&platform).await, ["gate down", "gate up"]);
}

#[tokio::test]
async fn parents_that_are_not_there_and_circles_are_refused() {
    let platform = Platform::start("endpoints: []\n");
    let make = async |name: &str, parents: Value| {
        let body = json!({"name": name, "group": "core", "url": "http://127.0.0.1:9/", "is_active": false,
            "depends_on": parents});
        platform.send("POST", ENDPOINTS, &body).await
    };
    make("a", json!([])).await.expect(201);
    let b = make("b", json!("core/a")).await.expect(201).json();
    assert_eq!(b["settings"]["depends_on"], json!(["core/a"]));
    make("c", json!(["b", "id:1"])).await.expect(201);
    for (parents, pointer, said) in [
        (json!(["core/a", "core/x"]), "/depends_on/1", "there is no endpoint `core/x`"),
        (json!(["group:cor"]), "/depends_on/0", "did you mean `core`?"),
        (json!(["tag:x"]), "/depends_on/0", "no endpoint has the tag `x`"),
        (json!(["id:77"]), "/depends_on/0", "no endpoint with the id:77"),
        (json!([" "]), "/depends_on/0", "is empty"),
        (json!(vec!["core/a"; 51]), "/depends_on", "at most 50"),
    ] {
        let problem = make("d", parents.clone()).await.expect(400).json();
        let error = &problem["errors"][0];
        assert_eq!(error["pointer"], pointer, "{parents}: {problem}");
        assert!(error["detail"].as_str().unwrap().contains(said), "{parents}: {problem}");
    }
    // By a change, by a replacement, many at once, and through a group.
    let to_c = json!({"depends_on": ["core/c"]});
    let problem = platform.send("PATCH", &format!("{ENDPOINTS}/1"), &to_c).await.expect(400).json();
    let error = &problem["errors"][0];
    assert_eq!((&error["pointer"], &error["rule"]), (&json!("/depends_on"), &json!("conflict")), "{problem}");
    assert!(error["detail"].as_str().unwrap().contains("in a circle: core/a → core/c"), "{problem}");
    let put = json!({"url": "http://127.0.0.1:9/", "depends_on": ["core/c"]});
    platform.send("PUT", &format!("{ENDPOINTS}/by-key/core/a"), &put).await.expect(400);
    let operations = json!({"operations": [
        {"op": "create", "settings": {"name": "x", "url": "http://127.0.0.1:9/", "is_active": false}},
        {"op": "create", "settings": {"name": "y", "url": "http://127.0.0.1:9/", "depends_on": "x", "is_active": false}},
        {"op": "update", "key": {"group": "", "name": "x"}, "settings": {"depends_on": ["y"]}},
    ]});
    let done = platform.send("POST", &format!("{ENDPOINTS}/bulk"), &operations).await.json();
    let results = done["results"].as_array().unwrap();
    let statuses: Vec<_> = results.iter().map(|result| result["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [201, 201, 400], "{done}");
    let group = json!({"name": "core", "interval": 60, "depends_on": ["x"]});
    platform.send("POST", "/api/v1/groups", &group).await.expect(201);
    let heir = json!({"name": "heir", "group": "core", "url": "http://127.0.0.1:9/", "is_active": false});
    let heir = platform.send("POST", ENDPOINTS, &heir).await.expect(201).json();
    assert_eq!(heir["effective"]["depends_on"], json!(["x"]));
    let to_core = json!({"depends_on": ["group:core"]});
    let problem = patch(&platform, "x", &to_core).await.expect(400).json();
    assert!(problem["errors"][0]["detail"].as_str().unwrap().contains("(by `group:core`)"), "{problem}");
    platform.send("PATCH", "/api/v1/groups/core", &json!({"depends_on": ["y", "x", "none"]})).await.expect(400);
    let own = platform.send("PATCH", &format!("{ENDPOINTS}/1"), &json!({"depends_on": ["core/a", "*"]})).await;
    let problem = own.expect(400).json();
    assert!(problem["errors"][0]["detail"].as_str().unwrap().contains("circle"), "{problem}");

    // One that has gone since hinders nothing and holds nothing back.
    platform.send("DELETE", &format!("{ENDPOINTS}/by-key/core/c"), &Value::Null).await.expect(204);
    platform.send("DELETE", &format!("{ENDPOINTS}/by-key/core/b"), &Value::Null).await.expect(204);
    patch(&platform, "y", &json!({"depends_on": ["core/a"]})).await.expect(200);
    platform.send("DELETE", &format!("{ENDPOINTS}/1"), &Value::Null).await.expect(204);
    let y = patch(&platform, "y", &json!({"description": "still"})).await;
    let y = y.expect(200).json();
    let gone = json!({"selector": "core/a", "endpoint_id": null, "endpoint": null, "status": null,
        "counts_as_down": false});
    assert_eq!(y["parents"], json!([gone]));
}
