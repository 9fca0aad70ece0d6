//! Channels as they are shown, and tried.

use std::net::Ipv4Addr;

use api_monitor::clock::Clock;
use api_monitor::domain::endpoint::Origin;
use api_monitor::store::outbox;
use api_monitor::telemetry::metrics::ChannelStatus;
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::telling::{down, record};
use crate::app::{Answer, TestApp};
use crate::attempts::{AttemptResult, record_attempt};

const ALL: &str = "
api: {port: 0}
channels:
  console: {type: console, default: false}
  mail:
    type: email
    smtp_host: mail.example.com
    smtp_user: sender
    smtp_password: SECRET-1
    from_addr: monitor@example.com
    to_addrs: [a@example.com, b@example.com]
    severity: critical
    fallback: [console]
  chat: {type: telegram, bot_token: '123456:SECRET-2', chat_id: '-100123', topic_id: 7}
  hook:
    type: webhook
    url: https://hooks.example.com/SECRET-3
    headers: {Authorization: Bearer SECRET-4}
    payload_template: '{\"key\": \"SECRET-5\", \"text\": \"{endpoint_name}\"}'
    secret: SECRET-6
  team: {type: slack, url: 'https://hooks.slack.com/services/SECRET-7'}
  off: {type: webhook, enabled: false, url: 'https://hooks.example.com/SECRET-8'}
";

#[tokio::test]
async fn channels_are_shown_without_secrets() {
    let app = TestApp::with_config(ALL).await;
    let list = app.get("/api/v1/channels").await.json();
    assert!(!list.to_string().contains("SECRET"), "{list}");
    let mut shown = list.clone();
    for channel in shown["channels"].as_array_mut().unwrap() {
        // The folder is another one each time.
        channel["source"] = channel["source"].as_str().unwrap().rsplit('/').next().into();
    }
    insta::assert_json_snapshot!("channels", shown);
    for channel in list["channels"].as_array().unwrap() {
        let name = channel["name"].as_str().unwrap();
        assert_eq!(&app.get(&format!("/api/v1/channels/{name}")).await.json(), channel);
    }
    let page = app.get("/api/v1/channels?limit=2&offset=5").await.json();
    assert_eq!((&page["total"], page["channels"].as_array().unwrap().len()), (&json!(6), 1));
    app.get("/api/v1/channels/none").await.problem(404, "not-found");
}

#[tokio::test]
async fn channels_and_health_tell_how_they_do() {
    let app = TestApp::with_config(ALL).await;
    app.create(&json!({"name": "a", "url": "https://example.com", "notify": ["hook", "team"]})).await;
    record(&app, &[down(&app, 1, 9), down(&app, 1, 8)]).await;
    let (db, now) = (app.ctx.store.writer(), app.clock.now());
    let given_up = outbox::pending(db, "team", 1).await.unwrap().remove(0);
    let dead = AttemptResult::Dead { error: "404".to_owned(), may_have_arrived: false };
    record_attempt(db, &given_up, &dead, now).await;
    let failing = ChannelStatus {
        failing_since: Some(now - TimeDelta::minutes(8)),
        last_error: Some("the connection was refused".to_owned()),
        last_attempt_at: Some(now),
    };
    app.ctx.metrics.set_channel("hook", failing);
    app.ctx.metrics.set_channel("mail", ChannelStatus { last_attempt_at: Some(now), ..ChannelStatus::default() });

    let of = async |name: &str| {
        let channel = app.get(&format!("/api/v1/channels/{name}")).await.json();
        ["status", "failing_since", "last_error", "last_attempt_at", "pending", "dead"].map(|key| channel[key].clone())
    };
    let at = json!("2026-03-01T12:00:01Z");
    assert_eq!(
        of("hook").await,
        [
            json!("failing"),
            json!("2026-03-01T11:52:01Z"),
            json!("the connection was refused"),
            at.clone(),
            json!(1),
            json!(0)
        ]
    );
    assert_eq!(of("mail").await, [json!("working"), Value::Null, Value::Null, at, json!(0), json!(0)]);
    assert_eq!(of("team").await, [json!("unused"), Value::Null, Value::Null, Value::Null, json!(0), json!(1)]);

    let health = async || {
        let report = app.get("/health").await.json();
        ["channels_failing", "deliveries_pending", "deliveries_dead"].map(|key| report[key].clone())
    };
    assert_eq!(health().await, [json!(["hook"]), json!(1), json!(1)]);
    app.ctx.store.close().await.unwrap();
    assert_eq!(health().await, [json!(["hook"]), Value::Null, Value::Null]);
    let [status, .., pending, dead] = of("hook").await;
    assert_eq!((status, pending, dead), (json!("failing"), Value::Null, Value::Null));
}

#[tokio::test]
async fn a_channel_is_tried_through_the_deliverer() {
    let mut app = TestApp::with_config(ALL).await;
    let (_, closed) = tokio::sync::mpsc::channel(1);
    let mut requests = std::mem::replace(&mut app.channel_tests, closed);
    for (reply, expected) in [
        (
            Some(Ok("200 OK".to_owned())),
            json!({"channel": "hook", "delivered": true, "answer": "200 OK", "error": null}),
        ),
        (
            Some(Err("the connection was refused".to_owned())),
            json!({"channel": "hook", "delivered": false, "answer": null, "error": "the connection was refused"}),
        ),
        (None, Value::Null),
    ] {
        let call = app.call("POST", "/api/v1/channels/hook/test").send();
        let deliverer = async {
            let request = requests.recv().await.unwrap();
            assert_eq!(request.channel, "hook");
            match reply {
                Some(reply) => request.reply.send(reply).unwrap(),
                None => drop(request.reply),
            }
        };
        let (answer, ()) = tokio::join!(call, deliverer);
        if expected.is_null() {
            answer.problem(503, "unavailable");
        } else {
            assert_eq!((answer.status.as_u16(), answer.json()), (200, expected));
        }
    }
    let audit: Vec<_> = app.audit().await.into_iter().map(|row| (row.action, row.subject, row.result)).collect();
    let row = |result: &str| ("channel.test".to_owned(), "channel/hook".to_owned(), result.to_owned());
    assert_eq!(audit, [row("ok"), row("failed")]);

    app.call("POST", "/api/v1/channels/none/test").send().await.problem(404, "not-found");
    let off = app.call("POST", "/api/v1/channels/off/test").send().await.problem(409, "channel-off");
    assert!(off["detail"].as_str().unwrap().contains("`off`"), "{off}");
    let stranger = app.call("POST", "/api/v1/channels/hook/test").from(Ipv4Addr::new(198, 51, 100, 7).into());
    stranger.send().await.problem(403, "forbidden");

    // One waits already.
    let waiting = app.call("POST", "/api/v1/channels/mail/test").send();
    let meanwhile = async {
        while requests.is_empty() {
            tokio::task::yield_now().await;
        }
        app.call("POST", "/api/v1/channels/hook/test").send().await.problem(503, "unavailable");
        requests.close();
        requests.recv().await.unwrap().reply.send(Ok("250 queued".to_owned())).unwrap();
    };
    let (answer, ()) = tokio::join!(waiting, meanwhile);
    assert_eq!(answer.json()["answer"], "250 queued");
    app.call("POST", "/api/v1/channels/hook/test").send().await.problem(503, "unavailable");
}

#[tokio::test]
async fn endpoints_name_only_channels_that_there_are() {
    let app = TestApp::with_config(ALL).await;
    let made = app
        .create(&json!({
            "name": "a", "url": "https://example.com", "notify": ["hook"], "severity": "info",
            "runbook": "https://wiki.example.com/a", "alert_policy": {"reminder": false, "cooldown_seconds": 60}
        }))
        .await;
    let effective = &made["effective"];
    assert_eq!(
        (&effective["notify"], &effective["severity"], &effective["runbook"]),
        (&json!(["hook"]), &json!("info"), &json!("https://wiki.example.com/a"))
    );
    assert_eq!(effective["alert_policy"]["reminder"], json!(false));
    assert_eq!(made["settings"]["alert_policy"]["reminder"], json!(false));
    let wrong = json!({"name": "b", "url": "https://example.com", "notify": ["hook", "hok"]});
    let problem = app.post("/api/v1/endpoints", &wrong).await.problem(400, "invalid-parameter");
    assert_eq!(problem["errors"][0]["pointer"], "/notify/1", "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("hook"), "{problem}");
}

const CHANNELS: &str = "/api/v1/channels";

fn hook() -> Value {
    json!({
        "name": "ops", "type": "webhook", "url": "https://u:SECRET-1@hooks.example.com/SECRET-2", "default": false,
        "headers": {"Authorization": "Bearer SECRET-3", "X-Team": "SECRET-4"}, "secret": "SECRET-5", "timeout": "2500ms",
        "payload_template": "{\"key\": \"SECRET-6\"}", "severity": "warning", "fallback": ["console"]
    })
}

/// Makes a channel and returns it as shown.
async fn make(app: &TestApp, body: &Value) -> Value {
    let answer = app.post(CHANNELS, body).await;
    assert_eq!(answer.status, 201, "{}", answer.json());
    assert_eq!(answer.header("etag"), "\"1\"");
    assert_eq!(app.get(answer.header("location")).await.json(), answer.json());
    answer.json()
}

async fn sent(app: &TestApp, method: &str, name: &str, body: &Value) -> Answer {
    app.call(method, &format!("{CHANNELS}/{name}")).json(body).send().await
}

fn pointers(problem: &Value) -> Vec<(&str, &str)> {
    let errors = problem["errors"].as_array().unwrap();
    errors.iter().map(|error| (error["pointer"].as_str().unwrap(), error["rule"].as_str().unwrap())).collect()
}

/// The audit log of channels: action, subject, settings before and after.
async fn rows(app: &TestApp) -> Vec<(String, String, Value, Value)> {
    let rows = app.audit().await.into_iter().filter(|row| row.action.starts_with("channel."));
    rows.map(|row| (row.action, row.subject, row.before.unwrap_or_default(), row.after.unwrap_or_default())).collect()
}

#[tokio::test]
async fn a_channel_is_made_changed_and_deleted() {
    let app = TestApp::with_config(ALL).await;
    let made = make(&app, &hook()).await;
    insta::assert_json_snapshot!("made_channel", made);
    let list = app.get(CHANNELS).await.json();
    assert_eq!((&list["total"], &list["channels"][6]), (&json!(7), &made), "after those of the configuration");
    let made_here = app.get(&format!("{CHANNELS}?origin=api")).await.json();
    assert_eq!((&made_here["total"], &made_here["channels"][0]["name"]), (&json!(1), &json!("ops")));
    // Endpoints name it from now on.
    app.create(&json!({"name": "a", "url": "https://example.com", "notify": ["ops"]})).await;
    assert_eq!(app.ctx.directory.get().channel("ops").unwrap().origin, Origin::Api);

    let patched = sent(&app, "PATCH", "ops", &json!({"timeout": null, "severity": "critical", "enabled": false})).await;
    let shown = patched.json();
    assert_eq!((patched.header("etag"), &shown["options"]["timeout"]), ("\"2\"", &json!(10.0)), "{shown}");
    assert_eq!(
        (&shown["enabled"], &shown["severity"], &shown["default"]),
        (&json!(false), &json!("critical"), &json!(false))
    );
    sent(&app, "POST", "ops/test", &json!({})).await.problem(409, "channel-off");
    assert_eq!(sent(&app, "PATCH", "ops", &json!({"enabled": false})).await.json()["revision"], 2, "nothing changed");
    let stale = app.call("PUT", "/api/v1/channels/ops").header("if-match", "\"1\"").json(&json!({"type": "console"}));
    stale.send().await.problem(412, "stale");
    let replaced = app.call("PUT", "/api/v1/channels/ops").header("if-match", "\"2\"");
    let replaced = replaced.json(&json!({"name": "ops", "type": "slack", "url": "https://hooks.example.com/new"}));
    let shown = replaced.send().await.json();
    assert_eq!(
        (&shown["type"], &shown["enabled"], &shown["revision"]),
        (&json!("slack"), &json!(true), &json!(3)),
        "{shown}"
    );
    assert_eq!(shown["settings"], json!({"type": "slack", "url": "***"}));

    let endpoint = json!({"notify": null});
    assert_eq!(app.call("PATCH", "/api/v1/endpoints/1").json(&endpoint).send().await.status, 200);
    assert_eq!(sent(&app, "DELETE", "ops", &json!({})).await.status, 204);
    app.get("/api/v1/channels/ops").await.problem(404, "not-found");
    for method in ["PUT", "PATCH", "DELETE"] {
        sent(&app, method, "ops", &json!({"type": "console"})).await.problem(404, "not-found");
    }
    let wrong = json!({"name": "b", "url": "https://example.com", "notify": ["ops"]});
    app.post("/api/v1/endpoints", &wrong).await.problem(400, "invalid-parameter");
    let actions: Vec<_> = rows(&app).await.into_iter().map(|(action, subject, ..)| (action, subject)).collect();
    let row = |action: &str| (format!("channel.{action}"), "channel/ops".to_owned());
    assert_eq!(actions, ["create", "patch", "replace", "delete"].map(row));
    make(&app, &hook()).await;
}

#[tokio::test]
async fn mistakes_of_a_channel_are_told_with_their_places() {
    let app = TestApp::with_config(ALL).await;
    let refused = async |body: Value| app.post(CHANNELS, &body).await.problem(400, "invalid-parameter");
    assert_eq!(pointers(&refused(json!({})).await), [("/name", "required"), ("/type", "required")]);
    assert_eq!(pointers(&refused(json!({"name": 5, "type": "console"})).await), [("/name", "invalid")]);
    for name in ["", "a/b", "a,b", "..", " a", "a\nb", &"x".repeat(101)] {
        assert_eq!(pointers(&refused(json!({"name": name, "type": "console"})).await), [("/name", "invalid")]);
    }
    let problem = refused(json!({"name": "n", "type": "webhook", "ulr": "x", "retry_count": "3", "fallback": ["hok"],
        "headers": {"A": 1, "B": "***"}, "secret": "***"}))
    .await;
    assert_eq!(
        pointers(&problem),
        [
            ("/secret", "invalid"),
            ("/headers/B", "invalid"),
            ("/headers/A", "invalid"),
            ("/retry_count", "invalid"),
            ("/ulr", "unknown"),
            ("/fallback/0", "invalid"),
        ],
        "{problem}"
    );
    assert!(problem["errors"][4]["detail"].as_str().unwrap().ends_with("did you mean url ?"), "{problem}");
    assert!(problem["errors"][5]["detail"].as_str().unwrap().contains("did you mean hook ?"), "{problem}");
    let built = refused(json!({"name": "n", "type": "email", "smtp_host": "localhost", "from_addr": "a@example.com",
        "to_addrs": "b@example.com", "ca_file": "/nowhere/ca.pem"}))
    .await;
    assert_eq!(pointers(&built), [("/ca_file", "invalid")], "{built}");
    for body in ["[]", "null", "{", "{\"name\": \"\\ud800\"}"] {
        let call = app.call("POST", CHANNELS).header("content-type", "application/json").body(body);
        call.send().await.problem(400, "invalid-parameter");
    }

    make(&app, &hook()).await;
    let patched = async |body: Value| sent(&app, "PATCH", "ops", &body).await.problem(400, "invalid-parameter");
    assert_eq!(pointers(&patched(json!({"nonsense": null})).await), [("/nonsense", "unknown")]);
    assert_eq!(pointers(&patched(json!({"type": null})).await), [("/type", "required")]);
    assert_eq!(
        pointers(&patched(json!({"name": "other", "url": null})).await),
        [("/name", "conflict"), ("/url", "required")]
    );
    assert_eq!(pointers(&patched(json!({"headers": {"x-team": 1}})).await), [("/headers/X-Team", "invalid")]);
    // What belongs to the old type goes with it.
    let as_slack = json!({"type": "slack", "headers": null, "secret": null, "timeout": null, "payload_template": null});
    assert_eq!(sent(&app, "PATCH", "ops", &as_slack).await.json()["type"], "slack");
    assert_eq!(rows(&app).await.len(), 2, "what was refused changed nothing");

    app.post(CHANNELS, &hook()).await.problem(409, "name-taken");
    app.post(CHANNELS, &json!({"name": "mail", "type": "console"})).await.problem(409, "name-taken");
}

#[tokio::test]
async fn secrets_of_a_channel_are_written_and_never_read() {
    let app = TestApp::with_config(ALL).await;
    let made = make(&app, &hook()).await;
    let stored = async || app.ctx.directory.get().made_channel("ops").unwrap().settings.clone();
    let before = stored().await;
    let replaced = sent(&app, "PUT", "ops", &made["settings"]).await.json();
    assert_eq!((&replaced["revision"], stored().await), (&json!(1), before.clone()), "nothing changed");
    let mut shorter = made["settings"].clone();
    shorter["headers"] = json!({"x-team": "***"});
    sent(&app, "PUT", "ops", &shorter).await;
    assert_eq!(stored().await["headers"], json!({"x-team": "SECRET-4"}));
    sent(&app, "PATCH", "ops", &json!({"url": "https://***@hooks.example.com/SECRET-7", "method": "PUT"})).await;
    assert_eq!(stored().await["url"], "https://u:SECRET-1@hooks.example.com/SECRET-7");

    let elsewhere = json!({"url": "https://elsewhere.example.com/", "payload_template": "SECRET-8"});
    let problem = sent(&app, "PATCH", "ops", &elsewhere).await.problem(400, "invalid-parameter");
    assert_eq!(pointers(&problem), [("/headers/x-team", "conflict")], "{problem}");
    let written =
        json!({"url": "https://elsewhere.example.com/", "payload_template": null, "headers": {"X-Team": "SECRET-9"}});
    assert_eq!(sent(&app, "PATCH", "ops", &written).await.status, 200);

    let stored = format!("{:?}", api_monitor::store::channels::list(app.ctx.store.readers()).await.unwrap());
    let told = format!(
        "{made} {replaced} {problem} {} {:?} {:?} {stored}",
        app.get(CHANNELS).await.json(),
        app.audit().await,
        app.ctx.directory.get().made_channel("ops"),
    );
    assert!(!told.contains("SECRET"), "{told}");
}

#[tokio::test]
async fn configured_channels_are_the_configurations() {
    let app = TestApp::with_config(ALL).await;
    for (method, body) in
        [("PUT", json!({"type": "console"})), ("PATCH", json!({"enabled": false})), ("DELETE", json!({}))]
    {
        let problem = sent(&app, method, "mail", &body).await.problem(409, "managed-by-config");
        assert!(problem["detail"].as_str().unwrap().contains("config.yaml:5"), "{problem}");
    }
    assert!(rows(&app).await.is_empty());
    let shown = app.get("/api/v1/channels/mail").await;
    assert!(shown.json()["source"].as_str().unwrap().ends_with("config.yaml:5"), "{shown:?}");
    assert!(shown.header("etag").starts_with("W/"), "it has no revision: {shown:?}");
    assert_eq!(shown.json()["settings"], Value::Null);

    // A restart, after which the file has one of the two names.
    make(&app, &hook()).await;
    make(&app, &json!({"name": "kept", "type": "console", "fallback": ["ops"]})).await;
    let other = app.reconfigured("api: {port: 0}\nchannels: {ops: {type: console}}\n").await;
    let list = other.get(CHANNELS).await.json();
    let shown = list["channels"].as_array().unwrap();
    let shown: Vec<_> = shown.iter().map(|c| (&c["name"], &c["type"], &c["origin"])).collect();
    assert_eq!(
        shown,
        [(&json!("ops"), &json!("console"), &json!("config")), (&json!("kept"), &json!("console"), &json!("api"))]
    );
    let (action, subject, before, _) = rows(&other).await.pop().unwrap();
    assert_eq!((action.as_str(), subject.as_str(), &before["url"]), ("channel.adopt", "channel/ops", &json!("***")));
    // And when the file no longer has it, it is gone.
    let third = other.reconfigured("api: {port: 0}\n").await;
    assert_eq!(third.get(CHANNELS).await.json()["total"], 1);
}

#[tokio::test]
async fn a_channel_that_is_named_goes_only_by_force() {
    let app = TestApp::with_config(ALL).await;
    make(&app, &hook()).await;
    make(&app, &json!({"name": "other", "type": "console", "fallback": ["ops"]})).await;
    app.create(&json!({"name": "a", "group": "core", "url": "https://example.com", "notify": ["ops"]})).await;
    let problem = sent(&app, "DELETE", "ops", &json!({})).await.problem(409, "channel-in-use");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("the fallback of the channel `other`, the endpoint `core/a`"), "{detail}");
    let call = app.call("DELETE", "/api/v1/channels/ops?force=yes");
    call.send().await.problem(400, "invalid-parameter");
    assert_eq!(app.call("DELETE", "/api/v1/channels/ops?force=true").send().await.status, 204);
    // The endpoint falls back to the default route.
    record(&app, &[down(&app, 1, 9), down(&app, 1, 8)]).await;
    let told = app.get("/api/v1/notifications").await.json();
    let deliveries = told["notifications"][0]["deliveries"].as_array().unwrap();
    let channels: Vec<_> = deliveries.iter().map(|delivery| delivery["channel"].as_str().unwrap()).collect();
    assert_eq!(channels, ["mail", "chat", "hook", "team", "other"], "{told}");
}

#[tokio::test]
async fn what_names_a_channel_that_has_gone_can_still_be_changed() {
    let app = TestApp::with_config(ALL).await;
    make(&app, &hook()).await;
    let group = json!({"name": "g", "interval": 60, "notify": ["ops"]});
    assert_eq!(app.post("/api/v1/groups", &group).await.status, 201);
    app.create(&json!({"name": "own", "url": "https://example.com", "notify": ["hook", "ops"]})).await;
    app.create(&json!({"name": "inherits", "url": "https://example.com", "group": "g"})).await;
    let configured = json!({"name": "configured", "url": "https://example.com", "group": "g"});
    app.configured(configured, "config.yaml:12").await;
    assert_eq!(app.call("DELETE", "/api/v1/channels/ops?force=true").send().await.status, 204);

    for id in 1..=3 {
        for (verb, active) in [("pause", false), ("resume", true)] {
            let answer = app.post(&format!("/api/v1/endpoints/{id}/{verb}"), &Value::Null).await;
            assert_eq!((answer.status.as_u16(), &answer.json()["is_active"]), (200, &json!(active)), "{answer:?}");
        }
        let pause = json!({"operations": [{"op": "pause", "id": id}, {"op": "resume", "id": id}]});
        assert_eq!(app.post("/api/v1/endpoints/bulk", &pause).await.json()["succeeded"], 2);
    }
    for id in 1..=2 {
        let patch = app.call("PATCH", &format!("/api/v1/endpoints/{id}")).json(&json!({"interval": 90})).send().await;
        assert_eq!((patch.status.as_u16(), &patch.json()["interval"]), (200, &json!(90)), "{patch:?}");
    }
    app.create(&json!({"name": "new", "url": "https://example.com", "group": "g"})).await;
    let patch = app.call("PATCH", "/api/v1/groups/g").json(&json!({"interval": 30})).send().await;
    assert_eq!(patch.status, 200, "{patch:?}");

    // What a change brings itself is looked at.
    for (path, notify, pointer) in [
        ("/api/v1/endpoints/1", json!(["ops", "opps"]), "/notify/1"),
        ("/api/v1/endpoints/2", json!(["ops"]), "/notify/0"),
        ("/api/v1/groups/g", json!(["hook", "hok", "ops"]), "/notify/1"),
    ] {
        let answer = app.call("PATCH", path).json(&json!({"notify": notify, "interval": 45})).send().await;
        assert_eq!(pointers(&answer.problem(400, "invalid-parameter")), [(pointer, "invalid")]);
    }
    let new = json!({"name": "newer", "url": "https://example.com", "notify": ["ops"]});
    app.post("/api/v1/endpoints", &new).await.problem(400, "invalid-parameter");
}

#[tokio::test]
async fn without_the_database_or_the_right_nothing_changes() {
    let app = TestApp::with_config(ALL).await;
    make(&app, &hook()).await;
    let stranger = Ipv4Addr::new(198, 51, 100, 7).into();
    for (method, path) in [("POST", CHANNELS), ("PUT", "/api/v1/channels/ops"), ("PATCH", "/api/v1/channels/ops")] {
        app.call(method, path).from(stranger).json(&hook()).send().await.problem(403, "forbidden");
    }
    app.call("DELETE", "/api/v1/channels/ops").from(stranger).send().await.problem(403, "forbidden");
    app.ctx.store.close().await.unwrap();
    let before = app.get("/api/v1/channels/ops").await.json();
    let new = json!({"name": "new", "type": "console"});
    app.post(CHANNELS, &new).await.problem(503, "unavailable");
    sent(&app, "PATCH", "ops", &json!({"enabled": false})).await.problem(503, "unavailable");
    sent(&app, "DELETE", "ops", &json!({})).await.problem(503, "unavailable");
    assert_eq!(app.get("/api/v1/channels/ops").await.json(), before);
    app.get("/api/v1/channels/new").await.problem(404, "not-found");
}

#[tokio::test]
async fn any_name_has_a_path_and_there_are_not_too_many() {
    let app = TestApp::start().await;
    for name in ["Bereitschaft 1 ü", "a?b#c%2f", "<b>{name}<\\b>", "'; DROP TABLE channels; --"] {
        let made = make(&app, &json!({"name": name, "type": "console"})).await;
        assert_eq!((&made["name"], &made["settings"]), (&json!(name), &json!({"type": "console"})));
    }
    for number in 4..200 {
        make(&app, &json!({"name": format!("c{number}"), "type": "console", "enabled": false})).await;
    }
    app.post(CHANNELS, &json!({"name": "more", "type": "console"})).await.problem(409, "too-many-channels");
    assert_eq!(sent(&app, "DELETE", "c5", &json!({})).await.status, 204);
    make(&app, &json!({"name": "more", "type": "console"})).await;
}
