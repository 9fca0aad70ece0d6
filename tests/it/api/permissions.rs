//! Who may do what, with and without a key.

use std::net::IpAddr;

use serde_json::json;

use crate::app::TestApp;

const WITH_KEY: &str = "api: {port: 0, rate_limit: false, auth: {enabled: true, api_key: right-key, header_name: X-Monitor-Key, realm: the realm}}\n";

const OPEN: [&str; 6] = ["/health", "/health/live", "/health/ready", "/docs", "/openapi.json", "/api/v1/openapi.json"];
const READS: [&str; 13] = [
    "/",
    "/api/",
    "/api/v1/endpoints",
    "/api/v1/endpoints/1",
    "/api/v1/stats/summary",
    "/api/v1/stats/uptime/1",
    "/api/v1/stats/incidents/1",
    "/api/v1/incidents",
    "/api/v1/incidents/1",
    "/api/v1/notifications",
    "/api/v1/notifications/ntf_1",
    "/api/v1/channels",
    "/api/v1/channels/hook",
];
const CHANGES: [(&str, &str); 8] = [
    ("POST", "/api/v1/endpoints"),
    ("PUT", "/api/v1/endpoints/1"),
    ("PATCH", "/api/v1/endpoints/1"),
    ("DELETE", "/api/v1/endpoints/1"),
    ("POST", "/api/v1/endpoints/1/pause"),
    ("PUT", "/api/v1/endpoints/by-key/g/n"),
    ("POST", "/api/v1/notifications/ntf_1/retry"),
    ("POST", "/api/v1/channels/hook/test"),
];

#[tokio::test]
async fn with_a_key_everything_but_the_open_routes_needs_it() {
    let app = TestApp::with_config(WITH_KEY).await;
    for path in OPEN {
        assert_eq!(app.get(path).await.status, 200, "{path}");
    }
    let closed = READS.map(|path| ("GET", path)).into_iter().chain(CHANGES).chain([("GET", "/nothing")]);
    for (method, path) in closed {
        for (header, value) in [
            ("accept", "*/*"),
            ("x-monitor-key", "wrong-key"),
            ("x-monitor-key", ""),
            ("x-api-key", "right-key"),
            ("authorization", "Bearer right-ke"),
            ("authorization", "Basic right-key"),
        ] {
            let answer = app.call(method, path).header(header, value).send().await;
            answer.problem(401, "unauthorized");
            assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"the realm\"");
        }
        for (header, value) in [("x-monitor-key", "right-key"), ("authorization", "bearer right-key")] {
            let from_afar = app.call(method, path).header(header, value).from("198.51.100.7".parse().unwrap());
            let status = from_afar.send().await.status.as_u16();
            assert!(status != 401 && status != 403, "{method} {path}: {status}");
        }
    }
    let refused: Vec<_> = app.audit().await.into_iter().filter(|row| row.action == "request.refused").collect();
    assert_eq!(refused.len(), 60, "as many as are audited a minute");
    assert_eq!(refused[0].subject, "GET /");
    assert_eq!(refused[0].result, "unauthorized");
    assert!(!format!("{refused:?}").contains("right-key"));
}

#[tokio::test]
async fn without_a_key_only_this_machine_may_change_anything() {
    let app = TestApp::start().await;
    let local: IpAddr = "127.0.0.1".parse().unwrap();
    let strangers: [(&str, &[(&'static str, &str)]); 10] = [
        ("198.51.100.7", &[]),
        ("127.0.0.1", &[("x-forwarded-for", "127.0.0.1")]),
        ("127.0.0.1", &[("x-forwarded-proto", "https")]),
        ("127.0.0.1", &[("forwarded", "for=127.0.0.1")]),
        ("127.0.0.1", &[("x-real-ip", "127.0.0.1")]),
        ("127.0.0.1", &[("via", "1.1 proxy")]),
        ("127.0.0.1", &[("host", "monitor.example.com")]),
        ("127.0.0.1", &[("host", "localhost.example.com:8000")]),
        ("127.0.0.1", &[("origin", "https://evil.example")]),
        ("127.0.0.1", &[("origin", "null")]),
    ];
    for (peer, headers) in strangers {
        for (method, path) in CHANGES {
            let mut call = app.call(method, path).from(peer.parse().unwrap());
            for (name, value) in headers {
                call = call.header(name, value);
            }
            let document = call.send().await.problem(403, "forbidden");
            assert!(document["detail"].as_str().unwrap().contains("API_KEY"), "{document}");
        }
        for path in READS {
            let answer = app.call("GET", path).from(peer.parse().unwrap()).send().await;
            assert_ne!(answer.status, 403, "{path}");
        }
    }
    for (peer, host) in [
        (local, "127.0.0.1:8000"),
        ("::1".parse().unwrap(), "[::1]:8000"),
        ("::ffff:127.0.0.1".parse().unwrap(), "localhost"),
    ] {
        let name = format!("by {peer}");
        let call = app.call("POST", "/api/v1/endpoints").from(peer).header("host", host);
        let answer = call.json(&json!({"name": name, "url": "https://example.com"})).send().await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    let audit = app.audit().await;
    assert!(audit.iter().any(|row| row.result == "forbidden" && row.address.as_deref() == Some("198.51.100.7")));
    assert!(audit.iter().any(|row| row.action == "endpoint.create" && row.actor == "local"));
}
