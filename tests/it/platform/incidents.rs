//! What people do with an outage that is open: they acknowledge it, write notes, resolve it.

use serde_json::{Value, json};

use super::{Platform, until};
use crate::flows::target::Switched;
use crate::telling::hook::Hook;

/// An endpoint that a test switches, watched every second, told to `front`, and after a second to `back`.
struct Watched {
    target: Switched,
    front: Hook,
    back: Hook,
}

impl Watched {
    fn good() -> Self {
        Self { target: Switched::good(), front: Hook::start(), back: Hook::start() }
    }

    fn set(&self, status: u16) {
        self.target.set(status);
    }

    fn config(&self, policy: &str) -> String {
        format!(
            "channels:\n  front: {{type: webhook, url: '{}'}}\n  back: {{type: webhook, url: '{}', default: false}}\n\
             public_url: http://localhost\nendpoints:\n  - {{name: shop, url: '{}', interval: 1, \
             retry: {{enabled: false}}, alert_policy: {{failure_threshold: 1, {policy}}}}}\n",
            self.front.url(),
            self.back.url(),
            self.target.url("shop")
        )
    }
}

fn events(hook: &Hook) -> Vec<String> {
    hook.taken().iter().map(|(_, body)| body["event"].as_str().unwrap().to_owned()).collect()
}

async fn told(hook: &Hook, event: &str) {
    until(event, async || events(hook).iter().any(|told| told == event)).await;
}

fn of(hook: &Hook, event: &str) -> Value {
    hook.taken().into_iter().map(|(_, body)| body).find(|body| body["event"] == event).unwrap()
}

async fn incident(platform: &Platform) -> Value {
    platform.get("/api/v1/incidents/1").await.expect(200).json()
}

fn timeline(incident: &Value) -> Vec<&str> {
    incident["events"].as_array().unwrap().iter().map(|event| event["event"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn an_outage_is_escalated_acknowledged_and_its_end_told_to_all_who_heard_of_it() {
    let shop = Watched::good();
    let platform = Platform::start(&shop.config(
        "cooldown_seconds: 0, reminder: {every: 1s, backoff: 1, max: 1s}, escalation: [{after: 1s, notify: [back]}]",
    ));
    shop.set(500);
    told(&shop.front, "down").await;
    told(&shop.front, "reminder").await;
    told(&shop.back, "escalated").await;
    assert_eq!(events(&shop.back), ["escalated"]);
    let before = incident(&platform).await;
    assert_eq!((&before["status"], &before["escalation_steps"]), (&json!("open"), &json!(1)));
    assert_eq!((&before["acknowledgement"], &before["held_by"]), (&Value::Null, &Value::Null));

    let body = json!({"note": "The provider is told", "for": "2h"});
    let answer = platform.send("POST", "/api/v1/incidents/1/acknowledge", &body).await.expect(200).json();
    let by = answer["acknowledgement"]["by"].clone();
    assert_eq!(answer["acknowledgement"]["note"], "The provider is told");
    assert_eq!((&answer["held_by"]["by"], &answer["held_by"]["name"]), (&json!("acknowledged"), &by));
    assert_eq!(answer["held_by"]["until"], answer["acknowledgement"]["until"]);
    told(&shop.front, "acknowledged").await;
    told(&shop.back, "acknowledged").await;
    let message = of(&shop.back, "acknowledged");
    assert_eq!(message["incident"]["acknowledgement"]["note"], "The provider is told");
    let reminders = incident(&platform).await["reminders"].clone();
    let audit = platform.get("/api/v1/audit?action=incident.acknowledge").await.expect(200).json();
    assert_eq!((&audit["total"], &audit["entries"][0]["subject"]), (&json!(1), &json!("incident/1")), "{audit}");

    // It is still acknowledged after a restart.
    let Platform { folder, process, .. } = platform;
    process.signal("TERM");
    let ended = tokio::task::spawn_blocking(move || process.wait(std::time::Duration::from_mins(2))).await.unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let platform = Platform::start_in(folder, &[]);
    let again = incident(&platform).await;
    assert_eq!((&again["acknowledgement"]["by"], &again["held_by"]["by"]), (&by, &json!("acknowledged")));
    assert_eq!(again["reminders"], reminders, "nobody was reminded since");

    shop.set(200);
    told(&shop.front, "up").await;
    told(&shop.back, "up").await;
    let after = incident(&platform).await;
    assert_eq!((&after["resolution"], &after["held_by"]), (&json!("recovered"), &Value::Null));
    for event in ["opened", "reminded", "escalated", "acknowledged", "resolved"] {
        assert!(timeline(&after).contains(&event), "{event}: {after}");
    }
    let over = platform.send("POST", "/api/v1/incidents/1/acknowledge", &json!({})).await.expect(409).json();
    assert_eq!(over["type"], "urn:api-monitor:problem:incident-over");
    assert_eq!(events(&shop.back), ["escalated", "acknowledged", "up"]);
}

#[tokio::test]
async fn an_incident_is_resolved_by_hand_only_while_its_checks_are_good() {
    let shop = Watched::good();
    // Its recovery is never confirmed by itself.
    let platform = Platform::start(&shop.config("success_threshold: 1000, reminder: false"));
    shop.set(500);
    told(&shop.front, "down").await;
    let path = "/api/v1/incidents/1/resolve";
    let refused = platform.send("POST", path, &json!({})).await.expect(409).json();
    assert_eq!(refused["type"], "urn:api-monitor:problem:checks-fail");
    platform.send("POST", "/api/v1/incidents/9/resolve", &json!({})).await.expect(404);
    for wrong in [json!({"note": " "}), json!({"note": 1}), json!({"nota": "x"}), json!({"note": "x\u{0}"})] {
        platform.send("POST", path, &wrong).await.expect(400);
    }

    let note = json!({"note": "Restarted at 10:40"});
    platform.send("POST", "/api/v1/incidents/1/notes", &note).await.expect(200);
    platform.send("POST", "/api/v1/incidents/1/notes", &json!({})).await.expect(400);

    shop.set(200);
    until("resolved", async || {
        platform.send("POST", path, &json!({"note": "It is back"})).await.status.as_u16() == 200
    })
    .await;
    told(&shop.front, "up").await;
    let after = incident(&platform).await;
    assert_eq!((&after["status"], &after["resolution"]), (&json!("resolved"), &json!("by_hand")));
    assert_eq!(timeline(&after), ["opened", "noted", "resolved"]);
    let notes: Vec<_> = after["events"].as_array().unwrap().iter().map(|event| event["note"].clone()).collect();
    assert_eq!(notes, [Value::Null, json!("Restarted at 10:40"), json!("It is back")]);
    assert!(after["events"][1]["actor"].is_string());
    platform.send("POST", "/api/v1/incidents/1/notes", &json!({"note": "Written up"})).await.expect(200);
    assert_eq!(events(&shop.front), ["down", "up"], "notes are told to nobody");
}
