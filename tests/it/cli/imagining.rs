//! `simulate` and `backtest`: what would be told, without a monitor that runs.

use api_monitor::app::store_options;
use api_monitor::clock::{Clock, SystemClock};
use api_monitor::domain::endpoint::EndpointId;
use api_monitor::domain::outcome::{Failure, FailureKind, Outcome};
use api_monitor::domain::{from_micros, micros};
use api_monitor::store::{self, Store};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::configured;
use super::process::run;
use crate::flows::harness::load;
use crate::flows::uptime::past_checks;

const WATCHED: &str = "\
timezone: Europe/Berlin
channels:
  mail: {type: webhook, url: 'http://127.0.0.1:9/mail'}
  pager: {type: webhook, url: 'http://127.0.0.1:9/pager', default: false}
defaults: {interval: 60s, alert_policy: {escalation: [{after: 30m, notify: [pager]}]}}
groups:
  core:
    endpoints: {api: 'http://127.0.0.1:9/', db: 'http://127.0.0.1:9/'}
maintenance_windows:
  - {name: backup, match: 'group:core', at: '02:00', every: day, for: 1h30m}
";

fn events(folder: &std::path::Path, arguments: &[&str]) -> Vec<Value> {
    let mut all = vec!["--config", "config.yaml", "simulate", "--json"];
    all.extend(arguments);
    let ended = run(folder, &all);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let value: Value = serde_json::from_str(&ended.stdout).unwrap();
    value["events"].as_array().unwrap().clone()
}

fn told(events: &[Value]) -> Vec<(String, String)> {
    let messages = events.iter().filter(|event| event["what"] == "told");
    let word = |event: &Value| {
        let channels: Vec<_> = event["channels"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
        (event["event"].as_str().unwrap().to_owned(), channels.join(","))
    };
    messages.map(word).collect()
}

fn at(event: &Value) -> DateTime<Utc> {
    event["at"].as_str().unwrap().parse().unwrap()
}

#[test]
fn an_imagined_outage_is_told_reminded_escalated_and_ended() {
    let folder = configured(WATCHED);
    let events = events(folder.path(), &["core/api", "--down", "2h", "--at", "2026-11-29T12:00"]);
    let pairs = told(&events);
    let words: Vec<_> = pairs.iter().map(|(event, to)| format!("{event} {to}")).collect();
    assert_eq!(words, ["down mail", "escalated pager", "reminder mail", "up mail,pager"]);
    // By the clocks of Berlin, one hour ahead; two failed checks confirm.
    let down = events.iter().find(|event| event["event"] == "down").unwrap();
    let began: DateTime<Utc> = "2026-11-29T11:00:00Z".parse().unwrap();
    assert!(at(down) >= began && at(down) < began + TimeDelta::seconds(90), "{down}");
    assert!(!folder.path().join("monitor.db").exists(), "nothing is written");
}

#[test]
fn a_window_holds_it_back_until_its_end_and_that_is_said() {
    let folder = configured(WATCHED);
    let arguments = ["core/api", "--down", "2h", "--at", "2026-11-29T02:30"];
    let events = events(folder.path(), &arguments);
    let held = events.iter().find(|event| event["what"] == "kept_back").unwrap();
    assert_eq!((&held["held_by"], &held["name"]), (&"maintenance".into(), &"backup".into()));
    assert_eq!(held["until"], "2026-11-29T02:30:00Z");
    let down = events.iter().find(|event| event["event"] == "down").unwrap();
    let end: DateTime<Utc> = "2026-11-29T02:30:00Z".parse().unwrap();
    assert!(at(down) > end && at(down) < end + TimeDelta::seconds(30), "{down}");

    let mut all = vec!["--config", "config.yaml", "simulate"];
    all.extend(arguments);
    let text = run(folder.path(), &all).stdout;
    assert!(
        text.starts_with("core/api down from 2026-11-29 02:30:00 to 2026-11-29 04:30:00 (Europe/Berlin)"),
        "{text}"
    );
    assert!(text.contains("kept back opening: maintenance (backup) until 2026-11-29 03:30:00"), "{text}");
}

#[test]
fn several_fail_together_and_unknown_names_get_a_suggestion() {
    let folder = configured(WATCHED);
    let events = events(folder.path(), &["api", "--down", "10m", "--at", "2026-11-29T12:00:00Z", "--also", "core/db"]);
    for name in ["core/api", "core/db"] {
        let of_it: Vec<_> = events.iter().filter(|event| event["endpoint"] == name).cloned().collect();
        assert_eq!(told(&of_it).len(), 2, "{name}");
    }
    for (arguments, words) in [
        (vec!["core/apy", "--down", "1h"], "did you mean `core/api`?"),
        (vec!["core/api", "--down", "1h", "--at", "tomorrow"], "2026-11-29T03:00"),
        (vec!["core/api", "--down", "60d"], "31 days"),
    ] {
        let mut all = vec!["--config", "config.yaml", "simulate"];
        all.extend(arguments);
        let refused = run(folder.path(), &all);
        assert_eq!(refused.code, Some(2));
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
    }
}

const DEPENDING: &str = "\
timezone: UTC
group_messages: {after: 1, window: 30s}
channels:
  mail: {type: webhook, url: 'http://127.0.0.1:9/mail'}
  pager: {type: pagerduty, routing_key: 0123456789abcdef0123456789abcdef}
defaults: {interval: 60s}
groups:
  infra:
    endpoints: {gate: 'http://10.0.0.1/'}
  core:
    depends_on: [infra/gate]
    endpoints: {a: 'http://10.0.0.2/', b: 'http://10.0.0.3/', c: 'http://10.0.0.4/', here: 'http://127.0.0.1:9/'}
";

fn of<'a>(events: &'a [Value], endpoint: &str, what: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["endpoint"] == endpoint && event["what"] == what).collect()
}

#[test]
fn children_are_held_while_their_parent_is_down_and_told_where_it_is_asked_and_answers() {
    let folder = configured(DEPENDING);
    let noon = ["--at", "2026-11-29T12:00"];
    // The parent is down too: it alone is told.
    let arguments = [&["infra/gate", "--down", "30m", "--also", "core/a"], &noon[..]].concat();
    let both = events(folder.path(), &arguments);
    let (gate, child) = (of(&both, "infra/gate", "told"), of(&both, "core/a", "told"));
    assert_eq!((gate.len(), child.len()), (2, 0), "{both:?}");
    let held = of(&both, "core/a", "kept_back");
    assert!(held.iter().any(|held| held["held_by"] == "parent_down" && held["name"] == "infra/gate"), "{held:?}");
    assert_eq!(of(&both, "core/a", "not_told")[0]["held_by"], "parent_down");

    // It answers, though nobody named it, and the child is told as soon as it has.
    let alone = events(folder.path(), &[&["core/a", "--down", "30m"], &noon[..]].concat());
    let (asked, down) = (of(&alone, "core/a", "kept_back")[0], of(&alone, "core/a", "told")[0]);
    assert_eq!((&asked["held_by"], &asked["name"]), (&"parent_down".into(), &"infra/gate".into()));
    assert_eq!(down["event"], "down");
    assert!(at(down) - at(asked) <= TimeDelta::seconds(1), "{asked} {down}");
}

#[test]
fn what_would_go_as_a_digest_says_so_and_channels_with_incidents_of_their_own_get_each() {
    let folder = configured(&DEPENDING.replace("    depends_on: [infra/gate]\n", ""));
    let mut arguments = vec!["core/a", "--down", "30m", "--at", "2026-11-29T12:00"];
    arguments.extend(["--also", "core/b", "--also", "core/c", "--also", "core/here", "--also", "infra/gate"]);
    let all = events(folder.path(), &arguments);
    let told = all.iter().filter(|event| event["event"] == "down").collect::<Vec<_>>();
    assert_eq!(told.len(), 5, "{all:?}");
    for digest in all.iter().filter(|event| event["what"] == "digest") {
        assert_eq!(digest["channels"], serde_json::json!(["mail"]), "{digest}");
        for id in digest["ids"].as_array().unwrap() {
            let grouped = all.iter().find(|event| event["id"] == *id).unwrap();
            assert_eq!(grouped["grouped_until"]["mail"], digest["at"], "{grouped}");
            assert!(at(digest) - at(grouped) <= TimeDelta::seconds(30), "{grouped}");
        }
    }
    // Five within a minute: in one of two windows there are three, of which one goes at once.
    let text = run(folder.path(), &[&["--config", "config.yaml", "simulate"], &arguments[..]].concat()).stdout;
    let digests = all.iter().filter(|event| event["what"] == "digest").count();
    assert!(digests > 0, "{text}");
    assert_eq!((text.matches("told      digest of ").count(), text.contains("partly in")), (digests, true), "{text}");
}

#[test]
fn while_our_own_network_is_cut_off_nothing_counts_but_what_is_here_and_that_is_told() {
    let folder = configured(DEPENDING);
    let mut arguments = vec!["core/a", "--down", "2m", "--at", "2026-11-29T12:00", "--own-network-down", "5m"];
    let refused = run(folder.path(), &[&["--config", "config.yaml", "simulate"], &arguments[..]].concat());
    assert_eq!(refused.code, Some(2), "{}", refused.stdout);
    assert!(refused.stderr.contains("needs `connectivity`"), "{}", refused.stderr);

    let with_targets = "connectivity: {targets: ['tcp://10.0.0.250:53'], max_suppression: 10m}\n";
    let folder = configured(&format!("{with_targets}{DEPENDING}"));
    arguments.extend(["--also", "core/here"]);
    let all = events(folder.path(), &arguments);
    let words: Vec<_> = of(&all, "own network", "told").iter().map(|event| event["event"].clone()).collect();
    assert_eq!(words, ["blind", "blind"], "gone, and there again: {all:?}");
    assert!(of(&all, "core/a", "told").is_empty(), "{all:?}");
    assert_eq!(of(&all, "core/a", "not_counted").len(), 1, "once for as long as it lasts: {all:?}");
    let here: Vec<_> = of(&all, "core/here", "told").iter().map(|event| event["event"].clone()).collect();
    assert_eq!(here, ["down", "up"], "{all:?}");
}

/// A day of checks, one a minute, ended an hour ago; those of these minutes failed.
async fn recorded(folder: &std::path::Path, failed: &[i64]) {
    let now = SystemClock::new().now();
    let text = std::fs::read_to_string(folder.join("config.yaml")).unwrap();
    let config = load(&folder.join("config.yaml"), &text, now);
    let store = Store::open(&store_options(&config)).await.unwrap();
    api_monitor::service::sync::apply(&store, &config, now).await.unwrap();
    let first = now - TimeDelta::hours(25);
    let mut checks = past_checks(EndpointId(1), now, 24, 7);
    for (minute, check) in (0..).zip(&mut checks) {
        let at = from_micros(micros(first + TimeDelta::minutes(minute)));
        let failure = || Outcome::Down(Failure::new(FailureKind::HttpStatus, "GET returned 500, expected 200"));
        (check.scheduled_at, check.started_at) = (at, at);
        check.outcome = if failed.contains(&minute) { failure() } else { Outcome::Up };
    }
    store::history::append(store.writer(), &checks).await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_backtest_says_what_would_be_told_later_or_not_at_all() {
    let folder = configured(WATCHED);
    let command = |arguments: &[&str]| {
        let all = [&["--config", "config.yaml", "backtest"], arguments].concat();
        run(folder.path(), &all)
    };
    let none = command(&["--policy", "{failure_threshold: 3}"]);
    assert_eq!(none.code, Some(2), "{}", none.stderr);
    assert!(none.stderr.contains("there is no database"), "{}", none.stderr);

    // One outage of four checks, one of two.
    recorded(folder.path(), &[100, 101, 102, 103, 300, 301]).await;
    let tested = command(&["--policy", "{failure_threshold: 3}", "--days", "2", "--json"]);
    assert_eq!(tested.code, Some(0), "{}", tested.stderr);
    let value: Value = serde_json::from_str(&tested.stdout).unwrap();
    assert_eq!((&value["messages_before"], &value["messages_after"]), (&4.into(), &2.into()), "{value}");
    let endpoints = value["endpoints"].as_array().unwrap();
    let api = endpoints.iter().find(|endpoint| endpoint["name"] == "core/api").unwrap();
    assert_eq!((endpoints.len(), &api["results"]), (2, &1440.into()));
    let differences: Vec<_> = api["differences"].as_array().unwrap().iter().map(|d| d["difference"].clone()).collect();
    assert_eq!(differences, ["later", "not_told"]);
    let at = |of: &str| api["differences"][0][of].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    assert_eq!((at("after") - at("before")).num_seconds(), 60);

    let text = command(&["--policy", "{failure_threshold: 3}", "--match", "core/api"]).stdout;
    assert!(text.contains("core/api: 4 → 2") && text.contains("down 60 s later"), "{text}");
    assert!(
        text.contains("down not told") && text.contains("1 endpoint, 1440 results: 4 messages before, 2 after"),
        "{text}"
    );

    for (arguments, words) in [
        (["--policy", "{failure_treshold: 3}", "--days", "2"], "failure_threshold"),
        (["--policy", "{failure_threshold: 0}", "--days", "2"], "failure_threshold"),
        (["--policy", "{failure_threshold: 3}", "--match", "group:cor"], "group:core"),
    ] {
        let refused = command(&arguments);
        assert_eq!(refused.code, Some(2), "{}", refused.stdout);
        assert!(refused.stderr.contains(words) || refused.stderr.contains("`core`"), "{}", refused.stderr);
    }
}
