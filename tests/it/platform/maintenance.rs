//! Maintenance windows and silences as resources, and what they do to what is told.

use api_monitor::clock::{Clock, SystemClock};
use serde_json::{Value, json};

use super::{Platform, until};
use crate::flows::target::{Answer, Switched, Target};

const WINDOWS: &str = "/api/v1/maintenance-windows";
const SILENCES: &str = "/api/v1/silences";

/// Checked each second, twice of which confirms an outage.
fn watched(target: &Switched) -> String {
    let url = target.url("e");
    format!(
        "endpoints: [{{name: e, group: core, tags: [prod], url: '{url}', interval: 1, retry: {{enabled: false}}, \
         alert_policy: {{confirm_interval: 1}}}}]\nchannels: {{out: {{type: console}}}}\n"
    )
}

async fn endpoint(platform: &Platform) -> Value {
    platform.get("/api/v1/endpoints/1").await.expect(200).json()
}

async fn told(platform: &Platform) -> Vec<Value> {
    let list = platform.get("/api/v1/notifications?sort=created_at").await.expect(200).json();
    list["notifications"].as_array().unwrap().clone()
}

fn from_now(hours: i64) -> String {
    (SystemClock::new().now() + chrono::TimeDelta::hours(hours)).to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

#[tokio::test]
async fn a_window_is_made_read_changed_renamed_and_deleted() {
    let target = Switched::good();
    let platform = Platform::start(&watched(&target));
    let body = json!({"name": "disk swap", "at": "02:30", "every": "mon,thu", "for": "90m",
        "timezone": "Europe/Berlin", "match": ["group:core"], "reason": "new disks"});
    let made = platform.send("POST", WINDOWS, &body).await.expect(201);
    let path = "/api/v1/maintenance-windows/disk%20swap";
    assert_eq!((made.header("location"), made.header("etag")), (path, "\"1\""));
    let window = platform.get(path).await.expect(200).json();
    assert_eq!(window, made.json());
    for (field, value) in [
        ("name", json!("disk swap")),
        ("every", json!("mon,thu")),
        ("for", json!(5400)),
        ("match", json!(["group:core"])),
        ("endpoints", json!(1)),
        ("origin", json!("api")),
        ("created_by", json!("local")),
        ("error", Value::Null),
    ] {
        assert_eq!(window[field], value, "{field}: {window}");
    }
    platform.send("POST", WINDOWS, &body).await.expect(409);
    let change = platform.request("PATCH", path).header("If-Match", "\"1\"").header("Content-Type", "application/json");
    let patched = platform.ask(change.body(json!({"every": "day", "reason": null}).to_string())).await.expect(200);
    assert_eq!((&patched.json()["every"], &patched.json()["reason"]), (&json!("day"), &json!("")));
    let stale = platform.request("DELETE", path).header("If-Match", "\"1\"");
    platform.ask(stale).await.expect(412);
    let once = json!({"name": "once", "start": from_now(24), "for": 60, "match": "tag:prod"});
    let renamed = platform.send("PUT", path, &once).await.expect(200).json();
    assert_eq!(
        (&renamed["name"], &renamed["state"], &renamed["at"]),
        (&json!("once"), &json!("scheduled"), &Value::Null)
    );
    platform.get(path).await.expect(404);
    let list = platform.get(&format!("{WINDOWS}?state=scheduled&sort=-next")).await.expect(200).json();
    assert_eq!((&list["total"], &list["maintenance_windows"][0]["name"]), (&json!(1), &json!("once")));
    platform.send("DELETE", &format!("{WINDOWS}/once"), &Value::Null).await.expect(204);
    assert_eq!(platform.get(WINDOWS).await.json()["total"], 0);
    let audit = platform.get("/api/v1/audit?sort=id").await.expect(200).json();
    let actions: Vec<_> = audit["entries"].as_array().unwrap().iter().map(|entry| entry["action"].clone()).collect();
    for action in ["create", "patch", "replace", "delete"] {
        assert!(actions.contains(&json!(format!("maintenance_window.{action}"))), "{actions:?}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_window_or_a_silence_is_told_at_its_place() {
    let target = Switched::good();
    let platform = Platform::start(&watched(&target));
    for (path, body, pointer) in [
        (WINDOWS, json!({"name": "w", "match": "e", "for": 60}), "/start"),
        (WINDOWS, json!({"name": "w", "match": "e", "for": "1d", "at": "01:00", "every": "day"}), "/for"),
        (WINDOWS, json!({"name": "w", "match": "f", "for": 60, "cron": "0 1 * * *"}), "/match/0"),
        (WINDOWS, json!({"name": "w", "match": "e", "for": 60, "start": "2020-01-01T00:00:00Z"}), "/start"),
        (WINDOWS, json!({"name": "w", "match": "e", "for": 60, "until": "x"}), "/until"),
        (SILENCES, json!({"match": ["e"]}), "/until"),
        (SILENCES, json!({"match": ["tag:none"], "until": from_now(1)}), "/match/0"),
        (SILENCES, json!({"match": "*", "until": from_now(-1)}), "/until"),
        (SILENCES, json!({"match": "*", "until": from_now(24 * 367)}), "/until"),
        (SILENCES, json!({"until": from_now(1)}), "/match"),
    ] {
        let problem = platform.send("POST", path, &body).await.expect(400).json();
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}: {problem}");
    }
}

#[tokio::test]
async fn a_window_of_the_configuration_is_shown_and_changed_there_alone() {
    let target = Switched::good();
    let yaml = watched(&target) + "maintenance_windows:\n  - {name: nightly, cron: '0 3 * * *', for: 1h, match: e}\n";
    let platform = Platform::start(&yaml);
    let window = platform.get(&format!("{WINDOWS}/nightly")).await.expect(200).json();
    assert_eq!((&window["origin"], &window["source"]), (&json!("config"), &json!("config.yaml:4")), "{window}");
    assert_eq!((&window["timezone"], &window["endpoints"]), (&json!("UTC"), &json!(1)));
    let body = json!({"name": "nightly", "cron": "0 4 * * *", "for": 60, "match": "e"});
    for (method, body) in [("PUT", &body), ("PATCH", &json!({"for": 60})), ("DELETE", &Value::Null)] {
        let problem = platform.send(method, &format!("{WINDOWS}/nightly"), body).await.expect(409).json();
        assert_eq!(problem["type"], "urn:api-monitor:problem:managed-by-config");
        assert!(problem["detail"].as_str().unwrap().contains("config.yaml:4"), "{problem}");
    }
    platform.send("POST", WINDOWS, &body).await.expect(409);
    assert_eq!(platform.get(&format!("{WINDOWS}?origin=api")).await.json()["total"], 0);
}

#[tokio::test]
async fn while_a_window_is_open_checks_go_on_and_nothing_counts_or_is_told() {
    let target = Switched::good();
    let platform = Platform::start(&(watched(&target).replace("interval: 1,", "interval: 3600,")));
    until("it is up", async || endpoint(&platform).await["status"] == "up").await;
    target.set(503);
    let start = from_now(-1);
    let body = json!({"name": "now", "start": start, "for": "3h", "match": ["core/e"], "reason": "moving"});
    let window = platform.send("POST", WINDOWS, &body).await.expect(201).json();
    assert_eq!((&window["state"], &window["current"]["start"]), (&json!("open"), &json!(start)));
    let shown = endpoint(&platform).await;
    assert_eq!((&shown["status"], &shown["held_by"]["by"]), (&json!("maintenance"), &json!("maintenance")), "{shown}");
    assert_eq!((&shown["held_by"]["name"], &shown["held_by"]["reason"]), (&json!("now"), &json!("moving")));
    assert_eq!(platform.get("/api/v1/stats/summary").await.json()["maintenance"], 1);
    let check = platform.send("POST", "/api/v1/endpoints/1/check", &json!({})).await.expect(200).json();
    assert_eq!((&check["in_maintenance"], &check["success"]), (&json!(true), &json!(false)));
    let uptime = platform.get("/api/v1/stats/uptime/1").await.expect(200).json();
    assert!(uptime["maintenance_checks"].as_u64().unwrap() >= 1, "{uptime}");

    // Once it is gone the endpoint is checked at once, and told.
    platform.send("DELETE", &format!("{WINDOWS}/now"), &Value::Null).await.expect(204);
    until("it is told", async || !told(&platform).await.is_empty()).await;
    assert_eq!(endpoint(&platform).await["status"], "down");
    assert_eq!(told(&platform).await[0]["event"], "down");
}

#[tokio::test]
async fn a_silence_holds_messages_back_and_says_so_wherever_one_looks() {
    let target = Target::answering(|_, _| Answer::Status(503));
    let platform = Platform::start("endpoints: []\nchannels: {out: {type: console}}\n");
    let body = json!({"name": "e", "url": target.url("e"), "interval": 3600, "is_active": false,
        "retry": {"enabled": false}, "alert_policy": {"confirm_interval": 1}});
    platform.send("POST", "/api/v1/endpoints", &body).await.expect(201);
    let until_then = from_now(2);
    let body = json!({"match": ["e"], "until": until_then, "comment": "I know"});
    let made = platform.send("POST", SILENCES, &body).await.expect(201);
    assert_eq!(made.header("location"), "/api/v1/silences/1");
    let silence = platform.get("/api/v1/silences/1").await.expect(200).json();
    assert_eq!((&silence["state"], &silence["created_by"]), (&json!("active"), &json!("local")));
    assert_eq!((&silence["until"], &silence["endpoints"]), (&json!(until_then), &json!(1)));
    platform.send("PATCH", "/api/v1/endpoints/1", &json!({"is_active": true})).await.expect(200);
    until("it is noticed", async || !told(&platform).await.is_empty()).await;
    let held = told(&platform).await.remove(0);
    assert_eq!((&held["held_by"], &held["deliveries"]), (&json!("silence"), &json!([])));
    let shown = endpoint(&platform).await;
    assert_eq!((&shown["status"], &shown["held_by"]["by"]), (&json!("down"), &json!("silence")));
    assert_eq!((&shown["held_by"]["made_by"], &shown["held_by"]["reason"]), (&json!("local"), &json!("I know")));
    let incident = platform.get("/api/v1/incidents/1").await.expect(200).json();
    assert_eq!((&incident["held_by"]["name"], &incident["status"]), (&json!("1"), &json!("open")));

    platform.send("PATCH", "/api/v1/silences/1", &json!({"comment": "still"})).await.expect(200);
    platform.send("DELETE", "/api/v1/silences/1", &Value::Null).await.expect(204);
    until("it is told", async || told(&platform).await[0]["held_by"].is_null()).await;
    let all = told(&platform).await;
    assert_eq!((all.len(), &all[0]["id"]), (1, &held["id"]), "under the same id");
    assert_eq!(all[0]["deliveries"][0]["channel"], "out");
    let incident = platform.get("/api/v1/incidents/1").await.expect(200).json();
    assert!(incident["events"].as_array().unwrap().iter().any(|event| event["event"] == "told"), "{incident}");
    assert!(incident["held_by"].is_null());
}
