//! Keys made through the API: shown once, recognised for ever, refused when they should be.

use std::time::Duration;

use api_monitor::clock::Clock;
use api_monitor::domain::api_key::KeyDigest;
use api_monitor::domain::role::Role;
use api_monitor::jobs::key_uses::KeyUses;
use api_monitor::store::api_keys::{self, ApiKeyUpdate, NewApiKey};
use api_monitor::store::audit::AuditEntry;
use serde_json::{Value, json};

use crate::app::TestApp;

const KEYS: &str = "/api/v1/api-keys";
const CONFIGURED: &str = "api: {port: 0, auth: {keys: [{name: boss, role: admin, key: key-of-boss-key-of-boss}, \
                          {name: old, role: viewer, key: key-of-old-key-of-old, expires_at: 2020-01-01}]}}\n";
const NOBODY: &str = "api: {port: 0, auth: {keys: [{name: tv, role: viewer, key: key-of-tv-key-of-tv}]}}\n";

async fn make(app: &TestApp, body: &Value) -> Value {
    let answer = app.post(KEYS, body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.header("location"), format!("{KEYS}/{}", answer.json()["id"].as_str().unwrap()));
    assert_eq!(answer.header("cache-control"), "no-store");
    answer.json()
}

/// What `GET /` answers to a key.
async fn status_with(app: &TestApp, key: &Value) -> u16 {
    app.call("GET", "/").header("x-api-key", key.as_str().unwrap()).send().await.status.as_u16()
}

async fn rows(app: &TestApp) -> Vec<AuditEntry> {
    app.audit().await.into_iter().filter(|row| row.action.starts_with("api_key.")).collect()
}

#[tokio::test]
async fn a_key_is_shown_once_and_then_only_recognised() {
    let app = TestApp::start().await;
    let made = make(&app, &json!({"name": "ci", "role": "operator", "expires_at": "2027-01-31"})).await;
    let key = made["key"].as_str().unwrap();
    assert_eq!(key.len(), 46, "am_ and 256 bits");
    assert!(key.strip_prefix("am_").unwrap().bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{key}");
    let expected = json!({
        "id": "key_1", "name": "ci", "role": "operator", "prefix": key[..9], "origin": "api", "source": null,
        "expires_at": "2027-02-01T00:00:00Z", "is_expired": false, "created_at": "2026-03-01T12:00:01Z",
        "created_by": "local", "updated_at": "2026-03-01T12:00:01Z", "revision": 1, "last_used_at": null,
        "last_used_from": null
    });
    let shown = app.get(&format!("{KEYS}/key_1")).await;
    assert_eq!(shown.json(), expected);
    assert_eq!(shown.header("etag"), "\"1\"");
    let list = app.get(KEYS).await.json();
    assert_eq!(list, json!({"api_keys": [expected], "total": 1, "limit": 100, "offset": 0}));
    let other = make(&app, &json!({"name": "other", "role": "viewer"})).await;
    assert_ne!(other["key"], made["key"]);

    assert_eq!(status_with(&app, &made["key"]).await, 200);
    let used = app.get(&format!("{KEYS}/key_1")).await.json();
    assert_eq!((&used["last_used_at"], &used["last_used_from"]), (&json!("2026-03-01T12:00:01Z"), &json!("127.0.0.1")));
    let told = format!("{:?} {list} {used}", app.audit().await);
    let stored = format!("{:?}", api_monitor::store::api_keys::list(app.ctx.store.readers()).await.unwrap());
    assert!(!told.contains(key) && !stored.contains(key), "{told} {stored}");
    let digest = api_monitor::domain::api_key::KeyDigest::of(key.as_bytes()).to_hex();
    assert!(!told.contains(&digest), "{told}");
}

#[tokio::test]
async fn keys_are_changed_and_removed_with_a_row_each() {
    let app = TestApp::start().await;
    let made = make(&app, &json!({"name": "ci", "role": "operator", "expires_at": "2026-04-01T00:00:00Z"})).await;
    let id = format!("{KEYS}/key_1");
    let patch = async |body: Value| app.call("PATCH", &id).json(&body).send().await;
    let answer = patch(json!({"role": "editor"})).await.json();
    assert_eq!((&answer["role"], &answer["name"], &answer["revision"]), (&json!("editor"), &json!("ci"), &json!(2)));
    assert_eq!(answer["expires_at"], "2026-04-01T00:00:00Z", "what is not in a patch stays");
    let new = json!({"name": "n", "url": "https://example.com"});
    let by_key = app.call("POST", "/api/v1/endpoints").header("x-api-key", made["key"].as_str().unwrap());
    assert_eq!(by_key.json(&new).send().await.status, 201, "a change counts at once");
    assert_eq!(patch(json!({"expires_at": null})).await.json()["expires_at"], json!(null));
    assert_eq!(patch(json!({"expires_at": null})).await.json()["revision"], 3, "nothing changed");
    let replaced = app.call("PUT", &id).header("if-match", "\"3\"").json(&json!({"name": "ops", "role": "viewer"}));
    let replaced = replaced.send().await;
    assert_eq!((replaced.header("etag"), replaced.json()["name"].as_str()), ("\"4\"", Some("ops")));
    for method in ["PUT", "PATCH", "DELETE"] {
        let stale = app.call(method, &id).header("if-match", "\"3\"").json(&json!({"name": "x", "role": "viewer"}));
        stale.send().await.problem(412, "stale");
    }
    assert_eq!(status_with(&app, &made["key"]).await, 200);
    assert_eq!(app.call("DELETE", &id).header("if-match", "\"4\"").send().await.status, 204);
    assert_eq!(status_with(&app, &made["key"]).await, 401);
    app.call("DELETE", &id).send().await.problem(404, "not-found");
    app.get(&id).await.problem(404, "not-found");
    assert_eq!(make(&app, &json!({"name": "ops", "role": "viewer"})).await["id"], "key_2", "an id is never used again");

    let rows = rows(&app).await;
    let told: Vec<_> = rows.iter().map(|row| (row.action.as_str(), row.subject.as_str(), row.actor.as_str())).collect();
    let of = |action, id| (action, id, "local");
    assert_eq!(
        told,
        [
            of("api_key.create", "api_key/key_1"),
            of("api_key.patch", "api_key/key_1"),
            of("api_key.patch", "api_key/key_1"),
            of("api_key.replace", "api_key/key_1"),
            of("api_key.delete", "api_key/key_1"),
            of("api_key.create", "api_key/key_2"),
        ]
    );
    let (before, after) = (rows[1].before.as_ref().unwrap(), rows[1].after.as_ref().unwrap());
    assert_eq!((&before["role"], &after["role"]), (&json!("operator"), &json!("editor")));
    assert!(rows[0].before.is_none() && rows[4].after.is_none() && rows[4].before.is_some());
    assert_eq!(after.as_object().unwrap().keys().collect::<Vec<_>>(), ["expires_at", "name", "prefix", "role"]);
}

#[tokio::test]
async fn bad_input_is_told_with_its_place() {
    let app = TestApp::with_config(CONFIGURED).await;
    let call = |method: &str, path: &str| app.call(method, path).header("x-api-key", "key-of-boss-key-of-boss");
    let good = json!({"name": "ci", "role": "viewer", "expires_at": "2026-03-01T13:00:00Z"});
    assert_eq!(call("POST", KEYS).json(&good).send().await.status, 201);
    let one = format!("{KEYS}/key_1");
    for (body, pointers) in [
        (json!({}), &["/name", "/role"][..]),
        (json!({"name": null, "role": null}), &["/name", "/role"]),
        (json!({"name": "", "role": "viewer"}), &["/name"]),
        (json!({"name": "local", "role": "viewer"}), &["/name"]),
        (json!({"name": "a/b", "role": "viewer", "expires_at": "2026-03-01"}), &["/name"]),
        (json!({"name": "a", "role": "root"}), &["/role"]),
        (json!({"name": "a", "role": "viewer", "expires_at": "soon"}), &["/expires_at"]),
        (json!({"name": "a", "role": "viewer", "expires_at": "2026-03-01T12:00:01Z"}), &["/expires_at"]),
        (json!({"name": "a", "role": "viewer", "expires_at": "2026-02-28"}), &["/expires_at"]),
        (json!({"name": "a", "role": "viewer", "key": "mine"}), &["/key"]),
        (json!({"name": "a", "role": "viewer", "created_by": "me"}), &["/created_by"]),
    ] {
        for (method, path) in [("POST", KEYS), ("PUT", one.as_str())] {
            let document = call(method, path).json(&body).send().await.problem(400, "invalid-parameter");
            let told: Vec<_> =
                document["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
            assert_eq!(told, pointers, "{method} {body}: {document}");
        }
    }
    for body in [json!({"name": null}), json!({"role": null}), json!({"role": "root"}), json!({"nonsense": null})] {
        call("PATCH", &one).json(&body).send().await.problem(400, "invalid-parameter");
    }
    call("PATCH", &one).json(&json!([])).send().await.problem(400, "invalid-parameter");
    for name in ["ci", "boss", "old"] {
        let body = json!({"name": name, "role": "viewer"});
        call("POST", KEYS).json(&body).send().await.problem(409, "name-taken");
    }
    call("PATCH", &one).json(&json!({"name": "boss"})).send().await.problem(409, "name-taken");
    for id in ["key_7", "7", "key_99999999999999999999", "config_nobody", "x", "%20"] {
        call("GET", &format!("{KEYS}/{id}")).send().await.problem(404, "not-found");
    }
    for query in ["?limit=0", "?role=root", "?origin=file", "?nonsense=1", "?sort=key"] {
        call("GET", &format!("{KEYS}{query}")).send().await.problem(400, "invalid-parameter");
    }
    // An expiry that has passed is no mistake while it is not changed.
    app.clock.advance(Duration::from_secs(7200));
    let renamed = call("PATCH", &one).json(&json!({"name": "gone"})).send().await.json();
    assert_eq!((&renamed["name"], &renamed["is_expired"]), (&json!("gone"), &json!(true)));
    call("PATCH", &one)
        .json(&json!({"expires_at": "2026-03-01T13:30:00Z"}))
        .send()
        .await
        .problem(400, "invalid-parameter");
}

#[tokio::test]
async fn configured_keys_are_listed_and_left_to_their_file() {
    let app = TestApp::with_config(CONFIGURED).await;
    let call = |method: &str, path: &str| app.call(method, path).header("x-api-key", "key-of-boss-key-of-boss");
    for name in ["a", "b", "c"] {
        call("POST", KEYS).json(&json!({"name": name, "role": "viewer"})).send().await;
    }
    let names = async |query: &str| {
        let list = call("GET", &format!("{KEYS}{query}")).send().await.json();
        let names: Vec<String> =
            list["api_keys"].as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap().to_owned()).collect();
        (names.join(" "), list["total"].as_u64().unwrap())
    };
    assert_eq!(names("").await, ("boss old a b c".to_owned(), 5));
    assert_eq!(names("?limit=2&offset=1").await, ("old a".to_owned(), 5));
    assert_eq!(names("?origin=config").await, ("boss old".to_owned(), 2));
    assert_eq!(names("?role=viewer&origin=api&limit=1").await, ("a".to_owned(), 3));
    let boss = call("GET", &format!("{KEYS}/config_boss")).send().await;
    let shown = boss.json();
    assert!(shown["source"].as_str().unwrap().contains("config.yaml:1"), "{shown}");
    for (field, value) in [
        ("id", json!("config_boss")),
        ("role", json!("admin")),
        ("origin", json!("config")),
        ("prefix", json!(null)),
        ("created_at", json!(null)),
        ("revision", json!(null)),
        ("last_used_at", json!("2026-03-01T12:00:01Z")),
    ] {
        assert_eq!(shown[field], value, "{field}");
    }
    assert_eq!(boss.header("etag"), "");
    assert_eq!(call("GET", &format!("{KEYS}/config_old")).send().await.json()["is_expired"], true);
    for (method, body) in [("PUT", json!({"name": "x", "role": "viewer"})), ("PATCH", json!({})), ("DELETE", json!({}))]
    {
        let answer = call(method, &format!("{KEYS}/config_old")).json(&body).send().await;
        let document = answer.problem(409, "managed-by-config");
        assert!(document["detail"].as_str().unwrap().starts_with("This key is managed by"), "{document}");
        assert!(document["detail"].as_str().unwrap().contains("config.yaml:1"), "{document}");
    }
    let expired = app.call("GET", "/").header("x-api-key", "key-of-old-key-of-old").send().await;
    let detail = expired.problem(401, "unauthorized")["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("`old` expired at 2020-01-02T00:00:00Z"), "{detail}");
    assert_eq!(app.audit().await.last().unwrap().actor, "old");
}

#[tokio::test]
async fn a_key_is_good_until_the_instant_it_expires() {
    let app = TestApp::start().await;
    let made = make(&app, &json!({"name": "short", "role": "viewer", "expires_at": "2026-03-01T12:00:11Z"})).await;
    app.clock.advance(Duration::from_micros(9_999_999));
    assert_eq!(status_with(&app, &made["key"]).await, 200);
    app.clock.advance(Duration::from_micros(1));
    assert_eq!(status_with(&app, &made["key"]).await, 401);
    // Longer again, by somebody who may.
    let patch = app.call("PATCH", &format!("{KEYS}/key_1")).json(&json!({"expires_at": "2026-03-02T00:00:00Z"}));
    assert_eq!(patch.send().await.status, 200);
    assert_eq!(status_with(&app, &made["key"]).await, 200);
}

#[tokio::test]
async fn keys_and_their_last_use_outlive_a_restart() {
    let app = TestApp::start().await;
    let one = make(&app, &json!({"name": "one", "role": "editor"})).await;
    let two = make(&app, &json!({"name": "two", "role": "viewer"})).await;
    assert_eq!(app.call("DELETE", &format!("{KEYS}/key_2")).send().await.status, 204);
    app.clock.advance(Duration::from_secs(30));
    assert_eq!(status_with(&app, &one["key"]).await, 200);
    let stored = async || api_monitor::store::api_keys::find(app.ctx.store.readers(), 1).await.unwrap().unwrap();
    assert_eq!(stored().await.last_use, None, "no request waits for it to be written");
    let job = KeyUses { store: app.ctx.store.clone(), keyring: app.ctx.keyring.clone() };
    job.step().await.unwrap();
    assert_eq!(stored().await.made.unwrap().revision, 1, "a use is no change");

    let again = app.reconfigured(NOBODY).await;
    assert_eq!(status_with(&again, &one["key"]).await, 200);
    assert_eq!(status_with(&again, &two["key"]).await, 401);
    let shown = again.ctx.keyring.list();
    assert_eq!(shown.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["tv", "one"]);
    let used = app.reconfigured("api: {port: 0}").await.get(&format!("{KEYS}/key_1")).await.json();
    assert_eq!((&used["last_used_at"], &used["last_used_from"]), (&json!("2026-03-01T12:00:31Z"), &json!("127.0.0.1")));
}

#[tokio::test]
async fn keys_are_told_apart_while_the_database_is_away() {
    let app = TestApp::start().await;
    let made = make(&app, &json!({"name": "ops", "role": "admin"})).await;
    app.ctx.store.close().await.unwrap();
    assert_eq!(status_with(&app, &made["key"]).await, 200);
    assert_eq!(status_with(&app, &json!("wrong")).await, 401);
    let as_admin = |method: &str| app.call(method, KEYS).header("x-api-key", made["key"].as_str().unwrap());
    assert_eq!(as_admin("GET").send().await.json()["total"], 1);
    as_admin("POST").json(&json!({"name": "x", "role": "viewer"})).send().await.problem(503, "unavailable");
    assert_eq!(app.ctx.keyring.list().len(), 1, "what is not written is not valid");
    let job = KeyUses { store: app.ctx.store.clone(), keyring: app.ctx.keyring.clone() };
    assert!(job.step().await.is_err());
    assert_eq!(app.ctx.keyring.take_news().len(), 1, "it is written when the database is back");
}

#[tokio::test]
async fn the_last_admin_stays_where_nothing_else_is_one() {
    let open = TestApp::start().await;
    let first = make(&open, &json!({"name": "first", "role": "admin"})).await;
    make(&open, &json!({"name": "expired", "role": "admin", "expires_at": "2026-03-01T12:00:02Z"})).await;
    open.clock.advance(Duration::from_secs(5));
    let app = open.reconfigured(NOBODY).await;
    let call = |method: &str, id: &str| {
        app.call(method, &format!("{KEYS}/{id}")).header("x-api-key", first["key"].as_str().unwrap())
    };
    for refused in [
        call("DELETE", "key_1"),
        call("PATCH", "key_1").json(&json!({"role": "editor"})),
        call("PUT", "key_1").json(&json!({"name": "first", "role": "viewer"})),
    ] {
        let document = refused.send().await.problem(409, "last-admin");
        assert!(document["detail"].as_str().unwrap().contains("`first` is the only key"), "{document}");
    }
    assert_eq!(call("PATCH", "key_1").json(&json!({"name": "1st"})).send().await.status, 200);
    assert_eq!(call("DELETE", "key_2").send().await.status, 204, "it had expired");
    let second = call("POST", "").json(&json!({"name": "second", "role": "admin"})).send().await;
    assert_eq!(second.status, 404, "no such path");
    let second = app.call("POST", KEYS).header("x-api-key", first["key"].as_str().unwrap());
    assert_eq!(second.json(&json!({"name": "second", "role": "admin"})).send().await.status, 201);
    assert_eq!(call("PATCH", "key_1").json(&json!({"role": "viewer"})).send().await.status, 200);

    // Without a configured key this machine is an administrator, and with one of that role it is one.
    let made = make(&open, &json!({"name": "only", "role": "admin"})).await;
    let path = format!("{KEYS}/{}", made["id"].as_str().unwrap());
    let boss = open.reconfigured(CONFIGURED).await;
    let by_boss = boss.call("PATCH", &path).header("x-api-key", "key-of-boss-key-of-boss");
    assert_eq!(by_boss.json(&json!({"role": "viewer"})).send().await.status, 200);
    let alone = TestApp::start().await;
    make(&alone, &json!({"name": "only", "role": "admin"})).await;
    assert_eq!(alone.call("DELETE", &format!("{KEYS}/key_1")).send().await.status, 204);
}

#[tokio::test]
async fn a_change_whose_answer_was_lost_is_followed() {
    let app = TestApp::start().await;
    let made = make(&app, &json!({"name": "ci", "role": "editor"})).await;
    make(&app, &json!({"name": "other", "role": "viewer"})).await;
    let (db, now) = (app.ctx.store.writer(), app.clock.now());
    let patch = async |id: &str, body: Value| app.call("PATCH", &format!("{KEYS}/{id}")).json(&body).send().await;
    let may_edit = async || {
        let call = app.call("POST", "/api/v1/endpoints").header("x-api-key", made["key"].as_str().unwrap());
        call.json(&json!({})).send().await.status != 403
    };
    // As if only the answer had been lost.
    let lowered = ApiKeyUpdate { name: "ci".to_owned(), role: Role::Viewer, expires_at: None, expected_revision: 1 };
    api_keys::update(db, 1, lowered.clone(), now).await.unwrap();
    assert!(may_edit().await, "nobody knows yet");
    patch("key_1", json!({"name": "ci2"})).await.problem(412, "stale");
    assert!(!may_edit().await, "a role that was lowered is");
    assert_eq!(patch("key_1", json!({"name": "ci2", "role": "editor"})).await.json()["revision"], 3);
    assert!(may_edit().await);

    let new = |name: &str| NewApiKey {
        name: name.to_owned(),
        role: Role::Viewer,
        digest: KeyDigest::of(name.as_bytes()),
        prefix: "am_lost12".to_owned(),
        expires_at: None,
        created_by: "local".to_owned(),
        now,
    };
    api_keys::insert(db, new("lost")).await.unwrap();
    app.post(KEYS, &json!({"name": "lost", "role": "viewer"})).await.problem(409, "name-taken");
    assert_eq!(app.get(&format!("{KEYS}/key_3")).await.json()["name"], "lost");
    api_keys::insert(db, new("found")).await.unwrap();
    patch("key_3", json!({"name": "found"})).await.problem(409, "name-taken");
    api_keys::delete(db, 3).await.unwrap();
    patch("key_3", json!({"name": "x"})).await.problem(404, "not-found");
    assert_eq!(app.get(KEYS).await.json()["total"], 3);

    // What a commit that failed may have done is looked for at once.
    app.fail_commits().await;
    let update = ApiKeyUpdate { name: "ci2".to_owned(), expected_revision: 3, ..lowered };
    api_keys::update(db, 1, update, now).await.unwrap();
    assert_eq!(patch("key_2", json!({"name": "new"})).await.status, 500);
    assert!(!may_edit().await);
    assert_eq!(app.get(&format!("{KEYS}/key_2")).await.json()["name"], "other");
}
