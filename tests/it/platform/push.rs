//! Endpoints that report by themselves: every form of it, silence, tokens, restarts.

use serde_json::{Value, json};

use super::{Answer, Platform, until};
use crate::database::{Database, Kind, on_both_databases};

const KEYS: &str = "api: {auth: {keys: [{name: v, role: viewer, key: key-of-the-viewer-here}, \
                    {name: e, role: editor, key: key-of-the-editor-here}, \
                    {name: a, role: admin, key: key-of-the-admin-here}]}}\n";

async fn as_who(platform: &Platform, who: &str, path: &str) -> Answer {
    platform.ask(platform.request("GET", path).header("X-API-Key", format!("key-of-the-{who}-here"))).await
}

async fn make(platform: &Platform, settings: Value) -> (i64, String) {
    let made = platform.send("POST", "/api/v1/endpoints", &settings).await.expect(201).json();
    (made["id"].as_i64().unwrap(), made["push"]["token"].as_str().unwrap().to_owned())
}

/// Of the newest check with a verdict: outcome, trigger, sentence, response time in seconds.
async fn newest(platform: &Platform, id: i64) -> (Value, Value, Value, Value) {
    let shown = platform.get(&format!("/api/v1/endpoints/{id}")).await.expect(200).json();
    let check = &shown["last_check"];
    let of = |key: &str| check[key].clone();
    (of("outcome"), of("trigger"), of("error_message"), of("response_time"))
}

async fn told(platform: &Platform, id: i64) -> String {
    newest(platform, id).await.2.as_str().unwrap_or_default().to_owned()
}

async fn whatever_is_reported_is_a_check_in_every_form(database: Kind) {
    let database = Database::of(database);
    let platform = Platform::start_with("endpoints: []\n", &[("DATABASE_URL", &database.url())]);
    let (id, token) = make(&platform, json!({"name": "backup", "kind": "push", "interval": "1d"})).await;
    let up = platform.get(&format!("/api/v1/push/{token}?duration_ms=1500&whatever=1")).await.expect(200).json();
    assert_eq!((&up["result"], &up["outcome"], &up["stored"]), (&json!("recorded"), &json!("up"), &json!(true)));
    assert_eq!(up["duration_ms"], 1500.0);
    let (_, trigger, sentence, seconds) = newest(&platform, id).await;
    assert_eq!((trigger, sentence, seconds), (json!("pushed"), Value::Null, json!(1.5)));

    let down = platform.get(&format!("/api/v1/push/{token}?status=down&message=disk%20full")).await.expect(200).json();
    assert_eq!(down["outcome"], "down");
    assert_eq!(told(&platform, id).await, "Reported as failed: disk full");
    let shown = platform.get(&format!("/api/v1/endpoints/{id}")).await.expect(200).json();
    assert_eq!((&shown["status"], &shown["incident"]["failure_kind"]), (&json!("down"), &json!("push_failed")));

    // A job: begun, ended well, and how long it took is measured.
    let begun = platform.get(&format!("/api/v1/push/{token}/start")).await.expect(200).json();
    assert_eq!((&begun["result"], &begun["outcome"]), (&json!("started"), &Value::Null));
    let ended = platform.ask(platform.request("POST", &format!("/api/v1/push/{token}/0"))).await.expect(200).json();
    assert!(ended["outcome"] == "up" && ended["duration_ms"].as_f64().is_some(), "{ended}");
    let none = platform.ask(platform.request("HEAD", &format!("/api/v1/push/{token}"))).await.expect(200);
    assert!(none.body.is_empty());
    assert_eq!(newest(&platform, id).await.3, Value::Null, "nobody said how long it took");

    let log = format!("{}\nmount: no such device\n", "line\n".repeat(30_000));
    platform.ask(platform.request("POST", &format!("/api/v1/push/{token}/7")).body(log)).await.expect(200);
    let sentence = told(&platform, id).await;
    assert!(sentence.starts_with("Ended with exit code 7: …"), "{sentence}");
    assert!(sentence.ends_with("line mount: no such device"), "{sentence}");

    // As others do.
    let pinged = platform.get(&format!("/ping/{token}")).await.expect(200);
    assert_eq!((pinged.header("content-type"), &pinged.body[..]), ("text/plain; charset=utf-8", &b"OK"[..]));
    assert_eq!(newest(&platform, id).await.0, json!("up"));
    platform.ask(platform.request("POST", &format!("/ping/{token}/fail")).body("no\u{0}pe")).await.expect(200);
    assert!(told(&platform, id).await.starts_with("Reported as failed: no"), "of any bytes");
    platform.get(&format!("/ping/{token}/log")).await.expect(200);
    assert!(told(&platform, id).await.starts_with("Reported as failed: no"), "a log says nothing");
    let kuma = platform.get(&format!("/api/push/{token}?status=up&msg=OK&ping=12.5")).await.expect(200);
    assert_eq!(kuma.json(), json!({"ok": true}));
    assert_eq!(newest(&platform, id).await.3, json!(0.0125));
    platform.get(&format!("/api/push/{token}?status=down&msg=broken&ping=")).await.expect(200);
    assert_eq!(told(&platform, id).await, "Reported as failed: broken");

    // All of it is stored.
    let history = platform.get(&format!("/api/v1/stats/history/{id}?limit=100")).await.expect(200).json();
    let stored: Vec<(&Value, &Value)> = history["checks"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|one| (&one["trigger"], &one["error_message"]))
        .collect();
    let said = ["disk full", "Ended with exit code 7", "no\u{fffd}pe", "broken"];
    for (i, words) in said.into_iter().enumerate() {
        let count = stored.iter().filter(|(_, said)| said.as_str().is_some_and(|said| said.contains(words))).count();
        assert_eq!(count, 1, "{i}: {words}: {stored:?}");
    }
    assert!(stored.iter().all(|(trigger, _)| **trigger == json!("pushed")), "{stored:?}");
    assert_eq!(stored.len(), 9, "a beginning and a log are no checks: {stored:?}");

    // What is no token, no signal, no number.
    let unknown = platform.get("/api/v1/push/00000000-0000-8000-8000-000000000000").await.expect(404);
    assert_eq!(unknown.json()["type"], "urn:api-monitor:problem:not-found");
    let unknown = platform.get("/ping/00000000-0000-8000-8000-000000000000").await.expect(404);
    assert_eq!(unknown.body, b"not found");
    let unknown = platform.get("/api/push/%ff?status=up").await.expect(404);
    assert_eq!(unknown.json(), json!({"ok": false, "msg": "Monitor not found or not active."}));
    platform.get(&format!("/api/v1/push/{token}/256")).await.expect(404);
    platform.get(&format!("/ping/{token}/nonsense")).await.expect(400);
    for query in ["status=UP", "duration_ms=-1", "duration_ms=NaN", "duration_ms=1e99"] {
        platform.get(&format!("/api/v1/push/{token}?{query}")).await.expect(400);
    }
    let checked = platform.send("POST", &format!("/api/v1/endpoints/{id}/check"), &json!({})).await.expect(409);
    assert_eq!(checked.json()["type"], "urn:api-monitor:problem:nothing-to-check");
}

#[tokio::test]
async fn silence_is_noticed_at_once_and_ends_with_a_heartbeat() {
    let platform = Platform::start("endpoints: [{name: job, kind: push, interval: 2s, grace: 1s}]\n");
    let id = 1;
    until("it is down", async || newest(&platform, id).await.0 == json!("down")).await;
    let shown = platform.get("/api/v1/endpoints/1").await.expect(200).json();
    assert_eq!((&shown["status"], &shown["incident"]["failure_kind"]), (&json!("down"), &json!("push_overdue")));
    let sentence = told(&platform, id).await;
    assert!(sentence.starts_with("No heartbeat in ") && sentence.ends_with("expected every 2 s with 1 s of grace"));
    let history = platform.get("/api/v1/stats/history/1?limit=1").await.expect(200).json();
    assert!(history.to_string().contains("push_overdue"), "{history}");

    let token = shown["push"]["token"].as_str().unwrap();
    let heard = platform.get(&format!("/api/v1/push/{token}")).await.expect(200).json();
    assert_eq!(heard["outcome"], "up");
    until("it is silent again", async || told(&platform, id).await.starts_with("No heartbeat for ")).await;

    // Nobody waits while it is paused.
    platform.ask(platform.request("POST", "/api/v1/endpoints/1/pause")).await.expect(200);
    let answer = platform.get(&format!("/api/v1/push/{token}?status=down")).await.expect(200).json();
    assert_eq!(answer["result"], "paused");
    platform.ask(platform.request("POST", "/api/v1/endpoints/1/resume")).await.expect(200);
    let answer = platform.get(&format!("/ping/{token}")).await.expect(200);
    assert_eq!(answer.body, b"OK");
}

#[tokio::test]
async fn a_token_is_shown_to_editors_and_stands_nowhere_else() {
    let secret = "a-token-that-nobody-may-see";
    let endpoints = "endpoints: [{name: own, kind: push, interval: 1d, token: '${TOKEN}'}, {name: made, kind: push, interval: 1d}]\n\
         public_url: https://monitor.example\nlogging: {level: DEBUG}\n";
    let platform = Platform::start_with(&format!("{KEYS}{endpoints}"), &[("TOKEN", secret)]);
    let own = as_who(&platform, "editor", "/api/v1/endpoints/1").await.expect(200).json();
    assert_eq!(own["push"]["url"], format!("https://monitor.example/api/v1/push/{secret}"));
    assert_eq!((&own["settings"]["token"], &own["effective"]["token"]), (&json!("***"), &Value::Null));
    let hidden = as_who(&platform, "viewer", "/api/v1/endpoints/1").await.expect(200).json();
    assert_eq!(hidden["push"]["token"], "***");
    let made = as_who(&platform, "editor", "/api/v1/endpoints/2").await.expect(200).json();
    let made = made["push"]["token"].as_str().unwrap().to_owned();
    assert_eq!(made.len(), 36, "a UUID");

    // Without any key, or with a wrong one.
    platform.get(&format!("/api/v1/push/{secret}")).await.expect(200);
    let wrong = platform.request("GET", &format!("/ping/{made}")).header("X-API-Key", "wrong");
    platform.ask(wrong).await.expect(200);
    // Nobody else's.
    let taken = platform
        .request("POST", "/api/v1/endpoints")
        .header("X-API-Key", "key-of-the-editor-here")
        .header("Content-Type", "application/json")
        .body(json!({"name": "other", "kind": "push", "token": made}).to_string());
    let refused = platform.ask(taken).await.expect(400).json();
    assert_eq!(refused["errors"][0]["pointer"], "/token");

    for path in ["/api/v1/audit", "/api/v1/config", "/api/v1/endpoints", "/metrics", "/api/v1/connections"] {
        let read = String::from_utf8(as_who(&platform, "admin", path).await.expect(200).body).unwrap();
        assert!(!read.contains(secret) && !read.contains(&made), "{path}: {read}");
    }
    // As often as a burst, and then once a second.
    let mut refused = None;
    for _ in 0..60 {
        let answer = platform.get(&format!("/api/v1/push/{secret}")).await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
        answer.expect(200);
    }
    assert!(refused.expect("it is limited").header("retry-after").parse::<u64>().unwrap() >= 1);
    platform.get(&format!("/ping/{made}")).await.expect(200);

    platform.process.signal("TERM");
    let ended = platform.process.wait(std::time::Duration::from_secs(60));
    assert!(!ended.stderr.contains(secret) && !ended.stdout.contains(secret), "in the log");
    assert!(!ended.stderr.contains(&made) && !ended.stdout.contains(&made), "in the log");
}

on_both_databases!(
    whatever_is_reported_is_a_check_in_every_form,
    after_a_restart_the_token_is_the_same_and_nothing_is_overdue
);

async fn after_a_restart_the_token_is_the_same_and_nothing_is_overdue(database: Kind) {
    let database = Database::of(database);
    let url = database.url();
    let variables = [("DATABASE_URL", url.as_str())];
    let config = "endpoints: [{name: job, kind: push, interval: 10s}]\n";
    let platform = Platform::start_with(config, &variables);
    let shown = platform.get("/api/v1/endpoints/1").await.expect(200).json();
    let token = shown["push"]["token"].as_str().unwrap().to_owned();
    platform.get(&format!("/api/v1/push/{token}")).await.expect(200);
    let Platform { folder, process, .. } = platform;
    process.signal("TERM");
    process.wait(std::time::Duration::from_secs(60));
    // Longer than a heartbeat is waited for.
    tokio::time::sleep(std::time::Duration::from_secs(11)).await;

    let platform = Platform::start_in(folder, &variables);
    let answer = platform.get(&format!("/api/v1/push/{token}")).await.expect(200).json();
    assert_eq!(answer["outcome"], "up");
    let history = platform.get("/api/v1/stats/history/1").await.expect(200).json().to_string();
    assert!(history.contains("stopped") && !history.contains("push_overdue"), "{history}");
}
