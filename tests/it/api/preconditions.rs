//! `If-Match` and `If-None-Match` on what PUT makes where it is not there.

use serde_json::json;

use crate::app::TestApp;
use crate::database::{Kind, on_both_databases};

const KEYED: [&str; 3] = ["/api/v1/endpoints/by-key/new", "/api/v1/endpoints/by-key/core/new", "/api/v1/groups/other"];

async fn what_is_demanded_of_a_resource_holds_or_nothing_is_done(kind: Kind) {
    let app = TestApp::on(kind).await;
    for path in KEYED {
        let body = |interval: u32| {
            if path.contains("groups") {
                json!({"name": "other", "interval": interval})
            } else {
                json!({"url": "https://example.com/", "interval": interval})
            }
        };
        let put = async |headers: &[(&'static str, &str)], interval: u32| {
            let call = app.call("PUT", path).json(&body(interval));
            headers.iter().fold(call, |call, (name, value)| call.header(name, value)).send().await
        };
        for demand in ["*", "\"1\""] {
            put(&[("if-match", demand)], 60).await.problem(412, "stale");
        }
        app.get(path).await.problem(404, "not-found");
        assert_eq!(put(&[("if-none-match", "*")], 60).await.status, 201, "{path}");
        let refused = put(&[("if-none-match", " * ")], 61).await.problem(412, "stale");
        assert_eq!(refused["detail"], "There is such a resource, and If-None-Match asks for none");
        assert_eq!(app.get(path).await.header("etag"), "\"1\"", "{path}");
        assert_eq!(put(&[("if-match", "*")], 61).await.header("etag"), "\"2\"");
        put(&[("if-match", "\"1\"")], 62).await.problem(412, "stale");
        assert_eq!(put(&[("if-match", "\"2\"")], 62).await.header("etag"), "\"3\"");
        for headers in [
            &[("if-none-match", "\"3\"")][..],
            &[("if-none-match", "W/\"abc\"")],
            &[("if-none-match", "*"), ("if-match", "*")],
        ] {
            let problem = put(headers, 63).await.problem(400, "invalid-parameter");
            assert_eq!(problem["errors"][0]["header"], "If-None-Match", "{problem}");
        }
        assert_eq!(app.get(path).await.header("etag"), "\"3\"");
    }
    // The group that nobody has declared is there all the same.
    let put = |header| {
        let call = app.call("PUT", "/api/v1/groups/core").header(header, "*");
        call.json(&json!({"name": "core", "interval": 60})).send()
    };
    put("if-none-match").await.problem(412, "stale");
    assert_eq!(put("if-match").await.status, 200);
}

#[tokio::test]
async fn the_description_has_what_can_be_demanded() {
    let app = TestApp::start().await;
    for path in ["/api/v1/endpoints/by-key/{group}/{name}", "/api/v1/endpoints/by-key/{name}", "/api/v1/groups/{name}"]
    {
        let parameters = app.document["paths"][path]["put"]["parameters"].as_array().unwrap();
        for name in ["If-Match", "If-None-Match"] {
            let found = parameters.iter().find(|parameter| parameter["name"] == name).unwrap();
            assert!(found["schema"]["pattern"].is_string(), "{found}");
        }
    }
}

on_both_databases!(what_is_demanded_of_a_resource_holds_or_nothing_is_done);
