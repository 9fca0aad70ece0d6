//! What is seen of digests: what waits for one and until when, and what went into them.

use serde_json::{Value, json};

use super::events::Stream;
use super::explain::explain;
use super::{Platform, until};
use crate::flows::target::Switched;
use crate::telling::hook::Hook;

/// Endpoints that fail together, checked each second, one failure of which is an outage; a test adds keys of its own.
fn endpoints(target: &Switched, all: &[(&str, &str)]) -> String {
    let one = |(name, keys): &(&str, &str)| {
        format!(
            "{{name: {name}, group: core, url: '{}', interval: 1, retry: {{enabled: false}}, alert_policy: \
             {{failure_threshold: 1, confirm_interval: 1, cooldown_seconds: 0, flap: false}}{keys}}}",
            target.url("e")
        )
    };
    format!("endpoints: [{}]\n", all.iter().map(one).collect::<Vec<_>>().join(", "))
}

async fn why(platform: &Platform, id: usize) -> Value {
    platform.get(&format!("/api/v1/endpoints/{id}/why-not-told")).await.expect(200).json()
}

fn waits(why: &Value) -> Vec<Value> {
    let all = why["suppressors"].as_array().unwrap();
    all.iter().filter(|held| held["by"] == "grouping").cloned().collect()
}

#[tokio::test]
async fn what_waits_for_a_digest_says_so_with_its_channel_its_end_and_the_others() {
    let target = Switched::good();
    let (team, pager) = (Hook::start(), Hook::saying("202 Accepted", r#"{"status": "success"}"#));
    let all = [("a", ""), ("b", ""), ("c", ", notify: [team]")];
    let platform = Platform::start(&format!(
        "{}group_messages: {{after: 1, window: 10m}}\nchannels:\n  team: {{type: webhook, url: '{}'}}\n  pager: {{type: \
         pagerduty, routing_key: 0123456789abcdef0123456789abcdef, api_url: '{}'}}\n",
        endpoints(&target, &all),
        team.url(),
        pager.base()
    ));
    let up = async || platform.get("/api/v1/endpoints?status=up").await.json()["total"] == 3;
    until("the first good checks", up).await;
    target.set(500);
    until("one is told", async || team.taken().len() == 1).await;
    let alone = team.taken()[0].1["endpoint_name"].clone();
    let others: Vec<usize> = (1..=3).filter(|id| all[id - 1].0 != alone).collect();
    for id in &others {
        until("it waits", async || waits(&why(&platform, *id).await).iter().any(|held| has_others(held, 1))).await;
        let found = why(&platform, *id).await;
        let [held] = waits(&found).try_into().unwrap();
        assert_eq!((&held["name"], &held["at_end"]), (&json!("team"), &json!("digest")), "{found}");
        let end = held["until"].as_str().unwrap();
        assert_eq!(
            held["reason"],
            "Many messages to team came at once: `down` waits for the digest, with 1 other endpoint"
        );
        let rows = found["notifications"][0]["deliveries"].as_array().unwrap();
        let row = rows.iter().find(|row| row["channel"] == "team").unwrap();
        assert_eq!((&row["held_by"], row["held_until"].as_str()), (&json!("grouping"), Some(end)), "{found}");
        let second = &end[.."2026-11-21T07:00:00".len()];
        let said = found["sentence"].as_str().unwrap();
        if *id == 3 {
            // Nobody else is told of it.
            assert_eq!((&found["is_told"], &found["incident"]["told"]), (&json!(false), &json!(["team"])), "{found}");
            let expected = format!(
                "and nobody was told. Many messages to team came at once: `down` waits for the digest, with 1 other \
                 endpoint, until {second}Z; then one message tells all of it"
            );
            assert!(said.ends_with(&expected), "{said}");
        } else {
            assert_eq!(found["is_told"], true, "{found}");
            let expected = format!("told to pager; team is told at {second}Z, in one message with others");
            assert!(said.contains(&expected), "{said}");
        }
        let incident = found["incident"]["id"].to_string();
        for path in [format!("/api/v1/incidents/{incident}"), format!("/api/v1/incidents?endpoint={id}")] {
            let answer = platform.get(&path).await.expect(200).json();
            let shown = answer["incidents"].get(0).unwrap_or(&answer);
            assert_eq!(shown["held_by"], json!({"by": "grouping", "name": "team", "until": end}), "{path}: {shown}");
        }
    }
    let told = (1..=3).find(|id| !others.contains(id)).unwrap();
    assert_eq!(waits(&why(&platform, told).await), [] as [Value; 0]);

    let url = format!("http://{}", platform.address);
    let name = format!("core/{}", all[others[0] - 1].0);
    let ended = explain(&platform, &[&name], &[("API_MONITOR_URL", &url)]).await;
    let expected =
        "- grouping: Many messages to team came at once: `down` waits for the digest, with 1 other endpoint, until ";
    assert!(ended.stdout.contains(expected), "{}", ended.stdout);

    // Once it is good again what waits is on its way still, and keeps nothing back that comes.
    target.set(200);
    let both = async || waits(&why(&platform, others[0]).await).iter().any(|held| has_others(held, 2));
    until("the recoveries wait too", both).await;
    until("it is over", async || why(&platform, others[0]).await["incident"].is_null()).await;
    let found = why(&platform, others[0]).await;
    assert_eq!((&found["is_told"], waits(&found).len()), (&json!(true), 1), "{found}");
    let said = found["sentence"].as_str().unwrap();
    assert!(said.starts_with("Nothing holds messages back: ") && said.contains("Many messages to team"), "{said}");
}

/// Whether so many others wait for the same digest.
fn has_others(held: &Value, others: usize) -> bool {
    held["reason"].as_str().unwrap().contains(&format!("with {others} other endpoint"))
}

#[tokio::test]
async fn digests_and_what_they_tell_are_counted_and_told_to_whoever_looks_on() {
    let (target, team) = (Switched::good(), Hook::start());
    let all = [("a", ""), ("b", ""), ("c", ""), ("d", "")];
    let platform = Platform::start(&format!(
        "{}group_messages: {{after: 1, window: 2s}}\nchannels: {{team: {{type: webhook, url: '{}'}}}}\n",
        endpoints(&target, &all),
        team.url()
    ));
    let mut stream = Stream::open(&platform, "?type=notification", None).await;
    let all_are = async |status: &str| {
        let path = format!("/api/v1/endpoints?status={status}");
        until(status, async || platform.get(&path).await.json()["total"] == all.len()).await;
    };
    all_are("up").await;
    let digests = || team.taken().into_iter().filter(|(_, body)| body["event"] == "digest").count();
    // A busy machine may take longer than a window from one endpoint to the next.
    for round in 0.. {
        assert!(round < 20, "no digest in {round} rounds");
        target.set(500);
        all_are("down").await;
        target.set(200);
        all_are("up").await;
        let settled = async || platform.get("/api/v1/notifications?state=pending").await.json()["total"] == 0;
        until("nothing waits any longer", settled).await;
        if digests() > 0 {
            break;
        }
    }
    let list = platform.get("/api/v1/notifications?limit=1000").await.expect(200).json();
    let rows = list["notifications"].as_array().unwrap().iter().flat_map(|n| {
        let deliveries = n["deliveries"].as_array().unwrap();
        deliveries.iter().map(|delivery| (n["id"].clone(), delivery["state"].clone(), delivery["digest"].clone()))
    });
    let mut grouped: Vec<_> = rows.filter(|(_, state, _)| state == "grouped").map(|(id, _, of)| (id, of)).collect();
    let made = list["notifications"].as_array().unwrap().iter().filter(|n| n["event"] == "digest").count();
    assert!(grouped.len() > 1 && made == digests(), "{list}");

    let mut seen = Vec::new();
    while seen.len() < grouped.len() {
        let (news, _) = stream.until("a message of a digest", |_, data| data["state"] == "grouped").await;
        assert_eq!((&news["channel"], news["endpoint"]["group"].as_str()), (&json!("team"), Some("core")), "{news}");
        seen.push((news["notification_id"].clone(), news["digest"].clone()));
    }
    let key = |(id, _): &(Value, Value)| id.to_string();
    seen.sort_by_key(key);
    grouped.sort_by_key(key);
    assert_eq!(seen, grouped);

    let metrics = String::from_utf8(platform.get("/metrics").await.expect(200).body).unwrap();
    for (name, count) in [("deliveries_grouped", grouped.len()), ("digests", made)] {
        let line = format!("api_monitor_{name}_total{{channel=\"team\"}} {count}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
        let shown = platform.get(&format!("/api/v1/metrics/{name}")).await.expect(200).json();
        assert!(shown.to_string().contains(&format!(":{count}")), "{shown}");
    }
}
