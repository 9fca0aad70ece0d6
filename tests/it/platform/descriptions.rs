//! The descriptions of the API, and what a router's REST interface promises of every route.

use serde_json::Value;

use super::Platform;

const KEY: &str = "the-key-of-an-administrator";

fn with_a_key() -> Platform {
    Platform::start_with("api: {rate_limit: false, auth: {realm: night watch}}\n", &[("API_KEY", KEY)])
}

/// Every route of the description with a value for each parameter of its path, and its methods.
fn routes(document: &Value) -> Vec<(String, Vec<String>)> {
    let paths = document["paths"].as_object().unwrap();
    let filled = |path: &str| {
        let parts = path.split('/').map(|part| if part.starts_with('{') { "1" } else { part });
        parts.collect::<Vec<_>>().join("/")
    };
    let methods = |item: &Value| item.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
    paths.iter().map(|(path, item)| (filled(path), methods(item))).collect()
}

#[tokio::test]
async fn both_descriptions_are_served_with_a_date_and_revalidated() {
    let platform = with_a_key();
    for (path, version) in [("swagger.json", "2.0"), ("openapi.json", "3.1.0")] {
        let path = format!("/api/v1/{path}");
        // Without a key: whoever writes a client has to read it first.
        let answer = platform.get(&path).await.expect(200);
        assert_eq!(answer.header("content-type"), "application/json");
        let document = answer.json();
        let named = if version == "2.0" { &document["swagger"] } else { &document["openapi"] };
        assert_eq!(named, version);
        let (changed, tag) = (answer.header("last-modified"), answer.header("etag"));
        for (header, value, status) in [
            ("If-Modified-Since", changed, 304),
            ("If-Modified-Since", "Sat, 01 Jan 2000 00:00:00 GMT", 200),
            ("If-Modified-Since", "not a date", 200),
            ("If-None-Match", tag, 304),
            ("If-None-Match", "W/\"something-else\"", 200),
        ] {
            let again = platform.ask(platform.request("GET", &path).header(header, value)).await.expect(status);
            assert_eq!(again.body.is_empty(), status == 304, "{header}: {value}");
            assert_eq!(again.header("last-modified"), changed);
        }
        platform.send("POST", &path, &Value::Null).await.expect(405);
    }
}

#[tokio::test]
async fn every_route_answers_other_methods_with_405() {
    let platform = with_a_key();
    let document = platform.get("/api/v1/openapi.json").await.json();
    let mut asked = 0;
    for (path, methods) in routes(&document) {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            if methods.iter().any(|known| known == method) {
                continue;
            }
            let request = platform.request(method, &path).header("X-API-Key", KEY);
            let answer = platform.ask(request).await;
            assert_eq!(answer.status, 405, "{method} {path}");
            let allow = answer.header("allow");
            for known in &methods {
                assert!(allow.split(", ").any(|allowed| allowed == known), "{method} {path}: {allow}");
            }
            assert_eq!(answer.header("content-type"), "application/problem+json");
            asked += 1;
        }
    }
    assert!(asked > 80, "{asked}");
}

#[tokio::test]
async fn every_route_that_is_not_open_needs_a_key_and_names_the_realm() {
    let platform = with_a_key();
    let document = platform.get("/api/v1/openapi.json").await.json();
    let mut closed = 0;
    for (path, methods) in routes(&document) {
        let item = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .find(|(template, _)| {
                template.matches('/').count() == path.matches('/').count() && matches(template, &path)
            })
            .unwrap()
            .1;
        for method in methods {
            let security = &item[method.to_lowercase()]["security"];
            let is_open = security.as_array().unwrap().iter().any(|one| one.as_object().unwrap().is_empty());
            if is_open {
                continue;
            }
            let without = platform.request(&method, &path);
            let wrong = platform.request(&method, &path).header("Authorization", "Bearer the-key-of-nobody-at-all");
            for (request, key) in [(without, "without a key"), (wrong, "with a wrong one")] {
                let answer = platform.ask(request).await;
                assert_eq!(answer.status, 401, "{method} {path} {key}");
                assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"night watch\"", "{method} {path} {key}");
            }
            closed += 1;
        }
    }
    assert!(closed > 30, "{closed}");
}

fn matches(template: &str, path: &str) -> bool {
    template.split('/').zip(path.split('/')).all(|(part, given)| part == given || part.starts_with('{'))
}

#[tokio::test]
async fn unknown_parameters_are_invalid_and_lists_are_objects() {
    let platform = with_a_key();
    let get = async |path: &str| platform.ask(platform.request("GET", path).header("X-API-Key", KEY)).await;
    let document = platform.get("/api/v1/openapi.json").await.json();
    let mut lists = 0;
    for (path, methods) in routes(&document) {
        // A heartbeat counts whatever else its sender says.
        let is_pushed = path.starts_with("/api/v1/push/");
        let is_other = is_pushed || path.contains(".json") || path.ends_with("/events");
        let is_resource = path.starts_with("/api/v1/") && !is_other;
        if !is_resource || !methods.iter().any(|method| method == "GET") {
            continue;
        }
        let separator = if path.contains('?') { '&' } else { '?' };
        let refused = get(&format!("{path}{separator}nonsense=1")).await;
        assert_eq!(refused.status, 400, "{path}");
        let problem = refused.json();
        assert_eq!(problem["errors"][0]["code"], "InvalidParameter", "{path}: {problem}");
        assert_eq!(problem["errors"][0]["parameter"], "nonsense", "{path}: {problem}");
        let answer = get(&path).await;
        if answer.status == 200 && answer.header("content-type").starts_with("application/json") {
            let found = answer.json();
            assert!(found.is_object(), "{path}: {found}");
            lists += usize::from(found["total"].is_u64());
        }
    }
    assert!(lists > 5, "{lists}");
}

/// Answers that are of the moment at which they are given: each is another one.
const OF_THE_MOMENT: [&str; 5] =
    ["/health", "/api/v1/query_stats", "/api/v1/stats/sla", "/api/v1/stats/summary", "/api/v1/threads"];

/// Every list and document that whoever may only look can read.
#[tokio::test]
async fn every_answer_of_a_viewer_says_which_it_is_and_is_not_sent_again() {
    const VIEWER: &str = "the-key-of-a-viewer-on-the-wall";
    let yaml = format!("api: {{rate_limit: false, auth: {{keys: [{{name: wall, role: viewer, key: {VIEWER}}}]}}}}\n");
    let platform = Platform::start(&yaml);
    let get = async |path: &str, tag: Option<&str>| {
        let mut request = platform.request("GET", path).header("X-API-Key", VIEWER);
        if let Some(tag) = tag {
            request = request.header("If-None-Match", tag);
        }
        platform.ask(request).await
    };
    let document = platform.get("/api/v1/openapi.json").await.json();
    let (mut asked, mut wrong) = (0, Vec::new());
    for (path, item) in document["paths"].as_object().unwrap() {
        if path.contains('{') || item.get("get").is_none() || path.ends_with("/events") {
            continue;
        }
        let first = get(path, None).await;
        if first.status != 200 || first.header("content-type") != "application/json" {
            continue;
        }
        asked += 1;
        let tag = first.header("etag").to_owned();
        if !tag.starts_with("W/\"") {
            wrong.push(format!("{path} has the tag {tag:?}"));
            continue;
        }
        if OF_THE_MOMENT.contains(&path.as_str()) {
            let again = get(path, Some(&tag)).await.expect(200);
            assert_ne!(again.header("etag"), tag, "{path}: the same answer was sent again");
            continue;
        }
        let (mut is_again, mut tag) = (false, tag);
        // Measurements may change in between, but not each time.
        for _ in 0..200 {
            let again = get(path, Some(&tag)).await;
            if again.status == 304 {
                assert!(again.body.is_empty() && again.header("etag") == tag, "{path}: {again:?}");
                is_again = true;
                break;
            }
            assert_eq!(again.status, 200, "{path}");
            assert_ne!(again.header("etag"), tag, "{path}: the same answer was sent again");
            again.header("etag").clone_into(&mut tag);
        }
        if !is_again {
            wrong.push(format!("{path} is sent again each time"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(asked > 15, "{asked}");
}

#[tokio::test]
async fn answers_that_have_not_changed_are_not_sent_again() {
    let platform = Platform::start("endpoints: [{name: a, url: 'http://127.0.0.1:9/', is_active: false}]\n");
    let first = platform.get("/api/v1/endpoints").await.expect(200);
    assert_eq!(first.header("cache-control"), "private, no-cache");
    let tag = first.header("etag").to_owned();
    let again = platform.ask(platform.request("GET", "/api/v1/endpoints").header("If-None-Match", &tag)).await;
    assert_eq!((again.status.as_u16(), again.body.len(), again.header("etag")), (304, 0, tag.as_str()));

    platform
        .send(
            "POST",
            "/api/v1/endpoints",
            &serde_json::json!({"name": "b", "url": "http://127.0.0.1:9/", "is_active": false}),
        )
        .await
        .expect(201);
    let changed = platform.ask(platform.request("GET", "/api/v1/endpoints").header("If-None-Match", &tag)).await;
    assert_eq!(changed.status, 200);
    assert_ne!(changed.header("etag"), tag);
    assert_eq!(changed.json()["total"], 2);

    // A revision says nothing about what is seen of an endpoint, and what only administrators read is kept by nobody.
    let one = platform.get("/api/v1/endpoints/1").await.expect(200);
    let again =
        platform.ask(platform.request("GET", "/api/v1/endpoints/1").header("If-None-Match", one.header("etag"))).await;
    assert_eq!(again.status, 200);
    let config = platform.get("/api/v1/config").await.expect(200);
    assert_eq!((config.header("cache-control"), config.header("etag")), ("no-store", ""));
}
