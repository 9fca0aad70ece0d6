//! Signing in to the running program, and out again.

use serde_json::{Value, json};

use super::alerts::locked;
use super::{Answer, Platform, until};

const SESSIONS: &str = "/api/v1/sessions";
const KEYS: &[(&str, &str)] = &[("API_KEY", "key-of-boss-key-of-boss")];
const KEY: &str = "key-of-boss-key-of-boss";

/// Signs in as a page of this server does; returns the cookie and the session.
async fn sign_in(platform: &Platform, key: &str) -> (String, Value) {
    let answer = platform.send("POST", SESSIONS, &json!({"key": key})).await.expect(201);
    let set = answer.header("set-cookie");
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age="] {
        assert!(set.contains(attribute), "{set}");
    }
    (set.split(';').next().unwrap().to_owned(), answer.json())
}

async fn with_cookie(platform: &Platform, method: &str, path: &str, cookie: &str, origin: &str) -> Answer {
    let request = platform.request(method, path).header("Cookie", cookie).header("Origin", origin);
    platform.ask(request.header("Content-Type", "application/json").body("{}")).await
}

fn own(platform: &Platform) -> String {
    format!("http://{}", platform.address)
}

#[tokio::test]
async fn a_cookie_signs_in_until_it_signs_out() {
    let platform = Platform::start_with("endpoints: []\n", KEYS);
    platform.send("POST", SESSIONS, &json!({"key": "wrong"})).await.expect(401);
    let (cookie, session) = sign_in(&platform, KEY).await;
    let origin = own(&platform);
    let seen = with_cookie(&platform, "GET", &format!("{SESSIONS}/current"), &cookie, &origin).await.expect(200).json();
    for (field, value) in [
        ("id", json!(1)),
        ("state", json!("active")),
        ("service", json!(origin)),
        ("client", json!("api-key@127.0.0.1")),
        ("connected", session["created_at"].clone()),
        ("current", json!(true)),
    ] {
        assert_eq!(seen[field], value, "{field}: {seen}");
    }
    assert!(seen["idle"].is_u64(), "{seen}");
    let by_id = with_cookie(&platform, "GET", &format!("{SESSIONS}/1"), &cookie, &origin).await.expect(200).json();
    for field in ["id", "state", "client", "connected", "current", "service"] {
        assert_eq!(by_id[field], seen[field], "{field}: {by_id}");
    }
    for (id, status) in [("2", 404), ("99999999999999999999", 404), ("one", 400)] {
        with_cookie(&platform, "GET", &format!("{SESSIONS}/{id}"), &cookie, &origin).await.expect(status);
    }
    let list = with_cookie(&platform, "GET", SESSIONS, &cookie, &origin).await.expect(200).json();
    assert_eq!(list["total"], 1, "{list}");
    for foreign in ["https://evil.example", "null", "http://127.0.0.1:1"] {
        with_cookie(&platform, "POST", "/api/v1/backups", &cookie, foreign).await.expect(403);
    }
    let none = platform.request("DELETE", "/api/v1/sessions/current").header("Cookie", &cookie);
    assert_eq!(platform.ask(none).await.expect(403).json()["type"], "urn:api-monitor:problem:foreign-origin");
    with_cookie(&platform, "DELETE", "/api/v1/sessions/current", &cookie, &origin).await.expect(204);
    with_cookie(&platform, "GET", SESSIONS, &cookie, &origin).await.expect(401);
}

#[tokio::test]
async fn a_session_whose_time_is_over_is_expired_until_it_is_removed() {
    let yaml = "database: {url: 'sqlite://monitor.db'}\nendpoints: []\napi: {rate_limit: false, auth: {session: {lifetime: 1m}}}\n";
    let platform = Platform::start_with(yaml, KEYS);
    let (cookie, session) = sign_in(&platform, KEY).await;
    assert_eq!(session["state"], "active", "{session}");
    let by_boss =
        async |method: &str, path: &str| platform.ask(platform.request(method, path).header("X-API-Key", KEY)).await;
    // While somebody else writes, the housekeeping can remove nothing.
    let lock = locked(&platform).await;
    until("its time is over", async || {
        let list = by_boss("GET", SESSIONS).await.expect(200).json();
        assert_eq!((&list["total"], &list["sessions"][0]["id"]), (&json!(1), &session["id"]), "{list}");
        list["sessions"][0]["state"] == "expired"
    })
    .await;
    let single = by_boss("GET", &format!("{SESSIONS}/1")).await.expect(200).json();
    assert_eq!((&single["state"], &single["current"]), (&json!("expired"), &json!(false)), "{single}");
    with_cookie(&platform, "GET", SESSIONS, &cookie, "null").await.expect(401);
    lock.rollback().await.unwrap();
    until("it is removed", async || {
        // Refused while the database is known to be away.
        by_boss("POST", "/api/v1/tasks/sessions/run").await;
        by_boss("GET", SESSIONS).await.expect(200).json()["total"] == 0
    })
    .await;
    by_boss("GET", &format!("{SESSIONS}/1")).await.expect(404);
}

#[tokio::test]
async fn a_session_ends_with_its_key_and_outlives_a_restart() {
    let platform = Platform::start_with("endpoints: []\n", KEYS);
    let by_boss = |method: &str, path: &str| platform.request(method, path).header("X-API-Key", KEY);
    let new = by_boss("POST", "/api/v1/api-keys").header("Content-Type", "application/json");
    let made = platform.ask(new.body(r#"{"name": "ci", "role": "operator"}"#)).await.expect(201).json();
    let (ci, _) = sign_in(&platform, made["key"].as_str().unwrap()).await;
    let (boss, _) = sign_in(&platform, KEY).await;
    with_cookie(&platform, "GET", "/api/v1/endpoints", &ci, "null").await.expect(200);
    platform.ask(by_boss("DELETE", "/api/v1/api-keys/key_1")).await.expect(204);
    with_cookie(&platform, "GET", "/api/v1/endpoints", &ci, "null").await.expect(401);

    let Platform { folder, process, .. } = platform;
    process.signal("TERM");
    let ended = process.wait(std::time::Duration::from_secs(60));
    let platform = Platform::start_in(folder, KEYS);
    let mine = with_cookie(&platform, "GET", "/api/v1/config", &boss, "null").await.expect(200).json();
    assert_eq!(mine["settings"]["api.auth.session.idle"]["value"], 86_400, "{mine}");
    with_cookie(&platform, "GET", "/api/v1/endpoints", &ci, "null").await.expect(401);
    let list = tokio::time::timeout(std::time::Duration::from_secs(90), async {
        loop {
            let list = with_cookie(&platform, "GET", SESSIONS, &boss, "null").await.expect(200).json();
            if list["total"] == 1 {
                return list;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    });
    let list = list.await.expect("the session without a key is removed");
    assert_eq!(list["sessions"][0]["name"], "api-key", "{list}");

    let Platform { folder, process, .. } = platform;
    process.signal("TERM");
    let again = process.wait(std::time::Duration::from_secs(60));
    let database = std::fs::read(folder.path().join("data/api_monitor.db")).unwrap();
    for secret in [&ci, &boss] {
        let token = secret.split_once('=').unwrap().1;
        assert!(!ended.stderr.contains(token) && !again.stderr.contains(token), "{}{}", ended.stderr, again.stderr);
        assert!(!database.windows(token.len()).any(|bytes| bytes == token.as_bytes()), "a token is stored");
    }
}
