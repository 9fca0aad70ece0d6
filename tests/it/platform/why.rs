//! Whether an outage would be told, and what keeps it back if not.

use api_monitor::clock::{Clock, SystemClock};
use serde_json::{Value, json};

use super::{Platform, until};
use crate::flows::target::Switched;

const WHY: &str = "/api/v1/endpoints/1/why-not-told";

/// One endpoint, checked each second, one failure of which is an outage; a test adds keys of its own.
fn one(target: &Switched, keys: &str) -> String {
    format!(
        "endpoints:\n  - {{name: e, group: core, url: '{}', interval: 1, retry: {{enabled: false}}, \
         alert_policy: {{failure_threshold: 1, confirm_interval: 1}}{keys}}}\n",
        target.url("e")
    )
}

const OUT: &str = "channels: {out: {type: console}}\n";

async fn why(platform: &Platform) -> Value {
    platform.get(WHY).await.expect(200).json()
}

/// Once the endpoint is up, which also ends the grace of the start.
async fn once_up(platform: &Platform) -> Value {
    until("it is up", async || platform.get("/api/v1/endpoints/1").await.json()["last_outcome"] == "up").await;
    until("the grace is over", async || {
        !why(platform).await["suppressors"].as_array().unwrap().iter().any(|held| held["by"] == "start_grace")
    })
    .await;
    why(platform).await
}

async fn once_down(platform: &Platform) -> Value {
    until("it is down", async || !why(platform).await["incident"].is_null()).await;
    why(platform).await
}

fn names(why: &Value) -> Vec<&str> {
    why["suppressors"].as_array().unwrap().iter().map(|held| held["by"].as_str().unwrap()).collect()
}

fn sentence(why: &Value) -> &str {
    why["sentence"].as_str().unwrap()
}

fn from_now(minutes: i64) -> String {
    (SystemClock::new().now() + chrono::TimeDelta::minutes(minutes)).to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

#[tokio::test]
async fn where_nothing_is_in_the_way_it_says_who_is_told_how_soon() {
    let target = Switched::good();
    let yaml = one(&target, "").replace("failure_threshold: 1", "failure_threshold: 3")
        + "channels: {out: {type: console}, ops: {type: console}, rest: {type: console, default: false}}\n";
    let platform = Platform::start(&yaml);
    let found = once_up(&platform).await;
    assert_eq!((&found["is_told"], &found["suppressors"]), (&json!(true), &json!([])), "{found}");
    assert_eq!((&found["channels"], &found["severity"]), (&json!(["out", "ops"]), &json!("critical")));
    // Three times one attempt of at most a second and a pause of a second, or two up to a slot; 10 s for parents.
    assert_eq!(found["promise"], json!({"usually_seconds": 2.0, "at_most_seconds": 19.0}), "{found}");
    let expected =
        "Nothing holds messages back: out and ops would be told about 2s after the first failed check, at most 19s";
    assert_eq!(sentence(&found), expected);
    assert_eq!(found["unconfirmed"], json!({"failures": 0, "needed": 3, "among": 3, "since": null}));
    assert_eq!((&found["incident"], &found["notifications"]), (&Value::Null, &json!([])));

    target.set(503);
    let found = once_down(&platform).await;
    assert!(sentence(&found).starts_with("It is down since "), "{found}");
    until("it was told", async || why(&platform).await["incident"]["told"] == json!(["out", "ops"])).await;
    let found = why(&platform).await;
    assert!(sentence(&found).contains("told to out and ops. The next reminder is due at "), "{found}");
    assert_eq!((&found["is_told"], &found["notifications"][0]["event"]), (&json!(true), &json!("down")));
    assert_eq!(found["incident"]["id"], 1);
    platform.get("/api/v1/endpoints/99/why-not-told").await.expect(404);
    platform.get(&format!("{WHY}?x=1")).await.expect(400);
}

#[tokio::test]
async fn failures_that_are_not_confirmed_yet_are_counted() {
    let target = Switched::good();
    let yaml = one(&target, "").replace("failure_threshold: 1", "failure_threshold: 900") + OUT;
    let platform = Platform::start(&yaml);
    once_up(&platform).await;
    target.set(503);
    until("one failed", async || why(&platform).await["unconfirmed"]["failures"] != 0).await;
    let found = why(&platform).await;
    let failures = &found["unconfirmed"]["failures"];
    assert!(sentence(&found).starts_with(&format!("{failures} of 900 failed checks. Nothing holds")), "{found}");
    assert!(found["unconfirmed"]["since"].is_string());
}

#[tokio::test]
async fn whoever_decided_that_nobody_is_told_is_named() {
    let target = Switched::good();
    let cases = [
        (
            one(&target, "") + OUT + "notifications: {enabled: false}\n",
            "notifications_disabled",
            "`notifications.enabled` is false",
        ),
        (one(&target, ", notify: []") + OUT, "nobody_to_tell", "`notify: []`"),
        (one(&target, "") + OUT + "notify: []\n", "nobody_to_tell", "The default route is `notify: []`"),
        (
            one(&target, ", severity: info") + "channels: {out: {type: console, severity: warning}}\n",
            "nobody_to_tell",
            "`info`",
        ),
        (one(&target, ""), "nobody_to_tell", "There is no channel"),
        (one(&target, ", is_active: false") + OUT, "paused", "`is_active` is false"),
    ];
    for (yaml, by, words) in cases {
        let platform = Platform::start(&yaml);
        let found = if by == "paused" { why(&platform).await } else { once_up(&platform).await };
        let held = found["suppressors"].as_array().unwrap().iter().find(|held| held["by"] == by).cloned();
        let held = held.unwrap_or_else(|| panic!("{by}: {found}"));
        assert!(held["reason"].as_str().unwrap().contains(words), "{by}: {found}");
        assert_eq!((&held["until"], &held["at_end"]), (&Value::Null, &json!("nothing")), "{found}");
        assert!(held["holds_back"].as_array().unwrap().contains(&json!("opening")), "{found}");
        assert_eq!(found["is_told"], false, "{found}");
        assert!(sentence(&found).contains(words) && sentence(&found).contains("would not be told"), "{found}");
    }
}

#[tokio::test]
async fn windows_silences_and_pauses_stand_in_their_order_with_their_ends() {
    let target = Switched::good();
    let platform = Platform::start(&(one(&target, "") + OUT));
    once_up(&platform).await;
    let end = from_now(60);
    let silence = json!({"match": ["core/e"], "until": end, "comment": "I know <b>"});
    platform.send("POST", "/api/v1/silences", &silence).await.expect(201);
    let found = why(&platform).await;
    assert_eq!(names(&found), ["silence"]);
    assert!(
        sentence(&found).contains(&format!("The silence 1 by `local` is on: I know <b>, until {end}; then it is told")),
        "{found}"
    );
    let window = json!({"name": "swap", "start": from_now(-1), "for": "2h", "match": "*", "reason": "new disks"});
    platform.send("POST", "/api/v1/maintenance-windows", &window).await.expect(201);
    let found = why(&platform).await;
    assert_eq!(names(&found), ["maintenance", "silence"]);
    let first = &found["suppressors"][0];
    assert_eq!((&first["name"], &first["at_end"]), (&json!("swap"), &json!("checked_then_told")), "{found}");
    assert!(sentence(&found).contains("`swap` is open: new disks"), "{found}");
    platform.ask(platform.request("POST", "/api/v1/endpoints/1/pause")).await.expect(200);
    let found = why(&platform).await;
    assert_eq!(names(&found), ["paused", "maintenance", "silence"]);
    assert!(sentence(&found).contains("It is paused by hand"), "{found}");
}

#[tokio::test]
async fn of_an_open_incident_it_says_whether_it_was_told_and_what_holds_reminders_back() {
    let target = Switched::good();
    let platform = Platform::start(&(one(&target, "") + OUT));
    once_up(&platform).await;
    let silence = json!({"match": ["core/e"], "until": from_now(60)});
    platform.send("POST", "/api/v1/silences", &silence).await.expect(201);
    target.set(503);
    let found = once_down(&platform).await;
    assert!(sentence(&found).contains("nobody was told. The silence 1"), "{found}");
    assert_eq!((&found["is_told"], &found["incident"]["told"]), (&json!(false), &json!([])), "{found}");
    until("it is written", async || why(&platform).await["notifications"][0]["held_by"] == "silence").await;
    let incident = platform.get("/api/v1/incidents/1").await.expect(200).json();
    assert_eq!(incident["held_by"]["by"], "silence", "{incident}");

    platform.send("DELETE", "/api/v1/silences/1", &Value::Null).await.expect(204);
    until("it is told", async || why(&platform).await["is_told"] == true).await;
    let note = json!({"note": "on it", "for": "1h"});
    platform.send("POST", "/api/v1/incidents/1/acknowledge", &note).await.expect(200);
    let found = why(&platform).await;
    assert_eq!(names(&found), ["acknowledged"], "{found}");
    assert_eq!(found["suppressors"][0]["holds_back"], json!(["reminder", "escalation"]), "{found}");
    assert!(sentence(&found).contains("Reminders are held back: `local` looks after it, until "), "{found}");
    let incident = platform.get("/api/v1/incidents/1").await.expect(200).json();
    assert_eq!(incident["held_by"]["by"], "acknowledged", "{incident}");

    // Once it is good again soon after a recovery, its end is held back.
    target.set(200);
    until("it is over", async || why(&platform).await["incident"].is_null()).await;
    target.set(503);
    once_down(&platform).await;
    target.set(200);
    until("its recovery is held", async || names(&why(&platform).await).contains(&"cooldown")).await;
    let found = why(&platform).await;
    assert!(sentence(&found).contains("It is good again, which is told at "), "{found}");
    let incident = platform.get("/api/v1/incidents?open=true").await.json();
    assert_eq!(incident["incidents"][0]["held_by"]["by"], "cooldown", "{incident}");
}

#[tokio::test]
async fn an_outage_with_nobody_to_tell_is_no_told_one() {
    let target = Switched::good();
    target.set(503);
    let platform = Platform::start(&(one(&target, ", notify: []") + OUT));
    let found = once_down(&platform).await;
    until("it is written", async || why(&platform).await["notifications"][0]["held_by"] == "nobody_to_tell").await;
    assert_eq!(why(&platform).await["is_told"], false, "{found}");
    assert!(sentence(&why(&platform).await).contains("nobody was told. `notify: []`"), "{found}");
    let incident = platform.get("/api/v1/incidents/1").await.expect(200).json();
    assert_eq!(incident["held_by"]["by"], "nobody_to_tell", "{incident}");
}

#[tokio::test]
async fn after_a_start_failures_to_connect_do_not_count_yet_and_it_says_so() {
    // Nothing outside of this machine answers, so the grace lasts.
    let yaml = "endpoints: [{name: far, url: 'http://api.invalid/', interval: 3600, retry: {enabled: false}}]\n";
    let platform = Platform::start(&format!("{yaml}{OUT}"));
    let found = why(&platform).await;
    assert_eq!(names(&found), ["start_grace"], "{found}");
    let held = &found["suppressors"][0];
    assert_eq!((&held["at_end"], &held["holds_back"]), (&json!("counts"), &json!(["opening"])), "{found}");
    assert!(
        sentence(&found).contains("has just started") && sentence(&found).contains("Of anything else out"),
        "{found}"
    );
    until("it has ended", async || names(&why(&platform).await).is_empty()).await;
}

#[tokio::test]
async fn behind_a_parent_that_is_down_it_names_the_parent_and_why_that_is_down() {
    let (gate, site) = (Switched::good(), Switched::good());
    let endpoint = |name: &str, target: &Switched, keys: &str| {
        format!(
            "  - {{name: {name}, group: core, url: '{}', interval: 1, retry: {{enabled: false}}, alert_policy: \
             {{failure_threshold: 1, confirm_interval: 1}}{keys}}}\n",
            target.url(name)
        )
    };
    let child = endpoint("site", &site, ", depends_on: [core/gate]");
    let yaml = format!("{OUT}endpoints:\n{child}{}", endpoint("gate", &gate, ""));
    let platform = Platform::start(&yaml);
    once_up(&platform).await;
    gate.set(503);
    until("the parent is down", async || names(&why(&platform).await) == ["parent_down"]).await;
    let found = why(&platform).await;
    let held = &found["suppressors"][0];
    assert_eq!((&held["name"], &held["until"]), (&json!("core/gate"), &Value::Null), "{found}");
    assert_eq!((&held["holds_back"], &held["at_end"]), (&json!(["opening"]), &json!("checked_then_told")), "{found}");
    let reason = held["reason"].as_str().unwrap();
    assert!(reason.starts_with("It depends on `core/gate`, which is down: ") && reason.contains("503"), "{found}");
    assert_eq!((&found["is_told"], &found["incident"]), (&json!(false), &Value::Null), "{found}");
    let expected =
        format!("An outage would not be told: {reason}; then it is checked at once, and told if it is still down");
    assert_eq!(sentence(&found), expected);

    site.set(500);
    let found = once_down(&platform).await;
    assert_eq!((&found["is_told"], names(&found)), (&json!(false), vec!["parent_down"]), "{found}");
    assert!(sentence(&found).contains("nobody was told. It depends on `core/gate`, which is down: "), "{found}");
    until("it is written", async || why(&platform).await["notifications"][0]["held_by"] == "parent_down").await;
    assert_eq!(why(&platform).await["incident"]["told"], json!([]));

    // The parent is good again: it is told for itself.
    gate.set(200);
    until("it is told", async || why(&platform).await["incident"]["told"] == json!(["out"])).await;
    let found = why(&platform).await;
    assert_eq!((&found["is_told"], names(&found)), (&json!(true), Vec::new()), "{found}");
    assert!(sentence(&found).contains("told to out"), "{found}");
}
