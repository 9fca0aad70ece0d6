//! Many changes in one request.

use std::time::Duration;

use api_monitor::clock::Clock;
use api_monitor::domain::check::{CheckDetail, CheckResult, Timings, Trigger};
use api_monitor::domain::endpoint::EndpointId;
use api_monitor::domain::outcome::Outcome;
use api_monitor::jobs::purge::{Purge, Purged};
use api_monitor::store;
use serde_json::{Value, json};

use crate::app::TestApp;
use crate::database::{Database, Kind, on_both_databases};
use crate::postgres::{PostgresDatabase, shared};

const BULK: &str = "/api/v1/endpoints/bulk";
const TEST: &str = "/api/v1/endpoints/test";

fn settings(name: &str) -> Value {
    json!({"name": name, "url": "https://example.com/"})
}

async fn each_operation_has_its_own_result_in_their_order(kind: Kind) {
    let app = TestApp::on(kind).await;
    app.create(&settings("old")).await;
    app.create(&settings("tall")).await;
    let config = app.configured(settings("file"), "config.yaml:12").await;
    let key = |name: &str| json!({"name": name});
    let operations = json!([
        {"op": "create", "settings": settings("new")},
        {"op": "create", "settings": settings("new")},
        {"op": "create", "settings": {"name": "bad", "url": "ftp://example.com", "interval": 0}},
        {"op": "create", "settings": {"name": "worse", "url": "https://example.com", "retry": {"tries": 1}}},
        {"op": "update", "key": key("new"), "settings": {"interval": 90, "timeout": null}, "if_match": 1},
        {"op": "update", "key": key("new"), "settings": {"interval": 91}, "if_match": 1},
        {"op": "pause", "id": 1},
        {"op": "replace", "id": 1, "settings": settings("renamed")},
        {"op": "create", "settings": settings("old")},
        {"op": "replace", "key": {"group": "g", "name": "by key"}, "settings": {"url": "https://example.com/"}},
        {"op": "resume", "key": {"group": "g", "name": "by key"}},
        {"op": "delete", "id": 2},
        {"op": "delete", "id": 2},
        {"op": "pause", "id": config.0},
        {"op": "update", "id": config.0, "settings": {"interval": 5}},
        {"op": "update", "id": 99, "settings": {}},
        {"op": "delete", "key": key("nobody")},
        {"op": "create", "id": 3, "settings": settings("x")},
        {"op": "delete", "settings": {}},
        {"op": "update", "id": 1, "key": key("new"), "settings": {}},
        {"op": "update", "id": 1, "settings": []},
        {"op": "update", "id": 1},
    ]);
    let answer = app.post(BULK, &json!({"operations": operations})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = answer.json();
    let results = answer["results"].as_array().unwrap();
    let told: Vec<_> = results
        .iter()
        .map(|result| {
            let kind = result["problem"]["type"].as_str().map(|kind| kind.rsplit(':').next().unwrap());
            (result["status"].as_u64().unwrap(), result["id"].as_i64(), result["revision"].as_i64(), kind)
        })
        .collect();
    let invalid = Some("invalid-parameter");
    let expected = [
        (201, Some(4), Some(1), None),
        (409, None, None, Some("name-taken")),
        (400, None, None, invalid),
        (400, None, None, invalid),
        (200, Some(4), Some(2), None),
        (412, None, None, Some("stale")),
        (200, Some(1), Some(2), None),
        (200, Some(1), Some(3), None),
        (201, Some(5), Some(1), None),
        (201, Some(6), Some(1), None),
        (200, Some(6), Some(1), None),
        (204, Some(2), None, None),
        (404, Some(2), None, Some("not-found")),
        (200, Some(config.0), Some(2), None),
        (409, Some(config.0), None, Some("managed-by-config")),
        (404, Some(99), None, Some("not-found")),
        (404, None, None, Some("not-found")),
        (400, Some(3), None, invalid),
        (400, None, None, invalid),
        (400, Some(1), None, invalid),
        (400, Some(1), None, invalid),
        (400, Some(1), None, invalid),
    ];
    // The ids that a refused insertion would have taken differ between databases.
    assert_eq!(told, expected, "{answer}");
    assert_eq!((&answer["total"], &answer["succeeded"], &answer["failed"]), (&json!(22), &json!(9), &json!(13)));
    let pointers = |index: usize| -> Vec<_> {
        let errors = results[index]["problem"]["errors"].as_array().unwrap();
        errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(pointers(2), ["/operations/2/settings/interval", "/operations/2/settings/url"]);
    assert_eq!(pointers(3), ["/operations/3/settings/retry/tries"]);
    assert_eq!(pointers(18), ["/operations/18/id", "/operations/18/settings"]);

    // What the board shows is what is stored.
    let stored = api_monitor::store::endpoints::list_current(app.ctx.store.readers()).await.unwrap();
    let stored: Vec<_> = stored.into_iter().map(|s| (s.id, s.revision, s.settings, s.paused)).collect();
    let shown: Vec<_> = app.ctx.board.entries().into_iter().map(|entry| entry.known).collect();
    let shown: Vec<_> = shown.iter().map(|k| (k.id, k.revision, k.settings.clone(), k.paused)).collect();
    assert_eq!(shown, stored);
    for (key, id) in [("renamed", 1), ("old", 5), ("new", 4), ("g/by%20key", 6)] {
        assert_eq!(app.get(&format!("/api/v1/endpoints/by-key/{key}")).await.json()["id"], id, "{key}");
    }
    let actions: Vec<_> = app.audit().await.into_iter().skip(2).map(|row| row.action).collect();
    let expected = ["create", "patch", "pause", "replace", "create", "create", "delete", "pause"];
    assert_eq!(actions, expected.map(|verb| format!("endpoint.{verb}")));
}

#[tokio::test]
async fn a_request_of_another_form_is_refused_as_a_whole() {
    let app = TestApp::start().await;
    let create = json!({"op": "create", "settings": settings("a")});
    let many = vec![json!({"op": "pause", "id": 1}); 1001];
    for (body, pointer) in [
        (json!({"operations": [create, {"op": "destroy", "id": 1}]}), "/operations/1/op"),
        (json!({"operations": [create, {"op": "delete", "id": "1"}]}), "/operations/1/id"),
        (json!({"operations": [create, {"op": "delete", "ids": [1]}]}), "/operations/1/ids"),
        (
            json!({"operations": [create, {"op": "pause", "id": 1, "key": "x", "settings": [null]}]}),
            "/operations/1/key",
        ),
        (json!({"operations": [create, {"op": "pause", "key": ["g", "x"]}]}), "/operations/1/key"),
        (json!({"operations": [create, {"op": "pause", "key": {"name": 1}}]}), "/operations/1/key/name"),
        (json!({"operations": [create, ["delete", 1, null, null, null, true]]}), "/operations/1"),
        (json!({"operations": [create, {"id": 1}]}), "/operations/1"),
        (json!({"operations": create}), "/operations"),
        (json!({"operations": many}), "/operations"),
        (json!({"operation": []}), "/operation"),
        (json!({}), ""),
    ] {
        let problem = app.post(BULK, &body).await.problem(400, "invalid-parameter");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    assert_eq!(app.ctx.board.len(), 0);
    let none = app.post(BULK, &json!({"operations": []})).await.json();
    assert_eq!(none, json!({"results": [], "total": 0, "succeeded": 0, "failed": 0}));
    let long = json!({"operations": [{"op": "create", "settings": {"name": "x".repeat(1_100_000)}}]});
    app.post(BULK, &long).await.problem(413, "too-large");
}

async fn the_history_can_go_with_those_that_are_deleted(kind: Kind) {
    let app = TestApp::on(kind).await;
    let mut results = Vec::new();
    for (id, name) in [(1, "a"), (2, "b")] {
        app.create(&settings(name)).await;
        let at = app.ctx.clock.now();
        results.push(CheckResult {
            endpoint_id: EndpointId(id),
            scheduled_at: at,
            started_at: at,
            outcome: Outcome::Up,
            slots: 1,
            status_code: Some(200),
            timings: Timings::default(),
            attempts: 1,
            trigger: Trigger::Scheduled,
            in_maintenance: false,
        });
    }
    api_monitor::store::history::append(app.ctx.store.writer(), &results).await.unwrap();
    let operations = json!([{"op": "delete", "id": 1, "purge": true}, {"op": "delete", "id": 2}]);
    let answer = app.post(BULK, &json!({"operations": operations})).await.json();
    assert_eq!(answer["succeeded"], 2, "{answer}");
    let kept = async |id| store::history::count(app.ctx.store.readers(), EndpointId(id), None, None).await.unwrap();
    assert_eq!((kept(1).await, kept(2).await), (1, 1), "the answer does not wait for it");
    tokio::time::timeout(Duration::from_secs(5), app.ctx.purge.wait()).await.unwrap();
    let job = Purge { store: app.ctx.store.clone(), clock: app.clock.clone() };
    assert_eq!(job.step().await.unwrap(), Purged { rows: 1, endpoints: 0 });
    assert_eq!((kept(1).await, kept(2).await), (0, 1));
    let again = json!({"operations": [{"op": "delete", "id": 1, "purge": true}]});
    assert_eq!(app.post(BULK, &again).await.json()["results"][0]["status"], 404, "it is gone");

    // What was written late goes with the last of it.
    store::history::append(app.ctx.store.writer(), &results[..1]).await.unwrap();
    assert_eq!(job.step().await.unwrap(), Purged::default());
    app.clock.advance(Duration::from_hours(3));
    assert_eq!(job.step().await.unwrap(), Purged { rows: 1, endpoints: 1 });
    assert!(store::endpoints::find(app.ctx.store.readers(), EndpointId(1)).await.unwrap().is_none());
    // Also of what was archived before.
    assert_eq!(app.call("DELETE", "/api/v1/endpoints/2?purge=true").send().await.status, 204);
    app.clock.advance(Duration::from_hours(3));
    assert_eq!(job.step().await.unwrap(), Purged { rows: 1, endpoints: 1 });
}

async fn an_endpoint_that_is_being_removed_does_not_come_back(kind: Kind) {
    let app = TestApp::on(kind).await;
    app.create(&settings("a")).await;
    let id = app.configured(settings("file"), "config.yaml:12").await;
    let db = app.ctx.store.writer();
    for id in [EndpointId(1), id] {
        store::endpoints::archive(db, id, app.clock.now()).await.unwrap();
        app.ctx.board.remove(id);
    }
    let archived = async || store::endpoints::find_archived(db, "", "file").await.unwrap().map(|stored| stored.id);
    assert_eq!(archived().await, Some(id));
    assert_eq!(app.call("DELETE", &format!("/api/v1/endpoints/{id}?purge=true")).send().await.status, 204);
    assert_eq!(archived().await, None);
    let kept = store::endpoints::list_all(db).await.unwrap();
    assert_eq!(kept.iter().map(|endpoint| endpoint.id.0).collect::<Vec<_>>(), [1]);
}

#[tokio::test]
async fn what_takes_too_long_is_told_of_the_rest_alone() {
    let app = TestApp::start().await;
    let operations: Vec<_> =
        (0..401).map(|n| json!({"op": "create", "settings": settings(&format!("e{n}"))})).collect();
    let body = json!({"operations": operations});
    let (answered, ended) = tokio::sync::oneshot::channel::<()>();
    let request = async {
        let answer = app.post(BULK, &body).await;
        drop(answered);
        answer
    };
    // Behind the first two hundred, before the next.
    let hanging = async {
        while app.ctx.changes.try_lock().is_ok() {
            tokio::task::yield_now().await;
        }
        let _hangs = app.ctx.changes.lock().await;
        assert_eq!(app.ctx.board.len(), 200);
        tokio::time::pause();
        assert!(ended.await.is_err());
        tokio::time::resume();
    };
    let (answer, ()) = tokio::join!(request, hanging);
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = answer.json();
    assert_eq!((&answer["succeeded"], &answer["failed"]), (&json!(200), &json!(201)));
    let results = answer["results"].as_array().unwrap();
    assert!(results[..200].iter().all(|result| result["status"] == 201));
    for result in &results[200..] {
        assert_eq!(result["status"], 503, "{result}");
        let detail = result["problem"]["detail"].as_str().unwrap();
        assert!(detail.ends_with("nothing of this operation was done"), "{detail}");
    }
    assert_eq!(app.ctx.board.len(), 200);
}

/// A server that ends the session in the commit of a certain endpoint: whether that was made cannot be known.
#[tokio::test]
async fn what_the_database_did_not_confirm_may_have_been_done() {
    if !Kind::Postgres.is_here() {
        return;
    }
    let database = PostgresDatabase::migrated();
    let name = database.name().to_owned();
    let app = TestApp::in_database(Database::Postgres(database)).await;
    shared().unwrap().execute(
        &name,
        "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN \
         IF NEW.name = 'e250' THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN NULL; END $$; \
         CREATE CONSTRAINT TRIGGER cut AFTER INSERT ON endpoints DEFERRABLE INITIALLY DEFERRED \
         FOR EACH ROW EXECUTE FUNCTION cut()",
    );
    let mut operations: Vec<_> =
        (0..600).map(|n| json!({"op": "create", "settings": settings(&format!("e{n}"))})).collect();
    operations[300] = json!({"op": "pause", "id": 9_999});
    let answer = app.post(BULK, &json!({"operations": operations})).await.json();
    let results = answer["results"].as_array().unwrap();
    let told = |index: usize| results[index]["problem"]["detail"].as_str().unwrap_or("done");
    assert!(results[..200].iter().all(|result| result["status"] == 201), "{answer}");
    assert_eq!((&results[300]["status"], &results[250]["status"]), (&json!(404), &json!(503)));
    for index in [200, 299, 301, 399] {
        assert!(told(index).ends_with("this operation may have been done"), "{}", told(index));
    }
    for index in [400, 599] {
        assert!(told(index).ends_with("nothing of this operation was done"), "{}", told(index));
    }
    // Here it was not; so it can be made.
    assert_eq!(app.ctx.board.len(), 200);
}

#[tokio::test]
async fn a_definition_is_tried_and_not_kept() {
    let mut app = TestApp::start().await;
    let (_, empty) = tokio::sync::mpsc::channel(1);
    let mut trials = std::mem::replace(&mut app.trials, empty);
    let scheduler = async {
        let request = trials.recv().await.unwrap();
        assert_eq!((request.spec.url.as_str(), request.spec.timeout.as_secs()), ("https://example.com/", 5));
        let now = app.ctx.clock.now();
        let result = CheckResult {
            endpoint_id: EndpointId(0),
            scheduled_at: now,
            started_at: now,
            outcome: Outcome::Up,
            slots: 1,
            status_code: Some(200),
            timings: Timings { total_us: 1_500, ..Timings::default() },
            attempts: 1,
            trigger: Trigger::Manual,
            in_maintenance: false,
        };
        request.reply.send(Some((result, CheckDetail::default()))).unwrap();
    };
    let body = settings("a");
    let (answer, ()) = tokio::join!(app.post(TEST, &body), scheduler);
    assert_eq!(answer.status, 200, "{answer:?}");
    let tried = answer.json();
    assert_eq!((&tried["id"], &tried["endpoint_id"], &tried["stored"]), (&Value::Null, &Value::Null, &json!(false)));
    assert_eq!(
        (&tried["success"], &tried["response_time"], &tried["attempts"]),
        (&json!(true), &json!(0.0015), &json!(1))
    );
    assert_eq!(app.ctx.board.len(), 0);

    app.post(TEST, &json!({"name": "a"})).await.problem(400, "invalid-parameter");
    app.post(TEST, &json!({"name": "a", "url": "https://example.com", "x": 1})).await.problem(400, "invalid-parameter");
    app.post(&format!("{TEST}?endpoint=7"), &body).await.problem(400, "invalid-parameter");
    app.post(&format!("{TEST}?endpoint=x"), &body).await.problem(400, "invalid-parameter");
    let busy = async { trials.recv().await.unwrap().reply.send(None).unwrap() };
    let (answer, ()) = tokio::join!(app.post(TEST, &body), busy);
    answer.problem(503, "unavailable");
    drop(trials);
    app.post(TEST, &body).await.problem(503, "unavailable");
}

#[tokio::test]
async fn a_trial_gives_no_secret_away() {
    let yaml = "api: {port: 0, auth: {api_key: the-key-of-the-test, keys: [{name: op, role: operator, key: \
                key-of-op-key-of-op}]}}\ngroups:\n  core: {headers: {Authorization: Bearer t0ken}}\n";
    let mut app = TestApp::with_config(yaml).await;
    app.trials.close();
    let admin = |method: &str, path: &str| app.call(method, path).header("x-api-key", "the-key-of-the-test");
    let operator = |path: &str| app.call("POST", path).header("x-api-key", "key-of-op-key-of-op");
    let kept = json!({"name": "a", "url": "https://u:p@example.com/", "headers": {"Cookie": "c00kie"}});
    assert_eq!(admin("POST", "/api/v1/endpoints").json(&kept).send().await.status, 201);

    // Accepted means here that it is handed over to a scheduler that is not there.
    let hidden = json!({"name": "a", "url": "https://***@example.com/other", "headers": {"Cookie": "***"}});
    let of = format!("{TEST}?endpoint=1");
    admin("POST", &of).json(&hidden).send().await.problem(503, "unavailable");
    admin("POST", TEST).json(&hidden).send().await.problem(400, "invalid-parameter");
    let elsewhere = json!({"name": "a", "url": "https://elsewhere.example/", "headers": {"Cookie": "***"}});
    let problem = admin("POST", &of).json(&elsewhere).send().await.problem(400, "invalid-parameter");
    assert_eq!(problem["errors"][0]["pointer"], "/headers/Cookie", "{problem}");

    operator(TEST).json(&settings("b")).send().await.problem(503, "unavailable");
    operator(&of).json(&hidden).send().await.problem(403, "forbidden");
    let inherits = json!({"name": "b", "url": "https://elsewhere.example/", "group": "core"});
    operator(TEST).json(&inherits).send().await.problem(403, "forbidden");
    let mut own = inherits.clone();
    own["headers"] = json!({"authorization": "Bearer mine"});
    operator(TEST).json(&own).send().await.problem(503, "unavailable");
    admin("POST", TEST).json(&inherits).send().await.problem(503, "unavailable");
}

on_both_databases!(
    each_operation_has_its_own_result_in_their_order,
    the_history_can_go_with_those_that_are_deleted,
    an_endpoint_that_is_being_removed_does_not_come_back,
);
