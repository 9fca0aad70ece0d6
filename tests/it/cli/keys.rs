//! Keys of a real process: they outlive it, and no log has them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::configured;
use super::process::Running;

const SERVE: &[&str] = &["--config", "config.yaml"];

/// Status and body of a request with a key.
fn ask(address: &str, method: &str, path: &str, key: &str, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
}

#[test]
fn a_key_outlives_the_process_and_is_in_no_log() {
    let boss = "the-key-of-the-boss-of-all";
    let folder = configured("endpoints: []");
    let keys = format!("[{{name: the boss, role: admin, key: {boss}}}]");
    let variables = [("API_MONITOR__API__AUTH__KEYS", keys.as_str()), ("LOG_LEVEL", "debug")];

    let mut first = Running::start_with(folder.path(), SERVE, &variables);
    let address = first.address();
    assert_eq!(ask(&address, "GET", "/", boss, &json!(null)).1["auth_enabled"], true);
    let (status, made) = ask(&address, "POST", "/api/v1/api-keys", boss, &json!({"name": "ci", "role": "viewer"}));
    assert_eq!(status, 201, "{made}");
    let key = made["key"].as_str().unwrap();
    assert_eq!(ask(&address, "GET", "/api/v1/endpoints", key, &json!(null)).0, 200);
    assert_eq!(ask(&address, "POST", "/api/v1/endpoints", key, &json!({})).0, 403);
    assert_eq!(ask(&address, "GET", "/api/v1/endpoints", "am_wrong-key-wrong-key", &json!(null)).0, 401);
    first.signal("TERM");
    let log = first.wait(Duration::from_secs(15)).stderr;
    let has = |words: &[&str]| log.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(has(&["\"api_keys\":1", "api-monitor started"]), "{log}");
    assert!(has(&["\"actor\":\"the boss\"", "\"status\":201"]), "{log}");
    assert!(has(&["\"actor\":\"ci\"", "\"status\":403"]), "{log}");
    assert!(has(&["\"actor\":\"anonymous\"", "\"status\":401"]), "{log}");
    for secret in [boss, key, "am_wrong-key-wrong-key"] {
        assert!(!log.contains(secret), "{log}");
    }

    let mut second = Running::start_with(folder.path(), SERVE, &variables);
    let address = second.address();
    let (status, shown) = ask(&address, "GET", "/api/v1/api-keys/key_1", boss, &json!(null));
    assert_eq!((status, &shown["name"], &shown["last_used_from"]), (200, &json!("ci"), &json!("127.0.0.1")), "{shown}");
    assert_eq!(shown["created_by"], "the boss");
    assert_eq!(ask(&address, "GET", "/api/v1/endpoints", key, &json!(null)).0, 200);
    assert_eq!(ask(&address, "DELETE", "/api/v1/api-keys/key_1", boss, &json!(null)).0, 204);
    assert_eq!(ask(&address, "GET", "/api/v1/endpoints", key, &json!(null)).0, 401);
}
