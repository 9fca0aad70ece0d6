//! What is watched, as machines change it: whole replacement, many at once, and trying before keeping.

use serde_json::{Value, json};

use super::{Platform, until};
use crate::flows::target::{Answer, Target};

const ENDPOINTS: &str = "/api/v1/endpoints";

#[tokio::test]
async fn putting_an_endpoint_replaces_the_whole_and_takes_effect_at_the_next_slot() {
    let target = Target::answering(|_, _| Answer::Status(200));
    let platform = Platform::start("endpoints: []\n");
    let body = json!({
        "name": "a", "url": target.url("old"), "interval": 3600, "timeout": 3, "tags": ["t"], "headers": {"X-A": "1"}
    });
    let made = platform.send("POST", ENDPOINTS, &body).await.expect(201);
    let path = made.header("location").to_owned();
    until("it was checked", async || target.hits("old").len() == 1).await;
    for (wrong, pointer) in [
        (json!({"url": target.url("new")}), "/name"),
        (json!({"name": "a"}), "/url"),
        (json!({"name": "a", "url": "gopher://example.com"}), "/url"),
        (json!({"name": "a", "url": target.url("new"), "interval": "soon"}), "/interval"),
        (json!({"name": "a", "url": target.url("new"), "weight": 3}), "/weight"),
    ] {
        let problem = platform.send("PUT", &path, &wrong).await.expect(400).json();
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    assert_eq!(platform.get(&path).await.json()["settings"], body);
    let bare = json!({"name": "a", "url": target.url("new"), "interval": 1});
    let after = platform.send("PUT", &path, &bare).await.expect(200).json();
    assert_eq!((&after["settings"], &after["tags"], &after["headers"]), (&bare, &json!([]), &Value::Null));
    assert_eq!(after["timeout"], 1, "its default under the new interval");
    until("it is checked at the new place and pace", async || target.hits("new").len() > 3).await;
    assert_eq!(target.hits("old").len(), 1);
}

#[tokio::test]
async fn a_thousand_endpoints_are_made_by_one_request_and_one_more_is_too_many() {
    let platform = Platform::start("endpoints: []\n");
    let create = |number: usize| {
        let name = format!("endpoint {number}");
        let settings = json!({"name": name, "url": "http://127.0.0.1:9/", "interval": "1h", "is_active": usize::is_multiple_of(number, 500)});
        json!({"op": "create", "settings": settings})
    };
    let many: Vec<_> = (0..1001).map(create).collect();
    let path = "/api/v1/endpoints/bulk";
    platform.send("POST", path, &json!({"operations": many})).await.expect(400);
    assert_eq!(platform.get("/api/v1/stats/summary").await.json()["total_endpoints"], 0);

    let mut operations = many[..999].to_vec();
    operations.push(many[0].clone());
    let done = platform.send("POST", path, &json!({"operations": operations})).await.expect(200).json();
    assert_eq!((&done["total"], &done["succeeded"], &done["failed"]), (&json!(1000), &json!(999), &json!(1)));
    let results = done["results"].as_array().unwrap();
    assert!(results[..999].iter().all(|result| result["status"] == 201 && result["problem"].is_null()));
    assert_eq!(results[999]["status"], 409);
    assert_eq!(results[999]["problem"]["type"], "urn:api-monitor:problem:name-taken");
    let ids: Vec<_> = results[..999].iter().map(|result| result["id"].as_i64().unwrap()).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "made in their order");
    let summary = platform.get("/api/v1/stats/summary").await.json();
    assert_eq!((&summary["total_endpoints"], &summary["active_endpoints"]), (&json!(999), &json!(2)));

    let operations: Vec<_> = ids[..998].iter().map(|id| json!({"op": "delete", "id": id})).collect();
    let done = platform.send("POST", path, &json!({"operations": operations})).await.expect(200).json();
    assert_eq!(done["succeeded"], 998);
    let left = platform.get(ENDPOINTS).await.json();
    assert_eq!((&left["total"], &left["endpoints"][0]["name"]), (&json!(1), &json!("endpoint 998")));
}

#[tokio::test]
async fn a_definition_is_tried_against_a_target_and_nothing_is_kept() {
    let target = Target::answering(|path, _| Answer::Status(if path == "well" { 200 } else { 503 }));
    let platform = Platform::start("endpoints: []\n");
    let path = "/api/v1/endpoints/test";
    let body = json!({"name": "a", "url": target.url("well")});
    let tried = platform.send("POST", path, &body).await.expect(200).json();
    assert_eq!(
        (&tried["success"], &tried["status_code"], &tried["outcome"]),
        (&json!(true), &json!(200), &json!("up"))
    );
    assert!(tried["timings"]["total_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{tried}");
    // Of the same form as a check by hand, but of no endpoint.
    let kept = json!({"name": "kept", "url": target.url("kept"), "is_active": false});
    let made = platform.send("POST", ENDPOINTS, &kept).await.expect(201).json();
    let checked = platform.ask(platform.request("POST", &format!("{ENDPOINTS}/{}/check", made["id"]))).await;
    let fields = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(&tried), fields(&checked.expect(200).json()));
    assert_eq!((&tried["id"], &tried["endpoint_id"], &tried["stored"]), (&Value::Null, &Value::Null, &json!(false)));

    let failing = json!({"name": "a", "url": target.url("ill"), "retry": {"max_attempts": 5}});
    let tried = platform.send("POST", path, &failing).await.expect(200).json();
    assert_eq!((&tried["success"], &tried["failure_kind"]), (&json!(false), &json!("http_status")));
    assert_eq!((&tried["attempts"], target.hits("ill").len()), (&json!(1), 1));
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/", listener.local_addr().unwrap())
    };
    let tried = platform.send("POST", path, &json!({"name": "a", "url": gone})).await.expect(200).json();
    assert_eq!((&tried["outcome"], &tried["failure_kind"]), (&json!("down"), &json!("connect_refused")));

    platform.send("POST", path, &json!({"name": "a"})).await.expect(400);
    let summary = platform.get("/api/v1/stats/summary").await.json();
    assert_eq!(summary["total_endpoints"], 1);
    assert_eq!(platform.get("/api/v1/incidents").await.json()["total"], 0);
    platform.get("/api/v1/endpoints/by-key/a").await.expect(404);
}

#[tokio::test]
async fn a_trial_connects_only_where_the_outbound_policy_allows() {
    let target = Target::answering(|_, _| Answer::Status(200));
    let platform = Platform::start("endpoints: []\noutbound: {deny: [127.0.0.0/8]}\n");
    let path = "/api/v1/endpoints/test";
    let tried = platform.send("POST", path, &json!({"name": "a", "url": target.url("x")})).await.expect(200).json();
    assert_eq!((&tried["success"], &tried["failure_kind"]), (&json!(false), &json!("outbound_refused")), "{tried}");
    assert!(target.hits("x").is_empty());
    let problem = platform.send("POST", path, &json!({"name": "a", "url": "http://169.254.169.254/"})).await;
    assert_eq!(problem.expect(400).json()["errors"][0]["pointer"], "/url");
    let operations = json!([{"op": "create", "settings": {"name": "a", "url": "http://169.254.169.254/"}}]);
    let done = platform.send("POST", "/api/v1/endpoints/bulk", &json!({"operations": operations})).await;
    assert_eq!(done.expect(200).json()["results"][0]["status"], 400);
}
