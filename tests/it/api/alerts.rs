//! `/api/v1/alerts`: rules over the monitor's own metrics, made, changed, and told of.

use std::time::Duration;

use api_monitor::clock::Clock;
use api_monitor::domain::notification::Event;
use api_monitor::service::alerts::watch::AlertWatch;
use api_monitor::store::alert_rules;
use api_monitor::store::outbox::{self, NotificationQuery, StoredNotification};
use serde_json::{Value, json};

use crate::app::TestApp;

const ALERTS: &str = "/api/v1/alerts";
const CHANNELS: &str = "\
api: {port: 0}
channels:
  hook: {type: webhook, url: 'http://127.0.0.1:9/', severity: critical}
  post: {type: email, enabled: false, smtp_host: localhost, from_addr: a@example.com, to_addrs: [b@example.com]}
";

async fn make(app: &TestApp, body: &Value) -> Value {
    let answer = app.post(ALERTS, body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()
}

/// A rule over how late checks are begun, which [`lag`] sets.
fn lag_rule() -> Value {
    json!({"metric": "schedule_lag", "threshold": "5s", "action": "hook"})
}

/// Has the next look see checks begun so late.
fn lag(app: &TestApp, seconds: i64) {
    app.ctx.metrics.checks_started.add(1);
    app.ctx.metrics.schedule_lag_us.set(seconds * 1_000_000);
}

async fn look(app: &TestApp, watch: &mut AlertWatch) {
    app.clock.advance(Duration::from_secs(5));
    watch.look();
    watch.flush().await;
}

/// What was told, the oldest first.
async fn told(app: &TestApp) -> Vec<StoredNotification> {
    let query = NotificationQuery { limit: 100, ..NotificationQuery::default() };
    let mut told = outbox::list(app.ctx.store.readers(), &query).await.unwrap();
    told.reverse();
    told
}

async fn shown(app: &TestApp, id: &str) -> Value {
    let answer = app.get(&format!("{ALERTS}/{id}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[tokio::test]
async fn a_rule_is_made_shown_changed_and_removed_with_a_row_each() {
    let app = TestApp::with_config(CHANNELS).await;
    let document = json!({"metric": "memory_usage", "threshold": "80%", "action": "email_notify"});
    let answer = app.post(ALERTS, &document).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (201, "/api/v1/alerts/alert_001"));
    let mut made = answer.json();
    assert_eq!((&made["status"], &made["alert_id"]), (&json!("Alert created"), &json!("alert_001")));
    made.as_object_mut().unwrap().remove("status");
    let expected = json!({
        "alert_id": "alert_001", "metric": "memory_usage", "comparison": "gt", "threshold": "80%",
        "clear_threshold": null, "for": 0, "action": "email_notify", "severity": "warning", "enabled": true,
        "state": "no_data", "since": "2026-03-01T12:00:01Z", "value": null, "numeric_value": null, "unit": "percent",
        "clears_at": 76.0, "channel": {"name": "post", "enabled": false, "exists": true, "tells": []}, "error": null,
        "created_at": "2026-03-01T12:00:01Z", "created_by": "local", "updated_at": "2026-03-01T12:00:01Z", "revision": 1
    });
    assert_eq!(made, expected);
    assert_eq!(shown(&app, "alert_001").await, expected);
    make(&app, &lag_rule()).await;
    let list = app.get(ALERTS).await.json();
    assert_eq!((&list["total"], &list["limit"], &list["offset"]), (&json!(2), &json!(100), &json!(0)));
    assert_eq!(list["alerts"][0], expected);
    let ids = async |query: &str| {
        let list = app.get(&format!("{ALERTS}?{query}")).await.json();
        let ids = list["alerts"].as_array().unwrap().iter().map(|rule| rule["alert_id"].as_str().unwrap().to_owned());
        (ids.collect::<Vec<_>>().join(" "), list["total"].as_u64().unwrap())
    };
    assert_eq!(ids("metric=schedule_lag").await, ("alert_002".to_owned(), 1));
    assert_eq!(ids("state=no_data&limit=1&offset=1").await, ("alert_002".to_owned(), 2));
    assert_eq!(ids("state=firing").await, (String::new(), 0));

    let path = format!("{ALERTS}/alert_001");
    let change =
        app.call("PATCH", &path).json(&json!({"for": "90s", "threshold": 1000, "severity": "info"})).send().await;
    let now = change.json();
    assert_eq!((&now["for"], &now["threshold"], &now["unit"]), (&json!(90), &json!(1000), &json!("bytes")));
    assert_eq!((change.header("etag"), &now["action"]), ("\"2\"", &json!("email_notify")), "what is not in it stays");
    let nothing = app.call("PATCH", &path).json(&json!({"for": 90})).send().await;
    assert_eq!(nothing.json()["revision"], 2, "nothing changed");
    let put = app.call("PUT", &path).header("if-match", "\"2\"").json(&document).send().await;
    assert_eq!(
        (put.status.as_u16(), put.json()["for"].clone(), put.json()["severity"].clone()),
        (200, json!(0), json!("warning"))
    );
    app.call("PUT", &path).header("if-match", "\"2\"").json(&document).send().await.problem(412, "stale");
    app.call("DELETE", &path).header("if-match", "\"2\"").send().await.problem(412, "stale");
    assert_eq!(app.call("DELETE", &path).header("if-match", "\"3\"").send().await.status, 204);
    for (method, body) in [("GET", None), ("PUT", Some(&document)), ("PATCH", Some(&document)), ("DELETE", None)] {
        let call = app.call(method, &path);
        body.map_or_else(|| app.call(method, &path), |body| call.json(body)).send().await.problem(404, "not-found");
    }
    assert_eq!(make(&app, &document).await["alert_id"], "alert_003", "an id is never used again");

    let rows = app.audit().await;
    let rows: Vec<_> = rows.iter().map(|row| (row.action.as_str(), row.subject.as_str())).collect();
    let of_one = |action| (action, "alert/alert_001");
    let expected = [
        of_one("alert.create"),
        ("alert.create", "alert/alert_002"),
        of_one("alert.patch"),
        of_one("alert.replace"),
        of_one("alert.delete"),
        ("alert.create", "alert/alert_003"),
    ];
    assert_eq!(rows, expected);
    let now = &app.audit().await[2];
    assert_eq!(now.before, Some(document));
    assert_eq!(now.after.as_ref().unwrap()["for"], 90);
}

#[tokio::test]
async fn what_a_rule_cannot_be_is_refused_with_its_place() {
    let app = TestApp::with_config(CHANNELS).await;
    let good = json!({"metric": "memory_usage", "threshold": "80%", "action": "hook"});
    let with = |changes: Value| {
        let mut rule = good.clone();
        rule.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        rule
    };
    for (body, pointer, words) in [
        (json!({}), "/metric", "/api/v1/metrics"),
        (json!({"metric": "memory_usage"}), "/threshold", "80%"),
        (json!({"metric": "memory_usage", "threshold": 1}), "/action", "hook_notify, post_notify, email_notify"),
        (with(json!({"metric": "memory-usag"})), "/metric", "did you mean memory_usage?"),
        (with(json!({"metric": "x".repeat(5000)})), "/metric", "no such metric"),
        (with(json!({"metric": "<script>\u{0}'; DROP TABLE alert_rules; --"})), "/metric", "no such metric"),
        (with(json!({"threshold": "50ms"})), "/threshold", "bytes"),
        (with(json!({"threshold": "lots"})), "/threshold", "write a number"),
        (with(json!({"threshold": -1})), "/threshold", "0 to"),
        (with(json!({"threshold": true})), "/threshold", "a threshold"),
        (with(json!({"threshold": [80]})), "/threshold", "a threshold"),
        (with(json!({"clear_threshold": "90%"})), "/clear_threshold", "above"),
        (with(json!({"clear_threshold": "1GB"})), "/clear_threshold", "share"),
        (with(json!({"comparison": "gte", "threshold": 0})), "/threshold", "never clears"),
        (with(json!({"comparison": "lt", "threshold": "120%"})), "/threshold", "never clears"),
        (with(json!({"comparison": "lte", "threshold": "100%"})), "/threshold", "never clears"),
        (with(json!({"comparison": "above"})), "/comparison", "gt"),
        (with(json!({"for": "8d"})), "/for", "7 days"),
        (with(json!({"for": -1})), "/for", "negative"),
        (with(json!({"severity": "loud"})), "/severity", "critical"),
        (with(json!({"enabled": "yes"})), "/enabled", "boolean"),
        (with(json!({"action": "sms_notify"})), "/action", "there are hook_notify, post_notify, email_notify"),
        (with(json!({"action": "hok_notify"})), "/action", "did you mean hook_notify?"),
        (with(json!({"action": ""})), "/action", "no such channel"),
        (with(json!({"hysteresis": 1})), "/hysteresis", "unknown field"),
        (with(json!({"alert_id": "alert_009"})), "/alert_id", "unknown field"),
        (json!([good]), "/0", "expected a string"),
    ] {
        let problem = app.post(ALERTS, &body).await.problem(400, "invalid-parameter");
        let errors = problem["errors"].as_array().unwrap();
        let of_place = errors.iter().find(|error| error["pointer"] == pointer);
        let error = of_place.unwrap_or_else(|| panic!("{body}: {problem}"));
        assert!(error["detail"].as_str().unwrap().contains(words), "{body}: {problem}");
    }
    for query in ["state=loud", "nonsense=1", "limit=0", "metric=a&metric=b"] {
        app.get(&format!("{ALERTS}?{query}")).await.problem(400, "invalid-parameter");
    }
    for id in ["1", "alert_1", "alert_0001", "alert_999", "alert_%00", "%3Cb%3E"] {
        app.get(&format!("{ALERTS}/{id}")).await.problem(404, "not-found");
    }
    assert_eq!(app.get(ALERTS).await.json()["total"], 0);
    for action in ["hook", "hook_notify", "post", "post_notify", "email_notify", "webhook_notify", "telegram_notify"] {
        let channel = &make(&app, &with(json!({ "action": action }))).await["channel"];
        let expected = match action {
            "hook" | "hook_notify" | "webhook_notify" => {
                json!({"name": "hook", "enabled": true, "exists": true, "tells": ["hook"]})
            }
            "telegram_notify" => json!({"name": "telegram", "enabled": false, "exists": false, "tells": []}),
            _ => json!({"name": "post", "enabled": false, "exists": true, "tells": []}),
        };
        assert_eq!(channel, &expected, "{action}");
    }
}

#[tokio::test]
async fn a_rule_fires_once_and_clears_once_with_rows_before_anything_is_sent() {
    let app = TestApp::with_config(CHANNELS).await;
    let mut watch = AlertWatch::new(app.ctx.clone());
    make(&app, &json!({"metric": "schedule_lag", "threshold": "5s", "action": "hook", "for": 10, "severity": "info"}))
        .await;
    look(&app, &mut watch).await;
    assert_eq!(shown(&app, "alert_001").await["state"], "no_data");
    for (seconds, state) in [(4, "ok"), (6, "pending"), (7, "pending"), (8, "firing"), (4, "ok"), (5, "ok")] {
        // Inside the band nothing happens.
        let steps: &[i64] = if state == "firing" { &[8, 5, 6] } else { &[seconds] };
        for step in steps {
            lag(&app, *step);
            look(&app, &mut watch).await;
            assert_eq!(shown(&app, "alert_001").await["state"], state, "{step} s");
        }
    }
    let told = told(&app).await;
    let [fired, cleared] = told.as_slice() else { panic!("{told:#?}") };
    let micros = fired.facts.alert.as_ref().unwrap().fired_at.timestamp_micros();
    assert_eq!(fired.facts.id, format!("ntf_r1_{micros}_alert_firing"));
    assert_eq!(cleared.facts.id, format!("ntf_r1_{micros}_alert_resolved"), "each firing has one end");
    assert_eq!((fired.facts.event, cleared.facts.event), (Event::AlertFiring, Event::AlertResolved));
    for one in &told {
        let channels: Vec<_> = one.deliveries.iter().map(|delivery| delivery.channel.as_str()).collect();
        assert_eq!((channels, &one.held_by), (vec!["hook"], &None), "the rule names its channel itself");
        assert_eq!(one.facts.endpoint_name, "schedule_lag (alert_001)");
        assert_eq!((one.facts.endpoint.kind.as_str(), one.facts.endpoint.id), ("alert_rule", 0));
        assert_eq!(one.facts.error.as_deref(), Some("schedule_lag has been above 5s for 10s, and is 8s"));
    }
    assert_eq!((fired.facts.status.as_str(), cleared.facts.status.as_str()), ("firing", "ok"));
    let body = app.get(&format!("/api/v1/notifications/{}", cleared.facts.id)).await.json();
    let alert = &body["facts"]["alert"];
    assert_eq!(
        (&alert["value"], &alert["unit"], &alert["ending"]),
        (&json!(4.0), &json!("seconds"), &json!("cleared"))
    );
    assert_eq!(body["facts"]["remarks"], json!(["It is 4s now"]));
    assert_eq!(app.get("/api/v1/notifications?event=alert_firing").await.json()["total"], 1);
}

#[tokio::test]
async fn a_firing_rule_that_is_changed_or_removed_is_told_to_be_over() {
    let app = TestApp::with_config(CHANNELS).await;
    let mut watch = AlertWatch::new(app.ctx.clone());
    make(&app, &lag_rule()).await;
    lag(&app, 60);
    look(&app, &mut watch).await;
    let path = format!("{ALERTS}/alert_001");
    let endings = async || -> Vec<String> {
        let told = told(&app).await;
        told.iter()
            .map(|one| {
                let ending = one.facts.alert.as_ref().unwrap().ending;
                ending.map_or_else(|| "fires".to_owned(), |ending| ending.to_string())
            })
            .collect()
    };
    let put = app.call("PUT", &path).json(&lag_rule()).send().await;
    assert_eq!(
        (put.json()["state"].clone(), endings().await),
        (json!("firing"), vec!["fires".to_owned()]),
        "no change"
    );

    let change = async |body: Value| app.call("PATCH", &path).json(&body).send().await.json()["state"].clone();
    assert_eq!(change(json!({"threshold": "6s", "for": 5})).await, "no_data", "it is looked at anew");
    assert_eq!(endings().await, ["fires", "rule_changed"]);
    for state in ["pending", "firing"] {
        look(&app, &mut watch).await;
        assert_eq!(shown(&app, "alert_001").await["state"], state);
    }
    assert_eq!(change(json!({"enabled": false})).await, "disabled");
    look(&app, &mut watch).await;
    assert_eq!(shown(&app, "alert_001").await["state"], "disabled");
    assert_eq!(endings().await, ["fires", "rule_changed", "fires", "rule_changed"]);
    change(json!({"enabled": true, "for": 0})).await;
    look(&app, &mut watch).await;
    assert_eq!(app.call("DELETE", &path).send().await.status, 204);
    look(&app, &mut watch).await;
    assert_eq!(endings().await, ["fires", "rule_changed", "fires", "rule_changed", "fires", "rule_deleted"]);
}

#[tokio::test]
async fn what_keeps_an_alert_back_is_on_its_row() {
    let off = CHANNELS.replace("severity: critical", "enabled: false");
    let nothing = format!("{CHANNELS}notifications: {{enabled: false}}\n");
    for (yaml, fired, cleared) in [
        (off.as_str(), "nobody_to_tell", "nobody_was_told"),
        (nothing.as_str(), "notifications_disabled", "notifications_disabled"),
    ] {
        let app = TestApp::with_config(yaml).await;
        let mut watch = AlertWatch::new(app.ctx.clone());
        make(&app, &lag_rule()).await;
        for seconds in [9, 1] {
            lag(&app, seconds);
            look(&app, &mut watch).await;
        }
        let told = told(&app).await;
        let held: Vec<_> = told.iter().map(|one| one.held_by.as_deref().unwrap_or_default()).collect();
        assert_eq!(held, [fired, cleared]);
        assert!(told.iter().all(|one| one.deliveries.is_empty()));
    }
}

#[tokio::test]
async fn a_channel_that_rules_name_goes_only_by_force() {
    let app = TestApp::with_config("api: {port: 0}\n").await;
    let chat = json!({"name": "chat", "type": "telegram", "bot_token": "123456:AAAAAAAAAAAAAAAAAAAA", "chat_id": "-1"});
    let other = json!({"name": "other", "type": "console"});
    for channel in [chat, other] {
        let answer = app.post("/api/v1/channels", &channel).await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    for action in ["telegram_notify", "chat", "other", "chat_notify", "email_notify"] {
        make(&app, &json!({"metric": "memory_usage", "threshold": "80%", "action": action})).await;
    }
    let problem = app.call("DELETE", "/api/v1/channels/chat").send().await.problem(409, "channel-in-use");
    let detail = problem["detail"].as_str().unwrap();
    let expected = "named by the alert rule alert_001, the alert rule alert_002, the alert rule alert_004: change";
    assert!(detail.contains(expected), "{detail}");
    for id in [1, 2, 4] {
        assert_eq!(app.call("DELETE", &format!("{ALERTS}/alert_00{id}")).send().await.status, 204);
    }
    assert_eq!(app.call("DELETE", "/api/v1/channels/chat").send().await.status, 204);
}

#[tokio::test]
async fn where_its_channel_is_gone_the_default_route_is_told() {
    let app = TestApp::with_config(CHANNELS).await;
    let mut watch = AlertWatch::new(app.ctx.clone());
    let ops = json!({"name": "ops", "type": "webhook", "url": "http://127.0.0.1:9/", "default": false});
    assert_eq!(app.post("/api/v1/channels", &ops).await.status, 201);
    make(&app, &json!({"metric": "schedule_lag", "threshold": "5s", "action": "ops_notify", "severity": "critical"}))
        .await;
    let tells = async || shown(&app, "alert_001").await["channel"].clone();
    assert_eq!(tells().await, json!({"name": "ops", "enabled": true, "exists": true, "tells": ["ops"]}));
    assert_eq!(app.call("DELETE", "/api/v1/channels/ops?force=true").send().await.status, 204);
    assert_eq!(tells().await, json!({"name": "ops", "enabled": false, "exists": false, "tells": ["hook"]}));
    for seconds in [9, 1] {
        lag(&app, seconds);
        look(&app, &mut watch).await;
    }
    let told = told(&app).await;
    let channels: Vec<Vec<&str>> =
        told.iter().map(|one| one.deliveries.iter().map(|delivery| delivery.channel.as_str()).collect()).collect();
    assert_eq!(channels, [vec!["hook"], vec!["hook"]], "its end goes to whoever was told");
    assert!(told.iter().all(|one| one.held_by.is_none()), "{told:#?}");

    // What is off tells nobody, here as in `notify`, and that is shown.
    let off = json!({"name": "ops", "type": "console", "enabled": false});
    assert_eq!(app.post("/api/v1/channels", &off).await.status, 201);
    assert_eq!(tells().await, json!({"name": "ops", "enabled": false, "exists": true, "tells": []}));
}

#[tokio::test]
async fn what_commits_made_whose_answers_were_lost_is_taken_up() {
    let app = TestApp::with_config(CHANNELS).await;
    let mut watch = AlertWatch::new(app.ctx.clone());
    make(&app, &lag_rule()).await;
    let (db, now) = (app.ctx.store.writer(), app.clock.now());
    let settings = |rule: &Value| serde_json::from_value(rule.clone()).unwrap();
    let total = async || app.get(ALERTS).await.json()["total"].clone();

    // As if only the answer had been lost.
    app.fail_commits().await;
    assert_eq!(app.post(ALERTS, &lag_rule()).await.status, 500);
    app.let_commit().await;
    alert_rules::insert(db, &settings(&lag_rule()), "local", now).await.unwrap();
    assert_eq!(total().await, 1);
    watch.flush().await;
    assert_eq!(total().await, 2, "it is there, and will be after a restart");
    lag(&app, 9);
    look(&app, &mut watch).await;
    assert_eq!(shown(&app, "alert_002").await["state"], "firing", "it is looked at");
    assert_eq!(shown(&app, "alert_001").await["state"], "firing");

    let mut other = lag_rule();
    other["threshold"] = json!("7s");
    alert_rules::update(db, 1, &settings(&other), 1, now).await.unwrap();
    let patch =
        async |id: i64| app.call("PATCH", &format!("{ALERTS}/alert_00{id}")).json(&json!({"for": 5})).send().await;
    patch(1).await.problem(412, "stale");
    let rule = shown(&app, "alert_001").await;
    assert_eq!((&rule["threshold"], &rule["revision"], &rule["state"]), (&json!("7s"), &json!(2), &json!("no_data")));
    assert_eq!(shown(&app, "alert_002").await["state"], "firing", "what is as it was goes on");
    assert_eq!(patch(1).await.status, 200);
    alert_rules::delete(db, 2).await.unwrap();
    patch(2).await.problem(404, "not-found");
    assert_eq!(total().await, 1);
}

#[tokio::test]
async fn there_are_only_so_many_rules() {
    let app = TestApp::start().await;
    for _ in 0..api_monitor::service::alerts::MOST_RULES {
        make(&app, &json!({"metric": "schedule_lag", "threshold": 1, "action": "email_notify"})).await;
    }
    let answer = app.post(ALERTS, &json!({"metric": "schedule_lag", "threshold": 1, "action": "email_notify"})).await;
    let problem = answer.problem(400, "invalid-parameter");
    assert!(problem["detail"].as_str().unwrap().contains("delete one first"), "{problem}");
}
