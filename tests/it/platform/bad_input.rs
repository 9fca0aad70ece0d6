//! Whatever a machine sends: what is wrong is refused with a clear sentence, and what is taken comes back as it was.

use api_monitor::clock::{Clock, SystemClock};
use serde_json::{Value, json};

use super::{Answer, Platform};

const HOSTILE: [&str; 7] = [
    "'; DROP TABLE endpoints; --",
    "\" OR 1=1 \\",
    "{{7*7}} ${jndi:ldap:127.0.0.1} {error} %s %n",
    "<script>alert(1)<script><img src=x onerror=alert(1)>",
    "\u{202e}txt.exe 日本語 \u{1f600}",
    "=HYPERLINK(1)",
    "*_`[x](javascript:alert(1))",
];

/// Something of each kind, and the paths of all that take a body, of these things where a path names one.
async fn furnished(platform: &Platform) -> Vec<(String, String)> {
    let url = "https://example.com/";
    let endpoint = json!({"name": "n", "group": "g", "url": url, "is_active": false});
    platform.send("POST", "/api/v1/endpoints", &endpoint).await.expect(201);
    platform.send("POST", "/api/v1/endpoints", &json!({"name": "n", "url": url, "is_active": false})).await.expect(201);
    platform.send("POST", "/api/v1/groups", &json!({"name": "made", "interval": 60})).await.expect(201);
    platform.send("POST", "/api/v1/channels", &json!({"name": "made", "type": "console"})).await.expect(201);
    let rule = json!({"metric": "memory_usage", "threshold": "99%", "action": "made"});
    platform.send("POST", "/api/v1/alerts", &rule).await.expect(201);
    platform.send("POST", "/api/v1/api-keys", &json!({"name": "made", "role": "viewer"})).await.expect(201);
    platform.ask(platform.request("POST", "/api/v1/collections")).await.expect(201);
    let window = json!({"name": "made", "at": "02:00", "every": "day", "for": 60, "match": "*"});
    platform.send("POST", "/api/v1/maintenance-windows", &window).await.expect(201);
    let silence = json!({"match": "*", "until": SystemClock::new().now() + chrono::TimeDelta::days(1)});
    platform.send("POST", "/api/v1/silences", &silence).await.expect(201);

    let document = platform.get("/api/v1/openapi.json").await.expect(200).json();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let at = |start: &str| path.starts_with(&format!("/api/v1/{start}/"));
        let id = match () {
            () if at("groups") || at("channels") || at("maintenance-windows") => "made",
            () if at("alerts") => "alert_001",
            () if at("api-keys") => "key_1",
            () if at("collections") => "0",
            () if at("tasks") => "retention",
            () => "1",
        };
        let path = path.replace("{group}", "g").replace("{id}", id);
        let path = path.replace("{name}", if path.contains("by-key") { "n" } else { id });
        for method in ["post", "put", "patch"] {
            // A page for people reads no body, and a log may be any text.
            let takes_any = ["/acknowledge/", "/api/v1/push/", "/api/push/", "/ping/"];
            if item[method].is_object() && !takes_any.iter().any(|start| path.starts_with(start)) {
                routes.push((method.to_uppercase(), path.clone()));
            }
        }
    }
    routes
}

async fn sent(platform: &Platform, method: &str, path: &str, body: &[u8]) -> Answer {
    let request = platform.request(method, path).header("Content-Type", "application/json").body(body.to_vec());
    platform.ask(request).await
}

#[tokio::test]
async fn every_route_refuses_bodies_of_every_wrong_kind() {
    let platform = Platform::start("api: {rate_limit: false}\nendpoints: []\n");
    let routes = furnished(&platform).await;
    assert!(routes.len() > 25, "{routes:?}");
    let deep = [&b"{\"a\":".repeat(20_000)[..], b"1", &b"}".repeat(20_000)].concat();
    let bodies: [&[u8]; 14] = [
        b"{",
        b"{\"name\": \"x\",}",
        b"\xff\xfe{\x00}\x00",
        b"{\"name\": \"\xff\"}",
        b"{\"\xc3\": 1}",
        b"{\"name\": \"\\ud800\"}",
        &b"[".repeat(100_000),
        &deep,
        b"[]",
        b"17",
        b"\"text\"",
        b"{\"nonsense\": 1}",
        b"{\"name\": 123456789012345678901234567890, \"nonsense\": -1e400}",
        b"{} {}",
    ];
    for (method, path) in &routes {
        for body in bodies {
            let answer = sent(&platform, method, path, body).await;
            let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
            assert_eq!(answer.status, 400, "{method} {path} {shown}: {answer:?}");
            assert_eq!(answer.header("content-type"), "application/problem+json");
            let errors = answer.json()["errors"].as_array().unwrap().clone();
            assert!(!errors.is_empty() && errors.len() <= 100, "{method} {path} {shown}: {errors:?}");
            assert!(errors.iter().all(|e| e["code"] == "InvalidParameter" && e["pointer"].is_string()), "{errors:?}");
        }
        let huge = [b"{\"name\": \"", &b"x".repeat(1_100_000)[..], b"\"}"].concat();
        sent(&platform, method, path, &huge).await.expect(413);
        let typed = platform.request(method, path).header("Content-Type", "text/plain").body("{\"nonsense\": 1}");
        platform.ask(typed).await.expect(415);
    }
    assert_eq!(platform.get("/api/v1/endpoints").await.expect(200).json()["total"], 2);
    assert_eq!(platform.get("/api/v1/channels/made").await.expect(200).json()["enabled"], true);
    platform.process.signal("TERM");
    let ended = platform.process.wait(std::time::Duration::from_secs(60));
    assert!(ended.code == Some(0) && !ended.stderr.contains("panicked"), "{}", ended.stderr);
}

#[tokio::test]
async fn hostile_text_comes_back_as_it_was() {
    let platform = Platform::start("api: {rate_limit: false}\nendpoints: []\n");
    for (at, &text) in HOSTILE.iter().enumerate() {
        let settings = json!({
            "name": format!("{text}</script>/{at}"), "group": text, "url": "https://example.com/", "is_active": false,
            "description": format!("{text}\n{text}"), "tags": [text], "headers": {"X-A": "1"}, "body": {text: [text]}
        });
        let made = platform.send("POST", "/api/v1/endpoints", &settings).await.expect(201);
        assert_eq!(platform.get(made.header("location")).await.expect(200).json()["settings"], settings);
        let group = json!({"name": format!("{text}!"), "interval": 60, "description": text});
        let made = platform.send("POST", "/api/v1/groups", &group).await.expect(201);
        let read = platform.get(made.header("location")).await.expect(200).json();
        assert_eq!(read["settings"], group);
        let key = json!({"name": text, "role": "viewer"});
        let made = platform.send("POST", "/api/v1/api-keys", &key).await.expect(201);
        assert_eq!(platform.get(made.header("location")).await.expect(200).json()["name"], text);
    }
    let list = platform.get("/api/v1/endpoints").await.expect(200).json();
    let mut groups: Vec<_> = list["endpoints"].as_array().unwrap().iter().map(|e| e["group"].clone()).collect();
    groups.sort_by_key(Value::to_string);
    let mut expected: Vec<_> = HOSTILE.iter().map(|text| json!(text)).collect();
    expected.sort_by_key(Value::to_string);
    assert_eq!(groups, expected);
}

#[tokio::test]
async fn many_mistakes_cost_little() {
    let platform = Platform::start("api: {rate_limit: false}\nendpoints: []\n");
    for number in 0..100 {
        let channel = json!({"name": format!("{number:0>99}"), "type": "console"});
        platform.send("POST", "/api/v1/channels", &channel).await.expect(201);
    }
    let url = "https://example.com/";
    let long = "q".repeat(500_000);
    for (path, body) in [
        ("endpoints/test", json!({"name": "n", "url": url, "notify": vec!["a"; 100_000]})),
        ("endpoints", json!({"name": "n", "url": url, "notify": [long]})),
        ("endpoints", json!({"name": "n", "url": url, "tags": vec!["/"; 100_000]})),
        ("endpoints", json!({"name": "n", "url": url, "body": {"a": vec!["\0"; 50_000]}})),
        ("endpoints", json!({"name": "n", "url": url, "body": [vec![1; 40_000]]})),
        ("channels", json!({"name": "n", "type": "console", "fallback": vec!["a"; 100_000]})),
        ("alerts", json!({"metric": long, "threshold": 1, "action": long})),
    ] {
        let answer = platform.send("POST", &format!("/api/v1/{path}"), &body).await.expect(400);
        assert!(answer.body.len() < 200_000, "{path}: {} bytes", answer.body.len());
    }
    let bad = json!({"op": "create", "settings": {"name": "n", "url": url, "tags": vec!["/"; 150]}});
    let answer =
        platform.send("POST", "/api/v1/endpoints/bulk", &json!({"operations": vec![bad; 900]})).await.expect(200);
    assert!(answer.body.len() < 4_000_000, "{} bytes", answer.body.len());
}
