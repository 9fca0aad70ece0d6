//! Who may do what, with and without a configured key. Each route with each role is in `role_matrix`.

use std::net::IpAddr;
use std::sync::Arc;

use api_monitor::api::auth::{Gate, guard};
use api_monitor::api::policy::{Needs, ROWS};
use api_monitor::domain::role::Role;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use serde_json::json;
use tower::ServiceExt;

use crate::app::{Call, TestApp};

const WITH_KEY: &str = "api: {port: 0, rate_limit: false, auth: {enabled: true, api_key: right-key, \
                        header_name: X-Monitor-Key, realm: the realm, \
                        keys: [{name: ci, role: operator, key: key-of-ci-key-of-ci}]}}\n";
const STRANGER: &str = "198.51.100.7";

/// Method and path, with what it needs.
pub(super) fn routes() -> impl Iterator<Item = (&'static str, String, Needs)> {
    ROWS.iter().map(|(method, template, needs)| (*method, filled(template, "key_1"), *needs))
}

pub(super) fn filled(template: &str, key: &str) -> String {
    let id = match template.split('/').nth(3) {
        Some("notifications") => "ntf_1",
        Some("api-keys") => key,
        Some("alerts") => "alert_001",
        _ => "1",
    };
    template.replace("{id}", id).replace("{group}", "g").replace("{name}", "n").replace("{file}", "swagger-ui.css")
}

#[tokio::test]
async fn with_a_key_everything_but_the_open_routes_needs_it() {
    let app = TestApp::with_config(WITH_KEY).await;
    let closed: Vec<_> = routes().filter(|(.., needs)| *needs != Needs::Open).map(|(m, p, _)| (m, p)).collect();
    for (method, path) in routes().filter(|(.., needs)| *needs == Needs::Open).map(|(m, p, _)| (m, p)) {
        if ["/acknowledge/", "/api/v1/push/", "/api/push/", "/ping/"].iter().any(|start| path.starts_with(start)) {
            // The link is the key, or the token in it, and this is none.
            assert_eq!(app.call(method, &path).from(STRANGER.parse().unwrap()).send().await.status, 404, "{path}");
            continue;
        }
        if method == "POST" {
            // Signing in needs one by itself.
            assert_eq!(path, "/api/v1/sessions");
            app.call(method, &path).from(STRANGER.parse().unwrap()).send().await.problem(401, "unauthorized");
            continue;
        }
        assert_eq!(app.call(method, &path).from(STRANGER.parse().unwrap()).send().await.status, 200, "{path}");
    }
    for (method, path) in
        closed.into_iter().chain([("GET", "/nothing".to_owned()), ("DELETE", "/api/v1/endpoints".to_owned())])
    {
        for (header, value) in [
            ("accept", "*/*"),
            ("x-monitor-key", "wrong-key"),
            ("x-monitor-key", ""),
            ("x-api-key", "right-key"),
            ("authorization", "Bearer right-ke"),
            ("authorization", "Basic right-key"),
        ] {
            let answer = app.call(method, &path).header(header, value).send().await;
            answer.problem(401, "unauthorized");
            assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"the realm\"");
        }
        for (header, value) in [("x-monitor-key", "right-key"), ("authorization", "bearer right-key")] {
            let from_afar = app.call(method, &path).header(header, value).from(STRANGER.parse().unwrap());
            let status = from_afar.send().await.status.as_u16();
            assert!(status != 401 && status != 403, "{method} {path}: {status}");
        }
    }
    let refused: Vec<_> = app.audit().await.into_iter().filter(|row| row.action == "request.refused").collect();
    assert_eq!(refused.len(), 60, "as many as are audited a minute");
    assert_eq!((refused[0].subject.as_str(), refused[1].subject.as_str()), ("POST /api/v1/sessions", "GET /"));
    assert_eq!((refused[0].result.as_str(), refused[0].actor.as_str()), ("unauthorized", "anonymous"));
    assert!(!format!("{refused:?}").contains("right-key"));
}

#[tokio::test]
async fn a_key_may_do_what_its_role_may_and_no_more() {
    let app = TestApp::with_config(WITH_KEY).await;
    let with_key = |method: &str, path: &str| app.call(method, path).header("x-monitor-key", "key-of-ci-key-of-ci");
    let new = json!({"name": "n", "url": "https://example.com"});
    app.call("POST", "/api/v1/endpoints").header("x-monitor-key", "right-key").json(&new).send().await;
    assert_eq!(with_key("GET", "/api/v1/endpoints/1").send().await.status, 200);
    assert_eq!(with_key("POST", "/api/v1/endpoints/1/pause").send().await.status, 200);
    let document = with_key("POST", "/api/v1/endpoints").json(&new).send().await.problem(403, "forbidden");
    assert_eq!(document["detail"], "This needs the role editor, and the key `ci` has the role operator");
    with_key("GET", "/api/v1/api-keys").send().await.problem(403, "forbidden");
    let audit = app.audit().await;
    let told = |action: &str| {
        audit.iter().find(|row| row.action == action).map(|row| (row.actor.as_str(), row.result.as_str()))
    };
    assert_eq!(told("endpoint.create"), Some(("api-key", "ok")));
    assert_eq!(told("endpoint.pause"), Some(("ci", "ok")));
    assert_eq!(told("request.refused"), Some(("ci", "forbidden")));
}

#[tokio::test]
async fn two_different_keys_are_none() {
    let app = TestApp::with_config(WITH_KEY).await;
    let ask = || app.call("GET", "/api/v1/endpoints").header("x-monitor-key", "right-key");
    assert_eq!(ask().header("authorization", "Bearer right-key").send().await.status, 200);
    assert_eq!(ask().header("authorization", "Basic dXNlcjpwYXNz").send().await.status, 200);
    for call in [
        ask().header("authorization", "Bearer key-of-ci-key-of-ci"),
        ask().more("x-monitor-key", "right-key"),
        ask().more("x-monitor-key", "wrong-key"),
        app.call("GET", "/").header("authorization", "Bearer right-key").more("authorization", "Bearer right-key"),
    ] {
        let document = call.send().await.problem(401, "unauthorized");
        assert!(document["detail"].as_str().unwrap().contains("more than one key"), "{document}");
    }
}

fn strange(call: Call<'_>, which: usize) -> Call<'_> {
    let headers: [&[(&'static str, &str)]; 10] = [
        &[],
        &[("x-forwarded-for", "127.0.0.1")],
        &[("x-forwarded-proto", "https")],
        &[("forwarded", "for=127.0.0.1")],
        &[("x-real-ip", "127.0.0.1")],
        &[("via", "1.1 proxy")],
        &[("host", "monitor.example.com")],
        &[("host", "localhost.example.com:8000")],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
    ];
    let peer = if which == 0 { STRANGER } else { "127.0.0.1" };
    headers[which].iter().fold(call.from(peer.parse().unwrap()), |call, (name, value)| call.header(name, value))
}

#[tokio::test]
async fn without_a_key_only_this_machine_may_do_more_than_read() {
    let app = TestApp::with_config("api: {port: 0, rate_limit: false}\n").await;
    let local: IpAddr = "127.0.0.1".parse().unwrap();
    for which in 0..10 {
        for (method, path, needs) in routes() {
            let answer = strange(app.call(method, &path), which).send().await;
            if matches!(needs, Needs::Open | Needs::Role(Role::Viewer)) {
                assert!(!matches!(answer.status.as_u16(), 401 | 403), "{method} {path}: {answer:?}");
            } else {
                let document = answer.problem(403, "forbidden");
                assert!(document["detail"].as_str().unwrap().contains("API_KEY"), "{document}");
            }
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
    assert!(audit.iter().any(|row| row.result == "forbidden" && row.address.as_deref() == Some(STRANGER)));
    assert!(audit.iter().any(|row| row.action == "endpoint.create" && row.actor == "local"));
}

#[tokio::test]
async fn without_a_key_pages_of_other_servers_change_nothing() {
    let app = TestApp::with_config("api: {port: 0, rate_limit: false}\n").await;
    app.create(&json!({"name": "a", "url": "https://example.com"})).await;
    let pause = |headers: &[(&'static str, &str)]| {
        let call = app.call("POST", "/api/v1/endpoints/1/pause").header("host", "localhost:8000");
        let call = call.from("127.0.0.1".parse().unwrap());
        headers.iter().fold(call, |call, (name, value)| call.header(name, value))
    };
    for foreign in [
        &[("sec-fetch-site", "cross-site")][..],
        &[("origin", "http://localhost:3000")],
        &[("origin", "http://localhost:3000"), ("sec-fetch-site", "same-site")],
        &[("origin", "http://localhost:8000"), ("sec-fetch-site", "cross-site")],
    ] {
        pause(foreign).send().await.problem(403, "forbidden");
    }
    for own in [
        &[][..],
        &[("origin", "http://localhost:8000")],
        &[("origin", "http://localhost:8000"), ("sec-fetch-site", "same-origin")],
        &[("sec-fetch-site", "none")],
    ] {
        assert_eq!(pause(own).send().await.status, 200, "{own:?}");
    }
    // What a person follows a link to.
    let link = app.call("GET", "/api/v1/audit").header("sec-fetch-site", "cross-site").send().await;
    assert_eq!(link.status, 200);
}

#[tokio::test]
async fn what_only_comes_by_way_of_this_machine_is_not_of_it() {
    let app = TestApp::start().await;
    let new = json!({"name": "n", "url": "https://example.com"});
    // A check of our own, whose method, body and headers whoever makes endpoints has chosen.
    app.call("POST", "/api/v1/endpoints")
        .header("x-api-monitor-check", "1")
        .json(&new)
        .send()
        .await
        .problem(403, "forbidden");
    // A proxy that says nothing of itself.
    app.call("POST", "/api/v1/endpoints").old_http().json(&new).send().await.problem(403, "forbidden");
    let proxied = app.reconfigured("api: {port: 0, trusted_proxies: [127.0.0.1]}\n").await;
    proxied.call("POST", "/api/v1/endpoints").json(&new).send().await.problem(403, "forbidden");
    assert_eq!(app.post("/api/v1/endpoints", &new).await.status, 201);
}

#[tokio::test]
async fn a_key_counts_also_where_none_is_needed() {
    let app = TestApp::start().await;
    let made = app.post("/api/v1/api-keys", &json!({"name": "ops", "role": "editor"})).await.json();
    let key = made["key"].as_str().unwrap();
    let new = json!({"name": "n", "url": "https://example.com"});
    let afar = |method: &str, path: &str| strange(app.call(method, path), 0);
    afar("POST", "/api/v1/endpoints").json(&new).send().await.problem(403, "forbidden");
    assert_eq!(afar("POST", "/api/v1/endpoints").header("x-api-key", key).json(&new).send().await.status, 201);
    afar("GET", "/api/v1/api-keys").header("x-api-key", key).send().await.problem(403, "forbidden");
    // Who shows a key is its holder, on this machine too.
    app.call("GET", "/api/v1/api-keys").header("x-api-key", key).send().await.problem(403, "forbidden");
    app.call("GET", "/api/v1/endpoints").header("x-api-key", "wrong").send().await.problem(401, "unauthorized");
    afar("GET", "/").header("authorization", "Bearer wrong").send().await.problem(401, "unauthorized");
    assert_eq!(afar("GET", "/health").header("x-api-key", "wrong").send().await.status, 200);
    assert_eq!(app.get("/").await.json()["auth_enabled"], false);
}

#[tokio::test]
async fn a_route_that_is_not_in_the_table_is_refused_to_everybody() {
    let app = TestApp::with_config(WITH_KEY).await;
    let gate = Arc::new(Gate::new(app.ctx.clone()));
    let router = Router::new()
        .route("/forgotten", get(async || "open"))
        .route("/health", get(async || "open").post(async || "open"))
        .layer(from_fn_with_state(gate, guard));
    for (method, path, key, status) in [
        ("GET", "/forgotten", "right-key", 403),
        ("HEAD", "/forgotten", "right-key", 403),
        ("GET", "/forgotten", "wrong", 401),
        ("GET", "/health", "wrong", 200),
        ("POST", "/health", "right-key", 405),
        ("POST", "/health", "wrong", 405),
    ] {
        let request = Request::builder().method(method).uri(path).header("x-monitor-key", key).body(Body::empty());
        let answer = router.clone().oneshot(request.unwrap()).await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{method} {path} {key}");
    }
}

#[tokio::test]
async fn other_methods_of_a_path_are_told_to_whoever_may_read() {
    let app = TestApp::with_config(WITH_KEY).await;
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS"];
    for (_, template, _) in ROWS {
        let path = filled(template, "key_1");
        let options = app.call("OPTIONS", &path).send().await;
        assert_eq!(options.status, 204, "{path}");
        let mut known: Vec<&str> =
            ROWS.iter().filter(|(_, other, _)| other == template).map(|(method, ..)| *method).collect();
        known.extend(["OPTIONS"].into_iter().chain(known.contains(&"GET").then_some("HEAD")));
        known.sort_unstable();
        assert_eq!(options.header("allow"), known.join(", "), "{path}");
        for method in methods.iter().filter(|method| !known.contains(method)) {
            let answer = app.call(method, &path).header("x-monitor-key", "key-of-ci-key-of-ci").send().await;
            assert_eq!(answer.status, 405, "{method} {path}");
            if *method != "HEAD" {
                answer.problem(405, "method-not-allowed");
            }
            assert_eq!(answer.header("allow"), known.join(", "), "{method} {path}");
        }
    }
}
