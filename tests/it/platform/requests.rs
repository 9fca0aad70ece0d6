//! What holds for every request: the access log, bodies that nobody reads, `HEAD`, queries, and what is accepted.

use std::time::Duration;

use serde_json::{Value, json};

use super::Platform;

const WATCHED: &str = "endpoints: [{name: a, url: 'http://127.0.0.1:9/', interval: 1h}]\n";

/// The lines of the access log, by the ids of their requests.
fn told(platform: &Platform, ids: &[&str]) -> Vec<Option<Value>> {
    let log = platform.process.stderr();
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of = |id: &&str| lines.iter().find(|line| line["message"] == "request" && line["request_id"] == **id).cloned();
    ids.iter().map(of).collect()
}

/// Asks with an id for each, and then for a change, whose line comes after theirs.
async fn asked(platform: &Platform, requests: &[(&str, &str, &str)]) {
    for (id, method, path) in requests {
        platform.ask(platform.request(method, path).header("X-Request-Id", *id)).await;
    }
    platform.ask(platform.request("POST", "/api/v1/endpoints").header("X-Request-Id", "last")).await.expect(400);
    platform.process.logs(Duration::from_secs(30), "\"last\"");
}

#[tokio::test]
async fn every_request_is_in_the_access_log_and_probes_are_not() {
    let reads = [
        ("list", "GET", "/api/v1/endpoints"),
        ("head", "HEAD", "/api/v1/endpoints/1"),
        ("none", "GET", "/api/v1/nothing"),
        ("secret", "GET", "/api/v1/config"),
    ];
    let probes = [
        ("probe-1", "GET", "/health"),
        ("probe-2", "GET", "/health/live"),
        ("probe-3", "GET", "/metrics"),
        ("probe-4", "GET", "/docs/index.css"),
    ];
    let ids: Vec<_> = reads.iter().chain(&probes).map(|(id, ..)| *id).chain(["last"]).collect();

    let platform = Platform::start(WATCHED);
    asked(&platform, &[&reads[..], &probes[..]].concat()).await;
    let lines = told(&platform, &ids);
    let list = lines[0].as_ref().unwrap();
    let shown = ["level", "method", "route", "actor", "status", "client"].map(|key| list[key].clone());
    assert_eq!(
        json!(shown),
        json!(["INFO", "GET", "/api/v1/endpoints", "local", 200, "127.0.0.1"]),
        "whoever reads is in the log"
    );
    let is_told: Vec<_> = lines.iter().map(Option::is_some).collect();
    assert_eq!(is_told, [true, true, true, true, false, false, false, false, true], "{}", platform.process.stderr());

    let platform = Platform::start(&format!("{WATCHED}logging: {{access: changes}}\n"));
    asked(&platform, &reads).await;
    let is_told: Vec<_> =
        told(&platform, &["list", "head", "none", "secret", "last"]).iter().map(Option::is_some).collect();
    assert_eq!(is_told, [false, false, false, false, true], "{}", platform.process.stderr());
    let access = platform.get("/api/v1/config").await.expect(200).json()["settings"]["logging.access"].clone();
    assert_eq!((&access["value"], &access["source"]), (&json!("changes"), &json!("file")), "{access}");
}

#[tokio::test]
async fn routes_without_a_body_refuse_one_that_says_something() {
    let platform = Platform::start(&format!("{WATCHED}channels: {{console: {{type: console}}}}\n"));
    let document = platform.get("/api/v1/openapi.json").await.json();
    let as_json = |method: &str, path: &str, body: &str| {
        platform.request(method, path).header("Content-Type", "application/json").body(body.to_owned())
    };
    let mut routes = Vec::new();
    for (template, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let is_page = template.starts_with("/acknowledge/");
            if ["post", "put", "patch"].contains(&method.as_str()) && operation["requestBody"].is_null() && !is_page {
                for status in ["400", "408", "413", "415"] {
                    assert!(operation["responses"][status].is_object(), "{method} {template}: {status}");
                }
                let name = if template.contains("/channels/") { "console" } else { "retention" };
                routes.push((method.to_uppercase(), template.replace("{id}", "1").replace("{name}", name)));
            }
        }
    }
    assert!(routes.len() >= 7, "{routes:?}");
    for (method, path) in &routes {
        for (body, pointer) in [("{bad", ""), ("{\"nonsense\": 1}", "/nonsense"), ("[]", ""), ("17", ""), ("{}{}", "")]
        {
            let refused = platform.ask(as_json(method, path, body)).await;
            assert_eq!(refused.status, 400, "{method} {path} {body}: {refused:?}");
            assert_eq!(refused.json()["errors"][0]["pointer"], pointer, "{method} {path} {body}");
        }
        let form = platform.request(method, path).header("Content-Type", "text/plain").body("{}");
        assert_eq!(platform.ask(form).await.status, 415, "{method} {path}");
        // The connection of a body that was not read is not used again.
        let long = as_json(method, path, &" ".repeat(1_100_000)).header("Connection", "close");
        assert_eq!(platform.ask(long).await.status, 413, "{method} {path}");
    }
    // Nothing of it was done.
    let endpoint = platform.get("/api/v1/endpoints/1").await.json();
    assert_eq!((&endpoint["is_active"], &endpoint["revision"]), (&json!(true), &json!(1)), "{endpoint}");
    assert_eq!(platform.get("/api/v1/collections").await.json()["collectionUris"], json!([]));
    assert_eq!(platform.get("/api/v1/tasks/retention").await.json()["running"], false);
    for body in ["", "{}", " null "] {
        platform.ask(as_json("POST", "/api/v1/endpoints/1/pause", body)).await.expect(200);
    }
    assert_eq!(platform.get("/api/v1/endpoints/1").await.json()["is_active"], false);
    platform.ask(platform.request("POST", "/api/v1/collections")).await.expect(201);
}

#[tokio::test]
async fn head_is_answered_as_get_without_the_body() {
    let platform = Platform::start(WATCHED);
    for path in ["/api/v1/endpoints", "/api/v1/swagger.json", "/api/v1/endpoints/1", "/api/v1/config"] {
        // Where what is seen moves on, the two are not asked at one moment.
        let (get, head) = loop {
            let before = platform.get(path).await.expect(200);
            let head = platform.ask(platform.request("HEAD", path)).await.expect(200);
            if platform.get(path).await.body == before.body {
                break (before, head);
            }
        };
        for name in ["etag", "cache-control", "content-type", "content-length", "last-modified"] {
            assert_eq!(head.header(name), get.header(name), "{path}: {name}");
        }
        assert!(head.body.is_empty(), "{path}");
    }
    let tag = platform.get("/api/v1/swagger.json").await.header("etag").to_owned();
    assert!(tag.starts_with("W/"), "{tag}");
    let again = platform.request("HEAD", "/api/v1/swagger.json").header("If-None-Match", &tag);
    let again = platform.ask(again).await.expect(304);
    assert_eq!((again.header("etag"), again.body.len()), (tag.as_str(), 0));
}

#[tokio::test]
async fn queries_that_are_no_text_or_not_known_are_refused_with_their_name() {
    let platform = Platform::start(WATCHED);
    for (query, name) in [
        ("endpoints?search=%ff", "search"),
        ("endpoints?limit=1&tag=a%C3", "tag"),
        ("audit?actor=%FF", "actor"),
        ("events?endpoint=%ff", "endpoint"),
        ("openapi.json?nonsense=1", "nonsense"),
        ("swagger.json?nonsense=1", "nonsense"),
        ("../../openapi.json?nonsense=1", "nonsense"),
    ] {
        let refused = platform.get(&format!("/api/v1/{query}")).await.expect(400).json();
        assert_eq!(refused["errors"][0]["parameter"], name, "{query}: {refused}");
        assert_eq!(refused["errors"][0]["code"], "InvalidParameter", "{query}: {refused}");
    }
    for path in ["/api/v1/endpoints?search=%00", "/api/v1/endpoints?search=%C3%A9", "/health?x=%ff", "/docs/?x=1"] {
        platform.get(path).await.expect(200);
    }
}

#[tokio::test]
async fn a_report_has_the_type_of_its_format_or_is_not_acceptable() {
    let platform = Platform::start(WATCHED);
    let report = async |format: &str, accept: &str| {
        let path = format!("/api/v1/stats/sla{format}");
        platform.ask(platform.request("GET", &path).header("Accept", accept)).await
    };
    for (format, accept, status) in [
        ("", "image/png", 406),
        ("", "text/html", 406),
        ("", "application/json", 200),
        ("?format=json", "text/*", 406),
        ("?format=csv", "application/json", 406),
        ("?format=csv", "text/csv", 200),
        ("?format=csv", "text/*", 200),
        ("?format=html", "text/csv, */*;q=0", 406),
        ("?format=html", "text/html,application/xhtml+xml,*/*;q=0.8", 200),
    ] {
        let answer = report(format, accept).await;
        assert_eq!(answer.status, status, "{format} {accept}");
        if status == 406 {
            assert_eq!(answer.header("content-type"), "application/problem+json", "{format} {accept}");
        }
    }
}
