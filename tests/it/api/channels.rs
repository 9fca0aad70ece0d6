//! Channels as they are shown, and tried.

use std::net::Ipv4Addr;

use api_monitor::clock::Clock;
use api_monitor::store::outbox;
use api_monitor::telemetry::metrics::ChannelStatus;
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::telling::{down, record};
use crate::app::TestApp;
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
    insta::assert_json_snapshot!("channels", list);
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
