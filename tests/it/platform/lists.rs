//! The order of lists.

use serde_json::{Value, json};

use super::Platform;

/// The words of `sort` of a list.
fn words(operation: &Value, name: &str) -> Option<Vec<String>> {
    let parameters = operation["parameters"].as_array()?;
    let found = parameters.iter().find(|parameter| parameter["name"] == name)?;
    let schema = &found["schema"];
    // An optional one may be null or of the type.
    let listed = schema["enum"]
        .as_array()
        .or_else(|| schema["oneOf"].as_array().into_iter().flatten().find_map(|one| one["enum"].as_array()));
    Some(listed.into_iter().flatten().filter_map(|word| word.as_str().map(str::to_owned)).collect())
}

#[tokio::test]
async fn every_list_can_be_ordered_by_the_words_of_its_description() {
    let platform = Platform::start("endpoints: [{name: a, group: g, url: 'http://127.0.0.1:9/', is_active: false}]\n");
    let document = platform.get("/api/v1/openapi.json").await.json();
    let mut lists = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        // A history goes back from now, by its cursor.
        if words(&item["get"], "offset").is_none() || path.contains("/stats/history/") {
            continue;
        }
        let words = words(&item["get"], "sort").unwrap_or_else(|| panic!("{path} has no order"));
        assert!(!words.is_empty(), "{path}: {item}");
        for word in &words {
            platform.get(&format!("{path}?sort={word}")).await.expect(200);
            // Statements are always shown with the most first.
            let reverse = word.strip_prefix('-').map_or(format!("-{word}"), str::to_owned);
            assert!(words.contains(&reverse) || path.ends_with("/query_stats"), "{path}: {word}");
        }
        for wrong in ["", "-", "nonsense", "--id", "name,id"] {
            let refused = platform.get(&format!("{path}?sort={wrong}")).await.expect(400).json();
            assert_eq!(refused["errors"][0]["parameter"], "sort", "{path}: {refused}");
        }
        lists += 1;
    }
    assert!(lists >= 14, "{lists}");
}

#[tokio::test]
async fn lists_are_in_the_order_that_is_asked_for() {
    let platform = Platform::start(
        "channels: {bb: {type: console}, aa: {type: webhook, url: 'http://127.0.0.1:9/', enabled: false}}\n",
    );
    for (name, role) in [("one", "viewer"), ("two", "admin"), ("three", "editor")] {
        platform.send("POST", "/api/v1/api-keys", &json!({"name": name, "role": role})).await.expect(201);
    }
    for (metric, severity) in [("memory_usage", "warning"), ("cpu_usage", "critical"), ("open_files", "info")] {
        let threshold = if metric == "cpu_usage" { json!("90%") } else { json!(1e15) };
        let rule = json!({"metric": metric, "threshold": threshold, "action": "bb", "severity": severity});
        platform.send("POST", "/api/v1/alerts", &rule).await.expect(201);
    }
    let channel = json!({"name": "ab", "type": "console"});
    platform.send("POST", "/api/v1/channels", &channel).await.expect(201);
    for (path, list, field, expected) in [
        ("channels", "channels", "name", json!(["bb", "aa", "ab"])),
        ("channels?sort=name", "channels", "name", json!(["aa", "ab", "bb"])),
        ("channels?sort=-name", "channels", "name", json!(["bb", "ab", "aa"])),
        // Configured ones have no time, and stay in their order.
        ("channels?sort=created_at", "channels", "name", json!(["bb", "aa", "ab"])),
        ("channels?sort=-type", "channels", "name", json!(["aa", "bb", "ab"])),
        ("api-keys?sort=name", "api_keys", "name", json!(["one", "three", "two"])),
        ("api-keys?sort=-role&limit=2", "api_keys", "name", json!(["two", "three"])),
        ("api-keys?sort=-created_at&offset=1", "api_keys", "name", json!(["two", "one"])),
        ("alerts?sort=metric", "alerts", "metric", json!(["cpu_usage", "memory_usage", "open_files"])),
        ("alerts?sort=-severity", "alerts", "metric", json!(["cpu_usage", "memory_usage", "open_files"])),
        ("alerts?sort=-id", "alerts", "alert_id", json!(["alert_003", "alert_002", "alert_001"])),
        ("modules?type=storage&sort=-name", "modules", "name", json!(["sqlite", "postgresql"])),
        ("threads?sort=id&limit=1", "threads", "id", json!(["api-0"])),
        ("tasks?sort=name&limit=2", "tasks", "name", json!(["backups", "integrity"])),
        ("audit?sort=id&limit=2", "entries", "subject", json!(["api_key/key_1", "api_key/key_2"])),
        ("audit?sort=-id&limit=1&action=channel.create", "entries", "subject", json!(["channel/ab"])),
    ] {
        let answer = platform.get(&format!("/api/v1/{path}")).await.expect(200).json();
        let found: Vec<_> = answer[list].as_array().unwrap().iter().map(|item| &item[field]).collect();
        assert_eq!(json!(found), expected, "{path}: {answer}");
    }
    assert_eq!(platform.get("/api/v1/channels").await.json()["limit"], 100);

    // The oldest first, page by page.
    let (mut cursor, mut ids) = (String::new(), Vec::new());
    loop {
        let page = platform.get(&format!("/api/v1/audit?sort=id&limit=2{cursor}")).await.expect(200).json();
        ids.extend(page["entries"].as_array().unwrap().iter().map(|entry| entry["id"].as_i64().unwrap()));
        let Some(next) = page["next_cursor"].as_i64() else { break };
        cursor = format!("&cursor={next}");
    }
    assert!(ids.len() >= 7 && ids.is_sorted(), "{ids:?}");
}
