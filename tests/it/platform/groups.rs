//! The group as a resource: what several endpoints are checked by.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Platform, until};
use crate::flows::target::{Answer, Target};

const GROUPS: &str = "/api/v1/groups";

/// A target that is well.
fn well() -> Target {
    Target::answering(|_, _| Answer::Status(200))
}

async fn endpoint(platform: &Platform, body: &Value) -> Value {
    platform.send("POST", "/api/v1/endpoints", body).await.expect(201).json()
}

#[tokio::test]
async fn a_group_has_name_kind_status_endpoints_interval_and_timeouts() {
    let target = well();
    let platform = Platform::start("endpoints: []\n");
    let body = json!({"name": "core", "interval": 30, "timeout": 4, "connect_timeout": "500ms"});
    let made = platform.send("POST", GROUPS, &body).await.expect(201);
    assert_eq!(made.header("location"), "/api/v1/groups/core");
    for name in ["a", "b"] {
        endpoint(&platform, &json!({"name": name, "group": "core", "url": target.url(name)})).await;
    }
    until("both were checked", async || platform.get("/api/v1/groups/core").await.expect(200).json()["status"] == "up")
        .await;
    let group = platform.get("/api/v1/groups/core").await.expect(200);
    assert_eq!(group.header("etag"), "\"1\"");
    let group = group.json();
    for (field, value) in [
        ("name", json!("core")),
        ("kind", json!("http")),
        ("status", json!("up")),
        ("endpoints", json!(["a", "b"])),
        ("interval", json!(30)),
        ("timeout", json!(4)),
        ("connect_timeout", json!("500ms")),
        ("origin", json!("api")),
    ] {
        assert_eq!(group[field], value, "{field}: {group}");
    }
    let list = platform.get(GROUPS).await.expect(200).json();
    assert_eq!((&list["groups"][0]["name"], &list["groups"][0]["endpoints"]), (&json!("core"), &json!(["a", "b"])));
    assert_eq!((&list["total"], &list["offset"]), (&json!(1), &json!(0)));
    platform.get("/api/v1/groups/none").await.expect(404);
}

#[tokio::test]
async fn putting_a_group_takes_effect_at_the_next_slot_of_its_new_schedule() {
    let target = well();
    let platform = Platform::start("endpoints: []\n");
    platform.send("POST", GROUPS, &json!({"name": "core", "interval": 3600})).await.expect(201);
    for name in ["a", "b"] {
        endpoint(&platform, &json!({"name": name, "group": "core", "url": target.url(name)})).await;
    }
    until("both were checked once", async || ["a", "b"].iter().all(|name| target.hits(name).len() == 1)).await;
    platform.send("PUT", "/api/v1/groups/core", &json!({"name": "core", "interval": 1})).await.expect(200);
    until("both are checked again and again", async || ["a", "b"].iter().all(|name| target.hits(name).len() > 4)).await;
}

#[tokio::test]
async fn putting_a_group_needs_its_required_fields_and_removes_the_others() {
    let platform = Platform::start("endpoints: []\n");
    let body = json!({"name": "core", "interval": 30, "tags": ["t"], "description": "d", "retry": {"max_attempts": 1}});
    platform.send("POST", GROUPS, &body).await.expect(201);
    for (wrong, pointer) in [
        (json!({"interval": 30}), "/name"),
        (json!({"name": "core"}), "/interval"),
        (json!({"name": "core", "interval": "soon"}), "/interval"),
        (json!({"name": "core", "interval": 2, "timeout": 3}), "/timeout"),
        (json!({"name": "core", "interval": 30, "servers": ["a"]}), "/servers"),
    ] {
        let problem = platform.send("PUT", "/api/v1/groups/core", &wrong).await.expect(400).json();
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
        assert_eq!(problem["errors"][0]["code"], "InvalidParameter", "{problem}");
    }
    let before = platform.get("/api/v1/groups/core").await.json();
    assert_eq!(before["settings"], body);
    let bare = json!({"name": "core", "interval": 40});
    let after = platform.send("PUT", "/api/v1/groups/core", &bare).await.expect(200).json();
    assert_eq!(
        (&after["settings"], &after["description"], &after["effective"]["tags"]),
        (&bare, &json!(""), &json!([]))
    );
    assert_eq!(after["effective"]["retry"]["max_attempts"], 3);
}

#[tokio::test]
async fn groups_made_here_are_there_after_a_restart_and_the_files_are_not_changed_here() {
    let target = well();
    let yaml = "endpoints: []\ngroups: {theirs: {interval: 50}}\n";
    let platform = Platform::start(yaml);
    platform.send("POST", GROUPS, &json!({"name": "core", "interval": 3600})).await.expect(201);
    endpoint(&platform, &json!({"name": "a", "group": "core", "url": target.url("a")})).await;
    let problem = platform.send("PUT", "/api/v1/groups/theirs", &json!({"name": "theirs", "interval": 5})).await;
    let problem = problem.expect(409).json();
    assert!(problem["detail"].as_str().unwrap().contains("config.yaml:2"), "{problem}");
    let Platform { folder, process, .. } = platform;
    process.signal("TERM");
    process.wait(Duration::from_mins(1));
    let platform = Platform::start_in(folder, &[]);
    let groups = platform.get("/api/v1/groups?sort=-name").await.expect(200).json();
    let told: Vec<_> = groups["groups"].as_array().unwrap().iter().map(|g| (&g["name"], &g["origin"])).collect();
    assert_eq!(told, [(&json!("theirs"), &json!("config")), (&json!("core"), &json!("api"))]);
    let a = platform.get("/api/v1/endpoints/by-key/core/a").await.expect(200).json();
    assert_eq!(a["interval"], 3600);
}

#[tokio::test]
async fn a_group_made_here_changes_nothing_of_what_the_configuration_says() {
    let target = well();
    let url = target.url("filed");
    let platform =
        Platform::start(&format!("endpoints: [{{name: filed, group: core, interval: 3600, url: '{url}'}}]\n"));
    let filed = async || platform.get("/api/v1/endpoints/by-key/core/filed").await.expect(200).json();
    let before = filed().await["effective"].clone();
    let changes = json!({
        "name": "core", "interval": 1, "method": "DELETE", "headers": {"X-A": "1"}, "body": "b", "is_active": false,
        "notify": [], "tls": {"verify": false}, "timeout": 1
    });
    platform.send("PUT", &format!("{GROUPS}/core"), &changes).await.expect(200);
    let own = endpoint(&platform, &json!({"name": "own", "group": "core", "url": target.url("own")})).await;
    assert_eq!((&own["effective"]["method"], &own["effective"]["is_active"]), (&json!("DELETE"), &json!(false)));
    assert_eq!(filed().await["effective"], before);
    let path = "/api/v1/endpoints/by-key/core/filed";
    let id = platform.get(path).await.expect(200).json()["id"].clone();
    for verb in ["pause", "resume", "check"] {
        platform.ask(platform.request("POST", &format!("/api/v1/endpoints/{id}/{verb}"))).await.expect(200);
    }
    assert_eq!(filed().await["effective"], before);

    let Platform { folder, process, .. } = platform;
    process.signal("TERM");
    tokio::task::spawn_blocking(move || process.wait(Duration::from_mins(1))).await.unwrap();
    let platform = Platform::start_in(folder, &[]);
    let after = platform.get(path).await.expect(200).json();
    assert_eq!(after["effective"], before, "after a restart too");
    assert_eq!(platform.get(&format!("{GROUPS}/core")).await.expect(200).json()["endpoints"], json!(["filed", "own"]));
}
