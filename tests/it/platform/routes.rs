//! Routes: who is told, and by which policy, by group, tag or name.

use serde_json::{Value, json};

use super::{Platform, until};
use crate::flows::target::Switched;
use crate::telling::hook::Hook;

fn events(hook: &Hook) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    hook.taken().iter().map(|(_, body)| (text(&body["endpoint_name"]), text(&body["event"]))).collect()
}

#[tokio::test]
async fn the_first_route_that_means_an_endpoint_says_who_is_told_and_by_which_policy() {
    let (all, team, boss) = (Hook::start(), Hook::start(), Hook::start());
    let target = Switched::good();
    let (url, hooks) = (target.url("e"), [all.url(), team.url(), boss.url()]);
    let platform = Platform::start(&format!(
        "group_messages: false
channels:
  all: {{type: webhook, url: '{}'}}
  team: {{type: webhook, url: '{}', default: false}}
  boss: {{type: webhook, url: '{}', default: false}}
defaults: {{interval: 1, retry: {{enabled: false}}, alert_policy: {{failure_threshold: 1, cooldown_seconds: 0}}}}
routes:
  - {{match: 'tag:shop', notify: [team], alert_policy: {{failure_threshold: 2}}}}
  - {{match: ['group:core', quiet], notify: []}}
  - {{match: '*', alert_policy: {{success_threshold: 2}}}}
groups:
  core:
    notify: [boss]
    alert_policy: {{failure_threshold: 5}}
    endpoints:
      - {{name: silent, url: '{url}'}}
      - {{name: own, url: '{url}', notify: [boss], alert_policy: {{failure_threshold: 1}}}}
endpoints:
  - {{name: tagged, tags: [shop], url: '{url}'}}
  - {{name: other, url: '{url}'}}
",
        hooks[0], hooks[1], hooks[2]
    ));
    let body = json!({"name": "made", "url": target.url("e"), "tags": ["shop"]});
    let made = platform.send("POST", "/api/v1/endpoints", &body).await.expect(201).json();
    let policy = |endpoint: &Value, key: &str| endpoint["effective"]["alert_policy"][key].clone();
    assert_eq!((&made["effective"]["notify"], policy(&made, "failure_threshold")), (&json!(["team"]), json!(2)));
    let of = async |name: &str| {
        let list = platform.get("/api/v1/endpoints?limit=100").await.expect(200).json();
        let all = list["endpoints"].as_array().unwrap().clone();
        let id = all.iter().find(|endpoint| endpoint["name"] == name).unwrap()["id"].clone();
        platform.get(&format!("/api/v1/endpoints/{id}")).await.expect(200).json()
    };
    let (silent, own, other) = (of("silent").await, of("own").await, of("other").await);
    // The route is nearer than the group, and the endpoint nearer than the route.
    assert_eq!((&silent["effective"]["notify"], policy(&silent, "failure_threshold")), (&json!([]), json!(5)));
    assert_eq!((&own["effective"]["notify"], policy(&own, "failure_threshold")), (&json!(["boss"]), json!(1)));
    assert_eq!((policy(&other, "failure_threshold"), policy(&other, "success_threshold")), (json!(1), json!(2)));
    assert_eq!(policy(&of("tagged").await, "success_threshold"), 1, "only the first applies");

    let shown = platform.get("/api/v1/config").await.expect(200).json().to_string();
    assert!(shown.contains("tag:shop") && shown.contains("group_messages"), "{shown}");

    target.set(500);
    let heard = |hook: &Hook, name: &str| events(hook).contains(&(name.to_owned(), "down".to_owned()));
    until("each is told where its route says", async || {
        heard(&team, "tagged") && heard(&team, "made") && heard(&boss, "own") && heard(&all, "other")
    })
    .await;
    // Whoever was told is told of the end, wherever the route leads now.
    let id = made["id"].clone();
    let path = format!("/api/v1/endpoints/{id}");
    platform.send("PATCH", &path, &json!({"tags": []})).await.expect(200);
    target.set(200);
    until("the end", async || events(&team).contains(&("made".to_owned(), "up".to_owned()))).await;
    until("the end of the other", async || events(&all).contains(&("other".to_owned(), "up".to_owned()))).await;
    assert!(events(&all).iter().all(|(name, _)| name == "other"), "{:?}", events(&all));
    assert!(events(&boss).iter().all(|(name, _)| name == "own"), "{:?}", events(&boss));
}
