//! A storm: a thousand endpoints that fail in the same moment, and come back in the same moment.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Platform, until};
use crate::flows::target::Switched;
use crate::telling::hook::Hook;

const ENDPOINTS: usize = 1_000;

/// How long the windows are, in seconds.
const WINDOW: i64 = 20;

struct Storm {
    target: Switched,
    team: Hook,
    pager: Hook,
}

impl Storm {
    fn new() -> (Self, String) {
        let target = Switched::good();
        let (team, pager) = (Hook::start(), Hook::saying("202 Accepted", r#"{"status": "success"}"#));
        let mut yaml = format!(
            "group_messages: {{window: {WINDOW}s}}\nmonitoring: {{max_checks_per_host: 1000}}\nchannels:\n  \
             team: {{type: webhook, url: '{}'}}\n  pager: {{type: pagerduty, routing_key: \
             0123456789abcdef0123456789abcdef, api_url: '{}'}}\ndefaults: {{interval: 8, timeout: 8, retry: \
             {{enabled: false}}, alert_policy: {{failure_threshold: 1, cooldown_seconds: 0, reminder: false, flap: \
             false}}}}\nendpoints:\n",
            team.url(),
            pager.base()
        );
        for n in 0..ENDPOINTS {
            writeln!(yaml, "  - {{name: shop {n:04}, url: '{}'}}", target.url(&format!("e{n}"))).unwrap();
        }
        (Self { target, team, pager }, yaml)
    }

    fn set(&self, status: u16) {
        self.target.set(status);
    }

    /// How often each endpoint was named, by messages of its own and by digests, with this event.
    fn named(&self, event: &str) -> BTreeMap<String, usize> {
        let mut named = BTreeMap::new();
        for (_, body) in self.team.taken() {
            let of_digest = body["items"].as_array().into_iter().flatten();
            let by_digest = of_digest.filter(|item| item["events"].as_array().unwrap().contains(&json!(event)));
            let by_digest = by_digest.map(|item| item["endpoint"]["name"].clone());
            for name in by_digest.chain((body["event"] == event).then(|| body["endpoint_name"].clone())) {
                *named.entry(name.as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
        named
    }

    /// Messages of this event by themselves, and digests that tell it.
    fn numbers(&self, event: &str) -> (usize, usize) {
        let taken = self.team.taken();
        let alone = taken.iter().filter(|(_, body)| body["event"] == event).count();
        let tells = |body: &Value| body["items"].as_array().is_some_and(|all| all.iter().any(|i| i["event"] == event));
        (alone, taken.iter().filter(|(_, body)| tells(body)).count())
    }

    fn pages(&self, action: &str) -> usize {
        self.pager.taken().iter().filter(|(_, body)| body["event_action"] == action).count()
    }
}

/// The seconds between the first and the last of these notifications being written.
async fn spread(platform: &Platform, event: &str) -> i64 {
    let at = async |sort: &str| {
        let list = platform.get(&format!("/api/v1/notifications?event={event}&limit=1&sort={sort}")).await;
        let at: chrono::DateTime<chrono::Utc> =
            serde_json::from_value(list.expect(200).json()["notifications"][0]["created_at"].clone()).unwrap();
        at
    };
    (at("-created_at").await - at("created_at").await).num_seconds()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_outages_at_once_are_three_messages_and_one_digest_and_a_pager_gets_each() {
    let (storm, yaml) = Storm::new();
    let platform = Platform::start(&yaml);
    let up = async || platform.get("/api/v1/endpoints?status=up&limit=1").await.json()["total"] == ENDPOINTS;
    until("the first good checks", up).await;

    storm.set(500);
    // While they wait, the rows say so, and until when.
    let mut waiting = Value::Null;
    until("something waits for the digest", async || {
        let list = platform.get("/api/v1/notifications?event=down&state=pending&limit=1000").await.expect(200).json();
        let all = list["notifications"].as_array().unwrap();
        let held = |n: &&Value| n["deliveries"].as_array().unwrap().iter().any(|d| d["held_by"] == "grouping");
        waiting = all.iter().find(held).cloned().unwrap_or_default();
        !waiting.is_null()
    })
    .await;
    let held = waiting["deliveries"].as_array().unwrap().iter().find(|d| d["held_by"] == "grouping").unwrap();
    assert_eq!((&held["channel"], &held["digest"]), (&json!("team"), &Value::Null));
    assert!(held["held_until"].is_string() && held["state"] == "pending", "{held}");

    until("every outage is told to the team", async || storm.named("down").len() == ENDPOINTS).await;
    until("and to the pager", async || storm.pages("trigger") == ENDPOINTS).await;
    storm.set(200);
    until("every end is told to the team", async || storm.named("up").len() == ENDPOINTS).await;
    until("and to the pager", async || storm.pages("resolve") == ENDPOINTS).await;

    for event in ["down", "up"] {
        assert!(storm.named(event).values().all(|times| *times == 1), "{event}: each exactly once");
        let ((alone, digests), seconds) = (storm.numbers(event), spread(&platform, event).await);
        // A machine that is busy takes longer than a window for so many checks.
        let windows = usize::try_from(seconds / WINDOW).unwrap() + 1;
        assert!(alone <= 3 * windows && digests <= windows, "{event}: {alone} and {digests} in {seconds} s");
        if windows == 1 {
            assert_eq!((alone, digests), (3, 1), "{event}");
        }
    }
    assert_eq!(storm.pager.taken().len(), 2 * ENDPOINTS, "nothing more");

    let list = platform.get("/api/v1/notifications?event=digest").await.expect(200).json();
    let digest = &list["notifications"][0];
    assert_eq!(digest["items"].as_array().unwrap().len(), 100, "the first of them");
    let id = digest["id"].as_str().unwrap();
    let whole = platform.get(&format!("/api/v1/notifications/{id}")).await.expect(200).json();
    assert_eq!(json!(whole["facts"]["items"].as_array().unwrap().len()), digest["item_count"]);
    let item = digest["items"][0]["notifications"][0].as_str().unwrap();
    let told = platform.get(&format!("/api/v1/notifications/{item}")).await.expect(200).json();
    let team = told["deliveries"].as_array().unwrap().iter().find(|d| d["channel"] == "team").unwrap();
    assert_eq!((&team["state"], &team["digest"], &team["held_by"]), (&json!("grouped"), &json!(id), &Value::Null));
    let again = platform.send("POST", &format!("/api/v1/notifications/{item}/retry"), &json!({})).await.expect(409);
    assert!(String::from_utf8_lossy(&again.body).contains(id), "it says which digest tells it");
}
