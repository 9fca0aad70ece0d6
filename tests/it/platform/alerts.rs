//! Alert rules on the running program: they fire and clear by what is really measured, each is told once, and neither
//! an end of the program nor of the database makes them forget or repeat.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseTransaction, TransactionTrait};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Platform, until};
use crate::flows::target::{Answer, Target};
use crate::telling::hook::Hook;

/// Far more than anything takes, as machines are busy.
const SOON: Duration = Duration::from_secs(240);

const ALERTS: &str = "/api/v1/alerts";

/// With one channel, `hook`.
fn yaml(hook: &Hook, more: &str) -> String {
    format!("channels: {{hook: {{type: webhook, url: '{}'}}}}\n{more}", hook.url())
}

/// What was told of a rule: the events and how each ended.
fn told(hook: &Hook, alert: &str) -> Vec<(String, Value)> {
    let taken = hook.taken().into_iter().map(|(_, message)| message);
    let of_alert = taken.filter(|message| message["alert"]["alert_id"] == alert);
    of_alert.map(|message| (message["event"].as_str().unwrap().to_owned(), message)).collect()
}

fn events(hook: &Hook, alert: &str) -> Vec<String> {
    told(hook, alert).into_iter().map(|(event, _)| event).collect()
}

impl Platform {
    async fn alert(&self, body: Value) -> String {
        let made = self.send("POST", ALERTS, &body).await.expect(201).json();
        made["alert_id"].as_str().unwrap().to_owned()
    }

    /// Waits until a rule stands so.
    async fn stands(&self, alert: &str, state: &str) {
        let until = Instant::now() + SOON;
        loop {
            let shown = self.get(&format!("{ALERTS}/{alert}")).await.expect(200).json();
            if shown["state"] == state {
                return;
            }
            assert!(Instant::now() < until, "{alert} does not become {state}: {shown}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn number(&self, metric: &str) -> f64 {
        let until = Instant::now() + SOON;
        loop {
            let metric = self.get(&format!("/api/v1/metrics/{metric}")).await.expect(200).json();
            match metric["numeric_value"].as_f64() {
                Some(number) => return number,
                None => assert!(Instant::now() < until, "{metric}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Connections that do nothing.
    fn idle(&self, count: usize) -> Vec<TcpStream> {
        (0..count).map(|_| TcpStream::connect(&self.address).unwrap()).collect()
    }
}

async fn has_told(hook: &Hook, alert: &str, expected: &[&str]) {
    let until = Instant::now() + SOON;
    while events(hook, alert).len() < expected.len() {
        assert!(Instant::now() < until, "{alert}: {:?} instead of {expected:?}", events(hook, alert));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(events(hook, alert), expected, "{alert}");
}

/// The document's own example, with another base and key.
#[tokio::test]
async fn the_documents_example_makes_an_alert() {
    let platform = Platform::start_with("endpoints: []\n", &[("API_KEY", "your-api-token")]);
    let request = platform
        .request("POST", ALERTS)
        .header("Authorization", "Bearer your-api-token")
        .header("Content-Type", "application/json")
        .body(r#"{"metric": "memory_usage", "threshold": "80%", "action": "email_notify"}"#);
    let answer = platform.ask(request).await.expect(201);
    let made = answer.json();
    assert_eq!((&made["status"], &made["alert_id"]), (&json!("Alert created"), &json!("alert_001")));
    assert_eq!(answer.header("location"), "/api/v1/alerts/alert_001");
    assert_eq!(made["channel"], json!({"name": "email", "enabled": false, "exists": false, "tells": []}));
    let list = platform.ask(platform.request("GET", ALERTS).header("X-API-Key", "your-api-token")).await.expect(200);
    let list = list.json();
    let (first, total) = (&list["alerts"][0], &list["total"]);
    assert_eq!((&first["metric"], &first["threshold"], total), (&json!("memory_usage"), &json!("80%"), &json!(1)));
    let sms = platform.request("POST", ALERTS).header("X-API-Key", "your-api-token");
    let sms = sms
        .header("Content-Type", "application/json")
        .body(r#"{"metric": "memory_usage", "threshold": "80%", "action": "sms_notify"}"#);
    let problem = platform.ask(sms).await.expect(400).json();
    assert!(problem["detail"].as_str().unwrap().contains("email_notify, webhook_notify, telegram_notify"), "{problem}");
    platform.get(ALERTS).await.expect(401);
}

/// Long answers that are read slowly are kept in memory until their clients leave.
#[tokio::test]
async fn a_rule_on_memory_usage_fires_and_clears_for_real() {
    const LIST: &[u8] = b"GET /api/v1/endpoints HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let hook = Hook::start();
    let endpoints: Vec<_> = (0..1000).map(|n| format!("  - {{name: e{n}, url: 'http://127.0.0.1:9/{n}'}}\n")).collect();
    let endpoints = endpoints.concat();
    let more = format!(
        "api: {{rate_limit: false}}\ndefaults: {{is_active: false, description: '{}'}}\nendpoints:\n{endpoints}",
        "d".repeat(10_000)
    );
    let platform = Platform::start(&yaml(&hook, &more));
    let length = platform.get("/api/v1/endpoints").await.expect(200).body.len();
    assert!(length > 10_000_000, "{length}");
    let before = platform.number("memory_usage").await;
    // Far apart from what an allocator may keep of what was given back.
    let rule = json!({
        "metric": "memory_usage", "threshold": before + 100e6, "clear_threshold": before + 90e6, "action": "hook"
    });
    let alert = platform.alert(rule).await;
    platform.stands(&alert, "ok").await;
    assert!(events(&hook, &alert).is_empty());

    let mut slow: Vec<TcpStream> = (0..16).map(|_| TcpStream::connect(&platform.address).unwrap()).collect();
    for stream in &mut slow {
        stream.write_all(LIST).unwrap();
        stream.set_nonblocking(true).unwrap();
    }
    let until = Instant::now() + SOON;
    let mut little = vec![0; 16 * 1024];
    while events(&hook, &alert).is_empty() {
        assert!(Instant::now() < until, "{}", platform.number("memory_usage").await - before);
        // As much as keeps the connection.
        for stream in &mut slow {
            drop(stream.read(&mut little));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    has_told(&hook, &alert, &["alert_firing"]).await;
    let fired = &told(&hook, &alert)[0].1;
    assert!(fired["alert"]["value"].as_f64().unwrap() > before + 100e6, "{fired}");
    drop(slow);
    has_told(&hook, &alert, &["alert_firing", "alert_resolved"]).await;
    let last = &told(&hook, &alert)[1].1;
    assert!(last["alert"]["value"].as_f64().unwrap() <= before + 90e6, "{last}");
    assert_eq!((&last["alert"]["ending"], &last["status"]), (&json!("cleared"), &json!("ok")));
    platform.stands(&alert, "ok").await;
}

/// One check at a time of targets that are slow: those that follow are late, until more may be made at once.
#[tokio::test]
async fn a_rule_on_schedule_lag_fires_and_clears_for_real() {
    let (hook, target) = (Hook::start(), Target::answering(|_, _| Answer::After(Duration::from_secs(4), 200)));
    let endpoints: Vec<_> = (0..6)
        .map(|n| format!("  - {{name: e{n}, url: '{}', interval: 10, timeout: 10}}\n", target.url(&format!("e{n}"))))
        .collect();
    let endpoints = endpoints.concat();
    let more = format!("monitoring: {{max_concurrent_checks: 1, max_checks_per_host: 100}}\nendpoints:\n{endpoints}");
    let platform = Platform::start(&yaml(&hook, &more));
    let rule =
        json!({"metric": "schedule_lag", "threshold": "10s", "clear_threshold": "3s", "action": "webhook_notify"});
    let alert = platform.alert(rule).await;
    has_told(&hook, &alert, &["alert_firing"]).await;
    let fired = &told(&hook, &alert)[0].1;
    assert!(fired["alert"]["value"].as_f64().unwrap() > 10.0, "{fired}");
    assert_eq!((&fired["alert"]["unit"], &fired["severity"]), (&json!("seconds"), &json!("warning")));

    platform.send("PUT", "/api/v1/config", &json!({"max_concurrent_checks": 50})).await.expect(200);
    has_told(&hook, &alert, &["alert_firing", "alert_resolved"]).await;
    let cleared = &told(&hook, &alert)[1].1;
    assert!(cleared["alert"]["value"].as_f64().unwrap() <= 3.0, "{cleared}");
    let rows = platform.get("/api/v1/notifications?limit=10").await.expect(200).json();
    let rows = rows["notifications"].as_array().unwrap();
    let of_alerts = rows.iter().filter(|row| row["event"].as_str().unwrap().starts_with("alert_")).count();
    assert_eq!(of_alerts, 2, "{rows:?}");
}

#[tokio::test]
async fn after_a_kill_a_firing_rule_is_not_told_again_and_its_end_is() {
    let hook = Hook::start();
    let mut platform = Platform::start(&yaml(&hook, "endpoints: []\n"));
    let alert = platform.alert(json!({"metric": "active_connections", "threshold": 20, "action": "hook"})).await;
    let lasting = platform.alert(json!({"metric": "memory_usage", "threshold": "1MB", "action": "hook"})).await;
    let many = platform.idle(60);
    for alert in [&alert, &lasting] {
        has_told(&hook, alert, &["alert_firing"]).await;
        platform.stands(alert, "firing").await;
    }
    let delivered = "/api/v1/notifications?event=alert_firing&state=delivered";
    while platform.get(delivered).await.expect(200).json()["total"] != 2 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    platform.process.signal("KILL");
    let Platform { folder, process, .. } = platform;
    drop(process.wait(Duration::from_secs(30)));
    drop(many);

    platform = Platform::start_in(folder, &[]);
    has_told(&hook, &alert, &["alert_firing", "alert_resolved"]).await;
    platform.stands(&alert, "ok").await;
    let ids: Vec<_> = told(&hook, &alert).into_iter().map(|(_, message)| message["id"].clone()).collect();
    assert_eq!(
        ids[0].as_str().unwrap().trim_end_matches("alert_firing"),
        ids[1].as_str().unwrap().trim_end_matches("alert_resolved"),
        "the end is of that firing"
    );
    let shown = platform.get(&format!("{ALERTS}/{lasting}")).await.expect(200).json();
    assert!(shown["state"] == "firing" && shown["value"].is_string(), "{shown}");
    assert_eq!(events(&hook, &lasting), ["alert_firing"], "it goes on, and is not told again");
}

#[tokio::test]
async fn rules_and_groups_that_cannot_be_read_do_not_keep_the_monitor_from_starting() {
    let yaml = "database: {url: 'sqlite://monitor.db'}\nendpoints: []\n";
    let platform = Platform::start(yaml);
    let rule = json!({"metric": "memory_usage", "threshold": "1MB", "action": "email_notify"});
    let later = json!({"metric": "memory_usage", "threshold": "1MB", "for": "1d", "action": "email_notify"});
    let (odd, good) = (platform.alert(later).await, platform.alert(rule.clone()).await);
    let group = json!({"name": "core", "interval": 30, "timeout": 5});
    platform.send("POST", "/api/v1/groups", &group).await.expect(201);
    let Platform { folder, process, .. } = platform;
    process.signal("TERM");
    tokio::task::spawn_blocking(move || process.wait(SOON)).await.unwrap();

    // As a newer version would have written them.
    let url = format!("sqlite://{}", folder.path().join("monitor.db").display());
    let db = sea_orm::Database::connect(url).await.unwrap();
    for sql in [
        "UPDATE alert_rules SET settings = json_set(settings, '$.comparison', 'ne', '$.tone', 'SECRET') WHERE id = 1",
        "UPDATE groups SET spec = json_set(spec, '$.timeout', 'SECRET')",
    ] {
        assert_eq!(db.execute_unprepared(sql).await.unwrap().rows_affected(), 1);
    }
    db.close().await.unwrap();

    let platform = Platform::start_in(folder, &[]);
    platform.process.logs(SOON, "an alert rule cannot be read and is not looked at");
    platform.process.logs(SOON, "is in force without what cannot be read of it");
    platform.stands(&good, "firing").await;
    let shown = platform.get(&format!("{ALERTS}/{odd}")).await.expect(200).json();
    assert_eq!((&shown["state"], &shown["metric"]), (&json!("no_data"), &json!("memory_usage")), "{shown}");
    assert_eq!(shown["error"], "what is stored of comparison, tone cannot be read");
    platform.send("PUT", &format!("{ALERTS}/{odd}"), &rule).await.expect(200);
    platform.stands(&odd, "firing").await;
    let core = "/api/v1/groups/core";
    let shown = platform.get(core).await.expect(200).json();
    assert_eq!((&shown["interval"], &shown["error"]), (&json!(30), &json!("what is stored of timeout cannot be read")));
    assert_eq!(platform.send("PUT", core, &group).await.expect(200).json()["error"], Value::Null);
    platform.ask(platform.request("DELETE", &format!("{ALERTS}/{odd}"))).await.expect(204);
    let Platform { process, .. } = platform;
    process.signal("TERM");
    let ended = tokio::task::spawn_blocking(move || process.wait(SOON)).await.unwrap();
    assert!(!ended.stderr.contains("SECRET"), "{}", ended.stderr);
}

/// Somebody else holds the lock of the database `monitor.db`.
pub(super) async fn locked(platform: &Platform) -> DatabaseTransaction {
    let url = format!("sqlite://{}", platform.folder.path().join("monitor.db").display());
    let options = sea_orm::ConnectOptions::new(url).max_connections(1).to_owned();
    let lock = sea_orm::Database::connect(options).await.unwrap().begin().await.unwrap();
    lock.execute_unprepared("UPDATE settings SET updated_at = updated_at").await.unwrap();
    lock.execute_unprepared("DELETE FROM seaql_migrations WHERE 0").await.unwrap();
    lock
}

#[tokio::test]
async fn while_the_database_is_away_alerts_are_told_from_memory_and_written_afterwards() {
    let hook = Hook::start();
    let platform = Platform::start(&yaml(&hook, "database: {url: 'sqlite://monitor.db'}\nendpoints: []\n"));
    let alert = platform.alert(json!({"metric": "active_connections", "threshold": 20, "action": "hook"})).await;
    platform.stands(&alert, "ok").await;
    let lock = locked(&platform).await;
    let many = platform.idle(60);
    has_told(&hook, &alert, &["alert_firing"]).await;
    let remarks = told(&hook, &alert)[0].1["remarks"].to_string();
    assert!(remarks.contains("Told from memory"), "{remarks}");
    drop(many);
    has_told(&hook, &alert, &["alert_firing", "alert_resolved"]).await;
    lock.rollback().await.unwrap();
    let until = Instant::now() + SOON;
    loop {
        let rows = platform.get("/api/v1/notifications?state=delivered").await;
        if rows.status.as_u16() == 200 && rows.json()["total"] == 2 {
            break;
        }
        assert!(Instant::now() < until, "{rows:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    has_told(&hook, &alert, &["alert_firing", "alert_resolved"]).await;
}

/// A connection whose request is being read; `None`: it is closed at once.
fn under_way(platform: &Platform) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(&platform.address).unwrap();
    let head = b"POST /api/v1/alerts HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                 Content-Length: 9\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head).ok()?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).ok()?;
    assert_eq!(&answer, b"HTTP/1.1 100");
    Some(stream)
}

/// The number of connections, and how long recoveries are held back, change while it runs, and hold over a restart.
#[tokio::test]
async fn connections_and_the_cooldown_are_settings_that_change_while_running() {
    let platform = Platform::start(
        "endpoints:\n  - {name: mine, url: 'http://127.0.0.1:9/'}\n  \
         - {name: own, url: 'http://127.0.0.1:9/x', alert_policy: {cooldown_seconds: 7}}\n",
    );
    // What is only logged in detail: that a connection is over.
    let leave = async |platform: &Platform| {
        let port = TcpStream::connect(&platform.address).unwrap().local_addr().unwrap().port();
        until("it is over", async || {
            let list = platform.get("/api/v1/connections").await.expect(200).json();
            list["connections"].as_array().unwrap().iter().all(|connection| connection["client_port"] != port)
        })
        .await;
        format!("127.0.0.1:{port}")
    };
    let before = leave(&platform).await;
    let document = json!({"max_connections": 150, "logging_level": "DEBUG"});
    let changed = platform.send("PUT", "/api/v1/config", &document).await.expect(200).json();
    assert_eq!(changed["status"], "Configuration updated successfully");
    let shown = platform.get("/api/v1/config").await.expect(200).json();
    assert_eq!((&shown["max_connections"], &shown["logging_level"]), (&json!(150), &json!("DEBUG")));
    let after = leave(&platform).await;
    let details = |peer: &str| {
        let log = platform.process.stderr();
        log.lines().any(|line| line.contains("\"level\":\"DEBUG\"") && line.contains(peer))
    };
    until("details are logged", async || details(&after)).await;
    assert!(!details(&before), "not before they were asked for");
    let cooldowns = async |platform: &Platform| {
        let mut cooldowns = Vec::new();
        for id in [1, 2] {
            let endpoint = platform.get(&format!("/api/v1/endpoints/{id}")).await.expect(200).json();
            cooldowns.push(endpoint["effective"]["alert_policy"]["cooldown_seconds"].clone());
        }
        cooldowns
    };
    assert_eq!(cooldowns(&platform).await, [json!(300), json!(7)]);
    let few = json!({"max_connections": 16, "cooldown_seconds": 42});
    platform.send("PUT", "/api/v1/config", &few).await.expect(200);
    assert_eq!(cooldowns(&platform).await, [json!(42), json!(7)]);

    // Each with a request under way, so that none makes room.
    let mut busy = Vec::new();
    while let Some(stream) = under_way(&platform) {
        busy.push(stream);
        assert!(busy.len() <= 16, "more than there may be");
    }
    assert!(busy.len() >= 12, "{}: the client of the test has some of its own", busy.len());
    drop(busy);

    let Platform { folder, process, .. } = platform;
    process.signal("TERM");
    drop(process.wait(Duration::from_secs(60)));
    let platform = Platform::start_in(folder, &[]);
    assert_eq!(cooldowns(&platform).await, [json!(42), json!(7)], "it holds over a restart");
    platform
        .send("PUT", "/api/v1/config", &json!({"cooldown_seconds": null, "max_connections": null}))
        .await
        .expect(200);
    assert_eq!(cooldowns(&platform).await, [json!(300), json!(7)]);
    let shown = platform.get("/api/v1/config").await.expect(200).json();
    assert_eq!((&shown["max_connections"], &shown["cooldown_seconds"]), (&json!("auto"), &json!(300)));
    for wrong in [json!({"max_connections": 15}), json!({"cooldown_seconds": -1}), json!({"query_cache_size": "100MB"})]
    {
        platform.send("PUT", "/api/v1/config", &wrong).await.expect(400);
    }
}
