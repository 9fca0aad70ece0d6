//! Our own network in doubt: what is counted and told when targets, endpoints, or both are cut. Addresses of the Internet
//! are those of a network of the test's own.

use api_monitor::clock::{Clock, SystemClock};
use serde_json::{Value, json};

use super::{Platform, until};
use crate::flows::target::{Answer, Target};
use crate::namespace::{Address, alone};
use crate::telling::hook::Hook;

/// A target or an endpoint at an address that can be cut.
struct Place {
    address: Address,
    target: Target,
}

impl Place {
    fn at(address: &'static str) -> Self {
        let added = Address::add(address);
        Self { address: added, target: Target::at(address, |_, _| Answer::Status(200)) }
    }

    fn tcp(&self) -> String {
        format!("tcp://{}", self.target.address())
    }

    fn cut(&self) {
        self.address.cut();
    }

    fn mend(&self) {
        self.address.mend();
    }
}

struct World {
    platform: Platform,
    hook: Hook,
}

/// Checked every two seconds, twice of which confirms an outage.
fn checked(name: &str, url: &str) -> String {
    endpoint(name, url, 2)
}

fn endpoint(name: &str, url: &str, interval: u32) -> String {
    format!(
        "{{name: {name}, url: '{url}', interval: {interval}, timeout: 2, retry: {{enabled: false}}, \
         alert_policy: {{confirm_interval: 1}}}}"
    )
}

impl World {
    /// With endpoints and the section `connectivity`. All endpoints are up at the end of it, which is the end of the
    /// grace after the start, too.
    async fn start(endpoints: &[String], connectivity: &str) -> Self {
        let hook = Hook::start();
        let (url, endpoints) = (hook.url(), endpoints.join(", "));
        let world = Self {
            platform: Platform::start(&format!(
                "endpoints: [{endpoints}]\nchannels: {{hook: {{type: webhook, url: '{url}'}}}}\n\
                 connectivity: {{{connectivity}}}\n"
            )),
            hook,
        };
        until("all are up", async || {
            let list = world.platform.get("/api/v1/endpoints").await.json();
            list["endpoints"].as_array().unwrap().iter().all(|endpoint| endpoint["status"] == "up")
        })
        .await;
        world
    }

    async fn endpoint(&self, id: i64) -> Value {
        self.platform.get(&format!("/api/v1/endpoints/{id}")).await.expect(200).json()
    }

    async fn why(&self, id: i64) -> Value {
        self.platform.get(&format!("/api/v1/endpoints/{id}/why-not-told")).await.expect(200).json()
    }

    async fn until_status(&self, id: i64, status: &str) {
        until(&format!("{id} is {status}"), async || self.endpoint(id).await["status"] == status).await;
    }

    async fn network(&self) -> Value {
        self.platform.get("/health").await.expect(200).json()["own_network"].clone()
    }

    async fn until_network(&self, state: &str) {
        until(state, async || self.network().await["state"] == state).await;
    }

    /// What was told: of whom, the event and the status.
    fn told(&self) -> Vec<(String, String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let of = |m: &Value| (text(&m["endpoint_name"]), text(&m["event"]), text(&m["status"]));
        self.hook.taken().iter().map(|(_, message)| of(message)).collect()
    }

    fn message(&self, name: &str, event: &str, status: &str) -> Option<Value> {
        let is_it = |m: &Value| m["endpoint_name"] == name && m["event"] == event && m["status"] == status;
        self.hook.taken().into_iter().map(|(_, message)| message).find(is_it)
    }

    async fn until_told(&self, name: &str, event: &str, status: &str) -> Value {
        let what = format!("{name} {event} {status}");
        until(&what, async || self.message(name, event, status).is_some()).await;
        self.message(name, event, status).unwrap()
    }

    /// Outcomes and reasons of the newest checks, the newest first.
    async fn checks(&self, id: i64) -> Vec<(Value, Value)> {
        let list = self.platform.get(&format!("/api/v1/stats/history/{id}?limit=100")).await.expect(200).json();
        let checks = list["checks"].as_array().unwrap();
        checks.iter().map(|check| (check["outcome"].clone(), check["missed_reason"].clone())).collect()
    }

    async fn suppressed(&self, id: i64) -> usize {
        self.checks(id).await.iter().filter(|(_, reason)| *reason == "own_network").count()
    }

    async fn incidents(&self) -> Value {
        self.platform.get("/api/v1/incidents").await.expect(200).json()["total"].clone()
    }

    /// Has an endpoint checked by hand, and waits for it.
    async fn check(&self, id: i64) {
        self.platform.send("POST", &format!("/api/v1/endpoints/{id}/check"), &json!({})).await;
    }
}

#[test]
fn everything_cut_together_is_blind_and_nobodys_outage() {
    alone("platform::network::everything_cut_together_is_blind_and_nobodys_outage", async || {
        let (target, site, rare) = (Place::at("9.9.9.9"), Place::at("5.5.5.5"), Place::at("6.6.6.6"));
        let here = Target::answering(|_, _| Answer::Status(200));
        let endpoints = [
            checked("site", &site.target.url("")),
            checked("here", &here.url("")),
            endpoint("rare", &rare.target.url(""), 3600),
        ];
        let world = World::start(&endpoints, &format!("targets: ['{}'], interval: 1s", target.tcp())).await;
        assert_eq!(world.network().await["state"], "reachable");
        [&target, &site, &rare].into_iter().for_each(Place::cut);
        world.until_status(1, "unknown").await;
        world.check(3).await;
        until("some are not counted", async || world.suppressed(1).await >= 4).await;

        let shown = world.endpoint(1).await;
        assert_eq!((&shown["held_by"]["by"], &shown["incident"]), (&json!("own_network"), &Value::Null), "{shown}");
        assert_eq!(shown["held_by"]["reason"], "0 of 1 connectivity targets answer");
        assert_eq!((&shown["last_outcome"], &shown["uptime"]["24h"]), (&json!("missed"), &json!(100.0)), "{shown}");
        assert_eq!(world.endpoint(2).await["status"], "up", "loopback is no part of it");
        let why = world.why(1).await;
        let [held] = why["suppressors"].as_array().unwrap().as_slice() else { panic!("{why}") };
        assert_eq!((&held["by"], &held["holds_back"]), (&json!("own_network"), &json!(["opening"])), "{why}");
        assert_eq!(held["reason"], "Our own network is in doubt: 0 of 1 connectivity targets answer");
        assert_eq!((&held["at_end"], &why["is_told"]), (&json!("told"), &json!(false)), "{why}");
        assert_eq!((&why["status"], &why["incident"]), (&json!("unknown"), &Value::Null), "{why}");
        let until = chrono::DateTime::parse_from_rfc3339(held["until"].as_str().unwrap()).unwrap();
        let left = until.signed_duration_since(SystemClock::new().now());
        assert!(left.num_minutes() < 10, "not longer than max_suppression: {why}");
        let said = why["sentence"].as_str().unwrap();
        let expected =
            "An outage would not be told: Our own network is in doubt: 0 of 1 connectivity targets answer, until ";
        assert!(said.starts_with(expected) && said.ends_with("; then it is told, if it is still so"), "{said}");
        assert_eq!(world.why(2).await["suppressors"], json!([]), "loopback is no part of it");
        assert_eq!(world.endpoint(3).await["status"], "unknown");
        assert!(world.checks(1).await.iter().all(|(outcome, _)| *outcome != "down"));
        let health = world.platform.get("/health").await.expect(200).json();
        assert_eq!((&health["status"], &health["own_network"]["state"]), (&json!("degraded"), &json!("blind")));
        let metrics = String::from_utf8(world.platform.get("/metrics").await.body).unwrap();
        assert!(metrics.contains("api_monitor_own_network{state=\"blind\"} 1"), "{metrics}");
        let blind = world.until_told("own network", "blind", "blind").await;
        assert_eq!(world.incidents().await, 0);

        [&target, &site, &rare].into_iter().for_each(Place::mend);
        world.until_status(1, "up").await;
        // Long before its next slot.
        world.until_status(3, "up").await;
        let over = world.until_told("own network", "blind", "reachable").await;
        assert!(over["remarks"][0].as_str().unwrap().starts_with("It lasted "), "{over}");
        let id = blind["id"].as_str().unwrap();
        assert!(id.starts_with("ntf_n_") && over["id"] == format!("{id}_2"), "{blind} {over}");
        assert_eq!((world.told().len(), world.incidents().await), (2, json!(0)), "{:?}", world.told());
        assert_eq!(world.endpoint(1).await["uptime"]["24h"], 100.0);
        assert_eq!(world.network().await["state"], "reachable");
        assert_eq!(world.why(1).await["suppressors"], json!([]));
    });
}

#[test]
fn what_is_cut_while_the_targets_answer_is_told_as_usual() {
    alone("platform::network::what_is_cut_while_the_targets_answer_is_told_as_usual", async || {
        let (target, site) = (Place::at("9.9.9.9"), Place::at("5.5.5.5"));
        let endpoints = [checked("site", &site.target.url(""))];
        let world = World::start(&endpoints, &format!("targets: ['{}']", target.target.url(""))).await;
        site.cut();
        let down = world.until_told("site", "down", "down").await;
        assert_eq!((&down["failure_kind"], &down["remarks"]), (&json!("connect_unreachable"), &Value::Null), "{down}");
        assert!(!target.target.hits("").is_empty(), "it was asked");
        assert_eq!((world.told().len(), world.suppressed(1).await), (1, 0));
        site.mend();
        world.until_told("site", "up", "up").await;
    });
}

#[test]
fn what_is_elsewhere_than_the_targets_is_told_while_they_do_not_answer() {
    alone("platform::network::what_is_elsewhere_than_the_targets_is_told_while_they_do_not_answer", async || {
        let (target, site, inside) = (Place::at("9.9.9.9"), Place::at("5.5.5.5"), Place::at("10.1.1.1"));
        let here = Address::add("127.3.3.3");
        let local = Target::at("127.3.3.3", |_, _| Answer::Status(200));
        let endpoints = [
            checked("site", &site.target.url("")),
            checked("inside", &inside.target.url("")),
            checked("local", &local.url("")),
        ];
        let world = World::start(&endpoints, &format!("targets: ['{}'], interval: 1s", target.tcp())).await;
        [&target, &site].into_iter().for_each(Place::cut);
        world.until_status(1, "unknown").await;
        // An address of the whole network 127/8 cannot be cut: the target goes.
        drop((local, here));
        inside.cut();
        world.until_told("inside", "down", "down").await;
        world.until_told("local", "down", "down").await;
        assert_eq!((world.endpoint(1).await["status"].clone(), world.incidents().await), (json!("unknown"), json!(2)));
        assert!(world.message("site", "down", "down").is_none());
    });
}

#[test]
fn targets_that_are_cut_while_endpoints_answer_are_ignored_until_they_answer() {
    alone("platform::network::targets_that_are_cut_while_endpoints_answer_are_ignored_until_they_answer", async || {
        let (target, site, well) = (Place::at("9.9.9.9"), Place::at("5.5.5.5"), Place::at("6.6.6.6"));
        let endpoints = [checked("site", &site.target.url("")), checked("well", &well.target.url(""))];
        let world = World::start(&endpoints, &format!("targets: ['{}'], interval: 1s", target.tcp())).await;
        [&target, &site].into_iter().for_each(Place::cut);
        let ignored = world.until_told("own network", "blind", "ignored").await;
        assert_eq!(ignored["error"], "0 of 1 connectivity targets answer, but well does");
        world.until_told("site", "down", "down").await;
        world.until_network("ignored").await;
        site.mend();
        world.until_told("site", "up", "up").await;
        target.mend();
        world.until_told("own network", "blind", "reachable").await;
        let of_network = world.told().iter().filter(|(name, ..)| name == "own network").count();
        assert_eq!(of_network, 3, "each once: {:?}", world.told());
        // Heeded again.
        [&target, &site, &well].into_iter().for_each(Place::cut);
        world.until_status(1, "unknown").await;
    });
}

#[test]
fn as_many_targets_are_needed_as_the_quorum_says() {
    alone("platform::network::as_many_targets_are_needed_as_the_quorum_says", async || {
        let (one, other, site) = (Place::at("9.9.9.9"), Place::at("8.8.8.8"), Place::at("5.5.5.5"));
        let endpoints = [checked("site", &site.target.url(""))];
        let targets = format!("targets: ['{}', '{}'], interval: 1s", one.tcp(), other.target.url(""));
        let world = World::start(&endpoints, &targets).await;
        [&one, &site].into_iter().for_each(Place::cut);
        world.until_told("site", "down", "down").await;
        assert_eq!((world.told().len(), world.suppressed(1).await), (1, 0), "half of them are enough");
        drop(world);
        [&one, &site].into_iter().for_each(Place::mend);
        let world = World::start(&endpoints, &format!("{targets}, quorum: 2")).await;
        [&one, &site].into_iter().for_each(Place::cut);
        world.until_status(1, "unknown").await;
        let told = world.until_told("own network", "blind", "blind").await;
        assert_eq!((&told["error"], world.told().len()), (&json!("1 of 2 connectivity targets answer"), 1));
    });
}

#[test]
fn after_the_longest_time_failures_are_told_with_the_doubt() {
    alone("platform::network::after_the_longest_time_failures_are_told_with_the_doubt", async || {
        let (target, site) = (Place::at("9.9.9.9"), Place::at("5.5.5.5"));
        // Only the check at the end of it can bring this out.
        let endpoints = [endpoint("site", &site.target.url(""), 3600)];
        let connectivity = format!("targets: ['{}'], interval: 1s, max_suppression: 4s", target.tcp());
        let world = World::start(&endpoints, &connectivity).await;
        [&target, &site].into_iter().for_each(Place::cut);
        world.check(1).await;
        world.until_status(1, "unknown").await;
        let down = world.until_told("site", "down", "down").await;
        let remarks = json!(["Our own network was in doubt: checks that failed then were not counted"]);
        assert_eq!(down["remarks"], remarks, "{down}");
        assert_eq!((&world.network().await["state"], world.suppressed(1).await), (&json!("exhausted"), 1));
        let order: Vec<_> = world.told().into_iter().map(|(name, ..)| name).collect();
        assert_eq!(order, ["own network", "site"]);
    });
}

#[test]
fn a_restart_begins_anew_and_nothing_of_before_is_shown() {
    alone("platform::network::a_restart_begins_anew_and_nothing_of_before_is_shown", async || {
        let (target, site) = (Place::at("9.9.9.9"), Place::at("5.5.5.5"));
        let endpoints = [endpoint("site", &site.target.url(""), 3600)];
        let world = World::start(&endpoints, &format!("targets: ['{}'], interval: 1s", target.tcp())).await;
        [&target, &site].into_iter().for_each(Place::cut);
        world.check(1).await;
        world.until_status(1, "unknown").await;
        world.until_told("own network", "blind", "blind").await;
        let World { platform, hook } = world;
        let Platform { folder, process, .. } = platform;
        process.signal("KILL");
        drop(process);
        let world = World { platform: Platform::start_in(folder, &[]), hook };
        assert_eq!(
            (&world.network().await["state"], &world.endpoint(1).await["status"]),
            (&json!("reachable"), &json!("up"))
        );
        world.check(1).await;
        world.until_status(1, "unknown").await;
        assert_eq!(world.incidents().await, 0);
    });
}
