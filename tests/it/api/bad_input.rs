//! Whatever is sent, the answer is a clear problem document and never a 500.

use serde_json::json;

use crate::app::TestApp;
use crate::database::{Kind, on_both_databases};

const MANY_DIGITS: &str = "123456789012345678901234567890";

async fn every_route_refuses_bad_bodies_with_their_place(kind: Kind) {
    let app = TestApp::on(kind).await;
    app.create(&json!({"name": "a", "url": "https://example.com"})).await;
    let routes = [
        ("POST", "/api/v1/endpoints"),
        ("PUT", "/api/v1/endpoints/1"),
        ("PATCH", "/api/v1/endpoints/1"),
        ("PUT", "/api/v1/endpoints/by-key/g/a"),
        ("PUT", "/api/v1/endpoints/by-key/a"),
        ("POST", "/api/v1/endpoints/1/check"),
    ];
    let bodies = [
        "{",
        "{\"name\": \"a\",}",
        "[]",
        "\"text\"",
        "17",
        "{\"nonsense\": 1}",
        "{\"name\": 7}",
        "{\"use_retry\": \"yes\"}",
        "{\"interval\": -1}",
        "{\"interval\": 123456789012345678901234567890}",
        "{\"interval\": 1e400}",
        "{\"name\": \"x\", \"name\": \"y\"} trailing",
        "\u{0}",
        "{\"retry\": {\"max_attempts\": -1}}",
    ];
    for (method, path) in routes {
        for body in bodies {
            let call = app.call(method, path).header("content-type", "application/json").body(body);
            let document = call.send().await.problem(400, "invalid-parameter");
            let errors = document["errors"].as_array().unwrap();
            assert!(!errors.is_empty() && errors.iter().all(|e| e["code"] == "InvalidParameter"), "{document}");
            assert!(errors.iter().all(|e| e["pointer"].is_string()), "{method} {path} {body}: {document}");
        }
        let huge = format!("{{\"description\": \"{}\"}}", "x".repeat(1_100_000));
        let call = app.call(method, path).header("content-type", "application/json");
        call.body(huge.clone()).send().await.problem(413, "too-large");
        let declared = app.call(method, path).header("content-length", "99999999");
        declared.send().await.problem(413, "too-large");
        let form = app.call(method, path).header("content-type", "application/x-www-form-urlencoded");
        form.body("name=a").send().await.problem(415, "unsupported-media-type");
        app.call(method, path).body("{}").send().await.problem(415, "unsupported-media-type");
        if path != "/api/v1/endpoints/1/check" {
            app.call(method, path).send().await.problem(400, "invalid-parameter");
        }
    }
    assert_eq!(app.get("/api/v1/endpoints").await.json()["total"], 1);
}

#[tokio::test]
async fn malformed_json_is_told_with_line_and_column() {
    let app = TestApp::start().await;
    let call = app.call("POST", "/api/v1/endpoints").header("content-type", "application/json");
    let document = call.body("{\"name\": \"a\",\n  \"url\": }").send().await.problem(400, "invalid-parameter");
    insta::assert_json_snapshot!(document, @r#"
    {
      "detail": "Not JSON at line 2 column 10: expected value",
      "errors": [
        {
          "code": "InvalidParameter",
          "detail": "Not JSON at line 2 column 10: expected value",
          "pointer": "",
          "rule": "invalid"
        }
      ],
      "instance": "/api/v1/endpoints",
      "status": 400,
      "title": "The request is not valid",
      "type": "urn:api-monitor:problem:invalid-parameter"
    }
    "#);
}

async fn pointers_name_the_place(kind: Kind) {
    let app = TestApp::on(kind).await;
    for (body, pointers) in [
        (json!({"name": "a", "url": "https://x.test", "nonsense": 1}), vec!["/nonsense"]),
        (json!({"name": "a", "url": "https://x.test", "retry": {"tries": 1}}), vec!["/retry/tries"]),
        (json!({"name": "a", "url": "https://x.test", "tags": ["ok", 7]}), vec!["/tags/1"]),
        (json!({"name": "a", "url": "https://x.test", "headers": {"A/B": 1}}), vec!["/headers/A~1B"]),
        (json!({}), vec!["/name", "/url"]),
        (json!({"name": null, "url": null}), vec!["/name", "/url"]),
        (json!({"name": "a", "url": "no url", "interval": 0, "method": "G T"}), vec!["/interval", "/url", "/method"]),
        (json!({"name": "a", "url": "file:///etc/passwd"}), vec!["/url"]),
    ] {
        let document = app.post("/api/v1/endpoints", &body).await.problem(400, "invalid-parameter");
        let told: Vec<_> =
            document["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
        assert_eq!(told, pointers, "{body}: {document}");
    }
}

async fn ids_of_all_shapes_are_refused_clearly(kind: Kind) {
    let app = TestApp::on(kind).await;
    let routes = [
        ("GET", "/api/v1/endpoints/{}"),
        ("DELETE", "/api/v1/endpoints/{}"),
        ("POST", "/api/v1/endpoints/{}/pause"),
        ("POST", "/api/v1/endpoints/{}/resume"),
        ("POST", "/api/v1/endpoints/{}/check"),
        ("GET", "/api/v1/stats/uptime/{}"),
        ("GET", "/api/v1/stats/history/{}"),
        ("GET", "/api/v1/stats/incidents/{}"),
        ("GET", "/api/v1/incidents/{}"),
    ];
    for (method, route) in routes {
        for id in ["0", "999", "9223372036854775807", "9223372036854775808", MANY_DIGITS] {
            app.call(method, &route.replace("{}", id)).send().await.problem(404, "not-found");
        }
        for id in ["-1", "abc", "1.5", "0x1", "%00", "%FF", "%20", "1%3B--"] {
            app.call(method, &route.replace("{}", id)).send().await.problem(400, "invalid-parameter");
        }
    }
    for method in ["PUT", "PATCH"] {
        let body = json!({"name": "a", "url": "https://example.com"});
        for id in ["999", MANY_DIGITS] {
            let call = app.call(method, &format!("/api/v1/endpoints/{id}")).json(&body);
            call.send().await.problem(404, "not-found");
        }
    }
    for path in ["/api/v1/notifications/%FF", "/api/v1/channels/%FF"] {
        app.get(path).await.problem(400, "invalid-parameter");
    }
    for name in ["none", "%00", "%20", "a%2Fb", "'%3B--", MANY_DIGITS] {
        app.get(&format!("/api/v1/notifications/{name}")).await.problem(404, "not-found");
        app.get(&format!("/api/v1/channels/{name}")).await.problem(404, "not-found");
    }
    app.get("/api/v1/endpoints/by-key/%FF").await.problem(400, "invalid-parameter");
    app.get("/api/v1/endpoints/by-key/g/none").await.problem(404, "not-found");
}

async fn unknown_and_ill_typed_parameters_are_refused(kind: Kind) {
    let app = TestApp::on(kind).await;
    app.create(&json!({"name": "a", "url": "https://example.com"})).await;
    for (path, parameters) in [
        ("/api/v1/endpoints?nonsense=1", vec!["nonsense"]),
        ("/api/v1/endpoints?limit=0&offset=-1", vec!["limit", "offset"]),
        ("/api/v1/endpoints?limit=1001", vec!["limit"]),
        ("/api/v1/endpoints?limit=-1", vec!["limit"]),
        ("/api/v1/endpoints?offset=123456789012345678901234567890", vec!["offset"]),
        ("/api/v1/endpoints?is_active=maybe", vec!["is_active"]),
        ("/api/v1/endpoints?status=sideways", vec!["status"]),
        ("/api/v1/endpoints?sort=password", vec!["sort"]),
        ("/api/v1/endpoints?limit=1&limit=2", vec!["limit"]),
        ("/api/v1/endpoints/1?x", vec!["x"]),
        ("/api/v1/stats/uptime/1?period=2w", vec!["period"]),
        ("/api/v1/stats/uptime/1?period=7d&from=2024-01-01", vec!["period"]),
        ("/api/v1/stats/uptime/1?to=2024-01-01", vec!["to"]),
        ("/api/v1/stats/uptime/1?from=2024-01-02&to=2024-01-01", vec!["from"]),
        ("/api/v1/stats/history/1?from_date=yesterday", vec!["from_date"]),
        ("/api/v1/stats/history/1?from_date=2024-01-03&to_date=2024-01-01", vec!["from_date"]),
        ("/api/v1/stats/history/1?cursor=-5&limit=x", vec!["cursor", "limit"]),
        ("/api/v1/stats/summary?a=1", vec!["a"]),
        ("/api/v1/stats/incidents/1?period=2w&min_duration=-1", vec!["min_duration", "period"]),
        ("/api/v1/stats/incidents/1?min_duration=1.5", vec!["min_duration"]),
        ("/api/v1/stats/incidents/1?period=7d&to=2024-01-01", vec!["period"]),
        ("/api/v1/incidents?endpoint=0", vec!["endpoint"]),
        ("/api/v1/incidents?endpoint=a&open=maybe&status=sideways", vec!["endpoint", "open", "status"]),
        ("/api/v1/incidents?open=true&status=open", vec!["open"]),
        ("/api/v1/incidents?from=2024-01-03&to=2024-01-01", vec!["from"]),
        ("/api/v1/incidents?limit=0&nonsense=1", vec!["limit", "nonsense"]),
        ("/api/v1/incidents/1?x", vec!["x"]),
        ("/api/v1/notifications?event=sideways&state=lost", vec!["event", "state"]),
        ("/api/v1/notifications?incident=-1&endpoint=99999999999999999999", vec!["endpoint", "incident"]),
        ("/api/v1/notifications/ntf_1?x=1", vec!["x"]),
        ("/api/v1/channels?limit=1001", vec!["limit"]),
        ("/api/v1/channels/hook?x=1", vec!["x"]),
        ("/?a=1", vec!["a"]),
        ("/api/?a=1", vec!["a"]),
    ] {
        let document = app.get(path).await.problem(400, "invalid-parameter");
        let mut told: Vec<_> =
            document["errors"].as_array().unwrap().iter().map(|e| e["parameter"].as_str().unwrap()).collect();
        told.sort_unstable();
        assert_eq!(told, parameters, "{path}: {document}");
    }
    // Probes are asked by machines that add what they like.
    assert_eq!(app.get("/health?cache=no").await.status, 200);
}

async fn other_methods_are_told_what_there_is(kind: Kind) {
    let app = TestApp::on(kind).await;
    for (path, allow) in [
        ("/", "GET, HEAD, OPTIONS"),
        ("/api/", "GET, HEAD, OPTIONS"),
        ("/health", "GET, HEAD, OPTIONS"),
        ("/health/live", "GET, HEAD, OPTIONS"),
        ("/health/ready", "GET, HEAD, OPTIONS"),
        ("/docs", "GET, HEAD, OPTIONS"),
        ("/api/v1/openapi.json", "GET, HEAD, OPTIONS"),
        ("/api/v1/endpoints", "GET, HEAD, OPTIONS, POST"),
        ("/api/v1/endpoints/1", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"),
        ("/api/v1/endpoints/1/check", "OPTIONS, POST"),
        ("/api/v1/endpoints/1/pause", "OPTIONS, POST"),
        ("/api/v1/endpoints/by-key/g/n", "DELETE, GET, HEAD, OPTIONS, PUT"),
        ("/api/v1/stats/summary", "GET, HEAD, OPTIONS"),
        ("/api/v1/incidents", "GET, HEAD, OPTIONS"),
        ("/api/v1/incidents/1", "GET, HEAD, OPTIONS"),
        ("/api/v1/notifications/ntf_1/retry", "OPTIONS, POST"),
        ("/api/v1/channels", "GET, HEAD, OPTIONS, POST"),
        ("/api/v1/channels/hook/test", "OPTIONS, POST"),
    ] {
        for method in ["TRACE", "PROPFIND", "NONSENSE", "CONNECT"] {
            let answer = app.call(method, path).send().await;
            answer.problem(405, "method-not-allowed");
            assert_eq!(answer.header("allow"), allow, "{method} {path}");
        }
        let answer = app.call("OPTIONS", path).send().await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (204, allow), "{path}");
    }
    app.get("/nothing/here").await.problem(404, "not-found");
    app.call("DELETE", "/nothing/here").send().await.problem(404, "not-found");
}

async fn head_answers_wherever_get_does_without_a_body(kind: Kind) {
    let app = TestApp::on(kind).await;
    for path in ["/", "/health", "/api/v1/endpoints", "/api/v1/stats/summary", "/nothing", "/api/v1/endpoints/7"] {
        let (get, head) = (app.get(path).await, app.call("HEAD", path).send().await);
        assert_eq!(get.status, head.status, "{path}");
        assert_eq!(get.header("content-type"), head.header("content-type"), "{path}");
        assert!(head.body.is_empty() && !get.body.is_empty(), "{path}");
    }
}

async fn what_cannot_be_accepted_is_refused(kind: Kind) {
    let app = TestApp::on(kind).await;
    for (accept, status) in [
        ("text/html", 406),
        ("application/xml, text/*;q=0.5", 406),
        ("application/json;q=0", 406),
        ("*/*, application/json;q=0", 406),
        ("application/json", 200),
        ("application/*", 200),
        ("text/html,application/xhtml+xml,*/*;q=0.8", 200),
    ] {
        let answer = app.call("GET", "/api/v1/endpoints").header("accept", accept).send().await;
        assert_eq!(answer.status.as_u16(), status, "{accept}");
        if status == 406 {
            answer.problem(406, "not-acceptable");
        }
    }
}

async fn every_answer_has_a_request_id(kind: Kind) {
    let app = TestApp::on(kind).await;
    let mine = app.call("GET", "/health/live").header("x-request-id", "abc-123_x.y").send().await;
    assert_eq!(mine.header("x-request-id"), "abc-123_x.y");
    for bad in ["", "has space", "a\"b", &"x".repeat(129)] {
        let answer = app.call("GET", "/nothing").header("x-request-id", bad).send().await;
        let id = answer.header("x-request-id");
        assert!(id != bad && uuid::Uuid::parse_str(id).is_ok(), "{bad:?} became {id:?}");
    }
}

async fn a_nul_character_is_refused_where_it_is(kind: Kind) {
    let app = TestApp::on(kind).await;
    app.create(&json!({"name": "a", "url": "https://example.com"})).await;
    for (change, pointer) in [
        (json!({"description": "a\0b"}), "/description"),
        (json!({"body": {"a": ["\0"]}}), "/body/a/0"),
        (json!({"body": {"\0": 1}}), "/body"),
        (json!({"name": "\0b"}), "/name"),
        (json!({"runbook": "https://example.com/\0"}), "/runbook"),
    ] {
        let mut created = json!({"name": "b", "url": "https://example.com"});
        created.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        for (method, path, body) in [
            ("POST", "/api/v1/endpoints", &created),
            ("PUT", "/api/v1/endpoints/1", &created),
            ("PATCH", "/api/v1/endpoints/1", &change),
        ] {
            let document = app.call(method, path).json(body).send().await.problem(400, "invalid-parameter");
            assert_eq!(document["errors"][0]["pointer"], pointer, "{document}");
        }
    }
    app.call("PUT", "/api/v1/endpoints/by-key/g/%00")
        .json(&json!({"url": "https://example.com"}))
        .send()
        .await
        .problem(400, "invalid-parameter");
    app.call("DELETE", "/api/v1/endpoints/by-key/g/%00").send().await.problem(404, "not-found");
    let pause = json!({"operations": [{"op": "pause", "key": {"name": "\0"}}]});
    assert_eq!(app.post("/api/v1/endpoints/bulk", &pause).await.json()["results"][0]["status"], 404);
    app.get("/api/v1/notifications/%00").await.problem(404, "not-found");
    app.get("/api/v1/endpoints/by-key/g/%00").await.problem(404, "not-found");
    for list in ["endpoints?group=%00", "endpoints?tag=%00", "endpoints?q=%00", "notifications?channel=%00"] {
        let answer = app.get(&format!("/api/v1/{list}")).await;
        assert!(answer.status.as_u16() < 500, "{list}: {answer:?}");
    }
}

on_both_databases!(
    a_nul_character_is_refused_where_it_is,
    every_route_refuses_bad_bodies_with_their_place,
    pointers_name_the_place,
    ids_of_all_shapes_are_refused_clearly,
    unknown_and_ill_typed_parameters_are_refused,
    other_methods_are_told_what_there_is,
    head_answers_wherever_get_does_without_a_body,
    what_cannot_be_accepted_is_refused,
    every_answer_has_a_request_id
);
