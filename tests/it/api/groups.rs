//! Groups made through the API: what they hand down, and what becomes of their endpoints.

use std::time::Duration;

use api_monitor::clock::Clock;
use api_monitor::config::Directory;
use api_monitor::domain::check::CheckSpec;
use api_monitor::domain::endpoint::EndpointId;
use api_monitor::domain::incident::EndpointState;
use api_monitor::domain::outcome::Status;
use api_monitor::service;
use api_monitor::store::groups::{self, GroupContent};
use serde_json::{Value, json};

use crate::app::{Answer, TestApp};
use crate::database::{Kind, on_both_databases};

const GROUPS: &str = "/api/v1/groups";

async fn make(app: &TestApp, body: &Value) -> Value {
    let answer = app.post(GROUPS, body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()
}

async fn put(app: &TestApp, name: &str, body: &Value) -> Answer {
    app.call("PUT", &format!("{GROUPS}/{name}")).json(body).send().await
}

fn check(app: &TestApp, id: i64) -> CheckSpec {
    app.ctx.board.get(EndpointId(id)).unwrap().known.endpoint.check.clone()
}

async fn a_group_is_made_shown_changed_and_removed(kind: Kind) {
    let app = TestApp::on(kind).await;
    let body =
        json!({"name": "core team", "description": "the core", "interval": 30, "timeout": "2s", "tags": ["prod"]});
    let made = app.post(GROUPS, &body).await;
    assert_eq!((made.status.as_u16(), made.header("etag")), (201, "\"1\""));
    assert_eq!(made.header("location"), "/api/v1/groups/core%20team");
    let group = made.json();
    assert_eq!(app.get("/api/v1/groups/core%20team").await.json(), group);
    for (field, value) in [
        ("name", json!("core team")),
        ("description", json!("the core")),
        ("kind", Value::Null),
        ("status", json!("unknown")),
        ("endpoints", json!([])),
        ("interval", json!(30)),
        ("timeout", json!(2)),
        ("connect_timeout", Value::Null),
        ("origin", json!("api")),
        ("revision", json!(1)),
        ("created_at", json!("2026-03-01T12:00:01Z")),
        (
            "settings",
            json!({"name": "core team", "description": "the core", "interval": 30, "timeout": 2, "tags": ["prod"]}),
        ),
    ] {
        assert_eq!(group[field], value, "{field}");
    }
    assert_eq!(group["effective"]["method"], "GET");
    assert_eq!(group["effective"]["tags"], json!(["prod"]));
    assert!(group["effective"].get("url").is_none() && group["effective"].get("name").is_none(), "{group}");
    app.post(GROUPS, &body).await.problem(409, "name-taken");

    let patch = json!({"timeout": null, "retry": {"max_attempts": 1}});
    let team = "/api/v1/groups/core%20team";
    let call = app.call("PATCH", team).header("if-match", "\"1\"").json(&patch);
    let after = call.send().await;
    assert_eq!((after.status.as_u16(), after.header("etag")), (200, "\"2\""), "{after:?}");
    assert_eq!(after.json()["effective"]["retry"]["max_attempts"], 1);
    assert_eq!(after.json()["timeout"], 5);
    app.call("PATCH", team).header("if-match", "\"1\"").json(&patch).send().await.problem(412, "stale");
    let same = app.call("PATCH", team).json(&patch).send().await;
    assert_eq!(same.header("etag"), "\"2\"", "nothing changed");

    let replaced = put(&app, "core%20team", &json!({"name": "core team", "schedule": "*/5 * * * *"})).await;
    assert_eq!(replaced.status, 200, "{replaced:?}");
    let replaced = replaced.json();
    assert_eq!((&replaced["interval"], &replaced["schedule"]), (&Value::Null, &json!("*/5 * * * *")));
    assert_eq!(replaced["settings"], json!({"name": "core team", "schedule": "*/5 * * * *"}));
    assert_eq!(replaced["effective"]["tags"], json!([]));
    let list = app.get("/api/v1/groups?origin=api&sort=-status").await.json();
    assert_eq!((&list["total"], &list["limit"], &list["groups"][0]), (&json!(1), &json!(100), &replaced));

    app.call("DELETE", team).header("if-match", "\"2\"").send().await.problem(412, "stale");
    assert_eq!(app.call("DELETE", team).send().await.status, 204);
    app.get(team).await.problem(404, "not-found");
    app.call("DELETE", team).send().await.problem(404, "not-found");
    let rows: Vec<_> =
        app.audit().await.into_iter().filter(|row| row.result == "ok").map(|row| (row.action, row.subject)).collect();
    let row = |action: &str| (format!("group.{action}"), "group/core team".to_owned());
    assert_eq!(rows, ["create", "patch", "replace", "delete"].map(row));
}

async fn a_change_reaches_every_endpoint_that_inherits(kind: Kind) {
    let app = TestApp::on(kind).await;
    let endpoint = |name: &str, more: Value| {
        let mut body = json!({"name": name, "url": "https://example.com/", "group": "core"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    app.create(&endpoint("plain", json!({}))).await;
    app.create(&endpoint("own", json!({"interval": 300, "timeout": 1}))).await;
    app.create(&json!({"name": "elsewhere", "url": "https://example.com/"})).await;
    let implicit = app.get("/api/v1/groups/core").await;
    assert!(implicit.header("etag").starts_with("W/"), "it has no revision: {implicit:?}");
    let implicit = implicit.json();
    assert_eq!(
        (&implicit["origin"], &implicit["revision"], &implicit["interval"], &implicit["settings"]),
        (&json!("implicit"), &Value::Null, &json!(60), &json!({"name": "core"}))
    );
    assert_eq!((&implicit["endpoints"], &implicit["endpoint_ids"]), (&json!(["plain", "own"]), &json!([1, 2])));
    assert_eq!((&implicit["kind"], &implicit["status"]), (&json!("http"), &json!("pending")));
    let failing = EndpointState { failures: 1, ..EndpointState::pending(app.ctx.clock.now()) };
    let states = [(EndpointId(1), failing.clone()), (EndpointId(2), failing.clone())];
    api_monitor::store::states::upsert_many(app.ctx.store.writer(), &states).await.unwrap();
    app.ctx.board.update([EndpointId(1), EndpointId(2)], |_, live| live.state = failing.clone());

    app.clock.advance(Duration::from_mins(1));
    tokio::time::timeout(Duration::from_secs(5), app.ctx.scheduler.wait()).await.unwrap();
    let body = json!({"name": "core", "interval": 20, "timeout": 3, "headers": {"X-Team": "core"}, "tags": ["t"]});
    let answer = put(&app, "core", &body).await;
    assert_eq!(answer.status, 200, "what was implicit is declared: {answer:?}");
    tokio::time::timeout(Duration::from_secs(5), app.ctx.scheduler.wait()).await.unwrap();
    let shown = async |id: i64| app.get(&format!("/api/v1/endpoints/{id}")).await.json();
    let (plain, own, elsewhere) = (shown(1).await, shown(2).await, shown(3).await);
    assert_eq!((&plain["interval"], &plain["timeout"], &plain["tags"]), (&json!(20), &json!(3), &json!(["t"])));
    assert_eq!((&own["interval"], &own["timeout"], &own["tags"]), (&json!(300), &json!(1), &json!(["t"])));
    assert_eq!((&elsewhere["interval"], &elsewhere["tags"]), (&json!(60), &json!([])));
    assert_eq!(plain["revision"], 1, "its own settings are what they were");
    assert_eq!(check(&app, 2).headers["x-team"], "core");

    // The new schedule counts from now, where there is one; the counters where something else is checked.
    let stored = async |id| {
        let db = app.ctx.store.readers();
        let endpoint = api_monitor::store::endpoints::find(db, EndpointId(id)).await.unwrap().unwrap();
        (endpoint.scheduled_from, api_monitor::store::states::find(db, EndpointId(id)).await.unwrap().unwrap().failures)
    };
    let now = app.ctx.clock.now();
    for (id, from_now) in [(1, true), (2, false)] {
        let (scheduled_from, failures) = stored(id).await;
        assert_eq!((scheduled_from == now, failures), (from_now, 0), "{id}");
        let entry = app.ctx.board.get(EndpointId(id)).unwrap();
        assert_eq!((entry.known.scheduled_from, entry.live.state.failures), (scheduled_from, 0), "{id}");
    }
    app.ctx.board.update([EndpointId(2)], |_, live| live.state.status = Status::Down);
    let group = app.get("/api/v1/groups/core").await.json();
    assert_eq!(
        (&group["status"], &group["counts"]["down"], &group["counts"]["total"]),
        (&json!("down"), &json!(1), &json!(2))
    );

    // Without the group they have the defaults; the name goes on.
    assert_eq!(app.call("DELETE", "/api/v1/groups/core").send().await.status, 204);
    assert_eq!(shown(1).await["interval"], 60);
    assert!(check(&app, 2).headers.is_empty());
    assert_eq!(app.get("/api/v1/groups/core").await.json()["origin"], "implicit");
    app.call("DELETE", "/api/v1/groups/core").send().await.problem(409, "implicit-group");
}

#[tokio::test]
async fn what_does_not_suit_an_endpoint_is_refused_and_names_it() {
    let app = TestApp::start().await;
    app.create(&json!({"name": "slow", "url": "https://example.com/", "group": "core", "timeout": 10})).await;
    app.create(&json!({"name": "late", "url": "https://example.com/", "group": "core", "timeout": 20})).await;
    let body = json!({"name": "core", "interval": 15, "timeout": 2});
    let problem = put(&app, "core", &body).await.problem(400, "invalid-parameter");
    let errors = problem["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 1, "{problem}");
    assert!(errors[0]["detail"].as_str().unwrap().contains("`core/late`"), "{problem}");
    assert_eq!(errors[0]["pointer"], "/interval", "its own timeout is not the group's");
    let problem = app.post(GROUPS, &json!({"name": "core", "interval": 5})).await.problem(400, "invalid-parameter");
    assert_eq!(problem["errors"].as_array().unwrap().len(), 2, "{problem}");
    assert_eq!(problem["errors"][0]["pointer"], "/interval", "{problem}");
    assert_eq!(app.get("/api/v1/groups/core").await.json()["origin"], "implicit", "nothing was changed");

    // What it needs cannot be taken from it either.
    make(&app, &json!({"name": "hourly", "interval": 3600})).await;
    app.create(&json!({"name": "patient", "url": "https://example.com/", "group": "hourly", "timeout": 120})).await;
    let problem = app.call("DELETE", "/api/v1/groups/hourly").send().await.problem(400, "invalid-parameter");
    assert!(problem["errors"][0]["detail"].as_str().unwrap().contains("`hourly/patient`"), "{problem}");
    app.call("PATCH", "/api/v1/groups/hourly")
        .json(&json!({"interval": 60}))
        .send()
        .await
        .problem(400, "invalid-parameter");
    assert_eq!(check(&app, 3).timeout, Duration::from_secs(120));
}

#[tokio::test]
async fn every_mistake_of_a_group_is_told_with_its_place() {
    let app = TestApp::start().await;
    for (body, pointers) in [
        (json!({}), &["/name", "/interval"][..]),
        (json!({"name": ""}), &["/name", "/interval"]),
        (json!({"name": "a/b", "interval": 10}), &["/name"]),
        (json!({"name": " a", "interval": 10}), &["/name"]),
        (json!({"name": "..", "interval": 10}), &["/name"]),
        (json!({"name": "a"}), &["/interval"]),
        (json!({"name": "a", "interval": 0}), &["/interval"]),
        (json!({"name": "a", "interval": 2, "timeout": 3}), &["/timeout"]),
        (json!({"name": "a", "interval": 2, "schedule": "* * * * *"}), &["/schedule"]),
        (json!({"name": "a", "interval": 2, "url": "https://example.com", "group": "b"}), &["/url", "/group"]),
        (json!({"name": "a", "interval": 2, "notify": ["nobody"]}), &["/notify/0"]),
        (json!({"name": "a", "interval": 2, "tags": ["x\u{0}"]}), &["/tags/0"]),
        (json!({"name": "a", "interval": 2, "headers": {"Authorization": "***"}}), &["/headers/Authorization"]),
        (json!({"name": "a", "interval": "soon"}), &["/interval"]),
        (json!({"name": "a", "interval": 2, "nonsense": 1}), &["/nonsense"]),
        (json!({"name": "a", "interval": 2, "retry": {"max_attempts": 99}}), &["/retry/max_attempts"]),
    ] {
        let problem = app.post(GROUPS, &body).await.problem(400, "invalid-parameter");
        let told: Vec<_> =
            problem["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
        assert_eq!(told, pointers, "{body}");
    }
    put(&app, "a", &json!({"interval": 2})).await.problem(400, "invalid-parameter");
    put(&app, "a", &json!({"name": "b", "interval": 2})).await.problem(400, "invalid-parameter");
    assert_eq!(put(&app, "a", &json!({"name": "a", "interval": 2})).await.status, 201);
    let stale = app.call("PUT", "/api/v1/groups/new").header("if-match", "\"1\"");
    stale.json(&json!({"name": "new", "interval": 2})).send().await.problem(412, "stale");
    app.call("PATCH", "/api/v1/groups/a")
        .json(&json!({"interval": null}))
        .send()
        .await
        .problem(400, "invalid-parameter");
    app.call("PATCH", "/api/v1/groups/none").json(&json!({"interval": 3})).send().await.problem(404, "not-found");
    app.get("/api/v1/groups?nonsense=1").await.problem(400, "invalid-parameter");
    assert_eq!(app.get(GROUPS).await.json()["total"], 1);
}

#[tokio::test]
async fn a_configured_group_is_the_files() {
    let yaml = "api: {port: 0}\ngroups:\n  core:\n    interval: 30\n    description: ours\n";
    let app = TestApp::with_config(yaml).await;
    let group = app.get("/api/v1/groups/core").await.json();
    assert_eq!(
        (&group["origin"], &group["interval"], &group["description"]),
        (&json!("config"), &json!(30), &json!("ours"))
    );
    assert!(group["source"].as_str().unwrap().ends_with("config.yaml:3"), "{group}");
    let body = json!({"name": "core", "interval": 2});
    for (method, body) in [("PUT", Some(&body)), ("PATCH", Some(&body)), ("DELETE", None)] {
        let call = app.call(method, "/api/v1/groups/core");
        let call = if let Some(body) = body { call.json(body) } else { call };
        let problem = call.send().await.problem(409, "managed-by-config");
        assert!(problem["detail"].as_str().unwrap().contains("config.yaml:3"), "{problem}");
    }
    app.post(GROUPS, &body).await.problem(409, "name-taken");
    app.create(&json!({"name": "a", "url": "https://example.com", "group": "core"})).await;
    assert_eq!(app.get("/api/v1/endpoints/1").await.json()["interval"], 30);
}

#[tokio::test]
async fn secrets_of_a_group_are_written_and_never_read() {
    let app = TestApp::with_config("api: {port: 0}\ndefaults: {headers: {X-Deep: d33p}, redact: [X-Deep]}\n").await;
    let body = json!({
        "name": "core", "interval": 30, "redact": ["X-Own"],
        "headers": {"Authorization": "Bearer t0ken", "X-Own": "0wn", "Accept": "text/html"}
    });
    let assert_hidden = |text: &str| {
        for secret in ["t0ken", "0wn", "d33p", "s3cret"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    };
    let made = make(&app, &body).await;
    let hidden = json!({"Authorization": "***", "X-Own": "***", "Accept": "text/html"});
    assert_eq!(made["settings"]["headers"], hidden);
    app.create(&json!({"name": "a", "url": "https://example.com", "group": "core", "headers": {"X-Own": "s3cret"}}))
        .await;
    // Whatever an endpoint says, what it inherits stays hidden.
    app.create(&json!({"name": "b", "url": "https://example.com", "group": "core", "redact": []})).await;
    for path in [GROUPS, "/api/v1/groups/core", "/api/v1/endpoints", "/api/v1/endpoints/1", "/api/v1/endpoints/2"] {
        assert_hidden(&app.get(path).await.json().to_string());
    }

    let mut again = made["settings"].clone();
    again["interval"] = json!(40);
    assert_eq!(put(&app, "core", &again).await.status, 200);
    let headers = check(&app, 2).headers;
    assert_eq!((headers["authorization"].as_str(), headers["x-own"].as_str()), ("Bearer t0ken", "0wn"));

    // Neither its own values nor those of its endpoints become readable.
    again["redact"] = json!([]);
    assert_hidden(&put(&app, "core", &again).await.problem(400, "invalid-parameter").to_string());
    let bare = json!({"name": "core", "interval": 40});
    let problem = put(&app, "core", &bare).await.problem(400, "invalid-parameter");
    assert_hidden(&problem.to_string());
    assert!(problem["errors"][0]["detail"].as_str().unwrap().contains("`core/a`"), "{problem}");
    app.call("DELETE", "/api/v1/groups/core").send().await.problem(400, "invalid-parameter");
    app.call("DELETE", "/api/v1/endpoints/1").send().await;
    assert_eq!(put(&app, "core", &bare).await.status, 200);
    assert_hidden(&format!("{:?}", app.audit().await));
}

async fn groups_are_there_again_after_a_start_and_the_file_adopts_its_names(kind: Kind) {
    let app = TestApp::on(kind).await;
    make(&app, &json!({"name": "core", "interval": 30})).await;
    make(&app, &json!({"name": "edge", "interval": 600, "timeout": 200})).await;
    for (name, group) in [("a", "core"), ("b", "edge")] {
        app.create(&json!({"name": name, "url": "https://example.com", "group": group})).await;
    }
    let restarted = async |yaml: &str| {
        let again = app.reconfigured(yaml).await;
        let (ctx, now) = (&again.ctx, again.clock.now());
        service::sync::apply(&ctx.store, &ctx.config, now).await.unwrap();
        let listing = service::groups::listing(ctx.store.readers(), &ctx.config).await.unwrap();
        let board = service::rebuild::board(&ctx.store, &listing, now).await.unwrap();
        let intervals = [("core", "a"), ("edge", "b")].map(|(group, name)| {
            board.find_by_key(group, name).unwrap().known.endpoint.schedule.interval(now).as_secs()
        });
        (Directory::new(listing).get(), intervals)
    };
    let (listing, intervals) = restarted("api: {port: 0}\n").await;
    assert_eq!((listing.groups.len(), intervals), (2, [30, 600]));

    let (_, intervals) = restarted("api: {port: 0}\ndefaults: {interval: 45}\ngroups: {core: {interval: 90}}\n").await;
    assert_eq!(intervals, [90, 600]);
    let adopted: Vec<_> = app.audit().await.into_iter().filter(|row| row.action == "group.adopt").collect();
    assert_eq!((adopted.len(), adopted[0].subject.as_str()), (1, "group/core"));
    assert_eq!(adopted[0].before.as_ref().unwrap()["settings"]["interval"], 30);
    // It is the file's, and went with it.
    let (listing, intervals) = restarted("api: {port: 0}\n").await;
    assert_eq!((listing.groups.len(), intervals), (1, [60, 600]));
}

/// A setting that endpoints get is one that groups hand down.
#[tokio::test]
async fn a_group_has_every_setting_of_an_endpoint_but_its_own() {
    let app = TestApp::start().await;
    let keys = |schema: &str| {
        let properties = app.document["components"]["schemas"][schema]["properties"].as_object().unwrap();
        properties.keys().cloned().collect::<std::collections::BTreeSet<_>>()
    };
    let (endpoint, group) = (keys("EndpointSettings"), keys("GroupSettings"));
    assert_eq!(endpoint.difference(&group).collect::<Vec<_>>(), ["group", "url"]);
    assert!(group.is_subset(&endpoint));
    assert_eq!(app.document["components"]["schemas"]["GroupSettings"]["additionalProperties"], false);
}

async fn a_change_whose_answer_was_lost_is_followed(kind: Kind) {
    let app = TestApp::on(kind).await;
    let (db, now) = (app.ctx.store.writer(), app.clock.now());
    make(&app, &json!({"name": "core", "interval": 30})).await;
    let id = app.create(&json!({"name": "a", "url": "https://example.com", "group": "core"})).await;
    let id = EndpointId(id["id"].as_i64().unwrap());
    let interval = || app.ctx.board.get(id).unwrap().known.endpoint.schedule.interval(now).as_secs();
    let content = |interval: u64| GroupContent {
        description: "of the row".to_owned(),
        settings: serde_json::from_value(json!({ "interval": interval })).unwrap(),
    };
    // As if only the answer had been lost.
    groups::update(db, "core", &content(15), 1, now).await.unwrap();
    let body = json!({"name": "core", "interval": 60});
    put(&app, "core", &body).await.problem(412, "stale");
    let shown = app.get("/api/v1/groups/core").await.json();
    assert_eq!(
        (&shown["revision"], &shown["interval"], &shown["description"]),
        (&json!(2), &json!(15), &json!("of the row"))
    );
    assert_eq!(interval(), 15, "what endpoints inherit follows");
    assert_eq!(put(&app, "core", &body).await.status, 200);
    assert_eq!(interval(), 60);

    groups::insert(db, "lost", &content(20), now).await.unwrap();
    app.get("/api/v1/groups/lost").await.problem(404, "not-found");
    app.post(GROUPS, &json!({"name": "lost", "interval": 5})).await.problem(409, "name-taken");
    assert_eq!(app.get("/api/v1/groups/lost").await.json()["interval"], 20);
    assert_eq!(put(&app, "lost", &json!({"name": "lost", "interval": 5})).await.status, 200);

    groups::delete(db, "core").await.unwrap();
    put(&app, "core", &json!({"name": "core", "interval": 5})).await.problem(404, "not-found");
    assert_eq!(app.get("/api/v1/groups/core").await.json()["origin"], "implicit");
    assert_eq!(interval(), 60, "the built-in default");
    assert_eq!(put(&app, "core", &json!({"name": "core", "interval": 5})).await.status, 200);
    groups::delete(db, "core").await.unwrap();
    assert_eq!(app.call("DELETE", "/api/v1/groups/core").send().await.status, 204, "it is only remembered");
}

#[tokio::test]
async fn there_are_only_so_many_groups() {
    let app = TestApp::with_config("api: {port: 0}\ngroups: {filed: {interval: 30}}\n").await;
    app.create(&json!({"name": "a", "url": "https://example.com", "group": "implicit"})).await;
    let transaction = app.ctx.store.begin().await.unwrap();
    let settings = serde_json::from_value(json!({"interval": 30})).unwrap();
    let content = GroupContent { description: String::new(), settings };
    for number in 0..service::groups::MOST_MADE {
        groups::insert(&transaction, &format!("g{number}"), &content, app.clock.now()).await.unwrap();
    }
    transaction.commit().await.unwrap();
    let listing = service::groups::listing(app.ctx.store.readers(), &app.ctx.config).await.unwrap();
    app.ctx.directory.set(listing);
    let new = json!({"name": "more", "interval": 30});
    app.post(GROUPS, &new).await.problem(409, "too-many-groups");
    put(&app, "more", &new).await.problem(409, "too-many-groups");
    let patch = app.call("PATCH", "/api/v1/groups/implicit").json(&json!({"interval": 30})).send().await;
    patch.problem(409, "too-many-groups");
    assert_eq!(put(&app, "g7", &json!({"name": "g7", "interval": 45})).await.status, 200, "what is there changes");
    assert_eq!(app.call("DELETE", "/api/v1/groups/g8").send().await.status, 204);
    assert_eq!(app.post(GROUPS, &new).await.status, 201);
}

on_both_databases!(
    a_change_whose_answer_was_lost_is_followed,
    a_group_is_made_shown_changed_and_removed,
    a_change_reaches_every_endpoint_that_inherits,
    groups_are_there_again_after_a_start_and_the_file_adopts_its_names,
);
